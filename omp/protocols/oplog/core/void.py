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
A revocation that becomes effective, or ceases to be, reopens the question for the operations under its target that are
not in its past.  They are settled level by level, ascending: each once, after everything it depends on.
"""

from __future__ import annotations

from collections.abc import Callable

from omp.protocols.oplog.core.causality import in_past, reach
from omp.protocols.oplog.core.entries import Author, Entry, GrantEntry, RevocationEntry


class Voidness:
    """Keeps ``void`` of every entry up to date, and what every grant says of the grants and revocations about it.

    `author` maps a key ID to its :class:`Author`.
    """

    def __init__(self, author: Callable[[str], Author]) -> None:
        self._author = author
        self._open: dict[int, dict[Entry, None]] = {}
        """The stored operations to be settled again, by level, each once."""

    def add(self, entry: Entry) -> list[Entry]:
        """Settle a new entry that has its place, and what depends on it.

        Returns the stored entries whose ``void`` has changed.
        """
        # No stored revocation can have a new operation in its past.
        entry.void = bool(entry.auth) and all(
            any(above.standing_revocations for above in grant.lineage()) for grant in entry.auth
        )
        if isinstance(entry, GrantEntry):
            if entry.parent is not None:
                entry.parent.children.append(entry)
            self._author(entry.grantee).grants.append(entry)
        elif isinstance(entry, RevocationEntry):
            entry.target.revocations.append(entry)
            if not entry.void:
                self._reopen(entry)
        return self._settle() if self._open else []

    def _settle(self) -> list[Entry]:
        changed = []
        while self._open:
            for entry in self._open.pop(min(self._open)):
                void = all(cutting(grant, entry) for grant in entry.auth)
                if void != entry.void:
                    entry.void = void
                    changed.append(entry)
                    if isinstance(entry, RevocationEntry):
                        self._reopen(entry)
        return changed

    def _reopen(self, revocation: RevocationEntry) -> None:
        """`revocation` has become effective, or has ceased to be: settle again all that it may cut."""
        if revocation.renounces:
            return  # a renunciation voids nothing
        target = revocation.target
        if revocation.void:
            target.standing_revocations.remove(revocation)
        else:
            target.standing_revocations.append(revocation)
        for grant in target.below():
            for chain in self._author(grant.grantee).chains:
                for entry in chain.after(reach(revocation, chain)):
                    if grant in entry.auth:
                        self._open.setdefault(_level(entry), {})[entry] = None


def _level(entry: Entry) -> int:
    return max(grant.depth for grant in entry.auth)


def cutting(grant: GrantEntry, entry: Entry) -> list[RevocationEntry]:
    """The effective revocations, renunciations aside, that cut `grant` for the stored `entry`."""
    return [
        revocation
        for above in grant.lineage()
        for revocation in above.standing_revocations
        if not in_past(entry, revocation)
    ]


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
