"""Public keys: the documents that publish them, this server's own, and those of other servers (§8.2 to §8.4, §10).

A server answers ``GET /.well-known/mrs/keys/{user}`` with a **key document**: the Ed25519 keys of one identity as JSON,
in one of two forms.  Other servers fetch it to verify what that user has signed.  Accordingly this file has three
parts:

* key documents: writing and reading both forms (pure);
* :class:`KeyRing`: the keys that this server publishes.  Users publish public keys; the server never sees the secret
  halves.  Its own key, ``_server``, is made at the first start and kept with the data, secret half included;
* :class:`RemoteKeys`: the documents of other servers, fetched when first needed and kept for a while.

What an attacker could do with forged signatures is make this server fetch.  So one document is fetched once at a time,
however many requests wait for it; at most :data:`MAX_AT_ONCE` are fetched in all, and fewer for one caller or from one
domain; a failure is remembered for :data:`FAILURE_SECONDS`; and nobody waits longer than five seconds, resolving the
name included.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread
from typing import Any, NamedTuple, TypedDict

from omp.protocols.mrs.addresses import domain_of, origin_of, server_url
from omp.protocols.mrs.fetch import SECONDS, FetchError
from omp.protocols.mrs.schemas import RegistryError, epoch_of, iso_time
from omp.rules.encodings import EncodingError, b64_decode, b64_encode, b64u_decode
from omp.rules.engines import CryptographyMissing, secret_keys
from omp.rules.json_text import JsonError, compact, parse
from omp.store.port import Reader, Store, StoreUnavailable, after, key

KEY_BYTES = 32
MAX_KEYS = 16
"""The most keys of one identity that are published or tried: each can cost a verification."""


class NoSuchKey(RegistryError):
    """The identity has no such key, or none at all."""


class TooManyKeys(RegistryError):
    """The user has published :data:`MAX_KEYS` keys already."""


class NoServerKey(RegistryError):
    """This server has no key of its own, because the package ``cryptography`` was missing at every start so far."""


# --- key documents (§8.2) -------------------------------------------------------------------------------------------


class PublishedKey(TypedDict):
    """A key as it is kept: `expires` an ISO time or None."""

    key_id: str
    key: str
    created: str
    expires: str | None
    deprecated: bool


def key_bytes(text: str) -> bytes | None:
    """The 32 bytes of a public key in base64 or base64url, or None."""
    for decode in (b64_decode, b64u_decode):  # strict ones: a text has one reading at most
        try:
            raw = decode(text)
        except EncodingError:
            continue
        if len(raw) == KEY_BYTES:
            return raw
    return None


def key_document(identity: str, keys: Sequence[PublishedKey]) -> dict[str, Any]:
    """The document of at least one key, in the order given: the single form where it can say everything."""
    if len(keys) == 1 and not keys[0]["expires"] and not keys[0]["deprecated"]:
        only = keys[0]
        return {
            "id": identity,
            "public_key": {"type": "Ed25519", "key": only["key"]},
            "created": only["created"],
        }
    return {"id": identity, "keys": [described(kept) for kept in keys]}


def described(kept: PublishedKey) -> dict[str, Any]:
    """A key as the form with several keys shows it."""
    shown = {"key_id": kept["key_id"], "type": "Ed25519", "key": kept["key"], "created": kept["created"]}
    if kept["expires"]:
        shown["expires"] = kept["expires"]
    return {**shown, "deprecated": True} if kept["deprecated"] else shown


def usable_keys(document: Any, identity: str, now: float) -> list[bytes]:
    """The public keys in a document of `identity` that may verify a signature at `now`, epoch seconds (§10.4).

    Empty where the document is that of another identity.  Skipped are keys that are deprecated or expired, and entries
    that are not Ed25519 keys.
    """
    if not isinstance(document, dict) or document.get("id") != identity:
        return []
    several = document.get("keys")
    entries = several if isinstance(several, list) else [document.get("public_key")]
    found = []
    for entry in entries:
        if isinstance(entry, dict) and entry.get("type", "Ed25519") == "Ed25519" and _in_use(entry, now):
            text = entry.get("key")
            raw = key_bytes(text) if isinstance(text, str) else None
            if raw is not None:
                found.append(raw)
    return found[:MAX_KEYS]


def _in_use(entry: dict[str, Any], now: float) -> bool:
    if entry.get("deprecated"):
        return False
    expires = entry.get("expires")
    if expires is None:
        return True
    until = epoch_of(expires) if isinstance(expires, str) else None
    return until is not None and now < until


# --- the keys that this server publishes (§8.3, §8.4) ---------------------------------------------------------------

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
        """Why the server has no key; empty if it has one."""

    def make_server_key(self) -> None:
        """Make the server's key if there is none; needs ``cryptography``, and without it sets :attr:`missing`."""
        try:
            if self._store.get(SECRETS, SERVER.encode()) is not None:
                return
        except StoreUnavailable as error:
            # Damaged: no reason to stop the start, and another key would make every signature of the old one bad.
            self.missing = f"{error}."
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
        """Publish a key, replacing the one that has the same id; :class:`TooManyKeys`."""
        row = _row(key_id, b64_encode(public_key), iso_time(self._clock()), expires)
        with self._store.write() as tx:
            others = [kept for kept in _keys_of(tx, owner) if kept["key_id"] != key_id]
            if len(others) >= MAX_KEYS:
                raise TooManyKeys(f"There are {MAX_KEYS} keys already; publish this one under the id of an old one.")
            tx.put(KEYS, key(owner, key_id), row)
        return _published(row)

    def deprecate(self, owner: str, key_id: str) -> PublishedKey:
        """Mark a key as deprecated: it verifies nothing from now on; :class:`NoSuchKey`."""
        with self._store.write() as tx:
            row = tx.get(KEYS, key(owner, key_id))
            if row is None:
                raise NoSuchKey(f"There is no key {key_id} of yours.")
            kept = _published(row)
            kept["deprecated"] = True
            tx.put(KEYS, key(owner, key_id), compact(kept).encode())
        return kept

    def document(self, owner: str) -> dict[str, Any]:
        """The key document of a username or ``_server``; :class:`NoSuchKey` or :class:`NoServerKey`."""
        with self._store.read() as tx:
            keys = _keys_of(tx, owner, complete=True)  # a document without a key would make its signatures bad
        # 503 and not 404: the key will be there after a start with the package.
        if not keys and owner == SERVER:
            raise NoServerKey(f"This server has no key of its own yet. {self.missing}")
        if not keys:
            raise NoSuchKey("There are no published keys of this identity.")
        return key_document(f"{owner}@{self._domain}", keys)


def _keys_of(tx: Reader, owner: str, *, complete: bool = False) -> list[PublishedKey]:
    prefix = key(owner)
    return [_published(row) for _, row in tx.scan(KEYS, prefix, after(prefix), complete=complete)]


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


# --- the keys of other servers (§10.3) ------------------------------------------------------------------------------

MAX_DOCUMENTS = 1000
MAX_OF_DOMAIN = 500
"""Documents of one domain that are kept."""
MAX_FAILURES = 1000
FAILURE_SECONDS = 10.0
MAX_AT_ONCE = 16
MAX_AT_ONCE_OF_ONE = 4
"""Fetches under way from one domain, or for one calling address: who names servers that hang blocks no others."""
A_MINUTE_OF_DOMAIN = 60
A_MINUTE_OF_CALLER = 10
"""Fetches that begin within a minute.  In the hour for which a document is kept one caller cannot displace all."""
_MINUTE = 60.0


class _Kept(NamedTuple):
    """A document: until when it is kept, its JSON text, and its domain."""

    until: float
    text: bytes
    domain: str


class _Fetch:
    """A fetch under way; once `done` is set there is a `body` or a `failure`."""

    def __init__(self, domain: str, caller: str) -> None:
        self.domain = domain
        self.caller = caller
        self.done = Event()
        self.body = b""
        self.failure: str | None = "its server did not answer in time"


class _Rate:
    """How many fetches began within the last minute, for each name."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun: dict[str, list[float]] = {}

    def is_full(self, name: str, now: float) -> bool:
        """Whether there were enough for `name`."""
        recent = self._begun[name] = [time for time in self._begun.get(name, ()) if now - _MINUTE < time <= now]
        return len(recent) >= self._limit

    def count(self, name: str, now: float) -> None:
        """One more has begun; names without a recent one are forgotten now and then."""
        self._begun.setdefault(name, []).append(now)
        if len(self._begun) > 2 * MAX_DOCUMENTS:
            self._begun = {each: times for each, times in self._begun.items() if times and now - _MINUTE < times[-1]}


class RemoteKeys:
    """Key documents by URL, in this process's memory: a cache, from which nothing is lost.

    `fetch` gets one document, `ticks` gives seconds of a clock that never steps, `keep_seconds` is how long a document
    is kept, and nobody waits longer than `wait_seconds`.

    Anybody can make this server fetch, by a signature that need not verify.  So what such a fetch leaves behind must
    harm nobody else: a failure is remembered among failures, and never takes the place of a document; the fetches of
    one calling address, and from one domain, are bounded; and of one domain half of the documents are kept at most.
    When there are too many, the one that was unused for longest goes.  A document is kept as its text: parsed, 64 KiB
    of JSON can take megabytes.
    """

    def __init__(
        self,
        fetch: Callable[[str], bytes],
        ticks: Callable[[], float],
        keep_seconds: float,
        wait_seconds: float = SECONDS,
    ) -> None:
        self._fetch = fetch
        self._ticks = ticks
        self._keep_seconds = keep_seconds
        self._wait_seconds = wait_seconds
        self._documents: OrderedDict[str, _Kept] = OrderedDict()
        self._failures: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._under_way: dict[str, _Fetch] = {}
        self._of_domain = _Rate(A_MINUTE_OF_DOMAIN)
        self._of_caller = _Rate(A_MINUTE_OF_CALLER)
        self._lock = Lock()

    def document(self, url: str, caller: str) -> Any:
        """The JSON value at `url`, at most `keep_seconds` old, for somebody who calls from the address `caller`.

        Raises :class:`FetchError` if it cannot be had.
        """
        url = server_url(url)  # one document has one name here, however its address is written
        with self._lock:
            now = self._ticks()
            kept = self._documents.get(url)
            if kept is not None and now < kept.until:
                self._documents.move_to_end(url)
                return parse(kept.text)
            until, failure = self._failures.get(url, (0.0, ""))
            if now < until:
                raise FetchError(failure)
            under_way = self._under_way.get(url) or self._start(url, origin_of(caller), now)
        # Outside the lock, and bounded: resolving a name cannot be interrupted, and has no limit of its own.
        under_way.done.wait(self._wait_seconds)
        if under_way.failure is not None:
            raise FetchError(under_way.failure)
        return parse(under_way.body)

    def _start(self, url: str, caller: str, now: float) -> _Fetch:
        domain = domain_of(url)
        others = self._under_way.values()
        if (
            len(others) >= MAX_AT_ONCE
            or sum(other.domain == domain for other in others) >= MAX_AT_ONCE_OF_ONE
            or sum(other.caller == caller for other in others) >= MAX_AT_ONCE_OF_ONE
        ):
            raise FetchError("too many keys are being fetched at this moment")
        if self._of_caller.is_full(caller, now) or self._of_domain.is_full(domain, now):
            raise FetchError("too many keys were fetched within a minute")
        self._of_caller.count(caller, now)
        self._of_domain.count(domain, now)
        under_way = _Fetch(domain, caller)
        try:
            Thread(target=self._finish, args=(url, under_way), name="mrs-key", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            raise FetchError("too many keys are being fetched at this moment") from None
        self._under_way[url] = under_way  # the thread waits for the lock before it removes it
        return under_way

    def _finish(self, url: str, under_way: _Fetch) -> None:
        try:
            body = self._fetch(url)
            parse(body)
            under_way.body, under_way.failure = body, None
        except FetchError as error:
            under_way.failure = str(error)
        except JsonError:
            under_way.failure = "its document is not JSON"
        finally:
            # Whatever happens, waiters are released and the slot is freed.
            with self._lock:
                del self._under_way[url]
                self._keep(url, under_way)
            under_way.done.set()

    def _keep(self, url: str, fetched: _Fetch) -> None:
        now = self._ticks()
        if fetched.failure is not None:
            self._failures[url] = (now + FAILURE_SECONDS, fetched.failure)
            self._failures.move_to_end(url)
            if len(self._failures) > MAX_FAILURES:
                self._failures.popitem(last=False)
            return
        self._documents[url] = _Kept(now + self._keep_seconds, fetched.body, fetched.domain)
        self._documents.move_to_end(url)
        of_domain = [each for each, kept in self._documents.items() if kept.domain == fetched.domain]
        if len(of_domain) > MAX_OF_DOMAIN:
            del self._documents[of_domain[0]]
        elif len(self._documents) > MAX_DOCUMENTS:
            self._documents.popitem(last=False)
