"""From a candidate that passed all twelve stages to the entry that is kept of it: one builder a type (oplog §2.2)."""

from __future__ import annotations

from collections.abc import Callable
from sys import intern
from typing import Any

from omp.protocols.oplog.core.candidate import Candidate
from omp.protocols.oplog.core.entries import (
    ClaimEntry,
    CorrectionEntry,
    Entry,
    EvidenceEntry,
    GrantEntry,
    InferenceEntry,
    RefutationEntry,
    RevocationEntry,
    SourceEntry,
)
from omp.protocols.oplog.core.operation import CLAIM, CORRECTION, EVIDENCE, GRANT, INFERENCE, REFUTATION, REVOCATION


def entry_of(candidate: Candidate) -> Entry:
    """The entry of an operation that passed all stages, not placed yet and in nobody's lists."""
    operation = candidate.operation
    entry = _BUILDERS[operation.type](candidate, operation.body)
    entry.raw = operation.raw
    entry.id = operation.id
    entry.lc = operation.lc
    entry.seq = operation.seq
    # Most operations act under the same grants as the one before them: they share the tuple.
    prev = candidate.prev
    entry.auth = prev.auth if prev is not None and prev.auth == candidate.auth else candidate.auth
    entry.void = False
    return entry


def _source(entry: SourceEntry, sources: list[Any]) -> None:
    entry.sources = tuple(sources)
    entry.dependents = ()
    entry.taint = frozenset()


def _evidence(candidate: Candidate, body: dict[str, Any]) -> EvidenceEntry:
    entry = EvidenceEntry()
    _source(entry, [])
    entry.refuted_by = ()
    return entry


def _claim(candidate: Candidate, body: dict[str, Any]) -> ClaimEntry:
    entry = ClaimEntry()
    _source(entry, candidate.named["derived_from"])
    entry.predicate = intern(body["predicate"])
    entry.refuted_by = ()
    entry.superseded_by = ()
    return entry


def _inference(candidate: Candidate, body: dict[str, Any]) -> InferenceEntry:
    entry = InferenceEntry()
    _source(entry, candidate.named["inputs"])
    return entry


def _correction(candidate: Candidate, body: dict[str, Any]) -> CorrectionEntry:
    entry = CorrectionEntry()
    entry.target = _named(candidate, "target")
    entry.replacement = _named(candidate, "replacement")
    return entry


def _refutation(candidate: Candidate, body: dict[str, Any]) -> RefutationEntry:
    entry = RefutationEntry()
    entry.target = _named(candidate, "target")
    return entry


def _grant(candidate: Candidate, body: dict[str, Any]) -> GrantEntry:
    entry = GrantEntry()
    scope = body["scope"]
    entry.grantee = body["grantee"]
    entry.caps = frozenset(map(intern, body["caps"]))
    entry.predicates = tuple(scope["predicates"])
    entry.provenance = scope["provenance"]
    entry.ops = frozenset(scope["ops"]) if "ops" in scope else None
    entry.max_depth = body["max_depth"]
    entry.not_before = body["not_before"]
    entry.expires = body["expires"]
    entry.parent = _named(candidate, "parent")
    entry.depth = 1 if entry.parent is None else entry.parent.depth + 1
    entry.children, entry.revocations, entry.cuts = [], [], []
    return entry


def _revocation(candidate: Candidate, body: dict[str, Any]) -> RevocationEntry:
    entry = RevocationEntry()
    entry.target = _named(candidate, "target")
    entry.renounces = entry.target.grantee == candidate.operation.author
    return entry


def _named(candidate: Candidate, member: str) -> Any:
    """The entry that a member names, or None; stage 11 saw to its type."""
    return next(iter(candidate.named[member]), None)


_BUILDERS: dict[str, Callable[[Candidate, dict[str, Any]], Entry]] = {
    EVIDENCE: _evidence,
    CLAIM: _claim,
    CORRECTION: _correction,
    REFUTATION: _refutation,
    GRANT: _grant,
    REVOCATION: _revocation,
    INFERENCE: _inference,
}
