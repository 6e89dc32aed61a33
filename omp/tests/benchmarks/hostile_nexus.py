"""What strangers' worst requests to NEXUS cost: the rows for ``python -m omp bench hostile``.

A stranger needs no key to make the server check a signature: any 65 bytes will do, and a wrong one costs the most,
since every form of the request is hashed (nexus §10.6).  So the bound of CPU is one on a request, a quarter of a
second, and not the one on a megabyte that holds elsewhere: a request of 64 KiB costs 2.5 to 3.5 s a megabyte.

A key is free, too: who makes one can store what is then read without any.  So there are rows of both kinds.  Those that
refuse have bodies of the largest size.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from omp.protocols.nexus.ethereum import address, public_key_slowly, sign_slowly, signature_text
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.signatures import FORMS, as_written, payload
from omp.tests.benchmarks.hostile import Row
from omp.tests.benchmarks.load import Connection, http_request

BASE = "/api/v1"
LONGEST = 64 * 1024
PLACES = 18
"""How many requests are checked or wait; one more is refused."""
_SECRET = 0xBAD
_OWNER = address(public_key_slowly(_SECRET))
_READER = "0x" + "0" * 40
_WRONG = signature_text(sign_slowly(_SECRET, keccak256(b"something else")))
# Names in this object have two orders, and DEL has two spellings: no two of the five payloads are the same.
_ALL_FORMS = '"x":{"\ue000":"\x7f","🦊":0}'


def _fields(port: int, owner: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {owner}", "Host": f"127.0.0.1:{port}"}


def _post(port: int, endpoint: str, body: bytes) -> bytes:
    return http_request("POST", BASE + endpoint, body, _fields(port, _OWNER))


def _refused(filling: str, separator: str = ",", frame: str = f'{_ALL_FORMS},"y":[%s]') -> bytes:
    """A body of almost the largest size with a wrong signature: `filling` as often as it fits."""
    auth = f'"auth":{{"publicKey":"{_OWNER}","signature":"{_WRONG}"}}'
    room = LONGEST - len((frame % "").encode()) - len(auth) - 3
    times = room // len((filling + separator).encode())
    return f"{{{frame % separator.join([filling] * times)},{auth}}}".encode()


def _signed(body: Mapping[str, Any]) -> bytes:
    """`body` with a right signature, as compact JSON."""
    digest = keccak256(payload(as_written(_compact(body)), FORMS[0]))
    signature = signature_text(sign_slowly(_SECRET, digest))
    return _compact({**body, "auth": {"publicKey": _OWNER, "signature": signature}})


def _compact(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


# --- What is sent -----------------------------------------------------------------------------------------------


def _once(endpoint: str, status: int, body: Callable[[], bytes], port: int) -> None:
    """Send one request; `status` is that of its answer, or it would not measure what it is for."""
    with Connection(port) as connection:
        answer = connection.exchange(_post(port, endpoint, body()))
    if answer.status != status:
        raise ValueError(f"{answer.status} instead of {status}: {answer.body[:200]!r}")


def _at_once(body: Callable[[], bytes], port: int) -> None:
    """The same body over as many connections as are served."""
    request = _post(port, "/config", body())

    def send(_: int) -> None:
        with Connection(port) as connection:
            connection.exchange(request)

    with ThreadPoolExecutor(PLACES) as pool:
        list(pool.map(send, range(PLACES)))


def _and_hang_up(times: int, body: Callable[[], bytes], port: int) -> None:
    """Send and leave, again and again."""
    request = _post(port, "/config", body())
    for _ in range(times):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(request)


def _store(endpoint: str, bodies: Callable[[], list[bytes]], port: int) -> None:
    for body in bodies():
        _once(endpoint, 200, partial(bytes, body), port)


def _read(times: int, target: str, owner: str, extra: Mapping[str, str], port: int) -> None:
    request = http_request("GET", BASE + target, headers={**_fields(port, owner), **extra})
    with Connection(port) as connection:
        for _ in range(times):
            connection.exchange(request)


# --- Bodies -----------------------------------------------------------------------------------------------------


def _names_times_objects() -> bytes:
    """Half of it names at the top, half of it small objects, for which the broken form looked up every name."""
    names = ",".join(f'"{number:x}":0' for number in range(3500))
    return _refused("{}", frame=f'{_ALL_FORMS},{names},"y":[%s]')


_NESTED = partial(_refused, "[" * 90 + "]" * 90)
_NUMBERS = partial(_refused, "1")
_LONG_NUMBERS = partial(_refused, "12")
_OBJECTS = partial(_refused, '{"a":1}')
_DELETE = partial(_refused, "\x7f", "", f'{_ALL_FORMS},"y":"%s"')
_TEXT = partial(_refused, "x", "", f'{_ALL_FORMS},"y":"%s"')


def _long_prompt() -> list[bytes]:
    return [_signed({"overrides": {"friends_profile": "x" * 65_000}})]


def _long_messages() -> list[bytes]:
    return [_signed({"messages": [{"run_id": f"{n}", "role": "ai", "content": "x" * 65_000}]}) for n in range(100)]


def _short_messages() -> bytes:
    return _signed({"messages": [{"run_id": "r", "role": "ai", "content": ""}] * 1600})


def _wrong_messages() -> bytes:
    return _signed({"messages": [0] * 32_000})


def _batch() -> bytes:
    operation = {"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 1}}}
    return _signed({"operations": [operation] * 100})


# --- The rows ---------------------------------------------------------------------------------------------------


def _refusal(name: str, body: Callable[[], bytes], before: str) -> Row:
    return Row(f"NEXUS: {name}, refused", partial(_once, "/config", 401, body), 0.25, 6.0, before)


ROWS = (
    _refusal("names at the top x nested objects", _names_times_objects, "42.7 s (374 KB)"),
    _refusal("nested lists", _NESTED, "0.71 s"),
    _refusal("numbers", _NUMBERS, "0.70 s, 9 MiB"),
    _refusal("objects", _OBJECTS, "0.60 s"),
    _refusal("DEL, which takes six bytes when it is escaped", _DELETE, "2.03 s"),
    _refusal("plain text", _TEXT, "0.62 s"),
    Row("NEXUS: 18 x nested lists at once", partial(_at_once, _NESTED), 18 * 0.25, 24.0, "14.4 s, 74 MiB"),
    Row("NEXUS: 18 x numbers at once", partial(_at_once, _LONG_NUMBERS), 18 * 0.25, 24.0, "12.9 s, 137 MiB"),
    Row("NEXUS: sent and hung up, 100 times", partial(_and_hang_up, 100, _NESTED), 2.0, 24.0, "89 s, 248 MiB"),
    Row("NEXUS: 1,600 messages, signed", partial(_once, "/messages", 200, _short_messages), 0.25, 6.0, "0.12 s"),
    Row(
        "NEXUS: messages that do not fit, signed",
        partial(_once, "/messages", 422, _wrong_messages),
        0.25,
        6.0,
        "0.17 s, 10 MiB",
    ),
    Row(
        "NEXUS: 100 changes beside a long prompt, signed",
        partial(_once, "/batch", 200, _batch),
        0.1,
        2.0,
        "0.04 s under the lock of the store, 6 MiB",
        prepare=partial(_store, "/prompts", _long_prompt),
    ),
    Row(
        "NEXUS: 100 pages of long messages",
        partial(_read, 100, "/messages?limit=100", _OWNER, {}),
        0.5,
        6.0,
        "0.36 s, 12 MiB",
        prepare=partial(_store, "/messages", _long_messages),
    ),
    Row(
        "NEXUS: 100 profiles with a long prompt",
        partial(_read, 100, "/config", _OWNER, {}),
        0.2,
        2.0,
        "0.05 s",
        prepare=partial(_store, "/prompts", _long_prompt),
    ),
    Row(
        "NEXUS: 10 x 30 KB of If-None-Match",
        partial(_read, 10, "/config", _READER, {"If-None-Match": '"' * 30_000}),
        0.1,
        6.0,
        "0.04 s",
    ),
)
