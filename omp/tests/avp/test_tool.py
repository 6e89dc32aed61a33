"""``python -m omp vault`` against a running server: the lifecycle between two members, and what goes wrong."""

from __future__ import annotations

import base64
import json
import os
import re
import tempfile
import unittest
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

from omp.protocols.avp import member, repository, sealing
from omp.rules.encodings import b64u_encode
from omp.tests.avp.parties import CAROL, Caller
from omp.tests.harness import answering, command, raw_server, running_server
from omp.tools.terminal import Failed
from omp.tools.vault_session import Session, keys_in, server_at


@unittest.skipIf(find_spec("cryptography"), "here the package cryptography is installed")
class WithoutCryptography(unittest.TestCase):
    def test_it_is_asked_for_by_name_before_a_key_file_is_made(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for words in (("create",), ("join",)):
                status, _, said = command("vault", *words, "--key", f"{folder}/alice.json")
                self.assertEqual((status, said.count("\n")), (1, 1))
                self.assertIn("pip install cryptography", said)
            self.assertEqual(list(Path(folder).iterdir()), [])


@unittest.skipUnless(find_spec("cryptography"), "the client's side needs the package cryptography")
class VaultCommand(unittest.TestCase):
    """``python -m omp vault`` against a running server."""

    def setUp(self) -> None:
        context = running_server()
        self.server = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def vault(self, *arguments: str, stdin: bytes = b"", status: int = 0) -> str:
        """Run the command in this process: what it printed, or, if it must fail, its sentence on standard error."""
        ended, said, complained = command("vault", *arguments, stdin=stdin)
        self.assertEqual(ended, status, complained)
        return complained if status else said

    def key(self, name: str) -> str:
        return str(self.folder / f"{name}.json")

    def create(self) -> str:
        server = f"127.0.0.1:{self.server.port}"
        return self.vault("create", "--key", self.key("alice"), "--server", server, stdin=b"the plan\n").strip()

    def join(self, name: str, address: str) -> str:
        """Let `name` in, and return the locator."""
        request = self.vault("join", "--key", self.key(name)).strip()
        locator = self.vault("invite", "--key", self.key("alice"), address, request).strip()
        self.assertEqual(self.vault("join", "--key", self.key(name), locator).strip(), address)
        return locator

    def session(self, name: str, address: str) -> Session:
        return Session(member.parse_address(address).host, keys_in(Path(self.key(name)), make=False))

    def opened(self, name: str, address: str) -> member.Opened:
        return self.session(name, address).pull(member.parse_address(address).repo_id)

    def test_the_whole_lifecycle_between_two_members(self) -> None:
        address = self.create()
        self.assertEqual(self.vault("pull", "--key", self.key("alice"), address), "the plan\n")
        self.join("bob", address)
        plan = self.folder / "plan"
        plan.write_bytes(b"a better plan\n")
        self.assertEqual(self.vault("push", "--key", self.key("bob"), address, str(plan)), "version 3\n")
        self.assertEqual(self.vault("pull", "--key", self.key("alice"), address), "a better plan\n")
        shown = self.vault("show", "--key", self.key("bob"), address).splitlines()
        self.assertEqual(shown[0], f"version 3, key epoch 0, {sealing.SCHEME}")
        self.assertRegex(shown[2], r"keys bound  \(you\)$")
        bob = shown[2].split()[0]
        removed = self.vault("remove", "--key", self.key("alice"), address, bob)
        self.assertEqual(removed, "version 4, key epoch 1\n")
        self.assertIn("(forbidden)", self.vault("pull", "--key", self.key("bob"), address, status=1))
        self.assertEqual(self.vault("pull", "--key", self.key("alice"), address), "a better plan\n")

    def test_a_server_beside_an_address_must_be_that_of_the_address(self) -> None:
        address = self.create()
        key = ("--key", self.key("alice"))
        locator = self.join("bob", address)
        own = f"http://127.0.0.1:{self.server.port}"
        for words in (("pull", address), ("show", address)):
            self.assertEqual(self.vault(*words, *key, "--server", own), self.vault(*words, *key))
        self.assertEqual(self.vault("join", "--key", self.key("bob"), locator, "--server", own).strip(), address)
        # The variable is for commands that need a server; the address has one.
        with mock.patch.dict(os.environ, {"OMP_SERVER": "https://vault.example"}):
            self.assertEqual(self.vault("pull", address, *key), "the plan\n")
        for words in (("pull", address), ("push", address), ("join", locator)):
            said = self.vault(*words, *key, "--server", "https://vault.example", status=1)
            self.assertIn("--server: https://vault.example is not where avp://127.0.0.1:", said)

    def test_a_payload_is_bytes_and_may_be_empty(self) -> None:
        address = self.create()
        for payload in (bytes(range(256)), b""):
            (self.folder / "payload").write_bytes(payload)
            self.vault("push", "--key", self.key("alice"), address, str(self.folder / "payload"))
            self.assertEqual(self.opened("alice", address).plaintext, payload)

    def test_joining_again_writes_nothing(self) -> None:
        address = self.create()
        locator = self.join("bob", address)
        before = self.opened("bob", address).manifest
        self.assertEqual(self.vault("join", "--key", self.key("bob"), locator).strip(), address)
        self.assertEqual(self.opened("bob", address).manifest, before)

    def test_a_push_that_comes_second_reports_it_and_changes_nothing(self) -> None:
        address = self.create()
        payload = member.payload

        def second(*arguments: Any) -> Any:
            self.session("alice", address).push(payload(*arguments))
            return payload(*arguments)

        with mock.patch.object(member, "payload", second):
            said = self.vault("push", "--key", self.key("alice"), address, stdin=b"mine", status=1)
        self.assertIn("Somebody else pushed version 2 meanwhile", said)
        self.assertEqual(self.opened("alice", address).manifest["payloadVersion"], 2)

    def test_a_wrong_binding_is_shown_as_such(self) -> None:
        address = self.create()
        self.join("bob", address)
        now = self.opened("alice", address)
        alices, bobs = now.manifest["members"]
        roster = [alices, {**bobs, "keyBindingSig": alices["keyBindingSig"]}]
        body = member.payload(now, now.plaintext, lambda size: b"\0" * size)
        self.session("alice", address).push({**body, "rotatedMembers": roster})
        shown = self.vault("show", "--key", self.key("alice"), address).splitlines()
        self.assertTrue(shown[1].endswith("keys bound  (you)"), shown)
        self.assertTrue(shown[2].endswith("keys WRONG BINDING"), shown)

    def test_remove_warns_of_members_without_a_binding(self) -> None:
        address = self.create()
        self.join("bob", address)
        bob = keys_in(Path(self.key("bob")), make=False).member_id
        request = self.vault("join", "--key", self.key("carol")).strip()
        carol = member.decode_invite_request(request)["ed25519PublicKey"]
        self.vault("invite", "--key", self.key("alice"), address, request)
        status, said, warned = command("vault", "remove", "--key", self.key("alice"), address, bob)
        self.assertEqual((status, said), (0, "version 3, key epoch 1\n"))
        self.assertRegex(warned, rf"^warning: {re.escape(carol)} has signed no key binding.*\n$")

    def test_a_missing_envelope_is_reported(self) -> None:
        address = self.create()
        unchanged = {"manifest": self.opened("alice", address).manifest, "envelope": None, "unchanged": True}
        with mock.patch.object(Session, "in_repository", return_value=unchanged):
            said = self.vault("pull", "--key", self.key("alice"), address, status=1)
        self.assertIn("sent no envelope", said)

    def test_the_last_version_can_be_read_but_not_replaced(self) -> None:
        address = self.create()
        now = self.opened("alice", address)
        last = sealing.seal(now.data_key, b"\0" * 12, now.manifest["repoId"], 2**63 - 1, 0, b"the end")
        body = {"repoId": now.manifest["repoId"], "envelope": last, "expectedPayloadVersion": 1}
        with mock.patch.object(repository, "MAX_RISE", 2**63):  # nobody gets there in steps
            self.session("alice", address).push(body)
        self.assertEqual(self.vault("pull", "--key", self.key("alice"), address), "the end")
        self.assertIn("64 bits", self.vault("push", "--key", self.key("alice"), address, status=1))

    def test_an_address_can_hold_any_id(self) -> None:
        server = f"127.0.0.1:{self.server.port}"
        address = self.vault("create", "--key", self.key("a"), "--server", server, "--repo", "a/b %2F é").strip()
        self.assertEqual(address, f"avp://{server}/a/b %2F é")
        self.assertEqual(self.vault("pull", "--key", self.key("a"), address), "")

    def test_a_key_file_is_readable_by_its_owner_only(self) -> None:
        address = self.create()
        path = Path(self.key("alice"))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        path.chmod(0o640)
        self.assertIn("chmod 600", self.vault("pull", "--key", str(path), address, status=1))

    def test_mistakes_are_one_sentence(self) -> None:
        address = self.create()
        key = self.key("alice")
        (self.folder / "bad.json").write_text("{}")
        (self.folder / "bad.json").chmod(0o600)
        for arguments, words in (
            (("pull", "--key", self.key("nobody"), address), "There is no key file"),
            (("pull", "--key", str(self.folder / "bad.json"), address), "is no key file"),
            (("pull", "--key", key, f"avp://127.0.0.1:{self.server.port}/unknown"), "not_found"),
            (("pull", "--key", key, "avp://127.0.0.1:1/x"), "cannot be reached"),
            (("push", "--key", key, address, "/does/not/exist"), "cannot be read"),
            (("push", "--key", key, "--expect", "7", address), "is at version 1, not 7"),
            (("invite", "--key", key, address, "nonsense"), "no join token"),
            (("remove", "--key", key, address, "nobody"), "is not a member"),
            (("create", "--key", key, "--server", "x:y:z"), "is no base URL"),
            (("join", "--key", key, "nonsense"), "no join token"),
        ):
            said = self.vault(*arguments, status=1)
            self.assertIn(words, said)
            self.assertEqual((said.count("\n"), said.startswith("vault: ")), (1, True))

    def test_an_impossible_id_or_address_is_a_usage_error(self) -> None:
        for words in (("create", "--repo", ""), ("create", "--repo", "\udcff"), ("pull", "avp://h/"), ("pull", "h/r")):
            self.vault(*words, "--key", self.key("nobody"), status=2)
        self.assertFalse(Path(self.key("nobody")).exists())

    def test_only_loopback_hosts_are_reached_without_tls(self) -> None:
        for host in ("localhost", "localhost:8787", "127.0.0.1:8787", "127.9.9.9", "[::1]:8787"):
            self.assertEqual(server_at(host).scheme, "http", host)
        for host in ("vault.example", "vault.example:80", "127.evil.example", "localhost.evil.example", "10.0.0.1"):
            self.assertEqual(server_at(host).scheme, "https", host)

    def test_anything_but_a_host_is_refused(self) -> None:
        for host in ("", "h/path", "user@h", "h?q", "h#f", "h:port", "[::1", "a b", "localhost/../evil", "é"):
            with self.assertRaisesRegex(Failed, "is not a host, or host:port"):
                server_at(host)

    def test_answers_that_are_not_from_a_vault_are_reported(self) -> None:
        self.create()
        for body in (b"[]", b"{}", b"<html>", b'{"nonce": "AA=="}', b'{"nonce": 1}'):
            with raw_server(answering(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}", body)) as port:
                said = self.vault("pull", "--key", self.key("alice"), f"avp://127.0.0.1:{port}/r", status=1)
            self.assertTrue(said.startswith("vault: "))

    def test_neither_plaintext_nor_keys_nor_tokens_reach_the_server_in_clear(self) -> None:
        path = self.folder / "vault.db"
        with running_server(storage=f"sqlite:{path}") as server:
            self.server = server
            seen: list[bytes] = []
            with mock.patch.object(sealing, "aes_gcm", _recording(seen, sealing.aes_gcm)):
                address = self.create()
                self.join("bob", address)
            caller = Caller(server.port, CAROL)
            caller.close()
        stored = b"".join(each.read_bytes() for each in self.folder.glob("vault.db*")) + "\n".join(server.log).encode()
        self.assertIn(b"ciphertext", stored)
        keys = json.loads(Path(self.key("alice")).read_text())
        secrets = [b"the plan", *seen, caller.token.encode(), *(base64.b64decode(key) for key in keys.values())]
        for secret in secrets:
            for form in (secret, base64.b64encode(secret), secret.hex().encode(), b64u_encode(secret).encode()):
                self.assertNotIn(form, stored)


def _recording(seen: list[bytes], real: Any) -> Any:
    def record(key: bytes) -> Any:
        seen.append(key)
        return real(key)

    return record
