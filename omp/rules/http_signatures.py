"""HTTP Message Signatures for requests, made and verified: RFC 9421 §3, §4.

A signature arrives in two header fields, each a Structured Fields dictionary: ``Signature-Input`` says under a label
what is covered and with which parameters (§4.1), ``Signature`` holds the bytes under the same label (§4.2)::

    Signature-Input: sig1=("@method" "@target-uri" "content-digest");created=1700000000;keyid="sig1";alg="ed25519"
    Signature: sig1=:GVr6wM2S4nncDbIe…6jDg==:

:func:`parse_signatures` reads them, :func:`verify` decides under a :class:`Policy`, :func:`sign` makes them.  What a
signature covers and the text it signs are in :mod:`omp.rules.signature_base`.  The only algorithm is Ed25519.

**Legacy** (omp §4.3) is the form of the OMP reference server's published client: the component list is empty and the
signature is over ``METHOD absolute-URL``.  It binds neither the body nor the query nor its own parameters, and can be
sent again.

Refusals come in the order of omp §4.1: anything malformed in any label is status 400; if no label verifies, 401 with
the reason for each.  One label that verifies is enough.

Handled here: grammar, coverage, age, Content-Digest, replay as far as the caller remembers nonces.  The caller must
bound the size of the fields, say which keys a keyid stands for, and accept each nonce once (`fresh`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from omp.rules.encodings import b64_encode
from omp.rules.engines import Verify
from omp.rules.signature_base import (
    DigestError,
    SignatureError,
    SignedRequest,
    check_content_digest,
    content_digest,
    signature_base,
)
from omp.rules.structured_fields import (
    ANY_CASE_KEY,
    BareItem,
    InnerList,
    Item,
    Member,
    StructuredFieldError,
    parse_dictionary,
    parse_item,
    serialize_dictionary,
)

MISSING = "Missing required signature"
MAX_LABELS = 8
"""More signatures on one request are refused, as each can cost a verification."""

PARAMETERS: dict[str, type] = {"created": int, "expires": int, "nonce": str, "alg": str, "keyid": str, "tag": str}
"""The parameters of a signature (§2.3); ``tag`` is for the application: it is signed and otherwise ignored."""

KeysOf = Callable[[str], Sequence[bytes]]
"""keyid -> the public keys (32 bytes) that it may stand for: none, or a SignatureError that says why, if unknown."""
Fresh = Callable[[str, str, int], bool]
"""(keyid, nonce, epoch second until which to remember it) -> whether it is new; from then on it is used up."""


@dataclass(frozen=True)
class Policy:
    """What a verifier requires.

    Each element of `required` is satisfied by any one of its alternatives, and an alternative by all its components.
    ``@query`` counts as covered if the request has no query, ``content-digest`` if it has no body.  `legacy` accepts
    the legacy form.  `created` may lie at most `max_age` seconds back and `max_ahead` seconds in the future.
    """

    required: tuple[tuple[tuple[str, ...], ...], ...]
    legacy: bool = False
    max_age: int = 300
    max_ahead: int = 60


class Signature(NamedTuple):
    """One label of the two fields.

    `covered` holds the components and all parameters; the parameters of §2.3 are also members, None if absent.
    `created` and `expires` are epoch seconds; `value` is the signature itself.
    """

    label: str
    covered: InnerList
    value: bytes
    keyid: str | None = None
    alg: str | None = None
    created: int | None = None
    expires: int | None = None
    nonce: str | None = None

    @property
    def covers_nothing(self) -> bool:
        """Whether its list of components is empty: the mark of the legacy form."""
        return not self.covered.items


class Verified(NamedTuple):
    """A signature that verified.

    `public_key` is the key that verified it; `components` are the names covered; `created` and `nonce` are None if the
    signature has none, and are not signed if it is `legacy`.
    """

    label: str
    keyid: str
    public_key: bytes
    components: frozenset[str]
    created: int | None
    nonce: str | None
    legacy: bool


# --- Parsing, §4.1 and §4.2 -------------------------------------------------------------------------------------

_LABEL_AND_BYTES = re.compile(rf"({ANY_CASE_KEY.pattern})=:([A-Za-z0-9_\-+/]*=*):")
_TO_BASE64 = str.maketrans("-_", "+/")


def parse_signatures(request: SignedRequest, *, legacy: bool = False) -> list[Signature]:
    """The signatures of `request`, none of them verified; empty if it has neither field.

    With `legacy`, a signature of the legacy form may have a label in upper case and a value in base64url, whatever
    others the request has.  Raises :class:`SignatureError` with status 400 for anything malformed.
    """
    inputs, values = request.field("signature-input"), request.field("signature")
    if inputs is None and values is None:
        return []
    if inputs is None or values is None:
        raise SignatureError(400, "Signature-Input and Signature go together: one of them is missing.")
    try:
        return _paired(parse_dictionary(inputs), parse_dictionary(values))
    except StructuredFieldError as error:
        signatures = _legacy_signatures(inputs, values) if legacy else None
        if signatures is None:
            raise SignatureError(400, f"Signature-Input or Signature is malformed. {error}") from None
        return signatures


def _legacy_signatures(inputs: str, values: str) -> list[Signature] | None:
    """The two fields, with legacy labels as published clients write them, which is not RFC 8941.

    None if they are malformed in another way, or at a label that is not legacy.
    """
    try:
        covered = parse_dictionary(inputs, key=ANY_CASE_KEY)
        legacy = {label for label, member in covered.items() if isinstance(member, InnerList) and not member.items}

        def in_base64(member: re.Match[str]) -> str:
            return f"{member[1]}=:{member[2].translate(_TO_BASE64)}:" if member[1] in legacy else member[0]

        signatures = _paired(covered, parse_dictionary(_LABEL_AND_BYTES.sub(in_base64, values), key=ANY_CASE_KEY))
    except StructuredFieldError:
        return None
    # Any other label must be one of RFC 8941: a key in lower case.
    return signatures if all(one.covers_nothing or one.label == one.label.lower() for one in signatures) else None


def _paired(inputs: Mapping[str, Member], values: Mapping[str, Member]) -> list[Signature]:
    if len(inputs) > MAX_LABELS:
        raise SignatureError(400, f"A request may bear at most {MAX_LABELS} signatures.")
    covered = {label: _components(label, member) for label, member in inputs.items()}
    if not inputs or inputs.keys() != values.keys():
        raise SignatureError(400, "Signature-Input and Signature must hold the same labels, and at least one.")
    return [_signature(label, components, values[label]) for label, components in covered.items()]


def _components(label: str, covered: Member) -> InnerList:
    """The member of Signature-Input, if it is a list of strings with parameters of the right types."""
    if not isinstance(covered, InnerList):
        raise SignatureError(400, f'Signature-Input: {label:.100} must be a list of components, ("@method" …).')
    for component in covered.items:
        if type(component.value) is not str:
            raise SignatureError(400, f"Signature-Input: {label:.100} must list its components as strings.")
    for name, given in covered.params.items():
        kind = PARAMETERS.get(name)
        if kind is not None and type(given) is not kind:  # by type(): True is not an integer, nor a token a string
            word = "an integer" if kind is int else "a string"
            raise SignatureError(400, f"Signature-Input: {name} of {label:.100} must be {word}.")
    return covered


def _signature(label: str, covered: InnerList, value: Member) -> Signature:
    if not isinstance(value, Item) or not isinstance(value.value, bytes):
        raise SignatureError(400, f"Signature: {label:.100} must be a byte sequence, :base64:.")
    params: Mapping[str, Any] = covered.params
    return Signature(
        label,
        covered,
        value.value,
        keyid=params.get("keyid"),
        alg=params.get("alg"),
        created=params.get("created"),
        expires=params.get("expires"),
        nonce=params.get("nonce"),
    )


# --- Verifying, §3.2 --------------------------------------------------------------------------------------------


def verify(
    request: SignedRequest, policy: Policy, keys_of: KeysOf, ed25519: Verify, now: float, fresh: Fresh
) -> Verified:
    """The first signature of `request` that verifies at time `now` (epoch seconds).

    `ed25519(public_key, message, signature)` is the engine's; `fresh` is asked last, so that only a signature that
    verified uses a nonce up.  Raises :class:`SignatureError`: 400 for anything malformed in any label, or a
    Content-Digest that is wrong; 401 if there is no signature, or none verifies.  If one was compared with what it
    should sign and is another, the error has the first such base, so that its client can find the line that differs.
    """
    signatures = parse_signatures(request, legacy=policy.legacy)
    if not signatures:
        raise SignatureError(401, MISSING)
    prepared = [(signature, _message(request, policy, signature)) for signature in signatures]
    digest = request.field("content-digest")
    try:
        digests = check_content_digest(digest, request.body) if digest is not None else frozenset()
    except DigestError as error:
        raise SignatureError(400, str(error)) from None
    verification = _Verification(request, policy, keys_of, ed25519, now, fresh, digests)
    reasons = []
    base = None
    for signature, message in prepared:
        outcome = message if isinstance(message, str) else verification.outcome(signature, message)
        if isinstance(outcome, Verified):
            return outcome
        if isinstance(outcome, _Differs) and isinstance(message, bytes):
            base = base or message
        reasons.append(f"Signature {signature.label:.100}: {outcome}")
        if policy.legacy and signature.covers_nothing:
            reasons.append(f"It covers no component, so it counts as legacy; {verification.uncovered(frozenset())}")
    raise SignatureError(401, " ".join(reasons), base)


class _Differs(str):
    """The reason why a signature does not count that is none of its base."""

    __slots__ = ()


def _message(request: SignedRequest, policy: Policy, signature: Signature) -> bytes | str:
    """What the signature should sign, or the reason why it cannot verify."""
    if policy.legacy and signature.covers_nothing:
        return legacy_message(request)
    try:
        return signature_base(request, signature.covered)
    except SignatureError as error:
        if error.status == 400:
            raise
        return error.message


class _Verification(NamedTuple):
    """The verification of one request; :meth:`outcome` is that of one of its signatures."""

    request: SignedRequest
    policy: Policy
    keys_of: KeysOf
    ed25519: Verify
    now: float
    fresh: Fresh
    digests: frozenset[str]

    def outcome(self, signature: Signature, message: bytes) -> Verified | str:
        """What is verified, or the reason why the signature does not count."""
        legacy = self.policy.legacy and signature.covers_nothing
        components = frozenset[str]() if legacy else self.covered_names(signature.covered)
        # A legacy signature covers nothing by name, and published clients send an old `created`.
        reason = (None if legacy else self.uncovered(components) or self.bad_age(signature)) or self.unusable(signature)
        if reason:
            return reason
        keyid = signature.keyid
        if not keyid:
            return "keyid is missing."
        try:
            keys = self.keys_of(keyid)
        except SignatureError as error:
            return error.message
        if not keys:
            return f"the keyid {keyid:.100} is unknown."
        key = self.signing_key(keys, signature, message)
        if key is None:
            request = self.request
            return _Differs(
                f"it does not verify, as a request to {request.scheme}://{request.authority:.100}; if it was sent to "
                "another address, OMP_PUBLIC_URL must name that one at the server, and a proxy must pass Host on. "
                "This answer has the signature base that the server verified: compare it with yours."
            )
        # A legacy signature does not sign its parameters: whoever saw one could use up its signer's nonces.
        nonce = None if legacy else signature.nonce
        if nonce is not None and not self.fresh(keyid, nonce, (signature.created or 0) + self.policy.max_age):
            return "its nonce has been used before."
        return Verified(signature.label, keyid, key, components, signature.created, nonce, legacy)

    def signing_key(self, keys: Sequence[bytes], signature: Signature, message: bytes) -> bytes | None:
        """The one of `keys` that made the signature, over `message` or over the same with the address respelled."""
        for text in self.messages(signature, message):
            for key in keys:
                if self.ed25519(key, text, signature.value):
                    return key
        return None

    def messages(self, signature: Signature, message: bytes) -> Iterator[bytes]:
        """`message`, then what the signature would sign in each other spelling of the address, if it covers that."""
        yield message
        for scheme, authority in self.request.respelled:
            respelled = _message(self.request.addressed(scheme, authority), self.policy, signature)
            if isinstance(respelled, bytes) and respelled != message:
                yield respelled

    def covered_names(self, covered: InnerList) -> frozenset[str]:
        """The names of the components that are covered as a whole."""
        return frozenset([str(component.value) for component in covered.items if self.binds(component)])

    def binds(self, component: Item) -> bool:
        """Whether the component covers all of its field: one member of a dictionary is that member only."""
        name, params = component
        if name == "content-digest":
            # A field may name unknown algorithms only (RFC 9530 §2): it then says nothing about the body.
            return params["key"] in self.digests if "key" in params else bool(self.digests)
        return "key" not in params

    def uncovered(self, components: frozenset[str]) -> str | None:
        """A sentence that says which required components are not covered; None if all are."""
        request = self.request
        # What the request does not have need not be covered.
        parts = (("@query", request.question_mark), ("content-digest", request.body))
        absent = [name for name, part in parts if not part]
        held = components.union(absent)
        lacking = []
        for alternatives in self.policy.required:
            if not any(map(held.issuperset, alternatives)):
                wanted = [[name for name in alternative if name not in absent] for alternative in alternatives]
                lacking.append(", or ".join(map(_enumerated, wanted)))
        return f"it must cover {'; and '.join(lacking)}." if lacking else None

    def bad_age(self, signature: Signature) -> str | None:
        """A sentence if `created` is missing or outside its window; else None."""
        if signature.created is None:
            return "created is missing."
        if signature.created < self.now - self.policy.max_age:
            return f"it was created more than {self.policy.max_age} seconds ago."
        if signature.created > self.now + self.policy.max_ahead:
            return f"it was created more than {self.policy.max_ahead} seconds in the future."
        return None

    def unusable(self, signature: Signature) -> str | None:
        """A sentence if it has expired, or is of another algorithm; else None."""
        if signature.expires is not None and signature.expires < self.now:
            return "it has expired."
        if signature.alg not in (None, "ed25519"):
            return f"alg must be ed25519, not {signature.alg:.100}."
        return None


def _enumerated(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


# --- The legacy form, omp §4.3 ----------------------------------------------------------------------------------


def legacy_message(request: SignedRequest) -> bytes:
    """What a legacy signature signs: ``METHOD absolute-URL``, the URL without its query."""
    return f"{request.method} {request.scheme}://{request.authority}{request.path}".encode()


def sign_legacy(
    request: SignedRequest, *, keyid: str, signer: Callable[[bytes], bytes], created: int, label: str = "sig1"
) -> list[tuple[str, str]]:
    """The two header fields of a legacy signature; arguments as for :func:`sign`."""
    covered = InnerList((), {"created": created, "keyid": keyid, "alg": "ed25519"})
    return _fields(label, covered, signer(legacy_message(request)))


# --- Signing, §3.1 ----------------------------------------------------------------------------------------------


def sign(
    request: SignedRequest,
    *,
    keyid: str,
    signer: Callable[[bytes], bytes],
    created: int,
    components: Sequence[str] = ("@method", "@target-uri"),
    label: str = "sig1",
    expires: int | None = None,
    nonce: str | None = None,
    tag: str | None = None,
) -> list[tuple[str, str]]:
    """The header fields to add to `request` so that it is signed.

    `signer` makes the Ed25519 signature (64 bytes) of a message; `created` and `expires` are epoch seconds.  Each of
    `components` is a name, or an identifier with parameters as the field holds it: ``"@query-param";name="q"``.
    ``content-digest`` is covered too if there is a body, and the field is made if the request does not have it.

    Raises :class:`SignatureError` if the request does not have a component, and
    :class:`~omp.rules.structured_fields.StructuredFieldError` for a text that a parameter cannot hold.
    """
    added = []
    items = [parse_item(name) if name.startswith('"') else Item(name) for name in components]
    if request.body and not any(item.value == "content-digest" for item in items):
        items.append(Item("content-digest"))
    if any(item.value == "content-digest" for item in items) and request.field("content-digest") is None:
        added.append(("Content-Digest", content_digest(request.body)))
    params: dict[str, BareItem | None] = {
        "created": created,
        "expires": expires,
        "nonce": nonce,
        "keyid": keyid,
        "alg": "ed25519",
        "tag": tag,
    }
    covered = InnerList(items, {name: value for name, value in params.items() if value is not None})
    whole = SignedRequest(
        request.method,
        request.scheme,
        request.authority,
        request.target,
        [*request.fields, *((name.lower(), value) for name, value in added)],
        request.body,
    )
    return [*added, *_fields(label, covered, signer(signature_base(whole, covered)))]


def _fields(label: str, covered: InnerList, value: bytes) -> list[tuple[str, str]]:
    return [
        ("Signature-Input", serialize_dictionary({label: covered})),
        ("Signature", f"{label}=:{b64_encode(value)}:"),
    ]
