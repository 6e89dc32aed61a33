"""Ed25519 signatures by hand: RFC 8032 §5.1, in its letters, with strict rules of acceptance.

The curve is −x² + y² = 1 + d·x²·y² over the integers modulo p = 2^255 − 19; B is its base point, of prime order L;
the group has 8·L points.  A is the public key (a point), R and S are the halves of the signature, k is the hash of R,
A and the message.  :func:`verify` accepts iff (omp §5)

1. S < L (otherwise S + L would pass as well: a second signature for the same message);
2. A and R are canonical encodings of curve points (y < p, and no sign bit where x = 0);
3. neither A nor R is one of the eight points of small order (such a key "signs" everything);
4. [S]B = R + [k]A, without the cofactor 8 that RFC 8032 lets a verifier multiply by.

RFC 8032 says nothing of 3 and leaves 4 to the verifier.  Where implementations differ, an operation would be valid on
one node and invalid on another, so omp §5 fixes both.  :func:`malformed` states 1 to 3 as far as they concern
encodings; every engine asks it first.

>>> seed = bytes(32)
>>> key, signature = public_key_slowly(seed), sign_slowly(seed, b"message")
>>> verify(key, b"message", signature), verify(key, b"another", signature)
(True, False)

Laid out: field and points (§5.1.1 to §5.1.4), scalar multiplication, verification (§5.1.7), then signing (§5.1.6).

**Variable time.**  The time that Python takes here depends on the numbers.  In verification nothing leaks: key, message
and signature are all public.  Signing by hand would leak the key to whoever can measure the time, so it serves tests
and vectors only, and is called :func:`sign_slowly`.  To sign in earnest see :mod:`omp.rules.engines`.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha512

p = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
d = -121665 * pow(121666, -1, p) % p
SQRT_MINUS_ONE = pow(2, (p - 1) // 4, p)

Point = tuple[int, int, int, int]
"""Extended coordinates (X, Y, Z, T), RFC 8032 §5.1.4: x = X/Z, y = Y/Z, x·y = T/Z."""

NEUTRAL: Point = (0, 1, 1, 0)

SMALL_ORDER = frozenset(
    bytes.fromhex(encoding)
    for encoding in (
        "0100000000000000000000000000000000000000000000000000000000000000",  # order 1: (0, 1)
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2: (0, −1)
        "0000000000000000000000000000000000000000000000000000000000000000",  # order 4: (±√−1, 0)
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
)
"""The canonical encodings of the eight points whose order divides the cofactor."""


# --- Points -----------------------------------------------------------------------------------------------------


def add(P: Point, Q: Point) -> Point:
    """P + Q: RFC 8032 §5.1.4.  Complete: it holds for any two points, equal and neutral ones too."""
    X1, Y1, Z1, T1 = P
    X2, Y2, Z2, T2 = Q
    A = (Y1 - X1) * (Y2 - X2) % p
    B = (Y1 + X1) * (Y2 + X2) % p
    C = 2 * T1 * d * T2 % p
    D = 2 * Z1 * Z2 % p
    E, F, G, H = B - A, D - C, D + C, B + A
    return E * F % p, G * H % p, F * G % p, E * H % p


def double(P: Point) -> Point:
    """P + P: RFC 8032 §5.1.4, the formulas for doubling."""
    X1, Y1, Z1, _ = P
    A = X1 * X1 % p
    B = Y1 * Y1 % p
    C = 2 * Z1 * Z1
    H = A + B
    E = H - (X1 + Y1) ** 2
    G = A - B
    F = C + G
    return E * F % p, G * H % p, F * G % p, E * H % p


def negative(P: Point) -> Point:
    """−P, that is (−x, y)."""
    X, Y, Z, T = P
    return -X, Y, Z, -T


def encode_point(P: Point) -> bytes:
    """The 32 bytes of P: y, little-endian, with the low bit of x as the highest bit (RFC 8032 §5.1.2)."""
    X, Y, Z, _ = P
    inverse = pow(Z, -1, p)
    x, y = X * inverse % p, Y * inverse % p
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode_point(encoding: bytes) -> Point | None:
    """The point with these 32 bytes, or None where they are not the canonical encoding of one (RFC 8032 §5.1.3)."""
    y = int.from_bytes(encoding, "little")
    x_0 = y >> 255  # step 1
    y &= (1 << 255) - 1
    if y >= p:
        return None
    u, v = (y * y - 1) % p, (d * y * y + 1) % p  # step 2: x² = u / v; v is never 0
    # Step 3: the candidate for √(u/v) is (u/v)^((p+3)/8), with one power only.
    v3 = v * v * v
    x = u * v3 * pow(u * v3 * v3 * v, (p - 5) // 8, p) % p
    vxx = v * x * x % p
    if vxx == -u % p:
        x = x * SQRT_MINUS_ONE % p
    elif vxx != u:
        return None  # u / v is no square: no point has this y
    if x == 0 and x_0:
        return None  # step 4: −0
    if x & 1 != x_0:
        x = p - x
    return x, y, 1, x * y % p


_B_Y = 4 * pow(5, -1, p) % p
_B = decode_point(_B_Y.to_bytes(32, "little"))
assert _B is not None
B: Point = _B
"""The base point: y = 4/5, x even (RFC 8032 §5.1)."""


# --- Scalar multiplication --------------------------------------------------------------------------------------


def _naf(scalar: int, width: int) -> list[int]:
    """The digits of `scalar`, lowest first, in non-adjacent form: zeros, and odd digits below 2^(width−1) in size.

    Among any `width` digits in a row at most one is not zero, so a scalar of 253 bits costs some 253/(width+1)
    additions.
    """
    digits = []
    while scalar:
        digit = 0
        if scalar & 1:
            digit = scalar & (1 << width) - 1
            if digit >> (width - 1):
                digit -= 1 << width
            scalar -= digit
        digits.append(digit)
        scalar >>= 1
    return digits


def _odd_multiples(P: Point, width: int) -> dict[int, Point]:
    """digit -> [digit]P for every digit of :func:`_naf` with this width, negative ones too."""
    multiples = {1: P}
    P2 = double(P)
    for digit in range(3, 1 << (width - 1), 2):
        multiples[digit] = add(multiples[digit - 2], P2)
    return multiples | {-digit: negative(Q) for digit, Q in multiples.items()}


_BASE_WIDTH = 8
_KEY_WIDTH = 5


@cache
def _base_multiples() -> dict[int, Point]:
    """The odd multiples of B up to [127]B, computed when the first signature is verified (half a millisecond)."""
    return _odd_multiples(B, _BASE_WIDTH)


def _double_multiple(S: int, k: int, A: Point) -> Point:
    """[S]B + [k]A by Straus's method: both scalars share one chain of doublings."""
    base_digits, key_digits = _naf(S, _BASE_WIDTH), _naf(k, _KEY_WIDTH)
    base, key = _base_multiples(), _odd_multiples(A, _KEY_WIDTH)
    length = max(len(base_digits), len(key_digits))
    base_digits += [0] * (length - len(base_digits))
    key_digits += [0] * (length - len(key_digits))
    P = NEUTRAL
    for base_digit, key_digit in zip(reversed(base_digits), reversed(key_digits), strict=True):
        P = double(P)
        if base_digit:
            P = add(P, base[base_digit])
        if key_digit:
            P = add(P, key[key_digit])
    return P


# --- Verification -----------------------------------------------------------------------------------------------


def malformed(public_key: bytes, signature: bytes) -> bool:
    """Whether omp §5 refuses this pair whatever the message; no curve arithmetic is needed to tell.

    What remains for an engine to check: that A is a point at all, and that R is the encoding of [S]B − [k]A, which
    makes R the canonical encoding of a point.
    """
    if len(public_key) != 32 or len(signature) != 64:
        return True
    if int.from_bytes(signature[32:], "little") >= L:
        return True
    # The two ways to write a point that has a canonical encoding already: y + p for y, and −0 for x = 0, where y = ±1.
    y = int.from_bytes(public_key, "little") & (1 << 255) - 1
    if y >= p or y == 1 or y == p - 1:
        return True
    return public_key in SMALL_ORDER or signature[:32] in SMALL_ORDER


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes, R || S) of `message` is by `public_key` (32 bytes), under omp §5.

    Never raises, whatever the bytes and their lengths.
    """
    if malformed(public_key, signature):
        return False
    A = decode_point(public_key)
    if A is None:
        return False
    R, S = signature[:32], int.from_bytes(signature[32:], "little")
    # RFC 8032 §5.1.7 step 2.  Reduced modulo L, as every implementation does: for a key with a component of small
    # order, [k]A and [k mod L]A differ, and so would the verdict.
    k = int.from_bytes(sha512(R + public_key + message).digest(), "little") % L
    # Step 3, [S]B = R + [k]A, solved for R.  Comparing bytes, not points, refuses every other encoding of R.
    return encode_point(_double_multiple(S, k, negative(A))) == R


# --- Signing, for tests and vectors -----------------------------------------------------------------------------


def _expanded(seed: bytes) -> tuple[int, bytes]:
    """The secret scalar s and the prefix of a 32-byte seed: RFC 8032 §5.1.5 steps 1 and 2, §5.1.6 step 1."""
    if len(seed) != 32:
        raise ValueError("an Ed25519 seed has 32 bytes")
    h = sha512(seed).digest()
    s = int.from_bytes(h[:32], "little")
    s = s & ((1 << 254) - 8) | 1 << 254
    return s, h[32:]


def public_key_slowly(seed: bytes) -> bytes:
    """The public key A (32 bytes) of a seed: RFC 8032 §5.1.5.  In variable time: for tests and vectors only."""
    s, _ = _expanded(seed)
    return encode_point(_double_multiple(s, 0, B))


def sign_slowly(seed: bytes, message: bytes) -> bytes:
    """The signature R || S (64 bytes) of a message: RFC 8032 §5.1.6.  In variable time: for tests and vectors only."""
    s, prefix = _expanded(seed)
    A = public_key_slowly(seed)
    r = int.from_bytes(sha512(prefix + message).digest(), "little") % L
    R = encode_point(_double_multiple(r, 0, B))
    k = int.from_bytes(sha512(R + A + message).digest(), "little") % L
    S = (r + k * s) % L
    return R + S.to_bytes(32, "little")
