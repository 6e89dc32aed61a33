"""``python -m omp completion bash|zsh``: what a shell needs to complete commands, subcommands and options.

The script is made from the parsers, so it knows what they know.  It completes after ``python -m omp`` and
``python3 -m omp``, and after a function or alias ``omp``; for every other use of Python, and where no word is known, it
leaves the shell to complete file names.  zsh runs the same script by its ``bashcompinit``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from omp.tools.options import Parser, commands, parser_for

HELP = "print the completion script of bash or zsh"
_EXAMPLES = """examples:
  eval "$(python -m omp completion bash)"       in this shell, or in ~/.bashrc
  eval "$(python -m omp completion zsh)"        in ~/.zshrc, after compinit"""

_SCRIPT = """\
_omp_words() {
    case "$1" in
%s
        *) return 1 ;;
    esac
}
_omp() {
    local current=${COMP_WORDS[COMP_CWORD]} first=1 at="" word next words
    COMPREPLY=()
    if [[ ${COMP_WORDS[0]##*/} != omp ]]; then
        [[ ${COMP_WORDS[1]} == -m && ${COMP_WORDS[2]} == omp ]] || return 0
        first=3
    fi
    for ((word = first; word < COMP_CWORD; word++)); do
        next="${at:+$at }${COMP_WORDS[word]}"
        _omp_words "$next" > /dev/null && at=$next
    done
    words=$(_omp_words "$at")
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _omp python python3 omp
"""
_SHELLS = {"bash": "", "zsh": "autoload -U +X bashcompinit && bashcompinit\n"}
"""What precedes the script."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.epilog = _EXAMPLES
    parser.add_argument("shell", choices=_SHELLS)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; 0."""
    known = commands()
    cases = [_case("", [*known, "--help", "--version"])]
    for name in known:
        cases += [_case(" ".join(path), words) for path, words in _words((name,), parser_for(name))]
    print(_SHELLS[arguments.shell] + _SCRIPT % "\n".join(cases), end="")
    return 0


def _case(path: str, words: list[str]) -> str:
    return f'        "{path}") echo "{" ".join(words)}" ;;'


def _words(path: tuple[str, ...], parser: Parser) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """What may follow: (the words that lead to a parser, the words it takes), of it and all below it."""
    below = parser.subcommands()
    yield path, [*below, *parser.words()]
    for name, each in below.items():
        yield from _words((*path, name), each)
