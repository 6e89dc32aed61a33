"""What the end-to-end tests share.

:func:`running_server` is the whole server in this process on a free port, and the one place where tests build one.
:class:`Client` and :func:`exchange` talk to it, as a client should and with raw bytes.  :func:`raw_server` is a server
that misbehaves, for tests of our own clients.  :func:`command` is the command line, run in this process.

Tests must hold on a machine that does ten other things.  So they wait for what must come (:func:`eventually`), for as
long as :data:`PATIENCE`, and never sleep and hope; and a port that is to be free for a while is a :func:`free_port`.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import random
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

from omp.__main__ import main
from omp.entry import Parts, build
from omp.protocols.mrs import accounts
from omp.web.server import HttpServer

PATIENCE = 60.0
"""Seconds that a test waits for what must come.  It comes at once as a rule: this only ends a test that has failed."""

# How long a server lets a password wait for its hash is part of MRS (mrs §3.5).  The servers of tests wait longer: all
# that they have to show needs accounts, also where the processors are busy with something else for seconds.
accounts.WAIT_SECONDS = PATIENCE


def eventually(holds: Callable[[], object], what: str = "what must come did not come") -> None:
    """Wait until `holds` gives something true; AssertionError where it does not within :data:`PATIENCE`."""
    until = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(what)
        time.sleep(0.005)


def free_port() -> int:
    """A port that stays free until it is used: below those that a system gives to whoever asks for any (from 32768)."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@dataclass
class Answer:
    """What came back; `headers` maps each name, in lower case, to its last value."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int, timeout: float = PATIENCE) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        json: Any = ...,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request and read its answer; `json` is encoded and labelled as JSON, `body` is sent as it is."""
        sent = dict(headers or {})
        if json is not ...:
            body = _encode(json)
            sent.setdefault("Content-Type", "application/json")
        self._connection.request(method, path, body, sent)
        response = self._connection.getresponse()
        received = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, received, response.read())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _encode(value: Any) -> bytes:  # where `json` is the parameter, not the module
    return json.dumps(value).encode()


@dataclass
class Running:
    """A running server: its address, the lines of its log, and its parts for the tests that need them."""

    port: int
    url: str
    log: list[str]
    http: HttpServer
    parts: Parts


@contextlib.contextmanager
def running_server(
    environ: Mapping[str, str] | None = None, storage: str = "memory", **http_options: Any
) -> Iterator[Running]:
    """Serve on a free port of the loopback interface until the block ends; `http_options` go to HttpServer."""
    lines: list[str] = []
    settings = {"OMP_SERVER_PORT": "0", "OMP_STORAGE": storage, **(environ or {})}
    parts = build(settings, log=lines.append, **http_options)
    thread = threading.Thread(target=parts.http.serve_forever, args=(0.005,), daemon=True)
    thread.start()
    try:
        yield Running(parts.http.server_port, parts.http.url, lines, parts.http, parts)
    finally:
        parts.stop(5.0)
        thread.join()


def exchange(port: int, data: bytes, timeout: float = PATIENCE) -> bytes:
    """Send `data` over a new socket, and read until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        parts = []
        while part := sock.recv(65536):
            parts.append(part)
        return b"".join(parts)


@contextlib.contextmanager
def raw_server(behave: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that reads a request from each connection and then does what `behave` says."""
    over = threading.Event()

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            if over.is_set():
                connection.close()
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), tls.wrap_socket(connection, server_side=True) if tls else connection as sock:
            sock.recv(65536)
            behave(sock)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=serve, daemon=True)
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            # Closing alone would leave the thread in accept, and with it the port in use.
            over.set()
            socket.create_connection(listener.getsockname(), PATIENCE).close()
            accepting.join()


def answering(head: str, body: bytes = b"") -> Callable[[socket.socket], None]:
    """For :func:`raw_server`: answer every request with `head` and `body`."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    return behave


def command(*words: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of ``python -m omp WORDS``, run in this process."""
    said, complained = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with (
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(complained),
    ):
        try:
            status = main(list(words))
        except SystemExit as end:  # argparse raises it for --help and for bad options
            status = int(end.code or 0)
    printed = []
    for stream in (said, complained):
        stream.seek(0)
        printed.append(stream.read())
    return status, printed[0], printed[1]
