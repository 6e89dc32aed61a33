"""Members with fixed keys that talk to a vault over sockets, and a test case with three of them."""

from __future__ import annotations

import hashlib
import unittest
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self
from urllib.parse import quote

from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.encodings import b64_decode, b64_encode
from omp.tests.harness import Answer, Client, Running, running_server


class Party:
    """A member with an Ed25519 key derived from a name."""

    def __init__(self, name: str) -> None:
        self.seed = hashlib.sha256(name.encode()).digest()
        self.public_key = public_key_slowly(self.seed)
        self.id = b64_encode(self.public_key)

    def sign(self, message: bytes) -> str:
        """A signature in base64, by the hand-written code: the tests also run without `cryptography`."""
        return b64_encode(sign_slowly(self.seed, message))

    def redemption(self, nonce: str) -> dict[str, str]:
        """The body of the token request that answers `nonce`."""
        return {"ed25519PublicKey": self.id, "nonce": nonce, "signature": self.sign(b64_decode(nonce))}


ALICE, BOB, CAROL = Party("alice"), Party("bob"), Party("carol")


def entry(member_id: str, epoch: int = 0, x25519: str = "x-abc", **more: Any) -> dict[str, Any]:
    """A MemberEntry; its strings mean nothing, because the server must not look at them."""
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

    def __init__(self, port: int, party: Party, token: str = "") -> None:
        super().__init__(port)
        self.party = party
        self.token = token or self.log_in()
        self.headers = {"Authorization": f"Bearer {self.token}"}

    def log_in(self) -> str:
        """A new token."""
        answer = self.request("POST", "/api/auth/keypair/token", self.party.redemption(self.challenge()))
        assert answer.status == 200, answer.body
        token: str = answer.json["token"]
        return token

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

    def pull(self, repo_id: str, known: float = -1) -> Answer:
        """pull."""
        return self.call(repo_id, "pull", {"knownPayloadVersion": known})

    def push(self, repo_id: str, expected: float, sealed: Any, **more: Any) -> Answer:
        """push."""
        return self.call(repo_id, "push", {"envelope": sealed, "expectedPayloadVersion": expected, **more})

    def add(self, repo_id: str, member: Any) -> Answer:
        """addMember."""
        return self.call(repo_id, "add-member", {"member": member})

    def member(self, repo_id: str, member_id: str) -> Answer:
        """fetchMemberKey."""
        path = f"/v1/repos/{quote(repo_id, safe='')}/member/{quote(member_id, safe='')}"
        return self.request("GET", path, headers=self.headers)


class VaultCase(unittest.TestCase):
    """A server for the class, Alice, Bob and Carol with their connections, and a repository id for each test."""

    environ: ClassVar[dict[str, str]] = {}
    context: ClassVar[AbstractContextManager[Running]]
    server: ClassVar[Running]
    alice: ClassVar[Caller]
    bob: ClassVar[Caller]
    carol: ClassVar[Caller]

    @classmethod
    def setUpClass(cls) -> None:
        cls.context = running_server(cls.environ)
        cls.server = cls.context.__enter__()
        cls.alice, cls.bob, cls.carol = (Caller(cls.server.port, party) for party in (ALICE, BOB, CAROL))

    @classmethod
    def tearDownClass(cls) -> None:
        for caller in (cls.alice, cls.bob, cls.carol):
            caller.close()
        cls.context.__exit__(None, None, None)

    def setUp(self) -> None:
        self.repo = self.id()

    def answered(self, answer: Answer, status: int, code: str = "") -> Any:
        """Assert the status, and the code of the error if there is one; return the JSON of the answer."""
        value = answer.json
        self.assertEqual((answer.status, value.get("code", "")), (status, code), str(value)[:500])
        if code:
            self.assertLessEqual(value.keys(), {"error", "code", "detail"})
        return value

    def created(self, **more: Any) -> Any:
        return self.answered(self.alice.create(creation(self.repo, ALICE, **more)), 200)

    def with_bob(self) -> None:
        self.created()
        self.answered(self.alice.add(self.repo, entry(BOB.id)), 200)
