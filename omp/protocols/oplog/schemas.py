"""What the operation log looks like on the wire, as JSON Schema: operations, and what is answered (§2, §5, §6, §7).

The schemas of operations are made from the tables that the verifier walks (:mod:`.core.operation`): members and
grammar, limits, ranges.  They are for readers and generators.  Stages 1 to 6 decide, and ask for what a schema cannot
say: canonical bytes, order, bounds in bytes.

Laid out: operations, what is answered to those who send them, what is read.
"""

from __future__ import annotations

from collections.abc import Mapping

from omp.protocols.oplog.core.grammar import IDENTITY_ID, KEY_ID, OPERATION_ID, TIMESTAMP, Grammar
from omp.protocols.oplog.core.operation import (
    BODIES,
    CLAIM,
    ENVELOPE,
    EVIDENCE,
    GRANT,
    INFERENCE,
    LIMITS,
    RANGES,
    REFERENCES,
    SCOPE,
    TYPES,
    VERSION,
)
from omp.rules.identifiers import STATE_ID
from omp.rules.schema import BOOLEAN, COUNT, INTEGER, TEXT, Schema, described, list_of, record

Members = Mapping[str, Schema]

MEANINGS: Mapping[str, str] = {
    "v": "the version",
    "type": "one of the seven types",
    "log": "the identity whose log this belongs to",
    "author": "the signing key",
    "seq": "counts the operations of this author in this log, from 1",
    "prev": "the author's previous operation in this log; null iff seq is 1",
    "deps": "the other operations that this one builds on, normally the current heads",
    "lc": "Lamport clock: greater than that of prev and of each of deps",
    "ts": "when the author says that it was made",
    "body": "by type",
    "sig": "Ed25519 over the version, a line feed and the canonical bytes without sig",
    "evidence": "the hash of the raw bytes",
    "media_type": "what the bytes are",
    "size": "number of bytes",
    "source": "the adapter that found it, such as calendar:ics",
    "observed_at": "when the evidence was observed",
    "subject": "whom it is about; self is the log's owner",
    "predicate": "what is claimed, such as calendar.event",
    "object": "the value, in at most 16,384 bytes of canonical JSON",
    "confidence_ppm": "confidence in parts per million",
    "derived_from": "the sources; may be empty only where method starts with user:",
    "method": "how it was derived, such as rule:recurring-event/1",
    "target": "the operation that this one is about",
    "replacement": "the claim that holds instead",
    "reason": "for people",
    "grantee": "the key that gets the capabilities",
    "caps": "to append operations, to grant in turn, to call models, to read; sorted",
    "scope": "to what the capabilities apply",
    "parent": "the grant under which this one is given; null for the root's",
    "max_depth": "how many grants may stand below this one in a chain",
    "not_before": "the grant covers nothing earlier",
    "expires": "the grant covers nothing at this time or later",
    "predicates": "patterns: *, a predicate, or a predicate followed by .*; sorted",
    "provenance": "whether the sources of claims are seen too",
    "ops": "only operations of these types; sorted",
    "purpose": "what the model was called for",
    "model": "which model",
    "inputs": "what it was given",
    "grant": "the grant that allows it; null for the root",
    "output": "the hash of what came out, where it is kept",
}
"""§2: member -> what it means."""


# --- Operations (§2) --------------------------------------------------------------------------------------------


def _members(kind: str, path: str, grammars: Mapping[str, Grammar]) -> dict[str, Schema]:
    return {name: _member(kind, path + name, name, grammar) for name, grammar in grammars.items()}


def _member(kind: str, path: str, name: str, grammar: Grammar) -> Schema:
    """The schema of the member at `path` of an operation of that kind: its grammar, limits and range (§1.5)."""
    schema = described(grammar.schema, MEANINGS[name])
    if named := REFERENCES[kind].get(name):
        schema["description"] += f" ({' or '.join(named)})"
    for limit in LIMITS[kind]:
        if limit.path == path and limit.unit in _BOUNDS:
            schema[_BOUNDS[limit.unit]] = limit.bound
        elif limit.path == path and limit.unit == "characters an element":
            schema["items"] = {**schema["items"], "maxLength": limit.bound}
    for bounds in RANGES[kind]:
        if bounds.path == path:
            schema["minimum"] = bounds.low
            schema |= {} if bounds.high is None else {"maximum": bounds.high}
    return schema


_BOUNDS = {"characters": "maxLength", "elements": "maxItems"}
"""Unit of a limit -> the word of JSON Schema; bytes have none."""

_SCOPE_MEMBERS = _members(GRANT, "body.scope.", SCOPE)
SCOPE_SCHEMA = record(
    "To what a grant applies.",
    {name: schema for name, schema in _SCOPE_MEMBERS.items() if name != "ops"},
    {"ops": _SCOPE_MEMBERS["ops"]},
    additionalProperties=False,
)


def _body(kind: str) -> Schema:
    members = _members(kind, "body.", BODIES[kind])
    if "scope" in members:
        members["scope"] = SCOPE_SCHEMA
    # In the order of canonical JSON, in which many generated clients will write them.
    return record(
        f"The body of an operation of type {kind}; x_… members are extensions.", dict(sorted(members.items()))
    )


def _always(name: str, value: str) -> Schema:
    return {"const": value, "description": MEANINGS[name]}


def _operation(kind: str) -> Schema:
    members = _members(kind, "", ENVELOPE)
    members |= {"v": _always("v", VERSION), "type": _always("type", kind), "body": BODY_SCHEMAS[kind]}
    return record(f"An operation of type {kind}; x_… members are extensions.", members)


BODY_SCHEMAS: Members = {kind: _body(kind) for kind in TYPES}
OPERATION_SCHEMAS: Members = {kind: _operation(kind) for kind in TYPES}
OPERATION: Schema = {
    "type": "object",
    "description": "A signed operation, sent and answered as exactly its canonical bytes (oplog §1.1).",
    "oneOf": list(OPERATION_SCHEMAS.values()),
}


# --- Sending operations (§7.2) ----------------------------------------------------------------------------------


def _counted(about: str, item: Schema, items: str, **more: Schema) -> Schema:
    members = {"count": described(COUNT, "how many items there are"), "items": list_of(item, items)}
    return record(about, {**members, **more})


_OPERATION_ID: Schema = OPERATION_ID.schema


def _ids(about: str) -> Schema:
    return list_of(_OPERATION_ID, about)


ID = described(_OPERATION_ID, "the ID of the operation")
_CODE = described(TEXT, "the code of the stage that refuses it, as in oplog §3.2")
_MISSING = _ids("the operations that it waits for")
_OUTCOMES = {
    "accepted": "stored",
    "duplicate": "stored before",
    "deferred": "waiting for its ancestors",
    "rejected": "refused",
}
"""Status -> what it means (§7.2)."""


def _outcome(*statuses: str) -> Schema:
    meanings = ", ".join(f"{status}: {_OUTCOMES[status]}" for status in statuses)
    return described(TEXT, meanings, enum=statuses)


OUTCOME = record(
    "What became of one operation.",
    {"status": _outcome("accepted", "duplicate", "deferred"), "id": ID},
    {"missing": _MISSING},
)
LINE_OUTCOME = record(
    "What became of one line.",
    {
        "line": described(INTEGER, "the number of the physical line", minimum=1),
        "status": _outcome(*_OUTCOMES),
        "id": described(_OPERATION_ID, "the ID of the operation; null if it has none", type=["string", "null"]),
    },
    {"code": _CODE, "missing": _MISSING},
)
OUTCOMES = record(
    "What became of many operations: how many of each kind, and each line by itself.",
    {
        **{status: described(COUNT, f"lines with an operation that is {word}") for status, word in _OUTCOMES.items()},
        "outcomes": list_of(LINE_OUTCOME, "in the order of the lines; an empty line has none"),
    },
)
SENT: Schema = {"description": "Of one operation its outcome, of many all of them.", "oneOf": [OUTCOMES, OUTCOME]}
HAVE = record(
    "What the caller has.", {"heads": list_of(TEXT, "the heads that the caller has; unknown IDs are ignored")}
)


# --- Reading (§5, §6, §7.3, §7.4) -------------------------------------------------------------------------------

_LOG = described(IDENTITY_ID.schema, MEANINGS["log"])
_AUTHOR = described(KEY_ID.schema, MEANINGS["author"])
_HEADS = _ids("the operations that no other one names, sorted")
_OPS = described(COUNT, "how many operations are stored")
_TAINT = _ids("the sources that taint it (oplog §5.2), sorted")
_REFUTED_BY = _ids("the refutations of it, sorted")
_LOG_MEMBERS: Members = {
    "heads": _HEADS,
    "ops": _OPS,
    "state": described(TEXT, "the state ID", pattern=STATE_ID.pattern),
}
HEADS = record("Where a log stands.", _LOG_MEMBERS)
LOG = record("A stored log.", {"log": _LOG, **_LOG_MEMBERS})
LOGS = _counted("Every stored log.", LOG, "sorted by identity ID")
OPERATIONS = _counted("Operations in total order.", OPERATION, "exactly as they were signed")
PENDING_OPERATION = record("An operation that waits.", {"id": ID, "missing": _MISSING})
REJECTION = record("An operation that waited and was then rejected.", {"id": ID, "code": _CODE})
PENDING = _counted(
    "What waits, and what waited in vain.",
    PENDING_OPERATION,
    "the oldest first",
    rejected=list_of(REJECTION, "the last 100, the newest first"),
)

_STATUSES = {
    EVIDENCE: ("active", "refuted", "void"),
    CLAIM: ("active", "superseded", "refuted", "void"),
    GRANT: ("active", "revoked", "void"),
    INFERENCE: ("active", "void"),
}


def _status(kind: str) -> Schema:
    return described(TEXT, "what became of it (oplog §5.1)", enum=_STATUSES[kind])


def _head(kind: str) -> dict[str, Schema]:
    return {"id": ID, "status": _status(kind)}


STATES: Mapping[str, dict[str, Schema]] = {
    EVIDENCE: {**_head(EVIDENCE), "refuted_by": _REFUTED_BY},
    CLAIM: {
        **_head(CLAIM),
        "effective": described(BOOLEAN, "active, and without taint"),
        "refuted_by": _REFUTED_BY,
        "replacement": described(
            _OPERATION_ID, "the claim that holds instead, by the last correction; or null", type=["string", "null"]
        ),
        "superseded_by": _ids("the corrections of it, in total order"),
        "taint": _TAINT,
    },
    GRANT: {**_head(GRANT), "revoked_by": _ids("the revocations of this very grant, sorted")},
    INFERENCE: {**_head(INFERENCE), "taint": _TAINT},
}
"""Type -> the members of its objects in the state document (§5.3)."""
STATE_SCHEMAS: Members = {
    kind: record(f"What the state document says of an operation of type {kind}.", members)
    for kind, members in STATES.items()
}
FORK = record(
    "Operations of one author with the same seq.",
    {
        "author": _AUTHOR,
        "ops": _ids("the operations, sorted"),
        "seq": described(INTEGER, "the number that they share", minimum=1),
    },
)
STATE = record(
    "The state document: what follows from all stored operations (oplog §5.3).",
    {
        "claims": list_of(STATE_SCHEMAS[CLAIM], "every claim, sorted by id"),
        "evidence": list_of(STATE_SCHEMAS[EVIDENCE], "all evidence, sorted by id"),
        "forks": list_of(FORK, "sorted by author and seq"),
        "grants": list_of(STATE_SCHEMAS[GRANT], "every grant, sorted by id"),
        "heads": _HEADS,
        "inferences": list_of(STATE_SCHEMAS[INFERENCE], "every call of a model, sorted by id"),
        "log": described(IDENTITY_ID.schema, "the identity whose log this is"),
        "ops": _OPS,
        "v": _always("v", VERSION),
        "void": _ids("the void operations of every type, sorted"),
    },
    additionalProperties=False,
)
_TS = described(TIMESTAMP.schema, MEANINGS["ts"])
ITEMS: Members = {
    kind: record(
        f"An operation of type {kind} with what the state document says of it.",
        {**members, "author": _AUTHOR, "ts": _TS, "body": BODY_SCHEMAS[kind]},
    )
    for kind, members in STATES.items()
}
LISTS: Members = {
    kind: _counted(f"A page of operations of type {kind}.", item, "in total order") for kind, item in ITEMS.items()
}
DERIVATION = record(
    "An operation and what it was derived from; one that was met before is its id alone.",
    {"id": ID},
    {
        "type": described(TEXT, "a claim, evidence, or a call of a model", enum=[CLAIM, EVIDENCE, INFERENCE]),
        "status": _status(CLAIM),
        "changed_by": _ids("what refutes, corrects or voids it"),
        "body": {
            "oneOf": [BODY_SCHEMAS[CLAIM], BODY_SCHEMAS[EVIDENCE], BODY_SCHEMAS[INFERENCE]],
            "description": MEANINGS["body"],
        },
        "sources": list_of(
            {"$ref": "#/components/schemas/Derivation"}, "the same of each operation in derived_from or inputs"
        ),
    },
)
EVIDENCE_RECORD = record(
    "Evidence from which a claim was derived.", {**_head(EVIDENCE), "body": BODY_SCHEMAS[EVIDENCE]}
)
_SHOWN = BODY_SCHEMAS[CLAIM]["properties"]
PROJECTED_CLAIM = record(
    "A claim as a key with a read grant sees it; the optional members need provenance full.",
    {
        **_head(CLAIM),
        **{name: _SHOWN[name] for name in ("subject", "predicate", "object", "confidence_ppm")},
        "tainted": described(BOOLEAN, "whether any source of it no longer holds"),
    },
    {
        **{name: _SHOWN[name] for name in ("method", "derived_from")},
        "taint": _TAINT,
        "evidence": list_of(EVIDENCE_RECORD, "the evidence that derived_from names, in that order"),
    },
)
PROJECTION = _counted("The claims that a key sees.", PROJECTED_CLAIM, "in total order")


# --- Names ------------------------------------------------------------------------------------------------------


def _named(schemas: Members, prefix: str = "", suffix: str = "") -> dict[str, Schema]:
    """`schemas` of types under names such as ClaimAssertBody."""
    return {f"{prefix}{kind.title().replace('-', '')}{suffix}": schema for kind, schema in schemas.items()}


ABOUT = (
    "A log is everything that keys have signed about one identity: evidence (by its hash), claims derived from it, "
    "corrections, refutations, grants of authority, their revocation, calls of models."
)
NAMES: Members = {
    "Operation": OPERATION,
    **_named(OPERATION_SCHEMAS),
    **_named(BODY_SCHEMAS, suffix="Body"),
    "GrantScope": SCOPE_SCHEMA,
    "Outcome": OUTCOME,
    "LineOutcome": LINE_OUTCOME,
    "OutcomeList": OUTCOMES,
    "LogHeads": HEADS,
    "HeadsOfCaller": HAVE,
    "Log": LOG,
    "LogList": LOGS,
    "OperationList": OPERATIONS,
    "PendingOperation": PENDING_OPERATION,
    "Rejection": REJECTION,
    "PendingList": PENDING,
    "StateDocument": STATE,
    "Fork": FORK,
    **_named(STATE_SCHEMAS, suffix="State"),
    **_named(ITEMS, suffix="Item"),
    **_named(LISTS, suffix="List"),
    "Derivation": DERIVATION,
    "EvidenceRecord": EVIDENCE_RECORD,
    "ProjectedClaim": PROJECTED_CLAIM,
    "Projection": PROJECTION,
}
"""What OpenAPI calls them."""

PARAMETERS = {"log": "the ID of the identity whose log it is", "id": "the operation's ID"}
"""What the {names} in paths stand for."""
