"""The vault under many clients at once, on both adapters, and under kill -9: check and write are one step (§4.3).

Threads talk over sockets, each with its own connection, and start each round at a barrier.  Whatever can come between
the first look of a request at a repository and its transaction is also put there on purpose, so that every run tries
it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

from omp.rules.encodings import b64u_decode
from omp.tests import ALL, TOP
from omp.tests.avp.parties import ALICE, BOB, CAROL, Caller, Party, VaultCase, creation, entry, envelope, removal
from omp.tests.harness import Answer, Client, eventually, running_server

THREADS = 16
ROUNDS = 60 if ALL else 12


def at_once(work: Callable[[int], Any], count: int = THREADS) -> list[Any]:
    """The results of `work` for 0 … count-1, all started at the same time."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> Any:
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


class Races(unittest.TestCase):
    """On the memory adapter."""

    def storage(self) -> str:
        return "memory"

    def setUp(self) -> None:
        # A thousand times as often as usual, so that threads meet between any two steps of a handler.
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(5e-6)
        context = running_server(storage=self.storage())
        self.server = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        self.alice = self.caller(ALICE)

    def caller(self, party: Party) -> Caller:
        caller = Caller(self.server.port, party)
        self.addCleanup(caller.close)
        return caller

    def shared_token(self, party: Party, count: int) -> list[Caller]:
        """`count` connections of one member with one token, because each login costs a hand-written signature."""
        first = self.caller(party)
        callers = [first]
        for _ in range(count - 1):
            caller = Caller(self.server.port, party, first.token)
            self.addCleanup(caller.close)
            callers.append(caller)
        return callers

    def test_of_many_pushes_with_one_expectation_exactly_one_is_accepted(self) -> None:
        self.alice.create(creation("r", ALICE))
        callers = self.shared_token(ALICE, THREADS)
        for version in range(1, ROUNDS + 1):

            def push(number: int, version: int = version) -> Any:
                sealed = envelope("r", version + 1, ciphertext=f"{version}-{number}")
                return callers[number].push("r", version, sealed).json

            answers = at_once(push)
            winners = [number for number, answer in enumerate(answers) if answer["accepted"]]
            self.assertEqual(len(winners), 1)
            self.assertEqual({answer["payloadVersion"] for answer in answers}, {version + 1})
            stored = self.alice.pull("r").json
            self.assertEqual(stored["envelope"]["ciphertext"], f"{version}-{winners[0]}")
            self.assertEqual(stored["manifest"]["payloadVersion"], version + 1)

    def test_no_accepted_push_is_lost_when_everybody_tries_until_it_gets_in(self) -> None:
        self.alice.create(creation("r", ALICE, version=0))
        callers = self.shared_token(ALICE, 8)
        log: list[int] = []

        def work(number: int) -> None:
            known, left = 0, 10
            while left:
                answer = callers[number].push("r", known, envelope("r", known + 1)).json
                if answer["accepted"]:
                    log.append(answer["payloadVersion"])
                    left -= 1
                known = answer["payloadVersion"]

        at_once(work, 8)
        self.assertEqual(sorted(log), list(range(1, 81)))

    def test_a_push_that_races_the_removal_of_its_sender_is_whole_or_refused(self) -> None:
        bobs = self.shared_token(BOB, 4)
        for number in range(ROUNDS):
            repo = f"r{number}"
            self.alice.create(creation(repo, ALICE))
            self.alice.add(repo, entry(BOB.id))

            def work(which: int, repo: str = repo) -> Answer:
                if which == 4:
                    return self.alice.call(repo, "remove-member", removal(repo, BOB.id, [ALICE.id], 9, 1))
                return bobs[which].push(repo, 1, envelope(repo, 2 + which))

            answers = at_once(work, 5)
            self.assertEqual(answers[4].status, 200)
            self.assertLessEqual({answer.status for answer in answers[:4]}, {200, 403})
            stored = self.alice.pull(repo).json
            self.assertEqual((stored["envelope"]["payloadVersion"], stored["envelope"]["keyEpoch"]), (9, 1))
            self.assertEqual(bobs[0].push(repo, 9, envelope(repo, 10)).status, 403)

    def test_of_many_creations_of_one_id_exactly_one_succeeds(self) -> None:
        callers = self.shared_token(ALICE, THREADS)
        answers = at_once(lambda number: callers[number].create(creation("r", ALICE, maker=number)))
        self.assertEqual(sorted(answer.status for answer in answers), [200] + [409] * (THREADS - 1))
        (made,) = (answer.json for answer in answers if answer.status == 200)
        self.assertEqual(self.alice.pull("r").json["manifest"], made)

    def test_members_added_at_once_are_all_there(self) -> None:
        self.alice.create(creation("r", ALICE))
        callers = self.shared_token(ALICE, THREADS)
        at_once(lambda number: callers[number].add("r", entry(f"member {number}")))
        members = {each["ed25519PublicKey"] for each in self.alice.pull("r").json["manifest"]["members"]}
        self.assertEqual(members, {ALICE.id} | {f"member {number}" for number in range(THREADS)})

    def test_of_many_redemptions_of_one_nonce_exactly_one_gets_a_token(self) -> None:
        callers = self.shared_token(ALICE, THREADS)
        for _ in range(3):
            body = ALICE.redemption(self.alice.challenge())

            def redeem(number: int, body: Any = body) -> int:
                return callers[number].request("POST", "/api/auth/keypair/token", body).status

            self.assertEqual(sorted(at_once(redeem)), [200] + [401] * (THREADS - 1))

    def test_a_pull_is_never_half_of_one_write_and_half_of_another(self) -> None:
        self.alice.create(creation("r", ALICE))
        callers = self.shared_token(ALICE, 5)
        done = threading.Event()

        def work(number: int) -> bool:
            if number == 0:
                for version in range(1, 100):
                    callers[0].push("r", version, envelope("r", version + 1, version))
                done.set()
            while not done.is_set():
                pulled = callers[number].pull("r").json
                for name in ("payloadVersion", "keyEpoch"):
                    if pulled["manifest"][name] != pulled["envelope"][name]:
                        return False
            return True

        self.assertEqual(at_once(work, 5), [True] * 5)


class Between(VaultCase):
    """Another request comes between the first look of this one at the repository and its transaction."""

    def between(self, work: Callable[[], Answer]) -> Any:
        """Patch the store so that `work` is done, and answered 200, before the next transaction begins."""
        store = self.server.parts.store
        write = store.write

        def first_the_other() -> Any:
            patch.stop()
            self.assertEqual(work().status, 200)
            return write()

        patch = mock.patch.object(store, "write", first_the_other)
        self.addCleanup(patch.stop)
        patch.start()

    def remove_bob(self) -> Answer:
        return self.alice.call(self.repo, "remove-member", removal(self.repo, BOB.id, [ALICE.id], 9, 1))

    def stored(self) -> Any:
        return self.answered(self.alice.pull(self.repo), 200)

    def test_a_push_overtaken_by_another_is_a_conflict(self) -> None:
        self.with_bob()
        self.between(lambda: self.alice.push(self.repo, 1, envelope(self.repo, 2)))
        answer = self.answered(self.bob.push(self.repo, 1, envelope(self.repo, 3)), 200)
        self.assertEqual(answer, {"accepted": False, "conflict": True, "payloadVersion": 2, "keyEpoch": 0})
        self.assertEqual(self.stored()["envelope"], envelope(self.repo, 2))

    def test_a_removed_member_cannot_push_even_if_it_guesses_the_version(self) -> None:
        self.with_bob()
        self.between(self.remove_bob)
        self.answered(self.bob.push(self.repo, 9, envelope(self.repo, 10, 1)), 403, "forbidden")
        self.assertEqual(self.stored()["envelope"], envelope(self.repo, 9, 1))

    def test_a_removed_member_cannot_add_anybody(self) -> None:
        self.with_bob()
        self.between(self.remove_bob)
        self.answered(self.bob.add(self.repo, entry(CAROL.id)), 403, "forbidden")
        self.assertEqual(self.stored()["manifest"]["members"], [entry(ALICE.id, 1)])

    def test_a_member_added_meanwhile_stays(self) -> None:
        self.with_bob()
        self.between(lambda: self.alice.add(self.repo, entry(CAROL.id)))
        self.answered(self.bob.add(self.repo, entry("another")), 200)
        members = [each["ed25519PublicKey"] for each in self.stored()["manifest"]["members"]]
        self.assertEqual(members, [ALICE.id, BOB.id, CAROL.id, "another"])

    def test_a_removal_does_not_undo_a_push(self) -> None:
        self.with_bob()
        self.between(lambda: self.bob.push(self.repo, 1, envelope(self.repo, 9)))
        self.answered(self.remove_bob(), 400, "bad_request")
        self.assertEqual(self.stored()["envelope"], envelope(self.repo, 9))

    def test_a_removed_member_cannot_remove_anybody(self) -> None:
        self.with_bob()
        self.between(self.remove_bob)
        body = removal(self.repo, ALICE.id, [BOB.id], 10, 2)
        self.answered(self.bob.call(self.repo, "remove-member", body), 403, "forbidden")
        self.assertEqual(self.stored()["manifest"]["members"], [entry(ALICE.id, 1)])

    def test_a_creation_overtaken_by_another_is_a_duplicate(self) -> None:
        made = creation(self.repo, ALICE)
        self.between(lambda: self.alice.create(made))
        self.answered(self.bob.create(creation(self.repo, BOB)), 409, "duplicate_repo")
        self.assertEqual(self.stored()["manifest"], made["manifest"])

    def test_manifest_and_envelope_of_a_pull_agree_whatever_comes_between_its_reads(self) -> None:
        self.created()
        read, versions = self.server.parts.store.read, itertools.count(1)

        def after_another_push() -> Any:
            version = next(versions)
            self.assertEqual(self.alice.push(self.repo, version, envelope(self.repo, version + 1)).status, 200)
            return read()

        self.answered(self.alice.add(self.repo, entry(BOB.id)), 200)
        with mock.patch.object(self.server.parts.store, "read", after_another_push):
            pulled = self.answered(self.bob.pull(self.repo), 200)
        self.assertEqual(pulled["manifest"]["payloadVersion"], pulled["envelope"]["payloadVersion"])

    def test_each_operation_is_one_transaction(self) -> None:
        store = self.server.parts.store
        operations: list[Callable[[], Answer]] = [
            lambda: self.alice.create(creation(self.repo, ALICE)),
            lambda: self.alice.add(self.repo, entry(BOB.id)),
            lambda: self.alice.push(
                self.repo, 1, envelope(self.repo, 2), rotatedMembers=[entry(ALICE.id), entry(BOB.id)]
            ),
            self.remove_bob,
        ]
        for operation in operations:
            with mock.patch.object(store, "write", side_effect=store.write) as write:
                self.answered(operation(), 200)
            self.assertEqual(write.call_count, 1)

    def test_a_nonce_is_redeemed_once(self) -> None:
        path, body = "/api/auth/keypair/token", ALICE.redemption(self.alice.challenge())
        self.between(lambda: self.alice.request("POST", path, body))
        self.answered(self.bob.request("POST", path, body), 401, "unauthorized")


class SqliteRaces(Races):
    """On the SQLite adapter."""

    def storage(self) -> str:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return f"sqlite:{folder.name}/vault.db"


class Durability(unittest.TestCase):
    """What a durable store keeps over a restart, and over kill -9 in the middle of writes."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = f"{folder.name}/vault.db"

    def start(self) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "server.py", "--port", "0", "--storage", f"sqlite:{self.path}"],
            cwd=TOP, env=_environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.addCleanup(self.end, process)
        assert process.stdout is not None
        return process, int(process.stdout.readline().rsplit(":", 1)[1])

    def end(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()

    def test_repositories_and_tokens_survive_a_restart(self) -> None:
        storage = f"sqlite:{self.path}"
        with running_server(storage=storage) as server, Caller(server.port, ALICE) as alice:
            alice.create(creation("r", ALICE, note="kept"))
            alice.push("r", 1, envelope("r", 2))
            before, headers = alice.pull("r").json, alice.headers
        with running_server(storage=storage) as server, Client(server.port) as client:
            body = {"repoId": "r", "knownPayloadVersion": 0}
            self.assertEqual(client.request("POST", "/v1/repos/r/pull", body, headers).json, before)

    def test_tokens_in_memory_are_gone_after_a_restart(self) -> None:
        with running_server() as server, Caller(server.port, ALICE) as alice:
            headers = alice.headers
        with running_server() as server, Client(server.port) as client:
            self.assertEqual(client.request("GET", "/v1/repos/r/member/x", headers=headers).status, 401)

    def test_a_token_is_in_no_file_of_the_store(self) -> None:
        process, port = self.start()
        with Caller(port, ALICE) as alice:
            alice.create(creation("r", ALICE, note="what is kept can be found"))
            process.send_signal(signal.SIGKILL)  # so that the write-ahead log stays
            process.wait()
        kept = b"".join(each.read_bytes() for each in Path(self.path).parent.iterdir())
        self.assertIn(b"what is kept can be found", kept)
        for secret in (alice.token.encode(), b64u_decode(alice.token)):
            self.assertNotIn(secret, kept)

    def test_kill_9_keeps_every_answered_write_and_no_half_of_another(self) -> None:
        process, port = self.start()
        repos = [f"r{number}" for number in range(4)]
        callers = [Caller(port, ALICE) for _ in repos]
        answered = dict.fromkeys(repos, 1)
        for caller, repo in zip(callers, repos, strict=True):
            self.assertEqual(caller.create(creation(repo, ALICE)).status, 200)

        def write(number: int) -> None:
            """Rotate roster, envelope and epoch again and again, until the server is gone."""
            repo, caller, version = repos[number], callers[number], 1
            with contextlib.suppress(OSError, AssertionError, ValueError), contextlib.closing(caller):
                while True:
                    sealed = envelope(repo, version + 1, version, ciphertext="x" * 4000)
                    roster = [entry(ALICE.id, version), entry(f"member {version}", version)]
                    caller.push(repo, version, sealed, rotatedMembers=roster)
                    version += 1
                    answered[repo] = version

        threads = [threading.Thread(target=write, args=(number,)) for number in range(len(repos))]
        for thread in threads:
            thread.start()
        eventually(lambda: min(answered.values()) >= 10)
        process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join()
        _, port = self.start()
        with Caller(port, ALICE) as alice:
            for repo in repos:
                pulled = alice.pull(repo).json
                manifest, sealed = pulled["manifest"], pulled["envelope"]
                self.assertGreaterEqual(answered[repo], 10)
                # The last push may have been kept and not answered: one more at the most.
                self.assertIn(manifest["payloadVersion"] - answered[repo], (0, 1))
                self.assertEqual(sealed["payloadVersion"], manifest["payloadVersion"])
                self.assertEqual(sealed["keyEpoch"], manifest["keyEpoch"])
                self.assertEqual({each["keyEpoch"] for each in manifest["members"]}, {manifest["keyEpoch"]})


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MRS_", "PORT"))}
