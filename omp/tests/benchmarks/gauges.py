"""A server that is watched: what it costs in CPU and memory, and how long it lets others wait.

:func:`serving` starts it in a process of its own, and :class:`Watched` reads its figures: from ``/proc`` where the
system has that (:class:`ProcGauge`), else from the resource usage of the stopped process (:class:`UsageGauge`).
:func:`counted_bytes` counts what this process sends meanwhile, and :func:`somebody_else` is an ordinary client.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

from omp.tests.benchmarks.load import Connection, Server, http_request, our_server

MIB = 1 << 20
LIMIT = 60.0
"""Seconds, by the clock, after which a row and whoever waits for an answer give up."""
GROWN = 3.0
"""MiB: a server that has kept more than this is not fit for another measurement."""
AN_OBJECT = b'{"namespace":"bench","content":{}}'


class _Gauge(Protocol):
    """Reads what a server process has cost."""

    def begin(self) -> None:
        """What is read from now on begins here."""

    def cpu(self) -> float:
        """CPU seconds since then; 0 where that is not known before the end."""

    def busy(self) -> bool:
        """Whether a thread runs or wants to."""

    def fresh(self) -> bool:
        """Whether another row may be measured with this process."""

    def end(self) -> tuple[float, float]:
        """(CPU seconds, MiB at the peak over those at the beginning)."""


class ProcGauge:
    """From ``/proc``, as Linux has it."""

    def __init__(self, server: Server) -> None:
        self._folder = Path(f"/proc/{server.pid}")
        self._idle = self._memory("VmRSS")
        self._first = self._idle
        self._began = 0.0

    def begin(self) -> None:
        """Set the peak back to what is resident now (5: see proc(5), clear_refs)."""
        with contextlib.suppress(OSError):
            (self._folder / "clear_refs").write_text("5")
        self._idle = self._memory("VmRSS")
        self._began = self._seconds()

    def cpu(self) -> float:
        """CPU seconds since the beginning."""
        return self._seconds() - self._began

    def busy(self) -> bool:
        """Whether a thread is in state R (running) or D (waiting for a disk)."""
        for stat in self._folder.glob("task/*/stat"):
            with contextlib.suppress(OSError):  # the thread has ended
                if stat.read_text().rpartition(")")[2].split()[0] in "RD":
                    return True
        return False

    def fresh(self) -> bool:
        """Whether it has given back what it took."""
        return self._memory("VmRSS") - self._first < GROWN

    def end(self) -> tuple[float, float]:
        """As in :class:`_Gauge`; zeros where the process is gone."""
        return self.cpu(), max(0.0, self._memory("VmHWM") - self._idle)

    def _seconds(self) -> float:
        try:
            fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime

    def _memory(self, name: str) -> float:
        try:
            _, _, rest = (self._folder / "status").read_text().partition(f"{name}:")
            return int(rest.split()[0]) / 1024
        except (OSError, IndexError):  # a process that has ended has no memory
            return 0.0


class UsageGauge:
    """From the resource usage of the stopped process, less that of a server that was sent nothing."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._asked = False

    def begin(self) -> None:
        """Nothing: the whole life of the process counts."""
        self._asked = True

    def cpu(self) -> float:
        """Not known before the end."""
        return 0.0

    def busy(self) -> bool:
        """Whether an ordinary request takes longer than a quiet server needs."""
        began = time.monotonic()
        with Connection(self._server.port) as connection:
            connection.exchange(_health(self._server.port))
        return time.monotonic() - began > 0.02

    def fresh(self) -> bool:
        """Only once."""
        return not self._asked

    def end(self) -> tuple[float, float]:
        """As in :class:`_Gauge`."""
        cpu, memory = _usage(self._server)
        idle_cpu, idle_memory = _idle_usage()
        return max(0.0, cpu - idle_cpu), max(0.0, memory - idle_memory)


def _usage(server: Server) -> tuple[float, float]:
    """Stop the server: the (CPU seconds, MiB at the peak) of its whole life."""
    server.process.terminate()
    _, status, usage = os.wait4(server.pid, 0)
    server.process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / MIB


@functools.cache
def _idle_usage() -> tuple[float, float]:
    with our_server(pin=False) as server:
        _warm_up(server.port)
        return _usage(server)


class Watched:
    """A running server, its gauge and its log."""

    def __init__(self, server: Server, gauge: _Gauge, log: Path) -> None:
        self.server = server
        self._gauge = gauge
        self._log = log
        self._stopped = False
        self.begin, self.cpu, self.end = gauge.begin, gauge.cpu, gauge.end

    def settle(self, seconds: float) -> bool:
        """Wait until the server has been quiet for a moment; False if it was not within so many seconds."""
        deadline = time.monotonic() + seconds
        quiet, last = 0, self._gauge.cpu()
        while quiet < 4:
            if time.monotonic() > deadline:
                self.server.process.kill()
                self._stopped = True
                return False
            time.sleep(0.04)
            now = self._gauge.cpu()
            # One tick of the clock may belong to somebody else's request.
            quiet = quiet + 1 if not self._gauge.busy() and now - last <= 0.011 else 0
            last = now
        return True

    def fresh(self) -> bool:
        """Whether another row may be measured with this server."""
        return self.server.process.poll() is None and not self._stopped and self._gauge.fresh() and not self.faults()

    def faults(self) -> list[str]:
        """What must not happen, whatever is sent."""
        faults = []
        tracebacks = self._log.read_text(errors="replace").count("Traceback (most recent call last)")
        if tracebacks:
            faults.append(f"the server logged {tracebacks} tracebacks")
        if self.server.process.poll() not in (None, 0) and not self._stopped:
            faults.append("the server died")
        return faults


@contextlib.contextmanager
def serving(environ: Mapping[str, str]) -> Iterator[Watched]:
    """A new server in a process of its own, warmed up; what it logs goes to a file."""
    with tempfile.NamedTemporaryFile() as log, our_server(environ=environ, pin=False, errors=log) as server:
        _warm_up(server.port)
        gauge = ProcGauge(server) if Path(f"/proc/{server.pid}/status").exists() else UsageGauge(server)
        yield Watched(server, gauge, Path(log.name))


def _warm_up(port: int) -> None:
    with Connection(port) as connection:
        for _ in range(3):
            connection.exchange(_health(port))
            connection.exchange(http_request("POST", "/objects", AN_OBJECT, host=f"127.0.0.1:{port}"))


def _health(port: int) -> bytes:
    return http_request("GET", "/health", host=f"127.0.0.1:{port}")


# --- While it is watched ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def counted_bytes() -> Iterator[list[int]]:
    """What Python's sockets in this process send while the block runs, as a list of numbers of bytes."""
    sent: list[int] = []
    send = socket.socket.send

    def counting_send(self: socket.socket, data: Any, flags: int = 0) -> int:
        number = send(self, data, flags)
        sent.append(number)
        return number

    def counting_sendall(self: socket.socket, data: Any, flags: int = 0) -> None:
        view = memoryview(data).cast("B")
        while view:
            view = view[counting_send(self, view, flags) :]

    with (
        mock.patch.object(socket.socket, "send", counting_send),
        mock.patch.object(socket.socket, "sendall", counting_sendall),
    ):
        yield sent


@contextlib.contextmanager
def somebody_else(port: int) -> Iterator[list[float]]:
    """Store an object ten times a second until the block ends: how long each answer took, in seconds."""
    waits: list[float] = []
    over = threading.Event()
    thread = threading.Thread(target=_store_objects, args=(port, over, waits), daemon=True)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join(LIMIT)


def _store_objects(port: int, over: threading.Event, waits: list[float]) -> None:
    request = http_request("POST", "/objects", AN_OBJECT, {"Connection": "close"}, f"127.0.0.1:{port}")
    while not over.wait(0.1):
        began = time.monotonic()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), LIMIT) as connection:
            os.write(connection.fileno(), request)  # not connection.send, which is counted
            while connection.recv(4096):
                pass
        waits.append(time.monotonic() - began)
