"""Who wrote this request: the signature over a body, and the bytes that it may have been made over.

Implements §3.  Clients differ in how they turn a body into bytes, so there is a table of payload forms (:data:`FORMS`).
Some write strings by one rule, others as they send them: PHP, for one, escapes each slash.  Each form holds the whole
request, and each is hashed with Keccak-256 and signed either as it is or as an EIP-191 personal message.  A request is
authentic if one of these recovers the owner's address.

Guarantees: a request passes only if the owner's key signed every member of it that is read.  Numbers are signed as they
are written in the request, because JavaScript writes ``1e-7`` where Python writes ``1e-07``.  What a check costs is
linear in the body, whatever the body is: no text of more than :data:`MAX_SIGNED` bytes is hashed, and no more than
:data:`MAX_HASHED` bytes for one request (§10.6).

Refused, with the reason (§3.7): a form that early clients used.  They passed the names of the top-level members as the
second argument of ``JSON.stringify``, which drops every other name at every level.  The payload is then
``{"auth":{},"overrides":{}}`` whatever the overrides are, and anyone could attach such a signature to other overrides.

The caller must bound the body, and must know that a signature names neither the endpoint nor a time: whoever captured a
request can send it again, and to any endpoint that takes such a body (§10.2).

Laid out: the body with its numbers and strings as written, the payload forms, the broken form, then the decision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, NamedTuple

from omp.protocols.nexus.ethereum import (
    InvalidSignature,
    Recovery,
    address,
    normal_address,
    parse_signature,
    personal_message_hash,
)
from omp.protocols.nexus.keccak import keccak256
from omp.rules.json_text import parse, scan_whole, scanner, text_of

MAX_SIGNED = 64 * 1024
"""The most bytes of a payload.  A body is no longer either (§9.3), but its text grows up to six times when its strings
are escaped: without this bound a refusal would cost four times as much."""
MAX_HASHED = 9 * MAX_SIGNED // 2
"""Payloads with strings as sent are hashed while all of a request have at most so many bytes together.  Most bodies
have one to three different ones; a stranger can make all eight differ."""
MAX_BROKEN = 8 * 1024
"""The most bytes of a payload of the broken form that is recognized.  It has dropped what was in the request: of a
batch it holds some 300 bytes, of as many messages as a body can hold 5 KB."""


class ProfileError(Exception):
    """A request that NEXUS refuses.  The text tells its sender what is wrong, and what would be right."""


class NotAuthenticated(ProfileError):
    """The request is not shown to come from the owner."""


# --- A body as it is written ------------------------------------------------------------------------------------

_scan = scanner(str.encode, str.encode)


class Escaped(str):
    """A string that the request writes with escapes; `written` is what stands between its quotation marks."""

    __slots__ = ("written",)
    written: str


def as_written(data: bytes) -> Any:
    r"""The value of the JSON text `data`, with the characters of each number, as bytes, in place of the number.

    No other JSON value is made of bytes.  A string or a name that is written with escapes is an :class:`Escaped`.
    Raises :class:`omp.rules.json_text.JsonError`.

    >>> as_written(b'[1e-7, 1.50, "x"]'), as_written(b'"a\\/b"').written
    ([b'1e-7', b'1.50', 'x'], 'a\\/b')
    """
    parse(data)  # what JSON may hold, the size of numbers included
    text = text_of(data)
    if "\\" not in text:
        return scan_whole(_scan, text)
    # In JSON a backslash stands in strings only.  Escaped once more, each escape is read as its own characters.
    return _unescaped(scan_whole(_scan, _ESCAPE.sub(_escaped_again, text)))


_ESCAPE = re.compile(r"\\(.)")


def _escaped_again(escape: re.Match[str]) -> str:
    return "\\\\" + (escape[0] if escape[1] in '"\\' else escape[1])


def _unescaped(value: Any) -> Any:
    """`value`, in whose strings escapes are read as their own characters, with its strings as they are meant."""
    kind = type(value)
    if kind is str:
        return _string(value)
    if kind is dict:
        return {_string(name): _unescaped(member) for name, member in value.items()}
    if kind is list:  # in place: a body can be nothing but lists, and a second tree takes 30 times its size
        for index, element in enumerate(value):
            value[index] = _unescaped(element)
    return value


def _string(written: str) -> str:
    if "\\" not in written:
        return written
    value = Escaped(scanstring(written + '"', 0)[0])
    value.written = written
    return value


# --- Payloads: §3.4 ---------------------------------------------------------------------------------------------

_Text = Callable[[str], str]
"""How a string is written, quotation marks included."""
_Names = Callable[[Mapping[str, Any]], list[str]]
"""Which members of an object are written, in their order."""


def _by_code_point(members: Mapping[str, Any]) -> list[str]:
    return sorted(members)


def _by_utf16_unit(members: Mapping[str, Any]) -> list[str]:
    return sorted(members, key=_utf16_units)


def _utf16_units(name: str) -> bytes:
    """What JavaScript's sort() compares.  It differs from code points between U+E000 … U+FFFF and U+10000 onwards."""
    return name.encode("utf-16-be")


def _as_sent(value: str) -> str:
    """The string as the request writes it."""
    return f'"{value.written}"' if isinstance(value, Escaped) else encode_basestring(value)


class Layout(NamedTuple):
    """How the text of a body is written, before :func:`_escape`.

    `comma` and `colon` are the separators; `names` gives the members of an object in their order; `with_auth` says
    whether ``auth``, with an empty signature, is part of the text; `string` writes strings and names.
    """

    comma: str
    colon: str
    names: _Names
    with_auth: bool
    string: _Text = encode_basestring


class Form(NamedTuple):
    """One way to write a body as text: a layout, and whether characters that are not printable ASCII are escaped."""

    layout: Layout
    escaped: bool


FORMS = (
    # The body without `auth`, compact; non-ASCII text literal or escaped, names in either order.
    *(
        Form(Layout(",", ":", names, with_auth=False), escaped)
        for escaped in (False, True)
        for names in (_by_code_point, _by_utf16_unit)
    ),
    # The whole body with an empty signature, as Python's json.dumps(body, sort_keys=True) writes it.
    Form(Layout(", ", ": ", _by_code_point, with_auth=True), escaped=True),
    # The same three layouts with every string as the request writes it.
    Form(Layout(",", ":", _by_code_point, with_auth=False, string=_as_sent), escaped=False),
    Form(Layout(",", ":", _by_utf16_unit, with_auth=False, string=_as_sent), escaped=False),
    Form(Layout(", ", ": ", _by_code_point, with_auth=True, string=_as_sent), escaped=False),
)
"""The accepted payloads, in the order in which they are tried: A1, A2, A3, A4, B, W1, W2 and W3 of §3.4."""
FORM_B = FORMS[4]


def payload(body: Mapping[str, Any], form: Form) -> bytes:
    """The bytes that a client of that `form` signs; `body` is from :func:`as_written`.

    >>> payload(as_written(b'{"overrides": {"temperature": 1e-7, "model": "x"}, "auth": {}}'), FORMS[0])
    b'{"overrides":{"model":"x","temperature":1e-7}}'
    """
    literal = _literal(body, form.layout)
    return _escape(literal) if form.escaped else literal.encode()


def _literal(body: Mapping[str, Any], layout: Layout) -> str:
    members = {name: value for name, value in body.items() if layout.with_auth or name != "auth"}
    if layout.with_auth:
        members["auth"] = {**body["auth"], "signature": ""}
    pieces: list[str] = []
    _write(members, layout, pieces.append)
    return "".join(pieces)


_CONSTANTS = {None: "null", True: "true", False: "false"}


def _write(value: Any, layout: Layout, write: Callable[[str], object]) -> None:
    """Give `write` the literal text of `value`, piece by piece.

    One list of pieces for the whole body: half of the time of a string for each value, where values are many and small.
    """
    kind = type(value)
    if kind is str or kind is Escaped:
        write(layout.string(value))
    elif kind is dict:
        before = "{"
        for name in layout.names(value):
            write(before + layout.string(name) + layout.colon)
            _write(value[name], layout, write)
            before = layout.comma
        write("}" if before != "{" else "{}")
    elif kind is list:
        before = "["
        for element in value:
            write(before)
            _write(element, layout, write)
            before = layout.comma
        write("]" if value else "[]")
    else:
        write(value.decode() if kind is bytes else _CONSTANTS[value])


# In a literal text only strings hold other characters than printable ASCII, and none of them is a control character,
# which is escaped in both kinds of text.  So it can be escaped as a whole.
_NOT_PRINTABLE = re.compile("[^ -~]+")


def _escape(literal: str) -> bytes:
    return _NOT_PRINTABLE.sub(lambda run: encode_basestring_ascii(run[0])[1:-1], literal).encode()


def _escaped_length(literal: str) -> int:
    """How many bytes :func:`_escape` gives: six for each UTF-16 unit that is not printable ASCII."""
    others = "".join(_NOT_PRINTABLE.findall(literal))
    return len(literal) - len(others) + 3 * len(others.encode("utf-16-be"))


def _payloads(body: Mapping[str, Any], has_escapes: bool) -> Iterator[bytes]:
    """Each payload of at most MAX_SIGNED bytes, once, as MAX_HASHED allows: most of them are mostly the same."""
    seen = set()
    left = MAX_HASHED
    literals: dict[Layout, str] = {}
    shortest = 0
    for layout, escaped in FORMS:
        bounded = layout.string is _as_sent
        if bounded and left < shortest:
            return
        if not has_escapes:  # strings are then literal as they are sent: there is less to write
            layout = layout._replace(string=encode_basestring)
        literal = literals.get(layout) or literals.setdefault(layout, _literal(body, layout))
        shortest = shortest or len(literal)  # of the first form: no other writes anything in fewer bytes
        if (_escaped_length(literal) if escaped else len(literal.encode())) > MAX_SIGNED:
            continue
        one = _escape(literal) if escaped else literal.encode()
        if one not in seen and not (bounded and left < len(one)):
            seen.add(one)
            left -= len(one)
            yield one


# --- The broken form: §3.7 ----------------------------------------------------------------------------------------


def broken_payload(body: Mapping[str, Any]) -> bytes:
    """What ``JSON.stringify(body, Object.keys(body).sort())`` gives (§3.7): at every level the top-level names only.

    >>> broken_payload({"overrides": {"model": "x"}, "auth": {"publicKey": "0x…", "signature": ""}})
    b'{"auth":{},"overrides":{}}'
    """
    # ECMA-262, SerializeJSONObject: with a list, members are written in the order of the list.
    order = {name: index for index, name in enumerate(_by_utf16_unit(body))}

    def listed(members: Mapping[str, Any]) -> list[str]:
        # From the members of this object, not from the list: the list for each object would be quadratic.
        return sorted(filter(order.__contains__, members), key=order.__getitem__)

    pieces: list[str] = []
    _write(body, Layout(",", ":", listed, with_auth=True), pieces.append)
    return "".join(pieces).encode()


# --- Authentication: §3.1, §3.2, §3.6 ---------------------------------------------------------------------------


def bearer(authorization: str) -> str:
    """The owner's address, in lower case, that an ``Authorization`` field names (§3.1).  Raises NotAuthenticated."""
    scheme, _, credentials = authorization.partition(" ")
    owner = normal_address(credentials.strip(" ")) if scheme.lower() == "bearer" else None  # RFC 9110 §11.1
    if owner is None:
        raise NotAuthenticated(
            "send the owner's key as 'Authorization: Bearer 0x…', an Ethereum address of 40 hex digits"
        )
    return owner


def authenticate(data: bytes, owner: str) -> None:
    """Return if the key of `owner` signed the body `data`, as its ``auth`` says (§3.6).

    `owner` is an address in lower case.  Raises :class:`omp.rules.json_text.JsonError` if `data` is not JSON, and
    :class:`NotAuthenticated`.
    """
    recovery = _recovery(parse(data), owner)
    body = as_written(data)
    hashes = []
    for one in _payloads(body, has_escapes=b"\\" in data):
        digest = keccak256(one)
        if _signs(recovery, digest, owner):
            return
        hashes.append(digest)
    raise NotAuthenticated(_why_not(recovery, body, owner, hashes))


def _recovery(body: Any, owner: str) -> Recovery:
    """The signature in `body`, by whomever it is."""
    auth = body.get("auth") if isinstance(body, dict) else None
    if not (
        isinstance(auth, dict) and isinstance(auth.get("publicKey"), str) and isinstance(auth.get("signature"), str)
    ):
        raise NotAuthenticated('sign the request: its body needs "auth": {"publicKey": "0x…", "signature": "0x…"}')
    if normal_address(auth["publicKey"]) != owner:
        raise NotAuthenticated("auth.publicKey must be the address in the Authorization header")
    try:
        return Recovery(parse_signature(auth["signature"]))
    except InvalidSignature as error:
        raise NotAuthenticated(f"auth.signature: {error}") from None


def _signs(recovery: Recovery, digest: bytes, owner: str) -> bool:
    return _recovers(recovery, digest, owner) or _recovers(recovery, personal_message_hash(digest), owner)  # §3.5


def _recovers(recovery: Recovery, digest: bytes, owner: str) -> bool:
    try:
        return address(recovery.public_key(digest)) == owner
    except InvalidSignature:
        return False


def _why_not(recovery: Recovery, body: Mapping[str, Any], owner: str, hashes: Sequence[bytes]) -> str:
    """The reason, as far as it can be told; `hashes` are those of the payloads."""
    texts = (f"{prefix}{digest.hex()}".encode() for digest in hashes for prefix in ("0x", ""))
    if any(_recovers(recovery, personal_message_hash(text), owner) for text in texts):
        return (
            "auth.signature was made over the hash as text; sign its 32 bytes instead: in ethers "
            "wallet.signMessage(ethers.getBytes(hash)), not wallet.signMessage(hash)"
        )
    broken = broken_payload(body)
    if len(broken) <= MAX_BROKEN and _signs(recovery, keccak256(broken), owner):
        return (
            f"auth.signature was made over {_beginning(broken)}, which leaves out what the request asks for: the list "
            "given to JSON.stringify drops every nested member; leave out auth and sort names at every level instead"
        )
    # Form B is the longest of those that this server makes by rule.
    left_out = _escaped_length(_literal(body, FORM_B.layout)) > MAX_SIGNED
    return (
        "auth.signature is not by this owner over this request; sign keccak256 of the body without auth, "
        + f"(of at most {MAX_SIGNED} bytes, which it exceeds if non-ASCII characters are escaped) " * left_out
        + f"as compact JSON with sorted names: {_beginning(payload(body, FORMS[0]))}"
    )


def _beginning(signed: bytes) -> str:
    """Enough of a payload for its sender to compare it with their own."""
    text = signed[:800].decode(errors="ignore")
    return text if len(text) <= 200 else text[:200] + "…"
