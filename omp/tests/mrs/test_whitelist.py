"""Who may make an account, where the operator lists the addresses (§3.6, §12.5)."""

from __future__ import annotations

import tempfile
import threading
import unittest
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from omp.protocols.mrs.whitelist import Whitelist
from omp.store.memory import MemoryStore
from omp.tests.harness import Answer, command, running_server
from omp.tests.mrs.parties import RegistryCase, User

ASKED_FOR = {"MRS_REGISTRATION_REQUIRES_WHITELIST": "1"}


def account(user: User, name: str, email: Any = ...) -> Answer:
    """The answer to a request for an account."""
    body = {"username": name, "password": "secret"}
    return user.request("POST", "/auth/register", body if email is ... else {**body, "email": email})


class Asked(unittest.TestCase):
    """A server that asks for a listed address."""

    def test_only_whoever_names_a_listed_address_gets_an_account(self) -> None:
        with running_server(ASKED_FOR) as server, User(server.port) as user:
            listed = user.request("POST", "/admin/whitelist", {"email": " Mark@Example.COM "})
            self.assertEqual((listed.status, listed.json), (201, {"status": "added", "added": 1}))
            for email in (..., None, "", "eve@example.com", "mark@example.org", "mark", "mark@example.com.evil"):
                answer = account(user, "eve", email)
                self.assertEqual((answer.status, list(answer.json)), (403, ["detail"]), email)
                self.assertIn("not authorised", answer.json["detail"])
            for name, email in (("mark", "mark@example.com"), ("again", "\tMARK@example.com\n")):
                made = account(user, name, email)
                self.assertEqual((made.status, list(made.json)), (201, ["token", "expires_at"]))
                user.token = made.json["token"]
                self.assertTrue(user.request("GET", "/auth/me").json["is_local"])

    def test_refusals_count_and_do_not_tell_which_names_are_taken(self) -> None:
        with running_server(ASKED_FOR) as server, User(server.port) as user:
            user.request("POST", "/admin/whitelist", {"email": "a@b.example"})
            self.assertEqual(account(user, "mark", "a@b.example").status, 201)
            tried = [account(user, name, f"{number}@guess.example") for number, name in enumerate(["mark", "free"] * 5)]
            self.assertEqual([answer.status for answer in tried], [403] * 9 + [429])
            self.assertEqual(tried[0].body, tried[1].body)

    def test_who_has_an_account_keeps_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            storage = f"sqlite:{Path(folder) / 'mrs.db'}"
            with running_server(storage=storage) as server, User(server.port) as user:
                self.assertEqual(account(user, "early").status, 201)
                user.request("POST", "/admin/whitelist", {"emails": ["a@b.example", "c@d.example"]})
            with running_server(ASKED_FOR, storage) as server, User(server.port) as user:
                self.assertEqual(account(user, "late", "c@d.example").status, 201)
                self.assertEqual(user.request("DELETE", "/admin/whitelist/c@d.example").status, 200)
                self.assertEqual(account(user, "later", "c@d.example").status, 403)
                for name in ("early", "late"):
                    answer = user.request("POST", "/auth/login", {"username": name, "password": "secret"})
                    self.assertEqual(answer.status, 200)
            self.assertEqual(command("store", "verify", storage.removeprefix("sqlite:"))[0], 0)


class Listing(RegistryCase):
    """The operator's routes, of a server that does not ask."""

    environ: ClassVar[dict[str, str]] = {}

    def listed(self) -> list[str]:
        emails = self.stranger.request("GET", "/admin/whitelist").json["emails"]
        for one in emails:
            self.assertRegex(one["added_at"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")
            self.assertEqual(list(one), ["email", "added_at"])
        return [one["email"] for one in emails]

    def add(self, **body: Any) -> Answer:
        return self.stranger.request("POST", "/admin/whitelist", body)

    def remove(self, email: str) -> Answer:
        return self.stranger.request("DELETE", f"/admin/whitelist/{quote(email, safe='@')}")

    def tearDown(self) -> None:
        for email in self.listed():
            self.remove(email)

    def test_addresses_are_listed_once_and_sorted(self) -> None:
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.add(emails=["b@x.example", "A@x.example", "a@X.example "]).json["added"], 2)
        self.assertEqual(self.add(email="c@x.example", emails=["b@x.example"]).json["added"], 1)
        again = self.add(email="B@x.example")
        self.assertEqual((again.status, again.json), (201, {"status": "added", "added": 0}))
        self.assertEqual(self.listed(), ["a@x.example", "b@x.example", "c@x.example"])

    def test_one_that_is_no_address_is_400_and_adds_none(self) -> None:
        bad: tuple[Any, ...] = ("nobody", "", " ", "a b@c.example", "a@b\x00", "a@" + "x" * 253, 5, None)
        for email in bad:
            with self.subTest(email=email):
                self.refused(self.add(email=email), 400)
                self.refused(self.add(emails=["good@x.example", email]), 400)
                self.refused(self.add(email="good@x.example", emails=[email]), 400)
        self.refused(self.add(), 400, "email")
        self.refused(self.add(emails=[]), 400, "email")
        self.refused(self.add(emails=["a@x.example"] * 1001), 400)
        self.refused(self.stranger.request("POST", "/admin/whitelist", []), 400)
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.add(email="a@" + "x" * 252).json["added"], 1)

    def test_one_is_removed_however_it_is_written(self) -> None:
        self.add(emails=["ä+b@x.example", "a/b@x.example"])
        removed = self.remove(" Ä+B@X.example")
        self.assertEqual((removed.status, removed.json), (200, {"status": "removed", "email": "ä+b@x.example"}))
        self.refused(self.remove("ä+b@x.example"), 404)
        self.refused(self.remove("nobody"), 404)
        self.assertEqual(self.remove("a/b@x.example").status, 200)

    def test_nobody_is_asked_for_an_address_and_the_list_is_not_exported(self) -> None:
        self.add(email="a@x.example")
        with User(self.server.port) as user:
            self.assertEqual(account(user, "unlisted", "eve@example.com").status, 201)
            self.assertNotIn(b"a@x.example", user.request("GET", "/admin/export").body)

    def test_only_the_operator_sees_and_changes_the_list(self) -> None:
        with running_server({"OMP_ADMIN_TOKEN": "t0p-secret"}) as server, User(server.port) as user:
            for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/a@x.example")):
                self.refused(user.request(method, f"/admin/whitelist{path}"), 403)
            user.token = "t0p-secret"
            self.assertEqual(user.request("GET", "/admin/whitelist").json, {"emails": []})


class AtOnce(unittest.TestCase):
    def test_each_address_counts_once_however_many_add_it(self) -> None:
        whitelist = Whitelist(MemoryStore(), lambda: 1_800_000_000.0)
        counts: list[int] = []
        threads = [
            threading.Thread(target=lambda: counts.append(whitelist.add(f"{n}@x.example" for n in range(50))))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((sum(counts), len(whitelist.listed())), (50, 50))


if __name__ == "__main__":
    unittest.main()
