"""The logs of a node: tables, replicas as caches over them, the one way in, and a lock for readers (oplog §3, §7).

=====================  ==========================  =====================================================
table                  key                         value
=====================  ==========================  =====================================================
``oplog_operations``   ``key(log, number)``        the exact bytes of the stored operation of that number
``oplog_logs``         ``key(log)``                how many operations are stored, 8 bytes, big-endian
=====================  ==========================  =====================================================

Operations are numbered from 0 in the order of storing, so each comes after its ancestors, and a log is read again by
handing its rows to :meth:`Replica.restore` one after the other.

A replica is a cache.  Before a write its length is compared with the stored number.  If they differ, a commit failed
after the replica had taken operations in, and the log is read again from the tables.

Invariant: a replica holds what the tables hold, plus at most the operations of write blocks whose commit is not done.
With group commit these may be the blocks of several writers.

**What a reader may see before it is durable.**  The lock ends with the block, and the commit comes after it.  In
between :meth:`Node.reading` shows operations that are not on the disk yet.  If the commit then fails, they are gone
again, and their sender is answered 503.  So a read tells what this node holds, not what it will hold after a crash.
Two things are told only after the commit: the answer to whoever posted, and the events of :mod:`.feed`.

What waits for its parents, and the recent rejections, are in memory only: a restart loses both, and then the waiting
operations count as never delivered.

Locks: :attr:`Node._loading` while a log is read from the tables, and no other.  To admit, first a block of the store,
then :attr:`Node._lock`, never the other way round.  Stages 1 to 7 run before both.  Who holds the lock holds up every
log, and a writer who waits for it holds up every protocol, since it has the store's block.  So nobody holds it for more
than some milliseconds: a large batch is admitted a few operations at a time, and so is what had waited for one of them,
and long answers are made in several looks (reading.py).  Readers queue at :attr:`Node._queue` first, so however many
they are, a writer waits for one of them.

**One operation may change all that is stored** (refuting what all claims derive from, revoking a grant): that takes
seconds.  It is stored first, and what it changes is settled in slices, between which the lock is free.  Until then the
log is not *settled*: its stored set is right, what is derived from it is half done.  Whoever meets such a log, reader
or writer, settles the next slice (:meth:`Node._settle`) and tries again.  So readers see settled states only, nothing
else of that log is admitted meanwhile, no thread waits for another one to do it, and other logs and protocols go on.
What is derived is not in the tables: it is made anew whenever a log is read from them.  So a process that is killed
between two slices, or a commit that fails, leaves nothing half done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from omp.protocols.oplog.core.operation import Operation
from omp.protocols.oplog.core.replica import Outcome, Replica
from omp.protocols.oplog.core.steps import Pause
from omp.protocols.oplog.core.waiting import WaitingPool
from omp.protocols.oplog.feed import Feed
from omp.rules.engines import Engine
from omp.store.port import Reader, Store, Writer, after, key, leaving_out, required
from omp.web.signature_guard import SignatureGuard

T = TypeVar("T")

OPERATIONS = "oplog_operations"
LOGS = "oplog_logs"

_AT_ONCE = 64
"""Operations that one write block of the store admits, at most."""
_BLOCK_SECONDS = 0.01
"""How long a write block may take; it ends with the operation that goes beyond.

The number of operations alone is no measure of the work: a stranger's may merge a thousand forks, or be what a
thousand others have waited for.
"""
LOOK_SECONDS = 0.01
"""After how many seconds a reader gives way; a look at the log ends with the item that goes beyond."""
_GIVE_WAY_SECONDS = 0.0002


def pause_after(seconds: float) -> Pause:
    """Says that it is time to stop once so many seconds have passed."""
    ends = time.monotonic() + seconds
    return lambda: time.monotonic() >= ends


def give_way() -> None:
    """Between two slices: who waits for a lock is only woken when it is free, and must get it before we are back."""
    time.sleep(_GIVE_WAY_SECONDS)


def one_look(items: Iterator[T]) -> tuple[list[T], bool]:
    """(The next `items` of a long answer, as many as one look at the log is for; whether there may be more)."""
    seen: list[T] = []
    pause = pause_after(LOOK_SECONDS)
    for item in items:
        seen.append(item)
        if pause():
            return seen, True
    return seen, False


class _Held:
    """A log in memory.  `appended` is what :meth:`Feed.append` returned last: :meth:`Feed.publish` gets it."""

    __slots__ = ("appended", "feed", "replica")

    def __init__(self, log: str, pool: WaitingPool) -> None:
        self.replica = Replica(log, pool)
        self.feed = Feed()
        self.appended = 0


class Node:
    """Every log that this server stores, over the tables of `store`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._queue = threading.Lock()
        self._loading = threading.Lock()
        self._pool = WaitingPool()
        self._logs: dict[str, _Held] = {}

    # --- Writing

    def bytes_held(self, log: str) -> Callable[[str], bytes | None]:
        """For :func:`check_bytes`: maps an operation ID to the bytes that are stored, or wait, under it.  No lock."""
        held = self._logs.get(log)
        if held is not None:
            return held.replica.bytes_held

        def waiting(operation_id: str) -> bytes | None:
            # Nothing is loaded, but something may wait: sent again, it must not cost another verification.
            return self._pool.get(log, operation_id)

        return waiting

    def admit(self, log: str, operations: Sequence[Operation]) -> list[Outcome]:
        """Run stages 8 to 12 for each of `operations`, in order.

        Returns what became of each, once everything accepted is durable.  Raises
        :class:`~omp.store.port.StoreUnavailable`; what was committed before that stays.
        """
        self._loaded(log)  # not in a write block: a long log takes seconds
        outcomes: list[Outcome] = []
        more, began = bool(operations), time.monotonic()
        while more:
            self._settle_all(log)
            more = self._admit_some(log, operations, outcomes)
            if more and time.monotonic() - began >= _BLOCK_SECONDS:
                give_way()
                began = time.monotonic()
        return outcomes

    def _admit_some(self, log: str, operations: Sequence[Operation], outcomes: list[Outcome]) -> bool:
        """Admit the next few operations in one commit; adds to `outcomes`, and returns whether there is more to do."""
        held = None
        try:
            with self._store.write() as tx, self._lock:
                held = self._current(tx, log)
                done = _until_pause(held.replica, operations, outcomes)
                _write_rows(tx, log, held, done)
                _append_events(held, done)
                events = held.appended
                if len(held.replica):
                    self._logs[log] = held
                more = len(outcomes) < len(operations) or held.replica.unfinished
        except BaseException:
            self._forget(log, held)
            raise
        held.feed.publish(events)  # only now is it durable, and may be told
        return more

    def _current(self, tx: Reader, log: str) -> _Held:
        """The log in memory; read again if it is not what the table holds."""
        held = self._logs.get(log)
        if held is not None and len(held.replica) != _stored_number(tx, log):
            self._drop(log)
            held = None
        return held if held is not None else self._read(tx, log)

    def _read(self, tx: Reader, log: str) -> _Held:
        # Of a log that is not in memory nothing waits; while it is read, others may use the pool.
        held = _Held(log, WaitingPool())
        for raw in _rows_of(tx, log):
            for event in held.replica.restore(raw):
                held.appended = held.feed.append(event)
        held.feed.publish(held.appended)
        held.replica.wait_in(self._pool)
        return held

    def _forget(self, log: str, held: _Held | None) -> None:
        """The commit failed: what the replica took in with it is not stored."""
        with self._lock:
            # None: a log with nothing stored never got into _logs, or another writer whose commit failed has dropped
            # it; then only the pool has to forget.  If another object is there, the log has been read again since.
            if held is not None and self._logs.get(log) in (held, None):
                self._drop(log)

    def _drop(self, log: str) -> None:
        # What waits may be waiting for what is lost, so it counts as never delivered.
        self._pool.forget(log)
        held = self._logs.pop(log, None)
        if held is not None:
            held.feed.close()

    # --- Settling

    def _settle_all(self, log: str) -> None:
        """Settle what an operation has changed, slice by slice; in no block of the store: none of it is stored."""
        while (held := self._logs.get(log)) is not None and not held.replica.settled:
            with self._queue, self._lock:
                self._settle(log, held)
            give_way()

    def _settle(self, log: str, held: _Held) -> bool:
        """Settle a slice, with the lock held; returns whether `held` is settled, and still what is known of `log`."""
        if self._logs.get(log) is not held:
            return False
        try:
            # Its events are told by the writer, whose commit may not be done: it has more to do, and publishes then.
            for event in held.replica.settle(pause_after(_BLOCK_SECONDS)):
                held.appended = held.feed.append(event)
        except BaseException:
            self._drop(log)
            raise
        return held.replica.settled

    # --- Reading

    @contextmanager
    def reading(self, log: str) -> Iterator[Replica | None]:
        """The replica of `log`, settled, which does not change until the block ends; None if nothing is stored.

        Keep the block short: nothing is admitted meanwhile.
        """
        while (held := self._loaded(log)) is not None:
            with self._queue, self._lock:
                if self._settle(log, held):
                    yield held.replica
                    return
            give_way()
        yield None

    def leaving_out(self) -> AbstractContextManager[object]:
        """A block that ends where it meets a damaged row; the answer says so."""
        return leaving_out(self._store)

    def stores(self, log: str) -> bool:
        """Whether anything of `log` is stored."""
        return log in self._logs or self._store.get(LOGS, key(log)) is not None

    def feed(self, log: str) -> Feed | None:
        """The events of `log`; None if nothing is stored."""
        held = self._loaded(log)
        return held.feed if held is not None else None

    def _loaded(self, log: str) -> _Held | None:
        held = self._logs.get(log)
        if held is not None or self._store.get(LOGS, key(log)) is None:
            return held
        # One load at a time, and while it runs nothing else waits: nobody knows the new replica yet.
        with self._loading:
            held = self._logs.get(log)
            if held is not None:
                return held
            with self._store.read() as tx:
                found = self._read(tx, log)
            with self._lock:
                # A writer that came later may have been faster, and has stored more since.
                return self._logs.setdefault(log, found)

    def waiting(self, log: str) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
        """(What waits in `log`, the oldest first; the recent rejections of what had waited, the newest first)."""
        held = self._loaded(log)
        with self._lock:
            return self._pool.items(log), list(held.replica.rejected) if held is not None else []

    def logs(self) -> Iterator[str]:
        """The identity IDs of all stored logs, sorted; read some at a time, since the store may lock for a read."""
        rows, start = [b""], b""
        while rows:
            with self._store.read() as tx:
                rows = [row for row, _ in islice(tx.scan(LOGS, start), _AT_ONCE)]
            for row in rows:
                # key() ends a text with the bytes 00 01: what stands before them is the identity ID.
                yield row[:-2].decode()
                start = row + b"\0"

    def close(self) -> None:
        """End the event streams: the server stops."""
        with self._lock:
            for held in self._logs.values():
                held.feed.close()


def _stored_number(tx: Reader, log: str) -> int:
    return int.from_bytes(tx.get(LOGS, key(log)) or b"", "big")


def _rows_of(tx: Reader, log: str) -> Iterator[bytes]:
    """The bytes of every operation of a log; :class:`DamagedRow` where one is damaged or missing.

    Without it, what comes after it cannot be placed, and the state would be another.
    """
    prefix = key(log)
    number = 0
    for row, raw in tx.scan(OPERATIONS, prefix, after(prefix), complete=True):
        if row != key(log, number):
            break
        yield raw
        number += 1
    if number < _stored_number(tx, log):
        required(tx, OPERATIONS, key(log, number))


def _until_pause(replica: Replica, operations: Sequence[Operation], outcomes: list[Outcome]) -> list[Outcome]:
    """Admit operations, those after the ones in `outcomes`, until the block has done enough.

    What an earlier block left unfinished comes first.  It may be another writer's; the outcome before it, if there is
    one, has it too.  Adds to `outcomes`; returns what this block did, in order.
    """
    pause = pause_after(_BLOCK_SECONDS)
    done: list[Outcome] = []
    while len(done) < _AT_ONCE:
        if replica.unfinished:
            rest = replica.resume(pause)
            done.append(rest)
            if outcomes:
                last = outcomes[-1]
                outcomes[-1] = last._replace(stored=last.stored + rest.stored, events=last.events + rest.events)
        elif len(outcomes) < len(operations):
            outcomes.append(replica.admit(operations[len(outcomes)], pause))
            done.append(outcomes[-1])
        else:
            break
        if pause():
            break
    return done


def _write_rows(tx: Writer, log: str, held: _Held, outcomes: Sequence[Outcome]) -> None:
    """Write what `outcomes` added to the log into the tables."""
    entries = [entry for outcome in outcomes for entry in outcome.stored]
    number = len(held.replica) - len(entries)
    for entry in entries:
        tx.put(OPERATIONS, key(log, number), entry.raw)
        number += 1
    if entries:
        tx.put(LOGS, key(log), number.to_bytes(8, "big"))


def _append_events(held: _Held, outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        for event in outcome.events:
            held.appended = held.feed.append(event)


@dataclass(frozen=True)
class OpLog:
    """What the handlers in posting.py and reading.py are given.  `clock` returns epoch seconds."""

    node: Node
    engine: Engine
    signatures: SignatureGuard
    clock: Callable[[], float]
    anybody_begins: bool = True
    """Whether a log that is not stored begins without a signature by a configured key (§7.2)."""

    def now(self) -> str:
        """The time as a timestamp of §1.3."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
