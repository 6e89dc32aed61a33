"""The route table: what a protocol is on the wire, and how a request finds its handler.

A protocol is one :class:`Mount`: its routes, the state its handlers are given, its error shape, the paths it
owns.  Everything that has to agree with the routes is made from them: dispatch, 404 and 405 with ``Allow``,
``OPTIONS``, CORS preflights, ``/openapi.json``, the docs page, and the test that tries every route.

Paths are split into segments raw and percent-decoded after that, so ``%2F`` inside a segment is never a
separator.  Matching costs in the number of segments, not of routes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from omp.rules.schema import Validator, compile_schema
from omp.web.errors import OMP_ERRORS, ErrorStyle
from omp.web.messages import JSON, Request, Response

Handler = Callable[[Request, Any], Response]
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Route:
    """One row of the table.

    `path` holds ``{name}`` segments.  `query` maps each parameter to its schema (``type`` is ``integer``,
    ``boolean`` or ``string``; ``default``, bounds).  `body` is the schema that ``request.valid_body()`` checks;
    `answers` maps each status to a sentence, or to (sentence, schema of the body).  `auth` says in words what the
    route asks for ("" for nothing), `consumes` and `produces` name the media types, the usual one first.
    `max_body` (bytes) overrides the server's limit.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, str | tuple[str, Schema]]
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None
    example: Any = None
    auth: str = ""
    consumes: tuple[str, ...] = (JSON,)
    produces: tuple[str, ...] = (JSON,)
    max_body: int | None = None

    @cached_property
    def validate_body(self) -> Validator | None:
        """The compiled `body` schema."""
        return compile_schema(self.body) if self.body is not None else None

    @cached_property
    def validate_query(self) -> dict[str, Validator]:
        """The compiled schema of each query parameter."""
        return {name: compile_schema(schema) for name, schema in self.query.items()}

    @property
    def segments(self) -> list[str]:
        """The path without its leading slash, split."""
        return self.path[1:].split("/")


@dataclass(frozen=True)
class Mount:
    """A protocol as the server serves it.

    `state` is what its handlers get.  `owns` are the path prefixes (whole segments, ``/v1/repos``) whose 404, 405,
    413 and 500 take its error shape.  `guard`, where given, sees each request before its handler and raises
    :class:`~omp.web.errors.ApiError` to refuse it.  `cors` are the header fields that let pages of other origins
    call these routes, none where they may not.  `housekeep` (given the time in epoch seconds) drops what has
    expired; it is called about once a second, outside any request.  `close` is called when the server stops.
    `limits` are what the capability document says of its bounds.
    """

    name: str
    version: str
    title: str
    routes: Sequence[Route]
    state: Any
    owns: tuple[str, ...]
    errors: ErrorStyle = OMP_ERRORS
    guard: Callable[[Request], None] | None = None
    cors: tuple[tuple[str, str], ...] = ()
    housekeep: Callable[[float], None] | None = None
    close: Callable[[], None] | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


CORS_ANY_ORIGIN = (("Access-Control-Allow-Origin", "*"),)
"""Pages of every origin may call: for protocols that no cookie or address guards."""
