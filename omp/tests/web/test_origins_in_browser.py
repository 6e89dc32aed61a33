"""What a real browser lets foreign pages do (omp §1.5): pages of another origin, and of a name that was rebound.

Each page tries everything that a script can: fetch with and without CORS, forms, beacons, streams.  What counts is what
the page could read, and what the server has afterwards.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import unittest
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from omp.tests.harness import Client, running_server
from omp.tests.oplog.world import LOG, first_operation
from omp.tests.web.browser import Page, chromium

PROGRAM = chromium()
OBJECT = '{"namespace":"n","content":{"by":"a page"}}'

READ = """
fetch(%(url)s, {cache: "no-store"}).then(
    async answer => answer.status + " " + await answer.text(), error => "unreadable")
"""
EMBED = """
(async () => {
    const url = %(url)s, root = document.documentElement, done = [];
    for (const [name, member] of [["img", "src"], ["script", "src"], ["iframe", "src"], ["link", "href"],
                                  ["video", "src"], ["object", "data"], ["embed", "src"]]) {
        const made = document.createElement(name);
        if (name === "link") made.rel = "stylesheet";
        done.push(new Promise(end => made.onload = made.onerror = end));
        made[member] = url;
        root.append(made);
    }
    const link = document.createElement("a");
    link.href = url; link.target = "other";
    root.append(link);
    await fetch(url, {mode: "no-cors"}).catch(() => null);
    await Promise.race([Promise.all(done), new Promise(end => setTimeout(end, 3000))]);
    return done.length;
})()
"""
WRITE = """
(async () => {
    const url = %(url)s, body = %(body)s, done = [];
    const attempt = (name, promise) => promise.then(
        answer => done.push(name + " " + answer.type + " " + answer.status), error => done.push(name + " failed"));
    const json = {"Content-Type": "application/json"};
    await attempt("json", fetch(url, {method: "POST", headers: json, body}));
    await attempt("text", fetch(url, {method: "POST", body}));
    await attempt("blob", fetch(url, {method: "POST", body: new Blob([body])}));
    await attempt("opaque", fetch(url, {method: "POST", mode: "no-cors", body: new Blob([body])}));
    await attempt("put", fetch(url + "/x", {method: "PUT", headers: json, body}));
    await attempt("delete", fetch(url + "/" + %(id)s, {method: "DELETE"}));
    navigator.sendBeacon(url, new Blob([body]));
    const frame = document.createElement("iframe"), form = document.createElement("form");
    frame.name = "there";
    document.documentElement.append(frame, form);
    form.method = "POST"; form.action = url; form.target = "there"; form.enctype = "text/plain";
    const field = document.createElement("input");
    field.name = body.slice(0, -1) + ',"key":"'; field.value = '"}';
    form.append(field);
    const loaded = new Promise(resolve => frame.onload = resolve);
    form.submit();
    await loaded;
    return done;
})()
"""


class _Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another site</title>")

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def another_site() -> Iterator[str]:
    """The origin of a site that is not the server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet) as site:
        threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://another.example:{site.server_port}"
        site.shutdown()


@unittest.skipUnless(PROGRAM, "Chromium is not installed: apt-get install chromium")
class Foreign(unittest.TestCase):
    page: ClassVar[Page]

    @classmethod
    def setUpClass(cls) -> None:
        assert PROGRAM
        # Every name under .example leads to this machine: that is what rebinding comes to.
        cls.page = Page(PROGRAM, "--host-resolver-rules=MAP *.example 127.0.0.1")
        cls.addClassCleanup(cls.page.close)

    def show(self, url: str) -> None:
        self.page.visit(url)
        self.page.wait_for(f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'")

    def read(self, url: str) -> str:
        return str(self.page.evaluate(READ % {"url": json.dumps(url)}))

    def write(self, url: str, kept: str) -> list[str]:
        """What became of each attempt; `kept` is an object that the page would like to delete."""
        values = {"url": url, "body": OBJECT, "id": kept}
        return list(self.page.evaluate(WRITE % {name: json.dumps(value) for name, value in values.items()}))

    @contextlib.contextmanager
    def served(self, environ: Mapping[str, str] | None = None, port: int = 0) -> Iterator[tuple[str, Client, str]]:
        """(URL, a client, the id of the one object) of a server that also has one log."""
        with running_server({"PORT": str(port), **(environ or {})}) as server, Client(server.port) as client:
            body = {"namespace": "n", "content": {"secret": "s3cret"}}
            kept = client.request("POST", "/objects", body).json["id"]
            posted = client.request(
                "POST", f"/logs/{LOG}/operations", body=first_operation(), headers={"Content-Type": "application/json"}
            )
            self.assertEqual(posted.status, 201)
            yield server.url, client, kept

    def unchanged(self, client: Client, kept: str) -> None:
        listed = client.request("GET", "/objects").json
        self.assertEqual([item["id"] for item in listed["items"]], [kept])

    def test_a_page_of_another_origin_neither_reads_nor_writes(self) -> None:
        with another_site() as site, self.served() as (url, client, kept):
            self.show(site)
            for path in ("/objects", f"/objects/{kept}", f"/logs/{LOG}/heads", f"/logs/{LOG}/operations", "/health"):
                self.assertEqual(self.read(url + path), "unreadable", path)
            attempts = self.write(f"{url}/objects", kept)
            self.assertEqual([attempt for attempt in attempts if not attempt.endswith("failed")], ["opaque opaque 0"])
            self.unchanged(client, kept)
            self.page.evaluate(
                f"new Promise(end => new EventSource({json.dumps(f'{url}/logs/{LOG}/events')}).onerror = end)"
            )

    def test_a_page_of_a_rebound_name_neither_reads_nor_writes(self) -> None:
        with self.served() as (url, client, kept):
            rebound = url.replace("127.0.0.1", "attacker.example")
            self.show(f"{rebound}/docs")
            for path in ("/objects", f"/objects/{kept}", f"/logs/{LOG}/heads", "/api/v1/config", "/openapi.json"):
                answer = self.read(rebound + path)
                self.assertTrue(answer.startswith("421 "), answer[:200])
                self.assertNotIn("s3cret", answer)
            self.write(f"{rebound}/objects", kept)
            self.unchanged(client, kept)

    def test_a_page_of_another_origin_does_not_use_up_what_is_deleted_on_read(self) -> None:
        with another_site() as site, self.served() as (url, client, _):
            # The second site is one of the same machine: another port is the same site, but not the same origin.
            for page in (site, site.replace("another.example", "127.0.0.1")):
                once = {"namespace": "n", "content": {"x": 1}, "metadata": {"omp.delete_on_read": True}}
                path = client.request("POST", "/objects", once).headers["location"]
                self.show(page)
                self.page.evaluate(EMBED % {"url": json.dumps(url + path)})
                self.page.evaluate(f"document.querySelector('a').click(), location.href = {json.dumps(url + path)}")
                self.page.wait_for("document.body.innerText.includes('forbidden')")
                self.assertEqual([client.request("GET", path).status for _ in range(2)], [200, 404], page)

    def test_a_page_of_the_server_does_use_it_up(self) -> None:
        with self.served() as (url, client, _):
            for begin in (f"{url}/health", ""):  # embedded, and by its address
                once = {"namespace": "n", "content": {"x": 1}, "metadata": {"omp.delete_on_read": True}}
                path = client.request("POST", "/objects", once).headers["location"]
                self.show(begin or url + path)
                if begin:
                    self.page.evaluate(EMBED % {"url": json.dumps(url + path)})
                self.assertEqual(client.request("GET", path).status, 404, begin)

    def test_what_the_tests_try_does_work_where_it_may(self) -> None:
        with self.served() as (url, client, kept):
            self.show(f"{url}/health")
            self.assertIn("s3cret", self.read(f"{url}/objects/{kept}"))
            attempts = self.write(f"{url}/objects", kept)
            self.assertEqual(attempts[0], "json basic 201")
            self.assertNotIn(kept, client.request("GET", "/objects").body.decode())

    def test_a_listed_origin_reads_writes_and_sees_the_fields(self) -> None:
        with another_site() as site, self.served({"OMP_CORS_ORIGINS": site}) as (url, client, kept):
            self.show(site)
            self.assertIn("s3cret", self.read(f"{url}/objects/{kept}"))
            self.assertEqual(self.write(f"{url}/objects", kept)[0], "json cors 201")
            self.assertNotIn(kept, client.request("GET", "/objects").body.decode())
            fields = self.page.evaluate(
                f"fetch({json.dumps(f'{url}/logs/{LOG}/state')}).then(a => a.headers.get('etag'))"
            )
            self.assertTrue(fields)

    def test_protocols_with_tokens_answer_every_origin(self) -> None:
        with another_site() as site, self.served() as (url, _, _):
            self.show(site)
            self.assertTrue(self.read(f"{url}/.well-known/mrs").startswith("200 "))


if __name__ == "__main__":
    unittest.main()
