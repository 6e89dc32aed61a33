"""The views of objects, of a vault and of a profile, and the key to read with in mode strict."""

from __future__ import annotations

import json
import unittest
from collections import Counter
from typing import ClassVar
from urllib.parse import quote

from omp.explore.demo import Visitor, diary, seed
from omp.explore.demo.household import REPOSITORY, keys_of, log_in
from omp.rules import ed25519
from omp.rules.encodings import b64_decode, b64u_encode
from omp.tests.explore.explorer import ExplorerInABrowser, thorough
from omp.tests.harness import Client

SEED = bytes(range(32))


@thorough
class Objects(ExplorerInABrowser):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.enterContext(Client(self.server.port))

    def id_of(self, key: str) -> str:
        """The id of an object of the demo."""
        items = self.client.request("GET", f"/objects/search?key_contains={key}").json["items"]
        return str(items[0]["id"])

    def test_list_is_narrowed_by_namespace_and_key(self) -> None:
        self.show("objects", namespace="tickets")
        self.wait_for_text("caption", "3 objects")
        self.fill("objects-key", "tram")
        self.wait_for_text("caption", "1 object")
        self.assertRegex(self.text("tbody"), r"1 hour (2\d|30) minutes")

    def test_what_is_stored_and_deleted_is_followed(self) -> None:
        self.show("objects", namespace="passing")
        self.wait_for_text("caption", "0 objects")
        made = self.client.request("POST", "/objects", {"namespace": "passing", "key": "by", "content": {}}).json
        self.wait_for_text("caption", "1 object")
        self.client.request("DELETE", f"/objects/{made['id']}")
        self.wait_for_text("caption", "0 objects")

    def test_more_than_a_page(self) -> None:
        for number in range(101):
            self.client.request("POST", "/objects", {"namespace": "crowd", "key": f"{number}", "content": {}})
        self.show("objects", namespace="crowd")
        self.wait_for_text("caption", "The first 100 objects")
        self.browser.evaluate("[...document.querySelectorAll('button')].at(-1).click()")
        self.wait_for_text("caption", "101 objects")

    def test_namespaces_are_counted_and_lead_to_their_objects(self) -> None:
        self.show("objects")
        items = self.client.request("GET", "/objects?limit=1000").json["items"]
        names = Counter(item["namespace"] for item in items)
        self.wait_for_text(".page section", f"{len(names)} namespaces among {len(items)} objects")
        self.assertIn(f"tickets {names['tickets']}", self.text(".page section"))
        self.browser.evaluate("[...document.querySelectorAll('.counts a')].find((a) => a.text === 'tickets').click()")
        self.wait_for_text("caption", f"{names['tickets']} objects")

    def test_numbers_and_names_keep_their_form(self) -> None:
        content = {"10": 1, "2": 12345678901234567890, "empty": {}, "none": [], "text": 'a "b": {c, [d]}\\'}
        body = {"namespace": "numbers", "key": "large", "content": content}
        made = self.client.request("POST", "/objects", body).json["id"]
        self.addCleanup(self.client.request, "DELETE", f"/objects/{made}")
        self.show("object", made)
        lines = self.text("pre").split('"content": ')[1].splitlines()
        self.assertEqual(
            [line.strip() for line in lines[1:6]],
            ['"10": 1,', '"2": 12345678901234567890,', '"empty": {},', '"none": [],', r'"text": "a \"b\": {c, [d]}\\"'],
        )

    def test_an_object_with_its_etag_and_time_left(self) -> None:
        one = self.id_of("tram")
        etag = self.client.request("GET", f"/objects/{one}").headers["etag"]
        self.show("object", one)
        self.assertIn(etag, self.text(".facts"))
        self.assertIn('"code": "7F3-K2"', self.text("pre"))
        self.assertRegex(self.text(".facts"), r"1 hour (2\d|30) minutes")

    def test_what_can_be_read_once_is_not_read_unasked(self) -> None:
        one = self.id_of("door-code")
        self.show("object", one)
        self.assertIn("read once", self.text("h1"))
        self.assertEqual(self.client.request("HEAD", f"/objects/{one}").status, 200)
        self.click(".page button")
        self.wait_for_text("pre", "4711")
        self.assertEqual(self.client.request("HEAD", f"/objects/{one}").status, 404)

    def test_one_that_is_not_there_is_said_so(self) -> None:
        self.show("object", "00000000-0000-7000-8000-000000000000")
        self.wait_for_text("[role=alert]", "This cannot be shown")


@thorough
class Vault(ExplorerInABrowser):
    def enter(self, name: str) -> None:
        """Sign in with a key that the demo offers."""
        self.show("vault")
        self.browser.evaluate(
            f"[...document.querySelectorAll('button')].find((one) => one.textContent === 'Enter as {name}').click()"
        )
        self.wait_for_text("table", "(you)")

    def test_a_member_sees_the_ciphertext_and_what_its_key_opens(self) -> None:
        self.enter("Ben")
        seen = self.browser.evaluate("[...document.querySelectorAll('pre')].map((one) => one.textContent)")
        self.assertEqual(seen[-1], "bread, oats, candles")
        self.assertNotIn("candles", "".join(seen[:-1]))
        self.assertIn("2 members", self.text("caption"))
        self.assertEqual(self.text(".page").count("signed: checked here"), 2)

    def test_a_key_file_is_read_in_the_page_and_kept_nowhere(self) -> None:
        self.show("vault")
        text = json.dumps(json.dumps(keys_of("Ann")))
        self.browser.evaluate(
            f"""(() => {{
              const files = new DataTransfer();
              files.items.add(new File([{text}], 'ann.key'));
              document.getElementById('vault-key').files = files.files;
              document.getElementById('vault-repository').value = '{REPOSITORY}';
              document.querySelector('form button').click();
            }})()"""
        )
        self.wait_for_text("table", "Ann (you)")
        self.assertEqual(
            self.browser.evaluate("[localStorage.length, sessionStorage.length, document.cookie, location.hash]"),
            [0, 0, "", "#/vault"],
        )

    def test_who_is_no_member_is_told(self) -> None:
        self.show("vault")
        self.browser.evaluate("document.querySelectorAll('form .buttons button')[1].click()")
        self.wait_for_text("table", "(you)")
        self.browser.evaluate(
            """(() => {
          const files = new DataTransfer();
          files.items.add(new File(['%s'], 'key'));
          document.getElementById('vault-key').files = files.files;
          document.querySelector('form button').click();
        })()"""
            % ("07" * 32)
        )
        self.wait_for_text("[role=status]", "Not opened")
        self.assertEqual(self.count("table"), 0)

    def test_what_changes_is_told(self) -> None:
        self.enter("Ann")
        visitor = Visitor(self.server.parts.application)
        token = log_in(visitor, "Ben")
        path = f"/v1/repos/{REPOSITORY}"
        now = visitor.ask("POST", f"{path}/pull", {"repoId": REPOSITORY, "knownPayloadVersion": -1}, token)
        version = now["manifest"]["payloadVersion"]
        envelope = {**now["envelope"], "payloadVersion": version + 1}
        visitor.ask(
            "POST", f"{path}/push",
            {"repoId": REPOSITORY, "envelope": envelope, "expectedPayloadVersion": version}, token,
        )  # fmt: skip
        self.wait_for_text("[aria-live] > ul", f"Version {version + 1} was written.")
        # The ciphertext is bound to its version: under another one it does not open.
        self.wait_for_text(".page", "could not open it")


@thorough
class Profile(ExplorerInABrowser):
    def test_overrides_stand_beside_defaults(self) -> None:
        self.show("profile", self.guide["profile"])
        rows = self.browser.evaluate(
            "[...document.querySelectorAll('tbody tr')].map((row) => [...row.cells].map((one) => one.textContent))"
        )
        self.assertEqual(rows[0], ["model", "Gemini-2.5-Flash", "Kimi-K2", "Kimi-K2", "by the owner"])
        self.assertEqual(rows[2], ["max_tokens", "4096", "", "4096", "by the owner"])
        self.assertIn("no small talk", self.text("pre"))

    def test_messages_stand_in_their_conversations_in_order(self) -> None:
        self.show("profile", self.guide["profile"])
        runs = self.browser.evaluate("[...document.querySelectorAll('.run h3')].map((one) => one.textContent)")
        self.assertEqual(runs, ["present", "monday"])
        said = self.browser.evaluate("[...document.querySelectorAll('.run:last-child li')].map((one) => one.className)")
        self.assertEqual(said, ["by-human", "by-tool", "by-ai"])

    def test_something_that_is_no_address_is_refused(self) -> None:
        self.show("profile", "ann")
        self.wait_for_text("[role=alert]", "address")


@thorough
class Strict(ExplorerInABrowser):
    """A server that shows objects only to whom it knows."""

    environ: ClassVar[dict[str, str]] = {
        "OMP_SIG_MODE": "strict",
        "OMP_LOGS_OPEN": "1",
        "OMP_SIG_PUB_reader": b64u_encode(ed25519.public_key_slowly(SEED)),
    }

    def test_nothing_is_shown_without_a_key_and_all_with_it(self) -> None:
        self.show("objects")
        self.wait_for_text("[role=alert]", "enter a key")
        self.go("#/key")
        self.wait_for_text("h1", "The key that you read with")
        self.fill("key-seed", SEED.hex())
        self.fill("key-name", "reader")
        self.click("form button")
        self.wait_for_text("[role=status]", "Requests are signed as reader")
        self.assertEqual(self.browser.evaluate("document.getElementById('key-seed').value"), "")
        self.go("#/objects?namespace=a%20b")
        self.wait_for_text("caption", "0 objects")
        made = "import('/explore/ask.js').then(({askJson}) => askJson('/objects', {method: 'POST', body: %s}))"
        one = self.browser.evaluate(made % json.dumps({"namespace": "a b", "key": "k", "content": {"n": 1}}))
        self.wait_for_text("caption", "1 object")
        self.go(f"#/object/{one['id']}")  # asked with HEAD first
        self.wait_for_text("pre", '"n": 1')
        kept = "[localStorage.length, sessionStorage.length, document.cookie]"
        self.assertEqual(self.browser.evaluate(kept), [0, 0, ""])
        self.assertEqual([url for url in self.browser.requested if SEED.hex() in url], [])

    def test_a_log_is_shown_to_its_root(self) -> None:
        ann = diary.told()
        path = f"/logs/{quote(ann.log)}/operations"
        body = b"\n".join(one.raw for one in diary.known_to([ann.laptop]))
        with Client(self.server.port) as client:
            sent = client.request("POST", path, body=body, headers={"Content-Type": diary.NDJSON})
            self.assertEqual((sent.status, sent.json["rejected"]), (200, 0))
        self.show("key")
        self.fill("key-seed", seed("Ann's paper key").hex())
        self.click("form button")
        self.wait_for_text("[role=status]", "Requests are signed as omp:key:")
        self.go("#/logs")
        self.wait_for_text(".cards", "operations")
        self.click(".cards a")
        self.wait_for_text(".agreement", "checked here")
        before = int(self.text(".counts").partition(" ")[0])
        ann.laptop.claims("note.late", "seen at once", by="user:typed")
        with Client(self.server.port) as client:
            client.request("POST", path, body=list(ann.laptop.known.values())[-1].raw)
        self.wait_for_text(".counts", f"{before + 1} of {before + 1} operations")

    def test_the_key_of_the_household_is_no_reader(self) -> None:
        self.show("key")
        self.fill("key-seed", b64_decode(keys_of("Ann")["ed25519Seed"]).hex())
        self.click("form button")
        self.wait_for_text("[role=status]", "Requests are signed as omp:key:")
        self.go("#/objects")
        self.wait_for_text("[role=alert]", "enter a key")


if __name__ == "__main__":
    unittest.main()
