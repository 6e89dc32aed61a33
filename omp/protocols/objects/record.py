"""An object as the bytes of one row, and what is computed from it: id, time, ETag, deadline (§2, §5.1).

Pure: the clock and randomness are arguments.  A row holds the object's JSON as it is sent, so that a GET encodes
nothing, and a list cuts out the part before ``content``.  In front of the JSON are the few things that the server
itself asks for: the deadline, whether a GET is the last one, the ETag, namespace and key.

An id is a UUID of version 7 (RFC 9562 §5.7).  It begins with the moment of creation, so the order of ids is the order
of the lists, and new rows lie side by side on disk.  The moment is the time, or a little more where the clock was ahead
before (§2.2); ``created_at`` is the time, whatever the clock did.
"""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from hashlib import sha256
from json.encoder import encode_basestring
from struct import Struct
from time import gmtime
from typing import Any

from omp.rules.canonical import canonicalize
from omp.rules.json_text import compact
from omp.rules.large_json import canonical_in_parts, compact_in_parts

TTL = "omp.ttl_sec"
DELETE_ON_READ = "omp.delete_on_read"
ID_BYTES = 36
"""Bytes of an id, a UUID as text."""

_HEADER = Struct(">QBHHI")  # deadline, flags, bytes of namespace, key, and JSON up to the content
_ETAG = 45  # bytes: SHA-256 in base64url, in quotes
_NAMES = _HEADER.size + _ETAG
_LAST_READ = 1  # bits of the flags
_HAS_KEY = 2
_FOR_EVER = 0
_LATEST = 2**63 - 1


def new_id(moment: int, random: int) -> str:
    """A UUID of version 7 for `moment` (epoch microseconds) with 62 of the bits of `random`.

    RFC 9562 §6.2, method 3: the 12 bits after the milliseconds are the fraction of a millisecond.
    """
    milliseconds, rest = divmod(moment, 1000)
    number = milliseconds << 80 | 7 << 76 | rest * 4096 // 1000 << 64 | 2 << 62 | random & (1 << 62) - 1
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def moment_of(identifier: str) -> int:
    """The moment (epoch microseconds) of an id that :func:`new_id` made; 0 for another text.

    >>> moment_of(new_id(1_700_000_000_123_457, 5))
    1700000000123457
    """
    digits = identifier.replace("-", "")
    number = int(digits, 16) if len(digits) == 32 else 0
    return (number >> 80) * 1000 + -(-(number >> 64 & 4095) * 1000 // 4096)


def timestamp(now: int) -> str:
    """`now` (epoch microseconds) in RFC 3339, UTC, with six digits after the second."""
    seconds, rest = divmod(now, 1_000_000)
    return f"{_to_the_second(seconds)}.{rest:06}Z"


@lru_cache(maxsize=4)
def _to_the_second(seconds: int) -> str:
    t = gmtime(seconds)
    return f"{t[0]:04}-{t[1]:02}-{t[2]:02}T{t[3]:02}:{t[4]:02}:{t[5]:02}"


class Record:
    """One object, over the bytes of its row.

    `deadline` is the epoch microsecond from which on it is gone, 0 for never; `last_read` says that its first
    successful GET is its last; `id`, `namespace` and `key` are in UTF-8, as in the keys of the tables.
    """

    __slots__ = ("_flags", "_json_at", "_key_at", "_summary", "deadline", "row")

    deadline: int

    def __init__(self, row: bytes) -> None:
        self.row = row
        self.deadline, self._flags, namespace, key, self._summary = _HEADER.unpack_from(row)
        self._key_at = _NAMES + namespace
        self._json_at = self._key_at + key

    @property
    def last_read(self) -> bool:
        return bool(self._flags & _LAST_READ)

    @property
    def has_key(self) -> bool:
        """Whether the caller gave the key; otherwise it is the id."""
        return bool(self._flags & _HAS_KEY)

    @property
    def etag(self) -> str:
        """The entity tag, in quotes (§5.1)."""
        return self.row[_HEADER.size : _NAMES].decode()

    @property
    def namespace(self) -> bytes:
        return self.row[_NAMES : self._key_at]

    @property
    def key(self) -> bytes:
        return self.row[self._key_at : self._json_at]

    @property
    def body(self) -> bytes:
        """The object with its content, as JSON: the answer to a GET."""
        return self.row[self._json_at :]

    @property
    def summary(self) -> bytes:
        """The object without its content, as JSON: the answer to POST and PUT, and an item of a list."""
        return self.row[self._json_at : self._json_at + self._summary] + b"}"

    @property
    def id(self) -> bytes:
        start = self._json_at + len('{"id":"')
        return self.row[start : start + ID_BYTES]

    def is_gone(self, now: int) -> bool:
        """Whether its deadline is reached at `now` (epoch microseconds)."""
        return 0 < self.deadline <= now

    def key_contains(self, part: bytes) -> bool:
        """Whether the key contains `part`."""
        return self.row.find(part, self._key_at, self._json_at) >= 0


def new_record(
    now: int,
    identifier: str,
    namespace: str,
    key: str | None,
    content: Mapping[str, Any],
    metadata: Mapping[str, Any],
    last_read_default: bool,
    large: bool = False,
) -> Record:
    """A new object with this id, created at `now` (epoch microseconds); without `key`, its key is its id.

    If it is `large`, it is written with less memory, but slowly.
    """
    flags = _HAS_KEY if key is not None else 0
    return _record(
        (identifier, namespace, identifier if key is None else key, timestamp(now)),
        metadata,
        content,
        flags | _last_read(metadata, last_read_default),
        _deadline(metadata, now),
        large,
    )


def updated(
    record: Record,
    now: int,
    content: Mapping[str, Any],
    metadata: Mapping[str, Any] | None,
    last_read_default: bool,
    large: bool = False,
) -> Record:
    """`record` with another content, and with other metadata and what follows from them unless these are None.

    `large` as in :func:`new_record`.
    """
    *names, present = json.loads(record.summary).values()  # in the order in which _record writes them
    if metadata is None:
        return _record(names, present, content, record._flags, record.deadline, large)
    flags = record._flags & _HAS_KEY | _last_read(metadata, last_read_default)
    return _record(names, metadata, content, flags, _deadline(metadata, now), large)


def remade(record: Record) -> Record:
    """`record` made once more from its own JSON: the same row, unless it is damaged."""
    *names, metadata, content = json.loads(record.body).values()
    return _record(names, metadata, content, record._flags, record.deadline, large=False)


def _record(
    names: Sequence[str],
    metadata: Mapping[str, Any],
    content: Mapping[str, Any],
    flags: int,
    deadline: int,
    large: bool,
) -> Record:
    """The row of an object; `names` are its id, namespace, key and time of creation.

    Every POST and PUT comes through here, so the members around metadata and content are written by hand: once in the
    order in which they are sent, once in that of RFC 8785.  Both forms write strings alike.
    """
    identifier, namespace, key, created_at = names
    as_text = encode_basestring(namespace).encode(), encode_basestring(key).encode()
    same = identifier.encode(), created_at.encode()
    written, canonical = _WRITERS[large]
    head = b'{"id":"%b","namespace":%b,"key":%b,"created_at":"%b","metadata":%b' % (
        same[0],
        *as_text,
        same[1],
        written(metadata) if metadata else b"{}",
    )
    # The same text for all objects that are equal as JSON, in whatever order their members were sent.
    hashed = sha256(b'{"content":')
    hashed.update(canonical(content))
    hashed.update(
        b',"created_at":"%b","id":"%b","key":%b,"metadata":%b,"namespace":%b}'
        % (same[1], same[0], as_text[1], canonical(metadata) if metadata else b"{}", as_text[0])
    )
    etag = b2a_base64(hashed.digest(), newline=False).translate(_TO_URL, b"=")
    row_names = namespace.encode(), key.encode()
    header = _HEADER.pack(deadline, flags, len(row_names[0]), len(row_names[1]), len(head))
    return Record(b'%b"%b"%b%b%b,"content":%b}' % (header, etag, *row_names, head, written(content)))


_Writer = Callable[[Any], Any]  # to bytes, or to a bytearray
_WRITERS: dict[bool, tuple[_Writer, _Writer]] = {
    False: (lambda value: compact(value).encode(), partial(canonicalize, exact_integers=True)),
    True: (compact_in_parts, canonical_in_parts),
}
"""Whether the object is large -> what writes JSON as it is sent, and what writes it as RFC 8785 has it."""


_TO_URL = bytes.maketrans(b"+/", b"-_")


def _deadline(metadata: Mapping[str, Any], now: int) -> int:
    seconds = metadata.get(TTL)
    return _FOR_EVER if seconds is None else min(now + int(seconds) * 1_000_000, _LATEST)


def _last_read(metadata: Mapping[str, Any], default: bool) -> int:
    return _LAST_READ if metadata.get(DELETE_ON_READ, default) else 0
