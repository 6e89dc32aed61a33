"""secp256k1 and what Ethereum makes of it, beside the vectors: the group, the edges, the hand-written signing."""

from __future__ import annotations

import json
import unittest
from random import Random

from omp.protocols.nexus.ethereum import (
    REASONS,
    G,
    InvalidSignature,
    N,
    P,
    RecoverableSignature,
    Recovery,
    normal_address,
    parse_signature,
    public_key_slowly,
    recover,
    sign_slowly,
    signature_text,
)
from omp.tests.vectors.command import DIRECTORY


def point(public_key: bytes) -> tuple[int, int]:
    """(x, y) of 64 bytes."""
    return int.from_bytes(public_key[:32], "big"), int.from_bytes(public_key[32:], "big")


def sum_by_recovery(part: int, multiple: int) -> bytes:
    """`part` · G + `multiple` · G, computed by a recovery: the first by doubling, the second from the table of G.

    For R = k · G and e = -u · r the recovered key is r⁻¹(sR - eG) = (s · k / r) · G + u · G.  So s = `part` · r / k and
    u = `multiple`; k is chosen so that s is in the lower half.
    """
    for k in range(1, 100):
        x, y = point(public_key_slowly(k))
        s = part * x * pow(k, -1, N) % N
        if 0 < s <= N // 2:
            digest = (-multiple * x % N).to_bytes(32, "big")
            return recover(digest, RecoverableSignature(x, s, y & 1))
    raise AssertionError("one k in two gives a low s")


class Group(unittest.TestCase):
    """The curve of SEC 2 §2.4.1 is a group of order n, and the arithmetic is that group's."""

    def test_multiples_of_g_lie_on_the_curve_and_add_up(self) -> None:
        self.assertEqual(point(public_key_slowly(1)), G)
        for scalar in (1, 2, 3, 15, 16, 17, 255, 256, N // 2, N - 1):
            x, y = point(public_key_slowly(scalar))
            self.assertEqual((y * y - x**3 - 7) % P, 0)
        # -1 · G has the same x and the opposite y, so the order of G is n.
        self.assertEqual(point(public_key_slowly(N - 1)), (G[0], P - G[1]))

    def test_addition_covers_the_cases_that_its_formulas_exclude(self) -> None:
        self.assertEqual(sum_by_recovery(5, 5), public_key_slowly(10))  # a point and itself
        self.assertEqual(sum_by_recovery(5, 0), public_key_slowly(5))
        # Digits are added from the lowest: -1 + 1 is infinity, and 0x100 is added to that.
        self.assertEqual(sum_by_recovery(N - 1, 0x101), public_key_slowly(0x100))
        with self.assertRaises(InvalidSignature) as caught:
            sum_by_recovery(N - 5, 5)  # a point and its opposite
        self.assertEqual(caught.exception.code, "infinity")

    def test_the_table_of_g_and_the_general_multiplication_agree(self) -> None:
        random = Random(1)
        for scalar in [1, 16, N - 1, *(random.randrange(1, N) for _ in range(5))]:
            self.assertEqual(sum_by_recovery(7, scalar - 7), public_key_slowly(scalar))


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
        cases = json.loads((DIRECTORY / "nexus/recovery.json").read_bytes())["cases"]
        reached = {case["error"] for case in cases if "error" in case}
        self.assertEqual(reached, set(REASONS))


class Texts(unittest.TestCase):
    """Addresses and signatures as text."""

    def test_only_0x_and_forty_digits_are_an_address(self) -> None:
        good = "0x" + "aB" * 20
        self.assertEqual(normal_address(good), good.lower())
        for bad in ("", good[2:], "0X" + good[2:], good + "0", good[:-1], good + "\n", " " + good, good[:-1] + "g"):
            self.assertIsNone(normal_address(bad), bad)

    def test_a_signature_is_written_as_it_is_read(self) -> None:
        signature = RecoverableSignature(1, N // 2, 1)
        self.assertEqual(parse_signature(signature_text(signature)), signature)


if __name__ == "__main__":
    unittest.main()
