"""The subcommands of ``python -m omp log`` that append: each makes one operation and prints its ID.

An operation has passed the verifier before it is written, so other nodes accept it too.
"""

from __future__ import annotations

import argparse
import mimetypes
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, INFERENCE, Operation
from omp.protocols.oplog.core.producer import Producer
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.verify import OperationRefused
from omp.rules.engines import best_engine
from omp.rules.identifiers import EVIDENCE_ID, IDENTITY_ID, evidence_id
from omp.rules.json_text import JsonError, parse
from omp.tools.log.files import LogKey, log_in, make_key, opened, read_key
from omp.tools.log.selecting import find, key_path
from omp.tools.terminal import Failed, contents, give, note


def _now() -> str:
    """The time as a timestamp of oplog §1.3."""
    now = datetime.now(UTC)
    return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"


class _Desk(NamedTuple):
    """What a subcommand writes with: the key, the log, and the producer of its operations."""

    key: LogKey
    replica: Replica
    producer: Producer

    def id(self, text: str, *kinds: str) -> str:
        """The ID of the operation that `text` names."""
        return find(self.replica, text, *kinds).id

    def under_a_grant(self, given: str | None, capability: str, make: Callable[[str | None], Operation]) -> Operation:
        """What `make` returns for a grant's ID: for the `given` one, or the first of this key's grants that will do.

        The root needs no grant: `make` gets None.
        """
        if self.key.is_root or given is not None:
            return make(self.id(given, GRANT) if given is not None else None)
        refusal: OperationRefused | None = None
        for grant in self.replica.grants_in_force(self.key.id, capability, _now()):
            try:
                return make(grant.id)
            except OperationRefused as error:
                refusal = error
        raise refusal or Failed(f"This key has no grant in force that lets it {capability}.")


def _append(args: argparse.Namespace, make: Callable[[_Desk, str], Operation]) -> None:
    """Make an operation on the current heads, store it in the file, and print its ID."""
    key = read_key(key_path(args))
    with opened(args.log, key.log, write=True) as local:
        desk = _Desk(key, local.replica, Producer(local.replica, key, best_engine()))
        try:
            operation = make(desk, _now())
        except OperationRefused as refusal:
            raise Failed(f"It would be refused ({refusal.code}): {refusal.message}.") from None
        local.append(local.replica.admit(operation).stored)
    give(args.json, {"id": operation.id}, [operation.id])


def init(args: argparse.Namespace) -> None:
    """Make a key: the root key of a new log, or a device's key for an existing log."""
    path = key_path(args)
    if args.device_of is not None and not IDENTITY_ID.fullmatch(args.device_of):
        raise Failed("--device-of must be the ID of a log, omp:id:ed25519:…")
    there = log_in(args.log)
    if there is not None and there != args.device_of:
        raise Failed(f"{args.log} holds a log already, {there}; --device-of makes another key for it.")
    key = make_key(path, args.device_of)
    if key.is_root:
        note(f"new log, its root key in {path}")
    else:
        note(f"new key in {path}; `grant` it what it may do")
    give(args.json, {"log": key.log, "key": key.id}, [key.log if key.is_root else key.id])


def grant(args: argparse.Namespace) -> None:
    """Let another key write to the log, or read from it."""

    def make(desk: _Desk, ts: str) -> Operation:
        return desk.under_a_grant(
            args.parent,
            "delegate",
            lambda parent: desk.producer.permission_grant(
                ts,
                grantee=args.grantee,
                caps=_words(args.caps),
                predicates=_words(args.predicates),
                provenance=args.provenance,
                ops=_words(args.ops) if args.ops is not None else None,
                parent=parent,
                max_depth=args.max_depth,
                not_before=args.not_before,
                expires=args.expires,
            ),
        )

    _append(args, make)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]


def ingest(args: argparse.Namespace) -> None:
    """Register a file as evidence, by its hash; its content stays outside the log."""
    data = contents(args.file)
    media_type = args.media_type or _media_type(args.file)

    def make(desk: _Desk, ts: str) -> Operation:
        return desk.producer.evidence_ingest(
            ts,
            evidence=evidence_id(data),
            media_type=media_type,
            size=len(data),
            source=args.source,
            observed_at=args.observed_at,
        )

    _append(args, make)


def _media_type(name: str) -> str:
    """The media type by the name of a file."""
    media_type, encoding = mimetypes.guess_type(name)
    # For a compressed file the guess is the type of what is inside; the bytes that are hashed are not of that type.
    return media_type if media_type is not None and encoding is None else "application/octet-stream"


def claim(args: argparse.Namespace) -> None:
    """Assert a claim: a predicate and its object, stated directly or derived from other operations."""
    value = _object(args.object)

    def make(desk: _Desk, ts: str) -> Operation:
        return desk.producer.claim_assert(
            ts,
            subject=args.subject,
            predicate=args.predicate,
            object=value,
            confidence_ppm=args.confidence,
            method=args.method,
            derived_from=[desk.id(source, EVIDENCE, CLAIM, INFERENCE) for source in args.derived_from],
        )

    _append(args, make)


def _object(text: str) -> Any:
    """The JSON value in `text`; text that is not JSON is a string, unless it begins as an object, array or string."""
    try:
        return parse(text.encode())
    except (JsonError, UnicodeEncodeError) as error:
        if text.lstrip()[:1] in ("{", "[", '"'):
            raise Failed(f"The object begins like JSON but cannot be read: {error}.") from None
        return text


def correct(args: argparse.Namespace) -> None:
    """Supersede a claim, by another claim or by none."""

    def make(desk: _Desk, ts: str) -> Operation:
        replacement = desk.id(args.by, CLAIM) if args.by is not None else None
        return desk.producer.correction(
            ts, target=desk.id(args.claim, CLAIM), replacement=replacement, reason=args.reason
        )

    _append(args, make)


def refute(args: argparse.Namespace) -> None:
    """Mark a claim or evidence as false: what is derived from it is tainted."""
    _append(
        args,
        lambda desk, ts: desk.producer.refutation(ts, target=desk.id(args.target, CLAIM, EVIDENCE), reason=args.reason),
    )


def revoke(args: argparse.Namespace) -> None:
    """Revoke a grant, or give up one of your own."""
    _append(args, lambda desk, ts: desk.producer.revocation(ts, target=desk.id(args.grant, GRANT), reason=args.reason))


def infer(args: argparse.Namespace) -> None:
    """Record that a model was called on claims or evidence."""
    output = args.output
    if output is not None and not EVIDENCE_ID.fullmatch(output):
        output = evidence_id(contents(output))

    def make(desk: _Desk, ts: str) -> Operation:
        inputs = [desk.id(one, CLAIM, EVIDENCE) for one in args.inputs]
        return desk.under_a_grant(
            args.grant,
            "infer",
            lambda under: desk.producer.inference_call(
                ts, purpose=args.purpose, model=args.model, inputs=inputs, grant=under, output=output
            ),
        )

    _append(args, make)
