"""The OMP objects API: JSON objects that a server keeps under an id, a namespace and a key.

Implements objects.md §1 with the errors of §3: create, fetch, replace, delete; lists and searches in pages; time to
live and delete-on-read; entity tags and the preconditions on them.

``record``
    an object as the bytes of one row: id, time, ETag, deadline (pure)
``paging``
    cursors, links to the next page, entity tags in requests (pure)
``collection``
    the tables, and every way in which they change
``routes``
    the handlers, their schemas and the route table

Handled here: atomic check and write of every precondition; one reader of a delete-on-read object, however many ask;
expired objects seen by nobody, and their rows given back.  The caller must say who may come in: the routes have no
notion of a user (:mod:`omp.web.signature_guard` guards them in strict mode).
"""

from __future__ import annotations

from omp.protocols.objects.collection import Collection
from omp.protocols.objects.routes import MAX_NAME, MAX_PAGE, ROUTES
from omp.web.routes import Context, Mount
from omp.web.settings import Setting, read_settings, switch

VERSION = "1"

SETTINGS = (
    Setting(
        "delete_on_read",
        "OMP_DELETE_ON_READ_DEFAULT",
        switch,
        False,
        "1: the first GET of an object is its last, unless its metadata say otherwise",
    ),
)


def mount(context: Context) -> Mount:
    """The objects API over the store of `context`, behind its guard."""
    settings = read_settings(SETTINGS, context.environ)
    objects = Collection(context.store, context.clock, context.random_bytes, settings["delete_on_read"])
    return Mount(
        "objects",
        VERSION,
        "OMP objects",
        ROUTES,
        objects,
        owns=("/objects",),
        guard=context.signatures.mount_guard(),
        housekeep=objects.housekeep,
        limits={"max_page_size": MAX_PAGE, "max_name_characters": MAX_NAME},
    )


__all__ = ["SETTINGS", "mount"]
