"""Work that can be interrupted: what one operation changes may take seconds, and no lock may be held that long.

Refuting the root of a derivation changes all that was derived from it, and a revocation all that was written under its
grant.  So void.py, state.py and document.py do such work as a generator that yields every :data:`STEP` entries.  Who
runs it may stop at each yield, let go of the lock, and go on later where it was.  The contract of the generators is:

* nothing is appended to the log before they are done (:meth:`.replica.Replica.settle` sees to it);
* nobody reads what they write before they are done (:attr:`.replica.Replica.settled` says when);
* between two yields lies about 0.1 ms of work, whatever the log holds.

>>> def counted(items: list[int]) -> Steps[int]:
...     total = 0
...     for number, item in enumerate(items, 1):
...         total += item
...         if number % STEP == 0:
...             yield
...     return total
>>> finish(counted([1] * 1000))
1000
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work that yields now and then, and returns its result at the end."""
STEP = 50
"""How many entries are worked on between two yields."""

Pause = Callable[[], bool]
"""Whether it is time to stop: asked at each yield."""


def never() -> bool:
    """The :data:`Pause` of who has the time to wait until all is done."""
    return False


def always() -> bool:
    """The :data:`Pause` of who takes one step at a time."""
    return True


def finish(steps: Steps[T]) -> T:
    """The result of `steps`, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


# --- Many at once ---------------------------------------------------------------------------------------------

_RUN = 1_024


def pieces(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    """`entries` in pieces that are done in less than a millisecond: between two of them others get their turn."""
    for start in range(0, len(entries), STEP):
        yield entries[start : start + STEP]


def in_order(entries: Sequence[T], key: Callable[[T], Any]) -> Steps[list[T]]:
    """Returns `entries` sorted by `key`; yields after each small step, where one sort would let nobody else run."""
    runs = []
    for start in range(0, len(entries), _RUN):
        runs.append(sorted(entries[start : start + _RUN], key=key))
        yield
    if len(runs) < 2:
        return runs[0] if runs else []
    ordered: list[T] = []
    merged = merge(*runs, key=key)
    while some := list(islice(merged, STEP)):
        ordered += some
        yield
    return ordered
