"""A server that is killed, and what else happens to its files (omp §8): the accidents of ``bench crash``.

An accident happens to a :class:`Victim`, a server under load, and says in sentences what it did that it must not.  When
it returns, the server is killed: until then the clients write on, or are answered 503 and read.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO

from omp.tests import TOP
from omp.tests.harness import PATIENCE, Answer, Client

SERVER: tuple[str, ...] = ("server.py",)
ENVIRON = {"MRS_SERVER_URL": "https://mrs.example"}
"""Else the origin of a registration would be another with each port."""


class NotStarted(Exception):
    """The server did not listen; the text is what it said."""


class Victim:
    """A server in a process of its own, in a session of its own, on the file `path`; it logs to the file `errors`."""

    def __init__(self, path: Path, errors: IO[bytes], command: Sequence[str] = SERVER) -> None:
        self.path = path
        self.errors = errors
        self.command = command
        began = time.perf_counter()
        self._process = _spawn(path, errors, command)
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        self.startup = time.perf_counter() - began
        """Seconds from exec to listening."""
        port = line.rpartition(b":")[2]
        if not port.isdigit():
            self.kill()
            raise NotStarted(f"exit status {self._process.returncode}")
        self.port = int(port)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def kill(self) -> bool:
        """SIGKILL, and wait until the system has taken everything back; False where it had ended by itself."""
        running = self._process.poll() is None
        self._process.kill()
        self._end()
        return running

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self._process.terminate()
        return self._end()

    def _end(self) -> int:
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait()

    def second(self, path: Path) -> tuple[int, str]:
        """(exit status, standard error) of another server on the file `path`."""
        with _spawn(path, subprocess.PIPE, self.command) as process:
            try:
                said = process.communicate(timeout=PATIENCE)[1]
            except subprocess.TimeoutExpired:
                process.kill()
                return -1, "it serves"
        return process.returncode, said.decode()

    def get(self, target: str) -> Answer:
        """One request on a connection of its own."""
        with Client(self.port) as client:
            return client.request("GET", target)

    def waits_for(self, status: int) -> bool:
        """Whether `/health` answers `status` within :data:`PATIENCE`."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(OSError, HTTPException):
                if self.get("/health").status == status:
                    return True
            time.sleep(0.02)
        return False


def _spawn(path: Path, errors: IO[bytes] | int, command: Sequence[str]) -> subprocess.Popen[bytes]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MRS_", "PORT"))}
    return subprocess.Popen(
        [sys.executable, *command, "--port", "0", "--storage", f"sqlite:{path}"],
        cwd=TOP,
        env=inherited | ENVIRON,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    )


# --- Accidents --------------------------------------------------------------------------------------------------


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _outlived(victim: Victim, meanwhile: str) -> Iterator[str]:
    """Writes must become 503 and reads go on."""
    if not victim.waits_for(503):
        yield f"{meanwhile}, and /health does not become 503"
    if (status := victim.get("/objects?limit=1").status) != 200:
        yield f"{meanwhile}, and a read is answered {status}"


def _well_again(victim: Victim, afterwards: str) -> Iterator[str]:
    if not victim.waits_for(200):
        yield f"{afterwards}, and /health does not become 200 again"


def _refused(victim: Victim, path: Path, why: str) -> Iterator[str]:
    status, said = victim.second(path)
    if status != 2:
        yield f"{why}: a second server was not refused with status 2, but {status}: {said}"


def companion_removed(suffix: str) -> Callable[[Victim], Iterator[str]]:
    """The file ``PATH`` + `suffix` is removed; it takes a restart to be well again, and nothing answered is lost."""

    def happen(victim: Victim) -> Iterator[str]:
        _beside(victim.path, suffix).unlink()
        yield from _refused(victim, victim.path, f"{suffix} was removed")
        yield from _outlived(victim, f"{suffix} was removed")

    return happen


def moved_away(victim: Victim) -> Iterator[str]:
    """The file is moved away and back."""
    away = _beside(victim.path, ".away")
    victim.path.rename(away)
    try:
        yield from _outlived(victim, "the file was moved away")
    finally:
        away.rename(victim.path)
    yield from _well_again(victim, "the file was moved back")


def replaced(victim: Victim) -> Iterator[str]:
    """Another file takes the place of the file, and the file then takes its own place again."""
    away, copy = _beside(victim.path, ".away"), _beside(victim.path, ".copy")
    shutil.copyfile(victim.path, copy)
    victim.path.rename(away)
    copy.rename(victim.path)
    try:
        yield from _outlived(victim, "the file was replaced")
    finally:
        away.replace(victim.path)
    yield from _well_again(victim, "the file was put back")


def disk_full(victim: Victim) -> Iterator[str]:
    """No file of the server can grow, its log included: writes fail in the middle, as on a full disk."""
    unlimited = resource.prlimit(victim.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, (8192, unlimited[1]))
    try:
        yield from _outlived(victim, "the disk was full")
    finally:
        resource.prlimit(victim.pid, resource.RLIMIT_FSIZE, unlimited)
    yield from _well_again(victim, "there was room again")


def hard_link(victim: Victim) -> Iterator[str]:
    """The file gets a second name, and a server is started on that."""
    link = _beside(victim.path, ".link")
    os.link(victim.path, link)
    try:
        yield from _refused(victim, link, "the file had a second name")
    finally:
        link.unlink()


def second_server(victim: Victim) -> Iterator[str]:
    """A second server is started on the same file."""
    yield from _refused(victim, victim.path, "the file was in use")


ACCIDENTS: Mapping[str, Callable[[Victim], Iterator[str]]] = {
    "-wal removed": companion_removed("-wal"),
    "file moved away and back": moved_away,
    "disk full": disk_full,
    "hard link": hard_link,
    "-lock removed": companion_removed("-lock"),
    "file replaced, and put back": replaced,
    "second server": second_server,
    "-shm removed": companion_removed("-shm"),
}
"""Each is a name, and what it does to a server under load."""


# --- A damaged row ----------------------------------------------------------------------------------------------


def damaged_row(path: Path, start: Callable[[], Victim], verify: Callable[[Path], list[str]]) -> Iterator[str]:
    """Between two servers a bit of an object flips: one 503 and a finding; then it flips back."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        row = db.execute("SELECT key, value FROM objects ORDER BY key DESC LIMIT 1").fetchone()
        if row is None:
            return
        key, value = row
        flipped = value[:-10] + bytes([value[-10] ^ 1]) + value[-9:]
        with db:
            db.execute("UPDATE objects SET value = ? WHERE key = ?", (flipped, key))
    try:
        if not verify(path):
            yield "a bit of an object flipped, and `store verify` found nothing"
        yield from _served_damaged(start(), key)
    finally:
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE objects SET value = ? WHERE key = ?", (value, key))


def _served_damaged(victim: Victim, key: bytes) -> Iterator[str]:
    name = key.decode()  # of an object, its id
    try:
        answers = {target: victim.get(target) for target in (f"/objects/{name}", "/objects", "/health")}
    finally:
        victim.kill()
    statuses = [answer.status for answer in answers.values()]
    if statuses != [503, 200, 200]:
        yield f"a bit of the object {name} flipped, and {list(answers)} are answered {statuses}"
    elif json.loads(answers["/health"].body)["status"] != "damaged":
        yield f"a bit of the object {name} flipped, and /health says {answers['/health'].body!r}"
