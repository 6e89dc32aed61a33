"""Searching: what is around a point, nearest sizes first (mrs.md "Search", seed §5.3).

The steps of seed §5.3: cover the search by ranges of the cell index (2, 3), take the records in them, compare exactly
(4), order by volume, then distance (5, 6).  Records are collected in a read block and compared after it, so a search
over half the world keeps nobody waiting.

What costs: the levels that are occupied (about three ranges each), and the records in their ranges, some three times
those that are found.  How many registrations there are elsewhere does not matter.
"""

from __future__ import annotations

from heapq import nsmallest

from omp.protocols.mrs.registration import PLACE, polygon_of
from omp.protocols.mrs.registry import PLACES, level_counts
from omp.rules.cells import cover
from omp.rules.geometry import EARTH_RADIUS_M, Vector, chord_metres
from omp.store.port import Reader, key

_PER_METRE = (1 + 1e-9) / EARTH_RADIUS_M
"""Radians a metre, a little more than true: rounding must not lose what lies just within reach."""

Hit = tuple[float, float, bytes, bytes]
"""A registration that was found: volume, distance, id, record.  Hits compare in the order of the answer."""


def records_near(tx: Reader, point: Vector, within: float) -> list[tuple[bytes, bytes]]:
    """The rows of every registration that could come within that many metres, and some others."""
    occupied = [level for level, count in enumerate(level_counts(tx)) if count]
    rows: list[tuple[bytes, bytes]] = []
    for first, last in cover(point, within, occupied):
        rows += tx.scan(PLACES, key(first), key(last))
    return rows


def hits_among(rows: list[tuple[bytes, bytes]], point: Vector, within: float, most: int) -> list[Hit]:
    """The first `most` of the registrations in `rows` that intersect the search sphere, in the order of the answer."""
    px, py, pz = point
    unpack = PLACE.unpack_from
    hits: list[Hit] = []
    for place, record in rows:
        x, y, z, reach, volume, polygon = unpack(record)
        dx, dy, dz = x - px, y - py, z - pz
        squared = dx * dx + dy * dy + dz * dz
        # A chord is no longer than its arc: what fails here is out of reach, without any trigonometry.
        farthest = (reach + within) * _PER_METRE
        if squared > farthest * farthest:
            continue
        if polygon:
            metres = polygon_of(record).found(point, within)
            if metres is not None:
                hits.append((volume, metres, place[8:], record))
        else:
            metres = chord_metres(squared)
            if metres <= reach + within:
                hits.append((volume, metres, place[8:], record))
    if len(hits) > most:
        return nsmallest(most, hits)
    hits.sort()
    return hits
