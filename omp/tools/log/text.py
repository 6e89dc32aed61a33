"""How ``python -m omp log`` shows operations to people: one line each, IDs by their first digits.

The lines are for people: text by others is made printable, so that it cannot move the cursor or forge a line; long text
is cut; a deep derivation is indented only so far.  Programs should take the state document (`show --json`), the
derivation (`why --json`) or the operations themselves (`show ID`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omp.protocols.oplog.core.document import changed_by, sorted_ids
from omp.protocols.oplog.core.entries import ClaimEntry, Entry, EvidenceEntry, GrantEntry, SourceEntry
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, INFERENCE
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.state import status_of
from omp.rules import canonical
from omp.tools.terminal import coloured, printable

SHOWN_DIGITS = 12
SHOWN_LETTERS = 120
"""How much is shown of text that somebody wrote: an operation may hold thousands of characters."""
SHOWN_LEVELS = 20
_AUTHOR_LETTERS = 6
_YELLOW = "33"
_NAMES = {CLAIM: "claim", EVIDENCE: "evidence", GRANT: "grant", INFERENCE: "inference"}


def short(operation_id: str) -> str:
    """The first digits of an operation ID.

    >>> short("omp:op:sha256:0123456789abcdef" + 48 * "0")
    '0123456789ab…'
    """
    return operation_id.rpartition(":")[2][:SHOWN_DIGITS] + "…"


def counted(count: int, name: str) -> str:
    """A number of things, in words.

    >>> counted(1, "operation"), counted(2, "operation")
    ('1 operation', '2 operations')
    """
    return f"{count} {name}{'' if count == 1 else 's'}"


def summary(replica: Replica) -> Iterator[str]:
    """The whole log: what `show` prints."""
    heads = replica.heads()
    yield f"log    {replica.log}"
    yield f"state  {replica.state_id()}"
    yield f"{counted(len(replica), 'operation')}, {counted(len(heads), 'head')}"
    for kind, name in _NAMES.items():
        for entry in replica.operations(kind=kind):
            yield f"{name} {short(entry.id)} {_status(entry)}: {_content(entry)}"
    for fork in replica.forks():
        yield f"fork by {fork['author']}, seq {fork['seq']}: {' '.join(map(short, fork['ops']))}"


def line(entry: Entry) -> str:
    """One operation, in one line: what `list` and `graph` print.  Its author is named by the end of the key's ID."""
    envelope = entry.envelope()
    body = envelope["body"]
    content = _content(entry) if entry.type in _NAMES else _change(body)
    shown = coloured(short(entry.id), _YELLOW)
    return f"{shown} {envelope['ts']} {entry.author[-_AUTHOR_LETTERS:]} {entry.type} {status_of(entry)}: {content}"


def _change(body: Mapping[str, Any]) -> str:
    """What a correction, refutation or revocation is about."""
    said = f": {_shown(body['reason'])}" if body["reason"] else ""
    by = f" by {short(body['replacement'])}" if body.get("replacement") else ""
    return short(body["target"]) + by + said


def tree(replica: Replica, claim: SourceEntry) -> Iterator[str]:
    """What a claim is derived from, depth first, each level indented: what `why` prints."""
    met: set[SourceEntry] = set()
    trail: list[tuple[SourceEntry, int]] = [(claim, 0)]
    while trail:
        entry, depth = trail.pop()
        indent = "  " * min(depth, SHOWN_LEVELS)
        name = f"{indent}{_NAMES[entry.type]} {short(entry.id)}"
        if entry in met:
            yield f"{name} (above)"
            continue
        met.add(entry)
        yield f"{name} {_status(entry)}: {_content(entry)}"
        for cause in changed_by(entry):
            yield f"{indent}  {_cause(replica, cause)}"
        trail += [(source, depth + 1) for source in reversed(entry.sources)]


def _status(entry: Entry) -> str:
    taint = sorted_ids(entry.taint) if isinstance(entry, SourceEntry) else []
    return status_of(entry) + (f", tainted by {_listed(taint)}" if taint else "")


def _listed(ids: Iterable[str]) -> str:
    return " ".join(map(short, ids))


def _cause(replica: Replica, operation_id: str) -> str:
    """What changed a status: its type, its ID, and why its author said so."""
    entry = replica.entry(operation_id)
    assert entry is not None  # it changed something, so it is stored
    said = entry.envelope()["body"]["reason"]
    return f"{entry.type} {short(operation_id)}" + (f": {_shown(said)}" if said else "")


def _content(entry: Entry) -> str:
    body = entry.envelope()["body"]
    if isinstance(entry, ClaimEntry):
        value = canonical.encode({"object": body["object"]})[len(b'{"object":') : -1].decode()
        return f"{_shown(body['subject'])} {entry.predicate} {_shown(value)}"
    if isinstance(entry, EvidenceEntry):
        return f"{body['source']} {body['media_type']}, {counted(body['size'], 'byte')}"
    if isinstance(entry, GrantEntry):
        return f"{', '.join(body['caps'])} on {' '.join(body['scope']['predicates'])} for {entry.grantee}"
    return f"{_shown(body['model'])} on {_listed(body['inputs'])}: {_shown(body['purpose'])}"


def _shown(text: str) -> str:
    """Text by somebody else, made safe to show and not too long."""
    return printable(text if len(text) <= SHOWN_LETTERS else text[:SHOWN_LETTERS] + "…")
