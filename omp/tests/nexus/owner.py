"""An owner of a NEXUS profile, for the tests: a key, signed by hand, and requests over a real socket."""

from __future__ import annotations

import json
from typing import Any

from omp.protocols.nexus.ethereum import address, signature_text
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.secp256k1 import Signature, public_key_slowly, sign_slowly
from omp.tests.harness import Answer, Client

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

    def signature(self, body: Any) -> Signature:
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
