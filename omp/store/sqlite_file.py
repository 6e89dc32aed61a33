"""The file of the SQLite adapter: whose it is, how it is opened, what its failures are called, its tables (omp §8).

For :mod:`omp.store.sqlite`.  A file bears :data:`APPLICATION_ID` and :data:`SCHEMA_VERSION`; a file with others is
refused before anything in it is touched.  A new file, and one that was empty before, is readable only by its owner.

One process at a time has it open (:mod:`omp.store.sqlite_guard`): the protocols keep caches over the tables, and two
processes would not see each other's rows in them.  A file that we may read but not write is served; its writes are
unavailable.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import ExitStack, suppress
from functools import cache, partial
from typing import NamedTuple

from omp.store.port import StorageError, check_table_name
from omp.store.sqlite_guard import OwnFile, create, lock_name

APPLICATION_ID = int.from_bytes(b"OMPs", "big")
SCHEMA_VERSION = 1

_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the database file is read-only",
    sqlite3.SQLITE_IOERR: "the disk reported an input/output error",
    sqlite3.SQLITE_BUSY: "another program holds the database locked",
    sqlite3.SQLITE_CANTOPEN: "the database file, or one beside it, cannot be opened",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database",
    sqlite3.SQLITE_TOOBIG: "a value is too large for the database",
    sqlite3.SQLITE_NOMEM: "the machine is out of memory",
}


def reason(error: sqlite3.Error) -> str:
    """What `error` means, in words that name no path, so that they may be shown to a client."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code: the upper bits say where
    return _REASONS.get(code, f"the database failed ({type(error).__name__})")


def connect(path: str, wait: float = 5.0) -> sqlite3.Connection:
    """A connection to the file at `path` that waits `wait` seconds for locks and leaves transactions to us."""
    return sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False, cached_statements=256)


class OpenDatabase(NamedTuple):
    """An open database."""

    db: sqlite3.Connection
    """The connection that writes."""
    lock: sqlite3.Connection | None
    """What keeps other processes from the name; None if the file is read-only to us."""
    own: OwnFile
    """What keeps them from the file itself."""

    def close(self) -> None:
        """Close all three; other connections to the file must be closed already."""
        self.db.close()
        if self.lock is not None:
            _remove_empty_log(self.own.path)
            self.lock.close()
        self.own.close()


def open_file(path: str) -> OpenDatabase:
    """Open the file at `path`, or make it, for this process alone; raises :class:`StorageError`."""
    if os.path.isdir(path):
        raise StorageError(f"cannot store in {path}: it is a directory; name a file, as in sqlite:{path}/omp.db")
    if not os.path.isdir(os.path.dirname(path)):
        raise StorageError(f"cannot store in {path}: the directory {os.path.dirname(path)} does not exist")
    try:
        _require_log_has_its_file(path)
        create(path)
        with ExitStack() as undo:
            own = OwnFile(path)
            undo.callback(own.close)
            db = connect(path)
            undo.callback(db.close)
            is_new = _is_new(db, path)
            lock = lock_name(path, partial(connect, wait=0))
            if lock is not None:
                undo.callback(lock.close)
            if is_new:
                _make_private(path)
            _prepare(db, is_new, path)
            undo.pop_all()
    except OSError as error:
        raise StorageError(f"cannot store in {path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StorageError(f"cannot store in {path}: {reason(error)}") from error
    return OpenDatabase(db, lock, own)


def _require_log_has_its_file(path: str) -> None:
    """:class:`StorageError` if the file is missing or empty, but its log is not.

    That is what an accident leaves, and SQLite would then delete the log with all the rows in it.
    """
    if _size(path) == 0 and _size(path + "-wal") > 0:
        raise StorageError(
            f"cannot store in {path}: the file is missing or empty, but there are rows in its log {path}-wal; put the "
            "file that belongs to it back, or remove the log too"
        )


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def _make_private(path: str) -> None:
    """Take the rights of others on a file that was empty, and on what lies where its companions will be."""
    for name in (path, path + "-wal", path + "-shm", path + "-lock"):
        with suppress(FileNotFoundError, PermissionError):  # another's file: whoever made it has chosen its mode
            os.chmod(name, 0o600)


def _is_new(db: sqlite3.Connection, path: str) -> bool:
    """Whether the file is empty; :class:`StorageError` if it is another application's or of another version."""
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application == 0 and version == 0 and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return True
    if application != APPLICATION_ID:
        raise StorageError(f"cannot store in {path}: it is a database of another application; name another file")
    if version != SCHEMA_VERSION:
        raise StorageError(
            f"cannot store in {path}: its schema version is {version}, and this server reads {SCHEMA_VERSION}; "
            "use the server that wrote it, or name another file"
        )
    return False


def _prepare(db: sqlite3.Connection, is_new: bool, path: str) -> None:
    """WAL and full synchronisation, and for a new file its identity."""
    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StorageError(f"cannot store in {path}: its file system does not allow SQLite's write-ahead log")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {64 * 1024 * 1024}")
    if is_new:
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


def keep_log(db: sqlite3.Connection) -> None:
    """Let `db` not move its log into the file when it is closed: the file is another one's by now.

    Python can say so from 3.12 on.
    """
    if sys.version_info >= (3, 12):
        db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)


def _remove_empty_log(path: str) -> None:
    """Remove what SQLite leaves beside a read-only file, once that is closed and while the lock is still held.

    SQLite gives its companions the file's own mode.  A read-only write-ahead log would remain when the file itself
    becomes writable again.
    """
    with suppress(OSError):  # usually there is none
        if os.path.getsize(path + "-wal") == 0:
            os.unlink(path + "-wal")
            os.unlink(path + "-shm")


# --- The SQL of its tables --------------------------------------------------------------------------------------


class Statements(NamedTuple):
    """The SQL of one table; in the templates, of the table ``{}``."""

    create: str
    get: str
    put: str
    delete: str
    size: str
    scan: str


_TEMPLATES = Statements(
    create='CREATE TABLE IF NOT EXISTS "{}" (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID',
    get='SELECT value FROM "{}" WHERE key = ?',
    put='INSERT OR REPLACE INTO "{}" VALUES (?, ?)',
    delete='DELETE FROM "{}" WHERE key = ?',
    size='SELECT count(*) FROM "{}"',
    scan='SELECT key, value FROM "{}" WHERE key >= ?',
)


@cache
def statements(table: str) -> Statements:
    """The SQL of a table of the port; ValueError for a bad name."""
    name = check_table_name(table)  # it becomes SQL
    return Statements(*(template.format(name) for template in _TEMPLATES))


def get_row(connection: sqlite3.Connection, table: str, key: bytes) -> bytes | None:
    """The value of `key`; None if there is no such row, or no such table."""
    try:
        row = connection.execute(statements(table).get, (key,)).fetchone()
    except sqlite3.OperationalError as error:
        if is_missing_table(connection, error):
            return None
        raise
    return row[0] if row is not None else None


def is_missing_table(connection: sqlite3.Connection, error: sqlite3.OperationalError) -> bool:
    """Whether a statement failed because its table does not exist.

    The file itself says so, for the moment that the reader sees; a list kept beside it could be ahead.  SQLite says the
    same of a table that is new to `connection` if it could not read the file to learn of it: then a second look raises
    :class:`sqlite3.Error` with the true reason.
    """
    if not str(error).startswith("no such table"):
        return False
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return True
