"""Polygons at their worst: the search for crossings, and outlines, against comparing all edges (§5.5, §5.6)."""

from __future__ import annotations

import math
import random
import unittest
from collections.abc import Sequence
from unittest import mock

from omp.protocols.mrs import outlines, polygons
from omp.protocols.mrs.geometry import GeometryError, Vector, chord_metres, unit_vector
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
