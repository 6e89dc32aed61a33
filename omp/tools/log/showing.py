"""The subcommands of ``python -m omp log`` that only read: `show`, `list`, `graph`, `why` and `verify`.

All but `verify` trust the file, as :mod:`.files` does.  `verify` trusts nothing: it runs the definition of the
protocol, which shares no code with the core, over the exact bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from omp.protocols.oplog.core import document
from omp.protocols.oplog.core.document import LISTS, state_object
from omp.protocols.oplog.core.entries import Entry, SourceEntry
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, INFERENCE
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.state import status_of
from omp.protocols.oplog.definition import Report, check
from omp.rules.engines import best_engine
from omp.tools.log.files import numbered, whole_lines
from omp.tools.log.lanes import drawn
from omp.tools.log.selecting import find, opened_to_read
from omp.tools.log.text import counted, line, short, summary, tree
from omp.tools.terminal import Failed, contents_to_check, give, printable_json


def show(args: argparse.Namespace) -> None:
    """Print what the log says now, or one operation."""
    with opened_to_read(args) as local:
        replica = local.replica
        if args.id is not None:
            entry = find(replica, args.id)
            state = state_object(entry) if entry.type in LISTS else None
            shown: dict[str, Any] = {"id": entry.id, **entry.envelope()}
            give(args.json, {"operation": shown, "state": state}, _indented(shown, state))
        elif args.json:
            print(replica.state_document().decode())
        else:
            print("\n".join(summary(replica)))


def _indented(*values: Any) -> Iterator[str]:
    for value in values:
        if value is not None:
            yield printable_json(json.dumps(value, indent=2, ensure_ascii=False))


def list_(args: argparse.Namespace) -> None:
    """Print every operation, one a line, the latest first."""
    with opened_to_read(args) as local:
        entries = _latest_first(local.replica)
        give(args.json, {"operations": [_node(entry) for entry in entries]} if args.json else None, map(line, entries))


def graph(args: argparse.Namespace) -> None:
    """Draw the operations with what each builds on, the latest first."""
    with opened_to_read(args) as local:
        entries = _latest_first(local.replica)
        if args.dot:
            lines = list(_dot(entries))
            give(args.json, {"dot": "\n".join(lines)}, lines)
            return
        value = {"operations": [_node(entry) for entry in entries]} if args.json else None
        give(args.json, value, _drawing(entries))


def _latest_first(replica: Replica) -> list[Entry]:
    """In the total order, backwards: each operation before those it builds on."""
    return list(replica.operations())[::-1]


def _parents(entry: Entry) -> list[str]:
    envelope = entry.envelope()
    return [parent for parent in (envelope["prev"], *envelope["deps"]) if parent is not None]


def _node(entry: Entry) -> dict[str, Any]:
    envelope = entry.envelope()
    return {
        "id": entry.id,
        "ts": envelope["ts"],
        "author": entry.author,
        "type": entry.type,
        "status": status_of(entry),
        "parents": _parents(entry),
    }


def _drawing(entries: Sequence[Entry]) -> Iterator[str]:
    by_id = {entry.id: entry for entry in entries}
    for row, node in drawn((entry.id, _parents(entry)) for entry in entries):
        yield f"{row} {line(by_id[node])}" if node is not None else row


def _dot(entries: Sequence[Entry]) -> Iterator[str]:
    """The graph for Graphviz; what is in it are hashes and types, which need no escapes."""
    yield "digraph log {"
    for entry in entries:
        yield f'  "{entry.id}" [label="{short(entry.id)}\\n{entry.type}"];'
        for parent in _parents(entry):
            yield f'  "{entry.id}" -> "{parent}";'
    yield "}"


def why(args: argparse.Namespace) -> None:
    """Print what a claim is derived from, down to evidence, and what taints it."""
    with opened_to_read(args) as local:
        entry = find(local.replica, args.claim, CLAIM, INFERENCE, EVIDENCE)
        assert isinstance(entry, SourceEntry)
        if args.json:
            print(printable_json(document.why(entry).decode()))
        else:
            print("\n".join(tree(local.replica, entry)))


def verify(args: argparse.Namespace) -> None:
    """Check an export by itself: hashes, chains, signatures, authority; print the state ID."""
    # The tool's own log file may end in a line that a crash cut short: it was never confirmed and is not part of it.
    named = args.file is not None
    data = contents_to_check(args.file) if named else whole_lines(contents_to_check(str(args.log)))
    lines = list(numbered(data))
    report = check([line for _, line in lines], best_engine())
    if report.problems:
        raise Failed(f"{_problem(lines, report)} ({len(report.operations)} of {len(lines)} operations hold)")
    if not lines:
        raise Failed("There is no operation in it.")
    count = len(report.operations)
    lines_of_it = [f"{counted(count, 'operation')} hold{'s' if count == 1 else ''}", report.state_id]
    give(args.json, {"operations": count, "state": report.state_id}, lines_of_it)


def _problem(lines: Sequence[tuple[int, bytes]], report: Report) -> str:
    operation_id, code = report.problems[0]
    if code in _NOT_JSON or code in _NOT_AN_OPERATION:
        # Such a line may have no ID that people could look for: find its number, by what gives the same alone.
        engine = best_engine()
        number = next((n for n, line in lines if (operation_id, code) in check([line], engine).problems), None)
        if number is not None:
            return f"Line {number} is not {'canonical JSON' if code in _NOT_JSON else 'an operation'}."
        code = "of another log"
    return f"Operation {operation_id} does not hold: {'an ancestor is missing' if code == 'DEFER' else code}."


_NOT_JSON = ("ERR_ENCODING", "ERR_CANONICAL")
_NOT_AN_OPERATION = ("ERR_VERSION", "ERR_SCHEMA")
