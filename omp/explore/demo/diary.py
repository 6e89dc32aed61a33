"""The demo's log: three weeks of Ann, who has a laptop, a phone, a tablet and an assistant (oplog §2 to §5).

Each device holds a replica of its own, as it would in life.  It writes what it knows (:meth:`Device.write`), and learns
what others wrote when they meet (:func:`meet`).  Nothing here builds a fork or a merge by hand: a merge is what a
device writes after a meeting, a fork what a phone writes that was restored from a backup, and the thief dates back
simply by never meeting anybody again.

The story, day by day, is :func:`told`.  Each operation that a reader should find is given a name there, and
:data:`CHAPTERS` leads to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from omp.explore.demo import Visitor, seed
from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    REVOCATION,
    Operation,
)
from omp.protocols.oplog.core.producer import Producer
from omp.protocols.oplog.core.replica import Replica
from omp.rules import ed25519
from omp.rules.engines import best_engine
from omp.rules.identifiers import evidence_id, identity_id

NDJSON = "application/x-ndjson"
MONDAY = datetime(2026, 11, 2, 8, tzinfo=UTC)
A_WRITE = timedelta(minutes=7)

# --- Devices ------------------------------------------------------------------------------------------------------


class Calendar:
    """The time in the diary: it passes with each operation, and jumps to the morning of a day."""

    def __init__(self) -> None:
        self._now = MONDAY

    def day(self, number: int) -> None:
        """Go to the morning of the day with that number; the first Monday is day 1."""
        self._now = MONDAY + timedelta(days=number - 1)

    def timestamp(self) -> str:
        """A timestamp of oplog §1.3, later than the last one."""
        self._now += A_WRITE
        return self._now.strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Signing:
    """A key that everybody knows, made of its owner's name."""

    def __init__(self, name: str) -> None:
        self._seed = seed(name)
        self.public_key = ed25519.public_key_slowly(self._seed)

    def sign(self, message: bytes, /) -> bytes:
        """The Ed25519 signature."""
        return ed25519.sign_slowly(self._seed, message)


class Device:
    """Whoever writes: a key, a replica, and the operations in it."""

    def __init__(self, name: str, log: str, calendar: Calendar) -> None:
        self.name = name
        self.replica = Replica(log)
        self.known: dict[str, Operation] = {}
        self._calendar = calendar
        self._producer = Producer(self.replica, Signing(name), best_engine())
        self.key = self._producer.key

    def write(self, kind: str, **body: Any) -> str:
        """Append an operation of this device; returns its ID."""
        operation = self._producer.produce(kind, body, self._calendar.timestamp())
        self.learn(operation)
        return operation.id

    def learn(self, operation: Operation) -> None:
        """Take in an operation, which may be its own."""
        if operation.id not in self.known:
            self.replica.admit(operation)
            self.known[operation.id] = operation

    # The short forms in which the story is told.

    def saw(self, text: str, source: str, media_type: str = "text/plain") -> str:
        """Register evidence: the bytes of `text`, which `source` found."""
        data = text.encode()
        return self.write(
            EVIDENCE, evidence=evidence_id(data), media_type=media_type, size=len(data), source=source, observed_at=None
        )

    def claims(self, predicate: str, value: Any, *sources: str, sure: int = 90, by: str = "rule:event/1") -> str:
        """Claim that `predicate` has this value, from `sources`; `sure` in percent."""
        return self.write(
            CLAIM, subject="self", predicate=predicate, object=value, confidence_ppm=sure * 10_000, method=by,
            derived_from=list(sources),
        )  # fmt: skip

    def grants(self, other: Device, caps: str, *predicates: str, under: str | None = None, **more: Any) -> str:
        """Give `other` capabilities; `x_name` tells people whose key it is."""
        scope = {"predicates": sorted(predicates), "provenance": more.pop("provenance", "full")}
        body = {"parent": under, "max_depth": 0, "not_before": None, "expires": None, **more}
        return self.write(
            GRANT, grantee=other.key, caps=sorted(caps.split()), scope=scope, x_name=other.name, **body
        )  # fmt: skip

    def asks(self, purpose: str, *inputs: str, grant: str | None, output: str | None = None) -> str:
        """Record the call of a model."""
        return self.write(
            INFERENCE, purpose=purpose, model="planner-1", inputs=list(inputs), grant=grant,
            output=evidence_id(output.encode()) if output else None,
        )  # fmt: skip


def meet(*devices: Device) -> None:
    """Each learns what the others know."""
    operations = known_to(devices)
    for device in devices:
        for operation in operations:
            device.learn(operation)


def known_to(devices: Iterable[Device]) -> list[Operation]:
    """What these devices know together, in total order (oplog §3.3)."""
    together = {key: one for device in devices for key, one in device.known.items()}
    return sorted(together.values(), key=lambda one: (one.lc, one.id))


# --- The story ----------------------------------------------------------------------------------------------------


class Ann:
    """Her devices, and the operations that have a name in the story."""

    def __init__(self) -> None:
        self.calendar = Calendar()
        self.log = identity_id(Signing("Ann's paper key").public_key)
        self.named: dict[str, str] = {}
        names = ("Ann's paper key", "laptop", "phone", "assistant", "tablet", "Ben")
        self.paper, self.laptop, self.phone, self.assistant, self.tablet, self.ben = (
            Device(name, self.log, self.calendar) for name in names
        )
        # A restored phone has the same key, and what was in the backup.
        self.restored = Device("phone", self.log, self.calendar)

    def day(self, number: int, *devices: Device) -> None:
        """A new day, on which these devices meet first."""
        self.calendar.day(number)
        meet(*devices)


def told() -> Ann:
    """Ann, after three weeks."""
    ann = Ann()
    for chapter in (_keys, _plans, _offline, _restored, _stolen, _refuted, _routine):
        chapter(ann)
    return ann


def _keys(ann: Ann) -> None:
    """Day 1: the paper key, which then goes into a drawer, lets the devices in."""
    ann.named["laptop grant"] = ann.paper.grants(ann.laptop, "author delegate infer read", "*", max_depth=2)
    ann.paper.grants(ann.phone, "author read", "calendar.*", "contact.*", "note.*", provenance="none")
    ann.named["tablet grant"] = ann.paper.grants(ann.tablet, "author infer read", "*")
    meet(ann.paper, ann.laptop, ann.phone, ann.tablet)


def _plans(ann: Ann) -> None:
    """Day 2: the laptop reads the calendar and the mail, and an assistant plans from them."""
    ann.day(2, ann.laptop)
    entry = ann.laptop.saw("Dentist, Tuesday 14:00", "calendar:ics", "text/calendar")
    ann.named["tuesday"] = ann.laptop.claims("calendar.dentist", {"day": "Tuesday", "time": "14:00"}, entry)
    may = ann.named["assistant grant"] = ann.laptop.grants(
        ann.assistant, "author infer read", "calendar.*", "travel.*", under=ann.named["laptop grant"],
        expires="2027-01-01T00:00:00.000Z",
    )  # fmt: skip
    ann.laptop.grants(
        ann.ben, "read", "calendar.*", under=ann.named["laptop grant"], provenance="none",
        expires="2026-11-30T00:00:00.000Z",
    )  # fmt: skip
    ann.named["mail"] = ann.laptop.saw("Your flight to Lisbon is confirmed: Friday 07:15. Pay here.", "mail:imap")
    flight = ann.laptop.claims("travel.flight", {"to": "Lisbon", "day": "Friday", "time": "07:15"}, ann.named["mail"])
    ann.named["flight"] = flight
    meet(ann.laptop, ann.assistant)
    call = ann.assistant.asks("plan the way to the airport", flight, grant=may, output="taxi at 05:30")
    taxi = ann.assistant.claims("travel.taxi", {"day": "Friday", "time": "05:30"}, call, sure=80, by="model:planner-1")
    ann.assistant.claims(
        "calendar.alarm", {"day": "Friday", "time": "04:45"}, taxi, sure=75, by="rule:before-departure/2"
    )
    meet(ann.laptop, ann.assistant, ann.phone, ann.tablet)


def _offline(ann: Ann) -> None:
    """Day 3: phone and laptop do not see each other, and both write; in the evening they meet."""
    ann.day(3)
    text = ann.named["sms"] = ann.phone.saw("Dr Weber: we must move you to Monday 9:00. OK?", "sms:inbox")
    ann.named["monday"] = ann.phone.claims(
        "calendar.dentist", {"day": "Monday", "time": "9:00"}, text, sure=95, by="rule:appointment/3"
    )
    ann.phone.write(
        CORRECTION, target=ann.named["tuesday"], replacement=ann.named["monday"], reason="the practice moved it"
    )
    ann.phone.claims("contact.weber", {"name": "Dr Weber", "phone": "+43 1 555 0100"}, text, sure=99)
    memo = ann.laptop.saw("Ben likes the blue one.", "note:text")
    ann.laptop.claims("note.present", {"for": "Ben", "what": "the blue one"}, memo, sure=60, by="rule:note/1")
    ann.laptop.claims("note.wish", "a day without screens", by="user:typed", sure=100)
    ann.day(4, ann.phone, ann.laptop, ann.assistant)
    call = ann.assistant.asks("plan the week", ann.named["monday"], grant=ann.named["assistant grant"])
    ann.named["merge"] = call
    ann.named["week"] = ann.assistant.claims(
        "calendar.leave_home", {"day": "Monday", "time": "8:30"}, call, sure=85, by="model:planner-1"
    )
    meet(ann.assistant, ann.laptop, ann.phone, ann.tablet, ann.paper)


def _restored(ann: Ann) -> None:
    """Day 6: the phone breaks; a new one is restored from a backup that lacks the old one's last words: a fork."""
    ann.day(6)
    meet(ann.phone, ann.restored)
    ann.named["fork"] = ann.phone.claims("note.shopping", ["bread", "milk"], by="user:typed", sure=100)
    ann.named["fork, too"] = ann.restored.claims("note.shopping", ["bread", "oats"], by="user:typed", sure=100)
    ann.restored.claims("note.idea", "call Ben on Sunday", by="user:typed", sure=100)
    meet(ann.phone, ann.laptop)
    ann.day(7, ann.restored, ann.laptop, ann.assistant, ann.tablet, ann.paper)


def _stolen(ann: Ann) -> None:
    """Day 8: the tablet is stolen.  Ann revokes its grant; the thief, who has its key, dates operations back."""
    ann.day(8)
    reading = ann.tablet.saw("Chapter 12", "reader:epub")
    ann.tablet.claims("note.reading", {"chapter": 12}, reading, by="rule:reader/1")
    meet(ann.tablet, ann.paper)
    ann.day(9, ann.paper, ann.laptop)
    ann.named["revocation"] = ann.paper.write(
        REVOCATION, target=ann.named["tablet grant"], reason="stolen on the train"
    )
    ann.calendar.day(8)  # the thief's word, and nobody can tell
    bank = ann.tablet.saw("Please use our new account.", "mail:imap")
    ann.named["void"] = ann.tablet.claims("finance.account", {"bank": "of the thief"}, bank, sure=100)
    ann.tablet.write(REFUTATION, target=ann.named["sms"], reason="the dentist never wrote")
    ann.tablet.write(CORRECTION, target=ann.named["monday"], replacement=None, reason="no appointment")
    ann.day(9, ann.paper, ann.laptop, ann.restored, ann.assistant)


def _refuted(ann: Ann) -> None:
    """Day 10: the mail about the flight was a fraud.  One refutation, and three claims fall."""
    ann.day(10)
    ann.named["refutation"] = ann.laptop.write(REFUTATION, target=ann.named["mail"], reason="phishing: no such flight")
    meet(ann.laptop, ann.assistant)
    call = ann.assistant.asks("plan Friday anew", ann.named["monday"], grant=ann.named["assistant grant"])
    ann.assistant.claims("calendar.friday", "free", call, sure=70, by="model:planner-1")
    meet(ann.laptop, ann.assistant, ann.restored)


def _routine(ann: Ann) -> None:
    """Days 11 to 19: nothing happens, and is written down."""
    for day, steps in enumerate((8123, 4410, 10_250, 7712, 9034, 3020, 11_871, 6655, 8240), 11):
        ann.day(day, ann.laptop, ann.restored, ann.assistant)
        counted = ann.restored.saw(f"{steps} steps on day {day}", "health:pedometer")
        ann.restored.claims("note.steps", {"day": day, "steps": steps}, counted, sure=98, by="rule:pedometer/1")
        if day % 3 == 0:
            ann.laptop.claims("note.mood", "good" if steps > 8000 else "tired", by="user:typed", sure=100)
    meet(ann.laptop, ann.restored, ann.assistant)


# --- What is sent -------------------------------------------------------------------------------------------------

CHAPTERS = (
    (
        "A merge",
        "merge",
        "Phone and laptop wrote apart from each other; this is the first operation that builds on both.",
    ),
    ("A fork", "fork", "The phone was restored from a backup: one key, two operations with the same number."),
    ("A revocation", "revocation", "The tablet is stolen, and the paper key takes its grant back."),
    ("A back-dated operation", "void", "The thief writes as if nothing had happened. It counts for nothing."),
    ("A refutation", "refutation", "One mail was false; three claims that rest on it are tainted."),
)
"""(What to look at, the name of the operation, why): the guided tour of the log."""


def _lines(ann: Ann) -> Iterator[bytes]:
    devices = (ann.paper, ann.laptop, ann.phone, ann.assistant, ann.restored, ann.tablet)
    return (one.raw for one in known_to(devices))


def _waiting(ann: Ann) -> bytes:
    """One more of the thief's, which builds on an operation that nobody gets to see: it waits."""
    ann.tablet.claims("note.unseen", "never sent", by="user:typed")
    return ann.tablet.known[ann.tablet.claims("note.waiting", "builds on what was never sent", by="user:typed")].raw


def fill(visitor: Visitor) -> Mapping[str, Any]:
    """Send the log; returns its part of the guide."""
    ann = told()
    posts = f"/logs/{quote(ann.log, safe='')}/operations"
    visitor.ask("POST", posts, b"\n".join(_lines(ann)), media_type=NDJSON)
    visitor.ask("POST", posts, _waiting(ann))
    tour = [{"title": title, "why": why, "op": ann.named[name]} for title, name, why in CHAPTERS]
    question = {
        "title": "Why is the dentist on Monday?",
        "why": "A claim, and what it was derived from, down to the evidence.",
        "claim": ann.named["monday"],
    }
    return {"log": ann.log, "tour": [*tour, question]}
