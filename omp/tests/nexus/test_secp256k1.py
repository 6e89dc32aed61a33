"""secp256k1 and what Ethereum makes of it, beside the vectors: the group, the edges, the hand-written signing."""

from __future__ import annotations

import doctest
import unittest
from random import Random

from omp.protocols.nexus import ethereum, secp256k1
from omp.protocols.nexus.ethereum import normal_address, parse_signature, signature_text
from omp.protocols.nexus.secp256k1 import (
    REASONS,
    G,
    InvalidSignature,
    N,
    P,
    Recovery,
    Signature,
    public_key_slowly,
    recover,
    sign_slowly,
)


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """The examples in the modules' text are tests too."""
    for module in (secp256k1, ethereum):
        tests.addTests(doctest.DocTestSuite(module))
    return tests


def point(public_key: bytes) -> tuple[int, int]:
    """(x, y) of 64 bytes."""
    return int.from_bytes(public_key[:32], "big"), int.from_bytes(public_key[32:], "big")


class Group(unittest.TestCase):
    """The curve of SEC 2 §2.4.1 is a group of order n, and the arithmetic is that group's."""

    def test_multiples_of_g_lie_on_the_curve_and_add_up(self) -> None:
        self.assertEqual(point(public_key_slowly(1)), G)
        for scalar in (1, 2, 3, 15, 16, 17, 255, 256, N // 2, N - 1):
            x, y = point(public_key_slowly(scalar))
            self.assertEqual((y * y - x**3 - 7) % P, 0)
        # -1 · G has the same x and the opposite y.
        self.assertEqual(point(public_key_slowly(N - 1)), (G[0], P - G[1]))

    def test_addition_covers_the_cases_that_its_formulas_leave_out(self) -> None:
        five = point(public_key_slowly(5))
        jacobian = (*five, 1)
        opposite = (five[0], P - five[1])
        self.assertEqual(secp256k1._octets(secp256k1._add(jacobian, five)), public_key_slowly(10))
        self.assertEqual(secp256k1._add(jacobian, opposite)[2], 0)
        self.assertEqual(secp256k1._add((1, 1, 0), five), (*five, 1))
        self.assertEqual(secp256k1._double((1, 1, 0))[2], 0)

    def test_the_table_of_g_and_the_general_multiplication_agree(self) -> None:
        random = Random(1)
        for scalar in [1, 16, N - 1, *(random.randrange(1, N) for _ in range(5))]:
            by_table = secp256k1._add_multiple_of_g((1, 1, 0), scalar)
            self.assertEqual(secp256k1._octets(by_table), public_key_slowly(scalar))

    def test_the_order_of_g_is_n(self) -> None:
        self.assertEqual(secp256k1._add_multiple_of_g((1, 1, 0), N)[2], 0)


class Recoveries(unittest.TestCase):
    """What the vectors do not say: one signature over several hashes, and each v."""

    def test_one_checked_signature_serves_many_hashes(self) -> None:
        signature = sign_slowly(9, bytes(32))
        recovery = Recovery(signature)
        for last in range(5):
            digest = bytes(31) + bytes([last])
            self.assertEqual(recovery.public_key(digest), recover(digest, signature))
        self.assertEqual(recovery.public_key(bytes(32)), public_key_slowly(9))

    def test_signing_gives_low_s_and_a_v_that_recovers(self) -> None:
        random = Random(2)
        parities = set()
        for _ in range(20):
            secret, digest = random.randrange(1, N), random.randbytes(32)
            signature = sign_slowly(secret, digest)
            parities.add(signature.v)
            self.assertLessEqual(signature.s, N // 2)
            self.assertEqual(recover(digest, signature), public_key_slowly(secret))
        self.assertEqual(parities, {0, 1})

    def test_v_beyond_0_and_1_is_refused_where_no_text_was_read(self) -> None:
        good = sign_slowly(9, bytes(32))
        for v in (-1, 2, 3, 27):
            with self.assertRaises(InvalidSignature) as caught:
                Recovery(good._replace(v=v))
            self.assertEqual(caught.exception.code, "v")

    def test_every_reason_is_reached_by_a_vector(self) -> None:
        from omp.tests.vectors.makers.nexus import generate

        reached = {case.get("error") for case in generate()["nexus/recovery.json"]["cases"]} - {None}
        self.assertEqual(reached, set(REASONS))


class Texts(unittest.TestCase):
    """Addresses and signatures as text."""

    def test_only_0x_and_forty_digits_are_an_address(self) -> None:
        good = "0x" + "aB" * 20
        self.assertEqual(normal_address(good), good.lower())
        for bad in ("", good[2:], "0X" + good[2:], good + "0", good[:-1], good + "\n", " " + good, good[:-1] + "g"):
            self.assertIsNone(normal_address(bad), bad)

    def test_a_signature_is_written_as_it_is_read(self) -> None:
        signature = Signature(1, N // 2, 1)
        self.assertEqual(parse_signature(signature_text(signature)), signature)


if __name__ == "__main__":
    unittest.main()
