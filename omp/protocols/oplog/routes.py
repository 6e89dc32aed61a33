"""The operation log on the wire, as two tables: its routes, and its answers to what the log refuses (oplog §7).

The handlers are in ``posting`` (operations on their way in) and ``reading`` (everything else).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omp.protocols.oplog import reading
from omp.protocols.oplog.core.verify import OperationMalformed, OperationRefused
from omp.protocols.oplog.feed import BadEventId
from omp.protocols.oplog.posting import MAX_LINES, NDJSON, TooManyLines, post
from omp.protocols.oplog.reading import DEFAULT_PAGE, EVENT_STREAM
from omp.web.errors import Refusal, Refusals
from omp.web.messages import JSON
from omp.web.routes import Route

MAX_PAGE = 1_000

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_IDS = {"type": "array", "items": _TEXT}
_STATUS = {"type": "string", "enum": ["accepted", "duplicate", "deferred", "rejected"]}
_OUTCOME = {
    "type": "object",
    "required": ["status", "id"],
    "properties": {"status": _STATUS, "id": _TEXT, "missing": _IDS},
}
_OUTCOMES = {
    "type": "object",
    "required": ["accepted", "duplicate", "deferred", "rejected", "outcomes"],
    "properties": {
        "accepted": _COUNT,
        "duplicate": _COUNT,
        "deferred": _COUNT,
        "rejected": _COUNT,
        "outcomes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["line", "status", "id"],
                "properties": {
                    "line": {"type": "integer", "minimum": 1},
                    "status": _STATUS,
                    "id": {"type": ["string", "null"]},
                    "code": _TEXT,
                    "missing": _IDS,
                },
            },
        },
    },
}
_OPERATION = {"type": "object", "description": "One operation, exactly its canonical bytes (oplog §2)."}
_LIST = {
    "type": "object",
    "required": ["count", "items"],
    "properties": {"count": _COUNT, "items": {"type": "array", "items": {"type": "object"}}},
}
_HEADS = {
    "type": "object",
    "required": ["heads", "ops", "state"],
    "properties": {"heads": _IDS, "ops": _COUNT, "state": _TEXT},
}
_PAGE = {
    "after": {"type": "string", "description": "an operation ID; the page begins after it"},
    "limit": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_PAGE,
        "description": f"operations a page; {DEFAULT_PAGE} unless given, all for ndjson",
    },
}
_BY_STATUS = {**_PAGE, "status": {"type": "string", "description": "only those with this status"}}
_READER = "In mode strict: an HTTP signature of the root, or of a key with an active author grant."
_NOT_A_READER = {401: "Unsigned, in mode strict", 403: "The key may read its projection only"}
_NOT_A_LOG = {400: "The log's ID, or a parameter, is not in its form"}
_NO_LOG = {404: "The log has no operation here yet"}


def _code_and_stage(refused: OperationRefused) -> Mapping[str, Any]:
    return {"code": refused.code, "stage": refused.stage}


REFUSALS: Refusals = {
    TooManyLines: Refusal(413, f"Send at most {MAX_LINES} lines a body, and more bodies."),
    OperationMalformed: Refusal(400, details=_code_and_stage),  # stages 1 to 6
    OperationRefused: Refusal(403, details=_code_and_stage),  # stages 7 to 12
    reading.MalformedLog: Refusal(
        400, "This is not the ID of a log: it must be omp:id:ed25519: with 43 characters of base64url after it."
    ),
    reading.UnknownLog: Refusal(404, "This log has no operation here yet."),
    reading.UnknownOperation: Refusal(404),
    reading.UnknownPage: Refusal(400, "after must be the ID of an operation in this log."),
    reading.ReadingDenied: Refusal(403),
    BadEventId: Refusal(400, "Last-Event-ID must be the id of an event of this log, as in 12.1."),
}
"""What the code below the handlers raises, and how it is answered."""


def _read(path: str, handler: Any, summary: str, answer: Any, **more: Any) -> Route:
    answers = {200: answer, **_NOT_A_LOG, **_NO_LOG, **_NOT_A_READER}
    return Route("GET", f"/logs/{{log}}{path}", handler, summary, answers, auth=_READER, **more)


ROUTES = (
    Route(
        "GET", "/logs", reading.logs, "Every log stored here", {200: ("The logs", _LIST), **_NOT_A_READER}, auth=_READER
    ),
    Route(
        "POST",
        "/logs/{log}/operations",
        post,
        "Append operations, one or many",
        {
            200: ("Many: an outcome for each line.  One: it is stored already", _OUTCOMES),
            201: ("Accepted", _OUTCOME),
            202: ("It waits for the operations in missing", _OUTCOME),
            400: "Stages 1 to 6 refuse it; details name the code and the stage",
            401: "Unsigned, in mode strict, and nothing of this log is stored",
            403: "Stages 7 to 12 refuse it; details name the code and the stage",
            413: f"The body is too large, or has more than {MAX_LINES} lines",
            415: "Neither of the two media types",
        },
        body=_OPERATION,
        consumes=(JSON, NDJSON),
        auth=(
            "None: an operation carries its author's signature.  In mode strict, to begin a log: an HTTP signature by "
            "a configured key, unless OMP_LOGS_OPEN=1."
        ),
    ),
    _read(
        "/operations",
        reading.operations,
        "The operations in total order",
        ("A page, or with Accept: application/x-ndjson the exact bytes, one a line", _LIST),
        query=_PAGE,
        produces=(JSON, NDJSON),
    ),
    _read("/operations/{id}", reading.operation, "The exact bytes of one operation", ("The operation", _OPERATION)),
    _read(
        "/heads",
        reading.heads,
        "Heads, number of operations, state ID",
        ("The heads, the number and the state ID", _HEADS),
    ),
    _read(
        "/pending",
        reading.pending,
        "What waits for its ancestors, and recent rejections",
        ("What waits, the oldest first, and the recent rejections", _LIST),
    ),
    Route(
        "POST",
        "/logs/{log}/missing",
        reading.lacking,
        "What a caller with these heads lacks",
        {
            200: "The operations in total order, the exact bytes, one a line",
            400: "The log's ID is not in its form, or the body has no list",
            **_NO_LOG,
            **_NOT_A_READER,
        },
        body={"type": "object", "required": ["heads"], "properties": {"heads": _IDS}},
        example={"heads": []},
        produces=(NDJSON,),
        auth=_READER,
    ),
    _read(
        "/state",
        reading.state,
        "The state document, exact canonical bytes",
        ("The document; its ID as ETag and OMP-State", {"type": "object"}),
    ),
    _read(
        "/events",
        reading.events,
        "Operations, forks and changes of status as they happen",
        "Server-sent events: accepted, fork, status, rejected; reset where too much was missed",
        produces=(EVENT_STREAM,),
    ),
    _read(
        "/claims",
        reading.claims,
        "The claims",
        ("Each with its object of the state document, author, ts and body", _LIST),
        query={
            **_BY_STATUS,
            "predicate": {"type": "string", "description": "a predicate, or a pattern such as calendar.*"},
            "effective": {"type": "boolean", "description": "only those that are, or are not, effective"},
        },
    ),
    _read(
        "/claims/{id}/why", reading.claim_why, "A claim's derivation down to evidence", ("The tree", {"type": "object"})
    ),
    _read("/grants", reading.grants, "The grants", ("As for claims", _LIST), query=_BY_STATUS),
    _read("/evidence", reading.evidence, "The evidence", ("As for claims", _LIST), query=_BY_STATUS),
    _read("/inferences", reading.inferences, "The inference calls", ("As for claims", _LIST), query=_BY_STATUS),
    Route(
        "GET",
        "/logs/{log}/projection",
        reading.projected,
        "What a key with a read grant sees",
        {200: ("The claims in its scope", _LIST), **_NOT_A_LOG, 401: "Unsigned, in mode strict", **_NO_LOG},
        query={"key": {"type": "string", "description": "a key ID; in mode strict it is the signer's"}},
        auth="In mode strict: an HTTP signature by the key.",
    ),
)
