"""JSON on the way in: what is accepted, what is refused, and that nothing but JsonError is ever raised."""

from __future__ import annotations

import itertools
import json
import random
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

from omp.rules import json_text, large_json
from omp.rules.canonical import canonicalize
from omp.rules.json_text import ARRAY_WEIGHT, FREE_WEIGHT, OBJECT_WEIGHT, JsonError, TooHeavy, compact, parse

GREATEST = int(1.7976931348623157e308)

TAKEN: dict[str, tuple[bytes, Any]] = {
    "an object": (b'{"a": [1, -2.5, "x", true, false, null]}', {"a": [1, -2.5, "x", True, False, None]}),
    "white space around": (b" \t\r\n1 \t\r\n", 1),
    "no member": (b"{}", {}),
    "an empty name": (b'{"":{}}', {"": {}}),
    "one name in two objects": (b'[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
    "the greatest double": (b"1.7976931348623157e308", 1.7976931348623157e308),
    "the greatest double as an integer": (b"%d" % GREATEST, GREATEST),
    "the least double as an integer": (b"%d" % -GREATEST, -GREATEST),
    "a number too small for a double": (b"1e-400", 0.0),
    "a long fraction": (b"0." + b"1" * 1000, float("0." + "1" * 1000)),
    "309 digits within other text": (b'{"a":[%d],"b":"c"}' % GREATEST, {"a": [GREATEST], "b": "c"}),
    "a surrogate pair": (b'"\\ud83d\\uDE00"', "\U0001f600"),
    "an escaped backslash before ud800": (b'"\\\\ud800"', "\\ud800"),
    "a null character": (b'"\\u0000"', "\0"),
    "noncharacters": ('"\uffff\U0010ffff"'.encode(), "\uffff\U0010ffff"),
    "brackets in strings": (b'"' + b"[{" * 200 + b'\\"' + b"[" * 200 + b'"', "[{" * 200 + '"' + "[" * 200),
    "many brackets, one level": (b"[" + b"[]," * 200 + b"{}]", [[]] * 200 + [{}]),
    "depth 100": (b"[" * 100 + b"]" * 100, json.loads("[" * 100 + "]" * 100)),
    "depth 100, mixed": (b'[{"a":' * 50 + b"0" + b"}]" * 50, json.loads('[{"a":' * 50 + "0" + "}]" * 50)),
}

REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \n",
    "two values": b"1 2",
    "a comma too many": b"[1,]",
    "no end": b'{"a":[1',
    "a stray bracket": b"]",
    "a mismatch": b"[1}",
    "a control character in a string": b'"\x01"',
    "a vertical tab as white space": b"\x0b1",
    "a no-break space": "\xa01".encode(),
    "NaN": b"NaN",
    "nan within": b'{"a":[NaN]}',
    "infinity": b"Infinity",
    "minus infinity": b"[-Infinity]",
    "1e400": b"1e400",
    "-1e400": b'{"a":-1e400}',
    "digits and an exponent beyond a double": b"1" + b"0" * 250 + b"e99",
    "310 digits": b"1" + b"0" * 309,
    "309 digits beyond a double": b"9" * 309,
    "-309 digits beyond a double": b"-" + b"9" * 309,
    "the first integer that rounds to infinity": b"%d" % (2**1024 - 2**970),
    "5,000 digits": b'{"a":' + b"7" * 5000 + b"}",
    "a million digits": b"1" * 1_000_000,
    "a million digits of a fraction that overflows": b"1" * 1_000_000 + b".5",
    "a leading zero": b"01",
    "a plus sign": b"+1",
    "digits of another script": "\u0661".encode(),
    "a name twice": b'{"a":1,"a":1}',
    "a name twice, escaped": b'{"a":1,"\\u0061":2}',
    "a name twice, deep": b'[[{"b":{"a":1,"a":1}}]]',
    "a high surrogate": b'"\\ud800"',
    "a low surrogate in upper case": b'["\\uDFFF"]',
    "a surrogate pair the wrong way round": b'"\\ude00\\ud83d"',
    "a lone surrogate in a name": b'{"\\ud83dx":1}',
    "depth 101": b"[" * 101 + b"]" * 101,
    "depth 101, mixed": b'[{"a":' * 50 + b"[]" + b"}]" * 50,
    "depth 101 after many shallow ones": b"[" + b"[]," * 500 + b"[" * 100 + b"]" * 101,
    "depth 100,000": b"[" * 100_000 + b"]" * 100_000,
    "depth 100,000 of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "depth 100,000, never closed": b"[" * 100_000,
    "depth 100,000 behind a stray bracket": b"]" + b"[" * 100_000,
    "depth 100,000 behind strings with quotes": b'["\\"\\\\",' + b"[" * 100_000,
    "depth 100,000 behind an escape outside strings": b'[\\"' + b"[" * 100_000 + b'"',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a byte that is not UTF-8": b'"\xff"',
    "a surrogate as UTF-8": b'"\xed\xa0\x80"',
    "an overlong encoding": b'"\xc0\xaf"',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-32": '{"a":1}'.encode("utf-32-le"),
}


class Parse(unittest.TestCase):
    def test_accepts_every_json_text_within_the_bounds(self) -> None:
        for name, (text, value) in TAKEN.items():
            with self.subTest(name):
                self.assertEqual(parse(text), value)

    def test_refuses_with_json_error_only(self) -> None:
        for name, text in REFUSED.items():
            with self.subTest(name):
                self.assertRaises(JsonError, parse, text)

    def test_bounds_hold_in_long_texts_too(self) -> None:
        for name, text in REFUSED.items():
            with self.subTest(name):
                self.assertRaises(JsonError, parse, b'["' + b"x" * 1000 + b'",' + text + b"]")

    def test_the_caller_sets_the_depth(self) -> None:
        self.assertEqual(parse(b"[[]]", max_depth=2), [[]])
        self.assertRaises(JsonError, parse, b"[[[]]]", max_depth=2)
        self.assertEqual(parse(b'"[[["', max_depth=0), "[[[")

    def test_arrays_and_objects_weigh_at_most_so_much_or_as_much_as_the_text(self) -> None:
        arrays, objects = FREE_WEIGHT // ARRAY_WEIGHT, FREE_WEIGHT // OBJECT_WEIGHT
        for text in (
            b"[" + b"[]," * (arrays - 2) + b"[]]",
            b'{"a":' + b"[" + b"{}," * (objects - 3) + b"{}]}",
            b"[" + b"[1,2,34]," * FREE_WEIGHT + b"[]]",
            b'["' + b"[{" * FREE_WEIGHT + b'\\"[{"]',
        ):
            parse(text)
        for text in (
            b"[" + b"[]," * (arrays - 1) + b"[]]",
            b'{"a":' + b"[" + b"{}," * (objects - 1) + b"{}]}",
            b"[" + b"[1,2,3]," * FREE_WEIGHT + b"[]]",
        ):
            self.assertRaises(TooHeavy, parse, text)

    def test_the_message_says_where(self) -> None:
        for text, place in ((b'\n {"a": 1,\n  "b" 2}', "line 3, column 7"), (b"  [1] x", "line 1, column 6")):
            with self.subTest(text), self.assertRaises(JsonError) as caught:
                parse(text)
            self.assertIn(place, str(caught.exception))

    def test_agrees_with_the_standard_library_on_mutated_texts(self) -> None:
        # Whatever json.loads refuses is refused here; what both take has one value; nothing else is ever raised.
        source = random.Random(8259)
        seeds = [text for text, _ in TAKEN.values() if len(text) < 300] + [b'{"k":[1.5e3,{"n":null}],"s":"\\u00e9\\n"}']
        taken = 0
        for _ in range(4000):
            text = bytearray(source.choice(seeds))
            for _ in range(source.randint(0, 2)):
                at = source.randrange(len(text) + 1)
                text[at : at + source.randint(0, 2)] = source.choice(
                    (b"", b'"', b"\\", b"[", b"}", b",", b"0", b"\xc3", b"e9")
                )
            try:
                value = parse(bytes(text))
            except JsonError:
                continue
            self.assertEqual(value, json.loads(bytes(text).decode()))
            taken += 1
        self.assertGreater(taken, 500)

    def test_threads_do_not_disturb_each_other(self) -> None:
        def parse_own(number: int) -> bool:
            text = json.dumps([{f"name {number} {i}": i} for i in range(50)]).encode()
            return all(parse(text) == json.loads(text) for _ in range(20))

        with ThreadPoolExecutor(8) as pool:
            self.assertTrue(all(pool.map(parse_own, range(16))))


class Large(unittest.TestCase):
    """Texts and values of another size are handled in another way, and to the same effect."""

    NAMES = ("", "a", "b", 'é"', "\ue000", "🦊", "\x7f\n", "a:b", "\\")

    def value(self, chance: random.Random, depth: int) -> Any:
        """A value that may hold others."""
        kind = chance.randrange(8 if depth else 5)
        if kind < 5:
            return chance.choice((0, -5, 10**20, True, None, 1.5, 1e9, 1e-7, -0.0, *self.NAMES, "🦊" * 9))
        below = [self.value(chance, depth - 1) for _ in range(chance.randrange(9))]
        return below if kind == 5 else {chance.choice(self.NAMES): one for one in below}

    def test_in_parts_the_bytes_are_the_same(self) -> None:
        chance = random.Random(1)
        with mock.patch.object(large_json, "_PART", 3):
            for _ in range(3000):
                value = self.value(chance, 4)
                self.assertEqual(large_json.compact_in_parts(value), compact(value).encode())
                self.assertEqual(large_json.canonical_in_parts(value), canonicalize(value, exact_integers=True))

    def text(self, chance: random.Random, depth: int) -> str:
        """A text that may name a member twice."""
        kind = chance.randrange(7 if depth else 4)
        if kind < 4:
            return chance.choice(("1", '"a:b"', '"\\":"', '"\\\\"', "{}"))
        below = [self.text(chance, depth - 1) for _ in range(chance.randrange(4))]
        if kind == 4:
            return f"[{','.join(below)}]"
        members = ",".join(f"{compact(chance.choice(self.NAMES))} : {one}" for one in below)
        return f"{{{members}}}"

    def test_many_members_are_read_as_few_are(self) -> None:
        def outcome(text: str) -> Any:
            try:
                return parse(text.encode())
            except JsonError as error:
                return str(error)

        chance = random.Random(2)
        texts = [self.text(chance, 4) for _ in range(3000)]
        few = [outcome(text) for text in texts]
        with mock.patch.object(json_text, "_MANY_MEMBERS", -1):
            self.assertEqual([outcome(text) for text in texts], few)
        self.assertIn("an object names a member twice", few)

    def test_half_of_a_pair_is_found_wherever_it_stands(self) -> None:
        pieces = ("\\\\", "\\ud83d", "\\uDE00", "\\udc00", "ud800", "\\n", '\\"', "\\u0041", "\\uD83d\\uDE00")
        for chosen in itertools.product(pieces, repeat=3):
            text = f'"{"".join(chosen)}"'
            whole = json.loads(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            with self.subTest(text):
                if "\ufffd" in whole:
                    with self.assertRaises(JsonError):
                        parse(text.encode())
                else:
                    self.assertEqual(parse(text.encode()), json.loads(text))


if __name__ == "__main__":
    unittest.main()
