"""The server: ``http.server.ThreadingHTTPServer`` with a connection handler of its own.

Implements "Serving" of architecture.md.  The stock handler parses each head with the ``email`` package, waits on
Nagle's algorithm and leaves refused bodies unread; this one parses what HTTP/1.1 needs (``wire``), sends each answer in
one write with ``TCP_NODELAY``, and owns these traps, each of which has a test over raw sockets:

* An early error must not leave the body to be parsed as the next request: the connection closes, and what still
  arrives is drained first, so that the answer is not lost to a reset.
* A slow client does not hold a thread for ever: a request has 30 s to arrive, each part of an answer 30 s to leave.
* A client that goes away in mid-request costs nothing but its own connection.
* At most 512 connections; one more gets 503 at once, without a thread.
* Stopping finishes the requests under way (one whose body is still arriving is under way, an idle connection is not).

Layout: the server (accepting, counting, stopping), then one connection from top to bottom.  A thread serves one
connection and blocks in ``recv``; the fast path is one ``recv``, one parse, one ``send``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from omp.web.dispatch import Application
from omp.web.errors import ApiError
from omp.web.messages import Request, Response
from omp.web.wire import (
    MAX_HEAD,
    ChunkedBody,
    Fields,
    check_partial_head,
    effective_host,
    http_date,
    parse_request_line,
    response_head,
    too_large,
)

if TYPE_CHECKING:
    import ssl

MAX_CONNECTIONS = 512
REQUEST_SECONDS = 30.0
_RECEIVE = 64 * 1024
_SEND = 256 * 1024
_LINGER_SECONDS = 5.0
_LINGER_BYTES = 64 * 1024 * 1024
_TURNED_AWAY = 64


class HttpServer(ThreadingHTTPServer):
    """Accepts connections and hands each to a thread, until :meth:`stop`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512
    application: Application

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        access_log: bool = False,
        log: Callable[[str], None] | None = None,
        request_seconds: float = REQUEST_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Bind to `host` and `port` (0 takes a free one) and listen; raises OSError where that fails.

        Set `application` before :meth:`serve_forever`: it may need to know the port.
        """
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.tls = tls
        self.access_log = access_log
        self.log = log or log_line
        self.request_seconds = request_seconds
        self.max_connections = max_connections
        self.stopping = False
        self._connections: set[Connection] = set()
        self._changed = threading.Condition()
        self._count = 0
        self._turned_away: deque[tuple[float, socket.socket]] = deque()
        self._date = (0, "")
        # The stock handler class is never made: process_request_thread serves the connection.
        super().__init__((host, port), BaseHTTPRequestHandler)

    def server_bind(self) -> None:
        """Bind without the stock server's look-up of the host's full name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"{'https' if self.tls else 'http'}://{host}:{self.server_port}"

    def date(self) -> str:
        """The Date field's value, made once a second."""
        now = int(time.time())
        made_at, text = self._date
        if made_at != now:
            text = http_date(now)
            self._date = (now, text)
        return text

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, or 503 at once where there are too many."""
        with self._changed:
            free = self._count < self.max_connections
            self._count += free
        if not free:
            self._turn_away(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no more threads
            self._ended(None)
            self._turn_away(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end, in its own thread."""
        connection = Connection(request, client_address, self)
        with self._changed:
            self._connections.add(connection)
        try:
            connection.serve()
        except Exception as error:
            self.log(f"error - connection {type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(OSError):
                request.close()
            self._ended(connection)

    def _ended(self, connection: Connection | None) -> None:
        with self._changed:
            if connection:
                self._connections.discard(connection)
            self._count -= 1
            self._changed.notify_all()

    def _turn_away(self, connection: socket.socket) -> None:
        refusal = ApiError(503, f"All {self.max_connections} connections are in use; try again soon.")
        response = self.application.failure(None, refusal)
        head = response_head(503, self.date(), response.content_type, len(response.body), [("Retry-After", "1")], "close")
        with contextlib.suppress(OSError):
            connection.setblocking(False)
            if self.tls is None:
                connection.send(head + response.body)
            connection.shutdown(socket.SHUT_WR)
        # Closing now would reset the connection if the request is still on its way, and lose the answer.
        self._turned_away.append((time.monotonic() + 1, connection))
        while len(self._turned_away) > _TURNED_AWAY:
            self._turned_away.popleft()[1].close()

    def service_actions(self) -> None:
        """Called by ``serve_forever`` between connections."""
        while self._turned_away and self._turned_away[0][0] < time.monotonic():
            self._turned_away.popleft()[1].close()

    def stop(self, seconds: float) -> bool:
        """Stop accepting, let the requests under way finish for at most `seconds`; whether all did.

        To be called from another thread than the one in ``serve_forever``.
        """
        self.stopping = True
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                connection.end_if_idle()
            return self._changed.wait_for(lambda: not self._count, seconds)


class Connection:
    """One connection: requests in, answers out, in order."""

    def __init__(self, sock: socket.socket, address: Any, server: HttpServer) -> None:
        self._socket = sock
        self._client = str(address[0])
        self._server = server
        self._application = server.application
        self._buffer = b""
        # The header section before this one: clients repeat theirs, and equal bytes need no second look.
        self._section: bytes | None = None
        self._fields: Fields
        self._scheme = "https" if server.tls else "http"
        self._timeout: float | None = server.request_seconds
        self._deadline = 0.0
        self._idle = True

    def serve(self) -> None:
        """Answer requests until the client leaves, the connection must close, or the server stops."""
        try:
            self._prepare()
            while self._serve_one():
                pass
        except (OSError, _ClientGone):
            pass  # the client left or stalled; nobody is there to be told

    def end_if_idle(self) -> None:
        """Wake the thread out of its ``recv`` if no request is under way (the server stops)."""
        if self._idle:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)

    def _prepare(self) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seconds = self._server.request_seconds
        if self._server.tls is not None:
            self._socket.settimeout(seconds)
            self._socket = self._server.tls.wrap_socket(self._socket, server_side=True)
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
        request = None
        try:
            method, target, minor, fields = self._read_head()
            origin, host = effective_host(method, target, fields, minor)
            headers = fields.headers if host == fields.headers.get("host") else {**fields.headers, "host": host or ""}
            request = Request(method, origin, headers, fields.lines, scheme=self._scheme, client=self._client)
            if fields.chunked or fields.length:
                request.body = self._read_body(request, fields, minor)
            if self._deadline:
                self._socket.settimeout(self._timeout)
        except ApiError as refusal:
            # The end of this request is unknown or unread: answer, and close.
            self._send(request, self._application.failure(request, refusal), "close")
            self._linger()
            return False
        response = self._application.answer(request)
        connection = ""
        if fields.close or self._server.stopping:
            connection = "close"
        elif minor == 0:
            connection = "keep-alive" if fields.keep_alive else "close"
        return self._send(request, response, connection, minor)

    def _read_head(self) -> tuple[str, str, int, Fields]:
        data = self._buffer or self._wait_for_request()
        self._idle = False
        self._deadline = 0.0
        # RFC 9112 §2.2: ignore an empty line before the request line.
        while (end := data.find(b"\r\n\r\n")) <= 0:
            data = data[2:] if data.startswith(b"\r\n") else data
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
        if self._server.stopping:  # what has arrived already is still under way
            self._socket.settimeout(0.0)
        data = self._socket.recv(_RECEIVE)
        if not data:
            raise _ClientGone
        return data

    def _receive(self) -> bytes:
        """More bytes of the request under way: 408 when its time is over."""
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
        limit = self._application.body_limit(request.method, request.path)
        if fields.length is not None and fields.length > limit:
            raise too_large(limit)
        if fields.chunked and minor == 0:
            raise ApiError(400, "An HTTP/1.0 request must give the length of its body.")
        complete = fields.length is not None and len(self._buffer) >= fields.length
        if fields.expects_continue and minor > 0 and not complete:
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._read_chunked(limit) if fields.chunked else self._read_exactly(fields.length or 0)

    def _read_exactly(self, length: int) -> bytes:
        data = self._buffer
        if len(data) < length:
            parts, got = [data], len(data)
            while got < length:
                parts.append(self._receive())
                got += len(parts[-1])
            data = b"".join(parts)
        self._buffer = data[length:]
        return data[:length]

    def _read_chunked(self, limit: int) -> bytes:
        decoder = ChunkedBody(limit)
        decoder.feed(self._buffer)
        while not decoder.done:
            decoder.feed(self._receive())
        self._buffer = decoder.rest
        return bytes(decoder.body)

    def _send(self, request: Request | None, response: Response, connection: str, minor: int = 1) -> bool:
        """Send `response`; whether the connection can go on."""
        server = self._server
        status, stream = response.status, response.stream
        bodiless = request is not None and request.method == "HEAD"
        chunked = stream is not None and minor > 0
        if stream is not None and not chunked:
            connection = "close"
        length = None if stream is not None else len(response.body)
        head = response_head(status, server.date(), response.content_type, length, response.headers, connection, chunked)
        if server.access_log:
            line = f"{request.method} {request.target}" if request else "-"
            server.log(f"{self._client} {line} {status} {'-' if length is None else length}")
        if bodiless or status == 304:
            if stream is not None:
                _close(stream)
            self._socket.sendall(head)
        elif stream is not None:
            return self._send_stream(request, head, stream, chunked) and chunked
        elif len(response.body) <= _SEND:
            self._socket.sendall(head + response.body)
        else:
            self._send_pieces(head, response.body)
        return connection != "close"

    def _send_pieces(self, head: bytes, body: bytes) -> None:
        """A large body, with a deadline for each piece, so that a slow reader cannot hold the thread for ever."""
        self._socket.settimeout(self._server.request_seconds)
        self._socket.sendall(head)
        view = memoryview(body)
        for start in range(0, len(body), _SEND):
            self._socket.sendall(view[start : start + _SEND])
        self._socket.settimeout(self._timeout)

    def _send_stream(self, request: Request | None, head: bytes, stream: Iterator[bytes], chunked: bool) -> bool:
        """A streamed body; whether it was sent to its end."""
        self._socket.settimeout(self._server.request_seconds)
        try:
            self._socket.sendall(head)
            for data in stream:
                if data:
                    self._socket.sendall(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                elif self._server.stopping or self._client_left():
                    return False
        except OSError:
            raise
        except Exception as error:
            # The status is out: only a body without its end can say that something failed.
            self._application.failure(request, error)
            return False
        finally:
            _close(stream)
        if chunked:
            self._socket.sendall(b"0\r\n\r\n")
        self._socket.settimeout(self._timeout)
        return True

    def _client_left(self) -> bool:
        self._socket.settimeout(0.0)
        try:
            return not self._socket.recv(1, socket.MSG_PEEK) if self._scheme == "http" else False
        except BlockingIOError:
            return False
        finally:
            self._socket.settimeout(self._server.request_seconds)

    def _linger(self) -> None:
        """Take what still arrives of a refused request: closing on unread bytes would reset the answer away."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            until = time.monotonic() + _LINGER_SECONDS
            taken = 0
            while taken < _LINGER_BYTES and (left := until - time.monotonic()) > 0:
                self._socket.settimeout(left)
                data = self._socket.recv(_RECEIVE)
                if not data:
                    return
                taken += len(data)


class _ClientGone(Exception):
    """The client closed its side before a request was whole."""


def _close(stream: Iterator[bytes]) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()


def log_line(line: str) -> None:
    """One line to standard error, whole."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
