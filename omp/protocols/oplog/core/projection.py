"""What a reader with a grant sees of a log: the projection of oplog §6.

For a key at a time: every claim, of any status, whose predicate matches the scope of an active ``read`` grant of that
key within its times.  The claim comes with subject, object, confidence, status and whether it is tainted; what it
rests on (``method``, ``derived_from``, the taint list and the evidence records it names) comes only where such a grant
has provenance ``full``.  The root sees all.  ``scope.ops`` does not matter for reading.

An evidence record is the evidence-ingest that ``derived_from`` names: its ID, status and body.  Evidence further
down belongs to claims that the reader may not see.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omp.protocols.oplog.core.authority import matches
from omp.protocols.oplog.core.document import sorted_ids
from omp.protocols.oplog.core.entries import ClaimEntry, EvidenceEntry
from omp.protocols.oplog.core.operation import CLAIM
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.state import status_of


def projection(replica: Replica, key: str, now: str, after: str | None = None) -> Iterator[dict[str, Any]]:
    """What `key` sees at `now` (a timestamp of §1.3), in total order, `after` an operation ID exclusive.

    KeyError if `after` is not stored.  Lazy, as :meth:`Replica.operations`.
    """
    root = replica.is_root(key)
    grants = replica.grants_in_force(key, "read", now)
    if not (root or grants):
        return
    # What a grant shows is the same for all claims with one predicate, and there are few predicates.
    seen: dict[str, str | None] = {}
    for claim in replica.operations(after, CLAIM):
        assert isinstance(claim, ClaimEntry)
        if claim.predicate not in seen:
            provenances = {grant.provenance for grant in grants if matches(claim.predicate, grant.predicates)}
            seen[claim.predicate] = "full" if root or "full" in provenances else "none" if provenances else None
        if (provenance := seen[claim.predicate]) is not None:
            yield _projected(claim, provenance)


def _projected(claim: ClaimEntry, provenance: str) -> dict[str, Any]:
    body = claim.envelope()["body"]
    item = {
        "id": claim.id,
        "subject": body["subject"],
        "predicate": claim.predicate,
        "object": body["object"],
        "confidence_ppm": body["confidence_ppm"],
        "status": status_of(claim),
        "tainted": bool(claim.taint),
    }
    if provenance == "full":
        item["method"] = body["method"]
        item["derived_from"] = body["derived_from"]
        item["taint"] = sorted_ids(claim.taint)
        item["evidence"] = [_record(source) for source in claim.sources if isinstance(source, EvidenceEntry)]
    return item


def _record(evidence: EvidenceEntry) -> dict[str, Any]:
    return {"id": evidence.id, "status": status_of(evidence), "body": evidence.envelope()["body"]}
