"""The twelve stages: the code each gives, which one comes first, and that nothing else is raised (oplog §3.2)."""

from __future__ import annotations

import json
import random
import unittest
from typing import Any

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
from omp.protocols.oplog.core.outcomes import ACCEPTED, DEFERRED, DUPLICATE, Outcome
from omp.protocols.oplog.core.producer import signed
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.trusted import operation_unverified
from omp.protocols.oplog.core.verify import (
    STAGES,
    OperationRefused,
    check_bytes,
)
from omp.rules import canonical, identifiers
from omp.rules.encodings import b64u_decode, b64u_encode
from omp.rules.engines import handwritten_engine
from omp.tests.oplog.world import DEVICES, ENGINE, LOG, ROOT, STRANGER, TRUSTING, LogCopy, World, body_of, envelope

CODES = {
    "ERR_ENCODING", "ERR_CANONICAL", "ERR_VERSION", "ERR_SCHEMA", "ERR_LIMIT", "ERR_RANGE", "ERR_SIGNATURE", "DEFER",
    "ERR_CHAIN", "ERR_CLOCK", "ERR_REF", "ERR_AUTHZ",
}  # fmt: skip
RAW = signed(envelope(CLAIM), ROOT)


def code_of(data: bytes) -> str:
    """The code that stages 1 to 7 give; "" if they pass."""
    try:
        check_bytes(data, ENGINE)
    except OperationRefused as refused:
        assert STAGES[refused.stage - 1].code == refused.code
        return refused.code
    return ""


def short(outcome: Outcome) -> str:
    return outcome.code or outcome.status


class Table(unittest.TestCase):
    def test_stages_are_the_twelve_of_the_document(self) -> None:
        self.assertEqual([stage.number for stage in STAGES], list(range(1, 13)))
        self.assertEqual({stage.code for stage in STAGES}, CODES)


class Encoding(unittest.TestCase):
    """Stages 1 and 2."""

    def test_what_is_not_json_in_utf_8_is_an_encoding_error(self) -> None:
        for data in (
            b"", b" ", b"{", RAW[:-1], RAW + b"x", RAW + b"\x00", b"\xef\xbb\xbf" + RAW, RAW.decode().encode("utf-16"),
            RAW.replace(b"dentist", b"dent\xff"), RAW.replace(b"dentist", b"\xed\xa0\x80"),
            RAW.replace(b"dentist", b"den\ntist"), RAW.replace(b"dentist", b"den\\x41tist"),
            RAW.replace(b"900000", b"NaN"), RAW.replace(b"900000", b"-Infinity"), RAW.replace(b"900000", b"0900000"),
            RAW.replace(b"900000", b"+1"), RAW.replace(b"900000", b"1."), RAW.replace(b"900000", b".5"),
            RAW.replace(b"{", b"{,", 1), b"nul", b"{'a':1}", b"\xc0\x80",
        ):  # fmt: skip
            self.assertEqual(code_of(data), "ERR_ENCODING", data[:60])

    def test_json_that_is_not_canonical_is_a_canonical_error(self) -> None:
        for data in (
            b"[]", b"1", b'"a"', b"null", RAW + b"\n", b" " + RAW, RAW.replace(b":", b": ", 1),
            RAW.replace(b"dentist", b"\\u0064entist"), RAW.replace(b"dentist", b"\\/"),
            RAW.replace(b"dentist", b"\\u000A"), RAW.replace(b"dentist", b"\\u001F"),
            RAW.replace(b"dentist", b"\\ud800"), RAW.replace(b"dentist", b"\\udc00\\ud800"),
            RAW.replace(b"dentist", b"\\ud834\\udd1e"),
            RAW.replace(b"900000", b"900000.0"), RAW.replace(b"900000", b"9e5"), RAW.replace(b"900000", b"-0"),
            RAW.replace(b"900000", b"9007199254740992"), RAW.replace(b"900000", b"-9007199254740992"),
            RAW.replace(b"900000", b"1e400"), RAW.replace(b"900000", b"9" * 5000),
            RAW.replace(b'"lc":1', b'"lc":1,"lc":1'),
            RAW.replace(b'"title"', b'"z":1,"title"'), json.dumps(json.loads(RAW)).encode(),
        ):  # fmt: skip
            self.assertEqual(code_of(data), "ERR_CANONICAL", data[:60])

    def test_depth_sixteen_passes_and_seventeen_does_not(self) -> None:
        # The object of a claim stands at depth 3: envelope, body, object.
        for shape, close in (("[", "]"), ('{"a":', "}")):
            for depth, code in ((14, ""), (15, "ERR_ENCODING")):
                nested = shape * depth + "1" + close * depth
                raw = signed(envelope(CLAIM, body=body_of(CLAIM, object=json.loads(nested))), ROOT)
                self.assertEqual(code_of(raw), code, nested)

    def test_depth_and_syntax_are_checked_before_canonical_form(self) -> None:
        self.assertEqual(code_of(b" " + b"[" * 17 + b"]" * 17), "ERR_ENCODING")
        self.assertEqual(code_of(b"[" * 100_000), "ERR_ENCODING")
        self.assertEqual(code_of(b'{"a":1,"a":2'), "ERR_ENCODING")
        self.assertEqual(code_of(b'{"a":"' + b"[" * 40 + b'"}'), "ERR_VERSION", "brackets in a string")

    def test_numbers_at_the_bounds_are_canonical(self) -> None:
        for number in (2**53 - 1, -(2**53 - 1), 0):
            self.assertEqual(code_of(signed(envelope(CLAIM, body=body_of(CLAIM, object=number)), ROOT)), "")

    def test_names_are_ordered_by_code_point(self) -> None:
        # U+FB33 comes after U+1F600 in UTF-16, before it by code point: canonical, and no plain name.
        self.assertEqual(code_of('{"v":"omp/0.2","\ufb33":1,"\U0001f600":2}'.encode()), "ERR_SCHEMA")
        self.assertEqual(code_of('{"v":"omp/0.2","\U0001f600":2,"\ufb33":1}'.encode()), "ERR_CANONICAL")


class Version(unittest.TestCase):
    def test_v_must_be_there_and_be_ours(self) -> None:
        for value in ({}, {"v": None}, {"v": 1}, {"v": "omp/0.1"}, {"v": "omp/0.20"}, {"v": ["omp/0.2"]}):
            self.assertEqual(code_of(canonical.encode(value)), "ERR_VERSION", value)
        self.assertEqual(code_of(b'{"v":"omp/0.2"}'), "ERR_SCHEMA")

    def test_refusals_from_stage_four_on_have_the_id(self) -> None:
        for data, named in ((b"{", False), (b"[]", False), (b"{}", False), (b'{"v":"omp/0.2"}', True)):
            with self.assertRaises(OperationRefused) as caught:
                check_bytes(data, ENGINE)
            self.assertEqual(caught.exception.id is not None, named)
        expected = identifiers.operation_id(b'omp/0.2\n{"v":"omp/0.2"}')
        self.assertEqual(caught.exception.id, expected)


class Signatures(unittest.TestCase):
    """Stage 7; the acceptance rules of §1.4 themselves are tested with Ed25519."""

    def test_any_change_of_what_is_signed_is_refused(self) -> None:
        for change in ((b"dentist", b"dentisT"), (b'"lc":1', b'"lc":2'), (b"900000", b"900001")):
            self.assertEqual(code_of(RAW.replace(*change)), "ERR_SIGNATURE")

    def test_a_signature_by_another_key_is_refused(self) -> None:
        self.assertEqual(code_of(signed(envelope(CLAIM), DEVICES[0])), "ERR_SIGNATURE")

    def test_an_author_that_is_not_a_usable_point_is_refused(self) -> None:
        for key in (b"\x02" + bytes(31), bytes(32), b"\xff" * 32, b"\x01" + bytes(31)):
            value = {**envelope(CLAIM), "author": identifiers.key_id(key)}
            self.assertEqual(code_of(signed(value, ROOT)), "ERR_SIGNATURE", key)

    def test_s_beyond_the_order_is_refused(self) -> None:
        order = 2**252 + 27742317777372353535851937790883648493
        value = json.loads(RAW)
        signature = b64u_decode(value["sig"])
        s = int.from_bytes(signature[32:], "little") + order
        value["sig"] = b64u_encode(signature[:32] + s.to_bytes(32, "little"))
        self.assertEqual(code_of(canonical.encode(value)), "ERR_SIGNATURE")

    def test_both_engines_agree(self) -> None:
        for data in (RAW, RAW.replace(b"dentist", b"dentisT")):
            try:
                check_bytes(data, handwritten_engine())
                verdict = ""
            except OperationRefused as refused:
                verdict = refused.code
            self.assertEqual(verdict, code_of(data))


class Past(unittest.TestCase):
    """Stages 8 to 11, on a log of the root, one device, evidence and a claim."""

    def setUp(self) -> None:
        self.node = LogCopy()
        self.grant = self.node.do(ROOT, GRANT)
        self.evidence = self.node.do(DEVICES[0], EVIDENCE)
        self.claim = self.node.do(ROOT, CLAIM)

    def try_(self, author: Any = ROOT, kind: str = CLAIM, **members: Any) -> str:
        value = envelope(kind, author, **{"seq": 3, "prev": self.claim, "lc": 4, **members})
        return short(self.node.replica.add(signed(value, author), TRUSTING))

    def test_an_operation_on_the_latest_past_is_accepted(self) -> None:
        self.assertEqual(self.try_(), ACCEPTED)

    def test_missing_ancestors_defer_before_any_other_check_of_the_past(self) -> None:
        gone = "omp:op:sha256:" + "5" * 64
        self.assertEqual(self.try_(prev=gone, seq=1, lc=1), "deferred")
        self.assertEqual(self.try_(deps=[gone], lc=2**53 - 1), "deferred")

    def test_prev_is_null_exactly_where_seq_is_one(self) -> None:
        self.assertEqual(self.try_(prev=None), "ERR_CHAIN")
        self.assertEqual(self.try_(seq=1), "ERR_CHAIN")
        self.assertEqual(self.try_(seq=1, prev=None, deps=[]), ACCEPTED, "a fork")

    def test_prev_is_the_same_authors_with_seq_one_less(self) -> None:
        self.assertEqual(self.try_(seq=4), "ERR_CHAIN")
        self.assertEqual(self.try_(seq=2), "ERR_CHAIN")
        self.assertEqual(self.try_(prev=self.evidence, seq=2), "ERR_CHAIN")
        self.assertEqual(self.try_(prev=self.grant, seq=2), ACCEPTED, "a fork")

    def test_the_clock_is_greater_than_all_ancestors_by_at_most_two_to_the_twenty(self) -> None:
        self.assertEqual(self.try_(lc=3), "ERR_CLOCK")
        self.assertEqual(self.try_(lc=3 + 2**20 + 1), "ERR_CLOCK")
        self.assertEqual(self.try_(lc=3 + 2**20), ACCEPTED)
        self.assertEqual(self.try_(prev=self.grant, seq=2, deps=[self.evidence], lc=2), "ERR_CLOCK")
        self.assertEqual(self.try_(seq=1, prev=None, lc=2**20 + 1), "ERR_CLOCK")
        self.assertEqual(self.try_(seq=1, prev=None, lc=2**20), ACCEPTED)

    def test_chain_comes_before_clock_and_clock_before_references(self) -> None:
        self.assertEqual(self.try_(seq=9, lc=1), "ERR_CHAIN")
        refutation = body_of(REFUTATION)
        self.assertEqual(self.try_(kind=REFUTATION, body=refutation, lc=1), "ERR_CLOCK")
        self.assertEqual(self.try_(kind=REFUTATION, body=refutation), "ERR_REF")

    def test_references_name_operations_in_the_past_and_of_the_right_type(self) -> None:
        ids = {EVIDENCE: self.evidence, CLAIM: self.claim, GRANT: self.grant}
        inference = self.node.do(ROOT, INFERENCE, inputs=[self.claim])
        correction = self.node.do(ROOT, CORRECTION, target=self.claim)
        ids |= {INFERENCE: inference, CORRECTION: correction}
        ids[REFUTATION] = self.node.do(ROOT, REFUTATION, target=self.claim)
        ids[REVOCATION] = self.node.do(ROOT, REVOCATION, target=self.grant)
        fits = {
            (CLAIM, "derived_from"): {EVIDENCE, CLAIM, INFERENCE},
            (CORRECTION, "target"): {CLAIM},
            (CORRECTION, "replacement"): {CLAIM},
            (REFUTATION, "target"): {CLAIM, EVIDENCE},
            (GRANT, "parent"): {GRANT},
            (REVOCATION, "target"): {GRANT},
            (INFERENCE, "inputs"): {CLAIM, EVIDENCE},
            (INFERENCE, "grant"): {GRANT},
        }
        claim = self.node.do(ROOT, CLAIM, predicate="other")
        for (kind, member), types in fits.items():
            for named, name in ids.items():
                value: Any = [name] if member in ("derived_from", "inputs") else name
                others: dict[str, Any] = {"target": claim} if kind == CORRECTION else {}
                others |= {"inputs": [claim]} if kind == INFERENCE else {}
                code = self.try_(kind=kind, body=body_of(kind, **{**others, member: value}), seq=8, prev=claim, lc=99)
                # The root may not use parent and grant: that is stage 12, after this one.
                passed = "ERR_AUTHZ" if member in ("parent", "grant") else ACCEPTED
                self.assertEqual(code, passed if named in types else "ERR_REF", (kind, member, named))

    def test_what_is_stored_but_not_in_the_past_cannot_be_named(self) -> None:
        body = body_of(REFUTATION, target=self.evidence)
        self.assertEqual(self.try_(kind=REFUTATION, body=body, prev=self.grant, seq=2, lc=9), "ERR_REF")
        self.assertEqual(
            self.try_(kind=REFUTATION, body=body, prev=self.grant, seq=2, lc=9, deps=[self.evidence]), ACCEPTED
        )

    def test_a_correction_does_not_replace_a_claim_by_itself(self) -> None:
        body = body_of(CORRECTION, target=self.claim, replacement=self.claim)
        self.assertEqual(self.try_(kind=CORRECTION, body=body), "ERR_REF")

    def test_references_come_before_authorization(self) -> None:
        body = body_of(REFUTATION, target="omp:op:sha256:" + "5" * 64)
        self.assertEqual(
            self.try_(STRANGER, REFUTATION, body=body, seq=1, prev=None, deps=[self.claim], lc=9), "ERR_REF"
        )


class Mutations(unittest.TestCase):
    """Hostile input: whatever is done to a valid operation, it stays valid or gets one of the twelve codes."""

    def judge(self, replica: Replica, data: bytes) -> str:
        outcome = replica.add(data, TRUSTING)
        if outcome.code is not None:
            self.assertIn(outcome.code, CODES)
            self.assertEqual(STAGES[(outcome.stage or 0) - 1].code, outcome.code)
            self.assertTrue(outcome.message)
        else:
            self.assertIn(outcome.status, (ACCEPTED, DUPLICATE, DEFERRED))
        return short(outcome)

    def test_mutations_of_bytes(self) -> None:
        choose = random.Random(11)
        world = World(11).grow(40)
        raws = world.accepted()
        seen = set()
        for _ in range(4000):
            data = bytearray(choose.choice(raws))
            for _ in range(choose.choice([1, 1, 1, 2, 5])):
                at = choose.randrange(len(data))
                end = at + choose.choice([0, 1, 1, 9])
                byte = choose.choice(b'"\\[{}],:0-\xff\xc3\x00') if choose.random() < 0.6 else choose.randrange(256)
                data[at:end] = bytes([byte]) if choose.random() < 0.9 else b""
                if not data:
                    break
            seen.add(self.judge(world.replica, bytes(data)))
        # With signatures taken unseen, every stage that bytes alone can reach is reached.
        self.assertLessEqual({"ERR_ENCODING", "ERR_CANONICAL", "ERR_SCHEMA"}, seen)

    def test_mutations_of_structure(self) -> None:
        choose = random.Random(12)
        world = World(12).grow(40)
        raws = world.accepted()
        seen = set()
        for _ in range(4000):
            value = json.loads(choose.choice(raws))
            for _ in range(choose.choice([1, 1, 2])):
                self.mutate(value, choose, raws)
            try:
                data = canonical.canonicalize(value)
            except canonical.CanonicalError:
                continue
            seen.add(self.judge(world.replica, data))
        self.assertLessEqual(CODES - {"ERR_ENCODING", "ERR_SIGNATURE", "DEFER"}, seen)
        self.assertLessEqual({ACCEPTED, DEFERRED}, seen)

    def mutate(self, value: dict[str, Any], choose: random.Random, raws: list[bytes]) -> None:
        """Change one place somewhere in `value`: drop, rename, or put in a strange or borrowed value."""
        place: Any = value
        while choose.random() < 0.5:
            members = place.values() if isinstance(place, dict) else place
            inner = [one for one in members if isinstance(one, dict | list) and one]
            if not inner:
                break
            place = choose.choice(inner)
        name = choose.choice(list(place) if isinstance(place, dict) else range(len(place)))
        what = choose.random()
        if what < 0.15:
            del place[name]
        elif what < 0.25 and isinstance(place, dict):
            place[choose.choice(["x_new", "New", "é", "seq", "target", "v"])] = place.pop(name)
        elif what < 0.5:
            other = json.loads(choose.choice(raws))
            place[name] = choose.choice([*other.values(), *other["body"].values()])
        elif what < 0.6 and isinstance(place, list):
            place.append(place[name])
        elif isinstance(place[name], int):
            place[name] += choose.choice([-1, 1, 2**20, -(2**30), 2**52])
        else:
            deep: Any = 1
            for _ in range(20):
                deep = [deep]
            place[name] = choose.choice([
                None, True, 0, -1, 1.5, 2**53, "", "x", "é" * 2000, [], {}, [None], {"a": []}, deep, "omp/0.2",
                "omp:op:sha256:" + "0" * 64, ROOT.id, LOG, "2024-05-17T09:30:00.000Z", list(TYPES), "user:x", ["*"],
            ])  # fmt: skip

    def test_json_values_that_are_not_operations_are_refused(self) -> None:
        replica = Replica(LOG)
        values: list[Any] = [None, True, 1, "x", [], {}, [{}], {"v": "omp/0.2"}, {"v": "omp/0.2", "type": []}]
        for value in values:
            self.judge(replica, canonical.canonicalize(value))


class Unverified(unittest.TestCase):
    def test_kept_bytes_give_the_same_operation_as_checked_ones(self) -> None:
        checked, kept = check_bytes(RAW, ENGINE), operation_unverified(RAW)
        for name in checked.__slots__:
            self.assertEqual(getattr(checked, name), getattr(kept, name))


if __name__ == "__main__":
    unittest.main()
