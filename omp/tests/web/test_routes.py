"""Every route of every protocol, tried with bad requests, with hostile ones, and as it is documented."""

from __future__ import annotations

import json
import unittest
from typing import Any

from omp.rules.schema import compile_schema
from omp.tests import TOP
from omp.tests.harness import Client, running_server
from omp.web.errors import ErrorStyle, InvalidRequest, Refusal, Refusals
from omp.web.messages import Request, Response
from omp.web.routes import Application, Handler, Mount, Route

_BODIES: tuple[bytes | None, ...] = (
    None,
    b"",
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b"{",
    b"\xff\xfe",
    b'{"a":NaN}',
    b'{"a":1e400}',
    b'{"a":' + b"9" * 310 + b"}",
    b'{"a":"\\ud800"}',
    b'{"a":1,"a":2}',
    b"[" * 200 + b"]" * 200,
)
_SEGMENTS = ("x", "%00", "%2F", "%F0%9F%98%80", "a" * 300, "..", "%25", "-1")
_QUERIES = ("", "?limit=0", "?limit=1e9", "?cursor=%FF", "?limit=1&limit=2", "?after=%00", "?=&&==")


class EveryRoute(unittest.TestCase):
    """No request makes a server fail, and every error has the shape of the protocol that owns the path."""

    def _routes(self, application: Application) -> list[tuple[Mount, Route]]:
        return [(mount, route) for mount in application.mounts for route in mount.routes]

    def test_bad_requests_get_an_error_of_the_protocol_and_never_a_500(self) -> None:
        with running_server() as server, Client(server.port) as client:
            application = server.parts.application
            for mount, route in self._routes(application):
                if route.produces[0] == "text/event-stream":
                    continue
                for number, segment in enumerate(_SEGMENTS):
                    path = "/".join(segment if part.startswith("{") else part for part in route.path.split("/"))
                    path += _QUERIES[number % len(_QUERIES)]
                    for body in _BODIES if number == 0 else _BODIES[2:4]:
                        with self.subTest(route=f"{route.method} {path}", body=body and body[:20]):
                            sent = None if route.method == "GET" else body
                            headers = {"Content-Type": route.consumes[0]}
                            answer = client.request(route.method, path, body=sent, headers=headers)
                            self.assertLess(answer.status, 500, answer.body)
                            if answer.status >= 400:
                                self._assert_shape(mount, answer.json)
            self.assertEqual(server.log, [])

    def _assert_shape(self, mount: Mount, value: Any) -> None:
        self.assertEqual(compile_schema(mount.errors.schema)(value), [], value)

    def test_an_unknown_method_is_405_in_the_shape_of_the_protocol(self) -> None:
        with running_server() as server, Client(server.port) as client:
            for mount, route in self._routes(server.parts.application):
                with self.subTest(route=route.path):
                    path = "/".join("x" if part.startswith("{") else part for part in route.path.split("/"))
                    answer = client.request("BREW", path)
                    self.assertEqual(answer.status, 405)
                    self.assertIn(route.method, answer.headers["allow"].split(", "))
                    self._assert_shape(mount, answer.json)

    def test_an_unknown_path_below_a_protocol_is_404_in_its_shape(self) -> None:
        with running_server() as server, Client(server.port) as client:
            for mount in server.parts.application.mounts:
                for prefix in mount.owns:
                    answer = client.request("GET", f"{prefix.rstrip('/')}/no/such/route/at/all")
                    self.assertEqual(answer.status, 404)
                    self._assert_shape(mount, answer.json)

    def test_a_body_over_the_limit_is_413_in_the_shape_of_the_protocol(self) -> None:
        with running_server() as server:
            for mount, route in self._routes(server.parts.application):
                if route.method == "GET":
                    continue
                with self.subTest(route=route.path), Client(server.port) as client:
                    path = "/".join("x" if part.startswith("{") else part for part in route.path.split("/"))
                    answer = client.request(route.method, path, body=b" " * (5 * 1024 * 1024 + 1))
                    self.assertEqual(answer.status, 413)
                    self._assert_shape(mount, answer.json)

    def test_the_documented_routes_are_the_served_ones(self) -> None:
        with running_server() as server, Client(server.port) as client:
            documented = {
                (method.upper(), path)
                for path, methods in client.request("GET", "/openapi.json").json["paths"].items()
                for method in methods
            }
            served = {(route.method, route.path) for _, route in self._routes(server.parts.application)}
            listed = client.request("GET", "/").json["protocols"]
        self.assertEqual(documented, served)
        self.assertEqual({tuple(one.split(" ")) for names in listed.values() for one in names["routes"]}, served)

    def test_the_configuration_document_names_no_secret_and_no_path(self) -> None:
        with running_server() as server, Client(server.port) as client:
            document = client.request("GET", "/.well-known/omp-configuration").json
        self.assertEqual(
            set(document), {"omp_version", "protocols", "signatures", "limits", "storage", "documentation"}
        )
        self.assertEqual(document["storage"], {"kind": "memory"})
        self.assertLessEqual({"mode", "required_components", "legacy", "max_age_sec"}, set(document["signatures"]))
        self.assertLessEqual({"max_payload_bytes", "max_page_size"}, set(document["limits"]))
        self.assertNotIn(str(TOP), json.dumps(document))


_PLAIN = {"error"}
_PREFIXES = {
    "/objects": _PLAIN,
    "/logs": _PLAIN,
    "/v1/repos": {"error", "code"},
    "/register": {"detail"},
    "/api/v1": {"detail"},
}
"""A path of each protocol, and the members of its errors."""
_SPELLINGS: dict[str, tuple[int, str]] = {
    # What is done to the path -> (status, whose shape the answer has: "own", or "plain" for that of nobody).
    "{0}/no/such/thing": (404, "own"),
    "{encoded}/no/such/thing": (404, "own"),
    "{0}/no/such/thing/": (404, "own"),
    "{0}/no//such/thing": (404, "own"),
    "{0}/../no/such/thing": (404, "own"),  # nothing is resolved: .. is a name like any other
    "{0}/./no/such/thing": (404, "own"),
    "{0}/%2E%2E/no/such/thing": (404, "own"),
    "{0}/no/such/%2F": (404, "own"),
    "{0}/no/such/%00": (404, "own"),
    "{encoded}/no/%00/such": (404, "own"),
    "{0}/%FF": (400, "own"),
    "{0}/%C0%AF": (400, "own"),  # a slash in two bytes: not UTF-8
    "{0}/%ED%A0%80": (400, "own"),  # half of a surrogate pair
    "{encoded}/%C0%AF": (400, "own"),
    "/{0}": (404, "plain"),
    "//{0}": (404, "plain"),
    "{0}%2Fno": (404, "plain"),  # %2F separates nothing
    "{0}x": (404, "plain"),
    "{0}%00": (404, "plain"),
    "/.{0}": (404, "plain"),
    "/x/..{0}": (404, "plain"),
    "/%2F{bare}": (404, "plain"),
    "{upper}": (404, "plain"),
    "/%C0%AF{0}": (400, "plain"),
}


class Owners(unittest.TestCase):
    """Whose shape an error has."""

    def test_a_path_has_one_owner_however_it_is_written(self) -> None:
        with running_server() as server, Client(server.port) as client:
            for prefix, own in _PREFIXES.items():
                first = prefix.split("/")[1]
                encoded = prefix.replace(first, f"%{ord(first[0]):02x}{first[1:]}", 1)
                for spelling, (status, whose) in _SPELLINGS.items():
                    path = spelling.format(prefix, encoded=encoded, bare=prefix[1:], upper=prefix.upper())
                    for sent in (path, f"http://127.0.0.1:{server.port}{path}"):
                        with self.subTest(sent):
                            answer = client.request("GET", sent)
                            expected = own if whose == "own" else _PLAIN
                            self.assertEqual((answer.status, set(answer.json)), (status, expected))
            self.assertEqual(server.log, [])

    def test_an_encoded_path_has_its_owner_before_it_is_routed(self) -> None:
        with running_server() as server:
            for path, prefix in (("/%76%31/repos", "/v1/repos"), ("/api/%761/config", "/api/v1")):
                for status, fields in ((421, {"Host": "evil.example"}), (415, {"Content-Encoding": "gzip"})):
                    with self.subTest(path, status=status), Client(server.port) as client:
                        answer = client.request("POST", path, body=b"{}", headers=fields)
                        self.assertEqual((answer.status, set(answer.json)), (status, _PREFIXES[prefix]))

    def test_the_protocol_with_the_longest_prefix_owns_a_path(self) -> None:
        outer = Mount("outer", "1", "", (), None, owns=("/a",), errors=ErrorStyle(lambda _: "outer", {}))
        inner = Mount("inner", "1", "", (), None, owns=("/a/b",), errors=ErrorStyle(lambda _: "inner", {}))
        application = Application([outer, inner], print, 1)
        for path, owner in (("/a/x", "outer"), ("/a/b/x", "inner"), ("/a/b", "inner"), ("/a/bc", "outer")):
            answer = application.answer(Request("GET", path, {}))
            self.assertEqual((answer.status, json.loads(answer.body)), (404, owner), path)

    def test_a_domain_exception_is_answered_by_the_row_of_its_nearest_base(self) -> None:
        class ProtocolError(Exception):
            pass

        class Missing(ProtocolError):
            pass

        class Sold(Missing):
            pass

        def fails_with(error: Exception) -> Handler:
            def handler(request: Request, state: object) -> Response:
                raise error

            return handler

        refusals: Refusals = {
            ProtocolError: Refusal(400, code="odd", details=lambda error: {"given": error.args}),
            Missing: Refusal(404, "There is none.", headers=lambda error: [("Retry-After", "5")]),
        }
        errors = {"odd": ProtocolError("It is odd."), "missing": Missing("private"), "sold": Sold(), "bug": KeyError()}
        routes = tuple(Route("GET", f"/{name}", fails_with(error), "", {}) for name, error in errors.items())
        mount = Mount("a", "1", "", routes, None, owns=("/",), refusals=refusals)
        application = Application([mount], lambda _: None, 1)
        answers = {name: application.answer(Request("GET", f"/{name}", {})) for name in errors}
        statuses = {name: answer.status for name, answer in answers.items()}
        self.assertEqual(statuses, {"odd": 400, "missing": 404, "sold": 404, "bug": 500})
        shown = json.loads(answers["odd"].body)["error"]
        self.assertEqual((shown["code"], shown["details"]), ("odd", {"given": ["It is odd."]}))
        self.assertEqual(json.loads(answers["sold"].body)["error"]["message"], "There is none.")
        self.assertIn(("Retry-After", "5"), answers["missing"].headers)

    def test_a_protocol_may_have_its_own_status_for_an_invalid_body(self) -> None:
        style = ErrorStyle(lambda error: error.code, {}, invalid_body=422)
        for place, expected in (("body", (422, "unprocessable")), ("query", (400, "bad_request"))):
            problem = InvalidRequest([{"loc": [place, "x"], "msg": "must be 1", "type": "const"}])
            self.assertEqual(style.status_and_value(problem), expected)


if __name__ == "__main__":
    unittest.main()
