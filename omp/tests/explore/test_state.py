"""The derivation of the state in the page, against the vectors of the log: any order of rules that differs is found."""

from __future__ import annotations

import json
import unittest
from collections.abc import Iterator
from typing import Any, ClassVar

from omp.tests import TOP
from omp.tests.explore.explorer import PROGRAM, WITHOUT, ExplorerInABrowser

DERIVE = """(async ({log, lines}) => {
  const { readOperations } = await import("/explore/operation.js");
  const { arranged, derived, stateDocument } = await import("/explore/state.js");
  const ordered = arranged(await readOperations(lines.join("\\n")));
  const state = derived(log, ordered);
  return {order: ordered.map((one) => one.id), heads: state.heads, document: stateDocument(log, ordered, state)};
})"""


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every vector that has a state document."""
    for path in sorted((TOP / "vectors" / "oplog").glob("*.json")):
        for case in json.loads(path.read_bytes())["cases"]:
            if "document" in case and "operations" in case:
                yield f"{path.name}: {case['name']}", case


@unittest.skipUnless(PROGRAM, WITHOUT)
class Derivation(ExplorerInABrowser):
    environ: ClassVar[dict[str, str]] = {}

    def test_every_vector_has_the_state_that_it_says(self) -> None:
        self.show()
        compared = 0
        for name, case in cases():
            with self.subTest(name):
                found = self.browser.evaluate(
                    f"{DERIVE}({json.dumps({'log': case['log'], 'lines': case['operations']})})"
                )
                self.assertEqual(found["document"], case["document"])
                self.assertEqual(found["heads"], case["heads"])
                compared += 1
        self.assertGreater(compared, 10)


if __name__ == "__main__":
    unittest.main()
