"""Causal order: which operations are in the past of which (oplog §3.1, §3.4).

``past(O)`` is everything that can be reached from O over ``prev`` and ``deps``, without O itself.  It may hold a
hundred thousand operations, so it is never written down.  Instead: an author's operations form chains over ``prev``
(one chain, or several if the author forked, each beginning at its first operation or where it branches off).  If a past
holds an operation, it holds all earlier ones of the same chain.  So **one number for each chain** describes past(O):
the highest ``seq`` in it.  That is a version vector, indexed by chain and not by author, so forking authors need no
special case.

Even vectors are not kept for each operation.  Along a chain they only grow, so each chain keeps the *steps* by which
its knowledge of other chains grew.  An element of a vector is found by bisection in these steps; if it is not found
there, and the chain is a branch, the search goes on in the chain it left.  An operation costs memory and time for what
it newly merges, however many chains there are; "is X in past(O)?" costs one bisection, plus one for each fork on the
way down.

:class:`Past` is the past of an operation that is not stored yet, and :class:`Candidate` is such an operation with all
that stages 8 to 12 find out about it.  :class:`LogView` is what those stages may ask of the log.  verify.py and
authority.py use all three.

Handled here: chains, forks, pasts.  The caller must place operations after their ancestors.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Protocol

from omp.protocols.oplog.core.entries import Author, Chain, Entry, GrantEntry
from omp.protocols.oplog.core.operation import Operation

# --- Pasts of stored operations ---------------------------------------------------------------------------------


def reach(entry: Entry, chain: Chain) -> int:
    """The highest ``seq`` of `chain` among `entry` and its past; 0 if there is none."""
    at, seq = entry.chain, entry.seq
    while True:
        if at is chain:
            return seq
        seen = at.seen.get(chain)
        if seen is not None and (i := bisect_right(seen[0], seq)):
            return seen[1][i - 1]
        if (base := at.base) is None:
            return 0
        at, seq = base.chain, base.seq


def in_past(ancestor: Entry, entry: Entry) -> bool:
    """Whether `ancestor` is in past(`entry`); an operation is not in its own past."""
    return ancestor is not entry and reach(entry, ancestor.chain) >= ancestor.seq


# --- The past of an operation on its way in ---------------------------------------------------------------------


class Past:
    """past(O) of an operation without a place yet: what its ``prev`` knows, and what its ``deps`` add to that."""

    __slots__ = ("added", "prev")

    def __init__(self, prev: Entry | None, deps: Iterable[Entry]) -> None:
        self.prev = prev
        self.added: dict[Chain, int] = {}
        for dep in deps:
            self._add(dep)

    def _add(self, entry: Entry) -> None:
        """Add `entry` and its past: of each chain it brings in, only the steps that this past does not hold yet."""
        new: list[tuple[Entry, int]] = []  # the last operation of a chain, and the highest seq of it so far
        at: Entry | None = entry
        while at is not None and at.seq > (so_far := self.upto(at.chain)):
            new.append((at, so_far))
            at = at.chain.base  # the chain that this one branched off from may be new too
        for last, so_far in new:
            steps = last.chain.steps
            self._raise(last.chain, last.seq)
            for step in range(bisect_right(steps, so_far, key=_seq_of), bisect_right(steps, last.seq, key=_seq_of)):
                _, chain, upto = steps[step]
                self._raise(chain, upto)

    def _raise(self, chain: Chain, seq: int) -> None:
        if seq > self.upto(chain):
            self.added[chain] = seq

    def upto(self, chain: Chain) -> int:
        """The highest ``seq`` of `chain` in this past, or 0."""
        if seq := self.added.get(chain):
            return seq
        return reach(self.prev, chain) if self.prev is not None else 0

    def holds(self, entry: Entry) -> bool:
        """Whether `entry` is in this past."""
        return entry.seq <= self.upto(entry.chain)


def _seq_of(step: tuple[int, Chain, int]) -> int:
    return step[0]


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


def place(entry: Entry, author: Author, past: Past) -> None:
    """Give a new `entry` its place behind its ``prev``: at the end of that chain, or on a new chain if it forks."""
    prev = past.prev
    if prev is not None and prev.chain.entries[-1] is prev:
        chain = prev.chain
    else:
        chain = Chain(author, prev)
        author.chains.append(chain)
    entry.chain = chain
    chain.entries.append(entry)
    for other, upto in past.added.items():
        chain.learn(entry.seq, other, upto)
    # The stored set is closed, so the operations with lower seq are there: seq is at most one beyond the last.
    if entry.seq > len(author.by_seq):
        author.by_seq.append(entry)
    else:
        author.forks.setdefault(entry.seq, [author.by_seq[entry.seq - 1]]).append(entry)
