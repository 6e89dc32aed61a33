"""Operations on their way in: ``POST /logs/{log}/operations`` (oplog §7).

One operation is answered by its own HTTP status.  Many operations, one a line, are answered by an outcome for each
line, and one bad line fails no other.  Stages 1 to 7 run here, outside every lock; the node runs the rest.  Posting
needs no HTTP signature, since operations carry their own, except to begin a log in mode ``strict`` (§7.2): keys cost
nothing, so whoever may begin logs may fill the disk.

The outcomes of many are those at the end of the body.  If an operation waits for another one further down the body, it
is ``accepted`` on the first line that brought it, and ``duplicate`` on every other.

``deferred`` is no promise.  The pool is bounded and in memory: an operation may be put out at once, or lost at a
restart, and was still answered ``deferred``.  A sender that wants to be sure sends it again after its parents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from omp.protocols.oplog.core.operation import MAX_OPERATION_BYTES, Operation
from omp.protocols.oplog.core.outcomes import ACCEPTED, DEFERRED, DUPLICATE, REJECTED, Outcome, outcome_of
from omp.protocols.oplog.core.verify import STAGES, OperationMalformed, OperationRefused, OplogError, check_bytes
from omp.protocols.oplog.node import Node, OpLog
from omp.rules.engines import Engine
from omp.rules.json_text import TooHeavy, check_weight
from omp.web.errors import ApiError
from omp.web.messages import JSON, Request, Response, json_response

NDJSON = "application/x-ndjson"
MAX_LINE = 1 << 20
"""§7.2: bytes of one operation, alone or as a line, that are looked at: parsed, they take up to 20 times as much."""
MAX_LINES = 10_000
"""§7.2: lines of a body of ndjson.  Each has an outcome in the answer, which is longer than a short line."""
_AT_ONCE = 64
"""How many lines are parsed before the node gets them."""

_STATUS = {ACCEPTED: 201, DUPLICATE: 200, DEFERRED: 202}
_LIMITS = next(stage for stage in STAGES if stage.code == "ERR_LIMIT")


class TooManyLines(OplogError):
    """A body of ndjson has more than :data:`MAX_LINES` lines."""


def post(request: Request, oplog: OpLog) -> Response:
    """``POST /logs/{log}/operations``.

    Raises :class:`OperationRefused` for a single operation, :class:`TooManyLines` for many; 400 and 401, where the
    request would begin a log that only a configured key may begin; 415.
    """
    if not oplog.anybody_begins and not oplog.node.stores(request.params["log"]):
        _require_configured_key(request, oplog)
    media_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media_type == JSON:
        return post_one(oplog.node, oplog.engine, request.params["log"], request.body)
    if media_type == NDJSON:
        return post_many(oplog.node, oplog.engine, request.params["log"], request.body)
    raise ApiError(415, f"Send one operation as {JSON}, or one a line as {NDJSON}.")


def _require_configured_key(request: Request, oplog: OpLog) -> None:
    # Before the body is looked at: what a stranger sends for a log that nobody has must not even wait here.
    try:
        oplog.signatures.check(request)
    except ApiError as refused:
        refused.message = f"Here a log is begun with a configured key, unless OMP_LOGS_OPEN=1. {refused.message}"
        raise


# --- One --------------------------------------------------------------------------------------------------------


def post_one(node: Node, engine: Engine, log: str, data: bytes) -> Response:
    """The answer to one operation, whose exact bytes are `data`.  Raises :class:`OperationRefused`."""
    operation = _checked(data, engine, log, node.bytes_held(log))
    (outcome,) = node.admit(log, [operation])  # stages 8 to 12, and the append
    if outcome.status == REJECTED:
        assert outcome.code is not None and outcome.stage is not None
        raise OperationRefused(outcome.code, outcome.stage, outcome.message, outcome.id)
    answer: dict[str, Any] = {"status": outcome.status, "id": outcome.id}
    if outcome.status == DEFERRED:
        answer["missing"] = list(outcome.missing)
    return json_response(answer, _STATUS[outcome.status])


def _checked(data: bytes, engine: Engine, log: str, bytes_held: Callable[[str], bytes | None]) -> Operation:
    """The operation that passes stages 1 to 7; :class:`OperationRefused`."""
    if len(data) > MAX_LINE:
        raise OperationMalformed(_LIMITS.code, _LIMITS.number, f"an operation must have at most {MAX_LINE} bytes")
    if len(data) > MAX_OPERATION_BYTES:
        try:
            check_weight(data)
        except TooHeavy as error:
            raise OperationMalformed(_LIMITS.code, _LIMITS.number, str(error)) from None
    return check_bytes(data, engine, log, bytes_held)


# --- Many -------------------------------------------------------------------------------------------------------


def post_many(node: Node, engine: Engine, log: str, data: bytes) -> Response:
    """The answer to many operations, one a line of `data`, in any order: 200, with an outcome for each line.

    A line that stages 1 to 7 refuse never reaches the node; the others are admitted in the order of the lines, some at
    a time, so that only a few are ever held parsed: parsed they take several times the memory of their lines.
    Raises :class:`TooManyLines`.
    """
    if _lines_in(data) > MAX_LINES:
        raise TooManyLines
    lines: list[tuple[int, bytes]] = []
    outcomes: list[Outcome] = []
    found = _lines_of(data)
    while some := list(islice(found, _AT_ONCE)):
        lines += some
        outcomes += _admitted(node, engine, log, [line for _, line in some])
    final = _at_the_end(node, engine, log, lines, outcomes)
    counts = Counter(outcome.status for outcome in final)
    return json_response(
        {
            **{status: counts[status] for status in (ACCEPTED, DUPLICATE, DEFERRED, REJECTED)},
            "outcomes": [_line(number, outcome) for (number, _), outcome in zip(lines, final, strict=True)],
        }
    )


def _lines_in(data: bytes) -> int:
    """How many physical lines `data` has: what follows the last line feed is one if it has bytes."""
    return data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


def _lines_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(Number, bytes) of the lines that have bytes.

    A carriage return just before a line feed belongs to the end of the line, as Windows and HTTP libraries write it.
    Any other one belongs to its line, also at the end of the body, and then the line is not canonical.
    """
    start, number = 0, 0
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        if end < 0:
            line, after = data[start:], len(data)
        else:
            line, after = data[start:end].removesuffix(b"\r"), end + 1
        if line:
            yield number, line
        start = after


def _admitted(node: Node, engine: Engine, log: str, lines: Sequence[bytes]) -> list[Outcome]:
    """What became of each of some lines at first."""
    outcomes: list[Outcome | None] = []
    operations: list[Operation] = []
    bytes_held = node.bytes_held(log)
    for line in lines:
        try:
            operations.append(_checked(line, engine, log, bytes_held))
            outcomes.append(None)
        except OperationRefused as refusal:
            outcomes.append(outcome_of(refusal))
    admitted = iter(node.admit(log, operations))
    return [outcome or next(admitted) for outcome in outcomes]


def _at_the_end(
    node: Node, engine: Engine, log: str, lines: list[tuple[int, bytes]], outcomes: list[Outcome]
) -> list[Outcome]:
    """`outcomes` as they are at the end of the body: what was deferred may have been stored or rejected since."""
    if not any(outcome.status == DEFERRED for outcome in outcomes):
        return outcomes
    waiting, rejections = node.waiting(log)
    missing, codes = dict(waiting), dict(rejections)
    # The node keeps only recent rejections; those of this body are all in its events.
    events = [event.data for outcome in outcomes for event in outcome.events if event.kind == "rejected"]
    codes |= {data["id"]: data["code"] for data in events}
    stored = _stored(node, engine, log, lines, outcomes)
    accepted: set[str | None] = set()
    final = []
    for outcome in outcomes:
        if outcome.status == DEFERRED and outcome.id is not None:
            outcome = _resolved(outcome, outcome.id, missing, codes, outcome.id in stored)
            if outcome.status == ACCEPTED:
                if outcome.id in accepted:
                    outcome = outcome._replace(status=DUPLICATE)
                accepted.add(outcome.id)
        final.append(outcome)
    return final


def _stored(node: Node, engine: Engine, log: str, lines: list[tuple[int, bytes]], outcomes: list[Outcome]) -> set[str]:
    """The IDs of those that were deferred at first and are durably stored now."""
    deferred = [outcome.id for outcome in outcomes if outcome.status == DEFERRED and outcome.id is not None]
    with node.reading(log) as replica:
        stored = {one for one in deferred if replica is not None and replica.entry(one) is not None}
    # What another writer has stored meanwhile may not be on the disk yet (node.py).  Admitted again it is a duplicate,
    # and that answer comes after the commit.
    theirs = stored - {entry.id for outcome in outcomes for entry in outcome.stored}
    sent = [line for (_, line), outcome in zip(lines, outcomes, strict=True) if outcome.id in theirs]
    again = [
        outcome
        for start in range(0, len(sent), _AT_ONCE)
        for outcome in _admitted(node, engine, log, sent[start : start + _AT_ONCE])
    ]
    return stored - {outcome.id for outcome in again if outcome.status == DEFERRED and outcome.id is not None}


def _resolved(
    outcome: Outcome, operation_id: str, missing: dict[str, list[str]], codes: dict[str, str], stored: bool
) -> Outcome:
    """What a deferred operation has come to: it still waits, is stored, was rejected, or was evicted (deferred)."""
    if operation_id in missing:
        return outcome._replace(missing=tuple(missing[operation_id]))
    if stored:
        return outcome._replace(status=ACCEPTED, missing=())
    if operation_id in codes:
        return outcome._replace(status=REJECTED, code=codes[operation_id], missing=())
    return outcome


def _line(number: int, outcome: Outcome) -> dict[str, Any]:
    """An outcome as §7.2 shows it; `number` is that of the physical line, from 1, so senders can count their own."""
    line: dict[str, Any] = {"line": number, "status": outcome.status, "id": outcome.id}
    if outcome.code is not None:
        line["code"] = outcome.code
    if outcome.status == DEFERRED:
        line["missing"] = list(outcome.missing)
    return line
