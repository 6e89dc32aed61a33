"""The OpenAPI document: true to the routes that dispatch, and built as OpenAPI 3.1 says.

The structural rules are those of the OpenAPI Specification 3.1.0, cited by section (4.8.x), and checked by hand on
the document of the whole server.
"""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Iterator
from typing import Any, ClassVar

from omp.rules.schema import compile_schema
from omp.tests import TOP
from omp.tests.harness import Client, running_server
from omp.web.errors import DETAIL_ERRORS, OMP_ERRORS, ErrorStyle
from omp.web.messages import Request, Response, Scheme
from omp.web.openapi import TEXTS, openapi_document
from omp.web.routes import Answer, Mount, Route

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
TYPES = {"object", "array", "string", "boolean", "null", "integer", "number"}


def _nothing(request: Request, state: Any) -> Response:
    return Response(200)


def undescribed(document: Any) -> Iterator[str]:
    """Where the document names something and does not say what it is."""
    for tag in document["tags"]:
        yield from _silent(f"tag {tag['name']}", tag)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield from _undescribed_in_route(f"{method.upper()} {path}", operation)
    for kind, components in document["components"].items():
        for name, component in components.items():
            place = f"{kind} {name}"
            yield from _silent(place, component)
            yield from _undescribed_members(place, component) if kind == "schemas" else ()


def _silent(place: str, named: Any) -> Iterator[str]:
    if not named.get("description") and "$ref" not in named:
        yield place


def _undescribed_in_route(place: str, operation: Any) -> Iterator[str]:
    yield from _silent(place, operation)
    yield from () if operation["summary"] else [f"{place}, summary"]
    for one in operation.get("parameters", ()):
        yield from _silent(f"{place} {one['name']}", one)
        yield from _undescribed_members(f"{place} {one['name']}", one["schema"])
    bodies = {"body": operation.get("requestBody", {}), **operation["responses"]}
    for part, body in bodies.items():
        yield from _silent(f"{place} {part}", body) if part != "body" else ()
        for name, header in body.get("headers", {}).items():
            yield from _silent(f"{place} {part} {name}", header)
        for media_type, content in body.get("content", {}).items():
            schema = content.get("schema", {})
            yield from _silent(f"{place} {part} {media_type}", schema)
            yield from _undescribed_members(f"{place} {part} {media_type}", schema)


def _undescribed_members(place: str, schema: Any) -> Iterator[str]:
    """The members of a schema without a description, and records inside it: the place of such a one is its own."""
    for name, member in schema.get("properties", {}).items():
        yield from _silent(f"{place}.{name}", member)
        yield from _undescribed_members(f"{place}.{name}", member)
    inside = [schema[word] for word in ("items", "additionalProperties") if isinstance(schema.get(word), dict)]
    for part in [*inside, *schema.get("oneOf", ()), *schema.get("anyOf", ())]:
        yield from _silent(f"{place}[]", part) if "properties" in part else ()
        yield from _undescribed_members(f"{place}[]", part)


class WholeServer(unittest.TestCase):
    """The document that a running server gives."""

    document: ClassVar[dict[str, Any]]
    mounts: ClassVar[tuple[Mount, ...]]

    @classmethod
    def setUpClass(cls) -> None:
        with running_server() as server, Client(server.port) as client:
            cls.document = client.request("GET", "/openapi.json").json
            cls.mounts = server.parts.application.mounts

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Every operation with its path and method; there is at least one."""
        found = [(path, method, one) for path, item in self.document["paths"].items() for method, one in item.items()]
        self.assertGreater(len(found), 5)
        return iter(found)

    def schemas(self) -> Iterator[Any]:
        """Every schema in the document, nested ones included."""

        def inside(schema: Any) -> Iterator[Any]:
            yield schema
            if isinstance(schema, dict):
                below = [*schema.get("properties", {}).values(), *schema.get("oneOf", ()), *schema.get("anyOf", ())]
                below += [schema[word] for word in ("items", "additionalProperties") if word in schema]
                for member in below:
                    yield from inside(member)

        yield from (part for one in self.document["components"]["schemas"].values() for part in inside(one))
        for _, _, operation in self.operations():
            media = [*operation.get("requestBody", {}).get("content", {}).values()]
            media += [one for answer in operation["responses"].values() for one in answer.get("content", {}).values()]
            media += operation.get("parameters", [])
            yield from (part for one in media if "schema" in one for part in inside(one["schema"]))

    def test_documents_every_route_that_dispatches_and_no_other(self) -> None:
        documented = sorted((path, method.upper()) for path, method, _ in self.operations())
        served = sorted((route.path, route.method) for mount in self.mounts for route in mount.routes)
        self.assertEqual(documented, served)

    def test_every_documented_route_is_served(self) -> None:
        with running_server() as server, Client(server.port) as client:
            for path, method, _ in self.operations():
                with self.subTest(f"{method} {path}"):
                    answer = client.request("OPTIONS", re.sub(r"\{\w+\}", "x", path))
                    self.assertIn(method.upper(), answer.headers["allow"])

    def test_has_the_members_of_an_openapi_object(self) -> None:  # 4.8.1
        self.assertRegex(self.document["openapi"], r"^3\.1\.\d+$")
        self.assertLessEqual(set(self.document), {"openapi", "info", "servers", "paths", "components", "tags"})
        self.assertTrue(self.document["info"]["title"] and self.document["info"]["version"])  # 4.8.2
        self.assertEqual(self.document["servers"], [{"url": "/"}])  # 4.8.5: relative to the document

    def test_paths_begin_with_a_slash_and_differ_in_more_than_names(self) -> None:  # 4.8.8
        paths = list(self.document["paths"])
        self.assertEqual([path for path in paths if not path.startswith("/")], [])
        templates = [re.sub(r"\{\w+\}", "{}", path) for path in paths]
        self.assertEqual(len(set(templates)), len(templates))

    def test_methods_are_those_of_a_path_item(self) -> None:  # 4.8.9
        self.assertLessEqual({method for _, method, _ in self.operations()}, METHODS)

    def test_operation_ids_are_unique_and_fit_for_code(self) -> None:  # 4.8.10
        names = [operation["operationId"] for _, _, operation in self.operations()]
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual([name for name in names if not re.fullmatch("[a-z][A-Za-z0-9_]*", name)], [])

    def test_every_operation_has_a_summary_and_one_declared_tag(self) -> None:  # 4.8.10, 4.8.22
        declared = [tag["name"] for tag in self.document["tags"]]
        self.assertEqual(len(set(declared)), len(declared))
        for path, method, operation in self.operations():
            with self.subTest(f"{method} {path}"):
                self.assertTrue(operation["summary"])
                self.assertEqual(len(operation["tags"]), 1)
                self.assertIn(operation["tags"][0], declared)

    def test_path_parameters_are_declared_and_no_parameter_twice(self) -> None:  # 4.8.12
        for path, method, operation in self.operations():
            with self.subTest(f"{method} {path}"):
                parameters = operation.get("parameters", [])
                named = [(one["in"], one["name"]) for one in parameters]
                self.assertEqual(len(set(named)), len(named))
                in_path = [name for place, name in named if place == "path"]
                self.assertEqual(in_path, re.findall(r"\{(\w+)\}", path))
                self.assertTrue(all(one["required"] is True for one in parameters if one["in"] == "path"))
                self.assertTrue(all("schema" in one for one in parameters))

    def test_request_bodies_have_content_and_only_where_http_gives_them_meaning(self) -> None:  # 4.8.10, 4.8.13
        for path, method, operation in self.operations():
            if "requestBody" in operation:
                with self.subTest(f"{method} {path}"):
                    self.assertIn(method, {"post", "put", "patch"})
                    self.assertTrue(operation["requestBody"]["content"])

    def test_responses_are_by_status_and_each_says_what_it_means(self) -> None:  # 4.8.16, 4.8.17
        for path, method, operation in self.operations():
            with self.subTest(f"{method} {path}"):
                responses = operation["responses"]
                self.assertEqual([one for one in responses if not re.fullmatch(r"[1-5]\d\d|default", one)], [])
                self.assertTrue(any(status.startswith("2") for status in responses))
                self.assertTrue(all(answer["description"] for answer in responses.values()))

    def test_answers_without_a_body_have_no_content(self) -> None:
        for path, method, operation in self.operations():
            for status in {"204", "304"} & set(operation["responses"]):
                with self.subTest(f"{method} {path} {status}"):
                    self.assertNotIn("content", operation["responses"][status])

    def test_references_lead_somewhere(self) -> None:  # 4.8.23
        references = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(self.document)))
        self.assertTrue(references)
        for reference in references:
            target: Any = self.document
            for step in reference.removeprefix("#/").split("/"):
                self.assertIn(step, target, reference)
                target = target[step]

    def test_component_names_are_in_the_allowed_characters(self) -> None:  # 4.8.7
        names = list(self.document["components"]["schemas"])
        self.assertEqual([name for name in names if not re.fullmatch(r"[A-Za-z0-9._-]+", name)], [])

    def test_errors_take_the_shape_of_their_protocol(self) -> None:
        errors = {mount.name: mount.errors.name or f"{mount.name.capitalize()}Error" for mount in self.mounts}
        for path, method, operation in self.operations():
            reference = f"#/components/schemas/{errors[operation['tags'][0]]}"
            with self.subTest(f"{method} {path}"):
                content = operation["responses"]["default"]["content"]["application/json"]
                self.assertEqual(content["schema"], {"$ref": reference})

    def test_every_named_schema_is_used(self) -> None:
        named = set(self.document["components"]["schemas"])
        used = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(self.document)))
        self.assertEqual(used, named)

    def test_every_route_of_a_protocol_has_a_name_that_a_person_would_give(self) -> None:
        names = [operation["operationId"] for _, _, operation in self.operations()]
        self.assertEqual([name for name in names if not re.fullmatch("[a-z]+([A-Z][a-z]*)*", name)], [])

    def test_tags_are_introduced_with_the_guides_first_sentence(self) -> None:
        for mount in self.mounts:
            guide = TOP / "omp" / "protocols" / mount.name / "README.md"
            if guide.exists():
                words = guide.read_text().partition("\n\n")[2].split()
                self.assertEqual(mount.about.split(), words[: len(mount.about.split())], mount.name)

    def test_strict_mode_asks_for_signatures_and_off_does_not(self) -> None:
        with running_server({"OMP_SIG_MODE": "strict"}) as server, Client(server.port) as client:
            strict = client.request("GET", "/openapi.json").json
        self.assertEqual(strict["paths"]["/objects"]["post"]["security"], [{"httpSignature": []}])
        self.assertIn("httpSignature", strict["components"]["securitySchemes"])
        self.assertNotIn("security", self.document["paths"]["/objects"]["post"])

    def test_schemas_use_the_types_of_json_schema(self) -> None:
        for schema in self.schemas():
            if isinstance(schema, bool):  # of additionalProperties
                continue
            types = schema.get("type", [])
            self.assertLessEqual(set([types] if isinstance(types, str) else types), TYPES, schema)

    def test_everything_has_a_description(self) -> None:
        self.assertEqual(list(undescribed(self.document)), [])

    def test_in_mode_strict_too(self) -> None:
        with running_server({"OMP_SIG_MODE": "strict"}) as server, Client(server.port) as client:
            self.assertEqual(list(undescribed(client.request("GET", "/openapi.json").json)), [])

    def test_what_is_left_out_of_a_body_is_said_in_words(self) -> None:
        # Of a named schema, openapi-typescript makes a member with a default one that must be there.
        names = self.document["components"]["schemas"]
        self.assertEqual([name for name, schema in names.items() if '"default":' in json.dumps(schema)], [])

    def test_patterns_are_anchored(self) -> None:
        patterns = [one["pattern"] for one in self.schemas() if isinstance(one, dict) and "pattern" in one]
        self.assertEqual([one for one in patterns if not (one.startswith("^(?:") and one.endswith(")$"))], [])

    def test_examples_fit_their_schemas(self) -> None:
        checked = 0
        for mount in self.mounts:
            for route in mount.routes:
                if route.body is not None and route.example is not None:
                    checked += 1
                    with self.subTest(f"{route.method} {route.path}"):
                        self.assertEqual(compile_schema(route.body)(route.example), [])
        self.assertGreater(checked, 0)

    def test_routes_that_take_the_members_of_a_schema_show_an_example(self) -> None:
        without = [
            f"{route.method} {route.path}"
            for mount in self.mounts
            for route in mount.routes
            if route.body and "properties" in route.body and route.example is None
        ]
        self.assertEqual(without, [])


class FromATable(unittest.TestCase):
    """What a row of the table becomes."""

    def operation(self, route: Route, **mount: Any) -> Any:
        """The operation that `route` becomes."""
        made = Mount("one", "1", "One", [route], None, ("/",), **mount)
        document = openapi_document([made], "1")
        return document["paths"][route.path][route.method.lower()]

    def test_query_parameters_have_their_schema_and_description(self) -> None:
        schema = {"type": "integer", "minimum": 1, "default": 50, "description": "how many"}
        operation = self.operation(Route("GET", "/a", _nothing, "A", {200: "ok"}, query={"limit": schema}))
        expected = {"name": "limit", "in": "query", "required": False, "schema": schema, "description": "how many"}
        self.assertEqual(operation["parameters"], [expected])

    def test_a_body_has_its_schema_and_example(self) -> None:
        schema = {"type": "object"}
        operation = self.operation(Route("POST", "/a", _nothing, "A", {200: "ok"}, body=schema, example={"b": 1}))
        expected = {"required": True, "content": {"application/json": {"schema": schema, "example": {"b": 1}}}}
        self.assertEqual(operation["requestBody"], expected)

    def test_a_body_in_another_media_type_is_text(self) -> None:
        operation = self.operation(Route("POST", "/a", _nothing, "A", {200: "ok"}, consumes=("application/x-ndjson",)))
        schema = {"type": "string", "description": TEXTS["application/x-ndjson"]}
        self.assertEqual(operation["requestBody"]["content"], {"application/x-ndjson": {"schema": schema}})

    def test_a_post_that_takes_nothing_has_no_body(self) -> None:
        self.assertNotIn("requestBody", self.operation(Route("POST", "/a", _nothing, "A", {200: "ok"})))

    def test_answers_have_the_media_types_of_the_route(self) -> None:
        operation = self.operation(Route("GET", "/a", _nothing, "A", {200: "ok"}, produces=("text/html",)))
        schema = {"type": "string", "description": TEXTS["text/html"]}
        self.assertEqual(operation["responses"]["200"]["content"], {"text/html": {"schema": schema}})

    def test_parameters_in_the_path_are_explained_by_the_mount(self) -> None:
        operation = self.operation(Route("GET", "/{a}", _nothing, "A", {200: "ok"}), parameters={"a": "which one"})
        self.assertEqual([one["description"] for one in operation["parameters"]], ["which one"])

    def test_what_has_no_description_is_found(self) -> None:
        part = {"type": "object", "properties": {"inner": {"type": "string"}}}
        named = {"type": "object", "properties": {"list": {"type": "array", "items": part, "description": "a list"}}}
        answers: dict[int, Answer] = {200: ("", {"anyOf": [part]}, ("ETag",)), 404: "nothing there"}
        route = Route("GET", "/{a}", _nothing, "", answers, query={"b": {"type": "string"}})
        document = openapi_document([Mount("one", "1", "One", [route], None, ("/",), schemas={"Named": named})], "1")
        del document["tags"][0]["description"], document["components"]["headers"]["Link"]["description"]
        found = [
            "tag one",
            "GET /{a}, summary",
            "GET /{a} a",
            "GET /{a} b",
            "GET /{a} 200",
            "GET /{a} 200 application/json",
            "GET /{a} 200 application/json[]",
            "GET /{a} 200 application/json[].inner",
            "schemas Named.list[]",
            "schemas Named.list[].inner",
            "headers Link",
        ]
        self.assertEqual(set(undescribed(document)), {*found, "schemas Named"})

    def test_access_to_a_route_is_described_in_words(self) -> None:
        operation = self.operation(Route("GET", "/a", _nothing, "A", {200: "ok"}, auth="a token"))
        self.assertEqual(operation["description"], "Access: a token.")
        self.assertEqual(
            self.operation(Route("GET", "/a", _nothing, "A", {200: "ok"}))["description"], "Access: anybody."
        )

    def test_each_protocol_has_its_own_error_schema(self) -> None:
        mounts = [
            Mount(name, "1", name, [], None, (f"/{name}",), errors=style)
            for name, style in (("one", OMP_ERRORS), ("two", DETAIL_ERRORS))
        ]
        schemas = openapi_document(mounts, "1")["components"]["schemas"]
        self.assertEqual(schemas, {"ErrorAnswer": OMP_ERRORS.schema, "Detail": DETAIL_ERRORS.schema})

    def test_an_error_without_a_name_is_named_after_its_protocol(self) -> None:
        style = ErrorStyle(lambda error: None, {"type": "object"})
        document = openapi_document([Mount("one", "1", "One", [], None, ("/",), errors=style)], "1")
        self.assertEqual(document["components"]["schemas"], {"OneError": {"type": "object"}})

    def test_a_named_schema_is_referred_to_wherever_it_is_used_and_stands_once(self) -> None:
        point = {"type": "object"}
        line = {"type": "array", "items": point}
        route = Route("POST", "/a", _nothing, "A", {200: ("ok", line)}, body=point)
        mount = Mount("one", "1", "One", [route], None, ("/",), schemas={"Point": point, "Line": line})
        document = openapi_document([mount], "1")
        operation, point_reference = document["paths"]["/a"]["post"], {"$ref": "#/components/schemas/Point"}
        self.assertEqual(operation["requestBody"]["content"]["application/json"]["schema"], point_reference)
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        self.assertEqual(answer, {"$ref": "#/components/schemas/Line"})
        self.assertEqual(document["components"]["schemas"]["Line"], {"type": "array", "items": point_reference})

    def test_two_schemas_of_one_name_are_a_mistake(self) -> None:
        mounts = [
            Mount(f"m{kind}", "1", "", [], None, ("/",), schemas={"A": {"type": kind}}) for kind in ("null", "array")
        ]
        with self.assertRaisesRegex(ValueError, "two schemas have the name A"):
            openapi_document(mounts, "1")

    def test_a_union_is_published_alone(self) -> None:
        schema = {"type": "object", "required": ["a"], "description": "b", "oneOf": [{"type": "object"}]}
        operation = self.operation(Route("POST", "/a", _nothing, "A", {200: "ok"}, body=schema))
        published = operation["requestBody"]["content"]["application/json"]["schema"]
        self.assertEqual(published, {"description": "b", "oneOf": [{"type": "object"}]})

    def test_only_schemes_in_force_are_asked_for(self) -> None:
        scheme = Scheme({"type": "http", "scheme": "bearer"}, fields=("Content-Digest",))
        route = Route("GET", "/a", _nothing, "A", {200: "ok"}, auth="a token")
        access = {"a token": ("token", "")}
        with_scheme = self.operation(route, schemes={"token": scheme}, access=access)
        self.assertEqual(with_scheme["security"], [{"token": []}, {}])
        self.assertEqual([one["name"] for one in with_scheme["parameters"]], ["Content-Digest"])
        without = self.operation(route, access=access)
        self.assertNotIn("security", without)
        self.assertNotIn("parameters", without)

    def test_header_fields_of_a_route_and_of_its_answers(self) -> None:
        route = Route("GET", "/a", _nothing, "A", {200: ("ok", None, ("ETag",)), 503: "no"}, fields=("If-Match",))
        operation = self.operation(route)
        self.assertEqual([(one["in"], one["name"]) for one in operation["parameters"]], [("header", "If-Match")])
        self.assertEqual(operation["responses"]["200"]["headers"], {"ETag": {"$ref": "#/components/headers/ETag"}})
        self.assertEqual(list(operation["responses"]["503"]["headers"]), ["Retry-After"])

    def test_patterns_inside_a_schema_are_anchored(self) -> None:
        schema = {"type": "object", "properties": {"pattern": {"type": "string", "pattern": "a|b"}}}
        operation = self.operation(Route("POST", "/a", _nothing, "A", {200: "ok"}, body=schema))
        published = operation["requestBody"]["content"]["application/json"]["schema"]
        self.assertEqual(published["properties"]["pattern"]["pattern"], "^(?:a|b)$")


if __name__ == "__main__":
    unittest.main()
