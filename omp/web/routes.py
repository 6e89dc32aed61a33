"""The route table, and how a request gets its answer from it.

A protocol is one :class:`Mount`: its routes, the state that its handlers are given, its error shape, the paths that it
owns.  Everything that must agree with the routes is made from them: dispatch, 404, 405 with ``Allow``, ``OPTIONS``,
CORS preflights, ``HEAD`` by way of ``GET``, ``/openapi.json``, the docs page, and the test that tries every route.

:class:`Application` is all protocols behind one function from requests to responses, and the one boundary between a
client's mistake and our own bug (omp §3.3).  An :class:`~omp.web.errors.ApiError` is the client's mistake, and so is a
domain exception that the protocol's table of refusals translates; it is answered in the shape of the protocol that
owns the path.  A store that cannot work is 503.  Any other exception is our bug: one line in the log, with the
traceback under an id, and an opaque 500 that repeats the id.

Laid out: a route, a mount, the context that a mount is made in, then the way from a request to its answer.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from omp.rules.engines import Engine
from omp.rules.schema import Validator, compile_schema
from omp.store.port import Damage, DamagedRow, Store, StoreUnavailable
from omp.web.addressing import SETTINGS as ADDRESS_SETTINGS
from omp.web.addressing import Addressing, Local
from omp.web.errors import OMP_ERRORS, ApiError, ErrorStyle, Refusals, translated
from omp.web.messages import JSON, Request, Response, Scheme, json_response, path_segments
from omp.web.metrics import Metrics
from omp.web.settings import read_settings
from omp.web.signature_guard import SignatureGuard

Handler = Callable[[Request, Any], Response]
Schema = Mapping[str, Any]
Answer = str | tuple[str, Schema | None] | tuple[str, Schema | None, Sequence[str]]
"""What a status means, as a sentence; with the schema of the body; with the names of header fields that it bears."""


@dataclass(frozen=True)
class Route:
    """One row of the table.

    A segment ``{name}`` of `path` is a parameter.  `query` maps each query parameter to its schema (``type`` is
    ``integer``, ``boolean`` or ``string``; ``default``, bounds).  `body` is the schema that ``request.valid_body()``
    checks.  `answers` maps each status to an :data:`Answer`.  `auth` says in words what the route asks for ("" for
    nothing).  `consumes` and `produces` name the media types, the usual one first.  `max_body` (bytes) overrides the
    server's limit.  `name` is what a person would call the route, as a function of a client: ``createObject``.
    `fields` are the header fields that it looks at, names of :data:`omp.web.openapi.REQUEST_FIELDS`.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answers: Mapping[int, Answer]
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None
    example: Any = None
    auth: str = ""
    consumes: tuple[str, ...] = (JSON,)
    produces: tuple[str, ...] = (JSON,)
    max_body: int | None = None
    name: str = ""
    fields: tuple[str, ...] = ()

    @cached_property
    def validate_body(self) -> Validator | None:
        """The compiled `body` schema."""
        return compile_schema(self.body) if self.body is not None else None

    @cached_property
    def validate_query(self) -> dict[str, Validator]:
        """The compiled schema of each query parameter."""
        return {name: compile_schema(schema) for name, schema in self.query.items()}

    @cached_property
    def template(self) -> tuple[str, str]:
        """What requests to it are counted under: the method and the path, with its ``{names}``."""
        return self.method, self.path

    @property
    def segments(self) -> list[str]:
        """The path without its leading slash, split."""
        return self.path[1:].split("/")

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The names of the path's parameters, in order."""
        return tuple(segment[1:-1] for segment in self.segments if segment.startswith("{"))


@dataclass(frozen=True)
class Mount:
    """A protocol as the server serves it.

    `state` is what its handlers are given.  `owns` are the path prefixes (whole segments, ``/v1/repos``) whose 404,
    405, 413 and 500 take its error shape.  `refusals` gives the answer to each exception that its models raise, which
    know nothing of HTTP.  `guard`, if given, sees each request before its handler and raises
    :class:`~omp.web.errors.ApiError` to refuse it; it returns fields that the answer is to have.  `check_head`, if
    given, sees a request of one of its routes whose body is still to come, and raises what a handler may raise: whom
    the head alone shows to be a stranger need not send a body.  `cors` are the header fields that let pages of other
    origins call these routes, whichever those are; it is empty if they may not.  With `own_pages` the routes refuse
    pages of other origins than the server's own and those of ``OMP_CORS_ORIGINS`` (omp §1.5).  `urls` are further URLs
    of the server that the protocol knows of.  `start` is called once, when the server is complete and about to serve.
    `housekeep` drops what expired before the epoch second that it is given, which has surely passed (omp §9.3); it is
    called about once a second, outside any request.  `close` is called when the server stops.  `limits` are what the
    capability document says of its bounds.

    The last five are for the OpenAPI document.  `about` is a sentence that introduces the protocol.  `schemas` maps
    names to schemas: wherever one of them is used, the document refers to it by its name.  `parameters` says what the
    ``{names}`` in the paths stand for.  `schemes` are the ways to show who calls that are in force.  `access` leads
    from the `auth` of a route to the names of those that let a request in, each by itself; an empty name means that
    there is a way without any.
    """

    name: str
    version: str
    title: str
    routes: Sequence[Route]
    state: Any
    owns: tuple[str, ...]
    errors: ErrorStyle = OMP_ERRORS
    refusals: Refusals = field(default_factory=dict)
    guard: Callable[[Request], Sequence[tuple[str, str]]] | None = None
    check_head: Callable[[Request], None] | None = None
    cors: tuple[tuple[str, str], ...] = ()
    own_pages: bool = False
    urls: tuple[str, ...] = ()
    start: Callable[[], None] | None = None
    housekeep: Callable[[float], None] | None = None
    close: Callable[[], None] | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    about: str = ""
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    access: Mapping[str, Sequence[str]] = field(default_factory=dict)


MOST_NAMED = 100
"""Ids that the field ``OMP-Incomplete`` holds at most."""

CORS_ANY_ORIGIN = (("Access-Control-Allow-Origin", "*"),)
"""Pages of every origin may call: for protocols that no cookie or address guards."""


@dataclass(frozen=True)
class Context:
    """What each protocol is given to make its mount: ``mount(context) -> Mount``.

    The environment and the time of day reach a protocol in no other way, so that a test can fix them.  `clock` gives
    epoch seconds, never before 2020; `random_bytes` gives that many unpredictable bytes; `engine` verifies Ed25519;
    `signatures` guards routes with HTTP Message Signatures, in the configured mode; `url` is the server's own base URL;
    `log` writes one line to the server's log; `max_body` is the server's limit for a body, in bytes; `metrics` are
    what the operator may watch, to which a protocol can add; `admin_token` is the operator's bearer token, or None.
    """

    store: Store
    environ: Mapping[str, str]
    clock: Callable[[], float]
    engine: Engine
    signatures: SignatureGuard
    random_bytes: Callable[[int], bytes] = os.urandom
    url: str = "http://127.0.0.1:8787"
    log: Callable[[str], None] = print
    max_body: int = 5 * 1024 * 1024
    metrics: Metrics = field(default_factory=Metrics)
    admin_token: str | None = None


# --- From a request to its answer -------------------------------------------------------------------------------
#
# The routes lie in a tree of path segments, so that finding one costs in the number of segments and not of routes.  The
# usual paths are looked up at once: one without parameters whole, one that ends in its only parameter by what is above.

_Entry = tuple[Route, Mount]
# Browsers ask before they send such methods and fields; a day is the longest that any of them remembers the answer.
_PREFLIGHT = (
    ("Access-Control-Allow-Headers", "*, Authorization"),
    ("Access-Control-Max-Age", "86400"),
)


class _Node:
    """A place in the tree: the segments that may follow, and what is served here, by method, all of one mount."""

    __slots__ = ("entries", "literals", "mount", "parameter")

    mount: Mount

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.entries: dict[str, _Entry] = {}


class Application:
    """Every protocol behind one function from requests to responses."""

    def __init__(
        self,
        mounts: Sequence[Mount],
        log: Callable[[str], None],
        max_body: int,
        addressing: Addressing | None = None,
        damage: Damage | None = None,
    ) -> None:
        """`addressing` knows the server's addresses; without it, they are those of its connections.

        `damage` is that of the store.
        """
        self._damage = damage or Damage()
        self._told: set[str] = set()  # ids of the damaged rows that the log has named
        self.mounts = tuple(mounts)
        self._addressing = addressing or Addressing(read_settings(ADDRESS_SETTINGS, {}), log=log)
        self._log = log
        self._max_body = max_body
        self.shortest_limit = min([max_body, *(route.max_body or max_body for one in mounts for route in one.routes)])
        """Bytes of a body that no route refuses for its length."""
        self._root = _Node()
        self._whole: dict[str, _Node] = {}
        self._below: dict[str, _Node] = {}
        for mount in mounts:
            for route in mount.routes:
                self._add(route, mount)
        owners = [(path_segments(prefix), mount) for mount in mounts for prefix in mount.owns]
        self._owners = sorted(owners, key=lambda owner: len(owner[0]), reverse=True)

    def _add(self, route: Route, mount: Mount) -> None:
        node = self._root
        for segment in route.segments:
            if segment.startswith("{"):
                node.parameter = node = node.parameter or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        if route.method in node.entries:
            raise ValueError(f"two routes for {route.method} {route.path}")
        node.entries[route.method] = (route, mount)
        node.mount = mount
        if not route.parameters:
            self._whole[route.path] = node
        elif len(route.parameters) == 1 and route.segments[-1].startswith("{"):
            self._below[route.path.rpartition("/")[0]] = node

    def admit(self, request: Request, local: Local) -> None:
        """Find out where `request`, which arrived at `local`, is addressed and who sent it: before its body is read.

        Raises :class:`ApiError` 421 for one that is not addressed to this server.
        """
        headers = request.headers
        request.client = self._addressing.client(request.client, headers)
        request.destination = self._addressing.destination(headers.get("host"), local, request.scheme)

    def answer(self, request: Request) -> Response:
        """The response to `request`.  Never raises."""
        mount = None
        advice: Sequence[tuple[str, str]] = ()
        try:
            node, values = request.place or self._find(request)
            entry = node.entries.get("GET" if request.method == "HEAD" else request.method)
            cors = self._cors(request, node.mount)
            if entry is None:
                return self._without_handler(request, node, cors)
            route, mount = entry
            request.route = route
            if values:
                request.params = dict(zip(route.parameters, values, strict=True))
            if mount.guard is not None:
                advice = mount.guard(request)
            damage = self._damage
            if damage.remembered:
                damage.left_out()  # what a stream of this thread met after its handler had returned
            response = route.handler(request, mount.state)
        except Exception as error:
            response = self.failure(request, error, mount)
            response.headers = (*response.headers, *advice)
            return response
        if damage.remembered and (left_out := damage.left_out()):
            response.headers = (*response.headers, self._incomplete(request, left_out))
        if cors or advice:
            response.headers = (*response.headers, *cors, *advice)
        return response

    def _incomplete(self, request: Request, rows: Sequence[DamagedRow]) -> tuple[str, str]:
        """The field that says which damaged rows an answer leaves out (omp §8.1); the log says it once of each."""
        for row in rows:
            if row.id not in self._told:
                self._told.add(row.id)
                self._log(f"error {row.id} {_where(request)} {row.for_operator()}; the answer leaves it out")
        return "OMP-Incomplete", ", ".join(row.id for row in rows[:MOST_NAMED])

    def _cors(self, request: Request, mount: Mount) -> tuple[tuple[str, str], ...]:
        """The fields that let the page that sent `request` read the answer.  Raises :class:`ApiError` 403."""
        if not mount.own_pages:
            return mount.cors
        return self._addressing.page_fields(request.headers, request.destination, request.scheme)

    def _find(self, request: Request) -> tuple[_Node, list[str]]:
        """Where the path of `request` leads, and the values of its parameters; kept as ``request.place``."""
        path = request.path
        values: list[str] = []
        found = self._whole.get(path)
        if found is None and "%" not in path:
            above, _, last = path.rpartition("/")
            found = self._below.get(above) if last else None
            if found is not None:
                values.append(last)
        if found is None:
            segments = path_segments(path)
            if "%" in path and not _is_utf8(segments):
                raise ApiError(400, "The path must be percent-encoded UTF-8.")
            found = _descend(self._root, segments, 0, values)
        if found is None:
            raise ApiError(404, "There is no such route; GET /openapi.json lists them all.")
        request.place = found, values
        return found, values

    def _without_handler(self, request: Request, node: _Node, cors: Sequence[tuple[str, str]]) -> Response:
        methods = sorted(node.entries)
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"])
        if request.method == "OPTIONS":
            headers: list[tuple[str, str]] = [("Allow", allowed)]
            headers += cors
            if any(name == "Access-Control-Allow-Origin" for name, _ in cors):
                headers += [("Access-Control-Allow-Methods", allowed), *_PREFLIGHT]
            return Response(204, headers=headers)
        refusal = ApiError(405, f"This route takes {allowed}.", headers=[("Allow", allowed)])
        return self.failure(request, refusal, None)

    def failure(self, request: Request | None, error: Exception, mount: Mount | None = None) -> Response:
        """The answer to `error`, in the shape of `mount`, or of the protocol that owns the path of `request`."""
        if mount is None and request is not None:
            mount = self._owner(request.path)
        style = mount.errors if mount else OMP_ERRORS
        try:
            answer = error if isinstance(error, ApiError) else translated(error, mount.refusals if mount else {})
            answer = answer or self._our_fault(request, error)
            return _rendered(style, answer, self._cors_of_failure(request, mount))
        except Exception as second:  # the protocol's own shape failed: answer in the plainest one
            return _rendered(OMP_ERRORS, self._our_fault(request, second), ())

    def _cors_of_failure(self, request: Request | None, mount: Mount | None) -> Sequence[tuple[str, str]]:
        if request is None or mount is None:
            return ()
        try:
            return self._cors(request, mount)
        except ApiError:  # a page that may not call is told nothing, not even why
            return ()

    def _our_fault(self, request: Request | None, error: Exception) -> ApiError:
        where = _where(request)
        if isinstance(error, DamagedRow):  # not for a moment, so without Retry-After
            self._told.add(error.id)
            self._log(f"error {error.id} {where} {error.for_operator()}")
            return ApiError(503, f"{error} (error {error.id})")
        error_id = request.id if request else os.urandom(6).hex()
        if isinstance(error, StoreUnavailable):
            self._log(f"error {error_id} {where} {error}")
            return ApiError(503, f"{error} (error {error_id})", headers=[("Retry-After", "5")])
        # On one line, so that whoever reads the log line by line gets it whole.
        trace = " | ".join("".join(traceback.format_exception(error)).split("\n")).rstrip(" |")
        self._log(f"error {error_id} {where} {trace}")
        return ApiError(500, f"Internal error; the server's log has it under {error_id}.")

    def _owner(self, path: str) -> Mount | None:
        segments = path_segments(path)
        return next((mount for prefix, mount in self._owners if segments[: len(prefix)] == prefix), None)

    def network(self, client: str) -> str:
        """The network whose share the address `client` takes (omp §1.6)."""
        return self._addressing.network(client)

    def body_limit(self, request: Request) -> int:
        """How many bytes the body of `request` may have."""
        try:
            node, _ = self._find(request)
        except ApiError:
            return self._max_body
        entry = node.entries.get(request.method)
        if entry is None:
            return self._max_body
        request.route = entry[0]  # also of a request whose body will be refused
        return entry[0].max_body or self._max_body

    def check_head(self, request: Request) -> None:
        """Raise what :meth:`failure` answers if the head alone shows that `request`, without a body so far, will be
        refused."""
        node, _ = request.place or self._find(request)
        entry = node.entries.get(request.method)
        if entry is not None and entry[1].check_head is not None:
            request.route = entry[0]
            entry[1].check_head(request)

    @property
    def longest_body(self) -> int:
        """The most bytes that any route takes in a body."""
        return max([self._max_body, *(route.max_body or 0 for mount in self.mounts for route in mount.routes)])

    def start(self) -> None:
        """Tell every protocol that the server is complete, and is about to serve."""
        for mount in self.mounts:
            if mount.start is not None:
                mount.start()

    def housekeep(self, past: float) -> None:
        """Let every protocol drop what expired by the epoch second `past` (omp §9.3).

        A failure is logged, and the next call tries again.
        """
        for mount in self.mounts:
            if mount.housekeep is not None:
                try:
                    mount.housekeep(past)
                except Exception as error:
                    self._our_fault(None, error)
        self._damage.left_out()
        for row in self._damage.rows():  # whether something was answered without them or not
            if row.id not in self._told:
                self._told.add(row.id)
                self._log(f"error {row.id} - {row.for_operator()}")

    def close(self) -> None:
        """Tell every protocol that the server stops."""
        for mount in self.mounts:
            if mount.close is not None:
                mount.close()


def _descend(node: _Node, segments: Sequence[str], index: int, values: list[str]) -> _Node | None:
    """The node for `segments` from `index` on, a literal before a parameter; the parameters are added to `values`."""
    if index == len(segments):
        return node if node.entries else None
    segment = segments[index]
    literal = node.literals.get(segment)
    if literal is not None and (found := _descend(literal, segments, index + 1, values)) is not None:
        return found
    if node.parameter is None or not segment:
        return None
    values.append(segment)
    found = _descend(node.parameter, segments, index + 1, values)
    if found is None:
        values.pop()
    return found


def _where(request: Request | None) -> str:
    return f"{request.method} {request.path}" if request else "-"


def _is_utf8(segments: Sequence[str]) -> bool:
    try:
        "".join(segments).encode()
    except UnicodeEncodeError:
        return False
    return True


def _rendered(style: ErrorStyle, error: ApiError, cors: Sequence[tuple[str, str]]) -> Response:
    status, value = style.status_and_value(error)
    return json_response(value, status, (*error.headers, *cors))
