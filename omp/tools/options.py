"""What every command shares: its parser, the options ``--server``, ``--json`` and ``-v``, the table of commands.

:class:`Parser` is argparse's, and names the subcommand that a mistyped one was probably meant to be.  A module declares
its subcommands with :func:`subcommands`, and takes the shared options from the parents below, so that they are spelt,
explained and given their defaults in one place:

========================  ==================================================================
:func:`server_option`     ``--server URL``, with the default of ``OMP_SERVER``
:func:`json_option`       ``--json``: the result as one JSON document on standard output
:func:`parser_for`        ``-v`` for each subcommand of a command
========================  ==================================================================
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from omp.tools.http_client import LOCAL
from omp.tools.terminal import printable

COMMANDS = {
    "keygen": "omp.tools.keygen",
    "sign": "omp.tools.sign",
    "log": "omp.tools.log",
    "vault": "omp.tools.vault",
    "places": "omp.tools.places",
    "peers": "omp.tools.peers",
    "profile": "omp.tools.profile",
    "store": "omp.tools.store",
    "backup": "omp.tools.backup",
    "vectors": "omp.tests.vectors.command",
    "bench": "omp.tests.benchmarks.command",
    "completion": "omp.tools.completion",
}
NEEDS = {
    "log": "omp.protocols.oplog",
    "vault": "omp.protocols.avp",
    "places": "omp.protocols.mrs",
    "peers": "omp.protocols.mrs",
    "profile": "omp.protocols.nexus",
    "vectors": "omp.tests",
    "bench": "omp.tests",
}
"""The folder that a command is about: where a vendored copy lacks it, there is no such command."""

_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]+(/.*)?")
_UNKNOWN = re.compile(r"invalid choice: '([^']*)'")


class Parser(argparse.ArgumentParser):
    """A parser that says what an unknown subcommand was probably meant to be (argparse can, but only since 3.14)."""

    _commands: Any = None

    def add_subparsers(self, **options: Any) -> Any:
        """As argparse's, which must also be known here."""
        self._commands = super().add_subparsers(**options)
        return self._commands

    def error(self, message: str) -> NoReturn:
        """As argparse's, with a guess."""
        unknown = _UNKNOWN.search(message)
        if unknown and self._commands is not None:
            message += did_you_mean(unknown[1], self.subcommands())
        super().error(message)

    def subcommands(self) -> dict[str, Parser]:
        """Name -> parser; empty where there are no subcommands."""
        return dict(self._commands.choices) if self._commands is not None else {}

    def words(self) -> list[str]:
        """The long options, and the words of positional arguments that take only certain ones: for completion."""
        options = [name for action in self._actions for name in action.option_strings if name.startswith("--")]
        fixed = [
            str(word)
            for action in self._actions
            if not action.option_strings and action is not self._commands
            for word in action.choices or ()
        ]
        return [*fixed, *options]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A guess to be added to a sentence about an unknown word; empty if no known one is like it.

    >>> did_you_mean("pul", ["push", "pull"])
    "; did you mean 'pull'?"
    """
    guessed = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {guessed[0]!r}?" if guessed else ""


def commands() -> dict[str, str]:
    """The commands that this copy of the package has: name -> module."""
    return {name: COMMANDS[name] for name in COMMANDS if importlib.util.find_spec(NEEDS.get(name, "omp"))}


def parser_for(name: str) -> Parser:
    """The whole parser of a command; ``-v`` is added to whatever has no subcommands."""
    command = importlib.import_module(COMMANDS[name])
    parser = Parser(
        prog=f"python -m omp {name}",
        description=command.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.configure(parser)
    for each in leaves(parser):
        each.add_argument(
            "-v", "--verbose", action="store_true", help="show on standard error what is sent, signed and answered"
        )
    return parser


def leaves(parser: Parser) -> Iterator[Parser]:
    """The parsers without subcommands: of a command, or of its subcommands."""
    below = parser.subcommands()
    for each in below.values():
        yield from leaves(each)
    if not below:
        yield parser


def server_option(parser: argparse.ArgumentParser, *names: str) -> None:
    """``--server URL``, of which `names` are further spellings."""
    parser.add_argument(
        "--server",
        *names,
        dest="server",
        metavar="URL",
        type=base_url,
        default=os.environ.get("OMP_SERVER") or LOCAL,
        help=f"the server, http:// or https:// (default: $OMP_SERVER, else {LOCAL})",
    )


def base_url(text: str) -> str:
    """The URL of a server; a bare host:port is taken as http, and standard error says so.

    What else is wrong with it, :class:`~omp.tools.http_client.Server` says.
    """
    if not _HOST_AND_PORT.fullmatch(text):
        return text
    print(f"note: {printable(text)} is taken as http://{printable(text)}", file=sys.stderr)
    return f"http://{text}"


def json_option(parser: argparse.ArgumentParser, what: str = "the result as one JSON document") -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help=what)
