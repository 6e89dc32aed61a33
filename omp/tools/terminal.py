"""Between a tool and the person at the terminal: what cannot be done, what is safe to show, what is read.

A tool that cannot do what it was asked for raises :class:`Failed` with one sentence; ``python -m omp`` prints it on
standard error and ends with status 1.  It is the only exception that a user's mistake, a file or a server may cause.

Text that somebody else wrote may hold characters that move the cursor, colour the screen or turn the reading
direction round, and so make a person read what is not there: it goes through :func:`printable`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


class Failed(Exception):
    """What was asked for cannot be done; the text is one sentence that says why, and what would be right."""


def reason(error: Exception) -> str:
    """Why the system refused, without the path, which the sentence around it names."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def printable(text: str, keep: str = "") -> str:
    r"""`text` for a terminal: what could move the cursor or hide other text is an escape, but for what `keep` holds.

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
    r"""A JSON text for a terminal: the same value, with JSON's own escapes; lines stay lines.

    >>> printable_json('{"a": "é\x9b2J"}')
    '{"a": "é\\u009b2J"}'
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text)


def warn(text: str) -> None:
    """Say on standard error what did not stop the work."""
    print(f"warning: {printable(text)}", file=sys.stderr)


def contents(path: str) -> bytes:
    """The bytes of a file; of standard input for ``-``.  Raises :class:`Failed`."""
    if path != "-":
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise Failed(f"{path} cannot be read: {reason(error)}.") from None
    if sys.stdin is None:  # it was closed when the tool was started
        raise Failed("Standard input cannot be read: it is closed.")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise Failed(f"Standard input cannot be read: {reason(error)}.") from None
