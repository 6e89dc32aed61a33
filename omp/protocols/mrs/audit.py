"""What must hold of the rows of the registry (§4, §11): records are what their claims make, and all else follows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from omp.protocols.mrs.accounts import FAILURES, NEW, USERS
from omp.protocols.mrs.accounts import TOKENS as LOGINS
from omp.protocols.mrs.accounts import TOKENS_BY_EXPIRY as LOGINS_BY_EXPIRY
from omp.protocols.mrs.cells import LEVELS, level_of
from omp.protocols.mrs.keys import KEY_BYTES, KEYS, SECRETS, key_bytes
from omp.protocols.mrs.peers import PEERS, read_peer
from omp.protocols.mrs.polygons import Polygon
from omp.protocols.mrs.registration import Header, Registration, document, header, read_claim
from omp.protocols.mrs.registry import (
    CHANGES,
    IDS,
    LARGE,
    MADE,
    ORIGINS,
    OUTLINES,
    OWNERS,
    PLACES,
    STATE,
    TOMBSTONES,
    packed_counts,
    place_of,
)
from omp.protocols.mrs.schemas import epoch_of
from omp.protocols.mrs.whitelist import WHITELIST
from omp.store.audit import Check, Kind
from omp.store.port import key
from omp.web.signature_guard import audit_nonces

NONCES = "mrs_nonces"
TABLES = {
    PLACES: Kind.KEPT,
    CHANGES: Kind.KEPT,
    OUTLINES: Kind.DERIVED,
    IDS: Kind.DERIVED,
    OWNERS: Kind.DERIVED,
    TOMBSTONES: Kind.DERIVED,
    ORIGINS: Kind.DERIVED,
    MADE: Kind.DERIVED,
    STATE: Kind.DERIVED,
    USERS: Kind.KEPT,
    KEYS: Kind.KEPT,
    SECRETS: Kind.KEPT,
    PEERS: Kind.KEPT,
    WHITELIST: Kind.KEPT,
    LOGINS: Kind.PASSING,
    LOGINS_BY_EXPIRY: Kind.DERIVED,
    FAILURES: Kind.PASSING,
    NEW: Kind.PASSING,
    NONCES: Kind.PASSING,
    NONCES + "_due": Kind.DERIVED,
}


def audit(check: Check) -> None:
    """Make each record again from its own claim, and compare indexes, feed and counters with the records."""
    places = _Places(check)
    for row, record in check.rows(PLACES):
        try:
            places.read(row, record)
        except Exception as error:
            check.wrong(PLACES, row, f"it cannot be read ({type(error).__name__})")
    places.audit_feed()
    places.expect_counters()
    _audit_json(check)
    for row, login in check.rows(LOGINS):
        check.expect(LOGINS_BY_EXPIRY, login[:8] + row, b"")
    for table in (FAILURES, NEW):
        for row, times in check.rows(table):
            check.require(len(times) % 8 == 0, table, row, "it is no list of times")
    audit_nonces(check, NONCES)


class _Places:
    """The registrations, and what follows from them."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._levels = [0] * LEVELS
        self._large = [0] * LEVELS
        self._made: Counter[bytes] = Counter()
        self._in_feed: dict[bytes, bytes] = {}
        self._last = 0

    def read(self, row: bytes, record: bytes) -> None:
        check, numbers, value = self._check, header(record), document(record)
        registration = _registration(value, numbers)
        is_whole = registration.record(numbers.sequence) == record and place_of(registration) == row
        check.require(is_whole, PLACES, row, "its header or its cell is not that of its claim")
        name, sequence = value["id"].encode(), key(numbers.sequence)
        check.expect(IDS, name, row)
        check.expect(OWNERS, key(value["owner"]) + numbers.digest + name, b"")
        self._in_feed[sequence] = name
        geometry = registration.claim.geometry
        if not value["foad"]:
            level = level_of(numbers.reach)
            self._levels[level] += 1
            self._large[level] += len(record) > LARGE
            # Rows of earlier versions have no outline, and do without.
            if isinstance(geometry, Polygon) and check.tx.get(OUTLINES, name) is not None:
                check.expect(OUTLINES, name, sequence + geometry.outline.packed)
        if value["id"] != value["origin_id"]:
            check.expect(ORIGINS, key(value["origin_server"], value["origin_id"]), name)
        self._made[value["owner"].encode()] += numbers.counts

    def audit_feed(self) -> None:
        """Each registration is in the change feed once, at its last change; all else in it are tombstones."""
        check, left = self._check, dict(self._in_feed)
        for row, value in check.rows(CHANGES):
            self._last = max(self._last, int.from_bytes(row, "big"))
            if not value.startswith(b"{"):
                check.require(left.pop(row, None) == value, CHANGES, row, "it names no registration that changed then")
                continue
            try:
                stone = json.loads(value)
                check.expect(TOMBSTONES, key(stone["origin_server"], stone["origin_id"]), row)
            except (ValueError, KeyError, TypeError) as error:
                check.wrong(CHANGES, row, f"it is no tombstone ({type(error).__name__})")
        for row in left:
            check.wrong(CHANGES, row, "it is missing, and a registration changed then")

    def expect_counters(self) -> None:
        """The rows that count registrations; numbers that only have to rise may be higher."""
        check = self._check
        for owner, made in self._made.items():
            if made:
                check.expect(MADE, owner, key(made))
        found = dict(check.rows(STATE))
        last = max(found.get(b"sequence", b""), key(self._last))
        for name, value in ((b"sequence", last), (b"levels", packed_counts(self._levels))):
            if self._last:
                check.expect(STATE, name, value)
        for name in (b"large", b"peers"):
            if name in found:  # of large records those of earlier versions are not counted
                check.expect(STATE, name, found[name])


def _registration(value: dict[str, Any], numbers: Header) -> Registration:
    names = ("id", "owner", "origin_server", "origin_id", "version", "created", "updated")
    return Registration(
        claim=read_claim(value), **{name: value[name] for name in names}, local=numbers.local, counts=numbers.counts
    )


def _audit_json(check: Check) -> None:
    """Accounts, keys, peers and the whitelist."""
    for table, is_whole in _FORMS.items():
        for row, value in check.rows(table):
            try:
                fits = is_whole(row, json.loads(value))
            except Exception:
                fits = False
            check.require(fits, table, row, "it is not of the form of this table")
    for row, seed in check.rows(SECRETS):
        check.require(len(seed) == KEY_BYTES, SECRETS, row, "it is no seed of a key")


def _is_user(row: bytes, user: Any) -> bool:
    return str(user["password"]).startswith("scrypt$") and epoch_of(user["created_at"]) is not None


def _is_key(row: bytes, kept: Any) -> bool:
    return row.endswith(key(str(kept["key_id"]))) and key_bytes(kept["key"]) is not None


def _is_peer(row: bytes, peer: Any) -> bool:
    return row == str(peer["server_url"]).encode() and dict(read_peer(peer, is_configured=False)) == peer


def _is_listed(row: bytes, listed: Any) -> bool:
    return "@" in row.decode() and epoch_of(listed["added_at"]) is not None


_FORMS: dict[str, Callable[[bytes, Any], bool]] = {
    USERS: _is_user,
    KEYS: _is_key,
    PEERS: _is_peer,
    WHITELIST: _is_listed,
}
