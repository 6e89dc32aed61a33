"""What a replica keeps of every stored operation: one small record each, one class a type.

An entry holds the exact bytes, the few members that the rules ask for again and again, and the links to other
entries that stages 8 to 12 resolved.  Everything else is read from the bytes when somebody asks for it
(:meth:`Entry.envelope`).  A log has hundreds of thousands of entries, so they are slotted, share the strings and
tuples that many of them have in common, and point at each other instead of repeating 78-character IDs.

The static links (``prev``, sources, targets, Auth) never change after an entry is stored.  What changes is kept in the
second group of slots of each class, and each such slot names the module that alone writes it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from omp.protocols.oplog.core.operation import CLAIM, CORRECTION, EVIDENCE, GRANT, INFERENCE, REFUTATION, REVOCATION

if TYPE_CHECKING:
    from omp.protocols.oplog.core.causality import Chain


class Entry:
    """A stored operation.

    ``chain`` and ``seq`` are its place in the causal order (causality.py); ``auth`` is Auth(O) of oplog §4, empty for
    the root's operations; ``void`` is kept by void.py.
    """

    __slots__ = ("auth", "chain", "id", "lc", "raw", "seq", "void")
    type: ClassVar[str]
    raw: bytes
    id: str
    lc: int
    seq: int
    chain: Chain
    auth: tuple[GrantEntry, ...]
    void: bool

    def envelope(self) -> dict[str, Any]:
        """The whole operation, parsed from its bytes."""
        value: dict[str, Any] = json.loads(self.raw)
        return value

    @property
    def author(self) -> str:
        """The key ID that signed it."""
        return self.chain.author.key


class SourceEntry(Entry):
    """An operation that claims or inferences may build on: a node of the derivation graph (oplog §5).

    ``sources`` are the entries it builds on; ``dependents`` those that build on it, ``taint`` the sources that taint
    it (both kept by state.py).
    """

    __slots__ = ("dependents", "sources", "taint")
    sources: tuple[SourceEntry, ...]
    dependents: list[SourceEntry] | tuple[()]
    taint: frozenset[SourceEntry]


class EvidenceEntry(SourceEntry):
    """evidence-ingest; ``refuted_by`` are the non-void refutations of it (state.py)."""

    __slots__ = ("refuted_by",)
    type = EVIDENCE
    refuted_by: list[RefutationEntry] | tuple[()]


class ClaimEntry(SourceEntry):
    """claim-assert; ``refuted_by`` and ``superseded_by`` are non-void operations that target it (state.py)."""

    __slots__ = ("predicate", "refuted_by", "superseded_by")
    type = CLAIM
    predicate: str
    refuted_by: list[RefutationEntry] | tuple[()]
    superseded_by: list[CorrectionEntry] | tuple[()]


class InferenceEntry(SourceEntry):
    """inference-call; its sources are its inputs."""

    __slots__ = ()
    type = INFERENCE


class CorrectionEntry(Entry):
    """correction of the claim ``target``."""

    __slots__ = ("replacement", "target")
    type = CORRECTION
    target: ClaimEntry
    replacement: ClaimEntry | None


class RefutationEntry(Entry):
    """refutation of ``target``, a claim or an evidence-ingest."""

    __slots__ = ("target",)
    type = REFUTATION
    target: ClaimEntry | EvidenceEntry


class GrantEntry(Entry):
    """permission-grant, its terms spelled out: every operation of its grantee is measured by them.

    ``parent`` and ``depth`` are those of oplog §4.  ``children`` (grants under it), ``revocations`` (every stored one
    that targets it) and ``cuts`` (the effective ones that are no renunciations) are kept by void.py.
    """

    __slots__ = (
        "caps", "children", "cuts", "depth", "expires", "grantee", "max_depth", "not_before", "ops", "parent",
        "predicates", "provenance", "revocations",
    )  # fmt: skip
    type = GRANT
    grantee: str
    caps: frozenset[str]
    predicates: tuple[str, ...]
    provenance: str
    ops: frozenset[str] | None
    max_depth: int
    not_before: str | None
    expires: str | None
    parent: GrantEntry | None
    depth: int
    children: list[GrantEntry]
    revocations: list[RevocationEntry]
    cuts: list[RevocationEntry]

    def lineage(self) -> list[GrantEntry]:
        """This grant and its ancestors over ``parent``, upwards: at most 9, since ``max_depth`` falls from 8."""
        grants = []
        grant: GrantEntry | None = self
        while grant is not None:
            grants.append(grant)
            grant = grant.parent
        return grants

    def below(self) -> list[GrantEntry]:
        """This grant and all that descend from it."""
        grants = [self]
        for grant in grants:
            grants += grant.children
        return grants


class RevocationEntry(Entry):
    """revocation of the grant ``target``; ``renounces`` where the grantee itself gives it up (oplog §4)."""

    __slots__ = ("renounces", "target")
    type = REVOCATION
    target: GrantEntry
    renounces: bool


def total_order(entry: Entry) -> tuple[int, str]:
    """The key of oplog §3.3: ascending (``lc``, operation ID).  It extends the causal order."""
    return entry.lc, entry.id


def by_id(entry: Entry) -> str:
    """The key of the lists of oplog §5 that are sorted by ID."""
    return entry.id
