"""A vault repository as a value, and what each operation makes of it (avp.md, "Operations").

Pure: neither store nor web, no clock.  A :class:`Repository` is one row of the store.  Each operation is a function
from the repository as it stands (and what the request brings) to the repository as it shall stand, or
:class:`~omp.protocols.avp.messages.Refused`; the routes call it inside the transaction that loads and keeps the row.

The manifest is kept in parts, so that no write encodes again what it does not change and a pull parses no JSON: the
two counters and the members' digests stand as bytes in front; the roster is the JSON array ready to be sent; the
rest of the manifest, with every member of it that the server does not know, is JSON as it came.

Rules that only this file owns: which writes raise which counter, who must stay on a roster, who may bring members
in, and when a repeated removal is the same removal.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from omp.protocols.avp.messages import Refused
from omp.rules.json_text import compact

_ROW = struct.Struct(">QQ32s32sII")  # version, epoch, creator, removal; bytes of digests and of roster
_MEMBER = 64  # bytes of a member's digests: of its id, and of its X25519 key
NO_REMOVAL = bytes(32)


def encoded(value: Any) -> bytes:
    """`value` as the JSON that is stored and sent."""
    return compact(value).encode()


def digest_of(text: str) -> bytes:
    """The 32 bytes that stand for a member's id or key, whatever string it is."""
    return hashlib.sha256(text.encode()).digest()


class Roster(NamedTuple):
    """The members of a repository, ready to be stored: for each in order two `digests`, and their JSON `array`."""

    digests: bytes
    array: bytes

    @classmethod
    def of(cls, entries: Sequence[Any]) -> Roster:
        """The roster of `entries`; a member that stands there twice is refused."""
        ids = [digest_of(entry["ed25519PublicKey"]) for entry in entries]
        if len(set(ids)) < len(ids):
            raise Refused("bad_request", "A roster must hold each member once.")
        keys = [digest_of(entry["x25519PublicKey"]) for entry in entries]
        return cls(b"".join(digest for pair in zip(ids, keys, strict=True) for digest in pair), encoded(entries))

    @property
    def size(self) -> int:
        """How many members."""
        return len(self.digests) // _MEMBER

    def _at(self, member: bytes) -> int:
        """Where the digests of the member whose id has the digest `member` begin, or -1."""
        at = self.digests.find(member)
        while at > 0 and at % _MEMBER:  # these bytes stand elsewhere than at a beginning: look on
            at = self.digests.find(member, at + 1)
        return at

    def holds(self, member: bytes) -> bool:
        """Whether the member whose id has the digest `member` is on the roster."""
        return self._at(member) >= 0

    def plus(self, added: Roster) -> Roster:
        """This roster with its one member on `added` at the end, itself where that member has these keys already."""
        at = self._at(added.digests[:32])
        if at < 0:
            joint = b"," if self.digests else b""
            return Roster(self.digests + added.digests, b"%b%b%b" % (self.array[:-1], joint, added.array[1:]))
        if self.digests[at : at + _MEMBER] != added.digests:
            raise Refused("conflict", "The member is there already, with another x25519PublicKey.")
        return self

    def newcomers(self, before: Roster) -> bool:
        """Whether anybody is on this roster who was not on the one `before`."""
        return any(not before.holds(self.digests[at : at + 32]) for at in range(0, len(self.digests), _MEMBER))

    def entry(self, member_id: str) -> Any:
        """The entry of a member, None where there is none."""
        if not self.holds(digest_of(member_id)):
            return None
        return next(entry for entry in json.loads(self.array) if entry["ed25519PublicKey"] == member_id)


class Repository(NamedTuple):
    """One repository as it is stored.

    `version` and `epoch` are the manifest's payloadVersion and keyEpoch; `creator` is the digest of the member that
    made it; `removal` is the digest of the request of the last write, if that was a removal, or 32 zero bytes;
    `rest` is the JSON of the manifest's other members without its opening brace.
    """

    version: int
    epoch: int
    creator: bytes
    removal: bytes
    roster: Roster
    rest: bytes

    def row(self) -> bytes:
        """The repository as the bytes that are stored."""
        digests, array = self.roster
        head = _ROW.pack(self.version, self.epoch, self.creator, self.removal, len(digests), len(array))
        return b"".join((head, digests, array, self.rest))

    @classmethod
    def of_row(cls, row: bytes) -> Repository:
        """The repository that :meth:`row` made `row` of."""
        version, epoch, creator, removal, digests_size, array_size = _ROW.unpack_from(row)
        array_at = _ROW.size + digests_size
        rest_at = array_at + array_size
        roster = Roster(row[_ROW.size : array_at], row[array_at:rest_at])
        return cls(version, epoch, creator, removal, roster, row[rest_at:])

    def manifest(self) -> bytes:
        """The manifest as JSON."""
        return b'{"payloadVersion":%d,"keyEpoch":%d,"members":%b,%b' % (
            self.version,
            self.epoch,
            self.roster.array,
            self.rest,
        )


class Policy(NamedTuple):
    """What the operator of the server allows: members a repository, bytes of a manifest, who may bring members in."""

    max_members: int = 500
    max_manifest: int = 4 << 20
    only_creator_invites: bool = False


def _kept(after: Repository, before: Repository, caller: bytes, policy: Policy) -> Repository:
    """`after`, if a server with this policy may keep it: the checks that every write ends with."""
    if after.roster.size > policy.max_members:
        raise Refused("quota_exceeded", f"A repository may have {policy.max_members} members here.")
    if len(after.roster.array) + len(after.rest) > policy.max_manifest:
        raise Refused("too_large", f"A manifest may have {policy.max_manifest} bytes here.")
    if policy.only_creator_invites and caller != after.creator and after.roster.newcomers(before.roster):
        raise Refused("policy_denied", "Only the creator of a repository may bring members in here.")
    return after


def check_agreement(manifest: Any, envelope: Any) -> None:
    """createRepo: the first envelope belongs to the manifest."""
    for name in ("repoId", "payloadVersion", "keyEpoch"):
        if envelope[name] != manifest[name]:
            raise Refused("bad_request", f"The {name} of initialEnvelope must be that of the manifest.")


def created(manifest: Any, caller: bytes, policy: Policy) -> Repository:
    """createRepo: the repository that `manifest` describes; its sole member, the caller, is its creator."""
    apart = ("payloadVersion", "keyEpoch", "members")
    rest = encoded({name: value for name, value in manifest.items() if name not in apart})[1:]
    # int(): JSON writes one integer in several ways, and 1.0 is the 1 that typed clients expect back.
    version, epoch = int(manifest["payloadVersion"]), int(manifest["keyEpoch"])
    made = Repository(version, epoch, caller, NO_REMOVAL, Roster.of(manifest["members"]), rest)
    return _kept(made, made, caller, policy)


def pushed(before: Repository, envelope: Any, roster: Roster | None, caller: bytes, policy: Policy) -> Repository:
    """push, once the expected version was found to be the current one: the manifest follows the envelope."""
    if envelope["payloadVersion"] <= before.version:
        raise Refused("bad_request", f"payloadVersion must rise: it is {before.version} now.")
    if roster is not None and not roster.holds(caller):
        raise Refused("bad_request", "rotatedMembers must still hold the caller.")
    after = before._replace(
        version=int(envelope["payloadVersion"]),
        epoch=int(envelope["keyEpoch"]),
        roster=before.roster if roster is None else roster,
        removal=NO_REMOVAL,
    )
    return _kept(after, before, caller, policy)


def with_member(before: Repository, added: Roster, caller: bytes, policy: Policy) -> Repository:
    """addMember: the one member on `added` on the roster; `before` itself where it is there with the same keys.

    The same keys are the same public keys: a client that tries again wraps the data key anew, and the wrap that is
    stored serves as well.
    """
    roster = before.roster.plus(added)
    if roster is before.roster:
        return before
    return _kept(before._replace(roster=roster, removal=NO_REMOVAL), before, caller, policy)


class Removal(NamedTuple):
    """A remove-member request: `identity` is a digest of the caller and of every byte of it."""

    identity: bytes
    removed: bytes
    envelope: Any
    epoch: int
    roster: Roster


def removal_identity(caller: str, body: bytes) -> bytes:
    """What makes a repeated removal the same one: the same caller sent the same bytes."""
    return hashlib.sha256(caller.encode() + b"\0" + body).digest()


def without_member(before: Repository, removal: Removal, caller: bytes, policy: Policy) -> Repository:
    """removeMember: one step to the new roster, envelope and epoch; `before` itself if that was the last write."""
    if removal.identity == before.removal:
        return before
    if not before.roster.holds(removal.removed):
        raise Refused("not_found", "The member to remove is not a member of the repository.")
    if removal.roster.holds(removal.removed):
        raise Refused("bad_request", "rewrappedMembers must not hold the removed member.")
    if removal.epoch <= before.epoch:
        raise Refused("bad_request", f"newKeyEpoch must rise: the epoch is {before.epoch} now.")
    if removal.envelope["payloadVersion"] <= before.version:
        raise Refused("bad_request", f"The payloadVersion of rotatedEnvelope must rise: it is {before.version} now.")
    # The document names the four refusals above.  Without these two, manifest and envelope could name different
    # keys, and a slip of the caller could lock everybody out for ever.
    if removal.envelope["keyEpoch"] != removal.epoch:
        raise Refused("bad_request", "The keyEpoch of rotatedEnvelope must be newKeyEpoch.")
    if caller != removal.removed and not removal.roster.holds(caller):
        raise Refused("bad_request", "rewrappedMembers must still hold the caller.")
    if not removal.roster.size:
        raise Refused("bad_request", "rewrappedMembers must hold somebody: the last member cannot be removed.")
    after = before._replace(
        version=int(removal.envelope["payloadVersion"]),
        epoch=int(removal.epoch),
        removal=removal.identity,
        roster=removal.roster,
    )
    return _kept(after, before, caller, policy)
