"""The form of an operation, as tables: oplog §1.3 (timestamps), §1.5 (limits) and §2 (envelope and bodies).

Four tables say what an operation is: the verifier walks them, and a reader can lay them beside the document.

* :data:`ENVELOPE` and :data:`BODIES`: the members of the envelope and of the seven bodies, each with its grammar
  (stage 4);
* :data:`LIMITS`: how long things may be (stage 5).  A maximum length is never part of a grammar: a subject of 300
  characters is well formed, but too long;
* :data:`RANGES`: the bounds of numbers (stage 6);
* :data:`REFERENCES`: which members name operations, and of which types (stage 11).

:class:`Operation` is what stages 1 to 7 make of bytes: checked by itself, but not yet against the log.

Handled here: all that can be said of one operation's members alone.  The caller must have decoded canonical bytes, so
the values are those of OMP-CJ: integers are within ±(2^53 − 1), and strings hold no lone surrogates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from omp.protocols.oplog.core.grammar import (
    ANY_VALUE,
    EVIDENCE_ID,
    IDENTITY_ID,
    INTEGER,
    KEY_ID,
    MEDIA_TYPE,
    NON_EMPTY,
    OBJECT,
    OPERATION_ID,
    PATTERN,
    PREDICATE,
    SIGNATURE,
    SOURCE,
    STRING,
    TIMESTAMP,
    Grammar,
    array_of,
    names_are_plain,
    one_of,
    or_null,
)
from omp.rules import canonical

VERSION = "omp/0.2"

EVIDENCE = "evidence-ingest"
CLAIM = "claim-assert"
CORRECTION = "correction"
REFUTATION = "refutation"
GRANT = "permission-grant"
REVOCATION = "revocation"
INFERENCE = "inference-call"
TYPES = (EVIDENCE, CLAIM, CORRECTION, REFUTATION, GRANT, REVOCATION, INFERENCE)

CAPABILITIES = ("author", "delegate", "infer", "read")
MAX_CLOCK_STEP = 2**20
"""§2.1: how far ``lc`` may be ahead of the greatest clock of its parents, so that nobody can use up the range."""


class Operation:
    """An operation that passed stages 1 to 7: `raw` is its exact bytes, `id` its operation ID, the rest its members."""

    __slots__ = ("author", "body", "deps", "id", "lc", "log", "prev", "raw", "seq", "ts", "type")

    def __init__(self, raw: bytes, operation_id: str, envelope: Mapping[str, Any]) -> None:
        self.raw = raw
        self.id = operation_id
        self.type: str = envelope["type"]
        self.log: str = envelope["log"]
        self.author: str = envelope["author"]
        self.seq: int = envelope["seq"]
        self.prev: str | None = envelope["prev"]
        self.deps: list[str] = envelope["deps"]
        self.lc: int = envelope["lc"]
        self.ts: str = envelope["ts"]
        self.body: dict[str, Any] = envelope["body"]

    def parents(self) -> list[str]:
        """The IDs it builds on: ``prev`` first, then ``deps`` in their order (§3.2, stage 8)."""
        return [self.prev, *self.deps] if self.prev is not None else self.deps


def preimage(envelope: Mapping[str, Any], encode: Callable[[Any], bytes] = canonical.encode) -> bytes:
    """§1.4: ``utf8(v) || 0x0A || CJ(envelope without "sig")``, of an envelope with or without its ``sig``.

    For values that were never decoded, a producer's, `encode` is :func:`canonical.canonicalize`, which checks them.
    """
    unsigned = {name: value for name, value in envelope.items() if name != "sig"}
    return f"{envelope['v']}\n".encode() + encode(unsigned)


# --- Members ----------------------------------------------------------------------------------------------------

_EXTENSION_NAME = re.compile(r"x_[a-z0-9_]+").fullmatch
TYPE_NAME = one_of(*TYPES)

ENVELOPE: dict[str, Grammar] = {  # §2.1
    "author": KEY_ID,
    "body": OBJECT,
    "deps": array_of(OPERATION_ID, empty=True),
    "lc": INTEGER,
    "log": IDENTITY_ID,
    "prev": or_null(OPERATION_ID),
    "seq": INTEGER,
    "sig": SIGNATURE,
    "ts": TIMESTAMP,
    "type": TYPE_NAME,
    "v": STRING,
}
BODIES: dict[str, dict[str, Grammar]] = {  # §2.2
    EVIDENCE: {
        "evidence": EVIDENCE_ID,
        "media_type": MEDIA_TYPE,
        "size": INTEGER,
        "source": SOURCE,
        "observed_at": or_null(TIMESTAMP),
    },
    CLAIM: {
        "subject": NON_EMPTY,
        "predicate": PREDICATE,
        "object": ANY_VALUE,
        "confidence_ppm": INTEGER,
        "derived_from": array_of(OPERATION_ID, empty=True),
        "method": NON_EMPTY,
    },
    CORRECTION: {"target": OPERATION_ID, "replacement": or_null(OPERATION_ID), "reason": STRING},
    REFUTATION: {"target": OPERATION_ID, "reason": STRING},
    GRANT: {
        "grantee": KEY_ID,
        "caps": array_of(one_of(*CAPABILITIES), ordered=True),
        "scope": OBJECT,
        "parent": or_null(OPERATION_ID),
        "max_depth": INTEGER,
        "not_before": or_null(TIMESTAMP),
        "expires": or_null(TIMESTAMP),
    },
    REVOCATION: {"target": OPERATION_ID, "reason": STRING},
    INFERENCE: {
        "purpose": NON_EMPTY,
        "model": NON_EMPTY,
        "inputs": array_of(OPERATION_ID),
        "grant": or_null(OPERATION_ID),
        "output": or_null(EVIDENCE_ID),
    },
}
SCOPE: dict[str, Grammar] = {
    "predicates": array_of(PATTERN, ordered=True),
    "provenance": one_of("full", "none"),
    "ops": array_of(TYPE_NAME, ordered=True),
}
_SCOPE_WITHOUT_OPS = {name: grammar for name, grammar in SCOPE.items() if name != "ops"}


def schema_problem(envelope: Mapping[str, Any]) -> str | None:
    """Stage 4: the first way in which a decoded operation departs from §2, as a sentence; None if it does not."""
    return (
        _members_problem("", envelope, ENVELOPE, extensible=True)
        or _deps_problem(envelope)
        or _body_problem(envelope["type"], envelope["body"])
    )


def _members_problem(
    path: str, value: Mapping[str, Any], members: Mapping[str, Grammar], *, extensible: bool = False
) -> str | None:
    for name, grammar in members.items():
        if name not in value:
            return f"{path}{name} is missing; it must be {grammar.words}"
        if not grammar.accepts(value[name]):
            return f"{path}{name} must be {grammar.words}"
    if len(value) == len(members):
        return None
    return _extensions_problem(path, {name: value[name] for name in value if name not in members}, extensible)


def _extensions_problem(path: str, unknown: Mapping[str, Any], extensible: bool) -> str | None:
    for name, value in unknown.items():
        if not (extensible and _EXTENSION_NAME(name)):
            hint = "; an extension's name starts with x_" if extensible else ""
            return f"{path}{name} is not a member this version knows{hint}"
        if not names_are_plain(value):
            return f"{path}{name} must be {ANY_VALUE.words}"
    return None


def _deps_problem(envelope: Mapping[str, Any]) -> str | None:
    # §2.1: prev is an ancestor already, and to name it twice would be a second form of the same operation.
    if envelope["prev"] in envelope["deps"]:
        return "deps must not repeat the value of prev"
    return None


def _body_problem(kind: str, body: Mapping[str, Any]) -> str | None:
    if problem := _members_problem("body.", body, BODIES[kind], extensible=True):
        return problem
    if kind == GRANT:
        scope = body["scope"]
        return _members_problem("body.scope.", scope, SCOPE if "ops" in scope else _SCOPE_WITHOUT_OPS)
    if kind == CLAIM and not body["derived_from"] and not body["method"].startswith("user:"):
        # §2.2: provenance is mandatory.  A claim from nothing must at least say that a person made it.
        return "body.derived_from must not be empty unless body.method starts with user:, a direct statement"
    return None


# --- Limits and ranges ------------------------------------------------------------------------------------------

# The bounds keep the work for one operation small, whoever signed it: 64 merges, 512 look-ups, 64 KiB of hashing.

MAX_OPERATION_BYTES = 65_536

Measure = Callable[[Mapping[str, Any]], int]


class Limit(NamedTuple):
    """§1.5: `measure` of the member at `path` (from the envelope down) may be at most `bound`, counted in `unit`."""

    path: str
    bound: int
    unit: str
    measure: Measure


def _member(path: str) -> Callable[[Mapping[str, Any]], Any]:
    names = path.split(".")

    def get(envelope: Mapping[str, Any]) -> Any:
        value: Any = envelope
        for name in names:
            value = value[name]
        return value

    return get


def _limit(path: str, bound: int, unit: str = "characters") -> Limit:
    get = _member(path)
    return Limit(path, bound, unit, lambda envelope: len(get(envelope)))


def _longest_pattern(envelope: Mapping[str, Any]) -> int:
    return max(map(len, envelope["body"]["scope"]["predicates"]))


def _object_bytes(envelope: Mapping[str, Any]) -> int:
    return len(canonical.encode(envelope["body"]["object"]))


_DEPS_LIMIT = _limit("deps", 64, "elements")
LIMITS: dict[str, tuple[Limit, ...]] = {
    EVIDENCE: (_DEPS_LIMIT, _limit("body.media_type", 127), _limit("body.source", 128)),
    CLAIM: (
        _DEPS_LIMIT,
        _limit("body.derived_from", 256, "elements"),
        _limit("body.predicate", 128),
        _limit("body.subject", 256),
        _limit("body.method", 128),
        Limit("body.object", 16_384, "bytes of canonical JSON", _object_bytes),
    ),
    CORRECTION: (_DEPS_LIMIT, _limit("body.reason", 1_024)),
    REFUTATION: (_DEPS_LIMIT, _limit("body.reason", 1_024)),
    GRANT: (
        _DEPS_LIMIT,
        _limit("body.scope.predicates", 64, "elements"),
        Limit("body.scope.predicates", 130, "characters an element", _longest_pattern),
    ),
    REVOCATION: (_DEPS_LIMIT, _limit("body.reason", 1_024)),
    INFERENCE: (
        _DEPS_LIMIT,
        _limit("body.inputs", 512, "elements"),
        _limit("body.model", 256),
        _limit("body.purpose", 1_024),
    ),
}


def limit_problem(raw: bytes, envelope: Mapping[str, Any]) -> str | None:
    """Stage 5: the first limit of §1.5 that an operation exceeds, as a sentence; None if it keeps them all."""
    if len(raw) > MAX_OPERATION_BYTES:
        return f"an operation has at most {MAX_OPERATION_BYTES} bytes, this one has {len(raw)}"
    for path, bound, unit, measure in LIMITS[envelope["type"]]:
        if (size := measure(envelope)) > bound:
            return f"{path} may have at most {bound} {unit}, this one has {size}"
    return None


class Range(NamedTuple):
    """Stage 6: the integer at `path` is at least `low` and at most `high`; None means no bound but that of OMP-CJ."""

    path: str
    low: int
    high: int | None
    get: Callable[[Mapping[str, Any]], int]


def _range(path: str, low: int, high: int | None = None) -> Range:
    return Range(path, low, high, _member(path))


_ENVELOPE_RANGES = (_range("seq", 1), _range("lc", 1))
RANGES: dict[str, tuple[Range, ...]] = {
    **dict.fromkeys(TYPES, _ENVELOPE_RANGES),
    EVIDENCE: (*_ENVELOPE_RANGES, _range("body.size", 0)),
    CLAIM: (*_ENVELOPE_RANGES, _range("body.confidence_ppm", 0, 1_000_000)),
    GRANT: (*_ENVELOPE_RANGES, _range("body.max_depth", 0, 8)),
}


def range_problem(envelope: Mapping[str, Any]) -> str | None:
    """Stage 6: the first number out of its range, as a sentence; None if all are within."""
    for path, low, high, get in RANGES[envelope["type"]]:
        value = get(envelope)
        if value < low or (high is not None and value > high):
            return f"{path} must be {low} {'or more' if high is None else f'to {high}'}, not {value}"
    return None


# --- References -------------------------------------------------------------------------------------------------

REFERENCES: dict[str, dict[str, tuple[str, ...]]] = {  # §2.2: members that are operation IDs, and the types they name
    EVIDENCE: {},
    CLAIM: {"derived_from": (EVIDENCE, CLAIM, INFERENCE)},
    CORRECTION: {"target": (CLAIM,), "replacement": (CLAIM,)},
    REFUTATION: {"target": (CLAIM, EVIDENCE)},
    GRANT: {"parent": (GRANT,)},
    REVOCATION: {"target": (GRANT,)},
    INFERENCE: {"inputs": (CLAIM, EVIDENCE), "grant": (GRANT,)},
}


def references(kind: str, body: Mapping[str, Any]) -> Iterator[tuple[str, list[str], tuple[str, ...]]]:
    """The members of a body that name operations, each as (name, the IDs in it, the types those may have)."""
    for name, types in REFERENCES[kind].items():
        value = body[name]
        yield name, value if type(value) is list else [] if value is None else [value], types
