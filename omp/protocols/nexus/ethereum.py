"""Ethereum's names and signatures: what a wallet writes as text, over secp256k1 and Keccak-256.

Implements the address of a public key (Ethereum Yellow Paper, appendix F: the last 20 bytes of Keccak-256 of the
key), its mixed-case checksum (EIP-55), personal messages (EIP-191, version byte 0x45) and the 65-byte signature
r ‖ s ‖ v (Yellow Paper, appendix F, with v as wallets write it).

Guarantees: one address has one normal form (``0x`` and 40 lower-case digits), and text that is not exactly an
address or a signature is refused.

Handled here: the shapes and ranges.  The caller must compare addresses (a recovery gives whoever signed), and
must not ask for EIP-55 of what people type: wallets write all three cases.
"""

from __future__ import annotations

import re
from functools import lru_cache

from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.secp256k1 import InvalidSignature, Recovery, Signature

_ADDRESS = re.compile("0x[0-9a-fA-F]{40}", re.ASCII)
_SIGNATURE = re.compile("(?:0x)?([0-9a-fA-F]{130})", re.ASCII)
# appendix F: 27 and 28; libraries that predate it, and eth-keys, write the bare parity.
_PARITY = {0: 0, 1: 1, 27: 0, 28: 1}


def normal_address(text: str) -> str | None:
    """The address `text` in lower case, None if it is not ``0x`` and 40 hex digits.

    >>> normal_address("0xABCDEF0000000000000000000000000000000000")
    '0xabcdef0000000000000000000000000000000000'
    """
    return text.lower() if _ADDRESS.fullmatch(text) else None


@lru_cache(maxsize=4096)
def address(public_key: bytes) -> str:
    """The address, in lower case, of a public key (64 bytes, x ‖ y).  Owners come again: the last ones are kept."""
    return "0x" + keccak256(public_key)[12:].hex()


def checksummed(lower: str) -> str:
    """The address `lower` as EIP-55 writes it: a digit is a capital where the hash of the text has a digit ≥ 8.

    >>> checksummed("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")
    '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed'
    """
    digits = lower[2:]
    hashed = keccak256(digits.encode()).hex()
    return "0x" + "".join(c.upper() if h >= "8" else c for c, h in zip(digits, hashed, strict=False))


def personal_message_hash(message: bytes) -> bytes:
    """The hash that ``wallet.signMessage(message)`` signs (EIP-191): it can never be that of a transaction."""
    return keccak256(b"\x19Ethereum Signed Message:\n%d" % len(message) + message)


def parse_signature(text: str) -> Signature:
    """r ‖ s ‖ v from 130 hex digits, with or without ``0x``; v is 0, 1, 27 or 28.  Raises InvalidSignature.

    r and s are checked where they are used, by :class:`~omp.protocols.nexus.secp256k1.Recovery`.
    """
    digits = _SIGNATURE.fullmatch(text)
    if digits is None:
        raise InvalidSignature("encoding")
    raw = bytes.fromhex(digits[1])
    if raw[64] not in _PARITY:
        raise InvalidSignature("v")
    return Signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:64], "big"), _PARITY[raw[64]])


def signature_text(signature: Signature) -> str:
    """`signature` as wallets write it: ``0x`` and 130 hex digits, v 27 or 28."""
    return f"0x{signature.r:064x}{signature.s:064x}{27 + signature.v:02x}"


def recover_address(digest: bytes, signature: Signature) -> str:
    """The address of the key that made `signature` over `digest` (32 bytes).  Raises InvalidSignature."""
    return address(Recovery(signature).public_key(digest))
