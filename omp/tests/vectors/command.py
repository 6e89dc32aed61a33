"""``python -m omp vectors``: make every file under ``vectors/`` again, or check that they are what would be made.

A vector set is a module of ``omp/tests/vectors/makers`` with ``generate() -> {relative path: JSON document}``; a module
without that function is part of another set.  What a set returns depends on the code alone (fixed seeds, no clock), so
the files are the same wherever they are made.  They are written with an indent of one space, members in the order in
which the set gives them, one line feed at the end, and every character beyond ASCII escaped, so that look-alikes and
invisible characters can be told apart.

The command never deletes a file.  It names those that no set makes; a person has to remove them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omp.tests.vectors import files, makers
from omp.tools.options import json_option
from omp.tools.terminal import Failed, NotChecked, give, reason

HELP = "make the test vectors again, or check that they are up to date"
DIRECTORY = files.DIRECTORY


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 and their names if files differ")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="where the files are (default: %(default)s)")
    json_option(parser)
    parser.epilog = """examples:
  python -m omp vectors            write what has changed
  python -m omp vectors --check    name what would change, for CI"""


def run(arguments: argparse.Namespace) -> int:
    """Write or check; returns 0 if every file is now what the sets make and there is no other file, else 1."""
    directory: Path = arguments.directory
    made = {path: rendered(document) for path, document in documents().items()}
    if arguments.check and not directory.is_dir():
        raise NotChecked(f"{directory} is no folder: there is nothing to check; without --check the files are written.")
    try:
        there = {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*.json")}
        changed = [path for path in sorted(made) if there.get(path) != made[path]]
        if not arguments.check:
            for path in changed:
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
                (directory / path).write_bytes(made[path])
    except OSError as error:
        raise Failed(f"{error.filename}: {reason(error)}") from None
    what = "is not what the code makes" if arguments.check else "written"
    extra = sorted(there.keys() - made.keys())
    give(arguments.json, {"changed": changed, "extra": extra}, (f"{path}: {what}" for path in changed))
    for path in extra:
        print(f"{path}: no vector set makes this file", file=sys.stderr)
    return 1 if extra or (changed and arguments.check) else 0


def documents() -> dict[str, Mapping[str, Any]]:
    """Relative path -> document, of all sets; ValueError where two sets make one file."""
    made: dict[str, Mapping[str, Any]] = {}
    for info in pkgutil.iter_modules(makers.__path__):
        module = importlib.import_module(f"{makers.__name__}.{info.name}")
        new = module.generate() if hasattr(module, "generate") else {}
        if twice := made.keys() & new.keys():
            raise ValueError(f"two vector sets make {', '.join(sorted(twice))}")
        made |= new
    return made


def rendered(document: Mapping[str, Any]) -> bytes:
    """The bytes of a vector file."""
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"
