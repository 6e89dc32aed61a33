"""Payloads and the bearer, beside their vectors."""

from __future__ import annotations

import unittest

from omp.protocols.nexus.signatures import FORMS, NotAuthenticated, bearer, payload
from omp.rules.json_text import parse_exact

ALICE, BOB = "0x" + "a" * 40, "0x" + "b" * 40


class Payloads(unittest.TestCase):
    """What is signed (§3.4), and who is named (§3.1)."""

    def test_numbers_count_as_they_are_written(self) -> None:
        body = parse_exact(b'{"b":[1e-7,1e-07,-0,1.50,100000000000000000000],"auth":{"signature":"0x"}, "a":1E5}')
        self.assertEqual(payload(body, FORMS[0]), b'{"a":1E5,"b":[1e-7,1e-07,-0,1.50,100000000000000000000]}')
        self.assertEqual(
            payload(body, FORMS[-1]),
            b'{"a": 1E5, "auth": {"signature": ""}, "b": [1e-7, 1e-07, -0, 1.50, 100000000000000000000]}',
        )

    def test_a_bearer_is_an_address_whatever_its_case(self) -> None:
        for field in (f"Bearer {ALICE}", f"bearer {ALICE}", "BEARER  0x" + "A" * 40):
            self.assertEqual(bearer(field), ALICE)
        for field in ("", "Bearer", "Bearer ", ALICE, f"Basic {ALICE}", f"Bearer {ALICE}, {BOB}", f"Bearer {ALICE}0"):
            with self.assertRaises(NotAuthenticated):
                bearer(field)


if __name__ == "__main__":
    unittest.main()
