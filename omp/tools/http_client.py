"""The tools as HTTP clients: one request, and one answer or one sentence.

:class:`Server` is the server at a base URL.  :meth:`Server.send` returns any answer, :meth:`Server.ask` one that is not
an error, and :meth:`Server.value` its JSON, which must fit a schema.  Whatever the server or the network does wrong is
raised as :class:`~omp.tools.terminal.Failed`.

Each request has a connection of its own, closed when the answer is read: none is left open, and none can have died
while the tool was busy.  Redirects are not followed, and nothing is sent twice.

Handled here: bad addresses and header fields; answers that are not HTTP, end early or do not end; errors, in the shape
of any protocol.  The caller must check what an answer means, and make printable what it shows of it.

``http.client`` and, with it, ``ssl`` are imported when the first request is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from omp.rules.json_text import JsonError, parse
from omp.rules.schema import compile_schema
from omp.tools.terminal import Failed, printable, reason, trace

if TYPE_CHECKING:
    from http.client import HTTPResponse

LOCAL = "http://127.0.0.1:8787"
"""Where ``python server.py`` listens."""
TIMEOUT = 60.0
"""Seconds without a byte, after which the server counts as unreachable."""
MAX_ANSWER = 1 << 30
"""Bytes.  The longest answer is a whole log."""
MAX_REASON = 500
"""Characters of a server's own words that are shown."""
_PIECE = 1 << 16

# RFC 9110 §5.1, §5.5
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[\t -~\xa0-\xff]*")
_PRINTABLE = re.compile("[!-~]+")

Field = tuple[str, str]


class ServerRefused(Failed):
    """An answer that is an error or a redirect; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Answer(NamedTuple):
    """An answer; `fields` maps lower-case names to values."""

    status: int
    fields: Mapping[str, str]
    body: bytes


class Server:
    """The server at the base URL `url`; `kind` says what it should be, as "vault".

    `scheme`, `authority` (host and port) and `path`, which precedes every target, are what a signature needs to know.
    Raises :class:`Failed` for a text that is not a base URL.
    """

    def __init__(self, url: str, kind: str = "server of this protocol") -> None:
        parts = _parts(url)
        self.url = url
        self.scheme = parts.scheme
        self.authority = parts.netloc
        self.path = parts.path.rstrip("/")
        self._kind = kind

    def send(self, method: str, target: str, body: bytes = b"", fields: Iterable[Field] = ()) -> Answer:
        """The answer to a request, whatever its status.

        `target` is appended to the path of the base URL; Host and Content-Length are added to `fields`.
        """
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        if not _PRINTABLE.fullmatch(target):
            raise Failed(f"{target!r} can be no target of a request.")
        connect = HTTPSConnection if self.scheme == "https" else HTTPConnection
        length = [("Content-Length", str(len(body)))] if body else []
        sent = [header_field(*each) for each in (("Host", self.authority), *fields, *length)]
        _trace_sent(method, self.path + target, sent, body)
        try:
            with closing(connect(self.authority, timeout=TIMEOUT)) as connection:
                connection.connect()
                connection.putrequest(method, self.path + target, skip_host=True, skip_accept_encoding=True)
                for name, value in sent:
                    connection.putheader(name, value.encode("latin-1"))
                with suppress(BrokenPipeError, ConnectionResetError):  # a refusal may come early
                    connection.endheaders(body or None)
                response = connection.getresponse()
                received = {name.lower(): value for name, value in response.getheaders()}
                answer = Answer(response.status, received, self._whole(response))
                _trace_received(answer)
                return answer
        except UnicodeError:  # the name has no IDNA form, which is what name services are asked for
            raise Failed(f"The server {self.url} cannot be reached: its name is no host name.") from None
        except OSError as error:
            raise Failed(f"The server {self.url} cannot be reached: {reason(error)}.") from None
        except HTTPException as error:
            raise Failed(f"What answers at {self.url} does not keep to HTTP ({type(error).__name__}).") from None

    def _whole(self, response: HTTPResponse) -> bytes:
        pieces = []
        size = 0
        while piece := response.read(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_ANSWER:
                raise Failed(f"The answer of {self.url} is larger than {MAX_ANSWER >> 20} MiB.")
        if response.length:  # http.client checks this only if all is read at once
            raise Failed(f"The answer of {self.url} ends early: {response.length} bytes are missing.")
        return b"".join(pieces)

    def ask(self, method: str, target: str, body: bytes = b"", fields: Iterable[Field] = ()) -> Answer:
        """As :meth:`send`, but raises :class:`ServerRefused` for an answer that is an error or a redirect."""
        answer = self.send(method, target, body, fields)
        if answer.status >= 300:
            code, told = _told(answer)
            raise ServerRefused(answer.status, f"The server refused ({code}): {told}")
        return answer

    def value(self, answer: Answer, schema: Mapping[str, Any]) -> Any:
        """The JSON of an answer; raises :class:`Failed` if it does not fit `schema`."""
        try:
            value = parse(answer.body)
        except JsonError:
            raise Failed(f"What answers at {self.url} is no {self._kind}: its answer is no JSON.") from None
        if compile_schema(schema)(value):
            raise Failed(f"What answers at {self.url} is no {self._kind}: its answer is not what was asked for.")
        return value


def _trace_sent(method: str, target: str, fields: Iterable[Field], body: bytes) -> None:
    """With ``-v``: the request, without the token that it carries, and of its body the size."""
    trace(">", f"{method} {target} HTTP/1.1")
    for name, value in fields:
        scheme, _, secret = value.partition(" ")
        hidden = name.lower() == "authorization" and secret
        trace(">", f"{name}: {f'{scheme} …' if hidden else value}")
    if body:
        trace(">", f"({len(body)} bytes)")


def _trace_received(answer: Answer) -> None:
    trace("<", f"HTTP/1.1 {answer.status}")
    for name, value in answer.fields.items():
        trace("<", f"{name}: {value}")
    trace("<", f"({len(answer.body)} bytes)")


def header_field(name: str, value: str) -> Field:
    """The header field itself; raises :class:`Failed` if it cannot be one (RFC 9110 §5.1, §5.5)."""
    if not _FIELD_NAME.fullmatch(name):
        raise Failed(f"{name!r} is no name of a header field.")
    if not _FIELD_VALUE.fullmatch(value):
        raise Failed(f"The header field {name} must be Latin-1 without line ends and control characters.")
    return name, value


def _parts(url: str) -> SplitResult:
    """The parts of a base URL: scheme, host, perhaps a port and a path, all in printable ASCII."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bad IP address or port
        usable = False
    if not usable or not _PRINTABLE.fullmatch(url) or any(mark in url for mark in "?#@\\"):
        raise Failed(f"{url!r} is no base URL of a server, such as {LOCAL}.")
    return parts


def _told(answer: Answer) -> tuple[Any, str]:
    """What an error says, in the shape of any protocol: its code (without one, its status), and the reason."""
    try:
        said = parse(answer.body)
    except JsonError:
        said = None
    if not isinstance(said, dict):
        said = {}
    told = said.get("detail") or said.get("error")
    if isinstance(told, dict):
        told = told.get("message")
    code = said.get("code")
    text = printable(str(told or "no reason given")[:MAX_REASON])
    return printable(code[:MAX_REASON]) if isinstance(code, str) else answer.status, text
