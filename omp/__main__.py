"""``python -m omp COMMAND``: one module a command, imported only when it is asked for.

A command module has ``HELP`` (one line), ``configure(parser)`` and ``run(arguments) -> exit status``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

COMMANDS = {
    "keygen": "omp.tools.keygen",
    "sign": "omp.tools.sign",
    "log": "omp.tools.log",
    "vault": "omp.tools.vault",
    "places": "omp.tools.places",
    "peers": "omp.tools.peers",
    "profile": "omp.tools.profile",
    "vectors": "omp.tools.vectors",
    "bench": "omp.tools.bench",
}


def main(arguments: list[str]) -> int:
    """Run one command; the exit status is 0, 1 where it failed, 2 where it was called wrongly."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if name not in COMMANDS:
        print(f"python -m omp: there is no command {name!r}; one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    command = importlib.import_module(COMMANDS[name])
    parser = argparse.ArgumentParser(
        prog=f"python -m omp {name}",
        description=command.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.configure(parser)
    try:
        return int(command.run(parser.parse_args(arguments[1:])))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `… | head` took what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _overview() -> str:
    lines = ["usage: python -m omp COMMAND …", "", "commands (each has --help, with examples):"]
    lines += [f"  {name:9} {importlib.import_module(module).HELP}" for name, module in COMMANDS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
