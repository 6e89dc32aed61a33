"""How each kind of vector in ``vectors/keccak/`` is run."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from omp.protocols.nexus.keccak import keccak256


def _keccak256(test: unittest.TestCase, case: dict[str, Any]) -> None:
    test.assertEqual(keccak256(bytes.fromhex(case["message"])).hex(), case["digest"])


RUNNERS: dict[str, Callable[[unittest.TestCase, dict[str, Any]], None]] = {"keccak/keccak256": _keccak256}
