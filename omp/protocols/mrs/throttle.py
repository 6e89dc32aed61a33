"""Failed logins: the first ten within a minute are answered 401, later ones 429 (mrs.md "Accounts").

Counted for the user and for the address apart, in a table, so that several processes share the count.  Asked twice:
before the password is hashed, to refuse at no cost, and after it, when the count is taken in the same write block in
which the failure is added.  However many guesses are sent at once, ten get an answer that says anything: beyond
them even the right password is 429 until the minute is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from omp.store.port import Reader, Store, key
from omp.web.errors import ApiError

FAILURES = "mrs_failures"  # "user" or "address", which -> the times of its last failures, epoch ms, 8 bytes each
LIMIT = 10
WINDOW_MS = 60_000


class Throttle:
    """The failures in `store`; `clock` gives epoch seconds."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def check(self, user: str, address: str) -> None:
        """:class:`ApiError` 429 where the user or the address has failed too often."""
        now = int(self._clock() * 1000)
        with self._store.read() as tx:
            for row in _rows(user, address):
                _refuse_if_full(_recent(tx, row, now), now)

    def failed(self, user: str, address: str) -> None:
        """Count a failure; :class:`ApiError` 429 where there were enough of them already."""
        now = int(self._clock() * 1000)
        with self._store.write() as tx:
            for row in _rows(user, address):
                times = _recent(tx, row, now)
                _refuse_if_full(times, now)
                tx.put(FAILURES, row, b"".join(key(time) for time in (*times, now)))

    def forget(self, now: float) -> None:
        """Drop what is older than the window."""
        moment = int(now * 1000)
        with self._store.read() as tx:
            old = [row for row, _ in tx.scan(FAILURES) if not _recent(tx, row, moment)]
        if old:
            with self._store.write() as tx:
                for row in old:
                    if not _recent(tx, row, moment):
                        tx.delete(FAILURES, row)


def _rows(user: str, address: str) -> tuple[bytes, bytes]:
    return key("user", user), key("address", address)


def _recent(tx: Reader, row: bytes, now: int) -> Sequence[int]:
    packed = tx.get(FAILURES, row) or b""
    times = [int.from_bytes(packed[at : at + 8], "big") for at in range(0, len(packed), 8)]
    return [time for time in times if now - WINDOW_MS < time]


def _refuse_if_full(times: Sequence[int], now: int) -> None:
    if len(times) >= LIMIT:
        wait = ceil((times[0] + WINDOW_MS - now) / 1000)
        raise ApiError(
            429,
            f"Too many failed logins; please try again in {wait} s.",
            headers=[("Retry-After", str(max(wait, 1)))],
        )
