"""Content-Digest: a hash of a message's content in a header field, RFC 9530.

``Content-Digest: sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:`` is a Structured Fields dictionary (RFC 9530
§2) from algorithm to hash.  A signature that covers the field binds the body, which HTTP Message Signatures do not do
by themselves.

The algorithms are the two that RFC 9530 §5 calls active.  The deprecated ones (md5, sha, crc32c, …) are ignored like
any other that is not known: such a field says nothing about the content.

Handled here: every known hash in the field must be right, so that a weak one cannot stand in for a strong one.  The
caller must give the content as it came over the wire, after chunked coding and before any Content-Encoding is undone
(RFC 9530 §2), and decide what a field without a known algorithm is worth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from omp.rules.encodings import b64_encode
from omp.rules.structured_fields import Item, StructuredFieldError, parse_dictionary

ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "sha-256": lambda content: hashlib.sha256(content).digest(),
    "sha-512": lambda content: hashlib.sha512(content).digest(),
}
"""Name -> hash function: the active algorithms of RFC 9530 §5."""


class DigestError(ValueError):
    """A Content-Digest that is malformed or is not that of the content."""


def content_digest(content: bytes, algorithm: str = "sha-256") -> str:
    """The value of a Content-Digest field for `content`.

    >>> content_digest(b'{"hello": "world"}')
    'sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:'
    """
    return f"{algorithm}=:{b64_encode(ALGORITHMS[algorithm](content))}:"


def check_content_digest(field: str, content: bytes) -> frozenset[str]:
    """The known algorithms by which the `field` value vouches for `content`: empty where it names only others.

    Raises :class:`DigestError` if the field is no dictionary of byte sequences, or one of its known hashes is not
    that of `content`.
    """
    try:
        digests = parse_dictionary(field)
    except StructuredFieldError as error:
        raise DigestError(f"Content-Digest is malformed. {error}") from None
    for algorithm, digest in digests.items():
        if not isinstance(digest, Item) or not isinstance(digest.value, bytes):
            raise DigestError(f"Content-Digest: the value of {algorithm} must be a byte sequence, :base64:.")
        if algorithm in ALGORITHMS and digest.value != ALGORITHMS[algorithm](content):
            raise DigestError(f"Content-Digest: the {algorithm} given is not that of the body.")
    return frozenset(digests.keys() & ALGORITHMS.keys())
