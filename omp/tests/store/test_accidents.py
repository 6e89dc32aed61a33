"""Accidents to the files of an open SQLite store: what was answered is kept, or refused (omp §8).

A store in another process keeps rows; then something happens to its files, and the process is killed with SIGKILL.  The
table :data:`ACCIDENTS` says what, what the store must say then, and whether it may go on.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from omp.store import StorageError, open_store, sqlite_guard
from omp.store.port import StoreUnavailable
from omp.store.sqlite import SqliteStore
from omp.store.sqlite_readers import POOL
from omp.tests import TOP
from omp.tests.harness import PATIENCE, Client, running_server
from omp.tests.store.test_durability import Temporary

ROWS = 100

_SESSION = """
import json, sys
from omp.store import open_store

try:
    store = open_store(sys.argv[1])
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]), flush=True)
    sys.exit()
print(json.dumps("open"), flush=True)

def put(number):
    with store.write() as tx:
        tx.put("t", b"%d" % number, b"x" * 3000)
    return "kept"

def get(number):
    return (store.get("t", b"%d" % number) or b"").decode()

def count():
    with store.read() as tx:
        return tx.count("t")

COMMANDS = {"put": put, "get": get, "count": count, "check": store.check, "look": store.look_after}

for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        answer = COMMANDS[name](*arguments)
    except Exception as error:
        answer = [type(error).__name__, str(error)]
    print(json.dumps(answer), flush=True)
"""


class Session:
    """A store in another process; ``ask("put", 3)`` writes a row there."""

    def __init__(self, test: unittest.TestCase, spec: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SESSION, spec],
            cwd=TOP,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        test.addCleanup(self.kill)
        self.opened = self._answer()
        """``open``, or why not: the exception's name and text."""

    def ask(self, *command: object) -> object:
        """What the store answers: a value, or the exception's name and text."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def refusal(self, *command: object) -> str:
        """The text of :class:`StoreUnavailable`, or what else was answered."""
        answer = self.ask(*command)
        return str(answer[1]) if isinstance(answer, list) and answer[0] == "StoreUnavailable" else repr(answer)

    def kill(self) -> None:
        """End the process as ``kill -9`` does."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()

    def _answer(self) -> object:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline() or '"dead"')


# --- What happens to the files -----------------------------------------------------------------------------------


class Accident(NamedTuple):
    """What is done to the files, and what the store must say from then on."""

    name: str
    do: Callable[[str], object]
    """Takes the path of the database."""
    says: str
    """Part of the text with which writes are refused; "" if the store goes on."""
    reads: bool = True
    """Whether reads go on."""
    kept: bool = True
    """Whether a restart finds every row that was answered."""


def _remove(*endings: str) -> Callable[[str], object]:
    def remove(path: str) -> None:
        for ending in endings:
            os.unlink(path + ending)

    return remove


def _cut(ending: str, size: int) -> Callable[[str], object]:
    return lambda path: os.truncate(path + ending, size)


def _touch(path: str) -> None:
    for ending in ("", "-wal", "-shm", "-lock"):
        os.utime(path + ending)


def _replace(path: str) -> None:
    shutil.copyfile(path, path + ".copy")
    os.replace(path + ".copy", path)


def _older_backup(path: str) -> None:
    shutil.copyfile(path + ".backup", path)  # as ``cp`` does: the same file, with other bytes


def _checkpoint(path: str) -> None:
    """What SQLite's shell or a backup program may do at any time."""
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()"
    subprocess.run([sys.executable, "-c", program, path], check=True)


def _back_up(path: str) -> None:
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[1] + '.copy'))"
    subprocess.run([sys.executable, "-c", program, path], check=True)


def _move_folder(path: str) -> None:
    folder = os.path.dirname(path)
    os.rename(folder, folder + ".moved")
    os.mkdir(folder)


_LOG, _INDEX, _LOCK, _FILE = (
    f"the database's log (-wal) {sqlite_guard.GONE}; all its rows are in the database file: restart the server",
    f"the index of the database's log (-shm) {sqlite_guard.GONE}; all its rows are in the database file",
    f"the database's lock (-lock) {sqlite_guard.GONE}; all its rows are in the database file: restart the server",
    f"the database file {sqlite_guard.GONE}; put it back, or copy it out of the running process",
)

ACCIDENTS = [
    Accident("rm -wal", _remove("-wal"), _LOG),
    Accident("rm -shm", _remove("-shm"), _INDEX),
    Accident("rm -lock", _remove("-lock"), _LOCK),
    Accident("rm all but the file", _remove("-wal", "-shm", "-lock"), _LOG),
    Accident("mv -wal", lambda path: os.rename(path + "-wal", path + "-wal.moved"), _LOG),
    Accident("mv another -wal", lambda path: _replace(path + "-wal"), _LOG),
    Accident("mv another -lock", lambda path: _replace(path + "-lock"), _LOCK),
    Accident("touch", _touch, ""),
    Accident("chmod", lambda path: os.chmod(path, 0o640), ""),
    Accident("another program's checkpoint", _checkpoint, ""),
    Accident("a backup", _back_up, ""),
    Accident("rm", _remove(""), _FILE, kept=False),
    Accident("rm all four", _remove("", "-wal", "-shm", "-lock"), _FILE, kept=False),
    Accident("mv another", _replace, _FILE, kept=False),
    Accident("mv folder", _move_folder, _FILE, kept=False),
    Accident(": > omp.db", _cut("", 0), sqlite_guard.OVERWRITTEN, reads=False, kept=False),
    Accident("cp backup omp.db", _older_backup, sqlite_guard.OVERWRITTEN, reads=False, kept=False),
    Accident(": > omp.db-wal", _cut("-wal", 0), sqlite_guard.CUT_OFF, reads=False, kept=False),
    Accident("half of -wal", _cut("-wal", 99_999), sqlite_guard.CUT_OFF, reads=False, kept=False),
]


class Accidents(Temporary):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(shutil.rmtree, self.folder + ".moved", ignore_errors=True)

    def session(self) -> Session:
        return Session(self, self.spec)

    def filled(self) -> Session:
        """A session whose store has answered :data:`ROWS` writes."""
        session = self.session()
        session.ask("put", 0)
        _back_up(self.path)
        os.rename(self.path + ".copy", self.path + ".backup")
        self.assertEqual({str(session.ask("put", number)) for number in range(ROWS)}, {"kept"})
        return session

    def test_a_write_is_refused_or_it_is_kept_when_the_process_is_killed(self) -> None:
        for accident in ACCIDENTS:
            with self.subTest(accident.name):
                shutil.rmtree(self.folder)
                shutil.rmtree(self.folder + ".moved", ignore_errors=True)
                os.mkdir(self.folder)
                session = self.filled()
                accident.do(self.path)
                if accident.says:
                    for command in (("put", ROWS), ("put", ROWS), ("check",)):
                        self.assertIn(accident.says, session.refusal(*command))
                else:
                    self.assertEqual([session.ask("put", ROWS), session.ask("check")], ["kept", None])
                rows = ROWS if accident.says else ROWS + 1
                if accident.reads:
                    self.assertEqual([session.ask("count"), session.ask("get", ROWS - 1)], [rows, "x" * 3000])
                else:
                    self.assertRegex(session.refusal("get", ROWS - 1), "^another program|^the disk reported")
                session.kill()
                if accident.kept:
                    again = self.session()
                    self.assertEqual([again.ask("count"), again.ask("check")], [rows, None])
                    again.kill()

    def test_a_file_that_is_put_back_has_every_row(self) -> None:
        session = self.filled()
        os.rename(self.path, self.path + ".moved")
        self.assertIn(sqlite_guard.GONE, session.refusal("put", ROWS))
        os.rename(self.path + ".moved", self.path)
        self.assertEqual([session.ask("put", ROWS), session.ask("count")], ["kept", ROWS + 1])

    def test_a_log_that_is_put_back_is_used_again(self) -> None:
        session = self.filled()
        os.rename(self.path + "-wal", self.path + "-wal.moved")
        self.assertIn(sqlite_guard.GONE, session.refusal("put", ROWS))
        os.rename(self.path + "-wal.moved", self.path + "-wal")
        self.assertEqual([session.ask("put", ROWS), session.ask("count")], ["kept", ROWS + 1])
        session.kill()
        self.assertEqual(self.session().ask("count"), ROWS + 1)

    def test_a_log_without_its_file_is_not_thrown_away_at_the_next_start(self) -> None:
        session = self.session()
        session.ask("put", 0)
        session.kill()
        os.rename(self.path, self.path + ".moved")
        for empty in (False, True):
            if empty:
                Path(self.path).touch()
            self.assertRegex(str(self.session().opened), "StorageError.*but there are rows in its log.*put the file")
        os.rename(self.path + ".moved", self.path)
        self.assertEqual(self.session().ask("count"), 1)

    def test_a_lost_log_is_moved_when_nobody_writes(self) -> None:
        session = self.filled()
        os.unlink(self.path + "-wal")
        self.assertIsNone(session.ask("look"))
        session.kill()
        self.assertEqual(self.session().ask("count"), ROWS)

    def test_an_overwritten_file_is_not_read_even_when_nobody_writes(self) -> None:
        session = self.filled()
        _older_backup(self.path)
        self.assertEqual([session.ask("get", 0), session.ask("look")], ["x" * 3000, None])
        self.assertEqual(session.refusal("get", 0), sqlite_guard.OVERWRITTEN)

    def test_a_log_lost_between_commit_and_answer_is_moved_before_the_answer(self) -> None:
        store = open_store(self.spec)
        self.addCleanup(store.close)
        assert isinstance(store, SqliteStore)
        after_commit = store._watch.after_commit

        def lose_log() -> sqlite_guard.Loss | None:  # called once the rows are in the log
            if os.path.exists(self.path + "-wal"):
                os.unlink(self.path + "-wal")
            return after_commit()

        with mock.patch.object(store._watch, "after_commit", lose_log), store.write() as tx:
            tx.put("t", b"answered", b"")
        shutil.copyfile(self.path, self.path + ".copy")  # what a process that is killed now leaves
        with self.assertRaisesRegex(StoreUnavailable, "restart the server"), store.write() as tx:
            tx.put("t", b"refused", b"")
        copy = open_store(f"sqlite:{self.path}.copy")
        self.addCleanup(copy.close)
        with copy.read() as reading:
            self.assertEqual([one for one, _ in reading.scan("t")], [b"answered"])

    def test_a_file_lost_between_commit_and_answer_is_refused(self) -> None:
        store = open_store(self.spec)
        self.addCleanup(store.close)
        assert isinstance(store, SqliteStore)
        after_commit = store._watch.after_commit

        def lose_file() -> sqlite_guard.Loss | None:
            os.rename(self.path, self.path + ".moved")
            return after_commit()

        with (
            mock.patch.object(store._watch, "after_commit", lose_file),
            self.assertRaisesRegex(StoreUnavailable, "put it back"),
            store.write() as tx,
        ):
            tx.put("t", b"k", b"")

    def test_a_file_that_cannot_be_read_refuses_writes_until_it_can(self) -> None:
        store = open_store(self.spec)
        self.addCleanup(store.close)
        store.check()
        with mock.patch.object(os, "pread", side_effect=OSError(errno.EIO, "")):
            store.look_after()  # the thread that calls it must not end
            with self.assertRaisesRegex(StoreUnavailable, sqlite_guard.UNREADABLE), store.write() as tx:
                tx.put("t", b"refused", b"")
        with store.write() as tx:
            tx.put("t", b"kept", b"")
        with store.read() as reading:
            self.assertEqual([one for one, _ in reading.scan("t")], [b"kept"])

    def test_a_write_that_is_on_the_disk_is_not_refused_when_the_look_at_it_fails(self) -> None:
        store = open_store(self.spec)
        self.addCleanup(store.close)
        assert isinstance(store, SqliteStore)
        store.check()
        looks = [os.pread(store._files.own.descriptor, 100, 0), OSError(errno.EIO, "")]
        os.utime(self.path)  # a closer look is needed
        with mock.patch.object(os, "pread", side_effect=looks), store.write() as tx:
            tx.put("t", b"kept", b"")
        store.check()
        self.assertEqual(store.get("t", b"kept"), b"")

    def test_a_start_on_a_file_that_cannot_be_read_gives_it_up(self) -> None:
        failing = mock.patch.object(os, "pread", side_effect=OSError(errno.EIO, ""))
        with failing, self.assertRaisesRegex(StorageError, "cannot store in .*" + sqlite_guard.UNREADABLE):
            open_store(self.spec)
        open_store(self.spec).close()

    def test_rows_that_cannot_be_moved_yet_are_said_to_be_in_danger(self) -> None:
        store = open_store(self.spec)
        self.addCleanup(store.close)
        with store.write() as tx:
            tx.put("t", b"k", b"x" * 50_000)
        os.unlink(self.path + "-wal")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(self.path), hard))
        try:
            with self.assertRaisesRegex(StoreUnavailable, "make room on the disk"):
                store.check()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        with self.assertRaisesRegex(StoreUnavailable, "all its rows are in the database file"):
            store.check()

    def test_a_symbolic_link_that_leads_elsewhere_is_another_file(self) -> None:
        link = self.path + ".link"
        os.symlink(self.path, link)
        Path(self.path + ".other").touch()
        session = Session(self, f"sqlite:{link}")
        self.assertEqual(session.ask("put", 0), "kept")
        os.unlink(link)
        os.symlink(self.path + ".other", link)
        self.assertIn(sqlite_guard.GONE, session.refusal("put", 1))

    def test_a_start_on_a_full_disk_says_so_and_leaves_the_file_to_the_next(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        for room in (0, 1000, 4096, 20_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
            try:
                with self.subTest(room), self.assertRaisesRegex(StorageError, "cannot store in .*the disk"):
                    open_store(self.spec)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        store = open_store(self.spec)
        self.addCleanup(store.close)
        store.check()


class Served(Temporary):
    """The same over HTTP, with writers at the moment of the accident."""

    def test_a_removed_log_is_503_and_every_answered_object_is_there_after_the_kill(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "server.py", "--storage", self.spec, "--port", "0"],
            cwd=TOP,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        answered: list[str] = []
        refused = threading.Event()

        def write() -> None:
            with Client(port) as client:
                while not refused.is_set():
                    answer = client.request("POST", "/objects", {"namespace": "ns", "content": {}})
                    if answer.status == 201:
                        answered.append(answer.headers["location"])
                    else:
                        self.assertEqual(answer.status, 503)
                        refused.set()

        writers = [threading.Thread(target=write, daemon=True) for _ in range(8)]
        for writer in writers:
            writer.start()
        while len(answered) < ROWS:
            threading.Event().wait(0.005)
        os.unlink(self.path + "-wal")
        for writer in writers:
            writer.join(20)
        with Client(port) as client:
            health = client.request("GET", "/health")
            self.assertEqual(health.status, 503)
            self.assertIn("restart the server", health.json["error"]["message"])
            self.assertNotIn(self.folder, health.body.decode())
        process.kill()
        process.wait()
        with running_server(storage=self.spec) as again, Client(again.port) as reader:
            self.assertEqual({reader.request("GET", path).status for path in answered}, {200})

    def test_reads_go_on_while_the_file_is_away(self) -> None:
        with running_server(storage=self.spec) as server, Client(server.port) as client:
            path = client.request("POST", "/objects", {"namespace": "ns", "content": {}}).headers["location"]
            os.rename(self.path, self.path + ".moved")
            self.assertEqual(client.request("DELETE", path).status, 503)
            statuses: list[int] = []

            def read() -> None:
                with Client(server.port) as reader:
                    for _ in range(20):
                        statuses.append(reader.request("GET", path).status)
                        statuses.append(reader.request("GET", "/objects").status)

            readers = [threading.Thread(target=read, daemon=True) for _ in range(POOL // 2)]
            with mock.patch("omp.store.sqlite_readers.WAIT_SECONDS", PATIENCE):  # for one of the readers left
                for reader in readers:
                    reader.start()
                for reader in readers:
                    reader.join(PATIENCE)
            self.assertEqual((set(statuses), len(statuses)), ({200}, 40 * len(readers)))
            os.rename(self.path + ".moved", self.path)
            self.assertEqual(client.request("DELETE", path).status, 204)


class OneProcess(Temporary):
    """A file is one process's, under whatever name."""

    def refused(self, path: str, why: str) -> None:
        self.assertRegex(str(Session(self, f"sqlite:{path}").opened), f"StorageError.*{why}")

    def test_a_file_with_two_names_is_refused_by_both(self) -> None:
        open_store(self.spec).close()
        os.link(self.path, self.path + ".link")
        for path in (self.path, self.path + ".link"):
            self.refused(path, "the file has 2 names")
        os.unlink(self.path)
        store = open_store(f"sqlite:{self.path}.link")
        store.close()

    def test_a_second_process_is_refused_by_every_other_name(self) -> None:
        session = Session(self, self.spec)
        session.ask("put", 0)
        other = os.path.join(self.folder, "other.db")
        os.symlink(self.path, other)
        self.refused(other, "another process has it open")
        os.unlink(other)
        os.link(self.path, other)
        self.refused(other, "the file has 2 names")
        self.assertEqual(session.ask("put", 1), "kept")  # a second name alone does no harm
        os.unlink(other)
        self.refused(self.path, "another process has it open")

    @unittest.skipUnless(sqlite_guard._SET_LOCK, "no locks of open file descriptions")
    def test_a_lock_that_was_moved_away_lets_nobody_in(self) -> None:
        for move in ("-lock", ""):
            session = Session(self, self.spec)
            session.ask("put", 0)
            moved = self.path + move + ".moved"
            os.rename(self.path + move, moved)
            self.refused(moved if move == "" else self.path, "another process has it open")
            os.rename(moved, self.path + move)
            session.kill()
            again = Session(self, self.spec)
            self.assertEqual(again.ask("count"), 1)  # the lock ended with its process
            again.kill()

    def test_a_new_file_under_the_name_of_one_in_use_is_refused(self) -> None:
        session = Session(self, self.spec)
        os.rename(self.path, self.path + ".moved")
        Path(self.path).touch()
        os.unlink(self.path + "-wal")  # otherwise it is the log that forbids the start
        self.refused(self.path, "another process has it open")
        session.kill()

    def test_where_the_file_itself_cannot_be_locked_its_name_is(self) -> None:
        with mock.patch.object(sqlite_guard, "_SET_LOCK", None):
            store = open_store(self.spec)
        self.addCleanup(store.close)
        self.refused(self.path, "another process has it open")

    def test_a_refused_second_store_in_this_process_drops_none_of_sqlites_locks(self) -> None:
        store = open_store(self.spec)
        self.addCleanup(store.close)
        with store.write() as tx:
            tx.put("t", b"k", b"v")
        with self.assertRaisesRegex(StorageError, "another process has it open"):
            open_store(self.spec)
        # Without its locks, another program that closes the file would take itself for the last, and remove the log.
        subprocess.run(
            [sys.executable, "-c", "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as db:\n"
             " db.execute('SELECT * FROM t').fetchall()\ndb.close()", self.path],
            check=True,
        )  # fmt: skip
        self.assertTrue(os.path.exists(self.path + "-wal"))
        store.check()

    def test_what_is_no_regular_file_is_refused(self) -> None:
        os.mkfifo(self.path)
        with self.assertRaisesRegex(StorageError, "not a regular file"):
            open_store(self.spec)

    def test_a_store_that_does_not_open_gives_the_file_up(self) -> None:
        with sqlite3.connect(self.path) as another:
            another.execute("PRAGMA application_id = 7")
        another.close()
        for _ in range(2):
            with self.assertRaisesRegex(StorageError, "another application"):
                open_store(self.spec)


if __name__ == "__main__":
    unittest.main()
