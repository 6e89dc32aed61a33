"""Who may append what: the first half of oplog §4 (root, Auth(O), coverage, attenuation), and stage 12 of §3.2.

The root may do everything.  Any other key acts under grants, and only under those in the operation's own past:
Auth(O).  Whether a grant covers an operation is one table, :data:`_COVERS`, with a row for each type; attenuation is
one function, :func:`attenuates`, with a line for each rule.

Everything here looks at past(O) alone, never at what else this node holds.  So the verdict, and Auth(O) itself, are the
same on every node and in every order of arrival, and are settled once and for all when an operation is stored.  What a
revocation does to operations that are concurrent with it is void.py's part.

Two functions serve readers too (§6): :func:`matches` for patterns, :func:`in_force` for times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from omp.protocols.oplog.core.causality import Candidate
from omp.protocols.oplog.core.entries import ClaimEntry, Entry, GrantEntry
from omp.protocols.oplog.core.operation import CLAIM, CORRECTION, EVIDENCE, GRANT, INFERENCE, REFUTATION, REVOCATION
from omp.rules import identifiers


def root_key(log: str) -> str:
    """The key ID with the same public key as the identity ID `log`: oplog §1.2."""
    return identifiers.KEY_PREFIX + log.removeprefix(identifiers.IDENTITY_PREFIX)


def matches(predicate: str, patterns: Iterable[str]) -> bool:
    """Whether a predicate matches one of `patterns`: §2.2.

    >>> matches("calendar.event", ["calendar.*"]), matches("calendars", ["calendar.*"])
    (True, False)
    """
    # Q.* matches P if P is Q or starts with "Q.".  With a point put behind P both are one test: it starts with "Q.".
    return any(
        pattern == "*" or pattern == predicate or (pattern[-2:] == ".*" and f"{predicate}.".startswith(pattern[:-1]))
        for pattern in patterns
    )


def patterns_over(predicate: str) -> list[str]:
    """All patterns that `predicate` matches: whoever has many patterns looks these few up.

    >>> patterns_over("calendar.event")
    ['*', 'calendar.event', 'calendar.event.*', 'calendar.*']
    """
    patterns = ["*", predicate]
    while predicate:
        patterns.append(f"{predicate}.*")
        predicate = predicate.rpartition(".")[0]
    return patterns


def in_force(grant: GrantEntry, ts: str) -> bool:
    """Whether ``not_before`` ≤ `ts` < ``expires``; a null one is no bound.  Timestamps compare as strings (§1.3)."""
    return (grant.not_before is None or grant.not_before <= ts) and (grant.expires is None or ts < grant.expires)


def authorize(candidate: Candidate) -> str | None:
    """Stage 12: set ``candidate.auth`` to Auth(O).  Returns a sentence if the author may not do this, else None."""
    operation, author = candidate.operation, candidate.author
    if operation.type == GRANT and (problem := _grantee_problem(candidate)):
        return problem
    if author.is_root:
        return _root_problem(candidate)
    candidate.auth = grants_covering(candidate)
    if not candidate.auth:
        return f"no grant in this operation's past lets {operation.author} append this {operation.type}"
    return None


def _root_problem(candidate: Candidate) -> str | None:
    operation = candidate.operation
    if operation.seq == 1 and operation.deps:
        return "the root's first operation begins the log: its deps must be empty"
    if operation.type == GRANT and candidate.named["parent"]:
        return "a grant by the root stands under no other: parent must be null"
    if operation.type == INFERENCE and candidate.named["grant"]:
        return "the root needs no grant for an inference-call: grant must be null"
    return None


def _grantee_problem(candidate: Candidate) -> str | None:
    """§4: authority flows down only, so that no key can give itself, or a key above it, what it was given."""
    operation = candidate.operation
    grantee = operation.body["grantee"]
    if grantee in (root_key(operation.log), operation.author):
        return "the grantee must be another key than the root and the author"
    for parent in candidate.named["parent"]:
        assert isinstance(parent, GrantEntry)  # stage 11 checked it
        if any(grant.grantee == grantee for grant in parent.lineage()):
            return "the grantee holds a grant above this one already"
    return None


def grants_covering(candidate: Candidate) -> tuple[GrantEntry, ...]:
    """Auth(O) of an operation by a key other than the root, as it was when it came; empty if nothing allows it."""
    if renounced := _renounced(candidate):
        # §4: whoever holds a grant may give it up, whatever its capabilities, types and times.
        return () if _revoked_in_past(renounced, candidate) else (renounced,)
    covers = _COVERS[candidate.operation.type]
    return tuple(
        grant
        for grant in candidate.author.grants
        if _admits(grant, candidate)
        and covers(grant, candidate)
        and candidate.past.holds(grant)
        and not _revoked_in_past(grant, candidate)
    )


def _renounced(candidate: Candidate) -> GrantEntry | None:
    """The grant that a revocation gives up, if its author is the target's grantee."""
    if candidate.operation.type == REVOCATION:
        (target,) = candidate.named["target"]
        assert isinstance(target, GrantEntry)
        if target.grantee == candidate.operation.author:
            return target
    return None


def _revoked_in_past(grant: GrantEntry, candidate: Candidate) -> bool:
    """Whether a revocation in past(O) targets the grant or an ancestor.

    Void or not: whether it is void depends on what else has arrived, and the verdict on O must not.
    """
    # Not over lineage(), which makes a list: a key may have thousands of grants, and each of its operations asks here.
    above: GrantEntry | None = grant
    while above is not None:
        if above.revocations and any(map(candidate.past.holds, above.revocations)):
            return True
        above = above.parent
    return False


# --- Coverage ---------------------------------------------------------------------------------------------------


def _admits(grant: GrantEntry, candidate: Candidate) -> bool:
    """What a grant must have to cover any operation, whatever its type."""
    operation = candidate.operation
    return (
        "author" in grant.caps and (grant.ops is None or operation.type in grant.ops) and in_force(grant, operation.ts)
    )


def _evidence(grant: GrantEntry, candidate: Candidate) -> bool:
    return True  # nothing more: evidence has no predicate, and asserts nothing yet


def _claim(grant: GrantEntry, candidate: Candidate) -> bool:
    return matches(candidate.operation.body["predicate"], grant.predicates)


def _correction(grant: GrantEntry, candidate: Candidate) -> bool:
    # Both claims: who may write about calendars must not be able to replace a calendar claim by one about health.
    return _in_scope(grant, [*candidate.named["target"], *candidate.named["replacement"]])


def _refutation(grant: GrantEntry, candidate: Candidate) -> bool:
    # Refuted evidence taints claims of every predicate, so only a grant over all of them may refute it.
    (target,) = candidate.named["target"]
    return _in_scope(grant, [target]) if isinstance(target, ClaimEntry) else "*" in grant.predicates


def _in_scope(grant: GrantEntry, claims: Iterable[Entry]) -> bool:
    return all(isinstance(claim, ClaimEntry) and matches(claim.predicate, grant.predicates) for claim in claims)


def _grant(grant: GrantEntry, candidate: Candidate) -> bool:
    # The grant that it names as parent must cover it alone: a second grant of the same key cannot fill the gap.
    return (
        "delegate" in grant.caps and grant in candidate.named["parent"] and attenuates(candidate.operation.body, grant)
    )


def _revocation(grant: GrantEntry, candidate: Candidate) -> bool:
    # A strict ancestor: authority over a grant lies above it, and giving up one's own is a renunciation (_renounced).
    (target,) = candidate.named["target"]
    return isinstance(target, GrantEntry) and grant in target.lineage()[1:]


def _inference(grant: GrantEntry, candidate: Candidate) -> bool:
    # The caller has read the inputs.  Evidence is hidden unless provenance is "full".
    inputs = candidate.named["inputs"]
    claims = [entry for entry in inputs if isinstance(entry, ClaimEntry)]
    return (
        "infer" in grant.caps
        and grant in candidate.named["grant"]
        and _in_scope(grant, claims)
        and (len(claims) == len(inputs) or grant.provenance == "full")  # inputs that are no claims are evidence
    )


_COVERS: dict[str, Callable[[GrantEntry, Candidate], bool]] = {  # §4, "G covers O": by the type of O
    EVIDENCE: _evidence,
    CLAIM: _claim,
    CORRECTION: _correction,
    REFUTATION: _refutation,
    GRANT: _grant,
    REVOCATION: _revocation,
    INFERENCE: _inference,
}


def attenuates(body: dict[str, Any], parent: GrantEntry) -> bool:
    """Whether a grant with this `body` gives nothing that `parent` does not have: §4, rule by rule."""
    scope, not_before, expires = body["scope"], body["not_before"], body["expires"]
    return (
        parent.caps.issuperset(body["caps"])
        # Read as a predicate, a pattern matches exactly the patterns that cover it.  For example, calendar.event.*
        # starts with "calendar.", so calendar.* covers it; the pattern * starts with nothing of the kind.
        and all(matches(pattern, parent.predicates) for pattern in scope["predicates"])
        and (scope["provenance"] == "none" or parent.provenance == "full")
        and (parent.ops is None or ("ops" in scope and parent.ops.issuperset(scope["ops"])))
        and body["max_depth"] < parent.max_depth
        # If the parent has a bound, null (no bound) would be wider.
        and (parent.not_before is None or (not_before is not None and not_before >= parent.not_before))
        and (parent.expires is None or (expires is not None and expires <= parent.expires))
    )
