"""What strangers' worst connections and bodies cost: rows for ``python -m omp bench hostile`` (omp §1.3 to §1.5).

These attacks need no protocol: connections that do nothing, bodies that never end, framing that is most of the bytes.
Where a row is about being served at all, `send` raises :class:`AssertionError` if nobody is.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from omp.tests.benchmarks.hostile import Row
from omp.web.wire import CONTENT_A_FRAMING, FREE_FRAMING

LONGEST = 5 * 1024 * 1024
"""Bytes of a body, at most."""
WIRE = 12_000_000
"""Bytes of a body in chunks, with its framing."""


def head(port: int, method: str, target: str, fields: str) -> bytes:
    """The head of a request; `fields` are further lines, each ending with CR LF."""
    return f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}\r\n".encode()


def exchange(port: int, request: bytes) -> int:
    """Send `request` and read all of the answer; its status."""
    with socket.create_connection(("127.0.0.1", port), 120) as sock:
        with contextlib.suppress(OSError):  # an early refusal may close before all is sent
            sock.sendall(request)
        data = sock.recv(12)
        while sock.recv(1 << 20):
            pass
    return int(data[9:12])


def post(port: int, target: str, body: bytes, fields: str = "") -> int:
    """POST `body` as JSON on a connection of its own; the status."""
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{fields}"
    return exchange(port, head(port, "POST", target, fields) + body)


def get(port: int, target: str) -> int:
    """GET on a connection of its own; the status."""
    return exchange(port, head(port, "GET", target, "Connection: close\r\n"))


@contextmanager
def connections(port: int, count: int, request: bytes) -> Iterator[list[socket.socket]]:
    """`count` connections, each with `request` sent on it."""
    with contextlib.ExitStack() as opened:
        socks = []
        for _ in range(count):
            socks.append(opened.enter_context(socket.create_connection(("127.0.0.1", port), 10)))
            with contextlib.suppress(OSError):
                socks[-1].sendall(request)
        yield socks


def _require_service(port: int) -> None:
    assert get(port, "/health") == 200, "nobody is served"


def _connections(port: int, count: int, request: Callable[[int], bytes]) -> None:
    with connections(port, count, request(port)):
        _require_service(port)


def _unfinished(target: str, fields: str = "") -> Callable[[int], bytes]:
    def request(port: int) -> bytes:
        framing = f"Content-Length: {LONGEST - 1000}\r\n{fields}"
        return head(port, "POST", target, framing) + b" " * (LONGEST - 2000)

    return request


_CHUNKED = "Transfer-Encoding: chunked\r\nConnection: close\r\n"


def _chunks(port: int, pattern: bytes) -> None:
    """A body that repeats `pattern`, some chunks whose framing is more than is taken."""
    body = pattern * (WIRE // len(pattern)) + b"0\r\n\r\n"
    status = exchange(port, head(port, "POST", "/objects", _CHUNKED) + body)
    assert status == 400, status


def _object(port: int, sizes: Callable[[int, int], int]) -> None:
    """An object of the largest size, in chunks: `sizes` is given the framing and the content so far, in bytes."""
    content = b'{"namespace":"n","content":{"x":"%b"}}'
    content %= b"x" * (LONGEST - len(content) + 2)
    body, framing, at = bytearray(), 0, 0
    while at < len(content):
        piece = content[at : at + sizes(framing, at)]
        body += b"%x\r\n%b\r\n" % (len(piece), piece)
        at += len(piece)
        framing = len(body) - at
    status = exchange(port, head(port, "POST", "/objects", _CHUNKED) + body + b"0\r\n\r\n")
    assert status == 201, status


def _smallest(framing: int, at: int) -> int:
    """The least size of the next chunk, now 1, now 2, now 3 bytes, as long as that is allowed."""
    return 1 + at % 3 if framing + 8 < FREE_FRAMING + at // CONTENT_A_FRAMING else 256


def _byte_by_byte(port: int) -> None:
    request = head(port, "GET", "/health", f"Connection: close\r\nX: {'x' * 30_000}\r\n")
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(request)):
            sock.sendall(request[at : at + 1])
        sock.recv(1000)


ROWS = (
    Row(
        "web: 520 idle connections",
        partial(_connections, count=520, request=lambda port: b""),
        None,
        64,
        "nobody served",
    ),
    Row(
        "web: 520 half heads",
        partial(_connections, count=520, request=lambda port: b"POST /objects HTTP/1.1\r\nHo"),
        None,
        64,
        "nobody served",
    ),
    Row(
        "web: 60 unfinished 5 MiB bodies, POST /objects",
        partial(_connections, count=60, request=_unfinished("/objects")),
        2.0,
        160,
        "302 MiB",
    ),
    Row(
        "web: 60 unfinished 5 MiB bodies, a token route",
        partial(_connections, count=60, request=_unfinished("/v1/repos/x/push")),
        2.0,
        24,
        "300 MiB",
    ),
    Row("web: 5 MiB in whole chunks", partial(_object, sizes=lambda framing, at: LONGEST), 0.15, 40, "0.05 s"),
    Row("web: 5 MiB in the smallest chunks taken", partial(_object, sizes=_smallest), 0.15, 40, "1.2 s; once 6.7 s"),
    *(
        Row(f"web: 12 MB in chunks of {name}, refused", partial(_chunks, pattern=pattern), 0.1, 8, before)
        for name, pattern, before in (
            ("1 byte", b"1\r\nx\r\n", "2.4 s; once 6.7 s"),
            ("1, 2, 3, 1, 5 bytes", b"1\r\nx\r\n2\r\nxx\r\n3\r\nxxx\r\n01\r\nx\r\n5\r\nxxxxx\r\n", "1.2 s"),
            ("1 byte, extended", b"1;%b\r\nx\r\n" % (b"e" * 1000), "0.03 s"),
            ("empty lines", b"2\r\n\r\n\r\n", "2.1 s"),
        )
    ),
    Row("web: a head of 30 KB, byte by byte", _byte_by_byte, 3.0, 8, "not measured"),
)
