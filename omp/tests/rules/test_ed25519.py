"""Ed25519: RFC 8032's test vectors, the acceptance rules of omp §5, and engines that agree on every input."""

from __future__ import annotations

import json
import random
import sys
import unittest
import unittest.mock
from hashlib import sha512

from omp.rules import ed25519, engines
from omp.rules.ed25519 import B, L, add, decode_point, double, encode_point, p, public_key_slowly, sign_slowly, verify
from omp.tests import PUBLISHED

try:
    FAST: engines.Engine | None = engines.cryptography_engine()
except engines.CryptographyMissing:
    FAST = None
ENGINES = [engine for engine in (engines.handwritten_engine(), FAST) if engine]
needs_cryptography = unittest.skipUnless(FAST, "the package cryptography is not installed")

# RFC 8032 §7.1: seed, public key, message, signature.
RFC_8032 = (
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
)


def _agreed(test: unittest.TestCase, A: bytes, message: bytes, RS: bytes) -> bool:
    """The verdict of all engines, which must agree."""
    verdicts = {engine.name: engine.verify(A, message, RS) for engine in ENGINES}
    test.assertEqual(len(set(verdicts.values())), 1, (verdicts, A.hex(), message.hex(), RS.hex()))
    return verdicts["hand-written"]


class Rfc8032(unittest.TestCase):
    def test_the_vectors_of_section_7_1(self) -> None:
        for seed, A, message, RS in RFC_8032:
            with self.subTest(A):
                self.assertEqual(public_key_slowly(bytes.fromhex(seed)).hex(), A)
                self.assertEqual(sign_slowly(bytes.fromhex(seed), bytes.fromhex(message)).hex(), RS)
                self.assertTrue(_agreed(self, bytes.fromhex(A), bytes.fromhex(message), bytes.fromhex(RS)))

    def test_a_seed_has_32_bytes(self) -> None:
        self.assertRaises(ValueError, public_key_slowly, bytes(31))
        self.assertRaises(ValueError, sign_slowly, bytes(33), b"")


class Points(unittest.TestCase):
    def test_the_base_point_has_order_l(self) -> None:
        self.assertEqual(encode_point(B).hex(), "58" + "66" * 31)  # RFC 8032 §5.1: y = 4/5
        self.assertEqual(encode_point(ed25519._double_multiple(L - 1, 0, B)), encode_point(ed25519.negative(B)))
        self.assertEqual(encode_point(ed25519._double_multiple(L, 0, B)), encode_point(ed25519.NEUTRAL))

    def test_doubling_is_adding_to_itself(self) -> None:
        P = B
        for _ in range(20):
            self.assertEqual(encode_point(double(P)), encode_point(add(P, P)))
            P = add(double(P), B)

    def test_a_double_multiple_is_the_sum_of_both(self) -> None:
        source = random.Random(1)
        for S, k in (
            (0, 0),
            (1, 0),
            (0, 1),
            (L - 1, L - 1),
            *((source.randrange(L), source.randrange(L)) for _ in range(20)),
        ):
            A = ed25519._double_multiple(source.randrange(L), 0, B)
            both = ed25519._double_multiple(S, k, A)
            each = add(ed25519._double_multiple(S, 0, A), ed25519._double_multiple(0, k, A))
            self.assertEqual(encode_point(both), encode_point(each))

    def test_small_order_holds_exactly_the_points_that_eight_makes_neutral(self) -> None:
        # All multiples of one point of order 8 are all there are.
        generator = decode_point(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"))
        assert generator is not None
        multiples, P = set(), ed25519.NEUTRAL
        for _ in range(8):
            multiples.add(encode_point(P))
            P = add(P, generator)
        self.assertEqual(encode_point(P), encode_point(ed25519.NEUTRAL))
        self.assertEqual(multiples, ed25519.SMALL_ORDER)

    def test_a_decoded_point_is_on_the_curve_and_encodes_to_the_same_bytes(self) -> None:
        source = random.Random(2)
        points = 0
        for _ in range(60):
            encoding = source.randbytes(32)
            P = decode_point(encoding)
            if P is None:
                continue
            points += 1
            x, y, _, _ = P
            self.assertEqual((-x * x + y * y - 1 - ed25519.d * x * x * y * y) % p, 0)
            self.assertEqual(encode_point(P), encoding)
        self.assertGreater(points, 15)

    def test_no_point_has_two_encodings(self) -> None:
        for y in (*range(p, 2**255), 1 | 1 << 255, p - 1 | 1 << 255):
            self.assertIsNone(decode_point(y.to_bytes(32, "little")))


class Engines(unittest.TestCase):
    @unittest.skipUnless(PUBLISHED.is_dir(), "the published vectors are not beside the checkout")
    def test_wycheproof(self) -> None:
        groups = json.loads((PUBLISHED / "wycheproof_ed25519.json").read_bytes())["testGroups"]
        self.assertTrue(groups)
        for group in groups:
            A = bytes.fromhex(group["publicKey"]["pk"])
            for case in group["tests"]:
                verdict = _agreed(self, A, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
                self.assertEqual(verdict, case["result"] == "valid", case["tcId"])

    @unittest.skipUnless(PUBLISHED.is_dir(), "the published vectors are not beside the checkout")
    def test_of_the_many_eddsas_case_3_alone_is_accepted(self) -> None:
        cases = json.loads((PUBLISHED / "ed25519_speccheck.json").read_bytes())
        verdicts = [
            _agreed(self, *(bytes.fromhex(case[m]) for m in ("pub_key", "message", "signature"))) for case in cases
        ]
        self.assertEqual([number for number, accepted in enumerate(verdicts) if accepted], [3])
        self.assertEqual(len(verdicts), 12)

    def test_no_mutation_of_a_good_signature_is_accepted(self) -> None:
        source = random.Random(8032)
        seed = source.randbytes(32)
        good = (public_key_slowly(seed), b"a message to sign", sign_slowly(seed, b"a message to sign"))
        self.assertTrue(_agreed(self, *good))
        for _ in range(300):
            parts = [bytearray(part) for part in good]
            part = source.choice(parts)
            part[source.randrange(len(part))] ^= 1 << source.randrange(8)
            self.assertFalse(_agreed(self, *map(bytes, parts)))

    def test_no_length_but_the_right_one_is_accepted(self) -> None:
        seed = bytes(32)
        A, RS = public_key_slowly(seed), sign_slowly(seed, b"")
        for length in range(130):
            self.assertEqual(_agreed(self, A, b"", (RS + bytes(66))[:length]), length == 64)
            self.assertEqual(_agreed(self, (A + bytes(98))[:length], b"", RS), length == 32)

    def test_random_bytes_and_edges_get_one_verdict(self) -> None:
        source = random.Random(3)
        edges = [
            *sorted(ed25519.SMALL_ORDER),
            *(y.to_bytes(32, "little") for y in (2, p - 1, p, p + 1, 2**255 - 1, 1 | 1 << 255, 2**256 - 1)),
            *(S.to_bytes(32, "little") for S in (L - 1, L, L + 1, 2 * L, 2**252, 2**253)),
            public_key_slowly(bytes(32)),
        ]
        for _ in range(300):
            A, R, S = (source.choice(edges) if source.random() < 0.8 else source.randbytes(32) for _ in range(3))
            self.assertFalse(_agreed(self, A, b"message", R + S))

    def test_a_key_of_small_order_signs_nothing(self) -> None:
        # With A neutral, [k]A is neutral for every k: R = [r]B and S = r satisfy the equation for any message.
        r = 12345
        R = encode_point(ed25519._double_multiple(r, 0, B))
        neutral = encode_point(ed25519.NEUTRAL)
        k = int.from_bytes(sha512(R + neutral + b"anything").digest(), "little") % L
        self.assertEqual(encode_point(ed25519._double_multiple(r, k, ed25519.NEUTRAL)), R)
        self.assertFalse(_agreed(self, neutral, b"anything", R + r.to_bytes(32, "little")))


class Choice(unittest.TestCase):
    def _without_cryptography(self) -> None:
        # None in sys.modules makes the import fail, as where nothing is installed.
        gone = {name: None for name in sys.modules if name.partition(".")[0] == "cryptography"}
        self.enterContext(unittest.mock.patch.dict(sys.modules, {**gone, "cryptography": None}))

    @needs_cryptography
    def test_the_fast_engine_is_chosen_if_it_is_installed(self) -> None:
        self.assertEqual(engines.best_engine().name, "cryptography")

    def test_the_hand_written_engine_is_chosen_otherwise(self) -> None:
        self._without_cryptography()
        engine = engines.best_engine()
        self.assertEqual(engine.name, "hand-written")
        self.assertIs(engine.verify, verify)

    def test_what_needs_the_package_asks_for_it_by_name(self) -> None:
        self._without_cryptography()
        for function in (engines.cryptography_engine, engines.secret_keys):
            with self.assertRaisesRegex(engines.CryptographyMissing, "pip install cryptography"):
                function()

    @needs_cryptography
    def test_secret_keys_sign_as_the_hand_written_rules_do(self) -> None:
        keys = engines.secret_keys()
        seed = keys.generate()
        self.assertEqual(len(seed), 32)
        self.assertNotEqual(seed, keys.generate())
        self.assertEqual(keys.public_key(seed), public_key_slowly(seed))
        self.assertEqual(keys.sign(seed, b"message"), sign_slowly(seed, b"message"))


if __name__ == "__main__":
    unittest.main()
