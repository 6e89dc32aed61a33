"""Auditing a file of the store: is each row as it was written, and does it agree with the others (omp §8.1)?

For the operator, not for a server: ``python -m omp store verify`` walks it.  The file is opened for reading only,
beside a server that uses it or without one, and everything is read at one moment.

What a row must be, only its protocol knows.  So each protocol has a module ``audit`` with two things: ``TABLES``, which
gives each of its tables a :class:`Kind`, and ``audit(check)``, which reads the tables through a :class:`Check`.  It
reports what is wrong of a row by itself (:meth:`Check.wrong`), and says which rows must follow from it in other tables
(:meth:`Check.expect`): indexes and counters.  Those are then compared both ways: a row that is expected must be there,
and a row that is there must be expected.

:func:`rebuild` writes a new file, with what is expected in its tables.

Laid out: findings, the check, the file, rebuilding.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote

from omp.store.port import Damage, DamagedRow, Reader, StorageError, row_id
from omp.store.sqlite_file import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    checksum,
    get_row,
    open_file,
    open_scan,
    reason,
    sound_rows,
    statements,
)

TABLE_NAME = re.compile(rb"[a-z_0-9]+")

# --- Findings ---------------------------------------------------------------------------------------------------


class Kind(Enum):
    """What a table is, and so what can be done about a damaged row."""

    KEPT = "beyond repair here: restore it from a backup or from another server"
    DERIVED = "can be rebuilt from other tables"
    PASSING = "can be dropped: whoever needs it gets another"


class Finding(NamedTuple):
    """Something that is wrong with a row."""

    table: str
    key: bytes
    problem: str

    @property
    def id(self) -> str:
        """The id that answers and the log give the row."""
        return row_id(self.table, self.key)


# --- The check --------------------------------------------------------------------------------------------------


class Check:
    """Rows read by an audit, and what it found; `tables` says of which kind each table is."""

    def __init__(self, tx: Reader, tables: Mapping[str, Kind]) -> None:
        self.tx = tx
        self.tables = tables
        self.counts = dict.fromkeys(tables, 0)
        self._found: dict[tuple[str, bytes], Finding] = {}
        self._expected: dict[str, dict[bytes, bytes]] = {
            table: {} for table, kind in tables.items() if kind is Kind.DERIVED
        }
        self._sound: dict[str, dict[bytes, bytes]] = {
            table: {} for table, kind in tables.items() if kind is Kind.PASSING
        }

    def rows(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a table in order; the damaged ones become findings."""
        self.counts[table] = 0
        passing = self._sound.get(table)
        try:
            for key, value in self.tx.scan(table):
                self.counts[table] += 1
                if passing is not None:
                    passing[key] = value
                yield key, value
        except DamagedRow:  # a page: what comes after it cannot be read
            pass

    def wrong(self, table: str, key: bytes, problem: str) -> None:
        """Report a row; of several problems of one row the first counts."""
        self._found.setdefault((table, key), Finding(table, key, problem))

    def require(self, holds: bool, table: str, key: bytes, problem: str) -> None:
        """Report the row unless something holds."""
        if not holds:
            self.wrong(table, key, problem)

    def expect(self, table: str, key: bytes, value: bytes) -> None:
        """A derived table must hold this row."""
        self._expected[table][key] = value

    def compare(self) -> None:
        """Compare the derived tables with what is expected in them; call it once, after all that is expected."""
        for table, expected in self._expected.items():
            met = set()
            for key, value in self.rows(table):
                met.add(key)
                if key not in expected:
                    self.wrong(table, key, "no other row leads to it")
                elif value != expected[key]:
                    self.wrong(table, key, "it differs from what follows from other rows")
            for key in expected.keys() - met:
                self.wrong(table, key, "it is missing, and other rows lead to it")

    def findings(self) -> list[Finding]:
        """All that was found, the damaged rows first."""
        for row in self.tx.damage.rows():
            self._found[row.table, row.key] = Finding(row.table, row.key, row.reason)
        return sorted(self._found.values())

    def replacements(self) -> dict[str, dict[bytes, bytes]]:
        """For each table with findings that can be written anew: the rows that it should have."""
        tables = {finding.table for finding in self.findings()}
        return {table: rows for table, rows in {**self._expected, **self._sound}.items() if table in tables}

    def remains(self) -> dict[str, dict[bytes, bytes]]:
        """For each table with findings that are beyond repair: the other rows."""
        wrong = {(finding.table, finding.key) for finding in self.findings()}
        tables = {table for table, _ in wrong if self.tables.get(table) is Kind.KEPT}
        return {
            table: {key: value for key, value in readable(self.tx, table).items() if (table, key) not in wrong}
            for table in tables
        }


def readable(tx: Reader, table: str) -> dict[bytes, bytes]:
    """All rows of a table that can be read: from both ends, where a page between them cannot."""
    rows: dict[bytes, bytes] = {}
    for reverse in (False, True):
        with suppress(DamagedRow):
            rows.update(tx.scan(table, reverse=reverse))
    return rows


# --- The file ---------------------------------------------------------------------------------------------------


class FileReader:
    """A :class:`~omp.store.port.Reader` over a connection to a file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.damage = Damage(most=sys.maxsize)

    def get(self, table: str, key: bytes, /) -> bytes | None:
        return get_row(self._connection, self.damage, table, key)

    def scan(
        self,
        table: str,
        start: bytes = b"",
        end: bytes | None = None,
        /,
        *,
        reverse: bool = False,
        complete: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        try:
            cursor = open_scan(self._connection, self.damage, table, start, end, reverse)
        except sqlite3.DatabaseError as error:  # the description of the table itself may be damaged
            raise self.damage.met(table, start, reason(error)) from error
        return sound_rows(cursor, self.damage, table, start, complete) if cursor is not None else iter(())

    def count(self, table: str, /) -> int:
        return sum(1 for _ in self.scan(table))

    def tables(self) -> list[str]:
        """The tables that the file has."""
        rows = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return sorted(name.decode() for (name,) in rows if TABLE_NAME.fullmatch(name))

    def integrity(self) -> list[str]:
        """What SQLite itself finds wrong with the file, a line each."""
        try:
            rows = self._connection.execute("PRAGMA integrity_check").fetchall()
        except sqlite3.DatabaseError as error:
            return [reason(error)]
        lines = [line for (text,) in rows for line in text.decode(errors="replace").splitlines()]
        return [] if lines == ["ok"] else lines


@contextmanager
def reading_file(path: str) -> Iterator[FileReader]:
    """The file at `path` as it is at one moment, for reading only.  Raises :class:`StorageError`."""
    if not os.path.isfile(path):
        raise StorageError(f"{path} is no file")
    try:
        connection = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True, isolation_level=None)
        with closing(connection):
            connection.text_factory = bytes
            _require_ours(connection, path)
            connection.execute("BEGIN")
            yield FileReader(connection)
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:  # SQLite's message quotes what it cannot read in the file
        raise StorageError(f"{path} cannot be read: the database file is damaged") from error


def _require_ours(connection: sqlite3.Connection, path: str) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StorageError(f"{path} is no database of this server")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise StorageError(
            f"{path} has the schema version {version}, and this program reads {SCHEMA_VERSION}; "
            "a file of an earlier version gets its checksums when the server is started on it"
        )


# --- Rebuilding -------------------------------------------------------------------------------------------------


def rebuild(path: str, tables: Mapping[str, Mapping[bytes, bytes]], kept_as: str | None) -> None:
    """Put a new file in the place of the one at `path`: `tables` with these rows, all others with what can be read.

    A new file, since what is damaged cannot always be deleted.  The old one is kept under the name `kept_as`, if that
    is given.  No server may have the file open meanwhile.  Raises :class:`StorageError`.
    """
    path = os.path.realpath(path)
    new = path + "-rebuilt"
    if kept_as is not None and os.path.exists(kept_as):
        raise StorageError(
            f"{kept_as} is there already: move it away, so that the file as it is can be kept under this name"
        )
    old = open_file(path)
    try:
        _remove(new)
        with closing(open_file(new)) as made, reading_file(path) as reader:
            for table in reader.tables():
                _write(made.db, table, tables[table] if table in tables else readable(reader, table))
        old.db.close()
        if kept_as is not None:
            os.link(path, kept_as)  # under its own name until the next step: a kill in between must not leave nothing
        _remove_companions(path)  # of the old file, which are not those of the new one
        os.replace(new, path)
        _remove(new)
    except (sqlite3.Error, OSError) as error:
        why = reason(error) if isinstance(error, sqlite3.Error) else error.strerror
        raise StorageError(f"{path} cannot be rebuilt: {why}") from error
    finally:
        old.close()


def _write(db: sqlite3.Connection, table: str, rows: Mapping[bytes, bytes]) -> None:
    sql = statements(table)
    db.execute("BEGIN IMMEDIATE")
    db.execute(sql.create)
    db.executemany(sql.put, [(key, value, checksum(sql.seed, key, value)) for key, value in sorted(rows.items())])
    db.execute("COMMIT")


def _remove(path: str) -> None:
    """Remove a file that only this program has had open, with all that lies beside it."""
    _remove_companions(path)
    for name in (path, path + "-lock"):
        with suppress(FileNotFoundError):
            os.unlink(name)


def _remove_companions(path: str) -> None:
    """Remove what SQLite has left beside a file; the lock is somebody's."""
    for name in (path + "-wal", path + "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(name)
