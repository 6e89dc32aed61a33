"""What strangers may take of a server (omp §1.6): connections, streams, bodies under way, work nobody waits for."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import unittest
import unittest.mock
from collections.abc import Iterator
from typing import Any

from omp.rules.json_text import ARRAY_WEIGHT, FREE_WEIGHT, OBJECT_WEIGHT
from omp.tests.harness import PATIENCE, Client, Running, eventually, exchange, running_server
from omp.tests.web.test_serving import GET_HEALTH, begun, read_answers, statuses
from omp.web import capacity
from omp.web.capacity import LOOPBACK, Share, network_of
from omp.web.errors import ApiError
from omp.web.messages import Request, Response, json_response
from omp.web.routes import Mount, Route

STRANGER = "192.0.2.1"


@contextlib.contextmanager
def seen_as(network: str) -> Iterator[None]:
    """Every client of this test comes from `network` instead of loopback."""
    with unittest.mock.patch("omp.web.addressing.network_of", lambda client: network):
        yield


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self._opened = contextlib.ExitStack()

    @contextlib.contextmanager
    def serving(self, **options: Any) -> Iterator[Running]:
        """A server; what the test opened is closed before it stops, so that it need not wait for that."""
        with odd_server(**options) as server, self._opened:
            yield server

    def connect(self, server: Running, data: bytes = b"") -> socket.socket:
        sock = self._opened.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
        sock.sendall(data)
        return sock

    def begin(self, server: Running, body: bytes = b"{") -> socket.socket:
        return self._opened.enter_context(begun(server.port, body))

    def until_unused(self, server: Running, count: int) -> None:
        """Wait until so many connections are known to have no request: an answer arrives a moment before that."""
        eventually(lambda: sum(connection.unused_since is not None for connection in server.http._connections) == count)


class Connections(Case):
    """A new connection takes the place of one that does nothing."""

    def test_520_idle_connections_leave_others_served(self) -> None:
        with self.serving() as server:
            idle = [self.connect(server) for _ in range(520)]
            self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [200])
            self.assertEqual(idle[0].recv(1), b"")

    def test_the_one_without_a_request_for_the_longest_time_gives_way(self) -> None:
        with self.serving(max_connections=3) as server:
            older, newer = self.connect(server, GET_HEALTH), self.connect(server, GET_HEALTH)
            for sock in (older, newer):
                read_answers(sock, 1)
            busy = self.begin(server)
            self.until_unused(server, 2)
            older.sendall(GET_HEALTH)  # and now it is the younger one
            read_answers(older, 1)
            self.until_unused(server, 2)
            self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [200])
            self.assertEqual(newer.recv(1), b"")
            older.sendall(GET_HEALTH)
            self.assertEqual(read_answers(older, 1)[0][0], 200)
            busy.sendall(b" " * 999_999)
            self.assertEqual(read_answers(busy, 1)[0][0], 400)

    def test_half_a_head_keeps_no_place(self) -> None:
        with self.serving(max_connections=4) as server:
            for part in (
                b"GET",
                b"POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Le",
                GET_HEALTH + b"GET /he",
                b"\r\n",
            ):
                self.connect(server, part)
            for _ in range(8):
                self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [200])

    def test_a_refused_request_that_is_drained_keeps_no_place(self) -> None:
        with self.serving(max_connections=2) as server:
            for _ in range(2):
                sock = self.connect(
                    server, b"POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"
                )
                self.assertEqual(read_answers(sock, 1)[0][0], 413)
            self.until_unused(server, 2)
            self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [200])

    def test_a_request_that_arrives_while_its_connection_gives_way_is_answered(self) -> None:
        with self.serving(max_connections=1) as server:
            sock = self.connect(server, GET_HEALTH)
            read_answers(sock, 1)
            (connection,) = server.http._connections
            with unittest.mock.patch.object(connection, "_wake"):
                connection.give_way()
                sock.sendall(GET_HEALTH)
                status, headers, _ = read_answers(sock, 1)[0]
            self.assertEqual((status, headers["connection"]), (200, "close"))

    def test_one_network_has_at_most_half(self) -> None:
        with self.serving(max_connections=4) as server:
            with seen_as(STRANGER):
                first = self.connect(server, GET_HEALTH)
                read_answers(first, 1)
                busy = self.begin(server)
                self.until_unused(server, 1)
                # A third one takes the place of the first, not one of the two that are free.
                self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [200])
                self.assertEqual(first.recv(1), b"")
                eventually(lambda: len(server.http._connections) == 1)
                another = self.begin(server)
                self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [503])
            self.assertEqual(statuses(exchange(server.port, GET_HEALTH)), [200])
            busy.close()
            another.close()

    def test_places_are_counted_right_after_many_gave_way(self) -> None:
        with self.serving(max_connections=4) as server:
            for _ in range(100):
                self.connect(server)
            # Where threads are slow to end, some of the hundred are turned away, and so may this one be.
            eventually(lambda: statuses(exchange(server.port, GET_HEALTH)) == [200])
            eventually(lambda: (server.http._leaving, len(server.http._connections)) == (0, 3))
            self.assertEqual(server.http.shares.connections._taken, 3)


def _endless() -> Iterator[bytes]:
    yield b"here"
    while True:
        time.sleep(0.01)
        yield b""


class Slow:
    """A handler that waits to be told to go on, and then asks whether anybody waits for it."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.found: list[bool] = []

    def __call__(self, request: Request, state: object) -> Response:
        self.begun.set()
        self.go_on.wait(PATIENCE)
        self.found.append(request.abandoned())
        request.require_client()
        return json_response({})


@contextlib.contextmanager
def odd_server(slow: Slow | None = None, check_head: Any = None, **options: Any) -> Iterator[Running]:
    """A server that has routes /odd, too."""
    routes = [
        Route("GET", "/odd/stream", lambda r, s: Response(200, stream=_endless()), "Streams", {200: "here"}),
        Route("POST", "/odd/slow", slow or Slow(), "Waits", {200: "done"}),
    ]
    mount = Mount("odd", "1", "Odd", routes, None, owns=("/odd",), check_head=check_head)
    with running_server(**options) as server:
        application = server.parts.application
        mounts = [*application.mounts, mount]
        server.http.application = type(application)(mounts, server.log.append, 5 << 20, application._addressing)
        yield server


class Streams(Case):
    """Streams stay open as long as their readers like: they have a share of their own."""

    GET = b"GET /odd/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"

    def open(self, server: Running) -> tuple[int, socket.socket, bytes]:
        sock = self.connect(server, self.GET)
        data = b""
        while not data.endswith((b"here\r\n", b"}")):
            data += sock.recv(1000)
        return int(data[9:12]), sock, data

    def test_at_most_a_quarter_of_the_connections_are_streams(self) -> None:
        with self.serving(max_connections=12) as server:
            opened = [self.open(server) for _ in range(4)]
            self.assertEqual([status for status, _, _ in opened], [200, 200, 200, 503])
            refused = opened[-1]
            self.assertIn(b"\r\nRetry-After: ", refused[2])
            refused[1].sendall(GET_HEALTH)  # and the connection goes on
            self.assertEqual(read_answers(refused[1], 1)[0][0], 200)
            opened[0][1].close()
            eventually(lambda: self.open(server)[0] == 200)

    def test_one_network_has_at_most_16(self) -> None:
        with self.serving() as server:
            with seen_as(STRANGER):
                self.assertEqual([self.open(server)[0] for _ in range(17)], [200] * 16 + [503])
            self.assertEqual(self.open(server)[0], 200)

    def test_a_stream_does_not_give_way(self) -> None:
        with self.serving(max_connections=4) as server:
            status, stream, _ = self.open(server)
            for _ in range(20):
                self.connect(server)
            eventually(lambda: statuses(exchange(server.port, GET_HEALTH)) == [200])
            self.assertEqual(status, 200)
            stream.setblocking(False)
            with self.assertRaises(BlockingIOError):
                stream.recv(1)


class Bodies(Case):
    """What bodies may cost before anybody is known to want them."""

    def test_all_bodies_under_way_have_a_bound_together(self) -> None:
        with self.serving() as server:
            share = Share(1_000_000, 1_000_000)
            server.http.shares = server.http.shares._replace(body_bytes=share)
            held = [self.begin(server, b" " * 600_000) for _ in range(2)]
            data = b""
            while b"Retry-After" not in data:
                for sock in held:
                    sock.settimeout(0.05)
                    with contextlib.suppress(TimeoutError):
                        data += sock.recv(1000)
            self.assertEqual(statuses(data), [503])
            # A short body needs nothing of it.
            with Client(server.port) as client:
                self.assertEqual(client.request("POST", "/objects", {"namespace": "n", "content": {}}).status, 201)
            for sock in held:
                sock.close()
            eventually(lambda: share.take(LOOPBACK, 1_000_000))

    def test_a_body_that_is_answered_gives_back_what_it_took(self) -> None:
        with self.serving() as server:
            share = server.http.shares.body_bytes
            body = json.dumps({"namespace": "n", "content": {"x": "y" * 2_000_000}}).encode()
            chunked = (
                b"POST /objects HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
            )
            with Client(server.port) as client:
                self.assertEqual(client.request("POST", "/objects", body=body).status, 201)
            self.assertEqual(statuses(exchange(server.port, chunked % (len(body), body))), [201])
            self.assertTrue(share.take(LOOPBACK, share.whole))

    def test_a_body_of_brackets_is_413(self) -> None:
        def answer(content: bytes) -> int:
            with Client(server.port) as client:
                body = b'{"namespace":"n","content":{"c":' + content + b"}}"
                return client.request("POST", "/objects", body=body).status

        around = 2 * OBJECT_WEIGHT + ARRAY_WEIGHT  # what is around the content, with the array in it
        arrays, objects = (FREE_WEIGHT - around) // ARRAY_WEIGHT, (FREE_WEIGHT - around) // OBJECT_WEIGHT
        with self.serving() as server:
            for one, most in ((b"[],", arrays), (b"{},", objects)):
                self.assertEqual(answer(b"[" + one * most + b"0]"), 201)
                self.assertEqual(answer(b"[" + one * (most + 1) + b"0]"), 413)
            # Neither brackets in strings nor those of a body with room between them weigh too much.
            self.assertEqual(answer(b'"' + b"[" * (1 << 20) + b'\\"{[[["'), 201)
            for sparse in (b"[12,345],", b"[1,2,34],", b'{"id":1,"n":23456},'):
                self.assertEqual(answer(b"[" + sparse * 100_000 + b"0]"), 201)

    def test_a_head_that_is_enough_to_refuse_is_refused_before_the_body(self) -> None:
        def check(request: Request) -> None:
            raise ApiError(403, f"Nobody may {request.method}.")

        with self.serving(check_head=check) as server:
            for framing in (
                b"Content-Length: 4000000",
                b"Transfer-Encoding: chunked",
                b"Expect: 100-continue\r\nContent-Length: 9",
            ):
                sock = self.connect(server, b"POST /odd/slow HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n")
                status, headers, _ = read_answers(sock, 1)[0]
                self.assertEqual((status, headers["connection"]), (403, "close"))

    def test_a_failure_while_the_head_is_checked_is_a_500(self) -> None:
        with self.serving(check_head=lambda request: 1 / 0) as server:
            sock = self.connect(server, b"POST /odd/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
            self.assertEqual(read_answers(sock, 1)[0][0], 500)
            self.assertIn("ZeroDivisionError", server.log[0])

    def test_a_content_coding_is_415_in_the_shape_of_each_protocol(self) -> None:
        shapes = {
            "/objects": "error",
            "/logs": "error",
            "/v1/repos": "code",
            "/auth/register": "detail",
            "/api/v1/config": "detail",
        }
        with self.serving() as server:
            for path, member in shapes.items():
                for coding in ("gzip", "identity, gzip", "GZIP", "br"):
                    with Client(server.port) as client:
                        answer = client.request("POST", path, body=b"\x1f\x8b", headers={"Content-Encoding": coding})
                    self.assertEqual((answer.status, answer.headers["accept-encoding"]), (415, "identity"), path)
                    self.assertIn(member, answer.json)
            with Client(server.port) as client:
                for coding in ("identity", "Identity", ""):
                    made = client.request(
                        "POST", "/objects", {"namespace": "n", "content": {}}, {"Content-Encoding": coding}
                    )
                    self.assertEqual(made.status, 201, coding)


class TrustedProxies(Case):
    """A proxy on another machine that the operator trusts has the shares of one on this machine (omp §1.6)."""

    PROXY = "127.0.0.2"
    EXPECTS = b"POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"

    def setUp(self) -> None:
        super().setUp()
        # No loopback address in this test is one: 127.0.0.1 and 127.0.0.2 are two other machines.
        self.enterContext(unittest.mock.patch("omp.web.addressing.network_of", lambda client: client))

    @contextlib.contextmanager
    def behind(self, **options: Any) -> Iterator[Running]:
        with self.serving(environ={"OMP_TRUSTED_PROXIES": self.PROXY}, **options) as server:
            yield server

    def connect_from(self, server: Running, source: str, data: bytes) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", server.port), PATIENCE, (source, 0))
        self._opened.enter_context(sock).sendall(data)
        return sock

    def test_it_may_have_all_connections_and_others_half_of_them(self) -> None:
        for source, expected in ((self.PROXY, [b"100"] * 4), ("127.0.0.1", [b"100", b"100", b"503"])):
            with self.behind(max_connections=4) as server:
                found = [self.connect_from(server, source, self.EXPECTS).recv(12)[9:12] for _ in expected]
                self.assertEqual(found, expected, source)

    def test_clients_behind_it_have_the_streams_of_one_address_each(self) -> None:
        def status(client: str) -> bytes:
            head = f"GET /odd/stream HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {client}\r\n\r\n"
            return self.connect_from(server, self.PROXY, head.encode()).recv(12)[9:12]

        with self.behind() as server:
            self.assertEqual([status("192.0.2.1") for _ in range(17)], [b"200"] * 16 + [b"503"])
            self.assertEqual(status("192.0.2.2"), b"200")
            self.assertEqual([status(self.PROXY) for _ in range(17)], [b"200"] * 17)

    def test_a_body_counts_for_the_client_behind_it(self) -> None:
        def send(client: str, source: str = self.PROXY) -> socket.socket:
            head = f"POST /objects HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\nX-Forwarded-For: {client}"
            return self.connect_from(server, source, head.encode() + b"\r\n\r\n" + b" " * 400_000)

        with self.behind() as server:
            server.http.shares = server.http.shares._replace(body_bytes=(share := Share(1_200_000, 500_000)))
            send("192.0.2.1")
            eventually(lambda: share._by_network.get("192.0.2.1", 0) > 300_000)
            self.assertEqual(read_answers(send("192.0.2.1"), 1)[0][0], 503)
            send("192.0.2.2")
            eventually(lambda: share._by_network.get("192.0.2.2", 0) > 300_000)
            # Who is not trusted cannot choose whose share it takes.
            send("192.0.2.3", "127.0.0.1")
            eventually(lambda: share._by_network.get("127.0.0.1", 0) > 300_000)
            self.assertNotIn("192.0.2.3", share._by_network)


class BeforeTheBody(Case):
    """Each protocol says who is a stranger from the head alone."""

    def answer(self, server: Running, method: str, path: str, fields: str = "") -> tuple[int, dict[str, str], bytes]:
        host = f"localhost:{server.port}"
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 60000\r\n{fields}\r\n"
        return read_answers(self.connect(server, head.encode()), 1)[0]

    def test_a_stranger_is_refused_before_the_body(self) -> None:
        rows = (
            ("POST", "/v1/repos"),
            ("POST", "/v1/repos/x/pull"),
            ("POST", "/v1/repos/x/push"),
            ("POST", "/v1/repos/x/remove-member"),
            ("POST", "/register"),
            ("POST", "/release"),
            ("POST", "/api/v1/config"),
            ("POST", "/api/v1/batch"),
        )
        with self.serving() as server:
            for method, path in rows:
                for fields in ("", "Authorization: Bearer nonsense\r\n", "Authorization: Basic x\r\n"):
                    with self.subTest(path=path, fields=fields):
                        status, headers, body = self.answer(server, method, path, fields)
                        self.assertEqual((status, headers["connection"]), (401, "close"), body)
                        self.assertEqual(headers["www-authenticate"], "Bearer")

    def test_in_strict_mode_a_head_without_a_signature_is_refused_before_the_body(self) -> None:
        forged = 'Signature-Input: sig1=("@method");created=1;keyid="x"\r\nSignature: sig1=:AAAA:\r\n'
        with self.serving(environ={"OMP_SIG_MODE": "strict"}) as server:
            for path in ("/objects", "/objects/search", "/logs/omp:log:x/missing"):
                self.assertEqual(self.answer(server, "POST", path)[0], 401)
                self.assertIn("content-digest", self.answer(server, "POST", path)[1]["accept-signature"])
                self.assertEqual(self.answer(server, "POST", path, "Signature: x\r\n")[0], 400)
            host = f"localhost:{server.port}"
            sock = self.connect(
                server, f"POST /objects HTTP/1.1\r\nHost: {host}\r\nContent-Length: 60000\r\n{forged}\r\n".encode()
            )
            sock.sendall(b" " * 60000)  # of the right form: only the body shows that it does not verify
            self.assertEqual(read_answers(sock, 1)[0][0], 401)

    def test_without_a_signature_nothing_is_said_about_the_body(self) -> None:
        with running_server({"OMP_SIG_MODE": "strict"}) as server, Client(server.port) as client:
            bodies: tuple[Any, ...] = ({"heads": 1}, {}, [], {"heads": []})
            for body in bodies:
                self.assertEqual(client.request("POST", "/logs/omp:log:x/missing", body).status, 401)

    def test_bodies_that_anybody_may_send_are_short(self) -> None:
        with self.serving() as server:
            for path in ("/api/auth/keypair/challenge", "/api/auth/keypair/token"):
                self.assertEqual(self.answer(server, "POST", path)[0], 413)


class Abandoned(Case):
    """Whether anybody waits for an answer."""

    POST = b"POST /odd/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"

    def found(self, leave: Any) -> tuple[list[bool], bytes]:
        """(Whether the handler found itself abandoned once the client did `leave`, what the client then reads.)"""
        slow = Slow()
        with self.serving(slow=slow) as server:
            sock = self.connect(server, self.POST)
            slow.begun.wait(PATIENCE)
            leave(sock)
            if leave is not _stay:
                time.sleep(0.05)
            slow.go_on.set()
            data = b""
            with contextlib.suppress(OSError):
                data = sock.recv(1000)
            eventually(lambda: slow.found)
        return slow.found, data

    def test_a_client_that_waits_is_answered(self) -> None:
        found, data = self.found(_stay)
        self.assertEqual((found, statuses(data)), ([False], [200]))

    def test_a_client_that_waits_and_has_sent_more_is_answered(self) -> None:
        found, data = self.found(lambda sock: sock.sendall(GET_HEALTH))
        self.assertEqual((found, statuses(data)[:1]), ([False], [200]))

    def test_a_client_that_closed_is_gone(self) -> None:
        self.assertEqual(self.found(socket.socket.close)[0], [True])

    def test_bytes_that_were_sent_before_do_not_hide_that_it_closed(self) -> None:
        def leave(sock: socket.socket) -> None:
            sock.sendall(b"GET /")
            sock.close()

        self.assertEqual(self.found(leave)[0], [True])

    def test_a_client_that_closed_one_side_only_reads_why(self) -> None:
        found, data = self.found(lambda sock: sock.shutdown(socket.SHUT_WR))
        self.assertEqual((found, statuses(data)), ([True], [503]))


def _stay(sock: socket.socket) -> None:
    return None


class Rules(unittest.TestCase):
    """Shares and networks, without a socket."""

    def test_networks(self) -> None:
        for client, network in (
            ("127.0.0.1", LOOPBACK),
            ("127.8.8.8", LOOPBACK),
            ("::1", LOOPBACK),
            ("::ffff:127.0.0.1", LOOPBACK),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("fe80::1%eth0", "fe80::"),
            ("no address", "no address"),
        ):
            self.assertEqual(network_of(client), network, client)

    def test_a_share_is_taken_whole_or_not_at_all(self) -> None:
        share = Share(10, 6)
        self.assertTrue(share.take("a", 6))
        self.assertFalse(share.take("a"))
        self.assertTrue(share.has_all("a"))
        self.assertFalse(share.take("b", 5))
        self.assertTrue(share.take("b", 4))
        self.assertFalse(share.take(LOOPBACK))
        share.give_back("a", 6)
        self.assertTrue(share.take(LOOPBACK, 6))
        self.assertFalse(share.has_all(LOOPBACK))

    def test_a_network_that_has_nothing_is_not_remembered(self) -> None:
        share = Share(10, 6)
        for number in range(1000):
            share.take(str(number))
            share.give_back(str(number))
        self.assertEqual(share._by_network, {})

    def test_the_longest_body_fits_several_times(self) -> None:
        made = capacity.shares(512, 1 << 30)
        self.assertTrue(made.body_bytes.each >= 2 << 30)
        self.assertEqual((made.connections.each, made.streams.whole, made.streams.each), (256, 128, 16))


if __name__ == "__main__":
    unittest.main()
