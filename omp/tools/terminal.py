"""Between a tool and the person at the terminal: failures, text that is safe to show, input.

A tool that cannot do what it was asked to do raises :class:`Failed` with one sentence; ``python -m omp`` prints it on
standard error, after the name of the command, and ends with its status.  No other exception may result from a user's
mistake, a file or a server.  The exit statuses of all commands:

=  =============================================================================================================
0  all that was asked for was done, and what was checked holds
1  not all was done, or what was checked does not hold
2  nothing was begun: the command line is wrong, or what is to be checked cannot be read (:class:`NotChecked`)
=  =============================================================================================================

Text that somebody else wrote may hold characters that move the cursor, colour the screen or reverse the reading
direction, and so show a person something else than the text says.  It must pass through :func:`printable`.

The result of a command goes to standard output: by :func:`give`, as lines for a person or, with ``--json``, as one JSON
document.  Everything else goes to standard error: :func:`note`, :func:`warn`, and with ``-v`` :func:`trace`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any


class Failed(Exception):
    """The tool cannot do what it was asked to do; the text is one sentence that says why, and what would be right."""

    exit_status = 1


class NotChecked(Failed):
    """What a tool is to check cannot be read, so that nothing is known of it: neither that it holds nor that not."""

    exit_status = 2


def reason(error: Exception) -> str:
    """Why the system refused, without the path, which the caller's sentence names."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def printable(text: str, keep: str = "") -> str:
    r"""`text` for a terminal: what could move the cursor or hide text becomes an escape, except characters of `keep`.

    >>> printable("né🦊\x1b[2J\u202e\n")
    'né🦊\\x1b[2J\\u202e\\n'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or letter in keep else letter.encode("unicode_escape").decode()
        for letter in text
    )


def printable_json(text: str) -> str:
    r"""A JSON text for a terminal: the same value, with JSON's own escapes; line ends are kept.

    >>> printable_json('{"a": "é\x9b2J"}')
    '{"a": "é\\u009b2J"}'
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text)


def give(as_json: bool, value: Any, lines: Iterable[str]) -> None:
    """Print a result: the JSON document `value`, or the `lines`, which the caller has made printable.

    The lines may be lazy: they are not made if the document is printed.
    """
    if as_json:
        print(printable_json(json.dumps(value, ensure_ascii=False)))
        return
    for line in lines:
        print(line)


def note(text: str) -> None:
    """Write to standard error what is not the result."""
    print(printable(text), file=sys.stderr)


def coloured(text: str, code: str) -> str:
    """`text` in a colour (the parameter of an SGR sequence), if standard output is a terminal that is to have colours.

    ``NO_COLOR``, if it is not empty, says no (no-color.org); so does ``TERM=dumb``.
    """
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    if not wanted or sys.stdout is None or not sys.stdout.isatty():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


_tracing: ContextVar[bool] = ContextVar("tracing", default=False)


@contextmanager
def tracing(on: bool) -> Iterator[None]:
    """Within this block, :func:`trace` writes, or not."""
    before = _tracing.set(on)
    try:
        yield
    finally:
        _tracing.reset(before)


def trace(mark: str, text: str) -> None:
    """With ``-v``, write the lines of `text` to standard error, marked: ``>`` sent, ``<`` answered, ``=`` signed."""
    if _tracing.get():
        for line in text.split("\n"):
            print(f"{mark} {printable(line)}".rstrip(), file=sys.stderr)


def traced(sign: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """A signer that shows what it signs: the signature base, as the server must compute it too."""

    def signer(message: bytes) -> bytes:
        trace("=", message.decode("latin-1"))
        return sign(message)

    return signer


def warn(text: str) -> None:
    """Write to standard error something that did not stop the work."""
    print(f"warning: {printable(text)}", file=sys.stderr)


def contents_to_check(path: str) -> bytes:
    """As :func:`contents`, for a tool that is to check them.  Raises :class:`NotChecked`."""
    try:
        return contents(path)
    except Failed as error:
        raise NotChecked(str(error)) from None


def contents(path: str) -> bytes:
    """The bytes of a file, or of standard input if `path` is ``-``.  Raises :class:`Failed`."""
    if path != "-":
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise Failed(f"{path} cannot be read: {reason(error)}.") from None
    if sys.stdin is None:  # it was closed when the tool started
        raise Failed("Standard input cannot be read: it is closed.")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise Failed(f"Standard input cannot be read: {reason(error)}.") from None
