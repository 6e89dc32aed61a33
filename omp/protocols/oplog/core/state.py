"""Derived state: statuses and taint of claims, evidence and inferences, kept up to date (oplog §5).

A status is computed from what an entry carries (:func:`status_of`); this module keeps up to date what it carries.  The
hard part is taint.  The taint of X is the set of all transitive sources S of X whose status is not active, with one
exception: a superseded S does not taint X if a non-void correction of S names as its replacement X itself or a
transitive source of X.  What builds on the replacement is not tainted by the claim that was replaced.

:class:`DerivedState` follows taint along the derivation graph in both directions:

* a **new** entry collects the taint of its sources, adds its sources that are not active, and leaves out the superseded
  ones whose replacement it builds on;
* when a stored S **changes** (its status, or its replacements while it is superseded), each entry that derives from S,
  and no other, is asked whether S taints it now.

Void operations have no effect here; void.py says which are void.  Order of arrival does not matter: each change leaves
the state that §5 defines for what is stored.  The caller must add entries after their sources, and say which entries
have changed their ``void``.
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
    """§5.2: ``active``, with empty taint."""
    return not (claim.void or claim.refuted_by or claim.superseded_by or claim.taint)


def replacement_of(claim: ClaimEntry) -> ClaimEntry | None:
    """The replacement that the last correction in total order names; None if it names none, or there is none."""
    return claim.superseded_by[-1].replacement if claim.superseded_by else None


class DerivedState:
    """Keeps ``dependents``, ``taint``, ``refuted_by`` and ``superseded_by`` of every entry up to date."""

    def add(self, entry: Entry, void_changed: Iterable[Entry]) -> list[Entry]:
        """Take in a new entry; `void_changed` are the stored ones whose ``void`` has changed because of it.

        Returns the stored entries whose object in the state document has changed, each once, without `entry` itself.
        """
        before: dict[Entry, _Effect | None] = {}
        if isinstance(entry, SourceEntry):
            self._link(entry)
        elif not entry.void:
            self._apply(entry, before)
        for changed in void_changed:
            self._apply(changed, before)
        # All statuses first, then the taint that follows from them.
        touched = dict.fromkeys(before)
        for source, effect in before.items():
            if isinstance(source, SourceEntry) and effect != _effect_on_dependents(source):
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

    def _apply(self, entry: Entry, before: dict[Entry, _Effect | None]) -> None:
        """Put what `entry` does into effect if it is not void, and take it back if it is.

        What that touches is noted in `before`, with its effect on dependents before the change; None if that effect can
        no longer be told.
        """
        if isinstance(entry, RefutationEntry):
            target = entry.target
            before.setdefault(target, _effect_on_dependents(target))
            target.refuted_by = _with_or_without(entry, target.refuted_by, by_id)
        elif isinstance(entry, CorrectionEntry):
            claim = entry.target
            before.setdefault(claim, _effect_on_dependents(claim))
            claim.superseded_by = _with_or_without(entry, claim.superseded_by, total_order)
        elif isinstance(entry, RevocationEntry):
            before.update(dict.fromkeys(entry.target.below()))
        else:
            before[entry] = None


def _with_or_without(entry: E, entries: list[E] | tuple[()], key: Callable[[E], Any]) -> list[E] | tuple[()]:
    """`entries`, ordered by `key`: with `entry` if it is not void, without it if it is.

    Most operations are neither refuted nor corrected, so nothing is the empty tuple, which all of them share.
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

_Effect = tuple[bool, frozenset[SourceEntry]]
"""What an entry does to those that derive from it: (whether it taints them, the replacements that excuse them)."""


def _effect_on_dependents(entry: SourceEntry) -> _Effect:
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
    taint = frozenset(one for one in found if not _rests_on_replacement(entry, one))
    # Entries along one derivation mostly have the same taint, and share one set.
    return next((source.taint for source in entry.sources if source.taint == taint), taint)


def _rests_on_replacement(entry: SourceEntry, superseded: SourceEntry) -> bool:
    """Whether a new `entry` has a replacement of `superseded` among its transitive sources."""
    replacements = _replacements(superseded)
    answers: dict[SourceEntry, bool] = {}
    # Skip a source that `superseded` taints.  It is no replacement, and it has none among its sources: otherwise it
    # would not be tainted.
    return bool(replacements) and any(
        superseded not in one.taint and _derives_from(one, replacements, answers) for one in entry.sources
    )


def _replacements(entry: SourceEntry) -> frozenset[SourceEntry]:
    """The replacements of a superseded claim: it does not taint those who build on one of them."""
    if not isinstance(entry, ClaimEntry) or status_of(entry) != "superseded":
        return _NO_TAINT
    return frozenset(one.replacement for one in entry.superseded_by if one.replacement is not None)


def _derives_from(entry: SourceEntry, wanted: frozenset[SourceEntry], answers: dict[SourceEntry, bool]) -> bool:
    """Whether `entry` is one of `wanted` or has one among its transitive sources; `answers` keeps what was found.

    A walk over the graph without recursion: an entry stays on the trail until all its sources have an answer.
    """
    trail = [entry]
    while trail:
        at = trail[-1]
        if at in answers:
            trail.pop()
            continue
        # Sources lie in the past: an entry with none of `wanted` in its past derives from none, and the walk stops.
        if at in wanted or not any(in_past(one, at) for one in wanted):
            answers[at] = at in wanted
            continue
        unanswered = [source for source in at.sources if source not in answers]
        if unanswered:
            trail += unanswered
        else:
            answers[at] = any(answers[source] for source in at.sources)
    return answers[entry]


def _spread(source: SourceEntry) -> list[SourceEntry]:
    """Bring the taint of every transitive dependent of `source` up to date; returns those that have changed."""
    taints, replacements = _effect_on_dependents(source)
    answers: dict[SourceEntry, bool] = {}
    made: dict[frozenset[SourceEntry], frozenset[SourceEntry]] = {}  # old set -> new one: entries that shared still do
    changed = []
    for entry in _dependents(source):
        tainted = taints and not (replacements and _derives_from(entry, replacements, answers))
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
