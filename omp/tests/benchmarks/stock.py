"""The tuned stock server: the HTTP server of the standard library at its best, with the same job as ours.

``ThreadingHTTPServer`` and ``BaseHTTPRequestHandler`` as they are, except for three things that a fair comparison
needs: ``TCP_NODELAY`` (without it Nagle's algorithm and delayed acknowledgements stall it at a few hundred requests a
second), one write per answer, and a listen backlog of 128.  It logs nothing.  ``POST /objects`` and
``GET /objects/{id}`` do the same as ours with `json` and a dict, and nothing more: no checks, no limits, no ETag.

The benchmarks run it (``python -m omp.tests.benchmarks.stock``) on a free port, which its first line names.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OBJECTS: dict[str, dict[str, Any]] = {}


class Server(ThreadingHTTPServer):
    """ThreadingHTTPServer with a backlog for 128 connections that wait to be accepted."""

    request_queue_size = 128
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    """The two routes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # answers are written to a buffer, which goes out in one write when the handler flushes it

    def answer(self, status: int, value: Any) -> None:
        """Send `value` as JSON."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Create an object."""
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        number = str(uuid.uuid4())
        stored = {
            "id": number,
            "namespace": given["namespace"],
            "key": given.get("key", number),
            "created_at": datetime.now(UTC).isoformat(),
            "metadata": given.get("metadata", {}),
            "content": given["content"],
        }
        OBJECTS[number] = stored
        self.answer(201, {name: value for name, value in stored.items() if name != "content"})

    def do_GET(self) -> None:
        """Fetch an object."""
        stored = OBJECTS.get(self.path.rpartition("/")[2])
        if stored is None:
            self.answer(404, {"error": "not found"})
        else:
            self.answer(200, stored)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the parent class
        """Log nothing."""


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    print(f"Stock server listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
