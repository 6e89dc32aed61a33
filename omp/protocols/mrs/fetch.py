"""Fetching a document from another server, such that nobody can make this server reach what it should not.

mrs.md "HTTP signatures": the address of a key is chosen by whoever signs a request, so:

* ``https`` only, the certificate checked against the name;
* the name is resolved once, and the connection goes to an address found then that is public, never by name again: a
  name that resolves to a public address first and to an inner one later gains nothing;
* no redirects, no proxies from the environment, nothing but status 200;
* 5 seconds from the connection to the last byte and 64 KiB in all, however slowly or long the other side talks.

`insecure` lifts the first two, for tests on the loopback interface.  Resolving a name cannot be bounded from inside:
the caller must not wait for it without a limit (:mod:`omp.protocols.mrs.remote_keys` waits 5 seconds).
"""

from __future__ import annotations

import io
import socket
from time import monotonic
from urllib.parse import urlsplit

SECONDS = 5.0
MAX_BYTES = 64 * 1024
_HEADER_ALLOWANCE = 16 * 1024


class FetchError(Exception):
    """The document was not fetched; the text says why, and nothing that only this server could know."""


def fetch(url: str, *, insecure: bool = False, seconds: float = SECONDS) -> bytes:
    """The body of the answer to ``GET url``; :class:`FetchError` for anything but a 200 within the bounds above."""
    # Only here: ssl and http.client are slow to import, and most servers never fetch anything.
    from http.client import HTTPException

    deadline = monotonic() + seconds
    try:
        split = urlsplit(url)
        secure = split.scheme == "https"
        if not secure and not (insecure and split.scheme == "http"):
            raise FetchError("its address must begin with https://")
        host, port = split.hostname or "", split.port or (443 if secure else 80)
        plain = _connect(host, port, insecure, deadline)
        with _secured(plain, host, deadline) if secure else plain as sock:
            target = (split.path or "/") + (f"?{split.query}" if split.query else "")
            fields = f"Host: {split.netloc}\r\nAccept: application/json\r\nConnection: close\r\n"
            sock.sendall(f"GET {target} HTTP/1.1\r\n{fields}\r\n".encode("ascii"))
            return _body(_Bounded(sock, deadline))
    except TimeoutError:
        raise FetchError(f"its server did not answer within {seconds:g} seconds") from None
    except (OSError, HTTPException, ValueError):  # ssl.SSLError is an OSError
        raise FetchError("its server could not be reached, or did not answer as HTTP says") from None


def _connect(host: str, port: int, insecure: bool, deadline: float) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchError("the name of its server does not resolve") from None
    # getaddrinfo sorts by preference (RFC 6724): the first public address is the one to take.
    for family, kind, protocol, _, address in found:
        if insecure or is_public(str(address[0])):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(_left(deadline))
                sock.connect(address)
            except BaseException:
                sock.close()
                raise
            return sock
    raise FetchError("its server has no public address")


def is_public(address: str) -> bool:
    """Whether packets to `address` leave for the public internet.

    IPv6 addresses that carry an IPv4 one are what that one is: a router or the kernel would deliver them there.
    """
    from ipaddress import ip_address

    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if ip.version == 6:
        # IPv4-compatible (RFC 4291 §2.5.5.1) and NAT64 (RFC 6052 §2.1) addresses.
        if ip.packed.startswith((bytes(12), b"\x00\x64\xff\x9b" + bytes(8))):
            return is_public(".".join(str(byte) for byte in ip.packed[12:]))
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if ip.sixtofour is not None:
            return is_public(str(ip.sixtofour))
        if ip.teredo is not None:
            return False
    return ip.is_global and not ip.is_multicast


def _secured(plain: socket.socket, host: str, deadline: float) -> socket.socket:
    import ssl

    context = ssl.create_default_context()  # verifies the chain, and the certificate against `host`
    try:
        plain.settimeout(_left(deadline))
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Bounded(io.RawIOBase):
    """The receiving side of a socket that ends at a deadline and after so many bytes."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._room = MAX_BYTES + _HEADER_ALLOWANCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        # The time that is left, before each read: a byte every four seconds does not start it anew.
        self._sock.settimeout(_left(self._deadline))
        count = self._sock.recv_into(buffer)
        self._room -= count
        if self._room < 0:
            raise FetchError(f"its document is larger than {MAX_BYTES // 1024} KiB")
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client asks a socket for."""
        return io.BufferedReader(self, 4096)


def _body(connection: _Bounded) -> bytes:
    from http.client import HTTPResponse

    with HTTPResponse(connection, method="GET") as response:  # type: ignore[arg-type]
        response.begin()
        if response.status != 200:
            raise FetchError(f"its server answered {response.status} and not 200")
        body = response.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise FetchError(f"its document is larger than {MAX_BYTES // 1024} KiB")
        if response.length:
            raise FetchError("its document was cut short")
        return body
