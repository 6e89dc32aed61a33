"""What is kept of each owner: the rows, and the changes that a signed request makes to them.

Three tables, every key beginning with the owner's address in lower case, so that nothing of one owner can be
reached with the address of another (the protocol's §VII.3):

* ``nexus_overrides``: address → ``{"config": {…}, "prompts": {…}}``;
* ``nexus_messages``: address, position → the message as it is answered;
* ``nexus_sequence``: address → how many messages were ever stored.

The position of a message is its instant and its number among its owner's, both counted downwards so that the newest
comes first.  It is unique within the owner and never changes, so a page that starts after one gives no message twice,
and leaves none out that stood throughout, whatever is stored in between.

A change is a function of the open transaction: the row is read, merged and written inside one block, so that
of two updates at the same time none is lost, and the changes of a batch are kept together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from omp.protocols.nexus.profile import merged
from omp.rules.json_text import parse
from omp.store.port import Store, Writer, after, key
from omp.web.messages import json_bytes

OVERRIDES = "nexus_overrides"
MESSAGES = "nexus_messages"
SEQUENCE = "nexus_sequence"
_LAST = 2**64 - 1
POSITION_BYTES = 16

Change = Callable[[Writer], None]
"""What a checked operation does inside a transaction."""


def overrides_row(store: Store, owner: str) -> bytes | None:
    """What is stored of the overrides of `owner`, encoded; None where nothing is."""
    return store.get(OVERRIDES, key(owner))


def override(owner: str, kind: str, changes: Mapping[str, Any]) -> Change:
    """Merge checked `changes` of that kind into the overrides of `owner`."""
    return partial(_override, owner, kind, changes)


def _override(owner: str, kind: str, changes: Mapping[str, Any], tx: Writer) -> None:
    row = tx.get(OVERRIDES, key(owner))
    result = merged(parse(row) if row else {}, kind, changes)
    if result:
        tx.put(OVERRIDES, key(owner), json_bytes(result))
    else:
        tx.delete(OVERRIDES, key(owner))


def append_messages(owner: str, messages: Sequence[tuple[int, Mapping[str, Any]]]) -> Change:
    """Add messages, (instant, stored form) in the order in which they were said, to the history of `owner`."""
    return partial(_append, owner, [(at, json_bytes(message)) for at, message in messages])


def _append(owner: str, rows: Sequence[tuple[int, bytes]], tx: Writer) -> None:
    stored = tx.get(SEQUENCE, key(owner))
    first = int.from_bytes(stored, "big") if stored else 0
    for sequence, (at, message) in enumerate(rows, first):
        tx.put(MESSAGES, key(owner, _LAST - at, _LAST - sequence), message)
    tx.put(SEQUENCE, key(owner), (first + len(rows)).to_bytes(8, "big"))


def read_messages(store: Store, owner: str, limit: int, last: bytes | None) -> tuple[list[bytes], bytes | None]:
    """At most `limit` encoded messages of `owner`, newest first, after the position `last`; and where to go on.

    The second is the position of the last message given, None where it is the owner's oldest.
    """
    start = key(owner) if last is None else key(owner) + last + b"\0"
    with store.read() as tx:
        rows = list(islice(tx.scan(MESSAGES, start, after(key(owner))), limit + 1))
    messages = [message for _, message in rows[:limit]]
    return messages, rows[limit - 1][0][-POSITION_BYTES:] if len(rows) > limit else None
