"""What must hold of the rows of an owner (§5, §6): JSON that belongs to its key, and every message counted."""

from __future__ import annotations

from collections import Counter

from omp.protocols.nexus.writes import MESSAGES, OVERRIDES, POSITION_BYTES, SEQUENCE, is_message_of
from omp.rules.json_text import JsonError, parse
from omp.store.audit import Check, Kind

TABLES = {OVERRIDES: Kind.KEPT, MESSAGES: Kind.KEPT, SEQUENCE: Kind.DERIVED}


def audit(check: Check) -> None:
    """Read each profile and message again; the messages of an owner are numbered from 0 without a gap."""
    for row, value in check.rows(OVERRIDES):
        try:
            check.require(isinstance(parse(value), dict), OVERRIDES, row, "it is no JSON object")
        except JsonError as error:
            check.wrong(OVERRIDES, row, f"it is no JSON: {error}")
    counts: Counter[bytes] = Counter()
    lasts: Counter[bytes] = Counter()
    for row, value in check.rows(MESSAGES):
        owner = row[:-POSITION_BYTES]
        counts[owner] += 1
        lasts[owner] = max(lasts[owner], 2**64 - int.from_bytes(row[-8:], "big"))
        try:
            is_whole = is_message_of(row, parse(value))
        except (ValueError, KeyError, TypeError):
            is_whole = False
        check.require(is_whole, MESSAGES, row, "it is no message of its owner and time")
    for owner, last in lasts.items():
        check.require(
            counts[owner] == last, MESSAGES, owner, f"{last - counts[owner]} messages of this owner are missing"
        )
        check.expect(SEQUENCE, owner, last.to_bytes(8, "big"))
