"""The state document and its ID: oplog §5, last part.

The document is the OMP-CJ encoding of one object; it grows with the log, and two nodes agree iff its SHA-256 is the
same.  It is written from parts that are kept ready: each list of objects is an :class:`Ordered` by ID, which remembers
the text of its blocks.  After a change only the blocks it touched are written again, and as long as nothing changes
the state ID is a look at what was computed.

Only IDs, statuses, numbers and booleans stand in the document, none of which needs an escape: so the objects are put
together as text, their members in canonical order.  The checker derives the same bytes the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any

from omp.protocols.oplog.core.blocks import Ordered
from omp.protocols.oplog.core.causality import Author
from omp.protocols.oplog.core.entries import (
    ClaimEntry,
    Entry,
    EvidenceEntry,
    GrantEntry,
    InferenceEntry,
    SourceEntry,
    by_id,
)
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, INFERENCE, VERSION
from omp.protocols.oplog.core.state import is_effective, replacement_of, status_of
from omp.protocols.oplog.core.void import effective_revocations
from omp.rules import identifiers

LISTS = {EVIDENCE: "evidence", CLAIM: "claims", GRANT: "grants", INFERENCE: "inferences"}
"""The types that have a list of objects in the document, and its name."""


def state_object(entry: Entry) -> dict[str, Any]:
    """The object of a claim, evidence-ingest, grant or inference-call in the state document.

    >>> sorted(_MEMBERS[CLAIM])
    ['effective', 'id', 'refuted_by', 'replacement', 'status', 'superseded_by', 'taint']
    """
    return {name: member(entry) for name, member in _MEMBERS[entry.type].items()}


def sorted_ids(entries: Iterable[Entry]) -> list[str]:
    """The IDs of `entries`, sorted."""
    return sorted(entry.id for entry in entries)


def _effective(claim: ClaimEntry) -> bool:
    return is_effective(claim)


def _id(entry: Entry) -> str:
    return entry.id


def _refuted_by(entry: ClaimEntry | EvidenceEntry) -> list[str]:
    return [one.id for one in entry.refuted_by]  # kept sorted by ID


def _superseded_by(claim: ClaimEntry) -> list[str]:
    return [one.id for one in claim.superseded_by]  # kept in total order


def _replacement(claim: ClaimEntry) -> str | None:
    replacement = replacement_of(claim)
    return replacement.id if replacement is not None else None


def _taint(entry: SourceEntry) -> list[str]:
    return sorted_ids(entry.taint)


def _revoked_by(grant: GrantEntry) -> list[str]:
    return sorted_ids(effective_revocations(grant))


_MEMBERS: dict[str, dict[str, Callable[[Any], Any]]] = {  # §5; the names of each object in canonical order
    EVIDENCE: {"id": _id, "refuted_by": _refuted_by, "status": status_of},
    CLAIM: {
        "effective": _effective,
        "id": _id,
        "refuted_by": _refuted_by,
        "replacement": _replacement,
        "status": status_of,
        "superseded_by": _superseded_by,
        "taint": _taint,
    },
    GRANT: {"id": _id, "revoked_by": _revoked_by, "status": status_of},
    INFERENCE: {"id": _id, "status": status_of, "taint": _taint},
}


class StateDocument:
    """The state document of one log, kept up to date entry by entry."""

    def __init__(self, log: str) -> None:
        self._log = log
        self._lists: dict[str, Ordered[Any]] = {kind: Ordered(by_id) for kind in LISTS}
        self._void: Ordered[Entry] = Ordered(by_id)
        self._state_id: str | None = None

    def add(self, entry: Entry) -> None:
        """Take in a new entry, after its status and taint are settled."""
        self._state_id = None
        if entry.type in self._lists:
            self._lists[entry.type].add(entry)
        if entry.void:
            self._void.add(entry)

    def changed(self, entry: Entry) -> None:
        """The object of a stored `entry` is another now."""
        self._lists[entry.type].changed(entry)

    def flipped(self, entry: Entry) -> None:
        """A stored `entry` turned void, or valid again."""
        if entry.void:
            self._void.add(entry)
        else:
            self._void.remove(entry)

    def state_id(self, operations: int, heads: Iterable[Entry], authors: Iterable[Author]) -> str:
        """The state ID; the arguments are those of :meth:`pieces`, and nothing but :meth:`add` may change them."""
        if self._state_id is None:
            digest = sha256()
            for piece in self.pieces(operations, heads, authors):
                digest.update(piece)
            self._state_id = identifiers.STATE_PREFIX + digest.hexdigest()
        return self._state_id

    def pieces(self, operations: int, heads: Iterable[Entry], authors: Iterable[Author]) -> Iterator[bytes]:
        """The bytes of the document, in pieces: for `operations` stored, these `heads`, and the forks of `authors`."""
        yield from self._list("{", "claims", self._lists[CLAIM], _render_claim)
        yield from self._list(",", "evidence", self._lists[EVIDENCE], _render_evidence)
        yield f',"forks":[{",".join(_render_forks(authors))}]'.encode()
        yield from self._list(",", "grants", self._lists[GRANT], _render_grant)
        yield f',"heads":{_ids(sorted_ids(heads))}'.encode()
        yield from self._list(",", "inferences", self._lists[INFERENCE], _render_inference)
        yield f',"log":"{self._log}","ops":{operations},"v":"{VERSION}"'.encode()
        yield from self._list(",", "void", self._void, _render_id)
        yield b"}"

    @staticmethod
    def _list(before: str, name: str, entries: Ordered[Any], render: Callable[[Any], bytes]) -> Iterator[bytes]:
        yield f'{before}"{name}":['.encode()
        separator = b""
        for block in entries.renderings(render):
            yield separator
            yield block
            separator = b","
        yield b"]"


def forks_of(authors: Iterable[Author]) -> list[dict[str, Any]]:
    """The forks of §3.4 as in the state document: sorted by author, then ``seq``."""
    return [
        {"author": author.key, "ops": sorted_ids(author.forks[seq]), "seq": seq}
        for author in sorted(authors, key=lambda author: author.key)
        for seq in sorted(author.forks)
    ]


def _render_forks(authors: Iterable[Author]) -> Iterator[str]:
    forked = (author for author in authors if author.forks)
    return (
        f'{{"author":"{fork["author"]}","ops":{_ids(fork["ops"])},"seq":{fork["seq"]}}}' for fork in forks_of(forked)
    )


def _render_claim(claim: ClaimEntry) -> bytes:
    replacement = _replacement(claim)
    return (
        f'{{"effective":{"true" if is_effective(claim) else "false"},"id":"{claim.id}",'
        f'"refuted_by":{_ids(_refuted_by(claim))},"replacement":{_id_or_null(replacement)},'
        f'"status":"{status_of(claim)}","superseded_by":{_ids(_superseded_by(claim))},"taint":{_ids(_taint(claim))}}}'
    ).encode()


def _render_evidence(entry: EvidenceEntry) -> bytes:
    return f'{{"id":"{entry.id}","refuted_by":{_ids(_refuted_by(entry))},"status":"{status_of(entry)}"}}'.encode()


def _render_grant(grant: GrantEntry) -> bytes:
    return f'{{"id":"{grant.id}","revoked_by":{_ids(_revoked_by(grant))},"status":"{status_of(grant)}"}}'.encode()


def _render_inference(entry: InferenceEntry) -> bytes:
    return f'{{"id":"{entry.id}","status":"{status_of(entry)}","taint":{_ids(_taint(entry))}}}'.encode()


def _render_id(entry: Entry) -> bytes:
    return f'"{entry.id}"'.encode()


def _ids(ids: list[str]) -> str:
    return '["' + '","'.join(ids) + '"]' if ids else "[]"


def _id_or_null(operation_id: str | None) -> str:
    return "null" if operation_id is None else f'"{operation_id}"'
