"""The operation log on the wire, as two tables: its routes, and its answers to what the log refuses (oplog §7).

The handlers are in ``posting`` (operations on their way in) and ``reading`` (everything else).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omp.protocols.oplog import reading, schemas
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, INFERENCE
from omp.protocols.oplog.core.verify import OperationMalformed, OperationRefused
from omp.protocols.oplog.feed import BadEventId
from omp.protocols.oplog.posting import MAX_LINES, NDJSON, TooManyLines, post
from omp.protocols.oplog.reading import DEFAULT_PAGE, EVENT_STREAM
from omp.web.errors import Refusal, Refusals
from omp.web.messages import JSON
from omp.web.routes import Answer, Route
from omp.web.signature_guard import HTTP_SIGNATURE

MAX_PAGE = 1_000

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
READER = "In mode strict: an HTTP signature of the root, or of a key with an active author grant."
_UNSIGNED: Answer = ("Unsigned, in mode strict", None, ("Accept-Signature",))
_NOT_A_READER: Mapping[int, Answer] = {401: _UNSIGNED, 403: "The key may read its projection only"}
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


PROJECTED = "In mode strict: an HTTP signature by the key."
BEGINS = (
    "None: an operation carries its author's signature.  In mode strict, to begin a log: an HTTP signature by "
    "a configured key, unless OMP_LOGS_OPEN=1."
)
ACCESS = {READER: (HTTP_SIGNATURE,), PROJECTED: (HTTP_SIGNATURE,), BEGINS: (HTTP_SIGNATURE, "")}
"""How a caller is known, for OpenAPI."""
_PAGED = ("Link",)
_PRECONDITIONS = ("If-Match", "If-None-Match")


def _read(name: str, path: str, handler: Any, summary: str, answer: Answer, **more: Any) -> Route:
    answers = {200: answer, **more.pop("answers", {}), **_NOT_A_LOG, **_NO_LOG, **_NOT_A_READER}
    return Route("GET", f"/logs/{{log}}{path}", handler, summary, answers, auth=READER, name=name, **more)


def _list(name: str, path: str, handler: Any, summary: str, kind: str, query: Mapping[str, Any]) -> Route:
    answer = ("Each with its object of the state document, author, ts and body", schemas.LISTS[kind], _PAGED)
    return _read(name, path, handler, summary, answer, query=query)


ROUTES = (
    Route(
        "GET",
        "/logs",
        reading.logs,
        "Every log stored here",
        {200: ("The logs", schemas.LOGS, ("OMP-Incomplete",)), **_NOT_A_READER},
        auth=READER,
        name="listLogs",
    ),
    Route(
        "POST",
        "/logs/{log}/operations",
        post,
        "Append operations, one or many",
        {
            200: ("Many: an outcome for each line.  One: it is stored already", schemas.SENT),
            201: ("Accepted", schemas.OUTCOME),
            202: ("It waits for the operations in missing", schemas.OUTCOME),
            400: "Stages 1 to 6 refuse it; details name the code and the stage",
            401: ("Unsigned, in mode strict, and nothing of this log is stored", None, ("Accept-Signature",)),
            403: "Stages 7 to 12 refuse it; details name the code and the stage",
            413: f"The body is too large, or has more than {MAX_LINES} lines",
            415: "Neither of the two media types",
        },
        body=schemas.OPERATION,
        consumes=(JSON, NDJSON),
        auth=BEGINS,
        name="appendOperations",
    ),
    _read(
        "listOperations",
        "/operations",
        reading.operations,
        "The operations in total order",
        ("A page, or with Accept: application/x-ndjson the exact bytes, one a line", schemas.OPERATIONS, _PAGED),
        query=_PAGE,
        produces=(JSON, NDJSON),
    ),
    _read(
        "getOperation",
        "/operations/{id}",
        reading.operation,
        "The exact bytes of one operation",
        ("The operation", schemas.OPERATION),
    ),
    _read(
        "getHeads",
        "/heads",
        reading.heads,
        "Heads, number of operations, state ID",
        ("The heads, the number and the state ID", schemas.HEADS),
    ),
    _read(
        "listPending",
        "/pending",
        reading.pending,
        "What waits for its ancestors, and recent rejections",
        ("What waits, the oldest first, and the recent rejections", schemas.PENDING),
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
        body=schemas.HAVE,
        example={"heads": []},
        produces=(NDJSON,),
        auth=READER,
        name="pullMissing",
    ),
    _read(
        "getState",
        "/state",
        reading.state,
        "The state document, exact canonical bytes",
        ("The document; its ID as ETag and OMP-State", schemas.STATE, ("ETag", "OMP-State")),
        answers={
            304: ("It is the state that If-None-Match names", None, ("ETag", "OMP-State")),
            412: ("If-Match names another state", None, ("ETag",)),
        },
        fields=_PRECONDITIONS,
    ),
    _read(
        "followEvents",
        "/events",
        reading.events,
        "Operations, forks and changes of status as they happen",
        "Server-sent events: accepted, fork, status, rejected; reset where too much was missed",
        produces=(EVENT_STREAM,),
        fields=("Last-Event-ID",),
    ),
    _list(
        "listClaims",
        "/claims",
        reading.claims,
        "The claims",
        CLAIM,
        {
            **_BY_STATUS,
            "predicate": {"type": "string", "description": "a predicate, or a pattern such as calendar.*"},
            "effective": {"type": "boolean", "description": "only those that are, or are not, effective"},
        },
    ),
    _read(
        "explainClaim",
        "/claims/{id}/why",
        reading.claim_why,
        "A claim's derivation down to evidence",
        ("The tree", schemas.DERIVATION),
    ),
    _list("listGrants", "/grants", reading.grants, "The grants", GRANT, _BY_STATUS),
    _list("listEvidence", "/evidence", reading.evidence, "The evidence", EVIDENCE, _BY_STATUS),
    _list("listInferences", "/inferences", reading.inferences, "The inference calls", INFERENCE, _BY_STATUS),
    Route(
        "GET",
        "/logs/{log}/projection",
        reading.projected,
        "What a key with a read grant sees",
        {
            200: ("The claims in its scope", schemas.PROJECTION),
            **_NOT_A_LOG,
            401: _UNSIGNED,
            403: "In mode strict: key is not the signer's",
            **_NO_LOG,
        },
        query={"key": {"type": "string", "description": "a key ID; in mode strict it is the signer's"}},
        auth=PROJECTED,
        name="getProjection",
    ),
)
