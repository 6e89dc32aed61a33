"""The signed operation log, ``omp/0.2``: what a person's devices know, signed piece by piece, the same on all of them.

**What it is for.**  A phone reads a calendar and derives a claim from it; a laptop, offline, corrects that claim; an
assistant that was allowed to see calendar claims, and nothing else, calls a model on them.  Later somebody asks: why do
you believe this, who said so, and does it still hold?  A log answers.  It is a set of *operations*, seven kinds of them
(evidence, claims, corrections, refutations, grants, revocations, calls of a model).  Each is signed by one key, has its
hash as its name, and names the operations it builds on.  The log belongs to a root key, which grants other keys what
they may do.  There is no server that decides: whoever has the operations can check them all, and two who have the same
operations compute the same state, down to the byte (:mod:`.definition` does this in one file).

>>> from omp.protocols.oplog.core.producer import Producer
>>> from omp.protocols.oplog.core.replica import Replica
>>> from omp.rules import ed25519, engines, identifiers
>>> class Root:  # a key; real ones are kept in a file and sign with the package cryptography
...     public_key = ed25519.public_key_slowly(bytes(32))
...     def sign(self, message):
...         return ed25519.sign_slowly(bytes(32), message)
>>> engine, now = engines.best_engine(), "2026-05-04T10:00:00.000Z"
>>> phone = Replica(identifiers.identity_id(Root.public_key))
>>> write = Producer(phone, Root(), engine)
>>> claim = write.claim_assert(
...     now, subject="self", predicate="name.first", object="Ada", confidence_ppm=1_000_000, method="user:typed"
... )
>>> phone.admit(claim).status
'accepted'
>>> refutation = write.refutation(now, target=claim.id, reason="a typing error")
>>> phone.admit(refutation).status
'accepted'
>>> laptop = Replica(phone.log)  # it gets the bytes by whatever way, in whatever order
>>> laptop.add(refutation.raw, engine).status, laptop.add(claim.raw, engine).status
('deferred', 'accepted')
>>> laptop.state_id() == phone.state_id()
True

**What can go wrong**, and what is done about it:

* *Operations arrive in any order, twice, or never.*  One whose ancestors are missing waits in a bounded pool and is
  tried again when they come (``core.waiting``).  Verdicts never depend on the order of arrival (``core.verify``).
* *A key forks*: a copied device signs two operations with the same number.  Both stay, and the fork is reported;
  nothing else depends on it (``core.causality``).  Choosing one would need an order that all nodes agree on.
* *A revoked key goes on writing* and dates its operations back, or leaves the revocation out of their past.  Clocks
  prove nothing, so they are not asked: revocation wins over what is concurrent with it, and such operations are stored
  but *void* (``core.void``).
* *A grantee wants more than it was given.*  A grant under a grant only narrows it, and never goes to a key above
  (``core.authority``).
* *A source turns out false.*  What was derived from it is not deleted but *tainted*, through any depth, and ceases to
  be when the source is valid again (``core.state``).
* *A stranger sends rubbish, or a great deal.*  Twelve stages refuse it with one code each, the expensive ones outside
  every lock; what cannot be judged yet is bounded, and strangers' operations are evicted first.
* *What is not protected*: the log is not secret, an author may lie, and a key that was stolen and not yet revoked
  writes as its owner.  Times are the author's word.

**How the files lie.**  First the definition: the protocol in one file, plain and slow, which shares no line with the
core but canonical JSON, identifiers and Ed25519.  Then the core, fast and pure.  Then the shell, which adds what a
server needs: tables, locks, streams, HTTP.  Tests hold the core against the definition.

1. :mod:`.definition`: all of it in one file (15 minutes);
2. :mod:`.core`: twelve files, in the order that its docstring gives (55 minutes);
3. the shell (25 minutes): :mod:`.node` (tables and locks), :mod:`.feed` (events), :mod:`.posting` (operations on their
   way in), :mod:`.reading` (answers), :mod:`.routes` (the two tables of what there is on the wire).

**From the socket to the stored entry** a posted operation crosses nine of these files::

    routes.py             the row POST /logs/{log}/operations names the handler, post
    posting.py            post → post_one, or post_many; each goes down twice, first for the bytes:
    core/verify.py          check_bytes: stages 1 to 7, without any lock
    core/operation.py       the tables behind stages 4, 5 and 6
                          then for the log:
    node.py                 Node.admit: a write block of the store, then the lock
    core/replica.py         Replica.admit; core/verify.py again, judge: stages 8 to 12
    core/causality.py       past(O), for stage 11
    core/authority.py       Auth(O), stage 12
    core/entries.py         entry_of makes the entry, Replica._append puts it into the stored set

What follows is a second act, ``Replica._follow_up``: void, state, document, blocks, waiting.  Then the node writes the
rows, commits, and tells the feed.  A test follows an operation and finds these nine files, and no other before the
entry is stored.
"""

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
        check_head=lambda request: (
            context.signatures.check_head(request) if request.path.endswith("/missing") else None
        ),
        close=node.close,
        limits={"max_log_page_size": MAX_PAGE},
    )


__all__ = ["mount"]
