"""``python -m omp log`` as one device's owner meets it: writing, naming operations, reading, help."""

from __future__ import annotations

import argparse
import json
import shlex
import stat
import sys
import unittest
from types import SimpleNamespace
from typing import Any
from unittest import mock

from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT
from omp.rules.engines import secret_keys
from omp.tests.harness import command
from omp.tests.oplog.devices import LogCase
from omp.tools import log as log_tool
from omp.tools.log import files, selecting, text
from omp.tools.terminal import Failed


class Writing(LogCase):
    """What one device does without any server."""

    def test_init_makes_a_root_key_that_only_its_owner_can_read(self) -> None:
        log = self.phone()
        self.assertRegex(log, "omp:id:ed25519:[A-Za-z0-9_-]{43}")
        key = self.file().with_suffix(".key")
        self.assertEqual(json.loads(key.read_text())["log"], log)
        self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)

    def test_each_command_prints_the_id_of_what_it_appended(self) -> None:
        self.phone()
        evidence = self.done("phone", "ingest", "-", "--media-type", "text/plain", stdin=b"dentist at ten")
        claim = self.done(
            "phone", "claim", "calendar.event", '{"title":"Dentist"}', "--from", evidence, "--method", "r/1"
        )
        better = self.done("phone", "claim", "calendar.event", "Dentist at eleven")
        correction = self.done("phone", "correct", claim, "--by", better, "--reason", "moved")
        call = self.done("phone", "infer", claim, evidence, "--purpose", "summary", "--model", "small-1")
        refutation = self.done("phone", "refute", evidence, "--reason", "cancelled")
        made = [json.loads(line) for line in self.lines()]
        self.assertEqual(
            [one["type"] for one in made],
            ["evidence-ingest", "claim-assert", "claim-assert", "correction", "inference-call", "refutation"],
        )
        for number, operation_id in enumerate((evidence, claim, better, correction, call, refutation)):
            shown = self.done("phone", "show", operation_id)
            self.assertEqual(json.JSONDecoder().raw_decode(shown)[0], {"id": operation_id, **made[number]})

    def test_show_and_why_tell_statuses_causes_and_taint(self) -> None:
        self.phone()
        evidence = self.done("phone", "ingest", "-", "--source", "calendar:ics", stdin=b"x" * 7)
        claim = self.done("phone", "claim", "calendar.event", "Dentist", "--from", evidence, "--method", "r/1")
        self.done("phone", "refute", evidence, "--reason", "cancelled")
        refutation = self.done("phone", "show").splitlines()
        short = text.short(evidence)
        self.assertIn("3 operations, 1 head", refutation)
        self.assertIn(
            f'claim {text.short(claim)} active, tainted by {short}: self calendar.event "Dentist"', refutation
        )
        self.assertIn(f"evidence {short} refuted: calendar:ics application/octet-stream, 7 bytes", refutation)
        why = self.done("phone", "why", claim).splitlines()
        self.assertEqual(why[0], f'claim {text.short(claim)} active, tainted by {short}: self calendar.event "Dentist"')
        self.assertEqual(why[1], f"  evidence {short} refuted: calendar:ics application/octet-stream, 7 bytes")
        self.assertRegex(why[2], r"^    refutation [0-9a-f]{12}…: cancelled$")
        tree = json.loads(self.done("phone", "why", "--json", claim))
        self.assertEqual((tree["id"], tree["sources"][0]["id"]), (claim, evidence))

    def test_evidence_is_typed_by_the_name_of_its_file(self) -> None:
        self.phone()
        types = {
            "dentist.ics": "text/calendar",
            "log.tar.gz": "application/octet-stream",
            "x": "application/octet-stream",
        }
        for name, media_type in types.items():
            (self.folder / name).write_bytes(b"7 bytes")
            self.done("phone", "ingest", str(self.folder / name))
            body = json.loads(self.lines()[-1])["body"]
            self.assertEqual((body["media_type"], body["size"]), (media_type, 7), name)

    def test_an_object_is_json_or_else_text(self) -> None:
        self.phone()
        for given, kept in (("Ada", "Ada"), ("12", 12), ("007", "007"), ("true", True), ('"12"', "12"), ("[1]", [1])):
            self.done("phone", "claim", "a.b", given)
            self.assertEqual(json.loads(self.lines()[-1])["body"]["object"], kept)
        self.assertIn("cannot be read: not JSON", self.refused("phone", "claim", "a.b", '{"title":'))

    def test_an_output_is_a_file_or_an_evidence_id(self) -> None:
        self.phone()
        claim = self.done("phone", "claim", "a.b", "c")
        summary = self.folder / "summary.txt"
        summary.write_bytes(b"c")
        words = ("infer", claim, "--purpose", "p", "--model", "m", "--output")
        self.done("phone", *words, str(summary))
        output = json.loads(self.lines()[-1])["body"]["output"]
        self.assertRegex(output, "omp:ev:sha256:[0-9a-f]{64}")
        self.done("phone", *words, output)
        self.assertEqual(json.loads(self.lines()[-1])["body"]["output"], output)

    def test_only_its_owner_can_read_a_log(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "c")
        self.assertEqual(stat.S_IMODE(self.file().stat().st_mode), 0o600)

    def test_a_device_writes_under_what_it_was_granted(self) -> None:
        log = self.phone()
        laptop = self.done("laptop", "init", "--device-of", log)
        caps = ("--caps", "author,delegate,infer,read", "--max-depth", "1")
        grant = self.done(
            "phone",
            "grant",
            laptop,
            *caps,
            "--predicates",
            "calendar.*",
            "--ops",
            "claim-assert,inference-call,permission-grant",
        )
        self.file("laptop").write_bytes(self.file().read_bytes())
        claim = self.done("laptop", "claim", "calendar.event", "Dentist")
        self.assertIn("ERR_AUTHZ", self.refused("laptop", "claim", "health.sleep", "8 h"))
        self.done("laptop", "infer", claim, "--purpose", "p", "--model", "m")
        self.assertEqual(json.loads(self.lines("laptop")[-1])["body"]["grant"], grant)
        watch = self.done("watch", "init", "--device-of", log)
        self.done("laptop", "grant", watch, "--predicates", "calendar.event", "--caps", "read", "--ops", "claim-assert")
        self.assertEqual(json.loads(self.lines("laptop")[-1])["body"]["parent"], grant)
        self.assertIn("ERR_AUTHZ", self.refused("laptop", "grant", watch, "--caps", "read", "--parent", grant))
        self.file("watch").write_bytes(self.file("laptop").read_bytes())
        words = ("infer", claim, "--purpose", "p", "--model", "m")
        self.assertIn("no grant in force that lets it infer", self.refused("watch", *words))
        self.done("laptop", "revoke", grant, "--reason", "sold")
        self.assertIn("ERR_AUTHZ", self.refused("laptop", "claim", "calendar.event", "Dentist"))

    def test_what_the_verifier_would_refuse_is_not_written(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "c")
        before = self.file().read_bytes()
        for words, code in (
            (("claim", "A B", "c"), "ERR_SCHEMA"),
            (("claim", "a.b", "1.5"), "ERR_CANONICAL"),
            (("claim", "a.b", "c", "--method", "rule:x"), "ERR_SCHEMA"),
            (("claim", "a.b", "c" * 17_000), "ERR_LIMIT"),
            (("claim", "a.b", "c", "--confidence", "1000001"), "ERR_RANGE"),
            (("claim", "a.b", "\udcff"), "ERR_CANONICAL"),
            (("grant", "omp:key:ed25519:x"), "ERR_SCHEMA"),
            (("grant", "omp:key:ed25519:" + "A" * 43, "--expires", "tomorrow"), "ERR_SCHEMA"),
        ):
            with self.subTest(words):
                self.assertIn(f"would be refused ({code})", self.refused("phone", *words))
        self.assertEqual(self.file().read_bytes(), before)


class NamingOperations(LogCase):
    """IDs by their first digits."""

    def test_four_digits_and_more_name_an_operation_as_they_are_shown(self) -> None:
        self.phone()
        claim = self.done("phone", "claim", "a.b", "c")
        digits = claim.removeprefix("omp:op:sha256:")
        for name in (claim, digits, digits[:4], text.short(claim), claim[:30]):
            self.assertIn(claim, self.done("phone", "show", name))

    def test_a_name_without_operation_is_one_sentence(self) -> None:
        self.phone()
        claim = self.done("phone", "claim", "a.b", "c")
        unknown = "0" * 12 if not claim.startswith("omp:op:sha256:0000") else "1" * 12
        for name, words in (
            (unknown, "There is no operation"),
            ("omp:op:sha256:" + unknown + "0" * 52, "There is no operation"),
            ("abc", "no operation ID"),
            ("xyz1", "no operation ID"),
            ("", "no operation ID"),
        ):
            self.assertIn(words, self.refused("phone", "show", name))

    def test_an_operation_of_the_wrong_type_is_refused_with_its_type(self) -> None:
        self.phone()
        claim = self.done("phone", "claim", "a.b", "c")
        error = self.refused("phone", "revoke", claim)
        self.assertIn("is of type claim-assert, but permission-grant is asked for", error)

    def test_ambiguous_digits_are_refused_unless_the_type_decides(self) -> None:
        ids = [f"omp:op:sha256:abcd{number}" + "0" * 59 for number in range(3)]
        entries = [SimpleNamespace(id=one, type=kind) for one, kind in zip(ids, (CLAIM, CLAIM, GRANT), strict=True)]
        replica: Any = SimpleNamespace(operations=lambda: iter(entries), entry=lambda name: None)
        with self.assertRaisesRegex(Failed, "abcd begins 2 operations: abcd00000000… abcd10000000…"):
            selecting.find(replica, "abcd", CLAIM)
        self.assertEqual(selecting.find(replica, "abcd", GRANT).id, ids[2])
        self.assertEqual(selecting.find(replica, "abcd1").id, ids[1])
        with self.assertRaisesRegex(Failed, "evidence-ingest is asked for"):
            selecting.find(replica, "abcd", EVIDENCE)


class Showing(LogCase):
    """Text of others on a terminal."""

    NASTY = "a\x1b[2J\x9b\r\nclaim 000000000000… active \u202e\x00"

    def test_what_others_wrote_cannot_move_the_cursor_or_break_the_line(self) -> None:
        self.phone()
        source = self.done("phone", "claim", "a.b", self.NASTY, "--subject", self.NASTY)
        self.done("phone", "refute", source, "--reason", self.NASTY)
        claim = self.done("phone", "claim", "a.b", "c", "--from", source, "--method", "r/1")
        self.done("phone", "infer", claim, "--model", self.NASTY, "--purpose", self.NASTY)
        for words in (("show",), ("show", source), ("why", claim), ("why", "--json", claim), ("show", "--json")):
            shown = self.done("phone", *words)
            self.assertTrue(all(line.isprintable() for line in shown.split("\n")), words)
        self.assertEqual(self.done("phone", "show").count("\n"), 5)

    def test_printable_json_has_the_same_value(self) -> None:
        self.phone()
        claim = self.done("phone", "claim", "a.b", self.NASTY + "é🦊")
        shown = json.JSONDecoder().raw_decode(self.done("phone", "show", claim))[0]
        self.assertEqual(shown["body"]["object"], self.NASTY + "é🦊")
        self.assertEqual(json.loads(self.done("phone", "why", "--json", claim))["body"]["object"], self.NASTY + "é🦊")
        self.assertIn("é🦊", self.done("phone", "show", claim))

    def test_long_text_is_cut_in_lines_for_people(self) -> None:
        self.phone()
        claim = self.done("phone", "claim", "a.b", "x" * 5000)
        for words in (("show",), ("why", claim)):
            self.assertLess(max(map(len, self.done("phone", *words).splitlines())), 200)
        self.assertIn("x" * 5000, self.done("phone", "show", claim))

    def test_a_deep_derivation_is_indented_only_so_far(self) -> None:
        self.phone()
        claim = self.done("phone", "claim", "a.b", "0")
        for number in range(1, text.SHOWN_LEVELS + 5):
            claim = self.done("phone", "claim", "a.b", str(number), "--from", claim, "--method", "r/1")
        lines = self.done("phone", "why", claim).splitlines()
        self.assertEqual(len(lines), text.SHOWN_LEVELS + 5)
        self.assertEqual(lines[-1].index("claim"), 2 * text.SHOWN_LEVELS)


class WithoutCryptography(LogCase):
    """What asks for the package, by name, and what does without."""

    def test_keys_need_it_and_reading_does_not(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "c")
        state = self.state("phone")
        hidden = {name: None for name in sys.modules if name.split(".")[0] == "cryptography"} | {"cryptography": None}
        with (
            mock.patch.dict(sys.modules, hidden),
            mock.patch.object(files, "secret_keys", secret_keys),
        ):
            for device, *words in (
                ("tablet", "init"),
                ("phone", "claim", "a.b", "c"),
                ("phone", "push", "http://127.0.0.1:1"),
            ):
                self.assertIn("pip install cryptography", self.refused(device, *words))
            self.assertEqual(self.done("phone", "verify"), f"1 operation holds\n{state}")
            self.assertEqual(self.state("phone"), state)
        self.assertFalse(self.file("tablet").with_suffix(".key").exists())


class Help(LogCase):
    def test_every_subcommand_explains_itself_with_examples_of_its_own(self) -> None:
        self.assertEqual(len(log_tool.COMMANDS), 16)
        for name in (work.__name__.rstrip("_") for work, _, _ in log_tool.COMMANDS):
            with self.subTest(name):
                status, said, complained = command("log", name, "--help")
                self.assertEqual((status, complained), (0, ""))
                examples = said.split("examples:\n")[1].splitlines()
                self.assertTrue(all(line.startswith(f"  python -m omp log {name}") for line in examples), examples)

    def test_every_example_can_be_parsed(self) -> None:
        parser = argparse.ArgumentParser()
        log_tool.configure(parser)
        for work, _, examples in log_tool.COMMANDS:
            for example in examples:
                with self.subTest(example):
                    words = shlex.split(example.split(" < ")[0])
                    self.assertIs(parser.parse_args(words).work, work)


if __name__ == "__main__":
    unittest.main()
