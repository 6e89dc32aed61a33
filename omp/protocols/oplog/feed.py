"""The events of one log, for readers that follow it: oplog §7, ``GET /logs/{log}/events``.

Accepted operations, forks and changes of status, in the order of storing.  An event's ID is ``N.K``: the K-th event
that the N-th stored operation caused.  Both numbers follow from the order in which this node stored the log, and the
store keeps that order.  So after a break, or a restart of the server, a reader can go on from the last ID it saw.  The
rejection of an operation that had waited stores nothing, so that event has no ID: it is sent once.

The writer never waits for a reader.  It appends to a buffer of the latest events, from which each reader pulls at its
own pace.  If a reader is too slow for the buffer, its stream ends.  A reader that comes back for events that the buffer
no longer holds is sent ``reset``: it should read the state again, and go on from there.

Only what is durable is sent: a writer appends while it holds the lock, and calls :meth:`Feed.publish` after its commit.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from omp.protocols.oplog.core.outcomes import MOST_CHANGES_TOLD, Event
from omp.protocols.oplog.core.verify import OplogError
from omp.web.messages import json_bytes

KEPT = MOST_CHANGES_TOLD
"""How many events the buffer holds."""
_BATCH = 100
_WAIT_SECONDS = 0.5
_HEARTBEAT_SECONDS = 15.0


class Position(NamedTuple):
    """The ID of an event: `operation` is the number of the stored operation, from 1; `part` counts its events."""

    operation: int
    part: int

    def __str__(self) -> str:
        return f"{self.operation}.{self.part}"


class BadEventId(OplogError):
    """Text that is not the ID of any event."""


def parse_position(text: str) -> Position:
    """The position that an event ID such as ``12.1`` names.  Raises :class:`BadEventId`."""
    operation, point, part = text.partition(".")
    if not (point and text.isascii() and operation.isdecimal() and part.isdecimal() and len(text) <= 32):
        raise BadEventId(text)
    return Position(int(operation), int(part))


class Feed:
    """The latest events of one log; one writer at a time appends, any number of readers follow."""

    def __init__(self) -> None:
        self._events: deque[tuple[Position | None, Event]] = deque()
        self._first = 0
        """The number, in this feed, of the first event in the buffer."""
        self._lost = Position(0, 0)
        """The position of the last event that has left the buffer."""
        self._last = Position(0, 0)
        self._published = 0
        self._closed = False
        self._changed = threading.Condition()

    def begin(self, operations: int) -> None:
        """So many operations were stored before the first event that is appended; theirs are not kept."""
        with self._changed:
            self._last = self._lost = Position(operations, 1)

    def append(self, event: Event) -> int:
        """Take in the next event; returns the number to call :meth:`publish` with, for readers to see it."""
        with self._changed:
            position = None
            if event.kind != "rejected":
                operation, part = self._last
                position = Position(operation + 1, 1) if event.kind == "accepted" else Position(operation, part + 1)
                self._last = position
            self._events.append((position, event))
            if len(self._events) > KEPT:
                lost, _ = self._events.popleft()
                self._lost = lost or self._lost
                self._first += 1
            return self._first + len(self._events)

    def publish(self, until: int) -> None:
        """What was appended up to `until` is durable: readers may see it."""
        with self._changed:
            self._published = max(self._published, until)
            self._changed.notify_all()

    def close(self) -> None:
        """End every reader's stream."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def follow(self, after: Position | None) -> Iterator[bytes]:
        """``text/event-stream``: the events `after` a position as they come; with None, those from now on.

        The stream ends if the reader is too slow, or when the feed closes.  While nothing happens it yields ``b""`` at
        least once a second, and now and then a comment, which finds out whether the reader is still there.
        """
        # Not a generator itself: the start is fixed now, not when the first bytes are asked for.  So a reader who has
        # seen the answer begin misses nothing after that.
        return self._stream(*self._start(after))

    def _stream(self, number: int, reset: Position | None) -> Iterator[bytes]:
        yield b": omp/0.2\nretry: 2000\n\n"
        if reset is not None:
            yield _event("reset", reset, {"ops": reset.operation})
        heard = time.monotonic()
        while True:
            events, number = self._pull(number)
            if events is None:
                return
            if events:
                heard = time.monotonic()
                yield b"".join(_event(event.kind, position, event.data) for position, event in events)
            elif time.monotonic() - heard > _HEARTBEAT_SECONDS:
                heard = time.monotonic()
                yield b": nothing new\n\n"
            else:
                yield b""

    def _start(self, after: Position | None) -> tuple[int, Position | None]:
        """(The number of the first event to send, the position of a reset if there must be one)."""
        with self._changed:
            now = max(self._published, self._first)
            if after is None:
                return now, None
            if not self._lost <= after <= self._last:
                # Too long ago, or a position in a log that this node has lost since: say where the log stands now.
                published = islice(self._events, now - self._first)
                positions = [position for position, _ in published if position is not None]
                return now, positions[-1] if positions else self._lost
            later = (
                index for index, (position, _) in enumerate(self._events) if position is not None and position > after
            )
            return self._first + next(later, len(self._events)), None

    def _pull(self, number: int) -> tuple[list[tuple[Position | None, Event]] | None, int]:
        """(The published events from `number` on, the number after them); None instead of events ends the stream."""
        with self._changed:
            if not self._closed and number >= self._published:
                self._changed.wait(_WAIT_SECONDS)
            if self._closed or number < self._first:
                return None, number
            start, end = number - self._first, min(self._published - self._first, number - self._first + _BATCH)
            events = list(islice(self._events, start, max(start, end)))
            return events, number + len(events)


def _event(kind: str, position: Position | None, data: dict[str, object]) -> bytes:
    lines = b"event: %b\ndata: %b\n\n" % (kind.encode(), json_bytes(data))
    return lines if position is None else b"id: %b\n%b" % (str(position).encode(), lines)
