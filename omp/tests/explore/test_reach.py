"""Whom the page reaches: phones, the keyboard, screen readers, light and dark, as measured in every view.

The last test runs the checker axe-core, where the variable ``AXE_CORE`` names its file ``axe.min.js`` (CI fetches it).
"""

from __future__ import annotations

import itertools
import os
import unittest
from collections.abc import Iterator
from pathlib import Path

from omp.tests.explore.explorer import PHONE, ExplorerInABrowser, thorough
from omp.tests.web.docs_browser import FAINT_TEXT

AXE = os.environ.get("AXE_CORE", "")
FIRST_PAINT_MS = 200


@thorough
class EveryView(ExplorerInABrowser):
    def views(self) -> Iterator[str]:
        """Show each view in turn, filled; yields its name."""
        log = self.guide["log"]
        stops = {stop["title"]: stop.get("op") or stop["claim"] for stop in self.guide["tour"]}
        for name, path, query, ready in (
            ("overview", (), {}, ".tour"),
            ("logs", ("logs",), {}, ".cards"),
            ("graph", ("log", log), {"op": stops["A fork"]}, ".checks .good"),
            ("claims", ("log", log, "claims"), {"search": "alarm"}, "tbody a"),
            ("grants", ("log", log, "grants"), {}, ".tree"),
            ("replicas", ("replicas",), {}, ".agreement .good"),
            ("objects", ("objects",), {}, "tbody"),
            ("places", ("places",), {"lat": "48.2", "lon": "16.37", "range": "10000"}, ".found li"),
            ("vault", ("vault",), {}, "form"),
            ("profile", ("profile", self.guide["profile"]), {}, ".talk"),
            ("key", ("key",), {}, "form"),
        ):
            self.show(*path, **query)
            self.wait(f"document.querySelector({ready!r}) !== null")
            if name == "claims":
                self.click("tbody a")
                self.wait("document.querySelector('.tree') !== null")
            if name == "graph":
                self.browser.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            if name == "vault":
                self.browser.evaluate("document.querySelectorAll('form .buttons button')[1].click()")
                self.wait("document.querySelector('table') !== null")
            yield name

    def test_nothing_is_wider_than_a_phone(self) -> None:
        self.on_a_screen(PHONE, 844)
        for name in self.views():
            with self.subTest(name):
                self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"), PHONE)

    def test_contrast_is_enough_in_light_and_dark(self) -> None:
        self.addCleanup(self.browser.command, "Emulation.setEmulatedMedia", features=[])
        for scheme in ("light", "dark"):
            self.browser.command(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            for name in self.views():
                with self.subTest(name, scheme=scheme):
                    measured, faint = self.browser.evaluate(FAINT_TEXT)
                    self.assertGreater(measured, 10)
                    self.assertEqual(faint, [])

    def test_every_field_has_a_label_and_every_control_a_name(self) -> None:
        for name in self.views():
            with self.subTest(name):
                unlabelled = (
                    "[...document.querySelectorAll('input, select, textarea')].filter((one) => !one.labels.length)"
                )
                self.assertEqual(self.browser.evaluate(f"{unlabelled}.map((one) => one.id)"), [])
                nodes = self.browser.command("Accessibility.getFullAXTree")["nodes"]
                used = [
                    node
                    for node in nodes
                    if not node["ignored"]
                    and node["role"]["value"]
                    in ("button", "link", "textbox", "searchbox", "slider", "combobox", "application", "image")
                ]
                self.assertGreater(len(used), 5)
                self.assertEqual([node["role"]["value"] for node in used if not node["name"]["value"].strip()], [])

    def test_every_view_has_one_title_and_headings_in_order(self) -> None:
        for name in self.views():
            with self.subTest(name):
                levels = self.browser.evaluate(
                    "[...document.querySelectorAll('h1, h2, h3, h4')].filter((one) => one.checkVisibility())"
                    ".map((one) => Number(one.tagName[1]))"
                )
                self.assertEqual(levels.count(1), 1)
                self.assertTrue(all(b - a <= 1 for a, b in itertools.pairwise(levels)), levels)

    def test_the_first_paint_is_soon(self) -> None:
        self.show()
        paint = self.browser.evaluate(
            "performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint')?.startTime ?? 0"
        )
        print(f"(first paint after {paint:.0f} ms) ", end="", flush=True)

    @unittest.skipUnless(AXE, "AXE_CORE does not name axe.min.js of the npm package axe-core")
    def test_the_checker_axe_finds_nothing_serious(self) -> None:
        source = Path(AXE).read_text(encoding="utf-8")
        for width in (1280, PHONE):
            self.on_a_screen(width, 900)
            for name in self.views():
                with self.subTest(name, width=width):
                    self.browser.evaluate(source + "; null")
                    found = self.browser.evaluate(
                        "axe.run(document).then(({violations}) => violations.map((one) =>"
                        " `${one.impact}: ${one.id}: ${one.nodes.map((node) => node.html).slice(0, 3)}`))"
                    )
                    self.assertEqual([one for one in found if one.startswith(("serious", "critical"))], [])


if __name__ == "__main__":
    unittest.main()
