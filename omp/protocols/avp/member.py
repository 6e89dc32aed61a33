"""A member of a vault: its keys, the requests it makes of them, and how members find each other (§9, §10).

Pure: it makes the bodies of requests from keys and answers, without network; randomness is an argument (``os.urandom``,
or the fixed bytes of a vector).  ``python -m omp vault`` and the tests send what is made here.

What an honest client does that the server cannot do for it:

* it opens an envelope only if the manifest names the same version and epoch, so that the two belong together;
* before it wraps a data key for a member, it checks that member's key binding, if there is one (it is optional, so a
  server that swaps a key can remove the binding too: a client must show who has none);
* it takes a new data key for every key epoch, so that a removed member cannot read what comes after;
* it signs every wrap that it makes (``omp.wrap``, §13), so that the others can tell it from one that a server made.

What it remembers of a repository, and what it therefore refuses to believe, is in :mod:`.witness`.

Left out: a roster that replaces another (:func:`binding_of`, :func:`removal`) is made from the one that was pulled.
addMember raises no version, so a member that is added between that pull and the write falls out again, notices it by
the 403, and must be added anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from omp.protocols.avp import sealing, vouching
from omp.protocols.avp.schemas import VaultError
from omp.protocols.avp.sealing import IV_BYTES, KEY_BYTES, SCHEME, CannotOpen
from omp.rules.encodings import EncodingError, b64_decode, b64_encode, b64u_decode, b64u_encode
from omp.rules.engines import best_engine, secret_keys
from omp.rules.json_text import JsonError, compact, parse

RandomBytes = Callable[[int], bytes]


class Keys(NamedTuple):
    """A member's secret keys (§8.1): Ed25519 seed and X25519 private key, 32 bytes each."""

    ed25519_seed: bytes
    x25519_private: bytes

    @property
    def member_id(self) -> str:
        """The Ed25519 public key in base64."""
        return b64_encode(secret_keys().public_key(self.ed25519_seed))

    @property
    def x25519_public_key(self) -> str:
        """The X25519 public key in base64."""
        return b64_encode(sealing.x25519_public(self.x25519_private))

    def sign(self, message: bytes) -> str:
        """The Ed25519 signature over `message`, in base64."""
        return b64_encode(secret_keys().sign(self.ed25519_seed, message))

    def binding(self) -> str:
        """The key binding: this member's signature over both its public keys (§8.5), in base64."""
        return self.sign(sealing.binding_message(self.member_id, self.x25519_public_key))


class Opened(NamedTuple):
    """What a member sees of a repository: the manifest and the envelope, the data key, the plaintext."""

    manifest: Mapping[str, Any]
    envelope: Mapping[str, Any]
    data_key: bytes
    plaintext: bytes

    @property
    def next_version(self) -> int:
        """The payloadVersion of the next write."""
        return int(self.manifest["payloadVersion"]) + 1

    @property
    def epoch(self) -> int:
        """The keyEpoch that the data key belongs to."""
        return int(self.manifest["keyEpoch"])


def new_keys(random_bytes: RandomBytes) -> Keys:
    """Keys for a new member."""
    return Keys(random_bytes(KEY_BYTES), random_bytes(KEY_BYTES))


def redemption(keys: Keys, nonce: str) -> dict[str, str]:
    """§9.1: the body of the token request that answers a challenge."""
    try:
        raw = b64_decode(nonce)
    except EncodingError as error:
        raise CannotOpen(f"The server's nonce {error}.") from None
    # A member signs 32 bytes and nothing else, so that no server gets a signature over a text of its choice.  It can
    # still get one over another server's nonce, and log in there as the member: a nonce names no server (§12).
    if len(raw) != KEY_BYTES:
        raise CannotOpen(f"The server's nonce has {len(raw)} bytes, and must have {KEY_BYTES}.")
    # "GET http://omp.example/objects/1" has 32 bytes too: one key for both would sign a request (omp §4.3).
    if all(0x20 <= byte <= 0x7E for byte in raw):
        raise CannotOpen("The server's nonce is a text, which could mean something elsewhere: it is not signed.")
    return {"ed25519PublicKey": keys.member_id, "nonce": nonce, "signature": keys.sign(raw)}


def _wrapped(data_key: bytes, x25519_public_key: str, random_bytes: RandomBytes) -> dict[str, str]:
    try:
        recipient = b64_decode(x25519_public_key)
    except EncodingError as error:
        raise CannotOpen(f"A member's x25519PublicKey {error}.") from None
    return sealing.wrap(data_key, recipient, random_bytes(KEY_BYTES), random_bytes(IV_BYTES))


class _Wrapper(NamedTuple):
    """The member with `keys` as it wraps the data key of one epoch for others, and signs each wrap (§8.4, §13.1)."""

    keys: Keys
    repo_id: str
    data_key: bytes
    epoch: int
    random_bytes: RandomBytes

    def wrapped(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """`entry` with the data key wrapped for its X25519 key; whatever else it holds stays."""
        key = _wrapped(self.data_key, entry["x25519PublicKey"], self.random_bytes)
        anew = {**entry, "wrappedDataKey": key, "keyEpoch": self.epoch}
        return vouching.signed(anew, self.repo_id, self.keys.member_id, self.keys.sign)

    def entry(self, member_id: str, x25519_public_key: str, binding: str | None) -> dict[str, Any]:
        """A new entry."""
        made = self.wrapped({"ed25519PublicKey": member_id, "x25519PublicKey": x25519_public_key})
        return {**made, "keyBindingSig": binding}


def creation(keys: Keys, repo_id: str, plaintext: bytes, random_bytes: RandomBytes) -> dict[str, Any]:
    """§9.2: the body of createRepo: a repository at version 1, epoch 0, whose sole member has `keys`."""
    data_key = random_bytes(KEY_BYTES)
    wrapper = _Wrapper(keys, repo_id, data_key, 0, random_bytes)
    own = wrapper.entry(keys.member_id, keys.x25519_public_key, keys.binding())
    return {
        "manifest": {"repoId": repo_id, "schemeId": SCHEME, "keyEpoch": 0, "payloadVersion": 1, "members": [own]},
        "initialEnvelope": sealing.seal(data_key, random_bytes(IV_BYTES), repo_id, 1, 0, plaintext),
    }


def entry_of(manifest: Mapping[str, Any], member_id: str) -> Mapping[str, Any]:
    """The entry of a member; :class:`CannotOpen` if it has none."""
    for entry in manifest["members"]:
        if entry["ed25519PublicKey"] == member_id:
            return dict(entry)
    raise CannotOpen(f"{member_id} is not a member of this repository.")


def opened(keys: Keys, repo_id: str, manifest: Mapping[str, Any], envelope: Mapping[str, Any]) -> Opened:
    """§9.3: what the answer to a pull of `repo_id` holds; :class:`CannotOpen` if its parts do not belong together."""
    for name in ("repoId", "payloadVersion", "keyEpoch"):
        if envelope[name] != manifest[name]:
            raise CannotOpen(f"The envelope and the manifest name different values of {name}.")
    if manifest["repoId"] != repo_id:
        raise CannotOpen("The server answered with another repository.")
    data_key = sealing.unwrap(entry_of(manifest, keys.member_id)["wrappedDataKey"], keys.x25519_private)
    return Opened(manifest, envelope, data_key, sealing.open_envelope(data_key, envelope))


def payload(now: Opened, plaintext: bytes, random_bytes: RandomBytes) -> dict[str, Any]:
    """§9.4: the body of push: `plaintext` as the next version."""
    repo_id, version = now.manifest["repoId"], now.next_version
    envelope = sealing.seal(now.data_key, random_bytes(IV_BYTES), repo_id, version, now.epoch, plaintext)
    return {"repoId": repo_id, "envelope": envelope, "expectedPayloadVersion": version - 1}


def invitation(keys: Keys, now: Opened, request: Mapping[str, Any], random_bytes: RandomBytes) -> dict[str, Any]:
    """§9.5: the body of addMember for the sender of an invite request.

    It has no key binding: only the new member can sign that (:func:`binding_of`).
    """
    wrapper = _Wrapper(keys, now.manifest["repoId"], now.data_key, now.epoch, random_bytes)
    entry = wrapper.entry(request["ed25519PublicKey"], request["x25519PublicKey"], None)
    return {"repoId": wrapper.repo_id, "member": entry}


def binding_of(keys: Keys, now: Opened, random_bytes: RandomBytes) -> dict[str, Any]:
    """§9.5: the body of the push that puts a new member's key binding into its entry; the payload stays the same."""
    own = {**entry_of(now.manifest, keys.member_id), "keyBindingSig": keys.binding()}
    roster = [own if entry["ed25519PublicKey"] == keys.member_id else entry for entry in now.manifest["members"]]
    return {**payload(now, now.plaintext, random_bytes), "rotatedMembers": roster}


def removal(keys: Keys, now: Opened, removed_id: str, random_bytes: RandomBytes) -> dict[str, Any]:
    """§9.6: the body of removeMember: a new data key and epoch, wrapped for everybody who stays."""
    entry_of(now.manifest, removed_id)
    repo_id, epoch, data_key = now.manifest["repoId"], now.epoch + 1, random_bytes(KEY_BYTES)
    staying = [entry for entry in now.manifest["members"] if entry["ed25519PublicKey"] != removed_id]
    check_bindings(staying)
    envelope = sealing.seal(data_key, random_bytes(IV_BYTES), repo_id, now.next_version, epoch, now.plaintext)
    wrapper = _Wrapper(keys, repo_id, data_key, epoch, random_bytes)
    return {
        "repoId": repo_id,
        "removedMemberId": removed_id,
        "rotatedEnvelope": envelope,
        "rewrappedMembers": [wrapper.wrapped(entry) for entry in staying],
        "newKeyEpoch": epoch,
    }


def check_bindings(entries: Sequence[Mapping[str, Any]]) -> None:
    """Raise :class:`CannotOpen` if an entry has a key binding that its member did not sign (§8.5)."""
    for entry in entries:
        if entry.get("keyBindingSig") is not None and not binding_holds(entry):
            raise CannotOpen(f"The key binding of {entry['ed25519PublicKey']} is wrong: somebody swapped its keys.")


def binding_holds(entry: Mapping[str, Any]) -> bool:
    """Whether the member of this entry signed that its two keys belong together (§8.5)."""
    member_id, public_key = entry["ed25519PublicKey"], entry["x25519PublicKey"]
    try:
        raw_key, signature = b64_decode(member_id), b64_decode(entry["keyBindingSig"])
    except EncodingError:
        return False
    return best_engine().verify(raw_key, sealing.binding_message(member_id, public_key), signature)


# --- Join tokens and addresses (§10) --------------------------------------------------------------------------
#
# The joiner hands an *invite request*, its two public keys, to a member; the member puts it on the roster and hands
# back a *locator*, which says where the repository is.  Neither holds a secret, but whoever can swap the first one on
# its way is let in instead of the joiner: pass it over a channel that both trust, or compare the keys.
#
# A token is base64url without padding over compact JSON.  The order of members is fixed, so one value has one token;
# a decoder accepts any order, and members that it does not know.

INVITE_REQUEST = {"v": int, "ed25519PublicKey": str, "x25519PublicKey": str}
LOCATOR = {"v": int, "host": str, "repoId": str}
INTRODUCTION = ("omp.inviter", "omp.dataKey", "omp.roster")
"""What a locator says of the inviter's view (§13.5), so that the first pull is checked too: all of them or none."""
LOCATOR_OPTIONAL = {"schemeId": str, "keyEpoch": int, "issuerJwksUrl": str, **dict.fromkeys(INTRODUCTION, str)}
_ADDRESS_SCHEME = "avp://"


class BadToken(VaultError):
    """A join token or an address cannot be used; the text says why."""


class Address(NamedTuple):
    """``avp://host/repoId`` (§10.3): `host` is a host or host:port, `repo_id` the exact id of the repository."""

    host: str
    repo_id: str

    def __str__(self) -> str:
        return f"{_ADDRESS_SCHEME}{self.host}/{self.repo_id}"


def parse_address(text: str) -> Address:
    """The address that `text` writes; :class:`BadToken` otherwise.

    >>> parse_address("avp://vault.example:8443/3b1f").host
    'vault.example:8443'
    """
    host, _, repo_id = text.removeprefix(_ADDRESS_SCHEME).partition("/")
    if not text.startswith(_ADDRESS_SCHEME) or not host or not repo_id:
        raise BadToken(f"{text!r} is not the address of a repository, which looks like avp://host/repoId.")
    return Address(host, checked_repo_id(repo_id))


def checked_repo_id(text: str) -> str:
    """`text` itself, if it can be the id of a repository; :class:`BadToken` otherwise."""
    if not text:
        raise BadToken("The id of a repository must not be empty.")
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which the command line makes of bytes that are not UTF-8
        raise BadToken("The id of a repository must be UTF-8.") from None
    return text


def encode_invite_request(ed25519_public_key: str, x25519_public_key: str) -> str:
    """§10.1: the token that a joiner hands to a member; keys in base64."""
    return _encoded({"v": 1, "ed25519PublicKey": ed25519_public_key, "x25519PublicKey": x25519_public_key})


def decode_invite_request(token: str) -> dict[str, Any]:
    """The invite request in `token`, whose keys have 32 bytes each; :class:`BadToken` otherwise."""
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
    address: Address,
    scheme_id: str | None = None,
    key_epoch: int | None = None,
    issuer_jwks_url: str | None = None,
    introduction: Mapping[str, str] | None = None,
) -> str:
    """§10.2: the token that tells a new member where the repository is; `introduction` holds :data:`INTRODUCTION`."""
    value = {"v": 1, "host": address.host, "repoId": address.repo_id}
    optional = {"schemeId": scheme_id, "keyEpoch": key_epoch, "issuerJwksUrl": issuer_jwks_url}
    given = {name: each for name, each in optional.items() if each is not None}
    return _encoded(value | given | dict(introduction or {}))


def decode_locator(token: str) -> dict[str, Any]:
    """The locator in `token`; :class:`BadToken` otherwise."""
    value = _decoded(token, LOCATOR, LOCATOR_OPTIONAL)
    held = [name for name in (*INTRODUCTION, "keyEpoch") if name in value]
    if any(name in value for name in INTRODUCTION) and len(held) <= len(INTRODUCTION):
        raise BadToken(f"A locator with {held[0]} must have keyEpoch, {' and '.join(INTRODUCTION)} too.")
    return value


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
        # type(): to isinstance, True is an int.
        if type(value.get(name)) is not kind:
            raise BadToken(f"This is another kind of join token: its {name} is missing or of the wrong type.")
    for name, kind in optional.items():
        if name in value and type(value[name]) is not kind:
            raise BadToken(f"The join token's {name} is of the wrong type.")
    if value["v"] != 1:
        raise BadToken(f"This is a join token of version {value['v']}, and this client knows version 1.")
    return value
