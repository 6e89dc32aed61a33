"""What a member believes of what a server shows: its memory of a repository, and the rules (§13.4 to §13.6).

A server can show anything: an old state, a data key of its own, a member that nobody let in.  So a member remembers
what it has :class:`Seen` of a repository, and compares it with what is :class:`Shown`.  :func:`accepted` is the whole
decision: it returns what to remember from now on, or raises one of the exceptions below, whose sentence names what
changed.  Nothing is accepted in part.

* Counters never fall, one version is one state, and one epoch has one data key.
* A change of the roster or of the data key must be signed (:mod:`.vouching`) by somebody the member knows: who was on
  the roster that it last saw, and whoever such a member let in since.  Somebody who has left the roster can vouch only
  for the change in which it left.
* An entry that nobody signed is accepted, and named to the caller, only beside others like it: some members have
  clients that sign nothing, and what such a client wrote looks like what a server made up.  Where every known entry was
  signed it is refused, and so is an entry that has lost its signature: a server can always leave something out.

Pure: no file, no network, no clock.  The caller keeps what is returned (:mod:`omp.tools.vault_memory` does).  What no
rule can notice: a server that withholds the newest state, or shows different members different ones; they compare
:func:`fingerprint`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from omp.protocols.avp.member import INTRODUCTION, Keys, Opened
from omp.protocols.avp.schemas import VaultError
from omp.protocols.avp.vouching import (
    WrapNotSigned,
    data_key_fingerprint,
    envelope_fingerprint,
    roster_fingerprints,
    state_fingerprint,
    wrapper_of,
)


class NotBelieved(VaultError):
    """The server shows something that does not follow from what was seen; the sentence names what changed."""


class OldState(NotBelieved):
    """A version or an epoch below what was seen, or another state under the same version."""


class AnotherDataKey(NotBelieved):
    """Another data key in an epoch whose data key is known."""


class UnvouchedDataKey(NotBelieved):
    """A wrapped data key that nobody known has signed."""


class UnvouchedMember(NotBelieved):
    """A member whose keys nobody known has signed."""


class KeysSwapped(NotBelieved):
    """A known member with another X25519 key."""


class SignatureMissing(NotBelieved):
    """An entry without ``omp.wrap`` where there was one, or where there must be one."""


class ForgedWrap(NotBelieved):
    """An ``omp.wrap`` that does not verify: made up, or of another entry, epoch or repository."""


class Known(NamedTuple):
    """A member as it was seen: its X25519 key, and who signed its wrap; None: nobody did."""

    x25519_key: str
    by: str | None


class Seen(NamedTuple):
    """What a member remembers of a repository.

    `envelope` is the fingerprint of the envelope at `version`, `data_keys` those of the data keys by epoch, `members`
    the roster by member id.
    """

    version: int
    epoch: int
    envelope: str
    members: Mapping[str, Known]
    data_keys: Mapping[int, str]


class Introduction(NamedTuple):
    """What the inviter tells a new member over a channel that both trust (§13.5)."""

    epoch: int
    inviter: str
    data_key: str
    roster: str

    @classmethod
    def in_locator(cls, locator: Mapping[str, Any]) -> Introduction | None:
        """What a decoded locator says; None if it is of a client that says nothing."""
        if INTRODUCTION[0] not in locator:
            return None
        return cls(locator["keyEpoch"], *(locator[name] for name in INTRODUCTION))


class Shown(NamedTuple):
    """What a server shows of a repository to one member, after it was opened with that member's keys."""

    repo_id: str
    me: str
    version: int
    epoch: int
    envelope: str
    data_key: str
    entries: tuple[Mapping[str, Any], ...]

    @classmethod
    def to(cls, keys: Keys, now: Opened) -> Shown:
        """What `now` shows to the member with `keys`; :class:`NotBelieved` if its own entry is not its own."""
        repo_id, epoch, entries = now.manifest["repoId"], now.epoch, tuple(now.manifest["members"])
        me, roster = keys.member_id, {entry["ed25519PublicKey"]: entry["x25519PublicKey"] for entry in entries}
        if len(roster) < len(entries):
            raise UnvouchedMember("The roster holds a member twice.")
        if roster[me] != keys.x25519_public_key:
            raise KeysSwapped("Your own entry on the roster has an X25519 key that is not yours.")
        data_key = data_key_fingerprint(repo_id, epoch, now.data_key)
        return cls(repo_id, me, now.next_version - 1, epoch, envelope_fingerprint(now.envelope), data_key, entries)


def fingerprint(shown: Shown) -> str:
    """§13.3: the state in 24 hex digits, for members to compare by voice."""
    members = {entry["ed25519PublicKey"]: entry["x25519PublicKey"] for entry in shown.entries}
    return state_fingerprint(shown.repo_id, shown.version, shown.epoch, shown.data_key, shown.envelope, members)


def introduction_of(shown: Shown, inviter: str) -> dict[str, str]:
    """§13.5: what `inviter` puts into the locator of a member that it has let in: what it sees now."""
    *_, roster = roster_fingerprints(shown.repo_id, shown.entries)
    return dict(zip(INTRODUCTION, (inviter, shown.data_key, roster), strict=True))


# --- The rules (§13.4) ------------------------------------------------------------------------------------------------


def accepted(
    seen: Seen | None, shown: Shown, introduction: Introduction | None = None, *, strict: bool = False
) -> tuple[Seen, list[str]]:
    """What to remember after `shown`, and the ids of members with something new in their entries that nobody signed.

    One of `seen` and `introduction` must be there.  Raises :class:`NotBelieved`.  With `strict`, an entry that nobody
    signed is refused.
    """
    if seen is not None:
        _check_order(seen, shown)
        _check_keys(seen, shown)
    _check_data_key(seen, shown, introduction)
    roster = _Roster(seen, shown, introduction)
    own_first = sorted(shown.entries, key=lambda entry: entry["ed25519PublicKey"] != shown.me)
    unsigned = [entry["ed25519PublicKey"] for entry in own_first if not roster.vouched(entry, strict=strict)]
    return _remembered(seen, shown, roster.wrappers), unsigned


def _check_order(seen: Seen, shown: Shown) -> None:
    for name, before, now in (("version", seen.version, shown.version), ("key epoch", seen.epoch, shown.epoch)):
        if now < before:
            raise OldState(f"The server shows {name} {now}, but you have seen {name} {before}.")
    if shown.version > seen.version:
        return
    # Every write but addMember raises the version, and addMember only adds.
    if (shown.epoch, shown.envelope) != (seen.epoch, seen.envelope):
        raise OldState(f"The server shows another payload or key epoch under version {seen.version} than before.")
    ids = {entry["ed25519PublicKey"] for entry in shown.entries}
    for member_id in seen.members:
        if member_id not in ids:
            raise OldState(f"{member_id} is gone from the roster, but the version is still {seen.version}.")


def _check_keys(seen: Seen, shown: Shown) -> None:
    for entry in shown.entries:
        member_id = entry["ed25519PublicKey"]
        if member_id in seen.members and seen.members[member_id].x25519_key != entry["x25519PublicKey"]:
            raise KeysSwapped(f"The server shows another X25519 key of {member_id} than you knew.")


def _check_data_key(seen: Seen | None, shown: Shown, introduction: Introduction | None) -> None:
    expected = {seen.data_keys.get(shown.epoch)} if seen is not None else set()
    if introduction is not None:
        if shown.epoch < introduction.epoch:
            raise OldState(
                f"The server shows key epoch {shown.epoch}, but you were invited in epoch {introduction.epoch}."
            )
        if shown.epoch == introduction.epoch:
            expected.add(introduction.data_key)
    if expected - {None, shown.data_key}:
        raise AnotherDataKey(f"The server shows another data key in key epoch {shown.epoch} than you knew.")


class _Roster:
    """Who is known, who may vouch, and what must therefore be true of each entry that is shown."""

    def __init__(self, seen: Seen | None, shown: Shown, introduction: Introduction | None) -> None:
        self._me, self._epoch = shown.me, shown.epoch
        self._invited = introduction is not None
        self._known: dict[str, Known] = dict(seen.members) if seen else {}
        # Entries that were accepted in this very epoch: their wrapper may have left the roster since.
        self._settled = set(self._known) if seen and seen.epoch == shown.epoch else set()
        self.wrappers = {entry["ed25519PublicKey"]: self._wrapper(shown, entry) for entry in shown.entries}
        vouching = {self._me}
        if introduction is not None:
            self._introduce(shown, introduction)
            vouching.add(introduction.inviter)
        self._vouching = self._who_may_vouch(vouching | self._known.keys())
        self._all_signed = all(each.by is not None for each in self._known.values())

    def _wrapper(self, shown: Shown, entry: Mapping[str, Any]) -> str | None:
        before = self._known.get(entry["ed25519PublicKey"])
        try:
            return wrapper_of(shown.repo_id, shown.epoch, entry)
        except WrapNotSigned as error:
            # What a client that knows no omp.wrap left behind, and somebody decided to believe (:func:`trusted`).
            if before is not None and before.by is None and entry["ed25519PublicKey"] in self._settled:
                return None
            raise ForgedWrap(str(error)) from None

    def _introduce(self, shown: Shown, introduction: Introduction) -> None:
        """Know the members that the inviter knew."""
        for entry in _introduced(shown, introduction):
            member_id = entry["ed25519PublicKey"]
            if member_id != self._me:  # our own entry must be signed by somebody else than the server
                self._known.setdefault(member_id, Known(entry["x25519PublicKey"], self.wrappers[member_id]))
                if shown.epoch == introduction.epoch:
                    self._settled.add(member_id)

    def _who_may_vouch(self, known: set[str]) -> set[str]:
        """The known members that are on the roster, who wrapped the data key for us, and whom these let in."""
        vouching = (known & self.wrappers.keys()) | (known & {self.wrappers[self._me]})
        while newcomers := {each for each, by in self.wrappers.items() if by in vouching} - vouching:
            vouching |= newcomers
        return vouching

    def vouched(self, entry: Mapping[str, Any], *, strict: bool) -> bool:
        """Whether an entry is known, or signed by who may vouch; false if nobody signed it and it is new."""
        member_id = entry["ed25519PublicKey"]
        by, before = self.wrappers[member_id], self._known.get(member_id)
        if by is None:
            self._check_unsigned(member_id, before, strict=strict)
        settled = member_id in self._settled and before is not None and before.by == by
        if by is not None and by not in self._vouching and not settled:
            raise self._unvouched(member_id)
        return by is not None or settled

    def _check_unsigned(self, member_id: str, before: Known | None, *, strict: bool) -> None:
        if before is not None and before.by is not None:
            raise SignatureMissing(f"The entry of {member_id} was signed (omp.wrap), and now it is not.")
        if self._all_signed or (self._invited and member_id == self._me):
            raise self._unvouched(member_id)
        if strict:
            raise SignatureMissing(f"The entry of {member_id} is not signed (omp.wrap), and you want all to be.")

    def _unvouched(self, member_id: str) -> NotBelieved:
        if member_id not in self._known and member_id != self._me:
            return UnvouchedMember(f"{member_id} is new on the roster, and no member that you knew signed its keys.")
        whose = "you" if member_id == self._me else member_id
        return UnvouchedDataKey(
            f"No member that you knew signed the data key that is wrapped for {whose} in key epoch {self._epoch}."
        )


def _introduced(shown: Shown, introduction: Introduction) -> tuple[Mapping[str, Any], ...]:
    """The entries that the inviter saw: the roster, or its beginning where others came in since."""
    for count, roster in enumerate(roster_fingerprints(shown.repo_id, shown.entries), 1):
        if roster == introduction.roster:
            return shown.entries[:count]
    return ()


def _remembered(seen: Seen | None, shown: Shown, wrappers: Mapping[str, str | None]) -> Seen:
    members = {
        entry["ed25519PublicKey"]: Known(entry["x25519PublicKey"], wrappers[entry["ed25519PublicKey"]])
        for entry in shown.entries
    }
    data_keys = {**(seen.data_keys if seen else {}), shown.epoch: shown.data_key}
    return Seen(shown.version, shown.epoch, shown.envelope, members, data_keys)


# --- Without the rules ------------------------------------------------------------------------------------------------


def trusted(shown: Shown) -> Seen:
    """§13.6: what to remember if somebody decides to believe `shown`; whatever was seen before is forgotten.

    An ``omp.wrap`` that does not verify counts as none.
    """
    return _remembered(None, shown, dict(_wrappers_if_signed(shown)))


def _wrappers_if_signed(shown: Shown) -> Iterator[tuple[str, str | None]]:
    for entry in shown.entries:
        try:
            yield entry["ed25519PublicKey"], wrapper_of(shown.repo_id, shown.epoch, entry)
        except WrapNotSigned:
            yield entry["ed25519PublicKey"], None


def merged(one: Seen, other: Seen) -> Seen:
    """§13.6: what two runs that did not know of each other remember together, in whatever order they end.

    The later state counts; of two rosters under one version both, since only addMember changes it.  Raises
    :class:`AnotherDataKey` or :class:`OldState` if the server showed them two histories.
    """
    for epoch in one.data_keys.keys() & other.data_keys.keys():
        if one.data_keys[epoch] != other.data_keys[epoch]:
            raise AnotherDataKey(f"The server shows two data keys in epoch {epoch}, at the same time.")
    earlier, later = sorted((one, other), key=lambda seen: (seen.version, len(seen.members)))
    if later.epoch < earlier.epoch:
        raise OldState(f"The server shows key epoch {later.epoch} in version {later.version}, and a higher one before.")
    members = later.members
    if earlier.version == later.version:
        if (earlier.epoch, earlier.envelope) != (later.epoch, later.envelope):
            raise OldState(f"The server shows two states under version {later.version}, at the same time.")
        members = {**earlier.members, **later.members}
    return later._replace(members=members, data_keys={**earlier.data_keys, **later.data_keys})
