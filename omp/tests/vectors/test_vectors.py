"""The machinery of the vectors: no file escapes the tests, the runner fails where it must, the command does its work.

The vectors themselves are tests of the folders that they belong to: see :mod:`omp.tests.vectors.files`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import re
import tempfile
import unittest
import unittest.mock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omp.tests import TOP, long
from omp.tests.harness import command
from omp.tests.vectors import command as vectors
from omp.tests.vectors import runners
from omp.tests.vectors.files import DIRECTORY, Runner, VectorFile, all_files, area_of, run_document, runners_of


def areas() -> list[str]:
    """The areas that have a module in ``runners``."""
    return [module.name for module in pkgutil.iter_modules(runners.__path__)]


def gathered() -> list[str]:
    """The names of the tests that the ``test_vectors`` of all folders make."""
    names = []
    for path in sorted((TOP / "omp" / "tests").glob("*/test_vectors.py")):
        module = f"omp.tests.{path.parent.name}.test_vectors"
        if module != __name__:
            names += [test.id() for test in _tests(unittest.defaultTestLoader.loadTestsFromName(module))]
    return names


def _tests(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _tests(test)
        else:
            yield test


class TheFiles(unittest.TestCase):
    def test_every_file_is_a_test_of_one_folder(self) -> None:
        self.assertEqual(sorted(gathered()), [VectorFile(path).id() for path in all_files()])

    def test_every_kind_of_runner_has_a_file(self) -> None:
        used = {(area_of(path), json.loads(path.read_bytes())["kind"]) for path in all_files()}
        self.assertEqual(used, {(area, kind) for area in areas() for kind in runners_of(area)})

    def test_the_readme_describes_every_kind(self) -> None:
        text = (DIRECTORY / "README.md").read_text(encoding="utf-8")
        self.assertEqual([kind for area in areas() for kind in runners_of(area) if f"`{kind}`" not in text], [])

    def test_the_readme_lists_every_error_code(self) -> None:
        codes = {
            code for path in all_files() for code in re.findall(r"\bERR_[A-Z]+\b", path.read_text(encoding="utf-8"))
        }
        self.assertGreater(len(codes), 10)
        text = (DIRECTORY / "README.md").read_text(encoding="utf-8")
        self.assertEqual([code for code in sorted(codes) if f"`{code}`" not in text], [])

    @long
    @unittest.skipUnless(importlib.util.find_spec("cryptography"), "some vectors are made with cryptography")
    def test_the_files_are_what_the_code_makes(self) -> None:
        self.assertEqual(_command("--check"), (0, ""))


class TheRunner(unittest.TestCase):
    """What must fail does fail."""

    def setUp(self) -> None:
        def run(test: unittest.TestCase, case: dict[str, Any]) -> None:
            test.assertEqual(case["one"], case.get("two", 1))

        self.known: dict[str, Runner] = {"made/up": run}
        self.document = {"kind": "made/up", "description": "", "spec": "", "cases": [{"name": "a", "one": 1}]}

    def _fails(self) -> bool:
        case = unittest.FunctionTestCase(lambda: run_document(case, self.document, self.known))
        result = case.run()
        self.assertIsNotNone(result)
        return not (result and result.wasSuccessful())

    def test_a_good_file_passes(self) -> None:
        self.assertFalse(self._fails())

    def test_a_wrong_expectation_fails(self) -> None:
        self.document["cases"] = [{"name": "a", "one": 2}]
        self.assertTrue(self._fails())

    def test_an_unknown_kind_fails(self) -> None:
        self.document["kind"] = "made/down"
        self.assertTrue(self._fails())

    def test_an_unknown_member_of_a_case_fails(self) -> None:
        self.document["cases"] = [{"name": "a", "one": 1, "tow": 2}]
        self.assertTrue(self._fails())

    def test_an_unknown_member_of_the_file_fails(self) -> None:
        self.document["case"] = []
        self.assertTrue(self._fails())

    def test_no_cases_fail(self) -> None:
        self.document["cases"] = []
        self.assertTrue(self._fails())

    def test_a_name_twice_fails(self) -> None:
        self.document["cases"] = [{"name": "a", "one": 1}] * 2
        self.assertTrue(self._fails())


class TheCommand(unittest.TestCase):
    """``python -m omp vectors`` in a directory of its own."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        (self.directory / "area").mkdir()
        made = {"area/one.json": {"kind": "made/up"}}
        self.enterContext(unittest.mock.patch.object(vectors, "documents", lambda: made))

    def _run(self, *flags: str) -> tuple[int, str]:
        return _command(*flags, "--directory", str(self.directory))

    def test_writes_what_is_missing_and_then_nothing(self) -> None:
        self.assertEqual(self._run(), (0, "area/one.json: written\n"))
        self.assertEqual(self._run(), (0, ""))
        self.assertEqual((self.directory / "area/one.json").read_bytes(), b'{\n "kind": "made/up"\n}\n')

    def test_check_names_a_file_that_would_change_and_leaves_it(self) -> None:
        (self.directory / "area/one.json").write_bytes(b"{}\n")
        self.assertEqual(self._run("--check"), (1, "area/one.json: is not what the code makes\n"))
        self.assertEqual((self.directory / "area/one.json").read_bytes(), b"{}\n")

    def test_check_names_a_file_that_nothing_makes(self) -> None:
        self._run()
        (self.directory / "area/two.json").write_bytes(b"{}\n")
        self.assertEqual(self._run("--check"), (1, "area/two.json: no vector set makes this file\n"))

    def test_a_check_of_a_folder_that_is_not_there_says_so(self) -> None:
        self.directory = self.directory / "elsewhere"
        status, said = self._run("--check")
        self.assertEqual((status, said.count("\n")), (2, 1))
        self.assertIn("elsewhere is no folder", said)
        self.assertFalse(self.directory.exists())

    def test_a_directory_that_cannot_be_written_is_one_sentence(self) -> None:
        self.directory = self.directory / "file"
        self.directory.write_bytes(b"")
        status, said = self._run()
        self.assertEqual((status, said.count("\n")), (1, 1))
        self.assertIn("Not a directory", said)


def _command(*flags: str) -> tuple[int, str]:
    status, said, complained = command("vectors", *flags)
    return status, said + complained


if __name__ == "__main__":
    unittest.main()
