"""A registration as a value: what a caller claims, what is kept of it, and the bytes of the row (seed §3.1, §5.1).

Pure.  A **claim** is the body of ``POST /register``: a space, and a service point or the wish to be left alone
(``foad``).  With its owner, origin, version and times it becomes a **record**: the answer's JSON text behind a small
header, so that a search compares places without parsing JSON, and answers without making any.

Record bytes, little-endian: the centre of the space's bounding cap as a unit vector (3 doubles), its reach in metres,
the volume in m³; whether it is a polygon; whether it originated here; its place in the change feed (64 bits), its
version (32), the length of the part that searches show (32), the digest of the claim; then the JSON text.  Searches
show the members of seed §5.3 and the origin; the owner and the times come after them.

Handled here: every claim and every imported registration, checked whole.  The caller must check who asks.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple

from omp.protocols.mrs.geometry import GeometryError, Space, Sphere
from omp.protocols.mrs.instants import epoch_of
from omp.protocols.mrs.polygons import Polygon
from omp.protocols.mrs.spaces import read_space
from omp.rules.canonical import canonicalize
from omp.rules.json_text import compact

HEADER = Struct("<5d??QII16s")
_SHOWN = Struct("<I")
_SHOWN_AT = Struct("<5d??QI").size
CENTRE = Struct("<3d").unpack_from
"""The start of the header: x, y, z."""
SIZE = Struct("<24x2d?").unpack_from
"""What a search needs besides: reach, volume, whether it is a polygon."""

ID = "reg_[A-Za-z0-9_-]{1,60}"
"""Ids made here have 12 characters after ``reg_``; another server's may have another number."""
IDENTITY = r"[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9.:\[\]_-]{1,255}"
MAX_SERVICE_POINT = 2048
MAX_VERSION = 2**31

# RFC 3986 §3: scheme, authority without userinfo, then path or query; a fragment is refused.
_SERVICE_POINT = re.compile(
    r"""https:// (?: \[[0-9a-f:.]+\] | [^\s/?\#@:\[\]\\<>"%^`{|}]+ )  # host
    (?: : (?P<port>\d{1,5}) )? (?: [/?] [^\#\\]* )?""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)


class BadRegistration(ValueError):
    """A claim or an imported registration that cannot be kept: one sentence for the sender."""


class Claim(NamedTuple):
    """What a caller registers: the geometry, and the members `space`, `service_point` and `foad` to keep."""

    geometry: Space
    space: dict[str, Any]
    service_point: str | None
    foad: bool

    digest: bytes
    """16 bytes that identical claims share, however their numbers were written."""


class Header(NamedTuple):
    """The numbers in front of a record."""

    x: float
    y: float
    z: float
    reach: float
    volume: float
    polygon: bool
    local: bool
    sequence: int
    version: int
    shown: int
    digest: bytes


def read_claim(body: Any) -> Claim:
    """The claim in a body whose members have the right JSON types; :class:`BadRegistration` otherwise."""
    foad = body.get("foad", False)
    point = body.get("service_point")
    if point is not None:
        point = _service_point(point)
    elif not foad:
        raise BadRegistration("service_point is required, unless foad is true")
    try:
        geometry, space = read_space(body.get("space"))
    except GeometryError as error:
        raise BadRegistration(str(error)) from None
    digest = sha256(canonicalize([space, point, foad])).digest()[:16]
    return Claim(geometry, space, point, foad, digest)


def _service_point(text: str) -> str:
    text = text.strip(" \t\r\n")
    if len(text) > MAX_SERVICE_POINT:
        raise BadRegistration(f"service_point must have at most {MAX_SERVICE_POINT} characters")
    # isprintable: no control, format or separator characters but the space itself.
    match = _SERVICE_POINT.fullmatch(text) if text.isprintable() and " " not in text else None
    if match is None or int(match["port"] or 0) > 65535:
        raise BadRegistration(
            "service_point must be an absolute https:// address with a host, "
            "without credentials, fragment, white space or control characters"
        )
    return text


class Registration(NamedTuple):
    """A claim with what the server adds; times are ``YYYY-MM-DDTHH:MM:SSZ``."""

    claim: Claim
    id: str
    owner: str
    origin_server: str
    origin_id: str
    version: int
    created: str
    updated: str
    local: bool

    def record(self, sequence: int) -> bytes:
        """The bytes of its row, `sequence` being its place in the change feed."""
        shown = {
            "id": self.id,
            "space": self.claim.space,
            "service_point": self.claim.service_point,
            "foad": self.claim.foad,
            "origin_server": self.origin_server,
            "origin_id": self.origin_id,
            "version": self.version,
        }
        head = compact(shown)[:-1].encode()
        tail = compact({"owner": self.owner, "created": self.created, "updated": self.updated})[1:].encode()
        space = self.claim.geometry
        place = (*space.centre, space.reach, space.volume, not isinstance(space, Sphere))
        numbers = HEADER.pack(*place, self.local, sequence, self.version, len(head), self.claim.digest)
        return numbers + head + b"," + tail


def header(record: bytes) -> Header:
    """The numbers in front of `record`."""
    return Header(*HEADER.unpack_from(record))


def json_text(record: bytes) -> bytes:
    """The registration as it is answered: all members."""
    return record[HEADER.size :]


def document(record: bytes) -> dict[str, Any]:
    """The registration as a JSON value."""
    value: dict[str, Any] = json.loads(json_text(record))
    return value


def result_text(record: bytes, metres: float) -> bytes:
    """The registration as a search shows it, `metres` away."""
    (shown,) = _SHOWN.unpack_from(record, _SHOWN_AT)
    return b'%b,"distance":%r}' % (record[HEADER.size : HEADER.size + shown], metres)


@lru_cache(maxsize=128)
def polygon_of(record: bytes) -> Polygon:
    """The polygon of a record that holds one; the last ones asked for are remembered."""
    space, _ = read_space(document(record)["space"], check=False)
    assert isinstance(space, Polygon)
    return space


# --- registrations of other servers ---------------------------------------------------------------------------------

REGISTRATION_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "space", "owner", "version", "created", "updated"],
    "properties": {
        "id": {"type": "string", "pattern": ID},
        "space": {"type": "object"},
        "service_point": {"type": ["string", "null"]},
        "foad": {"type": "boolean"},
        "origin_server": {"type": "string", "minLength": 1, "maxLength": 2048},
        "origin_id": {"type": "string", "pattern": ID},
        "version": {"type": "integer", "minimum": 1, "maximum": MAX_VERSION},
        "owner": {"type": "string", "pattern": IDENTITY},
        "created": {"type": "string", "maxLength": 40},
        "updated": {"type": "string", "maxLength": 40},
    },
}
TOMBSTONE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["origin_server", "origin_id", "version", "deleted_at"],
    "properties": {
        "origin_server": {"type": "string", "minLength": 1, "maxLength": 2048},
        "origin_id": {"type": "string", "pattern": ID},
        "version": {"type": "integer", "minimum": 1, "maximum": MAX_VERSION},
        "deleted_at": {"type": "string", "maxLength": 40},
    },
}


def read_registration(value: dict[str, Any], here: str) -> Registration:
    """An exported registration that fits its schema, `here` being this server's URL.

    Raises :class:`BadRegistration`.  One without an origin is taken to come from here.
    """
    claim = read_claim(value)
    for member in ("created", "updated"):
        _check_time(value, member)
    origin = value.get("origin_server", here)
    return Registration(
        claim=claim,
        id=value["id"],
        owner=value["owner"],
        origin_server=origin,
        origin_id=value.get("origin_id", value["id"]),
        version=int(value["version"]),
        created=value["created"],
        updated=value["updated"],
        local=origin == here,
    )


def tombstone(value: dict[str, Any]) -> bytes:
    """The row of an exported tombstone that fits its schema; :class:`BadRegistration` for a bad time."""
    _check_time(value, "deleted_at")
    kept = {name: value[name] for name in TOMBSTONE_SCHEMA["required"]}
    return compact({**kept, "version": int(kept["version"])}).encode()


def _check_time(value: dict[str, Any], member: str) -> None:
    if epoch_of(value[member]) is None:
        raise BadRegistration(f"{member} must be an ISO 8601 time, e.g. 2026-01-26T08:30:00Z")
