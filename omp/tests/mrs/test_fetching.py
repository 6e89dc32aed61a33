"""Fetching from other servers: what is refused, what is remembered; the addresses of servers (§1.5, §10)."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import tempfile
import threading
import time
import unittest
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from omp.protocols.mrs.addresses import is_public, server_url
from omp.protocols.mrs.fetch import MAX_BYTES, FetchError, fetch
from omp.protocols.mrs.keys import (
    A_MINUTE_OF_CALLER,
    A_MINUTE_OF_DOMAIN,
    FAILURE_SECONDS,
    MAX_AT_ONCE,
    MAX_AT_ONCE_OF_ONE,
    MAX_DOCUMENTS,
    MAX_FAILURES,
    MAX_OF_DOMAIN,
    RemoteKeys,
)
from omp.tests.harness import PATIENCE, answering, raw_server

HERE = "203.0.113.7"
"""Where somebody calls from."""


def self_signed(name: str) -> tuple[bytes, bytes]:
    """A certificate for `name` that vouches for itself, and its key, both in PEM; ImportError without cryptography."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return made.public_bytes(pem), key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)


def hang(until: threading.Event) -> None:
    """What a server does that never answers; it hangs until the test is over."""
    until.wait(PATIENCE)


class Fetching(unittest.TestCase):
    def failure(self, behave: Callable[[socket.socket], None], seconds: float = 5.0) -> str:
        with raw_server(behave) as port, self.assertRaises(FetchError) as caught:
            fetch(f"http://127.0.0.1:{port}/key", insecure=True, seconds=seconds)
        return str(caught.exception)

    def test_a_document_is_fetched_however_it_is_framed(self) -> None:
        for head, body in (
            ("HTTP/1.1 200 OK\nContent-Length: 2", b"{}rest"),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
            ("HTTP/1.0 200 OK", b"{}"),
        ):
            with raw_server(answering(head, body)) as port:
                self.assertEqual(fetch(f"http://127.0.0.1:{port}/key", insecure=True), b"{}")

    def test_redirects_are_not_followed(self) -> None:
        reached = threading.Event()
        with raw_server(lambda connection: reached.set()) as inner:
            for status in (301, 302, 303, 307, 308):
                head = f"HTTP/1.1 {status} Moved\nLocation: http://127.0.0.1:{inner}/\nContent-Length: 0"
                self.assertIn(str(status), self.failure(answering(head)))
        self.assertFalse(reached.is_set())

    def test_any_status_but_200_is_a_failure(self) -> None:
        for status in (204, 404, 500):
            self.assertIn(str(status), self.failure(answering(f"HTTP/1.1 {status} X\nContent-Length: 0")))

    def test_a_document_that_is_too_large_is_refused_early(self) -> None:
        sent = 0

        def flood(connection: socket.socket) -> None:
            nonlocal sent
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(160):  # 10 MiB
                connection.sendall(bytes(65536))
                sent += 65536

        self.assertIn("64 KiB", self.failure(flood))
        self.assertLess(sent, 8 * 1024 * 1024)
        length = f"HTTP/1.1 200 OK\nContent-Length: {MAX_BYTES + 1}"
        self.assertIn("64 KiB", self.failure(answering(length, bytes(MAX_BYTES + 1))))
        fields = "\n".join(f"X-{number}: {'z' * 2000}" for number in range(90))
        self.assertIn("64 KiB", self.failure(answering(f"HTTP/1.1 200 OK\n{fields}")))

    def test_a_server_that_hangs_is_given_up(self) -> None:
        given_up = threading.Event()
        self.addCleanup(given_up.set)
        self.assertIn("0.3 seconds", self.failure(lambda connection: hang(given_up), seconds=0.3))

    def test_a_server_that_sends_a_byte_now_and_then_is_given_up(self) -> None:
        def drip(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(900):  # for 45 s and more, unless the client leaves: it never gets the whole document
                connection.sendall(b"x")
                time.sleep(0.05)

        self.assertIn("0.4 seconds", self.failure(drip, seconds=0.4))

    def test_a_document_cut_short_and_another_protocol_are_failures(self) -> None:
        self.failure(answering("HTTP/1.1 200 OK\nContent-Length: 100", b"{}"))
        self.failure(answering("SSH-2.0-OpenSSH_9.6"))
        self.failure(lambda connection: None)

    def test_a_refused_connection_is_a_failure(self) -> None:
        with raw_server(lambda connection: None) as port:
            pass
        with self.assertRaises(FetchError):
            fetch(f"http://127.0.0.1:{port}/", insecure=True)

    def test_the_certificate_is_checked(self) -> None:
        # A server that does not even speak TLS, and the failure is the same sentence as for a bad certificate.
        with raw_server(answering("HTTP/1.1 200 OK")) as port, self.assertRaises(FetchError) as caught:
            fetch(f"https://127.0.0.1:{port}/", insecure=True)
        self.assertIn("could not be reached", str(caught.exception))

    def test_over_tls_the_chain_and_the_name_are_verified(self) -> None:
        try:
            certificate, key = self_signed("localhost")
        except ImportError:
            self.skipTest("making a certificate needs the package cryptography")
        with tempfile.TemporaryDirectory() as folder:
            chain, private = Path(folder) / "chain.pem", Path(folder) / "key.pem"
            chain.write_bytes(certificate)
            private.write_bytes(key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain, private)
            with raw_server(answering("HTTP/1.1 200 OK\nContent-Length: 2", b"{}"), context) as port:
                with mock.patch.dict(os.environ, {"SSL_CERT_FILE": str(chain)}):
                    self.assertEqual(fetch(f"https://localhost:{port}/", insecure=True), b"{}")
                    with self.assertRaises(FetchError):  # the right server, by another name
                        fetch(f"https://127.0.0.1:{port}/", insecure=True)
                with self.assertRaises(FetchError):  # signed by nobody that the system trusts
                    fetch(f"https://localhost:{port}/", insecure=True)

    def test_a_name_that_resolves_to_an_inner_address_is_not_connected_to(self) -> None:
        for address in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fd00::1"):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            found = [(family, socket.SOCK_STREAM, 6, "", (address, 443))]
            with (
                mock.patch("socket.getaddrinfo", return_value=found) as resolve,
                mock.patch("socket.socket") as connect,
                self.assertRaises(FetchError) as caught,
            ):
                fetch("https://rebinding.example/.well-known/mrs/keys/alice")
            self.assertEqual((resolve.call_count, connect.call_count), (1, 0))
            self.assertIn("no public address", str(caught.exception))

    def test_the_address_that_was_checked_is_the_one_connected_to(self) -> None:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443)),
        ]
        with (
            mock.patch("socket.getaddrinfo", return_value=found),
            mock.patch("socket.socket") as made,
            self.assertRaises(FetchError),
        ):
            made.return_value.connect.side_effect = OSError("unreachable")
            fetch("https://two-addresses.example/")
        made.return_value.connect.assert_called_once_with(("93.184.216.34", 443))

    def test_public_and_other_addresses(self) -> None:
        for address in ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"):
            self.assertTrue(is_public(address), address)
        for address in (
            "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1",
            "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
            "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2", "not an address", "",
        ):  # fmt: skip
            self.assertFalse(is_public(address), address)


class PublicAddresses(unittest.TestCase):
    """The table is our own: the first and the last address of each range, whatever this Python's ``ipaddress`` says."""

    NOT_PUBLIC = (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "::ffff:0:0:0/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2001:2::/48",
        "2001:10::/28", "2001:20::/28", "2001:db8::/32", "3ffe::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10",
        "fec0::/10", "ff00::/8", "4000::/3", "1000::/4",
    )  # fmt: skip
    PUBLIC = (
        "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
        "192.0.1.0", "192.31.196.1", "192.88.98.1", "192.167.255.255", "198.17.255.255", "198.20.0.0",
        "223.255.255.255", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1", "3fff:1000::1",
        "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2a00:1450::5efe:8.8.8.8",
    )  # fmt: skip

    def test_no_address_of_a_special_range_is_public(self) -> None:
        for text in self.NOT_PUBLIC:
            network = ipaddress.ip_network(text)
            for address in (network[0], network[-1], network[network.num_addresses // 2]):
                self.assertFalse(is_public(str(address)), f"{address} of {text}")

    def test_other_addresses_are_public(self) -> None:
        for address in self.PUBLIC:
            self.assertTrue(is_public(address), address)

    def test_no_form_that_carries_an_inner_ipv4_address_is_public(self) -> None:
        for text in self.NOT_PUBLIC[:15]:
            for inner in (ipaddress.IPv4Network(text)[0], ipaddress.IPv4Network(text)[-1]):
                high, low = int(inner) >> 16, int(inner) & 0xFFFF
                for address in (
                    f"::{inner}", f"::ffff:{inner}", f"::ffff:0:{inner}", f"64:ff9b::{inner}", f"64:ff9b:1::{inner}",
                    f"2002:{high:x}:{low:x}::1", f"2a00:1450::5efe:{inner}", f"2a00:1450::200:5efe:{inner}",
                ):  # fmt: skip
                    self.assertFalse(is_public(address), address)

    def test_the_addresses_that_some_pythons_let_pass(self) -> None:
        for address in (
            "fec0::1", "64:ff9b:1::1", "64:ff9b:1::8.8.8.8", "::ffff:0:127.0.0.1", "192.0.0.192", "192.0.0.9",
            "3fff::1", "5f00::1", "2001:1::1", "127.1", "0x7f000001", "2130706433", "[::1]", "1.1.1.1 ",
            "::ffff:127.0.0.1%1",
        ):  # fmt: skip
            self.assertFalse(is_public(address), address)

    def test_the_verdict_does_not_depend_on_the_table_of_ipaddress(self) -> None:
        never = mock.PropertyMock(side_effect=AssertionError("asked"))
        for kind in (ipaddress.IPv4Address, ipaddress.IPv6Address):
            for name in ("is_global", "is_private", "is_reserved", "is_multicast", "is_loopback"):
                patch = mock.patch.object(kind, name, never)
                patch.start()
                self.addCleanup(patch.stop)
        self.assertTrue(is_public("8.8.8.8") and is_public("2606:4700::1111"))
        self.assertFalse(is_public("10.0.0.1") or is_public("fec0::1"))


class RememberingKeys(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.fetched: list[str] = []
        self.keys = RemoteKeys(self.fetch, lambda: self.now, 60)

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if "bad" in url:
            raise FetchError("it is bad")
        return b'{"id": 1}'

    def test_a_document_is_kept_for_its_time(self) -> None:
        for moment, count in ((0, 1), (59, 1), (61, 2), (100, 2)):
            self.now = 1000.0 + moment
            self.assertEqual(self.keys.document("https://a.example/k", HERE), {"id": 1})
            self.assertEqual(len(self.fetched), count)

    def test_a_failure_is_kept_for_a_short_time(self) -> None:
        for moment, count in ((0, 1), (FAILURE_SECONDS - 1, 1), (FAILURE_SECONDS + 1, 2)):
            self.now = 1000.0 + moment
            with self.assertRaises(FetchError):
                self.keys.document("https://bad.example/k", HERE)
            self.assertEqual(len(self.fetched), count)

    def test_the_number_kept_is_bounded(self) -> None:
        for number in range(MAX_DOCUMENTS + 5):
            self.keys.document(f"https://a{number}.example/k", f"192.0.{number >> 8}.{number & 255}")
        self.keys.document("https://a0.example/k", HERE)
        self.assertEqual(len(self.fetched), MAX_DOCUMENTS + 6)

    def test_callers_share_one_fetch_and_too_many_fetches_are_refused(self) -> None:
        hold = threading.Event()
        begun = threading.Semaphore(0)

        def slow(url: str) -> bytes:
            begun.release()
            hold.wait(PATIENCE)
            return self.fetch(url)

        keys = RemoteKeys(slow, lambda: self.now, 60)
        threads = [
            threading.Thread(target=keys.document, args=(f"https://a{one}.example/k", f"192.0.2.{one}"))
            for one in list(range(MAX_AT_ONCE)) * 4
        ]
        for thread in threads:
            thread.start()
        for _ in range(MAX_AT_ONCE):
            self.assertTrue(begun.acquire(timeout=PATIENCE))
        with self.assertRaises(FetchError) as caught:
            keys.document("https://another.example/", HERE)
        self.assertIn("too many", str(caught.exception))
        hold.set()
        for thread in threads:
            thread.join()
        self.assertEqual(len(self.fetched), MAX_AT_ONCE)
        self.assertEqual(keys.document("https://another.example/", HERE), {"id": 1})

    def test_a_document_that_is_not_json_is_a_failure(self) -> None:
        keys = RemoteKeys(lambda url: b"<html>", lambda: self.now, 60)
        with self.assertRaises(FetchError):
            keys.document("https://a.example/k", HERE)

    def test_waiting_for_a_name_to_resolve_is_bounded(self) -> None:
        resolved = threading.Event()

        def slow(url: str) -> bytes:
            resolved.wait(PATIENCE)
            return b"{}"

        keys = RemoteKeys(slow, lambda: self.now, 60, wait_seconds=0.05)
        with self.assertRaisesRegex(FetchError, "did not answer in time"):
            keys.document("https://a.example/k", HERE)
        resolved.set()

    def test_null_is_a_document_and_not_a_failure(self) -> None:
        keys = RemoteKeys(lambda url: b"null", lambda: self.now, 60)
        self.assertIsNone(keys.document("https://a.example/k", HERE))

    def test_failures_displace_no_document(self) -> None:
        self.keys.document("https://a.example/k", HERE)
        for number in range(MAX_DOCUMENTS + MAX_FAILURES):
            with self.assertRaises(FetchError):
                self.keys.document(f"https://bad{number}.example/k", f"192.0.{number >> 8}.{number & 255}")
        before = len(self.fetched)
        self.assertEqual(self.keys.document("https://a.example/k", HERE), {"id": 1})
        self.assertEqual(len(self.fetched), before)

    def test_one_caller_makes_a_bounded_number_of_fetches_a_minute(self) -> None:
        for number in range(A_MINUTE_OF_CALLER):
            self.keys.document(f"https://a{number}.example/k", HERE)
        with self.assertRaisesRegex(FetchError, "within a minute"):
            self.keys.document("https://one-more.example/k", f"::ffff:{HERE}")
        self.keys.document("https://a0.example/k", HERE)  # it is kept: nothing is fetched
        self.assertEqual(len(self.fetched), A_MINUTE_OF_CALLER)
        self.keys.document("https://one-more.example/k", "198.51.100.9")
        self.now += 61
        self.keys.document("https://two-more.example/k", HERE)

    def test_one_domain_is_asked_a_bounded_number_of_times_a_minute(self) -> None:
        for number in range(A_MINUTE_OF_DOMAIN):
            self.keys.document(f"https://a.example/{number}", f"192.0.2.{number}")
        with self.assertRaisesRegex(FetchError, "within a minute"):
            self.keys.document("https://A.EXAMPLE:443/one-more", HERE)
        self.keys.document("https://b.example/k", HERE)

    def test_one_domain_has_half_of_the_documents_at_most(self) -> None:
        kept = RemoteKeys(self.fetch, lambda: self.now, 3600)
        kept.document("https://b.example/k", HERE)
        for number in range(MAX_OF_DOMAIN + 5):
            self.now += 1.1
            kept.document(f"https://a.example/{number}", f"192.0.{number >> 8}.{number & 255}")
        before = len(self.fetched)
        kept.document("https://b.example/k", HERE)
        kept.document(f"https://a.example/{MAX_OF_DOMAIN + 4}", HERE)
        self.assertEqual(len(self.fetched), before)
        kept.document("https://a.example/0", HERE)
        self.assertEqual(len(self.fetched), before + 1)

    def test_one_domain_and_one_caller_have_a_share_of_the_fetches_at_once(self) -> None:
        def slow(url: str) -> bytes:
            begun.release()
            hold.wait(PATIENCE)
            return b"{}"

        for place in ("https://slow.example/{}", "https://slow{}.example/k"):
            hold, begun = threading.Event(), threading.Semaphore(0)
            keys = RemoteKeys(slow, lambda: self.now, 60)
            threads = []
            for number in range(MAX_AT_ONCE_OF_ONE):
                caller = HERE if "{}.example" in place else f"192.0.2.{number}"
                threads.append(threading.Thread(target=keys.document, args=(place.format(number), caller)))
                threads[-1].start()
            for _ in threads:
                self.assertTrue(begun.acquire(timeout=PATIENCE))
            with self.assertRaisesRegex(FetchError, "too many"):
                keys.document(place.format("more"), HERE)
            hold.set()
            self.assertEqual(keys.document("https://good.example/k", "198.51.100.1"), {})
            for thread in threads:
                thread.join()

    def test_one_document_has_one_name(self) -> None:
        for url in ("https://a.example/k", "HTTPS://A.example:443/k", "https://a.example/k/"):
            self.keys.document(url, HERE)
        self.assertEqual(self.fetched, ["https://a.example/k"])


class Addresses(unittest.TestCase):
    def test_one_server_has_one_address(self) -> None:
        for text, one in (
            ("https://A.example", "https://a.example"),
            ("https://a.example:443/", "https://a.example"),
            ("http://a.example:80/mrs/", "http://a.example/mrs"),
            ("http://[::1]:8787", "http://[::1]:8787"),
        ):
            self.assertEqual(server_url(text), one)

    def test_others_are_refused(self) -> None:
        for text in (
            "", "a.example", "ftp://a.example", "https://", "https://u@a.example", "https://a.example?x", "https://a.example/#",
            "https://a.example/ b", "https://a.example:99999", "https://a_b^.example", "https://\u00e4.example", "https://a\n",
            "https://a.example/" + "x" * 2048,
        ):  # fmt: skip
            with self.subTest(text=text), self.assertRaises(ValueError):
                server_url(text)


if __name__ == "__main__":
    unittest.main()
