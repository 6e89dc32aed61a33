"""A vault repository as a value, and what each operation makes of it (§4.4 to §4.8).

Pure: neither store nor web, no clock.  A :class:`Repository` is one row of the store.  Each operation is a function
from the repository as it is, and what the request brings, to the repository as it will be; it raises one of the
exceptions below where the request must be refused.  The handlers call it inside the transaction that reads and writes
the row, so what it checks still holds when the row is written.

The manifest is kept in three parts, so that a write does not encode what it leaves alone, and a pull parses no JSON:

* the two counters and the digests of the members, as bytes, in front;
* the roster, as a JSON array ready to be sent;
* the rest of the manifest, with every member that the server does not know, as the JSON that came.

Rules that only this file owns: which writes raise which counter, who must stay on a roster, who may bring members
in, and when a repeated removal is the same removal.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from omp.protocols.avp.schemas import VaultError
from omp.rules.json_text import compact


class InconsistentRequest(VaultError):
    """The request contradicts itself or what is stored."""


class NotAMember(VaultError):
    """The caller is not a member of the repository."""


class InvitationDenied(VaultError):
    """The caller is a member, but the policy of this server does not let it bring members in."""


class RepositoryNotFound(VaultError):
    """There is no repository with this id."""


class MemberNotFound(VaultError):
    """The repository has no such member."""


class DuplicateRepository(VaultError):
    """A repository with this id exists."""


class MemberKeysDiffer(VaultError):
    """The member is there already, with another X25519 key."""


class EpochDiffers(VaultError):
    """The data key of a new member is wrapped for another epoch than the repository is in."""


class RepositoryTooLarge(VaultError):
    """The envelope or the manifest is larger than this server keeps."""


class VaultQuotaExceeded(VaultError):
    """The repository, or its creator, has all that it may have."""


_ROW = struct.Struct(">QQ32s32sII")  # version, epoch, creator, removal; bytes of digests and of roster
_MEMBER = 64  # bytes of digests a member: SHA-256 of its id, SHA-256 of its X25519 key
NO_REMOVAL = bytes(32)
MAX_RISE = 1 << 20
"""By how much a counter may rise in one write.  At a write a second, the range of 2^63 lasts for ever."""


def encoded(value: Any) -> bytes:
    """`value` as the JSON that is stored and sent."""
    return compact(value).encode()


def digest_of(text: str) -> bytes:
    """The 32 bytes that stand for a member's id or key, whatever string it is."""
    return hashlib.sha256(text.encode()).digest()


class Roster(NamedTuple):
    """The members of a repository, ready to be stored: two digests a member, in order, and their JSON array."""

    digests: bytes
    array: bytes

    @classmethod
    def of(cls, entries: Sequence[Any]) -> Roster:
        """The roster of `entries` (MemberEntry); :class:`InconsistentRequest` if a member occurs twice (§2.5)."""
        ids = [digest_of(entry["ed25519PublicKey"]) for entry in entries]
        if len(set(ids)) < len(ids):
            raise InconsistentRequest("A roster must hold each member once.")
        keys = [digest_of(entry["x25519PublicKey"]) for entry in entries]
        return cls(b"".join(digest for pair in zip(ids, keys, strict=True) for digest in pair), encoded(entries))

    @property
    def size(self) -> int:
        """The number of members."""
        return len(self.digests) // _MEMBER

    def _at(self, member: bytes) -> int:
        """The offset of the digests of the member whose id has the digest `member`, or -1."""
        at = self.digests.find(member)
        while at > 0 and at % _MEMBER:  # found, but not where an entry begins: look on
            at = self.digests.find(member, at + 1)
        return at

    def holds(self, member: bytes) -> bool:
        """Whether the member whose id has the digest `member` is on the roster."""
        return self._at(member) >= 0

    def plus(self, added: Roster) -> Roster:
        """This roster with the one member on `added` at its end; itself if that member is there with the same keys.

        Raises :class:`MemberKeysDiffer` if it is there with another X25519 key.
        """
        at = self._at(added.digests[:32])
        if at < 0:
            joint = b"," if self.digests else b""
            return Roster(self.digests + added.digests, b"%b%b%b" % (self.array[:-1], joint, added.array[1:]))
        if self.digests[at : at + _MEMBER] != added.digests:
            raise MemberKeysDiffer("The member is there already, with another x25519PublicKey.")
        return self

    def newcomers(self, before: Roster) -> bool:
        """Whether this roster holds a member who was not on the roster `before`."""
        return not self._ids() <= before._ids()

    def _ids(self) -> set[bytes]:
        return {self.digests[at : at + 32] for at in range(0, len(self.digests), _MEMBER)}

    def entry(self, member_id: str) -> Any:
        """The MemberEntry of a member; None if there is none."""
        if not self.holds(digest_of(member_id)):
            return None
        return next(entry for entry in json.loads(self.array) if entry["ed25519PublicKey"] == member_id)


class Repository(NamedTuple):
    """One repository as it is stored.

    `version` and `epoch` are the manifest's payloadVersion and keyEpoch; `creator` is the digest of the id of the
    member that created it; `removal` is the identity of the last write if that was a removal, and 32 zero bytes
    otherwise; `rest` is the JSON of the manifest's other members without its opening brace.
    """

    version: int
    epoch: int
    creator: bytes
    removal: bytes
    roster: Roster
    rest: bytes

    def row(self) -> bytes:
        """The bytes to store."""
        digests, array = self.roster
        head = _ROW.pack(self.version, self.epoch, self.creator, self.removal, len(digests), len(array))
        return b"".join((head, digests, array, self.rest))

    @classmethod
    def of_row(cls, row: bytes) -> Repository:
        """The repository that is stored as `row`: the inverse of :meth:`row`."""
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


class VaultPolicy(NamedTuple):
    """What the operator allows (§7): members a repository, bytes of a manifest, who may bring members in."""

    max_members: int = 500
    max_manifest: int = 4 << 20
    only_creator_invites: bool = False


def _allowed(after: Repository, before: Repository, caller: bytes, policy: VaultPolicy) -> Repository:
    """Check that the policy allows `after`, at the end of every write (§7).  Returns `after`."""
    if after.roster.size > policy.max_members:
        raise VaultQuotaExceeded(f"A repository may have {policy.max_members} members here.")
    if len(after.roster.array) + len(after.rest) > policy.max_manifest:
        raise RepositoryTooLarge(f"A manifest may have {policy.max_manifest} bytes here.")
    if policy.only_creator_invites and caller != after.creator and after.roster.newcomers(before.roster):
        raise InvitationDenied("Only the creator of a repository may bring members in here.")
    return after


def check_agreement(manifest: Any, envelope: Any) -> None:
    """§4.4: raise :class:`InconsistentRequest` unless the first envelope belongs to the manifest."""
    for name in ("repoId", "payloadVersion", "keyEpoch"):
        if envelope[name] != manifest[name]:
            raise InconsistentRequest(f"The {name} of initialEnvelope must be that of the manifest.")


def created(manifest: Any, caller: bytes, policy: VaultPolicy) -> Repository:
    """§4.4 createRepo: the repository that `manifest` describes; `caller`, its sole member, is its creator."""
    apart = ("payloadVersion", "keyEpoch", "members")
    rest = encoded({name: value for name, value in manifest.items() if name not in apart})[1:]
    # int(): JSON writes one integer in several ways, and 1.0 is the 1 that typed clients expect back.
    version, epoch = int(manifest["payloadVersion"]), int(manifest["keyEpoch"])
    made = Repository(version, epoch, caller, NO_REMOVAL, Roster.of(manifest["members"]), rest)
    return _allowed(made, made, caller, policy)


def _require_rise(name: str, before: int, after: int) -> None:
    """§2.1: raise :class:`InconsistentRequest` unless a counter rises, by at most :data:`MAX_RISE`.

    Otherwise one member could use the range up, and nobody could write any more.
    """
    if after <= before:
        raise InconsistentRequest(f"{name} must rise: it is {before} now.")
    if after - before > MAX_RISE:
        raise InconsistentRequest(f"{name} may rise by at most {MAX_RISE} in one write: it is {before} now.")


def pushed(before: Repository, envelope: Any, roster: Roster | None, caller: bytes, policy: VaultPolicy) -> Repository:
    """§4.6 push, where the expected version is the current one: the counters follow the envelope."""
    _require_rise("payloadVersion", before.version, envelope["payloadVersion"])
    epoch = envelope["keyEpoch"]
    if roster is None and epoch != before.epoch:
        raise InconsistentRequest(f"A push without rotatedMembers must keep the keyEpoch, which is {before.epoch}.")
    if epoch < before.epoch:
        raise InconsistentRequest(f"keyEpoch must not fall: it is {before.epoch} now.")
    if epoch != before.epoch:
        _require_rise("keyEpoch", before.epoch, epoch)
    if roster is not None and not roster.holds(caller):
        raise InconsistentRequest("rotatedMembers must still hold the caller.")
    after = before._replace(
        version=int(envelope["payloadVersion"]),
        epoch=int(envelope["keyEpoch"]),
        roster=before.roster if roster is None else roster,
        removal=NO_REMOVAL,
    )
    return _allowed(after, before, caller, policy)


def with_member(before: Repository, added: Roster, epoch: int, caller: bytes, policy: VaultPolicy) -> Repository:
    """§4.7 addMember: the one member on `added`, with the data key of `epoch`, joins the roster.

    Returns `before` itself if it is there with the same keys.

    Only the public keys are compared: a client that tries again wraps the data key anew, under another ephemeral key,
    and the stored wrap serves it as well.
    """
    roster = before.roster.plus(added)
    if roster is before.roster:
        return before
    if epoch != before.epoch:  # the inviter has not seen that the data key has changed: its wrap opens nothing
        raise EpochDiffers(f"The entry must be wrapped for the present keyEpoch, {before.epoch}.")
    return _allowed(before._replace(roster=roster, removal=NO_REMOVAL), before, caller, policy)


class Removal(NamedTuple):
    """A removeMember request: `identity` is that of :func:`removal_identity`, `removed` the digest of a member's id."""

    identity: bytes
    removed: bytes
    envelope: Any
    epoch: int
    roster: Roster


def removal_identity(caller: str, body: bytes) -> bytes:
    """§4.8: the digest by which a repeated removal is known: the same caller sent the same bytes."""
    return hashlib.sha256(caller.encode() + b"\0" + body).digest()


def without_member(before: Repository, removal: Removal, caller: bytes, policy: VaultPolicy) -> Repository:
    """§4.8 removeMember: new roster, version and epoch in one step; `before` itself if `removal` was the last write."""
    if removal.identity == before.removal:
        return before
    if not before.roster.holds(removal.removed):
        raise MemberNotFound("The member to remove is not a member of the repository.")
    if removal.roster.holds(removal.removed):
        raise InconsistentRequest("rewrappedMembers must not hold the removed member.")
    _require_rise("newKeyEpoch", before.epoch, removal.epoch)
    _require_rise("The payloadVersion of rotatedEnvelope", before.version, removal.envelope["payloadVersion"])
    # Without the next three, manifest and envelope could name different data keys, and one mistake of the caller could
    # lock everybody out for ever.
    if removal.envelope["keyEpoch"] != removal.epoch:
        raise InconsistentRequest("The keyEpoch of rotatedEnvelope must be newKeyEpoch.")
    if caller != removal.removed and not removal.roster.holds(caller):
        raise InconsistentRequest("rewrappedMembers must still hold the caller.")
    if not removal.roster.size:
        raise InconsistentRequest("rewrappedMembers must hold somebody: the last member cannot be removed.")
    after = before._replace(
        version=int(removal.envelope["payloadVersion"]),
        epoch=int(removal.epoch),
        removal=removal.identity,
        roster=removal.roster,
    )
    return _allowed(after, before, caller, policy)
