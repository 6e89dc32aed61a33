"""The file of the SQLite adapter: whose it is, how it is opened, what its failures are called, its tables (omp §8).

For :mod:`omp.store.sqlite`.  A file bears :data:`APPLICATION_ID` and :data:`SCHEMA_VERSION`; a file with others is
refused before anything in it is touched.  A new file, and one that was empty before, is readable only by its owner.

One process at a time has it open (:mod:`omp.store.sqlite_guard`): the protocols keep caches over the tables, and two
processes would not see each other's rows in them.  A file that we may read but not write is served; its writes are
unavailable.

Each row has a checksum, a CRC-32 of its table's name, its key and its value, so that bits that flip on the disk or in
memory are found when the row is read.  It is no protection from anybody who can write to the file.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cache, partial
from typing import Any, NamedTuple
from zlib import crc32

from omp.store.port import Damage, StorageError, check_table_name
from omp.store.sqlite_guard import OwnFile, create, lock_name

APPLICATION_ID = int.from_bytes(b"OMPs", "big")
SCHEMA_VERSION = 2
WITHOUT_CHECKSUMS = 1
"""The schema version before the rows had checksums; a file of it gets them when it is opened."""

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
    except UnicodeDecodeError as error:  # SQLite's message quotes what it cannot read in the file
        raise StorageError(f"cannot store in {path}: the database file is damaged") from error
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
    if version not in (SCHEMA_VERSION, WITHOUT_CHECKSUMS):
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
    has_checksums = db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
    if is_new or not has_checksums:
        db.execute("BEGIN IMMEDIATE")
        if not is_new:
            _add_checksums(db)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


def _add_checksums(db: sqlite3.Connection) -> None:
    """Give each row of a file of the version :data:`WITHOUT_CHECKSUMS` one: some seconds for a million rows."""
    db.create_function("checksum", 3, checksum, deterministic=True)
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        table = check_table_name(name)  # it becomes SQL
        db.execute(f'ALTER TABLE "{table}" ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0')
        db.execute(f'UPDATE "{table}" SET checksum = checksum(?, key, value)', (statements(table).seed,))  # noqa: S608


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
    seed: int
    """What the checksums of its rows begin with."""


_TEMPLATES = (
    'CREATE TABLE IF NOT EXISTS "{}" '
    "(key BLOB PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID",
    'SELECT value, checksum FROM "{}" WHERE key = ?',
    'INSERT OR REPLACE INTO "{}" VALUES (?, ?, ?)',
    'DELETE FROM "{}" WHERE key = ?',
    'SELECT count(*) FROM "{}"',
    'SELECT key, value, checksum FROM "{}" WHERE key >= ?',
)


@cache
def statements(table: str) -> Statements:
    """The SQL of a table of the port; ValueError for a bad name."""
    name = check_table_name(table)  # it becomes SQL
    create, get, put, delete, size, scan = (template.format(name) for template in _TEMPLATES)
    return Statements(create, get, put, delete, size, scan, crc32(name.encode() + b"\0"))


BAD_CHECKSUM = "its checksum is not that of its key and value"
BAD_PAGE = "a page of the file at this row, or after it, is damaged"


def checksum(seed: int, key: bytes, value: bytes) -> int:
    """The checksum of a row in the table with this seed.

    The length of the key is in it as well: a flipped bit may move the place where the key ends.
    """
    return crc32(value, crc32(key, seed ^ len(key)))


def is_sound(seed: int, key: Any, value: Any, found: Any) -> bool:
    """Whether a row of the file is as it was written; damage may have changed even the types."""
    try:
        return bool(found == crc32(value, crc32(key, seed ^ len(key))))
    except TypeError:
        return False


def get_row(connection: sqlite3.Connection, damage: Damage, table: str, key: bytes) -> bytes | None:
    """The value of `key`; None if there is no such row, or no such table.

    Raises :class:`~omp.store.port.DamagedRow`, which `damage` remembers.
    """
    sql = statements(table)
    try:
        row = connection.execute(sql.get, (key,)).fetchone()
    except sqlite3.DatabaseError as error:
        if is_missing_table(connection, error):
            return None
        if is_corrupt(error):
            raise damage.met(table, key, BAD_PAGE, reason(error)) from error
        raise
    if row is None:
        return None
    value: bytes = row[0]
    if not is_sound(sql.seed, key, value, row[1]):
        raise damage.met(table, key, BAD_CHECKSUM)
    return value


def open_scan(
    connection: sqlite3.Connection, damage: Damage, table: str, start: bytes, end: bytes | None, reverse: bool
) -> sqlite3.Cursor | None:
    """The rows with ``start <= key < end`` as the file has them, for :func:`sound_rows`; None without such a table.

    Raises :class:`~omp.store.port.DamagedRow`, which `damage` remembers, where the first page cannot be read.
    """
    sql = statements(table).scan
    if end is not None:
        sql += " AND key < ?"
    sql += " ORDER BY key DESC" if reverse else " ORDER BY key"
    try:
        return connection.execute(sql, (start,) if end is None else (start, end))
    except sqlite3.DatabaseError as error:
        if is_missing_table(connection, error):
            return None
        if is_corrupt(error):
            raise damage.met(table, start, BAD_PAGE, reason(error)) from error
        raise


def sound_rows(
    rows: sqlite3.Cursor, damage: Damage, table: str, start: bytes, complete: bool
) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of the `rows`, lazily: of a scan of `table` from `start` on that is to be `complete` or not."""
    seed = statements(table).seed
    key: Any = start
    try:
        for key, value, found in rows:
            try:  # is_sound, written out: a search calls it for thousands of rows
                sound = found == crc32(value, crc32(key, seed ^ len(key)))
            except TypeError:
                sound = False
            if sound:
                yield key, value
                continue
            row = damage.met(table, key if isinstance(key, bytes) else repr(key).encode(), BAD_CHECKSUM)
            if complete:
                raise row
            damage.leave_out(row)
    except sqlite3.DatabaseError as error:
        if is_corrupt(error):
            raise damage.met(table, key if isinstance(key, bytes) else b"", BAD_PAGE, reason(error)) from error
        raise


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether SQLite found that the file is not as it wrote it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_missing_table(connection: sqlite3.Connection, error: sqlite3.Error) -> bool:
    """Whether a statement failed because its table does not exist.

    The file itself says so, for the moment that the reader sees; a list kept beside it could be ahead.  SQLite says the
    same of a table that is new to `connection` if it could not read the file to learn of it: then a second look raises
    :class:`sqlite3.Error` with the true reason.
    """
    if not str(error).startswith("no such table"):
        return False
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return True
