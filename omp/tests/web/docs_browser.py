"""The page at ``/docs`` in a real browser, for the tests of reading it and of trying routes on it."""

from __future__ import annotations

import contextlib
import json
import unittest
from collections.abc import Mapping
from typing import Any, ClassVar

from omp.tests.harness import Client, Running, running_server
from omp.tests.web.browser import Page, chromium

PROGRAM = chromium()
WITHOUT = "Chromium is not installed: apt-get install chromium"
PHONE = 390  # CSS pixels

BROKEN_WORDS = r"""(() => {
  const broken = [], range = document.createRange();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let measured = 0;
  for (let node; (node = texts.nextNode());) {
    if (!node.parentElement.checkVisibility() || node.parentElement.closest("script, style, option")) continue;
    for (const word of node.data.matchAll(/[\p{L}\p{N}]{2,}/gu)) {
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].filter((one) => one.width).map((one) => Math.round(one.top)));
      measured += 1;
      if (lines.size > 1) broken.push(word[0]);
    }
  }
  return [measured, broken];
})()"""
"""[how many words were looked at, those that are on more than one line]."""

FAINT_TEXT = r"""(() => {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = channels(colour).slice(0, 3).map((one) => one / 255)
      .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((channels(colour)[3] ?? 1) === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = new Set();
  let measured = 0;
  const check = (name, colour, ground, least) => {
    measured += 1;
    if (contrast(colour, ground) < least) faint.add(`${name}: ${colour} on ${ground}`);
  };
  for (const one of document.body.querySelectorAll("*")) {
    if (!one.checkVisibility() || one.matches("script, style, option, wbr")) continue;
    const style = getComputedStyle(one), name = `${one.tagName} ${one.className}`;
    if ([...one.childNodes].some((child) => child.nodeType === 3 && child.data.trim())) {
      check(name, style.color, behind(one), 4.5);
    }
    if (!one.matches("input, textarea, select")) continue;
    check(name, style.color, style.backgroundColor, 4.5);
    check(`${name} placeholder`, getComputedStyle(one, "::placeholder").color, style.backgroundColor, 4.5);
    check(`${name} border`, style.borderTopColor, behind(one.parentElement), 3);
  }
  return [measured, [...faint]];
})()"""
"""[how many colours were compared, those with too little contrast]: WCAG 2.2, 1.4.3 and 1.4.11."""


class DocsInABrowser(unittest.TestCase):
    """A server with the settings `environ`, and its page, loaded anew for each test."""

    environ: ClassVar[Mapping[str, str]] = {}
    stack: ClassVar[contextlib.ExitStack]
    server: ClassVar[Running]
    browser: ClassVar[Page]
    document: ClassVar[dict[str, Any]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.stack = contextlib.ExitStack()
        cls.server = cls.stack.enter_context(running_server(cls.environ))
        with Client(cls.server.port) as client:
            cls.document = client.request("GET", "/openapi.json").json
        cls.browser = Page(PROGRAM or "")
        cls.stack.callback(cls.browser.close)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.stack.close()

    def setUp(self) -> None:
        self.browser.complaints.clear()
        self.browser.requested.clear()
        self.load()

    def tearDown(self) -> None:
        self.assertEqual(self.browser.complaints, [])

    def load(self, fragment: str = "") -> None:
        """Load the page, with nothing left of what it was before."""
        self.browser.visit("about:blank")
        self.browser.visit(f"{self.server.url}/docs{fragment}")
        self.browser.wait_for("document.querySelectorAll('.route').length > 0")

    def show(self, document: Mapping[str, Any]) -> None:
        """Show another OpenAPI document than that of the server."""
        self.browser.evaluate(f"show({json.dumps(document)})")

    def on_a_phone(self, width: int = PHONE) -> None:
        """The width of a phone, until the test ends."""
        self.browser.resize(width, 844)
        self.addCleanup(self.browser.command, "Emulation.clearDeviceMetricsOverride")

    def id_of(self, method: str, path: str) -> str:
        """The operation id of a route: the id of its card."""
        return str(self.document["paths"][path][method.lower()]["operationId"])

    def open(self, route: str) -> None:
        """Open a route by its operation id."""
        self.browser.evaluate(f"document.getElementById('{route}').open = true")
        self.browser.wait_for(f"document.querySelector('#{route} form') !== null")

    def open_everything(self) -> None:
        """Every route, every member of its schemas, and the credentials."""
        self.browser.evaluate("openAll(document.body)")

    def fill(self, field: str, value: str) -> None:
        """Write `value` into a field, as a person would: the page is told."""
        self.browser.evaluate(
            f"(() => {{ const field = document.getElementById('{field}'); field.value = {json.dumps(value)};"
            " for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind)); })()"
        )

    def text(self, selector: str) -> str:
        """What is written in the first element that `selector` finds."""
        return str(self.browser.evaluate(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''"))

    def send(self, route: str, **inputs: str) -> tuple[str, str]:
        """Fill the form of a route and send it: the status line and the body that are shown then."""
        self.open(route)
        for name, value in inputs.items():
            self.fill(f"{route}-{name}", value)
        self.browser.evaluate(f"document.querySelector('#{route} button[type=submit]').click()")
        return self.answer(route)

    def answer(self, route: str) -> tuple[str, str]:
        """The status line and the body that are shown once the answer is there, or the reason why it was not sent."""
        self.browser.wait_for(
            f"/with curl/.test(document.querySelector('#{route} .result')?.textContent) ||"
            f" /^Not sent/.test(document.querySelector('#{route} .status')?.textContent)"
        )
        body = f"document.querySelectorAll('#{route} .result pre')[1]?.textContent ?? ''"
        return self.text(f"#{route} .status"), str(self.browser.evaluate(body))

    def curl(self, route: str) -> str:
        """The curl command that is shown below the answer."""
        return self.text(f"#{route} .result [aria-label='the curl command']")
