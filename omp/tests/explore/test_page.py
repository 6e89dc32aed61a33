"""The frame of the explorer: what the server sends for it, navigation, the overview, and what holds for every view."""

from __future__ import annotations

import contextlib
import re
import unittest

from omp.explore import JAVASCRIPT
from omp.tests.explore.explorer import PROGRAM, WITHOUT, ExplorerInABrowser
from omp.tests.harness import Client, running_server

MOST_BYTES = 200_000


class Served(unittest.TestCase):
    """What the server sends."""

    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.client = stack.enter_context(Client(stack.enter_context(running_server()).port))
        self.answer = self.client.request("GET", "/explore")
        self.page = self.answer.body.decode()

    def files(self) -> dict[str, bytes]:
        """Every file that the page loads, from the first script on."""
        found: dict[str, bytes] = {}
        wanted = re.findall(r'src="/explore/([a-z.-]+)"', self.page)
        while wanted:
            name = wanted.pop()
            answer = self.client.request("GET", f"/explore/{name}")
            self.assertEqual(answer.status, 200, name)
            found[name] = answer.body
            named = re.findall(r'"(?:\./|/explore/)([a-z-]+\.js(?:on)?)"', answer.body.decode())
            wanted += sorted(set(named) - found.keys() - set(wanted) - {"demo.json"})
        return found

    def test_policy_lets_only_the_servers_own_scripts_run(self) -> None:
        policy = self.answer.headers["content-security-policy"].split("; ")
        for directive in (
            "default-src 'none'", "script-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
            "require-trusted-types-for 'script'", "trusted-types 'none'",
        ):  # fmt: skip
            self.assertIn(directive, policy)
        self.assertNotIn("unsafe", " ".join(policy))

    def test_page_has_no_inline_scripts_handlers_or_styles(self) -> None:
        markup = re.sub(r"<style>.*?</style>", "", self.page, flags=re.DOTALL)
        self.assertEqual(re.findall(r"<script[^>]*>", markup), ['<script type="module" src="/explore/main.js">'])
        self.assertIsNone(re.search(r"<[^>]*\s(on[a-z]+|style)=", markup))

    def test_scripts_are_scripts_and_refer_to_nothing_outside(self) -> None:
        for name, body in self.files().items():
            if name.endswith(".js"):
                answer = self.client.request("GET", f"/explore/{name}")
                self.assertEqual(answer.headers["content-type"], JAVASCRIPT)
                self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
                addresses = set(re.findall(rb"https?://[a-z][^'\"` )]+", body))
                self.assertLessEqual(addresses, {b"http://www.w3.org/2000/svg"}, name)
                self.assertNotRegex(
                    body, rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
                )

    def test_all_of_it_is_small(self) -> None:
        everything = self.answer.body + b"".join(self.files().values())
        self.assertLess(len(everything), MOST_BYTES)

    def test_every_file_of_the_page_is_used(self) -> None:
        from omp.explore import _files

        self.assertEqual(set(self.files()), set(_files()))

    def test_modules_open_with_what_they_are_and_are_not_long(self) -> None:
        for name, body in self.files().items():
            if name.endswith(".js"):
                with self.subTest(name):
                    self.assertTrue(body.startswith(b"// "))
                    self.assertLess(body.count(b"\n"), 420)

    def test_there_is_no_other_file(self) -> None:
        for name in ("explore.html", "nothing.js", "..%2F__init__.py", "%2Fetc%2Fpasswd"):
            self.assertEqual(self.client.request("GET", f"/explore/{name}").status, 404)


@unittest.skipUnless(PROGRAM, WITHOUT)
class Overview(ExplorerInABrowser):
    def test_counts_follow_within_moments(self) -> None:
        self.show()
        self.wait_for_text(".cards", "1 log, 55 operations")
        self.wait_for_text(".cards", "35 places")
        self.wait_for_text(".cards", "9 objects")
        with Client(self.server.port) as client:
            client.request("POST", "/objects", {"namespace": "late", "content": {}})
        self.wait_for_text(".cards", "10 objects")

    def test_asks_no_other_host_for_anything(self) -> None:
        self.show()
        self.wait_for_text(".cards", "35 places")
        foreign = [url for url in self.browser.requested if not url.startswith((self.server.url, "data:", "about:"))]
        self.assertEqual(foreign, [])

    def test_an_unknown_view_is_the_overview(self) -> None:
        self.show("nowhere")
        self.assertEqual(self.text("h1"), "What this server holds")


if __name__ == "__main__":
    unittest.main()
