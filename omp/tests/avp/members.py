"""Members that run ``python -m omp vault`` against a running server, and a server that lies to them.

:class:`ToolCase` gives each test a server, a folder of key files and the command.  :class:`Liar` changes what the
server has stored, under its running process: it has what members sent, keys of its own, and no member's keys, as a
dishonest operator has.
"""

from __future__ import annotations

import json
import os
import tempfile
import unittest
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from omp.protocols.avp import member, repository, sealing, vouching
from omp.protocols.avp.member import Keys, Opened
from omp.protocols.avp.repository import Repository, Roster
from omp.protocols.avp.routes import ENVELOPES, REPOSITORIES
from omp.rules.encodings import b64_decode
from omp.store.port import key
from omp.tests.harness import Running, command, running_server
from omp.tools.vault_session import Session, keys_in

JsonObject = dict[str, Any]


@unittest.skipUnless(find_spec("cryptography"), "the client's side needs the package cryptography")
class ToolCase(unittest.TestCase):
    """A server in memory, an empty folder, and the command."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.server = self.started()

    def started(self, storage: str = "memory", port: int = 0) -> Running:
        """A server that runs until the test ends."""
        return self.enterContext(running_server({"OMP_SERVER_PORT": str(port)}, storage=storage))

    def key(self, name: str) -> str:
        """The key file of a member."""
        return str(self.folder / f"{name}.json")

    def keys(self, name: str) -> Keys:
        """The keys in it."""
        return keys_in(Path(self.key(name)), make=False)

    def seen(self, name: str) -> Path:
        """The file in which a member remembers."""
        return self.folder / f"{name}.json.seen"

    def told(self, action: str, name: str, *more: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Status, output and complaints of the command, run by a member."""
        return command("vault", action, "--key", self.key(name), *more, stdin=stdin)

    def vault(self, action: str, name: str, *more: str, stdin: bytes = b"") -> str:
        """What the command printed, without a word of complaint."""
        status, said, complained = self.told(action, name, *more, stdin=stdin)
        complained = "".join(line for line in complained.splitlines(True) if not line.startswith("new member "))
        self.assertEqual((status, complained), (0, ""))
        return said.strip()

    def refused(self, action: str, name: str, *more: str, stdin: bytes = b"") -> str:
        """The sentence with which the command failed; what the member remembers has not changed."""
        before = self.seen(name).read_bytes() if self.seen(name).exists() else b""
        status, said, complained = self.told(action, name, *more, stdin=stdin)
        self.assertEqual((status, said), (1, ""), complained)
        after = self.seen(name).read_bytes() if self.seen(name).exists() else b""
        self.assertEqual(before, after)
        return complained

    def create(self, name: str = "alice", repo: str = "plans") -> str:
        """A new repository's address."""
        server = f"127.0.0.1:{self.server.port}"
        return self.vault("create", name, "--server", f"http://{server}", "--repo", repo, stdin=b"the plan")

    def invite(self, inviter: str, name: str, address: str) -> str:
        """Let `name` in; its locator."""
        return self.vault("invite", inviter, address, self.vault("join", name))

    def join(self, inviter: str, name: str, address: str) -> None:
        """Let `name` in, and let it enter."""
        self.assertEqual(self.vault("join", name, self.invite(inviter, name, address)), address)

    def opened(self, name: str, address: str) -> Opened:
        """What the server shows to a member, believed or not."""
        place = member.parse_address(address)
        return Session(place.host, self.keys(name)).pull(place.repo_id)


class Liar:
    """The operator of `server`, who changes what it shows of the repository at `address`."""

    def __init__(self, server: Running, address: str) -> None:
        self._store = server.parts.store
        self.repo_id = member.parse_address(address).repo_id
        self.mallory = member.new_keys(os.urandom)
        self.data_key = os.urandom(32)

    def truth(self) -> tuple[JsonObject, JsonObject]:
        """Manifest and envelope as the members left them, or as the last lie did."""
        row, envelope = (self._store.get(table, key(self.repo_id)) for table in (REPOSITORIES, ENVELOPES))
        assert row is not None
        assert envelope is not None
        return json.loads(Repository.of_row(row).manifest()), json.loads(envelope)

    def show(self, manifest: Mapping[str, Any], envelope: Mapping[str, Any]) -> None:
        """Show this from now on."""
        with self._store.write() as tx:
            before = Repository.of_row(tx.get(REPOSITORIES, key(self.repo_id)) or b"")
            after = before._replace(
                version=manifest["payloadVersion"], epoch=manifest["keyEpoch"], roster=Roster.of(manifest["members"])
            )
            tx.put(REPOSITORIES, key(self.repo_id), after.row())
            tx.put(ENVELOPES, key(self.repo_id), repository.encoded(envelope))

    def change(self, member_id: str, **changed: Any) -> None:
        """Show an entry with other members; ``omp_wrap`` is ``omp.wrap``."""
        manifest, envelope = self.truth()
        named = {name.replace("omp_", "omp."): value for name, value in changed.items()}
        for entry in manifest["members"]:
            if entry["ed25519PublicKey"] == member_id:
                entry |= named
        self.show(manifest, envelope)

    def entry(self, keys: Keys, epoch: int) -> JsonObject:
        """An entry of a member, wrapped and signed by Mallory."""
        return self.wrapped({"ed25519PublicKey": keys.member_id, "x25519PublicKey": keys.x25519_public_key}, epoch)

    def wrapped(self, entry: Mapping[str, Any], epoch: int) -> JsonObject:
        """`entry` with the liar's data key, wrapped for it and signed by Mallory."""
        recipient = b64_decode(entry["x25519PublicKey"])
        wrapped = sealing.wrap(self.data_key, recipient, os.urandom(32), os.urandom(12))
        anew = {**entry, "wrappedDataKey": wrapped, "keyEpoch": epoch}
        return vouching.signed(anew, self.repo_id, self.mallory.member_id, self.mallory.sign)

    def rotate(self, version: int, epoch: int, *, keep: bool = False, sign: bool = True) -> None:
        """Show a payload under the liar's data key, wrapped for every member.

        Each entry keeps its ``omp.wrap`` if `keep`; otherwise it has Mallory's if `sign`, and else none.
        """
        manifest, _ = self.truth()
        entries = []
        for entry in manifest["members"]:
            anew = self.wrapped(entry, epoch)
            if keep or not sign:
                anew["omp.wrap"] = entry.get("omp.wrap") if keep else None
            entries.append(anew)
        envelope = sealing.seal(self.data_key, os.urandom(12), self.repo_id, version, epoch, b"a lie")
        self.show({**manifest, "payloadVersion": version, "keyEpoch": epoch, "members": entries}, envelope)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Show one member more."""
        manifest, envelope = self.truth()
        self.show({**manifest, "members": [*manifest["members"], entry]}, envelope)
