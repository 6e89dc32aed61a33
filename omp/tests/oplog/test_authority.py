"""Keys, grants, revocation: who may append what, what is void, effective, revoked (oplog §4)."""

from __future__ import annotations

import json
import unittest
from typing import Any

from omp.protocols.oplog.core.authority import attenuates, matches, patterns_over
from omp.protocols.oplog.core.entries import GrantEntry
from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    REVOCATION,
    TYPES,
)
from omp.protocols.oplog.core.outcomes import ACCEPTED
from omp.protocols.oplog.core.producer import signed
from omp.protocols.oplog.core.verify import OperationRefused
from omp.protocols.oplog.definition import check
from omp.tests.oplog.world import DEVICES, EARLY, LATE, ROOT, STRANGER, TRUSTING, TS, Key, LogCopy, body_of, envelope

PHONE, LAPTOP, TABLET, WATCH, CAR = DEVICES
ALL = ["author", "delegate", "infer", "read"]


class AuthorityTest(unittest.TestCase):
    def setUp(self) -> None:
        self.node = LogCopy()

    def tearDown(self) -> None:
        # Whatever a test built, the independent implementation agrees.
        if not len(self.node.replica):
            return  # nothing was accepted: no log
        report = check(self.node.raw(), TRUSTING)
        self.assertEqual((report.problems, report.document), ([], self.node.replica.state_document()))

    def grant(self, grantee: Key = PHONE, by: Key = ROOT, node: LogCopy | None = None, **members: Any) -> str:
        scope = {"predicates": members.pop("predicates", ["*"]), "provenance": members.pop("provenance", "full")}
        if "ops" in members:
            scope["ops"] = members.pop("ops")
        members = {"max_depth": 8 if by is ROOT else 7, **members}
        return (node or self.node).do(by, GRANT, grantee=grantee.id, scope=scope, **members)

    def code(self, author: Key, kind: str, ts: str = TS, **members: Any) -> str:
        """The verdict on the author's next operation, as a code or status; it is stored if it passes."""
        try:
            operation = self.node.by(author).produce(kind, body_of(kind, **members), ts)
        except OperationRefused as refused:
            return refused.code
        return self.node.replica.admit(operation).status

    def allowed(self, *arguments: Any, **members: Any) -> None:
        self.assertEqual(self.code(*arguments, **members), ACCEPTED)

    def denied(self, *arguments: Any, **members: Any) -> None:
        self.assertEqual(self.code(*arguments, **members), "ERR_AUTHZ")

    def status(self, operation_id: str, node: LogCopy | None = None) -> str:
        return str((node or self.node).object(operation_id)["status"])


class Root(AuthorityTest):
    def test_the_root_needs_no_grant(self) -> None:
        claim = self.node.do(ROOT, CLAIM)
        for kind, members in ((EVIDENCE, {}), (REFUTATION, {"target": claim}), (INFERENCE, {"inputs": [claim]})):
            self.allowed(ROOT, kind, **members)

    def test_only_the_root_can_begin_a_log(self) -> None:
        self.denied(STRANGER, CLAIM)
        self.denied(STRANGER, GRANT, grantee=PHONE.id)

    def test_a_first_operation_of_the_root_has_no_deps(self) -> None:
        first = self.node.do(ROOT, CLAIM)
        raw = signed(envelope(CLAIM, deps=[first], lc=2), ROOT)
        self.assertEqual(self.node.replica.add(raw, TRUSTING).code, "ERR_AUTHZ")
        raw = signed(envelope(CLAIM, ts=LATE), ROOT)
        self.assertEqual(self.node.replica.add(raw, TRUSTING).status, ACCEPTED)

    def test_the_roots_grants_have_no_parent_and_its_inferences_no_grant(self) -> None:
        grant = self.grant()
        claim = self.node.do(ROOT, CLAIM)
        self.denied(ROOT, GRANT, grantee=LAPTOP.id, parent=grant, max_depth=0)
        self.denied(ROOT, INFERENCE, inputs=[claim], grant=grant)

    def test_grants_by_others_need_a_parent_and_their_inferences_a_grant(self) -> None:
        self.grant()
        claim = self.node.do(ROOT, CLAIM)
        self.denied(PHONE, GRANT, grantee=LAPTOP.id, parent=None, max_depth=0)
        self.denied(PHONE, INFERENCE, inputs=[claim], grant=None)


class Covers(AuthorityTest):
    def test_a_key_acts_only_under_grants_in_its_past(self) -> None:
        self.node.do(ROOT, CLAIM)
        before = self.node.copy()
        grant = self.grant()
        self.denied(STRANGER, CLAIM)
        value = envelope(CLAIM, PHONE, deps=before.replica.heads(), lc=2)
        self.assertEqual(self.node.replica.add(signed(value, PHONE), TRUSTING).code, "ERR_AUTHZ")
        value = envelope(CLAIM, PHONE, deps=[grant], lc=3)
        self.assertEqual(self.node.replica.add(signed(value, PHONE), TRUSTING).status, ACCEPTED)

    def test_every_type_needs_the_author_capability(self) -> None:
        self.grant(caps=["delegate", "infer", "read"])
        self.denied(PHONE, EVIDENCE)
        self.grant(caps=["author"])
        self.allowed(PHONE, EVIDENCE)

    def test_ops_limit_the_types(self) -> None:
        self.grant(ops=[CLAIM, EVIDENCE])
        self.allowed(PHONE, CLAIM)
        self.allowed(PHONE, EVIDENCE)
        self.denied(PHONE, REFUTATION, target=self.node.do(ROOT, CLAIM))

    def test_times_hold_from_not_before_up_to_expires_exclusive(self) -> None:
        self.grant(not_before=EARLY, expires=LATE)
        for ts, code in (
            (EARLY, ACCEPTED), ("2023-12-31T23:59:59.999Z", "ERR_AUTHZ"), ("2024-12-31T23:59:59.998Z", ACCEPTED),
            (LATE, "ERR_AUTHZ"),
        ):  # fmt: skip
            self.assertEqual(self.code(PHONE, EVIDENCE, ts), code, ts)

    def test_claims_need_a_matching_predicate(self) -> None:
        self.grant(predicates=["calendar.*", "health.sleep"])
        for predicate, code in (
            ("calendar", ACCEPTED), ("calendar.event", ACCEPTED), ("calendar.event.x", ACCEPTED),
            ("calendars", "ERR_AUTHZ"), ("health.sleep", ACCEPTED), ("health", "ERR_AUTHZ"),
            ("health.sleep.deep", "ERR_AUTHZ"),
        ):  # fmt: skip
            self.assertEqual(self.code(PHONE, CLAIM, predicate=predicate), code, predicate)

    def test_corrections_need_both_predicates(self) -> None:
        self.grant(predicates=["a"])
        a, other = self.node.do(ROOT, CLAIM, predicate="a"), self.node.do(ROOT, CLAIM, predicate="b")
        second = self.node.do(ROOT, CLAIM, predicate="a")
        self.denied(PHONE, CORRECTION, target=other)
        self.denied(PHONE, CORRECTION, target=a, replacement=other)
        self.allowed(PHONE, CORRECTION, target=a)
        self.allowed(PHONE, CORRECTION, target=a, replacement=second)

    def test_refutations_of_evidence_need_the_star(self) -> None:
        self.grant(predicates=["calendar.*"])
        evidence, claim = self.node.do(ROOT, EVIDENCE), self.node.do(ROOT, CLAIM)
        self.allowed(PHONE, REFUTATION, target=claim)
        self.denied(PHONE, REFUTATION, target=evidence)
        self.denied(PHONE, REFUTATION, target=self.node.do(ROOT, CLAIM, predicate="x"))
        self.grant(LAPTOP)
        self.allowed(LAPTOP, REFUTATION, target=evidence)

    def test_inferences_need_infer_the_named_grant_and_matching_inputs(self) -> None:
        evidence, claim = self.node.do(ROOT, EVIDENCE), self.node.do(ROOT, CLAIM)
        hidden = self.node.do(ROOT, CLAIM, predicate="x")
        full = self.grant(predicates=["calendar.*"])
        none = self.grant(provenance="none", predicates=["calendar.*"])
        mute = self.grant(caps=["author", "read"])
        other = self.grant(LAPTOP)
        self.allowed(PHONE, INFERENCE, inputs=[claim, evidence], grant=full)
        self.allowed(PHONE, INFERENCE, inputs=[claim], grant=none)
        self.denied(PHONE, INFERENCE, inputs=[claim, evidence], grant=none)
        self.denied(PHONE, INFERENCE, inputs=[claim, hidden], grant=full)
        self.denied(PHONE, INFERENCE, inputs=[claim], grant=mute)
        self.denied(PHONE, INFERENCE, inputs=[claim], grant=other)

    def test_only_a_grant_strictly_above_revokes(self) -> None:
        top = self.grant(PHONE)
        middle = self.grant(LAPTOP, PHONE, parent=top)
        bottom = self.grant(TABLET, LAPTOP, parent=middle, max_depth=6)
        side = self.grant(WATCH)
        self.denied(WATCH, REVOCATION, target=bottom)
        self.denied(TABLET, REVOCATION, target=middle)
        self.denied(LAPTOP, REVOCATION, target=side)
        self.allowed(PHONE, REVOCATION, target=bottom)
        self.assertEqual([self.status(one) for one in (top, middle, bottom, side)],
                         ["active", "active", "revoked", "active"])  # fmt: skip

    def test_matching(self) -> None:
        for predicate, pattern, expected in (
            ("a", "*", True), ("a", "a", True), ("a", "a.*", True), ("a.b", "a.*", True), ("a.b", "a", False),
            ("ab", "a.*", False), ("a", "a.b.*", False), ("a.b.c", "a.b.*", True),
        ):  # fmt: skip
            self.assertEqual(matches(predicate, [pattern]), expected, (predicate, pattern))
            self.assertEqual(pattern in patterns_over(predicate), expected, (predicate, pattern))


class Delegation(AuthorityTest):
    def test_authority_flows_down_only(self) -> None:
        top = self.grant(PHONE)
        self.denied(ROOT, GRANT, grantee=ROOT.id)
        self.denied(PHONE, GRANT, grantee=ROOT.id, parent=top, max_depth=1)
        self.denied(PHONE, GRANT, grantee=PHONE.id, parent=top, max_depth=1)
        middle = self.grant(LAPTOP, PHONE, parent=top)
        self.denied(LAPTOP, GRANT, grantee=PHONE.id, parent=middle, max_depth=1)
        self.allowed(LAPTOP, GRANT, grantee=TABLET.id, parent=middle, max_depth=1)

    def test_delegation_needs_delegate_in_the_grant_named_as_parent(self) -> None:
        mute = self.grant(PHONE, caps=["author", "read"])
        self.denied(PHONE, GRANT, grantee=LAPTOP.id, parent=mute, max_depth=0, caps=["read"])
        other = self.grant(WATCH)
        self.grant(PHONE)
        self.denied(PHONE, GRANT, grantee=LAPTOP.id, parent=other, max_depth=0)

    def test_delegation_ends_at_depth(self) -> None:
        parent = self.grant(PHONE, max_depth=1)
        child = self.grant(LAPTOP, PHONE, parent=parent, max_depth=0)
        self.denied(LAPTOP, GRANT, grantee=TABLET.id, parent=child, max_depth=0)
        self.denied(PHONE, GRANT, grantee=TABLET.id, parent=parent, max_depth=1)

    def test_attenuation_rule_by_rule(self) -> None:
        scope = {"predicates": ["calendar.*", "health"], "provenance": "none", "ops": [CLAIM, GRANT]}
        parent_id = self.grant(
            caps=["author", "delegate"], predicates=scope["predicates"], provenance="none", ops=scope["ops"],
            max_depth=3, not_before=EARLY, expires=LATE,
        )  # fmt: skip
        parent = self.node.replica.entry(parent_id)
        assert isinstance(parent, GrantEntry)
        base = body_of(GRANT, caps=["author"], scope=scope, max_depth=2, not_before=EARLY, expires=LATE)

        def check_one(expected: bool, **members: Any) -> None:
            names = {"predicates", "provenance", "ops"}.intersection(members)
            in_scope = {name: members.pop(name) for name in names}
            body = {**base, "scope": {**scope, **in_scope}, **members}
            if in_scope.get("ops", ...) is None:
                del body["scope"]["ops"]
            self.assertEqual(attenuates(body, parent), expected, (members, in_scope))

        check_one(True)
        check_one(True, caps=["author", "delegate"])
        check_one(False, caps=["author", "read"])
        for predicates, expected in (
            (["calendar"], True), (["calendar.*"], True), (["calendar.event"], True), (["calendar.event.*"], True),
            (["health"], True), (["health.*"], False), (["health.sleep"], False), (["*"], False),
            (["calendars"], False), (["calendars.*"], False), (["calendar", "health"], True),
            (["calendar", "x"], False),
        ):  # fmt: skip
            check_one(expected, predicates=predicates)
        check_one(False, provenance="full")
        check_one(True, ops=[CLAIM])
        check_one(False, ops=[CLAIM, EVIDENCE])
        check_one(False, ops=None)
        check_one(True, max_depth=0)
        check_one(False, max_depth=3)
        for late, early in (("not_before", "expires"), ("expires", "not_before")):
            check_one(False, **{late: None})
            check_one(True, **{late: TS})
            check_one(True, **{early: TS})
        check_one(False, not_before="2023-12-31T23:59:59.999Z")
        check_one(False, expires="2025-01-01T00:00:00.000Z")

    def test_the_star_covers_every_pattern_and_null_times_allow_any(self) -> None:
        wide = self.node.replica.entry(self.grant())
        assert isinstance(wide, GrantEntry)
        for predicates in (["*"], ["a"], ["a.*"]):
            body = body_of(GRANT, scope={"predicates": predicates, "provenance": "full"}, max_depth=7, not_before=TS,
                           expires=None)  # fmt: skip
            self.assertTrue(attenuates(body, wide))

    def test_nine_levels_are_the_deepest(self) -> None:
        keys = [Key(number) for number in range(30, 41)]
        parent, by = None, ROOT
        for depth, key in enumerate(keys[:9]):
            parent, by = self.grant(key, by, parent=parent, max_depth=8 - depth), key
        self.denied(by, GRANT, grantee=keys[9].id, parent=parent, max_depth=0)
        entry = self.node.replica.entry(str(parent))
        assert isinstance(entry, GrantEntry)
        self.assertEqual((entry.depth, len(entry.lineage())), (9, 9))


class Revocation(AuthorityTest):
    def test_after_a_revocation_in_its_past_a_key_may_do_nothing(self) -> None:
        grant = self.grant()
        self.allowed(PHONE, EVIDENCE)
        self.allowed(ROOT, REVOCATION, target=grant)
        self.denied(PHONE, EVIDENCE)
        self.assertEqual(self.status(grant), "revoked")
        self.assertEqual(json.loads(self.node.replica.state_document())["void"], [])

    def test_another_grant_still_counts(self) -> None:
        first, _ = self.grant(), self.grant()
        self.allowed(ROOT, REVOCATION, target=first)
        self.allowed(PHONE, EVIDENCE)

    def test_a_revoked_ancestor_revokes_what_is_below(self) -> None:
        top = self.grant(PHONE)
        below = self.grant(LAPTOP, PHONE, parent=top)
        revocation = self.node.do(ROOT, REVOCATION, target=top)
        self.denied(LAPTOP, EVIDENCE)
        # The status says it, and the ancestor says by what.
        self.assertEqual([self.node.object(one)["revoked_by"] for one in (top, below)], [[revocation], []])
        self.assertEqual([self.status(one) for one in (top, below)], ["revoked", "revoked"])

    def test_what_is_concurrent_with_a_revocation_is_void_and_what_is_in_its_past_is_not(self) -> None:
        grant = self.grant()
        seen = self.node.do(PHONE, CLAIM)
        phone = self.node.copy()
        unseen = phone.do(PHONE, CLAIM)
        self.node.do(ROOT, REVOCATION, target=grant)
        self.node.merge(phone)
        self.assertEqual([self.status(one) for one in (seen, unseen)], ["active", "void"])
        self.assertEqual(json.loads(self.node.replica.state_document())["void"], [unseen])
        self.assertEqual(self.node.object(unseen)["effective"], False)

    def test_back_dating_gains_nothing(self) -> None:
        grant = self.grant()
        seen = self.node.do(PHONE, CLAIM)
        self.node.do(ROOT, REVOCATION, target=grant)
        value = envelope(CLAIM, PHONE, seq=2, prev=seen, lc=3, ts="2020-01-01T00:00:00.000Z")
        outcome = self.node.replica.add(signed(value, PHONE), TRUSTING)
        self.assertEqual((outcome.status, self.status(str(outcome.id))), (ACCEPTED, "void"))

    def test_void_needs_every_grant_of_auth_to_be_cut(self) -> None:
        first, second = self.grant(), self.grant()
        phone = self.node.copy()
        claim = phone.do(PHONE, CLAIM)
        self.node.do(ROOT, REVOCATION, target=first)
        self.node.merge(phone)
        self.assertEqual(self.status(claim), "active")
        late = self.node.copy()
        self.node.do(ROOT, REVOCATION, target=second)
        self.assertEqual(self.status(claim), "active", "the second revocation has seen it")
        other = LogCopy()
        other.merge(late)
        self.assertEqual(self.status(claim, other), "active")

    def test_void_operations_correct_refute_and_revoke_nothing(self) -> None:
        top = self.grant(PHONE)
        below = self.grant(LAPTOP, PHONE, parent=top)
        claim, other = self.node.do(ROOT, CLAIM), self.node.do(ROOT, CLAIM)
        evidence = self.node.do(ROOT, EVIDENCE)
        phone = self.node.copy()
        phone.do(PHONE, CORRECTION, target=claim)
        phone.do(PHONE, REFUTATION, target=other)
        phone.do(PHONE, REFUTATION, target=evidence)
        phone.do(PHONE, REVOCATION, target=below)
        self.assertEqual([self.status(one, phone) for one in (claim, other, evidence, below)],
                         ["superseded", "refuted", "refuted", "revoked"])  # fmt: skip
        self.node.do(ROOT, REVOCATION, target=top)
        self.node.merge(phone)
        self.assertEqual([self.status(one) for one in (claim, other, evidence)], ["active"] * 3)
        self.assertEqual(self.node.object(below)["revoked_by"], [], "the phone's is void")
        self.assertEqual(len(self.node.object(top)["revoked_by"]), 1, "the root's")

    def test_a_revocation_that_turns_void_gives_back_what_it_had_voided(self) -> None:
        top = self.grant(PHONE)
        below = self.grant(LAPTOP, PHONE, parent=top)
        laptop, phone = self.node.copy(), self.node.copy()
        claim = laptop.do(LAPTOP, CLAIM)
        revocation = phone.do(PHONE, REVOCATION, target=below)
        root = self.node.copy()
        root.merge(laptop)  # the root keeps what the laptop did, before it cuts the phone off
        root.do(ROOT, REVOCATION, target=top)
        self.node.merge(laptop, phone)
        self.assertEqual(self.status(claim), "void")
        self.node.merge(root)
        self.assertEqual(self.status(claim), "active")
        self.assertEqual(json.loads(self.node.replica.state_document())["void"], [revocation])

    def test_a_grant_concurrent_with_a_revocation_is_void_and_so_is_what_it_allows(self) -> None:
        top = self.grant(PHONE)
        phone = self.node.copy()
        below = self.grant(LAPTOP, PHONE, phone, parent=top)
        claim = phone.do(LAPTOP, CLAIM)
        revocation = self.node.do(ROOT, REVOCATION, target=top)
        self.node.merge(phone)
        self.assertEqual([self.status(one) for one in (top, below, claim)], ["revoked", "void", "void"])
        self.assertEqual([self.node.object(one)["revoked_by"] for one in (top, below)], [[revocation], []])

    def test_a_revocation_from_above_wins_over_one_from_below(self) -> None:
        top = self.grant(PHONE)
        middle = self.grant(LAPTOP, PHONE, parent=top)
        bottom = self.grant(TABLET, LAPTOP, parent=middle, max_depth=6)
        phone, laptop = self.node.copy(), self.node.copy()
        phone.do(PHONE, REVOCATION, target=middle)
        lost = laptop.do(LAPTOP, REVOCATION, target=bottom)
        self.node.merge(laptop)
        self.assertEqual(self.node.object(bottom)["revoked_by"], [lost])
        self.node.merge(phone)
        self.assertNotIn(lost, self.node.object(bottom)["revoked_by"])
        self.assertEqual(self.status(bottom), "revoked", "its ancestor is")

    def test_a_void_revocation_in_the_past_still_ends_authority(self) -> None:
        # Auth(O) looks at revocations in past(O), "void or not": what it saw binds the author.
        top = self.grant(PHONE)
        below = self.grant(LAPTOP, PHONE, parent=top)
        phone = self.node.copy()
        revocation = phone.do(PHONE, REVOCATION, target=below)
        self.node.do(ROOT, REVOCATION, target=top)
        self.node.merge(phone)
        self.assertIn(revocation, json.loads(self.node.replica.state_document())["void"])
        self.denied(LAPTOP, EVIDENCE)


class Renunciation(AuthorityTest):
    def test_whoever_holds_a_grant_may_give_it_up(self) -> None:
        grant = self.grant(caps=["read"], ops=[CLAIM], expires=EARLY)
        self.allowed(PHONE, REVOCATION, target=grant)
        self.assertEqual(self.status(grant), "revoked")

    def test_it_binds_those_who_have_seen_it(self) -> None:
        grant = self.grant()
        self.allowed(PHONE, REVOCATION, target=grant)
        self.denied(PHONE, EVIDENCE)
        self.denied(PHONE, REVOCATION, target=grant)

    def test_it_voids_nothing(self) -> None:
        grant = self.grant()
        below = self.grant(LAPTOP, PHONE, parent=grant)
        phone, laptop = self.node.copy(), self.node.copy()
        claim = laptop.do(LAPTOP, CLAIM)
        renunciation = phone.do(PHONE, REVOCATION, target=grant)
        self.node.merge(laptop, phone)
        self.assertEqual(self.status(claim), "active")
        self.assertEqual([self.status(one) for one in (grant, below)], ["revoked", "revoked"])
        self.assertEqual([self.node.object(one)["revoked_by"] for one in (grant, below)], [[renunciation], []])
        self.denied(LAPTOP, EVIDENCE)

    def test_it_is_refused_if_a_revocation_of_the_grant_is_in_its_past(self) -> None:
        grant = self.grant()
        phone = self.node.copy()
        renunciation = phone.do(PHONE, REVOCATION, target=grant)
        revocation = self.node.do(ROOT, REVOCATION, target=grant)
        self.denied(PHONE, REVOCATION, target=grant)
        self.node.merge(phone)
        # Concurrent with a revocation from above it is void, and does not count among the effective ones.
        self.assertEqual(self.node.object(grant)["revoked_by"], [revocation])
        self.assertEqual(json.loads(self.node.replica.state_document())["void"], [renunciation])

    def test_two_renunciations_on_two_branches_are_both_effective(self) -> None:
        grant = self.grant()
        one, two = self.node.copy(), self.node.copy()
        ids = [one.do(PHONE, REVOCATION, target=grant, reason="a"), two.do(PHONE, REVOCATION, target=grant, reason="b")]
        self.node.merge(one, two)
        self.assertEqual(self.node.object(grant)["revoked_by"], sorted(ids))


class Everything(AuthorityTest):
    def test_one_wide_grant_allows_every_type(self) -> None:
        grant = self.grant()
        evidence, claim = self.node.do(PHONE, EVIDENCE), self.node.do(PHONE, CLAIM)
        below = self.grant(LAPTOP, PHONE, parent=grant)
        done = {EVIDENCE, CLAIM, GRANT}
        for kind, members in (
            (CORRECTION, {"target": claim}), (REFUTATION, {"target": evidence}), (REVOCATION, {"target": below}),
            (INFERENCE, {"inputs": [claim], "grant": grant}),
        ):  # fmt: skip
            self.allowed(PHONE, kind, **members)
            done.add(kind)
        self.assertEqual(done, set(TYPES))
        self.assertEqual(ALL, sorted(json.loads(self.node.raw()[0])["body"]["caps"]))


if __name__ == "__main__":
    unittest.main()
