"""Which key, which log, which operation: what the arguments of ``python -m omp log`` mean.

The key of ``phone.ndjson`` is ``phone.key``, unless ``--key`` says otherwise.  An operation is named by its ID or by
its first digits, as they are shown.
"""

from __future__ import annotations

import argparse
import re
from contextlib import AbstractContextManager
from pathlib import Path

from omp.protocols.oplog.core.entries import Entry
from omp.protocols.oplog.core.replica import Replica
from omp.rules.identifiers import OPERATION_ID, OPERATION_PREFIX
from omp.tools.key_files import is_there
from omp.tools.log.files import LocalLog, LogKey, log_in, opened, read_key
from omp.tools.log.text import short
from omp.tools.terminal import Failed

_PREFIX = re.compile(r"[0-9a-f]{4,64}")


def key_path(args: argparse.Namespace) -> Path:
    """Where the key is: --key, or beside the log."""
    key: Path | None = args.key
    if key is None:
        if not args.log.name:
            raise Failed(f"{args.log} is no file that a log can be in.")
        key = args.log.with_suffix(".key")
    if key == args.log:
        raise Failed(f"{key} cannot hold both the log and its key; name another file with --key.")
    return key


def key_if_any(args: argparse.Namespace) -> LogKey | None:
    """The key, for commands that can do without one.  If it was named with --key, it must exist."""
    path = key_path(args)
    return read_key(path) if args.key is not None or is_there(path) else None


def opened_to_read(args: argparse.Namespace) -> AbstractContextManager[LocalLog]:
    """The log to read: that of its first line, or of the key beside it."""
    log = log_in(args.log)
    if log is None:
        key = key_if_any(args)
        log = key.log if key is not None else None
    return opened(args.log, log)


def find(replica: Replica, text: str, *kinds: str) -> Entry:
    """The operation that an ID, or its first digits, names; if `kinds` are given, it must be of one of them."""
    if OPERATION_ID.fullmatch(text):
        found = [entry for entry in [replica.entry(text)] if entry is not None]
    else:
        digits = text.removeprefix(OPERATION_PREFIX).removesuffix("…")
        if not _PREFIX.fullmatch(digits):
            raise Failed(f"{text!r} is no operation ID, and not the first four or more hex digits of one.")
        found = [entry for entry in replica.operations() if entry.id.startswith(OPERATION_PREFIX + digits)]
    if not found:
        raise Failed(f"There is no operation {text} in this log.")
    fitting = [entry for entry in found if not kinds or entry.type in kinds]
    if not fitting:
        raise Failed(f"{text} is of type {found[0].type}, but {' or '.join(kinds)} is asked for.")
    if len(fitting) > 1:
        raise Failed(f"{text} begins {len(fitting)} operations: {' '.join(short(entry.id) for entry in fitting[:5])}")
    return fitting[0]
