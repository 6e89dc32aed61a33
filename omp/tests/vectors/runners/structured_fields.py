"""How the vectors in ``vectors/structured_fields/`` are run."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from omp.rules.structured_fields import StructuredFieldError, serialize_bare_item
from omp.tests.vectors.makers.structured_fields import KINDS, structure

Case = dict[str, Any]


def _parse(test: unittest.TestCase, case: Case) -> None:
    parse, serialize = KINDS[case["kind"]]
    if case["value"] is None:
        with test.assertRaises(StructuredFieldError):
            parse(case["text"])
        return
    value = parse(case["text"])
    test.assertEqual(structure(value), case["value"])
    test.assertEqual(serialize(value), case["serialized"])


def _decimal(test: unittest.TestCase, case: Case) -> None:
    if case["serialized"] is None:
        with test.assertRaises(StructuredFieldError):
            serialize_bare_item(float(case["number"]))
        return
    test.assertEqual(serialize_bare_item(float(case["number"])), case["serialized"])
    # An independent reading of the rule: no other text with three digits is nearer, and of two the even one counts.
    exact, rounded = Fraction(case["number"]), Fraction(case["serialized"])
    test.assertLessEqual(abs(exact - rounded), Fraction(1, 2000))
    if abs(exact - rounded) == Fraction(1, 2000):
        test.assertEqual(rounded * 1000 % 2, 0)


RUNNERS: dict[str, Callable[[unittest.TestCase, Case], None]] = {
    "structured_fields/parse": _parse,
    "structured_fields/decimal": _decimal,
}
