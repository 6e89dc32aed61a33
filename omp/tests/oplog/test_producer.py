"""The producer: what it fills in, and that it returns nothing that a verifier would refuse (oplog §2)."""

from __future__ import annotations

import unittest
from typing import Any

from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, TYPES
from omp.protocols.oplog.core.outcomes import ACCEPTED
from omp.protocols.oplog.core.verify import OperationRefused, check_bytes
from omp.rules import canonical, identifiers
from omp.tests.oplog.world import DEVICES, ENGINE, LOG, ROOT, TRUSTING, TS, LogCopy, body_of, envelope, sealed

PHONE, LAPTOP = DEVICES[:2]


class Filling(unittest.TestCase):
    def setUp(self) -> None:
        self.node = LogCopy()

    def members(self, raw: bytes) -> dict[str, Any]:
        value = canonical.decode(raw)
        return {name: value[name] for name in ("seq", "prev", "deps", "lc")}

    def test_the_first_operation_of_the_root(self) -> None:
        operation = self.node.by(ROOT).produce(EVIDENCE, body_of(EVIDENCE), TS)
        self.assertEqual(self.members(operation.raw), {"seq": 1, "prev": None, "deps": [], "lc": 1})

    def test_deps_are_the_heads_without_prev(self) -> None:
        first = self.node.do(ROOT, GRANT)
        device = self.node.do(PHONE, EVIDENCE)
        operation = self.node.by(ROOT).produce(CLAIM, body_of(CLAIM), TS)
        self.assertEqual(self.members(operation.raw), {"seq": 2, "prev": first, "deps": [device], "lc": 3})
        self.node.replica.admit(operation)
        again = self.node.by(ROOT).produce(CLAIM, body_of(CLAIM), TS)
        self.assertEqual(self.members(again.raw), {"seq": 3, "prev": operation.id, "deps": [], "lc": 4})

    def test_a_root_that_lost_its_chain_begins_again_without_deps(self) -> None:
        other = LogCopy()
        other.do(ROOT, GRANT)
        other.do(PHONE, EVIDENCE)
        fresh = LogCopy()
        operation = fresh.by(ROOT).produce(CLAIM, body_of(CLAIM), TS)
        self.assertEqual(other.replica.add(operation.raw, ENGINE).status, ACCEPTED)

    def test_after_a_fork_it_goes_on_with_the_longer_branch_and_merges_the_other(self) -> None:
        self.node.do(ROOT, CLAIM)
        left, right = self.node.copy(), self.node.copy()
        left.do(ROOT, EVIDENCE, size=1)
        longest = left.do(ROOT, EVIDENCE, size=2)
        other = right.do(ROOT, EVIDENCE, size=3)
        left.merge(right)
        operation = left.by(ROOT).produce(CLAIM, body_of(CLAIM), TS)
        self.assertEqual(self.members(operation.raw), {"seq": 4, "prev": longest, "deps": [other], "lc": 4})

    def test_a_hundred_forks_do_not_keep_a_device_from_merging_its_grant(self) -> None:
        self.node.do(ROOT, GRANT, grantee=PHONE.id)
        other = self.node.copy()
        laptop = other.do(ROOT, GRANT, grantee=LAPTOP.id)
        start = self.node.do(PHONE, CLAIM)
        for number in range(100):
            fork = envelope(EVIDENCE, PHONE, prev=start, seq=2, lc=4, body=body_of(EVIDENCE, size=number))
            self.assertEqual(self.node.replica.add(sealed(fork), TRUSTING).status, ACCEPTED)
        self.node.merge(other)
        operation = self.node.by(LAPTOP).produce(CLAIM, body_of(CLAIM), TS)
        self.assertEqual((len(operation.deps), laptop in operation.deps), (64, True))

    def test_with_too_many_heads_those_that_matter_are_merged_first(self) -> None:
        first = self.node.do(ROOT, GRANT)
        for number in range(70):
            value = envelope(EVIDENCE, PHONE, deps=[first], lc=2, body=body_of(EVIDENCE, size=number))
            self.assertEqual(self.node.replica.add(sealed(value), TRUSTING).status, ACCEPTED)
        heads = [entry for entry in map(self.node.replica.entry, self.node.replica.heads()) if entry is not None]
        named = min(heads, key=lambda head: head.id).id  # the last in the order of merging
        operation = self.node.by(ROOT).refutation(TS, target=named)
        self.assertEqual(len(operation.deps), 64)
        self.assertIn(named, operation.deps)
        self.assertEqual(self.node.replica.admit(operation).status, ACCEPTED)

    def test_sets_are_sorted_for_the_caller(self) -> None:
        operation = self.node.by(ROOT).permission_grant(
            TS, grantee=PHONE.id, caps=["read", "author"], predicates=["b", "a", "b"], ops=[EVIDENCE, CLAIM]
        )
        self.assertEqual(operation.body["caps"], ["author", "read"])
        scope = {"predicates": ["a", "b"], "provenance": "none", "ops": [CLAIM, EVIDENCE]}
        self.assertEqual(operation.body["scope"], scope)

    def test_extensions_are_signed_with_the_rest(self) -> None:
        operation = self.node.by(ROOT).produce(EVIDENCE, body_of(EVIDENCE, x_a=1), TS, {"x_note": {"a": [1]}})
        self.assertEqual(canonical.decode(operation.raw)["x_note"], {"a": [1]})
        self.assertEqual(check_bytes(operation.raw, ENGINE, LOG).id, operation.id)


class SevenTypes(unittest.TestCase):
    def test_each_has_a_method_and_passes_the_verifier(self) -> None:
        node = LogCopy()
        root, done = node.by(ROOT), []

        def keep(operation: Any) -> str:
            self.assertEqual(node.replica.add(operation.raw, ENGINE).status, ACCEPTED)
            done.append(operation.type)
            return str(operation.id)

        evidence = keep(root.evidence_ingest(
            TS, evidence=identifiers.evidence_id(b"dentist"), media_type="text/calendar", size=7, source="calendar:ics",
        ))  # fmt: skip
        claim = keep(root.claim_assert(
            TS, subject="self", predicate="calendar.event", object={"at": "10:00"}, confidence_ppm=900_000,
            method="rule:recurring-event/1", derived_from=[evidence],
        ))  # fmt: skip
        keep(root.correction(TS, target=claim))
        keep(root.refutation(TS, target=evidence, reason="cancelled"))
        grant = keep(root.permission_grant(TS, grantee=PHONE.id, caps=["read"], predicates=["*"]))
        keep(root.revocation(TS, target=grant))
        keep(root.inference_call(TS, purpose="summary", model="small", inputs=[claim]))
        self.assertEqual(sorted(done), sorted(TYPES))


class Refusing(unittest.TestCase):
    """It runs the verifier on its own output: what would be refused is not returned."""

    def code(self, author: Any, kind: str, body: dict[str, Any], ts: str = TS) -> str:
        node = LogCopy()
        node.do(ROOT, GRANT)
        before = node.replica.state_id()
        with self.assertRaises(OperationRefused) as caught:
            node.by(author).produce(kind, body, ts)
        self.assertEqual(node.replica.state_id(), before)
        return caught.exception.code

    def test_it_raises_the_code_of_the_stage_that_would_refuse(self) -> None:
        zero = "omp:op:sha256:" + "0" * 64
        cyclic: list[Any] = []
        cyclic.append(cyclic)
        deep: Any = 1
        for _ in range(15):
            deep = [deep]
        for expected, author, kind, body, ts in (
            ("ERR_ENCODING", ROOT, CLAIM, body_of(CLAIM, object=deep), TS),
            ("ERR_CANONICAL", ROOT, CLAIM, body_of(CLAIM, object=1.5), TS),
            ("ERR_CANONICAL", ROOT, CLAIM, body_of(CLAIM, object=2**53), TS),
            ("ERR_CANONICAL", ROOT, CLAIM, body_of(CLAIM, object=float("nan")), TS),
            ("ERR_CANONICAL", ROOT, CLAIM, body_of(CLAIM, object="\ud800"), TS),
            ("ERR_CANONICAL", ROOT, CLAIM, body_of(CLAIM, object=b"bytes"), TS),
            ("ERR_CANONICAL", ROOT, CLAIM, body_of(CLAIM, object={1: 2}), TS),
            ("ERR_CANONICAL", ROOT, CLAIM, body_of(CLAIM, object=cyclic), TS),
            ("ERR_SCHEMA", ROOT, CLAIM, body_of(CLAIM, predicate="No"), TS),
            ("ERR_SCHEMA", ROOT, CLAIM, body_of(CLAIM), "2024-05-17"),
            ("ERR_SCHEMA", ROOT, "claim", body_of(CLAIM), TS),
            ("ERR_LIMIT", ROOT, CLAIM, body_of(CLAIM, subject="s" * 257), TS),
            ("ERR_RANGE", ROOT, CLAIM, body_of(CLAIM, confidence_ppm=1_000_001), TS),
            ("ERR_REF", ROOT, CLAIM, body_of(CLAIM, derived_from=[zero]), TS),
            ("ERR_AUTHZ", DEVICES[3], CLAIM, body_of(CLAIM), TS),
        ):  # fmt: skip
            with self.subTest(expected=expected, kind=kind):
                self.assertEqual(self.code(author, kind, body, ts), expected)


if __name__ == "__main__":
    unittest.main()
