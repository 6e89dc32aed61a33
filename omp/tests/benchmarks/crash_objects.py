"""Objects under ``bench crash``: create, replace, delete, delete on read, time to live.

A thing is the object with one key in the writer's own namespace; its state is its entity tag, which is the hash of the
whole object (objects §5.1).  The tag of what a request would leave is computed here, from what was sent.
"""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Any, NamedTuple

from omp.rules.canonical import canonicalize
from omp.rules.encodings import b64u_encode
from omp.tests.benchmarks.crash_client import Broken, Unanswered, Writer

MOST = 60
"""Objects that a writer keeps; beyond, it deletes rather than creates."""
_SOON = 1
_SLACK = 1.0  # seconds around a deadline in which an object may be there or not


class _Kept(NamedTuple):
    """An object that is there: its summary, and what its content is."""

    summary: dict[str, Any]
    content: dict[str, Any]

    @property
    def path(self) -> str:
        return f"/objects/{self.summary['id']}"

    @property
    def once(self) -> bool:
        return bool(self.summary["metadata"].get("omp.delete_on_read"))


def tag_of(summary: dict[str, Any], content: dict[str, Any]) -> str:
    """The entity tag of the object with this summary and content (objects §5.1)."""
    return f'"{b64u_encode(sha256(canonicalize({**summary, "content": content})).digest())}"'


class ObjectWriter(Writer):
    """A client of the objects API with a namespace of its own."""

    protocol = "objects"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._count = 0
        self._kept: dict[str, _Kept] = {}
        self._writing: dict[str, dict[str, Any]] = {}
        """The content that a request without an answer would give to an object."""
        self._ends: dict[str, float] = {}
        """When those objects end that end soon."""

    # --- Writing

    def write(self) -> None:
        """Create, or change one of the objects that are there."""
        lasting = [key for key in self._kept if key not in self._ends]
        chance = self.random.random()
        if not lasting or (chance < 0.5 and len(lasting) < MOST):
            self._create()
        else:
            self._change(self.random.choice(lasting), chance)

    def _change(self, key: str, chance: float) -> None:
        kept = self._kept[key]
        if kept.once:
            self._read_once(key, kept)
        elif chance < 0.8:
            self._replace(key, kept)
        else:
            self.ledger.begin(key, lambda found: found is None)
            self.ask("DELETE", kept.path, expected=(204,))
            self._gone(key)

    def _create(self) -> None:
        self._count += 1
        key = f"k{self._count}"
        metadata: dict[str, Any] = {"n": self._count}
        chance = self.random.random()
        if chance < 0.15:
            metadata["omp.delete_on_read"] = True
        elif chance < 0.3:
            metadata["omp.ttl_sec"] = 3600
        elif chance < 0.35:
            metadata["omp.ttl_sec"] = _SOON
            self._ends[key] = time.time() + _SOON
        content = self._content()
        body = {"namespace": self.name, "key": key, "metadata": metadata, "content": content}
        self._writing[key] = content
        self.ledger.begin(
            key,
            lambda found: (
                found is not None and found[1]["metadata"] == metadata and found[0] == tag_of(found[1], content)
            ),
        )
        answer = self.ask("POST", "/objects", body, {"If-None-Match": "*"}, expected=(201,))
        self._keep(key, answer.headers["etag"], _Kept(answer.json, content))
        if key in self._ends:
            self._ends[key] = time.time() + _SOON

    def _replace(self, key: str, kept: _Kept) -> None:
        content = self._content()
        self._writing[key] = content
        self.ledger.begin(key, lambda found: found is not None and found[0] == tag_of(found[1], content))
        before = {"If-Match": self.ledger.states[key]} if self.random.random() < 0.5 else {}
        answer = self.ask("PUT", kept.path, {"content": content}, before)
        self._keep(key, answer.headers["etag"], _Kept(answer.json, content))

    def _read_once(self, key: str, kept: _Kept) -> None:
        self.ledger.begin(key, lambda found: found is None)
        answer = self.ask("GET", kept.path)
        self._gone(key)
        if answer.json != {**kept.summary, "content": kept.content}:
            raise Broken(f"{key} of {self.name} was read for the only time as {answer.body[:200]!r}")

    def _content(self) -> dict[str, Any]:
        fill = self.random.choice((10, 300, 300, 5000))
        return {"n": self.random.randrange(10**9), "fill": "x" * fill}

    def _keep(self, key: str, tag: str, kept: _Kept) -> None:
        self.ledger.end(key, tag)
        self._writing.pop(key, None)
        self._kept[key] = kept
        if tag != tag_of(*kept):
            raise Broken(f"{key} of {self.name} has the entity tag {tag}, which is not that of {kept}")

    def _gone(self, key: str) -> None:
        self.ledger.end(key, None)
        del self._kept[key]

    # --- Checking

    def settle(self) -> None:
        """Read those whose state is open."""
        listed = self._listed()
        for key in self.ledger.open():
            self._compare(key, listed.get(key))

    def check(self, everything: bool) -> None:
        """The list of the namespace, then objects one by one, and that a key that is taken is refused."""
        listed = self._listed()
        made = {*self.ledger.states, *self.ledger.open()}
        if strange := listed.keys() - made:
            raise Broken(f"{self.name} has objects that nobody made: {sorted(strange)}")
        for key in sorted(made if everything else self.ledger.touched):
            self._compare(key, listed.get(key))
        self.ledger.touched.clear()
        for key, kept in self._kept.items():
            if key not in self._ends:
                if key not in listed:
                    raise Broken(f"{key} of {self.name} is gone, and nobody deleted it")
                body = {"namespace": self.name, "key": key, "content": {}}
                self.ask("POST", "/objects", body, {"If-None-Match": "*"}, expected=(409,))
                self.ask("HEAD", kept.path)
                break

    def _listed(self) -> dict[str, dict[str, Any]]:
        """The summary of each object in the namespace by its key."""
        found: dict[str, dict[str, Any]] = {}
        target = f"/objects/search?namespace={self.name}&limit=1000"
        while target:
            answer = self.ask("GET", target)
            for summary in answer.json["items"]:
                if summary["key"] in found:
                    raise Broken(f"{self.name} has two objects with the key {summary['key']}")
                found[summary["key"]] = summary
            target = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
        return found

    def _compare(self, key: str, summary: dict[str, Any] | None) -> None:
        """Settle one object: its state is its entity tag, and the content must hash to it."""
        if self._ended(key, summary):
            return
        tag = None
        if summary is not None:
            # A GET would use up an object that is deleted on read.
            once = summary["metadata"].get("omp.delete_on_read")
            answer = self.ask("HEAD" if once else "GET", f"/objects/{summary['id']}", expected=(200, 404))
            if answer.status == 404:
                raise Unanswered(f"{key} of {self.name} ended between two requests")  # asked again
            tag = answer.headers["etag"]
            if not once and (value := answer.json) and tag != tag_of(value, value["content"]):
                raise Broken(f"the entity tag of {key} of {self.name} is not that of its content")
        known = self.ledger.states.get(key)
        self.ledger.settle(key, tag, None if summary is None else (tag, summary))
        self._remember(key, tag, known, summary)

    def _remember(self, key: str, tag: str | None, known: str | None, summary: dict[str, Any] | None) -> None:
        """Know what the request without an answer has made of an object."""
        content = self._writing.pop(key, {})
        if summary is None:
            self._kept.pop(key, None)
        elif tag != known:
            self._kept[key] = _Kept(summary, content)

    def _ended(self, key: str, summary: dict[str, Any] | None) -> bool:
        """Whether an object has a deadline that is reached, or so near that nothing can be said of it now."""
        if key not in self._ends or time.time() < self._ends[key] - _SLACK:
            return False
        if summary is not None and time.time() > self._ends[key] + _SLACK:
            raise Broken(f"{key} of {self.name} is there after its time")
        self.ledger.settle(key, self.ledger.states.get(key))
        return True
