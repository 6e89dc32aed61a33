"""What a member has seen of each repository, in a file beside its key (§13.6).

The file is a JSON object that only its owner can read (mode 0600).  It is replaced as a whole: a new file is written,
reaches the disk, and takes the old one's name, so that a crash leaves the old one or the new one.  Between reading and
replacing it the folder is locked, where the system can lock: of several runs at once each adds what it has seen
(:func:`~omp.protocols.avp.witness.merged`), and none takes anything back.

A file that is lost is not made again in silence: :meth:`Memory.recall` says that nothing is known, and the person
decides (``vault trust``).  The file holds no secret.  Whoever can write it can make its owner believe a server.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omp.protocols.avp.member import Address
from omp.protocols.avp.witness import Known, Seen, merged
from omp.rules.json_text import JsonError, parse
from omp.rules.schema import compile_schema
from omp.tools.key_files import sync_name
from omp.tools.terminal import Failed, reason

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_COUNTER = {"type": "integer", "minimum": 0}
_HASH = {"type": "string", "pattern": "[0-9a-f]{64}"}
_fits_file = compile_schema(
    {
        "type": "object",
        "required": ["v", "member", "repositories"],
        "properties": {"v": {"const": 1}, "member": {"type": "string"}, "repositories": {"type": "object"}},
    }
)
_fits_repository = compile_schema(
    {
        "type": "object",
        "required": ["version", "epoch", "envelope", "members", "dataKeys"],
        "properties": {
            "version": _COUNTER,
            "epoch": _COUNTER,
            "envelope": _HASH,
            "members": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["ed25519PublicKey", "x25519PublicKey", "by"],
                    "properties": {
                        "ed25519PublicKey": {"type": "string"},
                        "x25519PublicKey": {"type": "string"},
                        "by": {"type": ["string", "null"]},
                    },
                },
            },
            "dataKeys": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["epoch", "fingerprint"],
                    "properties": {"epoch": _COUNTER, "fingerprint": _HASH},
                },
            },
        },
    }
)


def beside(key_file: Path) -> Path:
    """Where the memory of the member with this key file is, if no option names another place."""
    return key_file.with_name(key_file.name + ".seen")


class Memory:
    """The file at `path`, of the member with the id `member_id`; it need not exist yet.

    Raises :class:`Failed` if the file cannot be read or written, is damaged, or is another member's.
    """

    def __init__(self, path: Path, member_id: str) -> None:
        self._path = path
        self._member_id = member_id

    def recall(self, address: Address) -> Seen | None:
        """What was seen of a repository; None if nothing is known."""
        return self._read().get(_name(address))

    def check_writable(self) -> None:
        """Write the file as it is: called before a write to the server that could not be remembered otherwise."""
        with self._locked():
            self._replace(self._read())

    def keep(self, address: Address, seen: Seen) -> None:
        """Remember `seen` besides what other runs have remembered meanwhile."""
        with self._locked():
            known = self._read()
            before = known.get(_name(address))
            after = seen if before is None else merged(before, seen)
            if after != before:
                self._replace({**known, _name(address): after})

    def replace(self, address: Address, seen: Seen) -> None:
        """Remember `seen`, and forget what was known of this repository."""
        with self._locked():
            self._replace({**self._read(), _name(address): seen})

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The file itself cannot be locked, because it is replaced; its folder stays.
        folder = None
        try:
            if fcntl is not None:
                folder = os.open(self._path.parent, os.O_RDONLY)
                fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError as error:
            raise self._failed("kept", error) from None
        try:
            yield
        finally:
            if folder is not None:
                os.close(folder)

    def _read(self) -> dict[str, Seen]:
        try:
            with self._path.open("rb") as file:
                if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                    raise Failed(f"Others can read or write {self._path}; make it yours alone: chmod 600 {self._path}")
                data = file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._failed("read", error) from None
        try:
            value = parse(data)
        except JsonError:
            value = None
        if _fits_file(value) or any(map(_fits_repository, value["repositories"].values())):
            raise Failed(f"{self._path} is damaged: bring it back from a copy, or remove it and see `vault trust`.")
        if value["member"] != self._member_id:
            raise Failed(f"{self._path} is the memory of another member; name one of your own: --state FILE")
        return {name: _seen(stored) for name, stored in value["repositories"].items()}

    def _replace(self, known: Mapping[str, Seen]) -> None:
        value = {
            "v": 1,
            "member": self._member_id,
            "repositories": {name: _stored(seen) for name, seen in known.items()},
        }
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=self._path.name, dir=self._path.parent)  # mode 0600
        except OSError as error:
            raise self._failed("written", error) from None
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(value, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
            sync_name(self._path)
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)
            raise self._failed("written", error) from None

    def _failed(self, what: str, error: OSError) -> Failed:
        return Failed(f"What you have seen cannot be {what} in {self._path} ({reason(error)}); see --state FILE.")


def _name(address: Address) -> str:
    """The name of a repository in the file: its address, the host in lower case, as names of hosts have no case."""
    return str(address._replace(host=address.host.lower()))


def _stored(seen: Seen) -> dict[str, Any]:
    return {
        "version": seen.version,
        "epoch": seen.epoch,
        "envelope": seen.envelope,
        "members": [
            {"ed25519PublicKey": member_id, "x25519PublicKey": known.x25519_key, "by": known.by}
            for member_id, known in seen.members.items()
        ],
        "dataKeys": [{"epoch": epoch, "fingerprint": key} for epoch, key in sorted(seen.data_keys.items())],
    }


def _seen(stored: Mapping[str, Any]) -> Seen:
    members = {each["ed25519PublicKey"]: Known(each["x25519PublicKey"], each["by"]) for each in stored["members"]}
    data_keys = {int(each["epoch"]): each["fingerprint"] for each in stored["dataKeys"]}
    return Seen(int(stored["version"]), int(stored["epoch"]), stored["envelope"], members, data_keys)
