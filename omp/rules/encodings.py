"""Bytes as text, both ways, so that every byte string has exactly one text: RFC 4648.

The decoders of the standard library are lenient: they skip foreign characters and accept several texts for one byte
string (unused trailing bits, missing padding), so one signature or key could be written in many ways.  Here a text is
accepted iff it is the very text that the encoder makes (oplog §1.2 requires that of base64url):

* base64url without padding (RFC 4648 §5), as in identifiers, signatures and tokens;
* base64 with padding (RFC 4648 §4), as in Structured Fields and digests;
* hex in lower case (RFC 4648 §8).

>>> b64u_encode(b"omp!"), b64u_decode("b21wIQ")
('b21wIQ', b'omp!')

Handled here: alphabet, length, padding, trailing bits, text that is not ASCII.  The caller must check the number of
bytes, and lower the case of hex first where a document allows both cases.
"""

from __future__ import annotations

from binascii import Error as _BinasciiError
from binascii import a2b_base64, b2a_base64

_TO_URL = str.maketrans("+/", "-_")
_FROM_URL = str.maketrans("-_+/", "+/!!")  # the other alphabet's letters become foreign ones


class EncodingError(ValueError):
    """A text that no encoder here would make; the message says which encoding was expected."""


def b64u_encode(data: bytes) -> str:
    """`data` in base64url without padding."""
    return b2a_base64(data, newline=False).decode().rstrip("=").translate(_TO_URL)


def b64u_decode(text: str) -> bytes:
    """The bytes of base64url `text` without padding; :class:`EncodingError` if it is not their one encoding."""
    # Padding in the text fails the comparison below, as our encoder writes none.
    data = _a2b(text.translate(_FROM_URL) + "=" * (-len(text) % 4))
    if data is None or b64u_encode(data) != text:
        raise EncodingError("must be base64url, with - and _ and without padding, unused bits zero")
    return data


def b64_encode(data: bytes) -> str:
    """`data` in base64 with padding."""
    return b2a_base64(data, newline=False).decode()


def b64_decode(text: str) -> bytes:
    """The bytes of base64 `text` with padding; :class:`EncodingError` if it is not their one encoding."""
    data = _a2b(text)
    if data is None or b64_encode(data) != text:
        raise EncodingError("must be base64, with + and / and with padding, unused bits zero")
    return data


def _a2b(text: str) -> bytes | None:
    try:
        return a2b_base64(text)
    except (_BinasciiError, ValueError):  # ValueError: not ASCII
        return None


def hex_decode(text: str) -> bytes:
    """The bytes of lower-case hex `text`, two digits each; :class:`EncodingError` otherwise."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if data.hex() != text:
        raise EncodingError("must be an even number of lower-case hex digits")
    return data
