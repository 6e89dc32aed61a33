"""nginx in front, with the very file that OPERATING.md shows: TLS ends there, and everything works (omp §1.5).

The only changes to the file are ports and the places of the certificate.  The name omp.example leads to nginx for the
clients in this process; its certificate is made for the test.  Two clients are two loopback addresses.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from omp.entry import all_settings
from omp.tests import TOP
from omp.tests.harness import Running, command, free_port, running_server
from omp.tests.mrs.parties import Signer
from omp.tests.mrs.test_fetching import self_signed
from omp.tests.oplog.devices import LogCase
from omp.tests.tools.test_signing_tools import MISSING, PUBLIC, SEED
from omp.web.settings import read_settings

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
OPERATING = TOP / "omp" / "OPERATING.md"
NAME = "omp.example"

MAIN = """
daemon off;
pid nginx.pid;
error_log stderr;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {0}
}}
"""


def shown(language: str) -> str:
    """The one block of that language in OPERATING.md."""
    (block,) = re.findall(
        rf"^```{language}\n(.*?)^```", OPERATING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    return str(block)


def replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class Proxied(LogCase):
    """nginx, and behind it a server whose settings a test may choose."""

    environ: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        super().setUp()
        self.server_port, self.port = free_port(), free_port()
        self.url = f"https://{NAME}:{self.port}"
        self.chain = self.folder / "chain.pem"
        certificate, private = self_signed(NAME)
        self.chain.write_bytes(certificate)
        (self.folder / "key.pem").write_bytes(private)
        self.enterContext(mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(self.chain)}))
        resolve = socket.getaddrinfo

        def to_nginx(host: Any, *rest: Any, **more: Any) -> Any:
            return resolve("127.0.0.1" if host == NAME else host, *rest, **more)

        self.enterContext(mock.patch("socket.getaddrinfo", to_nginx))

    @contextlib.contextmanager
    def nginx(self, **changes: str) -> Iterator[None]:
        site = replaced(
            shown("nginx"),
            {
                "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
                "/etc/ssl/omp.example.pem": str(self.chain),
                "/etc/ssl/omp.example.key": str(self.folder / "key.pem"),
                "http://127.0.0.1:8787": f"http://127.0.0.1:{self.server_port}",
                **changes,
            },
        )
        with tempfile.TemporaryDirectory() as prefix:
            # nginx's workers give up root, and must reach their temporary folders.
            Path(prefix).chmod(0o755)
            Path(prefix, "nginx.conf").write_text(MAIN.format(site))
            said = Path(prefix, "said")
            with said.open("w") as errors:
                process = subprocess.Popen([str(NGINX), "-p", prefix, "-c", "nginx.conf"], stderr=errors)
            try:
                self.wait_for_nginx(process, said)
                yield
            finally:
                process.terminate()
                process.wait(30)

    def wait_for_nginx(self, process: subprocess.Popen[bytes], said: Path) -> None:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            if process.poll() is not None:
                break
            time.sleep(0.05)
        self.fail(f"nginx does not start: {said.read_text()}")

    @contextlib.contextmanager
    def served(self, **environ: str) -> Iterator[Running]:
        """The server behind nginx; a setting is left out with the value ""."""
        settings = {"OMP_PUBLIC_URL": self.url, "OMP_TRUSTED_PROXIES": "127.0.0.1", **environ}
        with running_server({"PORT": str(self.server_port), **settings}) as server:
            yield server

    def request(
        self,
        method: str,
        path: str,
        value: Any = None,
        source: str = "127.0.0.1",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """(status, JSON) of a request to nginx from the address `source`."""
        context = ssl.create_default_context(cafile=str(self.chain))
        connection = http.client.HTTPSConnection(
            NAME, self.port, context=context, timeout=30, source_address=(source, 0)
        )
        with contextlib.closing(connection):
            body = None if value is None else json.dumps(value).encode()
            fields = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, body, {**fields, **(headers or {})})
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data else None


@unittest.skipUnless(NGINX, "nginx is not installed: apt-get install nginx-light")
@unittest.skipIf(MISSING, "making a certificate needs the package cryptography")
class BehindNginx(Proxied):
    def test_a_log_is_pushed_and_pulled_with_signatures_that_are_checked(self) -> None:
        self.phone()
        for name in ("Ada", "Grace"):
            self.done("phone", "claim", "name.first", name)
        with self.nginx(), self.served(OMP_SIG_MODE="strict", OMP_LOGS_OPEN="1"):
            state = self.state("phone")
            self.assertEqual(self.done("phone", "push", self.url), f"pushed 2 operations\nstate {state} on both sides")
            first = self.file().read_text().splitlines(keepends=True)[0]
            self.file().write_text(first)
            self.assertEqual(self.done("phone", "pull", self.url), f"pulled 1 operation\nstate {state} on both sides")

    def test_sign_works_in_both_forms(self) -> None:
        with self.nginx(), self.served(OMP_SIG_MODE="strict", OMP_SIG_PUB_sig1=PUBLIC):
            for form in (
                [],
                ["--legacy"],
                ["--component", "@method", "--component", "@authority", "--component", "@path"],
            ):
                said = command("sign", "--host", self.url, "--seed-b64u", SEED, "--namespace", "n", *form)
                self.assertEqual(said[0], 0, said)

    def test_without_the_public_url_the_tools_say_which_setting_is_missing(self) -> None:
        self.phone()
        with self.nginx(), self.served(OMP_PUBLIC_URL="", OMP_SIG_MODE="strict", OMP_SIG_PUB_sig1=PUBLIC):
            for name in ("push", "pull"):
                self.assertIn("OMP_PUBLIC_URL", self.refused("phone", name, self.url))
            status, said, _ = command("sign", "--host", self.url, "--seed-b64u", SEED, "--namespace", "n")
            self.assertEqual(status, 1)
            self.assertIn("OMP_PUBLIC_URL", said)

    def test_a_public_url_with_the_wrong_scheme_shows_in_the_reason(self) -> None:
        wrong = self.url.replace("https", "http")
        with self.nginx(), self.served(OMP_PUBLIC_URL=wrong, OMP_SIG_MODE="strict", OMP_SIG_PUB_sig1=PUBLIC):
            status, said, _ = command("sign", "--host", self.url, "--seed-b64u", SEED, "--namespace", "n")
            self.assertEqual(status, 1)
            self.assertIn(f"as a request to {wrong}", said)

    def test_a_proxy_that_does_not_pass_host_on_shows_in_the_reason(self) -> None:
        line = "proxy_set_header Host $http_host;"
        with self.nginx(**{line: ""}), self.served(OMP_SIG_MODE="strict", OMP_SIG_PUB_sig1=PUBLIC):
            _, said, _ = command("sign", "--host", self.url, "--seed-b64u", SEED, "--namespace", "n")
            self.assertIn(f"as a request to http://127.0.0.1:{self.server_port}", said)
            self.assertIn("OMP_PUBLIC_URL", said)

    def test_push_says_why_it_is_told_nothing_by_a_proxy_that_does_not_pass_host_on(self) -> None:
        self.phone()
        line = "proxy_set_header Host $http_host;"
        with self.nginx(**{line: ""}), self.served(OMP_SIG_MODE="strict", OMP_LOGS_OPEN="1"):
            said = self.done("phone", "push", self.url)
            self.assertIn("(401)", said)
            self.assertIn("OMP_PUBLIC_URL", said)

    def test_a_bare_proxy_pass_makes_nobody_the_operator(self) -> None:
        bare = dict.fromkeys(
            (
                "proxy_http_version 1.1;",
                "proxy_set_header Host $http_host;",
                "proxy_set_header X-Forwarded-For $remote_addr;",
                'proxy_set_header Connection "";',
                "location /admin/ { return 403; }",
            ),
            "",
        )
        with self.nginx(**bare), self.served():
            self.assertEqual(self.request("GET", "/health")[0], 200)
            status, said = self.request("GET", "/admin/peers")
            self.assertEqual(status, 403, said)

    def test_a_signed_mrs_request_verifies_by_its_whole_address(self) -> None:
        with self.nginx(), self.served(OMP_PUBLIC_URL="", MRS_SERVER_URL=self.url):
            identity = f"ann@{NAME}:{self.port}"
            signer = Signer(identity, f"{self.url}/.well-known/mrs/keys/ann", b"\7" * 32)
            _, made = self.request("POST", "/auth/register", {"username": "ann", "password": "a long secret"})
            bearer = {"Authorization": f"Bearer {made['token']}"}
            published, _ = self.request("PUT", "/auth/me/keys/k", {"public_key": signer.public_key}, headers=bearer)
            self.assertEqual(published, 200)
            for components in (("@method", "@target-uri", "mrs-identity"), ("@method", "@path", "mrs-identity")):
                headers = signer.headers("GET", f"{self.url}/auth/me", components=components)
                status, me = self.request("GET", "/auth/me", headers=headers)
                self.assertEqual((status, me.get("id")), (200, identity), me)

    def test_events_arrive_as_they_happen(self) -> None:
        log = self.phone()
        self.done("phone", "claim", "name.first", "Ada")
        with self.nginx(), self.served():
            self.done("phone", "push", self.url)
            context = ssl.create_default_context(cafile=str(self.chain))
            connection = http.client.HTTPSConnection(NAME, self.port, context=context, timeout=30)
            with contextlib.closing(connection):
                connection.request("GET", f"/logs/{log}/events")
                stream = connection.getresponse()
                self.assertEqual((stream.status, stream.getheader("content-type")), (200, "text/event-stream"))
                written = self.done("phone", "claim", "name.first", "Grace").split()[0]
                self.done("phone", "push", self.url)
                lines = b""
                while written.encode() not in lines:  # the socket's timeout ends a stream that nginx keeps back
                    line = stream.readline()
                    self.assertTrue(line, "the stream ended")
                    lines += line

    def test_one_client_does_not_lock_another_out(self) -> None:
        ann = {"username": "ann", "password": "a long secret"}
        for trusted, expected in (("127.0.0.1", 200), ("", 429)):
            with self.nginx(), self.served(OMP_TRUSTED_PROXIES=trusted) as server:
                self.assertEqual(self.request("POST", "/auth/register", ann)[0], 201)
                for number in range(12):
                    # What a client claims of itself changes nothing.
                    claims = {"X-Forwarded-For": f"203.0.113.{number}"}
                    guess = {"username": f"user{number}", "password": "wrong guess"}
                    last, _ = self.request("POST", "/auth/login", guess, "127.0.0.2", claims)
                self.assertEqual(last, 429)
                self.assertEqual(self.request("POST", "/auth/login", ann, "127.0.0.3")[0], expected)
                self.assertEqual(any("OMP_TRUSTED_PROXIES" in line for line in server.log), not trusted)

    def test_with_two_proxies_the_client_is_the_one_before_both(self) -> None:
        # The inner proxy appends to what the outer one wrote; here this test is the outer one, at 127.0.0.9.
        line = "proxy_set_header X-Forwarded-For $remote_addr;"
        appends = {line: "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"}
        for trusted, client in (("127.0.0.1,127.0.0.9", "203.0.113.9"), ("127.0.0.1", "127.0.0.9"), ("", "127.0.0.1")):
            with self.nginx(**appends), self.served(OMP_TRUSTED_PROXIES=trusted, OMP_ACCESS_LOG="1") as server:
                written = {"X-Forwarded-For": "6.6.6.6, junk, 203.0.113.9"}
                self.assertEqual(self.request("GET", "/health", source="127.0.0.9", headers=written)[0], 200)
            (seen,) = (words.split() for words in server.log if "/health" in words)
            self.assertEqual(seen[1:6], [client, "GET", "/health", "200", "15"])

    def test_nobody_is_the_operator_through_it(self) -> None:
        with self.nginx(**{"location /admin/ { return 403; }": ""}), self.served():
            self.assertEqual(self.request("GET", "/admin/peers")[0], 403)


class Unit(unittest.TestCase):
    """The unit of systemd that OPERATING.md shows."""

    def test_it_sets_what_the_server_knows(self) -> None:
        unit = shown("ini")
        given = dict(
            pair.split("=", 1) for line in re.findall("^Environment=(.*)$", unit, re.MULTILINE) for pair in line.split()
        )
        self.assertEqual(len(given), 2)
        settings = read_settings(all_settings(), given)
        self.assertEqual(settings["public_urls"][0].text, "https://omp.example")
        flags = {setting.flag for setting in all_settings()}
        (started,) = re.findall("^ExecStart=.* (/.*server.py) (.*)$", unit, re.MULTILINE)
        self.assertLessEqual(set(re.findall("--[a-z-]+", started[1])), flags)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
    def test_systemd_finds_no_fault_in_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            unit = Path(folder, "omp.service")
            unit.write_text(shown("ini"))
            done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
        complaints = [line for line in done.stderr.splitlines() if "omp.service" in line]
        self.assertEqual(complaints, [], done.stderr)


if __name__ == "__main__":
    unittest.main()
