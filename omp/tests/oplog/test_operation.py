"""The form of an operation: timestamps, members and grammars, limits, ranges (oplog §1.3, §1.5, §2)."""

from __future__ import annotations

import copy
import unittest
from typing import Any

from omp.protocols.oplog.core.grammar import is_timestamp
from omp.protocols.oplog.core.operation import (
    BODIES,
    CLAIM,
    CORRECTION,
    ENVELOPE,
    EVIDENCE,
    GRANT,
    INFERENCE,
    LIMITS,
    MAX_OPERATION_BYTES,
    RANGES,
    REFERENCES,
    REFUTATION,
    REVOCATION,
    SCOPE,
    TYPES,
    preimage,
)
from omp.protocols.oplog.core.producer import signed
from omp.protocols.oplog.core.verify import OperationRefused, check_bytes
from omp.rules import canonical, identifiers
from omp.tests.oplog.world import DEVICES, ENGINE, LOG, ROOT, TRUSTING, body_of, envelope

SIGNATURE = "A" * 86
OP = "omp:op:sha256:" + "ab" * 32
OTHER_OP = "omp:op:sha256:" + "cd" * 32


def verdict(value: dict[str, Any]) -> str:
    """The code of stages 1 to 7 for an envelope, any signature accepted; "" if they pass."""
    try:
        check_bytes(canonical.encode({"sig": SIGNATURE, **value}), TRUSTING)
    except OperationRefused as refused:
        return refused.code
    return ""


def with_body(kind: str, **members: Any) -> dict[str, Any]:
    return envelope(kind, body=body_of(kind, **members))


def with_scope(**members: Any) -> dict[str, Any]:
    return with_body(GRANT, scope={"predicates": ["*"], "provenance": "none", **members})


class Timestamps(unittest.TestCase):
    def test_real_moments_pass(self) -> None:
        for text in ("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "2000-02-29T12:00:00.500Z"):
            self.assertTrue(is_timestamp(text), text)

    def test_everything_else_is_refused(self) -> None:
        for text in (
            "0000-01-01T00:00:00.000Z", "2023-02-29T00:00:00.000Z", "1900-02-29T00:00:00.000Z",
            "2024-13-01T00:00:00.000Z", "2024-00-01T00:00:00.000Z", "2024-01-00T00:00:00.000Z",
            "2024-04-31T00:00:00.000Z", "2024-01-01T24:00:00.000Z", "2024-01-01T00:60:00.000Z",
            "2016-12-31T23:59:60.000Z", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.00Z",
            "2024-01-01T00:00:00.0000Z", "2024-01-01T00:00:00.000+00:00", "2024-01-01t00:00:00.000z",
            "2024-01-01 00:00:00.000Z", "2024-01-01T00:00:00.000Z\n", " 2024-01-01T00:00:00.000Z",
            "٢٠٢٤-01-01T00:00:00.000Z", "", 20240101, None, True,
        ):  # fmt: skip
            self.assertFalse(is_timestamp(text), repr(text))


class Schema(unittest.TestCase):
    """Stage 4: exactly the members of §2, each of its grammar."""

    def refused(self, value: dict[str, Any], *, note: str = "") -> None:
        self.assertEqual(verdict(value), "ERR_SCHEMA", note)

    def test_a_well_formed_operation_of_each_type_passes(self) -> None:
        for kind in TYPES:
            self.assertEqual(verdict(envelope(kind)), "", kind)

    def test_a_missing_member_is_refused(self) -> None:
        for kind in TYPES:
            value = {"sig": SIGNATURE, **envelope(kind)}
            for name in ENVELOPE:
                without = {key: one for key, one in value.items() if key != name}
                code = "ERR_VERSION" if name == "v" else "ERR_SCHEMA"
                with self.assertRaises(OperationRefused) as caught:
                    check_bytes(canonical.encode(without), TRUSTING)
                self.assertEqual(caught.exception.code, code, name)
            for name in BODIES[kind]:
                body = {key: one for key, one in value["body"].items() if key != name}
                self.refused({**value, "body": body}, note=f"{kind} {name}")

    def test_a_wrong_type_of_value_is_refused_for_every_member(self) -> None:
        wrong: list[Any] = [None, True, 1, "", "x", [], [1], {}, {"a": 1}, ["x", "x"], -1]
        for kind in TYPES:
            value = envelope(kind)
            for name, grammar in ENVELOPE.items():
                for one in wrong:
                    if name not in ("v", "body") and not grammar.accepts(one):
                        self.refused({**value, name: one}, note=f"{name}: {one!r}")
            for name, grammar in BODIES[kind].items():
                refused = [one for one in wrong if not grammar.accepts(one)]
                self.assertEqual(bool(refused), name != "object", name)
                for one in refused:
                    self.refused(with_body(kind, **{name: one}), note=f"{kind} {name}: {one!r}")

    def test_a_boolean_is_not_an_integer(self) -> None:
        self.refused(envelope(CLAIM, lc=True))
        self.refused(with_body(CLAIM, confidence_ppm=True))

    def test_unknown_members_are_refused_and_extensions_are_not(self) -> None:
        for kind in TYPES:
            self.refused(envelope(kind, extra=1))
            self.refused(with_body(kind, extra=1))
            self.assertEqual(verdict(envelope(kind, x_note={"deep": [1, None]})), "")
            self.assertEqual(verdict(with_body(kind, x_note="here", x_9=None)), "")
        self.refused(with_scope(x_note=1), note="not in scope")
        for name in ("x_", "x", "X_a", "x_A", "x_é", "x_a-b", "_x_a"):
            self.refused({**envelope(CLAIM), name: 1}, note=name)

    def test_member_names_anywhere_are_plain(self) -> None:
        for name in ("A", "é", "a-b", "a.b", "", "a b", "a\n"):
            self.refused(with_body(CLAIM, object={name: 1}), note=repr(name))
            self.refused(with_body(CLAIM, object=[[{"a": {name: 1}}]]), note=repr(name))
            self.refused(envelope(EVIDENCE, x_a={name: 1}), note=repr(name))
            self.refused(with_body(EVIDENCE, x_a=[{name: 1}]), note=repr(name))
        self.assertEqual(verdict(with_body(CLAIM, object={"a_9": ["É", {"0": {}}]})), "")

    def test_identifiers_have_one_form(self) -> None:
        key = ROOT.id
        for author in (key.upper(), key + "=", key[:-1], key + "A", key.replace(":key:", ":id:"), key + "\n"):
            self.refused({**envelope(CLAIM), "author": author}, note=author)
        # 43 characters carry 258 bits: the two unused ones are zero.
        self.refused({**envelope(CLAIM), "author": identifiers.KEY_PREFIX + "A" * 42 + "B"})
        self.refused(envelope(CLAIM, log=key))
        self.refused({**envelope(CLAIM), "sig": "A" * 85 + "B"}, note="unused bits of 86 characters")
        self.refused({**envelope(CLAIM), "sig": "A" * 87})
        self.refused(envelope(CLAIM, seq=2, prev=OP.upper()))
        self.refused(envelope(CLAIM, deps=[OP + "0"]))
        self.refused(with_body(EVIDENCE, evidence=OP))

    def test_deps_repeat_neither_each_other_nor_prev(self) -> None:
        self.refused(envelope(CLAIM, deps=[OP, OP]))
        self.refused(envelope(CLAIM, seq=2, prev=OP, deps=[OTHER_OP, OP]))
        self.assertEqual(verdict(envelope(CLAIM, seq=2, prev=OP, deps=[OTHER_OP])), "")

    def test_type_is_one_of_seven(self) -> None:
        for kind in ("claim", "Claim-assert", "", "revoke", None, ["claim-assert"]):
            self.refused(envelope(CLAIM, type=kind), note=repr(kind))

    def test_media_types(self) -> None:
        for good in ("text/calendar", "application/vnd.api+json", "A/b", "x/y!#$&-^_.+9"):
            self.assertEqual(verdict(with_body(EVIDENCE, media_type=good)), "", good)
        for bad in ("text", "text/", "/calendar", "text/plain;charset=utf-8", "a/b/c", ".a/b", "a/+b", "é/b", "a/b "):
            self.refused(with_body(EVIDENCE, media_type=bad), note=bad)

    def test_sources(self) -> None:
        for good in ("calendar:ics", "a", "0_.:-"):
            self.assertEqual(verdict(with_body(EVIDENCE, source=good)), "", good)
        for bad in ("", "Calendar", "a b", "a/b", "é"):
            self.refused(with_body(EVIDENCE, source=bad), note=bad)

    def test_predicates_and_patterns(self) -> None:
        for good in ("a", "calendar.event", "a.b.c_9", "0"):
            self.assertEqual(verdict(with_body(CLAIM, predicate=good)), "", good)
            self.assertEqual(verdict(with_scope(predicates=[good])), "", good)
            self.assertEqual(verdict(with_scope(predicates=[good + ".*"])), "", good)
        for bad in ("", ".", "a.", ".a", "a..b", "A", "a-b", "*", "a.*", "a.*.b", "é", "a\n"):
            self.refused(with_body(CLAIM, predicate=bad), note=bad)
        for bad in ("", ".*", "*.a", "a*", "a.*.*", "**", "*.*"):
            self.refused(with_scope(predicates=[bad]), note=bad)

    def test_some_strings_must_not_be_empty(self) -> None:
        for kind, name in ((CLAIM, "subject"), (CLAIM, "method"), (INFERENCE, "purpose"), (INFERENCE, "model")):
            self.refused(with_body(kind, **{name: ""}), note=name)
        for kind in (CORRECTION, REFUTATION, REVOCATION):
            self.assertEqual(verdict(with_body(kind, reason="")), "", kind)

    def test_provenance_is_mandatory_unless_the_method_is_the_user(self) -> None:
        self.refused(with_body(CLAIM, method="rule:x/1", derived_from=[]))
        self.refused(with_body(CLAIM, method="users:x", derived_from=[]))
        self.assertEqual(verdict(with_body(CLAIM, method="user:", derived_from=[])), "")
        self.assertEqual(verdict(with_body(CLAIM, method="rule:x/1", derived_from=[OP])), "")
        self.assertEqual(verdict(with_body(CLAIM, method="user:x", derived_from=[OP])), "")

    def test_lists_are_without_duplicates_and_sorted_where_they_must_be(self) -> None:
        self.refused(with_body(CLAIM, derived_from=[OP, OP]))
        self.refused(with_body(INFERENCE, inputs=[OP, OP]))
        self.refused(with_body(INFERENCE, inputs=[]))
        self.assertEqual(verdict(with_body(INFERENCE, inputs=[OTHER_OP, OP])), "", "order is free")
        for caps in ([], ["read", "author"], ["read", "read"], ["write"], ["author", ["read"]]):
            self.refused(with_body(GRANT, caps=caps), note=repr(caps))
        for predicates in ([], ["b", "a"], ["a", "a"], ["a", 1]):
            self.refused(with_scope(predicates=predicates), note=repr(predicates))
        for ops in ([], [REFUTATION, CLAIM], [CLAIM, CLAIM], ["claim"], None):
            self.refused(with_scope(ops=ops), note=repr(ops))
        self.assertEqual(verdict(with_scope(ops=sorted(TYPES))), "")

    def test_scope_has_its_members(self) -> None:
        for name in ("predicates", "provenance"):
            scope = {key: one for key, one in body_of(GRANT)["scope"].items() if key != name}
            self.refused(with_body(GRANT, scope=scope), note=name)
        self.refused(with_scope(provenance="some"))
        self.assertEqual(set(SCOPE), {"predicates", "provenance", "ops"})


class Limits(unittest.TestCase):
    """Stage 5: every limit of §1.5, at its bound and one beyond."""

    def at_and_beyond(self, at: dict[str, Any], beyond: dict[str, Any]) -> None:
        self.assertEqual(verdict(at), "")
        self.assertEqual(verdict(beyond), "ERR_LIMIT")

    def test_lengths_of_strings_count_characters(self) -> None:
        for kind, name, bound, character in (
            (CLAIM, "subject", 256, "€"), (CLAIM, "predicate", 128, "a"), (CLAIM, "method", 128, "𝄞"),
            (EVIDENCE, "source", 128, "a"), (INFERENCE, "model", 256, "é"), (INFERENCE, "purpose", 1024, "€"),
            (CORRECTION, "reason", 1024, "€"), (REFUTATION, "reason", 1024, "𝄞"), (REVOCATION, "reason", 1024, "x"),
        ):  # fmt: skip
            with self.subTest(kind=kind, name=name):
                method = {"method": "user:"} if (kind, name) == (CLAIM, "subject") else {}
                source = {"derived_from": [OP]} if kind == CLAIM else {}
                at = with_body(kind, **{**source, **method, name: character * bound})
                self.at_and_beyond(at, with_body(kind, **{**source, **method, name: character * (bound + 1)}))

    def test_media_type(self) -> None:
        at = "a/" + "b" * 125
        self.at_and_beyond(with_body(EVIDENCE, media_type=at), with_body(EVIDENCE, media_type=at + "b"))

    def test_patterns(self) -> None:
        at = "a" * 128 + ".*"
        self.at_and_beyond(with_scope(predicates=[at]), with_scope(predicates=["a" + at]))

    def test_lists(self) -> None:
        def ids(count: int) -> list[str]:
            return [f"omp:op:sha256:{number:064x}" for number in range(count)]

        self.at_and_beyond(envelope(CLAIM, deps=ids(64)), envelope(CLAIM, deps=ids(65)))
        self.at_and_beyond(with_body(CLAIM, derived_from=ids(256)), with_body(CLAIM, derived_from=ids(257)))
        self.at_and_beyond(with_body(INFERENCE, inputs=ids(512)), with_body(INFERENCE, inputs=ids(513)))
        patterns = sorted(f"p{number}" for number in range(65))
        self.at_and_beyond(with_scope(predicates=patterns[:64]), with_scope(predicates=patterns))

    def test_a_claims_object_is_measured_in_canonical_bytes(self) -> None:
        self.at_and_beyond(with_body(CLAIM, object="€" * 5460 + "ab"), with_body(CLAIM, object="€" * 5460 + "abc"))
        self.at_and_beyond(with_body(CLAIM, object="\n" * 8191), with_body(CLAIM, object="\n" * 8191 + "a"))

    def test_an_operation_is_measured_in_bytes(self) -> None:
        def sized(size: int) -> dict[str, Any]:
            short = len(canonical.encode({"sig": SIGNATURE, **envelope(EVIDENCE, x_pad="")}))
            return envelope(EVIDENCE, x_pad="p" * (size - short))

        self.at_and_beyond(sized(MAX_OPERATION_BYTES), sized(MAX_OPERATION_BYTES + 1))

    def test_grammar_comes_before_limits_and_limits_before_ranges(self) -> None:
        long = "s" * 257
        self.assertEqual(verdict(with_body(CLAIM, subject=long, predicate="A")), "ERR_SCHEMA")
        self.assertEqual(verdict(with_body(CLAIM, subject=long, confidence_ppm=-1)), "ERR_LIMIT")

    def test_the_table_names_members_that_exist(self) -> None:
        for kind, limits in LIMITS.items():
            for limit in limits:
                self.assertGreaterEqual(limit.measure(envelope(kind)), 0, limit.path)


class Ranges(unittest.TestCase):
    """Stage 6: at the bounds and one beyond, walked from the table."""

    def put(self, kind: str, path: str, number: int) -> dict[str, Any]:
        value = copy.deepcopy(envelope(kind))
        *names, last = path.split(".")
        for name in names:
            value = value[name]
        value[last] = number
        return value if not names else envelope(kind, body=value)

    def test_every_range(self) -> None:
        for kind, ranges in RANGES.items():
            for path, low, high, _ in ranges:
                with self.subTest(kind=kind, path=path):
                    self.assertEqual(verdict(self.put(kind, path, low)), "")
                    self.assertEqual(verdict(self.put(kind, path, low - 1)), "ERR_RANGE")
                    self.assertEqual(verdict(self.put(kind, path, 2**53 - 1)), "ERR_RANGE" if high else "")
                    if high is not None:
                        self.assertEqual(verdict(self.put(kind, path, high)), "")
                        self.assertEqual(verdict(self.put(kind, path, high + 1)), "ERR_RANGE")

    def test_the_table_is_that_of_the_document(self) -> None:
        bounds = {path: (low, high) for ranges in RANGES.values() for path, low, high, _ in ranges}
        self.assertEqual(bounds, {
            "seq": (1, None), "lc": (1, None), "body.size": (0, None),
            "body.confidence_ppm": (0, 1_000_000), "body.max_depth": (0, 8),
        })  # fmt: skip


class Identity(unittest.TestCase):
    def test_the_id_does_not_depend_on_the_signature(self) -> None:
        value = envelope(CLAIM)
        one = check_bytes(canonical.encode({**value, "sig": "A" * 86}), TRUSTING)
        two = check_bytes(canonical.encode({**value, "sig": "A" * 85 + "Q"}), TRUSTING)
        self.assertEqual(one.id, two.id)

    def test_the_preimage_is_version_line_feed_and_the_envelope_without_sig(self) -> None:
        value = envelope(CLAIM)
        expected = b"omp/0.2\n" + canonical.canonicalize(value)
        self.assertEqual(preimage({**value, "sig": SIGNATURE}), expected)
        operation = check_bytes(signed(value, ROOT), ENGINE)
        self.assertEqual(operation.id, identifiers.operation_id(expected))

    def test_an_operation_carries_its_members(self) -> None:
        value = envelope(CLAIM, DEVICES[1], seq=7, prev=OP, deps=[OTHER_OP], lc=9)
        raw = signed(value, DEVICES[1])
        operation = check_bytes(raw, ENGINE, LOG)
        for name in ("type", "log", "author", "seq", "prev", "deps", "lc", "ts", "body"):
            self.assertEqual(getattr(operation, name), value[name])
        self.assertEqual((operation.raw, operation.parents()), (raw, [OP, OTHER_OP]))

    def test_references_are_the_members_typed_as_operation_ids(self) -> None:
        self.assertEqual(
            {kind: sorted(members) for kind, members in REFERENCES.items()},
            {
                EVIDENCE: [], CLAIM: ["derived_from"], CORRECTION: ["replacement", "target"], REFUTATION: ["target"],
                GRANT: ["parent"], REVOCATION: ["target"], INFERENCE: ["grant", "inputs"],
            },
        )  # fmt: skip


if __name__ == "__main__":
    unittest.main()
