"""Logs on their way from the tables into memory, without keeping anybody else waiting (oplog §7.7).

A log of 100,000 operations takes two seconds of work here, and while it is read the server does everything else as
ever.  Three rules see to that:

* **Slices.**  A load is a generator of small steps.  It runs for :data:`SLICE_SECONDS`, and then lets the other threads
  of the interpreter have it; where they do use it, for four times as long.  All loads together have one slice at a
  time: ten logs at once disturb the others no more than one.
* **Short reads.**  Rows are read some at a time, each time in a block of the store of its own.  Rows are never changed,
  and nobody adds to a log that is not in memory, so the pieces fit.
* **What was verified is not verified again.**  Rows are what this server wrote itself after all twelve stages.  No
  signature, no schema, no check of the past: the bytes are parsed and linked (:meth:`Replica.link`), and what is
  derived is derived once, at the end (:meth:`Replica.derive`).  The operation ID is computed all the same.  So a row
  whose bytes have changed has another ID, and those that build on it do not find it: a row of the log is damaged, which
  is :class:`~omp.store.port.DamagedRow`, and concerns no other log.

The latest operations, :data:`_TAIL`, are taken back one at a time as when they came (:meth:`Replica.restore`), for
their events: as many as :class:`~.feed.Feed` holds.  So a reader of events goes on over a restart.  One of them may
have changed the whole log, and then takes as many steps as that has (:mod:`.core.steps`).

**Who is first.**  A log that a request asks for is loaded by the thread of that request; others who ask for the same
log wait for it, and nobody else does.  After the start :meth:`Loader.read_ahead` reads the large logs in the
background, the largest first, and pauses while a request waits for another one.

While a large log is read the cyclic garbage collector is off, and afterwards it leaves out what is there
(``gc.freeze``).  It would walk over all entries again and again to find nothing, since a log is never given up, and
each walk over 100,000 operations keeps every thread waiting for a tenth of a second.  For what is stored later the
process has thresholds (``GC_THRESHOLDS`` in entry.py): both are needed, since a load makes more at once than any
threshold is for.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from omp.protocols.oplog.core.outcomes import Event
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.steps import Steps, always
from omp.protocols.oplog.core.verify import OplogError
from omp.protocols.oplog.core.waiting import WaitingPool
from omp.protocols.oplog.feed import KEPT, Feed
from omp.store.port import DamagedRow, Reader, Store, StoreUnavailable, key, required

OPERATIONS = "oplog_operations"

LARGE = 5_000
"""From so many operations on a log is read ahead: what is smaller takes less than a fifth of a second when needed."""
READ_AHEAD = 1_000_000
"""How many operations are read ahead in all: about 1.2 GB.  Further logs wait until they are asked for."""
PROGRESS = 20_000
"""After so many operations, each time, a line of the server's log says how far a load is; half of it deserves none."""

SLICE_SECONDS = 0.00025
"""How long a load works at a time: a request that needs the interpreter waits for half of it on average."""
_YIELD_SECONDS = 0.00005
_PAUSE_SECONDS = 0.001
"""The pause after a slice: the first where nobody else works, both where somebody does."""
_ROWS = 128
"""Rows that are read in one block of the store."""
_TAIL = KEPT + 1  # one more than the feed holds: what has left it is how it knows where it begins


class HeldLog:
    """A log in memory.

    `appended` is what :meth:`Feed.append` returned last: :meth:`Feed.publish` gets it.  `stored`: some of it is known
    to be in the tables.
    """

    __slots__ = ("appended", "feed", "replica", "stored")

    def __init__(self, log: str, pool: WaitingPool) -> None:
        self.replica = Replica(log, pool)
        self.feed = Feed()
        self.appended = 0
        self.stored = False

    def tell(self, events: Iterable[Event]) -> None:
        """Give the feed what has happened; nobody sees it before :meth:`Feed.publish`."""
        for event in events:
            self.appended = self.feed.append(event)

    def take_back(self, raw: bytes) -> Steps[None]:
        """Take in the next row of the log, with the events it caused."""
        self.tell(self.replica.restore(raw, always))
        while not self.replica.settled:
            yield
            self.tell(self.replica.settle(always))


def rows(tx: Reader, log: str, start: int, end: int) -> Iterator[bytes]:
    """The bytes of the operations with the numbers from `start` to before `end`.

    Raises :class:`~omp.store.port.DamagedRow` if one is damaged or missing: without it, what comes after it cannot be
    placed, and the state would be another.
    """
    number = start
    for row, raw in tx.scan(OPERATIONS, key(log, start), key(log, end), complete=True):
        if row != key(log, number):
            break
        yield raw
        number += 1
    if number < end:
        required(tx, OPERATIONS, key(log, number))


class Loader:
    """Reads logs of `store`; `say` takes a line of the server's log."""

    def __init__(self, store: Store, say: Callable[[str], None]) -> None:
        self._store = store
        self._say = say
        self._slice = threading.Lock()
        """Held by the load that runs, for one slice."""
        self._asked_for = 0
        """How many loads that a request waits for are under way; changed in a slice."""
        self._stopped = threading.Event()
        self._ahead: threading.Thread | None = None
        self._damaged: dict[str, tuple[str, bytes, str]] = {}
        """Log -> table, key and what is wrong with the row for which it cannot be loaded: no need to look again."""

    # --- One log

    def load(self, log: str, number: int, *, ahead: bool = False) -> HeldLog:
        """The first `number` operations of `log`, which are in the tables.  `ahead`: nobody waits for it.

        Raises :class:`~omp.store.port.DamagedRow`, or :class:`~omp.store.port.StoreUnavailable` if the server stops.
        """
        if log in self._damaged:  # a restart finds out whether it was repaired
            raise self._store.damage.met(*self._damaged[log])
        held = HeldLog(log, WaitingPool())  # of a log that is not in memory nothing waits
        with self._counted(ahead), _without_collector(number):
            steps = self._steps(held, number)
            try:
                while self._run_slice(steps):
                    self._give_way(ahead)
            except DamagedRow as row:
                self._damaged[log] = row.table, row.key, row.reason
                raise
        held.feed.publish(held.appended)
        held.stored = True
        return held

    def _steps(self, held: HeldLog, number: int) -> Iterator[None]:
        """Load the first `number` operations; yields after each small step."""
        replica, began, at_once = held.replica, time.monotonic(), max(0, number - _TAIL)
        for done, raw in enumerate(self._rows(replica.log, number)):
            if done == at_once and at_once:
                yield from replica.derive()
                held.feed.begin(at_once)
            try:
                if done < at_once:
                    replica.link(raw)
                else:
                    yield from held.take_back(raw)
                if len(replica) != done + 1:
                    raise ValueError("this operation was stored before")
            except (OplogError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
                problem = f"it, or what it builds on, is no longer an operation of this log ({error})"
                raise self._store.damage.met(OPERATIONS, key(replica.log, done), problem) from error
            if done % PROGRESS == PROGRESS // 2:
                self._say(f"loading log {replica.log}: {done:,} of {number:,} operations")
            yield
        if number > PROGRESS // 2:
            self._say(f"loaded log {replica.log}: {number:,} operations in {time.monotonic() - began:.1f} s")

    def _rows(self, log: str, number: int) -> Iterator[bytes]:
        for start in range(0, number, _ROWS):
            with self._store.read() as tx:
                some = list(rows(tx, log, start, min(start + _ROWS, number)))
            yield from some

    # --- Giving way

    def _run_slice(self, steps: Iterator[None]) -> bool:
        """Run some of the `steps`; returns whether there are more."""
        with self._slice:
            ends = time.monotonic() + SLICE_SECONDS
            for _ in steps:
                if time.monotonic() >= ends:
                    return True
        return False

    def _give_way(self, ahead: bool) -> None:
        worked = time.process_time()
        time.sleep(_YIELD_SECONDS)
        if time.process_time() - worked > _YIELD_SECONDS:
            # Another thread has worked meanwhile, and mostly needs the interpreter again in a moment: a request waits
            # for its socket and for the disk several times.
            time.sleep(_PAUSE_SECONDS)
        while ahead and self._asked_for and not self._stopped.wait(0.01):
            pass
        if self._stopped.is_set():
            raise StoreUnavailable("the server stops")

    @contextmanager
    def _counted(self, ahead: bool) -> Iterator[None]:
        number = 0 if ahead else 1
        with self._slice:
            self._asked_for += number
        try:
            yield
        finally:
            with self._slice:
                self._asked_for -= number

    # --- The large ones

    def read_ahead(self, logs: Iterable[tuple[str, int]], load: Callable[[str], object]) -> None:
        """Begin to read the large ones of `logs`, the largest first, in a thread of its own.

        `logs` are (identity ID, number of operations); `load` is called with the ID of each.
        """
        self._ahead = threading.Thread(target=self._read_large, args=(logs, load), name="omp logs", daemon=True)
        self._ahead.start()

    def _read_large(self, logs: Iterable[tuple[str, int]], load: Callable[[str], object]) -> None:
        room = READ_AHEAD
        try:
            large = [(number, log) for log, number in logs if number >= LARGE]
            for number, log in sorted(large, reverse=True):
                if number <= room and not self._stopped.is_set():
                    room -= number
                    self._read_one(load, log)
        except StoreUnavailable as error:
            if not self._stopped.is_set():
                self._say(f"large logs are not read ahead: {error}")

    def _read_one(self, load: Callable[[str], object], log: str) -> None:
        try:
            load(log)
        except DamagedRow as row:
            self._say(f"log {log} is not read ahead: {row.for_operator()}")
        except StoreUnavailable as error:
            if not self._stopped.is_set():
                self._say(f"log {log} is not read ahead: {error}")  # the next one may well be readable

    def stop(self) -> None:
        """End every load under way, with :class:`~omp.store.port.StoreUnavailable`; returns when none reads ahead."""
        self._stopped.set()
        if self._ahead is not None:
            self._ahead.join()


# --- The collector ----------------------------------------------------------------------------------------------

_collector = threading.Lock()
_loads = 0
_was_on = False


@contextmanager
def _without_collector(number: int) -> Iterator[None]:
    """For a load of so many operations: the cyclic garbage collector is off until the last such load is over."""
    global _loads, _was_on
    if number < LARGE:
        yield
        return
    with _collector:
        if not _loads:
            _was_on = gc.isenabled()
            gc.disable()
        _loads += 1
    try:
        yield
    finally:
        with _collector:
            _loads -= 1
            if not _loads and _was_on:
                gc.freeze()
                gc.enable()
