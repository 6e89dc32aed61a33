"""Derived state: statuses and taint of claims, evidence and inferences, kept up to date (oplog §5).

A status is computed from what an entry carries (:func:`status_of`); this module keeps what it carries.  The work is
taint.  The taint of X is the set of all transitive sources S of X whose status is not active, except that a superseded
S does not taint X where a non-void correction of S names as replacement X or a transitive source of X: X rests on the
correction.

:class:`DerivedState` follows it along the derivation graph in both directions:

* a **new** entry collects the taint of its sources, and its sources that are not active, and leaves out the superseded
  ones whose replacement it rests on;
* when a stored S **changes** (its status, or while superseded its replacements), the entries that derive from S, and
  only they, are asked whether S taints them now.

Void operations do nothing here, and turn void or valid by void.py's word.  Handled here: any order of arrival, since
each change leaves the state that the definition gives for what is stored.  The caller must add entries after their
sources, and say which entries changed their ``void``.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from omp.protocols.oplog.core.causality import in_past
from omp.protocols.oplog.core.entries import (
    ClaimEntry,
    CorrectionEntry,
    Entry,
    EvidenceEntry,
    GrantEntry,
    RefutationEntry,
    RevocationEntry,
    SourceEntry,
    by_id,
    total_order,
)
from omp.protocols.oplog.core.void import grant_status

E = TypeVar("E", bound=Entry)
_NO_TAINT: frozenset[SourceEntry] = frozenset()


def status_of(entry: Entry) -> str:
    """The status of a claim, evidence-ingest, inference-call or grant; of other operations ``void`` or ``active``."""
    if isinstance(entry, GrantEntry):
        return grant_status(entry)
    if entry.void:
        return "void"
    if isinstance(entry, ClaimEntry | EvidenceEntry) and entry.refuted_by:
        return "refuted"
    if isinstance(entry, ClaimEntry) and entry.superseded_by:
        return "superseded"
    return "active"


def is_effective(claim: ClaimEntry) -> bool:
    """§5: ``active``, with empty taint."""
    return not (claim.void or claim.refuted_by or claim.superseded_by or claim.taint)


def replacement_of(claim: ClaimEntry) -> ClaimEntry | None:
    """The replacement that the last correction in total order names."""
    return claim.superseded_by[-1].replacement if claim.superseded_by else None


class DerivedState:
    """Keeps ``dependents``, ``taint``, ``refuted_by`` and ``superseded_by`` of every entry."""

    def add(self, entry: Entry, flipped: Iterable[Entry]) -> list[Entry]:
        """Take in a new entry, and the stored ones that turned void or valid with it.

        Gives the stored entries whose object in the state document is another now, each once, without `entry` itself.
        """
        before: dict[Entry, _Bearing | None] = {}
        if isinstance(entry, SourceEntry):
            self._link(entry)
        elif not entry.void:
            self._apply(entry, before)
        for turned in flipped:
            self._apply(turned, before)
        # Statuses first, all of them; then the taint that follows from them.
        touched = dict.fromkeys(before)
        for source, bearing in before.items():
            if isinstance(source, SourceEntry) and bearing != _bearing(source):
                touched.update(dict.fromkeys(_spread(source)))
        touched.pop(entry, None)
        return list(touched)

    def _link(self, entry: SourceEntry) -> None:
        entry.taint = _inherited_taint(entry)
        for source in entry.sources:
            if isinstance(source.dependents, list):
                source.dependents.append(entry)
            else:
                source.dependents = [entry]

    def _apply(self, entry: Entry, before: dict[Entry, _Bearing | None]) -> None:
        """Put what `entry` does into effect, or take it back, as it is not void or void now.

        Notes what that touches in `before`, with its bearing before; None where that is not known any more.
        """
        if isinstance(entry, RefutationEntry):
            target = entry.target
            before.setdefault(target, _bearing(target))
            target.refuted_by = _with_or_without(entry, target.refuted_by, by_id)
        elif isinstance(entry, CorrectionEntry):
            claim = entry.target
            before.setdefault(claim, _bearing(claim))
            claim.superseded_by = _with_or_without(entry, claim.superseded_by, total_order)
        elif isinstance(entry, RevocationEntry):
            before.update(dict.fromkeys(entry.target.below()))
        else:
            before[entry] = None


def _with_or_without(entry: E, entries: list[E] | tuple[()], key: Callable[[E], Any]) -> list[E] | tuple[()]:
    """`entries`, ordered by `key`, with `entry` where it is not void, without it where it is.

    Most operations are refuted and corrected by none: the empty tuple, which is no object of its own.
    """
    if entry.void:
        assert isinstance(entries, list)  # it was in effect before
        del entries[bisect_left(entries, key(entry), key=key)]
        return entries or ()
    if isinstance(entries, list):
        insort(entries, entry, key=key)
        return entries
    return [entry]


# --- Taint ------------------------------------------------------------------------------------------------------

_Bearing = tuple[bool, frozenset[SourceEntry]]
"""What an entry does to those that derive from it: whether it taints, and the replacements that excuse it."""


def _bearing(entry: SourceEntry) -> _Bearing:
    return status_of(entry) != "active", _replacements(entry)


def _inherited_taint(entry: SourceEntry) -> frozenset[SourceEntry]:
    """The taint of a new entry, from that of its sources."""
    found: set[SourceEntry] = set()
    for source in entry.sources:
        found |= source.taint
        if status_of(source) != "active":
            found.add(source)
    if not found:
        return _NO_TAINT
    taint = frozenset(one for one in found if not _rests_on_correction(entry, one))
    # Entries in one line of derivation share one set.
    return next((source.taint for source in entry.sources if source.taint == taint), taint)


def _rests_on_correction(entry: SourceEntry, superseded: SourceEntry) -> bool:
    """Whether a new `entry` has a replacement of `superseded` among its transitive sources."""
    targets = _replacements(superseded)
    known: dict[SourceEntry, bool] = {}
    # A source that `superseded` taints has no such replacement among its own, nor is it one.
    return bool(targets) and any(
        superseded not in one.taint and _derives_from(one, targets, known) for one in entry.sources
    )


def _replacements(entry: SourceEntry) -> frozenset[SourceEntry]:
    """The claims that excuse a transitive source of theirs: the replacements of a claim that is superseded."""
    if not isinstance(entry, ClaimEntry) or status_of(entry) != "superseded":
        return _NO_TAINT
    return frozenset(one.replacement for one in entry.superseded_by if one.replacement is not None)


def _derives_from(entry: SourceEntry, targets: frozenset[SourceEntry], known: dict[SourceEntry, bool]) -> bool:
    """Whether `entry` is one of the `targets` or has one among its transitive sources; `known` keeps answers."""
    trail = [entry]
    while trail:
        at = trail[-1]
        if at in known:
            trail.pop()
            continue
        # Derivation follows causality: below an entry with no target in its past there is none.
        if at in targets or not any(in_past(target, at) for target in targets):
            known[at] = at in targets
            continue
        unknown = [source for source in at.sources if source not in known]
        if unknown:
            trail += unknown
        else:
            known[at] = any(known[source] for source in at.sources)
    return known[entry]


def _spread(source: SourceEntry) -> list[SourceEntry]:
    """Ask every transitive dependent of `source` whether `source` taints it now; gives those that changed."""
    taints, targets = _bearing(source)
    known: dict[SourceEntry, bool] = {}
    made: dict[frozenset[SourceEntry], frozenset[SourceEntry]] = {}  # so that entries go on sharing their sets
    changed = []
    for entry in _dependents(source):
        tainted = taints and not (targets and _derives_from(entry, targets, known))
        if tainted != (source in entry.taint):
            if entry.taint not in made:
                made[entry.taint] = entry.taint | {source} if tainted else entry.taint - {source} or _NO_TAINT
            entry.taint = made[entry.taint]
            changed.append(entry)
    return changed


def _dependents(source: SourceEntry) -> Iterable[SourceEntry]:
    """All that derive from `source`, each once."""
    found = dict.fromkeys(source.dependents)
    trail = list(found)
    for entry in trail:
        for dependent in entry.dependents:
            if dependent not in found:
                found[dependent] = None
                trail.append(dependent)
    return found
