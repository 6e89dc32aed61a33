"""Cursors, the links to the next page, and entity tags in request headers (objects.md §1; RFC 9110 §13.1).

A cursor is the id after which the next page starts, with a checksum, in base64url.  It says nothing about the store
and so survives whatever happens to the rows; it bears no secret, for whoever may list may start anywhere.

Pure.  Handled here: any change to a cursor; weak tags, lists and ``*``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import urlencode

from omp.rules.encodings import EncodingError, b64u_decode, b64u_encode

_CHECKSUM = 8  # bytes


class BadCursor(ValueError):
    """Not a cursor, or one that was changed."""


def encode_cursor(identifier: str) -> str:
    """The cursor for the page after the object `identifier`."""
    payload = bytes.fromhex(identifier.replace("-", ""))
    return b64u_encode(payload + _checksum(payload))


def decode_cursor(cursor: str) -> str:
    """The id in `cursor`; :class:`BadCursor` if it is not exactly what :func:`encode_cursor` gave."""
    try:
        raw = b64u_decode(cursor)
    except EncodingError:
        raise BadCursor from None
    payload, checksum = raw[:16], raw[16:]
    if len(payload) != 16 or checksum != _checksum(payload):
        raise BadCursor
    text = payload.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _checksum(payload: bytes) -> bytes:
    return sha256(b"omp objects cursor\0" + payload).digest()[:_CHECKSUM]


def next_page(path: str, parameters: Mapping[str, str | int | None], last: str) -> tuple[tuple[str, str], ...]:
    """The header fields that lead from a page of `path`, whose last object is `last`, to the next one."""
    cursor = encode_cursor(last)
    given = {name: value for name, value in parameters.items() if value is not None}
    link = f'<{path}?{urlencode({**given, "cursor": cursor})}>; rel="next"'  # RFC 8288 §3
    return ("Link", link), ("OMP-Next-Cursor", cursor)


_ENTITY_TAG = re.compile(r'(W/)?("[^"]*")')


def matches_strongly(field: str, etag: str) -> bool:
    """Whether an ``If-Match`` field allows the state `etag`: ``*``, or a list with it; never a weak tag.

    RFC 9110 §13.1.1, §8.8.3.2.
    """
    return field.strip() == "*" or any(tag == etag and not weak for weak, tag in _ENTITY_TAG.findall(field))


def matches_weakly(field: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` field names the state `etag`, weak or not: RFC 9110 §13.1.2, §8.8.3.2."""
    return field.strip() == "*" or any(tag == etag for _, tag in _ENTITY_TAG.findall(field))
