"""Keccak-256 against published digests, and its permutation against SHA3-256 of the standard library."""

from __future__ import annotations

import hashlib
import unittest

from omp.protocols.nexus import keccak
from omp.protocols.nexus.keccak import keccak256

# Published: the empty string is Ethereum's hash of no code, 0xc0 (an empty list) its hash of no uncles, and 0x80 (an
# empty text) the root of its empty trie; 0xcc is from the test vectors of the submission ("ShortMsgKAT_256.txt"); the
# last one is the topic of ERC-20's event.
PUBLISHED = {
    b"": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    b"\xc0": "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    b"\xcc": "eead6dbfc7340a56caedc044696a168870549a6a7f6f56961e84a54bd9970b8a",
    b"\x80": "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    b"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
    b"The quick brown fox jumps over the lazy dog": "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15",
    b"Transfer(address,address,uint256)": "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
}

# Published with the submission ("KeccakF-1600-IntermediateValues.txt"): the permutation of the state of zeros, lanes in
# the order of FIPS 202 §3.1.2.
PERMUTED_ZEROS = """
    f1258f7940e1dde7 84d5ccf933c0478a d598261ea65aa9ee bd1547306f80494d 8b284e056253d057
    ff97a42d7f8e6fd4 90fee5a0a44647c4 8c5bda0cd6192e76 ad30a6f71b19059c 30935ab7d08ffc64
    eb5aa93f2317d635 a9a6e6260d712103 81a57c16dbcf555f 43b831cd0347c826 01f22f1a11a5569f
    05e5635a21d9ae61 64befef28cc970f2 613670957bc46611 b87c5a554fd00ecb 8c3ee88a1ccf32c8
    940c7922ae3a2614 1841f924a2c509e4 16f53526e70465c2 75f644e97f30a13b eaf1ff7b5ceca249
"""


class Keccak256(unittest.TestCase):
    def test_published_digests(self) -> None:
        for data, digest in PUBLISHED.items():
            with self.subTest(data):
                self.assertEqual(keccak256(data).hex(), digest)

    def test_the_permutation_of_zeros_is_the_published_one(self) -> None:
        octets = keccak._permute(0).to_bytes(256, "little")
        places = [keccak._first_byte(x, y) for y in range(5) for x in range(5)]
        lanes = [int.from_bytes(octets[place : place + 8], "little") for place in places]
        self.assertEqual([f"{lane:016x}" for lane in lanes], PERMUTED_ZEROS.split())

    def test_the_spare_bits_between_the_lanes_stay_zero(self) -> None:
        state = 0
        for _ in range(8):
            state = keccak._permute(state ^ 1 << 8)
            octets = state.to_bytes(225, "little")
            self.assertEqual(octets[::9], bytes(25))

    def test_is_not_sha3_256(self) -> None:
        self.assertNotEqual(keccak256(b"abc"), hashlib.sha3_256(b"abc").digest())

    def test_with_the_other_padding_it_is_sha3_256_at_every_length_of_two_blocks(self) -> None:
        for length in range(2 * 136 + 2):
            data = bytes(i * 31 % 256 for i in range(length))
            self.assertEqual(keccak.sponge(data, 0x06), hashlib.sha3_256(data).digest(), length)

    def test_and_at_lengths_of_many_blocks(self) -> None:
        for length in (1000, 65_536, 100_001):
            data = bytes(i * i % 251 for i in range(length))
            self.assertEqual(keccak.sponge(data, 0x06), hashlib.sha3_256(data).digest(), length)


if __name__ == "__main__":
    unittest.main()
