"""The pure parts of the objects API: ids, rows, cursors, entity tags (§2.2, §4.3, §5; RFC 9562, RFC 9110)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from omp.protocols.objects.collection import Collection
from omp.protocols.objects.record import Record, new_id, new_record, timestamp
from omp.protocols.objects.routes import cursor_after, id_in_cursor
from omp.rules.json_text import parse
from omp.store import open_store
from omp.web.messages import BadCursor, matches_strongly, matches_weakly


class Rules(unittest.TestCase):
    NOW = 1_645_557_742_000_000  # 2022-02-22T19:22:22Z, the time of RFC 9562, appendix A.6

    def test_an_id_has_the_layout_of_rfc_9562(self) -> None:
        self.assertEqual(new_id(self.NOW, 0x18C4DC0C0C07398F), "017f22e2-79b0-7000-98c4-dc0c0c07398f")

    def test_ids_sort_by_their_microsecond(self) -> None:
        times = [self.NOW + step for step in (0, 1, 2, 499, 500, 998, 999, 1000, 1001, 10**9)]
        ids = [new_id(now, random) for now, random in zip(times, [2**64 - 1, 0] * 5, strict=True)]
        self.assertEqual(ids, sorted(ids))
        self.assertEqual([timestamp(now) for now in times], sorted(timestamp(now) for now in times))

    def test_a_timestamp_is_rfc_3339_in_utc(self) -> None:
        self.assertEqual(timestamp(self.NOW + 1), "2022-02-22T19:22:22.000001Z")

    def test_the_etag_is_the_hash_of_the_canonical_object(self) -> None:
        record = new_record(self.NOW, new_id(self.NOW, 1), "ns", "é", {"b": [1.0, 2**60], "a": "ü"}, {}, False)
        canonical = json.dumps(parse(record.body), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(canonical.replace("1.0", "1").encode()).digest()
        self.assertEqual(record.etag, '"' + base64.urlsafe_b64encode(digest).decode().rstrip("=") + '"')

    def test_a_row_gives_back_what_it_was_made_of(self) -> None:
        record = new_record(
            self.NOW, new_id(self.NOW, 1), "ñs", "ké", {"c": "ü"}, {"omp.ttl_sec": 2, "omp.delete_on_read": True}, False
        )
        self.assertEqual((record.namespace.decode(), record.key.decode()), ("ñs", "ké"))
        self.assertTrue(record.has_key and record.last_read)
        self.assertEqual(record.deadline, self.NOW + 2_000_000)
        self.assertEqual(record.id.decode(), parse(record.summary)["id"])
        self.assertEqual(parse(record.body), {**parse(record.summary), "content": {"c": "ü"}})

    def test_threads_never_create_two_objects_with_one_id(self) -> None:
        store = open_store("memory")
        objects = Collection(store, time.time, os.urandom, False)
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda _: objects.create("ns", None, {}, {}).id, range(3000)))
        self.assertEqual(len(set(ids)), 3000)

    def test_a_later_id_has_no_earlier_time(self) -> None:
        made: list[Record] = []
        times = iter((2e9, 2e9 + 1))

        def clock() -> float:
            now = next(times)
            if now == 2e9:  # another thread comes between the reading and the id that is made of it
                other.start()
                other.join(0.05)
            return now

        objects = Collection(open_store("memory"), clock, os.urandom, False)
        other = threading.Thread(target=lambda: made.append(objects.create("ns", None, {}, {})))
        made.append(objects.create("ns", None, {}, {}))
        other.join()
        created = [parse(record.summary)["created_at"] for record in sorted(made, key=lambda record: record.id)]
        self.assertEqual(created, sorted(created))

    def test_a_cursor_gives_back_its_id_and_nothing_else_is_a_cursor(self) -> None:
        identifier = new_id(self.NOW, 5)
        self.assertEqual(id_in_cursor(cursor_after(identifier)), identifier)
        for wrong in ("", "A", "AAAA", "é" * 32, "A" * 32, cursor_after(identifier) + "\n", "=" * 32):
            with self.assertRaises(BadCursor):
                id_in_cursor(wrong)

    def test_entity_tags_compare_as_rfc_9110_says(self) -> None:
        # RFC 9110 §8.8.3.2, the table of examples: strong, then weak comparison.
        for field, etag, strongly, weakly in [
            ('W/"1"', '"1"', False, True),
            ('"1"', '"1"', True, True),
            ('"2"', '"1"', False, False),
            ('W/"2"', '"1"', False, False),
            ("*", '"1"', True, True),
            (' "2" ,"1"', '"1"', True, True),
            ('"2,"1""', '"1"', False, False),
            ("1", '"1"', False, False),
            ("", '"1"', False, False),
        ]:
            with self.subTest(field):
                self.assertEqual((matches_strongly(field, etag), matches_weakly(field, etag)), (strongly, weakly))


if __name__ == "__main__":
    unittest.main()
