"""Accounts and tokens of the users whose identities this server manages (mrs.md "Accounts", seed §3.2, §3.4, §6.1).

A user's identity is ``username@domain``.  Passwords are kept as :mod:`passwords` hashes them, tokens (256 random bits)
as their SHA-256 only: who reads the tables can use neither.  A token's row is found by that hash, so how long finding
it takes tells a guesser nothing about any token.

Everything lives in tables, so that several processes share it, and a durable store keeps it over a restart.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple

from omp.protocols.mrs.instants import iso_time
from omp.protocols.mrs.passwords import SALT_BYTES, hash_password, matches
from omp.protocols.mrs.throttle import Throttle
from omp.rules.encodings import b64u_encode
from omp.rules.json_text import compact
from omp.store.port import Store, Writer, key
from omp.web.errors import ApiError

USERS = "mrs_users"  # username -> JSON {"password", "email", "created_at"}
TOKENS = "mrs_tokens"  # SHA-256 -> expiry (epoch ms, 8 bytes), username
TOKENS_BY_AGE = "mrs_tokens_by_age"  # expiry, SHA-256 -> nothing
USERNAME = "[A-Za-z0-9_-]{1,64}"
RESERVED = ("_server",)
_AT_ONCE = 500  # rows that housekeeping deletes in one transaction


class Token(NamedTuple):
    """A fresh bearer token and when it ends, an ISO time."""

    token: str
    expires_at: str


class Accounts:
    """Users and tokens in `store`; a token is good for `token_seconds`."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        throttle: Throttle,
        token_seconds: int,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random_bytes
        self._throttle = throttle
        self._token_seconds = token_seconds

    def register(self, username: str, password: str, email: str | None) -> Token:
        """Make an account and log it in; :class:`ApiError` 400 where the name is taken or reserved."""
        taken = ApiError(400, f"The username {username} is taken.")
        if username in RESERVED:
            raise ApiError(400, f"The username {username} is reserved.")
        if self._store.get(USERS, username.encode()) is not None:
            raise taken
        hashed = hash_password(password, self._random(SALT_BYTES))
        account = {"password": hashed, "email": email, "created_at": iso_time(self._clock())}
        with self._store.write() as tx:
            if tx.get(USERS, username.encode()) is not None:  # while the password was hashed
                raise taken
            tx.put(USERS, username.encode(), compact(account).encode())
            return self._new_token(tx, username)

    def login(self, username: str, password: str, address: str) -> Token:
        """A token for the right password; :class:`ApiError` 401 in the same time whether or not the user exists."""
        self._throttle.check(username, address)
        account = self.account(username)
        if not matches(password, account["password"] if account else None):
            self._throttle.failed(username, address)
            raise ApiError(401, "The username or the password is wrong.", headers=[("WWW-Authenticate", "Bearer")])
        self._throttle.check(username, address)  # guesses sent at once with the right one among them
        with self._store.write() as tx:
            return self._new_token(tx, username)

    def user_of(self, token: str) -> str | None:
        """The username that a bearer token stands for now."""
        row = self._store.get(TOKENS, sha256(token.encode()).digest())
        if row is None or int.from_bytes(row[:8], "big") <= self._clock() * 1000:
            return None
        return row[8:].decode()

    def account(self, username: str) -> dict[str, Any] | None:
        """What is kept of a user: `password` (hashed), `email`, `created_at`."""
        row = self._store.get(USERS, username.encode())
        return json.loads(row) if row is not None else None

    def forget_tokens(self, now: float) -> None:
        """Drop tokens that have ended."""
        end = key(int(now * 1000))
        with self._store.read() as tx:
            if next(tx.scan(TOKENS_BY_AGE, b"", end), None) is None:
                return
        with self._store.write() as tx:
            old = list(islice(tx.scan(TOKENS_BY_AGE, b"", end), _AT_ONCE))
            for row, _ in old:
                tx.delete(TOKENS_BY_AGE, row)
                tx.delete(TOKENS, row[8:])

    def _new_token(self, tx: Writer, username: str) -> Token:
        token = b64u_encode(self._random(32))
        digest = sha256(token.encode()).digest()
        ends = self._clock() + self._token_seconds
        expiry = key(int(ends * 1000))
        tx.put(TOKENS, digest, expiry + username.encode())
        tx.put(TOKENS_BY_AGE, expiry + digest, b"")
        return Token(token, iso_time(ends))
