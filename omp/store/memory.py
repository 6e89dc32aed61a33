"""The memory adapter: lock-guarded dicts beside sorted keys, gone when the process ends.

The default adapter of the port (omp §8).  Each table is a dict, for ``get``, and the same keys in order
(:class:`SortedKeys`), for ``scan``.  One lock guards them all.  It is held from the start of a block to its end, so
blocks run one after the other, and nothing else is needed to isolate them.

A transaction writes in place and keeps an undo log: for each write, the value that was there before.  If a block
raises, whatever it raises, its writes are undone from the end of that log before the lock is released, so nobody has
seen them.

Laid out: the sorted keys, then the adapter and its two kinds of blocks.

Handled here: atomicity, isolation, a block opened inside a block of the same thread (RuntimeError, where a bare lock
would wait for ever).  The caller must keep blocks short: everybody else waits meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import chain
from threading import Lock, get_ident
from types import TracebackType
from typing import Self

from omp.store.port import Damage, StoreUnavailable, check_table_name

# --- Sorted keys ------------------------------------------------------------------------------------------------
#
# In one sorted list of a million keys, an insert would move half a million pointers.  Here the keys lie in consecutive
# sorted blocks of at most 2 * LOAD keys, and _last holds the greatest key of each block.  An insert is a binary search
# among the blocks, another inside one block, and a move of a few kilobytes.  A full block is split in two; an empty one
# is dropped.

LOAD = 1000
"""Keys in each half of a block that was just split."""


class SortedKeys:
    """An ordered set of ``bytes``.

    >>> keys = SortedKeys()
    >>> for one in (b"c", b"a", b"b"):
    ...     keys.add(one)
    >>> list(keys.range(b"a", b"c")), list(keys.range(b"b", None, reverse=True))
    ([b'a', b'b'], [b'c', b'b'])
    """

    __slots__ = ("_blocks", "_last")

    def __init__(self) -> None:
        self._blocks: list[list[bytes]] = []
        self._last: list[bytes] = []

    def add(self, key: bytes) -> None:
        """Insert `key`; nothing happens if it is there already."""
        blocks, last = self._blocks, self._last
        if not blocks:
            blocks.append([key])
            last.append(key)
            return
        if key > last[-1]:  # beyond every key: rows that arrive in their order end here
            index = len(blocks) - 1
            block = blocks[index]
            block.append(key)
            last[index] = key
        else:
            index = bisect_left(last, key)
            block = blocks[index]
            place = bisect_left(block, key)
            if block[place] == key:
                return
            block.insert(place, key)
        if len(block) > 2 * LOAD:
            blocks[index : index + 1] = [block[:LOAD], block[LOAD:]]
            last.insert(index, block[LOAD - 1])

    def discard(self, key: bytes) -> None:
        """Remove `key`; nothing happens if it is not there."""
        index = bisect_left(self._last, key)
        if index == len(self._last):
            return
        block = self._blocks[index]
        place = bisect_left(block, key)
        if block[place] != key:
            return
        del block[place]
        if not block:
            del self._blocks[index], self._last[index]
        elif place == len(block):
            self._last[index] = block[-1]

    def range(self, start: bytes, end: bytes | None, *, reverse: bool = False) -> Iterator[bytes]:
        """The keys with ``start <= key < end``, ascending or, with `reverse`, descending; `end` None is open."""
        return chain.from_iterable(self._descending(start, end) if reverse else self._ascending(start, end))

    # Both yield an iterator over the places of each block, so that the step from key to key runs in C.

    def _ascending(self, start: bytes, end: bytes | None) -> Iterator[Iterator[bytes]]:
        blocks, last = self._blocks, self._last
        index = bisect_left(last, start)
        first = bisect_left(blocks[index], start) if index < len(blocks) else 0
        for number in range(index, len(blocks)):
            block = blocks[number]
            whole = end is None or last[number] < end
            stop = len(block) if whole else bisect_left(block, end or b"")
            yield map(block.__getitem__, range(first, stop))
            if not whole:
                return
            first = 0

    def _descending(self, start: bytes, end: bytes | None) -> Iterator[Iterator[bytes]]:
        blocks, last = self._blocks, self._last
        index = len(blocks) - 1 if end is None else min(bisect_left(last, end), len(blocks) - 1)
        for number in range(index, -1, -1):
            block = blocks[number]
            if last[number] < start:
                return
            first = bisect_left(block, start) if block[0] < start else 0
            stop = len(block) if end is None or last[number] < end else bisect_left(block, end)
            yield map(block.__getitem__, range(stop - 1, first - 1, -1))


# --- The adapter ------------------------------------------------------------------------------------------------


_NESTED = "a block of the store was opened inside another one"


class _Table:
    __slots__ = ("keys", "name", "rows")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: dict[bytes, bytes] = {}
        self.keys = SortedKeys()


class MemoryStore:
    """A :class:`~omp.store.port.Store` in this process's memory."""

    kind = "memory"
    durable = False

    def __init__(self) -> None:
        self._lock = Lock()
        self._holder = 0  # the thread that has a block open
        self._tables: dict[str, _Table] = {}
        self._closed = False
        self.damage = Damage()  # of rows in memory only those are met that are missing

    def get(self, table: str, key: bytes, /) -> bytes | None:
        # A dict lookup is atomic by itself, but without the lock it could see a block half done, or one to be undone.
        if self._holder == get_ident():
            raise RuntimeError(_NESTED)
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            found = self._tables.get(table)
            return found.rows.get(key) if found is not None else None

    def read(self) -> _ReadBlock:
        return _ReadBlock(self)

    def write(self) -> _WriteBlock:
        return _WriteBlock(self)

    def tables(self) -> list[str]:
        return sorted(list(self._tables))  # noqa: C414 - a copy in one step, since a writer may add one

    def file_sizes(self) -> dict[str, int]:
        return {}

    def check(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

    def look_after(self) -> None:
        pass  # there are no files

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._tables.clear()

    def _enter(self) -> None:
        me = get_ident()
        if self._holder == me:  # only this thread itself can have set it to that
            raise RuntimeError(_NESTED)
        self._lock.acquire()
        if self._closed:
            self._lock.release()
            raise StoreUnavailable("the store is closed")
        self._holder = me

    def _leave(self) -> None:
        self._holder = 0
        self._lock.release()


class _ReadBlock:
    """``with store.read() as tx``: it holds the lock, so nothing changes meanwhile."""

    __slots__ = ("_open", "_store", "_tables", "damage")

    def __init__(self, store: MemoryStore) -> None:
        self.damage = store.damage
        self._store = store
        self._tables = store._tables
        self._open = False

    def __enter__(self) -> Self:
        self._store._enter()
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        self._store._leave()

    def get(self, table: str, key: bytes, /) -> bytes | None:
        found = self._tables.get(table)
        return found.rows.get(key) if found is not None else None

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
        found = self._tables.get(table)
        if found is None:
            return
        rows = found.rows
        for key in found.keys.range(start, end, reverse=reverse):
            if not self._open:
                raise RuntimeError("a scan was used after its block had ended")
            yield key, rows[key]

    def count(self, table: str, /) -> int:
        found = self._tables.get(table)
        return len(found.rows) if found is not None else 0


class _WriteBlock(_ReadBlock):
    """``with store.write() as tx``: a read block that may write, with its undo log."""

    __slots__ = ("_undo",)

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self._undo: list[tuple[_Table, bytes, bytes | None]] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._roll_back()
        else:
            self.damage.mended((table.name, key) for table, key, _ in self._undo)
        self._open = False
        self._store._leave()

    def put(self, table: str, key: bytes, value: bytes, /) -> None:
        found = self._tables.get(table)
        if found is None:
            found = self._tables[check_table_name(table)] = _Table(table)
        rows = found.rows
        before = rows.get(key)
        self._undo.append((found, key, before))
        rows[key] = value
        if before is None:
            found.keys.add(key)

    def delete(self, table: str, key: bytes, /) -> bool:
        found = self._tables.get(table)
        before = found.rows.get(key) if found is not None else None
        if found is None or before is None:
            return False
        self._undo.append((found, key, before))
        del found.rows[key]
        found.keys.discard(key)
        return True

    def _roll_back(self) -> None:
        for table, key, before in reversed(self._undo):
            if before is None:
                table.rows.pop(key, None)
                table.keys.discard(key)
            else:
                table.rows[key] = before
                table.keys.add(key)
