"""What becomes of an operation, and what happens to the log because of it: the words of oplog §7.2 and §7.6.

Values only.  replica.py makes them, and posting.py and feed.py tell them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from omp.protocols.oplog.core.entries import Author, Entry
from omp.protocols.oplog.core.state import status_of
from omp.protocols.oplog.core.verify import OperationRefused

ACCEPTED, DUPLICATE, DEFERRED, REJECTED = "accepted", "duplicate", "deferred", "rejected"
MOST_CHANGES_TOLD = 2_000
"""§7.6: where one operation changes more than so many, one event says so for all of them."""


class Event(NamedTuple):
    """Something that happened to the log.  The members of `data` depend on `kind`:

    * ``accepted``: ``id``, ``type``, ``author``, ``void``;
    * ``rejected``: ``id``, ``code``, of an operation that had waited;
    * ``fork``: ``author``, ``seq``, ``ops``: the first stored operation with this ``seq``, and the new one (§3.4);
    * ``status``: ``id``, ``type``, ``status``, of a stored operation whose object in the state document, or whose
      ``void``, has changed;
    * ``reset``: ``ops``, the number of stored operations, in place of more than :data:`MOST_CHANGES_TOLD` ``status``.
    """

    kind: str
    data: dict[str, Any]


class Outcome(NamedTuple):
    """What became of an operation: ``status`` and ``id`` as in §7.2.

    `code`, `stage` and `message` say why it was rejected; `missing` are the IDs it waits for if it is deferred.  (The
    pool may put out at once what it is given; the operation is ``deferred`` all the same.)
    `stored` are the entries that this call added to the log, in the order of storing: the operation itself, then those
    that had waited for it.  `events` is all that happened, in order.
    """

    status: str
    id: str | None
    code: str | None = None
    stage: int | None = None
    message: str = ""
    missing: tuple[str, ...] = ()
    stored: tuple[Entry, ...] = ()
    events: tuple[Event, ...] = ()


def outcome_of(refusal: OperationRefused) -> Outcome:
    """The outcome, ``rejected``, of an operation that a stage refused."""
    return Outcome(REJECTED, refusal.id, refusal.code, refusal.stage, refusal.message)


def events_of(
    entry: Entry, author: Author, stored: int, void_changed: Collection[Entry], changed: Collection[Entry]
) -> Iterator[Event]:
    """What happened when `entry` was stored, as number `stored` of its log, and changed those stored entries."""
    yield Event("accepted", {"id": entry.id, "type": entry.type, "author": author.key, "void": entry.void})
    if entry.seq in author.forks:
        ops = [author.by_seq[entry.seq - 1].id, entry.id]
        yield Event("fork", {"author": author.key, "seq": entry.seq, "ops": ops})
    if len(void_changed) <= MOST_CHANGES_TOLD and len(changed) <= MOST_CHANGES_TOLD:
        told = dict.fromkeys([*void_changed, *changed])
        if len(told) <= MOST_CHANGES_TOLD:
            for one in told:
                yield Event("status", {"id": one.id, "type": one.type, "status": status_of(one)})
            return
    yield Event("reset", {"ops": stored})
