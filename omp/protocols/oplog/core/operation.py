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
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

from omp.rules import canonical, identifiers

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


# --- Grammars ---------------------------------------------------------------------------------------------------


class Grammar(NamedTuple):
    """What a member may be: a test, words that complete the sentence "… must be", and the same as JSON Schema.

    The schema is for readers (:mod:`omp.protocols.oplog.schemas`); the test decides, and may ask for more.
    """

    accepts: Callable[[Any], bool]
    words: str
    schema: Mapping[str, Any]


def _text(pattern: str, words: str) -> Grammar:
    # §1.1: a pattern is matched against the whole string and means ASCII.  "$" would let a line feed at the end pass,
    # and \d digits of every script.
    fullmatch = re.compile(pattern, re.ASCII | re.DOTALL).fullmatch
    schema = {"type": "string", "pattern": pattern}
    return Grammar(lambda value: type(value) is str and fullmatch(value) is not None, words, schema)


def _one_of(*values: str) -> Grammar:
    schema = {"type": "string", "enum": values}
    return Grammar(lambda value: type(value) is str and value in values, "one of " + ", ".join(values), schema)


def _or_null(grammar: Grammar) -> Grammar:
    accepts = grammar.accepts
    schema = {**grammar.schema, "type": [grammar.schema["type"], "null"]}
    return Grammar(lambda value: value is None or accepts(value), f"{grammar.words}, or null", schema)


def _array(of: Grammar, *, empty: bool = False, ordered: bool = False) -> Grammar:
    """A list without duplicates: non-empty unless `empty`, and sorted by code points if `ordered`."""
    accepts = of.accepts

    def fits(value: Any) -> bool:
        if type(value) is not list or not (value or empty) or not all(map(accepts, value)):
            return False
        return all(a < b for a, b in pairwise(value)) if ordered else len(set(value)) == len(value)

    # Without duplicates, and sorted where order means nothing: so that one meaning has one form, and one ID.
    kind = "sorted list" if ordered else "list"
    words = f"a {'' if empty else 'non-empty '}{kind} without duplicates; each element {of.words}"
    return Grammar(
        fits, words, {"type": "array", "items": of.schema, "minItems": 0 if empty else 1, "uniqueItems": True}
    )


_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z", re.ASCII).fullmatch


def is_timestamp(value: Any) -> bool:
    """§1.3: ``YYYY-MM-DDTHH:MM:SS.mmmZ``, a date of the calendar from year 1 on, no leap second.

    With one form for each instant, timestamps are compared as strings.

    >>> is_timestamp("2024-02-29T23:59:59.999Z"), is_timestamp("2023-02-29T00:00:00.000Z")
    (True, False)
    """
    match = _TIMESTAMP(value) if type(value) is str else None
    if match is None:
        return False
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True


def _is_name(name: str) -> bool:
    return _MEMBER_NAME(name) is not None


def _names_are_plain(value: Any) -> bool:
    """§1.1: every member name anywhere matches ``^[a-z0-9_]+$``.  Recursion is safe: stage 1 bounds the depth by 16."""
    if type(value) is dict:
        return all(map(_is_name, value)) and all(map(_names_are_plain, value.values()))
    if type(value) is list:
        return all(map(_names_are_plain, value))
    return True


_MEMBER_NAME = re.compile(r"[a-z0-9_]+").fullmatch
_EXTENSION_NAME = re.compile(r"x_[a-z0-9_]+").fullmatch
_PREDICATE_PATTERN = r"[a-z0-9_]+(?:\.[a-z0-9_]+)*"
# RFC 6838 §4.2: restricted-name.  Its 127 characters are a limit here (§1.5), not grammar.
_RESTRICTED_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"

IDENTITY_ID = _text(identifiers.IDENTITY_ID.pattern, "an identity ID, omp:id:ed25519:… with 43 characters of base64url")
KEY_ID = _text(identifiers.KEY_ID.pattern, "a key ID, omp:key:ed25519:… with 43 characters of base64url")
OPERATION_ID = _text(identifiers.OPERATION_ID.pattern, "an operation ID, omp:op:sha256:… with 64 hex digits")
EVIDENCE_ID = _text(identifiers.EVIDENCE_ID.pattern, "an evidence ID, omp:ev:sha256:… with 64 hex digits")
SIGNATURE = _text(identifiers.SIGNATURE.pattern, "a signature, 86 characters of base64url")
# Without "format": date-time: generated clients would read such a text as a time, and write it in another form.
_TIMESTAMP_SCHEMA = {"type": "string", "pattern": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"}
TIMESTAMP = Grammar(is_timestamp, "a timestamp like 2024-05-17T09:30:00.000Z", _TIMESTAMP_SCHEMA)
# isinstance would let true pass.
INTEGER = Grammar(lambda value: type(value) is int, "an integer", {"type": "integer", "format": "int64"})
OBJECT = Grammar(lambda value: type(value) is dict, "an object", {"type": "object"})
STRING = Grammar(lambda value: type(value) is str, "a string", {"type": "string"})
NON_EMPTY = Grammar(
    lambda value: type(value) is str and value != "",
    "a string of 1 character or more",
    {"type": "string", "minLength": 1},
)
ANY_VALUE = Grammar(_names_are_plain, "a value whose member names match ^[a-z0-9_]+$", {})
PREDICATE = _text(_PREDICATE_PATTERN, "a predicate like calendar.event: names out of a-z 0-9 _ with points between")
PATTERN = _text(rf"\*|{_PREDICATE_PATTERN}(?:\.\*)?", "*, a predicate, or a predicate followed by .*")
MEDIA_TYPE = _text(f"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}", "type/subtype, without parameters")
SOURCE = _text(r"[a-z0-9_.:-]+", "an adapter's name out of a-z 0-9 _ . : -")
TYPE_NAME = _one_of(*TYPES)

ENVELOPE: dict[str, Grammar] = {  # §2.1
    "author": KEY_ID,
    "body": OBJECT,
    "deps": _array(OPERATION_ID, empty=True),
    "lc": INTEGER,
    "log": IDENTITY_ID,
    "prev": _or_null(OPERATION_ID),
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
        "observed_at": _or_null(TIMESTAMP),
    },
    CLAIM: {
        "subject": NON_EMPTY,
        "predicate": PREDICATE,
        "object": ANY_VALUE,
        "confidence_ppm": INTEGER,
        "derived_from": _array(OPERATION_ID, empty=True),
        "method": NON_EMPTY,
    },
    CORRECTION: {"target": OPERATION_ID, "replacement": _or_null(OPERATION_ID), "reason": STRING},
    REFUTATION: {"target": OPERATION_ID, "reason": STRING},
    GRANT: {
        "grantee": KEY_ID,
        "caps": _array(_one_of(*CAPABILITIES), ordered=True),
        "scope": OBJECT,
        "parent": _or_null(OPERATION_ID),
        "max_depth": INTEGER,
        "not_before": _or_null(TIMESTAMP),
        "expires": _or_null(TIMESTAMP),
    },
    REVOCATION: {"target": OPERATION_ID, "reason": STRING},
    INFERENCE: {
        "purpose": NON_EMPTY,
        "model": NON_EMPTY,
        "inputs": _array(OPERATION_ID),
        "grant": _or_null(OPERATION_ID),
        "output": _or_null(EVIDENCE_ID),
    },
}
SCOPE: dict[str, Grammar] = {
    "predicates": _array(PATTERN, ordered=True),
    "provenance": _one_of("full", "none"),
    "ops": _array(TYPE_NAME, ordered=True),
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
        if not _names_are_plain(value):
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
