"""The tools as HTTP clients: one request, one answer, one sentence where there is none.

:class:`Server` is the server at a base URL.  Its :meth:`~Server.send` gives any answer; :meth:`~Server.ask` gives one
that is no error; :meth:`~Server.value` reads it as JSON that must fit a schema.  All that a server, or the way to it,
can do wrong comes out as :class:`~omp.tools.terminal.Failed`.

Each request has a connection of its own, which is closed when the answer is read: none is left open, none has died
while the tool was busy elsewhere.  Redirects are not followed, and nothing is sent twice.

Handled here: what is no address or no header field; answers that are no HTTP, end early or do not end; errors, in the
shape of whichever protocol.  The caller must check what an answer means, and make what it shows of it printable.

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
from omp.tools.terminal import Failed, printable, reason

if TYPE_CHECKING:
    from http.client import HTTPResponse

LOCAL = "http://127.0.0.1:8787"
"""Where ``python server.py`` listens."""
TIMEOUT = 60.0
"""Seconds without a byte."""
MAX_ANSWER = 1 << 30
"""Bytes.  The longest answer is all of a log."""
MAX_REASON = 500
"""Characters of a server's own words that are shown."""
_PIECE = 1 << 16

# RFC 9110 §5.1 and §5.5
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[\t -~\xa0-\xff]*")
_PRINTABLE = re.compile("[!-~]+")

Field = tuple[str, str]


class Refusal(Failed):
    """An answer that is an error, or leads elsewhere; `status` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Answer(NamedTuple):
    """What came back: `fields` by lower-case name."""

    status: int
    fields: Mapping[str, str]
    body: bytes


class Server:
    """The server at the base URL `url`, which should be what `kind` says, as "vault".

    `scheme`, `authority` (host and port) and `path`, which stands before every target, are what requests are made of,
    for those who sign them.  Raises :class:`Failed` for what is no base URL.
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

        `target` is put behind the path of the base URL; Host and Content-Length are added to `fields`.
        """
        from http.client import HTTPConnection, HTTPException, HTTPSConnection

        if not _PRINTABLE.fullmatch(target):
            raise Failed(f"{target!r} can be no target of a request.")
        connect = HTTPSConnection if self.scheme == "https" else HTTPConnection
        length = [("Content-Length", str(len(body)))] if body else []
        sent = [header_field(*each) for each in (("Host", self.authority), *fields, *length)]
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
                return Answer(response.status, received, self._whole(response))
        except UnicodeError:  # what is put to the name service is idna
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
        if response.length:  # http.client minds this only where all is read at once
            raise Failed(f"The answer of {self.url} ends early: {response.length} bytes are missing.")
        return b"".join(pieces)

    def ask(self, method: str, target: str, body: bytes = b"", fields: Iterable[Field] = ()) -> Answer:
        """As :meth:`send`, for an answer that is none of an error: :class:`Refusal` where it is one."""
        answer = self.send(method, target, body, fields)
        if answer.status >= 300:
            code, told = _told(answer)
            raise Refusal(answer.status, f"The server refused ({code}): {told}")
        return answer

    def value(self, answer: Answer, schema: Mapping[str, Any]) -> Any:
        """The JSON of an answer, which fits `schema`; :class:`Failed` where it does not."""
        try:
            value = parse(answer.body)
        except JsonError:
            raise Failed(f"What answers at {self.url} is no {self._kind}: its answer is no JSON.") from None
        if compile_schema(schema)(value):
            raise Failed(f"What answers at {self.url} is no {self._kind}: its answer is not what was asked for.")
        return value


def header_field(name: str, value: str) -> Field:
    """The header field itself; :class:`Failed` for what can be none (RFC 9110 §5.1, §5.5)."""
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
    except ValueError:  # an address or a port that is none
        usable = False
    if not usable or not _PRINTABLE.fullmatch(url) or any(mark in url for mark in "?#@\\"):
        raise Failed(f"{url!r} is no base URL of a server, such as {LOCAL}.")
    return parts


def _told(answer: Answer) -> tuple[Any, str]:
    """What an error says: its code, or else its status, and the reason, in whichever shape a protocol gives it."""
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
