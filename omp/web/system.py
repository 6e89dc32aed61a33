"""The system routes: what this server is, whether it is well, and how to call it (omp §6).

``GET /`` and ``/health`` are for people and load balancers, ``/.well-known/omp-configuration`` for clients.
``/openapi.json`` and the page ``/docs`` are made from the same route table that dispatches, so the documentation cannot
differ from what is served.

Laid out: the routes and their mount.  The OpenAPI document is made in ``openapi``, the pages in ``pages``.

Handled here: nothing that is shown depends on a secret; the storage is named by its kind, never by its address.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omp import __version__
from omp.rules.schema import BOOLEAN, INTEGER, TEXT, Schema, described, list_of, record
from omp.store.port import Store
from omp.web.errors import ERROR, ApiError
from omp.web.messages import (
    JSON,
    OPERATOR,
    OPERATOR_ACCESS,
    OPERATOR_SCHEMES,
    Request,
    Response,
    json_bytes,
    json_response,
)
from omp.web.metrics import CONTENT_TYPE, Metrics, StoreNumbers
from omp.web.openapi import made_examples, openapi_document
from omp.web.pages import HTML, docs_page, home_page, prefers_html
from omp.web.routes import Context, Mount, Route


@dataclass
class System:
    """What the system routes show: every mount, and the facts of the capability document."""

    mounts: Sequence[Mount]
    store: Store
    signatures: Mapping[str, Any]
    limits: Mapping[str, Any]
    metrics: Metrics
    admin_token: str | None

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

    @functools.cached_property
    def home(self) -> Response:
        """The page that a browser is shown at ``/``."""
        return home_page(json.loads(self.openapi))


def index(request: Request, system: System) -> Response:
    """``GET /``: facts for programs, and a page for browsers."""
    if prefers_html(request.headers.get("accept", "")):
        return system.home
    facts = {"status": "OMP reference server running", "version": __version__, "protocols": system.protocols()}
    return json_response(facts, headers=(("Vary", "Accept"),))


def health(request: Request, system: System) -> Response:
    """``GET /health``.  A store that cannot be written to raises, which is answered 503 with the reason.

    Damaged rows are no reason for 503: a load balancer would take away what is whole as well.
    """
    system.store.check()
    damaged = system.store.damage.ids()
    return json_response({"status": "damaged", "damaged": damaged} if damaged else {"status": "ok"})


def metrics(request: Request, system: System) -> Response:
    """``GET /metrics``, for the operator only: it tells how much is kept here, and how busy the server is."""
    if not request.is_by_the_operator(system.admin_token):
        raise ApiError(403, _BEARER_ONLY if system.admin_token is not None else _FROM_HERE)
    return Response(200, system.metrics.text().encode(), CONTENT_TYPE, headers=(("Cache-Control", "no-store"),))


_BEARER_ONLY = "This needs the header Authorization: Bearer with the server's OMP_ADMIN_TOKEN."
_FROM_HERE = (
    "Without OMP_ADMIN_TOKEN the server tells this to its own machine only, "
    "and neither through a proxy nor to a page of another site."
)


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


_PROTOCOL = record(
    "A protocol as this server speaks it.",
    {"version": described(TEXT, "its version"), "routes": list_of(TEXT, "its routes, as in GET /objects")},
)
_PROTOCOLS: Schema = {
    "type": "object",
    "additionalProperties": _PROTOCOL,
    "description": "name -> version and routes",
}
_VERSION = described(TEXT, "the version of the server")
_INDEX = record(
    "What this server is and speaks.",
    {"status": described(TEXT, "one sentence for people"), "version": _VERSION, "protocols": _PROTOCOLS},
)
_SIGNATURES = record(
    "What the server asks of HTTP signatures (omp §4).",
    {
        "mode": described(
            TEXT, "strict: they are needed; the others verify none", enum=["off", "permissive", "strict"]
        ),
        "required_components": list_of(TEXT, "what a client should cover"),
        "legacy": described(BOOLEAN, "whether the legacy form is accepted"),
        "max_age_sec": described(INTEGER, "seconds for which a signature is accepted"),
    },
)
_STORAGE = record(
    "Where the server keeps its rows.", {"kind": described(TEXT, "memory, which ends with the process; or sqlite")}
)
_CAPABILITIES = record(
    "The capability document: what a client can rely on.",
    {
        "omp_version": _VERSION,
        "protocols": _PROTOCOLS,
        "signatures": _SIGNATURES,
        "limits": {
            "type": "object",
            "additionalProperties": INTEGER,
            "description": "name -> the most that the server takes, as max_payload_bytes",
        },
        "storage": _STORAGE,
        "documentation": described(TEXT, "the path of a page for people"),
    },
)
_HEALTH = record(
    "Whether the server can do its work.",
    {"status": {"enum": ["ok", "damaged"], "description": "damaged: it works, without some rows"}},
    {"damaged": list_of(TEXT, "the ids of damaged rows that were met (omp §8.1), at most 1,000")},
)
_OPENAPI: Schema = {"type": "object", "additionalProperties": True, "description": "An OpenAPI 3.1 document."}
ROUTES = (
    Route(
        "GET",
        "/",
        index,
        "What this server is and speaks",
        {200: ("The protocols and their routes; for a browser a page that leads to everything", _INDEX)},
        produces=(JSON, HTML),
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
        "/metrics",
        metrics,
        "Numbers for the operator: requests, connections, the store",
        {200: "The numbers, in the text format of Prometheus", 403: "Not the operator"},
        auth=OPERATOR,
        produces=(CONTENT_TYPE,),
        name="getMetrics",
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
        {200: ("The document", _OPENAPI)},
        name="getOpenApi",
    ),
    Route(
        "GET",
        "/docs",
        docs,
        "A page to read about each route and try it",
        {200: "The page; it needs no file from any other host"},
        produces=(HTML,),
        name="getDocs",
    ),
)


NAMES = {
    "ServerInfo": _INDEX,
    "ProtocolInfo": _PROTOCOL,
    "Health": _HEALTH,
    "Capabilities": _CAPABILITIES,
    "SignatureRules": _SIGNATURES,
    "StorageInfo": _STORAGE,
    "Error": ERROR,
}
"""What OpenAPI calls them."""


def mount(context: Context, others: Sequence[Mount]) -> Mount:
    """The system routes of a server that also serves `others`."""
    limits = {"max_payload_bytes": context.max_body}
    for other in others:
        limits.update(other.limits)
    signatures = context.signatures
    context.metrics.sources.append(StoreNumbers(context.store))
    state = System(others, context.store, signatures.capabilities(), limits, context.metrics, context.admin_token)
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
        schemes=OPERATOR_SCHEMES,
        access=OPERATOR_ACCESS,
    )
    state.mounts = (made, *others)
    return made
