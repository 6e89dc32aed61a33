"""Canonical JSON against RFC 8785's own examples and the published vectors; the strict decoder against anything."""

from __future__ import annotations

import json
import math
import random
import struct
import unittest
from typing import Any

from omp.rules.canonical import MAX_DEPTH, CanonicalError, Malformed, NotCanonical, canonicalize, decode, encode
from omp.rules.json_text import parse
from omp.tests import PUBLISHED

JCS = PUBLISHED / "jcs"

# RFC 8785 Appendix B: IEEE 754 bits and their text.
APPENDIX_B = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


def _loop() -> Any:
    loop: list[Any] = []
    loop.append({"again": loop})
    return loop


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


class Canonicalize(unittest.TestCase):
    def test_the_example_of_rfc_8785_section_3_2_2(self) -> None:
        value = {
            "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
            "literals": [None, True, False],
        }
        self.assertEqual(
            canonicalize(value).hex(),
            # §3.2.4
            "7b226c69746572616c73223a5b6e756c6c2c747275652c66616c73655d2c226e"
            "756d62657273223a5b3333333333333333332e333333333333332c31652b3330"
            "2c342e352c302e3030322c31652d32375d2c22737472696e67223a22e282ac24"
            "5c75303030665c6e4127425c225c5c5c5c5c222f227d",
        )

    def test_the_sorting_example_of_rfc_8785_section_3_2_3(self) -> None:
        value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
        self.assertEqual([*json.loads(canonicalize(value)).values()], [2, 4, 6, 7, 1, 5, 3])

    def test_the_numbers_of_rfc_8785_appendix_b(self) -> None:
        for bits, text in APPENDIX_B.items():
            with self.subTest(bits):
                (number,) = struct.unpack(">d", bytes.fromhex(bits))
                self.assertEqual(canonicalize(number).decode(), text)

    def test_every_double_reads_back_as_itself(self) -> None:
        source = random.Random(754)
        for _ in range(5000):
            (number,) = struct.unpack(">d", source.randbytes(8))
            if math.isfinite(number):
                self.assertEqual(float(canonicalize(number)), number)

    @unittest.skipUnless(JCS.is_dir(), "the published RFC 8785 vectors are not beside the checkout")
    def test_the_published_vectors(self) -> None:
        inputs = sorted((JCS / "input").iterdir())
        self.assertTrue(inputs)
        for path in inputs:
            with self.subTest(path.name):
                canonical_bytes = canonicalize(parse(path.read_bytes()))
                self.assertEqual(canonical_bytes, (JCS / "output" / path.name).read_bytes())
                self.assertEqual(canonicalize(parse(canonical_bytes)), canonical_bytes)

    def test_names_are_ordered_by_utf_16_code_units(self) -> None:
        value = {"\ue000": 1, "\U00010000": 2, "\uffff": 3, "a": 4}
        self.assertEqual(canonicalize(value).decode(), '{"a":4,"\U00010000":2,"\ue000":1,"\uffff":3}')

    def test_integers_beyond_doubles_exactness_are_their_nearest_double(self) -> None:
        for number, text in {
            2**53 - 1: "9007199254740991",
            2**53 + 1: "9007199254740992",
            -(2**53) - 1: "-9007199254740992",
            2**53 + 3: "9007199254740996",
            10**21: "1e+21",
            10**20 + 1: "100000000000000000000",
            -(10**300): "-1e+300",
        }.items():
            with self.subTest(number):
                self.assertEqual(canonicalize(number).decode(), text)
                self.assertEqual(canonicalize(parse(text.encode())).decode(), text)

    def test_exact_integers_keep_all_digits_at_every_depth(self) -> None:
        value = {"a": [2**53, {"b": 2**53 + 1, "c": 10**300}], "d": 1.5}
        text = canonicalize(value, exact_integers=True).decode()
        self.assertEqual(text, f'{{"a":[9007199254740992,{{"b":9007199254740993,"c":{10**300}}}],"d":1.5}}')

    def test_exact_integers_change_nothing_else(self) -> None:
        value = {"\ue000": [-0.0, 1e21, True, None], "\U00010000": (1, 2**53 - 1)}
        self.assertEqual(canonicalize(value, exact_integers=True), canonicalize(value))

    def test_what_has_no_canonical_form_is_one_error_class(self) -> None:
        for name, value in {
            "NaN": math.nan,
            "infinity": [math.inf],
            "minus infinity": {"a": -math.inf},
            "an integer beyond doubles": 2**1024,
            "5,000 digits": [10**5000],
            "a lone surrogate": "\ud800",
            "a lone surrogate in a name": {"\udfff": 1},
            "a lone surrogate and another name": {"\udfff": 1, "\U00010000": 2},
            "a number as a name": {1: 2},
            "names of two types": {1: 2, "a": 3},
            "None as a name": {None: 1},
            "bytes": b"a",
            "a set": {1},
            "an object": object(),
            "a complex number": [1j],
            "a value within itself": _loop(),
            "nested too deep": _nested(MAX_DEPTH + 1),
            "nested 100,000 deep": _nested(100_000),
        }.items():
            with self.subTest(name):
                self.assertRaises(CanonicalError, canonicalize, value)
                self.assertRaises(CanonicalError, canonicalize, value, exact_integers=True)

    def test_the_deepest_value_allowed_is_written(self) -> None:
        self.assertEqual(canonicalize(_nested(MAX_DEPTH)), b"[" * MAX_DEPTH + b"0" + b"]" * MAX_DEPTH)


def _stage(data: bytes) -> int:
    """The stage of oplog §3.2 at which `data` fails; 3 where it passes both that are decided here."""
    try:
        value = decode(data)
    except Malformed:
        return 1
    except NotCanonical:
        return 2
    assert encode(value) == data
    return 3


class Decode(unittest.TestCase):
    def test_gives_the_value(self) -> None:
        self.assertEqual(decode(b'{"a":[1,{"b":null}],"c":"\\n"}'), {"a": [1, {"b": None}], "c": "\n"})

    def test_what_is_not_json_is_stage_1_even_if_it_is_not_canonical_either(self) -> None:
        for text in (
            b' {"a":1.5,',
            b'{"b":1,"a":2,"a":3',
            b'{"a":"\\ud800",}',
            b'{"a":-0} x',
            b"[1] [",
            b'{"a":1e400,NaN}',
        ):
            with self.subTest(text):
                self.assertEqual(_stage(text), 1)

    def test_depth_is_stage_1_and_counts_arrays_and_objects_alike(self) -> None:
        self.assertEqual(_stage(b'{"a":' + b"[" * 15 + b"]" * 15 + b"}"), 3)
        self.assertEqual(_stage(b'{"a":' + b"[" * 16 + b"]" * 16 + b"}"), 1)
        self.assertEqual(_stage(b'{"a":' * 16 + b"{}" + b"}" * 16), 1)
        self.assertEqual(_stage(b"[" * 17 + b"]" * 17), 1)
        self.assertEqual(_stage(b"[" * 16 + b"]" * 16), 2)

    def test_the_caller_sets_the_depth(self) -> None:
        self.assertEqual(decode(b'{"a":{}}', max_depth=2), {"a": {}})
        self.assertRaises(Malformed, decode, b'{"a":{"a":{}}}', max_depth=2)

    def test_numbers_outside_the_range_are_stage_2_whatever_their_length(self) -> None:
        for text in ("9007199254740992", "-9007199254740992", "1" * 17, "-" + "1" * 17, "1" * 5000, "1" * 10**6):
            with self.subTest(digits=len(text)):
                self.assertEqual(_stage(b'{"a":%s}' % text.encode()), 2)
        for text in ("1.0", "1e1", "1E400", "-0", "-0.0", "0." + "1" * 5000, "1e-999999"):
            with self.subTest(text[:20]):
                self.assertEqual(_stage(b'{"a":%s}' % text.encode()), 2)

    def test_hostile_bytes_raise_nothing_else(self) -> None:
        for name, data in {
            "100,000 arrays": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            "100,000 arrays, never closed": b"[" * 100_000,
            "a million digits at the top": b"7" * 10**6,
            "a million closing brackets": b"]" * 10**6,
            "a million quotes": b'"' * 10**6,
            "a million backslashes": b'{"a":"' + b"\\" * 10**6,
            "bytes": bytes(range(256)),
        }.items():
            with self.subTest(name):
                self.assertIn(_stage(data), (1, 2))

    def test_mutations_of_canonical_bytes_fail_at_the_right_stage(self) -> None:
        # An independent check: the standard library's parser, and its encoder set to OMP-CJ.
        source = random.Random(16)
        good = '{"a":[1,-2,{"b":null,"c":"\\n\\u0001\u20ac"}],"d":{"e":true,"f":9007199254740991}}'.encode()
        stages = set()
        for _ in range(4000):
            data = bytearray(good)
            for _ in range(source.randint(0, 2)):
                at = source.randrange(len(data))
                data[at : at + source.randint(0, 1)] = source.choice(
                    (b"", b" ", b"0", b".", b'"', b"\\", b"a", b"\xc2", b",")
                )
            stage = _stage(bytes(data))
            self.assertEqual(stage, _judged(bytes(data)), bytes(data))
            stages.add(stage)
        self.assertEqual(stages, {1, 2, 3})


def _judged(data: bytes) -> int:
    outside: list[str] = []

    def integer(text: str) -> int:
        if abs(int(text)) > 2**53 - 1:
            outside.append(text)
        return int(text)

    try:
        value = json.loads(data.decode(), parse_int=integer, parse_float=outside.append)
    except ValueError:
        return 1
    again = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    return 3 if again == data and isinstance(value, dict) and not outside else 2


if __name__ == "__main__":
    unittest.main()
