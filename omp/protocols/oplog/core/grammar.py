"""What a member of an operation may be: the grammars of oplog §1.2, §1.3 and §2, each in three forms.

A :class:`Grammar` is a test, which decides; words, for the sentence that says what is wrong; and JSON Schema, for
readers and for generators of clients (:mod:`omp.protocols.oplog.schemas`).  So that no form is forgotten, all three are
made in one place.  The tables that say which member has which grammar are in :mod:`.operation`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

from omp.rules import identifiers


class Grammar(NamedTuple):
    """What a member may be: a test, words that complete the sentence "… must be", and the same as JSON Schema.

    The schema is for readers (:mod:`omp.protocols.oplog.schemas`); the test decides, and may ask for more.
    """

    accepts: Callable[[Any], bool]
    words: str
    schema: Mapping[str, Any]


def _text(pattern: str, words: str) -> Grammar:
    # §1.1: a pattern is matched against the whole string and means ASCII.  "$" would let a line feed at the end pass,
    # and \d digits of every script.
    fullmatch = re.compile(pattern, re.ASCII | re.DOTALL).fullmatch
    schema = {"type": "string", "pattern": pattern}
    return Grammar(lambda value: type(value) is str and fullmatch(value) is not None, words, schema)


def one_of(*values: str) -> Grammar:
    schema = {"type": "string", "enum": values}
    return Grammar(lambda value: type(value) is str and value in values, "one of " + ", ".join(values), schema)


def or_null(grammar: Grammar) -> Grammar:
    accepts = grammar.accepts
    schema = {**grammar.schema, "type": [grammar.schema["type"], "null"]}
    return Grammar(lambda value: value is None or accepts(value), f"{grammar.words}, or null", schema)


def array_of(of: Grammar, *, empty: bool = False, ordered: bool = False) -> Grammar:
    """A list without duplicates: non-empty unless `empty`, and sorted by code points if `ordered`."""
    accepts = of.accepts

    def fits(value: Any) -> bool:
        if type(value) is not list or not (value or empty) or not all(map(accepts, value)):
            return False
        return all(a < b for a, b in pairwise(value)) if ordered else len(set(value)) == len(value)

    # Without duplicates, and sorted where order means nothing: so that one meaning has one form, and one ID.
    kind = "sorted list" if ordered else "list"
    words = f"a {'' if empty else 'non-empty '}{kind} without duplicates; each element {of.words}"
    return Grammar(
        fits, words, {"type": "array", "items": of.schema, "minItems": 0 if empty else 1, "uniqueItems": True}
    )


_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}Z", re.ASCII).fullmatch


def is_timestamp(value: Any) -> bool:
    """§1.3: ``YYYY-MM-DDTHH:MM:SS.mmmZ``, a date of the calendar from year 1 on, no leap second.

    With one form for each instant, timestamps are compared as strings.

    >>> is_timestamp("2024-02-29T23:59:59.999Z"), is_timestamp("2023-02-29T00:00:00.000Z")
    (True, False)
    """
    match = _TIMESTAMP(value) if type(value) is str else None
    if match is None:
        return False
    try:
        date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return False
    return True


def _is_name(name: str) -> bool:
    return _MEMBER_NAME(name) is not None


def names_are_plain(value: Any) -> bool:
    """§1.1: every member name anywhere matches ``^[a-z0-9_]+$``.  Recursion is safe: stage 1 bounds the depth by 16."""
    if type(value) is dict:
        return all(map(_is_name, value)) and all(map(names_are_plain, value.values()))
    if type(value) is list:
        return all(map(names_are_plain, value))
    return True


_MEMBER_NAME = re.compile(r"[a-z0-9_]+").fullmatch
_PREDICATE_PATTERN = r"[a-z0-9_]+(?:\.[a-z0-9_]+)*"
# RFC 6838 §4.2: restricted-name.  Its 127 characters are a limit here (§1.5), not grammar.
_RESTRICTED_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*"

IDENTITY_ID = _text(identifiers.IDENTITY_ID.pattern, "an identity ID, omp:id:ed25519:… with 43 characters of base64url")
KEY_ID = _text(identifiers.KEY_ID.pattern, "a key ID, omp:key:ed25519:… with 43 characters of base64url")
OPERATION_ID = _text(identifiers.OPERATION_ID.pattern, "an operation ID, omp:op:sha256:… with 64 hex digits")
EVIDENCE_ID = _text(identifiers.EVIDENCE_ID.pattern, "an evidence ID, omp:ev:sha256:… with 64 hex digits")
SIGNATURE = _text(
    identifiers.SIGNATURE.pattern, "a signature, 86 characters of base64url (with - and _, without padding)"
)
# Without "format": date-time: generated clients would read such a text as a time, and write it in another form.
_TIMESTAMP_SCHEMA = {"type": "string", "pattern": r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"}
TIMESTAMP = Grammar(is_timestamp, "a timestamp like 2024-05-17T09:30:00.000Z", _TIMESTAMP_SCHEMA)
# isinstance would let true pass.
INTEGER = Grammar(lambda value: type(value) is int, "an integer", {"type": "integer", "format": "int64"})
OBJECT = Grammar(lambda value: type(value) is dict, "an object", {"type": "object"})
STRING = Grammar(lambda value: type(value) is str, "a string", {"type": "string"})
NON_EMPTY = Grammar(
    lambda value: type(value) is str and value != "",
    "a string of 1 character or more",
    {"type": "string", "minLength": 1},
)
ANY_VALUE = Grammar(names_are_plain, "a value whose member names match ^[a-z0-9_]+$", {})
PREDICATE = _text(_PREDICATE_PATTERN, "a predicate like calendar.event: names out of a-z 0-9 _ with points between")
PATTERN = _text(rf"\*|{_PREDICATE_PATTERN}(?:\.\*)?", "*, a predicate, or a predicate followed by .*")
MEDIA_TYPE = _text(f"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}", "type/subtype, without parameters")
SOURCE = _text(r"[a-z0-9_.:-]+", "an adapter's name out of a-z 0-9 _ . : -")
