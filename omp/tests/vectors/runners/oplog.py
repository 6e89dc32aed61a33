"""How each kind of vector in ``vectors/oplog/`` is run: whatever the definition says too, by the core and by it."""

from __future__ import annotations

import json
import random
import unittest
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Any

from omp.protocols.oplog import definition
from omp.protocols.oplog.core.document import why
from omp.protocols.oplog.core.entries import ClaimEntry
from omp.protocols.oplog.core.operation import preimage
from omp.protocols.oplog.core.producer import signed
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.verify import STAGES, OperationRefused, check_bytes
from omp.protocols.oplog.node import Node
from omp.protocols.oplog.posting import post_many
from omp.rules import ed25519, identifiers
from omp.rules.engines import Engine, best_engine
from omp.rules.json_text import parse
from omp.store.memory import MemoryStore

Case = dict[str, Any]
ENGINE = best_engine()
TRUSTING = Engine("trusting", lambda public_key, message, signature: True)
"""For operations whose signatures were verified a moment ago."""
CLASSES = {"producer", "verifier", "replicator"}
DELIVERIES = 4


class _Key:
    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self.public_key = ed25519.public_key_slowly(seed)

    def sign(self, message: bytes, /) -> bytes:
        return ed25519.sign_slowly(self._seed, message)


def _bytes(case: Case) -> bytes:
    text = case.get("operation")
    return text.encode() if text is not None else b64decode(case["operation_base64"], validate=True)


def _replica(case: Case, operations: Iterable[str], engine: Engine = ENGINE) -> Replica:
    replica = Replica(case["log"])
    for text in operations:
        replica.add(text.encode(), engine)
    return replica


def _classes(test: unittest.TestCase, case: Case) -> None:
    test.assertTrue(case["class"])
    test.assertLessEqual(set(case["class"]), CLASSES)


def _produce(test: unittest.TestCase, case: Case) -> None:
    _classes(test, case)
    envelope, key = case["envelope"], _Key(bytes.fromhex(case["seed"]))
    test.assertEqual(preimage(envelope).decode(), case["preimage"])
    test.assertEqual(identifiers.operation_id(case["preimage"].encode()), case["id"])
    test.assertEqual(signed(envelope, key).decode(), case["operation"])
    test.assertEqual(check_bytes(case["operation"].encode(), ENGINE).id, case["id"])
    test.assertEqual(definition.preimage(envelope).decode(), case["preimage"])
    test.assertEqual(definition.signed_slowly(bytes.fromhex(case["seed"]), envelope).decode(), case["operation"])
    test.assertEqual(definition.examine(case["operation"].encode(), ENGINE).id, case["id"])


def _form(test: unittest.TestCase, case: Case) -> None:
    _classes(test, case)
    try:
        operation = check_bytes(_bytes(case), ENGINE)
    except OperationRefused as refusal:
        test.assertEqual((refusal.code, refusal.stage, refusal.id), (case["outcome"], case["stage"], case["id"]))
    else:
        test.assertEqual((case["outcome"], operation.id), ("ok", case["id"]))
        test.assertEqual(operation.raw, _bytes(case))
    try:
        by_definition = definition.examine(_bytes(case), ENGINE)
    except definition.StageFailed as failed:
        test.assertEqual((failed.code, failed.stage, failed.id), (case["outcome"], case["stage"], case["id"]))
    else:
        test.assertEqual(("ok", by_definition.id), (case["outcome"], case["id"]))


def _stream(test: unittest.TestCase, case: Case) -> None:
    _classes(test, case)
    replica = Replica(case["log"])
    codes = {stage.code: stage.number for stage in STAGES}
    for step in case["steps"]:
        said = f"{step['name']!r}"
        rejected_before = set(replica.rejected)
        outcome = replica.add(_bytes(step), ENGINE)
        test.assertEqual((outcome.status, outcome.id), (step["outcome"], step["id"]), said)
        test.assertEqual((outcome.code, outcome.stage), (step.get("code"), step.get("stage")), said)
        test.assertEqual(outcome.stage, codes.get(step.get("code")), said)
        test.assertEqual(list(outcome.missing), step.get("missing", []), said)
        also = {entry.id for entry in outcome.stored} - {outcome.id}
        test.assertEqual(also, set(step.get("also_accepted", [])), said)
        turned_down = [{"id": one, "code": code} for one, code in set(replica.rejected) - rejected_before]
        test.assertEqual(turned_down, step.get("also_rejected", []), said)
    test.assertEqual([{"id": one, "missing": missing} for one, missing in replica.pending()], case["pending"])
    for one in case.get("kept", []):
        test.assertEqual(replica.bytes_held(one["id"]), _bytes(one))
    _state_is(test, replica, case)
    again = Replica(case["log"])  # a restart
    for entry in replica.operations():
        again.restore(entry.raw)
    _state_is(test, again, case)
    _stream_by_definition(test, case)


class _DefinedNode:
    """The definition with a waiting room: what is deferred is tried again whenever something is stored."""

    def __init__(self, identity: str) -> None:
        self.log = definition.Log(identity)
        self.waiting: dict[str, definition.Op] = {}
        self.rejected: list[Case] = []

    def deliver(self, data: bytes) -> Case:
        """What becomes of an operation, as the members of a step."""
        stored = set(self.log.operations)
        self.rejected = []
        try:
            op = definition.examine(data, ENGINE, self.log.identity)
            self.log.add(op)
        except definition.StageFailed as failed:
            if failed.code != "DEFER":
                return {"outcome": "rejected", "id": failed.id, "code": failed.code, "stage": failed.stage}
            self.waiting.setdefault(op.id, op)
            return {"outcome": "deferred", "id": op.id, "missing": failed.missing}
        if op.id in stored:
            return {"outcome": "duplicate", "id": op.id}
        while any(self._settled(op) for op in list(self.waiting.values())):
            pass
        also = {"also_accepted": set(self.log.operations) - stored - {op.id}, "also_rejected": self.rejected}
        return {"outcome": "accepted", "id": op.id, **{name: value for name, value in also.items() if value}}

    def _settled(self, op: definition.Op) -> bool:
        try:
            self.log.add(op)
        except definition.StageFailed as failed:
            if failed.code == "DEFER":
                return False
            self.rejected.append({"id": op.id, "code": failed.code})
        del self.waiting[op.id]
        return True


def _stream_by_definition(test: unittest.TestCase, case: Case) -> None:
    node = _DefinedNode(case["log"])
    for step in case["steps"]:
        expected = {name: value for name, value in step.items() if name not in ("name", "operation")}
        if "also_accepted" in expected:
            expected["also_accepted"] = set(expected["also_accepted"])
        test.assertEqual(node.deliver(_bytes(step)), expected, step["name"])
    test.assertEqual(list(node.waiting), [one["id"] for one in case["pending"]])
    state = definition.State(node.log).document()
    test.assertEqual((state["heads"], definition.state_id_of(state)), (case["heads"], case["state"]))


def _state_is(test: unittest.TestCase, replica: Replica, case: Case) -> None:
    test.assertEqual(replica.heads(), case["heads"])
    test.assertEqual(replica.state_id(), case["state"])
    test.assertEqual(identifiers.state_id(replica.state_document()), case["state"])


def _merge(test: unittest.TestCase, case: Case) -> None:
    _classes(test, case)
    lines = [text.encode() for text in case["operations"]]
    report = definition.check(reversed(lines), ENGINE)
    test.assertEqual(report.problems, [])
    test.assertEqual((report.operations, report.document.decode()), (case["order"], case["document"]))
    test.assertEqual((report.log, report.state_id), (case["log"], case["state"]))
    shuffled = list(case["operations"])
    for seed in range(DELIVERIES):
        replica = _replica(case, shuffled, TRUSTING)
        test.assertEqual(replica.pending(), [])
        test.assertEqual(replica.state_document().decode(), case["document"])
        test.assertEqual([entry.id for entry in replica.operations()], case["order"])
        _state_is(test, replica, case)
        random.Random(seed).shuffle(shuffled)


def _projection(test: unittest.TestCase, case: Case) -> None:
    _classes(test, case)
    replica = _replica(case, case["operations"])
    test.assertEqual(list(replica.projection(case["key"], case["now"])), case["items"])


def _why(test: unittest.TestCase, case: Case) -> None:
    _classes(test, case)
    claim = _replica(case, case["operations"]).entry(case["claim"])
    assert isinstance(claim, ClaimEntry)
    test.assertEqual(parse(why(claim)), json.loads(json.dumps(case["why"])))


def _missing(test: unittest.TestCase, case: Case) -> None:
    _classes(test, case)
    lacking = _replica(case, case["operations"]).lacking(case["heads"])
    test.assertEqual([entry.id for entry in lacking], case["missing"])


def _body(case: Case) -> bytes:
    runs = case.get("body_runs") or [(case["body"], 1)]
    return "".join(text * times for text, times in runs).encode()


def _batch(test: unittest.TestCase, case: Case) -> None:
    _classes(test, case)
    node, log = Node(MemoryStore()), case["log"]
    for text in case["before"]:
        node.admit(log, [check_bytes(text.encode(), ENGINE, log)])
    answer = post_many(node, ENGINE, log, _body(case))
    test.assertEqual((answer.status, parse(answer.body)), (200, case["answer"]))


RUNNERS: dict[str, Callable[[unittest.TestCase, Case], None]] = {
    "oplog/produce": _produce,
    "oplog/form": _form,
    "oplog/stream": _stream,
    "oplog/merge": _merge,
    "oplog/projection": _projection,
    "oplog/why": _why,
    "oplog/missing": _missing,
    "oplog/batch": _batch,
}
