"""Trying routes on the page at ``/docs``, in a real browser: forms, credentials, signatures, and the same with curl."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import unittest
from typing import ClassVar

from omp.rules import ed25519, identifiers
from omp.tests.harness import Client
from omp.tests.oplog.world import LOG, first_operation
from omp.tests.web.docs_browser import PROGRAM, WITHOUT, DocsInABrowser
from omp.web.messages import JSON

SEED = bytes(range(32))
PUBLIC_KEY = ed25519.public_key_slowly(SEED)
CURL = shutil.which("curl")
LEFT_BEHIND = """(async () => [...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie,
  ...(await indexedDB.databases()).map((one) => one.name), ...(await caches.keys()), location.search]
  .filter(Boolean))()"""
"""Whatever the page left in the browser or in its address."""


class Trying(DocsInABrowser):
    """What the tests of trying share: where credentials are entered."""

    def access(self, part: str) -> str:
        """The id of the first credential field that is named so: ``seed``, ``keyid`` or ``extra``, or ``bearer``."""
        if part == "bearer":
            return str(self.browser.evaluate("schemes.find((one) => one.input).input.id"))
        return str(self.browser.evaluate(f"document.querySelector('.access [id$=\"-{part}\"]').id"))

    def sign_with(self, seed: bytes, keyid: str = "") -> None:
        """Enter a key."""
        self.fill(self.access("keyid"), keyid)
        self.fill(self.access("seed"), seed.hex())
        public_key = base64.urlsafe_b64encode(ed25519.public_key_slowly(seed)).decode().rstrip("=")
        self.browser.wait_for(f"document.querySelector('.access').textContent.includes('{public_key}')")

    def as_signer(self, route: str) -> None:
        """Choose the key for a route, whatever the document says that it asks for."""
        self.open(route)
        name = self.browser.evaluate("schemes.find((one) => one.key).name")
        self.fill(f"{route}-access", f"only {name}")


@unittest.skipUnless(PROGRAM, WITHOUT)
class WithoutSignatures(Trying):
    """A server in mode ``off``."""

    def test_trying_a_get_shows_status_headers_body_and_the_command(self) -> None:
        health = self.id_of("GET", "/health")
        status, body = self.send(health)
        self.assertRegex(status, r"^200 OK, \d+ ms$")
        self.assertEqual(json.loads(body), {"status": "ok"})
        shown = self.text(f"#{health} .result")
        self.assertIn("content-type: application/json", shown)
        self.assertIn(f"curl -i '{self.server.url}/health'", shown)

    def test_trying_a_post_sends_the_example_body(self) -> None:
        status, body = self.send(self.id_of("POST", "/objects"))
        self.assertTrue(status.startswith("201 "), status)
        with Client(self.server.port) as client:
            self.assertEqual(client.request("GET", f"/objects/{json.loads(body)['id']}").status, 200)

    def test_trying_a_route_fills_in_path_query_and_header_fields(self) -> None:
        with Client(self.server.port) as client:
            made = client.request("POST", "/objects", {"namespace": "a b&c", "key": "k", "content": {}}).json
            etag = client.request("GET", f"/objects/{made['id']}").headers["etag"]
        status, body = self.send(self.id_of("GET", "/objects/search"), **{"query-namespace": "a b&c"})
        self.assertEqual([item["id"] for item in json.loads(body)["items"]], [made["id"]], status)
        status, _ = self.send(
            self.id_of("GET", "/objects/{id}"), **{"path-id": made["id"], "headers": f"If-None-Match: {etag}"}
        )
        self.assertTrue(status.startswith("304 "), status)

    def test_trying_a_route_wrongly_shows_the_refusal(self) -> None:
        status, body = self.send(self.id_of("POST", "/objects"), body="{")
        self.assertTrue(status.startswith("400 "), status)
        self.assertEqual(json.loads(body)["error"]["code"], "bad_request")

    def test_what_the_server_says_is_text_and_never_html(self) -> None:
        hostile = '<img src="x" onerror="document.title=1"><script>document.title=2</script>'
        with Client(self.server.port) as client:
            made = client.request("POST", "/objects", {"namespace": "n", "content": {"text": hostile}}).json
        _, body = self.send(self.id_of("GET", "/objects/{id}"), **{"path-id": made["id"]})
        self.assertEqual(json.loads(body)["content"]["text"], hostile)
        self.assertEqual(self.browser.evaluate("document.querySelectorAll('img').length"), 0)

    def test_a_stream_is_shown_until_it_is_stopped(self) -> None:
        with Client(self.server.port) as client:
            client.request("POST", f"/logs/{LOG}/operations", body=first_operation(), headers={"Content-Type": JSON})
        route = self.id_of("GET", "/logs/{log}/events")
        self.open(route)
        self.browser.evaluate(f"document.getElementById('{route}-path-log').value = '{LOG}'")
        send = f"document.querySelector('#{route} button[type=submit]')"
        self.browser.evaluate(f"{send}.focus()")
        self.browser.evaluate(f"{send}.click()")
        self.browser.wait_for(f"document.querySelector('#{route} .status')?.textContent.startsWith('200')")
        self.browser.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        self.assertTrue(self.browser.evaluate(f"document.activeElement === {send}"), "the keyboard keeps its place")
        self.assertTrue(self.browser.evaluate(f"document.querySelector('#{route} [aria-disabled=true]') !== null"))
        self.browser.evaluate(f"document.querySelector('#{route} .buttons .plain').click()")
        self.browser.wait_for(f"document.querySelector('#{route} .status').textContent.endsWith(', stopped')")
        self.browser.wait_for(f"document.querySelector('#{route} [aria-disabled=true]') === null")

    def test_operation_is_signed_in_the_browser_and_accepted(self) -> None:
        route = self.id_of("POST", "/logs/{log}/operations")
        self.open(route)
        status, _ = self.send(route, **{"path-log": LOG})
        self.assertIn("enter a seed under Authorise", status)
        self.load()
        self.open(route)
        self.sign_with(SEED)
        log = identifiers.identity_id(PUBLIC_KEY)
        self.browser.wait_for(f"document.getElementById('{route}-path-log').value === '{log}'")
        status, body = self.send(route)
        self.assertTrue(status.startswith("201 "), (status, body))
        with Client(self.server.port) as client:
            self.assertEqual(client.request("GET", f"/logs/{log}/heads").json["heads"], [json.loads(body)["id"]])

    def test_new_key_is_made_in_the_page(self) -> None:
        route = self.id_of("POST", "/logs/{log}/operations")
        self.open(route)
        self.browser.evaluate(
            "[...document.querySelectorAll('.access button')].find((one) => one.textContent === 'New key').click()"
        )
        self.browser.wait_for(f"document.getElementById('{route}-path-log').value !== ''")
        status, body = self.send(route)
        self.assertTrue(status.startswith("201 "), (status, body))
        self.assertEqual(self.browser.evaluate(LEFT_BEHIND), [])

    def test_token_of_the_vault_is_got_with_the_key_and_used(self) -> None:
        route = self.id_of("POST", "/v1/repos/{repoId}/pull")
        status, _ = self.send(route, **{"path-repoId": "none"})
        self.assertTrue(status.startswith("401 "), status)
        self.sign_with(SEED)
        self.browser.evaluate(
            "[...document.querySelectorAll('.access button')].find((one) => /vault/.test(one.textContent)).click()"
        )
        self.browser.wait_for("/good for an hour/.test(document.querySelector('.access').textContent)")
        status, body = self.send(route, **{"path-repoId": "none"})
        self.assertTrue(status.startswith("404 "), (status, body))

    def test_credentials_are_kept_for_every_route_and_nowhere_else(self) -> None:
        me = self.id_of("GET", "/auth/me")
        self.fill(self.access("bearer"), "Bearer a-token")
        self.sign_with(SEED)
        bearer = self.browser.evaluate("schemes.find((one) => one.input).name")
        for route in (me, self.id_of("GET", "/health")):
            self.open(route)
            self.fill(f"{route}-access", f"only {bearer}")
            self.send(route)
            self.assertIn("-H 'Authorization: Bearer a-token'", self.curl(route))
        self.fill(f"{me}-access", "none")
        self.send(me)
        self.assertNotIn("Authorization", self.curl(me))
        self.assertEqual(self.browser.evaluate(LEFT_BEHIND), [])
        self.assertNotIn(SEED.hex(), "".join(self.browser.requested))
        self.load()
        self.assertEqual(
            self.browser.evaluate(
                "[...document.querySelectorAll('.access input, .access textarea')].map((one) => one.value).join('')"
            ),
            "",
        )

    @unittest.skipUnless(CURL, "curl is not installed")
    def test_curl_sends_exactly_what_was_sent(self) -> None:
        route = self.id_of("POST", "/objects")
        for content in ("@/etc/hostname", 'it\'s $HOME `id`\n\t\\ "é"', "x"):
            with self.subTest(content):
                body = json.dumps({"namespace": "n", "content": {"text": content}}, ensure_ascii=False)
                status, shown = self.send(route, body=body, headers="X-Empty:\nX-Quote: it's")
                self.assertTrue(status.startswith("201 "), status)
                self.assertIn("-H 'X-Empty;'", self.curl(route))
                again = subprocess.run(["bash", "-c", self.curl(route)], capture_output=True, check=True).stdout
                made = [json.loads(shown)["id"], json.loads(again.decode().partition("\r\n\r\n")[2])["id"]]
                with Client(self.server.port) as client:
                    kept = [client.request("GET", f"/objects/{one}").json["content"] for one in made]
                self.assertEqual(kept, [{"text": content}] * 2)
        status, _ = self.send(route, body="@/etc/hostname")
        again = subprocess.run(["bash", "-c", self.curl(route)], capture_output=True, check=True).stdout
        self.assertIn(b" 400 ", again.splitlines()[0])
        self.assertIn("--data-raw '@/etc/hostname'", self.curl(route))

    def test_what_a_page_cannot_send_is_said_and_not_left_out(self) -> None:
        route = self.id_of("GET", "/objects/{id}")
        status, _ = self.send(route, **{"path-id": "x", "headers": "Host: elsewhere.example"})
        self.assertEqual(status, "Not sent: a browser does not let a page send the field Host")
        status, _ = self.send(route, **{"path-id": "..", "headers": ""})
        self.assertEqual(status, "Not sent: a browser cannot send this path: a segment of it is . or ..")

    def test_ctrl_enter_sends_and_the_keyboard_keeps_its_place(self) -> None:
        route = self.id_of("POST", "/objects")
        self.open(route)
        for place in (f"{route}-body", None):
            with self.subTest(place or "the button"):
                found = f"getElementById('{place}')" if place else f"querySelector('#{route} [type=submit]')"
                self.browser.evaluate(f"document.{found}.focus()")
                self.browser.press("Enter", *(["Control"] if place else []))
                status, _ = self.answer(route)
                self.assertTrue(status.startswith("201 "), status)
                self.assertTrue(self.browser.evaluate(f"document.activeElement === document.{found}"))
                self.browser.evaluate(f"document.querySelector('#{route} .result > div').replaceChildren()")


@unittest.skipUnless(PROGRAM, WITHOUT)
class Strict(Trying):
    """A server in mode ``strict`` that knows one key."""

    environ: ClassVar[dict[str, str]] = {
        "OMP_SIG_MODE": "strict",
        "OMP_SIG_LEGACY": "0",
        "OMP_SIG_PUB_sig1": base64.urlsafe_b64encode(PUBLIC_KEY).decode(),
    }

    def test_signed_requests_are_let_in(self) -> None:
        create, search = self.id_of("POST", "/objects"), self.id_of("GET", "/objects/search")
        status, _ = self.send(create)
        self.assertTrue(status.startswith("401 "), status)
        self.sign_with(SEED, "sig1")
        self.as_signer(create)
        body = json.dumps({"namespace": "é & 'x'", "content": {"text": "\u00e9 \U0001f333"}}, ensure_ascii=False)
        status, answer = self.send(create, body=body, headers="X-Note:  two  words ")
        self.assertTrue(status.startswith("201 "), (status, answer))
        self.assertIn('"content-digest": sha-256=:', self.text(f"#{create} [aria-label='the signature base']"))
        self.assertIn('"x-note": two  words\n', self.text(f"#{create} [aria-label='the signature base']"))
        self.as_signer(search)
        status, found = self.send(search, **{"query-namespace": "é & 'x'"})
        self.assertTrue(status.startswith("200 "), (status, found))
        self.assertEqual([one["id"] for one in json.loads(found)["items"]], [json.loads(answer)["id"]])

    @unittest.skipUnless(CURL, "curl is not installed")
    def test_curl_shows_the_signature_that_was_sent_which_is_used_up(self) -> None:
        route = self.id_of("GET", "/objects")
        self.sign_with(SEED, "sig1")
        self.as_signer(route)
        self.assertTrue(self.send(route)[0].startswith("200 "))
        again = subprocess.run(["bash", "-c", self.curl(route)], capture_output=True, check=True).stdout.decode()
        self.assertIn(" 401 ", again.splitlines()[0])
        self.assertIn("nonce", again)

    def test_log_is_read_by_its_root_without_a_configured_name(self) -> None:
        append, heads = self.id_of("POST", "/logs/{log}/operations"), self.id_of("GET", "/logs/{log}/heads")
        self.sign_with(SEED, "sig1")
        self.as_signer(append)
        status, body = self.send(append)
        self.assertTrue(status.startswith("201 "), (status, body))
        self.sign_with(SEED)
        self.as_signer(heads)
        log = identifiers.identity_id(PUBLIC_KEY)
        status, body = self.send(heads, **{"path-log": log})
        self.assertTrue(status.startswith("200 "), (status, body))


if __name__ == "__main__":
    unittest.main()
