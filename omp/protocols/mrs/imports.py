"""The document of an import: what another server exported, read whole before anything of it is kept (§12.4).

An operator imports once, when moving, and what is then lost in silence is missed months later.  So nothing of a
document is kept unless all of it can be: a list by another name is refused, since it would be left behind, and bad
entries are named together, since they are mended in an editor and not one by one.

The first editions wrote null for what is absent, also within a space.  There is one rule for it: null members are
dropped, wherever in an entry they stand, before the entry is looked at.

In this order: the document, an entry, nulls.  The caller must check who asks, and which entries are older than what is
kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from omp.protocols.mrs.addresses import server_url
from omp.protocols.mrs.peers import Peer, read_peer
from omp.protocols.mrs.registration import BadRegistration, Registration, read_registration, tombstone
from omp.protocols.mrs.schemas import IMPORT, RegistryError
from omp.rules.schema import compile_schema

MAX_NAMED = 10
"""Bad entries that are named; after them the document is read no further."""

_LISTS = ("registrations", "tombstones", "peers")
_CHECKS = {member: compile_schema(IMPORT["properties"][member]["items"]) for member in _LISTS}


class BadImport(RegistryError):
    """The document of an import cannot be kept; the message names its bad entries, as in ``registrations.3: …``."""


class Exported(NamedTuple):
    """What a document holds."""

    registrations: list[Registration]
    tombstones: list[dict[str, Any]]
    peers: list[Peer]


def read_import(document: Any, here: str) -> Exported:
    """The entries of the JSON value `document`, `here` being this server's URL; :class:`BadImport`."""
    _check_lists(document)
    readers: dict[str, Callable[[Any], Any]] = {
        "registrations": lambda entry: read_registration(_originating(entry, here), here),
        "tombstones": lambda entry: _tombstone(_originating(entry, here)),
        "peers": lambda entry: read_peer(entry, is_configured=False),
    }
    bad: list[str] = []
    found = {member: _entries(document, member, read, bad) for member, read in readers.items()}
    if bad:
        more = "; the entries after these were not looked at" if len(bad) == MAX_NAMED else ""
        raise BadImport("; ".join(bad) + more)
    return Exported(**found)


def _check_lists(document: Any) -> None:
    """:class:`BadImport` unless all lists of the document are known, and there is one; null is an empty one."""
    right = "an import has the lists registrations, tombstones and peers, or some of them"
    if type(document) is not dict:
        raise BadImport(f"The document must be an object: {right}.")
    for name, value in document.items():
        if name in _LISTS and value is not None and type(value) is not list:
            raise BadImport(f"{name} must be a list.")
        if name not in _LISTS and type(value) is list:
            raise BadImport(f"Nothing would become of the list {name[:60]!r}: {right}.")
    if not any(name in document for name in _LISTS):
        raise BadImport(f"There is nothing to import: {right}.")


# --- entries --------------------------------------------------------------------------------------------------------


def _entries(document: dict[str, Any], member: str, read: Callable[[Any], Any], bad: list[str]) -> list[Any]:
    """Every entry of a list, read; those that cannot be kept are named in `bad`, until it is full."""
    found = []
    for index, value in enumerate(document.get(member) or ()):
        if len(bad) == MAX_NAMED:
            break
        entry = _without_nulls(value)
        try:
            for problem in _CHECKS[member](entry):
                place = ".".join(map(str, problem.path)) or "it"
                raise BadImport(f"{place} {problem.message}")
            found.append(read(entry))
        except RegistryError as error:
            bad.append(f"{member}.{index}: {error}")
    return found


def _originating(entry: dict[str, Any], here: str) -> dict[str, Any]:
    """An entry with the one text (§1.5) of the server where it originates: this one, if it does not say."""
    try:
        return {**entry, "origin_server": server_url(entry.get("origin_server") or here)}
    except ValueError as error:
        raise BadRegistration(f"origin_server {error}") from None


def _tombstone(entry: dict[str, Any]) -> dict[str, Any]:
    tombstone(entry)  # raises where it is none
    return entry


# --- nulls ----------------------------------------------------------------------------------------------------------


def _without_nulls(value: Any) -> Any:
    """A JSON value without the members that are null, at any depth; null in an array stays.

    >>> _without_nulls({"type": "sphere", "center": {"lat": 1, "ele": None}, "altitude": None, "other": [None]})
    {'type': 'sphere', 'center': {'lat': 1}, 'other': [None]}
    """
    if type(value) is dict:
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    return [_without_nulls(element) for element in value] if type(value) is list else value
