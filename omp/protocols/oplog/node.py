"""The logs of a node: tables, replicas as caches over them, the one way in, and a lock for readers (oplog §3, §7).

=====================  ==========================  =====================================================
table                  key                         value
=====================  ==========================  =====================================================
``oplog_operations``   ``key(log, number)``        the exact bytes of the stored operation of that number
``oplog_logs``         ``key(log)``                how many operations are stored, 8 bytes, big-endian
=====================  ==========================  =====================================================

Operations are numbered from 0 in the order of storing, so each comes after its ancestors.  :mod:`.loading` reads a log
into memory, from where it never goes away again but by a fault of this server's own code.

**What a failed commit leaves.** Nothing is undone. What a replica took in had passed all twelve stages and is true,
whether it is on the disk or not; only, whoever sent it was answered 503 and not told that it is kept. So the invariant
is: *a replica holds what the tables hold, and perhaps more, which comes after it in the order of storing.* It rests on
one rule, :func:`_write_rows`: a block writes everything that the replica has and the tables, as this block sees them,
have not. If that was something already when the block began, some commit has failed; then the block only writes and
admits nothing, so as long as the disk is full at most the operations of one round of blocks are held unwritten. With
group commit a block may fail although its own rows were fine, because it had seen rows of one that failed. And a later
block is never kept where an earlier one was lost: either it saw the earlier one's rows, and then it shares its fate, or
it did not, and then it writes them itself. :meth:`Node.write_again` tries about once a second; nobody has to write.

A restart loses what is unwritten, and its sender, who was answered 503, sends it again.  Sent again before, it is a
duplicate, and that answer too comes after the commit.  Only a log of which nothing is stored yet is given up when its
commit fails; else, with a full disk, strangers could fill the memory with beginnings.

**What a reader may see before it is durable.**  The lock ends with the block, and the commit comes after it.  In
between, and as long as commits fail, :meth:`Node.reading` shows operations that are not on the disk.  So a read tells
what this node holds, not what it will hold after a crash.  Two things are told only after the commit: the answer to
whoever posted, and the events of :mod:`.feed`.

What waits for its parents, and the recent rejections, are in memory only: a restart loses both, and then the waiting
operations count as never delivered.

Locks: a log has one of its own while it is loaded, for those who ask for the same log.  To admit, first a block of the
store, then :attr:`Node._lock`, never the other way round; a load holds neither.  Stages 1 to 7 run before both.  Who
holds the lock holds up every log, and a writer who waits for it holds up every protocol, since it has the store's
block.  So nobody holds it for more than some milliseconds: a large batch is admitted a few operations at a time, and so
is what had waited for one of them, and long answers are made in several looks (reading.py).  Readers queue at
:attr:`Node._queue` first, so however many they are, a writer waits for one of them.

**One operation may change all that is stored** (refuting what all claims derive from, revoking a grant): that takes
seconds.  It is stored first, and what it changes is settled in slices, between which the lock is free.  Until then the
log is not *settled*: its stored set is right, what is derived from it is half done.  Whoever meets such a log, reader
or writer, settles the next slice (:meth:`Node._settle`) and tries again.  So readers see settled states only, nothing
else of that log is admitted meanwhile, no thread waits for another one to do it, and other logs and protocols go on.
What is derived is not in the tables: it is made anew whenever a log is read from them.  So a process that is killed
between two slices leaves nothing half done.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar
from weakref import WeakValueDictionary

from omp.protocols.oplog.core.operation import Operation
from omp.protocols.oplog.core.outcomes import Outcome
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.steps import Pause, finish
from omp.protocols.oplog.core.waiting import WaitingPool
from omp.protocols.oplog.feed import Feed
from omp.protocols.oplog.loading import OPERATIONS, HeldLog, Loader, rows
from omp.rules.engines import Engine
from omp.store.port import Reader, Store, StoreUnavailable, Writer, key, leaving_out
from omp.web.metrics import Family, single
from omp.web.signature_guard import SignatureGuard

T = TypeVar("T")

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
_ROWS = 64
"""Logs that are listed in one block of the store, since the store may lock for a read."""


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


class Node:
    """Every log that this server stores, over the tables of `store`."""

    def __init__(self, store: Store, say: Callable[[str], None] = lambda line: None) -> None:
        """`say` takes a line of the server's log."""
        self._store = store
        self._lock = threading.Lock()
        self._queue = threading.Lock()
        self._pool = WaitingPool()
        self._logs: dict[str, HeldLog] = {}
        self._loader = Loader(store, say)
        self._loads: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        """Log -> the lock that whoever loads it holds."""
        self._unwritten: set[str] = set()
        """Logs of which a commit has failed since :meth:`write_again` last wrote them."""

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
        outcomes: list[Outcome] = []
        if operations:
            self._admit_all(log, operations, outcomes)
        return outcomes

    def _admit_all(self, log: str, operations: Sequence[Operation], outcomes: list[Outcome]) -> None:
        """Admit `operations`, and finish what is unwritten or unfinished of `log`; adds to `outcomes`."""
        more, began = True, time.monotonic()
        while more:
            self._settle_all(log)
            more = self._admit_some(log, operations, outcomes)
            if more and time.monotonic() - began >= _BLOCK_SECONDS:
                give_way()
                began = time.monotonic()

    def _admit_some(self, log: str, operations: Sequence[Operation], outcomes: list[Outcome]) -> bool:
        """Admit the next few operations in one commit; adds to `outcomes`, and returns whether there is more to do."""
        held = self._loaded(log)  # not in a write block: a long log takes seconds
        try:
            with self._store.write() as tx, self._lock:
                held, number = self._logs.get(log), _number(tx.get(LOGS, key(log)))
                if held is None and number:
                    return True  # it was given up, or begun, since we have looked: it must be loaded first
                if held is None:
                    held = HeldLog(log, self._pool)
                if len(held.replica) == number:
                    self._take_in(log, held, operations, outcomes)
                elif len(held.replica) < number:
                    _catch_up(tx, log, held, number)
                _write_rows(tx, log, held, number)
                events = held.appended
                if len(held.replica):
                    self._logs[log] = held
                more = len(outcomes) < len(operations) or held.replica.unfinished
        except BaseException:
            self._not_written(log, held)
            raise
        held.stored = held.stored or len(held.replica) > 0
        held.feed.publish(events)  # only now is it durable, and may be told
        return more

    def _take_in(self, log: str, held: HeldLog, operations: Sequence[Operation], outcomes: list[Outcome]) -> None:
        try:
            for outcome in _until_pause(held.replica, operations, outcomes):
                held.tell(outcome.events)
        except BaseException:
            self._fail(log)
            raise

    def _fail(self, log: str) -> None:
        """Our own fault, half way through a change: what is derived may be wrong now."""
        self._give_up(log)
        self._unwritten.add(log)  # what others are just committing is to be taken back
        gc.unfreeze()  # it is full of cycles, and loading.py has told the collector that it stays

    def _not_written(self, log: str, held: HeldLog | None) -> None:
        """The commit of a block failed: see above, "What a failed commit leaves"."""
        with self._lock:
            if held is not None and self._logs.get(log) is held:
                if held.stored:
                    self._unwritten.add(log)
                else:
                    self._give_up(log)

    def _give_up(self, log: str) -> None:
        """Forget a log, if it is in memory: it is loaded again when it is needed."""
        # What waits may be waiting for what is lost, so it counts as never delivered.
        self._pool.forget(log)
        self._unwritten.discard(log)
        held = self._logs.pop(log, None)
        if held is not None:
            held.feed.close()

    def write_again(self) -> None:
        """Write what failed commits have left unwritten, as far as that is possible now."""
        with suppress(StoreUnavailable):
            for log in list(self._unwritten):
                self._unwritten.discard(log)  # first, so that a commit that fails meanwhile is not overlooked
                self._admit_all(log, (), [])

    # --- Settling

    def _settle_all(self, log: str) -> None:
        """Settle what an operation has changed, slice by slice; in no block of the store: none of it is stored."""
        while (held := self._logs.get(log)) is not None and not held.replica.settled:
            with self._queue, self._lock:
                self._settle(log, held)
            give_way()

    def _settle(self, log: str, held: HeldLog) -> bool:
        """Settle a slice, with the lock held; returns whether `held` is settled, and still what is known of `log`."""
        if self._logs.get(log) is not held:
            return False
        try:
            # Its events are told by the writer, whose commit may not be done: it has more to do, and publishes then.
            # Where that commit has failed, write_again has more to do.
            held.tell(held.replica.settle(pause_after(_BLOCK_SECONDS)))
        except BaseException:
            self._fail(log)
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

    def _loaded(self, log: str, *, ahead: bool = False) -> HeldLog | None:
        """The log in memory; loaded first if it is not there; None if nothing of it is stored."""
        held = self._logs.get(log)
        if held is not None:
            return held
        number = _number(self._store.get(LOGS, key(log)))
        if not number:
            return None
        with self._lock:
            of_this_log = self._loads.setdefault(log, threading.Lock())
        with of_this_log:
            held = self._logs.get(log)
            if held is not None:
                return held
            found = self._loader.load(log, number, ahead=ahead)
            with self._lock:
                # If it was just given up, a writer may have been faster.
                held = self._logs.setdefault(log, found)
                if held is found:
                    held.replica.wait_in(self._pool)
                return held

    def read_ahead(self) -> None:
        """Begin to load the large logs in the background, if the store had anything before this server."""
        if self._store.durable:
            self._loader.read_ahead(self._stored(), lambda log: self._loaded(log, ahead=True))

    def waiting(self, log: str) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
        """(What waits in `log`, the oldest first; the recent rejections of what had waited, the newest first)."""
        held = self._loaded(log)
        with self._lock:
            return self._pool.items(log), list(held.replica.rejected) if held is not None else []

    def logs(self) -> Iterator[str]:
        """The identity IDs of all stored logs, sorted."""
        return (log for log, _ in self._stored())

    def _stored(self) -> Iterator[tuple[str, int]]:
        """(Identity ID, number of operations) of every stored log, sorted; some rows are read at a time."""
        start: bytes | None = b""
        while start is not None:
            with self._store.read() as tx:
                some = list(islice(tx.scan(LOGS, start), _ROWS))
            for row, number in some:
                # key() ends a text with the bytes 00 01: what stands before them is the identity ID.
                yield row[:-2].decode(), _number(number)
            start = some[-1][0] + b"\0" if len(some) == _ROWS else None

    def numbers(self) -> Iterator[Family]:
        """What the operator may watch (omp §6.1)."""
        waiting, weight = self._pool.held
        yield single("omp_oplog_logs_in_memory", "gauge", "Logs that are held in memory.", len(self._logs))
        yield single("omp_oplog_waiting_operations", "gauge", "Operations that wait for ancestors.", waiting)
        yield single("omp_oplog_waiting_bytes", "gauge", "What these weigh (oplog section 3.2).", weight)

    def close(self) -> None:
        """End the loads and the event streams: the server stops."""
        self._loader.stop()
        with self._lock:
            for held in self._logs.values():
                held.feed.close()


def _number(row: bytes | None) -> int:
    """How many operations a row of :data:`LOGS` says."""
    return int.from_bytes(row or b"", "big")


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


def _catch_up(tx: Reader, log: str, held: HeldLog, number: int) -> None:
    """Take in what the tables hold and the replica does not.

    That is what writers stored before the log was given up, and committed after it was loaded again.
    """
    for raw in rows(tx, log, len(held.replica), number):
        finish(held.take_back(raw))
    if len(held.replica) < number:
        raise tx.damage.met(OPERATIONS, key(log, number - 1), "this log has one of its operations twice")


def _write_rows(tx: Writer, log: str, held: HeldLog, number: int) -> None:
    """Write what the log has beyond the `number` operations that the tables hold."""
    entries = held.replica.since(number)
    for place, entry in enumerate(entries, number):
        tx.put(OPERATIONS, key(log, place), entry.raw)
    if entries:
        tx.put(LOGS, key(log), (number + len(entries)).to_bytes(8, "big"))


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
