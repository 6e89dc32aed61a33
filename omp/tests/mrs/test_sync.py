"""The change feed, snapshots, export and import (§11, §12.3, §12.4)."""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omp.protocols.mrs.registration import read_claim
from omp.protocols.mrs.registry import BadSince, Registry, Since, read_since
from omp.store import open_store
from omp.store.memory import MemoryStore
from omp.store.port import Store
from omp.tests import long
from omp.tests.harness import running_server
from omp.tests.mrs.parties import OPERA, RegistryCase, User, claim

_WHEN = "2026-03-07T00:00:00Z"


class Follower:
    """Follows the feed by its cursor, and keeps what it was told."""

    def __init__(self, user: User, limit: int = 100) -> None:
        self.user = user
        self.limit = limit
        self.cursor = ""
        self.live: dict[str, Any] = {}
        self.tombstones: dict[str, Any] = {}
        self.told: list[tuple[str, int]] = []

    def step(self) -> int:
        """Read a page; how many changes it held."""
        page = self.user.request("GET", f"/sync/changes?since={self.cursor}&limit={self.limit}").json
        for one in page["registrations"]:
            self.told.append((one["id"], one["version"]))
            self.live[one["id"]] = one
        for one in page["tombstones"]:
            self.told.append((one["origin_id"], one["version"]))
            self.live.pop(one["origin_id"], None)
            self.tombstones[one["origin_id"]] = one
        self.cursor = page["next_cursor"]
        return len(page["registrations"]) + len(page["tombstones"])

    def catch_up(self) -> None:
        while self.step():
            assert len(self.told) < 5000, "the feed repeats itself: no test makes so many changes"


class Feed(RegistryCase):
    def follower(self, limit: int = 100) -> Follower:
        """One that has seen what there is by now."""
        follower = Follower(self.stranger, limit)
        follower.catch_up()
        follower.told.clear()
        return follower

    def test_each_change_is_told_once_whatever_the_limit(self) -> None:
        for limit in (1, 2, 7, 1000):
            follower = self.follower(limit)
            made = [self.mark.register(claim(10 + limit / 1000, n))["id"] for n in range(9)]
            follower.catch_up()
            self.assertEqual(follower.told, [(name, 1) for name in made])

    def test_a_registration_is_told_at_its_latest_change(self) -> None:
        follower = self.follower()
        one, other = self.mark.register(claim(20, 20)), self.mark.register(claim(20, 21))
        self.mark.request("PUT", f"/register/{one['id']}", claim(20, 22))
        follower.catch_up()
        self.assertEqual(follower.told, [(other["id"], 1), (one["id"], 2)])

    def test_a_release_leaves_a_tombstone(self) -> None:
        follower = self.follower()
        one = self.mark.register(claim(21, 21))
        follower.catch_up()
        self.mark.request("POST", "/release", {"id": one["id"]})
        follower.catch_up()
        tombstone = follower.tombstones[one["id"]]
        self.assertRegex(tombstone.pop("deleted_at"), r"Z\Z")
        self.assertEqual(tombstone, {"origin_server": self.server.url, "origin_id": one["id"], "version": 2})

    def test_an_empty_page_keeps_the_cursor(self) -> None:
        follower = self.follower()
        cursor = follower.cursor
        self.assertEqual((follower.step(), follower.cursor), (0, cursor))

    def test_a_time_is_a_position_in_the_feed(self) -> None:
        before = self.mark.register(claim(22, 22))
        time.sleep(1.1)  # times have whole seconds
        one = self.mark.register(claim(22, 23))
        for moment in (
            one["updated"],
            quote(one["updated"].replace("Z", "+00:00")),
            one["updated"].replace("Z", "+00:00"),
        ):
            page = self.stranger.request("GET", f"/sync/changes?since={moment}").json
            told = [each["id"] for each in page["registrations"]]
            self.assertIn(one["id"], told)
            self.assertNotIn(before["id"], told)
        self.assertEqual(self.stranger.request("GET", "/sync/changes?since=2099-01-01").json["registrations"], [])

    def test_nothing_is_skipped_after_a_time_that_is_ahead(self) -> None:
        self.mark.register(claim(25, 1))
        ahead = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        for number, moment in enumerate((ahead, "2099-01-01", "9999-12-31T23:59:59Z")):
            page = self.stranger.request("GET", f"/sync/changes?since={moment}").json
            self.assertEqual((page["registrations"], page["tombstones"]), ([], []))
            one = self.mark.register(claim(25, 2 + number))
            page = self.stranger.request("GET", f"/sync/changes?since={page['next_cursor']}").json
            self.assertEqual([each["id"] for each in page["registrations"]], [one["id"]])

    def test_a_cursor_that_is_ahead_is_400_and_says_how_to_go_on(self) -> None:
        follower = self.follower()
        newest = int(follower.cursor)
        for cursor in (newest + 1, newest + 3_600_000_000, 10**18 - 1):
            sentence = self.refused(self.stranger.request("GET", f"/sync/changes?since={cursor}"), 400, "begin again")
            self.assertIn("empty since", sentence)
        page = self.stranger.request("GET", f"/sync/changes?since={newest}").json
        self.assertEqual((page["registrations"], page["next_cursor"]), ([], str(newest)))

    def test_a_page_has_up_to_5000_changes(self) -> None:
        page = self.stranger.request("GET", "/sync/changes?limit=5000")
        self.assertEqual((page.status, next(iter(page.json)), page.json["status"]), (200, "status", "ok"))
        self.refused(self.stranger.request("GET", "/sync/changes?limit=5001"), 400)
        self.refused(self.stranger.request("GET", "/sync/snapshot?limit=1001"), 400)

    def test_an_empty_position_is_the_beginning(self) -> None:
        self.mark.register(claim(26, 1))
        for path in ("/sync/changes?since=", "/sync/snapshot?cursor=", "/registrations?cursor="):
            whole = self.mark.request("GET", path.partition("?")[0])
            self.assertEqual((whole.status, self.mark.request("GET", path).body), (200, whole.body))

    def test_bad_queries_are_400(self) -> None:
        for query in (
            "since=yesterday",
            "since=-1",
            "since=" + "9" * 30,
            "limit=0",
            "limit=5001",
            "limit=x",
            "since=1&since=2",
        ):
            self.refused(self.stranger.request("GET", f"/sync/changes?{query}"), 400)
        self.refused(self.stranger.request("GET", "/sync/snapshot?limit=0"), 400)

    def test_a_snapshot_has_everything_once(self) -> None:
        made = {self.mark.register(claim(23, n))["id"] for n in range(7)}
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.stranger.request("GET", f"/sync/snapshot?limit=3&cursor={cursor}").json
            seen += [one["id"] for one in page["registrations"]]
            cursor = page["next_cursor"]
        self.assertEqual(len(seen), len(set(seen)))
        self.assertLessEqual(made, set(seen))
        self.assertEqual(self.stranger.request("GET", "/sync/snapshot").json["status"], "ok")


class FeedUnderLoad(unittest.TestCase):
    """Eight callers register and release while a follower reads: nothing missed, nothing twice."""

    def check(self, storage: str, each: int) -> None:
        """Each caller registers `each` times (an odd number) and releases every second one."""
        with running_server(storage=storage) as server:
            users = [User(server.port) for _ in range(8)]
            with User.new(server.port, "mark") as mark, User(server.port) as reader:
                follower = Follower(reader, 17)
                threads = [
                    threading.Thread(target=self.work, args=(user, mark.token, n, each)) for n, user in enumerate(users)
                ]
                for thread in threads:
                    thread.start()
                while any(thread.is_alive() for thread in threads):
                    follower.step()
                follower.catch_up()
                left = mark.request("GET", "/registrations").json["registrations"]
            for user in users:
                user.close()
        self.assertEqual(len(follower.told), len(set(follower.told)))
        self.assertEqual(follower.live, {one["id"]: one for one in left})
        self.assertEqual((len(left), len(follower.tombstones)), (8 * (each // 2 + 1), 8 * (each // 2)))

    def work(self, user: User, token: str, number: int, each: int) -> None:
        user.token = token
        for step in range(each):
            made = user.register(claim(number, step))
            if step % 2:
                assert user.request("POST", "/release", {"id": made["id"]}).status == 200

    def check_sqlite(self, each: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.check(f"sqlite:{Path(folder) / 'mrs.db'}", each)

    def test_in_memory(self) -> None:
        self.check("memory", 25)

    def test_in_sqlite(self) -> None:
        self.check_sqlite(25)

    @long
    def test_1000_changes_in_memory(self) -> None:
        self.check("memory", 125)

    @long
    def test_1000_changes_in_sqlite(self) -> None:
        self.check_sqlite(125)


class SequenceNumbers(unittest.TestCase):
    """The feed on a clock that jumps."""

    def follow(self, store: Store) -> None:
        now = 1_800_000_000.0
        registry = Registry(store, lambda: now, random.Random(1).randbytes, "https://a.example")
        mark = "mark@a.example"
        told = []
        cursor = 0
        for step, jump in enumerate((0, 0, -3600, 0, 7200, -1, 0)):
            now += jump
            name = json.loads(registry.register(mark, read_claim(claim(step, step))))["id"]
            # What stood last in the feed goes, and something else comes: it must come later.
            for change in (
                lambda: None,
                lambda: registry.update(mark, name, read_claim(claim(step, step, 60))),  # noqa: B023 - called at once
                lambda: registry.release(mark, name),  # noqa: B023
            ):
                change()
                page = registry.changes(Since(cursor + 1), 10)
                told.append((len(page.registrations), len(page.tombstones)))
                self.assertGreater(page.last, cursor)
                cursor = page.last
        self.assertEqual(told, [(1, 0), (1, 0), (0, 1)] * 7)

    def test_before_the_first_change_every_position_is_the_beginning(self) -> None:
        registry = Registry(MemoryStore(), lambda: 1_800_000_000.0, random.Random(1).randbytes, "https://a.example")
        for text in ("", "0", "1970-01-01", "1970-01-01T00:00:00Z", "2099-01-01"):
            self.assertEqual(registry.changes(read_since(text), 10), ([], [], 0), text)
        with self.assertRaises(BadSince):
            registry.changes(read_since("1"), 10)
        made = json.loads(registry.register("mark@a.example", read_claim(claim(1, 1))))["id"]
        page = registry.changes(Since(1), 10)
        self.assertEqual([json.loads(text)["id"] for text in page.registrations], [made])

    def test_the_feed_is_bounded_where_its_last_number_is_not_kept_apart(self) -> None:
        store = MemoryStore()
        registry = Registry(store, lambda: 1_800_000_000.0, random.Random(1).randbytes, "https://a.example")
        registry.register("mark@a.example", read_claim(claim(1, 1)))
        with store.write() as tx:  # a file of an earlier version
            tx.delete("mrs_state", b"sequence")
        for text in ("2099-01-01", "1800000000000000"):
            self.assertEqual(registry.changes(read_since(text), 10), ([], [], 1_800_000_000_000_000))

    def test_they_rise_whatever_the_clock_does(self) -> None:
        self.follow(MemoryStore())

    def test_they_rise_in_a_durable_store_too(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = open_store(f"sqlite:{Path(folder) / 'mrs.db'}")
            self.addCleanup(store.close)
            self.follow(store)


class ExportAndImport(unittest.TestCase):
    def exported(self, user: User) -> Any:
        document = user.request("GET", "/admin/export").json
        self.assertEqual(list(document)[:3], ["mrs_version", "exported_at", "server"])
        self.assertRegex(document.pop("exported_at"), r"Z\Z")
        self.assertRegex(document.pop("server"), r"\Ahttp://127.0.0.1:\d+\Z")
        self.assertEqual(document["mrs_version"], "0.5.0")
        return document

    def filled(self, user: User) -> Any:
        made = [user.register(claim(n, n)) for n in range(6)]
        user.request("PUT", f"/register/{made[0]['id']}", claim(0, 0, 99))
        user.request("POST", "/release", {"id": made[1]["id"]})
        user.request("POST", "/register", {"space": claim(9, 9)["space"], "foad": True})
        vertices = [{"lat": 1, "lon": 1}, {"lat": 1, "lon": 2}, {"lat": 2, "lon": 1, "ele": 3.5}]
        user.register({**claim(), "space": {"type": "polygon", "vertices": vertices, "height": 4}})
        user.request("POST", "/admin/peers", {"action": "add", "server_url": "https://p.example", "hint": "p"})
        return self.exported(user)

    def test_export_import_export_gives_the_same_document(self) -> None:
        with running_server() as first, User.new(first.port, "mark") as user:
            document = self.filled(user)
        self.assertEqual([len(document[name]) for name in ("registrations", "tombstones", "peers")], [7, 1, 1])
        with running_server() as second, User(second.port) as operator:
            answer = operator.request("POST", "/admin/import", document)
            self.assertEqual((answer.status, answer.json["registrations"]), (200, 7))
            self.assertEqual(self.exported(operator), document)
            operator.request("POST", "/admin/import", document)
            self.assertEqual(self.exported(operator), document)
            self.assertEqual(len(operator.search(0, 0, 10)["results"]), 1)
            follower = Follower(operator)
            follower.catch_up()
            self.assertEqual((len(follower.live), len(follower.tombstones)), (7, 1))

    def test_what_originates_elsewhere_is_changed_there(self) -> None:
        with running_server({"MRS_SERVER_DOMAIN": "a.example"}) as first, User.new(first.port, "mark") as user:
            made = user.register(claim(1, 1))
            document = self.exported(user)
        with running_server({"MRS_SERVER_DOMAIN": "a.example"}) as second, User.new(second.port, "mark") as user:
            user.request("POST", "/admin/import", document)
            for answer in (
                user.request("PUT", f"/register/{made['id']}", claim(1, 2)),
                user.request("POST", "/register", {**claim(1, 2), "id": made["id"]}),
                user.request("POST", "/release", {"id": made["id"]}),
            ):
                self.assertEqual((answer.status, list(answer.json)), (409, ["detail"]))
                detail = answer.json["detail"]
                self.assertIn(f"at {first.url}, as {made['id']}", detail.pop("message"))
                where = {"origin_server": first.url, "origin_id": made["id"]}
                self.assertEqual(detail, {"error": "not_authoritative", **where})
            (hit,) = user.search(1, 1, 10)["results"]
            self.assertEqual((hit["origin_server"], hit["origin_id"]), (first.url, made["id"]))

    def test_the_higher_version_wins(self) -> None:
        with running_server() as server, User.new(server.port, "mark") as user:
            made = user.register(claim(1, 1))
            older = {"registrations": [{**made, "space": claim(5, 5)["space"]}]}
            user.request("POST", "/admin/import", older)
            self.assertEqual(len(user.search(1, 1, 10)["results"]), 1)
            newer = {"registrations": [{**made, "space": claim(5, 5)["space"], "version": 2}]}
            user.request("POST", "/admin/import", newer)
            self.assertEqual((user.search(1, 1, 10)["results"], len(user.search(5, 5, 10)["results"])), ([], 1))
            tombstone = {
                "origin_server": server.url,
                "origin_id": made["id"],
                "version": 3,
                "deleted_at": made["updated"],
            }
            user.request("POST", "/admin/import", {"tombstones": [{**tombstone, "version": 2}]})
            self.assertEqual(len(user.search(5, 5, 10)["results"]), 1)
            user.request("POST", "/admin/import", {"tombstones": [tombstone]})
            self.assertEqual(user.search(5, 5, 10)["results"], [])
            user.request("POST", "/admin/import", newer)
            self.assertEqual(user.search(5, 5, 10)["results"], [])
            newest = {"registrations": [{**made, "space": claim(6, 6)["space"], "version": 4}]}
            user.request("POST", "/admin/import", newest)
            document = self.exported(user)
            self.assertEqual([len(document[name]) for name in ("registrations", "tombstones")], [1, 0])
            follower = Follower(user)
            follower.catch_up()
            self.assertEqual(follower.told, [(made["id"], 4)])

    def test_a_registration_is_known_by_its_origin_whatever_id_it_was_given(self) -> None:
        with running_server() as server, User.new(server.port, "mark") as user:
            origin = {"origin_server": "https://elsewhere.example", "origin_id": "reg_there"}
            body = {**claim(1, 1), "owner": "ann@elsewhere.example", "created": "2026-01-01", "updated": "2026-01-01"}
            first = {**body, **origin, "id": "reg_here", "version": 1}
            again = {**body, **origin, "id": "reg_anew", "version": 2}
            user.request("POST", "/admin/import", {"registrations": [first]})
            user.request("POST", "/admin/import", {"registrations": [again, first]})
            self.assertEqual([one["id"] for one in self.exported(user)["registrations"]], ["reg_anew"])
            tombstone = {**origin, "version": 3, "deleted_at": "2026-01-02"}
            user.request("POST", "/admin/import", {"tombstones": [tombstone]})
            document = self.exported(user)
            self.assertEqual((document["registrations"], document["tombstones"]), ([], [tombstone]))
            self.assertEqual(user.search(1, 1, 10)["results"], [])

    def test_the_export_of_a_published_server_is_imported(self) -> None:
        # As its GET /admin/export writes it: rows of its earlier versions have an empty origin; regions may be null.
        exported = {
            "mrs_version": "0.5.0",
            "exported_at": "2026-03-07T12:00:00.000000+00:00",
            "server": "https://owen.iz.net",
            "registrations": [
                {
                    "id": "reg_a1b2c3d4e5f6",
                    "owner": "mark@owen.iz.net",
                    "space": {"type": "sphere", "center": {"lat": -33.8594, "lon": 151.2, "ele": 10.0}, "radius": 50.0},
                    "service_point": "https://example.com/spaces/opera",
                    "foad": False,
                    "origin_server": "",
                    "origin_id": "reg_a1b2c3d4e5f6",
                    "version": 1,
                    "created": "2026-01-15T10:30:00.123456+00:00",
                    "updated": "2026-01-15T10:30:00.123456+00:00",
                },
                {
                    "id": "reg_test12345678",
                    "owner": "admin@owen.iz.net",
                    "space": {"type": "sphere", "center": {"lat": -33.8568, "lon": 151.2153, "ele": 0}, "radius": 50},
                    "service_point": None,
                    "foad": True,
                    "created": "2026-03-07T00:00:00+00:00",
                    "updated": "2026-03-07T00:00:00+00:00",
                },
            ],
            "tombstones": [
                {
                    "origin_server": "",
                    "origin_id": "reg_gone",
                    "version": 2,
                    "deleted_at": "2026-02-01T08:00:00+00:00",
                }
            ],
            "peers": [
                {
                    "server_url": "https://sydney.mrs.example",
                    "hint": None,
                    "last_seen": None,
                    "is_configured": True,
                    "authoritative_regions": None,
                }
            ],
        }
        environ = {"MRS_SERVER_URL": "https://owen.iz.net"}
        with running_server(environ) as server, User(server.port) as operator:
            answer = operator.request("POST", "/admin/import", exported)
            counts = {"registrations": 2, "tombstones": 1, "peers": 1}
            none = {"registrations": 0, "tombstones": 0}
            self.assertEqual((answer.status, answer.json), (200, {"status": "imported", **counts, "skipped": none}))
            document = operator.request("GET", "/admin/export").json
            self.assertEqual(document["server"], "https://owen.iz.net")
            for one in (*document["registrations"], *document["tombstones"]):
                self.assertEqual(one["origin_server"], "https://owen.iz.net")
            self.assertEqual([one["version"] for one in document["registrations"]], [1, 1])
            (peer,) = document["peers"]
            self.assertEqual((peer["hint"], peer["last_seen"], peer["authoritative_regions"]), (None, None, []))
            again = operator.request("POST", "/admin/import", exported).json
            self.assertEqual(again["skipped"], {"registrations": 2, "tombstones": 1})
            self.assertEqual({name: again[name] for name in counts}, counts)

    def test_null_is_absent_and_a_server_has_one_text(self) -> None:
        space = {"type": "sphere", "center": {"lat": 10, "lon": 20, "ele": 0}, "radius": 5}
        point = {"service_point": "https://example.com"}
        bare = {"owner": "mark@owen.iz.net", "space": space, "created": _WHEN, "updated": _WHEN, **point}
        nulls = dict.fromkeys(("foad", "origin_server", "origin_id", "version"))
        with running_server({"MRS_SERVER_URL": "https://owen.iz.net"}) as server, User(server.port) as operator:
            registrations = [
                {**bare, **nulls, "id": "reg_nulls"},
                {**bare, "id": "reg_slash", "origin_server": "HTTPS://Owen.iz.net:443/", "version": 1},
            ]
            exported = {
                "registrations": registrations,
                "tombstones": [{"origin_server": None, "origin_id": "reg_gone", "version": 2, "deleted_at": _WHEN}],
            }
            self.assertEqual(operator.request("POST", "/admin/import", exported).status, 200)
            document = operator.request("GET", "/admin/export").json
            for one in (*document["registrations"], *document["tombstones"]):
                self.assertEqual(one["origin_server"], "https://owen.iz.net")
            registrations[1]["origin_server"] = "owen.iz.net"
            refused = operator.request("POST", "/admin/import", exported)
            self.assertEqual(refused.status, 400)
            self.assertIn("registrations.1: origin_server must be an absolute", refused.json["detail"])

    def test_what_an_import_does_not_say_of_a_peer_stays(self) -> None:
        with running_server() as server, User(server.port) as operator:
            url = {"server_url": "https://p.example"}
            known = {**url, "hint": "p", "last_seen": "2026-01-01T00:00:00Z", "authoritative_regions": [OPERA]}
            operator.request("POST", "/admin/peers", {"action": "add", **known})
            nulls = {"hint": None, "last_seen": None, "authoritative_regions": None}
            for said in (url, {**url, **nulls}, {**url, **nulls, "is_configured": False}):
                self.assertEqual(operator.request("POST", "/admin/import", {"peers": [said]}).status, 200)
                self.assertEqual(self.exported(operator)["peers"], [{**known, "is_configured": True}])
            operator.request("POST", "/admin/import", {"peers": [{**url, "hint": "q", "authoritative_regions": []}]})
            (peer,) = self.exported(operator)["peers"]
            self.assertEqual((peer["hint"], peer["authoritative_regions"]), ("q", []))

    def test_what_is_older_than_what_is_kept_is_counted_apart(self) -> None:
        with running_server() as server, User.new(server.port, "mark") as user:
            made, other = user.register(claim(1, 1)), user.register(claim(2, 2))
            user.request("POST", "/release", {"id": made["id"]})
            (stone,) = self.exported(user)["tombstones"]
            fresh = {**other, "id": "reg_fresh", "origin_id": "reg_fresh"}
            document = {
                "registrations": [made, other, {**other, "version": 2}, fresh],
                "tombstones": [stone, {**stone, "version": 3}, {**stone, "origin_id": "reg_fresh", "version": 1}],
            }
            answer = user.request("POST", "/admin/import", document).json
            self.assertEqual((answer["registrations"], answer["tombstones"]), (4, 3))
            self.assertEqual(answer["skipped"], {"registrations": 2, "tombstones": 2})

    def test_an_id_that_another_servers_registration_has_is_400(self) -> None:
        with running_server() as server, User.new(server.port, "mark") as user:
            made = user.register(claim(1, 1))
            before = self.exported(user)
            fresh = {**made, "id": "reg_fresh", "origin_id": "reg_fresh"}
            taken = {**made, "origin_server": "https://elsewhere.example", "version": 9}
            answer = user.request("POST", "/admin/import", {"registrations": [fresh, taken]})
            self.assertEqual((answer.status, self.exported(user)), (400, before))

    def test_one_bad_entry_is_400_and_changes_nothing(self) -> None:
        with running_server() as first, User.new(first.port, "mark") as user:
            document = self.filled(user)
        good = document["registrations"][0]
        breakages: list[tuple[str, Any]] = [
            ("registrations", {**good, **change})
            for change in (
                {"id": "x"},
                {"id": None},
                {"version": 0},
                {"version": "1"},
                {"version": 2**40},
                {"owner": "nobody"},
                {"space": {"type": "sphere"}},
                {"service_point": "http://insecure.example"},
                {"created": "yesterday"},
                {"updated": 5},
                {"foad": 1},
                {"origin_server": 5},
            )
        ]
        tombstone = document["tombstones"][0]
        breakages += [
            ("tombstones", {**tombstone, "version": -1}),
            ("tombstones", {}),
            ("tombstones", {**tombstone, "deleted_at": "x"}),
        ]
        breakages += [("peers", {"server_url": "nowhere"}), ("peers", {"hint": "x"}), ("peers", 7)]
        with running_server() as second, User(second.port) as operator:
            before = self.exported(operator)
            for member, bad in breakages:
                with self.subTest(member=member, bad=bad):
                    broken = {**document, member: [*document[member], bad]}
                    answer = operator.request("POST", "/admin/import", broken)
                    self.assertEqual((answer.status, list(answer.json)), (400, ["detail"]))
                    self.assertIn(f"{member}.{len(document[member])}", answer.json["detail"])
                    self.assertEqual(self.exported(operator), before)
            bodies: list[Any] = [[], {"registrations": {}}, {"peers": "x"}]
            for body in bodies:
                self.assertEqual(operator.request("POST", "/admin/import", body).status, 400)
            self.assertEqual(self.exported(operator), before)


class Restart(unittest.TestCase):
    def test_everything_is_there_after_a_restart(self) -> None:
        environ = {"MRS_SERVER_URL": "https://a.example"}
        with tempfile.TemporaryDirectory() as folder:
            storage = f"sqlite:{Path(folder) / 'mrs.db'}"
            with running_server(environ, storage) as server, User.new(server.port, "mark") as user:
                made = user.register(claim(1, 1))
                token = user.token
            with running_server(environ, storage) as server, User(server.port, token) as user:
                self.assertEqual(user.search(1, 1, 10)["results"][0]["id"], made["id"])
                self.assertEqual(user.request("GET", "/registrations").json["registrations"], [made])
                self.assertEqual(user.request("PUT", f"/register/{made['id']}", claim(1, 2)).status, 200)


if __name__ == "__main__":
    unittest.main()
