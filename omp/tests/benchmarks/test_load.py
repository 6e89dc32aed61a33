"""The load generator: it counts what was answered, checks each answer, and starts and stops its servers."""

from __future__ import annotations

import argparse
import itertools
import json
import unittest

from omp.tests.benchmarks import load
from omp.tests.benchmarks.load import BenchmarkFailed, Plan, Result, http_request
from omp.tests.harness import running_server

HEALTH = http_request("GET", "/health")


class Driving(unittest.TestCase):
    """Load on a server in this process."""

    port: int

    def setUp(self) -> None:
        self.port = self.enterContext(running_server()).port

    def test_counts_every_answer_and_its_latency(self) -> None:
        result = load.drive(self.port, [[HEALTH] * 10, [HEALTH] * 5], seconds=60, warm_up=0)
        self.assertEqual((result.requests, len(result.latencies)), (15, 15))
        self.assertLessEqual(max(result.latencies), result.seconds)

    def test_ends_when_the_time_is_up(self) -> None:
        for seconds in (0.1, 1, 10):  # on a busy machine the longer ones too
            result = load.drive(self.port, load.repeat([HEALTH], 2), seconds=seconds, warm_up=0)
            if result.requests > 2:
                break
        self.assertGreater(result.requests, 2)

    def test_another_status_than_expected_ends_the_run(self) -> None:
        with self.assertRaisesRegex(BenchmarkFailed, "404"):
            load.drive(self.port, [[http_request("GET", "/nothing")]], seconds=1, warm_up=0)

    def test_bodies_come_in_the_order_of_the_requests(self) -> None:
        bodies = [json.dumps({"namespace": "n", "key": f"k{i}", "content": {}}).encode() for i in range(50)]
        requests = [http_request("POST", "/objects", body) for body in bodies]
        _, answers = load.send_all(self.port, requests, expected=201, connections=7)
        self.assertEqual([json.loads(answer)["key"] for answer in answers], [f"k{i}" for i in range(50)])

    def test_reads_an_answer_that_comes_in_many_pieces(self) -> None:
        content = {"text": "x" * 1_000_000}
        body = json.dumps({"namespace": "n", "content": content}).encode()
        with load.Connection(self.port) as connection:
            made = json.loads(connection.request("POST", "/objects", body).body)
        _, (fetched,) = load.send_all(self.port, [http_request("GET", f"/objects/{made['id']}")])
        self.assertEqual(json.loads(fetched)["content"], content)

    def test_a_prepared_request_that_is_refused_ends_the_run(self) -> None:
        with load.Connection(self.port) as connection, self.assertRaisesRegex(BenchmarkFailed, "GET /nothing .* 404"):
            connection.request("GET", "/nothing")


class Processes(unittest.TestCase):
    """Servers in processes of their own."""

    def test_the_stock_server_does_the_same_job(self) -> None:
        body = json.dumps({"namespace": "n", "key": "k", "content": {"a": 1}}).encode()
        with load.stock_server(pin=False) as server, load.Connection(server.port) as connection:
            made = json.loads(connection.request("POST", "/objects", body).body)
            fetched = json.loads(connection.request("GET", f"/objects/{made['id']}").body)
        self.assertEqual(fetched, {**made, "content": {"a": 1}})
        self.assertEqual((made["namespace"], made["key"]), ("n", "k"))

    def test_the_ceiling_answers_with_an_object(self) -> None:
        with load.ceiling_server(pin=False) as server, load.Connection(server.port) as connection:
            self.assertEqual(connection.exchange(HEALTH).status, 200)
            answer = connection.exchange(http_request("POST", "/objects", b"{}"))
        self.assertEqual((answer.status, json.loads(answer.body)["namespace"]), (201, "bench"))

    def test_our_server_takes_flags_and_is_stopped_at_the_end(self) -> None:
        with load.our_server("--sig-mode", "strict", pin=False) as server:
            result = load.drive(server.port, [[http_request("GET", "/objects")]], 1, expected=401, warm_up=0)
            self.assertEqual(result.requests, 1)
            self.assertGreater(server.startup, 0)
        self.assertEqual(server.process.returncode, 0)


class Figures(unittest.TestCase):
    """What is computed and printed."""

    def test_percentiles_are_of_the_sorted_latencies(self) -> None:
        result = Result(100, 2.0, [float(i) for i in range(100)])
        self.assertEqual((result.rate, result.p50, result.p99), (50.0, 50.0, 99.0))

    def test_ratio_is_the_median_of_the_rounds(self) -> None:
        ours = [Result(count, 1.0) for count in (10, 30, 100)]
        theirs = [Result(count, 1.0) for count in (10, 10, 10)]
        self.assertEqual(load.ratio(ours, theirs), 3.0)

    def test_contestants_take_turns(self) -> None:
        order: list[str] = []

        def contestant(name: str) -> Result:
            order.append(name)
            return Result(1, 1.0)

        load.interleave({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, rounds=2)
        self.assertEqual(order, ["a", "b", "a", "b"])

    def test_each_connection_begins_at_another_request_and_goes_round(self) -> None:
        lanes = load.repeat([b"a", b"b", b"c", b"d"], connections=2)
        first = [b"".join(itertools.islice(lane, 5)) for lane in lanes]
        self.assertEqual(first, [b"abcda", b"cdabc"])

    def test_a_missed_goal_is_shown_as_missed(self) -> None:
        line = load.goal("size", 200, at_most=150, unit=" MB")
        self.assertEqual(line, "MISSED   size: 200.00 MB (goal: at most 150 MB)")

    def test_the_table_shows_rates_latencies_and_memory(self) -> None:
        table = load.table({"POST ours": [Result(2000, 1.0, [0.001, 0.002])]}, {"POST ours": 40.0})
        self.assertRegex(table, r"POST ours +2,000 +2\.000 +2\.000 +40\.0")

    def test_a_quick_plan_is_shorter(self) -> None:
        quick = Plan.of(argparse.Namespace(quick=True, no_pin=True))
        self.assertLess(quick.rounds * quick.seconds, Plan().rounds * Plan().seconds)


if __name__ == "__main__":
    unittest.main()
