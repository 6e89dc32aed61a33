"""How each kind of vector in ``vectors/http_signatures/`` is run."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from omp.rules.encodings import b64u_decode
from omp.rules.engines import best_engine
from omp.rules.http_signatures import Policy, verify
from omp.rules.signature_base import DigestError, SignatureError, check_content_digest, signature_base
from omp.rules.structured_fields import InnerList, parse_list
from omp.tests.vectors.makers.http_signatures import request_of

Case = dict[str, Any]

_verify = best_engine().verify


def _content_digest(test: unittest.TestCase, case: Case) -> None:
    content = case["content"].encode()
    if case["known"] is None:
        with test.assertRaises(DigestError):
            check_content_digest(case["field"], content)
        return
    test.assertEqual(sorted(check_content_digest(case["field"], content)), case["known"])


def _signature_base(test: unittest.TestCase, case: Case) -> None:
    (covered,) = parse_list(case["covered"])
    assert isinstance(covered, InnerList)
    if "base" in case:
        test.assertEqual(signature_base(request_of(case["request"]), covered).decode(), case["base"])
        return
    with test.assertRaises(SignatureError) as caught:
        signature_base(request_of(case["request"]), covered)
    test.assertEqual(caught.exception.status, case["status"])


def _judged(test: unittest.TestCase, case: Case) -> None:
    required = tuple(tuple(tuple(names) for names in alternatives) for alternatives in case["required"])
    keys = {keyid: [b64u_decode(text) for text in texts] for keyid, texts in case["keys"].items()}
    used = [tuple(pair) for pair in case["used_nonces"]]
    try:
        verified = verify(
            request_of(case["request"]),
            Policy(required, legacy=case["legacy"]),
            lambda keyid: keys.get(keyid, ()),
            _verify,
            case["now"],
            lambda keyid, nonce, until: (keyid, nonce) not in used,
        )
    except SignatureError as error:
        test.assertEqual(error.status, case["status"], error.message)
        return
    test.assertEqual((200, verified.label), (case["status"], case["label"]))


RUNNERS: dict[str, Callable[[unittest.TestCase, Case], None]] = {
    "http_signatures/content_digest": _content_digest,
    "http_signatures/signature_base": _signature_base,
    "http_signatures/verify": _judged,
}
