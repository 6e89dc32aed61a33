"""The tables of the objects, and every way in which they change (§3 to §6).

========================  ===============================  ================================
table                     key                              value
========================  ===============================  ================================
``objects``               id                               the object (:mod:`.record`)
``objects_by_namespace``  ``key(namespace)``, id           the key, if the caller gave one
``objects_by_key``        ``key(namespace, key)``, id      nothing; only if the caller gave the key
``objects_by_deadline``   deadline (8 bytes), id           nothing
``objects_state``         ``moment``                       what no id of a removed object exceeds (8 bytes)
========================  ===============================  ================================

Ids sort in the order of creation, so a scan of the first two is in the order of lists.  Three invariants: an object and
its rows in the indexes come and go in one transaction; an object whose deadline is reached cannot be found, even
while its rows are still there; and an id is greater than that of every object that was there when its creation began,
or had been there, whatever the clock does (§2.2).

Rows are encoded outside the transactions, to keep these short: an update computes the new row from the one that it
read, and starts again if that one has been replaced meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from struct import iter_unpack
from threading import Lock
from typing import Any

from omp.protocols.objects.record import ID_BYTES, Record, moment_of, new_id, new_record, updated
from omp.store.port import DamagedRow, Reader, Store, Writer, after, key, leaving_out, required, required_or_left_out

OBJECTS = "objects"
BY_NAMESPACE = "objects_by_namespace"
BY_KEY = "objects_by_key"
BY_DEADLINE = "objects_by_deadline"
STATE = "objects_state"
_MOMENT = b"moment"

ROWS_A_BLOCK = 500
"""Rows that a search reads in one transaction, before others may use the store."""
ASK_ROWS = 5000
"""Rows after which a search asks whether anybody still waits for it."""
BLOCK_BYTES = 16 * 1024 * 1024
"""Bytes of rows that are read in one write transaction."""
PAGE_BYTES = 8 * 1024 * 1024
"""A page ends early once its items have this size: metadata may be as large as a body (§4.3)."""
LOOKED_ROWS = 100_000
LOOKED_BYTES = 64 * 1024 * 1024
"""A page also ends once so much was looked at for it: a filter may match nothing, and a row may be large (§4.3)."""


class ObjectsError(Exception):
    """What the collection refuses; ``routes`` says how each kind is answered."""


class ObjectNotFound(ObjectsError):
    """There is no object with this id, or it has expired, or it was read for the last time."""


class ObjectExists(ObjectsError):
    """There is an object with this namespace and key already."""


class ObjectStateDiffers(ObjectsError):
    """The object is not in the state that the caller wants to change; `etag` names the state it is in."""

    def __init__(self, etag: str) -> None:
        super().__init__(f"If-Match must name the present ETag, {etag}, and If-None-Match must not.")
        self.etag = etag


Wanted = Callable[[Record], bool]
"""Whether an operation wants an object in the state that it finds."""


@dataclass(frozen=True)
class Page:
    """A part of a list: `items` are summaries (JSON); `last` is the id of the last of them, None if no more follow."""

    items: list[bytes]
    last: str | None


class Collection:
    """All objects of one store.

    `clock` gives epoch seconds, `random_bytes` unpredictable bytes; `last_read_default` says whether the first GET of
    an object is its last if its metadata do not say so.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        last_read_default: bool,
    ) -> None:
        self._store = store
        self.clock = clock
        self._random_bytes = random_bytes
        self._last_read_default = last_read_default
        self._numbers: Iterator[tuple[int]] = iter(())
        self._moment = _newest_moment(store)
        self._moments = Lock()  # guards it

    def create(
        self,
        namespace: str,
        name: str | None,
        content: Mapping[str, Any],
        metadata: Mapping[str, Any],
        *,
        unique: bool = False,
        large: bool = False,
    ) -> Record:
        """Store a new object under the key `name`; without one, the key is its id (§3.1).

        If it is `large`, less memory counts more than time.

        Raises :class:`ObjectExists` if it is to be `unique` and the namespace has an object with this key.
        """
        now, moment = self._next_moment()
        identifier = new_id(moment, self._random())
        made = new_record(now, identifier, namespace, name, content, metadata, self._last_read_default, large)
        while True:
            with self._store.write() as tx:
                gone = _require_unused(tx, namespace, name, now) if unique and name is not None else ()
                if not gone:
                    _insert(tx, made)
                    return made
                for record in gone:
                    self._erase(tx, record)

    def find(self, identifier: str) -> Record:
        """The object with this id; :class:`ObjectNotFound` if there is none."""
        return _live(self._store.get(OBJECTS, identifier.encode()), self._now)

    def take(self, identifier: str, wanted: Wanted) -> Record:
        """The object, which is removed in the same step if it is `wanted`: of many callers at once, one gets it.

        Raises :class:`ObjectNotFound` if there is none.
        """
        with self._store.write() as tx:
            record = _live(tx.get(OBJECTS, identifier.encode()), self._now)
            if wanted(record):
                self._erase(tx, record)
        return record

    def replace(
        self,
        identifier: str,
        content: Mapping[str, Any],
        metadata: Mapping[str, Any] | None,
        wanted: Wanted,
        *,
        large: bool = False,
    ) -> Record:
        """Replace the content of the object, and its metadata unless they are None (§3.3); `large` as for `create`.

        Raises :class:`ObjectNotFound` if there is none, :class:`ObjectStateDiffers` if it is not `wanted`.
        """
        while True:
            old = self.find(identifier)
            _require(old, wanted)
            new = updated(old, self._now(), content, metadata, self._last_read_default, large)
            with self._store.write() as tx:
                if tx.get(OBJECTS, identifier.encode()) == old.row:
                    tx.put(OBJECTS, identifier.encode(), new.row)
                    if new.deadline != old.deadline:
                        _unset_deadline(tx, old)
                        _set_deadline(tx, new)
                    return new

    def remove(self, identifier: str, wanted: Wanted) -> None:
        """Remove the object (§3.4).

        Raises :class:`ObjectNotFound` if there is none, :class:`ObjectStateDiffers` if it is not `wanted`.
        """
        with self._store.write() as tx:
            record = _live(tx.get(OBJECTS, identifier.encode()), self._now)
            _require(record, wanted)
            self._erase(tx, record)

    def page(
        self,
        namespace: str | None,
        key_contains: str | None,
        limit: int,
        start_after: str | None,
        require_client: Callable[[], None] = lambda: None,
    ) -> Page:
        """At most `limit` objects in the order of their ids, beginning after the id `start_after` (§4).

        Those of `namespace`, or of all if it is None; of these, those whose key contains `key_contains`.  The store is
        read in short transactions, each beginning after the last id of the one before: an object that is there
        throughout is neither missed nor met twice.  `require_client` is called every :data:`ASK_ROWS` rows,
        and may raise.
        """
        part = (key_contains or "").encode()
        now = self._now()
        items: list[bytes] = []
        size = looked = asked = 0
        bytes_left = LOOKED_BYTES
        last = position = start_after.encode() if start_after else b""
        while looked < LOOKED_ROWS and bytes_left > 0:
            if looked >= asked + ASK_ROWS:
                require_client()
                asked = looked
            seen = 0
            with self._store.read() as tx:
                candidates = _candidates(tx, namespace, part, position)
                for position, row in islice(candidates, ROWS_A_BLOCK):
                    seen += 1
                    if row is None:
                        continue
                    record = Record(row)
                    is_gone = record.deadline and record.is_gone(now)
                    if not is_gone and (not part or record.key_contains(part)):
                        if len(items) == limit or size > PAGE_BYTES:
                            return Page(items, last.decode())
                        last = position
                        items.append(record.summary)
                        size += len(items[-1])
                    bytes_left -= len(row)
                    if bytes_left <= 0:
                        break
            if seen < ROWS_A_BLOCK and bytes_left > 0:
                return Page(items, None)
            looked += seen
        return Page(items, position.decode())

    def housekeep(self, past: float) -> None:
        """Delete the rows of the objects whose deadline was reached at the epoch second `past`."""
        due = _microseconds(past)
        while True:
            with self._store.read() as reading:  # usually there is nothing to delete, and a read blocks nobody
                ends = [one for one, _ in islice(reading.scan(BY_DEADLINE, b"", key(due + 1)), ROWS_A_BLOCK)]
            if not ends:
                return
            with self._store.write() as tx:
                size = 0
                for end in ends:
                    tx.delete(BY_DEADLINE, end)
                    row = None
                    with leaving_out(tx):
                        row = tx.get(OBJECTS, end[-ID_BYTES:])
                    if row is not None and Record(row).is_gone(due):  # it may have got a later deadline just now
                        self._erase(tx, Record(row))
                        size += len(row)
                    if size > BLOCK_BYTES:  # a few large rows take as long as many small ones
                        break

    def _erase(self, tx: Writer, record: Record) -> None:
        """Remove `record`, and keep that its moment was given, so that no later id is less (§2.2)."""
        if moment_of(record.id.decode()) > _kept_moment(tx):
            # The newest of all: it holds for the next ones that are removed as well, so this is seldom done.
            tx.put(STATE, _MOMENT, key(self._moment))
        _delete(tx, record)

    def _now(self) -> int:
        return _microseconds(self.clock())

    def _next_moment(self) -> tuple[int, int]:
        """The time, and the moment for the id of a new object: the time too, or one more than the last (§2.2)."""
        with self._moments:  # the clock is read inside: a later id has no earlier time while the clock does not step
            now = self._now()
            self._moment = max(now, self._moment + 1)
            return now, self._moment

    def _random(self) -> int:
        # Many at once: each call of the system's generator releases the interpreter's lock and has to wait for it.
        while True:
            try:
                return next(self._numbers)[0]
            except StopIteration:
                self._numbers = iter_unpack(">Q", self._random_bytes(8 * 1024))


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)


def _newest_moment(store: Store) -> int:
    """The greatest moment of any id that was ever given, which may be that of an object that is gone; 0 for none."""
    with store.read() as tx:
        newest = next((moment_of(identifier.decode()) for identifier, _ in tx.scan(OBJECTS, reverse=True)), 0)
        return max(newest, _kept_moment(tx))


def _kept_moment(tx: Reader) -> int:
    moment = None
    with suppress(DamagedRow):  # the ids that are stored still tell most of it, and the next one kept mends it
        moment = tx.get(STATE, _MOMENT)
    return int.from_bytes(moment or b"", "big")


def _live(row: bytes | None, clock: Callable[[], int]) -> Record:
    if row is None:
        raise ObjectNotFound
    record = Record(row)
    if record.deadline and record.is_gone(clock()):
        raise ObjectNotFound
    return record


def _require(record: Record, wanted: Wanted) -> None:
    if not wanted(record):
        raise ObjectStateDiffers(record.etag)


def _candidates(
    tx: Reader, namespace: str | None, part: bytes, position: bytes
) -> Iterator[tuple[bytes, bytes | None]]:
    """(id, row) of what comes after `position`; the row is None where the index shows that its key does not match."""
    if namespace is None:
        return tx.scan(OBJECTS, position and position + b"\0")
    return _in_namespace(tx, key(namespace), part, position)


def _in_namespace(tx: Reader, prefix: bytes, part: bytes, position: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    start = prefix + position + b"\0" if position else prefix
    for index, name in tx.scan(BY_NAMESPACE, start, after(prefix)):
        identifier = index[-ID_BYTES:]
        matches = not part or part in (name or identifier)
        yield identifier, required_or_left_out(tx, OBJECTS, identifier) if matches else None


def _require_unused(tx: Reader, namespace: str, name: str, now: int) -> Sequence[Record]:
    """Raise :class:`ObjectExists` if an object has this key.

    Returns objects that had it and have expired, if that many are found that looking at all of them would hold
    everybody up: remove them, and ask again in another transaction.
    """
    prefix = key(namespace, name)
    found = chain(
        (
            required(tx, OBJECTS, index[-ID_BYTES:])
            for index, _ in tx.scan(BY_KEY, prefix, after(prefix), complete=True)
        ),
        [tx.get(OBJECTS, name.encode())],  # the key of an object that was created without one is its id
    )
    wanted = namespace.encode(), name.encode()
    gone: list[Record] = []
    size = 0
    for record in (Record(row) for row in found if row is not None):
        if (record.namespace, record.key) != wanted:
            continue
        if not record.is_gone(now):
            raise ObjectExists
        gone.append(record)
        size += len(record.row)
        if len(gone) == ROWS_A_BLOCK or size > BLOCK_BYTES:
            return gone
    return ()


def _insert(tx: Writer, record: Record) -> None:
    identifier, namespace = record.id, key(record.namespace)
    name = record.key if record.has_key else b""
    tx.put(OBJECTS, identifier, record.row)
    tx.put(BY_NAMESPACE, namespace + identifier, name)
    if name:
        tx.put(BY_KEY, namespace + key(name) + identifier, b"")
    _set_deadline(tx, record)


def _delete(tx: Writer, record: Record) -> None:
    identifier, namespace = record.id, record.namespace
    tx.delete(OBJECTS, identifier)
    tx.delete(BY_NAMESPACE, key(namespace) + identifier)
    if record.has_key:
        tx.delete(BY_KEY, key(namespace, record.key) + identifier)
    _unset_deadline(tx, record)


def _set_deadline(tx: Writer, record: Record) -> None:
    if record.deadline:
        tx.put(BY_DEADLINE, key(record.deadline) + record.id, b"")


def _unset_deadline(tx: Writer, record: Record) -> None:
    if record.deadline:
        tx.delete(BY_DEADLINE, key(record.deadline) + record.id)
