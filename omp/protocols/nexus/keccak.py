"""Keccak-256 as Ethereum uses it: Keccak[c = 512] with the padding of the original submission.

It is not SHA3-256.  FIPS 202 appends the bits 01 to a message before it pads, so that SHA3 differs from SHAKE.  The
Keccak submission does not, and Ethereum adopted it before FIPS 202 was published.  One byte of the padding differs
(0x01 here, 0x06 there) and with it every digest, which is why hashlib's ``sha3_256`` cannot be used instead.

The code follows FIPS 202: the state is 5 × 5 lanes of 64 bits, lane (x, y) at index x + 5·y (FIPS 202 §3.1.2); a round
is θ, ρ, π, χ, ι (FIPS 202 §3.2); Keccak-f[1600] is 24 rounds (FIPS 202 §3.4); the sponge absorbs 136 bytes a block
(FIPS 202 §4).
"""

from __future__ import annotations

_MASK = (1 << 64) - 1
_RATE = 136
"""Bytes absorbed a block: (1600 − 512) / 8."""


def _round_constants() -> tuple[int, ...]:
    """RC of ι (FIPS 202 §3.2.5): bit 2^j − 1 of RC[i] is rc(j + 7·i), the output of a linear feedback register."""
    constants = []
    register = 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << ((1 << j) - 1)
            # R = R / 2, modulo x^8 + x^6 + x^5 + x^4 + 1, bits of the register in reverse.
            register = (register << 1) ^ (0x171 * (register >> 7))
        constants.append(constant)
    return tuple(constants)


def _lane_moves() -> tuple[tuple[int, int], ...]:
    """For each target lane of ρ and π (FIPS 202 §3.2.2, §3.2.3): the lane it is taken from, and its rotation."""
    offsets = {(0, 0): 0}
    x, y = 1, 0
    for t in range(24):
        offsets[x, y] = (t + 1) * (t + 2) // 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    sources = [((x + 3 * y) % 5, x) for y in range(5) for x in range(5)]
    return tuple((x + 5 * y, offsets[x, y]) for x, y in sources)


_RC = _round_constants()
_MOVES = _lane_moves()


def _permute(a: list[int]) -> list[int]:
    """Keccak-f[1600] of the 25 lanes `a`."""
    mask = _MASK
    for constant in _RC:
        # θ: each lane takes the parities of two columns.
        c0 = a[0] ^ a[5] ^ a[10] ^ a[15] ^ a[20]
        c1 = a[1] ^ a[6] ^ a[11] ^ a[16] ^ a[21]
        c2 = a[2] ^ a[7] ^ a[12] ^ a[17] ^ a[22]
        c3 = a[3] ^ a[8] ^ a[13] ^ a[18] ^ a[23]
        c4 = a[4] ^ a[9] ^ a[14] ^ a[19] ^ a[24]
        d = (
            c4 ^ (c1 << 1 & mask | c1 >> 63),
            c0 ^ (c2 << 1 & mask | c2 >> 63),
            c1 ^ (c3 << 1 & mask | c3 >> 63),
            c2 ^ (c4 << 1 & mask | c4 >> 63),
            c3 ^ (c0 << 1 & mask | c0 >> 63),
        ) * 5
        a = [lane ^ parity for lane, parity in zip(a, d, strict=True)]
        # ρ and π: rotate each lane and put it in its new place.
        b = [(a[source] << turn | a[source] >> 64 - turn) & mask for source, turn in _MOVES]
        # χ: the only step that is not linear; ~u & v written as (u ^ mask) & v to stay within 64 bits.
        a = []
        for y in (0, 5, 10, 15, 20):
            b0, b1, b2, b3, b4 = b[y : y + 5]
            a += (
                b0 ^ (b1 ^ mask) & b2,
                b1 ^ (b2 ^ mask) & b3,
                b2 ^ (b3 ^ mask) & b4,
                b3 ^ (b4 ^ mask) & b0,
                b4 ^ (b0 ^ mask) & b1,
            )
        a[0] ^= constant  # ι
    return a


def keccak256(data: bytes) -> bytes:
    """The 32-byte Keccak-256 digest of `data`.

    >>> keccak256(b"").hex()
    'c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470'
    """
    return sponge(data, 0x01)


def sponge(data: bytes, first_padding_byte: int) -> bytes:
    """Absorb `data`, padded, and squeeze 32 bytes (FIPS 202 §4).

    The first byte of the padding is 0x01 for Keccak-256; with 0x06 the result is SHA3-256 (FIPS 202 §6.1), which lets
    a test compare the permutation with the standard library's.
    """
    # Padding pad10*1 (FIPS 202 §5.1): a one bit, zeros, a one bit, low bits first; both ones may share a byte.
    padded = bytearray(data)
    padded += bytes(_RATE - len(data) % _RATE)
    padded[len(data)] ^= first_padding_byte
    padded[-1] ^= 0x80
    state = [0] * 25
    for start in range(0, len(padded), _RATE):
        for i in range(_RATE // 8):
            at = start + 8 * i
            state[i] ^= int.from_bytes(padded[at : at + 8], "little")
        state = _permute(state)
    return b"".join(lane.to_bytes(8, "little") for lane in state[:4])
