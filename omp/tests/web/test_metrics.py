"""What the operator may watch: ``GET /metrics`` and the access log (omp §6.1, §1.2)."""

from __future__ import annotations

import re
import tempfile
import threading
import time
import unittest
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from omp.store.port import StoreUnavailable
from omp.tests.harness import PATIENCE, Client, Running, eventually, exchange, running_server
from omp.web.messages import Response
from omp.web.metrics import (
    BOUNDS,
    NO_ROUTE,
    Family,
    Metrics,
    Sample,
    StoreNumbers,
    access_line,
    exposition,
)

Rows = dict[tuple[str, tuple[tuple[str, str], ...]], float]

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
_LINES = {
    "help": re.compile(rf"# HELP ({_NAME}) [^\n]+"),
    "type": re.compile(rf"# TYPE ({_NAME}) (counter|gauge|histogram)"),
    "sample": re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)"),
}
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def parsed(text: str) -> Rows:
    """The samples of an exposition; AssertionError for what the text format 0.0.4 does not allow.

    Each family is one block: its HELP, its TYPE, then its samples and no others; no sample occurs twice; the buckets
    of a histogram go up and end with the count.
    """
    assert text.endswith("\n"), "the last line must end too"
    samples: Rows = {}
    seen: set[str] = set()
    family = kind = ""
    lines = iter(text[:-1].split("\n"))
    for line in lines:
        if match := _LINES["help"].fullmatch(line):
            family = match[1]
            assert family not in seen, f"{family} comes twice"
            seen.add(family)
            typed = _LINES["type"].fullmatch(next(lines))
            assert typed and typed[1] == family, line
            kind = typed[2]
            continue
        sample = _LINES["sample"].fullmatch(line)
        assert sample, line
        assert sample[1] in [family + suffix for suffix in _SUFFIXES[kind]], f"{line} in {family}"
        key = sample[1], tuple(re.findall(_LABEL, sample[2] or ""))
        assert key not in samples, line
        samples[key] = float(sample[sample.re.groups])
    _check_histograms(samples)
    return samples


def _check_histograms(samples: Rows) -> None:
    by_series: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, float]]] = {}
    for (name, labels), value in samples.items():
        if name.endswith("_bucket"):
            bound = float(dict(labels)["le"])
            rest = tuple(label for label in labels if label[0] != "le")
            by_series.setdefault((name.removesuffix("_bucket"), rest), []).append((bound, value))
    for (name, labels), buckets in by_series.items():
        assert buckets == sorted(buckets), (name, labels)
        assert [value for _, value in buckets] == sorted(value for _, value in buckets), (name, labels)
        assert buckets[-1] == (float("inf"), samples[f"{name}_count", labels]), (name, labels)
        assert (f"{name}_sum", labels) in samples, (name, labels)


def scrape(client: Client) -> Rows:
    """The samples of ``GET /metrics``."""
    answer = client.request("GET", "/metrics")
    assert answer.status == 200, answer
    return parsed(answer.body.decode())


def requests(samples: Rows) -> dict[tuple[str, ...], float]:
    """(method, route, status) -> how many."""
    name = "omp_http_requests_total"
    return {tuple(value for _, value in labels): v for (found, labels), v in samples.items() if found == name}


class Grammar(unittest.TestCase):
    def test_what_breaks_the_format_is_found(self) -> None:
        good = "# HELP a A.\n# TYPE a gauge\na 1\n"
        self.assertEqual(parsed(good), {("a", ()): 1.0})
        bad = {
            "no end": good[:-1],
            "no type": "# HELP a A.\na 1\n",
            "twice": good + good,
            "the same sample": good + "a 1\n",
            "a stranger": good + "b 1\n",
            "an open label": good.replace("a 1", 'a{x="} 1'),
            "a bare quote": good.replace("a 1", 'a{x="""} 1'),
        }
        for what, text in bad.items():
            with self.subTest(what), self.assertRaises((AssertionError, StopIteration)):
                parsed(text)

    def test_labels_are_escaped(self) -> None:
        value = 'a"b\\c\nd'
        text = "".join(exposition([Family("a", "gauge", "A\nB\\.", [Sample(1, (("x", value),))])]))
        ((_, labels),) = parsed(text)
        unescaped = re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), labels[0][1])
        self.assertEqual(unescaped, value)


class Counting(unittest.TestCase):
    def test_a_time_falls_into_the_bucket_whose_bound_it_reaches(self) -> None:
        metrics = Metrics()
        tally = metrics.begin()
        for seconds in (0.0, 0.0005, 0.00051, 10.0, 11.0):
            tally.count(("GET", "/a"), 200, seconds)
        samples = parsed(metrics.text())
        buckets = {
            dict(labels)["le"]: value
            for (name, labels), value in samples.items()
            if name == "omp_http_request_duration_seconds_bucket"
        }
        self.assertEqual([buckets["0.0005"], buckets["0.001"], buckets["10.0"], buckets["+Inf"]], [2, 3, 4, 5])
        self.assertEqual(len(buckets), len(BOUNDS) + 1)

    def test_nothing_is_lost_or_counted_twice_when_connections_end(self) -> None:
        metrics, rounds = Metrics(), 300
        ready = threading.Barrier(4)

        def connect() -> None:
            ready.wait()
            for _ in range(rounds):
                tally = metrics.begin()
                tally.count(("GET", "/a"), 200, 0.001)
                metrics.end(tally)

        threads = [threading.Thread(target=connect) for _ in range(3)]
        for thread in threads:
            thread.start()
        ready.wait()
        before = 0.0
        while any(thread.is_alive() for thread in threads):
            now = requests(parsed(metrics.text())).get(("GET", "/a", "200"), 0.0)
            self.assertGreaterEqual(now, before, "a counter never goes down")
            before = now
        for thread in threads:
            thread.join()
        self.assertEqual(requests(parsed(metrics.text())), {("GET", "/a", "200"): 3 * rounds})

    def test_counting_takes_no_lock(self) -> None:
        metrics = Metrics()
        tally = metrics.begin()
        with metrics._lock:  # it would wait here for ever
            tally.count(NO_ROUTE, 404, 0.1)
        self.assertEqual(requests(parsed(metrics.text())), {(*NO_ROUTE, "404"): 1})


class Served(unittest.TestCase):
    def test_requests_are_counted_by_route_and_status_whatever_the_path(self) -> None:
        with running_server() as server, Client(server.port) as client:
            made = client.request("POST", "/objects", {"namespace": "n", "content": {}}).json["id"]
            for path in (f"/objects/{made}", "/objects/nobody", "/objects/another", "/no/such", "/nor?this=1"):
                client.request("GET", path)
            client.request("HEAD", f"/objects/{made}")
            client.request("POST", "/objects", headers={"Content-Length": str(1 << 40)})
            refused = ("POST", "/objects", "413")  # it is counted a moment after it was answered
            eventually(lambda: refused in requests(parsed(server.http.metrics.text())))
            with Client(server.port) as other:  # the refusal above has closed the first connection
                samples = scrape(other)
        counted = requests(samples)
        self.assertEqual(
            counted,
            {
                ("POST", "/objects", "201"): 1,
                ("POST", "/objects", "413"): 1,
                ("GET", "/objects/{id}", "200"): 2,
                ("GET", "/objects/{id}", "404"): 2,
                (*NO_ROUTE, "404"): 2,
            },
        )
        self.assertEqual(samples["omp_store_rows", (("table", "objects"),)], 1)
        self.assertEqual(samples["omp_store_readable", ()], 1)

    def test_connections_and_streams_and_what_waits_are_gauges(self) -> None:
        with running_server() as server, Client(server.port) as client, Client(server.port) as idle:
            idle.request("GET", "/health")
            samples = scrape(client)
            self.assertEqual(samples["omp_connections", ()], 2)
            self.assertEqual(samples["omp_connections_total", ()], 2)
            self.assertEqual(samples["omp_connections_limit", ()], 512)
            for name in ("omp_streams", "omp_body_bytes", "omp_oplog_waiting_operations", "omp_oplog_waiting_bytes"):
                self.assertEqual(samples[name, ()], 0, name)
            server.http.shares.streams.take("")
            server.http.shares.body_bytes.take("", 7)
            samples = scrape(client)
            self.assertEqual((samples["omp_streams", ()], samples["omp_body_bytes", ()]), (1, 7))

    def test_who_is_turned_away_is_counted(self) -> None:
        with running_server(max_connections=1) as server:
            blocked, ready = threading.Event(), threading.Event()

            def slow(*_: object) -> Iterator[Family]:
                ready.set()
                blocked.wait(PATIENCE)
                return iter(())

            server.http.metrics.sources.append(slow)
            with Client(server.port) as client:
                waiting = threading.Thread(target=client.request, args=("GET", "/metrics"))
                waiting.start()
                ready.wait(PATIENCE)
                self.assertIn(b" 503 ", exchange(server.port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))
                server.http.metrics.sources.remove(slow)
                blocked.set()
                waiting.join()
                self.assertEqual(scrape(client)["omp_connections_refused_total", ()], 1)

    def test_it_is_for_the_operator_only(self) -> None:
        with running_server() as server, Client(server.port) as client:
            for fields in ({"X-Forwarded-For": "192.0.2.7"}, {"Origin": "https://evil.example"}, {"Via": "1.1 p"}):
                answer = client.request("GET", "/metrics", headers=fields)
                self.assertEqual((answer.status, answer.json["error"]["code"]), (403, "forbidden"))
            self.assertEqual(client.request("GET", "/metrics").headers["cache-control"], "no-store")
        with running_server({"OMP_ADMIN_TOKEN": "a-secret"}) as server, Client(server.port) as client:
            for value in (None, "Bearer another", "Bearer", "Basic a-secret"):
                answer = client.request("GET", "/metrics", headers={"Authorization": value} if value else {})
                self.assertEqual(answer.status, 403, value)
                self.assertNotIn(b"a-secret", answer.body)
            fields = {"Authorization": "Bearer a-secret", "X-Forwarded-For": "192.0.2.7"}
            answer = client.request("GET", "/metrics", headers=fields)
            self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
            parsed(answer.body.decode())

    def test_a_file_has_sizes_and_a_store_that_fails_is_no_reason_to_tell_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            storage = f"sqlite:{folder}/omp.db"
            with running_server(storage=storage) as server, Client(server.port) as client:
                client.request("POST", "/objects", {"namespace": "n", "content": {}})
                samples = scrape(client)
                self.assertEqual(samples["omp_store_rows", (("table", "objects"),)], 1)
                size = Path(folder, "omp.db-wal").stat().st_size
                self.assertEqual(samples["omp_store_file_bytes", (("file", "wal"),)], size)
                self.assertGreater(samples["omp_store_file_bytes", (("file", "data"),)], 0)
                numbers = StoreNumbers(server.parts.store)
                with mock.patch.object(server.parts.store, "read", side_effect=StoreUnavailable("gone")):
                    samples = parsed("".join(exposition(numbers())))
                self.assertEqual(samples["omp_store_readable", ()], 0)
                self.assertFalse([name for name, _ in samples if name == "omp_store_rows"])

    def test_rows_are_counted_once_a_minute_at_most(self) -> None:
        with running_server() as server:
            now = 100.0
            numbers = StoreNumbers(server.parts.store, lambda: now)
            with mock.patch.object(server.parts.store, "read", wraps=server.parts.store.read) as read:
                for moment, reads in ((100.0, 1), (159.0, 1), (160.0, 2)):
                    now = moment
                    list(numbers())
                    self.assertEqual(read.call_count, reads, moment)


class AccessLog(unittest.TestCase):
    LINE = re.compile(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\S+) (-|[A-Z]+ \S+) (\d{3}) (\d+) (\d+\.\d{3}) (-|[0-9a-f]{12})"
    )

    def lines(self, server: Running) -> list[tuple[str, ...]]:
        matches = [self.LINE.fullmatch(line) for line in server.log if not line.startswith("error")]
        self.assertTrue(all(matches), server.log)
        return [match.groups() for match in matches if match]

    def test_each_request_is_a_line_once_it_is_answered(self) -> None:
        starts = (b"GET /health", b"HEAD /health", b"GET /no?such=1")
        with running_server({"OMP_ACCESS_LOG": "1"}) as server:
            # On one connection, whose lines are in order: an answer may arrive before its line is written.
            asks = (b"%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % start for start in starts)
            told = exchange(server.port, b"".join(asks) + b"nonsense\r\n\r\n")
        size = int(re.findall(rb"Content-Length: (\d+)", told)[2])
        asked = [line[1:4] for line in self.lines(server)]
        self.assertEqual(asked[0], ("GET /health", "200", "15"))
        self.assertEqual(asked[1], ("HEAD /health", "200", "0"))
        self.assertEqual(asked[2], ("GET /no?such=1", "404", str(size)))
        self.assertEqual((asked[3][0], asked[3][1], self.lines(server)[3][-1]), ("-", "400", "-"))
        names = [line[-1] for line in self.lines(server)[:3]]
        self.assertEqual(len(set(names)), 3)

    def test_off_unless_it_is_asked_for(self) -> None:
        with running_server() as server, Client(server.port) as client:
            client.request("GET", "/health")
        self.assertEqual(server.log, [])

    def test_an_error_and_its_request_have_one_id(self) -> None:
        with (
            running_server({"OMP_ACCESS_LOG": "1"}) as server,
            Client(server.port) as client,
            mock.patch.object(server.parts.store, "check", side_effect=KeyError("a bug")),
        ):
            told = client.request("GET", "/health")
        self.assertEqual(told.status, 500)
        (line,) = self.lines(server)
        (error,) = [line for line in server.log if line.startswith("error")]
        self.assertEqual(error.split()[1], line[-1])
        self.assertIn(line[-1].encode(), told.body)

    def test_the_bytes_and_the_time_of_a_stream_are_those_of_all_of_it(self) -> None:
        def pieces() -> Iterator[bytes]:
            yield b"ab"
            time.sleep(0.02)
            yield b""  # still there: nothing is sent
            yield b"cde"

        with running_server({"OMP_ACCESS_LOG": "1"}) as server, Client(server.port) as client:
            answer = Response(200, stream=pieces())
            with mock.patch.object(server.http.application, "answer", return_value=answer):
                self.assertEqual(client.request("GET", "/health").body, b"abcde")
        (line,) = self.lines(server)
        self.assertEqual(line[3], "5")
        self.assertGreaterEqual(float(line[4]), 20)

    def test_the_line_can_be_split_again(self) -> None:
        line = access_line(0.0, "::1", "GET /a?b", 404, 0, 12.5, "-")
        self.assertEqual(line.split(), ["1970-01-01T00:00:00.000Z", "::1", "GET", "/a?b", "404", "0", "12500.000", "-"])
