"""Instants as MRS writes them: ISO 8601 in UTC with whole seconds, ``2026-01-26T08:30:00Z`` (seed §3.1).

What is read may also have a fraction or an offset; without one it is UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import gmtime, strftime


def iso_time(epoch: float) -> str:
    """Epoch seconds as text, the fraction dropped.

    >>> iso_time(1769416200.9)
    '2026-01-26T08:30:00Z'
    """
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(epoch))


def epoch_of(text: str) -> float | None:
    """The epoch seconds of an ISO 8601 time, or None where the text is none, or lies before 1970.

    >>> epoch_of("2026-01-26T08:30:00Z"), epoch_of("2026-01-26T09:30:00+01:00"), epoch_of("yesterday")
    (1769416200.0, 1769416200.0, None)
    """
    try:
        moment = datetime.fromisoformat(text)
        epoch = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return epoch if epoch >= 0 else None
