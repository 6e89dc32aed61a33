"""Vectors of Structured Fields: texts, what they hold, and how they are serialized again.

What a parser makes of a text is computed; which texts it must refuse is written down here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from omp.rules.structured_fields import (
    BareItem,
    InnerList,
    Item,
    Member,
    Parameters,
    StructuredFieldError,
    Token,
    parse_dictionary,
    parse_item,
    parse_list,
    serialize_bare_item,
    serialize_dictionary,
    serialize_item,
    serialize_list,
)


def generate() -> dict[str, Any]:
    """The files of this set."""
    return {
        "structured_fields/parse.json": {
            "kind": "structured_fields/parse",
            "description": "Texts as items, lists and dictionaries, and how they are serialized again.",
            "spec": "RFC 8941 §4",
            "cases": list(_cases()),
        },
        "structured_fields/decimals.json": {
            "kind": "structured_fields/decimal",
            "description": "Decimals as they are serialized: rounded half to even, from the digits of `number`.",
            "spec": "RFC 8941 §4.1.5",
            "cases": list(_decimal_cases()),
        },
    }


_TYPE_NAMES = {int: "integer", float: "decimal", str: "string", Token: "token", bytes: "bytes", bool: "boolean"}
_GOOD = {
    "item": (
        *("5", "-0", "007", "-999999999999999", "4.5", "0.250", "999999999999.999", "-0.5", '"hello world"', '""'),
        *('"a \\"b\\" \\\\"', "foo123/456", "*", "a:b", ":aGVsbG8=:", ":aGVsbG8:", ":aGVsbG9=:", "::", "?1", "?0"),
        *("  1  ", "abc;   a=1;b=2;  c", "a;x=1;y=2;x=3", "a;*_-.9=1", 'a;b="c;d"', "a;b=?0;c=?1"),
    ),
    "list": (
        *("", "  ", "sugar, tea, rum", "1 \t,\t 2,3", '("foo" "bar"), ("baz"), ()', "(  4   5  )"),
        *('("foo";a=1;b=2);lvl=5, ("bar" "baz");lvl=1', 'abc;a=1;b=2;cde_456, (ghi;jk=4 l);q="9";r=w'),
    ),
    "dictionary": (
        *("", 'en="Applepie", da=:w4ZibGV0w6ZydGU=:', "a=?0, b, c;foo=bar", "rating=1.5, feelings=(joy sadness)"),
        *("a=(1 2), b=3, c=4;aa=bb, d=(5 6);valid", "a=1, b=2, a=(3);x", "a=?1;x", 'sig1=("@method";req "b";key="x")'),
    ),
}
_BAD = {
    "item": (
        *("", "1 2", "1,", "--1", "-", "+1", "1.", ".5", "1.2345", "1234567890123456", "1234567890123.4", "1.2.3"),
        *("1e5", '"', '"a', '"\\a"', '"a\tb"', '"é"', "'a'", "é", "1\n", "\t1", ":", ":a:", ":YQ==YQ==:", ":a-_b:"),
        *("?", "?2", "?true", "@1659578233", "a;", "a;;b", "a;B", "a;b=", "a;b =1", "a ;b", "(1)"),
    ),
    "list": (",", "1,", "1,,2", "1 2", "(", "(1", "(1,2)", '("a""b")', "(1\t2)", "((1))", ")", "()x", "(1) (2)"),
    "dictionary": ("1", "a=", "a =1", "a= 1", "A=1", "a=1,", "a=1 b=2", "a=1;", "=1", "a,,b", "é=1", "a=1\n", "9a=1"),
}
KINDS: dict[str, tuple[Callable[[str], Any], Callable[[Any], str]]] = {
    "item": (parse_item, serialize_item),
    "list": (parse_list, serialize_list),
    "dictionary": (parse_dictionary, serialize_dictionary),
}


def _cases() -> Iterator[dict[str, Any]]:
    for kind, texts in _GOOD.items():
        parse, serialize = KINDS[kind]
        for text in texts:
            value = parse(text)
            yield {
                "name": f"{kind} {text!r}",
                "kind": kind,
                "text": text,
                "value": structure(value),
                "serialized": serialize(value),
            }
    for kind, texts in _BAD.items():
        for text in texts:
            yield {"name": f"no {kind} {text!r}", "kind": kind, "text": text, "value": None}


_DECIMALS = (
    *("1.0", "-0.5", "0.0625", "1.0009", "123456789012.0", "999999999999.999"),
    # As doubles these are a little more or less than they say.
    *("0.0005", "0.0015", "0.0025", "0.0035", "-0.0025", "1.0005", "2.6785", "9.9995", "1e-07"),
    *("999999999999.9994", "999999999999.9995", "1000000000000.0", "1e+300"),
)


def _decimal_cases() -> Iterator[dict[str, Any]]:
    for text in _DECIMALS:
        try:
            serialized: str | None = serialize_bare_item(float(text))
        except StructuredFieldError:
            serialized = None
        yield {"name": text, "number": text, "serialized": serialized}


def structure(value: Member | Sequence[Member] | Mapping[str, Member]) -> Any:
    """A parsed field as JSON: [type, value, params] of an item, [items, params] of an inner list."""
    if isinstance(value, Item):
        return [*_bare(value.value), _params(value.params)]
    if isinstance(value, InnerList):
        return [[structure(item) for item in value.items], _params(value.params)]
    if isinstance(value, Mapping):
        return [[name, structure(member)] for name, member in value.items()]
    return [structure(member) for member in value]


def _bare(value: BareItem) -> list[Any]:
    return [_TYPE_NAMES[type(value)], value.hex() if isinstance(value, bytes) else value]


def _params(params: Parameters) -> list[Any]:
    return [[name, *_bare(value)] for name, value in params.items()]
