"""The OMP objects API: JSON objects that a server keeps under an id, a namespace and a key.

The smallest thing a program asks of a memory: put this away, give it back, replace it, forget it, list what is there.
What can go wrong is less obvious than the routes are:

* Two programs read an object, change it and write it back, and the second overwrites what the first wrote.  Every
  state of an object has an entity tag; ``If-Match`` makes a write depend on it, and check and write are one step.
* A list is read page by page while others insert and delete.  A cursor is a place in the order, not a count, so an
  object that is there throughout is on exactly one page.
* A secret is to be read once, and two readers ask at the same moment.  Reading and removing are one transaction: one
  gets it, the other gets 404.
* An object expires and its row is still there.  The deadline is compared at every read; the rows are deleted later.

``SPEC.md`` beside this file is the specification, and the section numbers in this package are its own.  In reading
order:

* ``record``: an object as the bytes of one row: id, time, ETag, deadline (pure);
* ``collection``: the tables, and every way in which they change;
* ``schemas``: every body as JSON Schema;
* ``routes``: the handlers, cursors and the route table;
* ``audit``: what must hold of the rows of a file.

The caller must decide who may come in: the routes have no notion of a user (:mod:`omp.web.signature_guard` guards them
in strict mode).

A record needs neither a store nor a clock.  Two states that are equal as JSON have one ETag, however their members are
ordered:

>>> from omp.protocols.objects.record import new_id, new_record
>>> now = 1_700_000_000_000_000
>>> one, other = (
...     new_record(now, new_id(now, 5), "notes", "first", content, {"omp.ttl_sec": 60}, False)
...     for content in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
... )
>>> one.summary.decode()[:92]
'{"id":"018bcfe5-6800-7000-8000-000000000005","namespace":"notes","key":"first","created_at":'
>>> one.body == other.body, one.etag == other.etag, one.is_gone(now + 60_000_000)
(False, True, True)
"""

from __future__ import annotations

from omp.protocols.objects.collection import Collection
from omp.protocols.objects.routes import REFUSALS, ROUTES, SIGNED
from omp.protocols.objects.schemas import MAX_NAME, MAX_PAGE, NAMES, PARAMETERS
from omp.web.routes import Context, Mount
from omp.web.settings import Setting, read_settings, switch
from omp.web.signature_guard import HTTP_SIGNATURE

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
        refusals=REFUSALS,
        guard=context.signatures.mount_guard(),
        own_pages=True,
        check_head=context.signatures.check_head,
        housekeep=objects.housekeep,
        limits={"max_page_size": MAX_PAGE, "max_name_characters": MAX_NAME},
        about="JSON objects under a namespace and a key: put away, give back, replace, forget, list.",
        schemas=NAMES,
        parameters=PARAMETERS,
        schemes=context.signatures.schemes(),
        access={SIGNED: (HTTP_SIGNATURE,)},
    )


__all__ = ["SETTINGS", "mount"]
