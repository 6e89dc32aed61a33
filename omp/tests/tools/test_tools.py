"""``python -m omp``: every command explains itself, and a wrong call gets one sentence."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import unittest
from unittest import mock

import omp
from omp.tests import TOP
from omp.tests.benchmarks import objects
from omp.tests.benchmarks.command import BENCHMARKS
from omp.tests.benchmarks.load import BenchmarkFailed, Plan, Result
from omp.tests.benchmarks.report import Report
from omp.tests.harness import command, running_server
from omp.tests.tools.test_signing_tools import MISSING, SEED
from omp.tools.options import COMMANDS, leaves, parser_for
from omp.tools.terminal import coloured


class Commands(unittest.TestCase):
    """The table of commands."""

    def test_overview_names_every_command_with_its_line(self) -> None:
        status, out, _ = command("--help")
        self.assertEqual(status, 0)
        for name in COMMANDS:
            self.assertRegex(out, rf"(?m)^  {name} +\S")
        columns = {re.match(r"  \S+ +", line).end() for line in out.split(":\n")[1].splitlines()}  # type: ignore[union-attr]
        self.assertEqual(len(columns), 1)

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


class Shared(unittest.TestCase):
    """What all commands have in common."""

    def test_every_subcommand_takes_v_and_tells_its_result_as_json(self) -> None:
        for name in set(COMMANDS) - {"completion"}:  # whose result is a script
            for each in leaves(parser_for(name)):
                with self.subTest(each.prog):
                    options = command(*each.prog.split()[3:], "--help")[1]
                    self.assertIn("--verbose", options)
                    self.assertIn("--json", options)

    def test_the_version(self) -> None:
        self.assertEqual(command("--version"), (0, f"omp {omp.__version__}\n", ""))

    def test_a_mistyped_command_and_subcommand_get_a_guess(self) -> None:
        for words, guess in ((("keygne",), "keygen"), (("log", "pul", "http://127.0.0.1:1"), "pull")):
            status, out, err = command(*words)
            self.assertEqual((status, out), (2, ""))
            self.assertIn(f"did you mean '{guess}'?", err)
        self.assertNotIn("did you mean", command("log", "zzzzzz")[2])

    def test_a_mistyped_option_gets_a_guess_and_the_usage_of_its_subcommand(self) -> None:
        for words, usage, sentence in (
            # Before what else is missing, and before the values of other options.
            (
                ("vault", "create", "--srever", "x"),
                "vault create",
                "there is no option --srever; did you mean '--server'?",
            ),
            (("places", "search", "--at", "-33.8", "151.2", "--rnage=5"), "places search", "did you mean '--range'?"),
            (("sign", "--metod", "GET"), "sign", "did you mean '--method'?"),
            (("log", "show", "--zzzz"), "log show", "there is no option --zzzz"),
            (("log", "--log", "x", "show"), "log", "the options of a subcommand come after its name"),
            (("keygen", "more"), "keygen", "unexpected arguments: more"),
            (("keygen", "help"), "keygen", "unexpected arguments: help; did you mean '--help'?"),
        ):
            with self.subTest(words):
                status, out, err = command(*words)
                self.assertEqual((status, out), (2, ""))
                self.assertTrue(err.startswith(f"usage: python -m omp {usage} [-h]"), err)
                self.assertRegex(err.splitlines()[-1], f"^{usage}: .*{re.escape(sentence)}$")

    def test_help_without_dashes_is_help(self) -> None:
        for words, same in (
            (("help",), ("--help",)),
            (("help", "keygen"), ("keygen", "--help")),
            (("help", "log", "show"), ("log", "show", "--help")),
            (("log", "help"), ("log", "--help")),
            (("log", "help", "show"), ("log", "show", "--help")),
        ):
            self.assertEqual(command(*words), command(*same))

    def test_every_subcommand_has_examples_of_itself_alone(self) -> None:
        for name in set(COMMANDS) - {"bench"}:
            for each in leaves(parser_for(name)):
                with self.subTest(each.prog):
                    examples = each.format_help().split("examples:\n")[1]
                    self.assertIn(f"{each.prog} ", examples.replace("\n", " "))
                    for other in {one.prog for one in leaves(parser_for(name))} - {each.prog}:
                        self.assertNotIn(f"{other} ", examples.replace("\n", " "))
        benchmarks = [command("bench", name, "--help")[1] for name in BENCHMARKS]
        self.assertEqual(
            [name for name, text in zip(BENCHMARKS, benchmarks, strict=True) if "examples:" not in text], []
        )

    def test_a_bad_url_is_blamed_on_what_gave_it(self) -> None:
        asks = ("sign", "--seed-b64u", SEED), ("places", "peers"), ("peers", "list"), ("log", "push")
        for words in asks:
            with self.subTest(words):
                with mock.patch.dict(os.environ, {"OMP_SERVER": "ftp://x"}):
                    status, out, err = command(*words)
                self.assertEqual((status, out), (1, ""))
                self.assertRegex(
                    err, rf"\A{words[0]}: OMP_SERVER: 'ftp://x' is no base URL of a server, such as .*\n\Z"
                )
                self.assertIn("--server: 'ftp://x' is no base", command(*words, "--server", "ftp://x")[2])
        self.assertIn("log: URL: 'ftp://x' is no base", command("log", "push", "ftp://x")[2])

    def test_a_bad_variable_is_blamed_by_name(self) -> None:
        signed = {"MRS_IDENTITY": "mark@owen.iz.net"}
        for variable, value, words, others in (
            ("MRS_TOKEN", "two\nlines", ("places", "list"), {}),
            ("OMP_ADMIN_TOKEN", "\udcff", ("peers", "list"), {}),
            ("MRS_PASSWORD", "a\tb", ("places", "login", "mark"), {}),
            *(
                []
                if MISSING
                else [
                    ("SEED_B64U", "short", ("sign",), {}),
                    ("OMP_SIG_KEYID", "schlüssel", ("sign",), {"SEED_B64U": SEED}),
                    ("MRS_IDENTITY", "mark", ("places", "list"), {"SEED_B64U": SEED}),
                    ("SEED_B64U", "short", ("places", "list"), signed),
                ]
            ),
        ):
            with self.subTest(variable), mock.patch.dict(os.environ, {**others, variable: value}):
                status, out, err = command(*words)
                self.assertEqual((status, out), (1, ""))
                self.assertRegex(err, rf"\A{words[0]}: {variable} .*must (hold|be) .*\n\Z")

    def test_the_server_is_that_of_the_option_else_of_the_variable(self) -> None:
        with running_server() as server, mock.patch.dict(os.environ, {"OMP_SERVER": server.url}):
            self.assertEqual(command("places", "peers"), (0, "", ""))
            self.assertEqual(command("places", "peers", "--server", "http://127.0.0.1:1")[0], 1)
            self.assertEqual(command("peers", "list", "--json"), (0, '{"peers": []}\n', ""))

    def test_a_bare_host_and_port_is_taken_as_http_and_said_so(self) -> None:
        with running_server() as server:
            bare = server.url.removeprefix("http://")
            note = f"note: {bare} is taken as {server.url}\n"
            self.assertEqual(command("places", "peers", "--server", bare), (0, "", note))

    def test_v_shows_request_answer_and_signature_base_and_no_token(self) -> None:
        operator = {"OMP_ADMIN_TOKEN": "very-secret"}
        with running_server(operator) as server, mock.patch.dict(os.environ, operator):
            status, out, err = command("peers", "list", "-v", "--server", server.url)
            self.assertEqual((status, out), (0, ""))
            for line in ("> GET /admin/peers HTTP/1.1", "> Authorization: Bearer …", "< HTTP/1.1 200"):
                self.assertIn(line, err.splitlines())
            self.assertNotIn("very-secret", err)
            self.assertEqual(command("peers", "list", "--server", server.url), (0, "", ""))

    @unittest.skipIf(MISSING, MISSING)
    def test_v_shows_what_is_signed(self) -> None:
        with running_server() as server:
            words = ("--seed-b64u", SEED, "--method", "GET")
            _, out, err = command("sign", "-v", "--server", server.url, *words)
        self.assertIn('= "@method": GET\n= "@target-uri": ' + server.url + "/objects\n", err)
        self.assertIn('= "@signature-params": ("@method" "@target-uri")', err)
        self.assertEqual(json.loads(out)["count"], 0)

    def test_colours_are_for_terminals_that_want_them(self) -> None:
        with mock.patch.object(sys, "stdout", mock.Mock(isatty=lambda: True)):
            for environ, wanted in (({}, "\x1b[33mx\x1b[0m"), ({"NO_COLOR": "1"}, "x"), ({"TERM": "dumb"}, "x")):
                with mock.patch.dict(os.environ, environ, clear=True):
                    self.assertEqual(coloured("x", "33"), wanted)
        with mock.patch.object(sys, "stdout", io.StringIO()), mock.patch.dict(os.environ, {}, clear=True):
            self.assertEqual(coloured("x", "33"), "x")


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
        with mock.patch.dict(objects.PARTS, dict.fromkeys(objects.PARTS, lambda plan, report: plans.append(plan))):
            status, out, _ = command("bench", "--rounds", "3", "--no-pin")
        self.assertEqual(status, 0)
        self.assertEqual(plans, [Plan(rounds=3)] * len(objects.PARTS))
        self.assertIn("processes not pinned", out)

    def test_a_run_that_cannot_be_finished_is_status_1_and_one_sentence(self) -> None:
        def part(plan: Plan, report: Report) -> None:
            raise BenchmarkFailed("The server closed a connection under load.")

        with mock.patch.dict(objects.PARTS, {"start": part}):
            status, _, err = command("bench", "objects", "--no-pin", "--part", "start")
        self.assertEqual(status, 1)
        self.assertEqual(err, "bench: The server closed a connection under load.\n")

    def test_its_figures_are_one_json_document_and_the_lines_are_beside_it(self) -> None:
        def part(plan: Plan, report: Report) -> None:
            report.table({"POST ours": [Result(100, 2.0, [0.001, 0.002])]}, {"POST ours": 40.0})
            report.goal("POST beside another", 1.5, at_least=1.6, unit="x")
            report.goal("resident", 40.0, unit=" MB")

        for words in (("bench", "--json", "objects"), ("bench", "objects", "--json"), ("bench", "--json")):
            with self.subTest(words), mock.patch.dict(objects.PARTS, {"start": part}, clear=True):
                status, out, err = command(*words, "--no-pin")
            told = json.loads(out)
            self.assertEqual((status, told["benchmark"], told["plan"]["rounds"]), (0, "objects", 5))
            row = {"name": "POST ours", "per_second": 50.0, "p50_ms": 2.0, "p99_ms": 2.0, "resident_mb": 40.0}
            self.assertEqual(told["rows"], [{"part": "start", **row}])
            missed = {"what": "POST beside another", "measured": 1.5, "unit": "x", "at_least": 1.6, "reached": False}
            known = {"what": "resident", "measured": 40.0, "unit": "MB"}
            self.assertEqual(told["goals"], [{"part": "start", **missed}, {"part": "start", **known}])
            self.assertIn("MISSED   POST beside another: 1.50x (goal: at least 1.6x)\n", err)


if __name__ == "__main__":
    unittest.main()
