"""The answers about single operations (oplog §7): items of the lists, and ``why``, the derivation down to evidence.

An item is an operation's object of the state document (§5) plus ``author``, ``ts`` and ``body``.  ``why`` is a tree:
each operation with its status, what changed that status, its body and its sources.  A source met a second time is its
ID alone, so the tree is as large as the derivation, and it may be as deep as the log is long: it is written without
recursion, as text.
"""

from __future__ import annotations

from typing import Any

from omp.protocols.oplog.core.document import sorted_ids, state_object
from omp.protocols.oplog.core.entries import ClaimEntry, Entry, EvidenceEntry, SourceEntry
from omp.protocols.oplog.core.state import status_of
from omp.protocols.oplog.core.void import cutting
from omp.rules import canonical


def item(entry: Any) -> dict[str, Any]:
    """A claim, evidence-ingest, grant or inference-call as the lists of §7 show it."""
    envelope = entry.envelope()
    return {**state_object(entry), "author": entry.author, "ts": envelope["ts"], "body": envelope["body"]}


def changed_by(entry: SourceEntry) -> list[str]:
    """What gave an operation its status: the IDs of what voids it, what refutes it and what corrects it, sorted."""
    causes: list[Entry] = [one for grant in entry.auth for one in cutting(grant, entry)] if entry.void else []
    if isinstance(entry, ClaimEntry | EvidenceEntry):
        causes += entry.refuted_by
    if isinstance(entry, ClaimEntry):
        causes += entry.superseded_by
    # §5: lists of IDs are sorted by ID.  Two grants may be cut by one revocation: it is named once.
    return sorted_ids(set(causes))


def why(entry: SourceEntry) -> bytes:
    """The derivation of a claim, evidence-ingest or inference-call as JSON: `GET …/claims/{id}/why`.

    Depth first, sources in the order in which the operation names them.
    """
    out: list[bytes] = []
    met: set[SourceEntry] = set()
    trail: list[SourceEntry | bytes] = [entry]
    while trail:
        at = trail.pop()
        if isinstance(at, bytes):
            out.append(at)
        elif at in met:
            out.append(canonical.encode({"id": at.id}))
        else:
            met.add(at)
            head = {
                "id": at.id,
                "type": at.type,
                "status": status_of(at),
                "changed_by": changed_by(at),
                "body": at.envelope()["body"],
            }
            out.append(canonical.encode(head)[:-1] + b',"sources":[')
            trail.append(b"]}")
            for number, source in reversed(list(enumerate(at.sources))):
                trail += [source, b","] if number else [source]
    return b"".join(out)
