"""An owner of a NEXUS profile, for the tests: a key, signed by hand, and requests over a real socket."""

from __future__ import annotations

import contextlib
import json
import tempfile
import unittest
from typing import Any, ClassVar

from omp.protocols.nexus.ethereum import RecoverableSignature, address, public_key_slowly, sign_slowly, signature_text
from omp.protocols.nexus.keccak import keccak256
from omp.tests.harness import Answer, Client, Running, running_server

BASE = "/api/v1"


class Owner:
    """Whoever holds the key `secret`."""

    def __init__(self, secret: int) -> None:
        self.secret = secret
        self.address = address(public_key_slowly(secret))

    @property
    def bearer(self) -> dict[str, str]:
        """The header field that names this owner."""
        return {"Authorization": f"Bearer {self.address}"}

    def signature(self, body: Any) -> RecoverableSignature:
        """Over `body` (without auth), as the web client signs."""
        payload = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return sign_slowly(self.secret, keccak256(payload.encode()))

    def signed(self, body: dict[str, Any]) -> dict[str, Any]:
        """`body` with auth."""
        return {**body, "auth": {"publicKey": self.address, "signature": signature_text(self.signature(body))}}

    def post(self, client: Client, endpoint: str, body: dict[str, Any]) -> Answer:
        """Send `body`, signed."""
        return client.request("POST", BASE + endpoint, self.signed(body), self.bearer)

    def get(self, client: Client, endpoint: str) -> Answer:
        """Read as this owner."""
        return client.request("GET", BASE + endpoint, headers=self.bearer)


def next_page(answer: Answer) -> str:
    """The target of ``Link: rel="next"``, "" if there is none."""
    link = answer.headers.get("link", "")
    return link[link.index("<") + 1 : link.index(">")] if 'rel="next"' in link else ""


class OneServer(unittest.TestCase):
    """A server for the whole class; every test takes keys of its own, so that none sees another's rows."""

    storage = "memory"
    _stack: ClassVar[contextlib.ExitStack]
    running: ClassVar[Running]
    _secret: ClassVar[int] = 1000

    @classmethod
    def setUpClass(cls) -> None:
        cls._stack = contextlib.ExitStack()
        folder = cls._stack.enter_context(tempfile.TemporaryDirectory())
        storage = cls.storage.replace("FOLDER", folder)
        cls.running = cls._stack.enter_context(running_server(storage=storage))

    @classmethod
    def tearDownClass(cls) -> None:
        cls._stack.close()

    def setUp(self) -> None:
        self.client = Client(self.running.port)
        self.addCleanup(self.client.close)
        OneServer._secret += 1
        self.owner = Owner(OneServer._secret)

    def profile(self, owner: Owner) -> Any:
        """What GET /config answers."""
        answer = owner.get(self.client, "/config")
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def assert_refused(self, answer: Answer, status: int, *words: str) -> None:
        """The status, the error shape of §9.2, and words of the sentence."""
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(list(answer.json), ["detail"])
        for word in words:
            self.assertIn(word, answer.json["detail"])
