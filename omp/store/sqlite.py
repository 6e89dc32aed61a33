"""The SQLite adapter: durable rows in one file, and writers that share commits (omp §8).

The port over the standard library's ``sqlite3``.  Each table is a ``WITHOUT ROWID`` table, in WAL mode with
``synchronous=FULL``: a write that was answered survives ``kill -9`` and power loss.

**Group commit.**  An fsync takes as long as dozens of requests, so a block does not commit by itself.  Blocks run one
after the other in memory and change the *open layer*: all that was written since the last commit began.  The first
thread whose block ends while nobody is committing leads: it takes the layer, writes it to the file in one transaction,
and wakes the layer's members, the threads whose blocks are in it.  Meanwhile further blocks run on a new open layer::

                   a block ends: its thread leads
        idle  ---------------------------------------->  committing  <--+
          ^                                                   |         |
          |   COMMIT is done, the open layer has no members   |         |
          +---------------------------------------------------+         |
          |   COMMIT failed: both layers are dropped          |         |
          +---------------------------------------------------+         |
                                                              |         |
                COMMIT is done, a member of the open layer    |         |
                leads next, and takes that layer              +---------+

A block sees its own changes and those of the open layer, over the committing layer, over the file.  No member is
answered before the commit, not even one whose block raised: what it saw might yet be lost.  If a commit fails, the
blocks of the layer above have read uncommitted rows that will never be committed.  So both layers are dropped, and
every member of either gets :class:`~omp.store.port.StoreUnavailable`.

**Readers** use connections of their own, see committed rows only, and wait for nobody.

**Accidents.**  Before each commit, and after it, the files must still be those that were opened.  If the database's log
is gone, its rows are moved into the database file by the descriptors that are open still, so nothing that was
answered is lost; from then on writes are refused, and reads go on.

Laid out: the store with group commit and what it does after accidents; the blocks.  What the file must be, and the SQL
of its tables, is in :mod:`omp.store.sqlite_file`; the watch is in :mod:`omp.store.sqlite_guard`, the connections of
readers in :mod:`omp.store.sqlite_readers`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from heapq import merge
from operator import itemgetter
from threading import Lock, get_ident
from types import TracebackType
from zlib import crc32

from omp.store.port import Damage, DamagedRow, StorageError, StoreUnavailable, check_table_name
from omp.store.sqlite_file import (
    get_row,
    is_missing_table,
    keep_log,
    open_file,
    open_scan,
    reason,
    sound_rows,
    statements,
)
from omp.store.sqlite_guard import CUT_OFF, OVERWRITTEN, Watch
from omp.store.sqlite_readers import Readers, open_reader

_CLOSED = "the store is closed"
_MOVED = "; all its rows are in the database file: restart the server"
_NOT_MOVED = (
    "; rows are left in open files alone: make room on the disk, and stop the server only when this text changes"
)


class _Layer:
    """Changes that are not in the file yet: table -> key -> value, None for a deleted row."""

    __slots__ = ("error", "leader", "tables", "waiting")

    def __init__(self) -> None:
        self.tables: dict[str, dict[bytes, bytes | None]] = {}
        self.waiting: list[Lock] = []  # one held lock for each member
        self.leader: Lock | None = None  # the member that is to commit the layer
        self.error: StoreUnavailable | None = None


class SqliteStore:
    """A :class:`~omp.store.port.Store` in the SQLite file at `path`, which is made if it does not exist.

    Raises :class:`~omp.store.port.StorageError` if the file cannot be used.
    """

    kind = "sqlite"
    durable = True

    def __init__(self, path: str) -> None:
        self.damage = Damage()
        self._files = open_file(os.path.realpath(path))
        self._db = self._files.db
        try:
            self._made = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master").fetchall()}
            self._base = open_reader(self._files.own.path)  # what write blocks see of the file
            self._watch = Watch(path, self._files.own)  # now that each file has been opened
            self._readers = Readers(self._files.own.path, self._watch)
        except (sqlite3.Error, StoreUnavailable) as error:
            self._files.close()
            why = reason(error) if isinstance(error, sqlite3.Error) else error
            raise StorageError(f"cannot store in {path}: {why}") from error
        self._turn = Lock()  # held by the block that runs; guards what follows
        self._holder = 0  # the thread whose block that is
        self._open = _Layer()
        self._committing = _Layer()
        self._led = False  # a member of some layer is committing, or is about to
        self._unusable = ""  # why nothing can be read or written any more
        self._closed = False

    def get(self, table: str, key: bytes, /) -> bytes | None:
        connection = self._readers.take()
        try:
            value = get_row(connection, self.damage, table, key)
        except sqlite3.Error as error:
            connection.close()
            raise StoreUnavailable(reason(error)) from error
        except DamagedRow:
            self._readers.give_back(connection)
            raise
        self._readers.give_back(connection)
        return value

    def read(self) -> _ReadBlock:
        return _ReadBlock(self)

    def write(self) -> _WriteBlock:
        return _WriteBlock(self)

    def tables(self) -> list[str]:
        return sorted(list(self._made))  # noqa: C414 - a copy in one step, since a commit may add one

    def file_sizes(self) -> dict[str, int]:
        sizes = {}
        for name, path in (("data", self._files.own.path), ("wal", f"{self._files.own.path}-wal")):
            with suppress(OSError):  # removed under us, or not there yet
                sizes[name] = os.stat(path).st_size
        return sizes

    def check(self) -> None:
        # Only a write that reaches the disk shows that writes can.
        with self.write() as tx:
            tx.put("store_check", b"", b"")

    def look_after(self) -> None:
        watch = self._watch
        loss = watch.loss()
        with suppress(StoreUnavailable):
            if (loss is not None and loss.movable) or watch.touched() or watch.log_left() is not None:
                self.check()  # before its commit, it finds out more, and moves what can be moved

    def close(self) -> None:
        self._acquire_turn()
        if self._closed:
            self._turn.release()
            return
        self._closed = True
        overwritten = bool(self._unusable)
        self._end(_CLOSED)  # no block starts from here on; wait for the commit of those that ended
        with suppress(StoreUnavailable):  # their own threads are told
            self._join()
        self._base.close()
        if overwritten:
            keep_log(self._db)
        self._files.close()

    def _end(self, why: str) -> None:
        self._unusable = why
        self._readers.end(why)

    # Group commit.

    def _acquire_turn(self) -> None:
        """Wait for the right to run a block: blocks run one after the other, which is what isolates them."""
        if self._holder == get_ident():  # only this thread itself can have set it to that
            raise RuntimeError("a block of the store was opened inside another one")
        self._turn.acquire()

    def _join(self) -> None:
        """Release the turn, which the caller holds, and return when both layers are in the file.

        Raises :class:`StoreUnavailable` if they could not be written.
        """
        layer = self._open
        if not self._led:
            if layer.tables:
                self._lead(layer)
            else:
                self._turn.release()
            return
        mine = Lock()
        mine.acquire()
        layer.waiting.append(mine)
        self._turn.release()
        interrupt = _wait(mine)
        if layer.leader is mine:
            self._turn.acquire()
            self._lead(layer)
        if interrupt is not None:
            raise interrupt
        if layer.error is not None:
            raise StoreUnavailable(str(layer.error)) from layer.error

    def _lead(self, layer: _Layer) -> None:
        """Commit `layer`, the open one, and wake its members; the caller holds the turn, which is released."""
        self._led = True
        self._committing, self._open = layer, _Layer()
        self._turn.release()
        try:
            self._commit(layer)
        except StoreUnavailable as error:
            layer.error = error
            raise
        except sqlite3.Error as error:
            layer.error = StoreUnavailable(reason(error))
            raise layer.error from error
        except BaseException:
            layer.error = StoreUnavailable("the commit was cut short")
            raise
        finally:
            self._turn.acquire()
            woken = self._succeed(layer)
            self._turn.release()
            for member in woken:
                member.release()

    def _succeed(self, layer: _Layer) -> list[Lock]:
        """After the commit of `layer`: choose the next leader, or drop the layer above.  Returns whom to wake."""
        above = self._open
        self._committing = _Layer()
        if layer.error is not None:
            above.error = layer.error
            self._open = _Layer()
        elif above.waiting:
            above.leader = above.waiting.pop()
            return [above.leader, *layer.waiting]
        self._led = False
        return layer.waiting + above.waiting

    def _commit(self, layer: _Layer) -> None:
        """Write `layer` to the file in one transaction, or nothing of it; the leader calls this, without the turn.

        Raises :class:`sqlite3.Error` or :class:`StoreUnavailable`.
        """
        db = self._db
        tables = {table: changes for table, changes in layer.tables.items() if changes}
        if not tables:
            return
        if not self._watch.as_left():
            self._require_own_files()
        try:
            db.execute("BEGIN IMMEDIATE")
            for table, changes in tables.items():
                sql = statements(table)
                if table not in self._made:
                    db.execute(sql.create)
                seed = sql.seed
                puts = [
                    (key, value, crc32(value, crc32(key, seed ^ len(key))))  # checksum, written out
                    for key, value in changes.items()
                    if value is not None
                ]
                db.executemany(sql.put, sorted(puts))  # in the order of the pages they lie on
                if len(puts) < len(changes):
                    db.executemany(sql.delete, [(key,) for key, value in changes.items() if value is None])
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # SQLite undoes some failed transactions by itself
                db.execute("ROLLBACK")
            self._watch.note()
            self._watch.note_log()
            raise
        # A file may have been lost while it was written, and nobody has been answered yet.
        loss = self._watch.after_commit()
        if loss is not None and not (loss.movable and self._move_log()):
            raise StoreUnavailable(loss.text)
        self._made.update(tables)
        self.damage.mended((table, key) for table, changes in tables.items() for key in changes)

    # After accidents.

    def _require_own_files(self) -> None:
        """Raise :class:`StoreUnavailable` if a commit would go into files that are not those that were opened."""
        watch = self._watch
        if watch.overwritten(self._db):
            self._end(OVERWRITTEN)  # what it holds now is not what the open connections have read
            raise StoreUnavailable(OVERWRITTEN)
        loss = watch.loss()
        if loss is not None and loss.movable:
            raise StoreUnavailable(loss.text + (_MOVED if self._move_log() else _NOT_MOVED))
        if loss is not None:
            raise StoreUnavailable(loss.text)
        left = watch.log_left()
        if left or (left == 0 and not self._move_log()):
            raise StoreUnavailable(CUT_OFF)

    def _move_log(self) -> bool:
        """Move the rows of the log, which may have no name any more, into the database file; whether all are there."""
        try:
            busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.Error:
            return False
        finally:
            self._watch.note()
        if not busy:
            self._watch.note_log()
        return not busy


def _wait(lock: Lock) -> BaseException | None:
    """Acquire `lock`, whatever signal arrives meanwhile; return what the last one raised.

    A thread that waits may be chosen as leader, and all other members rely on it: it must not leave.
    """
    interrupt = None
    while True:
        try:
            lock.acquire()
        except BaseException as error:
            interrupt = error
        else:
            return interrupt


class _Block:
    """What read and write blocks share: queries on one connection."""

    __slots__ = ("_connection", "_cursors", "_store", "damage")

    _connection: sqlite3.Connection

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._cursors: list[sqlite3.Cursor] = []
        self.damage = store.damage

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
        cursor = open_scan(self._connection, self.damage, table, start, end, reverse)
        if cursor is None:
            return iter(())
        self._cursors.append(cursor)
        return sound_rows(cursor, self.damage, table, start, complete)

    def count(self, table: str, /) -> int:
        try:
            count: int = self._connection.execute(statements(table).size).fetchone()[0]
        except sqlite3.OperationalError as error:
            if is_missing_table(self._connection, error):
                return 0
            raise
        return count

    def _close_cursors(self) -> None:
        for cursor in self._cursors:  # an open cursor keeps its snapshot, and with it the WAL from being reused
            cursor.close()


class _ReadBlock(_Block):
    """``with store.read() as tx``: a read transaction on a connection of the pool."""

    __slots__ = ()

    def __enter__(self) -> _ReadBlock:
        self._connection = self._store._readers.take()
        self._connection.execute("BEGIN")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_cursors()
        if isinstance(error, sqlite3.Error):
            self._connection.close()
            raise StoreUnavailable(reason(error)) from error
        self._connection.execute("ROLLBACK")
        self._store._readers.give_back(self._connection)


class _WriteBlock(_Block):
    """``with store.write() as tx``: changes go to the open layer, with an undo log.

    The layers stay the same for the whole block, as only a thread that holds the turn replaces them.  If the commit of
    the lower one ends meanwhile, nothing changes for the block: it sees the layer's rows over the file's.
    """

    __slots__ = ("_above", "_below", "_undo")

    _above: dict[str, dict[bytes, bytes | None]]
    _below: Mapping[str, Mapping[bytes, bytes | None]]

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store)
        self._undo: list[tuple[dict[bytes, bytes | None], bytes, bool, bytes | None]] = []

    def __enter__(self) -> _WriteBlock:
        store = self._store
        store._acquire_turn()
        if store._unusable:
            store._turn.release()
            raise StoreUnavailable(store._unusable)
        store._holder = get_ident()
        self._connection = store._base
        self._above = store._open.tables
        self._below = store._committing.tables
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_cursors()
        if kind is not None:
            self._roll_back()
        self._store._holder = 0
        self._store._join()
        if isinstance(error, sqlite3.Error):
            raise StoreUnavailable(reason(error)) from error

    def get(self, table: str, key: bytes, /) -> bytes | None:
        for layer in (self._above, self._below):
            changes = layer.get(table)
            if changes is not None and key in changes:
                return changes[key]
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
        in_file = super().scan(table, start, end, reverse=reverse, complete=complete)
        changed = {
            key: value
            for layer in (self._below, self._above)
            for key, value in layer.get(table, {}).items()
            if start <= key and (end is None or key < end)
        }
        if not changed:
            return in_file
        unchanged = (row for row in in_file if row[0] not in changed)
        new = sorted(((key, value) for key, value in changed.items() if value is not None), reverse=reverse)
        return merge(unchanged, new, key=itemgetter(0), reverse=reverse)

    def count(self, table: str, /) -> int:
        if self._above.get(table) or self._below.get(table):
            return sum(1 for _ in self.scan(table))
        return super().count(table)

    def put(self, table: str, key: bytes, value: bytes, /) -> None:
        self._change(table, key, value)

    def delete(self, table: str, key: bytes, /) -> bool:
        try:
            if self.get(table, key) is None:
                return False
        except DamagedRow:  # all the better
            pass
        self._change(table, key, None)
        return True

    def _change(self, table: str, key: bytes, value: bytes | None) -> None:
        changes = self._above.get(table)
        if changes is None:
            changes = self._above[check_table_name(table)] = {}
        self._undo.append((changes, key, key in changes, changes.get(key)))
        changes[key] = value

    def _roll_back(self) -> None:
        for changes, key, was_there, before in reversed(self._undo):
            if was_there:
                changes[key] = before
            else:
                changes.pop(key, None)
