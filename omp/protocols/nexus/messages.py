"""What a message of an owner's history is, and when it was.

Implements the protocol's §II.6 and the body that stores messages.  ``created_at`` is kept as it was written and
compared as the instant that it names, whatever its offset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

ROLES = ("human", "ai", "tool")

MESSAGE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["run_id", "role", "content"],
    "properties": {
        "run_id": {"type": "string", "minLength": 1, "maxLength": 256, "description": "the conversation"},
        "role": {"type": "string", "enum": list(ROLES)},
        "content": {"type": ["string", "object"], "description": "text, or an object for what a tool gave"},
        "created_at": {"type": "string", "format": "date-time", "description": "the time of storing if absent"},
    },
}

# RFC 3339 §5.6, within ISO 8601; without an offset it would not be an instant.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant(text: str) -> int:
    """The microseconds since the year 1 of an RFC 3339 date-time.  Raises ValueError with what would be right."""
    try:
        if not _DATE_TIME.fullmatch(text):
            raise ValueError
        since = (datetime.fromisoformat(text.upper()) - _YEAR_ONE) // _MICROSECOND
        if since < 0:  # the first hours of the year 1, east of Greenwich
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError("must be a date and time with an offset, as in 2025-10-20T10:30:00Z") from None
    return since


def date_time(now: float) -> str:
    """The time `now` (epoch seconds) in UTC, to the millisecond: ``2025-10-20T10:30:00.000Z``."""
    return (_EPOCH + timedelta(seconds=now)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stored_form(message: Mapping[str, Any], owner: str, now: str) -> dict[str, Any]:
    """`message`, which fits the schema, as it is answered later: these members and no other."""
    return {
        "run_id": message["run_id"],
        "owner_key": owner,
        "role": message["role"],
        "content": message["content"],
        "created_at": message.get("created_at", now),
    }
