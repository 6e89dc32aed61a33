"""What strangers' worst requests to objects cost: rows for ``python -m omp bench hostile`` (objects §4, omp §2.1).

The API asks for no key in mode ``off``, so everybody may send the worst JSON there is, and search among what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from omp.tests.benchmarks.hostile import MEMORY_A_BYTE, Row
from omp.tests.benchmarks.hostile_web import get, post
from omp.tests.benchmarks.load import http_request, send_all

SIZE = 4_900_000
_MEGABYTES = SIZE / 1e6
_MIB = MEMORY_A_BYTE * SIZE / (1 << 20)
FILLINGS = {
    "empty arrays": b"[]",
    "empty objects": b"{}",
    "objects of one member": b'{"":0}',
    "arrays 96 deep": b"[" * 96 + b"]" * 96,
    "objects 96 deep": b'{"":' * 96 + b"0" + b"}" * 96,
    "arrays as heavy as may be": b"[987654]",
    "objects as heavy as may be": b'{"id":1,"n":23456}',
    "digits": b"0",
    "doubles": b"1e9",
    "long doubles": b"1.7976931348623157e308",
    "long integers": b"9" * 300,
    "empty strings": b'""',
}
"""What an array in the content is filled with."""


def _create(port: int, filling: bytes) -> None:
    elements = b",".join([filling] * (SIZE // (len(filling) + 1)))
    post(port, "/objects", b'{"namespace":"n","content":{"c":[%b]}}' % elements)


def _names(port: int) -> None:
    members = ",".join(f'"\U0001f600{number:x}":0' for number in range(SIZE // 17))
    post(port, "/objects", f'{{"namespace":"n","content":{{{members}}}}}'.encode())


def _objects(port: int) -> None:
    elements = b",".join(b'{"%08x":1e100}' % number for number in range(SIZE // 19))
    post(port, "/objects", b'{"namespace":"n","content":{"c":[%b]}}' % elements)


def _large_metadata(port: int) -> None:
    for _ in range(8):
        post(port, "/objects", b'{"namespace":"n","key":"k","content":{},"metadata":{"m":"%b"}}' % (b"m" * SIZE))


def _many(port: int, count: int = 20_000) -> None:
    """`count` small objects with one key."""
    body = b'{"namespace":"n","key":"k","content":{}}'
    request = http_request("POST", "/objects", body, host=f"127.0.0.1:{port}")
    send_all(port, [request] * count, expected=201)


def _times(port: int, count: int, send: Callable[[int], int]) -> None:
    for _ in range(count):
        send(port)


def _only_new(port: int) -> int:
    return post(port, "/objects", b'{"namespace":"n","key":"k","content":{}}', "If-None-Match: *\r\n")


def _long_filter(port: int) -> int:
    return post(port, "/objects/search", b'{"key_contains":"%b"}' % (b"k" * SIZE))


ROWS = (
    *(
        Row(f"objects: 4.9 MB of {name}", partial(_create, filling=filling), _MEGABYTES, _MIB, before)
        for (name, filling), before in zip(
            FILLINGS.items(),
            (
                "51 × its size",
                "51 ×",
                "42 ×",
                "1.9 s, 53 ×",
                "1.9 s, 45 ×",
                "-",
                "-",
                "43 ×",
                "36 ×",
                "9 ×",
                "7 ×",
                "the same",
            ),
            strict=True,
        )
    ),
    Row("objects: 4.9 MB of distinct names", _names, _MEGABYTES, _MIB, "30 ×"),
    Row(
        "objects: 4.9 MB of objects of one distinct name",  # as many as are taken, and the costliest
        _objects,
        _MEGABYTES,
        _MIB,
        "29 ×",
    ),
    Row(
        "objects: 10 lists of 5 MB metadata",
        partial(_times, count=10, send=partial(get, target="/objects?limit=1000")),
        1.0,
        60,
        "the same",
        prepare=_large_metadata,
    ),
    Row(
        "objects: 10 searches of 20,000 objects that find nothing",
        partial(_times, count=10, send=partial(get, target="/objects/search?key_contains=nowhere")),
        2.0,
        16,
        "the same; no bound with more objects",
        prepare=_many,
    ),
    Row(
        "objects: 10 only-new creates of a key that 20,000 have",
        partial(_times, count=10, send=_only_new),
        0.2,
        16,
        "0.16 s, under the store's lock; no bound with more objects",
        prepare=_many,
    ),
    Row(
        "objects: 10 searches with a filter of 4.9 MB",
        partial(_times, count=10, send=_long_filter),
        2.0,
        60,
        "the same",
    ),
)
