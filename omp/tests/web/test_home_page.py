"""``GET /``: facts for programs, and a page for browsers that leads to everything (omp §6)."""

from __future__ import annotations

import contextlib
import html
import re
import unittest

from omp.tests.harness import Client, running_server
from omp.tests.web.docs_browser import BROKEN_WORDS, FAINT_TEXT, PROGRAM, WITHOUT, DocsInABrowser
from omp.web.messages import JSON
from omp.web.pages import HTML, home_page

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


class Home(unittest.TestCase):
    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.client = stack.enter_context(Client(stack.enter_context(running_server()).port))

    def test_page_only_for_whom_likes_html_better_than_json(self) -> None:
        wanted = {
            None: JSON,
            "*/*": JSON,
            "": JSON,
            "application/json": JSON,
            "text/html, application/json": JSON,
            "text/html;q=0.5, */*": JSON,
            "text/html;q=0": JSON,
            "text/html;q=1.5": JSON,
            "application/*, text/*;q=0.9": JSON,
            BROWSER: HTML,
            "text/html": HTML,
            "TEXT/HTML ; Q=0.2": HTML,
            "text/*": HTML,
            "application/json;q=0.1, */*;q=0.2": HTML,
        }
        for accept, expected in wanted.items():
            with self.subTest(accept=accept):
                answer = self.client.request("GET", "/", headers={} if accept is None else {"Accept": accept})
                self.assertEqual(answer.status, 200)
                self.assertEqual(answer.headers["content-type"], expected)
                self.assertEqual(answer.headers["vary"], "Accept")

    def test_page_leads_to_every_protocol_and_document_and_no_link_is_dead(self) -> None:
        page = re.sub("</?code>", "`", self.client.request("GET", "/", headers={"Accept": BROWSER}).body.decode())
        links = re.findall('href="(/[^"]*)"', page)
        for wanted in ("/docs", "/openapi.json", "/health", "/.well-known/omp-configuration", "/.well-known/mrs"):
            self.assertIn(wanted, links)
        document = self.client.request("GET", "/openapi.json").json
        for tag in document["tags"]:
            self.assertIn(f"/docs#protocol-{tag['name']}", links)
            self.assertIn(html.escape(tag["description"]), page)
        for link in links:
            with self.subTest(link):
                self.assertEqual(self.client.request("GET", link.partition("#")[0]).status, 200)

    def test_page_runs_nothing_and_loads_nothing(self) -> None:
        answer = self.client.request("GET", "/", headers={"Accept": BROWSER})
        self.assertIn("script-src 'none'", answer.headers["content-security-policy"])
        self.assertRegex(answer.headers["content-security-policy"], "style-src 'sha256-[^ ]+'; ")
        page = answer.body.decode()
        self.assertNotIn("<script", page)
        self.assertEqual(set(re.findall("https?://[^'\" )]+", page)), {"http://www.w3.org/2000/svg"})

    def test_what_the_document_says_is_text_and_never_html(self) -> None:
        hostile = '"><script>alert(1)</script>$title `<script>`'
        page = home_page(
            {
                "info": {"title": hostile, "version": hostile, "description": hostile},
                "tags": [{"name": hostile, "description": hostile}],
                "paths": {f"/.well-known/{hostile}": {"get": {"summary": hostile}}},
            }
        ).body.decode()
        self.assertNotIn("<script", page)
        self.assertIn("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;$title", page)


@unittest.skipUnless(PROGRAM, WITHOUT)
class HomeInABrowser(DocsInABrowser):
    def test_browser_is_shown_the_page_and_can_read_it_on_a_phone(self) -> None:
        self.on_a_phone()
        self.browser.visit(f"{self.server.url}/")
        self.browser.wait_for("document.querySelectorAll('dt').length > 5")
        self.addCleanup(self.browser.command, "Emulation.setEmulatedMedia", features=[])
        for scheme in ("light", "dark"):
            with self.subTest(scheme):
                self.browser.command(
                    "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
                )
                self.assertEqual(self.browser.evaluate(FAINT_TEXT)[1], [])
        self.assertEqual(self.browser.evaluate(BROKEN_WORDS)[1], [])
        self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"), 390)
        self.browser.evaluate("""document.querySelector('a[href="/docs#protocol-mrs"]').click()""")
        self.browser.wait_for("document.querySelector('#protocol-mrs .route') !== null")


if __name__ == "__main__":
    unittest.main()
