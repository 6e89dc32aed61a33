"""What a revocation does to operations it is concurrent with: void, effective, grant status (oplog §4, second half).

Revocation wins over what is concurrent with it.  The document defines it by recursion over the whole log: an
operation O by another key than the root is **void** iff every grant G in Auth(O) is *cut* for it, which is that

1. the operation of G or of an ancestor of G is void, or
2. an effective revocation that is no renunciation targets G or an ancestor of G, and O is not in its past;

a revocation is **effective** iff it is not void.

The first case is contained in the second, so only the second is computed.  Let A, the operation of G or of an
ancestor, be void.  Auth(A) is A's parent, so by induction over depth an effective revocation R targets a grant above A
and A is not in past(R).  As A is in past(O), O is not in past(R) either, and R targets an ancestor of G.

The recursion ends because authority flows down: what decides about O are revocations of grants in the lineage of
Auth(O), and the authority for those lies strictly above.  With the **level** of O the greatest depth in Auth(O) (the
root's operations have level 0), O depends on lower levels alone.

:class:`Voidness` keeps the answer up to date.  A new operation is settled by one look: nothing stored has it in its
past.  A revocation that becomes effective, or ceases to be, opens the question again for the operations under its
target that it does not know.  They are asked level by level, ascending: each once, after all it depends on.
"""

from __future__ import annotations

from collections.abc import Callable

from omp.protocols.oplog.core.causality import Author, in_past, reach
from omp.protocols.oplog.core.entries import Entry, GrantEntry, RevocationEntry


class Voidness:
    """Keeps ``void`` of every entry, and ``children``, ``revocations`` and ``cuts`` of every grant.

    `author` gives the :class:`Author` of a key.
    """

    def __init__(self, author: Callable[[str], Author]) -> None:
        self._author = author
        self._open: dict[int, dict[Entry, None]] = {}  # by level, in the order of asking

    def add(self, entry: Entry) -> list[Entry]:
        """Settle a new, placed entry and what it changes: the stored entries whose ``void`` is another now."""
        # No stored revocation can have a new operation in its past.
        entry.void = bool(entry.auth) and all(any(above.cuts for above in grant.lineage()) for grant in entry.auth)
        if isinstance(entry, GrantEntry):
            if entry.parent is not None:
                entry.parent.children.append(entry)
            self._author(entry.grantee).grants.append(entry)
        elif isinstance(entry, RevocationEntry):
            entry.target.revocations.append(entry)
            if not entry.void:
                self._turned(entry)
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
                        self._turned(entry)
        return changed

    def _turned(self, revocation: RevocationEntry) -> None:
        """`revocation` became effective, or ceases to be: ask again about all it may cut."""
        if revocation.renounces:
            return  # it voids nothing
        target = revocation.target
        if revocation.void:
            target.cuts.remove(revocation)
        else:
            target.cuts.append(revocation)
        for grant in target.below():
            for chain in self._author(grant.grantee).chains:
                for entry in chain.after(reach(revocation, chain)):
                    if grant in entry.auth:
                        self._open.setdefault(_level(entry), {})[entry] = None


def _level(entry: Entry) -> int:
    return max(grant.depth for grant in entry.auth)


def cutting(grant: GrantEntry, entry: Entry) -> list[RevocationEntry]:
    """The effective revocations, no renunciations, by which `grant` is cut for the stored `entry`."""
    return [revocation for above in grant.lineage() for revocation in above.cuts if not in_past(entry, revocation)]


def effective_revocations(grant: GrantEntry) -> list[RevocationEntry]:
    """The effective revocations, renunciations too, that target the grant or an ancestor: ``revoked_by`` of §5."""
    return [revocation for above in grant.lineage() for revocation in above.revocations if not revocation.void]


def grant_status(grant: GrantEntry) -> str:
    """``void``, ``revoked`` or ``active``: §4.  Expiry is not in it: :func:`authority.in_force`."""
    if grant.void:
        return "void"
    # §4 names a void ancestor too; by the proof above the grant is void then itself.
    return "revoked" if effective_revocations(grant) else "active"
