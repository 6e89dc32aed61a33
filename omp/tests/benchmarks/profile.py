"""NEXUS: reading a profile beside the tuned stock server, a signed write beside the recovery of its key.

``GET /config`` asks in turn for the profiles of many owners whose overrides all differ, and of one who has none.  The
stock server answers an ordinary GET of an object.  ``POST /config`` sends the signed requests of those owners, in form
A1 of nexus §3.4.  The server needs at least one recovery a request, so the bare recovery of a public key from a hash,
and of an address (one more Keccak-256), run in this process in the same rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from omp.protocols.nexus.ethereum import (
    N,
    RecoverableSignature,
    address,
    public_key_slowly,
    recover,
    sign_slowly,
    signature_text,
)
from omp.protocols.nexus.keccak import keccak256
from omp.tests.benchmarks.load import (
    Connection,
    Plan,
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

HELP = "NEXUS: GET /config beside the stock server, signed POST /config beside bare recovery"
PATH = "/api/v1/config"
OWNERS = 1000
_STOCK_OBJECT = b'{"namespace":"bench","content":{"text":"%s"}}' % (b"x" * 400)


class Signed(NamedTuple):
    """A signed request, ready to be sent, and what a recovery needs of it."""

    owner: str
    request: bytes
    digest: bytes
    signature: RecoverableSignature


def configure(parser: argparse.ArgumentParser) -> None:
    """The option of this benchmark."""
    parser.add_argument("--storage", default="memory", help="of our server: memory (default) or sqlite:PATH")
    parser.epilog = "examples:\n  python -m omp bench profile --quick"


def signed_requests(count: int) -> list[Signed]:
    """`count` changes of the temperature, each by a different owner and to a different value."""
    random = Random(20251020)
    requests = []
    for index in range(count):
        secret = random.randrange(1, N)
        owner = address(public_key_slowly(secret))
        body: dict[str, object] = {"overrides": {"temperature": (index + 1) / count}}
        digest = keccak256(json.dumps(body, separators=(",", ":")).encode())
        signature = sign_slowly(secret, digest)
        body["auth"] = {"publicKey": owner, "signature": signature_text(signature)}
        data = json.dumps(body).encode()
        requests.append(Signed(owner, http_request("POST", PATH, data, _bearer(owner)), digest, signature))
    return requests


def _bearer(owner: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {owner}"}


def _recoveries(signed: Sequence[Signed], finish: Callable[[bytes], object]) -> Callable[[], object]:
    """One recovery a call, of the next request, and `finish` for the key."""
    rounds = itertools.cycle(signed)

    def recover_next() -> object:
        one = next(rounds)
        return finish(recover(one.digest, one.signature))

    return recover_next


def run(args: argparse.Namespace, report: Report) -> int:
    """Measure, print the table and the ratios; the exit status is 0."""
    plan = Plan.of(args)
    signed = signed_requests(100 if plan.quick else OWNERS)
    reads = [http_request("GET", PATH, headers=_bearer(one.owner)) for one in signed]
    nobody = http_request("GET", PATH, headers=_bearer("0x" + "0" * 40))
    with our_server(storage=args.storage, pin=plan.pinned) as ours, stock_server(pin=plan.pinned) as stock:
        send_all(ours.port, [one.request for one in signed])
        with Connection(stock.port) as connection:
            number = json.loads(connection.request("POST", "/objects", _STOCK_OBJECT).body)["id"]
        load = partial(drive, seconds=plan.seconds)
        results = interleave(
            {
                "stock server, GET": lambda: load(
                    stock.port, repeat([http_request("GET", f"/objects/{number}")], plan.connections)
                ),
                "GET /config, all different": lambda: load(ours.port, repeat(reads, plan.connections)),
                "GET /config, no overrides": lambda: load(ours.port, repeat([nobody], plan.connections)),
                "bare recovery, key": lambda: measure(_recoveries(signed, len), plan.seconds),
                "bare recovery, address": lambda: measure(_recoveries(signed, keccak256), plan.seconds),
                "POST /config, signed": lambda: load(
                    ours.port, repeat([one.request for one in signed], plan.connections)
                ),
            },
            plan.rounds,
        )
    report.plan(plan)
    report.table(results)
    reading = ratio(results["GET /config, all different"], results["stock server, GET"])
    writing = ratio(results["POST /config, signed"], results["bare recovery, key"])
    bound = 0.7 if args.storage == "memory" else None  # the goals are set for memory
    report.goal("GET /config beside the stock server", reading, at_least=bound)
    report.goal("signed POST /config beside bare recovery", writing, at_least=bound)
    return 0
