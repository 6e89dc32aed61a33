"""Polygons on a sphere: which are accepted, and their area (§5.4, §5.5).

Pure.  Edges are great-circle arcs, the shorter way from each vertex to the next and from the last back to the first;
the smaller side is the inside.  Nothing here knows of latitude: a polygon around a pole or across the antimeridian is
like any other.

Refused, with :class:`GeometryError`, is a polygon that has no inside on which two implementations would agree (§5.5):

* fewer than three different vertices, or edges that enclose no area;
* an edge between antipodal vertices: every great circle through one goes through the other;
* edges that cross or touch, other than at the vertex they share;
* two sides of the same size (a great circle).

Whether edges cross is decided in whole numbers, so nothing is rounded.  The sign of a triple product of three vertices
says on which side of an edge a point lies.  In floating point such a product is exact to some 1e-16; for a polygon of
2 cm its value is 1e-17, and the sign is that of the rounding.  Polygons with crossing edges would pass then, and places
kilometres away could count as inside, since a boundary that crosses itself does not say which side is which.

Accepted: a vertex that repeats the one before (also the first one again at the end, as GeoJSON rings have it) counts
once, and vertices within 6 µm of the one before are repetitions.

Whether a point is inside, and how far the boundary is, are questions to the polygon's outline (:mod:`.outlines`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import atan2, cos, pi, radians, remainder, sqrt

from omp.protocols.mrs.geometry import (
    EARTH_RADIUS_M,
    HALF_CIRCUMFERENCE_M,
    GeometryError,
    Vector,
    cross,
    distance,
    dot,
    minus,
    unit,
)
from omp.protocols.mrs.outlines import Outline, normal

MAX_VERTICES = 1000
_TOUCH = 1e-13
"""Radians, 0.6 µm: edges nearer to each other than this touch.  Unit vectors are exact to 2e-16."""
_FINE = 2.0**62
"""Whole numbers of this part of the earth's radius (1.4e-12 m) say where a vertex is: finer than a double at 1."""
_SAME = 1e-24
"""Squared chord, (6 µm)²: vertices nearer to each other are one."""
_HALF_SPHERE_M2 = 2 * pi * EARTH_RADIUS_M**2
_CAP_LIMIT = cos(radians(80))
"""Within a cap of less than 90° edges do not leave it, and the smaller side lies inside it."""


class Polygon:
    """A polygon whose inside lies to the left of its edges, `height` metres high.

    `area` is in square metres, `volume` = area × height.
    """

    __slots__ = ("area", "centre", "height", "outline", "reach", "volume")

    def __init__(self, vertices: Iterable[Vector], height: float, *, check: bool = True) -> None:
        """Raises :class:`GeometryError`; `check` False skips the search for crossings, for what passed it before."""
        given = list(vertices)
        numbers = _without_repeats(given)
        if len(numbers) < 3:
            raise GeometryError("a polygon needs at least three different vertices")
        ring = [given[number] for number in numbers]
        if any(dot(a, b) < -1 + _TOUCH for a, b in _edges(ring)):
            raise GeometryError("an edge joins two opposite points of the earth: no shorter way leads along it")
        if check:
            _check_simple(ring, numbers)
        left = _area_to_the_left(ring)
        self.area = abs(left)
        _check_area(self.area, sum(distance(a, b) for a, b in _edges(ring)))
        if left < 0:
            ring.reverse()
        self.height = height
        self.volume = self.area * height
        self.centre, self.reach = _cap(ring)
        self.outline = Outline.of(ring)

    def found(self, point: Vector, within: float) -> float | None:
        """0 inside, else metres to the nearest point of an edge; None if that is more than `within`."""
        return self.outline.found(point, within)


def _edges(ring: Sequence[Vector]) -> Iterable[tuple[Vector, Vector]]:
    return pairwise([*ring, ring[0]])


def _without_repeats(vertices: Sequence[Vector]) -> list[int]:
    """The numbers of the vertices that are no repetition of the one before."""
    numbers: list[int] = []
    for number, vertex in enumerate(vertices):
        if not numbers or _squared(vertex, vertices[numbers[-1]]) > _SAME:
            numbers.append(number)
    while len(numbers) > 1 and _squared(vertices[numbers[-1]], vertices[0]) <= _SAME:
        numbers.pop()
    return numbers


def _squared(p: Vector, q: Vector) -> float:
    d = minus(p, q)
    return dot(d, d)


# --- area -----------------------------------------------------------------------------------------------------------


def _area_to_the_left(ring: Sequence[Vector]) -> float:
    """Square metres of the smaller side; negative where it lies to the right of the edges.

    The sum of the signed triangles (o, a, b) over all edges is the area to the left, but for whole spheres.  Each
    triangle's spherical excess is 2 atan2(o · (a × b), 1 + o·a + a·b + b·o) (Eriksson 1990).
    """
    # Any o will do that is not opposite to a vertex.
    o = next((o for o in (ring[0], *_AXES) if min(dot(o, vertex) for vertex in ring) > -1 + 1e-6), ring[0])
    excess = 0.0
    for a, b in _edges(ring):
        # o · (a × b) from differences: a polygon of a few metres keeps its digits.
        triple = dot(o, cross(minus(a, o), minus(b, o)))
        excess += 2 * atan2(triple, 1 + dot(o, a) + dot(a, b) + dot(b, o))
    return remainder(excess, 4 * pi) * EARTH_RADIUS_M**2


_X, _Y, _Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_AXES: list[Vector] = [_X, (-1.0, 0.0, 0.0), _Y, (0.0, -1.0, 0.0), _Z]


def _check_area(area: float, perimeter: float) -> None:
    if area <= perimeter * 1e-6:  # too thin for the precision of the vectors
        raise GeometryError("the polygon encloses no area")
    if area > _HALF_SPHERE_M2 * (1 - 1e-9):
        raise GeometryError("the edges divide the earth into two halves: neither is the smaller side")


# --- bounding cap ---------------------------------------------------------------------------------------------------


def _cap(ring: Sequence[Vector]) -> tuple[Vector, float]:
    total = (sum(v[0] for v in ring), sum(v[1] for v in ring), sum(v[2] for v in ring))
    if dot(total, total) > 1e-12:
        centre = unit(total)
        if min(dot(centre, vertex) for vertex in ring) > _CAP_LIMIT:
            return centre, max(distance(centre, vertex) for vertex in ring)
    return ring[0], HALF_CIRCUMFERENCE_M


# --- crossings ------------------------------------------------------------------------------------------------------

_Arc = tuple[Vector, Vector]
_Whole = tuple[int, int, int]
"""A vertex on the lattice of :data:`_FINE`."""

_FEW = 64
"""So few edges are swept along the axes; of more, so many are sampled to find better directions."""


def _check_simple(ring: Sequence[Vector], numbers: Sequence[int]) -> None:
    """Refuse edges that cross or touch; `numbers` are those that the sender gave the vertices.

    A sweep along one direction compares only edges whose extents overlap, there and along a second direction.
    """
    edges = list(_edges(ring))
    poles = [normal(a, b) for a, b in edges]
    along, across = (_extents(edges, direction) for direction in _directions(ring, edges))
    active: list[tuple[float, float, float, int]] = []
    for index in sorted(range(len(edges)), key=along.__getitem__):
        low, high = along[index]
        left, right = across[index]
        active = [other for other in active if other[0] >= low]
        for _, other_left, other_right, other in active:
            # Most pairs end here or in the next lines, and there may be many.
            if other_left > right or other_right < left:
                continue
            if _on_one_side(poles[index], edges[index], edges[other]):
                continue
            if _on_one_side(poles[other], edges[other], edges[index]):
                continue
            first, second = sorted((index, other))
            if _meet(edges, first, second):
                raise GeometryError(
                    f"the edges that start at vertices {numbers[first]} and {numbers[second]} cross or touch: "
                    "a polygon's edges meet at their common vertices only"
                )
        active.append((high, left, right, index))


def _extents(edges: Sequence[_Arc], direction: Vector) -> list[tuple[float, float]]:
    """How far each edge extends along a direction: from, to.

    An arc of angle θ bulges past the extent of its ends by at most 1 - cos(θ/2) <= 1 - cos²(θ/2) = c²/4.
    """
    extents = []
    for a, b in edges:
        margin = _squared(a, b) / 4 + _TOUCH
        low, high = dot(direction, a), dot(direction, b)
        extents.append((low - margin, high + margin) if low < high else (high - margin, low + margin))
    return extents


def _directions(ring: Sequence[Vector], edges: Sequence[_Arc]) -> tuple[Vector, Vector]:
    """Two directions for the sweep: along one of them at least, most edges should be short.

    A comb of long thin teeth makes nearly every pair of edges overlap along any direction but that across the teeth,
    and whoever sends it chooses how it lies.  So the candidates are, beside the axes, the directions across some of the
    longest edges.  A second direction takes care of a second comb.
    """
    spread = sorted((max(v[k] for v in ring) - min(v[k] for v in ring), axis) for k, axis in enumerate((_X, _Y, _Z)))
    (_, second), (_, first) = spread[1:]
    if len(edges) <= _FEW:
        return first, second
    sample = edges[:: len(edges) // _FEW]
    longest = sorted(sample, key=lambda edge: _squared(*edge), reverse=True)
    candidates = [first, second, *(normal(a, b) for a, b in longest[:: len(longest) // 6])]
    lengths = [[high - low for low, high in _extents(sample, candidate)] for candidate in candidates]
    best = min(lengths, key=sum)
    other = min((each for each in lengths if each is not best), key=lambda each: sum(map(min, each, best)))
    return candidates[lengths.index(best)], candidates[lengths.index(other)]


def _on_one_side(pole: Vector, arc: _Arc, other: _Arc) -> bool:
    """Whether the arc `other` keeps away from the great circle of `arc`, about `pole`.

    From differences, so that the distance of an end from the circle is exact to 1e-16 of its distance from `arc`.
    """
    (x, y, z), (a, _), (c, d) = pole, arc, other
    to_c = x * (c[0] - a[0]) + y * (c[1] - a[1]) + z * (c[2] - a[2])
    to_d = x * (d[0] - a[0]) + y * (d[1] - a[1]) + z * (d[2] - a[2])
    return (to_c > _TOUCH and to_d > _TOUCH) or (to_c < -_TOUCH and to_d < -_TOUCH)


def _meet(edges: Sequence[_Arc], i: int, j: int) -> bool:
    """Whether edges i < j meet anywhere but at the vertex that neighbours share."""
    (a, b), (c, d) = edges[i], edges[j]
    if j == i + 1:  # b is c
        return _arc_distance(d, a, b) < _TOUCH or _arc_distance(a, c, d) < _TOUCH
    if i == 0 and j == len(edges) - 1:  # d is a
        return _arc_distance(c, a, b) < _TOUCH or _arc_distance(b, c, d) < _TOUCH
    if _cross_each_other(_whole(a), _whole(b), _whole(c), _whole(d)):
        return True
    return min(_arc_distance(c, a, b), _arc_distance(d, a, b), _arc_distance(a, c, d), _arc_distance(b, c, d)) < _TOUCH


def _whole(p: Vector) -> _Whole:
    """The point of the lattice where `p` is; the scaling is by a power of two, so only digits below 2^-62 are lost."""
    return (round(p[0] * _FINE), round(p[1] * _FINE), round(p[2] * _FINE))


def _cross_each_other(a: _Whole, b: _Whole, c: _Whole, d: _Whole) -> bool:
    """Whether the arcs a b and c d cross at a point within both: exactly, whatever their sizes.

    They do if a, c, b, d turn the same way all around: the ends of each lie on different sides of the other's great
    circle, and on the near side of the earth.  An end on the circle itself crosses nothing, and may touch.
    """
    to_c, to_d = _triple(a, b, c), _triple(a, b, d)
    if not (to_c < 0 < to_d or to_d < 0 < to_c):
        return False
    to_a, to_b = _triple(c, d, a), _triple(c, d, b)
    return to_b < 0 < to_a if to_c < 0 else to_a < 0 < to_b


def _triple(p: _Whole, q: _Whole, r: _Whole) -> int:
    """(p × q) · r: positive where r lies to the left of the arc from p to q."""
    return (p[1] * q[2] - p[2] * q[1]) * r[0] + (p[2] * q[0] - p[0] * q[2]) * r[1] + (p[0] * q[1] - p[1] * q[0]) * r[2]


def _arc_distance(p: Vector, a: Vector, b: Vector) -> float:
    """Radians (as a chord) from p to the arc a b."""
    n = normal(a, b)
    if dot(cross(n, a), p) >= 0 and dot(cross(b, n), p) >= 0:
        return abs(dot(n, p))
    return sqrt(min(_squared(p, a), _squared(p, b)))
