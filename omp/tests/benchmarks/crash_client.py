"""What the clients of ``bench crash`` have in common: a connection, and a ledger of what they were answered.

A :class:`Writer` is one client of one protocol, in a thread of its own.  It owns the things that it writes (an object,
a profile, a repository), so it always knows what each of them must be.  Its :class:`Ledger` holds, for each thing, the
state that the last answer told, and for the one request that is under way what that request would make of it.  When the
server is killed, the request has no answer; after the restart the thing is either as it was or as the request would
have made it, whole, and nothing else.

503 is the one refusal that a client must expect here: the server could not keep the write.  Like a client in earnest,
the writer then reads the thing again before it writes on, and what it read must hold from then on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from http.client import HTTPException
from random import Random
from typing import Any

from omp.tests.harness import Answer, Client

_PAUSE = 0.02
"""Seconds that a client waits before it asks again a server that could not answer."""


class Broken(Exception):
    """The server broke its word; the text says what was answered and what was found."""


class Unanswered(Exception):
    """Whether the request was carried out is not known: the answer was 503."""


class Ledger:
    """What is known of each thing by its name; None, or no entry, is a thing that is not there."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}
        self.touched: set[str] = set()
        """What was written since the last check."""
        self.answered = 0
        """Writes that were answered with success."""
        self._possible: dict[str, Callable[[Any], bool]] = {}

    def begin(self, name: str, becomes: Callable[[Any], bool]) -> None:
        """A request is sent; `becomes` tells whether a state is the one that it would leave."""
        self.touched.add(name)
        self._possible[name] = becomes

    def end(self, name: str, state: Any) -> None:
        """The request was answered: that is its thing's state now."""
        self._possible.pop(name, None)
        self.states[name] = state
        self.answered += 1

    def open(self) -> list[str]:
        """The things whose state is not known, since a request has no answer."""
        return list(self._possible)

    def settle(self, name: str, found: Any, shown: Any = ...) -> None:
        """What was read of a thing must be what was answered, or what the open request would have left.

        `shown` is what `becomes` is asked about, if that is more than the state `found`.
        Raises :class:`Broken` otherwise.  Either way the state is `found` from then on.
        """
        known, becomes = self.states.get(name), self._possible.pop(name, None)
        self.states[name] = found
        if found == known or (becomes is not None and becomes(found if shown is ... else shown)):
            return
        other = "" if becomes is None else ", and is not what the request without an answer would leave either"
        raise Broken(f"{name} is {short(found)}; answered was {short(known)}{other}")


def short(value: Any) -> str:
    """A value for a sentence."""
    text = "nothing" if value is None else str(value)
    return text if len(text) < 400 else f"{text[:400]}…"


class Writer:
    """One client; a protocol's class says how it begins, what it writes, and what it checks after a restart."""

    protocol = ""

    def __init__(self, name: str, random: Random) -> None:
        self.name = name
        self.random = random
        self.ledger = Ledger()
        self.broken: list[str] = []
        """What the server did that it must not, one sentence each."""
        self._client: Client | None = None

    # --- What a protocol says

    def prepare(self) -> None:
        """Make what the client needs on an empty store: an account, a log."""

    def write(self) -> None:
        """One write.  Raises :class:`Unanswered`."""
        raise NotImplementedError

    def settle(self) -> None:
        """Read the things whose state is open.  Raises :class:`Unanswered` and :class:`Broken`."""
        raise NotImplementedError

    def check(self, everything: bool) -> None:
        """After a restart: what was written since the last check, or all there is.  Raises :class:`Broken`."""
        raise NotImplementedError

    # --- What is the same for all

    def run(self, port: int, stop: threading.Event) -> None:
        """Write until the server is killed or `stop` is set."""
        with Client(port) as self._client:
            try:
                while not stop.is_set():
                    self._step(stop)
            except (OSError, HTTPException):
                return  # the server was killed: the request under way has no answer
            except Broken as broken:
                self.broken.append(str(broken))
            except Exception as error:  # an answer that cannot be read, say: else it would end the thread unseen
                self.broken.append(f"an answer was not what it should be: {error!r}")

    def _step(self, stop: threading.Event) -> None:
        try:
            self.write()
        except Unanswered:
            while not stop.is_set():
                try:
                    return self.settle()
                except Unanswered:
                    stop.wait(_PAUSE)

    def on(self, port: int, act: Callable[[], None]) -> None:
        """Do :meth:`prepare` or :meth:`check` over a connection to `port`; a server that fails is a finding."""
        with Client(port) as self._client:
            try:
                act()
            except Broken as broken:
                self.broken.append(str(broken))
            except (Unanswered, OSError, HTTPException) as error:
                self.broken.append(f"a request was not answered by a server that was left in peace: {error!r}")

    def ask(
        self,
        method: str,
        path: str,
        json: Any = ...,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        expected: tuple[int, ...] = (200,),
    ) -> Answer:
        """One request on the client's connection.

        Raises :class:`Unanswered` for a 503, :class:`Broken` for any other status that is not `expected`, and what
        :mod:`http.client` raises where the connection ends before the answer does.
        """
        assert self._client is not None
        answer = self._client.request(method, path, json, headers, body)
        if answer.status in expected:
            return answer
        if answer.status == 503:
            raise Unanswered(f"{method} {path}: {answer.body[:200]!r}")
        raise Broken(f"{method} {path} was answered {answer.status} {answer.body[:200]!r}, and should be {expected}")
