"""Identifiers of the operation log: oplog §1.2 and §1.4.

An identifier says what it names, how it was made, and the value itself, so that it can be checked without asking
anybody: a key by its 32 bytes, everything else by the SHA-256 of its bytes.

=============  =================================================
identity ID    ``omp:id:ed25519:`` + base64url of the public key
key ID         ``omp:key:ed25519:`` + base64url of the public key
operation ID   ``omp:op:sha256:`` + hex of SHA-256(preimage)
evidence ID    ``omp:ev:sha256:`` + hex of SHA-256(raw bytes)
state ID       ``omp:state:sha256:`` + hex of SHA-256(CJ(state document))
=============  =================================================

>>> identity_id(bytes(32))
'omp:id:ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'

The patterns accept exactly one text for each value: base64url has no padding and its unused bits are zero (so the
last of 43 characters, which carries 4 bits, is one of sixteen), hex is in lower case.  Use ``fullmatch``.  Whether
the 32 bytes are a point of the curve is not checked here; the verification of a signature does.
"""

from __future__ import annotations

import re
from hashlib import sha256

from omp.rules.encodings import EncodingError, b64u_decode, b64u_encode

IDENTITY_PREFIX = "omp:id:ed25519:"
KEY_PREFIX = "omp:key:ed25519:"
OPERATION_PREFIX = "omp:op:sha256:"
EVIDENCE_PREFIX = "omp:ev:sha256:"
STATE_PREFIX = "omp:state:sha256:"

_B64U_32_BYTES = "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"  # 42 · 6 + 4 bits; the last two bits of the text are zero
_B64U_64_BYTES = "[A-Za-z0-9_-]{85}[AQgw]"  # 85 · 6 + 2 bits; the last four are zero
_HEX_32_BYTES = "[0-9a-f]{64}"

IDENTITY_ID = re.compile(IDENTITY_PREFIX + _B64U_32_BYTES)
KEY_ID = re.compile(KEY_PREFIX + _B64U_32_BYTES)
OPERATION_ID = re.compile(OPERATION_PREFIX + _HEX_32_BYTES)
EVIDENCE_ID = re.compile(EVIDENCE_PREFIX + _HEX_32_BYTES)
STATE_ID = re.compile(STATE_PREFIX + _HEX_32_BYTES)
SIGNATURE = re.compile(_B64U_64_BYTES)
_PUBLIC_KEY = re.compile(f"(?:{IDENTITY_PREFIX}|{KEY_PREFIX})({_B64U_32_BYTES})")


def identity_id(public_key: bytes) -> str:
    """The identity that a 32-byte Ed25519 public key owns; the key is the root key of its log."""
    return IDENTITY_PREFIX + b64u_encode(_checked(public_key))


def key_id(public_key: bytes) -> str:
    """The key ID of a 32-byte Ed25519 public key."""
    return KEY_PREFIX + b64u_encode(_checked(public_key))


def operation_id(preimage: bytes) -> str:
    """The ID of the operation with this preimage (oplog §1.4: version, line feed, CJ(envelope without ``sig``))."""
    return OPERATION_PREFIX + sha256(preimage).hexdigest()


def evidence_id(data: bytes) -> str:
    """The ID of a piece of evidence with these raw bytes."""
    return EVIDENCE_PREFIX + sha256(data).hexdigest()


def state_id(document: bytes) -> str:
    """The ID of a state whose document (oplog §5) has these canonical bytes."""
    return STATE_PREFIX + sha256(document).hexdigest()


def public_key_of(identifier: str) -> bytes:
    """The 32-byte public key in an identity ID or key ID.

    Raises :class:`~omp.rules.encodings.EncodingError` for any other text.
    """
    match = _PUBLIC_KEY.fullmatch(identifier)
    if match is None:
        raise EncodingError("must be omp:id:ed25519: or omp:key:ed25519: and 43 characters of base64url")
    return b64u_decode(match[1])


def _checked(public_key: bytes) -> bytes:
    if len(public_key) != 32:
        raise EncodingError("an Ed25519 public key has 32 bytes")
    return public_key
