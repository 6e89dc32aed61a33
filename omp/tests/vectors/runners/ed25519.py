"""How each kind of vector in ``vectors/ed25519/`` is run: on every engine that is there."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.engines import CryptographyMissing, cryptography_engine, handwritten_engine, secret_keys

Case = dict[str, Any]

_ENGINES = [handwritten_engine()]
_SIGNERS = [(public_key_slowly, sign_slowly)]
try:
    _ENGINES.append(cryptography_engine())
    _SIGNERS.append((secret_keys().public_key, secret_keys().sign))
except CryptographyMissing:
    pass  # test_ed25519 says so


def _sign(test: unittest.TestCase, case: Case) -> None:
    seed, message = bytes.fromhex(case["seed"]), bytes.fromhex(case["message"])
    for public_key, sign in _SIGNERS:
        test.assertEqual(public_key(seed).hex(), case["public_key"])
        test.assertEqual(sign(seed, message).hex(), case["signature"])


def _verify(test: unittest.TestCase, case: Case) -> None:
    A, message, RS = (bytes.fromhex(case[member]) for member in ("public_key", "message", "signature"))
    for engine in _ENGINES:
        test.assertIs(engine.verify(A, message, RS), case["valid"], engine.name)


RUNNERS: dict[str, Callable[[unittest.TestCase, Case], None]] = {"ed25519/sign": _sign, "ed25519/verify": _verify}
