"""The server's clock: what time it is, and how much time has surely passed (omp §9).

A clock that is wrong is set right one day, and the step is what does harm: a clock an hour ahead would let the server
forget which nonces were used, and after the step back the same requests would be good again.  So there are two
questions, and each has an answer of its own:

* *What time is it?*  ``clock()``: the system's time, and never before 2020, so that nothing that is made of it is
  malformed.  The start refuses a clock that stands before 2020; this is for one that falls there later.
* *What is surely past?*  :meth:`Clock.past`: what the clock has said at the least within the last minutes, and the time
  that has passed since.  A leap ahead counts only once it has stood for `patience` seconds; a step back counts at once.
  Whatever is dropped because its time has come is dropped by this time.

Ids and sequence numbers are no matter of the clock alone: whoever makes them takes the time or the last one plus one,
whichever is greater, and keeps the last one in a table.  How long something took is measured with ``time.monotonic``,
which never steps, and not here.

>>> wall, ticks = [1_700_000_000.0], [0.0]
>>> clock = Clock(360, lambda: wall[0], lambda: ticks[0])
>>> wall[0] += 60; ticks[0] += 60; clock.past() == wall[0]
True
>>> wall[0] += 3600; clock.past() == wall[0] - 3600  # a leap of an hour is not believed yet
True
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = 1_577_836_800
"""2020-01-01T00:00:00Z, in epoch seconds: this code did not exist then, so an earlier clock is wrong."""


class Clock:
    """Epoch seconds.

    `patience` is how many seconds a leap ahead has to stand before it counts as passed time: as long as a used nonce
    has to be remembered.  `wall` is the system's time in epoch seconds, `ticks` a clock in seconds that never steps.
    Any thread may call the clock; :meth:`past` belongs to the one thread that drops things.
    """

    def __init__(
        self,
        patience: float,
        wall: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._ticks = ticks
        self._patience = patience
        # The least of wall - ticks in this period and in the one before; a period lasts for `patience` seconds.  A leap
        # therefore stands for one to two periods until it counts, at the cost of two numbers.
        self._period_ends = ticks() + patience
        self._least = self._least_before = self() - ticks()

    def __call__(self) -> float:
        return max(self._wall(), EARLIEST)

    def wrong(self) -> str:
        """One sentence about a clock that cannot be right (omp §9.1); empty if it may be."""
        if self._wall() >= EARLIEST:
            return ""
        said, earliest = (
            (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="seconds") for seconds in (self._wall(), EARLIEST)
        )
        return f"the clock says {said}, and it is later than {earliest}: set it right, and start again"

    def past(self) -> float:
        """The epoch second that has surely passed, as far as this run can tell."""
        ticks = self._ticks()
        offset = self() - ticks
        if ticks >= self._period_ends:
            self._period_ends = ticks + self._patience
            self._least_before, self._least = self._least, offset
        self._least = min(self._least, offset)
        return ticks + min(self._least_before, self._least)
