"""What must hold of the rows of the objects (§2, §5.1): each is what its own JSON makes, and the indexes follow."""

from __future__ import annotations

from omp.protocols.objects.collection import BY_DEADLINE, BY_KEY, BY_NAMESPACE, OBJECTS, STATE
from omp.protocols.objects.record import Record, remade
from omp.store.audit import Check, Kind
from omp.store.port import key

TABLES = {
    OBJECTS: Kind.KEPT,
    BY_NAMESPACE: Kind.DERIVED,
    BY_KEY: Kind.DERIVED,
    BY_DEADLINE: Kind.DERIVED,
    STATE: Kind.PASSING,
}


def audit(check: Check) -> None:
    """Compute the ETag and the header of each object again, and its rows in the indexes."""
    for identifier, row in check.rows(OBJECTS):
        try:
            record = Record(row)
            is_whole = record.id == identifier and remade(record).row == row
        except Exception as error:
            check.wrong(OBJECTS, identifier, f"it cannot be read ({type(error).__name__})")
            continue
        check.require(is_whole, OBJECTS, identifier, "its id, ETag or header is not that of its JSON")
        namespace, name = key(record.namespace), record.key if record.has_key else b""
        check.expect(BY_NAMESPACE, namespace + identifier, name)
        if name:
            check.expect(BY_KEY, namespace + key(name) + identifier, b"")
        if record.deadline:
            check.expect(BY_DEADLINE, key(record.deadline) + identifier, b"")
    for name, value in check.rows(STATE):
        check.require(name == b"moment" and len(value) == 8, STATE, name, "it is not the moment of an id")
