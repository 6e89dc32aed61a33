"""Vectors of Ed25519: deterministic signatures, and every way in which omp §5 refuses one.

The refused ones solve the equation that a lax verifier checks, so that each passes all rules but one.  With A or R
shifted by a point of small order, the cofactored equation still holds; with a key of small order, S = r fits any
message whose k is a multiple of the order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256, sha512
from typing import Any

from omp.rules.ed25519 import (
    NEUTRAL,
    SMALL_ORDER,
    B,
    L,
    Point,
    add,
    decode_point,
    double,
    encode_point,
    p,
    public_key_slowly,
    sign_slowly,
)

Triple = tuple[bytes, bytes, bytes]
"""Public key, message, signature."""


def generate() -> dict[str, Any]:
    """The files of this set."""
    return {
        "ed25519/sign.json": {
            "kind": "ed25519/sign",
            "description": "Keys and signatures that follow from a 32-byte seed and a message.",
            "spec": "RFC 8032 §5.1.5, §5.1.6",
            "cases": list(_signatures()),
        },
        "ed25519/verify.json": {
            "kind": "ed25519/verify",
            "description": "Which signatures are accepted, under rules that leave no two verifiers apart.",
            "spec": "RFC 8032 §5.1.7; omp §5",
            "cases": [
                {"name": name, "public_key": A.hex(), "message": message.hex(), "signature": RS.hex(), "valid": valid}
                for valid, triples in ((True, _accepted()), (False, _refused()))
                for name, (A, message, RS) in triples
            ],
        },
    }


def _seed(number: int) -> bytes:
    return sha256(b"vector seed %d" % number).digest()


def _signatures() -> Iterator[dict[str, str]]:
    for number, length in enumerate((0, 1, 2, 31, 32, 63, 64, 65, 111, 112, 127, 128, 1023)):
        seed, message = _seed(number), bytes(i % 256 for i in range(length))
        yield {
            "name": f"a message of {length} bytes",
            "seed": seed.hex(),
            "public_key": public_key_slowly(seed).hex(),
            "message": message.hex(),
            "signature": sign_slowly(seed, message).hex(),
        }


# --- What the refused signatures are made of ----------------------------------------------------------------------


def _point(encoding: bytes) -> Point:
    point = decode_point(encoding)
    if point is None:
        raise ValueError(f"{encoding.hex()} is no point")
    return point


def _multiple(scalar: int, P: Point) -> Point:
    product = NEUTRAL
    for bit in f"{scalar:b}":
        product = double(product)
        if bit == "1":
            product = add(product, P)
    return product


def _bytes(number: int) -> bytes:
    return number.to_bytes(32, "little")


def _unreduced(R: bytes, A: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(R + A + message).digest(), "little")


def _challenge(R: bytes, A: bytes, message: bytes) -> int:
    return _unreduced(R, A, message) % L


_SECRET = int.from_bytes(sha512(b"vector scalar").digest(), "little") % L
_NONCE = int.from_bytes(sha512(b"vector nonce").digest(), "little") % L
_ORDER_8 = next(T for T in sorted(SMALL_ORDER) if double(_point(T))[0] % p)
"""Its double has order 4, and so an x that is not 0."""


def _signed(message: bytes, *, A: bytes, R: bytes) -> Triple:
    """S = r + k·s for encodings A and R as given, which need not be [s]B and [r]B."""
    S = (_NONCE + _challenge(R, A, message) * _SECRET) % L
    return A, message, R + _bytes(S)


def _message_where(holds: Callable[[bytes], bool]) -> bytes:
    """The first message of a fixed sequence for which `holds`."""
    number = 0
    while not holds(message := b"message %d" % number):
        number += 1
    return message


_A = encode_point(_multiple(_SECRET, B))
_R = encode_point(_multiple(_NONCE, B))
_SHIFTED_A = encode_point(add(_point(_A), _point(_ORDER_8)))


def _shifted_r(turns: int) -> bytes:
    """R + [turns]T with T of order 8."""
    return encode_point(add(_point(_R), _multiple(turns % 8, _point(_ORDER_8))))


def _accepted() -> Iterator[tuple[str, Triple]]:
    yield "an ordinary signature", _signed(b"hello", A=_A, R=_R)
    yield "the empty message", _signed(b"", A=_A, R=_R)
    # With A = [s]B + T and T of order 8, [k]A is [k·s]B exactly where k is a multiple of 8.
    message = _message_where(lambda m: _challenge(_R, _SHIFTED_A, m) % 8 == 0 != _unreduced(_R, _SHIFTED_A, m) % 8)
    yield "A with a component of order 8, k mod L a multiple of 8 but k not", _signed(message, A=_SHIFTED_A, R=_R)
    R = _shifted_r(-3)
    message = _message_where(lambda m: _challenge(R, _SHIFTED_A, m) % 8 == 3)
    yield "A and R with components of order 8 that cancel", _signed(message, A=_SHIFTED_A, R=R)


def _refused() -> Iterator[tuple[str, Triple]]:
    yield from _changed()
    yield from _outside_the_range_of_s()
    yield from _of_small_order()
    yield "A is no point: no x has y = 2", _signed(b"hello", A=_bytes(2), R=_R)
    yield "R is no point: no x has y = 2", _signed(b"hello", A=_A, R=_bytes(2))
    yield "R with a component of order 8: only the cofactored equation holds", _signed(b"hello", A=_A, R=_shifted_r(1))
    message = _message_where(lambda m: _challenge(_R, _SHIFTED_A, m) % 8 != 0 == _unreduced(_R, _SHIFTED_A, m) % 8)
    yield "A with a component of order 8, k a multiple of 8 but k mod L not", _signed(message, A=_SHIFTED_A, R=_R)
    message = _message_where(lambda m: _challenge(_R, _SHIFTED_A, m) % 8 != 0)
    yield "A with a component of order 8: only the cofactored equation holds", _signed(message, A=_SHIFTED_A, R=_R)


def _changed() -> Iterator[tuple[str, Triple]]:
    A, message, RS = _signed(b"hello", A=_A, R=_R)
    yield "another message", (A, b"hallo", RS)
    yield "another key", (encode_point(double(_point(A))), message, RS)
    yield "the key's sign bit flipped", (A[:31] + bytes([A[31] ^ 0x80]), message, RS)
    for index in (0, 31, 32, 63):
        flipped = bytearray(RS)
        flipped[index] ^= 1
        yield f"the lowest bit of byte {index} of the signature flipped", (A, message, bytes(flipped))
    yield "R and S exchanged", (A, message, RS[32:] + RS[:32])
    yield "a signature of 63 bytes", (A, message, RS[:63])
    yield "a signature of 65 bytes", (A, message, RS + b"\0")
    yield "an empty signature", (A, message, b"")
    yield "a key of 31 bytes", (A[:31], message, RS)
    yield "a key of 33 bytes", (A + b"\0", message, RS)
    yield "an empty key", (b"", message, RS)


def _outside_the_range_of_s() -> Iterator[tuple[str, Triple]]:
    A, message, RS = _signed(b"hello", A=_A, R=_R)
    S = int.from_bytes(RS[32:], "little")
    for times in (1, 2, 15):
        yield f"S + {times}·L in place of S", (A, message, _R + _bytes(S + times * L))
    yield "S = L", (A, message, _R + _bytes(L))
    yield "every bit of S set", (A, message, _R + b"\xff" * 32)


def _of_small_order() -> Iterator[tuple[str, Triple]]:
    """Keys and R of small order, in every encoding; the equation holds, as points, also without the cofactor."""
    names = dict.fromkeys(sorted(SMALL_ORDER), "of small order")
    sign = 1 << 255
    names |= {_bytes(y): "of small order, y not reduced modulo p" for y in (p, p + 1, p | sign, p + 1 | sign)}
    names |= {_bytes(y | sign): "of small order, x written as −0" for y in (1, p - 1)}
    for encoding, what in names.items():
        A = encoding
        message = _message_where(lambda m, A=A: _challenge(_R, A, m) % 8 == 0)  # type: ignore[misc]
        # [k]A is neutral, so S = r does.
        yield f"A {what}: {A.hex()}", (A, message, _R + _bytes(_NONCE))
        R = encoding
        # [S]B = [k]A with S = k·s; whatever R adds goes away with the cofactor, and the neutral one adds nothing.
        yield f"R {what}: {R.hex()}", (_A, b"hello", R + _bytes(_challenge(R, _A, b"hello") * _SECRET % L))
