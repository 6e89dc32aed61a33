"""What an HTTP message signature covers: the components and the signature base of RFC 9421 §2.

A signature does not sign the bytes of a message, which intermediaries may change.  It signs a text made from named
parts of the message: one line for each covered component, and a last line with their names and the parameters of the
signature itself (§2.5)::

    "@method": POST
    "@target-uri": https://example.com/objects
    "content-digest": sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:
    "@signature-params": ("@method" "@target-uri" "content-digest");created=1700000000;keyid="sig1"

A component identifier is a Structured Fields item: the lower-case name of a header field (§2.1), with ``sf``, ``key``
or ``bs`` for other ways to take its value, or a name with ``@`` that is derived from the request (§2.2).  The body is
not a component.  The field ``Content-Digest`` (RFC 9530) binds it, a dictionary from algorithm to hash: a signature
that covers the field covers the body.

Laid out: the request, derived components, header fields, identifiers and the base, Content-Digest.

Handled here: every identifier that a request can have; refusal of unknown ones, of one that occurs twice, of a value
that would break the lines apart; digests of which one is wrong, so that a weak hash cannot stand in for a strong one.
Left out, and refused: ``req`` and ``@status`` (responses), ``tr`` (trailers).  The caller must give the authority that
the server believes it serves, the field lines of the request in their order, and the content as it came over the
wire: after chunked coding is undone and before any Content-Encoding is (RFC 9530 §2).
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from urllib.parse import unquote_to_bytes

from omp.rules.encodings import b64_encode
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
    """A signature that is malformed (`status` 400), or that is missing or does not verify (401).

    If it is none of what the server thinks was signed, `base` is that.
    """

    def __init__(self, status: int, message: str, base: bytes | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.base = base


class SignedRequest:
    """The parts of a request that a signature can cover.

    `method` as sent; `scheme` ``http`` or ``https``; `authority` the value of Host (or what replaces it); `target` the
    request target in origin form, with its query; `fields` every field line in order, (lower-case name, value) with
    one character a byte (Latin-1); `body` the content.  `respelled` are further (scheme, authority) that name the same
    server: the client may have signed one of them.
    """

    def __init__(
        self,
        method: str,
        scheme: str,
        authority: str,
        target: str,
        fields: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        respelled: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.method = method
        self.scheme = scheme
        self.authority = authority
        self.target = target
        self.path, self.question_mark, self.query = target.partition("?")
        self.fields = fields
        self.body = body
        self.respelled = respelled
        self._values = dict(fields)
        if len(self._values) < len(fields):
            self._values = {name: ", ".join(self.lines(name)) for name in self._values}

    def addressed(self, scheme: str, authority: str) -> SignedRequest:
        """The same request, addressed in another spelling."""
        request = copy.copy(self)
        request.scheme, request.authority = scheme, authority
        return request

    # A signature may cover thousands of members of one field, or parameters of one query.  Each is parsed once for the
    # request: once for each component would take time quadratic in what a client sends.

    @cached_property
    def _dictionaries(self) -> dict[str, Mapping[str, str]]:
        return {}

    def dictionary(self, name: str) -> Mapping[str, str] | None:
        """Key -> serialized member of a dictionary field (§2.1.2); None if the request has no such field.

        Raises :class:`~omp.rules.structured_fields.StructuredFieldError`.
        """
        if name not in self._dictionaries:
            text = self.field(name)
            if text is None:
                return None
            members = parse_dictionary(text)
            self._dictionaries[name] = {key: serialize_member(member) for key, member in members.items()}
        return self._dictionaries[name]

    @cached_property
    def query_values(self) -> Mapping[str, Sequence[str]]:
        """Encoded name -> encoded values of the query (§2.2.8)."""
        values: dict[str, list[str]] = {}
        for pair in filter(None, self.query.split("&")):
            name, _, value = pair.partition("=")
            values.setdefault(_reencoded(name), []).append(_reencoded(value))
        return values

    def lines(self, name: str) -> list[str]:
        """The values of a field in order, without the space around them; empty if the request has no such field."""
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


# --- Derived components, §2.2 -----------------------------------------------------------------------------------

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
    "@query": lambda request: "?" + request.query,  # §2.2.7: "?" alone if there is none
}
"""Derived component -> how it is made from a request; ``@query-param``, which has a parameter, is not in the table."""

# §2.2.8 uses the percent-encode set of application/x-www-form-urlencoded, but a space is %20.
_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789*-._")
_ENCODED = [chr(byte) if byte in _KEPT else f"%{byte:02X}" for byte in range(256)]


def _reencoded(text: str) -> str:
    """One name or value of a query, decoded as a form is and encoded again."""
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


# --- Header fields, §2.1 ----------------------------------------------------------------------------------------

_STRICTLY: dict[str, Callable[[str], str]] = {
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
    return _STRICTLY[kind](text)


def _field_value(request: SignedRequest, component: Item) -> str:
    name, params = str(component.value), component.params
    text = request.field(name)
    if text is None:
        raise _absent(component)
    if "bs" in params:  # §2.1.3
        return serialize_list([Item(line.encode("latin-1")) for line in request.lines(name)])
    try:
        if "key" in params:  # §2.1.2 serializes the member strictly, so "sf" beside "key" adds nothing
            member = (request.dictionary(name) or {}).get(str(params["key"]))
            if member is None:
                raise _absent(component)
            return member
        return _strict_value(component, text) if "sf" in params else text
    except StructuredFieldError as error:
        raise SignatureError(400, f"{_shown(component)}: {error}") from None


def _shown(component: Item) -> str:
    return f"{serialize_item(component):.200}"


def _absent(component: Item) -> SignatureError:
    # The name is good and the request lacks it: nothing is malformed, but nothing can verify.
    return SignatureError(401, f"The signature covers {_shown(component)}, which the request does not have.")


# --- Component identifiers, §2, and the signature base, §2.5 ----------------------------------------------------

_FIELD_NAME = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]+")
_FIELD_PARAMS: Mapping[str, type] = {"sf": bool, "key": str, "bs": bool}
_QUERY_PARAM_PARAMS: Mapping[str, type] = {"name": str}
_NO_PARAMS: Mapping[str, type] = {}


def check_components(components: Sequence[Item]) -> None:
    """Refuse an identifier that no request can have, and one that occurs twice: :class:`SignatureError` 400."""
    seen = set()
    for component in components:
        _check_identifier(component)
        # §2: parameters keep their order, but "the order of parameters is not significant" for equality.
        identity = component.value, frozenset(component.params.items())
        if identity in seen:
            raise SignatureError(400, f"The component {_shown(component)} is covered twice.")
        seen.add(identity)


def _check_identifier(component: Item) -> None:
    name, params = component
    if not params and name in DERIVED:
        return
    if type(name) is not str:
        raise SignatureError(400, f"A covered component must be a string, not {_shown(component)}.")
    if "req" in params or "tr" in params:
        raise SignatureError(400, f"{_shown(component)}: req and tr do not apply to a request without trailers.")
    known = _known_parameters(component, name)
    for param, value in params.items():
        if param not in known or type(value) is not known[param] or value is False:
            raise SignatureError(
                400, f"{_shown(component)}: the parameter {param:.100} is unknown or has the wrong type."
            )
    if "bs" in params and len(params) > 1:  # §2.1.3
        raise SignatureError(400, f"{_shown(component)}: bs goes with neither sf nor key.")


def _known_parameters(component: Item, name: str) -> Mapping[str, type]:
    """The parameters that a component of this name may have, with their types."""
    if name == "@query-param":
        if "name" not in component.params:
            raise SignatureError(400, f"{_shown(component)}: the parameter name is missing.")
        return _QUERY_PARAM_PARAMS
    if name in DERIVED:
        return _NO_PARAMS
    if _FIELD_NAME.fullmatch(name):
        return _FIELD_PARAMS
    raise SignatureError(400, f"{_shown(component)} is no component of a request, nor a field name in lower case.")


def component_value(request: SignedRequest, component: Item) -> str:
    """The value of one component that :func:`check_components` has passed.

    Raises :class:`SignatureError`: 401 if the request does not have it, 400 if its value cannot be taken.
    """
    name = str(component.value)
    derive = DERIVED.get(name)
    if derive is not None:
        return derive(request)
    return _query_param(request, component) if name == "@query-param" else _field_value(request, component)


def signature_base(request: SignedRequest, covered: InnerList) -> bytes:
    """The bytes that a signature of `covered` (components, with the signature's parameters) signs: §2.5.

    Raises :class:`SignatureError` as :func:`check_components` and :func:`component_value` do.
    """
    check_components(covered.items)
    names = [serialize_item(item) for item in covered.items]
    lines = [f"{name}: {component_value(request, item)}" for name, item in zip(names, covered.items, strict=True)]
    lines.append(f'"@signature-params": ({" ".join(names)}){serialize_parameters(covered.params)}')  # §2.3
    try:
        return "\n".join(lines).encode("ascii")
    except UnicodeEncodeError:
        raise SignatureError(400, 'A covered value is not ASCII: cover such a field with "bs".') from None


# --- Content-Digest, RFC 9530 -----------------------------------------------------------------------------------

ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "sha-256": lambda content: hashlib.sha256(content).digest(),
    "sha-512": lambda content: hashlib.sha512(content).digest(),
}
"""Name -> hash function: the two algorithms that RFC 9530 §5 calls active.

The deprecated ones (md5, sha, crc32c, …) are ignored like any other that is not known.
"""


class DigestError(ValueError):
    """A Content-Digest that is malformed, or is not that of the content."""


def content_digest(content: bytes, algorithm: str = "sha-256") -> str:
    """The value of a Content-Digest field for `content`.

    >>> content_digest(b'{"hello": "world"}')
    'sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:'
    """
    return f"{algorithm}=:{b64_encode(ALGORITHMS[algorithm](content))}:"


def check_content_digest(field: str, content: bytes) -> frozenset[str]:
    """The known algorithms by which the `field` value vouches for `content`: empty where it names only others.

    Raises :class:`DigestError` if the field is not a dictionary of byte sequences, or one of its known hashes is not
    that of `content`.  What a field without a known algorithm is worth is for the caller to decide.
    """
    try:
        digests = parse_dictionary(field)
    except StructuredFieldError as error:
        raise DigestError(f"Content-Digest is malformed. {error}") from None
    for algorithm, digest in digests.items():
        if not isinstance(digest, Item) or not isinstance(digest.value, bytes):
            raise DigestError(f"Content-Digest: the value of {algorithm} must be a byte sequence, :base64:.")
        if algorithm in ALGORITHMS and digest.value != ALGORITHMS[algorithm](content):
            raise DigestError(f"Content-Digest: the {algorithm} given is not that of the body.")
    return frozenset(digests.keys() & ALGORITHMS.keys())
