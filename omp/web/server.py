"""The server: ``http.server.ThreadingHTTPServer`` with connections of our own (omp §1.2, §1.4).

The stock request handler parses each head with the ``email`` package, waits on Nagle's algorithm and leaves refused
bodies unread.  It is never instantiated: :class:`~omp.web.connection.Connection` takes its place.  This file accepts,
counts and stops:

* At most 512 connections are served.  One more takes the place of the one that has been without a request for the
  longest time; where all have one, it gets 503 at once, without a thread (omp §1.6).
* Stopping finishes the requests under way: one whose body is still arriving is under way, an idle connection is not.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from omp.web.capacity import Shares, shares
from omp.web.connection import Connection
from omp.web.errors import ApiError
from omp.web.metrics import Family, Metrics, single
from omp.web.routes import Application
from omp.web.wire import http_date, response_head

if TYPE_CHECKING:
    import ssl

MAX_CONNECTIONS = 512
REQUEST_SECONDS = 30.0
_TURNED_AWAY = 64
_LEAVING = 64
"""Connections that were told to give way and whose threads have not ended yet: each holds a thread, so few may."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_EXHAUSTED_SECONDS = 0.05


class HttpServer(ThreadingHTTPServer):
    """Accepts connections and hands each to a thread, until :meth:`stop`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 512
    shares: Shares

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
        self._serving = 0
        self._leaving = 0
        self._turned_away: deque[tuple[float, socket.socket]] = deque()
        self._date = (0, "")
        self._accepted = self._refused = 0  # only the thread in serve_forever counts here
        self.metrics = Metrics()
        self.metrics.sources.append(self._numbers)
        # The stock handler class is never instantiated: process_request_thread serves the connection.
        super().__init__((host, port), BaseHTTPRequestHandler)

    @property
    def application(self) -> Application:
        """What answers the requests."""
        return self._application

    @application.setter
    def application(self, application: Application) -> None:
        self._application = application
        self.shares = shares(self.max_connections, application.longest_body)

    def server_bind(self) -> None:
        """Bind without the stock server's lookup of the host's full name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"{'https' if self.tls else 'http'}://{host}:{self.server_port}"

    def date(self) -> str:
        """The value of the Date field, formatted once a second: it costs 3 % of a short answer."""
        now = int(time.time())
        made_at, text = self._date
        if made_at != now:
            text = http_date(now)
            self._date = (now, text)
        return text

    def get_request(self) -> Any:
        """Accept; where the system has nothing left for another connection, wait a little instead of spinning."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                time.sleep(_EXHAUSTED_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the connection, or answer 503 at once if there is no place for it."""
        self._accepted += 1
        connection = Connection(request, client_address, self)
        if not self._find_place(connection):
            self._turn_away(request)
            return
        try:
            super().process_request(request, connection)
        except RuntimeError:  # the system has no more threads
            self._ended(connection)
            self._turn_away(request)

    def _find_place(self, arrived: Connection) -> bool:
        """Take a place for a new connection, if need be that of another one; whether there was one.

        From here on the new one can give way too, even before its thread runs.
        """
        places, network = self.shares.connections, arrived.network
        with self._changed:
            if not places.take(network):
                # A network that has all it may have takes the place of one of its own.
                own = places.has_all(network)
                unused = [
                    (connection.unused_since, connection)
                    for connection in self._connections
                    if connection.unused_since is not None
                    and not connection.gives_way
                    and (not own or connection.network == network)
                ]
                if not unused or self._leaving >= _LEAVING:
                    return False
                _, longest = min(unused, key=lambda pair: pair[0])
                longest.give_way()
                self._leaving += 1
                places.give_back(longest.network)
                if not places.take(network):
                    return False
            self._connections.add(arrived)
            self._serving += 1
            return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end, in its own thread."""
        connection: Connection = client_address  # as :meth:`process_request` hands it over
        try:
            connection.serve()
        except Exception as error:
            self.log(f"error - connection {type(error).__name__}: {error}")
        finally:
            with contextlib.suppress(OSError):
                request.close()
            self._ended(connection)

    def _ended(self, connection: Connection) -> None:
        with self._changed:
            self._connections.discard(connection)
            if connection.gives_way:
                self._leaving -= 1  # its place has been given to another one
            else:
                self.shares.connections.give_back(connection.network)
            self._serving -= 1
            self._changed.notify_all()

    def _turn_away(self, connection: socket.socket) -> None:
        self._refused += 1
        busy = f"All {self.max_connections} connections are in use; try again soon."
        refusal = ApiError(503, busy, headers=[("Retry-After", "1")])
        response = self.application.failure(None, refusal)
        head = response_head(response, self.date(), "close")
        with contextlib.suppress(OSError):
            connection.setblocking(False)
            if self.tls is None:
                connection.send(head + response.body)
            connection.shutdown(socket.SHUT_WR)
        # Closing now would reset the connection if the request is still on its way, and lose the answer.
        self._turned_away.append((time.monotonic() + 1, connection))
        while len(self._turned_away) > _TURNED_AWAY:
            self._turned_away.popleft()[1].close()

    def _numbers(self) -> Iterator[Family]:
        """What the operator may watch of the connections: a source of :class:`Metrics` (omp §6.1)."""
        connections, streams, body_bytes = self.shares
        yield single("omp_connections_total", "counter", "Connections accepted.", self._accepted)
        yield single("omp_connections_refused_total", "counter", "Answered 503: all were in use.", self._refused)
        yield single("omp_connections", "gauge", "Connections open now.", connections.taken)
        yield single("omp_connections_limit", "gauge", "Connections that may be open.", connections.whole)
        yield single("omp_streams", "gauge", "Streams open now.", streams.taken)
        yield single("omp_streams_limit", "gauge", "Streams that may be open.", streams.whole)
        yield single("omp_body_bytes", "gauge", "Bytes of long bodies under way.", body_bytes.taken)
        yield single("omp_body_bytes_limit", "gauge", "Bytes of bodies that may be under way.", body_bytes.whole)

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
        while self._turned_away:
            self._turned_away.popleft()[1].close()
        with self._changed:
            for connection in self._connections:
                connection.end_if_idle()
            return self._changed.wait_for(lambda: self._serving <= 0, seconds)


def log_line(line: str) -> None:
    """Write one whole line to standard error.

    If that is closed, or its disk is full, the line is lost: no request may fail for it.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
