"""Causal order: which operations are in the past of which (oplog, "Notation"; §3.1, §3.4).

``past(O)`` is everything reachable from O over ``prev`` and ``deps``.  It may hold a hundred thousand operations, so
it is never written down.  Every author's operations form chains over ``prev``: one, or with forks several, each
beginning at its first operation or at the operation it branches off from.  With any operation, a past holds all
earlier ones of its chain; so the past of O is known by **one number a chain**: the highest ``seq`` in it.  That is a
version vector, indexed by chain and not by author, so that equivocating authors fit in.

The vectors are not kept for each operation either.  Along a chain they only grow, so each chain keeps the steps by
which its knowledge of other chains grew; a vector's entry is found by bisection in them, and a fork looks further in
the chain it branched off from.  An operation costs memory and time for what it newly merges, however many chains there
are, and "is X in past(O)?" costs a bisection, plus one for each fork on the way down.

Handled here: chains, forks, pasts of operations still to be placed.  The caller must place operations after their
ancestors.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable

from omp.protocols.oplog.core.entries import Entry, GrantEntry


class Chain:
    """Consecutive operations of one author, each the ``prev`` of the next, from ``seq`` `first` on.

    `base` is the operation that the first one has as ``prev``: None, or where the author forked.  `steps` are
    (``seq``, other chain, the highest ``seq`` known of it from there on), ascending; `seen` has the same by chain:
    the first and the last of the three, as two arrays.
    """

    __slots__ = ("author", "base", "entries", "first", "seen", "steps")

    def __init__(self, author: Author, base: Entry | None) -> None:
        self.author = author
        self.base = base
        self.first = base.seq + 1 if base is not None else 1
        self.entries: list[Entry] = []
        self.steps: list[tuple[int, Chain, int]] = []
        self.seen: dict[Chain, tuple[array[int], array[int]]] = {}

    def learn(self, seq: int, chain: Chain, upto: int) -> None:
        """From the operation with this ``seq`` on, `chain` is known up to `upto`."""
        self.steps.append((seq, chain, upto))
        seqs, uptos = self.seen.setdefault(chain, (array("Q"), array("Q")))
        seqs.append(seq)
        uptos.append(upto)

    def after(self, seq: int) -> list[Entry]:
        """The operations of this chain with a greater ``seq``."""
        return self.entries[max(0, seq - self.first + 1) :]


class Author:
    """A key and what it has signed in this log.

    `by_seq` holds its operations by ``seq`` (from 1, at index 0), of a fork the one stored first; `forks` all
    operations of each ``seq`` that has several (§3.4); `grants` the grants that name it as grantee.
    """

    __slots__ = ("by_seq", "chains", "forks", "grants", "is_root", "key")

    def __init__(self, key: str, is_root: bool) -> None:
        self.key = key
        self.is_root = is_root
        self.chains: list[Chain] = []
        self.by_seq: list[Entry] = []
        self.forks: dict[int, list[Entry]] = {}
        self.grants: list[GrantEntry] = []


def reach(entry: Entry, chain: Chain) -> int:
    """The highest ``seq`` of `chain` among `entry` and its past; 0 where there is none."""
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


class Past:
    """past(O) of an operation that is not placed yet: what its ``prev`` knows, and what its ``deps`` add to that."""

    __slots__ = ("added", "prev")

    def __init__(self, prev: Entry | None, deps: Iterable[Entry]) -> None:
        self.prev = prev
        self.added: dict[Chain, int] = {}
        for dep in deps:
            self._add(dep)

    def _add(self, entry: Entry) -> None:
        """Add `entry` and its past: of its chain, the steps since what is known of it already."""
        new: list[tuple[Entry, int]] = []  # the last operation of a chain, and what of the chain is known already
        at: Entry | None = entry
        while at is not None and at.seq > (known := self.upto(at.chain)):
            new.append((at, known))
            at = at.chain.base  # what the chain branched off from may be new too
        for last, known in new:
            steps = last.chain.steps
            self._raise(last.chain, last.seq)
            for step in range(bisect_right(steps, known, key=_seq_of), bisect_right(steps, last.seq, key=_seq_of)):
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


def place(entry: Entry, author: Author, past: Past) -> None:
    """Give `entry`, whose ``seq`` is set, its place behind its ``prev``: at the end of that chain, or on a new one."""
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
    # Stored sets are closed, so the operations with lower seq are there: seq is at most one beyond the last.
    if entry.seq > len(author.by_seq):
        author.by_seq.append(entry)
    else:
        author.forks.setdefault(entry.seq, [author.by_seq[entry.seq - 1]]).append(entry)
