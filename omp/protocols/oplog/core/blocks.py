"""Entries kept in order, in blocks: an insert costs one block, and what was made of a block is kept until it changes.

A log lists its operations in total order (oplog §3.3) and the objects of its state by ID (oplog §5), and both
grow at any place: the IDs are hashes.  One sorted list would move, on average, half of itself for each insert, and
the state document would be written anew for every change.  Blocks of at most 256 entries bound the first, and the
`rendering` kept with each block the second.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from omp.protocols.oplog.core.entries import Entry

E = TypeVar("E", bound=Entry)

_BLOCK = 256


class _Block(Generic[E]):
    __slots__ = ("entries", "rendering")

    def __init__(self, entries: list[E]) -> None:
        self.entries = entries
        self.rendering: bytes | None = None


class Ordered(Generic[E]):
    """Entries ascending by `key`, which must be unique to each of them."""

    __slots__ = ("_blocks", "_key", "_length")

    def __init__(self, key: Callable[[E], Any]) -> None:
        self._key = key
        self._blocks: list[_Block[E]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[E]:
        for block in self._blocks:
            yield from block.entries

    def after(self, key: Any) -> Iterator[E]:
        """The entries with a greater key, in order; it costs as much as is taken of it."""
        at = self._find(key)
        for number in range(at, len(self._blocks)):
            entries = self._blocks[number].entries
            start = bisect_right(entries, key, key=self._key) if number == at else 0
            for index in range(start, len(entries)):
                yield entries[index]

    def add(self, entry: E) -> None:
        """Put `entry` in its place."""
        self._length += 1
        if not self._blocks:
            self._blocks.append(_Block([entry]))
            return
        key = self._key(entry)
        at = self._find(key)
        block = self._blocks[at]
        entries = block.entries
        block.rendering = None
        if self._key(entries[-1]) < key:
            entries.append(entry)  # the usual case of the total order
        else:
            entries.insert(bisect_left(entries, key, key=self._key), entry)
        if len(entries) > _BLOCK:
            self._split(at)

    def _split(self, at: int) -> None:
        entries = self._blocks[at].entries
        # At the end of all, where a log in total order grows, blocks are left nearly full.
        keep = _BLOCK - _BLOCK // 16 if at == len(self._blocks) - 1 else _BLOCK // 2
        self._blocks[at : at + 1] = [_Block(entries[:keep]), _Block(entries[keep:])]

    def remove(self, entry: E) -> None:
        """Take out `entry`, which must be there."""
        key = self._key(entry)
        at = self._find(key)
        block = self._blocks[at]
        del block.entries[bisect_left(block.entries, key, key=self._key)]
        block.rendering = None
        self._length -= 1
        if not block.entries:
            del self._blocks[at]

    def changed(self, entry: E) -> None:
        """`entry` is to be rendered again."""
        self._blocks[self._find(self._key(entry))].rendering = None

    def renderings(self, render: Callable[[E], bytes]) -> list[bytes]:
        """What `render` gives for all entries, in order, joined by commas within each block."""
        out = []
        for block in self._blocks:
            if block.rendering is None:
                block.rendering = b",".join(map(render, block.entries))
            out.append(block.rendering)
        return out

    def _find(self, key: Any) -> int:
        """The number of the block that holds `key` or would: the last one that begins at or before it."""
        return max(0, bisect_right(self._blocks, key, key=lambda block: self._key(block.entries[0])) - 1)
