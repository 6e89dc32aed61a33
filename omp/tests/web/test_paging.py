"""Cursors and the link to the next page, for every protocol that pages."""

from __future__ import annotations

import unittest

from omp.web.messages import BadCursor, decode_cursor, encode_cursor, next_link


class Cursors(unittest.TestCase):
    def test_a_cursor_is_bound_to_its_list_and_to_every_character(self) -> None:
        place = bytes(range(16))
        cursor = encode_cursor(place, "one")
        self.assertEqual(decode_cursor(cursor, "one", 16), place)
        changes = [cursor[:i] + ("A" if c != "A" else "B") + cursor[i + 1 :] for i, c in enumerate(cursor)]
        for bad in (*changes, "", "x", cursor + "A", cursor[:-1], cursor + "=", "é", encode_cursor(place[:-1], "one")):
            with self.subTest(bad=bad), self.assertRaises(BadCursor):
                decode_cursor(bad, "one", 16)
        with self.assertRaises(BadCursor):
            decode_cursor(cursor, "two", 16)

    def test_the_link_keeps_the_parameters_that_were_given(self) -> None:
        self.assertEqual(
            next_link("/x", {"limit": 5, "namespace": "a b&c", "key": None}, "CUR"),
            ("Link", '</x?limit=5&namespace=a+b%26c&cursor=CUR>; rel="next"'),
        )


if __name__ == "__main__":
    unittest.main()
