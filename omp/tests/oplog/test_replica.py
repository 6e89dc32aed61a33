"""Replicator: order of arrival, restarts, waiting, heads, total order, forks (oplog §3), against the definition.

The definition (``omp.protocols.oplog.definition``) is the slow, obvious implementation: it shares no line with the
replica but canonical JSON, identifiers and Ed25519.
"""

from __future__ import annotations

import random
import tracemalloc
import unittest
from typing import Any
from unittest.mock import patch

from omp.protocols.oplog.core.authority import root_key
from omp.protocols.oplog.core.causality import in_past
from omp.protocols.oplog.core.entries import Entry
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, REFUTATION, REVOCATION, Operation
from omp.protocols.oplog.core.outcomes import ACCEPTED, DEFERRED, DUPLICATE, REJECTED
from omp.protocols.oplog.core.producer import signed
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.verify import check_bytes
from omp.protocols.oplog.core.void import Voidness
from omp.protocols.oplog.core.waiting import Bounds, WaitingPool, weight
from omp.protocols.oplog.definition import Report, check
from omp.rules import identifiers
from omp.tests import long
from omp.tests.oplog.world import (
    DEVICES,
    EARLY,
    ENGINE,
    LOG,
    ROOT,
    STRANGER,
    TRUSTING,
    Key,
    LogCopy,
    World,
    body_of,
    envelope,
    first_operation,
    sealed,
)


def oracle(raws: list[bytes]) -> Report:
    return check(raws, TRUSTING)


def checked(raws: list[bytes]) -> list[Operation]:
    return [check_bytes(raw, TRUSTING, LOG) for raw in raws]


class Shuffles(unittest.TestCase):
    """§5: same set of stored operations, any order of arrival, any interleaving with restarts, same state ID."""

    def deliver(self, operations: list[Operation], order: random.Random) -> Replica:
        """All `operations` in a random order, in random batches, with restarts between some of them."""
        pool = WaitingPool()
        replica = Replica(LOG, pool)
        waiting = operations.copy()
        order.shuffle(waiting)
        while waiting:
            batch = [waiting.pop() for _ in range(min(len(waiting), order.randrange(1, 80)))]
            for operation in batch:
                replica.admit(operation)
            if order.random() < 0.25:
                # What waits does not survive a restart: whoever has it sends it again.
                waiting[:0] = [operation for operation in operations if replica.missing(operation.id) is not None]
                kept = [entry.raw for entry in replica.operations()]
                replica = Replica(LOG, WaitingPool())
                for raw in kept:
                    replica.restore(raw)
        return replica

    def test_fifteen_deliveries_of_a_hostile_log_end_in_one_state(self) -> None:
        self.deliveries(15)

    @long
    def test_a_hundred_deliveries_of_a_hostile_log_end_in_one_state(self) -> None:
        self.deliveries(100)

    def deliveries(self, count: int) -> None:
        world = World(seed=7).grow(220)
        expected = oracle([raw for raw, _ in world.outcomes])
        document = world.replica.state_document()
        self.assertEqual(document, expected.document)
        # The log must hold what makes merging hard, or the test shows nothing.
        grants = [entry for entry in world.stored if entry.type == GRANT]
        self.assertGreaterEqual(max(grant.depth for grant in grants), 3)  # type: ignore[attr-defined]
        self.assertTrue(world.replica.forks())
        self.assertTrue(any(entry.void for entry in world.stored))
        self.assertIn(b'"status":"revoked"', document)
        self.assertTrue(any(grant.expires == EARLY for grant in grants))  # type: ignore[attr-defined]
        operations = checked([raw for raw, _ in world.outcomes])
        order = random.Random(2024)
        for delivery in range(count):
            with self.subTest(delivery=delivery):
                self.assertEqual(self.deliver(operations, order).state_id(), expected.state_id)

    def test_the_state_agrees_with_the_definition_after_every_few_arrivals(self) -> None:
        for seed in range(20, 30):
            raws = [raw for raw, _ in World(seed).grow(70).outcomes]
            random.Random(seed).shuffle(raws)
            replica = Replica(LOG)
            for number, operation in enumerate(checked(raws)):
                replica.admit(operation)
                if number % 9 == 0 and len(replica):
                    with self.subTest(seed=seed, number=number):
                        expected = oracle([entry.raw for entry in replica.operations()])
                        self.assertEqual(replica.state_document(), expected.document)
                        self.assertEqual(replica.state_id(), expected.state_id)
                        self.assertEqual(expected.problems, [])

    def test_verdicts_do_not_depend_on_the_order_of_arrival(self) -> None:
        for seed in (40, 41, 42):
            world = World(seed).grow(100)
            raws = [raw for raw, _ in world.outcomes]
            refused = {outcome.id: outcome.code for _, outcome in world.outcomes if outcome.status == REJECTED}
            self.assertEqual(dict(oracle(raws).problems), refused)
            random.Random(seed).shuffle(raws)
            replica = Replica(LOG)
            outcomes = [replica.admit(operation) for operation in checked(raws)]
            events = [event for outcome in outcomes for event in outcome.events]
            late = {event.data["id"]: event.data["code"] for event in events if event.kind == "rejected"}
            at_once = {outcome.id: outcome.code for outcome in outcomes if outcome.status == REJECTED}
            self.assertEqual({**late, **at_once}, refused)

    def test_core_and_definition_accept_real_signatures(self) -> None:
        raws = [raw for raw, _ in World(seed=3, real=True).grow(25).outcomes]
        replica = Replica(LOG)
        for raw in raws:
            replica.add(raw, ENGINE)
        self.assertEqual(check(raws, ENGINE).state_id, replica.state_id())


class CausalOrder(unittest.TestCase):
    def test_in_past_agrees_with_the_sets_of_ancestors(self) -> None:
        for seed in range(50, 54):
            entries = list(World(seed).grow(90).replica.operations())
            pasts: dict[str, set[str]] = {}
            for entry in entries:
                value = entry.envelope()
                parents = [*value["deps"], *([value["prev"]] if value["prev"] else [])]
                pasts[entry.id] = set(parents).union(*(pasts[parent] for parent in parents))
                for other in entries:
                    if other.lc <= entry.lc:
                        self.assertEqual(in_past(other, entry), other.id in pasts[entry.id])

    def test_lacking_is_all_but_the_heads_and_their_pasts_in_total_order(self) -> None:
        world = World(60).grow(120)
        entries = list(world.replica.operations())
        choose = random.Random(60)
        for _ in range(20):
            heads = choose.sample(entries, choose.randrange(4))
            lacked = [e.id for e in entries if not any(e is head or in_past(e, head) for head in heads)]
            asked = [*(head.id for head in heads), "omp:op:sha256:" + "0" * 64]
            self.assertEqual([entry.id for entry in world.replica.lacking(asked)], lacked)

    def test_the_total_order_is_by_clock_then_id_and_pages_are_exclusive(self) -> None:
        replica = World(61).grow(60).replica
        entries = list(replica.operations())
        self.assertEqual(entries, sorted(entries, key=lambda entry: (entry.lc, entry.id)))
        self.assertEqual(list(replica.operations(entries[17].id)), entries[18:])
        claims = [entry for entry in entries if entry.type == CLAIM]
        self.assertEqual(list(replica.operations(entries[17].id, CLAIM)), [e for e in claims if e in entries[18:]])
        self.assertEqual(list(replica.operations(entries[-1].id)), [])
        with self.assertRaises(KeyError):
            replica.operations("omp:op:sha256:" + "0" * 64)

    def test_heads_are_the_operations_that_nothing_references(self) -> None:
        node = LogCopy()
        first = node.do(ROOT, CLAIM)
        self.assertEqual(node.replica.heads(), [first])
        grant = node.do(ROOT, GRANT)
        phone, laptop = node.copy(), node.copy()
        one, two = phone.do(DEVICES[0], EVIDENCE), laptop.do(ROOT, EVIDENCE)
        phone.merge(laptop)
        self.assertEqual(phone.replica.heads(), sorted([one, two]))
        self.assertNotIn(grant, phone.replica.heads())


class Outcomes(unittest.TestCase):
    def test_the_same_bytes_again_are_a_duplicate_and_not_verified_again(self) -> None:
        replica, raw = Replica(LOG), first_operation()
        self.assertEqual(replica.add(raw, ENGINE).status, ACCEPTED)

        class NoEngine:
            name = "none"

            @staticmethod
            def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
                raise AssertionError("verified again")

        self.assertEqual(replica.add(raw, NoEngine()).status, DUPLICATE)  # type: ignore[arg-type]

    def test_a_stored_operation_with_a_false_signature_is_refused(self) -> None:
        replica, raw = Replica(LOG), first_operation()
        replica.add(raw, ENGINE)
        forged = raw.replace(b'"sig":"', b'"sig":"A')
        forged = forged[: forged.index(b'","ts"') - 1] + forged[forged.index(b'","ts"') :]
        forged = forged[: forged.index(b'","ts"') - 1] + b"A" + forged[forged.index(b'","ts"') :]
        outcome = replica.add(forged, ENGINE)
        self.assertEqual((outcome.status, outcome.code, outcome.stage), (REJECTED, "ERR_SIGNATURE", 7))
        self.assertEqual(outcome.id, next(replica.operations()).id)

    def test_another_valid_signature_is_a_duplicate_and_the_first_bytes_stay(self) -> None:
        replica, raw = Replica(LOG), first_operation()
        replica.add(raw, ENGINE)
        at = raw.index(b'"sig":"') + 7
        other = raw[:at] + b"B" + raw[at + 1 :]
        outcome = replica.add(other, TRUSTING)
        self.assertEqual(outcome.status, DUPLICATE)
        self.assertEqual(next(replica.operations()).raw, raw)

    def test_missing_names_prev_first_then_deps_in_their_order(self) -> None:
        node = LogCopy()
        node.do(ROOT, GRANT)
        one, two = "omp:op:sha256:" + "f" * 64, "omp:op:sha256:" + "0" * 64
        prev = "omp:op:sha256:" + "7" * 64
        raw = signed(envelope(CLAIM, prev=prev, seq=2, deps=[one, two], lc=9), ROOT)
        outcome = node.replica.add(raw, ENGINE)
        self.assertEqual((outcome.status, outcome.missing), (DEFERRED, (prev, one, two)))
        self.assertEqual(node.replica.pending(), [(outcome.id, [prev, one, two])])
        again = node.replica.add(raw, ENGINE)
        self.assertEqual((again.status, again.missing), (DEFERRED, (prev, one, two)))
        self.assertEqual(len(node.replica.pending()), 1)

    def test_what_waits_is_tried_as_soon_as_its_last_ancestor_arrives(self) -> None:
        node = LogCopy()
        for _ in range(4):
            node.do(ROOT, CLAIM)
        raws = node.raw()
        replica = Replica(LOG)
        for raw in (raws[3], raws[1], raws[2]):
            self.assertEqual(replica.add(raw, ENGINE).status, DEFERRED)
        outcome = replica.add(raws[0], ENGINE)
        self.assertEqual([entry.raw for entry in outcome.stored], raws)
        self.assertEqual(replica.pending(), [])
        self.assertEqual(replica.state_id(), node.replica.state_id())

    def test_the_hundred_most_recent_rejections_of_what_waited_are_kept_newest_first(self) -> None:
        node = LogCopy()
        first = node.do(ROOT, CLAIM)
        replica = Replica(LOG)
        ids = []
        for number in range(102):
            value = envelope(CLAIM, STRANGER, deps=[first], lc=2 + number)
            outcome = replica.add(sealed(value), TRUSTING)
            self.assertEqual(outcome.status, DEFERRED)
            ids.append(outcome.id)
        outcome = replica.add(node.raw()[0], ENGINE)
        self.assertEqual(outcome.status, ACCEPTED)
        self.assertEqual([event.kind for event in outcome.events], ["accepted"] + ["rejected"] * 102)
        self.assertEqual(list(replica.rejected), [(name, "ERR_AUTHZ") for name in reversed(ids[2:])])
        self.assertEqual(len(replica), 1)

    def test_forks_are_reported_and_both_branches_stay(self) -> None:
        node = LogCopy()
        first = node.do(ROOT, CLAIM)
        left, right = node.copy(), node.copy()
        one = left.do(ROOT, EVIDENCE, size=1)
        two = right.do(ROOT, EVIDENCE, size=2)
        three = right.do(ROOT, EVIDENCE, size=3)
        four = left.do(ROOT, EVIDENCE, size=4)
        left.merge(right)
        self.assertEqual(
            left.replica.forks(),
            [
                {"author": ROOT.id, "ops": sorted([one, two]), "seq": 2},
                {"author": ROOT.id, "ops": sorted([three, four]), "seq": 3},
            ],
        )
        self.assertEqual(left.replica.heads(), sorted([three, four]))
        self.assertEqual(len(left.replica), 5)
        self.assertEqual(left.by(ROOT).claim_assert("2024-05-17T09:30:00.000Z", subject="self", predicate="p",
            object=1, confidence_ppm=1, method="user:x").seq, 4)  # fmt: skip
        self.assertIn(first, [entry.id for entry in left.replica.operations()])

    def test_two_first_operations_by_the_root_are_a_fork(self) -> None:
        replica = Replica(LOG)
        replica.add(first_operation(), ENGINE)
        outcome = replica.add(first_operation(ts="2024-05-18T09:30:00.000Z"), ENGINE)
        self.assertEqual(outcome.status, ACCEPTED)
        self.assertEqual([event.kind for event in outcome.events], ["accepted", "fork"])
        self.assertEqual(replica.forks()[0]["seq"], 1)

    def test_events_tell_what_changed(self) -> None:
        node = LogCopy()
        grant = node.do(ROOT, GRANT)
        evidence = node.do(DEVICES[0], EVIDENCE)
        claim = node.do(DEVICES[0], CLAIM, derived_from=[evidence], method="rule:x")
        refutation = node.by(ROOT).refutation("2024-05-17T09:30:00.000Z", target=evidence)
        events = node.replica.admit(refutation).events
        self.assertEqual(events[0], ("accepted", {
            "id": refutation.id, "type": REFUTATION, "author": ROOT.id, "void": False}))  # fmt: skip
        self.assertEqual({(event.data["id"], event.data["status"]) for event in events[1:]}, {
            (evidence, "refuted"), (claim, "active")})  # fmt: skip
        revocation = node.by(ROOT).revocation("2024-05-17T09:30:00.000Z", target=grant)
        events = node.replica.admit(revocation).events
        self.assertEqual(events[1:], (("status", {"id": grant, "type": GRANT, "status": "revoked"}),))

    def test_restoring_twice_over_gives_the_same_state(self) -> None:
        world = World(seed=70).grow(80)
        replica = Replica(LOG)
        for raw in world.accepted():  # in the order of arrival: ancestors come first there too
            replica.restore(raw)
            replica.restore(raw)
        self.assertEqual(replica.state_document(), world.replica.state_document())


class Pool(unittest.TestCase):
    """§3.2: the bounded waiting pool and the order of eviction."""

    def waiting(self, pool: WaitingPool, log: str, ids: list[str]) -> list[bool]:
        return [pool.get(log, name) is not None for name in ids]

    def orphan(self, number: int, key: Key = STRANGER, log: str = LOG) -> Operation:
        value = envelope(EVIDENCE, key, log=log, seq=2, lc=number, prev="omp:op:sha256:" + "0" * 64)
        return check_bytes(signed(value, key), TRUSTING)

    def test_the_oldest_is_evicted_first_when_a_log_holds_too_many(self) -> None:
        pool = WaitingPool(Bounds(operations_a_log=3))
        replica = Replica(LOG, pool)
        ids = []
        for number in range(1, 6):
            operation = self.orphan(number)
            ids.append(operation.id)
            self.assertEqual(replica.admit(operation).status, DEFERRED)
        self.assertEqual(self.waiting(pool, LOG, ids), [False, False, True, True, True])

    def test_strangers_are_evicted_before_known_keys(self) -> None:
        pool = WaitingPool(Bounds(operations_a_log=4))
        node = LogCopy()
        node.do(ROOT, GRANT)
        replica = Replica(LOG, pool)
        device, root = self.orphan(1, DEVICES[0]), self.orphan(2, ROOT)
        replica.admit(device)
        replica.admit(root)
        strange = [self.orphan(number) for number in (3, 4)]
        for operation in strange:
            replica.admit(operation)
        replica.add(node.raw()[0], ENGINE)  # now the log is there, and the device known
        late = self.orphan(9, DEVICES[0])
        replica.admit(late)
        ids = [operation.id for operation in (device, root, *strange, late)]
        self.assertEqual(self.waiting(pool, LOG, ids), [True, True, False, True, True])
        replica.admit(self.orphan(10, DEVICES[0]))
        self.assertEqual(self.waiting(pool, LOG, ids), [True, True, False, False, True])
        replica.admit(self.orphan(11, DEVICES[0]))
        self.assertEqual(self.waiting(pool, LOG, ids), [False, True, False, False, True])

    def test_a_stranger_is_evicted_at_once_if_only_known_keys_wait(self) -> None:
        pool = WaitingPool(Bounds(operations_a_log=1))
        replica = Replica(LOG, pool)
        replica.add(first_operation(), ENGINE)
        known, strange = self.orphan(1, ROOT), self.orphan(2)
        replica.admit(known)
        self.assertEqual(replica.admit(strange).status, DEFERRED)
        self.assertEqual(self.waiting(pool, LOG, [known.id, strange.id]), [True, False])

    def test_bytes_are_bounded_for_each_log_and_over_all_logs(self) -> None:
        size = weight(len(self.orphan(1).raw), 1)
        pool = WaitingPool(Bounds(bytes_a_log=2 * size + 10, bytes=3 * size + 10))
        other = identifiers.identity_id(STRANGER.public_key)
        mine, theirs = Replica(LOG, pool), Replica(other, pool)
        mine.add(first_operation(), ENGINE)
        ours = [self.orphan(number) for number in (1, 2, 3)]
        for operation in ours:
            mine.admit(operation)
        self.assertEqual(self.waiting(pool, LOG, [o.id for o in ours]), [False, True, True])
        foreign = [self.orphan(number, log=other) for number in (4, 5)]
        for operation in foreign:
            theirs.admit(operation)
        self.assertEqual(self.waiting(pool, other, [o.id for o in foreign]), [False, True])
        self.assertEqual(self.waiting(pool, LOG, [o.id for o in ours]), [False, True, True])

    def test_what_was_evicted_counts_as_never_delivered(self) -> None:
        node = LogCopy()
        for _ in range(3):
            node.do(ROOT, CLAIM)
        raws = node.raw()
        pool = WaitingPool(Bounds(operations_a_log=1))
        replica = Replica(LOG, pool)
        replica.add(raws[1], ENGINE)
        replica.add(raws[2], ENGINE)
        self.assertEqual([entry.raw for entry in replica.add(raws[0], ENGINE).stored], raws[:1])
        self.assertEqual([entry.raw for entry in replica.add(raws[1], ENGINE).stored], raws[1:])
        self.assertEqual(pool.items(LOG), [])

    def test_delivered_again_it_keeps_its_place_and_counts_once(self) -> None:
        one, two = self.orphan(1), self.orphan(2)
        pool = WaitingPool(Bounds(operations_a_log=2, bytes_a_log=sum(weight(len(both.raw), 1) for both in (one, two))))
        replica = Replica(LOG, pool)
        for operation in (one, two, one, one):
            self.assertEqual(replica.admit(operation).status, DEFERRED)
        self.assertEqual([name for name, _ in replica.pending()], [one.id, two.id])
        replica.admit(self.orphan(3))
        self.assertEqual(self.waiting(pool, LOG, [one.id, two.id]), [False, True])

    def test_forget_empties_one_log(self) -> None:
        pool = WaitingPool()
        other = identifiers.identity_id(STRANGER.public_key)
        Replica(LOG, pool).admit(self.orphan(1))
        Replica(other, pool).admit(self.orphan(1, log=other))
        pool.forget(LOG)
        self.assertEqual((len(pool.items(LOG)), len(pool.items(other))), (0, 1))

    def test_a_grant_moves_what_its_key_has_waiting_and_looks_at_nothing_else(self) -> None:
        pool = WaitingPool()
        replica = Replica(LOG, pool)
        replica.add(first_operation(), ENGINE)
        for number in range(1, 40):
            replica.admit(self.orphan(number))
        replica.admit(self.orphan(1, DEVICES[0]))
        moved: list[str] = []
        enqueue = WaitingPool._enqueue

        def counted(pool: WaitingPool, log: Any, waiting: Any) -> None:
            moved.append(waiting.author)
            enqueue(pool, log, waiting)

        with patch.object(WaitingPool, "_enqueue", counted):
            for device in (*DEVICES, DEVICES[0]):
                pool.key_known(LOG, device.id)
        self.assertEqual(moved, [DEVICES[0].id])

    def test_what_a_waiting_operation_weighs_is_what_its_objects_take(self) -> None:
        for missing in (1, 33):
            pool = WaitingPool()
            ids = [f"omp:op:sha256:{number:063x}f" for number in range(missing)]
            values = [
                envelope(EVIDENCE, STRANGER, seq=2, lc=lc, prev=f"{ids[0][:-6]}{lc:06}", deps=ids[1:])
                for lc in range(1, 301)
            ]
            raws = [sealed(value) for value in values]
            tracemalloc.start()
            for raw in raws:
                operation = check_bytes(bytes(bytearray(raw)), TRUSTING)
                pool.add(operation, operation.parents(), True, False)
            taken, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            counted = sum(weight(len(raw), missing) for raw in raws)
            self.assertLess(taken, counted)
            self.assertLess(counted, 4 * taken)


class Cost(unittest.TestCase):
    """What is counted here is bounded by the operations sent, not by the square of their number."""

    def opened(self, concurrent: bool) -> int:
        """How often an operation is settled again, where a grant over 100 operations is revoked 20 times."""
        node = LogCopy()
        grant = node.do(ROOT, GRANT)
        base = node.replica.entry(grant)
        for _ in range(100):
            node.do(DEVICES[0], EVIDENCE)
        settled = 0
        is_void = Voidness._is_void

        def counted(voidness: Voidness, *arguments: Any) -> bool:
            nonlocal settled
            settled += 1
            return is_void(voidness, *arguments)

        prev = base
        with patch.object(Voidness, "_is_void", counted):
            for number in range(20):
                assert prev is not None
                body = body_of(REVOCATION, target=grant, reason=str(number))
                value = envelope(REVOCATION, body=body, prev=prev.id, seq=prev.seq + 1, lc=prev.lc + 1)
                (entry,) = node.replica.add(sealed(value), TRUSTING).stored
                prev = base if concurrent else entry
        return settled

    def test_only_the_first_cut_of_a_grant_opens_what_it_cuts(self) -> None:
        self.assertEqual((self.opened(True), self.opened(False)), (100, 100))

    def test_a_merge_of_nested_forks_shares_what_was_merged_before(self) -> None:
        node = LogCopy()
        node.do(ROOT, GRANT)
        tip = self.nest(node, 300)
        vectors = []
        prev = node.replica.entry(check_bytes(node.raw()[0], TRUSTING).id)
        assert prev is not None
        for number in range(3):
            body = body_of(EVIDENCE, size=number)
            value = envelope(EVIDENCE, body=body, prev=prev.id, seq=2, deps=[tip.id], lc=tip.lc + 1)
            (entry,) = node.replica.add(sealed(value), TRUSTING).stored
            vectors.append(entry.chain.vector(entry.seq))
        leaves = [{id(leaf) for node in root for leaf in node} for height, root in vectors]
        self.assertEqual(len(leaves[0]), 19)  # 302 chains, 16 a leaf
        # The second and the third are forks of the root: each has the leaf with the root's chain to itself.
        self.assertEqual(len(leaves[0] | leaves[1] | leaves[2]), 21)

    def nest(self, node: LogCopy, depth: int) -> Entry:
        """A fork of a fork of a fork …; returns the last operation of the innermost."""
        (grant,) = node.replica.operations()
        value = envelope(EVIDENCE, DEVICES[0], deps=[grant.id], lc=grant.lc + 1)
        (at,) = node.replica.add(sealed(value), TRUSTING).stored
        for number in range(depth):
            for side in (0, 1):
                body = body_of(EVIDENCE, size=2 * number + side)
                value = envelope(EVIDENCE, DEVICES[0], body=body, prev=at.id, seq=at.seq + 1, lc=at.lc + 1)
                (entry,) = node.replica.add(sealed(value), TRUSTING).stored
            at = entry
        return at


class Misplaced(unittest.TestCase):
    def test_an_operation_of_another_log_is_a_schema_error(self) -> None:
        other = Replica(identifiers.identity_id(STRANGER.public_key))
        outcome = other.add(first_operation(), ENGINE)
        self.assertEqual((outcome.code, outcome.stage), ("ERR_SCHEMA", 4))

    def test_the_root_key_of_a_log_has_its_public_key(self) -> None:
        self.assertEqual(root_key(LOG), ROOT.id)

    def test_a_revocation_of_an_unknown_grant_is_refused_and_does_not_wait(self) -> None:
        node = LogCopy()
        node.do(ROOT, CLAIM)
        last = node.raw()[-1]
        value = envelope(REVOCATION, prev=check_bytes(last, TRUSTING).id, seq=2, lc=2)
        outcome = node.replica.add(signed(value, ROOT), ENGINE)
        self.assertEqual((outcome.status, outcome.code), (REJECTED, "ERR_REF"))


if __name__ == "__main__":
    unittest.main()
