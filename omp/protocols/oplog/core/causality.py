"""Causal order: which operations are in the past of which (oplog §3.1, §3.4).

``past(O)`` is everything that can be reached from O over ``prev`` and ``deps``, without O itself.  It may hold a
hundred thousand operations, so it is never written down.  Instead: an author's operations form chains over ``prev``
(one chain, or several if the author forked, each beginning at its first operation or where it branches off).  If a past
holds an operation, it holds all earlier ones of the same chain.  So **one number for each chain** describes past(O):
the highest ``seq`` in it.  That is a version vector, indexed by chain and not by author, so forking authors need no
special case.

**A vector is a tree of small tuples that never change.**  Chains are numbered in the order in which the log got them,
and sixteen of them share a leaf, sixteen leaves a node, and so on.  A vector that differs from another in one element
shares all but a few tuples with it, and what two vectors share is never looked at twice: joining them costs what
differs between them.  Most logs have a few chains, and then a vector is one tuple.

Why not a list of what each chain newly learned, searched from chain to chain?  A stranger may make a thousand forks,
each out of the one before.  Then a search climbs a thousand chains, and who merges the last one has a thousand things
to write down, as has everybody who merges it again.  Here the first is one look-up, and the second shares one tree.

A chain keeps the vector of each of its operations that merged something, found by bisection over ``seq``.

:class:`Past` is the past of an operation that is not stored yet, and :class:`Candidate` is such an operation with all
that stages 8 to 12 find out about it.  :class:`LogView` is what those stages may ask of the log.  verify.py and
authority.py use all three.

Handled here: chains, forks, pasts.  The caller must place operations after their ancestors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import gt
from typing import Any, Protocol

from omp.protocols.oplog.core.entries import NOTHING, Author, Chain, Entry, GrantEntry, Vector
from omp.protocols.oplog.core.operation import Operation

# --- Vectors ----------------------------------------------------------------------------------------------------

_BITS = 4
_WIDTH = 1 << _BITS
_Node = tuple[Any, ...]  # of nodes, or in a leaf of numbers; what stands beyond its end, or is (), is all zero


def element(vector: Vector, number: int) -> int:
    """The element of the chain with this `number`."""
    height, node = vector
    if not height:  # the usual case: few chains
        return node[number] if number < len(node) else 0
    if number >> _BITS * (height + 1):
        return 0
    for shift in range(_BITS * height, -1, -_BITS):
        digit = number >> shift & _WIDTH - 1
        if digit >= len(node):
            return 0
        node = node[digit]
    return node  # type: ignore[return-value]


def raised(vector: Vector, number: int, seq: int) -> Vector:
    """`vector` with this element at least `seq`, which is 1 or more."""
    if element(vector, number) >= seq:
        return vector
    height, node = vector
    while number >> _BITS * (height + 1):
        height, node = height + 1, (node,)
    return height, _with(node, height, number, seq)


def _with(node: _Node, height: int, number: int, seq: int) -> _Node:
    digit = number >> _BITS * height & _WIDTH - 1
    if digit >= len(node):
        node += ((() if height else 0),) * (digit + 1 - len(node))
    new = _with(node[digit], height - 1, number, seq) if height else seq
    return (*node[:digit], new, *node[digit + 1 :])


_JOINED: dict[tuple[int, int], tuple[_Node, _Node, _Node]] = {}
"""(ids of two nodes) -> (both, what they joined to): whoever merges the same two again shares the result.

A cache of a pure function, for all logs, emptied when it is full.  Without it a thousand operations that each merge the
same two thousand-fold forks would each have a tree of their own.
"""
_JOINED_KEPT = 8_192


def joined(one: Vector, other: Vector) -> Vector:
    """The greater of both, element by element: the past of what has merged both."""
    height = max(one[0], other[0])
    return height, _joined(_lifted(one, height), _lifted(other, height), height) if height else _greater(
        one[1], other[1]
    )


def _lifted(vector: Vector, height: int) -> _Node:
    low, node = vector
    for _ in range(height - low):
        node = (node,)
    return node


def _joined(a: _Node, b: _Node, height: int) -> _Node:
    if a is b or not b:
        return a
    if not a:
        return b
    found = _JOINED.get((id(a), id(b)))
    if found is not None and found[0] is a and found[1] is b:
        return found[2]
    if height:
        short, long = (a, b) if len(a) < len(b) else (b, a)
        parts = (_joined(c, d, height - 1) for c, d in zip(short, long, strict=False))
        result = _either((*parts, *long[len(short) :]), a, b)
    else:
        result = _greater(a, b)
    if len(_JOINED) >= _JOINED_KEPT:
        _JOINED.clear()
    _JOINED[id(a), id(b)] = a, b, result
    return result


def _greater(a: _Node, b: _Node) -> _Node:
    short, long = (a, b) if len(a) < len(b) else (b, a)
    return _either((*map(max, short, long), *long[len(short) :]), a, b)


def _either(result: _Node, a: _Node, b: _Node) -> _Node:
    """`result`; `a` or `b` itself where it says the same, so that whoever compares the two later sees it at once."""
    return a if result == a else b if result == b else result


def lower(one: Vector, other: Vector) -> Vector:
    """The smaller of both, element by element: what both know."""
    height = min(one[0], other[0])
    return height, _lower(_cut(one, height), _cut(other, height), height)


def _cut(vector: Vector, height: int) -> _Node:
    top, node = vector
    for _ in range(top - height):
        node = node[0]
    return node


def _lower(a: _Node, b: _Node, height: int) -> _Node:
    if a is b or not a or not b:
        return a and b
    if height:
        result = tuple(_lower(c, d, height - 1) for c, d in zip(a, b, strict=False))
    else:
        result = tuple(map(min, a, b))
    return _either(result, a, b)


def falls(one: Vector, other: Vector) -> Iterator[tuple[int, int, int]]:
    """(number of a chain, its element in `one`, its element in `other`) where the second is smaller."""
    height = max(one[0], other[0])
    trail = [(_lifted(one, height), _lifted(other, height), height, 0)]
    while trail:
        a, b, height, number = trail.pop()
        for digit, high in enumerate(a):
            low: Any = b[digit] if digit < len(b) else () if height else 0
            if high is low:
                continue
            if height:
                trail.append((high, low, height - 1, (number + digit) << _BITS))
            elif gt(high, low):
                yield number + digit, high, low


# --- Pasts of stored operations ---------------------------------------------------------------------------------


def known(entry: Entry) -> Vector:
    """The vector of `entry` and its past."""
    return raised(entry.chain.vector(entry.seq), entry.chain.number, entry.seq)


def reach(entry: Entry, chain: Chain) -> int:
    """The highest ``seq`` of `chain` among `entry` and its past; 0 if there is none."""
    at = entry.chain
    return entry.seq if at is chain else element(at.vector(entry.seq), chain.number)


def in_past(ancestor: Entry, entry: Entry) -> bool:
    """Whether `ancestor` is in past(`entry`); an operation is not in its own past."""
    return ancestor is not entry and reach(entry, ancestor.chain) >= ancestor.seq


# --- The past of an operation on its way in ---------------------------------------------------------------------


class Past:
    """past(O) of an operation without a place yet: what its ``prev`` knows, joined with what its ``deps`` know.

    `vector` says it for all chains but that of ``prev``: there `prev` itself counts too.
    """

    __slots__ = ("prev", "vector")

    def __init__(self, prev: Entry | None, deps: Iterable[Entry]) -> None:
        self.prev = prev
        self.vector = prev.chain.vector(prev.seq) if prev is not None else NOTHING
        for dep in deps:
            if not self.holds(dep):
                self.vector = joined(self.vector, known(dep))

    def upto(self, chain: Chain) -> int:
        """The highest ``seq`` of `chain` in this past, or 0."""
        seq = element(self.vector, chain.number)
        return max(seq, self.prev.seq) if self.prev is not None and self.prev.chain is chain else seq

    def holds(self, entry: Entry) -> bool:
        """Whether `entry` is in this past."""
        seq, chain, prev = entry.seq, entry.chain, self.prev
        if prev is not None and prev.chain is chain and seq <= prev.seq:
            return True
        return seq <= element(self.vector, chain.number)


class LogView(Protocol):
    """What stages 8 to 12 ask of a log."""

    def entry(self, operation_id: str, /) -> Entry | None:
        """The stored operation with this ID, or None."""

    def author(self, key: str, /) -> Author:
        """What is known of a key: its chains, and the grants that name it."""


class Candidate:
    """An operation on its way into the log, with what stages 8 to 12 found out about it (§3.2).

    Each stage writes down what it found, and later stages build on it; what was found is then what is stored.  `prev`
    and `deps` are the stored ancestors, `missing` the IDs of those that are not stored (stage 8).  `past` is past(O);
    `named` are the entries that the body names, by member, in the order of the body (stage 11).  `auth` is Auth(O)
    (stage 12).
    """

    __slots__ = ("auth", "author", "deps", "log", "missing", "named", "operation", "past", "prev")

    def __init__(self, operation: Operation, log: LogView) -> None:
        self.operation = operation
        self.log = log
        self.author = log.author(operation.author)
        self.missing: list[str] = []
        self.prev: Entry | None = None
        self.deps: list[Entry] = []
        self.past: Past
        self.named: dict[str, list[Entry]] = {}
        self.auth: tuple[GrantEntry, ...] = ()


def place(entry: Entry, author: Author, past: Past, chains: list[Chain]) -> None:
    """Give a new `entry` its place behind its ``prev``: at the end of that chain, or on a new chain if it forks.

    `chains` are all chains of the log, by number; a new one is added.
    """
    prev, vector = past.prev, past.vector
    if prev is not None and prev.chain.entries[-1] is prev:
        chain = prev.chain
    else:
        chain = Chain(author, prev, len(chains))
        chains.append(chain)
        author.chains.append(chain)
        if prev is not None:
            vector = raised(vector, prev.chain.number, prev.seq)
    entry.chain = chain
    chain.entries.append(entry)
    chain.learn(entry.seq, vector)
    # The stored set is closed, so the operations with lower seq are there: seq is at most one beyond the last.
    if entry.seq > len(author.by_seq):
        author.by_seq.append(entry)
    else:
        author.forks.setdefault(entry.seq, [author.by_seq[entry.seq - 1]]).append(entry)
