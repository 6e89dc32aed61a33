"""What the operation log looks like on the wire, as JSON Schema: operations, and what is answered (§2, §5, §6, §7).

The schemas of operations are made from the tables that the verifier walks (:mod:`.core.operation`): members and
grammar, limits, ranges.  They are for readers and generators.  Stages 1 to 6 decide, and ask for what a schema cannot
say: canonical bytes, order, bounds in bytes.

Laid out: operations, what is answered to those who send them, what is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

Schema = Mapping[str, Any]
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


def _object(members: Members, optional: Members | None = None, about: str = "", **more: Any) -> Schema:
    described = {"description": about} if about else {}
    properties = {**members, **(optional or {})}
    return {"type": "object", **described, "required": list(members), "properties": properties, **more}


def _members(kind: str, path: str, grammars: Mapping[str, Grammar]) -> dict[str, Schema]:
    return {name: _member(kind, path + name, name, grammar) for name, grammar in grammars.items()}


def _member(kind: str, path: str, name: str, grammar: Grammar) -> Schema:
    """The schema of the member at `path` of an operation of that kind: its grammar, limits and range (§1.5)."""
    schema = {**grammar.schema, "description": MEANINGS[name]}
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
SCOPE_SCHEMA = _object(
    {name: schema for name, schema in _SCOPE_MEMBERS.items() if name != "ops"},
    {"ops": _SCOPE_MEMBERS["ops"]},
    "To what a grant applies.",
    additionalProperties=False,
)


def _body(kind: str) -> Schema:
    members = _members(kind, "body.", BODIES[kind])
    if "scope" in members:
        members["scope"] = SCOPE_SCHEMA
    # In the order of canonical JSON, in which many generated clients will write them.
    return _object(
        dict(sorted(members.items())), about=f"The body of an operation of type {kind}; x_… members are extensions."
    )


def _operation(kind: str) -> Schema:
    members = _members(kind, "", ENVELOPE)
    members |= {"v": {"const": VERSION}, "type": {"const": kind}, "body": BODY_SCHEMAS[kind]}
    return _object(members, about=f"An operation of type {kind}; x_… members are extensions.")


BODY_SCHEMAS: Members = {kind: _body(kind) for kind in TYPES}
OPERATION_SCHEMAS: Members = {kind: _operation(kind) for kind in TYPES}
OPERATION: Schema = {
    "type": "object",
    "description": "A signed operation, sent and answered as exactly its canonical bytes (oplog §1.1).",
    "oneOf": list(OPERATION_SCHEMAS.values()),
}


# --- Sending operations (§7.2) ----------------------------------------------------------------------------------


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _counted(item: Schema, about: str, **more: Schema) -> Schema:
    return _object({"count": COUNT, "items": _list_of(item), **more}, about=about)


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ID: Schema = OPERATION_ID.schema
IDS = _list_of(ID)
_CODE: Schema = {"type": "string", "description": "the code of the stage that refuses it, as in oplog §3.2"}
_MISSING: Schema = {**IDS, "description": "the operations that it waits for"}
_OUTCOMES = ("accepted", "duplicate", "deferred", "rejected")

OUTCOME = _object(
    {"status": {"type": "string", "enum": _OUTCOMES[:3]}, "id": ID},
    {"missing": _MISSING},
    "What became of one operation.",
)
LINE_OUTCOME = _object(
    {
        "line": {"type": "integer", "minimum": 1, "description": "the number of the physical line"},
        "status": {"type": "string", "enum": _OUTCOMES},
        "id": {**ID, "type": ["string", "null"]},
    },
    {"code": _CODE, "missing": _MISSING},
    "What became of one line.",
)
OUTCOMES = _object(
    {**dict.fromkeys(_OUTCOMES, COUNT), "outcomes": _list_of(LINE_OUTCOME)},
    about="What became of many operations: how many of each kind, and each line by itself.",
)
SENT: Schema = {"description": "Of one operation its outcome, of many all of them.", "oneOf": [OUTCOMES, OUTCOME]}
HAVE = _object({"heads": {**_list_of(TEXT), "description": "the heads that the caller has"}})


# --- Reading (§5, §6, §7.3, §7.4) -------------------------------------------------------------------------------

_STATE: Schema = {"type": "string", "pattern": STATE_ID.pattern, "description": "the state ID"}
_HEADS: Schema = {**IDS, "description": "the operations that no other one names, sorted"}
_TAINT: Schema = {**IDS, "description": "the sources that taint it, sorted"}
_LOG_MEMBERS: Members = {"heads": _HEADS, "ops": {**COUNT, "description": "the stored operations"}, "state": _STATE}
HEADS = _object(_LOG_MEMBERS, about="Where a log stands.")
LOG = _object({"log": IDENTITY_ID.schema, **_LOG_MEMBERS}, about="A stored log.")
LOGS = _counted(LOG, "Every stored log.")
OPERATIONS = _counted(OPERATION, "Operations in total order.")
PENDING_OPERATION = _object({"id": ID, "missing": _MISSING})
REJECTION = _object({"id": ID, "code": _CODE})
PENDING = _counted(PENDING_OPERATION, "What waits, the oldest first.", rejected=_list_of(REJECTION))

_STATUSES = {
    EVIDENCE: ("active", "refuted", "void"),
    CLAIM: ("active", "superseded", "refuted", "void"),
    GRANT: ("active", "revoked", "void"),
    INFERENCE: ("active", "void"),
}


def _head(kind: str) -> dict[str, Schema]:
    return {"id": ID, "status": {"type": "string", "enum": _STATUSES[kind]}}


STATES: Mapping[str, dict[str, Schema]] = {
    EVIDENCE: {**_head(EVIDENCE), "refuted_by": IDS},
    CLAIM: {
        **_head(CLAIM),
        "effective": {"type": "boolean", "description": "active, and without taint"},
        "refuted_by": IDS,
        "replacement": {**ID, "type": ["string", "null"]},
        "superseded_by": IDS,
        "taint": _TAINT,
    },
    GRANT: {**_head(GRANT), "revoked_by": IDS},
    INFERENCE: {**_head(INFERENCE), "taint": _TAINT},
}
"""Type -> the members of its objects in the state document (§5.3)."""
STATE_SCHEMAS: Members = {
    kind: _object(members, about=f"What the state document says of an operation of type {kind}.")
    for kind, members in STATES.items()
}
FORK = _object(
    {"author": KEY_ID.schema, "ops": IDS, "seq": {"type": "integer", "minimum": 1}},
    about="Operations of one author with the same seq.",
)
STATE = _object(
    {
        "claims": _list_of(STATE_SCHEMAS[CLAIM]),
        "evidence": _list_of(STATE_SCHEMAS[EVIDENCE]),
        "forks": _list_of(FORK),
        "grants": _list_of(STATE_SCHEMAS[GRANT]),
        "heads": _HEADS,
        "inferences": _list_of(STATE_SCHEMAS[INFERENCE]),
        "log": IDENTITY_ID.schema,
        "ops": COUNT,
        "v": {"const": VERSION},
        "void": {**IDS, "description": "the void operations of every type"},
    },
    about="The state document: what follows from all stored operations (oplog §5.3).",
    additionalProperties=False,
)
ITEMS: Members = {
    kind: _object(
        {**members, "author": KEY_ID.schema, "ts": TIMESTAMP.schema, "body": BODY_SCHEMAS[kind]},
        about=f"An operation of type {kind} with what the state document says of it.",
    )
    for kind, members in STATES.items()
}
LISTS: Members = {kind: _counted(item, "A page in total order.") for kind, item in ITEMS.items()}
DERIVATION = _object(
    {"id": ID},
    {
        "type": {"type": "string", "enum": [CLAIM, EVIDENCE, INFERENCE]},
        "status": {"type": "string", "enum": _STATUSES[CLAIM]},
        "changed_by": {**IDS, "description": "what refutes, corrects or voids it"},
        "body": {"oneOf": [BODY_SCHEMAS[CLAIM], BODY_SCHEMAS[EVIDENCE], BODY_SCHEMAS[INFERENCE]]},
        "sources": _list_of({"$ref": "#/components/schemas/Derivation"}),
    },
    "An operation and what it was derived from; one that was met before is its id alone.",
)
EVIDENCE_RECORD = _object({**_head(EVIDENCE), "body": BODY_SCHEMAS[EVIDENCE]})
_SHOWN = BODY_SCHEMAS[CLAIM]["properties"]
PROJECTED_CLAIM = _object(
    {
        **_head(CLAIM),
        **{name: _SHOWN[name] for name in ("subject", "predicate", "object", "confidence_ppm")},
        "tainted": {"type": "boolean"},
    },
    {
        **{name: _SHOWN[name] for name in ("method", "derived_from")},
        "taint": _TAINT,
        "evidence": _list_of(EVIDENCE_RECORD),
    },
    "A claim as a key with a read grant sees it; the optional members need provenance full.",
)
PROJECTION = _counted(PROJECTED_CLAIM, "The claims that a key sees.")


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
