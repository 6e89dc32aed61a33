"""What a member computes with keys: AAD, payload encryption, key wrap, key binding (§8).

Pure, except that the package `cryptography` is imported when a function needs it, and asked for by name when it is
missing.  Nothing here runs in the server.

The construction, bottom up:

* A repository has a random data key of 32 bytes.  The payload is encrypted under it with AES-256-GCM, a fresh IV of 12
  bytes and the AAD ``UTF8(repoId) || 0x1F || int64BE(payloadVersion) || int64BE(keyEpoch)``: an envelope of another
  repository, version or epoch does not open, so a server cannot pass an old one off as the current one by editing
  its counters.
* The data key is wrapped for each member, scheme ``X25519-HKDF-SHA256-AESGCM-v1``: an ephemeral X25519 key, KEK =
  HKDF-SHA256(ikm = shared secret, salt = raw ephemeral public key, info = label), AES-256-GCM with the label as AAD.
* The key binding is the member's Ed25519 signature over both its public keys, so that nobody can put another X25519
  key beside a member's id and have the data key wrapped to it.

IVs and ephemeral keys are arguments: a caller takes them from ``os.urandom``, a vector fixes them.  The caller
must never use an IV twice with one key: the two plaintexts, and the key that authenticates, would be lost.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from typing import Any

from omp.protocols.avp.schemas import VaultError
from omp.rules.encodings import EncodingError, b64_decode, b64_encode
from omp.rules.engines import CryptographyMissing

SCHEME = "X25519-HKDF-SHA256-AESGCM-v1"
LABEL = b"avp/rdk-wrap/v1"
KEY_BYTES = 32
IV_BYTES = 12
_COUNTERS = struct.Struct(">qq")


class CannotOpen(VaultError):
    """A ciphertext, wrap, binding or counter does not fit its keys and its context; the text says which."""


def aad(repo_id: str, payload_version: int, key_epoch: int) -> bytes:
    """The bytes that an envelope's ciphertext is bound to (§8.2); :class:`CannotOpen` if a counter is beyond an int64.

    >>> aad("r", 1, 0).hex()
    '721f00000000000000010000000000000000'
    """
    try:
        return repo_id.encode() + b"\x1f" + _COUNTERS.pack(payload_version, key_epoch)
    except struct.error:  # a member may push version 2**63-1, and then nobody can write the next one
        raise CannotOpen("The payloadVersion and the keyEpoch of an envelope must each fit into 64 bits.") from None


def seal(
    data_key: bytes, iv: bytes, repo_id: str, payload_version: int, key_epoch: int, plaintext: bytes
) -> dict[str, Any]:
    """The EncryptedEnvelope that holds `plaintext` (§8.3); `data_key` has 32 bytes, `iv` 12."""
    ciphertext = aes_gcm(data_key).encrypt(iv, plaintext, aad(repo_id, payload_version, key_epoch))
    return {
        "repoId": repo_id,
        "payloadVersion": payload_version,
        "keyEpoch": key_epoch,
        "iv": b64_encode(iv),
        "ciphertext": b64_encode(ciphertext),
    }


def open_envelope(data_key: bytes, envelope: Mapping[str, Any]) -> bytes:
    """The plaintext in `envelope`; :class:`CannotOpen` unless key, repository, version and epoch are its own (§8.3)."""
    bound_to = aad(envelope["repoId"], int(envelope["payloadVersion"]), int(envelope["keyEpoch"]))
    return _decrypted(data_key, envelope, bound_to, "The envelope")


def wrap(data_key: bytes, recipient: bytes, ephemeral_private: bytes, iv: bytes) -> dict[str, str]:
    """The WrappedKey that only the owner of the X25519 public key `recipient` (32 bytes) can open (§8.4)."""
    ephemeral = x25519_public(ephemeral_private)
    kek = key_encryption_key(x25519(ephemeral_private, recipient), ephemeral)
    return {
        "schemeId": SCHEME,
        "ephemeralPublicKey": b64_encode(ephemeral),
        "iv": b64_encode(iv),
        "ciphertext": b64_encode(aes_gcm(kek).encrypt(iv, data_key, LABEL)),
    }


def unwrap(wrapped: Mapping[str, str], private: bytes) -> bytes:
    """The data key (32 bytes) in `wrapped`, opened with the X25519 key `private`; :class:`CannotOpen` otherwise."""
    if wrapped["schemeId"] != SCHEME:
        raise CannotOpen(f"The data key is wrapped by {wrapped['schemeId']!r}, and this client knows {SCHEME}.")
    ephemeral = _bytes_of(wrapped["ephemeralPublicKey"], "The ephemeral key")
    kek = key_encryption_key(x25519(private, ephemeral), ephemeral)
    data_key = _decrypted(kek, wrapped, LABEL, "The wrapped data key")
    if len(data_key) != KEY_BYTES:  # AES would also take 16 bytes, and silently be AES-128
        raise CannotOpen(f"The data key has {len(data_key)} bytes, and must have {KEY_BYTES}.")
    return data_key


def key_encryption_key(shared_secret: bytes, ephemeral_public: bytes) -> bytes:
    """The KEK of the wrap scheme, 32 bytes (§8.4)."""
    return hkdf_sha256(shared_secret, ephemeral_public, LABEL, KEY_BYTES)


def hkdf_sha256(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF with SHA-256 (RFC 5869 §2): `length` bytes, at most 255 * 32.

    HMAC pads its key with zeros, so an empty salt is the 32 zero bytes that RFC 5869 §2.2 asks for.
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
    """The message that binds a member's keys together (§8.5); both in base64, as in its entry."""
    return f"{ed25519_public_key}|{x25519_public_key}".encode()


# --- The package cryptography, asked for when it is needed ----------------------------------------------------


def x25519(private: bytes, public: bytes) -> bytes:
    """The raw shared secret, 32 bytes (RFC 7748 §5); :class:`CannotOpen` if `public` is no key or of small order."""
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


def aes_gcm(key: bytes) -> Any:
    """AES-256-GCM of ``cryptography`` under a 32-byte key: every payload and data key is sealed and opened by it."""
    return _import("hazmat.primitives.ciphers.aead").AESGCM(key)


def _decrypted(key: bytes, sealed: Mapping[str, Any], bound_to: bytes, what: str) -> bytes:
    exceptions = _import("exceptions")
    iv, ciphertext = _bytes_of(sealed["iv"], what), _bytes_of(sealed["ciphertext"], what)
    if len(iv) != IV_BYTES:
        raise CannotOpen(f"{what} has an IV of {len(iv)} bytes, and must have {IV_BYTES}.")
    try:
        return bytes(aes_gcm(key).decrypt(iv, ciphertext, bound_to))
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
