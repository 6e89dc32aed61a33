"""What strangers can make of the server's own names (omp §1.5): rows for ``python -m omp bench hostile``.

Each row sends many small requests, because what is done for each is bounded by its head.
"""

from __future__ import annotations

import time
from functools import partial

from omp.rules.encodings import b64_encode, b64u_encode
from omp.rules.identifiers import key_id
from omp.tests.benchmarks.hostile import Row
from omp.tests.benchmarks.load import Connection, http_request

_KEY = bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8")
_LOG = "omp:id:ed25519:" + b64u_encode(_KEY)


def _each_on_its_own(count: int, port: int) -> None:
    """A new name with each request; each is refused, and its connection closed."""
    for number in range(count):
        with Connection(port) as connection:
            connection.exchange(http_request("GET", "/objects", host=f"{'a.' * 2000}{number}.example"))


def _forwarded(count: int, entry: str, port: int) -> None:
    field = ",".join([entry] * (30_000 // (len(entry) + 1)))
    with Connection(port) as connection:
        for number in range(count):
            # Another head each time: what was found out for one holds for its repetition.
            fields = {"X-Forwarded-For": field, "X-Number": str(number)}
            connection.exchange(http_request("GET", "/health", headers=fields))


def _eight_signatures(count: int, port: int) -> None:
    """Eight that cannot verify, for an address that can be spelt in two ways: sixteen verifications a request."""
    covered = f'("@method" "@target-uri");created={int(time.time())};keyid="{key_id(_KEY)}"'
    fields = {
        "Signature-Input": ", ".join(f"s{number}={covered}" for number in range(8)),
        "Signature": ", ".join(f"s{number}=:{b64_encode(bytes([1] * 63) + bytes(1))}:" for number in range(8)),
    }
    request = http_request("GET", f"/logs/{_LOG}/heads", headers=fields, host="omp.example")
    with Connection(port) as connection:
        for _ in range(count):
            connection.exchange(request)


ROWS = (
    Row("entry: 500 names of 4 KB", partial(_each_on_its_own, 500), 0.5, 6.0, "0.1 s"),
    Row("entry: 100 x 30 KB of X-Forwarded-For", partial(_forwarded, 100, "10.0.0.1"), 0.1, 6.0, "0.003 s"),
    Row(
        "entry: the same, all of it believed",
        partial(_forwarded, 100, "127.0.0.1"),
        0.2,
        6.0,
        "1.46 s, until no more than 32 entries were read",
        environ={"OMP_TRUSTED_PROXIES": "127.0.0.0/8"},
    ),
    Row(
        "entry: 100 x eight signatures in two spellings",
        partial(_eight_signatures, 100),
        0.5,
        6.0,
        "0.1 s: eight verifications a request",
        environ={"OMP_SIG_MODE": "strict", "OMP_PUBLIC_URL": "https://omp.example"},
    ),
)
