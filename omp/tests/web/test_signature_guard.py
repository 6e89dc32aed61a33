"""The signature guard (omp §4): the modes over real sockets, the order of keys, replay, configuration."""

from __future__ import annotations

import json
import tempfile
import threading
import time
import unittest
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.encodings import b64_encode, b64u_encode
from omp.rules.engines import best_engine
from omp.rules.http_signatures import Policy, sign, sign_legacy
from omp.rules.identifiers import key_id
from omp.rules.signature_base import SignedRequest
from omp.store.memory import MemoryStore
from omp.tests.harness import Answer, Client, Running, exchange, running_server
from omp.web.addressing import Local, recognized
from omp.web.errors import ApiError
from omp.web.messages import Request
from omp.web.settings import SettingError, read_settings
from omp.web.signature_guard import SETTINGS, NonceTable, SignatureGuard, decode_key

SEED = bytes(range(32))
PUBLIC = public_key_slowly(SEED)
KEY = b64u_encode(PUBLIC)
OTHER = public_key_slowly(b"\1" * 32)
BODY = b'{"namespace":"ns","content":{"x":1}}'
NOW = 1_700_000_000
STRICT = {"OMP_SIG_MODE": "strict", "OMP_SIG_PUB_sig1": KEY}


@lru_cache(maxsize=1000)
def signer(message: bytes) -> bytes:
    return sign_slowly(SEED, message)


def headers(
    port: int,
    method: str = "POST",
    target: str = "/objects",
    body: bytes = BODY,
    *,
    legacy: bool = False,
    **options: Any,
) -> dict[str, str]:
    """The header fields that sign such a request."""
    request = SignedRequest(method, "http", f"127.0.0.1:{port}", target, [("content-type", "application/json")], body)
    options = {"keyid": "sig1", "signer": signer, "created": int(time.time()), **options}
    return dict(sign_legacy(request, **options) if legacy else sign(request, **options))


class OverSockets(unittest.TestCase):
    """One server a mode; each request as a client sends it."""

    environ: ClassVar[Mapping[str, str]] = {}
    server: Running
    client: Client

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = cls.enterClassContext(running_server(cls.environ))
        cls.client = cls.enterClassContext(Client(cls.server.port))

    def post(self, fields: Mapping[str, str] | None = None, body: bytes = BODY) -> Answer:
        return self.client.request("POST", "/objects", body=body, headers=fields)

    def refused(self, answer: Answer, status: int) -> str:
        error = answer.json["error"]
        self.assertEqual((answer.status, error["status"]), (status, status), error)
        self.assertEqual(error["code"], {400: "bad_request", 401: "unauthorized"}[status])
        self.assertIn(list(error["details"] or {}), ([], ["signature_base"]))
        return str(error["message"])

    def signatures(self) -> Any:
        return self.client.request("GET", "/.well-known/omp-configuration").json["signatures"]


MALFORMED = [
    {"Signature": "sig1=:AAAA:"},
    {"Signature-Input": "sig1=()"},
    {"Signature-Input": "nonsense", "Signature": "sig1=:AAAA:"},
    {"Signature-Input": 'sig1=("@method" "@path)', "Signature": "sig1=:AAAA:"},
    {"Signature-Input": 'sig1=("@method")', "Signature": "sig1=AAAA"},
    {"Signature-Input": 'sig1=("@method")', "Signature": "sig2=:AAAA:"},
    {"Signature-Input": "sig1=();created=now", "Signature": "sig1=:AAAA:"},
    {"Signature-Input": "", "Signature": ""},
]

WITHOUT_COMPONENTS = {"Signature-Input": "sig1=();created=1", "Signature": "sig1=:AAAA:"}


class Off(OverSockets):
    def test_nothing_is_checked(self) -> None:
        (objects,) = (mount for mount in self.server.parts.application.mounts if mount.name == "objects")
        self.assertIsNone(objects.guard)
        self.assertNotIn("accept-signature", self.post(WITHOUT_COMPONENTS).headers)
        wrong = {"Content-Digest": "sha-256=:AAAA:"}
        for fields in ({}, wrong, *MALFORMED):
            with self.subTest(fields):
                self.assertEqual(self.post(fields).status, 201)

    def test_the_capability_document_says_so(self) -> None:
        self.assertEqual(
            self.signatures(),
            {
                "mode": "off",
                "required_components": ["@method", "@target-uri", "content-digest"],
                "legacy": True,
                "max_age_sec": 300,
            },
        )


class Permissive(OverSockets):
    environ: ClassVar[Mapping[str, str]] = {"OMP_SIG_MODE": "permissive"}

    def test_a_request_without_headers_is_let_through(self) -> None:
        self.assertEqual(self.post().status, 201)

    def test_malformed_headers_are_400(self) -> None:
        for fields in MALFORMED:
            with self.subTest(fields):
                self.refused(self.post(fields), 400)

    def test_well_formed_headers_are_let_through_without_crypto(self) -> None:
        for text in ('sig1=("@method");created=1;keyid="x"', "sig1=()", 'sig1=("@nonsense" "@nonsense")'):
            with self.subTest(text):
                self.assertEqual(self.post({"Signature-Input": text, "Signature": "sig1=:AAAA:"}).status, 201)

    def test_a_signature_without_components_is_let_in_and_told_what_to_cover(self) -> None:
        told = 'sig1=("@method" "@target-uri" "content-digest");created;alg="ed25519"'
        answer = self.post(WITHOUT_COMPONENTS)
        self.assertEqual((answer.status, answer.headers["accept-signature"]), (201, told))
        without_body = self.client.request("GET", "/objects/nobody", headers=WITHOUT_COMPONENTS)
        self.assertEqual(without_body.status, 404)  # an answer that is an error has it too
        self.assertEqual(without_body.headers["accept-signature"], told.replace(' "content-digest"', ""))
        one_of_two = {"Signature-Input": 'a=("@method"), b=()', "Signature": "a=:AAAA:, b=:AAAA:"}
        self.assertEqual(self.post(one_of_two).headers["accept-signature"], told)
        with_components = {"Signature-Input": 'sig1=("@method")', "Signature": "sig1=:AAAA:"}
        for fields in ({}, with_components):
            self.assertNotIn("accept-signature", self.post(fields).headers)

    def test_the_published_clients_spelling_is_well_formed(self) -> None:
        self.assertEqual(self.post({"Signature-Input": 'Sig1=();keyid="K"', "Signature": "Sig1=:_-8:"}).status, 201)

    def test_no_digest_is_checked(self) -> None:
        self.assertEqual(self.post({"Content-Digest": "sha-256=:AAAA:"}).status, 201)


class Strict(OverSockets):
    environ: ClassVar[Mapping[str, str]] = {**STRICT, "OMP_SIG_MAX_AGE": "100"}

    def test_without_a_signature_every_objects_route_is_401_and_others_are_not(self) -> None:
        for method, path in [
            ("GET", "/objects"),
            ("POST", "/objects"),
            ("GET", "/objects/search"),
            ("POST", "/objects/search"),
            ("GET", "/objects/x"),
            ("PUT", "/objects/x"),
            ("DELETE", "/objects/x"),
        ]:
            with self.subTest(method=method, path=path):
                answer = self.client.request(method, path)
                self.assertEqual(self.refused(answer, 401), "Missing required signature")
                self.assertEqual(answer.headers["www-authenticate"], 'Signature realm="omp"')
        self.assertEqual(self.client.request("HEAD", "/objects").status, 401)
        for path in ("/", "/health", "/openapi.json", "/docs", "/.well-known/omp-configuration"):
            with self.subTest(path):
                self.assertEqual(self.client.request("GET", path).status, 200)

    def test_a_401_says_what_a_signature_should_cover(self) -> None:
        self.assertEqual(
            self.post().headers["accept-signature"],
            'sig1=("@method" "@target-uri" "content-digest");created;alg="ed25519"',
        )
        answer = self.client.request("GET", "/objects")
        self.assertEqual(answer.headers["accept-signature"], 'sig1=("@method" "@target-uri");created;alg="ed25519"')

    def test_malformed_headers_are_400(self) -> None:
        for fields in MALFORMED:
            with self.subTest(fields):
                self.refused(self.post(fields), 400)

    def test_a_signature_in_base64url_is_told_which_base64_is_meant(self) -> None:
        for fields in (
            {"Signature-Input": 'sig1=("@method");created=1', "Signature": "sig1=:AA-_:"},
            {"Signature-Input": 'a=(), sig1=("@method")', "Signature": "a=:AA-_:, sig1=:AA-_:"},
        ):
            said = self.refused(self.post(fields), 400)
            self.assertIn("must be base64 with + and / (not base64url's - and _) between colons, not :AA-_:.", said)

    def test_a_signed_object_is_created_read_replaced_and_deleted(self) -> None:
        port = self.server.port
        created = self.post(headers(port))
        self.assertEqual(created.status, 201)
        path = created.headers["location"]
        path = path[path.index("/objects") :]
        for method, body, status in [("GET", b"", 200), ("PUT", b'{"content":{"x":2}}', 200), ("DELETE", b"", 204)]:
            with self.subTest(method):
                answer = self.client.request(method, path, body=body or None, headers=headers(port, method, path, body))
                self.assertEqual(answer.status, status)
        listed = "/objects?limit=5&namespace=a%20b"
        for components in (("@method", "@target-uri"), ("@method", "@authority", "@path", "@query")):
            fields = headers(port, "GET", listed, b"", components=components)
            answer = self.client.request("GET", listed, headers=fields)
            self.assertEqual(answer.status, 200)

    def test_a_body_in_chunks_is_checked_whole(self) -> None:
        fields = headers(self.server.port)
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        for body, status in [(BODY, b"201"), (BODY[:-1] + b" ", b"400")]:
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])) + b"0\r\n\r\n"
            request = (
                f"POST /objects HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n{head}\r\n"
            )
            self.assertEqual(exchange(self.server.port, request.encode() + chunks).split()[1], status)

    def test_a_target_in_absolute_form_names_the_authority(self) -> None:
        authority = f"localhost:{self.server.port}"
        request = SignedRequest("GET", "http", authority, "/objects")
        fields = sign(request, keyid="sig1", signer=signer, created=int(time.time()))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        data = f"GET http://{authority}/objects HTTP/1.1\r\nHost: other\r\nConnection: close\r\n{head}\r\n"
        self.assertEqual(exchange(self.server.port, data.encode()).split()[1], b"200")

    def test_fields_in_several_lines_are_one_dictionary(self) -> None:
        fields = headers(self.server.port)
        lines = [("Signature-Input", 'other=("@method")'), *fields.items(), ("Signature", "other=:AAAA:")]
        head = "".join(f"{name}: {value}\r\n" for name, value in lines)
        request = (
            f"POST /objects HTTP/1.1\r\nHost: 127.0.0.1:{self.server.port}\r\nConnection: close\r\n"
            f"Content-Length: {len(BODY)}\r\n{head}\r\n"
        )
        self.assertEqual(exchange(self.server.port, request.encode() + BODY).split()[1], b"201")

    def test_another_body_or_a_wrong_digest_is_400(self) -> None:
        fields = headers(self.server.port)
        self.assertIn("sha-256", self.refused(self.post(fields, body=BODY + b" "), 400))
        self.refused(self.post({**fields, "Content-Digest": "sha-256=nonsense"}), 400)

    def test_what_does_not_verify_is_401(self) -> None:
        port, now = self.server.port, int(time.time())
        for name, fields in {
            "unknown keyid": headers(port, keyid="sig2"),
            "other target": headers(port, target="/objects/search"),
            "other method": headers(port, method="PUT"),
            "other authority": headers(port + 1),
            "too old": headers(port, created=now - 102),
            "in the future": headers(port, created=now + 70),
            "too little": headers(port, components=("@method", "@path")),
            "another's key": headers(port, signer=lambda message: sign_slowly(b"\1" * 32, message)),
            "own key": headers(port, keyid=key_id(PUBLIC)),
        }.items():
            with self.subTest(name):
                self.refused(self.post(fields), 401)
        self.assertEqual(self.post(headers(port, created=now - 95)).status, 201)

    def test_a_401_shows_the_base_that_the_server_computed(self) -> None:
        port = self.server.port
        error = self.post(headers(port, target="/objects/search")).json["error"]
        lines = error["details"]["signature_base"].split("\n")
        self.assertEqual(lines[0], '"@method": POST')
        self.assertEqual(lines[1], f'"@target-uri": http://127.0.0.1:{port}/objects')
        self.assertTrue(lines[2].startswith('"content-digest": sha-256=:'))
        self.assertTrue(lines[3].startswith('"@signature-params": ("@method" "@target-uri" "content-digest");created='))
        self.assertEqual(len(lines), 4)
        legacy = self.client.request("GET", "/objects", headers=headers(port, legacy=True)).json["error"]
        self.assertEqual(legacy["details"]["signature_base"], f"GET http://127.0.0.1:{port}/objects")
        for fields in ({}, headers(port, keyid="sig2"), headers(port, created=1), headers(port, components=("@path",))):
            self.assertIsNone(self.post(fields).json["error"]["details"])

    def test_reading_a_log_shows_it_too(self) -> None:
        fields = headers(self.server.port, "GET", "/other", b"", keyid=key_id(PUBLIC))
        error = self.client.request("GET", "/logs", headers=fields).json["error"]
        self.assertIn(f'"@target-uri": http://127.0.0.1:{self.server.port}/logs\n', error["details"]["signature_base"])

    def test_a_long_base_is_cut(self) -> None:
        fields = headers(self.server.port, "GET", "/other", b"")
        shown = self.client.request("GET", "/objects?x=" + "y" * 7000, headers=fields).json["error"]["details"]
        self.assertEqual(len(shown["signature_base"]), 4097)
        self.assertTrue(shown["signature_base"].endswith("yyy…"))

    def test_a_signature_without_components_is_told_what_to_cover(self) -> None:
        lacking = "it must cover @method; and @target-uri, or @authority and @path; and content-digest."
        for input_ in (f'sig1=();created={int(time.time())};keyid="sig1"', "sig1=()", 'sig1=();keyid="other"'):
            fields = {"Signature-Input": input_, "Signature": f"sig1=:{'A' * 86}==:"}
            self.assertIn(lacking, self.refused(self.post(fields), 401))

    def test_legacy_and_other_labels_are_judged_one_by_one(self) -> None:
        port = self.server.port
        good = headers(port, nonce=str(time.time_ns()))
        bad = headers(port, target="/objects/search", label="sig2")
        value = b64u_encode(signer(f"POST http://127.0.0.1:{port}/objects".encode()))
        legacy = {"Signature-Input": 'Leg-1=();keyid="sig1"', "Signature": f"Leg-1=:{value}:"}
        wrong = {**legacy, "Signature": f"Leg-1=:{b64u_encode(bytes([255] * 64))}:"}

        def both(*fields: Mapping[str, str]) -> dict[str, str]:
            joined = {name: ", ".join(one[name] for one in fields) for name in ("Signature-Input", "Signature")}
            return {**good, **joined}

        self.assertEqual(self.post(both(legacy, bad)).status, 201)
        self.assertEqual(self.post(both(bad, legacy)).status, 201)
        self.assertEqual(self.post(both(wrong, good)).status, 201)
        message = self.refused(self.post(both(wrong, bad)), 401)
        self.assertIn("Signature Leg-1:", message)
        self.assertIn("Signature sig2:", message)
        # The spellings of the legacy form are for its own labels.
        url = {**bad, "Signature": f"sig2=:{'-_' * 43}==:"}
        self.refused(self.post(both(legacy, url)), 400)
        upper = {name: value.replace("sig2", "Sig2") for name, value in bad.items()}
        self.refused(self.post(both(legacy, upper)), 400)

    def test_unknown_and_repeated_components_and_parameters_of_the_query_are_400(self) -> None:
        port = self.server.port
        bad = ('"@method" "@method"', '"@nonsense"', '"X-Upper"', '"@method";req', '"@query-param";name="a"')
        for components in bad:
            with self.subTest(components):
                fields = {"Signature-Input": f'sig1=({components});keyid="sig1"', "Signature": "sig1=:AAAA:"}
                self.refused(self.client.request("GET", "/objects?a=1&a=2", headers=fields), 400)
        self.assertEqual(self.post(headers(port)).status, 201)

    def test_a_nonce_is_accepted_once_and_not_used_up_by_a_bad_signature(self) -> None:
        port = self.server.port
        nonce = str(time.time_ns())
        fields = headers(port, nonce=nonce)
        self.refused(self.client.request("PUT", "/objects/x", body=BODY, headers=fields), 401)
        self.assertEqual(self.post(fields).status, 201)
        self.assertIn("nonce", self.refused(self.post(fields), 401))
        self.assertEqual(self.post(headers(port, nonce=nonce + "x")).status, 201)

    def test_of_many_requests_at_once_only_one_uses_a_nonce(self) -> None:
        fields = headers(self.server.port, nonce=f"race {time.time_ns()}")
        statuses = []
        barrier = threading.Barrier(8)

        def race() -> None:
            with Client(self.server.port) as client:
                client.request("GET", "/health")
                barrier.wait()
                statuses.append(client.request("POST", "/objects", body=BODY, headers=fields).status)

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(statuses), [201] + [401] * 7)

    def test_the_published_clients_form(self) -> None:
        port = self.server.port
        fields = headers(port, legacy=True, created=1)
        self.assertEqual(self.post(fields).status, 201)
        value = b64u_encode(signer(f"POST http://127.0.0.1:{port}/objects".encode()))
        fields = {"Signature-Input": 'Sig1=();keyid="sig1"', "Signature": f"Sig1=:{value}:"}
        self.assertEqual(self.post(fields).status, 201)
        self.refused(self.client.request("GET", "/objects", headers=fields), 401)

    def test_many_signatures_are_refused_before_any_is_verified(self) -> None:
        covered = f'("@method" "@target-uri");created={int(time.time())};keyid="sig1"'
        fields = {
            "Signature-Input": ", ".join(f"s{n}={covered}" for n in range(100)),
            "Signature": ", ".join(f"s{n}=:{'A' * 86}==:" for n in range(100)),
        }
        self.refused(self.client.request("GET", "/objects", headers=fields), 400)

    def test_the_capability_document_says_so(self) -> None:
        self.assertEqual((self.signatures()["mode"], self.signatures()["max_age_sec"]), ("strict", 100))


class WithoutLegacy(OverSockets):
    environ: ClassVar[Mapping[str, str]] = {**STRICT, "OMP_SIG_LEGACY": "0"}

    def test_the_legacy_form_covers_too_little_and_its_spellings_are_malformed(self) -> None:
        port = self.server.port
        message = self.refused(self.post(headers(port, legacy=True)), 401)
        self.assertIn("it must cover @method; and @target-uri, or @authority and @path; and content-digest.", message)
        self.refused(self.post({"Signature-Input": 'Sig1=();keyid="sig1"', "Signature": "Sig1=:AAAA:"}), 400)
        self.assertEqual(self.post(headers(port)).status, 201)

    def test_the_capability_document_and_the_start_say_so(self) -> None:
        self.assertIs(self.signatures()["legacy"], False)
        self.assertFalse([notice for notice in self.server.parts.notices if "legacy" in notice])


class Durable(unittest.TestCase):
    def test_a_nonce_stays_used_after_a_restart(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            storage = f"sqlite:{Path(directory) / 'omp.db'}"
            request = SignedRequest("POST", "http", "example.com", "/objects", [], BODY)
            fields = dict(sign(request, keyid="sig1", signer=signer, created=int(time.time()), nonce="n"))
            fields["Host"] = "example.com"  # the port differs from run to run
            environ = {**STRICT, "OMP_PUBLIC_URL": "http://example.com"}
            for status in (201, 401):
                with running_server(environ, storage) as server, Client(server.port) as client:
                    self.assertEqual(client.request("POST", "/objects", body=BODY, headers=fields).status, status)


def guard_of(environ: Mapping[str, str], now: float = NOW, store: MemoryStore | None = None) -> SignatureGuard:
    settings = read_settings(SETTINGS, environ)
    return SignatureGuard(settings, environ, store or MemoryStore(), lambda: now, best_engine())


def request_by(keyid: str, **options: Any) -> Request:
    """A GET that SEED signed under `keyid`."""
    fields = [("host", "127.0.0.1")]
    added = sign(
        SignedRequest("GET", "http", "127.0.0.1", "/objects", fields),
        keyid=keyid,
        signer=signer,
        created=NOW,
        **options,
    )
    fields += [(name.lower(), value) for name, value in added]
    here = recognized("127.0.0.1", Local("127.0.0.1", 80), "http", ())
    return Request("GET", "/objects", dict(fields), fields, destination=here)


class Keys(unittest.TestCase):
    """Which keys a keyid stands for: omp §4.4, first match wins."""

    def verifies(self, environ: Mapping[str, str], keyid: str = "sig1", *, own_keys: bool = False) -> bool:
        try:
            found = guard_of({"OMP_SIG_MODE": "strict", **environ}).check(request_by(keyid), own_keys=own_keys)
        except ApiError as error:
            self.assertEqual(error.status, 401)
            return False
        assert found is not None
        self.assertEqual((found.keyid, found.public_key), (keyid, PUBLIC))
        return True

    def test_a_key_is_32_bytes_in_base64url_base64_or_hex(self) -> None:
        key = bytes(range(224, 256))  # its base64 has both letters that differ
        self.assertIn("+", b64_encode(key) + b64_encode(b"\xfb" * 32))
        for raw in (key, b"\xfb" * 32, b"\xff" * 32):
            texts = (b64u_encode(raw), b64u_encode(raw) + "=", b64_encode(raw), raw.hex(), raw.hex().upper())
            for text in (*texts, f" {raw.hex()}\n"):
                with self.subTest(text):
                    self.assertEqual(decode_key(text), raw)

    def test_anything_else_is_not_a_key(self) -> None:
        near = (KEY[:-1], KEY + "A", PUBLIC.hex()[:-1], PUBLIC.hex() + "0", KEY[:-1] + "~")
        for text in ("", "CVmdUxWl3cfsGEco...", "é" * 43, *near):
            with self.subTest(text), self.assertRaises(ValueError):
                decode_key(text)

    def test_every_place_of_a_key(self) -> None:
        for environ, keyid in [
            ({"OMP_SIG_PUB_sig1": KEY}, "sig1"),
            ({"OMP_SIG_PUB_SIG1": KEY}, "sig1"),
            ({"OMP_SIG_PUB_sig1": KEY}, "SIG1"),
            ({"OMP_SIG_PUB_HEX_sig1": PUBLIC.hex()}, "sig1"),
            ({"OMP_SIG_PUB_HEX_SIG1": PUBLIC.hex()}, "Sig1"),
            ({"OMP_SIG_KEYS": json.dumps({"a/b c": KEY})}, "a/b c"),
            ({"OMP_SIG_KEYID": "sig1", "OMP_SIG_ED25519_PUB": KEY}, "sig1"),
        ]:
            with self.subTest(environ):
                self.assertTrue(self.verifies(environ, keyid))
                self.assertFalse(self.verifies(environ, "other"))

    def test_the_first_place_that_has_a_key_wins(self) -> None:
        wrong = b64u_encode(OTHER)
        places = [
            {"OMP_SIG_PUB_Sig1": "?"},
            {"OMP_SIG_PUB_SIG1": "?"},
            {"OMP_SIG_PUB_sig1": "?"},
            {"OMP_SIG_PUB_HEX_Sig1": "?"},
            {"OMP_SIG_PUB_HEX_SIG1": "?"},
            {"OMP_SIG_PUB_HEX_sig1": "?"},
            {"OMP_SIG_KEYS": '{"Sig1":"?"}'},
            {"OMP_SIG_KEYID": "Sig1", "OMP_SIG_ED25519_PUB": "?"},
        ]
        for first in range(len(places) - 1):
            for good in (True, False):
                environ: dict[str, str] = {}
                for rank, place in enumerate(places[first:]):
                    right = good if rank == 0 else not good
                    environ |= {name: text.replace("?", KEY if right else wrong) for name, text in place.items()}
                with self.subTest(first=places[first], good=good):
                    self.assertIs(self.verifies(environ, "Sig1"), good)

    def test_the_fallback_is_for_unknown_keyids_and_off_by_default(self) -> None:
        wrong = b64u_encode(OTHER)
        environ = {"OMP_SIG_PUB_other": KEY, "OMP_SIG_PUB_sig2": wrong, "OMP_SIG_PUBLIC_URL": "http://h"}
        self.assertFalse(self.verifies(environ))
        self.assertTrue(self.verifies({**environ, "OMP_SIG_ENV_FALLBACK": "1"}))
        self.assertFalse(self.verifies({**environ, "OMP_SIG_ENV_FALLBACK": "1"}, "sig2"))
        self.assertTrue(self.verifies({"OMP_SIG_PUBKEY": KEY, "OMP_SIG_ENV_FALLBACK": "1"}))
        self.assertTrue(self.verifies({"OMP_SIG_PUB": KEY, "OMP_SIG_ENV_FALLBACK": "1"}))

    def test_a_key_id_stands_for_its_own_key_only_on_request(self) -> None:
        self.assertTrue(self.verifies({}, key_id(PUBLIC), own_keys=True))
        self.assertFalse(self.verifies({}, key_id(PUBLIC)))
        self.assertFalse(self.verifies({"OMP_SIG_PUB_sig1": KEY}, key_id(OTHER), own_keys=True))
        self.assertFalse(self.verifies({"OMP_SIG_PUB_sig1": KEY}, key_id(PUBLIC)[:-1], own_keys=True))
        self.assertTrue(self.verifies({"OMP_SIG_PUB_sig1": KEY}, "sig1", own_keys=True))


class Configuration(unittest.TestCase):
    def test_an_unusable_setting_stops_the_start_and_is_named(self) -> None:
        for environ in (
            {"OMP_SIG_MODE": "Strict"},
            {"OMP_SIG_MAX_AGE": "0"},
            {"OMP_SIG_MAX_AGE": "-1"},
            {"OMP_SIG_LEGACY": "maybe"},
            {"OMP_SIG_PUB_sig1": "CVmdUxWl3cfsGEco..."},
            {"OMP_SIG_PUB_HEX_sig1": "abc"},
            {"OMP_SIG_ED25519_PUB": "abc"},
            {"OMP_SIG_KEYS": "nonsense"},
            {"OMP_SIG_KEYS": '["a"]'},
            {"OMP_SIG_KEYS": '{"a":1}'},
            {"OMP_SIG_KEYS": '{"a":"abc"}'},
            {"OMP_SIG_ENV_FALLBACK": "2"},
        ):
            (variable,) = environ
            with self.subTest(environ), self.assertRaisesRegex(SettingError, variable):
                guard_of(environ)

    def test_empty_variables_count_as_absent(self) -> None:
        environ = {"OMP_SIG_MODE": "", "OMP_SIG_PUB_sig1": "", "OMP_SIG_KEYS": "", "OMP_SIG_ED25519_PUB": ""}
        self.assertEqual(guard_of(environ).mode, "off")

    def test_start_notices_name_the_risks_of_mode_strict_only(self) -> None:
        for environ, words in [
            (STRICT, ["legacy"]),
            ({**STRICT, "OMP_SIG_LEGACY": "0"}, []),
            ({"OMP_SIG_MODE": "strict", "OMP_SIG_LEGACY": "0"}, ["without any key"]),
            ({**STRICT, "OMP_SIG_LEGACY": "0", "OMP_SIG_ED25519_PUB": KEY}, ["OMP_SIG_KEYID"]),
            ({**STRICT, "OMP_SIG_LEGACY": "0", "OMP_SIG_ENV_FALLBACK": "1"}, ["OMP_SIG_ENV_FALLBACK"]),
            ({"OMP_SIG_MODE": "permissive"}, []),
            ({"OMP_SIG_PUB_sig1": KEY}, []),
        ]:
            with self.subTest(environ):
                notices = guard_of(environ).notices()
                self.assertEqual(len(notices), len(words))
                for notice, word in zip(notices, words, strict=True):
                    self.assertIn(word, notice)


class Replay(unittest.TestCase):
    """The table of nonces."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.now = float(NOW)
        self.table = NonceTable(self.store, lambda: self.now, Policy(()), "nonces")
        self.table.housekeep(NOW - 3600)  # the server has run for an hour

    def rows(self) -> tuple[int, int]:
        with self.store.read() as tx:
            return tx.count("nonces"), tx.count("nonces_due")

    def test_a_nonce_is_fresh_once_for_each_keyid(self) -> None:
        tried = [("a", "n"), ("a", "n"), ("b", "n"), ("a", "m"), ("an", ""), ("a", "n")]
        self.assertEqual([self.table.fresh(*one, NOW + 300) for one in tried], [True, False, True, True, True, False])

    def test_it_is_used_through_its_last_second_and_fresh_again_after(self) -> None:
        self.assertTrue(self.table.fresh("a", "n", NOW + 10))
        self.now = NOW + 10.0
        self.assertFalse(self.table.fresh("a", "n", NOW + 20))
        self.now = NOW + 10.5
        self.assertTrue(self.table.fresh("a", "n", NOW + 20))
        self.assertEqual(self.rows(), (1, 1))
        self.now = NOW + 15.0
        self.assertFalse(self.table.fresh("a", "n", NOW + 30))

    def test_expired_nonces_are_forgotten_as_new_ones_come(self) -> None:
        for number in range(1050):
            self.table.fresh("a", f"old {number}", NOW + 10)
        self.now += 20
        self.table.housekeep(NOW + 20)
        self.assertEqual(self.rows(), (50, 50))
        for number in range(10):
            self.table.fresh("a", f"new {number}", NOW + 40)
        self.assertEqual(self.rows(), (10, 10))

    def test_housekeeping_forgets_expired_nonces_only(self) -> None:
        self.table.fresh("a", "short", NOW + 10)
        self.table.fresh("a", "long", NOW + 100)
        self.table.housekeep(NOW + 10)
        self.assertEqual(self.rows(), (2, 2))
        self.table.housekeep(NOW + 12)
        self.assertEqual(self.rows(), (1, 1))
        self.now += 50
        self.assertFalse(self.table.fresh("a", "long", NOW + 100))

    def test_a_row_has_one_size_whatever_the_nonce(self) -> None:
        self.table.fresh("k" * 10000, "n" * 10000, NOW)
        with self.store.read() as tx:
            ((row, value),) = tx.scan("nonces")
        self.assertEqual((len(row), len(value)), (32, 8))

    def test_the_housekeeping_of_a_guard_forgets_nonces(self) -> None:
        guard = guard_of(STRICT, store=self.store)
        guard.check(request_by("sig1", nonce="n"))
        with self.assertRaises(ApiError):
            guard.check(request_by("sig1", nonce="n"))
        guard.housekeep(NOW + 302)
        with self.store.read() as tx:
            self.assertEqual(tx.count("signature_nonces"), 1)  # the clock may be ahead since before the start
        guard.housekeep(NOW + 302 + 360)
        with self.store.read() as tx:
            self.assertEqual(tx.count("signature_nonces"), 0)


if __name__ == "__main__":
    unittest.main()
