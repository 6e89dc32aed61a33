"""How each kind of vector in ``vectors/canonical/`` is run."""

from __future__ import annotations

import struct
import unittest
from collections.abc import Callable
from typing import Any

from omp.rules import identifiers
from omp.rules.canonical import CanonicalError, Malformed, NotCanonical, canonicalize, decode
from omp.rules.json_text import JsonError, parse

Case = dict[str, Any]


def _canonicalize(test: unittest.TestCase, case: Case) -> None:
    text = case["input"].encode()
    if case.get("error"):
        with test.assertRaises((JsonError, CanonicalError)):
            canonicalize(parse(text))
        return
    canonical = case["canonical"].encode()
    test.assertEqual(canonicalize(parse(text)), canonical)
    test.assertEqual(canonicalize(parse(canonical)), canonical, "canonicalizing twice")


def _number(test: unittest.TestCase, case: Case) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(case["ieee754"]))
    if case.get("error"):
        with test.assertRaises(CanonicalError):
            canonicalize(number)
        return
    test.assertEqual(canonicalize(number).decode(), case["text"])
    test.assertEqual(float(case["text"]), number)


def _omp_cj(test: unittest.TestCase, case: Case) -> None:
    data = bytes.fromhex(case["bytes"])
    errors = {"ERR_ENCODING": Malformed, "ERR_CANONICAL": NotCanonical}
    if case["outcome"] in errors:
        with test.assertRaises(errors[case["outcome"]]):
            decode(data)
        return
    test.assertEqual(case["outcome"], "ok")
    test.assertEqual(decode(data), parse(data))


_MAKERS = {
    "identity": (identifiers.IDENTITY_ID, identifiers.identity_id),
    "key": (identifiers.KEY_ID, identifiers.key_id),
    "operation": (identifiers.OPERATION_ID, identifiers.operation_id),
    "evidence": (identifiers.EVIDENCE_ID, identifiers.evidence_id),
    "state": (identifiers.STATE_ID, identifiers.state_id),
}


def _identifier(test: unittest.TestCase, case: Case) -> None:
    pattern, make = _MAKERS[case["of"]]
    if case.get("error"):
        if (other := case.get("bytes")) is None:
            test.assertIsNone(pattern.fullmatch(case["identifier"]))
        else:
            test.assertIsNotNone(pattern.fullmatch(case["identifier"]))
            test.assertNotEqual(make(bytes.fromhex(other)), case["identifier"])
        return
    data = bytes.fromhex(case["bytes"])
    test.assertEqual(make(data), case["identifier"])
    test.assertIsNotNone(pattern.fullmatch(case["identifier"]))
    if case["of"] in ("identity", "key"):
        test.assertEqual(identifiers.public_key_of(case["identifier"]), data)


RUNNERS: dict[str, Callable[[unittest.TestCase, Case], None]] = {
    "canonical/canonicalize": _canonicalize,
    "canonical/number": _number,
    "canonical/omp-cj": _omp_cj,
    "canonical/identifier": _identifier,
}
