"""Key documents: the public keys of an identity as JSON, both forms (seed §5.5, §6.3).

Pure.  One key and nothing to say about it but when it was made: the single form, ``public_key``.  Several, or one that
expires or is deprecated: the form with ``keys``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from omp.protocols.mrs.instants import epoch_of
from omp.rules.encodings import EncodingError, b64_decode, b64u_decode

KEY_BYTES = 32
MAX_KEYS = 16
"""More keys of one identity are not tried: each can cost a verification."""


class PublishedKey(TypedDict):
    """A key as it is kept: `expires` an ISO time or None."""

    key_id: str
    key: str
    created: str
    expires: str | None
    deprecated: bool


def key_bytes(text: str) -> bytes | None:
    """The 32 bytes of a public key in base64 or base64url, or None."""
    for decode in (b64_decode, b64u_decode):
        try:
            raw = decode(text)
        except EncodingError:
            continue
        if len(raw) == KEY_BYTES:
            return raw
    return None


def key_document(identity: str, keys: Sequence[PublishedKey]) -> dict[str, Any]:
    """The document of seed §5.5 for at least one key, in the order given."""
    if len(keys) == 1 and not keys[0]["expires"] and not keys[0]["deprecated"]:
        only = keys[0]
        return {
            "id": identity,
            "public_key": {"type": "Ed25519", "key": only["key"]},
            "created": only["created"],
        }
    return {"id": identity, "keys": [described(key) for key in keys]}


def described(key: PublishedKey) -> dict[str, Any]:
    """A key as the form with several shows it."""
    shown: dict[str, Any] = {"key_id": key["key_id"], "type": "Ed25519", "key": key["key"], "created": key["created"]}
    if key["expires"]:
        shown["expires"] = key["expires"]
    if key["deprecated"]:
        shown["deprecated"] = True
    return shown


def usable_keys(document: Any, identity: str, now: float) -> list[bytes]:
    """The public keys in a document of `identity` that may verify a signature at `now` (epoch seconds).

    Empty where the document is of another identity, or holds none: deprecated and expired ones do not count (seed
    §6.3), nor does what is no Ed25519 key.
    """
    if not isinstance(document, dict) or document.get("id") != identity:
        return []
    several = document.get("keys")
    entries = several if isinstance(several, list) else [document.get("public_key")]
    found = []
    for entry in entries:
        if isinstance(entry, dict) and entry.get("type", "Ed25519") == "Ed25519" and _in_use(entry, now):
            text = entry.get("key")
            raw = key_bytes(text) if isinstance(text, str) else None
            if raw is not None:
                found.append(raw)
    return found[:MAX_KEYS]


def _in_use(entry: dict[str, Any], now: float) -> bool:
    if entry.get("deprecated"):
        return False
    expires = entry.get("expires")
    if expires is None:
        return True
    until = epoch_of(expires) if isinstance(expires, str) else None
    return until is not None and now < until
