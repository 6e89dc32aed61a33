"""omp.wrap: a member signs the wraps that it makes; and the fingerprints by which members compare (§13.1 to §13.3).

A server hands out every wrapped data key, and anybody can wrap a key for anybody: a member cannot tell the data key
that a friend wrapped for it from one that the server invented.  So each entry of a roster carries, in the member
``omp.wrap``, who wrapped it, and that member's signature over the repository, the key epoch, the two public keys of the
entry and the wrapped key.  Servers, and clients that do not know it, carry it along unread (§2.6).

Only this file knows the bytes.  Each message is a list of byte strings, each behind its length, the first of them a
label with a version: no two lists have one encoding, and no message of one kind is a message of another.

Handled here: bytes, signatures, hashes.  The caller must decide *whose* signature it believes: that is
:mod:`.witness`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from omp.protocols.avp.schemas import VaultError
from omp.rules.encodings import EncodingError, b64_decode
from omp.rules.engines import best_engine

WRAP = "omp.wrap"
"""The member of an entry that holds `by` and `sig`."""
WRAP_LABEL, DATA_KEY_LABEL, ENVELOPE_LABEL = "omp.wrap/v1", "omp.data-key/v1", "omp.envelope/v1"
ROSTER_LABEL, STATE_LABEL = "omp.roster/v1", "omp.state/v1"

_LENGTH = struct.Struct(">I")
_COUNTER = struct.Struct(">q")
_SPOKEN = 12  # bytes of a state's fingerprint that are shown: 24 hex digits


class WrapNotSigned(VaultError):
    """An entry has an ``omp.wrap`` that is not its wrapper's signature over this entry in this place."""


def framed(*fields: str | bytes | int) -> bytes:
    """§13.1: every field behind its length; texts are UTF-8, integers 8 bytes in two's complement.

    >>> framed("ab", 1).hex()
    '000000026162000000080000000000000001'
    """
    return b"".join(_LENGTH.pack(len(raw)) + raw for raw in map(_bytes_of, fields))


def _bytes_of(field: str | bytes | int) -> bytes:
    if isinstance(field, int):
        return _COUNTER.pack(field)
    return field.encode() if isinstance(field, str) else field


def wrap_message(repo_id: str, key_epoch: int, entry: Mapping[str, Any], label: str = WRAP_LABEL) -> bytes:
    """§13.1: what the wrapper of `entry`, a MemberEntry of the repository in this epoch, signs."""
    wrapped = entry["wrappedDataKey"]
    keys = entry["ed25519PublicKey"], entry["x25519PublicKey"]
    parts = (wrapped[name] for name in ("schemeId", "ephemeralPublicKey", "iv", "ciphertext"))
    return framed(label, repo_id, key_epoch, *keys, *parts)


def signed(entry: Mapping[str, Any], repo_id: str, by: str, sign: Callable[[bytes], str]) -> dict[str, Any]:
    """`entry` with the ``omp.wrap`` of the member `by`; `sign` makes its Ed25519 signature, in base64."""
    return {**entry, WRAP: {"by": by, "sig": sign(wrap_message(repo_id, entry["keyEpoch"], entry))}}


def wrapper_of(repo_id: str, key_epoch: int, entry: Mapping[str, Any]) -> str | None:
    """The id of the member that signed the wrap in `entry`; None if nobody did.

    Raises :class:`WrapNotSigned` if there is an ``omp.wrap`` that does not verify.
    """
    if entry.get(WRAP) is None:
        return None
    by = _verified(wrap_message(repo_id, key_epoch, entry), entry[WRAP])
    if by is None:
        raise WrapNotSigned(
            f"The omp.wrap of {entry['ed25519PublicKey']} is no signature over this wrap, in this repository and epoch."
        )
    return by


def _verified(message: bytes, claim: Any) -> str | None:
    """The signer, if `claim` is {`by`, `sig`} and the signature verifies."""
    match claim:
        case {"by": str(by), "sig": str(signature)}:
            try:
                return by if best_engine().verify(b64_decode(by), message, b64_decode(signature)) else None
            except EncodingError:
                return None
    return None


# --- Fingerprints: 32 bytes in hex, none of them secret (§13.2) ------------------------------------------------------


def data_key_fingerprint(repo_id: str, key_epoch: int, data_key: bytes) -> str:
    """Names a data key without giving it away: it is 32 random bytes, which nobody guesses."""
    return _hash(DATA_KEY_LABEL, repo_id, key_epoch, data_key)


def envelope_fingerprint(envelope: Mapping[str, Any]) -> str:
    """Names the sealed payload of a version."""
    return _hash(ENVELOPE_LABEL, envelope["iv"], envelope["ciphertext"])


def roster_fingerprints(repo_id: str, entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The fingerprints of the first entry, of the first two, and so on; the last one is that of the roster.

    New members go to the end (§4.7), so whoever knows the fingerprint of an earlier roster recognises it in a longer
    one.
    """
    digest = hashlib.sha256(framed(ROSTER_LABEL, repo_id))
    for entry in entries:
        digest.update(framed(entry["ed25519PublicKey"], entry["x25519PublicKey"]))
        yield digest.hexdigest()


def state_fingerprint(
    repo_id: str, version: int, key_epoch: int, data_key: str, envelope: str, members: Mapping[str, str]
) -> str:
    """What two members compare by voice: 24 hex digits in groups of four.

    `data_key` and `envelope` are fingerprints; `members` maps ids to X25519 keys, and their order does not matter.
    """
    roster = (text for pair in sorted(members.items(), key=lambda pair: pair[0].encode()) for text in pair)
    hashes = bytes.fromhex(data_key), bytes.fromhex(envelope)
    digits = _hash(STATE_LABEL, repo_id, version, key_epoch, *hashes, *roster)[: 2 * _SPOKEN]
    return "-".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _hash(*fields: str | bytes | int) -> str:
    return hashlib.sha256(framed(*fields)).hexdigest()
