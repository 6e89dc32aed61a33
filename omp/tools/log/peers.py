"""A server as a peer of a log: what `push`, `pull` and `sync` of ``python -m omp log`` ask of it (oplog §7).

Peers tell each other their heads and send what the other lacks; what arrives twice does no harm.  Requests are signed
with the key of the log where there is one (RFC 9421, keyid its key ID): a server in mode ``strict`` wants that of
readers.  Posting needs no such signature in any mode.

Handled here: answers that are none of this protocol, bodies within every server's limit.  What a server sends is not
trusted: the caller verifies each operation.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from omp.rules.http_signatures import sign
from omp.rules.json_text import JsonError, parse
from omp.rules.schema import compile_schema
from omp.rules.signature_base import SignedRequest
from omp.tools.log.files import Failed, LogKey, reason

BATCH_LINES = 500
BATCH_BYTES = 900_000
"""The smallest limit that a server can be given is 1 MiB."""

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


class Refusal(Failed):
    """An answer that is an error; `status` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Heads(NamedTuple):
    """What a peer says of the log: its heads, the number of its operations, its state ID."""

    heads: list[str]
    ops: int
    state: str


class Sent(NamedTuple):
    """What became of operations that were sent: how many of each status, and those refused: (ID, code)."""

    counts: Counter[str]
    refused: list[tuple[str | None, str]]


class Peer:
    """The log `log` on the server at `url`; requests are signed with `key`, where there is one."""

    def __init__(self, url: str, log: str, key: LogKey | None) -> None:
        parts = _parts(url)
        self.url = url
        self._scheme = parts.scheme
        self._authority = parts.netloc
        self._path = f"{parts.path.rstrip('/')}/logs/{quote(log, safe='')}"
        self._key = key
        connect = HTTPSConnection if self._scheme == "https" else HTTPConnection
        self._connection = connect(self._authority, timeout=60)

    def heads(self) -> Heads:
        """``GET …/heads``; no heads where the server has nothing of the log yet."""
        try:
            value = self._json("GET", "/heads", None, _HEADS)
        except Refusal as refusal:
            if refusal.status == 404:
                return Heads([], 0, "")
            raise
        return Heads(value["heads"], value["ops"], value["state"])

    def lacking(self, heads: Sequence[str]) -> list[bytes]:
        """``POST …/missing``: the bytes of what the server has and a caller with these heads lacks, in total order."""
        try:
            body = self._request("POST", "/missing", {"heads": list(heads)})
        except Refusal as refusal:
            if refusal.status == 404:
                return []
            raise
        return [line for line in body.split(b"\n") if line]

    def send(self, raws: Iterable[bytes]) -> Sent:
        """``POST …/operations``, in batches."""
        sent = Sent(Counter(), [])
        for batch in _batches(raws):
            value = self._json("POST", "/operations", b"\n".join(batch), _OUTCOMES)
            sent.counts.update(outcome["status"] for outcome in value["outcomes"])
            sent.refused.extend(
                (outcome["id"], outcome.get("code", "?"))
                for outcome in value["outcomes"]
                if outcome["status"] == "rejected"
            )
        return sent

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _json(self, method: str, path: str, body: Any, schema: dict[str, Any]) -> Any:
        try:
            value = parse(self._request(method, path, body))
        except JsonError:
            value = None
        if value is None or compile_schema(schema)(value):
            raise Failed(f"What answers at {self.url} is no operation log: its answer is not what was due.")
        return value

    def _request(self, method: str, path: str, body: Any) -> bytes:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
        target = self._path + path
        fields = [("content-type", kind)] if data else []
        fields += self._signature(method, target, [*fields, ("host", self._authority)], data)
        try:
            self._connection.request(method, target, data or None, dict(fields))
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, HTTPException) as error:
            why = reason(error) if isinstance(error, OSError) else type(error).__name__
            raise Failed(f"The server {self.url} cannot be reached: {why}.") from None
        if response.status >= 300:
            raise Refusal(response.status, f"The server refused ({response.status}): {_sentence(answer)}")
        return answer

    def _signature(
        self, method: str, target: str, fields: Sequence[tuple[str, str]], body: bytes
    ) -> list[tuple[str, str]]:
        if self._key is None:
            return []
        request = SignedRequest(method, self._scheme, self._authority, target, fields, body)
        return sign(request, keyid=self._key.id, signer=self._key.sign, created=int(time.time()))


def _parts(url: str) -> Any:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "@" not in url
    except ValueError:
        usable = False
    if not usable or not url.isascii() or parts.query or parts.fragment:
        raise Failed(f"{url!r} is no base URL of a server, such as http://127.0.0.1:8787.")
    return parts


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


def _sentence(answer: bytes) -> str:
    try:
        return str(parse(answer)["error"]["message"])
    except (JsonError, TypeError, KeyError):
        return "it gave no reason that can be read"
