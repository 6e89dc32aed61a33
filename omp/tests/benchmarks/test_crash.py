"""``bench crash`` finds what it is there to find: servers that break their word are killed a few times, and caught.

Each of these servers is the real one with a fault put in: it answers before it commits, it commits in parts, or it
forgets an index.  The server as it is passes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from omp.tests.benchmarks import crash
from omp.tests.benchmarks.crash_accidents import ACCIDENTS, SERVER
from omp.tests.benchmarks.crash_client import Broken, Ledger
from omp.tests.benchmarks.report import Report

MOST_KILLS = 20
"""A server with a fault is caught at the first kill as a rule."""

_SERVE = "\nimport sys\nfrom omp.entry import (main)\nsys.exit(main(sys.argv[1:]))\n"

ANSWERS_BEFORE_IT_COMMITS = """
import threading, time
from omp.store import (sqlite)
leave, commit = sqlite._WriteBlock.__exit__, sqlite.SqliteStore._commit
def leave_later(block, *exception):
    if exception[0] is not None:
        return leave(block, *exception)
    threading.Thread(target=leave, args=(block, *exception)).start()
def commit_slowly(*arguments):
    time.sleep(0.02)
    commit(*arguments)
sqlite._WriteBlock.__exit__, sqlite.SqliteStore._commit = leave_later, commit_slowly
"""
COMMITS_IN_PARTS = """
import time
from omp.store import (sqlite)
commit = sqlite.SqliteStore._commit
def commit_in_parts(store, layer):
    for table, changes in layer.tables.items():
        part = sqlite._Layer()
        part.tables = {table: changes}
        commit(store, part)
        time.sleep(0.005)
sqlite.SqliteStore._commit = commit_in_parts
"""
FORGETS_AN_INDEX = """
from omp.store import (sqlite)
put = sqlite._WriteBlock.put
def put_most(tx, table, key, value):
    if table != "objects_by_key":
        put(tx, table, key, value)
sqlite._WriteBlock.put = put_most
"""


def killed(kills: int, fault: str = "") -> crash.Run:
    """So many kills of the server, or of one with that fault until something is found."""
    command = ("-c", fault + _SERVE) if fault else SERVER
    with tempfile.TemporaryDirectory() as keep, contextlib.redirect_stdout(io.StringIO()):
        run = crash.Run(1, kills, accidents=False, command=command, enough=1, keep=Path(keep))
        run.go()
    return run


class Killing(unittest.TestCase):
    """Servers that are killed."""

    def test_of_the_server_as_it_is_nothing_is_found(self) -> None:
        protocols = {"objects", "oplog", "avp", "mrs", "nexus"}
        for kills in (2, 10, 50):  # on a busy machine a client may be answered nothing before the second kill
            run = killed(kills)
            self.assertEqual(run.findings, [])
            self.assertEqual((run.killed, len(run.restarts)), (kills, kills))
            self.assertEqual(set(run.answered), protocols)
            if all(run.answered.values()):
                break
        self.assertTrue(all(run.answered.values()), run.answered)
        self.assertIn("restart, max", run.table())

    def assert_caught(self, fault: str, *words: str) -> None:
        run = killed(MOST_KILLS, fault)
        self.assertTrue(run.findings, "nothing was found")
        self.assertTrue(any(word in finding for finding in run.findings for word in words), run.findings)
        self.assertIn("seed 1, kill", run.findings[0])

    def test_who_answers_before_the_commit_is_caught(self) -> None:
        self.assert_caught(ANSWERS_BEFORE_IT_COMMITS, "answered was", "lost", "after version", "should be")

    def test_who_commits_in_parts_is_caught(self) -> None:
        self.assert_caught(COMMITS_IN_PARTS, "store verify")

    def test_who_forgets_an_index_is_caught(self) -> None:
        self.assert_caught(FORGETS_AN_INDEX, "store verify", "409")


class Running(unittest.TestCase):
    """The rounds, and the exit status."""

    def test_every_accident_has_its_turn_within_a_quick_run(self) -> None:
        run = crash.Run(1, crash.QUICK_KILLS)
        happening = set()
        for run.killed in range(crash.QUICK_KILLS):
            happening.add(run.accident())
        self.assertEqual(happening, {"", "damaged row", *ACCIDENTS})

    def test_a_finding_is_exit_status_1(self) -> None:
        arguments = argparse.Namespace(kills=1, seed=1, no_accidents=True)
        for findings, status in (([], 0), (["lost"], 1)):
            with (
                self.subTest(status),
                mock.patch.object(crash.Run, "go", lambda run, found=findings: run.findings.extend(found)),
                contextlib.redirect_stdout(io.StringIO()) as said,
            ):
                self.assertEqual(crash.run(arguments, Report()), status)
                self.assertIn("seed 1\n", said.getvalue())


class Ledgers(unittest.TestCase):
    """What a client takes for right."""

    def setUp(self) -> None:
        self.ledger = Ledger()
        self.ledger.begin("a", lambda found: bool(found == 1))
        self.ledger.end("a", 1)

    def test_what_was_answered_and_nothing_else(self) -> None:
        self.ledger.settle("a", 1)
        with self.assertRaisesRegex(Broken, "a is nothing; answered was 1"):
            self.ledger.settle("a", None)

    def test_an_open_request_leaves_two_states(self) -> None:
        for found in (1, 2):
            self.ledger.states["a"] = 1
            self.ledger.begin("a", lambda found: bool(found == 2))
            self.assertEqual(self.ledger.open(), ["a"])
            self.ledger.settle("a", found)
            self.assertEqual((self.ledger.states["a"], self.ledger.open()), (found, []))

    def test_what_was_read_holds_from_then_on(self) -> None:
        self.ledger.begin("a", lambda found: bool(found == 2))
        self.ledger.settle("a", 1)
        with self.assertRaises(Broken):
            self.ledger.settle("a", 2)

    def test_half_of_an_open_request_is_neither(self) -> None:
        self.ledger.begin("a", lambda found: bool(found == 2))
        with self.assertRaisesRegex(Broken, "not what the request without an answer would leave"):
            self.ledger.settle("a", 1.5)


if __name__ == "__main__":
    unittest.main()
