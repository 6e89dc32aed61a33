"""Payloads and the bearer, beside their vectors."""

from __future__ import annotations

import json
import unittest
from typing import Any
from unittest import mock

from omp.protocols.nexus.ethereum import sign_slowly, signature_text
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.signatures import (
    FORM_B,
    FORMS,
    MAX_BROKEN,
    MAX_SIGNED,
    NotAuthenticated,
    as_written,
    authenticate,
    bearer,
    broken_payload,
    payload,
)
from omp.rules.json_text import JsonError
from omp.tests.nexus.owner import Owner

OWNER = Owner(0xC057)
ALICE, BOB = "0x" + "a" * 40, "0x" + "b" * 40


class Payloads(unittest.TestCase):
    """What is signed (§3.4), and who is named (§3.1)."""

    def test_numbers_count_as_they_are_written(self) -> None:
        body = as_written(b'{"b":[1e-7,1e-07,-0,1.50,100000000000000000000],"auth":{"signature":"0x"}, "a":1E5}')
        self.assertEqual(payload(body, FORMS[0]), b'{"a":1E5,"b":[1e-7,1e-07,-0,1.50,100000000000000000000]}')
        self.assertEqual(
            payload(body, FORM_B),
            b'{"a": 1E5, "auth": {"signature": ""}, "b": [1e-7, 1e-07, -0, 1.50, 100000000000000000000]}',
        )

    def test_strings_count_as_they_are_written_too(self) -> None:
        first = rb'"b\u00E9":"a\/b \u0026 \\u00e9 \"q\" \uD83E\udd8a"'
        sent = b'{%b,"\\u0061":["\\n","x"],"auth":{"signature":"\\u0030x"}}' % first
        body = as_written(sent)
        self.assertEqual(body, json.loads(sent))
        _, _, w3 = FORMS[5:]
        self.assertEqual(payload(body, FORMS[5]), b'{"\\u0061":["\\n","x"],' + first + b"}")
        self.assertEqual(
            payload(body, FORMS[0]),
            json.dumps({"a": ["\n", "x"], "bé": body["bé"]}, ensure_ascii=False, separators=(",", ":")).encode(),
        )
        self.assertTrue(
            payload(body, w3).startswith(b'{"\\u0061": ["\\n", "x"], "auth": {"signature": ""}, "b\\u00E9": ')
        )

    def test_a_bearer_is_an_address_whatever_its_case(self) -> None:
        for field in (f"Bearer {ALICE}", f"bearer {ALICE}", "BEARER  0x" + "A" * 40):
            self.assertEqual(bearer(field), ALICE)
        for field in ("", "Bearer", "Bearer ", ALICE, f"Basic {ALICE}", f"Bearer {ALICE}, {BOB}", f"Bearer {ALICE}0"):
            with self.assertRaises(NotAuthenticated):
                bearer(field)


class Costs(unittest.TestCase):
    """A refusal costs in proportion to the body, whatever is in it (§10.6)."""

    def refuse(self, members: str) -> list[int]:
        """How many bytes each hash has that is computed to refuse a body with these members, and a wrong signature."""
        auth = f'"auth":{{"publicKey":"{OWNER.address}","signature":"{signature_text(OWNER.signature({}))}"}}'
        hashed = []

        def counted(data: bytes) -> bytes:
            hashed.append(len(data))
            return keccak256(data)

        with mock.patch("omp.protocols.nexus.signatures.keccak256", counted), self.assertRaises(NotAuthenticated):
            authenticate(f"{{{members},{auth}}}".encode(), OWNER.address)
        return hashed

    def test_no_text_of_more_than_64_kibibytes_is_hashed(self) -> None:
        order = '"\ue000":1,"🦊":2'  # the names of this object have two orders
        delete = "\x7f"  # one byte as it is, six when it is escaped
        for members, count in (
            (order, 7),
            (f'{order},"x":"{"x" * 60_000}"', 5),
            (f'{order},"x":"{delete * 10_000}"', 6),
            (f'{order},"x":"{delete * 60_000}"', 3),
            (f'{order},"x":[{",".join(["[]"] * 20_000)}]', 4),
        ):
            hashed = self.refuse(members)
            self.assertEqual(len(hashed), count, members[:40])
            self.assertLessEqual(max(hashed), MAX_SIGNED)

    def test_all_eight_payloads_together_are_bounded(self) -> None:
        # Names in two orders, a character with two spellings, an escape that no form by rule has: all eight differ.
        eight = '"":1,"🦊":2,"\\/":""'
        self.assertEqual(len(self.refuse(eight)), 9)
        for size in (30_000, 50_000, 65_000):
            hashed = self.refuse(f'{eight},"x":"{"x" * size}"')
            self.assertLessEqual(sum(hashed), MAX_SIGNED * 5 + MAX_BROKEN)
            self.assertEqual(len(hashed), 8 if size == 30_000 else 5)

        # Here two with strings as sent still fit, and the third, in which each comma has a space, does not.
        self.assertEqual(len(self.refuse(f'{eight},"x":[{",".join("1" * 17_000)}]')), 7)

    def test_a_text_that_is_written_in_few_ways_is_hashed_as_often(self) -> None:
        for members, count in (
            ('"a":"x"', 3),  # the A are one, B and W3 are one, and the broken form
            ('"a":"\\n"', 3),
            ('"a":"\\/"', 5),  # and W1, and W3
            ('"a":"é"', 5),  # literal and escaped, with spaces and without, and the broken form
            ('"a":"\\u00e9"', 4),
        ):
            self.assertEqual(len(self.refuse(members)), count, members)

    def test_a_form_that_is_left_out_is_named_in_the_refusal(self) -> None:
        body = {"overrides": {"friends_profile": "é" * 20_000}}
        escaped = json.dumps(body, separators=(",", ":"))
        self.assertGreater(len(escaped), MAX_SIGNED)
        signature = signature_text(sign_slowly(OWNER.secret, keccak256(escaped.encode())))
        sent = {**body, "auth": {"publicKey": OWNER.address, "signature": signature}}
        with self.assertRaisesRegex(NotAuthenticated, "if non-ASCII characters are escaped"):
            authenticate(json.dumps(sent, ensure_ascii=False).encode(), OWNER.address)

    def test_escaping_a_whole_text_is_what_json_dumps_does_with_its_strings(self) -> None:
        texts = ["", "\x00\x1f\n\x7f\x80é\u2028\ue000\uffff🦊", '"\\/u00e9 \\u00e9"', "é" * 3 + "\x7f" * 3 + "🦊" * 3]
        body = {text: [text, {}] for text in texts}
        for separators, form in (((",", ":"), FORMS[2]), ((", ", ": "), FORM_B)):
            expected = json.dumps({**body, "auth": {"signature": ""}} if form.layout.with_auth else body,
                                  sort_keys=True, separators=separators).encode()  # fmt: skip
            written = as_written(json.dumps({**body, "auth": {"signature": "0x"}}).encode())
            self.assertEqual(payload(written, form), expected)

    def test_the_broken_form_looks_at_each_name_a_few_times(self) -> None:
        looked = 0

        class Name(str):
            __slots__ = ()

            def __hash__(self) -> int:
                nonlocal looked
                looked += 1
                return super().__hash__()

        names = [Name(f"{number:x}") for number in range(2000)]
        body: dict[str, Any] = {name: [{}, {name: {}}] for name in names}
        looked = 0
        broken_payload(body)
        self.assertLess(looked, 20 * len(names))

    def test_numbers_are_bounded_as_in_every_body(self) -> None:
        for text in (b"1e999", b"[" + b"1" * 400 + b"]", b"NaN", b'{"a":1,"a":2}', b'"\\ud83e"', b"[" * 200):
            with self.assertRaises(JsonError):
                as_written(text)


if __name__ == "__main__":
    unittest.main()
