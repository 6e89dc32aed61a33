"""The registry's tables and the change feed (§4, §11).

==================  ============================  ====================================================================
table               key                           value
==================  ============================  ====================================================================
``mrs_places``      cell number, id               record (:mod:`.registration`): the cell index is the table itself
``mrs_outlines``    id                            of a polygon: sequence number, outline (:mod:`.outlines`)
``mrs_ids``         id                            the key in ``mrs_places``
``mrs_owners``      owner, digest of claim, id    nothing: lists a caller's own, and finds an identical claim
``mrs_changes``     sequence number               the id of a registration, or the JSON of a tombstone
``mrs_tombstones``  origin server, origin id      the sequence number of the tombstone
``mrs_origins``     origin server, origin id      the id, where it differs from the origin's: imported ones only
``mrs_made``        owner                         how many registrations the owner made here and has (64-bit number)
``mrs_state``       ``levels``                    how many registrations each level holds (64-bit numbers)
``mrs_state``       ``large``                     how many of them have large records (the same)
``mrs_state``       ``sequence``                  the last sequence number
==================  ============================  ====================================================================

A registration takes four rows, whatever its size, and a polygon one more.  Those that no search finds (``foad``) are
kept behind every cell.

**The change feed.**  Each write takes its sequence number inside its write block: the time in microseconds, or one more
than the last number where that is greater.  So numbers rise strictly in the order in which writes become visible, a
follower that asks for what comes after the last number it saw misses nothing and gets nothing twice, and a time is a
position in the feed.  A registration or tombstone is in the feed once, at its last change.

The caller must have authenticated the owner and checked the claim.  Checked here is what only a write block can check:
that the registration exists, whose it is, where it originated, and that there is no identical one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct
from typing import Any, NamedTuple

from omp.protocols.mrs.cells import LEVELS, cell_of, level_of
from omp.protocols.mrs.polygons import Polygon
from omp.protocols.mrs.registration import (
    BadRegistration,
    Claim,
    Registration,
    document,
    header,
    json_text,
    record_tail,
    space_size,
    tombstone,
)
from omp.protocols.mrs.schemas import RegistryError, epoch_of, iso_time
from omp.rules.encodings import b64u_encode
from omp.store.port import DamagedRow, Reader, Store, Writer, after, key, leaving_out, required

PLACES, OUTLINES, IDS, OWNERS = "mrs_places", "mrs_outlines", "mrs_ids", "mrs_owners"
CHANGES, TOMBSTONES, ORIGINS, STATE = "mrs_changes", "mrs_tombstones", "mrs_origins", "mrs_state"
MADE = "mrs_made"
_FOAD_CELL = 0xFF << 56
_LEVELS, _LARGE, _SEQUENCE = b"levels", b"large", b"sequence"
_COUNTS = Struct(f"<{LEVELS}Q")


class NoSuchRegistration(RegistryError):
    """The id is unknown, or was released."""


class NotTheOwner(RegistryError):
    """The registration belongs to somebody else."""


class OriginatedElsewhere(RegistryError):
    """The registration is a copy of another server's: it is changed and released there (§4.4)."""

    def __init__(self, origin_server: str, origin_id: str) -> None:
        super().__init__(f"This registration is a copy: change or release it at {origin_server}, as {origin_id}.")
        self.origin_server = origin_server
        self.origin_id = origin_id


class IdenticalRegistration(RegistryError):
    """The owner already has a registration of the same space, service point and foad (§4.3)."""


class TooManyRegistrations(RegistryError):
    """The owner has made as many registrations as the server takes of one user (§4.7)."""


class NoFreeId(RegistryError):
    """A random id was taken: 72 random bits came twice, so the source of randomness is broken."""


class BadSince(RegistryError):
    """`since` is neither a cursor of this feed nor a time (§11.2)."""


class Since(NamedTuple):
    """A place in the feed: the number of the first change to tell, and whether the feed itself gave out the place."""

    first: int
    is_cursor: bool = True


class Changes(NamedTuple):
    """A page of the feed: JSON texts, and the sequence number of the last change on it."""

    registrations: list[bytes]
    tombstones: list[bytes]
    last: int


class Registry:
    """Registrations in a store; `url` is the server they originate on.

    `most_of_owner` is how many registrations one owner may make; 0 is no bound.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        url: str,
        most_of_owner: int = 0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random_bytes
        self.url = url
        self._most_of_owner = most_of_owner

    # --- what owners do (§4) ----------------------------------------------------------------------------------------

    def register(self, owner: str, claim: Claim) -> bytes:
        """Keep a new registration; its JSON text.

        Raises :class:`IdenticalRegistration` (§4.3) or :class:`TooManyRegistrations` (§4.7).
        """
        now = iso_time(self._clock())
        new = "reg_" + b64u_encode(self._random(9))
        registration = Registration(claim, new, owner, self.url, new, 1, now, now, local=True, counts=True)
        with self._store.write() as tx:
            if tx.get(IDS, new.encode()) is not None:
                raise NoFreeId("No free id was found; please try again.")
            _refuse_identical(tx, owner, claim)
            if 0 < self._most_of_owner <= _made_by(tx, owner):
                raise TooManyRegistrations(f"You have {self._most_of_owner} registrations, the most that one user may.")
            record = self._keep(tx, registration)
        return json_text(record)

    def update(self, owner: str, name: str, claim: Claim) -> bytes:
        """Replace the claim of a registration; its JSON text, the version one higher (§4.4).

        Raises :class:`NoSuchRegistration`, :class:`NotTheOwner`, :class:`OriginatedElsewhere` or
        :class:`IdenticalRegistration`.
        """
        now = iso_time(self._clock())
        with self._store.write() as tx:
            record = _owned(tx, owner, name)
            if header(record).digest != claim.digest:  # else it would be identical to itself
                _refuse_identical(tx, owner, claim)
            old = document(record)
            self._drop(tx, old, record)
            registration = Registration(
                claim=claim,
                id=name,
                owner=owner,
                origin_server=self.url,
                origin_id=old["origin_id"],
                version=old["version"] + 1,
                created=old["created"],
                updated=now,
                local=True,
                counts=header(record).counts,
            )
            record = self._keep(tx, registration)
        return json_text(record)

    def release(self, owner: str, name: str) -> None:
        """Remove a registration and leave its tombstone (§4.5); raises as :meth:`update` does."""
        now = iso_time(self._clock())
        with self._store.write() as tx:
            record = _owned(tx, owner, name)
            old = document(record)
            self._drop(tx, old, record)
            self._put_tombstone(tx, {**old, "version": old["version"] + 1, "deleted_at": now})

    def owns(self, tx: Reader, owner: str) -> bool:
        """Whether a registration here is `owner`'s (§3.6); one row of an index tells, however many there are."""
        prefix = key(owner)
        return next(tx.scan(OWNERS, prefix, after(prefix), complete=True), None) is not None

    def of_owner(self, owner: str, start_after: bytes) -> tuple[list[bytes], bytes | None]:
        """A page of the registrations of `owner`, oldest first, and the place to go on after, None at the end (§4.6).

        A place has :data:`PLACE` bytes.  All records are looked at for each page, since no table has this order, but
        few at a time, and no more of them is held than a page.
        """
        prefix = key(owner)
        with self._store.read() as tx:
            ids = [row[len(prefix) + 16 :] for row, _ in tx.scan(OWNERS, prefix, after(prefix))]
        order: list[tuple[bytes, bytes]] = []
        for first in range(0, len(ids), _ROWS):
            with self._store.read() as tx:
                order += _order(tx, ids[first : first + _ROWS], start_after)
        page, last = _Page(OWN_A_PAGE), b""
        with self._store.read() as tx:
            for place, name in sorted(order):
                with leaving_out(tx):
                    record = record_at(tx, name)
                    if record is not None and not page.takes(record):
                        return page.texts, last
                last = place
        return page.texts, None

    # --- what other servers read (§11) ------------------------------------------------------------------------------

    def snapshot(self, after_id: str, limit: int) -> tuple[list[bytes], str | None]:
        """A page of registrations in the order of their ids, and the id to go on after, None at the end."""
        start = after_id.encode() + b"\0" if after_id else b""
        page = _Page(limit)
        last = None
        with self._store.read() as tx:
            for name, place in tx.scan(IDS, start):
                with leaving_out(tx):
                    if not page.takes(required(tx, PLACES, place)):  # there is one more: not the last page
                        return page.texts, last
                last = name.decode()
        return page.texts, None

    def changes(self, since: Since, limit: int) -> Changes:
        """A page of changes.

        No place lies beyond the newest change, or the changes that come next would be skipped: a time that does is
        taken as the newest, a cursor is :class:`BadSince`, since only an older state of this store can be the reason.
        """
        page = _Page(limit)
        tombstones: list[bytes] = []
        with self._store.read() as tx:
            first = _not_beyond(since, _newest(tx))
            last = first - 1
            for row, value in tx.scan(CHANGES, key(first)):
                is_tombstone = value.startswith(b"{")
                taken = True
                with leaving_out(tx):
                    taken = page.takes_other() if is_tombstone else page.takes(_required_record(tx, value))
                if not taken:
                    break
                last = int.from_bytes(row, "big")
                if is_tombstone:
                    tombstones.append(value)
        return Changes(page.texts, tombstones, last)

    def everything(self, tx: Reader) -> tuple[list[bytes], list[bytes]]:
        """The JSON texts of all registrations and of all tombstones, as one moment of the store shows them."""
        registrations = [json_text(record) for record in _rows_named(tx, IDS, PLACES)]
        return registrations, list(_rows_named(tx, TOMBSTONES, CHANGES))

    def adopt(
        self, tx: Writer, registrations: Iterable[Registration], tombstones: Iterable[dict[str, Any]]
    ) -> tuple[int, int]:
        """Take in what another server exported, all in the caller's write block (§12.4).

        Of one registration the higher version wins, whether it is a registration or a tombstone.  Returns how many
        registrations and how many tombstones were taken.  Raises :class:`BadRegistration` where an id is taken by a
        registration of another origin.
        """
        return (
            sum([self._adopt_registration(tx, registration) for registration in registrations]),
            sum([self._adopt_tombstone(tx, value) for value in tombstones]),
        )

    def _adopt_registration(self, tx: Writer, new: Registration) -> bool:
        origin = key(new.origin_server, new.origin_id)
        if _tombstone_version(tx, origin) >= new.version:
            return False
        # Whoever may import must not be able to overwrite a registration by choosing its id.
        taken = record_at(tx, new.id.encode())
        if taken is not None and not _came_from(taken, new.origin_server, new.origin_id):
            server = document(taken)["origin_server"]
            raise BadRegistration(f"The id {new.id} is taken by a registration from {server}.")
        record = _of_origin(tx, new.origin_server, new.origin_id)
        if record is not None:
            if header(record).version >= new.version:
                return False
            self._drop(tx, document(record), record)
        self._delete_tombstone(tx, origin)
        self._keep(tx, new)
        return True

    def _adopt_tombstone(self, tx: Writer, value: dict[str, Any]) -> bool:
        if _tombstone_version(tx, key(value["origin_server"], value["origin_id"])) >= value["version"]:
            return False
        record = _of_origin(tx, value["origin_server"], value["origin_id"])
        if record is not None:
            if header(record).version >= value["version"]:
                return False
            self._drop(tx, document(record), record)
        self._put_tombstone(tx, value)
        return True

    # --- rows -------------------------------------------------------------------------------------------------------

    def _sequence(self, tx: Writer) -> bytes:
        # Kept in a row of its own: this very block may just have deleted the last row of the feed.
        last = tx.get(STATE, _SEQUENCE) or b""
        number = key(max(int(self._clock() * 1_000_000), int.from_bytes(last, "big") + 1))
        tx.put(STATE, _SEQUENCE, number)
        return number

    def _keep(self, tx: Writer, registration: Registration) -> bytes:
        # The record holds its own sequence number: so a later change finds and deletes this row of the feed.
        sequence = self._sequence(tx)
        record = registration.record(int.from_bytes(sequence, "big"))
        name = registration.id.encode()
        place = place_of(registration)
        if not registration.claim.foad:
            geometry = registration.claim.geometry
            _count(tx, level_of(geometry.reach), record, 1)
            if isinstance(geometry, Polygon):
                tx.put(OUTLINES, name, sequence + geometry.outline.packed)
        tx.put(PLACES, place, record)
        tx.put(IDS, name, place)
        tx.put(OWNERS, key(registration.owner) + registration.claim.digest + name, b"")
        tx.put(CHANGES, sequence, name)
        if registration.id != registration.origin_id:
            tx.put(ORIGINS, key(registration.origin_server, registration.origin_id), name)
        if registration.counts:
            _count_made(tx, registration.owner, 1)
        return record

    def _drop(self, tx: Writer, old: dict[str, Any], record: bytes) -> None:
        name = old["id"].encode()
        numbers = header(record)
        place = required(tx, IDS, name)
        if not old["foad"]:
            _count(tx, level_of(numbers.reach), record, -1)
        tx.delete(PLACES, place)
        tx.delete(OUTLINES, name)
        tx.delete(IDS, name)
        tx.delete(OWNERS, key(old["owner"]) + numbers.digest + name)
        tx.delete(CHANGES, key(numbers.sequence))
        if old["id"] != old["origin_id"]:
            tx.delete(ORIGINS, key(old["origin_server"], old["origin_id"]))
        if numbers.counts:
            _count_made(tx, old["owner"], -1)

    def _put_tombstone(self, tx: Writer, value: dict[str, Any]) -> None:
        origin = key(value["origin_server"], value["origin_id"])
        self._delete_tombstone(tx, origin)
        sequence = self._sequence(tx)
        tx.put(CHANGES, sequence, tombstone(value))
        tx.put(TOMBSTONES, origin, sequence)

    def _delete_tombstone(self, tx: Writer, origin: bytes) -> None:
        """Delete a tombstone, if there is one: something newer takes its place."""
        sequence = tx.get(TOMBSTONES, origin)
        if sequence is not None:
            tx.delete(TOMBSTONES, origin)
            tx.delete(CHANGES, sequence)


def place_of(registration: Registration) -> bytes:
    """The key of its row in :data:`PLACES`: its cell, and its id."""
    geometry = registration.claim.geometry
    cell = _FOAD_CELL if registration.claim.foad else cell_of(geometry.centre, level_of(geometry.reach))
    return key(cell) + registration.id.encode()


OWN_A_PAGE = 10_000
"""So many of a user's own registrations are on one page: by default, as many as the user may have (§4.6)."""
PLACE = 16
_ROWS = 500
"""Records of a user that are read in one block."""


def _order(tx: Reader, names: list[bytes], start_after: bytes) -> list[tuple[bytes, bytes]]:
    """(place in the list of their owner, id) of the registrations with these ids that come later than `start_after`."""
    order = []
    for name in names:
        with leaving_out(tx):
            record = record_at(tx, name)
            if record is not None and (place := _place(record)) > start_after:
                order.append((place, name))
    return order


def _place(record: bytes) -> bytes:
    """Where a registration is in the list of its owner: its time; of those of one second, the one changed first."""
    created = epoch_of(record_tail(record)["created"]) or 0.0
    return key(int(created * 1_000_000), header(record).sequence)


MAX_SPACES = 1 << 20
"""Bytes: the spaces of one answer have at most so many together (§6.3, §11)."""


class _Page:
    """The `texts` of registrations, and how many entries more there is room for: `limit`, and their spaces' bytes."""

    def __init__(self, limit: int) -> None:
        self.texts: list[bytes] = []
        self._left = limit
        self._room = MAX_SPACES

    def takes(self, record: bytes) -> bool:
        """Take in a registration; False if there is no room."""
        size = space_size(record)
        if size > self._room or not self.takes_other():
            return False
        self._room -= size
        self.texts.append(json_text(record))
        return True

    def takes_other(self) -> bool:
        """Count an entry without a space; False if there is no room."""
        if not self._left:
            return False
        self._left -= 1
        return True


LARGE = 16 * 1024
"""Bytes: only a polygon can have a larger record, and a search collects its header alone."""


def level_counts(tx: Reader) -> tuple[int, ...]:
    """How many registrations each level of the cell index holds; if the row is damaged or lost, each may hold some."""
    try:
        return _counts(tx, _LEVELS) if tx.get(STATE, _LEVELS) else (1,) * LEVELS
    except DamagedRow:
        return (1,) * LEVELS


def large_counts(tx: Reader) -> tuple[int, ...]:
    """How many of them have records larger than :data:`LARGE`; those of earlier versions' files are not counted."""
    try:
        return _counts(tx, _LARGE)
    except DamagedRow:
        return (1,) * LEVELS


def _counts(tx: Reader, which: bytes) -> tuple[int, ...]:
    packed = tx.get(STATE, which)
    return _COUNTS.unpack(packed) if packed else (0,) * LEVELS


def _count(tx: Writer, level: int, record: bytes, change: int) -> None:
    for which in (_LEVELS, _LARGE) if len(record) > LARGE else (_LEVELS,):
        counts = list(_counts(tx, which))
        counts[level] = max(counts[level] + change, 0)
        tx.put(STATE, which, packed_counts(counts))


def packed_counts(counts: Sequence[int]) -> bytes:
    """The row of how many registrations each level holds."""
    return _COUNTS.pack(*counts)


def _made_by(tx: Reader, owner: str) -> int:
    """How many registrations `owner` made here and has; those that were imported are not among them."""
    return int.from_bytes(tx.get(MADE, owner.encode()) or b"", "big")


def _count_made(tx: Writer, owner: str, change: int) -> None:
    made = _made_by(tx, owner) + change
    if made:
        tx.put(MADE, owner.encode(), key(made))
    else:
        tx.delete(MADE, owner.encode())


def _owned(tx: Reader, owner: str, name: str) -> bytes:
    """The record that `owner` may change (§4.4, in the order of its refusals)."""
    record = record_at(tx, name.encode())
    if record is None:
        raise NoSuchRegistration("There is no registration of this id.")
    value = document(record)
    if value["owner"] != owner:
        raise NotTheOwner("This registration belongs to somebody else.")
    if not header(record).local:
        raise OriginatedElsewhere(value["origin_server"], value["origin_id"])
    return record


def _refuse_identical(tx: Reader, owner: str, claim: Claim) -> None:
    prefix = key(owner) + claim.digest
    row = next((row for row, _ in tx.scan(OWNERS, prefix, after(prefix), complete=True)), None)
    if row is not None:
        raise IdenticalRegistration(f"You have an identical registration: {row[len(prefix) :].decode()}.")


def _tombstone_version(tx: Reader, origin: bytes) -> int:
    """The version of the tombstone of an origin (the key of its row); 0 if there is none."""
    sequence = tx.get(TOMBSTONES, origin)
    return int(json.loads(required(tx, CHANGES, sequence))["version"]) if sequence is not None else 0


def record_at(tx: Reader, name: bytes) -> bytes | None:
    """The record of the registration with this id."""
    place = tx.get(IDS, name)
    return required(tx, PLACES, place) if place is not None else None


def _required_record(tx: Reader, name: bytes) -> bytes:
    """The record of a registration that another row names."""
    return required(tx, PLACES, required(tx, IDS, name))


def _rows_named(tx: Reader, index: str, table: str) -> Iterator[bytes]:
    """The values of the rows of `table` whose keys the rows of `index` hold."""
    for _, named in tx.scan(index):
        with leaving_out(tx):
            yield required(tx, table, named)


def _of_origin(tx: Reader, server: str, origin_id: str) -> bytes | None:
    """The record of what originated on `server` as `origin_id`, whichever id it has here."""
    record = record_at(tx, tx.get(ORIGINS, key(server, origin_id)) or origin_id.encode())
    return record if record is not None and _came_from(record, server, origin_id) else None


def _came_from(record: bytes, server: str, origin_id: str) -> bool:
    value = document(record)
    return (value["origin_server"], value["origin_id"]) == (server, origin_id)


# --- the feed by time (§11.2) ---------------------------------------------------------------------------------------


def read_since(text: str) -> Since:
    """The place that a query names: after a cursor, from a time on, or for the empty text the beginning.

    Raises :class:`BadSince`.
    """
    if not text:
        return Since(1)
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return Since(int(text) + 1)
    epoch = epoch_of(text.replace(" ", "+"))  # a + that a client did not encode arrives as a space
    if epoch is None:
        raise BadSince("since must be a next_cursor or an ISO 8601 time, or empty for the beginning")
    return Since(max(int(epoch * 1_000_000), 1), is_cursor=False)


def _not_beyond(since: Since, newest: int | None) -> int:
    """The number of the first change to tell, which is at most one after the `newest`, where that is known."""
    if newest is None or since.first <= newest + 1:
        return since.first
    if since.is_cursor:
        raise BadSince(
            "since is beyond the newest change of this server, so its data are older than the cursor: "
            "begin again with an empty since, and drop what is not told again"
        )
    return newest + 1


def _newest(tx: Reader) -> int | None:
    """The number of the last change, 0 before the first one; None if the row that says it is damaged."""
    try:
        kept = tx.get(STATE, _SEQUENCE)
    except DamagedRow:
        return None
    if kept is None:  # before the first change, and in the files of earlier versions
        kept = next((row for row, _ in tx.scan(CHANGES, reverse=True)), b"")
    return int.from_bytes(kept, "big")
