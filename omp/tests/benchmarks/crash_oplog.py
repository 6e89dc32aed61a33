"""Signed logs under ``bench crash``: devices that write single operations and batches, and one that checks all.

Things are operations, which nobody changes: each that was answered is there with its bytes, each other one of a request
without an answer is there whole or not at all.  A device sends what was not answered again, as the protocol means it:
what was kept the first time is a duplicate.

Of each log the bench keeps a replica of its own, made of what the server hands out and nothing else.  Every operation
must be accepted there in the order in which it is handed out, so none lacks an ancestor, and the state ID must be that
of the server.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any
from urllib.parse import quote

from omp.protocols.oplog.core.operation import Operation
from omp.protocols.oplog.core.outcomes import ACCEPTED, DUPLICATE
from omp.protocols.oplog.core.producer import Producer, Signer
from omp.protocols.oplog.core.replica import Replica
from omp.rules import identifiers
from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.engines import CryptographyMissing, best_engine, secret_keys
from omp.tests.benchmarks.crash_client import Broken, Writer

BATCH = 20
"""Operations that a device writes at once, at most."""
_TS = "2026-05-04T10:00:00.000Z"
_JSON, _NDJSON = {"Content-Type": "application/json"}, {"Content-Type": "application/x-ndjson"}


class Key:
    """A secret key made of a number; signed by hand where the package `cryptography` is missing."""

    def __init__(self, random: Random) -> None:
        self._seed = random.randbytes(32)
        try:
            keys = secret_keys()
            self._sign, self.public_key = keys.sign, keys.public_key(self._seed)
        except CryptographyMissing:
            self._sign, self.public_key = sign_slowly, public_key_slowly(self._seed)
        self.id = identifiers.key_id(self.public_key)

    def sign(self, message: bytes, /) -> bytes:
        """The signature of `message`."""
        return self._sign(self._seed, message)


class Log:
    """One log: its root, and what the server has shown of it."""

    def __init__(self, random: Random) -> None:
        self.root = Key(random)
        self.id = identifiers.identity_id(self.root.public_key)
        self.path = f"/logs/{quote(self.id, safe='')}"
        self.engine = best_engine()
        self.shown = Replica(self.id)

    def producer(self, signer: Signer, replica: Replica) -> Producer:
        """Makes operations in this log."""
        return Producer(replica, signer, self.engine)


class Device(Writer):
    """A key that writes to a log."""

    protocol = "oplog"

    def __init__(self, name: str, random: Random, log: Log) -> None:
        super().__init__(name, random)
        self._log = log
        self._key = Key(random)
        self._held = Replica(log.id)
        """What this device knows: what it made, and what it has seen of others."""
        self._producer = log.producer(self._key, self._held)
        self._unsure: list[Operation] = []
        """What was sent, and has no answer yet."""
        self._answered: dict[str, bytes] = {}

    def prepare(self) -> None:
        """The root grants this device all there is."""
        self._see_all()
        granted = self._log.producer(self._log.root, self._held).permission_grant(
            _TS, grantee=self._key.id, caps=("author", "infer", "read"), predicates=("*",), provenance="full"
        )
        self._held.admit(granted)
        self._send([granted])

    # --- Writing

    def write(self) -> None:
        """A batch, or one operation."""
        if not self._unsure:
            many = self.random.choice((1, 1, 2, BATCH))
            self._unsure = [self._made() for _ in range(many)]
        self._send(self._unsure)
        self._unsure = []

    def _made(self) -> Operation:
        """Evidence, or a claim that is derived from the last evidence, or its refutation."""
        chance, number = self.random.random(), len(self._held)
        claims = [one for one in self._mine() if one.type == "claim-assert"]
        evidence = [one for one in self._mine() if one.type == "evidence-ingest"]
        if chance < 0.3 or not evidence:
            data = f"{self.name} {number}".encode()
            made = self._producer.evidence_ingest(
                _TS, evidence=identifiers.evidence_id(data), media_type="text/plain", size=len(data), source="a:b"
            )
        elif chance < 0.9 or not claims:
            made = self._producer.claim_assert(
                _TS, subject="self", predicate="calendar.event", object={"n": number}, confidence_ppm=900_000,
                method="rule:crash/1", derived_from=[evidence[-1].id],
            )  # fmt: skip
        else:
            made = self._producer.refutation(_TS, target=claims[-1].id, reason="it was moved")
        self._held.admit(made)
        return made

    def _mine(self) -> list[Any]:
        """The end of this device's own chain."""
        return [entry for chain in self._held.author(self._key.id).chains for entry in chain.entries[-10:]]

    def _send(self, operations: list[Operation]) -> None:
        path = f"{self._log.path}/operations"
        if len(operations) == 1:
            answer = self.ask("POST", path, headers=_JSON, body=operations[0].raw, expected=(200, 201))
            outcomes = [answer.json]
        else:
            body = b"\n".join(operation.raw for operation in operations)
            outcomes = self.ask("POST", path, headers=_NDJSON, body=body).json["outcomes"]
        for operation, outcome in zip(operations, outcomes, strict=True):
            if (outcome["id"], outcome["status"]) not in ((operation.id, ACCEPTED), (operation.id, DUPLICATE)):
                raise Broken(f"{operation.id} of {self._log.id}, whose ancestors were sent, was answered {outcome}")
            self._answered[operation.id] = operation.raw
        self.ledger.answered += len(operations)

    # --- Checking

    def settle(self) -> None:
        """What has no answer is sent again by the next write."""

    def check(self, everything: bool) -> None:
        """What the server shows: every answered operation, none that was not sent, and the state that follows."""
        self._see_all()
        if everything:
            self._compare_all()
        shown = self._log.shown
        lost = [one for one, raw in self._answered.items() if shown.bytes_held(one) != raw]
        if lost:
            raise Broken(f"{len(lost)} operations of {self.name} are lost or others in {self._log.id}: {lost[:5]}")
        mine = {entry.id for chain in shown.author(self._key.id).chains for entry in chain.entries}
        if strange := mine - self._answered.keys() - {operation.id for operation in self._unsure}:
            raise Broken(f"{self._log.id} has operations of {self.name} that it did not send: {sorted(strange)[:5]}")
        heads = self.ask("GET", f"{self._log.path}/heads").json
        ours = {"heads": sorted(shown.heads()), "ops": len(shown), "state": shown.state_id()}
        if heads != ours:
            raise Broken(f"{self._log.id} has {heads}; from its operations follows {ours}")

    def _see_all(self) -> None:
        """Take in what the server has and the bench has not seen yet."""
        body = json.dumps({"heads": self._log.shown.heads()}).encode()
        answer = self.ask("POST", f"{self._log.path}/missing", headers=_JSON, body=body, expected=(200, 404))
        if answer.status == 404:
            if len(self._log.shown):
                raise Broken(f"{self._log.id} is gone")
            return
        for line in answer.body.splitlines():
            outcome = self._log.shown.add(line, self._log.engine)
            if outcome.status != ACCEPTED:
                raise Broken(f"an operation that {self._log.id} shows is {outcome.status}: {outcome.message}")
        for entry in self._log.shown.operations():
            if self._held.entry(entry.id) is None:
                self._held.add(entry.raw, self._log.engine)

    def _compare_all(self) -> None:
        """The whole log at once, in the total order, byte for byte."""
        headers = {"Accept": "application/x-ndjson"}
        whole = self.ask("GET", f"{self._log.path}/operations", headers=headers).body.splitlines()
        ours = [entry.raw for entry in self._log.shown.operations()]
        if whole != ours:
            raise Broken(f"{self._log.id} has {len(whole)} operations, and showed {len(ours)} others one by one")
