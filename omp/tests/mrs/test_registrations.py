"""Registering, updating, releasing, listing and searching, end to end over sockets (§4, §6, §8.1)."""

from __future__ import annotations

import json
import re
import unittest
from typing import Any, ClassVar
from unittest import mock

from omp.protocols.mrs.fetch import FetchError
from omp.protocols.mrs.registration import BadRegistration, read_claim
from omp.protocols.mrs.routes import REFUSALS
from omp.protocols.mrs.schemas import RegistryError
from omp.tests.harness import running_server
from omp.tests.mrs.parties import OPERA, RegistryCase, User, around, claim
from omp.web.messages import BadCursor

TIME = "2026-01-26T08:30:00Z"
CORNERS = [{"lat": 50.0, "lon": 10.0}, {"lat": 50.0, "lon": 10.01}, {"lat": 50.01, "lon": 10.01, "ele": 3}]


class Registering(RegistryCase):
    def test_the_answer_holds_what_was_sent_and_what_the_server_adds(self) -> None:
        sent = {"space": OPERA, "service_point": "https://example.com/sydney-opera-house"}
        made = self.mark.register(sent)
        self.assertRegex(made.pop("id"), r"\Areg_[A-Za-z0-9_-]{12}\Z")
        self.assertRegex(made.pop("created"), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
        made.pop("updated"), made.pop("origin_id")
        domain = self.server.url.removeprefix("http://")
        added = {"foad": False, "owner": f"mark@{domain}", "origin_server": self.server.url, "version": 1}
        self.assertEqual(made, {**sent, **added})

    def test_the_status_word_is_registered(self) -> None:
        self.assertEqual(self.mark.request("POST", "/register", claim(1, 1)).json["status"], "registered")

    def test_a_polygon_comes_back_as_it_was_sent(self) -> None:
        space = {"type": "polygon", "vertices": CORNERS, "height": 2.5}
        self.assertEqual(self.mark.register({**claim(), "space": space})["space"], space)

    def test_a_foad_registration_needs_no_service_point(self) -> None:
        made = self.mark.register({"space": claim(2, 2)["space"], "foad": True})
        self.assertEqual((made["foad"], made["service_point"]), (True, None))
        self.assertEqual(self.mark.search(2, 2, 100)["results"], [])
        self.assertIn(
            made["id"], [one["id"] for one in self.mark.request("GET", "/registrations").json["registrations"]]
        )

    def test_an_identical_one_by_the_same_owner_is_a_conflict(self) -> None:
        made = self.mark.register(claim(3, 3, 50))
        self.refused(self.mark.request("POST", "/register", claim(3.0, 3.0, 50.0)), 409, made["id"])
        self.ann.register(claim(3, 3, 50))

    def test_without_authentication_it_is_401_whatever_the_body(self) -> None:
        bodies: tuple[Any, ...] = (claim(), {}, [])
        for body in bodies:
            answer = self.stranger.request("POST", "/register", body)
            self.refused(answer, 401)
            self.assertEqual(answer.headers["www-authenticate"], "Bearer")
        self.refused(self.stranger.request("GET", "/registrations", headers={"Authorization": "Bearer abc"}), 401)

    def test_bad_bodies_are_400_and_say_what_is_wrong(self) -> None:
        good = claim(4, 4)
        sphere = good["space"]
        for change, word in (
            ({"space": None}, "space"),
            ({"space": {**sphere, "type": "cube"}}, "type"),
            ({"space": {**sphere, "radius": -1}}, "radius"),
            ({"space": {**sphere, "radius": "1"}}, "radius"),
            ({"space": {**sphere, "radius": 0}}, "radius"),
            ({"space": {**sphere, "radius": 0.000999}}, "0.001"),
            ({"space": {**sphere, "radius": 5e-324}}, "0.001"),
            ({"space": {**sphere, "radius": 1_000_001}}, "1,000,000"),
            ({"space": {**sphere, "center": {"lat": 91, "lon": 0}}}, "lat"),
            ({"service_point": None}, "service_point"),
            ({"service_point": 5}, "service_point"),
            ({"service_point": "http://example.com"}, "https"),
            ({"foad": "no"}, "foad"),
            ({"space": {"type": "polygon", "vertices": CORNERS[:2]}}, "3 to 1000"),
            ({"space": {"type": "polygon", "vertices": [*CORNERS, {"lat": 50.005, "lon": 10.02}]}}, "cross or touch"),
        ):
            with self.subTest(change=change):
                self.refused(self.mark.request("POST", "/register", {**good, **change}), 400, word)

    def test_a_radius_of_a_millimetre_is_accepted(self) -> None:
        self.assertEqual(self.mark.register(claim(4, 5, 0.001))["space"]["radius"], 0.001)

    def test_numbers_that_a_double_cannot_hold_are_400(self) -> None:
        for number in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 400):
            text = json.dumps(claim(5, 5)).replace("50.0", number)
            self.refused(self.mark.request("POST", "/register", body=text.encode()), 400)

    def test_minus_zero_is_zero(self) -> None:
        made = self.mark.register({**claim(0, 0, 7), "service_point": "https://example.com/zero"})
        again = json.dumps({**claim(0, 0, 7), "service_point": "https://example.com/zero"}).replace(
            '"lat": 0', '"lat": -0.0'
        )
        self.refused(self.mark.request("POST", "/register", body=again.encode()), 409, made["id"])

    def test_a_body_that_is_not_a_json_object_is_400(self) -> None:
        for body in (b"", b"{", b"[]", b'"x"', b"\xff"):
            self.refused(self.mark.request("POST", "/register", body=body), 400)


class ServicePoints(unittest.TestCase):
    def point(self, text: Any) -> str | None:
        return read_claim({**claim(), "service_point": text}).service_point

    def test_https_addresses_are_accepted_and_white_space_around_them_trimmed(self) -> None:
        for text in (
            "https://example.com",
            "HTTPS://example.com:8443/a/b?c=d&e=%20",
            "https://[2001:db8::1]/x",
            "https://münchen.example/straße",
            "https://example.com?x",
            "https://e.example/" + "a" * 2030,
        ):
            self.assertEqual(self.point(f" \t{text}\n"), text)

    def test_others_are_refused(self) -> None:
        for text in (
            "",
            "example.com",
            "//example.com/",
            "http://example.com/",
            "https:/example.com",
            "https://",
            "https:///path",
            "https://:443/",
            "https://user@example.com/",
            "https://user:pass@example.com/",
            "https://example.com/#part",
            "https://example.com/#",
            "https://exam ple.com/",
            "https://example.com/a b",
            "https://example.com/a\tb",
            "https://example.com/a\nb",
            "https://example.com/\x00",
            "https://example.com/\x85",
            "https://example.com/\u200b",
            "https://example.com/\u3000x",
            "https://example.com\\@evil.example/",
            "https://example.com:99999/",
            "https://example.com:x/",
            "https://[::1/",
            "javascript://example.com/",
            "https://e.example/" + "a" * 2031,
        ):
            with self.subTest(text=text), self.assertRaises(BadRegistration):
                self.point(text)


class Changing(RegistryCase):
    def test_put_replaces_it_and_raises_the_version(self) -> None:
        made = self.mark.register(claim(10, 10))
        answer = self.mark.request("PUT", f"/register/{made['id']}", claim(11, 11, 60))
        changed = answer.json["registration"]
        self.assertEqual((answer.status, answer.json["status"]), (200, "updated"))
        self.assertEqual((changed["version"], changed["id"], changed["created"]), (2, made["id"], made["created"]))
        self.assertEqual(self.mark.search(10, 10, 10)["results"], [])
        self.assertEqual(self.mark.search(11, 11, 10)["results"][0]["version"], 2)

    def test_post_with_an_id_does_the_same(self) -> None:
        made = self.mark.register(claim(12, 12))
        answer = self.mark.request("POST", "/register", {**claim(12, 12, 70), "id": made["id"]})
        self.assertEqual((answer.status, answer.json["registration"]["version"]), (200, 2))

    def test_sending_the_same_again_is_an_update_too(self) -> None:
        made = self.mark.register(claim(13, 13))
        answer = self.mark.request("PUT", f"/register/{made['id']}", claim(13, 13))
        self.assertEqual(answer.json["registration"]["version"], 2)

    def test_an_update_that_makes_two_identical_is_a_conflict(self) -> None:
        one, other = self.mark.register(claim(14, 14)), self.mark.register(claim(14, 14, 51))
        self.refused(self.mark.request("PUT", f"/register/{other['id']}", claim(14, 14)), 409, one["id"])

    def test_refusals(self) -> None:
        made = self.mark.register(claim(15, 15))
        path = f"/register/{made['id']}"
        self.refused(self.ann.request("PUT", path, claim(15, 15, 9)), 403)
        self.refused(self.stranger.request("PUT", path, claim(15, 15, 9)), 401)
        self.refused(self.mark.request("PUT", "/register/reg_unknown", claim()), 404)
        self.refused(self.mark.request("POST", "/register", {**claim(), "id": "reg_unknown"}), 404)
        self.refused(self.mark.request("PUT", path, {**claim(), "id": "reg_other"}), 400, "id")
        self.refused(self.mark.request("PUT", path, {}), 400)

    def test_a_change_keeps_only_the_new_place(self) -> None:
        made = self.mark.register(claim(16, 16))
        self.mark.request("PUT", f"/register/{made['id']}", {"space": claim(16, 16)["space"], "foad": True})
        self.assertEqual(self.mark.search(16, 16, 10)["results"], [])
        self.mark.request("PUT", f"/register/{made['id']}", claim(16, 16))
        self.assertEqual(len(self.mark.search(16, 16, 10)["results"]), 1)


class Releasing(RegistryCase):
    def test_a_released_one_is_gone_and_may_be_registered_again(self) -> None:
        made = self.mark.register(claim(20, 20))
        answer = self.mark.request("POST", "/release", {"id": made["id"]})
        self.assertEqual((answer.status, answer.json), (200, {"status": "released", "id": made["id"]}))
        self.assertEqual(self.mark.search(20, 20, 10)["results"], [])
        self.refused(self.mark.request("POST", "/release", {"id": made["id"]}), 404)
        self.mark.register(claim(20, 20))

    def test_refusals(self) -> None:
        made = self.mark.register(claim(21, 21))
        self.refused(self.ann.request("POST", "/release", {"id": made["id"]}), 403)
        self.refused(self.stranger.request("POST", "/release", {"id": made["id"]}), 401)
        self.refused(self.mark.request("POST", "/release", {"id": 5}), 400)
        self.refused(self.mark.request("POST", "/release", {}), 400)
        self.refused(self.mark.request("POST", "/release", {"id": "\x00'; DROP TABLE"}), 404)


class Listing(RegistryCase):
    def test_the_list_has_the_callers_own_oldest_first(self) -> None:
        mine = [self.mark.register(claim(30, n))["id"] for n in range(5)]
        self.ann.register(claim(30, 9))
        for path in ("/registrations", "/auth/me/registrations"):
            listed = self.mark.request("GET", path).json["registrations"]
            self.assertEqual([one["id"] for one in listed], mine)
        self.assertTrue(all(re.fullmatch("mark@.*", one["owner"]) for one in listed))

    def test_a_long_list_comes_in_pages(self) -> None:
        target, listed, pages = "/registrations", list[str](), 0
        with (
            mock.patch("omp.protocols.mrs.registry.MAX_SPACES", 250),
            mock.patch("omp.protocols.mrs.registry._ROWS", 2),
            User.new(self.server.port, "pager") as pager,
        ):
            mine = [pager.register(claim(30, n))["id"] for n in range(7)]
            while target:
                answer = pager.request("GET", target)
                listed += [one["id"] for one in answer.json["registrations"]]
                pages += 1
                link = answer.headers.get("link", "")
                self.assertEqual(bool(link), "next_cursor" in answer.json)
                target = link.partition(">")[0].lstrip("<")
                if pages == 2:
                    pager.request("POST", "/release", {"id": mine[0]})
                    pager.request("POST", "/release", {"id": mine[-1]})
        self.assertEqual(listed, mine[:-1])
        self.assertGreater(pages, 2)

    def test_a_cursor_that_is_none_is_refused(self) -> None:
        for cursor in ("x", "AAAA", "%FF", "A" * 100):
            self.refused(self.mark.request("GET", f"/registrations?cursor={cursor}"), 400)
        self.assertEqual(self.mark.request("GET", "/registrations?cursor=").status, 200)


class Bounded(RegistryCase):
    environ: ClassVar[dict[str, str]] = {"MRS_MAX_REGISTRATIONS_PER_USER": "3"}

    def test_a_user_makes_a_bounded_number_of_registrations(self) -> None:
        made = [self.mark.register(claim(1, number)) for number in range(2)]
        made.append(self.mark.register({**claim(1, 2), "foad": True}))
        answer = self.mark.request("POST", "/register", claim(1, 3))
        self.refused(answer, 429, "3 registrations")
        self.refused(self.mark.request("POST", "/register", claim(1, 1)), 409)
        self.refused(self.mark.request("POST", "/register", {**claim(1, 3), "service_point": "x"}), 400)
        self.ann.register(claim(1, 3))
        for name in (made[0]["id"], made[2]["id"]):
            self.assertEqual(self.mark.request("PUT", f"/register/{name}", claim(2, 2, len(name))).status, 200)
            self.mark.request("POST", "/release", {"id": name})
        self.mark.register(claim(1, 4))
        self.mark.register(claim(1, 5))
        self.refused(self.mark.request("POST", "/register", claim(1, 6)), 429)

    def test_imported_ones_do_not_count(self) -> None:
        with User.new(self.server.port, "mover") as mover:
            owner = mover.request("GET", "/auth/me").json["id"]
            entry = {**claim(5, 5), "owner": owner, "version": 1, "created": TIME, "updated": TIME}
            names = [f"reg_imported{number}" for number in range(5)]
            entries = [{**entry, "id": name, "service_point": f"https://e.example/{name}"} for name in names]
            self.assertEqual(mover.request("POST", "/admin/import", {"registrations": entries}).status, 200)
            self.assertEqual(mover.request("PUT", f"/register/{names[0]}", claim(6, 6)).status, 200)
            self.assertEqual(mover.request("POST", "/release", {"id": names[1]}).status, 200)
            for number in range(3):
                mover.register(claim(7, number))
            self.refused(mover.request("POST", "/register", claim(7, 4)), 429)

    def test_no_bound_where_it_is_zero(self) -> None:
        with running_server({"MRS_MAX_REGISTRATIONS_PER_USER": "0"}) as server, User.new(server.port, "a") as user:
            for number in range(5):
                user.register(claim(1, number))


class Searching(RegistryCase):
    environ: ClassVar[dict[str, str]] = {"MRS_MAX_RESULTS": "5", "MRS_MAX_RADIUS": "50000"}

    def test_a_hit_has_the_members_of_the_specification(self) -> None:
        made = self.mark.register(claim(40, 40))
        answer = self.stranger.search(40, 40.001, 100)
        self.assertEqual(list(answer), ["status", "results", "referrals"])
        (hit,) = answer["results"]
        self.assertAlmostEqual(hit.pop("distance"), 85.18, places=2)
        self.assertNotIn("owner", hit)
        self.assertEqual(hit, {name: made[name] for name in hit})
        self.assertLessEqual({"id", "space", "service_point", "foad"}, hit.keys())

    def test_smallest_first_then_nearest_and_cut_at_the_limit(self) -> None:
        for number in range(8):
            self.mark.register(claim(41, 41 + number * 1e-4, 10 if number % 2 else 1000))
        hits = self.mark.search(41, 41, 2000)["results"]
        self.assertEqual([hit["space"]["radius"] for hit in hits], [10, 10, 10, 10, 1000])
        distances = [hit["distance"] for hit in hits]
        self.assertEqual(distances[:4], sorted(distances[:4]))
        self.assertEqual(distances[4], 0)

    def test_a_sphere_is_found_up_to_the_sum_of_both_radii(self) -> None:
        self.mark.register(claim(42, 42, 100))
        metres = 6_371_000 * 3.141592653589793 / 180 * 0.01  # along a meridian
        self.assertEqual(self.mark.search(42.01, 42, metres - 100.001)["results"], [])
        self.assertEqual(len(self.mark.search(42.01, 42, metres - 99.999)["results"]), 1)

    def test_across_the_antimeridian_and_at_the_poles(self) -> None:
        self.mark.register(claim(0.5, 179.999, 50))
        self.assertEqual(len(self.mark.search(0.5, -179.999, 200)["results"]), 1)
        self.mark.register(claim(89.999, 10, 50))
        self.assertEqual(len(self.mark.search(89.999, -170, 200)["results"]), 1)
        self.mark.register(claim(-90, 0, 50))
        self.assertEqual(self.mark.search(-90, 77, 1)["results"][0]["distance"], 0)

    def test_a_polygon_is_found_from_inside_and_from_near_its_edge(self) -> None:
        self.mark.register({**claim(), "space": {"type": "polygon", "vertices": CORNERS}})
        self.assertEqual(self.mark.search(50.004, 10.008, 1)["results"][0]["distance"], 0)
        (hit,) = self.mark.search(49.999, 10.005, 120)["results"]
        self.assertAlmostEqual(hit["distance"], 111.2, delta=0.2)
        self.assertEqual(self.mark.search(49.999, 10.005, 110)["results"], [])

    def test_bad_searches_are_400(self) -> None:
        for body, word in (
            (around(0, 0, 0), "range"),
            (around(0, 0, -1), "range"),
            (around(0, 0, 50_001), "50,000"),
            (around(91, 0, 1), "lat"),
            (around(0, -180.1, 1), "lon"),
            ({"location": {"lat": 0, "lon": 0}}, "range"),
            ({"location": [0, 0], "range": 1}, "location"),
            ({"location": {"lat": True, "lon": 0}, "range": 1}, "lat"),
            ({"location": {"lat": 0, "lon": 0, "ele": "up"}, "range": 1}, "ele"),
            ({"location": {"lat": 0, "lon": 0}, "range": 10**308 * 9}, "double"),
            (5, ""),
        ):
            with self.subTest(body=body):
                self.refused(self.stranger.request("POST", "/search", body), 400, word)


class TheServer(RegistryCase):
    environ: ClassVar[dict[str, str]] = {
        "MRS_SERVER_URL": "https://Owen.iz.net/",
        "MRS_ADMIN_EMAIL": "owen@iz.net",
        "MRS_AUTHORITATIVE_REGIONS": json.dumps([OPERA]),
        "MRS_BOOTSTRAP_PEERS": "https://sydney.mrs.example, https://owen.iz.net",
    }

    def test_well_known(self) -> None:
        self.assertEqual(
            self.stranger.request("GET", "/.well-known/mrs").json,
            {
                "mrs_version": "0.5.0",
                "server": "https://owen.iz.net",
                "operator": "owen@iz.net",
                "authoritative_regions": [OPERA],
                "known_peers": [{"server": "https://sydney.mrs.example", "hint": None}],
                "capabilities": {"geometry_types": ["sphere", "polygon"], "max_radius": 1_000_000},
            },
        )

    def test_identities_and_origins_are_the_configured_ones(self) -> None:
        made = self.mark.register(claim())
        self.assertEqual((made["owner"], made["origin_server"]), ("mark@owen.iz.net", "https://owen.iz.net"))

    def test_pages_of_every_origin_may_call(self) -> None:
        answer = self.stranger.request("POST", "/search", around(0, 0, 1), {"Origin": "https://map.example"})
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        preflight = self.stranger.request("OPTIONS", "/register", headers={"Origin": "https://map.example"})
        self.assertEqual((preflight.status, preflight.headers["access-control-allow-origin"]), (204, "*"))
        self.assertIn("POST", preflight.headers["access-control-allow-methods"])
        self.assertIn("Authorization", preflight.headers["access-control-allow-headers"])
        self.assertEqual(self.refusal_headers()["access-control-allow-origin"], "*")
        for headers in (answer.headers, self.refusal_headers()):
            exposed = headers["access-control-expose-headers"].split(", ")
            self.assertLessEqual({"Retry-After", "WWW-Authenticate"}, set(exposed))

    def refusal_headers(self) -> dict[str, str]:
        return self.stranger.request("POST", "/register", {}).headers

    def test_unknown_paths_and_methods_are_refused_in_this_protocols_shape(self) -> None:
        self.refused(self.stranger.request("GET", "/sync/nothing"), 404)
        answer = self.stranger.request("GET", "/search")
        self.refused(answer, 405)
        self.assertIn("POST", answer.headers["allow"])


class Refusals(unittest.TestCase):
    def test_every_refusal_of_the_models_has_its_status(self) -> None:
        # A failed fetch is told to the caller as the reason of another refusal, never by itself.
        self.assertEqual(set(RegistryError.__subclasses__()) - {FetchError}, set(REFUSALS) - {BadCursor})


if __name__ == "__main__":
    unittest.main()
