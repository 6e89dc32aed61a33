"""The signed operation log, ``omp/0.2`` (oplog §1 to §7)."""

from __future__ import annotations

from omp.protocols.oplog.core.operation import VERSION
from omp.protocols.oplog.node import Node, OpLog
from omp.protocols.oplog.routes import MAX_PAGE, REFUSALS, ROUTES
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
        refusals=REFUSALS,
        close=node.close,
        limits={"max_log_page_size": MAX_PAGE},
    )


__all__ = ["mount"]
