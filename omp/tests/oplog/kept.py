"""Nodes over stores, for the tests of what is kept: operations to admit, and all that a log shows (oplog §7.7)."""

from __future__ import annotations

import contextlib
import tempfile
import unittest
from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

from omp.protocols.oplog import feed as feed_module
from omp.protocols.oplog import loading
from omp.protocols.oplog.core import blocks, steps
from omp.protocols.oplog.core.entries import GrantEntry
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, Operation
from omp.protocols.oplog.core.verify import check_bytes
from omp.protocols.oplog.node import Node
from omp.rules import identifiers
from omp.store.sqlite import SqliteStore
from omp.tests.oplog.world import LOG, ROOT, TRUSTING, Key, LogCopy

OTHER_ROOT = Key(50)
OTHER_LOG = identifiers.identity_id(OTHER_ROOT.public_key)


def operations_of(raws: Iterable[bytes]) -> list[Operation]:
    return [check_bytes(raw, TRUSTING) for raw in raws]


def claims(number: int) -> list[Operation]:
    """So many claims of the root, one after the other."""
    writer = LogCopy()
    for _ in range(number):
        writer.do(ROOT, CLAIM)
    return operations_of(writer.raw())


def other_claims(number: int) -> list[Operation]:
    """The same of another log."""
    writer = LogCopy(OTHER_LOG)
    for _ in range(number):
        writer.do(OTHER_ROOT, CLAIM)
    return operations_of(writer.raw())


def picture(node: Node, log: str = LOG) -> dict[str, Any]:
    """All that a log shows, to readers and to its own next operations."""
    with node.reading(log) as replica:
        assert replica is not None
        entries = list(replica.operations())
        return {
            "state": (replica.state_id(), replica.state_document()),
            "order": [entry.id for entry in entries],
            "stored": [entry.id for entry in replica.since(0)],
            "heads": replica.heads(),
            "forks": replica.forks(),
            "pending": replica.pending(),
            "void": [entry.id for entry in entries if entry.void],
            "auth": [[grant.id for grant in entry.auth] for entry in entries],
            "floors": [entry.floor for entry in entries if isinstance(entry, GrantEntry)],
            "kinds": {
                kind: [entry.id for entry in replica.operations(None, kind)] for kind in (CLAIM, EVIDENCE, GRANT)
            },
            "lacking": [entry.id for entry in replica.lacking([entries[len(entries) // 2].id])],
        }


def told(node: Node, log: str = LOG) -> tuple[Any, ...]:
    """What the feed holds: the events with their positions, and where they begin and end."""
    held = node.feed(log)
    assert held is not None
    return [event for event in held._events if event[0] is not None], held._lost, held._last


@contextlib.contextmanager
def keeping(events: int) -> Iterator[None]:
    """Feeds hold so many events, and loads take back what that needs; all that is cut into pieces has small ones."""
    small = (
        (feed_module, "KEPT", events), (loading, "_TAIL", events + 1), (loading, "_ROWS", 8),
        (steps, "STEP", 4), (steps, "_RUN", 16), (blocks, "_BLOCK", 16), (blocks, "_FILLED", 12),
    )  # fmt: skip
    with contextlib.ExitStack() as patches:
        for module, name, value in small:
            patches.enter_context(patch.object(module, name, value))
        yield


class SqliteCase(unittest.TestCase):
    """A folder, and SQLite stores in it that are closed at the end."""

    def setUp(self) -> None:
        self.path = f"{self.enterContext(tempfile.TemporaryDirectory())}/omp.db"

    def opened(self) -> SqliteStore:
        store = SqliteStore(self.path)
        self.addCleanup(store.close)
        return store
