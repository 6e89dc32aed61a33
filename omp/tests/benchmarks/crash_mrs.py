"""MRS registrations under ``bench crash``: register, update, release, and a follower of the change feed.

A thing is the place with one service point; its state is the registration as the server answered it.  The writer also
follows the feed with a cursor, as another server would (mrs §11.2): its copies must come to exactly what is registered,
so no change may be missing from the feed, and none that was shown may be undone by a crash.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from omp.tests.benchmarks.crash_client import Broken, Unanswered, Writer
from omp.tests.harness import Answer
from omp.tests.mrs.parties import around, claim

MOST = 25
"""Registrations that a writer keeps."""
_PASSWORD = "a password for the crash"
_FEED = 200
_ATTEMPTS = 4


class PlaceWriter(Writer):
    """A user of the registry."""

    protocol = "mrs"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._count = 0
        self._bearer: dict[str, str] = {}
        self._owner = ""
        self._cursor = ""
        self._copies: dict[str, dict[str, Any]] = {}
        """What the follower holds of this owner's, by id."""

    def prepare(self) -> None:
        """Make an account."""
        answer = self._account()
        self._bearer = {"Authorization": f"Bearer {answer.json['token']}"}
        self._owner = self.ask("GET", "/auth/me", headers=self._bearer).json["id"]

    def _account(self) -> Answer:
        """A busy machine hashes no password within a second (mrs §3.5), and answers 503: then once more."""
        body = {"username": self.name, "password": _PASSWORD}
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(Unanswered):
                return self.ask("POST", "/auth/register", body, expected=(201,))
        raise Broken(f"{self.name} asked {_ATTEMPTS} times for an account and got none")

    # --- Writing

    def write(self) -> None:
        """Register a place, or change one."""
        there = [point for point, state in self.ledger.states.items() if state is not None]
        chance = self.random.random()
        if chance < 0.1:
            self._follow()
        if not there or (chance < 0.5 and len(there) < MOST):
            self._register()
        elif chance < 0.8:
            self._update(self.random.choice(there))
        else:
            self._release(self.random.choice(there))

    def _claim(self, point: str) -> dict[str, Any]:
        lat, lon = self.random.uniform(-60, 60), self.random.uniform(-170, 170)
        made: dict[str, Any] = claim(lat, lon, self.random.randrange(1, 10**5), point)
        return made

    def _register(self) -> None:
        self._count += 1
        point = f"https://{self.name}.example/{self._count}"
        body = self._claim(point)
        self.ledger.begin(point, _made_of(body, version=1))
        answer = self.ask("POST", "/register", body, self._bearer, expected=(201,))
        self.ledger.end(point, answer.json["registration"])

    def _update(self, point: str) -> None:
        state, body = self.ledger.states[point], self._claim(point)
        self.ledger.begin(point, _made_of(body, version=state["version"] + 1))
        answer = self.ask("PUT", f"/register/{state['id']}", body, self._bearer)
        self.ledger.end(point, answer.json["registration"])

    def _release(self, point: str) -> None:
        self.ledger.begin(point, lambda found: found is None)
        self.ask("POST", "/release", {"id": self.ledger.states[point]["id"]}, self._bearer)
        self.ledger.end(point, None)

    # --- Checking

    def settle(self) -> None:
        """Read the user's own registrations."""
        found = self._own()
        for point in self.ledger.open():
            self.ledger.settle(point, found.get(point))

    def check(self, everything: bool) -> None:
        """The user's own registrations, the feed, an identical registration, and a search."""
        found = self._own()
        for point in {*self.ledger.states, *self.ledger.open(), *found}:
            self.ledger.settle(point, found.get(point))
        if everything:
            self._cursor, self._copies = "", {}
        self._follow()
        registered = {state["id"]: state for state in found.values()}
        if self._copies != registered:
            differing = {
                name for name in {*self._copies, *registered} if self._copies.get(name) != registered.get(name)
            }
            raise Broken(f"who follows the feed has other registrations of {self.name} than there are: {differing}")
        if found:
            self._check_indexes(self.random.choice(sorted(found.values(), key=lambda one: str(one["id"]))))

    def _own(self) -> dict[str, dict[str, Any]]:
        registrations = self.ask("GET", "/registrations", headers=self._bearer).json["registrations"]
        found = {one["service_point"]: one for one in registrations}
        if len(found) != len(registrations):
            raise Broken(f"{self.name} has two registrations of one service point")
        return found

    def _follow(self) -> None:
        """Apply what the feed tells since the last time."""
        while True:
            page = self.ask("GET", f"/sync/changes?since={self._cursor}&limit={_FEED}").json
            for one in page["registrations"]:
                if one["owner"] == self._owner:
                    self._copies[one["id"]] = one
            for gone in page["tombstones"]:
                self._copies.pop(gone["origin_id"], None)
            self._cursor = page["next_cursor"]
            if not page["registrations"] and not page["tombstones"]:
                return

    def _check_indexes(self, state: dict[str, Any]) -> None:
        """A registration is found by its place, and by its claim."""
        center = state["space"]["center"]
        results = self.ask("POST", "/search", around(center["lat"], center["lon"], 1)).json["results"]
        if state["id"] not in {one["id"] for one in results}:
            raise Broken(f"a search at the centre of {state['id']} does not find it")
        again = {name: state[name] for name in ("space", "service_point", "foad")}
        self.ask("POST", "/register", again, self._bearer, expected=(409,))


def _made_of(body: dict[str, Any], version: int) -> Callable[[Any], bool]:
    """Whether a registration is what `body` would leave."""

    def becomes(found: Any) -> bool:
        return (
            found is not None
            and found["version"] == version
            and found["space"]["radius"] == body["space"]["radius"]
            and found["space"]["center"]["lat"] == body["space"]["center"]["lat"]
        )

    return becomes
