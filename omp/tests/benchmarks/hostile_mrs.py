"""What strangers' worst requests to MRS cost: the rows for ``python -m omp bench hostile``.

Most need nobody's leave: anybody may search, read the feed, ask for an account, try passwords, and sign with a key that
is fetched from an address of his own choice.  An account is free, so what its owner can register to make searches of
all others expensive counts as a stranger's attack too.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from omp.rules.encodings import b64_encode
from omp.tests.benchmarks.hostile import Row
from omp.tests.benchmarks.load import Connection, http_request

LAT, LON = 10.0, 20.0
AT_ONCE = 100
_TIME = "2026-01-26T08:30:00Z"

# --- polygons at their worst ----------------------------------------------------------------------------------------


def circle(corners: int, radius: float = 0.01) -> Any:
    """A polygon whose edges are all as far from its middle; `radius` in degrees."""
    return _polygon((radius, math.tau * number / corners) for number in range(corners))


def open_ring(corners: int) -> Any:
    """A polygon in the form of a C: it surrounds the point, and does not hold it."""
    half = corners // 2
    angles = [5.5 * number / (half - 1) for number in range(half)]
    return _polygon([*((0.01, angle) for angle in angles), *((0.009, angle) for angle in reversed(angles))])


def comb(corners: int, turn: float) -> Any:
    """Long thin teeth, turned: the extents of nearly all edges overlap along any axis."""
    teeth = [(number * 1e-6, 0.01 if number % 2 else 0.0) for number in range(corners - 2)]
    teeth += [(corners * 1e-6, -0.001), (-1e-6, -0.001)]
    return _polygon((math.hypot(y, x), math.atan2(x, y) + turn) for y, x in teeth)


def _polygon(polar: Iterable[tuple[float, float]]) -> Any:
    return {
        "type": "polygon",
        "vertices": [{"lat": LAT + r * math.cos(angle), "lon": LON + r * math.sin(angle)} for r, angle in polar],
    }


# --- what is prepared -----------------------------------------------------------------------------------------------


def _import(entries: Sequence[Any], at_once: int, port: int) -> None:
    with Connection(port) as operator:
        for first in range(0, len(entries), at_once):
            body = json.dumps({"registrations": entries[first : first + at_once]}).encode()
            operator.request("POST", "/admin/import", body)


def _polygons(space: Any, count: int, port: int) -> None:
    entry = {"space": space, "owner": "mark@e.example", "version": 1, "created": _TIME, "updated": _TIME}
    names = [f"reg_polygon{number}" for number in range(count)]
    _import([{**entry, "id": one, "service_point": f"https://e.example/{one}"} for one in names], 25, port)


def _spheres(count: int, port: int) -> None:
    """Spheres within some hundred kilometres of the point."""
    entry = {"owner": "mark@e.example", "version": 1, "created": _TIME, "updated": _TIME}
    entries = []
    for number in range(count):
        center = {"lat": LAT + math.sin(number) * 2, "lon": LON + math.cos(number * 1.3) * 2}
        space = {"type": "sphere", "center": center, "radius": 1 + number % 1000}
        service = f"https://e.example/{number}"
        entries.append({**entry, "id": f"reg_sphere{number}", "space": space, "service_point": service})
    _import(entries, 5000, port)


def _account(name: str, port: int) -> str:
    """The token of a user; the account is made where there is none."""
    body = json.dumps({"username": name, "password": "correct horse"}).encode()
    with Connection(port) as user:
        made = user.exchange(http_request("POST", "/auth/register", body))
        if made.status != 201:
            made = user.request("POST", "/auth/login", body)
    return str(json.loads(made.body)["token"])


def _many_keys(port: int) -> None:
    bearer = {"Authorization": f"Bearer {_account('keyring', port)}"}
    with Connection(port) as user:
        for number in range(16):
            body = json.dumps({"public_key": b64_encode(bytes([number + 1, *range(31)]))}).encode()
            user.request("PUT", f"/auth/me/keys/k{number}", body, bearer)


def _own_polygons(port: int) -> None:
    bearer = {"Authorization": f"Bearer {_account('lister', port)}"}
    with Connection(port) as user:
        for number in range(100):
            body = json.dumps({"space": circle(1000), "service_point": f"https://e.example/{number}"}).encode()
            user.request("POST", "/register", body, bearer)


# --- what is sent ---------------------------------------------------------------------------------------------------


def _search(within: float, times: int, port: int) -> None:
    body = json.dumps({"location": {"lat": LAT, "lon": LON}, "range": within}).encode()
    with Connection(port) as stranger:
        for _ in range(times):
            stranger.request("POST", "/search", body)


def _own_list(port: int) -> None:
    bearer = {"Authorization": f"Bearer {_account('lister', port)}"}
    with Connection(port) as user:
        user.request("GET", "/registrations", None, bearer)


def _pages(port: int) -> None:
    with Connection(port) as stranger:
        for path in ("/sync/snapshot?limit=1000", "/sync/changes?limit=1000"):
            stranger.request("GET", path)


def _at_once(path: str, body: Callable[[int], Any], port: int) -> None:
    def send(number: int) -> int:
        with Connection(port) as stranger:
            return stranger.exchange(http_request("POST", path, json.dumps(body(number)).encode())).status

    with ThreadPoolExecutor(AT_ONCE) as strangers:
        list(strangers.map(send, range(AT_ONCE)))


def _new_accounts(port: int) -> None:
    _at_once("/auth/register", lambda number: {"username": f"u{number}", "password": "correct horse"}, port)


def _guesses(port: int) -> None:
    _at_once("/auth/login", lambda number: {"username": f"user{number}", "password": "wrong horse"}, port)


def _combs(port: int) -> None:
    bearer = {"Authorization": f"Bearer {_account('comb', port)}"}
    with Connection(port) as user:
        for number in range(10):
            claim = {"space": comb(1000, number / 10), "service_point": "https://e.example/"}
            user.request("POST", "/register", json.dumps(claim).encode(), bearer)


def _signed(port: int, user: str, domain: str, labels: int) -> bytes:
    """A request to the server at `port` with so many signatures of which none verifies."""
    keyid = f"https://{domain}/.well-known/mrs/keys/{user}"
    covered = f'("@method" "@path" "mrs-identity");created={int(time.time())};keyid="{keyid}"'
    wrong = f":{b64_encode(bytes(31) + b'1' * 32 + bytes(1))}:"
    fields = {
        "MRS-Identity": f"{user}@{domain}",
        "Signature-Input": ", ".join(f"s{number}={covered}" for number in range(labels)),
        "Signature": ", ".join(f"s{number}={wrong}" for number in range(labels)),
    }
    return http_request("GET", "/registrations", None, fields, host=f"127.0.0.1:{port}")


def _forged_keyids(port: int) -> None:
    with Connection(port) as stranger:
        for number in range(1001):
            stranger.exchange(_signed(port, f"u{number}", f"127.0.0.1:{number + 1}", 1))


def _many_signatures(port: int) -> None:
    with Connection(port) as stranger:
        for _ in range(10):
            stranger.exchange(_signed(port, "keyring", f"127.0.0.1:{port}", 8))


ROWS = (
    Row(
        "mrs: a search among 100 polygons of 1,000 vertices",
        partial(_search, 1, 1),
        0.1,
        8,
        "0.52 s (1.0 s alone), an answer of 5.1 MB",
        prepare=partial(_polygons, circle(1000), 100),
    ),
    Row(
        "mrs: a search within 100 C-shaped polygons of 1,000 vertices",
        partial(_search, 1050, 1),
        0.2,
        8,
        "0.51 s, an answer of 5.1 MB",
        prepare=partial(_polygons, open_ring(1000), 100),
    ),
    Row(
        "mrs: 10 searches of the largest range among 20,000 spheres",
        partial(_search, 1_000_000, 10),
        1.0,
        10,
        "the same",
        prepare=partial(_spheres, 20_000),
    ),
    Row(
        "mrs: pages of 1,000 polygons of 1,000 vertices",
        _pages,
        0.2,
        8,
        "11 MB for 100, 110 MB for 1,000",
        prepare=partial(_polygons, circle(1000), 100),
    ),
    Row(
        "mrs: a list of 100 own polygons of 1,000 vertices",
        _own_list,
        0.3,
        40,
        "an answer of 5.1 MB; of 10,000, one of 510 MB",
        prepare=_own_polygons,
    ),
    Row("mrs: 10 combs of 1,000 vertices", _combs, 0.6, 24, "1.42 s"),
    Row("mrs: 100 new accounts at once", _new_accounts, 1.5, 72, "4.0 s, 67 MiB; a login waited 15 s"),
    Row("mrs: 100 wrong passwords at once", _guesses, 3.0, 72, "4.0 s, 67 MiB, answered after 9 s"),
    Row("mrs: 1,001 forged keyids", _forged_keyids, 2.0, 8, "every cached key document was gone"),
    Row(
        "mrs: 10 requests of 8 signatures by 16 keys",
        _many_signatures,
        1.0,
        4,
        "5 x as much (8 x without cryptography)",
        prepare=_many_keys,
    ),
)
