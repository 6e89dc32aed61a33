"""SPEC.md says what the code does: the worked example, the payloads, the template, the routes, the commands."""

from __future__ import annotations

import json
import re
import unittest

from omp.protocols.nexus.defaults import BUILT_IN
from omp.protocols.nexus.ethereum import (
    address,
    checksummed,
    parse_signature,
    personal_message_hash,
    public_key_slowly,
    recover,
    recover_address,
    sign_slowly,
    signature_text,
)
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.routes import ROUTES
from omp.protocols.nexus.signatures import (
    FORM_B,
    FORMS,
    NotAuthenticated,
    as_written,
    authenticate,
    broken_payload,
    payload,
)
from omp.tests import TOP
from omp.tests.harness import Client, running_server

SPEC = (TOP / "omp/protocols/nexus/SPEC.md").read_text(encoding="utf-8")


def section(number: str) -> str:
    """The text from the heading of that section to the next heading."""
    found = re.search(rf"^#+ {re.escape(number)} .*?(?=^#)", SPEC, re.MULTILINE | re.DOTALL)
    assert found, number
    return found[0]


def tables(text: str) -> list[list[list[str]]]:
    """The tables of `text`, without their head: rows of cells, code marks taken off."""
    blocks = re.findall(r"^\|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[[cell.strip().strip("`") for cell in row[1:-1].split(" | ")] for row in b.splitlines()] for b in blocks]


def block(text: str, language: str) -> str:
    """The first fenced block of that language."""
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, language
    return found[1]


class WorkedExample(unittest.TestCase):
    """§3.8, down to the bytes."""

    def setUp(self) -> None:
        keys, *signed = ({row[0]: row[1] for row in table} for table in tables(section("3.8")))
        self.key, self.signed = keys, signed
        self.secret = int(keys["secret key"], 16)
        self.request = block(section("3.8"), "http")
        self.data = self.request.partition("\n\n")[2].encode()
        self.body = as_written(self.data)

    def test_the_address_follows_from_the_secret_key(self) -> None:
        public_key = public_key_slowly(self.secret)
        self.assertEqual(public_key.hex(), self.key["public key"])
        self.assertEqual(keccak256(public_key).hex(), self.key["its keccak256"])
        self.assertEqual(address(public_key), self.key["address"])
        self.assertEqual(checksummed(address(public_key)), self.key["with the checksum of EIP-55"])

    def test_payloads_hashes_and_signatures_follow_from_the_request(self) -> None:
        self.assertEqual(len(self.signed), 2)
        for shown, form in zip(self.signed, (FORMS[0], FORM_B), strict=True):
            signed = payload(self.body, form)
            self.assertEqual(signed.decode(), shown["payload"])
            self.assertIn(shown.get("payload in hex"), (None, signed.hex()))
            self.assertEqual(keccak256(signed).hex(), shown["h"])
            self.assertEqual(personal_message_hash(keccak256(signed)).hex(), shown["hash of the personal message"])
            for digest, signature in (
                (shown["h"], shown["signature over h"]),
                (shown["hash of the personal message"], shown["signature over that"]),
            ):
                made = sign_slowly(self.secret, bytes.fromhex(digest))
                self.assertEqual(signature_text(made), signature)
                self.assertEqual(
                    recover_address(bytes.fromhex(digest), parse_signature(signature)), self.key["address"]
                )
                self.assertEqual(recover(bytes.fromhex(digest), made).hex(), self.key["public key"])
                sent = self.data.replace(self.body["auth"]["signature"].encode(), signature.encode())
                authenticate(sent, self.key["address"])

    def test_the_request_is_answered_as_it_says(self) -> None:
        head, _, body = self.request.rstrip().partition("\n\n")
        line, *fields = head.split("\n")
        method, path, _ = line.split(" ")
        headers = dict(field.split(": ", 1) for field in fields if not field.startswith("Host"))
        with running_server() as server, Client(server.port) as client:
            answer = client.request(method, path, headers=headers, body=body.encode())
        self.assertEqual(answer.status, 200)
        self.assertIn(f"It is answered 200 with `{answer.body.decode()}`", section("3.8"))


class Payloads(unittest.TestCase):
    """§3.4 and §3.7."""

    def test_every_form_of_the_example_body_is_as_shown(self) -> None:
        body = as_written(block(section("3.4"), "json example-body").encode())
        rules, shown = tables(section("3.4"))
        self.assertEqual([form for form, _, _ in shown], ["A1", "A2", "A3", "A4", "B", "W1", "W2", "W3"])
        self.assertEqual([row[0] for row in rules], [form for form, _, _ in shown])
        for (_, text, digest), form in zip(shown, FORMS, strict=True):
            signed = payload(body, form)
            if form in FORMS[:2]:
                text = text.replace("\\ue000", "\ue000").replace("\\u007f", "\x7f")
            self.assertEqual(signed.decode(), text)
            self.assertEqual(keccak256(signed).hex(), digest)

    def test_the_broken_form_is_as_shown_and_refused(self) -> None:
        body = {"overrides": {"temperature": 0.9}, "auth": {"publicKey": "", "signature": ""}}
        self.assertIn(f"    {broken_payload(body).decode()}\n", section("3.7"))
        owner = address(public_key_slowly(7))
        signature = signature_text(sign_slowly(7, keccak256(broken_payload(body))))
        sent = {**body, "auth": {"publicKey": owner, "signature": signature}}
        with self.assertRaises(NotAuthenticated):
            authenticate(json.dumps(sent).encode(), owner)


class Tables(unittest.TestCase):
    """What the document lists is what the server serves."""

    def test_the_built_in_template(self) -> None:
        self.assertEqual(json.loads(block(section("4.3"), "json built-in")), BUILT_IN)

    def test_the_routes(self) -> None:
        [listed] = tables(section("9.1"))
        self.assertEqual({row[0] for row in listed}, {f"{route.method} {route.path}" for route in ROUTES})
        for row in listed:
            route = next(route for route in ROUTES if row[0] == f"{route.method} {route.path}")
            self.assertEqual(row[1] == "yes", bool(route.auth), row)
            self.assertEqual(row[2] == "yes", route.body is not None, row)

    def test_the_commands_and_the_profile(self) -> None:
        with running_server() as server, Client(server.port) as client:
            commands = client.request("GET", "/api/v1/commands").json
            security = client.request("GET", "/api/v1/security").json
            profile = client.request("GET", "/api/v1/config", headers={"Authorization": "Bearer 0x" + "0" * 40}).json
        listed = tables(section("8.1"))[1]
        served = [
            [
                command["name"],
                command["handler"],
                *(
                    command.get("restOptions", {}).get(name, "none")
                    for name in ("endpoint", "getEndpoint", "postEndpoint")
                ),
                str(command["requiresGUI"]).lower(),
            ]
            for command in commands
        ]
        self.assertEqual(served, listed)
        [shown] = json.loads(block(section("8.1"), "json"))
        self.assertIn(shown, commands)
        self.assertEqual(json.loads(block(section("8.2"), "json")), security)
        shown = json.loads(block(section("5.2"), "json"))
        self.assertEqual(shown["field_options"], profile["field_options"])
        self.assertEqual(shown["editable_fields"], profile["editable_fields"])
        self.assertEqual(list(shown), list(profile))


if __name__ == "__main__":
    unittest.main()
