"""What a log says to its readers: the state document and its ID (oplog §5), the projection (§6), items and *why* (§7).

**The state document** is the OMP-CJ encoding of one object.  It grows with the log, and two nodes agree if and only if
its SHA-256 is the same.  :data:`_OBJECTS` says what each object in it holds, once: :func:`state_object` makes a
dictionary by it, and :class:`StateDocument` the canonical text.

The text is put together by hand and not by a JSON encoder because state IDs are asked for after every change: measured
on claims, this takes 1.2 µs an object, and the encoder of the standard library 3.1 µs.  It is safe because the document
holds nothing but IDs, statuses, numbers and booleans, none of which needs an escape.  Each list of objects keeps the
text of its blocks (:class:`Blocks`), so a change costs the blocks that it touches, and one SHA-256 over all.  Writing
the blocks is all that needs the log to stand still, and may pause after each; the rest is done on a
:class:`StateSnapshot`.

**An item** of the lists of §7.4 is an operation's object in the state document with ``author``, ``ts`` and ``body``.
**Why** is a tree: an operation with its status, what changed that status, its body, and its sources.  A source that was
met before is its ID alone, so the tree is no larger than the derivation.  It may be as deep as the log is long, so it
is written without recursion, as text.

**The projection** is what a key with a ``read`` grant sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import repeat
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from omp.protocols.oplog.core.authority import patterns_over
from omp.protocols.oplog.core.blocks import Blocks
from omp.protocols.oplog.core.entries import (
    Author,
    ClaimEntry,
    Entry,
    EvidenceEntry,
    GrantEntry,
    SourceEntry,
    by_id,
)
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, INFERENCE, VERSION
from omp.protocols.oplog.core.state import is_effective, replacement_of, status_of
from omp.protocols.oplog.core.steps import STEP, Pause, Steps, never
from omp.protocols.oplog.core.void import cutting, effective_revocations
from omp.rules import canonical, identifiers

LISTS = {EVIDENCE: "evidence", CLAIM: "claims", GRANT: "grants", INFERENCE: "inferences"}
"""The types that have a list of objects in the state document, and the name of that list."""
_VOID = "void"
MOST_VOIDING = 100
"""§7.4: how many of the revocations that void an operation ``changed_by`` names at most."""


def sorted_ids(entries: Iterable[Entry]) -> list[str]:
    """The IDs of `entries`, sorted."""
    return sorted([entry.id for entry in entries])


# --- The objects of the state document --------------------------------------------------------------------------


class _Member(NamedTuple):
    """A member of an object: `value` takes the entry, and `text` writes that value as canonical JSON.

    For a string, `text` is None: all it needs is quotes.
    """

    value: Callable[[Any], Any]
    text: Callable[[Any], str] | None = None


def _refuted_by(entry: ClaimEntry | EvidenceEntry) -> list[str]:
    return [refutation.id for refutation in entry.refuted_by]  # state.py keeps them sorted by ID


def _superseded_by(claim: ClaimEntry) -> list[str]:
    return [correction.id for correction in claim.superseded_by]  # state.py keeps them in total order


def _replacement(claim: ClaimEntry) -> str | None:
    replacement = claim.superseded_by and replacement_of(claim)
    return replacement.id if replacement else None


def _taint(entry: SourceEntry) -> list[str]:
    return sorted_ids(entry.taint) if entry.taint else []


def _revoked_by(grant: GrantEntry) -> list[str]:
    return sorted_ids(effective_revocations(grant))


_boolean = {True: "true", False: "false"}.__getitem__


def _string_or_null(text: str | None) -> str:
    return "null" if text is None else f'"{text}"'


def _strings(texts: list[str]) -> str:
    return '["' + '","'.join(texts) + '"]' if texts else "[]"


_ID = _Member(attrgetter("id"))
_STATUS = _Member(status_of)
_REFUTED_BY = _Member(_refuted_by, _strings)
_TAINT = _Member(_taint, _strings)

_OBJECTS: dict[str, dict[str, _Member]] = {  # §5; members in canonical order
    EVIDENCE: {"id": _ID, "refuted_by": _REFUTED_BY, "status": _STATUS},
    CLAIM: {
        "effective": _Member(is_effective, _boolean),
        "id": _ID,
        "refuted_by": _REFUTED_BY,
        "replacement": _Member(_replacement, _string_or_null),
        "status": _STATUS,
        "superseded_by": _Member(_superseded_by, _strings),
        "taint": _TAINT,
    },
    GRANT: {"id": _ID, "revoked_by": _Member(_revoked_by, _strings), "status": _STATUS},
    INFERENCE: {"id": _ID, "status": _STATUS, "taint": _TAINT},
}


def state_object(entry: Entry) -> dict[str, Any]:
    """The object of a claim, evidence-ingest, grant or inference-call in the state document.

    >>> list(_OBJECTS[CLAIM])
    ['effective', 'id', 'refuted_by', 'replacement', 'status', 'superseded_by', 'taint']
    """
    return {name: member.value(entry) for name, member in _OBJECTS[entry.type].items()}


def _writer(members: dict[str, _Member]) -> Callable[[list[Any]], bytes]:
    """The function that writes the objects of some entries as text, with commas between them."""
    literals = []  # what stands before each value
    before = "{"
    for name, member in members.items():
        quote = "" if member.text else '"'
        literals.append(f'{before}"{name}":{quote}')
        before = f"{quote},"
    last = before[:-1] + "}"

    def write(entries: list[Any]) -> bytes:
        # One member of all entries after the other, so that the loops run in C.
        columns: list[Iterable[str]] = []
        for literal, member in zip(literals, members.values(), strict=True):
            values = map(member.value, entries)
            columns += [repeat(literal), map(member.text, values) if member.text else values]
        return ",".join(map("".join, zip(*columns, repeat(last), strict=False))).encode()

    return write


def _write_ids(entries: list[Entry]) -> bytes:
    return ",".join([f'"{entry.id}"' for entry in entries]).encode()


_WRITERS = {kind: _writer(members) for kind, members in _OBJECTS.items()}


Forks = list[tuple[str, dict[int, tuple[Entry, ...]]]]
"""The forks of §3.4: (author, its operations by ``seq``), in no particular order."""


def forks_of(authors: Iterable[Author]) -> Forks:
    """The forks as they are now."""
    return [
        (author.key, {seq: tuple(entries) for seq, entries in author.forks.items()})
        for author in authors
        if author.forks
    ]


def listed(forks: Forks) -> list[dict[str, Any]]:
    """Forks as the state document lists them: by author, then ``seq``."""
    return [
        {"author": author, "ops": sorted_ids(entries), "seq": seq}
        for author, by_seq in sorted(forks, key=itemgetter(0))
        for seq, entries in sorted(by_seq.items())
    ]


# --- The state document -----------------------------------------------------------------------------------------


class StateSnapshot:
    """The state document of one moment.  It never changes, so it is joined, sorted and hashed without a lock."""

    def __init__(self, log: str, ops: int, heads: Iterable[Entry], forks: Forks, texts: dict[str, list[bytes]]) -> None:
        """`texts` holds, by the name of a list, pieces with one object or several, commas between them."""
        self.ops = ops
        self._log = log
        self._heads = list(heads)
        self._forks = forks
        self._texts = texts
        self._state_id: str | None = None

    @property
    def heads(self) -> list[str]:
        """The IDs of the heads, sorted."""
        return sorted_ids(self._heads)

    @property
    def state_id(self) -> str:
        """The state ID, remembered."""
        if self._state_id is None:
            digest = sha256()
            for piece in self.pieces():
                digest.update(piece)
            self._state_id = identifiers.STATE_PREFIX + digest.hexdigest()
        return self._state_id

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the document, piece by piece."""
        members: list[tuple[str, Iterable[bytes]]] = [  # §5, in canonical order
            ("claims", self._array(LISTS[CLAIM])),
            ("evidence", self._array(LISTS[EVIDENCE])),
            ("forks", [canonical.encode(listed(self._forks))]),
            ("grants", self._array(LISTS[GRANT])),
            ("heads", [canonical.encode(self.heads)]),
            ("inferences", self._array(LISTS[INFERENCE])),
            ("log", [canonical.encode(self._log)]),
            ("ops", [canonical.encode(self.ops)]),
            ("v", [canonical.encode(VERSION)]),
            ("void", self._array(_VOID)),
        ]
        before = b"{"
        for name, pieces in members:
            yield b'%b"%b":' % (before, name.encode())
            yield from pieces
            before = b","
        yield b"}"

    def _array(self, name: str) -> Iterator[bytes]:
        before = b"["
        for text in self._texts[name]:
            yield before
            yield text
            before = b","
        yield b"]" if self._texts[name] else b"[]"


class StateDocument:
    """The state document of one log, brought up to date entry by entry."""

    def __init__(self, log: str) -> None:
        self._log = log
        self._lists: dict[str, Blocks[Any]] = {kind: Blocks(by_id) for kind in LISTS}
        self._void: Blocks[Entry] = Blocks(by_id)
        self._snapshot: StateSnapshot | None = None

    def add(self, entry: Entry, changed: Iterable[Entry], void_changed: Iterable[Entry]) -> Steps[None]:
        """Take in a new entry whose status and taint are settled, and what has changed because of it.

        `changed` are the stored entries whose object has changed, `void_changed` those whose ``void`` has.
        """
        self._snapshot = None
        if entry.type in self._lists:
            self._lists[entry.type].add(entry)
        if entry.void:
            self._void.add(entry)
        for number, one in enumerate(changed, 1):
            self._lists[one.type].changed(one)
            if number % STEP == 0:
                yield
        for number, one in enumerate(void_changed, 1):
            if one.void:
                self._void.add(one)
            else:
                self._void.remove(one)
            if number % STEP == 0:
                yield

    def derive(self, kinds: Mapping[str, Sequence[Entry]], void: Sequence[Entry]) -> Steps[None]:
        """Take in at once all entries of `kinds`, the types of :data:`LISTS`, and those that are `void`.

        Their status and taint are settled.  Yields after each small step.
        """
        self._snapshot = None
        for kind, of_kind in kinds.items():
            yield from self._lists[kind].fill(of_kind)
        yield from self._void.fill(void)

    def snapshot(
        self, operations: int, heads: Iterable[Entry], authors: Iterable[Author], pause: Pause = never
    ) -> StateSnapshot | None:
        """The document as it is now; None if `pause` has said so before all blocks that changed are written.

        Then ask again: what is written stays.  `operations` is the number of stored operations; `authors` are all keys
        of the log, for their forks.
        """
        if self._snapshot is None:
            texts: dict[str, list[bytes]] = {}
            lists = [(name, self._lists[kind], _WRITERS[kind]) for kind, name in LISTS.items()]
            for name, blocks, write in [*lists, (_VOID, self._void, _write_ids)]:
                written = blocks.texts(write, pause)
                if written is None:
                    return None
                texts[name] = written
            self._snapshot = StateSnapshot(self._log, operations, heads, forks_of(authors), texts)
        return self._snapshot


# --- Items, and why ---------------------------------------------------------------------------------------------


def item(entry: Entry) -> dict[str, Any]:
    """A claim, evidence-ingest, grant or inference-call as the lists of §7.4 show it."""
    envelope = entry.envelope()
    return {**state_object(entry), "author": entry.author, "ts": envelope["ts"], "body": envelope["body"]}


def changed_by(entry: SourceEntry) -> list[str]:
    """The IDs of what gave an operation its status, sorted: what voids it, refutes it, corrects it."""
    causes: dict[Entry, None] = dict.fromkeys(_voiding(entry)) if entry.void else {}
    if isinstance(entry, ClaimEntry | EvidenceEntry):
        causes.update(dict.fromkeys(entry.refuted_by))
    if isinstance(entry, ClaimEntry):
        causes.update(dict.fromkeys(entry.superseded_by))
    return sorted_ids(causes)


def _voiding(entry: SourceEntry) -> Iterator[Entry]:
    """The first :data:`MOST_VOIDING` revocations that are found to cut a grant of `entry`, each once.

    Not all: a thousand revocations that each cut a thousand operations would make an answer of a million IDs.
    """
    met: set[Entry] = set()
    for grant in entry.auth:
        for revocation in cutting(grant, entry):
            if revocation not in met:
                met.add(revocation)
                yield revocation
                if len(met) == MOST_VOIDING:
                    return


def why(entry: SourceEntry) -> bytes:
    """The derivation of a claim, evidence-ingest or inference-call as JSON: ``GET …/claims/{id}/why`` of §7.4.

    Depth first, sources in the order in which the operation names them.
    """
    return b"".join(why_in_pieces(entry))


def why_in_pieces(entry: SourceEntry) -> Iterator[bytes]:
    """What :func:`why` returns, piece by piece: each shows one operation as it is when the piece is asked for."""
    met: set[SourceEntry] = set()
    trail: list[SourceEntry | bytes] = [entry]  # what is still to be written, the next one last
    while trail:
        at = trail.pop()
        if isinstance(at, bytes):
            yield at
        elif at in met:
            yield b'{"id":"%b"}' % at.id.encode()
        else:
            met.add(at)
            head = {
                "id": at.id,
                "type": at.type,
                "status": status_of(at),
                "changed_by": changed_by(at),
                "body": at.envelope()["body"],
            }
            yield canonical.encode(head)[:-1] + b',"sources":['
            trail.append(b"]}")
            for number, source in reversed(list(enumerate(at.sources))):
                trail += [source, b","] if number else [source]


# --- The projection ---------------------------------------------------------------------------------------------


def projection(claims: Iterable[Entry], grants: Sequence[GrantEntry], is_root: bool) -> Iterator[dict[str, Any]]:
    """What a key sees of `claims` (§6): all of them if it `is_root`, else those in the scope of its read `grants`.

    `grants` must be active and within their times (:meth:`Replica.grants_in_force`).  Claims of any status are shown.
    What a claim rests on (``method``, ``derived_from``, the taint list, evidence records) is shown only where one of
    the grants that match it has provenance ``full``.  ``scope.ops`` does not matter for reading.
    """
    by_width = sorted(grants, key=lambda grant: grant.provenance == "full")  # of one pattern the widest comes last
    by_pattern = {pattern: grant.provenance for grant in by_width for pattern in grant.predicates}
    provenance: dict[str, str | None] = {}  # what is shown of a claim depends on its predicate alone
    for claim in claims:
        assert isinstance(claim, ClaimEntry)
        predicate = claim.predicate
        if predicate not in provenance:
            provenance[predicate] = "full" if is_root else _widest_provenance(predicate, by_pattern)
        if provenance[predicate] is not None:
            yield _projected(claim, with_provenance=provenance[predicate] == "full")


def _widest_provenance(predicate: str, by_pattern: dict[str, str]) -> str | None:
    found = {by_pattern[pattern] for pattern in patterns_over(predicate) if pattern in by_pattern}
    return "full" if "full" in found else "none" if found else None


def _projected(claim: ClaimEntry, *, with_provenance: bool) -> dict[str, Any]:
    body = claim.envelope()["body"]
    shown = {
        "id": claim.id,
        "subject": body["subject"],
        "predicate": claim.predicate,
        "object": body["object"],
        "confidence_ppm": body["confidence_ppm"],
        "status": status_of(claim),
        "tainted": bool(claim.taint),
    }
    if with_provenance:
        shown["method"] = body["method"]
        shown["derived_from"] = body["derived_from"]
        shown["taint"] = sorted_ids(claim.taint)
        # Only evidence that the claim names itself: what lies further down belongs to claims of other scopes.
        shown["evidence"] = [_evidence_record(source) for source in claim.sources if isinstance(source, EvidenceEntry)]
    return shown


def _evidence_record(evidence: EvidenceEntry) -> dict[str, Any]:
    return {"id": evidence.id, "status": status_of(evidence), "body": evidence.envelope()["body"]}
