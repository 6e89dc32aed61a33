"""The vectors of AVP: what a client computes (§8, §10), the login (§3), the requests and answers of a life (§4).

Everything is made from fixed seeds: the "randomness" of a case is SHAKE-128 of its name and a counter.  Sealing and
wrapping need the package ``cryptography``, as the client does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from omp.protocols.avp import member, sealing, served
from omp.protocols.avp.member import Address, Keys
from omp.protocols.avp.repository import VaultPolicy
from omp.protocols.avp.routes import Vault
from omp.protocols.avp.sessions import Sessions
from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.encodings import b64_decode, b64_encode, b64u_encode
from omp.rules.engines import best_engine
from omp.store.memory import MemoryStore
from omp.web.messages import Request
from omp.web.routes import Application

NOW = 1_760_000_000  # epoch seconds of every exchange
REPO = "3b1f9c64/vault"  # the slash has to be percent-encoded in paths


def generate() -> dict[str, Any]:
    """Relative path → document."""
    return {
        f"avp/{kind}.json": {"kind": f"avp/{kind}", "description": description, "spec": spec, "cases": list(cases())}
        for kind, spec, description, cases in _SETS
    }


class FixedBytes:
    """Stands in for the system's randomness: the bytes follow from `name` and from how often it was asked."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_128(f"{self._name} {self._count}".encode()).digest(size)


# --- What a client computes -----------------------------------------------------------------------------------


def _aad_cases() -> Iterable[dict[str, Any]]:
    for name, repo_id, version, epoch in (
        ("the smallest", "r", 0, 0),
        ("ordinary", "3b1f9c64-0b2a-4f1e-9c3d-1a2b3c4d5e6f", 7, 2),
        ("the largest counters", "r", 2**63 - 1, 2**63 - 1),
        ("an id that is not ASCII", "пример/\U0001f511", 258, 1),
        ("an id that holds the separator", "a\x1fb", 1, 1),
    ):
        aad = sealing.aad(repo_id, version, epoch)
        yield {"name": name, "repoId": repo_id, "payloadVersion": version, "keyEpoch": epoch, "aad": aad.hex()}


def _payload_cases() -> Iterable[dict[str, Any]]:
    random = FixedBytes("payload")
    data_key = random(32)
    for name, plaintext in (("text", b"the plan"), ("empty", b""), ("binary", bytes(range(256)))):
        envelope = sealing.seal(data_key, random(12), "repo", 3, 1, plaintext)
        yield _payload(name, data_key, envelope, plaintext)
    good = sealing.seal(data_key, random(12), "repo", 3, 1, b"the plan")
    for name, change in (
        ("must fail: the epoch changed", {"keyEpoch": 2}),
        ("must fail: the version changed", {"payloadVersion": 2}),
        ("must fail: another repository", {"repoId": "repo2"}),
        ("must fail: another IV", {"iv": b64_encode(random(12))}),
        ("must fail: the last bit of the tag flipped", {"ciphertext": _flipped(good["ciphertext"])}),
        ("must fail: shorter than a tag", {"ciphertext": b64_encode(random(15))}),
    ):
        yield _payload(name, data_key, good | change, None)
    yield _payload("must fail: another key", random(32), good, None)
    long_iv = sealing.seal(data_key, random(16), "repo", 3, 1, b"the plan")
    yield _payload("must fail: sealed with an IV of 16 bytes", data_key, long_iv, None)


def _payload(name: str, data_key: bytes, envelope: Mapping[str, Any], plaintext: bytes | None) -> dict[str, Any]:
    opened = None if plaintext is None else b64_encode(plaintext)
    return {"name": name, "dataKey": b64_encode(data_key), "envelope": envelope, "plaintext": opened}


def _flipped(text: str) -> str:
    raw = bytearray(b64_decode(text))
    raw[-1] ^= 1
    return b64_encode(bytes(raw))


def _key_wrap_cases() -> Iterable[dict[str, Any]]:
    random = FixedBytes("key wrap")
    for name in ("one", "another"):
        recipient, ephemeral, data_key, iv = random(32), random(32), random(32), random(12)
        wrapped = sealing.wrap(data_key, sealing.x25519_public(recipient), ephemeral, iv)
        ephemeral_public = sealing.x25519_public(ephemeral)
        shared = sealing.x25519(ephemeral, sealing.x25519_public(recipient))
        yield {
            "name": name,
            "recipientPrivateKey": b64_encode(recipient),
            "recipientPublicKey": b64_encode(sealing.x25519_public(recipient)),
            "ephemeralPrivateKey": b64_encode(ephemeral),
            "sharedSecret": b64_encode(shared),
            "keyEncryptionKey": b64_encode(sealing.key_encryption_key(shared, ephemeral_public)),
            "wrappedKey": wrapped,
            "dataKey": b64_encode(data_key),
        }
    for name, change, private in (
        ("must fail: another recipient", {}, random(32)),
        ("must fail: another ephemeral key", {"ephemeralPublicKey": b64_encode(ephemeral)}, recipient),
        ("must fail: an ephemeral key of small order", {"ephemeralPublicKey": b64_encode(bytes(32))}, recipient),
        ("must fail: a bit flipped", {"ciphertext": _flipped(wrapped["ciphertext"])}, recipient),
        ("must fail: an unknown scheme", {"schemeId": "X25519-HKDF-SHA256-AESGCM-v2"}, recipient),
    ):
        keys = {"recipientPrivateKey": b64_encode(private), "wrappedKey": wrapped | change}
        yield {"name": name, **keys, "dataKey": None}
    for name, sizes in (("a data key of 16 bytes", (16, 12)), ("an IV of 16 bytes", (32, 16))):
        data_key, iv = map(random, sizes)
        wrapped = sealing.wrap(data_key, sealing.x25519_public(recipient), ephemeral, iv)
        keys = {"recipientPrivateKey": b64_encode(recipient), "wrappedKey": wrapped}
        yield {"name": f"must fail: {name}", **keys, "dataKey": None}


def _key_binding_cases() -> Iterable[dict[str, Any]]:
    random = FixedBytes("key binding")
    keys, other = member.new_keys(random), member.new_keys(random)
    good = {
        "ed25519PublicKey": keys.member_id,
        "x25519PublicKey": keys.x25519_public_key,
        "message": f"{keys.member_id}|{keys.x25519_public_key}",
        "keyBindingSig": keys.binding(),
    }
    yield {"name": "a member's own", "ed25519Seed": b64_encode(keys.ed25519_seed), **good, "holds": True}
    swapped = {"x25519PublicKey": other.x25519_public_key, "message": f"{keys.member_id}|{other.x25519_public_key}"}
    yield {"name": "the X25519 key swapped", **good, **swapped, "holds": False}
    others = other.sign(good["message"].encode())
    yield {"name": "signed by another member", **good, "keyBindingSig": others, "holds": False}
    raw = b64_decode(keys.member_id) + b64_decode(keys.x25519_public_key)
    yield {"name": "signed over the raw keys", **good, "keyBindingSig": keys.sign(raw), "holds": False}


def _join_token_cases() -> Iterable[dict[str, Any]]:
    random = FixedBytes("join tokens")
    keys = member.new_keys(random)
    token = member.encode_invite_request(keys.member_id, keys.x25519_public_key)
    invite = {"v": 1, "ed25519PublicKey": keys.member_id, "x25519PublicKey": keys.x25519_public_key}
    address = Address("vault.example:8443", REPO)
    introduction = {
        "omp.inviter": keys.member_id,
        "omp.dataKey": hashlib.sha256(b"data key").hexdigest(),
        "omp.roster": hashlib.sha256(b"roster").hexdigest(),
    }
    locators = {
        "locator": member.encode_locator(address),
        "locator with everything": member.encode_locator(address, sealing.SCHEME, 4, "https://idp.example/jwks.json"),
        "locator, not ASCII": member.encode_locator(Address("vault.example", "ключ")),
        "locator with an introduction": member.encode_locator(address, None, 4, introduction=introduction),
    }
    yield {"name": "invite request", "type": "invite", "token": token, "decoded": invite, "canonical": True}
    for name, text in locators.items():
        decoded = member.decode_locator(text)
        yield {"name": name, "type": "locator", "token": text, "decoded": decoded, "canonical": True}
    unknown = {"later": [1], "v": 1, "repoId": "r", "host": "h"}
    text = b64u_encode(json.dumps(unknown).encode())
    yield {"name": "unknown member, spaces", "type": "locator", "token": text, "decoded": unknown, "canonical": False}
    good = {"v": 1, "host": "h", "repoId": "r"}
    for name, kind, value in (
        ("another version", "locator", good | {"v": 2}),
        ("no repository", "locator", {"v": 1, "host": "h"}),
        ("true is no number", "locator", good | {"v": True}),
        ("an epoch in quotes", "locator", good | {"keyEpoch": "1"}),
        ("an introduction without an epoch", "locator", good | introduction),
        ("half an introduction", "locator", good | {"keyEpoch": 4, "omp.inviter": keys.member_id}),
        ("a key of 31 bytes", "invite", invite | {"x25519PublicKey": b64_encode(random(31))}),
    ):
        text = b64u_encode(json.dumps(value, separators=(",", ":")).encode())
        yield {"name": f"refused: {name}", "type": kind, "token": text, "decoded": None}
    for name, text in (("padding", b64u_encode(b'{"v":1}') + "=="), ("base64, not base64url", "+/+/"), ("empty", "")):
        yield {"name": f"refused: {name}", "type": "locator", "token": text, "decoded": None}


def _address_cases() -> Iterable[dict[str, Any]]:
    for name, host, repo_id in (
        ("host", "vault.example", "3b1f9c64-0b2a-4f1e-9c3d-1a2b3c4d5e6f"),
        ("host and port", "vault.example:8443", "r"),
        ("an id with slashes and percent signs is exact", "localhost", "a/b%2Fc"),
    ):
        yield {"name": name, "address": f"avp://{host}/{repo_id}", "host": host, "repoId": repo_id}
    for text in ("avp://vault.example", "avp://vault.example/", "avp:///r", "https://vault.example/r"):
        yield {"name": f"refused: {text}", "address": text, "host": None, "repoId": None}


# --- Exchanges with a server ----------------------------------------------------------------------------------


class Exchange:
    """A vault in this process with a fixed clock and fixed randomness, and what was said to it so far."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        store = MemoryStore()
        sessions = Sessions(store, best_engine(), lambda: NOW, random_bytes, max_nonces=16)
        vault = Vault(store, sessions, VaultPolicy(), max_envelope=4 << 20, max_repos=16)
        self._application = Application([served(vault, 5 << 20)], print, 5 << 20)
        self._tokens: dict[str, str] = {}

    def answer(self, method: str, path: str, body: Any = None, caller: str | None = None) -> tuple[int, Any]:
        """Status and JSON of the answer to a request by `caller`, who has logged in by that name (None: no token)."""
        headers = {"authorization": f"Bearer {self._tokens[caller]}"} if caller else {}
        data = b"" if body is None else json.dumps(body).encode()
        response = self._application.answer(Request(method, path, headers, body=data))
        return response.status, json.loads(response.body)

    def log_in(self, name: str, seed: bytes) -> None:
        """Get a token for the member with this Ed25519 seed, remembered as `name`."""
        member_id = b64_encode(public_key_slowly(seed))
        _, challenge = self.answer("POST", "/api/auth/keypair/challenge", {"ed25519PublicKey": member_id})
        signature = b64_encode(sign_slowly(seed, b64_decode(challenge["nonce"])))
        body = {"ed25519PublicKey": member_id, "nonce": challenge["nonce"], "signature": signature}
        status, value = self.answer("POST", "/api/auth/keypair/token", body)
        assert status == 200, value
        self._tokens[name] = value["token"]


def _login_cases() -> Iterable[dict[str, Any]]:
    random = FixedBytes("login")
    alice, bob = member.new_keys(random), member.new_keys(random)
    raw = random(32)
    nonce = b64_encode(raw)
    for name, status, claimed, signature in (
        ("the nonce's bytes signed", 200, alice, alice.sign(raw)),
        ("the nonce's base64 signed", 401, alice, alice.sign(nonce.encode())),
        ("another nonce signed", 401, alice, alice.sign(bytes(32))),
        ("signed by another key", 401, alice, bob.sign(raw)),
        ("redeemed for another key", 401, bob, bob.sign(raw)),
        ("a signature of 63 bytes", 401, alice, b64_encode(random(63))),
    ):
        yield {
            "name": name,
            "ed25519Seed": b64_encode(alice.ed25519_seed),
            "challenge": {"ed25519PublicKey": alice.member_id},
            "challenged": {"nonce": nonce},
            "token": {"ed25519PublicKey": claimed.member_id, "nonce": nonce, "signature": signature},
            "status": status,
        }


def _lifecycle_cases() -> Iterable[dict[str, Any]]:
    random = FixedBytes("lifecycle")
    keys = {name: member.new_keys(random) for name in ("alice", "bob", "carol")}
    exchange = Exchange(random)
    for name, each in keys.items():
        exchange.log_in(name, each.ed25519_seed)
    steps = list(_steps(exchange, keys, random))
    members = {
        name: {"ed25519Seed": b64_encode(each.ed25519_seed), "x25519PrivateKey": b64_encode(each.x25519_private)}
        for name, each in keys.items()
    }
    yield {"name": "from the first repository to the last removal", "members": members, "steps": steps}


def _steps(exchange: Exchange, keys: Mapping[str, Keys], random: Callable[[int], bytes]) -> Iterable[dict[str, Any]]:
    """Each operation, each way it says no, and what a pull shows in between."""
    alice, bob, carol = keys["alice"], keys["bob"], keys["carol"]
    path = f"/v1/repos/{REPO.replace('/', '%2F')}"
    pull = {"repoId": REPO, "knownPayloadVersion": -1}

    def step(name: str, caller: str | None, operation: str, body: Any = None, method: str = "POST") -> dict[str, Any]:
        target = operation if operation.startswith("/") else f"{path}/{operation}"
        status, value = exchange.answer(method, target, body, caller)
        answer = value if status == 200 else {"code": value["code"]}
        request = {"caller": caller, "method": method, "path": target, "body": body}
        return {"name": name, **request, "status": status, "answer": answer}

    def opened(by: str) -> member.Opened:
        _, value = exchange.answer("POST", f"{path}/pull", pull, by)
        return member.opened(keys[by], REPO, value["manifest"], value["envelope"])

    def member_path(of: Keys) -> str:
        return "member/" + of.member_id.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")

    creation = member.creation(alice, REPO, b"the plan", random)
    creation["manifest"] |= {"shareRefreshTokens": True, "x-unknown": {"kept": [1, None]}}
    yield step("no token", None, "pull", pull)
    yield step("pull of a repository that is not there", "alice", "pull", pull)
    yield step("create with somebody else as the member", "bob", "/v1/repos", creation)
    disagreeing = {**creation, "initialEnvelope": creation["initialEnvelope"] | {"keyEpoch": 1}}
    yield step("create with an envelope that disagrees", "alice", "/v1/repos", disagreeing)
    yield step("create", "alice", "/v1/repos", creation)
    yield step("create again", "alice", "/v1/repos", creation)
    yield step("pull", "alice", "pull", pull)
    yield step("pull at the current version", "alice", "pull", pull | {"knownPayloadVersion": 1})
    yield step("pull by who is no member", "bob", "pull", pull)
    invited = member.invitation(alice, opened("alice"), _invite(bob), random)
    yield step("add a member", "alice", "add-member", invited)
    yield step("add it again", "alice", "add-member", invited)
    swapped = invited["member"] | {"x25519PublicKey": carol.x25519_public_key}
    yield step("add it again with another key", "alice", "add-member", invited | {"member": swapped})
    yield step("fetch its entry", "alice", member_path(bob), method="GET")
    yield step("fetch an entry that is not there", "alice", member_path(carol), method="GET")
    pushed = member.payload(opened("bob"), b"a better plan", random)
    yield step("push", "bob", "push", pushed)
    yield step("push with a stale expectation", "alice", "push", pushed)
    yield step("push a version that does not rise", "alice", "push", pushed | {"expectedPayloadVersion": 2})
    far = pushed | {"envelope": pushed["envelope"] | {"payloadVersion": 3 + (1 << 20)}, "expectedPayloadVersion": 2}
    yield step("push a version that rises by more than 2^20", "alice", "push", far)
    rotated = pushed | {"envelope": pushed["envelope"] | {"payloadVersion": 3, "keyEpoch": 1}}
    rotated |= {"expectedPayloadVersion": 2}
    yield step("push another epoch without a roster", "alice", "push", rotated)
    yield step("push to another repository than the path's", "alice", "push", pushed | {"repoId": "another"})
    bound = member.binding_of(bob, opened("bob"), random)
    without_caller = bound | {"rotatedMembers": bound["rotatedMembers"][:1]}
    yield step("push a roster without the caller", "bob", "push", without_caller)
    yield step("push with a rotated roster", "bob", "push", bound)
    removal = member.removal(alice, opened("alice"), bob.member_id, random)
    yield step("remove who is not there", "alice", "remove-member", removal | {"removedMemberId": carol.member_id})
    keeping = removal | {"rewrappedMembers": bound["rotatedMembers"]}
    yield step("remove with a roster that keeps the member", "alice", "remove-member", keeping)
    yield step("remove without a new epoch", "alice", "remove-member", removal | {"newKeyEpoch": 0})
    yield step("remove", "alice", "remove-member", removal)
    of_the_past = bound | {"expectedPayloadVersion": 4, "envelope": bound["envelope"] | {"payloadVersion": 5}}
    of_the_past |= {"rotatedMembers": removal["rewrappedMembers"]}
    yield step("push an epoch that falls", "alice", "push", of_the_past)
    yield step("add a member under the data key of another epoch", "alice", "add-member", invited)
    yield step("remove again, the identical request", "alice", "remove-member", removal)
    yield step("pull after the removal", "alice", "pull", pull)
    yield step("pull by the removed member", "bob", "pull", pull)
    final = member.payload(opened("alice"), b"the last plan", random)
    yield step("push in the new epoch", "alice", "push", final)
    yield step("remove again, after another write", "alice", "remove-member", removal)


def _invite(keys: Keys) -> dict[str, Any]:
    token = member.encode_invite_request(keys.member_id, keys.x25519_public_key)
    return member.decode_invite_request(token)


_SETS: tuple[tuple[str, str, str, Callable[[], Iterable[dict[str, Any]]]], ...] = (
    (
        "aad",
        "avp §8.2",
        "What an envelope's ciphertext is bound to: UTF8(repoId) || 0x1F || int64BE(payloadVersion) || "
        "int64BE(keyEpoch). `aad` is hex.",
        _aad_cases,
    ),
    (
        "payload",
        "avp §8.3",
        "AES-256-GCM under `dataKey` (base64), 12-byte IV, tag appended, AAD as in avp/aad from the envelope's own "
        "members. `plaintext` (base64) is what opens; null: it must not open.",
        _payload_cases,
    ),
    (
        "key-wrap",
        "avp §8.4",
        "X25519-HKDF-SHA256-AESGCM-v1. All values base64. `wrappedKey` opens to `dataKey` with `recipientPrivateKey`; "
        "null: it must not open. With `ephemeralPrivateKey` and the IV of `wrappedKey`, wrapping gives it again.",
        _key_wrap_cases,
    ),
    (
        "key-binding",
        "avp §8.5",
        "The member's Ed25519 signature `keyBindingSig` over the UTF-8 of `message`, which is both public keys in "
        "base64 with a bar between; `holds` says whether it is one.",
        _key_binding_cases,
    ),
    (
        "join-token",
        "avp §10.1, §10.2",
        "base64url without padding over compact JSON. `type` says what is expected, `decoded` what it holds; null: it "
        "must be refused. Where `canonical`, encoding `decoded` in its order of members gives `token`.",
        _join_token_cases,
    ),
    ("address", "avp §10.3", "avp://host/repoId and its parts; null: it must be refused.", _address_cases),
    (
        "login",
        "avp §3.1, §3.2",
        "A challenge answered with a fixed nonce, and the token request after it: `status` is its answer. A server "
        "under test has its own nonces: sign them with `ed25519Seed` as `token` shows.",
        _login_cases,
    ),
    (
        "lifecycle",
        "avp §4, §6",
        "Requests in order, each by a `caller` (a member of `members`, who logged in before; null: no token), and what "
        "answers: `status`, and the whole `answer`, or its `code` where it is an error.",
        _lifecycle_cases,
    ),
)
