"""What can be read of a log (oplog §7.3 to §7.6), and who may read it in mode ``strict`` (§7.5).

A short answer is made in one look at the log, under its lock.  A long one takes several looks of some milliseconds, so
that writers are not kept waiting.  What this means for a reader:

* **Lists and the projection** go on after the last operation of the look before, in total order.  Nothing is shown
  twice, and each item, as each operation of **why**, is as the log was during one look: an item shows no status that
  the request filtered out.  An operation that arrives meanwhile, with a place in total order before the reader's
  position, is not shown.  Who wants to miss nothing follows the events, or compares the state ID before and after.
* **The state document** is that of one moment.  Several looks write the parts that have changed, until one finds
  nothing more to write and takes them all.  Writers change some again between two looks, but they are admitted a few at
  a time, and a look writes more than they change.  What was taken is joined and hashed without the lock.
* **What a caller lacks** needs the lock only to see how much is stored (:meth:`Replica.lacking`).

In mode ``strict`` each request is signed (:meth:`SignatureGuard.check`), and its key decides: the root, and keys with
an active ``author`` grant that is within its times, read everything; any other key reads its projection, and gets 403
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

from omp.protocols.oplog.core.authority import matches, root_key
from omp.protocols.oplog.core.document import StateSnapshot, item, why_in_pieces
from omp.protocols.oplog.core.entries import ClaimEntry, Entry
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, INFERENCE
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.state import is_effective, status_of
from omp.protocols.oplog.core.verify import OplogError
from omp.protocols.oplog.feed import parse_position
from omp.protocols.oplog.node import LOOK_SECONDS, OpLog, give_way, one_look, pause_after
from omp.protocols.oplog.posting import NDJSON
from omp.rules.identifiers import IDENTITY_ID, key_id
from omp.web.errors import InvalidRequest
from omp.web.messages import JSON, Request, Response, json_response, unmet_answer, unmet_precondition

EVENT_STREAM = "text/event-stream"
DEFAULT_PAGE = 50
_LOOK = 500
"""How many entries are shown before writers get their turn, at most."""
_WRITING_SECONDS = 0.025
"""How long is a look that writes blocks of the state document: more of them than writers change in one turn."""


class MalformedLog(OplogError):
    """What stands in the path is no identity ID, so it is no log anywhere."""


class UnknownLog(OplogError):
    """Nothing is stored of a log."""


class UnknownOperation(OplogError):
    """An operation that was asked for is not stored."""


class UnknownPage(OplogError):
    """A page was to begin after an operation that is not stored."""


class ReadingDenied(OplogError):
    """The key that signed a request may not read this."""


# --- Who reads --------------------------------------------------------------------------------------------------


def _for_reader(handler: Callable[[Request, OpLog, str | None], Response]) -> Callable[[Request, OpLog], Response]:
    """`handler`, called with the key ID that signed the request; None if the mode asks for no signature.

    Who asks is settled before anything else of the request is looked at: in mode ``strict``, a stranger learns nothing
    from the errors.  Raises 400 or 401, and :class:`MalformedLog`.
    """

    @wraps(handler)
    def checked(request: Request, oplog: OpLog) -> Response:
        verified = oplog.signatures.check(request, own_keys=True)
        if "log" in request.params and not IDENTITY_ID.fullmatch(request.params["log"]):
            raise MalformedLog
        return handler(request, oplog, key_id(verified.public_key) if verified is not None else None)

    return checked


def _may_read_all(replica: Replica, key: str | None, oplog: OpLog) -> bool:
    return key is None or replica.is_root(key) or bool(replica.grants_in_force(key, "author", oplog.now()))


def _readable(replica: Replica | None, key: str | None, oplog: OpLog) -> Replica:
    """`replica`, if there is one and `key` may read all of it.  Raises :class:`UnknownLog`, :class:`ReadingDenied`."""
    replica = _stored(replica)
    if not _may_read_all(replica, key, oplog):
        raise ReadingDenied("This key may read its projection only: GET /logs/{log}/projection.")
    return replica


def _stored(replica: Replica | None) -> Replica:
    if replica is None:
        raise UnknownLog
    return replica


def _ask(request: Request, oplog: OpLog, key: str | None, question: Callable[[Replica], Any]) -> Any:
    """The answer to one `question` about the log, if `key` may read it."""
    with oplog.node.reading(request.params["log"]) as replica:
        return question(_readable(replica, key, oplog))


def _snapshot(oplog: OpLog, key: str | None, log: str) -> StateSnapshot:
    """The state document of `log` as it is now, if `key` may read it.  Raises as :func:`_readable`."""
    while True:
        with oplog.node.reading(log) as replica:
            snapshot = _readable(replica, key, oplog).snapshot(pause_after(_WRITING_SECONDS))
        if snapshot is not None:
            return snapshot
        give_way()


def _pieces(request: Request, oplog: OpLog, key: str | None, question: Callable[[Replica], Iterator[bytes]]) -> bytes:
    """What `question` about the log yields, if `key` may read it, in as many looks as it takes.

    If a commit fails meanwhile the log is read anew, and asked anew: what was known of it may never be settled.
    """
    asked: Replica | None = None
    answer: Iterator[bytes] = iter(())
    pieces: list[bytes] = []
    more = True
    while more:
        with oplog.node.reading(request.params["log"]) as found:
            replica = _readable(found, key, oplog)
            if replica is not asked:
                asked, answer, pieces = replica, question(replica), []
            some, more = one_look(answer)
        pieces += some
        if more:
            give_way()
    return b"".join(pieces)


# --- The log ----------------------------------------------------------------------------------------------------


@_for_reader
def logs(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs``: in mode ``strict``, those that the signer may read in full."""
    items = []
    for log in oplog.node.logs():
        with oplog.node.leaving_out(), suppress(ReadingDenied):
            items.append({"log": log, **_summary(_snapshot(oplog, key, log))})
    return json_response({"count": len(items), "items": items})


def _summary(snapshot: StateSnapshot) -> dict[str, Any]:
    return {"ops": snapshot.ops, "heads": snapshot.heads, "state": snapshot.state_id}


@_for_reader
def heads(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/heads``."""
    return json_response(_summary(_snapshot(oplog, key, request.params["log"])))


@_for_reader
def state(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/state``: the exact canonical bytes, with the state ID as ETag and in ``OMP-State``."""
    snapshot = _snapshot(oplog, key, request.params["log"])
    etag, named = f'"{snapshot.state_id}"', (("OMP-State", snapshot.state_id),)
    if unmet := unmet_precondition(request, etag):
        return unmet_answer(unmet, etag, named)
    return Response(200, b"".join(snapshot.pieces()), JSON, (("ETag", etag), *named))


@_for_reader
def operation(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/operations/{id}``: the exact bytes received."""
    entry = _ask(request, oplog, key, lambda replica: replica.entry(request.params["id"]))
    if entry is None:
        raise UnknownOperation("There is no operation with this ID in the log.")
    return Response(200, entry.raw)


@_for_reader
def operations(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/operations``: a page as JSON, or everything as lines."""
    query = request.valid_query()
    as_lines = NDJSON in request.headers.get("accept", "").lower()
    if as_lines and query["limit"] is None:
        found = _shown(request, oplog, key, None, _raw, query["after"])
        return Response(200, content_type=NDJSON, stream=_lines(raw for _, raw in found))
    page, links = _page(request, oplog, key, None, _raw, query)
    if as_lines:
        return Response(200, b"".join(raw + b"\n" for raw in page), NDJSON, links)
    # Operations are canonical JSON already: they are put into the answer as they are, byte for byte.
    return Response(200, b'{"count":%d,"items":[%b]}' % (len(page), b",".join(page)), JSON, links)


def _raw(entry: Entry) -> bytes:
    return entry.raw


@_for_reader
def lacking(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``POST /logs/{log}/missing``: what the caller lacks, one operation a line, in total order."""
    heads_there = request.valid_body()["heads"]
    replica, extent = _ask(request, oplog, key, lambda replica: (replica, replica.extent()))
    entries = replica.lacking(heads_there, extent)  # without the lock
    return Response(200, content_type=NDJSON, stream=_lines(entry.raw for entry in entries))


@_for_reader
def pending(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/pending``: also for a log of which nothing is stored yet."""
    log = request.params["log"]
    waiting, rejections = oplog.node.waiting(log)
    with oplog.node.reading(log) as replica:
        # Where something is stored, its grants say who may read.  Where nothing is, there is no grant yet, so in mode
        # strict (there is a key) only the root may; and where nothing waits either, there is no such log: 404.
        if replica is not None or not waiting:
            _readable(replica, key, oplog)
        elif key is not None and key != root_key(log):
            raise ReadingDenied("Only the root reads a log that has nothing stored yet.")
    return json_response(
        {
            "count": len(waiting),
            "items": [{"id": operation_id, "missing": ancestors} for operation_id, ancestors in waiting],
            "rejected": [{"id": operation_id, "code": code} for operation_id, code in rejections],
        }
    )


@_for_reader
def events(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/events``: what happens, as it happens."""
    last = request.headers.get("last-event-id")
    after = parse_position(last) if last else None
    log = request.params["log"]
    with oplog.node.reading(log) as replica:
        _readable(replica, key, oplog)
    feed = oplog.node.feed(log)
    assert feed is not None  # logs are never deleted
    stream = feed.follow(after) if key is None else _while_allowed(feed.follow(after), oplog, log, key)
    return Response(200, content_type=EVENT_STREAM, headers=(("Cache-Control", "no-store"),), stream=stream)


def _while_allowed(stream: Iterator[bytes], oplog: OpLog, log: str, key: str) -> Iterator[bytes]:
    """`stream`, until `key` may not read any more: a stream may stay open for days, a grant may not last so long."""
    for piece in stream:
        if piece:
            with oplog.node.reading(log) as replica:
                if not _may_read_all(_stored(replica), key, oplog):
                    return  # the reader's grant was revoked or has expired
        yield piece


# --- Lists ------------------------------------------------------------------------------------------------------


@_for_reader
def claims(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/claims``.  The parameter ``predicate`` may be a pattern of §2.2."""
    query = request.valid_query()
    predicate, effective = query["predicate"], query["effective"]

    def wanted(claim: Any) -> bool:
        if predicate is not None and not matches(claim.predicate, [predicate]):
            return False
        return effective is None or is_effective(claim) == effective

    return _items(request, oplog, key, CLAIM, wanted, query)


@_for_reader
def evidence(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/evidence``."""
    return _items(request, oplog, key, EVIDENCE, lambda entry: True, request.valid_query())


@_for_reader
def grants(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/grants``."""
    return _items(request, oplog, key, GRANT, lambda entry: True, request.valid_query())


@_for_reader
def inferences(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/inferences``."""
    return _items(request, oplog, key, INFERENCE, lambda entry: True, request.valid_query())


def _items(
    request: Request, oplog: OpLog, key: str | None, kind: str, wanted: Callable[[Entry], bool], query: dict[str, Any]
) -> Response:
    status = query["status"]

    def show(entry: Entry) -> dict[str, Any] | None:
        # The filter and the item in one step, so that they see the same status.
        return item(entry) if (status is None or status_of(entry) == status) and wanted(entry) else None

    page, links = _page(request, oplog, key, kind, show, query)
    return json_response({"count": len(page), "items": page}, headers=links)


@_for_reader
def claim_why(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/claims/{id}/why``: the derivation down to evidence."""

    def question(replica: Replica) -> Iterator[bytes]:
        claim = replica.entry(request.params["id"])
        if not isinstance(claim, ClaimEntry):
            raise UnknownOperation("There is no claim with this ID in the log.")
        return why_in_pieces(claim)

    return Response(200, _pieces(request, oplog, key, question))


@_for_reader
def projected(request: Request, oplog: OpLog, key: str | None) -> Response:
    """``GET /logs/{log}/projection``: what a key sees (§6); in mode ``strict``, what the signer sees."""
    query = request.valid_query()
    if key is not None and query["key"] not in (None, key):
        raise ReadingDenied("In mode strict a projection is that of the request's signer: leave key out.")
    key = key or query["key"]
    if key is None:
        raise InvalidRequest([{"loc": ["query", "key"], "msg": "is required", "type": "missing"}])
    now = oplog.now()  # once, so that a grant that expires meanwhile does not cut the answer in the middle
    items: list[dict[str, Any]] = []
    more = True
    while more:
        with oplog.node.reading(request.params["log"]) as replica:
            after = items[-1]["id"] if items else None
            seen, more = one_look(_stored(replica).projection(key, now, after))
        items += seen
        if more:
            give_way()
    return json_response({"count": len(items), "items": items})


# --- Pages ------------------------------------------------------------------------------------------------------


_Show = Callable[[Entry], Any]
"""What an answer shows of an entry, asked for under the lock; None leaves the entry out."""


def _shown(
    request: Request, oplog: OpLog, key: str | None, kind: str | None, show: _Show, after: str | None, most: int = _LOOK
) -> Iterator[tuple[str, Any]]:
    """(ID, what `show` makes of it) of the entries of a type (None: of all), in total order, `after` an operation ID.

    A look ends after :data:`LOOK_SECONDS`, or `most` entries that are shown.  The first one is taken at once, so that
    401, 403 and 404 come before any part of the answer is sent.  Raises :class:`UnknownPage` if `after` is not stored.
    """

    def look(after: str | None) -> tuple[list[tuple[str, Any]], str | None]:
        """(What is shown of the next entries, the ID of the last one looked at or None if it was the last of all)."""
        with oplog.node.reading(request.params["log"]) as found:
            replica = _readable(found, key, oplog)
            try:
                entries = replica.operations(after, kind)
            except KeyError:
                raise UnknownPage from None
            shown: list[tuple[str, Any]] = []
            pause = pause_after(LOOK_SECONDS)
            for entry in entries:
                if (one := show(entry)) is not None:
                    shown.append((entry.id, one))
                if len(shown) == most or pause():
                    return shown, entry.id
            return shown, None

    def rest(shown: list[tuple[str, Any]], last: str | None) -> Iterator[tuple[str, Any]]:
        yield from shown
        while last is not None:
            if not shown:
                give_way()  # else it is sent before the next look
            shown, last = look(last)
            yield from shown

    return rest(*look(after))


def _page(
    request: Request, oplog: OpLog, key: str | None, kind: str | None, show: _Show, query: dict[str, Any]
) -> tuple[list[Any], tuple[tuple[str, str], ...]]:
    """(What a page shows, the header fields: a link to the next page if there is more)."""
    limit = query["limit"] or DEFAULT_PAGE
    found = list(islice(_shown(request, oplog, key, kind, show, query["after"], limit + 1), limit + 1))
    page = [one for _, one in found[:limit]]
    if len(found) <= limit:
        return page, ()
    kept = {name: _query_text(value) for name, value in query.items() if value is not None}
    target = f"{request.path}?{urlencode({**kept, 'limit': limit, 'after': found[limit - 1][0]}, quote_via=quote)}"
    return page, (("Link", f'<{target}>; rel="next"'),)


def _query_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(raws: Iterator[bytes]) -> Iterator[bytes]:
    """ndjson, some lines at a time."""
    while block := list(islice(raws, _LOOK)):
        yield b"\n".join(block) + b"\n"
