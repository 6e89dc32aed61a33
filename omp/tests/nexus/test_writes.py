"""Messages and their instants; what is kept of an owner survives a restart, and reading costs what is read."""

from __future__ import annotations

import contextlib
import json
import tempfile
import unittest
from collections.abc import Iterator
from typing import Any

from omp.protocols.nexus.writes import append_messages, date_time, instant, read_messages, stored_form
from omp.store.memory import MemoryStore
from omp.store.port import Reader
from omp.tests.harness import Client, running_server
from omp.tests.nexus.owner import Owner

ALICE = Owner(0xA11CE)


class Instants(unittest.TestCase):
    """``created_at`` (§6.1)."""

    def test_instants_compare_whatever_the_offset(self) -> None:
        same = ("2025-10-20T10:30:00Z", "2025-10-20t12:30:00.000+02:00", "2025-10-20 05:30:00.000000-05:00")
        self.assertEqual(len({instant(text) for text in same}), 1)
        self.assertLess(instant("2025-10-20T10:30:00.000001Z") - instant(same[0]), 2)
        self.assertLess(instant("0001-01-01T00:00:00Z"), instant("9999-12-31T23:59:59.999999Z"))

    def test_a_text_that_names_no_instant_is_refused(self) -> None:
        for text in (
            "",
            "2025-10-20",
            "2025-10-20T10:30:00",
            "2025-10-20T10:30Z",
            "2025-02-30T10:30:00Z",
            "2025-10-20T25:30:00Z",
            "2025-10-20T10:30:00Z\n",
            "2025-10-20T10:30:00+02:00:30",
            "0001-01-01T00:00:00+01:00",
            "٢025-10-20T10:30:00Z",
            "1761000000",
        ):
            with self.subTest(text=text), self.assertRaises(ValueError):
                instant(text)

    def test_the_time_of_storing_is_an_instant_to_the_millisecond(self) -> None:
        self.assertEqual(date_time(1760956200.25), "2025-10-20T10:30:00.250Z")
        self.assertEqual(date_time(0), "1970-01-01T00:00:00.000Z")


class Restart(unittest.TestCase):
    """What was answered is there after a restart."""

    def test_overrides_and_messages_survive_with_their_order(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for run in range(2):
                with running_server(storage=f"sqlite:{folder}/omp.db") as running, Client(running.port) as client:
                    said = [
                        {"run_id": "r", "role": "ai", "content": f"{run}.{n}", "created_at": "2025-01-01T00:00:00Z"}
                        for n in (0, 1)
                    ]
                    ALICE.post(client, "/messages", {"messages": said})
                    if run == 0:
                        ALICE.post(client, "/config", {"overrides": {"temperature": 0.9}})
                    profile = ALICE.get(client, "/config").json
                    contents = [message["content"] for message in ALICE.get(client, "/messages").json]
            self.assertEqual(profile["user_overrides"]["config_overrides"], {"temperature": 0.9})
            self.assertEqual(contents, ["1.1", "1.0", "0.1", "0.0"])


class Scale(unittest.TestCase):
    """The cost of a page grows with the page, not with the store."""

    def test_a_page_among_ten_thousand_messages_and_owners_reads_no_more_rows_than_it_gives(self) -> None:
        store = MemoryStore()
        owners = [f"0x{number:040x}" for number in range(10_000)]
        message = stored_form({"run_id": "r", "role": "ai", "content": "x"}, "", "2025-01-01T00:00:00Z")
        with store.write() as tx:
            for owner in owners:
                append_messages(owner, [(1, {**message, "owner_key": owner})])(tx)
            append_messages(owners[5000], [(n, {**message, "content": str(n)}) for n in range(2, 10_001)])(tx)
        counted = _CountingStore(store)
        seen = 0
        position = None
        for _ in range(100):
            page, position = read_messages(counted, owners[5000], 100, position)  # type: ignore[arg-type]
            seen += len(page)
            self.assertEqual(json.loads(page[0])["content"], str(10_000 - seen + 100))
        self.assertEqual((seen, position), (10_000, None))
        self.assertLessEqual(counted.rows, 100 * 101)


class _CountingStore:
    """The reading side of a store that counts the rows it hands out."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.rows = 0

    @contextlib.contextmanager
    def read(self) -> Iterator[Any]:
        with self._store.read() as tx:
            self._reader: Reader = tx
            yield self

    def scan(self, table: str, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        for row in self._reader.scan(table, start, end):
            self.rows += 1
            yield row


if __name__ == "__main__":
    unittest.main()
