"""What an import refuses and what it forgives, and whose the names are that it brings (§3.6, §12.4)."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from omp.protocols.mrs.accounts import Accounts, OwnsRegistrations, Throttle
from omp.protocols.mrs.imports import MAX_NAMED
from omp.protocols.mrs.registration import read_claim
from omp.protocols.mrs.registry import Registry
from omp.store.memory import MemoryStore
from omp.store.port import Reader
from omp.tests.harness import Answer, command, running_server
from omp.tests.mrs.parties import RegistryCase, User, claim

URL = "https://owen.iz.net"
WHEN = "2026-03-07T00:00:00Z"
SPHERE = {"type": "sphere", "center": {"lat": 10, "lon": 20}, "radius": 5}
TOKEN = "only-for-this-test"
SETTINGS = {"MRS_SERVER_URL": URL, "OMP_ADMIN_TOKEN": TOKEN}


def entry(number: int = 0, /, **changes: Any) -> dict[str, Any]:
    """A registration of Mark's, as another server exported it."""
    fields = {"id": f"reg_{number}", "owner": "mark@owen.iz.net", "space": SPHERE, "service_point": "https://a.example"}
    return {**fields, "created": WHEN, "updated": WHEN, **changes}


def sent(user: User, *registrations: Any) -> Answer:
    return user.request("POST", "/admin/import", {"registrations": list(registrations)})


class Documents(RegistryCase):
    environ = {"MRS_SERVER_URL": URL}  # noqa: RUF012 - a constant

    def setUp(self) -> None:
        self.before = self.exported()

    def exported(self) -> Any:
        document = self.stranger.request("GET", "/admin/export").json
        document.pop("exported_at")
        return document

    def refusal(self, document: Any) -> str:
        """What is said of a document of which nothing is taken in."""
        sentence = self.refused(self.stranger.request("POST", "/admin/import", document), 400)
        self.assertEqual(self.exported(), self.before)
        return sentence

    def test_a_document_without_a_list_that_is_known_is_refused(self) -> None:
        documents: tuple[Any, ...] = ({}, {"server": URL, "mrs_version": "0.5.0"}, {"registration": entry()}, [], 7)
        for document in documents:
            self.assertIn("registrations, tombstones and peers", self.refusal(document))

    def test_a_list_that_would_be_lost_is_refused(self) -> None:
        documents: tuple[dict[str, Any], ...] = (
            {"registration": []},
            {"registration": [entry()], "peers": []},
            {"registrations": [], "Tombstones": []},
        )
        for document in documents:
            sentence = self.refusal(document)
            self.assertIn(next(name for name in document if name in ("registration", "Tombstones")), sentence)
            self.assertIn("registrations, tombstones and peers", sentence)
        self.assertLess(len(self.refusal({"x" * 10_000: [], "peers": []})), 300)

    def test_what_is_known_must_be_a_list(self) -> None:
        values: tuple[Any, ...] = ({}, "x", 5, False)
        for name in ("registrations", "tombstones", "peers"):
            for value in values:
                self.assertIn(f"{name} must be a list", self.refusal({name: value}))

    def test_one_list_is_enough_and_other_members_are_not_looked_at(self) -> None:
        documents: tuple[dict[str, Any], ...] = (
            {"peers": []},
            {"registrations": None},
            {"registrations": [], "tombstones": None, "peers": None, "exported_at": 5, "operator": {"list": []}},
        )
        for document in documents:
            answer = self.stranger.request("POST", "/admin/import", document)
            self.assertEqual((answer.status, answer.json["status"]), (200, "imported"), document)

    def test_bad_entries_are_named_together(self) -> None:
        document = {
            "peers": [{"server_url": "https://good.example"}, {"server_url": "nowhere"}, 7],
            "registrations": [
                entry(0),
                entry(1, owner="nobody"),
                entry(2, space={**SPHERE, "radius": -1}),
                {name: value for name, value in entry(3).items() if name != "created"},
                entry(4, updated="yesterday"),
            ],
            "tombstones": [{"origin_id": "reg_gone", "version": 1, "deleted_at": WHEN}, {"origin_id": "reg_gone"}],
        }
        told = self.refusal(document).split("; ")
        places = [sentence.partition(": ")[0] for sentence in told]
        self.assertEqual(
            places,
            [*(f"registrations.{number}" for number in (1, 2, 3, 4)), "tombstones.1", "peers.1", "peers.2"],
        )
        self.assertIn("owner must match", told[0])
        self.assertIn("space.radius must be", told[1])
        self.assertEqual(told[2], "registrations.3: created is required")
        self.assertEqual(told[6], "peers.2: it must be an object")

    def test_of_many_bad_entries_some_are_named_and_the_rest_is_not_read(self) -> None:
        bad = [entry(number, owner="nobody") for number in range(1000)]
        with mock.patch("omp.protocols.mrs.imports._without_nulls", wraps=lambda value: value) as read:
            told = self.refusal({"registrations": bad, "peers": [{}]}).split("; ")
        self.assertEqual(read.call_count, MAX_NAMED)
        self.assertEqual((len(told), told[-1]), (MAX_NAMED + 1, "the entries after these were not looked at"))

    def test_null_is_absent_wherever_it_stands(self) -> None:
        polygon = {"type": "polygon", "vertices": [{"lat": 0, "lon": 0, "ele": None}, {"lat": 0, "lon": 1}]}
        polygon["vertices"] += [{"lat": 1, "lon": 0, "name": None}]  # type: ignore[operator]
        sphere: dict[str, Any] = {**SPHERE, "altitude": None, "height": None, "vertices": None}
        registrations = [
            entry(1, space={**sphere, "center": {"lat": 10, "lon": 20, "ele": None}}, foad=None, version=None),
            entry(2, space={**polygon, "height": None, "center": None, "radius": None}, origin_server=None),
        ]
        document = {
            "registrations": registrations,
            "tombstones": [{"origin_server": None, "origin_id": "reg_gone", "version": 2, "deleted_at": WHEN}],
            "peers": [{"server_url": "https://p.example", "is_configured": None, "authoritative_regions": [sphere]}],
        }
        with running_server(self.environ) as server, User(server.port) as operator:
            self.assertEqual(operator.request("POST", "/admin/import", document).status, 200)
            kept = operator.request("GET", "/admin/export").json
        spaces = [one["space"] for one in kept["registrations"]]
        centre = {"lat": 10, "lon": 20, "ele": 0}
        vertices = [{"lat": 0, "lon": 0}, {"lat": 0, "lon": 1}, {"lat": 1, "lon": 0}]
        self.assertEqual(
            spaces, [{"type": "sphere", "center": centre, "radius": 5}, {"type": "polygon", "vertices": vertices}]
        )
        self.assertEqual(kept["tombstones"][0]["origin_server"], URL)
        self.assertEqual(kept["peers"][0]["is_configured"], False)
        self.assertEqual(kept["peers"][0]["authoritative_regions"], [{**SPHERE, "center": centre}])

    def test_null_for_what_is_required_is_missing_and_a_null_entry_is_none(self) -> None:
        for name in ("id", "owner", "space", "created", "updated"):
            self.assertIn(
                f"registrations.0: {name} is required", self.refusal({"registrations": [entry(**{name: None})]})
            )
        for space in (
            {**SPHERE, "radius": None},
            {**SPHERE, "type": None},
            {**SPHERE, "center": {"lat": 1, "lon": None}},
        ):
            self.assertIn("registrations.0: space", self.refusal({"registrations": [entry(space=space)]}))
        self.assertIn("registrations.0: it must be an object", self.refusal({"registrations": [None]}))
        vertices = [{"lat": 0, "lon": 0}, None, {"lat": 1, "lon": 0}]
        self.assertIn(
            "vertices.1", self.refusal({"registrations": [entry(space={"type": "polygon", "vertices": vertices})]})
        )

    def test_whoever_registers_is_forgiven_no_null(self) -> None:
        self.refused(self.mark.request("POST", "/register", {**claim(), "space": {**SPHERE, "center": None}}), 400)
        centre = {"lat": 1, "lon": 1, "ele": None}
        self.refused(self.mark.request("POST", "/register", {**claim(), "space": {**SPHERE, "center": centre}}), 400)


class Names(unittest.TestCase):
    """The name of an owner who has no account yet is kept for the operator to give."""

    def account(self, user: User, name: str = "mark", token: str = "", **fields: str) -> Answer:
        """The answer to whoever bears `token` and asks for an account."""
        user.token = token
        return user.request("POST", "/auth/register", {"username": name, "password": "secret"}, fields)

    def refused(self, answer: Answer) -> None:
        self.assertEqual((answer.status, list(answer.json)), (409, ["detail"]))
        self.assertIn("The username mark owns registrations", answer.json["detail"])
        self.assertIn("operator", answer.json["detail"])

    def test_a_stranger_does_not_get_it_and_the_operator_does(self) -> None:
        with running_server(SETTINGS) as server, User(server.port, TOKEN) as user:
            self.assertEqual(sent(user, entry(), entry(1, owner="marka@owen.iz.net")).status, 200)
            for token in ("", "guessed", self.account(user, "ann").json["token"]):
                self.refused(self.account(user, token=token))
            for free in ("mar", "markab", "Mark", "Marka"):
                self.assertEqual(self.account(user, free).status, 201, free)
            made = self.account(user, token=TOKEN)
            self.assertEqual(made.status, 201)
            user.token = made.json["token"]
            (kept,) = user.request("GET", "/registrations").json["registrations"]
            self.assertEqual(kept["id"], "reg_0")
            self.assertEqual(user.request("PUT", "/register/reg_0", claim(1, 1)).status, 200)
            self.assertEqual(self.account(user, token=TOKEN).status, 400, "now it is taken")

    def test_without_a_token_the_operator_is_whoever_is_on_this_machine(self) -> None:
        with running_server({"MRS_SERVER_URL": URL}) as server, User(server.port) as user:
            sent(user, entry())
            for fields in ({"X-Forwarded-For": "192.0.2.7"}, {"Origin": "https://evil.example"}, {"Via": "1.1 p"}):
                self.refused(self.account(user, **fields))
            self.assertEqual(self.account(user).status, 201)

    def test_copies_of_what_originates_elsewhere_have_owners_too(self) -> None:
        with running_server(SETTINGS) as server, User(server.port, TOKEN) as user:
            sent(user, entry(origin_server="https://elsewhere.example"))
            self.refused(self.account(user))

    def test_a_name_is_of_one_domain(self) -> None:
        with running_server(SETTINGS) as server, User(server.port, TOKEN) as user:
            sent(user, entry(owner="mark@elsewhere.example"))
            self.assertEqual(self.account(user).status, 201)

    def test_a_name_whose_last_registration_was_released_is_free(self) -> None:
        with running_server(SETTINGS) as server, User(server.port, TOKEN) as user:
            sent(user, entry())
            stone = {"origin_id": "reg_0", "version": 2, "deleted_at": WHEN}
            self.refused(self.account(user))
            user.token = TOKEN
            self.assertEqual(user.request("POST", "/admin/import", {"tombstones": [stone]}).status, 200)
            self.assertEqual(self.account(user).status, 201)

    def test_who_has_an_account_keeps_it(self) -> None:
        with running_server(SETTINGS) as server, User.new(server.port, "mark") as mark, User(server.port) as operator:
            operator.token = TOKEN
            self.assertEqual(sent(operator, entry()).status, 200)
            body = {"username": "mark", "password": "secret"}
            self.assertEqual(mark.request("POST", "/auth/login", body).status, 200)
            self.assertEqual(len(mark.request("GET", "/registrations").json["registrations"]), 1)

    def test_a_listed_address_gives_nobody_an_owners_name(self) -> None:
        settings = {**SETTINGS, "MRS_REGISTRATION_REQUIRES_WHITELIST": "1"}
        with running_server(settings) as server, User(server.port, TOKEN) as user:
            sent(user, entry())
            user.request("POST", "/admin/whitelist", {"email": "eve@a.example"})
            body = {"username": "mark", "password": "secret"}
            self.assertEqual(user.request("POST", "/auth/register", body).status, 403, "the operator names one too")
            user.token = ""
            self.assertEqual(user.request("POST", "/auth/register", body).status, 403)
            self.refused(user.request("POST", "/auth/register", {**body, "email": "eve@a.example"}))

    def test_it_is_kept_over_a_restart(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            storage = f"sqlite:{Path(folder) / 'mrs.db'}"
            with running_server(SETTINGS, storage) as server, User(server.port, TOKEN) as user:
                sent(user, entry())
                self.refused(self.account(user))
            with running_server(SETTINGS, storage) as server, User(server.port) as user:
                self.refused(self.account(user))
                self.assertEqual(self.account(user, token=TOKEN).status, 201)
            with running_server(SETTINGS, storage) as server, User(server.port) as user:
                login = user.request("POST", "/auth/login", {"username": "mark", "password": "secret"})
                user.token = login.json["token"]
                self.assertEqual(len(user.request("GET", "/registrations").json["registrations"]), 1)
            self.assertEqual(command("store", "verify", storage.removeprefix("sqlite:"))[0], 0)

    def test_an_import_while_the_password_is_hashed_is_in_time(self) -> None:
        store, owned = MemoryStore(), set[str]()

        def hashing(password: str, salt: bytes) -> str:
            owned.add("mark")
            return password

        def clock() -> float:
            return 1_800_000_000.0

        accounts = Accounts(
            store, clock, bytes, Throttle(store, clock), 3600, owns=lambda tx, username: username in owned
        )
        with mock.patch("omp.protocols.mrs.accounts.hash_password", hashing):
            with self.assertRaises(OwnsRegistrations):
                accounts.register("mark", "secret", None, "192.0.2.1")
            self.assertIsNone(accounts.account("mark"))
            accounts.register("mark", "secret", None, "192.0.2.1", by_operator=True)

    def test_whose_a_name_is_costs_one_row_however_much_it_owns(self) -> None:
        store = MemoryStore()
        registry = Registry(store, lambda: 1_800_000_000.0, iter_bytes(), URL)
        for number in range(200):
            registry.register(f"user{number % 2}@owen.iz.net", read_claim(claim(0, number / 10)))
        taken: list[bytes] = []
        with store.read() as tx:
            counting = mock.Mock(wraps=tx)
            counting.scan = lambda *words, **options: counted(tx, taken, *words, **options)
            self.assertTrue(registry.owns(counting, "user1@owen.iz.net"))
            self.assertEqual(len(taken), 1)
            self.assertFalse(registry.owns(counting, "user@owen.iz.net"))
            self.assertEqual((len(taken), counting.get.call_count), (1, 0))

    def test_the_command_line_makes_it_as_the_operator(self) -> None:
        with tempfile.TemporaryDirectory() as folder, running_server(SETTINGS) as server:
            with User(server.port, TOKEN) as user:
                sent(user, entry())
            secret = Path(folder) / "operator.token"
            secret.write_text(TOKEN + "\n")
            words = ("places", "account", "mark", "--server", server.url)
            at_home = {"MRS_PASSWORD": "secret", "OMP_SERVER": ""}
            with mock.patch.dict("os.environ", at_home):
                self.assertIn("needs OMP_ADMIN_TOKEN", command(*words, "--as-operator")[2])
            with mock.patch.dict("os.environ", {**at_home, "OMP_ADMIN_TOKEN": TOKEN}):
                status, _, complaint = command(*words)
                self.assertEqual((status, "ask the operator" in complaint), (1, True), "the token is not sent unasked")
            with mock.patch.dict("os.environ", at_home):
                status, said, complaint = command(*words, "--admin-token-file", str(secret))
            self.assertEqual((status, complaint, said[:17]), (0, "", "export MRS_TOKEN="))


def iter_bytes() -> Any:
    """Random bytes that are none: another number at each call."""
    numbers = iter(range(10**6))
    return lambda size: next(numbers).to_bytes(size, "big")


def counted(tx: Reader, taken: list[bytes], *words: Any, **options: Any) -> Any:
    """A scan that notes each row that is taken."""
    for row, value in tx.scan(*words, **options):
        taken.append(row)
        yield row, value


if __name__ == "__main__":
    unittest.main()
