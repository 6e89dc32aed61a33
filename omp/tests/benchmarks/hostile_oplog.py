"""The operation log: the worst that strangers and the owner of a log can send to ``/logs`` (oplog §3 to §5, §7.2).

Whoever has a key has a log of their own at every open server: so each of these histories can be sent by a stranger.
All operations are made beforehand, from fixed seeds, and are the same in every run.

Without the package ``cryptography`` this process signs and the server verifies with the hand-written arithmetic, about
a hundred times slower.  The histories are then shorter, and the bounds allow for the verifications (:func:`_seconds`).
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import quote

from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT, REFUTATION, REVOCATION, VERSION
from omp.rules import ed25519, identifiers
from omp.rules.encodings import b64u_encode
from omp.rules.engines import CryptographyMissing, cryptography_engine
from omp.tests.benchmarks.gauges import MIB
from omp.tests.benchmarks.hostile import MEMORY_A_BYTE, Row, deliver, post
from omp.tests.benchmarks.load import BenchmarkFailed, http_request

NDJSON = "application/x-ndjson"
_TS = "2026-05-04T10:00:00.000Z"
_LINES = 5_000  # a body; at most 10,000, and 5 MiB (oplog §7.2)

try:
    cryptography_engine()
    _FAST = True
except CryptographyMissing:
    _FAST = False
_VERIFY = 0.00025 if _FAST else 0.02
"""Seconds of CPU that one operation costs before stage 8: parse, hash, verify."""


def _scaled(count: int) -> int:
    return count if _FAST else max(4, count // 100)


def _seconds(operations: int, rest: float) -> float:
    """A bound for so many operations, of which `rest` seconds are for all that comes after the verification."""
    return operations * _VERIFY + rest


# --- Operations -------------------------------------------------------------------------------------------------


class _Key:
    """A key made of a number, for tests only; `sign` is the fastest that is installed."""

    def __init__(self, number: int) -> None:
        self.seed = hashlib.sha256(b"hostile %d" % number).digest()
        self.public_key, self.sign = _fast(self.seed) if _FAST else _slow(self.seed)
        self.id = identifiers.key_id(self.public_key)
        self.log = identifiers.identity_id(self.public_key)


def _fast(seed: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    secret = Ed25519PrivateKey.from_private_bytes(seed)
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return secret.public_key().public_bytes(*raw), secret.sign


def _slow(seed: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    return ed25519.public_key_slowly(seed), functools.partial(ed25519.sign_slowly, seed)


class _Made:
    """An operation: its exact bytes, and what the next one needs to know of it."""

    __slots__ = ("id", "lc", "raw", "seq")

    def __init__(
        self,
        key: _Key,
        log: str,
        kind: str,
        body: dict[str, Any],
        prev: _Made | None = None,
        deps: Sequence[_Made] = (),
        orphan: int | None = None,
    ) -> None:
        """The operation after `prev` that merges `deps`.  With `orphan` (a number) its `prev` is an ID of nothing."""
        self.id: str
        self.seq: int = 1 if prev is None else prev.seq + 1
        self.lc: int = 1 + max((one.lc for one in (prev, *deps) if one is not None), default=0)
        before = prev.id if prev is not None else None
        if orphan is not None:
            before, self.seq, self.lc = _no_operation(orphan), 2, 2
        envelope = {
            "author": key.id, "body": body, "deps": [one.id for one in deps], "lc": self.lc, "log": log,
            "prev": before, "seq": self.seq, "ts": _TS, "type": kind, "v": VERSION,
        }  # fmt: skip
        preimage = VERSION.encode() + b"\n" + _canonical(envelope)
        self.id = identifiers.operation_id(preimage)
        self.raw = _canonical({**envelope, "sig": b64u_encode(key.sign(preimage))})


def _canonical(value: dict[str, Any]) -> bytes:
    """The canonical bytes (oplog §1.1) of a value that is ASCII and has no floats."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _no_operation(number: int) -> str:
    return f"omp:op:sha256:{number:064x}"


def _claim(text: str, sources: Iterable[_Made] = ()) -> dict[str, Any]:
    return {
        "subject": "self", "predicate": "a", "object": text, "confidence_ppm": 1, "method": "user:x",
        "derived_from": [one.id for one in sources],
    }  # fmt: skip


def _grant(key: _Key) -> dict[str, Any]:
    return {
        "grantee": key.id, "caps": ["author"], "scope": {"predicates": ["*"], "provenance": "full"}, "parent": None,
        "max_depth": 0, "not_before": None, "expires": None,
    }  # fmt: skip


def _about(target: _Made, number: int = 0) -> dict[str, Any]:
    return {"target": target.id, "reason": str(number)}


# --- Sending ----------------------------------------------------------------------------------------------------


def _send(port: int, log: str, operations: Sequence[_Made]) -> None:
    """Send operations in as few bodies as they fit in."""
    for start in range(0, len(operations), _LINES):
        lines = b"\n".join(one.raw for one in operations[start : start + _LINES])
        if post(port, f"/logs/{quote(log, safe='')}/operations", lines, NDJSON) not in (200, 413):
            raise BenchmarkFailed("The operations were not taken.")


def _get_state(port: int, log: str) -> None:
    deliver(port, http_request("GET", f"/logs/{quote(log, safe='')}/state", host=f"127.0.0.1:{port}"))


# --- The rows ---------------------------------------------------------------------------------------------------

_SHORT_LINES = 5_200_000 // 2
_CHAIN = _scaled(2_500)
_COMB = _scaled(1_000)
_MERGES = _scaled(300)
_WRITTEN = _scaled(1_500)
_REVOCATIONS = _scaled(400)
_WAITING = _scaled(40_000)
_GRANTS = _scaled(200)
_EDGES = 500


def _short_lines(port: int) -> None:
    post(port, f"/logs/{quote(_Key(0).log, safe='')}/operations", b"x\n" * _SHORT_LINES, NDJSON)


@functools.cache
def _refuted_chain() -> list[_Made]:
    """Each claim is derived from the one before it, and each is refuted."""
    root = _Key(1)
    last: _Made | None = None
    made: list[_Made] = []
    claims: list[_Made] = []
    for number in range(_CHAIN):
        last = _Made(root, root.log, CLAIM, _claim(str(number), claims[-1:]), last)
        claims.append(last)
        made.append(last)
    for claim in claims:
        last = _Made(root, root.log, REFUTATION, _about(claim), last)
        made.append(last)
    return made


def _send_refuted_chain(port: int) -> None:
    _send(port, _Key(1).log, _refuted_chain())
    _get_state(port, _Key(1).log)


@functools.cache
def _forks_and_merges() -> list[_Made]:
    """Two combs, in which each fork stands on the fork before it, and operations that merge the tips of both.

    To know what a merge adds, each fork of the one is looked up among all the forks of the other.
    """
    root = _Key(2)
    first = _Made(root, root.log, CLAIM, _claim("first"))
    made = [first]
    tips = []
    for comb in ("a", "b"):
        tip = _Made(root, root.log, CLAIM, _claim(comb), first)
        made.append(tip)
        for number in range(_COMB):
            stump = _Made(root, root.log, CLAIM, _claim(f"{comb} stump {number}"), tip)
            tip = _Made(root, root.log, CLAIM, _claim(f"{comb} {number}"), tip)
            made += [stump, tip]
        tips.append(tip)
    one, other = tips
    made += [_Made(root, root.log, CLAIM, _claim(f"merge {number}"), one, [other]) for number in range(_MERGES)]
    return made


def _send_forks_and_merges(port: int) -> None:
    _send(port, _Key(2).log, _forks_and_merges())
    _get_state(port, _Key(2).log)


@functools.cache
def _written_under_a_grant() -> tuple[list[_Made], list[_Made]]:
    """What a device wrote under a grant; and revocations of that grant, which know none of it."""
    root, device = _Key(3), _Key(4)
    granted = _Made(root, root.log, GRANT, _grant(device))
    written = [granted]
    last: _Made | None = None
    for number in range(_WRITTEN):
        last = _Made(device, root.log, CLAIM, _claim(str(number)), last, [] if last else [granted])
        written.append(last)
    revocations: list[_Made] = []
    for number in range(_REVOCATIONS):
        before = revocations[-1] if revocations else granted
        revocations.append(_Made(root, root.log, REVOCATION, _about(granted, number), before))
    return written, revocations


def _write_under_a_grant(port: int) -> None:
    _send(port, _Key(3).log, _written_under_a_grant()[0])


def _send_revocations(port: int) -> None:
    _send(port, _Key(3).log, _written_under_a_grant()[1])
    _get_state(port, _Key(3).log)


_LOGS = 4  # of them, each with as much waiting as one log may have


@functools.cache
def _logs_that_wait() -> list[tuple[_Key, _Made, list[_Made]]]:
    """For each log its root, its first operation and what waits in it; in the first log also one by each grantee."""
    logs = []
    for number in range(_LOGS):
        root = _Key(10 + number)
        first = _Made(root, root.log, CLAIM, _claim("first"))
        count = _WAITING // _LOGS - (_GRANTS if number == 0 else 0)
        waiting = [_Made(root, root.log, CLAIM, _claim("x"), orphan=one) for one in range(count)]
        if number == 0:
            waiting += [_Made(_Key(100 + one), root.log, CLAIM, _claim("x"), orphan=one) for one in range(_GRANTS)]
        logs.append((root, first, waiting))
    return logs


def _let_them_wait(port: int) -> None:
    for root, first, waiting in _logs_that_wait():
        _send(port, root.log, [first, *waiting])


@functools.cache
def _grants() -> list[_Made]:
    """A grant to each of the keys that have something waiting."""
    root, last, _ = _logs_that_wait()[0]
    made = []
    for number in range(_GRANTS):
        last = _Made(root, root.log, GRANT, _grant(_Key(100 + number)), last)
        made.append(last)
    return made


def _send_grants(port: int) -> None:
    _send(port, _logs_that_wait()[0][0].log, _grants())


@functools.cache
def _dense_graph() -> list[_Made]:
    """Evidence that is refuted at the end, and claims each derived from all that came before it (at most 512)."""
    root = _Key(5)
    body = {
        "evidence": identifiers.evidence_id(b"x"), "media_type": "text/plain", "size": 1, "source": "x",
        "observed_at": None,
    }  # fmt: skip
    last = evidence = _Made(root, root.log, EVIDENCE, body)
    made = [evidence]
    for number in range(_scaled(_EDGES)):
        last = _Made(root, root.log, CLAIM, _claim(str(number), made[:100]), last)
        made.append(last)
    made.extend(_refuted(root, made[:100], last))
    return made


def _refuted(root: _Key, targets: Sequence[_Made], last: _Made) -> Iterable[_Made]:
    for target in targets:
        last = _Made(root, root.log, REFUTATION, _about(target), last)
        yield last


def _send_dense_graph(port: int) -> None:
    _send(port, _Key(5).log, _dense_graph())
    _get_state(port, _Key(5).log)


def _send_forged(port: int) -> None:
    """Whole operations with a signature of the right form that does not verify."""
    root = _Key(6)
    good = _Made(root, root.log, CLAIM, _claim("x")).raw
    lines = [good.replace(b'"object":"x"', b'"object":"%d"' % number) for number in range(_scaled(9_000))]
    post(port, f"/logs/{quote(root.log, safe='')}/operations", b"\n".join(lines), NDJSON)


def _mib(operations: int, size: int = 560) -> float:
    """The bound of memory for so many operations of about so many bytes; a thread alone may take 4 MiB."""
    return max(4.0, MEMORY_A_BYTE * operations * size / MIB)


ROWS = (
    Row("oplog: 5.2 MB of lines that hold one x", _short_lines, 0.25, 3 * 5.2, "38 s, 1.9 GB"),
    Row(
        f"oplog: a chain of {_CHAIN:,} refuted claims, and its state",
        _send_refuted_chain,
        _seconds(2 * _CHAIN, 2 * _CHAIN * 0.00025),
        _mib(2 * _CHAIN),
        "28 s, 1 GB",
    ),
    Row(
        f"oplog: 2 x {_COMB:,} nested forks, then {_MERGES:,} merges",
        _send_forks_and_merges,
        _seconds(4 * _COMB + _MERGES, (4 * _COMB + _MERGES) * 0.00025),
        _mib(4 * _COMB + _MERGES),
        "10.6 s under a lock",
    ),
    Row(
        f"oplog: {_REVOCATIONS:,} revocations of a grant over {_WRITTEN:,} operations",
        _send_revocations,
        _seconds(_REVOCATIONS, 0.9),
        _mib(_REVOCATIONS),
        "33 s",
        prepare=_write_under_a_grant,
    ),
    Row(
        f"oplog: {_WAITING:,} operations wait, then {_GRANTS:,} grants",
        _send_grants,
        _seconds(_GRANTS, 0.45),
        _mib(_GRANTS, 650),
        "17 s",
        prepare=_let_them_wait,
        quick=False,
    ),
    Row(
        "oplog: claims of 100 sources each, 100 of them refuted",
        _send_dense_graph,
        5.2,
        MEMORY_A_BYTE * 4.5,
        "",
        quick=False,
    ),
    Row("oplog: 5 MB of forged operations", _send_forged, _seconds(_scaled(9_000), 2.0), MEMORY_A_BYTE * 5.0, ""),
)
