"""What strangers store is shown as text: hostile names in every field, and a walk through all views."""

from __future__ import annotations

import json
import unittest
from typing import Any, ClassVar
from urllib.parse import quote

from omp.explore.demo import Visitor, belongings
from omp.explore.demo.diary import NDJSON, Ann
from omp.explore.demo.household import keys_of, log_in
from omp.protocols.oplog.core.operation import CORRECTION, REFUTATION, REVOCATION
from omp.tests.explore.explorer import ExplorerInABrowser, thorough
from omp.tests.harness import Client
from omp.tests.mrs.parties import claim

MARKUP = (
    "\"'><img src=x onerror=window.hacked=1><svg onload=window.hacked=2><script>window.hacked=3</script>"
    "</pre><a href=javascript:1>x"
)
IN_A_PATH = "https://places.example/\"'><img/src=x/onerror=window.hacked=4><svg/onload=window.hacked=5>"
SEEN = """[...document.querySelectorAll('main *, title')].filter((one) =>
  one.matches('img, script, iframe, object, embed, [onerror], [onload], [style], a[href^="javascript"]'))
  .map((one) => one.outerHTML)"""
"""What must not be there."""


class Stored:
    """Hostile text wherever it is taken."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.log, self.claim = self._log()
        self.object = self._objects()
        self._places()
        self._vault()
        self.owner = self._profile()

    def _log(self) -> tuple[str, str]:
        ann = Ann()
        ann.laptop.name = MARKUP
        grant = ann.paper.grants(ann.laptop, "author infer read", "*")
        ann.day(1, ann.paper, ann.laptop)
        evidence = ann.paper.saw(MARKUP, "note:text")
        first = ann.paper.claims("note.hostile", {"a": MARKUP, "b": [MARKUP]}, evidence, by=MARKUP)
        second = ann.paper.claims("note.hostile", MARKUP, first, by=MARKUP)
        ann.paper.asks(MARKUP, second, grant=None)
        ann.paper.write(CORRECTION, target=first, replacement=None, reason=MARKUP)
        ann.paper.write(REFUTATION, target=evidence, reason=MARKUP)
        ann.paper.write(REVOCATION, target=grant, reason=MARKUP)
        path = f"/logs/{quote(ann.log)}/operations"
        for operation in ann.paper.known.values():
            self.visitor.ask("POST", path, operation.raw)
        return ann.log, second

    def _objects(self) -> str:
        body = {"namespace": MARKUP, "key": MARKUP, "content": {MARKUP: MARKUP}, "metadata": {MARKUP: MARKUP}}
        return str(self.visitor.ask("POST", "/objects", body)["id"])

    def _places(self) -> None:
        account = {"username": "mallory", "password": MARKUP}
        token = self.visitor.ask("POST", "/auth/register", account)["token"]
        self.visitor.ask("POST", "/register", claim(1, 1, 100, IN_A_PATH), token)
        peer = {"action": "add", "server_url": "http://127.0.0.1:9", "hint": MARKUP}
        self.visitor.ask("POST", "/admin/peers", peer)

    def _vault(self) -> None:
        token = log_in(self.visitor, "Ann")
        member = {
            "ed25519PublicKey": self.member_id(),
            "x25519PublicKey": MARKUP,
            "keyBindingSig": MARKUP,
            "keyEpoch": 0,
        }
        wrap = dict.fromkeys(("schemeId", "ephemeralPublicKey", "iv", "ciphertext"), MARKUP)
        manifest = {
            "repoId": MARKUP, "schemeId": MARKUP, "keyEpoch": 0, "payloadVersion": 1,
            "members": [{**member, "wrappedDataKey": wrap}],
        }  # fmt: skip
        envelope = {"repoId": MARKUP, "payloadVersion": 1, "keyEpoch": 0, "iv": MARKUP, "ciphertext": MARKUP}
        self.visitor.ask("POST", "/v1/repos", {"manifest": manifest, "initialEnvelope": envelope}, token)

    @staticmethod
    def member_id() -> str:
        """The id of the vault's only member."""
        from omp.rules import ed25519
        from omp.rules.encodings import b64_decode, b64_encode

        return b64_encode(ed25519.public_key_slowly(b64_decode(keys_of("Ann")["ed25519Seed"])))

    def _profile(self) -> str:
        owner = belongings.Owner(self.visitor, "mallory")
        owner.post("/api/v1/prompts", {"overrides": {"friends_profile": MARKUP}})
        contents: tuple[Any, ...] = (MARKUP, {MARKUP: MARKUP})
        messages = [{"run_id": MARKUP, "role": "tool", "content": content} for content in contents]
        owner.post("/api/v1/messages", {"messages": messages})
        return owner.address


@thorough
class Hostile(ExplorerInABrowser):
    environ: ClassVar[dict[str, str]] = {}
    stored: ClassVar[Stored]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.stored = Stored(Visitor(cls.server.parts.application))

    def assert_only_text(self, *, markup: bool = True) -> None:
        """Nothing of what was stored has become an element, and (with `markup`) some of it is read as text."""
        self.assertEqual(self.browser.evaluate(SEEN), [])
        self.assertIsNone(self.browser.evaluate("window.hacked ?? null"))
        if markup:
            self.assertIn("<img", self.text("main"))

    def test_the_log_and_its_parts(self) -> None:
        log, claim_id = self.stored.log, self.stored.claim
        self.show("logs")
        self.assert_only_text(markup=False)
        self.show("log", log, op=claim_id)
        self.wait_for_text(".checks", "checked here")
        self.assert_only_text()
        self.show("log", log, "claims", claim=claim_id)
        self.assert_only_text()
        self.browser.evaluate("document.querySelector('.tree button')?.click()")
        self.assert_only_text()
        self.show("log", log, "grants")
        self.assert_only_text()
        for number in range(8):
            self.show("log", log, at=str(number + 1))
            self.browser.evaluate("document.querySelector('.graph').focus()")
            self.browser.press("End")
            self.wait("document.querySelector('.checks .good') !== null")
            self.assert_only_text(markup=False)

    def test_a_chain_of_claims_that_nobody_would_read_to_its_end(self) -> None:
        ann = Ann()
        source = ann.paper.saw("the beginning", "note:text")
        for number in range(120):
            source = ann.paper.claims("note.chain", number, source)
        # It begins the same log once more with the same key: a fork, which makes no difference here.
        lines = b"\n".join(one.raw for one in ann.paper.known.values())
        with Client(self.server.port) as client:
            path = f"/logs/{quote(ann.log)}/operations"
            client.request("POST", path, body=lines, headers={"Content-Type": NDJSON})
        self.show("log", ann.log, "claims", claim=source)
        self.wait_for_text(".tree", "What this rests on is not shown here")
        self.assertLess(self.count(".tree li"), 60)

    def test_objects(self) -> None:
        self.show("objects")
        self.wait_for_text("tbody", "<img")
        self.assert_only_text()
        self.click("tbody a")
        self.assert_only_text(markup=False)
        self.show("object", self.stored.object)
        self.wait("document.querySelector('.page pre') !== null")
        self.assert_only_text()
        self.assertIn("<img", self.browser.evaluate("document.title"))

    def test_places(self) -> None:
        self.show("places", lat="1", lon="1", range="1000")
        self.wait_for_text(".found", "<img")
        self.assertIn("onload", self.text(".beside ul"))
        self.assert_only_text()
        self.click(".found a")
        self.wait_for_text(".detail", "<img")
        self.assert_only_text()

    def test_a_vault(self) -> None:
        self.show("vault")
        keys, name = json.dumps(json.dumps(keys_of("Ann"))), json.dumps(MARKUP)
        self.browser.evaluate(
            f"""(() => {{
              const files = new DataTransfer();
              files.items.add(new File([{keys}], 'ann.key'));
              document.getElementById('vault-key').files = files.files;
              document.getElementById('vault-repository').value = {name};
              document.querySelector('form button').click();
            }})()"""
        )
        self.wait_for_text("table", "(you)")
        self.assert_only_text()

    def test_a_profile(self) -> None:
        self.show("profile", self.stored.owner)
        self.wait_for_text(".talk", "<img")
        self.assert_only_text()

    def test_addresses(self) -> None:
        for path in (
            (MARKUP,),
            ("log", MARKUP),
            ("object", MARKUP),
            ("profile", MARKUP),
            ("log", self.stored.log, MARKUP),
        ):
            with self.subTest(path):
                self.show(*path, op=MARKUP, claim=MARKUP, namespace=MARKUP)
                self.assert_only_text(markup=False)
        self.show("places", lat=MARKUP, lon=MARKUP, range=MARKUP)
        self.wait_for_text(".beside [role=alert]", "refused")
        self.assert_only_text(markup=False)


if __name__ == "__main__":
    unittest.main()
