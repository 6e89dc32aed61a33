"""The signed operation log, ``omp/0.2``, defined in one file (oplog §1 to §5).

The first file of the log to read, after the list "Bytes, hashes and signatures" in ``omp/README.md``.

**What a log is.**  A person's devices, programs and helpers write down what they learn about that person: evidence,
claims derived from it, corrections, refutations, grants of authority, revocations, calls of models.  Each entry is an
*operation*: a JSON object in one exact spelling, signed by its author, named by the hash of what was signed.  It names
the operations that its author had seen, so all operations of a log form a graph that only grows: the past of an
operation cannot be changed without changing the operation's name.  No server decides anything.  Whoever holds the same
set of operations computes the same state, whatever the order in which they arrived, and proves it by one hash.

**Five words.**  *past(O)*, the causal past of an operation O, is every operation that can be reached from O over
``prev`` and ``deps``.  Two operations are *concurrent* if neither is in the past of the other.  A set of operations is
*closed* if it contains the past of each of its members.  *Auth(O)* is the set of grants that allow O: those in its past
that are held by its author, cover it, and are not revoked in its past.  O is *void* if every grant in Auth(O) has been
revoked by somebody who had not seen O: it stays in the log and has no effect.

**What can go wrong**, and where this page answers it:

* One value has two spellings, so two readers hash different bytes.  There is one canonical form, and everything else
  is refused, not repaired (§1.1).  Two libraries accept different signatures: the rule is fixed to the last bit (§1.4).
* A malformed, huge or dishonest operation arrives.  Twelve stages examine it, the first that fails names the error,
  and nothing that is refused can harm anything else (§3.2).
* Two nodes judge one operation differently because one knows more.  So a verdict depends on the operation's own past
  and on nothing else (§3.2).
* Devices write at the same time.  Nothing is overwritten: a total order (§3.3) and the rules of §5 settle what counts.
* A key is lost or a helper turns bad.  Its grant is revoked, and it may then sign operations that pretend to be older
  than the revocation.  They gain nothing: revocation wins over what is concurrent with it (§4.5).
* Something proves false after conclusions were drawn from it.  Taint follows the derivation: each operation lists the
  sources that taint it, and those list theirs, down to the cause (§5.2).

**How this page is written.**  As the document defines the log, not as it is fast: a past is a set, "void" is the
recursion of §4.5, taint asks every source of every operation.  Time and space grow with the square of the log: good for
ten thousand operations, slow for a hundred thousand.  The server uses the package ``core``, which keeps everything up
to date step by step.  The two share the modules of ``omp.rules`` that are imported below, and no other line: a mistake
goes unseen only if it was made twice.  The tests hold one against the other.  ``python -m omp log verify`` runs this
page.  Six decisions that may surprise are listed at its end.

Left out: where operations wait for ancestors that have not arrived, what a reader with a grant sees (§6), HTTP (§7).

>>> seed = bytes(range(32))                                     # never use a key that others know
>>> public_key = ed25519.public_key_slowly(seed)
>>> written = []
>>> def write(type, **body):
...     envelope = {
...         "v": VERSION, "type": type, "log": identifiers.identity_id(public_key),
...         "author": identifiers.key_id(public_key), "seq": len(written) + 1, "prev": written[-1] if written else None,
...         "deps": [], "lc": len(written) + 1, "ts": "2026-11-20T09:00:00.000Z", "body": body,
...     }
...     written.append(identifiers.operation_id(preimage(envelope)))
...     return signed_slowly(seed, envelope)
>>> evidence = write("evidence-ingest", evidence=identifiers.evidence_id(b"Dentist, Monday 9:00"),
...                  media_type="text/plain", size=20, source="note:text", observed_at=None)
>>> claim = write("claim-assert", subject="self", predicate="calendar.event", object={"title": "Dentist"},
...               confidence_ppm=900_000, derived_from=[written[0]], method="rule:event/1")
>>> report = check([claim, evidence])                           # in any order
>>> [report.state["claims"][0][member] for member in ("status", "taint", "effective")]
['active', [], True]
>>> refutation = write("refutation", target=written[0], reason="cancelled by phone")
>>> report = check([refutation, claim, evidence])
>>> report.state["evidence"][0]["status"], report.state["claims"][0]["taint"] == [written[0]]
('refuted', True)
>>> report.state["claims"][0]["effective"], report.state_id[:24], report.problems
(False, 'omp:state:sha256:061bd81', [])
>>> check([claim.replace(b"Dentist", b"Surgeon"), evidence]).problems[0][1]
'ERR_SIGNATURE'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

from omp.rules import canonical, ed25519, identifiers
from omp.rules.encodings import b64u_decode, b64u_encode
from omp.rules.engines import Engine, handwritten_engine

VERSION = "omp/0.2"
Envelope = dict[str, Any]

# --- §1 Encoding, identifiers, signatures -----------------------------------------------------------------------
#
# §1.1, canonical JSON, is `canonical.decode` and `canonical.encode`; §1.2, identifiers, is `identifiers`.


def preimage(envelope: Envelope) -> bytes:
    """§1.4: what is hashed and signed, ``utf8(v) || 0x0A || CJ(envelope without "sig")``; `v` is VERSION here.

    The version in front separates domains: no signature made for another purpose passes for one of an operation.
    """
    unsigned = {name: value for name, value in envelope.items() if name != "sig"}
    return VERSION.encode() + b"\n" + canonical.encode(unsigned)


def signed_slowly(seed: bytes, envelope: Envelope) -> bytes:
    """§1.4: the bytes of an operation, signed with a 32-byte seed: for examples, tests and vectors only."""
    signature = ed25519.sign_slowly(seed, preimage(envelope))
    return canonical.encode({**envelope, "sig": b64u_encode(signature)})


def is_signed(envelope: Envelope, engine: Engine) -> bool:
    """Stage 7 (§1.4): `sig` is the author's signature over the preimage, under the rules that `engine` applies."""
    public_key = identifiers.public_key_of(envelope["author"])
    return engine.verify(public_key, preimage(envelope), b64u_decode(envelope["sig"]))


_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z", re.ASCII)


def is_timestamp(value: Any) -> bool:
    """§1.3: exactly ``YYYY-MM-DDTHH:MM:SS.mmmZ``, a real date, no leap second.  Compared as strings."""
    match = _TIMESTAMP.fullmatch(value) if type(value) is str else None
    try:
        return match is not None and bool(date(*map(int, match.groups())))
    except ValueError:
        return False


# --- §2 Operations ----------------------------------------------------------------------------------------------
#
# First the grammars: each says whether a decoded value is well formed.  Then the tables: one row for each member, with
# everything that the document says about that member.

Grammar = Callable[[Any], bool]
MAX_BYTES = 65_536
MAX_CLOCK_STEP = 2**20

EVIDENCE, CLAIM, CORRECTION = "evidence-ingest", "claim-assert", "correction"
REFUTATION, GRANT, REVOCATION, INFERENCE = "refutation", "permission-grant", "revocation", "inference-call"
TYPES = (EVIDENCE, CLAIM, CORRECTION, REFUTATION, GRANT, REVOCATION, INFERENCE)


def matching(pattern: str) -> Grammar:
    """A string that matches as a whole; ``$`` would let a line feed pass."""
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: type(value) is str and compiled.fullmatch(value) is not None


def one_of(*values: str) -> Grammar:
    """One of these strings."""
    return lambda value: type(value) is str and value in values


def or_null(grammar: Grammar) -> Grammar:
    """What `grammar` accepts, or null."""
    return lambda value: value is None or grammar(value)


def list_of(grammar: Grammar, *, empty: bool = False) -> Grammar:
    """An array without duplicates; non-empty unless `empty`."""
    return lambda value: (
        type(value) is list and (empty or value != []) and all(map(grammar, value)) and len(set(value)) == len(value)
    )


def sorted_list_of(grammar: Grammar) -> Grammar:
    """A non-empty array, sorted by code points, without duplicates."""
    well_formed = list_of(grammar)
    return lambda value: well_formed(value) and all(a < b for a, b in pairwise(value))


def names_are_plain(value: Any) -> bool:
    """§1.1: any value, if its member names, at every depth, match ``^[a-z0-9_]+$``."""
    if type(value) is dict:
        return all(map(_NAME, value)) and all(map(names_are_plain, value.values()))
    return all(map(names_are_plain, value)) if type(value) is list else True


def is_scope(value: Any) -> bool:
    """§2.2: the ``scope`` of a grant; extensions are not allowed in it."""
    return type(value) is dict and has_members(value, SCOPE) and value.keys() <= SCOPE.keys()


_NAME = matching("[a-z0-9_]+")
_EXTENSION = matching("x_[a-z0-9_]+")
STRING = matching("(?s:.*)")
TEXT = matching("(?s:.+)")
INTEGER: Grammar = lambda value: type(value) is int  # noqa: E731  # true and false are not integers
OBJECT: Grammar = lambda value: type(value) is dict  # noqa: E731
IDENTITY_ID = matching(identifiers.IDENTITY_ID.pattern)
KEY_ID = matching(identifiers.KEY_ID.pattern)
OPERATION_ID = matching(identifiers.OPERATION_ID.pattern)
EVIDENCE_ID = matching(identifiers.EVIDENCE_ID.pattern)
SIGNATURE = matching(identifiers.SIGNATURE.pattern)
_DOTTED = r"[a-z0-9_]+(\.[a-z0-9_]+)*"
PREDICATE = matching(_DOTTED)
PATTERN = matching(rf"\*|{_DOTTED}(\.\*)?")
_RESTRICTED_NAME = "[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"  # RFC 6838 §4.2, without its limit of 127 characters
MEDIA_TYPE = matching(f"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}")


def _canonical_length(value: Any) -> int:
    return len(canonical.encode(value))


class Member(NamedTuple):
    """A row of §2: what the document says about one member.

    Stage 4: the value satisfies `grammar`; an `optional` member may be absent.  Stage 5 (§1.5): `size` of the value is
    at most `most`, and each element of an array has at most `each` characters.  Stage 6: a number is from `low` to
    `high`.  Stage 11: the member names operations, which must be of one of the `types_named`.
    """

    grammar: Grammar
    most: int | None = None
    size: Callable[[Any], int] = len
    each: int | None = None
    low: int | None = None
    high: int = canonical.MAX_SAFE_INTEGER
    types_named: tuple[str, ...] = ()
    optional: bool = False


Members = dict[str, Member]
ENVELOPE: Members = {  # §2.1
    "v": Member(STRING),
    "type": Member(one_of(*TYPES)),
    "log": Member(IDENTITY_ID),
    "author": Member(KEY_ID),
    "seq": Member(INTEGER, low=1),
    "prev": Member(or_null(OPERATION_ID)),
    "deps": Member(list_of(OPERATION_ID, empty=True), most=64),
    "lc": Member(INTEGER, low=1),
    "ts": Member(is_timestamp),
    "body": Member(OBJECT),
    "sig": Member(SIGNATURE),
}
_REASON = Member(STRING, most=1_024)
BODIES: dict[str, Members] = {  # §2.2
    EVIDENCE: {
        "evidence": Member(EVIDENCE_ID),
        "media_type": Member(MEDIA_TYPE, most=127),
        "size": Member(INTEGER, low=0),
        "source": Member(matching("[a-z0-9_.:-]+"), most=128),
        "observed_at": Member(or_null(is_timestamp)),
    },
    CLAIM: {
        "subject": Member(TEXT, most=256),
        "predicate": Member(PREDICATE, most=128),
        "object": Member(names_are_plain, most=16_384, size=_canonical_length),
        "confidence_ppm": Member(INTEGER, low=0, high=1_000_000),
        "derived_from": Member(
            list_of(OPERATION_ID, empty=True), most=256, types_named=(EVIDENCE, CLAIM, INFERENCE)
        ),
        "method": Member(TEXT, most=128),
    },
    CORRECTION: {
        "target": Member(OPERATION_ID, types_named=(CLAIM,)),
        "replacement": Member(or_null(OPERATION_ID), types_named=(CLAIM,)),
        "reason": _REASON,
    },
    REFUTATION: {"target": Member(OPERATION_ID, types_named=(CLAIM, EVIDENCE)), "reason": _REASON},
    GRANT: {
        "grantee": Member(KEY_ID),
        "caps": Member(sorted_list_of(one_of("author", "delegate", "infer", "read"))),
        "scope": Member(is_scope),
        "parent": Member(or_null(OPERATION_ID), types_named=(GRANT,)),
        "max_depth": Member(INTEGER, low=0, high=8),
        "not_before": Member(or_null(is_timestamp)),
        "expires": Member(or_null(is_timestamp)),
    },
    REVOCATION: {"target": Member(OPERATION_ID, types_named=(GRANT,)), "reason": _REASON},
    INFERENCE: {
        "purpose": Member(TEXT, most=1_024),
        "model": Member(TEXT, most=256),
        "inputs": Member(list_of(OPERATION_ID), most=512, types_named=(CLAIM, EVIDENCE)),
        "grant": Member(or_null(OPERATION_ID), types_named=(GRANT,)),
        "output": Member(or_null(EVIDENCE_ID)),
    },
}  # fmt: skip
SCOPE: Members = {
    "predicates": Member(sorted_list_of(PATTERN), most=64, each=130),
    "provenance": Member(one_of("full", "none")),
    "ops": Member(sorted_list_of(one_of(*TYPES)), optional=True),
}


def has_members(value: Envelope, members: Members) -> bool:
    """Whether all `members` are present and well formed."""
    return all(member.grammar(value[name]) if name in value else member.optional for name, member in members.items())


def is_well_formed(envelope: Envelope) -> bool:
    """Stage 4 (§2): exactly the members of the tables, and any extensions ``x_…`` in the envelope and the body."""
    if not has_members(envelope, ENVELOPE) or envelope["prev"] in envelope["deps"]:
        return False
    body, members = envelope["body"], BODIES[envelope["type"]]
    if not has_members(body, members) or not (only_extended(envelope, ENVELOPE) and only_extended(body, members)):
        return False
    # Provenance is mandatory; only a direct statement by the user is derived from nothing.
    return envelope["type"] != CLAIM or bool(body["derived_from"]) or body["method"].startswith("user:")


def only_extended(value: Envelope, members: Members) -> bool:
    """§2.1: whether every member beside `members` is an extension: its name is ``x_…``, and names in it are plain."""
    others = {name: value[name] for name in value.keys() - members.keys()}
    return all(map(_EXTENSION, others)) and names_are_plain(others)


def rows(envelope: Envelope) -> Iterator[tuple[str, Member, Any]]:
    """(name, row, value) of every member of a well-formed operation: envelope, body, and a grant's scope."""
    body = envelope["body"]
    for members, holder in (ENVELOPE, envelope), (BODIES[envelope["type"]], body), (SCOPE, body.get("scope", {})):
        yield from ((name, row, holder[name]) for name, row in members.items() if name in holder)


def is_within_limits(envelope: Envelope) -> bool:
    """Stage 5 (§1.5), except for the size of the operation as a whole."""
    return all(
        (row.most is None or row.size(value) <= row.most)
        and (row.each is None or all(len(element) <= row.each for element in value))
        for _, row, value in rows(envelope)
    )


def is_in_range(envelope: Envelope) -> bool:
    """Stage 6 (§1.5)."""
    return all(row.low <= value <= row.high for _, row, value in rows(envelope) if row.low is not None)


# --- §3 The log, validation, order ------------------------------------------------------------------------------


@dataclass(eq=False)  # one object for each operation, so objects are compared by identity
class Op:
    """An operation O that passed stages 1 to 7; the fields from `number` on are what the log finds out about it.

    `references` are the rows of §2 that name operations: (member, row, IDs).  `number` is the operation's place in the
    order of storing.  `past` is past(O) of §3.1: a set of stored operations, kept as the bits of one integer (bit n
    stands for the operation whose `number` is n).  `named` maps each member of `references` to the operations it names.
    `auth` is Auth(O) of §4.2, empty for the root.  `targeted_by` are the stored operations that have this one as their
    `target`.
    """

    id: str
    type: str
    log: str
    author: str
    seq: int
    prev: str | None
    deps: list[str]
    lc: int
    body: dict[str, Any]
    ts: str
    references: list[tuple[str, Member, list[str]]]
    number: int = -1
    past: int = 0
    named: dict[str, list[Op]] = field(default_factory=dict)
    auth: list[Op] = field(default_factory=list)
    targeted_by: list[Op] = field(default_factory=list)

    @property
    def target(self) -> Op:
        """What a correction, refutation or revocation is about."""
        return self.named["target"][0]


STAGES = {  # §3.2: the code that each stage gives -> its number
    "ERR_ENCODING": 1, "ERR_CANONICAL": 2, "ERR_VERSION": 3, "ERR_SCHEMA": 4, "ERR_LIMIT": 5, "ERR_RANGE": 6,
    "ERR_SIGNATURE": 7, "DEFER": 8, "ERR_CHAIN": 9, "ERR_CLOCK": 10, "ERR_REF": 11, "ERR_AUTHZ": 12,
}  # fmt: skip


class StageFailed(Exception):
    """The first stage that fails: its `code` and `stage`; the operation's `id` where it has one (from stage 4 on).

    DEFER is not an error: the operation must be tried again once the operations in `missing` are stored.
    """

    def __init__(self, code: str, operation_id: str | None = None, missing: Iterable[str] = ()) -> None:
        super().__init__(code)
        self.code = code
        self.stage = STAGES[code]
        self.id = operation_id
        self.missing = list(missing)


_HANDWRITTEN = handwritten_engine()


def examine(data: bytes, engine: Engine = _HANDWRITTEN, log: str | None = None) -> Op:
    """Stages 1 to 7, for which the exact bytes of one operation are enough; `log` is where it was sent, if known.

    Raises :class:`StageFailed`.
    """
    try:
        envelope = canonical.decode(data)
    except canonical.Malformed:
        raise StageFailed("ERR_ENCODING") from None
    except canonical.NotCanonical:
        raise StageFailed("ERR_CANONICAL") from None
    if envelope.get("v") != VERSION:
        raise StageFailed("ERR_VERSION")
    operation_id = identifiers.operation_id(preimage(envelope))
    checks: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("ERR_SCHEMA", lambda: is_well_formed(envelope) and log in (None, envelope["log"])),
        ("ERR_LIMIT", lambda: len(data) <= MAX_BYTES and is_within_limits(envelope)),
        ("ERR_RANGE", lambda: is_in_range(envelope)),
        ("ERR_SIGNATURE", lambda: is_signed(envelope, engine)),
    )
    for code, holds in checks:
        if not holds():
            raise StageFailed(code, operation_id)
    known = {name: value for name, value in envelope.items() if name in ENVELOPE and name not in ("v", "sig")}
    references = [
        (name, row, value if type(value) is list else [value])
        for name, row, value in rows(envelope)
        if row.types_named and value is not None
    ]
    return Op(operation_id, references=references, **known)


class Log:
    """A closed set of accepted operations about one identity: each comes after all its ancestors (§3.1)."""

    def __init__(self, identity: str | None) -> None:
        self.identity = identity
        # §1.2: the root key is the key with the same public key as the identity.
        self.root = identity.replace(identifiers.IDENTITY_PREFIX, identifiers.KEY_PREFIX) if identity else None
        self.operations: dict[str, Op] = {}
        self.grants: list[Op] = []

    def add(self, op: Op) -> None:
        """Stages 8 to 12, and the append; a duplicate changes nothing.  Raises :class:`StageFailed`.

        Stage 8 asks whether past(O) is complete here, which may differ between nodes.  Stages 9 to 12 depend on past(O)
        and on nothing else that is stored: so the verdict is the same on every node that reaches one.
        """
        if op.id in self.operations:
            return
        # The parents are enough: what is stored is closed.
        if missing := [one for one in parent_ids(op) if one not in self.operations]:
            raise StageFailed("DEFER", op.id, missing)
        parents = [self.operations[one] for one in parent_ids(op)]
        op.past = 0
        for parent in parents:
            op.past |= parent.past | 1 << parent.number
        checks: tuple[tuple[str, Callable[[], bool]], ...] = (
            ("ERR_CHAIN", lambda: continues_chain(op, parents)),
            ("ERR_CLOCK", lambda: 0 < op.lc - max((parent.lc for parent in parents), default=0) <= MAX_CLOCK_STEP),
            ("ERR_REF", lambda: self._resolve_references(op)),
            ("ERR_AUTHZ", lambda: self._authorize(op)),
        )
        for code, holds in checks:
            if not holds():
                raise StageFailed(code, op.id)
        op.number = len(self.operations)
        self.operations[op.id] = op
        if op.type == GRANT:
            self.grants.append(op)
        for target in op.named.get("target", []):
            target.targeted_by.append(op)

    def _resolve_references(self, op: Op) -> bool:
        """Stage 11: every operation that the body names is in past(O) and of the right type; fills `named`."""
        op.named = {}
        for name, row, ids in op.references:
            found = [self.operations[one] for one in ids if one in self.operations]
            op.named[name] = [one for one in found if is_in(op.past, one) and one.type in row.types_named]
            if len(op.named[name]) < len(ids):
                return False
        return op.type != CORRECTION or op.body["replacement"] != op.body["target"]

    def _authorize(self, op: Op) -> bool:
        """Stage 12 (§4): whether the author may append this; fills `auth`."""
        if op.type == GRANT and op.body["grantee"] in (self.root, op.author, *grantees_above(op)):
            return False  # §4.1: authority flows down only
        if op.author == self.root:
            # The root's first operation begins the log, so it has no `deps`.  A grant by the root stands under no
            # other, and an inference-call by the root needs no grant.
            first_with_deps = op.seq == 1 and op.deps != []
            return not (first_with_deps or op.named.get("parent") or op.named.get("grant"))
        if renounces(op):
            candidates = [op.target]
        else:
            held = [one for one in self.grants if is_in(op.past, one) and one.body["grantee"] == op.author]
            candidates = [grant for grant in held if covers(grant, op)]
        op.auth = [grant for grant in candidates if not any(is_in(op.past, one) for one in revocations_of(grant))]
        return bool(op.auth)


def is_in(bits: int, op: Op) -> bool:
    """Whether a stored operation is in a set that is kept as the bits of an integer."""
    return bits >> op.number & 1 == 1


def parent_ids(op: Op) -> list[str]:
    """The IDs of the parents, the operations that O itself names: ``prev`` first, then ``deps`` in their order."""
    return [op.prev, *op.deps] if op.prev is not None else op.deps


def continues_chain(op: Op, parents: list[Op]) -> bool:
    """Stage 9: `prev` is null iff `seq` is 1; else it is the same author's operation with `seq` one less."""
    if op.prev is None or op.seq == 1:
        return op.prev is None and op.seq == 1
    return (parents[0].author, parents[0].seq) == (op.author, op.seq - 1)


def total_order(op: Op) -> tuple[int, str]:
    """§3.3: ascending by this key.  It extends the causal order, since a clock is greater than its parents'."""
    return op.lc, op.id


# --- §4 Keys, grants, revocation: who may append what -----------------------------------------------------------


def lineage(grant: Op) -> list[Op]:
    """A grant and its ancestors over ``parent``: at most nine, since ``max_depth`` falls from 8."""
    return [grant, *(one for parent in grant.named.get("parent", []) for one in lineage(parent))]


def grantees_above(grant: Op) -> list[str]:
    """The keys that hold the ancestors of a grant."""
    return [above.body["grantee"] for above in lineage(grant)[1:]]


def revocations_of(grant: Op) -> list[Op]:
    """The stored revocations, void or not, that target the grant or an ancestor."""
    return [revocation for above in lineage(grant) for revocation in above.targeted_by]


def renounces(op: Op) -> bool:
    """Whether O is a renunciation: a revocation by the grantee of its target."""
    return op.type == REVOCATION and bool(op.target.body["grantee"] == op.author)


def matches(name: str, patterns: list[str]) -> bool:
    """§2.2: a predicate P matches ``*`` always, the pattern P, and ``Q.*`` where P is Q or starts with ``Q.``.

    §4.4: a pattern is covered by the same rule, with the pattern in the place of P: ``calendar.event.*`` starts with
    ``calendar.``, so ``calendar.*`` covers it.

    >>> [matches(name, ["calendar.*"]) for name in ("calendar", "calendar.event", "calendars")]
    [True, True, False]
    >>> [matches(pattern, ["calendar.*"]) for pattern in ("calendar.event.*", "calendar.*", "*")]
    [True, True, False]
    """
    return any(
        pattern in ("*", name) or (pattern.endswith(".*") and f"{name}.".startswith(pattern[:-1]))
        for pattern in patterns
    )


def covers(grant: Op, op: Op) -> bool:
    """§4.3: whether grant G covers O: what every type needs, then its row of :data:`COVERS`."""
    terms = grant.body
    return (
        "author" in terms["caps"]
        and op.type in terms["scope"].get("ops", TYPES)
        and (terms["not_before"] is None or terms["not_before"] <= op.ts)
        and (terms["expires"] is None or op.ts < terms["expires"])
        and COVERS[op.type](grant, op)
    )


def _claims_match(grant: Op, operations: Iterable[Op]) -> bool:
    claims = [one for one in operations if one.type == CLAIM]
    return all(matches(claim.body["predicate"], grant.body["scope"]["predicates"]) for claim in claims)


def _covers_refutation(grant: Op, op: Op) -> bool:
    scope = grant.body["scope"]
    return "*" in scope["predicates"] if op.target.type == EVIDENCE else _claims_match(grant, [op.target])


def _covers_inference(grant: Op, op: Op) -> bool:
    inputs = op.named["inputs"]
    sees_evidence = grant.body["scope"]["provenance"] == "full" or all(one.type == CLAIM for one in inputs)
    named = grant in op.named.get("grant", [])
    return "infer" in grant.body["caps"] and named and sees_evidence and _claims_match(grant, inputs)


COVERS: dict[str, Callable[[Op, Op], bool]] = {
    EVIDENCE: lambda grant, op: True,
    CLAIM: lambda grant, op: _claims_match(grant, [op]),
    CORRECTION: lambda grant, op: _claims_match(grant, [op.target, *op.named.get("replacement", [])]),
    REFUTATION: _covers_refutation,
    GRANT: lambda grant, op: (
        "delegate" in grant.body["caps"] and grant in op.named.get("parent", []) and attenuates(op.body, grant.body)
    ),
    REVOCATION: lambda grant, op: grant in lineage(op.target)[1:],
    INFERENCE: _covers_inference,
}


def attenuates(terms: dict[str, Any], above: dict[str, Any]) -> bool:
    """§4.4: whether a grant with these terms gives nothing that the grant above it lacks: one line for each rule."""
    scope, wider = terms["scope"], above["scope"]
    return (
        set(terms["caps"]) <= set(above["caps"])
        and all(matches(pattern, wider["predicates"]) for pattern in scope["predicates"])
        and (scope["provenance"], wider["provenance"]) != ("full", "none")
        and ("ops" not in wider or ("ops" in scope and set(scope["ops"]) <= set(wider["ops"])))
        and terms["max_depth"] < above["max_depth"]
        and _starts_no_earlier(terms["not_before"], above["not_before"])
        and _ends_no_later(terms["expires"], above["expires"])
    )


def _starts_no_earlier(not_before: str | None, above: str | None) -> bool:
    return above is None or (not_before is not None and not_before >= above)


def _ends_no_later(expires: str | None, above: str | None) -> bool:
    return above is None or (expires is not None and expires <= above)


# --- §4.5 Void, §5 Derived state ---------------------------------------------------------------------------------


def sources(op: Op) -> list[Op]:
    """§5.2: what a claim is derived from, and what an inference-call was made on; other operations have no sources."""
    return [*op.named.get("derived_from", []), *op.named.get("inputs", [])]


class State:
    """What follows from a closed set of operations: void and effective (§4), statuses, taint, the document (§5)."""

    def __init__(self, log: Log) -> None:
        self._identity = log.identity
        self._operations = list(log.operations.values())  # each after its ancestors
        self._void: dict[Op, bool] = {}
        self._status = {op: self._status_of(op) for op in self._operations}
        self._taint: dict[Op, list[Op]] = {}
        for op in self._operations:
            self._taint[op] = [source for source in sources(op) if self._taints(source, op)]

    def is_void(self, op: Op) -> bool:
        """§4.5: O is by a key other than the root, and every grant in Auth(O) is cut for O."""
        if op not in self._void:
            self._void[op] = bool(op.auth) and all(self._is_cut(grant, op) for grant in op.auth)
        return self._void[op]

    def _is_cut(self, grant: Op, op: Op) -> bool:
        # The recursion ends: every grant and revocation asked about here is authorized by grants above this one.
        return any(self.is_void(above) for above in lineage(grant)) or any(
            not renounces(revocation) and not is_in(revocation.past, op) and not self.is_void(revocation)
            for revocation in revocations_of(grant)
        )

    def _in_effect(self, operations: Iterable[Op], kind: str) -> list[Op]:
        """Those of one type that are not void, in total order."""
        return sorted((op for op in operations if op.type == kind and not self.is_void(op)), key=total_order)

    def _status_of(self, op: Op) -> str:
        if self.is_void(op):
            return "void"
        if op.type == GRANT:
            # A void ancestor needs no case of its own: a grant under it is void too.
            return "revoked" if self._in_effect(revocations_of(op), REVOCATION) else "active"
        if self._in_effect(op.targeted_by, REFUTATION):
            return "refuted"
        return "superseded" if self._in_effect(op.targeted_by, CORRECTION) else "active"

    def _taints(self, source: Op, op: Op) -> bool:
        """§5.2: whether a direct source of O taints it; the taint of the source itself is known already."""
        if self._status[source] in ("void", "refuted") or self._taint[source]:
            return True
        return self._status[source] == "superseded" and not any(
            replacement in (op, *sources(op))
            for correction in self._in_effect(source.targeted_by, CORRECTION)
            for replacement in correction.named.get("replacement", [])
        )

    def document(self) -> dict[str, Any]:
        """§5.3: the object of which the state document is the canonical encoding."""
        have_children = {parent for op in self._operations for parent in parent_ids(op)}
        return {
            "claims": self._objects(CLAIM, self._claim),
            "evidence": self._objects(EVIDENCE, self._evidence),
            "forks": self._forks(),
            "grants": self._objects(GRANT, lambda op: {
                "revoked_by": _ids(self._in_effect(op.targeted_by, REVOCATION)),
            }),
            "heads": _ids(op for op in self._operations if op.id not in have_children),
            "inferences": self._objects(INFERENCE, lambda op: {"taint": _ids(self._taint[op])}),
            "log": self._identity,
            "ops": len(self._operations),
            "v": VERSION,
            "void": _ids(op for op in self._operations if self.is_void(op)),
        }  # fmt: skip

    def _objects(self, kind: str, members: Callable[[Op], dict[str, Any]]) -> list[dict[str, Any]]:
        objects = [
            {"id": op.id, "status": self._status[op], **members(op)} for op in self._operations if op.type == kind
        ]
        return sorted(objects, key=lambda one: str(one["id"]))

    def _evidence(self, op: Op) -> dict[str, Any]:
        return {"refuted_by": _ids(self._in_effect(op.targeted_by, REFUTATION))}

    def _claim(self, op: Op) -> dict[str, Any]:
        taint, corrections = _ids(self._taint[op]), self._in_effect(op.targeted_by, CORRECTION)
        return {
            **self._evidence(op),
            "effective": self._status[op] == "active" and not taint,
            "replacement": corrections[-1].body["replacement"] if corrections else None,
            "superseded_by": [one.id for one in corrections],
            "taint": taint,
        }

    def _forks(self) -> list[dict[str, Any]]:
        """§3.4: operations of one author with the same ``seq``."""
        places: dict[tuple[str, int], list[Op]] = {}
        for op in self._operations:
            places.setdefault((op.author, op.seq), []).append(op)
        return [
            {"author": author, "ops": _ids(ops), "seq": seq}
            for (author, seq), ops in sorted(places.items())
            if len(ops) > 1
        ]  # fmt: skip


def state_id_of(state: dict[str, Any]) -> str:
    """§5.3: the state ID, the hash of the state document."""
    return identifiers.state_id(canonical.encode(state))


def _ids(operations: Iterable[Op]) -> list[str]:
    return sorted(op.id for op in operations)


# --- All of it: the state of an exported log --------------------------------------------------------------------


class Report(NamedTuple):
    """The result of :func:`check`.

    `operations` are the IDs of those that passed all stages, in total order.  `problems` are the others, each with the
    operation ID (None where stages 1 to 3 fail) and the code of §3.2 (DEFER where an ancestor is missing).  `state` is
    the state of those that passed, `document` its canonical bytes, `state_id` their hash.
    """

    log: str | None
    operations: list[str]
    problems: list[tuple[str | None, str]]
    state: dict[str, Any]
    document: bytes
    state_id: str


def check(lines: Iterable[bytes], engine: Engine = _HANDWRITTEN) -> Report:
    """Check the operations of one log, given in any order; each item of `lines` is the exact bytes of one.

    `engine` verifies the signatures.  The log is not given: it is the one named by the operation with the smallest
    Lamport clock `lc`, since that is where a log begins.  Operations of another log are ERR_SCHEMA, as if they had been
    sent to this one.
    """
    problems: list[tuple[str | None, str]] = []
    examined: dict[str, Op] = {}
    for line in lines:
        try:
            op = examine(line, engine)
            examined.setdefault(op.id, op)
        except StageFailed as failed:
            problems.append((failed.id, failed.code))
    log = Log(min(examined.values(), key=lambda op: op.lc).log if examined else None)
    problems += [(op.id, "ERR_SCHEMA") for op in examined.values() if op.log != log.identity]
    # In total order each comes after its ancestors.  A wrong clock breaks the order, so we repeat until a pass settles
    # nothing.
    waiting = sorted((op for op in examined.values() if op.log == log.identity), key=total_order)
    count = -1
    while count != len(waiting):
        count = len(waiting)
        waiting = [op for op in waiting if not _settled(log, op, problems)]
    problems += [(op.id, "DEFER") for op in waiting]
    state = State(log).document()
    order = [op.id for op in sorted(log.operations.values(), key=total_order)]
    return Report(log.identity, order, problems, state, canonical.encode(state), state_id_of(state))


def _settled(log: Log, op: Op, problems: list[tuple[str | None, str]]) -> bool:
    """Append an operation or note its problem; returns False if it waits for an ancestor."""
    try:
        log.add(op)
    except StageFailed as failed:
        if failed.code == "DEFER":
            return False
        problems.append((op.id, failed.code))
    return True


# --- Six decisions that may surprise ----------------------------------------------------------------------------
#
# 1. Duplicates are recognized after stage 7.  A copy with a wrong signature is refused, although its ID is stored
#    (§3.2).
# 2. A revocation in past(O) counts against Auth(O) even if it is void.  Whether it is void depends on the whole log,
#    and a verdict must not depend on that (§4.2).
# 3. A renunciation, by which a key gives up its own grant, voids nothing.  Otherwise a renunciation would cut its own
#    authority, and the recursion would not end (§4.5).
# 4. A replacement that equals its target is well formed.  It is refused at stage 11, with the references (§2.2).
# 5. A maximum length is a limit (stage 5), a minimum of one character is grammar (stage 4) (§1.5).
# 6. A claim that is refuted and corrected is `refuted`, not `superseded` (§5.1).
