"""The routes of the objects API: check, decide, store, answer (§3, §4, §7).

A handler checks the type of the body (415), then the body against its schema (400), and leaves the rest to the
collection; what that raises is answered by the table ``REFUSALS``.  The schemas are those of :mod:`.schemas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omp.protocols.objects import schemas
from omp.protocols.objects.collection import Collection, ObjectExists, ObjectNotFound, ObjectStateDiffers, Page, Wanted
from omp.protocols.objects.record import ID_BYTES
from omp.protocols.objects.schemas import DEFAULT_PAGE, FILTERS, MAX_NAME
from omp.web.errors import ApiError, InvalidRequest, Refusal, Refusals
from omp.web.messages import (
    JSON,
    BadCursor,
    Request,
    Response,
    decode_cursor,
    encode_cursor,
    next_link,
    unmet_answer,
    unmet_precondition,
)
from omp.web.routes import Answer, Route

REFUSALS: Refusals = {
    ObjectNotFound: Refusal(404, "There is no object with this id."),
    ObjectExists: Refusal(409, "There is an object with this namespace and key already."),
    ObjectStateDiffers: Refusal(412, headers=lambda error: (("ETag", error.etag),)),
}
"""§7: what the collection raises -> how it is answered."""

LARGE = 256 * 1024
"""Bytes of a body from which on an object is written in parts."""


def create(request: Request, objects: Collection) -> Response:
    """§3.1, ``POST /objects``; with ``If-None-Match: *`` only if the namespace has no object with this key."""
    _require_json(request)
    body = request.valid_body()
    unique = request.headers.get("if-none-match", "").strip() == "*"
    record = objects.create(
        body["namespace"],
        body.get("key"),
        body["content"],
        body.get("metadata") or {},
        unique=unique,
        large=len(request.body) > LARGE,
    )
    return Response(201, record.summary, JSON, (("Location", f"/objects/{record.id.decode()}"), ("ETag", record.etag)))


def fetch(request: Request, objects: Collection) -> Response:
    """§3.2, ``GET /objects/{id}``.

    Most objects stay when they are read, so the first look needs no write transaction.  Only an object that is to be
    deleted on read is taken in one, and looked at again there: another GET, or a PUT, may have come between.
    """
    identifier = request.params["id"]
    record = objects.find(identifier)
    if record.last_read and request.method == "GET":
        # §6.2: neither a 304 nor a 412 brings the content, so neither uses the object up.
        record = objects.take(identifier, lambda one: one.last_read and not unmet_precondition(request, one.etag))
    etag = record.etag
    # An object that is gone after one answer must not live on in a cache.
    uncached = (("Cache-Control", "no-store"),) if record.last_read else ()
    if unmet := unmet_precondition(request, etag):
        return unmet_answer(unmet, etag, uncached)
    return Response(200, record.body, JSON, (("ETag", etag), *uncached))


def replace(request: Request, objects: Collection) -> Response:
    """§3.3, ``PUT /objects/{id}``; the 400 for ``content`` of a wrong type has a message of its own."""
    _require_json(request)
    try:
        body = request.valid_body()
    except InvalidRequest as error:
        if any(problem["loc"] == ["body", "content"] and problem["type"] == "type" for problem in error.errors):
            raise InvalidRequest(error.errors, "content must be an object") from None  # §3.3
        raise
    record = objects.replace(
        request.params["id"],
        body["content"],
        body.get("metadata"),
        _wanted_by(request),
        large=len(request.body) > LARGE,
    )
    return Response(200, record.summary, JSON, (("ETag", record.etag),))


def remove(request: Request, objects: Collection) -> Response:
    """§3.4, ``DELETE /objects/{id}``."""
    objects.remove(request.params["id"], _wanted_by(request))
    return Response(204)


def list_all(request: Request, objects: Collection) -> Response:
    """§4, ``GET /objects``."""
    return _listed(objects, "/objects", "query", request.valid_query(), request)


def search(request: Request, objects: Collection) -> Response:
    """§4.4, ``GET /objects/search``."""
    return _listed(objects, "/objects/search", "query", request.valid_query(), request)


def search_by_body(request: Request, objects: Collection) -> Response:
    """§4.4, ``POST /objects/search``; the link to the next page is that of the same search by GET."""
    _require_json(request)
    return _listed(objects, "/objects/search", "body", request.valid_body(), request)


# --- Pages (§4.3) ---------------------------------------------------------------------------------------------
#
# The place in a cursor is the id after which the next page starts.  It says nothing about the rows, so whatever
# happens to them between two pages, the cursor stays good.  Whatever id is stored has a cursor: earlier versions made
# some that are no UUIDs, where the clock stood before 1970, and a list must not end at them.

_LIST = "objects"
_UUID_CURSOR = len(encode_cursor(bytes(16), _LIST))


def cursor_after(identifier: str) -> str:
    """The cursor of the page after the object `identifier`."""
    digits = identifier.replace("-", "")
    return encode_cursor(bytes.fromhex(digits) if len(digits) == 32 else identifier.encode(), _LIST)


def id_in_cursor(cursor: str) -> str:
    """The id in `cursor`; :class:`~omp.web.messages.BadCursor` unless :func:`cursor_after` made it."""
    if len(cursor) != _UUID_CURSOR:
        return decode_cursor(cursor, _LIST, ID_BYTES).decode("ascii", "replace")
    text = decode_cursor(cursor, _LIST, 16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _start(place: str, cursor: str | None) -> str | None:
    try:
        return id_in_cursor(cursor) if cursor else None  # an empty one is the beginning (omp §7.1)
    except BadCursor:
        problem = "is no cursor of this server; take the one in OMP-Next-Cursor as it is"
        raise InvalidRequest([{"loc": [place, "cursor"], "msg": problem, "type": "cursor"}]) from None


def _listed(objects: Collection, path: str, place: str, wanted: Mapping[str, Any], request: Request) -> Response:
    """The page that `wanted` (parameters of the query or members of the body, as `place` says) asks for."""
    limit = wanted.get("limit")
    limit = DEFAULT_PAGE if limit is None else int(limit)
    filters = {name: wanted.get(name) or None for name in FILTERS}
    start_after = _start(place, wanted.get("cursor"))
    if max(map(len, filter(None, filters.values())), default=0) > MAX_NAME:
        page = Page([], None)  # no object has such a name, and the link to a next page would not fit in a request
    else:
        page = objects.page(filters["namespace"], filters["key_contains"], limit, start_after, request.require_client)
    return Response(200, _page_json(page), JSON, _next_page(path, {**filters, "limit": limit}, page.last))


def _page_json(page: Page) -> bytes:
    return b'{"count":%d,"items":[%s]}' % (len(page.items), b",".join(page.items))


def _next_page(path: str, parameters: Mapping[str, str | int | None], last: str | None) -> tuple[tuple[str, str], ...]:
    """The header fields that lead from the page of `path` that ends with the object `last` to the next one."""
    if last is None:
        return ()
    cursor = cursor_after(last)
    return next_link(path, parameters, cursor), ("OMP-Next-Cursor", cursor)


# --- Preconditions and types ----------------------------------------------------------------------------------


def _wanted_by(request: Request) -> Wanted:
    """§5.2: whether the preconditions of `request` hold for an object."""
    return lambda record: not unmet_precondition(request, record.etag)


def _require_json(request: Request) -> None:
    """§3: 415 for another media type than JSON; a missing one is taken as JSON."""
    sent = request.headers.get("content-type")
    if not sent or sent == JSON:
        return
    media = sent.partition(";")[0].strip().lower()
    if media != JSON and not (media.startswith("application/") and media.endswith("+json")):
        raise ApiError(415, f"The body must be sent with the header Content-Type: {JSON}, not {media}.")


# --- The table -----------------------------------------------------------------------------------------------

_NOT_SIGNED = (
    "In mode strict: unsigned, or no signature verifies; details.signature_base is what the server verified",
    None,
    ("Accept-Signature",),
)
_PAGE_ANSWERS: Mapping[int, Answer] = {
    200: (
        "A page, in the order of creation; Link and OMP-Next-Cursor lead to the next one",
        schemas.PAGE,
        ("Link", "OMP-Next-Cursor", "OMP-Incomplete"),
    ),
    400: "A parameter does not fit",
    401: _NOT_SIGNED,
}
_BAD_BODY = "The body does not fit; details.errors says where"
_NO_OBJECT = "There is no such object, or it has expired"
_NO_MATCH = ("If-Match names another state of the object, or If-None-Match this one", None, ("ETag",))
_NO_JSON = "The body is of another type than JSON"
_PRECONDITIONS = ("If-Match", "If-None-Match")
SIGNED = "In mode strict: an HTTP signature by a configured key."

ROUTES = (
    Route(
        "POST",
        "/objects",
        create,
        "Create an object; If-None-Match: * refuses one whose namespace and key exist",
        {
            201: ("The object without its content", schemas.SUMMARY, ("Location", "ETag")),
            400: _BAD_BODY,
            401: _NOT_SIGNED,
            409: "There is an object with this namespace and key",
            415: _NO_JSON,
        },
        body=schemas.CREATE,
        example={"namespace": "ns", "key": "greeting", "content": {"x": 1}},
        auth=SIGNED,
        name="createObject",
        fields=("If-None-Match",),
    ),
    Route(
        "GET",
        "/objects",
        list_all,
        "List objects",
        _PAGE_ANSWERS,
        query=schemas.LIST_QUERY,
        auth=SIGNED,
        name="listObjects",
    ),
    Route(
        "GET",
        "/objects/search",
        search,
        "Search by namespace or key",
        _PAGE_ANSWERS,
        query=schemas.SEARCH_QUERY,
        auth=SIGNED,
        name="searchObjects",
    ),
    Route(
        "POST",
        "/objects/search",
        search_by_body,
        "Search by namespace or key, with a body",
        {**_PAGE_ANSWERS, 415: _NO_JSON},
        body=schemas.SEARCH,
        example={"namespace": "ns", "limit": 10},
        auth=SIGNED,
        name="searchObjectsByBody",
    ),
    Route(
        "GET",
        "/objects/{id}",
        fetch,
        "Fetch an object with its content; If-Match and If-None-Match are honoured",
        {
            200: ("The object", schemas.OBJECT, ("ETag",)),
            401: _NOT_SIGNED,
            304: ("It is the state that If-None-Match names", None, ("ETag",)),
            404: _NO_OBJECT,
            412: ("If-Match names another state of the object", None, ("ETag",)),
        },
        auth=SIGNED,
        name="getObject",
        fields=_PRECONDITIONS,
    ),
    Route(
        "PUT",
        "/objects/{id}",
        replace,
        "Replace the content, and the metadata if given; If-Match and If-None-Match are honoured",
        {
            200: ("The object without its content", schemas.SUMMARY, ("ETag",)),
            400: _BAD_BODY,
            401: _NOT_SIGNED,
            404: _NO_OBJECT,
            412: _NO_MATCH,
            415: _NO_JSON,
        },
        body=schemas.REPLACE,
        example={"content": {"x": 2}, "metadata": {"note": "updated"}},
        auth=SIGNED,
        name="replaceObject",
        fields=_PRECONDITIONS,
    ),
    Route(
        "DELETE",
        "/objects/{id}",
        remove,
        "Delete an object; If-Match and If-None-Match are honoured",
        {204: "It is gone", 401: _NOT_SIGNED, 404: _NO_OBJECT, 412: _NO_MATCH},
        auth=SIGNED,
        name="deleteObject",
        fields=_PRECONDITIONS,
    ),
)
