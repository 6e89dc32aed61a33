"""Accounts, tokens, throttled logins, published keys, and who is the operator (§3, §8, §12.1)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from omp.protocols.mrs.accounts import AT_ONCE, Accounts, Throttle, TooManyLogins, hash_password
from omp.protocols.mrs.identity import NotTheOperator, require_admin
from omp.protocols.mrs.keys import KeyRing, key_document, usable_keys
from omp.protocols.mrs.routes import REFUSALS
from omp.protocols.mrs.schemas import RegistryError
from omp.rules.encodings import b64_decode, b64_encode, b64u_encode
from omp.rules.engines import CryptographyMissing, secret_keys
from omp.store import open_store
from omp.store.memory import MemoryStore
from omp.tests.harness import PATIENCE, running_server
from omp.tests.mrs.parties import RegistryCase, User
from omp.web.messages import Request

KEY = b64_encode(bytes(range(32)))


def have_cryptography() -> bool:
    try:
        secret_keys()
    except CryptographyMissing:
        return False
    return True


class OverSockets(RegistryCase):
    def test_an_account_is_logged_in_and_known(self) -> None:
        with User(self.server.port) as user:
            made = user.request(
                "POST", "/auth/register", {"username": "new", "password": "secret", "email": "n@e.example"}
            )
            self.assertEqual((made.status, list(made.json)), (201, ["token", "expires_at"]))
            self.assertEqual(made.headers["cache-control"], "no-store")
            logged_in = user.request("POST", "/auth/login", {"username": "new", "password": "secret"})
            self.assertEqual((logged_in.status, list(logged_in.json)), (200, ["token", "expires_at"]))
            for token in (made.json["token"], logged_in.json["token"]):
                user.token = token
                me = user.request("GET", "/auth/me").json
                self.assertEqual((me["id"], me["is_local"]), (f"new@127.0.0.1:{self.server.port}", True))
                self.assertRegex(me["created_at"], r"Z\Z")

    def test_a_taken_or_reserved_name_is_400(self) -> None:
        for name, word in (("mark", "taken"), ("_server", "reserved")):
            body = {"username": name, "password": "another"}
            self.refused(self.stranger.request("POST", "/auth/register", body), 400, word)

    def test_bad_accounts_are_400(self) -> None:
        bodies: tuple[Any, ...] = (
            {},
            [],
            {"username": "x"},
            {"username": "", "password": "secret"},
            {"username": "a b", "password": "secret"},
            {"username": "é", "password": "secret"},
            {"username": "a@b", "password": "secret"},
            {"username": "x\n", "password": "secret"},
            {"username": "x" * 65, "password": "secret"},
            {"username": "x", "password": "short"},
            {"username": "x", "password": "x" * 129},
            {"username": "x", "password": 123456},
            {"username": "x", "password": "secret", "email": 5},
        )
        for body in bodies:
            with self.subTest(body=body):
                self.refused(self.stranger.request("POST", "/auth/register", body), 400)

    def test_all_wrong_credentials_get_the_same_401(self) -> None:
        wrong = [
            self.stranger.request("POST", "/auth/login", {"username": name, "password": "wrong-one"})
            for name in ("mark", "nobody", "é" * 100)
        ]
        self.assertEqual({(answer.status, answer.body) for answer in wrong}, {(401, wrong[0].body)})
        self.refused(self.stranger.request("POST", "/auth/login", {"username": "mark"}), 400)


class Clocked(unittest.TestCase):
    """The parts behind the routes, over a clock that the test sets."""

    def setUp(self) -> None:
        self.now = 1_800_000_000.0
        self.store = MemoryStore()
        self.throttle = Throttle(self.store, lambda: self.now)
        self.accounts = Accounts(self.store, lambda: self.now, os.urandom, self.throttle, 3600)

    def status(self, username: str, password: str, address: str = "192.0.2.1") -> int:
        try:
            self.accounts.login(username, password, address)
        except RegistryError as error:
            answer = REFUSALS[type(error)].answer(error)
            self.headers = dict(answer.headers)
            return answer.status
        return 200


class Passwords(Clocked):
    def test_a_user_who_does_not_exist_costs_the_same_hash(self) -> None:
        self.accounts.register("mark", "secret", None, "192.0.2.1")
        asked = []
        for username in ("mark", "nobody"):
            with mock.patch("omp.protocols.mrs.accounts.scrypt", wraps=hashlib.scrypt) as hashing:
                self.assertEqual(self.status(username, "wrong-one"), 401)
            asked.append([{**call.kwargs, "salt": len(call.kwargs["salt"])} for call in hashing.call_args_list])
        self.assertEqual((asked[0], len(asked[0])), (asked[1], 1))

    def hash_at_once(self, callers: int, hashing: Callable[..., bytes]) -> list[str]:
        """What each of so many callers is told who hash a password at once, `hashing` taking the place of scrypt."""
        told: list[str] = []

        def caller() -> None:
            try:
                told.append(hash_password("secret", bytes(16)).partition("$")[0])
            except TooManyLogins as error:
                answer = REFUSALS[type(error)].answer(error)
                told.append(f"{answer.status} {dict(answer.headers)['Retry-After']}")

        threads = [threading.Thread(target=caller) for _ in range(callers)]
        with mock.patch("omp.protocols.mrs.accounts.scrypt", hashing):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return told

    def test_few_threads_hash_however_many_ask(self) -> None:
        hashed_by: set[int] = set()

        def hashing(*_: Any, **__: Any) -> bytes:
            hashed_by.add(threading.get_ident())
            time.sleep(0.001)
            return bytes(32)

        self.assertEqual(self.hash_at_once(40, hashing), ["scrypt"] * 40)
        self.assertLessEqual(len(hashed_by), AT_ONCE)

    def test_a_caller_who_waits_too_long_is_told_to_try_again(self) -> None:
        done = threading.Event()

        def hashing(*_: Any, **__: Any) -> bytes:
            done.wait(PATIENCE)
            return bytes(32)

        with mock.patch("omp.protocols.mrs.accounts.WAIT_SECONDS", 0.05):
            self.assertEqual(self.hash_at_once(AT_ONCE + 1, hashing), ["503 5"] * (AT_ONCE + 1))
        done.set()
        self.assertEqual(self.hash_at_once(1, lambda *_, **__: bytes(32)), ["scrypt"])


class Tokens(Clocked):
    def test_a_token_expires_and_is_forgotten(self) -> None:
        token = self.accounts.register("mark", "secret", None, "192.0.2.1").token
        self.now += 3599
        self.assertEqual(self.accounts.user_of(token), "mark")
        self.now += 2
        self.assertIsNone(self.accounts.user_of(token))
        self.accounts.forget_tokens(self.now)
        with self.store.read() as tx:
            self.assertEqual((tx.count("mrs_tokens"), tx.count("mrs_tokens_by_age")), (0, 0))

    def test_neither_tokens_nor_passwords_are_in_the_tables(self) -> None:
        token = self.accounts.register("mark", "correct horse", None, "192.0.2.1").token
        with self.store.read() as tx:
            kept = b"".join(row + value for table in ("mrs_users", "mrs_tokens") for row, value in tx.scan(table))
        self.assertNotIn(token.encode(), kept)
        self.assertNotIn(b"horse", kept)
        self.assertIn(b"scrypt$16384$8$1$", kept)


class FailedLogins(Clocked):
    """scrypt is replaced by a comparison: what is tested is the counting."""

    def setUp(self) -> None:
        super().setUp()
        patches = (
            mock.patch("omp.protocols.mrs.accounts.hash_password", lambda password, salt: password),
            mock.patch("omp.protocols.mrs.accounts.matches", lambda password, kept: password == kept),
        )
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        self.accounts.register("mark", "secret", None, "192.0.2.1")

    def test_ten_failures_of_a_user_are_401_and_the_eleventh_429(self) -> None:
        tried = [self.status("mark", "wrong", f"192.0.2.{number}") for number in range(11)]
        self.assertEqual(tried, [401] * 10 + [429])
        self.assertEqual(self.headers["Retry-After"], "60")
        self.assertEqual(self.status("mark", "secret", "198.51.100.1"), 429)

    def test_ten_failures_of_an_address_are_401_and_the_eleventh_429(self) -> None:
        tried = [self.status(f"user{number}", "wrong") for number in range(11)]
        self.assertEqual(tried, [401] * 10 + [429])
        self.assertEqual(self.status("mark", "secret", "198.51.100.1"), 200)

    def test_successes_do_not_count(self) -> None:
        self.assertEqual([self.status("mark", "secret") for _ in range(25)], [200] * 25)

    def test_after_a_minute_logins_are_answered_again(self) -> None:
        for _ in range(10):
            self.status("mark", "wrong")
        self.now += 59.9
        self.assertEqual(self.status("mark", "secret"), 429)
        self.assertEqual(self.headers["Retry-After"], "1")
        self.now += 0.2
        self.assertEqual(self.status("mark", "secret"), 200)

    def test_of_many_guesses_at_once_ten_are_answered(self) -> None:
        ready = threading.Barrier(40)
        tried: list[int] = []

        def guess(password: str) -> None:
            ready.wait()
            tried.append(self.status("mark", password))

        threads = [threading.Thread(target=guess, args=("wrong",)) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((tried.count(401), tried.count(429)), (10, 30))

    def test_old_failures_are_forgotten(self) -> None:
        self.status("mark", "wrong")
        self.throttle.forget(self.now + 59)
        with self.store.read() as tx:
            self.assertEqual(tx.count("mrs_failures"), 2)
        self.throttle.forget(self.now + 61)
        with self.store.read() as tx:
            self.assertEqual(tx.count("mrs_failures"), 0)


class NewAccounts(Clocked):
    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch("omp.protocols.mrs.accounts.hash_password", lambda password, salt: password)
        patch.start()
        self.addCleanup(mock.patch.stopall)

    def make(self, name: str, address: str = "192.0.2.1") -> int:
        try:
            self.accounts.register(name, "secret", None, address)
        except RegistryError as error:
            answer = REFUSALS[type(error)].answer(error)
            self.headers = dict(answer.headers)
            return answer.status
        return 201

    def test_ten_attempts_of_an_address_are_answered_and_the_eleventh_is_429(self) -> None:
        self.assertEqual([self.make(f"user{number}") for number in range(11)], [201] * 10 + [429])
        self.assertEqual(self.headers["Retry-After"], "60")
        self.assertEqual(self.make("elsewhere", "198.51.100.1"), 201)
        self.now += 61
        self.assertEqual(self.make("later"), 201)

    def test_the_wait_is_until_the_earliest_also_if_the_clock_was_set_back(self) -> None:
        self.assertEqual([self.make(f"user{number}") for number in range(5)], [201] * 5)
        self.now -= 30
        self.assertEqual([self.make(f"earlier{number}") for number in range(6)], [201] * 5 + [429])
        self.assertEqual(self.headers["Retry-After"], "60")
        self.now -= 30  # what lies a minute ahead does not count
        self.assertEqual(self.make("unlocked"), 201)

    def test_attempts_with_a_name_that_is_taken_count(self) -> None:
        self.assertEqual([self.make("mark") for _ in range(11)], [201] + [400] * 9 + [429])

    def test_an_ipv6_network_counts_as_one_address(self) -> None:
        tried = [self.make(f"user{number}", f"2001:db8::{number}:1") for number in range(11)]
        self.assertEqual(tried, [201] * 10 + [429])
        self.assertEqual(self.make("other", "2001:db8:0:1::1"), 201)
        self.assertEqual([self.make(f"four{number}") for number in range(9)], [201] * 9)
        self.assertEqual(self.make("mapped", "::ffff:192.0.2.1"), 201)
        self.assertEqual(self.make("mapped-too", "::ffff:192.0.2.1"), 429)

    def test_old_attempts_are_forgotten(self) -> None:
        self.make("mark")
        self.throttle.forget(self.now + 61)
        with self.store.read() as tx:
            self.assertEqual(tx.count("mrs_new_accounts"), 0)

    def test_logins_do_not_wait_for_new_passwords(self) -> None:
        hold, begun = threading.Event(), threading.Semaphore(0)
        mock.patch.stopall()

        def hashing(password: bytes, **_: Any) -> bytes:
            if password == b"new-one":
                begun.release()
                hold.wait(PATIENCE)
            return bytes(32)

        with mock.patch("omp.protocols.mrs.accounts.scrypt", hashing):
            self.accounts.register("mark", "secret", None, "192.0.2.1")
            makers = [threading.Thread(target=self.create_slowly, args=(number,)) for number in range(8)]
            for maker in makers:
                maker.start()
            self.assertTrue(begun.acquire(timeout=PATIENCE))
            self.assertEqual(self.status("mark", "secret"), 200)
            hold.set()
            for maker in makers:
                maker.join()

    def create_slowly(self, number: int) -> None:
        with contextlib.suppress(TooManyLogins):
            self.accounts.register(f"new{number}", "new-one", None, f"198.51.100.{number}")


class OverManyConnections(unittest.TestCase):
    def test_of_many_new_accounts_at_once_ten_are_answered_and_a_login_is(self) -> None:
        statuses: list[int] = []
        with running_server() as server, User.new(server.port, "mark") as mark:

            def make(number: int) -> None:
                with User(server.port) as user:
                    answer = user.request("POST", "/auth/register", {"username": f"u{number}", "password": "secret"})
                    statuses.append(answer.status)
                    if answer.status != 201:
                        self.assertGreaterEqual(int(answer.headers["retry-after"]), 1)

            threads = [threading.Thread(target=make, args=(number,)) for number in range(30)]
            for thread in threads:
                thread.start()
            logged_in = mark.request("POST", "/auth/login", {"username": "mark", "password": "secret"})
            for thread in threads:
                thread.join()
        self.assertIn(logged_in.status, (200, 503))
        self.assertLessEqual(statuses.count(201), 9)  # with Mark's own ten
        self.assertLessEqual(set(statuses), {201, 429, 503})


class PublishedKeys(RegistryCase):
    def document(self, identity: str) -> Any:
        return self.stranger.request("GET", f"/.well-known/mrs/keys/{identity}").json

    def test_one_key_takes_the_single_form(self) -> None:
        answer = self.ann.request("PUT", "/auth/me/keys/laptop", {"public_key": KEY})
        self.assertEqual((answer.status, answer.json["key_id"]), (200, "laptop"))
        domain = f"127.0.0.1:{self.server.port}"
        for name in ("ann", f"ann@{domain}", f"ann%40{domain}"):
            document = self.document(name)
            self.assertEqual(document["id"], f"ann@{domain}")
            self.assertEqual(document["public_key"], {"type": "Ed25519", "key": KEY})
            self.assertRegex(document["created"], r"Z\Z")

    def test_several_keys_take_the_other_form_and_deprecated_ones_say_so(self) -> None:
        other = b64_encode(bytes(32))
        self.mark.request("PUT", "/auth/me/keys/a", {"public_key": KEY})
        self.mark.request("PUT", "/auth/me/keys/b", {"public_key": other, "expires": "2099-01-01T00:00:00Z"})
        keys = self.document("mark")["keys"]
        self.assertEqual(
            [(key["key_id"], key.get("expires")) for key in keys], [("a", None), ("b", "2099-01-01T00:00:00Z")]
        )
        answer = self.mark.request("DELETE", "/auth/me/keys/a")
        self.assertEqual((answer.status, answer.json["deprecated"]), (200, True))
        self.assertEqual([key.get("deprecated") for key in self.document("mark")["keys"]], [True, None])
        self.assertEqual(usable_keys(self.document("mark"), self.document("mark")["id"], 0), [bytes(32)])

    def test_refusals(self) -> None:
        self.refused(self.stranger.request("PUT", "/auth/me/keys/a", {"public_key": KEY}), 401)
        for body in (
            {},
            {"public_key": "abc"},
            {"public_key": b64_encode(bytes(31))},
            {"public_key": KEY, "expires": "soon"},
        ):
            self.refused(self.mark.request("PUT", "/auth/me/keys/c", body), 400)
        self.refused(self.mark.request("PUT", "/auth/me/keys/c%20d", {"public_key": KEY}), 400, "key_id")
        self.refused(self.mark.request("DELETE", "/auth/me/keys/none"), 404)
        self.refused(self.stranger.request("GET", "/.well-known/mrs/keys/nobody"), 404)

    def test_a_user_has_a_bounded_number_of_keys(self) -> None:
        with User.new(self.server.port, "keyring") as user:
            for number in range(16):
                self.assertEqual(user.request("PUT", f"/auth/me/keys/{number}", {"public_key": KEY}).status, 200)
            self.refused(user.request("PUT", "/auth/me/keys/one-more", {"public_key": KEY}), 409)
            self.assertEqual(user.request("PUT", "/auth/me/keys/3", {"public_key": KEY}).status, 200)


class KeyDocuments(unittest.TestCase):
    def test_only_usable_keys_of_the_right_identity_count(self) -> None:
        good = {"key_id": "k", "type": "Ed25519", "key": KEY}
        for change, count in (
            ({}, 1),
            ({"deprecated": True}, 0),
            ({"expires": "2001-01-01T00:00:00Z"}, 0),
            ({"expires": "2099-01-01T00:00:00Z"}, 1),
            ({"expires": "soon"}, 0),
            ({"expires": 5}, 0),
            ({"type": "RSA"}, 0),
            ({"key": "AAAA"}, 0),
            ({"key": None}, 0),
            ({"key": b64u_encode(bytes(32))}, 1),
        ):
            with self.subTest(change=change):
                document = {"id": "mark@a.example", "keys": [{**good, **change}]}
                self.assertEqual(len(usable_keys(document, "mark@a.example", 1.8e9)), count)
                self.assertEqual(usable_keys(document, "ann@a.example", 1.8e9), [])

    def test_other_values_have_no_usable_keys(self) -> None:
        documents: tuple[Any, ...] = (
            None,
            [],
            "x",
            {},
            {"id": "a@b"},
            {"id": "a@b", "keys": [1]},
            {"id": "a@b", "public_key": "k"},
        )
        for document in documents:
            self.assertEqual(usable_keys(document, "a@b", 0), [])

    def test_a_single_key_that_expires_takes_the_form_that_can_say_so(self) -> None:
        key: Any = {"key_id": "k", "key": KEY, "created": "x", "expires": "2099-01-01T00:00:00Z", "deprecated": False}
        self.assertEqual(list(key_document("a@b", [key])), ["id", "keys"])


class ServerKey(unittest.TestCase):
    @unittest.skipUnless(have_cryptography(), "making the server's key needs the package cryptography")
    def test_it_is_made_once_and_kept_with_the_data(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "mrs.db")
            documents = []
            for _ in range(2):
                with (
                    running_server(storage=f"sqlite:{path}", environ={"MRS_SERVER_URL": "https://a.example"}) as server,
                    User(server.port) as user,
                ):
                    documents.append(user.request("GET", "/.well-known/mrs/keys/_server").json)
            self.assertEqual(documents[0], documents[1])
            self.assertEqual(documents[0]["id"], "_server@a.example")
            store = open_store(f"sqlite:{path}")
            seed = store.get("mrs_secrets", b"_server") or b""
            store.close()
        public = b64_decode(documents[0]["public_key"]["key"])
        self.assertEqual(secret_keys().public_key(seed), public)

    def test_without_cryptography_its_document_says_what_is_missing(self) -> None:
        missing = mock.Mock(side_effect=CryptographyMissing("It needs the package cryptography"))
        patched = mock.patch("omp.protocols.mrs.keys.secret_keys", missing)
        with patched, running_server() as server, User(server.port) as user:
            answer = user.request("GET", "/.well-known/mrs/keys/_server")
        self.assertEqual(answer.status, 503)
        self.assertIn("cryptography", answer.json["detail"])

    def test_it_is_made_at_the_first_start_with_cryptography(self) -> None:
        store = MemoryStore()
        ring = KeyRing(store, lambda: 1e9, "a.example")
        fake = mock.Mock(generate=lambda: b"s" * 32, public_key=lambda seed: bytes(32))
        with mock.patch("omp.protocols.mrs.keys.secret_keys", return_value=fake):
            ring.make_server_key()
            ring.make_server_key()
        self.assertEqual(ring.document("_server")["public_key"]["key"], b64_encode(bytes(32)))


class Operators(unittest.TestCase):
    def admitted(self, client: str = "127.0.0.1", token: str | None = None, **headers: str) -> bool:
        fields = {"host": "127.0.0.1:8787", **{name.replace("_", "-"): value for name, value in headers.items()}}
        try:
            require_admin(Request("GET", "/admin/peers", fields, client=client), token)
        except NotTheOperator as error:
            self.assertEqual(REFUSALS[type(error)].status, 403)
            return False
        return True

    def test_without_a_token_the_operator_is_whoever_is_on_this_machine(self) -> None:
        for client in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(self.admitted(client), client)
        for client in ("192.168.1.1", "10.0.0.1", "::2", "::ffff:10.0.0.1", ""):
            self.assertFalse(self.admitted(client), client)

    def test_what_came_through_a_proxy_is_refused(self) -> None:
        for name in ("forwarded", "x_forwarded_for", "x_forwarded_proto", "x_forwarded_host"):
            self.assertFalse(self.admitted(**{name: "x"}), name)

    def test_what_a_page_of_another_site_sends_is_refused(self) -> None:
        self.assertFalse(self.admitted(origin="https://evil.example"))
        self.assertFalse(self.admitted(origin="null"))
        self.assertFalse(self.admitted(host="evil.example:8787"))
        self.assertFalse(self.admitted(host="127.evil.example:8787"))
        self.assertFalse(self.admitted(host="evil.example:8787", origin="http://evil.example:8787"))
        for host in ("localhost", "localhost:8787", "127.0.0.1", "[::1]:8787", "[::1]"):
            self.assertTrue(self.admitted(host=host, origin=f"http://{host}"), host)

    def test_with_a_token_the_operator_is_whoever_bears_it(self) -> None:
        self.assertTrue(self.admitted("192.0.2.1", "t0p", authorization="Bearer t0p", x_forwarded_for="x"))
        self.assertTrue(self.admitted("192.0.2.1", "t0p", authorization="bearer t0p"))
        for wrong in ("Bearer t0", "Bearer t0pp", "Bearer ", "Basic t0p", "t0p", "Bearer t\xf6p"):
            self.assertFalse(self.admitted("127.0.0.1", "t0p", authorization=wrong), wrong)
        self.assertFalse(self.admitted("127.0.0.1", "t0p"))


if __name__ == "__main__":
    unittest.main()
