"""Other servers: which ones are known, and to which of them a search is referred (§7).

A peer is **configured** by the operator (``POST /admin/peers``, ``MRS_BOOTSTRAP_PEERS``), or **learned** from what
another peer says it knows.  Every search is referred to the configured peers; to a learned one only where a region that
it claims meets the search; and never to this server itself.  What a peer says about itself is fetched by ``python -m
omp peers refresh`` and not by the server, so that nobody can make the server reach anything.

The table is the truth.  Searches read a list made from it, which is made again when the number in
``mrs_state``/``peers`` has changed: every write raises it, in whichever process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypedDict

from omp.protocols.mrs.addresses import server_url
from omp.protocols.mrs.geometry import GeometryError, Space, Vector
from omp.protocols.mrs.registration import read_space
from omp.protocols.mrs.schemas import RegistryError, epoch_of
from omp.rules.json_text import compact
from omp.store.port import DamagedRow, Reader, Store, Writer, key, leaving_out

PEERS = "mrs_peers"  # server URL -> JSON Peer
STATE = "mrs_state"
_GENERATION = b"peers"
_UNKNOWN = key(2**32)
"""The generation if its row is damaged: none that was ever reached, so that the next one is new to everybody."""


class BadPeer(RegistryError):
    """A peer that cannot be kept."""


class NoSuchPeer(RegistryError):
    """The peer to remove is unknown."""


class Peer(TypedDict):
    """A peer as it is kept and exported (§7.1); `last_seen` an ISO time.

    In a peer to be added, None means that nothing was said; the regions of one that is kept are a list.
    """

    server_url: str
    hint: str | None
    last_seen: str | None
    is_configured: bool
    authoritative_regions: list[Any] | None


def read_peer(value: Mapping[str, Any], *, is_configured: bool) -> Peer:
    """The peer in a JSON value that fits the schema ``PEER``; :class:`BadPeer`.

    `is_configured` is the default for a value that does not say.
    """
    try:
        url = server_url(value["server_url"])
    except ValueError as error:
        raise BadPeer(f"server_url {error}") from None
    last_seen = value.get("last_seen")
    if last_seen is not None and epoch_of(last_seen) is None:
        raise BadPeer("last_seen must be an ISO 8601 time")
    try:
        given = value.get("authoritative_regions")
        regions = [read_space(region)[1] for region in given] if given is not None else None
    except GeometryError as error:
        raise BadPeer(f"authoritative_regions: {error}") from None
    return {
        "server_url": url,
        "hint": value.get("hint"),
        "last_seen": last_seen,
        "is_configured": value.get("is_configured", is_configured),
        "authoritative_regions": regions,
    }


class _Known(NamedTuple):
    """A peer as searches need it: the JSON text of its referral, and its regions as geometry."""

    referral: bytes
    configured: bool
    regions: list[Space]


class Peers:
    """The known peers in `store`; `url` is this server."""

    def __init__(self, store: Store, url: str) -> None:
        self._store = store
        self._url = url
        self._cache: tuple[bytes | None, list[_Known]] = (None, [])

    def add(self, peers: Iterable[Peer]) -> None:
        """Add or update peers: what is not said is kept, and configured peers stay configured.

        This server itself is left out.
        """
        with self._store.write() as tx:
            for peer in peers:
                if peer["server_url"] != self._url:
                    self.put(tx, peer)

    def put(self, tx: Writer, peer: Peer) -> None:
        """Add or update `peer`, in the caller's write block."""
        merged = _merged(_peer(tx, peer["server_url"]), peer)
        kept = {**merged, "authoritative_regions": merged["authoritative_regions"] or []}
        tx.put(PEERS, peer["server_url"].encode(), compact(kept).encode())
        _touch(tx)

    def remove(self, url: str) -> None:
        """Forget a peer; :class:`NoSuchPeer`."""
        with self._store.write() as tx:
            if not tx.delete(PEERS, url.encode()):
                raise NoSuchPeer("There is no such peer.")
            _touch(tx)

    def listed(self, tx: Reader) -> list[Peer]:
        """All peers: configured ones first, then the most recently seen."""
        peers: list[Peer] = [json.loads(row) for _, row in tx.scan(PEERS)]
        peers.sort(key=lambda peer: (peer["is_configured"], peer["last_seen"] or ""), reverse=True)
        return peers

    def referrals(self, point: Vector, within: float) -> list[bytes]:
        """The JSON texts of the referrals for a search (§7.2)."""
        # Not inside the read block: comparing regions may take long.
        return [
            known.referral
            for known in self.known()
            if known.configured or any(region.found(point, within) is not None for region in known.regions)
        ]

    def known(self) -> list[_Known]:
        """All peers but this server itself, as searches need them."""
        seen, known = self._cache
        if _generation(self._store) != seen:
            with self._store.read() as tx:
                generation, peers = _generation(tx), self.listed(tx)
            known = [_known(peer) for peer in peers if peer["server_url"] != self._url]
            if not self._store.damage.ids():  # a list without a damaged peer is not to outlast the answer that says so
                self._cache = (generation, known)
        return known


def _known(peer: Peer) -> _Known:
    referral = compact({"server": peer["server_url"], "hint": peer["hint"]})
    regions = [read_space(region, check=False)[0] for region in peer["authoritative_regions"] or ()]
    return _Known(referral.encode(), peer["is_configured"], regions)


def _peer(tx: Reader, url: str) -> Peer | None:
    row = None
    with leaving_out(tx):  # a damaged one is replaced by what is said now
        row = tx.get(PEERS, url.encode())
    return json.loads(row) if row is not None else None


def _generation(source: Reader | Store) -> bytes | None:
    try:
        return source.get(STATE, _GENERATION)
    except DamagedRow:
        return _UNKNOWN


def _merged(old: Peer | None, new: Peer) -> Peer:
    """`old` with what `new` says.  A refresh must not undo what the operator configured (§7.1)."""
    if old is None:
        return new
    regions = new["authoritative_regions"]
    return {
        "server_url": new["server_url"],
        "hint": new["hint"] if new["hint"] is not None else old["hint"],
        "last_seen": new["last_seen"] or old["last_seen"],
        "is_configured": old["is_configured"] or new["is_configured"],
        "authoritative_regions": old["authoritative_regions"] if regions is None else regions,
    }


def _touch(tx: Writer) -> None:
    """Raise the generation, so that every process makes its list again."""
    last = int.from_bytes(_generation(tx) or b"", "big")
    tx.put(STATE, _GENERATION, key(last + 1))
