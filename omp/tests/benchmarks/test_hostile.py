"""The hostile benchmark: it counts what is sent and what it costs, judges by the bounds, and sends what it says."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import math
import socket
import unittest
from collections.abc import Callable
from types import SimpleNamespace
from unittest import mock

from omp.protocols.oplog.core.operation import CLAIM, GRANT, REFUTATION, REVOCATION
from omp.protocols.oplog.core.outcomes import ACCEPTED
from omp.protocols.oplog.core.replica import Replica
from omp.rules.engines import best_engine
from omp.tests.benchmarks import gauges, hostile, hostile_oplog, hostile_system
from omp.tests.benchmarks.hostile import Measured, Row
from omp.tests.benchmarks.load import our_server
from omp.tests.benchmarks.report import Report
from omp.tests.harness import running_server


def _nothing(port: int) -> None:
    pass


def _row(send: Callable[[int], None] = _nothing, cpu: float | None = 1.0, mib: float | None = 10.0) -> Row:
    return Row("a row", send, cpu, mib, "")


class Judging(unittest.TestCase):
    """Bounds, verdicts and the exit status."""

    def status(self, measured: Measured, *, check: bool) -> int:
        """The exit status of a run in which this was measured."""
        arguments = argparse.Namespace(only=None, check=check, list=False)
        with (
            mock.patch.object(hostile, "gather", lambda: ([("hostile_x", measured.row)], [])),
            mock.patch.object(hostile, "measure", lambda rows, quick: iter([measured])),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            return hostile.run(arguments, Report())

    def test_the_greater_excess_counts(self) -> None:
        self.assertEqual(Measured(_row(), 1, 0.5, 20.0, 0.0).excess, 2.0)
        self.assertEqual(Measured(_row(), 1, 4.0, 20.0, 0.0).excess, 4.0)

    def test_what_has_no_bound_is_not_judged(self) -> None:
        self.assertEqual(Measured(_row(cpu=None, mib=None), 1, 99.0, 999.0, 9.0).excess, 0.0)

    def test_a_fault_is_beyond_every_bound(self) -> None:
        self.assertEqual(Measured(_row(), 1, 0.0, 0.0, 0.0, ("the server died",)).excess, math.inf)

    def test_cost_beside_the_bytes_sent(self) -> None:
        measured = Measured(_row(), 2_000_000, 1.0, 4_000_000 / gauges.MIB, 0.0)
        self.assertEqual((measured.cpu_a_mb, measured.memory_a_byte), (0.5, 2.0))

    def test_only_check_fails_and_only_far_beyond_a_bound(self) -> None:
        within, over, beyond = (Measured(_row(), 1, cpu, 0.0, 0.0) for cpu in (1.0, 2.9, 3.1))
        self.assertEqual([self.status(one, check=True) for one in (within, over, beyond)], [0, 0, 1])
        self.assertEqual(self.status(beyond, check=False), 0)


class Measuring(unittest.TestCase):
    """One row, on a server in a process of its own."""

    def measured(self, send: Callable[[int], None]) -> Measured:
        (one,) = hostile.measure([_row(send)])
        return one

    def test_counts_the_bytes_of_the_row_and_no_others(self) -> None:
        def send(port: int) -> None:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"x" * 1000)
                connection.send(b"y")

        self.assertEqual(self.measured(send).sent, 1001)

    def test_counts_what_a_http_client_sends(self) -> None:
        with running_server() as server, gauges.counted_bytes() as sent:
            client = http.client.HTTPConnection("127.0.0.1", server.port)
            client.request("POST", "/objects", b"x" * 5000)
            client.getresponse().read()
            client.close()
        self.assertGreater(sum(sent), 5000)

    def test_sees_the_memory_of_a_large_body(self) -> None:
        body = json.dumps({"namespace": "n", "content": {"x": "y" * 4_000_000}}).encode()
        measured = self.measured(lambda port: self.assertEqual(hostile.post(port, "/objects", body), 201))
        self.assertEqual(measured.faults, ())
        self.assertGreater(measured.peak, 3)

    def test_a_server_that_hangs_up_has_defended_itself(self) -> None:
        self.assertEqual(self.measured(mock.Mock(side_effect=ConnectionResetError)).faults, ())

    def test_any_other_exception_is_a_fault_of_the_row(self) -> None:
        (fault,) = self.measured(mock.Mock(side_effect=ValueError("wrong"))).faults
        self.assertIn("wrong", fault)

    def test_a_server_that_died_is_a_fault(self) -> None:
        with gauges.serving({}) as watched:
            watched.server.process.kill()
            watched.server.process.wait()
            self.assertEqual(watched.faults(), ["the server died"])
            self.assertFalse(watched.fresh())

    def test_a_system_without_proc_tells_at_the_end(self) -> None:
        with our_server(pin=False) as server:
            gauge = gauges.UsageGauge(server)
            gauge.begin()
            hostile.post(server.port, "/objects", b'{"namespace":"n","content":{"x":"%s"}}' % (b"y" * 4_000_000))
            self.assertFalse(gauge.fresh())
            cpu, peak = gauge.end()
        self.assertGreaterEqual(cpu, 0)
        self.assertGreaterEqual(peak, 0)

    def test_delivers_and_reads_the_status(self) -> None:
        with running_server() as server:
            self.assertEqual(hostile.post(server.port, "/objects", b'{"namespace":"n","content":{}}'), 201)
            self.assertEqual(hostile.post(server.port, "/nothing", b"{}"), 404)


class Rows(unittest.TestCase):
    """What is gathered and what it sends."""

    def test_every_module_is_gathered_and_every_row_has_a_name_of_its_own(self) -> None:
        rows, failures = hostile.gather()
        self.assertEqual(failures, [])
        names = [row.name for _, row in rows]
        self.assertEqual(len(names), len(set(names)))
        self.assertLessEqual({"hostile_oplog", "hostile_system"}, {module for module, _ in rows})

    def test_what_looks_like_a_row_is_taken_for_one(self) -> None:
        other = SimpleNamespace(name="n", send=_nothing, bound_cpu=1.0, bound_mib=None, before="")
        self.assertEqual(hostile._row(other), Row("n", _nothing, 1.0, None, ""))

    def test_a_quick_run_takes_one_row_of_each_module_in_turn_and_groups_last(self) -> None:
        rows = [(module, Row(name, _nothing, 1.0, None, "", group=group)) for module, name, group in (
            ("a", "a1", ""), ("a", "a2", ""), ("b", "b1", "g"), ("b", "b2", "h"), ("c", "c1", ""))]  # fmt: skip
        self.assertEqual([row.name for row in hostile._in_turn(rows)], ["a1", "c1", "a2", "b1", "b2"])

    def test_bounds_are_positive(self) -> None:
        for _, row in hostile.gather()[0]:
            for bound in (row.bound_cpu, row.bound_mib):
                self.assertTrue(bound is None or bound > 0, row.name)

    def test_the_sweep_has_rows_for_every_documented_route(self) -> None:
        with running_server() as server:
            served = {
                f"{route.method} {route.path}" for mount in server.parts.application.mounts for route in mount.routes
            }
        self.assertLessEqual(served, {row.group for row in hostile_system.ROWS})

    def test_the_values_of_the_sweep_are_json_of_about_the_size(self) -> None:
        for name, value in hostile_system.VALUES.items():
            with self.subTest(name):
                text = value(600)
                json.loads(text)
                self.assertTrue(400 <= len(text) <= 700, len(text))

    def test_the_operations_of_the_log_are_accepted(self) -> None:
        root, device = hostile_oplog._Key(1), hostile_oplog._Key(2)
        made = hostile_oplog._Made
        granted = made(root, root.log, GRANT, hostile_oplog._grant(device))
        claim = made(device, root.log, CLAIM, hostile_oplog._claim("x"), None, [granted])
        refuted = made(root, root.log, REFUTATION, hostile_oplog._about(claim), granted, [claim])
        revoked = made(root, root.log, REVOCATION, hostile_oplog._about(granted), refuted)
        replica, engine = Replica(root.log), best_engine()
        statuses = [replica.add(one.raw, engine).status for one in (granted, claim, refuted, revoked)]
        self.assertEqual(statuses, [ACCEPTED] * 4)


if __name__ == "__main__":
    unittest.main()
