"""Vectors of canonical JSON: RFC 8785 (values, numbers), OMP-CJ (bytes and their stage), identifiers (oplog §1.2).

What is expected is in the tables and not computed by the code, except for the texts of the random doubles: those were
compared with an ECMAScript engine's.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

from omp.rules.canonical import canonicalize
from omp.rules.identifiers import evidence_id, identity_id, key_id, operation_id, state_id

Case = dict[str, Any]


def generate() -> dict[str, Any]:
    """The files of this set."""
    return {
        "canonical/canonicalize.json": {
            "kind": "canonical/canonicalize",
            "description": "JSON texts and the canonical text of the same value.",
            "spec": "RFC 8785 §3.2",
            "cases": [
                {"name": name, "input": text, "canonical": canonical} for name, (text, canonical) in _TEXTS.items()
            ]
            + [{"name": name, "input": text, "error": True} for name, text in _WITHOUT_CANONICAL_FORM.items()],
        },
        "canonical/numbers.json": {
            "kind": "canonical/number",
            "description": "Doubles, by their IEEE 754 bits (big-endian), and their canonical text.",
            "spec": "RFC 8785 §3.2.2.3; ECMA-262 Number::toString",
            "cases": list(_numbers()),
        },
        "canonical/omp-cj.json": {
            "kind": "canonical/omp-cj",
            "description": "Bytes, and what a receiver of an operation makes of them before it looks at their meaning.",
            "spec": "oplog §1.1, §3.2 stages 1 and 2",
            "cases": list(_omp_cj()),
        },
        "canonical/identifiers.json": {
            "kind": "canonical/identifier",
            "description": "Identifiers and the bytes that they are made of.",
            "spec": "oplog §1.2",
            "cases": list(_identifiers()),
        },
    }


# --- RFC 8785 ---------------------------------------------------------------------------------------------------

_TEXTS = {
    "white space": (' {\t"a" : [ 1 ,\r\n2 ] } ', '{"a":[1,2]}'),
    "empty containers and strings": ('[{},[],"",{"":""}]', '[{},[],"",{"":""}]'),
    "literals": ("[null,true,false]", "[null,true,false]"),
    "a number at the top level": (" 1.0 ", "1"),
    "a string at the top level": ('"\\u0061"', '"a"'),
    "names in order of UTF-16 code units, where code points would differ": (
        '{"\\ue000":1,"\\ud800\\udc00":2,"z":3}',
        '{"z":3,"\U00010000":2,"\ue000":1}',
    ),
    "names in order, one a prefix of another": (
        '{"ab":1,"a":2,"":3,"a\\u0000":4,"A":5,"aa":6}',
        '{"":3,"A":5,"a":2,"a\\u0000":4,"aa":6,"ab":1}',
    ),
    "names that look like numbers": ('{"10":1,"9":2,"1":3,"-1":4}', '{"-1":4,"1":3,"10":1,"9":2}'),
    "names that are equal but for normalization stay as they are": (
        '{"\\u00e9":1,"e\\u0301":2}',
        '{"e\u0301":2,"\xe9":1}',
    ),
    "every short escape": ('"\\b\\t\\n\\f\\r\\"\\\\\\/"', '"\\b\\t\\n\\f\\r\\"\\\\/"'),
    "short escapes written long": (
        '"\\u0008\\u0009\\u000A\\u000c\\u000D\\u0022\\u005C\\u002f"',
        '"\\b\\t\\n\\f\\r\\"\\\\/"',
    ),
    "other controls stay escaped, in lower case": (
        '"\\u0000\\u001F\\u000b\\u001b"',
        '"\\u0000\\u001f\\u000b\\u001b"',
    ),
    "DEL and C1 controls are literal": ('"\\u007F\\u0080\\u009f"', '"\x7f\x80\x9f"'),
    "line separators and the byte order mark are literal": ('"\\u2028\\u2029\\uFEFF"', '"\u2028\u2029\ufeff"'),
    "a surrogate pair becomes one character": ('"\\uD83D\\uDE00"', '"\U0001f600"'),
    "noncharacters are characters too": ('"\\uffff\\ufffe\\udbff\\udfff"', '"\uffff\ufffe\U0010ffff"'),
    "minus zero": ("[-0,-0.0,0e5,-0E-7]", "[0,0,0,0]"),
    "integers around 2^53": (
        "[9007199254740991,9007199254740992,9007199254740993,9007199254740995,-9007199254740993]",
        "[9007199254740991,9007199254740992,9007199254740992,9007199254740996,-9007199254740992]",
    ),
    "a long integer is its nearest double": (
        "[123456789012345678901234567890,100000000000000000000,1000000000000000000000]",
        "[1.2345678901234568e+29,100000000000000000000,1e+21]",
    ),
    "fractions and exponents": (
        "[1.50,1E2,1e-7,0.000001,123e-20,1e21,5e-324,1.7976931348623157e308,1e-400]",
        "[1.5,100,1e-7,0.000001,1.23e-18,1e+21,5e-324,1.7976931348623157e+308,0]",
    ),
    "__proto__ is a name like any other": ('{"a":1,"__proto__":{"b":2}}', '{"__proto__":{"b":2},"a":1}'),
    "deep": ("[" * 100 + "]" * 100, "[" * 100 + "]" * 100),
}
_WITHOUT_CANONICAL_FORM = {
    "a high surrogate alone": '"\\ud800"',
    "a low surrogate alone": '["a\\udfffb"]',
    "surrogates in the wrong order": '"\\ude00\\ud83d"',
    "a lone surrogate in a name": '{"\\ud800":1}',
    "a name twice": '{"a":1,"a":1}',
    "a name twice, once escaped": '{"a":1,"\\u0061":2}',
    "the name __proto__ twice": '{"__proto__":1,"__proto__":1}',
    "a number beyond the doubles": "1e400",
    "an integer beyond the doubles": "1" + "0" * 309,
    "NaN": "NaN",
    "an infinity": "[-Infinity]",
}

_EDGES = (
    0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308,
    1e-6, 9.999999999999997e-7, 1e-7, 1e15, 1e16, 1e20, 1e21, 999999999999999900000.0, 1.2345678901234567e21, 1e22,
    1e23, 9007199254740991.0, 9007199254740992.0, 9007199254740994.0, 18014398509481984.0, 4.35, 0.1,
    0.30000000000000004, 1 / 3, 100.0, 1.5, -1.5e-10, 123456789.125, 1e-4, 1.5e-5, 333333333.3333333,
    295147905179352830000.0,
)  # fmt: skip


def _numbers() -> Iterator[Case]:
    source = random.Random(8785)
    numbers = [*_EDGES]
    while len(numbers) < 150:
        (number,) = struct.unpack(">d", source.randbytes(8))
        numbers.append(number if number - number == 0 else source.uniform(-1e6, 1e6))
    numbers += [source.uniform(-1, 1) * 10 ** source.randint(-9, 23) for _ in range(50)]
    for number in numbers:
        yield {"name": repr(number), "ieee754": struct.pack(">d", number).hex(), "text": canonicalize(number).decode()}
    for name, bits in {
        "NaN": "7ff8000000000000",
        "a NaN with a payload": "fff0000000000001",
        "infinity": "7ff0000000000000",
        "minus infinity": "fff0000000000000",
    }.items():
        yield {"name": name, "ieee754": bits, "error": True}


# --- OMP-CJ -----------------------------------------------------------------------------------------------------

_CANONICAL = {
    "the empty object": "{}",
    "an ordinary object": '{"a":[1,-2,{"b":null}],"c":"text","d":true}',
    "names by code point, where UTF-16 would differ": '{"\ue000":1,"\U00010000":2}',
    "every escape": '{"a":"\\b\\t\\n\\f\\r\\"\\\\\\u0000\\u001f\\u000b"}',
    "DEL, line separators, noncharacters and a byte order mark within a string": '{"a":"\x7f\x80\u2028\uffff\ufeff"}',
    "a slash needs no escape": '{"a":"/"}',
    "the greatest and the least integer": '{"a":9007199254740991,"b":-9007199254740991}',
    "zero": '{"a":0}',
    "__proto__ is a name like any other": '{"__proto__":{"a":1},"b":2}',
    "depth 16": '{"a":' + "[" * 15 + "]" * 15 + "}",
    "brackets in strings are no nesting": '{"a":"' + "[{" * 20 + '\\"[[\\\\"}',
}
_NOT_CANONICAL = {
    "a space before": ' {"a":1}',
    "a line feed after": '{"a":1}\n',
    "a space after a colon": '{"a": 1}',
    "a space after a comma": '{"a":[1, 2]}',
    "names out of order": '{"b":1,"a":2}',
    "names in the order of UTF-16": '{"\U00010000":1,"\ue000":2}',
    "a name twice": '{"a":1,"a":1}',
    "the name __proto__ twice": '{"__proto__":1,"__proto__":1}',
    "__proto__ out of order": '{"a":1,"__proto__":2}',
    "a name twice in an inner object": '{"a":[{"b":1,"b":2}]}',
    "top level an array": "[]",
    "top level a string": '"a"',
    "top level null": "null",
    "a letter escaped": '{"a":"\\u0061"}',
    "a slash escaped": '{"a":"\\/"}',
    "a line feed as \\u000a": '{"a":"\\u000a"}',
    "a control in upper-case hex": '{"a":"\\u001F"}',
    "DEL escaped": '{"a":"\\u007f"}',
    "a surrogate pair escaped": '{"a":"\\ud83d\\ude00"}',
    "a lone surrogate escaped": '{"a":"\\ud800"}',
    "a lone surrogate escaped, in a name": '{"\\udc00":1}',
    "a fraction": '{"a":1.5}',
    "a fraction of zero": '{"a":1.0}',
    "an exponent": '{"a":1e2}',
    "an exponent beyond the doubles": '{"a":1e400}',
    "minus zero": '{"a":-0}',
    "2^53": '{"a":9007199254740992}',
    "-2^53": '{"a":-9007199254740992}',
    "an integer of 17 digits": '{"a":10000000000000000}',
    "an integer of 5,000 digits": '{"a":' + "7" * 5000 + "}",
    "depth 16, with a space": '{"a": ' + "[" * 15 + "]" * 15 + "}",
}
_MALFORMED = {
    "nothing": "",
    "white space alone": " \n",
    "a comma too many": '{"a":1,}',
    "no closing bracket": '{"a":[1',
    "a bracket too many": '{"a":1}}',
    "brackets that do not match": '{"a":[1}',
    "two values": '{"a":1}{"a":1}',
    "NaN": '{"a":NaN}',
    "an infinity": '{"a":-Infinity}',
    "a leading zero": '{"a":01}',
    "a plus sign": '{"a":+1}',
    "a point without digits": '{"a":1.}',
    "single quotes": "{'a':1}",
    "a name without quotes": "{a:1}",
    "a name that is a number": "{1:1}",
    "a comment": '{"a":1/**/}',
    "a tab within a string": '{"a":"\t"}',
    "an unknown escape": '{"a":"\\x41"}',
    "an escape cut short": '{"a":"\\u12"}',
    "white space that JSON does not know": '{"a":\x0b1}',
    "a no-break space before": '\xa0{"a":1}',
    "literals in upper case": '{"a":True}',
    "a byte order mark": '\ufeff{"a":1}',
    "depth 17": '{"a":' + "[" * 16 + "]" * 16 + "}",
    "depth 17, objects": '{"a":' * 16 + "{}" + "}" * 16,
    "depth 1,000": '{"a":' + "[" * 999 + "]" * 999 + "}",
    "not canonical at first, no JSON at last": '{"b":1.5, "a":-0, "a":"\\ud800"',
}
_NOT_UTF_8 = {
    "a byte that is never UTF-8": b'{"a":"\xff"}',
    "an overlong encoding": b'{"a":"\xc0\xaf"}',
    "a surrogate as UTF-8": b'{"a":"\xed\xa0\x80"}',
    "a surrogate pair as UTF-8 (CESU-8)": b'{"a":"\xed\xa0\xbd\xed\xb8\x80"}',
    "a code point beyond U+10FFFF": b'{"a":"\xf4\x90\x80\x80"}',
    "a character cut short": b'{"a":"\xe2\x82"}',
    "UTF-16": '{"a":1}'.encode("utf-16-le"),
}


def _omp_cj() -> Iterator[Case]:
    for outcome, texts in (("ok", _CANONICAL), ("ERR_CANONICAL", _NOT_CANONICAL), ("ERR_ENCODING", _MALFORMED)):
        for name, text in texts.items():
            yield {"name": name, "bytes": text.encode().hex(), "outcome": outcome}
    for name, data in _NOT_UTF_8.items():
        yield {"name": name, "bytes": data.hex(), "outcome": "ERR_ENCODING"}


# --- Identifiers ------------------------------------------------------------------------------------------------


def _identifiers() -> Iterator[Case]:
    makers = {
        "identity": identity_id,
        "key": key_id,
        "operation": operation_id,
        "evidence": evidence_id,
        "state": state_id,
    }
    for name, data in {
        "zeros": bytes(32),
        "ones": b"\xff" * 32,
        "bytes in order": bytes(range(32)),
        "characters in which base64url and base64 differ": bytes.fromhex("fbefbe" * 10 + "fbff"),
    }.items():
        for kind in ("identity", "key"):
            yield {"name": f"{kind}: {name}", "of": kind, "bytes": data.hex(), "identifier": makers[kind](data)}
    for kind, data in {
        "operation": b'omp/0.2\n{"v":"omp/0.2"}',
        "evidence": b"\x00\x01 raw bytes\r\n",
        "state": b"{}",
    }.items():
        yield {"name": f"{kind}: some bytes", "of": kind, "bytes": data.hex(), "identifier": makers[kind](data)}
        yield {"name": f"{kind}: no bytes", "of": kind, "bytes": "", "identifier": makers[kind](b"")}
    key = key_id(bytes(32))
    digest = operation_id(b"")
    for name, kind, text in (
        ("unused bits of the last character set", "key", key[:-1] + "B"),
        ("padding", "key", key + "="),
        ("42 characters", "key", key[:-1]),
        ("44 characters", "key", key + "A"),
        ("a character of base64 that base64url has not", "key", key[:-2] + "+A"),
        ("a line feed at the end", "key", key + "\n"),
        ("another kind", "key", identity_id(bytes(32))),
        ("another algorithm", "key", key.replace("ed25519", "ed448")),
        ("upper-case prefix", "identity", identity_id(bytes(32)).replace("omp", "OMP")),
        ("upper-case hex", "operation", digest[:-10] + digest[-10:].upper()),
        ("63 digits", "operation", digest[:-1]),
        ("a digit of another script", "operation", digest[:-1] + "\u0661"),
        ("another kind of hash", "operation", evidence_id(b"")),
    ):
        yield {"name": f"no {kind} ID: {name}", "of": kind, "identifier": text, "error": True}
    for kind, make in makers.items():
        yield {
            "name": f"{kind}: well formed, and the ID of other bytes",
            "of": kind,
            "bytes": bytes(range(32)).hex(),
            "identifier": make(bytes(32)),
            "error": True,
        }
