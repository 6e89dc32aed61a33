"""The signed operation log, ``omp/0.2``: producer, verifier and replicator of the oplog document.

Read in this order; all of it is pure (no I/O, no clock, no threads) up to the routes:

1. ``operation``: the form of an operation, as tables (§1.3, §1.5, §2);
2. ``verify``: the twelve stages (§3.2);
3. ``entries``, ``storing``, ``causality``: what is kept of an operation, and the causal order (§3.1, §3.4);
4. ``authority``, ``void``: grants and revocations (§4);
5. ``state``, ``document``, ``ordered``: statuses, taint, the state document (§5);
6. ``waiting``, ``replica``: the waiting pool and the one append (§3.2);
7. ``projection``, ``derivation``: what readers get (§6, §7);
8. ``producer``: making operations;
9. ``checker``: the same results by the shortest way, from exported bytes: the independent check.
"""

from __future__ import annotations

from omp.protocols.oplog.core.operation import VERSION
from omp.protocols.oplog.node import Node
from omp.protocols.oplog.reading import OpLog
from omp.protocols.oplog.routes import MAX_PAGE, ROUTES
from omp.web.routes import Context, Mount


def mount(context: Context) -> Mount:
    """The operation log over the store of `context`."""
    node = Node(context.store)
    return Mount(
        "oplog",
        VERSION,
        "Signed operation log",
        ROUTES,
        OpLog(node, context.engine, context.signatures, context.clock),
        owns=("/logs",),
        close=node.close,
        limits={"max_log_page_size": MAX_PAGE},
    )


__all__ = ["mount"]
