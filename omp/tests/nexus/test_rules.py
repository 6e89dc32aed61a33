"""The pure rules of NEXUS beside their vectors: commands, instants, payloads."""

from __future__ import annotations

import doctest
import unittest

from omp.protocols.nexus import signatures
from omp.protocols.nexus.commands import commands, signature_required_commands
from omp.protocols.nexus.messages import date_time, instant
from omp.protocols.nexus.routes import ROUTES
from omp.protocols.nexus.signatures import FORMS, NotAuthenticated, bearer, payload
from omp.rules.json_text import parse_exact

ALICE, BOB = "0x" + "a" * 40, "0x" + "b" * 40


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite, pattern: str | None) -> unittest.TestSuite:
    """The examples in the text are tests too."""
    tests.addTests(doctest.DocTestSuite(signatures))
    return tests


class Commands(unittest.TestCase):
    """§II.1."""

    def test_every_command_has_every_member(self) -> None:
        listed = commands("/api/v1")
        self.assertLessEqual({"config", "prompt", "identity", "help"}, {command["name"] for command in listed})
        routes = {(route.method, route.path) for route in ROUTES}
        for command in listed:
            rest = command["restOptions"]
            self.assertIn((rest["method"], rest["getEndpoint"]), routes)
            self.assertIn(("POST", rest["postEndpoint"]), routes | {("POST", None)})
            self.assertEqual(list(command), ["name", "description", "usage", "handler", "requiresGUI", "restOptions"])
            self.assertEqual(list(command["restOptions"]), ["getEndpoint", "postEndpoint", "method"])

    def test_what_writes_must_be_signed(self) -> None:
        self.assertLessEqual({"identity", "config", "prompt"}, set(signature_required_commands()))
        self.assertNotIn("help", signature_required_commands())


class Messages(unittest.TestCase):
    """Instants."""

    def test_instants_compare_whatever_the_offset(self) -> None:
        same = ("2025-10-20T10:30:00Z", "2025-10-20t12:30:00.000+02:00", "2025-10-20 05:30:00.000000-05:00")
        self.assertEqual(len({instant(text) for text in same}), 1)
        self.assertLess(instant("2025-10-20T10:30:00.000001Z") - instant(same[0]), 2)
        self.assertLess(instant("0001-01-01T00:00:00Z"), instant("9999-12-31T23:59:59.999999Z"))

    def test_what_is_no_instant_is_refused(self) -> None:
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


class Payloads(unittest.TestCase):
    """What is signed, in the words of the protocol."""

    def test_numbers_count_as_they_are_written(self) -> None:
        body = parse_exact(b'{"b":[1e-7,1e-07,-0,1.50,100000000000000000000],"auth":{"signature":"0x"}, "a":1E5}')
        self.assertEqual(payload(body, FORMS[0]), b'{"a":1E5,"b":[1e-7,1e-07,-0,1.50,100000000000000000000]}')
        self.assertEqual(
            payload(body, FORMS[-1]),
            b'{"a": 1E5, "auth": {"signature": ""}, "b": [1e-7, 1e-07, -0, 1.50, 100000000000000000000]}',
        )

    def test_a_bearer_is_an_address_whatever_its_case(self) -> None:
        for field in (f"Bearer {ALICE}", f"bearer {ALICE}", "BEARER  0x" + "A" * 40):
            self.assertEqual(bearer(field), ALICE)
        for field in ("", "Bearer", "Bearer ", ALICE, f"Basic {ALICE}", f"Bearer {ALICE}, {BOB}", f"Bearer {ALICE}0"):
            with self.assertRaises(NotAuthenticated):
                bearer(field)


if __name__ == "__main__":
    unittest.main()
