"""Operations on their way in: oplog §7, ``POST /logs/{log}/operations``.

One operation is answered by its own status; of many, one a line, each has an outcome of its own, and one bad line fails
no other.  Stages 1 to 7 run here, outside every lock; the node runs the rest.

The outcomes of many are those at the end of the body: an operation that waited for one further down is ``accepted``
on the first line that brought it, ``duplicate`` on every other.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from omp.protocols.oplog.core.operation import Operation
from omp.protocols.oplog.core.replica import ACCEPTED, DEFERRED, DUPLICATE, REJECTED, Outcome, rejected
from omp.protocols.oplog.core.verify import STAGES, Refused, check_bytes
from omp.protocols.oplog.node import Node
from omp.rules.engines import Engine
from omp.web.errors import ApiError
from omp.web.messages import Response, json_response

MAX_LINE = 1 << 20
"""§1.5: bytes of a line of ndjson."""

_STATUS = {ACCEPTED: 201, DUPLICATE: 200, DEFERRED: 202}
_LAST_STAGE_OF_FORM = 6
"""§7: stages 1 to 6 are answered 400, the rest 403."""
_LIMITS = next(stage for stage in STAGES if stage.code == "ERR_LIMIT")


def post_one(node: Node, engine: Engine, log: str, data: bytes) -> Response:
    """The answer to one operation, `data` being its exact bytes.  Raises :class:`ApiError` 400 or 403."""
    try:
        operation = check_bytes(data, engine, log, node.known(log))
    except Refused as refusal:
        raise _error(rejected(refusal)) from None
    (outcome,) = node.admit(log, [operation])
    if outcome.status == REJECTED:
        raise _error(outcome)
    answer: dict[str, Any] = {"status": outcome.status, "id": outcome.id}
    if outcome.status == DEFERRED:
        answer["missing"] = list(outcome.missing)
    return json_response(answer, _STATUS[outcome.status])


def _error(outcome: Outcome) -> ApiError:
    assert outcome.stage is not None
    status = 400 if outcome.stage <= _LAST_STAGE_OF_FORM else 403
    return ApiError(status, outcome.message, details={"code": outcome.code, "stage": outcome.stage})


def post_many(node: Node, engine: Engine, log: str, data: bytes) -> Response:
    """The answer to many operations, one a line of `data`, in any order."""
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line]
    outcomes: list[Outcome | None] = []
    operations: list[Operation] = []
    for _, line in lines:
        try:
            if len(line) > MAX_LINE:
                raise Refused(_LIMITS.code, _LIMITS.number, f"a line must have at most {MAX_LINE} bytes")
            operations.append(check_bytes(line, engine, log, node.known(log)))
            outcomes.append(None)
        except Refused as refusal:
            outcomes.append(rejected(refusal))
    admitted = iter(node.admit(log, operations))
    settled = _settled(node, log, [outcome or next(admitted) for outcome in outcomes])
    counts = Counter(outcome.status for outcome in settled)
    return json_response(
        {
            **{status: counts[status] for status in (ACCEPTED, DUPLICATE, DEFERRED, REJECTED)},
            "outcomes": [_line(number, outcome) for (number, _), outcome in zip(lines, settled, strict=True)],
        }
    )


def _settled(node: Node, log: str, outcomes: list[Outcome]) -> list[Outcome]:
    """`outcomes` as they stand at the end: what was deferred may have been stored or rejected since."""
    if not any(outcome.status == DEFERRED for outcome in outcomes):
        return outcomes
    turned_down = {
        event.data["id"]: event.data["code"]
        for outcome in outcomes
        for event in outcome.events
        if event.kind == "rejected"
    }
    waiting, lately_rejected = node.waiting(log)
    missing = dict(waiting)
    codes = {**dict(lately_rejected), **turned_down}
    brought: set[str] = set()
    settled = []
    for outcome in outcomes:
        operation_id = outcome.id
        if outcome.status == DEFERRED and operation_id is not None:
            if operation_id in missing:
                outcome = outcome._replace(missing=tuple(missing[operation_id]))
            elif node.known(log)(operation_id) is not None:
                status = DUPLICATE if operation_id in brought else ACCEPTED
                outcome = outcome._replace(status=status, missing=())
                brought.add(operation_id)
            elif operation_id in codes:
                outcome = outcome._replace(status=REJECTED, code=codes[operation_id], missing=())
        settled.append(outcome)
    return settled


def _line(number: int, outcome: Outcome) -> dict[str, Any]:
    line: dict[str, Any] = {"line": number, "status": outcome.status, "id": outcome.id}
    if outcome.code is not None:
        line["code"] = outcome.code
    if outcome.status == DEFERRED:
        line["missing"] = list(outcome.missing)
    return line
