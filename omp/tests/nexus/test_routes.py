"""NEXUS end to end: signed requests over real sockets, on both storage adapters."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import unittest
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from omp.protocols.nexus.defaults import BUILT_IN
from omp.protocols.nexus.ethereum import personal_message_hash, sign_slowly, signature_text
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.routes import MAX_BODY, ROUTES, post
from omp.protocols.nexus.turns import AT_ONCE, WAITING, NoTurn
from omp.protocols.nexus.writes import WRITES
from omp.tests import long
from omp.tests.harness import Answer, Client, running_server
from omp.tests.nexus.owner import BASE, OneServer, Owner
from omp.tests.vectors.makers.nexus_requests import OWNER, request_cases
from omp.web.messages import Request

ALICE = Owner(0xA11CE)
CONFIG = {"overrides": {"temperature": 0.9}}


class OnMemory(OneServer):
    """The protocol in the order of its document."""

    def test_every_command_has_every_member_and_routes_that_exist(self) -> None:
        answer = self.client.request("GET", f"{BASE}/commands")
        self.assertEqual(answer.status, 200)
        self.assertLessEqual({"config", "prompt", "identity", "help"}, {command["name"] for command in answer.json})
        routes = {(route.method, route.path) for route in ROUTES}
        members = ["name", "description", "usage", "handler", "requiresGUI", "examples"]
        for command in answer.json:
            self.assertEqual(list(command)[:6], members)
            self.assertTrue(all(example.startswith(command["usage"]) for example in command["examples"]))
            self.assertEqual(command["handler"] == "rest", "restOptions" in command)
            if command["handler"] == "client":
                continue
            rest = command["restOptions"]
            self.assertIn((rest["method"], rest["getEndpoint"]), routes)
            self.assertIn(("POST", rest["postEndpoint"]), routes)
            self.assertEqual(list(rest), ["endpoint", "getEndpoint", "postEndpoint", "method"])
        self.assertEqual([command["name"] for command in answer.json if command["handler"] == "client"], ["help"])

    def test_a_client_that_puts_its_base_before_the_endpoint_finds_every_command(self) -> None:
        for command in self.client.request("GET", f"{BASE}/commands").json:
            if command["handler"] == "rest":
                rest = command["restOptions"]
                url = f"{BASE}{rest['endpoint']}"
                self.assertEqual(self.client.request(rest["method"], url, headers=self.owner.bearer).status, 200, url)

    def test_health_needs_no_bearer(self) -> None:
        answer = self.client.request("GET", f"{BASE}/health")
        self.assertEqual((answer.status, answer.json), (200, {"status": "ok"}))
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")

    def test_strings_may_be_signed_as_they_are_sent(self) -> None:
        # PHP and .NET escape more than JSON asks for, in digits of either case.
        owner = self.owner

        def send(text: str, signature: str) -> Answer:
            body = f'{text[:-1]},"auth":{{"publicKey":"{owner.address}","signature":"{signature}"}}}}'
            return self.client.request("POST", f"{BASE}/prompts", body=body.encode(), headers=owner.bearer)

        for written in (r"a\/b", r"R\u0026D \u003Cb\u003e", r"caf\u00E9 \uD83E\uDD8A", r"\u0027 \\u0027 \" \\"):
            text = f'{{"overrides":{{"friends_profile":"{written}"}}}}'
            spaced = (
                f'{{"auth": {{"publicKey": "{owner.address}", "signature": ""}}, '
                f'"overrides": {{"friends_profile": "{written}"}}}}'
            )
            for signed in (text, spaced):
                with self.subTest(signed):
                    signature = signature_text(sign_slowly(owner.secret, keccak256(signed.encode())))
                    answer = send(text, signature)
                    self.assertEqual(answer.status, 200, answer.body)
                    stored = self.profile(owner)["effective_prompts"]["friends_profile"]["content"]
                    self.assertEqual(stored, json.loads(f'"{written}"'))
                    self.assert_refused(send(text.replace('":"', '":"x'), signature), 401)

    def test_a_signature_over_the_hash_as_text_is_refused_with_the_reason(self) -> None:
        text = '{"overrides":{"friends_profile":"a\\/b"}}'
        for signed in (text, text.replace("\\/", "/")):
            for prefix in ("0x", ""):
                message = f"{prefix}{keccak256(signed.encode()).hex()}".encode()
                signature = signature_text(sign_slowly(self.owner.secret, personal_message_hash(message)))
                auth = json.dumps({"publicKey": self.owner.address, "signature": signature})
                sent = f'{text[:-1]},"auth":{auth}}}'.encode()
                answer = self.client.request("POST", f"{BASE}/prompts", body=sent, headers=self.owner.bearer)
                self.assert_refused(answer, 401, "over the hash as text", "getBytes(hash)")

    def test_the_default_model_is_among_the_options(self) -> None:
        profile = self.profile(self.owner)
        self.assertIn(profile["effective_config"]["model"], profile["field_options"]["config.model"]["options"])

    def test_the_commands_that_write_must_be_signed(self) -> None:
        names = {command["name"] for command in self.client.request("GET", f"{BASE}/commands").json}
        security = self.client.request("GET", f"{BASE}/security")
        self.assertEqual(security.status, 200)
        signed = set(security.json["signature_required_commands"])
        self.assertLessEqual({"identity", "config", "prompt"}, signed)
        self.assertNotIn("help", signed)
        self.assertLess(signed, names)

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

    def test_malformed_signatures_are_401(self) -> None:
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
            ("/config", {"overrides": {"temperature": {"x": "x" * 60_000}}}, "config.temperature"),
            ("/config", {"overrides": {"model": "x" * 60_000}}, "config.model"),
            ("/config", {"overrides": {"model": "gpt-5"}}, "DeepSeek-Chat, Gemini-2.5-Flash, Kimi-K2"),
            (
                "/config",
                {"overrides": {"max_tokens": 10**30}},
                "config.max_tokens: must be a whole number from 1 to 1000000",
            ),
            ("/config", {"overrides": {"history_context_size": -1}}, "from 0 to 1000"),
            ("/prompts", {"overrides": {"CORE_IDENTITY": "x"}}, "prompts.CORE_IDENTITY"),
            ("/prompts", {"overrides": {"friends_profile": 5}}, "at most 65536 characters"),
            ("/messages", {"messages": []}, "messages"),
            ("/messages", {"messages": [{"run_id": "r", "role": "god", "content": "x"}]}, "messages.0.role"),
            ("/messages", {"messages": [{"run_id": "r", "role": "ai", "content": 5}]}, "messages.0.content"),
            ("/messages", {"messages": [{"run_id": "", "role": "ai", "content": ""}]}, "messages.0.run_id"),
            (
                "/messages",
                {"messages": [{"run_id": "r", "role": "ai", "content": "", "created_at": "yesterday"}]},
                "messages.0.created_at must be a date and time",
            ),
            (
                "/messages",
                # RFC 3339 §5.6: the minutes of an offset end at 59, which Python's own parser does not ask for.
                {"messages": [{"run_id": "r", "role": "ai", "content": "", "created_at": "2026-01-01T00:00:00+02:99"}]},
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

    def test_a_body_that_is_not_json_is_422(self) -> None:
        deep = b'{"overrides":' + b"[" * 200 + b"]" * 200 + b"}"
        for body in (b"", b"{", b'{"overrides":{"temperature":NaN}}', b'{"a":1,"a":2}', b'{"a":1e999}', b"\xff", deep):
            answer = self.client.request("POST", f"{BASE}/config", body=body, headers=self.owner.bearer)
            self.assert_refused(answer, 422)
            self.assertRegex(answer.json["detail"], "^body: .")

    def test_a_prompt_may_fill_the_body_with_characters_of_any_kind(self) -> None:
        for character, size in (("x", 1), ("🦊", 4), ("\x7f", 1)):
            text = character * ((MAX_BODY - 300) // size)
            data = json.dumps(self.owner.signed({"overrides": {"friends_profile": text}}), ensure_ascii=False).encode()
            answer = self.client.request("POST", f"{BASE}/prompts", body=data, headers=self.owner.bearer)
            self.assertEqual(answer.status, 200, answer.body[:200])
            self.assertEqual(self.profile(self.owner)["effective_prompts"]["friends_profile"]["content"], text)

    def test_a_body_above_64_kibibytes_is_413_in_the_shape_of_the_protocol(self) -> None:
        frame = b'{"overrides":{"x":""}}'
        for endpoint in ("/config", "/prompts", "/messages", "/batch"):
            for length, status in ((MAX_BODY, 401), (MAX_BODY + 1, 413)):
                body = frame.replace(b'""', b'"%b"' % (b"x" * (length - len(frame))))
                with Client(self.running.port) as client:
                    answer = client.request("POST", BASE + endpoint, body=body, headers=self.owner.bearer)
                self.assert_refused(answer, status)

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
            self.assertEqual(answer.headers["access-control-expose-headers"], "Link, ETag, Retry-After, OMP-Incomplete")

    def test_a_profile_that_has_not_changed_is_304(self) -> None:
        tag = self.owner.get(self.client, "/config").headers["etag"]
        for field in (tag, f'"other", W/{tag}', "*"):
            fields = {**self.owner.bearer, "If-None-Match": field}
            answer = self.client.request("GET", f"{BASE}/config", headers=fields)
            self.assertEqual((answer.status, answer.body, answer.headers["etag"]), (304, b"", tag))
        refused = self.client.request("GET", f"{BASE}/config", headers={**self.owner.bearer, "If-Match": '"other"'})
        self.assertEqual((refused.status, refused.headers["etag"], list(refused.json)), (412, tag, ["detail"]))
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


class Checks(unittest.TestCase):
    """Signatures are checked a few at a time (§10.6): what strangers send must not take the server from the others."""

    def setUp(self) -> None:
        self.entered, self.leave = threading.Semaphore(0), threading.Event()
        self.answers: list[int] = []
        self.threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def slow_server(self) -> Iterator[int]:
        """The port of a server whose checks do not end before `leave` is set."""

        def check(body: bytes, owner: str) -> None:
            self.entered.release()
            self.leave.wait(20)

        with running_server() as server, mock.patch("omp.protocols.nexus.routes.authenticate", check):
            try:
                yield server.port
            finally:
                self.leave.set()
                for thread in self.threads:
                    thread.join()

    def send(self, port: int, count: int) -> None:
        """Send `count` signed requests, each over a connection of its own, and do not wait for their answers."""

        def one() -> None:
            with Client(port) as client:
                self.answers.append(client.request("POST", f"{BASE}/config", CONFIG, ALICE.bearer).status)

        started = [threading.Thread(target=one) for _ in range(count)]
        self.threads += started
        for thread in started:
            thread.start()

    def test_two_run_at_a_time_and_the_others_wait(self) -> None:
        with self.slow_server() as port:
            self.send(port, AT_ONCE + 3)
            for _ in range(AT_ONCE):
                self.assertTrue(self.entered.acquire(timeout=20))
            self.assertFalse(self.entered.acquire(timeout=0.2))
            with Client(port) as client:  # reading waits for nobody
                self.assertEqual(client.request("GET", f"{BASE}/config", headers=ALICE.bearer).status, 200)
        self.assertEqual(self.answers, [200] * (AT_ONCE + 3))

    def test_beyond_the_waiting_ones_it_is_503_with_retry_after(self) -> None:
        with self.slow_server() as port, Client(port) as client:
            self.send(port, AT_ONCE + WAITING + 1)  # one of these is refused: whichever comes last
            while not self.answers:
                self.leave.wait(0.01)
            answer = client.request("POST", f"{BASE}/config", CONFIG, ALICE.bearer)
            self.assertEqual((answer.status, list(answer.json)), (503, ["detail"]))
            self.assertRegex(answer.headers["retry-after"], r"^\d+$")
            self.assertIn("Retry-After", answer.headers["access-control-expose-headers"])
        self.assertEqual(sorted(self.answers), [200] * (AT_ONCE + WAITING) + [503])

    def test_what_a_client_that_left_has_asked_for_is_not_begun(self) -> None:
        request = SimpleNamespace(
            headers={"authorization": ALICE.bearer["Authorization"]}, body=b"{}", abandoned=lambda: True
        )
        with running_server() as server, mock.patch("omp.protocols.nexus.routes.authenticate") as check:
            [nexus] = [mount.state for mount in server.http.application.mounts if mount.name == "nexus"]
            with self.assertRaises(NoTurn):
                post(WRITES[0])(request, nexus)  # type: ignore[arg-type]
        check.assert_not_called()

    @unittest.skipUnless(hasattr(Request, "abandoned"), "requests do not say whether their client has left")
    def test_nor_over_a_real_connection(self) -> None:
        with self.slow_server() as port:
            self.send(port, AT_ONCE)
            for _ in range(AT_ONCE):
                self.assertTrue(self.entered.acquire(timeout=20))
            body = json.dumps(CONFIG).encode()
            head = f"POST {BASE}/config HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {ALICE.address}\r\n"
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", port), 20) as connection:
                    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            self.leave.wait(0.2)
            self.leave.set()
            with Client(port) as client:
                self.assertEqual(client.request("POST", f"{BASE}/config", CONFIG, ALICE.bearer).status, 200)
            self.assertTrue(self.entered.acquire(timeout=20))  # the one that stayed
            self.assertFalse(self.entered.acquire(timeout=0.2))


class OnSQLite(OnMemory):
    """The same on the durable adapter; in short runs without the tests that mostly hash and do not store."""

    storage = "sqlite:FOLDER/omp.db"

    test_every_signed_request_of_the_vectors_is_answered_as_it_says = long(
        OnMemory.test_every_signed_request_of_the_vectors_is_answered_as_it_says
    )
    test_what_does_not_fit_is_422_and_named = long(OnMemory.test_what_does_not_fit_is_422_and_named)
    test_a_prompt_may_fill_the_body_with_characters_of_any_kind = long(
        OnMemory.test_a_prompt_may_fill_the_body_with_characters_of_any_kind
    )


if __name__ == "__main__":
    unittest.main()
