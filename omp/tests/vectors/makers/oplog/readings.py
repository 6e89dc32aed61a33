"""Vectors of what readers and peers get (oplog §6, §7): the projection of a key, a claim's why, what a peer lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omp.protocols.oplog.core.operation import CLAIM, CORRECTION, EVIDENCE, GRANT, INFERENCE, REFUTATION, REVOCATION
from omp.protocols.oplog.definition import check
from omp.rules.json_text import parse
from omp.tests.vectors.makers.oplog.making import (
    APP,
    LAPTOP,
    LOG,
    PHONE,
    ROOT,
    STRANGER,
    TS,
    Case,
    Key,
    Made,
    op_id,
    scope_of,
)
from omp.tests.vectors.makers.oplog.merges import RULE, calendar
from omp.tests.vectors.makers.oplog.stream import TRUSTING, Stream

START, END = "2024-06-01T00:00:00.000Z", "2024-07-01T00:00:00.000Z"
LATER = "2024-07-01T00:00:00.001Z"


# --- §6 ---------------------------------------------------------------------------------------------------------


def projection_cases() -> Iterator[Case]:
    """Keys with several sorts of grants, before, at and after their times."""
    stream = _read_log()
    for name, key, now in (
        ("the root sees all", ROOT, TS),
        ("a stranger sees nothing", STRANGER, TS),
        ("provenance full, one pattern", PHONE, TS),
        ("provenance none for one pattern, full for another", LAPTOP, TS),
        ("before not_before", APP, "2024-05-31T23:59:59.999Z"),
        ("at not_before", APP, START),
        ("at expires", APP, END),
        ("after expires", APP, LATER),
    ):
        yield _projected(name, stream, key, now)
    phone = next(made for made in stream.stored.values() if made.envelope["body"].get("grantee") == PHONE.id)
    stream.accept("", REVOCATION, target=phone.id)
    yield _projected("after a revocation", stream, PHONE, TS)
    writer = Stream("")
    writer.accept("", CLAIM)
    writer.accept("", GRANT, caps=["author", "delegate", "infer"])
    yield _projected("every capability but read", writer, PHONE, TS)
    narrow = Stream("")
    narrow.accept("", CLAIM)
    narrow.accept("", GRANT, caps=["read"], scope=scope_of(ops=[EVIDENCE]))
    yield _projected("scope.ops does not matter", narrow, PHONE, TS)
    void = _log_with_a_void_claim()
    yield _projected("a void claim is shown to the root", void, ROOT, TS)
    yield _projected("a void claim is shown to a reader", void, LAPTOP, TS)


def _read_log() -> Stream:
    stream = Stream("")
    evidence = stream.accept("", EVIDENCE)
    event = stream.accept("", CLAIM, derived_from=[evidence.id], method=RULE)
    place = stream.accept("", CLAIM, derived_from=[event.id], method=RULE, predicate="calendar.place", object=None)
    stream.accept("", CLAIM, predicate="health.sleep", subject="child", object=[7, {"unit": "h"}])
    stream.accept("", CORRECTION, target=place.id)
    stream.accept("", REFUTATION, target=evidence.id)
    stream.accept("", GRANT, grantee=PHONE.id, caps=["read"], scope=scope_of(predicates=["calendar.event"]))
    for patterns, provenance in ((["*"], "none"), (["calendar.*"], "full")):
        scope = scope_of(predicates=patterns, provenance=provenance)
        stream.accept("", GRANT, grantee=LAPTOP.id, caps=["author", "read"], scope=scope)
    stream.accept("", GRANT, grantee=APP.id, caps=["read"], not_before=START, expires=END)
    return stream


def _log_with_a_void_claim() -> Stream:
    stream = Stream("")
    stream.accept("", CLAIM)
    grant = stream.accept("", GRANT)
    reader = stream.accept("", GRANT, grantee=LAPTOP.id, caps=["read"])
    stream.accept("", CLAIM, PHONE, after=[reader], predicate="calendar.void")
    stream.accept("", REVOCATION, after=[reader], target=grant.id)  # the root has not seen the claim
    return stream


def _projected(name: str, stream: Stream, key: Key, now: str) -> Case:
    return {"name": name, **_set(stream), "key": key.id, "now": now, "items": _items(stream, key, now)}


def _items(stream: Stream, key: Key, now: str) -> list[dict[str, Any]]:
    """§6 over the state document, word by word."""
    report = stream.report()
    state = parse(report.document)
    active = {grant["id"] for grant in state["grants"] if grant["status"] == "active"}
    evidence = {one["id"]: one["status"] for one in state["evidence"]}
    grants = [stream.stored[grant].envelope["body"] for grant in active]
    mine = [
        grant
        for grant in grants
        if grant["grantee"] == key.id
        and "read" in grant["caps"]
        and (grant["not_before"] or "") <= now < (grant["expires"] or "~")
    ]
    claims = {claim["id"]: claim for claim in state["claims"]}
    items = []
    for operation_id in report.operations:
        if operation_id not in claims:
            continue
        body, claim = stream.stored[operation_id].envelope["body"], claims[operation_id]
        showing = [grant["scope"]["provenance"] for grant in mine if _matches(body["predicate"], grant["scope"])]
        if key is ROOT:
            showing = ["full"]
        if not showing:
            continue
        item = {
            "id": operation_id,
            **{name: body[name] for name in ("subject", "predicate", "object", "confidence_ppm")},
            "status": claim["status"],
            "tainted": claim["taint"] != [],
        }
        if "full" in showing:
            named = [source for source in body["derived_from"] if source in evidence]
            item |= {
                "method": body["method"],
                "derived_from": body["derived_from"],
                "taint": claim["taint"],
                "evidence": [
                    {"id": one, "status": evidence[one], "body": stream.stored[one].envelope["body"]} for one in named
                ],
            }
        items.append(item)
    return items


def _matches(predicate: str, scope: dict[str, Any]) -> bool:
    def fits(pattern: str) -> bool:
        if pattern.endswith(".*"):
            return predicate == pattern[:-2] or predicate.startswith(pattern[:-1])
        return pattern in ("*", predicate)

    return any(map(fits, scope["predicates"]))


def _set(stream: Stream) -> Case:
    report = stream.report()
    operations = [stream.stored[operation_id].raw.decode() for operation_id in report.operations]
    return {"class": ["replicator"], "log": LOG, "operations": operations}


# --- §7: why, missing -------------------------------------------------------------------------------------------


def why_cases() -> Iterator[Case]:
    """The derivation trees."""
    stream = calendar()
    yield _why("tainted by refuted evidence", stream, _last_claim(stream))
    yield _tainted_far_from_the_cause()
    stream = Stream("")
    claim = stream.accept("", CLAIM)
    yield _why("a direct statement", stream, claim)
    evidence = stream.accept("", EVIDENCE)
    left = stream.accept("", CLAIM, derived_from=[evidence.id], method=RULE, predicate="calendar.left")
    right = stream.accept("", CLAIM, derived_from=[evidence.id, left.id], method=RULE, predicate="calendar.right")
    top = stream.accept("", CLAIM, derived_from=[right.id, left.id], method=RULE)
    yield _why("sources met a second time are their ID", stream, top)
    stream.accept("", CORRECTION, target=top.id, replacement=claim.id)
    stream.accept("", REFUTATION, target=top.id)
    stream.accept("", CORRECTION, target=right.id)
    yield _why("refuted and corrected", stream, top)
    for kind in (CORRECTION, REFUTATION, REFUTATION, CORRECTION):
        stream.accept("", kind, target=top.id)
    yield _why("refuted and corrected more than once: changed_by is sorted by ID", stream, top)
    yield _through_an_inference_call()
    yield _down_to_what_is_void()
    yield _void_but_not_by_a_renunciation()
    yield _saved_by_another_grant()
    yield _void_by_the_revocation_of_an_ancestor()


def _tainted_far_from_the_cause() -> Case:
    stream = Stream("")
    tip = evidence = stream.accept("", EVIDENCE)
    for predicate in ("calendar.one", "calendar.two", "calendar.three"):
        tip = stream.accept("", CLAIM, derived_from=[tip.id], method=RULE, predicate=predicate)
    stream.accept("", REFUTATION, target=evidence.id)
    return _why("the cause of a taint lies three sources down", stream, tip)


def _through_an_inference_call() -> Case:
    stream = Stream("")
    evidence = stream.accept("", EVIDENCE)
    seen = stream.accept("", CLAIM, derived_from=[evidence.id], method=RULE)
    call = stream.accept("", INFERENCE, inputs=[evidence.id, seen.id])
    claim = stream.accept("", CLAIM, derived_from=[call.id], method="model:small", predicate="calendar.summary")
    return _why("through an inference call", stream, claim)


def _down_to_what_is_void() -> Case:
    """The phone's claims, one of them seen by the root before it revoked one of the phone's two grants."""
    stream = Stream("")
    stream.accept("", CLAIM)
    wide, narrow = (stream.accept("", GRANT, scope=scope_of(predicates=[one])) for one in ("*", "calendar.*"))
    seen = stream.accept("", CLAIM, PHONE)
    first = stream.accept("", REVOCATION, target=wide.id)
    second = stream.accept("", REVOCATION, target=narrow.id)
    # The phone goes on as if nothing had happened.
    unseen = stream.accept("", CLAIM, PHONE, after=[narrow], derived_from=[seen.id], method=RULE)
    stream.accept("", REVOCATION, target=wide.id)  # effective too, but it knows the claim
    claim = stream.accept("", CLAIM, derived_from=[unseen.id], method=RULE)
    return _why("down to what is void, and by what", stream, claim, {unseen.id: [first.id, second.id]})


def _void_but_not_by_a_renunciation() -> Case:
    stream = Stream("")
    stream.accept("", CLAIM)
    grant = stream.accept("", GRANT)
    renunciation = stream.accept("", REVOCATION, PHONE, after=[grant], target=grant.id)
    revocation = stream.accept("", REVOCATION, after=[renunciation], target=grant.id)
    # The phone forks: a first operation that has seen neither.  Both revocations are effective, one voids the claim.
    fork = {"prev": None, "seq": 1, "deps": [grant.id], "lc": grant.envelope["lc"] + 1}
    claim = stream.accept("", CLAIM, PHONE, at=fork)
    return _why("a renunciation voids nothing", stream, claim, {claim.id: [revocation.id]})


def _saved_by_another_grant() -> Case:
    stream = Stream("")
    stream.accept("", CLAIM)
    wide, narrow = (stream.accept("", GRANT, scope=scope_of(predicates=[one])) for one in ("*", "calendar.*"))
    claim = stream.accept("", CLAIM, PHONE, after=[narrow])
    stream.accept("", REVOCATION, after=[narrow], target=wide.id)
    return _why("one of two grants revoked: not void, and nothing changed it", stream, claim)


def _void_by_the_revocation_of_an_ancestor() -> Case:
    stream = Stream("")
    stream.accept("", CLAIM)
    top = stream.accept("", GRANT)
    low = stream.accept("", GRANT, PHONE, after=[top], parent=top.id, grantee=LAPTOP.id, max_depth=1)
    claim = stream.accept("", CLAIM, LAPTOP, after=[low])
    revocation = stream.accept("", REVOCATION, after=[low], target=top.id)  # it has seen the lower grant
    return _why("void by the revocation of an ancestor grant", stream, claim, {claim.id: [revocation.id]})


def _last_claim(stream: Stream) -> Made:
    return [made for made in stream.stored.values() if made.envelope["type"] == CLAIM][-1]


def _why(name: str, stream: Stream, claim: Made, voided_by: Mapping[str, list[str]] | None = None) -> Case:
    """`voided_by`: operation ID → the revocations that make it void."""
    state = parse(stream.report().document)
    objects = {one["id"]: one for one in (*state["claims"], *state["evidence"], *state["inferences"])}
    met: set[str] = set()

    def tree(operation_id: str) -> dict[str, Any]:
        if operation_id in met:
            return {"id": operation_id}
        met.add(operation_id)
        made, derived = stream.stored[operation_id], objects[operation_id]
        body = made.envelope["body"]
        return {
            "id": operation_id,
            "type": made.envelope["type"],
            "status": derived["status"],
            "changed_by": sorted(
                [
                    *(voided_by or {}).get(operation_id, []),
                    *derived.get("refuted_by", []),
                    *derived.get("superseded_by", []),
                ]
            ),
            "body": body,
            "sources": [tree(source) for source in body.get("derived_from", body.get("inputs", []))],
        }

    return {"name": name, **_set(stream), "claim": claim.id, "why": tree(claim.id)}


def missing_cases() -> Iterator[Case]:
    """What a caller with these heads lacks."""
    stream = Stream("")
    first = stream.accept("", CLAIM)
    grant = stream.accept("", GRANT)
    ours = stream.accept("", CLAIM, after=[grant], predicate="calendar.ours")
    theirs = stream.accept("", CLAIM, PHONE, after=[grant], predicate="calendar.theirs")
    merged = stream.accept("", CLAIM)
    fork = stream.build(
        CLAIM, PHONE, at={"prev": None, "seq": 1, "deps": [grant.id], "lc": 3}, predicate="calendar.fork"
    )
    stream.deliver("", fork, "accepted")
    unknown = op_id("unknown")
    for name, heads in (
        ("nothing yet", []),
        ("the first", [first.id]),
        ("an old head", [grant.id]),
        ("one branch", [ours.id]),
        ("the other branch", [theirs.id]),
        ("both branches", [ours.id, theirs.id]),
        ("the other side of a fork", [fork.id]),
        ("all but a fork", [merged.id]),
        ("everything", [merged.id, fork.id]),
        ("unknown IDs are ignored", [unknown, ours.id]),
        ("only unknown IDs", [unknown]),
    ):
        yield {"name": name, **_set(stream), "heads": heads, "missing": _missing(stream, heads)}


def _missing(stream: Stream, heads: Iterable[str]) -> list[str]:
    has: set[str] = set()
    reached = [head for head in heads if head in stream.stored]
    while reached:
        at = reached.pop()
        has.add(at)
        envelope = stream.stored[at].envelope
        reached += [*envelope["deps"], *([envelope["prev"]] if envelope["prev"] else [])]
    order = check((made.raw for made in stream.stored.values()), TRUSTING).operations
    return [operation_id for operation_id in order if operation_id not in has]
