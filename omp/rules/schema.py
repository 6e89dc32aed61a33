"""A compiled subset of JSON Schema 2020-12: the checks behind the schemas that OpenAPI shows.

A schema is compiled once into a closure, so that checking a value does not walk the schema.  The subset: ``type`` (one
name or a list), ``properties``, ``required``, ``items``, ``minItems``, ``maxItems``, ``enum``, ``const``, ``minimum``,
``maximum``, ``exclusiveMinimum``, ``minLength``, ``maxLength``, ``pattern`` (matched against the whole string, ASCII
classes).  For readers only, and not checked: ``title``, ``description``, ``default``, ``format``; ``oneOf``, ``anyOf``,
``additionalProperties`` and ``uniqueItems``, since the code that reads such a value says better what is wrong with it;
``$ref``, by which a schema refers to itself.  Any other keyword is a mistake of ours and raises KeyError when the
schema is compiled.  What is wrong with a text that does not match can be said better in ``x-message``.

Schemas are written with :func:`record`, :func:`list_of` and :func:`described`: nothing that a client reads is without a
description.

>>> check = compile_schema({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}})
>>> check({"name": 1})
[Problem(path=('name',), message='must be a string', type='type')]

As in JSON Schema, ``integer`` accepts 1.0 as well as 1; as everywhere in JSON, true is not a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import ge, gt, le
from typing import Any, NamedTuple

Schema = Mapping[str, Any]


class Problem(NamedTuple):
    """What does not fit: the path to it, a sentence, and a word for the kind (``missing``, ``type``, …)."""

    path: tuple[str | int, ...]
    message: str
    type: str


LISTED = 100
"""After so many problems the elements of an array are not looked at further: a megabyte of misfits would make a hundred
megabytes of problems."""


# --- Writing schemas --------------------------------------------------------------------------------------------

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
BOOLEAN: Schema = {"type": "boolean"}


def described(schema: Schema, about: str, **more: Any) -> dict[str, Any]:
    """`schema` with a description, and with `more` keywords.

    >>> described(NUMBER, "metres", minimum=0)
    {'type': 'number', 'minimum': 0, 'description': 'metres'}
    """
    return {**schema, **more, "description": about}


def record(
    about: str, members: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, **more: Any
) -> dict[str, Any]:
    """The schema of an object with `members`, which must be there, and `optional` ones; `more` are further keywords."""
    required = {"required": list(members)} if members else {}
    properties = {**members, **(optional or {})}
    return {"type": "object", "description": about, **required, "properties": properties, **more}


def list_of(item: Schema, about: str, **more: Any) -> dict[str, Any]:
    """The schema of a list whose elements fit `item`."""
    return {"type": "array", "items": item, **more, "description": about}


# --- Compiling them ---------------------------------------------------------------------------------------------

Validator = Callable[[Any], list[Problem]]
_Check = Callable[[Any], Sequence[Problem]]


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),  # and a float that is whole
    "number": (int, float),
}
_ARTICLES = {"object": "an object", "array": "an array", "integer": "an integer", "null": "null"}


def compile_schema(schema: Schema) -> Validator:
    """A function that lists the problems of a value under `schema`; the list is empty if the value fits.

    All are listed, but for those of an array: see :data:`LISTED`.
    """
    checks = [made for word, argument in schema.items() if (made := _KEYWORDS[word](argument, schema)) is not None]
    named = schema.get("type", [])
    names = [named] if isinstance(named, str) else named
    types = frozenset(kind for name in names for kind in _TYPES[name])
    whole = "integer" in names
    wrong = [Problem((), "must be " + " or ".join(_ARTICLES.get(name, f"a {name}") for name in names), "type")]

    def validate(value: Any) -> list[Problem]:
        if types and type(value) not in types and not (whole and type(value) is float and value.is_integer()):
            return wrong
        for check in checks:
            if check(value):  # usually none finds anything, and nothing need be put together
                return [problem for each in checks for problem in each(value)]
        return []

    return validate


def _properties(members: Mapping[str, Schema], schema: Schema) -> _Check:
    validators = [(name, compile_schema(member)) for name, member in members.items()]

    def check(value: Any) -> Sequence[Problem]:
        if type(value) is not dict:
            return ()
        found: list[Problem] = []
        for name, validate in validators:
            if name in value and (problems := validate(value[name])):
                found += [Problem((name, *p.path), p.message, p.type) for p in problems]
        return found

    return check


def _required(names: list[str], schema: Schema) -> _Check:
    wanted = frozenset(names)

    def check(value: Any) -> Sequence[Problem]:
        if type(value) is not dict or wanted <= value.keys():
            return ()
        return [Problem((name,), "is required", "missing") for name in names if name not in value]

    return check


def _items(item: Schema, schema: Schema) -> _Check:
    validate = compile_schema(item)

    def check(value: Any) -> Sequence[Problem]:
        if type(value) is not list:
            return ()
        found: list[Problem] = []
        for index, element in enumerate(value):
            if problems := validate(element):
                found += [Problem((index, *p.path), p.message, p.type) for p in problems]
                if len(found) >= LISTED:
                    break
        return found

    return check


def _pattern(pattern: str, schema: Schema) -> _Check:
    fullmatch = re.compile(pattern, re.ASCII).fullmatch
    wrong = [Problem((), schema.get("x-message", f"must match {pattern}"), "pattern")]
    return lambda value: wrong if type(value) is str and not fullmatch(value) else ()


def _same(one: Any, other: Any) -> bool:
    # JSON's equality: in Python True == 1 and False == 0.
    return bool(one == other) and (type(one) is bool) == (type(other) is bool)


def _enum(values: list[Any], schema: Schema) -> _Check:
    wrong = [Problem((), "must be one of " + ", ".join(map(str, values)), "enum")]
    return lambda value: () if any(_same(value, one) for one in values) else wrong


def _const(constant: Any, schema: Schema) -> _Check:
    wrong = [Problem((), f"must be {constant}", "const")]
    return lambda value: () if _same(value, constant) else wrong


def _range(holds: Callable[[Any, Any], bool], sentence: str) -> Callable[[Any, Schema], _Check]:
    def make(limit: Any, schema: Schema) -> _Check:
        wrong = [Problem((), sentence.format(limit), "range")]
        return lambda value: wrong if type(value) in _NUMBERS and not holds(value, limit) else ()

    return make


def _length(
    kind: type[str] | type[list[Any]], holds: Callable[[int, int], bool], sentence: str
) -> Callable[[Any, Schema], _Check]:
    def make(limit: Any, schema: Schema) -> _Check:
        wrong = [Problem((), sentence.format(limit), "length")]
        return lambda value: wrong if type(value) is kind and not holds(len(value), limit) else ()

    return make


_NUMBERS = (int, float)
_KEYWORDS: dict[str, Callable[[Any, Schema], _Check | None]] = {
    "type": lambda argument, schema: None,  # compile_schema checks it before all others, which presuppose it
    "properties": _properties,
    "required": _required,
    "items": _items,
    "pattern": _pattern,
    "enum": _enum,
    "const": _const,
    "minimum": _range(ge, "must be at least {}"),
    "maximum": _range(le, "must be at most {}"),
    "exclusiveMinimum": _range(gt, "must be more than {}"),
    "minLength": _length(str, ge, "must have at least {} characters"),
    "maxLength": _length(str, le, "must have at most {} characters"),
    "minItems": _length(list, ge, "must have at least {} elements"),
    "maxItems": _length(list, le, "must have at most {} elements"),
    **dict.fromkeys(("title", "description", "default", "format", "x-message"), lambda argument, schema: None),
    **dict.fromkeys(
        ("oneOf", "anyOf", "additionalProperties", "uniqueItems", "discriminator", "$ref"),
        lambda argument, schema: None,
    ),
}
