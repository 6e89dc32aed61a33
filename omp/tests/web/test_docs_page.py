"""The page at ``/docs``: its headers everywhere, and the page itself in a real browser, if there is one."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import unittest
from typing import ClassVar

from omp.tests.harness import Client, Running, running_server
from omp.tests.oplog.world import LOG, first_operation
from omp.tests.web.browser import Page, chromium
from omp.web.messages import JSON

PROGRAM = chromium()


class Served(unittest.TestCase):
    """What the server sends for it."""

    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        client = stack.enter_context(Client(stack.enter_context(running_server()).port))
        self.answer = client.request("GET", "/docs")
        self.page = self.answer.body.decode()

    def test_is_html_in_utf_8(self) -> None:
        self.assertEqual(self.answer.status, 200)
        self.assertEqual(self.answer.headers["content-type"], "text/html; charset=utf-8")

    def test_policy_names_the_digest_of_the_script_and_of_the_style(self) -> None:
        policy = self.answer.headers["content-security-policy"]
        for tag in ("script", "style"):
            (block,) = re.findall(f"<{tag}>(.*?)</{tag}>", self.page, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
            self.assertIn(f"{tag}-src 'sha256-{digest}'", policy)

    def test_policy_allows_no_inline_code_and_no_other_host(self) -> None:
        policy = self.answer.headers["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertNotIn("http", policy)

    def test_has_no_inline_handlers_or_styles(self) -> None:
        markup = re.sub(r"<(script|style)>.*?</\1>", "", self.page, flags=re.DOTALL)
        self.assertIsNone(re.search(r"<[^>]*\s(on[a-z]+|style)=", markup))

    def test_refers_to_nothing_outside(self) -> None:
        addresses = set(re.findall(r"https?://[^'\" )]+", self.page))
        self.assertEqual(addresses, {"http://www.w3.org/2000/svg"}, "only the name of a vocabulary")


@unittest.skipUnless(PROGRAM, "Chromium is not installed: apt-get install chromium")
class InABrowser(unittest.TestCase):
    """The page as a person uses it."""

    stack: ClassVar[contextlib.ExitStack]
    server: ClassVar[Running]
    browser: ClassVar[Page]

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = contextlib.ExitStack()
        cls.server = cls.stack.enter_context(running_server())
        cls.browser = Page(PROGRAM or "")
        cls.stack.callback(cls.browser.close)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.close()

    def setUp(self) -> None:
        self.browser.complaints.clear()
        self.browser.requested.clear()
        self.browser.visit("about:blank")
        self.browser.visit(f"{self.server.url}/docs")
        self.browser.wait_for("document.querySelectorAll('.route').length > 0")

    def tearDown(self) -> None:
        self.assertEqual(self.browser.complaints, [])

    def open(self, route: str) -> None:
        """Open a route by its operation id."""
        self.browser.evaluate(f"document.getElementById('{route}').open = true")
        self.browser.wait_for(f"document.querySelector('#{route} form') !== null")

    def send(self, route: str, **inputs: str) -> tuple[str, str]:
        """Fill the form of a route and send it: the status line and the body that are shown then."""
        self.open(route)
        for name, value in inputs.items():
            self.browser.evaluate(f"document.getElementById('{route}-{name}').value = {json.dumps(value)}")
        self.browser.evaluate(f"document.querySelector('#{route} button[type=submit]').click()")
        self.browser.wait_for(f"document.querySelector('#{route} .result')?.textContent.includes('with curl')")
        status = self.browser.evaluate(f"document.querySelector('#{route} .status').textContent")
        body = self.browser.evaluate(f"document.querySelectorAll('#{route} .result pre')[1]?.textContent ?? ''")
        return status, body

    def test_shows_every_route_under_its_protocol(self) -> None:
        with Client(self.server.port) as client:
            paths = client.request("GET", "/openapi.json").json["paths"]
        expected = sorted(
            [operation["tags"][0], method.upper(), path, operation["summary"]]
            for path, methods in paths.items()
            for method, operation in methods.items()
        )
        shown = self.browser.evaluate(
            """[...document.querySelectorAll('.route')].map((card) => [card.closest('section').dataset.protocol,
               ...['.method', '.path', '.what'].map((part) => card.querySelector(part).textContent)])"""
        )
        self.assertGreater(len(expected), 5)
        self.assertEqual(sorted(shown), expected)

    def test_explains_every_route_when_it_is_opened(self) -> None:
        self.browser.evaluate("document.querySelectorAll('.route').forEach((card) => { card.open = true; })")
        self.browser.wait_for("[...document.querySelectorAll('.route')].every((card) => card.querySelector('form'))")
        without_answers = self.browser.evaluate(
            """[...document.querySelectorAll('.route')].filter((card) =>
               !card.querySelector('table') || card.textContent.includes('undefined')).map((card) => card.id)"""
        )
        self.assertEqual(without_answers, [])

    def test_every_field_has_a_label(self) -> None:
        self.browser.evaluate("document.querySelectorAll('.route').forEach((card) => { card.open = true; })")
        self.browser.wait_for("[...document.querySelectorAll('.route')].every((card) => card.querySelector('form'))")
        unlabelled = self.browser.evaluate(
            """[...document.querySelectorAll('input, textarea, select')]
               .filter((one) => !one.labels.length).map((one) => one.id)"""
        )
        self.assertEqual(unlabelled, [])

    def test_trying_a_get_shows_status_headers_body_and_the_command(self) -> None:
        status, body = self.send("checkHealth")
        self.assertRegex(status, r"^200 OK, \d+ ms$")
        self.assertEqual(json.loads(body), {"status": "ok"})
        shown = self.browser.evaluate("document.querySelector('#checkHealth .result').textContent")
        self.assertIn("content-type: application/json", shown)
        self.assertIn(f"curl -i '{self.server.url}/health'", shown)

    def test_trying_a_post_sends_the_example_body(self) -> None:
        status, body = self.send("createObject")
        self.assertTrue(status.startswith("201 "), status)
        with Client(self.server.port) as client:
            self.assertEqual(client.request("GET", f"/objects/{json.loads(body)['id']}").status, 200)

    def test_trying_a_route_fills_in_path_query_and_header_fields(self) -> None:
        with Client(self.server.port) as client:
            made = client.request("POST", "/objects", {"namespace": "a b&c", "key": "k", "content": {}}).json
            etag = client.request("GET", f"/objects/{made['id']}").headers["etag"]
        status, body = self.send("searchObjects", **{"query-namespace": "a b&c"})
        self.assertEqual([item["id"] for item in json.loads(body)["items"]], [made["id"]], status)
        status, _ = self.send("getObject", **{"path-id": made["id"], "headers": f"If-None-Match: {etag}"})
        self.assertTrue(status.startswith("304 "), status)

    def test_trying_a_route_wrongly_shows_the_refusal(self) -> None:
        status, body = self.send("createObject", body="{")
        self.assertTrue(status.startswith("400 "), status)
        self.assertEqual(json.loads(body)["error"]["code"], "bad_request")

    def test_what_the_server_says_is_text_and_never_html(self) -> None:
        hostile = '<img src="x" onerror="document.title=1"><script>document.title=2</script>'
        with Client(self.server.port) as client:
            made = client.request("POST", "/objects", {"namespace": "n", "content": {"text": hostile}}).json
        _, body = self.send("getObject", **{"path-id": made["id"]})
        self.assertEqual(json.loads(body)["content"]["text"], hostile)
        self.assertEqual(self.browser.evaluate("document.querySelectorAll('img').length"), 0)

    def test_a_stream_is_shown_until_it_is_stopped(self) -> None:
        with Client(self.server.port) as client:
            client.request("POST", f"/logs/{LOG}/operations", body=first_operation(), headers={"Content-Type": JSON})
        route = "followEvents"
        self.open(route)
        self.browser.evaluate(f"document.getElementById('{route}-path-log').value = '{LOG}'")
        self.browser.evaluate(f"document.querySelector('#{route} button[type=submit]').click()")
        self.browser.wait_for(f"document.querySelector('#{route} .status')?.textContent.startsWith('200')")
        self.assertTrue(self.browser.evaluate(f"document.querySelector('#{route} button[type=submit]').disabled"))
        self.browser.evaluate(f"document.querySelector('#{route} .buttons .plain').click()")
        self.browser.wait_for(f"document.querySelector('#{route} .status').textContent.endsWith(', stopped')")
        self.assertFalse(self.browser.evaluate(f"document.querySelector('#{route} button[type=submit]').disabled"))

    def test_filter_keeps_what_matches_every_word(self) -> None:
        self.browser.evaluate("document.body.focus()")
        for key in "/post search":
            self.browser.type_key(key)
        shown = self.browser.wait_for(
            """document.getElementById('filter').value === 'post search' &&
               [...document.querySelectorAll('.route:not([hidden])')].map((card) => card.id)"""
        )
        self.assertIn("searchObjectsByBody", shown)
        self.assertNotIn("searchObjects", shown)
        self.assertEqual(self.browser.evaluate("document.getElementById('found').textContent"), f"{len(shown)} found")

    def test_an_address_with_a_route_opens_it(self) -> None:
        self.browser.visit("about:blank")
        self.browser.visit(f"{self.server.url}/docs#checkHealth")
        self.browser.wait_for("document.getElementById('checkHealth')?.open")

    def test_nothing_is_wider_than_a_phone(self) -> None:
        self.browser.resize(360, 740)
        self.addCleanup(self.browser.command, "Emulation.clearDeviceMetricsOverride")
        self.browser.evaluate("document.querySelectorAll('.route').forEach((card) => { card.open = true; })")
        self.browser.wait_for("[...document.querySelectorAll('.route')].every((card) => card.querySelector('form'))")
        self.send("checkHealth")
        self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"), 360)

    def test_asks_no_other_host_for_anything(self) -> None:
        self.send("checkHealth")
        own = [url for url in self.browser.requested if url.startswith(f"{self.server.url}/")]
        foreign = [url for url in self.browser.requested if not url.startswith((self.server.url, "data:", "about:"))]
        self.assertIn(f"{self.server.url}/openapi.json", own)
        self.assertEqual(foreign, [])


if __name__ == "__main__":
    unittest.main()
