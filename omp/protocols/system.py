"""The system routes: what this server is, whether it is well, and how to call it (objects.md §2).

``GET /`` and ``/health`` for people and load balancers, ``/.well-known/omp-configuration`` for clients, and the
documentation that is made from the route table that dispatches: ``/openapi.json`` and the ``/docs`` page.

Handled here: nothing that is shown depends on a secret; the storage is named by its kind, never by its address.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omp import __version__
from omp.store.port import Store
from omp.web.context import Context
from omp.web.messages import Request, Response, json_bytes, json_response
from omp.web.routes import Mount, Route


@dataclass
class System:
    """What the system routes show: every mount, and the facts of the configuration document."""

    mounts: Sequence[Mount]
    store: Store
    signatures: Mapping[str, Any]
    limits: Mapping[str, Any]

    def protocols(self) -> dict[str, Any]:
        """name -> {version, routes}: the same at ``/`` and in the configuration document."""
        return {
            mount.name: {"version": mount.version, "routes": [f"{route.method} {route.path}" for route in mount.routes]}
            for mount in self.mounts
        }

    @functools.cached_property
    def openapi(self) -> bytes:
        """The OpenAPI document, made when it is first asked for: a server may start and stop without it."""
        from omp.web.openapi import openapi_document

        return json_bytes(openapi_document(self.mounts, __version__))


def index(request: Request, system: System) -> Response:
    """``GET /``."""
    return json_response(
        {"status": "OMP reference server running", "version": __version__, "protocols": system.protocols()}
    )


def health(request: Request, system: System) -> Response:
    """``GET /health``: a store that cannot be written to raises, and is answered 503 with the reason."""
    system.store.check()
    return json_response({"status": "ok"})


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
    from omp.web.docs_page import docs_page

    return docs_page()


_OBJECT = {"type": "object"}
ROUTES = (
    Route("GET", "/", index, "What this server is and speaks", {200: ("The protocols and their routes", _OBJECT)}),
    Route(
        "GET",
        "/health",
        health,
        "Whether the server can do its work",
        {
            200: ("It can", {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}),
            503: "The storage fails; the message says why",
        },
    ),
    Route(
        "GET",
        "/.well-known/omp-configuration",
        configuration,
        "The capability document",
        {200: ("Protocols, signature mode, limits, storage", _OBJECT)},
    ),
    Route("GET", "/openapi.json", openapi, "Every route, as OpenAPI 3.1", {200: ("The document", _OBJECT)}),
    Route(
        "GET",
        "/docs",
        docs,
        "A page to read about each route and try it",
        {200: "The page; it needs no file from any other host"},
        produces=("text/html; charset=utf-8",),
    ),
)


def mount(context: Context, others: Sequence[Mount]) -> Mount:
    """The system routes of a server that also serves `others`."""
    limits = {"max_payload_bytes": context.max_body}
    for other in others:
        limits.update(other.limits)
    signatures = context.signatures
    state = System(others, context.store, signatures.capabilities(), limits)
    made = Mount("system", __version__, "System", ROUTES, state, owns=("/",), housekeep=signatures.housekeep)
    state.mounts = (made, *others)
    return made
