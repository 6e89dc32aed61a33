"""Derived state: statuses and taint of claims, evidence and inferences, kept up to date (oplog §5).

A status is computed from what an entry carries (:func:`status_of`); this module keeps up to date what it carries.  The
hard part is taint.  The taint of X is the list of its *direct* sources S that taint it, which are those that

* are ``void`` or ``refuted``, or
* are ``superseded``, unless a non-void correction of S names as its replacement X itself or a direct source of X, or
* have a taint themselves, whatever their status.

So a refutation reaches everything that was derived from what it refutes, and yet the taint of an entry follows from
its own sources alone.  That bounds the work: an entry whose taint was not empty before and is not empty now changes
nothing for its dependents.  For example, a refutation further up a derivation stops at the first entry that is tainted
already, so refuting every claim of a chain is linear.

:class:`DerivedState` works in two steps.  First what the new entry does, and what is no longer void or has become void,
is put into effect at its target.  Then the sources whose effect on their dependents may have changed are taken in total
order, and each asks its dependents whether it taints them now; a dependent whose taint became empty, or ceased to be,
takes its place in the queue.  Sources come before those who build on them in total order, so each entry is taken once,
when all its sources are settled.  (Depth first, one entry could change again and again in a single step.)

One operation can still touch a whole log: refuting the root of a derivation changes the object of everything that was
derived from it.  That takes about 1 µs an entry here, in steps between which the caller may pause (steps.py).

Void operations have no effect here; void.py says which are void.  Order of arrival does not matter: each change leaves
the state that §5 defines for what is stored.  The caller must add entries after their sources, and say which entries
have changed their ``void``.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Sequence
from heapq import heappop, heappush
from typing import Any, TypeVar

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
from omp.protocols.oplog.core.steps import STEP, Steps, in_order, pieces
from omp.protocols.oplog.core.void import grant_status

E = TypeVar("E", bound=Entry)


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
    """Keeps what entries carry up to date: dependents, taint, what refutes and supersedes them, replacements."""

    def add(self, entry: Entry, void_changed: Collection[Entry]) -> Steps[Collection[Entry]]:
        """Take in a new entry; `void_changed` are the stored ones whose ``void`` has changed because of it.

        Returns the stored entries whose object in the state document has changed, each once, without `entry` itself.
        """
        changes = _Changes()
        if isinstance(entry, SourceEntry):
            _link(entry)
        elif not entry.void:
            changes.apply(entry)
            if isinstance(entry, RevocationEntry):
                yield from changes.revoke_below(entry)
        for number, changed in enumerate(void_changed, 1):
            changes.apply(changed)
            if number % STEP == 0:
                yield
        # All statuses first, then the taint that follows from them.
        if changes.before:
            yield from _spread((yield from changes.asking()), changes.touched)
        changes.touched.pop(entry, None)
        return changes.touched

    def derive(self, entries: Sequence[Entry]) -> Steps[None]:
        """Take in all `entries` of a log at once, in the order of storing; which are void is settled.

        Yields after each small step.
        """
        refuted: dict[ClaimEntry | EvidenceEntry, list[RefutationEntry]] = {}
        superseded: dict[ClaimEntry, list[CorrectionEntry]] = {}
        for some in pieces(entries):
            for entry in some:
                if entry.void:
                    continue
                if isinstance(entry, RefutationEntry):
                    refuted.setdefault(entry.target, []).append(entry)
                elif isinstance(entry, CorrectionEntry):
                    superseded.setdefault(entry.target, []).append(entry)
                    if entry.replacement is not None:
                        _count_replacement(entry, entry.replacement)
            yield
        for target, refutations in refuted.items():
            target.refuted_by = yield from in_order(refutations, by_id)
        for claim, corrections in superseded.items():
            claim.superseded_by = yield from in_order(corrections, total_order)
        for some in pieces(entries):  # sources come before what builds on them
            for entry in some:
                if isinstance(entry, SourceEntry):
                    _link(entry)
            yield


class _Changes:
    """What one step changes.

    `touched` are the entries whose object in the state document has changed.  `before` maps each source that was
    touched to the status it had; None if that can no longer be told.  `replacements` maps a claim to those replacements
    that its corrections did not name before, or no longer name.
    """

    __slots__ = ("before", "replacements", "touched")

    def __init__(self) -> None:
        self.touched: dict[Entry, None] = {}
        self.before: dict[SourceEntry, str | None] = {}
        self.replacements: dict[SourceEntry, list[ClaimEntry]] = {}

    def apply(self, entry: Entry) -> None:
        """Put what `entry` does into effect if it is not void, and take it back if it is."""
        if isinstance(entry, RefutationEntry):
            self._note(entry.target)
            entry.target.refuted_by = _with_or_without(entry, entry.target.refuted_by, by_id)
        elif isinstance(entry, CorrectionEntry):
            self._note(entry.target)
            entry.target.superseded_by = _with_or_without(entry, entry.target.superseded_by, total_order)
            if entry.replacement is not None and _count_replacement(entry, entry.replacement):
                self.replacements.setdefault(entry.target, []).append(entry.replacement)
        elif isinstance(entry, RevocationEntry):
            self.touched[entry.target] = None  # its revoked_by
        else:
            self.touched[entry] = None
            if isinstance(entry, SourceEntry):
                self.before[entry] = None

    def _note(self, target: SourceEntry) -> None:
        self.touched[target] = None
        self.before.setdefault(target, status_of(target))

    def revoke_below(self, revocation: RevocationEntry) -> Steps[None]:
        """The grants under the target of a new effective `revocation` that are ``revoked`` because of it are touched.

        By grant_status, only the first revocation in a lineage changes a status.  So each grant is met here about once.
        """
        if sum(len(above.revocations) for above in revocation.target.lineage()) == 1:
            grants = list(revocation.target.children)
            for number, grant in enumerate(grants, 1):  # grows while it is walked
                if not grant.revocations:  # else it was revoked before, with all that is under it
                    grants += grant.children
                    if not grant.void:
                        self.touched[grant] = None
                if number % STEP == 0:
                    yield

    def asking(self) -> Steps[dict[SourceEntry, Collection[SourceEntry]]]:
        """The sources whose effect may have changed, each with those that it may taint now or not.

        These are its dependents, or some of them with others that are none.
        """
        asking: dict[SourceEntry, Collection[SourceEntry]] = {}
        for number, (source, before) in enumerate(self.before.items(), 1):
            status = status_of(source)
            if not source.dependents:
                pass
            elif status != before:
                asking[source] = source.dependents
            elif status == "superseded" and source in self.replacements:
                asking[source] = _who_rest_on(self.replacements[source], source)
            if number % STEP == 0:
                yield
        return asking


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


def _count_replacement(correction: CorrectionEntry, replacement: ClaimEntry) -> bool:
    """Count that `correction` names `replacement`, or no longer, since it is void; returns whether that is news."""
    claim = correction.target
    if claim.replacements is None:
        claim.replacements = {}
    number = claim.replacements.get(replacement, 0) + (-1 if correction.void else 1)
    if number:
        claim.replacements[replacement] = number
    else:
        del claim.replacements[replacement]
    return number == (0 if correction.void else 1)


# --- Taint ------------------------------------------------------------------------------------------------------


def _link(entry: SourceEntry) -> None:
    """Make a new entry a dependent of its sources, and find its taint."""
    taint = tuple([source for source in entry.sources if _taints(source, entry)])
    # Mostly none or all of the sources, so the tuple is shared.
    entry.taint = entry.sources if len(taint) == len(entry.sources) else taint
    for source in entry.sources:
        if isinstance(source.dependents, list):
            source.dependents.append(entry)
        else:
            source.dependents = [entry]


def _taints(source: SourceEntry, entry: SourceEntry) -> bool:
    """§5.2: whether `source`, which is a direct source of `entry`, taints it."""
    verdict = _taints_all(source)
    return not _is_excused(source, entry) if verdict is None else verdict


def _taints_all(source: SourceEntry) -> bool | None:
    """Whether `source` taints all its dependents, or none; None if it is only superseded, which may be excused."""
    if source.taint:
        return True
    status = status_of(source)
    return None if status == "superseded" else status != "active"


def _is_excused(superseded: SourceEntry, entry: SourceEntry) -> bool:
    """Whether `entry`, or one of its direct sources, is a replacement of a source that is superseded."""
    assert isinstance(superseded, ClaimEntry)  # nothing else is ever superseded
    replacements = superseded.replacements
    return replacements is not None and not replacements.keys().isdisjoint((entry, *entry.sources))


def _who_rest_on(replacements: list[ClaimEntry], source: SourceEntry) -> Collection[SourceEntry]:
    """The dependents of `source` who are one of `replacements` or derive from one directly, among others.

    Of both ways to find them the shorter one: a claim may be corrected as often as it has dependents.
    """
    if sum(len(one.dependents) + 1 for one in replacements) >= len(source.dependents):
        return source.dependents
    found: dict[SourceEntry, None] = {}
    for replacement in replacements:
        found.update(dict.fromkeys((replacement, *replacement.dependents)))
    return found


def _spread(asking: dict[SourceEntry, Collection[SourceEntry]], touched: dict[Entry, None]) -> Steps[None]:
    """Bring taint up to date, from the sources in `asking`, each of which asks some entries, to all it reaches.

    The entries whose taint has changed are put into `touched`.  `asking` is used up.
    """
    queue: list[tuple[int, str, SourceEntry]] = []
    for number, source in enumerate(asking, 1):
        heappush(queue, (*total_order(source), source))
        if number % STEP == 0:
            yield
    number = 0
    while queue:
        source = heappop(queue)[-1]
        verdict = _taints_all(source)
        for entry in asking.pop(source):
            number += 1
            if number % STEP == 0:
                yield
            if source not in entry.sources:
                continue  # it rests on a replacement of the source only (_who_rest_on)
            taints = not _is_excused(source, entry) if verdict is None else verdict
            if taints == (source in entry.taint):
                continue
            touched[entry] = None
            was_empty = not entry.taint
            entry.taint = _with_source(entry, source) if taints else _without_source(entry, source)
            if entry.dependents and (not entry.taint) != was_empty:
                if entry not in asking:
                    heappush(queue, (*total_order(entry), entry))
                asking[entry] = entry.dependents


def _with_source(entry: SourceEntry, source: SourceEntry) -> tuple[SourceEntry, ...]:
    return (*entry.taint, source) if len(entry.sources) > 1 else entry.sources


def _without_source(entry: SourceEntry, source: SourceEntry) -> tuple[SourceEntry, ...]:
    return tuple([one for one in entry.taint if one is not source])
