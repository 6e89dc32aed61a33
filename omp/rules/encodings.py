"""Bytes as text, both ways, where every byte string has exactly one text: RFC 4648.

Decoders in the standard library are lenient: they skip foreign characters, take several texts for one byte string
(unused trailing bits, missing padding) and so let one signature or key be written in many ways.  Here a text is
accepted iff it is the very text that the encoder makes (oplog §1.2 asks for it of base64url):

* base64url without padding (RFC 4648 §5), as in identifiers, signatures and tokens;
* base64 with padding (RFC 4648 §4), as in Structured Fields and digests;
* hex in lower case (RFC 4648 §8 in the form that `hex` has in oplog).

Handled here: alphabet, length, padding, trailing bits, text that is not ASCII.  The caller must check how many bytes
came out, and must lower the case of hex first where a document lets both cases in.
"""

from __future__ import annotations

from binascii import Error as _BinasciiError
from binascii import a2b_base64, b2a_base64

_TO_URL = str.maketrans("+/", "-_")
_FROM_URL = str.maketrans("-_+/", "+/!!")  # the other alphabet's letters become foreign ones


class EncodingError(ValueError):
    """A text that no encoder here makes; the message says which encoding was expected."""


def b64u_encode(data: bytes) -> str:
    """`data` in base64url without padding."""
    return b2a_base64(data, newline=False).decode().rstrip("=").translate(_TO_URL)


def b64u_decode(text: str) -> bytes:
    """The bytes of base64url `text` without padding; :class:`EncodingError` where it is not their unique encoding."""
    # "=" in the text would pass the comparison below only by an encoder that writes padding: ours does not.
    data = _a2b(text.translate(_FROM_URL) + "=" * (-len(text) % 4))
    if data is None or b64u_encode(data) != text:
        raise EncodingError("must be base64url without padding, unused bits zero")
    return data


def b64_encode(data: bytes) -> str:
    """`data` in base64 with padding."""
    return b2a_base64(data, newline=False).decode()


def b64_decode(text: str) -> bytes:
    """The bytes of base64 `text` with padding; :class:`EncodingError` where it is not their unique encoding."""
    data = _a2b(text)
    if data is None or b64_encode(data) != text:
        raise EncodingError("must be base64 with padding, unused bits zero")
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
