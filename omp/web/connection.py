"""One connection: requests in, answers out, in order (RFC 9112 §9.3; omp §1.2 to §1.4).

A connection is a blocking socket in a thread of its own.  A usual request costs one ``recv``, one parse and one
``send``.  The traps that this file owns:

* An early error must not leave the body to be parsed as the next request: the connection closes.  What still arrives
  is drained first, or a reset would take the answer away.
* A slow client must not hold a thread for ever: a request has 30 s to arrive, each part of an answer 30 s to leave.
* A client that goes away in the middle of a request costs nothing but its own connection.
* A stranger may send a long body slowly, on many connections.  What the head alone refuses is refused before the body
  is read, and all bodies under way have a bound together.
* A stream that fails must not look complete: it gets no last chunk.

Laid out: what a connection needs of its server, serving, giving way, reading a request from head to body, sending an
answer, closing.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from omp.web.addressing import Destination, Local, plain_address
from omp.web.capacity import UNCOUNTED, Shares
from omp.web.errors import ApiError
from omp.web.messages import Request, Response
from omp.web.metrics import NO_ROUTE, Metrics, Tally, access_line
from omp.web.routes import Application
from omp.web.wire import (
    MAX_HEAD,
    ChunkedBody,
    Fields,
    check_partial_head,
    effective_host,
    parse_request_line,
    response_head,
    too_large,
)

if TYPE_CHECKING:
    import ssl  # a server without TLS need not load it, which takes a while

_RECEIVE = 64 * 1024
_SEND = 256 * 1024
_POLL_SECONDS = 0.5
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 1024 * 1024
# The client has closed its side, or the connection is reset.  Where poll cannot tell (it is Linux's), a peek has to.
_HUNG_UP = getattr(select, "POLLRDHUP", 0)
_EMPTY_LINES = re.compile(rb"(?:\r\n)+")


class Serving(Protocol):
    """What a connection needs of its server, which :class:`omp.web.server.HttpServer` has."""

    application: Application
    tls: ssl.SSLContext | None
    access_log: bool
    log: Callable[[str], None]
    request_seconds: float
    """How long a request may take to arrive, an idle connection to begin one, and each part of an answer to leave."""
    stopping: bool
    shares: Shares
    metrics: Metrics

    def date(self) -> str:
        """The value of the Date field."""


class Connection:
    """A client's connection, from its first byte to its last."""

    def __init__(self, sock: socket.socket, address: Any, server: Serving) -> None:
        self._socket = sock
        self._client = plain_address(address[0])
        own_end = sock.getsockname()
        self._local = Local(plain_address(own_end[0]), own_end[1])
        self._server = server
        self._application = server.application
        self._buffer = b""
        # The header section of the last request, and what it says: most clients repeat theirs to the byte, and parsing
        # it takes about as long as all the rest of a short request.
        self._section: bytes | None = None
        self._fields: Fields
        self._host: str | None = None  # of the last request that named one, and where it is addressed
        self._destination: Destination
        self._admitted: Fields | None = None  # of the last request to that host, and who sent it
        self._sender = ""
        self._scheme = "https" if server.tls else "http"
        self._timeout: float | None = server.request_seconds
        self._deadline = 0.0
        self._idle = True
        self._polls = False  # looks whether it is to end, so nobody need wake it
        self._tally: Tally  # what it counts of its requests
        self._began = 0.0  # when the first bytes of the present request came, on the monotonic clock
        self._status = self._sent = 0  # of the answer: its status, and how many bytes of its body have been sent
        self._counted = 0  # bytes of the present body that it took of the server's share
        self.network = self._application.network(self._client)
        self._counted_for = self.network  # whose share that is: of the client, who may be behind a trusted proxy
        self.unused_since: float | None = time.monotonic()
        """Since when no request has been under way, on the monotonic clock; None while one is.

        A request is under way once its head is whole: half a head, or a TLS handshake that never ends, keeps no place.
        """
        self.gives_way = False

    def serve(self) -> None:
        """Answer requests until the client leaves, the connection must close, or the server stops."""
        self._tally = self._server.metrics.begin()
        try:
            self._prepare()
            while self._serve_one():
                pass
        except (OSError, _ClientGone):
            pass  # the client left or stalled: there is nobody to tell
        finally:
            self._server.metrics.end(self._tally)
            self._return_share()
            self._say_goodbye()
            self._socket.close()

    def end_if_idle(self) -> None:
        """Wake the thread out of its ``recv`` if no request has begun to arrive (the server stops)."""
        if self._idle and not self._polls:
            self._wake()

    def give_way(self) -> None:
        """End, for another connection's sake; a request that arrives at this very moment is still answered."""
        self.gives_way = True
        if not (self._idle and self._polls):
            self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)

    def _prepare(self) -> None:
        """Set up the socket, in this thread: a client that is slow in the TLS handshake delays nobody else.

        Answers are sent in one write, so Nagle's algorithm could only delay them.
        """
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seconds = self._server.request_seconds
        if self._server.tls is not None:
            self._socket.settimeout(seconds)
            self._socket = tls = self._server.tls.wrap_socket(
                self._socket, server_side=True, do_handshake_on_connect=False
            )
            tls.do_handshake()
            self._polls = True
        elif os.name == "posix":
            # A Python timeout polls before every recv and send; the kernel's own costs no system call.
            interval = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)
            self._timeout = None
        else:
            self._socket.settimeout(seconds)

    def _serve_one(self) -> bool:
        """Read a request and answer it; whether the connection goes on."""
        refused = None
        request: Request | None = None
        try:
            method, target, minor, fields = self._read_head()
            self.unused_since = None
            if fields is self._admitted and target.startswith("/"):  # most clients repeat their fields to the byte
                request = Request(method, target, fields.headers, fields.lines, scheme=self._scheme, minor=minor)
                request.client, request.destination = self._sender, self._destination
            else:
                origin, host = effective_host(method, target, fields, minor)
                headers = fields.headers if host == fields.host else {**fields.headers, "host": host or ""}
                request = Request(method, origin, headers, fields.lines, scheme=self._scheme, minor=minor)
                self._admit(request, fields)
            request.client_left = self._client_left
            if fields.encoded:
                raise _encoded()
            if fields.chunked or fields.length:
                request.body = self._read_body(request, fields, minor)
            if self._deadline:
                self._socket.settimeout(self._timeout)
        except (OSError, _ClientGone):
            raise
        except Exception as refusal:
            refused = self._application.failure(request, refusal)
        if refused is not None:
            # Where this request ends is unknown, or its body is unread: answer, and close (omp §1.4).  Not in the block
            # above: as long as the exception lives, so does what has been read of the body.
            self._buffer = b""
            self._return_share()
            self._send(request, refused, "close")
            self._linger()
            return False
        assert request is not None  # or there was a refusal
        response = self._application.answer(request)
        if self._counted:
            self._return_share()
        connection = ""
        if fields.close or self._server.stopping or self.gives_way:
            connection = "close"
        elif minor == 0:
            connection = "keep-alive" if fields.keep_alive else "close"
        return self._send(request, response, connection, minor)

    def _admit(self, request: Request, fields: Fields) -> None:
        """Whose request it is, and whether it is for this server (omp §1.5); :class:`ApiError` 421.

        Clients name the same host in every request of a connection, and what was found out for it holds for the next
        one too, unless a proxy says that it comes from another client.
        """
        request.client = self._client
        headers = request.headers
        host = headers.get("host")
        if host is not None and host == self._host and "x-forwarded-for" not in headers:
            request.destination = self._destination
        else:
            self._application.admit(request, self._local)
            self._host, self._destination = host, request.destination
        self._admitted = fields if headers is fields.headers and host is not None else None
        self._sender = request.client

    def _read_head(self) -> tuple[str, str, int, Fields]:
        """Method, target, minor version and fields of the next request; what follows its head stays in the buffer.

        Raises :class:`ApiError` as :mod:`omp.web.wire` does.
        """
        data = self._buffer or self._wait_for_request()
        self._began = time.monotonic()
        self._idle = False
        self._deadline = 0.0
        while (end := data.find(b"\r\n\r\n")) < 0 or data.startswith(b"\r\n"):
            # RFC 9112 §2.2: empty lines before the request line are ignored.  All at once: one at a time is quadratic.
            if empty := _EMPTY_LINES.match(data):
                data = data[empty.end() :]
                continue
            check_partial_head(data)
            data += self._receive()
        line_end = data.find(b"\r\n")
        method, target, minor = parse_request_line(data[:line_end])
        if end - line_end > MAX_HEAD:
            raise ApiError(431, f"The header fields must have at most {MAX_HEAD} bytes.")
        section = data[line_end + 2 : end]
        if section != self._section:
            self._fields = Fields(section)
            self._section = section
        self._buffer = data[end + 4 :]
        return method, target, minor, self._fields

    def _wait_for_request(self) -> bytes:
        """The first bytes of the next request; raises where none come."""
        self._idle = True
        if self._server.stopping:  # a request that has arrived already is still answered
            self._socket.settimeout(0.0)
            data = self._socket.recv(_RECEIVE)
            self._socket.settimeout(self._timeout)
        elif self._polls:
            data = self._poll_for_request()
        else:
            data = self._socket.recv(_RECEIVE)
        if not data:
            raise _ClientGone
        return data

    def _poll_for_request(self) -> bytes:
        """The same over TLS.

        Other connections are woken by an end of their stream (:meth:`end_if_idle`), which TLS would take for an attack.
        """
        until = time.monotonic() + self._server.request_seconds
        while not (self._server.stopping or self.gives_way) and (left := until - time.monotonic()) > 0:
            self._socket.settimeout(min(left, _POLL_SECONDS))
            with contextlib.suppress(TimeoutError):
                data = self._socket.recv(_RECEIVE)
                self._socket.settimeout(self._timeout)
                return data
        raise _ClientGone

    def _receive(self) -> bytes:
        """More bytes of the request under way; :class:`ApiError` 408 when its time is over."""
        now = time.monotonic()
        self._deadline = self._deadline or now + self._server.request_seconds
        left = self._deadline - now
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(_RECEIVE)
        except TimeoutError:
            raise ApiError(408, f"A request must arrive within {self._server.request_seconds:g} seconds.") from None
        if not data:
            raise _ClientGone
        return data

    def _read_body(self, request: Request, fields: Fields, minor: int) -> bytes:
        """The body.  Its limit is that of the route, so the size can be refused before any of it is read.

        Raises :class:`ApiError` 400, 413 or 503, or what the protocol's ``check_head`` does.
        """
        length, arrived = fields.length, len(self._buffer)
        if length is not None and length <= arrived and length <= self._application.shortest_limit:
            return self._from_buffer(length)
        limit = self._application.body_limit(request)
        if length is not None and length > limit:
            raise too_large(limit)
        if fields.chunked and minor == 0:
            raise ApiError(400, "An HTTP/1.0 request must give the length of its body.")
        if length is not None and length <= arrived:
            return self._from_buffer(length)
        self._application.check_head(request)
        self._counted_for = self._application.network(request.client)
        if fields.expects_continue and minor > 0:
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._read_chunked(limit) if fields.chunked else self._read_exactly(length or 0)

    def _read_exactly(self, length: int) -> bytes:
        parts, got = [self._buffer], len(self._buffer)
        while got < length:
            parts.append(self._receive())
            got += len(parts[-1])
            self._count(got)
        self._buffer = b"".join(parts)
        return self._from_buffer(length)

    def _from_buffer(self, length: int) -> bytes:
        data = self._buffer
        self._buffer = data[length:]
        return data[:length]

    def _read_chunked(self, limit: int) -> bytes:
        decoder = ChunkedBody(limit)
        decoder.feed(self._buffer)
        while not decoder.done:
            decoder.feed(self._receive())
            self._count(len(decoder.body))
        self._buffer = decoder.rest
        return bytes(decoder.body)

    def _count(self, size: int) -> None:
        """Take what a body of `size` bytes needs of the server's share; :class:`ApiError` 503 where it is used up."""
        more = size - UNCOUNTED - self._counted
        if more <= 0:
            return
        if not self._server.shares.body_bytes.take(self._counted_for, more):
            busy = "The server is reading as many long bodies as it can; try again soon."
            raise ApiError(503, busy, headers=[("Retry-After", "2")])
        self._counted += more

    def _return_share(self) -> None:
        if self._counted:
            self._server.shares.body_bytes.give_back(self._counted_for, self._counted)
            self._counted = 0

    def _send(self, request: Request | None, response: Response, connection: str, minor: int = 1) -> bool:
        """Send `response`, and count it; whether the connection can go on.

        `request` is None if its head could not be read; `connection` is the value of the Connection field, "" for none.
        """
        self._sent = 0
        try:
            return self._transmit(request, response, connection, minor)
        finally:  # also where the client is gone
            self.unused_since = ended = time.monotonic()
            route = getattr(request, "route", None)  # none: no route was found, or no request
            self._tally.count(route.template if route else NO_ROUTE, self._status, ended - self._began)
            if self._server.access_log:
                self._log(request, ended - self._began)

    def _log(self, request: Request | None, seconds: float) -> None:
        """Write the line of a request that took so many seconds into the access log."""
        client, asked, name = self._client, "-", "-"
        if request is not None:
            client, asked, name = request.client, f"{request.method} {request.target}", request.id
        self._server.log(access_line(time.time(), client, asked, self._status, self._sent, seconds, name))

    def _transmit(self, request: Request | None, response: Response, connection: str, minor: int) -> bool:
        self._status = response.status
        body, stream = response.body, response.stream
        if stream is not None and minor == 0:
            connection = "close"  # HTTP/1.0 has no chunks: there a stream ends with the connection
        try:
            head = response_head(response, self._server.date(), connection, minor)
        except ValueError as error:  # a handler's bug: a value that no header field can hold
            _close(stream)
            return self._transmit(request, self._application.failure(request, error), connection, minor)
        if response.status == 304 or (request is not None and request.method == "HEAD"):
            _close(stream)
            body = b""
        elif stream is not None:
            return self._send_stream(request, response, head, connection, minor)
        if len(body) <= _SEND:
            self._socket.sendall(head + body)
            self._sent = len(body)
        else:
            self._send_pieces(head, body)
        return connection != "close"

    def _send_pieces(self, head: bytes, body: bytes) -> None:
        """Send a large body with a deadline for each piece, so that a slow reader cannot hold the thread for ever."""
        self._socket.settimeout(self._server.request_seconds)
        self._socket.sendall(head)
        view = memoryview(body)
        for start in range(0, len(body), _SEND):
            self._socket.sendall(view[start : start + _SEND])
            self._sent = min(start + _SEND, len(body))
        self._socket.settimeout(self._timeout)

    def _send_stream(
        self, request: Request | None, response: Response, head: bytes, connection: str, minor: int
    ) -> bool:
        """Send a stream if the client's share has room for it (omp §1.6); whether the connection can go on."""
        assert response.stream is not None
        streams = self._server.shares.streams
        network = self._application.network(request.client if request else self._client)
        if not streams.take(network):
            _close(response.stream)
            return self._transmit(request, self._application.failure(request, _no_stream()), connection, minor)
        try:
            return self._send_parts(request, head, response.stream, minor > 0) and connection != "close"
        finally:
            streams.give_back(network)

    def _send_parts(self, request: Request | None, head: bytes, stream: Iterator[bytes], chunked: bool) -> bool:
        """Send a streamed body as it comes; whether it was sent to its end."""
        self._socket.settimeout(self._server.request_seconds)
        try:
            self._socket.sendall(head)
            for data in stream:
                if data:
                    self._socket.sendall(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                    self._sent += len(data)
                elif self._server.stopping or self._client_left():
                    return False
        except OSError:
            raise
        except Exception as error:
            # The status has been sent: only a body without its end can say that something failed.
            self._application.failure(request, error)
            return False
        finally:
            _close(stream)
        if chunked:
            self._socket.sendall(b"0\r\n\r\n")
        self._socket.settimeout(self._timeout)
        return True

    def _client_left(self) -> bool:
        """Whether the client has closed its side, or at least that for sending: the two look alike from here.

        Where only a peek can tell, it cannot over TLS (a send finds out), nor while bytes of another request wait.
        """
        if _HUNG_UP:
            poll = select.poll()
            poll.register(self._socket, _HUNG_UP)
            return bool(poll.poll(0))
        before = self._socket.gettimeout()
        self._socket.settimeout(0.0)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK) if self._scheme == "http" else False
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self._socket.settimeout(before)

    def _say_goodbye(self) -> None:
        """The closure alert of TLS (RFC 9112 §9.8), so that a client can tell an end from a cut."""
        unwrap = getattr(self._socket, "unwrap", None)
        if unwrap is not None:
            with contextlib.suppress(OSError, ValueError):  # ValueError: it has been sent
                self._socket.settimeout(0.0)  # the client's own alert is not waited for
                unwrap()

    def _linger(self) -> None:
        """Read what still arrives of a refused request: closing with unread bytes resets the connection, and the client
        would lose the answer."""
        self._say_goodbye()
        self.unused_since = time.monotonic()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            until = time.monotonic() + LINGER_SECONDS
            taken = 0
            while taken < LINGER_BYTES and (left := until - time.monotonic()) > 0:
                self._socket.settimeout(left)
                data = self._socket.recv(_RECEIVE)
                if not data:
                    return
                taken += len(data)


def _encoded() -> ApiError:
    # RFC 9110 §15.5.16; a body is never unpacked here: a few bytes could become gigabytes.
    message = "The body must be sent without a Content-Encoding."
    return ApiError(415, message, headers=[("Accept-Encoding", "identity")])


def _no_stream() -> ApiError:
    message = "As many streams are open as the server keeps, for all clients or for this one; try again later."
    return ApiError(503, message, headers=[("Retry-After", "5")])


class _ClientGone(Exception):
    """The client closed its side before a request was whole."""


def _close(stream: Iterator[bytes] | None) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()
