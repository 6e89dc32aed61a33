"""Members with fixed keys who talk to a vault over sockets: for the end-to-end tests of the vault."""

from __future__ import annotations

import hashlib
from typing import Any, Self
from urllib.parse import quote

from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.encodings import b64_decode, b64_encode
from omp.tests.harness import Answer, Client


class Party:
    """Somebody with an Ed25519 key, made from a name."""

    def __init__(self, name: str) -> None:
        self.seed = hashlib.sha256(name.encode()).digest()
        self.public_key = public_key_slowly(self.seed)
        self.id = b64_encode(self.public_key)

    def sign(self, message: bytes) -> str:
        """A signature in base64, made by hand: the suite runs without `cryptography` too."""
        return b64_encode(sign_slowly(self.seed, message))

    def redemption(self, nonce: str) -> dict[str, str]:
        """The body of the token request that answers `nonce`."""
        return {"ed25519PublicKey": self.id, "nonce": nonce, "signature": self.sign(b64_decode(nonce))}


ALICE, BOB, CAROL = Party("alice"), Party("bob"), Party("carol")


def entry(member_id: str, epoch: int = 0, x25519: str = "x-abc", **more: Any) -> dict[str, Any]:
    """A MemberEntry whose strings the server must not care about."""
    wrapped = {"schemeId": "scheme", "ephemeralPublicKey": "eph", "iv": "iv", "ciphertext": "wrapped"}
    own = {"ed25519PublicKey": member_id, "x25519PublicKey": x25519, "wrappedDataKey": wrapped, "keyEpoch": epoch}
    return own | more


def envelope(repo_id: str, version: int, epoch: int = 0, ciphertext: str = "c2VjcmV0", **more: Any) -> dict[str, Any]:
    """An EncryptedEnvelope."""
    numbers = {"repoId": repo_id, "payloadVersion": version, "keyEpoch": epoch}
    return {**numbers, "iv": "iv", "ciphertext": ciphertext, **more}


def creation(repo_id: str, creator: Party, version: int = 1, **more: Any) -> dict[str, Any]:
    """The body of createRepo; `more` are further members of the manifest."""
    manifest = {"repoId": repo_id, "schemeId": "scheme", "keyEpoch": 0, "payloadVersion": version}
    members = {"members": [entry(creator.id)]}
    return {"manifest": {**manifest, **members, **more}, "initialEnvelope": envelope(repo_id, version)}


def removal(repo_id: str, removed: str, staying: list[str], version: int, epoch: int) -> dict[str, Any]:
    """The body of remove-member."""
    return {
        "repoId": repo_id,
        "removedMemberId": removed,
        "rotatedEnvelope": envelope(repo_id, version, epoch),
        "rewrappedMembers": [entry(member_id, epoch) for member_id in staying],
        "newKeyEpoch": epoch,
    }


class Caller(Client):
    """A connection with a token: what a member's client is."""

    def __init__(self, port: int, party: Party) -> None:
        super().__init__(port)
        self.party = party
        nonce = self.challenge()
        answer = self.request("POST", "/api/auth/keypair/token", party.redemption(nonce))
        assert answer.status == 200, answer.body
        self.token = answer.json["token"]
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def __enter__(self) -> Self:
        return self

    def challenge(self) -> str:
        """A fresh nonce."""
        answer = self.request("POST", "/api/auth/keypair/challenge", {"ed25519PublicKey": self.party.id})
        nonce: str = answer.json["nonce"]
        return nonce

    def create(self, body: Any) -> Answer:
        """createRepo."""
        return self.request("POST", "/v1/repos", body, self.headers)

    def call(self, repo_id: str, operation: str, body: Any) -> Answer:
        """An operation on a repository; `repoId` is added to the body."""
        path = f"/v1/repos/{quote(repo_id, safe='')}/{operation}"
        return self.request("POST", path, {"repoId": repo_id, **body}, self.headers)

    def pull(self, repo_id: str, known: int = -1) -> Answer:
        """pull."""
        return self.call(repo_id, "pull", {"knownPayloadVersion": known})

    def push(self, repo_id: str, expected: int, sealed: Any, **more: Any) -> Answer:
        """push."""
        return self.call(repo_id, "push", {"envelope": sealed, "expectedPayloadVersion": expected, **more})

    def add(self, repo_id: str, member: Any) -> Answer:
        """addMember."""
        return self.call(repo_id, "add-member", {"member": member})

    def member(self, repo_id: str, member_id: str) -> Answer:
        """fetchMemberKey."""
        path = f"/v1/repos/{quote(repo_id, safe='')}/member/{quote(member_id, safe='')}"
        return self.request("GET", path, headers=self.headers)
