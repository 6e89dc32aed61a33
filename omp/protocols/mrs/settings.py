"""What an MRS server is told at its start (seed §10), as the table that ``--help`` and the README are made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import pi
from typing import Any

from omp.protocols.mrs.addresses import domain_of, server_url
from omp.protocols.mrs.geometry import EARTH_RADIUS_M, GeometryError
from omp.protocols.mrs.spaces import read_space
from omp.web.settings import Setting, switch, whole_number

_HALF_WAY_ROUND = int(pi * EARTH_RADIUS_M)


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
    """A JSON list, or addresses between commas."""
    if text.lstrip().startswith("["):
        return _list_of(_peer, "addresses")(text)
    return [_peer(part) for part in text.split(",") if part.strip()]


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
        "max_radius", "MRS_MAX_RADIUS", whole_number(1, _HALF_WAY_ROUND), 1_000_000, "largest range of a search, metres"
    ),
    Setting("max_results", "MRS_MAX_RESULTS", whole_number(1, 10_000), 100, "most results of a search"),
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
    Setting("admin_token", "OMP_ADMIN_TOKEN", str, None, "bearer token of /admin; without it, loopback only"),
)
