"""How ``python -m omp log`` shows operations to people: one line each, IDs by their first digits.

The lines are made to be read; what a program wants is the state document (`show --json`), the derivation
(`why --json`) and the operations themselves (`show ID`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from omp.protocols.oplog.derivation import changed_by
from omp.protocols.oplog.document import sorted_ids
from omp.protocols.oplog.entries import ClaimEntry, Entry, EvidenceEntry, GrantEntry, SourceEntry
from omp.protocols.oplog.operation import CLAIM, EVIDENCE, GRANT, INFERENCE
from omp.protocols.oplog.replica import Replica
from omp.protocols.oplog.state import status_of
from omp.rules import canonical

SHOWN_DIGITS = 12
_NAMES = {CLAIM: "claim", EVIDENCE: "evidence", GRANT: "grant", INFERENCE: "inference"}


def short(operation_id: str) -> str:
    """The first digits of an operation ID.

    >>> short("omp:op:sha256:0123456789abcdef" + 48 * "0")
    '0123456789ab…'
    """
    return operation_id.rpartition(":")[2][:SHOWN_DIGITS] + "…"


def summary(replica: Replica) -> Iterator[str]:
    """The whole log: what `show` prints."""
    heads = replica.heads()
    yield f"log    {replica.log}"
    yield f"state  {replica.state_id()}"
    yield f"{_number(len(replica), 'operation')}, {_number(len(heads), 'head')}"
    for kind, name in _NAMES.items():
        for entry in replica.operations(kind=kind):
            yield f"{name} {short(entry.id)} {_status(entry)}: {_content(entry)}"
    for fork in replica.forks():
        yield f"fork by {fork['author']}, seq {fork['seq']}: {' '.join(map(short, fork['ops']))}"


def tree(replica: Replica, claim: SourceEntry) -> Iterator[str]:
    """What a claim rests on, depth first, each level indented: what `why` prints."""
    met: set[SourceEntry] = set()
    trail: list[tuple[SourceEntry, int]] = [(claim, 0)]
    while trail:
        entry, depth = trail.pop()
        name = f"{'  ' * depth}{_NAMES[entry.type]} {short(entry.id)}"
        if entry in met:
            yield f"{name} (above)"
            continue
        met.add(entry)
        yield f"{name} {_status(entry)}: {_content(entry)}"
        for cause in changed_by(entry):
            yield f"{'  ' * depth}  {_cause(replica, cause)}"
        trail += [(source, depth + 1) for source in reversed(entry.sources)]


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _status(entry: Entry) -> str:
    taint = sorted_ids(entry.taint) if isinstance(entry, SourceEntry) else []
    return status_of(entry) + (f", tainted by {_listed(taint)}" if taint else "")


def _listed(ids: Iterable[str]) -> str:
    return " ".join(map(short, ids))


def _cause(replica: Replica, operation_id: str) -> str:
    """What changed a status: its type, its ID, and why its author said so."""
    entry = replica.entry(operation_id)
    assert entry is not None  # it changed something, so it is stored
    told = entry.envelope()["body"]["reason"]
    return f"{entry.type} {short(operation_id)}" + (f": {_plain(told)}" if told else "")


def _content(entry: Entry) -> str:
    body = entry.envelope()["body"]
    if isinstance(entry, ClaimEntry):
        value = canonical.encode({"object": body["object"]})[len(b'{"object":') : -1].decode()
        return f"{_plain(body['subject'])} {entry.predicate} {_plain(value)}"
    if isinstance(entry, EvidenceEntry):
        return f"{body['source']} {body['media_type']}, {_number(body['size'], 'byte')}"
    if isinstance(entry, GrantEntry):
        return f"{', '.join(body['caps'])} on {' '.join(body['scope']['predicates'])} for {entry.grantee}"
    return f"{_plain(body['model'])} on {_listed(body['inputs'])}: {_plain(body['purpose'])}"


def _plain(text: Any) -> str:
    """Text of somebody else's, without what moves a terminal's cursor or breaks the line."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))
