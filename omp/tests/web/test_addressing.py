"""The server's own names (omp §1.5): authorities, public URLs, origins of pages, clients behind proxies."""

from __future__ import annotations

import socket
import time
import unittest
from collections.abc import Mapping
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import omp
from omp.rules.http_signatures import sign, sign_legacy
from omp.rules.signature_base import SignedRequest
from omp.tests.harness import PATIENCE, Answer, Client, command, exchange, running_server
from omp.tests.oplog.world import LOG
from omp.tests.web.test_signature_guard import BODY, STRICT, signer
from omp.web import addressing as addressing_module
from omp.web.addressing import (
    SETTINGS,
    Addressing,
    Local,
    _forwarded_address,
    client_behind,
    is_loopback,
    parse_authority,
    parse_networks,
    parse_origin,
    parse_origins,
    recognized,
)
from omp.web.errors import ApiError
from omp.web.messages import Request
from omp.web.settings import SettingError, read_settings

HOME = Local("127.0.0.1", 8787)
LAN = Local("192.168.1.5", 8787)


def addressing(environ: Mapping[str, str] | None = None, **options: Any) -> Addressing:
    return Addressing(read_settings(SETTINGS, environ or {}), **options)


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


class Authorities(unittest.TestCase):
    """Which spellings of a host are the same, and which are no host at all."""

    def test_spellings_of_one_authority(self) -> None:
        for text, parsed in {
            "OMP.Example": ("omp.example", None),
            "omp.example.": ("omp.example", None),
            "omp.example:": ("omp.example", None),
            "omp.example:0080": ("omp.example", 80),
            "127.0.0.1.:8787": ("127.0.0.1", 8787),
            "[::1]": ("[::1]", None),
            "[0:0:0:0:0:0:0:1]:1": ("[::1]", 1),
            "[::FFFF:127.0.0.1]": ("127.0.0.1", None),
            "[::ffff:7f00:1]": ("127.0.0.1", None),
            # No browser sends these: they are names here, and not known.
            "127.1": ("127.1", None),
            "0x7f.0.0.1": ("0x7f.0.0.1", None),
            "2130706433": ("2130706433", None),
        }.items():
            with self.subTest(text):
                self.assertEqual(parse_authority(text), parsed)

    def test_what_names_no_host(self) -> None:
        for text in (
            "", ".", ":80", "a@b", "a b", "a:65536", "a:999999999", "a:-1", "a:+1", "a:1:2", "::1", "[::1", "[]",
            "[v1.x]", "[127.0.0.1]x", "[:::]", "a/b", "a%2eb", "a,b", "é", "a\n", "a:８０",
        ):  # fmt: skip
            with self.subTest(text):
                self.assertIsNone(parse_authority(text))

    def test_a_public_url_is_an_origin(self) -> None:
        self.assertEqual(
            [
                origin.text
                for origin in parse_origins("https://A.example/, http://b:80,https://[::1]:8443,https://a.example")
            ],
            ["https://a.example", "http://b", "https://[::1]:8443"],
        )
        for text in (
            "omp.example",
            "https://",
            "https://*",
            "*",
            "null",
            "https://a/b",
            "https://u@a",
            "ftp://a",
            "https://a:x",
        ):
            with self.subTest(text), self.assertRaises(ValueError):
                parse_origins(text)

    def test_loopback_addresses(self) -> None:
        for address in ("127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(is_loopback(address), address)
        for address in ("", "128.0.0.1", "127.0.0.1.evil", "127.1", "127.0.0.1\n", "x127.0.0.1", "::2", "localhost"):
            self.assertFalse(is_loopback(address), address)


class Known(unittest.TestCase):
    """The known authorities of a connection."""

    def origins(self, named: str, local: Local = HOME, scheme: str = "http", public: str = "") -> list[str]:
        return [origin.text for origin in recognized(named, local, scheme, parse_origins(public)).origins]

    def test_the_local_address_and_on_loopback_localhost(self) -> None:
        for named in ("127.0.0.1:8787", "localhost:8787", "a.b.localhost:8787", "LOCALHOST.:08787"):
            self.assertEqual(len(self.origins(named)), 1, named)
        self.assertEqual(self.origins("192.168.1.5:8787", LAN), ["http://192.168.1.5:8787"])
        self.assertEqual(self.origins("[::1]:8787", Local("::1", 8787)), ["http://[::1]:8787"])
        self.assertEqual(self.origins("127.0.0.1", Local("127.0.0.1", 80)), ["http://127.0.0.1"])
        self.assertEqual(self.origins("127.0.0.1", Local("127.0.0.1", 443), "https"), ["https://127.0.0.1"])

    def test_what_is_not_known(self) -> None:
        for named in (
            "attacker.example:8787",
            "localhost",
            "127.0.0.1",
            "127.0.0.2:8787",
            "notlocalhost:8787",
            "localhost.evil:8787",
        ):
            self.assertEqual(self.origins(named), [], named)
        for named in ("localhost:8787", "127.0.0.1:8787"):
            self.assertEqual(self.origins(named, LAN), [], named)

    def test_public_urls_have_their_own_scheme(self) -> None:
        public = "https://omp.example, http://lan.example:8080"
        for named in ("omp.example", "OMP.example.", "omp.example:443", "omp.example:"):
            self.assertEqual(self.origins(named, public=public), ["https://omp.example"], named)
        self.assertEqual(self.origins("lan.example:8080", LAN, public=public), ["http://lan.example:8080"])
        for named in ("omp.example:80", "omp.example:8787", "lan.example", "sub.omp.example", "omp.example.evil"):
            self.assertEqual(self.origins(named, public=public), [], named)

    def test_two_public_urls_may_share_an_authority(self) -> None:
        self.assertEqual(
            self.origins("omp.example", public="http://omp.example,https://omp.example"),
            ["http://omp.example", "https://omp.example"],
        )

    def test_elsewhere_than_on_loopback_only_strict_refuses(self) -> None:
        open_server, strict = addressing(), addressing(strict=True)
        for named in ("box.lan:8787", "omp.example", "192.168.1.5:9000", ""):
            self.assertEqual(open_server.destination(named, LAN, "http").origins, ())
            for server, local in ((strict, LAN), (open_server, HOME), (strict, HOME)):
                with self.assertRaises(ApiError) as caught:
                    server.destination(named, local, "http")
                self.assertEqual(caught.exception.status, 421)
                self.assertIn("OMP_PUBLIC_URL", caught.exception.message)

    def test_a_loopback_name_with_another_port_passes_everywhere(self) -> None:
        for named in ("localhost", "localhost:1", "x.localhost:1", "127.0.0.1:1", "127.9.9.9", "[::1]:1"):
            for local in (HOME, LAN):
                self.assertEqual(addressing(strict=True).destination(named, local, "http").origins, ())

    def test_a_request_without_host_is_addressed_to_the_local_address(self) -> None:
        self.assertEqual(addressing().destination(None, HOME, "http").origins[0].text, "http://127.0.0.1:8787")
        six = addressing().destination(None, Local("::1", 8787), "http")
        self.assertEqual(six.origins[0].text, "http://[::1]:8787")


def status(data: bytes) -> int:
    return int(data.split(b" ", 2)[1])


class OverSockets(unittest.TestCase):
    def test_a_rebound_name_reads_and_writes_nothing(self) -> None:
        with running_server() as server, Client(server.port) as client:
            made = client.request("POST", "/objects", {"namespace": "n", "content": {}}).json
            for host in (
                "attacker.example",
                f"attacker.example:{server.port}",
                f"127.0.0.1.evil.example:{server.port}",
            ):
                for method, path, code in (
                    ("GET", "/objects", "error"),
                    ("DELETE", f"/objects/{made['id']}", "error"),
                    ("GET", f"/logs/{LOG}/heads", "error"),
                    ("POST", "/v1/repos", "code"),
                    ("POST", "/search", "detail"),
                    ("GET", "/api/v1/config", "detail"),
                    ("GET", "/health", "error"),
                    ("OPTIONS", "/objects", "error"),
                    ("GET", "/nowhere", "error"),
                ):
                    with self.subTest(host=host, path=path):
                        answer = client.request(method, path, headers={"Host": host})
                        self.assertEqual(answer.status, 421)
                        self.assertIn(code, answer.json)
                        self.assertIn("OMP_PUBLIC_URL", answer.body.decode())
                        self.assertEqual(answer.headers["connection"], "close")
            self.assertEqual(client.request("GET", "/objects").json["count"], 1)

    def test_the_body_of_a_misdirected_request_is_not_waited_for(self) -> None:
        with running_server() as server, socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
            sock.sendall(
                b"POST /objects HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000000\r\n\r\n"
            )
            self.assertEqual(status(sock.recv(65536)), 421)

    def test_spellings_on_the_wire(self) -> None:
        with running_server() as server:
            port = server.port
            for lines, expected in {
                f"GET /health HTTP/1.1\r\nHost: LOCALHOST.:0{port}": 200,
                f"GET /health HTTP/1.1\r\nHost: a.localhost:{port}": 200,
                "GET /health HTTP/1.1\r\nHost: localhost:080": 200,
                f"GET /health HTTP/1.1\r\nHost: [::ffff:127.0.0.1]:{port}": 200,
                "GET /health HTTP/1.0": 200,
                "GET /health HTTP/1.0\r\nHost: attacker.example": 421,
                "GET /health HTTP/1.1\r\nHost:": 421,
                f"GET /health HTTP/1.1\r\nHost: 0.0.0.0:{port}": 421,
                f"GET /health HTTP/1.1\r\nHost: 127.1:{port}": 421,
                f"GET /health HTTP/1.1\r\nHost: localhos%74:{port}": 421,
                f"GET /health HTTP/1.1\r\nHost: localhost,attacker.example:{port}": 421,
                f"GET http://attacker.example/health HTTP/1.1\r\nHost: localhost:{port}": 421,
                f"GET http://localhost:{port}/health HTTP/1.1\r\nHost: attacker.example": 200,
                f"GET http://localhost:{port}@attacker.example/health HTTP/1.1\r\nHost: localhost": 400,
                "GET /health HTTP/1.1\r\nHost: user@localhost": 400,
                "GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost": 400,
                # Only Host and the target count: these are written by whoever likes.
                "GET /health HTTP/1.1\r\nHost: attacker.example\r\nX-Forwarded-Host: localhost": 421,
                "GET /health HTTP/1.1\r\nHost: attacker.example\r\nForwarded: host=localhost": 421,
            }.items():
                with self.subTest(lines):
                    self.assertEqual(status(exchange(port, f"{lines}\r\n\r\n".encode())), expected)

    def test_the_same_head_with_another_authority_in_the_target_is_another_request(self) -> None:
        with running_server() as server, socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
            for target, expected in (("/health", 200), ("/health", 200), ("http://attacker.example/health", 421)):
                sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                self.assertEqual(status(sock.recv(65536)), expected)

    def test_a_server_on_all_interfaces_knows_the_address_that_it_prints(self) -> None:
        with omp.running(host="0.0.0.0") as server, Client(server.port) as client:
            self.assertEqual(
                client.request("GET", "/health", headers={"Host": urlsplit(server.url).netloc}).status, 200
            )
            self.assertEqual(client.request("GET", "/health", headers={"Host": "attacker.example"}).status, 421)

    def test_the_tools_reach_it_by_number_and_by_name(self) -> None:
        with omp.running() as server:
            self.reached(server.url, f"http://localhost:{server.port}")

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6")
    def test_the_tools_reach_it_by_ipv6(self) -> None:
        with omp.running(host="::1") as server:
            self.reached(server.url)

    def reached(self, *urls: str) -> None:
        for url in urls:
            done = command("places", "search", "--server", url, "--at", "0", "0", "--range", "5")
            self.assertEqual(done[0], 0, done)


def signed(
    method: str, url: str, body: bytes = b"", *, legacy: bool = False, host: str | None = None, **options: Any
) -> dict[str, str]:
    """The fields of a request that was signed for `url`, and that names `host` (by default that of the URL)."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    request = SignedRequest(method, parts.scheme, parts.netloc, target, [], body)
    options = {"keyid": "sig1", "signer": signer, "created": int(time.time()), **options}
    return {**dict((sign_legacy if legacy else sign)(request, **options)), "Host": host or parts.netloc}


class Signatures(unittest.TestCase):
    """A signature holds at the server that it was made for, and nowhere else."""

    def get(self, environ: Mapping[str, str], fields: Mapping[str, str], path: str = "/objects") -> Answer:
        with running_server({**STRICT, **environ}) as server, Client(server.port) as client:
            return client.request("GET", path, headers=fields)

    def test_one_made_for_another_server_is_not_for_this_one(self) -> None:
        fields = signed("GET", "http://bank.example/objects")
        self.assertEqual(self.get({}, fields).status, 421)
        for environ in ({}, {"OMP_PUBLIC_URL": "http://omp.example"}):
            self.assertEqual(self.get(environ, {**fields, "Host": "omp.example"}).status, 401 if environ else 421)
        self.assertEqual(self.get({}, {**fields, "Host": "localhost"}).status, 421)

    def test_what_is_signed_for_one_server_is_refused_by_the_next(self) -> None:
        with running_server(STRICT) as one, running_server(STRICT) as two:
            fields = signed("POST", f"{one.url}/objects", BODY)
            with Client(two.port) as client:
                self.assertEqual(client.request("POST", "/objects", body=BODY, headers=fields).status, 421)
                replayed = {**fields, "Host": f"127.0.0.1:{two.port}"}
                self.assertEqual(client.request("POST", "/objects", body=BODY, headers=replayed).status, 401)
            with Client(one.port) as client:
                self.assertEqual(client.request("POST", "/objects", body=BODY, headers=fields).status, 201)

    def test_a_public_url_says_scheme_and_port(self) -> None:
        public = {"OMP_PUBLIC_URL": "https://omp.example"}
        for legacy in (False, True):
            for url, host, expected in (
                ("https://omp.example/objects", None, 200),
                ("https://omp.example:443/objects", None, 200),
                ("https://omp.example:443/objects", "omp.example", 200),
                ("https://omp.example/objects", "omp.example:443", 200),
                ("https://OMP.example./objects", None, 200),
                ("https://OMP.example/objects", None, 200),
                ("http://omp.example/objects", None, 401),
                ("https://omp.example:444/objects", "omp.example", 401),
                ("https://other.example/objects", "omp.example", 401),
            ):
                with self.subTest(url, host=host, legacy=legacy):
                    self.assertEqual(self.get(public, signed("GET", url, host=host, legacy=legacy)).status, expected)

    def test_components_of_the_address_are_those_of_the_public_url(self) -> None:
        public = {"OMP_PUBLIC_URL": "https://omp.example"}
        for covered in (("@method", "@authority", "@path", "@scheme"), ("@method", "@target-uri", "@scheme")):
            for url, expected in (("https://omp.example/objects", 200), ("http://omp.example/objects", 401)):
                with self.subTest(url, covered=covered):
                    self.assertEqual(self.get(public, signed("GET", url, components=covered)).status, expected)

    def test_one_of_two_public_urls_with_one_authority(self) -> None:
        both = {"OMP_PUBLIC_URL": "http://omp.example,https://omp.example"}
        for scheme in ("http", "https"):
            self.assertEqual(self.get(both, signed("GET", f"{scheme}://omp.example/objects")).status, 200)

    def test_through_a_tunnel_only_what_is_not_signed(self) -> None:
        fields = signed("GET", "http://localhost:9999/objects")
        self.assertEqual(self.get({}, {"Host": "localhost:9999"}, "/health").status, 200)
        self.assertEqual(self.get({}, {"Host": "localhost:9999"}).status, 401)
        refused = self.get({}, fields)
        self.assertEqual(refused.status, 421)
        self.assertIn("OMP_PUBLIC_URL", refused.json["error"]["message"])
        self.assertEqual(self.get({"OMP_PUBLIC_URL": "http://localhost:9999"}, fields).status, 200)
        with running_server() as server, Client(server.port) as client:  # nothing is verified here
            self.assertEqual(client.request("GET", "/objects", headers=fields).status, 200)

    def test_a_nonce_is_used_up_once_whatever_the_spelling(self) -> None:
        environ = {**STRICT, "OMP_PUBLIC_URL": "https://omp.example"}
        fields = signed("GET", "https://omp.example/objects", nonce="n")
        with running_server(environ) as server, Client(server.port) as client:
            for host, expected in (("omp.example:443", 200), ("omp.example", 401), ("OMP.EXAMPLE", 401)):
                self.assertEqual(client.request("GET", "/objects", headers={**fields, "Host": host}).status, expected)

    def test_the_reason_names_the_address_that_was_checked(self) -> None:
        fields = signed("GET", "https://omp.example/objects")
        with running_server(STRICT) as server, Client(server.port) as client:
            answer = client.request("GET", "/objects", headers={**fields, "Host": f"127.0.0.1:{server.port}"})
            self.assertEqual(answer.status, 401)
            self.assertIn(server.url, answer.json["error"]["message"])

    def test_a_signed_mrs_request_needs_a_known_address_in_every_mode(self) -> None:
        signature = {"Signature-Input": "sig1=()", "Signature": "sig1=:AAAA:", "MRS-Identity": "a@b.example"}
        with running_server() as server:
            application = server.parts.application
            for named, expected in (("box.lan:8787", 421), ("192.168.1.5:8787", 401)):
                headers = {"host": named, **{name.lower(): value for name, value in signature.items()}}
                request = Request("GET", "/auth/me", headers, tuple(headers.items()))
                application.admit(request, LAN)
                self.assertEqual(application.answer(request).status, expected)
        with (
            running_server({"MRS_SERVER_URL": "https://mrs.example/registry"}) as server,
            Client(server.port) as client,
        ):
            answer = client.request("GET", "/auth/me", headers={**signature, "Host": "mrs.example"})
            self.assertEqual(answer.status, 401)


class Pages(unittest.TestCase):
    """Pages of other origins, as a browser announces them."""

    PATHS = ("/objects", f"/logs/{LOG}/heads", "/%6Fbjects", "/objects/search", f"/lo%67s/{LOG}/heads")

    def test_a_page_of_another_origin_is_refused_with_and_without_preflight(self) -> None:
        with running_server() as server, Client(server.port) as client:
            own = f"127.0.0.1:{server.port}"
            foreign: tuple[str, ...] = (
                "https://evil.example",
                "null",
                "",
                "x y",
                "http://localhost:1",
                f"https://{own}",
                f"http://{own}/",
            )
            foreign += (f"http://{own}, https://evil.example",)
            for origin in foreign:
                for path in self.PATHS:
                    for method in ("GET", "POST", "OPTIONS", "PATCH"):
                        with self.subTest(origin, method=method, path=path):
                            answer = client.request(method, path, headers={"Origin": origin})
                            self.assertEqual(answer.status, 403)
                            self.assertNotIn("access-control-allow-origin", answer.headers)
            simple = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
            self.assertEqual(client.request("POST", "/objects", body=BODY, headers=simple).status, 403)
            self.assertEqual(client.request("GET", "/objects").json["count"], 0)

    def test_what_a_page_of_another_site_loads_without_an_origin_is_refused(self) -> None:
        with running_server() as server, Client(server.port) as client:
            for path in self.PATHS:
                for site in ("cross-site", "same-site", "", "Cross-Site", "none, none"):
                    for more in ({}, {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}):
                        with self.subTest(site, path=path, more=more):
                            answer = client.request("GET", path, headers={"Sec-Fetch-Site": site, **more})
                            self.assertEqual(answer.status, 403)
                            self.assertEqual(answer.json["error"]["code"], "forbidden")
                for site in ("same-origin", "none"):
                    self.assertNotEqual(client.request("GET", path, headers={"Sec-Fetch-Site": site}).status, 403)
            for path in ("/health", "/docs", "/api/v1/commands", "/.well-known/mrs"):
                self.assertNotEqual(client.request("GET", path, headers={"Sec-Fetch-Site": "cross-site"}).status, 403)

    def test_a_picture_in_another_page_does_not_use_up_what_is_deleted_on_read(self) -> None:
        once = {"namespace": "n", "content": {"x": 1}, "metadata": {"omp.delete_on_read": True}}
        with running_server() as server, Client(server.port) as client:
            path = client.request("POST", "/objects", once).headers["location"]
            picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
            self.assertEqual(client.request("GET", path, headers=picture).status, 403)
            self.assertEqual([client.request("GET", path).status for _ in range(2)], [200, 404])

    def test_a_listed_page_may_fetch_but_not_embed(self) -> None:
        app, site = "https://app.example", {"Sec-Fetch-Site": "cross-site"}
        with running_server({"OMP_CORS_ORIGINS": app}) as server, Client(server.port) as client:
            self.assertEqual(client.request("GET", "/objects", headers={**site, "Origin": app}).status, 200)
            self.assertEqual(client.request("GET", "/objects", headers=site).status, 403)

    def test_the_servers_own_pages_may(self) -> None:
        with running_server({"OMP_PUBLIC_URL": "https://omp.example"}) as server, Client(server.port) as client:
            for host, origin in (
                (f"127.0.0.1:{server.port}", server.url),
                (f"localhost:{server.port}", f"http://localhost:{server.port}"),
                ("omp.example", "https://omp.example"),
                ("localhost:9999", "http://localhost:9999"),  # through a tunnel
            ):
                with self.subTest(origin):
                    answer = client.request("GET", "/objects", headers={"Host": host, "Origin": origin})
                    self.assertEqual(answer.status, 200)
                    self.assertNotIn("vary", answer.headers)
            for origin in ("http://omp.example", "https://omp.example:444"):
                answer = client.request("GET", "/objects", headers={"Host": "omp.example", "Origin": origin})
                self.assertEqual(answer.status, 403)

    def test_in_a_container_the_page_of_the_same_address_may(self) -> None:
        with running_server() as server:
            application = server.parts.application
            for origin, expected in (("http://box.lan:9000", 200), ("http://evil.example", 403)):
                request = Request("GET", "/objects", {"host": "box.lan:9000", "origin": origin})
                application.admit(request, LAN)
                self.assertEqual(application.answer(request).status, expected)

    def test_a_listed_origin_may_call_and_read(self) -> None:
        app = "https://app.example"
        with (
            running_server({"OMP_CORS_ORIGINS": f"{app}, http://localhost:3000"}) as server,
            Client(server.port) as client,
        ):
            answer = client.request("GET", "/objects", headers={"Origin": app})
            self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (200, app))
            self.assertEqual(answer.headers["vary"], "Origin")
            for name in ("ETag", "Link", "Location", "Retry-After", "OMP-State"):
                self.assertIn(name, answer.headers["access-control-expose-headers"])
            missing = client.request("GET", "/objects/x", headers={"Origin": app})
            self.assertEqual((missing.status, missing.headers["access-control-allow-origin"]), (404, app))
            preflight = client.request("OPTIONS", "/objects", headers={"Origin": app})
            self.assertEqual((preflight.status, preflight.headers["access-control-allow-origin"]), (204, app))
            self.assertIn("POST", preflight.headers["access-control-allow-methods"])
            self.assertIn("Authorization", preflight.headers["access-control-allow-headers"])
            self.assertEqual(client.request("GET", "/objects", headers={"Origin": "https://evil.example"}).status, 403)
            self.assertEqual(client.request("GET", "/objects").headers["vary"], "Origin")

    def test_avp_mrs_and_nexus_answer_every_origin(self) -> None:
        with running_server() as server, Client(server.port) as client:
            for path in ("/api/auth/keypair/challenge", "/search", "/api/v1/config"):
                answer = client.request("OPTIONS", path, headers={"Origin": "https://evil.example"})
                self.assertEqual((answer.status, answer.headers["access-control-allow-origin"]), (204, "*"))


class Clients(unittest.TestCase):
    """Who sent a request, behind proxies that are trusted or not."""

    def test_the_rightmost_address_that_is_not_trusted(self) -> None:
        trusted = parse_networks("127.0.0.1, 10.0.0.0/8, 2001:db8::/32")
        for peer, field, client in (
            ("203.0.113.9", "1.1.1.1", "203.0.113.9"),
            ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("127.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
            ("127.0.0.1", "203.0.113.9, 10.1.2.3", "203.0.113.9"),
            ("127.0.0.1", "6.6.6.6, 203.0.113.9,10.1.2.3 , 2001:DB8::5", "203.0.113.9"),
            ("127.0.0.1", "10.9.9.9", "10.9.9.9"),
            ("127.0.0.1", "203.0.113.9:1234", "203.0.113.9"),
            ("127.0.0.1", "[2001:db9::1]:1234", "2001:db9::1"),
            ("127.0.0.1", "2001:0db9::0001", "2001:db9::1"),
            ("127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", ",,,", "127.0.0.1"),
            ("127.0.0.1", "unknown", "127.0.0.1"),
            ("127.0.0.1", "6.6.6.6, junk", "127.0.0.1"),
            ("127.0.0.1", "6.6.6.6, junk, 10.0.0.1", "10.0.0.1"),
            ("127.0.0.1", "203.0.113.9\t", "203.0.113.9"),
            ("127.0.0.1", "1.2.3.4.5", "127.0.0.1"),
            ("127.0.0.1", "01.2.3.4", "127.0.0.1"),
        ):
            with self.subTest(peer=peer, field=field):
                self.assertEqual(client_behind(peer, field, trusted), client)
        self.assertEqual(client_behind("127.0.0.1", "203.0.113.9", ()), "127.0.0.1")

    def test_a_long_list_is_read_no_further_than_it_is_trusted(self) -> None:
        trusted = parse_networks("127.0.0.0/8")
        self.assertEqual(client_behind("127.0.0.1", ",".join(["1.1.1.1"] * 5000), trusted), "1.1.1.1")
        proxies = [f"127.0.0.{number}" for number in range(200, 100, -1)]
        with mock.patch.object(addressing_module, "_forwarded_address", wraps=_forwarded_address) as parsed:
            self.assertEqual(client_behind("127.0.0.1", ",".join(proxies), trusted), "127.0.0.132")
        self.assertEqual(parsed.call_count, 32)

    def test_networks_that_are_none_stop_the_start(self) -> None:
        for text in ("proxy.example", "10.0.0.1/8", "300.0.0.1", "*"):
            with (
                self.subTest(text),
                self.assertRaisesRegex(SettingError, "OMP_TRUSTED_PROXIES"),
                running_server({"OMP_TRUSTED_PROXIES": text}),
            ):
                pass

    def test_the_access_log_names_the_client(self) -> None:
        field = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}
        for environ, seen in (({}, "127.0.0.1"), ({"OMP_TRUSTED_PROXIES": "127.0.0.0/8"}, "203.0.113.9")):
            with running_server({"OMP_ACCESS_LOG": "1", **environ}) as server, Client(server.port) as client:
                for _ in range(2):
                    client.request("GET", "/health", headers=field)
            lines = [line.split() for line in server.log if "/health" in line]
            self.assertEqual([line[1:6] for line in lines], [[seen, "GET", "/health", "200", "15"]] * 2)
            hints = [line for line in server.log if "OMP_TRUSTED_PROXIES" in line]
            self.assertEqual(len(hints), 0 if environ else 1, "it is said once")

    def test_a_loopback_address_in_the_field_makes_nobody_the_operator(self) -> None:
        for environ in ({}, {"OMP_TRUSTED_PROXIES": "127.0.0.1"}):
            with running_server(environ) as server, Client(server.port) as client:
                self.assertEqual(client.request("GET", "/admin/peers").status, 200)
                for name in (
                    "X-Forwarded-For",
                    "Forwarded",
                    "Via",
                    "X-Real-IP",
                    "CF-Connecting-IP",
                    "X-Forwarded-Whatever",
                ):
                    answer = client.request("GET", "/admin/peers", headers={name: "127.0.0.1"})
                    self.assertEqual(answer.status, 403, name)

    def test_http_1_0_is_not_the_operators(self) -> None:
        # As nginx before 1.29.7 sends it with a bare proxy_pass.
        request = "GET /admin/peers HTTP/1.{0}\r\nHost: 127.0.0.1:{1}\r\nConnection: close\r\n\r\n"
        with running_server() as server:
            for minor, expected in ((1, b"200"), (0, b"403")):
                answer = exchange(server.port, request.format(minor, server.port).encode())
                self.assertEqual(answer[9:12], expected)
            self.assertEqual(exchange(server.port, b"GET /admin/peers HTTP/1.0\r\n\r\n")[9:12], b"403")

    def test_what_a_page_of_another_site_loads_is_not_the_operators(self) -> None:
        with running_server() as server, Client(server.port) as client:
            for site, expected in (("none", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403)):
                answer = client.request("GET", "/admin/peers", headers={"Sec-Fetch-Site": site})
                self.assertEqual(answer.status, expected, site)

    def test_the_public_name_is_not_the_operators(self) -> None:
        with running_server({"OMP_PUBLIC_URL": "https://omp.example"}) as server, Client(server.port) as client:
            self.assertEqual(client.request("GET", "/admin/peers", headers={"Host": "omp.example"}).status, 403)


class Variables(unittest.TestCase):
    """Misspelt and unknown variables."""

    def test_one_that_is_nearly_a_setting_stops_the_start_and_names_it(self) -> None:
        for wrong, right in {
            "OMP_SIG_MOD": "OMP_SIG_MODE",
            "OMP_SIGMODE": "OMP_SIG_MODE",
            "OMP_PUBLIC_URLS": "OMP_PUBLIC_URL",
            "OMP_TRUSTED_PROXY": "OMP_TRUSTED_PROXIES",
            "OMP_CORS_ORIGIN": "OMP_CORS_ORIGINS",
            "OMP_TLS_CERTIFICATE": "OMP_TLS_CERT",
            "OMP_ADMIN_TOKENS": "OMP_ADMIN_TOKEN",
            "MRS_REGISTRATION_REQUIRE_WHITELIST": "MRS_REGISTRATION_REQUIRES_WHITELIST",
            "MRS_MAX_RADIUS_M": "MRS_MAX_RADIUS",
        }.items():
            with (
                self.subTest(wrong),
                self.assertRaisesRegex(SettingError, rf"{wrong} .* {right}\?"),
                running_server({wrong: "1"}),
            ):
                pass

    def test_variables_of_openmp_and_of_the_tools_are_none_of_its_business(self) -> None:
        names = (
            "NUM_THREADS DYNAMIC SCHEDULE STACKSIZE WAIT_POLICY DISPLAY_ENV DISPLAY_AFFINITY CANCELLATION NESTED "
            "TARGET_OFFLOAD MAX_ACTIVE_LEVELS THREAD_LIMIT AFFINITY_FORMAT ALLOCATOR DEBUG TOOL TOOL_LIBRARIES PLACES "
            "TOOL_VERBOSE_INIT DEFAULT_DEVICE MAX_TASK_PRIORITY NUM_TEAMS TEAMS_THREAD_LIMIT PROC_BIND TESTS "
            "AVAILABLE_DEVICES"
        )
        environ = {f"OMP_{name}": "1" for name in names.split()} | {
            "MRS_TOKEN": "x",
            "MRS_IDENTITY": "x",
            "MRS_PASSWORD": "x",
        }
        with running_server(environ) as server:
            self.assertFalse([notice for notice in server.parts.notices if "OMP_" in notice or "MRS_" in notice])

    def test_any_other_unknown_one_of_mrs_is_a_notice(self) -> None:
        with running_server({"MRS_FEDERATION_SECRET": "x", "MRS_EMPTY": ""}) as server:
            (notice,) = [notice for notice in server.parts.notices if "MRS_" in notice]
            self.assertIn("MRS_FEDERATION_SECRET", notice)

    def test_whether_there_is_a_whitelist_is_not_guessed(self) -> None:
        name = "MRS_REGISTRATION_REQUIRES_WHITELIST"
        with self.assertRaisesRegex(SettingError, name), running_server({name: "maybe"}):
            pass
        for text in ("", "0", "false", "1", "true"):
            with running_server({name: text}) as server:
                self.assertTrue(server.port)

    def test_a_public_url_that_is_none_stops_the_start(self) -> None:
        with self.assertRaisesRegex(SettingError, r"--public-url \(OMP_PUBLIC_URL\)"):
            omp.running(public_url="omp.example")

    def test_an_origin_is_parsed_as_a_browser_writes_it(self) -> None:
        self.assertEqual(parse_origin("https://omp.example").text, "https://omp.example")


if __name__ == "__main__":
    unittest.main()
