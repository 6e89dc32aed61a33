"""The page for operators lists every setting, and the links of every guide lead somewhere."""

from __future__ import annotations

import re
import unittest
from pathlib import Path

from omp.entry import all_settings
from omp.tests import TOP

README = TOP / "README.md"
OPERATING = TOP / "omp" / "OPERATING.md"
GUIDES = sorted({README, *(TOP / "omp").rglob("*.md"), *(TOP / "vectors").rglob("*.md")})

_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The names of the headings in a Markdown text, as GitHub makes them."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    names: set[str] = set()
    for heading in _HEADING.findall(plain):
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        copies = sum(other == name or re.fullmatch(rf"{re.escape(name)}-\d+", other) is not None for other in names)
        names.add(f"{name}-{copies}" if copies else name)
    return names


def dead_links(guide: Path) -> list[str]:
    """The links of a Markdown file to files or headings that are not there; addresses on the web are not tried."""
    faults = []
    for link in _LINK.findall(_CODE.sub("", guide.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (guide.parent / name).resolve() if name else guide
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            faults.append(link)
    return faults


class Tables(unittest.TestCase):
    """What the page for operators lists is what there is."""

    def test_every_variable_and_flag_is_in_the_page_for_operators(self) -> None:
        text = OPERATING.read_text(encoding="utf-8")
        for setting in all_settings():
            for name in filter(None, (setting.variable, setting.fallback, setting.flag)):
                self.assertIn(f"`{name}", text)

    def test_the_readme_is_short(self) -> None:
        self.assertLessEqual(len(README.read_text(encoding="utf-8").splitlines()), 300)


class Links(unittest.TestCase):
    def test_every_link_leads_to_a_file_or_heading_that_is_there(self) -> None:
        for guide in GUIDES:
            with self.subTest(guide.relative_to(TOP).as_posix()):
                self.assertEqual(dead_links(guide), [])

    def test_headings_are_named_as_github_names_them(self) -> None:
        text = "# `omp/0.2`: the log\n## Run it\n```\n# no heading\n```\n### Run it\n"
        self.assertEqual(anchors(text), {"omp02-the-log", "run-it", "run-it-1"})


if __name__ == "__main__":
    unittest.main()
