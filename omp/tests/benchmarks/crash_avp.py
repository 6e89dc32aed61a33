"""AVP vaults under ``bench crash``: challenges and tokens, pushes with an expected version, members who come and go.

Things are the repositories of a member, each as a pull answers it: manifest and envelope together, so that a crash
between the two would be seen.  Beside them two members share one repository and push to it at the same time: of two
pushes that expect the same version at most one may be accepted, also where a crash lies between them.  A nonce that was
answered must be good after the crash, once.
"""

from __future__ import annotations

import threading
import time
from hashlib import sha256
from random import Random
from typing import Any
from urllib.parse import quote

from omp.rules.encodings import b64_encode
from omp.tests.avp.parties import Party, creation, entry, envelope, removal
from omp.tests.benchmarks.crash_client import Broken, Writer

REPOSITORIES = 8
_MEMBERS = 12
_NONCE_SECONDS = 60  # half of what a nonce is good for (avp §3.1)


class Shared:
    """The repository of two members, and what was accepted of whom."""

    def __init__(self, owner: Party, guest: Party, repo_id: str) -> None:
        self.owner = owner
        self.guest = guest
        self.repo_id = repo_id
        self.lock = threading.Lock()
        self.accepted: dict[int, str] = {1: "c2VjcmV0"}
        """Version -> ciphertext of the push that was answered."""
        self.sent: dict[int, set[str]] = {}
        """Version -> ciphertexts of pushes without an answer."""
        self.version = 1
        """The greatest that anybody was told."""

    def told(self, version: int, ciphertext: str) -> None:
        """A member pulled this.  Raises :class:`Broken` where it cannot be."""
        with self.lock:
            if version < self.version:
                raise Broken(f"{self.repo_id} is at version {version}, after version {self.version} was answered")
            self.version = version
            known = self.accepted.get(version)
            possible = {known} if known is not None else self.sent.get(version, set())
            if ciphertext not in possible:
                raise Broken(f"version {version} of {self.repo_id} is {ciphertext}, and must be one of {possible}")
            self.accepted[version] = ciphertext


class VaultWriter(Writer):
    """A member."""

    protocol = "avp"

    def __init__(self, name: str, random: Random, shared: Shared) -> None:
        super().__init__(name, random)
        self.party = Party(name)
        self._shared = shared
        self._bearer: dict[str, str] = {}
        self._nonces: list[tuple[float, str]] = []
        self._tried: set[str] = set()
        """Nonces whose redemption has no answer."""
        self._count = 0

    def prepare(self) -> None:
        """Log in, and begin the repository that is shared."""
        self._bearer = self._login(self._challenge())
        shared = self._shared
        if shared.owner.id == self.party.id:
            self._post("/v1/repos", creation(shared.repo_id, self.party))
            self._operate(shared.repo_id, "add-member", {"member": entry(shared.guest.id)})

    # --- Writing

    def write(self) -> None:
        """One of a member's requests."""
        chance = self.random.random()
        if chance < 0.15:
            self._nonces.append((time.monotonic(), self._challenge()))
            self.ledger.answered += 1
        elif chance < 0.2 and self._nonces:
            self._redeem(*self._nonces.pop(), again=False)
        elif chance < 0.4:
            self._push_together()
        elif len(self.ledger.states) < REPOSITORIES and chance < 0.6:
            self._create()
        else:
            there = [name for name, state in self.ledger.states.items() if state is not None]
            if there:
                self._change(self.random.choice(there))

    def _create(self) -> None:
        self._count += 1
        repo_id = f"{self.name}-{self._count}"
        body = creation(repo_id, self.party)
        after = {"manifest": body["manifest"], "envelope": body["initialEnvelope"]}
        self._change_to(repo_id, after, "/v1/repos", body)

    def _change(self, repo_id: str) -> None:
        state = self.ledger.states[repo_id]
        manifest = state["manifest"]
        version, epoch, members = manifest["payloadVersion"], manifest["keyEpoch"], manifest["members"]
        others = [one["ed25519PublicKey"] for one in members if one["ed25519PublicKey"] != self.party.id]
        chance = self.random.random()
        if chance < 0.2 and len(others) < _MEMBERS:
            self._count += 1
            member = entry(b64_encode(sha256(f"{self.name}{self._count}".encode()).digest()), epoch)
            after = {**state, "manifest": {**manifest, "members": [*members, member]}}
            self._change_to(repo_id, after, f"/v1/repos/{repo_id}/add-member", {"repoId": repo_id, "member": member})
        elif chance < 0.4 and others:
            removed = self.random.choice(others)
            staying = [one["ed25519PublicKey"] for one in members if one["ed25519PublicKey"] != removed]
            body = removal(repo_id, removed, staying, version + 1, epoch + 1)
            numbers = {"payloadVersion": version + 1, "keyEpoch": epoch + 1}
            after = {
                "manifest": {**manifest, **numbers, "members": body["rewrappedMembers"]},
                "envelope": body["rotatedEnvelope"],
            }
            self._change_to(repo_id, after, f"/v1/repos/{repo_id}/remove-member", body)
        else:
            sealed = envelope(repo_id, version + 1, epoch, self._ciphertext())
            after = {"manifest": {**manifest, "payloadVersion": version + 1}, "envelope": sealed}
            body = {"repoId": repo_id, "envelope": sealed, "expectedPayloadVersion": version}
            self._change_to(repo_id, after, f"/v1/repos/{repo_id}/push", body)

    def _change_to(self, repo_id: str, after: dict[str, Any], path: str, body: Any) -> None:
        self.ledger.begin(repo_id, lambda found: bool(found == after))
        answer = self._post(path, body)
        self.ledger.end(repo_id, after)
        if path.endswith("/push") and not answer["accepted"]:
            raise Broken(f"a push to {repo_id} was refused, though nobody else writes there: {answer}")

    def _push_together(self) -> None:
        """Push to the shared repository on the version that was last heard of."""
        shared = self._shared
        expected, ciphertext = shared.version, self._ciphertext()
        with shared.lock:
            shared.sent.setdefault(expected + 1, set()).add(ciphertext)
        sealed = envelope(shared.repo_id, expected + 1, 0, ciphertext)
        body = {"envelope": sealed, "expectedPayloadVersion": expected}
        answer = self._operate(shared.repo_id, "push", body)
        with shared.lock:
            if not answer["accepted"]:
                shared.sent[expected + 1].discard(ciphertext)
            elif shared.accepted.setdefault(expected + 1, ciphertext) != ciphertext:
                raise Broken(f"two pushes of version {expected + 1} to {shared.repo_id} were accepted")
            shared.version = max(shared.version, answer["payloadVersion"])
        self.ledger.answered += 1

    def _ciphertext(self) -> str:
        return b64_encode(self.random.randbytes(self.random.choice((9, 300, 3000))))

    # --- Checking

    def settle(self) -> None:
        """Pull what is open."""
        for repo_id in self.ledger.open():
            self.ledger.settle(repo_id, self._pulled(repo_id))

    def check(self, everything: bool) -> None:
        """Pull every repository; the nonces that were answered are good, once."""
        for repo_id in sorted({*self.ledger.states, *self.ledger.open()}):
            self.ledger.settle(repo_id, self._pulled(repo_id))
        self._check_shared(self._shared)
        while self._nonces:
            self._redeem(*self._nonces.pop(), again=True)

    def _check_shared(self, shared: Shared) -> None:
        pulled = self._pulled(shared.repo_id)
        if pulled is None:
            raise Broken(f"{shared.repo_id} is gone")
        version, sealed = pulled["manifest"]["payloadVersion"], pulled["envelope"]
        shared.told(version, sealed["ciphertext"])
        if version != sealed["payloadVersion"]:
            raise Broken(f"manifest and envelope of {shared.repo_id} are of different versions: {pulled}")

    def _pulled(self, repo_id: str) -> dict[str, Any] | None:
        path = f"/v1/repos/{quote(repo_id, safe='')}/pull"
        body = {"repoId": repo_id, "knownPayloadVersion": -1}
        answer = self.ask("POST", path, body, self._bearer, expected=(200, 404))
        if answer.status == 404:
            return None
        return {name: answer.json[name] for name in ("manifest", "envelope")}

    # --- Challenges and tokens

    def _challenge(self) -> str:
        return str(self._post("/api/auth/keypair/challenge", {"ed25519PublicKey": self.party.id})["nonce"])

    def _login(self, nonce: str) -> dict[str, str]:
        token = self._post("/api/auth/keypair/token", self.party.redemption(nonce))["token"]
        return {"Authorization": f"Bearer {token}"}

    def _redeem(self, asked: float, nonce: str, again: bool) -> None:
        """Log in with a nonce that was answered; `again`: and see that it is used up then."""
        if time.monotonic() - asked > _NONCE_SECONDS:
            return
        body = self.party.redemption(nonce)
        expected = (200, 401) if nonce in self._tried else (200,)
        self._tried.add(nonce)
        self._nonces.append((asked, nonce))  # until there is an answer
        answer = self.ask("POST", "/api/auth/keypair/token", body, expected=expected)
        self._nonces.pop()
        if answer.status == 200:
            self._bearer = {"Authorization": f"Bearer {answer.json['token']}"}
            self.ledger.answered += 1
        if again:
            self.ask("POST", "/api/auth/keypair/token", body, expected=(401,))

    def _operate(self, repo_id: str, operation: str, body: Any) -> Any:
        return self._post(f"/v1/repos/{quote(repo_id, safe='')}/{operation}", {"repoId": repo_id, **body})

    def _post(self, path: str, body: Any) -> Any:
        return self.ask("POST", path, body, self._bearer).json
