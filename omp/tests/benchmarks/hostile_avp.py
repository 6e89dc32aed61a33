"""What strangers' worst requests to a vault cost: rows for ``python -m omp bench hostile`` (avp §3, §7).

Without a token only a login is looked at.  Its bodies are short, and a guessed nonce costs no verification.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from omp.tests.benchmarks.hostile import Row
from omp.tests.benchmarks.hostile_web import get, post

SIZE = 4_900_000
_KEY = b"A" * 43 + b"="
_AUTH = "/api/auth/keypair"
_TOKEN = "Authorization: Bearer " + "x" * 4000 + "\r\n"


def _times(port: int, count: int, send: Callable[[int], int]) -> None:
    for _ in range(count):
        send(port)


def _challenge(port: int) -> int:
    return post(port, f"{_AUTH}/challenge", b'{"ed25519PublicKey":"%b"}' % _KEY)


def _guess(port: int) -> int:
    body = b'{"ed25519PublicKey":"%b","nonce":"%b","signature":"%b"}' % (_KEY, _KEY, b"A" * 86 + b"==")
    return post(port, f"{_AUTH}/token", body)


def _long(port: int, target: str, fields: str = "") -> None:
    post(port, target, b'{"ed25519PublicKey":"","x":[%b[]]}' % (b"[]," * (SIZE // 3)), fields)


ROWS = (
    Row("avp: 1,000 challenges", partial(_times, count=1000, send=_challenge), 2.0, 8, "the same"),
    Row("avp: 1,000 guessed nonces", partial(_times, count=1000, send=_guess), 2.0, 8, "the same"),
    Row("avp: 4.9 MB to challenge", partial(_long, target=f"{_AUTH}/challenge"), 0.2, 8, "0.6 s, 122 MiB"),
    Row(
        "avp: 4.9 MB to push, a wrong token", partial(_long, target="/v1/repos/x/push", fields=_TOKEN), 0.2, 8, "9 MiB"
    ),
    Row(
        "avp: 1,000 pulls by a stranger",
        partial(_times, count=1000, send=partial(get, target="/v1/repos/x/member/y")),
        2.0,
        8,
        "the same",
    ),
)
