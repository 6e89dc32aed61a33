"""Bits that flip in a database file: what needs the row is 503 with its id, all else is served (omp §8.1)."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import tempfile
import unittest
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

from omp.store import StorageError, open_store
from omp.store.port import DamagedRow, key, leaving_out, required, row_id
from omp.tests import ALL
from omp.tests.harness import Answer, Client, command, running_server
from omp.tests.oplog.test_routes import WRITTEN
from omp.tests.oplog.test_routes import path as log_path
from omp.tests.store.world import ENVIRON, Ask, build, flip, rewrite, rows
from omp.web.openapi import answer_parts
from omp.web.settings import SettingError

SERVED = {
    "avp_creators": "",
    "avp_envelopes": "pull r1",
    "avp_nonces": "",
    "avp_nonces_by_age": "",
    "avp_repositories": "pull r1",
    "avp_tokens": "pull r1",
    "avp_tokens_by_age": "",
    "mrs_changes": "changes",
    "mrs_failures": "",
    "mrs_ids": "snapshot",
    "mrs_keys": "keys",
    "mrs_made": "",
    "mrs_new_accounts": "",
    "mrs_origins": "",
    "mrs_outlines": "",
    "mrs_owners": "",
    "mrs_peers": "peers",
    "mrs_places": "snapshot",
    "mrs_secrets": "",
    "mrs_state": "",
    "mrs_tokens": "who am I",
    "mrs_tokens_by_age": "",
    "mrs_tombstones": "export",
    "mrs_users": "who am I",
    "mrs_whitelist": "whitelist",
    "nexus_messages": "profile /messages",
    "nexus_overrides": "profile /config",
    "nexus_sequence": "",
    "objects": "object 0",
    "objects_by_deadline": "",
    "objects_by_key": "",
    "objects_by_namespace": "objects of a namespace",
    "objects_state": "",
    "oplog_logs": "log /state",
    "oplog_operations": "log /state",
}
"""Table -> what is answered otherwise (503, or incomplete) where the value of its first row is damaged; "": nothing."""


WRONG: list[tuple[str, Callable[[bytes], bytes | None], str]] = [
    ("objects", lambda row: row.replace(b'"number":0', b'"number":9'), "ETag or header is not that of its JSON"),
    ("objects", lambda row: b"nothing", "cannot be read"),
    ("objects", lambda row: None, "no other row leads to it"),
    ("objects_by_key", lambda row: None, "it is missing, and other rows lead to it"),
    ("objects_by_namespace", lambda row: row + b"x", "differs from what follows"),
    ("objects_by_deadline", lambda row: None, "it is missing"),
    ("objects_state", lambda row: row[:4], "not the moment of an id"),
    ("oplog_operations", lambda row: row.replace(b'"size":15', b'"size":16'), "ERR_SIG"),
    ("oplog_operations", lambda row: row + b" ", "ERR_"),
    ("oplog_operations", lambda row: None, "it is missing"),
    ("oplog_logs", lambda row: (4).to_bytes(8, "big"), "differs from what follows"),
    ("avp_repositories", lambda row: row.replace(b'"x-abc"', b'"x-abd"'), "digests are not its roster's"),
    ("avp_repositories", lambda row: row[:20], "cannot be read"),
    ("avp_envelopes", lambda row: row.replace(b'"payloadVersion":2', b'"payloadVersion":3'), "differ"),
    ("avp_envelopes", lambda row: None, "it is missing"),
    ("avp_creators", lambda row: (9).to_bytes(8, "big"), "it counts others"),
    ("avp_tokens", lambda row: row[:8] + bytes(32) + row[40:], "its key is not that of its hash"),
    ("avp_nonces_by_age", lambda row: None, "it is missing"),
    ("mrs_places", lambda row: row.replace(b'"radius":50', b'"radius":51'), "not that of its claim"),
    ("mrs_ids", lambda row: row + b"x", "differs from what follows"),
    ("mrs_changes", lambda row: b"reg_nothing", "it names no registration"),
    ("mrs_changes", lambda row: None, "it is missing"),
    ("mrs_tombstones", lambda row: None, "it is missing"),
    ("mrs_made", lambda row: key(9), "differs from what follows"),
    ("mrs_outlines", lambda row: row[:-1] + b"x", "differs from what follows"),
    ("mrs_state", lambda row: bytes(len(row)), "differs from what follows"),
    ("mrs_users", lambda row: row.replace(b"scrypt", b"crypt"), "not of the form"),
    ("mrs_whitelist", lambda row: row.replace(b"20", b"x0"), "not of the form"),
    ("mrs_peers", lambda row: row.replace(b"https", b"ftp"), "not of the form"),
    ("nexus_overrides", lambda row: b"[]", "no JSON object"),
    ("nexus_messages", lambda row: row.replace(b'"created_at":"2', b'"created_at":"1'), "no message of its owner"),
    ("nexus_messages", lambda row: None, "are missing|differs"),
    ("nexus_sequence", lambda row: key(7), "differs from what follows"),
]
"""Table, what is done to the value of its first row (None: the row is deleted), and what verify then says."""


class Damaged(unittest.TestCase):
    """One file with rows in every table, and copies of it with a flipped bit each."""

    folder: ClassVar[Path]
    asks: ClassVar[list[Ask]]
    whole: ClassVar[dict[str, Answer]]
    stack: ClassVar[ExitStack]

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = ExitStack()
        cls.folder = Path(cls.stack.enter_context(tempfile.TemporaryDirectory()))
        cls.asks = build(cls.folder / "whole.db")
        shutil.copy(cls.folder / "whole.db", cls.folder / "asked.db")
        cls.whole, health, _ = cls.answers(cls.folder / "asked.db")
        assert health.json == {"status": "ok"}

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.close()

    @classmethod
    def answers(cls, file: Path) -> tuple[dict[str, Answer], Answer, list[str]]:
        """What a server on `file` answers, what ``/health`` says afterwards, and the log."""
        with running_server(ENVIRON, f"sqlite:{file}") as server, Client(server.port) as client:
            found = {ask.name: ask.send(client) for ask in cls.asks}
            server.parts.application.housekeep(0)
            return found, client.request("GET", "/health"), list(server.log)

    def damaged(self, table: str, *, in_key: bool) -> tuple[Path, tuple[bytes, bytes]] | None:
        """A copy with a flipped bit in the first row of `table` that has room for one, and the row as it was."""
        file = Path(self.enterContext(tempfile.TemporaryDirectory(dir=self.folder))) / "damaged.db"
        for row in rows(self.folder / "whole.db")[table]:
            shutil.copy(self.folder / "whole.db", file)
            if flip(file, row, in_key=in_key):
                return file, row
        return None

    def assert_honest(self, found: dict[str, Answer], log: list[str]) -> set[str]:
        """Nothing is 500, nothing is wrong; returns what is not answered as before."""
        self.assertNotIn("Traceback", "\n".join(log))
        changed = set()
        for name, answer in found.items():
            before = self.whole[name]
            self.assertLess(answer.status, 504, (name, answer.body))
            self.assertNotEqual(answer.status, 500, (name, answer.body))
            if "etag" in answer.headers and answer.headers["etag"] == before.headers.get("etag"):
                self.assertEqual(answer.body, before.body, name)
            is_same = (answer.status, len(answer.body)) == (before.status, len(before.body))
            if not is_same or "omp-incomplete" in answer.headers:
                changed.add(name)
        return changed

    def test_a_bit_in_a_value_of_every_table(self) -> None:
        tables = rows(self.folder / "whole.db")
        self.assertEqual(set(tables) - set(SERVED), set())
        for table in tables:
            with self.subTest(table):
                copy = self.damaged(table, in_key=False)
                if copy is None:  # its rows have keys only
                    continue
                file, row = copy
                found, health, log = self.answers(file)
                changed = self.assert_honest(found, log)
                if SERVED[table]:
                    self.assertIn(SERVED[table], changed)
                    self.assert_named(found[SERVED[table]], row_id(table, row[0]), "\n".join(log))
                    self.assertEqual((health.status, health.json["status"]), (200, "damaged"))
                    self.assertIn(row_id(table, row[0]), health.json["damaged"])
                else:
                    self.assertEqual(changed, set())
                for row_met in health.json.get("damaged", ()):
                    self.assertIn(f"error {row_met} ", "\n".join(log))
                status, said, _ = command("store", "verify", str(file))
                self.assertEqual(status, 1, said)
                self.assertIn(row_id(table, row[0]), said)

    def assert_named(self, answer: Answer, row: str, log: str) -> None:
        """The answer names the row by its id, and so does the log."""
        self.assertIn(row, log)
        if answer.status == 503:
            self.assertIn(f"(error {row})".encode(), answer.body)
            self.assertNotIn("retry-after", answer.headers)
        else:
            self.assertEqual((answer.status, answer.headers["omp-incomplete"]), (200, row))

    def test_a_bit_in_a_key_of_every_table(self) -> None:
        for table in rows(self.folder / "whole.db"):
            with self.subTest(table):
                copy = self.damaged(table, in_key=True)
                assert copy is not None
                found, _, log = self.answers(copy[0])
                self.assert_honest(found, log)
                status, said, _ = command("store", "verify", str(copy[0]))
                self.assertEqual(status, 1, said)
                self.assertIn(f"\n{table}: ", f"\n{said}")

    def test_omp_incomplete_is_documented_for_each_list_that_leaves_rows_out_and_for_no_other(self) -> None:
        bearing: set[str] = set()
        file = self.folder / "first.db"
        for table in rows(self.folder / "whole.db"):
            shutil.copy(self.folder / "whole.db", file)
            with closing(sqlite3.connect(file)) as db, db:
                first = f'SELECT min(key) FROM "{table}"'
                db.execute(f'UPDATE "{table}" SET checksum = checksum + 1 WHERE key = ({first})')
            with running_server(ENVIRON, f"sqlite:{file}") as server, Client(server.port) as client:
                routes = [route for mount in server.parts.application.mounts for route in mount.routes]
                answers = [(ask.route(routes).name, ask.send(client)) for ask in self.asks]
                bearing |= {f"{name} {answer.status}" for name, answer in answers if "omp-incomplete" in answer.headers}
        documented = {
            f"{route.name} {status}"
            for route in routes
            for status, one in route.answers.items()
            if "OMP-Incomplete" in answer_parts(one)[2]
        }
        self.assertEqual(bearing, documented)

    def test_the_others_are_served(self) -> None:
        file, row = self.damaged("objects", in_key=False) or (Path(), (b"", b""))
        found, _, _ = self.answers(file)
        self.assertEqual([found[f"object {number}"].status for number in range(3)], [503, 200, 200])
        self.assertEqual(found["objects"].json["count"], 2)
        self.assertEqual(found["objects of a namespace"].headers["omp-incomplete"], row_id("objects", row[0]))
        self.assertEqual({answer.status for name, answer in found.items() if "object" not in name}, {200})

    def test_bytes_flipped_anywhere(self) -> None:
        rng = random.Random(7)
        whole = (self.folder / "whole.db").read_bytes()
        for round_ in range(50 if ALL else 8):
            with self.subTest(round_):
                data = bytearray(whole)
                for _ in range(rng.choice((1, 5, 50))):
                    data[rng.randrange(100, len(data))] ^= 1 << rng.randrange(8)
                file = self.folder / f"fuzz{round_}.db"
                file.write_bytes(data)
                try:
                    found, _, log = self.answers(file)
                except SettingError:  # what SQLite needs to open it is damaged: the start says so
                    continue
                self.assert_honest(found, log)
                self.assertIn(command("store", "verify", str(file))[0], (0, 1, 2))

    def test_rows_that_are_as_written_but_wrong(self) -> None:
        tables = rows(self.folder / "whole.db")
        for table, change, problem in WRONG:
            with self.subTest(table, problem=problem):
                file = self.folder / "wrong.db"
                shutil.copy(self.folder / "whole.db", file)
                row, value = tables[table][0]
                changed = change(value)
                self.assertNotEqual(changed, value)
                rewrite(file, table, row, changed)
                status, said, _ = command("store", "verify", str(file))
                self.assertEqual(status, 1, said)
                self.assertRegex(said, problem)

    def test_an_index_row_that_no_row_leads_to(self) -> None:
        for table in ("objects_by_key", "mrs_ids", "mrs_owners", "avp_tokens_by_age", "nexus_sequence"):
            with self.subTest(table):
                file = self.folder / "wrong.db"
                shutil.copy(self.folder / "whole.db", file)
                rewrite(file, table, b"\xff" * 60, b"")
                status, said, _ = command("store", "verify", str(file))
                self.assertEqual((status, said.count("no other row leads to it")), (1, 1), said)

    def test_rebuilding_what_follows_from_other_rows(self) -> None:
        for table in ("objects_by_key", "mrs_ids", "mrs_state", "avp_tokens", "nexus_sequence", "oplog_logs"):
            with self.subTest(table):
                file, _ = self.damaged(table, in_key=True) or (Path(), b"")
                status, said, complained = command("store", "verify", str(file), "--rebuild")
                self.assertEqual((status, complained), (0, ""), said)
                self.assertTrue(said.endswith("whole\n"))
                self.assertEqual(command("store", "verify", f"{file}-damaged")[0], 1)
                self.assertEqual([one.name for one in file.parent.iterdir() if "rebuilt" in one.name], [])
                rewrite(file, "objects_by_key", b"\xff" * 60, b"")
                status, said, complained = command("store", "verify", str(file), "--rebuild")
                self.assertEqual((status, "move it away" in complained), (2, True), said)

    def test_a_file_in_use_is_not_rebuilt(self) -> None:
        file, _ = self.damaged("objects_by_key", in_key=True) or (Path(), b"")
        with running_server(ENVIRON, f"sqlite:{file}"):
            status, _, complained = command("store", "verify", str(file), "--rebuild")
        self.assertEqual(status, 2)
        self.assertRegex(complained, r"\Astore: .* another process .*\n\Z")

    def test_a_kill_while_the_files_change_places_leaves_the_file_under_its_name(self) -> None:
        file, _ = self.damaged("objects_by_key", in_key=True) or (Path(), b"")
        before = file.read_bytes()
        with patch.object(os, "replace", side_effect=KeyboardInterrupt):
            self.assertNotEqual(command("store", "verify", str(file), "--rebuild")[0], 0)
        self.assertEqual([file.read_bytes(), Path(f"{file}-damaged").read_bytes()], [before, before])

    def test_giving_up_what_is_beyond_repair(self) -> None:
        for table in ("objects", "mrs_places", "oplog_operations"):
            with self.subTest(table):
                file, _ = self.damaged(table, in_key=False) or (Path(), b"")
                before = file.read_bytes()
                status, said, complained = command("store", "verify", str(file), "--rebuild")
                self.assertEqual((status, "beyond repair" in complained, file.read_bytes()), (1, True, before), said)
                status, said, complained = command("store", "verify", str(file), "--give-up")
                self.assertEqual((status, complained), (0, ""), said)
                _, health, _ = self.answers(file)
                self.assertEqual(health.json, {"status": "ok"})

    def test_a_log_is_whole_again_once_somebody_has_pushed_it(self) -> None:
        for in_key in (False, True):
            file, _ = self.damaged("oplog_operations", in_key=in_key) or (Path(), b"")
            self.assertEqual(command("store", "verify", str(file), "--give-up")[0], 0)
            with running_server(ENVIRON, f"sqlite:{file}") as server, Client(server.port) as client:
                lines = b"\n".join(operation.raw for operation in WRITTEN.operations)
                ndjson = {"Content-Type": "application/x-ndjson"}
                posted = client.request("POST", log_path("/operations"), body=lines, headers=ndjson).json
                self.assertEqual((posted["accepted"] + posted["duplicate"], posted["accepted"] > 0), (5, True))
            found, _, _ = self.answers(file)
            self.assertEqual(found["log /state"].headers["etag"], self.whole["log /state"].headers["etag"])

    def test_a_whole_file_and_what_is_none(self) -> None:
        self.assertEqual(command("store", "verify", str(self.folder / "whole.db"))[0], 0)
        other = self.folder / "other"
        for content in (None, b"", b"no database at all" * 100):
            if content is not None:
                other.write_bytes(content)
            status, said, complained = command("store", "verify", str(other))
            self.assertEqual((status, said, complained.count("\n")), (2, "", 1), complained)
            self.assertTrue(complained.startswith("store: "), complained)
            told = command("store", "verify", str(other), "--json")
            self.assertEqual(told, (2, f'{{"file": "{other}", "result": "unreadable"}}\n', complained))


class Rows(unittest.TestCase):
    """The port's own words about damaged rows."""

    def setUp(self) -> None:
        self.path = Path(self.enterContext(tempfile.TemporaryDirectory())) / "store.db"
        self.store = open_store(f"sqlite:{self.path}")
        with self.store.write() as tx:
            for number in range(4):
                tx.put("t", key(number), b"value %d" % number)
        self.store.close()

    def damage(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute(sql)
        self.store = open_store(f"sqlite:{self.path}")
        self.addCleanup(self.store.close)

    def test_get_raises_and_scan_leaves_out(self) -> None:
        self.damage("UPDATE t SET value = 'value 9' WHERE key = x'0000000000000001'")
        with self.assertRaises(DamagedRow) as raised:
            self.store.get("t", key(1))
        self.assertEqual((raised.exception.id, str(raised.exception).count("t ")), (row_id("t", key(1)), 1))
        with self.store.read() as tx:
            self.assertEqual([value[-1:] for _, value in tx.scan("t")], [b"0", b"2", b"3"])
            self.assertEqual([value[-1:] for _, value in tx.scan("t", reverse=True)], [b"3", b"2", b"0"])
            with self.assertRaises(DamagedRow):
                list(tx.scan("t", complete=True))
            with leaving_out(tx):
                tx.get("t", key(1))
            self.assertEqual([row.id for row in self.store.damage.left_out()], [row_id("t", key(1))])
            self.assertEqual(self.store.damage.left_out(), [])

    def test_values_of_every_type(self) -> None:
        for value in ("7", "7.5", "'text'", "x'ff'"):
            self.damage(f"UPDATE t SET value = {value} WHERE key = x'0000000000000001'")
            with self.subTest(value), self.assertRaises(DamagedRow):
                self.store.get("t", key(1))
            self.store.close()

    def test_a_row_that_is_written_anew_or_deleted_is_mended(self) -> None:
        self.damage("UPDATE t SET checksum = checksum + 1")
        for number in range(4):
            with self.assertRaises(DamagedRow):
                self.store.get("t", key(number))
        self.assertEqual(len(self.store.damage.ids()), 4)
        with self.store.write() as tx:
            tx.put("t", key(0), b"anew")
            self.assertTrue(tx.delete("t", key(1)))
        self.assertEqual(self.store.damage.ids(), [row_id("t", key(2)), row_id("t", key(3))])
        self.assertEqual((self.store.get("t", key(0)), self.store.get("t", key(1))), (b"anew", None))

    def test_a_row_that_is_left_out_and_then_mended_is_not_missing(self) -> None:
        self.damage("UPDATE t SET checksum = checksum + 1")
        damage = self.store.damage
        with self.store.write() as tx:
            for number in range(2):
                with leaving_out(tx):
                    tx.get("t", key(number))
            tx.put("t", key(0), b"anew")
        self.assertEqual([row.id for row in damage.left_out()], [row_id("t", key(1))])

    def test_a_row_is_mended_by_what_lasts_alone(self) -> None:
        self.damage("SELECT 1")
        with closing(open_store("memory")) as memory:
            for store in (memory, self.store):
                with suppress(ZeroDivisionError), store.write() as tx:
                    with leaving_out(tx):
                        required(tx, "t", key(99))
                    tx.put("t", key(99), b"undone")
                    1 / 0  # noqa: B018
                self.assertEqual(store.damage.ids(), [row_id("t", key(99))])

    def test_what_another_row_refers_to(self) -> None:
        for spec in ("memory", f"sqlite:{self.path}"):
            store = open_store(spec)
            with self.subTest(spec), store.read() as tx, self.assertRaises(DamagedRow):
                required(tx, "t", key(99))
            self.assertEqual(store.damage.ids(), [row_id("t", key(99))])
            store.close()

    def test_a_file_without_checksums_gets_them(self) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("CREATE TABLE old (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
            db.execute("INSERT INTO old SELECT key, value FROM t")
            db.execute("DROP TABLE t")
            db.execute("ALTER TABLE old RENAME TO t")
            db.execute("PRAGMA user_version = 1")
        status, _, complained = command("store", "verify", str(self.path))
        self.assertEqual((status, "schema version 1" in complained), (2, True), complained)
        self.damage("SELECT 1")
        self.assertEqual(self.store.get("t", key(3)), b"value 3")
        with self.store.write() as tx:
            tx.put("t", key(4), b"value 4")
        self.store.close()
        self.assertEqual(command("store", "verify", str(self.path))[0], 0)
        self.damage("UPDATE t SET value = x'00' WHERE key = x'0000000000000003'")
        with self.assertRaises(DamagedRow):
            self.store.get("t", key(3))
        self.assertEqual(command("store", "verify", str(self.path))[0], 1)

    def break_a_page(self) -> None:
        """Make a file of 400 rows, and overwrite the page that holds the row 200."""
        self.store = open_store(f"sqlite:{self.path}")
        with self.store.write() as tx:
            for number in range(400):
                tx.put("t", key(number), b"%04d" % number * 50)
        self.store.close()
        data = bytearray(self.path.read_bytes())
        page = data.index(b"0200" * 50) // 4096 * 4096
        data[page : page + 4096] = b"\xff" * 4096
        self.path.write_bytes(data)

    def test_a_scan_that_begins_on_a_bad_page_names_the_row(self) -> None:
        self.break_a_page()
        self.damage("SELECT 1")
        for block in (self.store.read, self.store.write):
            with self.assertRaises(DamagedRow) as caught, block() as tx:
                list(tx.scan("t", key(200)))
            self.assertEqual(caught.exception.id, row_id("t", key(200)))
        self.assertEqual(self.store.damage.ids(), [row_id("t", key(200))])

    def test_giving_up_a_page_keeps_what_lies_on_both_sides_of_it(self) -> None:
        self.break_a_page()
        status, said, _ = command("store", "verify", str(self.path))
        self.assertEqual((status, "a page of the file" in said), (1, True), said)
        status, said, _ = command("store", "verify", str(self.path), "--give-up")
        self.assertEqual((status, said.endswith("whole\n")), (0, True), said)
        self.damage("SELECT 1")
        with self.store.read() as tx:
            left = [int(value[:4]) for _, value in tx.scan("t")]
        self.assertEqual((left[0], left[-1], 200 in left), (0, 399, False))
        self.assertGreater(len(left), 370)

    def test_rebuilding_needs_the_file_alone(self) -> None:
        self.damage("SELECT 1")
        with self.assertRaisesRegex(StorageError, "another process"):
            open_store(f"sqlite:{self.path}")
        self.assertEqual(command("store", "verify", str(self.path))[0], 0)
