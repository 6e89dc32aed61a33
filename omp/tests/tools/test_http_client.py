"""The tools as HTTP clients: whatever the server or the network does becomes an answer or one sentence."""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
import threading
import unittest
import warnings
from collections.abc import Callable
from unittest import mock

from omp.tests import TOP
from omp.tests.harness import PATIENCE, answering, raw_server, running_server
from omp.tools import http_client
from omp.tools.http_client import Server, ServerRefused, header_field
from omp.tools.terminal import Failed

SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}


class Addresses(unittest.TestCase):
    def test_the_parts_of_a_base_url_are_those_of_its_requests(self) -> None:
        for url, parts in (
            ("http://127.0.0.1:8787", ("http", "127.0.0.1:8787", "")),
            ("https://example.com/", ("https", "example.com", "")),
            ("https://example.com/omp/", ("https", "example.com", "/omp")),
            ("http://[::1]:8787/a%20b", ("http", "[::1]:8787", "/a%20b")),
            ("HTTP://Example.com", ("http", "Example.com", "")),
        ):
            server = Server(url)
            self.assertEqual((server.scheme, server.authority, server.path), parts)

    def test_a_bad_base_url_is_refused(self) -> None:
        for url in (
            "", "x", "example.com", "example.com:80", "//h", "ftp://h", "http://", "http://:80", "http://h:0", "http://h:x",
            "http://h:99999", "http://[::1", "http://u@h", "http://u:p@h", "http://h?q", "http://h#f", "http://h/a b",
            "http://h/é", "http://é", "http://h\n", "http://h\\x", "http://\udcff",
        ):  # fmt: skip
            with self.subTest(url), self.assertRaisesRegex(Failed, "no base URL of a server, such as http://127"):
                Server(url)


class Requests(unittest.TestCase):
    def sent(self, method: str, url: str, body: bytes = b"", fields: list[tuple[str, str]] | None = None) -> bytes:
        """What a server receives."""
        seen: list[bytes] = []

        def listen() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                data = b""
                while not data.endswith(b"\r\n\r\n" + body):
                    data += connection.recv(65536)
                seen.append(data)
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=listen)
            thread.start()
            Server(url.replace("PORT", str(listener.getsockname()[1]))).send(method, "/x?y=1", body, fields or [])
            thread.join()
        return seen[0]

    def test_the_request_line_and_fields_are_those_given_and_no_others(self) -> None:
        head = self.sent("GET", "http://127.0.0.1:PORT/base/", fields=[("X-A", "caf\xe9")]).split(b"\r\n")
        self.assertEqual(head[0], b"GET /base/x?y=1 HTTP/1.1")
        self.assertRegex(head[1], rb"^Host: 127\.0\.0\.1:\d+$")
        self.assertEqual(head[2:], [b"X-A: caf\xe9", b"", b""])

    def test_a_body_is_sent_with_its_length(self) -> None:
        self.assertIn(b"\r\nContent-Length: 4\r\n\r\nbody", self.sent("POST", "http://127.0.0.1:PORT", b"body"))

    def test_a_bad_target_is_refused(self) -> None:
        for target in ("", "/a b", "/é", "/\n", "/\udcff"):
            with self.subTest(target), self.assertRaisesRegex(Failed, "can be no target"):
                Server("http://127.0.0.1:1").send("GET", target)

    def test_a_bad_header_field_is_refused(self) -> None:
        self.assertEqual(header_field("X-A", "\xe9 \t~"), ("X-A", "\xe9 \t~"))
        for name, value in (("", "a"), ("a b", "a"), ("a:", "a"), ("a", "b\nc"), ("a", "b\r"), ("a", "€"), ("a", "\0")):
            with self.subTest(name=name, value=value), self.assertRaises(Failed):
                header_field(name, value)


class Answers(unittest.TestCase):
    def asked(self, behave: Callable[[socket.socket], None]) -> http_client.Answer:
        with raw_server(behave) as port:
            return Server(f"http://127.0.0.1:{port}", "vault").ask("GET", "/")

    def failure(self, behave: Callable[[socket.socket], None]) -> str:
        with self.assertRaises(Failed) as caught:
            self.asked(behave)
        sentence = str(caught.exception)
        self.assertTrue(sentence.isprintable(), sentence)
        return sentence

    def test_an_answer_is_read_whole_however_it_is_framed(self) -> None:
        for head, body in (
            ("HTTP/1.1 200 OK\nContent-Length: 2", b"{}rest"),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
            ("HTTP/1.0 200 OK", b"{}"),
        ):
            self.assertEqual(self.asked(answering(head, body)).body, b"{}")
        long = b"x" * 300_000
        self.assertEqual(self.asked(answering(f"HTTP/1.1 200 OK\nContent-Length: {len(long)}", long)).body, long)

    def test_fields_are_found_by_lower_case_names(self) -> None:
        self.assertEqual(self.asked(answering("HTTP/1.1 200 OK\nLINK: <a>\nContent-Length: 0")).fields["link"], "<a>")

    def test_an_answer_that_ends_early_is_refused(self) -> None:
        for head, body in (
            ("HTTP/1.1 200 OK\nContent-Length: 5", b"{}"),
            ("HTTP/1.1 200 OK\nContent-Length: 99999999999999999999", b"{}"),
        ):
            self.assertIn("ends early", self.failure(answering(head, body)))
        chunked = answering("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"5\r\n{}")
        self.assertIn("does not keep to HTTP (IncompleteRead)", self.failure(chunked))

    def test_an_answer_that_does_not_end_is_cut_off(self) -> None:
        with mock.patch.object(http_client, "MAX_ANSWER", 1 << 20):
            endless = answering("HTTP/1.0 200 OK", b"x" * (2 << 20))
            self.assertIn("larger than 1 MiB", self.failure(endless))

    def test_an_answer_that_is_not_http_is_reported(self) -> None:
        for head in ("SSH-2.0-OpenSSH_9.6", "HTTP/1.1 abc OK", "HTTP/1.1 200 OK\n" + "a: b\n" * 200):
            self.assertIn("does not keep to HTTP", self.failure(answering(head)))

    def test_a_server_that_does_not_answer_is_reported(self) -> None:
        self.assertIn("cannot be reached", self.failure(lambda connection: None))
        with mock.patch.object(http_client, "TIMEOUT", 0.2):
            waiting = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(waiting.close)
            with self.assertRaisesRegex(Failed, "cannot be reached: timed out"):
                Server(f"http://127.0.0.1:{waiting.getsockname()[1]}").ask("GET", "/")

    def test_a_server_that_is_not_there_is_reported(self) -> None:
        for url, words in (
            ("http://127.0.0.1:1", "cannot be reached: Connection refused"),
            ("http://" + "a" * 70, "its name is no host name"),
            ("http://a..b", "its name is no host name"),
        ):
            with self.assertRaisesRegex(Failed, words):
                Server(url).ask("GET", "/")

    def test_https_to_a_plain_server_is_reported(self) -> None:
        port = self.enterContext(raw_server(answering("HTTP/1.1 200 OK\nContent-Length: 0")))
        with self.assertRaisesRegex(Failed, "cannot be reached: "):
            Server(f"https://127.0.0.1:{port}").ask("GET", "/")

    def test_a_refusal_that_comes_before_the_body_is_read_is_received(self) -> None:
        with running_server({"OMP_MAX_PAYLOAD_MB": "1"}) as server, self.assertRaises(ServerRefused) as caught:
            Server(server.url).ask("POST", "/objects", b"x" * (8 << 20), [("Content-Type", "application/json")])
        self.assertEqual(caught.exception.status, 413)

    def test_an_error_is_shown_whatever_its_shape(self) -> None:
        for value, sentence in (
            ({"detail": "no"}, "The server refused (400): no"),
            ({"error": {"code": "bad", "message": "no"}}, "The server refused (400): no"),
            ({"code": "bad_request", "error": "no"}, "The server refused (bad_request): no"),
            ({"detail": [{"x": 1}]}, "The server refused (400): [{'x': 1}]"),
            ({"detail": "a\x1b[2J\nb\u202e"}, "The server refused (400): a\\x1b[2J\\nb\\u202e"),
            ({"code": "\x1b", "error": "x"}, "The server refused (\\x1b): x"),
            ({"detail": "x" * 9000}, "The server refused (400): " + "x" * http_client.MAX_REASON),
            ({}, "The server refused (400): no reason given"),
            ([], "The server refused (400): no reason given"),
            (None, "The server refused (400): no reason given"),
        ):
            body = json.dumps(value).encode()
            head = f"HTTP/1.1 400 Bad Request\nContent-Length: {len(body)}"
            self.assertEqual(self.failure(answering(head, body)), sentence)
        html = answering("HTTP/1.1 502 Bad Gateway\nContent-Length: 6", b"<html>")
        self.assertEqual(self.failure(html), "The server refused (502): no reason given")

    def test_redirects_are_not_followed(self) -> None:
        head = "HTTP/1.1 302 Found\nLocation: http://127.0.0.1:1/\nContent-Length: 0"
        self.assertIn("refused (302)", self.failure(answering(head)))

    def test_any_status_is_an_answer_to_send(self) -> None:
        with raw_server(answering("HTTP/1.1 418 Teapot\nContent-Length: 5", b"short")) as port:
            self.assertEqual(Server(f"http://127.0.0.1:{port}").send("GET", "/")[::2], (418, b"short"))

    def test_json_that_does_not_fit_the_schema_is_refused(self) -> None:
        server = Server("http://h", "vault")
        self.assertEqual(server.value(http_client.Answer(200, {}, b'{"a": 1}'), SCHEMA), {"a": 1})
        for body, words in (
            (b"<html>", "is no vault: its answer is no JSON"),
            (b"", "is no vault: its answer is no JSON"),
            (b"[" * 100_000, "is no vault: its answer is no JSON"),
            (b'{"a": "1"}', "is no vault: its answer is not what was asked for"),
            (b"[]", "is no vault: its answer is not what was asked for"),
        ):
            with self.subTest(body[:20]), self.assertRaisesRegex(Failed, words):
                server.value(http_client.Answer(200, {}, body), SCHEMA)

    def test_no_connection_is_left_open_whatever_happens(self) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.asked(answering("HTTP/1.1 200 OK\nContent-Length: 0"))
            self.failure(answering("HTTP/1.1 500 Oops\nContent-Length: 0"))
            self.failure(answering("HTTP/1.1 200 OK\nContent-Length: 5", b"{}"))
            self.failure(answering("junk"))
            gc.collect()
        self.assertEqual([str(one.message) for one in caught if one.category is ResourceWarning], [])


class Imports(unittest.TestCase):
    def test_no_tool_imports_http_before_its_first_request(self) -> None:
        program = "import importlib, sys; from omp.tools.options import COMMANDS; "
        program += "[importlib.import_module(COMMANDS[name]) for name in COMMANDS if name != 'bench']; "
        program += "print([name for name in ('http.client', 'ssl') if name in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual((done.stdout, done.stderr), ("[]\n", ""))


if __name__ == "__main__":
    unittest.main()
