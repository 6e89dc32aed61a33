"""The operation log over HTTP, on both storage adapters: oplog §7."""

from __future__ import annotations

import contextlib
import http.client
import json
import tempfile
import threading
import time
import unittest
from collections.abc import Iterator
from typing import Any, ClassVar
from unittest.mock import patch
from urllib.parse import quote

from omp.protocols.oplog.core.operation import Operation
from omp.protocols.oplog.core.producer import Producer, signed
from omp.protocols.oplog.core.replica import Replica
from omp.protocols.oplog.definition import check
from omp.rules import ed25519
from omp.rules.engines import best_engine
from omp.rules.http_signatures import sign
from omp.rules.identifiers import evidence_id, identity_id, key_id
from omp.rules.signature_base import SignedRequest
from omp.tests.harness import PATIENCE, Answer, Client, Running, running_server

TS = "2026-05-04T10:00:00.000Z"
ENGINE = best_engine()


class Key:
    """A key for tests that signs by hand."""

    def __init__(self, number: int) -> None:
        self.seed = bytes([number]) * 32
        self.public_key = ed25519.public_key_slowly(self.seed)
        self.id = key_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        return ed25519.sign_slowly(self.seed, message)


ROOT, PHONE, READER, STRANGER = (Key(number) for number in range(1, 5))
LOG = identity_id(ROOT.public_key)


class Writing:
    """A log in memory, and the `operations` that its writers produced, in that order."""

    def __init__(self) -> None:
        self.replica = Replica(LOG)
        self.operations: list[Operation] = []

    def by(self, key: Key) -> Producer:
        return Producer(self.replica, key, ENGINE)

    def put(self, operation: Operation) -> str:
        self.replica.admit(operation)
        self.operations.append(operation)
        return operation.id


def small_log() -> tuple[Writing, dict[str, str]]:
    """Evidence, a claim on it, grants to a device and a reader, a refutation by the device; name -> operation ID."""
    log = Writing()
    ids = {}
    ids["evidence"] = log.put(
        log.by(ROOT).evidence_ingest(
            TS, evidence=evidence_id(b"BEGIN:VCALENDAR"), media_type="text/calendar", size=15, source="calendar:ics"
        )
    )
    ids["claim"] = log.put(
        log.by(ROOT).claim_assert(
            TS,
            subject="self",
            predicate="calendar.weekly",
            object={"day": "monday"},
            confidence_ppm=900_000,
            method="rule:recurring-event/1",
            derived_from=[ids["evidence"]],
        )
    )
    ids["grant"] = log.put(
        log.by(ROOT).permission_grant(
            TS, grantee=PHONE.id, caps=["author", "read"], predicates=["*"], provenance="full"
        )
    )
    ids["reading"] = log.put(
        log.by(ROOT).permission_grant(TS, grantee=READER.id, caps=["read"], predicates=["calendar.*"])
    )
    ids["refutation"] = log.put(log.by(PHONE).refutation(TS, target=ids["evidence"], reason="cancelled"))
    return log, ids


WRITTEN, IDS = small_log()
PATH = f"/logs/{quote(LOG, safe='')}"


NOBODYS = "/logs/" + quote("omp:id:ed25519:" + "A" * 43, safe="")


def path(rest: str, *ids: str) -> str:
    return PATH + rest.format(*(quote(one, safe="") for one in ids))


class LogCase(unittest.TestCase):
    """A server with one storage for each test."""

    environ: ClassVar[dict[str, str]] = {}
    storage = "memory"

    def setUp(self) -> None:
        self.server: Running = self.enterContext(running_server(self.environ, self.storage))
        self.client: Client = self.enterContext(Client(self.server.port))

    def post(self, data: bytes, media_type: str = "application/json") -> Answer:
        return self.client.request("POST", path("/operations"), body=data, headers={"Content-Type": media_type})

    def post_lines(self, lines: list[bytes]) -> Any:
        answer = self.post(b"\n".join(lines), "application/x-ndjson")
        self.assertEqual(answer.status, 200)
        return answer.json

    def fill(self) -> None:
        counts = self.post_lines([operation.raw for operation in WRITTEN.operations])
        self.assertEqual(counts["accepted"], len(WRITTEN.operations))

    def get(self, where: str, headers: dict[str, str] | None = None) -> Answer:
        return self.client.request("GET", where, headers=headers)


class Posting(LogCase):
    """``POST /logs/{log}/operations``."""

    def test_one_operation_is_accepted_then_a_duplicate(self) -> None:
        first = WRITTEN.operations[0]
        self.assertEqual(
            [(answer.status, answer.json) for answer in (self.post(first.raw), self.post(first.raw))],
            [
                (201, {"status": "accepted", "id": first.id}),
                (200, {"status": "duplicate", "id": first.id}),
            ],
        )

    def test_an_operation_before_its_ancestor_waits_and_is_stored_with_it(self) -> None:
        first, second = WRITTEN.operations[:2]
        for _ in range(2):
            answer = self.post(second.raw)
            self.assertEqual(
                (answer.status, answer.json), (202, {"status": "deferred", "id": second.id, "missing": [first.id]})
            )
        self.assertEqual(self.get(path("/heads")).status, 404)
        pending = self.get(path("/pending"))
        self.assertEqual((pending.status, pending.json["items"]), (200, [{"id": second.id, "missing": [first.id]}]))
        self.assertEqual(self.post(first.raw).status, 201)
        self.assertEqual(self.get(path("/heads")).json["heads"], [second.id])
        self.assertEqual(self.get(path("/pending")).json, {"count": 0, "items": [], "rejected": []})

    def test_stages_one_to_six_are_400_and_stage_seven_403(self) -> None:
        first = WRITTEN.operations[0].raw
        for data, status, code, stage in (
            (b"", 400, "ERR_ENCODING", 1),
            (b"{", 400, "ERR_ENCODING", 1),
            (b"{} ", 400, "ERR_CANONICAL", 2),
            (b"{}", 400, "ERR_VERSION", 3),
            (b'{"v":"omp/0.2"}', 400, "ERR_SCHEMA", 4),
            (first.replace(b"omp/0.2", b"omp/0.3"), 400, "ERR_VERSION", 3),
            (first.replace(b'"size":15', b'"size":16'), 403, "ERR_SIGNATURE", 7),
        ):
            with self.subTest(data=data):
                answer = self.post(data)
                self.assertEqual(answer.status, status)
                error = answer.json["error"]
                self.assertEqual((error["status"], error["details"]), (status, {"code": code, "stage": stage}))

    def test_a_signature_in_base64_is_told_that_base64url_is_meant(self) -> None:
        raw = WRITTEN.operations[0].raw
        at = raw.index(b'"sig":"') + len(b'"sig":"')
        answer = self.post(raw[:at] + b"+" + raw[at + 1 :])
        self.assertEqual((answer.status, answer.json["error"]["details"]), (400, {"code": "ERR_SCHEMA", "stage": 4}))
        said = answer.json["error"]["message"]
        self.assertEqual(said, "sig must be a signature, 86 characters of base64url (with - and _, without padding)")

    def test_an_operation_of_another_log_is_a_schema_error(self) -> None:
        other = f"/logs/{quote(identity_id(PHONE.public_key), safe='')}/operations"
        answer = self.client.request(
            "POST", other, body=WRITTEN.operations[0].raw, headers={"Content-Type": "application/json"}
        )
        self.assertEqual((answer.status, answer.json["error"]["details"]["code"]), (400, "ERR_SCHEMA"))

    def test_an_unauthorized_operation_is_403(self) -> None:
        self.fill()
        stranger = {
            "author": STRANGER.id, "body": {"reason": "", "target": IDS["claim"]}, "deps": [IDS["refutation"]], "lc": 9,
            "log": LOG, "prev": None, "seq": 1, "ts": TS, "type": "refutation", "v": "omp/0.2",
        }  # fmt: skip
        answer = self.post(signed(stranger, STRANGER))
        self.assertEqual((answer.status, answer.json["error"]["details"]), (403, {"code": "ERR_AUTHZ", "stage": 12}))

    def test_one_of_more_than_a_mebibyte_is_not_looked_at(self) -> None:
        for size, details in ((1 << 20, ("ERR_ENCODING", 1)), ((1 << 20) + 1, ("ERR_LIMIT", 5))):
            answer = self.post(b"x" * size)
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.json["error"]["details"], dict(zip(("code", "stage"), details, strict=True)))

    def test_one_that_is_too_long_and_weighs_too_much_is_not_parsed(self) -> None:
        dense = b"[" + b"{}," * 21_836 + b"{}]"  # 65,512 bytes, 21,837 objects
        for filling, code in ((b"", "ERR_SCHEMA"), (b" " * 65_536, "ERR_LIMIT")):
            data = b'{"v":"omp/0.2","x_a":' + dense + b"}" + filling
            answer = self.post(data)
            self.assertEqual((answer.status, answer.json["error"]["details"]["code"]), (400, code))
            (outcome,) = self.post_lines([data])["outcomes"]
            self.assertEqual((outcome["code"], outcome["id"] is None), (code, code == "ERR_LIMIT"))

    def test_many_in_any_order_with_bad_lines_among_them(self) -> None:
        raws = [operation.raw for operation in WRITTEN.operations]
        lines = [raws[4], b"nonsense", b"", *raws[:4], raws[4], raws[0], b"x" * (1 << 20) + b"x", b'{"v":1}']
        answer = self.post_lines(lines)
        outcomes = answer["outcomes"]
        self.assertEqual([one["line"] for one in outcomes], [1, 2, 4, 5, 6, 7, 8, 9, 10, 11])
        self.assertEqual(
            [one["status"] for one in outcomes],
            ["accepted", "rejected", *["accepted"] * 4, "duplicate", "duplicate", "rejected", "rejected"],
        )
        refused = [(one["code"], one["id"]) for one in outcomes if one["status"] == "rejected"]
        self.assertEqual(refused, [("ERR_ENCODING", None), ("ERR_LIMIT", None), ("ERR_VERSION", None)])
        counts = {name: answer[name] for name in ("accepted", "duplicate", "deferred", "rejected")}
        self.assertEqual(counts, {"accepted": 5, "duplicate": 2, "deferred": 0, "rejected": 3})

    def test_many_say_what_is_still_missing_at_the_end(self) -> None:
        first, second, third = WRITTEN.operations[:3]
        answer = self.post_lines([third.raw, second.raw, third.raw])
        self.assertEqual([one["status"] for one in answer["outcomes"]], ["deferred"] * 3)
        self.assertEqual([one["missing"] for one in answer["outcomes"]], [[second.id], [first.id], [second.id]])

    def test_the_rejection_of_what_waited_is_kept(self) -> None:
        first = WRITTEN.operations[0]
        bad = {
            "author": STRANGER.id, "body": {"reason": "", "target": first.id}, "deps": [first.id], "lc": 2,
            "log": LOG, "prev": None, "seq": 1, "ts": TS, "type": "refutation", "v": "omp/0.2",
        }  # fmt: skip
        raw = signed(bad, STRANGER)
        answer = self.post_lines([raw, first.raw])
        self.assertEqual([one["status"] for one in answer["outcomes"]], ["rejected", "accepted"])
        self.assertEqual(answer["outcomes"][0]["code"], "ERR_AUTHZ")
        pending = self.get(path("/pending")).json
        self.assertEqual(pending["rejected"], [{"id": answer["outcomes"][0]["id"], "code": "ERR_AUTHZ"}])

    def test_another_media_type_is_415(self) -> None:
        self.assertEqual(self.post(WRITTEN.operations[0].raw, "text/plain").status, 415)

    def test_sixteen_threads_posting_the_same_log_store_each_operation_once(self) -> None:
        raws = [operation.raw for operation in WRITTEN.operations]
        statuses: list[int] = []

        def send(turn: int) -> None:
            with Client(self.server.port) as client:
                for raw in raws[turn % len(raws) :] + raws[: turn % len(raws)]:
                    answer = client.request(
                        "POST", path("/operations"), body=raw, headers={"Content-Type": "application/json"}
                    )
                    statuses.append(answer.status)

        threads = [threading.Thread(target=send, args=(turn,)) for turn in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertLessEqual(set(statuses), {200, 201, 202})
        self.assertEqual(self.get(path("/heads")).json["state"], WRITTEN.replica.state_id())


class Reading(LogCase):
    """The reading routes, on a log that has operations."""

    def setUp(self) -> None:
        super().setUp()
        self.fill()

    def test_logs_and_heads(self) -> None:
        summary = {"heads": [IDS["refutation"]], "ops": 5, "state": WRITTEN.replica.state_id()}
        self.assertEqual(self.get(path("/heads")).json, summary)
        self.assertEqual(self.get("/logs").json, {"count": 1, "items": [{"log": LOG, **summary}]})

    def test_an_unknown_log_is_404_everywhere(self) -> None:
        for rest in ("heads", "operations", "pending", "state", "events", "claims", "grants", "evidence", "inferences"):
            with self.subTest(rest=rest):
                self.assertEqual(self.get(f"{NOBODYS}/{rest}").status, 404)
        self.assertEqual(self.client.request("POST", f"{NOBODYS}/missing", {"heads": []}).status, 404)

    def test_what_is_no_id_of_a_log_is_400_and_the_answer_says_what_one_is(self) -> None:
        for log in ("nobody", LOG + "A", LOG[:-1], LOG.replace(":id:", ":key:"), LOG.upper(), LOG + "%0A"):
            for rest in ("heads", "operations", "pending", "state", "events", "claims", "claims/x/why", "projection"):
                with self.subTest(log=log, rest=rest):
                    answer = self.get(f"/logs/{log}/{rest}")
                    self.assertEqual(answer.status, 400)
                    self.assertIn("omp:id:ed25519:", answer.json["error"]["message"])
        self.assertEqual(self.client.request("POST", "/logs/nobody/missing", {"heads": 1}).status, 400)

    def test_the_exact_bytes_of_an_operation(self) -> None:
        answer = self.get(path("/operations/{}", IDS["claim"]))
        self.assertEqual(answer.body, WRITTEN.operations[1].raw)
        self.assertEqual(self.get(path("/operations/{}", "omp:op:sha256:" + "0" * 64)).status, 404)

    def test_pages_follow_the_total_order(self) -> None:
        ordered = [entry.id for entry in WRITTEN.replica.operations()]
        where, seen = path("/operations?limit=2"), []
        while where:
            answer = self.get(where)
            self.assertEqual(answer.json["count"], len(answer.json["items"]))
            seen += [item["sig"] for item in answer.json["items"]]
            where = answer.headers.get("link", "").partition("<")[2].partition(">")[0]
        self.assertEqual(seen, [json.loads(entry.raw)["sig"] for entry in WRITTEN.replica.operations()])
        self.assertEqual(len(ordered), len(seen))
        self.assertEqual(self.get(path("/operations?after=unknown")).status, 400)
        self.assertEqual(self.get(path("/operations?after=")).body, self.get(path("/operations")).body)
        self.assertEqual(self.get(path("/operations?limit=1001")).status, 400)

    def test_lines_are_the_exact_bytes_and_the_definition_agrees(self) -> None:
        answer = self.get(path("/operations"), {"Accept": "application/x-ndjson"})
        self.assertEqual(answer.headers["content-type"], "application/x-ndjson")
        self.assertEqual(answer.body, b"".join(entry.raw + b"\n" for entry in WRITTEN.replica.operations()))
        self.assertEqual(check(answer.body.splitlines(), ENGINE).state_id, WRITTEN.replica.state_id())

    def test_lines_come_in_pages_where_a_limit_is_given(self) -> None:
        where, pages = path("/operations?limit=2"), []
        while where:
            answer = self.get(where, {"Accept": "application/x-ndjson"})
            pages.append(answer.body)
            where = answer.headers.get("link", "").partition("<")[2].partition(">")[0]
        self.assertEqual([page.count(b"\n") for page in pages], [2, 2, 1])
        self.assertEqual(b"".join(pages), b"".join(entry.raw + b"\n" for entry in WRITTEN.replica.operations()))

    def test_missing_is_what_the_caller_lacks(self) -> None:
        for heads, count in (([], 5), ([IDS["claim"]], 3), ([IDS["refutation"]], 0), (["unknown"], 5)):
            with self.subTest(heads=heads):
                answer = self.client.request("POST", path("/missing"), {"heads": heads})
                self.assertEqual((answer.status, answer.body.count(b"\n")), (200, count))
        self.assertEqual(self.client.request("POST", path("/missing"), {"heads": 1}).status, 400)

    def test_the_state_document_comes_with_its_id(self) -> None:
        answer = self.get(path("/state"))
        state_id = WRITTEN.replica.state_id()
        self.assertEqual((answer.headers["etag"], answer.headers["omp-state"]), (f'"{state_id}"', state_id))
        self.assertEqual(answer.body, WRITTEN.replica.state_document())
        self.assertEqual(self.get(path("/state"), {"If-None-Match": f'"{state_id}"'}).status, 304)
        self.assertEqual(self.get(path("/state"), {"If-Match": f'"{state_id}"'}).status, 200)
        refused = self.get(path("/state"), {"If-Match": '"other"'})
        self.assertEqual((refused.status, refused.headers["etag"]), (412, f'"{state_id}"'))

    def test_claims_with_their_filters(self) -> None:
        (item,) = self.get(path("/claims")).json["items"]
        self.assertEqual(item["taint"], [IDS["evidence"]])
        self.assertEqual((item["author"], item["ts"], item["body"]["subject"]), (ROOT.id, TS, "self"))
        for query, count in (
            ("status=active", 1),
            ("status=refuted", 0),
            ("predicate=calendar.weekly", 1),
            ("predicate=calendar.*", 1),
            ("predicate=calendar", 0),
            ("effective=false", 1),
            ("effective=true", 0),
        ):
            with self.subTest(query=query):
                self.assertEqual(self.get(path(f"/claims?{query}")).json["count"], count)
        self.assertEqual(self.get(path("/claims?effective=maybe")).status, 400)

    def test_the_other_lists(self) -> None:
        self.assertEqual(
            [item["id"] for item in self.get(path("/evidence?status=refuted")).json["items"]], [IDS["evidence"]]
        )
        self.assertEqual(self.get(path("/grants")).json["count"], 2)
        self.assertEqual(self.get(path("/inferences")).json, {"count": 0, "items": []})

    def test_why_leads_down_to_the_evidence(self) -> None:
        tree = self.get(path("/claims/{}/why", IDS["claim"])).json
        self.assertEqual((tree["id"], tree["status"], tree["changed_by"]), (IDS["claim"], "active", []))
        (source,) = tree["sources"]
        self.assertEqual((source["id"], source["status"]), (IDS["evidence"], "refuted"))
        self.assertEqual((source["changed_by"], source["sources"]), ([IDS["refutation"]], []))
        self.assertEqual(self.get(path("/claims/{}/why", IDS["evidence"])).status, 404)

    def test_the_projection_of_a_key(self) -> None:
        (item,) = self.get(path("/projection?key={}", READER.id)).json["items"]
        self.assertEqual((item["predicate"], item["tainted"]), ("calendar.weekly", True))
        self.assertNotIn("derived_from", item)
        (item,) = self.get(path("/projection?key={}", PHONE.id)).json["items"]
        self.assertEqual(item["derived_from"], [IDS["evidence"]])
        self.assertEqual(self.get(path("/projection?key={}", STRANGER.id)).json, {"count": 0, "items": []})
        self.assertEqual(self.get(path("/projection")).status, 400)


class ReadingFromSqlite(Reading):
    """The same reads, from SQLite."""

    def setUp(self) -> None:
        self.storage = f"sqlite:{self.enterContext(tempfile.TemporaryDirectory())}/omp.db"
        super().setUp()


class PostingToSqlite(Posting):
    """The same writes, to SQLite."""

    def setUp(self) -> None:
        self.storage = f"sqlite:{self.enterContext(tempfile.TemporaryDirectory())}/omp.db"
        super().setUp()


class Restart(unittest.TestCase):
    """The log is read again from the stored bytes."""

    def test_after_a_restart_state_pages_and_events_are_the_same(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            storage = f"sqlite:{folder}/omp.db"
            half = [operation.raw for operation in WRITTEN.operations[:3]]
            rest = [operation.raw for operation in WRITTEN.operations[3:]]
            for lines in (half, rest):
                with running_server(storage=storage) as server, Client(server.port) as client:
                    headers = {"Content-Type": "application/x-ndjson"}
                    client.request("POST", path("/operations"), body=b"\n".join(lines), headers=headers)
            with running_server(storage=storage) as server, Client(server.port) as client:
                self.assertEqual(client.request("GET", path("/heads")).json["state"], WRITTEN.replica.state_id())
                self.assertEqual(client.request("GET", path("/state")).body, WRITTEN.replica.state_document())
                with listening(server, "3.1") as told:
                    self.assertEqual([next(told)["id"] for _ in range(2)], ["4.1", "5.1"])

    def test_what_could_not_be_stored_is_stored_by_the_next_write(self) -> None:
        with running_server() as server, Client(server.port) as client:
            headers = {"Content-Type": "application/x-ndjson"}
            client.request("POST", path("/operations"), body=WRITTEN.operations[0].raw, headers=headers)
            block = type(server.parts.store.write())
            with patch.object(block, "put", side_effect=OSError("no space")):
                answer = client.request("POST", path("/operations"), body=WRITTEN.operations[1].raw, headers=headers)
            self.assertEqual(answer.status, 500)
            body = b"\n".join(operation.raw for operation in WRITTEN.operations)
            answer = client.request("POST", path("/operations"), body=body, headers=headers)
            self.assertEqual((answer.json["accepted"], answer.json["duplicate"]), (3, 2))
            self.assertEqual(client.request("GET", path("/heads")).json["state"], WRITTEN.replica.state_id())
            with server.parts.store.read() as tx:
                self.assertEqual(tx.count("oplog_operations"), 5)


@contextlib.contextmanager
def listening(server: Running, last: str | None = None) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of the log, as they come: ``{"event", "id", "data"}``."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", path("/events"), headers={"Last-Event-ID": last} if last else {})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    assert response.getheader("Content-Type") == "text/event-stream"

    def events() -> Iterator[dict[str, Any]]:
        fields: dict[str, Any] = {"id": None}
        while line := response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name in ("id", "event", "data"):
                fields[name] = json.loads(value) if name == "data" else value
            elif not name and "event" in fields:
                yield fields
                fields = {"id": None}

    try:
        yield events()
    finally:
        connection.close()


class Events(LogCase):
    """``GET /logs/{log}/events``."""

    def test_events_come_as_they_happen_and_again_after_a_break(self) -> None:
        raws = [operation.raw for operation in WRITTEN.operations]
        self.post_lines(raws[:2])
        with listening(self.server) as told:
            self.post_lines(raws[2:])
            heard = [next(told) for _ in range(5)]
        self.assertEqual(
            [(one["id"], one["event"], one["data"]["id"]) for one in heard],
            [
                ("3.1", "accepted", IDS["grant"]),
                ("4.1", "accepted", IDS["reading"]),
                ("5.1", "accepted", IDS["refutation"]),
                *[("5.2", "status", heard[3]["data"]["id"]), ("5.3", "status", heard[4]["data"]["id"])],
            ],
        )
        self.assertEqual({heard[3]["data"]["id"], heard[4]["data"]["id"]}, {IDS["evidence"], IDS["claim"]})
        with listening(self.server, "4.1") as told:
            self.assertEqual([next(told) for _ in range(3)], heard[2:])

    def test_a_fork_is_an_event(self) -> None:
        self.fill()
        fork = {
            "author": PHONE.id, "body": {"reason": "again", "target": IDS["evidence"]},
            "deps": [IDS["reading"]], "lc": 5, "log": LOG, "prev": None, "seq": 1, "ts": TS, "type": "refutation",
            "v": "omp/0.2",
        }  # fmt: skip
        with listening(self.server) as told:
            self.assertEqual(self.post(signed(fork, PHONE)).status, 201)
            heard = [next(told) for _ in range(2)]
        self.assertEqual([one["event"] for one in heard], ["accepted", "fork"])
        self.assertEqual((heard[1]["data"]["author"], heard[1]["data"]["seq"]), (PHONE.id, 1))

    def test_an_unknown_event_id_is_a_reset_and_nonsense_is_400(self) -> None:
        self.fill()
        with listening(self.server, "99.1") as told:
            self.assertEqual(next(told), {"id": "5.3", "event": "reset", "data": {"ops": 5}})
        self.assertEqual(self.get(path("/events"), {"Last-Event-ID": "yesterday"}).status, 400)

    def test_a_reader_who_does_not_read_delays_nobody(self) -> None:
        self.fill()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", path("/events"))
        self.assertEqual(self.post(WRITTEN.operations[0].raw).status, 200)
        self.assertTrue(self.server.parts.stop(PATIENCE))


class Strict(LogCase):
    """Reading in mode ``strict``."""

    environ: ClassVar[dict[str, str]] = {"OMP_SIG_MODE": "strict", "OMP_LOGS_OPEN": "1"}

    def setUp(self) -> None:
        super().setUp()
        self.fill()  # unsigned: operations carry their own signatures

    def signed_get(self, key: Key, rest: str) -> Answer:
        where = path(rest)
        request = SignedRequest("GET", "http", f"127.0.0.1:{self.server.port}", where, [], b"")
        headers = sign(request, keyid=key.id, signer=key.sign, created=int(time.time()))
        return self.client.request("GET", where, headers=dict(headers))

    def test_the_root_and_authors_read_everything_and_others_their_projection(self) -> None:
        for key, status in ((ROOT, 200), (PHONE, 200), (READER, 403), (STRANGER, 403)):
            for rest in ("/heads", "/operations", "/state", "/claims", "/grants", "/pending"):
                with self.subTest(key=key.id, rest=rest):
                    self.assertEqual(self.signed_get(key, rest).status, status)
        counts = [self.signed_get(key, "/projection").json["count"] for key in (ROOT, PHONE, READER, STRANGER)]
        self.assertEqual(counts, [1, 1, 1, 0])
        self.assertEqual(self.signed_get(READER, f"/projection?key={quote(ROOT.id, safe='')}").status, 403)

    def test_an_unsigned_reader_is_401(self) -> None:
        for rest in ("/heads", "/operations", "/state", "/events", "/projection"):
            with self.subTest(rest=rest):
                answer = self.get(path(rest))
                self.assertEqual((answer.status, answer.json["error"]["message"]), (401, "Missing required signature"))
        self.assertEqual(self.get("/logs").status, 401)

    def test_who_asks_comes_before_what_is_wrong_with_the_question(self) -> None:
        for body in (b"not JSON", b"{}", b'{"heads":[]}'):
            answer = self.client.request(
                "POST", path("/missing"), body=body, headers={"Content-Type": "application/json"}
            )
            self.assertEqual((answer.status, answer.json["error"]["message"]), (401, "Missing required signature"))
        for where in ("/logs/nobody/heads", path("/operations?limit=0"), path("/claims?effective=maybe")):
            self.assertEqual(self.get(where).status, 401)

    def test_a_revoked_device_cannot_read_any_more(self) -> None:
        log, ids = small_log()
        log.put(log.by(ROOT).revocation(TS, target=ids["grant"], reason="lost"))
        self.assertEqual(self.post(log.operations[-1].raw).status, 201)
        self.assertEqual(self.signed_get(PHONE, "/heads").status, 403)


class Beginning(LogCase):
    """§7.2: who may begin a log in mode ``strict``."""

    environ: ClassVar[dict[str, str]] = {
        "OMP_SIG_MODE": "strict",
        "OMP_SIG_KEYS": json.dumps({"admin": PHONE.public_key.hex()}),
    }

    def signed_post(self, key: Key, keyid: str, body: bytes) -> Answer:
        fields = [("content-type", "application/json")]
        request = SignedRequest("POST", "http", f"127.0.0.1:{self.server.port}", path("/operations"), fields, body)
        headers = sign(request, keyid=keyid, signer=key.sign, created=int(time.time()))
        return self.client.request("POST", path("/operations"), body=body, headers=dict([*fields, *headers]))

    def test_a_log_begins_with_a_configured_key_and_goes_on_with_none(self) -> None:
        first, second, *others = (operation.raw for operation in WRITTEN.operations)
        for body in (first, second, b"not JSON", b""):
            self.assertEqual(self.post(body).status, 401)
        self.assertEqual(self.post(first + b"\n", "application/x-ndjson").status, 401)
        # Anybody can make a key ID: that of the root itself is no better, unless it is configured.
        for key in (ROOT, STRANGER):
            self.assertEqual(self.signed_post(key, key.id, first).status, 401)
        self.assertEqual(self.signed_post(STRANGER, "admin", first).status, 401)
        self.assertEqual(self.signed_post(PHONE, "admin", second).status, 202)
        self.assertEqual(self.post(second).status, 401)  # that something waits begins nothing
        self.assertEqual(self.signed_post(PHONE, "admin", first).status, 201)
        self.assertEqual([self.post(raw).status for raw in (second, *others)], [200, *[201] * len(others)])

    def test_in_other_modes_the_setting_can_only_be_on(self) -> None:
        for mode in ("off", "permissive"):
            with self.assertRaisesRegex(Exception, "OMP_LOGS_OPEN"):
                self.enterContext(running_server({"OMP_SIG_MODE": mode, "OMP_LOGS_OPEN": "0"}))
            with running_server({"OMP_SIG_MODE": mode}) as server, Client(server.port) as client:
                headers = {"Content-Type": "application/json"}
                answer = client.request("POST", path("/operations"), body=WRITTEN.operations[0].raw, headers=headers)
                self.assertEqual(answer.status, 201)


class ManyLines(LogCase):
    """§7.2: a body has at most 10,000 lines."""

    def test_a_line_too_many_is_413_and_nothing_is_applied(self) -> None:
        first = WRITTEN.operations[0].raw
        for end in (b"\n" * 10_001, b"\n" + b"x\n" * 9_999 + b"\r", b"\r\n" * 10_000 + b"x"):
            answer = self.post(first + end, "application/x-ndjson")
            self.assertEqual((answer.status, "code" in (answer.json["error"].get("details") or {})), (413, False))
            self.assertEqual(self.get("/logs").json["count"], 0)

    def test_ten_thousand_lines_are_taken(self) -> None:
        first = WRITTEN.operations[0].raw
        counts = self.post(b"\n" * 9_998 + first + b"\r\nx", "application/x-ndjson").json
        self.assertEqual([(one["line"], one["status"]) for one in counts["outcomes"]], [
            (9_999, "accepted"), (10_000, "rejected"),
        ])  # fmt: skip
        self.assertEqual(self.post(b"x\n" * 10_000, "application/x-ndjson").json["rejected"], 10_000)
        self.assertEqual(self.post(b"", "application/x-ndjson").json["outcomes"], [])


if __name__ == "__main__":
    unittest.main()
