"""``python -m omp COMMAND``: one module a command, imported only when it is asked for.

A command module, listed in :mod:`omp.tools.options`, has ``HELP`` (one line), ``configure(parser)`` and
``run(arguments) -> exit status``.  Its result goes to standard output, all else to standard error.  What it cannot do,
it raises as :class:`~omp.tools.terminal.Failed`; here that becomes a line on standard error and its status, as does a
package that is missing, and an output that cannot be written.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - as in server.py, before what an older Python cannot parse
    sys.stderr.write("python -m omp needs Python 3.11 or newer; this is {}.{}.\n".format(*sys.version_info))
    sys.exit(2)

import importlib
import io
import os

from omp import __version__
from omp.rules.engines import CryptographyMissing
from omp.tools.options import commands, did_you_mean, parser_for
from omp.tools.terminal import Failed, printable, reason, tracing


def main(arguments: "list[str]") -> int:
    """Run one command; returns the exit status, of which :mod:`omp.tools.terminal` has the rule."""
    name = arguments[0] if arguments else "--help"
    try:
        try:
            return _run(name, arguments[1:])
        finally:
            _flush()
    except (Failed, CryptographyMissing) as error:
        print(f"{name}: {printable(str(error))}", file=sys.stderr)
        return getattr(error, "exit_status", 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `… | head` took what it wanted
        _abandon_output()
        return 141
    except OSError as error:
        # The tools name the files they know of, so what has no name is the output.
        print(f"{name}: {printable(str(error.filename or 'the output'))}: {reason(error)}", file=sys.stderr)
        _abandon_output()
        return 1


def _run(name: str, arguments: "list[str]") -> int:
    if name == "help" and arguments:
        return _run(arguments[0], [*arguments[1:], "--help"])
    if name in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if name == "--version":
        print(f"omp {__version__}")
        return 0
    known = commands()
    if name not in known:
        guess = did_you_mean(name, known)
        print(f"omp: there is no command {name!r}; one of {', '.join(known)}{guess}", file=sys.stderr)
        return 2
    parsed = parser_for(name).parse_args(arguments)
    with tracing(getattr(parsed, "verbose", False)):
        return int(importlib.import_module(known[name]).run(parsed))


def _flush() -> None:
    if sys.stdout is not None:  # closed by whoever started the command
        sys.stdout.flush()


def _abandon_output() -> None:
    """Write what can be written, and leave nothing for the interpreter to fail at once more when it ends."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _overview() -> str:
    lines = ["usage: python -m omp COMMAND … | help COMMAND | --version", ""]
    lines += ["commands (each has --help, with examples):"]
    known = commands()
    width = max(map(len, known))
    lines += [f"  {name:{width}} {importlib.import_module(module).HELP}" for name, module in known.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that has not every letter is no reason to stop
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
