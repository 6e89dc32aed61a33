"""Who is calling: challenges and bearer tokens (§3).

A member proves that it holds its Ed25519 key by signing 32 random bytes, and gets a token for an hour.  Guaranteed:

* A nonce is good for one attempt, whoever makes it: using it up and storing the token are one transaction.
* A token has 256 random bits and is stored as its SHA-256 only.  The row is found by the first half of the hash, and
  the whole hash is compared in constant time: neither the table nor the time of an answer tells how close a guess was.
* The number of outstanding nonces is bounded.  A challenge costs its sender nothing, so somebody will ask for a
  million; when there is one too many, the oldest is dropped.  The bound is one for all and not one for each key: keys
  are public, so with a bound for each a stranger could push out the nonces of a chosen member with a few requests.
  With 50,000 nonces, a flood of 10,000 a second needs 5 seconds to push one out; a client signs within milliseconds,
  so members still get in.  To forget a nonce is safe (the client asks for another); to forget that one was used is
  not: that is why the table holds the unused ones.

Everything lives in tables of the store, so that several server processes could share it, and with durable storage
tokens survive a restart.

The caller must turn :class:`UnprovenCaller` into a 401, and limit the rate of *signed* redemptions (in a proxy): each
leaves a row for an hour.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from omp.protocols.avp.schemas import VaultError
from omp.rules.encodings import b64_encode, b64u_encode
from omp.rules.engines import Engine
from omp.store.port import Store, Writer, key

NONCE_BYTES = 32
NONCE_LIFETIME_MS = 2 * 60 * 1000
TOKEN_LIFETIME_MS = 60 * 60 * 1000

NONCES = "avp_nonces"  # nonce -> expiry ms (8 bytes), its key in NONCES_BY_NUMBER (8), raw public key (32)
# Both indexes are in order of expiry: of the nonces unless the clock was set back, and then some are dropped later.
# A table's name in an existing file cannot change, so they still say "age".
NONCES_BY_NUMBER = "avp_nonces_by_age"  # number of the challenge, from 1 (8) -> expiry ms (8), nonce
TOKENS = "avp_tokens"  # first half of SHA-256 -> expiry ms (8), SHA-256 (32), member id
TOKENS_BY_EXPIRY = "avp_tokens_by_age"  # expiry ms (8), key in TOKENS -> expiry ms (8), key in TOKENS

_HALF = 16
_AT_ONCE = 500  # rows that housekeeping deletes in one transaction, so that others wait for a few milliseconds only


class UnprovenCaller(VaultError):
    """The caller sent no token, an unknown or expired one, or an answer to a challenge that proves nothing."""


class MalformedKey(VaultError):
    """The key that a challenge is asked for, or answered with, is not the base64 of 32 bytes."""


class Sessions:
    """Challenges and tokens in `store`; `clock` gives epoch seconds, `random_bytes` unpredictable bytes."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        max_nonces: int,
    ) -> None:
        self._store = store
        self._verify = engine.verify
        self._clock = clock
        self._random_bytes = random_bytes
        self._max_nonces = max_nonces

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def challenge(self, public_key: bytes) -> bytes:
        """A new nonce (32 bytes, good for two minutes) for the member with this raw public key (§3.1)."""
        nonce = self._random_bytes(NONCE_BYTES)
        expiry = (self._now() + NONCE_LIFETIME_MS).to_bytes(8, "big")
        with self._store.write() as tx:
            last, _ = next(tx.scan(NONCES_BY_NUMBER, reverse=True), (bytes(8), b""))
            count = int.from_bytes(last, "big") + 1
            self._evict(tx, count)
            number = key(count)
            tx.put(NONCES, nonce, expiry + number + public_key)
            tx.put(NONCES_BY_NUMBER, number, expiry + nonce)
        return nonce

    def _evict(self, tx: Writer, count: int) -> None:
        """Make room for challenge number `count`: at most `max_nonces` are outstanding at a time."""
        oldest, row = next(tx.scan(NONCES_BY_NUMBER), (key(count), b""))
        if oldest <= key(max(0, count - self._max_nonces)):
            tx.delete(NONCES_BY_NUMBER, oldest)
            tx.delete(NONCES, row[8:])

    def redeem(self, public_key: bytes, nonce: bytes, signature: bytes) -> tuple[str, int]:
        """A token for the member, and its expiry in epoch milliseconds; uses `nonce` up, whatever the result (§3.2).

        Raises :class:`UnprovenCaller` unless `nonce` is outstanding, was given to this key, and
        `signature` (64 bytes) is its signature over the bytes of the nonce.
        """
        now = self._now()
        held = self._store.get(NONCES, nonce)
        if held is None:  # a guess costs neither a verification nor a transaction
            raise _unmet()
        # Outside the transaction, so that no other request waits for the curve.
        proved = self._is_met(held, now, public_key, nonce, signature)
        token = b64u_encode(self._random_bytes(32))
        expiry = now + TOKEN_LIFETIME_MS
        with self._store.write() as tx:
            proved = _take(tx, nonce) == held and proved
            if proved:
                self._keep(tx, token, expiry, public_key)
        # Not inside the block: that would roll it back, and the nonce would be good for another attempt.
        if not proved:
            raise _unmet()
        return token, expiry

    def discard(self, nonce: bytes) -> None:
        """Use `nonce` up after an attempt that named no usable key."""
        with self._store.write() as tx:
            _take(tx, nonce)

    def _is_met(self, held: bytes, now: int, public_key: bytes, nonce: bytes, signature: bytes) -> bool:
        expiry = int.from_bytes(held[:8], "big")
        return now < expiry and held[16:] == public_key and self._verify(public_key, nonce, signature)

    def _keep(self, tx: Writer, token: str, expiry: int, public_key: bytes) -> None:
        digest = hashlib.sha256(token.encode()).digest()
        expires = expiry.to_bytes(8, "big")
        tx.put(TOKENS, digest[:_HALF], expires + digest + b64_encode(public_key).encode())
        tx.put(TOKENS_BY_EXPIRY, expires + digest[:_HALF], expires + digest[:_HALF])

    def member(self, authorization: str) -> str:
        """The id of the member whose token an ``Authorization`` field holds (§3.3), or :class:`UnprovenCaller`."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise UnprovenCaller("This needs a token: Authorization: Bearer <token>.")
        digest = hashlib.sha256(token.strip().encode()).digest()
        row = self._store.get(TOKENS, digest[:_HALF])
        if row is None or not hmac.compare_digest(row[8:40], digest) or int.from_bytes(row[:8], "big") <= self._now():
            raise UnprovenCaller("The token is unknown or expired; ask for another.")
        return row[40:].decode()

    def drop_expired(self, past: float) -> None:
        """Delete the nonces and tokens that expired before the epoch second `past`, oldest first."""
        moment = int(past * 1000).to_bytes(8, "big")
        for index, rows in ((NONCES_BY_NUMBER, NONCES), (TOKENS_BY_EXPIRY, TOKENS)):
            while self._drop_some(index, rows, moment) == _AT_ONCE:
                pass

    def _drop_some(self, index: str, rows: str, moment: bytes) -> int:
        with self._store.read() as tx:  # usually nothing has expired, and a read blocks nobody
            _, oldest = next(tx.scan(index), (b"", b""))
        if not oldest or oldest[:8] > moment:
            return 0
        expired: list[tuple[bytes, bytes]] = []
        with self._store.write() as tx:
            for position, value in tx.scan(index):
                if value[:8] > moment or len(expired) == _AT_ONCE:
                    break
                expired.append((position, value[8:]))
            for position, row in expired:
                tx.delete(index, position)
                tx.delete(rows, row)
        return len(expired)


def _unmet() -> UnprovenCaller:
    return UnprovenCaller(
        "The nonce is unknown, used, expired or another key's, or wrongly signed: signature must be the base64, with "
        "+ and / and padding, of 64 bytes that sign the 32 bytes of the nonce."
    )


def _take(tx: Writer, nonce: bytes) -> bytes | None:
    """Delete `nonce`.  Returns the row that it had, or None if it was not outstanding."""
    row = tx.get(NONCES, nonce)
    if row is not None:
        tx.delete(NONCES, nonce)
        tx.delete(NONCES_BY_NUMBER, row[8:16])
    return row
