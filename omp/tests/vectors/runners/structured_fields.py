"""How the vectors in ``vectors/structured_fields/`` are run."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from omp.rules.structured_fields import StructuredFieldError
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


RUNNERS: dict[str, Callable[[unittest.TestCase, Case], None]] = {"structured_fields/parse": _parse}
