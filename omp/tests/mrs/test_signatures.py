"""Requests signed by users of other servers (§9)."""

from __future__ import annotations

import contextlib
import json
import time
import unittest
from typing import Any
from unittest import mock

from omp.protocols.mrs.accounts import Accounts, Throttle
from omp.protocols.mrs.addresses import domain_of
from omp.protocols.mrs.identity import POLICY, Authenticator, NotAuthenticated
from omp.protocols.mrs.keys import MAX_KEYS, KeyRing, RemoteKeys
from omp.rules.encodings import b64_encode
from omp.store.memory import MemoryStore
from omp.tests import TOP
from omp.tests.harness import Answer, Client, Running, running_server
from omp.tests.mrs.parties import Signer, User, claim
from omp.web.addressing import Local, parse_origins, recognized
from omp.web.messages import Request
from omp.web.signature_guard import NonceTable

SEED = bytes(range(1, 33))


class FederatedIdentity(unittest.TestCase):
    """Alice has her account on one server and registers on the other."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = contextlib.ExitStack()
        cls.home = cls.stack.enter_context(running_server())
        cls.away = cls.stack.enter_context(running_server({"MRS_ALLOW_INSECURE_KEYS": "1"}))
        cls.client = cls.stack.enter_context(Client(cls.away.port))
        alice = cls.stack.enter_context(User.new(cls.home.port, "alice"))
        domain = domain_of(cls.home.url)
        cls.alice = Signer(f"alice@{domain}", f"{cls.home.url}/.well-known/mrs/keys/alice", SEED)
        alice.request("PUT", "/auth/me/keys/laptop", {"public_key": cls.alice.public_key})
        with User.new(cls.home.port, "mallory") as mallory:
            mallory.request("PUT", "/auth/me/keys/laptop", {"public_key": cls.alice.public_key})

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.close()

    stack: contextlib.ExitStack
    home: Running
    away: Running
    client: Client
    alice: Signer

    def send(self, method: str, path: str, value: Any = ..., **changes: Any) -> Answer:
        return self.alice.request(self.client, self.away.url, method, path, value, **changes)

    def refused(self, answer: Answer, status: int, word: str) -> None:
        self.assertEqual(answer.status, status, answer.body)
        self.assertIn(word, answer.json["detail"])

    def test_she_registers_updates_lists_and_releases(self) -> None:
        made = self.send("POST", "/register", claim(1, 1)).json["registration"]
        self.assertEqual(made["owner"], self.alice.identity)
        changed = self.send("PUT", f"/register/{made['id']}", claim(1, 1, 60))
        self.assertEqual((changed.status, changed.json["registration"]["version"]), (200, 2))
        listed = self.send("GET", "/registrations").json["registrations"]
        self.assertEqual([one["id"] for one in listed], [made["id"]])
        self.assertEqual(self.send("POST", "/release", {"id": made["id"]}).status, 200)

    def test_she_is_known_and_not_local(self) -> None:
        me = self.send("GET", "/auth/me").json
        self.assertEqual(me, {"id": self.alice.identity, "created_at": None, "is_local": False})

    def test_a_signature_in_base64url_is_told_which_base64_is_meant(self) -> None:
        headers = {"MRS-Identity": "a@b.c", "Signature-Input": 'sig1=("@method")', "Signature": "sig1=:AA-_:"}
        self.refused(self.client.request("GET", "/auth/me", headers=headers), 400, "base64 with + and /")

    def test_the_target_uri_may_be_covered_in_place_of_the_path(self) -> None:
        answer = self.send("GET", "/auth/me", components=("@method", "@target-uri", "mrs-identity"))
        self.assertEqual(answer.status, 200)

    def test_a_signature_for_another_server_fails_where_the_target_uri_is_covered(self) -> None:
        headers = self.alice.headers(
            "GET", f"{self.home.url}/auth/me", components=("@target-uri", "@method", "mrs-identity")
        )
        self.refused(self.client.request("GET", "/auth/me", headers=headers), 401, "does not verify")

    def test_everything_that_must_be_covered(self) -> None:
        for components, word in (
            (("@path", "mrs-identity"), "@method"),
            (("@method", "mrs-identity"), "@path"),
            (("@method", "@path"), "mrs-identity"),
        ):
            self.refused(self.send("POST", "/register", claim(2, 2), components=components), 401, word)

    def test_a_body_must_be_covered_and_be_the_one_signed(self) -> None:
        headers = self.alice.headers("POST", f"{self.away.url}/register")  # signed without a body
        body = json.dumps(claim(3, 3)).encode()
        self.refused(self.client.request("POST", "/register", headers=headers, body=body), 401, "content-digest")
        headers = self.alice.headers("POST", f"{self.away.url}/register", body)
        self.refused(self.client.request("POST", "/register", headers=headers, body=body + b" "), 400, "sha-256")

    def test_old_and_undated_signatures_are_refused(self) -> None:
        self.refused(self.send("GET", "/auth/me", created=int(time.time()) - 400), 401, "seconds ago")
        self.refused(self.send("GET", "/auth/me", created=int(time.time()) + 400), 401, "in the future")

    def test_a_nonce_is_good_once(self) -> None:
        headers = self.alice.headers("GET", f"{self.away.url}/auth/me", nonce="only-once")
        self.assertEqual(self.client.request("GET", "/auth/me", headers=headers).status, 200)
        self.refused(self.client.request("GET", "/auth/me", headers=headers), 401, "nonce")

    def test_another_key_does_not_verify(self) -> None:
        forger = Signer(self.alice.identity, self.alice.key_url, bytes(32))
        answer = forger.request(self.client, self.away.url, "GET", "/auth/me")
        self.refused(answer, 401, "does not verify")
        self.refused(answer, 401, '\nThe signature base is:\n"@method": ')

    def test_another_identity_with_her_key_is_refused(self) -> None:
        domain = domain_of(self.home.url)
        self.refused(self.send("GET", "/auth/me", identity=f"bob@{domain}"), 401, "key document of the signer")
        self.refused(self.send("GET", "/auth/me", identity="alice@elsewhere.example"), 401, "must agree")
        mallory = f"{self.home.url}/.well-known/mrs/keys/mallory"
        self.refused(self.send("GET", "/auth/me", keyid=mallory), 401, "key document of the signer")
        other_place = f"{self.home.url}/uploads/.well-known/mrs/keys/alice"
        self.refused(self.send("GET", "/auth/me", keyid=other_place), 401, "key document of the signer")

    def test_a_document_without_a_key_in_use_is_named_as_the_reason(self) -> None:
        with User.new(self.home.port, "carol") as carol:
            made = Signer(f"carol@{domain_of(self.home.url)}", f"{self.home.url}/.well-known/mrs/keys/carol", SEED)
            key = {"public_key": made.public_key}
            for other, moment in (("deprecated", None), ("expired", "2020-01-01T00:00:00Z")):
                carol.request("PUT", f"/auth/me/keys/{other}", {**key, "expires": moment})
            carol.request("DELETE", "/auth/me/keys/deprecated")
            for server in (self.home, self.away):
                with Client(server.port) as client:
                    answer = made.request(client, server.url, "GET", "/auth/me")
                self.refused(answer, 401, "no Ed25519 key of theirs in use")

    def test_another_signature_beside_hers_does_no_harm(self) -> None:
        hers = self.alice.headers("GET", f"{self.away.url}/auth/me")
        foreign = Signer("proxy@elsewhere.example", "https://elsewhere.example/.well-known/mrs/keys/proxy", bytes(32))
        proxys = foreign.headers("GET", f"{self.away.url}/auth/me", identity=self.alice.identity, label="proxy")
        for first, second in ((hers, proxys), (proxys, hers)):
            both = {name: f"{first[name]}, {second[name]}" for name in ("Signature-Input", "Signature")}
            answer = self.client.request("GET", "/auth/me", headers={**hers, **both})
            self.assertEqual((answer.status, answer.json.get("id")), (200, self.alice.identity))

    def test_malformed_fields_are_refused(self) -> None:
        good = self.alice.headers("GET", f"{self.away.url}/auth/me")
        for change, status in (
            ({"Signature": ""}, 400),
            ({"Signature": "sig1=abc"}, 400),
            ({"Signature-Input": "sig1"}, 400),
            ({"MRS-Identity": "alice"}, 401),
            ({"MRS-Identity": ""}, 401),
            ({"MRS-Identity": "alice@" + "a" * 300}, 401),
        ):
            with self.subTest(change=change):
                self.assertEqual(self.client.request("GET", "/auth/me", headers={**good, **change}).status, status)
        for lone in ("MRS-Identity", "Signature-Input"):
            self.assertIn(self.client.request("GET", "/auth/me", headers={lone: good[lone]}).status, (400, 401))

    def test_her_own_server_reads_its_own_table(self) -> None:
        with Client(self.home.port) as client:
            me = self.alice.request(client, self.home.url, "GET", "/auth/me").json
        self.assertEqual((me["id"], me["is_local"]), (self.alice.identity, True))

    def test_without_the_test_setting_nothing_is_fetched_from_this_machine(self) -> None:
        with running_server() as strict, Client(strict.port) as client:
            self.refused(self.alice.request(client, strict.url, "GET", "/auth/me"), 401, "https://")
            secure = Signer("alice@localhost:1", "https://localhost:1/.well-known/mrs/keys/alice", SEED)
            self.refused(secure.request(client, strict.url, "GET", "/auth/me"), 401, "no public address")


class Verifications(unittest.TestCase):
    def test_a_request_tries_sixteen_keys_however_many_signatures_it_bears(self) -> None:
        tried: list[bytes] = []
        engine = mock.Mock()
        engine.verify = lambda key, message, signature: tried.append(key)
        store = MemoryStore()
        ring = KeyRing(store, time.time, "here.example")
        for number in range(MAX_KEYS):
            ring.publish("mark", f"k{number}", bytes([number] * 32), None)
        accounts = Accounts(store, time.time, bytes, Throttle(store, time.time), 60)
        remote = RemoteKeys(lambda url: b"{}", time.time, 60)
        nonces = NonceTable(store, time.time, POLICY)
        authenticator = Authenticator(time.time, engine, accounts, ring, remote, nonces, "here.example")
        keyid = "https://here.example/.well-known/mrs/keys/mark"
        covered = f'("@method" "@path" "mrs-identity");created={int(time.time())};keyid="{keyid}"'
        fields = [
            ("host", "here.example"),
            ("mrs-identity", "mark@here.example"),
            ("signature-input", ", ".join(f"s{number}={covered}" for number in range(8))),
            ("signature", ", ".join(f"s{number}=:{b64_encode(bytes(64))}:" for number in range(8))),
        ]
        with self.assertRaises(NotAuthenticated):
            request = Request("GET", "/registrations", dict(fields), fields)
            request.destination = recognized(
                "here.example", Local("", 0), "http", parse_origins("https://here.example")
            )
            authenticator.identify(request)
        self.assertEqual(len(tried), MAX_KEYS)


class Specification(unittest.TestCase):
    def test_the_signed_request_that_it_shows_is_a_vector(self) -> None:
        text = (TOP / "omp/protocols/mrs/SPEC.md").read_text(encoding="utf-8")
        case = json.loads((TOP / "vectors/mrs/signed-request.json").read_text())["cases"][0]
        for name, value in case["fields"].items():
            self.assertIn(f"\n{name}: {value}\n", text)
        self.assertIn(f"\n\n{case['body']}\n", text)
        self.assertIn(case["keyDocument"]["public_key"]["key"], text)


if __name__ == "__main__":
    unittest.main()
