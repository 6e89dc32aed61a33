"""What a failed commit leaves of a log: everything that is still true (oplog §7.7)."""

from __future__ import annotations

import contextlib
import gc
import random
import sqlite3
import threading
import unittest
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from omp.protocols.oplog import feed as feed_module
from omp.protocols.oplog import loading
from omp.protocols.oplog.core.operation import CLAIM, GRANT, Operation
from omp.protocols.oplog.core.outcomes import ACCEPTED, DUPLICATE
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.feed import Position
from omp.protocols.oplog.node import Node
from omp.store.memory import MemoryStore
from omp.store.port import Store, StoreUnavailable, Writer
from omp.store.sqlite import SqliteStore
from omp.tests.oplog.kept import SqliteCase, claims, operations_of, picture, told
from omp.tests.oplog.world import DEVICES, LOG, ROOT, LogCopy


class FailingStore:
    """A store of which write blocks fail, as with a full disk, while `full` is true: nothing of them is kept."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.kind, self.durable = inner.kind, inner.durable
        self.full = False
        self.get, self.read, self.check, self.close = inner.get, inner.read, inner.check, inner.close
        self.damage, self.look_after = inner.damage, inner.look_after
        self.tables, self.file_sizes = inner.tables, inner.file_sizes

    @contextlib.contextmanager
    def _write(self) -> Iterator[Writer]:
        with self.inner.write() as tx:
            yield tx
            if self.full:
                raise StoreUnavailable("the disk is full")

    def write(self) -> AbstractContextManager[Writer]:
        return self._write()


class FailedCommits(SqliteCase):
    """A failed commit drops nothing that is still true."""

    def stores(self) -> Iterator[FailingStore]:
        for inner in (MemoryStore(), self.opened()):
            with self.subTest(inner.kind):
                yield FailingStore(inner)

    def never(self, *args: Any, **options: Any) -> Any:
        self.fail("the log was read again")

    def test_the_replica_answers_and_the_next_write_stores_everything(self) -> None:
        first, second, third, fourth = claims(4)
        for store in self.stores():
            node = Node(store)
            node.admit(LOG, [first])
            with node.reading(LOG) as before:
                pass
            store.full = True
            with patch.object(loading.Loader, "load", self.never):
                with self.assertRaises(StoreUnavailable):
                    node.admit(LOG, [second])
                store.full = False
                with node.reading(LOG) as replica:
                    self.assertIs(replica, before)
                (outcome,) = node.admit(LOG, [third])
                self.assertEqual(outcome.status, ACCEPTED)
                self.assertEqual([one.status for one in node.admit(LOG, [second, fourth])], [DUPLICATE, ACCEPTED])
            self.assertEqual(picture(Node(store)), picture(node))
            self.assertEqual(told(Node(store)), told(node))

    def test_while_commits_fail_nothing_more_is_taken_in(self) -> None:
        operations = claims(6)
        for store in self.stores():
            node = Node(store)
            node.admit(LOG, operations[:1])
            store.full = True
            for operation in operations[1:]:
                with self.assertRaises(StoreUnavailable):
                    node.admit(LOG, [operation])
            with node.reading(LOG) as replica:
                assert replica is not None
                self.assertEqual(len(replica), 2)  # else memory would fill up with the disk

    def test_a_log_that_never_was_stored_is_given_up(self) -> None:
        for store in self.stores():
            node = Node(store)
            store.full = True
            with self.assertRaises(StoreUnavailable):
                node.admit(LOG, claims(1))
            self.assertEqual((node._logs, node.stores(LOG)), ({}, False))
            store.full = False
            self.assertEqual([one.status for one in node.admit(LOG, claims(1))], [ACCEPTED])

    def test_what_is_unwritten_is_written_though_nobody_writes(self) -> None:
        operations = claims(3)
        for store in self.stores():
            node = Node(store)
            node.admit(LOG, operations[:1])
            store.full = True
            with self.assertRaises(StoreUnavailable):
                node.admit(LOG, operations[1:])
            node.write_again()
            self.assertEqual(len(picture(Node(store))["stored"]), 1)
            store.full = False
            node.write_again()
            self.assertEqual(picture(Node(store)), picture(node))
            self.assertEqual(node._unwritten, set())

    def test_events_are_told_after_the_commit_that_succeeds(self) -> None:
        operations = claims(3)
        store = FailingStore(MemoryStore())
        node = Node(store)
        node.admit(LOG, operations[:1])
        feed = node.feed(LOG)
        assert feed is not None
        stream = feed.follow(Position(1, 1))
        next(stream)  # the comment that begins it
        with patch.object(feed_module, "_WAIT_SECONDS", 0.01):
            store.full = True
            with self.assertRaises(StoreUnavailable):
                node.admit(LOG, operations[1:2])
            self.assertEqual(next(stream), b"")
            store.full = False
            node.admit(LOG, operations[2:])
            self.assertIn(b"id: 2.1\n", next(stream))

    def test_what_waits_goes_on_waiting(self) -> None:
        first, second, third = claims(3)
        store = FailingStore(MemoryStore())
        node = Node(store)
        node.admit(LOG, [first, third])
        store.full = True
        with self.assertRaises(StoreUnavailable):
            node.admit(LOG, [second])
        store.full = False
        self.assertEqual(node.waiting(LOG), ([], []))  # the second came, and with it the third
        node.write_again()
        self.assertEqual(picture(Node(store))["stored"], [first.id, second.id, third.id])

    def test_after_a_fault_of_our_own_the_log_is_read_again(self) -> None:
        first, second, third = claims(3)
        for store in self.stores():
            node = Node(store)
            node.admit(LOG, [first])
            with (
                patch.object(Replica, "_follow_up", side_effect=ZeroDivisionError),
                patch.object(gc, "unfreeze") as unfreeze,
                self.assertRaises(ZeroDivisionError),
            ):
                node.admit(LOG, [second])
            unfreeze.assert_called_once_with()  # else what is given up would stay in memory
            self.assertEqual([one.status for one in node.admit(LOG, [second, third])], [ACCEPTED] * 2)
            self.assertEqual(picture(Node(store)), picture(node))

    def test_rows_that_came_after_the_load_are_taken_back(self) -> None:
        # Another writer's commit was under way when the log was given up and read again.
        first, second, third = claims(3)
        for store in self.stores():
            node, writer = Node(store), Node(store)
            writer.admit(LOG, [first])
            picture(node)
            writer.admit(LOG, [second])
            self.assertEqual([one.status for one in node.admit(LOG, [third])], [ACCEPTED])
            self.assertEqual(picture(node), picture(Node(store)))
            self.assertEqual(told(node), told(Node(store)))


class GroupCommit(SqliteCase):
    """Several writers whose blocks share commits, of which some fail."""

    def test_writers_whose_commits_fail_now_and_then_lose_nothing(self) -> None:
        store = self.opened()
        node = Node(store)
        begin = LogCopy()
        for device in DEVICES:
            begin.do(ROOT, GRANT, grantee=device.id)
        node.admit(LOG, operations_of(begin.raw()))
        chains = []
        for device in DEVICES:
            copy = begin.copy()
            for _ in range(25):
                copy.do(device, CLAIM)
            chains.append([one for one in operations_of(copy.raw()) if one.author == device.id])
        commit, chance, failures = SqliteStore._commit, random.Random(4), [0]
        answered: list[set[str]] = [set() for _ in chains]

        def failing(store: SqliteStore, layer: Any) -> None:
            if chance.random() < 0.3:
                failures[0] += 1
                raise sqlite3.OperationalError("disk I/O error")
            commit(store, layer)

        def write(chain: list[Operation], mine: set[str]) -> None:
            for operation in chain:
                done = False
                while not done:
                    with contextlib.suppress(StoreUnavailable):
                        (outcome,) = node.admit(LOG, [operation])
                        done = outcome.status in (ACCEPTED, DUPLICATE)
                mine.add(operation.id)

        threads = [threading.Thread(target=write, args=pair) for pair in zip(chains, answered, strict=True)]
        with patch.object(SqliteStore, "_commit", failing), patch.object(loading.Loader, "load", None):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        self.assertTrue(failures[0])
        again = Node(store)
        self.assertEqual(picture(again), picture(node))
        self.assertEqual(told(again), told(node))
        self.assertLessEqual(set().union(*answered), set(picture(again)["stored"]))
        with store.read() as tx:
            self.assertEqual(tx.count("oplog_operations"), len(DEVICES) * 26)


if __name__ == "__main__":
    unittest.main()
