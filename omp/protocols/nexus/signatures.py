"""Who wrote this request: the signature over a body, and the bytes that it may have been made over.

Implements §3.  Clients differ in how they turn a body into bytes, so there is a table of payload forms (:data:`FORMS`).
Each of them holds the whole request, and each is hashed with Keccak-256 and signed either as it is or as an EIP-191
personal message.  A request is authentic if one of these recovers the owner's address.

Guarantees: a request passes only if the owner's key signed every member of it that is read.  Numbers are signed as they
are written in the request, because JavaScript writes ``1e-7`` where Python writes ``1e-07``.

Refused, with the reason (§3.7): a form that early clients used.  They passed the names of the top-level members as the
second argument of ``JSON.stringify``, which drops every other name at every level.  The payload is then
``{"auth":{},"overrides":{}}`` whatever the overrides are, and anyone could attach such a signature to other overrides.

The caller must know that a signature names neither the endpoint nor a time: whoever captured a request can send it
again, and to any endpoint that takes such a body (§10.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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


class ProfileError(Exception):
    """A request that NEXUS refuses.  The text tells its sender what is wrong, and what would be right."""


class NotAuthenticated(ProfileError):
    """The request is not shown to come from the owner."""


# --- Payloads: §3.4 ---------------------------------------------------------------------------------------------


class Form(NamedTuple):
    """One way to write a body as text.

    `comma` and `colon` are the separators, `string` writes a string, `order` is the sort key of member names (None:
    by code point), `with_auth` says whether ``auth``, with an empty signature, is part of the text.
    """

    comma: str
    colon: str
    string: Callable[[str], str]
    order: Callable[[str], Any] | None
    with_auth: bool


def _utf16_units(name: str) -> bytes:
    """What JavaScript's sort() compares.  It differs from code points between U+E000 … U+FFFF and U+10000 onwards."""
    return name.encode("utf-16-be")


FORMS = (
    # The body without `auth`, compact; non-ASCII text literal or escaped, names in either order.
    *(
        Form(",", ":", string, order, with_auth=False)
        for string in (encode_basestring, encode_basestring_ascii)
        for order in (None, _utf16_units)
    ),
    # The whole body with an empty signature, as Python's json.dumps(body, sort_keys=True) writes it.
    Form(", ", ": ", encode_basestring_ascii, None, with_auth=True),
)
"""The accepted payloads, in the order in which they are tried: A1, A2, A3, A4 and B of §3.4."""


def payload(body: Mapping[str, Any], form: Form) -> bytes:
    """The bytes that a client of that `form` signs; `body` is from :func:`omp.rules.json_text.parse_exact`.

    >>> from omp.rules.json_text import parse_exact
    >>> payload(parse_exact(b'{"overrides": {"temperature": 1e-7, "model": "x"}, "auth": {}}'), FORMS[0])
    b'{"overrides":{"model":"x","temperature":1e-7}}'
    """
    members = {name: value for name, value in body.items() if name != "auth"}
    if form.with_auth:
        members["auth"] = {**body["auth"], "signature": ""}
    return _text(members, form).encode()


def _text(value: Any, form: Form) -> str:
    if isinstance(value, str):
        return form.string(value)
    if isinstance(value, dict):
        names = sorted(value, key=form.order)
        return "{" + form.comma.join([form.string(n) + form.colon + _text(value[n], form) for n in names]) + "}"
    if isinstance(value, list):
        return "[" + form.comma.join([_text(element, form) for element in value]) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    written: str = value.text  # a number, with the characters of the request
    return written


def broken_payload(body: Mapping[str, Any]) -> bytes:
    """What ``JSON.stringify(body, Object.keys(body).sort())`` gives (§3.7): at every level the top-level names only.

    >>> broken_payload({"overrides": {"model": "x"}, "auth": {"publicKey": "0x…", "signature": ""}})
    b'{"auth":{},"overrides":{}}'
    """
    listed = sorted(body, key=_utf16_units)

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: kept(value[name]) for name in listed if name in value}
        return [kept(element) for element in value] if isinstance(value, list) else value

    # ECMA-262, SerializeJSONObject: with a list, members are written in the order of the list.
    return _text(kept(body), Form(",", ":", encode_basestring, _utf16_units, with_auth=True)).encode()


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


def authenticate(body: Any, owner: str) -> None:
    """Return if the key of `owner` signed `body`, as its ``auth`` says (§3.6); else raise :class:`NotAuthenticated`.

    `body` is any JSON value, from :func:`omp.rules.json_text.parse_exact`; `owner` is an address in lower case.
    """
    auth = body.get("auth") if isinstance(body, dict) else None
    if not (
        isinstance(auth, dict) and isinstance(auth.get("publicKey"), str) and isinstance(auth.get("signature"), str)
    ):
        raise NotAuthenticated('sign the request: its body needs "auth": {"publicKey": "0x…", "signature": "0x…"}')
    if normal_address(auth["publicKey"]) != owner:
        raise NotAuthenticated("auth.publicKey must be the address in the Authorization header")
    try:
        recovery = Recovery(parse_signature(auth["signature"]))
    except InvalidSignature as error:
        raise NotAuthenticated(f"auth.signature: {error}") from None
    if not any(_signed(recovery, one, owner) for one in _distinct_payloads(body)):
        raise NotAuthenticated(_why_not(recovery, body, owner))


def _distinct_payloads(body: Mapping[str, Any]) -> Iterator[bytes]:
    """The payload of each form, once: the first four are mostly the same."""
    seen = set()
    for form in FORMS:
        one = payload(body, form)
        if one not in seen:
            seen.add(one)
            yield one


def _signed(recovery: Recovery, signed: bytes, owner: str) -> bool:
    digest = keccak256(signed)
    return _recovers(recovery, digest, owner) or _recovers(recovery, personal_message_hash(digest), owner)  # §3.5


def _recovers(recovery: Recovery, digest: bytes, owner: str) -> bool:
    try:
        return address(recovery.public_key(digest)) == owner
    except InvalidSignature:
        return False


def _why_not(recovery: Recovery, body: Mapping[str, Any], owner: str) -> str:
    broken = broken_payload(body)
    if _signed(recovery, broken, owner):
        return (
            f"auth.signature was made over {_beginning(broken)}, which leaves out what the request asks for: the list "
            "given to JSON.stringify drops every nested member; leave out auth and sort names at every level instead"
        )
    return (
        "auth.signature is not by this owner over this request; sign keccak256 of the body without auth, "
        f"as compact JSON with sorted names: {_beginning(payload(body, FORMS[0]))}"
    )


def _beginning(signed: bytes) -> str:
    """Enough of a payload for its sender to compare it with their own."""
    text = signed[:800].decode(errors="ignore")
    return text if len(text) <= 200 else text[:200] + "…"
