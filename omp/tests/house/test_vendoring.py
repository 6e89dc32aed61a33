"""Vendoring: a copy of ``omp/`` without some of its folders works beside somebody's own script.

The copy is made in an empty folder under the name ``omp``, so that the absolute imports inside it work.  The script
runs from another folder, without installed packages and without variables that change what is imported
(``-E -s -S``).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from omp.tests import TOP

GUIDE = TOP / "omp" / "README.md"
OTHER_PROTOCOLS = ("protocols/objects", "protocols/avp", "protocols/mrs", "protocols/nexus")
MAY_BE_LEFT_OUT = ("tests", "tools", "explore", *OTHER_PROTOCOLS)
"""Folders of ``omp/`` that a copy can do without and still serve the log."""
ONE_PAGE = ("__init__.py", "rules", "protocols/oplog/definition.py")
"""What one page of teaching needs: no store, no web."""

LESSON = """
import json, sys

from omp.rules import canonical, ed25519
from omp.rules.engines import best_engine
from omp.protocols.oplog.definition import check

given = json.load(sys.stdin)
report = check([line.encode() for line in given["operations"]], best_engine())
print(json.dumps({
    "canonical": canonical.canonicalize({"b": 1e21, "a": "\\u20ac"}).decode(),
    "verified": [ed25519.verify(*map(bytes.fromhex, case)) for case in given["signatures"]],
    "state": report.state_id,
    "floors": sorted({name.split(".")[1] for name in sys.modules if name.startswith("omp.")}),
    "from": sys.modules["omp"].__file__,
}))
"""
"""The script that somebody writes beside the copy."""

SERVING = """
from urllib.error import HTTPError
from urllib.request import urlopen

import omp

def status(url):
    try:
        with urlopen(url) as answer:
            return answer.status
    except HTTPError as error:
        error.close()
        return error.code

with omp.running() as server:
    print(status(server.url + "/logs"), status(server.url + "/objects"))
"""
"""The test of a client that speaks only the log."""


def vector(path: str, name: str) -> dict[str, Any]:
    """The case of that name in a vector file."""
    cases = json.loads((TOP / "vectors" / path).read_bytes())["cases"]
    found: dict[str, Any] = next(case for case in cases if case["name"] == name)
    return found


def largest(path: str) -> dict[str, Any]:
    """The case with the most operations in a vector file of the log."""
    cases = json.loads((TOP / "vectors" / path).read_bytes())["cases"]
    found: dict[str, Any] = max(cases, key=lambda case: len(case["operations"]))
    return found


def said_of_folders(guide: str) -> dict[str, str]:
    """Folder of ``omp/`` -> what the table ``folder | may be left out`` of a guide says of it."""
    rows = re.search(r"^\| folder \| may be left out \|\n.*\n((?:\|.*\n)+)", guide, re.MULTILINE)
    found = {}
    for row in rows[1].splitlines() if rows else []:
        folder, answer = (cell.strip() for cell in row.strip("|").split("|"))
        found[folder.strip("`")] = answer
    return found


def copy_without(*left_out: str) -> Callable[[Path], None]:
    """Copies ``omp/`` but for some folders."""

    def copy(target: Path) -> None:
        def ignored(folder: str, names: list[str]) -> Iterable[str]:
            here = Path(folder).relative_to(TOP / "omp")
            return [name for name in names if name == "__pycache__" or (here / name).as_posix() in left_out]

        shutil.copytree(TOP / "omp", target, ignore=ignored)

    return copy


def copy_only(*wanted: str) -> Callable[[Path], None]:
    """Copies some files and folders of ``omp/`` and nothing else."""

    def copy(target: Path) -> None:
        for name in wanted:
            source, there = TOP / "omp" / name, target / name
            there.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, there, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, there)

    return copy


class Vendoring(unittest.TestCase):
    def _run(self, copy: Callable[[Path], None], script: str, given: Any = None) -> str:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            copy(folder / "omp")
            (folder / "lesson.py").write_text(script, encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "-E", "-s", "-S", "-B", str(folder / "lesson.py")],
                cwd="/",
                input=json.dumps(given),
                capture_output=True,
                text=True,
                timeout=60,
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            return done.stdout.replace(str(folder), "")

    def _lesson(self, copy: Callable[[Path], None]) -> list[str]:
        """Run the lesson on a copy; the floors that it imported."""
        log, signature = largest("oplog/merge.json"), vector("ed25519/verify.json", "an ordinary signature")
        key, message, signed = (signature[name] for name in ("public_key", "message", "signature"))
        given = {"operations": log["operations"], "signatures": [(key, message, signed), (key, "00", signed)]}
        said = json.loads(self._run(copy, LESSON, given))
        self.assertEqual(said["canonical"], '{"a":"€","b":1e+21}')
        self.assertEqual(said["verified"], [True, False])
        self.assertEqual(said["state"], log["state"])
        self.assertEqual(said["from"], "/omp/__init__.py")
        floors: list[str] = said["floors"]
        return floors

    def test_a_copy_without_tests_tools_and_other_protocols_checks_a_log(self) -> None:
        self._lesson(copy_without(*MAY_BE_LEFT_OUT))

    def test_it_serves_the_protocols_that_are_there(self) -> None:
        self.assertEqual(self._run(copy_without(*MAY_BE_LEFT_OUT), SERVING), "200 404\n")

    def test_the_guide_says_what_may_be_left_out(self) -> None:
        said = said_of_folders(GUIDE.read_text(encoding="utf-8"))
        folders = {path.parent.relative_to(TOP / "omp").as_posix() for path in TOP.glob("omp/*/__init__.py")}
        protocols = {f"protocols/{path.parent.name}" for path in TOP.glob("omp/protocols/*/__init__.py")}
        self.assertEqual(said.keys(), folders - {"protocols"} | protocols)
        free = {folder for folder, answer in said.items() if answer.startswith("yes")}
        self.assertEqual(free, {*MAY_BE_LEFT_OUT, "protocols/oplog"})
        self.assertEqual([said[floor][:9] for floor in ("store", "web")], ["only with"] * 2)
        self.assertEqual(said["rules"], "no")

    def test_the_definition_needs_the_rules_alone(self) -> None:
        self.assertEqual(self._lesson(copy_only(*ONE_PAGE)), ["protocols", "rules"])


if __name__ == "__main__":
    unittest.main()
