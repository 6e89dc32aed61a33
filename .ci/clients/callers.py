"""For schemathesis: each request is sent by somebody whom its protocol knows, so that more than refusals is seen.

They are those of the examples, so what the examples name is theirs.
"""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any

import schemathesis

from omp.protocols.nexus.ethereum import address, public_key_slowly
from omp.rules import ed25519
from omp.rules.encodings import b64_decode, b64_encode
from omp.tests.web.examples import ALICE, OWNER

URL = os.environ["OMP_URL"]


def ask(path: str, body: Any) -> Any:
    """The answer to a POST."""
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def vault_token() -> str:
    """A token of the member of the examples."""
    key = {"ed25519PublicKey": b64_encode(ed25519.public_key_slowly(ALICE))}
    nonce = ask("/api/auth/keypair/challenge", key)["nonce"]
    signature = b64_encode(ed25519.sign_slowly(ALICE, b64_decode(nonce)))
    return str(ask("/api/auth/keypair/token", {**key, "nonce": nonce, "signature": signature})["token"])


TOKENS = {
    "avp": vault_token(),
    "mrs": ask("/auth/login", {"username": "mark", "password": "secret"})["token"],
    "nexus": address(public_key_slowly(OWNER)),
}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Say who calls."""
    token = TOKENS.get(case.operation.definition.raw["tags"][0])
    if token is not None and "/admin/" not in case.operation.path:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token}"}
        for name in ("Signature", "Signature-Input"):
            case.headers.pop(name, None)


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """A body of lines, which the document describes as a text."""
    return str(value).encode(errors="replace")
