"""Accounts of the users whose identities this server manages: passwords, tokens, failed logins (§3).

A user's identity is ``username@domain``.  What an attacker could do here, and what stops it:

* *Read the tables.*  Passwords are kept as salted scrypt hashes, tokens (256 random bits) as their SHA-256 only.
* *Find out who has an account.*  A login takes the same time and gets the same answer whether or not the user exists.
  A token's row is found by its hash, so the time that takes tells a guesser nothing about any token.
* *Guess passwords.*  Ten failures within a minute for one user or one address are answered; after them every login is
  refused until the minute is over (:class:`Throttle`).
* *Take over what was imported.*  An import has registrations of users who have no account here yet.  Whoever made an
  account of such a name would own them, so only the operator can (§3.6).
* *Make accounts in bulk*, or try which names are taken or which e-mail addresses are listed.  Ten attempts a minute are
  answered for one address.
* *Exhaust memory or processors.*  Each hash takes 16 MiB and some 40 ms on purpose; at most :data:`AT_ONCE` run at a
  time, and whoever does not get a turn within a second is refused.
* *Keep others from logging in* by making accounts from many addresses.  New passwords are hashed on one thread, which
  logins do not wait for.

In this order: passwords, attempts that are counted, accounts and tokens.  Accounts, tokens and attempts live in tables,
so that several processes share them, and a durable store keeps them over a restart.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from hashlib import scrypt, sha256
from itertools import islice
from math import ceil
from struct import iter_unpack
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from omp.protocols.mrs.addresses import origin_of
from omp.protocols.mrs.schemas import RegistryError, iso_time
from omp.protocols.mrs.whitelist import Whitelist
from omp.rules.encodings import b64u_decode, b64u_encode
from omp.rules.json_text import compact
from omp.store.port import Reader, Store, Writer, key

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

USERS = "mrs_users"  # username -> JSON {"password", "email", "created_at"}
TOKENS = "mrs_tokens"  # SHA-256 -> expiry (epoch ms, 8 bytes), username
TOKENS_BY_EXPIRY = "mrs_tokens_by_age"  # expiry, SHA-256 -> nothing
FAILURES = "mrs_failures"  # "user" or "address", which -> the times of its last failures, epoch ms, 8 bytes each
NEW = "mrs_new_accounts"  # address -> the times of its last attempts to make an account, the same way
RESERVED = ("_server",)


class NameUnavailable(RegistryError):
    """The username is taken or reserved."""


class OwnsRegistrations(RegistryError):
    """The username owns registrations that were imported: the operator alone makes its account (§3.6)."""


class WrongCredentials(RegistryError):
    """The username or the password is wrong; which of them is not said."""


class TooManyFailures(RegistryError):
    """Ten logins failed within a minute; `seconds` is how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many failed logins; please try again in {seconds} s.")
        self.seconds = max(seconds, 1)


class TooManyAccounts(RegistryError):
    """Ten accounts were asked for within a minute from one address; `seconds` is how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many new accounts from your address; please try again in {seconds} s.")
        self.seconds = max(seconds, 1)


class TooManyLogins(RegistryError):
    """So many passwords are being hashed that this one did not get its turn."""


# --- passwords ------------------------------------------------------------------------------------------------------
#
# scrypt (RFC 7914).  What is kept names its own parameters, so that stronger ones can come later:
# scrypt$16384$8$1$salt$hash.

N, R, P = 2**14, 8, 1
SALT_BYTES = 16
LOGINS_AT_ONCE = 3
AT_ONCE = LOGINS_AT_ONCE + 1
"""Hashes under way: those of logins, and the one of a new account."""
WAIT_SECONDS = 0.9
"""How long a caller waits for the hash: an answer takes a second at most (§3.2)."""
_MEMORY = 128 * 1024 * 1024


class _Hashers:
    """A few threads that hash, started when the first password comes.

    Hashing has threads of its own because the C library keeps the memory that a thread has freed for that thread: on
    the threads of many connections, hashes would in the end hold 16 MiB for each.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None

    def hashed(self, password: str, n: int, r: int, p: int, salt: bytes) -> str:
        """The text to keep; :class:`TooManyLogins` if there was no turn within :data:`WAIT_SECONDS`."""
        turn = self._started().submit(scrypt, password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)
        try:
            digest = turn.result(WAIT_SECONDS)
        except TimeoutError:
            turn.cancel()
            raise TooManyLogins("Too many passwords are being hashed at this moment; please try again.") from None
        return f"scrypt${n}${r}${p}${b64u_encode(salt)}${b64u_encode(digest)}"

    def _started(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor  # slow to import

        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="mrs-password")
            return self._pool


_new_passwords = _Hashers(AT_ONCE - LOGINS_AT_ONCE)
_logins = _Hashers(LOGINS_AT_ONCE)


def hash_password(password: str, salt: bytes) -> str:
    """The text to keep of a new password; :class:`TooManyLogins` if it had to wait too long for its turn."""
    return _new_passwords.hashed(password, N, R, P, salt)


def matches(password: str, kept: str | None) -> bool:
    """Whether `kept` was made of `password`; takes as long where `kept` is None (no such user).

    Raises :class:`TooManyLogins`.
    """
    _, n, r, p, salt, _ = (kept or _NOBODY).split("$")
    found = _logins.hashed(password, int(n), int(r), int(p), b64u_decode(salt))
    return hmac.compare_digest(found, kept or _NOBODY)


_NOBODY = f"scrypt${N}${R}${P}${b64u_encode(bytes(SALT_BYTES))}$"  # an empty hash: nothing matches it


# --- attempts that are counted (§3.3) -------------------------------------------------------------------------------

LIMIT = 10
WINDOW_MS = 60_000


class Throttle:
    """Counts failed logins of each user and address, and new accounts of each address; `clock` gives epoch seconds.

    A login asks twice: before the password is hashed, to refuse at no cost, and after it.  An attempt is counted in the
    write block that checks the count, so however many are sent at once, ten are answered: after them even the right
    password is refused until the minute is over.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def check(self, user: str, address: str) -> None:
        """:class:`TooManyFailures` where the user or the address has failed too often."""
        self._check(_LOGINS, _login_rows(user, address))

    def failed(self, user: str, address: str) -> None:
        """Count a failed login; :class:`TooManyFailures` where there were enough of them already."""
        self._count(_LOGINS, _login_rows(user, address))

    def new_account(self, address: str) -> None:
        """Count an attempt to make an account; :class:`TooManyAccounts` where there were enough of them already."""
        rows = (origin_of(address).encode(),)
        self._check(_NEW_ACCOUNTS, rows)  # a refusal writes nothing
        self._count(_NEW_ACCOUNTS, rows)

    def _check(self, counted: _Counted, rows: Sequence[bytes]) -> None:
        now = int(self._clock() * 1000)
        with self._store.read() as tx:
            for row in rows:
                counted.refuse_if_full(_recent(tx, counted.table, row, now), now)

    def _count(self, counted: _Counted, rows: Sequence[bytes]) -> None:
        now = int(self._clock() * 1000)
        with self._store.write() as tx:
            for row in rows:
                times = _recent(tx, counted.table, row, now)
                counted.refuse_if_full(times, now)
                tx.put(counted.table, row, b"".join(key(time) for time in (*times, now)))

    def forget(self, past: float) -> None:
        """Drop what is older than the window at the epoch second `past`."""
        first = int(past * 1000) - WINDOW_MS
        for table in (FAILURES, NEW):
            with self._store.read() as tx:
                old = [row for row, packed in tx.scan(table) if max(_times(packed)) <= first]
            if old:
                with self._store.write() as tx:
                    for row in old:
                        if max(_times(tx.get(table, row)), default=0) <= first:
                            tx.delete(table, row)


class _Counted(NamedTuple):
    """A kind of attempt: the table that counts it, and what refuses one too many."""

    table: str
    refusal: type[TooManyFailures] | type[TooManyAccounts]

    def refuse_if_full(self, times: Sequence[int], now: int) -> None:
        """Raise `refusal` where the window holds enough attempts already."""
        if len(times) >= LIMIT:
            raise self.refusal(ceil((min(times) + WINDOW_MS - now) / 1000))


_LOGINS = _Counted(FAILURES, TooManyFailures)
_NEW_ACCOUNTS = _Counted(NEW, TooManyAccounts)


def _login_rows(user: str, address: str) -> tuple[bytes, bytes]:
    return key("user", user), key("address", origin_of(address))


def _recent(tx: Reader, table: str, row: bytes, now: int) -> Sequence[int]:
    # Both ways: what lies far in the future was counted by a clock that has been set back since, and would otherwise
    # lock a user out for as long as the step was.
    return [time for time in _times(tx.get(table, row)) if abs(now - time) < WINDOW_MS]


def _times(packed: bytes | None) -> list[int]:
    return [number for (number,) in iter_unpack(">Q", packed or b"")]


# --- accounts and tokens (§3.1, §3.2) -------------------------------------------------------------------------------

_DELETED_AT_ONCE = 500  # rows, in one transaction of housekeeping


class Login(NamedTuple):
    """A new bearer token, and the ISO time when it expires."""

    token: str
    expires_at: str


class Accounts:
    """Users and tokens in `store`; a token is valid for `token_seconds`.

    With a `whitelist` only whoever names an address on it can make an account.  `owns` says whether a username owns
    registrations: where it has no account yet, they were imported.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        throttle: Throttle,
        token_seconds: int,
        whitelist: Whitelist | None = None,
        owns: Callable[[Reader, str], bool] = lambda tx, username: False,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random_bytes
        self._throttle = throttle
        self._token_seconds = token_seconds
        self._whitelist = whitelist
        self._owns = owns

    def register(
        self, username: str, password: str, email: str | None, address: str, *, by_operator: bool = False
    ) -> Login:
        """Make an account and log it in, for somebody who calls from `address`.

        Raises :class:`TooManyAccounts`, :class:`~omp.protocols.mrs.whitelist.NotWhitelisted`, :class:`NameUnavailable`,
        :class:`OwnsRegistrations` or :class:`TooManyLogins`, in this order: strangers can neither guess addresses nor
        learn which names are taken.
        """
        self._throttle.new_account(address)
        if self._whitelist is not None:
            self._whitelist.require(email)
        if username in RESERVED:
            raise NameUnavailable(f"The username {username} is reserved.")
        with self._store.read() as tx:
            self._require_free(tx, username, by_operator)
        hashed = hash_password(password, self._random(SALT_BYTES))
        account = {"password": hashed, "email": email, "created_at": iso_time(self._clock())}
        with self._store.write() as tx:
            self._require_free(tx, username, by_operator)  # made or imported while the password was hashed?
            tx.put(USERS, username.encode(), compact(account).encode())
            return self._new_token(tx, username)

    def _require_free(self, tx: Reader, username: str, by_operator: bool) -> None:
        if tx.get(USERS, username.encode()) is not None:
            raise NameUnavailable(f"The username {username} is taken.")
        if not by_operator and self._owns(tx, username):
            raise OwnsRegistrations(
                f"The username {username} owns registrations that were imported here: ask the operator, who alone can "
                "make its account."
            )

    def login(self, username: str, password: str, address: str) -> Login:
        """A token for the right password.

        Raises :class:`WrongCredentials` in the same time whether or not the user exists, :class:`TooManyFailures` or
        :class:`TooManyLogins`.
        """
        self._throttle.check(username, address)
        account = self.account(username)
        if not matches(password, account["password"] if account else None):
            self._throttle.failed(username, address)
            raise WrongCredentials("The username or the password is wrong.")
        self._throttle.check(username, address)  # many guesses sent at once may have the right one among them
        with self._store.write() as tx:
            return self._new_token(tx, username)

    def user_of(self, token: str) -> str | None:
        """The username that a bearer token stands for; None if it is unknown or expired."""
        row = self._store.get(TOKENS, sha256(token.encode()).digest())
        if row is None or int.from_bytes(row[:8], "big") <= self._clock() * 1000:
            return None
        return row[8:].decode()

    def account(self, username: str) -> dict[str, Any] | None:
        """What is kept of a user: `password` (hashed), `email`, `created_at`."""
        row = self._store.get(USERS, username.encode())
        return json.loads(row) if row is not None else None

    def forget_tokens(self, past: float) -> None:
        """Drop tokens that expired before the epoch second `past`."""
        end = key(int(past * 1000))
        with self._store.read() as tx:
            if next(tx.scan(TOKENS_BY_EXPIRY, b"", end), None) is None:
                return
        with self._store.write() as tx:
            old = list(islice(tx.scan(TOKENS_BY_EXPIRY, b"", end), _DELETED_AT_ONCE))
            for row, _ in old:
                tx.delete(TOKENS_BY_EXPIRY, row)
                tx.delete(TOKENS, row[8:])

    def _new_token(self, tx: Writer, username: str) -> Login:
        token = b64u_encode(self._random(32))
        digest = sha256(token.encode()).digest()
        ends = self._clock() + self._token_seconds
        expiry = key(int(ends * 1000))
        tx.put(TOKENS, digest, expiry + username.encode())
        tx.put(TOKENS_BY_EXPIRY, expiry + digest, b"")
        return Login(token, iso_time(ends))
