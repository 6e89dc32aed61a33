"""The ceiling: how fast a Python server with a thread for each connection could be if answering took no work at all.

Raw sockets: each read is answered with the same bytes, as many as an object has.  No real server reaches it; the
distance to it is what parsing, checking, storing and rendering cost.

The benchmarks run it (``python -m omp.tests.benchmarks.ceiling``) on a free port, which its first line names.
"""

from __future__ import annotations

import socket
import threading

BODY = b'{"id":"00000000-0000-4000-8000-000000000000","namespace":"bench","key":"k","created_at":"","metadata":{}}'
ANSWERS = {
    b"P": b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    b"G": b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
}
"""First letter of the method -> the canned answer."""


def serve(connection: socket.socket) -> None:
    """One answer for each read: the load sends a request in one piece and waits."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        receive, send = connection.recv, connection.sendall
        while data := receive(65536):
            send(ANSWERS[data[:1]])


def main() -> None:
    """Listen, and give each connection its thread."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(f"Ceiling listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
