"""Vectors of HTTP Message Signatures: digests, signature bases, and whole requests to judge.

Which status a request gets, and whether it has a signature base at all, is written down here case by case, and the
runner compares the code with it; signatures and bases are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.encodings import b64_encode, b64u_encode
from omp.rules.http_signatures import sign, sign_legacy
from omp.rules.signature_base import SignedRequest, content_digest, signature_base
from omp.rules.structured_fields import InnerList, parse_list

Case = dict[str, Any]

NOW = 1_700_000_000
SEED = sha256(b"vector seed of HTTP signatures").digest()
KEYS = {"sig1": [b64u_encode(public_key_slowly(SEED))]}
BODY = '{"namespace":"ns","content":{"x":1}}'
DIGEST = content_digest(BODY.encode())
REQUIRED = [[["@method"]], [["@target-uri"], ["@authority", "@path", "@query"]], [["content-digest"]]]


def generate() -> dict[str, Any]:
    """The files of this set."""
    return {
        f"http_signatures/{name}.json": {
            "kind": f"http_signatures/{name}",
            "description": description,
            "spec": spec,
            "cases": list(cases),
        }
        for name, description, spec, cases in (
            ("content_digest", "Content-Digest against a content.", "RFC 9530 §2, §5", _digests()),
            ("signature_base", "Covered components of requests.", "RFC 9421 §2", _bases()),
            ("verify", "Signed requests to judge.", "RFC 9421 §3.2; omp §4", _judged()),
        )
    }


# --- Digests ------------------------------------------------------------------------------------------------------


def _digests() -> Iterator[Case]:
    content = '{"hello": "world"}'
    sha_256, sha_512 = content_digest(content.encode()), content_digest(content.encode(), "sha-512")
    other, md5 = content_digest(b"other"), "md5=:Sd/dVLAcvNLSq16eXua5uQ==:"
    for name, field, known in (
        ("sha-256", sha_256, ["sha-256"]),
        ("sha-512", sha_512, ["sha-512"]),
        ("both", f"{sha_256}, {sha_512}", ["sha-256", "sha-512"]),
        ("an unknown algorithm beside a known one", f"{md5}, {sha_256}", ["sha-256"]),
        ("unknown algorithms only", md5, []),
        ("an empty field", "", []),
        ("the last of two members of one name counts", f"{other}, {sha_256}", ["sha-256"]),
        ("a wrong digest", other, None),
        ("one right and one wrong", f"{sha_512}, {other}", None),
        ("cut short", sha_256[:-5] + ":", None),
        ("a string", sha_256.replace(":", '"'), None),
        ("a name in upper case", sha_256.upper(), None),
        ("no value", "sha-256", None),
        ("no dictionary", "sha-256=:", None),
    ):
        yield {"name": name, "field": field, "content": content, "known": known}


# --- Signature bases ----------------------------------------------------------------------------------------------


def request_of(parts: Mapping[str, Any]) -> SignedRequest:
    """The request that a case describes."""
    fields = [(name, value) for name, value in parts["fields"]]
    return SignedRequest(
        parts["method"], parts["scheme"], parts["authority"], parts["target"], fields, parts["body"].encode()
    )


def _parts(target: str, fields: Sequence[tuple[str, str]] = (), **parts: str) -> dict[str, Any]:
    base = {"method": "GET", "scheme": "https", "authority": "www.example.com", "target": target}
    return {**base, "fields": [list(field) for field in fields], "body": "", **parts}


_FIELDS = (
    ("x-spaces", "   Leading and trailing whitespace.   "),
    ("cache-control", "max-age=60"),
    ("cache-control", "   must-revalidate"),
    ("x-empty", ""),
    ("example-dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
    ("x-commas", "value, with, lots"),
    ("x-commas", "of, commas"),
    ("x-latin", "caf\xe9"),
)
_QUERY = (
    "/p?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&a=1&a=2"
)
_COVERED = {
    "nothing": "()",
    "every derived component": '("@method" "@target-uri" "@authority" "@scheme" "@request-target" "@path" "@query")',
    "query parameters": '("@query-param";name="var" "@query-param";name="bar" '
    '"@query-param";name="fa%C3%A7ade%22%3A%20");created=1618884473;keyid="k"',
    "fields": '("x-spaces" "cache-control" "x-empty" "example-dict");created=1',
    "structured fields": '("example-dict";sf "example-dict";key="a" "example-dict";key="b" "example-dict";key="c" '
    '"example-dict";key="d")',
    "fields as bytes": '("x-commas";bs "x-empty";bs "x-latin";bs "x-spaces";bs)',
    "parameters in their order": '("@method");tag="t";nonce="n \\"q\\"";x;created=1;expires=2;alg="ed25519";keyid="k"',
}
_BAD_COVERED = {
    400: {
        "a component twice": '("@method" "@path" "@method")',
        "a component twice, its parameters in another order": '("example-dict";sf;key="a" "example-dict";key="a";sf)',
        "an unknown derived component": '("@nonsense")',
        "a component of responses": '("@status")',
        "the signature's own parameters": '("@signature-params")',
        "a name in upper case": '("X-Spaces")',
        "an empty name": '("")',
        "req in a request": '("@method";req)',
        "trailers": '("x-spaces";tr)',
        "an unknown parameter": '("x-spaces";nonsense)',
        "a parameter of the wrong type": '("x-spaces";bs="1")',
        "a derived component with a parameter": '("@path";sf)',
        "bs with sf": '("example-dict";bs;sf)',
        "bs with key": '("example-dict";bs;key="a")',
        "sf of a field whose type is not known": '("x-spaces";sf)',
        "key of a field that is no dictionary": '("x-spaces";key="a")',
        "a query parameter that occurs twice": '("@query-param";name="a")',
        "a query parameter without a name": '("@query-param")',
        "a value that is not ASCII": '("x-latin")',
    },
    401: {
        "a field that is absent": '("x-absent")',
        "a member that is absent": '("example-dict";key="e")',
        "a query parameter that is absent": '("@query-param";name="absent")',
        "a query parameter whose name is not encoded as it should be": '("@query-param";name="fa%c3%a7ade%22%3a%20")',
    },
}


def _bases() -> Iterator[Case]:
    request = _parts(_QUERY, _FIELDS)
    for name, covered in _COVERED.items():
        yield _base(name, request, covered)
    for target in ("/", "/?", "/a%20b/?c=%41&&d"):
        yield _base(f"the target {target}", _parts(target), '("@path" "@query" "@request-target" "@target-uri")')
    for url in ("https://WWW.Example.com:443", "http://h:80", "http://h:443", "http://[::1]:80"):
        scheme, _, authority = url.partition("://")
        yield _base(f"the authority of {url}", _parts("/", scheme=scheme, authority=authority), '("@authority")')
    for status, refused in _BAD_COVERED.items():
        for name, covered in refused.items():
            yield {"name": name, "request": request, "covered": covered, "status": status}


def _base(name: str, request: dict[str, Any], covered: str) -> Case:
    base = signature_base(request_of(request), _inner(covered)).decode()
    return {"name": name, "request": request, "covered": covered, "base": base}


def _inner(text: str) -> InnerList:
    (member,) = parse_list(text)
    if not isinstance(member, InnerList):
        raise ValueError(f"{text} is no inner list")
    return member


# --- Requests to judge --------------------------------------------------------------------------------------------


def _signer(message: bytes) -> bytes:
    return sign_slowly(SEED, message)


def _post(**parts: Any) -> dict[str, Any]:
    base = {"method": "POST", "scheme": "http", "authority": "127.0.0.1:8000", "body": BODY}
    return _parts(**{"target": "/objects", "fields": [("content-type", "application/json")], **base, **parts})


def _with(request: Mapping[str, Any], fields: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {**request, "fields": [*request["fields"], *([name.lower(), value] for name, value in fields)]}


def _signed(request: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    request = request or _post()
    return _with(request, sign(request_of(request), **{"keyid": "sig1", "signer": _signer, "created": NOW, **options}))


def _signed_as(covered: str, **parts: Any) -> dict[str, Any]:
    """A request with a good signature of just `covered`, whatever that is worth."""
    request = _with(_post(**parts), [("content-digest", DIGEST)] if parts.get("body", BODY) else [])
    value = b64_encode(_signer(signature_base(request_of(request), _inner(covered))))
    return _with(request, [("signature-input", f"sig1={covered}"), ("signature", f"sig1=:{value}:")])


def _case(name: str, request: dict[str, Any], status: int, **members: Any) -> Case:
    case = {"name": name, "request": request, "now": NOW, "keys": KEYS, "required": REQUIRED, "legacy": True}
    return {**case, "used_nonces": [], "status": status, **members}


_FULL = f'("@method" "@target-uri" "content-digest");created={NOW}'


def _judged() -> Iterator[Case]:
    yield from _accepted()
    yield from _malformed()
    yield from _unverified()
    yield from _legacy()


def _accepted() -> Iterator[Case]:
    for name, request in {
        "the usual components": _signed(),
        "no body": _signed(_post(method="GET", body="")),
        "authority, path and query": _signed(
            _post(target="/objects?a=1"), components=("@method", "@authority", "@path", "@query")
        ),
        "authority and path, where there is no query": _signed(components=("@method", "@authority", "@path")),
        "sha-512": _signed(_with(_post(), [("content-digest", content_digest(BODY.encode(), "sha-512"))])),
        "one member of the digest": _signed_as(
            f'("@method" "@target-uri" "content-digest";key="sha-256");created={NOW};keyid="sig1"'
        ),
        "every parameter": _signed(nonce="n", expires=NOW + 5, tag="t"),
        "an unknown parameter": _signed_as(f'{_FULL};x=y;keyid="sig1"'),
        "no alg": _signed_as(f'{_FULL};keyid="sig1"'),
        "300 seconds old": _signed(created=NOW - 300),
        "60 seconds ahead": _signed(created=NOW + 60),
        "expires now": _signed(expires=NOW),
    }.items():
        yield _case(name, request, 200, label="sig1")
    unknown = _signed_as(f'{_FULL};keyid="other"')
    yield _case("one of two labels verifies", _signed(unknown, label="b"), 200, label="b")
    yield _case("a nonce used under another keyid", _signed(nonce="n"), 200, label="sig1", used_nonces=[["other", "n"]])


def _malformed() -> Iterator[Case]:
    good, value = f'{_FULL};keyid="sig1"', "sig1=:AAAA:"
    for name, fields in {
        "Signature alone": [("signature", value)],
        "Signature-Input alone": [("signature-input", f"sig1={good}")],
        "both empty": [("signature-input", ""), ("signature", "")],
        "no structured field": [("signature-input", "nonsense"), ("signature", value)],
        "an unfinished string": [("signature-input", 'sig1=("@method)'), ("signature", value)],
        "commas between components": [("signature-input", 'sig1=("@method","@path")'), ("signature", value)],
        "a token as a component": [("signature-input", "sig1=(method)"), ("signature", value)],
        "no list of components": [("signature-input", 'sig1="@method"'), ("signature", value)],
        "a signature that is no byte sequence": [("signature-input", f"sig1={good}"), ("signature", 'sig1="AAAA"')],
        "labels that differ": [("signature-input", f"sig1={good}"), ("signature", "sig2=:AAAA:")],
        "a label without its signature": [("signature-input", f"sig1={good}, b=()"), ("signature", value)],
        "created as a string": [("signature-input", 'sig1=("@method");created="1"'), ("signature", value)],
        "keyid as a token": [("signature-input", 'sig1=("@method");keyid=sig1'), ("signature", value)],
        "a component twice": [("signature-input", 'sig1=("@method" "@method")'), ("signature", value)],
        "an unknown component": [("signature-input", 'sig1=("@nonsense")'), ("signature", value)],
        "a label in upper case": [("signature-input", 'Sig1=("@method")'), ("signature", "Sig1=:AAAA:")],
    }.items():
        yield _case(name, _with(_post(), fields), 400)
    spoilt = _signed(_with(_post(), [("signature-input", 'bad=("@method" "@method")'), ("signature", "bad=:AAAA:")]))
    yield _case("one label malformed, another good", spoilt, 400)
    yield _case("a body that is not that of the digest", {**_signed(), "body": BODY + " "}, 400)
    yield _case("a digest that is malformed", _signed(_with(_post(), [("content-digest", "sha-256=1")])), 400)
    twice = _with(_post(target="/objects?a=1&a=2"), [("signature-input", 'sig1=("@query-param";name="a")')])
    yield _case("a query parameter that occurs twice", _with(twice, [("signature", value)]), 400)


def _unverified() -> Iterator[Case]:
    yield _case("no signature", _post(), 401)
    for name, change in {
        "another method": {"method": "PUT"},
        "another scheme": {"scheme": "https"},
        "another authority": {"authority": "127.0.0.1:8001"},
        "another path": {"target": "/objects/"},
        "a query added": {"target": "/objects?a=1"},
    }.items():
        yield _case(name, {**_signed(), **change}, 401)
    params = f';created={NOW};keyid="sig1"'
    md5 = _with(_post(), [("content-digest", "md5=:Sd/dVLAcvNLSq16eXua5uQ==:")])
    for name, request in {
        "an unknown keyid": _signed_as(f'{_FULL};keyid="other"'),
        "no keyid": _signed_as(_FULL),
        "a key ID as its own keyid": _signed(keyid=f"omp:key:ed25519:{KEYS['sig1'][0]}"),
        "another algorithm": _signed_as(f'{_FULL};keyid="sig1";alg="hmac-sha256"'),
        "no created": _signed_as('("@method" "@target-uri" "content-digest");keyid="sig1"'),
        "301 seconds old": _signed(created=NOW - 301),
        "61 seconds ahead": _signed(created=NOW + 61),
        "expired": _signed(expires=NOW - 1),
        "another's key": _signed(signer=lambda message: sign_slowly(bytes(32), message)),
        "a signature of no bytes": _signed(signer=lambda message: b""),
        "without the method": _signed_as(f'("@target-uri" "content-digest"){params}'),
        "without the authority": _signed_as(f'("@method" "@path" "content-digest"){params}'),
        "without the path": _signed_as(f'("@method" "@authority" "content-digest"){params}'),
        "without the query": _signed_as(
            f'("@method" "@authority" "@path" "content-digest"){params}', target="/objects?a=1"
        ),
        "without the digest": _signed_as(f'("@method" "@target-uri"){params}'),
        "a digest of unknown algorithms only": _signed(md5),
        "an absent field": _with(_post(), [("signature-input", 'sig1=("x-absent")'), ("signature", "sig1=:AAAA:")]),
    }.items():
        yield _case(name, request, 401)
    yield _case("a used nonce", _signed(nonce="n"), 401, used_nonces=[["sig1", "n"]])
    mrs = [[["@method"]], [["@path"], ["@target-uri"]], [["mrs-identity"]], [["content-digest"]]]
    identity = ("mrs-identity", "ann@example.com")
    covering = _signed(_with(_post(), [identity]), components=("@method", "@path", "mrs-identity"))
    yield _case("other requirements, met", covering, 200, label="sig1", required=mrs, legacy=False)
    yield _case("other requirements, not met", _signed(_with(_post(), [identity])), 401, required=mrs, legacy=False)


def _legacy() -> Iterator[Case]:
    request = _post()
    options: dict[str, Any] = {"keyid": "sig1", "signer": _signer}
    old = _with(request, sign_legacy(request_of(request), created=1_600_000_000, **options))
    value = b64u_encode(_signer(b"POST http://127.0.0.1:8000/objects"))
    published = [("signature-input", 'Sig1=();keyid="sig1"'), ("signature", f"Sig1=:{value}:")]
    yield _case("legacy, old", old, 200, label="sig1")
    yield _case("legacy, in base64url under a label in upper case", _with(request, published), 200, label="Sig1")
    other = {**old, "body": "{}", "target": "/objects?a=1"}
    yield _case("legacy, with another body and a query", other, 200, label="sig1")
    yield _case("legacy, another path", {**old, "target": "/objects/1"}, 401)
    yield _case("legacy, another method", {**old, "method": "PUT"}, 401)
    yield _case("legacy, another authority", {**old, "authority": "localhost:8000"}, 401)
    yield _case("legacy, where it is off", old, 401, legacy=False)
    yield _case("legacy spelling, where it is off", _with(request, published), 400, legacy=False)
    nonce = [("signature-input", 'sig1=();keyid="sig1";nonce="n"'), ("signature", f"sig1=:{value}:")]
    with_nonce, used = _with(request, nonce), [["sig1", "n"]]
    yield _case("legacy, its nonce is not looked at", with_nonce, 200, label="sig1", used_nonces=used)
