"""The contract of the store port, run on every adapter, and what only one adapter has.

Architecture, "Floors" 2: atomic, isolated, ordered.  ``Contract`` holds the tests that each adapter must pass;
one subclass an adapter opens it.  What a crash or a full disk does to a durable store is in ``test_durability``.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import tempfile
import threading
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from omp.store import StorageError, open_store
from omp.store.memory import LOAD, SortedKeys
from omp.store.port import Store, StoreUnavailable, after, key
from omp.tests.harness import PATIENCE

THREADS = 16


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run ``work(0)`` … ``work(count - 1)`` at once, each in its thread; the first exception is raised here."""
    errors: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait(PATIENCE)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        if thread.is_alive():
            raise AssertionError("a thread is stuck")
    if errors:
        raise errors[0]


def rows(store: Store, table: str = "t") -> list[tuple[bytes, bytes]]:
    with store.read() as tx:
        return list(tx.scan(table))


class Contract(unittest.TestCase):
    """What every adapter guarantees; each subclass sets `spec` before it calls ``super().setUp()``."""

    spec = ""
    store: Store

    def setUp(self) -> None:
        self.store = open_store(self.spec)
        self.addCleanup(self.store.close)

    def put(self, *pairs: tuple[bytes, bytes], table: str = "t") -> None:
        with self.store.write() as tx:
            for one, value in pairs:
                tx.put(table, one, value)

    # Rows.

    def test_a_row_comes_back_as_it_was_put(self) -> None:
        value = bytes(range(256)) * 40
        self.put((b"\0k\xff", value))
        self.assertEqual(self.store.get("t", b"\0k\xff"), value)

    def test_an_absent_row_and_an_absent_table_are_none(self) -> None:
        self.put((b"k", b"v"))
        self.assertIsNone(self.store.get("t", b"other"))
        self.assertIsNone(self.store.get("never_used", b"k"))

    def test_an_absent_table_is_empty_in_a_block(self) -> None:
        with self.store.read() as tx:
            self.assertEqual((tx.get("nothing", b"k"), list(tx.scan("nothing")), tx.count("nothing")), (None, [], 0))
        with self.store.write() as writing:
            self.assertEqual((list(writing.scan("nothing")), writing.count("nothing")), ([], 0))
            self.assertFalse(writing.delete("nothing", b"k"))

    def test_an_empty_key_and_an_empty_value_are_a_row(self) -> None:
        self.put((b"", b""))
        self.assertEqual(self.store.get("t", b""), b"")
        self.assertEqual(rows(self.store), [(b"", b"")])

    def test_put_replaces(self) -> None:
        self.put((b"k", b"old"))
        self.put((b"k", b"new"))
        self.assertEqual(rows(self.store), [(b"k", b"new")])

    def test_delete_says_whether_the_row_was_there(self) -> None:
        self.put((b"k", b"v"))
        with self.store.write() as tx:
            self.assertTrue(tx.delete("t", b"k"))
            self.assertFalse(tx.delete("t", b"k"))
        self.assertEqual(rows(self.store), [])

    def test_tables_do_not_share_rows(self) -> None:
        self.put((b"k", b"1"), table="one")
        self.put((b"k", b"2"), table="two")
        self.assertEqual((self.store.get("one", b"k"), self.store.get("two", b"k")), (b"1", b"2"))

    def test_a_table_with_a_bad_name_is_refused_and_nothing_is_kept(self) -> None:
        for name in ("", "Objects", 'a"; DROP TABLE t; --', "a-b", "é", "a\n"):
            with self.subTest(name), self.assertRaises(ValueError), self.store.write() as tx:
                tx.put("t", b"k", b"v")
                tx.put(name, b"k", b"v")
            self.assertEqual(rows(self.store), [])

    def test_sql_keywords_are_good_table_names(self) -> None:
        self.put((b"k", b"v"), table="select")
        self.assertEqual(self.store.get("select", b"k"), b"v")

    def test_count_is_the_number_of_rows_also_inside_the_transaction(self) -> None:
        self.put((b"a", b""), (b"b", b""))
        with self.store.write() as tx:
            tx.put("t", b"b", b"again")
            tx.put("t", b"c", b"")
            tx.delete("t", b"a")
            self.assertEqual(tx.count("t"), 2)
        with self.store.read() as reading:
            self.assertEqual(reading.count("t"), 2)

    # Order.

    def test_a_scan_is_in_key_order_and_within_its_bounds(self) -> None:
        keys = [b"", b"\0", b"a", b"a\0", b"ab", b"b", b"\xff", b"\xff\xff"]
        self.put(*((one, one) for one in random.Random(1).sample(keys, len(keys))))
        with self.store.read() as tx:
            bounds = [(b"", None), (b"a", b"b"), (b"a\0", None), (b"b", b"a"), (b"a", b"a"), (b"\xff\xff\xff", None)]
            for start, end in bounds:
                expected = [one for one in keys if one >= start and (end is None or one < end)]
                with self.subTest(start=start, end=end):
                    self.assertEqual([one for one, _ in tx.scan("t", start, end)], expected)
                    self.assertEqual([one for one, _ in tx.scan("t", start, end, reverse=True)], expected[::-1])

    def test_a_transaction_scans_its_own_writes_in_order(self) -> None:
        self.put((b"a", b"1"), (b"c", b"1"), (b"e", b"1"))
        with self.store.write() as tx:
            tx.put("t", b"d", b"2")
            tx.put("t", b"c", b"2")
            tx.delete("t", b"a")
            expected = [(b"c", b"2"), (b"d", b"2"), (b"e", b"1")]
            self.assertEqual(list(tx.scan("t")), expected)
            self.assertEqual(list(tx.scan("t", reverse=True)), expected[::-1])
            self.assertEqual(list(tx.scan("t", b"d", b"e")), [(b"d", b"2")])
            self.assertEqual((tx.get("t", b"a"), tx.get("t", b"c")), (None, b"2"))

    def test_a_scan_may_be_left_early(self) -> None:
        self.put(*((key(number), b"") for number in range(5000)))
        for _ in range(3):
            with self.store.read() as tx:
                self.assertEqual(next(tx.scan("t", key(17)))[0], key(17))
        self.put((b"after", b""))
        self.assertEqual(self.store.get("t", b"after"), b"")

    def test_a_scan_ends_with_its_block(self) -> None:
        self.put((b"a", b""), (b"b", b""))
        with self.store.read() as tx:
            scan = tx.scan("t")
            next(scan)
        with self.assertRaises((RuntimeError, sqlite3.ProgrammingError)):
            next(scan)

    # Atomicity.

    def test_a_block_that_raises_changes_nothing(self) -> None:
        self.put((b"stays", b"old"), (b"goes", b"old"))
        for problem in (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit):
            with self.subTest(problem), self.assertRaises(problem), self.store.write() as tx:
                tx.put("t", b"stays", b"new")
                tx.put("t", b"stays", b"newer")
                tx.delete("t", b"goes")
                tx.put("t", b"goes", b"again")
                tx.put("t", b"comes", b"new")
                tx.put("other", b"comes", b"new")
                raise problem
            self.assertEqual(rows(self.store), [(b"goes", b"old"), (b"stays", b"old")])
            self.assertEqual(rows(self.store, "other"), [])

    def test_a_store_goes_on_after_a_block_that_raised(self) -> None:
        with self.assertRaises(ValueError), self.store.write() as tx:
            tx.put("t", b"k", b"v")
            raise ValueError
        self.put((b"k", b"w"))
        self.assertEqual(rows(self.store), [(b"k", b"w")])

    def test_check_and_write_are_one_step_under_many_threads(self) -> None:
        rounds = 25
        won: list[bytes] = []

        def work(number: int) -> None:
            for turn in range(rounds):
                name = key(turn)
                with self.store.write() as tx:
                    free = tx.get("names", name) is None
                    if free:
                        tx.put("names", name, key(number))
                    count = int.from_bytes(tx.get("t", b"count") or b"", "big")
                    tx.put("t", b"count", (count + 1).to_bytes(4, "big"))
                if free:
                    won.append(name)

        in_threads(THREADS, work)
        self.assertEqual(sorted(won), [key(turn) for turn in range(rounds)])
        self.assertEqual(int.from_bytes(self.store.get("t", b"count") or b"", "big"), THREADS * rounds)

    def test_scans_agree_with_a_model_under_random_writes(self) -> None:
        dice = random.Random(7)
        model: dict[bytes, bytes] = {}
        for turn in range(120):
            fails = dice.random() < 0.25
            wanted = dict(model)
            try:
                with self.store.write() as tx:
                    for _ in range(dice.randrange(30)):
                        one = key(dice.randrange(150))
                        if dice.random() < 0.4:
                            self.assertEqual(tx.delete("t", one), wanted.pop(one, None) is not None)
                        else:
                            value = wanted[one] = key(turn)
                            tx.put("t", one, value)
                    self.assertEqual(list(tx.scan("t")), sorted(wanted.items()))
                    if fails:
                        raise ValueError
                model = wanted
            except ValueError:
                self.assertTrue(fails)
            self.assertEqual(rows(self.store), sorted(model.items()))

    # Isolation.

    def test_readers_never_see_a_block_half_done_or_undone(self) -> None:
        self.put((b"a", key(0)), (b"b", key(0)))
        done = threading.Event()

        def work(number: int) -> None:
            if number >= 4:
                while not done.is_set():
                    with self.store.read() as tx:
                        pair = tx.get("t", b"a"), tx.get("t", b"b")
                        both = dict(tx.scan("t"))
                    self.assertEqual(pair[0], pair[1])
                    self.assertEqual(both[b"a"], both[b"b"])
                    self.assertNotEqual(self.store.get("t", b"a"), key(2**63))
                return
            try:
                for turn in range(60):
                    with self.store.write() as tx:
                        tx.put("t", b"a", key(number, turn))
                        tx.put("t", b"b", key(number, turn))
                    with self.assertRaises(ZeroDivisionError), self.store.write() as tx:
                        tx.put("t", b"a", key(2**63))
                        tx.put("t", b"c", key(2**63))
                        raise ZeroDivisionError
            finally:
                done.set()

        in_threads(7, work)
        self.assertIsNone(self.store.get("t", b"c"))

    def test_a_write_is_seen_by_every_reader_once_it_is_answered(self) -> None:
        def work(number: int) -> None:
            for turn in range(30):
                self.put((key(number), key(turn)))
                self.assertEqual(self.store.get("t", key(number)), key(turn))
                with self.store.read() as tx:
                    self.assertEqual(tx.get("t", key(number)), key(turn))

        in_threads(8, work)

    def test_a_read_block_sees_one_moment(self) -> None:
        self.put((b"a", b"1"), (b"b", b"1"))
        started = threading.Event()

        def write() -> None:
            started.set()
            self.put((b"a", b"2"), (b"b", b"2"))

        writer = threading.Thread(target=write, daemon=True)
        with self.store.read() as tx:
            first = tx.get("t", b"a")
            writer.start()
            started.wait(PATIENCE)
            writer.join(0.05)  # a store that let the writer through would show its rows now
            second = tx.get("t", b"b")
        writer.join(PATIENCE)
        self.assertEqual((first, second), (b"1", b"1"))
        self.assertEqual(self.store.get("t", b"b"), b"2")

    def test_a_block_inside_a_block_is_an_error_and_not_a_deadlock(self) -> None:
        with self.assertRaises(RuntimeError), self.store.write(), self.store.write():
            pass
        self.put((b"k", b"v"))
        self.assertEqual(self.store.get("t", b"k"), b"v")

    # Closing.

    def test_a_closed_store_is_unavailable(self) -> None:
        self.put((b"k", b"v"))
        self.store.close()
        self.store.close()
        uses: list[Callable[[], object]] = [
            self.store.check,
            lambda: self.store.get("t", b"k"),
            lambda: self.put((b"k", b"w")),
            lambda: rows(self.store),
        ]
        for use in uses:
            with self.assertRaises(StoreUnavailable):
                use()

    def test_an_open_store_passes_its_check(self) -> None:
        self.store.check()
        self.assertEqual(rows(self.store), [])


class MemoryStoreTest(Contract):
    spec = "memory"

    def test_its_kind_and_durability_are_stated(self) -> None:
        self.assertEqual((self.store.kind, self.store.durable), ("memory", False))


class SqliteStoreTest(Contract):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "omp.db")
        self.spec = f"sqlite:{self.path}"
        super().setUp()

    @contextmanager
    def raw(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    def test_its_kind_and_durability_are_stated(self) -> None:
        self.assertEqual((self.store.kind, self.store.durable), ("sqlite", True))

    def test_rows_are_there_after_a_restart(self) -> None:
        self.put((b"a", b"1"), (b"b", b"2"))
        self.put((b"a", b"1"), table="other")
        with self.store.write() as tx:
            tx.delete("t", b"b")
        self.store.close()
        again = open_store(self.spec)
        self.addCleanup(again.close)
        self.assertEqual((rows(again), rows(again, "other")), ([(b"a", b"1")], [(b"a", b"1")]))

    def test_the_file_and_its_companions_are_readable_only_by_their_owner(self) -> None:
        self.put((b"a", b"1"))
        names = sorted(os.listdir(os.path.dirname(self.path)))
        self.assertEqual(names, ["omp.db", "omp.db-lock", "omp.db-shm", "omp.db-wal"])
        for name in names:
            mode = os.stat(os.path.join(os.path.dirname(self.path), name)).st_mode
            self.assertEqual(mode & 0o077, 0, name)

    def test_a_file_that_was_empty_becomes_private_and_another_keeps_its_mode(self) -> None:
        self.store.close()
        os.chmod(self.path, 0o644)
        empty = os.path.join(os.path.dirname(self.path), "empty.db")
        for name in (empty, empty + "-wal"):
            with open(name, "wb"):
                os.chmod(name, 0o644)
        for path, mode in ((empty, 0o600), (self.path, 0o644)):
            store = open_store(f"sqlite:{path}")
            with store.write() as tx:
                tx.put("t", b"a", b"1")
            self.assertEqual({os.stat(path + end).st_mode & 0o777 for end in ("", "-wal", "-shm")}, {mode})
            store.close()

    def test_a_second_process_is_refused_while_the_file_is_open_and_accepted_afterwards(self) -> None:
        with self.assertRaisesRegex(StorageError, "another process has it open"):
            open_store(self.spec)
        self.put((b"a", b"1"))
        self.store.close()
        again = open_store(self.spec)
        self.assertEqual(again.get("t", b"a"), b"1")
        again.close()

    def test_a_backup_made_while_the_store_is_open_is_a_store(self) -> None:
        self.put((b"a", b"1"))
        copy = os.path.join(os.path.dirname(self.path), "copy.db")
        target = sqlite3.connect(copy)
        with self.raw() as connection:
            connection.backup(target)
        target.close()
        self.put((b"b", b"2"))
        restored = open_store(f"sqlite:{copy}")
        self.addCleanup(restored.close)
        self.assertEqual(rows(restored), [(b"a", b"1")])

    def test_a_file_of_another_version_is_refused_and_left_as_it_is(self) -> None:
        self.store.close()
        with self.raw() as connection:
            connection.execute("PRAGMA user_version = 3")
        with self.assertRaisesRegex(StorageError, "schema version is 3, and this server reads 2"):
            open_store(self.spec)
        with self.raw() as connection:
            self.assertEqual(connection.execute("PRAGMA user_version").fetchone(), (3,))

    def test_a_database_of_another_application_is_refused_and_left_as_it_is(self) -> None:
        for marked in ("CREATE TABLE theirs (x)", "PRAGMA application_id = 7", "PRAGMA user_version = 1"):
            self.store.close()
            for name in os.listdir(os.path.dirname(self.path)):
                os.unlink(os.path.join(os.path.dirname(self.path), name))
            with self.raw() as connection:
                connection.execute(marked)
            with self.subTest(marked), self.assertRaisesRegex(StorageError, "another application"):
                open_store(self.spec)
            with self.raw() as connection:
                self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("delete",))

    def test_an_unusable_path_is_refused_with_its_reason(self) -> None:
        folder = os.path.dirname(self.path)
        no_database = os.path.join(folder, "letter.txt")
        with open(no_database, "w") as file:
            file.write("Dear Sirs, " * 100)
        for path, why in [
            (folder, "is a directory"),
            (os.path.join(folder, "missing", "omp.db"), "does not exist"),
            (no_database, "not an SQLite database"),
        ]:
            with self.subTest(path), self.assertRaisesRegex(StorageError, why):
                open_store(f"sqlite:{path}")
        with open(no_database) as file:
            self.assertEqual(file.read(), "Dear Sirs, " * 100)

    def hold_commits(self) -> tuple[threading.Event, threading.Event]:
        """From here on a commit sets the first event when it begins, and goes on when the second one is set."""
        inside, release = threading.Event(), threading.Event()
        commit = self.store._commit  # type: ignore[attr-defined]

        def slow_commit(layer: object) -> None:
            inside.set()
            release.wait(PATIENCE)
            commit(layer)

        self.store._commit = slow_commit  # type: ignore[attr-defined]
        return inside, release

    def test_the_file_is_in_wal_mode_with_full_synchronization(self) -> None:
        # What makes an answered write survive a power failure, which no test can bring about.
        database = self.store._db  # type: ignore[attr-defined]
        self.assertEqual(database.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        self.assertEqual(database.execute("PRAGMA synchronous").fetchone(), (2,))  # FULL

    def test_a_block_sees_the_open_layer_over_the_committing_one_over_the_file(self) -> None:
        dice = random.Random(11)
        in_file, under_way, waiting = (
            {key(one): dice.choice([None, b"%d" % turn]) for one in dice.sample(range(60), 30)} for turn in range(3)
        )
        self.change(in_file)
        inside, release = self.hold_commits()
        early: list[object] = []
        late: list[object] = []
        threads = [
            threading.Thread(target=work, args=(argument,), daemon=True)
            for work, argument in (
                (self.change, under_way),
                (self.look_and_change_nothing, early),
                (self.change, waiting),
                (self.look_and_change_nothing, late),
                (self.look_and_change_nothing, late),
            )
        ]
        threads[0].start()
        inside.wait(PATIENCE)
        for number in range(1, 5):
            threads[number].start()
            while len(self.store._open.waiting) < number:  # type: ignore[attr-defined]
                threading.Event().wait(0.001)
        release.set()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(early, self.all_reads({**in_file, **under_way}))
        self.assertEqual(late, self.all_reads({**in_file, **under_way, **waiting}) * 2)
        self.assertEqual(rows(self.store), late[0])

    def change(self, changes: dict[bytes, bytes | None]) -> None:
        """Put and delete in one block; None deletes."""
        with self.store.write() as tx:
            for one, value in changes.items():
                if value is None:
                    tx.delete("t", one)
                else:
                    tx.put("t", one, value)

    def all_reads(self, changes: dict[bytes, bytes | None]) -> list[object]:
        """What :meth:`look_and_change_nothing` notes after `changes`."""
        left = sorted((one, value) for one, value in changes.items() if value is not None)
        return [left, left[::-1], len(left), [changes.get(key(one)) for one in range(60)]]

    def look_and_change_nothing(self, seen: list[object]) -> None:
        """Note all that can be read in a write block, then put and delete rows, and raise."""
        with suppress(ZeroDivisionError), self.store.write() as tx:
            seen += [list(tx.scan("t")), list(tx.scan("t", reverse=True)), tx.count("t")]
            seen.append([tx.get("t", key(one)) for one in range(60)])
            for one in range(60):
                tx.put("t", key(one), b"undone")
                tx.delete("t", key((one * 7) % 60))
            raise ZeroDivisionError

    def test_writers_share_commits(self) -> None:
        commits: list[str] = []
        self.put((b"first", b""))
        self.store._db.set_trace_callback(  # type: ignore[attr-defined]
            lambda sql: commits.append(sql) if sql == "COMMIT" else None
        )
        inside, release = self.hold_commits()
        threads = [threading.Thread(target=self.put, args=((key(0), b""),), daemon=True)]
        threads[0].start()
        inside.wait(PATIENCE)
        for number in range(1, 10):  # all while the first one commits
            threads.append(threading.Thread(target=self.put, args=((key(number), b""),), daemon=True))
            threads[-1].start()
        while len(self.store._open.waiting) < 9:  # type: ignore[attr-defined]
            threading.Event().wait(0.001)
        self.assertEqual(rows(self.store), [(b"first", b"")])
        release.set()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(len(commits), 2)
        self.assertEqual(len(rows(self.store)), 11)

    def test_a_failed_commit_fails_every_block_that_read_its_rows(self) -> None:
        self.put((b"a", b"before"))
        inside, release = threading.Event(), threading.Event()
        commit = self.store._commit  # type: ignore[attr-defined]

        def failing_commit(layer: object) -> None:
            inside.set()
            release.wait(PATIENCE)
            raise sqlite3.OperationalError("disk I/O error")

        seen: list[bytes | None] = []
        failures: list[str] = []

        def work(raises: bool) -> None:
            try:
                with self.store.write() as tx:
                    seen.append(tx.get("t", b"a"))
                    tx.put("t", b"a", b"after")
                    if raises:
                        raise ValueError("decided on what the first block wrote")
            except Exception as error:
                failures.append(type(error).__name__)

        self.store._commit = failing_commit  # type: ignore[attr-defined]
        threads = [threading.Thread(target=work, args=(False,), daemon=True)]
        threads[0].start()
        inside.wait(PATIENCE)
        for raises in (False, True):
            threads.append(threading.Thread(target=work, args=(raises,), daemon=True))
            threads[-1].start()
        while len(self.store._open.waiting) < 2:  # type: ignore[attr-defined]
            threading.Event().wait(0.001)
        release.set()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(seen, [b"before", b"after", b"after"])
        self.assertEqual(failures, ["StoreUnavailable"] * 3)
        self.assertEqual(self.store.get("t", b"a"), b"before")
        self.store._commit = commit  # type: ignore[attr-defined]
        self.put((b"a", b"at last"))
        self.assertEqual(self.store.get("t", b"a"), b"at last")

    def test_an_interrupt_while_waiting_leaves_nobody_waiting(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            self.skipTest("signals reach the main thread only")
        self.put((b"first", b""))
        inside, release = self.hold_commits()

        def interrupt() -> None:
            while not self.store._open.waiting:  # type: ignore[attr-defined]
                threading.Event().wait(0.001)
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(0.02)
            release.set()

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        other = threading.Thread(target=self.put, args=((b"other", b""),), daemon=True)
        other.start()
        inside.wait(PATIENCE)
        threading.Thread(target=interrupt, daemon=True).start()
        with self.assertRaises(KeyboardInterrupt):
            self.put((b"mine", b""))  # waits, and is to lead the next commit
        other.join(PATIENCE)
        self.put((b"next", b""))
        self.assertEqual([one for one, _ in rows(self.store)], [b"first", b"mine", b"next", b"other"])


class OpenStoreTest(unittest.TestCase):
    def test_an_unknown_storage_is_refused_with_what_would_be_right(self) -> None:
        for spec in ("", "Memory", "memory:", "sqlite", "sqlite:", "postgres://host/db", "omp.db"):
            with self.subTest(spec), self.assertRaisesRegex(StorageError, "must be memory or sqlite:PATH"):
                open_store(spec)


class SortedKeysTest(unittest.TestCase):
    def test_it_agrees_with_a_sorted_list_through_splits_and_empty_blocks(self) -> None:
        dice = random.Random(3)
        keys, model = SortedKeys(), set()
        numbers = dice.sample(range(10**6), 5 * LOAD)
        for number in numbers:
            keys.add(key(number))
            model.add(key(number))
        for number in dice.sample(numbers, 4 * LOAD) + list(range(400_000, 400_500)):
            keys.discard(key(number))
            model.discard(key(number))
        expected = sorted(model)
        self.assertEqual(list(keys.range(b"", None)), expected)
        self.assertEqual(list(keys.range(b"", None, reverse=True)), expected[::-1])
        for _ in range(200):
            start, end = key(dice.randrange(10**6)), key(dice.randrange(10**6))
            part = [one for one in expected if start <= one < end]
            self.assertEqual(list(keys.range(start, end)), part)
            self.assertEqual(list(keys.range(start, end, reverse=True)), part[::-1])

    def test_keys_in_ascending_and_descending_order_keep_their_order(self) -> None:
        for numbers in (range(5 * LOAD), range(5 * LOAD, 0, -1)):
            keys = SortedKeys()
            for number in numbers:
                keys.add(key(number))
                keys.add(key(number))
            self.assertEqual(list(keys.range(b"", None)), sorted(map(key, numbers)))


class KeyTest(unittest.TestCase):
    def test_keys_sort_as_the_tuples_of_their_parts_do(self) -> None:
        dice = random.Random(5)
        texts = ["", "\0", "\0\0", "\1", "a", "a\0", "a\0b", "a\1", "ab", "b", "é", "\U0001f600", "\uffff"]
        numbers = [0, 1, 255, 256, 2**64 - 1]
        tuples = [(dice.choice(texts), dice.choice(numbers), dice.choice(texts)) for _ in range(500)]
        self.assertEqual(sorted(tuples, key=lambda parts: key(*parts)), sorted(tuples))

    def test_a_prefix_covers_exactly_its_own_rows(self) -> None:
        prefix = key("ns")
        others = [key("ns2", "a"), key("ns\0", "a"), key("n", "s"), key("")]
        end = after(prefix)
        assert end is not None
        self.assertTrue(prefix <= key("ns", "a") < end)
        self.assertEqual([one for one in others if prefix <= one < end], [])

    def test_the_highest_prefix_has_no_end(self) -> None:
        self.assertIsNone(after(b"\xff\xff"))
        self.assertIsNone(after(b""))


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """Every class but ``Contract`` itself, which has no adapter."""
    suite = unittest.TestSuite()
    for case in (MemoryStoreTest, SqliteStoreTest, OpenStoreTest, SortedKeysTest, KeyTest):
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


if __name__ == "__main__":
    unittest.main()
