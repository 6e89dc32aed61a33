"""Turns: how many signatures are checked at a time, and how many requests wait for theirs (§10.6).

A check costs up to a quarter of a second of one processor, and needs no key: a wrong signature costs the most.  So few
run at a time, a few more wait, and whoever comes then is told at once to come later.  A request whose client left while
it waited is not begun.  The bound is also one on memory: a body that was parsed takes up to fifty times its length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Semaphore

AT_ONCE = 2
"""Two, so that a short check runs beside a long one; more could not be faster, since threads share one interpreter."""
WAITING = 16
RETRY_SECONDS = 2
"""When to come again.  If all that is ahead were of the most expensive kind, it would take about four seconds."""


class NoTurn(Exception):
    """The request is not begun: too many wait already, or its client has left."""


class Turns:
    """At most `at_once` pieces of work at a time, and at most `waiting` that wait for their turn."""

    def __init__(self, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._most = at_once + waiting
        self._present = 0
        self._lock = Lock()
        self._free = Semaphore(at_once)

    @contextmanager
    def turn(self, has_left: Callable[[], bool]) -> Iterator[None]:
        """Wait for a turn, and have it until the block ends.

        `has_left` says whether the client has gone; it is asked once, when the turn has come.  Raises :class:`NoTurn`.
        """
        with self._lock:
            if self._present == self._most:
                raise NoTurn("Too many signatures are being checked; try again soon.")
            self._present += 1
        try:
            with self._free:
                if has_left():
                    raise NoTurn("The client has left.")
                yield
        finally:
            with self._lock:
                self._present -= 1
