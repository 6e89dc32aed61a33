"""What a stranger's worst requests cost this server: CPU seconds and peak memory beside the bytes that were sent.

A **row** (:class:`Row`) is one attack with the bounds that it must stay within.  The modules ``hostile_*.py`` beside
this file hold the rows, those of each protocol in one module; ``hostile_system`` adds a sweep that needs no knowledge
of any protocol: the same few bad bodies for every route of the server's own OpenAPI document.

How a row is measured:

1. A server is started in a process of its own, and asked two ordinary questions, so that what it does only once is
   done.  A row may then bring it into the state that the attack needs (``prepare``).
2. The row is sent from this process.  Meanwhile somebody else stores an object ten times a second, each over a new
   connection; the longest wait is shown.  It is shown only: a time by the clock means little on a busy machine.
3. When the row is sent and the server is quiet again (no thread that runs, no CPU used), its CPU seconds and its peak
   memory are read.  Work that goes on after the client has hung up is counted too.

The figures come from ``/proc``; where the system has none, from the resource usage of the stopped process, less that
of a server that was sent nothing.  The bytes sent are those that the kernel took from this process.

A row *holds* if it is within its bounds.  It is *beyond* them where it exceeds one of them more than threefold, the
server died or logged a traceback, or the row took too long: with ``--check`` that is exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import itertools
import math
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from omp.tests.benchmarks.gauges import LIMIT, MIB, Watched, counted_bytes, serving, somebody_else
from omp.tests.benchmarks.load import BenchmarkFailed, answer_size, http_request
from omp.tests.benchmarks.report import Report

HELP = "what a stranger's worst requests cost: CPU seconds and memory beside the bytes sent"
CPU_A_MB = 1.0
"""Seconds of CPU that a megabyte (10**6 bytes) from a stranger may cost, where a row has no bound of its own."""
MEMORY_A_BYTE = 20
"""Bytes of memory at the peak for each byte sent, where a row has no bound of its own."""
TOLERANCE = 3.0
"""How many times its bound a row may cost before ``--check`` fails: CI's machines are not this one."""

_QUICK_LIMIT = 10.0
_QUICK_TOTAL = 240.0  # seconds after which --quick begins no further row


class Row(NamedTuple):
    """One attack.

    `send` is given the port of a running server and sends the worst; it may raise OSError, since a server that hangs up
    has defended itself.  `bound_cpu` is in seconds of the server's CPU, `bound_mib` in MiB at the peak over what the
    idle server has; None where there is no such bound.  `before` says what it cost before it was mended.

    The rest is optional.  `environ` are settings of the server.  `prepare` is given the port before anything is
    measured.  `quick` says whether ``--quick`` includes the row.  The rows of one `group` ask one server, as long as
    that is as good as new, and the table shows only the two worst of them.
    """

    name: str
    send: Callable[[int], None]
    bound_cpu: float | None
    bound_mib: float | None
    before: str
    environ: Mapping[str, str] = MappingProxyType({})
    prepare: Callable[[int], None] | None = None
    quick: bool = True
    group: str = ""


class Measured(NamedTuple):
    """What a row cost: bytes `sent`, `cpu` seconds, `peak` MiB over idle, the longest `wait` of somebody else (s)."""

    row: Row
    sent: int
    cpu: float
    peak: float
    wait: float
    faults: tuple[str, ...] = ()

    @property
    def cpu_a_mb(self) -> float:
        """CPU seconds a megabyte sent."""
        return self.cpu / max(self.sent, 1) * 1e6

    @property
    def memory_a_byte(self) -> float:
        """Bytes of memory a byte sent."""
        return self.peak * MIB / max(self.sent, 1)

    @property
    def excess(self) -> float:
        """The greatest of the costs, each divided by its bound; infinite where something went wrong."""
        if self.faults:
            return math.inf
        costs = (self.cpu, self.row.bound_cpu), (self.peak, self.row.bound_mib)
        return max((cost / bound for cost, bound in costs if bound is not None), default=0.0)

    @property
    def verdict(self) -> str:
        """For the table."""
        if self.excess <= 1:
            return "holds"
        return f"{self.excess:.1f} x" if self.excess <= TOLERANCE else f"BEYOND {self.excess:.0f} x"

    def figures(self) -> dict[str, Any]:
        """For the document; what has no bound has None."""
        return {
            "name": self.row.name,
            "sent_bytes": self.sent,
            "cpu_s": self.cpu,
            "peak_mib": self.peak,
            "wait_ms": self.wait * 1000,
            "verdict": self.verdict,
            "bound_cpu_s": self.row.bound_cpu,
            "bound_mib": self.row.bound_mib,
            "faults": list(self.faults),
        }


# --- The command ------------------------------------------------------------------------------------------------


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--only", metavar="NAME", help="only the rows whose module or name contains NAME")
    parser.add_argument("--check", action="store_true", help=f"exit status 1 if a row exceeds a bound {TOLERANCE:g} x")
    parser.add_argument("--list", action="store_true", help="show the rows and their bounds, and measure nothing")
    parser.epilog = (
        "examples:\n  python -m omp bench hostile --quick --check\n  python -m omp bench hostile --only oplog"
    )


def run(args: argparse.Namespace, report: Report) -> int:
    """Measure every row and print the table; the exit status is 1 only with ``--check``."""
    quick = getattr(args, "quick", False)
    rows, failures = gather()
    chosen = _chosen(rows, args.only, quick)
    if args.list:
        for row in chosen:
            report.row(name=row.name, bound_cpu_s=row.bound_cpu, bound_mib=row.bound_mib, before=row.before)
            report.say(f"{row.name}: {_bound(row)}; before: {row.before}")
        return 0
    report.say(_line("", "sent", "CPU s", "s/MB", "peak MiB", "x sent", "wait ms", "verdict", "bound", "before"))
    results = list(_show(measure(chosen, quick), report))
    beyond = [one for one in results if one.excess > TOLERANCE]
    skipped = len(chosen) - len(results)
    for failure in failures:
        report.say(f"not measured: {failure}")
    report.keep(not_measured=[str(failure) for failure in failures], not_begun=skipped)
    report.say(
        f"{len(results)} rows: {sum(one.excess <= 1 for one in results)} hold, {len(beyond)} are beyond {TOLERANCE:g} x"
        + (f"; {skipped} were not begun, for want of time" if skipped else "")
    )
    return 1 if args.check and (beyond or failures) else 0


def _chosen(rows: Iterable[tuple[str, Row]], only: str | None, quick: bool) -> list[Row]:
    chosen = [
        (module, row)
        for module, row in rows
        if (only is None or only in module or only in row.name) and (row.quick or not quick)
    ]
    return _in_turn(chosen) if quick else [row for _, row in chosen]


def _in_turn(rows: Iterable[tuple[str, Row]]) -> list[Row]:
    """One row of each module in turn, so that a run that ends early has tried something of each.

    All that belongs to a group comes last, as one group: a server as good as new is asked again.
    """
    modules: dict[str, list[Row]] = {}
    for module, row in rows:
        modules.setdefault("" if row.group else module, []).append(row._replace(group="all") if row.group else row)
    grouped = modules.pop("", [])
    in_turn = [row for turn in itertools.zip_longest(*modules.values()) for row in turn if row is not None]
    return in_turn + grouped


def gather() -> tuple[list[tuple[str, Row]], list[str]]:
    """Every (module, row) of the modules ``hostile_*`` beside this one, and a sentence for each that has none."""
    rows, failures = [], []
    for path in sorted(Path(__file__).parent.glob("hostile_*.py")):
        try:
            found = importlib.import_module(f"omp.tests.benchmarks.{path.stem}").ROWS
            rows += [(path.stem, _row(one)) for one in found]
        except (ImportError, AttributeError) as error:
            failures.append(f"{path.stem}: {error}")
    return rows, failures


def _row(one: Any) -> Row:
    """A row as it stands, or made of anything that has its first five members."""
    return one if isinstance(one, Row) else Row(*(getattr(one, name) for name in Row._fields[:5]))


# --- Measuring --------------------------------------------------------------------------------------------------


def measure(rows: Iterable[Row], quick: bool = False) -> Iterator[Measured]:
    """Measure the rows, one after the other."""
    began = time.monotonic()
    for _, group in itertools.groupby(enumerate(rows), lambda item: item[1].group or item[0]):
        waiting = [row for _, row in group]
        while waiting:
            if quick and time.monotonic() - began > _QUICK_TOTAL:
                return
            with serving(waiting[0].environ) as watched:
                while waiting and watched.fresh():
                    yield _measured(watched, waiting.pop(0), quick)


def _measured(watched: Watched, row: Row, quick: bool) -> Measured:
    """Send one row and read what it cost."""
    port = watched.server.port
    if row.prepare is not None:
        row.prepare(port)
        watched.settle(LIMIT)
    deadline = time.monotonic() + (_QUICK_LIMIT if quick else LIMIT)
    # A quick run need not know how far a row is beyond its bound.
    enough = TOLERANCE * row.bound_cpu + 1 if quick and row.bound_cpu is not None else math.inf
    faults = []
    watched.begin()
    with counted_bytes() as sent, somebody_else(port) as waits:
        attack = _Attack(row, port)
        finished = attack.wait(lambda: watched.cpu() > enough, deadline) and watched.settle(deadline - time.monotonic())
        if not finished:
            faults.append("stopped: it cost far too much, or took too long")
        elif attack.error is not None:
            faults.append(f"the row failed: {attack.error!r}")
    cpu, peak = watched.end()
    return Measured(row, sum(sent), cpu, peak, max(waits, default=0.0), (*faults, *watched.faults()))


class _Attack:
    """A row under way, in a thread of its own."""

    def __init__(self, row: Row, port: int) -> None:
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._send, args=(row.send, port), daemon=True)
        self._thread.start()

    def _send(self, send: Callable[[int], None], port: int) -> None:
        try:
            send(port)
        except OSError:  # the server hung up, which is its right
            pass
        except Exception as error:
            self.error = error

    def wait(self, give_up: Callable[[], bool], deadline: float) -> bool:
        """Wait until all is sent; False where the deadline passed or `give_up` said so."""
        while self._thread.is_alive():
            if time.monotonic() > deadline or give_up():
                return False
            self._thread.join(0.05)
        return True


# --- Sending ----------------------------------------------------------------------------------------------------


def deliver(port: int, request: bytes) -> int:
    """Send one request over a new connection, read the answer and forget it: its status, 0 if none came.

    The sending side stays open: a server may take a client that closes it for one that has gone.
    """
    head, arrived, size = b"", 0, MIB
    with socket.create_connection(("127.0.0.1", port), LIMIT) as connection:
        with contextlib.suppress(OSError):  # refused before all of it was read: the answer may be there
            connection.sendall(request)
        with contextlib.suppress(OSError, BenchmarkFailed):  # the latter: a stream, which has no size
            while arrived < size and (piece := connection.recv(MIB)):
                arrived += len(piece)
                if b"\r\n\r\n" not in head:
                    head += piece
                    size = answer_size(head)
    return int(head[9:12] or 0)


def post(port: int, target: str, body: bytes, media_type: str = "application/json") -> int:
    """POST one body: the status of the answer, 0 if none came."""
    return deliver(port, http_request("POST", target, body, {"Content-Type": media_type}, f"127.0.0.1:{port}"))


# --- What is printed --------------------------------------------------------------------------------------------


def _line(name: str, *cells: str) -> str:
    *numbers, verdict, bound, before = cells
    return f"{name:58}" + "".join(f"{cell:>10}" for cell in numbers) + f"  {verdict:13}{bound:22}{before}"


def _shown(one: Measured) -> str:
    line = _line(
        one.row.name,
        f"{one.sent:,}",
        f"{one.cpu:.2f}",
        f"{one.cpu_a_mb:.2f}",
        f"{one.peak:.1f}",
        f"{one.memory_a_byte:.1f}",
        f"{one.wait * 1000:.0f}",
        one.verdict,
        _bound(one.row),
        one.row.before,
    )
    return line.rstrip() + "".join(f"\n    {fault}" for fault in one.faults)


def _bound(row: Row) -> str:
    parts = []
    if row.bound_cpu is not None:
        parts.append(f"{row.bound_cpu:.2f} s")
    if row.bound_mib is not None:
        parts.append(f"{row.bound_mib:.1f} MiB")
    return ", ".join(parts) or "none"


def _show(results: Iterable[Measured], report: Report) -> Iterator[Measured]:
    """Print each row when it is measured, and of each group, when all of it is, the worst; passes all of them on."""
    for group, members in itertools.groupby(results, lambda one: one.row.group):
        collected = []
        for one in members:
            collected.append(one)
            report.row(**one.figures())
            yield one
            if not group:
                report.say(_shown(one))
        if group:
            shown = _worst(collected)
            for one in shown:
                report.say(_shown(one))
            if others := sum(one.excess > 1 for one in collected) - sum(one.excess > 1 for one in shown):
                report.say(f"    and {others} others of this route that do not hold")


def _worst(group: Sequence[Measured]) -> list[Measured]:
    """Of a group what comes nearest to the bound of CPU and to that of memory, and all that is beyond its bounds."""
    cpu = max(group, key=lambda one: one.cpu / (one.row.bound_cpu or math.inf))
    peak = max(group, key=lambda one: one.peak / (one.row.bound_mib or math.inf))
    return [one for one in group if one is cpu or one is peak or one.excess > TOLERANCE]
