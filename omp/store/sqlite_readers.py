"""Read connections of the SQLite adapter: as many as there are readers at one time (omp §8).

Opening a connection takes longer than most reads, so those that nobody uses are kept, :data:`POOL` at most.

One is opened at the start, and further ones only while the files are in their places: an open connection goes on
reading a database that was moved away, but a new one would find another file under the name, or make an empty one.  So
after an accident readers share the connections that there are.
"""

from __future__ import annotations

import sqlite3
import time

from omp.store.port import StoreUnavailable
from omp.store.sqlite_file import connect, reason
from omp.store.sqlite_guard import Loss, Watch

POOL = 32
"""Idle read connections that are kept; further ones are closed after use."""
CACHE_KIB = 256
"""Pages that a reading connection keeps, in KiB: the upper pages of every index, and the system caches the rest.

SQLite's own 2,000 KiB took 60 MB on 64 connections with mixed traffic, and made no request cheaper.
"""
WAIT_SECONDS = 2.0
"""How long a reader waits for the connection of another one where no further one can be opened."""


class Readers:
    """The read connections to the file at `path`, whose files `watch` looks after."""

    def __init__(self, path: str, watch: Watch) -> None:
        """Open the first one; raises :class:`sqlite3.Error`."""
        self._path = path
        self._watch = watch
        self._idle = [open_reader(path)]
        self._ended = ""

    def take(self) -> sqlite3.Connection:
        """A connection for the caller alone, until it is given back; raises :class:`StoreUnavailable`."""
        if self._ended:
            raise StoreUnavailable(self._ended)
        try:
            return self._idle.pop()
        except IndexError:
            pass
        loss = self._watch.loss()
        if loss is not None:
            return self._wait_for_another(loss)
        try:
            connection = open_reader(self._path)
        except sqlite3.Error as error:
            raise StoreUnavailable(reason(error)) from error
        loss = self._watch.loss()
        if loss is not None:  # in this very moment: the connection may be one to other files
            connection.close()
            return self._wait_for_another(loss)
        return connection

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Let others use a connection that :meth:`take` returned."""
        if self._ended or len(self._idle) >= POOL:
            connection.close()
        else:
            self._idle.append(connection)

    def end(self, why: str) -> None:
        """Lend none any more; readers are told `why`."""
        self._ended = why
        while self._idle:
            self._idle.pop().close()

    def _wait_for_another(self, loss: Loss) -> sqlite3.Connection:
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            try:
                return self._idle.pop()
            except IndexError:
                time.sleep(0.001)
        raise StoreUnavailable(loss.text)


def open_reader(path: str) -> sqlite3.Connection:
    """A connection that only reads; raises :class:`sqlite3.Error`."""
    connection = connect(path)
    connection.text_factory = bytes  # a value is text only where damage made it so
    connection.execute("PRAGMA query_only = 1")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")  # SQLite takes a negative size as KiB
    connection.execute("PRAGMA schema_version").fetchone()  # the first read opens the log as well
    return connection
