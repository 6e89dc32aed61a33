"""The examples of the OpenAPI document: what the server answers now, and nothing that the document does not name."""

from __future__ import annotations

import json
import unittest
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from omp.rules.schema import compile_schema
from omp.tests.harness import Client, running_server
from omp.tests.web.examples import FILE, made, text_of
from omp.web.openapi import answer_parts
from omp.web.routes import Route


def undocumented(value: Any, schema: Any, place: str) -> Iterator[str]:
    """Where `value` has members that `schema` does not name, and does not say that there may be any."""
    if not isinstance(schema, Mapping) or not {"properties", "type", "oneOf", "anyOf"} & set(schema):
        return  # it says nothing of members, or refers to what it is inside of
    forms = [*schema.get("oneOf", ()), *schema.get("anyOf", ())]
    if forms:
        faults = [list(undocumented(value, form, place)) for form in forms if not compile_schema(form)(value)]
        yield from min(faults, key=len, default=[f"{place} fits no form"])
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from undocumented(item, schema.get("items"), f"{place}[{number}]")
    elif isinstance(value, dict):
        members, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, part in value.items():
            if name in members:
                yield from undocumented(part, members[name], f"{place}.{name}")
            elif not others:
                yield f"{place}.{name}"
            else:
                yield from undocumented(part, others, f"{place}.{name}")


WITHOUT = {
    "describeServer 200 text/html; charset=utf-8": "a page, which the server makes of the document",
    "getDocs 200 text/html; charset=utf-8": "a page of 80 KB",
    "getExplorer 200 text/html; charset=utf-8": "another page",
    "getExplorerFile 200 text/javascript; charset=utf-8": "its scripts",
    "getExplorerFile 200 application/json": "the coastlines of the world",
    "getOpenApi 200 application/json": "the document itself",
}
"""Bodies of which no example is shown, and why."""


class Examples(unittest.TestCase):
    """The file against the server and against the schemas of the routes."""

    examples: ClassVar[dict[str, Any]]
    routes: ClassVar[dict[str, Route]]
    document: ClassVar[dict[str, Any]]

    @classmethod
    def setUpClass(cls) -> None:
        cls.examples = json.loads(FILE.read_text())
        with running_server() as server, Client(server.port) as client:
            mounts = server.parts.application.mounts
            cls.routes = {route.name: route for mount in mounts for route in mount.routes}
            cls.document = client.request("GET", "/openapi.json").json

    def test_they_are_what_a_server_answers_now(self) -> None:
        self.assertEqual(FILE.read_text(), text_of(made()), "make them anew: python3 -m omp.tests.web.examples --write")

    def test_there_is_one_of_every_body_that_is_sent_and_of_every_answer_that_is_a_success(self) -> None:
        without = set()
        for operation in (one for item in self.document["paths"].values() for one in item.values()):
            answers = {status: one for status, one in operation["responses"].items() if status < "4"}
            for part, body in {"body": operation.get("requestBody", {}), **answers}.items():
                for media_type, content in body.get("content", {}).items():
                    if not content.get("examples"):
                        without.add(f"{operation['operationId']} {part} {media_type}")
        self.assertEqual(without, set(WITHOUT))

    def test_every_request_succeeds_once_and_every_answer_is_documented(self) -> None:
        self.assertGreater(len(self.examples), 50)
        for name, example in self.examples.items():
            answers = self.routes[name].answers
            self.assertTrue({int(status) for status in example.get("answers", {})} <= set(answers), name)

    def test_requests_and_answers_fit_their_schemas_and_have_no_other_member(self) -> None:
        checked = 0
        for name, example in self.examples.items():
            route = self.routes[name]
            for label, body in example.get("requests", {}).items():
                checked += self.check(f"{name} {label}", body, route.body)
            for status, bodies in example.get("answers", {}).items():
                _, schema, _ = answer_parts(route.answers[int(status)])
                for label, body in bodies.items():
                    checked += self.check(f"{name} {status} {label}", body, schema)
        self.assertGreater(checked, 80)

    def check(self, place: str, body: Mapping[str, Any], schema: Any) -> int:
        """Check a body against its schema; how many bodies were checked."""
        if schema is None or "application/json" not in body:
            return 0
        value = body["application/json"]
        with self.subTest(place):
            self.assertEqual(compile_schema(schema)(value), [])
            self.assertEqual(list(undocumented(value, schema, place)), [])
        return 1

    def test_the_document_shows_them(self) -> None:
        operation = self.document["paths"]["/logs/{log}/operations"]["post"]
        shown = operation["requestBody"]["content"]["application/json"]["examples"]
        self.assertEqual(len(shown), 7)
        self.assertEqual({name: one["value"]["type"] for name, one in shown.items()}, {name: name for name in shown})
        found = self.document["paths"]["/objects/{id}"]["get"]["responses"]
        self.assertEqual(list(found["404"]["content"]["application/json"]["examples"]), ["none"])
        self.assertNotIn("examples", found["default"]["content"]["application/json"])

    def test_a_member_that_is_not_documented_is_found(self) -> None:
        inner = {"type": "object", "properties": {"b": {"type": "string"}}}
        schema = {"type": "object", "properties": {"a": {"type": "array", "items": inner}}}
        self.assertEqual(list(undocumented({"a": [{"b": "", "c": 1}], "d": 2}, schema, "x")), ["x.a[0].c", "x.d"])
        self.assertEqual(list(undocumented({"a": 1}, {"type": "object", "additionalProperties": True}, "x")), [])


if __name__ == "__main__":
    unittest.main()
