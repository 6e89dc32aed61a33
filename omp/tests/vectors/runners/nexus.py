"""How each kind of vector in ``vectors/nexus/`` is run."""

from __future__ import annotations

import json
import unittest
from collections.abc import Callable
from typing import Any

from omp.protocols.nexus.defaults import BUILT_IN
from omp.protocols.nexus.ethereum import (
    InvalidSignature,
    address,
    checksummed,
    parse_signature,
    personal_message_hash,
    public_key_slowly,
    recover,
    recover_address,
    sign_slowly,
)
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.profile import DoesNotFit, Overrides, checked, effective_profile, merged, read_defaults
from omp.protocols.nexus.signatures import FORMS, NotAuthenticated, as_written, authenticate, bearer, payload
from omp.protocols.nexus.writes import WRITES

Case = dict[str, Any]


def _address(test: unittest.TestCase, case: Case) -> None:
    public_key = public_key_slowly(int(case["secretKey"], 16))
    test.assertEqual(public_key.hex(), case["publicKey"])
    test.assertEqual(address(public_key), case["address"])
    test.assertEqual(checksummed(case["address"]), case["checksummed"])


def _checksum(test: unittest.TestCase, case: Case) -> None:
    test.assertEqual(checksummed(case["address"]), case["checksummed"])


def _recovery(test: unittest.TestCase, case: Case) -> None:
    digest = bytes.fromhex(case["digest"])
    if "error" in case:
        with test.assertRaises(InvalidSignature) as caught:
            recover(digest, parse_signature(case["signature"]))
        test.assertEqual(caught.exception.code, case["error"])
        return
    signature = parse_signature(case["signature"])
    test.assertEqual(recover(digest, signature).hex(), case["publicKey"])
    test.assertEqual(recover_address(digest, signature), case["address"])


def _signed_request(test: unittest.TestCase, case: Case) -> None:
    test.assertIn(case["endpoint"], [write.endpoint for write in WRITES])
    data = case["body"].encode()
    body = as_written(data)
    try:
        owner = bearer(case["authorization"])
        authenticate(data, owner)
    except NotAuthenticated as refusal:
        test.assertFalse(case["accepted"], refusal)
        return
    test.assertTrue(case["accepted"])
    # What was accepted is one of our payloads, hashed as the case says.
    signed = case["payload"].encode()
    test.assertIn(signed, [payload(body, form) for form in FORMS])
    test.assertEqual(keccak256(signed).hex(), case["hash"])
    digest = personal_message_hash(keccak256(signed)) if case["personal"] else keccak256(signed)
    test.assertEqual(recover_address(digest, parse_signature(body["auth"]["signature"])), owner)
    if case.get("madeBy"):
        # The libraries sign deterministically (RFC 6979): so does our hand-written signing, to the same r and s.
        made, ours = parse_signature(body["auth"]["signature"]), sign_slowly(int("46" * 32, 16), digest)
        test.assertEqual(made, ours)


def _profile(test: unittest.TestCase, case: Case) -> None:
    defaults = read_defaults(BUILT_IN if case["template"] is None else case["template"])
    stored: Overrides = {}
    for write in case["writes"]:
        kind = write["endpoint"].removeprefix("/")
        if "refused" in write:
            with test.assertRaises(DoesNotFit) as caught:
                checked(defaults, kind, write["overrides"])
            test.assertTrue(str(caught.exception).startswith(write["refused"] + ": "), caught.exception)
        else:
            stored = merged(stored, kind, checked(defaults, kind, write["overrides"]))
    # Compared as text: 2 beside 2.0 counts, and true beside 1.
    profile = effective_profile(defaults, stored)
    test.assertEqual(json.dumps(profile, sort_keys=True), json.dumps(case["profile"], sort_keys=True))


RUNNERS: dict[str, Callable[[unittest.TestCase, Case], None]] = {
    "nexus/address": _address,
    "nexus/checksum": _checksum,
    "nexus/recovery": _recovery,
    "nexus/signed-request": _signed_request,
    "nexus/profile": _profile,
}
