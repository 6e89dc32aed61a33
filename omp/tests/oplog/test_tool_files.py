"""The files of ``python -m omp log``: keys and logs that are not as they should be, and what `verify` says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest

from omp.tests import TOP
from omp.tests.oplog.devices import ANOTHER_LOG, PROCESS, LogCase
from omp.tools.log.files import numbered


class Files(LogCase):
    """Key files and log files that are not as they should be."""

    def test_a_key_is_never_overwritten(self) -> None:
        self.phone()
        key = self.file().with_suffix(".key")
        before = key.read_bytes()
        self.assertIn("is there already", self.refused("phone", "init"))
        self.assertEqual(key.read_bytes(), before)

    def test_init_respects_an_existing_log(self) -> None:
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

    def test_broken_key_files_are_refused(self) -> None:
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

    def test_paths_that_cannot_hold_a_log_are_refused(self) -> None:
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

    def test_nothing_to_read_is_one_sentence(self) -> None:
        self.assertIn("holds no operation", self.refused("phone", "show"))
        log = self.phone()
        self.assertEqual(self.done("phone", "show").splitlines()[0], f"log    {log}")
        status, said, complained = self.command("phone", "verify")
        self.assertEqual((status, said), (2, ""))  # not 1, which says that it does not hold
        self.assertRegex(complained, r"\Alog: .* cannot be read: .*\n\Z")
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

    def test_a_full_disk_leaves_the_log_unchanged(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "c")
        before = self.file().read_bytes()
        for room in (0, 100):  # the system takes the first bytes, and only then says that there is no more room
            process = self.process("phone", "claim", "a.b", "d", LARGEST_FILE=str(len(before) + room))
            said, complained = process.communicate(timeout=60)
            self.assertEqual((process.returncode, said, complained.count("\n")), (1, "", 1), complained)
            self.assertIn("cannot be written, and is unchanged", complained)
            self.assertEqual(self.file().read_bytes(), before)
        self.done("phone", "claim", "a.b", "d")
        self.assertIn("2 operations hold", self.done("phone", "verify"))

    def test_a_key_that_does_not_fit_on_the_disk_is_removed(self) -> None:
        process = self.process("phone", "init", LARGEST_FILE="10")
        said, complained = process.communicate(timeout=60)
        self.assertEqual((process.returncode, said, complained.count("\n")), (1, "", 1), complained)
        self.assertEqual(list(self.folder.iterdir()), [])

    @unittest.skipIf(hasattr(os, "geteuid") and os.geteuid() == 0, "root may write to any file")
    def test_a_read_only_file_is_one_sentence(self) -> None:
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

    def test_a_terminal_that_lacks_a_character_gets_an_escape(self) -> None:
        self.phone()
        self.done("phone", "claim", "a.b", "né")
        done = subprocess.run(
            [sys.executable, "-m", "omp", "log", "show", "--log", str(self.file())],
            cwd=TOP, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b'"n\\xe9"', done.stdout)

    def test_evidence_that_cannot_be_read_is_one_sentence(self) -> None:
        self.phone()
        self.assertIn("cannot be read: No such file", self.refused("phone", "ingest", str(self.folder / "nowhere")))
        self.assertIn("cannot be read: Is a directory", self.refused("phone", "ingest", str(self.folder)))
        words = [sys.executable, "-c", PROCESS, "log", "ingest", "-", "--log", str(self.file())]
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

    def test_a_valid_log_gives_the_state_id_that_show_prints(self) -> None:
        self.assertEqual(self.done("phone", "verify"), f"3 operations hold\n{self.state('phone')}")

    def test_an_export_in_any_order_from_standard_input(self) -> None:
        data = b"\n\n".join(line.strip() for line in reversed(self.lines()))
        self.assertEqual(self.done("phone", "verify", "-", stdin=data), f"3 operations hold\n{self.state('phone')}")

    def test_lines_that_end_as_on_windows(self) -> None:
        data = b"\r\n".join(line.strip() for line in self.lines()) + b"\r\n"
        self.assertEqual(self.done("phone", "verify", "-", stdin=data), f"3 operations hold\n{self.state('phone')}")
        self.file().write_bytes(data)
        self.done("phone", "claim", "a.b", "four")
        self.assertEqual(self.done("phone", "verify"), f"4 operations hold\n{self.state('phone')}")

    def test_another_carriage_return_belongs_to_its_line(self) -> None:
        found = [(1, b"a\r"), (3, b"b\rc"), (4, b"\r")]
        self.assertEqual(list(numbered(b"a\r\r\n\r\nb\rc\n\r")), found)

    def test_a_signature_of_another_operation_is_named(self) -> None:
        signatures = [json.loads(line)["sig"].encode() for line in self.lines()]
        self.changed(1, signatures[1], signatures[0])
        error = self.refused("phone", "verify")
        self.assertIn(f"Operation {self.ids[1]} does not hold: ERR_SIGNATURE. (1 of 3 operations hold)", error)

    def test_a_changed_word_makes_another_operation_with_an_invalid_signature(self) -> None:
        self.changed(2, b'"three"', b'"third"')
        error = self.refused("phone", "verify")
        self.assertRegex(error, r"Operation omp:op:sha256:[0-9a-f]{64} does not hold: ERR_SIGNATURE\. \(2 of 3")
        self.assertNotIn(self.ids[2], error)

    def test_a_removed_line_is_a_missing_ancestor(self) -> None:
        self.file().write_bytes(self.lines()[0] + self.lines()[2])
        error = self.refused("phone", "verify")
        self.assertIn(f"Operation {self.ids[2]} does not hold: an ancestor is missing. (1 of 2", error)
        self.assertIn("line 2: an operation before it is missing", self.refused("phone", "show"))

    def test_a_line_that_is_not_an_operation_is_named_by_its_number(self) -> None:
        lines = self.lines()
        for line, words in ((b"junk\n", "Line 4 is not canonical JSON."), (b"{}\n", "Line 4 is not an operation.")):
            self.file().write_bytes(lines[0] + b"\n" + lines[1] + line + lines[2])
            self.assertIn(words, self.refused("phone", "verify"))
            self.assertIn("line 4: ", self.refused("phone", "show"))

    def test_a_truncated_export_is_noticed(self) -> None:
        export = self.folder / "export"
        export.write_bytes(self.file().read_bytes()[:-10])
        self.assertIn("Line 3 is not canonical JSON.", self.refused("phone", "verify", str(export)))


if __name__ == "__main__":
    unittest.main()
