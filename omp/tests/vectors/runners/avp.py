"""How each kind of vector in ``vectors/avp/`` is run."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from omp.protocols.avp import member, sealing, vouching
from omp.protocols.avp.member import Address, BadToken, binding_holds
from omp.protocols.avp.sealing import CannotOpen
from omp.protocols.avp.vouching import WrapNotSigned
from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.encodings import b64_decode, b64_encode
from omp.tests.vectors.makers.avp import Exchange, FixedBytes
from omp.tests.vectors.makers.avp_signatures import fingerprints

Case = dict[str, Any]


def _need_cryptography(test: unittest.TestCase) -> None:
    if find_spec("cryptography") is None:
        test.skipTest("sealing and wrapping need the package cryptography")


def _aad(test: unittest.TestCase, case: Case) -> None:
    made = sealing.aad(case["repoId"], case["payloadVersion"], case["keyEpoch"])
    test.assertEqual(made.hex(), case["aad"])


def _payload(test: unittest.TestCase, case: Case) -> None:
    data_key, envelope, opened = b64_decode(case["dataKey"]), case["envelope"], case["plaintext"]
    _need_cryptography(test)
    if opened is None:
        with test.assertRaises(CannotOpen):
            sealing.open_envelope(data_key, envelope)
        return
    plaintext = b64_decode(opened)
    test.assertEqual(sealing.open_envelope(data_key, envelope), plaintext)
    place = envelope["repoId"], envelope["payloadVersion"], envelope["keyEpoch"]
    test.assertEqual(sealing.seal(data_key, b64_decode(envelope["iv"]), *place, plaintext), envelope)


def _key_wrap(test: unittest.TestCase, case: Case) -> None:
    private, wrapped, opened = b64_decode(case["recipientPrivateKey"]), case["wrappedKey"], case["dataKey"]
    steps = [case.get(name) for name in ("recipientPublicKey", "sharedSecret", "keyEncryptionKey")]
    ephemeral = b64_decode(case.get("ephemeralPrivateKey", ""))
    _need_cryptography(test)
    if opened is None:
        with test.assertRaises(CannotOpen):
            sealing.unwrap(wrapped, private)
        return
    data_key = b64_decode(opened)
    public = sealing.x25519_public(private)
    shared = sealing.x25519(ephemeral, public)
    kek = sealing.key_encryption_key(shared, sealing.x25519_public(ephemeral))
    test.assertEqual([b64_encode(each) for each in (public, shared, kek)], steps)
    test.assertEqual(sealing.unwrap(wrapped, private), data_key)
    test.assertEqual(sealing.wrap(data_key, public, ephemeral, b64_decode(wrapped["iv"])), wrapped)


def _key_binding(test: unittest.TestCase, case: Case) -> None:
    message = sealing.binding_message(case["ed25519PublicKey"], case["x25519PublicKey"])
    test.assertEqual(message.decode(), case["message"])
    test.assertEqual(binding_holds(case), case["holds"])
    if case["holds"]:
        seed = b64_decode(case["ed25519Seed"])
        test.assertEqual(b64_encode(public_key_slowly(seed)), case["ed25519PublicKey"])
        test.assertEqual(b64_encode(sign_slowly(seed, message)), case["keyBindingSig"])


def _wrap_signature(test: unittest.TestCase, case: Case) -> None:
    place, entry, by = (case["repoId"], case["keyEpoch"]), case["entry"], case["by"]
    message = vouching.wrap_message(*place, entry)
    test.assertEqual(message.hex(), case["message"])
    if by is None:
        with test.assertRaises(WrapNotSigned):
            vouching.wrapper_of(*place, entry)
        return
    test.assertEqual(vouching.wrapper_of(*place, entry), by)
    seed = b64_decode(case["ed25519Seed"])
    test.assertEqual(b64_encode(public_key_slowly(seed)), by)
    test.assertEqual({"by": by, "sig": b64_encode(sign_slowly(seed, message))}, entry["omp.wrap"])


def _fingerprint(test: unittest.TestCase, case: Case) -> None:
    counters = case["payloadVersion"], case["keyEpoch"]
    made = fingerprints(case["repoId"], *counters, b64_decode(case["dataKey"]), case["envelope"], case["members"])
    test.assertEqual({name: case[name] for name in made}, made)


def _join_token(test: unittest.TestCase, case: Case) -> None:
    decode = {"invite": member.decode_invite_request, "locator": member.decode_locator}[case["type"]]
    value = case["decoded"]
    if value is None:
        with test.assertRaises(BadToken):
            decode(case["token"])
        return
    test.assertEqual(decode(case["token"]), value)
    if not case["canonical"]:
        return
    if case["type"] == "invite":
        made = member.encode_invite_request(value["ed25519PublicKey"], value["x25519PublicKey"])
    else:
        scheme, epoch, url = (value.get(name) for name in ("schemeId", "keyEpoch", "issuerJwksUrl"))
        introduction = {name: value[name] for name in member.INTRODUCTION if name in value}
        made = member.encode_locator(Address(value["host"], value["repoId"]), scheme, epoch, url, introduction)
    test.assertEqual(made, case["token"])


def _address(test: unittest.TestCase, case: Case) -> None:
    if case["host"] is None:
        with test.assertRaises(BadToken):
            member.parse_address(case["address"])
        return
    address = Address(case["host"], case["repoId"])
    test.assertEqual(member.parse_address(case["address"]), address)
    test.assertEqual(str(address), case["address"])


def _login(test: unittest.TestCase, case: Case) -> None:
    nonce, seed = b64_decode(case["challenged"]["nonce"]), b64_decode(case["ed25519Seed"])
    server = Exchange(lambda size: nonce)
    test.assertEqual(server.answer("POST", "/api/auth/keypair/challenge", case["challenge"]), (200, case["challenged"]))
    status, value = server.answer("POST", "/api/auth/keypair/token", case["token"])
    test.assertEqual(status, case["status"])
    if status == 200:
        test.assertEqual(b64_encode(sign_slowly(seed, nonce)), case["token"]["signature"])
        test.assertEqual(value.keys(), {"token", "expiresAt"})


def _lifecycle(test: unittest.TestCase, case: Case) -> None:
    server = Exchange(FixedBytes("another server"))
    for name, keys in case["members"].items():
        server.log_in(name, b64_decode(keys["ed25519Seed"]))
    for step in case["steps"]:
        status, value = server.answer(step["method"], step["path"], step["body"], step["caller"])
        answer = value if status == 200 else {"code": value["code"]}
        test.assertEqual((status, answer), (step["status"], step["answer"]), step["name"])


RUNNERS: dict[str, Callable[[unittest.TestCase, Case], None]] = {
    "avp/aad": _aad,
    "avp/payload": _payload,
    "avp/key-wrap": _key_wrap,
    "avp/key-binding": _key_binding,
    "avp/wrap-signature": _wrap_signature,
    "avp/fingerprint": _fingerprint,
    "avp/join-token": _join_token,
    "avp/address": _address,
    "avp/login": _login,
    "avp/lifecycle": _lifecycle,
}
