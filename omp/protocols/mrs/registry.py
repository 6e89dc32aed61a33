"""The registry's tables: registrations in the order of places, owners and changes (mrs.md "Registrations", "Sync").

==================  ============================  ====================================================================
table               key                           value
==================  ============================  ====================================================================
``mrs_places``      cell number, id               record (:mod:`registration`): the cell index is the table itself
``mrs_ids``         id                            the key in ``mrs_places``
``mrs_owners``      owner, digest of claim, id    nothing: lists a caller's own, and finds an identical claim
``mrs_changes``     sequence number               the id of a registration, or the JSON of a tombstone
``mrs_tombstones``  origin server, origin id      the sequence number of the tombstone
``mrs_origins``     origin server, origin id      the id, where it is another than the origin's: imported ones only
``mrs_state``       ``levels``                    how many registrations each level holds (64-bit numbers)
``mrs_state``       ``sequence``                  the last sequence number
==================  ============================  ====================================================================

Four rows a registration, whatever its size.  Registrations that are not to be found (``foad``) lie behind every cell.

**The change feed.**  Each write takes its sequence number inside its write block: the time in microseconds, or one more
than the last number where that is greater.  So numbers rise strictly in the order in which writes become visible, a
follower that asks for what comes after the last number it saw misses nothing and gets nothing twice, and a time is a
place in the feed.  A registration or tombstone stands in the feed once, at its last change.

The caller must have authenticated the owner and checked the claim; here is checked what only a write block can: that
the registration exists, whose it is, where it originated, and that it is not there already.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any, NamedTuple

from omp.protocols.mrs.cells import LEVELS, cell_of, level_of
from omp.protocols.mrs.instants import iso_time
from omp.protocols.mrs.registration import Claim, Registration, document, header, json_text, tombstone
from omp.rules.encodings import b64u_encode
from omp.store.port import Reader, Store, Writer, after, key
from omp.web.errors import ApiError

PLACES, IDS, OWNERS = "mrs_places", "mrs_ids", "mrs_owners"
CHANGES, TOMBSTONES, ORIGINS, STATE = "mrs_changes", "mrs_tombstones", "mrs_origins", "mrs_state"
_FOAD_CELL = 0xFF << 56
_LEVELS, _SEQUENCE = b"levels", b"sequence"
_COUNTS = Struct(f"<{LEVELS}Q")


class Changes(NamedTuple):
    """A page of the feed: JSON texts, and the sequence number of the last change on it."""

    registrations: list[bytes]
    tombstones: list[bytes]
    last: int


class Registry:
    """Registrations in a store; `url` is the server they originate on."""

    def __init__(
        self, store: Store, clock: Callable[[], float], random_bytes: Callable[[int], bytes], url: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._random = random_bytes
        self.url = url

    # --- what owners do ---------------------------------------------------------------------------------------------

    def register(self, owner: str, claim: Claim) -> bytes:
        """Keep a new registration; its JSON text (seed §5.1)."""
        now = iso_time(self._clock())
        # Step 5: "reg_" + secrets.token_urlsafe(9)
        new = "reg_" + b64u_encode(self._random(9))
        registration = Registration(claim, new, owner, self.url, new, 1, now, now, local=True)
        with self._store.write() as tx:
            if tx.get(IDS, new.encode()) is not None:  # 72 random bits came twice: the source is broken
                raise ApiError(503, "No free id was found; please try again.")
            _refuse_identical(tx, owner, claim)
            record = self._keep(tx, registration)
        return json_text(record)

    def update(self, owner: str, name: str, claim: Claim) -> bytes:
        """Replace the claim of a registration; its JSON text, the version one higher (mrs.md "Registrations")."""
        now = iso_time(self._clock())
        with self._store.write() as tx:
            record = _owned(tx, owner, name)
            if header(record).digest != claim.digest:
                _refuse_identical(tx, owner, claim)
            old = document(record)
            self._drop(tx, old, record)
            registration = Registration(
                claim, name, owner, self.url, old["origin_id"], old["version"] + 1, old["created"], now, local=True
            )
            record = self._keep(tx, registration)
        return json_text(record)

    def release(self, owner: str, name: str) -> None:
        """Remove a registration and leave its tombstone (seed §5.2)."""
        now = iso_time(self._clock())
        with self._store.write() as tx:
            record = _owned(tx, owner, name)
            old = document(record)
            self._drop(tx, old, record)
            self._bury(tx, {**old, "version": old["version"] + 1, "deleted_at": now})

    def of_owner(self, owner: str) -> list[bytes]:
        """The JSON texts of all registrations of `owner`, oldest first."""
        prefix = key(owner)
        with self._store.read() as tx:
            ids = [row[len(prefix) + 16 :] for row, _ in tx.scan(OWNERS, prefix, after(prefix))]
            records = [_record(tx, name) for name in ids]
        # Of those made in one second, the one changed first.
        found = [(document(record)["created"], header(record).sequence, record) for record in records if record]
        return [json_text(record) for _, _, record in sorted(found)]

    # --- what other servers read ------------------------------------------------------------------------------------

    def snapshot(self, after_id: str, limit: int) -> tuple[list[bytes], str | None]:
        """Up to `limit` registrations in the order of their ids, and the id to go on after, None at the end."""
        start = after_id.encode() + b"\0" if after_id else b""
        records: list[bytes] = []
        last = None
        with self._store.read() as tx:
            for name, place in tx.scan(IDS, start):
                if len(records) == limit:
                    return records, last
                records.append(json_text(_present(tx.get(PLACES, place))))
                last = name.decode()
        return records, None

    def changes(self, first: int, limit: int) -> Changes:
        """Up to `limit` changes whose sequence numbers are `first` or more."""
        registrations: list[bytes] = []
        tombstones: list[bytes] = []
        last = first - 1
        with self._store.read() as tx:
            for row, value in tx.scan(CHANGES, key(first)):
                if len(registrations) + len(tombstones) == limit:
                    break
                last = int.from_bytes(row, "big")
                if value.startswith(b"{"):
                    tombstones.append(value)
                else:
                    registrations.append(json_text(_present(_record(tx, value))))
        return Changes(registrations, tombstones, last)

    def everything(self, tx: Reader) -> tuple[list[bytes], list[bytes]]:
        """The JSON texts of all registrations and of all tombstones, as one moment of the store shows them."""
        registrations = [_present(tx.get(PLACES, place)) for _, place in tx.scan(IDS)]
        buried = [_present(tx.get(CHANGES, sequence)) for _, sequence in tx.scan(TOMBSTONES)]
        return [json_text(record) for record in registrations], buried

    def adopt(self, tx: Writer, registrations: Iterable[Registration], tombstones: Iterable[dict[str, Any]]) -> None:
        """Take in what another server exported, all in the caller's write block.

        Of one registration the higher version wins, whether it is a registration or a tombstone.
        """
        for registration in registrations:
            self._adopt_registration(tx, registration)
        for value in tombstones:
            self._adopt_tombstone(tx, value)

    def _adopt_registration(self, tx: Writer, new: Registration) -> None:
        grave = key(new.origin_server, new.origin_id)
        if _buried_version(tx, grave) >= new.version:
            return
        taken = _record(tx, new.id.encode())
        if taken is not None and not _came_from(taken, new.origin_server, new.origin_id):
            raise ApiError(400, f"The id {new.id} is taken by a registration from {document(taken)['origin_server']}.")
        record = _of_origin(tx, new.origin_server, new.origin_id)
        if record is not None:
            if header(record).version >= new.version:
                return
            self._drop(tx, document(record), record)
        self._exhume(tx, grave)
        self._keep(tx, new)

    def _adopt_tombstone(self, tx: Writer, value: dict[str, Any]) -> None:
        if _buried_version(tx, key(value["origin_server"], value["origin_id"])) >= value["version"]:
            return
        record = _of_origin(tx, value["origin_server"], value["origin_id"])
        if record is not None:
            if header(record).version >= value["version"]:
                return
            self._drop(tx, document(record), record)
        self._bury(tx, value)

    # --- rows -------------------------------------------------------------------------------------------------------

    def _sequence(self, tx: Writer) -> bytes:
        # Kept by itself: the last row of the feed may just have been taken out by this very block.
        last = tx.get(STATE, _SEQUENCE) or b""
        number = key(max(int(self._clock() * 1_000_000), int.from_bytes(last, "big") + 1))
        tx.put(STATE, _SEQUENCE, number)
        return number

    def _keep(self, tx: Writer, registration: Registration) -> bytes:
        sequence = self._sequence(tx)
        record = registration.record(int.from_bytes(sequence, "big"))
        name = registration.id.encode()
        if registration.claim.foad:
            place = key(_FOAD_CELL) + name
        else:
            geometry = registration.claim.geometry
            level = level_of(geometry.reach)
            _count(tx, level, 1)
            place = key(cell_of(geometry.centre, level)) + name
        tx.put(PLACES, place, record)
        tx.put(IDS, name, place)
        tx.put(OWNERS, key(registration.owner) + registration.claim.digest + name, b"")
        tx.put(CHANGES, sequence, name)
        if registration.id != registration.origin_id:
            tx.put(ORIGINS, key(registration.origin_server, registration.origin_id), name)
        return record

    def _drop(self, tx: Writer, old: dict[str, Any], record: bytes) -> None:
        name = old["id"].encode()
        numbers = header(record)
        place = _present(tx.get(IDS, name))
        if not old["foad"]:
            _count(tx, level_of(numbers.reach), -1)
        tx.delete(PLACES, place)
        tx.delete(IDS, name)
        tx.delete(OWNERS, key(old["owner"]) + numbers.digest + name)
        tx.delete(CHANGES, key(numbers.sequence))
        if old["id"] != old["origin_id"]:
            tx.delete(ORIGINS, key(old["origin_server"], old["origin_id"]))

    def _bury(self, tx: Writer, value: dict[str, Any]) -> None:
        grave = key(value["origin_server"], value["origin_id"])
        self._exhume(tx, grave)
        sequence = self._sequence(tx)
        tx.put(CHANGES, sequence, tombstone(value))
        tx.put(TOMBSTONES, grave, sequence)

    def _exhume(self, tx: Writer, grave: bytes) -> None:
        """Take a tombstone out, if there is one: something newer comes in its place."""
        sequence = tx.get(TOMBSTONES, grave)
        if sequence is not None:
            tx.delete(TOMBSTONES, grave)
            tx.delete(CHANGES, sequence)


def level_counts(tx: Reader) -> tuple[int, ...]:
    """How many registrations each level of the cell index holds."""
    packed = tx.get(STATE, _LEVELS)
    return _COUNTS.unpack(packed) if packed else (0,) * LEVELS


def _count(tx: Writer, level: int, change: int) -> None:
    counts = list(level_counts(tx))
    counts[level] += change
    tx.put(STATE, _LEVELS, _COUNTS.pack(*counts))


def _owned(tx: Reader, owner: str, name: str) -> bytes:
    """The record that `owner` may change; the refusals of mrs.md "Registrations" in order."""
    record = _record(tx, name.encode())
    if record is None:
        raise ApiError(404, "There is no registration of this id.")
    if document(record)["owner"] != owner:
        raise ApiError(403, "This registration belongs to somebody else.")
    if not header(record).local:
        raise ApiError(409, "This registration originated on another server; change or release it there.")
    return record


def _refuse_identical(tx: Reader, owner: str, claim: Claim) -> None:
    prefix = key(owner) + claim.digest
    row = next((row for row, _ in tx.scan(OWNERS, prefix, after(prefix))), None)
    if row is not None:
        raise ApiError(409, f"You have an identical registration: {row[len(prefix) :].decode()}.")


def _buried_version(tx: Reader, grave: bytes) -> int:
    """The version of a tombstone, 0 where there is none."""
    sequence = tx.get(TOMBSTONES, grave)
    return int(json.loads(_present(tx.get(CHANGES, sequence)))["version"]) if sequence is not None else 0


def _record(tx: Reader, name: bytes) -> bytes | None:
    place = tx.get(IDS, name)
    return tx.get(PLACES, place) if place is not None else None


def _of_origin(tx: Reader, server: str, origin_id: str) -> bytes | None:
    """The record of what originated on `server` as `origin_id`, whichever id it has here."""
    record = _record(tx, tx.get(ORIGINS, key(server, origin_id)) or origin_id.encode())
    return record if record is not None and _came_from(record, server, origin_id) else None


def _came_from(record: bytes, server: str, origin_id: str) -> bool:
    value = document(record)
    return (value["origin_server"], value["origin_id"]) == (server, origin_id)


def _present(row: bytes | None) -> bytes:
    """A row that another row says is there."""
    assert row is not None
    return row
