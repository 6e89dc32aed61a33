"""AVP: pull and push beside the tuned stock server's POST, token redemption beside bare Ed25519 verification.

Each connection has a repository of its own with an envelope of 4 KB, and a token that every request is checked for.
*Pull* asks with the current version (``unchanged``); *push* raises the version by one each time, as a repository's only
writer does.  The stock server does its ordinary POST of an object of the same size, and of a small one.  *Token*
redeems nonces that many members asked for and signed beforehand.  It cannot be faster than one verification a request,
so the bare verification of the package ``cryptography`` is measured in this process in the same rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable, Iterator
from functools import partial

from omp.protocols.avp.member import Keys, creation, new_keys, redemption
from omp.rules.encodings import b64_decode, b64_encode
from omp.rules.engines import CryptographyMissing, secret_keys
from omp.tests.benchmarks.load import (
    BenchmarkFailed,
    Connection,
    Plan,
    Result,
    drive,
    http_request,
    interleave,
    measure,
    our_server,
    ratio,
    repeat,
    send_all,
    stock_server,
)
from omp.tests.benchmarks.report import Report

HELP = "AVP: pull and push beside the stock server's POST, tokens beside bare verification"
CIPHERTEXT = b64_encode(bytes(range(256)) * 12)  # 3 KiB: 4 KB in base64
FIRST_VERSION = 10**9  # so that every version has as many digits, and every push the same Content-Length
MEMBERS = 64
REDEMPTIONS = 8000  # a measurement; within the number of challenges that a server remembers


def configure(parser: argparse.ArgumentParser) -> None:
    """The option of this benchmark."""
    parser.add_argument("--storage", default="memory", help="of our server: memory (default) or sqlite:PATH")
    parser.epilog = "examples:\n  python -m omp bench vault --quick"


def run(args: argparse.Namespace, report: Report) -> int:
    """Measure, print the table and the ratios; the exit status is 0."""
    plan = Plan.of(args)
    try:
        secret_keys()
    except CryptographyMissing as error:
        raise BenchmarkFailed(str(error)) from None
    with our_server(storage=args.storage, pin=plan.pinned) as ours, stock_server(pin=plan.pinned) as stock:
        repositories = [_Repository(ours.port, f"bench-{number}") for number in range(plan.connections)]
        members = [new_keys(os.urandom) for _ in range(MEMBERS)]
        load = partial(drive, seconds=plan.seconds)
        bare = _verifications(members)
        results = interleave(
            {
                "stock server, POST 4 KB": lambda: load(stock.port, _stock_posts(CIPHERTEXT, plan), expected=201),
                "stock server, POST small": lambda: load(stock.port, _stock_posts("x" * 200, plan), expected=201),
                "pull, unchanged": lambda: load(ours.port, [repository.pulls() for repository in repositories]),
                "push, 4 KB": lambda: load(ours.port, [repository.pushes for repository in repositories]),
                "bare verification": lambda: measure(bare, plan.seconds),
                "token": lambda: _redeem(ours.port, members, REDEMPTIONS // (8 if plan.quick else 1)),
            },
            plan.rounds,
        )
        resident = {"push, 4 KB": ours.resident(), "stock server, POST 4 KB": stock.resident()}
    report.plan(plan)
    report.table(results, resident)
    in_memory = args.storage == "memory"  # the goals are set for it
    for name, stocks in itertools.product(("pull, unchanged", "push, 4 KB"), ("POST 4 KB", "POST small")):
        beside = ratio(results[name], results[f"stock server, {stocks}"])
        report.goal(f"{name} beside the stock server's {stocks}", beside, at_least=0.8 if in_memory else None)
    beside = ratio(results["token"], results["bare verification"])
    report.goal("token beside bare verification", beside, at_least=0.4 if in_memory else None)
    return 0


def _stock_posts(text: str, plan: Plan) -> list[Iterator[bytes]]:
    body = json.dumps({"namespace": "bench", "content": {"text": text}}).encode()
    return repeat([http_request("POST", "/objects", body)], plan.connections)


class _Repository:
    """A repository and its only member: `pushes` are its requests, each good once."""

    def __init__(self, port: int, repo_id: str) -> None:
        keys = new_keys(os.urandom)
        with Connection(port) as connection:
            self._headers = {"Authorization": f"Bearer {_token(connection, keys)}"}
            body = creation(keys, repo_id, b"", os.urandom)
            body["manifest"]["payloadVersion"] = body["initialEnvelope"]["payloadVersion"] = FIRST_VERSION
            connection.request("POST", "/v1/repos", json.dumps(body).encode(), self._headers)
        self._repo_id = repo_id
        self._version = FIRST_VERSION
        self.pushes = self._pushes()

    def _request(self, operation: str, body: object) -> bytes:
        path = f"/v1/repos/{self._repo_id}/{operation}"
        return http_request("POST", path, json.dumps(body).encode(), self._headers)

    def pulls(self) -> Iterator[bytes]:
        """The pull at the current version, again and again."""
        return itertools.repeat(self._request("pull", {"repoId": self._repo_id, "knownPayloadVersion": self._version}))

    def _pushes(self) -> Iterator[bytes]:
        sealed = {"keyEpoch": 0, "iv": "AAAAAAAAAAAAAAAA", "ciphertext": CIPHERTEXT}
        envelope = {"repoId": self._repo_id, "payloadVersion": FIRST_VERSION + 1} | sealed
        body = {"envelope": envelope, "expectedPayloadVersion": FIRST_VERSION}
        first = self._request("push", {"repoId": self._repo_id} | body)
        before, _, rest = first.partition(b"%d" % (FIRST_VERSION + 1))
        between, _, after = rest.partition(b"%d" % FIRST_VERSION)
        while True:
            expected, self._version = self._version, self._version + 1
            yield b"%b%d%b%d%b" % (before, self._version, between, expected, after)


def _challenge(keys: Keys) -> bytes:
    body = {"ed25519PublicKey": keys.member_id}
    return http_request("POST", "/api/auth/keypair/challenge", json.dumps(body).encode())


def _redemption(keys: Keys, challenge: bytes) -> bytes:
    body = redemption(keys, json.loads(challenge)["nonce"])
    return http_request("POST", "/api/auth/keypair/token", json.dumps(body).encode())


def _token(connection: Connection, keys: Keys) -> str:
    nonce = connection.exchange(_challenge(keys)).body
    return str(json.loads(connection.exchange(_redemption(keys, nonce)).body)["token"])


def _redeem(port: int, members: list[Keys], count: int) -> Result:
    """Redeem `count` nonces; asking for them and signing them is not measured."""
    signers = list(itertools.islice(itertools.cycle(members), count))
    _, challenges = send_all(port, [_challenge(keys) for keys in signers])
    requests = [_redemption(keys, challenge) for keys, challenge in zip(signers, challenges, strict=True)]
    result, _ = send_all(port, requests)
    return result


def _verifications(members: list[Keys]) -> Callable[[], object]:
    """One verification a call: another member's key, message and signature each time."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    message = bytes(32)
    public_keys = [Ed25519PublicKey.from_public_bytes(b64_decode(keys.member_id)) for keys in members]
    signatures = [b64_decode(keys.sign(message)) for keys in members]
    rounds = itertools.cycle(zip(public_keys, signatures, strict=True))

    def verify_next() -> object:
        key, signature = next(rounds)
        return key.verify(signature, message)

    return verify_next
