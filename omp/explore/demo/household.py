"""The demo's vault: Ann and Ben share a shopping list that the server cannot read (avp §4).

Ann made the repository and let Ben in, and Carol.  When Carol moved out, Ann removed her: the key epoch rose, and what
was written since is encrypted under a data key that Carol never had.

Wrapping and sealing need the package ``cryptography``, and the demo shall start without it.  So the requests are kept
in ``household.json``, in the order in which they were sent; ``python3 -m omp.tests.explore.household --write`` makes
them anew, and a test finds out when they no longer are what it would make.  Only the logins are made here: a challenge
is another one each time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omp.explore.demo import Visitor, seed
from omp.rules import ed25519
from omp.rules.encodings import b64_decode, b64_encode

MEMBERS = ("Ann", "Ben", "Carol")
REPOSITORY = "the-household"
FILE = Path(__file__).with_name("household.json")


def keys_of(name: str) -> Mapping[str, str]:
    """The key file of a member, as ``python3 -m omp vault`` writes it."""
    halves = {"ed25519Seed": seed(f"{name} signs"), "x25519PrivateKey": seed(f"{name} opens")}
    return {member: b64_encode(secret) for member, secret in halves.items()}


def log_in(visitor: Visitor, name: str) -> str:
    """A token for a member (avp §3)."""
    secret = b64_decode(keys_of(name)["ed25519Seed"])
    key = {"ed25519PublicKey": b64_encode(ed25519.public_key_slowly(secret))}
    nonce = visitor.ask("POST", "/api/auth/keypair/challenge", key)["nonce"]
    signature = b64_encode(ed25519.sign_slowly(secret, b64_decode(nonce)))
    answer = visitor.ask("POST", "/api/auth/keypair/token", {**key, "nonce": nonce, "signature": signature})
    return str(answer["token"])


def fill(visitor: Visitor) -> Mapping[str, Any]:
    """Send the requests again; returns the vault's part of the guide."""
    tokens = {name: log_in(visitor, name) for name in MEMBERS}
    for request in json.loads(FILE.read_text(encoding="utf-8")):
        visitor.ask("POST", request["path"], request["body"], tokens[request["by"]])
    return {"vault": {"repository": REPOSITORY, "keys": {name: keys_of(name) for name in MEMBERS[:2]}}}
