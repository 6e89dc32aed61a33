"""The compiled schemas: what each keyword lets through, and what it says about the rest."""

from __future__ import annotations

import unittest
from typing import Any

from omp.rules.schema import compile_schema

# (schema, values that fit, values that do not with the kind of the first problem)
CASES: tuple[tuple[dict[str, Any], list[Any], list[tuple[Any, str]]], ...] = (
    ({"type": "object"}, [{}, {"a": 1}], [([], "type"), (None, "type"), ("{}", "type")]),
    ({"type": "array"}, [[]], [({}, "type"), ("[]", "type")]),
    ({"type": "string"}, ["", "a"], [(1, "type"), (None, "type")]),
    ({"type": "boolean"}, [True, False], [(1, "type"), (0, "type"), ("true", "type")]),
    ({"type": "null"}, [None], [(0, "type"), (False, "type")]),
    ({"type": "integer"}, [0, -1, 2**70, 1.0], [(True, "type"), (1.5, "type"), ("1", "type"), (float("inf"), "type")]),
    ({"type": "number"}, [0, 1.5], [(False, "type"), ("1", "type")]),
    ({"type": ["string", "null"]}, ["", None], [(0, "type")]),
    ({"properties": {"a": {"type": "integer"}}}, [{}, {"a": 1}, {"b": "x"}, []], [({"a": "x"}, "type")]),
    ({"required": ["a"]}, [{"a": None}, []], [({}, "missing")]),
    ({"items": {"type": "integer"}}, [[], [1, 2], {}], [([1, "2"], "type")]),
    ({"minItems": 1, "maxItems": 2}, [[1], [1, 2], "abc"], [([], "length"), ([1, 2, 3], "length")]),
    ({"minLength": 1, "maxLength": 2}, ["a", "\U0001f600\U0001f600", []], [("", "length"), ("abc", "length")]),
    ({"minimum": 1, "maximum": 2}, [1, 2, 1.5, "0", True], [(0, "range"), (2.1, "range")]),
    ({"exclusiveMinimum": 0}, [0.1], [(0, "range"), (-1, "range")]),
    ({"pattern": "[a-z]+\\d"}, ["ab1", 1], [("ab", "pattern"), ("ab1\n", "pattern"), ("a\u0663", "pattern")]),
    ({"enum": ["a", 1]}, ["a", 1], [("b", "enum"), (True, "enum")]),
    ({"const": 1}, [1], [(True, "const"), (2, "const")]),
)


class Keywords(unittest.TestCase):
    """Every keyword, one row each."""

    def test_what_fits_has_no_problems(self) -> None:
        for schema, good, _ in CASES:
            for value in good:
                with self.subTest(schema=schema, value=value):
                    self.assertEqual(compile_schema(schema)(value), [])

    def test_what_does_not_fit_has_a_problem_of_its_kind(self) -> None:
        for schema, _, bad in CASES:
            for value, kind in bad:
                with self.subTest(schema=schema, value=value):
                    self.assertEqual([problem.type for problem in compile_schema(schema)(value)], [kind])

    def test_the_path_leads_to_the_problem(self) -> None:
        validate = compile_schema({"properties": {"list": {"items": {"required": ["x"]}}}})
        (problem,) = validate({"list": [{"x": 1}, {}]})
        self.assertEqual(problem.path, ("list", 1, "x"))

    def test_what_is_wrong_with_a_text_is_said_in_its_own_words_if_there_are_any(self) -> None:
        schema = {"pattern": "[a-z]", "description": "for readers"}
        self.assertEqual([one.message for one in compile_schema(schema)("A")], ["must match [a-z]"])
        said = compile_schema({**schema, "x-message": "must be a small letter"})("A")
        self.assertEqual([one.message for one in said], ["must be a small letter"])

    def test_every_problem_is_listed(self) -> None:
        validate = compile_schema({"required": ["a", "b"], "properties": {"c": {"type": "string"}}})
        self.assertEqual(len(validate({"c": 1})), 3)

    def test_a_keyword_that_is_not_understood_is_our_mistake(self) -> None:
        with self.assertRaises(KeyError):
            compile_schema({"not": {}})

    def test_an_array_of_misfits_is_not_looked_at_to_its_end(self) -> None:
        member = {"type": "object", "required": ["a", "b", "c"]}
        check = compile_schema({"type": "array", "items": {"type": "array", "items": member}})
        problems = check([[{}] * 10_000] * 10_000)
        self.assertEqual(len(problems), 102)  # those of the element that reached a hundred are all listed
        self.assertEqual(problems[-1].path, (0, 33, "c"))
        self.assertEqual(len(check([[{"a": 1, "b": 1, "c": 1}] * 500 + [{}]])), 3)


if __name__ == "__main__":
    unittest.main()
