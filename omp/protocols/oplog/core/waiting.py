"""The bounded pool in which operations wait for their ancestors (oplog §3.2, stage 8: ``DEFER``).

A waiting operation is signed by some key, but nobody knows yet whether that key may write: authority is checked against
the past, which is incomplete.  So anyone can fill the pool.  It is therefore bounded, for each log and over all logs.
What is evicted first is what is most likely a stranger's, by three ranks; within a rank, the oldest goes first:

0. whatever waits in a log of which nothing is stored, the root's own operations too: anybody can make up a log;
1. operations by a key that is not the root and that no stored grant names;
2. the rest.

What is evicted counts as never delivered.  The pool is in memory only, so a restart of the server empties it.

Only the bytes of a waiting operation are kept, and it is parsed again when its time has come.  A parsed value may take
twenty times the memory of its text (``[[],[],…]``), and the pool should hold what its bounds say: :func:`weight` counts
the bytes and what is kept beside them.

No call costs more than the operations it is about: what waits is found by its author, and leaves its queue without a
search.  Otherwise each grant in a large log would look at all that strangers have left here.

One pool serves all logs of a node.  Handled here: bounds, the order of eviction, who waits for what.  The caller (a
replica) must say when a log has its first stored operation, and when a stored grant names a key.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from omp.protocols.oplog.core.operation import Operation

_NOTHING_STORED, _STRANGER, _KNOWN = range(3)  # the ranks, in the order of eviction
_TAKEN = -1


class Bounds(NamedTuple):
    """§3.2: how much may wait.  Sizes are those of :func:`weight`."""

    operations_a_log: int = 10_000
    bytes_a_log: int = 64 << 20
    bytes: int = 256 << 20


def weight(size: int, missing: int) -> int:
    """The memory, in bytes, of a waiting operation of `size` bytes with so many `missing` ancestors: §3.2.

    The two constants are what the objects here take, measured, and rounded up to what is easy to remember.
    """
    return size + 1024 + 512 * missing


class _Waiting:
    __slots__ = ("arrival", "author", "id", "log", "missing", "rank", "raw", "weight")

    def __init__(self, operation: Operation, missing: list[str], rank: int, arrival: int) -> None:
        self.log = operation.log
        self.id = operation.id
        self.raw = operation.raw
        self.author = operation.author
        self.missing = missing
        self.rank = rank
        self.arrival = arrival
        self.weight = weight(len(operation.raw), len(missing))


class _Queue:
    """What waits in one rank, the oldest first.

    A heap by arrival, since what comes from another rank may be older than what is here.  What has left stays in the
    heap until it is at the top, or until half of the heap has left.
    """

    __slots__ = ("_gone", "_heap", "_rank")

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._heap: list[tuple[int, _Waiting]] = []
        self._gone = 0

    def add(self, waiting: _Waiting) -> None:
        heappush(self._heap, (waiting.arrival, waiting))

    def one_has_left(self) -> None:
        """The caller has given something in this queue another rank."""
        self._gone += 1
        if self._gone > 16 + len(self._heap) // 2:
            self._heap = [item for item in self._heap if item[1].rank == self._rank]
            heapify(self._heap)
            self._gone = 0

    def first(self) -> _Waiting | None:
        """The oldest; None if nothing waits."""
        heap = self._heap
        while heap and heap[0][1].rank != self._rank:
            heappop(heap)
            self._gone -= 1
        return heap[0][1] if heap else None


_Queues = tuple[_Queue, _Queue, _Queue]


def _queues() -> _Queues:
    return _Queue(_NOTHING_STORED), _Queue(_STRANGER), _Queue(_KNOWN)


class _LogQueues:
    """What waits in one log.

    `by_id` holds it, the oldest first; `queues` by rank; `by_author`, for each rank, what each key has waiting;
    `waiting_for` maps each missing ancestor to the IDs of those that wait for it; `weight` is that of all.
    """

    __slots__ = ("by_author", "by_id", "queues", "waiting_for", "weight")

    def __init__(self) -> None:
        self.by_id: dict[str, _Waiting] = {}
        self.queues = _queues()
        self.by_author: tuple[dict[str, dict[_Waiting, None]], ...] = ({}, {}, {})
        self.weight = 0
        self.waiting_for: dict[str, dict[str, None]] = {}


class WaitingPool:
    """The operations that wait, of all logs of a node."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.raws: dict[tuple[str, str], bytes] = {}
        """The bytes of what waits, by (log, operation ID).  Others may look something up in it, without a lock too."""
        self._bounds = bounds or Bounds()
        self._logs: dict[str, _LogQueues] = {}
        self._queues = _queues()
        self._weight = 0
        self._arrivals = 0

    def add(self, operation: Operation, missing: list[str], started: bool, known_key: bool) -> None:
        """Let `operation` wait for `missing`, the IDs of its parents that are not stored.

        If that is too much, something is evicted, perhaps this very operation.

        `started`: the log has stored operations.  `known_key`: its author is the root, or a stored grant names it.
        An operation that waits already keeps its place and its first bytes.
        """
        log = self._logs.setdefault(operation.log, _LogQueues())
        if operation.id in log.by_id:
            return
        rank = _NOTHING_STORED if not started else _KNOWN if known_key else _STRANGER
        self._arrivals += 1
        waiting = _Waiting(operation, missing, rank, self._arrivals)
        self._enqueue(log, waiting)
        log.by_id[waiting.id] = waiting
        self.raws[waiting.log, waiting.id] = waiting.raw
        for ancestor in missing:
            log.waiting_for.setdefault(ancestor, {})[waiting.id] = None
        log.weight += waiting.weight
        self._weight += waiting.weight
        self._shrink(log)

    def _shrink(self, log: _LogQueues) -> None:
        """Evict until both bounds hold again: in this log first, so that one log cannot push out those of others."""
        bounds = self._bounds
        while len(log.by_id) > bounds.operations_a_log or log.weight > bounds.bytes_a_log:
            self.take(*_first(log.queues))
        while self._weight > bounds.bytes:
            self.take(*_first(self._queues))

    def take(self, log_id: str, operation_id: str) -> bytes | None:
        """Take an operation out and return its bytes; None if it does not wait."""
        log = self._logs.get(log_id)
        waiting = log.by_id.pop(operation_id, None) if log is not None else None
        if log is None or waiting is None:
            return None
        del self.raws[log_id, operation_id]
        self._dequeue(log, waiting, _TAKEN)
        log.weight -= waiting.weight
        self._weight -= waiting.weight
        for ancestor in waiting.missing:
            waiters = log.waiting_for.get(ancestor)
            if waiters is not None:
                waiters.pop(operation_id, None)
                if not waiters:
                    del log.waiting_for[ancestor]
        if not log.by_id:
            del self._logs[log_id]
        return waiting.raw

    def forget(self, log_id: str) -> None:
        """Take out all that waits in a log."""
        log = self._logs.get(log_id)
        for operation_id in list(log.by_id) if log is not None else ():
            self.take(log_id, operation_id)

    def arrived(self, log_id: str, operation_id: str) -> list[str]:
        """Note that `operation_id` has been stored.

        Returns the IDs of the operations that waited for it and for nothing else, in the order in which they came.
        """
        log = self._logs.get(log_id)
        ready = []
        for waiter in log.waiting_for.pop(operation_id, {}) if log is not None else {}:
            missing = log.by_id[waiter].missing  # type: ignore[union-attr]
            missing.remove(operation_id)
            if not missing:
                ready.append(waiter)
        return ready

    def log_started(self, log_id: str) -> None:
        """The log has its first stored operation: what waits there leaves rank 0."""
        log = self._logs.get(log_id)
        if log is not None:
            self._promote(log, [one for of_key in log.by_author[_NOTHING_STORED].values() for one in of_key], _STRANGER)

    def key_known(self, log_id: str, key: str) -> None:
        """`key` is the root, or a stored grant names it: what it has waiting is evicted last."""
        log = self._logs.get(log_id)
        if log is not None:
            for rank in (_NOTHING_STORED, _STRANGER):
                self._promote(log, list(log.by_author[rank].get(key, ())), _KNOWN)

    def _promote(self, log: _LogQueues, moved: Iterable[_Waiting], to: int) -> None:
        """Move these to another rank, where each has the place that its arrival gives it."""
        for waiting in moved:
            self._dequeue(log, waiting, to)
            self._enqueue(log, waiting)

    def _enqueue(self, log: _LogQueues, waiting: _Waiting) -> None:
        log.queues[waiting.rank].add(waiting)
        self._queues[waiting.rank].add(waiting)
        log.by_author[waiting.rank].setdefault(waiting.author, {})[waiting] = None

    def _dequeue(self, log: _LogQueues, waiting: _Waiting, to: int) -> None:
        rank, waiting.rank = waiting.rank, to
        log.queues[rank].one_has_left()
        self._queues[rank].one_has_left()
        of_key = log.by_author[rank][waiting.author]
        del of_key[waiting]
        if not of_key:
            del log.by_author[rank][waiting.author]

    @property
    def held(self) -> tuple[int, int]:
        """How many operations wait, and what they weigh (:func:`weight`)."""
        return len(self.raws), self._weight

    def get(self, log_id: str, operation_id: str) -> bytes | None:
        """The bytes of the operation that waits under this ID, or None."""
        return self.raws.get((log_id, operation_id))

    def missing(self, log_id: str, operation_id: str) -> list[str] | None:
        """The IDs an operation waits for, ``prev`` first, then in the order of ``deps``; None if it does not wait."""
        log = self._logs.get(log_id)
        waiting = log.by_id.get(operation_id) if log is not None else None
        return list(waiting.missing) if waiting is not None else None

    def items(self, log_id: str) -> list[tuple[str, list[str]]]:
        """What waits in a log, the oldest first: (operation ID, what it waits for).

        Without what waits for nothing any more and is about to be judged.
        """
        log = self._logs.get(log_id)
        waiting = log.by_id.values() if log is not None else ()
        return [(one.id, list(one.missing)) for one in waiting if one.missing]


def _first(queues: _Queues) -> tuple[str, str]:
    """The name of what goes next: the oldest of the lowest rank."""
    waiting = next(first for queue in queues if (first := queue.first()) is not None)
    return waiting.log, waiting.id
