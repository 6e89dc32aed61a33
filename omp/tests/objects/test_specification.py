"""The worked example of SPEC.md (§9), recomputed from the time, the random bits and the body that it gives."""

from __future__ import annotations

import hashlib
import json
import re
import unittest

from omp.protocols.objects.record import new_id, new_record
from omp.protocols.objects.routes import cursor_after
from omp.rules.canonical import canonical_text
from omp.rules.encodings import b64u_decode, b64u_encode
from omp.rules.json_text import parse
from omp.tests import TOP

SPEC = TOP / "omp" / "protocols" / "objects" / "SPEC.md"


class WorkedExample(unittest.TestCase):
    NOW, RANDOM = 1_700_000_000_123_456, 0x0123456789ABCDEF

    def setUp(self) -> None:
        text = SPEC.read_text(encoding="utf-8")
        section = text[text.index("## 9.") : text.index("## 10.")]
        blocks = re.findall(r"^```text\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        lines = [line.partition("= ") for block in blocks for line in block.splitlines()]
        self.shown = {name.strip(): value for name, _, value in lines}
        (body,) = re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        self.sent = json.loads(body)
        names = self.sent["namespace"], self.sent["key"], self.sent["content"], self.sent["metadata"]
        self.record = new_record(self.NOW, new_id(self.NOW, self.RANDOM), *names, False)

    def test_the_time_and_the_random_bits_are_those_of_the_text(self) -> None:
        text = SPEC.read_text(encoding="utf-8")
        self.assertIn(f"created at {parse(self.record.body)['created_at']}, with the random bits", text)
        self.assertIn(f"0x{self.RANDOM:016x}", text)

    def test_the_object(self) -> None:
        self.assertEqual(self.record.id.decode(), self.shown["id"])
        self.assertEqual(str(self.record.deadline), self.shown["deadline"])
        self.assertEqual(self.record.body.decode(), self.shown["body"])

    def test_the_entity_tag_is_the_hash_of_the_canonical_form(self) -> None:
        canonical = canonical_text(parse(self.shown["body"].encode()), exact_integers=True)
        self.assertEqual(canonical, self.shown["canonical"])
        digest = hashlib.sha256(canonical.encode()).digest()
        self.assertEqual(digest.hex(), self.shown["sha256"])
        self.assertEqual(f'"{b64u_encode(digest)}"', self.shown["etag"])
        self.assertEqual(self.record.etag, self.shown["etag"])

    def test_the_cursor(self) -> None:
        place = bytes.fromhex(self.shown["id"].replace("-", ""))
        checksum = hashlib.sha256(b"omp cursor objects\0" + place).digest()[:8]
        self.assertEqual((place.hex(), checksum.hex()), (self.shown["place"], self.shown["checksum"]))
        self.assertEqual(cursor_after(self.shown["id"]), self.shown["cursor"])
        self.assertEqual(b64u_decode(self.shown["cursor"]), place + checksum)


if __name__ == "__main__":
    unittest.main()
