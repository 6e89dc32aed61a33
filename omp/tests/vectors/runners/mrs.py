"""How each kind of vector in ``vectors/mrs/`` is run."""

from __future__ import annotations

import json
import unittest
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from omp.protocols.mrs.accounts import Accounts, Throttle
from omp.protocols.mrs.geometry import GeometryError, distance, unit_vector
from omp.protocols.mrs.identity import POLICY, Authenticator
from omp.protocols.mrs.keys import KeyRing, RemoteKeys
from omp.protocols.mrs.polygons import Polygon
from omp.protocols.mrs.registration import read_registration, read_space
from omp.protocols.mrs.registry import Registry
from omp.protocols.mrs.routes import REFUSALS
from omp.protocols.mrs.schemas import RegistryError
from omp.protocols.mrs.searching import find
from omp.rules.engines import best_engine
from omp.store.memory import MemoryStore
from omp.web.addressing import Local, parse_origins, recognized
from omp.web.messages import Request
from omp.web.signature_guard import NonceTable

Case = dict[str, Any]
METRES = 0.001
URL = "https://here.example"


def _vector(point: Case) -> tuple[float, float, float]:
    return unit_vector(point["lat"], point["lon"])


def _distance(test: unittest.TestCase, case: Case) -> None:
    there, back = (
        distance(_vector(case["from"]), _vector(case["to"])),
        distance(_vector(case["to"]), _vector(case["from"])),
    )
    test.assertEqual(there, back)
    # Half-way round the earth arcsine is exact to a few metres only, in any implementation of the formula.
    test.assertAlmostEqual(there, case["metres"], delta=METRES if there < 2e7 else 1)


def _polygon(test: unittest.TestCase, case: Case) -> None:
    if case.get("refused"):
        with test.assertRaises(GeometryError):
            read_space(case["space"])
        return
    polygon, _ = read_space(case["space"])
    assert isinstance(polygon, Polygon)
    test.assertAlmostEqual(polygon.area / case["area"], 1, delta=1e-6)
    test.assertAlmostEqual(polygon.volume / case["volume"], 1, delta=1e-6)


def _intersection(test: unittest.TestCase, case: Case) -> None:
    space, _ = read_space(case["space"])
    metres = space.found(_vector(case["location"]), case["range"])
    test.assertEqual(metres is not None, case["found"])
    if metres is not None:
        test.assertAlmostEqual(metres, case["distance"], delta=METRES)


def _search(test: unittest.TestCase, case: Case) -> None:
    store = MemoryStore()
    registry = Registry(store, lambda: 1e9, bytes, URL)
    rest = {"owner": "mark@here.example", "version": 1, "created": "2026-01-01", "updated": "2026-01-01"}
    with store.write() as tx:
        registry.adopt(tx, [read_registration({**one, **rest}, URL) for one in case["registry"]], ())
    for search in case["searches"]:
        point, within = _vector(search["location"]), search["range"]
        hits = find(store, point, within, 1000).hits
        test.assertEqual([name.decode() for _, _, name, _ in hits], [one["id"] for one in search["results"]])
        for (_, metres, _, _), expected in zip(hits, search["results"], strict=True):
            test.assertAlmostEqual(metres, expected["distance"], delta=METRES)


def _signed_request(test: unittest.TestCase, case: Case) -> None:
    store = MemoryStore()

    def clock() -> float:
        return float(case["now"])

    split = urlsplit(case["url"])
    fields = [("host", split.netloc), *((name.lower(), value) for name, value in case["fields"].items())]
    authenticator = Authenticator(
        clock,
        best_engine(),
        Accounts(store, clock, bytes, Throttle(store, clock), 60),
        KeyRing(store, clock, "here.example"),
        RemoteKeys(lambda url: json.dumps(case["keyDocument"]).encode(), clock, 60),
        NonceTable(store, clock, POLICY),
        "here.example",
    )
    request = Request(case["method"], split.path, dict(fields), fields, case["body"].encode(), scheme=split.scheme)
    # Whose server that is, is not what these cases are about: it knows itself by the address that they call.
    request.destination = recognized(
        split.netloc, Local("", 0), split.scheme, parse_origins(f"{split.scheme}://{split.netloc}")
    )
    try:
        identity = authenticator.identify(request)
    except RegistryError as refusal:
        test.assertEqual(REFUSALS[type(refusal)].status, case["status"], str(refusal))
        return
    test.assertEqual((200, identity.id), (case["status"], case["identity"]))


RUNNERS: dict[str, Callable[[unittest.TestCase, Case], None]] = {
    "mrs/distance": _distance,
    "mrs/polygon": _polygon,
    "mrs/intersection": _intersection,
    "mrs/search": _search,
    "mrs/signed-request": _signed_request,
}
