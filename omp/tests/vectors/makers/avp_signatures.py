"""The vectors of omp.wrap: whose signature holds over which wrap, and the fingerprints (§13.1 to §13.3)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from omp.protocols.avp import member, sealing, vouching
from omp.protocols.avp.member import Keys
from omp.rules.encodings import b64_decode, b64_encode
from omp.tests.vectors.makers.avp import REPO, FixedBytes


def generate() -> dict[str, Any]:
    """Relative path → document."""
    return {
        "avp/wrap-signature.json": {
            "kind": "avp/wrap-signature",
            "description": "The member `omp.wrap` of `entry`, in the repository `repoId` and the epoch `keyEpoch`. "
            "`message` (hex) is the wrap message of this entry in this place. `by` is the wrapper whose signature "
            "holds; null: the omp.wrap is forged. `ed25519Seed` is the wrapper's.",
            "spec": "avp §13.1",
            "cases": list(_wrap_cases()),
        },
        "avp/fingerprint.json": {
            "kind": "avp/fingerprint",
            "description": "The fingerprints of a state: of `dataKey` (base64) in `keyEpoch`, of `envelope`, of the "
            "roster `members` (pairs of ed25519PublicKey and x25519PublicKey, in its order), and of the state.",
            "spec": "avp §13.2, §13.3",
            "cases": list(_fingerprint_cases()),
        },
    }


def _entry(keys: Keys, random: FixedBytes, epoch: int) -> dict[str, Any]:
    recipient = b64_decode(keys.x25519_public_key)
    return {
        "ed25519PublicKey": keys.member_id,
        "x25519PublicKey": keys.x25519_public_key,
        "wrappedDataKey": sealing.wrap(random(32), recipient, random(32), random(12)),
        "keyEpoch": epoch,
        "keyBindingSig": keys.binding(),
    }


def _case(name: str, repo_id: str, epoch: int, entry: Any, by: str | None) -> dict[str, Any]:
    message = vouching.wrap_message(repo_id, epoch, entry).hex()
    return {"name": name, "repoId": repo_id, "keyEpoch": epoch, "entry": entry, "message": message, "by": by}


def _wrap_cases() -> Iterable[dict[str, Any]]:
    random = FixedBytes("omp.wrap")
    alice, bob = member.new_keys(random), member.new_keys(random)
    entry = _entry(bob, random, 3)
    good = vouching.signed(entry, REPO, alice.member_id, alice.sign)
    seed = {"ed25519Seed": b64_encode(alice.ed25519_seed)}
    yield _case("wrapped by another member", REPO, 3, good, alice.member_id) | seed
    for name, repo_id, epoch in (
        ("a creator's own", "plans", 0),
        ("an id that is not ASCII", "пример/\U0001f511", 1),
        ("the largest epoch", "r", 2**63 - 1),
    ):
        own = vouching.signed(_entry(alice, random, epoch), repo_id, alice.member_id, alice.sign)
        yield _case(name, repo_id, epoch, own, alice.member_id) | seed
    renamed = good | {"later": [1], "keyBindingSig": None}
    yield _case("what is not signed may change", REPO, 3, renamed, alice.member_id) | seed

    other = vouching.signed(_entry(alice, random, 3), REPO, alice.member_id, alice.sign)
    yield _case("forged: replayed from another repository", "another", 3, good, None)
    yield _case("forged: replayed from another epoch", REPO, 4, good | {"keyEpoch": 4}, None)
    for name, change in (
        ("replayed from another member's entry", {"omp.wrap": other["omp.wrap"]}),
        ("another X25519 key", {"x25519PublicKey": alice.x25519_public_key}),
        ("another member id", {"ed25519PublicKey": alice.member_id}),
        (
            "the two keys swapped",
            {"ed25519PublicKey": bob.x25519_public_key, "x25519PublicKey": bob.member_id},
        ),
        ("another wrapped key", {"wrappedDataKey": _entry(bob, random, 3)["wrappedDataKey"]}),
        ("by another member than signed it", {"omp.wrap": good["omp.wrap"] | {"by": bob.member_id}}),
        ("another label", {"omp.wrap": _over(alice, vouching.wrap_message(REPO, 3, entry, "omp.wrap/v2"))}),
        ("the fields without their lengths", {"omp.wrap": _over(alice, _unframed(entry))}),
        ("no signature", {"omp.wrap": {"by": alice.member_id}}),
        ("a signature that is not base64", {"omp.wrap": {"by": alice.member_id, "sig": "%"}}),
        ("a signer that is no key", {"omp.wrap": good["omp.wrap"] | {"by": "alice"}}),
        ("a signer that is no text", {"omp.wrap": good["omp.wrap"] | {"by": 1}}),
        ("no object", {"omp.wrap": good["omp.wrap"]["sig"]}),
    ):
        yield _case(f"forged: {name}", REPO, 3, good | change, None)


def _over(keys: Keys, message: bytes) -> dict[str, str]:
    return {"by": keys.member_id, "sig": keys.sign(message)}


def _unframed(entry: Any) -> bytes:
    """The fields of a wrap message one after the other, as an implementer might do it who forgets the lengths."""
    message = vouching.wrap_message(REPO, 3, entry)
    fields = []
    while message:
        size = int.from_bytes(message[:4], "big")
        fields.append(message[4 : 4 + size])
        message = message[4 + size :]
    return b"".join(fields)


def _fingerprint_cases() -> Iterable[dict[str, Any]]:
    random = FixedBytes("fingerprint")
    members = [[keys.member_id, keys.x25519_public_key] for keys in (member.new_keys(random) for _ in range(3))]
    for name, repo_id, version, epoch, roster in (
        ("one member", "plans", 1, 0, members[:1]),
        ("three members", REPO, 7, 2, members),
        ("the same in another order: only the roster's fingerprint is another", REPO, 7, 2, members[::-1]),
        ("an id that is not ASCII, the largest counters", "ключ", 2**63 - 1, 2**63 - 1, members[:2]),
    ):
        random = FixedBytes("fingerprint of a state")
        data_key = random(32)
        envelope = sealing.seal(data_key, random(12), repo_id, version, epoch, b"the plan")
        yield {
            "name": name,
            "repoId": repo_id,
            "payloadVersion": version,
            "keyEpoch": epoch,
            "dataKey": b64_encode(data_key),
            "envelope": envelope,
            "members": roster,
            **fingerprints(repo_id, version, epoch, data_key, envelope, roster),
        }


def fingerprints(
    repo_id: str, version: int, epoch: int, data_key: bytes, envelope: Any, members: list[list[str]]
) -> dict[str, str]:
    """The four fingerprints of a case; `members` are pairs of keys."""
    key = vouching.data_key_fingerprint(repo_id, epoch, data_key)
    sealed = vouching.envelope_fingerprint(envelope)
    entries = [{"ed25519PublicKey": member_id, "x25519PublicKey": x25519} for member_id, x25519 in members]
    *_, roster = vouching.roster_fingerprints(repo_id, entries)
    state = vouching.state_fingerprint(repo_id, version, epoch, key, sealed, {each[0]: each[1] for each in members})
    names = ("dataKeyFingerprint", "envelopeFingerprint", "rosterFingerprint", "stateFingerprint")
    return dict(zip(names, (key, sealed, roster, state), strict=True))
