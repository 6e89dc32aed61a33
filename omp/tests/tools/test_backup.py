"""``python -m omp backup``: a whole copy of a file that is written to meanwhile, or none."""

from __future__ import annotations

import json
import sqlite3
import stat
import tempfile
import threading
import unittest
from contextlib import closing
from pathlib import Path
from unittest import mock

from omp.tests.harness import Client, command, running_server
from omp.tools import backup


class Backup(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file, self.copy = self.folder / "a.db", self.folder / "copy.db"

    def backup(self, *more: str) -> tuple[int, str, str]:
        return command("backup", str(self.file), str(self.copy), *more)

    def refused(self) -> str:
        status, said, complained = self.backup()
        self.assertEqual((status, said, complained.count("\n")), (1, "", 1), complained)
        return complained

    def fill(self) -> None:
        with running_server(storage=f"sqlite:{self.file}") as server, Client(server.port) as client:
            for number in range(20):
                body = {"namespace": "n", "content": {"number": number, "text": "a needle in the file"}}
                self.assertEqual(client.request("POST", "/objects", body).status, 201)

    def test_a_copy_made_under_load_is_whole_and_private(self) -> None:
        written = threading.Event()
        over = threading.Event()

        def write(port: int) -> None:
            with Client(port) as client:
                for number in range(100_000):
                    if over.is_set():
                        return
                    client.request("POST", "/objects", {"namespace": "n", "content": {"number": number}})
                    if number == 20:
                        written.set()

        with running_server(storage=f"sqlite:{self.file}") as server:
            writers = [threading.Thread(target=write, args=(server.port,)) for _ in range(3)]
            for writer in writers:
                writer.start()
            try:
                self.assertTrue(written.wait(60))
                status, said, complained = self.backup("--json")
            finally:
                over.set()
                for writer in writers:
                    writer.join()
        self.assertEqual((status, complained), (0, ""))
        told = json.loads(said)
        self.assertEqual((told["copy"], told["damaged"]), (str(self.copy), []))
        self.assertEqual(stat.S_IMODE(self.copy.stat().st_mode), 0o600)
        self.assertEqual(command("store", "verify", str(self.copy))[0], 0)
        with running_server(storage=f"sqlite:{self.copy}") as server, Client(server.port) as client:
            self.assertGreater(client.request("GET", "/objects").json["count"], 20)

    def test_what_is_there_is_left_as_it_is(self) -> None:
        self.fill()
        self.copy.write_bytes(b"mine")
        self.assertIn("is there already", self.refused())
        self.assertEqual(self.copy.read_bytes(), b"mine")
        self.copy.unlink()
        self.copy.symlink_to(self.folder / "nowhere")
        self.assertIn("is there already", self.refused())

    def test_a_file_made_meanwhile_is_left_as_it_is(self) -> None:
        self.fill()
        with mock.patch.object(backup, "_sync", lambda _: self.copy.write_bytes(b"mine")):
            self.assertIn("meanwhile", self.refused())
        self.assertEqual(self.copy.read_bytes(), b"mine")

    def test_what_cannot_be_copied_leaves_nothing(self) -> None:
        self.assertIn("is no file", self.refused())
        self.file.write_bytes(b"no database" * 999)
        self.assertIn("not an SQLite database", self.refused())
        self.file.unlink()
        self.fill()
        with mock.patch.object(backup, "_vacuum", side_effect=OSError(28, "No space left on device")):
            self.assertIn("No space left", self.refused())
        self.assertEqual(sorted(path.name for path in self.folder.iterdir() if "copy" in path.name), [])
        self.copy = self.folder / "no" / "folder.db"
        self.assertIn("No such file", self.refused())

    def test_damaged_rows_are_copied_and_named(self) -> None:
        self.fill()
        with closing(sqlite3.connect(self.file)) as db, db:
            db.execute("UPDATE objects SET checksum = checksum + 1 WHERE key = (SELECT min(key) FROM objects)")
        status, said, complained = self.backup()
        self.assertEqual(status, 1)
        self.assertIn("copy.db: ", said)
        self.assertIn("1 faults were copied", complained)
        self.assertIn("its checksum is not that", complained)
        self.assertTrue(self.copy.exists())


if __name__ == "__main__":
    unittest.main()
