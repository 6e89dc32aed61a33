"""``python -m omp log`` as its users meet it: two devices, servers in between, and all that goes wrong on the way."""

from __future__ import annotations

import argparse
import gc
import json
import os
import shlex
import stat
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from omp.protocols.oplog.operation import CLAIM, EVIDENCE, GRANT
from omp.rules.engines import secret_keys
from omp.tests.harness import answering, command, raw_server, running_server
from omp.tests.test_signing_tools import MISSING, HandwrittenKeys
from omp.tools import log as log_tool
from omp.tools.log import files, selecting, text
from omp.tools.terminal import Failed

TOP = Path(__file__).resolve().parents[2]
STRICT = {"OMP_SIG_MODE": "strict"}
COMMANDS = [work.__name__ for work, _, _ in log_tool._COMMANDS]
ANOTHER_LOG = "omp:id:ed25519:" + "A" * 43

# The command in a process of its own, with test keys where there is no package to hold real ones.
_PROCESS = """
import os, resource, sys
from omp.__main__ import main
from omp.tests.test_signing_tools import MISSING, HandwrittenKeys
from omp.tools.log import files
if MISSING:
    files.secret_keys = HandwrittenKeys
if limit := os.environ.get("LARGEST_FILE"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
sys.exit(main(sys.argv[1:]))
"""


class LogCase(unittest.TestCase):
    """A folder with the files of several devices, and the command in this process."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        if MISSING:
            self.enterContext(mock.patch.object(files, "secret_keys", HandwrittenKeys))

    def file(self, device: str = "phone") -> Path:
        return self.folder / f"{device}.ndjson"

    def command(self, device: str, name: str, *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """(status, standard output, standard error) of ``python -m omp log NAME --log DEVICE …``."""
        return command("log", name, "--log", str(self.file(device)), *words, stdin=stdin)

    def done(self, device: str, name: str, *words: str, stdin: bytes = b"") -> str:
        """What a command that succeeds prints."""
        status, said, complained = self.command(device, name, *words, stdin=stdin)
        self.assertEqual((status, "" if name == "init" else complained), (0, ""), complained)
        return said.rstrip("\n")

    def refused(self, device: str, name: str, *words: str) -> str:
        """The one sentence of a command that fails, having printed nothing else."""
        status, said, complained = self.command(device, name, *words)
        self.assertEqual((status, said, complained.count("\n")), (1, "", 1), (said, complained))
        self.assertTrue(complained.startswith("log: "), complained)
        return complained

    def lines(self, device: str = "phone") -> list[bytes]:
        return self.file(device).read_bytes().splitlines(keepends=True)

    def state(self, device: str) -> str:
        """The state ID that `show` prints."""
        return next(line.split()[1] for line in self.done(device, "show").splitlines() if line.startswith("state"))

    def phone(self) -> str:
        """A new log on the phone: its ID."""
        return self.done("phone", "init")

    def process(self, device: str, *words: str, **environ: str) -> subprocess.Popen[str]:
        name, *rest = words
        return subprocess.Popen(
            [sys.executable, "-c", _PROCESS, "log", name, "--log", str(self.file(device)), *rest],
            cwd=TOP,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


class Writing(LogCase):
    """What one device does without any server."""

    def test_init_makes_a_root_key_that_is_its_owners_alone(self) -> None:
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
        self.assertIn("none: not JSON", self.refused("phone", "claim", "a.b", '{"title":'))

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

    def test_a_log_is_readable_to_its_owner_only(self) -> None:
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

    def test_what_names_nothing_is_said(self) -> None:
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

    def test_an_operation_of_another_type_is_named_as_what_it_is(self) -> None:
        self.phone()
        claim = self.done("phone", "claim", "a.b", "c")
        error = self.refused("phone", "revoke", claim)
        self.assertIn("is of type claim-assert, and permission-grant is asked for", error)

    def test_digits_that_begin_several_operations_are_ambiguous_unless_the_type_tells(self) -> None:
        ids = [f"omp:op:sha256:abcd{number}" + "0" * 59 for number in range(3)]
        entries = [SimpleNamespace(id=one, type=kind) for one, kind in zip(ids, (CLAIM, CLAIM, GRANT), strict=True)]
        replica: Any = SimpleNamespace(operations=lambda: iter(entries), entry=lambda name: None)
        with self.assertRaisesRegex(Failed, "abcd begins 2 operations: abcd00000000… abcd10000000…"):
            selecting.find(replica, "abcd", CLAIM)
        self.assertEqual(selecting.find(replica, "abcd", GRANT).id, ids[2])
        self.assertEqual(selecting.find(replica, "abcd1").id, ids[1])
        with self.assertRaisesRegex(Failed, "evidence-ingest is asked for"):
            selecting.find(replica, "abcd", EVIDENCE)


class Files(LogCase):
    """Key files and log files that are not as they should be."""

    def test_a_key_is_never_overwritten(self) -> None:
        self.phone()
        key = self.file().with_suffix(".key")
        before = key.read_bytes()
        self.assertIn("is there already", self.refused("phone", "init"))
        self.assertEqual(key.read_bytes(), before)

    def test_init_minds_the_log_that_is_there(self) -> None:
        log = self.phone()
        self.done("phone", "claim", "a.b", "c")
        another = f"--key={self.folder / 'another.key'}"
        self.assertIn("holds a log already", self.refused("phone", "init", another))
        self.assertIn("holds a log already", self.refused("phone", "init", another, "--device-of", ANOTHER_LOG))
        self.assertIn("must be the ID of a log", self.refused("phone", "init", another, "--device-of", "x"))
        self.assertFalse((self.folder / "another.key").exists())
        self.assertRegex(self.done("phone", "init", another, "--device-of", log), "^omp:key:ed25519:")

    def test_a_key_that_others_can_read_is_refused(self) -> None:
        self.phone()
        key = self.file().with_suffix(".key")
        for mode in (0o640, 0o604, 0o660):
            key.chmod(mode)
            self.assertIn(f"chmod 600 {key}", self.refused("phone", "claim", "a.b", "c"))
        self.assertFalse(self.file().exists())

    def test_key_files_that_are_none_are_refused(self) -> None:
        key = self.file().with_suffix(".key")
        self.assertIn("`init` makes one", self.refused("phone", "claim", "a.b", "c"))
        seed = "A" * 43
        for data in (
            b"",
            b"{}",
            b"[]",
            b"\xff",
            b"[" * 100_000,
            json.dumps({"log": ANOTHER_LOG, "ed25519_seed": "AA"}).encode(),
            json.dumps({"log": ANOTHER_LOG, "ed25519_seed": 7}).encode(),
            json.dumps({"log": 7, "ed25519_seed": seed}).encode(),
            json.dumps({"log": "omp:id:x", "ed25519_seed": seed}).encode(),
        ):
            key.write_bytes(data)
            key.chmod(0o600)
            self.assertIn(str(key), self.refused("phone", "claim", "a.b", "c"))

    def test_paths_that_hold_no_log_are_refused(self) -> None:
        self.phone()
        key = self.file().with_suffix(".key")
        for path in (".", "/", str(self.folder), str(self.folder / "nowhere" / "x.ndjson"), str(key)):
            with self.subTest(path):
                self.refused(
                    "phone", "claim", "a.b", "c", "--log", path, *(() if path == str(key) else (f"--key={key}",))
                )
        self.assertIn("no file that a log can be in", self.refused("phone", "claim", "a.b", "c", "--log", "."))
        self.assertIn("cannot be opened", self.refused("phone", "show", "--log", str(self.folder)))

    def test_a_log_of_somebody_else_is_not_written_to(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "c")
        self.done("stranger", "init")
        before = self.file().read_bytes()
        error = self.refused("phone", "claim", "a.b", "c", "--key", str(self.file("stranger").with_suffix(".key")))
        self.assertIn("line 1", error)
        self.assertEqual(self.file().read_bytes(), before)

    def test_nothing_to_read_is_said(self) -> None:
        self.assertIn("holds no operation", self.refused("phone", "show"))
        log = self.phone()
        self.assertEqual(self.done("phone", "show").splitlines()[0], f"log    {log}")
        self.assertIn("cannot be read", self.refused("phone", "verify"))
        self.file().touch()
        self.assertIn("There is no operation in it", self.refused("phone", "verify"))

    def test_a_torn_last_line_is_not_read_and_is_cut_off_by_the_next_append(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "first")
        whole = self.file().read_bytes()
        for torn in (b"{", whole[:-1], b"\xff" * 3):
            self.file().write_bytes(whole + torn)
            self.assertIn("1 operation, 1 head", self.done("phone", "show"))
            self.assertIn("1 operation holds", self.done("phone", "verify"))
        self.done("phone", "claim", "a.b", "second")
        self.assertTrue(self.file().read_bytes().startswith(whole))
        self.assertEqual([json.loads(line)["body"]["object"] for line in self.lines()], ["first", "second"])
        self.file("phone").write_bytes(whole[:-9])
        self.assertIn("0 operations", self.done("phone", "show"))

    def test_commands_at_once_wait_for_each_other(self) -> None:
        self.phone()
        processes = [self.process("phone", "claim", "a.b", str(number)) for number in range(6)]
        for process in processes:
            self.assertEqual((process.communicate(timeout=60)[1], process.returncode), ("", 0))
        made = [json.loads(line) for line in self.lines()]
        self.assertEqual([one["seq"] for one in made], [1, 2, 3, 4, 5, 6])
        self.assertEqual(sorted(one["body"]["object"] for one in made), list(range(6)))
        self.assertIn("6 operations hold", self.done("phone", "verify"))

    def test_a_disk_that_is_full_leaves_the_log_as_it_was(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "c")
        before = self.file().read_bytes()
        for room in (0, 100):  # the system takes the first bytes, and only then says that there is no more room
            process = self.process("phone", "claim", "a.b", "d", LARGEST_FILE=str(len(before) + room))
            said, complained = process.communicate(timeout=60)
            self.assertEqual((process.returncode, said, complained.count("\n")), (1, "", 1), complained)
            self.assertIn("cannot be written, and is as it was", complained)
            self.assertEqual(self.file().read_bytes(), before)
        self.done("phone", "claim", "a.b", "d")
        self.assertIn("2 operations hold", self.done("phone", "verify"))

    def test_a_key_that_does_not_fit_on_the_disk_is_taken_away_again(self) -> None:
        process = self.process("phone", "init", LARGEST_FILE="10")
        said, complained = process.communicate(timeout=60)
        self.assertEqual((process.returncode, said, complained.count("\n")), (1, "", 1), complained)
        self.assertEqual(list(self.folder.iterdir()), [])

    @unittest.skipIf(hasattr(os, "geteuid") and os.geteuid() == 0, "root may write to any file")
    def test_a_file_that_cannot_be_written_to_is_said(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "c")
        self.file().chmod(0o400)
        self.assertIn("cannot be opened: Permission denied", self.refused("phone", "claim", "a.b", "c"))
        self.assertIn("1 operation", self.done("phone", "show"))

    @unittest.skipUnless(os.path.exists("/dev/full"), "this system has no file that is always full")
    def test_an_output_that_cannot_be_written_is_one_sentence(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "c")
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "omp", "log", "show", "--log", str(self.file())],
                cwd=TOP, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn("No space left", done.stderr)

    def test_a_terminal_without_the_letters_gets_escapes(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "né")
        done = subprocess.run(
            [sys.executable, "-m", "omp", "log", "show", "--log", str(self.file())],
            cwd=TOP, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b'"n\\xe9"', done.stdout)

    def test_evidence_that_cannot_be_read_is_said(self) -> None:
        self.phone()
        self.assertIn("cannot be read: No such file", self.refused("phone", "ingest", str(self.folder / "nowhere")))
        self.assertIn("cannot be read: Is a directory", self.refused("phone", "ingest", str(self.folder)))
        words = [sys.executable, "-c", _PROCESS, "log", "ingest", "-", "--log", str(self.file())]
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", *words],
            cwd=TOP,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        complaint = "log: Standard input cannot be read: it is closed.\n"
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", complaint))


class Verifying(LogCase):
    """`verify` over a log that was tampered with."""

    def setUp(self) -> None:
        super().setUp()
        self.phone()
        self.ids = [self.done("phone", "claim", "a.b", word) for word in ("one", "two", "three")]

    def changed(self, number: int, old: bytes, new: bytes) -> None:
        lines = self.lines()
        self.assertIn(old, lines[number])
        lines[number] = lines[number].replace(old, new)
        self.file().write_bytes(b"".join(lines))

    def test_a_log_that_holds_gives_the_state_id_that_show_gives(self) -> None:
        self.assertEqual(self.done("phone", "verify"), f"3 operations hold\n{self.state('phone')}")

    def test_an_export_in_any_order_from_standard_input(self) -> None:
        data = b"\n\n".join(line.strip() for line in reversed(self.lines()))
        self.assertEqual(self.done("phone", "verify", "-", stdin=data), f"3 operations hold\n{self.state('phone')}")

    def test_a_signature_of_another_operation_is_named(self) -> None:
        signatures = [json.loads(line)["sig"].encode() for line in self.lines()]
        self.changed(1, signatures[1], signatures[0])
        error = self.refused("phone", "verify")
        self.assertIn(f"Operation {self.ids[1]} does not hold: ERR_SIGNATURE. (1 of 3 operations hold)", error)

    def test_a_changed_word_makes_another_operation_that_nobody_signed(self) -> None:
        self.changed(2, b'"three"', b'"third"')
        error = self.refused("phone", "verify")
        self.assertRegex(error, r"Operation omp:op:sha256:[0-9a-f]{64} does not hold: ERR_SIGNATURE\. \(2 of 3")
        self.assertNotIn(self.ids[2], error)

    def test_a_line_that_was_taken_out_is_missed_by_what_builds_on_it(self) -> None:
        self.file().write_bytes(self.lines()[0] + self.lines()[2])
        error = self.refused("phone", "verify")
        self.assertIn(f"Operation {self.ids[2]} does not hold: an ancestor is missing. (1 of 2", error)
        self.assertIn("line 2: an operation before it is missing", self.refused("phone", "show"))

    def test_a_line_that_is_no_operation_is_named_by_its_number_in_the_file(self) -> None:
        lines = self.lines()
        for line, words in ((b"junk\n", "Line 4 is not canonical JSON."), (b"{}\n", "Line 4 is not an operation.")):
            self.file().write_bytes(lines[0] + b"\n" + lines[1] + line + lines[2])
            self.assertIn(words, self.refused("phone", "verify"))
            self.assertIn("line 4: ", self.refused("phone", "show"))

    def test_a_truncated_export_is_noticed(self) -> None:
        export = self.folder / "export"
        export.write_bytes(self.file().read_bytes()[:-10])
        self.assertIn("Line 3 is not canonical JSON.", self.refused("phone", "verify", str(export)))


class Exchanging(LogCase):
    """`push`, `pull` and `sync`."""

    def two_devices(self, *options: str) -> str:
        """The log of a phone with two operations, the second of which is a grant to the laptop."""
        log = self.phone()
        self.done("phone", "claim", "name.first", "Ada")
        laptop = self.done("laptop", "init", "--device-of", log)
        self.done("phone", "grant", laptop, *options)
        return log

    def test_the_whole_life_of_two_devices(self) -> None:
        self.two_devices("--caps", "author,infer,read")
        server = self.enterContext(running_server())
        entry = self.folder / "dentist.ics"
        entry.write_bytes(b"BEGIN:VCALENDAR\nEND:VCALENDAR\n")
        evidence = self.done("phone", "ingest", str(entry), "--source", "calendar:ics")
        claim = self.done(
            "phone", "claim", "calendar.event", '{"title":"Dentist"}', "--from", evidence[:30], "--method", "r/1"
        )
        state = self.state("phone")
        self.assertEqual(self.done("phone", "push", server.url), f"pushed 4 operations\nstate {state} on both sides")
        self.assertEqual(self.done("laptop", "pull", server.url), f"pulled 4 operations\nstate {state} on both sides")
        # Both go on without the other.
        self.done("laptop", "refute", evidence, "--reason", "cancelled by phone")
        self.done("laptop", "infer", claim, "--purpose", "summary", "--model", "small-1")
        self.done("phone", "correct", claim, "--reason", "moved")
        self.assertIn("pushed 2 operations", self.done("laptop", "push", server.url))
        pushed = self.done("phone", "push", server.url).splitlines()
        self.assertEqual(pushed[0], "pushed 1 operation")
        self.assertRegex(pushed[1], r"^here 5 operations, there 7 operations: pull what is missing here")
        self.assertIn("pulled 2 operations", self.done("phone", "pull", server.url))
        self.assertIn("pulled 1 operation\n", self.done("laptop", "pull", server.url))
        self.assertEqual(self.state("phone"), self.state("laptop"))
        self.assertEqual(self.done("phone", "verify").split()[-1], self.state("phone"))
        self.assertEqual(self.done("phone", "show", "--json"), self.done("laptop", "show", "--json"))
        why = self.done("phone", "why", claim[:26])
        self.assertIn(f"superseded, tainted by {text.short(evidence)}", why)
        self.assertIn("cancelled by phone", why)
        # The laptop is lost: what it writes from now on, in whatever the phone has not seen, is void.
        grant = next(line.split()[1] for line in self.done("phone", "show").splitlines() if line.startswith("grant"))
        late = self.done("laptop", "claim", "name.first", "Eve")
        self.done("phone", "revoke", grant, "--reason", "lost")
        self.done("phone", "push", server.url)
        self.done("laptop", "push", server.url)
        self.done("phone", "pull", server.url)
        self.assertIn(f'claim {text.short(late)} void: self name.first "Eve"', self.done("phone", "show"))
        self.assertIn(
            f"revocation {text.short(json.loads(self.done('phone', 'why', '--json', late))['changed_by'][0])}: lost",
            self.done("phone", "why", late),
        )

    def test_nothing_new_is_nothing_sent(self) -> None:
        self.two_devices()
        server = self.enterContext(running_server())
        self.done("phone", "push", server.url)
        self.assertIn("pushed 0 operations\nstate ", self.done("phone", "push", server.url))
        before = self.file().read_bytes()
        self.assertIn("pulled 0 operations\nstate ", self.done("phone", "pull", server.url))
        self.assertEqual(self.file().read_bytes(), before)

    def test_a_log_that_nobody_has_yet(self) -> None:
        self.phone()
        server = self.enterContext(running_server())
        for name in ("push", "pull"):
            self.assertRegex(self.done("phone", name, server.url), "neither has anything of this log$")
        self.assertRegex(self.done("phone", "sync", server.url, server.url), "neither has anything of this log$")
        self.assertFalse(self.file().exists())

    def test_a_copy_is_pulled_without_any_key(self) -> None:
        log = self.two_devices()
        server = self.enterContext(running_server())
        self.done("phone", "push", server.url)
        self.assertIn("Which log?", self.refused("copy", "pull", server.url))
        self.assertIn("must be the ID of a log", self.refused("copy", "pull", server.url, "--id", "x"))
        self.done("copy", "pull", server.url, "--id", log)
        self.assertEqual(self.file("copy").read_bytes(), self.file().read_bytes())
        self.assertIn("line 1", self.refused("copy", "pull", server.url, "--id", ANOTHER_LOG))

    def test_more_than_a_batch_is_sent_in_several(self) -> None:
        self.two_devices()
        server = self.enterContext(running_server())
        with mock.patch("omp.tools.log.peers.BATCH_LINES", 1):
            self.assertIn("pushed 2 operations", self.done("phone", "push", server.url))
        self.done("phone", "claim", "a.b", "x" * 900)
        self.done("phone", "claim", "a.b", "y" * 900)
        with mock.patch("omp.tools.log.peers.BATCH_BYTES", 1000):
            self.assertIn("pushed 2 operations", self.done("phone", "push", server.url))

    def test_two_servers_are_made_equal(self) -> None:
        self.two_devices()
        one, two = self.enterContext(running_server()), self.enterContext(running_server())
        self.done("phone", "push", one.url)
        self.done("laptop", "pull", one.url)
        self.done("laptop", "claim", "a.b", "laptop")
        self.done("laptop", "push", two.url)
        self.done("phone", "claim", "a.b", "phone")
        self.done("phone", "push", one.url)
        printed = self.done("phone", "sync", one.url, two.url).splitlines()
        self.assertEqual(printed[0], f"{one.url} had 1 operation to give, {two.url} 1 operation")
        self.done("phone", "pull", two.url)
        self.assertEqual(printed[1], f"state {self.state('phone')} on both sides")

    def test_a_strict_server_is_read_with_signatures_by_those_who_may(self) -> None:
        log = self.two_devices("--caps", "author,read")
        reader = self.done("reader", "init", "--device-of", log)
        self.done("phone", "grant", reader, "--caps", "read")
        one, two = self.enterContext(running_server(STRICT)), self.enterContext(running_server(STRICT))
        state = self.state("phone")
        self.assertIn(f"state {state} on both sides", self.done("phone", "push", one.url))
        self.assertIn(f"state {state} on both sides", self.done("laptop", "pull", one.url))
        self.assertIn(f"state {state} on both sides", self.done("phone", "sync", one.url, two.url))
        # Who may read only its projection, and who is nobody, can still bring operations.
        self.assertIn("refused (403)", self.refused("reader", "pull", one.url))
        self.assertIn("refused (401)", self.refused("copy", "pull", one.url, "--id", log))
        self.file("reader").write_bytes(self.file().read_bytes())
        self.file("copy").write_bytes(self.file().read_bytes())
        for device in ("reader", "copy"):
            printed = self.done(device, "push", two.url)
            self.assertEqual(
                printed, f"pushed 0 operations\nstate {state} here; the server does not tell this key its own"
            )

    def test_a_server_behind_a_path_and_a_name_in_capitals_is_signed_for_as_it_is_reached(self) -> None:
        self.two_devices()
        server = self.enterContext(running_server(STRICT))
        self.assertIn("pushed 2", self.done("phone", "push", f"http://LOCALHOST:{server.port}/"))

    def test_no_connection_is_left_open(self) -> None:
        self.two_devices()
        one, two = self.enterContext(running_server()), self.enterContext(running_server())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.done("phone", "push", one.url)
            self.done("phone", "sync", one.url, two.url)
            self.refused("phone", "push", one.url + "/elsewhere")
            gc.collect()
        self.assertEqual([str(one.message) for one in caught if one.category is ResourceWarning], [])

    def test_a_server_that_is_none_is_one_sentence(self) -> None:
        self.two_devices()
        for url, words in (
            ("http://127.0.0.1:1", "cannot be reached: Connection refused"),
            ("nonsense", "no base URL"),
            ("http://" + "a" * 70, "no host name"),
        ):
            for name, urls in (("push", (url,)), ("pull", (url,)), ("sync", (url, url))):
                self.assertIn(words, self.refused("phone", name, *urls))

    def answered(self, body: bytes, status: str = "200 OK") -> str:
        """The URL of a server that says the same to everything."""
        head = f"HTTP/1.1 {status}\nContent-Length: {len(body)}"
        return f"http://127.0.0.1:{self.enterContext(raw_server(answering(head, body)))}"

    def test_answers_that_are_none_of_this_protocol_are_noticed(self) -> None:
        self.two_devices()
        before = self.file().read_bytes()
        for body in (
            b"",
            b"<html>",
            b"[]",
            b"{}",
            b'{"heads":[1],"ops":1,"state":""}',
            b'{"heads":[],"ops":"1","state":""}',
        ):
            with self.subTest(body):
                url = self.answered(body)
                self.assertIn("is no operation log", self.refused("phone", "push", url))
                self.assertIn("is no operation log", self.refused("phone", "sync", url, url))
        for body in (b"<html>", b"{}\n{}", b"\xff"):
            error = self.refused("phone", "pull", self.answered(body))
            self.assertIn("cannot be taken in; the first: it has no ID, ERR_", error)
        self.assertEqual(self.file().read_bytes(), before)

    def test_of_what_a_server_sends_only_what_holds_is_kept(self) -> None:
        self.two_devices()
        first, second = self.lines()
        forged = second.replace(json.loads(second)["sig"].encode(), json.loads(first)["sig"].encode())
        error = self.refused("laptop", "pull", self.answered(first + forged))
        self.assertRegex(error, r"1 operation that the server sent .*ERR_SIGNATURE \(1 operation could, and are kept\)")
        self.assertEqual(self.lines("laptop"), [first])
        error = self.refused("watch", "pull", self.answered(second), "--id", json.loads(first)["log"])
        self.assertIn("an ancestor is missing (0 operations could", error)
        self.assertFalse(self.lines("watch"))

    def test_what_a_server_says_cannot_move_the_cursor(self) -> None:
        self.two_devices()
        said = json.dumps({"error": {"message": "no\x1b[2J\nlog: all is well \u202e"}}).encode()
        error = self.refused("phone", "push", self.answered(said, "503 Service Unavailable"))
        self.assertEqual(error, "log: The server refused (503): no\\x1b[2J\\nlog: all is well \\u202e\n")
        state = json.dumps({"heads": [], "ops": 3, "state": "\x1b[2J"}).encode()
        printed = self.refused("phone", "sync", url := self.answered(state), url)
        self.assertIn("is no operation log", printed)

    def test_a_server_that_refuses_operations_is_named_with_the_first(self) -> None:
        self.two_devices()
        server = self.enterContext(running_server())
        lines = self.lines()
        signature = json.loads(lines[0])["sig"].encode()
        self.file().write_bytes(lines[0] + lines[1].replace(json.loads(lines[1])["sig"].encode(), signature))
        error = self.refused("phone", "push", server.url)
        self.assertRegex(error, rf"{server.url} refused 1 operation; the first: omp:op:sha256:\w+, ERR_SIGNATURE")


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

    def test_json_that_is_made_printable_says_the_same(self) -> None:
        self.phone()
        claim = self.done("phone", "claim", "a.b", self.NASTY + "é🦊")
        shown = json.JSONDecoder().raw_decode(self.done("phone", "show", claim))[0]
        self.assertEqual(shown["body"]["object"], self.NASTY + "é🦊")
        self.assertEqual(json.loads(self.done("phone", "why", "--json", claim))["body"]["object"], self.NASTY + "é🦊")
        self.assertIn("é🦊", self.done("phone", "show", claim))

    def test_long_text_is_cut_where_people_read_it(self) -> None:
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
        self.assertEqual(len(COMMANDS), 14)
        for name in COMMANDS:
            with self.subTest(name):
                status, said, complained = command("log", name, "--help")
                self.assertEqual((status, complained), (0, ""))
                examples = said.split("examples:\n")[1].splitlines()
                self.assertTrue(all(line.startswith(f"  python -m omp log {name}") for line in examples), examples)

    def test_every_example_is_a_call_that_is_understood(self) -> None:
        parser = argparse.ArgumentParser()
        log_tool.configure(parser)
        for work, _, examples in log_tool._COMMANDS:
            for example in examples:
                with self.subTest(example):
                    words = shlex.split(example.split(" < ")[0])
                    self.assertIs(parser.parse_args(words).work, work)


if __name__ == "__main__":
    unittest.main()
