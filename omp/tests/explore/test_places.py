"""The map: true shapes at the poles and across the antimeridian, searches, referrals, and many places."""

from __future__ import annotations

import json
import math
import unittest
from typing import Any, ClassVar

from omp.protocols.mrs.geometry import distance, unit_vector
from omp.tests.explore.coastlines import FILE, ORIGIN, simplified, written
from omp.tests.explore.explorer import ExplorerInABrowser, thorough
from omp.tests.harness import Client
from omp.tests.mrs.parties import User, claim

PROJECTED = """(async (center, scale, places) => {
  const { Outlook, vector, position } = await import("/explore/sphere.js");
  const view = new Outlook(vector(center), scale, 800, 600);
  return places.map((one) => {
    const [x, y, depth] = view.project(vector(one));
    return [x, y, depth, depth > 0 ? position(view.placeAt(x, y)) : null];
  });
})"""


class Coastlines(unittest.TestCase):
    """The file and its maker."""

    def test_is_small_and_says_where_it_is_from(self) -> None:
        data = json.loads(FILE.read_bytes())
        self.assertLess(FILE.stat().st_size, 60_000)
        self.assertEqual(data["origin"], ORIGIN)
        self.assertIn("public domain", ORIGIN)
        self.assertGreater(sum(len(line) // 2 for line in data["lines"]), 4_000)

    def test_every_point_is_on_the_earth(self) -> None:
        data = json.loads(FILE.read_bytes())
        for line in data["lines"]:
            lon, lat = line[0], line[1]
            for dx, dy in zip(line[2::2], line[3::2], strict=True):
                lon, lat = lon + dx, lat + dy
                self.assertLessEqual(abs(lat), 90 * data["unit"])
                self.assertLessEqual(abs(lon), 180 * data["unit"])

    def test_a_point_that_bends_the_line_stays(self) -> None:
        line = [(0.0, 0.0), (1.0, 0.001), (2.0, 0.0), (3.0, 2.0), (4.0, 0.0)]
        self.assertEqual(simplified(line), [(0.0, 0.0), (2.0, 0.0), (3.0, 2.0), (4.0, 0.0)])
        self.assertEqual(written([(1.0, 2.0), (1.5, 1.0)]), [100, 200, 50, -100])


@thorough
class Projection(ExplorerInABrowser):
    environ: ClassVar[dict[str, str]] = {}

    def projected(self, center: dict[str, float], scale: float, places: list[dict[str, float]]) -> Any:
        """[x, y, depth, the position that stands there] of each place."""
        arguments = ", ".join(map(json.dumps, (center, scale, places)))
        return self.browser.evaluate(f"{PROJECTED}({arguments})")

    def test_near_the_middle_pixels_are_metres_wherever_it_is(self) -> None:
        self.show()
        for lat, lon in ((0, 0), (48.2, 16.37), (-17, 180), (-17, -180), (90, 0), (-90, 123), (89.9999, -179.9999)):
            near = [(lat - math.copysign(0.001, lat), lon), (lat - math.copysign(0.0005, lat), lon + 0.0007)]
            near = [(one, (other + 180) % 360 - 180) for one, other in near]
            found = self.projected({"lat": lat, "lon": lon}, 6_371_000, [{"lat": a, "lon": b} for a, b in near])
            for (x, y, _, back), place in zip(found, near, strict=True):
                with self.subTest(center=(lat, lon), place=place):
                    pixels = math.hypot(x - 400, y - 300)
                    self.assertAlmostEqual(pixels, distance(unit_vector(lat, lon), unit_vector(*place)), delta=0.01)
                    self.assertAlmostEqual(distance(unit_vector(**back), unit_vector(*place)), 0, delta=0.01)

    def test_what_is_behind_the_horizon_is_not_seen(self) -> None:
        self.show()
        behind, ahead = self.projected({"lat": 0, "lon": 180}, 200, [{"lat": 10, "lon": 0}, {"lat": 10, "lon": -170}])
        self.assertLess(behind[2], 0)
        self.assertGreater(ahead[2], 0)


@thorough
class Places(ExplorerInABrowser):
    def test_all_places_are_listed_and_drawn(self) -> None:
        self.show("places")
        self.wait_for_text(".found, h2", "35 registered places")
        self.wait("document.querySelector('.coast').getAttribute('d').length > 5000")
        self.assertGreater(
            self.browser.evaluate("document.querySelector('.places').getAttribute('d').split('M').length"), 5
        )

    def test_a_search_across_the_antimeridian_is_ordered_and_referred(self) -> None:
        self.show("places", lat="-17", lon="180", range="100000")
        self.wait("document.querySelectorAll('.found li').length === 2")
        self.assertEqual(
            self.browser.evaluate("[...document.querySelectorAll('.found a')].map((one) => one.textContent)"),
            ["https://places.example/ocean/taveuni-strait", "https://places.example/ocean/date-line-buoy"],
        )
        link = self.browser.evaluate("document.querySelector('.beside a[rel=noreferrer]').href")
        self.assertRegex(link, r"^http://127\.0\.0\.1:\d+/explore#/places\?lat=-17&lon=180&range=100000$")
        self.browser.visit(link)
        self.wait_for_text(".found", "fiji/meridian-stone")

    def test_pointing_at_the_map_searches_there(self) -> None:
        self.show("places", lat="48.2085", lon="16.3731", range="1000")
        self.wait_for_text("section h2", "within 1 km of 48.2085")
        x, y = self.browser.evaluate(
            "(() => { const box = document.querySelector('.map svg').getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2 - 100]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.browser.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.wait("!document.querySelector('.beside h2').textContent.includes('48.2085')")
        self.assertRegex(self.text(".beside section h2"), r"within 1 km of 48\.21\d\d°, 16\.373")

    def test_pointing_at_a_place_chooses_it(self) -> None:
        self.show("places", find="museum-of-technology")
        self.wait("document.querySelectorAll('.found li').length === 1")
        x, y = self.browser.evaluate(
            """(() => {
              const drawn = document.querySelector('.places').getAttribute('d');
              const [, at, down] = /M([-.0-9]+),([-.0-9]+)h0$/.exec(drawn);
              const box = document.querySelector('.map svg').getBoundingClientRect();
              return [box.x + Number(at) + 4, box.y + Number(down) + 4];
            })()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.browser.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.wait("document.querySelectorAll('.chosen-place').length === 1")
        self.assertIn("place=", self.browser.evaluate("location.hash"))

    def test_the_keyboard_turns_and_searches(self) -> None:
        self.show("places")
        self.wait_for_text("h2", "registered places")
        self.browser.evaluate("document.querySelector('.map').focus()")
        self.browser.press("ArrowRight")
        self.browser.press("Enter")
        self.wait(
            "/places within 10 km of (19|20)\\.\\d+°/.test(document.querySelector('.beside section h2').textContent)"
        )

    def test_the_middle_stops_at_a_pole(self) -> None:
        self.show("places")
        self.wait_for_text("h2", "registered places")
        self.browser.evaluate("document.querySelector('.map').focus()")
        for _ in range(20):
            self.browser.press("ArrowUp")
        self.browser.press("Enter")
        self.wait_for_text(".beside section h2", "within 10 km of 90.0000°")
        for _ in range(2):
            self.browser.press("ArrowDown")
        self.browser.press("Enter")
        self.wait("/within 10 km of 89\\.\\d+°/.test(document.querySelector('.beside section h2').textContent)")

    def test_a_place_that_was_registered_wrongly_is_found_by_name_and_shown(self) -> None:
        self.show("places", find="museum-of-technology")
        self.click(".found a")
        self.wait_for_text(".detail", "latitude 16.3179°, longitude 48.1908°")
        self.assertEqual(self.count(".chosen-place"), 1)

    def test_what_is_registered_meanwhile_appears(self) -> None:
        self.show("places", find="somewhere-new")
        self.wait_for_text("h2", "0 places")
        with User.new(self.server.port, "late") as user:
            user.register(claim(5, 5, 100, "https://places.example/somewhere-new"))
        self.wait_for_text(".found", "somewhere-new")


@thorough
class Many(ExplorerInABrowser):
    """Many places: 10,000 where the long tests run."""

    environ: ClassVar[dict[str, str]] = {"OMP_MAX_PAYLOAD_MB": "50"}
    PLACES = 10_000

    def test_are_drawn_and_turned_fluently(self) -> None:
        registrations = [
            {
                **claim(number % 170 - 85, number % 359 - 179, 50, f"https://places.example/{number}"),
                "id": f"reg_{number:012d}", "owner": "many@example.org",
                "created": "2026-01-01T00:00:00Z", "updated": "2026-01-01T00:00:00Z",
            }
            for number in range(self.PLACES)
        ]  # fmt: skip
        with Client(self.server.port) as client:
            sent = client.request("POST", "/admin/import", {"registrations": registrations})
            self.assertEqual(sent.status, 200, sent.body)
        self.show("places")
        self.wait_for_text("h2", f"{self.PLACES:,} registered places")
        self.assertLess(self.count(".map svg *"), 400)
        spent = self.browser.evaluate(
            """(async () => {
              const map = document.querySelector('.map'), spent = [];
              map.focus();
              for (let at = 0; at < 20; at += 1) {
                const before = performance.now();
                map.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true}));
                map.getBoundingClientRect();
                spent.push(performance.now() - before);
                await new Promise(requestAnimationFrame);
              }
              return spent.sort((a, b) => a - b);
            })()"""
        )
        print(f"({self.PLACES:,} places: a turn takes {spent[len(spent) // 2]:.0f} ms) ", end="", flush=True)


if __name__ == "__main__":
    unittest.main()
