"""The files of ``python -m omp log``: a log as ndjson, and the key that writes to it.

A log file holds the exact bytes of operations, one a line, each after its ancestors: what a server exports, and what
`verify` checks.  It only grows.  An append is one write, then fsync.  Bytes that a crash leaves after the last line
feed were never confirmed to anybody: they are not read, and the next append cuts them off.  Of two commands at once,
one waits for the other (``flock``, where the system has it).

Signatures are verified when an operation arrives, and not again each time the file is read; everything else is checked
each time.  If somebody else may have changed a file, run `verify`.

A key file is JSON, ``{"log", "ed25519_seed"}``, mode 0600; the mode is checked before the key is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from omp.protocols.oplog.core.authority import root_key
from omp.protocols.oplog.core.entries import Entry
from omp.protocols.oplog.core.outcomes import ACCEPTED, DUPLICATE
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.verify import OperationRefused, check_bytes
from omp.rules.encodings import EncodingError, b64u_decode, b64u_encode
from omp.rules.engines import Engine, SecretKeys, secret_keys
from omp.rules.identifiers import IDENTITY_ID, identity_id, key_id
from omp.tools.key_files import read_members, sync_name, write_members
from omp.tools.terminal import Failed, reason

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_TRUSTING = Engine("trusting", lambda public_key, message, signature: True)


# --- Keys -------------------------------------------------------------------------------------------------------


class LogKey(NamedTuple):
    """A secret key and the log it writes to; `seed` is 32 bytes.  Signs with ``cryptography``."""

    log: str
    seed: bytes
    secrets: SecretKeys

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self.secrets.public_key(self.seed)

    @property
    def id(self) -> str:
        """The key ID."""
        return key_id(self.public_key)

    @property
    def is_root(self) -> bool:
        """Whether it is the root key of its log."""
        return self.id == root_key(self.log)

    def sign(self, message: bytes, /) -> bytes:
        """The signature (64 bytes) of a message."""
        return self.secrets.sign(self.seed, message)


_KEY_MEMBERS = ("log", "ed25519_seed")


def make_key(path: Path, log: str | None) -> LogKey:
    """A new key in a new file, for `log`; if that is None, the root key of a new log.

    Raises :class:`Failed`, and :class:`~omp.rules.engines.CryptographyMissing`.
    """
    secrets = secret_keys()
    seed = secrets.generate()
    key = LogKey(log or identity_id(secrets.public_key(seed)), seed, secrets)
    write_members(path, dict(zip(_KEY_MEMBERS, (key.log, b64u_encode(seed)), strict=True)))
    return key


def read_key(path: Path) -> LogKey:
    """The key in a file.  Raises :class:`Failed`, and :class:`~omp.rules.engines.CryptographyMissing`."""
    secrets = secret_keys()
    log, text = read_members(path, _KEY_MEMBERS, "`init` makes one.")
    try:
        seed = b64u_decode(text)
    except EncodingError:
        seed = b""
    if len(seed) != 32 or not IDENTITY_ID.fullmatch(log):
        raise Failed(f"{path} is not a key file: it must hold the ID of a log, and a seed of 32 bytes in base64url.")
    return LogKey(log, seed, secrets)


# --- Logs -------------------------------------------------------------------------------------------------------


class LocalLog:
    """An open log file: `replica` is what it holds, :meth:`append` adds to it."""

    def __init__(self, path: Path, replica: Replica, file: IO[bytes] | None, end: int) -> None:
        self.path = path
        self.replica = replica
        self._file = file
        self._end = end

    def append(self, entries: Sequence[Entry]) -> None:
        """Make entries that the replica has taken in durable: after this they survive a crash."""
        assert self._file is not None  # it was opened to write
        data = b"".join(entry.raw + b"\n" for entry in entries)
        try:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            _write_whole(self._file, data)
            os.fsync(self._file.fileno())
            if not self._end:
                sync_name(self.path)
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise Failed(f"{self.path} cannot be written, and is unchanged: {reason(error)}.") from None
        self._end += len(data)


def _write_whole(file: IO[bytes], data: bytes) -> None:
    """Write all of `data`: the system may take less at a time, and does so when a disk is nearly full."""
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


@contextmanager
def opened(path: Path, log: str | None, *, write: bool = False) -> Iterator[LocalLog]:
    """The log in a file.  With `write`, a missing file is made, and no other command has the file meanwhile.

    `log` is the log that the file must hold; None means that of its first line.  Raises :class:`Failed`.
    """
    file = _open(path, write)
    try:
        data = whole_lines(_read(path, file)) if file is not None else b""
        yield LocalLog(path, _restored(path, data, log), file, len(data))
    finally:
        if file is not None:
            file.close()  # this gives up the lock too


def whole_lines(data: bytes) -> bytes:
    """What was confirmed of a log file: everything up to its last line feed."""
    return data[: data.rfind(b"\n") + 1]


def numbered(data: bytes) -> Iterable[tuple[int, bytes]]:
    """The lines of ndjson with their numbers, from 1; empty lines count but are left out (oplog §7).

    One CR before an LF belongs to the end of the line, as on Windows; any other CR to its line.
    """
    return ((number, line) for number, line in enumerate(data.replace(b"\r\n", b"\n").split(b"\n"), 1) if line)


def _open(path: Path, write: bool) -> IO[bytes] | None:
    """The file, locked if it is to be written; None if there is none to read."""
    try:
        if not write:
            return path.open("rb")
        # Mode 0600: a log is about a person.
        file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)  # noqa: SIM115  # the caller's
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        return file
    except FileNotFoundError:
        if write:
            raise Failed(f"{path} cannot be made: its folder does not exist.") from None
        return None
    except OSError as error:
        raise Failed(f"{path} cannot be opened: {reason(error)}.") from None


def _read(path: Path, file: IO[bytes]) -> bytes:
    try:
        return file.read()
    except OSError as error:
        raise Failed(f"{path} cannot be read: {reason(error)}.") from None


def _restored(path: Path, data: bytes, log: str | None) -> Replica:
    lines = list(numbered(data))
    if log is None:
        if not lines:
            raise Failed(f"{path} holds no operation, and no key file beside it says which log it is for.")
        log = _log_of(path, *lines[0])
    replica = Replica(log)
    for number, line in lines:
        outcome = replica.add(line, _TRUSTING)
        if outcome.status not in (ACCEPTED, DUPLICATE):
            why = outcome.message or "an operation before it is missing"
            raise Failed(f"{path}, line {number}: {why}.")
    return replica


def _log_of(path: Path, number: int, line: bytes) -> str:
    try:
        return check_bytes(line, _TRUSTING).log
    except OperationRefused as refusal:
        raise Failed(f"{path}, line {number}: {refusal.message}.") from None


def log_in(path: Path) -> str | None:
    """The identity ID of the log in a file; None if it holds none yet."""
    file = _open(path, write=False)
    if file is None:
        return None
    with file:
        data = whole_lines(_read(path, file))
    return next((_log_of(path, number, line) for number, line in numbered(data)), None)
