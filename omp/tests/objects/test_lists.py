"""Lists and searches of objects, page by page (§4)."""

from __future__ import annotations

import re
import unittest
import unittest.mock
from collections.abc import Iterator
from urllib.parse import quote

from omp.protocols.objects import collection
from omp.protocols.objects.collection import ROWS_A_BLOCK
from omp.tests.objects.test_objects import Api, on_each_store


class Lists(Api):
    def pages(self, path: str) -> Iterator[list[str]]:
        """The ids of each page, following ``Link``."""
        next_path: str | None = path
        while next_path is not None:
            answer = self.call("GET", next_path, 200)
            self.assertEqual(set(answer.json), {"count", "items"})
            self.assertEqual(answer.json["count"], len(answer.json["items"]))
            yield [item["id"] for item in answer.json["items"]]
            link = re.fullmatch('<(.*)>; rel="next"', answer.headers.get("link", ""))
            next_path = link[1] if link else None
            self.assertEqual("omp-next-cursor" in answer.headers, link is not None)

    def test_a_list_is_in_the_order_of_creation_and_has_count_and_items_only(self) -> None:
        made = [self.create(key=str(number), metadata={"n": number}) for number in range(5)]
        answer = self.call("GET", "/objects", 200)
        self.assertEqual(answer.json, {"count": 5, "items": made})
        self.assertEqual(made, sorted(made, key=lambda one: (one["created_at"], one["id"])))
        self.assertNotIn("link", answer.headers)

    def test_objects_of_the_same_microsecond_are_in_the_order_of_their_ids(self) -> None:
        self.stop_clock()
        ids = self.create_many(30)
        self.assertEqual([one for page in self.pages("/objects?limit=7") for one in page], sorted(ids))

    def test_pages_hold_limit_items_and_lead_from_one_to_the_next(self) -> None:
        ids = self.create_many(120)
        for path, sizes in [
            ("/objects", [50, 50, 20]),
            ("/objects?limit=60", [60, 60]),
            ("/objects?limit=1000", [120]),
            ("/objects/search?namespace=ns&limit=100", [100, 20]),
            ("/objects/search?key_contains=key%201&limit=30", [30, 1]),
            ("/objects/search?namespace=ns&key_contains=key+1", [31]),
        ]:
            with self.subTest(path):
                pages = list(self.pages(path))
                self.assertEqual([len(page) for page in pages], sizes)
                found = [one for page in pages for one in page]
                self.assertEqual(found, [one for one in ids if one in set(found)])

    def test_a_page_ends_once_much_was_looked_at_for_it(self) -> None:
        ids = self.create_many(2 * ROWS_A_BLOCK + 10)
        for bound, value in (("LOOKED_ROWS", ROWS_A_BLOCK), ("LOOKED_BYTES", 100 * 300)):
            with self.subTest(bound), unittest.mock.patch.object(collection, bound, value):
                pages = list(self.pages("/objects/search?key_contains=key+1009"))
                self.assertGreater(len(pages), 2)
                self.assertEqual([one for page in pages for one in page], [ids[-1]])
                pages = list(self.pages("/objects?limit=1000"))
                self.assertEqual([one for page in pages for one in page], ids)
                self.assertEqual(sum(map(len, self.pages("/objects/search?namespace=ns&limit=1000"))), len(ids))

    def test_a_long_search_ends_when_nobody_waits(self) -> None:
        self.create_many(2 * ROWS_A_BLOCK + 10)
        asked: list[bool] = []

        class Gone(Exception):
            pass

        def require_client() -> None:
            asked.append(True)
            raise Gone

        with unittest.mock.patch.object(collection, "ASK_ROWS", ROWS_A_BLOCK):
            with self.assertRaises(Gone):
                self.objects.page(None, "nowhere", 10, None, require_client)
            self.objects.page(None, "key 1", 10, None, require_client)  # found in the first rows: nobody is asked
        self.assertEqual(asked, [True])

    def test_a_filter_longer_than_any_name_finds_nothing(self) -> None:
        self.create_many(3)
        for name in ("namespace", "key_contains"):
            answer = self.call("POST", "/objects/search", 200, {name: "k" * 2_000_000})
            self.assertEqual((answer.json["count"], "link" in answer.headers), (0, False))

    def test_a_list_continues_beyond_the_rows_of_one_transaction(self) -> None:
        ids = self.create_many(2 * ROWS_A_BLOCK + 10)
        self.assertEqual(list(self.pages("/objects/search?key_contains=key+1009")), [[ids[-1]]])
        self.assertEqual(list(self.pages("/objects/search?namespace=ns&key_contains=1009")), [[ids[-1]]])
        self.assertEqual([len(page) for page in self.pages("/objects?limit=1000")], [1000, 10])
        sizes = [len(page) for page in self.pages("/objects/search?key_contains=key&limit=500")]
        self.assertEqual(sizes, [500, 500, 10])

    def test_a_page_ends_early_where_its_items_are_large(self) -> None:
        for _ in range(5):
            self.objects.create("ns", None, {}, {"large": "x" * 2_500_000})
        self.assertEqual([len(page) for page in self.pages("/objects")], [4, 1])

    def test_inserts_and_deletes_between_pages_neither_repeat_nor_skip_an_object(self) -> None:
        ids = self.create_many(30)
        walk = self.pages("/objects?limit=10")
        seen = next(walk)
        for gone in (ids[0], seen[-1], ids[10], ids[15]):
            self.call("DELETE", "/objects/" + gone, 204)
        late = self.create_many(2)
        for page in walk:
            seen += page
        self.assertEqual(seen, ids[:10] + ids[11:15] + ids[16:] + late)

    def test_a_search_takes_each_filter_alone_and_both_together(self) -> None:
        for namespace, name in (("a", "one"), ("a", "two"), ("b", "one"), ("ab", "one"), ("a\0", "one")):
            self.create(namespace=namespace, key=name)
        by_id = self.create(namespace="a")
        for query, keys in [
            ("", ["one", "two", "one", "one", "one", by_id["id"]]),
            ("?namespace=&key_contains=", ["one", "two", "one", "one", "one", by_id["id"]]),
            ("?namespace=a", ["one", "two", by_id["id"]]),
            ("?namespace=c", []),
            ("?key_contains=tw", ["two"]),
            ("?key_contains=TW", []),
            (f"?key_contains={by_id['id'][9:]}", [by_id["id"]]),
            (f"?namespace=a&key_contains={by_id['id'][9:]}", [by_id["id"]]),
            ("?namespace=a&key_contains=o&limit=5", ["one", "two"]),
            ("?namespace=b&key_contains=tw", []),
            ("?unknown=1&namespace=b", ["one"]),
        ]:
            with self.subTest(query):
                answer = self.call("GET", "/objects/search" + query, 200)
                self.assertEqual([item["key"] for item in answer.json["items"]], keys)

    def test_a_search_looks_at_the_key_only(self) -> None:
        self.create({"needle": "needle"}, namespace="needle", key="k", metadata={"needle": "needle"})
        self.assertEqual(self.call("GET", "/objects/search?key_contains=needle", 200).json["count"], 0)

    def test_a_search_by_post_is_the_search_by_get(self) -> None:
        self.create_many(12)
        body = {"namespace": "ns", "key_contains": "1", "limit": 2}
        first = self.call("POST", "/objects/search", 200, body)
        self.assertEqual(first.json, self.call("GET", "/objects/search?namespace=ns&key_contains=1&limit=2", 200).json)
        second = self.call("POST", "/objects/search", 200, {**body, "cursor": first.headers["omp-next-cursor"]})
        self.assertEqual([item["key"] for item in second.json["items"]], ["key 11"])
        self.assertEqual(self.call("POST", "/objects/search", 200, {"cursor": None, "limit": None}).json["count"], 12)

    def test_a_limit_that_is_out_of_range_or_not_decimal_digits_is_400(self) -> None:
        for limit in ("0", "1001", "-1", "+5", "5.0", "abc", "", "1e2", "%205", "٣", "9" * 30, "5&limit=6"):
            for path in ("/objects", "/objects/search"):
                with self.subTest(limit=limit, path=path):
                    error = self.error(self.call("GET", f"{path}?limit={quote(limit, '&=%')}", 400))
                    self.assertEqual(error["details"]["errors"][0]["loc"], ["query", "limit"])
        others: list[object] = [0, 1001, "5", 1.5, True, []]
        for wrong in others:
            self.call("POST", "/objects/search", 400, {"limit": wrong})

    def test_an_empty_cursor_is_the_beginning(self) -> None:
        self.create_many(3)
        plain = self.call("GET", "/objects?limit=2", 200)
        for answer in (
            self.call("GET", "/objects?limit=2&cursor=", 200),
            self.call("GET", "/objects/search?limit=2&cursor=", 200),
            self.call("POST", "/objects/search", 200, {"limit": 2, "cursor": ""}),
        ):
            self.assertEqual(
                (answer.json, answer.headers["omp-next-cursor"]), (plain.json, plain.headers["omp-next-cursor"])
            )

    def test_any_change_to_a_cursor_is_400(self) -> None:
        self.create_many(3)
        cursor = self.call("GET", "/objects?limit=1", 200).headers["omp-next-cursor"]
        changed = {cursor[:-1], cursor + "A", cursor + "=", "x", cursor.lower(), cursor[::-1], "%00", cursor[:16]}
        for place, letter in enumerate(cursor):
            changed.add(cursor[:place] + ("A" if letter != "A" else "B") + cursor[place + 1 :])
        for other in changed - {cursor}:
            error = self.error(self.call("GET", "/objects?cursor=" + other, 400))
            self.assertEqual(error["details"]["errors"][0]["loc"], ["query", "cursor"])
        error = self.error(self.call("POST", "/objects/search", 400, {"cursor": "x"}))
        self.assertEqual(error["details"]["errors"][0]["loc"], ["body", "cursor"])
        self.call("GET", "/objects?cursor=" + cursor, 200)

    def test_search_is_a_route_not_an_id(self) -> None:
        for method, path in (("PUT", "/objects/search"), ("DELETE", "/objects/search"), ("DELETE", "/objects")):
            self.assertEqual(self.error(self.call(method, path, 405))["code"], "method_not_allowed")


CASES = (Lists,)


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """Each class with each storage."""
    return on_each_store(loader, CASES)


if __name__ == "__main__":
    unittest.main()
