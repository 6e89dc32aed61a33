"""Searching: what lies near a point, smallest first, and as much of it as one answer holds (§6).

A search covers its surroundings by ranges of the cell index (:mod:`.cells`), takes the records in them, compares
exactly, and orders by volume, then distance, then id.  Its cost depends on the levels that are occupied (about six
ranges each) and on the records in those ranges, two or three times as many as are found; not on the size of the
registry.

Anybody may search, so what a search costs at worst is bounded too:

* Records are collected in read blocks of a bounded number and compared between them, so a search over half the world
  keeps nobody waiting, and holds only what it still needs.  What moves meanwhile may be missed.
* Of a large record only the header is collected.  Polygons are asked by their outlines (:mod:`.outlines`), smallest
  first, and the text of one is fetched when it is a hit.
* The answer is cut at `most` hits, and at :data:`~omp.protocols.mrs.registry.MAX_SPACES` bytes of spaces (§6.3).  Once
  it is full, nothing larger is looked at.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from heapq import nsmallest
from itertools import chain, islice
from math import dist
from typing import NamedTuple

from omp.protocols.mrs.cells import LEVEL_REACHES, WHOLE, cover
from omp.protocols.mrs.geometry import EARTH_RADIUS_M, Vector, chord_metres
from omp.protocols.mrs.outlines import Outline
from omp.protocols.mrs.registration import HEADER, document, header, space_of, space_size, unpack_centre, unpack_size
from omp.protocols.mrs.registry import LARGE, MAX_SPACES, OUTLINES, PLACES, large_counts, level_counts, record_at
from omp.store.port import DamagedRow, Reader, Store, key, leaving_out

ROWS = 1000
"""With so many records a read block ends; it collects less than three times as many."""
_ROUNDING = 1e-3
"""Metres: more than rounding can change the reach of a polygon."""
_SMALL_SPACE = 512
"""Bytes: a sphere as JSON has fewer."""

Hit = tuple[float, float, bytes, bytes]
"""A registration that was found: volume, distance, id, record.  Hits compare in the order of the answer."""

_Polygon = tuple[float, bytes, bytes, bytes]
"""A polygon that may meet the search: volume, id, the key of its row, the header of its record."""

_Rows = list[tuple[bytes, bytes]]


class Found(NamedTuple):
    """The hits in the order of the answer; `truncated` where more would be too many bytes."""

    hits: list[Hit]
    truncated: bool


def find(store: Store, point: Vector, within: float, most: int) -> Found:
    """The first `most` registrations that come within `within` metres of `point`, or as many as one answer holds."""
    spheres: list[Hit] = []
    polygons: list[_Polygon] = []
    for level, rows in _collected(store, point, within):
        _compare(rows, point, within, _longest_chord(level, within), spheres, polygons)
        if len(spheres) > most + 10 * ROWS:
            spheres = nsmallest(most, spheres)
    spheres = nsmallest(most, spheres) if len(spheres) > most else sorted(spheres)
    if not polygons and len(spheres) * _SMALL_SPACE <= MAX_SPACES:
        return Found(spheres, truncated=False)
    answer = _Answer(most)
    for hit in spheres:
        answer.add(hit)
    for polygon in sorted(polygons):
        if answer.is_full_below(polygon[0]):
            break
        with leaving_out(store):
            found = _polygon_hit(store, polygon, point, within)
            if found is not None:
                answer.add(found)
    return Found(answer.hits, answer.truncated)


# --- collecting -----------------------------------------------------------------------------------------------------


def _collected(store: Store, point: Vector, within: float) -> Iterator[tuple[int, _Rows]]:
    """Level by level the rows of every registration that could come near, and some others."""
    collected: list[tuple[int, _Rows]] = []
    with store.read() as tx:
        large = large_counts(tx)
        levels = [level for level, count in enumerate(level_counts(tx)) if count]
        left = [_Level(level, large[level] > 0, cover(point, within, level)) for level in levels]
        _one_block(tx, left, collected)
    yield from collected
    while left:
        collected.clear()
        with store.read() as tx:
            _one_block(tx, left, collected)
        yield from collected


class _Level:
    """What is still to be collected on a level: ranges of cells, as keys, in ascending order."""

    __slots__ = ("has_large", "level", "ranges")

    def __init__(self, level: int, has_large: bool, cells: list[tuple[int, int]]) -> None:
        self.level = level
        self.has_large = has_large
        self.ranges = [(key(first), key(end)) for first, end in cells]

    def take(self, tx: Reader) -> _Rows:
        """The next rows: at most ROWS, or if they are fewer, all."""
        found = chain.from_iterable(tx.scan(PLACES, start, end) for start, end in self.ranges)
        rows = list(islice(map(_without_text, found) if self.has_large else found, ROWS))
        if len(rows) < ROWS:
            self.ranges = []
        else:
            beyond = rows[-1][0] + b"\0"
            self.ranges = [(max(start, beyond), end) for start, end in self.ranges if end > beyond]
        return rows


def _one_block(tx: Reader, left: list[_Level], collected: list[tuple[int, _Rows]]) -> None:
    """Collect levels from `left`, removing those that are finished, until there are ROWS rows."""
    count = 0
    while left and count < ROWS:
        rows = left[0].take(tx)
        count += len(rows)
        collected.append((left[0].level, rows))
        if not left[0].ranges:
            del left[0]


def _without_text(row: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    place, record = row
    return (place, record[: HEADER.size]) if len(record) > LARGE else row


def _longest_chord(level: int, within: float) -> float:
    """How far the centre of a hit on this level can be, as a chord; the arc is an upper bound for its chord."""
    return 2.0 if level == WHOLE else (LEVEL_REACHES[level] + within) / EARTH_RADIUS_M + 1e-12


# --- comparing ------------------------------------------------------------------------------------------------------


def _compare(
    rows: _Rows, point: Vector, within: float, farthest: float, spheres: list[Hit], polygons: list[_Polygon]
) -> None:
    """Add the spheres among `rows` that meet the search, and the polygons that may."""
    for place, record in rows:
        chord = dist(unpack_centre(record), point)
        # Most of the rows to skip end here: farther away than any space of the level can reach.
        if chord > farthest:
            continue
        reach, volume, polygon = unpack_size(record)
        metres = chord_metres(chord)
        if polygon:
            if metres <= reach + within + _ROUNDING:
                polygons.append((volume, place[8:], place, record[: HEADER.size]))
        elif metres <= reach + within:
            spheres.append((volume, metres, place[8:], record))


def _polygon_hit(store: Store, polygon: _Polygon, point: Vector, within: float) -> Hit | None:
    """The hit if the polygon meets the search."""
    volume, name, place, head = polygon
    try:
        outline = store.get(OUTLINES, name) or b""
    except DamagedRow:  # it can do without
        outline = b""
    if outline[:8] == key(header(head).sequence):
        metres = Outline(outline[8:]).found(point, within)
        if metres is None:
            return None
        record = store.get(PLACES, place)
        if record is not None and record.startswith(head):
            return volume, metres, name, record
    return _hit_now(store, name, point, within)


def _hit_now(store: Store, name: bytes, point: Vector, within: float) -> Hit | None:
    """The hit if the registration, as it is now, meets the search.

    For what changed since it was collected, and for rows that were written before outlines were kept.
    """
    with store.read() as tx:
        record = record_at(tx, name)
    if record is None or document(record)["foad"]:
        return None
    metres = space_of(record).found(point, within)
    return (header(record).volume, metres, name, record) if metres is not None else None


class _Answer:
    """The hits that an answer holds: the longest beginning of their order that is neither too many nor too large."""

    def __init__(self, most: int) -> None:
        self.hits: list[Hit] = []
        self._most = most
        self._room = MAX_SPACES
        self._first_cut: Hit | None = None  # nothing from here on is in the answer

    @property
    def truncated(self) -> bool:
        """Whether the answer ends where it does because more would be too many bytes."""
        return self._first_cut is not None and len(self.hits) < self._most

    def is_full_below(self, volume: float) -> bool:
        """Whether nothing of this volume or a larger one can be in the answer."""
        if self._first_cut is not None:
            return self._first_cut[0] < volume
        return len(self.hits) == self._most and self.hits[-1][0] < volume

    def add(self, hit: Hit) -> None:
        """Put a hit in its place; those for which there is no room go."""
        if self._first_cut is not None and hit > self._first_cut:
            return
        insort(self.hits, hit)
        self._room -= space_size(hit[3])
        while len(self.hits) > self._most or self._room < 0:
            self._first_cut = self.hits.pop()
            self._room += space_size(self._first_cut[3])
