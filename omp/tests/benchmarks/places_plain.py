"""The plain way to search: SQLite with an index over bounding boxes, filtered in Python.

This is how a first implementation of MRS would do it: a table with a box of latitudes and longitudes for each
registration, a query for the boxes that overlap, the haversine for what it finds.  It is wrong near the poles and at
the antimeridian (mrs §5.8), where the benchmark asks nothing.  Around it is the tuned stock server
(:mod:`omp.tests.benchmarks.stock`).  ``POST /fill`` takes the registrations that our server is given, ``POST /search``
answers like ours.  Each thread has a connection of its own to one database in memory, and the rows that the query finds
are read into tuples, which is the fastest that sqlite3 can do.

Run by the benchmark of places (``python -m omp.tests.benchmarks.places_plain``) on a free port.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from math import asin, cos, degrees, pi, radians, sin, sqrt
from typing import Any

from omp.tests.benchmarks.stock import Handler, Server

EARTH_RADIUS_M = 6371000
DATABASE = "file:plain?mode=memory&cache=shared"
SCHEMA = """
CREATE TABLE registrations (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, geo_type TEXT NOT NULL DEFAULT 'sphere',
    center_lat REAL NOT NULL, center_lon REAL NOT NULL, center_ele REAL NOT NULL DEFAULT 0, radius REAL,
    service_point TEXT, foad INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL, updated_at TEXT NOT NULL,
    bbox_min_lat REAL NOT NULL, bbox_max_lat REAL NOT NULL, bbox_min_lon REAL NOT NULL, bbox_max_lon REAL NOT NULL
);
CREATE INDEX idx_registrations_bbox ON registrations(bbox_min_lat, bbox_max_lat, bbox_min_lon, bbox_max_lon);
"""
QUERY = """
SELECT id, center_lat, center_lon, center_ele, radius, service_point FROM registrations
WHERE bbox_max_lat >= ? AND bbox_min_lat <= ? AND bbox_max_lon >= ? AND bbox_min_lon <= ? AND foad = 0
"""
INSERT = "INSERT INTO registrations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
MAX_RESULTS = 100
_local = threading.local()


def connection() -> sqlite3.Connection:
    """This thread's connection."""
    if not hasattr(_local, "connection"):
        _local.connection = sqlite3.connect(DATABASE, uri=True)
        _local.connection.execute("PRAGMA read_uncommitted=1")  # readers do not lock the shared cache's tables
    opened: sqlite3.Connection = _local.connection
    return opened


def bounding_box(lat: float, lon: float, radius: float) -> tuple[float, float, float, float]:
    """The box (south, north, west, east) in degrees, by the common formula that divides by cos(lat)."""
    lat_delta = degrees(radius / EARTH_RADIUS_M)
    lon_delta = lat_delta / cos(radians(lat))
    return lat - lat_delta, lat + lat_delta, lon - lon_delta, lon + lon_delta


def haversine(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """The distance in metres (mrs §5.2)."""
    lat1, lon1, lat2, lon2 = radians(lat1), radians(lon1), radians(lat2), radians(lon2)
    a = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return EARTH_RADIUS_M * 2 * asin(sqrt(a))


def fill(registrations: list[dict[str, Any]]) -> None:
    """Insert registrations, all of them spheres."""
    rows = []
    for one in registrations:
        centre, radius = one["space"]["center"], one["space"]["radius"]
        box = bounding_box(centre["lat"], centre["lon"], radius)
        place = (one["id"], one["owner"], "sphere", centre["lat"], centre["lon"], centre["ele"], radius)
        rows.append((*place, one["service_point"], 0, one["created"], one["updated"], *box))
    database = connection()
    database.executemany(INSERT, rows)
    database.commit()


def search(lat: float, lon: float, within: float) -> dict[str, Any]:
    """The answer to a search: boxes that overlap, then exact distances, then order."""
    south, north, west, east = bounding_box(lat, lon, within)
    found = []
    for name, at_lat, at_lon, ele, radius, point in connection().execute(QUERY, (south, north, west, east)):
        metres = haversine(lat, lon, at_lat, at_lon)
        if metres <= within + radius:
            space = {"type": "sphere", "center": {"lat": at_lat, "lon": at_lon, "ele": ele}, "radius": radius}
            result = {"id": name, "space": space, "service_point": point, "foad": False, "distance": metres}
            found.append((4 / 3 * pi * radius**3, metres, result))
    found.sort(key=lambda hit: hit[:2])
    return {"status": "ok", "results": [result for _, _, result in found[:MAX_RESULTS]], "referrals": []}


class PlainHandler(Handler):
    """The two routes."""

    def do_POST(self) -> None:
        """Fill or search."""
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/fill":
            fill(given["registrations"])
            self.answer(200, {"status": "ok"})
        else:
            at = given["location"]
            self.answer(200, search(at["lat"], at["lon"], given["range"]))


if __name__ == "__main__":
    kept = sqlite3.connect(DATABASE, uri=True)  # the database lives as long as a connection to it does
    kept.executescript(SCHEMA)
    server = Server(("127.0.0.1", 0), PlainHandler)
    print(f"Plain server listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
