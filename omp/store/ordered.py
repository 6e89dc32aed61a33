"""Sorted keys in blocks: an ordered set of byte strings in which an insert costs microseconds.

Belongs to the store floor (architecture, "Floors" 2): the memory adapter keeps one beside the dict of each
table, so that ``get`` is a dict lookup and ``scan`` walks keys in order.

One sorted list would move half of a million pointers at each insert.  Here the keys lie in consecutive sorted
blocks of at most ``2 * LOAD`` keys, and ``_last`` holds the greatest key of each block: an insert is a binary
search among the blocks, one inside a block, and a move of a few kilobytes.  A block that grows full is split in
two; one that becomes empty is dropped.

Not safe for several threads by itself: the adapter's lock guards it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

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
        """Insert `key`; nothing happens if it is there."""
        blocks, last = self._blocks, self._last
        if not blocks:
            blocks.append([key])
            last.append(key)
            return
        index = bisect_left(last, key)
        if index == len(last):  # beyond every key: rows that arrive in their order end here
            index -= 1
            block = blocks[index]
            block.append(key)
            last[index] = key
        else:
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
        return self._descending(start, end) if reverse else self._ascending(start, end)

    def _ascending(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        blocks, last = self._blocks, self._last
        index = bisect_left(last, start)
        first = bisect_left(blocks[index], start) if index < len(blocks) else 0
        for number in range(index, len(blocks)):
            block = blocks[number]
            whole = end is None or last[number] < end
            stop = len(block) if whole else bisect_left(block, end or b"")
            for place in range(first, stop):
                yield block[place]
            if not whole:
                return
            first = 0

    def _descending(self, start: bytes, end: bytes | None) -> Iterator[bytes]:
        blocks, last = self._blocks, self._last
        index = len(blocks) - 1 if end is None else min(bisect_left(last, end), len(blocks) - 1)
        for number in range(index, -1, -1):
            block = blocks[number]
            if last[number] < start:
                return
            stop = len(block) if end is None or last[number] < end else bisect_left(block, end)
            for place in range(stop - 1, -1, -1):
                if block[place] < start:
                    return
                yield block[place]
