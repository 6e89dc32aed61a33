"""Keys, hand-made operations and random logs for the tests of the operation log.  Deterministic: seeds are fixed.

:class:`World` grows a log as hostile and confused devices would: five devices, grants three deep and deeper, forks,
operations built on old views (as a revoked key back-dates them), revocations of one grant from several sides,
renunciations, grants that have expired or are too wide.  Much of what it makes must be refused, and is kept as well.
"""

from __future__ import annotations

import random
from typing import Any

from omp.protocols.oplog.core.causality import Past
from omp.protocols.oplog.core.document import state_object
from omp.protocols.oplog.core.entries import ClaimEntry, Entry, EvidenceEntry, GrantEntry, InferenceEntry
from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    INFERENCE,
    REFUTATION,
    REVOCATION,
    TYPES,
)
from omp.protocols.oplog.core.outcomes import ACCEPTED, Outcome
from omp.protocols.oplog.core.producer import Producer, signed
from omp.protocols.oplog.core.replica import Replica
from omp.rules import canonical, ed25519, identifiers
from omp.rules.engines import CryptographyMissing, Engine, best_engine, secret_keys

ENGINE = best_engine()
TRUSTING = Engine("trusting", lambda public_key, message, signature: True)
"""Accepts every signature: for tests that are not about signatures."""
TS = "2024-05-17T09:30:00.000Z"
EARLY, LATE = "2024-01-01T00:00:00.000Z", "2024-12-31T23:59:59.999Z"


class Key:
    """A secret key made from a small number; signs with ``cryptography`` or by hand: the signatures are the same."""

    def __init__(self, number: int) -> None:
        self._seed = number.to_bytes(32, "big")
        try:
            keys = secret_keys()
            self._sign, public_key = keys.sign, keys.public_key
        except CryptographyMissing:
            self._sign, public_key = ed25519.sign_slowly, ed25519.public_key_slowly
        self.public_key = public_key(self._seed)
        self.id = identifiers.key_id(self.public_key)

    def sign(self, message: bytes, /) -> bytes:
        return self._sign(self._seed, message)


ROOT = Key(1)
DEVICES = [Key(number) for number in range(2, 7)]
STRANGER = Key(99)
LOG = identifiers.identity_id(ROOT.public_key)


def body_of(kind: str, **members: Any) -> dict[str, Any]:
    """A valid body of this type, with `members` put in."""
    operation = "omp:op:sha256:" + "0" * 64
    bodies: dict[str, dict[str, Any]] = {
        EVIDENCE: {
            "evidence": identifiers.evidence_id(b"dentist"),
            "media_type": "text/calendar",
            "size": 7,
            "source": "calendar:ics",
            "observed_at": None,
        },
        CLAIM: {
            "subject": "self",
            "predicate": "calendar.event",
            "object": {"title": "dentist"},
            "confidence_ppm": 900_000,
            "derived_from": [],
            "method": "user:typed",
        },
        CORRECTION: {"target": operation, "replacement": None, "reason": "moved"},
        REFUTATION: {"target": operation, "reason": "wrong"},
        GRANT: {
            "grantee": DEVICES[0].id,
            "caps": ["author", "delegate", "infer", "read"],
            "scope": {"predicates": ["*"], "provenance": "full"},
            "parent": None,
            "max_depth": 8,
            "not_before": None,
            "expires": None,
        },
        REVOCATION: {"target": operation, "reason": "lost"},
        INFERENCE: {"purpose": "summary", "model": "small", "inputs": [operation], "grant": None, "output": None},
    }
    return {**bodies[kind], **members}


def envelope(kind: str, author: Key = ROOT, **members: Any) -> dict[str, Any]:
    """An envelope without signature, first of its author, with `members` put in."""
    return {
        "author": author.id,
        "body": body_of(kind),
        "deps": [],
        "lc": 1,
        "log": LOG,
        "prev": None,
        "seq": 1,
        "ts": TS,
        "type": kind,
        "v": "omp/0.2",
        **members,
    }


def sealed(value: dict[str, Any]) -> bytes:
    """The bytes of an operation with a signature that only :data:`TRUSTING` accepts."""
    return canonical.canonicalize({**value, "sig": "A" * 86})


def first_operation(**members: Any) -> bytes:
    """The root's first operation, valid by itself: a direct statement."""
    return signed(envelope(CLAIM, **members), ROOT)


class LogCopy:
    """A copy of a log: a replica and its producers, which make real signatures and verify with :data:`TRUSTING`."""

    def __init__(self, log: str = LOG) -> None:
        self.replica = Replica(log)

    def by(self, key: Key) -> Producer:
        return Producer(self.replica, key, TRUSTING)

    def do(self, author: Key, kind: str, ts: str = TS, **members: Any) -> str:
        """Produce an operation and store it; returns its ID."""
        operation = self.by(author).produce(kind, body_of(kind, **members), ts)
        assert self.replica.admit(operation).status == ACCEPTED
        return operation.id

    def raw(self) -> list[bytes]:
        """All stored operations, in total order."""
        return [entry.raw for entry in self.replica.operations()]

    def merge(self, *others: LogCopy) -> None:
        """Take in what the other copies have."""
        for other in others:
            for entry in other.replica.operations():
                self.replica.add(entry.raw, TRUSTING)

    def copy(self) -> LogCopy:
        """Another copy that holds the same."""
        node = LogCopy(self.replica.log)
        node.merge(self)
        return node

    def object(self, operation_id: str) -> dict[str, Any]:
        """The object of a claim, evidence, grant or inference in the state document."""
        entry = self.replica.entry(operation_id)
        assert entry is not None
        return state_object(entry)


class World:
    """A random log: :meth:`step` tries one more operation; `outcomes` is all that was tried, with what became of it.

    Its operations are sealed, not signed, unless `real` is true: signing by hand is slow.
    """

    def __init__(self, seed: int, real: bool = False) -> None:
        self.random = random.Random(seed)
        self._real = real
        self._revocations = 2 + seed % 2 * 3  # peaceful logs grow deep grants, others many voids
        self.replica = Replica(LOG)
        self.outcomes: list[tuple[bytes, Outcome]] = []
        self.stored: list[Entry] = []
        self._try(ROOT, None, [], CLAIM, body_of(CLAIM))
        for device in DEVICES[:2]:
            self._try(ROOT, self.stored[-1], [], GRANT, body_of(GRANT, grantee=device.id))

    def grow(self, size: int) -> World:
        """Step until `size` operations are stored."""
        while len(self.stored) < size:
            self.step()
        return self

    def accepted(self) -> list[bytes]:
        """The bytes of what is stored, in the order of making."""
        return [entry.raw for entry in self.stored]

    def step(self) -> None:
        """Some key, on some view of the log, tries something."""
        choose = self.random
        author = choose.choice([ROOT, *DEVICES, *DEVICES, STRANGER] if choose.random() < 0.9 else [ROOT])
        own = [entry for entry in self.stored if entry.author == author.id]
        prev = None
        if own and choose.random() < 0.99:
            prev = own[-1] if choose.random() < 0.97 else choose.choice(own)
        deps = self._view(prev)
        if author is ROOT and prev is None:
            deps = []
        past = Past(prev, deps)
        held = [entry for entry in self.stored if past.holds(entry)]
        made = self._body(author, held)
        if made is not None:
            self._try(author, prev, deps, *made)

    def _view(self, prev: Entry | None) -> list[Entry]:
        """What an operation builds on: the latest of everything, or some of it, or something old."""
        choose = self.random
        if choose.random() < 0.25:
            heads = [entry for entry in map(self.replica.entry, self.replica.heads()) if entry is not None]
            view = choose.sample(heads, min(len(heads), 12))
        elif choose.random() < 0.6:
            view = choose.sample(self.stored[-12:], min(len(self.stored), choose.randrange(1, 3)))
        else:
            view = choose.sample(self.stored, min(len(self.stored), choose.randrange(0, 3)))
        return [entry for entry in view if entry is not prev]

    def _body(self, author: Key, held: list[Entry]) -> tuple[str, dict[str, Any]] | None:
        choose = self.random
        kind = choose.choices(TYPES, (3, 6, 3, 3, 6, self._revocations, 2))[0]
        claims = [entry for entry in held if isinstance(entry, ClaimEntry)]
        evidence = [entry for entry in held if isinstance(entry, EvidenceEntry)]
        sources = [*claims, *claims, *evidence, *(entry for entry in held if isinstance(entry, InferenceEntry))]
        grants = [entry for entry in held if isinstance(entry, GrantEntry)]
        mine = [grant for grant in grants if grant.grantee == author.id]

        def some(entries: list[Any], most: int) -> list[str]:
            return list({entry.id: None for entry in choose.choices(entries[-12:], k=choose.randrange(1, most + 1))})

        predicate = choose.choice(["calendar.event", "calendar.place", "health.sleep", "health"])
        if kind == EVIDENCE:
            return kind, body_of(kind, size=choose.randrange(1000))
        if kind == CLAIM:
            derived = some(sources, 3) if sources and choose.random() < 0.85 else []
            confidence = choose.randrange(10**6)
            return kind, body_of(kind, predicate=predicate, derived_from=derived, confidence_ppm=confidence)
        if kind == CORRECTION and claims:
            replacement = choose.choice([None, choose.choice(claims[-6:]).id, choose.choice(claims[-6:]).id])
            return kind, body_of(kind, target=choose.choice(claims[-12:]).id, replacement=replacement)
        if kind == REFUTATION and (claims or evidence):
            return kind, body_of(kind, target=choose.choice([*claims[-12:], *evidence[-12:]]).id)
        if kind == GRANT:
            return kind, self._grant(author, mine)
        if kind == REVOCATION and grants:
            # Mostly one of the grants lately made, sometimes a renunciation.
            target = choose.choice(mine if mine and choose.random() < 0.15 else grants[-12:])
            return kind, body_of(kind, target=target.id)
        if kind == INFERENCE and (claims or evidence):
            grant = choose.choice(mine).id if mine and author is not ROOT else None
            return kind, body_of(kind, inputs=some([*claims, *evidence], 3), grant=grant)
        return None

    def _grant(self, author: Key, mine: list[GrantEntry]) -> dict[str, Any]:
        choose = self.random
        parent = choose.choice(mine[-5:]) if mine and author is not ROOT else None
        caps = sorted(parent.caps) if parent is not None else ["author", "delegate", "infer", "read"]
        if choose.random() < 0.2:
            caps = sorted(choose.sample(caps, choose.randrange(1, len(caps) + 1)))
        scope: dict[str, Any] = {"predicates": ["*"], "provenance": "full"}
        if parent is not None:
            scope = {"predicates": list(parent.predicates), "provenance": parent.provenance}
            if parent.ops is not None:
                scope["ops"] = sorted(parent.ops)
        if choose.random() < 0.2:
            scope["predicates"] = choose.choice([["calendar.*"], ["calendar.event", "health.*"], ["*"]])
        if choose.random() < 0.1:
            scope["ops"] = sorted(choose.sample(TYPES, 5))
        if choose.random() < 0.1:
            scope["provenance"] = "none"
        return body_of(
            GRANT,
            grantee=choose.choice(DEVICES).id,
            caps=caps,
            scope=scope,
            parent=parent.id if parent is not None else None,
            max_depth=max(0, parent.max_depth - 1) if parent is not None else 8,
            not_before=choose.choice([parent.not_before if parent is not None else None] * 6 + [EARLY]),
            expires=choose.choice([parent.expires if parent is not None else None] * 6 + [EARLY, LATE]),
        )

    def _try(self, author: Key, prev: Entry | None, deps: list[Entry], kind: str, body: dict[str, Any]) -> None:
        parents = [*deps, *([prev] if prev is not None else [])]
        made = envelope(
            kind,
            author,
            body=body,
            prev=prev.id if prev is not None else None,
            seq=prev.seq + 1 if prev is not None else 1,
            deps=[entry.id for entry in deps],
            lc=max((entry.lc for entry in parents), default=0) + self.random.choice([1, 1, 1, 3]),
            ts=self.random.choice([TS, TS, TS, "2023-06-01T00:00:00.000Z"]),
        )
        raw = signed(made, author) if self._real else sealed(made)
        outcome = self.replica.add(raw, TRUSTING)
        self.outcomes.append((raw, outcome))
        self.stored += outcome.stored
