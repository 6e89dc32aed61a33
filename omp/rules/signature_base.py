"""What an HTTP message signature signs: covered components and the signature base, RFC 9421 §2, for requests.

A signature does not sign the bytes of a message, which intermediaries may change, but a text made from named parts of
it: one line for each covered component, and a last line with the names and the parameters of the signature itself
(§2.5)::

    "@method": POST
    "@target-uri": https://example.com/objects
    "content-digest": sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:
    "@signature-params": ("@method" "@target-uri" "content-digest");created=1700000000;keyid="sig1"

A component identifier is a Structured Fields item: the lower-case name of a header field (§2.1), with ``sf``, ``key``
or ``bs`` for other ways to take its value, or a name with ``@`` that is derived from the request (§2.2).

Handled here: every identifier that a request can have; an unknown one, one that comes twice, a value that would break
the lines apart.  Left out, and refused: ``req`` and ``@status`` (responses), ``tr`` (trailers).  The caller must give
the authority that the server believes it serves, and the field lines of the request in their order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from urllib.parse import unquote_to_bytes

from omp.rules.structured_fields import (
    InnerList,
    Item,
    StructuredFieldError,
    parse_dictionary,
    parse_item,
    parse_list,
    serialize_dictionary,
    serialize_item,
    serialize_list,
    serialize_member,
    serialize_parameters,
)


class SignatureError(Exception):
    """A signature that is malformed (`status` 400), or that is missing or does not verify (401)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class SignedRequest:
    """The parts of a request that a signature can cover.

    `method` as sent; `scheme` ``http`` or ``https``; `authority` the value of Host (or what replaces it); `target` the
    request target in origin form, with its query; `fields` every field line in order, (lower-case name, value) with
    one character a byte (Latin-1); `body` the content.
    """

    def __init__(
        self,
        method: str,
        scheme: str,
        authority: str,
        target: str,
        fields: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        self.method = method
        self.scheme = scheme
        self.authority = authority
        self.target = target
        self.path, self.question_mark, self.query = target.partition("?")
        self.fields = fields
        self.body = body
        self._values = dict(fields)
        if len(self._values) < len(fields):
            self._values = {name: ", ".join(self.lines(name)) for name in self._values}

    @cached_property
    def dictionaries(self) -> dict[str, dict[str, str]]:
        """Field name -> member key -> serialized member: what :func:`_member` has parsed so far."""
        return {}

    @cached_property
    def query_values(self) -> Mapping[str, Sequence[str]]:
        """Encoded name -> encoded values of the query (§2.2.8)."""
        values: dict[str, list[str]] = {}
        for pair in filter(None, self.query.split("&")):
            name, _, value = pair.partition("=")
            values.setdefault(_reencoded(name), []).append(_reencoded(value))
        return values

    def lines(self, name: str) -> list[str]:
        """The values of a field in order, without the space around them; none if the request has no such field."""
        return [_unfolded(value) for field, value in self.fields if field == name]

    def field(self, name: str) -> str | None:
        """The values of a field as one, joined with ``", "``; None if the request has no such field."""
        value = self._values.get(name)
        return _unfolded(value) if value is not None else None


# §2.1 step 3: obsolete line folding is replaced with one space.
_OBS_FOLD = re.compile(r"[ \t]*\r\n[ \t]+")


def _unfolded(value: str) -> str:
    if "\n" in value or "\r" in value:
        value = _OBS_FOLD.sub(" ", value)
        if "\n" in value or "\r" in value:  # it could forge lines of the signature base
            raise SignatureError(400, "A header field must not hold a line break.")
    return value.strip(" \t")


# -- derived components, §2.2

_DEFAULT_PORT = {"http": ":80", "https": ":443"}


def _target_uri(request: SignedRequest) -> str:
    target = "" if request.target == "*" else request.target
    return f"{request.scheme}://{request.authority}{target}"


def _authority(request: SignedRequest) -> str:
    # §2.2.3: normalized as RFC 9110 §4.2.3 says: lower case, the default port left out.
    host = request.authority.lower()
    return host.removesuffix(_DEFAULT_PORT.get(request.scheme, ":")).removesuffix(":")


DERIVED: dict[str, Callable[[SignedRequest], str]] = {
    "@method": lambda request: request.method,  # §2.2.1
    "@target-uri": _target_uri,  # §2.2.2
    "@authority": _authority,  # §2.2.3
    "@scheme": lambda request: request.scheme.lower(),  # §2.2.4
    "@request-target": lambda request: request.target,  # §2.2.5
    "@path": lambda request: "/" if request.path in ("", "*") else request.path,  # §2.2.6
    "@query": lambda request: "?" + request.query,  # §2.2.7: "?" alone where there is none
}
"""Derived component -> how it is made from a request; ``@query-param`` has a parameter and stands by itself."""

# §2.2.8 takes the percent-encode set of application/x-www-form-urlencoded, a space being %20 nevertheless.
_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._")
_ENCODED = [chr(byte) if byte in _KEPT else f"%{byte:02X}" for byte in range(256)]


def _reencoded(text: str) -> str:
    """One name or value of a query, decoded as a form is and encoded anew."""
    try:
        raw = unquote_to_bytes(text.replace("+", " ").encode("ascii"))
        raw.decode()
    except UnicodeError:
        raise SignatureError(400, "The query must be percent-encoded UTF-8.") from None
    return "".join([_ENCODED[byte] for byte in raw])


def _query_param(request: SignedRequest, component: Item) -> str:
    name = str(component.params["name"])
    values = request.query_values.get(name, ())
    if len(values) > 1:  # "the named query parameter MUST NOT be included"
        raise SignatureError(400, f"The query parameter {name:.100} occurs {len(values)} times: cover @query instead.")
    if not values:
        raise _absent(component)
    return values[0]


# -- header fields, §2.1

_STRICT: dict[str, Callable[[str], str]] = {
    "item": lambda text: serialize_item(parse_item(text)),
    "list": lambda text: serialize_list(parse_list(text)),
    "dictionary": lambda text: serialize_dictionary(parse_dictionary(text)),
}
_FIELDS_OF_TYPE = {
    "item": "client-cert origin-agent-cluster sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode "
    "sec-fetch-site sec-fetch-user",
    "list": "accept-ch cache-status client-cert-chain proxy-status sec-ch-ua",
    # example-dict is the field of the examples in §2.1, so that they can be tried.
    "dictionary": "accept-signature content-digest priority repr-digest signature signature-input want-content-digest "
    "want-repr-digest example-dict",
}
FIELD_TYPES = {name: kind for kind, names in _FIELDS_OF_TYPE.items() for name in names.split()}
"""Field -> its kind, for ``sf``: §2.1.1 wants an error for a field whose kind is not known, since some texts are valid
as more than one kind."""


def _strict_value(component: Item, text: str) -> str:
    kind = FIELD_TYPES.get(str(component.value))
    if kind is None:
        raise SignatureError(400, f"{_shown(component)}: not known to be a structured field; cover it plainly.")
    return _STRICT[kind](text)


def _dictionary_member(request: SignedRequest, component: Item, text: str) -> str:
    name = str(component.value)
    members = request.dictionaries.get(name)
    if members is None:
        parsed = parse_dictionary(text)
        members = request.dictionaries[name] = {key: serialize_member(member) for key, member in parsed.items()}
    member = members.get(str(component.params["key"]))
    if member is None:
        raise _absent(component)
    return member


def _field_value(request: SignedRequest, component: Item) -> str:
    name, params = str(component.value), component.params
    text = request.field(name)
    if text is None:
        raise _absent(component)
    if not params:
        return text
    if "bs" in params:  # §2.1.3
        return serialize_list([Item(line.encode("latin-1")) for line in request.lines(name)])
    try:
        # §2.1.2 serializes the member strictly, so that "sf" beside "key" adds nothing.
        return _dictionary_member(request, component, text) if "key" in params else _strict_value(component, text)
    except StructuredFieldError as error:
        raise SignatureError(400, f"{_shown(component)}: {error}") from None


def _shown(component: Item) -> str:
    return f"{serialize_item(component):.200}"


def _absent(component: Item) -> SignatureError:
    # The component is well named and the request lacks it: nothing is malformed, but nothing can verify.
    return SignatureError(401, f"The signature covers {_shown(component)}, which the request does not have.")


# -- component identifiers, §2, and the signature base, §2.5

_FIELD_NAME = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]+")
_FIELD_PARAMS: Mapping[str, type] = {"sf": bool, "key": str, "bs": bool}
_QUERY_PARAM_PARAMS: Mapping[str, type] = {"name": str}
_NO_PARAMS: Mapping[str, type] = {}
# Identifiers that are right as they stand.
_USUAL = frozenset((*DERIVED, "content-digest", "content-type", "content-length"))


def check_components(components: Sequence[Item]) -> None:
    """Refuse, with status 400, an identifier that no request can have and one that occurs twice.

    `components` are the items of the inner list; each value must be a string.
    """
    seen = set()
    for component in components:
        name, params = component
        if params or name not in _USUAL:
            _check_identifier(component)
        # §2: parameters keep their order, but "the order of parameters is not significant" for equality.
        identity = (name, frozenset(params.items())) if params else name
        if identity in seen:
            raise SignatureError(400, f"The component {_shown(component)} is covered twice.")
        seen.add(identity)


def _check_identifier(component: Item) -> None:
    name, params = component
    if type(name) is not str:
        raise SignatureError(400, f"A covered component must be a string, not {_shown(component)}.")
    shown = _shown(component)
    if not params.keys().isdisjoint(("req", "tr")):
        raise SignatureError(400, f"{shown}: req and tr do not apply to a request without trailers.")
    if name == "@query-param":
        known = _QUERY_PARAM_PARAMS
        if "name" not in params:
            raise SignatureError(400, f"{shown}: the parameter name is missing.")
    elif name in DERIVED:
        known = _NO_PARAMS
    elif _FIELD_NAME.fullmatch(name):
        known = _FIELD_PARAMS
    else:
        raise SignatureError(400, f"{shown} is no component of a request, nor a field name in lower case.")
    for param, value in params.items():
        if param not in known or type(value) is not known[param] or value is False:
            raise SignatureError(400, f"{shown}: the parameter {param:.100} is unknown or has the wrong type.")
    if "bs" in params and len(params) > 1:  # §2.1.3
        raise SignatureError(400, f"{shown}: bs goes with neither sf nor key.")


def component_value(request: SignedRequest, component: Item) -> str:
    """The value of one component that :func:`check_components` has passed.

    Raises :class:`SignatureError`: 401 if the request does not have it, 400 if it cannot be had.
    """
    name = str(component.value)
    derive = DERIVED.get(name)
    if derive is not None:
        return derive(request)
    return _query_param(request, component) if name == "@query-param" else _field_value(request, component)


class Frame:
    """What is the same in every base of one Signature-Input: its components in order, and its last line.

    Raises :class:`SignatureError` as :func:`check_components` does.
    """

    __slots__ = ("_components", "_last_line")

    def __init__(self, covered: InnerList) -> None:
        check_components(covered.items)
        # A name that was checked needs no escapes: serialize_item would say the same, in three times the time.
        identifiers = [serialize_item(item) if item.params else f'"{item.value!s}"' for item in covered.items]
        self._components = [(f"{name}: ", item) for name, item in zip(identifiers, covered.items, strict=True)]
        # §2.3: the inner list, serialized.
        self._last_line = f'"@signature-params": ({" ".join(identifiers)}){serialize_parameters(covered.params)}'

    def base(self, request: SignedRequest) -> bytes:
        """The bytes to sign.  Raises :class:`SignatureError` as :func:`component_value` does."""
        lines = [name + component_value(request, item) for name, item in self._components]
        lines.append(self._last_line)
        try:
            return "\n".join(lines).encode("ascii")
        except UnicodeEncodeError:
            raise SignatureError(400, 'A covered value is not ASCII: cover such a field with "bs".') from None


def signature_base(request: SignedRequest, covered: InnerList) -> bytes:
    """The bytes that a signature of `covered` (components, with the signature's parameters) signs: §2.5.

    Raises :class:`SignatureError` as :func:`check_components` and :func:`component_value` do.
    """
    return Frame(covered).base(request)
