"""The store: named tables of ordered keys behind one small port, and the adapters that implement it (omp §8).

Every protocol keeps its rows here, and none learns which adapter is behind the port.  :func:`open_store` turns the text
of ``--storage`` into a store:

>>> from omp.store.port import after, key
>>> store = open_store("memory")
>>> with store.write() as tx:  # all or nothing, and alone: a check and its write belong in one block
...     if tx.get("notes", key("ann", 1)) is None:
...         tx.put("notes", key("ann", 1), b"first")
>>> with store.read() as tx:  # one moment of the store; keys in order
...     list(tx.scan("notes", key("ann"), after(key("ann"))))
[(b'ann\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01', b'first')]

The files, in reading order:

* ``port``: the contract that every adapter keeps, and how ordered keys are made;
* ``memory``: lock-guarded dicts beside sorted keys, the default;
* ``sqlite_file``: whose file it may be, and its tables;
* ``sqlite_readers``: the connections that read;
* ``sqlite``: one durable file, and writers that share commits;
* ``sqlite_guard``: one process at a time has the file, and accidents to it are noticed;
* ``audit``: for the operator's tools, whether a file is whole.

An adapter is imported only when it is chosen.  Public: :func:`open_store`, :class:`Store` with the blocks that it
opens, :class:`StorageError`, and from ``port`` :class:`~omp.store.port.StoreUnavailable`, :func:`~omp.store.port.key`
and :func:`~omp.store.port.after`.
"""

from __future__ import annotations

from omp.store.port import StorageError, Store


def open_store(spec: str) -> Store:
    """The store that `spec` names: ``memory``, or ``sqlite:PATH``.

    Raises :class:`StorageError`, which says what would be right, if `spec` is of another form or the file cannot be
    used.  There is no silent fallback to another store (omp §1.1).
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
