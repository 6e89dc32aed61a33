"""The replicator: one log, as far as it has arrived (oplog §3, §5).

:class:`Replica` takes operations in any order and keeps what follows from them: the stored set and its total order,
heads, forks, statuses, taint, the state document and its ID.  What waits, and for what, is in the pool of waiting.py.
Two replicas that have stored the same operations have the same state document, whatever the order of arrival.

There is one way in, in two steps.  Stages 1 to 7 look at bytes alone and are the expensive ones:
:func:`verify.check_bytes`, called without any lock.  Then :meth:`Replica.admit` runs stages 8 to 12 against the log
and, if they pass, stores the operation.  :meth:`Replica.add` is both in a row.

Storing has two acts.  :meth:`Replica._append` is **the one append**: it makes the entry, gives it its place in the
causal order and puts it into the stored set; nothing else ever adds to that set, and nothing removes from it.
:meth:`Replica._follow_up` then brings everything derived up to date: heads, lists, void, statuses, taint, the state
document, the waiting pool.  Next, in the same call, come the operations for which this one was the last missing parent.

Invariant: the stored set is closed (each ancestor of a member is a member), and when :meth:`admit` returns, all that is
derived from it is up to date, unless the caller asked for a pause.  One operation may change all that is stored, and
thousands may have waited for it.  So a caller that must not be away for long lets :meth:`admit` pause, and then

* the stored set is closed as ever, and past(O) of what is in it never changes;
* what is derived from it may be half done: :attr:`Replica.settled` says so.  :meth:`Replica.settle` goes on with it,
  and nothing else is appended before it is done.

Handled here: all of §3 to §5 and the projection (§6).  The caller must let one thread in at a time (nothing here
locks), write the bytes of what was accepted where they survive, and give them back after a restart, ancestors first
(:meth:`Replica.restore`, or :meth:`Replica.link` and :meth:`Replica.derive`): all that is derived is then made anew.
What waits is in memory only: after a restart it counts as never delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from omp.protocols.oplog.core.authority import in_force, root_key
from omp.protocols.oplog.core.blocks import Blocks
from omp.protocols.oplog.core.causality import Candidate, Past, place
from omp.protocols.oplog.core.document import (
    LISTS,
    StateDocument,
    StateSnapshot,
    forks_of,
    listed,
    projection,
    sorted_ids,
)
from omp.protocols.oplog.core.entries import (
    Author,
    Chain,
    Entry,
    GrantEntry,
    entry_of,
    total_order,
)
from omp.protocols.oplog.core.operation import CLAIM, Operation
from omp.protocols.oplog.core.outcomes import ACCEPTED, DEFERRED, DUPLICATE, Event, Outcome, events_of, outcome_of
from omp.protocols.oplog.core.state import DerivedState, status_of
from omp.protocols.oplog.core.steps import Pause, Steps, never, pieces
from omp.protocols.oplog.core.trusted import linked, operation_of, operation_unverified
from omp.protocols.oplog.core.verify import (
    OperationDeferred,
    OperationRefused,
    check_bytes,
    judge,
)
from omp.protocols.oplog.core.void import Voidness
from omp.protocols.oplog.core.waiting import WaitingPool
from omp.rules.engines import Engine

REJECTED_KEPT = 100
"""§7.3: how many recent rejections of operations that had waited are kept."""


class Replica:
    """One log.  `log` is its identity ID; `pool` is where operations wait, shared by all replicas of a node."""

    def __init__(self, log: str, pool: WaitingPool | None = None) -> None:
        self.log = log
        self.rejected: deque[tuple[str, str]] = deque(maxlen=REJECTED_KEPT)
        """(ID, code) of the recent rejections of operations that had waited, the newest first."""
        self._root = root_key(log)
        self._pool = pool if pool is not None else WaitingPool()
        self._entries: dict[str, Entry] = {}
        self._authors: dict[str, Author] = {}
        self._chains: list[Chain] = []
        self._following_up: Steps[Iterable[Event]] | None = None
        """The follow-up of the last append, where it is not done."""
        self._ready: deque[str] = deque()
        """The IDs of those whose last missing ancestor is stored, and which are to be judged next."""
        self._order: Blocks[Entry] = Blocks(total_order)
        self._kinds: dict[str, Blocks[Entry]] = {kind: Blocks(total_order) for kind in LISTS}
        self._heads: dict[Entry, None] = {}
        self._voidness = Voidness(self._kept_author, self._chains)
        self._derived = DerivedState()
        self._document = StateDocument(log)

    # --- Writing

    def add(self, data: bytes, engine: Engine) -> Outcome:
        """All twelve stages for one operation's bytes."""
        try:
            operation = check_bytes(data, engine, self.log, self.bytes_held)
        except OperationRefused as refusal:
            return outcome_of(refusal)
        return self.admit(operation)

    def admit(self, operation: Operation, pause: Pause = never) -> Outcome:
        """Stages 8 to 12, and storing.

        What waited for this operation and for nothing else is judged, and if it passes stored, in the same call, unless
        `pause` says that it is time to stop: before all that is derived is :attr:`settled`, or later between two
        operations.  The rest is then :attr:`unfinished`, for :meth:`resume`.
        """
        if operation.id in self._entries:
            return Outcome(DUPLICATE, operation.id)
        try:
            candidate = judge(operation, self)
        except OperationDeferred as deferred:
            self._pool.add(operation, deferred.missing, bool(self._entries), self._is_known(operation.author))
            return Outcome(DEFERRED, operation.id, missing=tuple(deferred.missing))
        except OperationRefused as refusal:
            return outcome_of(refusal)
        if self._ready:
            self._pool.take(self.log, operation.id)  # it may be among those whose turn has not come yet
        stored: list[Entry] = []
        events: list[Event] = []
        self._take_in(candidate, stored, events, pause)
        while self.settled and self._ready and not pause():
            self._retry(stored, events, pause)
        return Outcome(ACCEPTED, operation.id, stored=tuple(stored), events=tuple(events))

    @property
    def unfinished(self) -> bool:
        """Whether :meth:`admit` stopped before it had settled what is derived, or judged all that had waited."""
        return not self.settled or bool(self._ready)

    @property
    def settled(self) -> bool:
        """Whether all that is derived is up to date; if not, what it says may be half done, and must not be shown."""
        return self._following_up is None

    def settle(self, pause: Pause = never) -> Sequence[Event]:
        """Go on with what is not :attr:`settled`, some steps at least, until `pause` says so.

        Adds nothing to the stored set.  Returns what the last operation has changed, once all of it is settled.
        """
        while self._following_up is not None:
            try:
                next(self._following_up)
            except StopIteration as done:
                self._following_up = None
                return tuple(done.value)
            if pause():
                break
        return ()

    def resume(self, pause: Pause = never) -> Outcome:
        """Go on with what is unfinished until `pause` says so: settle, then judge, one operation at least.

        Returns an outcome, with the ID None, that has what was stored and what happened.
        """
        stored: list[Entry] = []
        events = list(self.settle(pause))
        while self.settled and self._ready:
            self._retry(stored, events, pause)
            if pause():
                break
        return Outcome(ACCEPTED, None, stored=tuple(stored), events=tuple(events))

    def _retry(self, stored: list[Entry], events: list[Event], pause: Pause) -> None:
        """Judge the next operation whose last missing ancestor has been stored."""
        operation_id = self._ready.popleft()
        raw = self._pool.take(self.log, operation_id)
        if raw is None or operation_id in self._entries:
            return  # evicted, or delivered again and stored meanwhile
        try:
            self._take_in(judge(operation_of(raw, operation_id), self), stored, events, pause)
        except OperationRefused as refusal:
            self.rejected.appendleft((operation_id, refusal.code))
            events.append(Event("rejected", {"id": operation_id, "code": refusal.code}))

    def restore(self, data: bytes, pause: Pause = never) -> Sequence[Event]:
        """Take back, into a new replica, the bytes of an operation that was accepted before; its ancestors come first.

        Returns the events that it caused when it was stored, in the same order; none if `pause` has said so before all
        is :attr:`settled`, and then :meth:`settle` returns them.
        """
        events: list[Event] = []
        operation = operation_unverified(data)
        if operation.id not in self._entries:
            self._take_in(linked(operation, self), [], events, pause)
        return events

    def link(self, data: bytes) -> None:
        """As :meth:`restore`, for many operations, one after the other: what is derived is left to :meth:`derive`."""
        candidate = linked(operation_unverified(data), self)
        entry = self._append(candidate)
        self._is_head(entry, candidate)
        self._voidness.link(entry)

    def derive(self) -> Steps[None]:
        """Bring all that is derived up to date, once, after :meth:`link`; yields after each small step.

        Until it ends, nothing but :meth:`link` may have been called, and nothing may be asked.
        """
        entries = list(self._entries.values())
        yield from self._voidness.derive(entries)
        yield from self._derived.derive(entries)
        kinds: dict[str, list[Entry]] = {kind: [] for kind in LISTS}
        void: list[Entry] = []
        for some in pieces(entries):
            for entry in some:
                if entry.type in kinds:
                    kinds[entry.type].append(entry)
                if entry.void:
                    void.append(entry)
            yield
        yield from self._order.fill(entries)
        for kind, of_kind in kinds.items():
            yield from self._kinds[kind].fill(of_kind)
        yield from self._document.derive(kinds, void)

    def wait_in(self, pool: WaitingPool) -> None:
        """From now on let operations wait in `pool`; nothing of this log waits in either."""
        self._pool = pool

    def _take_in(self, candidate: Candidate, stored: list[Entry], events: list[Event], pause: Pause = never) -> None:
        """Both acts of storing: append, and follow up until `pause` says so."""
        if self._following_up is not None:
            events += self.settle()  # nothing is appended to what is half done
        entry = self._append(candidate)
        stored.append(entry)
        self._following_up = self._follow_up(entry, candidate)
        events += self.settle(pause)

    def _append(self, candidate: Candidate) -> Entry:
        """The one append, for an operation that passed all stages: after this it is in the stored set."""
        operation = candidate.operation
        entry = entry_of(operation, candidate.named, candidate.auth, candidate.prev)
        author = self._authors.setdefault(operation.author, candidate.author)
        place(entry, author, candidate.past, self._chains)
        self._entries[entry.id] = entry
        return entry

    def _is_head(self, entry: Entry, candidate: Candidate) -> None:
        for parent in (candidate.prev, *candidate.deps):
            if parent is not None:
                self._heads.pop(parent, None)
        self._heads[entry] = None

    def _follow_up(self, entry: Entry, candidate: Candidate) -> Steps[Iterable[Event]]:
        """Bring everything derived up to date after an append; returns what happened."""
        self._is_head(entry, candidate)
        self._order.add(entry)
        if entry.type in self._kinds:
            self._kinds[entry.type].add(entry)
        # Void first, then the statuses that follow from it, then the taint that follows from them, then the text.
        void_changed = yield from self._voidness.add(entry)
        changed = yield from self._derived.add(entry, void_changed)
        yield from self._document.add(entry, changed, void_changed)
        # What waits is ranked by whether its log exists and its author is known: both may just have changed.
        if len(self._entries) == 1:
            self._pool.log_started(self.log)
            self._pool.key_known(self.log, self._root)
        if isinstance(entry, GrantEntry):
            self._pool.key_known(self.log, entry.grantee)
        self._ready.extend(self._pool.arrived(self.log, entry.id))
        return events_of(entry, entry.chain.author, len(self), void_changed, changed)

    # --- What the verifier asks

    def entry(self, operation_id: str) -> Entry | None:
        """The stored operation with this ID, or None."""
        return self._entries.get(operation_id)

    def author(self, key: str) -> Author:
        """What is known of a key.  For a stranger that is nothing, and nothing is kept: anybody can make up keys."""
        return self._authors.get(key) or Author(key, key == self._root)

    def _kept_author(self, key: str) -> Author:
        return self._authors.setdefault(key, self.author(key))

    def _is_known(self, key: str) -> bool:
        # _authors holds who signed a stored operation or is named by a stored grant; the root is always known.
        return key == self._root or key in self._authors

    def bytes_held(self, operation_id: str) -> bytes | None:
        """The bytes held under this ID, stored or waiting; None if there are none.  For :func:`check_bytes`."""
        entry = self._entries.get(operation_id)
        if entry is not None:
            return entry.raw
        return self._pool.raws.get((self.log, operation_id))

    # --- Reading

    def __len__(self) -> int:
        return len(self._entries)

    def since(self, number: int) -> list[Entry]:
        """The stored operations but the first `number`, in the order of storing."""
        latest = list(islice(reversed(self._entries.values()), len(self._entries) - number))
        latest.reverse()
        return latest

    def heads(self) -> list[str]:
        """The IDs of the operations that no other one references, sorted: §3.1."""
        return sorted_ids(self._heads)

    def snapshot(self, pause: Pause = never) -> StateSnapshot | None:
        """The state document as it is now, to be read without a lock: §5.

        What has changed since the last one is written until `pause` says so: then None, and whoever asks again goes on.
        Only where :attr:`settled`.
        """
        return self._document.snapshot(len(self), self._heads, self._authors.values(), pause)

    def state_id(self) -> str:
        """The state ID: §5.  It is computed when first asked for after a change, and then remembered."""
        return self._whole().state_id

    def state_document(self) -> bytes:
        """The canonical bytes of the state document: §5."""
        return b"".join(self._whole().pieces())

    def _whole(self) -> StateSnapshot:
        snapshot = self.snapshot()
        assert snapshot is not None  # there was no pause
        return snapshot

    def forks(self) -> list[dict[str, Any]]:
        """The forks, as in the state document: §3.4."""
        return listed(forks_of(self._authors.values()))

    def operations(self, after: str | None = None, kind: str | None = None) -> Iterator[Entry]:
        """The stored operations, or those of one type of :data:`LISTS`, in total order.

        `after` is an operation ID: only those after it.  KeyError if it is not stored.  Lazy: the cost is that of the
        entries taken; do not hold the iterator across an append.
        """
        order = self._order if kind is None else self._kinds[kind]
        return iter(order) if after is None else order.after(total_order(self._entries[after]))

    def extent(self) -> list[int]:
        """The length of each chain now: what is stored at one moment, for :meth:`lacking`."""
        return [len(chain.entries) for chain in self._chains]

    def lacking(self, heads: Iterable[str], extent: Sequence[int] | None = None) -> list[Entry]:
        """All operations stored when `extent` was taken, but `heads` and their pasts, in total order: §7.3.

        Unknown IDs are ignored.  With an `extent` this needs no lock: another thread may append meanwhile.  For the
        stored set only grows, what is in it keeps its place and its past, and each look at a dictionary, a list or a
        vector here is one step of the interpreter.
        """
        extent = self.extent() if extent is None else extent
        # The latest first: in their pasts are most of the others, which then cost nothing.
        latest = sorted({self._entries[head] for head in heads if head in self._entries}, key=total_order, reverse=True)
        has = Past(None, latest)
        lacked = [
            entry
            for chain, length in zip(self._chains, extent, strict=False)
            for entry in chain.between(has.upto(chain), chain.first + length - 1)
        ]
        return sorted(lacked, key=total_order)

    def pending(self) -> list[tuple[str, list[str]]]:
        """What waits, the oldest first: (ID, IDs it waits for)."""
        return self._pool.items(self.log)

    def missing(self, operation_id: str) -> list[str] | None:
        """The IDs an operation waits for; None if it does not wait.  (What a caller lacks is :meth:`lacking`.)"""
        return self._pool.missing(self.log, operation_id)

    def is_root(self, key: str) -> bool:
        """Whether `key` is the root key of this log."""
        return key == self._root

    def projection(self, key: str, now: str, after: str | None = None) -> Iterator[dict[str, Any]]:
        """What `key` sees of the claims at `now` (a timestamp of §1.3), in total order, `after` as above: §6.

        Lazy, as :meth:`operations`.
        """
        root, grants = self.is_root(key), self.grants_in_force(key, "read", now)
        return projection(self.operations(after, CLAIM), grants, root) if root or grants else iter(())

    def grants_in_force(self, key: str, capability: str, now: str) -> list[GrantEntry]:
        """The active grants of `key` that have this capability and are within their times at `now` (§1.3)."""
        return [
            grant
            for grant in self.author(key).grants
            if capability in grant.caps and status_of(grant) == "active" and in_force(grant, now)
        ]
