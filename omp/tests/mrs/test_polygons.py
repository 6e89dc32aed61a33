"""Polygons at their worst: the search for crossings, and outlines, against comparing all edges (§5.5, §5.6)."""

from __future__ import annotations

import math
import random
import unittest
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any
from unittest import mock

from omp.protocols.mrs import outlines, polygons
from omp.protocols.mrs.geometry import GeometryError, Vector, chord_metres, cross, unit, unit_vector
from omp.protocols.mrs.polygons import Polygon
from omp.tests.mrs.test_geometry import Position, _destination, random_position, ring


class Sweeping(unittest.TestCase):
    """The search for crossings compares few pairs of edges, and finds what comparing all of them finds."""

    def compared(self, corners: Sequence[Position]) -> int:
        """How many times an edge was compared with another one, of a polygon that is accepted."""
        with mock.patch.object(polygons, "_on_one_side", wraps=polygons._on_one_side) as compare:
            Polygon(ring(*corners), 1)
        return compare.call_count

    def test_a_comb_of_any_direction_is_accepted_at_a_low_cost(self) -> None:
        for turn in (0.0, 0.3, math.pi / 4, 1.5):
            co, si = math.cos(turn), math.sin(turn)
            teeth = [(tooth * 1e-6, 0.01 if tooth % 2 else 0.0) for tooth in range(998)]
            teeth += [(0.001, -0.001), (-0.000001, -0.001)]
            self.assertLess(self.compared([(10 + co * y + si * x, 20 + co * x - si * y) for y, x in teeth]), 20_000)

    def test_several_combs_cost_less_than_comparing_all(self) -> None:
        for combs in (2, 3, 5):
            corners = []
            for number in range(combs):
                turn = 0.3 + math.tau * number / combs
                co, si = math.cos(turn), math.sin(turn)
                per = 990 // combs
                teeth = [(0.002 + tooth % 2 * 0.01, (tooth / per - 0.5) * 1e-4) for tooth in range(per)]
                corners += [(10 + co * x - si * y, 20 + si * x + co * y) for x, y in teeth]
            self.assertLess(self.compared(corners), 150_000)  # all pairs are 490,000

    def test_the_verdict_is_that_of_comparing_all_edges(self) -> None:
        rng = random.Random(11)
        verdicts = []
        for _ in range(150):
            corners = rng.choice([5, 8, 70, 90])
            spread = rng.choice([0.01, 5, 60])
            angles = sorted(rng.uniform(0, math.tau) for _ in range(corners))
            radii = [spread * rng.uniform(0.3, 1) for _ in angles]
            star = [(r * math.cos(a), r * math.sin(a)) for r, a in zip(radii, angles, strict=True)]
            if rng.random() < 0.5:
                i, j = rng.sample(range(corners), 2)
                star[i], star[j] = star[j], star[i]
            vertices = ring(*star)
            edges = list(zip(vertices, [*vertices[1:], vertices[0]], strict=True))
            meets = any(polygons._meet(edges, i, j) for j in range(corners) for i in range(j))
            try:
                polygons._check_simple(vertices, range(corners))
            except GeometryError:
                self.assertTrue(meets, star)
            else:
                self.assertFalse(meets, star)
            verdicts.append(meets)
        self.assertTrue(40 < sum(verdicts) < 145, sum(verdicts))


class CrossingsOfEverySize(unittest.TestCase):
    """Bow-ties from 1 mm to 1,000 km, everywhere, against exact arithmetic in the plane.

    The gnomonic projection turns great circles into straight lines.  Done in fractions of the vertices' own doubles it
    rounds nothing, so whether two sides cross, and whether a point is inside, is known for certain.
    """

    SIZES = tuple(10.0**exponent for exponent in range(-3, 7))
    PLACES: tuple[Position, ...] = (
        (90.0, 0.0),
        (-90.0, 0.0),
        (89.99999, 33.0),
        (-89.9999999, -120.0),
        (0.0, 180.0),
        (48.2, 179.9999999),
        (-16.8, -180.0),
        (0.0, 0.0),
        (0.0, 90.0),
        (45.0, 45.0),
        (48.2082, 16.3738),
        (-33.8568, 151.2153),
    )

    def each(self, rng: random.Random) -> Iterator[tuple[Position, float]]:
        """A middle and a size in metres: every size at every place, and as often anywhere."""
        for size in self.SIZES:
            for place in (*self.PLACES, *(random_position(rng) for _ in self.PLACES)):
                yield place, size

    def test_a_bow_tie_is_refused_and_the_quadrilateral_of_its_corners_accepted(self) -> None:
        rng = random.Random(13)
        for middle, size in self.each(rng):
            bearings = [90 * corner + rng.uniform(10, 80) for corner in range(4)]
            one, two, three, four = ring(*(_destination(middle, size * rng.uniform(0.8, 1), way) for way in bearings))
            with self.subTest(middle=middle, size=size):
                self.assertGreater(Polygon([one, two, three, four], 1).area, 0)
                for tie in ([one, three, two, four], [one, two, four, three]):
                    with self.assertRaisesRegex(GeometryError, "cross or touch"):
                        Polygon(tie, 1)

    def test_any_star_with_two_corners_exchanged_is_judged_as_in_the_plane(self) -> None:
        rng = random.Random(14)
        verdicts = []
        for middle, size in self.each(rng):
            corners = _star(rng, middle, size, rng.choice([5, 7, 12]))
            i, j = rng.sample(range(len(corners)), 2)
            corners[i], corners[j] = corners[j], corners[i]
            simple = _simple(_flat(corners, unit_vector(*middle)))
            try:
                Polygon(corners, 1)
                accepted = True
            except GeometryError as error:
                self.assertIn("cross or touch", str(error))
                accepted = False
            self.assertEqual(accepted, simple, (middle, size, corners))
            verdicts.append(accepted)
        self.assertGreater(min(verdicts.count(True), verdicts.count(False)), 10)

    def test_inside_is_what_it_is_in_the_plane(self) -> None:
        rng = random.Random(15)
        inside = 0
        for middle, size in self.each(rng):
            corners = _star(rng, middle, size, rng.choice([3, 5, 9, 40]))
            centre = unit_vector(*middle)
            polygon, flat = Polygon(corners, 1), _flat(corners, centre)
            for _ in range(8):
                point = unit_vector(*_destination(middle, size * rng.uniform(0, 1.2), rng.uniform(0, 360)))
                within = _inside(flat, *_flat([point], centre))
                found = polygon.found(point, 1e7)
                # Nearer than a micrometre to the boundary a point may be taken for either.
                self.assertTrue((found == 0) == within or (found or 0) < 1e-6, (middle, size, corners, point))
                inside += within
            away = unit_vector(*_destination(middle, size + 5000, rng.uniform(0, 360)))
            self.assertIsNone(polygon.found(away, 1000), "a place kilometres away")
        self.assertGreater(inside, 500)

    def test_edges_on_one_great_circle_that_are_apart_do_not_cross(self) -> None:
        # A wall with windows: every second edge lies on one great circle, and each triple product of two such is
        # nearly zero, of either sign.
        rng = random.Random(16)
        for _ in range(200):
            middle, size, way = random_position(rng), 10 ** rng.uniform(-2, 5), rng.uniform(0, 360)
            wall = [_destination(middle, size * step, way) for step in range(6)]
            deep = [_destination(at, size, way + 90) for at in wall]
            corners = [wall[0], wall[1], deep[1], deep[2], wall[2], wall[3], deep[3], deep[4], wall[4], wall[5]]
            far = [_destination(at, 3 * size, way + 90) for at in (wall[5], wall[0])]
            vertices = ring(*corners, *far)
            if _simple(_flat(vertices, unit_vector(*middle))):
                self.assertGreater(Polygon(vertices, 1).area, 0, (middle, size, way))


_Flat = list[tuple[Fraction, Fraction]]


def _star(rng: random.Random, middle: Position, size: float, corners: int) -> list[Vector]:
    """Corners around `middle`, between half of `size` and `size` away, no two in nearly the same direction."""
    bearings = [360 * (number + rng.uniform(0.2, 0.8)) / corners for number in range(corners)]
    return ring(*(_destination(middle, size * rng.uniform(0.5, 1), bearing) for bearing in bearings))


def _flat(points: Sequence[Vector], centre: Vector) -> _Flat:
    """Where the points lie in the plane that touches the earth at `centre`."""
    east = unit((-centre[1], centre[0], 0.0)) if abs(centre[2]) < 1 else (0.0, 1.0, 0.0)
    axes = [[Fraction(number) for number in axis] for axis in (east, cross(centre, east), centre)]
    flat = []
    for point in points:
        x, y, depth = (sum((a * Fraction(p) for a, p in zip(axis, point, strict=True)), Fraction()) for axis in axes)
        flat.append((x / depth, y / depth))
    return flat


def _simple(corners: _Flat) -> bool:
    """Whether no two sides that are no neighbours meet."""
    sides = list(zip(corners, [*corners[1:], corners[0]], strict=True))
    last = len(sides) - 1
    pairs = ((i, j) for j in range(2, len(sides)) for i in range(j - 1) if (i, j) != (0, last))
    return not any(_sides_meet(*sides[i], *sides[j]) for i, j in pairs)


def _sides_meet(a: Any, b: Any, c: Any, d: Any) -> bool:
    return _turn(a, b, c) * _turn(a, b, d) <= 0 and _turn(c, d, a) * _turn(c, d, b) <= 0


def _turn(a: Any, b: Any, c: Any) -> Fraction:
    turn: Fraction = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return turn


def _inside(corners: _Flat, point: tuple[Fraction, Fraction]) -> bool:
    """Whether a ray from the point crosses an odd number of sides."""
    x, y = point
    crossed = 0
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        crossed += (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1)
    return crossed % 2 == 1


class OutlinesAgainstAllEdges(unittest.TestCase):
    """An outline asks few edges, and answers what asking all of them answers."""

    def test_the_same_distances(self) -> None:
        rng = random.Random(5)
        inside = 0
        for _ in range(50):
            middle, reach = random_position(rng), 10 ** rng.uniform(0, 7)
            corners = rng.choice([3, 5, 33, 64, 150])
            bearings = [360 * number / corners + rng.uniform(0, 200 / corners) for number in range(corners)]
            star = [_destination(middle, reach * rng.uniform(0.3, 1), bearing) for bearing in bearings]
            try:
                polygon = Polygon(ring(*star), 1)
            except GeometryError:
                continue
            for _ in range(20):
                point = unit_vector(*_destination(middle, reach * rng.uniform(0, 1.5), rng.uniform(0, 360)))
                if rng.random() < 0.2:
                    point = rng.choice([unit_vector(*rng.choice(star)), (-point[0], -point[1], -point[2])])
                expected = _nearest_of_all(polygon, point)
                inside += expected == 0
                self.assertAlmostEqual(polygon.found(point, 3e7) or 0, expected, delta=1e-3 if expected < 2e7 else 1)
                for within in (expected * 0.9, expected * 1.1 + 0.01):
                    found = polygon.found(point, within)
                    self.assertEqual(found is not None, expected <= within, (star, point))
        self.assertGreater(inside, 200)


def _nearest_of_all(polygon: Polygon, point: Vector) -> float:
    """The distance by the way of §5.6: the nearest of all edges, which tells the side as well."""
    outline = polygon.outline
    nearest = outline._nearest(point, outlines._EVERYWHERE)
    path = outline._vertices(0, outline._count + 1)
    direct = outlines._nearest_edge(point, path, 16.0)
    assert nearest is not None and direct is not None
    assert math.isclose(nearest[0], direct[0], rel_tol=1e-9, abs_tol=1e-24)
    if direct[0] < 2 and outline._left_of(point, direct[1], direct[2]):
        return 0.0
    return chord_metres(math.sqrt(direct[0]))


if __name__ == "__main__":
    unittest.main()
