"""Cursors, the link to the next page, and entity tags in request fields (RFC 8288; RFC 9110 §13.1).

A cursor is the place where the next page starts, with a checksum, in base64url.  It bears no secret, for whoever may
list may start anywhere; the checksum refuses what was not made here, or was made for another list.

Pure.  Handled here: any change to a cursor; weak tags, lists and ``*``.  The caller must choose a place that survives
what happens to the rows: a position in their order, not a count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlencode

from omp.rules.encodings import EncodingError, b64u_decode, b64u_encode

_CHECKSUM = 8  # bytes


class BadCursor(ValueError):
    """Not a cursor, one that was changed, or one of another list."""


def encode_cursor(place: bytes, of: str) -> str:
    """The cursor for `place` in the list that is named by `of`."""
    return b64u_encode(place + _checksum(place, of))


def decode_cursor(cursor: str, of: str, size: int) -> bytes:
    """The place, of `size` bytes, in a cursor that :func:`encode_cursor` gave for `of`; else :class:`BadCursor`."""
    try:
        raw = b64u_decode(cursor)
    except EncodingError:
        raise BadCursor from None
    place, checksum = raw[:size], raw[size:]
    if len(place) != size or checksum != _checksum(place, of):
        raise BadCursor
    return place


def _checksum(place: bytes, of: str) -> bytes:
    return sha256(f"omp cursor {of}\0".encode() + place).digest()[:_CHECKSUM]


def next_link(path: str, parameters: Mapping[str, str | int | None], cursor: str) -> tuple[str, str]:
    """The ``Link`` field that leads from a page of `path` to the next; `parameters` that are None are left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return "Link", f'<{path}?{urlencode({**given, "cursor": cursor})}>; rel="next"'  # RFC 8288 §3


_ENTITY_TAG = re.compile(r'(W/)?("[^"]*")')


def matches_strongly(field: str, etag: str) -> bool:
    """Whether an ``If-Match`` field allows the state `etag`: ``*``, or a list with it; never a weak tag.

    RFC 9110 §13.1.1, §8.8.3.2.
    """
    return field.strip() == "*" or any(tag == etag and not weak for weak, tag in _ENTITY_TAG.findall(field))


def matches_weakly(field: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` field names the state `etag`, weak or not: RFC 9110 §13.1.2, §8.8.3.2."""
    return field.strip() == "*" or any(tag == etag for _, tag in _ENTITY_TAG.findall(field))
