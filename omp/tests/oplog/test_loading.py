"""A log read from the tables, what a failed commit leaves, and who waits meanwhile (oplog §7.7)."""

from __future__ import annotations

import contextlib
import gc
import random
import threading
import unittest
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

from omp.protocols.oplog import feed as feed_module
from omp.protocols.oplog import loading
from omp.protocols.oplog import node as node_module
from omp.protocols.oplog.core import trusted, verify
from omp.protocols.oplog.core.operation import CLAIM, Operation
from omp.protocols.oplog.core.outcomes import ACCEPTED, DUPLICATE
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.verify import check_bytes
from omp.protocols.oplog.node import Node
from omp.rules import canonical
from omp.store.memory import MemoryStore
from omp.store.port import DamagedRow, Reader, Store, StoreUnavailable, Writer, key
from omp.store.sqlite import SqliteStore
from omp.tests import long
from omp.tests.harness import PATIENCE, Client, running_server
from omp.tests.oplog.kept import OTHER_LOG, SqliteCase, claims, keeping, operations_of, other_claims, picture, told
from omp.tests.oplog.world import LOG, ROOT, TRUSTING, LogCopy, World, first_operation


class Restored(SqliteCase):
    """A node that has read a log is as the node that took it in."""

    def compare(self, seed: int, size: int, events: int, store: Store) -> Store:
        """Take in a random log in a random order; restart in the middle, and again at the end.  Returns the store."""
        choose = random.Random(seed)
        operations = operations_of(World(seed).grow(size).accepted())
        choose.shuffle(operations)
        middle = choose.randrange(len(operations))
        with keeping(events):
            node = Node(store)
            # What waits is lost at a restart, so before one only what is stored is kept of each half.
            node.admit(LOG, operations[:middle])
            if node.stores(LOG):
                again = Node(store)
                expected = picture(node)
                expected["pending"] = []
                self.assertEqual(picture(again), expected)
                self.assertEqual(told(again), told(node))
                node = again
            for taker in (node, node):  # twice: what waited for the second half
                taker.admit(LOG, operations)
            last = Node(store)
            self.assertEqual(len(picture(node)["stored"]), size_of(operations))
            self.assertEqual(picture(last), picture(node))
            self.assertEqual(told(last), told(node))
        return store

    def test_random_logs_are_the_same_after_restarts(self) -> None:
        for seed in range(12):
            with self.subTest(seed=seed):
                self.compare(seed, 60, (1, 7, 30, 2_000)[seed % 4], MemoryStore())

    @long
    def test_many_larger_logs_are_the_same_after_restarts(self) -> None:
        for seed in range(100, 200):
            with self.subTest(seed=seed):
                self.compare(seed, 250, (1, 40, 120)[seed % 3], MemoryStore())

    def test_a_log_in_sqlite_is_the_same_after_restarts(self) -> None:
        for seed in (20, 21):
            with self.subTest(seed=seed):
                self.path += str(seed)
                self.compare(seed, 60, 5, self.opened())

    def test_the_worlds_have_what_makes_loading_hard(self) -> None:
        forks = void = tainted = cut = 0
        for seed in range(12):
            replica = World(seed).grow(60).replica
            forks += len(replica.forks())
            for entry in replica.operations():
                void += entry.void
                tainted += bool(getattr(entry, "taint", ()))
                cut += getattr(entry, "floor", None) is not None
        self.assertTrue(forks and void and tainted and cut)

    def test_after_a_load_the_log_goes_on_as_if_it_had_not_been_read(self) -> None:
        for seed in range(8):
            world = World(seed).grow(80)
            first, rest = operations_of(world.accepted()[:50]), operations_of(world.accepted()[50:])
            # What is settled in a later slice is not among the events of an outcome.
            with self.subTest(seed=seed), keeping(3), patch.object(node_module, "_BLOCK_SECONDS", 60.0):
                whole, store = Node(MemoryStore()), MemoryStore()
                whole.admit(LOG, first)
                Node(store).admit(LOG, first)
                outcomes = [
                    [(one.status, one.events) for one in node.admit(LOG, rest)] for node in (whole, Node(store))
                ]
                self.assertEqual(outcomes[0], outcomes[1])

    def test_a_load_takes_back_more_events_than_a_feed_keeps(self) -> None:
        self.assertGreater(loading._TAIL, feed_module.KEPT)

    def test_nothing_is_verified_again(self) -> None:
        operations = operations_of(World(1).grow(40).accepted())
        store = MemoryStore()
        Node(store).admit(LOG, operations)

        def forbidden(*args: Any) -> Any:
            self.fail("this was done before the operation was stored")

        stages = [verify.Stage(*stage[:3], forbidden) for stage in verify.STAGES]
        with (
            patch.object(verify, "_OF_THE_BYTES", stages[:7]),
            patch.object(verify, "_OF_THE_PAST", stages[7:]),
            patch.object(canonical, "decode", forbidden),
            patch.object(canonical, "encode", forbidden),
            keeping(5),
        ):
            node = Node(store)
            with node.reading(LOG) as replica:
                assert replica is not None
                self.assertEqual(len(replica), len(operations))

    def test_what_is_derived_is_derived_once(self) -> None:
        store = MemoryStore()
        Node(store).admit(LOG, claims(40))
        calls: list[int] = []
        derive = Replica.derive

        def counted(replica: Replica) -> Iterator[None]:
            calls.append(len(replica))
            return derive(replica)

        with keeping(9), patch.object(Replica, "derive", counted):
            picture(Node(store))
        self.assertEqual(calls, [30])

    def test_a_database_of_an_earlier_server_loads(self) -> None:
        # Its tables as they have been since the first release: bytes by number, and the number of operations.
        world = World(5).grow(50)
        store = self.opened()
        for number, raw in enumerate(world.accepted()):
            with store.write() as tx:
                tx.put("oplog_operations", key(LOG, number), raw)
                tx.put("oplog_logs", key(LOG), (number + 1).to_bytes(8, "big"))
        with keeping(5):
            self.assertEqual(picture(Node(store))["state"][0], world.replica.state_id())

    def test_extensions_are_part_of_the_operation_id(self) -> None:
        raw = first_operation(x_note={"sig": "A" * 86, "ts": "2024-05-17T09:30:00.000Z"}, x_zone="Ö")
        checked, kept = check_bytes(raw, TRUSTING), trusted.operation_unverified(raw)
        self.assertEqual(kept.id, checked.id)

    def test_a_body_that_looks_like_a_signature_is_no_signature(self) -> None:
        tail = {"seq": 1, "sig": "A" * 86, "ts": "2024-05-17T09:30:00.000Z", "type": "claim-assert", "v": "omp/0.2"}
        writer = LogCopy()
        writer.do(ROOT, CLAIM, object=tail)
        (raw,) = writer.raw()
        self.assertEqual(trusted.operation_unverified(raw).id, check_bytes(raw, TRUSTING).id)


def size_of(operations: Sequence[Operation]) -> int:
    return len({operation.id for operation in operations})


class Damaged(SqliteCase):
    """A damaged row concerns its own log."""

    def damage(self, change: Callable[[Writer], None]) -> Node:
        store = MemoryStore()
        Node(store).admit(LOG, claims(30))
        Node(store).admit(OTHER_LOG, other_claims(3))
        with store.write() as tx:
            change(tx)
        return Node(store)

    def test_a_damaged_log_is_read_as_far_as_the_damage_once(self) -> None:
        node = self.damage(lambda tx: tx.put("oplog_operations", key(LOG, 4), b"{}"))
        linked: list[bytes] = []
        with keeping(3), patch.object(Replica, "link", lambda replica, data: linked.append(data)):
            for _ in range(3):
                with self.assertRaises(DamagedRow):
                    picture(node)
        self.assertEqual(len(linked), 1)  # it stored nothing: the first row is the damage that is met

    def test_a_damaged_log_is_unavailable_and_the_others_are_served(self) -> None:
        def flipped(tx: Writer) -> None:
            raw = tx.get("oplog_operations", key(LOG, 4)) or b""
            tx.put("oplog_operations", key(LOG, 4), raw.replace(b"dentist", b"dentisu"))

        def cut(tx: Writer) -> None:
            tx.put("oplog_operations", key(LOG, 4), b'{"author":')

        def lost(tx: Writer) -> None:
            tx.delete("oplog_operations", key(LOG, 4))

        def doubled(tx: Writer) -> None:
            tx.put("oplog_operations", key(LOG, 4), tx.get("oplog_operations", key(LOG, 3)) or b"")

        for change, number in ((doubled, 5), (flipped, 6), (cut, 5), (lost, 5)):
            for events in (3, 2_000):
                with self.subTest(change.__name__, events=events), keeping(events):
                    node = self.damage(change)
                    for _ in range(2):
                        with self.assertRaises(DamagedRow) as raised:
                            picture(node)
                        self.assertEqual(raised.exception.key, key(LOG, number - 1))
                    with self.assertRaises(StoreUnavailable):
                        node.admit(LOG, claims(31))
                    self.assertEqual(len(picture(node, OTHER_LOG)["stored"]), 3)


class HeldLoads:
    """While the block runs, loads of `log` wait before their first step until `go` is set."""

    def __init__(self, log: str = LOG) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        load = loading.Loader.load

        def held(loader: loading.Loader, name: str, number: int, *, ahead: bool = False) -> loading.HeldLog:
            if name == log:
                self.begun.set()
                assert self.go.wait(30)
            return load(loader, name, number, ahead=ahead)

        self._patch = patch.object(loading.Loader, "load", held)

    def __enter__(self) -> HeldLoads:
        self._patch.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.go.set()
        self._patch.stop()


def path(log: str, rest: str) -> str:
    return f"/logs/{quote(log, safe='')}{rest}"


class Meanwhile(SqliteCase):
    """While a log is loaded, everybody else is served."""

    def setUp(self) -> None:
        super().setUp()
        self.stored, self.added = claims(20)[:19], claims(20)[19:]
        with contextlib.closing(SqliteStore(self.path)) as store:
            Node(store).admit(LOG, self.stored)
            Node(store).admit(OTHER_LOG, other_claims(2)[:1])

    def test_other_logs_other_protocols_and_health_are_answered(self) -> None:
        answers: list[Any] = []

        def ask(port: int, method: str, rest: str, body: bytes = b"") -> None:
            with Client(port) as client:
                headers = {"Content-Type": "application/x-ndjson"}
                answers.append(client.request(method, path(LOG, rest), body=body or None, headers=headers))

        with running_server(storage=f"sqlite:{self.path}") as server, HeldLoads() as held:
            batch = b"\n".join(operation.raw for operation in self.added)
            asks = (("GET", "/heads"), ("POST", "/operations", batch))
            threads = [threading.Thread(target=ask, args=(server.port, *asked)) for asked in asks]
            for thread in threads:
                thread.start()
            self.assertTrue(held.begun.wait(PATIENCE))
            with Client(server.port) as client:
                self.assertEqual(client.request("GET", "/health").status, 200)
                made = client.request("POST", "/objects", {"namespace": "a", "content": {}})
                self.assertEqual(made.status, 201)
                self.assertEqual(client.request("GET", f"/objects/{made.json['id']}").status, 200)
                self.assertEqual(client.request("GET", path(OTHER_LOG, "/heads")).json["ops"], 1)
                self.assertEqual(client.request("GET", path(OTHER_LOG, "/claims")).json["count"], 1)
            self.assertEqual(answers, [])
            held.go.set()
            for thread in threads:
                thread.join(PATIENCE)
            self.assertEqual([answer.status for answer in answers], [200, 200])
            with Client(server.port) as client:
                self.assertEqual(client.request("GET", path(LOG, "/heads")).json["ops"], 20)

    def test_another_log_is_written_meanwhile(self) -> None:
        node = Node(self.opened())
        with HeldLoads() as held:
            reader = threading.Thread(target=picture, args=(node,))
            reader.start()
            self.assertTrue(held.begun.wait(PATIENCE))
            outcomes = node.admit(OTHER_LOG, other_claims(2))
            self.assertEqual([outcome.status for outcome in outcomes], [DUPLICATE, ACCEPTED])
            held.go.set()
            reader.join(PATIENCE)

    def test_those_who_ask_for_one_log_load_it_once(self) -> None:
        node = Node(self.opened())
        found: list[Replica | None] = []

        def read() -> None:
            with node.reading(LOG) as replica:
                found.append(replica)

        begun: list[str] = []
        steps = loading.Loader._steps

        def counted(loader: loading.Loader, held: loading.HeldLog, number: int) -> Iterator[None]:
            begun.append(held.replica.log)
            return steps(loader, held, number)

        with patch.object(loading.Loader, "_steps", counted), HeldLoads() as held:
            threads = [threading.Thread(target=read) for _ in range(5)]
            for thread in threads:
                thread.start()
            self.assertTrue(held.begun.wait(PATIENCE))
            held.go.set()
            for thread in threads:
                thread.join(PATIENCE)
        self.assertEqual(begun, [LOG])
        self.assertEqual(len(set(map(id, found))), 1)

    def test_no_lock_and_no_block_is_held_between_two_steps(self) -> None:
        store = MemoryStore()
        Node(store).admit(LOG, self.stored)
        node = Node(store)
        looked: list[tuple[bool, bool, bool]] = []

        def look(loader: loading.Loader, ahead: bool) -> None:
            looked.append((node._lock.locked(), store._lock.locked(), loader._slice.locked()))

        with (
            keeping(5),
            patch.object(loading, "SLICE_SECONDS", 0),
            patch.object(loading.Loader, "_give_way", look),
        ):
            picture(node)
        self.assertGreater(len(looked), len(self.stored))
        self.assertEqual(set(looked), {(False, False, False)})

    def test_rows_are_read_some_at_a_time(self) -> None:
        store = MemoryStore()
        Node(store).admit(LOG, self.stored)
        counts: list[int] = []
        rows = loading.rows

        def counted(tx: Reader, log: str, start: int, end: int) -> Iterator[bytes]:
            counts.append(end - start)
            return rows(tx, log, start, end)

        with patch.object(loading, "rows", counted), patch.object(loading, "_ROWS", 8):
            picture(Node(store))
        self.assertEqual(counts, [8, 8, 3])


class Ahead(SqliteCase):
    """Large logs are loaded from the start of the server."""

    def setUp(self) -> None:
        super().setUp()
        with contextlib.closing(SqliteStore(self.path)) as store:
            for log, operations in ((LOG, claims(30)), (OTHER_LOG, other_claims(12))):
                Node(store).admit(log, operations)
        for name, value in (("LARGE", 12), ("PROGRESS", 20), ("_TAIL", 3)):
            self.enterContext(patch.object(loading, name, value))
        self.enterContext(patch.object(feed_module, "KEPT", 2))

    def test_the_largest_comes_first_and_says_how_far_it_is(self) -> None:
        with running_server(storage=f"sqlite:{self.path}") as server:
            self.loaded(server.parts)
            loads = [line for line in server.log if "load" in line]
            with Client(server.port) as client:
                self.assertEqual(client.request("GET", path(LOG, "/heads")).json["ops"], 30)
        self.assertEqual(loads[0], f"loading log {LOG}: 10 of 30 operations")
        self.assertRegex(loads[1], f"^loaded log {LOG}: 30 operations in .* s$")
        self.assertRegex(loads[2], f"^loading log {OTHER_LOG}: 10 of 12 operations$")
        self.assertEqual(len(loads), 4)

    def loaded(self, parts: Any) -> None:
        """Wait until everything is read that is read ahead."""
        (node,) = [mount.state.node for mount in parts.application.mounts if mount.name == "oplog"]
        node._loader._ahead.join(30)
        self.assertFalse(node._loader._ahead.is_alive())

    def read_ahead(self) -> Node:
        node = Node(self.opened())
        node.read_ahead()
        assert node._loader._ahead is not None
        node._loader._ahead.join(30)
        return node

    def test_small_logs_wait_until_they_are_asked_for(self) -> None:
        with patch.object(loading, "LARGE", 13):
            self.assertEqual(list(self.read_ahead()._logs), [LOG])

    def test_there_is_a_bound_on_what_is_read_ahead(self) -> None:
        with patch.object(loading, "READ_AHEAD", 29):
            self.assertEqual(list(self.read_ahead()._logs), [OTHER_LOG])

    def test_a_damaged_log_does_not_keep_the_next_from_being_read(self) -> None:
        with contextlib.closing(SqliteStore(self.path)) as store, store.write() as tx:
            tx.put("oplog_operations", key(LOG, 7), b"{}")
        lines: list[str] = []
        node = Node(self.opened(), lines.append)
        node.read_ahead()
        assert node._loader._ahead is not None
        node._loader._ahead.join(30)
        self.assertEqual(list(node._logs), [OTHER_LOG])
        (line,) = [line for line in lines if "not read ahead" in line]
        self.assertTrue(line.startswith(f"log {LOG} is not read ahead: damaged row in oplog_operations"), line)

    def test_a_log_that_is_asked_for_goes_first(self) -> None:
        node = Node(self.opened())
        order: list[str] = []
        give_way, begun = loading.Loader._give_way, threading.Event()
        reader = threading.Thread(target=picture, args=(node, OTHER_LOG))

        def watched(loader: loading.Loader, ahead: bool) -> None:
            order.append("ahead" if ahead else "asked for")
            if not ahead:
                begun.set()
            elif not begun.is_set():
                reader.start()
                self.assertTrue(begun.wait(PATIENCE))
            give_way(loader, ahead)

        with patch.object(loading, "SLICE_SECONDS", 0), patch.object(loading.Loader, "_give_way", watched):
            node.read_ahead()
            assert node._loader._ahead is not None
            node._loader._ahead.join(30)
            reader.join(30)
        self.assertEqual(order[0], "ahead")
        first = order.index("asked for")
        number = order.count("asked for")
        self.assertEqual(order[first : first + number], ["asked for"] * number)

    def test_a_stop_ends_a_load_at_once(self) -> None:
        node = Node(self.opened())
        steps = 0
        give_way = loading.Loader._give_way

        def stopped(loader: loading.Loader, ahead: bool) -> None:
            nonlocal steps
            steps += 1
            loader._stopped.set()
            give_way(loader, ahead)

        with patch.object(loading, "SLICE_SECONDS", 0), patch.object(loading.Loader, "_give_way", stopped):
            node.read_ahead()
            node.close()
        self.assertLessEqual(steps, 1)
        self.assertEqual(node._logs, {})

    def test_the_collector_is_on_again_after_a_load(self) -> None:
        seen: list[bool] = []
        link = Replica.link

        def watched(replica: Replica, data: bytes) -> None:
            seen.append(gc.isenabled())
            link(replica, data)

        with patch.object(Replica, "link", watched), patch.object(gc, "freeze"):
            self.read_ahead()
        self.assertEqual((set(seen), gc.isenabled()), ({False}, True))


if __name__ == "__main__":
    unittest.main()
