"""What a member does with keys: AAD, payload encryption, key wrap, key binding (avp.md, "Client side").

Pure but for `cryptography`, which is imported when a function needs it and asked for by name when it is missing.
Nothing here runs in the server.

The construction, bottom up:

* A repository has a random 32-byte data key.  The payload is AES-256-GCM under it, with a fresh 12-byte IV and the
  AAD ``UTF8(repoId) || 0x1F || int64BE(payloadVersion) || int64BE(keyEpoch)``: an envelope of another
  repository, version or epoch does not open, so a server cannot pass an old one off as the current one by editing
  its counters.
* The data key is wrapped for each member, scheme ``X25519-HKDF-SHA256-AESGCM-v1``: an ephemeral X25519 key, KEK =
  HKDF-SHA256(ikm = shared secret, salt = raw ephemeral public key, info = label), AES-256-GCM with the label as AAD.
* The key binding is the member's Ed25519 signature over both its public keys, so that nobody can put another X25519
  key beside a member's id and have the data key wrapped to it.

IVs and ephemeral keys are arguments: a caller takes them from ``os.urandom``, a vector fixes them.  The caller
must never use an IV twice with one key.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from typing import Any

from omp.rules.encodings import EncodingError, b64_decode, b64_encode
from omp.rules.engines import CryptographyMissing

SCHEME = "X25519-HKDF-SHA256-AESGCM-v1"
LABEL = b"avp/rdk-wrap/v1"
KEY_BYTES = 32
IV_BYTES = 12
_COUNTERS = struct.Struct(">qq")


class CannotOpen(Exception):
    """A ciphertext, wrap, binding or counter that does not fit its keys and its context; the text says which."""


def aad(repo_id: str, payload_version: int, key_epoch: int) -> bytes:
    """What an envelope's ciphertext is bound to; :class:`CannotOpen` where a counter is beyond an int64.

    >>> aad("r", 1, 0).hex()
    '721f00000000000000010000000000000000'
    """
    try:
        return repo_id.encode() + b"\x1f" + _COUNTERS.pack(payload_version, key_epoch)
    except struct.error:  # a member can push the last version there is, and nobody can write after that
        raise CannotOpen("The payloadVersion and the keyEpoch of an envelope must each fit into 64 bits.") from None


def seal(
    data_key: bytes, iv: bytes, repo_id: str, payload_version: int, key_epoch: int, plaintext: bytes
) -> dict[str, Any]:
    """The EncryptedEnvelope that holds `plaintext`."""
    ciphertext = _aes_gcm(data_key).encrypt(iv, plaintext, aad(repo_id, payload_version, key_epoch))
    return {
        "repoId": repo_id,
        "payloadVersion": payload_version,
        "keyEpoch": key_epoch,
        "iv": b64_encode(iv),
        "ciphertext": b64_encode(ciphertext),
    }


def open_envelope(data_key: bytes, envelope: Mapping[str, Any]) -> bytes:
    """The plaintext in `envelope`; :class:`CannotOpen` where key, repository, version or epoch are not its own."""
    bound_to = aad(envelope["repoId"], int(envelope["payloadVersion"]), int(envelope["keyEpoch"]))
    return _decrypted(data_key, envelope, bound_to, "The envelope")


def wrap(data_key: bytes, recipient: bytes, ephemeral_private: bytes, iv: bytes) -> dict[str, str]:
    """The WrappedKey that only the owner of the X25519 public key `recipient` can open."""
    ephemeral = x25519_public(ephemeral_private)
    kek = key_encryption_key(x25519(ephemeral_private, recipient), ephemeral)
    return {
        "schemeId": SCHEME,
        "ephemeralPublicKey": b64_encode(ephemeral),
        "iv": b64_encode(iv),
        "ciphertext": b64_encode(_aes_gcm(kek).encrypt(iv, data_key, LABEL)),
    }


def unwrap(wrapped: Mapping[str, str], private: bytes) -> bytes:
    """The data key in `wrapped`, for the owner of the X25519 key `private`; :class:`CannotOpen` otherwise."""
    if wrapped["schemeId"] != SCHEME:
        raise CannotOpen(f"The data key is wrapped by {wrapped['schemeId']!r}, and this client knows {SCHEME}.")
    ephemeral = _bytes_of(wrapped["ephemeralPublicKey"], "The ephemeral key")
    kek = key_encryption_key(x25519(private, ephemeral), ephemeral)
    data_key = _decrypted(kek, wrapped, LABEL, "The wrapped data key")
    if len(data_key) != KEY_BYTES:  # AES would take 16 bytes too, and the payload would be the worse for it
        raise CannotOpen(f"The data key has {len(data_key)} bytes, and must have {KEY_BYTES}.")
    return data_key


def key_encryption_key(shared_secret: bytes, ephemeral_public: bytes) -> bytes:
    """The 32-byte KEK of the wrap scheme."""
    return hkdf_sha256(shared_secret, ephemeral_public, LABEL, KEY_BYTES)


def hkdf_sha256(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF, RFC 5869 §2, with SHA-256: at most 255 * 32 bytes.

    An empty salt is 32 zero bytes (§2.2), which HMAC's own padding makes of it.
    """
    prk = hmac.digest(salt, ikm, "sha256")
    okm = block = b""
    counter = 1
    while len(okm) < length:
        block = hmac.digest(prk, block + info + bytes([counter]), "sha256")
        okm += block
        counter += 1
    return okm[:length]


def binding_message(ed25519_public_key: str, x25519_public_key: str) -> bytes:
    """What a member signs to bind its keys together; both in base64, as they stand in its entry."""
    return f"{ed25519_public_key}|{x25519_public_key}".encode()


# --- cryptography, asked for when it is needed ----------------------------------------------------------------


def x25519(private: bytes, public: bytes) -> bytes:
    """The shared secret, raw (RFC 7748 §5); :class:`CannotOpen` where `public` is no key or of small order."""
    keys = _import("hazmat.primitives.asymmetric.x25519")
    try:
        other = keys.X25519PublicKey.from_public_bytes(public)
        return bytes(keys.X25519PrivateKey.from_private_bytes(private).exchange(other))
    except ValueError:
        raise CannotOpen("The X25519 public key is not usable.") from None


def x25519_public(private: bytes) -> bytes:
    """The public key, 32 bytes, of an X25519 private key."""
    keys, form = _import("hazmat.primitives.asymmetric.x25519"), _import("hazmat.primitives.serialization")
    public = keys.X25519PrivateKey.from_private_bytes(private).public_key()
    return bytes(public.public_bytes(form.Encoding.Raw, form.PublicFormat.Raw))


def _aes_gcm(key: bytes) -> Any:
    return _import("hazmat.primitives.ciphers.aead").AESGCM(key)


def _decrypted(key: bytes, sealed: Mapping[str, Any], bound_to: bytes, what: str) -> bytes:
    exceptions = _import("exceptions")
    iv, ciphertext = _bytes_of(sealed["iv"], what), _bytes_of(sealed["ciphertext"], what)
    if len(iv) != IV_BYTES:
        raise CannotOpen(f"{what} has an IV of {len(iv)} bytes, and must have {IV_BYTES}.")
    try:
        return bytes(_aes_gcm(key).decrypt(iv, ciphertext, bound_to))
    except (exceptions.InvalidTag, ValueError):
        raise CannotOpen(f"{what} does not open with this key in this place.") from None


def _bytes_of(text: str, what: str) -> bytes:
    try:
        return b64_decode(text)
    except EncodingError as error:
        raise CannotOpen(f"{what} {error}.") from None


def _import(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"cryptography.{module}")
    except ImportError:
        raise CryptographyMissing(
            "The client's side of the vault needs the package cryptography; install it with: pip install cryptography"
        ) from None
