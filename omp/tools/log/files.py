"""The files of ``python -m omp log``: a log as ndjson, and the key that writes to it.

A log file holds the exact bytes of operations, one a line, each after its ancestors: what a server exports, and what
`verify` checks.  It only grows.  An append is one write, then fsync; what a crash leaves behind the last line feed was
never confirmed to anybody, is not read, and is cut off by the next append.  Two commands at once wait for each other
(``flock``, where the system has it).

Signatures are verified when an operation arrives, and not again each time the file is read: all else is.  Of a file
that somebody else may have changed, `verify` is the judge.

A key file is JSON, ``{"log", "ed25519_seed"}``, mode 0600; the mode is looked at before the key is used.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from omp.protocols.oplog.authority import root_key
from omp.protocols.oplog.entries import Entry
from omp.protocols.oplog.replica import ACCEPTED, DUPLICATE, Replica
from omp.protocols.oplog.verify import Refused, check_bytes
from omp.rules.encodings import EncodingError, b64u_decode, b64u_encode
from omp.rules.engines import Engine, SecretKeys, secret_keys
from omp.rules.identifiers import IDENTITY_ID, identity_id, key_id

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_TRUSTING = Engine("trusting", lambda public_key, message, signature: True)


class Failed(Exception):
    """What the user asked for cannot be done; the text is one sentence that says why."""


def reason(error: OSError) -> str:
    """Why the system refused, without the path."""
    return error.strerror or str(error)


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


def make_key(path: Path, log: str | None) -> LogKey:
    """A new key in a new file, for `log`; for a log of its own, as its root, where that is None.

    Raises :class:`Failed`, and :class:`~omp.rules.engines.CryptographyMissing`.
    """
    secrets = secret_keys()
    seed = secrets.generate()
    key = LogKey(log or identity_id(secrets.public_key(seed)), seed, secrets)
    text = json.dumps({"log": key.log, "ed25519_seed": b64u_encode(seed)}, indent=1) + "\n"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise Failed(f"There is a key in {path} already; name another with --key.") from None
    except OSError as error:
        raise Failed(f"The key file {path} cannot be written: {reason(error)}.") from None
    return key


def read_key(path: Path) -> LogKey:
    """The key in a file.  Raises :class:`Failed`, and :class:`~omp.rules.engines.CryptographyMissing`."""
    try:
        text = path.read_bytes()
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise Failed(f"There is no key file {path}; `init` makes one.") from None
    except OSError as error:
        raise Failed(f"The key file {path} cannot be read: {reason(error)}.") from None
    if os.name == "posix" and mode & 0o077:
        raise Failed(f"The key file {path} can be read by others; make it yours alone: chmod 600 {path}")
    try:
        value = json.loads(text)
        log, seed = value["log"], b64u_decode(value["ed25519_seed"])
        usable = IDENTITY_ID.fullmatch(log) is not None and len(seed) == 32
    except (EncodingError, ValueError, TypeError, KeyError):
        usable = False
    if not usable:
        raise Failed(f"{path} is no key file: it must hold a log and an ed25519_seed, as `init` writes them.")
    return LogKey(log, seed, secret_keys())


# --- Logs -------------------------------------------------------------------------------------------------------


class LocalLog:
    """A log file, open: `replica` is what it holds, :meth:`append` adds to it."""

    def __init__(self, path: Path, replica: Replica, file: IO[bytes] | None, end: int) -> None:
        self.path = path
        self.replica = replica
        self._file = file
        self._end = end

    def append(self, entries: Sequence[Entry]) -> None:
        """Make entries that the replica has taken in durable: after this they survive a crash."""
        assert self._file is not None  # opened to write
        data = b"".join(entry.raw + b"\n" for entry in entries)
        try:
            self._file.truncate(self._end)
            self._file.seek(self._end)
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise Failed(f"{self.path} cannot be written, and is as it was: {reason(error)}.") from None
        self._end += len(data)


@contextmanager
def opened(path: Path, log: str | None, *, write: bool = False) -> Iterator[LocalLog]:
    """The log in a file; to write, the file is made where there is none, and is this command's alone meanwhile.

    `log`, where given, is the log it must be of; None: that of its first line.  Raises :class:`Failed`.
    """
    file = _open(path, write)
    try:
        data = file.read() if file is not None else b""
        end = data.rfind(b"\n") + 1
        yield LocalLog(path, _restored(path, data[:end].splitlines(), log), file, end)
    finally:
        if file is not None:
            file.close()  # and the lock with it


def _open(path: Path, write: bool) -> IO[bytes] | None:
    try:
        if not write:
            return path.open("rb")
        file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)  # noqa: SIM115  # the caller's
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        return file
    except FileNotFoundError:
        if write:
            raise Failed(f"{path} cannot be made: there is no such folder.") from None
        return None
    except OSError as error:
        raise Failed(f"{path} cannot be opened: {reason(error)}.") from None


def _restored(path: Path, lines: Sequence[bytes], log: str | None) -> Replica:
    if log is None:
        if not lines:
            raise Failed(f"{path} holds no operation, and no key file beside it says of which log it is.")
        log = _log_of(path, lines[0])
    replica = Replica(log)
    for number, line in enumerate(lines, 1):
        outcome = replica.add(line, _TRUSTING)
        if outcome.status not in (ACCEPTED, DUPLICATE):
            why = outcome.message or "an operation before it is missing"
            raise Failed(f"{path}, line {number}: {why}.")
    return replica


def _log_of(path: Path, line: bytes) -> str:
    try:
        return check_bytes(line, _TRUSTING).log
    except Refused as refusal:
        raise Failed(f"{path}, line 1: {refusal.message}.") from None


def log_in(path: Path) -> str | None:
    """The identity ID of the log in a file; None where there is none yet."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failed(f"{path} cannot be opened: {reason(error)}.") from None
    return _log_of(path, line.rstrip(b"\n")) if line.endswith(b"\n") else None
