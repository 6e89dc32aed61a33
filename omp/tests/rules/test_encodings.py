"""Texts of bytes: one text for each byte string, and nothing else is accepted."""

from __future__ import annotations

import base64
import random
import string
import unittest
from collections.abc import Callable

from omp.rules.encodings import EncodingError, b64_decode, b64_encode, b64u_decode, b64u_encode, hex_decode

Decoder = Callable[[str], bytes]


class Encodings(unittest.TestCase):
    def test_every_length_comes_back(self) -> None:
        source = random.Random(4648)
        for length in range(70):
            data = source.randbytes(length)
            self.assertEqual(b64u_encode(data), base64.urlsafe_b64encode(data).decode().rstrip("="))
            self.assertEqual(b64_encode(data), base64.b64encode(data).decode())
            self.assertEqual(b64u_decode(b64u_encode(data)), data)
            self.assertEqual(b64_decode(b64_encode(data)), data)
            self.assertEqual(hex_decode(data.hex()), data)

    def test_each_accepts_its_own_alphabet_only(self) -> None:
        self.assertEqual(b64u_decode("-_-_"), b"\xfb\xff\xbf")
        self.assertEqual(b64_decode("+/+/"), b"\xfb\xff\xbf")
        self.assertEqual(hex_decode("00ff"), b"\x00\xff")

    def test_two_characters_are_accepted_only_if_an_encoder_makes_them(self) -> None:
        # Of the 4,096 pairs over the alphabet, one for each byte: the four unused bits are zero.
        alphabet = string.ascii_letters + string.digits + "-_"
        taken = [a + b for a in alphabet for b in alphabet if self._takes(b64u_decode, a + b)]
        self.assertEqual(len(taken), 256)

    def test_other_texts_are_refused(self) -> None:
        for decode, texts in {
            b64u_decode: (
                "A",
                "AA==",
                "AA=",
                "=",
                "AB",
                "AAB",
                "+/+/",
                "AA AA",
                "AAAA\n",
                " AAAA",
                "AA.A",
                "é",
                "\ud800AAA",
            ),
            b64_decode: (
                "A",
                "AA",
                "AA=",
                "AA===",
                "=AA=",
                "AB==",
                "AAB=",
                "-_-_",
                "AAAA\n",
                "AA==AA==",
                "AA= =",
                "é",
                "\udfff",
            ),
            hex_decode: ("0", "0g", "0X00", "0x00", "FF", "fF", "00 00", "00\n", " 00", "é0", "\u0661\u0661", "\ud800"),
        }.items():
            for text in texts:
                with self.subTest(decoder=decode.__name__, text=text):
                    self.assertRaises(EncodingError, decode, text)

    def _takes(self, decode: Decoder, text: str) -> bool:
        try:
            return b64u_encode(decode(text)) == text
        except EncodingError:
            return False


if __name__ == "__main__":
    unittest.main()
