"""The maker of ``omp/explore/page/coast.json``: the coastlines of the map.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python3 -m omp.tests.explore.coastlines package/land-110m.json

The data are those of Natural Earth (naturalearthdata.com), 1:110m physical vectors, land, which are in the public
domain.  The package ``world-atlas`` (ISC licence) has them as TopoJSON: polygons whose edges are *arcs*, each a list of
points that are the differences of whole numbers, to be scaled.

What is written are lines in hundredths of a degree (1.1 km, finer than the data), each a list of longitude and latitude
of its first point and then of the differences.  Points that lie nearly on the line between their neighbours are left
out, and so are the edges that the data have along the antimeridian and the south pole, where there is no coast.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from omp.tests import TOP

FILE = TOP / "omp" / "explore" / "page" / "coast.json"
ORIGIN = "Natural Earth (naturalearthdata.com), 1:110m land, public domain; by way of the npm package world-atlas 2.0.2"
UNIT = 100  # a degree
TOLERANCE = 0.05  # degrees

Point = tuple[float, float]
"""Longitude and latitude in degrees."""


def lines(topology: Any) -> Iterator[list[Point]]:
    """The coastlines of a TopoJSON file."""
    (scale_x, scale_y), (shift_x, shift_y) = (topology["transform"][name] for name in ("scale", "translate"))
    for arc in topology["arcs"]:
        x = y = 0
        line: list[Point] = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            point = (x * scale_x + shift_x, y * scale_y + shift_y)
            if line and _at_the_rim(line[-1], point):
                if len(line) > 1:
                    yield line
                line = []
            line.append(point)
        if len(line) > 1:
            yield line


def _at_the_rim(one: Point, other: Point) -> bool:
    """Whether an edge runs along the antimeridian, or around the pole."""
    return (abs(one[0]) > 179.9 and abs(other[0]) > 179.9) or (one[1] < -89.9 or other[1] < -89.9)


def simplified(line: Sequence[Point]) -> list[Point]:
    """Without points nearer than :data:`TOLERANCE` to the line between those that stay (Douglas and Peucker)."""
    (x, y), (x2, y2) = line[0], line[-1]
    length = math.hypot(x2 - x, y2 - y)

    def off(point: Point) -> float:
        if length == 0:
            return math.hypot(point[0] - x, point[1] - y)
        return abs((x2 - x) * (point[1] - y) - (y2 - y) * (point[0] - x)) / length

    farthest = max(range(1, len(line) - 1), key=lambda at: off(line[at]), default=0)
    if not farthest or off(line[farthest]) < TOLERANCE:
        return [line[0], line[-1]]
    return [*simplified(line[: farthest + 1])[:-1], *simplified(line[farthest:])]


def written(line: Sequence[Point]) -> list[int]:
    """A line as whole numbers."""
    whole = [(round(lon * UNIT), round(lat * UNIT)) for lon, lat in line]
    ahead = itertools.pairwise(whole)
    return [*whole[0], *(number for a, b in ahead for number in (b[0] - a[0], b[1] - a[1]))]


def made(path: Path) -> str:
    """The text of the file."""
    found = [written(simplified(line)) for line in lines(json.loads(path.read_bytes()))]
    return json.dumps({"origin": ORIGIN, "unit": UNIT, "lines": found}, separators=(",", ":")) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    FILE.write_text(made(Path(sys.argv[1])), encoding="utf-8")
