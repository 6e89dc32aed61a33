"""Geometry on the sphere; the cell index against comparing with every registration (§5, §6)."""

from __future__ import annotations

import math
import os
import random
import unittest
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from omp.protocols.mrs.cells import LEVEL_REACHES, LEVELS, WHOLE, cell_of, cover, level_of
from omp.protocols.mrs.geometry import (
    EARTH_RADIUS_M,
    HALF_CIRCUMFERENCE_M,
    GeometryError,
    Sphere,
    bounding_box,
    cross,
    distance,
    position,
    unit,
    unit_vector,
)
from omp.protocols.mrs.polygons import Polygon
from omp.protocols.mrs.registration import document, read_claim, read_point, read_space
from omp.protocols.mrs.registry import Registry
from omp.protocols.mrs.searching import find
from omp.store.memory import MemoryStore
from omp.tests import long

Position = tuple[float, float]
NEAR = (0.0, 1.0)


def haversine(one: Position, other: Position) -> float:
    """The formula of §5.2 as it is written there: what the unit vectors must agree with."""
    lat1, lon1, lat2, lon2 = map(math.radians, (*one, *other))
    a = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(a, 1.0)))


def ring(*positions: Position) -> list[tuple[float, float, float]]:
    return [unit_vector(lat, lon) for lat, lon in positions]


def random_position(rng: random.Random) -> Position:
    """Dense where formulas break down: both poles, the antimeridian, the equator, cities."""
    where = rng.randrange(8)
    if where < 2:
        lat = 90 - min(rng.expovariate(1), 90)
        return (lat if where else -lat), rng.uniform(-180, 180)
    if where == 2:
        return rng.choice([90.0, -90.0, 0.0, 45.0]), rng.choice([180.0, -180.0, 90.0, 45.0, 0.0])
    if where == 3:
        return rng.uniform(-90, 90), (rng.gauss(0, 0.5) + 360) % 360 - 180
    if where == 4:
        return rng.gauss(0, 1), rng.uniform(-180, 180)
    city = rng.choice([(48.2, 16.37), (-33.86, 151.2), (64.15, -21.9), (-16.8, 179.99)])
    return city[0] + rng.gauss(0, 0.2), (city[1] + rng.gauss(0, 0.2) + 180) % 360 - 180


class Distances(unittest.TestCase):
    def test_a_quarter_of_a_meridian(self) -> None:
        quarter = distance(unit_vector(0, 20), unit_vector(90, 0))
        self.assertAlmostEqual(quarter, HALF_CIRCUMFERENCE_M / 2, places=6)

    def test_antipodes_are_half_the_circumference_apart(self) -> None:
        self.assertAlmostEqual(distance(unit_vector(12, 34), unit_vector(-12, -146)), HALF_CIRCUMFERENCE_M, places=1)

    def test_one_place_written_in_two_ways_has_distance_zero(self) -> None:
        self.assertEqual(distance(unit_vector(10, 180), unit_vector(10, -180)), 0)
        self.assertEqual(distance(unit_vector(-90, 5), unit_vector(-90, 175)), 0)

    def test_vectors_agree_with_the_haversine_formula(self) -> None:
        rng = random.Random(1)
        for _ in range(2000):
            one, other = random_position(rng), random_position(rng)
            # Near the antipode the formula itself is exact to some metres only (asin near 1).
            allowed = 1e-6 if haversine(one, other) < 0.99 * HALF_CIRCUMFERENCE_M else 1.0
            self.assertAlmostEqual(
                distance(unit_vector(*one), unit_vector(*other)), haversine(one, other), delta=allowed
            )

    def test_position_is_the_inverse_of_unit_vector(self) -> None:
        rng = random.Random(2)
        for _ in range(500):
            given = random_position(rng)
            self.assertLess(haversine(given, position(unit_vector(*given))), 1e-6)


class BoundingBoxes(unittest.TestCase):
    def test_a_cap_across_the_antimeridian_has_west_greater_than_east(self) -> None:
        box = bounding_box(unit_vector(10, 179.95), 20_000)
        self.assertGreater(box.west, box.east)
        self.assertTrue(box.contains(10, -179.96) and box.contains(10, 179.8) and not box.contains(10, 0))

    def test_a_cap_over_a_pole_has_every_longitude(self) -> None:
        box = bounding_box(unit_vector(-89.99, 60), 20_000)
        self.assertEqual((box.south, box.west, box.east), (-90, -180, 180))

    def test_every_point_of_a_cap_is_in_its_box_and_the_box_is_tight(self) -> None:
        rng = random.Random(3)
        for _ in range(300):
            centre, reach = random_position(rng), 10 ** rng.uniform(0, 6)
            box = bounding_box(unit_vector(*centre), reach)
            edge = [_destination(centre, reach * 0.999999, bearing) for bearing in range(0, 360, 3)]
            self.assertTrue(all(box.contains(*point) for point in edge), (centre, reach))
            if (box.west, box.east) != (-180, 180):
                top = max(lat for lat, _ in edge)
                self.assertLess(math.radians(box.north - top) * EARTH_RADIUS_M, reach * 0.01 + 1e-3)


def _destination(start: Position, metres: float, bearing: float) -> Position:
    """The position so many metres from `start` in a direction, degrees from north; at a pole from any one."""
    delta, theta = metres / EARTH_RADIUS_M, math.radians(bearing)
    p = unit_vector(*start)
    east = (0.0, 1.0, 0.0) if abs(start[0]) == 90 else unit((-p[1], p[0], 0))
    north = cross(p, east)
    along = [math.cos(theta) * n + math.sin(theta) * e for n, e in zip(north, east, strict=True)]
    x, y, z = (math.cos(delta) * a + math.sin(delta) * b for a, b in zip(p, along, strict=True))
    return position((x, y, z))


class Spheres(unittest.TestCase):
    def test_spheres_meet_up_to_the_sum_of_their_radii(self) -> None:
        sphere = Sphere(unit_vector(0, 0), 100)
        metres = distance(unit_vector(0, 0), unit_vector(0, 0.01))
        self.assertIsNone(sphere.found(unit_vector(0, 0.01), metres - 100 - 1e-6))
        self.assertEqual(sphere.found(unit_vector(0, 0.01), metres - 100 + 1e-6), metres)

    def test_the_distance_from_inside_is_still_that_to_the_centre(self) -> None:
        metres = Sphere(unit_vector(0, 0), 1000).found(unit_vector(0.001, 0), 1)
        self.assertAlmostEqual(metres or 0, 111.19, places=2)

    def test_volume(self) -> None:
        self.assertAlmostEqual(Sphere(unit_vector(1, 1), 10).volume, 4188.79, places=2)


class PolygonMeasures(unittest.TestCase):
    def test_an_octant_is_an_eighth_of_the_earth(self) -> None:
        octant = Polygon(ring((0, 0), (0, 90), (90, 0)), 2)
        self.assertAlmostEqual(octant.area / (4 * math.pi * EARTH_RADIUS_M**2), 1 / 8, places=12)
        self.assertAlmostEqual(octant.volume, 2 * octant.area)

    def test_area_does_not_depend_on_the_order_of_the_vertices(self) -> None:
        corners = ring((10, 10), (10, 20), (20, 20), (20, 10))
        self.assertAlmostEqual(Polygon(corners, 1).area / Polygon(corners[::-1], 1).area, 1, places=12)

    def test_a_square_metre_keeps_its_digits(self) -> None:
        side = math.degrees(1 / EARTH_RADIUS_M)
        square = Polygon(ring((0, 50), (0, 50 + side), (side, 50 + side), (side, 50)), 1)
        self.assertAlmostEqual(square.area, 1, places=6)

    def test_repeated_vertices_count_once(self) -> None:
        once = Polygon(ring((0, 0), (0, 1), (1, 1)), 1)
        again = Polygon(ring((0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (0, 0)), 1)
        self.assertEqual((again.area, again.reach), (once.area, once.reach))

    def test_the_bounding_cap_holds_every_vertex(self) -> None:
        corners = ring((70, 0), (75, 90), (80, 180), (72, -90))
        polygon = Polygon(corners, 1)
        self.assertTrue(all(distance(polygon.centre, corner) <= polygon.reach for corner in corners))

    def test_a_polygon_around_half_the_earth_has_the_earth_as_its_cap(self) -> None:
        # The seam of a tennis ball: no half of the earth holds it.
        seam = [(45 * math.sin(math.radians(2 * lon)), float(lon)) for lon in range(-180, 180, 5)]
        self.assertEqual(Polygon(ring(*((lat - 3, lon) for lat, lon in seam)), 1).reach, HALF_CIRCUMFERENCE_M)


class PolygonRefusals(unittest.TestCase):
    def refuse(self, *positions: Position) -> str:
        with self.assertRaises(GeometryError) as caught:
            Polygon(ring(*positions), 1)
        return str(caught.exception)

    def test_a_bow_tie(self) -> None:
        self.assertIn("cross or touch", self.refuse((0, 0), (1, 1), (0, 1), (1, 0)))

    def test_edges_that_cross_across_the_antimeridian(self) -> None:
        self.assertIn("vertices 0 and 2", self.refuse((0, 179), (1, -179), (0, -179), (2, 179)))

    def test_a_vertex_visited_twice(self) -> None:
        self.assertIn("touch", self.refuse((0, 0), (0, 2), (1, 1), (2, 2), (2, 0), (1, 1)))

    def test_a_vertex_on_another_edge(self) -> None:
        self.assertIn("touch", self.refuse((0, 0), (0, 2), (1, 2), (0, 1), (1, 0)))

    def test_an_edge_that_runs_back(self) -> None:
        self.assertIn("touch", self.refuse((0, 0), (0, 3), (0, 1), (1, 1)))

    def test_vertices_on_one_great_circle(self) -> None:
        self.assertIn("touch", self.refuse((0, 0), (0, 1), (0, 2)))
        self.assertIn("two halves", self.refuse((0, 0), (0, 120), (0, -120)))

    def test_opposite_neighbours(self) -> None:
        self.assertIn("opposite", self.refuse((10, 0), (-10, 180), (50, 50)))

    def test_fewer_than_three_different_vertices(self) -> None:
        self.assertIn("three different", self.refuse((0, 0), (1, 1), (0, 0), (0, 0)))

    def test_a_thousand_vertices_without_a_crossing_are_accepted(self) -> None:
        wave = [(10 + math.sin(lon) * 5, lon * 0.36 - 180) for lon in range(1000)]
        self.assertGreater(Polygon(ring(*wave), 1).area, 0)

    def test_a_thousand_vertices_with_one_crossing_are_refused(self) -> None:
        wave = [(10 + math.sin(lon) * 5, lon * 0.36 - 180) for lon in range(1000)]
        wave[500], wave[502] = wave[502], wave[500]
        self.assertIn("cross or touch", self.refuse(*wave))

    def test_a_comb_is_accepted_and_one_with_a_tooth_across_its_neighbour_is_refused(self) -> None:
        comb = [(10.0 if side == tooth % 2 else 0.001, tooth * 1e-4) for tooth in range(499) for side in (0, 1)]
        comb += [(0.0, 0.05), (0.0, -0.0001)]
        self.assertGreater(Polygon(ring(*comb), 1).area, 0)
        comb[500] = (5.0, comb[504][1])
        self.assertIn("cross or touch", self.refuse(*comb))

    def test_the_vertices_are_counted_as_they_were_sent(self) -> None:
        self.assertIn("vertices 0 and 4", self.refuse((0, 0), (0, 0), (1, 1), (1, 1), (0, 1), (1, 0)))


class PolygonDistances(unittest.TestCase):
    def test_inside_is_zero_also_at_a_pole_and_across_the_antimeridian(self) -> None:
        pole = Polygon(ring((80, 0), (80, 90), (80, 180), (80, -90)), 1)
        self.assertEqual(pole.found(unit_vector(90, 0), 0), 0)
        seam = Polygon(ring((-1, 179), (-1, -179), (1, -179), (1, 179)), 1)
        for inside in ((0.0, 180.0), (0.5, -179.5), (-0.5, 179.5)):
            self.assertEqual(seam.found(unit_vector(*inside), 0), 0, inside)

    def test_outside_it_is_the_distance_to_the_nearest_edge_point(self) -> None:
        square = Polygon(ring((0, 0), (0, 1), (1, 1), (1, 0)), 1)
        self.assertAlmostEqual(square.found(unit_vector(-0.5, 0.5), 1e6) or 0, haversine(NEAR, (0.5, 1)), places=3)
        self.assertAlmostEqual(square.found(unit_vector(-1, 2), 1e6) or 0, haversine((-1, 2), (0, 1)), places=6)

    def test_an_edge_between_two_points_of_a_parallel_runs_poleward_of_it(self) -> None:
        wide = Polygon(ring((50, -40), (50, 40), (40, 0)), 1)
        self.assertEqual(wide.found(unit_vector(55, 0), 0), 0)

    def test_the_far_side_of_the_earth_is_outside(self) -> None:
        small = Polygon(ring((0, 0), (0, 1), (1, 1)), 1)
        self.assertAlmostEqual(small.found(unit_vector(-0.3, -179.3), 3e7) or 0, HALF_CIRCUMFERENCE_M, delta=2e5)

    def test_nothing_is_found_beyond_the_range(self) -> None:
        square = Polygon(ring((0, 0), (0, 1), (1, 1), (1, 0)), 1)
        metres = haversine((0.5, 1), (0.5, 2)) - 5
        self.assertIsNone(square.found(unit_vector(0.5, 2), metres - 50))
        self.assertIsNotNone(square.found(unit_vector(0.5, 2), metres + 50))

    def test_sides_agree_with_ray_casting_in_the_plane(self) -> None:
        # Gnomonic projection turns great circles into straight lines: a polygon near its centre becomes a plane one.
        rng = random.Random(4)
        for _ in range(40):
            middle = random_position(rng)
            bearings = sorted(rng.uniform(0, 360) for _ in range(rng.randrange(5, 12)))
            if max(b - a for a, b in zip(bearings, [*bearings[1:], bearings[0] + 360], strict=True)) > 170:
                continue
            reach = 10 ** rng.uniform(1, 6)
            star = [_destination(middle, reach * rng.uniform(0.2, 1), bearing) for bearing in bearings]
            polygon = Polygon(ring(*star), 1)
            flat = [_gnomonic(middle, corner) for corner in star]
            for _ in range(50):
                point = _destination(middle, reach * rng.uniform(0, 1.2), rng.uniform(0, 360))
                inside = _ray_casting(flat, _gnomonic(middle, point))
                self.assertEqual(polygon.found(unit_vector(*point), 0) == 0, inside, (star, point))


def _gnomonic(middle: Position, point: Position) -> Position:
    (phi0, lam0), (phi, lam) = (tuple(map(math.radians, p)) for p in (middle, point))
    c = math.sin(phi0) * math.sin(phi) + math.cos(phi0) * math.cos(phi) * math.cos(lam - lam0)
    x = math.cos(phi) * math.sin(lam - lam0) / c
    return x, (math.cos(phi0) * math.sin(phi) - math.sin(phi0) * math.cos(phi) * math.cos(lam - lam0)) / c


def _ray_casting(corners: Sequence[Position], point: Position) -> bool:
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside


class SpacesAsJson(unittest.TestCase):
    def refuse(self, value: object) -> str:
        with self.assertRaises(GeometryError) as caught:
            read_space(value)
        return str(caught.exception)

    def test_an_absent_elevation_of_a_centre_is_zero(self) -> None:
        _, kept = read_space({"type": "sphere", "center": {"lat": 1, "lon": 2}, "radius": 3, "colour": "red"})
        self.assertEqual(kept, {"type": "sphere", "center": {"lat": 1, "lon": 2, "ele": 0}, "radius": 3})

    def test_minus_zero_becomes_zero(self) -> None:
        _, kept = read_point({"lat": -0.0, "lon": -0.0, "ele": -0.0}, "location")
        self.assertEqual(str(kept), "{'lat': 0.0, 'lon': 0.0, 'ele': 0.0}")

    def test_refusals_name_the_member(self) -> None:
        sphere = {"type": "sphere", "center": {"lat": 1, "lon": 2}, "radius": 3}
        for change, word in (
            ({"radius": 0}, "space.radius"),
            ({"radius": 1_000_000.5}, "1,000,000"),
            ({"radius": True}, "number"),
            ({"radius": 10**308 * 5}, "finite"),
            ({"radius": math.inf}, "finite"),
            ({"center": {"lat": 90.1, "lon": 0}}, "center.lat"),
            ({"center": {"lat": math.nan, "lon": 0}}, "center.lat"),
            ({"center": {"lat": 0, "lon": -181}}, "center.lon"),
            ({"center": {"lat": 0, "lon": 0, "ele": "high"}}, "center.ele"),
            ({"center": {"lat": 0, "lon": 0, "ele": 10**308 * 5}}, "finite"),
            ({"center": {"lat": 0}}, "center.lon"),
            ({"center": [0, 0]}, "space.center"),
            ({"type": "cube"}, "type"),
        ):
            with self.subTest(change=change):
                self.assertIn(word, self.refuse({**sphere, **change}))

    def test_a_polygon_has_3_to_1000_vertices_and_a_positive_height(self) -> None:
        corner = {"lat": 0, "lon": 0}
        corners = [corner, {"lat": 0, "lon": 1}, {"lat": 1, "lon": 0}]
        self.assertIn("3 to 1000", self.refuse({"type": "polygon", "vertices": corners[:2]}))
        self.assertIn("3 to 1000", self.refuse({"type": "polygon", "vertices": [corner] * 1001}))
        for height in (0, -1, 1e-300, 0.0009, 1_000_001):
            self.assertIn("height", self.refuse({"type": "polygon", "vertices": corners, "height": height}))
        low = {"type": "polygon", "vertices": corners, "height": 1e-300}
        self.assertEqual(read_space(low, check=False)[1], low, "kept by an earlier version")
        self.assertIn("vertices.1.lat", self.refuse({"type": "polygon", "vertices": [corner, {"lon": 1}, corner]}))
        space, kept = read_space({"type": "polygon", "vertices": corners})
        self.assertEqual(kept, {"type": "polygon", "vertices": corners})
        self.assertAlmostEqual(space.volume, 0.5 * haversine((0, 0), (0, 1)) ** 2, delta=1e6)


class Cells(unittest.TestCase):
    def test_a_level_holds_spaces_that_reach_no_farther(self) -> None:
        self.assertEqual([level_of(reach) for reach in LEVEL_REACHES], list(range(WHOLE)))
        self.assertEqual([level_of(0), level_of(16.1), level_of(HALF_CIRCUMFERENCE_M)], [0, 1, WHOLE])

    def test_a_point_lies_in_every_cover_around_it(self) -> None:
        rng = random.Random(5)
        for _ in range(2000):
            point = unit_vector(*random_position(rng))
            level = rng.randrange(LEVELS)
            cell = cell_of(point, level)
            self.assertTrue(any(first <= cell < last for first, last in cover(point, 0.001, level)), point)

    def test_a_cover_is_a_few_ranges_without_overlaps(self) -> None:
        rng = random.Random(6)
        for _ in range(500):
            point, within = unit_vector(*random_position(rng)), 10 ** rng.uniform(0, 6)
            each = [cover(point, within, level) for level in range(LEVELS)]
            self.assertLessEqual(max(map(len, each)), 75)
            ranges = sorted(one for level in each for one in level)
            self.assertTrue(all(a[1] <= b[0] for a, b in pairwise(ranges)))


class _Known(NamedTuple):
    """A registration as the comparison with every one sees it: vectors, so that 10,000,000 comparisons take seconds."""

    id: str
    x: float
    y: float
    z: float
    rho: float  # radians that it reaches
    half_square: float  # rho² / 2
    volume: float
    space: Sphere | Polygon


class AgainstEveryRegistration(unittest.TestCase):
    """The index finds the same ids in the same order as comparing with every registration."""

    def test_the_same_ids_in_the_same_order(self) -> None:
        self.compare(2000, 300, 6000)

    @long
    def test_the_same_ids_in_the_same_order_among_many(self) -> None:
        self.compare(10_000, 1000, 100_000)

    def compare(self, registrations: int, searches: int, least: int) -> None:
        """Search among so many registrations; at least `least` hits, so that the test compares something."""
        rng = random.Random(7)
        store = MemoryStore()
        registry = Registry(store, lambda: 1e9, os.urandom, "https://here.example")
        known = [self._register(registry, rng, number) for number in range(registrations)]
        found = 0
        for number in range(searches):
            # MRS_MAX_RADIUS may be as much as half-way round the earth.
            where, within = random_position(rng), 10 ** rng.uniform(0, 6 if number % 40 else 7.3)
            point = unit_vector(*where)
            hits = find(store, point, within, len(known)).hits
            expected = self._compared_with_all(known, where, within)
            self.assertEqual([place.decode() for _, _, place, _ in hits], expected, (where, within))
            self.assertEqual(find(store, point, within, 20).hits, hits[:20])
            found += len(expected)
        self.assertGreater(found, least)

    def _register(self, registry: Registry, rng: random.Random, number: int) -> _Known:
        lat, lon = random_position(rng)
        # Half of them of a few sizes, so that the distance decides their order; the others of any size.
        radius = rng.choice([1, 10, 50, 1000]) if number % 2 else 10 ** rng.uniform(0, 6)
        if number % 20 == 0:
            corners = [_destination((lat, lon), radius, bearing) for bearing in (0, 100, 200, 300)]
            space: object = {"type": "polygon", "vertices": [{"lat": a, "lon": b} for a, b in corners]}
        else:
            space = {"type": "sphere", "center": {"lat": lat, "lon": lon}, "radius": radius}
        point = "https://example.com/" + str(number)
        claim = read_claim({"space": space, "service_point": point})
        text = registry.register("mark@here.example", claim)
        geometry = claim.geometry
        assert isinstance(geometry, Sphere | Polygon)
        rho = geometry.reach / EARTH_RADIUS_M
        name = text[7:23].decode()
        return _Known(name, *geometry.centre, rho, rho * rho / 2, geometry.volume, geometry)

    def _compared_with_all(self, known: Sequence[_Known], where: Position, within: float) -> list[str]:
        a, b, c = point = unit_vector(*where)
        w = within / EARTH_RADIUS_M
        # A chord is no longer than its arc: 2 - 2 p·q <= (rho + w)² for all that can meet.
        least = 1 - w * w / 2 - 1e-9
        candidates = [one for one in known if one[1] * a + one[2] * b + one[3] * c + one[4] * w + one[5] >= least]
        order = [(one.volume, one.space.found(point, within), one.id) for one in candidates]
        return [name for _, metres, name in sorted(hit for hit in order if hit[1] is not None)]


class Rows(unittest.TestCase):
    def test_foad_is_kept_and_never_found(self) -> None:
        store = MemoryStore()
        registry = Registry(store, lambda: 1e9, os.urandom, "https://here.example")
        space = {"type": "sphere", "center": {"lat": 0, "lon": 0}, "radius": 10}
        registry.register("mark@here.example", read_claim({"space": space, "foad": True}))
        self.assertEqual(find(store, unit_vector(0, 0), 1e6, 10).hits, [])
        with store.read() as tx:
            (row,) = [record for _, record in tx.scan("mrs_places")]
        self.assertIs(document(row)["foad"], True)


if __name__ == "__main__":
    unittest.main()
