"""Canonical JSON: the JSON Canonicalization Scheme, RFC 8785, and the strict decoder of its subset OMP-CJ.

A signature is over bytes, and one JSON value can be written in many ways.  A canonical form gives every value exactly
one text, so that two programs that mean the same sign the same.

:func:`canonicalize` writes a value as RFC 8785 does: no white space (§3.2.1), strings with the fewest escapes
(§3.2.2.2), numbers as ECMAScript prints doubles (§3.2.2.3), members sorted by the UTF-16 code units of their names
(§3.2.3), UTF-8 (§3.2.4).

The operation log has a stricter form for what arrives, OMP-CJ (omp §2.2, oplog §1.1).  :func:`decode` accepts bytes
only if they are the OMP-CJ encoding of some object.  It tells what is not JSON at all (oplog §3.2 stage 1) from what is
JSON written in another way (stage 2).  :func:`encode` writes what it returned.  For values that OMP-CJ has, both forms
agree but for the order of names, which OMP-CJ sorts by code points: that differs where a name holds characters beyond
U+FFFF.

Handled by :func:`canonicalize` and :func:`decode`: NaN, infinities, lone surrogates, names that are not strings,
cycles, depth, integers of any length.  The only exceptions that the two raise are :class:`CanonicalError` and its
subclasses, and no part of a result is ever returned.  :func:`encode` checks nothing: it is for values that were
decoded.  Given another value it may write what is not OMP-CJ (1.5, NaN) or raise anything.  The caller must bound the
size.
"""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

from omp.rules.json_text import JsonError, check_depth, scan_whole, scanner, text_maker, text_of

MAX_DEPTH = 256
"""The nesting that :func:`canonicalize` writes; the bound also stops a value that contains itself."""
MAX_SAFE_INTEGER = 2**53 - 1
"""The greatest integer of OMP-CJ: up to here every integer is its own double (RFC 7493 §2.2)."""
OMP_CJ_DEPTH = 16


class CanonicalError(ValueError):
    """A value that has no canonical form, or bytes that are not in canonical form."""


class Malformed(CanonicalError):
    """Bytes that are not JSON, or nested too deep: oplog §3.2 stage 1, ``ERR_ENCODING``."""


class NotCanonical(CanonicalError):
    """JSON, but not as OMP-CJ writes it: oplog §3.2 stage 2, ``ERR_CANONICAL``."""


# --- RFC 8785 ---------------------------------------------------------------------------------------------------


def canonicalize(value: Any, *, exact_integers: bool = False) -> bytes:
    """The canonical bytes of a value made of dict, list, tuple, str, int, float, bool and None.

    An integer beyond 2^53 is written as its nearest double, as a reader that knows only doubles would see it
    (RFC 8785 §3.2.2.3), so that canonicalizing what was parsed from canonical bytes gives the same bytes again.  With
    `exact_integers` it keeps all its digits: that is not RFC 8785, but two different integers then never share bytes.

    Raises :class:`CanonicalError` for NaN and infinities, numbers that a double cannot hold, lone surrogates, other
    types, names that are not strings, and nesting deeper than :data:`MAX_DEPTH`.

    >>> canonicalize({"b": [1e21, 0.1, -0.0], "a": "\\u20ac"}).decode()
    '{"a":"€","b":[1e+21,0.1,0]}'
    """
    try:
        return canonical_text(value, exact_integers=exact_integers).encode()  # §3.2.4
    except UnicodeEncodeError:
        # §3.2.2.2: a lone surrogate causes an error.
        raise CanonicalError("a string holds half of a surrogate pair") from None


def canonical_text(value: Any, *, exact_integers: bool = False) -> str:
    """As :func:`canonicalize`, but not yet encoded in UTF-8: a lone surrogate passes, and fails in the encoding."""
    leaves = _EXACT_LEAVES if exact_integers else _LEAVES
    leaf = leaves.get(type(value))
    return leaf(value) if leaf else _container(value, leaves, MAX_DEPTH)


_PART = 4096  # elements of an array that are written at a time


def _container(value: Any, leaves: dict[type, Callable[[Any], str]], depth: int) -> str:
    """An object or array, `depth` levels of nesting still allowed.

    Hot: every signature, hash and ETag goes through this function.
    """
    if depth == 0:
        raise CanonicalError(f"nested deeper than {MAX_DEPTH} levels")
    kind = type(value)
    parts = []
    if kind is dict:
        for name in sorted_names(value):
            member = value[name]
            leaf = leaves.get(type(member))
            written = leaf(member) if leaf else _container(member, leaves, depth - 1)
            parts.append(f"{encode_basestring(name)}:{written}")
        return "{" + ",".join(parts) + "}"
    if kind is list or kind is tuple:
        if len(value) > _PART:  # the text of a number takes 50 bytes until it is joined to others
            starts = range(0, len(value), _PART)
            return "[" + ",".join([_container(value[at : at + _PART], leaves, depth)[1:-1] for at in starts]) + "]"
        for element in value:
            leaf = leaves.get(type(element))
            parts.append(leaf(element) if leaf else _container(element, leaves, depth - 1))
        return "[" + ",".join(parts) + "]"
    raise CanonicalError(f"a value of type {kind.__name__} is not JSON")


def sorted_names(members: dict[str, Any]) -> list[str]:
    """The names of an object in the order of their UTF-16 code units: §3.2.3."""
    try:
        # Python compares code points, which differs from UTF-16 only where a surrogate pair (U+D800…) meets a
        # character of U+E000…U+FFFF.
        if "".join(members).isascii():
            return sorted(members)
    except TypeError:
        raise CanonicalError("the name of a member must be a string") from None
    return sorted(members, key=lambda name: name.encode("utf-16-be", "surrogatepass"))


def _double(number: float) -> str:
    """A double as ECMAScript's Number::toString writes it: §3.2.2.3, ECMA-262 §7.1.12.1.

    Python's repr and ECMAScript choose the same digits, the fewest that round to the same double.  Only their layout
    differs.
    """
    text = repr(number)  # 12.5, 5.0, 1e+16, 1.5e-07, inf, nan
    if text.endswith(".0"):
        return text[:-2] if number else "0"  # step 2: −0 is 0
    if "e" not in text:
        if "n" in text:  # step 1, §3.2.2.3: NaN and infinities cause an error
            raise CanonicalError("NaN and infinities have no JSON form")
        return text  # Python's range without exponent, 1e-4 to 1e16, lies within ECMAScript's, 1e-6 to 1e21
    mantissa, _, exponent = text.partition("e")
    sign = "-" if mantissa[0] == "-" else ""
    digits = mantissa.lstrip("-").replace(".", "")
    # ECMA-262's letters: the value is 0.digits × 10^n, k the number of digits.
    n, k = int(exponent) + 1, len(digits)
    if k <= n <= 21:  # step 6
        return sign + digits + "0" * (n - k)
    if -6 < n <= 0:  # step 8; step 7, 0 < n < k, cannot occur: repr has no exponent then
        return sign + "0." + "0" * -n + digits
    if k > 1:  # steps 9 and 10
        digits = digits[0] + "." + digits[1:]
    return f"{sign}{digits}e{n - 1:+d}"


def _integer(number: int) -> str:
    if -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER:
        return str(number)
    return _double(_nearest_double(number))


def _exact_integer(number: int) -> str:
    _nearest_double(number)
    return str(number)


def _nearest_double(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        raise CanonicalError("an integer is beyond what a double holds (about 1.8e308)") from None


_LEAVES: dict[type, Callable[[Any], str]] = {
    # §3.2.2.2 asks for the escapes of ECMAScript's JSON.stringify, and encode_basestring writes just these: \" \\ \b \f
    # \n \r \t, \u00xx in lower case for other control characters, all else literally.
    str: encode_basestring,
    int: _integer,
    float: _double,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}
_EXACT_LEAVES = {**_LEAVES, int: _exact_integer}


# --- OMP-CJ -----------------------------------------------------------------------------------------------------


def decode(data: bytes, max_depth: int = OMP_CJ_DEPTH) -> dict[str, Any]:
    """The object of which `data` is the OMP-CJ encoding: oplog §1.1.

    Raises :class:`Malformed` for what is not UTF-8, not JSON (a byte order mark, NaN) or nested deeper than
    `max_depth`, and :class:`NotCanonical` for JSON that is not in canonical form.  If both apply it is
    :class:`Malformed`, as the stages run in order.

    >>> decode(b'{"a":1,"b":[]}')
    {'a': 1, 'b': []}
    """
    try:
        text = text_of(data)
        check_depth(data, max_depth)
        value = scan_whole(_scan_omp_cj, text)
    except JsonError as error:
        raise Malformed(str(error)) from None
    if type(value) is not dict:
        raise NotCanonical("the top level must be an object")
    # Decode, encode again, compare: this checks order, white space, escapes, "-0" and repeated names (of which the
    # decoder kept one) without a rule for each.
    try:
        same = encode(value) == data
    except UnicodeEncodeError:
        raise NotCanonical("a string holds half of a surrogate pair") from None
    if not same:
        raise NotCanonical("not the canonical form: order of names, white space, escapes, numbers or a name twice")
    return value


def encode(value: Any) -> bytes:
    """The OMP-CJ bytes of a value that :func:`decode` returned, or of a part of it: nothing is checked.

    For any other value use :func:`canonicalize`.

    >>> encode({"b": [1, None], "a": "\\u20ac"}).decode()
    '{"a":"€","b":[1,null]}'
    """
    return _encode_omp_cj(value).encode()


class _NoInteger:
    """Stands for a number outside OMP-CJ: the text is read to its end first, as it may turn out not to be JSON."""


_NO_INTEGER = _NoInteger()


def _omp_cj_integer(text: str) -> int | _NoInteger:
    if len(text) < 16:
        return int(text)
    # 2^53 − 1 has 16 digits: a longer text need not be converted, which for a million digits takes long.
    if len(text) <= 17 and -MAX_SAFE_INTEGER <= (number := int(text)) <= MAX_SAFE_INTEGER:
        return number
    return _NO_INTEGER


def _refuse_number(value: Any) -> Any:
    raise NotCanonical("numbers must be integers from −(2^53 − 1) to 2^53 − 1, without fraction or exponent")


_scan_omp_cj = scanner(_omp_cj_integer, lambda text: _NO_INTEGER, members=None)
# For the values that _scan_omp_cj makes, the encoder of the standard library writes OMP-CJ: names sorted by code point,
# the escapes of oplog §1.1, integers in decimal.  It hands _NO_INTEGER to `default`.
_encode_omp_cj = text_maker(sort_keys=True, allow_nan=True, default=_refuse_number)
