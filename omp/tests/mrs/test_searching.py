"""What a search costs and how its answer is cut (§6.3 to §6.5), and the size of pages (§11)."""

from __future__ import annotations

import json
import math
import os
import random
import unittest
from typing import Any
from unittest import mock

from omp.protocols.mrs import outlines, searching
from omp.protocols.mrs.geometry import unit_vector
from omp.protocols.mrs.registration import Claim, read_claim, record_tail, space_size
from omp.protocols.mrs.registry import LARGE, MAX_SPACES, OUTLINES, PLACES, Registry
from omp.protocols.mrs.searching import ROWS, find
from omp.store.memory import MemoryStore
from omp.tests.mrs.parties import RegistryCase, claim

HERE = unit_vector(10, 20)


def round_polygon(corners: int, radius: float = 0.01, turned: float = 0.0, lat: float = 10, lon: float = 20) -> Any:
    """A polygon around a point; `radius` in degrees."""
    angles = [turned + 2 * math.pi * number / corners for number in range(corners)]
    vertices = [{"lat": lat + radius * math.cos(a), "lon": lon + radius * math.sin(a)} for a in angles]
    return {"type": "polygon", "vertices": vertices}


def open_ring(corners: int, radius: float = 0.01) -> Any:
    """A polygon in the form of a C: it surrounds a point, and does not hold it."""
    half = corners // 2
    angles = [5.5 * number / (half - 1) for number in range(half)]
    turns = [(radius, a) for a in angles] + [(radius * 0.9, a) for a in reversed(angles)]
    return {
        "type": "polygon",
        "vertices": [{"lat": 10 + r * math.cos(a), "lon": 20 + r * math.sin(a)} for r, a in turns],
    }


def polygon_claim(space: Any, number: int = 0) -> Claim:
    return read_claim({"space": space, "service_point": f"https://example.com/{number}"})


class Costs(unittest.TestCase):
    """Work is counted in edges that are looked at: a search must not look at every edge of every polygon nearby."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.registry = Registry(self.store, lambda: 1e9, os.urandom, "https://here.example")

    def edges_asked(self, within: float, most: int = 100) -> tuple[int, searching.Found]:
        asked = 0
        real = outlines._nearest_edge

        def counting(point: Any, path: Any, limit: float) -> Any:
            nonlocal asked
            asked += len(path) - 1
            return real(point, path, limit)

        with mock.patch.object(outlines, "_nearest_edge", counting):
            found = find(self.store, HERE, within, most)
        return asked, found

    def test_a_hundred_polygons_of_a_thousand_vertices_at_one_place(self) -> None:
        for number in range(100):
            self.registry.register("mark@here.example", polygon_claim(round_polygon(1000), number))
        with mock.patch.object(searching, "space_of", side_effect=AssertionError("the JSON was read")):
            asked, found = self.edges_asked(1)
        self.assertEqual(asked, 0)  # the point is inside: only the groups' caps were looked at
        spaces = [space_size(record) for _, _, _, record in found.hits]
        self.assertLessEqual(sum(spaces), MAX_SPACES)
        self.assertGreater(sum(spaces) + max(spaces), MAX_SPACES)
        self.assertTrue(found.truncated)
        self.assertEqual([hit[:3] for hit in found.hits], sorted(hit[:3] for hit in found.hits))

    def test_polygons_around_the_point_that_do_not_hold_it(self) -> None:
        for number in range(20):
            self.registry.register("mark@here.example", polygon_claim(open_ring(1000), number))
        asked, found = self.edges_asked(10)
        self.assertEqual((asked, found.hits), (0, []))
        asked, found = self.edges_asked(1100)
        self.assertEqual(len(found.hits), 20)
        for hit in found.hits:
            self.assertAlmostEqual(hit[1], 6_371_000 * math.radians(0.009), delta=20)

    def test_of_a_polygon_beside_the_point_a_few_groups_are_asked(self) -> None:
        self.registry.register("mark@here.example", polygon_claim(round_polygon(1000, lon=20.012)))
        asked, found = self.edges_asked(1000)
        self.assertEqual(len(found.hits), 1)
        self.assertLessEqual(asked, 4 * outlines.GROUP)

    def test_only_the_header_of_a_large_record_is_collected(self) -> None:
        self.registry.register("mark@here.example", polygon_claim(round_polygon(1000)))
        self.registry.register("mark@here.example", polygon_claim(round_polygon(5)))
        collected = [record for _, rows in searching._collected(self.store, HERE, 10) for _, record in rows]
        self.assertEqual(len(collected), 2)
        self.assertLess(max(map(len, collected)), LARGE)

    def test_a_large_search_is_collected_in_several_blocks_and_finds_all(self) -> None:
        rng = random.Random(1)
        names = []
        for number in range(2 * ROWS + 500):
            body = claim(
                10 + rng.uniform(-1, 1),
                20 + rng.uniform(-1, 1),
                rng.choice([1, 50, 3000]),
                f"https://e.example/{number}",
            )
            names.append(self.registry.register("mark@here.example", read_claim(body))[7:23])
        taken = []
        real = searching._one_block

        def counting(tx: Any, left: Any, collected: Any) -> None:
            real(tx, left, collected)
            taken.append(sum(len(rows) for _, rows in collected))

        with mock.patch.object(searching, "_one_block", counting):
            find(self.store, HERE, 300_000, 10)
        self.assertGreater(len(taken), 1)
        self.assertLess(max(taken), 3 * ROWS)
        hits = find(self.store, HERE, 300_000, 10_000).hits
        self.assertEqual(sorted(name for _, _, name, _ in hits), sorted(names))
        self.assertEqual(find(self.store, HERE, 300_000, 50).hits, hits[:50])


class Changing(unittest.TestCase):
    def setUp(self) -> None:
        self.store = MemoryStore()
        self.registry = Registry(self.store, lambda: 1e9, os.urandom, "https://here.example")
        text = self.registry.register("mark@here.example", polygon_claim(round_polygon(500)))
        self.name = json.loads(text)["id"]

    def during_the_search(self, change: Any) -> list[Any]:
        """The hits of a search while which `change` happens, after the rows were collected."""
        real = searching._polygon_hit

        def changed(*arguments: Any) -> Any:
            change()
            return real(*arguments)

        with mock.patch.object(searching, "_polygon_hit", changed):
            return find(self.store, HERE, 1, 10).hits

    def test_what_is_released_is_not_found(self) -> None:
        self.assertEqual(self.during_the_search(lambda: self.registry.release("mark@here.example", self.name)), [])

    def test_what_is_updated_is_found_as_it_is_now(self) -> None:
        sphere = read_claim(claim(10, 20, 7))
        (hit,) = self.during_the_search(lambda: self.registry.update("mark@here.example", self.name, sphere))
        self.assertIn(b'"radius":7', hit[3])
        self.assertEqual(hit[1], 0)

    def test_what_moves_away_is_not_found(self) -> None:
        away = polygon_claim(round_polygon(500, lat=50))
        self.assertEqual(self.during_the_search(lambda: self.registry.update("mark@here.example", self.name, away)), [])

    def test_rows_without_an_outline_are_found_by_their_json(self) -> None:
        with self.store.write() as tx:  # as files of earlier versions have them
            tx.delete(OUTLINES, self.name.encode())
        (hit,) = find(self.store, HERE, 1, 10).hits
        self.assertEqual(hit[2].decode(), self.name)

    def test_an_outline_goes_with_its_registration(self) -> None:
        self.registry.update("mark@here.example", self.name, read_claim(claim(10, 20, 7)))
        with self.store.read() as tx:
            self.assertEqual(tx.count(OUTLINES), 0)

    def test_the_end_of_a_record_is_read_without_its_space(self) -> None:
        with self.store.read() as tx:
            ((_, record),) = tx.scan(PLACES)
        self.assertEqual(list(record_tail(record)), ["owner", "created", "updated"])


class TheAnswer(unittest.TestCase):
    """The longest beginning of the order whose spaces fit, in whichever order the hits come."""

    def test_it_is_the_same_in_every_order(self) -> None:
        rng = random.Random(3)
        for _ in range(300):
            sizes = [rng.choice([50, 400, 90_000, 300_000, 600_000]) for _ in range(rng.randrange(1, 9))]
            hits = [
                (float(number // 2), rng.random(), b"%d" % number, bytes(size)) for number, size in enumerate(sizes)
            ]
            expected: list[searching.Hit] = []
            room = MAX_SPACES
            for hit in sorted(hits):
                room -= len(hit[3])
                if room < 0 or len(expected) == 6:
                    break
                expected.append(hit)
            rng.shuffle(hits)
            with mock.patch.object(searching, "space_size", len):
                answer = searching._Answer(6)
                for hit in hits:
                    answer.add(hit)
            self.assertEqual(answer.hits, expected)
            self.assertEqual(answer.truncated, len(expected) < min(len(hits), 6))


class OverSockets(RegistryCase):
    def test_a_search_is_cut_before_the_space_that_is_too_much_and_says_so(self) -> None:
        self.mark.register(claim(10, 20, 5000))
        self.mark.register(claim(10, 20, 5))
        for number in range(30):
            space = round_polygon(1000, 0.01 + number / 1e4)
            self.mark.register({"space": space, "service_point": "https://example.com/"})
        answer = self.stranger.search(10, 20, 1)
        self.assertIs(answer["truncated"], True)
        self.assertLess(len(answer["results"]), 31)
        self.assertEqual(answer["results"][0]["space"]["type"], "sphere")
        spaces = sum(len(json.dumps(hit["space"], separators=(",", ":"))) for hit in answer["results"])
        self.assertTrue(MAX_SPACES - 60_000 < spaces <= MAX_SPACES, spaces)
        self.assertNotIn("truncated", self.stranger.search(10, 20.04, 1))

        cursor: str | None = ""
        names: list[str] = []
        pages = 0
        while cursor is not None:
            page = self.stranger.request("GET", f"/sync/snapshot?limit=1000&cursor={cursor}").json
            names += [one["id"] for one in page["registrations"]]
            cursor, pages = page["next_cursor"], pages + 1
        self.assertEqual((len(names), len(set(names)), pages), (32, 32, 2))

        since, told = "", []
        for _ in range(3):
            page = self.stranger.request("GET", f"/sync/changes?limit=1000&since={since}").json
            told.append([one["id"] for one in page["registrations"]])
            since = page["next_cursor"]
        self.assertEqual(sorted(told[0] + told[1]), sorted(names))
        self.assertTrue(told[0] and told[1] and not told[2])
        first = self.mark.request("GET", "/registrations").json
        rest = self.mark.request("GET", f"/registrations?cursor={first['next_cursor']}").json
        self.assertNotIn("next_cursor", rest)
        listed = {one["id"] for one in first["registrations"] + rest["registrations"]}
        self.assertEqual((len(listed), len(first["registrations"])), (32, 22))


if __name__ == "__main__":
    unittest.main()
