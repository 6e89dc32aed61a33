"""``python -m omp places`` and ``python -m omp peers`` against servers in this process."""

from __future__ import annotations

import json
import os
import shlex
import socket
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from omp.protocols.mrs.peers import BadPeer
from omp.rules.encodings import b64u_encode
from omp.rules.engines import CryptographyMissing, secret_keys
from omp.tests.harness import answering, command, raw_server, running_server
from omp.tests.mrs.parties import OPERA, Signer, User, claim
from omp.tools.peers import what_it_says

NOW = "2026-01-26T08:30:00Z"


class ToolCase(unittest.TestCase):
    """Commands run in this process, in an environment of their own."""

    def setUp(self) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MRS_", "OMP_", "SEED_"))}
        patch = mock.patch.dict(os.environ, environ, clear=True)
        patch.start()
        self.addCleanup(patch.stop)
        self.server = self.enterContext(running_server())
        os.environ["OMP_SERVER"] = self.server.url

    def done(self, *words: str) -> str:
        status, out, err = command(*words)
        self.assertEqual((status, err), (0, ""))
        return out.strip()

    def refused(self, *words: str) -> str:
        status, out, err = command(*words)
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        return err


class Places(ToolCase):
    def log_in(self) -> None:
        os.environ["MRS_PASSWORD"] = "secret"
        os.environ["MRS_TOKEN"] = self.done("places", "account", "mark").removeprefix("export MRS_TOKEN=")

    def test_a_session(self) -> None:
        self.log_in()
        at = ("--at", "-33.8568", "151.2153")
        made = self.done("places", "register", *at, "--radius", "50", "--service-point", "https://example.com/my-place")
        name = made.split()[1].rstrip(",")
        self.assertEqual(made, f"registered {name}, version 1")
        changed = ("--radius", "60", "--service-point", "https://example.com/my-place", "--id", name)
        self.assertEqual(self.done("places", "register", *at, *changed), f"updated {name}, version 2")
        place = "60.0 m around -33.8568 151.2153  https://example.com/my-place"
        self.assertEqual(self.done("places", "search", *at, "--range", "100"), f"{name}  0.0 m  {place}")
        self.assertEqual(self.done("places", "list"), f"{name}  version 2  {place}")
        self.assertEqual(self.done("places", "release", name), f"released {name}")
        self.assertEqual(self.done("places", "list"), "")

    def test_a_list_of_many_pages_is_shown_whole(self) -> None:
        self.log_in()
        for number in range(3):
            at = ("--at", str(number), "10", "--radius", "50", "--service-point", "https://example.com/")
            self.done("places", "register", *at)
        with mock.patch("omp.protocols.mrs.registry.MAX_SPACES", 100):
            self.assertEqual(len(self.done("places", "list").splitlines()), 3)
            self.assertEqual(len(json.loads(self.done("places", "list", "--json"))["registrations"]), 3)

    def test_a_polygon_and_a_foad_place(self) -> None:
        self.log_in()
        corners = [
            word
            for lat, lon in ((48.2, 16.36), (48.2, 16.38), (48.21, 16.37))
            for word in ("--vertex", str(lat), str(lon))
        ]
        self.done("places", "register", *corners, "--height", "12", "--service-point", "https://example.com/park")
        self.done("places", "register", "--at", "1", "2", "--radius", "3", "--foad")
        listed = self.done("places", "list")
        self.assertIn("polygon of 3 vertices  https://example.com/park", listed)
        self.assertIn("not to be found", listed)

    def test_logging_in_gives_another_token(self) -> None:
        self.log_in()
        answer = json.loads(self.done("places", "login", "mark", "--json"))
        self.assertNotEqual(answer["token"], os.environ["MRS_TOKEN"])

    def test_a_mistake_is_reported_in_one_sentence(self) -> None:
        self.assertIn("MRS_TOKEN", self.refused("places", "list"))
        self.log_in()
        self.assertIn("taken", self.refused("places", "account", "mark"))
        self.assertIn("404", self.refused("places", "release", "reg_unknown"))
        self.assertIn("sphere", self.refused("places", "register", "--at", "1", "2"))
        self.assertIn("--server: 'localhost' is no base URL", self.refused("places", "list", "--server", "localhost"))
        self.assertIn("cannot be reached", self.refused("places", "list", "--server", "http://127.0.0.1:1"))
        with raw_server(answering("HTTP/1.1 200 OK\nContent-Length: 2", b"{}")) as port:
            self.assertIn("no MRS server", self.refused("places", "list", "--server", f"http://127.0.0.1:{port}"))
        with raw_server(answering("HTTP/1.1 200 OK\nContent-Length: 6", b"<html>")) as port:
            self.assertIn("no JSON", self.refused("places", "list", "--server", f"http://127.0.0.1:{port}"))

    def test_referrals_are_followed_and_dead_ones_warned_about(self) -> None:
        dead = "http://127.0.0.1:1"
        with running_server({"MRS_BOOTSTRAP_PEERS": f"{self.server.url},{dead}"}) as first:
            with User.new(self.server.port, "ann") as ann:
                place = ann.register({**claim(), "space": OPERA})
            words = ("places", "search", "--server", first.url, "--at", "-33.8568", "151.2153", "--range", "10")
            self.assertNotIn(place["id"], self.done(*words))
            status, out, err = command(*words, "--follow", "--insecure")
            self.assertEqual(status, 0)
            self.assertIn(place["id"], out)
            self.assertIn(f"warning: The server {dead} cannot be reached", err)
            self.assertIn(self.server.url, self.done("places", "peers", "--server", first.url))

    def test_referrals_are_followed_as_carefully_as_keys_are_fetched(self) -> None:
        reached: list[str] = []

        def inner(connection: socket.socket) -> None:
            reached.append(connection.recv(4096).decode("latin-1"))

        with raw_server(inner) as port:
            places = [f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}", f"https://[::1]:{port}"]
            places += [f"https://localhost:{port}", "https://8.8.8.8/admin/delete", "file:///etc/passwd"]
            for place in places:
                answer = {"status": "ok", "results": [], "referrals": [{"server": place, "hint": None}]}
                body = json.dumps(answer).encode()
                with raw_server(answering(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)) as first:
                    url = f"http://127.0.0.1:{first}"
                    words = ("places", "search", "--server", url, "--at", "0", "0", "--range", "1", "--follow")
                    status, _, err = command(*words)
                self.assertEqual((status, err.count("warning: ")), (0, 1), (place, err))
        self.assertEqual(reached, [])

    def test_a_search_that_is_cut_says_so(self) -> None:
        body = json.dumps({"status": "ok", "results": [], "referrals": [], "truncated": True}).encode()
        with raw_server(answering(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)) as port:
            url = f"http://127.0.0.1:{port}"
            shown = self.done("places", "search", "--server", url, "--at", "0", "0", "--range", "1")
        self.assertIn("more is registered there", shown)

    def test_secrets_are_taken_from_files(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        password, token = folder / "password", folder / "token"
        password.write_text("secret\n")
        words = ("--password-file", str(password), "--token-file", str(token))
        self.assertEqual(self.done("places", "account", "mark", *words), f"the token is in {token}")
        first = token.read_text()
        self.assertEqual(token.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.done("places", "login", "mark", *words), f"the token is in {token}")
        self.assertNotEqual(token.read_text(), first)
        self.assertEqual(self.done("places", "list", "--token-file", str(token)), "")
        for text in ("", "two\nlines\n", "\x1b", "x" * 5000):
            token.write_text(text)
            self.assertIn("one line", self.refused("places", "list", "--token-file", str(token)))
        self.assertIn("cannot be read", self.refused("places", "list", "--token-file", str(folder / "none")))
        missing = str(folder / "none" / "token")
        self.assertIn("cannot be written", self.refused("places", "login", "mark", *words[:2], "--token-file", missing))

    def test_control_characters_from_a_server_are_not_printed(self) -> None:
        hit = {
            "id": "reg_a\x1b[2J",
            "space": {},
            "service_point": "https://x.example/\u202e",
            "foad": False,
            "distance": 1,
        }
        body = json.dumps({"status": "ok", "results": [hit], "referrals": []}).encode()
        with raw_server(answering(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)) as port:
            url = f"http://127.0.0.1:{port}"
            self.refused("places", "search", "--server", url, "--at", "0", "0", "--range", "1")
            body = body.replace(b"reg_a\\u001b[2J", b"reg_abc")
        with raw_server(answering(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)) as port:
            shown = self.done(
                "places", "search", "--server", f"http://127.0.0.1:{port}", "--at", "0", "0", "--range", "1"
            )
        self.assertEqual(shown, "reg_abc  1.0 m  a space of another kind  https://x.example/\\u202e")

    def test_a_token_is_quoted_for_the_shell(self) -> None:
        os.environ["MRS_PASSWORD"] = "secret"
        body = json.dumps({"token": "t; touch x\n'", "expires_at": NOW}).encode()
        with raw_server(answering(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)) as port:
            line = self.done("places", "login", "mark", "--server", f"http://127.0.0.1:{port}")
        self.assertEqual(len(shlex.split(line)), 2, line)
        self.assertNotIn("\n", line)

    def test_an_identity_of_another_server_signs(self) -> None:
        try:
            secret_keys()
        except CryptographyMissing as missing:
            self.skipTest(f"signing in earnest: {missing}")
        seed = bytes(range(32))
        home = self.server
        domain = home.url.removeprefix("http://")
        key_url = f"{home.url}/.well-known/mrs/keys/alice"
        with User.new(home.port, "alice") as alice:
            public_key = Signer("", "", seed).public_key
            self.assertEqual(alice.request("PUT", "/auth/me/keys/k", {"public_key": public_key}).status, 200)
        os.environ.update(MRS_IDENTITY=f"alice@{domain}", SEED_B64U=b64u_encode(seed))
        place = ("--at", "1", "2", "--radius", "3", "--service-point", "https://example.com/", "--key-url", key_url)
        with running_server({"MRS_ALLOW_INSECURE_KEYS": "1"}) as away:
            self.assertIn("registered", self.done("places", "register", "--server", away.url, *place))
        os.environ["SEED_B64U"] = "short"
        self.assertIn("seed", self.refused("places", "list"))


class Peers(ToolCase):
    def test_the_operators_token_is_taken_from_a_file(self) -> None:
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "token").write_text("s3cret\n")
        with running_server({"OMP_ADMIN_TOKEN": "s3cret"}) as server:
            words = ("peers", "list", "--server", server.url)
            self.assertIn("403", self.refused(*words))
            self.assertEqual(self.done(*words, "--token-file", str(folder / "token")), "")

    def test_add_list_remove(self) -> None:
        url = "https://sydney.mrs.example"
        self.assertEqual(self.done("peers", "add", url, "--hint", "Sydney"), f"added {url}")
        self.assertEqual(self.done("peers", "list"), f"{url}  configured, never seen, 0 regions  Sydney")
        self.assertEqual(self.done("peers", "remove", url), f"removed {url}")
        self.assertIn("404", self.refused("peers", "remove", url))

    def test_refresh_stores_what_peers_say_and_learns_whom_they_know(self) -> None:
        environ = {
            "MRS_ADMIN_EMAIL": "ops@sydney.example",
            "MRS_AUTHORITATIVE_REGIONS": json.dumps([OPERA]),
            "MRS_BOOTSTRAP_PEERS": f"https://third.example,{self.server.url}",
        }
        with running_server(environ) as peer:
            self.done("peers", "add", peer.url)
            self.done("peers", "add", "http://127.0.0.1:1")
            status, out, err = command("peers", "refresh")
        self.assertEqual(status, 1, "one of them was not reached")
        self.assertEqual(out, f"{peer.url}  ops@sydney.example\n  learned https://third.example\n")
        self.assertIn("warning: http://127.0.0.1:1 is skipped", err)
        listed = dict(line.split("  ", 1) for line in self.done("peers", "list").splitlines())
        self.assertRegex(listed[peer.url], r"configured, seen \S+Z, 1 regions  ops@sydney.example")
        self.assertEqual(listed["https://third.example"], "learned, never seen, 0 regions")

    def test_a_learned_peer_is_not_fetched_from_inner_addresses(self) -> None:
        with running_server() as inner, User(self.server.port) as operator:
            body = {"action": "add", "server_url": inner.url, "is_configured": False}
            self.assertEqual(operator.request("POST", "/admin/peers", body).status, 200)
            status, out, err = command("peers", "refresh")
            self.assertEqual((status, out), (1, ""))
            self.assertIn("https://", err)
            self.assertIn(inner.url, self.done("peers", "refresh", "--insecure"))

    def test_what_a_peer_says_is_checked(self) -> None:
        about: Any = {
            "operator": "x" * 900,
            "authoritative_regions": [OPERA],
            "known_peers": [{"server": "https://A.example/", "hint": 5}, {"server": "file:///etc"}, {"server": 7}, 8],
        }
        changes, learned = what_it_says("https://p.example", about, NOW)
        self.assertEqual(
            (len(changes["hint"]), changes["authoritative_regions"], changes["last_seen"]), (500, [OPERA], NOW)
        )
        self.assertEqual(learned, [{"server_url": "https://a.example", "hint": None, "is_configured": False}])
        bads: tuple[Any, ...] = ([], "x", {"authoritative_regions": {}}, {"authoritative_regions": [{"type": "cube"}]})
        for bad in bads:
            with self.assertRaises(BadPeer):
                what_it_says("https://p.example", bad, NOW)


if __name__ == "__main__":
    unittest.main()
