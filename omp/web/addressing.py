"""Where a request is addressed, and who sent it: the server knows its own names (omp §1.5).

A server that answers to any name can be attacked through that:

* **Replay.**  A signature covers the address that the client used.  If the verifier takes that address from the
  request itself, a signature that was made for one server verifies at every other.
* **Rebinding.**  The owner of attacker.example lets that name resolve to 127.0.0.1.  To the browser his page and the
  server on the reader's machine are then one origin, so the page may read all of it.  Only ``Host`` tells them apart.
* **Pages.**  A page of any origin may *send* a simple request without asking; only ``Origin`` says where it is from.
* **Proxies.**  Behind a proxy every client has the proxy's address.  ``X-Forwarded-For`` has the client's, but anybody
  can write that field: it counts only as far as proxies wrote it that the operator named.

Laid out: origins and addresses as values, the known authorities, origins of pages, clients behind proxies, the
operator's own requests; then the settings, and :class:`Addressing`, which applies all of it for one server.

>>> local = Local("127.0.0.1", 8787)
>>> recognized("LOCALHOST:8787", local, "http", ()).origins
(Origin(scheme='http', host='localhost', port=8787),)
>>> recognized("attacker.example:8787", local, "http", ()).origins
()
>>> recognized("omp.example:443", local, "http", parse_origins("https://omp.example")).origins[0].text
'https://omp.example'

Handled here: every spelling of a host, proxies that pass on what clients invented.  The caller must close or drain a
connection whose request was refused, and must give addresses as the socket has them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from omp.web.capacity import LOOPBACK, network_of
from omp.web.errors import ApiError
from omp.web.settings import Setting

# --- Origins and addresses --------------------------------------------------------------------------------------

DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+"
_AUTHORITY = re.compile(rf"({_HOST})(?::([0-9]*))?")
_ORIGIN = re.compile(rf"(https?)://((?:{_HOST})(?::[0-9]*)?)", re.IGNORECASE)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Origin(NamedTuple):
    """Scheme, host and port (RFC 6454 §4): host in lower case, an IPv6 address in brackets and in its short form."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port, the port left out if it is the scheme's default."""
        return self.host if self.port == DEFAULT_PORTS[self.scheme] else f"{self.host}:{self.port}"

    @property
    def text(self) -> str:
        """As a browser writes it: ``https://omp.example``."""
        return f"{self.scheme}://{self.authority}"


class Local(NamedTuple):
    """The server's own end of a connection; `address` is in the form of :func:`plain_address`."""

    address: str
    port: int


def plain_address(text: str) -> str:
    """An IP address in its one short form, an IPv4 address mapped into IPv6 as IPv4; ValueError for any other text.

    >>> plain_address("::ffff:127.0.0.1"), plain_address("0:0:0:0:0:0:0:1"), plain_address("fe80::1%eth0")
    ('127.0.0.1', '::1', 'fe80::1')
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


# Matched as a whole: 127.evil.example is a name.
_LOOPBACK = re.compile(r"(?:::ffff:)?127(?:\.[0-9]{1,3}){3}|::1")


def is_loopback(address: str) -> bool:
    """Whether `address` is of this machine alone; False for what is no address."""
    return _LOOPBACK.fullmatch(address) is not None


def parse_authority(text: str) -> tuple[str, int | None] | None:
    """(host, port or None) of an authority, the host as in :class:`Origin`; None for what names no host.

    One dot at the end of a name only says that the name is complete: it is dropped.

    >>> parse_authority("OMP.example.:0443"), parse_authority("[0:0::1]"), parse_authority("user@omp.example")
    (('omp.example', 443), ('[::1]', None), None)
    """
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    host, port = match[1].lower().removesuffix("."), (match[2] or "").lstrip("0")
    if len(port) > 5 or int(port or 0) > 65535 or not host:
        return None
    try:
        address = plain_address(host.strip("[]"))
    except ValueError:
        if host.startswith("["):
            return None
    else:
        host = f"[{address}]" if ":" in address else address
    return host, int(port or 0) if match[2] else None


def parse_origin(text: str) -> Origin:
    """The origin that `text` writes; ValueError for any other text, also for ``null``."""
    match = _ORIGIN.fullmatch(text)
    parsed = parse_authority(match[2]) if match else None
    if match is None or parsed is None:
        raise ValueError("must be an origin, such as https://omp.example: a scheme, a host, and a port if there is one")
    scheme = match[1].lower()
    host, port = parsed
    return Origin(scheme, host, DEFAULT_PORTS[scheme] if port is None else port)


def parse_origins(text: str) -> tuple[Origin, ...]:
    """The origins between the commas of `text`, each once; a slash at an origin's end is forgiven."""
    parts = [part.strip().removesuffix("/") for part in text.split(",")]
    return tuple(dict.fromkeys(parse_origin(part) for part in parts if part))


def parse_networks(text: str) -> tuple[Network, ...]:
    """The addresses and networks between the commas of `text`, as ``127.0.0.1, 10.0.0.0/8``."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"must be addresses and networks, such as 127.0.0.1, 10.0.0.0/8: {error}") from None


# --- Known authorities ------------------------------------------------------------------------------------------


class Destination(NamedTuple):
    """Where a request is addressed.

    `named` is the authority as the request has it.  `origins` are those of the server's own origins that it names: one
    as a rule, none if it is not known, more only if several public URLs share an authority.  `is_loopback_name` says
    that it is ``localhost`` or a loopback address, with whatever port.  `local` is the server's end of the connection.
    """

    named: str
    origins: tuple[Origin, ...]
    is_loopback_name: bool
    local: Local

    def spellings(self) -> list[tuple[str, str]]:
        """(scheme, authority), for each way in which a client may have written this address before it signed it.

        The first is the one that the request has.  Each other costs a failing signature one more verification, so there
        is only what the specification asks for: a port that is the scheme's default, written on one side only.
        """
        found = []
        for scheme, host, port in self.origins:
            found.append((scheme, self.named))
            if port == DEFAULT_PORTS[scheme]:
                found.append((scheme, host if self.named.endswith(f":{port}") else f"{host}:{port}"))
        return found


NOWHERE = Destination("", (), False, Local("", 0))
"""Of a request that came by no connection: no signature verifies there."""


def recognized(named: str, local: Local, scheme: str, public: Sequence[Origin]) -> Destination:
    """What `named` is to a server that was reached at `local` by `scheme`, and whose public URLs are `public`."""
    parsed = parse_authority(named)
    if parsed is None:
        return Destination(named, (), False, local)
    host, port = parsed
    # RFC 6761 §6.3: every name under .localhost is of this machine, so no page of another can have it.
    is_localhost = host == "localhost" or host.endswith(".localhost")
    origins = [
        origin for origin in public if origin.host == host and origin.port == (port or DEFAULT_PORTS[origin.scheme])
    ]
    here = Origin(scheme, host, port or DEFAULT_PORTS[scheme])
    is_local_address = host.strip("[]") == local.address
    if here.port == local.port and (is_local_address or (is_localhost and is_loopback(local.address))):
        origins.append(here)
    is_loopback_name = is_localhost or is_loopback(host.strip("[]"))
    return Destination(named, tuple(dict.fromkeys(origins)), is_loopback_name, local)


# --- Pages ------------------------------------------------------------------------------------------------------


def is_own_origin(field: str, destination: Destination, scheme: str, public: Sequence[Origin]) -> bool:
    """Whether an ``Origin`` field names the server itself, as the request behind `destination` reached it.

    Where an authority that is not known was let through, the page must be of that same authority.
    """
    try:
        origin = parse_origin(field)
    except ValueError:
        return False
    if origin in recognized(origin.authority, destination.local, origin.scheme, public).origins:
        return origin.scheme == scheme or origin in public
    if destination.origins:
        return False
    host, port = parse_authority(destination.named) or ("", None)
    return (host, port or DEFAULT_PORTS[origin.scheme]) == (origin.host, origin.port)


_NO_PAGE = "none"
_OWN_SITES = (_NO_PAGE, "same-origin")
"""Values of ``Sec-Fetch-Site`` (W3C Fetch Metadata, section 2.3): the user entered the address, or our own page asks.

A page may load a picture or follow a link from anywhere without an ``Origin``, and a read may use up what it reads.
Browsers send the field to https and to loopback addresses; programs do not send it."""


# --- Clients behind proxies -------------------------------------------------------------------------------------


MAX_PROXIES = 32
"""So many entries of ``X-Forwarded-For`` are read: no request passes more proxies."""


def client_behind(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """The address of the client: `peer`, or where that is a trusted proxy, whom ``X-Forwarded-For`` names.

    Each proxy appends the address that it saw.  So the field is read from its end for as long as the writer of an entry
    is trusted: the first address that is not a trusted proxy is the client's, and what stands before it was
    written by that client.  An entry that is no address ends the reading at the proxy that wrote it.

    >>> proxies = parse_networks("127.0.0.1, 10.0.0.0/8")
    >>> client_behind("127.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", proxies)
    '203.0.113.9'
    >>> client_behind("203.0.113.9", "1.1.1.1", proxies), client_behind("127.0.0.1", "junk", proxies)
    ('203.0.113.9', '127.0.0.1')
    """
    client = peer
    if not _is_in(peer, trusted):
        return peer
    entries = forwarded_for.rsplit(",", MAX_PROXIES)[-MAX_PROXIES:]
    while entries and _is_in(client, trusted):
        entry = _forwarded_address(entries.pop())
        if entry is None:
            break
        client = entry
    return client


_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


def _forwarded_address(entry: str) -> str | None:
    """The address of an entry, which some proxies write with the port; None for what is no address."""
    text = entry.strip()
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    try:
        return plain_address(text)
    except ValueError:
        return None


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    if not networks:
        return False
    try:
        value = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(value in network for network in networks)


# --- The operator's own requests --------------------------------------------------------------------------------

_PROXY_FIELDS = ("forwarded", "via", "x-real-ip", "cf-connecting-ip")


def came_by_proxy(headers: Mapping[str, str]) -> bool:
    """Whether any field says that a proxy, or a tunnel, passed the request on."""
    return any(name in _PROXY_FIELDS or name.startswith("x-forwarded-") for name in headers)


def is_operators_own(client: str, headers: Mapping[str, str], scheme: str, minor: int) -> bool:
    """Whether a request of HTTP/1.`minor` was made on this machine, by a program and not by a page of another site.

    A proxy on this machine sends everybody's requests from the loopback address, and a browser on it sends what any
    page tells it to.  The first adds its fields or, like nginx before 1.29.7 if it is told nothing else, speaks
    HTTP/1.0; the second cannot hide what it calls and where it comes from.
    """
    host = headers.get("host", "")
    destination = recognized(host, Local("", 0), scheme, ())
    return (
        is_loopback(client)
        and minor > 0
        and not came_by_proxy(headers)
        and destination.is_loopback_name
        and headers.get("origin", f"{scheme}://{host}") == f"{scheme}://{host}"
        and headers.get("sec-fetch-site", _NO_PAGE) in _OWN_SITES
    )


# --- Settings ---------------------------------------------------------------------------------------------------

SETTINGS = (
    Setting(
        "public_urls",
        "OMP_PUBLIC_URL",
        parse_origins,
        (),
        "origins by which clients reach this server, such as https://omp.example; commas between several",
        "--public-url",
    ),
    Setting("cors_origins", "OMP_CORS_ORIGINS", parse_origins, (), "origins whose pages may call /objects and /logs"),
    Setting(
        "trusted_proxies",
        "OMP_TRUSTED_PROXIES",
        parse_networks,
        (),
        "addresses or networks of proxies whose X-Forwarded-For is believed",
    ),
)

_EXPOSED = (
    "Accept-Signature, ETag, Link, Location, OMP-Incomplete, OMP-Next-Cursor, OMP-State, Retry-After, WWW-Authenticate"
)


class Addressing:
    """The addresses of one server; may be used from any thread.

    `settings` are the values of :data:`SETTINGS`.  `urls` are further URLs of the server's own: the one that it prints
    at its start, and those of its protocols.  With `strict` an authority that is not known is refused on every
    interface.  `log` takes one line of the server's log.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        urls: Iterable[str] = (),
        *,
        strict: bool = False,
        log: Callable[[str], None] = print,
    ) -> None:
        own = [parse_origin("://".join(urlsplit(url)[:2])) for url in urls]
        self._public = tuple(dict.fromkeys([*settings["public_urls"], *own]))
        self._pages: tuple[Origin, ...] = settings["cors_origins"]
        # RFC 9110 §12.5.5: a cache must not give one origin the answer that was made for another.
        self._varies: tuple[tuple[str, str], ...] = (("Vary", "Origin"),) if self._pages else ()
        self._trusted: tuple[Network, ...] = settings["trusted_proxies"]
        self._strict = strict
        self._log = log
        self._has_warned = False
        # Clients repeat their Host: parsing it costs more than all the rest that is done here.
        self._recognized = lru_cache(maxsize=256)(partial(recognized, public=self._public))

    def destination(self, named: str | None, local: Local, scheme: str) -> Destination:
        """Where a request is addressed whose authority is `named`.  Raises :class:`ApiError` 421 if it is not here.

        None is HTTP/1.0 without ``Host``: such a request is addressed to the local address.
        """
        if named is None:
            host = f"[{local.address}]" if ":" in local.address else local.address
            named = f"{host}:{local.port}"
        destination = self._recognized(named, local, scheme)
        passes = bool(destination.origins) or destination.is_loopback_name
        # Elsewhere, without strict: a LAN or a container, whose address has names that nobody told the server.
        if not passes and (self._strict or is_loopback(local.address)):
            raise misdirected(named)
        return destination

    def client(self, peer: str, headers: Mapping[str, str]) -> str:
        """The address of the client that sent a request with these `headers` by way of `peer`."""
        forwarded_for = headers.get("x-forwarded-for")
        if forwarded_for is None:
            return peer
        if not self._has_warned and not _is_in(peer, self._trusted):
            self._has_warned = True  # once: whoever is not a proxy can send this as often as it likes
            self._log(
                f"X-Forwarded-For of {peer} is not believed; if that is your proxy, name it in OMP_TRUSTED_PROXIES"
            )
        return client_behind(peer, forwarded_for, self._trusted)

    def network(self, client: str) -> str:
        """The network whose share `client` takes (omp §1.6): a trusted proxy stands for others and counts as loopback.

        `client` is the address of a peer, or the one that :meth:`client` found behind it.
        """
        return LOOPBACK if _is_in(client, self._trusted) else network_of(client)

    def page_fields(
        self, headers: Mapping[str, str], destination: Destination, scheme: str
    ) -> tuple[tuple[str, str], ...]:
        """The CORS fields of an answer to the page that sent a request with these `headers`, if a page sent it.

        Raises :class:`ApiError` 403 if that page may not call.
        """
        origin = headers.get("origin")
        if origin is None:
            if headers.get("sec-fetch-site", _NO_PAGE) not in _OWN_SITES:
                raise ApiError(403, "Pages of other sites may neither load this nor lead to it; enter its address.")
            return self._varies
        if any(origin == page.text for page in self._pages):
            allowed = (("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", _EXPOSED))
            return (*self._varies, *allowed)
        if is_own_origin(origin, destination, scheme, self._public):
            return self._varies
        raise ApiError(
            403, f"Pages of {origin:.100} may not call this; OMP_CORS_ORIGINS lists the origins whose pages may."
        )


def misdirected(named: str) -> ApiError:
    """The refusal of a request that is addressed to a server of another name (RFC 9110 §15.5.20)."""
    return ApiError(
        421,
        f"This server does not know {named[:100] or 'an empty Host'} as an address of its own; "
        "the setting OMP_PUBLIC_URL (--public-url) lists those by which clients reach it.",
    )
