"""The views of a log: graph, slider, verification, claims with their reasons, grants."""

from __future__ import annotations

import json
import unittest
from typing import ClassVar
from urllib.parse import quote

from omp.explore.demo import diary
from omp.protocols.oplog.core.operation import CLAIM
from omp.tests.explore.explorer import ExplorerInABrowser, thorough
from omp.tests.harness import Client
from omp.tests.oplog.world import Key

LANES = "[...document.querySelectorAll('.lane-names span')].map((one) => one.textContent)"


@thorough
class Demo(ExplorerInABrowser):
    """Ann's log."""

    def setUp(self) -> None:
        super().setUp()
        self.log = self.guide["log"]
        self.named = {stop["title"]: stop.get("op") or stop["claim"] for stop in self.guide["tour"]}

    def open(self, *part: str, **query: str) -> None:
        """Load a part of the log's view."""
        self.show("log", self.log, *part, **query)
        self.wait_for_text(".agreement", "checked here")


class Graph(Demo):
    def test_a_lane_for_each_key_with_its_name(self) -> None:
        self.open()
        self.assertEqual(self.browser.evaluate(LANES), ["root", "laptop", "assistant", "phone", "tablet", "waiting"])

    def test_void_waiting_forks_and_heads_can_be_told_without_colour(self) -> None:
        self.open()
        self.wait("document.querySelectorAll('.node').length === 56")
        shown = {
            kind: self.count(f".graph {kind}")
            for kind in (".shape.void", "g .stroke", ".ring", ".mark", "circle.waits")
        }
        self.assertEqual(shown, {".shape.void": 4, "g .stroke": 4, ".ring": 2, ".mark": 2, "circle.waits": 1})

    def test_the_slider_shows_the_log_as_it_was(self) -> None:
        self.open()
        self.assertIn("55 of 55 operations22 effective claims", self.text(".counts"))
        self.fill("log-at", "3")
        self.wait_for_text(".counts", "3 of 55 operations0 effective claims")
        self.assertEqual(self.count(".node"), 3)
        self.assertIn("at=3", self.browser.evaluate("location.hash"))

    def test_the_log_grows_by_itself_until_somebody_stops_it(self) -> None:
        self.open(at="50")
        play = "[...document.querySelectorAll('.tools button')].find((one) => one.textContent === 'Play')"
        self.browser.evaluate(f"{play}.click()")
        self.wait_for_text(".counts", "52 of 55")
        self.wait_for_text(".counts", "55 of 55")
        self.wait(f"{play} !== undefined")

    def test_an_operation_is_verified_in_the_browser(self) -> None:
        self.open(op=self.named["A fork"])
        self.wait_for_text(".checks", "The signature is the author's: checked here")
        self.assertEqual(self.count(".checks .good"), 3)
        self.assertIn(self.named["A fork"], self.text(".checks"))
        self.assertIn("Claim by phone", self.text(".detail h2"))
        self.assertIn("the same number as Claim", self.text(".facts"))
        self.open(op=self.named["A merge"])
        self.assertIn("joins branches that did not know of each other, by ", self.text(".facts"))

    def test_what_refers_to_it_is_listed_and_leads_there(self) -> None:
        self.open(op=self.named["A refutation"])
        self.assertIn("targets Evidence", self.text(".references"))
        self.browser.evaluate(
            "[...document.querySelectorAll('.references a')]"
            ".find((one) => one.textContent.startsWith('Evidence')).click()"
        )
        self.wait_for_text(".detail h2", "Evidence by laptop")
        self.assertIn(
            "targeted by Refutation", self.browser.evaluate("document.querySelectorAll('.references')[1].textContent")
        )

    def test_one_that_waits_says_for_what(self) -> None:
        self.open()
        with Client(self.server.port) as client:
            (waits,) = client.request("GET", f"/logs/{quote(self.log)}/pending").json["items"]
        self.go(f"#/log/{quote(self.log, safe='')}?op={quote(waits['id'], safe='')}")
        self.wait_for_text(".detail", waits["missing"][0])

    def test_the_keyboard_goes_from_operation_to_operation(self) -> None:
        self.open()
        self.browser.evaluate("document.querySelector('.graph').focus()")
        self.browser.press("Home")
        self.wait_for_text(".detail h2", "Grant by root")
        for key, title in (
            ("ArrowRight", "Grant by root"),
            ("ArrowDown", "Evidence by laptop"),
            ("End", "Claim by phone"),
        ):
            self.browser.press(key)
            self.wait_for_text(".detail h2", title)

    def test_pointing_chooses_what_is_there(self) -> None:
        self.open()
        self.wait("document.querySelectorAll('.node').length === 56")
        x, y = self.browser.evaluate(
            "(() => { const box = document.querySelector('.node .shape').getBoundingClientRect();"
            " return [box.x + 9, box.y + 9]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.browser.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.wait_for_text(".detail h2", "Grant by root")


class Live(Demo):
    def test_what_is_written_is_shown_within_a_moment(self) -> None:
        self.open()
        before = int(self.text(".counts").partition(" ")[0])
        ann = diary.told()
        ann.laptop.claims("note.late", "written while somebody looks", by="user:typed")
        operation = list(ann.laptop.known.values())[-1]
        self.browser.evaluate("window.asked = performance.now(); null")
        with Client(self.server.port) as client:
            path = f"/logs/{quote(self.log)}/operations"
            self.assertEqual(client.request("POST", path, body=operation.raw).status, 201)
        self.wait_for_text(".counts", f"{before + 1} of {before + 1} operations")
        self.wait_for_text(".agreement", "✓")


class Tampered(Demo):
    """A server, or somebody on the way, that changes one operation."""

    def test_verification_fails_where_it_can_be_seen(self) -> None:
        change = """
          const honest = window.fetch;
          window.fetch = async (path, options) => {
            const answer = await honest(path, options);
            if (!/operations\\/omp/.test(path)) return answer;
            return new Response((await answer.text()).replace('bread', 'brown'), {status: 200});
          };"""
        added = self.browser.command("Page.addScriptToEvaluateOnNewDocument", source=change)
        self.addCleanup(self.browser.command, "Page.removeScriptToEvaluateOnNewDocument", **added)
        self.open(op=self.named["A fork"])
        self.wait_for_text(".checks", "it is NOT so")
        self.assertEqual(self.count(".checks .bad"), 2)

    def test_another_state_than_the_servers_is_told(self) -> None:
        change = """
          const honest = window.fetch;
          window.fetch = async (path, options) => {
            const answer = await honest(path, options);
            if (!/operations$/.test(path)) return answer;
            return new Response((await answer.text()).replace('Monday', 'Sunday'), {status: 200});
          };"""
        added = self.browser.command("Page.addScriptToEvaluateOnNewDocument", source=change)
        self.addCleanup(self.browser.command, "Page.removeScriptToEvaluateOnNewDocument", **added)
        self.show("log", self.log)
        self.wait_for_text(".agreement", "✗ The server names another state")


class Claims(Demo):
    def test_search_and_condition_narrow_the_table(self) -> None:
        self.open("claims")
        self.fill("claims-search", "dentist")
        self.wait_for_text("caption", "2 claims")
        self.fill("claims-status", "superseded")
        self.wait_for_text("caption", "1 claim,")
        self.assertIn("Tuesday", self.text("tbody"))

    def test_why_is_the_dentist_on_monday(self) -> None:
        self.open("claims", claim=self.named["Why is the dentist on Monday?"])
        tree = self.text(".tree")
        self.assertIn("calendar.dentist", tree)
        self.assertIn("sms:inbox", tree)
        self.assertIn("The claim holds: no operation that counts refuted", self.text(".detail"))
        self.assertIn("Written against it, but void: Correction", self.text(".detail"))

    def test_the_path_of_a_taint_is_marked_down_to_its_cause(self) -> None:
        self.open("claims", search="alarm")
        self.click("tbody a")
        self.wait("document.querySelectorAll('.tree .marked').length === 5")
        self.assertEqual(self.count(".tree .cause"), 1)
        self.assertIn("phishing", self.text(".tree .cause"))

    def test_what_would_fall_if_a_source_were_false(self) -> None:
        self.open("claims", search="leave_home")
        self.click("tbody a")
        self.wait("document.querySelectorAll('.tree button').length === 4")
        self.browser.evaluate("[...document.querySelectorAll('.tree button')].at(-1).click()")
        self.wait_for_text(".consequences", "claims would hold no longer")
        fallen = self.browser.evaluate(
            "[...document.querySelectorAll('.consequences li')].map((one) => one.textContent)"
        )
        self.assertEqual(
            {one.partition(" ")[0] for one in fallen},
            {"calendar.dentist", "contact.weber", "calendar.leave_home", "calendar.friday"},
        )
        self.assertIn("would be false", self.text(".detail"))
        with Client(self.server.port) as client:  # nothing was written
            why = client.request("GET", f"/logs/{quote(self.log)}/claims?effective=true&limit=1000").json
        self.assertIn("leave_home", json.dumps(why))


class Grants(Demo):
    def test_who_may_do_what_as_a_tree(self) -> None:
        self.open("grants")
        shown = self.browser.evaluate(
            "[...document.querySelectorAll('.tree ul ul > li > .step > strong')].map((one) => one.textContent)"
        )
        self.assertEqual(shown, ["assistant", "Ben"])
        self.assertIn("revoked by Revocation", self.text(".tree"))
        self.assertIn("of which 4 are void", self.text(".tree"))


@thorough
class Large(ExplorerInABrowser):
    """A log of many operations: 5,000 where the long tests run."""

    environ: ClassVar[dict[str, str]] = {}
    OPERATIONS = 5_000

    def test_is_drawn_and_moved_and_only_what_is_in_view(self) -> None:
        log, lines = long_log(self.OPERATIONS)
        accepted = 0
        with Client(self.server.port) as client:
            for first in range(0, len(lines), 50):  # without cryptography a busy machine checks a few a second
                sent = client.request(
                    "POST",
                    f"/logs/{quote(log)}/operations",
                    body=b"\n".join(lines[first : first + 50]),
                    headers={"Content-Type": "application/x-ndjson"},
                )
                accepted += sent.json["accepted"]
        self.assertEqual(accepted, self.OPERATIONS)
        self.show("log", log)
        self.wait_for_text(".agreement", "checked here")
        self.assertLess(self.count(".graph svg *"), 600)
        frames = self.browser.evaluate(
            """(async () => {
              const graph = document.querySelector('.graph'), spent = [];
              for (let at = 0; at < 30; at += 1) {
                const before = performance.now();
                graph.dispatchEvent(new WheelEvent('wheel', {deltaX: -400, bubbles: true, cancelable: true}));
                graph.getBoundingClientRect();
                spent.push(performance.now() - before);
                await new Promise(requestAnimationFrame);
              }
              return spent.sort((a, b) => a - b);
            })()"""
        )
        self.drawn_in = frames[len(frames) // 2]
        self.browser.evaluate(
            "[...document.querySelectorAll('.tools button')].find((one) => one.textContent === 'All').click()"
        )
        self.assertLess(self.count(".graph svg *"), 30)
        print(f"({self.OPERATIONS:,} operations: a movement takes {self.drawn_in:.1f} ms) ", end="", flush=True)


def long_log(operations: int) -> tuple[str, list[bytes]]:
    """A log with three writers in turn, who sometimes meet."""
    from omp.protocols.oplog.core.producer import Producer
    from omp.protocols.oplog.core.replica import Replica
    from omp.rules.identifiers import identity_id
    from omp.tests.oplog.world import TRUSTING

    root, *others = (Key(number) for number in (71, 72, 73))
    replica = Replica(identity_id(root.public_key))
    lines: list[bytes] = []

    def write(producer: Producer, kind: str, **body: object) -> str:
        operation = producer.produce(kind, body, "2026-11-02T08:00:00.000Z")
        replica.admit(operation)
        lines.append(operation.raw)
        return operation.id

    first = Producer(replica, root, TRUSTING)
    for other in others:
        first_grant = first.permission_grant(
            "2026-11-02T08:00:00.000Z", grantee=other.id, caps=["author"], predicates=["*"]
        )
        replica.admit(first_grant)
        lines.append(first_grant.raw)
    producers = [first, *(Producer(replica, other, TRUSTING) for other in others)]
    while len(lines) < operations:
        number = len(lines)
        write(
            producers[number // 5 % 3], CLAIM, subject="self", predicate=f"note.n{number % 40}", object=number,
            confidence_ppm=500_000, method="user:typed", derived_from=[],
        )  # fmt: skip
    return replica.log, lines


if __name__ == "__main__":
    unittest.main()
