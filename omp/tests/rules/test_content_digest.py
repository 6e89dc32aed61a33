"""Content-Digest (RFC 9530): the digests of its examples, and what is refused."""

from __future__ import annotations

import unittest

from omp.rules.signature_base import DigestError, check_content_digest, content_digest

HELLO = b'{"hello": "world"}'
SHA_256 = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
SHA_512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"


class Making(unittest.TestCase):
    def test_the_examples_of_the_documents(self) -> None:
        # RFC 9421 §7.2.5 and appendix B.2; RFC 9530 appendix B ends the same JSON with a line feed.
        self.assertEqual(content_digest(HELLO), SHA_256)
        self.assertEqual(content_digest(HELLO, "sha-512"), SHA_512)
        self.assertEqual(content_digest(HELLO + b"\n"), "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:")

    def test_the_digest_of_nothing(self) -> None:
        self.assertEqual(content_digest(b""), "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")


class Checking(unittest.TestCase):
    def test_a_right_digest_counts_by_its_algorithm(self) -> None:
        for field, known in [
            (SHA_256, {"sha-256"}),
            (SHA_512, {"sha-512"}),
            (f"{SHA_256}, {SHA_512}", {"sha-256", "sha-512"}),
            (f"md5=:Sd/dVLAcvNLSq16eXua5uQ==:, {SHA_256}", {"sha-256"}),
        ]:
            with self.subTest(field):
                self.assertEqual(check_content_digest(field, HELLO), known)

    def test_unknown_algorithms_alone_count_for_nothing(self) -> None:
        for field in ("md5=:Sd/dVLAcvNLSq16eXua5uQ==:", "unixsum=:AA==:", ""):
            with self.subTest(field):
                self.assertEqual(check_content_digest(field, HELLO), frozenset())

    def test_one_wrong_digest_makes_the_field_wrong(self) -> None:
        for field in (SHA_256, f"{SHA_512}, {SHA_256}", f"{SHA_256}, {SHA_512.replace('WZDP', 'WZDQ')}"):
            with self.subTest(field), self.assertRaises(DigestError):
                check_content_digest(field, HELLO + (b"" if "WZDQ" in field else b"!"))

    def test_a_malformed_field_is_refused(self) -> None:
        wrong = "X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="
        bad = [f"sha-256={wrong}", f'sha-256="{wrong}"', "sha-256", "SHA-256=:AA==:", "sha-256=(:AA==:)", "md5=1", "é"]
        for field in bad:
            with self.subTest(field), self.assertRaises(DigestError):
                check_content_digest(field, HELLO)


if __name__ == "__main__":
    unittest.main()
