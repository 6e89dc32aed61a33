"""A registration as a value: the space it occupies, what its owner claims, and the bytes of its row (§4, §5.1).

Pure.  A **space** is a sphere or a polygon; :func:`read_space` turns its JSON into geometry.  A **claim** is the body
of ``POST /register``: a space, and a service point or ``foad``, the wish to be left alone.  With its owner, origin,
version and times a claim becomes a **registration**, and a registration is stored as a **record**: the JSON text of
the answer behind a small binary header.  A search therefore compares places without parsing JSON, and answers without
making any.

In this order: spaces as JSON, claims, registrations and records, registrations of other servers.

Handled here: every claim and every imported registration, checked whole.  The caller must check who asks.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from hashlib import sha256
from math import isfinite
from struct import Struct
from typing import Any, NamedTuple

from omp.protocols.mrs.geometry import GeometryError, Space, Sphere, Vector, unit_vector
from omp.protocols.mrs.polygons import MAX_VERTICES, Polygon
from omp.protocols.mrs.schemas import SPACE_TYPES, TOMBSTONE, RegistryError, epoch_of
from omp.rules.canonical import canonicalize
from omp.rules.json_text import compact

MIN_RADIUS_M = 0.001
MAX_RADIUS_M = 1_000_000
MIN_HEIGHT_M = 0.001
MAX_HEIGHT_M = 1_000_000
DEFAULT_HEIGHT_M = 1
MAX_SERVICE_POINT = 2048


class BadRegistration(RegistryError):
    """A claim or an imported registration that cannot be kept."""


# --- spaces as JSON (§5.1) ------------------------------------------------------------------------------------------


def read_space(value: Any, *, check: bool = True) -> tuple[Space, dict[str, Any]]:
    """The geometry of the JSON `value`, and the JSON value to keep.

    In the value to keep, `ele` of a centre is filled in, -0 is written as 0, and unknown members are left out.
    Raises :class:`GeometryError`, whose message names the member.  `check` False skips the search for crossing edges,
    for values that passed it before.
    """
    if type(value) is not dict or value.get("type") not in SPACE_TYPES:
        raise GeometryError('space must be an object whose type is "sphere" or "polygon"')
    return _read_sphere(value) if value["type"] == "sphere" else _read_polygon(value, check)


def read_point(value: Any, name: str) -> tuple[Vector, dict[str, Any]]:
    """The point ``{"lat", "lon", "ele"?}`` as a unit vector, and the JSON value to keep.

    `name` is what messages call it.  Raises :class:`GeometryError`.
    """
    if type(value) is not dict:
        raise GeometryError(f"{name} must be an object with lat and lon")
    lat = _number(value.get("lat"), f"{name}.lat", -90, 90)
    lon = _number(value.get("lon"), f"{name}.lon", -180, 180)
    kept = {"lat": lat, "lon": lon}
    if "ele" in value:
        kept["ele"] = _number(value["ele"], f"{name}.ele")
    return unit_vector(lat, lon), kept


def _read_sphere(value: dict[str, Any]) -> tuple[Space, dict[str, Any]]:
    centre, kept = read_point(value.get("center"), "space.center")
    kept.setdefault("ele", 0)
    radius = _number(value.get("radius"), "space.radius")
    # §5.3: the smallest volume comes first in a search, and of the smaller ones a double holds only zeros.
    if not MIN_RADIUS_M <= radius <= MAX_RADIUS_M:
        raise GeometryError(f"space.radius must be from {MIN_RADIUS_M} to {MAX_RADIUS_M:,} metres")
    return Sphere(centre, float(radius)), {"type": "sphere", "center": kept, "radius": radius}


def _read_polygon(value: dict[str, Any], check: bool) -> tuple[Space, dict[str, Any]]:
    given = value.get("vertices")
    if type(given) is not list or not 3 <= len(given) <= MAX_VERTICES:
        raise GeometryError(f"space.vertices must be a list of 3 to {MAX_VERTICES} positions")
    points = [read_point(vertex, f"space.vertices.{index}") for index, vertex in enumerate(given)]
    kept: dict[str, Any] = {"type": "polygon", "vertices": [vertex for _, vertex in points]}
    height: float = DEFAULT_HEIGHT_M
    if "height" in value:
        kept["height"] = height = _number(value["height"], "space.height")
        # As for a radius.  What another version kept is not checked again.
        if check and not MIN_HEIGHT_M <= height <= MAX_HEIGHT_M:
            raise GeometryError(f"space.height must be from {MIN_HEIGHT_M} to {MAX_HEIGHT_M:,} metres")
    return Polygon((point for point, _ in points), float(height), check=check), kept


def _number(value: Any, name: str, low: float | None = None, high: float | None = None) -> float:
    # JSON's true is an int to Python: compare the type itself.
    if type(value) is not int and type(value) is not float:
        raise GeometryError(f"{name} must be a number")
    if low is not None and high is not None and not low <= value <= high:
        raise GeometryError(f"{name} must be from {low} to {high}")
    if not _is_finite(value):
        raise GeometryError(f"{name} must be a finite number")
    return value + 0  # -0.0 becomes 0.0, so that one place is written in one way


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer that no double can hold
        return False


# --- claims (§4.1, §4.2) --------------------------------------------------------------------------------------------

# RFC 3986 §3: scheme, authority without userinfo, then path or query; a fragment is refused.
_SERVICE_POINT = re.compile(
    r"""https:// (?: \[[0-9a-f:.]+\] | [^\s/?\#@:\[\]\\<>"%^`{|}]+ )  # host
    (?: : (?P<port>\d{1,5}) )? (?: [/?] [^\#\\]* )?""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)


class Claim(NamedTuple):
    """What a caller registers: the geometry, and the members `space`, `service_point` and `foad` to keep."""

    geometry: Space
    space: dict[str, Any]
    service_point: str | None
    foad: bool

    digest: bytes
    """16 bytes that identical claims share, whichever way their numbers were written."""


def read_claim(body: Any) -> Claim:
    """The claim in a body that fits its schema.  Raises :class:`BadRegistration` or :class:`GeometryError`."""
    foad = body.get("foad", False)
    point = body.get("service_point")
    if point is not None:
        point = _service_point(point)
    elif not foad:
        raise BadRegistration("service_point is required, unless foad is true")
    geometry, space = read_space(body.get("space"))
    # Canonical JSON writes 50 and 50.0 alike (§4.3: an identical registration is a conflict).
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


# --- registrations and their records --------------------------------------------------------------------------------
#
# A record, little-endian: the centre of the space's bounding cap as a unit vector (3 doubles), its reach in metres,
# the volume in m³; whether it is a polygon; 0 if it originated elsewhere, 1 if here, 2 if its owner made it here (not
# imported: it counts for the owner); its place in the change feed (64 bits), its version (32), the length of the part
# before the owner and the times (32), the digest of the claim; then the JSON text.

HEADER = Struct("<5d?BQII16s")
_CLAIM_SIZE = Struct("<I")
_CLAIM_SIZE_AT = Struct("<5d?BQI").size

# Bound methods: a search calls each of them once for every row that it compares.
unpack_centre = Struct("<3d").unpack_from
"""(x, y, z) of a record: the start of its header."""
unpack_size = Struct("<24x2d?").unpack_from
"""(reach, volume, whether it is a polygon) of a record."""


class Header(NamedTuple):
    """The numbers in front of a record."""

    x: float
    y: float
    z: float
    reach: float
    volume: float
    polygon: bool
    origin: int
    sequence: int
    version: int
    claim_size: int
    digest: bytes

    @property
    def local(self) -> bool:
        """Whether it originated here."""
        return self.origin > 0

    @property
    def counts(self) -> bool:
        """Whether it counts for its owner (§4.7)."""
        return self.origin > 1


class Registration(NamedTuple):
    """A claim with what the server adds (§4.1); times are ``YYYY-MM-DDTHH:MM:SSZ``."""

    claim: Claim
    id: str
    owner: str
    origin_server: str
    origin_id: str
    version: int
    created: str
    updated: str
    local: bool
    counts: bool = False

    def record(self, sequence: int) -> bytes:
        """The bytes of its row, `sequence` being its place in the change feed."""
        claim = {
            "id": self.id,
            "space": self.claim.space,
            "service_point": self.claim.service_point,
            "foad": self.claim.foad,
            "origin_server": self.origin_server,
            "origin_id": self.origin_id,
            "version": self.version,
        }
        head = compact(claim)[:-1].encode()
        tail = compact({"owner": self.owner, "created": self.created, "updated": self.updated})[1:].encode()
        space = self.claim.geometry
        place = (*space.centre, space.reach, space.volume, not isinstance(space, Sphere))
        numbers = HEADER.pack(*place, self.local + self.counts, sequence, self.version, len(head), self.claim.digest)
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
    """The registration as a search shows it, `metres` away (§6.4)."""
    return b'%b,"distance":%r}' % (record[HEADER.size : -1], metres)


_AFTER_SPACE = b',"service_point":'


def space_size(record: bytes) -> int:
    """How many bytes the space of `record` has as JSON text."""
    start = record.index(b'"space":', HEADER.size) + len(b'"space":')
    # Within a string each quotation mark is escaped, so the first occurrence is the member.
    return record.index(_AFTER_SPACE, start) - start


def record_tail(record: bytes) -> dict[str, str]:
    """The owner and the times, without reading the space."""
    (size,) = _CLAIM_SIZE.unpack_from(record, _CLAIM_SIZE_AT)
    tail: dict[str, str] = json.loads(b"{" + record[HEADER.size + size + 1 :])
    return tail


@lru_cache(maxsize=128)
def space_of(record: bytes) -> Space:
    """The geometry of a record; the most recent ones are remembered."""
    space, _ = read_space(document(record)["space"], check=False)
    return space


# --- registrations of other servers (§12.4) -------------------------------------------------------------------------


def read_registration(value: dict[str, Any], here: str) -> Registration:
    """An exported registration that fits the schema ``REGISTRATION``, `here` being this server's URL.

    One without `origin_server` is taken to originate here, one without `origin_id` to have its `id` for one, and one
    without `version` to be the first.  Raises :class:`BadRegistration` or :class:`GeometryError`.
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
        version=int(value.get("version", 1)),
        created=value["created"],
        updated=value["updated"],
        local=origin == here,
    )


def tombstone(value: dict[str, Any]) -> bytes:
    """The row of an exported tombstone that fits the schema ``TOMBSTONE``; :class:`BadRegistration` for a bad time."""
    _check_time(value, "deleted_at")
    kept = {name: value[name] for name in TOMBSTONE["required"]}
    return compact({**kept, "version": int(kept["version"])}).encode()


def _check_time(value: dict[str, Any], member: str) -> None:
    if epoch_of(value[member]) is None:
        raise BadRegistration(f"{member} must be an ISO 8601 time, e.g. 2026-01-26T08:30:00Z")
