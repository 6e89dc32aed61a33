"""The replicator: one log, as far as it has arrived (oplog §3, §5).

:class:`Replica` takes operations in any order and keeps what follows from them: the stored set and its total order,
heads, forks, what waits and for what, statuses, taint, the state document and its ID.  Two replicas that stored the
same operations give the same state document, whatever the order of arrival.

One way in, in two steps.  Stages 1 to 7 look at bytes alone and cost the most: :func:`verify.check_bytes`, outside any
lock.  Then :meth:`Replica.admit` runs stages 8 to 12 against the log and, if they pass, appends: it is the only
place that does.  :meth:`Replica.add` is both in a row.

Invariant: the stored set is closed (every ancestor of a member is a member), and all that is derived from it is up to
date when :meth:`admit` returns.

Handled here: everything of §3 to §5 but bytes.  The caller must let one thread in at a time (nothing here locks),
keep the bytes of what was accepted where they survive, and give them back, ancestors first, after a restart
(:meth:`Replica.restore`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from omp.protocols.oplog.core.authority import in_force, root_key
from omp.protocols.oplog.core.blocks import Ordered
from omp.protocols.oplog.core.candidate import Candidate
from omp.protocols.oplog.core.causality import Author, Past, place
from omp.protocols.oplog.core.document import LISTS, StateDocument, forks_of, sorted_ids
from omp.protocols.oplog.core.entries import Entry, GrantEntry, total_order
from omp.protocols.oplog.core.operation import Operation
from omp.protocols.oplog.core.state import DerivedState, status_of
from omp.protocols.oplog.core.storing import entry_of
from omp.protocols.oplog.core.verify import Deferred, Refused, check_bytes, judge, operation_unverified
from omp.protocols.oplog.core.void import Voidness
from omp.protocols.oplog.core.waiting import WaitingPool
from omp.rules.engines import Engine

ACCEPTED, DUPLICATE, DEFERRED, REJECTED = "accepted", "duplicate", "deferred", "rejected"
REJECTED_KEPT = 100
"""§7: how many of those that waited and were then rejected are remembered."""


class Event(NamedTuple):
    """Something that happened to the log: `kind` and, by kind, the members of `data`.

    * ``accepted``: ``id``, ``type``, ``author``, ``void``;
    * ``rejected``: ``id``, ``code``: an operation that had waited;
    * ``fork``: ``author``, ``seq``, ``ops``: the operation of this ``seq`` stored first and the new one (§3.4);
    * ``status``: ``id``, ``type``, ``status``: a stored operation whose object in the state document is another now, or
      that turned void or valid.
    """

    kind: str
    data: dict[str, Any]


class Outcome(NamedTuple):
    """What became of an operation: §7's ``status`` and ``id``, with `code`, `stage`, `message` where it was rejected.

    `missing`: what it waits for, where it is deferred.  `stored`: the entries that this call added to the log, in the
    order of storing: the operation itself, then those that had waited for it.  `events`: all that happened, in order.
    """

    status: str
    id: str | None
    code: str | None = None
    stage: int | None = None
    message: str = ""
    missing: tuple[str, ...] = ()
    stored: tuple[Entry, ...] = ()
    events: tuple[Event, ...] = ()


def rejected(refusal: Refused) -> Outcome:
    """The outcome of an operation that :func:`check_bytes` refused."""
    return Outcome(REJECTED, refusal.id, refusal.code, refusal.stage, refusal.message)


class Replica:
    """One log: `log` is its identity ID; `pool` is where operations wait, shared by the replicas of a node."""

    def __init__(self, log: str, pool: WaitingPool | None = None) -> None:
        self.log = log
        self.rejected: deque[tuple[str, str]] = deque(maxlen=REJECTED_KEPT)
        """(ID, code) of those that waited and were then rejected, the newest first."""
        self._root = root_key(log)
        self._pool = pool if pool is not None else WaitingPool()
        self._entries: dict[str, Entry] = {}
        self._authors: dict[str, Author] = {}
        self._order: Ordered[Entry] = Ordered(total_order)
        self._kinds: dict[str, Ordered[Entry]] = {kind: Ordered(total_order) for kind in LISTS}
        self._heads: dict[Entry, None] = {}
        self._voidness = Voidness(self._kept_author)
        self._derived = DerivedState()
        self._document = StateDocument(log)

    # --- Writing

    def add(self, data: bytes, engine: Engine) -> Outcome:
        """All twelve stages for one operation's bytes."""
        try:
            operation = check_bytes(data, engine, self.log, self.known)
        except Refused as refusal:
            return rejected(refusal)
        return self.admit(operation)

    def admit(self, operation: Operation) -> Outcome:
        """Stages 8 to 12, and the append.  What waited for the operation is tried again in the same call."""
        if operation.id in self._entries:
            return Outcome(DUPLICATE, operation.id)
        try:
            candidate = judge(operation, self)
        except Deferred as deferred:
            self._pool.add(operation, deferred.missing, bool(self._entries), self._is_known(operation.author))
            return Outcome(DEFERRED, operation.id, missing=tuple(deferred.missing))
        except Refused as refusal:
            return rejected(refusal)
        stored: list[Entry] = []
        events: list[Event] = []
        self._append(candidate, stored, events)
        for entry in stored:  # grows while it runs
            for waiter in self._pool.arrived(self.log, entry.id):
                self._retry(waiter, stored, events)
        return Outcome(ACCEPTED, operation.id, stored=tuple(stored), events=tuple(events))

    def _retry(self, operation_id: str, stored: list[Entry], events: list[Event]) -> None:
        operation = self._pool.take(self.log, operation_id)
        assert operation is not None  # the pool named it
        try:
            self._append(judge(operation, self), stored, events)
        except Refused as refusal:
            self.rejected.appendleft((operation_id, refusal.code))
            events.append(Event("rejected", {"id": operation_id, "code": refusal.code}))

    def restore(self, data: bytes) -> Sequence[Event]:
        """Take back, into a new replica, the bytes of an operation accepted before; its ancestors come first.

        Gives the events that it caused when it was stored, in the same order.
        """
        events: list[Event] = []
        operation = operation_unverified(data)
        if operation.id not in self._entries:
            self._append(judge(operation, self), [], events)
        return events

    def _append(self, candidate: Candidate, stored: list[Entry], events: list[Event]) -> None:
        """The one append: the operation passed all stages, and everything derived is brought up to date."""
        if not self._entries:
            self._pool.log_started(self.log)
            self._pool.key_known(self.log, self._root)
        entry = entry_of(candidate)
        author = self._authors.setdefault(candidate.operation.author, candidate.author)
        place(entry, author, candidate.past)
        flipped = self._voidness.add(entry)
        touched = self._derived.add(entry, flipped)
        self._entries[entry.id] = entry
        self._order.add(entry)
        if entry.type in self._kinds:
            self._kinds[entry.type].add(entry)
        for parent in (candidate.prev, *candidate.deps):
            if parent is not None:
                self._heads.pop(parent, None)
        self._heads[entry] = None
        self._document.add(entry)
        for one in touched:
            self._document.changed(one)
        for one in flipped:
            self._document.flipped(one)
        if isinstance(entry, GrantEntry):
            self._pool.key_known(self.log, entry.grantee)
        stored.append(entry)
        events += _events(entry, author, dict.fromkeys([*flipped, *touched]))

    # --- What the verifier asks

    def entry(self, operation_id: str) -> Entry | None:
        """The stored operation with this ID, or None."""
        return self._entries.get(operation_id)

    def author(self, key: str) -> Author:
        """What is known of a key; of a stranger, nothing, and nothing is kept."""
        return self._authors.get(key) or Author(key, key == self._root)

    def _kept_author(self, key: str) -> Author:
        return self._authors.setdefault(key, self.author(key))

    def _is_known(self, key: str) -> bool:
        # Only those who signed something stored, or are named by a stored grant, are kept; the root is known always.
        return key == self._root or key in self._authors

    def known(self, operation_id: str) -> bytes | None:
        """The bytes held under this ID, stored or waiting: for :func:`check_bytes`."""
        entry = self._entries.get(operation_id)
        if entry is not None:
            return entry.raw
        operation = self._pool.get(self.log, operation_id)
        return operation.raw if operation is not None else None

    # --- Reading

    def __len__(self) -> int:
        return len(self._entries)

    def heads(self) -> list[str]:
        """The IDs of the operations that no other references, sorted: §3.1."""
        return sorted_ids(self._heads)

    def state_id(self) -> str:
        """The state ID: §5.  Computed after a change when first asked for, remembered until the next."""
        return self._document.state_id(len(self), self._heads, self._authors.values())

    def state_document(self) -> bytes:
        """The state document: its canonical bytes."""
        return b"".join(self._document.pieces(len(self), self._heads, self._authors.values()))

    def forks(self) -> list[dict[str, Any]]:
        """The forks, as in the state document: §3.4."""
        return forks_of(self._authors.values())

    def operations(self, after: str | None = None, kind: str | None = None) -> Iterator[Entry]:
        """The stored operations, or those of one type of :data:`LISTS`, in total order, `after` an operation exclusive.

        KeyError if `after` is not stored.  Lazy: it costs what is taken, and must not be held across an append.
        """
        order = self._order if kind is None else self._kinds[kind]
        return iter(order) if after is None else order.after(total_order(self._entries[after]))

    def lacking(self, heads: Iterable[str]) -> list[Entry]:
        """In total order, all stored operations but `heads` and their pasts, unknown IDs ignored: §7, ``missing``."""
        has = Past(None, (self._entries[head] for head in heads if head in self._entries))
        chains = (chain for author in self._authors.values() for chain in author.chains)
        return sorted((entry for chain in chains for entry in chain.after(has.upto(chain))), key=total_order)

    def pending(self) -> list[tuple[str, list[str]]]:
        """What waits, the oldest first: (ID, what it waits for)."""
        return self._pool.items(self.log)

    def missing(self, operation_id: str) -> list[str] | None:
        """What a waiting operation waits for; None if it does not wait."""
        return self._pool.missing(self.log, operation_id)

    def is_root(self, key: str) -> bool:
        """Whether `key` is the root key of this log."""
        return key == self._root

    def grants_in_force(self, key: str, capability: str, now: str) -> list[GrantEntry]:
        """The active grants of `key` with this capability, within their times at `now` (a timestamp of §1.3)."""
        return [
            grant
            for grant in self.author(key).grants
            if capability in grant.caps and status_of(grant) == "active" and in_force(grant, now)
        ]


def _events(entry: Entry, author: Author, changed: Iterable[Entry]) -> Iterator[Event]:
    yield Event("accepted", {"id": entry.id, "type": entry.type, "author": author.key, "void": entry.void})
    if entry.seq in author.forks:
        ops = [author.by_seq[entry.seq - 1].id, entry.id]
        yield Event("fork", {"author": author.key, "seq": entry.seq, "ops": ops})
    for one in changed:
        yield Event("status", {"id": one.id, "type": one.type, "status": status_of(one)})
