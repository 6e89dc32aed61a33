"""What a revocation does to operations that are concurrent with it: void and effective (oplog §4), grant status (§5.1).

A key that was revoked could still sign operations that leave the revocation out of their past, and date them back.  So
revocation wins over what is concurrent with it.  The words of the proof: past(O) is everything that O builds on, over
``prev`` and ``deps``; Auth(O) are the grants in past(O) that allow O; the ancestors of a grant are its parent, the
parent of that, and so on, and its *lineage* is the grant with its ancestors; a *renunciation* is a revocation by the
grantee of its target.

The document defines void by recursion over the whole log: an operation O by another key than the root is **void** iff
every grant G in Auth(O) is *cut* for it, which is that

1. G or an ancestor of G is void, or
2. an effective revocation that is no renunciation targets G or an ancestor of G, and O is not in its past;

a revocation is **effective** iff it is not void.

The first case is contained in the second, so only the second is computed.  Let A, which is G or an ancestor of G, be
void.  Auth(A) = {A's parent}, since A names it.  So by induction over depth an effective revocation R targets a grant
above A, and A is not in past(R).  If O were in past(R), A, which is in past(O), would be too.  So O is not in past(R),
and R targets an ancestor of G.

The recursion ends because authority flows down: what decides about O are revocations of grants in the lineage of
Auth(O), and the authority for those lies strictly above.  Let the **level** of O be the greatest depth of a grant in
Auth(O); the root's operations have level 0.  Then O depends on lower levels alone.

:class:`Voidness` keeps the answer up to date.  A new operation is settled at once: nothing stored has it in its past.
A revocation that becomes effective, or ceases to be, reopens the question for the operations under its target that it
decides about.  They are settled level by level, ascending: each once, after everything it depends on.

Which are these?  Let the *floor* of a grant G be, for each chain, the smallest number that any effective revocation of
G (renunciations aside) knows of it, or no floor if there is none.  O is cut by a revocation of G iff O is in the past
of not all of them; since the past of each holds an operation with all earlier ones of its chain, that is iff the
``seq`` of O is above the floor of G in O's chain.  So case 2 reads: G or an ancestor has a floor, and O is above it.
And a revocation decides about exactly those operations that lie between the floor without it and the floor with it.
The first one that is effective opens all that it has not seen.  The second opens only what the first had seen and it
has not: nothing at all if the first is in its past.  However often a grant is revoked, while its revocations stay
effective its floor only falls, and each operation is opened once.

A falling floor can only make operations void, a rising one only take that back, so only those that are not void, or
only those that are, are opened.  What was answered stays right for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from omp.protocols.oplog.core.causality import element, falls, in_past, known, lower
from omp.protocols.oplog.core.entries import (
    Author,
    Chain,
    Entry,
    GrantEntry,
    RevocationEntry,
    Vector,
)
from omp.protocols.oplog.core.steps import STEP, Steps, pieces


class Voidness:
    """Keeps ``void`` of every entry up to date, and what every grant says of the grants and revocations about it.

    `author` maps a key ID to its :class:`Author`; `chains` are the chains of the log by number.
    """

    def __init__(self, author: Callable[[str], Author], chains: list[Chain]) -> None:
        self._author = author
        self._chains = chains
        self._open: dict[int, dict[Entry, None]] = {}
        """The stored operations to be settled again, by level, each once."""
        self._uncut: dict[int, GrantEntry] = {}
        """id of an Auth(O) -> one of its grants that had no floor above it when last asked: the first to ask next time.

        Entries share these tuples, and never lose them.
        """

    def add(self, entry: Entry) -> Steps[list[Entry]]:
        """Settle a new entry that has its place, and what depends on it.

        Returns the stored entries whose ``void`` has changed.
        """
        # No stored revocation can have a new operation in its past.
        entry.void = bool(entry.auth) and all(
            any(above.floor is not None for above in grant.lineage()) for grant in entry.auth
        )
        self.link(entry)
        if isinstance(entry, RevocationEntry) and not entry.void:
            yield from self._have_changed([entry])
        return (yield from self._settle()) if self._open else []

    def link(self, entry: Entry) -> None:
        """Note a new grant or revocation where stage 12 looks for it; whether anything is void is left as it is."""
        if isinstance(entry, GrantEntry):
            if entry.parent is not None:
                entry.parent.children.append(entry)
            self._author(entry.grantee).grants.append(entry)
        elif isinstance(entry, RevocationEntry):
            entry.target.revocations.append(entry)

    def _settle(self) -> Steps[list[Entry]]:
        changed: list[Entry] = []
        while self._open:
            limits: dict[tuple[int, Chain], int | None] = {}  # no floor moves before the level is settled
            level = []
            for number, entry in enumerate(self._open.pop(min(self._open)), 1):
                if self._is_void(entry, limits) != entry.void:
                    level.append(entry)
                if _is_pause(number, entry):
                    yield
            revocations = []
            for number, entry in enumerate(level, 1):
                entry.void = not entry.void
                if isinstance(entry, RevocationEntry):
                    revocations.append(entry)
                if number % STEP == 0:
                    yield
            changed += level
            # What these revocations open lies on higher levels, so the whole level can be settled before it.
            yield from self._have_changed(revocations)
        return changed

    def _is_void(self, entry: Entry, limits: dict[tuple[int, Chain], int | None]) -> bool:
        """Whether every grant in Auth(`entry`) is cut for it.

        `limits` keeps, by Auth(O) and chain, the ``seq`` above which all is cut, since many entries ask for the same.
        """
        auth, name = entry.auth, (id(entry.auth), entry.chain)
        if name not in limits:
            limits[name] = self._limit(auth, entry.chain)
        limit = limits[name]
        return limit is not None and entry.seq > limit

    def _limit(self, auth: tuple[GrantEntry, ...], chain: Chain) -> int | None:
        """The ``seq`` above which every grant of `auth` is cut for operations of `chain`; None if one is not cut."""
        uncut = self._uncut.get(id(auth))
        if uncut is not None and _limit_of(uncut, chain) is None:
            return None
        greatest = 0
        for grant in auth:
            limit = _limit_of(grant, chain)
            if limit is None:
                self._uncut[id(auth)] = grant
                return None
            greatest = max(greatest, limit)
        return greatest

    def _have_changed(self, revocations: Iterable[RevocationEntry]) -> Steps[None]:
        """These have become effective, or have ceased to be: move the floors of their targets."""
        befores: dict[GrantEntry, Vector | None] = {}
        risen: dict[GrantEntry, None] = {}  # those of which some revocation does not stand any more
        for number, revocation in enumerate(revocations, 1):
            if number % STEP == 0:
                yield
            if revocation.renounces:
                continue  # a renunciation voids nothing
            target = revocation.target
            befores.setdefault(target, target.floor)
            if revocation.void:
                del target.standing_revocations[revocation]
                risen[target] = None
            else:
                _let_stand(revocation)
        for target in risen:
            target.floor = None
            for number, standing in enumerate(target.standing_revocations, 1):
                target.floor = _lowered(target.floor, standing)
                if number % STEP == 0:
                    yield
        for target, before in befores.items():
            yield from self._reopen(target, before)

    def _reopen(self, target: GrantEntry, before: Vector | None) -> Steps[None]:
        """The floor of `target` was `before`: settle again what lies between it and the one of now."""
        # id of an Auth(O) -> its level if a grant in it is the target or descends from it, else None
        levels: dict[int, int | None] = {}
        after = target.floor
        for void, runs in (
            (False, self._between(target, before, after)),
            (True, self._between(target, after, before)),
        ):
            number = 0
            for run in runs:
                yield
                for entry in run:
                    number += 1
                    if _is_pause(number, entry):
                        yield
                    if entry.void is not void:
                        continue
                    auth = entry.auth
                    if id(auth) not in levels:
                        levels[id(auth)] = _level(auth) if any(target in grant.lineage() for grant in auth) else None
                    if (level := levels[id(auth)]) is not None:
                        self._open.setdefault(level, {})[entry] = None

    def _between(self, target: GrantEntry, high: Vector | None, low: Vector | None) -> Iterator[Sequence[Entry]]:
        """The entries above the floor `low` and not above the floor `high`; those of keys under `target` at least.

        As runs of one chain each, some of them empty: the caller may pause after each.
        """
        if low is None:
            return
        if high is None:  # no floor: nothing is above it
            met: set[str] = set()
            for grant in target.below():
                if grant.grantee in met:
                    yield ()
                    continue
                met.add(grant.grantee)
                for chain in self._author(grant.grantee).chains:
                    yield chain.after(element(low, chain.number))
        else:
            for number, above, below in falls(high, low):
                yield self._chains[number].between(below, above)

    def derive(self, entries: Sequence[Entry]) -> Steps[None]:
        """Settle all `entries` of a log at once, which were only linked; yields after each small step.

        One level after the other, ascending: when the revocations of a level are settled, so are the floors of all
        grants that decide about the next.
        """
        levels: dict[int, list[RevocationEntry]] = {}
        for some in pieces(entries):
            for entry in some:
                if isinstance(entry, RevocationEntry):
                    levels.setdefault(_level(entry.auth), []).append(entry)
            yield
        limits: dict[tuple[int, Chain], int | None] = {}  # for good: an Auth(O) has one level, and no floor rises here
        for level in sorted(levels):
            for revocations in pieces(levels[level]):
                for revocation in revocations:
                    revocation.void = bool(revocation.auth) and self._is_void(revocation, limits)
                    if not revocation.void and not revocation.renounces:
                        _let_stand(revocation)
                yield
        for some in pieces(entries if levels else ()):
            for entry in some:
                entry.void = bool(entry.auth) and self._is_void(entry, limits)
            yield


def _is_pause(number: int, entry: Entry) -> bool:
    """Whether to yield after the entry of this `number`: an entry under many grants counts as many entries."""
    return number % STEP == 0 or len(entry.auth) >= STEP


def _lowered(floor: Vector | None, revocation: RevocationEntry) -> Vector:
    """`floor` where `revocation` stands too."""
    return known(revocation) if floor is None else lower(floor, known(revocation))


def _let_stand(revocation: RevocationEntry) -> None:
    """An effective `revocation`, which is no renunciation, cuts its target: its floor falls."""
    target = revocation.target
    target.standing_revocations[revocation] = None
    target.floor = _lowered(target.floor, revocation)


def _level(auth: Iterable[GrantEntry]) -> int:
    return max((grant.depth for grant in auth), default=0)


def _limit_of(grant: GrantEntry, chain: Chain) -> int | None:
    """The ``seq`` above which `grant` is cut for operations of `chain`: by the lowest floor in its lineage, if any."""
    floors = [above.floor for above in grant.lineage() if above.floor is not None]
    return min(element(floor, chain.number) for floor in floors) if floors else None


def cutting(grant: GrantEntry, entry: Entry) -> Iterator[RevocationEntry]:
    """The effective revocations, renunciations aside, that cut `grant` for the stored `entry`; lazy."""
    for above in grant.lineage():
        if above.floor is not None and entry.seq > element(above.floor, entry.chain.number):
            for revocation in above.standing_revocations:
                if not in_past(entry, revocation):
                    yield revocation


def effective_revocations(grant: GrantEntry) -> list[RevocationEntry]:
    """The effective revocations, renunciations included, that target the grant itself: ``revoked_by`` of §5.3."""
    return [revocation for revocation in grant.revocations if not revocation.void]


def grant_status(grant: GrantEntry) -> str:
    """``void``, ``revoked`` or ``active``: §5.1.  It does not depend on the time: for that, see authority.in_force."""
    if grant.void:
        return "void"
    # §5.1 names a void ancestor too; by the proof above, the grant itself is void then.  It asks for an effective
    # revocation of the grant or an ancestor, and any revocation will do: if one is void, all of its Auth, which lies in
    # the lineage of its target, was cut by effective ones that target a grant of this lineage too.
    return "revoked" if any(above.revocations for above in grant.lineage()) else "active"
