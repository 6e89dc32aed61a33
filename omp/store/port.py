"""The store port: named tables of ordered keys, and a transaction that is all or nothing.

A table is an ordered map from ``bytes`` to ``bytes``.  It exists as soon as something is put in it, and its name
consists of lower-case letters, digits and ``_``.  Keys compare as byte strings; :func:`key` makes them from text and
numbers so that their order is the order of the parts.

What every adapter guarantees (omp §8), and one test checks of all of them:

* **Atomic.** What a ``write()`` block did is kept whole when the block ends, and undone whole when it raises.
* **Isolated.** Write blocks run one after the other: a check and its write in one block cannot be separated.
  A ``read()`` block sees one moment of the store, and never a write block half done.
* **Durable, if the adapter is.** When the ``with`` statement of a write block ends, the rows survive what the adapter
  promises to survive.  If they could not be kept, it raises :class:`StoreUnavailable` and nothing of the block is kept.

The caller must keep the blocks short: parse, verify and wait outside them.  A block must not be opened inside another
one, nor ``Store.get`` called in one.

Whatever several server processes would have to share (tokens, nonces, throttles) belongs in tables.  What a protocol
keeps in memory beside them is a cache over the tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class StoreUnavailable(Exception):
    """The store cannot do its work now (disk full, file read-only, closed); the text says why.

    The text may be shown to a client: it names no path.
    """


class StorageError(Exception):
    """A store cannot be opened as it was asked for; the text says why and what would be right.

    It is meant for the person who starts the server, and may name the path.
    """


class Reader(Protocol):
    """One moment of the store, inside a ``with`` block."""

    def get(self, table: str, key: bytes, /) -> bytes | None:
        """The value of `key` in `table`, or None."""
        ...

    def scan(
        self, table: str, start: bytes = b"", end: bytes | None = None, /, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """The rows with ``start <= key < end`` in key order, or the opposite order; `end` None is open.

        Lazy: a caller that stops early pays for what it took.  A scan is valid inside its block only, and the block
        must not write to `table` before it is done with the scan.
        """
        ...

    def count(self, table: str, /) -> int:
        """How many rows `table` holds."""
        ...


class Writer(Reader, Protocol):
    """A transaction: its own writes are visible to its own reads at once, and to others when it ends."""

    def put(self, table: str, key: bytes, value: bytes, /) -> None:
        """Set the value of `key` in `table`."""
        ...

    def delete(self, table: str, key: bytes, /) -> bool:
        """Remove `key` from `table`; False if it was not there."""
        ...


class Store(Protocol):
    """What an adapter is: ``with store.write() as tx: …`` and ``with store.read() as tx: …``."""

    kind: str
    """``memory`` or ``sqlite``: what the capability document shows."""
    durable: bool
    """Whether an answered write survives a restart."""

    def get(self, table: str, key: bytes, /) -> bytes | None:
        """One row, outside any block: the same as a ``read()`` block with one ``get``, and faster."""
        ...

    def read(self) -> AbstractContextManager[Reader]:
        """A block that sees one moment of the store.  Raises :class:`StoreUnavailable`."""
        ...

    def write(self) -> AbstractContextManager[Writer]:
        """A transaction; the ``with`` statement ends when it is kept.  Raises :class:`StoreUnavailable`."""
        ...

    def check(self) -> None:
        """Raise :class:`StoreUnavailable` if the store cannot be written to now: what ``GET /health`` asks."""
        ...

    def look_after(self) -> None:
        """Notice what has happened to the files when nobody writes, and save what can be saved; never raises.

        To be called about once a second.
        """
        ...

    def close(self) -> None:
        """Finish what is under way and release the files; every later call raises :class:`StoreUnavailable`."""
        ...


def check_table_name(table: str) -> str:
    """`table` itself, if it is a table's name: ASCII lower-case letters, digits and ``_``; ValueError otherwise."""
    if not re.fullmatch("[a-z_0-9]+", table):
        raise ValueError(f"{table!r} is not the name of a table: it must be lower-case letters, digits and _")
    return table


def key(*parts: str | int | bytes) -> bytes:
    """An ordered key: keys made of the same kinds of parts sort as the tuples of their parts do.

    Text is its UTF-8 (so by code point) and bytes are themselves; both end with ``00 01`` and have their own
    ``00`` written ``00 ff``, so that no key is a prefix of another by accident.  An integer, 0 to 2**64 - 1, is
    eight bytes, big-endian.

    >>> key("ns", 1) < key("ns", 2) < key("ns2", 0)
    True
    """
    return b"".join([part.to_bytes(8, "big") if isinstance(part, int) else _ended(part) for part in parts])


def _ended(part: str | bytes) -> bytes:
    raw = part.encode() if isinstance(part, str) else part
    return (raw.replace(b"\0", b"\0\xff") if b"\0" in raw else raw) + b"\0\1"


def after(prefix: bytes) -> bytes | None:
    """The first key beyond every key that begins with `prefix`, as the `end` of a scan; None if there is none.

    >>> after(b"a\\xff")
    b'b'
    """
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else None
