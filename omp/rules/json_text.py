"""JSON on the way in: RFC 8259, and only what can be stored and written out again (omp §2.1).

:func:`parse` returns the value of a JSON text or raises :class:`JsonError`, whatever the bytes.  ``json.loads`` alone
accepts duplicate names (the last wins, so two readers of one text can disagree), NaN, 1e400 as infinity and lone
surrogates, and leaks other exceptions on depth (RecursionError) and on 5,000 digits (ValueError).  Refused here:

* bytes that are not UTF-8, a byte order mark;
* nesting deeper than `max_depth`;
* NaN and infinities, numbers that a double cannot hold, integers of more than 309 digits;
* a name twice in one object;
* a lone surrogate, written as an escape.

>>> parse(b'{"a": [1, 2.5, null]}')
{'a': [1, 2.5, None]}
>>> parse(b'{"a": 1, "a": 2}')
Traceback (most recent call last):
    ...
omp.rules.json_text.JsonError: an object names a member twice

Every request body passes through here, so the scanner of the standard library that is written in C does the work, and
the two checks that it lacks run only on texts for which they can matter: depth where there are more brackets than
levels, surrogates where there is ``\\ud``.

:func:`compact` writes a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import accumulate
from json import encoder as json_encoder
from math import isinf
from typing import Any, NoReturn, cast

MAX_DEPTH = 100
"""The nesting that omp §2.1 allows: ``[]`` has depth 1."""
MAX_INTEGER_DIGITS = 309
"""The greatest double has 309 digits before its point."""

_WHITE_SPACE = " \t\n\r"  # RFC 8259 §2
_SPACE = re.compile(f"[{_WHITE_SPACE}]*")

Scanner = Callable[[str, int], tuple[Any, int]]
"""``(text, index) -> (value, index after it)``; raises ValueError or StopIteration if there is no value."""


class JsonError(ValueError):
    """A text that is not JSON, or holds what omp §2.1 refuses; the message is one sentence for the sender."""


class TooHeavy(JsonError):
    """A text whose arrays and objects weigh more than it may hold."""


def parse(data: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """The value of the JSON text `data`: dict, list, str, int, float, bool or None.

    Raises :class:`JsonError`, and nothing else, for anything but JSON within the bounds above; if it is only that its
    arrays and objects weigh too much, :class:`TooHeavy`.
    """
    text = text_of(data)
    check_depth(data, max_depth)
    if len(data) > _NEVER_TOO_HEAVY:
        check_weight(data)
    value = scan_whole(_scan, text) if data.count(b":") <= _MANY_MEMBERS else _scan_many_members(data, text)
    # UTF-8 text holds no surrogates, so one in the value was written as an escape \ud8… to \udf….
    if ("\\ud" in text or "\\uD" in text) and any(match[1] for match in _SURROGATES.finditer(text)):
        raise JsonError("a string holds half of a surrogate pair; write the whole pair or neither")
    return value


# In JSON: an escaped backslash, after which u begins no escape; a pair of surrogates; or, as group 1, a single one.
_SURROGATES = re.compile(r"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F])")


def text_of(data: bytes) -> str:
    """`data` decoded from UTF-8; :class:`JsonError` if it is not UTF-8 or starts with a byte order mark."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8: the byte at {error.start} does not belong there") from None
    if text.startswith("\ufeff"):
        raise JsonError("a byte order mark is not JSON; leave it out")  # RFC 8259 §8.1
    return text


def scan_whole(scan: Scanner, text: str) -> Any:
    """The one value that `text` consists of, with white space around it; :class:`JsonError` for anything else."""
    try:
        value, end = scan(text, _after_space(text, 0))
    except StopIteration as stop:
        raise JsonError(f"not JSON: a value is missing {_place(text, stop.value)}") from None
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON: {error.msg} {_place(text, error.pos)}") from None
    if end != len(text) and _after_space(text, end) != len(text):
        raise JsonError(f"not JSON: something follows the value {_place(text, end)}")
    return value


def _after_space(text: str, at: int) -> int:
    # Not by stripping: each copy of a text takes up to four bytes a character.
    if text[at : at + 1] not in _WHITE_SPACE:
        return at
    space = _SPACE.match(text, at)
    assert space  # it may be empty
    return space.end()


def _place(text: str, index: int) -> str:
    line_start = text.rfind("\n", 0, index) + 1
    return f"(line {text.count(chr(10), 0, index) + 1}, column {index - line_start + 1})"


def _all_but(kept: bytes) -> bytes:
    return bytes(set(range(256)) - set(kept))


_NEITHER_BRACKET_NOR_QUOTE = _all_but(b'"[]{}')
_NEITHER_OPENING_NOR_QUOTE = _all_but(b'"[{')
_NEITHER_COLON_NOR_QUOTE = _all_but(b'":')
_UP_AND_DOWN = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # as signed bytes: +1, +1, −1, −1


def check_depth(data: bytes, max_depth: int) -> None:
    """Raise :class:`JsonError` where the JSON text `data` nests deeper than `max_depth`, before anything recurses.

    In a text that is not JSON it sees all the nesting before the first mistake.
    """
    if data.count(b"[") + data.count(b"{") <= max_depth:
        return  # no more brackets than levels
    # Count the brackets outside strings.
    steps = b"".join(_outside_strings(data, _NEITHER_BRACKET_NOR_QUOTE, _UP_AND_DOWN))
    if max(accumulate(memoryview(steps).cast("b")), default=0) > max_depth:
        raise JsonError(f"nested deeper than {max_depth} levels")


ARRAY_WEIGHT = 8
OBJECT_WEIGHT = 18
FREE_WEIGHT = 256 * 1024
"""Bytes of text that an array and an object count for, and what those of any text may weigh (omp §2.1).

``[0]`` takes 3 bytes as text and up to 130 in memory, ``{"":0}`` takes 6 and up to 230.  A text that is as long as the
weight of its arrays and objects takes less than 20 times its length.
"""
_NEVER_TOO_HEAVY = FREE_WEIGHT // OBJECT_WEIGHT
"""Bytes that are too few for so many brackets."""


def check_weight(data: bytes) -> None:
    """Raise :class:`TooHeavy` if the arrays and objects of the JSON text `data` weigh more than its length, and more
    than :data:`FREE_WEIGHT`: before they are made."""
    most = max(FREE_WEIGHT, len(data))
    if _weight(data.count(b"["), data.count(b"{")) <= most:
        return  # even with the brackets in strings
    opening = _outside_strings(data, _NEITHER_OPENING_NOR_QUOTE)
    arrays = sum(piece.count(b"[") for piece in opening)
    if (weight := _weight(arrays, sum(map(len, opening)) - arrays)) > most:
        raise TooHeavy(
            f"the arrays and objects in a text of this length may weigh {most} bytes, and these weigh {weight}: "
            f"an array counts as {ARRAY_WEIGHT} bytes, an object as {OBJECT_WEIGHT}"
        )


def _weight(arrays: int, objects: int) -> int:
    return ARRAY_WEIGHT * arrays + OBJECT_WEIGHT * objects


def _outside_strings(data: bytes, dropped: bytes, table: bytes | None = None) -> list[bytes]:
    """The pieces of the JSON text `data` outside its strings, without the bytes `dropped`, translated by `table`."""
    # Without escaped backslashes and escaped quotes, the pieces between quotes are outside and inside by turns.
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotes with nothing between them change no turn, and nearly all are such: the rest makes few pieces.
    return unescaped.translate(table, dropped).replace(b'""', b"").split(b'"')[::2]


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is no JSON number")


def _float(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise JsonError("a number is beyond what a double holds (about 1.8e308)")
    return number


def _integer(text: str) -> int:
    if len(text) >= MAX_INTEGER_DIGITS:
        if len(text.lstrip("-")) > MAX_INTEGER_DIGITS:
            raise JsonError(f"an integer has more than {MAX_INTEGER_DIGITS} digits")
        _float(text)
    return int(text)


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise JsonError(_TWICE)
    return value


_TWICE = "an object names a member twice"


_MANY_MEMBERS = 10_000


def _scan_many_members(data: bytes, text: str) -> Any:
    """As ``scan_whole(_scan, text)``, for `text` with many members, in two thirds of the memory.

    A pair for each member takes as much as all that is kept of a short one.  Without pairs nobody sees a name twice,
    but then there are more colons than members: each member has one, and all others are in strings.
    """
    colons, seen = sum(map(len, _outside_strings(data, _NEITHER_COLON_NOR_QUOTE))), 0

    def count(members: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen
        seen += len(members)
        return members

    decoder = json.JSONDecoder(
        parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant, object_hook=count
    )
    value = scan_whole(decoder.scan_once, text)  # type: ignore[attr-defined]
    if seen != colons:
        raise JsonError(_TWICE)
    return value


def scanner(
    integer: Callable[[str], Any],
    real: Callable[[str], Any],
    members: Callable[[list[tuple[str, Any]]], Any] | None = _object,
) -> Scanner:
    """A scanner that makes integers, other numbers and objects with these functions; NaN and infinities are refused.

    If `members` is None, an object is the dict that the scanner makes itself: of a name twice, the last one counts.
    """
    decoder = json.JSONDecoder(
        parse_int=integer, parse_float=real, parse_constant=_refuse_constant, object_pairs_hook=members
    )
    return cast(Scanner, decoder.scan_once)  # type: ignore[attr-defined]  # typeshed leaves it out


_scan = scanner(_integer, _float)


def text_maker(
    *, sort_keys: bool, allow_nan: bool, default: Callable[[Any], Any] | None = None
) -> Callable[[Any], str]:
    """``json.JSONEncoder(…).encode`` with these options, without white space, for values that hold no cycle.

    JSONEncoder.encode makes an encoder in C for each call, which doubles the time for a small value (0.5 µs more); here
    it is made once.
    """
    plain = json.JSONEncoder(
        ensure_ascii=False,
        check_circular=False,
        separators=(",", ":"),
        sort_keys=sort_keys,
        allow_nan=allow_nan,
        default=default,
    )
    make_encoder = getattr(json_encoder, "c_make_encoder", None)
    if make_encoder is None:  # an interpreter without the encoder in C
        return plain.encode
    write = make_encoder(
        None, plain.default, json_encoder.encode_basestring, None, ":", ",", sort_keys, False, allow_nan
    )
    return lambda value: "".join(write(value, 0))


compact = text_maker(sort_keys=False, allow_nan=False)
"""``compact(value) -> str``: `value` as JSON without white space, members in their own order, no NaN or infinity."""
