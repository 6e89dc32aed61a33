"""Addresses: the one text by which a server is known (§1.5), and which IP addresses are public (§10.1).

Pure.  A server is known by one text, its URL.  The **domain** that its identities carry after the ``@`` is the host and
port of that URL, the default port left out: ``owen.iz.net``, ``127.0.0.1:8787``.

A server that connects to an address which a stranger chose must not reach its own machine or network.  Python's
``ipaddress`` knows the special ranges too, but its table changes from version to version, and it looks at one form of
an address only.  So the table is here, from IANA's registries of special-purpose addresses (RFC 6890), and it errs on
the careful side: what no public server needs is not public.

**Every form must be public.**  Many IPv6 addresses carry an IPv4 address, and a kernel, a tunnel or a translator may
deliver the packet there.  Where an address has such a form, the IPv4 address in it must be public as well.

>>> is_public("93.184.216.34"), is_public("::ffff:93.184.216.34"), is_public("::ffff:10.0.0.1")
(True, True, False)
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

# --- of servers (§1.5) --------------------------------------------------------------------------------------------

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


# --- of machines (§10.1) ------------------------------------------------------------------------------------------


def _networks(text: str) -> list[tuple[int, int]]:
    """Each network of a list as (its bits, how many bits of an address are not part of the network's)."""
    networks = [ip_network(word) for word in text.split()]
    return [(int(network.network_address), network.max_prefixlen - network.prefixlen) for network in networks]


_NOT_PUBLIC_4 = _networks(
    "0.0.0.0/8 10.0.0.0/8 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 "  # this machine and network, private
    "100.64.0.0/10 "  # shared by the customers of a provider
    "192.0.0.0/24 192.88.99.0/24 "  # protocol assignments, whatever each of them is for; relays of 6to4
    "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 198.18.0.0/15 "  # documentation, benchmarks
    "224.0.0.0/4 240.0.0.0/4"  # multicast, reserved, broadcast
)
_GLOBAL_UNICAST = _networks("2000::/3")
"""RFC 4291 §2.4, and all that IANA allocates from.  Outside it lie loopback, link-local, unique local (fc00::/7),
deprecated site-local (fec0::/10), multicast, IPv4-translated (::ffff:0:0:0/96), local NAT64 (64:ff9b:1::/48),
discard-only (100::/64) and segment routing (5f00::/16) addresses."""
_NOT_PUBLIC_6 = _networks(
    "2001::/23 "  # protocol assignments: Teredo (2001::/32), benchmarks, ORCHID, and what will come
    "2001:db8::/32 3fff::/20 "  # documentation
    "3ffe::/16"  # the first test network, returned
)
_CARRY_AT_THE_END = _networks("::/96 ::ffff:0:0/96 64:ff9b::/96")
"""IPv4-compatible and IPv4-mapped (RFC 4291 §2.5.5), NAT64 (RFC 6052 §2.1): these are routed as the IPv4
address that they end with, so it alone decides."""
_6TO4 = _networks("2002::/16")
_ISATAP = (0x00005EFE, 0x02005EFE)
"""RFC 5214 §6.1: the first half of an interface identifier whose second half is an IPv4 address."""


def is_public(text: str) -> bool:
    """Whether packets to the address leave for the public internet, in every form that the address has."""
    try:
        address = ip_address(text.partition("%")[0])  # without the zone of a link-local address
    except ValueError:
        return False
    bits = int(address)
    return _is_public_4(bits) if address.version == 4 else _is_public_6(bits)


def _is_public_4(bits: int) -> bool:
    return not _among(bits, _NOT_PUBLIC_4)


def _is_public_6(bits: int) -> bool:
    if _among(bits, _CARRY_AT_THE_END):
        return _is_public_4(bits & 0xFFFFFFFF)
    if not _among(bits, _GLOBAL_UNICAST) or _among(bits, _NOT_PUBLIC_6):
        return False
    carried = []
    if _among(bits, _6TO4):  # RFC 3056 §2: a relay delivers to the IPv4 address in bits 16 to 47
        carried.append(bits >> 80 & 0xFFFFFFFF)
    if bits >> 32 & 0xFFFFFFFF in _ISATAP:
        carried.append(bits & 0xFFFFFFFF)
    return all(map(_is_public_4, carried))


def _among(bits: int, networks: list[tuple[int, int]]) -> bool:
    return any(bits >> rest == network >> rest for network, rest in networks)


def origin_of(text: str) -> str:
    """Whom an address stands for where somebody's attempts are counted (§3.3).

    An IPv6 address stands for its network of 64 bits: whoever has one address of it usually has all of them.

    >>> origin_of("192.0.2.7"), origin_of("::ffff:192.0.2.7"), origin_of("2001:db8::7:8"), origin_of("somebody")
    ('192.0.2.7', '192.0.2.7', '2001:db8::/64', 'somebody')
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return text
    if address.version == 4:
        return str(address)
    bits = int(address)
    if bits >> 32 == 0xFFFF:  # a socket for both families sees IPv4 clients so
        return str(ip_address(bits & 0xFFFFFFFF))
    return f"{ip_address(bits >> 64 << 64)}/64"
