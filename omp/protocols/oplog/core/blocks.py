"""Entries in sorted order, kept in blocks: an insert moves one block, and the text of a block is kept until it changes.

A log lists its operations in total order (oplog §3.3) and the objects of its state document by ID (§5).  Both lists
grow anywhere, since IDs are hashes.  In one sorted list each insert would move half of it on average, and each change
would write the whole state document anew.  Blocks of at most 256 entries bound the first cost; the text that is kept
with each block bounds the second.

One operation can change the objects of all that was derived from its target.  Finding the block of each of them would
cost more than the changes themselves, so :meth:`Blocks.changed` only notes the entry.  Once there are more such notes
than blocks, every block counts as changed: IDs are hashes, so the notes would have met most blocks anyway.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from omp.protocols.oplog.core.entries import (
    Entry,
)
from omp.protocols.oplog.core.steps import Pause, Steps, in_order, never

E = TypeVar("E", bound=Entry)

_BLOCK = 256
_FILLED = _BLOCK * 3 // 4
"""How many entries :meth:`Blocks.fill` puts into a block: some more find place before it is split."""


class _Block(Generic[E]):
    __slots__ = ("entries", "text")

    def __init__(self, entries: list[E]) -> None:
        self.entries = entries
        self.text: bytes | None = None
        """What `write` made of the entries in :meth:`Blocks.texts`; None after a change."""


class Blocks(Generic[E]):
    """Entries ascending by `key`, which must differ between any two of them."""

    __slots__ = ("_blocks", "_changed", "_key", "_length")

    def __init__(self, key: Callable[[E], Any]) -> None:
        self._key = key
        self._blocks: list[_Block[E]] = []
        self._changed: list[E] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[E]:
        """All entries, in order.  Do not change the blocks meanwhile."""
        for block in self._blocks:
            yield from block.entries

    def after(self, key: Any) -> Iterator[E]:
        """The entries with a greater key, in order.  Lazy: the cost is that of the entries taken."""
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
        block.text = None
        if self._key(entries[-1]) < key:
            entries.append(entry)  # the usual case in total order
        else:
            entries.insert(bisect_left(entries, key, key=self._key), entry)
        if len(entries) > _BLOCK:
            self._split(at)

    def fill(self, entries: Sequence[E]) -> Steps[None]:
        """Take in many entries at once, where there are none yet; yields after each small step."""
        ordered = yield from in_order(entries, self._key)
        self._length = len(ordered)
        self._blocks = [_Block(ordered[start : start + _FILLED]) for start in range(0, len(ordered), _FILLED)]

    def _split(self, at: int) -> None:
        entries = self._blocks[at].entries
        # In total order a log grows at its end: there, leave the first half nearly full.
        keep = _BLOCK - _BLOCK // 16 if at == len(self._blocks) - 1 else _BLOCK // 2
        self._blocks[at : at + 1] = [_Block(entries[:keep]), _Block(entries[keep:])]

    def remove(self, entry: E) -> None:
        """Take out `entry`, which must be there."""
        key = self._key(entry)
        at = self._find(key)
        block = self._blocks[at]
        del block.entries[bisect_left(block.entries, key, key=self._key)]
        block.text = None
        self._length -= 1
        if not block.entries:
            del self._blocks[at]  # _find asks each block for its first entry

    def changed(self, entry: E) -> None:
        """What is written of `entry`, which must stay where it is, has changed."""
        self._changed.append(entry)
        if len(self._changed) > len(self._blocks):
            self._changed.clear()
            for block in self._blocks:
                block.text = None

    def texts(self, write: Callable[[list[E]], bytes], pause: Pause = never) -> list[bytes] | None:
        """What `write` makes of the entries of each block, in order; it is called for changed blocks only.

        None if `pause` has said so after one of them: call again.
        """
        for entry in self._changed:
            self._blocks[self._find(self._key(entry))].text = None
        self._changed.clear()
        texts = []
        for block in self._blocks:
            if block.text is None:
                block.text = write(block.entries)
                if pause():
                    return None
            texts.append(block.text)
        return texts

    def _find(self, key: Any) -> int:
        """The number of the block that holds `key` or would hold it: the last that begins at or before it."""
        return max(0, bisect_right(self._blocks, key, key=lambda block: self._key(block.entries[0])) - 1)
