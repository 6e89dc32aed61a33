"""``python -m omp``: every command explains itself, and a wrong call gets one sentence."""

from __future__ import annotations

import subprocess
import sys
import unittest
from unittest import mock

from omp.__main__ import COMMANDS
from omp.tests import TOP
from omp.tests.benchmarks import objects
from omp.tests.benchmarks.command import BENCHMARKS
from omp.tests.benchmarks.load import BenchmarkFailed, Plan
from omp.tests.harness import command


class Commands(unittest.TestCase):
    """The table of commands."""

    def test_overview_names_every_command_with_its_line(self) -> None:
        status, out, _ = command("--help")
        self.assertEqual(status, 0)
        for name in COMMANDS:
            self.assertRegex(out, rf"(?m)^  {name} +\S")

    def test_no_command_shows_the_overview(self) -> None:
        self.assertEqual(command(), command("--help"))

    def test_every_command_explains_itself_with_examples(self) -> None:
        for name in COMMANDS:
            with self.subTest(name):
                status, out, _ = command(name, "--help")
                self.assertEqual(status, 0)
                self.assertIn("examples:", out)
                self.assertIn(f"python -m omp {name}", out.split("examples:")[1])

    def test_every_example_begins_with_what_the_shell_knows(self) -> None:
        for name in COMMANDS:
            with self.subTest(name):
                _, out, _ = command(name, "--help")
                first = next(line for line in out.split("examples:")[1].splitlines() if line.strip())
                self.assertIn("python -m omp", first)

    def test_an_unknown_command_is_status_2_and_one_sentence(self) -> None:
        status, out, err = command("frobnicate")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("'frobnicate'", err)
        self.assertEqual(err.count("\n"), 1)

    def test_an_unknown_option_is_status_2(self) -> None:
        for name in COMMANDS:
            with self.subTest(name):
                status, _, err = command(name, "--frobnicate")
                self.assertEqual(status, 2)
                self.assertNotIn("Traceback", err)

    def test_the_module_runs_from_the_shell(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "omp", "--help"], cwd=TOP, capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, command("--help")[1])


class Benchmarks(unittest.TestCase):
    """``python -m omp bench``: its options; what it measures is not a test."""

    def test_every_benchmark_explains_itself(self) -> None:
        for name in BENCHMARKS:
            with self.subTest(name):
                status, out, _ = command("bench", name, "--help")
                self.assertEqual(status, 0)
                self.assertIn("--rounds", out)

    def test_an_unknown_part_is_status_2(self) -> None:
        status, _, err = command("bench", "objects", "--part", "frobnicate")
        self.assertEqual(status, 2)
        self.assertIn("frobnicate", err)

    def test_without_a_name_it_is_the_objects_benchmark_with_the_options_given(self) -> None:
        plans: list[Plan] = []
        with mock.patch.dict(objects.PARTS, dict.fromkeys(objects.PARTS, plans.append)):
            status, out, _ = command("bench", "--rounds", "3", "--no-pin")
        self.assertEqual(status, 0)
        self.assertEqual(plans, [Plan(rounds=3)] * len(objects.PARTS))
        self.assertIn("processes not pinned", out)

    def test_a_run_that_cannot_be_finished_is_status_1_and_one_sentence(self) -> None:
        def part(plan: Plan) -> None:
            raise BenchmarkFailed("The server closed a connection under load.")

        with mock.patch.dict(objects.PARTS, {"start": part}):
            status, _, err = command("bench", "objects", "--no-pin", "--part", "start")
        self.assertEqual(status, 1)
        self.assertEqual(err, "python -m omp bench: The server closed a connection under load.\n")


if __name__ == "__main__":
    unittest.main()
