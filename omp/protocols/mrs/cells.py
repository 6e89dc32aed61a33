"""The cell index: places as ordered integers, so that what is near on the ground lies in a few ranges of them (§6.5).

Pure.  A search must cost in proportion to what lies nearby, and be exact at the poles and across the antimeridian.  A
grid of latitudes and longitudes is neither: its cells shrink towards the poles, and it has a seam.  So the earth is
projected on a cube:

* **Face.**  A point's face is the axis on which its vector is longest: 6 of them.
* **Coordinates.**  On a face, each of the two other components gives an angle of -45° to 45° about the remaining axis,
  cut into 2**26 steps of at most 15 cm.
* **Order.**  The bits of both steps, interleaved (Morton order): a square of 2**k by 2**k steps, aligned, is one range.
* **Level.**  Spaces of about one size are kept together: level n holds those that reach at most 16 × 4**n metres, level
  :data:`WHOLE` the rest.  A space has one cell, that of its centre; on each level that is occupied a search looks
  farther by as much as spaces of that level reach.

A cell number is ``level << 56 | face << 52 | interleaved steps``: an ordered 64-bit key.  :func:`cover` gives the few
ranges of cell numbers that hold every space of a level that could be found; about twice as many others are in them,
and exact geometry (:mod:`.registry`) sorts those out.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import acos, asin, atan2, cos, hypot, pi, sin

from omp.protocols.mrs.geometry import EARTH_RADIUS_M, Vector

BITS = 26
_SIDE = 1 << BITS
_QUARTER = pi / 4
_STEPS_PER_RADIAN = _SIDE / (pi / 2)
_FACE_SHIFT = 2 * BITS
_LEVEL_SHIFT = 56

LEVEL_REACHES = [16.0 * 4**level for level in range(9)]
"""Metres that the spaces of each level reach at most: 16 m to 1,049 km."""
WHOLE = len(LEVEL_REACHES)
"""The level of spaces that reach farther: every search looks at all of it."""
LEVELS = WHOLE + 1

_SLACK = 1e-9
"""Radians, 6 mm: more than rounding can move a point, and too little to cost anything."""
_CORNER = acos(3**-0.5)
"""Radians: a face's corners lie 54.7° from its middle."""


def level_of(reach: float) -> int:
    """The level for spaces that reach `reach` metres from their centre."""
    for level, limit in enumerate(LEVEL_REACHES):
        if reach <= limit:
            return level
    return WHOLE


def cell_of(point: Vector, level: int) -> int:
    """The cell number of a point on a level."""
    face, w, u, v = max(_faces(point), key=_along_axis)
    i = min(int((atan2(u, w) + _QUARTER) * _STEPS_PER_RADIAN), _SIDE - 1)
    j = min(int((atan2(v, w) + _QUARTER) * _STEPS_PER_RADIAN), _SIDE - 1)
    return level << _LEVEL_SHIFT | face << _FACE_SHIFT | _spread(max(i, 0)) << 1 | _spread(max(j, 0))


def _faces(point: Vector) -> tuple[tuple[int, float, float, float], ...]:
    """For each face: its number, the component along its axis, the two others."""
    x, y, z = point
    return ((0, x, y, z), (1, -x, y, z), (2, y, z, x), (3, -y, z, x), (4, z, x, y), (5, -z, x, y))


def _along_axis(face: tuple[int, float, float, float]) -> float:
    return face[1]


def cover(point: Vector, within: float, level: int) -> list[tuple[int, int]]:
    """Ranges ``[first, last)`` of cell numbers that hold every space of `level` that comes within `within` metres.

    No two overlap.  On each face that is touched there are at most 25 squares, which make about six ranges.
    """
    base = level << _LEVEL_SHIFT
    if level == WHOLE:
        return [(base, base + (1 << _LEVEL_SHIFT))]
    rho = (within + LEVEL_REACHES[level]) / EARTH_RADIUS_M + _SLACK
    sine = sin(rho) if rho < pi / 2 else 1.0
    faced = cos(min(_CORNER + rho, pi))  # a centre farther from a face's axis than this cannot touch the face
    ranges: list[tuple[int, int]] = []
    for face, w, u, v in _faces(point):
        if w >= faced and (columns := _extent(u, w, sine)) and (rows := _extent(v, w, sine)):
            ranges += _squares(base | face << _FACE_SHIFT, columns, rows)
    return ranges


def _extent(u: float, w: float, sine: float) -> tuple[int, int] | None:
    """The first and last step of a face that a cap reaches in one coordinate, or None; `sine` is that of its radius ρ.

    The planes through an axis that touch a cap lie asin(sin ρ / h) to both sides of its centre, h being how far the
    centre is from that axis: the same as for meridians and a cap (geometry.bounding_box).
    """
    h = hypot(u, w)
    if sine >= h:
        return 0, _SIDE - 1  # the cap holds the axis: it touches every plane through it
    middle, half = atan2(u, w) + _QUARTER, asin(sine / h)
    first, last = int((middle - half) * _STEPS_PER_RADIAN), int((middle + half) * _STEPS_PER_RADIAN)
    if last < 0 or first >= _SIDE:
        return None
    return max(first, 0), min(last, _SIDE - 1)


def _squares(base: int, columns: tuple[int, int], rows: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The ranges of the aligned squares, three to five along the longer side, that hold a box; neighbours joined."""
    shift = max(max(columns[1] - columns[0], rows[1] - rows[0]).bit_length() - 2, 0)
    across = _spread_each(columns[0] >> shift, columns[1] >> shift)
    up = _spread_each(rows[0] >> shift, rows[1] >> shift)
    codes = sorted([i << 1 | j for i in across for j in up])
    first = last = codes[0]
    for code in codes[1:]:
        if code != last + 1:
            yield base + (first << 2 * shift), base + (last + 1 << 2 * shift)
            first = code
        last = code
    yield base + (first << 2 * shift), base + (last + 1 << 2 * shift)


_EVEN = 0x5555555555555555


def _spread_each(first: int, last: int) -> list[int]:
    """:func:`_spread` of every number from `first` to `last`."""
    spread = [_spread(first)]
    for _ in range(last - first):
        # + 1 among the even bits: the odd ones, all set by the borrow, carry through and are cleared.
        spread.append((spread[-1] - _EVEN) & _EVEN)
    return spread


def _spread(number: int) -> int:
    """The bits of `number`, at most 32, each followed by a zero: 0b111 -> 0b10101."""
    number = (number | number << 16) & 0x0000FFFF0000FFFF
    number = (number | number << 8) & 0x00FF00FF00FF00FF
    number = (number | number << 4) & 0x0F0F0F0F0F0F0F0F
    number = (number | number << 2) & 0x3333333333333333
    return (number | number << 1) & _EVEN
