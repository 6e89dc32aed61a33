"""The reading lists of ``omp/README.md``: complete, true to the files, and short enough.

A list is a section with a table of files and minutes.  Its rows link to the files; a row in bold is the sum so far:
``first hour`` closes the part that takes less than an hour, ``all`` the list.

``python3 -m omp.tests.house.test_reading_lists --write`` counts the lines again and writes minutes and sums.
"""

from __future__ import annotations

import re
import sys
import unittest
from pathlib import Path
from typing import NamedTuple

from omp.tests import TOP

PACKAGE = TOP / "omp"
PAGE = PACKAGE / "README.md"
LISTED = ("rules", "store", "web", "protocols", "explore", "tools")
ONLY_PACKAGES = {"protocols/__init__.py", "tools/__init__.py"}
"""What only makes a folder a package."""
A_MINUTE = 25
"""Lines that are not blank."""
AN_HOUR = 60

_ROW = re.compile(
    r"^\| (?:\[[^]]+\]\((?P<file>[^)]+)\)|\*\*(?P<sum>first hour|all)\*\*) \| \**(?P<minutes>\d+)\** \|", re.MULTILINE
)


class Row(NamedTuple):
    """One file with its minutes, or ``first hour`` or ``all`` with their sum."""

    name: str
    minutes: int
    is_sum: bool


def reading_lists(text: str) -> dict[str, list[Row]]:
    """Title -> rows, of every section with such a table."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    lists = {}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        rows = [
            Row(row["file"] or row["sum"], int(row["minutes"]), row["sum"] is not None) for row in _ROW.finditer(body)
        ]
        if rows:
            lists[title] = rows
    return lists


def minutes(path: Path) -> int:
    """How long a file takes to read."""
    lines = sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return max(1, -(-lines // A_MINUTE))


def counted_again(text: str) -> str:
    """`text` with the minutes and sums that are right; a file that is not there keeps its minutes."""
    total = 0

    def counted(row: re.Match[str]) -> str:
        nonlocal total
        if row["sum"]:
            return row[0].replace(row["minutes"], str(total))
        path = PACKAGE / row["file"]
        taken = minutes(path) if path.exists() else int(row["minutes"])
        total += taken
        return row[0][: row.start("minutes") - row.start()] + f"{taken} |"

    sections = []
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        total = 0
        sections.append(_ROW.sub(counted, section))
    return "".join(sections)


@unittest.skipUnless(PAGE.exists(), "there is no omp/README.md in this copy of the package")
class ReadingLists(unittest.TestCase):
    def setUp(self) -> None:
        self.lists = reading_lists(PAGE.read_text(encoding="utf-8"))
        self.files = [row for rows in self.lists.values() for row in rows if not row.is_sum]

    def test_every_list_has_a_first_hour_and_ends_with_a_sum(self) -> None:
        self.assertGreaterEqual(len(self.lists), 9)
        for title, rows in self.lists.items():
            with self.subTest(title):
                self.assertIn("first hour", [row.name for row in rows if row.is_sum])
                self.assertTrue(rows[-1].is_sum)

    def test_every_file_named_is_there(self) -> None:
        for row in self.files:
            with self.subTest(row.name):
                self.assertTrue((PACKAGE / row.name).is_file())

    def test_every_module_stands_in_one_list(self) -> None:
        named = [row.name for row in self.files]
        self.assertEqual(len(named), len(set(named)))
        modules = {
            path.relative_to(PACKAGE).as_posix() for folder in LISTED for path in (PACKAGE / folder).rglob("*.py")
        } | {"entry.py", "__init__.py", "__main__.py"}
        self.assertEqual(modules - ONLY_PACKAGES - set(named), set())

    def test_the_minutes_are_about_right(self) -> None:
        # About: an edit of a few lines should not need a new table.
        for row in self.files:
            path = PACKAGE / row.name
            if path.is_file():
                with self.subTest(row.name):
                    self.assertAlmostEqual(row.minutes, minutes(path), delta=max(2, row.minutes // 4))

    def test_the_sums_are_right_and_a_first_hour_takes_less_than_an_hour(self) -> None:
        for title, rows in self.lists.items():
            total = 0
            for row in rows:
                if row.is_sum:
                    with self.subTest(title, sum=row.name):
                        self.assertEqual(row.minutes, total)
                        self.assertTrue(row.name == "all" or total < AN_HOUR)
                else:
                    total += row.minutes


class Counting(unittest.TestCase):
    """The count itself, on a page made up here."""

    PAGE = """## One
| file | minutes | what |
|---|---|---|
| [\\_\\_init\\_\\_.py](store/__init__.py) | 99 | a |
| [gone.py](gone.py) | 3 | b |
| **first hour** | **0** | |
| [gone too](too.py) | 4 | c |
| **all** | **0** | |
"""

    def test_rows_are_read_and_counted_again(self) -> None:
        again = counted_again(self.PAGE)
        taken = minutes(PACKAGE / "store" / "__init__.py")
        self.assertEqual([row.minutes for row in reading_lists(again)["One"]], [taken, 3, taken + 3, 4, taken + 7])
        self.assertEqual(counted_again(again), again)
        self.assertEqual(
            [line.count("|") for line in again.splitlines()], [line.count("|") for line in self.PAGE.splitlines()]
        )


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(counted_again(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        unittest.main()
