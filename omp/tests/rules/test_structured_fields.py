"""Structured Fields (RFC 8941): the examples of the document, and what its algorithms refuse."""

from __future__ import annotations

import random
import unittest

from omp.rules.structured_fields import (
    ANY_CASE_KEY,
    BareItem,
    InnerList,
    Item,
    StructuredFieldError,
    Token,
    parse_dictionary,
    parse_item,
    parse_list,
    serialize_bare_item,
    serialize_dictionary,
    serialize_inner_list,
    serialize_item,
    serialize_list,
)

ITEMS: list[tuple[str, BareItem]] = [
    ("5", 5),
    ("42", 42),
    ("-999999999999999", -999999999999999),
    ("4.5", 4.5),
    ("999999999999.999", 999999999999.999),
    ("-0.5", -0.5),
    ('"hello world"', "hello world"),
    ('""', ""),
    ('"a \\"b\\" \\\\"', 'a "b" \\'),
    ("foo123/456", Token("foo123/456")),
    ("*", Token("*")),
    ("a:b", Token("a:b")),
    (":cHJldGVuZCB0aGlzIGlzIGJpbmFyeSBjb250ZW50Lg==:", b"pretend this is binary content."),
    ("::", b""),
    ("?1", True),
    ("?0", False),
]


class BareItems(unittest.TestCase):
    """§3.3: text and value, both ways."""

    def test_every_kind_is_parsed_to_its_value_and_type(self) -> None:
        for text, value in ITEMS:
            with self.subTest(text):
                parsed = parse_item(text).value
                self.assertEqual(parsed, value)
                self.assertIs(type(parsed), type(value))

    def test_every_kind_is_serialized_to_its_text(self) -> None:
        for text, value in ITEMS:
            with self.subTest(text):
                self.assertEqual(serialize_bare_item(value), text)

    def test_decimals_have_one_to_three_digits_after_the_point(self) -> None:
        for value, text in [(1.0, "1.0"), (0.25, "0.25"), (1.0009, "1.001"), (0.0625, "0.062"), (-2.5, "-2.5")]:
            with self.subTest(text):
                self.assertEqual(serialize_bare_item(value), text)

    def test_decimals_are_rounded_half_to_even_from_their_decimal_digits(self) -> None:
        # As doubles, 0.0025 and 0.0005 are a little more, and 9.9995 is a little less, than they say.
        for value, text in [(0.0025, "0.002"), (0.0035, "0.004"), (0.0005, "0.0"), (9.9995, "10.0"), (-1.0005, "-1.0")]:
            with self.subTest(value):
                self.assertEqual(serialize_bare_item(value), text)
        for value in (999_999_999_999.9995, 1e12, -1e300, float("nan"), float("-inf")):
            with self.subTest(value), self.assertRaises(StructuredFieldError):
                serialize_bare_item(value)

    def test_every_decimal_of_fifteen_digits_survives_a_round_trip(self) -> None:
        rng = random.Random(8941)
        for _ in range(300):
            text = f"{rng.randrange(10**12)}.{rng.randrange(1000):03}".rstrip("0")
            text += "0" if text.endswith(".") else ""
            self.assertEqual(serialize_item(parse_item(text)), text)

    def test_leading_zeros_and_minus_zero_are_numbers(self) -> None:
        for text, value in [("007", 7), ("-0", 0), ("00.10", 0.1)]:
            with self.subTest(text):
                self.assertEqual(parse_item(text).value, value)

    def test_base64_without_padding_or_with_unused_bits_is_accepted(self) -> None:
        for text in (":aGVsbG8:", ":aGVsbG9=:"):
            with self.subTest(text):
                self.assertEqual(parse_item(text).value, b"hello")

    def test_spaces_around_an_item_do_not_count(self) -> None:
        self.assertEqual(parse_item("  1  ").value, 1)

    def test_what_is_no_item_is_refused(self) -> None:
        bad = [
            *("", " ", "1 2", "1,", "--1", "-", "+1", "1.", ".5", "1.2345", "1234567890123456", "1234567890123.4"),
            *("1.2.3", "1e5", "0x1", '"', '"a', '"a\\', '"\\a"', '"a\tb"', '"a\nb"', '"é"', "'a'", "é", "a\n", "\t1"),
            *(":", ":a:", ":a b:", ":YQ==YQ==:", ":Y=Q:", ":a-_b:", ":=:", "?", "?2", "?true", "@1659578233", "a;"),
            *("a;;b", "a;B", "a;b=", "a;b =1", "a ;b", "a; =1", "(1)", "a=1", "1\x00"),
        ]
        for text in bad:
            with self.subTest(text), self.assertRaises(StructuredFieldError):
                parse_item(text)

    def test_what_no_item_can_hold_is_not_serialized(self) -> None:
        bad = [10**15, -(10**15), 1e12, float("inf"), float("nan"), "é", "a\n", None]
        for value in [*bad, Token("1a"), Token(""), Token("a b")]:
            with self.subTest(repr(value)), self.assertRaises(StructuredFieldError):
                serialize_bare_item(value)  # type: ignore[arg-type]


class Parameters(unittest.TestCase):
    """§3.1.2."""

    def test_a_parameter_without_a_value_is_true_and_both_forms_serialize_alike(self) -> None:
        item = parse_item("a;b;c=?1;d=?0")
        self.assertEqual(item.params, {"b": True, "c": True, "d": False})
        self.assertEqual(serialize_item(item), "a;b;c;d=?0")

    def test_spaces_before_a_key_are_dropped(self) -> None:
        self.assertEqual(serialize_item(parse_item("abc;   a=1;b=2;  c")), "abc;a=1;b=2;c")

    def test_the_last_value_of_a_key_counts_at_the_place_of_the_first(self) -> None:
        self.assertEqual(serialize_item(parse_item("a;x=1;y=2;x=3")), "a;x=3;y=2")

    def test_keys_may_begin_with_a_star_and_hold_punctuation(self) -> None:
        self.assertEqual(dict(parse_item("a;*_-.9=1").params), {"*_-.9": 1})


class Lists(unittest.TestCase):
    """§3.1."""

    def test_the_examples_of_the_document(self) -> None:
        self.assertEqual(parse_list("sugar, tea, rum"), [Item(Token(word)) for word in ("sugar", "tea", "rum")])
        parsed = parse_list('("foo" "bar"), ("baz"), ("bat" "one"), ()')
        inner = [[item.value for item in member.items] for member in parsed if isinstance(member, InnerList)]
        self.assertEqual(inner, [["foo", "bar"], ["baz"], ["bat", "one"], []])
        text = '("foo";a=1;b=2);lvl=5, ("bar" "baz");lvl=1'
        self.assertEqual(serialize_list(parse_list(text)), text)
        text = 'abc;a=1;b=2;cde_456, (ghi;jk=4 l);q="9";r=w'
        self.assertEqual(serialize_list(parse_list('abc;a=1;b=2; cde_456, (ghi;jk=4 l);q="9";r=w')), text)

    def test_empty_text_is_the_empty_list(self) -> None:
        self.assertEqual(parse_list("  "), [])
        self.assertEqual(serialize_list([]), "")

    def test_space_and_tab_may_stand_around_a_comma_and_spaces_inside_parentheses(self) -> None:
        self.assertEqual(serialize_list(parse_list("1 \t,\t 2,3,(  4   5  )")), "1, 2, 3, (4 5)")

    def test_what_is_no_list_is_refused(self) -> None:
        bad = [",", "1,", "1,,2", "1 2", ",1", "(", "(1", "(1,2)", '("a""b")', "(1\t2)", "((1))", ")", "()x", "(1) (2)"]
        for text in bad:
            with self.subTest(text), self.assertRaises(StructuredFieldError):
                parse_list(text)


class Dictionaries(unittest.TestCase):
    """§3.2."""

    def test_the_examples_of_the_document(self) -> None:
        for text in (
            'en="Applepie", da=:w4ZibGV0w6ZydGU=:',
            "a=?0, b, c;foo=bar",
            "rating=1.5, feelings=(joy sadness)",
            "a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid",
        ):
            with self.subTest(text):
                self.assertEqual(serialize_dictionary(parse_dictionary(text)), text)

    def test_a_member_without_a_value_is_true(self) -> None:
        self.assertEqual(parse_dictionary("a, b;x=1"), {"a": Item(True), "b": Item(True, {"x": 1})})

    def test_the_last_value_of_a_key_counts_at_the_place_of_the_first(self) -> None:
        self.assertEqual(serialize_dictionary(parse_dictionary("a=1, b=2, a=(3);x")), "a=(3);x, b=2")

    def test_empty_text_is_the_empty_dictionary(self) -> None:
        self.assertEqual(parse_dictionary(""), {})

    def test_what_is_no_dictionary_is_refused(self) -> None:
        for text in ("1", "a=", "a =1", "a= 1", "A=1", "a=1,", "a=1 b=2", "a=1;", "=1", "a,,b", "é=1", "a=1\n", "9a=1"):
            with self.subTest(text), self.assertRaises(StructuredFieldError):
                parse_dictionary(text)

    def test_upper_case_is_accepted_in_keys_only_on_request_and_never_in_parameters(self) -> None:
        self.assertEqual(parse_dictionary("Sig1=();keyid=1", key=ANY_CASE_KEY)["Sig1"].params, {"keyid": 1})
        with self.assertRaises(StructuredFieldError):
            parse_dictionary("Sig1=();keyId=1", key=ANY_CASE_KEY)

    def test_keys_in_upper_case_are_never_serialized(self) -> None:
        for bad in ({"Sig1": Item(1)}, {"a": Item(1, {"B": 1})}, {"": Item(True)}):
            with self.subTest(bad), self.assertRaises(StructuredFieldError):
                serialize_dictionary(bad)

    def test_a_dictionary_of_a_thousand_members_and_of_a_long_string_is_parsed(self) -> None:
        # RFC 8941 appendix: parsers must take at least 1,024 members, 256 items, strings of 1,024 characters.
        self.assertEqual(len(parse_dictionary(",".join(f"k{n}=({' '.join(['1'] * 256)})" for n in range(1024)))), 1024)
        self.assertEqual(parse_item('"' + '\\"' * 16000 + '"').value, '"' * 16000)


class Hostile(unittest.TestCase):
    def test_random_text_is_parsed_or_refused_and_what_is_parsed_survives_a_round_trip(self) -> None:
        rng = random.Random(8941)
        pieces = ["a", "b=", "(", ")", " ", ",", ";", '"', "\\", ":", "YQ==", "?1", "1.5", "-", "*", "é", "\n", "="]
        parsed = 0
        for _ in range(3000):
            text = "".join(rng.choice(pieces) for _ in range(rng.randrange(9)))
            try:
                members = parse_dictionary(text)
            except StructuredFieldError:
                continue
            parsed += 1
            self.assertEqual(parse_dictionary(serialize_dictionary(members)), members)
        self.assertGreater(parsed, 30)

    def test_an_error_names_the_place_without_repeating_the_text(self) -> None:
        with self.assertRaises(StructuredFieldError) as caught:
            parse_dictionary("a=1, " + "é" * 10000)
        self.assertIn("character 6", str(caught.exception))
        self.assertLess(len(str(caught.exception)), 250)

    def test_an_inner_list_has_its_own_parameters_beside_those_of_its_items(self) -> None:
        member = parse_dictionary('sig=("@method";req "b";key="x");created=1')["sig"]
        assert isinstance(member, InnerList)
        self.assertEqual(serialize_inner_list(member), '("@method";req "b";key="x");created=1')
        self.assertEqual(member.items[1], Item("b", {"key": "x"}))


if __name__ == "__main__":
    unittest.main()
