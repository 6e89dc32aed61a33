"""Key files of the tools, and what the tools show and read at the terminal."""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import os
import stat
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from omp.tests.harness import command
from omp.tools import terminal
from omp.tools.key_files import NoKeyFile, read_members, read_secret, write_members, write_secret
from omp.tools.log import text as log_text
from omp.tools.terminal import Failed, contents, printable_json, reason


class KeyFiles(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "me.key"

    def refused(self) -> str:
        with self.assertRaises(Failed) as caught:
            read_members(self.path, ("a", "b"), "make one.")
        return str(caught.exception)

    def test_what_was_written_is_read(self) -> None:
        write_secret(self.path, "sécret\n")
        self.assertEqual(read_secret(self.path, ""), "sécret\n")

    def test_members_are_read_in_the_order_asked_for(self) -> None:
        write_members(self.path, {"a": "1", "b": "2", "c": "3"})
        self.assertEqual(read_members(self.path, ("b", "a"), ""), ["2", "1"])

    def test_a_file_is_readable_only_by_its_owner_whatever_the_umask(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        write_secret(self.path, "x")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_no_file_is_overwritten_nor_a_link_followed(self) -> None:
        write_secret(self.path, "first")
        link = self.folder / "link"
        link.symlink_to(self.folder / "elsewhere")
        for path in (self.path, link, self.folder):
            with self.assertRaisesRegex(Failed, "is there already"):
                write_secret(path, "second")
        self.assertEqual(self.path.read_text(), "first")
        self.assertFalse((self.folder / "elsewhere").exists())

    def test_a_file_that_was_not_written_whole_is_removed(self) -> None:
        with (
            mock.patch.object(os, "fsync", side_effect=OSError(28, "No space left on device")),
            self.assertRaisesRegex(Failed, "cannot be written: No space left on device"),
        ):
            write_secret(self.path, "x")
        self.assertFalse(self.path.exists())

    def test_a_missing_folder_is_reported(self) -> None:
        with self.assertRaisesRegex(Failed, "cannot be made: No such file or directory"):
            write_secret(self.folder / "no" / "me.key", "x")

    def test_a_missing_file_has_an_exception_of_its_own(self) -> None:
        with self.assertRaisesRegex(NoKeyFile, f"^There is no key file {self.path}; make one.$"):
            read_secret(self.path, "make one.")

    def test_a_file_that_others_can_read_is_refused(self) -> None:
        write_members(self.path, {"a": "1", "b": "2"})
        for mode in (0o640, 0o604, 0o602, 0o610):
            self.path.chmod(mode)
            self.assertIn("can be read by others", self.refused())

    def test_a_file_that_is_no_key_file_is_refused(self) -> None:
        values: tuple[Any, ...] = ([], 7, None, {}, {"a": "1"}, {"a": "1", "b": 2}, {"a": ["1"], "b": "2"})
        for value in values:
            self.path.write_text(json.dumps(value))
            self.path.chmod(0o600)
            self.assertIn("must be a JSON object with a and b", self.refused())
        for data in (b"", b"{", b'{"a":"1","a":"2","b":"3"}', b"[" * 100_000):
            self.path.write_bytes(data)
            self.assertIn("must be a JSON object with a and b", self.refused())
        self.path.write_bytes(b"\xff")
        self.assertIn("it is not text", self.refused())

    def test_a_folder_is_no_key_file(self) -> None:
        self.path.mkdir(mode=0o700)
        self.assertIn("cannot be read: Is a directory", self.refused())


class Terminal(unittest.TestCase):
    def test_the_examples_in_the_documentation_are_true(self) -> None:
        for module in (terminal, log_text):
            result = doctest.testmod(module)
            self.assertEqual((result.failed, result.attempted > 0), (0, True), module.__name__)

    def test_printable_json_is_the_same_value_on_the_same_lines(self) -> None:
        value = {"a": '\x1b\x7f\x9b\u2028\u202e\U000e0001 é 🦊 \\ "', "b": [1, {"c": "\n"}]}
        for indent in (None, 2):
            given = json.dumps(value, ensure_ascii=False, indent=indent)
            shown = printable_json(given)
            self.assertEqual(json.loads(shown), value)
            self.assertEqual(shown.count("\n"), given.count("\n"))
            self.assertTrue(shown.replace("\n", "").isprintable())
            self.assertIn("é 🦊", shown)

    def test_every_error_has_a_reason(self) -> None:
        self.assertEqual(reason(OSError(2, "No such file or directory", "/secret")), "No such file or directory")
        self.assertEqual(reason(TimeoutError("timed out")), "timed out")
        self.assertEqual(reason(ConnectionResetError()), "ConnectionResetError")

    def test_contents_are_those_of_a_file_or_of_standard_input(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.write(b"\xff")
            file.flush()
            self.assertEqual(contents(file.name), b"\xff")
        with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xfe"))):
            self.assertEqual(contents("-"), b"\xfe")
        for path in ("/does/not/exist", "/"):
            with self.assertRaisesRegex(Failed, f"^{path} cannot be read: "):
                contents(path)

    def test_a_warning_is_one_printable_line(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            terminal.warn("a\nb\x1b")
        self.assertEqual(said.getvalue(), "warning: a\\nb\\x1b\n")

    def test_a_failure_is_one_printable_line_with_the_name_of_the_command(self) -> None:
        status, said, complained = command("log", "verify", "/no\n/where\x1b")
        self.assertEqual((status, said, complained.count("\n")), (2, "", 1))
        self.assertTrue(complained.startswith("log: /no\\n/where\\x1b cannot be read"), complained)


if __name__ == "__main__":
    unittest.main()
