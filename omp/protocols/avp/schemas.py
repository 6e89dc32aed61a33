"""The AVP messages as JSON Schemas, and the base of all that the vault refuses (§2, §6).

Pure: neither store nor web.  A schema names the members that the server uses and checks their types; all other
members pass, and are kept and returned as sent.  Strings that the server does not use are opaque, so they have no
pattern: published test suites send ``"iv"`` for an IV, and a member id that is no key belongs to a member who can
never log in, which harms nobody.

Three bounds are choices of §2.1: counters are 0 … 2**63-1, because the AAD holds them as int64; what a client *says
it knows* may be any int64, because "-1: nothing yet" is a natural thing to say; an id that stands in a path has at
most 512 characters, which fit the request line even if each is four bytes of UTF-8, percent-encoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from omp.rules.schema import BOOLEAN, TEXT, TEXT_OR_NULL, Schema, described, list_of, record

MEANINGS: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "the request does not fit, or contradicts itself or what is stored"),
    "unauthorized": (401, "no token, an unknown or expired one, or a challenge that was not met"),
    "forbidden": (403, "the caller is not a member of the repository"),
    "policy_denied": (403, "the caller is a member, and this server's policy keeps the operation from it"),
    "not_found": (404, "no such repository, or no such member of it"),
    "conflict": (409, "the member is there already with other keys, or its data key is of another epoch"),
    "duplicate_repo": (409, "a repository with this id exists"),
    "too_large": (413, "the envelope or the manifest is larger than this server keeps"),
    "quota_exceeded": (429, "the repository or its creator has all it may have"),
}
"""§6: error code -> (status, meaning), as the documentation of the routes shows them."""


class VaultError(Exception):
    """What the vault refuses, on either side of the wire; the text is one sentence for the caller.

    The server's half raises those of :mod:`.repository` and :mod:`.sessions`, which ``routes`` translates into answers.
    The client's half raises :class:`~.sealing.CannotOpen` and :class:`~.member.BadToken`.
    """


_INT64 = 2**63
ID: Schema = {"type": "string", "minLength": 1, "maxLength": 512}
COUNTER: Schema = {"type": "integer", "format": "int64", "minimum": 0, "maximum": _INT64 - 1}
ANY_INT64: Schema = {"type": "integer", "format": "int64", "minimum": -_INT64, "maximum": _INT64 - 1}

_REPO_ID = described(ID, "the repository, as its creator named it")
_THE_SAME_REPO_ID = described(ID, "the repository in the path")
_SCHEME = described(TEXT, "how data keys are wrapped: X25519-HKDF-SHA256-AESGCM-v1")
_IV = described(TEXT, "base64, 12 bytes")
_VERSION = described(COUNTER, "rises with every write of the envelope")
_EPOCH = described(COUNTER, "names the data key; rises when the members change over to a new one")
_KEY = described(TEXT, "the caller's Ed25519 public key: base64, 32 bytes")

WRAPPED_KEY = record(
    "The repository's data key, encrypted to one member.",
    {
        "schemeId": _SCHEME,
        "ephemeralPublicKey": described(TEXT, "the X25519 public key that was made for this wrap: base64, 32 bytes"),
        "iv": _IV,
        "ciphertext": described(TEXT, "the encrypted data key and the tag: base64, 48 bytes"),
    },
)
MEMBER_ENTRY = record(
    "A member: the two public keys, and the data key wrapped to the second. Its id is the first.",
    {
        "ed25519PublicKey": described(ID, "the member id: the Ed25519 public key in base64, 32 bytes"),
        "x25519PublicKey": described(TEXT, "the key to which data keys are wrapped: base64, 32 bytes"),
        "wrappedDataKey": WRAPPED_KEY,
        "keyEpoch": described(COUNTER, "the epoch of the data key in wrappedDataKey"),
    },
    {"keyBindingSig": described(TEXT_OR_NULL, "the member's signature that binds both keys (avp §8.5); null: none")},
)
ENVELOPE = record(
    "The encrypted payload. Unknown members are kept.",
    {
        "repoId": _REPO_ID,
        "payloadVersion": _VERSION,
        "keyEpoch": _EPOCH,
        "iv": _IV,
        "ciphertext": described(TEXT, "the encrypted payload and the tag, in base64"),
    },
)
MANIFEST = record(
    "The repository: its members, and the version and key epoch it stands at. Unknown members are kept.",
    {
        "repoId": _REPO_ID,
        "schemeId": _SCHEME,
        "keyEpoch": _EPOCH,
        "payloadVersion": _VERSION,
        "members": list_of(MEMBER_ENTRY, "the roster: each member once; the order means nothing"),
    },
    # null: what clients in typed languages write for an absent optional member.
    {"shareRefreshTokens": described({"type": ["boolean", "null"]}, "kept for clients; the server makes no use of it")},
)

CHALLENGE = record("Who asks for a nonce.", {"ed25519PublicKey": _KEY})
NONCE = record(
    "A nonce to sign.",
    {"nonce": described(TEXT, "32 random bytes in base64; good for one attempt, by this key, within 2 minutes")},
)
REDEMPTION = record(
    "A signed nonce.",
    {
        "ed25519PublicKey": _KEY,
        "nonce": described(TEXT, "as it was given"),
        "signature": described(TEXT, "Ed25519 over the 32 bytes that nonce encodes: base64, 64 bytes"),
    },
)
TOKEN = record(
    "A token for requests to /v1/repos.",
    {
        "token": described(TEXT, "to be sent as Authorization: Bearer <token>"),
        "expiresAt": described(COUNTER, "until when it is good, in epoch milliseconds"),
    },
)

CREATE = record(
    "A new repository, whose sole member is the caller.", {"manifest": MANIFEST, "initialEnvelope": ENVELOPE}
)
PULL = record(
    "Which payload the caller has.",
    {
        "repoId": _THE_SAME_REPO_ID,
        "knownPayloadVersion": described(ANY_INT64, "the version that the caller has; -1 if it has none"),
    },
)
PULLED = record(
    "The repository as it is at one moment.",
    {
        "manifest": MANIFEST,
        "envelope": {"anyOf": [ENVELOPE, {"type": "null"}], "description": "null if unchanged is true"},
        "unchanged": described(BOOLEAN, "whether the caller has the current version"),
    },
)
PUSH = record(
    "A new envelope, and the version that it is to replace.",
    {
        "repoId": _THE_SAME_REPO_ID,
        "envelope": ENVELOPE,
        "expectedPayloadVersion": described(
            ANY_INT64, "the version that the caller has changed; another is a conflict"
        ),
    },
    {
        "rotatedMembers": list_of(
            MEMBER_ENTRY,
            "the new roster, where the data key or the members change; null: it stays",
            type=["array", "null"],
        )
    },
)
PUSHED = record(
    "What became of a push, and where the repository stands.",
    {
        "accepted": described(BOOLEAN, "whether the envelope was replaced"),
        "conflict": described(BOOLEAN, "whether another version was current than the expected one: pull, then push"),
        "payloadVersion": described(COUNTER, "the current version"),
        "keyEpoch": described(COUNTER, "the current epoch"),
    },
)
ADD_MEMBER = record("A member to be put on the roster.", {"repoId": _THE_SAME_REPO_ID, "member": MEMBER_ENTRY})
REMOVE_MEMBER = record(
    "A member to be taken off the roster, with a new data key for those who stay.",
    {
        "repoId": _THE_SAME_REPO_ID,
        "removedMemberId": described(ID, "the id of the member that goes"),
        "rotatedEnvelope": ENVELOPE,
        "rewrappedMembers": list_of(MEMBER_ENTRY, "the new roster, without that member: the new data key for each"),
        "newKeyEpoch": described(COUNTER, "the epoch of the new data key: greater than the current one"),
    },
)
_LIMITS = record(
    "How much this vault keeps (avp §7).",
    {
        "maxEnvelopeBytes": described(COUNTER, "bytes of an envelope as it is sent, and of a manifest"),
        "maxMembers": described(COUNTER, "members of a repository"),
        "maxReposPerCreator": described(COUNTER, "repositories that a member may have created"),
    },
)
WELL_KNOWN = record(
    "What this vault speaks. Clients ignore members that they do not know.",
    {
        "profiles": list_of(TEXT, "the bindings of the protocol that it serves: http-json"),
        "protocolVersion": described(TEXT, "the version of AVP"),
        "limits": _LIMITS,
    },
)

ERROR = record(
    "What the vault refuses (avp §6).",
    {
        "error": described(TEXT, "one sentence for people"),
        "code": described(TEXT, "what happened, as a word for programs"),
    },
    {"detail": described(TEXT, "everything that does not fit, where it is more than one place")},
)


NAMES: Mapping[str, Schema] = {
    "Manifest": MANIFEST,
    "MemberEntry": MEMBER_ENTRY,
    "WrappedKey": WRAPPED_KEY,
    "Envelope": ENVELOPE,
    "Challenge": CHALLENGE,
    "Nonce": NONCE,
    "Redemption": REDEMPTION,
    "VaultToken": TOKEN,
    "NewRepo": CREATE,
    "Pull": PULL,
    "Pulled": PULLED,
    "Push": PUSH,
    "Pushed": PUSHED,
    "MemberAddition": ADD_MEMBER,
    "MemberRemoval": REMOVE_MEMBER,
    "VaultInfo": WELL_KNOWN,
    "VaultLimits": _LIMITS,
}
"""What OpenAPI calls them."""
PARAMETERS = {"repoId": "the repository", "memberId": "the member: its Ed25519 public key in base64, percent-encoded"}
"""What the {names} in paths stand for."""


# --- Examples, for the documentation page ---------------------------------------------------------------------

_ALICE, _BOB = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="
_X25519 = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
_REPO: Mapping[str, Any] = {"repoId": "plans"}


def _entry_example(member_id: str, epoch: int) -> Mapping[str, Any]:
    wrapped = {"schemeId": "X25519-HKDF-SHA256-AESGCM-v1", "ephemeralPublicKey": _X25519, "iv": "…", "ciphertext": "…"}
    keys = {"ed25519PublicKey": member_id, "x25519PublicKey": _X25519}
    return {**keys, "wrappedDataKey": wrapped, "keyEpoch": epoch, "keyBindingSig": None}


def _envelope_example(version: int, epoch: int) -> Mapping[str, Any]:
    return {**_REPO, "payloadVersion": version, "keyEpoch": epoch, "iv": "…", "ciphertext": "…"}


_MANIFEST_EXAMPLE = {"schemeId": "X25519-HKDF-SHA256-AESGCM-v1", "keyEpoch": 0, "payloadVersion": 1}
EXAMPLES: Mapping[str, Any] = {
    "challenge": {"ed25519PublicKey": _ALICE},
    "token": {"ed25519PublicKey": _ALICE, "nonce": "…", "signature": "…"},
    "create_repo": {
        "manifest": {**_REPO, **_MANIFEST_EXAMPLE, "members": [_entry_example(_ALICE, 0)]},
        "initialEnvelope": _envelope_example(1, 0),
    },
    "pull": {**_REPO, "knownPayloadVersion": 0},
    "push": {**_REPO, "envelope": _envelope_example(2, 0), "expectedPayloadVersion": 1},
    "add_member": {**_REPO, "member": _entry_example(_BOB, 0)},
    "remove_member": {
        **_REPO,
        "removedMemberId": _BOB,
        "rotatedEnvelope": _envelope_example(3, 1),
        "rewrappedMembers": [_entry_example(_ALICE, 1)],
        "newKeyEpoch": 1,
    },
}
"""Handler name -> the body of a request that it takes."""


# --- Sizes (§7) -----------------------------------------------------------------------------------------------
#
# An envelope is bounded as it was received, white space and escapes included: that is what the sender can count, and
# what the server had to hold.  The parser does not say how long a value was, so the text is walked a second time; only
# a body that is larger than the bound is.

_decode_at = json.JSONDecoder().raw_decode
_between = re.compile(r"[ \t\n\r:,]*").match


def size_as_received(body: bytes, member: str) -> int:
    """The size in bytes of the value of `member` in the JSON object `body`, white space and escapes as they were sent.

    The caller must have parsed `body` before and found `member` in it.

    >>> size_as_received(b'{"a": "x", "envelope": { "iv" : ""}}', "envelope")
    12
    """
    text = body.decode()
    at = text.index("{") + 1
    name = None
    while name != member:
        name, at = _decode_at(text, _end_of_gap(text, at))
        start = _end_of_gap(text, at)
        _, at = _decode_at(text, start)
    return len(text[start:at].encode())


def _end_of_gap(text: str, at: int) -> int:
    gap = _between(text, at)
    assert gap is not None  # it matches the empty string
    return gap.end()
