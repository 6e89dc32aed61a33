"""The made-up world of ``server.py --demo``: it is always the same, and has what the explorer is to show."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock
from urllib.parse import quote
from xml.etree import ElementTree

import omp
from omp.explore.demo import diary, household
from omp.explore.demo.household import keys_of
from omp.rules import engines
from omp.rules.engines import CryptographyMissing, secret_keys
from omp.tests.explore import picture
from omp.tests.harness import Client
from omp.web.settings import SettingError


def cryptography_is_missing() -> Any:
    """As on a bare interpreter."""
    missing = mock.Mock(side_effect=CryptographyMissing)
    return mock.patch.multiple(engines, cryptography_engine=missing, secret_keys=missing)


class World(unittest.TestCase):
    """What a client finds on the server."""

    server: ClassVar[omp.Running]

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = cls.enterClassContext(omp.running(demo=True))

    def setUp(self) -> None:
        self.client = self.enterContext(Client(self.server.port))
        self.guide = self.ask("/explore/demo.json")
        self.log = f"/logs/{quote(self.guide['log'], safe='')}"

    def ask(self, path: str, body: Any = ..., **headers: str) -> Any:
        """The JSON that answers a request."""
        answer = self.client.request("GET" if body is ... else "POST", path, body, headers)
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def test_the_log_has_a_fork_void_operations_and_one_that_waits(self) -> None:
        state = self.ask(f"{self.log}/state")
        self.assertGreater(state["ops"], 50)
        self.assertEqual([len(fork["ops"]) for fork in state["forks"]], [2])
        self.assertEqual(len(state["void"]), 4)
        self.assertEqual(self.ask(f"{self.log}/pending")["count"], 1)
        self.assertGreater(len(state["inferences"]), 2)

    def test_a_refutation_taints_three_claims_and_a_correction_replaces_one(self) -> None:
        claims = self.ask(f"{self.log}/claims?limit=1000")["items"]
        valid = [claim for claim in claims if claim["status"] != "void"]
        tainted = {claim["body"]["predicate"] for claim in valid if claim["taint"]}
        self.assertEqual(tainted, {"travel.flight", "travel.taxi", "calendar.alarm"})
        corrected = [claim for claim in valid if claim["status"] == "superseded"]
        self.assertEqual([claim["body"]["object"]["day"] for claim in corrected], ["Tuesday"])
        self.assertEqual(corrected[0]["replacement"], self.guide["tour"][-1]["claim"])

    def test_the_first_operation_after_the_offline_day_merges_both_devices(self) -> None:
        merge = self.ask(f"{self.log}/operations/{quote(self.guide['tour'][0]['op'])}")
        self.assertEqual(len(merge["deps"]) + (merge["prev"] is not None), 3)

    def test_the_tour_leads_to_what_it_says(self) -> None:
        kinds = [
            self.ask(f"{self.log}/operations/{quote(stop.get('op') or stop['claim'])}")["type"]
            for stop in self.guide["tour"]
        ]
        self.assertEqual(
            kinds, ["inference-call", "claim-assert", "revocation", "claim-assert", "refutation", "claim-assert"]
        )

    def test_thirty_places_in_three_cities_and_some_across_the_antimeridian(self) -> None:
        places = self.ask("/sync/snapshot?limit=1000")["registrations"]
        of = {city: sum(f"/{city}/" in place["service_point"] for place in places) for city in self.cities}
        self.assertEqual(of, {"vienna": 10, "sydney": 10, "nairobi": 10})
        found = self.ask("/search", {"location": {"lat": -16.8, "lon": -180}, "range": 100_000})
        self.assertEqual({place["space"]["type"] for place in found["results"]}, {"sphere", "polygon"})
        (referral,) = found["referrals"]
        with Client(int(referral["server"].rpartition(":")[2])) as peer:
            body = {"location": {"lat": -16.8, "lon": 180}, "range": 100_000}
            self.assertGreater(len(peer.request("POST", "/search", body).json["results"]), 1)

    cities = ("vienna", "sydney", "nairobi")

    def test_objects_some_of_which_expire(self) -> None:
        items = self.ask("/objects?limit=1000")["items"]
        self.assertEqual(len({item["namespace"] for item in items}), 4)
        self.assertGreater(sum("omp.ttl_sec" in item["metadata"] for item in items), 2)

    def test_a_vault_with_two_members_after_a_third_was_removed(self) -> None:
        vault = self.guide["vault"]
        self.assertEqual(vault["keys"], {name: keys_of(name) for name in ("Ann", "Ben")})
        path = f"/v1/repos/{vault['repository']}/pull"
        token = household.log_in(_Asking(self), "Ben")  # type: ignore[arg-type]
        body = {"repoId": vault["repository"], "knownPayloadVersion": -1}
        manifest = self.ask(path, body, Authorization=f"Bearer {token}")["manifest"]
        self.assertEqual((len(manifest["members"]), manifest["keyEpoch"]), (2, 1))

    def test_a_profile_with_messages(self) -> None:
        bearer = {"Authorization": f"Bearer {self.guide['profile']}"}
        self.assertEqual(len(self.ask("/api/v1/messages", **bearer)), 5)
        self.assertEqual(self.ask("/api/v1/config", **bearer)["effective_config"]["model"], "Kimi-K2")


class _Asking:
    """A visitor over a socket."""

    def __init__(self, case: World) -> None:
        self._case = case

    def ask(self, method: str, target: str, body: Any) -> Any:
        """As ``Visitor.ask``."""
        return self._case.ask(target, body)


class Start(unittest.TestCase):
    """``--demo`` as a setting."""

    def test_it_says_where_to_look(self) -> None:
        with omp.running(demo=True) as server:
            self.assertEqual(server.notices[-1], f"A small world to look at, in memory: {server.url}/explore")

    def test_it_is_the_same_each_time_and_without_cryptography(self) -> None:
        states = []
        for around in (mock.MagicMock(), cryptography_is_missing()):
            with around, omp.running(demo=True) as server, Client(server.port) as client:
                states.append(client.request("GET", "/logs").json)
        self.assertEqual(states[0], states[1])

    def test_it_needs_no_data_of_anybody(self) -> None:
        cases: list[tuple[Mapping[str, Any], str]] = [
            ({"storage": "sqlite:/tmp/demo.db"}, "leave --storage"),
            ({"sig_mode": "strict"}, "no --sig-mode strict"),
        ]
        for flags, words in cases:
            with self.subTest(flags), self.assertRaisesRegex(SettingError, words):
                omp.running(demo=True, **flags)
        self.assertFalse(Path("/tmp/demo.db").exists())

    def test_settings_that_forbid_it_are_told_and_leave_nothing_open(self) -> None:
        with self.assertRaisesRegex(SettingError, "cannot be made with these settings: POST /auth/register"):
            omp.running({"MRS_REGISTRATION_REQUIRES_WHITELIST": "1"}, demo=True)

    def test_it_works_with_a_token_of_the_operator(self) -> None:
        with omp.running({"OMP_ADMIN_TOKEN": "secret"}, demo=True) as server:
            self.assertIn("/explore", server.notices[-1])

    def test_without_it_there_is_nothing(self) -> None:
        with omp.running() as server, Client(server.port) as client:
            self.assertEqual(client.request("GET", "/explore/demo.json").status, 404)
            self.assertEqual(client.request("GET", "/logs").json["count"], 0)
            self.assertNotIn(b"data-demo", client.request("GET", "/explore").body)


class Files(unittest.TestCase):
    def test_the_requests_of_the_household_are_what_its_maker_makes(self) -> None:
        try:
            secret_keys()
        except CryptographyMissing as missing:
            self.skipTest(str(missing))
        from omp.tests.explore.household import made

        self.assertEqual(household.FILE.read_text(encoding="utf-8"), made())

    def test_the_picture_is_what_its_maker_draws(self) -> None:
        self.assertEqual(picture.FILE.read_text(encoding="utf-8"), picture.made())
        ElementTree.fromstring(picture.made())

    def test_every_device_agrees_on_what_it_knows(self) -> None:
        ann = diary.told()
        self.assertEqual(ann.laptop.replica.heads(), ann.restored.replica.heads())


if __name__ == "__main__":
    unittest.main()
