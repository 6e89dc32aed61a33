"""Vectors of what an operation's members may be: schema, limits, ranges (oplog §3.2 stages 4, 5 and 6).

What does not fit goes one by one through every member and every grammar of §2; limits and ranges are tried at the
bound and one past it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from omp.protocols.oplog.core.operation import (
    BODIES,
    CLAIM,
    CORRECTION,
    ENVELOPE,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    REVOCATION,
    TYPES,
)
from omp.rules import identifiers
from omp.rules.encodings import b64u_encode
from omp.tests.vectors.makers.oplog.making import (
    LAPTOP,
    LOG,
    ROOT,
    TS,
    Case,
    body_of,
    envelope_of,
    fails,
    of_size,
    op_id,
    passes,
    resigned,
    scope_of,
    sealed,
    signature_text,
    with_body,
    wrong,
)

# --- Stage 4 ----------------------------------------------------------------------------------------------------

_OTHER_TYPES: tuple[tuple[str, Any], ...] = (("null", None), ("a number", 1), ("a string", "?"), ("true", True))


def schema_cases() -> Iterator[Case]:
    """Members, types, grammars, sortedness, duplicates."""
    for kind in TYPES:
        yield passes(f"{kind}: as it should be", sealed(envelope_of(kind), ROOT))
    yield from _envelope_cases()
    for kind in TYPES:
        yield from _body_cases(kind)
    yield from _grammar_cases()
    yield from _list_cases()
    yield from _name_cases()


def _wrong_types(value: Any, nullable: bool, texts: bool) -> Iterator[tuple[str, Any]]:
    """Values of other types than that of `value`; `texts`: any string would be of the right type."""
    for name, other in (*_OTHER_TYPES, ("an array", [1]), ("an object", {"a": 1})):
        if other is None and (nullable or value is None):
            continue
        if isinstance(other, str) and texts:
            continue
        if type(other) is not type(value) or isinstance(other, list | dict | str):
            yield name, other


def _envelope_cases() -> Iterator[Case]:
    good = envelope_of(CLAIM)
    for name in sorted(ENVELOPE.keys() - {"sig", "v"}):
        without = {other: value for other, value in good.items() if other != name}
        yield wrong(f"envelope: {name} is missing", "ERR_SCHEMA", without)
        for what, value in _wrong_types(good[name], name == "prev", False):
            yield wrong(f"envelope: {name} is {what}", "ERR_SCHEMA", {**good, name: value})
    raw = sealed(good, ROOT)
    unsigned = raw.raw.replace(raw.raw[raw.raw.index(b',"sig"') : raw.raw.index(b',"ts"')], b"")
    yield fails("envelope: sig is missing", "ERR_SCHEMA", unsigned, raw.id)
    for name, value in (
        ("null", b"null"),
        ("empty", b'""'),
        ("a number", b"1"),
        ("85 characters", b'"%s"' % (b"A" * 85)),
    ):
        yield fails(f"envelope: sig is {name}", "ERR_SCHEMA", resigned(raw, value), raw.id)
    yield fails("envelope: sig with padding", "ERR_SCHEMA", resigned(raw, b'"%s=="' % signature_text(raw)), raw.id)
    yield fails("envelope: unused bits of sig are set", "ERR_SCHEMA", resigned(raw, b'"%sB"' % (b"A" * 85)), raw.id)
    yield fails("envelope: sig in base64 proper", "ERR_SCHEMA", resigned(raw, b'"%s+A"' % (b"A" * 84)), raw.id)
    yield wrong("envelope: a member that is not known", "ERR_SCHEMA", {**good, "note": "hello"})
    yield wrong("envelope: a type that is not known", "ERR_SCHEMA", {**good, "type": "claim-retract"})
    yield wrong("envelope: a type in capitals", "ERR_SCHEMA", {**good, "type": "Claim-Assert"})
    first, second = op_id("x"), op_id("y")
    yield wrong("envelope: a dep twice", "ERR_SCHEMA", envelope_of(CLAIM, deps=[first, second, first]))
    both = envelope_of(CLAIM, seq=2, prev=first, deps=[second, first])
    yield wrong("envelope: a dep is prev", "ERR_SCHEMA", both)
    unsorted = envelope_of(CLAIM, seq=2, deps=sorted([first, second], reverse=True), prev=op_id("z"))
    yield passes("envelope: deps in any order", sealed(unsorted, ROOT))


def _body_cases(kind: str) -> Iterator[Case]:
    good = body_of(kind)
    for name, grammar in BODIES[kind].items():
        without = {other: value for other, value in good.items() if other != name}
        yield wrong(f"{kind}: {name} is missing", "ERR_SCHEMA", envelope_of(kind, body=without))
        for what, value in _wrong_types(good[name], grammar.accepts(None), grammar.accepts("?")):
            if not grammar.accepts(value):
                yield wrong(f"{kind}: {name} is {what}", "ERR_SCHEMA", with_body(kind, **{name: value}))
    yield wrong(f"{kind}: a member that is not known", "ERR_SCHEMA", with_body(kind, note="hello"))


_B64U = "A" * 42
_HEX = "0" * 64


def _grammar_cases() -> Iterator[Case]:
    """(kind, member, what fits, what does not) for every grammar; what does not fit goes through each."""
    accepted: dict[tuple[str, str], Iterable[Any]] = {
        (EVIDENCE, "media_type"): ("a/b", "application/vnd.x-y+json", "A0!#$&-^_.+/B!#$&-^_.+"),
        (EVIDENCE, "source"): ("calendar", "a:b-c.d_e:9", "-", ":"),
        (EVIDENCE, "observed_at"): (None, TS, "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"),
        (CLAIM, "subject"): ("x", " ", "家族"),
        (CLAIM, "predicate"): ("a", "a.b.c", "_", "0.9_", "__.__"),
        (CLAIM, "object"): (None, True, 0, -1, "", [], {}, {"a": [None]}, {"__proto__": {"a": 1}, "b": 2}),
        (CLAIM, "method"): ("user:", "user:typed by hand"),
        (CORRECTION, "replacement"): (None, op_id("another claim")),
        (CORRECTION, "reason"): ("", "\n"),
        (REFUTATION, "reason"): ("",),
        (REVOCATION, "reason"): ("",),
        (GRANT, "caps"): (["author"], ["delegate", "read"]),
        (GRANT, "parent"): (None, op_id("a grant")),
        (INFERENCE, "grant"): (None, op_id("a grant")),
        (INFERENCE, "output"): (None, identifiers.evidence_id(b"out")),
    }
    refused: dict[tuple[str, str], Iterable[Any]] = {
        (EVIDENCE, "evidence"): (
            op_id("x"), f"omp:ev:sha256:{_HEX[:-1]}", f"omp:ev:sha256:{_HEX}0", f"omp:ev:sha256:{'A' * 64}",
            f"omp:ev:sha256:{_HEX}\n", f"omp:ev:sha512:{_HEX}", _HEX,
        ),
        (EVIDENCE, "media_type"): (
            "", "text", "text/", "/calendar", "text/a/b", "text/calendar; charset=utf-8", "text /calendar", ".a/b",
            "a/+b",
            "text/calendar\n", "té/x",
        ),
        (EVIDENCE, "source"): ("", "Calendar", "a b", "a/b", "é", "calendar:ics\n", "١"),
        (EVIDENCE, "observed_at"): (
            "", "2024-05-17", "2024-05-17T09:30:00Z", "2024-05-17T09:30:00.00Z", "2024-05-17T09:30:00.0000Z",
            "2024-05-17 09:30:00.000Z", "2024-05-17t09:30:00.000z", "2024-05-17T09:30:00.000+00:00",
            "2024-05-17T09:30:00,000Z", "2024-05-17T09:30:60.000Z", "2016-12-31T23:59:60.000Z",
            "2024-05-17T24:00:00.000Z", "2024-05-17T09:60:00.000Z", "2024-02-30T00:00:00.000Z",
            "2023-02-29T00:00:00.000Z", "1900-02-29T00:00:00.000Z", "2024-00-17T09:30:00.000Z",
            "2024-13-17T09:30:00.000Z", "2024-05-00T09:30:00.000Z", "2024-05-32T09:30:00.000Z",
            "2024-04-31T09:30:00.000Z", "0000-05-17T09:30:00.000Z", "+2024-05-17T09:30:00.000Z", f"{TS}\n", f" {TS}",
            "2024-05-17T09:30:00.00٠Z",
        ),
        (CLAIM, "subject"): ("",),
        (CLAIM, "predicate"): (
            "", ".", "a.", ".a", "a..b", "A", "a-b", "a b", "a:b", "calendar.*", "*", "é", "a\n", "a.b\n", "٣",
        ),
        (CLAIM, "method"): ("",),
        (CLAIM, "object"): ({"A": 1}, {"": 1}, {"a-b": 1}, {"a": [{"é": 1}]}, {"a\n": 1}, {"a.b": 1}),
        (CLAIM, "derived_from"): ([TS], [None], [_HEX], [f"omp:op:sha256:{'A' * 64}"]),
        (CORRECTION, "target"): ("", _HEX, identifiers.evidence_id(b""), f"omp:op:sha256:{_HEX}\n", "omp:op:sha256:"),
        (GRANT, "grantee"): (
            LOG, f"omp:key:ed25519:{_B64U}", f"omp:key:ed25519:{_B64U}AA", f"omp:key:ed25519:{_B64U}B",
            f"omp:key:ed25519:{_B64U}A=", f"omp:key:ed25519:{_B64U[:-1]}+A", f"omp:key:ed25519:{_B64U}A\n",
            f"omp:key:Ed25519:{_B64U}A", f"omp:key:x25519:{_B64U}A",
        ),
        (GRANT, "scope"): (
            {"predicates": ["*"]}, {"provenance": "full"}, scope_of(provenance="all"), scope_of(provenance=None),
            scope_of(ops=None), scope_of(x_note=1), scope_of(note=1),
            scope_of(__proto__=1), scope_of(predicates="*"),
            scope_of(predicates=[None]),
            *(
                scope_of(predicates=[pattern])
                for pattern in ("", "**", "*.a", "a*", "a.*.b", ".*", "a.**", "A.*", "a.*\n")
            ),
        ),
        (INFERENCE, "purpose"): ("",),
        (INFERENCE, "model"): ("",),
        (INFERENCE, "output"): (op_id("x"), ""),
    }  # fmt: skip
    for (kind, name), values in accepted.items():
        for value in values:
            shown = json.dumps(value, ensure_ascii=False)
            yield passes(f"{kind}: {name} may be {shown}", sealed(with_body(kind, **{name: value}), ROOT))
    for (kind, name), values in refused.items():
        for value in values:
            shown = json.dumps(value, ensure_ascii=False)
            yield wrong(f"{kind}: {name} must not be {shown}", "ERR_SCHEMA", with_body(kind, **{name: value}))
    yield passes(
        "permission-grant: patterns of all three forms",
        sealed(with_body(GRANT, scope=scope_of(predicates=["*", "a", "a.*", "a.b", "a.b.*"])), ROOT),
    )
    for name, value in (("author", LOG), ("log", ROOT.id)):
        yield wrong(f"envelope: {name} must not be {value}", "ERR_SCHEMA", {**envelope_of(CLAIM), name: value})
    for value in ("2024-05-17T09:30:00Z", "2023-02-29T00:00:00.000Z", "", f"{TS}\n"):
        yield wrong(f"envelope: ts must not be {json.dumps(value)}", "ERR_SCHEMA", envelope_of(CLAIM, ts=value))
    leap = envelope_of(CLAIM, ts="2000-02-29T23:59:59.999Z")
    yield passes("envelope: ts may be 29 February 2000", sealed(leap, ROOT))


def _list_cases() -> Iterator[Case]:
    """Empty, unsorted, twice the same; provenance is mandatory."""
    one, two = sorted((op_id("x"), op_id("y")))
    faults: tuple[tuple[str, str, str, Any], ...] = (
        ("derived_from: twice the same", CLAIM, "derived_from", [one, two, one]),
        ("inputs: empty", INFERENCE, "inputs", []),
        ("inputs: twice the same", INFERENCE, "inputs", [one, one]),
        ("caps: empty", GRANT, "caps", []),
        ("caps: not sorted", GRANT, "caps", ["read", "author"]),
        ("caps: twice the same", GRANT, "caps", ["author", "author"]),
        ("caps: an unknown one", GRANT, "caps", ["author", "write"]),
        ("predicates: empty", GRANT, "scope", scope_of(predicates=[])),
        ("predicates: not sorted", GRANT, "scope", scope_of(predicates=["b", "a"])),
        ("predicates: sorted as if . came after letters", GRANT, "scope", scope_of(predicates=["ab", "a.b"])),
        ("predicates: twice the same", GRANT, "scope", scope_of(predicates=["a", "a"])),
        ("ops: empty", GRANT, "scope", scope_of(ops=[])),
        ("ops: not sorted", GRANT, "scope", scope_of(ops=[EVIDENCE, CLAIM])),
        ("ops: twice the same", GRANT, "scope", scope_of(ops=[CLAIM, CLAIM])),
        ("ops: an unknown type", GRANT, "scope", scope_of(ops=["claim"])),
    )
    for name, kind, member, value in faults:
        yield wrong(name, "ERR_SCHEMA", with_body(kind, **{member: value}))
    for name, kind, member, value in (
        ("derived_from: in any order", CLAIM, "derived_from", [two, one]),
        ("inputs: in any order", INFERENCE, "inputs", [two, one]),
        ("ops: all seven", GRANT, "scope", scope_of(ops=sorted(TYPES))),
    ):
        yield passes(name, sealed(with_body(kind, **{member: value}), ROOT))
    for method in ("rule:recurring-event/1", "user", "User:typed", " user:typed"):
        without = with_body(CLAIM, method=method)
        yield wrong(f"derived_from is empty and method is {method!r}", "ERR_SCHEMA", without)
    derived = with_body(CLAIM, method="rule:recurring-event/1", derived_from=[one])
    yield passes("derived_from is not empty, any method", sealed(derived, ROOT))
    stated = with_body(CLAIM, method="user:typed", derived_from=[one])
    yield passes("derived_from is not empty, a direct statement", sealed(stated, ROOT))


def _name_cases() -> Iterator[Case]:
    """Extensions, and the names in them."""
    good = envelope_of(CLAIM)
    for name in ("x_note", "x_0", "x__", "x_x_x"):
        yield passes(f"extension {name} in the envelope", sealed({**good, name: {"a": [1]}}, ROOT))
        yield passes(f"extension {name} in the body", sealed(with_body(CLAIM, **{name: None}), ROOT))
    for name in ("x_", "x", "X_note", "x-note", "x_Note", "x_é", "x_note\n", "_x_note", "", "__proto__"):
        yield wrong(f"no extension: {name!r} in the envelope", "ERR_SCHEMA", {**good, name: 1})
        yield wrong(f"no extension: {name!r} in the body", "ERR_SCHEMA", with_body(CLAIM, **{name: 1}))
    for value in ({"A": 1}, [[{"a b": 1}]]):
        shown = json.dumps(value)
        yield wrong(f"a name inside an extension: {shown}", "ERR_SCHEMA", {**good, "x_note": value})
        yield wrong(f"a name inside an extension of the body: {shown}", "ERR_SCHEMA", with_body(CLAIM, x_note=value))


# --- Stages 5 and 6 ---------------------------------------------------------------------------------------------


def limit_cases() -> Iterator[Case]:
    """Every limit of §1.5, at the bound and one past it."""
    for name, within, beyond in _limits():
        yield passes(f"{name}: at the bound", sealed(within, ROOT))
        yield wrong(f"{name}: one past it", "ERR_LIMIT", beyond)
    yield wrong(
        "schema before limit: too long, and a member missing",
        "ERR_SCHEMA",
        with_body(REVOCATION, reason="x" * 1025, note=1),
    )
    yield wrong(
        "schema before limit: an operation of 70,000 bytes, and a member that is not known",
        "ERR_SCHEMA",
        {**of_size(70_000), "note": 1},
    )
    yield wrong(
        "limit before range: too long, and out of range",
        "ERR_LIMIT",
        with_body(CLAIM, subject="x" * 257, confidence_ppm=-1),
    )


def _ids(count: int) -> list[str]:
    return [op_id(f"no. {number}") for number in range(count)]


def _limits() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, envelope at the bound, envelope one past it)."""
    yield "an operation of 65,536 bytes", of_size(65_536), of_size(65_537)
    yield "64 deps", envelope_of(CLAIM, deps=_ids(64)), envelope_of(CLAIM, deps=_ids(65))
    lists: tuple[tuple[str, str, int], ...] = ((CLAIM, "derived_from", 256), (INFERENCE, "inputs", 512))
    for kind, name, bound in lists:
        within, beyond = (with_body(kind, **{name: _ids(number)}) for number in (bound, bound + 1))
        yield f"{bound} {name}", within, beyond
    texts: tuple[tuple[str, str, int, str, str], ...] = (
        (EVIDENCE, "media_type", 127, "a/", "b"),
        (EVIDENCE, "source", 128, "", "s"),
        (CLAIM, "predicate", 128, "a.", "b"),
        (CLAIM, "subject", 256, "", "s"),
        (CLAIM, "subject", 256, "", "𝄞"),
        (CLAIM, "subject", 256, "", "\u0301"),
        (CLAIM, "method", 128, "user:", "é"),
        (CORRECTION, "reason", 1024, "", "r"),
        (REFUTATION, "reason", 1024, "", "é"),
        (REVOCATION, "reason", 1024, "", "\n"),
        (INFERENCE, "model", 256, "", "m"),
        (INFERENCE, "purpose", 1024, "", "家"),
    )
    for kind, name, bound, start, letter in texts:
        within, beyond = (
            with_body(kind, **{name: start + letter * (length - len(start))}) for length in (bound, bound + 1)
        )
        yield f"{kind}, {name}: {bound} characters ({json.dumps(letter)})", within, beyond
    patterns = [f"p{number:03}" for number in range(65)]
    yield (
        "64 predicates in a scope",
        with_body(GRANT, scope=scope_of(predicates=patterns[:64])),
        with_body(GRANT, scope=scope_of(predicates=patterns)),
    )
    for form, ending in (("a prefix", ".*"), ("a predicate", "")):
        within, beyond = (
            with_body(GRANT, scope=scope_of(predicates=["a", "p" * (length - len(ending)) + ending]))
            for length in (130, 131)
        )
        yield f"a pattern of 130 characters, {form}", within, beyond
    for what, letter in (("ASCII", "x"), ("two bytes each", "é"), ("escaped", "\n")):
        size = len(json.dumps(letter, ensure_ascii=False).encode()) - 2
        full, rest = divmod(16_384 - 2, size)
        text = letter * full + "x" * rest
        yield f"an object of 16,384 bytes, {what}", with_body(CLAIM, object=text), with_body(CLAIM, object=text + "x")


def range_cases() -> Iterator[Case]:
    """Every range, at its bounds and one past them."""
    most = 2**53 - 1
    body: tuple[tuple[str, str, tuple[int, ...], tuple[int, ...]], ...] = (
        (CLAIM, "confidence_ppm", (0, 1, 1_000_000), (-1, 1_000_001, most, -most)),
        (GRANT, "max_depth", (0, 8), (-1, 9, most)),
        (EVIDENCE, "size", (0, 1, most), (-1, -most)),
    )
    for kind, name, within, beyond in body:
        for value in within:
            yield passes(f"{name} may be {value}", sealed(with_body(kind, **{name: value}), ROOT))
        for value in beyond:
            yield wrong(f"{name} must not be {value}", "ERR_RANGE", with_body(kind, **{name: value}))
    for name in ("seq", "lc"):
        for value in (1, 2, most):
            yield passes(f"{name} may be {value}", sealed({**envelope_of(CLAIM), name: value}, ROOT))
        for value in (0, -1, -most):
            yield wrong(f"{name} must not be {value}", "ERR_RANGE", {**envelope_of(CLAIM), name: value})
    signed = sealed(with_body(CLAIM, confidence_ppm=-1), ROOT)
    other = resigned(signed, b'"%s"' % b64u_encode(LAPTOP.sign(b"")).encode())
    yield fails("range before signature: out of range, and signed by somebody else", "ERR_RANGE", other, signed.id)
