"""How long a lock of the operation log is held: no hold may take more than 50 ms, whatever is sent.

CPU seconds (``bench hostile``) do not show this: a second of work is harmless in slices of 10 ms, and in one piece it
stops every protocol.  So each **row** here sends the worst to a node in this process, in which two things are watched:
:attr:`Node._lock`, and the blocks in which the store is written to (of SQLite the part in which other writers wait, not
the commit after it).  What is shown is the longest hold of each, in milliseconds, beside the time that the whole took.

The garbage collector stops everything wherever it strikes.  Its longest pause is shown beside, and the holds are
measured once without it and once with it, set as the server sets it (``--python-gc``: as Python sets it).

The signatures are not verified: that happens before any lock, and would take most of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from omp.entry import GC_THRESHOLDS
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, REFUTATION, REVOCATION
from omp.protocols.oplog.node import Node, OpLog
from omp.protocols.oplog.posting import MAX_LINES, NDJSON
from omp.protocols.oplog.routes import REFUSALS, ROUTES
from omp.rules import identifiers
from omp.rules.engines import Engine
from omp.store.memory import MemoryStore
from omp.store.port import Store
from omp.store.sqlite import SqliteStore
from omp.tests.benchmarks import load
from omp.tests.benchmarks.hostile_oplog import _about, _claim, _grant, _Key, _Made
from omp.tests.benchmarks.report import Report
from omp.web.messages import Request
from omp.web.routes import Application, Mount
from omp.web.signature_guard import SignatureGuard

HELP = "how long locks are held while the worst is sent to the operation log"
BOUND = 0.050
"""Seconds that a lock may be held."""
_SOURCES = 256
_TRUSTING = Engine("trusting", lambda public_key, message, signature: True)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--operations", type=int, help="in the log of a row (100,000; 10,000 with --quick)")
    parser.add_argument("--only", metavar="NAME", help=f"only the rows of this log: {', '.join(ROWS)}")
    parser.add_argument("--python-gc", action="store_true", help="leave the thresholds of the collector alone")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a hold exceeds its bound without gc")
    parser.epilog = "examples:\n  python -m omp bench holds --quick"


def run(args: argparse.Namespace, report: Report) -> int:
    """Measure every row with both stores and print the table."""
    if not args.python_gc:
        gc.set_threshold(*GC_THRESHOLDS)
    count = args.operations or (10_000 if getattr(args, "quick", False) else 100_000)
    report.say(
        f"{'':44}{'store':8}{'whole':>8}{'lock':>8}{'block':>8}{'lock, gc':>10}{'block, gc':>11}{'gc pause':>10}  (ms)"
    )
    worst = 0.0
    for name, rows in ROWS.items():
        if args.only is not None and args.only not in name:
            continue
        prepare, attacks = rows(count)
        for store in ("memory", "sqlite"):
            for name, without, with_gc in _measured(store, prepare, attacks):
                worst = max(worst, without.lock, without.block)
                figures = without.whole, without.lock, without.block, with_gc.lock, with_gc.block, with_gc.pause
                widths = 8, 8, 8, 10, 11, 10
                cells = "".join(f"{1000 * one:{width}.1f}" for one, width in zip(figures, widths, strict=True))
                report.row(name=name, store=store, **_in_ms(figures))
                report.say(f"{name:44}{store:8}{cells}")
    report.keep(worst_ms=1000 * worst, bound_ms=1000 * BOUND)
    report.say(f"the longest hold without gc: {1000 * worst:.1f} ms, at most {1000 * BOUND:.0f}")
    return 1 if args.check and worst > BOUND else 0


def _in_ms(seconds: Sequence[float]) -> dict[str, float]:
    names = "whole_ms", "lock_ms", "block_ms", "lock_gc_ms", "block_gc_ms", "gc_pause_ms"
    return {name: 1000 * one for name, one in zip(names, seconds, strict=True)}


# --- Watching ---------------------------------------------------------------------------------------------------


class Holds(NamedTuple):
    """Seconds: the `whole` attack, the longest hold of the `lock` and of a `block`, the longest `pause` of gc."""

    whole: float
    lock: float
    block: float
    pause: float


class _WatchedLock:
    """A lock that knows how long it was held."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._since = 0.0
        self.longest = 0.0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._since = time.thread_time()

    def __exit__(self, *error: object) -> None:
        self.longest = max(self.longest, time.thread_time() - self._since)
        self._lock.release()

    def locked(self) -> bool:
        return bool(self._lock.locked())


class Watched:
    """A node over `store`, with the handlers of the protocol, whose locks are watched."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._write = store.write
        store.write = self._watched_block  # type: ignore[method-assign]
        self.node = Node(store)
        self._lock = _WatchedLock(self.node._lock)
        self.node._lock = self._lock  # type: ignore[assignment]
        self._block = self._pause = self._paused = 0.0
        oplog = OpLog(self.node, _TRUSTING, cast(SignatureGuard, _OpenToAll()), lambda: 0.0)
        mount = Mount("oplog", "", "", ROUTES, oplog, owns=("/logs",), refusals=REFUSALS)
        self._application = Application([mount], self._failed, 64 << 20)

    @contextlib.contextmanager
    def _watched_block(self) -> Iterator[Any]:
        with self._write() as tx:
            since = time.thread_time()
            yield tx
            self._block = max(self._block, time.thread_time() - since)

    def _failed(self, report: str) -> None:
        raise load.BenchmarkFailed(f"a handler failed: {report}")

    def _collected(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._paused = time.thread_time()
        else:
            self._pause = max(self._pause, time.thread_time() - self._paused)

    def holds(self, attack: Callable[[Watched], None]) -> Holds:
        """What was held how long during `attack`."""
        self._lock.longest = self._block = self._pause = 0.0
        gc.callbacks.append(self._collected)
        began = time.thread_time()
        try:
            attack(self)
        finally:
            gc.callbacks.remove(self._collected)
        return Holds(time.thread_time() - began, self._lock.longest, self._block, self._pause)

    def post(self, log: str, operations: Sequence[_Made]) -> None:
        """Send operations in as few bodies as they fit in."""
        for start in range(0, len(operations), MAX_LINES):
            lines = b"\n".join(one.raw for one in operations[start : start + MAX_LINES])
            self.ask("POST", log, "/operations", lines, NDJSON)

    def ask(self, method: str, log: str, path: str, body: bytes = b"", media_type: str = "application/json") -> None:
        """Send one request and read the answer to its end."""
        request = Request(method, f"/logs/{log}{path}", {"content-type": media_type}, (), body)
        answer = self._application.answer(request)
        if answer.status not in (200, 201):
            raise load.BenchmarkFailed(f"{method} {path}: {answer.status} {answer.body!r:.300}")
        for _ in answer.stream or ():
            pass


class _OpenToAll:
    """Stands for the guard of a server in mode ``off``."""

    def check(self, request: Request, *, own_keys: bool = False) -> None:
        return None


_Attack = tuple[str, Callable[[Watched], None]]
_Prepared = tuple[Callable[[Watched], None], list[_Attack]]
"""(What brings a node into the state that the attacks need, the attacks in order)."""


def _measured(
    kind: str, prepare: Callable[[Watched], None], attacks: Sequence[_Attack]
) -> Iterable[tuple[str, Holds, Holds]]:
    """(Name, holds without the garbage collector, holds with it) of each attack on a log that is prepared anew."""
    runs = []
    for collected in (False, True):
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            store: Store = MemoryStore() if kind == "memory" else SqliteStore(str(Path(folder) / "log.db"))
            stack.callback(store.close)
            watched = Watched(store)
            prepare(watched)
            gc.collect()
            if not collected:
                gc.disable()
                stack.callback(gc.enable)
            runs.append([watched.holds(attack) for _, attack in attacks])
    return [(name, *pair) for (name, _), pair in zip(attacks, zip(*runs, strict=True), strict=True)]


# --- The rows ---------------------------------------------------------------------------------------------------


class _Writer(_Key):
    """A key that signs with nothing: nobody verifies."""

    def __init__(self, number: int) -> None:
        self.public_key = number.to_bytes(32, "big")
        self.sign = lambda message: bytes(64)
        self.id = identifiers.key_id(self.public_key)
        self.log = identifiers.identity_id(self.public_key)


def _chain(count: int) -> _Prepared:
    """Claims each derived from the one before it; then the first is refuted."""
    root = _Writer(1)
    made = [_Made(root, root.log, CLAIM, _claim("0"))]
    for number in range(1, count):
        made.append(_Made(root, root.log, CLAIM, _claim(str(number), made[-1:]), made[-1]))
    refutation = _Made(root, root.log, REFUTATION, _about(made[0]), made[-1])
    return lambda watched: watched.post(root.log, made), [
        (f"the state of {count:,} claims", lambda watched: watched.ask("GET", root.log, "/state")),
        (f"refuting what {count:,} claims rest on", lambda watched: watched.post(root.log, [refutation])),
        ("the state after it", lambda watched: watched.ask("GET", root.log, "/state")),
        ("heads after it", lambda watched: watched.ask("GET", root.log, "/heads")),
        (f"why, of {count:,} edges", lambda watched: watched.ask("GET", root.log, f"/claims/{made[-1].id}/why")),
        ("the claims with a status that none has", lambda watched: watched.ask("GET", root.log, "/claims?status=x")),
        ("the projection", lambda watched: watched.ask("GET", root.log, f"/projection?key={root.id}")),
    ]


def _written_under_a_grant(operations: int) -> _Prepared:
    """Claims under a grant, half of them derived from another; then the grant is revoked by who has seen none."""
    root, device = _Writer(2), _Writer(3)
    granted = _Made(root, root.log, GRANT, _grant(device))
    made = [granted]
    last: _Made | None = None
    count = operations // 2
    for number in range(count):
        sources = [last] if last and number % 2 else []
        last = _Made(device, root.log, CLAIM, _claim(str(number), sources), last, [] if last else [granted])
        made.append(last)
    revocation = _Made(root, root.log, REVOCATION, _about(granted), granted)
    return lambda watched: watched.post(root.log, made), [
        (f"a revocation that voids {count:,}", lambda watched: watched.post(root.log, [revocation])),
        ("the state after it", lambda watched: watched.ask("GET", root.log, "/state")),
    ]


def _heads(operations: int) -> _Prepared:
    """Forks of one operation, none of which has seen another."""
    root = _Writer(4)
    first = _Made(root, root.log, CLAIM, _claim("first"))
    made = [first]
    count = operations // 10
    for number in range(count):
        body = {
            "evidence": identifiers.evidence_id(b"%d" % number), "media_type": "text/plain", "size": 1, "source": "x",
            "observed_at": None,
        }  # fmt: skip
        made.append(_Made(root, root.log, EVIDENCE, body, first))
    asked = json.dumps({"heads": [one.id for one in made]}).encode()
    return lambda watched: watched.post(root.log, made), [
        (f"missing, with {count:,} heads", lambda watched: watched.ask("POST", root.log, "/missing", asked)),
        ("the state with as many forks", lambda watched: watched.ask("GET", root.log, "/state")),
    ]


def _dense(operations: int) -> _Prepared:
    """Claims that each have as many sources as may be, and then a taint as long."""
    root = _Writer(5)
    base = [_Made(root, root.log, CLAIM, _claim("0"))]
    for number in range(1, _SOURCES):
        base.append(_Made(root, root.log, CLAIM, _claim(f"source {number}", base[-1:]), base[-1]))
    made = base[:]
    count = operations // 100
    for number in range(count):
        made.append(_Made(root, root.log, CLAIM, _claim(str(number), base), made[-1]))
    refutation = _Made(root, root.log, REFUTATION, _about(base[0]), made[-1])
    return lambda watched: watched.post(root.log, made), [
        (f"refuting what {count:,} x {_SOURCES} claims rest on", lambda watched: watched.post(root.log, [refutation])),
        ("the state after it", lambda watched: watched.ask("GET", root.log, "/state")),
        (f"why, of {_SOURCES} sources", lambda watched: watched.ask("GET", root.log, f"/claims/{made[-1].id}/why")),
        ("the projection", lambda watched: watched.ask("GET", root.log, f"/projection?key={root.id}")),
        ("a page of claims", lambda watched: watched.ask("GET", root.log, "/claims?limit=1000")),
    ]


ROWS: dict[str, Callable[[int], _Prepared]] = {
    "chain": _chain,
    "grant": _written_under_a_grant,
    "heads": _heads,
    "dense": _dense,
}
"""The logs that are attacked, each made of so many operations or fewer."""
