"""``python -m omp store verify FILE``: is a database file whole, and if not, what can be done about it?

The file is opened for reading only, as of one moment; a server may have it open meanwhile.  Checked are: the pages
(SQLite's own ``integrity_check``), the checksum of every row, and what each protocol knows of its rows (its module
``audit``): every hash and signature, and every index and counter against the rows that it follows from.

``--rebuild`` writes anew what follows from other rows, and drops damaged rows that only pass (tokens, nonces).
``--give-up`` drops also what is beyond repair, so that all else is whole again.  Both need the file to themselves, and
keep it as it was under the name ``FILE-damaged``.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, redirect_stdout
from functools import partial
from typing import NamedTuple

from omp.rules.identifiers import IDENTITY_ID
from omp.store.audit import Check, FileReader, Finding, Kind, reading_file, rebuild
from omp.store.port import StorageError
from omp.tools.options import json_option
from omp.tools.terminal import NotChecked, give, printable, warn
from omp.web.signature_guard import audit_nonces

HELP = "check a database file of the server, and rebuild its indexes"

WHOLE, DAMAGED = 0, 1
"""Exit statuses of ``verify``; that of a file which cannot be read is 2, that of :class:`~.terminal.NotChecked`."""

_PROTOCOLS = ("objects", "oplog", "avp", "mrs", "nexus")
_NONCES = "signature_nonces"
_SERVER = {_NONCES: Kind.PASSING, _NONCES + "_due": Kind.DERIVED, "store_check": Kind.PASSING}
"""The tables that belong to no protocol."""
_SHOWN = 20
"""Findings of one table that are printed."""

_EXAMPLES = """examples:
  python -m omp store verify omp.db              (while a server uses it, or a copy)
  python -m omp store verify omp.db --rebuild    (the server is stopped)
"""

Audit = Callable[[Check], None]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``store``."""
    parser.epilog = _EXAMPLES
    actions = parser.add_subparsers(dest="action", required=True)
    verify = actions.add_parser(
        "verify",
        help="check every row",
        description="Check every page, checksum, hash, signature, index and counter of a file.",
        epilog="Exit status: 0 if the file is whole, 1 if it is damaged, 2 if it cannot be read.",
    )
    verify.add_argument("file", metavar="FILE", help="the file named in --storage sqlite:FILE, or a copy of it")
    verify.add_argument(
        "--rebuild", action="store_true", help="write indexes anew and drop damaged tokens and nonces; stop the server"
    )
    json_option(verify)
    verify.add_argument("--give-up", action="store_true", help="drop what is beyond repair as well")


def run(arguments: argparse.Namespace) -> int:
    """``verify``: :data:`WHOLE` or :data:`DAMAGED`.  Raises :class:`NotChecked`."""
    # With --json the lines for people are beside the result.
    with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
        try:
            status, said = (DAMAGED, "damaged") if _mended(arguments).broken else (WHOLE, "whole")
        except StorageError as error:
            status, said = NotChecked.exit_status, "unreadable"
            problem = NotChecked(f"{error}.")
    if arguments.json:
        give(True, {"file": arguments.file, "result": said}, ())
    if status == NotChecked.exit_status:
        raise problem
    return status


def _mended(arguments: argparse.Namespace) -> _Result:
    """What is found in the file, after what was asked for is written anew."""
    path, kept_as = arguments.file, f"{arguments.file}-damaged"
    result = _verify(path)
    if arguments.give_up and result.remains:
        result = _written(path, result.remains, kept_as)
        kept_as = ""  # the file as it was is kept, and no step between
    if arguments.rebuild and result.remains:
        warn("nothing is rebuilt, since rows are beyond repair: restore a backup, or use --give-up.")
    elif (arguments.rebuild or arguments.give_up) and result.replacements:
        result = _written(path, result.replacements, kept_as)
    return result


class _Result(NamedTuple):
    """Whether anything is wrong with a file, and the tables with what can be written in their place."""

    broken: bool
    replacements: dict[str, dict[bytes, bytes]]
    remains: dict[str, dict[bytes, bytes]]


def _written(path: str, tables: Mapping[str, Mapping[bytes, bytes]], kept_as: str) -> _Result:
    rebuild(path, tables, kept_as or None)
    print(f"\nwritten anew: {', '.join(sorted(tables))}; the file as it was: {kept_as or 'as above'}\n")
    return _verify(path)


def _verify(path: str) -> _Result:
    """Check the file, and print what is found."""
    with reading_file(path) as reader:
        pages = reader.integrity()
        for line in pages[:_SHOWN]:
            print(f"sqlite: {printable(line)}")
        known: set[str] = set()
        result = _Result(bool(pages), {}, {})
        for tables, audit in _audits():
            check = _checked(reader, tables, audit)
            known.update(tables)
            result = result._replace(broken=_print_tables(check) or result.broken)
            remains = check.remains()
            result.remains.update(remains)
            if not remains:  # else what follows from other rows would follow from too few
                result.replacements.update(check.replacements())
        for table in sorted(set(reader.tables()) - known):
            print(f"{printable(table)}: unknown to this version, its checksums alone are checked")
            check = _checked(reader, {table: Kind.KEPT}, partial(_read_all, table))
            result = result._replace(broken=_print_tables(check) or result.broken)
            result.remains.update(check.remains())
    print("damaged" if result.broken else "whole")
    return result


def _audits() -> Iterator[tuple[Mapping[str, Kind], Audit]]:
    """The tables of the server itself and of each protocol that is here, with what checks them."""
    yield _SERVER, _audit_server
    for name in _PROTOCOLS:
        if importlib.util.find_spec(f"omp.protocols.{name}"):  # whoever vendors omp/ may leave some out
            module = importlib.import_module(f"omp.protocols.{name}.audit")
            yield module.TABLES, module.audit


def _audit_server(check: Check) -> None:
    audit_nonces(check, _NONCES)
    _read_all("store_check", check)


def _read_all(table: str, check: Check) -> None:
    for _ in check.rows(table):
        pass


def _checked(reader: FileReader, tables: Mapping[str, Kind], audit: Audit) -> Check:
    reader.damage.forget()
    check = Check(reader, tables)
    audit(check)
    check.compare()
    return check


def _print_tables(check: Check) -> bool:
    """Print a line for each table that has rows, and for each finding; returns whether there are any."""
    findings = check.findings()
    for table, kind in check.tables.items():
        found = [finding for finding in findings if finding.table == table]
        if not check.counts[table] and not found:
            continue
        print(f"{table}: {check.counts[table]} rows{f', {len(found)} damaged; {kind.value}' if found else ''}")
        for finding in found[:_SHOWN]:
            print(f"  {finding.id} {readable_key(finding.key)}: {printable(finding.problem)}")
        if len(found) > _SHOWN:
            print(f"  and {len(found) - _SHOWN} more")
    _print_advice(findings)
    return bool(findings)


def readable_key(key: bytes) -> str:
    """A key for a person: its text where it has any, and numbers in decimal; hexadecimal otherwise."""
    text, _, rest = key.partition(b"\0\1")
    try:
        shown = printable(text.decode())
    except UnicodeDecodeError:
        return key.hex() or "(empty)"
    if len(rest) == 8:
        return f"{shown} {int.from_bytes(rest, 'big')}"
    return f"{shown} {rest.hex()}".rstrip() or "(empty)"


def _print_advice(findings: list[Finding]) -> None:
    """How a log gets back what it lost: whoever else has it holds the same bytes."""
    logs = {readable_key(finding.key).split(" ")[0] for finding in findings if finding.table == "oplog_operations"}
    for log in sorted(filter(IDENTITY_ID.fullmatch, logs)):
        print(f"  {log}: after --give-up, let whoever has this log push it again: python3 -m omp log push")
