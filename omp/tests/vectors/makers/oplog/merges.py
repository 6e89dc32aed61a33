"""Vectors of merges (oplog §3.3, §3.4, §4.5, §5): sets of operations, and the state that each of them gives."""

from __future__ import annotations

import random
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
    TYPES,
)
from omp.protocols.oplog.core.outcomes import ACCEPTED
from omp.protocols.oplog.core.replica import Replica
from omp.tests.vectors.makers.oplog.making import APP, LAPTOP, LOG, PHONE, ROOT, TS, Case, Made, scope_of
from omp.tests.vectors.makers.oplog.stream import TRUSTING, Stream

KEYS = (ROOT, PHONE, LAPTOP, APP)
RULE = "rule:recurring-event/1"


def merge_cases() -> Iterator[Case]:
    """One case for each rule, then random logs."""
    for made in (
        _one_operation, _refuted_evidence, _corrections, _refuted_and_superseded, _taint_spares_the_correction,
        _excused_by_direct_sources_only, _nothing_excuses_what_is_tainted, _taint_of_inferences, _diamond,
        _same_evidence_twice, _concurrent_with_a_revocation, _void_has_no_effect, _back_dated, _two_grants,
        _revoker_revoked, _seen_by_the_revoker, _renounced, _renounced_then_revoked, _void_grants,
        _revoked_by_is_of_the_grant_itself, _forks, _many_heads,
    ):  # fmt: skip
        yield made().merge()
    for seed, size in ((1, 60), (2, 60), (3, 150)):
        yield _random(seed, size).merge()


def _begun(name: str, why: str = "") -> Stream:
    stream = Stream(name, why)
    stream.accept("", EVIDENCE)
    return stream


def _device(stream: Stream, grantee: str = PHONE.id, **terms: Any) -> Made:
    return stream.accept("", GRANT, **{"grantee": grantee, **terms})


def _one_operation() -> Stream:
    return _begun("one operation")


# --- §5: statuses and taint -------------------------------------------------------------------------------------


def calendar() -> Stream:
    """Evidence, a claim derived from it, and a device that refutes the evidence meanwhile: the guide's example."""
    stream = _begun("refuted evidence taints what is derived from it", "The refutation and the claim are concurrent.")
    (evidence,) = stream.heads()
    device = _device(stream)
    stream.accept("", CLAIM, after=[device], derived_from=[evidence.id], method=RULE)
    stream.accept("", REFUTATION, PHONE, after=[device], target=evidence.id)
    return stream


_refuted_evidence = calendar


def _corrections() -> Stream:
    stream = _begun("concurrent corrections", "superseded_by and replacement go by the total order, not by arrival.")
    claim = stream.accept("", CLAIM)
    ours = stream.accept("", CLAIM, predicate="calendar.ours")
    theirs = stream.accept("", CLAIM, predicate="calendar.theirs")
    device = _device(stream)
    stream.accept("", CORRECTION, target=claim.id, replacement=ours.id)
    for _ in range(3):
        stream.accept("", CORRECTION, PHONE, after=[device], target=claim.id, replacement=theirs.id)
    stream.accept("", CORRECTION, ROOT, after=[], target=theirs.id)
    return stream


def _refuted_and_superseded() -> Stream:
    stream = _begun("refuted and superseded", "refuted is the status; both lists are filled.")
    claim = stream.accept("", CLAIM)
    other = stream.accept("", CLAIM, predicate="calendar.other")
    device = _device(stream)
    stream.accept("", CORRECTION, after=[device], target=claim.id, replacement=other.id)
    stream.accept("", REFUTATION, PHONE, after=[device], target=claim.id)
    stream.accept("", REFUTATION, ROOT, after=[device], target=claim.id, reason="again")
    stream.accept("", REFUTATION, ROOT, target=other.id, reason="the correction was wrong too")
    return stream


def _taint_spares_the_correction() -> Stream:
    stream = _begun("what is built on the replacement is not tainted by what it replaced")
    old = stream.accept("", CLAIM)
    new = stream.accept("", CLAIM, derived_from=[old.id], method=RULE)
    stale = stream.accept("", CLAIM, derived_from=[old.id], method=RULE, predicate="calendar.stale")
    fresh = stream.accept("", CLAIM, derived_from=[new.id], method=RULE, predicate="calendar.fresh")
    both = stream.accept("", CLAIM, derived_from=[new.id, old.id], method=RULE, predicate="calendar.both")
    stream.accept("", CORRECTION, target=old.id, replacement=new.id)
    mixed = stream.accept("", CLAIM, derived_from=[stale.id, fresh.id], method=RULE, predicate="calendar.mixed")
    stream.accept("", CORRECTION, target=stale.id, replacement=None)
    stream.accept("", CORRECTION, target=fresh.id, replacement=both.id)
    last = stream.accept("", CLAIM, derived_from=[mixed.id], method=RULE, predicate="calendar.last")
    for claim, taint in ((new, []), (stale, [old]), (fresh, []), (both, []), (mixed, [stale, fresh]), (last, [mixed])):
        stream.expect(claim, "taint", taint)
    return stream


def _excused_by_direct_sources_only() -> Stream:
    stream = _begun(
        "a replacement excuses who derives from it directly",
        "Of three claims on the old one, one also derives from the replacement, one from a claim that does, one not.",
    )
    old = stream.accept("", CLAIM)
    new = stream.accept("", CLAIM, predicate="calendar.new")
    on_new = stream.accept("", CLAIM, derived_from=[new.id], method=RULE, predicate="calendar.on_new")
    excused = stream.accept("", CLAIM, derived_from=[old.id, new.id], method=RULE, predicate="calendar.excused")
    too_far = stream.accept("", CLAIM, derived_from=[old.id, on_new.id], method=RULE, predicate="calendar.too_far")
    stale = stream.accept("", CLAIM, derived_from=[old.id], method=RULE, predicate="calendar.stale")
    stream.accept("", CORRECTION, target=old.id, replacement=new.id)
    holds = stream.accept("", CLAIM, derived_from=[excused.id], method=RULE, predicate="calendar.holds")
    for replacement in (new.id, None):  # the last one names none, and the others excuse all the same
        stream.accept("", CORRECTION, target=old.id, replacement=replacement)
    for claim, taint in ((on_new, []), (excused, []), (too_far, [old]), (stale, [old]), (holds, [])):
        stream.expect(claim, "taint", taint)
    return stream


def _nothing_excuses_what_is_tainted() -> Stream:
    stream = _begun(
        "a source that is superseded and tainted taints who derives from its replacement too",
        "The evidence is refuted. The replacement that was derived from the old claim is tainted as well.",
    )
    (evidence,) = stream.heads()
    old = stream.accept("", CLAIM, derived_from=[evidence.id], method=RULE)
    new = stream.accept("", CLAIM, predicate="calendar.new")
    derived = stream.accept("", CLAIM, derived_from=[old.id], method=RULE, predicate="calendar.derived")
    both = stream.accept("", CLAIM, derived_from=[old.id, new.id], method=RULE, predicate="calendar.both")
    stream.accept("", CORRECTION, target=old.id, replacement=new.id)
    stream.accept("", CORRECTION, target=old.id, replacement=derived.id)
    stream.accept("", REFUTATION, target=evidence.id)
    for claim, taint in ((old, [evidence]), (new, []), (derived, [old]), (both, [old])):
        stream.expect(claim, "taint", taint)
    return stream


def _taint_of_inferences() -> Stream:
    stream = _begun("taint goes through inference calls, and each names its direct sources")
    (evidence,) = stream.heads()
    claim = stream.accept("", CLAIM, derived_from=[evidence.id], method=RULE)
    call = stream.accept("", INFERENCE, inputs=[claim.id])
    told = stream.accept("", CLAIM, derived_from=[call.id], method="model:small-1")
    last = stream.accept("", CLAIM, derived_from=[told.id], method=RULE)
    stream.accept("", REFUTATION, target=evidence.id)
    stream.accept("", CORRECTION, target=told.id)
    for made, source in ((claim, evidence), (call, claim), (told, call), (last, told)):
        stream.expect(made, "taint", [source])
    return stream


def _diamond() -> Stream:
    stream = _begun("sources met on two paths count once")
    (evidence,) = stream.heads()
    left = stream.accept("", CLAIM, derived_from=[evidence.id], method=RULE, predicate="calendar.left")
    right = stream.accept("", CLAIM, derived_from=[evidence.id], method=RULE, predicate="calendar.right")
    top = stream.accept("", CLAIM, derived_from=[right.id, left.id], method=RULE)
    stream.accept("", REFUTATION, target=evidence.id)
    stream.accept("", REFUTATION, target=left.id)
    for claim, taint in ((left, [evidence]), (right, [evidence]), (top, [left, right])):
        stream.expect(claim, "taint", taint)
    return stream


def _same_evidence_twice() -> Stream:
    stream = _begun("refuting one evidence-ingest does not touch another of the same evidence")
    (first,) = stream.heads()
    second = stream.accept("", EVIDENCE)
    stream.accept("", CLAIM, derived_from=[second.id], method=RULE)
    stream.accept("", REFUTATION, target=first.id)
    return stream


# --- §4.5: void -------------------------------------------------------------------------------------------------


def _concurrent_with_a_revocation() -> Stream:
    stream = _begun(
        "concurrent with a revocation", "What the revoker has seen stays; all else under the grant is void."
    )
    grant = _device(stream)
    seen = stream.accept("", CLAIM, PHONE, after=[grant], predicate="calendar.seen")
    stream.accept("", CLAIM, PHONE, after=[seen], predicate="calendar.unseen")
    stream.accept("", REVOCATION, after=[seen], target=grant.id)
    return stream


def _void_has_no_effect() -> Stream:
    stream = _begun("void operations neither correct, refute nor revoke anything, and taint what rests on them")
    (evidence,) = stream.heads()
    mine = stream.accept("", CLAIM)
    grant = _device(stream)
    low = stream.accept("", GRANT, PHONE, after=[grant], parent=grant.id, grantee=LAPTOP.id, max_depth=1)
    kept = stream.accept("", CLAIM, LAPTOP, after=[low], predicate="calendar.kept")
    stream.accept("", REVOCATION, ROOT, after=[kept], target=grant.id)
    stream.accept("", REFUTATION, PHONE, after=[low], target=evidence.id)
    stream.accept("", CORRECTION, PHONE, after=[], target=mine.id)
    stream.accept("", REVOCATION, PHONE, after=[], target=low.id)
    void = stream.accept("", CLAIM, PHONE, after=[], predicate="calendar.void")
    on_void = stream.accept("", CLAIM, after=[void], derived_from=[void.id], method=RULE, predicate="calendar.on_void")
    for claim, taint in ((mine, []), (kept, []), (void, []), (on_void, [void])):
        stream.expect(claim, "taint", taint)
    stream.expect(low, "revoked_by", [])
    return stream


def _back_dated() -> Stream:
    stream = _begun("back-dated by a revoked key", "Neither an earlier timestamp nor a smaller clock helps.")
    grant = _device(stream)
    stream.accept("", CLAIM, PHONE, after=[grant], predicate="calendar.first")
    revocation = stream.accept("", REVOCATION, target=grant.id)
    early = {"ts": "2020-01-01T00:00:00.000Z"}
    stream.accept("", CLAIM, PHONE, after=[grant], at=early, predicate="calendar.early")
    fork = {**early, "prev": None, "seq": 1, "deps": [grant.id], "lc": grant.envelope["lc"] + 1}
    stream.accept("", CLAIM, PHONE, at=fork, predicate="calendar.fork")
    again = stream.accept("", GRANT, after=[revocation], caps=["author"])
    stream.accept("", CLAIM, PHONE, after=[again], predicate="calendar.again")
    return stream


def _two_grants() -> Stream:
    stream = _begun("authority by two grants", "Void only if every grant in Auth(O) is cut.")
    one = _device(stream, scope=scope_of(predicates=["calendar.*"]))
    two = _device(stream, scope=scope_of(predicates=["calendar.event", "health.*"]))
    for predicate in ("calendar.event", "calendar.place", "health.sleep"):
        stream.accept("", CLAIM, PHONE, after=[two], predicate=predicate)
    stream.accept("", REVOCATION, after=[], target=one.id)
    return stream


def _revoker_revoked() -> Stream:
    stream = _begun(
        "a revocation by a revoked key",
        "Concurrent with the revocation of its author's grant, it is void and cuts nothing.",
    )
    top = _device(stream)
    low = stream.accept("", GRANT, PHONE, after=[top], parent=top.id, grantee=LAPTOP.id, max_depth=1)
    work = stream.accept("", CLAIM, LAPTOP, after=[low])
    stream.accept("", REVOCATION, PHONE, after=[low], target=low.id)
    stream.accept("", REVOCATION, ROOT, after=[work], target=top.id)
    return stream


def _seen_by_the_revoker() -> Stream:
    stream = _begun("two revocations from two sides", "What one of them has not seen is void, whatever the other saw.")
    top = _device(stream)
    low = stream.accept("", GRANT, PHONE, after=[top], parent=top.id, grantee=LAPTOP.id, max_depth=1)
    one = stream.accept("", CLAIM, LAPTOP, after=[low], predicate="calendar.one")
    two = stream.accept("", CLAIM, LAPTOP, after=[one], predicate="calendar.two")
    by_phone = stream.accept("", REVOCATION, PHONE, after=[one], target=low.id)
    stream.accept("", REVOCATION, ROOT, after=[two], target=low.id)
    stream.accept("", REFUTATION, PHONE, after=[by_phone], target=one.id)
    return stream


def _renounced() -> Stream:
    stream = _begun("renounced", "The grant is revoked; an operation that has not seen it counts in full.")
    grant = _device(stream)
    low = stream.accept("", GRANT, PHONE, after=[grant], parent=grant.id, grantee=LAPTOP.id, max_depth=1)
    renunciation = stream.accept("", REVOCATION, PHONE, after=[low], target=grant.id)
    stream.expect(grant, "revoked_by", [renunciation])
    stream.expect(low, "revoked_by", [])
    stream.accept("", CLAIM, PHONE, after=[low], at={"prev": low.id, "seq": 2, "deps": []})
    stream.accept("", CLAIM, LAPTOP, after=[low])
    return stream


def _renounced_then_revoked() -> Stream:
    stream = _begun(
        "renounced and revoked at once", "The renunciation is void like everything else that the root has not seen."
    )
    grant = _device(stream)
    stream.accept("", CLAIM, PHONE, after=[grant])
    stream.accept("", REVOCATION, PHONE, after=[], target=grant.id)
    stream.accept("", REVOCATION, ROOT, after=[], target=grant.id)
    return stream


def _void_grants() -> Stream:
    stream = _begun(
        "grants under a revoked one",
        "Grants three deep: what a revocation has not seen is void, with all that rests on it.",
    )
    top = _device(stream)
    middle = stream.accept("", GRANT, PHONE, after=[top], parent=top.id, grantee=LAPTOP.id, max_depth=3)
    stream.accept("", REVOCATION, ROOT, after=[middle], target=top.id)
    low = stream.accept("", GRANT, LAPTOP, after=[middle], parent=middle.id, grantee=APP.id, max_depth=2)
    claim = stream.accept("", CLAIM, APP, after=[low])
    stream.accept("", INFERENCE, APP, after=[], inputs=[claim.id], grant=low.id)
    stream.accept("", REVOCATION, LAPTOP, after=[], target=low.id)
    return stream


def _revoked_by_is_of_the_grant_itself() -> Stream:
    stream = _begun(
        "revoked_by names what targets the grant itself", "A grant under a revoked one is revoked, by an empty list."
    )
    top = _device(stream)
    middle = stream.accept("", GRANT, PHONE, after=[top], parent=top.id, grantee=LAPTOP.id, max_depth=3)
    low = stream.accept("", GRANT, LAPTOP, after=[middle], parent=middle.id, grantee=APP.id, max_depth=2)
    renunciation = stream.accept("", REVOCATION, LAPTOP, after=[low], target=middle.id)
    revocations = [stream.accept("", REVOCATION, target=top.id) for _ in range(2)]
    for grant, revoked_by in ((top, revocations), (middle, [renunciation]), (low, [])):
        stream.expect(grant, "revoked_by", revoked_by)
    return stream


# --- §3.4 and more ----------------------------------------------------------------------------------------------


def _forks() -> Stream:
    stream = _begun("forks of a device and of the root")
    grant = _device(stream)
    stream.accept("", CLAIM, PHONE)
    for predicate in ("calendar.two", "calendar.three"):
        first = {"prev": None, "seq": 1, "deps": [grant.id], "lc": 3}
        stream.accept("", CLAIM, PHONE, at=first, predicate=predicate)
    stream.accept("", CLAIM, PHONE)
    begins: dict[str, Any] = {"prev": None, "seq": 1, "deps": [], "lc": 1}
    stream.deliver("", stream.build(CLAIM, at=begins), "accepted")
    return stream


def _many_heads() -> Stream:
    stream = _begun("100 heads", "More than deps may name: the log merges them in two steps, or never.")
    grant = _device(stream)
    for number in range(100):
        first = {"prev": None, "seq": 1, "deps": [grant.id], "lc": 3}
        stream.accept("", CLAIM, PHONE, at=first, object=number)
    return stream


# --- Random logs ------------------------------------------------------------------------------------------------


def _random(seed: int, size: int) -> Stream:
    """A log of four keys that build on old and new views, grant, revoke and fork; what is refused is left out."""
    stream = _begun(f"random log {seed}, {size} operations")
    choose = random.Random(seed)
    for key in KEYS[1:]:
        _device(stream, key.id)
    replica = Replica(LOG)
    for made in stream.stored.values():
        replica.add(made.raw, TRUSTING)
    while len(stream.stored) < size:
        made = _attempt(stream, choose)
        if made.id not in stream.stored and replica.add(made.raw, TRUSTING).status == ACCEPTED:
            stream.deliver("", made, "accepted")
    return stream


def _attempt(stream: Stream, choose: random.Random) -> Made:
    stored = list(stream.stored.values())
    author = choose.choice([*KEYS, *KEYS[1:]])
    kind = choose.choice([*TYPES, CLAIM, CLAIM, CORRECTION])
    view = choose.sample(stored[-8:] if choose.random() < 0.6 else stored, 2)

    def some(*kinds: str) -> Made:
        return choose.choice([one for one in stored if one.envelope["type"] in kinds] or stored)

    mine = [one for one in stored if one.envelope["body"].get("grantee") == author.id]
    grant = choose.choice(mine).id if mine and author is not ROOT else None
    source = some(CLAIM, CLAIM, EVIDENCE, INFERENCE).id
    bodies: dict[str, dict[str, Any]] = {
        EVIDENCE: {"size": choose.randrange(1000)},
        CLAIM: {
            "predicate": choose.choice(["calendar.event", "health.sleep"]),
            "object": choose.randrange(1000),
            "derived_from": list({source: None, some(CLAIM, INFERENCE).id: None}),
        },
        CORRECTION: {"target": some(CLAIM).id, "replacement": choose.choice([None, some(CLAIM).id])},
        REFUTATION: {"target": some(CLAIM, EVIDENCE).id},
        GRANT: {"grantee": choose.choice(KEYS[1:]).id, "parent": grant, "max_depth": choose.randrange(8)},
        REVOCATION: {"target": some(GRANT).id},
        INFERENCE: {"inputs": [some(CLAIM, EVIDENCE).id], "grant": grant},
    }
    at: dict[str, Any] = {"ts": choose.choice([TS, "2023-06-01T00:00:00.000Z"])}
    if choose.random() < 0.03 and author is not ROOT:
        at |= {"prev": None, "seq": 1}
    return stream.build(kind, author, after=view, at=at, **bodies[kind])
