"""HTTP/1.1 on the wire, without a socket: request heads, body framing, response heads (RFC 9112, RFC 9110).

This file implements omp §1.3 and the bounds of omp §1.4 on a request's head:

* A request line has at most 8 KiB (414), a header section 32 KiB and 100 fields (431).
* Anything whose end or owner two parsers could see differently is refused (request smuggling): bare CR or LF, folded
  lines, white space before a colon, control characters, two ``Content-Length``, ``Content-Length`` beside
  ``Transfer-Encoding``, a coding other than ``chunked``, a missing or second ``Host``.
* The head of an answer is one block of bytes.

Every refusal is an :class:`~omp.web.errors.ApiError`.  The caller reads the bytes, keeps the deadlines, and must close
the connection after any refusal raised here, because the position in the stream is then unknown.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from omp.web.errors import ApiError
from omp.web.messages import Response

MAX_REQUEST_LINE = 8 * 1024
MAX_HEAD = 32 * 1024
MAX_FIELDS = 100

# RFC 9112 §3: method SP request-target SP HTTP-version.  The target is printable ASCII; RFC 3986 allows fewer
# characters, but clients send more and nothing here depends on it.  A fragment is never sent (RFC 9112 §3.2).
_REQUEST_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) ([!\"$-~]+) HTTP/([0-9])\.([0-9])")
_ABSOLUTE_FORM = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_LENGTH = re.compile(r"[0-9]{1,18}")
# RFC 9112 §5: field-name ":" OWS field-value OWS, the value printable with obs-text (RFC 9110 §5.5).  No white space
# before the colon (RFC 9112 §5.1); a folded line begins with white space (RFC 9112 §5.2), so it does not match.
_VALUE = r"[\t -~\x80-\xff]*"
_FIELD_LINE = re.compile(rf"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):({_VALUE})(?:\r\n|\Z)", re.MULTILINE)
_TEXT_LINES = re.compile(rf"{_VALUE}(?:\r\n{_VALUE})*")


class Fields:
    """A header section, parsed.  A connection keeps it for the next request, which often repeats the same bytes.

    `headers` maps lower-case names to values (repeated fields joined with ``", "``), `lines` holds every field
    line.  `host` is the Host field or None, `length` the Content-Length or None, `chunked` whether the body is chunked;
    `close` and `keep_alive` whether the Connection field says so; `expects_continue` whether the client waits for
    ``100 Continue``; `encoded` whether the content has a coding other than ``identity``.
    """

    __slots__ = ("chunked", "close", "encoded", "expects_continue", "headers", "host", "keep_alive", "length", "lines")

    def __init__(self, section: bytes) -> None:
        self.lines = _field_lines(section)
        self.headers = headers = _joined(self.lines)
        self.host = headers.get("host")
        if self.host is not None and not _HOST.fullmatch(self.host):
            raise ApiError(400, "The Host field must be a host name or address, and a port if there is one.")
        connection = headers.get("connection", "").lower()
        options = [option.strip() for option in connection.split(",")] if connection else ()
        self.close = "close" in options
        self.keep_alive = "keep-alive" in options
        self.expects_continue = _expects_continue(headers)
        self.length, self.chunked = _framing(headers)
        codings = headers.get("content-encoding", "").lower()
        self.encoded = bool(codings) and any(one.strip(" \t") not in ("", "identity") for one in codings.split(","))


def _field_lines(section: bytes) -> list[tuple[str, str]]:
    text = section.decode("latin-1")
    count = text.count("\n") + 1 if text else 0
    if count > MAX_FIELDS:
        raise ApiError(431, f"A request may have at most {MAX_FIELDS} header fields.")
    lines = [(name.lower(), value.strip(" \t")) for name, value in _FIELD_LINE.findall(text)]
    if len(lines) < count:
        if not _TEXT_LINES.fullmatch(text):
            raise ApiError(400, "Header fields must hold no control characters, and every line must end with CR LF.")
        raise ApiError(400, "Every header line must be a field name, a colon, and a value.")
    return lines


def _joined(lines: Sequence[tuple[str, str]]) -> dict[str, str]:
    headers = dict(lines)
    if len(headers) < len(lines):
        headers = {}
        for name, value in lines:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        # RFC 9112 §3.2: 400 for a second Host line, even an equal one.
        if sum(name == "host" for name, _ in lines) > 1:
            raise ApiError(400, "A request must have one Host field.")
    return headers


def _framing(headers: dict[str, str]) -> tuple[int | None, bool]:
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None:
        # RFC 9112 §6.1: the two together are how requests are smuggled.
        if length is not None:
            raise ApiError(400, "A request must not have both Content-Length and Transfer-Encoding.")
        if coding.lower() != "chunked":
            raise ApiError(501, "The only Transfer-Encoding understood is chunked.")
        return None, True
    if length is None:
        return None, False
    if not _LENGTH.fullmatch(length):
        raise ApiError(400, "Content-Length must be one number of decimal digits.")
    return int(length), False


def _expects_continue(headers: dict[str, str]) -> bool:
    expectation = headers.get("expect")
    if expectation is None:
        return False
    if expectation.lower() != "100-continue":
        raise ApiError(417, "The only expectation understood is 100-continue.")
    return True


def parse_request_line(line: bytes) -> tuple[str, str, int]:
    """A request line without its CR LF: (method, target, minor version of HTTP/1).

    Raises :class:`ApiError` 400, 414 or 505.
    """
    if len(line) > MAX_REQUEST_LINE:
        raise ApiError(414, f"The request line must have at most {MAX_REQUEST_LINE} bytes.")
    match = _REQUEST_LINE.fullmatch(line.decode("latin-1"))
    if match is None:
        raise ApiError(400, "The request line must be a method, a target and HTTP/1.1, with one space between them.")
    method, target, major, minor = match.groups()
    if major != "1":
        raise ApiError(505, "This server speaks HTTP/1.1.")
    return method, target, int(minor)


def effective_host(method: str, target: str, fields: Fields, minor: int) -> tuple[str, str | None]:
    """(target in origin form, authority): RFC 9112 §3.2 and §3.3.  400 for a missing Host."""
    host = fields.host
    if host is None and minor > 0:
        raise ApiError(400, "An HTTP/1.1 request must have a Host field.")
    if target.startswith("/"):
        return target, host
    if match := _ABSOLUTE_FORM.fullmatch(target):
        # RFC 9112 §3.2.2: the authority in the target replaces the Host field.
        authority, rest = match.groups()
        if not authority or not _HOST.fullmatch(authority):
            raise ApiError(400, "The request target must name a host.")
        return rest if rest.startswith("/") else "/" + rest, authority
    if target != "*" or method != "OPTIONS":
        raise ApiError(400, "The request target must be a path that begins with a slash.")
    return target, host


def check_partial_head(data: bytes | bytearray) -> None:
    """Refuse an unfinished head as soon as no further bytes could make it good: :class:`ApiError` 400, 414 or 431."""
    line_end = data.find(b"\n")
    if line_end < 0 and len(data) > MAX_REQUEST_LINE:
        raise ApiError(414, f"The request line must have at most {MAX_REQUEST_LINE} bytes.")
    if line_end >= 0:
        if data[line_end - 1 : line_end] != b"\r":
            raise ApiError(400, "Every line of a request head must end with CR LF.")
        parse_request_line(bytes(data[: line_end - 1]))
    if len(data) - line_end > MAX_HEAD:
        raise ApiError(431, f"The header fields must have at most {MAX_HEAD} bytes.")


# RFC 9112 §7.1: chunk-size [ chunk-ext ] CRLF.  Extensions are ignored, within bounds.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
MAX_CHUNK_LINE = 1024
MAX_TRAILERS = 8 * 1024
FREE_FRAMING = 64 * 1024
CONTENT_A_FRAMING = 32
"""A chunk costs a microsecond, however short it is: in chunks of a byte, a body costs a hundred times what it costs as
a whole.  So the framing (size lines, extensions, line ends) may have `FREE_FRAMING` bytes, which is more than ten
thousand chunks, and beyond them one for so many bytes of content: chunks of about 200 bytes on average."""


class ChunkedBody:
    """A decoder of the chunked coding (RFC 9112 §7.1): feed it bytes until it is `done`.

    `body` is then the content, and `rest` what follows it on the connection.
    """

    def __init__(self, limit: int) -> None:
        self.body = bytearray()
        self.done = False
        self.rest = b""
        self._limit = limit
        self._left = 0  # bytes of the present chunk that are still to come
        self._line_due = False  # its CR LF is to come, too
        self._framing = 0  # bytes so far that are not content
        self._trailers = 0  # bytes that trailers may still have; 0 before the last chunk

    def feed(self, data: bytes) -> None:
        """Take more bytes.  Raises :class:`ApiError` 400 for bad or too much framing, 413 beyond `limit` bytes."""
        buffer, at = self.rest + data, 0
        while not self.done:
            after = self._trailer(buffer, at) if self._trailers else self._chunk(buffer, at)
            if after < 0:
                break
            at = after
        self.rest = buffer[at:]

    # Each step returns the index after what it took, or -1 where that has not arrived.

    def _chunk(self, buffer: bytes, at: int) -> int:
        if self._left or self._line_due:
            return self._data(buffer, at)
        end = _line_end(buffer, at, MAX_CHUNK_LINE)
        if end < 0:
            return -1
        size = _chunk_size(buffer[at:end])
        if not size:
            self._trailers = MAX_TRAILERS
            return end
        self._expect(size, end - at + 2)
        if len(buffer) >= end + size + 2 and buffer[end + size : end + size + 2] == b"\r\n":
            self.body += buffer[end : end + size]
            return end + size + 2
        self._left, self._line_due = size, True
        return end

    def _expect(self, size: int, framing: int) -> None:
        """Refuse a chunk of `size` bytes beyond the limit, or whose `framing` is too much."""
        content = len(self.body) + size
        if content > self._limit:
            raise too_large(self._limit)
        self._framing += framing
        # RFC 9112 §7.1.1: a recipient ought to limit the total length of what comes beside the content.
        if self._framing > FREE_FRAMING + content // CONTENT_A_FRAMING:
            raise ApiError(400, "The chunks of this body are too small; send chunks of some kilobytes.")

    def _data(self, buffer: bytes, at: int) -> int:
        """Take what has arrived of a chunk's data, then its CR LF."""
        if self._left:
            piece = buffer[at : at + self._left]
            self.body += piece
            self._left -= len(piece)
            return at + len(piece) if piece else -1
        if len(buffer) < at + 2:
            return -1
        if buffer[at : at + 2] != b"\r\n":
            raise ApiError(400, "A chunk must end with CR LF after as many bytes as its size says.")
        self._line_due = False
        return at + 2

    def _trailer(self, buffer: bytes, at: int) -> int:
        # RFC 9110 §6.5.1: trailers may be dropped, and no trailer has a meaning here.
        end = _line_end(buffer, at, self._trailers)
        if end < 0:
            return -1
        self._trailers = max(1, self._trailers - (end - at))  # in any case the empty line at the end may come
        self.done = end == at + 2
        return end


def _line_end(buffer: bytes, at: int, limit: int) -> int:
    """The index after the line that begins at `at`; -1 where it has not arrived whole."""
    end = buffer.find(b"\n", at, at + limit + 2)
    if end < 0:
        if len(buffer) - at > limit:
            raise ApiError(400, "A line of the chunked coding is too long.")
        return -1
    if end - at > limit or buffer[end - 1 : end] != b"\r":
        raise ApiError(400, "Every line of the chunked coding must end with CR LF.")
    return end + 1


@lru_cache(maxsize=64)
def _chunk_size(line: bytes) -> int:
    match = _CHUNK_LINE.fullmatch(line)
    if match is None:
        raise ApiError(400, "A chunk must begin with its size in hexadecimal digits.")
    return int(match[1], 16)


def too_large(limit: int) -> ApiError:
    """The refusal of a body over `limit` bytes."""
    return ApiError(413, f"The body must have at most {limit} bytes.")


_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\nDate: " for status in HTTPStatus}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(seconds: int) -> str:
    """IMF-fixdate (RFC 9110 §5.6.7) of epoch seconds.

    >>> http_date(784111777)
    'Sun, 06 Nov 1994 08:49:37 GMT'
    """
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
    )


_NO_BODY = (204, 304)
# No browser may take an answer for another type than it says: somebody else chose what is in it.
_NO_GUESSING = "\r\nX-Content-Type-Options: nosniff\r\n"


def response_head(response: Response, date: str, connection: str = "", minor: int = 1) -> bytes:
    """Status line and header fields of `response`, up to the empty line, as one block.

    `connection` is what the Connection field says, if anything.  A stream is chunked, but for a client of HTTP/1.0
    (`minor` is 0), which does not know chunks.  204 and 304 have no body and say nothing about one (RFC 9110 §8.6: a
    304 may, and need not).  Raises ValueError for a field that cannot be sent.
    """
    head = f"{_STATUS_LINES[response.status]}{date}\r\n"
    if response.stream is None:
        if response.status not in _NO_BODY:
            head = f"{head}Content-Length: {len(response.body)}\r\nContent-Type: {response.content_type}{_NO_GUESSING}"
    else:
        # nginx and proxies like it otherwise hold a stream back until they have a buffer full of it (omp §1.3).
        chunked = "Transfer-Encoding: chunked\r\n" if minor > 0 else ""
        head = f"{head}X-Accel-Buffering: no\r\n{chunked}Content-Type: {response.content_type}{_NO_GUESSING}"
    for name, value in response.headers:
        if "\n" in value or "\r" in value:  # response splitting: a handler let the peer's text into a field
            raise ValueError(f"line break in the value of {name}")
        head = f"{head}{name}: {value}\r\n"
    if connection:
        head = f"{head}Connection: {connection}\r\n"
    return f"{head}\r\n".encode("latin-1")
