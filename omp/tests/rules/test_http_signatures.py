"""HTTP Message Signatures (RFC 9421): its published cases, and every way a signature can fail to count."""

from __future__ import annotations

import random
import unittest
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.encodings import b64u_decode, b64u_encode
from omp.rules.engines import best_engine
from omp.rules.http_signatures import (
    MAX_LABELS,
    MISSING,
    Policy,
    Verified,
    legacy_message,
    parse_signatures,
    sign,
    sign_legacy,
    verify,
)
from omp.rules.signature_base import SignatureError, SignedRequest, content_digest, signature_base
from omp.rules.structured_fields import InnerList, Item, StructuredFieldError, parse_dictionary, parse_item

Fields = Sequence[tuple[str, str]]

# RFC 9421 appendix B.1.4
SEED = b64u_decode("n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU")
PUBLIC = b64u_decode("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs")
NOW = 1_700_000_000
BODY = b'{"namespace":"ns","content":{"x":1}}'
OBJECTS = Policy(
    ((("@method",),), (("@target-uri",), ("@authority", "@path", "@query")), (("content-digest",),)), legacy=True
)
_verify = best_engine().verify


@lru_cache(maxsize=1000)
def signer(message: bytes) -> bytes:
    return sign_slowly(SEED, message)


def post(fields: Fields = (), body: bytes = BODY, target: str = "/objects", method: str = "POST") -> SignedRequest:
    own = [("host", "127.0.0.1:8000"), ("content-type", "application/json")]
    return SignedRequest(method, "http", "127.0.0.1:8000", target, [*own, *fields], body)


def with_fields(request: SignedRequest, added: Fields) -> SignedRequest:
    fields = [*request.fields, *((name.lower(), value) for name, value in added)]
    return SignedRequest(request.method, request.scheme, request.authority, request.target, fields, request.body)


def signed(request: SignedRequest | None = None, **options: Any) -> SignedRequest:
    request = request or post()
    return with_fields(request, sign(request, **{"keyid": "sig1", "signer": signer, "created": NOW, **options}))


def changed(request: SignedRequest, **parts: Any) -> SignedRequest:
    names = ("method", "scheme", "authority", "target", "fields", "body")
    return SignedRequest(**{**{name: getattr(request, name) for name in names}, **parts})


def with_signature(text: str, value: str = "sig1=:AAAA:", request: SignedRequest | None = None) -> SignedRequest:
    return with_fields(request or post(), [("signature-input", text), ("signature", value)])


def resigned(covered: str, request: SignedRequest | None = None, label: str = "sig1") -> SignedRequest:
    """`request` with a good signature of exactly the components and parameters in the text `covered`."""
    request = request or post([("content-digest", content_digest(BODY))])
    inner = parse_dictionary(f"{label}={covered}")[label]
    assert isinstance(inner, InnerList)
    value = signer(signature_base(request, inner))
    return with_signature(f"{label}={covered}", f"{label}=:{b64u_encode(value).translate(_B64)}==:", request)


_B64 = str.maketrans("-_", "+/")


class Verification(unittest.TestCase):
    def setUp(self) -> None:
        self.used: set[tuple[str, str]] = set()
        self.keys: Mapping[str, Sequence[bytes]] = {"sig1": (PUBLIC,)}

    def fresh(self, keyid: str, nonce: str, until: int) -> bool:
        new = (keyid, nonce) not in self.used
        self.used.add((keyid, nonce))
        return new

    def verify(self, request: SignedRequest, policy: Policy = OBJECTS, now: float = NOW) -> Verified:
        return verify(request, policy, lambda keyid: self.keys.get(keyid, ()), _verify, now, self.fresh)

    def refused(self, status: int, request: SignedRequest, policy: Policy = OBJECTS, now: float = NOW) -> str:
        with self.assertRaises(SignatureError) as caught:
            self.verify(request, policy, now)
        self.assertEqual(caught.exception.status, status, caught.exception.message)
        return caught.exception.message


class Published(Verification):
    """RFC 9421 appendix B."""

    ANY = Policy(((("@method",),),))

    def test_b_2_6_a_request_signed_with_ed25519(self) -> None:
        self.keys = {"test-key-ed25519": (PUBLIC,)}
        covered = '("date" "@method" "@path" "@authority" "content-type" "content-length")'
        params = ';created=1618884473;keyid="test-key-ed25519"'
        fields = [
            ("host", "example.com"),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
            ("content-digest", content_digest(b'{"hello": "world"}', "sha-512")),
            ("content-length", "18"),
            ("signature-input", f"sig-b26={covered}{params}"),
            (
                "signature",
                "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
            ),
        ]
        target = "/foo?param=Value&Pet=dog"
        request = SignedRequest("POST", "https", "example.com", target, fields, b'{"hello": "world"}')
        self.assertEqual(
            signature_base(request, parse_signatures(request)[0].covered).decode(),
            '"date": Tue, 20 Apr 2021 02:07:55 GMT\n'
            '"@method": POST\n'
            '"@path": /foo\n'
            '"@authority": example.com\n'
            '"content-type": application/json\n'
            '"content-length": 18\n'
            f'"@signature-params": {covered}{params}',
        )
        self.assertEqual(self.verify(request, self.ANY, 1618884473).label, "sig-b26")
        self.refused(401, changed(request, method="PUT"), self.ANY, 1618884473)

    def test_b_4_a_signature_survives_the_transformations_it_allows(self) -> None:
        self.keys = {"test-key-ed25519": (PUBLIC,)}
        input_ = 'transform=("@method" "@path" "@authority" "accept");created=1618884473;keyid="test-key-ed25519"'
        value = "transform=:ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cpLt2m0pmj3NDA==:"
        date = ("date", "Fri, 15 Jul 2022 14:24:55 GMT")
        json, other = ("accept", "application/json"), ("accept", "*/*")
        allowed = [
            ("example.org", "/demo?name1=Value1&Name2=value2", [date, json, other]),
            ("example.org", "/demo?name1=Value1&Name2=value2&param=added", [date, json, other, ("x-added", "1")]),
            ("example.org", "/demo", [("accept", "application/json, */*")]),
            ("EXAMPLE.org:443", "/demo", [("accept", "  application/json  "), other]),
        ]
        for authority, target, fields in allowed:
            with self.subTest(authority=authority, target=target):
                fields = [*fields, ("signature-input", input_), ("signature", value)]
                request = SignedRequest("GET", "https", authority, target, fields)
                self.assertEqual(self.verify(request, self.ANY, 1618884473).label, "transform")
        for method, authority, accept in [
            ("POST", "example.org", [json, other]),
            ("GET", "example.com", [json, other]),
            ("GET", "example.org", [other, json]),
            ("GET", "example.org", [json]),
        ]:
            with self.subTest(method=method, authority=authority, accept=accept):
                fields = [*accept, ("signature-input", input_), ("signature", value)]
                self.refused(401, SignedRequest(method, "https", authority, "/demo", fields), self.ANY, 1618884473)


class Components(unittest.TestCase):
    """RFC 9421 §2: identifiers and their values."""

    def value(self, identifier: str, request: SignedRequest) -> str:
        base = signature_base(request, InnerList([parse_item(identifier)])).decode()
        name, _, value = base.split("\n")[0].partition(": ")
        self.assertEqual(name, identifier)
        return value

    def test_every_derived_component_of_the_documents_examples(self) -> None:
        request = SignedRequest("POST", "https", "www.example.com", "/path?param=value")
        for identifier, value in [
            ('"@method"', "POST"),
            ('"@target-uri"', "https://www.example.com/path?param=value"),
            ('"@authority"', "www.example.com"),
            ('"@scheme"', "https"),
            ('"@request-target"', "/path?param=value"),
            ('"@path"', "/path"),
            ('"@query"', "?param=value"),
        ]:
            with self.subTest(identifier):
                self.assertEqual(self.value(identifier, request), value)

    def test_the_authority_is_lower_case_without_its_default_port(self) -> None:
        for scheme, authority, value in [
            ("https", "WWW.Example.com:443", "www.example.com"),
            ("http", "example.com:80", "example.com"),
            ("http", "example.com:", "example.com"),
            ("http", "example.com:443", "example.com:443"),
            ("http", "127.0.0.1:8080", "127.0.0.1:8080"),
            ("http", "[::1]:80", "[::1]"),
            ("https", "[2001:DB8::80]", "[2001:db8::80]"),
        ]:
            with self.subTest(authority):
                self.assertEqual(self.value('"@authority"', SignedRequest("GET", scheme, authority, "/")), value)

    def test_the_query_is_a_question_mark_where_there_is_none_and_kept_as_sent(self) -> None:
        for target, value in [("/", "?"), ("/?", "?"), ("/?a=b%20c&&", "?a=b%20c&&"), ("/?a?b", "?a?b")]:
            with self.subTest(target):
                self.assertEqual(self.value('"@query"', SignedRequest("GET", "http", "h", target)), value)

    def test_an_empty_path_is_a_slash(self) -> None:
        self.assertEqual(self.value('"@path"', SignedRequest("OPTIONS", "http", "h", "*")), "/")

    def test_query_parameters_are_decoded_and_encoded_again(self) -> None:
        target = (
            "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace"
            "&fa%C3%A7ade%22%3A%20=something&empty=&bare&tilde=~%7e*"
        )
        request = SignedRequest("GET", "https", "www.example.com", target)
        for name, value in [
            ("var", "this%20is%20a%20big%0Amultiline%20value"),
            ("bar", "with%20plus%20whitespace"),
            ("fa%C3%A7ade%22%3A%20", "something"),
            ("empty", ""),
            ("bare", ""),
            ("tilde", "%7E%7E*"),
        ]:
            with self.subTest(name):
                self.assertEqual(self.value(f'"@query-param";name="{name}"', request), value)

    def test_header_fields_are_trimmed_joined_and_unfolded(self) -> None:
        # RFC 9421 §2.1's own example.
        request = SignedRequest(
            "GET",
            "http",
            "h",
            "/",
            [
                ("x-ows-header", "   Leading and trailing whitespace.   "),
                ("x-obs-fold-header", "Obsolete\r\n    line folding."),
                ("cache-control", "max-age=60"),
                ("cache-control", "   must-revalidate"),
                ("example-dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
                ("x-empty-header", ""),
            ],
        )
        for name, value in [
            ("x-ows-header", "Leading and trailing whitespace."),
            ("x-obs-fold-header", "Obsolete line folding."),
            ("cache-control", "max-age=60, must-revalidate"),
            ("example-dict", "a=1,    b=2;x=1;y=2,   c=(a   b   c)"),
            ("x-empty-header", ""),
        ]:
            with self.subTest(name):
                self.assertEqual(self.value(f'"{name}"', request), value)
        base = signature_base(request, InnerList([Item("x-empty-header")]))
        self.assertTrue(base.startswith(b'"x-empty-header": \n'))

    def test_strict_serialization_of_a_structured_field(self) -> None:
        fields = [("example-dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c)"), ("sec-ch-ua-mobile", "?1;  a")]
        fields += [("accept-ch", "a"), ("accept-ch", "b ,c")]
        request = SignedRequest("GET", "http", "h", "/", fields)
        self.assertEqual(self.value('"example-dict";sf', request), "a=1, b=2;x=1;y=2, c=(a b c)")
        self.assertEqual(self.value('"sec-ch-ua-mobile";sf', request), "?1;a")
        self.assertEqual(self.value('"accept-ch";sf', request), "a, b, c")

    def test_one_member_of_a_dictionary(self) -> None:
        fields = [("example-dict", "  a=1, b=2;x=1;y=2, c=(a   b    c), d")]
        request = SignedRequest("GET", "http", "h", "/", fields)
        for key, value in [("a", "1"), ("d", "?1"), ("b", "2;x=1;y=2"), ("c", "(a b c)")]:
            with self.subTest(key):
                self.assertEqual(self.value(f'"example-dict";key="{key}"', request), value)
                self.assertEqual(self.value(f'"example-dict";key="{key}";sf', request), value)

    def test_fields_as_bytes_tell_two_lines_from_one(self) -> None:
        lines = [("example-header", "value, with, lots"), ("example-header", "of, commas")]
        two = SignedRequest("GET", "http", "h", "/", lines)
        one = SignedRequest("GET", "http", "h", "/", [("example-header", "value, with, lots, of, commas")])
        self.assertEqual(self.value('"example-header";bs', two), ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:")
        self.assertEqual(self.value('"example-header";bs', one), ":dmFsdWUsIHdpdGgsIGxvdHMsIG9mLCBjb21tYXM=:")
        latin = SignedRequest("GET", "http", "h", "/", [("x", "caf\xe9")])
        self.assertEqual(self.value('"x";bs', latin), ":Y2Fm6Q==:")

    def test_a_component_that_no_request_can_have_is_400(self) -> None:
        fields = [("x", "a"), ("x-bad", "caf\xe9"), ("x-line", "a\nb"), ("content-digest", "=")]
        request = SignedRequest("GET", "http", "h", "/?a=1&a=2&%61=3&bad=%ff&b=2", fields)
        for identifiers in (
            ['"@status"'],
            ['"@signature-params"'],
            ['"@foo"'],
            ['"@"'],
            ['"X"'],
            ['""'],
            ['"a b"'],
            ["x"],
            ['"@method";req'],
            ['"x";req'],
            ['"x";tr'],
            ['"@method";sf'],
            ['"@path";name="x"'],
            ['"@query-param"'],
            ['"@query-param";name'],
            ['"@query-param";name=a'],
            ['"@query-param";name="b";sf'],
            ['"@query-param";name="a"'],
            ['"x";foo'],
            ['"x";sf=1'],
            ['"priority";sf=?0'],
            ['"x";bs="1"'],
            ['"x";key'],
            ['"x";key=a'],
            ['"x";name="a"'],
            ['"x";bs;sf'],
            ['"x";key="a";bs'],
            ['"x";sf'],
            ['"content-digest";sf'],
            ['"content-digest";key="sha-256"'],
            ['"x-bad"'],
            ['"x-line"'],
            ['"x"', '"x"'],
            ['"@path"', '"@method"', '"@path"'],
            ['"content-digest";sf;key="a"', '"content-digest";key="a";sf'],
        ):
            with self.subTest(identifiers), self.assertRaises(SignatureError) as caught:
                signature_base(request, InnerList([parse_item(text) for text in identifiers]))
            self.assertEqual(caught.exception.status, 400, identifiers)

    def test_a_query_that_is_not_utf_8_is_400(self) -> None:
        for target in ("/?a=%ff", "/?a=caf\xe9"):
            request = SignedRequest("GET", "http", "h", target)
            with self.subTest(target), self.assertRaises(SignatureError) as caught:
                signature_base(request, InnerList([parse_item('"@query-param";name="a"')]))
            self.assertEqual(caught.exception.status, 400)

    def test_a_component_that_this_request_lacks_is_401(self) -> None:
        request = SignedRequest("GET", "http", "h", "/?b=1", [("example-dict", "a=1")])
        for identifier in ('"x"', '"x";bs', '"priority";sf', '"example-dict";key="b"', '"@query-param";name="a"'):
            with self.subTest(identifier), self.assertRaises(SignatureError) as caught:
                signature_base(request, InnerList([parse_item(identifier)]))
            self.assertEqual(caught.exception.status, 401)

    def test_one_field_may_be_covered_in_several_ways(self) -> None:
        request = SignedRequest("GET", "http", "h", "/", [("example-dict", "a=1,b")])
        components = ['"example-dict"', '"example-dict";sf', '"example-dict";bs']
        components += ['"example-dict";key="a"', '"example-dict";key="b"']
        base = signature_base(request, InnerList([parse_item(text) for text in components])).decode()
        self.assertEqual([line.partition(": ")[0] for line in base.split("\n")], [*components, '"@signature-params"'])

    def test_many_members_of_one_long_dictionary_are_parsed_once(self) -> None:
        names = [f"k{n}" for n in range(1500)]
        request = SignedRequest("GET", "http", "h", "/", [("priority", ",".join(names))])
        signature_base(request, InnerList([Item("priority", {"key": name}) for name in names]))
        self.assertEqual(len(request.dictionary("priority") or ()), 1500)
        self.assertIs(request.dictionary("priority"), request.dictionary("priority"))


class Parsing(unittest.TestCase):
    """RFC 9421 §4: the two fields."""

    def test_neither_field_is_no_signature(self) -> None:
        self.assertEqual(parse_signatures(post()), [])

    def test_labels_components_and_parameters_in_order(self) -> None:
        request = with_fields(
            post(),
            [
                ("signature-input", 'a=("@method" "x";sf);created=1;nonce="n";x=y'),
                ("signature-input", 'b=();keyid="k"'),
                ("signature", "b=:Ag==:, a=:AQ==:"),
            ],
        )
        first, second = parse_signatures(request)
        self.assertEqual((first.label, first.value, first.created, first.nonce), ("a", b"\1", 1, "n"))
        self.assertEqual(first.covered.items, [Item("@method"), Item("x", {"sf": True})])
        self.assertEqual(list(first.covered.params), ["created", "nonce", "x"])
        self.assertEqual((second.label, second.value, second.keyid), ("b", b"\2", "k"))

    def test_malformed_fields_are_400(self) -> None:
        good, value = 'sig1=("@method");created=1;keyid="k"', "sig1=:AAAA:"
        for text, signature in [
            ("", ""),
            (good, ""),
            ("garbage", value),
            (good, "garbage"),
            ("sig1=()", "sig1=AAAA"),
            ("sig1=()", 'sig1="AAAA"'),
            ("sig1=()", "sig1=(:AAAA:)"),
            ("sig1=()", "sig1"),
            ("sig1=1", value),
            ("sig1", value),
            ('sig1="@method"', value),
            ("sig1=(@method)", value),
            ("sig1=(a)", value),
            ("sig1=(1)", value),
            ('sig1=("@method"', value),
            ('sig1=("@method" "@path)', value),
            ('sig1=("@method","@path")', value),
            ("sig1=();created=1.5", value),
            ('sig1=();created="1"', value),
            ("sig1=();created", value),
            ("sig1=();expires=?1", value),
            ("sig1=();keyid=k", value),
            ("sig1=();keyid=1", value),
            ("sig1=();nonce=:AA==:", value),
            ("sig1=();alg=ed25519", value),
            ("sig1=();tag=1", value),
            (good, "sig2=:AAAA:"),
            (good, "sig1=:AAAA:, sig2=:AAAA:"),
            (f"{good}, sig2=()", value),
            (f"{good},", value),
            (f"{good}\xe9", value),
            ('Sig1=("@method")', "Sig1=:AAAA:"),
            ('sig1=("@method")', "sig1=:AA-_:"),
            ('Sig1=(), Sig2=("@method")', "Sig1=:AAAA:, Sig2=:AAAA:"),
            ('Sig1=(), sig2=("@method")', "Sig1=:AAAA:, sig2=:AA-_:"),
        ]:
            for legacy in (False, True):
                with self.subTest(text=text, signature=signature, legacy=legacy):
                    with self.assertRaises(SignatureError) as caught:
                        parse_signatures(with_signature(text, signature), legacy=legacy)
                    self.assertEqual(caught.exception.status, 400)

    def test_one_field_without_the_other_is_400(self) -> None:
        for name, value in [("signature", "sig1=:AAAA:"), ("signature-input", "sig1=()")]:
            with self.subTest(name), self.assertRaises(SignatureError) as caught:
                parse_signatures(post([(name, value)]))
            self.assertEqual(caught.exception.status, 400)

    def test_the_last_of_two_members_of_one_label_counts(self) -> None:
        (one,) = parse_signatures(with_signature("s=(), s=();created=2", "s=:AQ==:, s=:Ag==:"))
        self.assertEqual((one.created, one.value), (2, b"\2"))

    def test_more_signatures_than_any_client_needs_are_refused(self) -> None:
        def request(count: int) -> SignedRequest:
            inputs, values = ([f"s{n}={value}" for n in range(count)] for value in ("()", "::"))
            return with_signature(", ".join(inputs), ", ".join(values))

        self.assertEqual(len(parse_signatures(request(MAX_LABELS))), MAX_LABELS)
        with self.assertRaises(SignatureError):
            parse_signatures(request(MAX_LABELS + 1))

    def test_the_spellings_of_published_clients_are_accepted_for_the_legacy_form_only(self) -> None:
        (one,) = parse_signatures(with_signature('Sig-A_b=();keyid="K"', "Sig-A_b=:_-8:"), legacy=True)
        self.assertEqual((one.label, one.value), ("Sig-A_b", b"\xff\xef"))
        with self.assertRaises(SignatureError):
            parse_signatures(with_signature('Sig-A_b=();keyid="K"', "Sig-A_b=:_-8:"), legacy=False)

    def test_another_label_beside_them_is_judged_by_itself(self) -> None:
        mixed = with_signature('Sig-A_b=();keyid="K", s=("@method")', "s=:+/8=:, Sig-A_b=:_-8:")
        self.assertEqual([(one.label, one.value) for one in parse_signatures(mixed, legacy=True)],
                         [("Sig-A_b", b"\xff\xef"), ("s", b"\xfb\xff")])  # fmt: skip
        with self.assertRaises(SignatureError):
            parse_signatures(mixed, legacy=False)


class Signing(Verification):
    def test_what_sign_makes_verifies(self) -> None:
        verified = self.verify(signed())
        self.assertEqual((verified.label, verified.keyid, verified.public_key), ("sig1", "sig1", PUBLIC))
        self.assertEqual(verified.components, {"@method", "@target-uri", "content-digest"})
        self.assertEqual((verified.created, verified.nonce, verified.legacy), (NOW, None, False))

    def test_components_with_parameters_and_every_parameter_of_a_signature(self) -> None:
        request = post([("x-note", "caf\xe9")], target="/objects?q=a+b")
        components = ("@method", "@authority", "@path", "@query", '"@query-param";name="q"', '"x-note";bs')
        verified = self.verify(signed(request, components=components, nonce="n", expires=NOW + 1, tag="t", label="a"))
        self.assertEqual((verified.label, verified.nonce), ("a", "n"))

    def test_a_request_without_a_body_needs_no_digest(self) -> None:
        request = signed(post(body=b"", method="GET"))
        self.assertIsNone(request.field("content-digest"))
        self.assertEqual(self.verify(request).components, {"@method", "@target-uri"})

    def test_a_digest_that_the_request_has_is_kept(self) -> None:
        request = signed(post([("content-digest", content_digest(BODY, "sha-512"))]))
        self.assertEqual(request.lines("content-digest"), [content_digest(BODY, "sha-512")])
        self.verify(request)

    def test_what_cannot_be_signed_is_refused(self) -> None:
        with self.assertRaises(SignatureError):
            signed(components=("x-absent",))
        with self.assertRaises(StructuredFieldError):
            signed(keyid="schlüssel")
        with self.assertRaises(StructuredFieldError):
            signed(label="Sig1")


class Strict(Verification):
    """What omp §4.1 and §4.2 say of mode strict."""

    def test_no_signature_is_401_with_the_published_message(self) -> None:
        self.assertEqual(self.refused(401, post()), MISSING)
        self.assertEqual(MISSING, "Missing required signature")

    def test_every_covered_part_is_bound(self) -> None:
        request = signed()
        for parts in (
            {"method": "PUT"},
            {"scheme": "https"},
            {"authority": "127.0.0.1:8001"},
            {"target": "/objects?x=1"},
            {"target": "/objects/"},
        ):
            with self.subTest(parts):
                self.assertIn("does not verify", self.refused(401, changed(request, **parts)))

    def test_another_body_is_400_since_the_digest_is_wrong(self) -> None:
        self.assertIn("sha-256", self.refused(400, changed(signed(), body=BODY + b" ")))

    def test_another_body_with_its_own_digest_does_not_verify(self) -> None:
        request = signed()
        fields = [(n, content_digest(b"{}") if n == "content-digest" else v) for n, v in request.fields]
        self.refused(401, changed(request, body=b"{}", fields=fields))

    def test_a_wrong_or_malformed_digest_is_400_also_where_it_is_not_covered(self) -> None:
        for digest in (content_digest(b"other"), "sha-256=1", "sha-256=:AAAA"):
            with self.subTest(digest):
                request = with_fields(signed(post(body=b"")), [("content-digest", digest)])
                self.refused(400, request)

    def test_coverage_that_is_too_small_is_401_and_says_what_is_missing(self) -> None:
        params = f';created={NOW};keyid="sig1"'
        for covered, missing in [
            ('("@target-uri" "content-digest")', "@method"),
            ('("@method" "content-digest")', "@target-uri"),
            ('("@method" "@path" "content-digest")', "@authority and @path"),
            ('("@method" "@authority" "content-digest")', "@authority and @path"),
            ('("@method" "@request-target" "@scheme" "host" "content-digest")', "@target-uri"),
            ('("@method" "@target-uri")', "content-digest"),
            ("()", "@method"),
        ]:
            with self.subTest(covered):
                policy = Policy(OBJECTS.required)
                self.assertIn(missing, self.refused(401, resigned(covered + params), policy))

    def test_the_query_must_be_covered_where_there_is_one(self) -> None:
        digest = [("content-digest", content_digest(BODY))]
        covered = f'("@method" "@authority" "@path" "content-digest");created={NOW};keyid="sig1"'
        self.verify(resigned(covered, post(digest)))
        self.assertIn("@query", self.refused(401, resigned(covered, post(digest, target="/objects?limit=1"))))
        with_query = covered.replace('"@path"', '"@path" "@query"')
        self.verify(resigned(with_query, post(digest, target="/objects?limit=1")))
        one_param = covered.replace('"@path"', '"@path" "@query-param";name="limit"')
        self.refused(401, resigned(one_param, post(digest, target="/objects?limit=1")))

    def test_a_digest_covers_by_a_known_algorithm_only(self) -> None:
        params = f';created={NOW};keyid="sig1"'
        md5 = "md5=:Sd/dVLAcvNLSq16eXua5uQ==:"
        sha = content_digest(BODY)
        for digest, component, counts in [
            (sha, '"content-digest"', True),
            (sha, '"content-digest";sf', True),
            (sha, '"content-digest";bs', True),
            (sha, '"content-digest";key="sha-256"', True),
            (f"{sha}, {md5}", '"content-digest";key="md5"', False),
            (md5, '"content-digest"', False),
        ]:
            with self.subTest(digest=digest, component=component):
                request = resigned(f'("@method" "@target-uri" {component}){params}', post([("content-digest", digest)]))
                if counts:
                    self.verify(request)
                else:
                    self.assertIn("must cover content-digest", self.refused(401, request))

    def test_created_is_required_and_bounded_on_both_sides(self) -> None:
        request = signed()
        for now, accepted in [(NOW + 300, True), (NOW + 300.5, False), (NOW - 60, True), (NOW - 60.5, False)]:
            with self.subTest(now=now - NOW):
                if accepted:
                    self.verify(request, now=now)
                else:
                    self.assertIn("seconds", self.refused(401, request, now=now))
        without = resigned('("@method" "@target-uri" "content-digest");keyid="sig1"')
        self.assertIn("created", self.refused(401, without))

    def test_expires_is_honoured(self) -> None:
        request = signed(expires=NOW + 10)
        self.verify(request, now=NOW + 10)
        self.assertIn("expired", self.refused(401, request, now=NOW + 10.5))

    def test_keyid_and_alg(self) -> None:
        covered = f'("@method" "@target-uri" "content-digest");created={NOW}'
        self.assertIn("keyid is missing", self.refused(401, resigned(covered)))
        self.assertIn("unknown", self.refused(401, resigned(f'{covered};keyid="other"')))
        self.assertIn("keyid", self.refused(401, resigned(f'{covered};keyid=""')))
        for alg in ("hmac-sha256", "rsa-v1_5-sha256", "ecdsa-p256-sha256", "Ed25519", ""):
            with self.subTest(alg):
                self.assertIn("ed25519", self.refused(401, resigned(f'{covered};keyid="sig1";alg="{alg}"')))
        self.verify(resigned(f'{covered};keyid="sig1"'))

    def test_parameters_are_signed_in_their_order_also_unknown_ones(self) -> None:
        covered = f'("@method" "@target-uri" "content-digest");x=a;created={NOW};keyid="sig1"'
        request = resigned(covered)
        self.verify(request)
        moved = covered.replace(";x=a", "") + ";x=a"
        fields = [(name, f"sig1={moved}" if name == "signature-input" else value) for name, value in request.fields]
        self.refused(401, changed(request, fields=fields))

    def test_a_signature_of_the_wrong_length_or_by_another_key_does_not_verify(self) -> None:
        covered = f'("@method" "@target-uri" "content-digest");created={NOW};keyid="sig1"'
        request = post([("content-digest", content_digest(BODY))])
        for value in ("sig1=::", "sig1=:AAAA:", f"sig1=:{'A' * 86}==:", f"sig1=:{'A' * 88}:"):
            with self.subTest(value):
                self.refused(401, with_signature(f"sig1={covered}", value, request))
        self.keys = {"sig1": (public_key_slowly(b"\1" * 32),)}
        self.refused(401, resigned(covered))

    def test_a_keyid_may_stand_for_several_keys(self) -> None:
        self.keys = {"sig1": (public_key_slowly(b"\1" * 32), PUBLIC)}
        self.assertEqual(self.verify(signed()).public_key, PUBLIC)

    def test_one_label_that_verifies_is_enough_and_otherwise_every_reason_is_given(self) -> None:
        first = resigned(f'("@method" "@target-uri" "content-digest");created={NOW};keyid="other"', label="a")
        both = signed(first, label="b")
        self.assertEqual(self.verify(both).label, "b")
        self.keys = {}
        message = self.refused(401, both)
        self.assertIn("Signature a: ", message)
        self.assertIn("Signature b: ", message)

    def test_a_malformed_label_is_400_even_if_another_verifies(self) -> None:
        request = signed(with_signature('bad=("@method" "@method")', "bad=:AAAA:"))
        self.refused(400, request)

    def test_a_label_that_covers_an_absent_component_does_not_affect_another(self) -> None:
        request = signed(with_signature('absent=("x-absent")', "absent=:AAAA:"))
        self.assertEqual(self.verify(request).label, "sig1")

    def test_other_policies_require_other_components(self) -> None:
        mrs = Policy(((("@method",),), (("@path",), ("@target-uri",)), (("mrs-identity",),), (("content-digest",),)))
        fields = [("mrs-identity", "ann@example.com"), ("content-digest", content_digest(BODY))]
        params = f';created={NOW};keyid="sig1"'
        self.verify(resigned(f'("@method" "@path" "mrs-identity" "content-digest"){params}', post(fields)), mrs)
        short = resigned(f'("@method" "@path" "content-digest"){params}', post(fields))
        self.assertIn("mrs-identity", self.refused(401, short, mrs))
        fields[0] = ("mrs-identity", "a=1, b=2")
        part = resigned(f'("@method" "@path" "mrs-identity";key="a" "content-digest"){params}', post(fields))
        self.assertIn("mrs-identity", self.refused(401, part, mrs))


class Hostile(Verification):
    def test_whatever_the_fields_hold_the_answer_is_an_error_of_ours(self) -> None:
        rng = random.Random(9421)
        pieces = ["sig1", "=", "(", ")", '"@method"', '"@query-param"', '"x"', " ", ";", ",", "sf", "key", "name", "bs"]
        pieces += ['"a"', "created=1", 'keyid="sig1"', ":AAAA:", "caf\xe9", "\\", "\n", "?1", "1.5", "*", "Sig1"]
        statuses = set()
        for _ in range(4000):
            made = ["".join(rng.choices(pieces, k=rng.randrange(7))) for _ in range(3)]
            inner = f"sig1=({' '.join(rng.choices(pieces, k=3))})" if rng.random() < 0.5 else made[0]
            fields = [("signature-input", inner), ("signature", rng.choice(["sig1=:AAAA:", made[1]])), ("x", made[2])]
            with self.assertRaises(SignatureError) as caught:
                self.verify(post(fields, target="/objects?a=1&" + rng.choice(["a=2", "%zz", "%ff"])))
            statuses.add(caught.exception.status)
        self.assertEqual(statuses, {400, 401})

    def test_a_message_does_not_repeat_a_long_text(self) -> None:
        covered = f'("@method" "@target-uri" "content-digest");created={NOW}'
        long = "x" * 9999
        bad = (f'{covered};keyid="{long}"', f'("{long}")', f'("{long.upper()}")', f'("x";{long})', "1", "();tag=1")
        for text in bad:
            label, request = "s" * 999, post([("content-digest", content_digest(BODY))])
            with self.assertRaises(SignatureError) as caught:
                self.verify(with_signature(f"{label}={text}", f"{label}=:AAAA:", request))
            self.assertLess(len(caught.exception.message), 600)


class Nonces(Verification):
    def test_a_nonce_is_accepted_once_for_each_keyid(self) -> None:
        self.keys = {"sig1": (PUBLIC,), "sig2": (PUBLIC,)}
        self.verify(signed(nonce="n"))
        self.assertIn("nonce", self.refused(401, signed(nonce="n")))
        self.verify(signed(nonce="m"))
        self.verify(signed(nonce="n", keyid="sig2"))

    def test_a_signature_that_fails_does_not_use_up_its_nonce(self) -> None:
        self.refused(401, changed(signed(nonce="n"), method="PUT"))
        self.refused(401, signed(nonce="n", created=NOW - 1000))
        self.refused(400, changed(signed(nonce="n"), body=b"other"))
        self.assertEqual(self.used, set())
        self.verify(signed(nonce="n"))

    def test_a_used_nonce_in_one_label_does_not_affect_another(self) -> None:
        self.verify(signed(nonce="n"))
        self.assertEqual(self.verify(signed(signed(nonce="n"), label="b", nonce="m")).label, "b")

    def test_a_nonce_is_remembered_as_long_as_its_signature_could_be_accepted(self) -> None:
        seen = []

        def fresh(keyid: str, nonce: str, until: int) -> bool:
            seen.append(until)
            return True

        verify(signed(nonce="n", created=NOW + 60), OBJECTS, lambda keyid: (PUBLIC,), _verify, NOW, fresh)
        self.assertEqual(seen, [NOW + 360])


class Legacy(Verification):
    """The legacy form, omp §4.3."""

    def legacy(self, request: SignedRequest | None = None, created: int = 1_600_000_000) -> SignedRequest:
        request = request or post()
        return with_fields(request, sign_legacy(request, keyid="sig1", signer=signer, created=created))

    def test_the_message_is_the_method_and_the_url_without_its_query(self) -> None:
        self.assertEqual(legacy_message(post(target="/objects?limit=1")), b"POST http://127.0.0.1:8000/objects")

    def test_it_verifies_whatever_its_age_and_covers_nothing_by_name(self) -> None:
        verified = self.verify(self.legacy())
        self.assertTrue(verified.legacy)
        self.assertEqual(verified.components, frozenset())

    def test_it_binds_method_scheme_authority_and_path_but_neither_body_nor_query(self) -> None:
        request = self.legacy()
        for parts in ({"method": "PUT"}, {"scheme": "https"}, {"authority": "h"}, {"target": "/objects/1"}):
            with self.subTest(parts):
                self.refused(401, changed(request, **parts))
        self.verify(changed(request, body=b"other", target="/objects?x=1"))

    def test_base64url_upper_case_labels_and_bare_parameters_are_accepted(self) -> None:
        value = signer(legacy_message(post()))
        for label, text in [("Sig1", b64u_encode(value)), ("sig1", b64u_encode(value) + "==")]:
            with self.subTest(label):
                self.verify(with_signature(f'{label}=();keyid="sig1"', f"{label}=:{text}:"))

    def test_it_can_be_switched_off(self) -> None:
        policy = Policy(OBJECTS.required, legacy=False)
        self.assertIn("@method", self.refused(401, self.legacy(), policy))

    def test_keyid_alg_and_expires_count(self) -> None:
        value = f"sig1=:{b64u_encode(signer(legacy_message(post())))}:"
        for params in ("", ';keyid="other"', ';keyid="sig1";alg="rsa"', f';keyid="sig1";expires={NOW - 1}'):
            with self.subTest(params):
                self.refused(401, with_signature(f"sig1=(){params}", value))

    def test_its_nonce_is_ignored_since_it_is_not_signed(self) -> None:
        value = f"sig1=:{b64u_encode(signer(legacy_message(post())))}:"
        for _ in range(2):
            self.assertIsNone(self.verify(with_signature('sig1=();keyid="sig1";nonce="n"', value)).nonce)
        self.assertEqual(self.used, set())

    def test_a_digest_beside_it_is_checked(self) -> None:
        self.refused(400, self.legacy(post([("content-digest", content_digest(b"other"))])))


if __name__ == "__main__":
    unittest.main()
