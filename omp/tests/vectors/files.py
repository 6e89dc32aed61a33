"""The files under ``vectors/`` as tests: one test a file, its name the file's path.

``omp/tests/<folder>/test_vectors.py`` names the areas (the folders of ``vectors/``) that belong to it, and
:func:`tests_of` makes its tests.  ``omp/tests/vectors/runners/<area>.py`` says how they are run: ``RUNNERS`` maps a
kind to ``(test, case)``, which fails through the test.

An expectation that nothing checks is worse than none, because it is believed.  So a file fails, too, if its kind has no
runner, if it has no cases or two of one name, and if a case has a member that no run of this file asks for with
``case[…]`` or ``case.get(…)``: it is probably misspelt.  Only ``name`` and ``why`` are for people.
"""

from __future__ import annotations

import importlib
import json
import unittest
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omp.tests import TOP, LoadTests
from omp.tests.vectors import runners

Runner = Callable[[unittest.TestCase, dict[str, Any]], None]

DIRECTORY = TOP / "vectors"
HEAD = {"kind", "description", "spec", "cases"}
FOR_PEOPLE = {"name", "why"}


def all_files() -> list[Path]:
    """Every vector file, in order of path."""
    return sorted(DIRECTORY.rglob("*.json"))


def area_of(path: Path) -> str:
    """The folder of ``vectors/`` that holds the file: the name of its module in ``runners``."""
    return path.relative_to(DIRECTORY).parts[0]


def runners_of(area: str) -> Mapping[str, Runner]:
    """Kind -> runner of an area.  No other area's runners are imported, so each protocol can be tested alone."""
    found: Mapping[str, Runner] = importlib.import_module(f"{runners.__name__}.{area}").RUNNERS
    return found


def tests_of(*areas: str) -> LoadTests:
    """The ``load_tests`` of a module whose tests are the vector files of `areas`.

    An area without a file is an error, and so is the import of a runner that is not there.
    """

    def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
        for area in areas:
            paths = [path for path in all_files() if area_of(path) == area]
            if not paths:
                raise FileNotFoundError(f"there are no vectors in {DIRECTORY / area}")
            tests.addTests(VectorFile(path) for path in paths)
        return tests

    return load_tests


class VectorFile(unittest.TestCase):
    """One file, run from its first case to its last."""

    def __init__(self, path: Path) -> None:
        super().__init__("run_file")
        self.path = path

    def run_file(self) -> None:  # without a docstring: unittest would show that beside each file's name
        run_document(self, json.loads(self.path.read_bytes()), runners_of(area_of(self.path)))

    def id(self) -> str:
        """The path from the top of the checkout: what a failure is reported under."""
        return self.path.relative_to(TOP).as_posix()

    def __str__(self) -> str:
        return self.id()


class AskedFor(dict[str, Any]):
    """A case that adds to `names` which of its members a runner asked for."""

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
    asked = set(FOR_PEOPLE)
    for case in document["cases"]:
        with test.subTest(case=case["name"]):
            known[document["kind"]](test, AskedFor(case, asked))
    present = {member for case in document["cases"] for member in case}
    test.assertLessEqual(present, asked, "members that no runner asks for")
