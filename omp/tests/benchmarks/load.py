"""Load generator, server processes and tables: what every benchmark is written with.

A benchmark names its contestants, each a function that measures once; :func:`interleave` runs them in turn, round
after round, so that a slow minute of the machine hits all of them alike; :func:`ratio` is the median of the
ratios within the rounds.

The load comes from one process, this one: a loop over 16 keep-alive connections, each with one request under way
(a closed loop).  It must be several times cheaper per request than any server it drives, or it would measure
itself; so requests are made beforehand as bytes, and an answer is checked by its status and its length only.
An unexpected answer ends the benchmark: a fast refusal is not a fast answer.

If there are two processors or more and the system allows it, the servers run on one and the load on another
(`--no-pin` leaves it to the system); the table says which.

Layout: requests and single exchanges; the loop; processes; plans and rounds; what is printed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import select
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from omp.tests import TOP
from omp.tools.terminal import Failed

STALL = 60.0
"""Seconds without any answer after which a run is given up."""

BUFFER = 1 << 18


class BenchmarkFailed(Failed):
    """The run cannot be finished, or would not mean anything; the text says why in one sentence."""


# --- requests and single exchanges ----------------------------------------------------------------------------


def http_request(
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
) -> bytes:
    """One HTTP/1.1 request as bytes, with the header fields that a usual client sends.

    `headers` are added (``Content-Type`` replaces ``application/json``).

    >>> http_request("GET", "/health").splitlines()[0]
    b'GET /health HTTP/1.1'
    """
    fields = {"Host": host, "User-Agent": "omp-bench", "Accept": "*/*"}
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    fields |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + (body or b"")


@dataclass(frozen=True)
class Answer:
    """What a server said: `head` is everything before the empty line, `body` what follows it."""

    head: bytes
    body: bytes

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head[9:12])

    def header(self, name: str) -> str:
        """The value of a header field, "" if absent."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            field, _, value = line.partition(":")
            if field.lower() == name.lower():
                return value.strip()
        return ""


def answer_size(data: bytes) -> int:
    """The size in bytes of the answer that `data` begins with; more than ``len(data)`` while its head is incomplete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return len(data) + 1
    at = data.find(b"\r\nContent-Length: ", 0, end + 2)
    if at >= 0:
        return end + 4 + int(data[at + 18 : data.find(b"\r", at + 18)])
    answer = Answer(data[:end], b"")
    if answer.header("Transfer-Encoding"):
        raise BenchmarkFailed("The answer is chunked, and the load generator reads none of these.")
    return end + 4 + int(answer.header("Content-Length") or 0)


class Connection:
    """One keep-alive connection, for what a benchmark prepares before it measures."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=STALL)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, request: bytes) -> Answer:
        """Send one request and read its answer, whatever its status."""
        self.socket.sendall(request)
        data = b""
        while len(data) < answer_size(data):
            piece = self.socket.recv(BUFFER)
            if not piece:
                raise BenchmarkFailed(f"The server closed the connection after {request[:60]!r}.")
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        return Answer(head, body)

    def request(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """:func:`http_request` and :meth:`exchange` in one; an error status is :class:`BenchmarkFailed`."""
        answer = self.exchange(http_request(method, target, body, headers))
        if answer.status >= 400:
            raise BenchmarkFailed(f"{method} {target} was answered {answer.status}: {answer.body[:200]!r}")
        return answer

    def close(self) -> None:
        """Close it."""
        self.socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


# --- the loop -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """One measurement: how many in how long, and how long each took (seconds, sorted)."""

    requests: int
    seconds: float
    latencies: Sequence[float] = ()

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.requests / self.seconds

    def percentile(self, percent: float) -> float:
        """The latency in seconds that `percent` of the requests stayed within; 0 where none was recorded."""
        if not self.latencies:
            return 0.0
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))]

    @property
    def p50(self) -> float:
        """Median latency in seconds."""
        return self.percentile(50)

    @property
    def p99(self) -> float:
        """The latency in seconds that one in a hundred exceeded."""
        return self.percentile(99)


class _Lane(Connection):
    """A connection in the loop: its requests to come, when its last one was sent, what has arrived of the answer."""

    __slots__ = ("bodies", "partial", "receive", "requests", "send", "sent", "socket")

    def __init__(self, port: int, requests: Iterable[bytes]) -> None:
        super().__init__(port)
        # Blocking, without a timeout: the loop reads only what has arrived, and skips a system call each time.
        self.socket.settimeout(None)
        self.receive = self.socket.recv
        self.send = self.socket.sendall
        self.requests: Iterator[bytes] = iter(requests)
        self.partial = b""
        self.sent = 0.0
        self.bodies: list[bytes] | None = None


def _waiter(lanes: Iterable[_Lane]) -> Callable[[], list[tuple[int, int]]]:
    """What waits until some connection has something to read."""
    poll = select.poll()
    for lane in lanes:
        poll.register(lane.socket.fileno(), select.POLLIN)
    return lambda: poll.poll(STALL * 1000)


def _loop(lanes: Sequence[_Lane], until: float, expected: bytes) -> Result:
    """Keep one request under way on every lane until the time is `until` or its requests are used up.

    It is one flat function because its cost is part of every measurement.
    """
    clock = time.perf_counter
    wait = _waiter(lanes)
    by_number = {lane.socket.fileno(): lane for lane in lanes}
    latencies: list[float] = []
    began = clock()
    busy = 0
    for lane in lanes:
        request = next(lane.requests, None)
        if request is not None:
            busy += 1
            lane.sent = clock()
            lane.send(request)
    while busy:
        ready = wait()
        if not ready:
            raise BenchmarkFailed(f"No answer came for {STALL:.0f} seconds.")
        for number, _ in ready:
            lane = by_number[number]
            data = lane.receive(BUFFER)
            if not data:
                raise BenchmarkFailed("The server closed a connection under load.")
            if lane.partial:
                data = lane.partial + data
            if len(data) < answer_size(data):
                lane.partial = data
                continue
            lane.partial = b""
            now = clock()
            if not data.startswith(expected):
                raise BenchmarkFailed(f"Expected {expected.decode()}, got {data[:400]!r}")
            latencies.append(now - lane.sent)
            if lane.bodies is not None:
                lane.bodies.append(data[data.find(b"\r\n\r\n") + 4 :])
            request = next(lane.requests, None) if now < until else None
            if request is None:
                busy -= 1
                continue
            lane.sent = now
            lane.send(request)
    seconds = clock() - began
    latencies.sort()
    return Result(len(latencies), seconds, latencies)


@contextmanager
def _lanes(port: int, requests: Sequence[Iterable[bytes]]) -> Iterator[list[_Lane]]:
    lanes: list[_Lane] = []
    try:
        for each in requests:
            lanes.append(_Lane(port, each))
        yield lanes
    finally:
        for lane in lanes:
            lane.close()


WARM_UP = 0.2
"""Seconds of load before a measurement begins, threads start, caches fill."""


def drive(
    port: int, requests: Sequence[Iterable[bytes]], seconds: float, expected: int = 200, warm_up: float = WARM_UP
) -> Result:
    """Load the server at `port` for `seconds`, over one connection for each member of `requests`.

    Each member gives the requests of its connection in order (``itertools.cycle`` repeats them); the measurement
    is over early if all are used up.  `expected` is the status of every answer.  The `warm_up` seconds before
    it are not measured, and take their requests from the same iterators.  Raises :class:`BenchmarkFailed`.
    """
    status = b"HTTP/1.1 %d " % expected
    with _lanes(port, requests) as lanes:
        if warm_up:
            _loop(lanes, time.perf_counter() + warm_up, status)
        return _loop(lanes, time.perf_counter() + seconds, status)


def send_all(
    port: int, requests: Sequence[bytes], expected: int = 200, connections: int = 16
) -> tuple[Result, list[bytes]]:
    """Send every request once, over `connections` connections: what it took, the bodies in the order of `requests`."""
    with _lanes(port, once(requests, connections)) as lanes:
        for lane in lanes:
            lane.bodies = []
        result = _loop(lanes, float("inf"), b"HTTP/1.1 %d " % expected)
        bodies = [lane.bodies or [] for lane in lanes]
    return result, [bodies[index % len(bodies)][index // len(bodies)] for index in range(len(requests))]


def repeat(requests: Sequence[bytes], connections: int = 16) -> list[Iterator[bytes]]:
    """`requests` for :func:`drive`, for ever: each connection begins at another place and goes round."""
    step = max(1, len(requests) // connections)
    starts = [lane * step % len(requests) for lane in range(connections)]
    return [itertools.cycle([*requests[start:], *requests[:start]]) for start in starts]


def once(requests: Sequence[bytes], connections: int = 16) -> list[Iterator[bytes]]:
    """`requests` for :func:`drive`, each to be sent once, shared out among the connections."""
    return [iter(requests[first::connections]) for first in range(min(connections, len(requests)))]


def measure(work: Callable[[], object], seconds: float, batch: int = 20) -> Result:
    """How often this process, on its one processor, can do `work` in a second: the bare cost beside a server's rate.

    `work` is called in batches of `batch`, one reading of the clock each, for `seconds`.
    """
    clock = time.perf_counter
    done = 0
    began = now = clock()
    while now < began + seconds:
        for _ in range(batch):
            work()
        done += batch
        now = clock()
    return Result(done, now - began)


# --- processes ------------------------------------------------------------------------------------------------


class Server:
    """A server in a process of its own: its `port`, its `pid`, and the seconds it took from exec to listening."""

    def __init__(self, process: subprocess.Popen[str], port: int, startup: float) -> None:
        self.process = process
        self.port = port
        self.pid = process.pid
        self.startup = startup

    def resident(self) -> float:
        """Resident memory in megabytes (10**6 bytes); NaN where the system has no /proc."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return float("nan")
        return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6

    def stop(self) -> None:
        """Stop it with SIGTERM, and wait; SIGKILL after ten seconds."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


@contextmanager
def running(
    arguments: Sequence[str],
    environ: Mapping[str, str] | None = None,
    pin: bool = True,
    errors: IO[bytes] | None = None,
) -> Iterator[Server]:
    """Start ``python ARGUMENTS`` from the top folder, wait until it listens, and stop it when the block ends.

    Its first line on standard output must end with its address (``… http://127.0.0.1:8787``).  `environ` is
    added to the environment, without any ``OMP_…`` variable of the caller's.  With `pin` it runs on the servers'
    processor (:func:`pin_processes`).  Standard error goes to the file `errors`, else to ours.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OMP_") and name != "PORT"}
    with _on_server_processor(pin):
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=TOP,
            env=inherited | dict(environ or {}),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    startup = time.perf_counter() - began
    port = line.strip().rpartition(":")[2]
    if not port.isdecimal():
        process.kill()
        process.communicate()
        raise BenchmarkFailed(f"`python {' '.join(arguments)}` did not start.")
    server = Server(process, int(port), startup)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def our_server(
    *flags: str,
    storage: str = "memory",
    environ: Mapping[str, str] | None = None,
    pin: bool = True,
    errors: IO[bytes] | None = None,
) -> Iterator[Server]:
    """The server of this checkout on a free port, with `flags` (``--sig-mode strict``) and `environ` added."""
    with running(["server.py", "--port", "0", "--storage", storage, *flags], environ, pin, errors) as server:
        yield server


@contextmanager
def stock_server(pin: bool = True) -> Iterator[Server]:
    """The tuned stock server (see :mod:`omp.tests.benchmarks.stock`)."""
    with running(["-m", "omp.tests.benchmarks.stock"], pin=pin) as server:
        yield server


@contextmanager
def ceiling_server(pin: bool = True) -> Iterator[Server]:
    """The ceiling (see :mod:`omp.tests.benchmarks.ceiling`)."""
    with running(["-m", "omp.tests.benchmarks.ceiling"], pin=pin) as server:
        yield server


_processors: tuple[int, int] | None = None  # of the servers, of the load; None: not pinned


def pin_processes() -> bool:
    """Keep this process on one processor and the servers it will start on another; False where that is not possible."""
    global _processors
    if sys.platform == "linux" and len(allowed := sorted(os.sched_getaffinity(0))) >= 2:
        _processors = (allowed[0], allowed[1])
        os.sched_setaffinity(0, {allowed[1]})
    return _processors is not None


@contextmanager
def _on_server_processor(pin: bool) -> Iterator[None]:
    """What is started inside the block inherits the servers' processor."""
    if sys.platform == "linux" and pin and _processors is not None:
        os.sched_setaffinity(0, {_processors[0]})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {_processors[1]})
    else:
        yield


# --- plans and rounds -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How a benchmark is to be run: the options that all of them share."""

    rounds: int = 5
    seconds: float = 2.0
    connections: int = 16
    pinned: bool = False
    quick: bool = False

    @classmethod
    def of(cls, args: argparse.Namespace) -> Plan:
        """The plan that the options ask for; pins this process where they allow it."""
        quick = getattr(args, "quick", False)
        return cls(
            rounds=getattr(args, "rounds", None) or (2 if quick else cls.rounds),
            seconds=getattr(args, "seconds", None) or (0.5 if quick else cls.seconds),
            connections=getattr(args, "connections", None) or cls.connections,
            pinned=not getattr(args, "no_pin", False) and pin_processes(),
            quick=quick,
        )

    def describe(self) -> str:
        """One line about how it was measured."""
        where = "servers pinned to one processor, the load to another" if self.pinned else "processes not pinned"
        return (
            f"{self.rounds} interleaved rounds of {self.seconds:g} s, {self.connections} keep-alive connections, "
            f"{where}, Python {sys.version.split()[0]}"
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every benchmark.  They have no defaults here, so that they may come before or after its name."""
    suppressed = argparse.SUPPRESS
    parser.add_argument("--rounds", type=int, default=suppressed, help="interleaved rounds (5)")
    parser.add_argument("--seconds", type=float, default=suppressed, help="length of one measurement in seconds (2)")
    parser.add_argument("--connections", type=int, default=suppressed, help="keep-alive connections (16)")
    parser.add_argument("--no-pin", action="store_true", default=suppressed, help="leave the processors to the system")
    parser.add_argument("--json", action="store_true", default=suppressed, help="the figures as one JSON document")
    parser.add_argument(
        "--quick", action="store_true", default=suppressed, help="a glance: 2 rounds of half a second, small stores"
    )


def interleave(contestants: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Result]]:
    """Measure each contestant once a round, in turn: name -> the results of the rounds."""
    results: dict[str, list[Result]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            results[name].append(contestant())
    return results


def ratio(
    ours: Sequence[Result], theirs: Sequence[Result], of: Callable[[Result], float] = lambda each: each.rate
) -> float:
    """The median, over the rounds, of ours ÷ theirs: of the rates, or of what `of` takes from a result."""
    return statistics.median(of(one) / of(other) for one, other in zip(ours, theirs, strict=True))


# --- what is printed ------------------------------------------------------------------------------------------


def table(results: Mapping[str, Sequence[Result]], resident: Mapping[str, float] | None = None) -> str:
    """Rates and latencies, the median of the rounds, one line a contestant; `resident` adds megabytes."""
    width = max(map(len, results)) + 2
    lines = [f"{'':{width}}{'per second':>12}{'p50 ms':>10}{'p99 ms':>10}" + ("   resident MB" if resident else "")]
    for name, rounds in results.items():
        line = f"{name:{width}}{statistics.median(each.rate for each in rounds):>12,.0f}"
        if rounds[0].latencies:
            for percent in (50, 99):
                line += f"{statistics.median(each.percentile(percent) for each in rounds) * 1000:>10.3f}"
        if resident and name in resident:
            line += f"{resident[name]:>14.1f}"
        lines.append(line)
    return "\n".join(lines)


def goal(
    what: str, measured: float, *, at_least: float | None = None, at_most: float | None = None, unit: str = ""
) -> str:
    """One line that sets a measured value beside what it is to reach.

    >>> goal("POST beside the stock server", 1.9, at_least=1.6, unit="x")
    'reached  POST beside the stock server: 1.90x (goal: at least 1.6x)'
    """
    if at_least is not None:
        reached, bound = measured >= at_least, f"at least {at_least:g}{unit}"
    elif at_most is not None:
        reached, bound = measured <= at_most, f"at most {at_most:g}{unit}"
    else:
        return f"         {what}: {measured:.2f}{unit}"
    return f"{'reached' if reached else 'MISSED '}  {what}: {measured:.2f}{unit} (goal: {bound})"
