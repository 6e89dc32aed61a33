"""The routes of NEXUS under ``/api/v1``, and what a handler does: authenticate, check, change, answer.

Implements §5.2 (``GET /config``), §6.3 (``GET /messages``), §8 (commands, health) and §9 (errors and limits).
Authentication comes before anything else is looked at.  Reading asks for the owner's address as a bearer, which is an
identifier and not a secret: whoever knows an address can read what is kept for it (§10.1).  Writing asks for the
owner's signature over the body.

Layout: the state and the table of refusals; the handlers that read; the one that writes; commands; the route table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from omp.protocols.nexus import schemas
from omp.protocols.nexus.defaults import DefaultsSource
from omp.protocols.nexus.profile import DoesNotFit
from omp.protocols.nexus.signatures import NotAuthenticated, authenticate, bearer
from omp.protocols.nexus.turns import RETRY_SECONDS, NoTurn, Turns
from omp.protocols.nexus.writes import (
    POSITION_BYTES,
    WRITES,
    Change,
    Write,
    WriteContext,
    overrides_row,
    read_messages,
)
from omp.rules.json_text import JsonError, parse
from omp.rules.schema import INTEGER, TEXT, described
from omp.store.port import Store
from omp.web.errors import DETAIL_ERRORS, ApiError, ErrorStyle, Refusal, Refusals
from omp.web.messages import (
    JSON,
    BadCursor,
    Request,
    Response,
    Scheme,
    decode_cursor,
    encode_cursor,
    json_response,
    next_link,
    unmet_answer,
    unmet_precondition,
)
from omp.web.routes import Route

BASE = "/api/v1"
MAX_BODY = 64 * 1024
"""What a stranger can make the server compute: a refused request was hashed in every form, and Keccak-256 by hand takes
about 30 ms for this much."""
ERRORS = ErrorStyle(DETAIL_ERRORS.render, DETAIL_ERRORS.schema, invalid_body=422, name="Detail")
REFUSALS: Refusals = {
    NotAuthenticated: Refusal(401, headers=lambda error: [("WWW-Authenticate", "Bearer")]),  # RFC 9110 §11.6.1
    DoesNotFit: Refusal(422),
    NoTurn: Refusal(503, headers=lambda error: [("Retry-After", str(RETRY_SECONDS))]),
    BadCursor: Refusal(400, "cursor must be one that this server gave, for this owner, unchanged"),
}
"""How each refusal is answered (§9.2)."""


@dataclass(frozen=True)
class Nexus:
    """What the handlers are given."""

    store: Store
    defaults: DefaultsSource
    clock: Callable[[], float]
    turns: Turns = field(default_factory=Turns)


# --- Reading ----------------------------------------------------------------------------------------------------


def _owner(request: Request) -> str:
    return bearer(request.headers.get("authorization", ""))


def check_head(request: Request) -> None:
    """Refuse whoever names no owner before a body is read."""
    if request.route.auth:
        _owner(request)


def get_profile(request: Request, nexus: Nexus) -> Response:
    """``GET /config`` and ``GET /prompts`` (§5.2)."""
    row = overrides_row(nexus.store, _owner(request))
    body, tag = nexus.defaults.current().profile(row)
    if unmet := unmet_precondition(request, tag):
        return unmet_answer(unmet, tag)
    return Response(200, body, JSON, (("ETag", tag),))


def get_messages(request: Request, nexus: Nexus) -> Response:
    """``GET /messages`` (§6.3): a page, newest first, and a link to the next."""
    owner = _owner(request)
    query = request.valid_query()
    limit, cursor = query["limit"], query["cursor"]
    listed = f"nexus messages of {owner}"
    last = decode_cursor(cursor, listed, POSITION_BYTES) if cursor else None
    page, end = read_messages(nexus.store, owner, limit, last)
    more = () if end is None else (next_link(f"{BASE}/messages", {"limit": limit}, encode_cursor(end, listed)),)
    return Response(200, b"[" + b",".join(page) + b"]", JSON, more)


# --- Writing ----------------------------------------------------------------------------------------------------


def post(write: Write) -> Callable[[Request, Nexus], Response]:
    """The handler of that `write`."""

    def handle(request: Request, nexus: Nexus) -> Response:
        owner = _owner(request)
        # Checking the body takes its turn too: the memory that it takes is bounded with it.
        with nexus.turns.turn(request.abandoned):
            change = _change(write, request.body, owner, nexus)
        with nexus.store.write() as tx:
            change(tx)
        return json_response({"status": "success", "message": write.done})

    return handle


def _change(write: Write, body: bytes, owner: str, nexus: Nexus) -> Change:
    """What the body asks for, once its signature is known to be the owner's (§3.6)."""
    try:
        authenticate(body, owner)
    except JsonError as error:
        raise ApiError(422, f"body: {error}") from None
    context = WriteContext(owner, nexus.clock(), nexus.defaults.current().defaults)
    return write.asked(parse(body), context).change(owner)


# --- Commands: §8 -----------------------------------------------------------------------------------------------

_COMMANDS = (
    # name, description, where it reads, where it writes (both below BASE)
    ("identity", "View or change all that is kept for your key, in one step", "/config", "/batch"),
    ("config", "View or modify some configuration (model, temperature, etc.)", "/config", "/config"),
    ("prompt", "View or modify the prompt that tells the assistant about you", "/prompts", "/prompts"),
    ("messages", "Read your message history, or add a conversation to it", "/messages", "/messages"),
)
_LOCAL_COMMANDS = (("help", "List the commands"),)


def get_commands(request: Request, nexus: Nexus) -> Response:
    """``GET /commands`` (§8.1).

    A published client calls its base, which ends in ``/api/v1``, followed by ``restOptions.endpoint``.
    """
    remote = [
        {
            **_command(name, description, "rest", needs_panel=True),
            "restOptions": {
                "endpoint": reads,
                "getEndpoint": BASE + reads,
                "postEndpoint": BASE + writes,
                "method": "GET",
            },
        }
        for name, description, reads, writes in _COMMANDS
    ]
    local = [_command(name, description, "client", needs_panel=False) for name, description in _LOCAL_COMMANDS]
    return json_response(remote + local)


def _command(name: str, description: str, handler: str, *, needs_panel: bool) -> dict[str, Any]:
    """What every command says of itself."""
    usage = f"/{name}"
    return {
        "name": name,
        "description": description,
        "usage": usage,
        "handler": handler,
        "requiresGUI": needs_panel,
        "examples": [usage],
    }


def get_security(request: Request, nexus: Nexus) -> Response:
    """``GET /security`` (§8.2): a command whose writes must be signed is one that has writes."""
    return json_response({"signature_required_commands": [name for name, *_ in _COMMANDS]})


def get_health(request: Request, nexus: Nexus) -> Response:
    """``GET /health`` (§8.3).  A store that cannot be written to raises, which is answered 503 with the reason."""
    nexus.store.check()
    return json_response({"status": "damaged" if nexus.store.damage.ids() else "ok"})


# --- The table --------------------------------------------------------------------------------------------------

_BEARER = "Bearer 0x…, the owner's address"
_PUBLIC = f"{_BEARER}; it is no secret, and whoever knows it can read this"
_SIGNED = f"{_BEARER}; and in the body, as auth, a signature by its key"
_UNAUTHORIZED = {401: "The authentication is missing or wrong; the detail says what"}
_EXAMPLE_AUTH = {"publicKey": "0x" + "0" * 40, "signature": "0x" + "0" * 130}
SCHEMES = {
    "ownerAddress": Scheme(
        {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "0x address",
            "description": "The owner's address (nexus §3.1).",
        }
    ),
    "ownerSignature": Scheme(
        {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "0x address",
            "description": "The owner's address, and in the body, as auth, a signature by its key (nexus §3.2).",
        }
    ),
}
ACCESS = {_PUBLIC: ("ownerAddress",), _SIGNED: ("ownerSignature",)}
"""How a caller is known, for OpenAPI."""


def _read_profile(path: str, summary: str, name: str) -> Route:
    return Route(
        "GET",
        BASE + path,
        get_profile,
        summary,
        {
            200: ("Defaults merged with the owner's overrides", schemas.PROFILE, ("ETag",)),
            304: ("As in If-None-Match", None, ("ETag",)),
            412: ("Not as in If-Match", None, ("ETag",)),
            **_UNAUTHORIZED,
        },
        auth=_PUBLIC,
        name=name,
        fields=("If-Match", "If-None-Match"),
    )


_WRITE_NAMES = {
    "/config": "updateConfig",
    "/prompts": "updatePrompts",
    "/messages": "addMessages",
    "/batch": "applyBatch",
}


def _write(write: Write) -> Route:
    return Route(
        "POST",
        BASE + write.endpoint,
        post(write),
        write.summary,
        {
            200: (write.done, schemas.DONE),
            413: f"The body has more than {MAX_BODY} bytes",
            422: "The body does not fit; the detail names the place",
            503: "Too many signatures are being checked; come again after Retry-After",
            **_UNAUTHORIZED,
        },
        body=schemas.SIGNED[write.endpoint],
        example={**write.example, "auth": _EXAMPLE_AUTH},
        auth=_SIGNED,
        max_body=MAX_BODY,
        name=_WRITE_NAMES[write.endpoint],
    )


ROUTES = (
    Route(
        "GET",
        f"{BASE}/commands",
        get_commands,
        "The commands of a chat client",
        {200: ("All of them", schemas.COMMANDS)},
        name="listCommands",
    ),
    Route(
        "GET",
        f"{BASE}/security",
        get_security,
        "The commands whose writes must be signed",
        {200: ("Their names", schemas.SECURITY)},
        name="getSignaturePolicy",
    ),
    Route(
        "GET",
        f"{BASE}/health",
        get_health,
        "Whether the server can do its work",
        {200: ("It can; damaged: without some rows", schemas.HEALTH), 503: "The storage fails; the detail says why"},
        name="checkProfileServer",
    ),
    _read_profile("/config", "The owner's effective profile, for anybody who knows the address", "getConfig"),
    _read_profile("/prompts", "The same, for a client that looks at the prompts", "getPrompts"),
    Route(
        "GET",
        f"{BASE}/messages",
        get_messages,
        "The owner's messages, newest first, for anybody who knows the address",
        {
            200: (
                "A page; Link with rel=next leads to the following one",
                schemas.MESSAGES,
                ("Link", "OMP-Incomplete"),
            ),
            400: "limit or cursor does not fit",
            **_UNAUTHORIZED,
        },
        query={
            "limit": described(INTEGER, "messages a page", minimum=1, maximum=100, default=20),
            "cursor": described(TEXT, "from the Link of the page before; empty: the beginning"),
        },
        auth=_PUBLIC,
        name="listMessages",
    ),
    *map(_write, WRITES),
)
