"""The history of an owner's conversations: what a message is, when it was, and where a page of them ends.

Implements the protocol's §II.6 and the cursor of §VIII.1.  Messages are answered newest first: by the instant
of ``created_at``, and by the order in which they were stored where that is the same.

Guarantees: a position (instant, sequence) is unique within an owner and never changes, so a cursor, which is the
position of the last message of a page, stays valid whatever is stored in between: no message twice, and none left out
that stood throughout.  A cursor is opaque, bound to its owner and bears a checksum: any change to it is refused.

Handled here: shapes, instants, cursors.  The caller must keep the sequence, one for each owner.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from omp.rules.encodings import EncodingError, b64u_decode, b64u_encode

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
_CHECKSUM_BYTES = 8

Position = tuple[int, int]
"""(microseconds since the year 1, number of the message among its owner's)."""


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


def encode_cursor(owner: str, position: Position) -> str:
    """The cursor of the page that follows `position`."""
    raw = b"".join(number.to_bytes(8, "big") for number in position)
    return b64u_encode(raw + _checksum(owner, raw))


def decode_cursor(owner: str, cursor: str) -> Position:
    """The position in `cursor`.  Raises ValueError for anything but a cursor made for `owner`."""
    try:
        data = b64u_decode(cursor)
    except EncodingError:
        data = b""
    raw, checksum = data[:16], data[16:]
    if len(raw) != 16 or checksum != _checksum(owner, raw):
        raise ValueError("must be one that this server gave, for this owner, unchanged")
    return int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")


def _checksum(owner: str, raw: bytes) -> bytes:
    return sha256(b"nexus messages cursor\0" + owner.encode() + raw).digest()[:_CHECKSUM_BYTES]
