r"""A graph drawn in characters, as ``git log --graph`` does it: what `graph` of ``python -m omp log`` prints.

Nodes come children first.  A *lane* is a column that waits for one node: it was named as a parent, and has not come
yet.  A node is drawn as ``*`` in its lane.  Below it the lane waits for the node's first parent; a further parent gets
a lane of its own (``\``), or is joined to the one that waits for it already (``/`` or ``\``).  Of two lanes that wait
for one node the right one ends (``/``), and those to the right of it move up.  Lines that pass other lanes are drawn
with ``-``::

    *      merge
    |\
    | *    right
    * |    left
    |/
    *      root
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

Drawn = tuple[str, str | None]
"""A row of the drawing, and the node that it shows, if any."""


def drawn(nodes: Iterable[tuple[str, Sequence[str]]]) -> Iterator[Drawn]:
    """The rows for `nodes`, each an ID with its parents' IDs; every child must come before its parents.

    >>> print("\\n".join(row for row, _ in drawn([("m", "ab"), ("b", "r"), ("a", "r"), ("r", "")])))
    *
    |\\
    | *
    * |
    |/
    *
    """
    lanes: list[str] = []
    for node, parents in nodes:
        if node not in lanes:
            lanes.append(node)
        at = lanes.index(node)
        yield _row(["*" if lane == at else "|" for lane in range(len(lanes))]), node
        if not parents:
            yield from _ended(lanes, at)
            continue
        if parents[0] in lanes:
            other = lanes.index(parents[0])
            at, ending = min(at, other), max(at, other)
            lanes[at] = parents[0]
            yield _joined(lanes, at, ending), None
        else:
            lanes[at] = parents[0]
        for parent in parents[1:]:
            yield _linked(lanes, at, parent), None


def _row(lanes: Sequence[str]) -> str:
    return " ".join(lanes).rstrip()


def _cells(lanes: Sequence[str]) -> list[str]:
    """A row of bars: the lane of number n is the character 2 n, and lines between lanes have the odd ones."""
    return list(_row(["|"] * len(lanes)))


def _ended(lanes: list[str], at: int) -> Iterator[Drawn]:
    """The lane `at` waits for nothing: those to the right of it move up."""
    cells = _cells(lanes)
    del lanes[at]
    if at < len(lanes):
        yield _moved_up(cells, at), None


def _moved_up(cells: list[str], ended: int) -> str:
    cells[2 * ended] = " "
    for lane in range(ended + 1, len(cells) // 2 + 1):
        cells[2 * lane - 1], cells[2 * lane] = "/", " "
    return "".join(cells).rstrip()


def _joined(lanes: list[str], at: int, ending: int) -> str:
    """The lane `ending` runs into the lane `at`, to the left of it."""
    cells = _cells(lanes)
    cells[2 * ending - 1] = "/"
    _pass(cells, 2 * at + 1, 2 * ending - 1)
    del lanes[ending]
    return _moved_up(cells, ending)


def _linked(lanes: list[str], at: int, parent: str) -> str:
    """A line from the lane `at` to that of a further parent, which is made if there is none."""
    if parent not in lanes:
        lanes.append(parent)
        cells = _cells(lanes)
        cells[-1] = " "
    else:
        cells = _cells(lanes)
    to = lanes.index(parent)
    if to > at:
        cells[2 * to - 1] = "\\"
        _pass(cells, 2 * at + 1, 2 * to - 1)
    elif to < at:
        cells[2 * to + 1] = "/"
        _pass(cells, 2 * to + 2, 2 * at)
    return "".join(cells).rstrip()


def _pass(cells: list[str], start: int, end: int) -> None:
    """A line through what is empty of the cells from `start` up to `end`."""
    for cell in range(start, end):
        if cells[cell] == " ":
            cells[cell] = "-"
