"""The vectors of MRS: distances, polygons, intersections at the awkward places, a small registry, signed requests.

Lengths are rounded to a tenth of a millimetre and areas to nine digits, so that the files do not depend on the last
bit of anybody's sine; a reader compares with a tolerance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

from omp.protocols.mrs.geometry import GeometryError, Space, distance, unit_vector
from omp.protocols.mrs.keys import key_document
from omp.protocols.mrs.polygons import Polygon
from omp.protocols.mrs.registration import read_space
from omp.rules import ed25519
from omp.rules.encodings import b64_encode
from omp.rules.http_signatures import sign
from omp.rules.signature_base import SignedRequest

SPEC = "mrs §5, §6, §8.2, §9, §10.4"
Position = tuple[float, float]

SYDNEY, FIJI, MCMURDO = (-33.8568, 151.2153), (-16.8, 180.0), (-77.85, 166.67)
PLACES: dict[str, Position] = {
    "Sydney": SYDNEY,
    "Vienna": (48.2082, 16.3738),
    "Taveuni, on the antimeridian": FIJI,
    "Taveuni, written as -180": (-16.8, -180.0),
    "North Pole": (90.0, 0.0),
    "North Pole, by another meridian": (90.0, 123.4),
    "South Pole": (-90.0, -45.0),
    "McMurdo": MCMURDO,
    "null island": (0.0, 0.0),
    "its antipode": (0.0, 180.0),
    "a metre north of it": (0.000008993216, 0.0),
}
POLYGONS: dict[str, Sequence[Position]] = {
    "an octant": [(0, 0), (0, 90), (90, 0)],
    "a square kilometre or so": [(48, 16), (48, 16.0134), (48.009, 16.0134), (48.009, 16)],
    "the same clockwise": [(48.009, 16), (48.009, 16.0134), (48, 16.0134), (48, 16)],
    "around the North Pole": [(80, 0), (80, 90), (80, 180), (80, -90)],
    "around the South Pole, off its centre": [(-89, 10), (-85, 100), (-88, -170), (-89.5, -90)],
    "across the antimeridian": [(-17, 179.5), (-17, -179.5), (-16, -179.5), (-16, 179.5)],
    "not convex": [(0, 0), (0, 4), (4, 4), (1, 1)],
    "the first vertex again at the end": [(0, 0), (0, 1), (1, 1), (0, 0)],
    "a vertex twice": [(0, 0), (0, 1), (0, 1), (1, 1)],
    "a few metres": [(10, 10), (10, 10.00005), (10.00005, 10.00005), (10.00005, 10)],
    "two centimetres": [(48.2, 16.3), (48.2, 16.3000002), (48.2000002, 16.3000003), (48.2000001, 16.3)],
    "ten centimetres, across the antimeridian": [
        (-16.8, 179.9999995),
        (-16.8, -179.9999995),
        (-16.799999, -179.9999995),
        (-16.799999, 179.9999995),
    ],
    "refused: a bow tie": [(0, 0), (1, 1), (0, 1), (1, 0)],
    "refused: a bow tie of two centimetres": [
        (48.2, 16.3),
        (48.2000002, 16.3000003),
        (48.2, 16.3000002),
        (48.2000001, 16.3),
    ],
    "refused: a bow tie of two millimetres, across the antimeridian": [
        (-16.8, 179.99999999),
        (-16.79999998, -179.99999999),
        (-16.8, -179.99999999),
        (-16.79999998, 179.99999999),
    ],
    "refused: a bow tie of two millimetres, near a pole": [
        (89.99999999, 0),
        (89.99999999, 180),
        (89.99999998, 90),
        (89.99999999, -90),
    ],
    "refused: edges that touch": [(0, 0), (0, 2), (1, 2), (0, 1), (1, 0)],
    "refused: a spike": [(0, 0), (0, 3), (0, 1), (1, 1)],
    "refused: a vertex visited twice": [(0, 0), (0, 2), (1, 1), (2, 2), (2, 0), (1, 1)],
    "refused: all on one line": [(0, 0), (0, 1), (0, 2)],
    "refused: a great circle, neither side is smaller": [(0, 0), (0, 120), (0, -120)],
    "refused: an edge between antipodes": [(10, 0), (-10, 180), (50, 50)],
    "refused: two different vertices": [(0, 0), (1, 1), (0, 0)],
}


def generate() -> dict[str, Any]:
    """Relative path → document."""
    return {
        "mrs/distance.json": _document(
            "distance", "Great-circle distances (haversine, R = 6,371,000 m) in `metres`.", _distance_cases()
        ),
        "mrs/polygon.json": _document(
            "polygon",
            "Polygons: the `area` (m²) of the smaller side and the `volume` (m³, `height` 1 where it is absent), or "
            "`refused` true where registering it is answered 400.",
            _polygon_cases(),
        ),
        "mrs/intersection.json": _document(
            "intersection",
            "Whether the `space` meets a search of `range` metres around `location` (`found`), and the `distance` that "
            "the search reports: to the centre of a sphere; to the nearest edge of a polygon, 0 inside it. "
            "`distance` is null where nothing is found.",
            _intersection_cases(),
        ),
        "mrs/search.json": _document(
            "search",
            "Searches over the registrations of `registry`: the ids that `POST /search` answers with, in its order "
            "(volume, then distance), and their distances. Those with `foad` are never found.",
            [_searches(list(_registry()))],
        ),
        "mrs/signed-request.json": _document(
            "signed-request",
            "Signed requests (RFC 9421) at the time `now` (epoch seconds): `method`, `url`, `fields`, the text of the "
            "`body`, and the `keyDocument` that is published at the keyid. `status` is 200 where the signature is "
            "good and authenticates `identity`; otherwise the status of the refusal. Seeds are the bytes 1 to 32.",
            _signed_cases(),
        ),
    }


def _document(kind: str, description: str, cases: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {"kind": f"mrs/{kind}", "description": description, "spec": SPEC, "cases": list(cases)}


def _point(position: Position) -> dict[str, float]:
    return {"lat": position[0], "lon": position[1]}


def _metres(value: float) -> float:
    return round(value, 4)


def _digits(value: float) -> float:
    return float(f"{value:.9g}")


# --- geometry -------------------------------------------------------------------------------------------------------


def _distance_cases() -> Iterable[dict[str, Any]]:
    names = list(PLACES)
    for index, one in enumerate(names):
        for other in names[index:]:
            metres = distance(unit_vector(*PLACES[one]), unit_vector(*PLACES[other]))
            yield {
                "name": f"{one} to {other}",
                "from": _point(PLACES[one]),
                "to": _point(PLACES[other]),
                "metres": _metres(metres),
            }


def _polygon_cases() -> Iterable[dict[str, Any]]:
    for name, corners in POLYGONS.items():
        space: dict[str, Any] = {"type": "polygon", "vertices": [_point(corner) for corner in corners]}
        if len(corners) == 3:
            space["height"] = 2.5
        case = {"name": name, "space": space}
        try:
            polygon, _ = read_space(space)
        except GeometryError:
            assert name.startswith("refused")
            yield {**case, "refused": True}
            continue
        assert isinstance(polygon, Polygon)
        yield {**case, "area": _digits(polygon.area), "volume": _digits(polygon.volume)}


def _sphere(position: Position, radius: float) -> dict[str, Any]:
    return {"type": "sphere", "center": {**_point(position), "ele": 0}, "radius": radius}


def _polygon(name: str) -> dict[str, Any]:
    return {"type": "polygon", "vertices": [_point(corner) for corner in POLYGONS[name]]}


_MEETINGS: Sequence[tuple[str, dict[str, Any], Position, float]] = (
    ("the same point", _sphere(SYDNEY, 1), SYDNEY, 0.001),
    ("just within both radii", _sphere((0, 0), 100), (0, 0.01), 1011.95),
    ("just beyond both radii", _sphere((0, 0), 100), (0, 0.01), 1011.94),
    ("a centre within the range, and more", _sphere((10, 10), 1_000_000), (10, 10.001), 1),
    ("across the antimeridian", _sphere((-16.8, 179.9995), 60), (-16.8, -179.9995), 50),
    ("across the antimeridian, too far", _sphere((-16.8, 179.999), 60), (-16.8, -179.999), 50),
    ("on the antimeridian, written both ways", _sphere(FIJI, 1), (-16.8, -180.0), 1),
    ("across the North Pole", _sphere((89.9995, 10), 60), (89.9995, -170), 55),
    ("across the North Pole, too far", _sphere((89.9995, 10), 60), (89.9995, -170), 50),
    ("the South Pole by any longitude", _sphere((-90, 12), 5), (-90, -77), 1),
    ("near a pole, far in longitude and near on the ground", _sphere((89.99, 0), 10), (89.99, 90), 1600),
    ("around a pole, from the pole", _polygon("around the North Pole"), (90, 0), 1),
    ("around a pole, from outside", _polygon("around the North Pole"), (75, 45), 1_000_000),
    ("around a pole, an edge runs poleward of its parallel", _polygon("around the North Pole"), (80.5, 45), 200_000),
    ("around a pole, from the other pole", _polygon("around the North Pole"), (-90, 0), 1_000_000),
    ("a polygon across the antimeridian, from inside", _polygon("across the antimeridian"), (-16.5, -179.9), 1),
    ("a polygon across the antimeridian, from near", _polygon("across the antimeridian"), (-16.5, -179.4), 20_000),
    ("a polygon across the antimeridian, from elsewhere", _polygon("across the antimeridian"), (-16.5, 0), 1_000_000),
    ("in the notch of a polygon that is not convex", _polygon("not convex"), (1.2, 0.9), 100_000),
    ("near a corner", _polygon("an octant"), (-0.001, -0.001), 200),
    ("beyond a corner", _polygon("an octant"), (-0.001, -0.001), 150),
    ("orientation does not matter", _polygon("the same clockwise"), (48.005, 16.005), 1),
)


def _found(space: Space, position: Position, within: float) -> float | None:
    metres = space.found(unit_vector(*position), within)
    return None if metres is None else _metres(metres)


def _intersection_cases() -> Iterable[dict[str, Any]]:
    for name, space, position, within in _MEETINGS:
        metres = _found(read_space(space)[0], position, within)
        yield {
            "name": name,
            "space": space,
            "location": _point(position),
            "range": within,
            "found": metres is not None,
            "distance": metres,
        }


# --- a small registry -----------------------------------------------------------------------------------------------


def _registry() -> Iterable[dict[str, Any]]:
    rng = Random(5)
    centres = [(0.0, 0.0), FIJI, (90.0, 0.0), (-90.0, 0.0), SYDNEY]
    for number in range(60):
        lat, lon = centres[number % 5]
        lat = max(-90.0, min(90.0, round(lat + rng.gauss(0, 0.05), 6)))
        lon = round((lon + rng.gauss(0, 0.05 if abs(lat) < 80 else 90) + 540) % 360 - 180, 6)
        radius = rng.choice([10, 100, 1000, 20_000]) + number / 10
        yield {
            "id": f"reg_sphere{number:06}",
            "space": _sphere((lat, lon), radius),
            "service_point": f"https://example.com/{number}",
            "foad": number % 13 == 12,
        }
    for number, name in enumerate(name for name in POLYGONS if not name.startswith("refused")):
        yield {
            "id": f"reg_polygon{number:05}",
            "space": _polygon(name),
            "service_point": f"https://example.com/polygon/{number}",
            "foad": False,
        }


def _searches(registry: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    spaces = [(one["id"], read_space(one["space"])[0]) for one in registry if not one["foad"]]
    searches = []
    for position in PLACES.values():
        for within in (1.0, 5_000.0, 1_000_000.0):
            hits = [(space.volume, space.found(unit_vector(*position), within), key) for key, space in spaces]
            found = sorted((volume, metres, key) for volume, metres, key in hits if metres is not None)
            results = [{"id": key, "distance": _metres(metres)} for _, metres, key in found]
            searches.append({"location": _point(position), "range": within, "results": results})
    name = "registrations at awkward places, and searches around others"
    return {"name": name, "registry": registry, "searches": searches}


# --- signed requests ------------------------------------------------------------------------------------------------

SEED = bytes(range(1, 33))
NOW = 1_769_416_200
IDENTITY = "alice@home.example"
KEYID = "https://home.example/.well-known/mrs/keys/alice"
FOREIGN = "https://proxy.example/.well-known/mrs/keys/alice"
URL = "https://away.example"
BODY = '{"space":{"type":"sphere","center":{"lat":1,"lon":2},"radius":3},"service_point":"https://example.com/"}'
COVERED = ("@method", "@path", "mrs-identity")


def _signed(path: str = "/register", body: str = BODY, identity: str = IDENTITY, **changes: Any) -> dict[str, Any]:
    """A signed request; `changes` are arguments of :func:`omp.rules.http_signatures.sign`."""
    method = "POST" if body else "GET"
    request = SignedRequest(method, "https", "away.example", path, [("mrs-identity", identity)], body.encode())
    options = {"keyid": KEYID, "created": NOW, "components": COVERED, **changes}
    fields = sign(request, signer=lambda message: ed25519.sign_slowly(SEED, message), **options)
    fields = [("MRS-Identity", identity), *fields]
    return {"method": method, "url": URL + path, "fields": dict(fields), "body": body}


def _key(**changes: Any) -> dict[str, Any]:
    public = b64_encode(ed25519.public_key_slowly(SEED))
    kept: Any = {
        "key_id": "key-1",
        "key": public,
        "created": "2026-01-01T00:00:00Z",
        "expires": None,
        "deprecated": False,
    }
    return {**kept, **changes}


def _signed_cases() -> Iterable[dict[str, Any]]:
    single = key_document(IDENTITY, [_key()])  # type: ignore[list-item]
    another = _key(key_id="key-0", key=b64_encode(ed25519.public_key_slowly(bytes(32))))
    expired, deprecated = _key(expires="2026-01-02T00:00:00Z"), _key(deprecated=True)
    several = key_document(IDENTITY, [another, _key(expires="2027-01-01T00:00:00Z")])  # type: ignore[list-item]
    good = _signed()
    target_uri = ("@method", "@target-uri", "mrs-identity")
    cases: list[tuple[str, dict[str, Any], Any, int]] = [
        ("with a body", good, single, 200),
        ("without a body", _signed("/registrations", ""), single, 200),
        ("covering the whole address", _signed(components=target_uri), single, 200),
        ("beside a signature by somebody else", _beside(good, _signed(label="proxy", keyid=FOREIGN)), single, 200),
        ("only a signature by somebody else", _signed(keyid=FOREIGN), single, 401),
        ("one of several keys", good, several, 200),
        ("five minutes old", _signed(created=NOW - 300), single, 200),
        ("a minute ahead", _signed(created=NOW + 60), single, 200),
        ("too old", _signed(created=NOW - 301), single, 401),
        ("too far ahead", _signed(created=NOW + 61), single, 401),
        ("expired by its own word", _signed(expires=NOW - 1), single, 401),
        ("the method is not covered", _signed(components=("@path", "mrs-identity")), single, 401),
        ("the path is not covered", _signed(components=("@method", "mrs-identity")), single, 401),
        ("the identity is not covered", _signed(components=("@method", "@path")), single, 401),
        ("another body", {**good, "body": BODY + " "}, single, 400),
        ("a body that was not signed", {**_signed(body=""), "method": "GET", "body": BODY}, single, 401),
        ("another path", {**good, "url": f"{URL}/release"}, single, 401),
        ("another method", {**good, "method": "PUT"}, single, 401),
        ("another host, which is not covered", {**good, "url": "https://elsewhere.example/register"}, single, 200),
        (
            "another host, covered",
            {**_signed(components=target_uri), "url": "https://elsewhere.example/register"},
            single,
            401,
        ),
        ("the key is expired", good, key_document(IDENTITY, [expired]), 401),  # type: ignore[list-item]
        ("the key is deprecated", good, key_document(IDENTITY, [deprecated]), 401),  # type: ignore[list-item]
        ("another key", good, key_document(IDENTITY, [another]), 401),  # type: ignore[list-item]
        ("the document is another identity's", good, {**single, "id": "bob@home.example"}, 401),
        ("an identity of another domain", _signed(identity="alice@evil.example"), single, 401),
        ("another user of the domain", _signed(identity="bob@home.example"), single, 401),
        ("a key elsewhere on the domain", _signed(keyid="https://home.example/uploads/alice.json"), single, 401),
        ("a key on another port", _signed(keyid=KEYID.replace(".example", ".example:8443")), single, 401),
        ("no identity", {**good, "fields": _without(good, "MRS-Identity")}, single, 401),
        ("no signature", {**good, "fields": _without(good, "Signature")}, single, 400),
    ]
    for name, request, document, status in cases:
        case = {"name": name, "now": NOW, **request, "keyDocument": document, "status": status}
        yield {**case, "identity": IDENTITY} if status == 200 else case


def _beside(request: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, Any]:
    """`request` with the signature of another one before its own."""
    both = {name: f"{first['fields'][name]}, {request['fields'][name]}" for name in ("Signature-Input", "Signature")}
    return {**request, "fields": {**request["fields"], **both}}


def _without(request: Mapping[str, Any], name: str) -> dict[str, str]:
    return {field: value for field, value in request["fields"].items() if field != name}
