"""The tests, a folder for each protocol and each floor: ``python3 -m unittest omp.tests.oplog`` runs one of them.

``python3 -m unittest test_server.py`` runs them all.  A folder's ``__init__`` gathers the files ``test_*.py`` beside
it by the ``load_tests`` protocol of :mod:`unittest`; what they share (a running server, devices, worlds) is beside
them under other names.  ``house`` tests the project as a whole.  ``vectors`` makes and runs the files of ``vectors/``,
``benchmarks`` is ``python -m omp bench``.
"""

from __future__ import annotations

import os
import unittest
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
"""The folder that holds ``server.py`` and ``omp/``."""

PUBLISHED = TOP.parent / "shared" / "data"
"""Vectors that others published; they may be missing, and then their tests are skipped."""

ALL = os.environ.get("OMP_TESTS") == "all"
"""Whether the long tests run too: ``OMP_TESTS=all python3 -m unittest test_server.py``."""

long = unittest.skipUnless(ALL, "long; OMP_TESTS=all runs it")
"""Marks a test that shows in breadth what a short one beside it shows by example."""

LoadTests = Callable[[unittest.TestLoader, unittest.TestSuite, str | None], unittest.TestSuite]


def gather(package: str) -> LoadTests:
    """The ``load_tests`` of a folder of tests: it loads every module ``test_*`` of `package`, in order of name."""
    folder = TOP.joinpath(*package.split("."))

    def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
        for path in sorted(folder.glob("test_*.py")):
            tests.addTests(loader.loadTestsFromName(f"{package}.{path.stem}"))
        return tests

    return load_tests
