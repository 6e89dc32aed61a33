"""MRS: searches beside a plain registry's (SQLite with a bounding-box index), and as the registry grows.

**A registry** of n registrations is n / 1,000 cities: 1,000 spheres of 10 to 500 m around each centre, normally
distributed with a deviation of 11 km.  What lies around the centre of a city is then the same whatever n is.

**Growing.**  The median latency of a 1 km search, one after the other on one connection, among 1,000,000 registrations
and among 1,000 in another server; the memory that each registration takes.

**Beside the plain way.**  With 100,000 registrations both answer the same searches over keep-alive connections, with
ranges that find about 7 and about 100 in a city.  The plain server (:mod:`omp.tests.benchmarks.places_plain`) asks
SQLite for the bounding boxes that overlap and filters in Python, as most registries would; before anything is measured,
both must find the same in the same order.

**Starting.**  With SQLite the cell index is rows of the file, so a server loads nothing: the seconds from exec to the
first answered search among all registrations, on a file made before.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from math import cos, radians
from pathlib import Path
from random import Random
from typing import Any

from omp.protocols.mrs.registration import read_registration
from omp.protocols.mrs.registry import Registry
from omp.store import open_store
from omp.tests.benchmarks.load import (
    BenchmarkFailed,
    Connection,
    Plan,
    Server,
    drive,
    http_request,
    interleave,
    our_server,
    ratio,
    repeat,
    running,
)
from omp.tests.benchmarks.report import Report

HELP = "MRS: searches beside a plain registry's, and as the registry grows to 1,000,000"
CITY = 1000
RADII = (10, 20, 50, 100, 200, 500)
BATCH = 5000
RANGES = {"7 hits": 1000, "100 hits": 4750}
URL = "https://bench.example"
TIME = "2026-01-26T08:30:00Z"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--registrations", type=int, help="of the large registry (1,000,000; with --quick 100,000)")
    parser.add_argument("--no-sqlite", action="store_true", help="skip the start over a SQLite file")
    parser.epilog = "examples:\n  python -m omp bench places --quick"


def run(args: argparse.Namespace, report: Report) -> int:
    """Measure, print the table and the ratios; the exit status is 0."""
    plan = Plan.of(args)
    large = args.registrations or (100_000 if plan.quick else 1_000_000)
    medium = min(100_000, large)
    report.plan(plan)
    with ExitStack() as stack:
        small_server = stack.enter_context(our_server(pin=plan.pinned))
        fill(small_server, "/admin/import", CITY)
        large_server = stack.enter_context(our_server(pin=plan.pinned))
        before = large_server.resident()
        fill(large_server, "/admin/import", large)
        bytes_each = (large_server.resident() - before) * 1e6 / large
        _growing(small_server, large_server, large, plan, report)
        report.goal("memory a registration", bytes_each / 1000, at_most=1.5, unit=" KB")
        if large == medium:
            ours = large_server
        else:
            ours = stack.enter_context(our_server(pin=plan.pinned))
            fill(ours, "/admin/import", medium)
        plain = stack.enter_context(running(["-m", "omp.tests.benchmarks.places_plain"], pin=plan.pinned))
        fill(plain, "/fill", medium)
        _beside_the_plain(ours, plain, medium // CITY, plan, report)
    if not args.no_sqlite:
        _starting(large, plan, report)
    return 0


# --- the registry ---------------------------------------------------------------------------------------------------


def city(number: int) -> tuple[float, float]:
    """The centre of a city: the same in every registry."""
    rng = Random(number)
    return rng.uniform(-65, 65), rng.uniform(-179, 179)


def registrations(count: int) -> Iterator[dict[str, Any]]:
    """As they are exported, city after city."""
    rng = Random(0)
    for number in range(count):
        lat, lon = city(number // CITY)
        north, east = rng.gauss(0, 0.1), rng.gauss(0, 0.1)
        center = {"lat": round(lat + north, 6), "lon": round(lon + east / cos(radians(lat)), 6), "ele": 0}
        name = f"reg_{rng.getrandbits(48):012x}"
        yield {
            "id": name,
            "space": {"type": "sphere", "center": center, "radius": rng.choice(RADII)},
            "service_point": f"https://example.com/places/{number}",
            "foad": False,
            "origin_server": URL,
            "origin_id": name,
            "version": 1,
            "owner": f"user{number % 1000}@bench.example",
            "created": TIME,
            "updated": TIME,
        }


def batches(count: int) -> Iterator[list[dict[str, Any]]]:
    """All of them in batches, with a progress line if a person watches."""
    batch: list[dict[str, Any]] = []
    for number, one in enumerate(registrations(count), 1):
        batch.append(one)
        if len(batch) == BATCH or number == count:
            yield batch
            batch = []
            if sys.stderr.isatty():
                print(f"\rfilling: {number:,} of {count:,}", end="" if number < count else "\n", file=sys.stderr)


def fill(server: Server, path: str, count: int) -> None:
    """Give a server `count` registrations."""
    with Connection(server.port) as connection:
        for batch in batches(count):
            connection.request("POST", path, json.dumps({"registrations": batch}).encode())


# --- what is measured -----------------------------------------------------------------------------------------------


def search(number: int, within: float) -> bytes:
    """A search around the centre of a city."""
    lat, lon = city(number)
    return http_request("POST", "/search", json.dumps({"location": {"lat": lat, "lon": lon}, "range": within}).encode())


def _growing(small: Server, large: Server, count: int, plan: Plan, report: Report) -> None:
    names = [f"1 km search among {CITY:,}", f"1 km search among {count:,}"]
    everywhere = [search(number, 1000) for number in range(count // CITY)]
    load = partial(drive, seconds=plan.seconds)
    results = interleave(
        {
            names[0]: lambda: load(small.port, repeat([search(0, 1000)], 1)),
            names[1]: lambda: load(large.port, repeat(everywhere, 1)),
        },
        plan.rounds,
    )
    report.table(results, {names[0]: small.resident(), names[1]: large.resident()})
    slower = ratio(results[names[1]], results[names[0]], of=lambda result: result.p50)
    report.goal(f"median latency among {count:,} beside {CITY:,}", slower, at_most=3)


def _beside_the_plain(ours: Server, plain: Server, cities: int, plan: Plan, report: Report) -> None:
    contestants = {}
    for name, within in RANGES.items():
        searches = [search(number, within) for number in range(cities)]
        hits = _compared(ours, plain, searches)
        report.say(f"searches of {within:,} m among {cities * CITY:,}: {hits:.1f} hits on average, the same from both")
        for server, label in ((ours, "ours"), (plain, "plain")):
            load = partial(drive, server.port, repeat(searches, plan.connections), plan.seconds)
            contestants[f"{label}, {name}"] = load
    results = interleave(contestants, plan.rounds)
    report.table(results)
    for name in RANGES:
        faster = ratio(results[f"ours, {name}"], results[f"plain, {name}"])
        report.goal(f"{name}, beside the plain way", faster, at_least=8)


def _compared(ours: Server, plain: Server, searches: list[bytes]) -> float:
    """The average number of hits; :class:`BenchmarkFailed` where the servers find different things."""
    found = 0
    with Connection(ours.port) as here, Connection(plain.port) as there:
        for request in searches:
            one, other = (
                [hit["id"] for hit in json.loads(connection.exchange(request).body)["results"]]
                for connection in (here, there)
            )
            if one != other:
                raise BenchmarkFailed(f"The two servers answer {request[-80:]!r} differently.")
            found += len(one)
    return found / len(searches)


def _starting(count: int, plan: Plan, report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "places.db")
        store = open_store(f"sqlite:{path}")
        registry = Registry(store, time.time, os.urandom, URL)
        for batch in batches(count):
            with store.write() as tx:
                registry.adopt(tx, [read_registration(one, URL) for one in batch], ())
        store.close()
        size = Path(path).stat().st_size
        began = time.perf_counter()
        with our_server(storage=f"sqlite:{path}", pin=plan.pinned) as server, Connection(server.port) as connection:
            answer = connection.exchange(search(count // CITY - 1, 1000))
            seconds = time.perf_counter() - began
            if not json.loads(answer.body)["results"]:
                raise BenchmarkFailed("The server that was started over the file finds nothing.")
            listening = server.startup
    report.say(f"SQLite, {count:,} registrations ({size / count:,.0f} bytes each): listening after {listening:.2f} s")
    report.goal("from exec to the first answered search", seconds, at_most=60, unit=" s")
