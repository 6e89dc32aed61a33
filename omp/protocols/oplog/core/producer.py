"""The producer: builds, canonicalizes and signs operations of one key (oplog §1.4, §2; conformance class Producer).

It fills in what follows from the log: ``seq`` and ``prev`` from the key's own chain, ``deps`` with the current heads,
``lc`` with the greatest clock among them + 1 (§2.1).  It sorts the lists that §2.2 wants sorted.  Before it returns an
operation it runs the verifier on its bytes, all twelve stages.  So it cannot produce what others would refuse; what
they would refuse is raised as the verifier's own :class:`OperationRefused`.

What is produced is not in the log yet: the caller admits it (:meth:`Replica.admit`) and sends its ``raw`` bytes to
others.  Time is an argument: `ts`, a timestamp of §1.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from omp.protocols.oplog.core.causality import in_past
from omp.protocols.oplog.core.entries import Entry, total_order
from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    REVOCATION,
    VERSION,
    Operation,
    preimage,
)
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.state import status_of
from omp.protocols.oplog.core.verify import OperationMalformed, check_bytes, judge
from omp.rules import canonical, identifiers
from omp.rules.encodings import b64u_encode
from omp.rules.engines import Engine

_MAX_DEPS = 64  # §1.5


class Signer(Protocol):
    """A secret key: `public_key` is 32 bytes, `sign` returns the 64-byte Ed25519 signature of a message.

    For a real key, ``LogKey`` in ``omp/tools/log/files.py`` is one: a seed in a file, signing with ``cryptography``.
    """

    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes, /) -> bytes: ...


class Producer:
    """Makes operations by `signer` in the log that `replica` holds; `engine` verifies them."""

    def __init__(self, replica: Replica, signer: Signer, engine: Engine) -> None:
        self.key = identifiers.key_id(signer.public_key)
        self._replica = replica
        self._signer = signer
        self._engine = engine

    def produce(self, kind: str, body: dict[str, Any], ts: str, extensions: dict[str, Any] | None = None) -> Operation:
        """The next operation of this key: of type `kind`, with this `body`; `extensions` are ``x_…`` members.

        Raises :class:`OperationRefused` if a verifier would refuse it.
        """
        prev = self._last()
        deps = self._deps(prev, body)
        lc = max((entry.lc for entry in (prev, *deps) if entry is not None), default=0) + 1
        envelope = {
            **(extensions or {}),
            "author": self.key,
            "body": body,
            "deps": sorted(entry.id for entry in deps),
            "lc": lc,
            "log": self._replica.log,
            "prev": prev.id if prev is not None else None,
            "seq": prev.seq + 1 if prev is not None else 1,
            "ts": ts,
            "type": kind,
            "v": VERSION,
        }
        operation = check_bytes(signed(envelope, self._signer), self._engine, self._replica.log)
        judge(operation, self._replica)
        return operation

    def _last(self) -> Entry | None:
        """The end of this key's chain; if the key has forked, of the longest one."""
        ends = [chain.entries[-1] for chain in self._replica.author(self.key).chains]
        return max(ends, key=lambda entry: (entry.seq, total_order(entry)), default=None)

    def _deps(self, prev: Entry | None, body: dict[str, Any]) -> list[Entry]:
        """The heads without `prev`; if there are more than §1.5 allows, those that matter most.

        First the heads that bring the operations named in `body` into the past, then those that bring this key's own
        grants.  An author who forks can make any number of heads, and must not be able to crowd these out.
        """
        if prev is None and self._replica.is_root(self.key):
            return []  # §4: the root's first operation begins the log
        heads = [entry for entry in map(self._replica.entry, self._replica.heads()) if entry is not None]
        heads = sorted((head for head in heads if head is not prev), key=total_order, reverse=True)
        if len(heads) <= _MAX_DEPS:
            return heads
        named = [entry for entry in map(self._replica.entry, _strings_in(body)) if entry is not None]
        named += [grant for grant in self._replica.author(self.key).grants if status_of(grant) == "active"]
        bringing = [
            next(head for head in heads if head is entry or in_past(entry, head))
            for entry in named
            if prev is None or not (entry is prev or in_past(entry, prev))
        ]
        return list(dict.fromkeys([*bringing, *heads]))[:_MAX_DEPS]

    # --- The seven types of §2.2

    def evidence_ingest(
        self, ts: str, *, evidence: str, media_type: str, size: int, source: str, observed_at: str | None = None
    ) -> Operation:
        """Register evidence by the hash of its raw bytes (:func:`identifiers.evidence_id`); `size` in bytes."""
        body = {
            "evidence": evidence, "media_type": media_type, "size": size, "source": source, "observed_at": observed_at,
        }  # fmt: skip
        return self.produce(EVIDENCE, body, ts)

    def claim_assert(
        self,
        ts: str,
        *,
        subject: str,
        predicate: str,
        object: Any,  # noqa: A002  # the document's name
        confidence_ppm: int,
        method: str,
        derived_from: Iterable[str] = (),
    ) -> Operation:
        """Assert a claim; `confidence_ppm` is in parts per million.  Only ``user:`` methods need no `derived_from`."""
        body = {
            "subject": subject, "predicate": predicate, "object": object, "confidence_ppm": confidence_ppm,
            "method": method, "derived_from": list(derived_from),
        }  # fmt: skip
        return self.produce(CLAIM, body, ts)

    def correction(self, ts: str, *, target: str, replacement: str | None = None, reason: str = "") -> Operation:
        """Supersede the claim `target`, by the claim `replacement` or by none."""
        return self.produce(CORRECTION, {"target": target, "replacement": replacement, "reason": reason}, ts)

    def refutation(self, ts: str, *, target: str, reason: str = "") -> Operation:
        """Mark the claim or evidence-ingest `target` as false."""
        return self.produce(REFUTATION, {"target": target, "reason": reason}, ts)

    def permission_grant(
        self,
        ts: str,
        *,
        grantee: str,
        caps: Iterable[str],
        predicates: Iterable[str],
        provenance: str = "none",
        ops: Iterable[str] | None = None,
        parent: str | None = None,
        max_depth: int = 0,
        not_before: str | None = None,
        expires: str | None = None,
    ) -> Operation:
        """Grant `caps` over a scope to the key ID `grantee`, under the grant `parent` (None for the root)."""
        scope: dict[str, Any] = {"predicates": sorted(set(predicates)), "provenance": provenance}
        if ops is not None:
            scope["ops"] = sorted(set(ops))
        body = {
            "grantee": grantee, "caps": sorted(set(caps)), "scope": scope, "parent": parent, "max_depth": max_depth,
            "not_before": not_before, "expires": expires,
        }  # fmt: skip
        return self.produce(GRANT, body, ts)

    def revocation(self, ts: str, *, target: str, reason: str = "") -> Operation:
        """Revoke the grant `target`."""
        return self.produce(REVOCATION, {"target": target, "reason": reason}, ts)

    def inference_call(
        self,
        ts: str,
        *,
        purpose: str,
        model: str,
        inputs: Iterable[str],
        grant: str | None = None,
        output: str | None = None,
    ) -> Operation:
        """Record that `model` was called on `inputs`; `grant` is the grant that allows it, None for the root."""
        body = {"purpose": purpose, "model": model, "inputs": list(inputs), "grant": grant, "output": output}
        return self.produce(INFERENCE, body, ts)


def signed(envelope: dict[str, Any], signer: Signer) -> bytes:
    """The canonical bytes of an envelope without ``sig``, with its signature put in: §1.4.  Nothing else is checked.

    Raises :class:`OperationMalformed` for a value that has no canonical form.
    """
    try:
        signature = signer.sign(preimage(envelope, canonical.canonicalize))
        return canonical.canonicalize({**envelope, "sig": b64u_encode(signature)})
    except canonical.CanonicalError as error:
        raise OperationMalformed("ERR_CANONICAL", 2, str(error)) from None


def _strings_in(body: dict[str, Any]) -> Iterable[str]:
    """The strings of a body, those in its lists too: the operation IDs that it names are among them."""
    for value in body.values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield one
