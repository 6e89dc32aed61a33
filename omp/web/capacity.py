"""What clients share of one server, and the share that each may take (omp §1.6).

Connections, streams and memory for bodies are few; clients are many, and some of them are strangers who would like to
take all there is.  A :class:`Share` counts one of the three, with a bound for all clients together and a lower one for
each address.  The bounds are a table, :func:`shares`.

What is bounded by address is a *network* (:func:`network_of`): whoever rents one IPv6 address usually has all 2^64 of
its /64.  Loopback is the exception.  It stands for everybody behind a proxy on this machine, and has no bound of its
own; proxies on other machines that the operator trusts count as loopback
(:meth:`omp.web.addressing.Addressing.network`).

Handled here: counting, from any thread.  The caller must give back what it took.

>>> streams = Share(whole=3, each=2)
>>> [streams.take("192.0.2.1"), streams.take("192.0.2.1"), streams.take("192.0.2.1"), streams.take("192.0.2.2")]
[True, True, False, True]
>>> streams.take(LOOPBACK)
False
>>> streams.give_back("192.0.2.1")
>>> streams.take(LOOPBACK)
True
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from threading import Lock
from typing import NamedTuple

LOOPBACK = ""
"""What :func:`network_of` calls every loopback address: the one network without a bound of its own."""

STREAMS_EACH = 16
BODY_BYTES = 64 * 1024 * 1024
UNCOUNTED = 64 * 1024
"""Bytes of a body that are not counted: all connections together hold at most 32 MiB of them, and no client with a
short body is ever refused because others send long ones."""


@lru_cache(maxsize=1024)
def network_of(client: str) -> str:
    """The network that shares are counted for: the address itself, the /64 of an IPv6 address, or :data:`LOOPBACK`.

    >>> network_of("192.0.2.7"), network_of("2001:db8::1:2"), network_of("::ffff:192.0.2.7"), network_of("127.0.0.2")
    ('192.0.2.7', '2001:db8::', '192.0.2.7', '')
    """
    try:
        address = ip_address(client)
    except ValueError:
        return client
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            network = IPv6Address(int(address) >> 64 << 64)
            return LOOPBACK if address.is_loopback else str(network)
        address = address.ipv4_mapped
    return LOOPBACK if address.is_loopback else str(address)


class Share:
    """How much of one thing is taken: `whole` by all clients together at most, `each` by one network."""

    def __init__(self, whole: int, each: int) -> None:
        self.whole = whole
        self.each = each
        self._taken = 0
        self._by_network: dict[str, int] = {}
        self._lock = Lock()

    def take(self, network: str, amount: int = 1) -> bool:
        """Take `amount` for `network`; False, and nothing is taken, where that is beyond a bound."""
        with self._lock:
            mine = self._by_network.get(network, 0) + amount
            if self._taken + amount > self.whole or (network != LOOPBACK and mine > self.each):
                return False
            self._taken += amount
            self._by_network[network] = mine
            return True

    def give_back(self, network: str, amount: int = 1) -> None:
        """Give back `amount` of what was taken for `network`."""
        with self._lock:
            self._taken -= amount
            left = self._by_network[network] - amount
            if left:
                self._by_network[network] = left
            else:
                del self._by_network[network]

    def has_all(self, network: str) -> bool:
        """Whether `network` has taken all that one network may."""
        with self._lock:
            return network != LOOPBACK and self._by_network.get(network, 0) >= self.each


class Shares(NamedTuple):
    """The shares of one server: connections, streams, and bytes of bodies whose request is not answered yet."""

    connections: Share
    streams: Share
    body_bytes: Share


def shares(connections: int, longest_body: int) -> Shares:
    """The bounds of a server with so many `connections` that takes bodies of up to `longest_body` bytes (omp §1.6)."""
    body_bytes = max(BODY_BYTES, 4 * longest_body)
    return Shares(
        Share(connections, max(1, connections // 2)),
        Share(max(1, connections // 4), STREAMS_EACH),
        Share(body_bytes, body_bytes // 2),
    )
