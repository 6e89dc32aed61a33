"""Peers and referrals; who may change them (§7, §12.1, §12.2)."""

from __future__ import annotations

import contextlib
import unittest
from collections.abc import Iterator
from typing import Any, ClassVar

from omp.tests.harness import Answer, running_server
from omp.tests.mrs.parties import OPERA, RegistryCase, User, claim


class Referrals(RegistryCase):
    environ: ClassVar[dict[str, str]] = {
        "MRS_SERVER_URL": "https://here.example",
        "MRS_BOOTSTRAP_PEERS": '["https://bootstrap.example/"]',
    }

    def peers(self, action: str, url: str, **more: Any) -> Answer:
        return self.stranger.request("POST", "/admin/peers", {"action": action, "server_url": url, **more})

    def referred(self, lat: float, lon: float, metres: float) -> list[str]:
        return [one["server"] for one in self.stranger.search(lat, lon, metres)["referrals"]]

    def test_configured_peers_are_always_referred_to(self) -> None:
        self.assertEqual(self.peers("add", "https://sydney.mrs.example", hint="Sydney").status, 200)
        referrals = self.stranger.search(10, 10, 1)["referrals"]
        self.assertIn({"server": "https://sydney.mrs.example", "hint": "Sydney"}, referrals)
        self.assertIn({"server": "https://bootstrap.example", "hint": None}, referrals)
        self.assertEqual(self.peers("remove", "https://SYDNEY.mrs.example:443/").status, 200)
        self.assertNotIn("https://sydney.mrs.example", self.referred(10, 10, 1))
        self.refused(self.peers("remove", "https://sydney.mrs.example"), 404)

    def test_learned_peers_are_referred_to_where_a_region_of_theirs_meets_the_search(self) -> None:
        more = {"is_configured": False, "authoritative_regions": [OPERA]}
        self.peers("add", "https://learned.example", **more)
        self.assertIn("https://learned.example", self.referred(-33.8568, 151.2175, 200))
        self.assertNotIn("https://learned.example", self.referred(-33.8568, 151.2175, 50))
        self.assertNotIn("https://learned.example", self.referred(0, 0, 1000))
        self.peers("add", "https://learned.example", is_configured=False, authoritative_regions=[])
        self.assertNotIn("https://learned.example", self.referred(-33.8568, 151.2175, 200))

    def test_never_to_this_server_itself(self) -> None:
        self.refused(self.peers("add", "https://HERE.example:443/"), 400, "itself")
        peer = {"server_url": "https://here.example", "hint": None, "is_configured": True}
        self.assertEqual(self.stranger.request("POST", "/admin/import", {"peers": [peer]}).status, 200)
        self.assertNotIn("https://here.example", self.referred(0, 0, 1))
        known = self.stranger.request("GET", "/.well-known/mrs").json["known_peers"]
        self.assertNotIn("https://here.example", [one["server"] for one in known])

    def test_adding_again_keeps_what_is_not_said(self) -> None:
        self.peers("add", "https://again.example", hint="first", authoritative_regions=[OPERA])
        self.peers("add", "https://again.example", last_seen="2026-01-01T00:00:00Z", is_configured=False)
        (peer,) = [one for one in self.listed() if one["server_url"] == "https://again.example"]
        self.assertEqual((peer["hint"], peer["is_configured"], peer["authoritative_regions"]), ("first", True, [OPERA]))

    def listed(self) -> list[Any]:
        peers: list[Any] = self.stranger.request("GET", "/admin/peers").json["peers"]
        return peers

    def test_configured_ones_are_listed_first(self) -> None:
        self.peers("add", "https://a-learned.example", is_configured=False)
        configured = [one["is_configured"] for one in self.listed()]
        self.assertEqual(configured, sorted(configured, reverse=True))

    def test_bad_changes_are_400(self) -> None:
        for body in (
            {},
            {"action": "add"},
            {"action": "rename", "server_url": "https://x.example"},
            {"action": "add", "server_url": "x.example"},
            {"action": "add", "server_url": "https://u:p@x.example"},
            {"action": "add", "server_url": "https://x.example", "hint": 5},
            {"action": "add", "server_url": "https://x.example", "authoritative_regions": [{"type": "cube"}]},
            {"action": "add", "server_url": "https://x.example", "last_seen": "now"},
        ):
            self.refused(self.stranger.request("POST", "/admin/peers", body), 400)


class AdminOverSockets(unittest.TestCase):
    def test_the_operators_token_is_asked_for(self) -> None:
        with running_server({"OMP_ADMIN_TOKEN": "t0p-secret"}) as server, User(server.port) as user:
            for method, path in (("GET", "/admin/peers"), ("GET", "/admin/export"), ("POST", "/admin/import")):
                self.assertEqual(user.request(method, path).status, 403)
            user.token = "t0p-secret"
            self.assertEqual(user.request("GET", "/admin/peers").json, {"peers": []})

    def test_a_request_through_a_proxy_is_not_the_operators(self) -> None:
        with running_server() as server, User(server.port) as user:
            self.assertEqual(user.request("GET", "/admin/export").status, 200)
            self.assertEqual(user.request("GET", "/admin/export", headers={"X-Forwarded-For": "1.2.3.4"}).status, 403)


class TwoServers(unittest.TestCase):
    """One refers to the other, a client follows."""

    def test_a_client_follows_a_referral(self) -> None:
        with two_servers() as (vienna, sydney):
            place = sydney.register({**claim(), "space": OPERA})
            answer = vienna.search(-33.8568, 151.2153, 100)
            self.assertEqual(answer["results"], [])
            (referral,) = answer["referrals"]
            port = int(referral["server"].rpartition(":")[2])
            with User(port) as follower:
                found = follower.search(-33.8568, 151.2153, 100)
            self.assertEqual([one["id"] for one in found["results"]], [place["id"]])


@contextlib.contextmanager
def two_servers() -> Iterator[tuple[User, User]]:
    """A user on each of two servers, the first of which knows the second."""
    with (
        running_server() as second,
        running_server({"MRS_BOOTSTRAP_PEERS": second.url}) as first,
        User.new(first.port, "mark") as one,
        User.new(second.port, "mark") as other,
    ):
        yield one, other


if __name__ == "__main__":
    unittest.main()
