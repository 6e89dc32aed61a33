"""Vectors of stage 12 (oplog §3.2, §4): who may append what, rule by rule."""

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
    TYPES,
)
from omp.tests.vectors.makers.oplog.making import APP, LAPTOP, PHONE, ROOT, STRANGER, Case, Made, scope_of
from omp.tests.vectors.makers.oplog.stream import Stream, at_time

EARLY, BEFORE, START, END, AFTER = (
    "2024-01-01T00:00:00.000Z",
    "2024-05-31T23:59:59.999Z",
    "2024-06-01T00:00:00.000Z",
    "2024-07-01T00:00:00.000Z",
    "2024-07-01T00:00:00.001Z",
)


def stream_cases() -> Iterator[Case]:
    """One case for each rule, or a few."""
    yield _root()
    yield _strangers()
    yield _grantees()
    yield _coverage_of_claims()
    yield _coverage_of_corrections()
    yield _coverage_of_refutations()
    yield _coverage_of_inferences()
    yield _coverage_of_revocations()
    yield _capabilities_and_types()
    yield _times()
    yield _attenuation()
    yield _attenuation_of_times()
    yield _grants_do_not_add_up()
    yield _revoked_in_past()
    yield _renunciation()


def _begun(name: str, why: str = "") -> Stream:
    stream = Stream(name, why)
    stream.accept("the root begins the log", CLAIM)
    return stream


def _granted(stream: Stream, **body: Any) -> Made:
    """A grant by the root; to the phone, unless `body` says otherwise."""
    return stream.accept(f"the root grants {_terms(body)}", GRANT, **body)


def _terms(body: dict[str, Any]) -> str:
    said = {**body, **body.get("scope", {})}
    said.pop("scope", None)
    said.pop("parent", None)
    key = said.pop("grantee", PHONE.id)
    name = next(one.name for one in (PHONE, LAPTOP, APP, STRANGER) if one.id == key)
    return f"the {name} " + (", ".join(f"{member} {value}" for member, value in said.items()) or "everything")


# --- The root ---------------------------------------------------------------------------------------------------


def _root() -> Case:
    stream = Stream("the root", "It needs no grant, names none, and begins the log without deps.")
    stream.refuse("a stranger begins the log", "ERR_AUTHZ", CLAIM, STRANGER)
    stream.accept("the root begins the log, with any type", EVIDENCE)
    grant = _granted(stream)
    claim = stream.accept("a claim", CLAIM)
    begins = {"prev": None, "seq": 1, "deps": [claim.id], "lc": 9}
    stream.refuse("the root begins again, with deps", "ERR_AUTHZ", CLAIM, at=begins)
    stream.refuse("the root grants under a parent", "ERR_AUTHZ", GRANT, grantee=LAPTOP.id, parent=grant.id)
    stream.refuse("the root infers under a grant", "ERR_AUTHZ", INFERENCE, inputs=[claim.id], grant=grant.id)
    stream.accept("the root infers", INFERENCE, inputs=[claim.id])
    stream.accept("the root corrects", CORRECTION, target=claim.id)
    stream.accept("the root refutes", REFUTATION, target=claim.id)
    stream.accept("the root revokes", REVOCATION, target=grant.id)
    stream.accept("the root revokes again what is revoked", REVOCATION, target=grant.id)
    return stream.case()


def _strangers() -> Case:
    stream = _begun("keys without a grant in their past")
    evidence = stream.accept("evidence", EVIDENCE)
    claim = stream.accept("a claim", CLAIM)
    grant = _granted(stream, grantee=LAPTOP.id)
    targets: dict[str, dict[str, Any]] = {
        EVIDENCE: {}, CLAIM: {}, CORRECTION: {"target": claim.id}, REFUTATION: {"target": evidence.id},
        GRANT: {"grantee": PHONE.id, "parent": grant.id}, REVOCATION: {"target": grant.id},
        INFERENCE: {"inputs": [claim.id], "grant": grant.id},
    }  # fmt: skip
    for kind, body in targets.items():
        stream.refuse(f"a stranger: {kind}", "ERR_AUTHZ", kind, STRANGER, **body)
    stream.refuse("the grantee, without the grant in the past", "ERR_AUTHZ", CLAIM, LAPTOP, after=[claim])
    stream.refuse("not the root: a grant without parent", "ERR_AUTHZ", GRANT, LAPTOP, grantee=PHONE.id)
    stream.refuse("not the root: an inference without grant", "ERR_AUTHZ", INFERENCE, LAPTOP, inputs=[claim.id])
    stream.accept("the grantee, with it", CLAIM, LAPTOP)
    return stream.case()


def _grantees() -> Case:
    stream = _begun("grantees: authority flows down only")
    top = _granted(stream)
    stream.refuse("the root grants to itself", "ERR_AUTHZ", GRANT, grantee=ROOT.id)
    stream.refuse("a grantee grants to itself", "ERR_AUTHZ", GRANT, PHONE, parent=top.id, max_depth=1)
    stream.refuse(
        "a grantee grants to the root", "ERR_AUTHZ", GRANT, PHONE, parent=top.id, grantee=ROOT.id, max_depth=1
    )
    middle = stream.accept("a grantee grants", GRANT, PHONE, parent=top.id, grantee=LAPTOP.id, max_depth=2)
    back = {"parent": middle.id, "max_depth": 1}
    stream.refuse("back to the one above", "ERR_AUTHZ", GRANT, LAPTOP, **back, grantee=PHONE.id)
    stream.refuse("to itself, one below", "ERR_AUTHZ", GRANT, LAPTOP, **back, grantee=LAPTOP.id)
    low = stream.accept("one further down", GRANT, LAPTOP, **back, grantee=APP.id)
    far = {"parent": low.id, "max_depth": 0}
    stream.refuse("back to the one two above", "ERR_AUTHZ", GRANT, APP, **far, grantee=PHONE.id)
    stream.accept("to somebody new", GRANT, APP, **far, grantee=STRANGER.id)
    other = _granted(stream, grantee=LAPTOP.id, max_depth=3)
    stream.accept("up again, under another grant", GRANT, LAPTOP, parent=other.id, grantee=PHONE.id, max_depth=2)
    return stream.case()


# --- Coverage ---------------------------------------------------------------------------------------------------

_CALENDAR = scope_of(predicates=["calendar.*", "health.sleep"])


def _coverage_of_claims() -> Case:
    stream = _begun("coverage: evidence and claims")
    _granted(stream, caps=["author"], scope=_CALENDAR)
    stream.accept("evidence needs no pattern", EVIDENCE, PHONE)
    for predicate in ("calendar", "calendar.event", "calendar.event.place", "health.sleep"):
        stream.accept(f"{predicate} matches", CLAIM, PHONE, predicate=predicate)
    for predicate in ("calendars", "calenda", "health", "health.sleep.deep", "health.sleeps", "a.calendar.event", "x"):
        stream.refuse(f"{predicate} does not", "ERR_AUTHZ", CLAIM, PHONE, predicate=predicate)
    _granted(stream, grantee=LAPTOP.id, caps=["author"], scope=scope_of(predicates=["*"]))
    stream.accept("* matches everything", CLAIM, LAPTOP, predicate="x.y.z")
    return stream.case()


def _coverage_of_corrections() -> Case:
    stream = _begun("coverage: corrections")
    inside = stream.accept("a claim inside the scope", CLAIM, predicate="calendar.event")
    second = stream.accept("another", CLAIM, predicate="health.sleep")
    outside = stream.accept("one outside", CLAIM, predicate="health.weight")
    _granted(stream, caps=["author"], scope=_CALENDAR)
    stream.refuse("target outside", "ERR_AUTHZ", CORRECTION, PHONE, target=outside.id)
    stream.refuse("replacement outside", "ERR_AUTHZ", CORRECTION, PHONE, target=inside.id, replacement=outside.id)
    stream.refuse(
        "target outside, replacement inside", "ERR_AUTHZ", CORRECTION, PHONE, target=outside.id, replacement=inside.id
    )
    stream.accept("target inside", CORRECTION, PHONE, target=inside.id)
    stream.accept("both inside", CORRECTION, PHONE, target=inside.id, replacement=second.id)
    return stream.case()


def _coverage_of_refutations() -> Case:
    stream = _begun("coverage: refutations", "To refute evidence, a grant needs the pattern *.")
    evidence = stream.accept("evidence", EVIDENCE)
    inside = stream.accept("a claim inside the scope", CLAIM, predicate="calendar.event")
    outside = stream.accept("one outside", CLAIM, predicate="health.weight")
    _granted(stream, caps=["author"], scope=_CALENDAR)
    stream.refuse("a claim outside", "ERR_AUTHZ", REFUTATION, PHONE, target=outside.id)
    stream.refuse("evidence, without *", "ERR_AUTHZ", REFUTATION, PHONE, target=evidence.id)
    stream.accept("a claim inside", REFUTATION, PHONE, target=inside.id)
    _granted(stream, grantee=LAPTOP.id, caps=["author"], scope=scope_of(predicates=["*", "a"], provenance="none"))
    stream.accept("evidence, with *", REFUTATION, LAPTOP, target=evidence.id)
    return stream.case()


def _coverage_of_inferences() -> Case:
    stream = _begun("coverage: inference calls")
    evidence = stream.accept("evidence", EVIDENCE)
    inside = stream.accept("a claim inside the scope", CLAIM, predicate="calendar.event")
    outside = stream.accept("one outside", CLAIM, predicate="health.weight")
    full = _granted(stream, caps=["author", "infer"], scope=_CALENDAR)
    none = _granted(stream, caps=["author", "infer"], scope=scope_of(predicates=["*"], provenance="none"))
    mute = _granted(stream, caps=["author", "delegate", "read"])
    reader = _granted(stream, caps=["infer", "read"])
    other = _granted(stream, grantee=LAPTOP.id)

    def call(grant: Made | None, *inputs: Made) -> dict[str, Any]:
        return {"grant": grant.id if grant else None, "inputs": [one.id for one in inputs]}

    stream.accept("a claim inside", INFERENCE, PHONE, **call(full, inside))
    stream.accept("evidence, with provenance full", INFERENCE, PHONE, **call(full, evidence, inside))
    stream.accept("any claim, with provenance none", INFERENCE, PHONE, **call(none, inside, outside))
    stream.refuse("a claim outside", "ERR_AUTHZ", INFERENCE, PHONE, **call(full, inside, outside))
    stream.refuse("evidence, with provenance none", "ERR_AUTHZ", INFERENCE, PHONE, **call(none, evidence))
    stream.refuse("without infer", "ERR_AUTHZ", INFERENCE, PHONE, **call(mute, inside))
    stream.refuse("without author", "ERR_AUTHZ", INFERENCE, PHONE, **call(reader, inside))
    stream.refuse("under somebody else's grant", "ERR_AUTHZ", INFERENCE, PHONE, **call(other, inside))
    stream.refuse("under no grant", "ERR_AUTHZ", INFERENCE, PHONE, **call(None, inside))
    return stream.case()


def _coverage_of_revocations() -> Case:
    stream = _begun("coverage: revocations", "A holder of a grant above the target may revoke it; so may its grantee.")
    top = _granted(stream, caps=["author", "delegate"])
    middle = stream.accept(
        "the phone grants the laptop",
        GRANT,
        PHONE,
        parent=top.id,
        grantee=LAPTOP.id,
        caps=["author", "delegate"],
        max_depth=2,
    )
    low = stream.accept(
        "the laptop grants the app", GRANT, LAPTOP, parent=middle.id, grantee=APP.id, caps=["author"], max_depth=1
    )
    side = _granted(stream, grantee=STRANGER.id)
    stream.refuse("from below", "ERR_AUTHZ", REVOCATION, APP, target=middle.id)
    stream.refuse("from two below", "ERR_AUTHZ", REVOCATION, APP, target=top.id)
    stream.refuse("from beside", "ERR_AUTHZ", REVOCATION, STRANGER, target=low.id)
    stream.refuse("of what is beside", "ERR_AUTHZ", REVOCATION, PHONE, target=side.id)
    stream.accept("from two above", REVOCATION, PHONE, target=low.id)
    stream.refuse("of what is revoked, from below it", "ERR_AUTHZ", CLAIM, APP)
    stream.accept("from one above", REVOCATION, PHONE, target=middle.id)
    stream.refuse("by one whose own grant is revoked", "ERR_AUTHZ", REVOCATION, LAPTOP, target=low.id)
    return stream.case()


def _capabilities_and_types() -> Case:
    stream = _begun("capabilities and scope.ops")
    claim = stream.accept("a claim", CLAIM)
    everything = _granted(stream, caps=["delegate", "infer", "read"])
    stream.refuse("without author: evidence", "ERR_AUTHZ", EVIDENCE, PHONE)
    stream.refuse(
        "without author: a grant", "ERR_AUTHZ", GRANT, PHONE, parent=everything.id, grantee=APP.id, caps=["read"]
    )
    narrow = _granted(stream, grantee=LAPTOP.id, scope=scope_of(ops=[CLAIM, EVIDENCE]))
    stream.accept("ops: a claim", CLAIM, LAPTOP)
    stream.accept("ops: evidence", EVIDENCE, LAPTOP)
    stream.refuse("ops: no correction", "ERR_AUTHZ", CORRECTION, LAPTOP, target=claim.id)
    stream.refuse("ops: no refutation", "ERR_AUTHZ", REFUTATION, LAPTOP, target=claim.id)
    stream.refuse("ops: no inference", "ERR_AUTHZ", INFERENCE, LAPTOP, inputs=[claim.id], grant=narrow.id)
    less = {"parent": narrow.id, "grantee": APP.id, "scope": scope_of(ops=[CLAIM]), "max_depth": 1}
    stream.refuse("ops: no grant", "ERR_AUTHZ", GRANT, LAPTOP, **less)
    author = _granted(stream, grantee=APP.id, caps=["author"])
    stream.refuse("without delegate", "ERR_AUTHZ", GRANT, APP, parent=author.id, grantee=STRANGER.id, caps=["author"])
    stream.accept("author alone: a claim", CLAIM, APP)
    return stream.case()


def _times() -> Case:
    stream = _begun("not_before and expires", "not_before ≤ ts < expires, compared as strings.")
    _granted(stream, not_before=START, expires=END)
    stream.refuse("a millisecond too early", "ERR_AUTHZ", CLAIM, PHONE, at=at_time(BEFORE))
    stream.accept("at not_before", CLAIM, PHONE, at=at_time(START))
    stream.refuse("at expires", "ERR_AUTHZ", CLAIM, PHONE, at=at_time(END))
    stream.refuse("after expires", "ERR_AUTHZ", CLAIM, PHONE, at=at_time(AFTER))
    stream.accept("a millisecond before expires", CLAIM, PHONE, at=at_time("2024-06-30T23:59:59.999Z"))
    stream.accept("earlier than the operation before: time is advisory", CLAIM, PHONE, at=at_time(START))
    _granted(stream, grantee=LAPTOP.id, not_before=END, expires=START)
    stream.refuse("a grant that is never in force", "ERR_AUTHZ", CLAIM, LAPTOP, at=at_time(START))
    return stream.case()


# --- Attenuation ------------------------------------------------------------------------------------------------


def _attenuation() -> Case:
    stream = _begun("attenuation", "A grant under another gives nothing that the other does not have.")
    terms = {
        "caps": ["author", "delegate", "read"],
        "scope": scope_of(predicates=["calendar.*", "health.sleep"], provenance="none", ops=[CLAIM, EVIDENCE, GRANT]),
        "max_depth": 2,
    }
    top = _granted(stream, **terms)
    fits: dict[str, Any] = {
        "parent": top.id, "grantee": LAPTOP.id, "caps": ["author", "delegate", "read"], "max_depth": 1,
        "scope": scope_of(predicates=["calendar.*", "health.sleep"], provenance="none", ops=[CLAIM, EVIDENCE, GRANT]),
    }  # fmt: skip

    def scope(**members: Any) -> dict[str, Any]:
        return {"scope": {**fits["scope"], **members}}

    without_ops = {name: value for name, value in fits["scope"].items() if name != "ops"}
    refused: dict[str, dict[str, Any]] = {
        "caps: one more": {"caps": ["author", "infer"]},
        "caps: all others": {"caps": ["infer"]},
        "max_depth: the same": {"max_depth": 2},
        "max_depth: more": {"max_depth": 8},
        "provenance: wider": scope(provenance="full"),
        "ops: absent": {"scope": without_ops},
        "ops: one more": scope(ops=[CLAIM, CORRECTION]),
        "ops: all seven": scope(ops=sorted(TYPES)),
        "predicates: *": scope(predicates=["*"]),
        "predicates: beside": scope(predicates=["contacts"]),
        "predicates: one of two": scope(predicates=["calendar.event", "contacts"]),
        "predicates: begins with the same letters": scope(predicates=["calendars"]),
        "predicates: an exact one widened": scope(predicates=["health.sleep.*"]),
        "predicates: above an exact one": scope(predicates=["health"]),
        "predicates: above an exact one, with all below": scope(predicates=["health.*"]),
    }
    for name, change in refused.items():
        stream.refuse(name, "ERR_AUTHZ", GRANT, PHONE, **{**fits, **change})
    accepted: dict[str, dict[str, Any]] = {
        "the same, one less deep": {},
        "fewer caps": {"caps": ["read"]},
        "max_depth 0": {"max_depth": 0},
        "fewer ops": scope(ops=[CLAIM]),
        "predicates: Q under Q.*": scope(predicates=["calendar"]),
        "predicates: Q.* under Q.*": scope(predicates=["calendar.*"]),
        "predicates: Q.a and Q.a.* under Q.*": scope(predicates=["calendar.event", "calendar.event.*"]),
        "predicates: an exact one": scope(predicates=["health.sleep"]),
    }
    for name, change in accepted.items():
        stream.accept(name, GRANT, PHONE, **{**fits, **change})
    flat = _granted(stream, grantee=APP.id, max_depth=0)
    stream.refuse("under max_depth 0", "ERR_AUTHZ", GRANT, APP, parent=flat.id, grantee=STRANGER.id, max_depth=0)
    return stream.case()


def _attenuation_of_times() -> Case:
    stream = _begun("attenuation of not_before and expires", "A null one is wider than any.")
    free = _granted(stream)
    bound = _granted(stream, grantee=LAPTOP.id, not_before=START, expires=END)

    def times(not_before: str | None, expires: str | None) -> dict[str, Any]:
        return {"not_before": not_before, "expires": expires}

    for name, given in {
        "under null, null": times(None, None),
        "under null, any": times(EARLY, AFTER),
    }.items():
        stream.accept(name, GRANT, PHONE, parent=free.id, grantee=APP.id, max_depth=1, **given)
    under = {"parent": bound.id, "grantee": APP.id, "max_depth": 1, "at": at_time(START)}
    for name, given in {
        "the same": times(START, END),
        "within": times("2024-06-02T00:00:00.000Z", "2024-06-03T00:00:00.000Z"),
        "empty": times(END, START),
        "not_before beyond expires": times(AFTER, END),
    }.items():
        stream.accept(name, GRANT, LAPTOP, **under, **given)
    for name, given in {
        "not_before earlier": times(BEFORE, END),
        "not_before null": times(None, END),
        "expires later": times(START, AFTER),
        "expires null": times(START, None),
    }.items():
        stream.refuse(name, "ERR_AUTHZ", GRANT, LAPTOP, **under, **given)
    return stream.case()


def _grants_do_not_add_up() -> Case:
    stream = _begun("several grants of one key", "It is enough that one of them covers the operation.")
    calendar = _granted(stream, scope=scope_of(predicates=["calendar.*"]), max_depth=2)
    health = _granted(stream, scope=scope_of(predicates=["health.*"]), max_depth=2)
    event = stream.accept("under the one", CLAIM, PHONE, predicate="calendar.event")
    sleep = stream.accept("under the other", CLAIM, PHONE, predicate="health.sleep")
    stream.refuse("half and half", "ERR_AUTHZ", CORRECTION, PHONE, target=event.id, replacement=sleep.id)
    both = {"grantee": APP.id, "scope": scope_of(predicates=["calendar.event", "health.sleep"]), "max_depth": 1}
    stream.refuse("a grant out of both, under the one", "ERR_AUTHZ", GRANT, PHONE, parent=calendar.id, **both)
    swapped = {**both, "scope": scope_of(predicates=["health.sleep"])}
    stream.refuse("what the other covers", "ERR_AUTHZ", GRANT, PHONE, parent=calendar.id, **swapped)
    stream.accept("under the right one", GRANT, PHONE, parent=health.id, **swapped)
    stream.refuse("an inference on both", "ERR_AUTHZ", INFERENCE, PHONE, grant=health.id, inputs=[event.id, sleep.id])
    stream.accept("on one", INFERENCE, PHONE, grant=health.id, inputs=[sleep.id])
    return stream.case()


# --- Revocation in the past -------------------------------------------------------------------------------------


def _revoked_in_past() -> Case:
    stream = _begun("revoked in the past", "Stage 12 looks at revocations in past(O) only, void or not.")
    top = _granted(stream)
    _granted(stream, scope=scope_of(predicates=["health.*"]))
    middle = stream.accept("the phone grants the laptop", GRANT, PHONE, parent=top.id, grantee=LAPTOP.id, max_depth=2)
    low = stream.accept("the laptop grants the app", GRANT, LAPTOP, parent=middle.id, grantee=APP.id, max_depth=1)
    cut = stream.accept("the root revokes the phone's grant", REVOCATION, target=top.id)
    stream.accept("the phone has not seen it: accepted, and void", CLAIM, PHONE, after=[low])
    void = stream.accept("a void revocation", REVOCATION, PHONE, after=[low], target=middle.id)
    stream.refuse("who has it in the past is bound by it", "ERR_AUTHZ", CLAIM, LAPTOP, after=[void])
    stream.refuse("the phone has seen it", "ERR_AUTHZ", CLAIM, PHONE, after=[cut])
    stream.refuse("a grant below has fallen too", "ERR_AUTHZ", CLAIM, LAPTOP, after=[cut])
    stream.refuse("two below", "ERR_AUTHZ", CLAIM, APP, after=[cut])
    stream.refuse(
        "no grants under it either", "ERR_AUTHZ", GRANT, PHONE, after=[cut], parent=top.id, grantee=STRANGER.id
    )
    stream.accept("the other grant still holds", CLAIM, PHONE, after=[cut], predicate="health.sleep")
    again = stream.accept("granted anew", GRANT, max_depth=4)
    stream.accept("under the new one", CLAIM, PHONE, after=[again])
    stream.refuse("the fallen grant below stays fallen", "ERR_AUTHZ", CLAIM, LAPTOP)
    return stream.case()


def _renunciation() -> Case:
    stream = _begun("renunciation", "Whoever holds a grant may give it up, whatever it allows and whenever.")
    late = _granted(stream, caps=["read"], scope=scope_of(ops=[CLAIM]), expires=EARLY)
    full = _granted(stream)
    below = stream.accept("the phone grants the laptop", GRANT, PHONE, parent=full.id, grantee=LAPTOP.id, max_depth=1)
    stream.refuse("somebody else's grant", "ERR_AUTHZ", REVOCATION, LAPTOP, target=late.id)
    stream.refuse("one above", "ERR_AUTHZ", REVOCATION, LAPTOP, target=full.id)
    stream.accept("without author, outside ops, after expiry", REVOCATION, PHONE, target=late.id)
    stream.refuse("given up already", "ERR_AUTHZ", REVOCATION, PHONE, target=late.id)
    unseen = stream.accept("the laptop's claim, not seen by what follows", CLAIM, LAPTOP)
    given_up = stream.accept("the grant itself", REVOCATION, PHONE, after=[below], target=full.id)
    stream.refuse("from now on nothing", "ERR_AUTHZ", CLAIM, PHONE, after=[given_up])
    stream.refuse("nor anything below", "ERR_AUTHZ", CLAIM, LAPTOP, after=[given_up])
    stream.refuse(
        "nor may what is below be given up", "ERR_AUTHZ", REVOCATION, LAPTOP, after=[given_up], target=below.id
    )
    stream.accept("who has not seen it goes on, and is not void", CLAIM, LAPTOP, after=[unseen])
    return stream.case()
