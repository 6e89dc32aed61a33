"""Vectors of many operations in one body of ndjson (oplog §7.2): the outcomes line by line, as they are at its end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, REFUTATION
from omp.rules import identifiers
from omp.tests.vectors.makers.oplog.making import (
    LAPTOP,
    LOG,
    PHONE,
    ROOT,
    STRANGER,
    Case,
    Made,
    body_of,
    envelope_of,
    of_size,
    op_id,
    resigned,
    sealed,
)
from omp.tests.vectors.makers.oplog.stream import Stream


class _Line(NamedTuple):
    """A line of the body and what must be said of it; `text` is the bytes of `made` unless given."""

    status: str
    made: Made | None
    code: str | None = None
    missing: Sequence[str] = ()
    text: str | None = None

    def outcome(self, number: int) -> dict[str, Any]:
        said: dict[str, Any] = {"line": number, "status": self.status, "id": self.made.id if self.made else None}
        if self.code is not None:
            said["code"] = self.code
        if self.status == "deferred":
            said["missing"] = list(self.missing)
        return said

    def written(self) -> str:
        if self.text is not None:
            return self.text
        assert self.made is not None
        return self.made.raw.decode()


def _accepted(made: Made) -> _Line:
    return _Line("accepted", made)


def _duplicate(made: Made) -> _Line:
    return _Line("duplicate", made)


def _waits(made: Made, *missing: Made) -> _Line:
    return _Line("deferred", made, missing=[one.id for one in missing])


def _refused(code: str, made: Made | None, text: str | None = None) -> _Line:
    return _Line("rejected", made, code, text=text)


_MAX_LINE = 1_048_576
_RUN = re.compile(r"(.)\1{999,}")

_EMPTY = _Line("", None, text="")
"""A line without bytes: it counts as a line, and has no outcome."""


def _case(name: str, lines: Iterable[_Line], *, before: Iterable[Made] = (), end: str = "\n", why: str = "") -> Case:
    """`before` was delivered one by one; `end` is what follows the last line."""
    lines = list(lines)
    outcomes = [line.outcome(number) for number, line in enumerate(lines, 1) if line.status]
    counts = Counter(outcome["status"] for outcome in outcomes)
    return {
        "name": name,
        **({"why": why} if why else {}),
        "class": ["replicator"],
        "log": LOG,
        "before": [made.raw.decode() for made in before],
        **_body("\n".join(line.written() for line in lines) + end),
        "answer": {
            **{status: counts[status] for status in ("accepted", "duplicate", "deferred", "rejected")},
            "outcomes": outcomes,
        },
    }


def _body(text: str) -> Case:
    """The body as a member of a case: ``body``, or ``body_runs`` where a character repeats a thousand times or more."""
    runs: list[tuple[str, int]] = []
    at = 0
    for run in _RUN.finditer(text):
        runs += [(text[at : run.start()], 1), (run[1], len(run[0]))]
        at = run.end()
    return {"body_runs": [*runs, (text[at:], 1)]} if runs else {"body": text}


def batch_cases() -> Iterator[Case]:
    """Order of arrival, repetition, bad lines, lines without bytes."""
    log = Stream("")
    first = log.accept("", EVIDENCE)
    grant = log.accept("", GRANT, grantee=PHONE.id)
    claim = log.accept("", CLAIM, PHONE, derived_from=[first.id], method="rule:x/1")
    last = log.accept("", REFUTATION, target=first.id)
    in_order = [first, grant, claim, last]
    wrong = sealed(envelope_of(REFUTATION, seq=4, prev=last.id, lc=5), ROOT)  # its target is in nobody's past
    backwards = in_order[::-1]

    yield _case("no lines", [], end="")
    yield _case("in order", map(_accepted, in_order))
    yield _case("without a line feed after the last", map(_accepted, in_order), end="")
    yield _case("backwards: accepted at the end of the body", map(_accepted, backwards))
    yield _case(
        "the same lines twice",
        [*map(_accepted, backwards), *map(_duplicate, backwards)],
        why="Accepted on the first line that brought an operation in, also where it waited there; else duplicate.",
    )
    yield _case("twice while it waits", [_accepted(grant), _duplicate(grant), _accepted(first), _duplicate(grant)])
    yield _case("stored before", [_duplicate(first), _accepted(claim), _duplicate(grant)], before=[first, grant])
    yield _case("it waited before, and its ancestor comes", [_accepted(first)], before=[grant])
    yield _case("it waited before, and comes again first", [_accepted(grant), _accepted(first)], before=[grant])
    yield _case("it waited before, and comes again last", [_accepted(first), _duplicate(grant)], before=[grant])
    yield _case(
        "it waited before, and comes again twice",
        [_accepted(grant), _duplicate(grant), _accepted(first)],
        before=[grant],
    )
    yield _case(
        "it waited before, and comes again first and last",
        [_accepted(grant), _accepted(first), _duplicate(grant)],
        before=[grant],
    )
    bad = _refused("ERR_SIGNATURE", grant, resigned(grant, b'"%s"' % (b"A" * 86)).decode())
    yield _case(
        "it waited before, and comes again with a wrong signature",
        [bad, _accepted(grant), _accepted(first)],
        before=[grant],
        why="A line that is itself rejected brought nothing.",
    )
    yield _case(
        "it waited before, and comes again with a wrong signature only", [bad, _accepted(first)], before=[grant]
    )
    yield _case("what waits at the end", [_waits(claim, grant), _waits(last, grant, claim), _waits(claim, grant)])
    yield _case(
        "missing is what is missing at the end",
        [_waits(last, claim), _accepted(grant)],
        before=[first],
        why="When the line came, prev was missing too.",
    )
    yield _case(
        "waited, and then rejected",
        [_refused("ERR_REF", wrong), *map(_accepted, backwards), _refused("ERR_REF", wrong)],
    )
    yield _case("one bad line fails no other", _bad_lines(in_order, wrong))
    yield _case("lines without bytes", [_EMPTY, _accepted(first), _EMPTY, _EMPTY, _accepted(grant), _EMPTY])
    longest = sealed(of_size(_MAX_LINE), ROOT)
    too_long = sealed(of_size(_MAX_LINE + 1), ROOT).raw.decode()
    yield _case(
        "a line of 1,048,576 bytes, and one of a byte more",
        [_refused("ERR_LIMIT", longest), _refused("ERR_LIMIT", None, too_long), _accepted(first)],
        why="The longest line goes through the stages and has an ID; beyond that nothing looks into the line.",
    )
    yield _case(
        "a line of a byte too many that is not JSON",
        [_refused("ERR_ENCODING", None, "x" * _MAX_LINE), _refused("ERR_LIMIT", None, "x" * (_MAX_LINE + 1))],
    )
    yield from _carriage_returns(first)


def _carriage_returns(first: Made) -> Iterator[Case]:
    text = first.raw.decode()
    yield _case(
        "one carriage return before a line feed is of the line's end",
        [
            _refused("ERR_CANONICAL", None, text + "\r\r"),
            _refused("ERR_ENCODING", None, " \r"),
            _Line("", None, text="\r"),
            _Line("accepted", first, text=text + "\r"),
        ],
        why="so the third line has no bytes, and no outcome",
    )
    yield _case(
        "a carriage return at the end of the body, or inside a line, is of the line",
        [_refused("ERR_CANONICAL", None, "\r" + text), _accepted(first), _refused("ERR_CANONICAL", None, text + "\r")],
        end="",
    )


def _bad_lines(good: list[Made], wrong_reference: Made) -> list[_Line]:
    first, grant, claim, last = good
    text = first.raw.decode()
    later: dict[str, Any] = {"seq": 4, "prev": last.id, "lc": 5}
    of_a_stranger = sealed(envelope_of(CLAIM, STRANGER, deps=[last.id], lc=5), STRANGER)
    another_log = sealed(envelope_of(CLAIM, LAPTOP, log=identifiers.identity_id(LAPTOP.public_key)), LAPTOP)
    return [
        _refused("ERR_ENCODING", None, "{"),
        _accepted(first),
        _refused("ERR_CANONICAL", None, text.replace(":", ": ", 1)),
        _refused("ERR_VERSION", None, text.replace("omp/0.2", "omp/0.1")),
        _accepted(grant),
        _refused("ERR_SCHEMA", sealed({**envelope_of(CLAIM), "more": 1}, ROOT)),
        _refused("ERR_SCHEMA", another_log),
        _refused("ERR_LIMIT", sealed(envelope_of(CLAIM, body=body_of(CLAIM, method="user:" + "m" * 124)), ROOT)),
        _accepted(claim),
        _refused("ERR_RANGE", sealed(envelope_of(CLAIM, lc=0), ROOT)),
        _refused("ERR_SIGNATURE", last, resigned(last, b'"%s"' % (b"A" * 86)).decode()),
        _accepted(last),
        _waits(sealed(envelope_of(CLAIM, deps=[op_id("lost")], lc=5), ROOT), _lost()),
        _refused("ERR_CHAIN", sealed(envelope_of(CLAIM, **{**later, "seq": 5}), ROOT)),
        _refused("ERR_CLOCK", sealed(envelope_of(CLAIM, **{**later, "lc": 3}), ROOT)),
        _refused("ERR_REF", wrong_reference),
        _refused("ERR_AUTHZ", of_a_stranger),
        _duplicate(first),
    ]


def _lost() -> Made:
    return Made(b"", op_id("lost"), {})
