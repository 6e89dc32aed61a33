"""The definition against the core: the same verdicts, the same state, on random logs and on damaged operations.

Every vector is run by both too: see omp/tests/vectors/runners/oplog.py.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import random
import tokenize
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omp.protocols.oplog import definition
from omp.protocols.oplog.core.operation import (
    CLAIM,
    CORRECTION,
    EVIDENCE,
    GRANT,
    LIMITS,
    RANGES,
    REFERENCES,
    REFUTATION,
    REVOCATION,
)
from omp.protocols.oplog.core.outcomes import DEFERRED, REJECTED
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.verify import STAGES, OperationRefused, check_bytes
from omp.rules import canonical, identifiers
from omp.tests import TOP, long
from omp.tests.oplog.world import (
    DEVICES,
    ENGINE,
    LOG,
    ROOT,
    STRANGER,
    TRUSTING,
    LogCopy,
    World,
    body_of,
    envelope,
    sealed,
)

FILE = Path(definition.__file__)
Verdict = tuple[str | None, int | None, str | None]


def by_core(data: bytes) -> Verdict:
    """(code, stage, operation ID) by the verifier of the core: stages 1 to 7."""
    try:
        return None, None, check_bytes(data, TRUSTING).id
    except OperationRefused as refused:
        return refused.code, refused.stage, refused.id


def by_definition(data: bytes) -> Verdict:
    """The same by the definition."""
    try:
        return None, None, definition.examine(data, TRUSTING).id
    except definition.StageFailed as failed:
        return failed.code, failed.stage, failed.id


def code_lines(path: Path) -> int:
    """Lines of code, without comments and docstrings."""
    source = path.read_text(encoding="utf-8")
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in nothing:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return len(lines)


def imports(path: Path) -> set[str]:
    """The modules of the project that a file imports names from."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = {f"{node.module}.{name.name}" for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names}
    return {name for name in found if name.startswith("omp.")}


class Independent(unittest.TestCase):
    """The definition is the first page, and a check of its own."""

    def test_it_imports_canonical_json_identifiers_and_ed25519_only(self) -> None:
        allowed = ("canonical", "identifiers", "ed25519", "encodings", "engines")
        self.assertEqual([name for name in imports(FILE) if name.split(".")[:2] != ["omp", "rules"]], [])
        self.assertLessEqual({name.split(".")[2] for name in imports(FILE)}, set(allowed))

    def test_nothing_that_serves_imports_it(self) -> None:
        using = [
            path.relative_to(TOP / "omp").as_posix()
            for path in (TOP / "omp").rglob("*.py")
            if any(name.startswith("omp.protocols.oplog.definition") for name in imports(path))
        ]
        self.assertEqual([path for path in using if not path.startswith("tests/")], ["tools/log/showing.py"])

    def test_it_has_at_most_500_lines_of_code(self) -> None:
        self.assertLessEqual(code_lines(FILE), 500)

    def test_its_tables_say_what_those_of_the_core_say(self) -> None:
        self.assertEqual(definition.STAGES, {stage.code: stage.number for stage in STAGES})
        for kind, members in definition.BODIES.items():
            rows = {f"body.{name}": row for name, row in members.items()}
            rows |= definition.ENVELOPE
            if kind == definition.GRANT:
                rows |= {f"body.scope.{name}": row for name, row in definition.SCOPE.items()}
            limits = {(path, most) for path, row in rows.items() for most in (row.most, row.each) if most is not None}
            self.assertEqual(limits, {(limit.path, limit.bound) for limit in LIMITS[kind]}, kind)
            ranges = {
                (path, row.low, None if row.high == 2**53 - 1 else row.high)
                for path, row in rows.items()
                if row.low is not None
            }
            self.assertEqual(ranges, {(each.path, each.low, each.high) for each in RANGES[kind]}, kind)
            self.assertEqual(
                {name: row.types_named for name, row in members.items() if row.types_named}, REFERENCES[kind], kind
            )


class OneOperation(unittest.TestCase):
    """Stages 1 to 7 of operations that are right but for what a random hand changed."""

    def test_damaged_operations_fail_at_the_same_stage(self) -> None:
        self._damage(random.Random(1), 600)

    @long
    def test_many_damaged_operations_fail_at_the_same_stage(self) -> None:
        self._damage(random.Random(2), 60_000)

    def _damage(self, choose: random.Random, count: int) -> None:
        met = set()
        for _ in range(count):
            kind = choose.choice(definition.TYPES)
            value = {**envelope(kind, body=body_of(kind)), "sig": "A" * 86}
            for _ in range(choose.choice((0, 1, 1, 2))):
                change(value, choose)
            data = canonical.encode(value)
            if choose.random() < 0.2:
                data = scratched(data, choose)
            verdict = by_core(data)
            met.add(verdict[0])
            self.assertEqual(by_definition(data), verdict, data)
        self.assertGreaterEqual(met, {None, "ERR_ENCODING", "ERR_VERSION", "ERR_SCHEMA", "ERR_RANGE"})

    def test_an_extension_is_looked_at_in_the_envelope_and_in_the_body(self) -> None:
        for where in ("envelope", "body"):
            value = envelope(definition.CLAIM, body=body_of(definition.CLAIM, x_a=1), x_a=1)
            (value if where == "envelope" else value["body"])["x_a"] = {"Not a name": 1}
            data = sealed(value)
            self.assertEqual((by_definition(data)[0], by_core(data)[0]), ("ERR_SCHEMA", "ERR_SCHEMA"), where)

    def test_the_handwritten_engine_is_the_default(self) -> None:
        raw = definition.signed_slowly((1).to_bytes(32, "big"), envelope(definition.CLAIM))
        self.assertEqual(definition.examine(raw).author, ROOT.id)
        with self.assertRaises(definition.StageFailed) as caught:
            definition.examine(sealed(envelope(definition.CLAIM)))
        self.assertEqual((caught.exception.code, caught.exception.stage), ("ERR_SIGNATURE", 7))

    def test_what_is_sent_to_another_log_is_refused_at_the_schema(self) -> None:
        raw = sealed(envelope(definition.CLAIM))
        self.assertEqual(definition.examine(raw, TRUSTING, LOG).log, LOG)
        with self.assertRaises(definition.StageFailed) as caught:
            definition.examine(raw, TRUSTING, LOG.replace("omp:id:ed25519:", "omp:id:ed25519:A"))
        self.assertEqual(caught.exception.code, "ERR_SCHEMA")


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


WORDS = ["", "x", "*", "a.b", "a.*", "none", "omp/0.1", "2024-02-30T00:00:00.000Z", "omp:op:sha256:" + "0" * 64, "\n"]
VALUES: list[Any] = [None, True, 0, 1, -1, 9, 2**53 - 1, 10**6 + 1, [], {}, ["*"], ["a", "a"], {"A": 1}, *WORDS]


def change(value: dict[str, Any], choose: random.Random) -> None:
    """Change one thing somewhere in a JSON object."""
    holder, key = choose.choice(list(places(value)))
    what = choose.randrange(4)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[choose.choice(("x_note", "x_", "extra", "Upper", "ops"))] = json.loads(json.dumps(choose.choice(VALUES)))
    elif what == 2 and isinstance(holder[key], str):
        at = choose.randrange(len(holder[key]) + 1)
        longer = choose.choice(("\n", "A", "é", "." * 200))
        holder[key] = holder[key][:at] + longer + holder[key][at:]
    else:
        holder[key] = json.loads(json.dumps(choose.choice(VALUES)))


def scratched(data: bytes, choose: random.Random) -> bytes:
    """`data` with one byte changed, put in or taken out."""
    at = choose.randrange(len(data))
    return data[:at] + choose.choice((b"", b" ", b"\xff", b'"', b"\\", b"0", b"}")) + data[at + choose.randrange(2) :]


class RandomLogs(unittest.TestCase):
    """Hostile logs: see world.py."""

    def test_verdicts_and_state_are_the_same(self) -> None:
        for seed in range(100, 106):
            self._compare(seed, 80)

    @long
    def test_verdicts_and_state_are_the_same_for_many_logs(self) -> None:
        for seed in range(200, 320):
            self._compare(seed, 60 + seed)

    def _compare(self, seed: int, size: int) -> None:
        world = World(seed).grow(size)
        raws = [raw for raw, _ in world.outcomes]
        random.Random(seed).shuffle(raws)
        report = definition.check(raws, TRUSTING)
        with self.subTest(seed=seed):
            refused = {outcome.id: outcome.code for _, outcome in world.outcomes if outcome.status == REJECTED}
            self.assertEqual(dict(report.problems), refused)
            self.assertEqual(report.operations, [entry.id for entry in world.replica.operations()])
            self.assertEqual(report.document, world.replica.state_document())
            self.assertEqual(report.state_id, world.replica.state_id())

    def test_verdicts_are_the_same_one_by_one(self) -> None:
        world = World(seed=110).grow(120)
        raws = [raw for raw, _ in world.outcomes]
        random.Random(110).shuffle(raws)
        replica, log = Replica(LOG), definition.Log(LOG)
        for raw in raws:
            # Nothing waits: what is deferred is forgotten by both, so that both hold the same.
            outcome = replica.add(raw, TRUSTING)
            verdict: tuple[Any, ...] = (None, None, [])
            try:
                log.add(definition.examine(raw, TRUSTING, LOG))
            except definition.StageFailed as failed:
                verdict = failed.code, failed.stage, failed.missing
            if outcome.status == DEFERRED:
                self.assertEqual(verdict, ("DEFER", 8, list(outcome.missing)))
                replica = restarted(replica)
            else:
                self.assertEqual(verdict, (outcome.code, outcome.stage, []))
        self.assertEqual(definition.state_id_of(definition.State(log).document()), replica.state_id())


class DenseDerivations(unittest.TestCase):
    """Few sources, many claims on them, corrections, refutations and voids, in any order of arrival.

    The core must agree with the definition after each operation, since it brings taint up to date step by step.
    """

    def test_the_state_is_the_same_after_each_operation(self) -> None:
        for seed in range(6):
            self._compare(seed)

    @long
    def test_the_state_is_the_same_after_each_operation_of_many_logs(self) -> None:
        for seed in range(1000, 1300):
            self._compare(seed)

    def _compare(self, seed: int) -> None:
        choose = random.Random(seed)
        raws = dense_log(choose)
        for _ in range(2):
            choose.shuffle(raws)
            replica, log = Replica(LOG), definition.Log(LOG)
            for raw in raws:
                for entry in replica.add(raw, TRUSTING).stored:
                    log.add(definition.examine(entry.raw, TRUSTING, LOG))
                document = canonical.encode(definition.State(log).document())
                self.assertEqual(replica.state_document(), document, seed)
            self.assertEqual(len(replica), len(raws))


def dense_log(choose: random.Random) -> list[bytes]:
    """The operations of a root and three devices, each with a copy of its own that it merges now and then."""
    root = LogCopy()
    claims = [root.do(ROOT, CLAIM)]
    evidence, grants = [root.do(ROOT, EVIDENCE)], [root.do(ROOT, GRANT, grantee=key.id) for key in DEVICES[:3] * 2]
    copies = [(ROOT, root), *((key, root.copy()) for key in DEVICES[:3])]
    for _ in range(70):
        key, copy = choose.choice(copies)
        known, seen = ([one for one in ids if copy.replica.entry(one)] for ids in (claims, evidence))
        kind = choose.choices([CLAIM, CORRECTION, REFUTATION, REVOCATION, EVIDENCE, GRANT, None], [8, 6, 2, 1, 1, 1, 3])
        with contextlib.suppress(OperationRefused):  # a device whose grants are revoked
            match kind[0]:
                case "claim-assert":
                    sources = set(choose.choices([*known[-8:], *seen], k=choose.randrange(1, 5)))
                    claims.append(copy.do(key, CLAIM, derived_from=sorted(sources), method="rule:x"))
                case "correction":
                    target, replacement = choose.choice(known[:6]), choose.choice([None, *known])
                    if target != replacement:
                        copy.do(key, CORRECTION, target=target, replacement=replacement)
                case "refutation":
                    copy.do(key, REFUTATION, target=choose.choice([*known[-10:], *seen]))
                case "revocation":
                    root.do(ROOT, REVOCATION, target=choose.choice(grants))
                case "evidence-ingest":
                    evidence.append(copy.do(key, EVIDENCE, size=choose.randrange(10**6)))
                case "permission-grant":
                    grants.append(root.do(ROOT, GRANT, grantee=choose.choice(DEVICES[:3]).id))
                case None:
                    copy.merge(choose.choice(copies)[1])
    root.merge(*(copy for _, copy in copies))
    return root.raw()


def restarted(replica: Replica) -> Replica:
    """The same stored operations, and nothing that waits."""
    again = Replica(replica.log)
    for entry in replica.operations():
        again.restore(entry.raw)
    return again


class Checking(unittest.TestCase):
    """:func:`definition.check` over exports that are not one log in order."""

    def setUp(self) -> None:
        self.world = World(seed=3, real=True).grow(12)
        self.raws = self.world.accepted()

    def test_no_lines_are_an_empty_report(self) -> None:
        report = definition.check([])
        self.assertEqual((report.log, report.operations, report.problems), (None, [], []))

    def test_any_order_and_copies_change_nothing(self) -> None:
        report = definition.check([*reversed(self.raws), *self.raws], ENGINE)
        self.assertEqual((report.problems, report.state_id), ([], self.world.replica.state_id()))

    def test_a_missing_ancestor_defers_what_builds_on_it(self) -> None:
        report = definition.check(self.raws[1:], ENGINE)
        self.assertEqual(report.operations, [])
        self.assertEqual({code for _, code in report.problems}, {"DEFER"})

    def test_an_operation_of_another_log_is_a_problem_of_the_schema(self) -> None:
        other = identifiers.identity_id(STRANGER.public_key)
        foreign = sealed(envelope(definition.CLAIM, STRANGER, log=other, lc=9))
        report = definition.check([*self.raws, foreign], TRUSTING)
        self.assertEqual([code for _, code in report.problems], ["ERR_SCHEMA"])
        self.assertEqual(report.state_id, self.world.replica.state_id())

    def test_every_problem_has_its_code(self) -> None:
        lines = [*self.raws, b"\xff", b'{"v": 1}', b"{}", self.raws[0].replace(b"dentist", b"surgeon")]
        report = definition.check(lines, ENGINE)
        codes = ["ERR_ENCODING", "ERR_CANONICAL", "ERR_VERSION", "ERR_SIGNATURE"]
        self.assertEqual([code for _, code in report.problems], codes)
        self.assertEqual([operation_id is None for operation_id, _ in report.problems], [True, True, True, False])


if __name__ == "__main__":
    unittest.main()
