"""The vectors of the signed operation log.

`making` has the keys and hand-made operations, `stream` the script of a log that arrives; then by section of the
document: `form` (stages 1, 2, 3, 7; making operations), `schema` (4, 5, 6), `pasts` (8 to 11), `authority` (12),
`merges` (order, void, derived state), `readings` (projection, why, missing), `batches` (many operations in one body).

What must become of an operation is written beside it by hand; IDs are hashed; states come from the definition
(``omp/protocols/oplog/definition.py``).  So no vector only says what the verifier and the replicator happen to do.
"""

from __future__ import annotations

from typing import Any

from omp.tests.vectors.makers.oplog import authority, batches, form, merges, pasts, readings, schema
from omp.tests.vectors.makers.oplog.making import document

_FORM = (
    "Bytes that arrive alone, and what stages 1 to 7 say: `outcome` is `ok`, or the code of the first failing "
    "`stage`. `id` is the operation ID, null where stages 1 to 3 fail."
)
_STREAM = (
    "Operations in the order in which they arrive at an empty log, what becomes of each, and the state at the end."
)


def generate() -> dict[str, Any]:
    """Relative path → document."""
    return {
        "oplog/produce.json": document(
            "produce", "From seed and envelope follow preimage, ID and exact bytes.", "§1.4, §2", form.produce_cases()
        ),
        "oplog/bytes.json": document("form", _FORM, "§1.1, §3.2 stages 1 to 3", form.byte_cases()),
        "oplog/schema.json": document("form", _FORM, "§2, §3.2 stage 4", schema.schema_cases()),
        "oplog/limits.json": document("form", _FORM, "§1.5, §3.2 stage 5", schema.limit_cases()),
        "oplog/ranges.json": document("form", _FORM, "§1.5, §3.2 stage 6", schema.range_cases()),
        "oplog/signature.json": document("form", _FORM, "§1.4, §3.2 stage 7", form.signature_cases()),
        "oplog/pasts.json": document("stream", _STREAM, "§3.2 stages 8 to 11, §3.4", pasts.stream_cases()),
        "oplog/authority.json": document("stream", _STREAM, "§3.2 stage 12, §4", authority.stream_cases()),
        "oplog/merge.json": document(
            "merge",
            "A set of operations, all valid: delivered in any order they give this state.",
            "§3.3, §3.4, §4.5, §5",
            merges.merge_cases(),
        ),
        "oplog/projection.json": document(
            "projection", "What a key sees at a time.", "§6", readings.projection_cases()
        ),
        "oplog/why.json": document("why", "A claim's derivation down to evidence.", "§7.4", readings.why_cases()),
        "oplog/missing.json": document(
            "missing", "What a peer with these heads lacks.", "§7.3", readings.missing_cases()
        ),
        "oplog/batch.json": document(
            "batch", "Many operations in one body of ndjson, and the answer.", "§7.2", batches.batch_cases()
        ),
    }
