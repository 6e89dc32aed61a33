"""Passwords: scrypt (RFC 7914), salted, and never so many at once that logins could eat the memory.

Each hash takes 16 MiB and some 40 ms on purpose; at most :data:`AT_ONCE` run at a time and the rest wait their turn.
They run on threads of their own: the C library keeps what a thread has freed for that thread, so hashes on the threads
of many connections would in the end hold 16 MiB for each.

What is kept names its own parameters, so that stronger ones can come later: ``scrypt$16384$8$1$salt$hash``.
"""

from __future__ import annotations

import hmac
from hashlib import scrypt
from threading import Lock
from typing import TYPE_CHECKING

from omp.rules.encodings import b64u_decode, b64u_encode
from omp.web.errors import ApiError

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

N, R, P = 2**14, 8, 1
SALT_BYTES = 16
AT_ONCE = 4
_WAIT_SECONDS = 20.0
_MEMORY = 128 * 1024 * 1024
_lock = Lock()
_pool: ThreadPoolExecutor | None = None


def hash_password(password: str, salt: bytes) -> str:
    """The text to keep; :class:`ApiError` 503 if too many others are waiting."""
    return _hashed(password, N, R, P, salt)


def matches(password: str, kept: str | None) -> bool:
    """Whether `password` is the one that `kept` was made of; takes as long where `kept` is None (no such user)."""
    _, n, r, p, salt, _ = (kept or _NOBODY).split("$")
    found = _hashed(password, int(n), int(r), int(p), b64u_decode(salt))
    return hmac.compare_digest(found, kept or _NOBODY)


_NOBODY = f"scrypt${N}${R}${P}${b64u_encode(bytes(SALT_BYTES))}$"  # no hash ends there: nothing matches


def _hashed(password: str, n: int, r: int, p: int, salt: bytes) -> str:
    turn = _threads().submit(scrypt, password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)
    try:
        digest = turn.result(_WAIT_SECONDS)
    except TimeoutError:
        turn.cancel()
        raise ApiError(
            503, "Too many logins at this moment; please try again.", headers=[("Retry-After", "5")]
        ) from None
    return f"scrypt${n}${r}${p}${b64u_encode(salt)}${b64u_encode(digest)}"


def _threads() -> ThreadPoolExecutor:
    """The threads that hash, made when the first password comes."""
    global _pool
    from concurrent.futures import ThreadPoolExecutor  # slow to import

    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="mrs-password")
        return _pool
