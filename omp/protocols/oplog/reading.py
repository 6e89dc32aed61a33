"""What can be read of a log: oplog §7, and who may read it in strict mode (§6, last row of the table).

Each answer is made from one moment of the log, or, where it may be long, from short looks at it one after the other: a
page goes on after the last operation it showed, in total order, so nothing is shown twice.

In mode ``strict`` a request is signed (:meth:`SignatureGuard.check`), and its key decides: the root, and keys with an
active ``author`` grant, read everything; any other key reads its projection, and gets 403 elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

from omp.protocols.oplog.core.authority import matches
from omp.protocols.oplog.core.derivation import item, why
from omp.protocols.oplog.core.entries import ClaimEntry, Entry
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, INFERENCE
from omp.protocols.oplog.core.projection import projection
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.state import is_effective, status_of
from omp.protocols.oplog.feed import BadPosition, Position, parse_position
from omp.protocols.oplog.node import Node
from omp.rules.engines import Engine
from omp.rules.identifiers import key_id
from omp.web.errors import ApiError, InvalidRequest
from omp.web.messages import JSON, Request, Response, json_response, matches_weakly
from omp.web.signature_guard import SignatureGuard

NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
DEFAULT_PAGE = 50
_LOOK = 500
"""Entries looked at before others are let at the log."""


@dataclass(frozen=True)
class OpLog:
    """What the handlers work with; `clock` gives epoch seconds."""

    node: Node
    engine: Engine
    signatures: SignatureGuard
    clock: Callable[[], float]

    def now(self) -> str:
        """The time as a timestamp of §1.3."""
        now = datetime.fromtimestamp(self.clock(), UTC)
        return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"


# --- Who reads --------------------------------------------------------------------------------------------------


def signer(request: Request, oplog: OpLog) -> str | None:
    """The key ID that signed the request; None where the mode asks for no signature.  Raises 401."""
    verified = oplog.signatures.check(request, own_keys=True)
    return key_id(verified.public_key) if verified is not None else None


def _reads_all(replica: Replica, key: str | None, oplog: OpLog) -> bool:
    return key is None or replica.is_root(key) or bool(replica.grants_in_force(key, "author", oplog.now()))


def _require_reader(replica: Replica, key: str | None, oplog: OpLog) -> None:
    if not _reads_all(replica, key, oplog):
        raise ApiError(403, _PROJECTION_ONLY)


_PROJECTION_ONLY = "This key may read its projection only: GET /logs/{log}/projection."


def _present(replica: Replica | None) -> Replica:
    if replica is None:
        raise ApiError(404, "This log has no operation here yet.")
    return replica


def _once(request: Request, oplog: OpLog, look: Callable[[Replica], Any]) -> Any:
    """What one `look` at the log gives, if the request may read it."""
    key = signer(request, oplog)
    with oplog.node.reading(request.params["log"]) as found:
        replica = _present(found)
        _require_reader(replica, key, oplog)
        return look(replica)


# --- The log ----------------------------------------------------------------------------------------------------


def logs(request: Request, oplog: OpLog) -> Response:
    """``GET /logs``: in strict mode, those that the signer may read in full."""
    key = signer(request, oplog)
    items = []
    for log in oplog.node.logs():
        with oplog.node.reading(log) as replica:
            if replica is not None and _reads_all(replica, key, oplog):
                items.append({"log": log, **_summary(replica)})
    return json_response({"count": len(items), "items": items})


def _summary(replica: Replica) -> dict[str, Any]:
    return {"ops": len(replica), "heads": replica.heads(), "state": replica.state_id()}


def heads(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/heads``."""
    return json_response(_once(request, oplog, _summary))


def state(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/state``: the exact canonical bytes, with the state ID as ETag and in ``OMP-State``."""
    known = request.headers.get("if-none-match", "")

    def look(replica: Replica) -> tuple[str, bytes | None]:
        state_id = replica.state_id()
        return state_id, None if matches_weakly(known, f'"{state_id}"') else replica.state_document()

    state_id, document = _once(request, oplog, look)
    headers = (("ETag", f'"{state_id}"'), ("OMP-State", state_id))
    return Response(304, headers=headers) if document is None else Response(200, document, JSON, headers)


def operation(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/operations/{id}``: the exact bytes received."""
    entry = _once(request, oplog, lambda replica: replica.entry(request.params["id"]))
    if entry is None:
        raise ApiError(404, "There is no operation with this ID in the log.")
    return Response(200, entry.raw)


def operations(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/operations``: a page as JSON, or everything as lines."""
    query = request.valid_query()
    as_lines = NDJSON in request.headers.get("accept", "").lower()
    found = _found(request, oplog, None, lambda entry: True, query["after"])
    if as_lines and query["limit"] is None:
        return Response(200, content_type=NDJSON, stream=_lines(entry.raw for entry in found))
    page, links = _page(request, found, query["limit"] or DEFAULT_PAGE, query)
    if as_lines:
        return Response(200, b"".join(entry.raw + b"\n" for entry in page), NDJSON, links)
    body = b'{"count":%d,"items":[%b]}' % (len(page), b",".join(entry.raw for entry in page))
    return Response(200, body, JSON, links)


def missing(request: Request, oplog: OpLog) -> Response:
    """``POST /logs/{log}/missing``: as lines, in total order, what the caller lacks."""
    heads_known = request.valid_body()["heads"]
    entries = _once(request, oplog, lambda replica: replica.lacking(heads_known))
    return Response(200, content_type=NDJSON, stream=_lines(entry.raw for entry in entries))


def pending(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/pending``: also of a log that has nothing stored yet."""
    key, log = signer(request, oplog), request.params["log"]
    waiting, rejected = oplog.node.waiting(log)
    with oplog.node.reading(log) as replica:
        if replica is not None or not waiting:
            _require_reader(_present(replica), key, oplog)
        elif key is not None and not Replica(log).is_root(key):
            raise ApiError(403, "Only the root reads a log that has nothing stored yet.")
    return json_response(
        {
            "count": len(waiting),
            "items": [{"id": operation_id, "missing": ancestors} for operation_id, ancestors in waiting],
            "rejected": [{"id": operation_id, "code": code} for operation_id, code in rejected],
        }
    )


def events(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/events``: what happens, as it happens."""
    key = signer(request, oplog)
    after: Position | None = None
    if last := request.headers.get("last-event-id"):
        try:
            after = parse_position(last)
        except BadPosition:
            raise ApiError(400, "Last-Event-ID must be the id of an event of this log, as in 12.1.") from None
    log = request.params["log"]
    if not _may_listen(oplog, log, key):
        raise ApiError(403, _PROJECTION_ONLY)
    feed = oplog.node.feed(log)
    assert feed is not None  # a log that was read a moment ago does not go away
    stream = feed.follow(after) if key is None else _while_allowed(feed.follow(after), oplog, log, key)
    return Response(200, content_type=EVENT_STREAM, headers=(("Cache-Control", "no-store"),), stream=stream)


def _while_allowed(stream: Iterator[bytes], oplog: OpLog, log: str, key: str) -> Iterator[bytes]:
    for told in stream:
        if told and not _may_listen(oplog, log, key):
            return  # the listener's grant was revoked, or is over
        yield told


def _may_listen(oplog: OpLog, log: str, key: str | None) -> bool:
    with oplog.node.reading(log) as replica:
        return _reads_all(_present(replica), key, oplog)


# --- Lists ------------------------------------------------------------------------------------------------------


def claims(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/claims``; `predicate` may be a pattern of §2.2."""
    query = request.valid_query()
    predicate, effective = query["predicate"], query["effective"]

    def wanted(claim: Any) -> bool:
        if predicate is not None and not matches(claim.predicate, [predicate]):
            return False
        return effective is None or is_effective(claim) == effective

    return _items(request, oplog, CLAIM, wanted, query)


def evidence(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/evidence``."""
    return _items(request, oplog, EVIDENCE, lambda entry: True, request.valid_query())


def grants(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/grants``."""
    return _items(request, oplog, GRANT, lambda entry: True, request.valid_query())


def inferences(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/inferences``."""
    return _items(request, oplog, INFERENCE, lambda entry: True, request.valid_query())


def _items(
    request: Request, oplog: OpLog, kind: str, wanted: Callable[[Entry], bool], query: dict[str, Any]
) -> Response:
    status = query["status"]
    found = _found(
        request,
        oplog,
        kind,
        lambda entry: (status is None or status_of(entry) == status) and wanted(entry),
        query["after"],
    )
    page, links = _page(request, found, query["limit"] or DEFAULT_PAGE, query)
    with oplog.node.reading(request.params["log"]):
        items = [item(entry) for entry in page]
    return json_response({"count": len(items), "items": items}, headers=links)


def claim_why(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/claims/{id}/why``: the derivation down to evidence."""

    def look(replica: Replica) -> bytes | None:
        claim = replica.entry(request.params["id"])
        return why(claim) if isinstance(claim, ClaimEntry) else None

    tree = _once(request, oplog, look)
    if tree is None:
        raise ApiError(404, "There is no claim with this ID in the log.")
    return Response(200, tree)


def projected(request: Request, oplog: OpLog) -> Response:
    """``GET /logs/{log}/projection``: what a key sees (§6); in strict mode, what the signer sees."""
    query = request.valid_query()
    key = signer(request, oplog)
    if key is not None and query["key"] not in (None, key):
        raise ApiError(403, "In mode strict a projection is that of the request's signer: leave key out.")
    key = key or query["key"]
    if key is None:
        raise InvalidRequest([{"loc": ["query", "key"], "msg": "is required", "type": "missing"}])
    now = oplog.now()
    items: list[dict[str, Any]] = []
    more = True
    while more:
        with oplog.node.reading(request.params["log"]) as found:
            seen = list(islice(projection(_present(found), key, now, items[-1]["id"] if items else None), _LOOK))
        items += seen
        more = len(seen) == _LOOK
    return json_response({"count": len(items), "items": items})


# --- Pages ------------------------------------------------------------------------------------------------------


def _found(
    request: Request, oplog: OpLog, kind: str | None, wanted: Callable[[Entry], bool], after: str | None
) -> Iterator[Entry]:
    """The entries that are `wanted`, in total order from `after` on, a look at a time.

    The first look is taken at once, so that 401, 403 and 404 come before any of the answer is sent.
    """
    key = signer(request, oplog)

    def look(after: str | None) -> tuple[list[Entry], str | None]:
        with oplog.node.reading(request.params["log"]) as found:
            replica = _present(found)
            _require_reader(replica, key, oplog)
            try:
                seen = list(islice(replica.operations(after, kind), _LOOK))
            except KeyError:
                raise ApiError(400, "after must be the ID of an operation in this log.") from None
            return [entry for entry in seen if wanted(entry)], seen[-1].id if len(seen) == _LOOK else None

    def rest(entries: list[Entry], last: str | None) -> Iterator[Entry]:
        yield from entries
        while last is not None:
            entries, last = look(last)
            yield from entries

    return rest(*look(after))


def _page(
    request: Request, found: Iterator[Entry], limit: int, query: dict[str, Any]
) -> tuple[list[Entry], tuple[tuple[str, str], ...]]:
    """(entries, header fields): at most `limit`, and the link to the next page where there are more."""
    page = list(islice(found, limit + 1))
    if len(page) <= limit:
        return page, ()
    del page[limit:]
    kept = {name: _written(value) for name, value in query.items() if value is not None}
    target = f"{request.path}?{urlencode({**kept, 'limit': limit, 'after': page[-1].id}, quote_via=quote)}"
    return page, (("Link", f'<{target}>; rel="next"'),)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(raws: Iterator[bytes]) -> Iterator[bytes]:
    while block := list(islice(raws, _LOOK)):
        yield b"\n".join(block) + b"\n"
