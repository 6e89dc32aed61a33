"""Other servers by their address: what an address is, and fetching from it safely (§1.5, §10.1, §10.2).

A server is known by one text, its URL.  The **domain** that its identities carry after the ``@`` is the host and port
of that URL, the default port left out: ``owen.iz.net``, ``127.0.0.1:8787``.

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
import re
import socket
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from omp.protocols.mrs.addresses import is_public
from omp.protocols.mrs.schemas import RegistryError

# --- addresses (§1.5) -----------------------------------------------------------------------------------------------

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,253})|[0-9a-f:.]+", re.ASCII)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*", re.ASCII)
MAX_URL = 2048

_WRONG = "must be an absolute http:// or https:// address without credentials, query and fragment"


def server_url(text: str) -> str:
    """The one text for a server's URL; ValueError says what would be right.

    >>> server_url("HTTPS://Owen.iz.net:443/")
    'https://owen.iz.net'
    """
    scheme, host, path = _parts(text)
    return f"{scheme}://{host}{path.rstrip('/')}"


def domain_of(url: str) -> str:
    """The host and port of a URL, the default port left out; ValueError for any other text.

    >>> domain_of("http://127.0.0.1:8787/.well-known/mrs/keys/mark"), domain_of("https://[::1]:443/")
    ('127.0.0.1:8787', '[::1]')
    """
    return _parts(url)[1]


def _parts(text: str) -> tuple[str, str, str]:
    try:
        split = urlsplit(text)
        port = split.port
    except ValueError:
        raise ValueError(_WRONG) from None
    host = split.hostname or ""
    if (
        len(text) > MAX_URL
        or split.scheme not in _DEFAULT_PORTS
        or not text.isascii()  # names of other scripts come as xn--
        or not text.isprintable()
        or not _HOST.fullmatch(host)
        or not _PATH.fullmatch(split.path)
        or any(mark in text for mark in "?#\\ ")
        or "@" in split.netloc
    ):
        raise ValueError(_WRONG)
    name = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[split.scheme]:
        name += f":{port}"
    return split.scheme, name, split.path


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
