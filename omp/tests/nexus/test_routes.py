"""NEXUS end to end: signed requests over real sockets, on both storage adapters."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import unittest
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from unittest import mock

from omp.protocols.nexus.defaults import BUILT_IN
from omp.protocols.nexus.routes import LONG_BODY
from omp.tests.harness import Answer, Client, Running, running_server
from omp.tests.nexus.owner import BASE, Owner
from omp.tests.vectors.makers.nexus_requests import OWNER, request_cases

ALICE = Owner(0xA11CE)
CONFIG = {"overrides": {"temperature": 0.9}}


def next_page(answer: Answer) -> str:
    """The target of ``Link: rel="next"``, "" if there is none."""
    link = answer.headers.get("link", "")
    return link[link.index("<") + 1 : link.index(">")] if 'rel="next"' in link else ""


class OneServer(unittest.TestCase):
    """A server for the whole class; every test takes keys of its own, so that none sees another's rows."""

    storage = "memory"
    _stack: ClassVar[contextlib.ExitStack]
    running: ClassVar[Running]
    _secret: ClassVar[int] = 1000

    @classmethod
    def setUpClass(cls) -> None:
        cls._stack = contextlib.ExitStack()
        folder = cls._stack.enter_context(tempfile.TemporaryDirectory())
        storage = cls.storage.replace("FOLDER", folder)
        cls.running = cls._stack.enter_context(running_server(storage=storage))

    @classmethod
    def tearDownClass(cls) -> None:
        cls._stack.close()

    def setUp(self) -> None:
        self.client = Client(self.running.port)
        self.addCleanup(self.client.close)
        OneServer._secret += 1
        self.owner = Owner(OneServer._secret)

    def profile(self, owner: Owner) -> Any:
        """What GET /config answers."""
        answer = owner.get(self.client, "/config")
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def assert_refused(self, answer: Answer, status: int, *words: str) -> None:
        """The status, the error shape of §III, and words of the sentence."""
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(list(answer.json), ["detail"])
        for word in words:
            self.assertIn(word, answer.json["detail"])


class OnMemory(OneServer):
    """The protocol in the order of its document."""

    def test_commands_and_security_need_no_authentication(self) -> None:
        names = {command["name"] for command in self.client.request("GET", f"{BASE}/commands").json}
        self.assertLessEqual({"config", "prompt", "identity", "help"}, names)
        security = self.client.request("GET", f"{BASE}/security")
        self.assertEqual(security.status, 200)
        self.assertLess(set(security.json["signature_required_commands"]), names)

    def test_an_owner_without_overrides_sees_the_defaults(self) -> None:
        profile = self.profile(self.owner)
        self.assertEqual(profile["effective_config"], BUILT_IN["user_defaults"]["config"])
        self.assertEqual(profile["user_overrides"], {"config_overrides": {}, "prompt_overrides": {}})
        self.assertEqual(
            profile["field_options"]["config.model"],
            {"type": "select", "options": ["DeepSeek-Chat", "Gemini-2.5-Flash", "Kimi-K2"]},
        )
        self.assertEqual(self.owner.get(self.client, "/prompts").json, profile)

    def test_signed_overrides_are_merged_and_null_takes_one_back(self) -> None:
        first = self.owner.post(self.client, "/config", {"overrides": {"model": "deepseek-chat", "temperature": 1}})
        self.assertEqual(first.status, 200)
        self.assertEqual(first.json, {"status": "success", "message": "Configuration updated successfully"})
        self.owner.post(self.client, "/config", {"overrides": {"temperature": None, "max_tokens": 7}})
        prompts = self.owner.post(self.client, "/prompts", {"overrides": {"friends_profile": "I prefer «kurz» 🦊"}})
        self.assertEqual(prompts.json, {"status": "success", "message": "Prompts updated successfully"})
        profile = self.profile(self.owner)
        self.assertEqual(
            profile["user_overrides"],
            {
                "config_overrides": {"model": "DeepSeek-Chat", "max_tokens": 7},
                "prompt_overrides": {"friends_profile": "I prefer «kurz» 🦊"},
            },
        )
        self.assertEqual(profile["effective_config"]["temperature"], 0.8)
        self.assertEqual(
            profile["effective_prompts"]["friends_profile"], {"content": "I prefer «kurz» 🦊", "editable": True}
        )

    def test_every_signed_request_of_the_vectors_is_answered_as_it_says(self) -> None:
        for case in request_cases():
            with self.subTest(case["name"]):
                answer = self.client.request(
                    "POST",
                    BASE + case["endpoint"],
                    body=case["body"].encode(),
                    headers={"Authorization": case["authorization"], "Content-Type": "application/json"},
                )
                if case["accepted"]:
                    self.assertEqual(answer.status, 200, answer.body)
                else:
                    self.assert_refused(answer, 401)
                if "why" in case:
                    self.assertIn("JSON.stringify drops every nested member", answer.json["detail"])
        owner = {"Authorization": f"Bearer {OWNER}"}
        content = self.client.request("GET", f"{BASE}/messages?limit=100", headers=owner).json[-1]["content"]
        self.assertEqual(content, {"\ue000": 1, "🦊": 1.5e300, "a": []})

    def test_reading_without_an_address_is_401(self) -> None:
        for path in ("/config", "/prompts", "/messages", "/messages?limit=0"):
            for field in ("", "Bearer", "Bearer 0x12", f"Bearer {ALICE.address[2:]}", f"Token {ALICE.address}"):
                answer = self.client.request("GET", BASE + path, headers={"Authorization": field} if field else {})
                self.assert_refused(answer, 401, "Bearer 0x")
                self.assertEqual(answer.headers["www-authenticate"], "Bearer")

    def test_authentication_comes_before_validation(self) -> None:
        nonsense: tuple[Any, ...] = ({}, {"overrides": 5}, {"overrides": {"nope": 1}}, [], "x", 5, None)
        for endpoint in ("/config", "/prompts", "/messages", "/batch"):
            for body in nonsense:
                answer = self.client.request("POST", BASE + endpoint, body, self.owner.bearer)
                self.assert_refused(answer, 401, '"auth"')
            signed = self.owner.signed({"overrides": {"nope": 1}})
            self.assert_refused(self.client.request("POST", BASE + endpoint, signed), 401, "Bearer 0x")
            self.assert_refused(self.client.request("POST", BASE + endpoint, body=b"{", headers={}), 401)
            wrong = {**signed, "overrides": {"nope": 2}}
            answer = self.client.request("POST", BASE + endpoint, wrong, self.owner.bearer)
            self.assert_refused(answer, 401, "not by this owner")

    def test_signatures_that_are_none_are_401(self) -> None:
        good = self.owner.signed(CONFIG)["auth"]["signature"]
        for bad in (
            "",
            "0x",
            good[:-1],
            good[:-2],
            good + "00",
            good[:-2] + "zz",
            "0x" + "00" * 65,
            "ä" * 130,
            5,
            None,
        ):
            body = {**CONFIG, "auth": {"publicKey": self.owner.address, "signature": bad}}
            self.assert_refused(self.client.request("POST", f"{BASE}/config", body, self.owner.bearer), 401)
        self.assertEqual(self.profile(self.owner)["user_overrides"]["config_overrides"], {})

    def test_what_does_not_fit_is_422_and_named(self) -> None:
        cases: tuple[tuple[str, Any, str], ...] = (
            ("/config", {"nothing": 1}, "overrides is required"),
            ("/config", {"overrides": []}, "overrides must be an object"),
            ("/config", {"overrides": {"__proto__": 1}}, "config.__proto__"),
            ("/config", {"overrides": {"config.__proto__": 1}}, "config.config.__proto__"),
            ("/config", {"overrides": {"prompts.CORE_IDENTITY": "x"}}, "config.prompts.CORE_IDENTITY"),
            ("/config", {"overrides": {"friends_profile": "x"}}, "config.friends_profile"),
            ("/config", {"overrides": {"": 1}}, "config."),
            ("/config", {"overrides": {"temperature": 2.5}}, "config.temperature: must be a number from 0.0 to 2.0"),
            ("/config", {"overrides": {"temperature": {"$gt": 0}}}, "config.temperature"),
            ("/config", {"overrides": {"temperature": [[[[0.5]]]]}}, "config.temperature"),
            ("/config", {"overrides": {"temperature": True}}, "config.temperature"),
            ("/config", {"overrides": {"temperature": {"x": "x" * 100_000}}}, "config.temperature"),
            ("/config", {"overrides": {"model": "x" * 100_000}}, "config.model"),
            ("/config", {"overrides": {"model": "gpt-5"}}, "DeepSeek-Chat, Gemini-2.5-Flash, Kimi-K2"),
            (
                "/config",
                {"overrides": {"max_tokens": 10**30}},
                "config.max_tokens: must be a whole number from 1 to 1000000",
            ),
            ("/config", {"overrides": {"history_context_size": -1}}, "from 0 to 1000"),
            ("/prompts", {"overrides": {"CORE_IDENTITY": "x"}}, "prompts.CORE_IDENTITY"),
            ("/prompts", {"overrides": {"friends_profile": 5}}, "at most 65536 characters"),
            ("/prompts", {"overrides": {"friends_profile": "x" * 65_537}}, "at most 65536 characters"),
            ("/messages", {"messages": []}, "messages"),
            ("/messages", {"messages": [{"run_id": "r", "role": "god", "content": "x"}]}, "messages.0.role"),
            ("/messages", {"messages": [{"run_id": "r", "role": "ai", "content": 5}]}, "messages.0.content"),
            ("/messages", {"messages": [{"run_id": "", "role": "ai", "content": ""}]}, "messages.0.run_id"),
            (
                "/messages",
                {"messages": [{"run_id": "r", "role": "ai", "content": "", "created_at": "yesterday"}]},
                "messages.0.created_at must be a date and time",
            ),
            ("/batch", {"operations": []}, "operations"),
            ("/batch", {"operations": [{"endpoint": "/batch", "method": "POST", "body": {}}]}, "operations.0.endpoint"),
            ("/batch", {"operations": [{"endpoint": "/config", "method": "GET", "body": {}}]}, "operations.0.method"),
            (
                "/batch",
                {"operations": [{"endpoint": "/config", "method": "POST", "body": {}}]},
                "operations.0.body: overrides is required",
            ),
        )
        for endpoint, body, words in cases:
            with self.subTest(endpoint=endpoint, words=words):
                answer = self.owner.post(self.client, endpoint, body)
                self.assert_refused(answer, 422, words)
                self.assertLess(len(answer.body), 300)
        self.assertEqual(self.owner.get(self.client, "/messages").json, [])

    def test_a_body_that_is_no_json_is_422(self) -> None:
        deep = b'{"overrides":' + b"[" * 200 + b"]" * 200 + b"}"
        for body in (b"", b"{", b'{"overrides":{"temperature":NaN}}', b'{"a":1,"a":2}', b'{"a":1e999}', b"\xff", deep):
            answer = self.client.request("POST", f"{BASE}/config", body=body, headers=self.owner.bearer)
            self.assert_refused(answer, 422)
            self.assertRegex(answer.json["detail"], "^body: .")

    def test_a_prompt_may_have_65536_characters_of_any_kind(self) -> None:
        for text in ("x" * 65_536, "🦊" * 65_536):
            answer = self.owner.post(self.client, "/prompts", {"overrides": {"friends_profile": text}})
            self.assertEqual(answer.status, 200, answer.body[:200])
            self.assertEqual(self.profile(self.owner)["effective_prompts"]["friends_profile"]["content"], text)

    def test_a_body_above_one_mebibyte_is_413_in_the_shape_of_the_protocol(self) -> None:
        body = b'{"overrides":{"x":"' + b"x" * 1024 * 1024 + b'"}}'
        with Client(self.running.port) as client:
            answer = client.request("POST", f"{BASE}/prompts", body=body, headers=self.owner.bearer)
        self.assert_refused(answer, 413)

    def test_errors_of_the_dispatcher_have_the_shape_of_the_protocol(self) -> None:
        self.assert_refused(self.client.request("GET", f"{BASE}/nowhere"), 404)
        answer = self.client.request("PUT", f"{BASE}/config", CONFIG, self.owner.bearer)
        self.assert_refused(answer, 405)
        self.assertEqual(answer.headers["allow"], "GET, POST, HEAD, OPTIONS")

    def test_pages_of_any_origin_may_call_and_read_the_page_links(self) -> None:
        preflight = self.client.request(
            "OPTIONS",
            f"{BASE}/config",
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        self.assertEqual(preflight.status, 204)
        self.assertIn("POST", preflight.headers["access-control-allow-methods"])
        self.assertIn("Authorization", preflight.headers["access-control-allow-headers"])
        for answer in (preflight, self.owner.get(self.client, "/config"), self.client.request("GET", f"{BASE}/config")):
            self.assertEqual(answer.headers["access-control-allow-origin"], "*")
            self.assertEqual(answer.headers["access-control-expose-headers"], "Link, ETag")

    def test_a_profile_that_has_not_changed_is_304(self) -> None:
        tag = self.owner.get(self.client, "/config").headers["etag"]
        for field in (tag, f'"other", W/{tag}', "*"):
            fields = {**self.owner.bearer, "If-None-Match": field}
            answer = self.client.request("GET", f"{BASE}/config", headers=fields)
            self.assertEqual((answer.status, answer.body, answer.headers["etag"]), (304, b"", tag))
        self.owner.post(self.client, "/config", CONFIG)
        answer = self.client.request("GET", f"{BASE}/config", headers={**self.owner.bearer, "If-None-Match": tag})
        self.assertEqual((answer.status, answer.json["effective_config"]["temperature"]), (200, 0.9))

    def test_a_captured_request_can_be_sent_again(self) -> None:
        # Nothing in the protocol binds a signature to a time; the documentation says so, and this pins it down.
        captured = self.owner.signed(CONFIG)
        for _ in range(2):
            self.owner.post(self.client, "/config", {"overrides": {"temperature": 0.1}})
            self.client.request("POST", f"{BASE}/config", captured, self.owner.bearer)
            self.assertEqual(self.profile(self.owner)["effective_config"]["temperature"], 0.9)

    # --- Messages -----------------------------------------------------------------------------------------------

    def say(self, owner: Owner, *messages: dict[str, Any]) -> None:
        """Store a conversation."""
        answer = owner.post(self.client, "/messages", {"messages": list(messages)})
        self.assertEqual(answer.status, 200, answer.body)

    def pages(self, owner: Owner, limit: int, between: Sequence[dict[str, Any]] = ()) -> Iterator[list[Any]]:
        """Every page; one of `between` is stored before each further one."""
        more = iter(between)
        target = f"{BASE}/messages?limit={limit}"
        while target:
            answer = self.client.request("GET", target, headers=owner.bearer)
            self.assertEqual(answer.status, 200, answer.body)
            yield answer.json
            target = next_page(answer)
            if (message := next(more, None)) is not None:
                self.say(owner, message)

    def test_messages_come_newest_first_with_every_member(self) -> None:
        said = {"run_id": "run_1", "role": "human", "content": "Hello", "created_at": "2025-10-20T10:30:00Z"}
        tool = {
            "run_id": "run_1",
            "role": "tool",
            "content": {"rows": [1, 2.5]},
            "created_at": "2025-10-20T12:30:05+02:00",
        }
        self.say(self.owner, tool, said)
        self.say(self.owner, {"run_id": "run_2", "role": "ai", "content": "later"})
        messages = self.owner.get(self.client, "/messages").json
        self.assertEqual([message["content"] for message in messages], ["later", {"rows": [1, 2.5]}, "Hello"])
        self.assertEqual(messages[1], {**tool, "owner_key": self.owner.address})
        self.assertRegex(messages[0]["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_paging_gives_each_message_once_whatever_is_stored_meanwhile(self) -> None:
        same = "2025-10-20T10:30:00Z"
        said = [{"run_id": "r", "role": "ai", "content": str(n), "created_at": same} for n in range(25)]
        self.say(self.owner, *said)
        newer = [
            {"run_id": "r", "role": "ai", "content": "new", "created_at": f"2026-01-0{n}T00:00:00Z"} for n in (1, 2)
        ]
        pages = list(self.pages(self.owner, 10, newer))
        self.assertEqual([len(page) for page in pages], [10, 10, 5])
        self.assertEqual([m["content"] for page in pages for m in page], [str(n) for n in reversed(range(25))])

    def test_a_page_that_is_exactly_full_has_no_next(self) -> None:
        self.say(self.owner, *({"run_id": "r", "role": "ai", "content": "x"} for _ in range(20)))
        answer = self.owner.get(self.client, "/messages")
        self.assertEqual((len(answer.json), next_page(answer)), (20, ""))

    def test_a_bad_limit_or_cursor_is_400(self) -> None:
        for query in (
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1e1",
            "limit=%2B5",
            "limit=1&limit=2",
        ):
            self.assert_refused(self.owner.get(self.client, f"/messages?{query}"), 400, "limit")
        for query in ("cursor=", "cursor=x", "cursor=AAAA", "cursor=%F0%9F%A6%8A"):
            self.assert_refused(self.owner.get(self.client, f"/messages?{query}"), 400, "cursor")

    def test_owners_see_only_their_own(self) -> None:
        other = Owner(self.owner.secret + 5000)
        self.say(self.owner, *({"run_id": "r", "role": "ai", "content": str(n)} for n in range(3)))
        self.owner.post(self.client, "/config", CONFIG)
        self.assertEqual(other.get(self.client, "/messages").json, [])
        self.assertEqual(self.profile(other)["user_overrides"]["config_overrides"], {})
        theirs = next_page(self.owner.get(self.client, "/messages?limit=1"))
        self.assert_refused(self.client.request("GET", theirs, headers=other.bearer), 400, "cursor")
        # The same owner in capitals is the same owner.
        capitals = {"Authorization": "Bearer 0x" + self.owner.address[2:].upper()}
        answer = self.client.request("GET", theirs, headers=capitals)
        self.assertEqual([message["content"] for message in answer.json], ["1"])

    # --- Batch ----------------------------------------------------------------------------------------------

    def test_a_batch_applies_all_of_its_operations(self) -> None:
        answer = self.owner.post(
            self.client,
            "/batch",
            {
                "operations": [
                    {"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 0.2}}},
                    {"endpoint": "/config", "method": "POST", "body": {"overrides": {"max_tokens": 9}}},
                    {"endpoint": "/prompts", "method": "POST", "body": {"overrides": {"friends_profile": "x"}}},
                    {
                        "endpoint": "/messages",
                        "method": "POST",
                        "body": {"messages": [{"run_id": "r", "role": "ai", "content": "x"}]},
                    },
                ]
            },
        )
        self.assertEqual((answer.status, answer.json["status"]), (200, "success"))
        self.assertEqual(
            self.profile(self.owner)["user_overrides"],
            {
                "config_overrides": {"temperature": 0.2, "max_tokens": 9},
                "prompt_overrides": {"friends_profile": "x"},
            },
        )
        self.assertEqual(len(self.owner.get(self.client, "/messages").json), 1)

    def test_a_batch_with_one_bad_operation_applies_none(self) -> None:
        answer = self.owner.post(
            self.client,
            "/batch",
            {
                "operations": [
                    {"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 0.2}}},
                    {
                        "endpoint": "/messages",
                        "method": "POST",
                        "body": {"messages": [{"run_id": "r", "role": "ai", "content": "x"}]},
                    },
                    {"endpoint": "/prompts", "method": "POST", "body": {"overrides": {"CORE_IDENTITY": "x"}}},
                ]
            },
        )
        self.assert_refused(answer, 422, "operations.2.body: prompts.CORE_IDENTITY")
        self.assertEqual(self.profile(self.owner)["user_overrides"]["config_overrides"], {})
        self.assertEqual(self.owner.get(self.client, "/messages").json, [])

    def test_a_batch_has_at_most_a_hundred_operations(self) -> None:
        operation = {"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 0.2}}}
        self.assert_refused(self.owner.post(self.client, "/batch", {"operations": [operation] * 101}), 422, "100")
        self.assertEqual(self.owner.post(self.client, "/batch", {"operations": [operation] * 100}).status, 200)

    def test_updates_at_the_same_time_lose_nothing(self) -> None:
        fields = {"model": "Kimi-K2", "temperature": 0.3, "max_tokens": 11, "history_context_size": 12}
        at_once = {"run_id": "r", "role": "ai", "created_at": "2025-10-20T10:30:00Z"}
        said = [{"messages": [{**at_once, "content": text}]} for text in ("a", "b")]
        requests: list[tuple[str, dict[str, Any]]] = [
            *(("/config", {"overrides": {name: value}}) for name, value in fields.items()),
            ("/prompts", {"overrides": {"friends_profile": "x"}}),
            *(("/messages", body) for body in said),
        ]
        store = self.running.parts.store
        # No transaction begins before every request has come to its own: what was read before that is stale in all
        # of them but one.
        barrier = threading.Barrier(len(requests), timeout=10)
        begin = store.write

        def begin_together() -> Any:
            barrier.wait()
            return begin()

        answers: list[int] = []

        def send(endpoint: str, body: dict[str, Any]) -> None:
            with Client(self.running.port) as client:
                answers.append(self.owner.post(client, endpoint, body).status)

        threads = [threading.Thread(target=send, args=request) for request in requests]
        with mock.patch.object(store, "write", begin_together):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(answers, [200] * len(requests))
        self.assertEqual(
            self.profile(self.owner)["user_overrides"],
            {"config_overrides": fields, "prompt_overrides": {"friends_profile": "x"}},
        )
        self.assertEqual({m["content"] for m in self.owner.get(self.client, "/messages").json}, {"a", "b"})


class LongBodies(unittest.TestCase):
    """What a refusal costs grows with the body; strangers' long bodies must not take the server from the others."""

    def test_they_are_authenticated_one_at_a_time_and_short_ones_pass_by(self) -> None:
        entered, leave = threading.Semaphore(0), threading.Event()

        def slow(body: Any, owner: str) -> None:
            if len(body["overrides"]) > 0:
                entered.release()
                leave.wait(20)

        owner = Owner(1)
        long = b'{"overrides":{"x":"%b"}}' % (b"y" * LONG_BODY)
        with running_server() as server, mock.patch("omp.protocols.nexus.routes.authenticate", slow):

            def send() -> None:
                with Client(server.port) as client:
                    client.request("POST", BASE + "/config", headers=owner.bearer, body=long)

            threads = [threading.Thread(target=send) for _ in range(3)]
            for thread in threads:
                thread.start()
            try:
                self.assertTrue(entered.acquire(timeout=20))
                with Client(server.port) as client:
                    short = client.request("POST", BASE + "/config", {"overrides": {}}, owner.bearer)
                self.assertEqual(short.status, 200)
                self.assertFalse(entered.acquire(timeout=0.2))
            finally:
                leave.set()
                for thread in threads:
                    thread.join()
            self.assertTrue(entered.acquire(timeout=1))


class OnSQLite(OnMemory):
    """The same on the durable adapter."""

    storage = "sqlite:FOLDER/omp.db"


if __name__ == "__main__":
    unittest.main()
