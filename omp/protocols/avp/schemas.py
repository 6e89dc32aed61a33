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

Schema = Mapping[str, Any]

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


def _message(members: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, about: str = "") -> Schema:
    schema = {"type": "object", "required": list(members), "properties": {**members, **(optional or {})}}
    return {**schema, "description": about} if about else schema


_INT64 = 2**63
TEXT: Schema = {"type": "string"}
ID: Schema = {"type": "string", "minLength": 1, "maxLength": 512}
COUNTER: Schema = {"type": "integer", "format": "int64", "minimum": 0, "maximum": _INT64 - 1}
ANY_INT64: Schema = {"type": "integer", "format": "int64", "minimum": -_INT64, "maximum": _INT64 - 1}

WRAPPED_KEY = _message(
    {"schemeId": TEXT, "ephemeralPublicKey": TEXT, "iv": TEXT, "ciphertext": TEXT},
    about="The repository's data key, encrypted to one member.",
)
MEMBER_ENTRY = _message(
    {"ed25519PublicKey": ID, "x25519PublicKey": TEXT, "wrappedDataKey": WRAPPED_KEY, "keyEpoch": COUNTER},
    {"keyBindingSig": {"type": ["string", "null"]}},
    about="A member: the two public keys, and the data key wrapped to the second. Its id is the first.",
)
ENVELOPE = _message(
    {"repoId": ID, "payloadVersion": COUNTER, "keyEpoch": COUNTER, "iv": TEXT, "ciphertext": TEXT},
    about="The encrypted payload. Unknown members are kept.",
)
ROSTER: Schema = {"type": "array", "items": MEMBER_ENTRY}
MANIFEST = _message(
    {"repoId": ID, "schemeId": TEXT, "keyEpoch": COUNTER, "payloadVersion": COUNTER, "members": ROSTER},
    # null: what clients in typed languages write for an absent optional member.
    {"shareRefreshTokens": {"type": ["boolean", "null"]}},
    about="The repository: its members, and the version and key epoch it stands at. Unknown members are kept.",
)

CHALLENGE = _message({"ed25519PublicKey": TEXT})
NONCE = _message({"nonce": TEXT})
REDEMPTION = _message({"ed25519PublicKey": TEXT, "nonce": TEXT, "signature": TEXT})
TOKEN = _message({"token": TEXT, "expiresAt": COUNTER})

CREATE = _message({"manifest": MANIFEST, "initialEnvelope": ENVELOPE})
PULL = _message({"repoId": ID, "knownPayloadVersion": ANY_INT64})
PULLED = _message(
    {"manifest": MANIFEST, "envelope": {"anyOf": [ENVELOPE, {"type": "null"}]}, "unchanged": {"type": "boolean"}}
)
PUSH = _message(
    {"repoId": ID, "envelope": ENVELOPE, "expectedPayloadVersion": ANY_INT64},
    {"rotatedMembers": {"type": ["array", "null"], "items": MEMBER_ENTRY}},
)
PUSHED = _message(
    {"accepted": {"type": "boolean"}, "conflict": {"type": "boolean"}, "payloadVersion": COUNTER, "keyEpoch": COUNTER}
)
ADD_MEMBER = _message({"repoId": ID, "member": MEMBER_ENTRY})
REMOVE_MEMBER = _message(
    {
        "repoId": ID,
        "removedMemberId": ID,
        "rotatedEnvelope": ENVELOPE,
        "rewrappedMembers": ROSTER,
        "newKeyEpoch": COUNTER,
    }
)
_LIMITS = _message({"maxEnvelopeBytes": COUNTER, "maxMembers": COUNTER, "maxReposPerCreator": COUNTER})
WELL_KNOWN = _message({"profiles": {"type": "array", "items": TEXT}, "protocolVersion": TEXT, "limits": _LIMITS})

ERROR = _message(
    {"error": TEXT, "code": TEXT},
    {"detail": TEXT},
    about="error: one sentence; code: what happened; detail: everything that does not fit, where it is more.",
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
