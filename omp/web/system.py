"""The system routes: what this server is, whether it is well, and how to call it (omp §6).

``GET /`` and ``/health`` are for people and load balancers, ``/.well-known/omp-configuration`` for clients.
``/openapi.json`` and the page ``/docs`` are made from the same route table that dispatches, so the documentation cannot
differ from what is served.

Laid out: the routes and their mount, the page.  The OpenAPI document is made in :mod:`omp.web.openapi`.

Handled here: nothing that is shown depends on a secret; the storage is named by its kind, never by its address.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omp import __version__
from omp.store.port import Store
from omp.web.errors import ERROR
from omp.web.messages import Request, Response, json_bytes, json_response
from omp.web.openapi import made_examples, openapi_document
from omp.web.routes import Context, Mount, Route


@dataclass
class System:
    """What the system routes show: every mount, and the facts of the capability document."""

    mounts: Sequence[Mount]
    store: Store
    signatures: Mapping[str, Any]
    limits: Mapping[str, Any]

    def protocols(self) -> dict[str, Any]:
        """name -> {version, routes}: the same at ``/`` and in the capability document."""
        return {
            mount.name: {"version": mount.version, "routes": [f"{route.method} {route.path}" for route in mount.routes]}
            for mount in self.mounts
        }

    @functools.cached_property
    def openapi(self) -> bytes:
        """The OpenAPI document, made when it is first requested: most servers in tests never need it."""
        return json_bytes(openapi_document(self.mounts, __version__, made_examples()))


def index(request: Request, system: System) -> Response:
    """``GET /``."""
    return json_response(
        {"status": "OMP reference server running", "version": __version__, "protocols": system.protocols()}
    )


def health(request: Request, system: System) -> Response:
    """``GET /health``.  A store that cannot be written to raises, which is answered 503 with the reason.

    Damaged rows are no reason for 503: a load balancer would take away what is whole as well.
    """
    system.store.check()
    damaged = system.store.damage.ids()
    return json_response({"status": "damaged", "damaged": damaged} if damaged else {"status": "ok"})


def configuration(request: Request, system: System) -> Response:
    """``GET /.well-known/omp-configuration``: the capability document."""
    return json_response(
        {
            "omp_version": __version__,
            "protocols": system.protocols(),
            "signatures": system.signatures,
            "limits": system.limits,
            "storage": {"kind": system.store.kind},
            "documentation": "/docs",
        }
    )


def openapi(request: Request, system: System) -> Response:
    """``GET /openapi.json``."""
    return Response(200, system.openapi)


def docs(request: Request, system: System) -> Response:
    """``GET /docs``."""
    return docs_page()


_TEXT = {"type": "string"}
_OBJECT = {"type": "object", "additionalProperties": True}
_PROTOCOL = {
    "type": "object",
    "required": ["version", "routes"],
    "properties": {"version": _TEXT, "routes": {"type": "array", "items": _TEXT}},
}
_PROTOCOLS = {"type": "object", "additionalProperties": _PROTOCOL, "description": "name -> version and routes"}
_INDEX = {
    "type": "object",
    "required": ["status", "version", "protocols"],
    "properties": {"status": _TEXT, "version": _TEXT, "protocols": _PROTOCOLS},
}
_SIGNATURES = {
    "type": "object",
    "required": ["mode", "required_components", "legacy", "max_age_sec"],
    "properties": {
        "mode": {"type": "string", "enum": ["off", "permissive", "strict"]},
        "required_components": {"type": "array", "items": _TEXT},
        "legacy": {"type": "boolean"},
        "max_age_sec": {"type": "integer"},
    },
}
_CAPABILITIES = {
    "type": "object",
    "required": ["omp_version", "protocols", "signatures", "limits", "storage", "documentation"],
    "properties": {
        "omp_version": _TEXT,
        "protocols": _PROTOCOLS,
        "signatures": _SIGNATURES,
        "limits": {"type": "object", "additionalProperties": {"type": "integer"}},
        "storage": {"type": "object", "required": ["kind"], "properties": {"kind": _TEXT}},
        "documentation": _TEXT,
    },
}
_HEALTH = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"enum": ["ok", "damaged"]},
        "damaged": {"type": "array", "items": {"type": "string"}},
    },
}
ROUTES = (
    Route(
        "GET",
        "/",
        index,
        "What this server is and speaks",
        {200: ("The protocols and their routes", _INDEX)},
        name="describeServer",
    ),
    Route(
        "GET",
        "/health",
        health,
        "Whether the server can do its work",
        {
            200: ("It can; damaged names the rows that are damaged, if any were met", _HEALTH),
            503: "The storage fails; the message says why",
        },
        name="checkHealth",
    ),
    Route(
        "GET",
        "/.well-known/omp-configuration",
        configuration,
        "The capability document",
        {200: ("Protocols, signature mode, limits, storage", _CAPABILITIES)},
        name="getCapabilities",
    ),
    Route(
        "GET",
        "/openapi.json",
        openapi,
        "Every route, as OpenAPI 3.1",
        {200: ("The document", _OBJECT)},
        name="getOpenApi",
    ),
    Route(
        "GET",
        "/docs",
        docs,
        "A page to read about each route and try it",
        {200: "The page; it needs no file from any other host"},
        produces=("text/html; charset=utf-8",),
        name="getDocs",
    ),
)


NAMES = {
    "ServerInfo": _INDEX,
    "ProtocolInfo": _PROTOCOL,
    "Health": _HEALTH,
    "Capabilities": _CAPABILITIES,
    "SignatureRules": _SIGNATURES,
    "Error": ERROR,
}
"""What OpenAPI calls them."""


def mount(context: Context, others: Sequence[Mount]) -> Mount:
    """The system routes of a server that also serves `others`."""
    limits = {"max_payload_bytes": context.max_body}
    for other in others:
        limits.update(other.limits)
    signatures = context.signatures
    state = System(others, context.store, signatures.capabilities(), limits)
    made = Mount(
        "system",
        __version__,
        "System",
        ROUTES,
        state,
        owns=("/",),
        housekeep=signatures.housekeep,
        about="What this server is, whether it is well, and how to call it.",
        schemas=NAMES,
    )
    state.mounts = (made, *others)
    return made


# --- The docs page ----------------------------------------------------------------------------------------------
#
# The page is docs.html beside this module: one file with its own style and script, which loads nothing but
# /openapi.json from the server it came from.  So it needs no other host, and the answer's Content-Security-Policy makes
# the browser enforce that: nothing runs or styles the page but the two blocks whose SHA-256 the policy names, and
# nothing is fetched from elsewhere.  The script shows what servers say as text, never as HTML.

_PAGE = Path(__file__).with_name("docs.html")


@functools.cache
def docs_page() -> Response:
    """The page with its headers, read from the disk once."""
    page = _PAGE.read_bytes()
    return Response(
        200,
        page,
        "text/html; charset=utf-8",
        headers=(
            ("Content-Security-Policy", content_security_policy(page)),
            ("Referrer-Policy", "no-referrer"),
        ),
    )


def content_security_policy(page: bytes) -> str:
    """The policy (CSP level 3) under which the inline blocks of `page`, and nothing else, take effect."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_sources(page, b'script')}",
            f"style-src {_sources(page, b'style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _sources(page: bytes, tag: bytes) -> str:
    blocks = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(block).digest()).decode()}'" for block in blocks)
