"""Where a page of objects ends: the cursor and the header fields that lead to the next one (objects.md §1).

The place in a cursor is the id after which the next page starts.  It says nothing about the store and so survives
whatever happens to the rows.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping

from omp.web import paging

_LIST = "objects"


def encode_cursor(identifier: str) -> str:
    """The cursor for the page after the object `identifier`."""
    return paging.encode_cursor(bytes.fromhex(identifier.replace("-", "")), _LIST)


def decode_cursor(cursor: str) -> str:
    """The id in `cursor`; :class:`~omp.web.paging.BadCursor` if it is not exactly what :func:`encode_cursor` gave."""
    text = paging.decode_cursor(cursor, _LIST, 16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def next_page(path: str, parameters: Mapping[str, str | int | None], last: str) -> tuple[tuple[str, str], ...]:
    """The header fields that lead from a page of `path`, whose last object is `last`, to the next one."""
    cursor = encode_cursor(last)
    return paging.next_link(path, parameters, cursor), ("OMP-Next-Cursor", cursor)
