"""Identifiers of the operation log: oplog §1.2."""

from __future__ import annotations

import hashlib
import random
import unittest

from omp.rules import identifiers
from omp.rules.encodings import EncodingError, b64u_encode

KEY = bytes(range(32))


class Making(unittest.TestCase):
    def test_keys_are_named_by_their_bytes(self) -> None:
        self.assertEqual(identifiers.identity_id(KEY), "omp:id:ed25519:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")
        self.assertEqual(identifiers.key_id(KEY), "omp:key:ed25519:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")

    def test_the_rest_is_named_by_its_sha_256(self) -> None:
        for make, prefix in (
            (identifiers.operation_id, "omp:op:sha256:"),
            (identifiers.evidence_id, "omp:ev:sha256:"),
            (identifiers.state_id, "omp:state:sha256:"),
        ):
            self.assertEqual(make(b"abc"), prefix + hashlib.sha256(b"abc").hexdigest())

    def test_a_key_has_32_bytes(self) -> None:
        for length in (0, 31, 33, 64):
            self.assertRaises(EncodingError, identifiers.identity_id, bytes(length))
            self.assertRaises(EncodingError, identifiers.key_id, bytes(length))


class Reading(unittest.TestCase):
    def test_the_key_comes_back(self) -> None:
        source = random.Random(25519)
        for _ in range(200):
            key = source.randbytes(32)
            self.assertEqual(identifiers.public_key_of(identifiers.identity_id(key)), key)
            self.assertEqual(identifiers.public_key_of(identifiers.key_id(key)), key)

    def test_only_identities_and_keys_have_a_key(self) -> None:
        good = identifiers.key_id(KEY)
        for text in (
            "",
            good + "=",
            good + "\n",
            good[:-1],
            good[:-1] + "9",
            good.upper(),
            identifiers.state_id(KEY),
            "é",
        ):
            with self.subTest(text):
                self.assertRaises(EncodingError, identifiers.public_key_of, text)

    def test_the_pattern_of_a_key_accepts_one_encoding_only(self) -> None:
        good = identifiers.key_id(KEY)
        last = [c for c in b64u_encode(bytes(range(256))) if identifiers.KEY_ID.fullmatch(good[:-1] + c)]
        self.assertEqual(sorted(set(last)), sorted("AEIMQUYcgkosw048"))  # 4 bits of the key, 2 that are zero

    def test_the_pattern_of_a_signature_accepts_one_encoding_only(self) -> None:
        good = b64u_encode(bytes(64))
        self.assertEqual(len(good), 86)
        last = {c for c in b64u_encode(bytes(range(256))) if identifiers.SIGNATURE.fullmatch(good[:-1] + c)}
        self.assertEqual(last, set("AQgw"))  # 2 bits of the signature, 4 that are zero
        self.assertIsNone(identifiers.SIGNATURE.fullmatch(good + "A"))

    def test_each_pattern_accepts_its_own_kind_only(self) -> None:
        made = {
            identifiers.IDENTITY_ID: identifiers.identity_id(KEY),
            identifiers.KEY_ID: identifiers.key_id(KEY),
            identifiers.OPERATION_ID: identifiers.operation_id(b""),
            identifiers.EVIDENCE_ID: identifiers.evidence_id(b""),
            identifiers.STATE_ID: identifiers.state_id(b""),
        }
        for pattern in made:
            self.assertEqual([text for text in made.values() if pattern.fullmatch(text)], [made[pattern]])


if __name__ == "__main__":
    unittest.main()
