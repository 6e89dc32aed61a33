"""What must hold of the stored logs (§3.2): every operation verifies again, in the order in which it was stored."""

from __future__ import annotations

from itertools import groupby

from omp.protocols.oplog.core.outcomes import ACCEPTED
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.verify import OperationRefused, check_bytes
from omp.protocols.oplog.loading import OPERATIONS
from omp.protocols.oplog.node import LOGS
from omp.rules.engines import best_engine
from omp.rules.identifiers import IDENTITY_ID
from omp.store.audit import Check, Kind
from omp.store.port import key

TABLES = {OPERATIONS: Kind.KEPT, LOGS: Kind.DERIVED}

_NUMBER = 8
_END = 2 + _NUMBER
"""Bytes of a row's key after the identity ID: the end of the text, and the number."""


def audit(check: Check) -> None:
    """Run all twelve stages for each operation, signature and all; behind a gap, the first seven."""
    for name, rows in groupby(check.rows(OPERATIONS), key=lambda row: row[0][:-_END]):
        log = name.decode(errors="replace")
        number = 0
        if IDENTITY_ID.fullmatch(log):
            audited = _Log(check, log)
            for row, raw in rows:
                number = audited.read(row, raw)
            check.expect(LOGS, key(log), number.to_bytes(8, "big"))
        else:
            for row, _ in rows:
                check.wrong(OPERATIONS, row, "it belongs to no log")


class _Log:
    """One log, read again from its rows."""

    def __init__(self, check: Check, log: str) -> None:
        self._check = check
        self._log = log
        self._replica = Replica(log)
        self._engine = best_engine()
        self._next = 0

    def read(self, row: bytes, raw: bytes) -> int:
        """Verify the operation in a row; returns the number that the next one should have."""
        number = int.from_bytes(row[-_NUMBER:], "big")
        if number != self._next:
            problem = f"it is missing, with {number - self._next - 1} others after it"
            self._check.wrong(OPERATIONS, key(self._log, self._next), problem)
        self._next = number + 1
        try:
            operation = check_bytes(raw, self._engine, self._log)
        except OperationRefused as refused:
            self._check.wrong(OPERATIONS, row, f"{refused.code}: {refused.message}")
            return self._next
        if len(self._replica) != number:
            self._check.wrong(OPERATIONS, row, "it cannot be placed: something that was stored before it is missing")
        else:
            outcome = self._replica.admit(operation)
            problem = f"it is {outcome.status}: {outcome.message or 'its parents come later'}"
            self._check.require(outcome.status == ACCEPTED, OPERATIONS, row, problem)
        return self._next
