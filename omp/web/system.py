"""The system routes: what this server is, whether it is well, and how to call it (omp §6).

``GET /`` and ``/health`` are for people and load balancers, ``/.well-known/omp-configuration`` for clients.
``/openapi.json`` and the page ``/docs`` are made from the same route table that dispatches, so the documentation cannot
differ from what is served.

Laid out: the routes and their mount, the OpenAPI document.  The pages are in ``pages``.

Handled here: nothing that is shown depends on a secret; the storage is named by its kind, never by its address.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omp import __version__
from omp.store.port import Store
from omp.web.errors import ApiError
from omp.web.messages import JSON, Request, Response, json_bytes, json_response
from omp.web.metrics import CONTENT_TYPE, Metrics, StoreNumbers
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
        return json_bytes(openapi_document(self.mounts, __version__))

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


_OBJECT = {"type": "object"}
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
        {200: ("The protocols and their routes; for a browser a page that leads to everything", _OBJECT)},
        produces=(JSON, HTML),
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
    ),
    Route(
        "GET",
        "/metrics",
        metrics,
        "Numbers for the operator: requests, connections, the store",
        {200: "The numbers, in the text format of Prometheus", 403: "Not the operator"},
        auth="operator: OMP_ADMIN_TOKEN as bearer token, or the loopback address",
        produces=(CONTENT_TYPE,),
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
        produces=(HTML,),
    ),
)


def mount(context: Context, others: Sequence[Mount]) -> Mount:
    """The system routes of a server that also serves `others`."""
    limits = {"max_payload_bytes": context.max_body}
    for other in others:
        limits.update(other.limits)
    signatures = context.signatures
    context.metrics.sources.append(StoreNumbers(context.store))
    state = System(others, context.store, signatures.capabilities(), limits, context.metrics, context.admin_token)
    made = Mount("system", __version__, "System", ROUTES, state, owns=("/",), housekeep=signatures.housekeep)
    state.mounts = (made, *others)
    return made


# --- OpenAPI ----------------------------------------------------------------------------------------------------
#
# Every fact comes from the route table: the path and its {names}, the query parameters with the schemas that check
# them, the body's schema and example, the media types, and what each status means.  Errors have the shape of the
# protocol they belong to: components.schemas holds one for each protocol, and each route names it for every error
# that it lists and, as "default", for any other.
#
# A route's schemas are those of omp.rules.schema.  They differ from JSON Schema 2020-12 in one thing: a pattern must
# match the whole string, while in JSON Schema it may match anywhere.  So patterns are anchored when they are published.

OPENAPI = "3.1.0"
_NO_CONTENT = (204, 304)


def openapi_document(mounts: Sequence[Mount], version: str) -> dict[str, Any]:
    """The OpenAPI document of a server that serves `mounts`, as a JSON value."""
    paths: dict[str, dict[str, Any]] = {}
    for mount in mounts:
        for route in mount.routes:
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(mount, route)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "OMP reference server",
            "version": version,
            "description": "Five open protocols for personal data that a key owns, on one port.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # Relative to this document's own address: the one that we listen on may be 0.0.0.0, or behind a proxy.
        "servers": [{"url": "/"}],
        "tags": [{"name": mount.name, "description": f"{mount.title}, version {mount.version}"} for mount in mounts],
        "paths": paths,
        "components": {"schemas": {_error_name(mount): _published(mount.errors.schema) for mount in mounts}},
    }


def _operation(mount: Mount, route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "tags": [mount.name],
        "summary": route.summary,
    }
    if route.auth:
        operation["description"] = f"Access: {route.auth.rstrip('.')}."
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if body := _request_body(route):
        operation["requestBody"] = body
    operation["responses"] = _responses(mount, route)
    return operation


def operation_id(route: Route) -> str:
    """A name for the route that is unique within the document and fit for generated code.

    >>> operation_id(Route("GET", "/objects/{id}", lambda request, state: None, "", {}))
    'get_objects_by_id'
    """
    segments = [f"by_{segment[1:-1]}" if segment.startswith("{") else segment for segment in route.segments]
    words = re.findall("[A-Za-z0-9]+", " ".join(segments).replace("_", " "))
    return "_".join([route.method.lower(), *words])


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": segment[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for segment in route.segments
        if segment.startswith("{")
    ]
    for name, schema in route.query.items():
        parameter = {"name": name, "in": "query", "required": False, "schema": _published(schema)}
        if "description" in schema:
            parameter["description"] = schema["description"]
        parameters.append(parameter)
    return parameters


def _request_body(route: Route) -> dict[str, Any] | None:
    # Without a schema, a body is recognised by its example or by a media type of its own.
    if route.body is None and route.example is None and route.consumes == (JSON,):
        return None
    content: dict[str, Any] = {}
    for media_type in route.consumes:
        described: dict[str, Any] = {}
        if media_type == JSON:
            if route.body is not None:
                described["schema"] = _published(route.body)
            if route.example is not None:
                described["example"] = route.example
        else:
            described["schema"] = {"type": "string"}
        content[media_type] = described
    return {"required": route.body is not None, "content": content}


def _responses(mount: Mount, route: Route) -> dict[str, Any]:
    error = {JSON: {"schema": {"$ref": f"#/components/schemas/{_error_name(mount)}"}}}
    responses: dict[str, Any] = {}
    for status, answer in sorted(route.answers.items()):
        sentence, schema = (answer, None) if isinstance(answer, str) else answer
        response: dict[str, Any] = {"description": sentence}
        if schema is not None or (status < 400 and status not in _NO_CONTENT):
            media_types = route.produces if status < 400 else (JSON,)
            response["content"] = {media_type: _content(media_type, schema) for media_type in media_types}
        elif status >= 400:
            response["content"] = error
        responses[str(status)] = response
    responses["default"] = {"description": "Any other error", "content": error}
    return responses


def _content(media_type: str, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    if media_type == JSON:
        return {"schema": _published(schema)} if schema is not None else {}
    return {"schema": {"type": "string"}}


def _error_name(mount: Mount) -> str:
    return f"{mount.name}_error"


def _published(value: Any) -> Any:
    """A schema, or a part of one, with its patterns anchored."""
    if isinstance(value, Mapping):
        return {
            name: f"^(?:{part})$" if name == "pattern" and isinstance(part, str) else _published(part)
            for name, part in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_published(part) for part in value]
    return value
