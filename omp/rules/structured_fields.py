"""Structured Field Values for HTTP: RFC 8941, parsing (§4.2) and serializing (§4.1).

A structured field is a list, a dictionary or a single item.  As Python values:

* a bare item (§3.3) is an ``int`` (Integer), ``float`` (Decimal: at most 15 digits, which a double holds), ``str``
  (String), :class:`Token`, ``bytes`` (Byte Sequence) or ``bool`` (Boolean);
* parameters (§3.1.2) are a dict from key to bare item, in order;
* an :class:`Item` is a bare item with parameters, an :class:`InnerList` several items with parameters;
* a list (§3.1) is a list, and a dictionary (§3.2) a dict, of items and inner lists.

>>> parse_dictionary('sig1=("@method" "@path");created=1700000000;keyid="k"')["sig1"].params
{'created': 1700000000, 'keyid': 'k'}

The parser is the algorithms of §4.2 in their order, one function each: it walks the text once, from left to right,
and where an algorithm consumes one character after the other, a regular expression consumes them all.  A function
takes the text and the index to start at, and returns what it parsed with the index after it.  Field lines of one name
are joined with ``", "`` before parsing (§4.2).  Where a key occurs twice, the last value counts, at the place of the
first (§4.2.2), which is what a dict does.

Handled here: all that is not RFC 8941 raises :class:`StructuredFieldError`, also text that is not ASCII.  The caller
must bound the length of the text, and know which of the three kinds a field is: some texts are valid as more than
one.  Left out: the dates and display strings of RFC 9651, which HTTP Message Signatures do not use.
"""

from __future__ import annotations

import re
from binascii import Error as _BinasciiError
from binascii import a2b_base64
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from omp.rules.encodings import b64_encode


class StructuredFieldError(ValueError):
    """A text that is not the structured field it should be, or a value that no structured field can hold."""


class Token(str):
    """A Token (§3.3.4): a short word without quotes.  Its class tells it apart from a String."""

    __slots__ = ()


BareItem = int | float | str | bytes | bool
Parameters = Mapping[str, BareItem]
NO_PARAMETERS: Parameters = MappingProxyType({})


class Item(NamedTuple):
    """A bare item with its parameters (§3.3)."""

    value: BareItem
    params: Parameters = NO_PARAMETERS


class InnerList(NamedTuple):
    """Items in parentheses, with parameters of their own (§3.1.1)."""

    items: Sequence[Item]
    params: Parameters = NO_PARAMETERS


Member = Item | InnerList

# --- The grammar's terminals ------------------------------------------------------------------------------------

# §3.1.2  key = ( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" )
_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
ANY_CASE_KEY = re.compile(r"[A-Za-z*][A-Za-z0-9_\-.*]*")
"""Keys as some clients write them that do not follow §3.1.2; see :func:`parse_dictionary`."""

_BARE_ITEM = re.compile(
    # §3.3.3  sf-string = DQUOTE *( unescaped / "\" ( DQUOTE / "\" ) ) DQUOTE
    r'"(?P<string>[ !#-\[\]-~]*(?:\\["\\][ !#-\[\]-~]*)*)"'
    # §3.3.1, §3.3.2  sf-integer = ["-"] 1*15DIGIT; sf-decimal = ["-"] 1*12DIGIT "." 1*3DIGIT
    r"|(?P<decimal>-?[0-9]{1,12}\.[0-9]{1,3})(?![0-9])"
    r"|(?P<integer>-?[0-9]{1,15})(?![0-9])"
    # §3.3.5  sf-binary = ":" *(base64) ":"
    r"|:(?P<binary>[A-Za-z0-9+/=]*):"
    # §3.3.6  sf-boolean = "?" ( "0" / "1" )
    r"|\?(?P<boolean>[01])"
    # §3.3.4  sf-token = ( ALPHA / "*" ) *( tchar / ":" / "/" )
    r"|(?P<token>[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*)"
)

# §3.1.2  parameters = *( ";" *SP parameter ), where parameter = param-key [ "=" param-value ]
_PARAMETER = re.compile(rf"; *(?P<key>{_KEY.pattern})(?:=(?:{_BARE_ITEM.pattern}))?")

# §3.1.1  an inner list of strings that need no unescaping, without parameters, as signatures list their components
_PLAIN_LIST = re.compile(r'\(((?:"[ !#-\[\]-~]*" +)*"[ !#-\[\]-~]*")\)')
_PLAIN_STRING = re.compile(r'"([^"]*)"')
# §3.2  a dictionary of one byte sequence, as Signature and Content-Digest usually are
_PLAIN_BYTES = re.compile(rf"({_KEY.pattern})=:([A-Za-z0-9+/=]*):")
# §3.1.1  SP between the items of an inner list, and before its end
_GAP = re.compile(r" +|(?=\))")
# §3.1  OWS "," OWS between members, where OWS = *( SP / HTAB )
_COMMA = re.compile(r"[ \t]*,[ \t]*")


# --- Parsing, §4.2 ----------------------------------------------------------------------------------------------


def parse_list(text: str) -> list[Member]:
    """The list that is the whole of `text` (§4.2.1); empty text is the empty list."""
    text = text.strip(" ")  # §4.2 steps 2 and 6
    members: list[Member] = []
    at = 0
    while at < len(text):
        member, at = _member(text, at)
        members.append(member)
        at = _after_comma(text, at)
    return members


def parse_dictionary(text: str, *, key: re.Pattern[str] = _KEY) -> dict[str, Member]:
    """The dictionary that is the whole of `text` (§4.2.2); empty text is the empty dictionary.

    A member without a value is the Item True.  `key` may be :data:`ANY_CASE_KEY`, which lets the dictionary's own
    keys (not those of parameters) hold upper case: that is not RFC 8941.
    """
    text = text.strip(" ")
    plain = _PLAIN_BYTES.fullmatch(text)
    if plain is not None:  # what follows says the same of it, in four times the time
        return {plain[1]: Item(_bytes(plain[2]))}
    members: dict[str, Member] = {}
    at = 0
    while at < len(text):
        name, at = _key(text, at, key)
        if text.startswith("=", at):
            member, at = _member(text, at + 1)
        else:
            params, at = _parameters(text, at)
            member = Item(True, params)
        members[name] = member
        at = _after_comma(text, at)
    return members


def parse_item(text: str) -> Item:
    """The item that is the whole of `text` (§4.2.3)."""
    text = text.strip(" ")
    item, end = _item(text, 0)
    if end != len(text):
        raise _unexpected(text, end)
    return item


def _after_comma(text: str, at: int) -> int:
    """Where the next member begins, or the end of the text: §4.2.1 steps 2.2 to 2.6, the same in §4.2.2."""
    if at == len(text):
        return at
    comma = _COMMA.match(text, at)
    if comma is None or comma.end() == len(text):  # no comma, or a trailing one
        raise _unexpected(text, at)
    return comma.end()


def _member(text: str, at: int) -> tuple[Member, int]:
    """An item or an inner list: §4.2.1.1."""
    return _inner_list(text, at) if text.startswith("(", at) else _item(text, at)


def _inner_list(text: str, at: int) -> tuple[InnerList, int]:
    """§4.2.1.2, from the opening parenthesis on."""
    plain = _PLAIN_LIST.match(text, at)
    if plain is not None:  # what follows says the same of it, in three times the time
        params, at = _parameters(text, plain.end())
        return InnerList([Item(string) for string in _PLAIN_STRING.findall(plain[1])], params), at
    items: list[Item] = []
    at = _after_spaces(text, at + 1)
    while not text.startswith(")", at):
        item, at = _item(text, at)
        items.append(item)
        gap = _GAP.match(text, at)
        if gap is None:
            raise _unexpected(text, at)
        at = gap.end()
    params, at = _parameters(text, at + 1)
    return InnerList(items, params), at


def _item(text: str, at: int) -> tuple[Item, int]:
    """§4.2.3."""
    value, at = _bare_item(text, at)
    params, at = _parameters(text, at)
    return Item(value, params), at


def _parameters(text: str, at: int) -> tuple[Parameters, int]:
    """§4.2.3.2.  What is malformed is left in the text: no caller accepts ";" or "=" after parameters."""
    if not text.startswith(";", at):
        return NO_PARAMETERS, at
    params: dict[str, BareItem] = {}
    while match := _PARAMETER.match(text, at):
        params[match["key"]], at = _value(match), match.end()
    return params, at


def _key(text: str, at: int, pattern: re.Pattern[str]) -> tuple[str, int]:
    """§4.2.3.3."""
    match = pattern.match(text, at)
    if match is None:
        raise _unexpected(text, at)
    return match.group(), match.end()


def _bare_item(text: str, at: int) -> tuple[BareItem, int]:
    """§4.2.3.1: the first character tells the kind; only decimals and integers share theirs."""
    match = _BARE_ITEM.match(text, at)
    if match is None:
        raise _not_bytes(text[at + 1 :].partition(":")[0]) if text.startswith(":", at) else _unexpected(text, at)
    return _value(match), match.end()


def _value(match: re.Match[str]) -> BareItem:
    """The bare item in a match: the last group is its kind, or the key of a parameter that has no value."""
    kind = match.lastgroup or ""
    return _VALUES[kind](match[kind])


def _after_spaces(text: str, at: int) -> int:
    while text.startswith(" ", at):
        at += 1
    return at


_ESCAPED = re.compile(r"\\(.)")


def _string(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text  # §4.2.5


def _bytes(text: str) -> bytes:
    # §4.2.7: missing padding and unused bits that are not zero "SHOULD NOT fail"; padding elsewhere does.
    try:
        return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except _BinasciiError:
        raise _not_bytes(text) from None


def _not_bytes(text: str) -> StructuredFieldError:
    # §3.3.5.  Signatures are the commonest byte sequences, and elsewhere often are base64url.
    found = ascii(text[:100])[1:-1]
    return StructuredFieldError(
        f"A byte sequence must be base64 with + and / (not base64url's - and _) between colons, not :{found}:."
    )


_VALUES: dict[str, Callable[[str], BareItem]] = {
    "key": lambda key: True,  # §4.2.3.2: a parameter without a value
    "string": _string,
    "decimal": float,  # §4.2.4
    "integer": int,
    "binary": _bytes,
    "boolean": lambda text: text == "1",  # §4.2.8
    "token": Token,  # §4.2.6
}
"""Group of :data:`_BARE_ITEM` -> its value from its text."""


def _unexpected(text: str, at: int) -> StructuredFieldError:
    found = ascii(text[at : at + 20]) if at < len(text) else "the end"
    return StructuredFieldError(f"Not a structured field (RFC 8941): unexpected {found} at character {at + 1}.")


# --- Serializing, §4.1 ------------------------------------------------------------------------------------------

_THOUSANDTH = Decimal("0.001")
_TOKEN_TEXT = re.compile(r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*")


def serialize_list(members: Sequence[Member]) -> str:
    """§4.1.1.  An empty list is the empty text: such a field is not sent."""
    return ", ".join(map(serialize_member, members))


def serialize_dictionary(members: Mapping[str, Member]) -> str:
    """§4.1.2.  An empty dictionary is the empty text: such a field is not sent."""
    parts = []
    for name, member in members.items():
        if isinstance(member, Item) and member.value is True:
            parts.append(_checked_key(name) + serialize_parameters(member.params))
        else:
            parts.append(f"{_checked_key(name)}={serialize_member(member)}")
    return ", ".join(parts)


def serialize_member(member: Member) -> str:
    """One item or inner list."""
    return serialize_item(member) if isinstance(member, Item) else serialize_inner_list(member)


def serialize_inner_list(inner: InnerList) -> str:
    """§4.1.1.1."""
    return f"({' '.join(map(serialize_item, inner.items))}){serialize_parameters(inner.params)}"


def serialize_item(item: Item) -> str:
    """§4.1.3."""
    value = serialize_bare_item(item.value)
    return value + serialize_parameters(item.params) if item.params else value


def serialize_parameters(params: Parameters) -> str:
    """§4.1.1.2: each with its semicolon in front."""
    parts = []
    for name, value in params.items():
        parts.append(f";{_checked_key(name)}")
        if value is not True:
            parts.append(f"={serialize_bare_item(value)}")
    return "".join(parts)


def serialize_bare_item(value: BareItem) -> str:
    """§4.1.3.1; :class:`StructuredFieldError` for what the kind cannot hold."""
    try:
        return _SERIALIZERS[type(value)](value)
    except KeyError:
        raise StructuredFieldError(f"A structured field cannot hold a {type(value).__name__}.") from None


def _serialize_integer(value: int) -> str:
    if not -999_999_999_999_999 <= value <= 999_999_999_999_999:
        raise StructuredFieldError("An Integer has at most 15 digits.")
    return str(value)


def _serialize_decimal(value: float) -> str:
    # §4.1.5: three fractional digits, rounded half to even from the decimal digits.  The double nearest to 0.0025 is a
    # little more than that, so rounding the double itself would give 0.003.
    text = f"{Decimal(repr(value)).quantize(_THOUSANDTH, ROUND_HALF_EVEN):f}" if abs(value) < 1e12 else ""
    if not text or len(text.lstrip("-")) > 16:  # not finite, or more than 12 integer digits, also by rounding up
        raise StructuredFieldError("A Decimal has at most 12 digits before the point.")
    return text[:-2] + text[-2:].rstrip("0")  # at least one fractional digit stays


def _serialize_string(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise StructuredFieldError("A String holds printable ASCII only.")
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def _serialize_token(value: str) -> str:
    if not _TOKEN_TEXT.fullmatch(value):
        raise StructuredFieldError("A Token begins with a letter or * and holds tchar, : and / only.")
    return value


def _checked_key(name: str) -> str:
    if not _KEY.fullmatch(name):
        raise StructuredFieldError(f"{name!a} is not a key: keys are in lower case (RFC 8941 §3.1.2).")
    return name


_SERIALIZERS: dict[type, Callable[[Any], str]] = {
    int: _serialize_integer,
    float: _serialize_decimal,
    str: _serialize_string,
    Token: _serialize_token,
    bytes: lambda value: f":{b64_encode(value)}:",
    bool: lambda value: "?1" if value else "?0",
}
