"""``python -m omp log push``, ``pull`` and ``sync``: two devices, servers in between, and servers that lie."""

from __future__ import annotations

import gc
import json
import unittest
import warnings
from unittest import mock

from omp.tests.harness import answering, raw_server, running_server
from omp.tests.oplog.devices import ANOTHER_LOG, STRICT, LogCase
from omp.tools.log import text


class Exchanging(LogCase):
    """`push`, `pull` and `sync`."""

    def two_devices(self, *options: str) -> str:
        """The log of a phone with two operations, the second of which is a grant to the laptop."""
        log = self.phone()
        self.done("phone", "claim", "name.first", "Ada")
        laptop = self.done("laptop", "init", "--device-of", log)
        self.done("phone", "grant", laptop, *options)
        return log

    def test_the_whole_life_of_two_devices(self) -> None:
        self.two_devices("--caps", "author,infer,read")
        server = self.enterContext(running_server())
        entry = self.folder / "dentist.ics"
        entry.write_bytes(b"BEGIN:VCALENDAR\nEND:VCALENDAR\n")
        evidence = self.done("phone", "ingest", str(entry), "--source", "calendar:ics")
        claim = self.done(
            "phone", "claim", "calendar.event", '{"title":"Dentist"}', "--from", evidence[:30], "--method", "r/1"
        )
        state = self.state("phone")
        self.assertEqual(self.done("phone", "push", server.url), f"pushed 4 operations\nstate {state} on both sides")
        self.assertEqual(self.done("laptop", "pull", server.url), f"pulled 4 operations\nstate {state} on both sides")
        # Both go on without the other.
        self.done("laptop", "refute", evidence, "--reason", "cancelled by phone")
        self.done("laptop", "infer", claim, "--purpose", "summary", "--model", "small-1")
        self.done("phone", "correct", claim, "--reason", "moved")
        self.assertIn("pushed 2 operations", self.done("laptop", "push", server.url))
        pushed = self.done("phone", "push", server.url).splitlines()
        self.assertEqual(pushed[0], "pushed 1 operation")
        self.assertRegex(pushed[1], r"^here 5 operations, there 7 operations: pull what is missing here")
        self.assertIn("pulled 2 operations", self.done("phone", "pull", server.url))
        self.assertIn("pulled 1 operation\n", self.done("laptop", "pull", server.url))
        self.assertEqual(self.state("phone"), self.state("laptop"))
        self.assertEqual(self.done("phone", "verify").split()[-1], self.state("phone"))
        self.assertEqual(self.done("phone", "show", "--json"), self.done("laptop", "show", "--json"))
        why = self.done("phone", "why", claim[:26])
        self.assertIn(f"superseded, tainted by {text.short(evidence)}", why)
        self.assertIn("cancelled by phone", why)
        # The laptop is lost: what it writes from now on, in whatever the phone has not seen, is void.
        grant = next(line.split()[1] for line in self.done("phone", "show").splitlines() if line.startswith("grant"))
        late = self.done("laptop", "claim", "name.first", "Eve")
        self.done("phone", "revoke", grant, "--reason", "lost")
        self.done("phone", "push", server.url)
        self.done("laptop", "push", server.url)
        self.done("phone", "pull", server.url)
        self.assertIn(f'claim {text.short(late)} void: self name.first "Eve"', self.done("phone", "show"))
        self.assertIn(
            f"revocation {text.short(json.loads(self.done('phone', 'why', '--json', late))['changed_by'][0])}: lost",
            self.done("phone", "why", late),
        )

    def test_if_nothing_is_new_nothing_is_sent(self) -> None:
        self.two_devices()
        server = self.enterContext(running_server())
        self.done("phone", "push", server.url)
        self.assertIn("pushed 0 operations\nstate ", self.done("phone", "push", server.url))
        before = self.file().read_bytes()
        self.assertIn("pulled 0 operations\nstate ", self.done("phone", "pull", server.url))
        self.assertEqual(self.file().read_bytes(), before)

    def test_a_log_that_nobody_has_yet(self) -> None:
        self.phone()
        server = self.enterContext(running_server())
        for name in ("push", "pull"):
            self.assertRegex(self.done("phone", name, server.url), "neither has anything of this log$")
        self.assertRegex(self.done("phone", "sync", server.url, server.url), "neither has anything of this log$")
        self.assertFalse(self.file().exists())

    def test_a_copy_is_pulled_without_any_key(self) -> None:
        log = self.two_devices()
        server = self.enterContext(running_server())
        self.done("phone", "push", server.url)
        self.assertIn("Which log?", self.refused("copy", "pull", server.url))
        self.assertIn("must be the ID of a log", self.refused("copy", "pull", server.url, "--id", "x"))
        self.done("copy", "pull", server.url, "--id", log)
        self.assertEqual(self.file("copy").read_bytes(), self.file().read_bytes())
        self.assertIn("line 1", self.refused("copy", "pull", server.url, "--id", ANOTHER_LOG))

    def test_more_than_a_batch_is_sent_in_several(self) -> None:
        self.two_devices()
        server = self.enterContext(running_server())
        with mock.patch("omp.tools.log.peer.BATCH_LINES", 1):
            self.assertIn("pushed 2 operations", self.done("phone", "push", server.url))
        self.done("phone", "claim", "a.b", "x" * 900)
        self.done("phone", "claim", "a.b", "y" * 900)
        with mock.patch("omp.tools.log.peer.BATCH_BYTES", 1000):
            self.assertIn("pushed 2 operations", self.done("phone", "push", server.url))

    def test_two_servers_are_made_equal(self) -> None:
        self.two_devices()
        one, two = self.enterContext(running_server()), self.enterContext(running_server())
        self.done("phone", "push", one.url)
        self.done("laptop", "pull", one.url)
        self.done("laptop", "claim", "a.b", "laptop")
        self.done("laptop", "push", two.url)
        self.done("phone", "claim", "a.b", "phone")
        self.done("phone", "push", one.url)
        printed = self.done("phone", "sync", one.url, two.url).splitlines()
        self.assertEqual(printed[0], f"{one.url} had 1 operation to give, {two.url} 1 operation")
        self.done("phone", "pull", two.url)
        self.assertEqual(printed[1], f"state {self.state('phone')} on both sides")

    def test_a_strict_server_is_read_with_signatures_by_those_who_may(self) -> None:
        log = self.two_devices("--caps", "author,read")
        reader = self.done("reader", "init", "--device-of", log)
        self.done("phone", "grant", reader, "--caps", "read")
        one, two = self.enterContext(running_server(STRICT)), self.enterContext(running_server(STRICT))
        state = self.state("phone")
        self.assertIn(f"state {state} on both sides", self.done("phone", "push", one.url))
        self.assertIn(f"state {state} on both sides", self.done("laptop", "pull", one.url))
        self.assertIn(f"state {state} on both sides", self.done("phone", "sync", one.url, two.url))
        # Who may read only its projection, and who is nobody, can still bring operations.
        self.assertIn("refused (403)", self.refused("reader", "pull", one.url))
        self.assertIn("refused (401)", self.refused("copy", "pull", one.url, "--id", log))
        self.file("reader").write_bytes(self.file().read_bytes())
        self.file("copy").write_bytes(self.file().read_bytes())
        for device in ("reader", "copy"):
            printed = self.done(device, "push", two.url)
            self.assertEqual(
                printed, f"pushed 0 operations\nstate {state} here; the server does not tell this key its own"
            )

    def test_a_host_name_in_capitals_is_signed_as_it_is_sent(self) -> None:
        self.two_devices()
        server = self.enterContext(running_server(STRICT))
        self.assertIn("pushed 2", self.done("phone", "push", f"http://LOCALHOST:{server.port}/"))

    def test_no_connection_is_left_open(self) -> None:
        self.two_devices()
        one, two = self.enterContext(running_server()), self.enterContext(running_server())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.done("phone", "push", one.url)
            self.done("phone", "sync", one.url, two.url)
            self.refused("phone", "push", one.url + "/elsewhere")
            gc.collect()
        self.assertEqual([str(one.message) for one in caught if one.category is ResourceWarning], [])

    def test_a_server_that_cannot_be_reached_is_one_sentence(self) -> None:
        self.two_devices()
        for url, words in (
            ("http://127.0.0.1:1", "cannot be reached: Connection refused"),
            ("nonsense", "no base URL"),
            ("http://" + "a" * 70, "no host name"),
        ):
            for name, urls in (("push", (url,)), ("pull", (url,)), ("sync", (url, url))):
                self.assertIn(words, self.refused("phone", name, *urls))

    def answered(self, body: bytes, status: str = "200 OK") -> str:
        """The URL of a server that says the same to everything."""
        head = f"HTTP/1.1 {status}\nContent-Length: {len(body)}"
        return f"http://127.0.0.1:{self.enterContext(raw_server(answering(head, body)))}"

    def test_answers_that_do_not_fit_the_protocol_are_refused(self) -> None:
        self.two_devices()
        before = self.file().read_bytes()
        for body in (
            b"",
            b"<html>",
            b"[]",
            b"{}",
            b'{"heads":[1],"ops":1,"state":""}',
            b'{"heads":[],"ops":"1","state":""}',
        ):
            with self.subTest(body):
                url = self.answered(body)
                self.assertIn("is no operation log", self.refused("phone", "push", url))
                self.assertIn("is no operation log", self.refused("phone", "sync", url, url))
        for body in (b"<html>", b"{}\n{}", b"\xff"):
            error = self.refused("phone", "pull", self.answered(body))
            self.assertIn("cannot be taken in; the first: it has no ID, ERR_", error)
        self.assertEqual(self.file().read_bytes(), before)

    def test_only_valid_operations_from_a_server_are_kept(self) -> None:
        self.two_devices()
        first, second = self.lines()
        forged = second.replace(json.loads(second)["sig"].encode(), json.loads(first)["sig"].encode())
        error = self.refused("laptop", "pull", self.answered(first + forged))
        self.assertRegex(error, r"1 operation that the server sent .*ERR_SIGNATURE \(1 operation could, and are kept\)")
        self.assertEqual(self.lines("laptop"), [first])
        error = self.refused("watch", "pull", self.answered(second), "--id", json.loads(first)["log"])
        self.assertIn("an ancestor is missing (0 operations could", error)
        self.assertFalse(self.lines("watch"))

    def test_what_a_server_says_cannot_move_the_cursor(self) -> None:
        self.two_devices()
        said = json.dumps({"error": {"message": "no\x1b[2J\nlog: all is well \u202e"}}).encode()
        error = self.refused("phone", "push", self.answered(said, "503 Service Unavailable"))
        self.assertEqual(error, "log: The server refused (503): no\\x1b[2J\\nlog: all is well \\u202e\n")
        state = json.dumps({"heads": [], "ops": 3, "state": "\x1b[2J"}).encode()
        printed = self.refused("phone", "sync", url := self.answered(state), url)
        self.assertIn("is no operation log", printed)

    def test_a_server_that_refuses_operations_is_named_with_the_first(self) -> None:
        self.two_devices()
        server = self.enterContext(running_server())
        lines = self.lines()
        signature = json.loads(lines[0])["sig"].encode()
        self.file().write_bytes(lines[0] + lines[1].replace(json.loads(lines[1])["sig"].encode(), signature))
        error = self.refused("phone", "push", server.url)
        self.assertRegex(error, rf"{server.url} refused 1 operation; the first: omp:op:sha256:\w+, ERR_SIGNATURE")


if __name__ == "__main__":
    unittest.main()
