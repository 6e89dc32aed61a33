"""What a benchmark has measured: lines for a person as they come, or with ``--json`` one document at the end.

A benchmark gives each figure to :meth:`Report.table`, :meth:`Report.goal` or :meth:`Report.row`, which keep it and show
it, and everything else to :meth:`Report.say`.  With ``--json`` the lines go to standard error, and the document to
standard output: ``benchmark``, ``plan`` where the benchmark has one, ``rows``, ``goals``, and what :meth:`Report.keep`
adds.  The members of rows and goals end in their unit (``p99_ms``); a goal says its own.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from omp.tests.benchmarks.load import Plan, Result, goal, table
from omp.tools.terminal import give


class Report:
    """The figures of one run; `as_json` is whether they become a document."""

    def __init__(self, benchmark: str = "", as_json: bool = False) -> None:
        self._as_json = as_json
        self._part: dict[str, Any] = {}
        self._kept: dict[str, Any] = {"benchmark": benchmark}
        self._rows: list[dict[str, Any]] = []
        self._goals: list[dict[str, Any]] = []

    def say(self, line: str = "") -> None:
        """Show a line."""
        print(line, file=sys.stderr if self._as_json else sys.stdout, flush=True)

    def plan(self, plan: Plan, more: str = "") -> None:
        """Keep and show how it is measured."""
        self.keep(plan={**asdict(plan), "python": sys.version.split()[0]})
        self.say(plan.describe() + more)

    def part(self, name: str) -> None:
        """Begin a part: its rows and goals have its name."""
        self._part = {"part": name}
        self.say(f"\n{name}")

    def table(self, results: Mapping[str, Sequence[Result]], resident: Mapping[str, float] | None = None) -> None:
        """Rates and latencies of contestants, the median of the rounds; `resident` are megabytes."""
        for name, rounds in results.items():
            figures = {"per_second": statistics.median(each.rate for each in rounds)}
            if rounds[0].latencies:
                for percent in (50, 99):
                    seconds = statistics.median(each.percentile(percent) for each in rounds)
                    figures[f"p{percent}_ms"] = seconds * 1000
            if resident and name in resident:
                figures["resident_mb"] = resident[name]
            self.row(name=name, **figures)
        self.say(table(results, resident))

    def row(self, **figures: Any) -> None:
        """Keep a row, which the caller shows."""
        self._rows.append({**self._part, **figures})

    def goal(
        self, what: str, measured: float, *, at_least: float | None = None, at_most: float | None = None, unit: str = ""
    ) -> None:
        """A measured value beside what it is to reach, if it is to reach anything."""
        bounds = {name: bound for name, bound in (("at_least", at_least), ("at_most", at_most)) if bound is not None}
        line = goal(what, measured, at_least=at_least, at_most=at_most, unit=unit)
        kept = {**self._part, "what": what, "measured": measured, "unit": unit.strip(), **bounds}
        self._goals.append({**kept, "reached": line.startswith("reached")} if bounds else kept)
        self.say(line)

    def keep(self, **facts: Any) -> None:
        """Further members of the document."""
        self._kept |= facts

    def end(self) -> None:
        """With ``--json``, print the document."""
        if self._as_json:
            give(True, {**self._kept, "rows": self._rows, "goals": self._goals}, ())
