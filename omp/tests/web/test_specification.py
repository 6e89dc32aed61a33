"""``omp/SPEC.md`` beside the code: its worked example is computed again, its tables are those that the code uses."""

from __future__ import annotations

import re
import unittest
from hashlib import sha256

from omp.rules import canonical, json_text
from omp.rules.canonical import canonicalize
from omp.rules.ed25519 import SMALL_ORDER, public_key_slowly, sign_slowly
from omp.rules.encodings import b64u_encode
from omp.rules.engines import handwritten_engine
from omp.rules.http_signatures import MAX_LABELS, Policy, legacy_message, parse_signatures, sign, verify
from omp.rules.signature_base import ALGORITHMS, DERIVED, FIELD_TYPES, SignatureError, SignedRequest, signature_base
from omp.store import sqlite_file
from omp.tests import TOP
from omp.web import connection, server, wire
from omp.web.errors import CODES
from omp.web.messages import encode_cursor
from omp.web.signature_guard import REQUIRED, SETTINGS

TEXT = (TOP / "omp" / "SPEC.md").read_text()


def section(number: str) -> str:
    """The text of a section, without its heading."""
    found = re.search(rf"^#+ {re.escape(number)}\.? [^\n]*\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, number
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row of `text`, headings included."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of `text` in one language."""
    return re.findall(rf"^```{language}\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)


class WorkedExample(unittest.TestCase):
    """omp §4.6."""

    def setUp(self) -> None:
        text = section("4.6")
        values = {name: value.strip("`") for name, value in (row for row in rows(text) if len(row) == 2)}
        self.seed = bytes.fromhex(values["seed, hex"])
        self.public_key = bytes.fromhex(values["public key, hex"])
        self.public_key_text = values["public key, base64url"]
        self.request, self.legacy_fields = blocks(text, "http")
        (self.base,) = blocks(text, "text")
        self.base_bytes, self.signature = (bytes.fromhex(block) for block in blocks(text, "hex"))
        self.first, self.last = map(int, re.findall(r"between the epoch seconds (\d+) and (\d+)", text)[0])

    def field(self, line: str) -> tuple[str, str]:
        name, _, value = line.partition(":")
        return name.lower(), value.strip()

    def parsed(self, drop: tuple[str, ...] = (), extra: str = "") -> SignedRequest:
        head, _, body = self.request.partition("\n\n")
        line, *lines = head.splitlines()
        method, target, _ = line.split(" ")
        fields = [field for field in map(self.field, lines) if field[0] not in drop]
        fields += map(self.field, extra.splitlines())
        return SignedRequest(method, "http", dict(fields)["host"], target, fields, body.encode())

    def test_the_key_follows_from_the_seed(self) -> None:
        self.assertEqual(public_key_slowly(self.seed), self.public_key)
        self.assertEqual(b64u_encode(self.public_key), self.public_key_text)

    def test_the_base_and_the_signature_follow_from_the_request(self) -> None:
        request = self.parsed()
        self.assertEqual(dict(request.fields)["content-length"], str(len(request.body)))
        (signature,) = parse_signatures(request)
        base = signature_base(request, signature.covered)
        self.assertEqual((base.decode(), base), (self.base, self.base_bytes))
        self.assertIn(f"{len(base)} bytes", section("4.6"))
        self.assertEqual(sign_slowly(self.seed, base), self.signature)
        self.assertEqual(signature.value, self.signature)

    def test_signing_makes_the_fields_of_the_request(self) -> None:
        unsigned = self.parsed(drop=("content-digest", "signature-input", "signature"))
        added = sign(
            unsigned,
            keyid="sig1",
            signer=lambda message: sign_slowly(self.seed, message),
            created=1700000000,
            nonce="b3k50k2e",
        )
        self.assertEqual([*unsigned.fields, *((name.lower(), value) for name, value in added)], self.parsed().fields)

    def verified(self, request: SignedRequest, now: float, legacy: bool = False) -> str:
        def keys_of(keyid: str) -> list[bytes]:
            return [self.public_key] if keyid == "sig1" else []

        policy = Policy(REQUIRED, legacy=legacy)
        return verify(request, policy, keys_of, handwritten_engine().verify, now, lambda *nonce: True).label

    def test_it_is_let_in_at_the_times_that_are_given(self) -> None:
        for now in (self.first, self.last):
            self.assertEqual(self.verified(self.parsed(), now), "sig1")
        for now in (self.first - 1, self.last + 1):
            with self.assertRaises(SignatureError) as caught:
                self.verified(self.parsed(), now)
            self.assertEqual(caught.exception.status, 401)

    def test_the_legacy_form_of_the_same_request(self) -> None:
        request = self.parsed(("content-digest", "signature-input", "signature"), self.legacy_fields)
        self.assertIn(f"signs `{legacy_message(request).decode()}`", section("4.6").replace("\n", " "))
        self.assertEqual(self.verified(request, 0, legacy=True), "sig1")


class Tables(unittest.TestCase):
    """What is listed is what the code has."""

    def test_the_codes_of_errors(self) -> None:
        listed = {int(status): code.strip("`") for status, code, _ in rows(section("3.2"))[1:]}
        self.assertEqual(listed, {status: code for status, (code, _) in CODES.items()})

    def test_the_limits_of_requests(self) -> None:
        limits = {what: limit for what, limit, _ in rows(section("1.4"))[1:]}
        for what, number in (
            ("request line", wire.MAX_REQUEST_LINE),
            ("header section", wire.MAX_HEAD),
            ("header section", wire.MAX_FIELDS),
            ("one line of the chunked coding", wire.MAX_CHUNK_LINE),
            ("trailers", wire.MAX_TRAILERS),
            ("framing of the chunked coding: size lines with their extensions, and line ends", wire.FREE_FRAMING),
            ("framing of the chunked coding: size lines with their extensions, and line ends", wire.CONTENT_A_FRAMING),
            ("a request, to arrive", int(server.REQUEST_SECONDS)),
            ("an idle connection", int(server.REQUEST_SECONDS)),
            ("connections", server.MAX_CONNECTIONS),
            ("signatures on a request", MAX_LABELS),
        ):
            with self.subTest(what):
                self.assertRegex(limits[what], rf"(^|\D){number:,}(\D|$)")
        drained = f"at most {connection.LINGER_SECONDS:g} seconds or {connection.LINGER_BYTES >> 20} MiB"
        self.assertIn(drained, section("1.4").replace("\n", " "))

    def test_the_limits_of_json(self) -> None:
        text = section("2.1").replace("\n", " ")
        self.assertIn(f"nesting deeper than {json_text.MAX_DEPTH},", text)
        self.assertIn(f"more than {json_text.MAX_INTEGER_DIGITS} digits", text)
        text = section("2.2").replace("\n", " ")
        self.assertIn(f"nested deeper than {canonical.MAX_DEPTH}.", text)
        self.assertIn(f"at most {canonical.OMP_CJ_DEPTH}.", text)

    def test_the_example_of_canonical_json(self) -> None:
        ((before, after),) = re.findall(r"^`(.*)` becomes `(.*)`\.$", section("2.2"), re.MULTILINE)
        self.assertEqual(canonicalize(json_text.parse(before.encode())).decode(), after)

    def test_the_components_the_fields_and_the_digests(self) -> None:
        text = section("4.2")
        for name in [*DERIVED, *FIELD_TYPES]:
            self.assertIn(f"`{name}`", text)
        for name in ALGORITHMS:
            self.assertIn(f"`{name}`", section("4.5"))

    def test_the_settings_of_signatures_and_their_defaults(self) -> None:
        text = section("1.1")
        listed = {row[0].strip("`"): row[2].strip("`") for row in rows(text)[1:]}
        for setting in SETTINGS:
            self.assertIn(f"`{setting.variable}`", text)
        for name in ("mode", "max_age", "legacy"):
            (setting,) = (each for each in SETTINGS if each.name == name)
            default = listed[setting.variable]
            self.assertEqual(setting.parse(default), setting.default)

    def test_the_points_of_small_order(self) -> None:
        (encodings,) = blocks(section("5"), "hex")
        self.assertEqual({bytes.fromhex(line) for line in encodings.splitlines()}, SMALL_ORDER)

    def test_the_marks_of_the_database_file(self) -> None:
        self.assertIn(f"0x{sqlite_file.APPLICATION_ID:X}", section("8"))
        self.assertIn(f"schema version {sqlite_file.SCHEMA_VERSION}", section("8").replace("\n  ", " "))

    def test_the_form_of_a_cursor(self) -> None:
        checksum = sha256(b"omp cursor a list\0place").digest()[:8]
        self.assertEqual(encode_cursor(b"place", "a list"), b64u_encode(b"place" + checksum))


if __name__ == "__main__":
    unittest.main()
