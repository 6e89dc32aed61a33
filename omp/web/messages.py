"""Requests and responses as values: what a handler is given and what it returns.

A handler is ``(request, state) -> response``.  It reads the parts of the request that it needs, in the order that its
specification gives (a vault checks the token before it looks at the body).  The schemas that it validates against
are in the route table, from which OpenAPI is made too.

Laid out: the request, the parts of its target, the response, then what lists and single resources have in common:
cursors (omp §7.1) and entity tags (omp §7.2).

Handled here: JSON within the bounds of omp §2.1; bodies and query parameters against their schemas.  The caller must
check signatures and tokens, and give a resource its entity tag.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_plus, unquote_to_bytes, urlencode

from omp.rules.encodings import EncodingError, b64u_decode, b64u_encode
from omp.rules.json_text import JsonError, TooHeavy, compact, parse
from omp.rules.schema import Problem, Schema, Validator
from omp.web.addressing import NOWHERE, Destination, is_operators_own
from omp.web.errors import ApiError, InvalidRequest

JSON = "application/json"


class Schemas(Protocol):
    """What a request needs of its route: which query and body it takes.  :class:`omp.web.routes.Route` has it."""

    @property
    def method(self) -> str:
        """The method of the route."""

    @property
    def path(self) -> str:
        """Its path, with ``{names}``."""

    @property
    def auth(self) -> str:
        """What the route asks of the caller, in words; "" for nothing."""

    @property
    def query(self) -> Mapping[str, Schema]:
        """Each query parameter with its schema."""

    @property
    def validate_query(self) -> Mapping[str, Validator]:
        """The same schemas, compiled."""

    @property
    def validate_body(self) -> Validator | None:
        """The compiled schema of the body; None if the route has none."""


class Scheme(NamedTuple):
    """A way to show who calls: a Security Scheme Object of OpenAPI, and the header fields that go with it."""

    definition: Mapping[str, Any]
    fields: tuple[str, ...] = ()


OPERATOR = "operator: OMP_ADMIN_TOKEN as bearer token, or the loopback address"
"""The `auth` of a route that is for the operator only (omp §1.5)."""
OPERATOR_SCHEMES = {
    "operatorToken": Scheme({"type": "http", "scheme": "bearer", "description": "OMP_ADMIN_TOKEN (omp §1.5)."})
}
OPERATOR_ACCESS = {OPERATOR: ("operatorToken", "")}


class Request:
    """One HTTP request, whole.

    ``method``
        upper case; ``HEAD`` arrives at the handler of ``GET`` as ``HEAD``.
    ``target``, ``path``, ``query``
        the request target as sent; its path and its query (without ``?``), still percent-encoded.
    ``headers``
        lower-case name -> value; a field that came more than once is joined with ``", "``.
    ``fields``
        every field line in order, ``(lower-case name, value)``, values stripped.
    ``body``
        the bytes, chunked coding undone.
    ``scheme``
        ``http`` or ``https``: how the connection reached this server.
    ``minor``
        the minor version of HTTP/1.
    ``client``
        the client's address without port, behind trusted proxies too (omp §1.5).
    ``destination``
        where the request is addressed, and which of the server's own origins that is (omp §1.5).
    ``params``
        the values of the route's ``{names}``, percent-decoded (a bad encoding is 400 before the handler).
    ``route``
        the route that matched; the dispatcher sets it before it calls the handler.
    ``client_left``
        says whether the client has gone; the connection sets it.  See :meth:`abandoned`.
    ``id``
        names the request in the log: 12 hexadecimal digits, made when they are first asked for.
    """

    __slots__ = (
        "_id",
        "body",
        "client",
        "client_left",
        "destination",
        "fields",
        "headers",
        "method",
        "minor",
        "params",
        "path",
        "place",
        "query",
        "route",
        "scheme",
        "target",
    )

    route: Schemas

    def __init__(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        fields: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        scheme: str = "http",
        client: str = "127.0.0.1",
        destination: Destination = NOWHERE,
        minor: int = 1,
    ) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.fields = fields
        self.body = body
        self.scheme = scheme
        self.client = client
        self.destination = destination
        self.minor = minor
        self.client_left: Callable[[], bool] = _never
        self.params: dict[str, str] = {}
        self.place: Any = None
        """Where the routes lead for this path, once :class:`~omp.web.routes.Application` has looked."""
        self._id = ""

    @property
    def id(self) -> str:
        """The name of this request in the log."""
        if not self._id:
            self._id = os.urandom(6).hex()
        return self._id

    def is_by_the_operator(self, token: str | None) -> bool:
        """Whether the operator sent it: with `token` (``OMP_ADMIN_TOKEN``) or, if that is None, from this machine.

        omp §1.5; mrs §12.1.
        """
        if token is None:
            return self.is_operators_own
        scheme, _, given = self.headers.get("authorization", "").partition(" ")
        # In constant time: how long the comparison takes must not tell how many characters were right.
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())

    @property
    def is_operators_own(self) -> bool:
        """Whether it was made on this machine, neither through a proxy nor by a page of another site (omp §1.5)."""
        return is_operators_own(self.client, self.headers, self.scheme, self.minor)

    def abandoned(self) -> bool:
        """Whether nobody waits for the answer any more (omp §1.6).

        It costs a system call.  Ask before work that had to wait for its turn, and now and then in work that takes
        long.
        """
        return self.client_left()

    def require_client(self) -> None:
        """Raise :class:`ApiError` 503 if the request is :meth:`abandoned`.

        Nobody reads that answer but a client that closed its own side only.
        """
        if self.client_left():
            raise ApiError(
                503,
                "The connection was closed before this request had its turn; keep it open until the answer arrives.",
                headers=[("Retry-After", "1")],
            )

    def json(self) -> Any:
        """The body as JSON, within the bounds of omp §2.1.

        Raises :class:`InvalidRequest`, or :class:`ApiError` 413 for one that takes far more memory than its length.
        """
        try:
            return parse(self.body)
        except TooHeavy as error:
            raise ApiError(413, str(error)) from None
        except JsonError as error:
            raise InvalidRequest([{"loc": ["body"], "msg": str(error), "type": "json_invalid"}]) from None

    def valid_body(self) -> Any:
        """The body as JSON that fits the ``body`` schema of the route; :class:`InvalidRequest` otherwise."""
        value = self.json()
        validate = self.route.validate_body
        problems = validate(value) if validate else ()
        if problems:
            raise InvalidRequest([_error("body", problem) for problem in problems])
        return value

    def valid_query(self) -> dict[str, Any]:
        """Every query parameter of the route: its value, converted, or its default (None if it has none).

        A parameter that occurs twice, or does not fit, is :class:`InvalidRequest`; an unknown one is ignored.
        """
        given = query_values(self.query)
        values: dict[str, Any] = {}
        errors = []
        for name, schema in self.route.query.items():
            texts = given.get(name)
            if texts is None:
                values[name] = schema.get("default")
                continue
            value = _converted(texts[0], schema) if len(texts) == 1 else texts
            problems = self.route.validate_query[name](value)
            errors += [_error("query", Problem((name, *p.path), p.message, p.type)) for p in problems]
            values[name] = value
        if errors:
            raise InvalidRequest(errors)
        return values


def _never() -> bool:
    return False


def _error(place: str, problem: Problem) -> dict[str, Any]:
    return {"loc": [place, *problem.path], "msg": problem.message, "type": problem.type}


_FROM_QUERY: dict[str, Callable[[str], Any]] = {
    # Decimal digits only: int() would accept "+5", "5_0", " 5 " and digits of other scripts.
    "integer": lambda text: int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text,
    "boolean": lambda text: {"true": True, "1": True, "false": False, "0": False}.get(text, text),
    "string": lambda text: text,
}


def _converted(text: str, schema: Mapping[str, Any]) -> Any:
    return _FROM_QUERY[schema["type"]](text)


def query_values(query: str) -> dict[str, list[str]]:
    """The parameters of a query string, decoded (``+`` is a space); 400 where the encoding is not UTF-8."""
    values: dict[str, list[str]] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name or value:
            values.setdefault(_decoded(name), []).append(_decoded(value))
    return values


def _decoded(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text
    except UnicodeDecodeError:
        raise ApiError(400, "The query must be percent-encoded UTF-8.") from None


def path_segments(path: str) -> list[str]:
    """The segments of a path, percent-decoded after it was split: ``%2F`` in a segment separates nothing.

    Bytes that are not UTF-8 become surrogates, which no UTF-8 text holds (:pep:`383`).

    >>> path_segments("/objects/a%2Fb"), path_segments("/%6Fbjects/%C0%AF")
    (['objects', 'a/b'], ['objects', '\\udcc0\\udcaf'])
    """
    raw = path[1:].split("/")
    if "%" not in path:
        return raw
    return [unquote_to_bytes(one).decode(errors="surrogateescape") for one in raw]


class Response:
    """One answer: a status, a body with its type, and further header fields.

    `stream`, instead of `body`, is an iterator of byte chunks that is sent as it is produced, and closed when it
    ends, when the client goes away or when the server stops.  A stream that waits for events must yield ``b""`` at
    least once a second: nothing is sent then, but the server sees that the client left or that it is to stop.
    """

    __slots__ = ("body", "content_type", "headers", "status", "stream")

    def __init__(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = JSON,
        headers: Sequence[tuple[str, str]] = (),
        stream: Iterator[bytes] | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.stream = stream


def json_bytes(value: Any) -> bytes:
    """`value` as compact JSON in UTF-8, members in their own order."""
    return compact(value).encode()


def json_response(value: Any, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """An answer whose body is `value` as JSON."""
    return Response(status, json_bytes(value), JSON, headers)


# --- Pages, omp §7.1 --------------------------------------------------------------------------------------------
#
# A cursor is the place where the next page starts, followed by a checksum, in base64url.  It holds no secret, since
# whoever may read a list may start anywhere in it; the checksum refuses what was not made here, or was made for another
# list.  The caller must choose a place that stays valid when rows are inserted or deleted: a position in their order,
# not a count.

_CHECKSUM = 8  # bytes


class BadCursor(ValueError):
    """A text that is no cursor, one that was changed, or one of another list."""


def encode_cursor(place: bytes, of: str) -> str:
    """The cursor for `place` in the list that is named by `of`."""
    return b64u_encode(place + _checksum(place, of))


def decode_cursor(cursor: str, of: str, size: int) -> bytes:
    """The place (`size` bytes) in a cursor that :func:`encode_cursor` made for the list `of`.

    Raises :class:`BadCursor` for any other text.

    >>> decode_cursor(encode_cursor(b"place", "objects"), "objects", 5)
    b'place'
    """
    try:
        raw = b64u_decode(cursor)
    except EncodingError:
        raise BadCursor from None
    place, checksum = raw[:size], raw[size:]
    if len(place) != size or checksum != _checksum(place, of):
        raise BadCursor
    return place


def _checksum(place: bytes, of: str) -> bytes:
    return sha256(f"omp cursor {of}\0".encode() + place).digest()[:_CHECKSUM]


def next_link(path: str, parameters: Mapping[str, str | int | None], cursor: str) -> tuple[str, str]:
    """The ``Link`` field that leads from a page of `path` to the next; `parameters` that are None are left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return "Link", f'<{path}?{urlencode({**given, "cursor": cursor})}>; rel="next"'  # RFC 8288 §3


# --- Entity tags, omp §7.2 --------------------------------------------------------------------------------------

_ENTITY_TAG = re.compile(r'(W/)?("[^"]*")')


def unmet_precondition(request: Request, etag: str) -> int:
    """The status that answers `request` because a precondition on the state `etag` fails: 304 or 412; 0 if all hold.

    RFC 9110 §13.2.2: ``If-Match`` first, then ``If-None-Match``, which is 304 for GET and HEAD.  The caller asks where
    it would otherwise act, and in the same transaction.
    """
    wanted = request.headers.get("if-match")
    if wanted is not None and not matches_strongly(wanted, etag):
        return 412
    known = request.headers.get("if-none-match")
    if known is not None and matches_weakly(known, etag):
        return 304 if request.method in ("GET", "HEAD") else 412
    return 0


def unmet_answer(status: int, etag: str, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """The answer to a read whose precondition fails with that `status`; `headers` go with it.

    Raises :class:`ApiError` 412.
    """
    sent = (("ETag", etag), *headers)
    if status == 304:
        return Response(304, headers=sent)
    message = f"If-Match must name the present ETag, {etag}, and If-None-Match must not."
    raise ApiError(412, message, headers=sent)


def matches_strongly(field: str, etag: str) -> bool:
    """Whether an ``If-Match`` field allows the state `etag`: it is ``*``, or a list that holds it as a strong tag.

    RFC 9110 §13.1.1, §8.8.3.2.
    """
    return field.strip() == "*" or any(tag == etag and not weak for weak, tag in _ENTITY_TAG.findall(field))


def matches_weakly(field: str, etag: str) -> bool:
    """Whether an ``If-None-Match`` field names the state `etag`, weak or not: RFC 9110 §13.1.2, §8.8.3.2."""
    return field.strip() == "*" or any(tag == etag for _, tag in _ENTITY_TAG.findall(field))
