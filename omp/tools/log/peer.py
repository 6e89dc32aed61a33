"""A server as a peer of a log: what `push`, `pull` and `sync` of ``python -m omp log`` ask of it (oplog §7).

Peers tell each other their heads and send what the other lacks; what arrives twice does no harm.  If there is a key of
the log, requests are signed with it (RFC 9421; its keyid is the key ID), because a server in mode ``strict`` asks this
of readers.  Posting needs no such signature in any mode.

Handled here: answers that do not fit this protocol, bodies within every server's limit.  What a server sends is not
trusted: the caller verifies each operation.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from omp.protocols.oplog.core.outcomes import REJECTED
from omp.rules.http_signatures import sign
from omp.rules.signature_base import SignedRequest
from omp.tools.http_client import Answer, Field, Server, ServerRefused
from omp.tools.log.files import LogKey, numbered
from omp.tools.terminal import traced

BATCH_LINES = 500
BATCH_BYTES = 900_000
"""Below 1 MiB, the smallest limit on bodies that a server can be given."""

_JSON, _NDJSON = "application/json", "application/x-ndjson"
_TEXT = {"type": "string"}
_HEADS = {
    "type": "object",
    "required": ["heads", "ops", "state"],
    "properties": {"heads": {"type": "array", "items": _TEXT}, "ops": {"type": "integer"}, "state": _TEXT},
}
_OUTCOMES = {
    "type": "object",
    "required": ["outcomes"],
    "properties": {
        "outcomes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["status", "id"],
                "properties": {"status": _TEXT, "id": {"type": ["string", "null"]}, "code": _TEXT},
            },
        }
    },
}


class Heads(NamedTuple):
    """What a peer says of the log: its heads, the number of its operations, its state ID."""

    heads: list[str]
    ops: int
    state: str


class Sent(NamedTuple):
    """What became of operations that were sent: how many of each status, and (ID, code) of those refused."""

    counts: Counter[str]
    refused: list[tuple[str | None, str]]


class PeerLog:
    """The log `log` on the server at `url`; requests are signed with `key`, if there is one."""

    def __init__(self, url: str, log: str, key: LogKey | None) -> None:
        self.url = url
        self._server = Server(url, "operation log")
        self._log = f"/logs/{quote(log, safe='')}"
        self._key = key
        self.reason = ""
        """Why the server has not told its heads: not because this key may not read, but because it was not accepted."""

    def heads(self) -> Heads:
        """``GET …/heads``; no heads if the server has nothing of the log yet."""
        try:
            answer = self._ask("GET", "/heads")
        except ServerRefused as refusal:
            if refusal.status == 404:
                return Heads([], 0, "")
            raise
        value = self._server.value(answer, _HEADS)
        return Heads(value["heads"], value["ops"], value["state"])

    def heads_if_told(self) -> Heads | None:
        """As :meth:`heads`; None if the server does not let this key read.  Such a key may still write.

        If the server did not accept the signature at all, `reason` has what it said.
        """
        try:
            return self.heads()
        except ServerRefused as refusal:
            if refusal.status not in (401, 403):
                raise
            self.reason = str(refusal) if refusal.status == 401 and self._key is not None else ""
            return None

    def lacking(self, heads: Sequence[str]) -> list[bytes]:
        """``POST …/missing``: the operations that a caller with these heads lacks, in total order."""
        try:
            answer = self._ask("POST", "/missing", json.dumps({"heads": list(heads)}).encode(), _JSON)
        except ServerRefused as refusal:
            if refusal.status == 404:
                return []
            raise
        return [line for _, line in numbered(answer.body)]

    def send(self, raws: Iterable[bytes]) -> Sent:
        """``POST …/operations``, in batches."""
        sent = Sent(Counter(), [])
        for batch in _batches(raws):
            answer = self._ask("POST", "/operations", b"\n".join(batch), _NDJSON)
            outcomes = self._server.value(answer, _OUTCOMES)["outcomes"]
            sent.counts.update(outcome["status"] for outcome in outcomes)
            sent.refused.extend(
                (outcome["id"], outcome.get("code", "?")) for outcome in outcomes if outcome["status"] == REJECTED
            )
        return sent

    def _ask(self, method: str, what: str, body: bytes = b"", media_type: str = "") -> Answer:
        target = self._log + what
        fields = [("content-type", media_type)] if body else []
        return self._server.ask(method, target, body, [*fields, *self._signature(method, target, fields, body)])

    def _signature(self, method: str, target: str, fields: Sequence[Field], body: bytes) -> list[Field]:
        if self._key is None:
            return []
        server = self._server
        request = SignedRequest(method, server.scheme, server.authority, server.path + target, fields, body)
        return sign(request, keyid=self._key.id, signer=traced(self._key.sign), created=int(time.time()))


def _batches(raws: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for raw in raws:
        if batch and (len(batch) == BATCH_LINES or size + len(raw) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(raw)
        size += len(raw) + 1
    if batch:
        yield batch
