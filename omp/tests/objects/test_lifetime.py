"""Objects that end by themselves, at their deadline or when read (§6), and objects that outlive the server."""

from __future__ import annotations

import os
import tempfile
import threading
import unittest
import unittest.mock
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from omp.protocols.objects import collection
from omp.protocols.objects.collection import BY_DEADLINE, ROWS_A_BLOCK
from omp.protocols.objects.record import Record
from omp.tests.harness import PATIENCE, Client, running_server
from omp.tests.objects.test_objects import Api, on_each_store

ONCE = {"omp.delete_on_read": True}


class TimeToLive(Api):
    def test_an_object_is_gone_everywhere_from_its_deadline_on(self) -> None:
        clock = self.stop_clock()
        made = self.create(key="k", metadata={"omp.ttl_sec": 60})
        stays = self.create(key="k")
        path = "/objects/" + made["id"]
        clock.now += 59.9
        self.assertEqual(self.call("GET", path, 200).json["metadata"], {"omp.ttl_sec": 60})
        clock.now += 0.1
        for method, body in (("GET", ...), ("HEAD", ...), ("DELETE", ...), ("PUT", {"content": {}})):
            self.call(method, path, 404, body)
        for query in ("/objects", "/objects/search?namespace=ns", "/objects/search?key_contains=k"):
            self.assertEqual([item["id"] for item in self.call("GET", query, 200).json["items"]], [stays["id"]])

    def test_a_key_whose_object_has_expired_is_free_again(self) -> None:
        clock = self.stop_clock()
        self.create(key="k", metadata={"omp.ttl_sec": 1})
        clock.now += 1
        self.create(key="k", headers={"If-None-Match": "*"})

    def test_many_expired_objects_with_one_key_are_removed_in_several_steps(self) -> None:
        clock = self.stop_clock()
        only_new = {"If-None-Match": "*"}
        for name in ("a", "b", "c"):
            for _ in range(7):
                self.create(key=name, metadata={"omp.ttl_sec": 1})
        clock.now += 1
        for name, bound, value in (("a", "ROWS_A_BLOCK", 3), ("b", "BLOCK_BYTES", 1)):
            with unittest.mock.patch.object(collection, bound, value):
                made = self.create(key=name, headers=only_new)
                self.call("POST", "/objects", 409, {"namespace": "ns", "key": name, "content": {}}, only_new)
                self.assertEqual(self.call("GET", f"/objects/{made['id']}", 200).json["key"], name)
        with unittest.mock.patch.object(collection, "BLOCK_BYTES", 1):
            self.objects.housekeep(clock.now)
        self.assertEqual(self.call("GET", "/objects", 200).json["count"], 2)

    def test_housekeeping_deletes_the_rows_of_expired_objects_only(self) -> None:
        clock = self.stop_clock()
        for _ in range(ROWS_A_BLOCK + 5):
            self.objects.create("ns", "k", {}, {"omp.ttl_sec": 5})
        stays = self.objects.create("ns", "k", {}, {"omp.ttl_sec": 100})
        self.objects.housekeep(clock.now + 4.9)
        self.assertEqual(self.counts(), [ROWS_A_BLOCK + 6] * 4)
        self.objects.housekeep(clock.now + 5)
        self.assertEqual(self.counts(), [1] * 4)
        self.call("GET", "/objects/" + stays.id.decode(), 200)

    def test_replace_keeps_the_deadline_without_metadata_and_restarts_it_with_them(self) -> None:
        clock = self.stop_clock()
        path = "/objects/" + self.create(metadata={"omp.ttl_sec": 10})["id"]
        clock.now += 9
        self.call("PUT", path, 200, {"content": {}, "metadata": {"omp.ttl_sec": 10}})
        clock.now += 9
        self.call("PUT", path, 200, {"content": {"x": 2}})
        self.objects.housekeep(clock.now)
        self.call("GET", path, 200)
        clock.now += 1
        self.call("GET", path, 404)

    def test_metadata_without_a_time_to_live_remove_the_deadline(self) -> None:
        clock = self.stop_clock()
        path = "/objects/" + self.create(metadata={"omp.ttl_sec": 10})["id"]
        self.call("PUT", path, 200, {"content": {}, "metadata": {}})
        clock.now += 11
        self.assertEqual(self.counts()[3], 0)
        self.objects.housekeep(clock.now)
        self.call("GET", path, 200)

    def test_a_new_deadline_replaces_the_row_of_the_old_one(self) -> None:
        path = "/objects/" + self.create(metadata={"omp.ttl_sec": 10})["id"]
        self.call("PUT", path, 200, {"content": {}, "metadata": {"omp.ttl_sec": 20}})
        self.assertEqual(self.counts()[3], 1)

    def test_an_object_given_more_time_during_housekeeping_stays(self) -> None:
        clock = self.stop_clock()
        made = self.objects.create("ns", "k", {}, {"omp.ttl_sec": 10})
        path = "/objects/" + made.id.decode()
        store = self.server.parts.store
        write = store.write

        def after_another_write() -> Any:
            store.write = write  # type: ignore[method-assign]
            self.objects.replace(made.id.decode(), {"x": 2}, {"omp.ttl_sec": 100}, lambda _: True)
            return write()

        store.write = after_another_write  # type: ignore[method-assign]
        self.objects.housekeep(clock.now + 10)
        clock.now += 11
        self.assertEqual(self.call("GET", path, 200).json["content"], {"x": 2})

    def test_an_enormous_time_to_live_never_ends(self) -> None:
        made = self.create(metadata={"omp.ttl_sec": 10**300})
        self.call("GET", "/objects/" + made["id"], 200)

    def test_deleting_an_object_leaves_no_row(self) -> None:
        for metadata in ({}, {"omp.ttl_sec": 9}):
            for name in (None, "k"):
                made = self.create(metadata=metadata, key=name)
                self.call("DELETE", "/objects/" + made["id"], 204)
                self.assertEqual(self.counts(), [0] * 4)

    def test_reading_an_object_for_the_last_time_leaves_no_row(self) -> None:
        made = self.create(key="k", metadata={"omp.ttl_sec": 9, "omp.delete_on_read": True})
        self.call("GET", "/objects/" + made["id"], 200)
        self.assertEqual(self.counts(), [0] * 4)


class DeleteOnRead(Api):
    def test_the_first_get_is_the_last(self) -> None:
        made = self.create({"secret": 1}, metadata=ONCE)
        answer = self.call("GET", "/objects/" + made["id"], 200)
        self.assertEqual(answer.json, {**made, "content": {"secret": 1}})
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.call("GET", "/objects/" + made["id"], 404)
        self.assertEqual(self.call("GET", "/objects", 200).json["count"], 0)

    def test_of_concurrent_gets_exactly_one_is_answered(self) -> None:
        for _ in range(3):
            path = "/objects/" + self.create(metadata=ONCE)["id"]
            start = threading.Barrier(12)

            def get(number: int, path: str = path, start: threading.Barrier = start) -> int:
                with Client(self.server.port) as client:
                    start.wait(PATIENCE)
                    return client.request("GET", path).status

            with ThreadPoolExecutor(12) as pool:
                self.assertEqual(sorted(pool.map(get, range(12))), [200] + [404] * 11)

    def test_head_lists_replace_and_304_do_not_use_it_up(self) -> None:
        made = self.create(metadata=ONCE)
        path = "/objects/" + made["id"]
        etag = self.call("HEAD", path, 200).headers["etag"]
        self.call("GET", path, 304, headers={"If-None-Match": etag})
        unread = self.call("GET", path, 412, headers={"If-Match": '"other"'})
        self.assertEqual((unread.headers["etag"], unread.headers["cache-control"]), (etag, "no-store"))
        self.call("DELETE", path, 412, headers={"If-None-Match": "*"})
        self.call("GET", "/objects", 200)
        self.call("PUT", path, 200, {"content": {"x": 2}})
        self.assertEqual(self.call("GET", path, 200, headers={"If-None-Match": etag}).json["content"], {"x": 2})
        self.call("HEAD", path, 404)

    def test_a_replacement_during_a_read_can_make_the_object_stay(self) -> None:
        path = "/objects/" + self.create(metadata=ONCE)["id"]
        find = self.objects.find

        def find_and_replace(identifier: str) -> Record:
            found = find(identifier)
            self.objects.find = find  # type: ignore[method-assign]
            self.objects.replace(identifier, {"x": 2}, {}, lambda _: True)
            return found

        self.objects.find = find_and_replace  # type: ignore[method-assign]
        for _ in range(2):
            self.assertEqual(self.call("GET", path, 200).json["content"], {"x": 2})

    def test_the_metadata_of_a_replacement_decide_anew(self) -> None:
        path = "/objects/" + self.create(metadata=ONCE)["id"]
        self.call("PUT", path, 200, {"content": {}, "metadata": {}})
        self.call("GET", path, 200)
        self.call("PUT", path, 200, {"content": {}, "metadata": ONCE})
        self.call("GET", path, 200)
        self.call("GET", path, 404)


class DeleteOnReadByDefault(Api):
    environ: ClassVar[dict[str, str]] = {"OMP_DELETE_ON_READ_DEFAULT": "1"}

    def test_without_the_member_an_object_is_gone_after_its_first_get(self) -> None:
        path = "/objects/" + self.create()["id"]
        self.call("GET", path, 200)
        self.call("GET", path, 404)

    def test_an_explicit_false_wins(self) -> None:
        path = "/objects/" + self.create(metadata={"omp.delete_on_read": False})["id"]
        for _ in range(2):
            self.call("GET", path, 200)


class Restart(unittest.TestCase):
    def test_objects_their_order_and_their_deadlines_are_there_after_a_restart(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            storage = f"sqlite:{os.path.join(folder, 'omp.db')}"
            with running_server(storage=storage) as first, Client(first.port) as client:
                posted = [{"namespace": "ns", "key": f"k{n}", "content": {"n": n}} for n in range(5)]
                posted.append({"namespace": "ns", "content": {}, "metadata": {"omp.ttl_sec": 10**6}})
                made = [client.request("POST", "/objects", body) for body in posted]
                page = client.request("GET", "/objects?limit=2")
            with running_server(storage=storage) as second, Client(second.port) as client:
                for answer, body in zip(made, posted, strict=True):
                    again = client.request("GET", answer.headers["location"])
                    self.assertEqual(again.json, {**answer.json, "content": body["content"]})
                    self.assertEqual(again.headers["etag"], answer.headers["etag"])
                rest = client.request("GET", "/objects?cursor=" + page.headers["omp-next-cursor"])
                self.assertEqual([item["id"] for item in rest.json["items"]], [one.json["id"] for one in made[2:]])
                with second.parts.store.read() as tx:
                    self.assertEqual(tx.count(BY_DEADLINE), 1)


CASES = (TimeToLive, DeleteOnRead, DeleteOnReadByDefault)


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """Each class with each storage; the restart with the durable one only."""
    suite = on_each_store(loader, CASES)
    suite.addTests(loader.loadTestsFromTestCase(Restart))
    return suite


if __name__ == "__main__":
    unittest.main()
