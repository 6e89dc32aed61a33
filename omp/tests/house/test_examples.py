"""Every example in a docstring of the project, run as it stands there."""

from __future__ import annotations

import doctest
import importlib
import unittest

from omp.tests import TOP


def modules_with_examples() -> list[str]:
    """The names of all modules, tests aside, that show an example."""
    paths = [path for path in sorted((TOP / "omp").rglob("*.py")) if "tests" not in path.relative_to(TOP).parts]
    shown = [path.relative_to(TOP).with_suffix("").parts for path in paths if ">>>" in path.read_text()]
    return [".".join(parts[:-1] if parts[-1] == "__init__" else parts) for parts in shown]


class Examples(unittest.TestCase):
    def test_every_example_gives_what_it_says(self) -> None:
        names = modules_with_examples()
        self.assertIn("omp.rules.canonical", names)
        for name in names:
            with self.subTest(name):
                said: list[str] = []
                runner = doctest.DocTestRunner()
                for example in doctest.DocTestFinder().find(importlib.import_module(name)):
                    runner.run(example, out=said.append)
                self.assertGreater(runner.tries, 0, "no docstring holds the example")
                self.assertEqual(runner.failures, 0, "".join(said))


if __name__ == "__main__":
    unittest.main()
