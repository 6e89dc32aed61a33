"""What the vectors of the operation log are made with: keys from names, envelopes, signatures, cases.

Nothing is checked here, so that operations can be made that no producer makes.  Everything is signed by hand
(:func:`omp.rules.ed25519.sign_slowly`): the same bytes on every interpreter, with or without ``cryptography``.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple

from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    REVOCATION,
    VERSION,
    preimage,
)
from omp.protocols.oplog.core.producer import signed
from omp.protocols.oplog.core.verify import STAGES
from omp.rules import ed25519, identifiers

Case = dict[str, Any]
TS = "2024-05-17T09:30:00.000Z"
NUMBER_OF = {stage.code: stage.number for stage in STAGES}
_GIVES_NO_ID = 3  # stages 1 to 3: there is no preimage to hash


class Key:
    """A key whose seed is the SHA-256 of ``omp vectors: `` and its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seed = sha256(f"omp vectors: {name}".encode()).digest()

    @cached_property
    def public_key(self) -> bytes:
        return ed25519.public_key_slowly(self.seed)

    @cached_property
    def id(self) -> str:
        return identifiers.key_id(self.public_key)

    def sign(self, message: bytes, /) -> bytes:
        return ed25519.sign_slowly(self.seed, message)


ROOT, PHONE, LAPTOP, APP, STRANGER = map(Key, ("root", "phone", "laptop", "app", "stranger"))
LOG = identifiers.identity_id(ROOT.public_key)


class Made(NamedTuple):
    """An operation: its exact bytes, its ID, its members."""

    raw: bytes
    id: str
    envelope: Mapping[str, Any]


def sealed(envelope: dict[str, Any], by: Key) -> Made:
    """The operation that `by` makes of an envelope without ``sig``."""
    return Made(signed(envelope, by), identifiers.operation_id(preimage(envelope)), envelope)


def op_id(text: str) -> str:
    """The ID of an operation that exists nowhere."""
    return identifiers.operation_id(text.encode())


def body_of(kind: str, **members: Any) -> dict[str, Any]:
    """A body of this type that fits, with `members` put in."""
    bodies: dict[str, dict[str, Any]] = {
        EVIDENCE: {
            "evidence": identifiers.evidence_id(b"BEGIN:VEVENT"),
            "media_type": "text/calendar",
            "size": 12,
            "source": "calendar:ics",
            "observed_at": None,
        },
        CLAIM: {
            "subject": "self",
            "predicate": "calendar.event",
            "object": {"title": "Dentist"},
            "confidence_ppm": 900_000,
            "derived_from": [],
            "method": "user:typed",
        },
        CORRECTION: {"target": op_id("a claim"), "replacement": None, "reason": "moved"},
        REFUTATION: {"target": op_id("a claim"), "reason": "wrong"},
        GRANT: {
            "grantee": PHONE.id,
            "caps": ["author", "delegate", "infer", "read"],
            "scope": {"predicates": ["*"], "provenance": "full"},
            "parent": None,
            "max_depth": 8,
            "not_before": None,
            "expires": None,
        },
        REVOCATION: {"target": op_id("a grant"), "reason": "lost"},
        INFERENCE: {
            "purpose": "summary",
            "model": "small-1",
            "inputs": [op_id("a claim")],
            "grant": None,
            "output": None,
        },
    }
    return {**bodies[kind], **members}


def envelope_of(kind: str, author: Key = ROOT, **members: Any) -> dict[str, Any]:
    """An envelope without ``sig`` that fits, the first of its author, with `members` put in."""
    return {
        "author": author.id,
        "body": body_of(kind),
        "deps": [],
        "lc": 1,
        "log": LOG,
        "prev": None,
        "seq": 1,
        "ts": TS,
        "type": kind,
        "v": VERSION,
        **members,
    }


def written(raw: bytes) -> Case:
    """Exact bytes as a member of a case: ``operation`` where they are UTF-8, else ``operation_base64``."""
    try:
        return {"operation": raw.decode()}
    except UnicodeDecodeError:
        return {"operation_base64": b64encode(raw).decode()}


def passes(name: str, made: Made) -> Case:
    """An operation that stages 1 to 7 let through."""
    return {"name": name, "class": ["producer", "verifier"], **written(made.raw), "outcome": "ok", "id": made.id}


def fails(name: str, code: str, raw: bytes, operation_id: str | None = None) -> Case:
    """Bytes that one of the stages 1 to 7 refuses."""
    stage = NUMBER_OF[code]
    shown = operation_id if stage > _GIVES_NO_ID else None
    return {"name": name, "class": ["verifier"], **written(raw), "outcome": code, "stage": stage, "id": shown}


def wrong(name: str, code: str, envelope: dict[str, Any], by: Key = ROOT) -> Case:
    """An envelope that one of the stages 3 to 6 refuses, signed as it stands."""
    made = sealed(envelope, by)
    return fails(name, code, made.raw, made.id)


def with_body(kind: str, **members: Any) -> dict[str, Any]:
    """An envelope whose body has `members` put in."""
    return envelope_of(kind, body=body_of(kind, **members))


def of_size(size: int) -> dict[str, Any]:
    """An envelope whose operation has `size` bytes."""
    empty = len(sealed(envelope_of(CLAIM, x_pad=""), ROOT).raw)
    return envelope_of(CLAIM, x_pad="x" * (size - empty))


def scope_of(**members: Any) -> dict[str, Any]:
    """A scope that fits, with `members` put in."""
    return {"predicates": ["*"], "provenance": "full", **members}


def signature_text(made: Made) -> bytes:
    """The 86 characters of ``sig``."""
    start = made.raw.index(b'"sig":"') + 7
    return made.raw[start : start + 86]


def resigned(made: Made, value: bytes) -> bytes:
    """The bytes of an operation with `value`, JSON text, for ``sig``."""
    return made.raw.replace(b'"%s"' % signature_text(made), value)


def document(kind: str, description: str, sections: str, cases: Iterable[Case]) -> dict[str, Any]:
    """A vector file."""
    return {
        "kind": f"oplog/{kind}",
        "description": description,
        "spec": f"oplog {sections}",
        "cases": list(cases),
    }
