"""Vectors of what bytes alone decide (oplog §3.2 stages 1, 2, 3 and 7), and of making operations (§1.4).

Each case has one thing wrong, and is signed by its author as it stands.  Where two things are wrong, the name of the
case says so, and the earlier stage gives the code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256, sha512
from typing import Any

from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, TYPES, preimage
from omp.rules import ed25519, identifiers
from omp.rules.encodings import b64u_decode, b64u_encode
from omp.tests.vectors.makers.oplog.making import (
    LAPTOP,
    PHONE,
    ROOT,
    Case,
    Key,
    Made,
    body_of,
    envelope_of,
    fails,
    op_id,
    passes,
    resigned,
    scope_of,
    sealed,
    signature_text,
    with_body,
    wrong,
)

# --- Making -----------------------------------------------------------------------------------------------------


def produce_cases() -> Iterator[Case]:
    """Envelope and seed → preimage, ID, exact bytes: each type, and what is easily written in another way."""
    everything = {
        "empty": {}, "list": [1, [], {"a": None}], "max": 2**53 - 1, "min": -(2**53 - 1), "zero": 0,
        "true": True, "false": False, "escapes": '"\\/\b\f\n\r\t\u0000\u001f\u007f', "text": "é€𝄞\u2028",
    }  # fmt: skip
    made = [
        *((kind, ROOT, envelope_of(kind)) for kind in TYPES),
        ("a later operation of a device", PHONE, _later(PHONE)),
        ("every sort of value", ROOT, with_body(CLAIM, object=everything)),
        ("order of names: _ comes after digits, before letters", ROOT, with_body(CLAIM, object=_NAMES)),
        ("extensions, in the envelope and in the body", ROOT, {**with_body(CLAIM, x_note="körper"), "x_0": [{}]}),
        ("a scope with ops", ROOT, with_body(GRANT, scope=scope_of(ops=[CLAIM, EVIDENCE]))),
    ]
    for name, key, envelope in made:
        operation = sealed(envelope, key)
        yield {
            "name": name,
            "class": ["producer"],
            "seed": key.seed.hex(),
            "envelope": envelope,
            "preimage": preimage(envelope).decode(),
            "id": operation.id,
            "operation": operation.raw.decode(),
        }


_NAMES = {"b": 1, "a": 2, "_": 3, "a_b": 4, "ab": 5, "a0": 6, "0": 7, "10": 8, "9": 9}


def _later(author: Key) -> dict[str, Any]:
    return envelope_of(CLAIM, author, seq=2, prev=op_id("mine"), deps=[op_id("x"), op_id("y")], lc=7)


# --- Stages 1 to 3 ----------------------------------------------------------------------------------------------


def byte_cases() -> Iterator[Case]:
    """Encoding, canonical form, version."""
    good = sealed(envelope_of(CLAIM), ROOT)
    text = good.raw.decode()
    yield passes("as it should be", good)
    yield from _encoding_cases(text)
    yield from _canonical_cases(text)
    for name, envelope in {
        "v is omp/0.1": envelope_of(CLAIM, v="omp/0.1"),
        "v is omp/0.20": envelope_of(CLAIM, v="omp/0.20"),
        "v with a line feed after it": envelope_of(CLAIM, v="omp/0.2\n"),
        "v in capitals": envelope_of(CLAIM, v="OMP/0.2"),
        "v is empty": envelope_of(CLAIM, v=""),
        "v is another and the schema is broken too": envelope_of(CLAIM, v="omp/0.3", seq="1"),
    }.items():
        yield wrong(name, "ERR_VERSION", envelope)
    for name, value in (("null", "null"), ("a number", "2"), ("an array", '["omp/0.2"]')):
        yield fails(f"v is {name}", "ERR_VERSION", text.replace('"v":"omp/0.2"', f'"v":{value}').encode())
    yield fails("v is missing", "ERR_VERSION", text.replace(',"v":"omp/0.2"', "").encode())
    yield fails("an empty object", "ERR_VERSION", b"{}")


def _encoding_cases(text: str) -> Iterator[Case]:
    raw = text.encode()
    deep = '{"a":' * 15
    for name, data in {
        "no bytes": b"",
        "a byte order mark": b"\xef\xbb\xbf" + raw,
        "a byte that no UTF-8 has": raw.replace(b"Dentist", b"\xff"),
        "an overlong slash": raw.replace(b"Dentist", b"\xc0\xaf"),
        "a surrogate as UTF-8 bytes": raw.replace(b"Dentist", b"\xed\xa0\x80"),
        "beyond U+10FFFF": raw.replace(b"Dentist", b"\xf4\x90\x80\x80"),
        "a sequence cut short": raw.replace(b"Dentist", b"\xe2\x82"),
        "UTF-16": text.encode("utf-16-le"),
        "cut off": raw[:-1],
        "two objects": raw + raw,
        "a comma too many": raw[:-1] + b",}",
        "single quotes": raw.replace(b'"self"', b"'self'"),
        "NaN": raw.replace(b"900000", b"NaN"),
        "Infinity": raw.replace(b"900000", b"-Infinity"),
        "a leading zero": raw.replace(b"900000", b"0900000"),
        "a plus sign": raw.replace(b"900000", b"+900000"),
        "a bare control character in a string": raw.replace(b"Dentist", b"Den\ttist"),
        "an unknown escape": raw.replace(b"Dentist", b"\\a"),
        "half an escape": raw.replace(b"Dentist", b"\\u12"),
        "depth 17, objects": f'{deep}{{"a":{{}}{"}" * 16}'.encode(),
        "depth 17, arrays": b"[" * 17 + b"]" * 17,
        "depth 17 in the body": _nested(text, 15),
        "depth 10,000": b"[" * 10_000,
        "depth 17, and names out of order": f'{{"b":1,"a":{"[" * 16}{"]" * 16}}}'.encode(),
        "not JSON, and white space": b'{ "a" }',
    }.items():
        yield fails(name, "ERR_ENCODING", data)
    fits = envelope_of(CLAIM, body=body_of(CLAIM, object=_deep(14)))
    yield passes("depth 16", sealed(fits, ROOT))
    yield fails("depth 16, another version", "ERR_VERSION", f'{deep}{{"a":1{"}" * 16}'.encode())


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def _nested(text: str, levels: int) -> bytes:
    return text.replace('{"title":"Dentist"}', "[" * levels + "]" * levels).encode()


def _canonical_cases(text: str) -> Iterator[Case]:
    swapped = text.replace('"lc":1,"log":', '"log":').replace(',"prev"', ',"lc":1,"prev"')
    for name, data in {
        "a space after a colon": text.replace('"lc":1', '"lc": 1'),
        "a line feed at the end": text + "\n",
        "a space before it": " " + text,
        "pretty-printed": json.dumps(json.loads(text), indent=1),
        "names out of order": swapped,
        "names out of order, in the body": text.replace(
            '"method":"user:typed","object":{"title":"Dentist"}', '"object":{"title":"Dentist"},"method":"user:typed"'
        ),
        "names in the order of UTF-16, where code points would differ": text.replace(
            '{"title":"Dentist"}', '{"\U00010000":1,"\ue000":2}'
        ),
        "a name twice": text.replace('"lc":1', '"lc":1,"lc":1'),
        "a name twice, once escaped": text.replace('"lc":1', '"lc":1,"\\u006cc":1'),
        "a letter as an escape": text.replace("Dentist", "D\\u0065ntist"),
        "an escaped slash": text.replace("Dentist", "\\/"),
        "a line feed as \\u000a": text.replace("Dentist", "\\u000a"),
        "a control character in capitals": text.replace("Dentist", "\\u001F"),
        "delete as an escape": text.replace("Dentist", "\\u007f"),
        "a character beyond ASCII as an escape": text.replace("Dentist", "\\u00e9"),
        "a surrogate pair as escapes": text.replace("Dentist", "\\ud834\\udd1e"),
        "half a surrogate pair as an escape": text.replace("Dentist", "\\ud834"),
        "the second half first": text.replace("Dentist", "\\udd1e\\ud834"),
        "half a surrogate pair in a name": text.replace("title", "\\ud834"),
        "a fraction": text.replace("900000", "900000.5"),
        "a fraction of zero": text.replace("900000", "900000.0"),
        "an exponent": text.replace("900000", "9e5"),
        "minus zero": text.replace("900000", "-0"),
        "2^53": text.replace("900000", "9007199254740992"),
        "-2^53": text.replace("900000", "-9007199254740992"),
        "an integer of 400 digits": text.replace("900000", "9" * 400),
        "a number beyond a double": text.replace("900000", "1e400"),
        "an array of operations": f"[{text}]",
        "a string": '"omp/0.2"',
        "null": "null",
        "a fraction, and another version": text.replace("900000", "0.5").replace("omp/0.2", "omp/0.3"),
    }.items():
        yield fails(name, "ERR_CANONICAL", data.encode())
    # In the right order they are canonical, and names that no member may have.
    names = {"\ue000": 1, "\U00010000": 2}
    data = text.replace('{"title":"Dentist"}', json.dumps(names, ensure_ascii=False, separators=(",", ":")))
    operation_id = identifiers.operation_id(preimage(with_body(CLAIM, object=names)))
    yield fails("names in the order of code points, beyond ASCII", "ERR_SCHEMA", data.encode(), operation_id)


# --- Stage 7 ----------------------------------------------------------------------------------------------------


def signature_cases() -> Iterator[Case]:
    """Signatures that do not verify; the rules of Ed25519 themselves are in ``ed25519/verify``."""
    made = sealed(envelope_of(CLAIM), ROOT)
    signed = preimage(made.envelope)
    good = b64u_decode(signature_text(made).decode())
    yield passes("as it should be", made)
    twin = another_signature(ROOT, signed)
    yield passes("another signature over the same preimage: the same ID", Made(with_signature(made, twin), made.id, {}))
    r, s = good[:32], int.from_bytes(good[32:], "little")
    for name, signature in {
        "by another key": LAPTOP.sign(signed),
        "over the envelope without the version before it": ROOT.sign(signed.partition(b"\n")[2]),
        "over the version with a NUL after it": ROOT.sign(signed.replace(b"\n", b"\0", 1)),
        "over the hash of the preimage": ROOT.sign(sha256(signed).digest()),
        "over the operation ID": ROOT.sign(made.id.encode()),
        "over another operation": ROOT.sign(preimage(envelope_of(CLAIM, lc=2))),
        "a bit turned in R": bytes([good[0] ^ 1]) + good[1:],
        "a bit turned in S": good[:32] + bytes([good[32] ^ 1]) + good[33:],
        "S + L": r + (s + ed25519.L).to_bytes(32, "little"),
        "-S": r + (ed25519.L - s).to_bytes(32, "little"),
        "all zeros": bytes(64),
        "R is the neutral element, S is 0": b"\x01" + bytes(63),
    }.items():
        yield fails(name, "ERR_SIGNATURE", with_signature(made, signature), made.id)
    yield from _changed_cases(made)
    for name, point in (("the neutral element", b"\x01" + bytes(31)), ("no point", b"\x02" + bytes(31))):
        envelope = {**envelope_of(CLAIM), "author": identifiers.key_id(point)}
        weak = sealed(envelope, ROOT)
        yield fails(f"the author's key is {name}", "ERR_SIGNATURE", with_signature(weak, b"\x01" + bytes(63)), weak.id)
    late = sealed(envelope_of(CLAIM, PHONE, deps=[op_id("nowhere")], lc=1), LAPTOP)
    yield fails("signature before ancestors: wrong, and an ancestor unknown", "ERR_SIGNATURE", late.raw, late.id)


def _changed_cases(made: Made) -> Iterator[Case]:
    """Each member changed under a signature that was right."""
    changes: dict[str, Any] = {
        "author": LAPTOP.id, "deps": [op_id("x")], "lc": 2, "log": identifiers.identity_id(LAPTOP.public_key),
        "prev": op_id("x"), "seq": 2, "ts": "2024-05-17T09:30:00.001Z", "x_note": None,
        "body": body_of(CLAIM, confidence_ppm=900_001),
    }  # fmt: skip
    signature = b64u_decode(signature_text(made).decode())
    for name, value in changes.items():
        changed = sealed({**made.envelope, name: value}, ROOT)
        yield fails(f"{name} changed after signing", "ERR_SIGNATURE", with_signature(changed, signature), changed.id)


def with_signature(made: Made, signature: bytes) -> bytes:
    """The bytes of an operation with another signature (64 bytes)."""
    return resigned(made, b'"%s"' % b64u_encode(signature).encode())


def another_signature(key: Key, message: bytes) -> bytes:
    """A signature that verifies and is not that of RFC 8032 §5.1.6: its r does not come from key and message."""
    r = 2**200 + 1  # the same r twice gives a secret key away; the seeds of these keys are published anyway
    encoded_r = ed25519.encode_point(_multiple(r, ed25519.B))
    k = int.from_bytes(sha512(encoded_r + key.public_key + message).digest(), "little")
    s = int.from_bytes(sha512(key.seed).digest()[:32], "little") & ((1 << 254) - 8) | 1 << 254
    return encoded_r + ((r + k * s) % ed25519.L).to_bytes(32, "little")


def _multiple(scalar: int, point: ed25519.Point) -> ed25519.Point:
    product = ed25519.add(point, ed25519.negative(point))
    for bit in f"{scalar:b}":
        product = ed25519.double(product)
        if bit == "1":
            product = ed25519.add(product, point)
    return product
