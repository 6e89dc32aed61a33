"""The routes of the objects API: check, decide, store, answer (objects.md §1, §3).

Where the document is silent: unknown members of a body are ignored; ``null`` for an optional member is the same as
leaving it out; a namespace or key has 1 to 1,024 characters; an empty ``namespace`` or ``key_contains`` in a search
filters nothing; a 304 does not use up a delete-on-read object, for it brings no content; a body without a
Content-Type is taken as JSON, one with another type is 415.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omp.protocols.objects.collection import Collection, Exists, NotFound, Page
from omp.protocols.objects.record import DELETE_ON_READ, TTL, Record
from omp.web.errors import ApiError, InvalidRequest
from omp.web.messages import (
    JSON,
    BadCursor,
    Request,
    Response,
    decode_cursor,
    encode_cursor,
    matches_strongly,
    matches_weakly,
    next_link,
)
from omp.web.routes import Route, Schema

MAX_PAGE = 1000
DEFAULT_PAGE = 50
MAX_NAME = 1024
"""Characters of a namespace or a key."""


def create(request: Request, objects: Collection) -> Response:
    """``POST /objects``."""
    _require_json(request)
    body = request.valid_body()
    unique = request.headers.get("if-none-match", "").strip() == "*"
    try:
        record = objects.create(
            body["namespace"], body.get("key"), body["content"], body.get("metadata") or {}, unique=unique
        )
    except Exists:
        raise ApiError(409, "There is an object with this namespace and key already.") from None
    return Response(201, record.summary, JSON, (("Location", f"/objects/{record.id.decode()}"), ("ETag", record.etag)))


def fetch(request: Request, objects: Collection) -> Response:
    """``GET /objects/{id}``."""
    identifier = request.params["id"]
    known = request.headers.get("if-none-match")
    try:
        record = objects.find(identifier)
        if record.last_read and request.method == "GET":
            record = objects.take(
                identifier, lambda one: one.last_read and not (known and matches_weakly(known, one.etag))
            )
    except NotFound:
        raise _not_found() from None
    etag = record.etag
    # What is gone after one answer must not live on in a cache.
    headers = (("ETag", etag), ("Cache-Control", "no-store")) if record.last_read else (("ETag", etag),)
    if known and matches_weakly(known, etag):
        return Response(304, headers=headers)
    return Response(200, record.body, JSON, headers)


def replace(request: Request, objects: Collection) -> Response:
    """``PUT /objects/{id}``."""
    _require_json(request)
    try:
        body = request.valid_body()
    except InvalidRequest as error:
        if any(problem["loc"] == ["body", "content"] for problem in error.errors):
            raise ApiError(400, "content must be an object", details=error.details) from None  # §3
        raise
    try:
        record = objects.replace(
            request.params["id"], body["content"], body.get("metadata"), lambda old: _check_match(request, old)
        )
    except NotFound:
        raise _not_found() from None
    return Response(200, record.summary, JSON, (("ETag", record.etag),))


def remove(request: Request, objects: Collection) -> Response:
    """``DELETE /objects/{id}``."""
    try:
        objects.remove(request.params["id"], lambda old: _check_match(request, old))
    except NotFound:
        raise _not_found() from None
    return Response(204)


def list_all(request: Request, objects: Collection) -> Response:
    """``GET /objects``."""
    return _listed(objects, "/objects", "query", request.valid_query())


def search(request: Request, objects: Collection) -> Response:
    """``GET /objects/search``."""
    return _listed(objects, "/objects/search", "query", request.valid_query())


def search_by_body(request: Request, objects: Collection) -> Response:
    """``POST /objects/search``; the link to the next page is that of the same search by GET."""
    _require_json(request)
    return _listed(objects, "/objects/search", "body", request.valid_body())


def _listed(objects: Collection, path: str, place: str, wanted: dict[str, Any]) -> Response:
    limit = wanted.get("limit")
    limit = DEFAULT_PAGE if limit is None else int(limit)
    filters = {name: wanted.get(name) or None for name in ("namespace", "key_contains")}
    start_after = _start(place, wanted.get("cursor"))
    page = objects.page(filters["namespace"], filters["key_contains"], limit, start_after)
    links = next_page(path, {**filters, "limit": limit}, page.last) if page.last is not None else ()
    return Response(200, _page_json(page), JSON, links)


def _page_json(page: Page) -> bytes:
    return b'{"count":%d,"items":[%s]}' % (len(page.items), b",".join(page.items))


def _start(place: str, cursor: str | None) -> str | None:
    try:
        return id_in_cursor(cursor) if cursor is not None else None
    except BadCursor:
        problem = "is no cursor of this server; take the one in OMP-Next-Cursor as it is"
        raise InvalidRequest([{"loc": [place, "cursor"], "msg": problem, "type": "cursor"}]) from None


def _not_found() -> ApiError:
    return ApiError(404, "There is no object with this id.")


def _check_match(request: Request, record: Record) -> None:
    field = request.headers.get("if-match")
    if field is not None and not matches_strongly(field, record.etag):
        etag = record.etag
        raise ApiError(412, f"If-Match must name the object's present ETag, {etag}.", headers=(("ETag", etag),))


def _require_json(request: Request) -> None:
    sent = request.headers.get("content-type")
    if not sent or sent == JSON:
        return
    media = sent.partition(";")[0].strip().lower()
    if media != JSON and not (media.startswith("application/") and media.endswith("+json")):
        raise ApiError(415, f"The body must be sent with the header Content-Type: {JSON}, not {media}.")


# The schemas, as validation and OpenAPI use them.

_NAME = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_METADATA: Schema = {
    "type": ["object", "null"],
    "properties": {
        TTL: {"type": "integer", "minimum": 1, "description": "seconds until the object is gone"},
        DELETE_ON_READ: {"type": "boolean", "description": "whether the first GET is the last"},
        "omp.memory.class": {"description": "kept as given"},
    },
}
_LIMIT = {"minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE}
_FILTERS = ("namespace", "key_contains")
_LIST_QUERY: dict[str, Schema] = {"limit": {"type": "integer", **_LIMIT}, "cursor": {"type": "string"}}
_SEARCH_QUERY: dict[str, Schema] = {**{name: {"type": "string"} for name in _FILTERS}, **_LIST_QUERY}
_SEARCH_BODY: Schema = {
    "type": "object",
    "properties": {
        "namespace": {"type": ["string", "null"]},
        "key_contains": {"type": ["string", "null"]},
        "limit": {"type": ["integer", "null"], **_LIMIT},
        "cursor": {"type": ["string", "null"]},
    },
}
_CREATE_BODY: Schema = {
    "type": "object",
    "required": ["namespace", "content"],
    "properties": {
        "namespace": _NAME,
        "key": {**_NAME, "type": ["string", "null"]},
        "content": {"type": "object"},
        "metadata": _METADATA,
    },
}
_REPLACE_BODY: Schema = {
    "type": "object",
    "required": ["content"],
    "properties": {"content": {"type": "object"}, "metadata": _METADATA},
}

_SUMMARY_MEMBERS: dict[str, Schema] = {
    "id": {"type": "string", "format": "uuid"},
    "namespace": {"type": "string"},
    "key": {"type": "string"},
    "created_at": {"type": "string", "format": "date-time"},
    "metadata": {"type": "object"},
}
_SUMMARY: Schema = {"type": "object", "required": list(_SUMMARY_MEMBERS), "properties": _SUMMARY_MEMBERS}
_OBJECT: Schema = {
    "type": "object",
    "required": [*_SUMMARY_MEMBERS, "content"],
    "properties": {**_SUMMARY_MEMBERS, "content": {"type": "object"}},
}
_PAGE: Schema = {
    "type": "object",
    "required": ["count", "items"],
    "properties": {"count": {"type": "integer"}, "items": {"type": "array", "items": _SUMMARY}},
}
_PAGE_ANSWERS: dict[int, str | tuple[str, Schema]] = {
    200: ("A page, in the order (created_at, id); Link and OMP-Next-Cursor lead to the next one", _PAGE),
    400: "A parameter does not fit",
}
_BAD_BODY = "The body does not fit; details.errors says where"
_NO_OBJECT = "There is no such object, or no more"
_NO_MATCH = "If-Match names another state of the object"
_NO_JSON = "The body is of another type than JSON"

ROUTES = (
    Route(
        "POST",
        "/objects",
        create,
        "Create an object; If-None-Match: * refuses one whose namespace and key exist",
        {
            201: ("The object without its content; Location and ETag", _SUMMARY),
            400: _BAD_BODY,
            409: "There is an object with this namespace and key",
            415: _NO_JSON,
        },
        body=_CREATE_BODY,
        example={"namespace": "ns", "key": "greeting", "content": {"x": 1}},
    ),
    Route("GET", "/objects", list_all, "List objects", _PAGE_ANSWERS, query=_LIST_QUERY),
    Route("GET", "/objects/search", search, "Search by namespace or key", _PAGE_ANSWERS, query=_SEARCH_QUERY),
    Route(
        "POST",
        "/objects/search",
        search_by_body,
        "Search by namespace or key, with a body",
        {**_PAGE_ANSWERS, 415: _NO_JSON},
        body=_SEARCH_BODY,
        example={"namespace": "ns", "limit": 10},
    ),
    Route(
        "GET",
        "/objects/{id}",
        fetch,
        "Fetch an object with its content; If-None-Match is honoured",
        {200: ("The object", _OBJECT), 304: "It is the state that If-None-Match names", 404: _NO_OBJECT},
    ),
    Route(
        "PUT",
        "/objects/{id}",
        replace,
        "Replace the content, and the metadata if given; If-Match is honoured",
        {
            200: ("The object without its content", _SUMMARY),
            400: _BAD_BODY,
            404: _NO_OBJECT,
            412: _NO_MATCH,
            415: _NO_JSON,
        },
        body=_REPLACE_BODY,
        example={"content": {"x": 2}, "metadata": {"note": "updated"}},
    ),
    Route(
        "DELETE",
        "/objects/{id}",
        remove,
        "Delete an object; If-Match is honoured",
        {204: "It is gone", 404: _NO_OBJECT, 412: _NO_MATCH},
    ),
)


# --- Pages ------------------------------------------------------------------------------------------------------
#
# The place in a cursor is the id after which the next page starts.  It says nothing about the store and so survives
# whatever happens to the rows.

_LIST = "objects"


def cursor_after(identifier: str) -> str:
    """The cursor for the page after the object `identifier`."""
    return encode_cursor(bytes.fromhex(identifier.replace("-", "")), _LIST)


def id_in_cursor(cursor: str) -> str:
    """The id in `cursor`; :class:`~omp.web.messages.BadCursor` unless it is exactly what :func:`cursor_after` gave."""
    text = decode_cursor(cursor, _LIST, 16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def next_page(path: str, parameters: Mapping[str, str | int | None], last: str) -> tuple[tuple[str, str], ...]:
    """The header fields that lead from a page of `path`, whose last object is `last`, to the next one."""
    cursor = cursor_after(last)
    return next_link(path, parameters, cursor), ("OMP-Next-Cursor", cursor)
