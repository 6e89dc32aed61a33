"""The page at ``/docs``: its headers everywhere, and the page itself in a real browser, if there is one."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import unittest
from pathlib import Path
from typing import Any

import omp
from omp.tests.harness import Client, running_server
from omp.tests.web.docs_browser import BROKEN_WORDS, FAINT_TEXT, PROGRAM, WITHOUT, DocsInABrowser

USED = {
    "button",
    "checkbox",
    "combobox",
    "DisclosureTriangle",
    "link",
    "navigation",
    "region",
    "searchbox",
    "textbox",
}
"""Roles in the accessibility tree of what a person moves to or acts on."""

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "A wood", "version": "1"},
    "paths": {
        "/trees/{id}": {
            "parameters": [{"$ref": "#/components/parameters/id"}],
            "put": {
                "operationId": "plant",
                "tags": ["trees"],
                "summary": "Plant a tree",
                "security": [{"card": []}, {"gate": [], "ticket": []}],
                "requestBody": {"$ref": "#/components/requestBodies/tree"},
                "responses": {"201": {"$ref": "#/components/responses/planted"}},
            },
        }
    },
    "components": {
        "parameters": {"id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}},
        "requestBodies": {
            "tree": {
                "content": {
                    "application/json": {
                        "schema": {"$ref": "#/components/schemas/Tree"},
                        "examples": {
                            "oak": {"summary": "An oak", "value": {"name": "oak"}},
                            "elm": {"$ref": "#/components/examples/elm"},
                        },
                    }
                }
            }
        },
        "examples": {"elm": {"value": {"name": "elm"}}},
        "responses": {
            "planted": {
                "description": "It stands",
                "headers": {"Location": {"$ref": "#/components/headers/Location"}},
                "content": {"application/json": {"example": {"state": "planted already"}}},
            }
        },
        "headers": {"Location": {"description": "Where it stands", "schema": {"type": "string"}}},
        "securitySchemes": {
            "card": {"type": "http", "scheme": "bearer"},
            "gate": {"type": "apiKey", "in": "header", "name": "X-Gate"},
            "ticket": {"type": "apiKey", "in": "query", "name": "ticket"},
        },
        "schemas": {
            "Tree": {
                "type": "object",
                "required": ["name"],
                "allOf": [{"properties": {"name": {"type": "string", "pattern": "^[a-z]+$"}}}],
                "properties": {
                    "height": {"$ref": "#/components/schemas/Height"},
                    "rings": {"type": "array", "items": {"$ref": "#/components/schemas/Ring"}},
                    "parent": {"$ref": "#/components/schemas/Tree"},
                    "fruit": {"oneOf": [{"$ref": "#/components/schemas/Apple"}, {"type": "string"}]},
                    "labels": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
                },
            },
            "Height": {"type": "integer", "minimum": 0, "maximum": 130, "default": 3, "description": "In metres"},
            "Ring": {"type": "object", "properties": {"year": {"type": "integer"}}},
            "Apple": {
                "type": "object",
                "properties": {"seeds": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
            },
        },
    },
}
"""What OpenAPI 3.1 allows and the server's own document may not use."""


class Served(unittest.TestCase):
    """What the server sends for it."""

    def setUp(self) -> None:
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        self.client = stack.enter_context(Client(stack.enter_context(running_server()).port))
        self.answer = self.client.request("GET", "/docs")
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

    def test_without_javascript_it_says_what_to_do_and_leads_on(self) -> None:
        (without,) = re.findall("<noscript>(.*?)</noscript>", self.page, re.DOTALL)
        self.assertIn("Switch it on", without)
        links = re.findall('href="([^"]*)"', without)
        self.assertEqual(links, ["/openapi.json", "/"])
        for link in links:
            self.assertEqual(self.client.request("GET", link, headers={"Accept": "text/html, */*;q=0.1"}).status, 200)
        protocols = Path(omp.__file__).parent / "protocols"
        self.assertIn("<code>omp/protocols/</code>", without)
        for folder in {path.parent for path in protocols.glob("*/__init__.py")}:
            self.assertTrue((folder / "README.md").exists() and (folder / "SPEC.md").exists(), folder)


@unittest.skipUnless(PROGRAM, WITHOUT)
class Reading(DocsInABrowser):
    """The page as a person reads it."""

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
        self.open_everything()
        without_answers = self.browser.evaluate(
            """[...document.querySelectorAll('.route')].filter((card) =>
               !card.querySelector('table') || card.textContent.includes('undefined')).map((card) => card.id)"""
        )
        self.assertEqual(without_answers, [])

    def test_shows_no_bound_that_the_browser_has_rounded(self) -> None:
        self.open("pullRepo")
        self.open_everything()
        shown = self.text("#pullRepo .schema")
        self.assertIn("format int64", shown)
        self.assertNotIn("922337203685477", shown)

    def test_every_field_has_a_label(self) -> None:
        self.open_everything()
        unlabelled = self.browser.evaluate(
            """[...document.querySelectorAll('input, textarea, select')]
               .filter((one) => !one.labels.length).map((one) => one.id)"""
        )
        self.assertEqual(unlabelled, [])

    def test_filter_keeps_what_matches_every_word(self) -> None:
        self.browser.evaluate("document.body.focus()")
        for key in "/post search":
            self.browser.type_key(key)
        shown = self.browser.wait_for(
            """document.getElementById('filter').value === 'post search' &&
               [...document.querySelectorAll('.route:not([hidden])')].map((card) => card.id)"""
        )
        self.assertIn(self.id_of("POST", "/objects/search"), shown)
        self.assertNotIn(self.id_of("GET", "/objects/search"), shown)
        self.assertEqual(self.text("#found"), f"{len(shown)} found")

    def found(self, words: str) -> set[str]:
        """The routes that the filter leaves."""
        self.fill("filter", words)
        return set(self.browser.evaluate("[...document.querySelectorAll('.route:not([hidden])')].map((one) => one.id)"))

    def test_filter_reads_path_summary_tag_and_descriptions(self) -> None:
        operations = [one for item in self.document["paths"].values() for one in item.values()]
        of_nexus = {one["operationId"] for one in operations if one["tags"] == ["nexus"]}
        self.assertEqual(self.found("nexus"), of_nexus, "the tag")
        self.assertEqual(
            self.found("why derivation"), {self.id_of("GET", "/logs/{log}/claims/{id}/why")}, "the summary"
        )
        self.assertIn(self.id_of("POST", "/v1/repos"), self.found("/v1/repos access"), "the description")
        document = {
            **DOCUMENT,
            "tags": [{"name": "trees", "description": "Oaks and elms"}],
        }
        self.show(document)
        self.assertEqual(self.found("elms"), {"plant"}, "the description of the tag")
        self.assertEqual(self.found("elms birch"), set())
        self.assertEqual(self.text("#found"), "0 found")

    def test_an_address_with_a_route_opens_it(self) -> None:
        health = self.id_of("GET", "/health")
        self.load(f"#{health}")
        self.browser.wait_for(f"document.getElementById('{health}')?.open")

    def test_the_address_follows_what_is_opened_on_a_phone_too(self) -> None:
        self.on_a_phone()
        health = self.id_of("GET", "/health")
        for expected in (f"#{health}", ""):
            self.browser.evaluate(f"document.querySelector('#{health} > summary').click()")
            self.assertEqual(self.browser.evaluate("location.hash"), expected)

    def test_a_link_opens_its_route_again_and_one_that_the_filter_hides(self) -> None:
        health = self.id_of("GET", "/health")
        opened = f"document.getElementById('{health}').open && !document.getElementById('{health}').hidden"
        self.load(f"#{health}")
        self.browser.evaluate(f"document.getElementById('{health}').open = false")
        self.browser.evaluate(f"""document.querySelector('.toc a[href="#{health}"]').click()""")
        self.browser.wait_for(opened)
        self.fill("filter", "nexus")
        self.browser.evaluate("location.hash = ''")
        self.browser.evaluate(f"location.hash = '{health}'")
        self.browser.wait_for(opened)

    def test_schemas_open_down_to_the_last_member(self) -> None:
        self.show(DOCUMENT)
        self.open("plant")
        self.browser.evaluate("document.querySelector('#plant .schema button').click()")
        shown = self.browser.evaluate(
            """(function read(list) { return Object.fromEntries([...list.children].map((row) => [
                 row.querySelector('code').textContent, [row.querySelector('.type').textContent,
                 row.querySelector('.rows') ? read(row.querySelector('.rows')) : null]])); })(
               document.querySelector('#plant .schema > .rows'))"""
        )
        self.assertEqual(
            shown,
            {
                "name": ["string", None],
                "height": ["Height", None],
                "rings": ["array of Ring", {"each element": ["Ring", {"year": ["integer", None]}]}],
                "parent": ["Tree, as above", None],
                "fruit": [
                    "Apple | string",
                    {"Apple": ["object", {"seeds": ["array of Tree", {"each element": ["Tree, as above", None]}]}],
                     "either 2": ["string", None]},
                ],
                "labels": ["object", {"any name": ["string | null", None]}],
            },
        )  # fmt: skip
        said = self.text("#plant .schema")
        for part in ("required", "≥ 0, ≤ 130, default 3", "matches ^[a-z]+$", "In metres"):
            self.assertIn(part, said)

    def test_examples_headers_and_schemes_of_any_document_are_shown(self) -> None:
        self.show(DOCUMENT)
        self.browser.evaluate("openAll(document.body)")
        options = "[...document.querySelectorAll('#plant-example option')].map((one) => one.textContent)"
        self.assertEqual(self.browser.evaluate(options), ["An oak", "elm"])
        self.fill("plant-example", "elm")
        self.assertEqual(
            json.loads(self.browser.evaluate("document.getElementById('plant-body').value")), {"name": "elm"}
        )
        answers = self.text("#plant .answers")
        for part in ("Location", "Where it stands", "planted already"):
            self.assertIn(part, answers)
        self.assertIn("Credentials: card, or gate with ticket.", self.text("#plant"))
        fields = self.browser.evaluate("[...document.querySelectorAll('.access input')].map((one) => one.id)")
        self.assertEqual(fields, ["access-card", "access-gate", "access-ticket", "access-key-seed", "access-key-keyid"])

    def test_every_body_has_an_example(self) -> None:
        self.open_everything()
        bodies = """[...document.querySelectorAll('textarea[id$="-body"]')]"""
        self.assertGreater(self.browser.evaluate(f"{bodies}.length"), 20)
        self.assertEqual(self.browser.evaluate(f"{bodies}.filter((one) => !one.value.trim()).map((one) => one.id)"), [])

    def test_nothing_is_wider_than_a_phone(self) -> None:
        self.on_a_phone(360)
        self.open_everything()
        self.send(self.id_of("GET", "/health"))
        self.assertLessEqual(self.browser.evaluate("document.documentElement.scrollWidth"), 360)

    def test_nothing_breaks_inside_a_word_on_a_phone(self) -> None:
        self.on_a_phone()
        self.open_everything()
        self.send(self.id_of("POST", "/objects"))
        measured, broken = self.browser.evaluate(BROKEN_WORDS)
        self.assertGreater(measured, 1000)
        self.assertEqual(broken, [])

    def test_contrast_is_enough_in_light_and_dark(self) -> None:
        self.open_everything()
        self.send(self.id_of("GET", "/health"))
        self.addCleanup(self.browser.command, "Emulation.setEmulatedMedia", features=[])
        for scheme in ("light", "dark"):
            with self.subTest(scheme):
                self.browser.command(
                    "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
                )
                measured, faint = self.browser.evaluate(FAINT_TEXT)
                self.assertGreater(measured, 1000)
                self.assertEqual(faint, [])

    def test_everything_that_is_used_has_a_name_for_a_screen_reader(self) -> None:
        self.open_everything()
        self.send(self.id_of("GET", "/health"))
        nodes = self.browser.command("Accessibility.getFullAXTree")["nodes"]
        used = [node for node in nodes if not node["ignored"] and node["role"]["value"] in USED]
        self.assertGreater(len(used), 200)
        self.assertEqual([node["role"]["value"] for node in used if not node["name"]["value"].strip()], [])

    def test_asks_no_other_host_for_anything(self) -> None:
        self.send(self.id_of("GET", "/health"))
        own = [url for url in self.browser.requested if url.startswith(f"{self.server.url}/")]
        foreign = [url for url in self.browser.requested if not url.startswith((self.server.url, "data:", "about:"))]
        self.assertIn(f"{self.server.url}/openapi.json", own)
        self.assertEqual(foreign, [])


if __name__ == "__main__":
    unittest.main()
