"""What a crash, a full disk and a read-only file do to the SQLite store: nothing that was answered is lost.

Architecture, "Durability".  The server is killed with SIGKILL in the middle of concurrent writes, and its file is
opened again: every answered write is there, and of the others each is whole or absent.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

from omp.entry import build
from omp.protocols.objects.collection import BY_DEADLINE, BY_KEY, BY_NAMESPACE, OBJECTS
from omp.protocols.objects.record import ID_BYTES, Record
from omp.store import open_store
from omp.store.port import StoreUnavailable, key
from omp.store.sqlite import SqliteStore
from omp.store.sqlite_readers import POOL
from omp.tests import TOP
from omp.tests.harness import PATIENCE, Client, running_server
from omp.web.settings import SettingError

NOBODY = 65534


class Temporary(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = os.path.join(self.folder, "omp.db")
        self.spec = f"sqlite:{self.path}"


class Killed(Temporary):
    """A server in another process that is killed while eight clients write to it."""

    def serve(self) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "server.py", "--storage", self.spec, "--port", "0"],
            cwd=TOP,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        port = re.search(r":(\d+)$", process.stdout.readline().strip())
        assert port is not None
        return process, int(port[1])

    def write_until_it_dies(self, port: int, number: int, answered: dict[str, dict[str, Any]]) -> None:
        """Create objects and replace each once; `answered`: path -> what the last answered write says."""
        count = 0
        try:
            with Client(port, timeout=PATIENCE) as client:
                while True:
                    count += 1
                    content = {"n": count, "fill": "x" * 300}
                    body: dict[str, Any] = {"namespace": "ns", "key": f"{number} {count}", "content": content}
                    path = client.request("POST", "/objects", body).headers["location"]
                    answered[path] = body
                    changed: dict[str, Any] = {"content": {"n": -count, "fill": "y" * 300}}
                    if client.request("PUT", path, changed).status == 200:
                        answered[path] = {**body, **changed}
        except (OSError, HTTPException):
            return

    def test_after_kill_9_every_answered_write_is_there_and_none_in_part(self) -> None:
        process, port = self.serve()
        answered: dict[str, dict[str, Any]] = {}
        clients = [
            threading.Thread(target=self.write_until_it_dies, args=(port, number, answered), daemon=True)
            for number in range(8)
        ]
        for client in clients:
            client.start()
        while len(answered) < 300:
            self.assertIsNone(process.poll())
            threading.Event().wait(0.01)
        process.send_signal(signal.SIGKILL)
        for client in clients:
            client.join(20)
        process.wait()
        with running_server(storage=self.spec) as again, Client(again.port) as reader:
            for path, body in answered.items():
                found = reader.request("GET", path).json
                content = body["content"]
                # The replacement under way when the process died may have been kept, or not.
                self.assertIn(found["content"], (content, {"n": -content["n"], "fill": "y" * 300}))
                self.assertEqual((found["namespace"], found["key"]), (body["namespace"], body["key"]))
            self.assert_consistent(again.parts.store)

    def assert_consistent(self, store: object) -> None:
        assert isinstance(store, SqliteStore)
        with store.read() as tx:
            records = {one: Record(row) for one, row in tx.scan(OBJECTS)}
            by_namespace = {index[-ID_BYTES:] for index, _ in tx.scan(BY_NAMESPACE)}
            by_key = {index for index, _ in tx.scan(BY_KEY)}
            self.assertEqual(tx.count(BY_DEADLINE), 0)
        self.assertEqual(records.keys(), by_namespace)
        self.assertEqual(by_key, {key(record.namespace, record.key) + one for one, record in records.items()})
        for record in records.values():
            self.assertEqual(record.id.decode(), json.loads(record.body)["id"])

    def test_a_block_is_kept_whole_or_not_at_all_when_its_process_is_killed(self) -> None:
        writer = (
            "import sys, threading\n"
            "from omp.store import open_store\n"
            "store = open_store(sys.argv[1])\n"
            "def run(number):\n"
            "    for turn in range(10**9):\n"
            "        with store.write() as tx:\n"
            "            for table in ('a', 'b', 'c'):\n"
            "                tx.put(table, bytes([number]), turn.to_bytes(8, 'big') * 200)\n"
            "        sys.stdout.write(f'{number} {turn}\\n')\n"
            "        sys.stdout.flush()\n"
            "for number in range(8):\n"
            "    threading.Thread(target=run, args=(number,)).start()\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", writer, self.spec], cwd=TOP, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(400)]
        process.kill()
        lines += process.stdout.read().splitlines(keepends=True)
        process.stdout.close()
        process.wait()
        answered: dict[int, int] = {}
        for line in lines:
            if re.fullmatch(r"\d \d+\n", line):
                writer_number, answered_turn = line.split()
                answered[int(writer_number)] = int(answered_turn)
        store = open_store(self.spec)
        self.addCleanup(store.close)
        self.assertTrue(answered)
        with store.read() as tx:
            tables = [dict(tx.scan(table)) for table in ("a", "b", "c")]
        self.assertEqual(tables[0], tables[1])
        self.assertEqual(tables[0], tables[2])
        for number, turn in answered.items():
            kept = tables[0][bytes([number])]
            self.assertEqual(kept, kept[:8] * 200)
            self.assertGreaterEqual(int.from_bytes(kept[:8], "big"), turn)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: a disk that is full for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Full(Temporary):
    def test_a_full_disk_is_503_and_the_server_goes_on_when_there_is_room_again(self) -> None:
        body = {"namespace": "ns", "key": "k", "content": {"fill": "x" * 20_000}}
        with running_server(storage=self.spec) as server, Client(server.port) as client:
            kept = client.request("POST", "/objects", body)
            database = server.parts.store._db  # type: ignore[attr-defined]
            pages = database.execute("PRAGMA page_count").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {pages}")
            refused = client.request("POST", "/objects", body)
            self.assertEqual(refused.status, 503)
            self.assertEqual(refused.json["error"]["code"], "unavailable")
            self.assertIn("the disk is full", refused.json["error"]["message"])
            self.assertNotIn(self.folder, refused.body.decode())
            self.assertEqual(client.request("GET", "/objects").json["count"], 1)
            self.assertEqual(client.request("GET", kept.headers["location"]).json["content"], body["content"])
            database.execute("PRAGMA max_page_count = 1000000")
            self.assertEqual(client.request("POST", "/objects", body).status, 201)
            self.assertEqual(client.request("GET", "/objects").json["count"], 2)

    def test_files_that_cannot_grow_make_writes_and_health_503_and_keep_nothing_in_part(self) -> None:
        body = {"namespace": "ns", "key": "k", "content": {"fill": "x" * 20_000}}
        with running_server(storage=self.spec) as server, Client(server.port) as client:
            self.assertEqual(client.request("POST", "/objects", body).status, 201)
            with largest_file(os.path.getsize(self.path + "-wal")):
                for method, path in (("POST", "/objects"), ("GET", "/health"), ("POST", "/objects")):
                    answer = client.request(method, path, body)
                    self.assertEqual(answer.status, 503)
                    self.assertIn("the disk", answer.json["error"]["message"])
                    self.assertNotIn(self.folder, answer.body.decode())
                self.assertEqual(client.request("GET", "/objects").json["count"], 1)
            self.assertEqual(client.request("GET", "/health").status, 200)
            self.assertEqual(client.request("POST", "/objects", body).status, 201)
            with server.parts.store.read() as tx:
                self.assertEqual([tx.count(table) for table in (OBJECTS, BY_NAMESPACE, BY_KEY)], [2, 2, 2])

    def test_every_writer_in_the_failing_commit_is_told(self) -> None:
        store = open_store(self.spec)
        self.addCleanup(store.close)
        with store.write() as tx:
            tx.put("t", b"before", b"")
        start = threading.Barrier(8)
        outcomes: list[str] = []

        def write(number: int) -> None:
            start.wait(PATIENCE)
            try:
                with store.write() as tx:
                    tx.put("t", bytes([number]), b"x" * 50_000)
                outcomes.append("kept")
            except StoreUnavailable:
                outcomes.append("told")

        with largest_file(os.path.getsize(self.path + "-wal")):
            threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        self.assertEqual(outcomes, ["told"] * 8)
        with store.read() as reading:
            self.assertEqual([one for one, _ in reading.scan("t")], [b"before"])


class ReadOnly(Temporary):
    def test_a_file_that_becomes_read_only_makes_writes_503_and_is_still_read(self) -> None:
        body = {"namespace": "ns", "content": {}}
        with running_server(storage=self.spec) as server, Client(server.port) as client:
            made = client.request("POST", "/objects", body)
            database = server.parts.store._db  # type: ignore[attr-defined]
            database.execute("PRAGMA query_only = 1")  # answers every write as SQLite answers it on a read-only file
            for method, path in (("POST", "/objects"), ("DELETE", made.headers["location"]), ("GET", "/health")):
                answer = client.request(method, path, body if method == "POST" else ...)
                self.assertEqual(answer.status, 503)
                self.assertIn("the database file is read-only", answer.json["error"]["message"])
            self.assertEqual(client.request("GET", made.headers["location"]).status, 200)
            database.execute("PRAGMA query_only = 0")
            self.assertEqual(client.request("DELETE", made.headers["location"]).status, 204)

    def in_another_process(self, program: str) -> str:
        """What `program` prints, run as a user to whom file modes apply."""
        if os.geteuid() == 0:
            program = f"import os\nos.setgid({NOBODY})\nos.setuid({NOBODY})\n" + program
        imports = "import sys, os\nfrom omp.store import open_store\nimport omp.store.sqlite\n"
        result = subprocess.run(
            [sys.executable, "-c", imports + program, self.spec], cwd=TOP, capture_output=True, text=True, timeout=30
        )
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return result.stdout

    def test_a_read_only_file_is_served_and_can_be_written_to_later(self) -> None:
        os.chmod(self.folder, 0o777)
        self.in_another_process(
            "store = open_store(sys.argv[1])\n"
            "with store.write() as tx: tx.put('t', b'k', b'before')\n"
            "store.close()\n"
            f"os.chmod({self.path!r}, 0o444)\n"
        )
        printed = self.in_another_process(
            "store = open_store(sys.argv[1])\n"
            "try:\n"
            "    with store.write() as tx: tx.put('t', b'k', b'after')\n"
            "except Exception as error: print(type(error).__name__, error)\n"
            "print(store.get('t', b'k'))\n"
            "store.close()\n"
            f"os.chmod({self.path!r}, 0o600)\n"
            "store = open_store(sys.argv[1])\n"
            "with store.write() as tx: tx.put('t', b'k', b'after')\n"
            "print(store.get('t', b'k'))\n"
            "store.close()\n"
        )
        expected = ["StoreUnavailable the database file is read-only", "b'before'", "b'after'"]
        self.assertEqual(printed.splitlines(), expected)

    def test_a_folder_where_nothing_can_be_made_is_refused(self) -> None:
        os.chmod(self.folder, 0o555)
        printed = self.in_another_process(
            "try: open_store(sys.argv[1])\nexcept Exception as error: print(type(error).__name__, error)\n"
        )
        self.assertEqual(printed.splitlines(), [f"StorageError cannot store in {self.path}: Permission denied"])


class Damaged(Temporary):
    def test_a_damaged_file_is_unavailable_where_it_is_damaged_and_says_so(self) -> None:
        store = open_store(self.spec)
        for number in range(50):
            with store.write() as tx:
                tx.put("t", key(number), b"x" * 2000)
        store.close()
        with open(self.path, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (os.path.getsize(self.path) - 4096))  # all but the first page
        store = open_store(self.spec)
        self.addCleanup(store.close)
        with self.assertRaisesRegex(StoreUnavailable, "^the database file is damaged$"):
            store.get("t", key(1))
        with self.assertRaisesRegex(StoreUnavailable, "^the database file is damaged$"), store.read() as reading:
            list(reading.scan("t"))
        with self.assertRaisesRegex(StoreUnavailable, "^the database file is damaged$"), store.write() as tx:
            tx.get("t", key(1))
        with self.assertRaisesRegex(StoreUnavailable, "^the database file is damaged$"), store.write() as tx:
            tx.put("t", key(1), b"")


class Removed(Temporary):
    def test_writes_to_a_removed_file_are_503(self) -> None:
        body = {"namespace": "ns", "content": {}}
        with running_server(storage=self.spec) as server, Client(server.port) as client:
            made = client.request("POST", "/objects", body)
            os.rename(self.path, self.path + ".moved")
            for _ in range(2):
                for method, path in (("POST", "/objects"), ("GET", "/health")):
                    answer = client.request(method, path, body)
                    self.assertEqual(answer.status, 503)
                    self.assertIn("removed or replaced", answer.json["error"]["message"])
            with self.assertRaisesRegex(StoreUnavailable, "removed or replaced"), ExitStack() as blocks:
                for _ in range(POOL + 1):  # more than there are connections: a new one would make a new file
                    blocks.enter_context(server.parts.store.read())
            self.assertFalse(os.path.exists(self.path))
            os.rename(self.path + ".moved", self.path)
            self.assertEqual(client.request("GET", made.headers["location"]).status, 200)
            self.assertEqual(client.request("POST", "/objects", body).status, 201)

    def test_another_file_in_its_place_is_left_alone(self) -> None:
        store = open_store(self.spec)
        self.addCleanup(store.close)
        os.rename(self.path, self.path + ".moved")
        Path(self.path).write_bytes(b"another")
        with self.assertRaisesRegex(StoreUnavailable, "removed or replaced"), store.write() as tx:
            tx.put("t", b"k", b"v")
        self.assertEqual(Path(self.path).read_bytes(), b"another")


class OneProcess(Temporary):
    def test_a_start_that_is_refused_leaves_the_file_to_the_next(self) -> None:
        environ = {"OMP_SERVER_PORT": "0", "OMP_STORAGE": self.spec}
        for wrong in ({"OMP_SERVER_HOST": "no such host"}, {"OMP_SIG_MODE": "loose"}, {"MRS_MAX_RADIUS": "far"}):
            with self.subTest(wrong):
                try:
                    build({**environ, **wrong})
                except SettingError as error:
                    refusal = error  # its traceback keeps alive whatever was not closed
                open_store(self.spec).close()
                self.assertTrue(str(refusal))

    def test_a_second_server_on_the_same_file_is_refused_with_its_reason(self) -> None:
        with running_server(storage=self.spec):
            second = subprocess.run(
                [sys.executable, "server.py", "--storage", self.spec, "--port", "0"],
                cwd=TOP,
                capture_output=True,
                text=True,
                timeout=30,
            )
        self.assertEqual((second.returncode, second.stdout), (2, ""))
        self.assertIn("another process has it open", second.stderr)

    def test_a_connection_to_a_dead_servers_file_is_free_at_once(self) -> None:
        holder = subprocess.Popen(
            [sys.executable, "-c", "import sys; from omp.store import open_store\n"
             "store = open_store(sys.argv[1]); print('open', flush=True); sys.stdin.read()", self.spec],
            cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert holder.stdout is not None and holder.stdin is not None
        self.assertEqual(holder.stdout.readline(), "open\n")
        holder.kill()
        holder.wait()
        holder.stdout.close()
        holder.stdin.close()
        store = open_store(self.spec)
        self.addCleanup(store.close)
        self.assertIsNone(store.get("t", b"k"))


if __name__ == "__main__":
    unittest.main()
