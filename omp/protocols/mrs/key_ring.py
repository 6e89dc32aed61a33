"""The keys that this server publishes: its users' and its own (seed §3.3, §5.5).

Users publish public keys; the server never sees their secret halves.  Its own key, ``_server``, is made at the first
start and kept with the data, secret half included.  Making it needs ``cryptography``: without the package the key is
missing until the first start with it, and its document is answered 503 saying so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from omp.protocols.mrs.instants import iso_time
from omp.protocols.mrs.key_documents import MAX_KEYS, PublishedKey, key_document
from omp.rules.encodings import b64_encode
from omp.rules.engines import CryptographyMissing, secret_keys
from omp.rules.json_text import compact
from omp.store.port import Reader, Store, after, key
from omp.web.errors import ApiError

KEYS = "mrs_keys"  # owner (a username or _server), key id -> JSON PublishedKey
SECRETS = "mrs_secrets"  # "_server" -> the seed (32 bytes) of its key
SERVER = "_server"


class KeyRing:
    """The published keys in `store`; `domain` is that of this server's identities."""

    def __init__(self, store: Store, clock: Callable[[], float], domain: str) -> None:
        self._store = store
        self._clock = clock
        self._domain = domain
        self.missing = ""
        """Why there is no server key, or nothing."""

    def make_server_key(self) -> None:
        """Make the server's key if there is none (seed §11)."""
        if self._store.get(SECRETS, SERVER.encode()) is not None:
            return
        try:
            secrets = secret_keys()
        except CryptographyMissing as error:
            self.missing = str(error)
            return
        seed = secrets.generate()
        public = b64_encode(secrets.public_key(seed))
        with self._store.write() as tx:
            if tx.get(SECRETS, SERVER.encode()) is None:  # another process may have been first
                tx.put(SECRETS, SERVER.encode(), seed)
                tx.put(KEYS, key(SERVER, "key-1"), _row("key-1", public, iso_time(self._clock()), None))

    def publish(self, owner: str, key_id: str, public_key: bytes, expires: str | None) -> PublishedKey:
        """Publish a key under `key_id`, in place of the one that has that id."""
        row = _row(key_id, b64_encode(public_key), iso_time(self._clock()), expires)
        with self._store.write() as tx:
            others = [kept for kept in _keys_of(tx, owner) if kept["key_id"] != key_id]
            if len(others) >= MAX_KEYS:
                raise ApiError(409, f"There are {MAX_KEYS} keys already; publish this one under the id of an old one.")
            tx.put(KEYS, key(owner, key_id), row)
        return _published(row)

    def deprecate(self, owner: str, key_id: str) -> PublishedKey:
        """Mark a key as one that verifies nothing any more; :class:`ApiError` 404 for an unknown one."""
        with self._store.write() as tx:
            row = tx.get(KEYS, key(owner, key_id))
            if row is None:
                raise ApiError(404, f"There is no key {key_id} of yours.")
            kept = _published(row)
            kept["deprecated"] = True
            tx.put(KEYS, key(owner, key_id), compact(kept).encode())
        return kept

    def document(self, owner: str) -> dict[str, Any]:
        """The key document of a username or ``_server``; :class:`ApiError` 404 where there are no keys."""
        with self._store.read() as tx:
            keys = _keys_of(tx, owner)
        if not keys and owner == SERVER:
            raise ApiError(503, f"This server has no key of its own yet. {self.missing}")
        if not keys:
            raise ApiError(404, "There are no published keys of this identity.")
        return key_document(f"{owner}@{self._domain}", keys)


def _keys_of(tx: Reader, owner: str) -> list[PublishedKey]:
    prefix = key(owner)
    return [_published(row) for _, row in tx.scan(KEYS, prefix, after(prefix))]


def _row(key_id: str, public: str, created: str, expires: str | None) -> bytes:
    kept: PublishedKey = {
        "key_id": key_id,
        "key": public,
        "created": created,
        "expires": expires,
        "deprecated": False,
    }
    return compact(kept).encode()


def _published(row: bytes) -> PublishedKey:
    kept: PublishedKey = json.loads(row)
    return kept
