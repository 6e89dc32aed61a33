"""``python -m omp bench``: how fast, and beside what.

Each benchmark is a module in :mod:`omp.tests.benchmarks` with ``HELP``, ``configure(parser)`` for options of its
own, and ``run(arguments, report) -> exit status``; the table below is all that makes it known.  A module is imported
only when it is asked for.  Nothing here is a test: a goal that is missed is printed as such, and the exit status is
that of a run that could be finished.  (``hostile --check`` and ``crash`` are the exceptions: CI runs them.)
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import Any

from omp.tests.benchmarks import load
from omp.tests.benchmarks.report import Report
from omp.tools.options import Parser

HELP = "measure the server: requests a second, latency, memory, beside a stock server and bare costs"
BENCHMARKS = {
    "objects": "POST and GET beside a stock server; signatures; SQLite; memory; start-up (the default)",
    "log": "ingest of operations beside the bare floor of JSON, SHA-256 and Ed25519",
    "vault": "pull, push and token request",
    "places": "search and loading among up to a million registrations",
    "profile": "reading and signed writing of a profile",
    "hostile": "what a stranger's worst requests cost",
    "holds": "how long locks are held while the worst is sent to the operation log",
    "crash": "a thousand kill -9 in the middle of writes: is everything there that was answered?",
}
EXAMPLES = """examples:
  python -m omp bench                        the objects API, five rounds
  python -m omp bench --quick                the same at a glance
  python -m omp bench objects --part start   one part of it
  python -m omp bench log --no-pin           another benchmark, processors left to the system
  python -m omp bench places --json          the figures as one JSON document"""


class _BenchmarkParser(Parser):
    """The options of one benchmark: the shared ones and its own, which are added when it is chosen."""

    benchmark = ""

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse, having imported the benchmark."""
        load.add_options(self)
        module(self.benchmark).configure(self)
        return super().parse_known_args(args, namespace)


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.epilog = EXAMPLES
    load.add_options(parser)
    choice = parser.add_subparsers(
        dest="benchmark", metavar="benchmark", title="benchmarks", parser_class=_BenchmarkParser
    )
    for name, summary in BENCHMARKS.items():
        _parser_of(choice.add_parser(name, help=summary, description=summary), name)


def _parser_of(parser: _BenchmarkParser, name: str) -> _BenchmarkParser:
    parser.benchmark = name
    return parser


def module(name: str) -> Any:
    """The module of a benchmark."""
    return importlib.import_module(f"omp.tests.benchmarks.{name}")


def run(args: argparse.Namespace) -> int:
    """Run the benchmark; raises :class:`~omp.tests.benchmarks.load.BenchmarkFailed` where it cannot be finished."""
    if args.benchmark is None:
        args.benchmark = next(iter(BENCHMARKS))
        _parser_of(_BenchmarkParser(), args.benchmark).parse_args([], namespace=args)
    report = Report(args.benchmark, as_json=getattr(args, "json", False))
    status = int(module(args.benchmark).run(args, report))
    report.end()
    return status
