"""What a replica keeps: an entry for each stored operation, chains and authors for each key, and how entries are made.

An **entry** (oplog §2.2, one class for each type) holds the exact bytes, the few members that the rules ask for again
and again, and links to the other entries that stages 8 to 12 resolved.  Everything else is read from the bytes when it
is asked for (:meth:`Entry.envelope`).  A log may have a million entries, so they use ``__slots__``, share the strings
and tuples that many of them have in common, and point at each other instead of repeating IDs of 78 characters.

A **chain** (§3.1) is a run of consecutive operations by one key; an **author** is a key with its chains.  An author who
forks has several chains.

What an operation says never changes after it is stored: ``prev``, sources, targets, Auth(O).  What does change has
slots of its own, and the docstring of the class names the one module that writes them.

:func:`entry_of` is the only place that makes an entry.  It runs when an operation has passed all twelve stages, so it
checks nothing.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from sys import intern
from typing import Any, ClassVar

from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    REVOCATION,
    Operation,
)

Named = Mapping[str, Sequence[Any]]
"""The entries that a body names, by member.  Stage 11 has made sure that each is of a type that §2.2 allows there."""


class Entry:
    """A stored operation.

    ``auth`` is Auth(O) of §4, empty for operations by the root.  ``chain`` is its place in the causal order (written by
    causality.py), ``void`` whether a revocation cut it off (void.py).
    """

    __slots__ = ("auth", "chain", "id", "lc", "raw", "seq", "void")
    type: ClassVar[str]
    chain: Chain

    def __init__(self, operation: Operation, named: Named) -> None:
        self.raw = operation.raw
        self.id = operation.id
        self.lc = operation.lc
        self.seq = operation.seq
        self.auth: tuple[GrantEntry, ...] = ()
        self.void = False

    def envelope(self) -> dict[str, Any]:
        """The whole operation, parsed from its bytes."""
        value: dict[str, Any] = json.loads(self.raw)
        return value

    @property
    def author(self) -> str:
        """The key ID that signed it."""
        return self.chain.author.key


class SourceEntry(Entry):
    """An operation that claims and inferences may build on: a node of the derivation graph (§5).

    ``sources`` are the entries it builds on.  ``dependents`` are those that build on it, and ``taint`` those of its
    sources that taint it, in no particular order (both written by state.py).
    """

    __slots__ = ("dependents", "sources", "taint")

    def __init__(self, operation: Operation, named: Named, sources: Sequence[SourceEntry] = ()) -> None:
        super().__init__(operation, named)
        self.sources = tuple(sources)
        # Most entries have none of these for ever: the empty tuple is shared, an empty list would not be.
        self.dependents: list[SourceEntry] | tuple[()] = ()
        self.taint: tuple[SourceEntry, ...] = ()


class EvidenceEntry(SourceEntry):
    """evidence-ingest.  ``refuted_by`` are the non-void refutations that target it (state.py)."""

    __slots__ = ("refuted_by",)
    type = EVIDENCE

    def __init__(self, operation: Operation, named: Named) -> None:
        super().__init__(operation, named)
        self.refuted_by: list[RefutationEntry] | tuple[()] = ()


class ClaimEntry(SourceEntry):
    """claim-assert.

    state.py writes ``refuted_by`` and ``superseded_by``, the non-void operations that target it, and ``replacements``:
    the claims that those in ``superseded_by`` name, each with how many of them name it.
    """

    __slots__ = ("predicate", "refuted_by", "replacements", "superseded_by")
    type = CLAIM

    def __init__(self, operation: Operation, named: Named) -> None:
        super().__init__(operation, named, named["derived_from"])
        self.predicate: str = intern(operation.body["predicate"])
        self.refuted_by: list[RefutationEntry] | tuple[()] = ()
        self.superseded_by: list[CorrectionEntry] | tuple[()] = ()
        self.replacements: dict[ClaimEntry, int] | None = None


class InferenceEntry(SourceEntry):
    """inference-call.  Its sources are its inputs."""

    __slots__ = ()
    type = INFERENCE

    def __init__(self, operation: Operation, named: Named) -> None:
        super().__init__(operation, named, named["inputs"])


class CorrectionEntry(Entry):
    """correction of the claim ``target``, by the claim ``replacement`` or by none."""

    __slots__ = ("replacement", "target")
    type = CORRECTION

    def __init__(self, operation: Operation, named: Named) -> None:
        super().__init__(operation, named)
        self.target: ClaimEntry = named["target"][0]
        self.replacement: ClaimEntry | None = _one_or_none(named["replacement"])


class RefutationEntry(Entry):
    """refutation of ``target``, a claim or an evidence-ingest."""

    __slots__ = ("target",)
    type = REFUTATION

    def __init__(self, operation: Operation, named: Named) -> None:
        super().__init__(operation, named)
        self.target: ClaimEntry | EvidenceEntry = named["target"][0]


class GrantEntry(Entry):
    """permission-grant, with all its terms: every operation of its grantee is measured against them.

    ``parent`` and ``depth`` are those of §4.4.  void.py writes ``children`` (the grants directly under it),
    ``revocations`` (every stored one that targets it), ``standing_revocations`` (those of them that are effective and
    no renunciations: they cut the grant) and ``floor`` (what all of these know; None if there are none).
    """

    __slots__ = (
        "caps", "children", "depth", "expires", "floor", "grantee", "max_depth", "not_before", "ops", "parent",
        "predicates", "provenance", "revocations", "standing_revocations",
    )  # fmt: skip
    type = GRANT

    def __init__(self, operation: Operation, named: Named) -> None:
        super().__init__(operation, named)
        body, scope = operation.body, operation.body["scope"]
        self.grantee: str = body["grantee"]
        self.caps: frozenset[str] = frozenset(map(intern, body["caps"]))
        self.predicates: tuple[str, ...] = tuple(scope["predicates"])
        self.provenance: str = scope["provenance"]
        self.ops: frozenset[str] | None = frozenset(scope["ops"]) if "ops" in scope else None
        self.max_depth: int = body["max_depth"]
        self.not_before: str | None = body["not_before"]
        self.expires: str | None = body["expires"]
        self.parent: GrantEntry | None = _one_or_none(named["parent"])
        self.depth: int = 1 if self.parent is None else self.parent.depth + 1
        self.children: list[GrantEntry] = []
        self.revocations: list[RevocationEntry] = []
        self.standing_revocations: dict[RevocationEntry, None] = {}
        self.floor: Vector | None = None

    def lineage(self) -> list[GrantEntry]:
        """This grant and its ancestors over ``parent``, upwards: at most 9, since ``max_depth`` falls from 8."""
        grants = []
        grant: GrantEntry | None = self
        while grant is not None:
            grants.append(grant)
            grant = grant.parent
        return grants

    def below(self) -> Iterator[GrantEntry]:
        """This grant and all that descend from it; lazy, since they may be all grants of the log."""
        grants = [self]
        for grant in grants:  # grows while it is walked
            grants += grant.children
            yield grant


class RevocationEntry(Entry):
    """revocation of the grant ``target``; ``renounces`` is true if the grantee itself gives it up (§4.2)."""

    __slots__ = ("renounces", "target")
    type = REVOCATION

    def __init__(self, operation: Operation, named: Named) -> None:
        super().__init__(operation, named)
        self.target: GrantEntry = named["target"][0]
        self.renounces = self.target.grantee == operation.author


def _one_or_none(entries: Sequence[Any]) -> Any:
    return entries[0] if entries else None


_CLASSES: dict[str, Callable[[Operation, Named], Entry]] = {
    EVIDENCE: EvidenceEntry,
    CLAIM: ClaimEntry,
    CORRECTION: CorrectionEntry,
    REFUTATION: RefutationEntry,
    GRANT: GrantEntry,
    REVOCATION: RevocationEntry,
    INFERENCE: InferenceEntry,
}


def entry_of(operation: Operation, named: Named, auth: tuple[GrantEntry, ...], prev: Entry | None) -> Entry:
    """The entry of an operation that has passed all stages; it has no place in the causal order yet.

    `named` are the entries its body names (stage 11), `auth` is Auth(O) (stage 12), `prev` its author's entry before
    it.
    """
    entry = _CLASSES[operation.type](operation, named)
    # Most operations act under the same grants as the one before them, so they share one tuple.
    entry.auth = prev.auth if prev is not None and prev.auth == auth else auth
    return entry


# --- Keys and their chains --------------------------------------------------------------------------------------


Vector = tuple[int, tuple[Any, ...]]
"""A version vector: (height of its tree, root of its tree).  causality.py says what that is, and reads it."""
NOTHING: Vector = (0, ())
"""The vector of an empty past."""


class Chain:
    """Consecutive operations by one author, each the ``prev`` of the next; the first has ``seq`` `first`.

    (`base` is the ``prev`` of the first one: None, or the operation at which the author forked.)  `number` is that of
    the chain in its log, from 0.

    What the operations of a chain know of other chains only grows.  So a vector is kept where it has changed: `seqs`
    are the ``seq`` of these operations, ascending, and `vectors` theirs.  For example, the phone's operation 3 merges
    the laptop's up to 5, and its operation 7 merges them up to 9.  If the laptop's chain has the number 0, the phone's
    chain has the `seqs` ``[3, 7]`` and the `vectors` ``[(0, (5,)), (0, (9,))]``, and its operation 6 knows the laptop
    up to 5.  causality.py writes both, with the list `entries`.
    """

    __slots__ = ("author", "entries", "first", "number", "seqs", "vectors")

    def __init__(self, author: Author, base: Entry | None, number: int) -> None:
        self.author = author
        self.number = number
        self.first = base.seq + 1 if base is not None else 1
        self.entries: list[Entry] = []
        self.seqs = array("Q")
        self.vectors: list[Vector] = []

    def learn(self, seq: int, vector: Vector) -> None:
        """From the operation with this ``seq`` on, `vector` is what is known of other chains."""
        if not self.vectors or self.vectors[-1] is not vector:
            self.seqs.append(seq)
            self.vectors.append(vector)

    def vector(self, seq: int) -> Vector:
        """What the past of the stored operation with this ``seq`` holds of other chains.

        Safe while another thread appends: what it adds here is of a greater ``seq``.  So `number` is taken first.
        """
        number = len(self.vectors)
        if self.seqs[-1] <= seq:
            return self.vectors[number - 1]
        return self.vectors[bisect_right(self.seqs, seq) - 1]

    def after(self, seq: int) -> list[Entry]:
        """The operations of this chain with a greater ``seq``."""
        return self.entries[max(0, seq - self.first + 1) :]

    def between(self, low: int, high: int) -> list[Entry]:
        """The operations of this chain with a ``seq`` above `low` and up to `high`."""
        return self.entries[max(0, low - self.first + 1) : max(0, high - self.first + 1)]


class Author:
    """A key and what it has signed in this log.

    `by_seq` holds its operations by ``seq`` (``seq`` 1 at index 0); where the key forked, the one that was stored
    first.  `forks` maps each ``seq`` that was used twice or more to all its operations (§3.4).  causality.py writes
    both, and `chains`.  `grants` are those that name the key as grantee (written by void.py).
    """

    __slots__ = ("by_seq", "chains", "forks", "grants", "is_root", "key")

    def __init__(self, key: str, is_root: bool) -> None:
        self.key = key
        self.is_root = is_root
        self.chains: list[Chain] = []
        self.by_seq: list[Entry] = []
        self.forks: dict[int, list[Entry]] = {}
        self.grants: list[GrantEntry] = []


# --- Sort keys --------------------------------------------------------------------------------------------------


def total_order(entry: Entry) -> tuple[int, str]:
    """The sort key of §3.3, (``lc``, operation ID), ascending.  It extends the causal order."""
    return entry.lc, entry.id


def by_id(entry: Entry) -> str:
    """The sort key of the lists of §5 that are sorted by ID."""
    return entry.id
