"""Every file under ``vectors/``, run by the runner of its kind, and the files against the code that makes them.

``omp/tests/vectors/runners/<area>.py`` holds ``RUNNERS``: kind -> ``(test, case)``, failing through the test.  A kind
without a runner fails, and so does a member that no case's runner ever asks for with ``case[…]`` or ``case.get(…)``: a
misspelt expectation would be an expectation that nothing checks.  ``name`` and ``why`` are for people.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import tempfile
import unittest
import unittest.mock
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omp.tests.harness import command
from omp.tests.vectors import command as vectors
from omp.tests.vectors import runners as runner_modules

Runner = Callable[[unittest.TestCase, dict[str, Any]], None]
HEAD = {"kind", "description", "spec", "cases"}


def runners() -> dict[str, Runner]:
    """kind -> runner, of every module in ``runners``."""
    found: dict[str, Runner] = {}
    for module in pkgutil.iter_modules(runner_modules.__path__):
        found |= importlib.import_module(f"{runner_modules.__name__}.{module.name}").RUNNERS
    return found


class AskedFor(dict[str, Any]):
    """A case that notes in `names` which of its members were asked for."""

    def __init__(self, members: Mapping[str, Any], names: set[str]) -> None:
        super().__init__(members)
        self._names = names

    def __getitem__(self, name: str) -> Any:
        self._names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._names.add(name)
        return super().get(name, default)


def run_document(test: unittest.TestCase, document: Any, known: Mapping[str, Runner]) -> None:
    """Run every case of a vector file; whatever is wrong with the file or the code fails `test`."""
    test.assertEqual(set(document), HEAD)
    test.assertIn(document["kind"], known, "a kind without a runner")
    names = [case["name"] for case in document["cases"]]
    test.assertTrue(names, "no cases")
    test.assertEqual(len(set(names)), len(names), "a name twice")
    asked = {"name", "why"}
    for case in document["cases"]:
        with test.subTest(case=case["name"]):
            known[document["kind"]](test, AskedFor(case, asked))
    present = {member for case in document["cases"] for member in case}
    test.assertLessEqual(present, asked, "members that no runner asks for")


class VectorFiles(unittest.TestCase):
    def test_every_vector_holds(self) -> None:
        files = sorted(vectors.DIRECTORY.rglob("*.json"))
        areas = {path.relative_to(vectors.DIRECTORY).parts[0] for path in files}
        self.assertGreaterEqual(areas, {"canonical", "ed25519", "keccak"})
        known = runners()
        used = set()
        for path in files:
            with self.subTest(file=path.relative_to(vectors.DIRECTORY).as_posix()):
                document = json.loads(path.read_bytes())
                used.add(document["kind"])
                run_document(self, document, known)
        self.assertEqual(used, known.keys(), "a runner without vectors")

    def test_the_readme_describes_every_kind(self) -> None:
        text = (vectors.DIRECTORY / "README.md").read_text(encoding="utf-8")
        self.assertEqual([kind for kind in runners() if f"`{kind}`" not in text], [])

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
