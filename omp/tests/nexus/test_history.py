"""Messages and batches end to end (§6, §7), on both storage adapters."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import main, mock

from omp.protocols.nexus.defaults import BUILT_IN
from omp.protocols.nexus.profile import read_defaults
from omp.protocols.nexus.writes import WRITES, WriteContext
from omp.tests.harness import PATIENCE, Client
from omp.tests.nexus.owner import BASE, OneServer, Owner, next_page

CONFIG = {"overrides": {"temperature": 0.9}}


class OnMemory(OneServer):
    """Histories, and several writes in one request."""

    # --- Messages -----------------------------------------------------------------------------------------------

    def say(self, owner: Owner, *messages: dict[str, Any]) -> None:
        """Store a conversation."""
        answer = owner.post(self.client, "/messages", {"messages": list(messages)})
        self.assertEqual(answer.status, 200, answer.body)

    def pages(self, owner: Owner, limit: int, between: Sequence[dict[str, Any]] = ()) -> Iterator[list[Any]]:
        """Every page; one of `between` is stored before each further one."""
        more = iter(between)
        target = f"{BASE}/messages?limit={limit}"
        while target:
            answer = self.client.request("GET", target, headers=owner.bearer)
            self.assertEqual(answer.status, 200, answer.body)
            yield answer.json
            target = next_page(answer)
            if (message := next(more, None)) is not None:
                self.say(owner, message)

    def test_messages_come_newest_first_with_every_member(self) -> None:
        said = {"run_id": "run_1", "role": "human", "content": "Hello", "created_at": "2025-10-20T10:30:00Z"}
        tool = {
            "run_id": "run_1",
            "role": "tool",
            "content": {"rows": [1, 2.5]},
            "created_at": "2025-10-20T12:30:05+02:00",
        }
        self.say(self.owner, tool, said)
        self.say(self.owner, {"run_id": "run_2", "role": "ai", "content": "later"})
        messages = self.owner.get(self.client, "/messages").json
        self.assertEqual([message["content"] for message in messages], ["later", {"rows": [1, 2.5]}, "Hello"])
        self.assertEqual(messages[1], {**tool, "owner_key": self.owner.address})
        self.assertRegex(messages[0]["created_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_paging_gives_each_message_once_whatever_is_stored_meanwhile(self) -> None:
        same = "2025-10-20T10:30:00Z"
        said = [{"run_id": "r", "role": "ai", "content": str(n), "created_at": same} for n in range(25)]
        self.say(self.owner, *said)
        newer = [
            {"run_id": "r", "role": "ai", "content": "new", "created_at": f"2026-01-0{n}T00:00:00Z"} for n in (1, 2)
        ]
        pages = list(self.pages(self.owner, 10, newer))
        self.assertEqual([len(page) for page in pages], [10, 10, 5])
        self.assertEqual([m["content"] for page in pages for m in page], [str(n) for n in reversed(range(25))])

    def test_a_page_of_long_messages_ends_early_and_the_link_leads_on(self) -> None:
        # Whoever knows an address can ask for a page as often as it likes: it is at most a mebibyte.
        said = [{"run_id": "r", "role": "ai", "content": str(n) + "x" * 60_000} for n in range(20)]
        for message in said:
            self.say(self.owner, message)
        pages = list(self.pages(self.owner, 100))
        self.assertEqual([len(page) for page in pages], [17, 3])
        contents = [message["content"] for page in pages for message in page]
        self.assertEqual(contents, [message["content"] for message in reversed(said)])

    def test_a_page_that_is_exactly_full_has_no_next(self) -> None:
        self.say(self.owner, *({"run_id": "r", "role": "ai", "content": "x"} for _ in range(20)))
        answer = self.owner.get(self.client, "/messages")
        self.assertEqual((len(answer.json), next_page(answer)), (20, ""))

    def test_a_bad_limit_or_cursor_is_400(self) -> None:
        for query in (
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1e1",
            "limit=%2B5",
            "limit=1&limit=2",
        ):
            self.assert_refused(self.owner.get(self.client, f"/messages?{query}"), 400, "limit")
        for query in ("cursor=x", "cursor=AAAA", "cursor=%F0%9F%A6%8A"):
            self.assert_refused(self.owner.get(self.client, f"/messages?{query}"), 400, "cursor")

    def test_an_empty_cursor_is_the_beginning(self) -> None:
        self.say(self.owner, *({"run_id": "r", "role": "ai", "content": str(n)} for n in range(3)))
        first = self.owner.get(self.client, "/messages?limit=2")
        empty = self.owner.get(self.client, "/messages?limit=2&cursor=")
        self.assertEqual((empty.status, empty.json, empty.headers["link"]), (200, first.json, first.headers["link"]))

    def test_owners_see_only_their_own(self) -> None:
        other = Owner(self.owner.secret + 5000)
        self.say(self.owner, *({"run_id": "r", "role": "ai", "content": str(n)} for n in range(3)))
        self.owner.post(self.client, "/config", CONFIG)
        self.assertEqual(other.get(self.client, "/messages").json, [])
        self.assertEqual(self.profile(other)["user_overrides"]["config_overrides"], {})
        theirs = next_page(self.owner.get(self.client, "/messages?limit=1"))
        self.assert_refused(self.client.request("GET", theirs, headers=other.bearer), 400, "cursor")
        # The same owner in capitals is the same owner.
        capitals = {"Authorization": "Bearer 0x" + self.owner.address[2:].upper()}
        answer = self.client.request("GET", theirs, headers=capitals)
        self.assertEqual([message["content"] for message in answer.json], ["1"])

    # --- Batch ----------------------------------------------------------------------------------------------

    def test_a_batch_applies_all_of_its_operations(self) -> None:
        answer = self.owner.post(
            self.client,
            "/batch",
            {
                "operations": [
                    {"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 0.2}}},
                    {"endpoint": "/config", "method": "POST", "body": {"overrides": {"max_tokens": 9}}},
                    {"endpoint": "/prompts", "method": "POST", "body": {"overrides": {"friends_profile": "x"}}},
                    {
                        "endpoint": "/messages",
                        "method": "POST",
                        "body": {"messages": [{"run_id": "r", "role": "ai", "content": "x"}]},
                    },
                ]
            },
        )
        self.assertEqual((answer.status, answer.json["status"]), (200, "success"))
        self.assertEqual(
            self.profile(self.owner)["user_overrides"],
            {
                "config_overrides": {"temperature": 0.2, "max_tokens": 9},
                "prompt_overrides": {"friends_profile": "x"},
            },
        )
        self.assertEqual(len(self.owner.get(self.client, "/messages").json), 1)

    def test_a_batch_with_one_bad_operation_applies_none(self) -> None:
        answer = self.owner.post(
            self.client,
            "/batch",
            {
                "operations": [
                    {"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 0.2}}},
                    {
                        "endpoint": "/messages",
                        "method": "POST",
                        "body": {"messages": [{"run_id": "r", "role": "ai", "content": "x"}]},
                    },
                    {"endpoint": "/prompts", "method": "POST", "body": {"overrides": {"CORE_IDENTITY": "x"}}},
                ]
            },
        )
        self.assert_refused(answer, 422, "operations.2.body: prompts.CORE_IDENTITY")
        self.assertEqual(self.profile(self.owner)["user_overrides"]["config_overrides"], {})
        self.assertEqual(self.owner.get(self.client, "/messages").json, [])

    def test_a_batch_has_at_most_a_hundred_operations(self) -> None:
        operation = {"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 0.2}}}
        self.assert_refused(self.owner.post(self.client, "/batch", {"operations": [operation] * 101}), 422, "100")
        self.assertEqual(self.owner.post(self.client, "/batch", {"operations": [operation] * 100}).status, 200)

    def test_a_batch_reads_and_writes_the_overrides_once(self) -> None:
        # Each of a hundred operations would parse and write a long prompt again, under the lock of the store.
        touched = Counter[str]()

        class Counting:
            def __init__(self, tx: Any) -> None:
                self.tx = tx

            def get(self, table: str, key: bytes) -> Any:
                touched[f"get {table}"] += 1
                return self.tx.get(table, key)

            def put(self, table: str, key: bytes, value: bytes) -> None:
                touched[f"put {table}"] += 1
                self.tx.put(table, key, value)

        [write] = [write for write in WRITES if write.endpoint == "/batch"]
        bodies: list[Any] = [{"overrides": {"temperature": n / 100, "max_tokens": n + 1}} for n in range(99)]
        bodies.append({"overrides": {"max_tokens": None}})
        operations = [{"endpoint": "/config", "method": "POST", "body": body} for body in bodies]
        context = WriteContext(self.owner.address, 0, read_defaults(BUILT_IN))
        change = write.asked({"operations": operations}, context).change(self.owner.address)
        with self.running.parts.store.write() as tx:
            change(Counting(tx))  # type: ignore[arg-type]
        self.assertEqual(touched, {"get nexus_overrides": 1, "put nexus_overrides": 1})
        self.assertEqual(self.profile(self.owner)["user_overrides"]["config_overrides"], {"temperature": 0.98})

    def test_updates_at_the_same_time_lose_nothing(self) -> None:
        fields = {"model": "Kimi-K2", "temperature": 0.3, "max_tokens": 11, "history_context_size": 12}
        at_once = {"run_id": "r", "role": "ai", "created_at": "2025-10-20T10:30:00Z"}
        said = [{"messages": [{**at_once, "content": text}]} for text in ("a", "b")]
        requests: list[tuple[str, dict[str, Any]]] = [
            *(("/config", {"overrides": {name: value}}) for name, value in fields.items()),
            ("/prompts", {"overrides": {"friends_profile": "x"}}),
            *(("/messages", body) for body in said),
        ]
        store = self.running.parts.store
        # No transaction begins before every request has come to its own: what was read before that is stale in all
        # of them but one.
        barrier = threading.Barrier(len(requests), timeout=PATIENCE)
        begin = store.write

        def begin_together() -> Any:
            barrier.wait()
            return begin()

        answers: list[int] = []

        def send(endpoint: str, body: dict[str, Any]) -> None:
            with Client(self.running.port) as client:
                answers.append(self.owner.post(client, endpoint, body).status)

        threads = [threading.Thread(target=send, args=request) for request in requests]
        with mock.patch.object(store, "write", begin_together):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(answers, [200] * len(requests))
        self.assertEqual(
            self.profile(self.owner)["user_overrides"],
            {"config_overrides": fields, "prompt_overrides": {"friends_profile": "x"}},
        )
        self.assertEqual({m["content"] for m in self.owner.get(self.client, "/messages").json}, {"a", "b"})


class OnSQLite(OnMemory):
    """The same on the durable adapter."""

    storage = "sqlite:FOLDER/omp.db"


if __name__ == "__main__":
    main()
