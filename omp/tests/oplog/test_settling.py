"""What one operation changes is settled in slices: nobody sees it half done, and nothing is lost between two slices.

Here a slice is one step and a step is one entry, so that there are slices where usually nobody would pause.
"""

from __future__ import annotations

import json
import threading
import unittest
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise, takewhile
from typing import Any, cast
from unittest.mock import patch

from omp.protocols.oplog import loading, reading
from omp.protocols.oplog import node as node_module
from omp.protocols.oplog.core import blocks, document, state, void
from omp.protocols.oplog.core.document import MOST_VOIDING, changed_by
from omp.protocols.oplog.core.entries import SourceEntry
from omp.protocols.oplog.core.operation import CLAIM, GRANT, REFUTATION, REVOCATION, Operation
from omp.protocols.oplog.core.outcomes import MOST_CHANGES_TOLD, Event, Outcome
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.steps import STEP, always
from omp.protocols.oplog.core.trusted import operation_unverified
from omp.protocols.oplog.core.verify import (
    check_bytes,
)
from omp.protocols.oplog.core.waiting import WaitingPool
from omp.protocols.oplog.feed import Position
from omp.protocols.oplog.node import Node, OpLog
from omp.protocols.oplog.routes import REFUSALS, ROUTES
from omp.rules import identifiers
from omp.store.memory import MemoryStore
from omp.store.port import Store, StoreUnavailable, key
from omp.tests import long
from omp.tests.oplog.kept import told
from omp.tests.oplog.test_node import OpenToAll
from omp.tests.oplog.world import DEVICES, LOG, ROOT, TRUSTING, TS, LogCopy, World, body_of, envelope, sealed
from omp.web.messages import Request, Response
from omp.web.routes import Application, Mount
from omp.web.signature_guard import SignatureGuard


@contextmanager
def small_steps() -> Iterator[None]:
    """Every entry is a step, and every step a slice."""
    with (
        patch.object(void, "STEP", 1),
        patch.object(state, "STEP", 1),
        patch.object(document, "STEP", 1),
        patch.object(blocks, "_BLOCK", 2),
        patch.object(node_module, "_BLOCK_SECONDS", 0),
        patch.object(node_module, "LOOK_SECONDS", 0),
        patch.object(node_module, "_GIVE_WAY_SECONDS", 0),
        patch.object(reading, "_WRITING_SECONDS", 0),
    ):
        yield


class CopyOf(LogCopy):
    """A copy of a log whose operations are kept in the order of making: `made`."""

    def __init__(self, log: str = LOG) -> None:
        super().__init__(log)
        self.made: list[Operation] = []

    def do(self, author: Any, kind: str, ts: str = TS, **members: Any) -> str:
        operation_id = super().do(author, kind, ts, **members)
        entry = self.replica.entry(operation_id)
        assert entry is not None
        self.made.append(operation_unverified(entry.raw))
        return operation_id


def chain(length: int) -> CopyOf:
    """Claims each derived from the one before it, then a refutation of the first."""
    copy = CopyOf()
    first = last = copy.do(ROOT, CLAIM)
    for number in range(1, length):
        last = copy.do(ROOT, CLAIM, object=number, derived_from=[last])
    copy.do(ROOT, REFUTATION, target=first)
    return copy


class HalfDone(Node):
    """A node whose writer goes away after the first block of :meth:`begin`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.store = store

    def begin(self, operation: Operation) -> Replica:
        """Admit `operation` in one block, and leave the rest; returns the replica, which is not settled."""
        log = operation.log
        assert self._admit_some(log, [operation], [])
        return self._logs[log].replica

    def ask(self, path: str, log: str = LOG, body: bytes | None = None) -> Response:
        """The answer to a GET, or a POST with a body."""
        oplog = OpLog(self, TRUSTING, cast(SignatureGuard, OpenToAll()), lambda: 0.0)
        mount = Mount("oplog", "", "", ROUTES, oplog, owns=("/logs",), refusals=REFUSALS)
        headers = {"content-type": "application/json"}
        request = Request("GET" if body is None else "POST", f"/logs/{log}{path}", headers, (), body or b"")
        return Application([mount], lambda report: None, 1 << 20).answer(request)


class Slices(unittest.TestCase):
    def check_seed(self, seed: int) -> None:
        """A hostile log delivered whole and in slices: the same outcomes, events and states."""
        raws = World(seed=seed).grow(80).accepted()
        whole, sliced = Replica(LOG), Replica(LOG)
        slices = 0
        for raw in raws:
            operation = check_bytes(raw, TRUSTING, LOG)
            expected = whole.admit(operation).events
            with small_steps():
                events = list(sliced.admit(operation, always).events)
                while sliced.unfinished:
                    slices += 1
                    self.assertFalse(sliced.settled)
                    self.assertEqual(events, [])
                    events += sliced.resume(always).events
            self.assertEqual(tuple(events), expected)
            self.assertEqual(sliced.state_document(), whole.state_document())
        self.assertGreater(slices, 20)

    def test_a_log_settled_in_slices_is_the_same_log(self) -> None:
        for seed in range(300, 304):
            self.check_seed(seed)

    @long
    def test_many_logs_settled_in_slices_are_the_same_logs(self) -> None:
        for seed in range(304, 364):
            self.check_seed(seed)

    def test_what_is_half_done_is_finished_before_anything_is_appended(self) -> None:
        copy = chain(20)
        *before, refutation = copy.made
        replica = Replica(LOG)
        for operation in before:
            replica.admit(operation)
        later = copy.by(ROOT).produce(CLAIM, body_of(CLAIM), TS)
        with small_steps():
            replica.admit(refutation, always)
            self.assertFalse(replica.settled)
            outcome = replica.admit(later, always)
        copy.replica.admit(later)
        self.assertEqual([event.kind for event in outcome.events].count("accepted"), 2)
        self.assertEqual(replica.state_document(), copy.replica.state_document())

    def test_between_two_steps_lies_little_work(self) -> None:
        # Counted: the entries whose taint changes between two steps.
        copy = chain(1000)
        *before, refutation = copy.made
        replica = Replica(LOG)
        for operation in before:
            replica.admit(operation)
        changed = 0
        with_source = state._with_source

        def counted(entry: SourceEntry, source: SourceEntry) -> tuple[SourceEntry, ...]:
            nonlocal changed
            changed += 1
            return with_source(entry, source)

        counts: list[int] = []

        def pause() -> bool:
            counts.append(changed)
            return False

        with patch.object(state, "_with_source", counted):
            replica.admit(refutation, pause)
        self.assertEqual(changed, 999)
        self.assertLessEqual(max(two - one for one, two in pairwise(counts)), STEP)


class Readers(unittest.TestCase):
    def setUp(self) -> None:
        self.enterContext(small_steps())
        self.copy = chain(60)
        *self.before, self.refutation = self.copy.made
        self.node = HalfDone(MemoryStore())
        self.node.admit(LOG, self.before)

    def test_every_reader_sees_a_settled_log(self) -> None:
        claim = self.before[-1].id
        expected = json.loads(self.copy.replica.state_document())
        replica = self.node.begin(self.refutation)
        for path in (
            "/state",
            "/heads",
            "/claims",
            f"/claims/{claim}/why",
            f"/projection?key={ROOT.id}",
            "/operations",
        ):
            with self.subTest(path):
                node = HalfDone(MemoryStore())
                node.admit(LOG, self.before)
                replica = node.begin(self.refutation)
                self.assertFalse(replica.settled)
                self.assertEqual(node.ask(path).status, 200)
                self.assertTrue(replica.settled)
        self.assertEqual(json.loads(self.node.ask("/state").body or b""), expected)

    def test_the_writer_goes_on_where_readers_are(self) -> None:
        self.node.begin(self.refutation)
        with self.node.reading(LOG) as replica:
            assert replica is not None
            self.assertTrue(replica.settled)
        (again,) = self.node.admit(LOG, [self.refutation])
        self.assertEqual(again.status, "duplicate")

    def test_readers_among_writers_see_only_states_that_were(self) -> None:
        states, replica = {identifiers.state_id(b"")}, Replica(LOG)
        for number, operation in enumerate(self.copy.made):
            replica.admit(operation)
            if number >= len(self.before) - 1:
                states.add(replica.state_id())
        more = []
        for number in range(20):
            self.copy.do(ROOT, REFUTATION, target=self.before[0].id, reason=str(number))
            more.append(self.copy.made[-1])
            states.add(self.copy.replica.state_id())
        seen: list[str | None] = []
        over = threading.Event()

        def read() -> None:
            while not over.is_set():
                seen.append(dict(self.node.ask("/state").headers).get("OMP-State"))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for operation in (self.refutation, *more):
            self.node.admit(LOG, [operation])
        over.set()
        for reader in readers:
            reader.join()
        self.assertLessEqual(set(seen), states)
        self.assertEqual(dict(self.node.ask("/state").headers)["OMP-State"], self.copy.replica.state_id())

    def test_the_state_document_is_written_in_several_looks(self) -> None:
        looks = 0
        snapshot = Replica.snapshot

        def counted(replica: Replica, pause: Any) -> Any:
            nonlocal looks
            looks += 1
            if looks == 5:
                replica.admit(self.refutation)  # a writer between two looks
            return snapshot(replica, pause)

        with patch.object(Replica, "snapshot", counted):
            answer = self.node.ask("/state")
        self.assertGreater(looks, 30)
        self.assertEqual(answer.body, self.copy.replica.state_document())

    def test_why_is_begun_anew_where_the_log_was_read_again(self) -> None:
        looks = 0
        tip = self.before[-1].id
        later = self.copy.by(ROOT).produce(REFUTATION, body_of(REFUTATION, target=tip), TS)

        class Dropping(HalfDone):
            @contextmanager
            def reading(self, log: str) -> Iterator[Replica | None]:
                nonlocal looks
                looks += 1
                if looks == 10:
                    # Not in this node's replica, as if another one had stored it.
                    Node(self.store).admit(log, [later])
                    self._give_up(log)
                with super().reading(log) as replica:
                    yield replica

        self.node.admit(LOG, [self.refutation])
        node = Dropping(self.node.store)
        why = json.loads(node.ask(f"/claims/{tip}/why").body or b"")
        self.assertEqual((why["status"], why["changed_by"]), ("refuted", [later.id]))
        self.assertGreater(looks, 60)

    def test_missing_is_what_was_stored_at_one_moment(self) -> None:
        replica = Replica(LOG)
        for operation in self.before:
            replica.admit(operation)
        extent = replica.extent()
        replica.admit(self.refutation)
        lacked = replica.lacking([self.before[0].id], extent)
        self.assertEqual([entry.id for entry in lacked], [one.id for one in self.before[1:]])


class FailingStore(MemoryStore):
    """A store whose next commit fails when `fails` is true."""

    fails = False

    def write(self) -> Any:
        return self._block()

    @contextmanager
    def _block(self) -> Iterator[Any]:
        with super().write() as tx:
            yield tx
            if self.fails:
                raise StoreUnavailable("The disk is full.")


class Failures(unittest.TestCase):
    def setUp(self) -> None:
        self.enterContext(small_steps())
        self.copy = chain(40)
        *before, self.refutation = self.copy.made
        self.store = FailingStore()
        self.node = HalfDone(self.store)
        self.node.admit(LOG, before)

    def state(self, node: HalfDone) -> bytes | None:
        return node.ask("/state").body

    def test_a_process_killed_between_two_slices_leaves_nothing_half_done(self) -> None:
        self.assertFalse(self.node.begin(self.refutation).settled)
        self.assertEqual(self.state(HalfDone(self.store)), self.copy.replica.state_document())

    def test_a_commit_that_fails_between_two_slices_drops_nothing(self) -> None:
        half = self.node.begin(self.refutation)
        later = self.copy.by(ROOT).produce(CLAIM, body_of(CLAIM), TS)
        self.store.fails = True
        with self.assertRaises(StoreUnavailable):
            self.node.admit(LOG, [later])
        self.store.fails = False
        stored = self.copy.replica.state_document()
        self.assertEqual(self.state(HalfDone(self.store)), stored)
        self.copy.replica.admit(later)
        self.assertEqual(self.state(self.node), self.copy.replica.state_document())
        self.assertIs(self.node._logs[LOG].replica, half)
        self.assertEqual([one.status for one in self.node.admit(LOG, [later])], ["duplicate"])
        self.assertEqual(self.state(HalfDone(self.store)), self.copy.replica.state_document())

    def test_what_a_failed_commit_left_half_settled_is_told_though_nobody_reads_or_writes(self) -> None:
        self.store.fails = True
        with self.assertRaises(StoreUnavailable):
            self.node.admit(LOG, [self.refutation])
        self.assertFalse(self.node._logs[LOG].replica.settled)
        feed = self.node._logs[LOG].feed
        published = feed._published
        self.node.write_again()
        self.assertEqual(feed._published, published)
        self.store.fails = False
        self.node.write_again()
        self.assertEqual(feed._published, published + 41)
        self.assertEqual(told(self.node), told(HalfDone(self.store)))

    def test_a_load_settles_in_small_steps_too(self) -> None:
        held = loading.HeldLog(LOG, WaitingPool())
        counts = [sum(1 for _ in held.take_back(operation.raw)) for operation in self.copy.made]
        self.assertLess(max(counts[:-1]), 5)
        self.assertGreater(counts[-1], 40)
        self.assertEqual(held.replica.state_document(), self.copy.replica.state_document())

    def test_what_a_failed_commit_left_half_settled_is_written_later(self) -> None:
        before = self.state(self.node)
        self.store.fails = True
        with self.assertRaises(StoreUnavailable):
            self.node.admit(LOG, [self.refutation])
        self.assertEqual(self.state(HalfDone(self.store)), before)
        self.assertEqual(self.state(self.node), self.copy.replica.state_document())
        self.store.fails = False
        self.node.write_again()
        self.assertEqual(self.state(HalfDone(self.store)), self.copy.replica.state_document())

    def test_a_fault_while_it_is_settled_leaves_a_log_that_is_read_again(self) -> None:
        self.node.begin(self.refutation)
        with patch.object(Replica, "settle", side_effect=MemoryError):
            self.assertEqual(self.node.ask("/state").status, 500)
        self.assertEqual(self.state(self.node), self.copy.replica.state_document())


class OtherLogs(unittest.TestCase):
    def test_a_log_that_is_not_settled_holds_up_no_other(self) -> None:
        copy = chain(60)
        *before, refutation = copy.made
        other = identifiers.identity_id(DEVICES[0].public_key)
        theirs = [operation_unverified(sealed(envelope(CLAIM, DEVICES[0], log=other)))]
        node = HalfDone(MemoryStore())
        with small_steps():
            node.admit(LOG, before)
            half = node.begin(refutation)
            settled: list[bool] = []

            def somebody_else() -> None:
                settled.append(half.settled)
                self.assertEqual([one.status for one in node.admit(other, theirs)], ["accepted"])
                self.assertEqual(node.ask("/state", other).status, 200)
                settled.append(half.settled)

            thread = threading.Thread(target=somebody_else)
            thread.start()
            thread.join()
            self.assertEqual(settled, [False, False])

    def test_the_list_of_logs_is_read_some_at_a_time(self) -> None:
        store, reads = MemoryStore(), 0
        logs = [identifiers.identity_id(number.to_bytes(32, "big")) for number in range(150)]
        with store.write() as tx:
            for log in logs:
                tx.put(node_module.LOGS, key(log), b"\1")
        read = store.read

        def counted() -> Any:
            nonlocal reads
            reads += 1
            return read()

        with patch.object(store, "read", counted):
            self.assertEqual(list(Node(store).logs()), sorted(logs))
        self.assertEqual(reads, 3)

    def test_only_the_first_slice_is_in_a_block_of_the_store(self) -> None:
        copy = chain(60)
        *before, refutation = copy.made
        store = MemoryStore()
        node = Node(store)
        node.admit(LOG, before)
        settle, in_block = Replica.settle, []

        def watched(replica: Replica, *arguments: Any) -> Sequence[Event]:
            in_block.append(store._lock.locked())
            return settle(replica, *arguments)

        with small_steps(), patch.object(Replica, "settle", watched):
            node.admit(LOG, [refutation])
        self.assertEqual(in_block, [True] + [False] * (len(in_block) - 1))
        self.assertGreater(len(in_block), 100)


class ArrivalLock:
    """A lock that knows how many have come to it; `all_here` is set when `number` have."""

    def __init__(self, number: int) -> None:
        self._lock = threading.Lock()
        self._number = number
        self.arrived = 0
        self.all_here = threading.Event()

    def __enter__(self) -> None:
        self.arrived += 1
        if self.arrived == self._number:
            self.all_here.set()
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class Queue(unittest.TestCase):
    def test_a_writer_waits_for_one_reader_at_most(self) -> None:
        node = HalfDone(MemoryStore())
        node.admit(LOG, chain(3).made)
        queue, lock = ArrivalLock(4), ArrivalLock(1)
        node._queue, node._lock = cast(threading.Lock, queue), cast(threading.Lock, lock)
        readers = [threading.Thread(target=node.ask, args=("/heads",)) for _ in range(4)]
        with lock._lock:  # a writer is at work
            for reader in readers:
                reader.start()
            self.assertTrue(queue.all_here.wait(30))
            self.assertTrue(lock.all_here.wait(30))
            self.assertEqual(lock.arrived, 1)  # the others are still in the queue
        for reader in readers:
            reader.join()
        self.assertEqual(lock.arrived, 4)


def positions(node: Node, after: Position) -> list[bytes]:
    """What a follower is told after a position, until nothing is left."""
    feed = node.feed(LOG)
    assert feed is not None
    told = b"".join(takewhile(bool, feed.follow(after)))  # b"" is "nothing new"
    return told.split(b"\n\n")[1:-1]


class Events(unittest.TestCase):
    def told(self, length: int) -> list[bytes]:
        """What is told of the refutation of a chain's first claim, and of one claim more; the same after a restart."""
        copy = chain(length)
        copy.do(ROOT, CLAIM)
        store = MemoryStore()
        node = Node(store)
        node.admit(LOG, copy.made)
        told = positions(node, Position(length, 1))
        self.assertEqual(positions(Node(store), Position(length, 1)), told)
        return told

    def test_more_than_two_thousand_changes_are_one_reset(self) -> None:
        told = self.told(MOST_CHANGES_TOLD + 1)
        self.assertEqual([one.partition(b"\ndata")[0] for one in told], [
            b"id: 2002.1\nevent: accepted", b"id: 2002.2\nevent: reset", b"id: 2003.1\nevent: accepted"])  # fmt: skip
        self.assertIn(b'data: {"ops":2002}', told[1])

    def test_two_thousand_changes_are_told_each(self) -> None:
        outcome = chain(MOST_CHANGES_TOLD).replica
        copy = LogCopy()
        copy.replica = outcome
        (first, *_) = copy.replica.operations()
        operation = copy.by(ROOT).produce(REFUTATION, body_of(REFUTATION, target=first.id, reason="again"), TS)
        self.assertEqual([one.kind for one in copy.replica.admit(operation).events], ["accepted", "status"])
        raws = chain(MOST_CHANGES_TOLD).made
        replica = Replica(LOG)
        outcomes: list[Outcome] = [replica.admit(one) for one in raws]
        kinds = [event.kind for event in outcomes[-1].events]
        self.assertEqual(kinds, ["accepted"] + ["status"] * MOST_CHANGES_TOLD)

    def test_events_wait_for_the_commit_of_who_caused_them(self) -> None:
        copy = chain(40)
        *before, refutation = copy.made
        with small_steps():
            node = HalfDone(MemoryStore())
            node.admit(LOG, before)
            node.begin(refutation)
            feed = node.feed(LOG)
            assert feed is not None
            published = feed._published
            with node.reading(LOG):  # a reader settles the rest, and tells nobody
                pass
            self.assertEqual(feed._published, published)
            node.admit(LOG, [refutation])
            self.assertEqual(feed._published, published + 41)


class Why(unittest.TestCase):
    def test_changed_by_names_a_hundred_revocations_at_most(self) -> None:
        copy = LogCopy()
        grant = copy.do(ROOT, GRANT)
        base = copy.replica.entry(grant)
        assert base is not None
        claim = copy.do(DEVICES[0], CLAIM)
        for number in range(MOST_VOIDING + 20):
            body = body_of(REVOCATION, target=grant, reason=str(number))
            value = envelope(REVOCATION, body=body, prev=grant, seq=base.seq + 1, lc=base.lc + 1)
            self.assertEqual(copy.replica.add(sealed(value), TRUSTING).status, "accepted")
        entry = copy.replica.entry(claim)
        assert isinstance(entry, SourceEntry)
        self.assertTrue(entry.void)
        causes = changed_by(entry)
        self.assertEqual((len(causes), causes), (MOST_VOIDING, sorted(set(causes))))


if __name__ == "__main__":
    unittest.main()
