"""Which code does the curve arithmetic: ``cryptography`` if it is installed, otherwise :mod:`omp.rules.ed25519`.

An engine verifies Ed25519 signatures under the rules of omp §5, and every engine gives the same answer on every input:
a node's verdict must not depend on what is installed on it.  For that, the rules about encodings are asked before
either: :func:`omp.rules.ed25519.malformed`.  What remains is ``[S]B = R + [k]A`` without cofactor for a key that is a
point, and OpenSSL decides it as we do: it accepts A only if it decodes, encodes [S]B − [k]A with k reduced modulo L,
and compares the bytes with R.

Secret keys are used in earnest only with ``cryptography``, whose arithmetic takes the same time for every key;
:func:`secret_keys` asks for it by name.

The package is imported when an engine is chosen, once, at start; importing this module does not import it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from omp.rules import ed25519

Verify = Callable[[bytes, bytes, bytes], bool]


class CryptographyMissing(Exception):
    """The package ``cryptography`` is needed and not installed; the message says what for, and how to get it."""


class Engine:
    """A way to verify: ``name`` for people, ``verify(public_key, message, signature) -> bool``, which never raises."""

    __slots__ = ("name", "verify")

    def __init__(self, name: str, verify: Verify) -> None:
        self.name = name
        self.verify = verify


class SecretKeys(Protocol):
    """What holders of secret keys need; a key is its 32-byte seed (RFC 8032 §5.1.5)."""

    def generate(self) -> bytes:
        """A new seed, from the system's randomness."""

    def public_key(self, seed: bytes) -> bytes:
        """The public key (32 bytes) of a seed."""

    def sign(self, seed: bytes, message: bytes) -> bytes:
        """The signature (64 bytes) of a message."""


def handwritten_engine() -> Engine:
    """The engine that every interpreter has."""
    return Engine("hand-written", ed25519.verify)


def cryptography_engine() -> Engine:
    """The fast engine; raises :class:`CryptographyMissing` if the package is not installed."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise CryptographyMissing(
            "The fast Ed25519 engine needs the package cryptography; install it with: pip install cryptography"
        ) from None
    malformed = ed25519.malformed

    def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
        if malformed(public_key, signature):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):  # ValueError: the key is not a point of the curve
            return False
        return True

    return Engine("cryptography", verify)


def best_engine() -> Engine:
    """The fast engine if the package is installed, else the hand-written one; the server shows ``name`` at start."""
    try:
        return cryptography_engine()
    except CryptographyMissing:
        return handwritten_engine()


class _CryptographyKeys:
    def __init__(self) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey
        # Not private_bytes_raw() and public_bytes_raw(), which the package has since version 40 only.
        raw = serialization.Encoding.Raw
        self._private = raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        self._public = raw, serialization.PublicFormat.Raw

    def generate(self) -> bytes:
        return self._key.generate().private_bytes(*self._private)

    def public_key(self, seed: bytes) -> bytes:
        return self._key.from_private_bytes(seed).public_key().public_bytes(*self._public)

    def sign(self, seed: bytes, message: bytes) -> bytes:
        return self._key.from_private_bytes(seed).sign(message)


def secret_keys() -> SecretKeys:
    """Signing in earnest; raises :class:`CryptographyMissing` if the package is not installed."""
    try:
        return _CryptographyKeys()
    except ImportError:
        raise CryptographyMissing(
            "Secret keys need the package cryptography; install it with: pip install cryptography"
        ) from None
