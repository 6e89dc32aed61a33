"""OpenAPI 3.1 for every route of every protocol, made from the route tables that dispatch (objects.md §2).

Each fact has its place in the table: the path and its ``{names}``, the query parameters with the schemas that
check them, the body's schema and example, the media types, and what each status means.  Errors take the shape of
the protocol they belong to: ``components.schemas`` holds one per protocol, and each route names it for every
error it lists and, as ``default``, for any other.

A route's schemas are those of :mod:`omp.rules.schema`, which is JSON Schema 2020-12 but for one thing: there a
``pattern`` is matched against the whole string, while in JSON Schema it may match anywhere.  So patterns are
anchored on their way out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omp.web.messages import JSON
from omp.web.routes import Mount, Route

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
        # Where this document came from: the address that we listen on may be 0.0.0.0, or stand behind a proxy.
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
