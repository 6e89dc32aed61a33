"""An operation on its way into the log, and what is asked of a log on that way (oplog §3.2, stages 8 to 12).

Each stage writes down what it found, and the ones behind it build on that; where all are passed, what was found is
what is stored.  Nothing here decides: the stages are in verify.py, the authority of the last one in authority.py.
"""

from __future__ import annotations

from typing import Protocol

from omp.protocols.oplog.core.causality import Author, Past
from omp.protocols.oplog.core.entries import Entry, GrantEntry
from omp.protocols.oplog.core.operation import Operation


class LogView(Protocol):
    """What stages 8 to 12 ask of a log."""

    def entry(self, operation_id: str, /) -> Entry | None:
        """The stored operation with this ID, or None."""

    def author(self, key: str, /) -> Author:
        """What is known of a key: its chains and the grants that name it."""


class Candidate:
    """An :class:`Operation` on its way into the log, with what stages 8 to 12 found out about it.

    `prev` and `deps` are the stored ancestors (stage 8), `named` the entries its body names, by member, in the order
    of the body (stage 11), `auth` is Auth(O) (stage 12).
    """

    __slots__ = ("auth", "author", "deps", "log", "missing", "named", "operation", "past", "prev")

    def __init__(self, operation: Operation, log: LogView) -> None:
        self.operation = operation
        self.log = log
        self.author = log.author(operation.author)
        self.missing: list[str] = []
        self.prev: Entry | None = None
        self.deps: list[Entry] = []
        self.past: Past
        self.named: dict[str, list[Entry]] = {}
        self.auth: tuple[GrantEntry, ...] = ()
