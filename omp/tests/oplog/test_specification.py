"""SPEC.md says what the code does: its tables are those of the code, and its worked example is recomputed.

The example is recomputed twice, by the definition and by the core, from the seed and the envelopes alone.
"""

from __future__ import annotations

import json
import re
import unittest
from collections.abc import Iterator
from hashlib import sha256

from omp.protocols.oplog import definition
from omp.protocols.oplog.core.operation import LIMITS, MAX_OPERATION_BYTES, RANGES, TYPES, preimage
from omp.protocols.oplog.core.outcomes import ACCEPTED
from omp.protocols.oplog.core.producer import signed
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.core.verify import STAGES, check_bytes
from omp.rules import canonical, ed25519, identifiers
from omp.rules.encodings import b64u_encode
from omp.rules.engines import handwritten_engine
from omp.tests import TOP

SPECIFICATION = TOP / "omp" / "protocols" / "oplog" / "SPEC.md"
TEXT = SPECIFICATION.read_text(encoding="utf-8") if SPECIFICATION.exists() else ""
ENGINE = handwritten_engine()


def section(number: str) -> str:
    """The text of a section, up to the next heading of its level or above."""
    level = "#" * (number.count(".") + 2)
    match = re.search(
        rf"^{level} {re.escape(number)}\.? .*?(?=^#{{2,{len(level)}}} |\Z)", TEXT, re.DOTALL | re.MULTILINE
    )
    assert match is not None, f"no section {number}"
    return match[0]


def tables(text: str) -> Iterator[list[list[str]]]:
    """The tables in a text, each a list of rows of cells, without the head."""
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        yield [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def bare(cell: str) -> str:
    """A cell without its back quotes."""
    return cell.replace("`", "")


def number(cell: str) -> int | None:
    return int(cell.replace(",", "")) if cell else None


@unittest.skipUnless(TEXT, "there is no SPEC.md in this copy of the package")
class Tables(unittest.TestCase):
    def test_the_stages_are_those_of_the_code(self) -> None:
        (rows,) = tables(section("3.2"))
        self.assertEqual(
            [(int(stage), name, bare(code)) for stage, name, _, code in rows],
            [(stage.number, stage.name, stage.code) for stage in STAGES],
        )

    def test_every_error_code_is_listed_once_with_its_stage(self) -> None:
        (rows,) = tables(section("11"))
        self.assertEqual({bare(code): int(stage) for code, stage, *_ in rows}, definition.STAGES)
        self.assertEqual(len(rows), len(STAGES))
        self.assertLessEqual(set(re.findall(r"ERR_[A-Z]+", TEXT)), {stage.code for stage in STAGES})

    def test_the_readme_of_the_vectors_lists_the_same_codes(self) -> None:
        text = (TOP / "vectors" / "README.md").read_text(encoding="utf-8")
        listed = re.findall(r"^\| `(ERR_\w+|DEFER)` \| (\d+) \|", text, re.MULTILINE)
        self.assertEqual([(code, int(stage)) for code, stage in listed], [(each.code, each.number) for each in STAGES])

    def test_the_limits_are_those_of_the_code(self) -> None:
        limits, _ = tables(section("1.5"))
        written = {(bare(member).removesuffix(", each"), number(most)) for member, most, _ in limits}
        coded = {(limit.path, limit.bound) for kind in LIMITS.values() for limit in kind}
        self.assertEqual(written, coded | {("the operation", MAX_OPERATION_BYTES)})
        self.assertEqual(len(limits), len(written))

    def test_the_ranges_are_those_of_the_code(self) -> None:
        _, ranges = tables(section("1.5"))
        written = {(bare(member), number(low), number(high)) for member, low, high in ranges}
        self.assertEqual(written, {(each.path, each.low, each.high) for kind in RANGES.values() for each in kind})

    def test_the_members_are_those_of_the_code(self) -> None:
        envelope, *_ = tables(section("2.1"))
        self.assertEqual({bare(member) for member, *_ in envelope}, definition.ENVELOPE.keys())
        text = section("2.2")
        for kind in TYPES:
            body, *_ = tables(text[text.index(f"**`{kind}`**") :])
            rows = definition.BODIES[kind]
            self.assertEqual([bare(member) for member, *_ in body], list(rows), kind)
            names = {bare(row[0]): row[3] for row in body if len(row) > 3}
            self.assertEqual(
                {member: set(types.split(", ")) for member, types in names.items() if types},
                {member: set(row.types_named) for member, row in rows.items() if row.types_named},
                kind,
            )

    def test_coverage_has_a_row_for_every_type(self) -> None:
        (rows,) = tables(section("4.3"))
        self.assertEqual([bare(kind) for kind, _ in rows], list(TYPES))

    def test_the_members_of_the_state_document_are_those_of_the_code(self) -> None:
        (rows,) = tables(section("5.3"))
        state = definition.State(definition.Log(None)).document()
        self.assertEqual({bare(member) for member, _ in rows}, state.keys())

    def test_the_points_of_small_order_are_those_of_the_code(self) -> None:
        self.assertEqual(set(map(bytes.fromhex, example()["small-order"].split())), ed25519.SMALL_ORDER)


def example() -> dict[str, str]:
    """The blocks of the worked example, and others that have a name: name → content without its last line feed."""
    found = re.findall(r"^```text ([a-z0-9-]+)\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL)
    assert len({name for name, _ in found}) == len(found), "a name twice"
    return dict(found)


class _Key:
    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self.public_key = ed25519.public_key_slowly(seed)

    def sign(self, message: bytes, /) -> bytes:
        return ed25519.sign_slowly(self._seed, message)


@unittest.skipUnless(TEXT, "there is no SPEC.md in this copy of the package")
class WorkedExample(unittest.TestCase):
    """§9, value by value."""

    def setUp(self) -> None:
        self.example = example()
        self.key = _Key(bytes.fromhex(self.example["seed"]))
        self.operations = [self.example[f"operation-{which}"].encode() for which in (1, 2, 3)]

    def test_the_key_and_its_identifiers(self) -> None:
        self.assertEqual(self.key.public_key.hex(), self.example["public-key"])
        self.assertEqual(identifiers.identity_id(self.key.public_key), self.example["identity-id"])
        self.assertEqual(identifiers.key_id(self.key.public_key), self.example["key-id"])

    def test_the_evidence(self) -> None:
        match = re.search(r"The evidence is the (\d+) bytes `([^`]+)`", TEXT)
        assert match is not None
        self.assertEqual(len(match[2].encode()), int(match[1]))
        self.assertEqual(identifiers.evidence_id(match[2].encode()), self.example["evidence-id"])
        self.assertEqual(json.loads(self.operations[0])["body"]["evidence"], self.example["evidence-id"])

    def test_the_first_operation_byte_by_byte(self) -> None:
        written = self.example["envelope-1"]
        length = re.search(r"in canonical form \((\d+) bytes\)", TEXT)
        assert length is not None
        self.assertEqual(len(written.encode()), int(length[1]))
        signed_bytes = b"omp/0.2\n" + written.encode()
        self.assertEqual(bytes.fromhex(self.example["preimage-1"]), signed_bytes)
        self.assertEqual("omp:op:sha256:" + sha256(signed_bytes).hexdigest(), self.example["id-1"])
        signature = ed25519.sign_slowly(bytes.fromhex(self.example["seed"]), signed_bytes)
        self.assertEqual(bytes.fromhex(self.example["signature-1"]), signature)
        self.assertEqual(self.example["sig-1"], b64u_encode(signature))
        envelope = json.loads(written)
        self.assertEqual(definition.preimage(envelope), signed_bytes)
        self.assertEqual(preimage(envelope), signed_bytes)
        sent = {**envelope, "sig": self.example["sig-1"]}
        self.assertEqual(canonical.encode(sent), self.operations[0])

    def test_every_operation_by_the_definition_and_by_the_core(self) -> None:
        for which, raw in enumerate(self.operations, 1):
            envelope = json.loads(raw)
            del envelope["sig"]
            self.assertEqual(definition.signed_slowly(bytes.fromhex(self.example["seed"]), envelope), raw)
            self.assertEqual(signed(envelope, self.key), raw)
            self.assertEqual(definition.examine(raw).id, self.example[f"id-{which}"])
            self.assertEqual(check_bytes(raw, ENGINE).id, self.example[f"id-{which}"])

    def test_the_state_by_the_definition_and_by_the_core(self) -> None:
        document, state_id = self.example["state-document"].encode(), self.example["state-id"]
        self.assertEqual("omp:state:sha256:" + sha256(document).hexdigest(), state_id)
        report = definition.check(self.operations)
        self.assertEqual((report.problems, report.document, report.state_id), ([], document, state_id))
        replica = Replica(self.example["identity-id"])
        for raw in self.operations:
            self.assertEqual(replica.add(raw, ENGINE).status, ACCEPTED)
        self.assertEqual((replica.state_document(), replica.state_id()), (document, state_id))

    def test_every_block_is_looked_at(self) -> None:
        looked_at = {
            "seed", "public-key", "identity-id", "key-id", "evidence-id", "envelope-1", "preimage-1", "id-1",
            "signature-1", "sig-1", "operation-1", "operation-2", "id-2", "operation-3", "id-3", "state-document",
            "state-id", "small-order",
        }  # fmt: skip
        self.assertEqual(self.example.keys(), looked_at)


if __name__ == "__main__":
    unittest.main()
