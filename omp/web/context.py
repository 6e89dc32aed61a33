"""What every protocol is given when it is mounted: the store, the clock, the keys, the log.

The environment and the time of day reach a protocol by no other way, so that a test can hold them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from omp.rules.engines import Engine
from omp.store.port import Store
from omp.web.signature_guard import SignatureGuard


@dataclass(frozen=True)
class Context:
    """What the entry hands to each protocol: ``mount(context) -> Mount``.

    `clock` gives epoch seconds; `random_bytes` gives that many unpredictable bytes; `engine` verifies Ed25519;
    `signatures` guards routes with HTTP Message Signatures, in the mode that was asked for;
    `url` is the server's own base URL; `log` writes one line to the server's log.
    """

    store: Store
    environ: Mapping[str, str]
    clock: Callable[[], float]
    engine: Engine
    signatures: SignatureGuard
    random_bytes: Callable[[int], bytes] = os.urandom
    url: str = "http://127.0.0.1:8787"
    log: Callable[[str], None] = print
    max_body: int = 5 * 1024 * 1024
