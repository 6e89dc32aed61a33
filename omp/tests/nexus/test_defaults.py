"""The file that holds the defaults of NEXUS (§4.4)."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omp.protocols.nexus.defaults import BUILT_IN
from omp.tests.harness import Client, Running, running_server
from omp.tests.nexus.owner import Owner
from omp.web.settings import SettingError

ALICE = Owner(0xA11CE)


class DefaultsFile(unittest.TestCase):
    """``--nexus-defaults FILE``."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "defaults.json")
        self.template: Any = json.loads(json.dumps(BUILT_IN))

    def write(self, text: str = "") -> None:
        """Write the template, or `text`, as an editor does: a new file in the place of the old one."""
        beside = self.path.with_suffix(".new")
        beside.write_text(text or json.dumps(self.template))
        os.replace(beside, self.path)

    @contextlib.contextmanager
    def serving(self) -> Iterator[tuple[Running, Client]]:
        """A server with that file."""
        with running_server({"OMP_NEXUS_DEFAULTS": str(self.path)}) as running, Client(running.port) as client:
            yield running, client

    def test_a_model_added_to_the_file_is_offered_and_accepted_at_once(self) -> None:
        self.write()
        with self.serving() as (_, client):
            self.assertEqual(ALICE.post(client, "/config", {"overrides": {"model": "a"}}).status, 422)
            before = ALICE.get(client, "/config")
            self.template["llm"]["catalog"]["new"] = {"aliases": ["A", "Zz"]}
            self.template["user_defaults"]["config"]["temperature"] = 0.4
            self.write()
            after = ALICE.get(client, "/config")
            self.assertEqual(
                after.json["field_options"]["config.model"]["options"],
                ["A", "DeepSeek-Chat", "Gemini-2.5-Flash", "Kimi-K2", "Zz"],
            )
            self.assertEqual(after.json["effective_config"]["temperature"], 0.4)
            self.assertNotEqual(after.headers["etag"], before.headers["etag"])
            self.assertEqual(ALICE.post(client, "/config", {"overrides": {"model": "a"}}).status, 200)
            self.assertEqual(ALICE.get(client, "/config").json["effective_config"]["model"], "A")

    def test_a_file_that_goes_bad_is_logged_once_and_the_last_good_one_counts(self) -> None:
        self.write()
        with self.serving() as (running, client):
            good = ALICE.get(client, "/config").body
            for text in ("{", "[]"):
                running.log.clear()
                self.write(text)
                self.assertEqual({ALICE.get(client, "/config").body for _ in range(3)}, {good})
                self.assertEqual(len(running.log), 1, running.log)
                self.assertIn("the defaults read before still count", running.log[0])
            self.path.unlink()
            self.assertEqual(ALICE.get(client, "/config").body, good)
            self.template["user_defaults"]["config"]["temperature"] = 0.4
            self.write()
            self.assertEqual(ALICE.get(client, "/config").json["effective_config"]["temperature"], 0.4)

    def test_a_bad_file_at_the_start_stops_the_start(self) -> None:
        for text, words in (
            (None, "No such file"),
            ("{", "not JSON"),
            ("[]", "the template must be an object"),
            ('{"llm":{"catalog":{}},"ui":{"editable_fields":[]}}', "user_defaults is required"),
        ):
            if text is not None:
                self.write(text)
            with self.assertRaises(SettingError) as caught, self.serving():
                self.fail("it started")
            self.assertIn("--nexus-defaults (OMP_NEXUS_DEFAULTS)", str(caught.exception))
            self.assertIn(words, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
