"""``python -m omp backup FILE COPY``: a copy of a database file as of one moment, while a server writes to it.

SQLite's ``VACUUM INTO`` reads everything in one transaction: writers go on and are not waited for, so it ends however
much is written meanwhile.  (The shell's ``.backup`` starts again with each write.)  The copy is made under
the name ``COPY-partial``, checked page by page and row by row, and brought to the disk; only then does it get its name.
A file that is there already is never replaced.  The copy can be read by its owner alone.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from omp.store.audit import Check, Kind, reading_file
from omp.store.port import StorageError
from omp.store.sqlite_file import reason as reason_of_sqlite
from omp.tools.key_files import sync_name
from omp.tools.options import json_option
from omp.tools.terminal import Failed, give, printable, reason, warn

HELP = "copy a database file of the server, while it runs"
_EXAMPLES = """examples:
  python -m omp backup omp.db copy.db        (the server may run)
  python -m omp store verify copy.db         (checks more: hashes, signatures, indexes)"""
_SHOWN = 20
"""Damaged rows that are named."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("file", metavar="FILE", help="the file named in --storage sqlite:FILE")
    parser.add_argument("copy", metavar="COPY", help="the file to make; it must not be there")
    json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Make the copy and check it; 0, or 1 if it is made but rows are damaged.  Raises :class:`Failed`."""
    source, copy = arguments.file, arguments.copy
    partial = f"{copy}-partial"
    if os.path.lexists(copy):
        raise Failed(f"{copy} is there already, and is left as it is: name a new file.")
    try:
        with reading_file(source):  # it is one of ours
            pass
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except StorageError as error:
        raise Failed(f"{error}.") from None
    except FileExistsError:
        raise Failed(f"{partial} is there: another backup runs, or one was cut short; remove it then.") from None
    except OSError as error:
        raise Failed(f"{partial} cannot be made: {reason(error)}.") from None
    try:
        _vacuum(source, partial)
        rows, damaged = _checked(partial)
        _sync(partial)
        _name(partial, copy)
    except sqlite3.Error as error:
        raise Failed(f"{source} cannot be copied: {reason_of_sqlite(error)}.") from None
    except StorageError as error:
        raise Failed(f"The copy is not whole: {error}.") from None
    except OSError as error:
        raise Failed(f"{copy} cannot be written: {reason(error)}.") from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)
    size = os.path.getsize(copy)
    value = {"copy": copy, "rows": rows, "bytes": size, "damaged": damaged}
    give(arguments.json, value, [printable(f"{copy}: {rows} rows, {size} bytes")])
    if damaged:
        warn(f"{len(damaged)} faults were copied with the rest, see: python3 -m omp store verify {copy}")
        for fault in damaged[:_SHOWN]:
            warn(fault)
    return 1 if damaged else 0


def _vacuum(source: str, target: str) -> None:
    address = f"file:{quote(os.path.abspath(source))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        connection.execute("VACUUM INTO ?", (os.path.abspath(target),))


def _checked(path: str) -> tuple[int, list[str]]:
    """How many rows a file has, and what is wrong with its pages, and with rows by their checksums."""
    count = 0
    with reading_file(path) as reader:
        faults = reader.integrity()
        for table in reader.tables():
            reader.damage.forget()
            check = Check(reader, {table: Kind.KEPT})
            count += sum(1 for _ in check.rows(table))
            faults += [f"{table} {finding.id}: {finding.problem}" for finding in check.findings()]
    return count, faults


def _sync(path: str) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _name(partial: str, copy: str) -> None:
    """Give the finished file its name, unless a file has got that name meanwhile."""
    try:
        os.link(partial, copy)
    except FileExistsError:
        raise Failed(f"{copy} has been made by somebody else meanwhile, and is left as it is.") from None
    except OSError:  # a file system without links
        os.rename(partial, copy)
    sync_name(Path(copy))
