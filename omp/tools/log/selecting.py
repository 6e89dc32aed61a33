"""Which key, which log, which operation: what the arguments of ``python -m omp log`` mean.

The key of ``phone.ndjson`` is ``phone.key``, unless ``--key`` says otherwise.  An operation is named by its ID or by
the first digits of it, as they are shown.
"""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from omp.protocols.oplog.entries import Entry
from omp.protocols.oplog.replica import Replica
from omp.rules.identifiers import OPERATION_ID, OPERATION_PREFIX
from omp.tools.log.files import Failed, LocalLog, LogKey, log_in, opened, read_key, reason
from omp.tools.log.text import short

_PREFIX = re.compile(r"[0-9a-f]{4,64}")


def key_path(args: argparse.Namespace) -> Path:
    """Where the key is: --key, or beside the log."""
    return args.key or args.log.with_suffix(".key")  # type: ignore[no-any-return]


def key_if_any(args: argparse.Namespace) -> LogKey | None:
    """The key, for what can be done without; one that is asked for by name must be there."""
    path = key_path(args)
    return read_key(path) if args.key or path.exists() else None


def opened_to_read(args: argparse.Namespace) -> AbstractContextManager[LocalLog]:
    """The log to read: that of its first line, or of the key beside it."""
    log = log_in(args.log)
    if log is None:
        key = key_if_any(args)
        log = key.log if key is not None else None
    return opened(args.log, log)


def find(replica: Replica, text: str, *kinds: str) -> Entry:
    """The operation that an ID, or its first digits, names; of one of `kinds`, where there are any."""
    if OPERATION_ID.fullmatch(text):
        found = [entry for entry in [replica.entry(text)] if entry is not None]
    else:
        digits = text.removeprefix(OPERATION_PREFIX).removesuffix("…")
        if not _PREFIX.fullmatch(digits):
            raise Failed(f"{text!r} is no operation ID, nor its first four or more hex digits.")
        found = [entry for entry in replica.operations() if entry.id.startswith(OPERATION_PREFIX + digits)]
    if not found:
        raise Failed(f"There is no operation {text} in this log.")
    fitting = [entry for entry in found if not kinds or entry.type in kinds]
    if not fitting:
        raise Failed(f"{text} is a {found[0].type}, and a {' or '.join(kinds)} is asked for.")
    if len(fitting) > 1:
        raise Failed(f"{text} begins {len(fitting)} operations: {' '.join(short(entry.id) for entry in fitting[:5])}")
    return fitting[0]


def contents(path: str) -> bytes:
    """The bytes of a file; of standard input for ``-``."""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise Failed(f"{path} cannot be read: {reason(error)}.") from None
