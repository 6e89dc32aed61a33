"""The objects API beside the tuned stock server, and what signatures, durability, size and starting cost.

The parts; each compares within one run, and each has a goal:

``stock``
    POST /objects and GET /objects/{id}, memory mode, signatures off, beside the stock server and the ceiling.
``signed``
    POST in strict mode, RFC 9421 with a content digest, beside bare Ed25519 verifications with `cryptography`
    on one processor.  The requests are signed beforehand, as clients do: each has a nonce of its own and is sent once.
``sqlite``
    POST on an SQLite file, each answered write durable, beside our own memory mode.
``size``
    Resident memory with 100,000 objects of 200 bytes; a search in a namespace of 10 of them, beside the same search
    among 1,000 objects.
``start``
    Seconds from exec to listening, beside ``python3 -c "import http.server"``.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from omp.rules.engines import CryptographyMissing, SecretKeys, secret_keys
from omp.rules.http_signatures import sign
from omp.rules.signature_base import SignedRequest
from omp.tests.benchmarks import load
from omp.tests.benchmarks.load import Plan, Result, Server, http_request
from omp.tests.benchmarks.report import Report

HELP = "the objects API beside a stock server; signatures, SQLite, memory, start-up"

KEYS = 2000  # distinct objects that are posted and fetched
MOST_SIGNED = 12_000  # signed requests made for each second of load: more than any server here answers
OBJECT_BYTES = 200
FULL, FEW, MATCHES = 100_000, 1_000, 10  # objects in the large and the small store, and in the namespace searched


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of this benchmark."""
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; repeatable (all)")


def run(args: argparse.Namespace, report: Report) -> int:
    """Run the parts in order."""
    plan = Plan.of(args)
    report.plan(plan)
    for name in args.part or PARTS:
        report.part(name)
        PARTS[name](plan, report)
    return 0


def posts(count: int, namespace: str = "bench", content_bytes: int = 100) -> list[bytes]:
    """`count` requests that create objects with different keys and `content_bytes` of content."""
    return [http_request("POST", "/objects", _body(namespace, f"k{number}", content_bytes)) for number in range(count)]


def _body(namespace: str, key: str, content_bytes: int) -> bytes:
    text = "x" * (content_bytes - len('{"text":""}'))
    return json.dumps({"namespace": namespace, "key": key, "content": {"text": text}}).encode()


def _gets(port: int) -> list[bytes]:
    """Requests for objects that are in the server because they have just been put there."""
    _, bodies = load.send_all(port, posts(KEYS), expected=201)
    return [http_request("GET", f"/objects/{json.loads(body)['id']}") for body in bodies]


def _posting(server: Server, plan: Plan, requests: Sequence[bytes]) -> Callable[[], Result]:
    return lambda: load.drive(server.port, load.repeat(requests, plan.connections), plan.seconds, expected=201)


def _getting(server: Server, plan: Plan, requests: Sequence[bytes]) -> Callable[[], Result]:
    return lambda: load.drive(server.port, load.repeat(requests, plan.connections), plan.seconds)


# --- parts ----------------------------------------------------------------------------------------------------


def beside_stock(plan: Plan, report: Report) -> None:
    """POST and GET: ours, the stock server's, the ceiling."""
    requests = posts(KEYS)
    with load.our_server() as ours, load.stock_server() as stock, load.ceiling_server() as ceiling:
        servers = {"ours": ours, "stock": stock, "ceiling": ceiling}
        gets = {"ours": _gets(ours.port), "stock": _gets(stock.port)}
        gets["ceiling"] = gets["ours"]
        getting = {f"GET {name}": _getting(server, plan, gets[name]) for name, server in servers.items()}
        posting = {f"POST {name}": _posting(server, plan, requests) for name, server in servers.items()}
        # GET before POST: the POSTs fill the stores.
        results = load.interleave(getting, plan.rounds) | load.interleave(posting, plan.rounds)
        resident = {f"POST {name}": server.resident() for name, server in servers.items()}
    report.table(results, resident)
    for method in ("POST", "GET"):
        ours_of, stock_of, ceiling_of = (results[f"{method} {name}"] for name in ("ours", "stock", "ceiling"))
        report.goal(f"{method} beside the stock server", load.ratio(ours_of, stock_of), at_least=1.6, unit="x")
        slower = load.ratio(ours_of, stock_of, lambda each: each.p99)
        report.goal(f"{method} p99 beside the stock server's", slower, at_most=1.0, unit="x")
        report.goal(f"{method} beside the ceiling", load.ratio(ours_of, ceiling_of), unit="x")


def signed(plan: Plan, report: Report) -> None:
    """Signed POST in strict mode beside bare verification."""
    try:
        keys = secret_keys()
    except CryptographyMissing as error:
        report.say(f"left out: {error}")
        return
    seed = keys.generate()
    public_key = keys.public_key(seed)
    environ = {"OMP_SIG_PUB_bench": base64.urlsafe_b64encode(public_key).decode()}
    with load.our_server("--sig-mode", "strict", environ=environ) as ours:
        results = load.interleave(
            {
                "bare verification": _verifying(keys, seed, plan),
                "POST signed": lambda: load.drive(
                    ours.port,
                    load.once(_signed_posts(keys, seed, ours.port, plan.seconds), plan.connections),
                    plan.seconds,
                    expected=201,
                ),
            },
            plan.rounds,
        )
    report.table(results)
    reached = load.ratio(results["POST signed"], results["bare verification"])
    report.goal("signed POST beside bare Ed25519 verification", reached, at_least=0.3, unit="x")


def _verifying(keys: SecretKeys, seed: bytes, plan: Plan) -> Callable[[], Result]:
    """Verifications of one signature with `cryptography` and nothing around them, the key parsed each time."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    public_key = keys.public_key(seed)
    message = os.urandom(250)  # about the size of the signature base
    signature = keys.sign(seed, message)
    return lambda: load.measure(
        lambda: Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message), plan.seconds
    )


def _signed_posts(keys: SecretKeys, seed: bytes, port: int, seconds: float) -> list[bytes]:
    """As many signed requests as `seconds` of load, and the warm-up before it, can use up."""
    authority = f"127.0.0.1:{port}"
    now = int(time.time())
    requests = []
    for number in range(int((seconds + load.WARM_UP) * MOST_SIGNED)):
        body = _body("bench", f"k{number % KEYS}", 100)
        unsigned = SignedRequest(
            "POST", "http", authority, "/objects", [("host", authority), ("content-type", "application/json")], body
        )
        fields = sign(
            unsigned,
            keyid="bench",
            signer=lambda base: keys.sign(seed, base),
            created=now,
            nonce=os.urandom(12).hex(),
        )
        requests.append(http_request("POST", "/objects", body, dict(fields), host=authority))
    return requests


def durable(plan: Plan, report: Report) -> None:
    """POST on SQLite beside memory."""
    requests = posts(KEYS)
    with (
        tempfile.TemporaryDirectory() as folder,
        load.our_server() as memory,
        load.our_server(storage=f"sqlite:{folder}/bench.db") as sqlite,
    ):
        results = load.interleave(
            {"POST memory": _posting(memory, plan, requests), "POST sqlite": _posting(sqlite, plan, requests)},
            plan.rounds,
        )
        resident = {"POST memory": memory.resident(), "POST sqlite": sqlite.resident()}
    report.table(results, resident)
    reached = load.ratio(results["POST sqlite"], results["POST memory"])
    report.goal("durable POST beside memory", reached, at_least=0.35, unit="x")


def size(plan: Plan, report: Report) -> None:
    """Memory of a large store, and search in it beside search in a small one."""
    count = FULL // 10 if plan.quick else FULL
    with load.our_server() as large, load.our_server() as small:
        empty = large.resident()
        for server, objects in ((large, count), (small, FEW)):
            requests = posts(objects - MATCHES, "others", OBJECT_BYTES) + posts(MATCHES, "few", OBJECT_BYTES)
            load.send_all(server.port, requests, expected=201)
        full = large.resident()
        search = [http_request("GET", "/objects/search?namespace=few")]
        results = load.interleave(
            {
                f"search, {FEW:,} objects": _getting(small, plan, search),
                f"search, {count:,} objects": _getting(large, plan, search),
            },
            plan.rounds,
        )
    among_few, among_many = results.values()
    report.table(results)
    report.goal(f"resident with {count:,} objects of {OBJECT_BYTES} bytes", full, at_most=150, unit=" MB")
    report.goal("resident of the empty server", empty, unit=" MB")
    report.goal("search among many, time beside among few", load.ratio(among_few, among_many), at_most=2, unit="x")


def start(plan: Plan, report: Report) -> None:
    """From exec to listening."""
    ours: list[float] = []
    imports: list[float] = []
    for _ in range(2 * plan.rounds + 1):
        with load.our_server() as server:
            ours.append(server.startup)
        imports.append(_import_seconds())
    median = statistics.median(ours)
    report.goal("exec to listening", median, at_most=0.25, unit=" s")
    report.goal('python3 -c "import http.server"', statistics.median(imports), unit=" s")
    report.goal("the one beside the other", median / statistics.median(imports), unit="x")


def _import_seconds() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import http.server"], check=True)
    return time.perf_counter() - began


PARTS: dict[str, Callable[[Plan, Report], None]] = {
    "stock": beside_stock,
    "signed": signed,
    "sqlite": durable,
    "size": size,
    "start": start,
}
