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
* **Never wrong.** A row that is not as it was written is not given out.  ``get`` raises :class:`DamagedRow`; ``scan``
  leaves the row out, unless it is to be `complete`.  What was met of that, :class:`Damage` remembers.

The caller must keep the blocks short: parse, verify and wait outside them.  A block must not be opened inside another
one, nor ``Store.get`` called in one.

Whatever several server processes would have to share (tokens, nonces, throttles) belongs in tables.  What a protocol
keeps in memory beside them is a cache over the tables.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from hashlib import sha256
from types import TracebackType
from typing import Protocol


class StoreUnavailable(Exception):
    """The store cannot do its work now (disk full, file read-only, closed); the text says why.

    The text may be shown to a client: it names no path.
    """


class StorageError(Exception):
    """A store cannot be opened as it was asked for; the text says why and what would be right.

    It is meant for the person who starts the server, and may name the path.
    """


# --- Damaged rows -----------------------------------------------------------------------------------------------


class DamagedRow(StoreUnavailable):
    """A row is not as it was written, or a row is missing that another one refers to.

    The text may be shown to a client.  `table`, `key` and `reason` are for the operator; `id` names the row to both,
    and is the same each time the row is met.
    """

    def __init__(self, table: str, key: bytes, reason: str, shown: str) -> None:
        super().__init__(shown)
        self.table = table
        self.key = key
        self.reason = reason
        self.id = row_id(table, key)

    def for_operator(self) -> str:
        """Which row it is, and what is wrong with it."""
        return f"damaged row in {self.table}, key {self.key.hex() or 'empty'}: {self.reason}"


SHOWN = "A stored row that this needs is damaged; the server's log says which"
"""What a client is told."""


def row_id(table: str, key: bytes) -> str:
    """The name by which answers, the log and the tools refer to a damaged row: 12 hexadecimal digits."""
    return sha256(table.encode() + b"\0" + key).hexdigest()[:12]


class Damage:
    """The damaged rows that a store has met since it was opened, and still holds: what ``GET /health`` shows."""

    MOST = 1000
    """Rows that are remembered: beyond them the file as a whole is beyond repair."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.remembered: dict[str, DamagedRow] = {}
        """By their ids.  Nearly always empty, so whoever asks often looks here first."""
        self._here = threading.local()
        self.leaving_out = _LeavingOut(self)

    def met(self, table: str, key: bytes, reason: str, shown: str = SHOWN) -> DamagedRow:
        """The exception to raise for a row, whose text is `shown`."""
        row = DamagedRow(table, key, reason, shown)
        if len(self.remembered) < self._most:
            self.remembered[row.id] = row
        return row

    def mended(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """These rows (table, key) have been written anew, or deleted, and that will last."""
        if self.remembered:
            for table, key in rows:
                self.remembered.pop(row_id(table, key), None)

    def forget(self) -> None:
        """Begin anew."""
        self.remembered.clear()

    def ids(self) -> list[str]:
        """The ids of the rows, the first met first."""
        return list(self.remembered)

    def rows(self) -> list[DamagedRow]:
        """The rows themselves."""
        return list(self.remembered.values())

    def leave_out(self, row: DamagedRow) -> None:
        """This thread goes on without `row`."""
        self._here.rows = {**getattr(self._here, "rows", {}), row.id: row}

    def left_out(self) -> list[DamagedRow]:
        """What this thread has left out since it last asked."""
        if not self.remembered:
            return []
        rows: dict[str, DamagedRow] = getattr(self._here, "rows", {})
        self._here.rows = {}
        # What has been mended meanwhile is not missing.  Of more rows than are remembered nobody knows.
        return [row for row in rows.values() if row.id in self.remembered or len(self.remembered) >= self._most]


class _LeavingOut:
    """``with leaving_out(tx): …``: what needs a damaged row is not done, and whoever asked is told so."""

    __slots__ = ("_damage",)

    def __init__(self, damage: Damage) -> None:
        self._damage = damage

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, DamagedRow):
            self._damage.leave_out(error)
            return True
        return False


def leaving_out(source: Reader | Store) -> _LeavingOut:
    """A block for one item of a list: if it meets a damaged row, the block ends, and the list goes on without the item.

    The answer names the row in a header field (omp §8.1), and the log names it in full.
    """
    return source.damage.leaving_out


def required(tx: Reader, table: str, key: bytes) -> bytes:
    """The value of a row that another row refers to; :class:`DamagedRow` if it is missing."""
    value = tx.get(table, key)
    if value is None:
        raise tx.damage.met(table, key, "it is missing, and another row refers to it")
    return value


def required_or_left_out(tx: Reader, table: str, key: bytes) -> bytes | None:
    """What :func:`required` gives, or None where that is damaged: for a list of many rows, at the cost of one call."""
    try:
        value = tx.get(table, key)
        return value if value is not None else required(tx, table, key)
    except DamagedRow as error:
        tx.damage.leave_out(error)
        return None


# --- The port ---------------------------------------------------------------------------------------------------


class Reader(Protocol):
    """One moment of the store, inside a ``with`` block."""

    @property
    def damage(self) -> Damage:
        """The damaged rows that the store has met."""
        ...

    def get(self, table: str, key: bytes, /) -> bytes | None:
        """The value of `key` in `table`, or None.  Raises :class:`DamagedRow`."""
        ...

    def scan(
        self,
        table: str,
        start: bytes = b"",
        end: bytes | None = None,
        /,
        *,
        reverse: bool = False,
        complete: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """The rows with ``start <= key < end`` in key order, or the opposite order; `end` None is open.

        A damaged row is left out as by :func:`leaving_out`.  Where that could lead to a wrong decision, ask for a
        `complete` scan: it raises :class:`DamagedRow` where it comes to one.

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
    damage: Damage
    """The damaged rows that were met."""

    def get(self, table: str, key: bytes, /) -> bytes | None:
        """One row, outside any block: the same as a ``read()`` block with one ``get``, and faster."""
        ...

    def read(self) -> AbstractContextManager[Reader]:
        """A block that sees one moment of the store.  Raises :class:`StoreUnavailable`."""
        ...

    def write(self) -> AbstractContextManager[Writer]:
        """A transaction; the ``with`` statement ends when it is kept.  Raises :class:`StoreUnavailable`."""
        ...

    def tables(self) -> list[str]:
        """The names of the tables that are there, sorted."""
        ...

    def file_sizes(self) -> dict[str, int]:
        """What the store takes on the disk: ``data`` and ``wal`` with their bytes; empty if it is in no file."""
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
    whole = b""
    for part in parts:
        whole += part.to_bytes(8, "big") if isinstance(part, int) else _ended(part)
    return whole


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
