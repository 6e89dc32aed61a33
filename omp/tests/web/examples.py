"""The maker of ``omp/web/examples.json``: a conversation with a server, as OpenAPI shows it.

    python3 -m omp.tests.web.examples --write

The server runs with a clock that stands still and with "randomness" that follows from a name, so each run makes the
same bytes.  A route is called by its name in the route table; what was sent and what came back is kept under it.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock
from urllib.parse import quote, urlencode

from omp.protocols.avp.schemas import EXAMPLES as VAULT
from omp.protocols.mrs.schemas import PLACE
from omp.protocols.nexus.ethereum import address, public_key_slowly, sign_slowly, signature_text
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.oplog.core.operation import Operation
from omp.protocols.oplog.core.producer import Producer
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.posting import NDJSON
from omp.rules import ed25519, identifiers
from omp.rules.encodings import b64_decode, b64_encode
from omp.rules.engines import best_engine
from omp.tests import TOP
from omp.tests.harness import Answer, Client, Running, running_server
from omp.tests.vectors.makers.avp import FixedBytes
from omp.tests.vectors.makers.oplog import making
from omp.web.messages import JSON
from omp.web.routes import Context

FILE = TOP / "omp" / "web" / "examples.json"
NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
TS = "2026-01-01T00:00:00.000Z"
ALICE = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8032 §7.1, test 1
BEGINNING = "beginning"
"""The label of an answer that goes on."""
OWNER = 7  # a secret key of NEXUS that everybody knows


class Conversation:
    """Calls routes by name, and keeps what was sent and answered."""

    def __init__(self, server: Running, client: Client) -> None:
        self.made: dict[str, Any] = {}
        self._client = client
        self._port = server.port
        self._routes = {route.name: route for mount in server.parts.application.mounts for route in mount.routes}

    def call(
        self,
        name: str,
        body: Any = None,
        *,
        label: str = "example",
        token: str = "",
        query: Mapping[str, Any] | None = None,
        raw: bytes | None = None,
        media_type: str = JSON,
        accept: str = "",
        is_new: bool = True,
        until: str = "",
        **path: str,
    ) -> Answer:
        """Call the route with that name; `raw` are the bytes of a body of which `body` is the value.

        The answer is kept, as far as `until` if that is given; and `body` if it `is_new`.
        """
        route = self._routes[name]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if accept:
            headers["Accept"] = accept
        if body is not None:
            headers["Content-Type"] = media_type
            raw = raw or json.dumps(body).encode()
        answer = self._client.request(route.method, _target(route.path, path, query), body=raw, headers=headers)
        if until:
            answer.body = answer.body[: answer.body.index(until.encode())]
        parameters = {**path, **(query or {})}
        self._keep(name, parameters, {media_type: body} if body is not None and is_new else None, label, answer)
        return answer

    def listen(self, name: str, events: int, after: str, **path: str) -> None:
        """Follow a stream of events from the one `after` which it begins, until so many have come."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        with contextlib.closing(connection):
            headers = {"Last-Event-ID": after}
            connection.request("GET", _target(self._routes[name].path, path), headers=headers)
            stream = connection.getresponse()
            text = ""
            while text.count("\nevent: ") < events or not text.endswith("\n\n"):
                text += stream.readline().decode()
            answer = Answer(stream.status, {"content-type": stream.headers["Content-Type"]}, text.encode())
        self._keep(name, {**path, **headers}, None, BEGINNING, answer)

    def _keep(self, name: str, parameters: Mapping[str, Any], body: Any, label: str, answer: Answer) -> None:
        kept = self.made.setdefault(name, {})
        if answer.status < 400:
            kept.setdefault("parameters", {}).update(parameters)
        if body is not None:
            kept.setdefault("requests", {})[label] = body
        if answer.body:
            media_type = answer.headers["content-type"]
            value = answer.json if media_type == JSON else answer.body.decode()
            kept.setdefault("answers", {}).setdefault(str(answer.status), {})[label] = {media_type: value}


def _target(template: str, path: Mapping[str, str], query: Mapping[str, Any] | None = None) -> str:
    for parameter, value in path.items():
        template = template.replace(f"{{{parameter}}}", quote(value, safe=""))
    return f"{template}?{urlencode(query)}" if query else template


def made() -> dict[str, Any]:
    """The examples as a server makes them now."""
    with server_with_examples() as (_, examples):
        return examples


@contextlib.contextmanager
def server_with_examples() -> Iterator[tuple[Running, dict[str, Any]]]:
    """A server after the conversation, which holds what the examples name, and the examples; its clock goes on then."""
    ended: list[float] = []

    def passed() -> float:
        return time.monotonic() - ended[0] if ended else 0.0

    fixed = functools.partial(Context, random_bytes=FixedBytes("openapi examples"))
    environ = {"MRS_SERVER_URL": "https://registry.example"}
    with (
        mock.patch("omp.entry.Context", fixed),
        running_server(environ, clocks=(lambda: NOW + passed(), passed)) as server,
    ):
        with Client(server.port) as client:
            said = Conversation(server, client)
            for protocol in (_system, _objects, _oplog, _avp, _mrs, _nexus):
                protocol(said)
        ended.append(time.monotonic())
        yield server, said.made


def _system(said: Conversation) -> None:
    for name in ("checkHealth", "describeServer", "getCapabilities"):
        said.call(name)
    said.call("getMetrics", label=BEGINNING, until="# HELP omp_http_request_duration")  # which no clock fixes


def _objects(said: Conversation) -> None:
    metadata = {"omp.ttl_sec": 86400, "mood": "fine"}
    new = {"namespace": "notes", "key": "greeting", "content": {"text": "hello"}, "metadata": metadata}
    one = said.call("createObject", new).json["id"]
    said.call("getObject", id=one)
    said.call("getObject", label="none", id="018bcfe5-6800-7000-8000-000000000005")
    said.call("replaceObject", {"content": {"text": "good morning"}}, id=one)
    said.call("listObjects", query={"limit": 10})
    said.call("searchObjects", query={"namespace": "notes", "key_contains": "greet"})
    said.call("searchObjectsByBody", {"namespace": "notes", "limit": 10})
    other = said.call("createObject", {**new, "key": "farewell"}, label="another").json["id"]
    said.call("deleteObject", id=other)


def _oplog(said: Conversation) -> None:
    root, device = making.ROOT, making.LAPTOP
    replica = Replica(making.LOG)
    writer = Producer(replica, root, best_engine())
    log = replica.log

    def signed(kind: str, **body: Any) -> Operation:
        operation = writer.produce(kind, body, TS)
        replica.admit(operation)
        return operation

    def write(kind: str, **body: Any) -> str:
        operation = signed(kind, **body)
        said.call("appendOperations", json.loads(operation.raw), raw=operation.raw, label=kind, log=log)
        return operation.id

    def note(text: str) -> dict[str, Any]:
        evidence = {"evidence": identifiers.evidence_id(text.encode()), "size": len(text)}
        return {**evidence, "media_type": "text/plain", "source": "note:text", "observed_at": None}

    evidence = write("evidence-ingest", **note("Dentist, Monday 9:00"))
    event: dict[str, Any] = {"subject": "self", "predicate": "calendar.event", "derived_from": [evidence]}
    event |= {"confidence_ppm": 900_000, "method": "rule:event/1"}
    wrong = write("claim-assert", object={"title": "Dentist", "day": "Sunday"}, **event)
    claim = write("claim-assert", object={"title": "Dentist", "day": "Monday"}, **event)
    write("correction", target=wrong, replacement=claim, reason="the day was wrong")
    scope = {"predicates": ["calendar.*"], "provenance": "full"}
    grant = write(
        "permission-grant", grantee=identifiers.key_id(device.public_key), caps=["author", "read"], scope=scope,
        parent=None, max_depth=0, not_before=None, expires=None,
    )  # fmt: skip
    write("inference-call", purpose="plan the week", model="planner-1", inputs=[claim], grant=None, output=None)
    said.call("listLogs")
    for name in ("getHeads", "listPending", "getState"):
        said.call(name, log=log)
    said.call("listOperations", query={"limit": 1}, log=log)
    said.call("getOperation", log=log, id=evidence)
    said.call("listClaims", query={"predicate": "calendar.*", "effective": "true"}, log=log)
    for name in ("listGrants", "listEvidence", "listInferences"):
        said.call(name, log=log)
    said.call("explainClaim", log=log, id=claim)
    said.call("getProjection", query={"key": identifiers.key_id(device.public_key)}, log=log)
    said.call("pullMissing", {"heads": [evidence]}, log=log)
    write("revocation", target=grant, reason="the device was sold")
    write("refutation", target=evidence, reason="cancelled by phone")
    said.call("listOperations", query={"limit": 1}, accept=NDJSON, label="lines", log=log)
    said.listen("followEvents", 3, "7.1", log=log)

    # One that waits, both in one body, and one that is there already.
    first, second = (signed("evidence-ingest", **note(text)) for text in ("Monday is free", "Tuesday is not"))
    said.call("appendOperations", json.loads(second.raw), raw=second.raw, label="deferred", is_new=False, log=log)
    lines = b"%b\n%b\n" % (second.raw, first.raw)
    said.call("appendOperations", lines.decode(), raw=lines, media_type=NDJSON, label="many", log=log)
    said.call("appendOperations", json.loads(first.raw), raw=first.raw, label="duplicate", is_new=False, log=log)


def _avp(said: Conversation) -> None:
    said.call("describeVault")
    key = {"ed25519PublicKey": b64_encode(ed25519.public_key_slowly(ALICE))}
    nonce = said.call("requestChallenge", key).json["nonce"]
    signature = b64_encode(ed25519.sign_slowly(ALICE, b64_decode(nonce)))
    token = said.call("redeemChallenge", {**key, "nonce": nonce, "signature": signature}).json["token"]
    repo = said.call("createRepo", VAULT["create_repo"], token=token).json["repoId"]
    for name, example in (("pullRepo", "pull"), ("pushRepo", "push"), ("addMember", "add_member")):
        said.call(name, VAULT[example], token=token, repoId=repo)
    said.call("fetchMemberKey", token=token, repoId=repo, memberId=key["ed25519PublicKey"])
    said.call("removeMember", VAULT["remove_member"], token=token, repoId=repo)


def _mrs(said: Conversation) -> None:
    account = {"username": "mark", "password": "secret"}
    said.call("createAccount", account)
    token = said.call("logIn", account).json["token"]
    said.call("whoAmI", token=token)
    one = said.call("registerPlace", PLACE, token=token).json["registration"]["id"]
    said.call("updateRegistration", {**PLACE, "service_point": "https://example.com/moved"}, token=token, id=one)
    said.call("registerPlace", {**PLACE, "id": one}, label="update", token=token)
    square = [{"lat": lat, "lon": lon} for lat, lon in ((48.2, 16.36), (48.2, 16.38), (48.21, 16.37))]
    polygon = {"space": {"type": "polygon", "vertices": square, "height": 12}, "service_point": "https://example.com/p"}
    other = said.call("registerPlace", polygon, label="polygon", token=token).json["registration"]["id"]
    said.call("searchPlaces", {"location": {"lat": -33.8568, "lon": 151.2155, "ele": 0}, "range": 100})
    said.call("listRegistrations", token=token)
    said.call("listMyRegistrations", token=token)
    said.call("publishKey", {"public_key": b64_encode(ed25519.public_key_slowly(ALICE))}, token=token, key_id="laptop")
    said.call("getKeys", identity="mark")
    said.call("deprecateKey", token=token, key_id="laptop")
    said.call("addToWhitelist", {"emails": ["mark@example.com", "Ann@example.com"]})
    said.call("listWhitelist")
    said.call("removeFromWhitelist", email="ann@example.com")
    said.call("changePeer", {"action": "add", "server_url": "https://sydney.example", "hint": "Sydney"})
    said.call("listPeers")
    said.call("describeRegistry")
    said.call("releaseRegistration", {"id": other}, token=token)
    said.call("getSnapshot")
    said.call("getChanges")
    said.call("importRegistry", said.call("exportRegistry").json)


def _nexus(said: Conversation) -> None:
    owner = address(public_key_slowly(OWNER))

    def write(name: str, body: dict[str, Any]) -> None:
        payload = json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
        signature = signature_text(sign_slowly(OWNER, keccak256(payload)))
        said.call(name, {**body, "auth": {"publicKey": owner, "signature": signature}}, token=owner)

    for name in ("listCommands", "getSignaturePolicy", "checkProfileServer"):
        said.call(name)
    write("updateConfig", {"overrides": {"temperature": 0.9}})
    write("updatePrompts", {"overrides": {"friends_profile": "I prefer concise answers."}})
    write("addMessages", {"messages": [{"run_id": "run_1", "role": "human", "content": "Can you help me?"}]})
    operation = {"endpoint": "/config", "method": "POST", "body": {"overrides": {"max_tokens": 2048}}}
    write("applyBatch", {"operations": [operation]})
    said.call("getConfig", token=owner)
    said.call("getPrompts", token=owner)
    said.call("listMessages", token=owner, query={"limit": 20})


def text_of(examples: Mapping[str, Any]) -> str:
    """The file: one line for each operation, so that a change shows where it is."""
    lines = [f"{json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in examples.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    FILE.write_text(text_of(made()))
