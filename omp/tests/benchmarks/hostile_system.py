"""A sweep over every route: the same few bad requests, made from the server's own OpenAPI document alone.

The sweep knows no protocol, holds no key and has no token.  Each row sends about a megabyte to one route:

* **bodies**: one large JSON value, as the whole body and in the place of each member of the documented example.  The
  values are those that are cheap to write and costly to read: nested arrays, empty objects, many names, one name many
  times, a number of a million digits, a string of escapes, and many copies of a right element;
* **heads**: fields and targets as large as the server takes, so often that they make a megabyte;
* **crowds**: small requests, a hundred at a time.

Besides, in mode ``strict``, signature fields that are costly to parse, and connections that ask for nothing.

The bounds are those of the whole project: 1 s of CPU a megabyte and 20 bytes of memory a byte.  Small requests cannot
keep the first, since a request has a price however short it is: for each of them half a millisecond is allowed.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import omp
from omp.rules.identifiers import identity_id
from omp.tests.benchmarks.gauges import LIMIT, MIB
from omp.tests.benchmarks.hostile import CPU_A_MB, MEMORY_A_BYTE, Row, deliver
from omp.tests.benchmarks.load import http_request

SIZE = 1_000_000
_CPU_A_REQUEST = 0.0005
_LEAST_MIB = 8.0  # of a bound: a hundred threads alone take about so much
_CROWD = 100
_ROUNDS = 5
_HEAD = 30_000  # of the 32 KiB that a head may have
_TARGET = 7_500  # of 8 KiB
_QUICK = "many names"
"""The body that ``--quick`` sends to routes that take a list; besides, empty objects in the place of that list."""

# --- Values -----------------------------------------------------------------------------------------------------


def _repeated(piece: str, size: int) -> str:
    return ",".join([piece] * (size // (len(piece) + 1)))


VALUES: Mapping[str, Callable[[int], str]] = {
    "nested arrays": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "nested objects": lambda size: '{"a":' * (size // 6) + "0" + "}" * (size // 6),
    "arrays 50 deep": lambda size: "[" + _repeated("[" * 50 + "]" * 50, size) + "]",
    "empty objects": lambda size: "[" + _repeated("{}", size) + "]",
    "short strings": lambda size: "[" + _repeated('"ab"', size) + "]",
    "many names": lambda size: "{" + ",".join(f'"{number:x}":0' for number in range(size // 9)) + "}",
    "one name many times": lambda size: "{" + _repeated('"a":0', size) + "}",
    "many digits": lambda size: "1" * size,
    "many fractions": lambda size: "[" + _repeated("1e9", size) + "]",
    "wide fractions": lambda size: '{"🦊":[' + _repeated("1e9", size) + "]}",
    "escapes": lambda size: '"' + "\\u0001" * (size // 6) + '"',
    "one long string": lambda size: '"' + "x" * size + '"',
    "white space": lambda size: " " * size + "0",
}
"""JSON texts of about so many characters, by name."""
_IN_MEMBERS = ("empty objects", "many names", "wide fractions", "many digits", "escapes")


# --- Routes -----------------------------------------------------------------------------------------------------


class _Route(NamedTuple):
    """What the document says of a route; `example` is that of the body, and `media_type` None where it takes none."""

    method: str
    path: str
    query: tuple[str, ...]
    media_type: str | None
    example: Any

    @property
    def target(self) -> str:
        """An address of the route, with a log that does not exist."""
        log = identity_id(bytes(range(32))).replace(":", "%3A")
        return re.sub(r"\{\w+\}", "x", self.path.replace("{log}", log))

    @property
    def fields(self) -> dict[str, str]:
        """A proxy, so that the request is not the operator's own, and a name without a key."""
        return {"Via": "1.1 stranger", "Authorization": "Bearer 0x" + "0" * 40}


def _document() -> Any:
    with omp.running() as server, urllib.request.urlopen(f"{server.url}/openapi.json") as answer:
        return json.load(answer)


def _routes(document: Any) -> Iterator[_Route]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            query = tuple(one["name"] for one in operation.get("parameters", ()) if one["in"] == "query")
            content = operation.get("requestBody", {}).get("content", {None: {}})
            for media_type, body in content.items():
                yield _Route(method.upper(), path, query, media_type, body.get("example"))


# --- Rows -------------------------------------------------------------------------------------------------------


def _bounds(size: int, requests: int = 1) -> tuple[float, float]:
    """The bounds (CPU seconds, MiB) for so many bytes in so many requests."""
    cpu = max(CPU_A_MB * size / 1e6, _CPU_A_REQUEST * requests, 0.05)
    return cpu, max(MEMORY_A_BYTE * size / MIB, _LEAST_MIB)


def _request(route: _Route, port: int, body: bytes | None, target: str = "", **fields: str) -> bytes:
    media_type = {"Content-Type": route.media_type} if route.media_type is not None else {}
    headers = {**media_type, **route.fields, **{name.replace("_", "-"): value for name, value in fields.items()}}
    return http_request(route.method, target or route.target, body, headers, f"127.0.0.1:{port}")


def _bodies(route: _Route) -> Iterator[tuple[str, Callable[[], str], bool]]:
    """(name, what makes the body, whether ``--quick`` sends it) of every bad body for this route."""
    example = route.example if isinstance(route.example, dict) else {"content": None}
    takes_a_list = any(isinstance(right, list) for right in example.values())
    for name, value in VALUES.items():
        yield name, partial(value, SIZE), name == _QUICK and takes_a_list
    for member, right in example.items():
        for name in _IN_MEMBERS:
            wrong_elements = name == "empty objects" and isinstance(right, list)
            yield f"{name} in {member}", partial(_in_the_place_of, example, member, VALUES[name]), wrong_elements
        if isinstance(right, list) and right:
            make = partial(_in_the_place_of, example, member, partial(_copies, right))
            yield f"right elements in {member}", make, False


def _in_the_place_of(example: Mapping[str, Any], member: str, value: Callable[[int], str]) -> str:
    return json.dumps({**example, member: "@@"}).replace('"@@"', value(SIZE))


def _copies(right: list[Any], size: int) -> str:
    return "[" + _repeated(json.dumps(right[0]), size) + "]"


def _send_body(route: _Route, make: Callable[[], str], port: int) -> None:
    deliver(port, _request(route, port, make().encode()))


def _send_heads(route: _Route, port: int) -> None:
    """Fields that some server somewhere parses, each in its costliest form, and others that nobody knows."""
    list_of = _HEAD // 12
    fields = {
        "If-None-Match": ('"x",' * (list_of // 4))[:-1],
        "If_Match": ('"x",' * (list_of // 4))[:-1],
        "Accept": ("a/b;q=0.1," * (list_of // 10))[:-1],
        "Cookie": "a=b;" * (list_of // 4),
        "Signature_Input": ("a=()," * (list_of // 5))[:-1],
        "Signature": ("a=:AA==:," * (list_of // 9))[:-1],
        "Content_Digest": ("a=:AA==:," * (list_of // 9))[:-1],
        "X_Forwarded_For": ("1.1.1.1," * (list_of // 8))[:-1],
        "Last_Event_ID": "1." * (list_of // 2),
    } | {f"X_{number}": "x" * 100 for number in range(60)}
    body = b"{}" if route.media_type is not None else None
    for _ in range(SIZE // _HEAD):
        deliver(port, _request(route, port, body, **fields))


def _send_targets(route: _Route, port: int) -> None:
    """Long targets: the parameters of the path and of the query, and many of them."""
    names = route.query or ("a",)
    queries = [f"{name}={'%25' * ((_TARGET - 10) // 3)}" for name in names] + [f"{names[0]}=1&" * (_TARGET // 20)]
    targets = [f"{route.target}?{query}"[:_TARGET] for query in queries]
    if "{" in route.path:
        targets.append(re.sub(r"\{\w+\}", "%25" * (_TARGET // 3 // route.path.count("{") - 20), route.path))
    body = b"{}" if route.media_type is not None else None
    for number in range(SIZE // _TARGET):
        deliver(port, _request(route, port, body, targets[number % len(targets)]))


def _send_crowd(route: _Route, port: int) -> None:
    """The example, many times, a hundred at a time."""
    body = json.dumps(route.example or {}).encode() if route.media_type is not None else None
    request = _request(route, port, body)
    with ThreadPoolExecutor(_CROWD) as crowd:
        list(crowd.map(lambda _: deliver(port, request), range(_CROWD * _ROUNDS)))


_OTHER_CROWDS = {"POST /auth/register": (1.5, 72.0), "POST /auth/login": (3.0, 72.0)}
"""A password costs a hash of 16 MiB and 50 ms, whatever is sent.  The bound is one on hashes: ten failures a minute for
an address, four at a time (mrs §3.3).  The bounds are those of the rows of ``hostile_mrs`` for the same attack."""


def _rows_of(route: _Route) -> Iterator[Row]:
    group = f"{route.method} {route.path}" + (" (ndjson)" if "ndjson" in (route.media_type or "") else "")
    if route.media_type is not None:
        for name, make, quick in _bodies(route):
            send = partial(_send_body, route, make)
            yield Row(f"{group}: {name}", send, *_bounds(SIZE), "", quick=quick, group=group)
    for name, many, requests in (("heads", _send_heads, SIZE // _HEAD), ("targets", _send_targets, SIZE // _TARGET)):
        yield Row(f"{group}: {name}", partial(many, route), *_bounds(SIZE, requests), "", quick=False, group=group)
    crowd = _CROWD * _ROUNDS
    bounds = _OTHER_CROWDS.get(group) or _bounds(0, crowd)
    yield Row(f"{group}: crowd", partial(_send_crowd, route), *bounds, "", quick=False, group=group)


# --- Signatures and connections ---------------------------------------------------------------------------------

_STRICT = {"OMP_SIG_MODE": "strict"}


def _numbered(form: str, size: int) -> str:
    """`form` with a number in place of # as often as it fits, a few digits each."""
    return "".join(form.replace("#", str(number)) for number in range(size // (len(form) + 4)))


_SIGNATURES: Mapping[str, Callable[[int], tuple[str, str]]] = {
    "many labels": lambda size: (_numbered("a#=(),", size).rstrip(","), "a0=:AA==:"),
    "many components": lambda size: ("a=({})".format(_numbered(' "x#"', size).strip()), "a=:AA==:"),
    "many parameters": lambda size: ("a=()" + _numbered(";p#=1", size), "a=:AA==:"),
    "a string of escapes": lambda size: ('a=();keyid="%s"' % ("\\\\" * (size // 2)), "a=:AA==:"),
    "many signatures": lambda size: ('a=("@method");keyid="x"', _numbered("a#=:AA==:,", size).rstrip(",")),
}
"""(Signature-Input, Signature) of about so many bytes, by name (RFC 9421 §4)."""


def _send_signatures(name: str, port: int) -> None:
    described, signature = _SIGNATURES[name](_HEAD - 500)
    fields = {"Signature-Input": described, "Signature": signature}
    request = http_request("GET", "/objects", None, fields, f"127.0.0.1:{port}")
    for _ in range(SIZE // _HEAD):
        deliver(port, request)


def _send_tiny(port: int) -> None:
    """A megabyte of the smallest requests, a thousand on a connection, sent before any answer is read."""
    request = b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port
    for _ in range(SIZE // len(request) // 1000):
        with socket.create_connection(("127.0.0.1", port), LIMIT) as connection:
            reading = threading.Thread(target=_read_all, args=(connection,))
            reading.start()
            connection.sendall(request * 999 + request[:-2] + b"Connection: close\r\n\r\n")
            reading.join()


def _read_all(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while connection.recv(MIB):
            pass


_TINY = SIZE // 42

ROWS = (
    *(row for route in _routes(_document()) for row in _rows_of(route)),
    *(
        Row(f"strict: signature fields, {name}", partial(_send_signatures, name), *_bounds(SIZE, 33), "", _STRICT)
        for name in _SIGNATURES
    ),
    Row(f"{_TINY:,} requests of 42 bytes, pipelined", _send_tiny, *_bounds(SIZE, _TINY), "", quick=False),
)
"""Every row of the sweep; those of a route are a group."""
