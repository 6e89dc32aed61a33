"""A member of a vault: its keys, and the requests it makes of them (avp.md, "Operations" from the client's side).

Pure: bodies of requests out of keys and answers, no network; randomness is an argument (``os.urandom``, or the
fixed bytes of a vector).  ``python -m omp vault`` and the tests send what is made here.

What an honest client does that the server cannot do for it:

* opens an envelope only with the version and epoch that the manifest names, so that the two belong together;
* before it wraps a data key for a member, checks that member's key binding where there is one (it is optional, so a
  server that swaps a key can take the binding away with it: a client must show who has none);
* takes a new data key for every key epoch, so that who was removed cannot read what comes after.

Left out: remembering the highest version and epoch ever seen, which a client needs to notice a server that hands out
an old state as the current one.  And a roster that replaces another (:func:`binding_of`, :func:`removal`) is the one
that was pulled: addMember raises no version, so whom somebody adds between that pull and the write falls out again,
sees it by the 403, and must be added anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from omp.protocols.avp import sealing
from omp.protocols.avp.sealing import IV_BYTES, KEY_BYTES, SCHEME, CannotOpen
from omp.rules.encodings import EncodingError, b64_decode, b64_encode
from omp.rules.engines import best_engine, secret_keys

RandomBytes = Callable[[int], bytes]


class Keys(NamedTuple):
    """A member's secret keys: Ed25519 seed and X25519 private key, 32 bytes each."""

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
        """The Ed25519 signature in base64."""
        return b64_encode(secret_keys().sign(self.ed25519_seed, message))

    def binding(self) -> str:
        """The key binding: this member's signature over both its public keys."""
        return self.sign(sealing.binding_message(self.member_id, self.x25519_public_key))


class Opened(NamedTuple):
    """What a member sees of a repository: the manifest, its data key, the plaintext."""

    manifest: Mapping[str, Any]
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
    """The body of the token request that answers a challenge."""
    try:
        raw = b64_decode(nonce)
    except EncodingError as error:
        raise CannotOpen(f"The server's nonce {error}.") from None
    # A member signs nothing but 32 bytes here, so that no server can get a signature over a text of its choice.  It can
    # get one over another server's nonce, and log in there as the member: the document binds a nonce to no server.
    if len(raw) != KEY_BYTES:
        raise CannotOpen(f"The server's nonce has {len(raw)} bytes, and must have {KEY_BYTES}.")
    return {"ed25519PublicKey": keys.member_id, "nonce": nonce, "signature": keys.sign(raw)}


def _wrapped(data_key: bytes, x25519_public_key: str, random_bytes: RandomBytes) -> dict[str, str]:
    try:
        recipient = b64_decode(x25519_public_key)
    except EncodingError as error:
        raise CannotOpen(f"A member's x25519PublicKey {error}.") from None
    return sealing.wrap(data_key, recipient, random_bytes(KEY_BYTES), random_bytes(IV_BYTES))


def _entry(
    member_id: str, x25519_public_key: str, data_key: bytes, epoch: int, binding: str | None, random_bytes: RandomBytes
) -> dict[str, Any]:
    return {
        "ed25519PublicKey": member_id,
        "x25519PublicKey": x25519_public_key,
        "wrappedDataKey": _wrapped(data_key, x25519_public_key, random_bytes),
        "keyEpoch": epoch,
        "keyBindingSig": binding,
    }


def creation(keys: Keys, repo_id: str, plaintext: bytes, random_bytes: RandomBytes) -> dict[str, Any]:
    """The body of createRepo: a repository at version 1, epoch 0, whose sole member has `keys`."""
    data_key = random_bytes(KEY_BYTES)
    own = _entry(keys.member_id, keys.x25519_public_key, data_key, 0, keys.binding(), random_bytes)
    return {
        "manifest": {"repoId": repo_id, "schemeId": SCHEME, "keyEpoch": 0, "payloadVersion": 1, "members": [own]},
        "initialEnvelope": sealing.seal(data_key, random_bytes(IV_BYTES), repo_id, 1, 0, plaintext),
    }


def entry_of(manifest: Mapping[str, Any], member_id: str) -> Mapping[str, Any]:
    """A member's entry; :class:`CannotOpen` where it has none."""
    for entry in manifest["members"]:
        if entry["ed25519PublicKey"] == member_id:
            return dict(entry)
    raise CannotOpen(f"{member_id} is not a member of this repository.")


def opened(keys: Keys, repo_id: str, manifest: Mapping[str, Any], envelope: Mapping[str, Any]) -> Opened:
    """What the answer to a pull of `repo_id` holds; :class:`CannotOpen` where its parts do not belong together."""
    for name in ("repoId", "payloadVersion", "keyEpoch"):
        if envelope[name] != manifest[name]:
            raise CannotOpen(f"The envelope and the manifest name different values of {name}.")
    if manifest["repoId"] != repo_id:
        raise CannotOpen("The server answered with another repository.")
    data_key = sealing.unwrap(entry_of(manifest, keys.member_id)["wrappedDataKey"], keys.x25519_private)
    return Opened(manifest, data_key, sealing.open_envelope(data_key, envelope))


def payload(now: Opened, plaintext: bytes, random_bytes: RandomBytes) -> dict[str, Any]:
    """The body of push: `plaintext` as the next version."""
    repo_id, version = now.manifest["repoId"], now.next_version
    envelope = sealing.seal(now.data_key, random_bytes(IV_BYTES), repo_id, version, now.epoch, plaintext)
    return {"repoId": repo_id, "envelope": envelope, "expectedPayloadVersion": version - 1}


def invitation(now: Opened, request: Mapping[str, Any], random_bytes: RandomBytes) -> dict[str, Any]:
    """The body of add-member for who sent the invite request; its binding is its own to sign (:func:`binding_of`)."""
    member_id, public_key = request["ed25519PublicKey"], request["x25519PublicKey"]
    entry = _entry(member_id, public_key, now.data_key, now.epoch, None, random_bytes)
    return {"repoId": now.manifest["repoId"], "member": entry}


def binding_of(keys: Keys, now: Opened, random_bytes: RandomBytes) -> dict[str, Any]:
    """The body of the push by which a new member signs its key binding into its entry; the payload stays the same."""
    own = {**entry_of(now.manifest, keys.member_id), "keyBindingSig": keys.binding()}
    roster = [own if entry["ed25519PublicKey"] == keys.member_id else entry for entry in now.manifest["members"]]
    return {**payload(now, now.plaintext, random_bytes), "rotatedMembers": roster}


def removal(now: Opened, removed_id: str, random_bytes: RandomBytes) -> dict[str, Any]:
    """The body of remove-member: a new data key and epoch, wrapped for everybody who stays."""
    entry_of(now.manifest, removed_id)
    repo_id, epoch, data_key = now.manifest["repoId"], now.epoch + 1, random_bytes(KEY_BYTES)
    staying = [entry for entry in now.manifest["members"] if entry["ed25519PublicKey"] != removed_id]
    check_bindings(staying)
    envelope = sealing.seal(data_key, random_bytes(IV_BYTES), repo_id, now.next_version, epoch, now.plaintext)
    rewrapped = [
        {**entry, "wrappedDataKey": _wrapped(data_key, entry["x25519PublicKey"], random_bytes), "keyEpoch": epoch}
        for entry in staying
    ]
    return {
        "repoId": repo_id,
        "removedMemberId": removed_id,
        "rotatedEnvelope": envelope,
        "rewrappedMembers": rewrapped,
        "newKeyEpoch": epoch,
    }


def check_bindings(entries: Sequence[Mapping[str, Any]]) -> None:
    """Raise :class:`CannotOpen` if an entry bears a key binding that its member did not sign."""
    for entry in entries:
        if entry.get("keyBindingSig") is not None and not binding_holds(entry):
            raise CannotOpen(f"The key binding of {entry['ed25519PublicKey']} is wrong: somebody swapped its keys.")


def binding_holds(entry: Mapping[str, Any]) -> bool:
    """Whether the member of this entry signed that its two keys belong together."""
    member_id, public_key = entry["ed25519PublicKey"], entry["x25519PublicKey"]
    try:
        raw_key, signature = b64_decode(member_id), b64_decode(entry["keyBindingSig"])
    except EncodingError:
        return False
    return best_engine().verify(raw_key, sealing.binding_message(member_id, public_key), signature)
