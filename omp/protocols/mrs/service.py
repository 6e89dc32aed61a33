"""The registry as a whole: its settings, its parts, and what needs several of them (§2, §12.3, §12.4).

:data:`SETTINGS` is the table that ``--help`` and the configuration page are made from.  :func:`service` reads them and
wires the parts from the context that the entry hands over.  :class:`Mrs` is what every handler is given.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from omp.protocols.mrs.accounts import Accounts, Throttle
from omp.protocols.mrs.addresses import domain_of, server_url
from omp.protocols.mrs.fetch import fetch
from omp.protocols.mrs.geometry import EARTH_RADIUS_M, GeometryError
from omp.protocols.mrs.identity import POLICY, Authenticator
from omp.protocols.mrs.imports import read_import
from omp.protocols.mrs.keys import KeyRing, RemoteKeys
from omp.protocols.mrs.peers import Peers, read_peer
from omp.protocols.mrs.registration import read_space
from omp.protocols.mrs.registry import Registry
from omp.protocols.mrs.schemas import VERSION, iso_time
from omp.protocols.mrs.whitelist import Whitelist
from omp.store.port import Store
from omp.web.messages import json_bytes
from omp.web.routes import Context
from omp.web.settings import Setting, read_settings, switch, whole_number
from omp.web.signature_guard import NonceTable

# --- settings (§2.1) ------------------------------------------------------------------------------------------------

HALF_WAY_ROUND = int(pi * EARTH_RADIUS_M)


def _domain(text: str) -> str:
    try:
        return domain_of(f"https://{text}")
    except ValueError:
        raise ValueError("must be a host, or host:port, e.g. owen.iz.net") from None


def _list_of(parse: Callable[[Any], Any], what: str) -> Callable[[str], list[Any]]:
    """A parser for a JSON list, each element of it parsed."""

    def read(text: str) -> list[Any]:
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not isinstance(values, list):
            raise ValueError(f"must be a JSON list of {what}")
        return [parse(value) for value in values]

    return read


def _peer(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must hold addresses as text")
    return server_url(value.strip())


def _region(value: Any) -> Any:
    try:
        return read_space(value)[1]
    except GeometryError as error:
        raise ValueError(f"must hold spheres and polygons: {error}") from None


def _peers(text: str) -> list[str]:
    """The addresses in a JSON list, or between commas."""
    if text.lstrip().startswith("["):
        return _list_of(_peer, "addresses")(text)
    return [_peer(part) for part in text.split(",") if part.strip()]


# What follows is read once, at the start: a bad value stops the start, before anything is served.
SETTINGS = (
    Setting(
        "url",
        "MRS_SERVER_URL",
        server_url,
        None,
        "this registry's address as others reach it; where it listens if absent",
    ),
    Setting(
        "domain",
        "MRS_SERVER_DOMAIN",
        _domain,
        None,
        "what follows the @ in its users' identities; that of MRS_SERVER_URL if absent",
    ),
    Setting("admin_email", "MRS_ADMIN_EMAIL", str, None, "the operator's address that /.well-known/mrs shows"),
    Setting(
        "max_radius",
        "MRS_MAX_RADIUS",
        whole_number(1, HALF_WAY_ROUND),
        1_000_000,
        "largest range of a search, and extent of a registration, metres",
    ),
    Setting("max_results", "MRS_MAX_RESULTS", whole_number(1, 10_000), 100, "most results of a search"),
    Setting(
        "max_registrations",
        "MRS_MAX_REGISTRATIONS_PER_USER",
        whole_number(0, 2**31),
        10_000,
        "most registrations that one user may make; 0: no bound",
    ),
    Setting("bootstrap_peers", "MRS_BOOTSTRAP_PEERS", _peers, (), "servers to refer to: JSON list or comma list"),
    Setting(
        "regions",
        "MRS_AUTHORITATIVE_REGIONS",
        _list_of(_region, "spaces"),
        (),
        "regions this registry claims: JSON list of spheres and polygons",
    ),
    Setting(
        "token_hours", "MRS_TOKEN_EXPIRY_HOURS", whole_number(1, 87_600), 24 * 7, "hours for which a login is good"
    ),
    Setting(
        "key_cache_seconds",
        "MRS_KEY_CACHE_TTL_SECONDS",
        whole_number(0, 86_400),
        3600,
        "seconds for which a fetched key is kept",
    ),
    Setting(
        "insecure_keys",
        "MRS_ALLOW_INSECURE_KEYS",
        switch,
        False,
        "1: fetch keys by http:// and from addresses that are not public, for tests",
    ),
    Setting(
        "whitelist",
        "MRS_REGISTRATION_REQUIRES_WHITELIST",
        switch,
        False,
        "1: only whoever names a listed e-mail address may make an account",
    ),
)


# --- the registry as a whole ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mrs:
    """What the handlers are given: the parts of the registry, and its settings by the names in :data:`SETTINGS`."""

    settings: dict[str, Any]
    store: Store
    clock: Callable[[], float]
    registry: Registry
    accounts: Accounts
    whitelist: Whitelist
    throttle: Throttle
    nonces: NonceTable
    authenticator: Authenticator
    ring: KeyRing
    peers: Peers

    def housekeep(self, past: float) -> None:
        """Drop what expired before the epoch second `past`."""
        self.throttle.forget(past)
        self.accounts.forget_tokens(past)
        self.nonces.housekeep(past)

    def export_text(self) -> bytes:
        """The export document (§12.3): everything but accounts and keys, as one moment of the store shows it."""
        with self.store.read() as tx:
            registrations, tombstones = self.registry.everything(tx)
            peers = sorted(self.peers.listed(tx), key=lambda peer: peer["server_url"])
        about = {"mrs_version": VERSION, "exported_at": iso_time(self.clock()), "server": self.settings["url"]}
        parts = (json_bytes(about)[:-1], b",".join(registrations), b",".join(tombstones), json_bytes(peers))
        return b'%b,"registrations":[%b],"tombstones":[%b],"peers":%b}' % parts

    def take_in(self, exported: Any) -> dict[str, Any]:
        """Import a document (§12.4): all of it, or nothing if one entry is bad.

        Returns how many entries of each kind the document has, and how many of them were skipped, being older than what
        is kept.  Raises :class:`~omp.protocols.mrs.imports.BadImport`, or
        :class:`~omp.protocols.mrs.registration.BadRegistration` where an id is taken by a registration of another
        origin.
        """
        registrations, tombstones, peers = read_import(exported, self.settings["url"])
        # Everything was read before the block: in it, only a taken id can fail, and that rolls all of it back.
        with self.store.write() as tx:
            taken = self.registry.adopt(tx, registrations, tombstones)
            for peer in peers:
                self.peers.put(tx, peer)
        found = {"registrations": len(registrations), "tombstones": len(tombstones)}
        skipped = {name: found[name] - kept for name, kept in zip(found, taken, strict=True)}
        return {**found, "peers": len(peers), "skipped": skipped}


def service(context: Context) -> Mrs:
    """The registry over the context's store; its server key is made and its bootstrap peers are added (§2.2)."""
    settings = read_settings(SETTINGS, context.environ)
    url = settings["url"] = settings["url"] or context.url
    domain = settings["domain"] = settings["domain"] or domain_of(url)
    settings["admin_token"] = context.admin_token
    settings["admin_email"] = settings["admin_email"] or f"admin@{urlsplit(f'//{domain}').hostname}"
    store, clock = context.store, context.clock
    throttle, whitelist = Throttle(store, clock), Whitelist(store, clock)
    registry = Registry(store, clock, context.random_bytes, url, settings["max_registrations"])
    accounts = Accounts(
        store,
        clock,
        context.random_bytes,
        throttle,
        settings["token_hours"] * 3600,
        whitelist if settings["whitelist"] else None,
        lambda tx, username: registry.owns(tx, f"{username}@{domain}"),
    )
    ring = KeyRing(store, clock, domain)  # identities are of the domain, which may differ from the URL's
    ring.make_server_key()
    insecure = settings["insecure_keys"]
    if insecure:
        context.log("MRS_ALLOW_INSECURE_KEYS=1: keys are fetched by http and from any address; for tests only")
    remote = RemoteKeys(lambda address: fetch(address, insecure=insecure), monotonic, settings["key_cache_seconds"])
    nonces = NonceTable(store, clock, POLICY, "mrs_nonces")
    peers = Peers(store, url)
    bootstrap = [read_peer({"server_url": peer}, is_configured=True) for peer in settings["bootstrap_peers"]]
    if bootstrap:
        peers.add(bootstrap)
    return Mrs(
        settings=settings,
        store=store,
        clock=clock,
        registry=registry,
        accounts=accounts,
        whitelist=whitelist,
        throttle=throttle,
        nonces=nonces,
        authenticator=Authenticator(clock, context.engine, accounts, ring, remote, nonces, domain),
        ring=ring,
        peers=peers,
    )
