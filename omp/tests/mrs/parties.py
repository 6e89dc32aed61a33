"""Who takes part in the tests of MRS: users of a server, identities of other servers."""

from __future__ import annotations

import json
import time
import unittest
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar
from urllib.parse import urlsplit

from omp.rules import ed25519
from omp.rules.encodings import b64_encode
from omp.rules.http_signatures import sign
from omp.rules.signature_base import SignedRequest
from omp.tests.harness import Answer, Client, Running, running_server

OPERA = {"type": "sphere", "center": {"lat": -33.8568, "lon": 151.2153, "ele": 0}, "radius": 100}
"""A sphere around the Sydney Opera House."""
COVERED = ("@method", "@path", "mrs-identity")


def claim(lat: float = 0.0, lon: float = 0.0, radius: float = 50.0, point: str = "https://example.com/a") -> Any:
    """A body of ``POST /register``."""
    center = {"lat": lat, "lon": lon, "ele": 0}
    return {"space": {"type": "sphere", "center": center, "radius": radius}, "service_point": point, "foad": False}


def around(lat: float, lon: float, metres: float) -> Any:
    """A body of ``POST /search``."""
    return {"location": {"lat": lat, "lon": lon}, "range": metres}


class User(Client):
    """A connection of a user of the server itself; `token` "" sends none."""

    def __init__(self, port: int, token: str = "") -> None:
        super().__init__(port)
        self.token = token

    def __enter__(self) -> User:
        return self

    @classmethod
    def new(cls, port: int, name: str) -> User:
        """Make an account on the server."""
        user = cls(port)
        user.token = user.request("POST", "/auth/register", {"username": name, "password": "secret"}).json["token"]
        return user

    def request(
        self,
        method: str,
        path: str,
        json: Any = ...,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return super().request(method, path, json, {**bearer, **(headers or {})}, body)

    def register(self, body: Any) -> Any:
        """The registration made of `body`."""
        answer = self.request("POST", "/register", body)
        assert answer.status == 201, answer.body
        return answer.json["registration"]

    def search(self, lat: float, lon: float, metres: float) -> Any:
        """The answer to a search."""
        answer = self.request("POST", "/search", around(lat, lon, metres))
        assert answer.status == 200, answer.body
        return answer.json


class Signer:
    """An identity whose key another server publishes."""

    def __init__(self, identity: str, key_url: str, seed: bytes) -> None:
        self.identity = identity
        self.key_url = key_url
        self.seed = seed
        self.public_key = b64_encode(ed25519.public_key_slowly(seed))

    def headers(self, method: str, url: str, body: bytes = b"", **changes: Any) -> dict[str, str]:
        """The header fields of a signed request; `changes` to what is signed, for signatures that must fail."""
        identity = changes.pop("identity", self.identity)
        split = urlsplit(url)
        target = split.path + (f"?{split.query}" if split.query else "")
        request = SignedRequest(method, split.scheme, split.netloc, target, [("mrs-identity", identity)], body)
        options = {"keyid": self.key_url, "created": int(time.time()), "components": COVERED, **changes}
        fields = sign(request, signer=lambda message: ed25519.sign_slowly(self.seed, message), **options)
        return {"MRS-Identity": identity, **dict(fields)}

    def request(self, client: Client, url: str, method: str, path: str, value: Any = ..., **changes: Any) -> Answer:
        """Send a signed request with the JSON `value` as its body."""
        body = b"" if value is ... else json.dumps(value).encode()
        return client.request(
            method, path, headers=self.headers(method, url + path, body, **changes), body=body or None
        )


class RegistryCase(unittest.TestCase):
    """A server for the class, and the connections of Mark and Ann, who have accounts, and of a stranger."""

    environ: ClassVar[dict[str, str]] = {}
    context: ClassVar[AbstractContextManager[Running]]
    server: ClassVar[Running]
    mark: ClassVar[User]
    ann: ClassVar[User]
    stranger: ClassVar[User]

    @classmethod
    def setUpClass(cls) -> None:
        cls.context = running_server(cls.environ)
        cls.server = cls.context.__enter__()
        cls.mark, cls.ann = (User.new(cls.server.port, name) for name in ("mark", "ann"))
        cls.stranger = User(cls.server.port)

    @classmethod
    def tearDownClass(cls) -> None:
        for user in (cls.mark, cls.ann, cls.stranger):
            user.close()
        cls.context.__exit__(None, None, None)

    def refused(self, answer: Answer, status: int, word: str = "") -> str:
        """Assert the status, the shape of errors, and a word of the sentence; the sentence."""
        value = answer.json
        self.assertEqual((answer.status, list(value)), (status, ["detail"]), answer.body[:300])
        self.assertIn(word, value["detail"])
        return str(value["detail"])
