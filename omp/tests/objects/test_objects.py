"""The objects API end to end, over sockets (§3, §5, §7): one object at a time.

Every test of an :class:`Api` runs against the memory store and against SQLite.  Lists and searches are in
``test_lists``, what ends by itself in ``test_lifetime``, the pure parts in ``test_rules``.  What the web floor does for
every protocol (limits, smuggling, OpenAPI) is tested there, and signatures with the guard.
"""

from __future__ import annotations

import json
import os
import tempfile
import unittest
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from urllib.parse import quote

from omp.protocols.objects.collection import BY_DEADLINE, BY_KEY, BY_NAMESPACE, OBJECTS, Collection, ObjectNotFound
from omp.protocols.objects.record import Record
from omp.tests.harness import Answer, Client, running_server

MEMBERS = {"id", "namespace", "key", "created_at", "metadata"}


class Clock:
    """A clock of epoch seconds that stands still until it is moved."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Api(unittest.TestCase):
    """A running server and one client; `storage` says with which store."""

    environ: ClassVar[dict[str, str]] = {}
    storage = "memory"

    def setUp(self) -> None:
        if self.storage != "memory":
            folder = tempfile.TemporaryDirectory()
            self.addCleanup(folder.cleanup)
            self.storage = f"sqlite:{os.path.join(folder.name, 'omp.db')}"
        self.server = self.enterContext(running_server(self.environ, self.storage))
        (objects,) = [mount.state for mount in self.server.parts.application.mounts if mount.name == "objects"]
        self.objects: Collection = objects
        self.client = self.enterContext(Client(self.server.port))

    def stop_clock(self) -> Clock:
        """A clock for the objects that the test moves."""
        clock = Clock()
        self.objects.clock = clock
        return clock

    def call(
        self, method: str, path: str, expected: int, json: Any = ..., headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a request whose answer has the status `expected`."""
        answer = self.client.request(method, path, json, headers)
        self.assertEqual(answer.status, expected, answer.body)
        return answer

    def create(self, content: Any = ..., headers: dict[str, str] | None = None, **members: Any) -> dict[str, Any]:
        body = {"namespace": "ns", "content": {"x": 1} if content is ... else content, **members}
        made: dict[str, Any] = self.call("POST", "/objects", 201, body, headers).json
        return made

    def create_many(self, count: int, namespace: str = "ns") -> list[str]:
        made = [self.objects.create(namespace, f"key {number}", {"number": number}, {}) for number in range(count)]
        return [record.id.decode() for record in made]

    def error(self, answer: Answer) -> dict[str, Any]:
        """The error of an answer, in the shape of §7."""
        self.assertEqual(set(answer.json), {"error"})
        error: dict[str, Any] = answer.json["error"]
        self.assertEqual(set(error), {"code", "message", "status", "details"})
        self.assertEqual(error["status"], answer.status)
        return error

    def counts(self) -> list[int]:
        """How many rows each table of the objects holds."""
        with self.server.parts.store.read() as tx:
            return [tx.count(table) for table in (OBJECTS, BY_NAMESPACE, BY_KEY, BY_DEADLINE)]


class CreateAndFetch(Api):
    def test_create_answers_the_object_without_content_its_location_and_its_etag(self) -> None:
        answer = self.call("POST", "/objects", 201, {"namespace": "ns", "key": "k", "content": {"x": 1}})
        self.assertEqual(set(answer.json), MEMBERS)
        self.assertEqual(answer.json["metadata"], {})
        self.assertEqual(answer.headers["location"], "/objects/" + answer.json["id"])
        self.assertRegex(answer.headers["etag"], r'\A"[\w-]{43}"\Z')
        self.assertRegex(answer.json["created_at"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z")

    def test_an_id_is_a_uuid(self) -> None:
        made = uuid.UUID(self.create()["id"])
        self.assertEqual((made.version, made.variant), (7, uuid.RFC_4122))

    def test_without_a_key_the_key_is_the_id(self) -> None:
        for members in ({}, {"key": None}):
            made = self.create(**members)
            self.assertEqual(made["key"], made["id"])

    def test_a_fetch_adds_the_content_as_it_was_posted(self) -> None:
        text = '\U0001f600 "quoted" \\ \u0000'
        content = {"z": [1, 2.5, {"é\u2028": None}], "a": text, "big": 2**70, "t": True, "": {}}
        made = self.create(content, metadata={"note": "n", "omp.memory.class": "episodic"})
        answer = self.call("GET", "/objects/" + made["id"], 200)
        self.assertEqual(answer.json, {**made, "content": content})
        self.assertEqual(list(answer.json["content"]), list(content))

    def test_unknown_members_of_a_body_are_ignored(self) -> None:
        made = self.create(unknown=1)
        self.assertEqual(set(made), MEMBERS)

    def test_names_of_any_characters_come_back(self) -> None:
        for name in ("a/b", "ключ", "\u0000", "\U0001f600", "x" * 1024, " ", "?&=%"):
            made = self.create(namespace=name, key=name)
            fetched = self.call("GET", "/objects/" + made["id"], 200).json
            self.assertEqual((fetched["namespace"], fetched["key"]), (name, name))

    def test_an_unknown_id_is_404_for_every_method(self) -> None:
        for unknown in (str(uuid.uuid4()), "x", quote("ключ"), "%00", "a%2Fb"):
            for method, body in (("GET", ...), ("DELETE", ...), ("PUT", {"content": {}})):
                error = self.error(self.call(method, "/objects/" + unknown, 404, body))
                self.assertEqual(error["code"], "not_found")

    def test_a_body_that_does_not_fit_is_400_and_says_where(self) -> None:
        good = {"namespace": "ns", "content": {}}
        cases: list[tuple[dict[str, Any], list[str]]] = [
            ({"namespace": ...}, ["body", "namespace"]),
            ({"namespace": ""}, ["body", "namespace"]),
            ({"namespace": 5}, ["body", "namespace"]),
            ({"namespace": "x" * 1025}, ["body", "namespace"]),
            ({"key": ""}, ["body", "key"]),
            ({"key": 7}, ["body", "key"]),
            ({"content": ...}, ["body", "content"]),
            ({"content": None}, ["body", "content"]),
            ({"content": [1]}, ["body", "content"]),
            ({"metadata": []}, ["body", "metadata"]),
            ({"metadata": {"omp.ttl_sec": 0}}, ["body", "metadata", "omp.ttl_sec"]),
            ({"metadata": {"omp.ttl_sec": -1}}, ["body", "metadata", "omp.ttl_sec"]),
            ({"metadata": {"omp.ttl_sec": 1.5}}, ["body", "metadata", "omp.ttl_sec"]),
            ({"metadata": {"omp.ttl_sec": "60"}}, ["body", "metadata", "omp.ttl_sec"]),
            ({"metadata": {"omp.ttl_sec": True}}, ["body", "metadata", "omp.ttl_sec"]),
            ({"metadata": {"omp.delete_on_read": 1}}, ["body", "metadata", "omp.delete_on_read"]),
        ]
        for change, loc in cases:
            body = {name: value for name, value in {**good, **change}.items() if value is not ...}
            with self.subTest(change=change):
                error = self.error(self.call("POST", "/objects", 400, body))
                self.assertEqual((error["code"], error["message"]), ("bad_request", "Invalid request"))
                (problem,) = error["details"]["errors"]
                self.assertEqual((set(problem), problem["loc"]), ({"loc", "msg", "type"}, loc))
                self.assertEqual(error["details"]["summary"], f"{'.'.join(loc[1:])} {problem['msg']}")
        self.assertEqual(self.call("GET", "/objects", 200).json, {"count": 0, "items": []})

    def test_a_body_that_is_not_an_object_is_400(self) -> None:
        bodies: list[Any] = [[], 5, "x", None]
        for body in bodies:
            error = self.error(self.call("POST", "/objects", 400, body))
            self.assertEqual(error["details"]["errors"][0]["loc"], ["body"])
            self.assertEqual(error["details"]["summary"], "the body must be an object")

    def test_what_cannot_be_stored_is_400(self) -> None:
        for value in (b"NaN", b"1e400", b'"\\ud800"', b'"\xff"', b"{", b"", b"9" * 400, b"[" * 101 + b"]" * 101):
            body = b'{"namespace":"ns","content":{"x":' + value + b"}}"
            answer = self.client.request("POST", "/objects", body=body)
            self.assertEqual(answer.status, 400, value)
            self.assertEqual(self.error(answer)["message"], "Invalid request")

    def test_a_body_of_another_type_is_415_and_says_which_header_to_send(self) -> None:
        made = self.create()
        for method, path in (("POST", "/objects"), ("POST", "/objects/search"), ("PUT", "/objects/" + made["id"])):
            for media in ("application/x-www-form-urlencoded", "text/plain; charset=utf-8", "application/jsonp"):
                answer = self.client.request(method, path, body=b'{"content":{}}', headers={"Content-Type": media})
                self.assertEqual(answer.status, 415)
                self.assertIn("Content-Type: application/json", self.error(answer)["message"])

    def test_json_types_and_a_missing_type_are_accepted(self) -> None:
        body = b'{"namespace":"ns","content":{}}'
        self.assertEqual(self.client.request("POST", "/objects", body=body).status, 201)
        for media in ("", "Application/JSON; charset=utf-8", "application/ld+json"):
            answer = self.client.request("POST", "/objects", headers={"Content-Type": media}, body=body)
            self.assertEqual(answer.status, 201, media)


class ReplaceAndDelete(Api):
    def test_replace_answers_the_object_and_changes_the_content(self) -> None:
        made = self.create({"x": 1})
        answer = self.call("PUT", "/objects/" + made["id"], 200, {"content": {"x": 2}})
        self.assertEqual(answer.json, made)
        self.assertEqual(self.call("GET", "/objects/" + made["id"], 200).json, {**made, "content": {"x": 2}})

    def test_replace_keeps_the_metadata_unless_it_has_its_own(self) -> None:
        made = self.create(metadata={"note": 1})
        path = "/objects/" + made["id"]
        for body, metadata in [
            ({"content": {}}, {"note": 1}),
            ({"content": {}, "metadata": None}, {"note": 1}),
            ({"content": {}, "metadata": {"other": 2}}, {"other": 2}),
            ({"content": {}, "metadata": {}}, {}),
        ]:
            self.assertEqual(self.call("PUT", path, 200, body).json["metadata"], metadata)
            self.assertEqual(self.call("GET", path, 200).json["metadata"], metadata)

    def test_replace_does_not_change_namespace_key_or_time(self) -> None:
        made = self.create(key="k")
        body = {"content": {}, "namespace": "other", "key": "other", "id": "other", "created_at": "now"}
        self.assertEqual(self.call("PUT", "/objects/" + made["id"], 200, body).json, made)

    def test_content_that_is_not_an_object_is_400_with_its_own_message(self) -> None:
        path = "/objects/" + self.create()["id"]
        for body in ({"content": [1]}, {"content": None}, {"content": "x"}, {"content": 1, "metadata": 1}):
            error = self.error(self.call("PUT", path, 400, body))
            self.assertEqual((error["code"], error["message"]), ("bad_request", "content must be an object"))
            self.assertEqual(error["details"]["summary"], "content must be an object")
            self.assertEqual(error["details"]["errors"][0]["loc"], ["body", "content"])

    def test_a_replacement_without_content_is_an_invalid_request(self) -> None:
        path = "/objects/" + self.create()["id"]
        for body, count in (({}, 1), ({"metadata": 1}, 2)):
            error = self.error(self.call("PUT", path, 400, body))
            self.assertEqual((error["code"], error["message"]), ("bad_request", "Invalid request"))
            self.assertEqual(error["details"]["summary"], "content is required")
            self.assertEqual(len(error["details"]["errors"]), count)

    def test_metadata_that_do_not_fit_are_400_on_replace(self) -> None:
        path = "/objects/" + self.create()["id"]
        error = self.error(self.call("PUT", path, 400, {"content": {}, "metadata": {"omp.ttl_sec": "1"}}))
        self.assertEqual(error["message"], "Invalid request")
        self.assertEqual(error["details"]["errors"][0]["loc"], ["body", "metadata", "omp.ttl_sec"])

    def test_delete_has_an_empty_answer_and_the_object_is_gone_everywhere(self) -> None:
        made = self.create(key="k")
        answer = self.call("DELETE", "/objects/" + made["id"], 204)
        self.assertEqual(answer.body, b"")
        self.call("GET", "/objects/" + made["id"], 404)
        self.call("DELETE", "/objects/" + made["id"], 404)
        for path in ("/objects", "/objects/search?namespace=ns", "/objects/search?key_contains=k"):
            self.assertEqual(self.call("GET", path, 200).json["count"], 0)
        self.create(key="k", headers={"If-None-Match": "*"})

    def test_concurrent_replacements_never_mix(self) -> None:
        made = self.create()
        path = "/objects/" + made["id"]

        def put(number: int) -> int:
            with Client(self.server.port) as client:
                content = {"number": number, "again": [number] * 20}
                return client.request("PUT", path, {"content": content, "metadata": {"by": number}}).status

        with ThreadPoolExecutor(8) as pool:
            self.assertEqual(set(pool.map(put, range(24))), {200})
        final = self.call("GET", path, 200).json
        number = final["metadata"]["by"]
        self.assertEqual(final["content"], {"number": number, "again": [number] * 20})

    def test_a_replacement_between_check_and_write_is_checked_again(self) -> None:
        identifier = self.create({"turn": 0})["id"]
        seen: list[bytes] = []

        def meddle(record: Record) -> bool:
            seen.append(record.body)
            if len(seen) == 1:
                self.objects.replace(identifier, {"turn": 1}, None, lambda _: True)
            return True

        self.objects.replace(identifier, {"turn": 2}, None, meddle)
        self.assertEqual([json.loads(body)["content"] for body in seen], [{"turn": 0}, {"turn": 1}])
        self.assertEqual(self.call("GET", "/objects/" + identifier, 200).json["content"], {"turn": 2})

    def test_a_replacement_does_not_bring_back_an_object_deleted_meanwhile(self) -> None:
        identifier = self.create(key="k")["id"]

        def meddle(_: Record) -> bool:
            self.objects.remove(identifier, lambda _: True)
            return True

        with self.assertRaises(ObjectNotFound):
            self.objects.replace(identifier, {"x": 2}, None, meddle)
        self.assertEqual(self.counts(), [0] * 4)


class Preconditions(Api):
    def test_the_etag_of_one_state_is_the_same_from_post_get_head_and_put(self) -> None:
        first = self.call("POST", "/objects", 201, {"namespace": "ns", "content": {"a": 1, "b": 2}})
        path = first.headers["location"]
        answers = [self.call("GET", path, 200), self.call("HEAD", path, 200)]
        answers.append(self.call("PUT", path, 200, {"content": {"b": 2, "a": 1}}))
        self.assertEqual({answer.headers["etag"] for answer in answers}, {first.headers["etag"]})

    def test_the_etag_changes_with_content_and_with_metadata(self) -> None:
        made = self.call("POST", "/objects", 201, {"namespace": "ns", "content": {"n": 2**60}})
        path = made.headers["location"]
        etags = [made.headers["etag"]]
        bodies: list[Any] = [{"content": {"n": 2**60 + 1}}, {"content": {}}, {"content": {}, "metadata": {"a": 1}}]
        for body in bodies:
            etags.append(self.call("PUT", path, 200, body).headers["etag"])
        self.assertEqual(len(set(etags)), 4)

    def test_if_match_allows_the_named_state_only_to_be_replaced_and_deleted(self) -> None:
        made = self.call("POST", "/objects", 201, {"namespace": "ns", "content": {"x": 1}})
        path, etag = made.headers["location"], made.headers["etag"]
        for wrong in ('"other"', f"W/{etag}", etag.strip('"'), "", f'"a", W/{etag}'):
            for method, body in (("PUT", {"content": {"x": 2}}), ("DELETE", ...)):
                with self.subTest(wrong=wrong, method=method):
                    refused = self.call(method, path, 412, body, {"If-Match": wrong})
                    self.assertEqual(self.error(refused)["code"], "precondition_failed")
                    self.assertEqual(refused.headers["etag"], etag)
        self.assertEqual(self.call("GET", path, 200).json["content"], {"x": 1})
        for right in (f'"a", {etag}', "*"):
            etag = self.call("PUT", path, 200, {"content": {"x": 3}}, {"If-Match": right}).headers["etag"]
        self.call("DELETE", path, 204, headers={"If-Match": etag})

    def test_of_many_replacements_of_one_state_exactly_one_is_accepted(self) -> None:
        made = self.call("POST", "/objects", 201, {"namespace": "ns", "content": {}})

        def put(number: int) -> int:
            with Client(self.server.port) as client:
                headers = {"If-Match": made.headers["etag"]}
                return client.request("PUT", made.headers["location"], {"content": {"n": number}}, headers).status

        with ThreadPoolExecutor(8) as pool:
            self.assertEqual(sorted(pool.map(put, range(16))), [200] + [412] * 15)

    def test_preconditions_are_one_rule_for_every_method(self) -> None:
        made = self.call("POST", "/objects", 201, {"namespace": "ns", "content": {"x": 1}})
        path, etag = made.headers["location"], made.headers["etag"]
        other = '"other"'
        rows: tuple[tuple[dict[str, str], int, int], ...] = (
            # fields, status of GET and HEAD, status of PUT and DELETE (0: success)
            ({"If-Match": other}, 412, 412),
            ({"If-Match": ""}, 412, 412),
            ({"If-Match": f"W/{etag}"}, 412, 412),
            ({"If-Match": other, "If-None-Match": etag}, 412, 412),
            ({"If-Match": etag, "If-None-Match": etag}, 304, 412),
            ({"If-None-Match": etag}, 304, 412),
            ({"If-None-Match": f"{other}, W/{etag}"}, 304, 412),
            ({"If-None-Match": "*"}, 304, 412),
            ({"If-Match": f"{other}, {etag}", "If-None-Match": other}, 200, 0),
            ({"If-Match": "*", "If-None-Match": ""}, 200, 0),
        )
        for fields, reading, writing in rows:
            with self.subTest(fields=fields):
                for method in ("GET", "HEAD"):
                    self.assertEqual(self.call(method, path, reading, headers=fields).headers["etag"], etag)
                if writing:
                    for method, body in (("PUT", {"content": {}}), ("DELETE", ...)):
                        self.assertEqual(self.call(method, path, writing, body, fields).headers["etag"], etag)
                else:
                    self.call("PUT", path, 200, {"content": {"x": 1}}, fields)

    def test_a_missing_object_is_404_whatever_if_match_says(self) -> None:
        self.call("DELETE", f"/objects/{uuid.uuid4()}", 404, headers={"If-Match": "*"})

    def test_if_none_match_gets_304_without_a_body_for_the_named_state(self) -> None:
        made = self.call("POST", "/objects", 201, {"namespace": "ns", "content": {}})
        path, etag = made.headers["location"], made.headers["etag"]
        for same in (etag, f"W/{etag}", f'"a", {etag}', "*"):
            for method in ("GET", "HEAD"):
                answer = self.call(method, path, 304, headers={"If-None-Match": same})
                self.assertEqual((answer.body, answer.headers["etag"]), (b"", etag))
        for other in ('"a"', 'W/"a"'):
            self.assertTrue(self.call("GET", path, 200, headers={"If-None-Match": other}).body)

    def test_post_with_if_none_match_refuses_a_namespace_and_key_that_exist(self) -> None:
        only_new = {"If-None-Match": "*"}
        self.create(key="k", headers=only_new)
        body = {"namespace": "ns", "key": "k", "content": {}}
        self.assertEqual(self.error(self.call("POST", "/objects", 409, body, only_new))["code"], "conflict")
        self.create(namespace="other", key="k", headers=only_new)
        self.create(key="k2", headers=only_new)
        self.create(key="k")  # without the header, keys need not be unique
        without_key = self.create(headers=only_new)
        self.call("POST", "/objects", 409, {**body, "key": without_key["id"]}, only_new)
        self.create(namespace="other", key=without_key["id"], headers=only_new)

    def test_of_many_conditional_posts_exactly_one_creates(self) -> None:
        def post(number: int) -> int:
            with Client(self.server.port) as client:
                body = {"namespace": "ns", "key": "one", "content": {"n": number}}
                return client.request("POST", "/objects", body, {"If-None-Match": "*"}).status

        with ThreadPoolExecutor(8) as pool:
            self.assertEqual(sorted(pool.map(post, range(16))), [201] + [409] * 15)


CASES = (CreateAndFetch, ReplaceAndDelete, Preconditions)


def on_each_store(loader: unittest.TestLoader, cases: Sequence[type[Api]]) -> unittest.TestSuite:
    """The tests of `cases` with the memory store, and again with SQLite."""
    suite = unittest.TestSuite()
    for case in cases:
        suite.addTests(loader.loadTestsFromTestCase(case))
        durable = type(f"{case.__name__}InSqlite", (case,), {"storage": "sqlite"})
        suite.addTests(loader.loadTestsFromTestCase(durable))
    return suite


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """Each class with each storage."""
    return on_each_store(loader, CASES)


if __name__ == "__main__":
    unittest.main()
