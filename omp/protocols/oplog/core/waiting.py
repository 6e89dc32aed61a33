"""The bounded pool in which operations wait for their ancestors (oplog §3.2, stage 8: ``DEFER``).

A waiting operation is signed by some key, but nobody knows yet whether that key may write: authority is checked against
the past, which is incomplete.  So anyone can fill the pool.  It is therefore bounded, for each log and over all logs.
What is evicted first is what is most likely a stranger's, by three ranks; within a rank, the oldest goes first:

0. whatever waits in a log of which nothing is stored, the root's own operations too: anybody can make up a log;
1. operations by a key that is not the root and that no stored grant names;
2. the rest.

What is evicted counts as never delivered.  The pool is in memory only, so a restart of the server empties it.

One pool serves all logs of a node.  Handled here: bounds, the order of eviction, who waits for what.  The caller (a
replica) must say when a log has its first stored operation, and when a stored grant names a key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from omp.protocols.oplog.core.operation import Operation

_NOTHING_STORED, _STRANGER, _KNOWN = range(3)  # the ranks, in the order of eviction


class Bounds(NamedTuple):
    """§3.2: how much may wait.  Sizes are in bytes of the operations as they were sent."""

    operations_a_log: int = 10_000
    bytes_a_log: int = 64 << 20
    bytes: int = 256 << 20


class _Waiting:
    __slots__ = ("arrival", "missing", "operation", "rank")

    def __init__(self, operation: Operation, missing: list[str], rank: int, arrival: int) -> None:
        self.operation = operation
        self.missing = missing
        self.rank = rank
        self.arrival = arrival


_Queue = OrderedDict[tuple[str, str], _Waiting]  # (log, operation ID), the oldest first


def _queues() -> tuple[_Queue, _Queue, _Queue]:
    return OrderedDict(), OrderedDict(), OrderedDict()


class _LogQueues:
    """What waits in one log.

    `by_id` holds it, the oldest first; `queues` by rank; `waiting_for` maps each missing ancestor to the IDs of those
    that wait for it; `size` is in bytes.
    """

    __slots__ = ("by_id", "queues", "size", "waiting_for")

    def __init__(self) -> None:
        self.by_id: dict[str, _Waiting] = {}
        self.queues = _queues()
        self.size = 0
        self.waiting_for: dict[str, dict[str, None]] = {}


class WaitingPool:
    """The operations that wait, of all logs of a node."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.operations: dict[tuple[str, str], Operation] = {}
        """What waits, by (log, operation ID).  Others may look something up in it, also without a lock."""
        self._bounds = bounds or Bounds()
        self._logs: dict[str, _LogQueues] = {}
        self._queues = _queues()
        self._size = 0
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
        log.by_id[operation.id] = waiting
        self.operations[operation.log, operation.id] = operation
        for ancestor in missing:
            log.waiting_for.setdefault(ancestor, {})[operation.id] = None
        log.size += len(operation.raw)
        self._size += len(operation.raw)
        self._shrink(log)

    def _shrink(self, log: _LogQueues) -> None:
        """Evict until both bounds hold again: in this log first, so that one log cannot push out those of others."""
        bounds = self._bounds
        while len(log.by_id) > bounds.operations_a_log or log.size > bounds.bytes_a_log:
            self.take(*_first(log.queues))
        while self._size > bounds.bytes:
            self.take(*_first(self._queues))

    def take(self, log_id: str, operation_id: str) -> Operation | None:
        """Take an operation out and return it; None if it does not wait."""
        log = self._logs.get(log_id)
        waiting = log.by_id.pop(operation_id, None) if log is not None else None
        if log is None or waiting is None:
            return None
        del self.operations[log_id, operation_id]
        self._dequeue(log, waiting)
        log.size -= len(waiting.operation.raw)
        self._size -= len(waiting.operation.raw)
        for ancestor in waiting.missing:
            waiters = log.waiting_for.get(ancestor)
            if waiters is not None:
                waiters.pop(operation_id, None)
                if not waiters:
                    del log.waiting_for[ancestor]
        if not log.by_id:
            del self._logs[log_id]
        return waiting.operation

    def forget(self, log_id: str) -> None:
        """Take out all that waits in a log."""
        for operation_id, _ in self.items(log_id):
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
        self._promote(log_id, [_NOTHING_STORED], _STRANGER)

    def key_known(self, log_id: str, key: str) -> None:
        """`key` is the root, or a stored grant names it: what it has waiting is evicted last."""
        self._promote(log_id, [_NOTHING_STORED, _STRANGER], _KNOWN, key)

    def _promote(self, log_id: str, ranks: Iterable[int], to: int, key: str | None = None) -> None:
        """Move what waits in these ranks (by `key`, if given) to another rank, in the order of arrival."""
        log = self._logs.get(log_id)
        if log is None:
            return
        moved = [
            waiting
            for rank in ranks
            for waiting in log.queues[rank].values()
            if key is None or waiting.operation.author == key
        ]
        if not moved:
            return
        for waiting in moved:
            self._dequeue(log, waiting)
            waiting.rank = to
            self._enqueue(log, waiting)
        for queue in (log.queues[to], self._queues[to]):  # what moved is at the end: sort by arrival again
            in_order = sorted(queue.items(), key=lambda item: item[1].arrival)
            queue.clear()
            queue.update(in_order)

    def _enqueue(self, log: _LogQueues, waiting: _Waiting) -> None:
        name = waiting.operation.log, waiting.operation.id
        log.queues[waiting.rank][name] = self._queues[waiting.rank][name] = waiting

    def _dequeue(self, log: _LogQueues, waiting: _Waiting) -> None:
        name = waiting.operation.log, waiting.operation.id
        del log.queues[waiting.rank][name], self._queues[waiting.rank][name]

    def get(self, log_id: str, operation_id: str) -> Operation | None:
        """The operation that waits under this ID, or None."""
        return self.operations.get((log_id, operation_id))

    def missing(self, log_id: str, operation_id: str) -> list[str] | None:
        """The IDs an operation waits for, ``prev`` first, then in the order of ``deps``; None if it does not wait."""
        log = self._logs.get(log_id)
        waiting = log.by_id.get(operation_id) if log is not None else None
        return list(waiting.missing) if waiting is not None else None

    def items(self, log_id: str) -> list[tuple[str, list[str]]]:
        """What waits in a log, the oldest first: (operation ID, what it waits for)."""
        log = self._logs.get(log_id)
        return [(name, list(waiting.missing)) for name, waiting in log.by_id.items()] if log is not None else []


def _first(queues: tuple[_Queue, _Queue, _Queue]) -> tuple[str, str]:
    """The name of what goes next: the oldest of the lowest rank."""
    return next(iter(next(queue for queue in queues if queue)))
