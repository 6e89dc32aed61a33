"""Vectors of stages 8 to 11 (oplog §3.2): ancestors and waiting, chain, clock, references; forks and duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    REVOCATION,
    preimage,
)
from omp.tests.vectors.makers.oplog.form import another_signature, with_signature
from omp.tests.vectors.makers.oplog.making import LAPTOP, PHONE, ROOT, STRANGER, Case, Made, op_id, resigned
from omp.tests.vectors.makers.oplog.stream import Stream


def stream_cases() -> Iterator[Case]:
    """One case for each subject."""
    yield _waiting()
    yield _waiting_in_an_empty_log()
    yield _waiting_behind_a_rejected_one()
    yield _delivered_again_while_it_waits()
    yield _nothing_stored()
    yield _duplicates()
    yield _chain()
    yield _clock()
    yield _references()
    yield _one_fault_after_the_other()
    yield _forks()


def _device(stream: Stream) -> Made:
    """The root's first operation, and the phone as a device that may do everything."""
    stream.accept("the root begins the log", CLAIM)
    return stream.accept("the phone becomes a device", GRANT, grantee=PHONE.id)


# --- Stage 8 ----------------------------------------------------------------------------------------------------


def _waiting() -> Case:
    stream = Stream("ancestors come later", "DEFER names prev first, then deps in their order; nothing is lost.")
    _device(stream)
    first = stream.build(EVIDENCE, PHONE)
    plan = stream.plan()
    plan.keep(first)
    second = plan.build(CLAIM, PHONE, derived_from=[first.id])
    plan.keep(second)
    aside = plan.build(CLAIM, ROOT, after=[first], predicate="aside")
    plan.keep(aside)
    third = plan.build(CLAIM, PHONE, after=[aside, first], derived_from=[second.id])
    plan.keep(third)
    wrong = plan.build(REFUTATION, PHONE, target=op_id("nothing"))
    deps = [one for one in third.envelope["deps"] if one != second.id]
    stream.deliver("its prev and its deps are missing", third, "deferred", missing=[second.id, *deps])
    stream.deliver("its prev is missing", second, "deferred", missing=[first.id])
    stream.deliver("delivered again while it waits", third, "deferred", missing=[second.id, *deps])
    stream.deliver("one that will be rejected waits too", wrong, "deferred", missing=[third.id])
    stream.deliver("an ancestor: the next waits for nothing else", first, "accepted", also=[second])
    stream.deliver("delivered again after it waited", second, "duplicate")
    stream.deliver("the last ancestor", aside, "accepted", also=[third], rejected=[(wrong, "ERR_REF")])
    stream.deliver("what was rejected after waiting is rejected again", wrong, "rejected", code="ERR_REF")
    lost = stream.build(CLAIM, ROOT, at={"deps": [op_id("lost")]})
    stream.deliver("an ancestor that nobody has", lost, "deferred", missing=[op_id("lost")])
    return stream.case(pending=[(lost, [op_id("lost")])])


def _waiting_in_an_empty_log() -> Case:
    stream = Stream("the whole log backwards", "Each waits for the one before; the first brings them all.")
    plan = Stream("")
    _device(plan)
    plan.accept("", EVIDENCE, PHONE)
    plan.accept("", CLAIM, PHONE)
    first, *others = plan.stored.values()
    for number, made in enumerate(reversed(others), 1):
        prev, deps = made.envelope["prev"], made.envelope["deps"]
        stream.deliver(f"no. {number} from the end", made, "deferred", missing=[*([prev] if prev else []), *deps])
    stream.deliver("the first", first, "accepted", also=others)
    return stream.case()


def _waiting_behind_a_rejected_one() -> Case:
    stream = Stream("an ancestor was rejected", "What names a rejected operation fails no stage: it goes on waiting.")
    _device(stream)
    parent = stream.build(EVIDENCE)
    plan = stream.plan()
    plan.keep(parent)
    wrong = plan.build(REFUTATION, target=op_id("nothing"))
    plan.keep(wrong)
    child = plan.build(CLAIM)
    stream.deliver("it waits for one that waits", child, "deferred", missing=[wrong.id])
    stream.deliver("one that will be rejected waits", wrong, "deferred", missing=[parent.id])
    stream.deliver("the ancestor of both", parent, "accepted", rejected=[(wrong, "ERR_REF")])
    stream.deliver("the rejected one again", wrong, "rejected", code="ERR_REF")
    return stream.case(pending=[(child, [wrong.id])])


def _delivered_again_while_it_waits() -> Case:
    stream = Stream("delivered again while it waits", "It keeps its place by age, and the bytes that came first.")
    grant = _device(stream)
    lost = op_id("lost")
    older = stream.build(CLAIM, at={"deps": [lost]})
    newer = stream.build(CLAIM, PHONE, at={"deps": [grant.id, lost]})
    stream.deliver("the older", older, "deferred", missing=[lost])
    stream.deliver("the newer", newer, "deferred", missing=[lost])
    stream.deliver("the older again", older, "deferred", missing=[lost])
    bad = newer._replace(raw=resigned(newer, b'"%s"' % (b"A" * 86)))
    stream.deliver("the newer, its signature wrong", bad, "rejected", code="ERR_SIGNATURE")
    parent = stream.build(EVIDENCE)
    plan = stream.plan()
    plan.keep(parent)
    child = plan.build(EVIDENCE, PHONE)
    twin = child._replace(raw=with_signature(child, another_signature(PHONE, preimage(child.envelope))))
    stream.deliver("one that will be accepted", child, "deferred", missing=[parent.id])
    stream.deliver("that under another signature that holds", twin, "deferred", missing=[parent.id])
    stream.deliver("its ancestor", parent, "accepted", also=[child])
    stream.deliver("the bytes that came second", twin, "duplicate")
    return stream.case(pending=[(older, [lost]), (newer, [lost])], kept=[child])


def _nothing_stored() -> Case:
    stream = Stream("nothing stored at the end", "The empty set has a state document: ops is 0, every array is empty.")
    lost = op_id("lost")
    waits = stream.build(CLAIM, at={"prev": lost, "seq": 2})
    stream.deliver("it waits", waits, "deferred", missing=[lost])
    stream.refuse("a stranger begins the log", "ERR_AUTHZ", CLAIM, STRANGER)
    return stream.case(pending=[(waits, [lost])])


def _duplicates() -> Case:
    stream = Stream("duplicates", "An operation is its preimage: signing it twice makes one operation.")
    made = stream.accept("the root begins the log", CLAIM)
    stream.deliver("the same bytes", made, "duplicate")
    twin = made._replace(raw=with_signature(made, another_signature(ROOT, preimage(made.envelope))))
    stream.deliver("the same preimage under another signature that holds", twin, "duplicate")
    bad = made._replace(raw=resigned(made, b'"%s"' % (b"A" * 86)))
    stream.deliver("the same preimage under one that does not", bad, "rejected", code="ERR_SIGNATURE")
    noted = stream.accept("another operation: an extension more", CLAIM, at={"x_note": 1})
    stream.deliver("that again", noted, "duplicate")
    return stream.case()


# --- Stages 9 and 10 --------------------------------------------------------------------------------------------


def _chain() -> Case:
    stream = Stream("chain", "prev is null iff seq is 1, and else the same author's operation with seq one less.")
    stream.refuse("seq 2 without prev, in an empty log", "ERR_CHAIN", CLAIM, at={"seq": 2})
    _device(stream)
    first = stream.accept("the phone's first", EVIDENCE, PHONE)
    second = stream.accept("the phone's second", EVIDENCE, PHONE)
    grant = stream.accept("the laptop becomes a device", GRANT, ROOT, grantee=LAPTOP.id)
    stream.refuse("seq 1 with prev", "ERR_CHAIN", CLAIM, PHONE, at={"seq": 1})
    stream.refuse("seq one too great", "ERR_CHAIN", CLAIM, PHONE, at={"seq": 4})
    stream.refuse("seq that of prev", "ERR_CHAIN", CLAIM, PHONE, at={"seq": 2})
    stream.refuse("seq 3 without prev", "ERR_CHAIN", CLAIM, PHONE, at={"prev": None, "seq": 3})
    stream.refuse("seq 3 after seq 1", "ERR_CHAIN", CLAIM, PHONE, at={"prev": first.id})
    stream.refuse("prev is somebody else's", "ERR_CHAIN", CLAIM, LAPTOP, at={"prev": second.id, "seq": 3})
    deps = [second.id]
    stream.refuse("prev is the root's", "ERR_CHAIN", CLAIM, LAPTOP, at={"prev": grant.id, "seq": 4, "deps": deps})
    stream.accept("right", CLAIM, PHONE)
    stream.accept("the laptop's first", CLAIM, LAPTOP)
    return stream.case()


def _clock() -> Case:
    step = 2**20
    stream = Stream("clock", "lc is greater than that of prev and of every dep, by at most 2^20.")
    stream.refuse("2^20 + 1 where there is nothing", "ERR_CLOCK", CLAIM, at={"lc": step + 1})
    stream.accept("2^20 where there is nothing", CLAIM, at={"lc": step})
    stream.accept("the phone becomes a device", GRANT, grantee=PHONE.id)
    stream.accept("the phone's first, 5 ahead", EVIDENCE, PHONE, at={"lc": step + 6})
    mine = stream.accept("the root's, beside it", CLAIM, ROOT, after=[])
    stream.refuse("that of prev", "ERR_CLOCK", CLAIM, ROOT, after=[], at={"lc": mine.envelope["lc"]})
    stream.refuse("less than that of prev", "ERR_CLOCK", CLAIM, ROOT, after=[], at={"lc": 1})
    stream.refuse("greater than prev, but that of a dep", "ERR_CLOCK", CLAIM, ROOT, at={"lc": step + 6})
    stream.refuse("less than that of a dep", "ERR_CLOCK", CLAIM, ROOT, at={"lc": step + 5})
    stream.refuse("2^20 + 1 ahead", "ERR_CLOCK", CLAIM, ROOT, at={"lc": 2 * step + 7})
    stream.refuse("as great as it can be", "ERR_CLOCK", CLAIM, ROOT, at={"lc": 2**53 - 1})
    stream.accept("2^20 ahead", CLAIM, ROOT, at={"lc": 2 * step + 6})
    stream.accept("2 ahead", CLAIM, PHONE, at={"lc": 2 * step + 8})
    return stream.case()


# --- Stage 11 ---------------------------------------------------------------------------------------------------


def _references() -> Case:
    stream = Stream("references", "What a body names is in the operation's own past, and of the type that §2.2 says.")
    _device(stream)
    evidence = stream.accept("evidence", EVIDENCE)
    claim = stream.accept("a claim", CLAIM, derived_from=[evidence.id], method="rule:x/1")
    second = stream.accept("another claim", CLAIM, predicate="calendar.place")
    call = stream.accept("an inference call", INFERENCE, inputs=[claim.id, evidence.id])
    grant = stream.accept("a grant", GRANT, grantee=LAPTOP.id)
    correction = stream.accept("a correction", CORRECTION, target=second.id)
    unseen = stream.accept("a claim beside all of it", CLAIM, PHONE, after=[grant])
    base = [correction]
    allowed: dict[str, tuple[str, str, tuple[Made, ...]]] = {
        "derived_from": (CLAIM, "derived_from", (evidence, claim, call)),
        "inputs": (INFERENCE, "inputs", (claim, evidence)),
        "target of a correction": (CORRECTION, "target", (claim,)),
        "replacement": (CORRECTION, "replacement", (second,)),
        "target of a refutation": (REFUTATION, "target", (claim, evidence)),
        "target of a revocation": (REVOCATION, "target", (grant,)),
    }
    for what, (kind, member, fitting) in allowed.items():
        more: dict[str, Any] = {"target": claim.id} if member == "replacement" else {}
        for bad, why in (
            *(
                (one, f"a {one.envelope['type']}")
                for one in (evidence, claim, call, grant, correction)
                if one not in fitting
            ),
            (unseen, "what is stored but not in its past"),
        ):
            if member == "replacement" and bad is claim:
                continue
            value: Any = [bad.id] if member in ("derived_from", "inputs") else bad.id
            stream.refuse(f"{what}: {why}", "ERR_REF", kind, after=base, **more | {member: value})
        nothing: Any = [op_id("nothing")] if member in ("derived_from", "inputs") else op_id("nothing")
        stream.refuse(f"{what}: what nobody has", "ERR_REF", kind, after=base, **more | {member: nothing})
    stream.refuse("the second of several", "ERR_REF", CLAIM, after=base, derived_from=[evidence.id, unseen.id])
    stream.refuse("replacement is the target", "ERR_REF", CORRECTION, target=claim.id, replacement=claim.id)
    for name, no_grant in (("a claim", claim.id), ("what nobody has", op_id("nothing"))):
        stream.refuse(f"parent: {name}", "ERR_REF", GRANT, PHONE, parent=no_grant, grantee=STRANGER.id)
        stream.refuse(f"grant: {name}", "ERR_REF", INFERENCE, PHONE, grant=no_grant, inputs=[claim.id])
    everything = [evidence.id, claim.id, call.id]
    stream.accept("derived from all three types", CLAIM, derived_from=everything, method="rule:x/1")
    stream.accept("a correction with replacement", CORRECTION, target=claim.id, replacement=second.id)
    stream.accept("a refutation of evidence", REFUTATION, target=evidence.id)
    stream.accept("a refutation of a claim already corrected", REFUTATION, target=claim.id)
    stream.accept("the claim beside, now that it is in the past", CORRECTION, target=unseen.id)
    return stream.case()


def _one_fault_after_the_other() -> Case:
    stream = Stream("the first failing stage names the code")
    _device(stream)
    far = 2**40
    lost = op_id("lost")
    bad: dict[str, Any] = {"target": op_id("nothing")}
    waits = stream.build(REFUTATION, STRANGER, at={"lc": far, "seq": 7, "deps": [lost]}, **bad)
    stream.deliver("ancestors, chain, clock, reference, authority", waits, "deferred", missing=[lost])
    stream.refuse(
        "chain, clock, reference, authority", "ERR_CHAIN", REFUTATION, STRANGER, at={"lc": far, "seq": 7}, **bad
    )
    stream.refuse("clock, reference, authority", "ERR_CLOCK", REFUTATION, STRANGER, at={"lc": far}, **bad)
    stream.refuse("reference, authority", "ERR_REF", REFUTATION, STRANGER, **bad)
    stream.refuse("authority", "ERR_AUTHZ", CLAIM, STRANGER)
    return stream.case(pending=[(waits, [lost])])


# --- §3.4 -------------------------------------------------------------------------------------------------------


def _forks() -> Case:
    stream = Stream("forks", "Two operations of one author with one seq: both stay, and either may be continued.")
    stream.accept("the root begins the log", CLAIM)
    stream.deliver("it begins again", stream.build(CLAIM, at=_FIRST, predicate="other"), "accepted")
    stream.accept("the phone becomes a device", GRANT, grantee=PHONE.id)
    one = stream.accept("the phone's first", CLAIM, PHONE)
    two = stream.build(CLAIM, PHONE, at={"prev": None, "seq": 1, "deps": [one.id]}, predicate="other")
    stream.deliver("another first of the phone's, which knows the first", two, "accepted")
    stream.accept("on from one", CLAIM, PHONE, after=[], at={"prev": one.id, "seq": 2, "deps": [two.id]})
    stream.accept(
        "on from the other, with the same seq", EVIDENCE, PHONE, after=[], at={"prev": two.id, "seq": 2, "deps": []}
    )
    stream.accept("a third of that seq", EVIDENCE, PHONE, after=[], at={"prev": two.id, "seq": 2, "deps": []}, size=13)
    return stream.case()


_FIRST: dict[str, Any] = {"prev": None, "seq": 1, "deps": [], "lc": 1}
