"""Vectors of Keccak-256: lengths around the ends of its 136-byte blocks, and well-known digests."""

from __future__ import annotations

from typing import Any

from omp.protocols.nexus.keccak import keccak256

_TEXTS = {
    "the empty string": "",
    "abc": "abc",
    "a pangram": "The quick brown fox jumps over the lazy dog",
    "the signature of ERC-20's event": "Transfer(address,address,uint256)",
}
_LENGTHS = (1, 7, 8, 9, 134, 135, 136, 137, 271, 272, 273, 1000)


def generate() -> dict[str, Any]:
    """The files of this set."""
    messages = {name: text.encode() for name, text in _TEXTS.items()}
    messages |= {f"{length} bytes": bytes(i * 7 % 251 for i in range(length)) for length in _LENGTHS}
    cases = [{"name": name, "message": m.hex(), "digest": keccak256(m).hex()} for name, m in messages.items()]
    return {
        "keccak/keccak256.json": {
            "kind": "keccak/keccak256",
            "description": "Keccak-256 with the original padding (0x01), as Ethereum uses it; it is not SHA3-256.",
            "spec": "nexus §1.3; the Keccak reference, version 3.0; FIPS 202 for the permutation",
            "cases": cases,
        }
    }
