"""What every command shares: its parser, the options ``--server``, ``--json`` and ``-v``, the table of commands.

:class:`Parser` is argparse's, and says what a mistyped subcommand or option was probably meant to be.  A module takes
the shared options from the functions below, so that they are spelt, explained and given their defaults in one place:

========================  ==================================================================
:func:`server_option`     ``--server URL``, with the default of ``OMP_SERVER``
:func:`json_option`       ``--json``: the result as one JSON document on standard output
:func:`parser_for`        ``-v``, and the examples, for each subcommand of a command
========================  ==================================================================

The URL of a server is a :class:`ServerUrl`, which knows whether an option or a variable gave it: a sentence about a bad
one begins with that name.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from omp.tools.http_client import LOCAL, Server
from omp.tools.terminal import Failed, printable

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
PROGRAM = "python -m omp "


class Parser(argparse.ArgumentParser):
    """A parser that says what an unknown subcommand or option was probably meant to be.

    argparse tells of an unknown option last, with the usage of the whole command, and not at all where something else
    is missing too; here it is looked for first, by the parser that it was meant for.
    """

    _commands: Any = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def add_subparsers(self, **options: Any) -> Any:
        """As argparse's, which must also be known here."""
        self._commands = super().add_subparsers(**options)
        return self._commands

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse's, but whatever is not known is an error; ``help`` in place of a subcommand is ``--help``."""
        words = list(args or ())
        if words[:1] == ["help"] and self.subcommands():
            words = [*words[1:], "--help"]
        self._check_options(words)
        namespace, left = super().parse_known_args(words, namespace)
        if left:
            guess = did_you_mean("--help", ["--help"]) if left == ["help"] else ""
            self.error(f"unexpected arguments: {' '.join(left)}{guess}")
        return namespace, left

    def _check_options(self, words: Sequence[str]) -> None:
        """End with a guess at the first long option that this parser does not have."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for word in words:
            if word == "--" or (self.subcommands() and not word.startswith("-")):
                return  # what follows are values, or the words of a subcommand
            name = word.partition("=")[0]
            # argparse takes an option that is cut short, and a word with a space in it as a value.
            if not name.startswith("--") or " " in word or any(each.startswith(name) for each in known):
                continue
            where = "; the options of a subcommand come after its name" if self._below_has(name) else ""
            self.error(f"there is no option {name}{where or did_you_mean(name, known)}")

    def _below_has(self, name: str) -> bool:
        return any(name in each._option_string_actions for each in self.subcommands().values())

    def error(self, message: str) -> NoReturn:
        """As argparse's, with a guess, and begun like every other failure: with the command."""
        unknown = _UNKNOWN.search(message)
        if unknown and self._commands is not None:
            message += did_you_mean(unknown[1], self.subcommands())
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog.removeprefix(PROGRAM)}: {printable(message)}\n")

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
    """The whole parser of a command.

    ``-v`` is added to whatever has no subcommands, and to a subcommand the examples of the command that call it.
    """
    command = importlib.import_module(COMMANDS[name])
    parser = Parser(prog=PROGRAM + name, description=command.HELP)
    command.configure(parser)
    for each in leaves(parser):
        each.add_argument(
            "-v", "--verbose", action="store_true", help="show on standard error what is sent, signed and answered"
        )
        if "examples:" not in (each.epilog or ""):
            each.epilog = "\n\n".join(filter(None, [each.epilog, _examples_of(each.prog, parser.epilog or "")]))
    return parser


def _examples_of(prog: str, text: str) -> str:
    """Those of the examples in `text` that call `prog`, each with the indented lines that continue it."""
    found: list[str] = []
    wanted = False
    for line in text.splitlines():
        if not line.startswith("   "):
            wanted = line.startswith("  ") and f"{prog} " in f"{line} "
        found += [line] if wanted else []
    return "\n".join(["examples:", *found]) if found else ""


def leaves(parser: Parser) -> Iterator[Parser]:
    """The parsers without subcommands: of a command, or of its subcommands."""
    below = parser.subcommands()
    for each in below.values():
        yield from leaves(each)
    if not below:
        yield parser


class ServerUrl(str):
    """The URL of a server; `source` is the option or variable that gave it."""

    source: str

    @classmethod
    def given(cls, url: str, source: str) -> ServerUrl:
        """`url`, with its source."""
        given = cls(url)
        given.source = source
        return given


@contextmanager
def blamed(url: str) -> Iterator[None]:
    """In this block, a :class:`Failed` begins with the option or variable that gave `url`."""
    try:
        yield
    except Failed as error:
        raise Failed(f"{url.source}: {error}" if isinstance(url, ServerUrl) else str(error)) from None


def server_option(parser: argparse.ArgumentParser, *names: str, else_none: str = "") -> None:
    """``--server URL``, of which `names` are further spellings.

    `else_none` explains it where something else names the server: then its default is None.
    """
    variable = os.environ.get("OMP_SERVER")
    default = ServerUrl.given(variable, "OMP_SERVER") if variable else LOCAL
    parser.add_argument(
        "--server",
        *names,
        dest="server",
        metavar="URL",
        type=base_url,
        default=None if else_none else default,
        help=else_none or f"the server, http:// or https:// (default: $OMP_SERVER, else {LOCAL})",
    )


def base_url(text: str, source: str = "--server") -> ServerUrl:
    """The URL of a server, which an option or else an argument `source` gave; raises :class:`Failed` if it is none.

    A bare host:port is taken as http, and standard error says so.
    """
    url = ServerUrl.given(text, getattr(text, "source", source))
    if _HOST_AND_PORT.fullmatch(text):
        print(f"note: {printable(text)} is taken as http://{printable(text)}", file=sys.stderr)
        url = ServerUrl.given(f"http://{text}", url.source)
    with blamed(url):
        Server(url)
    return url


def argument_url(text: str) -> ServerUrl:
    """As :func:`base_url`, of a URL that is an argument without an option."""
    return base_url(text, "URL")


def json_option(parser: argparse.ArgumentParser, what: str = "the result as one JSON document") -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help=what)
