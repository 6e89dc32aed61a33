"""Large values as JSON, written in parts: the same bytes as of a small one, in less memory (omp §1.6).

Text in Python takes one byte for each character, or four for *every* one of them where a single one is beyond U+FFFF.
A number is longer as Python writes it than as it was sent (``1e9`` is ``1000000000.0``).  So the text of a body of
5 MiB could take 80 MiB, and there may be two of them at a time.  Here there is no text of the whole: at most some
thousand elements are written at a time, and kept as UTF-8.

It is slower than the encoder in C, and meant for what is larger than some hundred kilobytes.

>>> from omp.rules.json_text import compact
>>> compact_in_parts({"a": [1, {}], "b": "\\u20ac"}) == compact({"a": [1, {}], "b": "\\u20ac"}).encode()
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from json.encoder import encode_basestring
from typing import Any

from omp.rules.canonical import canonical_text, sorted_names
from omp.rules.json_text import compact

_PART = 4096  # elements of an array, or members of an object, that are written at a time

_Text = Callable[[Any], str]
_Names = Callable[[dict[str, Any]], Iterable[str]]


def compact_in_parts(value: Any) -> bytearray:
    """``compact(value).encode()``."""
    written = bytearray()
    _write(value, compact, list, written)
    return written


def canonical_in_parts(value: Any) -> bytearray:
    """``canonicalize(value, exact_integers=True)``; `value` is one that :func:`omp.rules.json_text.parse` returned."""
    written = bytearray()
    _write(value, partial(canonical_text, exact_integers=True), sorted_names, written)
    return written


def _write(value: Any, text: _Text, names: _Names, written: bytearray) -> None:
    """Add `value` to what is `written`, as `text` writes it; `names` has the members of an object in its order."""
    some: Any
    if type(value) is list:
        written += b"["
        for at in range(0, len(value), _PART):
            written += b"," if at else b""
            some = value[at : at + _PART]
            if _any_large(some):
                for number, element in enumerate(some):
                    written += b"," if number else b""
                    _write(element, text, names, written)
            else:
                written += text(some)[1:-1].encode()
        written += b"]"
    elif type(value) is dict:
        written += b"{"
        ordered = list(names(value))
        for at in range(0, len(ordered), _PART):
            written += b"," if at else b""
            some = {name: value[name] for name in ordered[at : at + _PART]}
            if _any_large(some.values()):
                for number, (name, member) in enumerate(some.items()):
                    written += f"{',' * (number > 0)}{encode_basestring(name)}:".encode()
                    _write(member, text, names, written)
            else:
                written += text(some)[1:-1].encode()
        written += b"}"
    else:
        written += text(value).encode()


def _any_large(values: Iterable[Any]) -> bool:
    """Whether any of the values may be too large to be written together with others."""
    return any(type(one) in (list, dict) or (type(one) is str and len(one) > _PART) for one in values)
