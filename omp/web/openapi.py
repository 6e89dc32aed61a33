"""The OpenAPI document, made from the route tables (omp §6).

OpenAPI 3.1 is what client generators, test tools and ``/docs`` read.  Every fact comes from the table that dispatches,
so the document cannot differ from what is served: the path and its {names}, the query parameters with the schemas that
check them, the body, the media types, and what each status means.  It is made when it is first asked for.

What generators need and a table of routes does not say by itself:

* **Names.**  ``Mount.schemas`` gives schemas names.  Such a schema stands under ``components`` once, and wherever it is
  used the document refers to it, so that a client has one type ``Registration`` and not nine alike.
* **Header fields.**  A route lists those that it looks at, an answer those that it bears; the tables below say what
  each of them means.  Some belong to a status, whichever route gives it.
* **Who calls.**  ``Mount.access`` leads from the words of a route's `auth` to security schemes.  Only schemes in force
  are shown: in mode ``off`` no route asks for an HTTP signature, so no client should have to make one.

A route's schemas are those of :mod:`omp.rules.schema`.  They differ from JSON Schema 2020-12 in two things.  A pattern
must match the whole string, while in JSON Schema it may match anywhere: so patterns are anchored when they are
published.  And a union (``oneOf``, ``anyOf``) may stand beside members that our own check needs, which say nothing that
the forms do not say better: a union is published alone.

Laid out: the tables of header fields, the document, then its parts from the outside in, and the examples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from omp.web.messages import JSON
from omp.web.routes import Answer, Mount, Route

OPENAPI = "3.1.0"
_NO_CONTENT = (204, 304)
_TEXT = {"type": "string"}


# --- Header fields ----------------------------------------------------------------------------------------------

REQUEST_FIELDS: Mapping[str, str] = {
    "If-Match": "Only if the present ETag is in this list; * means any. Otherwise 412.",
    "If-None-Match": "Only if the present ETag is not in this list; * means any. Otherwise 304 for GET, else 412.",
    "Last-Event-ID": "The id of the last event that was received, as in 12.1: the stream goes on after it.",
    "Signature-Input": "RFC 9421: what the signature covers, when it was made, by which key.",
    "Content-Digest": "RFC 9530: the hash of the body, which the signature covers.",
    "MRS-Identity": "The identity that signs, as in alice@home.example.",
}
"""The fields that routes look at, and what they mean; all may be left out."""


class _AnswerField(NamedTuple):
    meaning: str
    always: bool = False
    type: str = "string"


ANSWER_FIELDS: Mapping[str, _AnswerField] = {
    "ETag": _AnswerField("The state of the resource, for If-Match and If-None-Match.", always=True),
    "Location": _AnswerField("The path of what was created.", always=True),
    "Link": _AnswerField('With rel="next", the next page; absent on the last one.'),
    "OMP-Next-Cursor": _AnswerField("The cursor of the next page; absent on the last one."),
    "OMP-State": _AnswerField("The state ID, which is in ETag too, without quotes.", always=True),
    "OMP-Incomplete": _AnswerField("The ids of damaged rows that this answer leaves out."),
    "Retry-After": _AnswerField("After how many seconds to come again.", type="integer"),
    "WWW-Authenticate": _AnswerField("How to show who calls."),
    "Accept-Signature": _AnswerField("RFC 9421: what a signature must cover here."),
    "Accept-Encoding": _AnswerField("The content codings that are taken."),
    "Allow": _AnswerField("The methods that the route takes."),
}
"""The fields that answers bear, whether always, and what they mean."""

FIELDS_OF_STATUS: Mapping[int, Sequence[str]] = {
    401: ("WWW-Authenticate",),
    415: ("Accept-Encoding",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
"""The fields that belong to a status, whichever route answers with it."""

TEXTS: Mapping[str, str] = {
    "application/x-ndjson": "JSON texts, one a line, each line ended by a line feed.",
    "text/event-stream": "Server-sent events.",
    "text/html": "A page for people.",
    "text/javascript": "A module that a page loads.",
    "text/plain": "Lines of text.",
}
"""The media types beside JSON, and what a text of each is."""


# --- The document -----------------------------------------------------------------------------------------------


def openapi_document(
    mounts: Sequence[Mount], version: str, examples: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The OpenAPI document of a server that serves `mounts`, as a JSON value.

    `examples` maps an operation's id to what was sent and answered once: see :func:`made_examples`.  Raises ValueError
    if two different schemas have one name.
    """
    names = _Names(mounts)
    paths: dict[str, dict[str, Any]] = {}
    for mount in mounts:
        for route in mount.routes:
            operation = _operation(mount, route, names)
            _show_examples(operation, examples.get(operation["operationId"], {}))
            paths.setdefault(route.path, {})[route.method.lower()] = operation
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
        "tags": [
            {"name": mount.name, "description": mount.about or f"{mount.title}, version {mount.version}"}
            for mount in mounts
        ],
        "paths": paths,
        "components": {
            "schemas": names.components(),
            "headers": {name: _header(field) for name, field in ANSWER_FIELDS.items()},
            "securitySchemes": {name: scheme.definition for mount in mounts for name, scheme in mount.schemes.items()},
        },
    }


class _Names:
    """The named schemas of all mounts, and the way from a schema to what is published of it."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self._schemas: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        for mount in mounts:
            error = mount.errors.name or f"{mount.name.capitalize()}Error"
            for name, schema in {error: mount.errors.schema, **mount.schemas}.items():
                if self._schemas.setdefault(name, schema) != schema:
                    raise ValueError(f"two schemas have the name {name}")
                # By identity: a schema that was made from a named one by changing a member is another one.
                self._names[id(schema)] = name

    def components(self) -> dict[str, Any]:
        """Every named schema as it is published, by name."""
        return {name: self._inside(self._schemas[name]) for name in sorted(self._schemas)}

    def published(self, value: Any) -> Any:
        """A schema, or a part of one: a named one as a reference, another with patterns anchored and unions alone."""
        name = self._names.get(id(value))
        return {"$ref": f"#/components/schemas/{name}"} if name else self._inside(value)

    def _inside(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                name: f"^(?:{part})$" if name == "pattern" and isinstance(part, str) else self.published(part)
                for name, part in _alone(value).items()
            }
        if isinstance(value, (list, tuple)):
            return [self.published(part) for part in value]
        return value


def _alone(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A union without what stands beside it; any other schema as it is."""
    if "oneOf" in schema or "anyOf" in schema:
        return {
            name: part for name, part in schema.items() if name in ("oneOf", "anyOf", "discriminator", "description")
        }
    return schema


# --- A route ----------------------------------------------------------------------------------------------------


def _operation(mount: Mount, route: Route, names: _Names) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": operation_id(route), "tags": [mount.name], "summary": route.summary}
    operation["description"] = f"Access: {route.auth.rstrip('.') or 'anybody'}."
    ways = [way for way in mount.access.get(route.auth, ()) if not way or way in mount.schemes]
    if any(ways):
        operation["security"] = [{way: []} if way else {} for way in ways]
    fields = [*route.fields, *(field for way in ways if way for field in mount.schemes[way].fields)]
    if parameters := [*_parameters(mount, route, names), *map(_field_parameter, dict.fromkeys(fields))]:
        operation["parameters"] = parameters
    if body := _request_body(route, names):
        operation["requestBody"] = body
    operation["responses"] = _responses(mount, route, names)
    return operation


def operation_id(route: Route) -> str:
    """The route's own name; of one without, its method and path as a name that is fit for generated code.

    >>> operation_id(Route("GET", "/objects/{id}", lambda request, state: None, "", {}, name="getObject"))
    'getObject'
    >>> operation_id(Route("GET", "/auth/me/keys/{key_id}", lambda request, state: None, "", {}))
    'getAuthMeKeysByKeyId'
    """
    segments = [f"by_{segment[1:-1]}" if segment.startswith("{") else segment for segment in route.segments]
    words = re.findall("[A-Za-z0-9]+", " ".join(segments).replace("_", " "))
    return route.name or route.method.lower() + "".join(word[0].upper() + word[1:] for word in words)


def _parameters(mount: Mount, route: Route, names: _Names) -> Iterator[dict[str, Any]]:
    for name in route.parameters:
        segment = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": segment, **_about(mount.parameters.get(name))}
    for name, schema in route.query.items():
        about = _about(schema.get("description"))
        yield {"name": name, "in": "query", "required": False, "schema": names.published(schema), **about}


def _about(text: str | None) -> dict[str, str]:
    return {"description": text} if text else {}


def _field_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": _TEXT, "description": REQUEST_FIELDS[name]}


def _header(field: _AnswerField) -> dict[str, Any]:
    return {"description": field.meaning, "required": field.always, "schema": {"type": field.type}}


def _request_body(route: Route, names: _Names) -> dict[str, Any] | None:
    # Without a schema, a body is recognised by its example or by a media type of its own.
    if route.body is None and route.example is None and route.consumes == (JSON,):
        return None
    content: dict[str, Any] = {}
    for media_type in route.consumes:
        described: dict[str, Any] = {}
        if media_type == JSON:
            if route.body is not None:
                described["schema"] = names.published(route.body)
            if route.example is not None:
                described["example"] = route.example
        else:
            described["schema"] = _text(media_type)
        content[media_type] = described
    return {"required": route.body is not None, "content": content}


# --- Its answers ------------------------------------------------------------------------------------------------


def _responses(mount: Mount, route: Route, names: _Names) -> dict[str, Any]:
    error = {JSON: {"schema": names.published(mount.errors.schema)}}
    responses = {
        str(status): _response(status, answer, route, names, error) for status, answer in sorted(route.answers.items())
    }
    responses["default"] = {"description": "Any other error", "content": error}
    return responses


def _response(status: int, answer: Answer, route: Route, names: _Names, error: Mapping[str, Any]) -> dict[str, Any]:
    sentence, schema, fields = answer_parts(answer)
    response: dict[str, Any] = {"description": sentence}
    if bears := [*fields, *FIELDS_OF_STATUS.get(status, ())]:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in bears}
    if schema is not None or (status < 400 and status not in _NO_CONTENT):
        media_types = route.produces if status < 400 else (JSON,)
        response["content"] = {media_type: _content(media_type, schema, names) for media_type in media_types}
    elif status >= 400:
        response["content"] = error
    return response


def answer_parts(answer: Answer) -> tuple[str, Mapping[str, Any] | None, Sequence[str]]:
    """(sentence, schema of the body, header fields) of an answer, whichever of them the table gives."""
    if isinstance(answer, str):
        return answer, None, ()
    return (*answer, ()) if len(answer) == 2 else answer


def _content(media_type: str, schema: Mapping[str, Any] | None, names: _Names) -> dict[str, Any]:
    if media_type == JSON:
        return {"schema": names.published(schema)} if schema is not None else {}
    return {"schema": _text(media_type)}


def _text(media_type: str) -> dict[str, Any]:
    return {**_TEXT, **_about(TEXTS.get(media_type.partition(";")[0]))}


# --- Examples ---------------------------------------------------------------------------------------------------
#
# examples.json beside this module is a conversation with a server, kept as it was: operation id -> "parameters" (name
# -> value), "requests" and "answers" (status -> …), both label -> {media type: body}.  It is made by
# omp.tests.web.examples, and a test holds it against what the server answers now.

_EXAMPLES = Path(__file__).with_name("examples.json")


def made_examples() -> dict[str, Any]:
    """The examples that were made by running a server; none where the file is left out."""
    return json.loads(_EXAMPLES.read_bytes()) if _EXAMPLES.exists() else {}


def _show_examples(operation: dict[str, Any], made: Mapping[str, Any]) -> None:
    """Put what was sent and answered once into `operation`."""
    for parameter in operation.get("parameters", []):
        if parameter["name"] in made.get("parameters", {}):
            parameter["example"] = made["parameters"][parameter["name"]]
    _show(operation.get("requestBody", {}), made.get("requests", {}))
    for status, bodies in made.get("answers", {}).items():
        _show(operation["responses"].get(status, {}), bodies)


def _show(shown: dict[str, Any], bodies: Mapping[str, Any]) -> None:
    for label, body in bodies.items():
        for media_type, value in body.items():
            content = dict(shown["content"][media_type])
            content.pop("example", None)
            content["examples"] = {**content.get("examples", {}), label: {"value": value}}
            # The content of errors is one value in many places, so it is not changed where it stands.
            shown["content"] = {**shown["content"], media_type: content}
