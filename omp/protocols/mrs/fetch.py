"""Fetching from other servers safely (§10.1, §10.2).

Whoever signs a request chooses the address from which this server fetches the key.  :func:`fetch` must therefore not
reach what that stranger could not reach alone (server-side request forgery):

* ``https`` only, the certificate checked against the name;
* the name is resolved once, and the connection goes to an address found then that is public, never by name again: a
  name that resolves to a public address first and to an inner one later gains nothing;
* no redirects, no proxies from the environment, nothing but status 200;
* 5 seconds from the connection to the last byte, however slowly the other side talks; 64 KiB, however long.

`insecure` lifts the first two, for tests on the loopback interface.  Resolving a name cannot be bounded from here:
the caller must not wait for it without a limit (:class:`omp.protocols.mrs.keys.RemoteKeys` waits 5 seconds).
"""

from __future__ import annotations

import io
import socket
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from omp.protocols.mrs.addresses import is_public
from omp.protocols.mrs.schemas import RegistryError

# --- fetching -------------------------------------------------------------------------------------------------------

SECONDS = 5.0
MAX_BYTES = 64 * 1024
_HEADER_ALLOWANCE = 16 * 1024


class FetchError(RegistryError):
    """The document was not fetched; the text says why, and nothing that only this server could know.

    It is the end of a sentence about a signer's key or a peer, and never answered as it stands.
    """


def fetch(
    url: str,
    *,
    insecure: bool = False,
    seconds: float = SECONDS,
    sent: bytes | None = None,
    most: int = MAX_BYTES,
) -> bytes:
    """The body of the answer to ``GET url``; :class:`FetchError` for anything but a 200 within the bounds above.

    With `sent`, a JSON body, it is ``POST url``; `most` is how many bytes the answer may have.
    """
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
            sock.sendall(_request(split, sent))
            return _body(_Bounded(sock, deadline, most), most)
    except TimeoutError:
        raise FetchError(f"its server did not answer within {seconds:g} seconds") from None
    except (OSError, HTTPException, ValueError):  # ssl.SSLError is an OSError
        raise FetchError("its server could not be reached, or did not answer as HTTP says") from None


def _request(split: SplitResult, sent: bytes | None) -> bytes:
    target = (split.path or "/") + (f"?{split.query}" if split.query else "")
    fields = f"Host: {split.netloc}\r\nAccept: application/json\r\nConnection: close\r\n"
    if sent is not None:
        fields += f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n"
    return f"{'GET' if sent is None else 'POST'} {target} HTTP/1.1\r\n{fields}\r\n".encode("ascii") + (sent or b"")


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


def _secured(plain: socket.socket, host: str, deadline: float) -> socket.socket:
    import ssl

    # By the system's authorities, or those that SSL_CERT_FILE names.
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
    """The receiving side of a socket; it ends at a deadline, and after a number of bytes."""

    def __init__(self, sock: socket.socket, deadline: float, most: int) -> None:
        self._sock = sock
        self._deadline = deadline
        self._most = most
        self._room = most + _HEADER_ALLOWANCE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        # The time that is left, before each read: a byte every four seconds does not extend it.
        self._sock.settimeout(_left(self._deadline))
        count = self._sock.recv_into(buffer)
        self._room -= count
        if self._room < 0:
            raise FetchError(f"its document is larger than {self._most // 1024} KiB")
        return count

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client asks a socket for."""
        return io.BufferedReader(self, 4096)


def _body(connection: _Bounded, most: int) -> bytes:
    from http.client import HTTPResponse

    with HTTPResponse(connection, method="GET") as response:  # type: ignore[arg-type]
        response.begin()
        if response.status != 200:
            raise FetchError(f"its server answered {response.status} and not 200")
        body = response.read(most + 1)
        if len(body) > most:
            raise FetchError(f"its document is larger than {most // 1024} KiB")
        if response.length:
            raise FetchError("its document was cut short")
        return body
