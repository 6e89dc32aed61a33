"""For schemathesis: each request is sent by somebody whom its protocol knows, so that more than refusals is seen."""

from __future__ import annotations

import json
import os
import urllib.request
from functools import cache
from typing import Any

import schemathesis

from omp.rules import ed25519
from omp.rules.encodings import b64_decode, b64_encode

URL = os.environ["OMP_URL"]
SEED = bytes(range(32))


def ask(path: str, body: Any) -> Any:
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@cache
def vault_token() -> str:
    key = {"ed25519PublicKey": b64_encode(ed25519.public_key_slowly(SEED))}
    nonce = ask("/api/auth/keypair/challenge", key)["nonce"]
    signature = b64_encode(ed25519.sign_slowly(SEED, b64_decode(nonce)))
    return str(ask("/api/auth/keypair/token", {**key, "nonce": nonce, "signature": signature})["token"])


@cache
def registry_token() -> str:
    return str(ask("/auth/register", {"username": "caller", "password": "secret"})["token"])


TOKENS = {"avp": vault_token, "mrs": registry_token, "nexus": lambda: "0x" + "11" * 20}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    token = TOKENS.get(case.operation.definition.raw["tags"][0])
    if token is not None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {token()}"}
        for name in ("Signature", "Signature-Input"):
            case.headers.pop(name, None)
