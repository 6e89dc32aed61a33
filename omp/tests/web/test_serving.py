"""Serving, over raw sockets: the traps of ``http.server`` and the bounds of omp §1.4."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import select
import socket
import threading
import time
import unittest
import unittest.mock
from collections.abc import Iterator
from socketserver import TCPServer
from typing import Any, ClassVar

from omp.entry import build
from omp.tests.harness import PATIENCE, Client, Running, eventually, exchange, running_server
from omp.web.errors import ApiError
from omp.web.messages import Request, Response, json_response
from omp.web.routes import CORS_ANY_ORIGIN, Mount, Route
from omp.web.server import _EXHAUSTED_SECONDS
from omp.web.wire import CONTENT_A_FRAMING, FREE_FRAMING, ChunkedBody, http_date

GET_HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def read_answers(sock: socket.socket, count: int) -> list[tuple[int, dict[str, str], bytes]]:
    """`count` answers with Content-Length from `sock`, in order."""
    data = b""
    answers: list[tuple[int, dict[str, str], bytes]] = []
    while len(answers) < count:
        head, found, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        if found and len(rest) >= length:
            answers.append((int(lines[0].split()[1]), headers, rest[:length]))
            data = rest[length:]
            continue
        part = sock.recv(65536)
        if not part:
            raise AssertionError(f"closed after {len(answers)} answers: {data!r}")
        data += part
    return answers


def begun(port: int, body: bytes = b"{") -> socket.socket:
    """A connection on which a request is under way: a part of its body has been sent, and the server has seen it."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    fields = b"Host: localhost\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"
    sock.sendall(b"POST /objects HTTP/1.1\r\n" + fields)
    assert sock.recv(25).endswith(b"100 Continue\r\n\r\n")
    sock.sendall(body)
    return sock


def arrived(server: Running, data: bytes) -> socket.socket:
    """A connection whose first bytes are there when the server sees it: it is waited for by nobody, and times run."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client_side = socket.create_connection(listener.getsockname(), PATIENCE)
        client_side.sendall(data)
        server.http.process_request(*listener.accept())
    return client_side


def statuses(data: bytes) -> list[int]:
    """The status of every answer in `data`."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


class ServingCase(unittest.TestCase):
    """A server for the whole class, and one request on a new connection."""

    context: ClassVar[contextlib.AbstractContextManager[Running]]
    server: ClassVar[Running]

    @classmethod
    def setUpClass(cls) -> None:
        cls.context = running_server()
        cls.server = cls.context.__enter__()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.context.__exit__(None, None, None)

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.server.port), PATIENCE)
        self.addCleanup(sock.close)
        return sock

    def refused(self, request: bytes, status: int, code: str) -> dict[str, Any]:
        """Assert that `request` gets exactly one answer, with `status` and `code`, and a closed connection."""
        data = exchange(self.server.port, request)
        self.assertEqual(statuses(data), [status], data)
        head, _, body = data.partition(b"\r\n\r\n")
        self.assertIn(b"\r\nConnection: close", head)
        error: dict[str, Any] = json.loads(body)["error"]
        self.assertEqual((error["code"], error["status"]), (code, status))
        return error


class RequestHeads(ServingCase):
    """What a request head must be."""

    def test_two_requests_in_one_packet_are_answered_in_order(self) -> None:
        sock = self.connect()
        sock.sendall(GET_HEALTH + b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual([answer[0] for answer in read_answers(sock, 2)], [200, 404])

    def test_a_request_that_arrives_byte_by_byte_is_answered(self) -> None:
        sock = self.connect()
        for index in range(len(GET_HEALTH)):
            sock.sendall(GET_HEALTH[index : index + 1])
        self.assertEqual(read_answers(sock, 1)[0][0], 200)

    def test_empty_lines_before_a_request_are_ignored(self) -> None:
        sock = self.connect()
        for before in (b"\r\n", b"\r\n" * 50_000):
            sock.sendall(before + GET_HEALTH)
            self.assertEqual(read_answers(sock, 1)[0][0], 200)
        for byte in b"\r\n\r\n" + GET_HEALTH:
            sock.sendall(bytes([byte]))
        self.assertEqual(read_answers(sock, 1)[0][0], 200)
        self.refused(b"\r\n\n" + GET_HEALTH, 400, "bad_request")

    def test_a_request_without_host_is_400(self) -> None:
        self.refused(b"GET /health HTTP/1.1\r\n\r\n", 400, "bad_request")

    def test_two_hosts_are_400(self) -> None:
        self.refused(b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400, "bad_request")

    def test_an_http_1_0_request_needs_no_host_and_closes(self) -> None:
        data = exchange(self.server.port, b"GET /health HTTP/1.0\r\n\r\n")
        self.assertEqual(statuses(data), [200])
        self.assertIn(b"\r\nConnection: close\r\n", data)

    def test_http_1_0_keeps_the_connection_when_asked_to(self) -> None:
        sock = self.connect()
        sock.sendall(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertEqual(read_answers(sock, 1)[0][1]["connection"], "keep-alive")
        sock.sendall(GET_HEALTH)
        self.assertEqual(read_answers(sock, 1)[0][0], 200)

    def test_connection_close_is_honoured(self) -> None:
        data = exchange(
            self.server.port, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: Close\r\n\r\n" + GET_HEALTH
        )
        self.assertEqual(statuses(data), [200])

    def test_another_major_version_is_505(self) -> None:
        self.refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version_not_supported")

    def test_what_holds_for_the_same_fields_before_need_not_hold_now(self) -> None:
        """A connection remembers where its last fields led: not for another version, and not for another target."""
        old = b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        self.assertEqual(statuses(exchange(self.server.port, old + old.replace(b"1.0", b"1.1"))), [200, 400])
        here = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        there = here.replace(b"/health", b"http://other.example/health")
        data = exchange(self.server.port, here + there + here + there.replace(b"other.example", b"localhost") + here)
        self.assertEqual(statuses(data), [200, 421])
        data = exchange(self.server.port, here + here.replace(b"/health", b"health"))
        self.assertEqual(statuses(data), [200, 400])

    def test_the_authority_of_an_absolute_target_replaces_host(self) -> None:
        sock = self.connect()
        sock.sendall(b"GET http://localhost/health HTTP/1.1\r\nHost: example.org\r\n\r\n")
        self.assertEqual(read_answers(sock, 1)[0][0], 200)

    def test_a_malformed_head_is_400(self) -> None:
        for garbage in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"\x00" * 100 + b"\r\n\r\n",
            b"GET /health\r\n\r\n",
            b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET health HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /health#top HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /h\xe9alth HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /health HTTP/1.1\nHost: x\n\n",
            b"GET /health HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\n folded: y\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: x y\r\n\r\n",
            b"GET http:///health HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET http://user@x/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ):
            with self.subTest(garbage=garbage):
                self.refused(garbage, 400, "bad_request")

    def test_a_request_line_over_8_kib_is_414(self) -> None:
        self.refused(b"GET /" + b"a" * 8200 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "uri_too_long")
        self.refused(b"GET /" + b"a" * 20000, 414, "uri_too_long")

    def test_headers_over_32_kib_are_431(self) -> None:
        self.refused(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40960 + b"\r\n\r\n", 431, "headers_too_large")

    def test_more_than_100_fields_are_431(self) -> None:
        fields = b"".join(b"X-%d: y\r\n" % index for index in range(100))
        self.refused(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n", 431, "headers_too_large")
        sock = self.connect()
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + fields[: fields.rfind(b"X-")] + b"\r\n")
        self.assertEqual(read_answers(sock, 1)[0][0], 200)


class Bodies(ServingCase):
    """Where a body ends, and what happens to one that is refused."""

    def post(self, framing: bytes, body: bytes = b"") -> bytes:
        return (
            b"POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + framing
            + b"\r\n\r\n"
            + body
        )

    def test_a_bad_content_length_is_400_and_closes(self) -> None:
        for length in (b"-1", b"abc", b"+5", b"5 5", b"5, 5", b"0x5", b"", b"9" * 30, "٥".encode()):
            with self.subTest(length=length):
                self.refused(self.post(b"Content-Length: " + length, b"{}") + GET_HEALTH, 400, "bad_request")

    def test_content_length_with_chunked_is_400_and_closes(self) -> None:
        framing = b"Content-Length: 5\r\nTransfer-Encoding: chunked"
        self.refused(self.post(framing, b"0\r\n\r\n") + GET_HEALTH, 400, "bad_request")

    def test_two_content_lengths_are_400_and_close(self) -> None:
        self.refused(self.post(b"Content-Length: 2\r\nContent-Length: 2", b"{}") + GET_HEALTH, 400, "bad_request")

    def test_another_transfer_coding_is_501_and_closes(self) -> None:
        self.refused(self.post(b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n") + GET_HEALTH, 501, "not_implemented")

    def test_a_chunked_body_is_read(self) -> None:
        sock = self.connect()
        chunks = b'14;x="y"\r\n{"namespace":"ns","c\r\n0E\r\nontent":{"x":1\r\n2\r\n}}\r\n0\r\nTrailer: t\r\n\r\n'
        sock.sendall(self.post(b"Transfer-Encoding: Chunked", chunks) + GET_HEALTH)
        self.assertEqual([answer[0] for answer in read_answers(sock, 2)], [201, 200])

    def test_bad_chunks_are_400_and_close(self) -> None:
        for chunks in (
            b"x\r\n",
            b"2\r\n{}0\r\n\r\n",
            b"-2\r\n{}\r\n",
            b"2\n{}\r\n0\r\n\r\n",
            b"1" * 5000,
            b"\r\n{}\r\n",
            b"2;" + b"x" * 1100 + b"\r\n{}\r\n0\r\n\r\n",
            b"0\r\n" + b"T: u\r\n" * 2000 + b"\r\n",
        ):
            with self.subTest(chunks=chunks):
                self.refused(self.post(b"Transfer-Encoding: chunked", chunks) + GET_HEALTH, 400, "bad_request")

    def test_chunks_in_http_1_0_are_400(self) -> None:
        chunks = b'1f\r\n{"namespace":"ns","content":{}}\r\n0\r\n\r\n'
        request = self.post(b"Transfer-Encoding: chunked", chunks)
        self.assertEqual(statuses(exchange(self.server.port, request)), [201])
        self.refused(request.replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "bad_request")

    def test_a_6_mib_body_is_413_before_it_is_read(self) -> None:
        sock = self.connect()
        sock.sendall(self.post(b"Content-Length: %d" % (6 << 20)))
        self.assertEqual(read_answers(sock, 1)[0][0], 413)

    def test_a_client_that_sends_6_mib_anyway_reads_the_413(self) -> None:
        self.refused(self.post(b"Content-Length: %d" % (6 << 20), b" " * (6 << 20)), 413, "too_large")

    def test_a_6_mib_chunked_body_is_413(self) -> None:
        chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        self.refused(self.post(b"Transfer-Encoding: chunked", chunk * 6), 413, "too_large")

    def test_100_continue_is_sent_before_the_body_and_not_for_one_too_large(self) -> None:
        sock = self.connect()
        sock.sendall(self.post(b"Expect: 100-continue\r\nContent-Length: 2"))
        self.assertEqual(sock.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
        sock.sendall(b"{}")
        self.assertEqual(read_answers(sock, 1)[0][0], 400)
        self.refused(self.post(b"Expect: 100-continue\r\nContent-Length: 9999999"), 413, "too_large")
        self.refused(self.post(b"Expect: a miracle\r\nContent-Length: 2", b"{}"), 417, "expectation_failed")

    def test_the_body_for_an_unknown_path_is_not_read_as_a_request(self) -> None:
        sock = self.connect()
        body = b"GET /objects HTTP/1.1\r\nHost: localhost\r\n\r\n"
        sock.sendall(
            b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            + GET_HEALTH
        )
        self.assertEqual([(answer[0], answer[2][:1]) for answer in read_answers(sock, 2)], [(404, b"{"), (200, b"{")])

    def test_an_array_100_000_deep_is_400(self) -> None:
        sock = self.connect()
        body = b"[" * 100_000 + b"]" * 100_000
        sock.sendall(self.post(b"Content-Length: %d" % len(body), body) + GET_HEALTH)
        self.assertEqual([answer[0] for answer in read_answers(sock, 2)], [400, 200])

    def test_a_client_that_disconnects_during_its_body_affects_no_other(self) -> None:
        sock = self.connect()
        sock.sendall(self.post(b"Content-Length: 1000", b'{"names'))
        sock.close()
        self.assertEqual(statuses(exchange(self.server.port, GET_HEALTH)), [200])
        self.assertEqual(self.server.log, [])


class Methods(ServingCase):
    """What follows from the route table."""

    def test_head_has_the_headers_of_get_and_no_body(self) -> None:
        sock = self.connect()
        sock.sendall(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET_HEALTH)
        data = b""
        while data.count(b"\r\n\r\n") < 2 or not data.endswith(b"}"):
            data += sock.recv(65536)
        head, get = data.split(b"\r\n\r\n", 1)
        self.assertIn(b"Content-Length: 15", head)
        self.assertTrue(get.startswith(b"HTTP/1.1 200 OK"), get)

    def test_options_names_the_methods(self) -> None:
        with Client(self.server.port) as client:
            answer = client.request("OPTIONS", "/objects")
        self.assertEqual((answer.status, answer.headers["allow"]), (204, "GET, POST, HEAD, OPTIONS"))
        self.assertNotIn("access-control-allow-origin", answer.headers)

    def test_another_method_is_405_with_allow(self) -> None:
        with Client(self.server.port) as client:
            answer = client.request("PATCH", "/objects")
        self.assertEqual((answer.status, answer.json["error"]["code"]), (405, "method_not_allowed"))
        self.assertEqual(answer.headers["allow"], "GET, POST, HEAD, OPTIONS")

    def test_every_answer_has_a_date(self) -> None:
        with Client(self.server.port) as client:
            answer = client.request("GET", "/health")
        self.assertIn(answer.headers["date"], [http_date(int(time.time()) - ago) for ago in range(3)])


class Load(unittest.TestCase):
    """Many clients, and slow ones: none keeps another from being served."""

    def test_a_connection_over_the_limit_gets_503_until_a_request_is_answered(self) -> None:
        with running_server(max_connections=2) as server, contextlib.ExitStack() as held:
            for _ in range(2):
                held.enter_context(begun(server.port))
            self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [503])
            held.close()
            eventually(lambda: statuses(exchange(server.port, GET_HEALTH)) == [200])

    def test_128_connections_wait_for_a_server_that_is_busy(self) -> None:
        parts = build({"OMP_SERVER_PORT": "0"})  # listens, and accepts nobody
        self.addCleanup(parts.store.close)
        self.addCleanup(parts.http.server_close)
        with contextlib.ExitStack() as waiting:
            for _ in range(128):
                waiting.enter_context(socket.create_connection(("127.0.0.1", parts.http.server_port), PATIENCE))

    def test_without_threads_the_answer_is_503_and_the_server_goes_on(self) -> None:
        with running_server() as server:
            no_more = RuntimeError("can't start new thread")
            with unittest.mock.patch.object(threading.Thread, "start", side_effect=no_more):
                self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [503])
            self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [200])

    def test_without_descriptors_the_server_retries_at_intervals(self) -> None:
        with running_server() as server:
            no_more = OSError(errno.EMFILE, "Too many open files")
            with unittest.mock.patch.object(TCPServer, "get_request", side_effect=no_more) as accept:
                waiting = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
                self.addCleanup(waiting.close)
                began = time.monotonic()
                eventually(lambda: accept.call_count >= 5)
                calls, seconds = accept.call_count, time.monotonic() - began
            self.assertLessEqual(calls, 5 + 2 * seconds / _EXHAUSTED_SECONDS)
            waiting.sendall(GET_HEALTH)
            self.assertEqual(read_answers(waiting, 1)[0][0], 200)

    def test_200_half_open_connections_leave_others_served(self) -> None:
        with running_server() as server:
            held = [socket.create_connection(("127.0.0.1", server.port), PATIENCE) for _ in range(200)]
            for sock in held:
                sock.sendall(b"POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Le")
            self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [200])
            for sock in held:
                sock.close()

    def test_a_request_that_does_not_arrive_in_time_is_408(self) -> None:
        with running_server(request_seconds=0.4) as server:
            for part in (b"GET /health HT", b"POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"):
                with arrived(server, part) as sock:
                    self.assertEqual(read_answers(sock, 1)[0][0], 408)

    def test_sending_slowly_does_not_extend_the_time(self) -> None:
        def answered() -> bool:
            sock.sendall(b"x")
            return bool(select.select([sock], [], [], 0.1)[0])

        with running_server(request_seconds=0.6) as server, arrived(server, b"GET /health HTTP/1.1\r\nX: ") as sock:
            eventually(answered)
            self.assertEqual(read_answers(sock, 1)[0][0], 408)

    def test_every_request_and_every_pause_may_take_the_whole_time(self) -> None:
        ahead = 0.0
        clock = unittest.mock.Mock(wraps=time)
        clock.monotonic = lambda: time.monotonic() + ahead  # of the server: its seconds pass when the test says so

        def waits(seconds: float | None) -> bool:
            """Whether the server waits so long for what comes next, a little less since the clock goes on."""
            left = connection._socket.gettimeout()
            return left is seconds if left is None or seconds is None else seconds - 100 < left <= seconds

        with (
            unittest.mock.patch("omp.web.connection.time", clock),
            running_server(request_seconds=1000) as server,
            socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock,
        ):
            eventually(lambda: server.http._connections)
            (connection,) = server.http._connections
            for _ in range(2):  # the first request leaves less of its time than the pause after it takes
                for part, left in ((GET_HEALTH[:5], 1000), (GET_HEALTH[5:9], 550)):
                    sock.sendall(part)
                    eventually(lambda left=left: waits(left))  # type: ignore[misc]
                    ahead += 450
                sock.sendall(GET_HEALTH[9:])
                self.assertEqual(read_answers(sock, 1)[0][0], 200)
                eventually(lambda: connection.unused_since is not None and waits(connection._timeout))
                ahead += 900

    def test_a_client_that_does_not_read_its_answer_is_disconnected(self) -> None:
        with running_server(max_connections=1) as server:
            with Client(server.port) as client:
                made = client.request("POST", "/objects", {"namespace": "ns", "content": {"fill": "x" * 5_000_000}})
            get = f"GET {made.headers['location']} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            server.http.request_seconds = 0.4

            def begins() -> bool:  # 503 until the server has noticed that the client has left
                sock = socket.socket()
                self.addCleanup(sock.close)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.connect(("127.0.0.1", server.port))
                sock.sendall(get)
                return sock.recv(12)[9:] == b"200"

            eventually(begins)
            eventually(lambda: statuses(exchange(server.port, GET_HEALTH)) == [200])  # 503 while the place is taken

    def test_an_idle_connection_is_closed_without_an_answer(self) -> None:
        with (
            running_server(request_seconds=0.3) as server,
            socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock,
        ):
            self.assertEqual(sock.recv(100), b"")


class Stopping(unittest.TestCase):
    """The orderly stop: what is under way is finished, what is idle is closed."""

    def unused_since(self, server: Running) -> list[float | None]:
        """Of each connection, since when no request has been under way; None while one is."""
        return [connection.unused_since for connection in server.http._connections]

    def test_a_request_that_takes_too_long_is_cut_off_and_reported(self) -> None:
        with running_server() as server, socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
            sock.sendall(
                b"POST /objects HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
            )
            self.assertIn(b"100 Continue", sock.recv(100))
            self.assertFalse(server.parts.stop(0.1))

    def test_a_request_whose_body_is_still_arriving_is_finished(self) -> None:
        body = b'{"namespace":"ns","content":{}}'
        with running_server() as server:
            idle = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
            self.addCleanup(idle.close)
            idle.sendall(GET_HEALTH)
            read_answers(idle, 1)
            eventually(lambda: None not in self.unused_since(server))
            busy = socket.create_connection(("127.0.0.1", server.port), PATIENCE)
            self.addCleanup(busy.close)
            busy.sendall(
                b"POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body[:5])
            )
            eventually(lambda: None in self.unused_since(server))
            stopped: list[bool] = []
            stopping = threading.Thread(target=lambda: stopped.append(server.parts.http.stop(PATIENCE)))
            stopping.start()
            self.assertEqual(idle.recv(100), b"")
            busy.sendall(body[5:])
            status, headers, _ = read_answers(busy, 1)[0]
            self.assertEqual((status, headers["connection"]), (201, "close"))
            stopping.join()
            self.assertEqual(stopped, [True])

    def test_a_request_that_arrived_before_the_stop_gets_its_whole_answer(self) -> None:
        with running_server() as server, socket.create_server(("127.0.0.1", 0)) as listener:
            body = json.dumps({"namespace": "ns", "content": {"fill": "x" * 40_000}}).encode()
            with Client(server.port) as client:
                path = client.request("POST", "/objects", body=body).headers["location"]
            with socket.socket() as client_side:
                client_side.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client_side.connect(listener.getsockname())
                client_side.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                server_side, address = listener.accept()
                server_side.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # one send cannot take the answer
                server.http.stopping = True
                server.http.process_request(server_side, address)
                time.sleep(0.1)
                (answer,) = read_answers(client_side, 1)
        self.assertEqual((answer[0], answer[1]["connection"]), (200, "close"))


def _boom(request: Request, state: object) -> Response:
    raise ZeroDivisionError("a secret detail")


def _broken_stream() -> Iterator[bytes]:
    yield b"one"
    raise ZeroDivisionError("a secret detail")


_STREAM_CLOSED = threading.Event()


def _waiting_stream() -> Iterator[bytes]:
    try:
        yield b"here"
        while True:
            time.sleep(0.01)
            yield b""
    finally:
        _STREAM_CLOSED.set()


def _echo(request: Request, state: object) -> Response:
    return json_response({**request.params, "query": request.valid_query()})


ODD_MOUNT = Mount(
    "odd",
    "1",
    "Odd",
    (
        Route("GET", "/odd/boom", _boom, "Fails", {200: "never"}),
        Route("GET", "/odd/split", lambda r, s: Response(200, headers=[("X", "a\nb")]), "Splits", {200: "never"}),
        Route("GET", "/odd/return", lambda r, s: Response(200, headers=[("X", "a\rb")]), "Splits", {200: "never"}),
        Route(
            "GET",
            "/odd/stream",
            lambda r, s: Response(200, stream=iter([b"one", b"", b"two"])),
            "Streams",
            {200: "two"},
        ),
        Route("GET", "/odd/waiting", lambda r, s: Response(200, stream=_waiting_stream()), "Waits", {200: "here"}),
        Route("GET", "/odd/broken", lambda r, s: Response(200, stream=_broken_stream()), "Breaks", {200: "one"}),
        Route("GET", "/odd/large", lambda r, s: Response(200, b"x" * 3_000_000), "Large", {200: "3 MB"}),
        Route("GET", "/odd/of/{a}/{b}", _echo, "Echoes", {200: "a"}, query={"n": {"type": "integer", "minimum": 1}}),
    ),
    None,
    owns=("/odd",),
    cors=CORS_ANY_ORIGIN,
)


class Handlers(unittest.TestCase):
    """What the server does with what handlers return and raise."""

    context: ClassVar[contextlib.AbstractContextManager[Running]]
    server: ClassVar[Running]

    @classmethod
    def setUpClass(cls) -> None:
        cls.context = running_server()
        cls.server = cls.context.__enter__()
        application = cls.server.parts.application
        cls.server.http.application = type(application)(
            [*application.mounts, ODD_MOUNT], cls.server.log.append, 5 << 20
        )

    @classmethod
    def tearDownClass(cls) -> None:
        cls.context.__exit__(None, None, None)

    def get(self, path: str) -> Any:
        with Client(self.server.port) as client:
            return client.request("GET", path)

    def test_an_exception_is_an_opaque_500_with_the_id_of_its_line_in_the_log(self) -> None:
        for path in ("/odd/boom", "/odd/split", "/odd/return"):
            del self.server.log[:]
            answer = self.get(path)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (500, "internal_error"))
            self.assertNotRegex(answer.body, rb"secret|Traceback|\.py")
            (line,) = self.server.log
            self.assertIn(line.split()[1], answer.json["error"]["message"])
            self.assertNotIn("\n", line)

    def test_a_stream_is_chunked(self) -> None:
        answer = self.get("/odd/stream")
        self.assertEqual((answer.headers["transfer-encoding"], answer.body), ("chunked", b"onetwo"))
        self.assertEqual(answer.headers["x-accel-buffering"], "no")
        self.assertNotIn("x-accel-buffering", self.get("/health").headers)

    def test_a_stream_to_http_1_0_ends_with_the_connection(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port), PATIENCE) as sock:
            sock.sendall(b"GET /odd/stream HTTP/1.0\r\n\r\n")
            data = b"".join(iter(lambda: sock.recv(1000), b""))
        self.assertTrue(data.endswith(b"\r\n\r\nonetwo"), data)

    def test_a_stream_that_fails_has_no_last_chunk(self) -> None:
        data = exchange(self.server.port, b"GET /odd/broken HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET_HEALTH)
        self.assertTrue(data.endswith(b"3\r\none\r\n"), data)

    def test_a_stream_ends_when_its_reader_leaves(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port), PATIENCE) as sock:
            sock.sendall(b"GET /odd/waiting HTTP/1.1\r\nHost: localhost\r\n\r\n")
            data = b""
            while b"here\r\n" not in data:
                data += sock.recv(1000)
        self.assertTrue(_STREAM_CLOSED.wait(PATIENCE))

    def test_a_query_that_is_not_utf_8_is_400(self) -> None:
        for query in ("n=1&x=%FF", "%FF=1", "x=%C3"):
            self.assertEqual(self.get(f"/odd/of/a/b?{query}").status, 400)

    def test_a_large_answer_arrives_whole(self) -> None:
        self.assertEqual(len(self.get("/odd/large").body), 3_000_000)

    def test_segments_are_split_before_they_are_decoded(self) -> None:
        answer = self.get("/odd/of/a%2Fb/%F0%9F%98%80%00?n=5")
        self.assertEqual(answer.json, {"a": "a/b", "b": "\U0001f600\0", "query": {"n": 5}})
        self.assertEqual(self.get("/odd/of/a/").status, 404)
        self.assertEqual(self.get("/odd/of/a/%FF").status, 400)

    def test_query_integers_are_decimal_digits(self) -> None:
        for text in ("0", "-1", "+5", "5.0", "1e2", "%D9%A5", "", "5%20", "9" * 50):
            with self.subTest(text=text):
                self.assertEqual(self.get(f"/odd/of/a/b?n={text}").status, 400)
        self.assertEqual(self.get("/odd/of/a/b?n=1&n=2").status, 400)

    def test_other_origins_may_call_if_the_protocol_allows_it(self) -> None:
        with Client(self.server.port) as client:
            for method, path in (("GET", "/odd/stream"), ("GET", "/odd/boom"), ("PUT", "/odd/boom"), ("GET", "/odd/x")):
                answer = client.request(method, path)
                self.assertEqual(answer.headers["access-control-allow-origin"], "*", path)
            preflight = client.request("OPTIONS", "/odd/boom", headers={"Access-Control-Request-Method": "GET"})
        self.assertEqual(preflight.status, 204)
        self.assertIn("GET", preflight.headers["access-control-allow-methods"])


class Chunks(unittest.TestCase):
    """The chunked decoder, fed in pieces of every size."""

    def test_any_split_gives_the_same_body(self) -> None:
        data = b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nT: u\r\n\r\nREST"
        for size in range(1, len(data)):
            decoder = ChunkedBody(100)
            for start in range(0, len(data), size):
                if decoder.done:
                    break
                decoder.feed(data[start : start + size])
            self.assertEqual(bytes(decoder.body), b"hello world", size)
            self.assertTrue(b"REST".startswith(decoder.rest), size)

    def refused_after(self, pattern: bytes, limit: int = 1 << 30) -> tuple[int, int]:
        """(status, bytes of content that were taken) of a body of 2 MB that repeats `pattern`."""
        decoder = ChunkedBody(limit)
        with self.assertRaises(ApiError) as refused:
            decoder.feed(pattern * (2_000_000 // len(pattern)))
        return refused.exception.status, len(decoder.body)

    def test_more_than_ten_thousand_chunks_of_any_size_are_taken(self) -> None:
        decoder = ChunkedBody(1 << 20)
        decoder.feed(b"1\r\nx\r\n2\r\nyz\r\n" * 6000 + b"0\r\n\r\n")
        self.assertEqual((decoder.done, bytes(decoder.body)), (True, b"xyz" * 6000))

    def test_more_framing_than_content_is_worth_is_refused(self) -> None:
        status, taken = self.refused_after(b"1\r\nx\r\n")
        self.assertEqual((status, taken * 5 // (FREE_FRAMING + taken // CONTENT_A_FRAMING)), (400, 0))
        self.assertGreater(taken, 13_000)
        extended = b"1;%b\r\nx\r\n" % (b"e" * 1000)
        self.assertEqual(self.refused_after(extended), (400, FREE_FRAMING // 1006))
        self.assertEqual(self.refused_after(b"3\r\n\r\n1\r\n1\r\n2\r\n")[0], 400)

    def test_chunks_of_some_hundred_bytes_are_taken_however_many(self) -> None:
        decoder = ChunkedBody(1 << 23)
        decoder.feed(b"100\r\n%b\r\n" % (b"x" * 256) * 20_000 + b"0\r\n\r\n")
        self.assertEqual((decoder.done, len(decoder.body)), (True, 256 * 20_000))

    def test_a_body_over_its_limit_is_413_before_its_framing_counts(self) -> None:
        self.assertEqual(self.refused_after(b"4\r\nfour\r\n", 100), (413, 100))


if __name__ == "__main__":
    unittest.main()
