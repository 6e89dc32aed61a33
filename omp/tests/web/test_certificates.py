"""SIGHUP lets a server that ends TLS read its certificate again (omp §1.2)."""

from __future__ import annotations

import http.client
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from omp.tests import TOP
from omp.tests.harness import PATIENCE, eventually
from omp.tests.mrs.test_fetching import self_signed


@unittest.skipUnless(hasattr(signal, "SIGHUP"), "this system has no SIGHUP")
class Renewal(unittest.TestCase):
    def setUp(self) -> None:
        try:
            self.pairs = [self_signed(name) for name in ("first.example", "second.example")]
        except ImportError:
            self.skipTest("certificates are made with cryptography")
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.chain, self.key, self.log = (self.folder / name for name in ("chain.pem", "key.pem", "log"))
        self.put(0)
        words = ["server.py", "--port", "0", "--tls-cert", str(self.chain), "--tls-key", str(self.key)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=TOP, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.addCleanup(self.process.wait)
        self.addCleanup(self.process.kill)
        assert self.process.stdout is not None
        self.addCleanup(self.process.stdout.close)
        port = re.search(r"https://\S+:(\d+)$", self.process.stdout.readline().strip())
        assert port is not None
        self.port = int(port[1])

    def test_without_tls_nothing_happens(self) -> None:
        with (
            open(self.log, "wb") as log,
            subprocess.Popen(
                [sys.executable, "server.py", "--port", "0"], cwd=TOP, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=log, text=True,
            ) as plain,
        ):  # fmt: skip
            assert plain.stdout is not None
            self.assertIn("listening on http://", plain.stdout.readline())
            self.process.kill()
            self.process.wait()
            self.process = plain
            self.hang_up("there is no certificate to read again")
            plain.terminate()
            self.assertEqual(plain.wait(PATIENCE), 0)

    def put(self, number: int) -> None:
        certificate, key = self.pairs[number]
        self.chain.write_bytes(certificate)
        self.key.write_bytes(key)

    def shown(self) -> int:
        """Which of the two certificates a new connection gets."""
        shown = ssl.get_server_certificate(("127.0.0.1", self.port), timeout=PATIENCE).strip()
        return [certificate.decode().strip() for certificate, _ in self.pairs].index(shown)

    def hang_up(self, said: str, times: int = 1) -> None:
        """Send SIGHUP, and wait until the log has said that it was obeyed."""
        self.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.log.read_text().count(said) >= times or self.process.poll() is not None)
        self.assertIsNone(self.process.poll(), "the server goes on")

    def test_new_connections_get_the_new_certificate_and_old_ones_go_on(self) -> None:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        old = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=trusting)
        self.addCleanup(old.close)
        old.request("GET", "/health")
        self.assertEqual(old.getresponse().read(), b'{"status":"ok"}')
        self.put(1)
        self.assertEqual(self.shown(), 0, "the files alone change nothing")
        self.hang_up("was read again")
        self.assertEqual(self.shown(), 1)
        old.request("GET", "/health")
        self.assertEqual(old.getresponse().read(), b'{"status":"ok"}')

        for broken in (self.pairs[0][0], b"no certificate"):  # one of the two files only; half a file
            self.chain.write_bytes(broken)
            self.hang_up("was not renewed", 1 if broken == self.pairs[0][0] else 2)
            self.assertEqual(self.shown(), 1)
        self.assertNotIn("PRIVATE", self.log.read_text())
        self.put(0)
        self.hang_up("was read again", 2)
        self.assertEqual(self.shown(), 0)
        self.process.terminate()
        self.assertEqual(self.process.wait(PATIENCE), 0)
