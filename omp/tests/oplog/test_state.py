"""Derived state: statuses, taint, the state document, what readers get (oplog §5, §6, §7)."""

from __future__ import annotations

import json
import unittest
from typing import Any
from unittest.mock import patch

from omp.protocols.oplog.core import state
from omp.protocols.oplog.core.blocks import Blocks
from omp.protocols.oplog.core.document import changed_by, item, why
from omp.protocols.oplog.core.entries import SourceEntry
from omp.protocols.oplog.core.operation import CLAIM, CORRECTION, EVIDENCE, GRANT, INFERENCE, REFUTATION, REVOCATION
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.definition import check
from omp.rules import canonical, identifiers
from omp.tests.oplog.world import (
    DEVICES,
    EARLY,
    LATE,
    LOG,
    ROOT,
    STRANGER,
    TRUSTING,
    TS,
    LogCopy,
    World,
    body_of,
    envelope,
    sealed,
)

PHONE, LAPTOP = DEVICES[:2]


class StateTest(unittest.TestCase):
    def setUp(self) -> None:
        self.node = LogCopy()

    def tearDown(self) -> None:
        if len(self.node.replica):
            report = check(self.node.raw(), TRUSTING)
            self.assertEqual((report.problems, report.document), ([], self.node.replica.state_document()))

    def do(self, kind: str, **members: Any) -> str:
        return self.node.do(ROOT, kind, **members)

    def derive(self, *sources: str, **members: Any) -> str:
        return self.do(CLAIM, derived_from=list(sources), method="rule:x/1", **members)

    def entry(self, operation_id: str) -> SourceEntry:
        entry = self.node.replica.entry(operation_id)
        assert isinstance(entry, SourceEntry)
        return entry

    def taint(self, operation_id: str) -> list[str]:
        taint: list[str] = self.node.object(operation_id)["taint"]
        return taint

    def status(self, operation_id: str) -> str:
        return str(self.node.object(operation_id)["status"])


class Statuses(StateTest):
    def test_a_new_claim_is_active_and_effective(self) -> None:
        claim = self.do(CLAIM)
        self.assertEqual(self.node.object(claim), {
            "effective": True, "id": claim, "refuted_by": [], "replacement": None, "status": "active",
            "superseded_by": [], "taint": [],
        })  # fmt: skip

    def test_refuted_wins_over_superseded_and_both_lists_are_kept(self) -> None:
        claim, other = self.do(CLAIM), self.do(CLAIM)
        correction = self.do(CORRECTION, target=claim, replacement=other)
        self.assertEqual(self.status(claim), "superseded")
        refutation = self.do(REFUTATION, target=claim)
        self.assertEqual(self.node.object(claim), {
            "effective": False, "id": claim, "refuted_by": [refutation], "replacement": other, "status": "refuted",
            "superseded_by": [correction], "taint": [],
        })  # fmt: skip

    def test_the_last_correction_in_total_order_gives_the_replacement(self) -> None:
        claim, one, two = self.do(CLAIM), self.do(CLAIM), self.do(CLAIM)
        left, right = self.node.copy(), self.node.copy()
        early = left.do(ROOT, CORRECTION, target=claim, replacement=one)
        right.do(ROOT, CLAIM)
        late = right.do(ROOT, CORRECTION, target=claim, replacement=two)
        self.node.merge(right, left)  # the later one arrives first
        self.assertEqual(self.node.object(claim)["superseded_by"], [early, late])
        self.assertEqual(self.node.object(claim)["replacement"], two)
        self.do(CORRECTION, target=claim)
        self.assertEqual(self.node.object(claim)["replacement"], None)

    def test_refuting_one_evidence_does_not_touch_another(self) -> None:
        one, two = self.do(EVIDENCE), self.do(EVIDENCE)
        refutations = sorted([self.do(REFUTATION, target=one), self.do(REFUTATION, target=one, reason="again")])
        self.assertEqual(self.node.object(one), {"id": one, "refuted_by": refutations, "status": "refuted"})
        self.assertEqual(self.status(two), "active")

    def test_an_inference_is_void_or_active(self) -> None:
        inference = self.do(INFERENCE, inputs=[self.do(CLAIM)])
        self.assertEqual(self.node.object(inference), {"id": inference, "status": "active", "taint": []})


class Taint(StateTest):
    def test_it_reaches_all_that_was_derived_and_names_direct_sources(self) -> None:
        evidence = self.do(EVIDENCE)
        claim = self.derive(evidence)
        inference = self.do(INFERENCE, inputs=[claim])
        last = self.derive(inference)
        self.do(REFUTATION, target=evidence)
        self.assertEqual([self.taint(one) for one in (claim, inference, last)], [[evidence], [claim], [inference]])
        self.assertEqual(self.status(last), "active")
        self.assertFalse(self.node.object(last)["effective"])
        late = self.derive(last)
        self.assertEqual(self.taint(late), [last])

    def test_several_sources_taint_sorted_by_id(self) -> None:
        sources = [self.do(EVIDENCE, size=number) for number in range(4)]
        claim = self.derive(*sources)
        for source in sources[:3]:
            self.do(REFUTATION, target=source)
        self.assertEqual(self.taint(claim), sorted(sources[:3]))
        middle = self.derive(claim, *sources[2:])
        self.do(REFUTATION, target=claim)
        self.assertEqual(self.taint(middle), sorted([claim, sources[2]]))

    def test_a_superseded_source_taints(self) -> None:
        claim = self.do(CLAIM)
        built = self.derive(claim)
        self.do(CORRECTION, target=claim)
        self.assertEqual(self.taint(built), [claim])

    def test_the_replacement_and_who_derives_from_it_directly_are_excused(self) -> None:
        claim = self.do(CLAIM)
        replacement = self.derive(claim)  # the replacement may itself derive from what it replaces
        before, on_both = self.derive(claim), self.derive(replacement, claim)
        self.do(CORRECTION, target=claim, replacement=replacement)
        later, beside = self.derive(before, replacement), self.derive(before)
        self.assertEqual([self.taint(one) for one in (replacement, before, on_both)], [[], [claim], []])
        # `before` is tainted and stays so, whatever else is derived from.
        self.assertEqual([self.taint(one) for one in (later, beside)], [[before], [before]])

    def test_a_replacement_further_down_does_not_excuse(self) -> None:
        claim, replacement = self.do(CLAIM), self.do(CLAIM)
        built = self.derive(replacement)
        on_both = self.derive(claim, built)
        self.do(CORRECTION, target=claim, replacement=replacement)
        self.assertEqual([self.taint(on_both), self.taint(self.derive(claim, built))], [[claim], [claim]])
        self.assertEqual(self.taint(self.derive(claim, replacement)), [])

    def test_a_second_correction_excuses_those_who_build_on_its_replacement_too(self) -> None:
        claim, one, two = self.do(CLAIM), self.do(CLAIM), self.do(CLAIM)
        first, second, neither = self.derive(claim, one), self.derive(claim, two), self.derive(claim)
        others = [self.derive(claim) for _ in range(4)]  # more than who derive from a replacement
        self.do(CORRECTION, target=claim, replacement=one)
        self.assertEqual([self.taint(each) for each in (first, second, neither)], [[], [claim], [claim]])
        self.do(CORRECTION, target=claim, replacement=two)
        self.assertEqual([self.taint(each) for each in (first, second, neither)], [[], [], [claim]])
        self.assertEqual([self.taint(each) for each in others], [[claim]] * 4)

    def test_a_correction_does_not_excuse_a_refuted_source(self) -> None:
        claim, other = self.do(CLAIM), self.do(CLAIM)
        built = self.derive(claim, other)
        self.do(CORRECTION, target=claim, replacement=other)
        self.assertEqual(self.taint(built), [])
        self.do(REFUTATION, target=claim)
        self.assertEqual(self.taint(built), [claim])

    def test_nor_a_superseded_source_that_is_tainted_itself(self) -> None:
        evidence = self.do(EVIDENCE)
        claim, other = self.derive(evidence), self.do(CLAIM)
        built = self.derive(claim, other)
        self.do(CORRECTION, target=claim, replacement=other)
        self.assertEqual(self.taint(built), [])
        self.do(REFUTATION, target=evidence)
        self.assertEqual(
            (self.status(claim), self.taint(claim), self.taint(built)), ("superseded", [evidence], [claim])
        )

    def test_the_replacement_is_tainted_by_what_it_was_derived_from(self) -> None:
        # Who corrects derives the replacement from what still holds.
        evidence = self.do(EVIDENCE)
        claim = self.derive(evidence)
        replacement = self.derive(claim)
        self.do(CORRECTION, target=claim, replacement=replacement)
        self.do(REFUTATION, target=evidence)
        self.assertEqual(self.taint(replacement), [claim])

    def test_all_taint_lists_hold_no_more_entries_than_there_are_edges(self) -> None:
        tip = self.do(CLAIM)
        for _ in range(30):
            self.do(REFUTATION, target=tip)
            tip = self.derive(tip)
        claims = json.loads(self.node.replica.state_document())["claims"]
        self.assertEqual([len(claim["taint"]) for claim in claims].count(1), 30)
        self.assertEqual(sum(len(claim["taint"]) for claim in claims), 30)

    def test_a_correction_that_turns_void_excuses_nobody(self) -> None:
        claim, one, two = self.do(CLAIM), self.do(CLAIM), self.do(CLAIM)
        first, second = self.derive(claim, one), self.derive(claim, two)
        grant = self.do(GRANT, grantee=PHONE.id)
        phone = self.node.copy()
        for _ in range(2):
            phone.do(PHONE, CORRECTION, target=claim, replacement=one)
        self.do(CORRECTION, target=claim, replacement=two)
        self.do(REVOCATION, target=grant)
        late = phone.copy()
        self.node.merge(phone)  # here they are void from the beginning
        self.assertEqual([self.taint(first), self.taint(second)], [[claim], []])
        late.merge(self.node)  # here they were in effect before, both of them
        self.assertEqual(late.replica.state_document(), self.node.replica.state_document())

    def test_void_sources_taint_and_stop_when_they_are_valid_again(self) -> None:
        top = self.do(GRANT, grantee=PHONE.id)
        below = self.node.do(PHONE, GRANT, grantee=LAPTOP.id, parent=top, max_depth=0)
        phone, laptop, root = self.node.copy(), self.node.copy(), self.node.copy()
        claim = laptop.do(LAPTOP, CLAIM)
        built = laptop.do(ROOT, CLAIM, derived_from=[claim], method="rule:x")
        phone.do(PHONE, REVOCATION, target=below)
        self.node.merge(laptop)
        self.assertEqual(self.taint(built), [])
        self.node.merge(phone)
        self.assertEqual((self.status(claim), self.taint(built)), ("void", [claim]))
        root.merge(laptop)
        root.do(ROOT, REVOCATION, target=top)
        self.node.merge(root)
        self.assertEqual((self.status(claim), self.taint(built)), ("active", []))

    def test_a_derivation_as_long_as_a_log_needs_no_recursion(self) -> None:
        evidence = tip = self.do(EVIDENCE)
        for seq in range(2, 1502):
            body = body_of(CLAIM, derived_from=[tip])
            outcome = self.node.replica.add(sealed(envelope(CLAIM, body=body, seq=seq, lc=seq, prev=tip)), TRUSTING)
            tip = str(outcome.id)
        self.do(REFUTATION, target=evidence)
        (source,) = self.entry(tip).sources
        self.assertEqual(self.taint(tip), [source.id])
        self.assertEqual(why(self.entry(tip)).count(b'"sources":['), 1501)


class Cost(StateTest):
    """Counted work: what one operation touches, and how long the document gets."""

    def changed(self, kind: str, **members: Any) -> list[str]:
        """The IDs of the stored operations that a new one by the root changes, by its events."""
        outcome = self.node.replica.admit(self.node.by(ROOT).produce(kind, body_of(kind, **members), TS))
        return [event.data["id"] for event in outcome.events if event.kind == "status"]

    def test_a_refutation_stops_at_what_is_tainted_already(self) -> None:
        chain = [self.do(CLAIM)]
        for _ in range(40):
            chain.append(self.derive(chain[-1]))
        for number in range(30, 0, -1):  # each but the first meets a taint one step down
            changed = self.changed(REFUTATION, target=chain[number])
            self.assertEqual(changed, chain[number:] if number == 30 else chain[number : number + 2])

    def test_the_document_grows_with_the_log_and_not_with_its_square(self) -> None:
        sizes = []
        tip = self.do(CLAIM)
        for _ in range(3):
            for _ in range(40):
                self.do(REFUTATION, target=tip)
                tip = self.derive(tip)
            sizes.append(len(self.node.replica.state_document()))
        self.assertAlmostEqual(sizes[2] - sizes[1], sizes[1] - sizes[0], delta=10)  # "effective" is true or false

    def test_another_correction_asks_only_those_who_rest_on_its_replacement(self) -> None:
        claim, replacement = self.do(CLAIM), self.do(CLAIM)
        dependents = [self.derive(claim) for _ in range(30)]
        excused = self.derive(claim, replacement)
        self.assertEqual(self.changed(CORRECTION, target=claim), [claim, *dependents, excused])
        with patch.object(state, "_is_excused", wraps=state._is_excused) as asked:
            self.assertEqual(self.changed(CORRECTION, target=claim), [claim])
            self.assertEqual(asked.call_count, 0)
            self.assertEqual(self.changed(CORRECTION, target=claim, replacement=replacement), [claim, excused])
            self.assertEqual(self.changed(CORRECTION, target=claim, replacement=replacement), [claim])
            self.assertEqual(asked.call_count, 1)

    def test_only_the_first_revocation_of_a_lineage_changes_the_grants_below(self) -> None:
        top = self.do(GRANT, grantee=PHONE.id)
        low = [self.node.do(PHONE, GRANT, grantee=LAPTOP.id, parent=top, max_depth=0) for _ in range(3)]
        self.assertEqual(self.changed(REVOCATION, target=low[0]), [low[0]])
        self.assertEqual(self.changed(REVOCATION, target=top), [top, *low[1:]])
        self.assertEqual(self.changed(REVOCATION, target=top), [top])
        self.assertEqual(self.changed(REVOCATION, target=low[1]), [low[1]])


class Document(StateTest):
    def test_it_is_canonical_and_its_hash_is_the_state_id(self) -> None:
        replica = World(80).grow(120).replica
        document = replica.state_document()
        value = json.loads(document)
        self.assertEqual(canonical.canonicalize(value), document)
        self.assertEqual(replica.state_id(), identifiers.state_id(document))
        self.assertEqual(sorted(value), [
            "claims", "evidence", "forks", "grants", "heads", "inferences", "log", "ops", "v", "void",
        ])  # fmt: skip
        self.assertEqual((value["log"], value["ops"], value["v"]), (LOG, 120, "omp/0.2"))
        for name in ("claims", "evidence", "grants", "inferences"):
            ids = [one["id"] for one in value[name]]
            self.assertTrue(ids)
            self.assertEqual(ids, sorted(ids))

    def test_the_whole_document_of_a_small_log(self) -> None:
        first = self.do(EVIDENCE)
        document = (
            f'{{"claims":[],"evidence":[{{"id":"{first}","refuted_by":[],"status":"active"}}],"forks":[],"grants":[],'
            f'"heads":["{first}"],"inferences":[],"log":"{LOG}","ops":1,"v":"omp/0.2","void":[]}}'
        )
        self.assertEqual(self.node.replica.state_document(), document.encode())

    def test_the_state_id_is_never_out_of_date(self) -> None:
        whole = World(81).grow(90)
        replica, seen = Replica(LOG), set()
        for raw in whole.accepted():
            replica.add(raw, TRUSTING)
            self.assertEqual(replica.state_id(), identifiers.state_id(replica.state_document()))
            seen.add(replica.state_id())
        self.assertEqual(len(seen), 90)
        fresh = Replica(LOG)
        for raw in whole.accepted():
            fresh.restore(raw)
        self.assertEqual(fresh.state_document(), replica.state_document())


class InBlocks(unittest.TestCase):
    """The ordered lists behind it, with many blocks."""

    def test_adding_removing_and_writing_keep_order(self) -> None:
        class Fake:
            def __init__(self, number: int) -> None:
                self.number = number

        fakes = [Fake(number * 7919 % 3001) for number in range(3001)]
        listed: Blocks[Any] = Blocks(lambda fake: fake.number)
        for fake in fakes:
            listed.add(fake)
        self.assertEqual([fake.number for fake in listed], list(range(3001)))

        def text() -> bytes:
            return b",".join(listed.texts(lambda fakes: b",".join(b"%d" % fake.number for fake in fakes)) or ())

        self.assertEqual(text(), b",".join(b"%d" % number for number in range(3001)))
        for fake in fakes[1500:]:
            listed.remove(fake)
        kept = sorted(fake.number for fake in fakes[:1500])
        self.assertEqual((len(listed), [fake.number for fake in listed]), (1500, kept))
        self.assertEqual(text(), b",".join(b"%d" % number for number in kept))
        self.assertEqual([fake.number for fake in listed.after(kept[700])], kept[701:])
        self.assertEqual([fake.number for fake in listed.after(-1)], kept)
        self.assertEqual(list(listed.after(9999)), [])
        for fake in fakes[:1500]:
            listed.remove(fake)
        self.assertEqual((list(listed), text()), ([], b""))


class Why(StateTest):
    def test_the_derivation_goes_down_to_evidence_with_what_changed_it(self) -> None:
        evidence = self.do(EVIDENCE)
        claim = self.derive(evidence)
        top = self.derive(claim, evidence)
        refutation = self.do(REFUTATION, target=evidence)
        tree = json.loads(why(self.entry(top)))
        self.assertEqual(list(tree), ["body", "changed_by", "id", "status", "type", "sources"])
        self.assertEqual((tree["id"], tree["status"], tree["changed_by"]), (top, "active", []))
        below, again = tree["sources"]
        self.assertEqual(again, {"id": evidence})
        self.assertEqual(below["sources"], [{
            "body": self.entry(evidence).envelope()["body"], "changed_by": [refutation], "id": evidence,
            "status": "refuted", "type": EVIDENCE, "sources": [],
        }])  # fmt: skip

    def test_changed_by_names_what_voids_an_operation(self) -> None:
        grant = self.do(GRANT, grantee=PHONE.id)
        phone = self.node.copy()
        claim = phone.do(PHONE, CLAIM)
        revocation = self.do(REVOCATION, target=grant)
        self.node.merge(phone)
        self.do(REVOCATION, target=grant)  # it knows the claim, so it does not void it
        correction = self.do(CORRECTION, target=claim)
        refutation = self.do(REFUTATION, target=claim)
        self.assertEqual(changed_by(self.entry(claim)), sorted([revocation, refutation, correction]))

    def test_changed_by_does_not_depend_on_the_order_of_arrival(self) -> None:
        grants = [self.do(GRANT, grantee=PHONE.id) for _ in range(2)]
        phone = self.node.copy()
        claim = phone.do(PHONE, CLAIM)
        views = [self.node.copy() for _ in range(4)]
        causes = [views[0].do(ROOT, REVOCATION, target=grants[1]), views[1].do(ROOT, REVOCATION, target=grants[0])]
        for view, kind in zip(views[2:], (REFUTATION, CORRECTION), strict=True):
            view.merge(phone)
            causes += [view.do(ROOT, kind, target=claim) for _ in range(2)]
        for order in (views, views[::-1]):
            node = phone.copy()
            node.merge(*order)
            entry = node.replica.entry(claim)
            assert isinstance(entry, SourceEntry)
            self.assertEqual(changed_by(entry), sorted(causes))

    def test_items_are_the_state_object_with_author_time_and_body(self) -> None:
        claim = self.do(CLAIM)
        entry = self.node.replica.entry(claim)
        assert entry is not None
        self.assertEqual(item(entry), {
            **self.node.object(claim), "author": ROOT.id, "ts": TS, "body": entry.envelope()["body"],
        })  # fmt: skip


class Projection(StateTest):
    def setUp(self) -> None:
        super().setUp()
        self.evidence = self.do(EVIDENCE)
        self.event = self.derive(self.evidence, predicate="calendar.event")
        self.sleep = self.derive(self.event, predicate="health.sleep")

    def seen(self, key: Any, now: str = TS, after: str | None = None) -> list[dict[str, Any]]:
        return list(self.node.replica.projection(key.id, now, after))

    def grant(self, *predicates: str, provenance: str = "none", caps: Any = ("read",), **members: Any) -> str:
        scope = {"predicates": sorted(predicates), "provenance": provenance, **members.pop("scope", {})}
        return self.do(GRANT, grantee=PHONE.id, caps=list(caps), scope=scope, **members)

    def test_the_root_sees_all_and_a_stranger_nothing(self) -> None:
        items = self.seen(ROOT)
        self.assertEqual([one["id"] for one in items], [self.event, self.sleep])
        self.assertEqual(sorted(items[0]), sorted([
            "id", "subject", "predicate", "object", "confidence_ppm", "status", "tainted", "method", "derived_from",
            "taint", "evidence",
        ]))  # fmt: skip
        self.assertEqual(self.seen(STRANGER), [])
        self.assertEqual(self.seen(ROOT, after=self.event), items[1:])

    def test_without_provenance_sources_taint_and_evidence_are_hidden(self) -> None:
        self.grant("calendar.*")
        self.do(REFUTATION, target=self.evidence)
        self.assertEqual(self.seen(PHONE), [{
            "id": self.event, "subject": "self", "predicate": "calendar.event", "object": {"title": "dentist"},
            "confidence_ppm": 900_000, "status": "active", "tainted": True,
        }])  # fmt: skip

    def test_with_provenance_they_are_shown(self) -> None:
        self.grant("*", provenance="full")
        self.do(REFUTATION, target=self.evidence)
        event, sleep = self.seen(PHONE)
        self.assertEqual((event["method"], event["derived_from"]), ("rule:x/1", [self.evidence]))
        self.assertEqual(event["taint"], [self.evidence])
        self.assertEqual([(one["id"], one["status"]) for one in event["evidence"]], [(self.evidence, "refuted")])
        self.assertEqual((sleep["taint"], sleep["evidence"]), ([self.event], []))

    def test_provenance_counts_only_for_claims_that_its_grant_matches(self) -> None:
        self.grant("calendar.*", provenance="full")
        self.grant("*")
        event, sleep = self.seen(PHONE)
        self.assertIn("method", event)
        self.assertNotIn("method", sleep)

    def test_claims_of_any_status_are_seen(self) -> None:
        self.grant("calendar.*")
        self.do(REFUTATION, target=self.event)
        self.assertEqual([one["status"] for one in self.seen(PHONE)], ["refuted"])

    def test_a_grant_must_be_for_reading_active_and_within_its_times(self) -> None:
        self.grant("*", caps=["author"])
        self.assertEqual(self.seen(PHONE), [])
        grant = self.grant("*", not_before=EARLY, expires=LATE, scope={"ops": [EVIDENCE]})
        self.assertEqual(len(self.seen(PHONE)), 2, "scope.ops does not matter for reading")
        self.assertEqual(self.seen(PHONE, "2023-12-31T23:59:59.999Z"), [])
        self.assertEqual(len(self.seen(PHONE, EARLY)), 2)
        self.assertEqual(self.seen(PHONE, LATE), [])
        self.do(REVOCATION, target=grant)
        self.assertEqual(self.seen(PHONE), [])


if __name__ == "__main__":
    unittest.main()
