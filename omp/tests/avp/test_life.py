"""The whole life of a vault between members with the tool and one with a published client (§9, §13.4, §13.6).

The published client signs nothing, begins at version 1 and epoch 0, goes up in steps of 1, and writes of an entry what
it knows.  The server keeps SQLite, and is stopped and started in between.
"""

from __future__ import annotations

import os
import unittest
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from omp.protocols.avp import member, sealing
from omp.protocols.avp.member import Opened
from omp.rules.encodings import b64_decode
from omp.tests.avp.members import JsonObject, ToolCase
from omp.tests.harness import Running, running_server
from omp.tools.vault_session import Session

_KNOWN = ("ed25519PublicKey", "x25519PublicKey", "wrappedDataKey", "keyEpoch", "keyBindingSig")


class Published:
    """A member with a client that knows §1 to §10; `keeps` says whether it keeps what it does not know of an entry."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.keys = member.new_keys(os.urandom)
        self._keeps = keeps
        self.address = ""

    def request(self) -> str:
        """An invite request."""
        return member.encode_invite_request(self.keys.member_id, self.keys.x25519_public_key)

    def _session(self) -> tuple[Session, str]:
        place = member.parse_address(self.address)
        return Session(place.host, self.keys), place.repo_id

    def _known(self, entry: Mapping[str, Any]) -> JsonObject:
        return dict(entry) if self._keeps else {name: entry[name] for name in _KNOWN if name in entry}

    def _entry(self, keys: Mapping[str, Any], data_key: bytes, epoch: int) -> JsonObject:
        recipient = b64_decode(keys["x25519PublicKey"])
        wrapped = sealing.wrap(data_key, recipient, os.urandom(32), os.urandom(12))
        return {**self._known(keys), "wrappedDataKey": wrapped, "keyEpoch": epoch}

    def create(self, server: str) -> None:
        """Make the repository `plans`."""
        self.address = f"avp://{server}/plans"
        data_key = os.urandom(32)
        own = {"ed25519PublicKey": self.keys.member_id, "x25519PublicKey": self.keys.x25519_public_key}
        entry = self._entry({**own, "keyBindingSig": self.keys.binding()}, data_key, 0)
        counters = {"repoId": "plans", "payloadVersion": 1, "keyEpoch": 0}
        manifest = {**counters, "schemeId": sealing.SCHEME, "members": [entry]}
        envelope = sealing.seal(data_key, os.urandom(12), "plans", 1, 0, b"the first plan")
        session, _ = self._session()
        session.post("/v1/repos", {"manifest": manifest, "initialEnvelope": envelope}, {})

    def pull(self) -> Opened:
        """What the server shows."""
        session, repo_id = self._session()
        return session.pull(repo_id)

    def push(self, plaintext: bytes, *, bind: bool = False) -> None:
        """Replace the payload; with `bind`, put the own key binding into the roster too."""
        session, _ = self._session()
        now = self.pull()
        body = member.payload(now, plaintext, os.urandom)
        if bind:
            entries = [self._known(entry) for entry in member.binding_of(self.keys, now, os.urandom)["rotatedMembers"]]
            body["rotatedMembers"] = entries
        session.push(body)

    def invite(self, request: str) -> str:
        """Let somebody in; a locator."""
        session, repo_id = self._session()
        now = self.pull()
        entry = self._entry(member.decode_invite_request(request), now.data_key, now.epoch)
        entry.pop("v", None)
        session.in_repository("add-member", {"repoId": repo_id, "member": entry}, {})
        return member.encode_locator(member.parse_address(self.address), sealing.SCHEME, now.epoch)

    def remove(self, member_id: str) -> None:
        """Shut somebody out, under a new data key in the next epoch."""
        session, repo_id = self._session()
        now, data_key = self.pull(), os.urandom(32)
        epoch = now.epoch + 1
        staying = [each for each in now.manifest["members"] if each["ed25519PublicKey"] != member_id]
        body = {
            "repoId": repo_id,
            "removedMemberId": member_id,
            "rotatedEnvelope": sealing.seal(data_key, os.urandom(12), repo_id, now.next_version, epoch, now.plaintext),
            "rewrappedMembers": [self._entry(each, data_key, epoch) for each in staying],
            "newKeyEpoch": epoch,
        }
        session.in_repository("remove-member", body, {})


class TheWholeLife(ToolCase):
    """Alice and Bob use the tool, Carol a published client."""

    _running: AbstractContextManager[Running] | None

    def started(self, storage: str = "memory", port: int = 0) -> Running:
        """A server with SQLite that :meth:`restart` can end."""
        environ = {"OMP_SERVER_PORT": str(port)}
        running = running_server(environ, storage=storage if port else f"sqlite:{self.folder / 'vault.db'}")
        self._running = running
        self.addCleanup(self._stop)
        return running.__enter__()

    def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.__exit__(None, None, None)

    def restart(self) -> None:
        """Stop the server, and start another one on the same port and file."""
        port = self.server.port
        self._stop()
        self.server = self.started(f"sqlite:{self.folder / 'vault.db'}", port)

    def warned(self, action: str, name: str, *more: str) -> str:
        """The warning with which the command succeeded."""
        status, _, complained = self.told(action, name, *more)
        self.assertEqual((status, complained.count("\n"), complained[:9]), (0, 1, "warning: "), complained)
        return complained

    def fingerprint(self, name: str, *more: str) -> str:
        """The last word of `show` or `trust`."""
        _, said, _ = self.told("trust" if more else "show", name, self.address)
        return said.split()[-1]

    def test_a_vault_of_alices(self) -> None:
        self.address = self.create()
        carol = Published(keeps=True)
        carol.address = self.address
        self.join("alice", "bob", self.address)
        self.vault("invite", "alice", self.address, carol.request())
        self.restart()
        carol.push(b"Carol's plan", bind=True)
        self.assertEqual(self.vault("pull", "bob", self.address), "Carol's plan")
        self.vault("push", "bob", self.address, stdin=b"Bob's plan")
        self.assertEqual(carol.pull().plaintext, b"Bob's plan")
        self.vault("remove", "alice", self.address, carol.keys.member_id)
        self.restart()
        self.assertEqual(self.vault("pull", "bob", self.address, "--strict"), "Bob's plan")
        self.assertEqual(self.fingerprint("alice"), self.fingerprint("bob"))
        self.vault("remove", "bob", self.address, self.keys("bob").member_id)
        self.assertEqual(self.vault("pull", "alice", self.address), "Bob's plan")
        now = self.opened("alice", self.address)
        self.assertEqual((now.next_version - 1, now.epoch, len(now.manifest["members"])), (6, 2, 1))

    def test_a_vault_of_carols(self) -> None:
        carol = Published()
        carol.create(f"127.0.0.1:{self.server.port}")
        self.address = carol.address
        locator = carol.invite(self.vault("join", "alice"))
        self.assertIn("its client signs nothing", self.refused("join", "alice", locator, "--strict"))
        self.assertIn("does not say what the inviter saw", self.warned("join", "alice", locator))
        self.assertEqual(self.vault("pull", "alice", self.address), "the first plan")
        dave = Published()
        carol.invite(dave.request())
        self.assertIn(dave.keys.member_id, self.warned("pull", "alice", self.address))
        self.restart()
        self.join("alice", "bob", self.address)
        carol.push(b"Carol's plan")
        for name in ("alice", "bob"):
            self.assertEqual(self.vault("pull", name, self.address), "Carol's plan")
        carol.remove(self.keys("bob").member_id)
        self.assertIn(carol.keys.member_id, self.warned("pull", "alice", self.address))
        self.assertIn("is not signed (omp.wrap)", self.refused("pull", "alice", self.address, "--strict"))
        self.restart()
        self.vault("push", "alice", self.address, stdin=b"Alice's plan")
        self.assertEqual(carol.pull().plaintext, b"Alice's plan")
        now = self.opened("alice", self.address)
        self.assertEqual((now.next_version - 1, now.epoch), (6, 1))
        _, said, _ = self.told("remove", "alice", self.address, dave.keys.member_id)
        self.assertEqual(said, "version 7, key epoch 2\n")
        self.assertEqual(carol.pull().plaintext, b"Alice's plan")
        self.assertEqual(self.vault("pull", "alice", self.address, "--strict"), "Alice's plan")

    def test_a_client_that_drops_signatures_is_refused_until_somebody_decides_to_believe_it(self) -> None:
        self.address = self.create()
        carol = Published()
        carol.address = self.address
        self.join("alice", "bob", self.address)
        self.vault("invite", "alice", self.address, carol.request())
        carol.push(b"Carol's plan", bind=True)
        self.assertIn("was signed (omp.wrap), and now it is not", self.refused("pull", "alice", self.address))
        self.assertIn("nothing of this is believed yet", self.warned("trust", "alice", self.address))
        self.assertIn("and now it is not", self.refused("pull", "alice", self.address))
        held = self.fingerprint("alice", "before")
        wrong = "0000" + held[4:]
        self.assertIn(f"the state {held}, not {wrong}", self.refused("trust", "alice", self.address, wrong))
        for name in ("alice", "bob"):
            self.vault("trust", name, self.address, held)
            self.assertEqual(self.vault("pull", name, self.address), "Carol's plan")
        carol.remove(self.keys("bob").member_id)
        self.warned("pull", "alice", self.address)
        self.vault("push", "alice", self.address, stdin=b"Alice's plan")
        self.assertEqual(carol.pull().plaintext, b"Alice's plan")


if __name__ == "__main__":
    unittest.main()
