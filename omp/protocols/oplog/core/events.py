"""What is told of a log (§7.6): the events that an operation causes when it is stored.

They follow from the stored set and the order of storing alone.  So a log that is read again after a restart tells the
same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from omp.protocols.oplog.core.entries import Entry
from omp.protocols.oplog.core.state import status_of

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


def events_of(
    entry: Entry, stored: int, void_changed: Collection[Entry], changed: Collection[Entry]
) -> Iterator[Event]:
    """What is told of `entry`, which is stored as one of so many, and of the entries that have changed with it.

    `changed` are those whose object in the state document has, `void_changed` those whose ``void`` has.
    """
    author = entry.chain.author
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
