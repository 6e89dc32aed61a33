"""Every citation resolves: each section that code, tests, vectors, guides or pages cite exists.

The documents are ``omp/SPEC.md``, cited as ``omp``, and ``omp/protocols/<name>/SPEC.md``, cited as ``<name>``.  How a
citation is read:

* ``oplog §3.2`` names document and section; ``oplog §3.2, §4`` and ``oplog §3.2 and §4`` continue the document;
* a bare ``§3.2`` in a place of one protocol (its package, its tests, its vectors and who makes and runs them, its tool,
  its benchmark) means the document of that protocol; in ``omp/SPEC.md`` it means that document;
* anywhere else a bare ``§3.2`` means the document that the module's first line names first (``structured_fields``
  opens with RFC 8941), and is wrong where that line names none;
* sections of foreign documents (``RFC 9110 §8.8.3.2``) are recognised and not looked up.

Each rule is a function from the texts to a list of faults, so that each is also tried on texts that break it.
"""

from __future__ import annotations

import functools
import json
import re
import unittest
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from omp.tests import TOP

PROTOCOLS = ("objects", "oplog", "avp", "mrs", "nexus")
DOCUMENTS = {"omp": "omp/SPEC.md", **{name: f"omp/protocols/{name}/SPEC.md" for name in PROTOCOLS}}
"""How a document is cited -> its path."""

OF_A_TOOL = {
    "log": "oplog",
    "vault": "avp",
    "vault_session": "avp",
    "vault_memory": "avp",
    "places": "mrs",
    "places_seed": "mrs",
    "peers": "mrs",
    "mrs_client": "mrs",
    "profile": "nexus",
}
"""Tool or benchmark -> its protocol, where its name is not the protocol's."""

Texts = Mapping[str, str]
"""Path from the top of the checkout -> text; of a vector file, only its members for people."""

# -- reading texts

_OWN = "|".join(DOCUMENTS)
_FOREIGN = r"(?:RFC|FIPS|SEC|ISO|BIP|UAX|UTS|WHATWG)[ -]#?[0-9A-Z][0-9A-Za-z-]*|(?:ECMA|EIP|ERC|BIP)-\d+"
# White space, the "#" of a comment's next line, and the quotes between two pieces of a string.
_GAP = r"(?:[\s#]|\"\s+f?\")"
_DOCUMENT = rf"(?<![\w-])(?P<own>{_OWN})|(?<!\w)(?P<foreign>{_FOREIGN})"
_CITATION = re.compile(rf"(?:(?:{_DOCUMENT})[`*]*,?{_GAP}+)?§(?P<number>[A-Z](?:\.\d+)*|\d+(?:\.\d+)*)?")
_CONTINUES = re.compile(
    rf"[`*]*(?:{_GAP}+(?:stage|step|point|row|table)s?{_GAP}+\d+)?"
    rf"{_GAP}*(?:,|;|/|–|and|or|to){_GAP}*(?:(?:and|or|to){_GAP}+)?"
)
_HEADING = re.compile(r"^(#{2,}) +(\d+(?:\.\d+)*)\.? +\S", re.MULTILINE)
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)

LEFTOVERS = re.compile(
    r"\b(?:objects|oplog|avp|mrs|nexus|architecture|style|second-edition)\.md\b"
    r"|\bseeds? §|\bstyle \d|\bshared/(?:spec|seeds)\b|\bsecond edition\b"
)
"""References to documents that are not in the repository."""


class Citation(NamedTuple):
    """One section sign: `document` is "" where it is bare, None where it is foreign; `number` "" where none follows."""

    path: str
    line: int
    document: str | None
    number: str


def citations(path: str, text: str) -> Iterator[Citation]:
    """Every section sign of a text, each with the document that the words before it name."""
    document: str | None = ""
    end = -1
    for match in _CITATION.finditer(text):
        if match["foreign"]:
            document = None
        elif match["own"]:
            document = match["own"]
        elif end < 0 or not _CONTINUES.fullmatch(text, end, match.start()):
            document = ""
        end = match.end()
        yield Citation(path, text.count("\n", 0, end) + 1, document, match["number"] or "")


def home(path: str) -> str:
    """The document that a bare section sign means in the file at `path`; "" where there is none."""
    if path == DOCUMENTS["omp"]:
        return "omp"
    parts = Path(path).with_suffix("").parts
    if parts[:2] in (("omp", "tools"), ("omp", "tests")) and parts[-1] == "__init__":
        parts = parts[:-1]
    match parts:
        case ("omp", "protocols", name, *_) | ("vectors", name, *_):
            pass
        case ("omp", "tests", "vectors", "makers" | "runners", name, *_):
            name = name.partition("_")[0]
        case ("omp", "tests", "benchmarks", name) | ("omp", "tools", name, *_) | ("omp", "tests", name, *_):
            pass
        case _:
            return ""
    name = OF_A_TOOL.get(name, name)
    return name if name in PROTOCOLS else ""


def opening(text: str) -> str | None:
    """The document that the first line of a module names first: None for a foreign one, "" where it names none."""
    first = text.partition("\n")[0]
    foreign = re.search(_FOREIGN, first)
    own = next((match for match in _CITATION.finditer(first) if match["own"]), None)
    if own and (not foreign or own.start() < foreign.start()):
        return own["own"]
    return None if foreign else ""


def sections(specification: str) -> list[tuple[int, str]]:
    """(level, number) of each numbered heading of a document, in order; ``## 3.`` has level 1."""
    plain = _FENCED.sub("", specification)
    return [(len(marks) - 1, number) for marks, number in _HEADING.findall(plain)]


@functools.cache
def _numbers(specification: str) -> frozenset[str]:
    return frozenset(number for _, number in sections(specification))


# -- the rules


def citations_of_nothing(texts: Texts) -> list[str]:
    """Citations of a section, or of a document, that does not exist."""
    faults = []
    for path, text in texts.items():
        for citation in citations(path, text):
            document = (home(path) or opening(text)) if citation.document == "" else citation.document
            if document and citation.number and citation.number not in _numbers(texts.get(DOCUMENTS[document], "")):
                faults.append(f"{path}:{citation.line} cites {document} §{citation.number}: there is no such section")
    return faults


def bare_signs(texts: Texts) -> list[str]:
    """Section signs that name no document, in places that belong to none."""
    return [
        f"{path}:{citation.line} cites §{citation.number} of no document"
        for path, text in texts.items()
        if not home(path) and opening(text) == ""
        for citation in citations(path, text)
        if citation.document == "" and citation.number
    ]


def signs_without_a_number(texts: Texts) -> list[str]:
    """A document with a section sign and no number, and a number that stands apart from its sign.

    In backticks, or with an ellipsis, the sign is spoken of: "cited as `oplog §…`".
    """
    return [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1} has {match[0]!r}"
        for path, text in texts.items()
        for match in re.finditer(rf"\b(?:{_OWN}|{_FOREIGN}) §(?![A-Z]?[\d.]|[`…])|§ +\d\S*", text)
    ]


def documents_that_are_elsewhere(texts: Texts) -> list[str]:
    """References to documents that are not in the repository."""
    return [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1} refers to {match[0]!r}"
        for path, text in texts.items()
        for match in LEFTOVERS.finditer(text)
    ]


def headings_out_of_order(texts: Texts) -> list[str]:
    """Numbered headings that occur twice, do not ascend, belong to no section, or are on the wrong level."""
    faults = []
    for path in set(DOCUMENTS.values()) & texts.keys():
        met: list[tuple[int, ...]] = []
        for level, text in sections(texts[path]):
            number = tuple(map(int, text.split(".")))
            if met and number <= met[-1]:
                faults.append(f"{path}: §{text} comes after §{'.'.join(map(str, met[-1]))}")
            elif len(number) > 1 and number[:-1] not in met:
                faults.append(f"{path}: §{text} belongs to no section")
            elif len(number) != level:
                faults.append(f"{path}: §{text} has a heading of level {level}")
            met.append(number)
    return faults


_SPEC = "# The log\n## 1. Encoding\n### 1.1 Canonical JSON\n### 1.2 Identifiers\n## 3. Validation\n### 3.2 Stages\n"
_OPLOG = {DOCUMENTS["oplog"]: _SPEC}
_PATH = "omp/web/a.py"

RULES: dict[Callable[[Texts], list[str]], list[Texts]] = {
    citations_of_nothing: [
        {**_OPLOG, _PATH: "oplog §2"},
        {**_OPLOG, _PATH: "oplog §1.3"},
        {**_OPLOG, _PATH: "`oplog` §2"},
        {**_OPLOG, _PATH: "oplog §1.1, §1.3"},
        {**_OPLOG, _PATH: "oplog §1.1 and §1.3"},
        {**_OPLOG, _PATH: "oplog §3.2 stage 3, §1.3"},
        {**_OPLOG, _PATH: "oplog §1.1,\n    # §1.3"},
        {**_OPLOG, _PATH: "(oplog\n# §1.3)"},
        {**_OPLOG, _PATH: 'summary="oplog "\n    "§1.3"'},
        {**_OPLOG, _PATH: "RFC 9110 §1.1, oplog §1.3"},
        {**_OPLOG, _PATH: "avp §1"},
        {_PATH: "oplog §1"},
        {**_OPLOG, "omp/protocols/oplog/core/a.py": "§1.3"},
        {**_OPLOG, "omp/protocols/oplog/core/a.py": "RFC 9110 §1.1: a rule (§1.3)"},
        {**_OPLOG, "omp/protocols/oplog/README.md": "[SPEC.md](SPEC.md) §1.3"},
        {**_OPLOG, "omp/tests/oplog/test_a.py": "§1.3"},
        {**_OPLOG, "omp/tests/vectors/makers/oplog/a.py": "§1.3"},
        {**_OPLOG, "omp/tests/vectors/runners/oplog.py": "§1.3"},
        {**_OPLOG, "omp/tests/benchmarks/log.py": "§1.3"},
        {**_OPLOG, "omp/tools/log/a.py": "§1.3"},
        {**_OPLOG, "vectors/oplog/a.json": "§1.3"},
        {DOCUMENTS["oplog"]: _SPEC + "As §1.3 says."},
        {DOCUMENTS["oplog"]: "```\n## 9. Not a heading\n```\nAs §9 says."},
        {DOCUMENTS["omp"]: "## 1. Serving\nAs §2 says."},
        {"vectors/nexus/a.json": "§1"},
        {**_OPLOG, _PATH: '"""A module of oplog §3, and RFC 9110."""\n# §1.3'},
    ],
    bare_signs: [
        {_PATH: '"""A module."""\n# §3'},
        {_PATH: '"""A module.\n\nOf RFC 9110."""\n# §3'},
        {_PATH: '"""A module."""\n# RFC 9110 §3: a rule, for which see §4'},
        {"README.md": "NEXUS §3"},
        {"vectors/README.md": "§3"},
        {"omp/tools/keygen.py": "§3"},
    ],
    signs_without_a_number: [{_PATH: "oplog §"}, {_PATH: "oplog §x"}, {_PATH: "see § 3"}],
    documents_that_are_elsewhere: [
        {_PATH: "objects.md §3"},
        {_PATH: "as oplog.md says"},
        {_PATH: "see architecture.md"},
        {_PATH: "the seed §5"},
        {_PATH: "as style 6 has it"},
        {_PATH: "../shared/spec/avp"},
        {_PATH: "../shared/seeds/2.txt"},
    ],
    headings_out_of_order: [
        {DOCUMENTS["oplog"]: "## 1. One\n## 1. One again\n"},
        {DOCUMENTS["oplog"]: "## 2. Two\n## 1. One\n"},
        {DOCUMENTS["oplog"]: "## 1. One\n### 1.10 Ten\n### 1.9 Nine\n"},
        {DOCUMENTS["oplog"]: "## 1. One\n### 2.1 Of two\n"},
        {DOCUMENTS["oplog"]: "## 1. One\n## 1.1 On the wrong level\n"},
    ],
}
"""Each rule, and texts that break it once."""

IN_ORDER = {
    **_OPLOG,
    DOCUMENTS["omp"]: "## 1. Serving\n## 2. JSON\n### 2.9 Nine\n### 2.10 Ten, as §1 says\n",
    "README.md": "`oplog §1.1`, **oplog §3.2** stage 7, §1; omp §2.10; a style, a seed, MRS.",
    "omp/rules/a.py": '"""Structured Fields: RFC 8941, parsing (§4.2).\n"""\n# §9.9 and RFC 8032 §5.1.7, §5.1',
    "omp/web/a.py": '"""A module."""\n# RFC 9110 §13.1.1,\n# §8.8.3.2, ECMA-262 §7.1, FIPS 202 §3 and RFC 6979 §A.2',
    "omp/web/b.py": '"""A module of oplog §3.2, and RFC 9110."""\n# §1.2',
    "omp/rules/b.py": '"""A module of RFC 9110, and of oplog §1."""\n# §8.8.3.2',
    "omp/protocols/oplog/a.py": "a bare § is that of `oplog §…`; §1.2, oplog §1.2 to §3.2, RFC 9421 §2.2.8 or §2.5",
    "vectors/oplog/a.json": "oplog §1.1\n§3.2",
}


def project() -> dict[str, str]:
    """Every text of the project but this module, whose texts are made up to be wrong."""
    found = {}
    for pattern in (
        "*.py",
        "*.md",
        ".ci/*",
        "omp/**/*.py",
        "omp/**/*.md",
        "omp/**/*.html",
        "omp/**/*.js",
        "vectors/**/*",
    ):
        for path in sorted(TOP.glob(pattern)):
            name = path.relative_to(TOP).as_posix()
            if path.is_file() and path != Path(__file__).resolve():
                text = path.read_text(encoding="utf-8")
                found[name] = "\n".join(words(json.loads(text))) if path.suffix == ".json" else text
    return found


def words(document: Mapping[str, object]) -> Iterator[str]:
    """What a vector file says to people, about itself and about its cases."""
    cases = document["cases"]
    assert isinstance(cases, list)
    for part in (document, *cases):
        yield from (str(part[name]) for name in ("spec", "description", "name", "why") if name in part)


class Citations(unittest.TestCase):
    def test_the_project_keeps_every_rule(self) -> None:
        texts = project()
        for rule in RULES:
            with self.subTest(rule.__name__):
                faults = rule(texts)
                self.assertFalse(faults, f"{len(faults)} faults:\n" + "\n".join(faults))

    def test_every_document_is_there_and_numbered(self) -> None:
        texts = project()
        for path in DOCUMENTS.values():
            with self.subTest(path):
                self.assertTrue(sections(texts.get(path, "")))

    def test_what_is_read_is_the_whole_project(self) -> None:
        texts = project()
        for path in (
            "README.md",
            "server.py",
            "omp/web/pages/docs.html",
            "vectors/README.md",
            "vectors/oplog/merge.json",
        ):
            self.assertIn(path, texts)
        self.assertGreater(sum(len(list(citations(path, text))) for path, text in texts.items()), 400)

    def test_every_rule_finds_what_breaks_it(self) -> None:
        for rule, broken in RULES.items():
            for texts in broken:
                with self.subTest(rule.__name__, texts=texts):
                    self.assertEqual(len(rule(texts)), 1, rule(texts))

    def test_no_rule_objects_to_texts_in_order(self) -> None:
        for rule in RULES:
            with self.subTest(rule.__name__):
                self.assertEqual(rule(IN_ORDER), [])


if __name__ == "__main__":
    unittest.main()
