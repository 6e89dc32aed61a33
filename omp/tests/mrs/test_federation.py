"""Servers with servers: signed requests, fetched keys, peers and referrals (§7, §9, §10)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from omp.protocols.mrs.fetch import MAX_BYTES, FetchError, domain_of, fetch, is_public, server_url
from omp.protocols.mrs.keys import FAILURE_SECONDS, MAX_AT_ONCE, MAX_DOCUMENTS, RemoteKeys
from omp.tests import TOP
from omp.tests.harness import Answer, Client, Running, answering, raw_server, running_server
from omp.tests.mrs.parties import OPERA, RegistryCase, Signer, User, claim

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


class Specification(unittest.TestCase):
    def test_the_signed_request_that_it_shows_is_a_vector(self) -> None:
        text = (TOP / "omp/protocols/mrs/SPEC.md").read_text(encoding="utf-8")
        case = json.loads((TOP / "vectors/mrs/signed-request.json").read_text())["cases"][0]
        for name, value in case["fields"].items():
            self.assertIn(f"\n{name}: {value}\n", text)
        self.assertIn(f"\n\n{case['body']}\n", text)
        self.assertIn(case["keyDocument"]["public_key"]["key"], text)


def self_signed(name: str) -> tuple[bytes, bytes]:
    """A certificate for `name` that vouches for itself, and its key, both in PEM; ImportError without cryptography."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return made.public_bytes(pem), key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)


class Fetching(unittest.TestCase):
    def failure(self, behave: Callable[[socket.socket], None], seconds: float = 5.0) -> str:
        with raw_server(behave) as port, self.assertRaises(FetchError) as caught:
            fetch(f"http://127.0.0.1:{port}/key", insecure=True, seconds=seconds)
        return str(caught.exception)

    def test_a_document_is_fetched_however_it_is_framed(self) -> None:
        for head, body in (
            ("HTTP/1.1 200 OK\nContent-Length: 2", b"{}rest"),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
            ("HTTP/1.0 200 OK", b"{}"),
        ):
            with raw_server(answering(head, body)) as port:
                self.assertEqual(fetch(f"http://127.0.0.1:{port}/key", insecure=True), b"{}")

    def test_redirects_are_not_followed(self) -> None:
        reached = threading.Event()
        with raw_server(lambda connection: reached.set()) as inner:
            for status in (301, 302, 303, 307, 308):
                head = f"HTTP/1.1 {status} Moved\nLocation: http://127.0.0.1:{inner}/\nContent-Length: 0"
                self.assertIn(str(status), self.failure(answering(head)))
        self.assertFalse(reached.is_set())

    def test_only_200_will_do(self) -> None:
        for status in (204, 404, 500):
            self.assertIn(str(status), self.failure(answering(f"HTTP/1.1 {status} X\nContent-Length: 0")))

    def test_a_document_that_is_too_large_is_refused_early(self) -> None:
        sent = 0

        def flood(connection: socket.socket) -> None:
            nonlocal sent
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(160):  # 10 MiB
                connection.sendall(bytes(65536))
                sent += 65536

        self.assertIn("64 KiB", self.failure(flood))
        self.assertLess(sent, 8 * 1024 * 1024)
        length = f"HTTP/1.1 200 OK\nContent-Length: {MAX_BYTES + 1}"
        self.assertIn("64 KiB", self.failure(answering(length, bytes(MAX_BYTES + 1))))
        fields = "\n".join(f"X-{number}: {'z' * 2000}" for number in range(90))
        self.assertIn("64 KiB", self.failure(answering(f"HTTP/1.1 200 OK\n{fields}")))

    def test_one_that_hangs_is_given_up(self) -> None:
        began = time.monotonic()
        self.assertIn("0.3 seconds", self.failure(lambda connection: time.sleep(2), seconds=0.3))
        self.assertLess(time.monotonic() - began, 1.5)

    def test_one_that_sends_a_byte_now_and_then_is_given_up_too(self) -> None:
        def drip(connection: socket.socket) -> None:
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" * 10:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)

        began = time.monotonic()
        self.assertIn("0.4 seconds", self.failure(drip, seconds=0.4))
        self.assertLess(time.monotonic() - began, 1.5)

    def test_one_that_cuts_its_document_short_or_speaks_something_else_is_refused(self) -> None:
        self.failure(answering("HTTP/1.1 200 OK\nContent-Length: 100", b"{}"))
        self.failure(answering("SSH-2.0-OpenSSH_9.6"))
        self.failure(lambda connection: None)

    def test_nobody_there_is_a_failure_too(self) -> None:
        with raw_server(lambda connection: None) as port:
            pass
        with self.assertRaises(FetchError):
            fetch(f"http://127.0.0.1:{port}/", insecure=True)

    def test_the_certificate_is_checked(self) -> None:
        # A server that does not even speak TLS, and the failure is the same sentence as for a bad certificate.
        with raw_server(answering("HTTP/1.1 200 OK")) as port, self.assertRaises(FetchError) as caught:
            fetch(f"https://127.0.0.1:{port}/", insecure=True)
        self.assertIn("could not be reached", str(caught.exception))

    def test_over_tls_the_chain_and_the_name_are_verified(self) -> None:
        try:
            certificate, key = self_signed("localhost")
        except ImportError:
            self.skipTest("making a certificate needs the package cryptography")
        with tempfile.TemporaryDirectory() as folder:
            chain, private = Path(folder) / "chain.pem", Path(folder) / "key.pem"
            chain.write_bytes(certificate)
            private.write_bytes(key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain, private)
            with raw_server(answering("HTTP/1.1 200 OK\nContent-Length: 2", b"{}"), context) as port:
                with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(chain)}):
                    self.assertEqual(fetch(f"https://localhost:{port}/", insecure=True), b"{}")
                    with self.assertRaises(FetchError):  # the right server, by another name
                        fetch(f"https://127.0.0.1:{port}/", insecure=True)
                with self.assertRaises(FetchError):  # signed by nobody that the system trusts
                    fetch(f"https://localhost:{port}/", insecure=True)

    def test_a_name_that_resolves_to_an_inner_address_is_not_connected_to(self) -> None:
        for address in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fd00::1"):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            found = [(family, socket.SOCK_STREAM, 6, "", (address, 443))]
            with (
                mock.patch("socket.getaddrinfo", return_value=found) as resolve,
                mock.patch("socket.socket") as connect,
                self.assertRaises(FetchError) as caught,
            ):
                fetch("https://rebinding.example/.well-known/mrs/keys/alice")
            self.assertEqual((resolve.call_count, connect.call_count), (1, 0))
            self.assertIn("no public address", str(caught.exception))

    def test_the_address_that_was_checked_is_the_one_connected_to(self) -> None:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443)),
        ]
        with (
            mock.patch("socket.getaddrinfo", return_value=found),
            mock.patch("socket.socket") as made,
            self.assertRaises(FetchError),
        ):
            made.return_value.connect.side_effect = OSError("unreachable")
            fetch("https://two-addresses.example/")
        made.return_value.connect.assert_called_once_with(("93.184.216.34", 443))

    def test_public_and_other_addresses(self) -> None:
        for address in ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"):
            self.assertTrue(is_public(address), address)
        for address in (
            "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1",
            "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
            "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2", "not an address", "",
        ):  # fmt: skip
            self.assertFalse(is_public(address), address)


class RememberingKeys(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.fetched: list[str] = []
        self.keys = RemoteKeys(self.fetch, lambda: self.now, 60)

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if "bad" in url:
            raise FetchError("it is bad")
        return b'{"id": 1}'

    def test_a_document_is_kept_for_its_time(self) -> None:
        for moment, count in ((0, 1), (59, 1), (61, 2), (100, 2)):
            self.now = 1000.0 + moment
            self.assertEqual(self.keys.document("https://a.example/k"), {"id": 1})
            self.assertEqual(len(self.fetched), count)

    def test_a_failure_is_kept_for_a_short_time(self) -> None:
        for moment, count in ((0, 1), (FAILURE_SECONDS - 1, 1), (FAILURE_SECONDS + 1, 2)):
            self.now = 1000.0 + moment
            with self.assertRaises(FetchError):
                self.keys.document("https://bad.example/k")
            self.assertEqual(len(self.fetched), count)

    def test_the_number_kept_is_bounded(self) -> None:
        for number in range(MAX_DOCUMENTS + 5):
            self.keys.document(f"https://a.example/{number}")
        self.keys.document("https://a.example/0")
        self.assertEqual(len(self.fetched), MAX_DOCUMENTS + 6)

    def test_many_who_ask_at_once_share_one_fetch_and_too_many_fetches_are_refused(self) -> None:
        hold = threading.Event()
        begun = threading.Semaphore(0)

        def slow(url: str) -> bytes:
            begun.release()
            hold.wait(5)
            return self.fetch(url)

        keys = RemoteKeys(slow, lambda: self.now, 60)
        threads = [
            threading.Thread(target=keys.document, args=(f"https://a.example/{number % MAX_AT_ONCE}",))
            for number in range(MAX_AT_ONCE * 4)
        ]
        for thread in threads:
            thread.start()
        for _ in range(MAX_AT_ONCE):
            self.assertTrue(begun.acquire(timeout=5))
        with self.assertRaises(FetchError) as caught:
            keys.document("https://another.example/")
        self.assertIn("too many", str(caught.exception))
        hold.set()
        for thread in threads:
            thread.join()
        self.assertEqual(len(self.fetched), MAX_AT_ONCE)
        self.assertEqual(keys.document("https://another.example/"), {"id": 1})

    def test_what_is_no_json_is_a_failure(self) -> None:
        keys = RemoteKeys(lambda url: b"<html>", lambda: self.now, 60)
        with self.assertRaises(FetchError):
            keys.document("https://a.example/k")

    def test_nobody_waits_longer_than_the_limit_for_a_name_that_does_not_resolve(self) -> None:
        resolved = threading.Event()

        def slow(url: str) -> bytes:
            resolved.wait(2)
            return b"{}"

        keys = RemoteKeys(slow, lambda: self.now, 60, wait_seconds=0.05)
        with self.assertRaisesRegex(FetchError, "did not answer in time"):
            keys.document("https://a.example/k")
        resolved.set()

    def test_null_is_a_document_and_not_a_failure(self) -> None:
        keys = RemoteKeys(lambda url: b"null", lambda: self.now, 60)
        self.assertIsNone(keys.document("https://a.example/k"))


class Addresses(unittest.TestCase):
    def test_one_server_has_one_address(self) -> None:
        for text, one in (
            ("https://A.example", "https://a.example"),
            ("https://a.example:443/", "https://a.example"),
            ("http://a.example:80/mrs/", "http://a.example/mrs"),
            ("http://[::1]:8787", "http://[::1]:8787"),
        ):
            self.assertEqual(server_url(text), one)

    def test_others_are_refused(self) -> None:
        for text in (
            "", "a.example", "ftp://a.example", "https://", "https://u@a.example", "https://a.example?x", "https://a.example/#",
            "https://a.example/ b", "https://a.example:99999", "https://a_b^.example", "https://\u00e4.example", "https://a\n",
            "https://a.example/" + "x" * 2048,
        ):  # fmt: skip
            with self.subTest(text=text), self.assertRaises(ValueError):
                server_url(text)


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

    def test_a_proxy_on_this_machine_makes_nobody_an_operator(self) -> None:
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
