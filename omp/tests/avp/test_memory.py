"""What a member remembers between runs of the tool: the file, crashes, several runs at once, a lost file (§13.6)."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

from omp.protocols.avp import witness
from omp.protocols.avp.member import Address
from omp.protocols.avp.witness import AnotherDataKey, Known, OldState, Seen
from omp.tests import TOP
from omp.tests.avp.members import Liar, ToolCase
from omp.tools.terminal import Failed
from omp.tools.vault_memory import Memory, beside
from omp.tools.vault_session import Session

PLACE = Address("vault.example", "plans")


def seen(version: int, epoch: int = 0, members: str = "a", key: str = "") -> Seen:
    """What was seen at a version; `members` has a letter for each, `key` another data key."""
    keys = {each: f"{key or each:0>64}" for each in range(epoch + 1)}
    roster = {name: Known(name * 2, "a") for name in members}
    return Seen(version, epoch, f"{version:0>64}", roster, keys)


class TheFile(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "seen"
        self.memory = Memory(self.path, "a")

    def test_what_is_kept_is_recalled_by_another_run(self) -> None:
        self.assertIsNone(self.memory.recall(PLACE))
        self.memory.keep(PLACE, seen(2**63 - 1, 2, "ab"))
        self.memory.keep(Address("vault.example", "other"), seen(1))
        self.assertEqual(Memory(self.path, "a").recall(PLACE), seen(2**63 - 1, 2, "ab"))

    def test_the_name_of_a_host_has_no_case_and_that_of_a_repository_has(self) -> None:
        self.memory.keep(PLACE, seen(1))
        self.assertEqual(self.memory.recall(Address("Vault.EXAMPLE", "plans")), seen(1))
        self.assertIsNone(self.memory.recall(Address("vault.example", "Plans")))

    def test_it_is_its_owners_alone(self) -> None:
        self.memory.keep(PLACE, seen(1))
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.path.chmod(0o660)
        with self.assertRaisesRegex(Failed, "chmod 600"):
            self.memory.recall(PLACE)

    def test_a_damaged_file_is_not_taken_for_an_empty_one(self) -> None:
        self.memory.keep(PLACE, seen(1))
        whole = self.path.read_text()
        for text in ("", "{}", "[]", whole[:-3], whole.replace('"v": 1', '"v": 2'), whole.replace("000", "00x", 1)):
            self.path.write_text(text)
            with self.assertRaisesRegex(Failed, "is damaged"):
                self.memory.recall(PLACE)
            with self.assertRaisesRegex(Failed, "is damaged"):
                self.memory.keep(PLACE, seen(2))
            self.assertEqual(self.path.read_text(), text)

    def test_it_is_of_one_member(self) -> None:
        self.memory.keep(PLACE, seen(1))
        with self.assertRaisesRegex(Failed, "another member"):
            Memory(self.path, "b").recall(PLACE)

    def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(self) -> None:
        self.memory.keep(PLACE, seen(1))
        before = self.path.read_bytes()
        for broken in ("fsync", "replace"):
            with (
                mock.patch.object(os, broken, side_effect=OSError(28, "No space left on device")),
                self.assertRaisesRegex(Failed, "No space left on device.*--state"),
            ):
                self.memory.keep(PLACE, seen(2))
            self.assertEqual([each.name for each in self.path.parent.iterdir()], ["seen"])
            self.assertEqual(self.path.read_bytes(), before)

    def test_the_new_file_is_on_the_disk_before_it_takes_the_old_ones_name(self) -> None:
        steps: list[str] = []
        real = {name: getattr(os, name) for name in ("fsync", "replace")}

        def noted(name: str) -> Callable[..., None]:
            def call(*given: object) -> None:
                steps.append(name)
                real[name](*given)

            return call

        with mock.patch.object(os, "fsync", noted("fsync")), mock.patch.object(os, "replace", noted("replace")):
            self.memory.keep(PLACE, seen(1))
        self.assertEqual(steps[:2], ["fsync", "replace"])

    def test_many_at_once_forget_nothing(self) -> None:
        start = threading.Barrier(8)

        def keep(number: int) -> None:
            start.wait(30)
            for version in range(number, 41, 8):
                Memory(self.path, "a").keep(PLACE, seen(version))
                Memory(self.path, "a").keep(Address("host", str(version)), seen(version))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(keep, range(1, 9)))
        self.assertEqual(self.memory.recall(PLACE), seen(40))
        for version in range(1, 41):
            self.assertEqual(self.memory.recall(Address("host", str(version))), seen(version))


class TwoRuns(unittest.TestCase):
    """:func:`~omp.protocols.avp.witness.merged`."""

    def test_the_later_state_counts_in_whatever_order_they_end(self) -> None:
        states = (seen(1), seen(2, 1, "ab"), seen(2, 1, "abc"), seen(5, 3, "c"))
        for one, other in itertools.combinations(states, 2):
            self.assertEqual(witness.merged(one, other), witness.merged(other, one))
            self.assertEqual(witness.merged(one, other), other)

    def test_of_two_rosters_under_one_version_both_count(self) -> None:
        both = witness.merged(seen(1, 0, "ab"), seen(1, 0, "ac"))
        self.assertEqual(both.members.keys(), {"a", "b", "c"})

    def test_two_histories_are_refused(self) -> None:
        for one, other, refusal in (
            (seen(1), seen(2, key="9"), AnotherDataKey),
            (seen(1), seen(1)._replace(envelope="9" * 64), OldState),
            (seen(1, 1), seen(2, 0), OldState),
            (seen(1, 1), seen(1, 0), OldState),
        ):
            for pair in ((one, other), (other, one)):
                with self.assertRaises(refusal):
                    witness.merged(*pair)


class BetweenRuns(ToolCase):
    def test_after_a_crash_between_a_write_and_its_memory_the_next_run_goes_on(self) -> None:
        address = self.create()
        self.join("alice", "bob", address)
        bob = self.keys("bob").member_id
        request = self.vault("join", "carol")
        for action, *more in (("push",), ("invite", request), ("remove", bob)):
            before = self.seen("alice").read_bytes()
            self.told(action, "alice", address, *more, stdin=b"new")
            after = self.vault("show", "alice", address)
            self.seen("alice").write_bytes(before)
            self.assertEqual(self.vault("show", "alice", address), after, action)

    def test_a_write_that_cannot_be_remembered_is_not_made(self) -> None:
        server = f"127.0.0.1:{self.server.port}"
        self.vault("join", "alice")
        nowhere = str(self.folder / "not" / "there")
        said = self.refused("create", "alice", "--server", server, "--repo", "r", "--state", nowhere)
        self.assertIn("--state", said)
        self.assertIn("not_found", self.refused("trust", "alice", f"avp://{server}/r"))

    def test_a_lost_file_is_not_made_again_in_silence(self) -> None:
        address = self.create()
        self.join("alice", "bob", address)
        self.seen("bob").unlink()
        for action, *more in (("pull",), ("push",), ("show",), ("remove", self.keys("alice").member_id)):
            self.assertIn("Nothing that you saw of", self.refused(action, "bob", address, *more))
        self.assertFalse(self.seen("bob").exists())

    def test_after_a_lost_file_the_member_is_invited_again(self) -> None:
        address = self.create()
        self.join("alice", "bob", address)
        self.vault("push", "bob", address, stdin=b"Bob's plan")
        self.seen("bob").unlink()
        self.assertEqual(self.vault("join", "bob", self.invite("alice", "bob", address)), address)
        self.assertEqual(self.vault("pull", "bob", address), "Bob's plan")

    def test_a_member_that_wrapped_for_itself_can_be_invited_again(self) -> None:
        address = self.create()
        for name in ("bob", "carol"):
            self.join("alice", name, address)
        self.vault("remove", "bob", address, self.keys("carol").member_id)
        self.vault("pull", "alice", address)
        self.seen("bob").unlink()
        self.assertEqual(self.vault("join", "bob", self.invite("alice", "bob", address)), address)

    def test_after_a_lost_file_the_member_can_compare_and_trust(self) -> None:
        address = self.create()
        self.join("alice", "bob", address)
        fingerprint = self.vault("show", "alice", address).split()[-1]
        self.seen("bob").unlink()
        self.assertEqual(self.vault("trust", "bob", address, fingerprint).split()[-1], fingerprint)
        self.assertEqual(self.vault("pull", "bob", address), "the plan")

    def test_a_lie_is_not_trusted_by_the_fingerprint_of_the_truth(self) -> None:
        address = self.create()
        fingerprint = self.vault("show", "alice", address).split()[-1]
        Liar(self.server, address).rotate(2, 1)
        said = self.refused("trust", "alice", address, fingerprint)
        self.assertIn(f"not {fingerprint}: nothing of it is believed", said)

    def test_two_devices_with_one_key_have_a_memory_each(self) -> None:
        address = self.create()
        other = ("--state", str(self.folder / "other"))
        fingerprint = self.vault("show", "alice", address).split()[-1]
        self.vault("trust", "alice", address, fingerprint, *other)
        for flags in ((), other, (), other):
            self.vault("push", "alice", address, *flags, stdin=b"new")
            self.assertEqual(self.vault("pull", "alice", address), "new")
        self.join("alice", "bob", address)
        self.vault("remove", "alice", address, self.keys("bob").member_id, *other)
        self.assertEqual(self.vault("pull", "alice", address), "new")

    def test_a_push_that_lost_the_race_is_pulled_and_made_again(self) -> None:
        address = self.create()
        self.join("alice", "bob", address)
        real = Session.push

        def second(session: Session, body: dict[str, object]) -> int:
            with mock.patch.object(Session, "push", real):
                self.vault("push", "bob", address, stdin=b"Bob was first")
            return real(session, body)

        with mock.patch.object(Session, "push", second):
            status, _, said = self.told("push", "alice", address, stdin=b"mine")
        self.assertEqual(status, 1)
        self.assertIn("Somebody else pushed version 3 meanwhile", said)
        self.assertEqual(self.vault("pull", "alice", address), "Bob was first")
        self.assertEqual(self.vault("push", "alice", address, stdin=b"mine"), "version 4")

    def test_runs_at_once_agree_in_the_end(self) -> None:
        address = self.create()
        words = [sys.executable, "-m", "omp", "vault", "push", "--key", self.key("alice"), address, os.devnull]
        words_of = (words, [*words[:4], "pull", *words[5:8]])
        runs = [
            subprocess.Popen(words_of[number % 2], cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for number in range(8)
        ]
        for run in runs:
            _, complained = run.communicate(timeout=120)
            self.assertIn((run.returncode, b"meanwhile" in complained), ((0, False), (1, True)), complained)
        version = self.opened("alice", address).next_version - 1
        self.assertGreater(version, 1)
        (stored,) = json.loads(self.seen("alice").read_text())["repositories"].values()
        self.assertEqual(stored["version"], version)
        self.assertEqual(self.vault("pull", "alice", address), "")

    def test_the_memory_lies_beside_the_key(self) -> None:
        self.assertEqual(beside(Path("a/alice.json")), Path("a/alice.json.seen"))
        self.create()
        self.assertEqual(sorted(each.name for each in self.folder.iterdir()), ["alice.json", "alice.json.seen"])


if __name__ == "__main__":
    unittest.main()
