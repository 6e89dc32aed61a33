"""Challenges and tokens (§3): single use, expiry, bounds, what is stored; then the same over the wire."""

from __future__ import annotations

import hashlib
import os
import unittest
from typing import Any
from unittest import mock

from omp.protocols.avp.sessions import (
    NONCE_LIFETIME_MS,
    NONCES,
    NONCES_BY_NUMBER,
    TOKEN_LIFETIME_MS,
    TOKENS,
    TOKENS_BY_EXPIRY,
    Sessions,
    UnprovenCaller,
)
from omp.rules.encodings import b64_decode, b64_encode, b64u_decode
from omp.rules.engines import best_engine
from omp.store.memory import MemoryStore
from omp.tests.avp.parties import ALICE, BOB, Party
from omp.tests.harness import Client, running_server

UNMET = b"\0" * 64


class SessionsCase(unittest.TestCase):
    """Sessions over a memory store, with a clock that the test sets."""

    max_nonces = 100

    def setUp(self) -> None:
        self.now = 1_700_000_000.0
        self.store = MemoryStore()
        self.sessions = Sessions(self.store, best_engine(), lambda: self.now, os.urandom, self.max_nonces)

    def redeem(self, party: Party, nonce: bytes) -> tuple[str, int]:
        return self.sessions.redeem(party.public_key, nonce, b64_decode(party.sign(nonce)))

    def refused(self, party: Party, nonce: bytes, signature: bytes | None = None) -> None:
        with self.assertRaises(UnprovenCaller):
            self.sessions.redeem(party.public_key, nonce, signature or b64_decode(party.sign(nonce)))

    def rows(self, *tables: str) -> int:
        with self.store.read() as tx:
            return sum(tx.count(table) for table in tables)


class Nonces(SessionsCase):
    def test_a_signed_nonce_gives_a_token_for_an_hour(self) -> None:
        token, expires_at = self.redeem(ALICE, self.sessions.challenge(ALICE.public_key))
        self.assertEqual(expires_at, int(self.now * 1000) + 3_600_000)
        self.assertEqual(self.sessions.member(f"Bearer {token}"), ALICE.id)

    def test_a_nonce_is_good_once(self) -> None:
        nonce = self.sessions.challenge(ALICE.public_key)
        self.redeem(ALICE, nonce)
        self.refused(ALICE, nonce)

    def test_a_wrong_signature_uses_it_up(self) -> None:
        nonce = self.sessions.challenge(ALICE.public_key)
        self.refused(ALICE, nonce, UNMET)
        self.refused(ALICE, nonce)

    def test_an_attempt_by_another_key_uses_it_up(self) -> None:
        nonce = self.sessions.challenge(ALICE.public_key)
        self.refused(BOB, nonce)
        self.refused(ALICE, nonce)

    def test_a_signature_over_the_base64_of_the_nonce_is_wrong(self) -> None:
        nonce = self.sessions.challenge(ALICE.public_key)
        self.refused(ALICE, nonce, b64_decode(ALICE.sign(b64_encode(nonce).encode())))

    def test_a_refusal_says_how_a_signature_is_written(self) -> None:
        nonce = self.sessions.challenge(ALICE.public_key)
        with self.assertRaisesRegex(UnprovenCaller, r"base64, with \+ and / and padding, of 64 bytes"):
            self.sessions.redeem(ALICE.public_key, nonce, b"")

    def test_it_is_good_until_two_minutes_have_passed(self) -> None:
        early, late = (self.sessions.challenge(ALICE.public_key) for _ in range(2))
        self.now += 120 - 0.001
        self.redeem(ALICE, early)
        self.now += 0.001
        self.refused(ALICE, late)

    def test_a_nonce_that_was_never_issued_is_refused_without_a_transaction(self) -> None:
        with mock.patch.object(self.store, "write", side_effect=AssertionError):
            for nonce in (b"", b"\0" * 32, b"x" * 1000):
                self.refused(ALICE, nonce)
        self.assertEqual(self.rows(NONCES, NONCES_BY_NUMBER, TOKENS, TOKENS_BY_EXPIRY), 0)

    def test_one_too_many_drops_the_oldest_and_no_other(self) -> None:
        nonces = [self.sessions.challenge(ALICE.public_key) for _ in range(self.max_nonces + 1)]
        self.assertEqual(self.rows(NONCES), self.max_nonces)
        self.refused(ALICE, nonces[0])
        self.redeem(ALICE, nonces[1])
        self.redeem(ALICE, nonces[-1])

    def test_a_flood_stays_within_the_bound_and_a_member_still_gets_in(self) -> None:
        stranger = b"\x42" * 32
        for _ in range(20 * self.max_nonces):
            self.sessions.challenge(stranger)
        self.assertEqual(self.rows(NONCES, NONCES_BY_NUMBER), 2 * self.max_nonces)
        nonce = self.sessions.challenge(ALICE.public_key)
        for _ in range(self.max_nonces - 1):
            self.sessions.challenge(stranger)
        self.redeem(ALICE, nonce)

    def test_used_nonces_leave_no_row(self) -> None:
        for _ in range(3):
            self.redeem(ALICE, self.sessions.challenge(ALICE.public_key))
        self.assertEqual(self.rows(NONCES, NONCES_BY_NUMBER), 0)


class Tokens(SessionsCase):
    def token(self) -> str:
        return self.redeem(ALICE, self.sessions.challenge(ALICE.public_key))[0]

    def stranger(self, authorization: str) -> None:
        with self.assertRaises(UnprovenCaller):
            self.sessions.member(authorization)

    def test_it_has_256_bits(self) -> None:
        self.assertEqual(len(b64u_decode(self.token())), 32)

    def test_it_is_kept_as_sha256_only(self) -> None:
        token = self.token()
        with self.store.read() as tx:
            rows = [row for table in (TOKENS, TOKENS_BY_EXPIRY) for pair in tx.scan(table) for row in pair]
        self.assertTrue(any(hashlib.sha256(token.encode()).digest() in row for row in rows))
        for secret in (token.encode(), b64u_decode(token)):
            self.assertFalse(any(secret in row for row in rows))

    def test_it_expires_when_it_says_so(self) -> None:
        token = self.token()
        self.now += TOKEN_LIFETIME_MS / 1000 - 0.001
        self.assertEqual(self.sessions.member(f"Bearer {token}"), ALICE.id)
        self.now += 0.001
        self.stranger(f"Bearer {token}")

    def test_half_of_the_hash_is_not_enough(self) -> None:
        token = self.token()
        with self.store.write() as tx:
            ((row_key, row),) = tx.scan(TOKENS)
            tx.put(TOKENS, row_key, row[:24] + bytes(16) + row[40:])
        self.stranger(f"Bearer {token}")

    def test_anything_else_in_the_field_is_refused(self) -> None:
        token = self.token()
        for text in ("", "Bearer", "Bearer ", token, f"Basic {token}", "Bearer \xff"):
            self.stranger(text)
        for text in (f"{token}x", token[:-1], token[1:], token.swapcase()):
            self.stranger(f"Bearer {text}")

    def test_expired_rows_are_dropped_and_others_kept(self) -> None:
        for _ in range(3):
            self.token()
            self.sessions.challenge(ALICE.public_key)
        self.now += NONCE_LIFETIME_MS / 1000
        kept = self.sessions.challenge(ALICE.public_key)
        self.sessions.drop_expired(self.now)
        self.assertEqual((self.rows(NONCES), self.rows(NONCES_BY_NUMBER), self.rows(TOKENS)), (1, 1, 3))
        self.redeem(ALICE, kept)
        self.now += TOKEN_LIFETIME_MS / 1000 - 1
        self.sessions.drop_expired(self.now)
        self.assertEqual((self.rows(TOKENS), self.rows(TOKENS_BY_EXPIRY)), (1, 1))

    def test_more_than_one_batch_is_dropped_at_once(self) -> None:
        self.sessions = Sessions(self.store, best_engine(), lambda: self.now, os.urandom, 10_000)
        for _ in range(1_200):
            self.sessions.challenge(ALICE.public_key)
        self.sessions.drop_expired(self.now + NONCE_LIFETIME_MS / 1000)
        self.assertEqual(self.rows(NONCES, NONCES_BY_NUMBER), 0)


class OnTheWire(unittest.TestCase):
    """The two routes, over a socket."""

    def setUp(self) -> None:
        context = running_server()
        self.server = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        self.client = Client(self.server.port)
        self.addCleanup(self.client.close)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        answer = self.client.request("POST", f"/api/auth/keypair/{path}", body)
        return answer.status, answer.json

    def nonce(self, party: Party) -> str:
        _, value = self.post("challenge", {"ed25519PublicKey": party.id})
        return str(value["nonce"])

    def test_a_challenge_and_its_answer(self) -> None:
        nonce = self.nonce(ALICE)
        self.assertEqual(len(b64_decode(nonce)), 32)
        status, value = self.post("token", ALICE.redemption(nonce))
        self.assertEqual((status, value.keys(), type(value["expiresAt"])), (200, {"token", "expiresAt"}, int))

    def test_a_malformed_key_is_a_bad_request(self) -> None:
        texts = ["", "x", "é", "\0", ALICE.id[:-1], ALICE.id + "=", ALICE.id[:-2] + "B="]
        texts += [b64_encode(b"k" * size) for size in (0, 31, 33, 64)]
        bodies: list[Any] = [{"ed25519PublicKey": text} for text in [*texts, 7, None, [ALICE.id]]]
        for body in [*bodies, {}, [], None, "x", {"x": ALICE.id}]:
            status, value = self.post("challenge", body)
            self.assertEqual((status, value["code"]), (400, "bad_request"), body)

    def test_a_nonce_or_signature_that_proves_nothing_is_unauthorized(self) -> None:
        for change in (
            {"nonce": "x"},
            {"nonce": b64_encode(b"n" * 32)},
            {"signature": ""},
            {"signature": "é"},
            {"signature": b64_encode(UNMET)},
            {"signature": b64_encode(b"s" * 63)},
        ):
            status, value = self.post("token", ALICE.redemption(self.nonce(ALICE)) | change)
            self.assertEqual((status, value["code"]), (401, "unauthorized"), change)

    def test_another_keys_nonce_is_unauthorized(self) -> None:
        nonce = self.nonce(ALICE)
        self.assertEqual(self.post("token", BOB.redemption(nonce))[0], 401)
        self.assertEqual(self.post("token", ALICE.redemption(nonce))[0], 401)

    def test_ill_typed_redemptions_are_bad_requests(self) -> None:
        good = ALICE.redemption(self.nonce(ALICE))
        for name in good:
            for body in ({**good, name: 7}, {**good, name: None}, {key: good[key] for key in good if key != name}):
                self.assertEqual(self.post("token", body)[0], 400)
        self.assertEqual(self.post("token", good)[0], 200)

    def test_a_malformed_key_uses_the_nonce_up(self) -> None:
        good = ALICE.redemption(self.nonce(ALICE))
        self.assertEqual(self.post("token", {**good, "ed25519PublicKey": "x"})[0], 400)
        self.assertEqual(self.post("token", good)[0], 401)

    def test_housekeeping_drops_expired_tokens(self) -> None:
        _, value = self.post("token", ALICE.redemption(self.nonce(ALICE)))
        self.server.parts.application.housekeep(value["expiresAt"] / 1000)
        with self.server.parts.store.read() as tx:
            self.assertEqual((tx.count(TOKENS), tx.count(TOKENS_BY_EXPIRY)), (0, 0))
