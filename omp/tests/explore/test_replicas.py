"""Two replicas in the page: they converge, and what they write is what every verifier accepts."""

from __future__ import annotations

import unittest
from typing import ClassVar

from omp.protocols.oplog.core.outcomes import ACCEPTED
from omp.protocols.oplog.core.replica import Replica
from omp.rules.engines import best_engine
from omp.tests.explore.explorer import ExplorerInABrowser, thorough

WRITTEN = """(async () => {
  const { Replica } = await import("/explore/replicas.js");
  const { keyOf, random } = await import("/explore/keys.js");
  const { CLAIM, GRANT, REFUTATION, REVOCATION, canonical } = await import("/explore/operation.js");
  const [root, device] = await Promise.all([keyOf(random(32)), keyOf(random(32))]);
  const log = root.id.replace("omp:key:", "omp:id:");
  const [one, other] = ["one", "other"].map((name) => new Replica(name, log, new Map([[root.id, "root"]])));
  const scope = {predicates: ["*"], provenance: "full"};
  await one.write(root, GRANT,
    {grantee: device.id, caps: ["author"], scope, parent: null, max_depth: 0, not_before: null, expires: null});
  const grant = one.ordered[0].id;
  other.take(one.ordered);
  const claim = (object, sources = []) =>
    ({subject: "self", predicate: "note.x", object, confidence_ppm: 1, derived_from: sources, method: "user:typed"});
  await other.write(device, CLAIM, claim("ä 🦊"));
  await one.write(root, CLAIM, claim({a: [1, null, true]}));
  one.take(other.ordered);
  await one.write(root, CLAIM, claim("merged", one.state.heads));
  other.take(one.ordered);
  await one.write(root, REVOCATION, {target: grant, reason: "lost"});
  await other.write(device, REFUTATION, {target: other.state.heads[0], reason: "no"});
  one.take(other.ordered);
  other.take(one.ordered);
  let refused = "";
  await other.write(device, CLAIM, claim("too late")).catch((error) => { refused = error.message; });
  const lines = one.ordered.map(({id, index, parents, past, ...envelope}) => canonical(envelope));
  const voids = one.ordered.filter(({id}) => one.state.of.get(id).void);
  return {log, lines, refused, states: [await one.stateId(), await other.stateId()], void: voids.length};
})()"""


@thorough
class Replicas(ExplorerInABrowser):
    environ: ClassVar[dict[str, str]] = {}

    def press(self, words: str, panel: int = 0) -> None:
        """Press the button with these words, of the laptop (0) or the phone (1)."""
        self.browser.evaluate(
            "[...document.querySelectorAll('button')]"
            f".filter((one) => one.textContent.includes({words!r}))[{panel}].click()"
        )

    def counts(self) -> list[str]:
        """What each panel says."""
        found: list[str] = self.browser.evaluate(
            "[...document.querySelectorAll('.pair .counts')].map((one) => one.textContent)"
        )
        return found

    def test_what_they_write_is_accepted_and_gives_the_same_state_here(self) -> None:
        self.show()
        found = self.browser.evaluate(WRITTEN)
        replica = Replica(found["log"])
        for line in found["lines"]:
            self.assertEqual(replica.add(line.encode(), best_engine()).status, ACCEPTED)
        self.assertEqual(found["states"], [replica.state_id()] * 2)
        self.assertEqual(found["void"], 1)
        self.assertIn("ERR_AUTHZ", found["refused"])

    def test_off_line_they_differ_and_after_meeting_they_do_not(self) -> None:
        self.show("replicas")
        self.wait_for_text(".agreement", "Both have the same state")
        self.press("off line")
        self.wait_for_text(".page .buttons", "Let them meet")
        self.press("Write a claim")
        self.press("Write a claim", 1)
        self.wait_for_text(".agreement", "Laptop has 1, Phone has 1")
        self.press("meet")
        self.wait_for_text(".agreement", "Both have the same state")
        self.assertEqual(self.counts(), ["4 operations2 heads0 void operations0 tainted ones"] * 2)
        self.press("Write a claim")
        self.wait_for_text(".counts", "5 operations1 head")

    def test_what_a_revoked_phone_wrote_is_void_and_then_it_cannot_write(self) -> None:
        self.show("replicas")
        self.wait_for_text(".agreement", "Both have the same state")
        self.press("off line")
        self.press("Revoke")
        self.wait_for_text(".counts", "3 operations")
        self.press("Write a claim", 1)
        self.wait_for_text(".agreement", "Laptop has 1, Phone has 1")
        self.press("meet")
        self.wait_for_text(".counts", "1 void operation")
        self.press("Write a claim", 1)
        self.wait_for_text(".pair .bad", "The phone cannot write")

    def test_what_is_built_on_a_refuted_claim_is_tainted(self) -> None:
        self.show("replicas")
        self.wait_for_text(".agreement", "Both have the same state")
        self.press("Refute what is built on")
        self.wait_for_text(".pair .bad", "there is no claim yet to refute")
        self.press("Write a claim")
        self.wait_for_text(".counts", "3 operations")
        self.press("Derive", 1)
        self.wait_for_text(".counts", "4 operations")
        self.press("Refute what is built on")
        self.wait_for_text(".counts", "1 tainted one")

    def test_nothing_is_sent(self) -> None:
        self.show("replicas")
        self.wait_for_text(".agreement", "Both have the same state")
        before = len(self.browser.requested)
        self.press("Write a claim")
        self.wait_for_text(".counts", "3 operations")
        self.assertEqual(len(self.browser.requested), before)


if __name__ == "__main__":
    unittest.main()
