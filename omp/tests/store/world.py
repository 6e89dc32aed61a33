"""A database file with rows in every table of every protocol, what can be asked about them, and ways to damage it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from omp.rules.encodings import b64_encode
from omp.store.sqlite_file import checksum, statements
from omp.tests.avp.parties import ALICE, BOB, Caller, creation, entry, envelope
from omp.tests.harness import Answer, Client, Running, running_server
from omp.tests.mrs.parties import OPERA, User, around, claim
from omp.tests.nexus.owner import Owner
from omp.tests.oplog.test_routes import IDS, ROOT, WRITTEN, path
from omp.web.routes import Route

ENVIRON = {"MRS_SERVER_URL": "https://here.example", "OMP_ADMIN_TOKEN": "operator"}
OPERATOR = {"Authorization": "Bearer operator"}
TRIANGLE = {"type": "polygon", "vertices": [{"lat": 10, "lon": 10}, {"lat": 11, "lon": 10}, {"lat": 10, "lon": 11}]}


class Ask(NamedTuple):
    """A request, and a name for it."""

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: Any = ...

    def send(self, client: Client) -> Answer:
        return client.request(self.method, self.path, self.body, self.headers)

    def route(self, routes: Iterable[Route]) -> Route:
        """The one of `routes` that answers it: the first, since a literal path stands before one with a {name}."""
        path = self.path.partition("?")[0]
        fitting = (one for one in routes if one.method == self.method)
        return next(one for one in fitting if re.fullmatch(re.sub(r"{\w+}", "[^/]+", one.path), path))


def build(path: Path) -> list[Ask]:
    """Fill a new file at `path`, by way of a server; returns what can be asked about its rows."""
    with ExitStack() as stack:
        server = stack.enter_context(running_server(ENVIRON, f"sqlite:{path}"))
        client = stack.enter_context(Client(server.port))
        asks = [*_objects(client), *_log(client), *_vault(server), *_registry(server), *_profile(client)]
    with closing(sqlite3.connect(path)) as db:
        db.execute("VACUUM")  # no stale copies of rows between the rows
    return asks


def _objects(client: Client) -> list[Ask]:
    asks = []
    for number in range(3):
        body = {"namespace": f"ns{number % 2}", "key": f"key{number}", "content": {"number": number}}
        made = client.request("POST", "/objects", {**body, "metadata": {"omp.ttl_sec": 10**6 + number}})
        assert made.status == 201, made.body
        asks.append(Ask(f"object {number}", "GET", made.headers["location"], {}))
    # The newest goes, so that the moment of its id is kept.
    made = client.request("POST", "/objects", {"namespace": "ns0", "content": {}})
    assert client.request("DELETE", made.headers["location"]).status == 204
    asks.append(Ask("objects", "GET", "/objects", {}))
    asks.append(Ask("objects of a namespace", "GET", "/objects/search?namespace=ns0", {}))
    asks.append(Ask("objects, by a body", "POST", "/objects/search", {}, {}))
    return asks


def _log(client: Client) -> list[Ask]:
    lines = b"\n".join(operation.raw for operation in WRITTEN.operations)
    posted = client.request("POST", path("/operations"), body=lines, headers={"Content-Type": "application/x-ndjson"})
    assert posted.json["accepted"] == 5, posted.body
    claim = quote(IDS["claim"], safe="")
    lists = ("/claims", "/grants", "/evidence", "/inferences", "/operations", "/pending")
    others = ("/state", "/heads", f"/operations/{claim}", f"/claims/{claim}/why", f"/projection?key={quote(ROOT.id)}")
    asked = [*lists, *others]
    return [Ask("logs", "GET", "/logs", {}), *(Ask(f"log {rest[:12]}", "GET", path(rest), {}) for rest in asked)]


def _vault(server: Running) -> list[Ask]:
    with Caller(server.port, ALICE) as alice:
        for repo in ("r1", "r2"):
            assert alice.create(creation(repo, ALICE)).status == 200
        assert alice.add("r1", entry(BOB.id)).status == 200
        assert alice.push("r1", 1, envelope("r1", 2)).status == 200
        alice.challenge()  # stays unanswered
        pulls = [
            Ask(
                f"pull {repo}",
                "POST",
                f"/v1/repos/{repo}/pull",
                alice.headers,
                {"repoId": repo, "knownPayloadVersion": 0},
            )
            for repo in ("r1", "r2")
        ]
        member = f"/v1/repos/r1/member/{quote(BOB.id, safe='')}"
        return [*pulls, Ask("member key", "GET", member, alice.headers)]


def _registry(server: Running) -> list[Ask]:
    # The name sorts before _server, whose key is not there without the package cryptography.
    with User.new(server.port, "Mark") as mark:
        names = [mark.register(claim(lat=float(number)))["id"] for number in range(3)]
        names.append(mark.register({"space": TRIANGLE, "service_point": "https://t.example/", "foad": False})["id"])
        assert mark.request("POST", "/release", {"id": names[0]}).status in (200, 204)
        mark.request("POST", "/auth/login", {"username": "Mark", "password": "wrong"})
        published = mark.request("PUT", "/auth/me/keys/laptop", {"public_key": b64_encode(bytes(32))})
        assert published.status in (200, 201), published.body
        bearer = {"Authorization": f"Bearer {mark.token}"}
        taken = {
            "registrations": [
                {
                    "id": "reg_elsewhere",
                    "owner": "eve@there.example",
                    "space": OPERA,
                    "service_point": "https://there.example/",
                    "foad": False,
                    "origin_server": "https://there.example",
                    "origin_id": "reg_there",
                    "version": 1,
                    "created": "2026-01-01T00:00:00Z",
                    "updated": "2026-01-01T00:00:00Z",
                }
            ],
            "tombstones": [],
            "peers": [{"server_url": "https://peer.example", "hint": "a peer", "is_configured": True}],
        }
        imported = mark.request("POST", "/admin/import", taken, OPERATOR)
        assert imported.status == 200, imported.body
        assert mark.request("POST", "/admin/whitelist", {"email": "mark@example.com"}, OPERATOR).status == 201
    return [
        Ask("search", "POST", "/search", {}, around(1.0, 0.0, 300_000)),
        Ask("search a polygon", "POST", "/search", {}, around(10.1, 10.1, 10)),
        Ask("registrations", "GET", "/registrations", bearer),
        Ask("my registrations", "GET", "/auth/me/registrations", bearer),
        Ask("snapshot", "GET", "/sync/snapshot", {}),
        Ask("changes", "GET", "/sync/changes?since=", {}),
        Ask("export", "GET", "/admin/export", OPERATOR),
        Ask("peers", "GET", "/admin/peers", OPERATOR),
        Ask("whitelist", "GET", "/admin/whitelist", OPERATOR),
        Ask("about the registry", "GET", "/.well-known/mrs", {}),
        Ask("keys", "GET", "/.well-known/mrs/keys/Mark", {}),
        Ask("who am I", "GET", "/auth/me", bearer),
    ]


def _profile(client: Client) -> list[Ask]:
    owner = Owner(4711)
    messages = [{"run_id": "r", "role": "human", "content": f"text {number}"} for number in range(3)]
    assert owner.post(client, "/messages", {"messages": messages}).status == 200
    assert owner.post(client, "/prompts", {"overrides": {"friends_profile": "short"}}).status == 200
    return [
        Ask(f"profile {endpoint}", "GET", f"/api/v1{endpoint}", owner.bearer)
        for endpoint in ("/config", "/prompts", "/messages")
    ]


def rows(path: Path) -> dict[str, list[tuple[bytes, bytes]]]:
    """The rows of every table of a file that no server has open."""
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {table: db.execute(f'SELECT key, value FROM "{table}" ORDER BY key').fetchall() for table in tables}


def rewrite(path: Path, table: str, row: bytes, value: bytes | None) -> None:
    """Give a row another value, with the checksum that belongs to it, or delete it: wrong, but not damaged."""
    sql = statements(table)
    with closing(sqlite3.connect(path)) as db, db:
        if value is None:
            db.execute(sql.delete, (row,))
        else:
            db.execute(sql.put, (row, value, checksum(sql.seed, row, value)))


def flip(path: Path, row: tuple[bytes, bytes], *, in_key: bool) -> bool:
    """Flip a bit of a row where it lies in the file, in the middle of its key or of its value; False if not found."""
    key, value = row
    data = bytearray(path.read_bytes())
    at = data.find(key + value)
    if at < 0 or not (key if in_key else value):
        return False  # a value of several pages, or an empty one
    at += len(key) // 2 if in_key else len(key) + len(value) // 2
    data[at] ^= 0x04
    path.write_bytes(data)
    return True
