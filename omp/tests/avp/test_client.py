"""The client's half of AVP (§8 to §10): join tokens, addresses, sealing, a member's requests.

The published vectors are reproduced where they lie beside the checkout.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import unittest
from collections.abc import Callable
from typing import Any

from omp.protocols.avp import member, sealing
from omp.protocols.avp.member import Address, BadToken
from omp.protocols.avp.sealing import CannotOpen
from omp.protocols.avp.witness import Shown, UnvouchedMember
from omp.rules.ed25519 import public_key_slowly, sign_slowly, verify
from omp.rules.encodings import b64u_encode
from omp.tests import PUBLISHED as PUBLISHED_DATA
from omp.tests.avp.parties import ALICE, BOB

PUBLISHED = PUBLISHED_DATA / "avp"
needs_cryptography = unittest.skipUnless(
    importlib.util.find_spec("cryptography"), "the client's side needs the package cryptography"
)
needs_published = unittest.skipUnless(PUBLISHED.is_dir(), "the published AVP vectors are not beside this checkout")


def published(name: str) -> Any:
    return json.loads((PUBLISHED / f"{name}.json").read_text())


@needs_published
class PublishedVectors(unittest.TestCase):
    def test_hkdf(self) -> None:
        for case in published("hkdf")["cases"]:
            ikm, salt, info = (bytes.fromhex(case[name]) for name in ("ikmHex", "saltHex", "infoHex"))
            self.assertEqual(sealing.hkdf_sha256(ikm, salt, info, case["length"]).hex(), case["okmHex"], case["name"])

    def test_ed25519(self) -> None:
        for case in published("ed25519")["cases"]:
            seed, key, message, signature = (
                bytes.fromhex(case[name]) for name in ("seedHex", "publicKeyHex", "messageHex", "signatureHex")
            )
            self.assertEqual((public_key_slowly(seed), sign_slowly(seed, message)), (key, signature))
            self.assertTrue(verify(key, message, signature))

    @needs_cryptography
    def test_x25519(self) -> None:
        for case in published("x25519")["cases"]:
            scalar, u = bytes.fromhex(case["scalarHex"]), bytes.fromhex(case["uCoordinateHex"])
            self.assertEqual(sealing.x25519(scalar, u).hex(), case["outputHex"], case["name"])

    @needs_cryptography
    def test_key_wrap(self) -> None:
        for case in published("key-wrap")["cases"]:
            recipient, data_key = (base64.b64decode(case[name]) for name in ("recipientPrivateKeyB64", "dataKeyB64"))
            wrapped = case["wrappedKey"]
            ephemeral = base64.b64decode(wrapped["ephemeralPublicKey"])
            self.assertEqual(sealing.x25519_public(recipient), base64.b64decode(case["recipientPublicKeyB64"]))
            shared = sealing.x25519(recipient, ephemeral)
            self.assertEqual(shared.hex(), case["sharedSecretHex"])
            self.assertEqual(sealing.key_encryption_key(shared, ephemeral).hex(), case["kekHex"])
            self.assertEqual(sealing.unwrap(wrapped, recipient), data_key)

    def test_join_tokens(self) -> None:
        for case in published("federation")["tokens"]:
            value, token = case["decoded"], case["base64url"]
            if case["schema"] == "InviteRequest":
                self.assertEqual(member.decode_invite_request(token), value)
                keys = value["ed25519PublicKey"], value["x25519PublicKey"]
                self.assertEqual(member.encode_invite_request(*keys), token)
            else:
                self.assertEqual(member.decode_locator(token), value)
                optional = (value.get(name) for name in ("schemeId", "keyEpoch", "issuerJwksUrl"))
                self.assertEqual(member.encode_locator(Address(value["host"], value["repoId"]), *optional), token)

    def test_addresses(self) -> None:
        for case in published("federation")["uris"]:
            address = Address(case["host"], case["repoId"])
            self.assertEqual(member.parse_address(case["uri"]), address)
            self.assertEqual(str(address), case["uri"])


class JoinTokens(unittest.TestCase):
    def test_unknown_members_are_ignored(self) -> None:
        token = b64u_encode(json.dumps({"later": 1, "repoId": "r", "host": "h", "v": 1}).encode())
        self.assertEqual(member.decode_locator(token)["host"], "h")

    def test_anything_but_such_a_token_is_refused(self) -> None:
        good = {"v": 1, "host": "h", "repoId": "r"}
        values: list[Any] = [
            [], None, {}, {**good, "v": 2}, {**good, "v": True}, {**good, "v": "1"}, {**good, "host": 1},
            {**good, "keyEpoch": "0"}, {**good, "keyEpoch": True}, {**good, "schemeId": None},
        ]  # fmt: skip
        texts = [b64u_encode(json.dumps(value).encode()) for value in values]
        texts += ["", "é", "e30=", "%%%", b64u_encode(b"\xff"), b64u_encode(b'{"v":1,"v":1}')]
        for text in texts:
            with self.assertRaises(BadToken):
                member.decode_locator(text)

    def test_an_invite_request_holds_two_keys_of_32_bytes(self) -> None:
        self.assertEqual(
            member.decode_invite_request(member.encode_invite_request(ALICE.id, BOB.id))["x25519PublicKey"], BOB.id
        )
        for one, other in ((ALICE.id, "x-abc"), ("", BOB.id), (ALICE.id[:-4], BOB.id)):
            with self.assertRaises(BadToken):
                member.decode_invite_request(member.encode_invite_request(one, other))

    def test_an_address_keeps_the_id_exactly(self) -> None:
        for repo_id in ("a/b", "a%2Fb", "?x#y", "é"):
            self.assertEqual(member.parse_address(f"avp://h:1/{repo_id}"), Address("h:1", repo_id))

    def test_anything_but_an_address_is_refused(self) -> None:
        for text in ("", "avp://", "avp://h", "avp://h/", "avp:///r", "http://h/r", "h/r", "avp://h/\udcff"):
            with self.assertRaises(BadToken):
                member.parse_address(text)


class Counter:
    """Bytes that never repeat, and are the same in every run."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return hashlib.shake_128(self.count.to_bytes(8, "big")).digest(size)


@needs_cryptography
class Members(unittest.TestCase):
    """What one member seals, another opens; parts that do not belong together do not open."""

    def setUp(self) -> None:
        self.random = Counter()
        self.alice, self.bob = member.new_keys(self.random), member.new_keys(self.random)
        body = member.creation(self.alice, "repo", b"the plan", self.random)
        self.manifest, self.sealed = body["manifest"], body["initialEnvelope"]

    def opened(self, keys: member.Keys | None = None) -> member.Opened:
        return member.opened(keys or self.alice, "repo", self.manifest, self.sealed)

    def admit_bob(self) -> None:
        request = member.decode_invite_request(
            member.encode_invite_request(self.bob.member_id, self.bob.x25519_public_key)
        )
        self.manifest["members"].append(member.invitation(self.alice, self.opened(), request, self.random)["member"])

    def cannot_open(self) -> None:
        with self.assertRaises(CannotOpen):
            self.opened()

    def test_the_creator_opens_what_it_sealed(self) -> None:
        self.assertEqual(self.opened().plaintext, b"the plan")

    def test_a_new_member_opens_it_with_its_own_key(self) -> None:
        self.admit_bob()
        self.assertEqual(self.opened(self.bob).plaintext, b"the plan")

    def test_a_stranger_cannot(self) -> None:
        with self.assertRaises(CannotOpen):
            self.opened(self.bob)

    def test_an_envelope_is_bound_to_repository_version_and_epoch(self) -> None:
        for name, other in (("repoId", "other"), ("payloadVersion", 2), ("keyEpoch", 1)):
            with self.assertRaises(CannotOpen):
                sealing.open_envelope(self.opened().data_key, {**self.sealed, name: other})

    def test_a_manifest_with_other_counters_than_the_envelope_is_refused(self) -> None:
        self.manifest["payloadVersion"] = 2
        self.cannot_open()

    def test_another_repository_in_the_answer_is_refused(self) -> None:
        with self.assertRaises(CannotOpen):
            member.opened(self.alice, "another", self.manifest, self.sealed)

    def test_a_changed_bit_anywhere_is_refused(self) -> None:
        for target in (self.sealed, self.manifest["members"][0]["wrappedDataKey"]):
            for name in ("iv", "ciphertext"):
                kept = target[name]
                raw = bytearray(base64.b64decode(kept))
                raw[-1] ^= 1
                for text in (base64.b64encode(raw).decode(), "", "x", kept[:-4]):
                    target[name] = text
                    self.cannot_open()
                target[name] = kept
        self.opened()

    def test_an_unknown_scheme_and_a_weak_ephemeral_key_are_refused(self) -> None:
        wrapped = self.manifest["members"][0]["wrappedDataKey"]
        for change in ({"schemeId": "x"}, {"ephemeralPublicKey": base64.b64encode(bytes(32)).decode()}):
            with self.assertRaises(CannotOpen):
                sealing.unwrap(wrapped | change, self.alice.x25519_private)

    def test_an_iv_must_have_12_bytes_and_a_data_key_32(self) -> None:
        data_key, place = self.opened().data_key, ("repo", 1, 0, b"the plan")
        for size in (8, 16):
            with self.assertRaises(CannotOpen):
                sealing.open_envelope(data_key, sealing.seal(data_key, self.random(size), *place))
        recipient = sealing.x25519_public(self.alice.x25519_private)
        for size in (0, 16, 33):
            wrapped = sealing.wrap(self.random(size), recipient, self.random(32), self.random(12))
            with self.assertRaises(CannotOpen):
                sealing.unwrap(wrapped, self.alice.x25519_private)

    def test_nobody_can_write_after_the_last_version(self) -> None:
        last = 2**63 - 1
        self.sealed = sealing.seal(self.opened().data_key, self.random(12), "repo", last, last, b"the end")
        self.manifest |= {"payloadVersion": last, "keyEpoch": last}
        now = self.opened()
        self.assertEqual(now.plaintext, b"the end")
        writes: list[Callable[[], Any]] = [
            lambda: member.payload(now, b"more", self.random),
            lambda: member.binding_of(self.alice, now, self.random),
            lambda: member.removal(self.alice, now, self.alice.member_id, self.random),
        ]
        for write in writes:
            with self.assertRaises(CannotOpen):
                write()

    def test_a_removed_member_cannot_open_later_envelopes(self) -> None:
        self.admit_bob()
        bobs = self.opened(self.bob)
        body = member.removal(self.alice, self.opened(), self.bob.member_id, self.random)
        self.manifest |= {"members": body["rewrappedMembers"], "keyEpoch": 1, "payloadVersion": 2}
        self.sealed = body["rotatedEnvelope"]
        self.assertEqual(self.opened().plaintext, b"the plan")
        with self.assertRaises(CannotOpen):
            sealing.open_envelope(bobs.data_key, self.sealed)

    def test_a_new_member_signs_its_own_binding(self) -> None:
        self.admit_bob()
        body = member.binding_of(self.bob, self.opened(self.bob), self.random)
        self.assertTrue(member.binding_holds(body["rotatedMembers"][1]))

    def test_swapped_keys_are_noticed_before_a_data_key_is_wrapped_to_them(self) -> None:
        self.admit_bob()
        self.manifest["members"][0]["x25519PublicKey"] = self.bob.x25519_public_key
        with self.assertRaises(CannotOpen):
            member.removal(self.alice, self.opened(), self.bob.member_id, self.random)

    def test_a_member_without_a_binding_stays_when_another_is_removed(self) -> None:
        self.admit_bob()
        body = member.removal(self.alice, self.opened(), self.alice.member_id, self.random)
        self.assertEqual([each["ed25519PublicKey"] for each in body["rewrappedMembers"]], [self.bob.member_id])
        self.assertIsNone(body["rewrappedMembers"][0]["keyBindingSig"])

    def test_a_roster_that_holds_a_member_twice_is_not_believed(self) -> None:
        self.admit_bob()
        self.manifest["members"].append(dict(self.manifest["members"][1]))
        with self.assertRaises(UnvouchedMember):
            Shown.to(self.alice, self.opened())

    def test_only_32_bytes_are_ever_signed_for_a_server(self) -> None:
        for nonce in ("", base64.b64encode(b"a|b").decode(), "x"):
            with self.assertRaises(CannotOpen):
                member.redemption(self.alice, nonce)

    def test_a_nonce_that_could_be_a_text_is_not_signed(self) -> None:
        text = b"GET http://omp.example/objects/1"  # what the legacy form of HTTP signatures signs
        self.assertEqual(len(text), 32)
        with self.assertRaisesRegex(CannotOpen, "is a text"):
            member.redemption(self.alice, base64.b64encode(text).decode())
        for other in (text[:-1] + b"\n", text[:-1] + b"\x7f", b"\x80" + text[1:]):
            self.assertTrue(member.redemption(self.alice, base64.b64encode(other).decode())["signature"])
