"""The node between the log and HTTP: what waits is verified once, and an item is of one look at the log (§7)."""

from __future__ import annotations

import json
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import cast
from unittest.mock import patch

from omp.protocols.oplog import node as node_module
from omp.protocols.oplog.core.operation import CLAIM, GRANT, REFUTATION, Operation
from omp.protocols.oplog.core.outcomes import Event, Outcome
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.steps import Pause
from omp.protocols.oplog.core.verify import check_bytes
from omp.protocols.oplog.feed import Feed
from omp.protocols.oplog.node import Node, OpLog
from omp.protocols.oplog.posting import post_many, post_one
from omp.protocols.oplog.routes import REFUSALS, ROUTES
from omp.rules.engines import Engine
from omp.store.memory import MemoryStore
from omp.tests.oplog.world import DEVICES, LOG, ROOT, TRUSTING, LogCopy
from omp.web.messages import Request
from omp.web.routes import Application, Mount
from omp.web.signature_guard import SignatureGuard


class OpenToAll:
    """Stands for the guard of a server in mode ``off``."""

    def check(self, request: Request, *, own_keys: bool = False) -> None:
        return None


class InterruptedNode(Node):
    """A node to which something happens each time that a reader has let go of the log."""

    happens: Callable[[], None] | None = None

    @contextmanager
    def reading(self, log: str) -> Iterator[Replica | None]:
        with super().reading(log) as replica:
            yield replica
        if self.happens is not None:
            self.happens()


class BusyNode(Node):
    """A node to which another writer sends `theirs` while a batch is being answered; `admitted` are the IDs it got."""

    def __init__(self, theirs: Operation) -> None:
        super().__init__(MemoryStore())
        self.theirs = theirs
        self.admitted: list[str] = []

    def admit(self, log: str, operations: Sequence[Operation]) -> list[Outcome]:
        self.admitted += [operation.id for operation in operations]
        return super().admit(log, operations)

    def waiting(self, log: str) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
        super().admit(log, [self.theirs])
        return super().waiting(log)


class CountingNode(Node):
    """A node that counts its write `blocks`, and the operations of each call."""

    blocks = 0

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.sizes: list[int] = []

    def admit(self, log: str, operations: Sequence[Operation]) -> list[Outcome]:
        self.sizes.append(len(operations))
        return super().admit(log, operations)

    def _admit_some(self, log: str, operations: Sequence[Operation], outcomes: list[Outcome]) -> bool:
        self.blocks += 1
        return super()._admit_some(log, operations, outcomes)


class Waiting(unittest.TestCase):
    def test_what_another_writer_stored_is_accepted_only_after_its_commit(self) -> None:
        writers = LogCopy()
        ids = [writers.do(ROOT, CLAIM) for _ in range(2)]
        first, second = writers.raw()
        node = BusyNode(check_bytes(first, TRUSTING, LOG))
        answer = json.loads(post_many(node, TRUSTING, LOG, second).body or b"")
        self.assertEqual([one["status"] for one in answer["outcomes"]], ["accepted"])
        self.assertEqual(node.admitted, [ids[1], ids[1]])  # the second time is a duplicate, answered after the commit

    def test_what_waits_is_verified_once_also_where_nothing_is_stored(self) -> None:
        writers = LogCopy()
        writers.do(ROOT, CLAIM)
        writers.do(ROOT, CLAIM)
        first, second = writers.raw()
        verified: list[bytes] = []

        def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
            verified.append(message)
            return True

        node, engine = Node(MemoryStore()), Engine("counting", verify)
        for _ in range(3):
            self.assertEqual(post_one(node, engine, LOG, second).status, 202)
        self.assertEqual(len(verified), 1)
        self.assertEqual(post_one(node, engine, LOG, first).status, 201)
        for raw in (first, second):
            self.assertEqual(post_one(node, engine, LOG, raw).status, 200)
        self.assertEqual(len(verified), 2)

    def test_other_bytes_under_a_waiting_id_are_verified(self) -> None:
        writers = LogCopy()
        writers.do(ROOT, CLAIM)
        writers.do(ROOT, CLAIM)
        waiting = writers.raw()[1]
        node = Node(MemoryStore())
        self.assertEqual(post_one(node, TRUSTING, LOG, waiting).status, 202)
        twin = json.loads(waiting)
        twin["sig"] = "A" * 86
        raw = json.dumps(twin, separators=(",", ":"), sort_keys=True).encode()
        strict = Engine("nothing passes", lambda public_key, message, signature: False)
        answer = json.loads(post_many(node, strict, LOG, b"\n".join([waiting, raw])).body or b"")
        self.assertEqual([one["status"] for one in answer["outcomes"]], ["deferred", "rejected"])


class Locks(unittest.TestCase):
    """No lock is held for long: work is cut into blocks by what it costs."""

    def test_what_had_waited_for_one_operation_is_judged_in_several_blocks(self) -> None:
        writers = LogCopy()
        for device in DEVICES:
            writers.do(ROOT, GRANT, grantee=device.id)
        first, *others = writers.raw()
        node = CountingNode(MemoryStore())
        with patch.object(node_module, "_BLOCK_SECONDS", 0):
            node.admit(LOG, [check_bytes(raw, TRUSTING, LOG) for raw in reversed(others)])
            node.blocks = 0
            (outcome,) = node.admit(LOG, [check_bytes(first, TRUSTING, LOG)])
        self.assertEqual(node.blocks, len(DEVICES))
        self.assertEqual([entry.raw for entry in outcome.stored], [first, *others])
        self.assertEqual([event.kind for event in outcome.events], ["accepted"] * len(DEVICES))

    def test_what_is_unfinished_is_finished_by_the_next_writer(self) -> None:
        writers = LogCopy()
        ids = [writers.do(ROOT, CLAIM) for _ in range(4)]
        operations = [check_bytes(raw, TRUSTING, LOG) for raw in writers.raw()]
        replica = Replica(LOG)
        for operation in reversed(operations[1:]):
            replica.admit(operation)
        outcome = replica.admit(operations[0], lambda: True)
        self.assertEqual([entry.id for entry in outcome.stored], ids[:1])
        self.assertTrue(replica.unfinished)
        self.assertEqual([name for name, _ in replica.pending()], [ids[3], ids[2]])  # not what is about to be judged
        again = replica.admit(operations[1])  # sent again before its turn
        self.assertEqual([entry.id for entry in again.stored], ids[1:])
        self.assertEqual((replica.unfinished, replica.pending(), len(replica)), (False, [], 4))

    def test_a_log_is_read_from_the_tables_without_the_lock(self) -> None:
        writers = LogCopy()
        writers.do(ROOT, CLAIM)
        store = MemoryStore()
        Node(store).admit(LOG, [check_bytes(raw, TRUSTING, LOG) for raw in writers.raw()])
        node, restore = Node(store), Replica.restore
        locked: list[bool] = []

        def watched(replica: Replica, data: bytes, pause: Pause) -> Sequence[Event]:
            locked.append(node._lock.locked())
            return restore(replica, data, pause)

        with patch.object(Replica, "restore", watched):
            node.admit(LOG, [])
            node.admit(LOG, [check_bytes(raw, TRUSTING, LOG) for raw in writers.raw()])
        self.assertEqual(locked, [False])

    def test_only_some_lines_are_parsed_before_the_node_gets_them(self) -> None:
        writers = LogCopy()
        for _ in range(150):
            writers.do(ROOT, CLAIM)
        node = CountingNode(MemoryStore())
        post_many(node, TRUSTING, LOG, b"\n".join(writers.raw()))
        self.assertEqual(node.sizes, [64, 64, 22])


class Heartbeats(unittest.TestCase):
    """A stream on which nothing happens (§7.6)."""

    def test_a_comment_comes_at_least_every_fifteen_seconds(self) -> None:
        now = 0.0
        with (
            patch("omp.protocols.oplog.feed.time.monotonic", lambda: now),
            patch("omp.protocols.oplog.feed._WAIT_SECONDS", 0.0),
        ):
            stream = Feed().follow(None)
            self.assertIn(b"retry: ", next(stream))
            heard = [0.0]
            for _ in range(200):
                piece = next(stream)
                if piece:
                    self.assertTrue(piece.startswith(b": ") and piece.endswith(b"\n\n"), piece)
                    heard.append(now)
                now += 0.5  # how long a look waits for events
        pauses = [later - earlier for earlier, later in pairwise(heard)]
        self.assertGreater(len(pauses), 5)
        self.assertLessEqual(max(pauses), 15.0)


class Looks(unittest.TestCase):
    def test_an_item_never_shows_a_status_that_the_filter_left_out(self) -> None:
        writers = LogCopy()
        claims = [writers.do(ROOT, CLAIM) for _ in range(3)]
        before = writers.raw()
        for claim in claims:
            writers.do(ROOT, REFUTATION, target=claim)
        later = [check_bytes(raw, TRUSTING, LOG) for raw in writers.raw() if raw not in before]
        node = InterruptedNode(MemoryStore())
        node.admit(LOG, [check_bytes(raw, TRUSTING, LOG) for raw in before])
        state = OpLog(node, TRUSTING, cast(SignatureGuard, OpenToAll()), lambda: 0.0)
        mount = Mount("oplog", "", "", ROUTES, state, owns=("/logs",), refusals=REFUSALS)
        application = Application([mount], self.fail, 1 << 20)

        def refute_one() -> None:
            if later:
                node.admit(LOG, [later.pop(0)])

        node.happens = refute_one
        for status, left in (("active", 2), ("active", 1), ("refuted", 0)):
            answer = application.answer(Request("GET", f"/logs/{LOG}/claims?status={status}", {}))
            self.assertEqual(len(later), left)
            shown = [item["status"] for item in json.loads(answer.body or b"")["items"]]
            self.assertEqual(shown, [status] * len(shown))
            self.assertTrue(shown)


if __name__ == "__main__":
    unittest.main()
