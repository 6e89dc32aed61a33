"""The store floor: named tables of ordered keys behind one small port, and the adapters that keep them.

``port`` is the contract, ``memory`` and ``sqlite`` keep it.  :func:`open_store` turns the text of ``--storage`` into
a store; an adapter is imported only when it is chosen.
"""

from __future__ import annotations

from omp.store.port import StorageError, Store


def open_store(spec: str) -> Store:
    """The store that `spec` names: ``memory``, or ``sqlite:PATH``.

    Raises :class:`StorageError`, saying what would be right, if `spec` is of another form or the file cannot be
    used: nothing falls back on another store in silence (architecture, "Serving").
    """
    adapter, _, path = spec.partition(":")
    if spec == "memory":
        from omp.store.memory import MemoryStore

        return MemoryStore()
    if adapter == "sqlite" and path:
        from omp.store.sqlite import SqliteStore

        return SqliteStore(path)
    raise StorageError(f"unknown storage {spec!r}: it must be memory or sqlite:PATH, as in sqlite:omp.db")


__all__ = ["StorageError", "Store", "open_store"]
