"""The routes of NEXUS under ``/api/v1``, and what a handler does: authenticate, check, change, answer.

Implements the protocol's §II and §VIII and its errors (§III): 401 for every failed authentication, which comes before
anything else is looked at, 422 for a body that does not fit, 400 for query parameters.  Reading asks for the
owner's address as a bearer; it is an identifier and no secret, and whoever knows an address can read what is
kept for it.  Writing asks for the owner's signature over the body.

Not in the protocol, and so not here: anything that binds a signature to a time.  A captured request can be sent again;
it makes the same change again.  Serve over TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from omp.protocols.nexus.commands import commands, signature_required_commands
from omp.protocols.nexus.defaults_file import DefaultsSource
from omp.protocols.nexus.messages import MESSAGE_SCHEMA
from omp.protocols.nexus.records import POSITION_BYTES, overrides_row, read_messages
from omp.protocols.nexus.signatures import NotAuthenticated, authenticate, bearer
from omp.protocols.nexus.writes import WRITES, Author, Unprocessable, Write
from omp.rules.json_text import JsonError, parse, parse_exact
from omp.store.port import Store
from omp.web.errors import DETAIL_ERRORS, ApiError, ErrorStyle
from omp.web.messages import (
    JSON,
    BadCursor,
    Request,
    Response,
    decode_cursor,
    encode_cursor,
    json_response,
    matches_weakly,
    next_link,
)
from omp.web.routes import Route

BASE = "/api/v1"
MAX_BODY = 1024 * 1024
"""A prompt of 65,536 characters takes at most 12 bytes for each in JSON.  The bound is also on what a stranger can make
the server compute: Keccak-256 by hand takes about two seconds a MiB, and a request that is refused was hashed in every
form, which is at worst twelve times its length (non-ASCII text is three times as long where it is escaped)."""
LONG_BODY = 64 * 1024
"""Longer bodies are authenticated one at a time: however many a stranger sends, they have one thread's share of the
processor, and what others send, which is short, passes by."""
ERRORS = ErrorStyle(DETAIL_ERRORS.render, DETAIL_ERRORS.schema, invalid_body=422)


@dataclass(frozen=True)
class Nexus:
    """What the handlers are given."""

    store: Store
    defaults: DefaultsSource
    clock: Callable[[], float]
    long_bodies: Lock = field(default_factory=Lock)


def _unauthorized(error: NotAuthenticated) -> ApiError:
    return ApiError(401, str(error), headers=[("WWW-Authenticate", "Bearer")])  # RFC 9110 §11.6.1


def _owner(request: Request) -> str:
    try:
        return bearer(request.headers.get("authorization", ""))
    except NotAuthenticated as error:
        raise _unauthorized(error) from None


# --- Reading -----------------------------------------------------------------------------------------------------


def get_commands(request: Request, nexus: Nexus) -> Response:
    """``GET /commands`` (§II.1)."""
    return json_response(commands(BASE))


def get_security(request: Request, nexus: Nexus) -> Response:
    """``GET /security`` (§VIII.2)."""
    return json_response({"signature_required_commands": signature_required_commands()})


def get_profile(request: Request, nexus: Nexus) -> Response:
    """``GET /config`` and ``GET /prompts`` (§II.2, §II.4)."""
    row = overrides_row(nexus.store, _owner(request))
    body, tag = nexus.defaults.current().profile(row)
    known = request.headers.get("if-none-match")
    if known is not None and matches_weakly(known, tag):
        return Response(304, headers=(("ETag", tag),))
    return Response(200, body, JSON, (("ETag", tag),))


def get_messages(request: Request, nexus: Nexus) -> Response:
    """``GET /messages`` (§II.6): a page, newest first, and where the next begins."""
    owner = _owner(request)
    query = request.valid_query()
    limit, cursor = query["limit"], query["cursor"]
    listed = f"nexus messages of {owner}"
    try:
        last = decode_cursor(cursor, listed, POSITION_BYTES) if cursor is not None else None
    except BadCursor:
        raise ApiError(400, "query.cursor: must be one that this server gave, for this owner, unchanged") from None
    page, end = read_messages(nexus.store, owner, limit, last)
    more = () if end is None else (next_link(f"{BASE}/messages", {"limit": limit}, encode_cursor(end, listed)),)
    return Response(200, b"[" + b",".join(page) + b"]", JSON, more)


# --- Writing -----------------------------------------------------------------------------------------------------


def post(write: Write) -> Callable[[Request, Nexus], Response]:
    """The handler of that `write`."""

    def handle(request: Request, nexus: Nexus) -> Response:
        owner = _owner(request)
        body = _signed_body(request, owner, nexus)
        try:
            change = write.change(body, Author(owner, nexus.clock(), nexus.defaults.current().defaults))
        except Unprocessable as error:
            raise ApiError(422, str(error)) from None
        with nexus.store.write() as tx:
            change(tx)
        return json_response({"status": "success", "message": write.done})

    return handle


def _signed_body(request: Request, owner: str, nexus: Nexus) -> Any:
    """The body, once the signature in it is known to be the owner's."""
    try:
        with nexus.long_bodies if len(request.body) > LONG_BODY else nullcontext():
            authenticate(parse_exact(request.body), owner)
    except JsonError as error:
        raise ApiError(422, f"body: {error}") from None
    except NotAuthenticated as error:
        raise _unauthorized(error) from None
    return parse(request.body)  # and not the exact form, whose numbers are of types that no schema takes


# --- The table -----------------------------------------------------------------------------------------------------

_BEARER = "Bearer 0x…, the owner's address"
_SIGNED = f"{_BEARER}; and in the body, as auth, a signature by its key"
_UNAUTHORIZED = {401: "The authentication is missing or wrong; the detail says what"}
_AUTH = {
    "type": "object",
    "required": ["publicKey", "signature"],
    "properties": {
        "publicKey": {"type": "string", "description": "the owner's address, as in the Authorization header"},
        "signature": {
            "type": "string",
            "description": "r ‖ s ‖ v in hex, over keccak256 of the body without auth: compact, names sorted",
        },
    },
}
_EXAMPLE_AUTH = {"publicKey": "0x" + "0" * 40, "signature": "0x" + "0" * 130}
_OBJECT = {"type": "object"}
PROFILE = {
    "type": "object",
    "required": ["effective_config", "effective_prompts", "user_overrides", "editable_fields", "field_options"],
    "properties": {
        "effective_config": _OBJECT,
        "effective_prompts": _OBJECT,
        "user_overrides": {
            "type": "object",
            "required": ["config_overrides", "prompt_overrides"],
            "properties": {"config_overrides": _OBJECT, "prompt_overrides": _OBJECT},
        },
        "editable_fields": {"type": "array", "items": {"type": "string"}},
        "field_options": _OBJECT,
    },
}
DONE = {
    "type": "object",
    "required": ["status", "message"],
    "properties": {"status": {"const": "success"}, "message": {"type": "string"}},
}
MESSAGES = {
    "type": "array",
    "items": {
        **MESSAGE_SCHEMA,
        "required": ["run_id", "owner_key", "role", "content", "created_at"],
        "properties": {**MESSAGE_SCHEMA["properties"], "owner_key": {"type": "string"}},
    },
}
_LIST = {"type": "array", "items": _OBJECT}


def _read_profile(path: str, summary: str) -> Route:
    return Route(
        "GET",
        BASE + path,
        get_profile,
        summary,
        {200: ("Defaults merged with the owner's overrides", PROFILE), 304: "As in If-None-Match", **_UNAUTHORIZED},
        auth=_BEARER,
    )


def _write(write: Write) -> Route:
    schema = {
        **write.schema,
        "required": [*write.schema["required"], "auth"],
        "properties": {**write.schema["properties"], "auth": _AUTH},
    }
    return Route(
        "POST",
        BASE + write.endpoint,
        post(write),
        write.summary,
        {200: (write.done, DONE), 422: "The body does not fit; the detail names the place", **_UNAUTHORIZED},
        body=schema,
        example={**write.example, "auth": _EXAMPLE_AUTH},
        auth=_SIGNED,
        max_body=MAX_BODY,
    )


ROUTES = (
    Route("GET", f"{BASE}/commands", get_commands, "The commands of a chat client", {200: ("All of them", _LIST)}),
    Route(
        "GET",
        f"{BASE}/security",
        get_security,
        "The commands whose writes must be signed",
        {200: ("Their names", {"type": "object", "required": ["signature_required_commands"]})},
    ),
    _read_profile("/config", "The owner's effective profile"),
    _read_profile("/prompts", "The same, for a client that looks at the prompts"),
    Route(
        "GET",
        f"{BASE}/messages",
        get_messages,
        "The owner's messages, newest first",
        {
            200: ("A page; Link with rel=next leads to the following one", MESSAGES),
            400: "limit or cursor does not fit",
            **_UNAUTHORIZED,
        },
        query={
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            "cursor": {"type": "string", "description": "from the Link of the page before"},
        },
        auth=_BEARER,
    ),
    *map(_write, WRITES),
)
