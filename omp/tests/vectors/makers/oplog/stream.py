"""One log as it arrives, step by step: how the vectors of stages 8 to 12, of waiting and of merges are written.

:class:`Stream` makes operations as their authors would, after all that was accepted so far unless told otherwise, and
notes with each what must become of it.  What becomes of it is written down by the author of the vector; only IDs and
the final state are computed, the state by the definition.  What a case is about in that state is written down too
(:meth:`Stream.expect`), and the definition must agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omp.protocols.oplog.definition import Report, check
from omp.rules import identifiers
from omp.rules.engines import Engine
from omp.tests.vectors.makers.oplog.making import (
    LOG,
    NUMBER_OF,
    ROOT,
    TS,
    Case,
    Key,
    Made,
    body_of,
    envelope_of,
    sealed,
    written,
)

TRUSTING = Engine("trusting", lambda public_key, message, signature: True)
"""Takes every signature: for operations that this module signed itself."""
NOTHING_STORED = (
    f'{{"claims":[],"evidence":[],"forks":[],"grants":[],"heads":[],"inferences":[],"log":"{LOG}","ops":0,'
    '"v":"omp/0.2","void":[]}'
).encode()
"""The state document of a log before its first operation, written by hand."""


class Stream:
    """A log of :data:`ROOT`; `steps` are what was delivered, `stored` what was accepted, in order."""

    def __init__(self, name: str, why: str = "") -> None:
        self.name = name
        self.why = why
        self.steps: list[Case] = []
        self.stored: dict[str, Made] = {}
        self._last: dict[str, Made] = {}
        self._expected: list[tuple[str, str, list[str]]] = []

    # --- Making

    def build(
        self,
        kind: str,
        author: Key = ROOT,
        *,
        after: Sequence[Made] | None = None,
        at: Mapping[str, Any] | None = None,
        **body: Any,
    ) -> Made:
        """The author's next operation: on top of the heads, or of `after`; `at` overrides members of the envelope."""
        prev = self._last.get(author.id)
        deps = [one for one in (self.heads() if after is None else after) if one != prev]
        clock = max((one.envelope["lc"] for one in (prev, *deps) if one is not None), default=0)
        members = {
            "body": body_of(kind, **body),
            "deps": sorted(one.id for one in deps),
            "lc": clock + 1,
            "prev": prev.id if prev is not None else None,
            "seq": prev.envelope["seq"] + 1 if prev is not None else 1,
        }
        return sealed(envelope_of(kind, author, **{**members, **(at or {})}), author)

    def plan(self) -> Stream:
        """A copy: what is built on it and kept in it can be delivered here in another order."""
        copy = Stream("")
        copy.stored, copy._last = dict(self.stored), dict(self._last)
        return copy

    def heads(self) -> list[Made]:
        """The stored operations that no other references."""
        referenced = {parent for one in self.stored.values() for parent in _parents(one)}
        return [one for operation_id, one in self.stored.items() if operation_id not in referenced]

    # --- Delivering

    def accept(self, name: str, kind: str, author: Key = ROOT, **options: Any) -> Made:
        """The author's next operation, delivered and accepted; on top of `after` if given, else of everything."""
        made = self.build(kind, author, **options)
        self.deliver(name, made, "accepted")
        return made

    def refuse(self, name: str, code: str, kind: str, author: Key = ROOT, **options: Any) -> Made:
        """The author's next operation, delivered and rejected with `code`."""
        made = self.build(kind, author, **options)
        self.deliver(name, made, "rejected", code=code)
        return made

    def deliver(
        self,
        name: str,
        made: Made,
        outcome: str,
        *,
        code: str | None = None,
        missing: Sequence[str] = (),
        also: Iterable[Made] = (),
        rejected: Iterable[tuple[Made, str]] = (),
    ) -> None:
        """Deliver an operation; `also` waited for it and are stored with it, `rejected` waited and are refused then."""
        step: Case = {"name": name, **written(made.raw), "outcome": outcome, "id": made.id}
        if code is not None:
            step |= {"code": code, "stage": NUMBER_OF[code]}
        if missing:
            step["missing"] = list(missing)
        if outcome == "accepted":
            self.keep(made)
        for waited in also:
            self.keep(waited)
            step.setdefault("also_accepted", []).append(waited.id)
        for waited, its_code in rejected:
            step.setdefault("also_rejected", []).append({"id": waited.id, "code": its_code})
        self.steps.append(step)

    def keep(self, made: Made) -> None:
        """Count an operation as stored, and as the last of its author."""
        self.stored[made.id] = made
        self._last[made.envelope["author"]] = made

    def expect(self, made: Made, member: str, operations: Sequence[Made]) -> None:
        """Of the object of an operation in the final state, `member` must hold the IDs of `operations`, sorted."""
        self._expected.append((made.id, member, sorted(one.id for one in operations)))

    # --- Cases

    def report(self) -> Report:
        """What the definition makes of what is stored."""
        report = check((made.raw for made in self.stored.values()), TRUSTING)
        assert not report.problems, (self.name, report.problems)
        objects = {one["id"]: one for name in ("claims", "grants", "inferences") for one in report.state[name]}
        for operation_id, member, ids in self._expected:
            assert objects[operation_id][member] == ids, (self.name, operation_id, member)
        return report

    def case(self, pending: Iterable[tuple[Made, Sequence[str]]] = (), kept: Iterable[Made] = ()) -> Case:
        """A case of ``oplog/stream``.

        `pending` is what still waits at the end, and for what.  `kept` are operations whose stored bytes are compared:
        those that came first.
        """
        held = [{"id": made.id, **written(made.raw)} for made in kept]
        return {
            **self._head(["verifier", "replicator"]),
            "log": LOG,
            "steps": self.steps,
            "pending": [{"id": made.id, "missing": list(missing)} for made, missing in pending],
            "heads": sorted(made.id for made in self.heads()),
            "state": self.report().state_id if self.stored else identifiers.state_id(NOTHING_STORED),
            **({"kept": held} if held else {}),
        }

    def merge(self) -> Case:
        """A case of ``oplog/merge``: what is stored as a set, here in total order, and the state it gives."""
        report = self.report()
        return {
            **self._head(["replicator"]),
            "log": LOG,
            "operations": [self.stored[operation_id].raw.decode() for operation_id in report.operations],
            "order": report.operations,
            "heads": sorted(made.id for made in self.heads()),
            "document": report.document.decode(),
            "state": report.state_id,
        }

    def _head(self, classes: list[str]) -> Case:
        return {"name": self.name, **({"why": self.why} if self.why else {}), "class": classes}


def _parents(made: Made) -> list[str]:
    prev = made.envelope["prev"]
    return [*made.envelope["deps"], *([prev] if prev is not None else [])]


def at_time(ts: str) -> dict[str, Any]:
    """For `at`: another timestamp than :data:`~omp.tests.vectors.makers.oplog.making.TS`."""
    return {"ts": ts}


__all__ = ["TRUSTING", "TS", "Stream", "at_time"]
