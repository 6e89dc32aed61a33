"""The end-to-end suite: ``python3 -m unittest test_server.py``.

This file tests the server as its users meet it, a process started from the shell, and walks through the objects API in
the order of its documentation.  By the ``load_tests`` protocol of :mod:`unittest` the same command also runs everything
in ``omp/tests/``: the unit tests, the protocols end to end over real sockets, and every file in ``vectors/``.
``python3 -m unittest omp.tests.oplog`` runs one protocol's tests, ``OMP_TESTS=all`` adds the long ones.

The suite needs nothing but Python 3.11 or later.  Tests of what the package ``cryptography`` does are skipped, and say
so, where it is not installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Iterator, Mapping
from pathlib import Path

from omp.tests import TOP, long
from omp.tests.harness import PATIENCE, Client, eventually, free_port

HAS_CRYPTOGRAPHY = importlib.util.find_spec("cryptography") is not None


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """The tests of this file, then those of every folder of ``omp/tests/``."""
    for path in sorted((TOP / "omp" / "tests").glob("*/__init__.py")):
        tests.addTests(loader.loadTestsFromName(f"omp.tests.{path.parent.name}"))
    return tests


def environment(**variables: str) -> dict[str, str]:
    """This process's environment, with `variables` in place of all that configure the server."""
    foreign = ("OMP_", "MRS_", "PORT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, **variables}


@contextlib.contextmanager
def server_process(
    *flags: str, environ: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """``python3 server.py`` on a free port: the process, and the port it says it listens on."""
    process = subprocess.Popen(
        [sys.executable, "server.py", *([] if "--port" in flags else ["--port", "0"]), *flags],
        cwd=TOP,
        env=environ or environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stderr
    try:
        first = process.stdout.readline()
        if not first.startswith("OMP server listening on http"):
            raise AssertionError(f"{first!r} {process.stderr.read()!r}")
        yield process, int(first.rsplit(":", 1)[1])
    finally:
        process.kill()
        process.communicate()


def run(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``python3 …`` to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=TOP,
        env=environ or environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


class StartAndStop(unittest.TestCase):
    """The process: its first line, its flags and variables, its exit."""

    def test_a_server_whose_output_nobody_reads_serves_all_the_same(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        port = free_port()
        words = [sys.executable, "server.py", "--port", str(port)]
        with subprocess.Popen(
            words, cwd=TOP, env=environment(), stdout=writing, stderr=subprocess.PIPE, text=True
        ) as process:
            os.close(writing)
            until = time.monotonic() + PATIENCE
            while process.poll() is None and time.monotonic() < until:
                with contextlib.suppress(OSError), Client(port) as client:
                    self.assertEqual(client.request("GET", "/health").json, {"status": "ok"})
                    break
                time.sleep(0.02)
            process.terminate()
            _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors), (0, ""))

    def test_the_first_line_says_where_it_listens_and_sigterm_exits_0(self) -> None:
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(signal=signal_number), server_process() as (process, port):
                with Client(port) as client:
                    self.assertEqual(client.request("GET", "/health").json, {"status": "ok"})
                    process.send_signal(signal_number)
                    _, errors = process.communicate(timeout=PATIENCE)
                self.assertEqual((process.returncode, errors), (0, ""))

    def test_start_up_says_which_engine_verifies(self) -> None:
        engine = "cryptography" if HAS_CRYPTOGRAPHY else "hand-written"
        with server_process() as (process, _):
            assert process.stdout
            self.assertEqual(process.stdout.readline(), f"Ed25519 verification: {engine}\n")

    def test_what_cannot_be_used_stops_the_start_with_status_2(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            busy = str(taken.getsockname()[1])
            for flags, variables, word in (
                (["--storage", "floppy"], {}, "floppy"),
                (["--sig-mode="], {"OMP_SIG_MODE": "strict"}, "empty"),
                ([], {"OMP_SERVER_PORT": "1e3"}, "OMP_SERVER_PORT"),
                (["--port", busy], {}, "port"),
                (["--no-such-flag"], {}, "no-such-flag"),
            ):
                self._stops_the_start(flags, variables, word)

    @long
    def test_whatever_cannot_be_used_stops_the_start_with_status_2(self) -> None:
        for flags, variables, word in (
            (["--storage", "sqlite:"], {}, "sqlite:PATH"),
            (["--storage", ""], {}, "empty"),
            (["--storage", "sqlite:/nonexistent/folder/omp.db"], {}, "--storage"),
            ([], {"OMP_STORAGE": "floppy"}, "floppy"),
            (["--sig-mode", "loose"], {}, "permissive"),
            ([], {"OMP_SIG_MODE": "loose"}, "permissive"),
            (["--port", "x"], {}, "whole number"),
            (["--port", "65536"], {}, "whole number"),
            ([], {"PORT": "-1"}, "PORT"),
            ([], {"OMP_MAX_PAYLOAD_MB": "0"}, "OMP_MAX_PAYLOAD_MB"),
            (["--tls-cert", "x.pem"], {}, "--tls-key"),
            (["--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"], {}, "PEM"),
            (["--host", "not an address"], {}, "not an address"),
        ):
            self._stops_the_start(flags, variables, word)

    def _stops_the_start(self, flags: list[str], variables: dict[str, str], word: str) -> None:
        with self.subTest(flags=flags, variables=variables):
            done = run("server.py", *flags, environ=environment(**{"OMP_SERVER_PORT": "0", **variables}))
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(word, done.stderr)
            self.assertNotIn("Traceback", done.stderr)

    def test_a_flag_wins_over_a_variable_and_port_over_omp_server_port(self) -> None:
        free = [str(free_port()) for _ in range(2)]
        both = environment(PORT=free[0], OMP_SERVER_PORT="1", OMP_STORAGE="floppy")
        with server_process("--storage", "memory", "--port", free[1], environ=both) as (_, port):
            self.assertEqual(port, int(free[1]))
        command = [sys.executable, "server.py"]
        environ = environment(PORT=free[0], OMP_SERVER_PORT="1")
        with subprocess.Popen(command, cwd=TOP, env=environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            self.assertEqual(process.stdout.readline(), f"OMP server listening on http://127.0.0.1:{free[0]}\n")
            process.terminate()

    def test_help_shows_every_flag_and_variable(self) -> None:
        done = run("server.py", "--help")
        self.assertEqual(done.returncode, 0)
        for word in ("--host", "--port", "--storage", "--sig-mode", "--tls-cert", "--tls-key", "--access-log"):
            self.assertIn(word, done.stdout)
        for word in ("OMP_SERVER_HOST", "PORT", "OMP_SIG_MAX_AGE", "MRS_MAX_RADIUS", "OMP_DELETE_ON_READ_DEFAULT"):
            self.assertIn(word, done.stdout)

    def test_sqlite_keeps_the_objects_over_a_restart(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            storage = f"sqlite:{folder}/omp.db"
            with server_process("--storage", storage) as (process, port):
                with Client(port) as client:
                    made = client.request("POST", "/objects", {"namespace": "ns", "content": {"x": 1}}).json
                process.terminate()
                process.wait(PATIENCE)
            with server_process("--storage", storage) as (_, port), Client(port) as client:
                self.assertEqual(client.request("GET", f"/objects/{made['id']}").json["content"], {"x": 1})
                self.assertEqual(
                    client.request("GET", "/.well-known/omp-configuration").json["storage"], {"kind": "sqlite"}
                )

    def test_the_rows_of_expired_objects_are_deleted(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            body = {"namespace": "ns", "content": {}, "metadata": {"omp.ttl_sec": 1}}
            with server_process("--storage", f"sqlite:{folder}/omp.db") as (_, port), Client(port) as client:
                self.assertEqual(client.request("POST", "/objects", body).status, 201)
                with contextlib.closing(sqlite3.connect(f"{folder}/omp.db")) as file:
                    eventually(lambda: file.execute("SELECT count(*) FROM objects").fetchone() == (0,))

    def test_a_request_that_had_to_be_cut_off_makes_the_exit_status_1(self) -> None:
        impatient = "import sys; from omp import entry; entry.STOP_SECONDS = 0.1; sys.exit(entry.main(['--port', '0']))"
        with subprocess.Popen(
            [sys.executable, "-c", impatient], cwd=TOP, env=environment(), stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            port = int(process.stdout.readline().rsplit(":", 1)[1])
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                sock.sendall(
                    b"POST /objects HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
                )
                self.assertIn(b"100 Continue", sock.recv(100))
                process.terminate()
                self.assertEqual(process.wait(PATIENCE), 1)

    def test_the_access_log_has_a_line_for_each_request(self) -> None:
        with server_process("--access-log") as (process, port):
            with Client(port) as client:
                client.request("GET", "/health")
                client.request("GET", "/nowhere?x=1")
            process.terminate()
            _, errors = process.communicate(timeout=PATIENCE)
        first, second = (line.split() for line in errors.splitlines())
        self.assertEqual(first[1:6], ["127.0.0.1", "GET", "/health", "200", "15"])
        self.assertEqual(second[1:5], ["127.0.0.1", "GET", "/nowhere?x=1", "404"])

    def test_a_log_that_nobody_reads_stops_no_request(self) -> None:
        with server_process("--access-log") as (process, port), Client(port) as client:
            assert process.stderr
            process.stderr.close()
            for _ in range(2):
                self.assertEqual(client.request("GET", "/health").status, 200)
            process.stderr = None

    @unittest.skipUnless(HAS_CRYPTOGRAPHY, "making a certificate for the test needs the cryptography package")
    def test_it_serves_https(self) -> None:
        import ssl
        import urllib.request

        with tempfile.TemporaryDirectory() as folder:
            certificate = _self_signed(Path(folder))
            with server_process("--tls-cert", certificate, "--tls-key", certificate) as (process, port):
                trusting = ssl.create_default_context(cafile=certificate)
                with urllib.request.urlopen(
                    f"https://127.0.0.1:{port}/health", context=trusting, timeout=PATIENCE
                ) as answer:
                    self.assertEqual(json.load(answer), {"status": "ok"})
                head = "POST /objects HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: "
                for request, status in ((f"{head}2\r\n\r\n{{}}", b"400"), (f"{head}{6 << 20}\r\n\r\n", b"413")):
                    with (
                        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
                        trusting.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as sock,
                    ):
                        sock.sendall(request.encode())
                        self.assertEqual(_to_the_end(sock)[9:12], status)
                # A client that speaks plain HTTP does no harm.
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
                    sock.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    with contextlib.suppress(ConnectionResetError):
                        _to_the_end(sock)
                # Nor do connections that are idle, or have not finished the handshake, when the server stops.
                with (
                    socket.create_connection(("127.0.0.1", port), PATIENCE),
                    socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
                    trusting.wrap_socket(plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as idle,
                ):
                    idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    self.assertEqual(idle.recv(1000)[9:12], b"200")
                    process.terminate()
                    self.assertEqual(_to_the_end(idle), b"")
                    self.assertEqual(process.wait(PATIENCE), 0)


def _to_the_end(sock: socket.socket) -> bytes:
    """Everything up to the end; a TLS connection that ends without its closure alert raises SSLEOFError."""
    return b"".join(iter(lambda: sock.recv(1000), b""))


def _self_signed(folder: Path) -> str:
    """A certificate for 127.0.0.1 and its key, in one PEM file."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(secret, hashes.SHA256())
    )
    path = folder / "server.pem"
    key = secret.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key)
    return str(path)


class WalkThrough(unittest.TestCase):
    """The objects API in the order of its documentation."""

    def test_create_get_update_delete_list_and_search(self) -> None:
        with server_process() as (_, port), Client(port) as client:
            made = client.request("POST", "/objects", {"namespace": "ns", "content": {"x": 1}})
            self.assertEqual(made.status, 201)
            self.assertEqual(set(made.json), {"id", "namespace", "key", "created_at", "metadata"})
            path = f"/objects/{made.json['id']}"
            self.assertEqual(made.headers["location"], path)
            self.assertEqual(client.request("GET", path).json, {**made.json, "content": {"x": 1}})
            update = {"content": {"x": 2}, "metadata": {"note": "updated"}}
            updated = client.request("PUT", path, update)
            self.assertEqual((updated.status, updated.json), (200, {**made.json, "metadata": {"note": "updated"}}))
            listed = client.request("GET", "/objects?limit=10")
            self.assertEqual(listed.json, {"count": 1, "items": [updated.json]})
            self.assertEqual(client.request("GET", "/objects/search?namespace=ns&key_contains=foo").json["count"], 0)
            found = client.request("POST", "/objects/search", {"namespace": "ns"})
            self.assertEqual(found.json, {"count": 1, "items": [updated.json]})
            deleted = client.request("DELETE", path)
            self.assertEqual((deleted.status, deleted.body), (204, b""))
            self.assertEqual(client.request("GET", path).json["error"]["code"], "not_found")

    @unittest.skipUnless(HAS_CRYPTOGRAPHY, "keygen and sign hold secret keys, which needs the cryptography package")
    def test_keygen_and_a_signed_post_in_strict_mode(self) -> None:
        exports = dict(
            line.removeprefix("export ").split("#")[0].strip().split("=", 1)
            for line in run("-m", "omp", "keygen").stdout.splitlines()
            if line.startswith("export ")
        )
        exports = {name: value.strip("\"'") for name, value in exports.items()}
        public = {name: value for name, value in exports.items() if name.startswith("OMP_SIG_PUB_")}
        with server_process("--sig-mode", "strict", environ=environment(**public)) as (_, port):
            for form in ([], ["--legacy"]):
                arguments = [
                    "--host",
                    f"http://127.0.0.1:{port}",
                    "--seed-b64u",
                    exports["SEED_B64U"],
                    "--keyid",
                    "sig1",
                ]
                done = run("-m", "omp", "sign", *arguments, *form, "--namespace", "ns", "--json", '{"x":1}')
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("Status: 201", done.stderr)
            with Client(port) as client:
                body = {"namespace": "ns", "content": {}}
                unsigned = client.request("POST", "/objects", body)
                self.assertEqual(
                    (unsigned.status, unsigned.json["error"]["message"]), (401, "Missing required signature")
                )
                malformed = {"Signature": "nonsense", "Signature-Input": "sig1=("}
                self.assertEqual(client.request("POST", "/objects", body, malformed).status, 400)
                self.assertEqual(client.request("GET", "/health").status, 200)


if __name__ == "__main__":
    unittest.main()
