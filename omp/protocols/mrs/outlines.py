"""The outline of a polygon, prepared so that a search asks a few of its edges and not all of them (§5.6).

Pure.  A polygon of 1,000 vertices is 50 KB of JSON, and reading it takes ten milliseconds: a hundred of them at one
place made every search there cost a second.  So its outline is kept beside it as bytes: the vertices as unit vectors
with the inside to their left, and for each group of :data:`GROUP` consecutive edges a **cap** that holds them, a centre
and a radius.  Two questions are then cheap:

* **Is the point inside?**  The boundary winds once around a point inside and not at all around one outside.  The angle
  that a group of edges sweeps, seen from the point, is the angle between its first and its last vertex, unless the
  point lies in the group's cap: only then are its edges asked one by one.
* **How far is the boundary?**  No edge of a group is nearer than its cap, so groups are asked in the order of their
  caps, and the rest is skipped once an edge is nearer.

On the sphere a curve that winds around a point also winds around the point opposite to it.  So the first question is
asked only of a polygon that lies in a cap of less than 90°, and of points in that cap: the opposite point is then
outside.  Of the few larger polygons every edge is asked, and the nearest feature of the boundary, an edge or a vertex,
tells on which side the point lies, because the arc from the point to it crosses no edge.

Lengths here are **chords**, distances through the earth between unit vectors: they obey the triangle inequality, and
cost one square root.  The bytes: the number of vertices, the cap of the polygon, the vertices and the first again, the
caps of the groups; all little-endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import asin, atan2, dist, pi, sin, sqrt
from struct import Struct

from omp.protocols.mrs.geometry import (
    EARTH_RADIUS_M,
    HALF_CIRCUMFERENCE_M,
    Vector,
    chord_metres,
    cross,
    dot,
    minus,
    unit,
)

GROUP = 32
_HEAD = Struct("<I4d")
_VECTOR = Struct("<3d")
_CAP = Struct("<4d")
_EVERYWHERE = 4.0
"""The radius of a cap that holds every point: no chord is longer than 2."""
_LARGEST_CAP = 1.4
"""Of a larger cap (90° is √2) an arc between two points may leave it."""
_SLACK = 1e-12
"""More than rounding changes a chord: 6 µm."""

_Nearest = tuple[float, int, bool]
"""The squared chord to the nearest point of the boundary, the edge that it is on, whether it is that edge's start."""


class Outline:
    """The boundary of a polygon, from its `packed` bytes."""

    __slots__ = ("_cap", "_count", "packed")

    def __init__(self, packed: bytes) -> None:
        self.packed = packed
        self._count, *self._cap = _HEAD.unpack_from(packed)

    @classmethod
    def of(cls, ring: Sequence[Vector]) -> Outline:
        """The outline of a polygon whose inside lies to the left of the edges between the vertices in `ring`."""
        closed = [*ring, ring[0]]
        groups = (closed[first : first + GROUP + 1] for first in range(0, len(ring), GROUP))
        parts = [_HEAD.pack(len(ring), *_cap(ring))]
        parts += [_VECTOR.pack(*vertex) for vertex in closed]
        parts += [_CAP.pack(*_cap(group)) for group in groups]
        return cls(b"".join(parts))

    def found(self, point: Vector, within: float) -> float | None:
        """0 inside, else metres to the nearest point of an edge; None if that is more than `within`."""
        x, y, z, radius = self._cap
        small = radius < _EVERYWHERE
        if small and dist((x, y, z), point) <= radius and self._winds_around(point):
            return 0.0
        # Outside a small polygon only what is near matters; of a large one the nearest edge tells the side.
        nearest = self._nearest(point, _chord(within) + _SLACK if small else _EVERYWHERE)
        if nearest is None:
            return None
        squared, index, at_vertex = nearest
        # With 90° and more to the edge (a chord of √2), the point's side holds a half of the earth: it is outside.
        if squared < 2 and self._left_of(point, index, at_vertex):
            return 0.0
        metres = chord_metres(sqrt(squared))
        return metres if metres <= within else None

    def _winds_around(self, p: Vector) -> bool:
        """Whether the boundary winds around `p`, which lies in the cap of a small polygon."""
        seen: list[Vector] = []  # vertices between which the angles are added
        for number, (x, y, z, radius) in enumerate(self._caps()):
            first = number * GROUP
            away = dist((x, y, z), p)
            # A cap of at most 60° that is at most 120° away holds neither p nor the point opposite to p.
            if radius + _SLACK < away < sqrt(3) and radius <= 1:
                seen.append(self._vertex(first))
            else:
                seen += self._vertices(first, min(first + GROUP, self._count))
        east, north = _tangents(p)
        plane = [(dot(vertex, east), dot(vertex, north)) for vertex in (*seen, seen[0])]
        turned = sum(atan2(ax * by - ay * bx, ax * bx + ay * by) for (ax, ay), (bx, by) in pairwise(plane))
        return turned > pi  # 0 or 2π, but for rounding

    def _nearest(self, p: Vector, limit: float) -> _Nearest | None:
        """The nearest feature of the boundary, if it is no farther than the chord `limit`."""
        caps = ((dist((x, y, z), p) - radius, number) for number, (x, y, z, radius) in enumerate(self._caps()))
        found: _Nearest | None = None
        best = limit * limit
        for bound, number in sorted(caps):
            if bound > _SLACK and (bound - _SLACK) ** 2 > best:
                break
            first = number * GROUP
            nearest = _nearest_edge(p, self._vertices(first, min(first + GROUP, self._count) + 1), best)
            if nearest is not None:
                best, index, at_vertex = nearest
                found = (best, first + index, at_vertex)
        return found

    def _left_of(self, p: Vector, index: int, at_vertex: bool) -> bool:
        """Whether `p` lies on the inside of its nearest feature: edge `index`, or the vertex where it starts."""
        a, b = self._vertex(index), self._vertex(index + 1)
        n = normal(a, b)
        from_a = minus(p, a)
        if not at_vertex:
            return dot(n, from_a) >= 0
        before = normal(self._vertex((index - 1) % self._count), a)
        if dot(before, b) > 0:  # the boundary turns left: inside is what is left of both edges
            return dot(before, from_a) >= 0 and dot(n, from_a) >= 0
        return dot(before, from_a) >= 0 or dot(n, from_a) >= 0

    def _vertex(self, number: int) -> Vector:
        return _VECTOR.unpack_from(self.packed, _HEAD.size + number * _VECTOR.size)

    def _vertices(self, first: int, end: int) -> list[Vector]:
        at = _HEAD.size
        return list(_VECTOR.iter_unpack(self.packed[at + first * _VECTOR.size : at + end * _VECTOR.size]))

    def _caps(self) -> list[tuple[float, float, float, float]]:
        return list(_CAP.iter_unpack(self.packed[_HEAD.size + (self._count + 1) * _VECTOR.size :]))


def _nearest_edge(p: Vector, path: Sequence[Vector], limit: float) -> _Nearest | None:
    """The nearest of the edges along `path`, if it is nearer than `limit`, a squared chord."""
    best, where, at_vertex = limit, -1, False
    x, y, z = p
    a = path[0]
    ax, ay, az = x - a[0], y - a[1], z - a[2]
    to_a = ax * ax + ay * ay + az * az
    for index, b in enumerate(path[1:]):
        bx, by, bz = x - b[0], y - b[1], z - b[2]
        ex, ey, ez = ax - bx, ay - by, az - bz  # b - a
        to_b = bx * bx + by * by + bz * bz
        edge = ex * ex + ey * ey + ez * ez
        # p is abreast of the arc where it lies on b's side of a and on a's side of b: with n = a × b, where
        # (n × a) · p = b·p - (a·b)(a·p) >= 0 and (b × n) · p = a·p - (a·b)(b·p) >= 0.  In chords, u·v = 1 - |u - v|²/2.
        if to_a + edge - to_b - to_a * edge / 2 >= 0:
            if to_b + edge - to_a - to_b * edge / 2 >= 0:
                # The foot of p on the circle is asin |n · p| / |n| away; |n|² = sin² of the edge.
                triple = (ey * az - ez * ay) * a[0] + (ez * ax - ex * az) * a[1] + (ex * ay - ey * ax) * a[2]
                squared = _chord_of_sine(abs(triple) / sqrt(edge * (1 - edge / 4)))
                if squared < best:
                    best, where, at_vertex = squared, index, False
        elif to_a < best:
            best, where, at_vertex = to_a, index, True
        a, ax, ay, az, to_a = b, bx, by, bz, to_b
    return (best, where, at_vertex) if where >= 0 else None


def _chord_of_sine(sine: float) -> float:
    """The squared chord of the angle that has this sine."""
    half = sin(asin(min(sine, 1.0)) / 2)
    return 4 * half * half


def _chord(metres: float) -> float:
    return 2 * sin(metres / EARTH_RADIUS_M / 2) if metres < HALF_CIRCUMFERENCE_M else 2.0


def normal(a: Vector, b: Vector) -> Vector:
    """The pole that has the arc from a to b on its left: a × b, from a difference that keeps the digits of b - a."""
    return unit(cross(a, minus(b, a)))


def _tangents(p: Vector) -> tuple[Vector, Vector]:
    """Two directions at `p`, at right angles to it and to each other; the second is a quarter turn to the left."""
    axis = (0.0, 0.0, 1.0) if abs(p[2]) < 0.7 else (1.0, 0.0, 0.0)
    east = unit(cross(axis, p))
    return east, cross(p, east)


def _cap(points: Sequence[Vector]) -> tuple[float, float, float, float]:
    """The centre and radius of a cap that holds the points and the arcs between them."""
    total = (sum(p[0] for p in points), sum(p[1] for p in points), sum(p[2] for p in points))
    if dot(total, total) > 1e-12:
        centre = unit(total)
        radius = max(dist(centre, p) for p in points) + _SLACK
        if radius < _LARGEST_CAP:
            return (*centre, radius)
    return (*points[0], _EVERYWHERE)
