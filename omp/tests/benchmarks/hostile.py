"""What a row of ``python -m omp bench hostile`` is: one attack, and the bounds that it must stay within."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple


class Row(NamedTuple):
    """One attack.

    `send` is given the port of a running server and sends the worst; it may raise OSError, since a server that hangs up
    has defended itself.  `bound_cpu` is in seconds of the server's CPU, `bound_mib` in MiB at the peak over what the
    idle server has; None where there is no such bound.  `before` says what it cost before it was mended.

    The rest is optional.  `environ` are settings of the server.  `prepare` is given the port before anything is
    measured.
    """

    name: str
    send: Callable[[int], None]
    bound_cpu: float | None
    bound_mib: float | None
    before: str
    environ: Mapping[str, str] = MappingProxyType({})
    prepare: Callable[[int], None] | None = None
