"""Keccak-256 against published digests, and its permutation against SHA3-256 of the standard library."""

from __future__ import annotations

import hashlib
import unittest

from omp.protocols.nexus import keccak
from omp.protocols.nexus.keccak import keccak256

# Published: the empty string is Ethereum's hash of no code, the list 0xc0 its hash of no uncles; the third is the
# selector of ERC-20's transfer and the fourth that of its event.
PUBLISHED = {
    b"": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    b"\xc0": "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
    b"\x80": "56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
    b"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
    b"The quick brown fox jumps over the lazy dog": "4d741b6f1eb29cb2a9b9911c82f56fa8d73b04959d3d9d222895df6c0b28aa15",
    b"Transfer(address,address,uint256)": "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
}


class Keccak256(unittest.TestCase):
    def test_published_digests(self) -> None:
        for data, digest in PUBLISHED.items():
            with self.subTest(data):
                self.assertEqual(keccak256(data).hex(), digest)

    def test_is_not_sha3_256(self) -> None:
        self.assertNotEqual(keccak256(b"abc"), hashlib.sha3_256(b"abc").digest())

    def test_with_the_other_padding_it_is_sha3_256_at_every_length_of_two_blocks(self) -> None:
        for length in range(2 * 136 + 2):
            data = bytes(i * 31 % 256 for i in range(length))
            self.assertEqual(keccak.sponge(data, 0x06), hashlib.sha3_256(data).digest(), length)


if __name__ == "__main__":
    unittest.main()
