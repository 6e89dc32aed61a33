"""The registry as a whole: its parts, wired from the context that the entry hands over (seed §11)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from omp.protocols.mrs.accounts import Accounts
from omp.protocols.mrs.addresses import domain_of
from omp.protocols.mrs.fetch import fetch
from omp.protocols.mrs.identity import Authenticator
from omp.protocols.mrs.key_ring import KeyRing
from omp.protocols.mrs.peers import Peers, read_peer
from omp.protocols.mrs.registry import Registry
from omp.protocols.mrs.remote_keys import RemoteKeys
from omp.protocols.mrs.settings import SETTINGS
from omp.protocols.mrs.throttle import Throttle
from omp.store.port import Store
from omp.web.routes import Context
from omp.web.settings import read_settings
from omp.web.signature_guard import NonceTable


@dataclass(frozen=True)
class Mrs:
    """What the handlers are given: the parts of the registry, and how it is set up (:mod:`settings`)."""

    settings: dict[str, Any]
    store: Store
    clock: Callable[[], float]
    registry: Registry
    accounts: Accounts
    throttle: Throttle
    nonces: NonceTable
    authenticator: Authenticator
    ring: KeyRing
    peers: Peers

    def housekeep(self, now: float) -> None:
        """Drop what has expired."""
        self.throttle.forget(now)
        self.accounts.forget_tokens(now)
        self.nonces.housekeep(now)


def service(context: Context) -> Mrs:
    """The registry over the context's store, its server key and its bootstrap peers in place."""
    settings = read_settings(SETTINGS, context.environ)
    url = settings["url"] = settings["url"] or context.url
    domain = settings["domain"] = settings["domain"] or domain_of(url)
    settings["admin_email"] = settings["admin_email"] or f"admin@{urlsplit(f'//{domain}').hostname}"
    store, clock = context.store, context.clock
    throttle = Throttle(store, clock)
    accounts = Accounts(store, clock, context.random_bytes, throttle, settings["token_hours"] * 3600)
    ring = KeyRing(store, clock, domain)
    ring.make_server_key()
    insecure = settings["insecure_keys"]
    if insecure:
        context.log("MRS_ALLOW_INSECURE_KEYS=1: keys are fetched by http and from any address; for tests only")
    remote = RemoteKeys(lambda address: fetch(address, insecure=insecure), clock, settings["key_cache_seconds"])
    nonces = NonceTable(store, clock, "mrs_nonces")
    peers = Peers(store, url)
    bootstrap = [read_peer({"server_url": peer}, is_configured=True) for peer in settings["bootstrap_peers"]]
    if bootstrap:
        peers.add(bootstrap)
    return Mrs(
        settings=settings,
        store=store,
        clock=clock,
        registry=Registry(store, clock, context.random_bytes, url),
        accounts=accounts,
        throttle=throttle,
        nonces=nonces,
        authenticator=Authenticator(clock, context.engine, accounts, ring, remote, nonces, url, domain),
        ring=ring,
        peers=peers,
    )
