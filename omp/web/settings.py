"""Settings as tables: every variable that the server reads, in one shape (omp §1.1).

A protocol lists its variables once.  Reading them, refusing bad values at start (one clear sentence and status 2, never
a silent fallback), ``server.py --help`` and the table of variables in the documentation are made from that list.

>>> port = Setting("port", "PORT", whole_number(0, 65535), 8787, "port to listen on")
>>> read_settings([port], {}), read_settings([port], {"PORT": "80"})
({'port': 8787}, {'port': 80})
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


class SettingError(Exception):
    """A variable or flag holds what the server cannot use; the text says which, and what would be right."""


@dataclass(frozen=True)
class Setting:
    """One variable: `parse` turns its text into a value, or raises ValueError that says what would be right.

    `flag` is the command-line flag that wins over the variable; `fallback` is another variable, read if this one is
    absent or empty.  Both may be "".
    """

    name: str
    variable: str
    parse: Callable[[str], Any]
    default: Any
    help: str
    flag: str = ""
    fallback: str = ""

    def source(self, environ: Mapping[str, str]) -> tuple[str, str]:
        """The variable that counts in `environ` and its text, "" if neither variable is set."""
        name = self.fallback if self.fallback and not environ.get(self.variable) else self.variable
        return name, environ.get(name, "")


def read_settings(settings: Iterable[Setting], environ: Mapping[str, str]) -> dict[str, Any]:
    """name -> value for every setting; an absent or empty variable takes the default.

    Raises :class:`SettingError` naming the variable.
    """
    values = {}
    for setting in settings:
        variable, text = setting.source(environ)
        try:
            values[setting.name] = setting.parse(text) if text else setting.default
        except ValueError as error:
            named = f"{setting.flag} ({variable})" if setting.flag else variable
            raise SettingError(f"{named} is {text!r}, and {error}") from None
    return values


def switch(text: str) -> bool:
    """``1``/``true``/``yes``/``on`` or ``0``/``false``/``no``/``off``."""
    try:
        return {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }[text.lower()]
    except KeyError:
        raise ValueError("must be 1 or 0") from None


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """A parser for decimal integers from `low` to `high`."""

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text[:20]) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def one_of(*values: str) -> Callable[[str], str]:
    """A parser that takes one of `values`."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"must be one of {', '.join(values)}")
        return text

    return parse
