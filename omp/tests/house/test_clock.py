"""A clock that is wrong, in all five protocols and with both stores, over sockets (omp §9).

:class:`Times` is the clock of the tests: ``passes`` is time that passes, ``steps`` is somebody who sets the clock.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from omp import entry
from omp.protocols.objects.collection import BY_NAMESPACE, OBJECTS
from omp.protocols.objects.record import new_id, new_record
from omp.rules.ed25519 import sign_slowly
from omp.rules.encodings import b64u_encode
from omp.rules.http_signatures import sign
from omp.rules.signature_base import SignedRequest
from omp.store import open_store
from omp.store.port import key
from omp.tests.avp.parties import ALICE, Caller, creation
from omp.tests.harness import Answer, Client, Running, running_server
from omp.tests.mrs.parties import Signer, User, claim
from omp.tests.nexus.owner import Owner, next_page
from omp.tests.oplog.test_routes import path, small_log
from omp.web.clock import EARLIEST, Clock
from omp.web.settings import SettingError

NOW = 1_800_000_000
HOUR = 3600
WINDOW = 360
"""How long a signature is accepted at the most: 300 seconds after ``created``, and 60 before."""
JSON = {"Content-Type": "application/json"}
AUTHORITY = "127.0.0.1:1"
STRICT = {
    "OMP_PUBLIC_URL": f"http://{AUTHORITY}",
    "OMP_SIG_MODE": "strict",
    "OMP_SIG_PUB_alice": b64u_encode(ALICE.public_key),
}


class Times:
    """The system's clocks: `wall` as it is set, `ticks` since the machine was started."""

    def __init__(self) -> None:
        self.wall = float(NOW)
        self.ticks = 0.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds

    def steps(self, seconds: float) -> None:
        self.wall += seconds


class Clocked(unittest.TestCase):
    """Servers on the test's clock, one after the other over the same store."""

    kind = "memory"

    def setUp(self) -> None:
        self.times = Times()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.storage = "memory" if self.kind == "memory" else f"sqlite:{Path(folder, 'omp.db')}"

    @contextlib.contextmanager
    def serving(self, environ: dict[str, str] | None = None) -> Iterator[Running]:
        clocks = (lambda: self.times.wall, lambda: self.times.ticks)
        with running_server(environ, self.storage, clocks=clocks) as server:
            yield server

    def keep_house(self, server: Running) -> None:
        """What the server does once a second."""
        server.parts.application.housekeep(server.parts.clock.past())
        self.assertEqual(server.log, [])

    def answered(self, answer: Answer, status: int) -> Any:
        self.assertEqual(answer.status, status, answer.body)
        return answer.json if answer.body else None


class Durable(Clocked):
    kind = "sqlite"


# --- Ids and sequence numbers ---------------------------------------------------------------------------------------

STEPS = (0, 0, -HOUR, 0, 2 * HOUR, -1, -HOUR, -2 * NOW, 0, 0, 2 * NOW)
"""By how much the clock is set before each write: also back to before 1970, and by nothing, in the same microsecond."""


class Objects(Clocked):
    def create(self, client: Client, **metadata: Any) -> dict[str, Any]:
        body = {"namespace": "ns", "content": {}, "metadata": metadata}
        made: dict[str, Any] = self.answered(client.request("POST", "/objects", body), 201)
        return made

    def walk(self, client: Client, page: str) -> list[str]:
        """The ids on `page` and all that follow."""
        found = []
        while page:
            answer = client.request("GET", page)
            found += [item["id"] for item in self.answered(answer, 200)["items"]]
            page = next_page(answer)
        return found

    def test_a_cursor_misses_nothing_that_is_made_after_it(self) -> None:
        with self.serving() as server, Client(server.port) as client:
            made = [self.create(client)["id"] for _ in range(3)]
            cursor = next_page(client.request("GET", "/objects?limit=2"))
            for step in STEPS:
                self.times.steps(step)
                made.append(self.create(client)["id"])
                self.assertEqual(self.walk(client, cursor), made[2:])
                self.assertEqual(self.walk(client, "/objects/search?namespace=ns&limit=3"), made)
            self.assertEqual(made, sorted(made))

    def test_created_at_is_what_the_clock_said(self) -> None:
        with self.serving() as server, Client(server.port) as client:
            self.times.steps(HOUR)
            ahead = self.create(client)
            self.times.steps(-HOUR)
            right = self.create(client)
        self.assertEqual(
            [ahead["created_at"], right["created_at"]], ["2027-01-15T09:00:00.000000Z", "2027-01-15T08:00:00.000000Z"]
        )

    def test_before_1970_objects_have_ids_and_deadlines_like_any_other(self) -> None:
        with self.serving() as server, Client(server.port) as client:
            self.times.steps(-2 * NOW)
            made = [self.create(client, **{"omp.ttl_sec": 60}) for _ in range(3)]
            self.keep_house(server)
            self.assertEqual(self.walk(client, "/objects?limit=1"), [one["id"] for one in made])
            self.assertTrue(made[0]["created_at"].startswith("2020-01-01T00:00:00"))

    def test_the_rows_of_an_object_outlive_a_leap_of_the_clock(self) -> None:
        with self.serving() as server, Client(server.port) as client:
            self.times.passes(3 * WINDOW)
            where = "/objects/" + self.create(client, **{"omp.ttl_sec": 60})["id"]
            self.times.steps(HOUR)
            self.keep_house(server)
            self.answered(client.request("GET", where), 404)
            self.times.steps(-HOUR)
            self.answered(client.request("GET", where), 200)
            self.times.passes(60)
            self.answered(client.request("GET", where), 404)


class DurableObjects(Objects):
    kind = "sqlite"

    def test_ids_go_on_from_the_last_one_over_a_restart_also_if_it_is_gone(self) -> None:
        self.times.steps(HOUR)
        with self.serving() as server, Client(server.port) as client:
            made = [self.create(client)["id"] for _ in range(2)]
            self.times.steps(HOUR)
            made.append(self.create(client)["id"])
            cursor = next_page(client.request("GET", "/objects?limit=2"))
            self.answered(client.request("DELETE", f"/objects/{made[2]}"), 204)
        self.times.steps(-2 * HOUR)
        for _ in range(3):
            with self.serving() as server, Client(server.port) as client:
                made.append(self.create(client)["id"])
                self.assertEqual(self.walk(client, cursor), made[3:])
        self.assertEqual(made, sorted(made))

    def test_malformed_ids_of_an_earlier_version_are_walked_over(self) -> None:
        # What earlier versions made five seconds before 1970.
        malformed = [f"-0000000-1387-8e08-7fff-ffffffffcfc{digit}" for digit in "123"]
        store = open_store(self.storage)
        with store.write() as tx:
            for identifier in (*malformed, new_id(NOW * 1_000_000 + 500_000, 0)):
                tx.put(OBJECTS, identifier.encode(), new_record(0, identifier, "ns", "k", {}, {}, False).row)
                tx.put(BY_NAMESPACE, key("ns") + identifier.encode(), b"k")
        store.close()
        with self.serving() as server, Client(server.port) as client:
            made = self.create(client)["id"]  # from the greatest id on: such a file keeps no moment
            for listed in ("/objects?limit=1", "/objects/search?namespace=ns&limit=1"):
                found = self.walk(client, listed)
                self.assertEqual((found[:3], found[4:]), (malformed, [made]))
            self.answered(client.request("GET", f"/objects/{malformed[0]}"), 200)
            self.answered(client.request("DELETE", f"/objects/{malformed[0]}"), 204)


class Feed(Clocked):
    """The change feed of MRS."""

    def test_a_follower_is_told_of_every_change_once(self) -> None:
        with self.serving() as server, User.new(server.port, "mark") as mark:
            cursor = ""
            for number, step in enumerate(STEPS):
                self.times.steps(step)
                made = mark.register(claim(number, number))["id"]
                page = self.answered(mark.request("GET", f"/sync/changes?since={cursor}"), 200)
                self.assertEqual([one["id"] for one in page["registrations"]], [made])
                self.assertTrue(cursor == "" or int(page["next_cursor"]) > int(cursor))
                cursor = page["next_cursor"]
            self.keep_house(server)

    def test_ten_failed_logins_lock_out_for_a_minute_whatever_the_clock_does(self) -> None:
        with self.serving() as server, User.new(server.port, "mark") as mark:
            wrong, right = ({"username": "mark", "password": password} for password in ("wrong", "secret"))
            for _ in range(10):
                self.answered(mark.request("POST", "/auth/login", wrong), 401)
            self.keep_house(server)
            self.times.steps(-1)
            self.answered(mark.request("POST", "/auth/login", right), 429)
            self.times.steps(-HOUR)  # the minute would otherwise take an hour
            self.answered(mark.request("POST", "/auth/login", right), 200)


class DurableFeed(Feed):
    kind = "sqlite"

    def test_numbers_go_on_from_the_last_one_over_a_restart(self) -> None:
        self.times.steps(HOUR)
        with self.serving() as server, User.new(server.port, "mark") as mark:
            made = mark.register(claim(1, 1))["id"]
            self.answered(mark.request("POST", "/release", {"id": made}), 200)
            cursor = mark.request("GET", "/sync/changes").json["next_cursor"]
            token = mark.token
        self.times.steps(-HOUR)
        with self.serving({"MRS_SERVER_DOMAIN": "mrs.example"}) as server, User(server.port, token) as mark:
            mark.register(claim(2, 2))
            page = self.answered(mark.request("GET", f"/sync/changes?since={cursor}"), 200)
            self.assertEqual(len(page["registrations"]), 1)


class Others(Clocked):
    """The vault, the profiles and the log: what they number needs no clock, and none of it fails by one."""

    def test_the_vault_lets_members_in(self) -> None:
        with self.serving() as server:
            for number, step in enumerate(STEPS):
                self.times.steps(step)
                with Caller(server.port, ALICE) as alice:
                    self.answered(alice.create(creation(f"repo-{number}", ALICE)), 200)
                self.keep_house(server)

    def test_messages_are_walked_over_once_each(self) -> None:
        alice = Owner(77)
        with self.serving() as server, Client(server.port) as client:
            for number, step in enumerate(STEPS):
                self.times.steps(step)
                message = {"run_id": "r", "role": "human", "content": str(number)}
                self.answered(alice.post(client, "/messages", {"messages": [message]}), 200)
                page, said = "/messages?limit=2", []
                while page:
                    answer = alice.get(client, page)
                    said += [int(one["content"]) for one in self.answered(answer, 200)]
                    page = next_page(answer).removeprefix("/api/v1")
                self.assertEqual(sorted(said), list(range(number + 1)))

    def test_a_log_is_the_same_whatever_the_clock_says(self) -> None:
        operations = small_log()[0].operations
        with self.serving() as server, Client(server.port) as client:
            for number, operation in enumerate(operations):
                self.times.steps(STEPS[number % len(STEPS)])
                sent = client.request("POST", path("/operations"), body=operation.raw, headers=JSON)
                self.answered(sent, 201)
                self.keep_house(server)
            self.times.steps(-2 * NOW)
            read = client.request("GET", path("/operations"), headers={"Accept": "application/x-ndjson"})
            self.assertEqual(read.body.splitlines(), [operation.raw for operation in operations])


class DurableOthers(Others):
    kind = "sqlite"


# --- Nonces: how a request could be sent twice ----------------------------------------------------------------------


class Replays(Clocked):
    """A request that was captured, and an attacker who knows what is done to the clock."""

    def send(self, client: Client, created: float, nonce: str = "n") -> int:
        """The status of a read that Alice signed, for one authority whatever the port is."""
        request = SignedRequest("GET", "http", AUTHORITY, "/objects", [], b"")
        fields = sign(
            request,
            keyid="alice",
            signer=lambda message: sign_slowly(ALICE.seed, message),
            created=int(created),
            nonce=nonce,
        )
        return client.request("GET", "/objects", headers={**dict(fields), "Host": AUTHORITY}).status

    def nonces(self, server: Running) -> int:
        with server.parts.store.read() as tx:
            return tx.count("signature_nonces")

    def test_a_leap_ahead_that_is_set_back_forgets_nothing(self) -> None:
        with self.serving(STRICT) as server, Client(server.port) as client:
            self.times.passes(3 * WINDOW)
            self.keep_house(server)
            captured = self.times.wall
            self.assertEqual(self.send(client, captured), 200)
            for leap in (HOUR, 300 * 24 * HOUR):
                self.times.steps(leap)
                self.keep_house(server)
                for number in range(3):  # each forgets some, to make room
                    self.assertEqual(self.send(client, self.times.wall, f"{leap} {number}"), 200)
                self.times.passes(1)
                self.keep_house(server)
                self.times.steps(-leap)
                self.assertEqual(self.send(client, captured), 401)

    def test_ahead_at_the_start_and_right_later(self) -> None:
        with self.serving(STRICT) as server, Client(server.port) as client:
            self.times.steps(HOUR)
            captured = self.times.wall
            self.assertEqual(self.send(client, captured), 200)
            self.keep_house(server)
            self.times.steps(-HOUR)
            self.assertEqual(self.send(client, self.times.wall), 401, "the nonce is the same")
            for _ in range(60):  # until the clock comes to the time of the captured request
                self.times.passes(HOUR // 60)
                self.keep_house(server)
            self.assertEqual(self.send(client, captured), 401)

    def test_set_back_after_a_long_time_ahead(self) -> None:
        self.times.steps(HOUR)
        with self.serving(STRICT) as server, Client(server.port) as client:
            for _ in range(4):
                self.keep_house(server)
                self.times.passes(WINDOW)
            self.keep_house(server)
            self.times.steps(-HOUR)
            for keeps_house in (False, True, True):
                captured = self.times.wall
                for nonce in ("a", "b", "c"):
                    self.assertEqual(self.send(client, captured, f"{nonce} {captured}"), 200)
                if keeps_house:
                    self.keep_house(server)
                for nonce in ("a", "b", "c"):
                    self.assertEqual(self.send(client, captured, f"{nonce} {captured}"), 401)
                self.times.passes(1)

    def test_a_leap_that_stands_lets_the_old_request_become_too_old(self) -> None:
        with self.serving(STRICT) as server, Client(server.port) as client:
            self.times.passes(3 * WINDOW)
            self.keep_house(server)
            captured = self.times.wall
            self.assertEqual(self.send(client, captured + 59), 200)
            self.times.steps(HOUR)
            for _ in range(24):
                self.times.passes(WINDOW / 12)
                self.keep_house(server)
                self.times.steps(-HOUR)  # whenever it is set back
                self.assertEqual(self.send(client, captured + 59), 401)
                self.times.steps(HOUR)
                self.keep_house(server)

    def test_nonces_are_forgotten_as_time_passes(self) -> None:
        with self.serving(STRICT) as server, Client(server.port) as client:
            for number in range(5):
                self.send(client, self.times.wall, str(number))
            for _ in range(4):
                self.times.passes(WINDOW)
                self.keep_house(server)
            self.assertEqual(self.nonces(server), 0)

    def test_signed_requests_to_the_registry_too(self) -> None:
        with self.serving() as server, User.new(server.port, "mark") as mark, Client(server.port) as client:
            self.times.passes(3 * WINDOW)
            self.keep_house(server)
            url = server.url
            signer = Signer(f"mark@127.0.0.1:{server.port}", f"{url}/.well-known/mrs/keys/mark", bytes(range(32)))
            mark.request("PUT", "/auth/me/keys/laptop", {"public_key": signer.public_key})
            captured = signer.headers("GET", url + "/auth/me", created=int(self.times.wall), nonce="n")
            self.answered(client.request("GET", "/auth/me", headers=captured), 200)
            self.times.steps(HOUR)
            self.keep_house(server)
            self.times.steps(-HOUR)
            self.answered(client.request("GET", "/auth/me", headers=captured), 401)


class DurableReplays(Replays):
    kind = "sqlite"

    def test_a_run_with_the_clock_ahead_forgets_nothing_of_the_run_before(self) -> None:
        captured = self.times.wall
        for leap, status in ((0, 200), (HOUR, 401), (0, 401)):
            self.times.steps(leap)
            with self.serving(STRICT) as server, Client(server.port) as client:
                self.assertEqual(self.send(client, captured), status)
                self.keep_house(server)
                self.times.passes(WINDOW / 3 - 1)
                self.keep_house(server)
            self.times.steps(-leap)


# --- The start ------------------------------------------------------------------------------------------------------


class Start(unittest.TestCase):
    def test_a_clock_before_2020_stops_the_start_with_any_store(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for wall in (-5.0, 0.0, -(2.0**33), EARLIEST - 1.0):
                for storage in ("memory", f"sqlite:{folder}/omp.db"):
                    with self.assertRaisesRegex(SettingError, "the clock says .*set it right"):
                        entry.build({"OMP_STORAGE": storage, "OMP_SERVER_PORT": "0"}, clocks=(lambda: wall, float))  # noqa: B023 - called at once
            self.assertEqual(list(Path(folder).iterdir()), [])

    def test_the_process_says_so_in_one_sentence(self) -> None:
        complained = io.StringIO()
        with (
            mock.patch("omp.web.clock.Clock.wrong", return_value=Clock(1, lambda: -5.0).wrong()),
            contextlib.redirect_stderr(complained),
        ):
            self.assertEqual(entry.main(["--port", "0"]), 2)
        self.assertEqual(
            complained.getvalue(),
            "server.py: the clock says 1969-12-31T23:59:55+00:00, and it is later than 2020-01-01T00:00:00+00:00: "
            "set it right, and start again\n",
        )

    def test_a_clock_of_2020_may_be_right(self) -> None:
        clocks = (lambda: float(EARLIEST), lambda: 0.0)
        with running_server(clocks=clocks) as server, Client(server.port) as client:
            self.assertEqual(client.request("GET", "/health").status, 200)


class Past(unittest.TestCase):
    """What has surely passed, by itself."""

    def setUp(self) -> None:
        self.times = Times()
        self.clock = Clock(WINDOW, lambda: self.times.wall, lambda: self.times.ticks)

    def test_it_is_the_time_while_nobody_sets_the_clock(self) -> None:
        for _ in range(3 * WINDOW):
            self.assertEqual(self.clock.past(), self.times.wall)
            self.times.passes(1)

    def test_a_step_back_counts_at_once_and_a_leap_once_it_has_stood(self) -> None:
        for _ in range(3 * WINDOW):
            self.clock.past()
            self.times.passes(1)
        self.times.steps(-HOUR)
        self.assertEqual(self.clock.past(), self.times.wall)
        self.times.steps(HOUR)
        stood = 0
        while self.clock.past() < self.times.wall:
            self.times.passes(1)
            stood += 1
        self.assertTrue(WINDOW <= stood <= 2 * WINDOW, stood)


if __name__ == "__main__":
    unittest.main()
