"""How a new member and a repository find each other: join tokens and ``avp://`` addresses (avp.md, "Client side").

Pure.  The joiner hands an *invite request*, its two public keys, to a member; the member puts it on the roster and
hands back a *locator*, where the repository is.  Neither holds a secret, but whoever can swap the first on its way
is let in instead of the joiner: pass it over a channel that both trust, or compare the keys.

A token is base64url without padding over compact JSON.  The order of members is fixed, so one value has one token;
a decoder takes any order, and members that it does not know.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from omp.rules.encodings import EncodingError, b64_decode, b64u_decode, b64u_encode
from omp.rules.json_text import JsonError, compact, parse

INVITE_REQUEST = {"v": int, "ed25519PublicKey": str, "x25519PublicKey": str}
LOCATOR = {"v": int, "host": str, "repoId": str}
LOCATOR_OPTIONAL = {"schemeId": str, "keyEpoch": int, "issuerJwksUrl": str}
SCHEME = "avp://"


class BadToken(Exception):
    """A join token or an address that cannot be used; the text says why."""


class Address(NamedTuple):
    """``avp://host/repoId``: `host` is a host or host:port, `repo_id` the exact id, which never names the host."""

    host: str
    repo_id: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.host}/{self.repo_id}"


def parse_address(text: str) -> Address:
    """The address that `text` is; :class:`BadToken` otherwise.

    >>> parse_address("avp://vault.example:8443/3b1f").host
    'vault.example:8443'
    """
    host, _, repo_id = text.removeprefix(SCHEME).partition("/")
    if not text.startswith(SCHEME) or not host or not repo_id:
        raise BadToken(f"{text!r} is no address of a repository: it must look like avp://host/repoId.")
    return Address(host, checked_repo_id(repo_id))


def checked_repo_id(text: str) -> str:
    """`text` itself, if it can be a repository's id; :class:`BadToken` otherwise."""
    if not text:
        raise BadToken("The id of a repository must not be empty.")
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair: what a command line makes of bytes that are not UTF-8
        raise BadToken("The id of a repository must be UTF-8.") from None
    return text


def encode_invite_request(ed25519_public_key: str, x25519_public_key: str) -> str:
    """The token that a joiner hands to a member; keys in base64."""
    return _encoded({"v": 1, "ed25519PublicKey": ed25519_public_key, "x25519PublicKey": x25519_public_key})


def decode_invite_request(token: str) -> dict[str, Any]:
    """The invite request in `token`, its keys checked to be 32 bytes each; :class:`BadToken` otherwise."""
    value = _decoded(token, INVITE_REQUEST, {})
    for name in ("ed25519PublicKey", "x25519PublicKey"):
        try:
            raw = b64_decode(value[name])
        except EncodingError:
            raw = b""
        if len(raw) != 32:
            raise BadToken(f"The token's {name} is not the base64 of a 32-byte key.")
    return value


def encode_locator(
    address: Address, scheme_id: str | None = None, key_epoch: int | None = None, issuer_jwks_url: str | None = None
) -> str:
    """The token that tells a new member where the repository is."""
    value = {"v": 1, "host": address.host, "repoId": address.repo_id}
    optional = {"schemeId": scheme_id, "keyEpoch": key_epoch, "issuerJwksUrl": issuer_jwks_url}
    return _encoded(value | {name: given for name, given in optional.items() if given is not None})


def decode_locator(token: str) -> dict[str, Any]:
    """The locator in `token`; :class:`BadToken` otherwise."""
    return _decoded(token, LOCATOR, LOCATOR_OPTIONAL)


def _encoded(value: dict[str, Any]) -> str:
    return b64u_encode(compact(value).encode())


def _decoded(token: str, required: dict[str, type], optional: dict[str, type]) -> dict[str, Any]:
    try:
        value = parse(b64u_decode(token))
    except (EncodingError, JsonError) as error:
        raise BadToken(f"This is no join token: {error}.") from None
    if type(value) is not dict:
        raise BadToken("This is no join token: it holds no JSON object.")
    for name, kind in required.items():
        # type(): True is an int to isinstance, and not to the document.
        if type(value.get(name)) is not kind:
            raise BadToken(f"This is not the join token that is wanted: its {name} is missing or of the wrong type.")
    for name, kind in optional.items():
        if name in value and type(value[name]) is not kind:
            raise BadToken(f"The join token's {name} is of the wrong type.")
    if value["v"] != 1:
        raise BadToken(f"This is a join token of version {value['v']}, and this client knows version 1.")
    return value
