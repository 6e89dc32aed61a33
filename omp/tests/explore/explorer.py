"""The page at ``/explore`` in a real browser, for the tests of its views."""

from __future__ import annotations

import contextlib
import json
import unittest
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from omp.tests import ALL
from omp.tests.harness import Client, Running, running_server
from omp.tests.web.browser import Page, chromium

PROGRAM = chromium()
WITHOUT = "Chromium is not installed: apt-get install chromium"
thorough = unittest.skipUnless(PROGRAM and ALL, WITHOUT if ALL else "long: set OMP_TESTS=all")
"""For what opens view after view: a browser takes longer than all else in the suite together."""
PHONE = 390  # CSS pixels

LISTENER = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""
"""Installed before anything of the page runs: what the policy had to refuse."""


class ExplorerInABrowser(unittest.TestCase):
    """A server with the settings `environ` (the demo, unless a class says otherwise), and its page."""

    environ: ClassVar[Mapping[str, str]] = {"OMP_DEMO": "1"}
    stack: ClassVar[contextlib.ExitStack]
    server: ClassVar[Running]
    browser: ClassVar[Page]
    guide: ClassVar[dict[str, Any]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = contextlib.ExitStack()
        cls.server = cls.stack.enter_context(running_server(cls.environ))
        with Client(cls.server.port) as client:
            answer = client.request("GET", "/explore/demo.json")
            cls.guide = answer.json if answer.status == 200 else {}
        cls.browser = Page(PROGRAM or "")
        cls.stack.callback(cls.browser.close)
        cls.browser.command("Page.addScriptToEvaluateOnNewDocument", source=LISTENER)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.close()

    def setUp(self) -> None:
        self.browser.complaints.clear()
        self.browser.requested.clear()
        self.on_a_screen(1280, 900)

    def tearDown(self) -> None:
        self.assertEqual(self.browser.complaints, [])
        self.assertEqual(self.browser.evaluate("window.violations"), [])

    def show(self, *path: str, **query: str) -> None:
        """Load the page at a view, with nothing left of what it was before."""
        chosen = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        hash_ = "#/" + "/".join(quote(part, safe="") for part in path) + (f"?{chosen}" if chosen else "")
        self.browser.visit("about:blank")
        self.browser.visit(f"{self.server.url}/explore{hash_}")
        name = json.dumps("/".join(path) or "overview")
        self.browser.wait_for(f"document.getElementById('view')?.dataset.shown === {name}")

    def go(self, hash_: str) -> None:
        """Follow a link within the page."""
        self.browser.evaluate(f"location.hash = {json.dumps(hash_)}")

    def text(self, selector: str) -> str:
        """What is written in the first element that `selector` finds."""
        return str(self.browser.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    def count(self, selector: str) -> int:
        """How many elements there are."""
        return int(self.browser.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def wait(self, condition: str) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        return self.browser.wait_for(condition)

    def wait_for_text(self, selector: str, text: str) -> None:
        """Wait until an element says `text`, among other things."""
        self.wait(f"document.querySelector({json.dumps(selector)})?.textContent.includes({json.dumps(text)})")

    def click(self, selector: str) -> None:
        """Click on the first element that `selector` finds."""
        self.browser.evaluate(
            f"document.querySelector({json.dumps(selector)}).dispatchEvent(new MouseEvent('click', {{bubbles: true}}))"
        )

    def fill(self, field: str, value: str) -> None:
        """Write `value` into a field, as a person would: the page is told."""
        self.browser.evaluate(
            f"(() => {{ const field = document.getElementById('{field}'); field.value = {json.dumps(value)};"
            " for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind)); })()"
        )

    def on_a_screen(self, width: int, height: int) -> None:
        """Show the page on a screen of this size, in CSS pixels."""
        self.browser.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
