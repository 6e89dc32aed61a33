"""Every example of the project, in a docstring or on a page, is run as it stands there."""

from __future__ import annotations

import doctest
import importlib
import re
import unittest
from collections.abc import Iterator
from pathlib import Path

from omp.tests import TOP

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def modules_with_examples() -> list[str]:
    """The names of all modules, tests aside, that show an example."""
    paths = [path for path in sorted((TOP / "omp").rglob("*.py")) if "tests" not in path.relative_to(TOP).parts]
    shown = [path.relative_to(TOP).with_suffix("").parts for path in paths if ">>>" in path.read_text(encoding="utf-8")]
    return [".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in shown]


def examples_on_pages() -> Iterator[tuple[Path, doctest.DocTest]]:
    """The ``python`` blocks with ``>>>`` of the README and of every page in the package, those of a page together."""
    for page in [*TOP.glob("README.md"), *sorted((TOP / "omp").rglob("*.md"))]:
        blocks = [block for block in _BLOCK.findall(page.read_text(encoding="utf-8")) if ">>>" in block]
        if blocks:
            name = page.relative_to(TOP).as_posix()
            yield page, doctest.DocTestParser().get_doctest("\n".join(blocks), {}, name, name, 0)


class Examples(unittest.TestCase):
    def _run(self, *examples: doctest.DocTest) -> None:
        said: list[str] = []
        runner = doctest.DocTestRunner()
        for example in examples:
            runner.run(example, out=said.append)
        self.assertGreater(runner.tries, 0, "no docstring holds the example")
        self.assertEqual(runner.failures, 0, "".join(said))

    def test_every_example_in_a_docstring_gives_what_it_says(self) -> None:
        names = modules_with_examples()
        self.assertLessEqual({"omp", "omp.rules.canonical"}, set(names))
        for name in names:
            with self.subTest(name):
                self._run(*doctest.DocTestFinder().find(importlib.import_module(name)))

    @unittest.skipUnless((TOP / "omp" / "README.md").exists(), "there is no omp/README.md in this copy of the package")
    def test_every_example_on_a_page_gives_what_it_says(self) -> None:
        found = list(examples_on_pages())
        self.assertIn(TOP / "omp" / "README.md", [page for page, _ in found])
        for page, example in found:
            with self.subTest(page.name):
                self._run(example)


if __name__ == "__main__":
    unittest.main()
