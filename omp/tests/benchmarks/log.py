"""The operation log: ingest beside the bare floor, and what stays constant as the log grows.

Four devices under grants write in turn, ten operations each, and merge each other's heads: evidence, claims derived
from it, inferences, now and then a refutation or a correction.

* *Floor* is what no node can do without, over the same bytes: ``json.loads``, canonical ``json.dumps`` and a
  comparison, two SHA-256, one Ed25519 verification by the package ``cryptography``, with the key parsed each time.
* *In memory* is the verifier and the replicator in this process, all twelve stages.
* *Over HTTP* is the whole server, which gets batches of 500 lines, one after the other.

Then one server takes in 100,000 operations and another 1,000.  Measured are the cost of an operation early and late,
resident memory for each, and two questions on one connection: heads with the state ID, and the ``why`` of a claim whose
derivation is equally deep in both.

At last the large log lies in an SQLite file, and a server is started on it.  Measured are the CPU seconds until it
answers for that log, and, started again, how long others wait meanwhile: p99 of ``POST /objects`` beside that of the
same server when the log is there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    VERSION,
    preimage,
)
from omp.protocols.oplog.core.outcomes import ACCEPTED
from omp.protocols.oplog.core.producer import signed
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.loading import OPERATIONS
from omp.protocols.oplog.node import LOGS
from omp.rules import identifiers
from omp.rules.encodings import b64u_decode
from omp.rules.engines import CryptographyMissing, cryptography_engine, secret_keys
from omp.store import open_store
from omp.store.port import key
from omp.tests.benchmarks.gauges import AN_OBJECT, ProcGauge
from omp.tests.benchmarks.load import (
    BenchmarkFailed,
    Connection,
    Plan,
    Result,
    Server,
    drive,
    http_request,
    interleave,
    our_server,
    ratio,
)
from omp.tests.benchmarks.report import Report

HELP = "the operation log: ingest beside the bare floor; cost, memory and reads as the log grows"
BATCH = 500
DEVICES = 4
_TURN = 10
_TS = "2026-05-04T10:00:00.000Z"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the option of this benchmark."""
    parser.add_argument("--operations", type=int, help="ingested a round (20,000; 2,000 with --quick)")
    parser.epilog = "examples:\n  python -m omp bench log --quick"


def run(args: argparse.Namespace, report: Report) -> int:
    """Measure, and print tables and ratios; the exit status is 0."""
    plan = Plan.of(args)
    try:
        secret_keys()
    except CryptographyMissing as error:
        raise BenchmarkFailed(str(error)) from None
    count = args.operations or (2_000 if plan.quick else 20_000)
    large = count * 5
    report.say(f"signing {large:,} operations …")
    raws = list(itertools.islice(_Writers().operations(), large))
    _ingest(plan, raws[:count], report)
    _growth(plan, raws, report)
    _start(plan, raws, report)
    return 0


# --- Ingest -----------------------------------------------------------------------------------------------------


def _ingest(plan: Plan, raws: Sequence[bytes], report: Report) -> None:
    results = interleave(
        {
            "bare floor": lambda: _floor(raws),
            "in memory": lambda: _in_memory(raws),
            f"over HTTP, batches of {BATCH}": lambda: _over_http(raws, plan),
        },
        min(plan.rounds, 3),
    )
    report.plan(plan, f"; {len(raws):,} operations of {sum(map(len, raws)) // len(raws)} bytes a round")
    report.table(results)
    floor = results["bare floor"]
    for name, least in (("in memory", 0.4), (f"over HTTP, batches of {BATCH}", 0.3)):
        report.goal(f"{name} beside the bare floor", ratio(results[name], floor), at_least=least)


def _floor(raws: Sequence[bytes]) -> Result:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    began = time.perf_counter()
    for raw in raws:
        envelope = json.loads(raw)
        if json.dumps(envelope, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() != raw:
            raise BenchmarkFailed("The operations are not canonical.")
        sha256(raw).digest()
        public_key = identifiers.public_key_of(envelope["author"])
        signature = b64u_decode(envelope["sig"])
        signed_bytes = preimage(envelope)
        sha256(signed_bytes).digest()
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_bytes)
    return Result(len(raws), time.perf_counter() - began)


def _in_memory(raws: Sequence[bytes]) -> Result:
    engine = cryptography_engine()
    replica = Replica(_log_of(raws))
    began = time.perf_counter()
    for raw in raws:
        if replica.add(raw, engine).status != ACCEPTED:
            raise BenchmarkFailed("An operation was not accepted.")
    return Result(len(raws), time.perf_counter() - began)


def _over_http(raws: Sequence[bytes], plan: Plan) -> Result:
    with our_server(pin=plan.pinned) as server:
        return Result(len(raws), sum(_post(server, raws)))


def _post(server: Server, raws: Sequence[bytes]) -> list[float]:
    """Send `raws` in batches, one after the other: the seconds that each batch took."""
    target = f"/logs/{quote(_log_of(raws), safe='')}/operations"
    seconds = []
    with Connection(server.port) as connection:
        for start in range(0, len(raws), BATCH):
            lines = raws[start : start + BATCH]
            headers = {"Content-Type": "application/x-ndjson"}
            request = http_request("POST", target, b"\n".join(lines), headers)
            began = time.perf_counter()
            answer = connection.exchange(request)
            seconds.append(time.perf_counter() - began)
            if answer.status != 200 or json.loads(answer.body)["accepted"] != len(lines):
                raise BenchmarkFailed(f"A batch was answered {answer.status}: {answer.body[:200]!r}")
    return seconds


# --- Growth -----------------------------------------------------------------------------------------------------


def _growth(plan: Plan, raws: Sequence[bytes], report: Report) -> None:
    few = len(raws) // 100
    with our_server(pin=plan.pinned) as small, our_server(pin=plan.pinned) as large:
        _post(small, raws[:few])
        before = large.resident()
        seconds = _post(large, raws)
        kilobytes = (large.resident() - before) * 1000 / len(raws)
        window = max(1, len(seconds) // 10)
        early = sum(seconds[window // 2 : window // 2 + window]) / window
        late = sum(seconds[-window:]) / window
        names = {f"{few:,}": small, f"{len(raws):,}": large}
        claim = _first(raws, CLAIM)
        results = interleave(
            {
                f"{what}, {name} operations": lambda server=server, path=path: drive(  # type: ignore[misc]
                    server.port, [itertools.repeat(http_request("GET", path))], plan.seconds / 2
                )
                for what, path in (("heads", _path(raws, "/heads")), ("why", _path(raws, "/claims/{}/why", claim)))
                for name, server in names.items()
            },
            plan.rounds,
        )
    report.say()
    report.table(results)
    tenth = f"{len(raws) // 10:,}"
    report.goal(f"cost of an operation at {len(raws):,} beside that at {tenth}", late / early, at_most=1.5)
    report.goal("resident memory of an operation", kilobytes, at_most=3, unit=" KB")
    small_name, large_name = names
    for what in ("heads", "why"):
        many, some = (results[f"{what}, {name} operations"] for name in (large_name, small_name))
        beside = ratio(many, some, of=lambda one: one.p50)
        report.goal(f"{what}: p50 at {len(raws):,} operations beside {few:,}", beside, at_most=3)


# --- Start ------------------------------------------------------------------------------------------------------


def _start(plan: Plan, raws: Sequence[bytes], report: Report) -> None:
    heads = http_request("GET", _path(raws, "/heads"))
    others = [itertools.repeat(http_request("POST", "/objects", AN_OBJECT)) for _ in range(4)]
    seconds, cpu, beside = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:{folder}/bench.db"
        _store(storage, raws)
        for _ in range(min(plan.rounds, 3)):
            with _quiet_server(plan, storage) as server, Connection(server.port) as connection:
                began, gauge = time.perf_counter(), ProcGauge(server)
                gauge.begin()
                connection.exchange(heads)
                seconds.append(time.perf_counter() - began)
                cpu.append(gauge.cpu())
            with _quiet_server(plan, storage) as server:
                there = threading.Event()
                asking = threading.Thread(target=_ask, args=(server.port, heads, there))
                asking.start()
                loading = [drive(server.port, others, 0.5, 201)]
                while not there.is_set():
                    loading.append(drive(server.port, others, 0.5, 201, warm_up=0))
                asking.join()
                after = [drive(server.port, others, 0.5, 201, warm_up=0) for _ in loading]
                p99 = (statistics.median(result.p99 for result in results) for results in (loading, after))
                beside.append(next(p99) / next(p99))
    report.say()
    report.goal(f"a log of {len(raws):,} operations is there after", statistics.median(seconds), unit=" s")
    report.goal("CPU until then", statistics.median(cpu), at_most=len(raws) * 3e-5, unit=" s")
    report.goal("meanwhile p99 of POST /objects beside the usual", statistics.median(beside), at_most=2, unit="x")


def _store(storage: str, raws: Sequence[bytes]) -> None:
    """Put the rows of the log into a file, as a server that got `raws` in this order has them."""
    log = _log_of(raws)
    store = open_store(storage)
    for start in range(0, len(raws), 5_000):
        with store.write() as tx:
            for number, raw in enumerate(raws[start : start + 5_000], start):
                tx.put(OPERATIONS, key(log, number), raw)
            tx.put(LOGS, key(log), min(start + 5_000, len(raws)).to_bytes(8, "big"))
    store.close()


@contextmanager
def _quiet_server(plan: Plan, storage: str) -> Iterator[Server]:
    """A server whose lines about its progress nobody sees."""
    with tempfile.TemporaryFile() as log, our_server(storage=storage, pin=plan.pinned, errors=log) as server:
        yield server


def _ask(port: int, request: bytes, answered: threading.Event) -> None:
    with Connection(port) as connection:
        connection.exchange(request)
    answered.set()


def _path(raws: Sequence[bytes], rest: str, *ids: str) -> str:
    return f"/logs/{quote(_log_of(raws), safe='')}" + rest.format(*(quote(one, safe="") for one in ids))


def _log_of(raws: Sequence[bytes]) -> str:
    return str(json.loads(raws[0])["log"])


def _first(raws: Sequence[bytes], kind: str) -> str:
    envelope = next(envelope for raw in raws if (envelope := json.loads(raw))["type"] == kind)
    return identifiers.operation_id(preimage(envelope))


# --- What is ingested -------------------------------------------------------------------------------------------


class _Key:
    def __init__(self, number: int) -> None:
        self._keys = secret_keys()
        self._seed = number.to_bytes(32, "big")
        self.public_key = self._keys.public_key(self._seed)
        self.id = identifiers.key_id(self.public_key)

    def sign(self, message: bytes, /) -> bytes:
        return self._keys.sign(self._seed, message)


class _Writers:
    """A root and its devices; each knows the last operation of its own chain, and the heads it merged last."""

    def __init__(self) -> None:
        self._root = _Key(1)
        self._devices = [_Key(number) for number in range(2, 2 + DEVICES)]
        self._log = identifiers.identity_id(self._root.public_key)
        self._ends: dict[str, tuple[str, int, int]] = {}  # key ID -> (operation ID, seq, lc) of its last operation
        self._grants: dict[str, str] = {}
        self._evidence = self._claim = ""

    def operations(self) -> Iterator[bytes]:
        """The bytes of the operations, without end: the grants first, then the devices in turn."""
        previous = self._root
        for device in self._devices:
            scope = {"predicates": ["*"], "provenance": "full"}
            body = {
                "grantee": device.id, "caps": ["author", "infer", "read"], "scope": scope, "parent": None,
                "max_depth": 0, "not_before": None, "expires": None,
            }  # fmt: skip
            yield self._signed(self._root, GRANT, body, ())
            self._grants[device.id] = self._ends[self._root.id][0]
        for device in itertools.cycle(self._devices):
            for number in range(_TURN):
                kind, body = self._next(device, number)
                yield self._signed(device, kind, body, (previous,) if number == 0 else ())
                if kind == EVIDENCE:
                    self._evidence = self._ends[device.id][0]
                elif kind == CLAIM:
                    self._claim = self._ends[device.id][0]
            previous = device

    def _next(self, device: _Key, number: int) -> tuple[str, dict[str, Any]]:
        if number % 3 == 0:
            seq = self._ends.get(device.id, ("", 0, 0))[1]
            data = f"BEGIN:VEVENT {device.id} {seq}".encode()
            return EVIDENCE, {
                "evidence": identifiers.evidence_id(data), "media_type": "text/calendar", "size": len(data),
                "source": "calendar:ics", "observed_at": _TS,
            }  # fmt: skip
        if number == _TURN - 3:
            return INFERENCE, {
                "purpose": "weekly summary", "model": "small-1", "inputs": [self._claim],
                "grant": self._grants[device.id], "output": None,
            }  # fmt: skip
        if number == _TURN - 2 and self._ends[device.id][1] % 7 == 0:
            kind, more = (REFUTATION, {}) if self._ends[device.id][1] % 2 else (CORRECTION, {"replacement": None})
            return kind, {"target": self._claim, "reason": "it was moved to another day", **more}
        return CLAIM, {
            "subject": "self", "predicate": "calendar.event.weekly", "object": {"day": "monday", "hour": 9 + number},
            "confidence_ppm": 900_000, "method": "rule:recurring-event/1", "derived_from": [self._evidence],
        }  # fmt: skip

    def _signed(self, key: _Key, kind: str, body: dict[str, Any], others: Sequence[_Key]) -> bytes:
        prev, seq, _ = self._ends.get(key.id, (None, 0, 0))
        deps = [self._ends[other.id] for other in others if other is not key]
        clocks = [lc for _, _, lc in (*deps, self._ends.get(key.id, ("", 0, 0)))]
        envelope = {
            "author": key.id, "body": body, "deps": [name for name, _, _ in deps], "lc": max(clocks) + 1,
            "log": self._log, "prev": prev, "seq": seq + 1, "ts": _TS, "type": kind, "v": VERSION,
        }  # fmt: skip
        raw = signed(envelope, key)
        self._ends[key.id] = identifiers.operation_id(preimage(envelope)), seq + 1, max(clocks) + 1
        return raw
