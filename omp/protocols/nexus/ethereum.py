"""Ethereum's keys: public-key recovery over secp256k1 by hand, addresses, and signatures as wallets write them.

Implements §2 and §3.3 to §3.5.  The arithmetic follows SEC 1 §4.1.6 ("Public Key Recovery Operation") over the curve of
SEC 2 §2.4.1, version 2 of both, in their letters: a signature (r, s) over a hash e, the point R whose x coordinate is
r, the public key Q.  Two points have that x, so two keys fit; Ethereum's v says which one is meant.

Guarantees: r and s are 1 to n - 1; s is in the lower half, so that nobody can turn a signature into a second one over
the same hash; v is 0 or 1; R lies on the curve; Q is not the point at infinity.  Everything else raises
:class:`InvalidSignature`.  An address has one normal form, ``0x`` and 40 lower-case digits.

Layout: the curve, its points, multiples of points, recovery, addresses, signatures as text, and signing by hand.

The caller must compare the recovered address with the expected one: almost any 65 bytes recover *some* key.  It must
never give a secret that matters to the functions named ``…_slowly``, which are for tests and vectors: Python's integers
take a time that depends on their values.
"""

from __future__ import annotations

import hmac
import re
from functools import cache, lru_cache
from hashlib import sha256
from typing import NamedTuple

from omp.protocols.nexus.keccak import keccak256

# --- The curve: SEC 2 §2.4.1 ---------------------------------------------------------------------------------------

P = 2**256 - 2**32 - 977
"""The field's prime (p in the document).  The curve is y² = x³ + 7 over it."""
N = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""The order of G (n): a prime.  The cofactor h is 1, so every point but the one at infinity has this order."""
G = (
    0x79BE667E_F9DCBBAC_55A06295_CE870B07_029BFCDB_2DCE28D9_59F2815B_16F81798,
    0x483ADA77_26A3C465_5DA4FBFC_0E1108A8_FD17B448_A6855419_9C47D08F_FB10D4B8,
)
"""The base point."""

Affine = tuple[int, int]
"""A point (x, y); the point at infinity has no such form."""
Jacobian = tuple[int, int, int]
"""A point (X, Y, Z) with x = X/Z², y = Y/Z³: adding needs no division.  Z = 0 is the point at infinity."""

_INFINITY: Jacobian = (1, 1, 0)


# --- Points -----------------------------------------------------------------------------------------------------


def _double(point: Jacobian) -> Jacobian:
    """2 · `point` (the formulas "dbl-2009-l" for curves with a = 0; they take infinity to infinity)."""
    x, y, z = point
    a = x * x % P
    b = y * y % P
    c = b * b
    d = 2 * ((x + b) * (x + b) - a - c) % P
    e = 3 * a
    x3 = (e * e - 2 * d) % P
    return x3, (e * (d - x3) - 8 * c) % P, 2 * y * z % P


def _add(point: Jacobian, other: Affine) -> Jacobian:
    """`point` + `other` (the formulas "madd-2004-hmv", and the cases that these exclude)."""
    x1, y1, z1 = point
    x2, y2 = other
    if z1 == 0:
        return x2, y2, 1
    zz = z1 * z1 % P
    h = (x2 * zz - x1) % P
    t = (y2 * zz * z1 - y1) % P
    if h == 0:  # the same x: the same point, or its negative
        return _double(point) if t == 0 else _INFINITY
    hh = h * h % P
    hhh = h * hh % P
    v = x1 * hh % P
    x3 = (t * t - hhh - 2 * v) % P
    return x3, (t * (v - x3) - y1 * hhh) % P, z1 * h % P


def _to_affine(points: list[Jacobian]) -> list[Affine]:
    """The same points, none of them infinity: one inversion for all of them (Montgomery's trick)."""
    products = [1]
    for _, _, z in points:
        products.append(products[-1] * z % P)
    inverse = pow(products[-1], -1, P)
    affine = []
    for (x, y, z), before in zip(reversed(points), reversed(products[:-1]), strict=True):
        z_inverse = inverse * before % P
        inverse = inverse * z % P
        zz = z_inverse * z_inverse % P
        affine.append((x * zz % P, y * zz * z_inverse % P))
    return affine[::-1]


# --- Multiples of points: by the hexadecimal digits of the scalar ------------------------------------------------


def _sixteen_multiples(point: Affine) -> list[Affine]:
    """1 · `point` … 16 · `point`."""
    multiples: list[Jacobian] = [(*point, 1)]
    for _ in range(15):
        multiples.append(_add(multiples[-1], point))
    return _to_affine(multiples)


def _multiply(scalar: int, point: Affine) -> Jacobian:
    """`scalar` · `point` for 0 ≤ `scalar` < 2**256: for each digit, sixteen times the result so far plus the digit."""
    multiples = _sixteen_multiples(point)
    result = _INFINITY
    for digit in f"{scalar:x}":
        result = _double(_double(_double(_double(result))))
        if digit != "0":
            result = _add(result, multiples[int(digit, 16) - 1])
    return result


@cache
def _multiples_of_g() -> list[list[Affine]]:
    """Row i holds d · 16**i · G for d = 1 … 16.  Computed at the first recovery, in about 10 ms."""
    rows = [_sixteen_multiples(G)]
    for _ in range(63):
        rows.append(_sixteen_multiples(rows[-1][15]))
    return rows


def _add_multiple_of_g(point: Jacobian, scalar: int) -> Jacobian:
    """`point` + `scalar` · G: one addition a digit and no doubling, because the multiples of G are in a table."""
    for row, digit in zip(_multiples_of_g(), reversed(f"{scalar:x}"), strict=False):
        if digit != "0":
            point = _add(point, row[int(digit, 16) - 1])
    return point


# --- Recovery: SEC 1 §4.1.6 ---------------------------------------------------------------------------------------

REASONS = {
    "encoding": "a signature is 65 bytes in hex: 130 digits, with or without 0x",
    "v": "v must say which of two points is meant: 0 or 1, or 27 or 28",
    "r_range": "r must be 1 to n - 1",
    "s_range": "s must be 1 to n - 1",
    "high_s": "s must be in the lower half, at most n / 2",
    "no_point": "r must be the x coordinate of a point of the curve",
    "infinity": "the signature gives the point at infinity, which is no key",
}
"""Why a signature is refused (§3.3, §3.5): code → sentence."""


class InvalidSignature(ValueError):
    """No key can have made this signature; `code` is one of :data:`REASONS`."""

    def __init__(self, code: str) -> None:
        super().__init__(REASONS[code])
        self.code = code


class RecoverableSignature(NamedTuple):
    """r and s as numbers; v is 0 or 1: the parity of the y coordinate of R."""

    r: int
    s: int
    v: int


class Recovery:
    """A checked signature, ready to say which key made it over a given hash.

    What depends on the signature alone (r⁻¹ · s · R) is computed once.  Each hash then costs about a quarter of a
    whole recovery, and a refused request is tried with up to 34.  Raises :class:`InvalidSignature`.
    """

    def __init__(self, signature: RecoverableSignature) -> None:
        r, s, v = signature
        if not 0 < r < N:
            raise InvalidSignature("r_range")
        if not 0 < s < N:
            raise InvalidSignature("s_range")
        if s > N // 2:
            # (r, n - s) with the other v is valid over the same hash: only one of the two is accepted.
            raise InvalidSignature("high_s")
        if v not in (0, 1):
            raise InvalidSignature("v")
        # SEC 1 §4.1.6, step 1.1: x = r + j·n.  Ethereum omits j = 1 (v 2 and 3): one honest signature in 2**128.
        # Steps 1.2 and 1.3: the point R with that x.  v selects R or -R, instead of the trial of step 1.6.3.
        big_r = (r, _y_coordinate(r, v))
        # Step 1.4, n·R = infinity, holds for every point: the cofactor is 1.
        self._r_inverse = pow(r, -1, N)
        self._r_part = _multiply(s * self._r_inverse % N, big_r)

    def public_key(self, digest: bytes) -> bytes:
        """Q = r⁻¹(sR - eG) as 64 bytes, x ‖ y, for the hash `digest` (32 bytes).  Raises InvalidSignature."""
        e = int.from_bytes(digest, "big")  # step 1.5
        q = _add_multiple_of_g(self._r_part, -e * self._r_inverse % N)  # step 1.6.1
        if q[2] == 0:
            raise InvalidSignature("infinity")
        return _octets(q)


def recover(digest: bytes, signature: RecoverableSignature) -> bytes:
    """The public key (64 bytes, x ‖ y) that made `signature` over `digest` (32 bytes).  Raises InvalidSignature.

    >>> digest = bytes(31) + b"*"
    >>> recover(digest, sign_slowly(7, digest)) == public_key_slowly(7)
    True
    """
    return Recovery(signature).public_key(digest)


def _y_coordinate(x: int, parity: int) -> int:
    """The y with that parity and y² = x³ + 7; as p = 3 mod 4, a square root is a power (SEC 1 §2.3.4)."""
    square = (x * x * x + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if y * y % P != square:
        raise InvalidSignature("no_point")
    return y if y & 1 == parity else P - y


def _octets(point: Jacobian) -> bytes:
    [(x, y)] = _to_affine([point])
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


# --- Addresses and signatures as text ---------------------------------------------------------------------------

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}", re.ASCII)
_SIGNATURE = re.compile("(?:0x)?([0-9a-fA-F]{130})", re.ASCII)
# Yellow Paper, appendix F: 27 and 28.  Older libraries, and eth-keys, write the bare parity.
_PARITY = {0: 0, 1: 1, 27: 0, 28: 1}


def normal_address(text: str) -> str | None:
    """The address `text` in lower case (§2.2), or None if it is not ``0x`` and 40 hex digits.

    EIP-55 is not asked for: wallets write addresses in lower, upper and mixed case.

    >>> normal_address("0xABCDEF0000000000000000000000000000000000")
    '0xabcdef0000000000000000000000000000000000'
    """
    return text.lower() if _ADDRESS.fullmatch(text) else None


@lru_cache(maxsize=4096)  # the same owners return, and Keccak-256 by hand takes 0.06 ms
def address(public_key: bytes) -> str:
    """The address, in lower case, of a public key (64 bytes, x ‖ y): the last 20 bytes of its Keccak-256 (§2.2)."""
    return "0x" + keccak256(public_key)[12:].hex()


def checksummed(lower: str) -> str:
    """The address `lower` as EIP-55 writes it: a letter is a capital where the hash of the text has a digit ≥ 8.

    >>> checksummed("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")
    '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
    """
    digits = lower[2:]
    hashed = keccak256(digits.encode()).hex()
    return "0x" + "".join(c.upper() if h >= "8" else c for c, h in zip(digits, hashed, strict=False))


def personal_message_hash(message: bytes) -> bytes:
    """The hash that ``wallet.signMessage(message)`` signs (§3.5; EIP-191).  No transaction can have this hash."""
    return keccak256(b"\x19Ethereum Signed Message:\n%d" % len(message) + message)


def parse_signature(text: str) -> RecoverableSignature:
    """r ‖ s ‖ v from 130 hex digits, with or without ``0x``; v is 0, 1, 27 or 28 (§3.3).  Raises InvalidSignature.

    The ranges of r and s are checked by :class:`Recovery`, which uses them.
    """
    digits = _SIGNATURE.fullmatch(text)
    if digits is None:
        raise InvalidSignature("encoding")
    raw = bytes.fromhex(digits[1])
    if raw[64] not in _PARITY:
        raise InvalidSignature("v")
    return RecoverableSignature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big"), _PARITY[raw[64]])


def signature_text(signature: RecoverableSignature) -> str:
    """`signature` as wallets write it: ``0x`` and 130 hex digits, v 27 or 28."""
    return f"0x{signature.r:064x}{signature.s:064x}{27 + signature.v:02x}"


def recover_address(digest: bytes, signature: RecoverableSignature) -> str:
    """The address of the key that made `signature` over `digest` (32 bytes).  Raises InvalidSignature."""
    return address(Recovery(signature).public_key(digest))


# --- Signing by hand, for tests and vectors only --------------------------------------------------------------------


def public_key_slowly(secret: int) -> bytes:
    """The public key (64 bytes, x ‖ y) of `secret` (1 … n - 1).  Tests and vectors only: timing leaks the secret."""
    return _octets(_multiply(secret, G))


def sign_slowly(secret: int, digest: bytes) -> RecoverableSignature:
    """The deterministic signature of RFC 6979 §3.2 with SHA-256, s in the lower half.  Tests and vectors only.

    ethers and eth-keys sign the same way: their recorded requests, in ``vectors/nexus``, hold the same r and s.
    """
    e = int.from_bytes(digest, "big") % N
    # RFC 6979 §3.2, steps b to g: an HMAC generator seeded with the secret and the hash.
    v, k = b"\1" * 32, bytes(32)
    seed = secret.to_bytes(32, "big") + e.to_bytes(32, "big")
    for separator in (b"\0", b"\1"):
        k = hmac.digest(k, v + separator + seed, sha256)
        v = hmac.digest(k, v, sha256)
    while True:  # step h
        v = hmac.digest(k, v, sha256)
        nonce = int.from_bytes(v, "big")
        if 0 < nonce < N:
            [(x, y)] = _to_affine([_multiply(nonce, G)])
            r, s = x % N, pow(nonce, -1, N) * (e + x * secret) % N
            if x < N and s:
                return RecoverableSignature(r, s, y & 1) if s <= N // 2 else RecoverableSignature(r, N - s, y & 1 ^ 1)
        k = hmac.digest(k, v + b"\0", sha256)
        v = hmac.digest(k, v, sha256)
