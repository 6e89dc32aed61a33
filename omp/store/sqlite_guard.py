"""The files of the SQLite adapter stay this process's own: a lock for one process, and a watch for accidents (omp §8).

A database is four files: the file itself, and beside it ``-wal``, ``-shm`` and ``-lock``.  SQLite opens each once, by
its name.  From then on, other hands can do what SQLite does not notice: a log whose name was removed takes commits as
before, and they are gone when the process ends.

**One process**, by two locks, since two things must not be shared.

* *The file itself*, under whatever name: a hard link, a bind mount and a moved file are still that file
  (:class:`OwnFile`).  It bears a lock on one byte far beyond its end, by a descriptor of ours.  Not a POSIX lock:
  SQLite's own unlocking takes the whole file, and would drop it.  Not ``flock``: on a network file system, and on the
  BSDs, that one excludes SQLite's locks too.  An *open file description lock* has neither fault; Linux has it.
* *The name*, as ``-wal`` and ``-shm`` are found by it: ``-lock`` (:func:`lock_name`), an SQLite file, as SQLite's locks
  work on every system.  Where there is no lock of the first kind this one is alone.

The system frees both when the process ends, however it ends.  A file with several names is refused at start: each name
would have a log of its own, and a reader by the other name would miss what is in ours.

**The watch** (:class:`Watch`) remembers what was opened.  :mod:`omp.store.sqlite` asks it before each commit, and after
it, before the writers are answered.  That is eight looks at files, some 20 µs beside the milliseconds of a commit; only
where one is not as the last commit left it, more follow.

Handled here: a file removed, replaced or moved, the folder too; a file that another program cut off or wrote into.  Not
handled: bytes changed in the middle of a page (the protocols notice a damaged row), ``-shm`` cut off (the system
ends the process; nothing that was answered is lost).
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import ClassVar, NamedTuple

from omp.store.port import StorageError, StoreUnavailable

try:
    import fcntl
except ImportError:  # Windows, which lets nobody remove an open file
    _SET_LOCK = None
else:
    _SET_LOCK = getattr(fcntl, "F_OFD_SETLK", None)

_LOCK_BYTE = 2**62
"""Beyond any byte of the file, and beyond those that SQLite locks, which are at 1 GiB."""

_IN_USE = "another process has it open; stop that one first"

# --- The file, for one process -----------------------------------------------------------------------------------


class OwnFile:
    """The database file at `path`, by a descriptor of ours that stays open and locked for the life of the store.

    Close it last: where a process closes any descriptor of a file, it loses all POSIX locks on it, SQLite's among them.
    For the same reason a file that this process has open already is refused before it is opened.
    """

    _held: ClassVar[set[tuple[int, int]]] = set()
    _guard = Lock()

    def __init__(self, path: str) -> None:
        """Open and lock it; raises OSError, or :class:`StorageError` if it is another's or must not be used."""
        self.path = path
        with self._guard:
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                raise StorageError(f"cannot store in {path}: it is not a regular file; name another one")
            if found.st_nlink > 1:
                raise StorageError(
                    f"cannot store in {path}: the file has {found.st_nlink} names (hard links), and a server on each "
                    "would overwrite the rows of the other; leave it one name, or make a copy with cp"
                )
            self.identity = identity(found)
            if self.identity in self._held:
                raise StorageError(f"cannot store in {path}: {_IN_USE}")
            self.descriptor = _open(path)
            try:
                _lock(self.descriptor)
                if identity(os.fstat(self.descriptor)) != self.identity:
                    raise StorageError(f"cannot store in {path}: the file was replaced meanwhile; start again")
            except BlockingIOError:
                os.close(self.descriptor)
                raise StorageError(f"cannot store in {path}: {_IN_USE}") from None
            except BaseException:
                os.close(self.descriptor)
                raise
            self._held.add(self.identity)

    def close(self) -> None:
        """Give the file up, once SQLite has closed it."""
        with self._guard:
            self._held.discard(self.identity)
            os.close(self.descriptor)


def identity(found: os.stat_result) -> tuple[int, int]:
    """What makes a file this file and no other: the numbers of its device and of its inode."""
    return found.st_dev, found.st_ino


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY)


def _lock(descriptor: int) -> None:
    """Lock the file for this descriptor alone, or with other readers if it is read-only to us.

    Raises BlockingIOError if another process has it.  Some file systems have no such lock: there the name's is alone.
    """
    if _SET_LOCK is None:
        return
    writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_RDWR
    kind = fcntl.F_WRLCK if writable else fcntl.F_RDLCK
    wanted = struct.pack("hhqqi4x", kind, os.SEEK_SET, _LOCK_BYTE, 1, 0)  # fcntl(2): struct flock
    try:
        fcntl.fcntl(descriptor, _SET_LOCK, wanted)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError from error


def lock_name(path: str, connect: Callable[[str], sqlite3.Connection]) -> sqlite3.Connection | None:
    """Lock ``PATH-lock`` until the connection is closed; None if it is missing and the database is read-only to us.

    `connect` opens an SQLite file without waiting for its locks.  Raises OSError, :class:`sqlite3.Error`, or
    :class:`StorageError` if another process has it.
    """
    try:
        create(path + "-lock")
        lock = connect(path + "-lock")
    except OSError:
        if os.access(path, os.W_OK):
            raise
        return None
    try:
        lock.execute("PRAGMA journal_mode = MEMORY")  # no third file: nothing is ever written
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        lock.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise StorageError(f"cannot store in {path}: {_IN_USE}") from None
        raise
    return lock


def create(path: str) -> None:
    """Make the file if there is none, readable only by its owner; SQLite gives its companions the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


# --- The watch ---------------------------------------------------------------------------------------------------


class Loss(NamedTuple):
    """What has happened to the files, and what can still be done with the database."""

    text: str
    movable: bool
    """Whether the database file is sound and in its place, so that the rows in the log can be moved into it."""


GONE = "has been removed or replaced while it was open"
_MAIN = Loss(f"the database file {GONE}; put it back, or copy it out of the running process (see OPERATING.md)", False)
_COMPANIONS = {
    "-wal": Loss(f"the database's log (-wal) {GONE}", True),
    "-shm": Loss(f"the index of the database's log (-shm) {GONE}", True),
    "-lock": Loss(f"the database's lock (-lock) {GONE}", True),
}
_FOREIGN = "another program has {} while it was open; stop the server and restore a backup"
OVERWRITTEN = _FOREIGN.format("overwritten the database file")
UNREADABLE = "the disk reported an input/output error"
CUT_OFF = _FOREIGN.format("cut off the database's log (-wal)")

_State = tuple[int, int, int, int]
"""A file's device and inode, its length in bytes, and when it was last written to, in nanoseconds."""

_HEADER = struct.Struct(">28xI4xII")
"""The database header of SQLite's file format, section 1.3: pages, free pages, schema cookie."""


class Watch:
    """Remembers the files as they were opened, and tells what has become of them.

    `name` is the database's as the operator gave it, so that a symbolic link that now leads elsewhere is noticed too.
    """

    def __init__(self, name: str, own: OwnFile) -> None:
        """Remember the files; all of them must be open.  Raises :class:`StoreUnavailable` if the disk fails."""
        self._files = [(os.path.abspath(name), own.identity, _MAIN)]
        for ending, loss in _COMPANIONS.items():
            with suppress(FileNotFoundError):  # a file that is read-only to us need not have them all
                self._files.append((own.path + ending, identity(os.stat(own.path + ending)), loss))
        self._descriptor = own.descriptor
        self._log = own.path + "-wal"
        self._left: list[_State] = []  # the database file and its log, as the last commit left them; empty: look closer
        self._header, self._size = self._content()
        self.note_log()

    def loss(self) -> Loss | None:
        """The first file that is not in its place; None if all are."""
        found = self._look()
        return found if isinstance(found, Loss) else None

    def _look(self) -> list[os.stat_result] | Loss:
        looks = []
        for name, opened, loss in self._files:
            try:
                found = os.stat(name)
            except OSError:
                return loss
            if (found.st_dev, found.st_ino) != opened:
                return loss
            looks.append(found)
        return looks

    def as_left(self) -> bool:
        """Whether all files are in their places, and the database file and its log as the last commit left them.

        If not, a closer look is needed.
        """
        found = self._look()
        return not isinstance(found, Loss) and [_state(one) for one in found[:2]] == self._left

    def after_commit(self) -> Loss | None:
        """What :meth:`loss` gives, once this process has written; if nothing is lost, remember what it has left."""
        found = self._look()
        if isinstance(found, Loss):
            self.note()
            self.note_log()
            return found
        left = [_state(one) for one in found[:2]]
        if left[:1] != self._left[:1]:  # SQLite has moved rows from the log into the database file
            self.note()
        self._left, self._log_size = left, found[1].st_size
        return None

    def note(self) -> None:
        """Remember how the database file begins and ends: this process may have written to it.

        If the disk fails, the file counts as touched, and :meth:`overwritten` takes the closer look.
        """
        self._left = []
        with suppress(StoreUnavailable):
            self._header, self._size = self._content()

    def note_log(self) -> None:
        """Remember how long the log is: this process has written to it."""
        self._log_size = self._measure_log()

    def touched(self) -> bool:
        """Whether the first page or the length of the database file is not what this process wrote last.

        Raises :class:`StoreUnavailable` if the disk fails.
        """
        return self._content() != (self._header, self._size)

    def overwritten(self, db: sqlite3.Connection) -> bool:
        """Whether the database file was cut off or written into by somebody else than SQLite.

        Its first page tells: it counts the pages and the changes.  A checkpoint by another program (a backup's) writes
        to the file too, but nothing else than what `db`, a connection outside a transaction, sees in it.
        """
        if not self.touched():
            return False
        header, size = self._content()
        if len(header) < _HEADER.size or header[:16] != b"SQLite format 3\0":
            return True
        seen = [db.execute(f"PRAGMA {one}").fetchone()[0] for one in ("page_count", "freelist_count", "schema_version")]
        page_size: int = db.execute("PRAGMA page_size").fetchone()[0]
        return list(_HEADER.unpack_from(header)) != seen or size < seen[0] * page_size

    def log_left(self) -> int | None:
        """What is left of a log that has become shorter since this process wrote to it, in bytes; None if it has not.

        A checkpoint by another program empties it, and then every row is in the database file.  Where another hand did,
        a checkpoint fails.
        """
        size = self._measure_log()
        return size if size < self._log_size else None

    def _content(self) -> tuple[bytes, int]:
        if not hasattr(os, "pread"):  # Windows
            return b"", 0
        try:
            return os.pread(self._descriptor, 100, 0), os.fstat(self._descriptor).st_size
        except OSError as error:
            self._left = []
            raise StoreUnavailable(UNREADABLE) from error

    def _measure_log(self) -> int:
        try:
            return os.stat(self._log).st_size
        except OSError:
            return 0


def _state(found: os.stat_result) -> _State:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
