"""What this node verified before it stored it is read back without verifying it again (oplog §7.7).

Never call these functions with bytes that somebody sent: no stage of §3.2 runs here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from omp.protocols.oplog.core.authority import grants_covering
from omp.protocols.oplog.core.causality import Candidate, LogView, Past
from omp.protocols.oplog.core.operation import ENVELOPE, Operation, preimage, references
from omp.protocols.oplog.core.verify import OperationDeferred, ancestors
from omp.rules import identifiers


def operation_unverified(data: bytes) -> Operation:
    """The operation in bytes that passed :func:`check_bytes` once and that we have kept ourselves since.

    No stage runs: never call it with bytes that somebody sent.
    """
    envelope: Mapping[str, Any] = json.loads(data.decode())  # of bytes it would guess the encoding first
    return Operation(data, identifiers.operation_id(_preimage_within(data, envelope)), envelope)


def _preimage_within(raw: bytes, envelope: Mapping[str, Any]) -> bytes:
    """The preimage (§1.4), cut out of the canonical bytes of a valid operation: nothing is encoded again."""
    if len(envelope) > len(ENVELOPE):
        return preimage(envelope)  # extensions follow
    # In canonical order ts, type and v follow sig, and nothing else.  All three are plain ASCII, so the end of sig is
    # found by counting, whatever the body holds.
    after = len('"ts":"","type":"","v":""}') + len(envelope["ts"]) + len(envelope["type"]) + len(envelope["v"])
    member = len('"sig":"",') + len(envelope["sig"])
    return b"%b\n%b%b" % (envelope["v"].encode(), raw[: -after - member], raw[-after:])


def operation_of(data: bytes, operation_id: str) -> Operation:
    """As :func:`operation_unverified`, where the operation ID is known too: it is not computed again."""
    return Operation(data, operation_id, json.loads(data))


def linked(operation: Operation, log: LogView) -> Candidate:
    """As :func:`judge` for an operation that passed all stages once: what they found out, without their checks.

    Raises :class:`OperationDeferred` if a parent is missing, KeyError if an operation that the body names is.
    """
    candidate = Candidate(operation, log)
    if problem := ancestors(candidate):
        raise OperationDeferred("DEFER", 8, problem, operation.id, candidate.missing)
    candidate.past = Past(candidate.prev, candidate.deps)
    for name, ids, _ in references(operation.type, operation.body):
        entries = candidate.named[name] = []
        for operation_id in ids:
            if (found := log.entry(operation_id)) is None:
                raise KeyError(operation_id)
            entries.append(found)
    if not candidate.author.is_root:
        candidate.auth = grants_covering(candidate)
    return candidate
