"""A thousand ``kill -9`` in the middle of writes of all five protocols: is everything there that was answered?

A server on an SQLite file is written to by a dozen clients at once (`crash_*`, one module a protocol), and killed
after 50 to 400 ms.  Then ``store verify`` goes through what is left on the disk: SQLite's own ``integrity_check``,
every hash and signature, every index and counter against the rows that it follows from.  Then the server is started
on it again, and each client checks its ledger (:mod:`~omp.tests.benchmarks.crash_client`): each write that was
answered is whole, and each that was not is whole or absent.  After the last kill of a file all of it is checked once
more, from the beginning.

Into every fifth round comes an accident (:mod:`~omp.tests.benchmarks.crash_accidents`): a full disk, a file that is
removed, moved or replaced, a second server, a bit that flips.

What happens depends on when the system lets whom run.  So a seed brings back the requests and the times of the kills,
and not the very interleaving.  A finding names its seed and kill, and the files are kept as they were found.

Exit status: 0 without a finding, 1 with one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from omp.tests.avp.parties import Party
from omp.tests.benchmarks.crash_accidents import ACCIDENTS, SERVER, NotStarted, Victim, damaged_row
from omp.tests.benchmarks.crash_avp import Shared, VaultWriter
from omp.tests.benchmarks.crash_client import Writer
from omp.tests.benchmarks.crash_mrs import PlaceWriter
from omp.tests.benchmarks.crash_nexus import ProfileWriter
from omp.tests.benchmarks.crash_objects import ObjectWriter
from omp.tests.benchmarks.crash_oplog import Device, Log
from omp.tests.benchmarks.report import Report
from omp.tools import store
from omp.tools.terminal import NotChecked

HELP = "kill -9 in the middle of writes: is everything there that was answered?"
KILLS, QUICK_KILLS = 1000, 50
KILLS_A_FILE = 10
"""Then a new file is begun, so that checking stays quick."""
ACCIDENT_EVERY = 5
SHORTEST, LONGEST = 0.05, 0.4
"""Seconds of writing before a kill."""
ENOUGH = 20
"""Findings after which a run ends."""
_DAMAGED_ROW = "damaged row"
_EXAMPLES = """examples:
  python -m omp bench crash --quick               50 kills, in about two minutes
  python -m omp bench crash --seed 7 --kills 100
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--kills", type=int, help=f"how many ({KILLS}; {QUICK_KILLS} with --quick)")
    parser.add_argument("--seed", type=int, help="of the requests and the times of the kills (a new one)")
    parser.add_argument("--no-accidents", action="store_true", help="kill only")
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def run(args: argparse.Namespace, report: Report) -> int:
    """Kill, check, print the table; the exit status is 1 if something was found."""
    kills = args.kills or (QUICK_KILLS if getattr(args, "quick", False) else KILLS)
    seed = SystemRandom().randrange(10**6) if args.seed is None else args.seed
    report.say(f"seed {seed}")
    run_of = Run(seed, kills, accidents=not args.no_accidents, say=report.say)
    # A server in a session of its own would outlive a bench that is ended: let it clean up.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run_of.go()
    finally:
        signal.signal(signal.SIGTERM, before)
    report.keep(**run_of.figures())
    report.say(run_of.table())
    return 1 if run_of.findings else 0


# --- A run ------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """So many kills; `command` starts the server, `say` shows a line."""

    seed: int
    kills: int
    accidents: bool = True
    command: Sequence[str] = SERVER
    enough: int = ENOUGH
    keep: Path = Path(tempfile.gettempdir())
    """Where the files of a finding are kept, in a folder of their own."""
    killed: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    restarts: list[float] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    say: Callable[[str], None] = print

    def go(self) -> None:
        """Kill until it is enough, a new file for every few."""
        began = time.monotonic()
        while self.killed < self.kills and len(self.findings) < self.enough:
            with tempfile.TemporaryDirectory(prefix="omp-crash-") as folder, _File(self, Path(folder)) as file:
                file.live(min(KILLS_A_FILE, self.kills - self.killed))
            self.seconds = time.monotonic() - began
            self.say(f"{self.killed} kills, {self.answered.total():,} answered writes, {self.seconds:.0f} s")

    def accident(self) -> str:
        """What happens before the next kill; "" in most rounds."""
        if not self.accidents or self.killed % ACCIDENT_EVERY != ACCIDENT_EVERY - 1:
            return ""
        names = [*ACCIDENTS, _DAMAGED_ROW]
        return names[self.killed // ACCIDENT_EVERY % len(names)]

    def figures(self) -> dict[str, Any]:
        """What was done and found, for the document."""
        return {
            "seed": self.seed,
            "kills": self.killed,
            "answered_writes": dict(sorted(self.answered.items())),
            "accidents": dict(sorted(self.happened.items())),
            "restart_p50_s": statistics.median(self.restarts) if self.restarts else None,
            "restart_max_s": max(self.restarts, default=None),
            "seconds": self.seconds,
            "findings": self.findings,
        }

    def table(self) -> str:
        """What was done and found."""
        lines = [f"{'kills':<34}{self.killed:>10,}", f"{'answered writes':<34}{self.answered.total():>10,}"]
        lines += [f"  {protocol:<32}{count:>10,}" for protocol, count in sorted(self.answered.items())]
        lines += [f"{'accidents':<34}{self.happened.total():>10,}"]
        lines += [f"  {name:<32}{count:>10,}" for name, count in sorted(self.happened.items())]
        if self.restarts:
            lines.append(f"{'restart, p50':<34}{statistics.median(self.restarts):>8.2f} s")
            lines.append(f"{'restart, max':<34}{max(self.restarts):>8.2f} s")
        lines += [f"{'seconds':<34}{self.seconds:>10,.0f}", f"{'findings':<34}{len(self.findings):>10,}"]
        return "\n".join(lines + [f"  {finding}" for finding in self.findings])


def verify(path: Path) -> list[str]:
    """What ``python -m omp store verify`` finds wrong with a file that no server has open."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = store.run(argparse.Namespace(file=str(path), rebuild=False, give_up=False, json=False))
        except NotChecked as error:
            return [f"store verify: {error}"]
    return [] if status == store.WHOLE else [f"store verify: {said.getvalue()}"]


# --- One file, and those who write to it ------------------------------------------------------------------------


class _File:
    """A database, and its clients."""

    def __init__(self, run_of: Run, folder: Path) -> None:
        self._run = run_of
        self._folder = folder
        self._path = folder / "omp.db"
        self._random = Random(f"{run_of.seed} {run_of.killed}")
        self._writers = list(_crew(self._random))
        self._log = (folder / "server.log").open("a+b")
        self._victim: Victim | None = None

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._victim is not None:
            self._victim.kill()
        self._log.close()

    def live(self, kills: int) -> None:
        """Prepare, kill and check, and at the end check everything."""
        try:
            self._kill_and_check(kills)
        except NotStarted as error:
            self._found(f"the server did not start: {error}")
        for writer in self._writers:
            self._run.answered[writer.protocol] += writer.ledger.answered

    def _kill_and_check(self, kills: int) -> None:
        before = len(self._run.findings)
        victim = self._start()
        for writer in self._writers:
            writer.on(victim.port, writer.prepare)
        for turn in range(kills):
            self._round(victim)
            victim = self._start(again=True)
            self._check(victim, everything=turn == kills - 1)
            if len(self._run.findings) > before:
                return  # what was lost once would be found after each kill
        if (status := victim.stop()) != 0:
            self._found(f"after SIGTERM the exit status was {status}")
        self._found(*verify(self._path))

    def _start(self, again: bool = False) -> Victim:
        self._victim = victim = Victim(self._path, self._log, self._run.command)
        if again:
            self._run.restarts.append(victim.startup)
        return victim

    def _round(self, victim: Victim) -> None:
        """Let them write, kill the server, and verify what it left."""
        accident = self._run.accident()
        stop = threading.Event()
        threads = [threading.Thread(target=writer.run, args=(victim.port, stop)) for writer in self._writers]
        for thread in threads:
            thread.start()
        time.sleep(self._random.uniform(SHORTEST, LONGEST))
        if accident in ACCIDENTS:
            self._found(*ACCIDENTS[accident](victim), during=accident)
        if not victim.kill():
            self._found("the server ended before it was killed", during=accident)
        stop.set()
        for thread in threads:
            thread.join()
        self._run.killed += 1
        self._collect(accident)
        self._found(*verify(self._path), during=accident)
        if accident == _DAMAGED_ROW:
            self._found(*damaged_row(self._path, self._start, verify), during=accident)
        if accident:
            self._run.happened[accident] += 1

    def _check(self, victim: Victim, everything: bool) -> None:
        for writer in self._writers:
            writer.on(victim.port, lambda writer=writer: writer.check(everything))  # type: ignore[misc]
        self._collect("")
        self._log.seek(0)
        if b"Traceback" in (said := self._log.read()):
            self._found(f"the server's log has a traceback: {said[said.index(b'Traceback') :][:2000].decode()}")
            self._log.truncate(0)

    def _collect(self, during: str) -> None:
        for writer in self._writers:
            self._found(*(f"{writer.protocol}: {broken}" for broken in writer.broken), during=during)
            writer.broken.clear()

    def _found(self, *findings: str, during: str = "") -> None:
        """Keep findings, with what is needed to look at them, and the files as they are."""
        if not findings:
            return
        kept = tempfile.mkdtemp(prefix="omp-crash-found-", dir=self._run.keep)
        shutil.copytree(self._folder, kept, dirs_exist_ok=True)
        place = f"seed {self._run.seed}, kill {self._run.killed}{f', {during}' if during else ''}; files in {kept}"
        for finding in findings:
            self._run.findings.append(f"{finding} ({place})")
            self._run.say(self._run.findings[-1])


def _crew(random: Random) -> Iterator[Writer]:
    """Who writes: two or more of each protocol."""

    def own() -> Random:
        return Random(random.randrange(2**64))

    yield from (ObjectWriter(f"objects-{number}", own()) for number in range(3))
    for number in range(2):
        log = Log(own())
        yield from (Device(f"device-{number}-{one}", own(), log) for one in range(2))
    shared = Shared(Party("vault-0"), Party("vault-1"), "shared")
    yield from (VaultWriter(f"vault-{number}", own(), shared) for number in range(2))
    yield from (PlaceWriter(f"places-{number}", own()) for number in range(2))
    yield from (ProfileWriter(f"profile-{number}", own()) for number in range(2))
