"""A small world to look at: what ``server.py --demo`` starts with.

Each of the five protocols has something to show, and the same at each start, since every key is made of its owner's
name (:func:`seed`).  Everything is brought in as a client would bring it: the *visitor* hands requests to the routes,
and the server checks them as it checks anybody's.

**None of these keys protects anything**: whoever reads this file has them.  That is why the demo runs in memory only,
and why it may sign with the hand-written code, which leaks what it signs with by the time that it takes.  So it needs
no package, and it is the same with and without ``cryptography``.

The files, in reading order:

* ``diary``: a log of a person with three devices and an assistant: work offline, a merge, a fork, a lost tablet whose
  thief dates operations back, a source that turns out to be false;
* ``cities``: thirty places in three cities and some around the antimeridian, two accounts, and a second registry that
  searches are referred to;
* ``household``: a vault with two members, and one who was removed; replayed from ``household.json``, since making it
  needs X25519 and AES;
* ``belongings``: objects, some of which are about to expire, and a profile with messages.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Protocol

from omp.explore import Explorer
from omp.web.messages import JSON, Request
from omp.web.routes import Application
from omp.web.settings import SettingError


class SecondServer(Protocol):
    """A second server, as ``omp.running`` returns one."""

    @property
    def url(self) -> str: ...

    def stop(self) -> None: ...


Fill = Callable[[Application], None]
"""Puts something into a server before it serves."""


class DemoRefused(SettingError):
    """The demo cannot be made with these settings; the text says why."""


def check(storage: str, mode: str) -> None:
    """Raise :class:`DemoRefused` where the demo would touch somebody's data, or could not be made."""
    wanted = "--demo (OMP_DEMO) shows a made-up world, whose keys everybody knows"
    if storage != "memory":
        raise DemoRefused(f"{wanted}, so it runs in memory only: leave --storage (OMP_STORAGE) out")
    if mode == "strict":
        raise DemoRefused(f"{wanted}, so it has no --sig-mode strict (OMP_SIG_MODE): leave that out")


class Visitor:
    """A client on this machine that hands its requests to the application, without a socket."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def ask(self, method: str, target: str, body: Any = None, token: str = "", media_type: str = JSON) -> Any:
        """The JSON that answers a request; `body` is bytes as they are, or a value.  Raises :class:`DemoRefused`."""
        headers = {"host": "127.0.0.1", "content-type": media_type}
        if token:
            headers["authorization"] = f"Bearer {token}"
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        request = Request(method, target, headers, list(headers.items()), sent)
        answer = self._application.answer(request)
        said = bytes(answer.body)
        if answer.status >= 400:
            raise DemoRefused(
                "--demo (OMP_DEMO) cannot be made with these settings: "
                f"{method} {target} was answered {answer.status}: {said[:300].decode(errors='replace')}"
            )
        return json.loads(said) if said else None


def seed(name: str) -> bytes:
    """The 32-byte seed of somebody's key."""
    return hashlib.sha256(f"omp demo {name}".encode()).digest()


def begin(
    application: Application, start_peer: Callable[[Fill], SecondServer], admin_token: str | None
) -> SecondServer:
    """Fill a server with the world, and give its explorer the guide that ``/explore/demo.json`` answers.

    `start_peer` starts a second server that is filled by a function.  It is returned; whoever calls stops it.  The
    operator's token, if there is one, makes it known to the first.  Raises :class:`DemoRefused`, and has stopped the
    peer then.
    """
    from omp.explore.demo import belongings, cities, diary, household

    visitor = Visitor(application)
    peer = start_peer(lambda other: cities.fill_peer(Visitor(other)))
    try:
        guide = {
            **diary.fill(visitor),
            **cities.fill(visitor, peer.url, admin_token or ""),
            **household.fill(visitor),
            **belongings.fill(visitor),
        }
    except BaseException:
        peer.stop()
        raise
    (explorer,) = (mount.state for mount in application.mounts if isinstance(mount.state, Explorer))
    explorer.guide = guide
    return peer
