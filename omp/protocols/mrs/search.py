"""Searching: what is around a point, smallest first (mrs.md "Search", seed §5.3).

The steps of seed §5.3: cover the search by ranges of the cell index (2, 3), take the records in them, compare exactly
(4), order by volume, then distance (5, 6).  Records are collected in a read block and compared after it, so a search
over half the world keeps nobody waiting.

What costs: the levels that are occupied (some six ranges each), and the records in their ranges, two or three
times those that are found.  How many registrations there are elsewhere does not matter.
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import nsmallest
from math import dist
from operator import itemgetter

from omp.protocols.mrs.cells import LEVEL_REACHES, WHOLE, cover
from omp.protocols.mrs.geometry import EARTH_RADIUS_M, Vector, chord_metres
from omp.protocols.mrs.registration import CENTRE, SIZE, polygon_of
from omp.protocols.mrs.registry import PLACES, level_counts
from omp.store.port import Reader, key

Hit = tuple[float, float, bytes, bytes]
"""A registration that was found: volume, distance, id, record.  Hits compare in the order of the answer."""

Nearby = list[tuple[int, list[tuple[bytes, bytes]]]]
"""Level, and the rows of it in the ranges that were covered."""

_VOLUME = itemgetter(0)
_ROUNDING = 1e-3
"""Metres: more than rounding adds to the reach of a polygon or takes from it."""


def records_near(tx: Reader, point: Vector, within: float) -> Nearby:
    """The rows of every registration that could come within that many metres, and some others."""
    nearby: Nearby = []
    for level, count in enumerate(level_counts(tx)):
        if count:
            rows: list[tuple[bytes, bytes]] = []
            for first, last in cover(point, within, level):
                rows += tx.scan(PLACES, key(first), key(last))
            nearby.append((level, rows))
    return nearby


def hits_among(nearby: Nearby, point: Vector, within: float, most: int) -> list[Hit]:
    """The first `most` registrations of `nearby` that intersect the search sphere, in the order of the answer."""
    hits: list[Hit] = []
    polygons: list[tuple[float, bytes, bytes]] = []
    for level, rows in nearby:
        farthest = _longest_chord(level, within)
        for place, record in rows:
            chord = dist(CENTRE(record), point)
            # Most rows that are not found end here: farther away than any space of the level could reach.
            if chord > farthest:
                continue
            reach, volume, polygon = SIZE(record)
            metres = chord_metres(chord)
            if polygon:
                if metres <= reach + within + _ROUNDING:
                    polygons.append((volume, place[8:], record))
            elif metres <= reach + within:
                hits.append((volume, metres, place[8:], record))
    if len(hits) > most:
        hits = nsmallest(most, hits)
    else:
        hits.sort()
    return _with_polygons(hits, polygons, point, within, most) if polygons else hits


def _with_polygons(
    spheres: list[Hit], polygons: list[tuple[float, bytes, bytes]], point: Vector, within: float, most: int
) -> list[Hit]:
    """The first `most` of `spheres`, in order, and of those `polygons` (volume, id, record) that intersect.

    To read a polygon and compare it takes as long as for dozens of spheres: smallest first, as many as it takes.
    """
    found: list[Hit] = []
    for volume, name, record in sorted(polygons):
        if sum(bisect_left(hits, volume, key=_VOLUME) for hits in (spheres, found)) >= most:
            break  # as many are smaller than this one and all that follow
        metres = polygon_of(record).found(point, within)
        if metres is not None:
            found.append((volume, metres, name, record))
    return sorted(spheres + found)[:most]


def _longest_chord(level: int, within: float) -> float:
    """To the centre of anything on the level that could be found: the arc, which is longer than its chord."""
    return 2.0 if level == WHOLE else (LEVEL_REACHES[level] + within) / EARTH_RADIUS_M + 1e-12
