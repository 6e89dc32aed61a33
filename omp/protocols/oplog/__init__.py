"""The signed operation log, ``omp/0.2``: what a person's devices know, signed piece by piece, the same on all of them.

**What it is for.**  A phone reads a calendar and derives a claim from it; a laptop, offline, corrects that claim; an
assistant that was allowed to see calendar claims, and nothing else, calls a model on them.  Later somebody asks: why do
you believe this, who said so, and does it still hold?  A log answers.  It is a set of *operations*, seven kinds of them
(evidence, claims, corrections, refutations, grants, revocations, calls of a model).  Each is signed by one key, has its
hash as its name, and names the operations it builds on.  The log belongs to a root key, which grants other keys what
they may do.  There is no server that decides: whoever has the operations can check them all, and two who have the same
operations compute the same state, down to the byte.

**What can go wrong**, and what is done about it:

* *Operations arrive in any order, twice, or never.*  One whose parents are missing waits in a bounded pool and is
  judged as soon as the last missing one is stored (``core.waiting``).  Verdicts never depend on the order of arrival
  (``core.verify``).
* *A key forks*: a copied device signs two operations with the same number.  Both stay, and the fork is reported;
  nothing else depends on it (``core.causality``).  The total order could choose one, but its author chooses the clock,
  so could let either win, and one that arrives late would undo what builds on the other.
* *A revoked key goes on writing* and dates its operations back, or leaves the revocation out of their past.  Clocks
  prove nothing, so they are not asked: revocation wins over what is concurrent with it, and such operations are stored
  but *void* (``core.void``).
* *A grantee wants more than it was given.*  A grant under a grant only narrows it, and never goes to a key above
  (``core.authority``).
* *A source turns out false.*  What was derived from it, through any depth, is not deleted but *tainted*, until the
  source is valid again (``core.state``).
* *A stranger sends rubbish, or a great deal.*  Twelve stages refuse it with one code each, the expensive ones outside
  every lock.  What cannot be judged yet is bounded: what is most likely a stranger's is evicted first.
* *What is not protected*: the log is not secret, an author may lie, and a key that was stolen and not yet revoked
  writes as its owner.  Times are the author's word.

**How the files lie.**  First the definition: the protocol in one file, plain and slow, which shares nothing with the
core but canonical JSON, identifiers, the encodings and Ed25519.  Then the core, fast and pure.  Then the shell, which
adds what a server needs: tables, locks, streams, HTTP.  Tests hold the core against the definition.  In reading order
(``omp/README.md`` has the same list with minutes):

1. the first hour: :mod:`.definition`, the log in one file; then of the core ``entries``, ``causality``, ``verify`` and
   ``void``.  A table in the docstring of :mod:`.core` leads from the definition's names to those of the core;
2. the rest of the core: ``replica`` with the one append, ``operation``, ``authority``, ``state``, ``blocks``,
   ``document``, ``waiting``, ``producer``;
3. the shell: :mod:`.node` (tables and locks), :mod:`.loading` (from the tables into memory), :mod:`.posting`
   (operations on their way in), :mod:`.reading` (answers), :mod:`.feed` (events), :mod:`.schemas` (bodies as JSON
   Schema), :mod:`.routes` (the two tables of what there is on the wire).

**An example.**  A ``Replica`` is one log as far as it has arrived, a ``Producer`` makes operations of one key in it,
and an engine verifies Ed25519 signatures.  The laptop gets the refutation first: it waits for the claim.

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

For a real key give the producer a ``LogKey`` (``omp/tools/log/files.py``), which keeps the seed in a file.

**From the route table to the stored entry** a posted operation crosses ten of these files::

    1  routes.py             the row POST /logs/{log}/operations names the handler, post
    2  posting.py            post → post_one, or post_many; each goes down twice, first for the bytes:
    3  core/verify.py          check_bytes: stages 1 to 7, without any lock
    4  core/operation.py       the tables behind stages 4, 5 and 6
    5  core/grammar.py         what a member may be
                             then for the log:
    6  node.py                 Node.admit: a write block of the store, then the lock
    7  core/replica.py         Replica.admit; core/verify.py again, judge: stages 8 to 12
    8  core/causality.py       past(O), for stage 11
    9  core/authority.py       Auth(O), stage 12
   10  core/entries.py         entry_of makes the entry, Replica._append puts it into the stored set

What follows is a second act, ``Replica._follow_up``: void, state, document, blocks, waiting.  Then the node writes the
rows, commits, and tells the feed.  A test starts at ``Application.answer``, follows the calls, and finds nine of these
files and no other before the entry is stored; the tenth, routes.py, is a table and runs no code of its own.
"""

from __future__ import annotations

from omp.protocols.oplog.core.operation import VERSION
from omp.protocols.oplog.node import Node, OpLog
from omp.protocols.oplog.routes import ACCESS, MAX_PAGE, REFUSALS, ROUTES
from omp.protocols.oplog.schemas import ABOUT, NAMES, PARAMETERS
from omp.web.routes import Context, Mount
from omp.web.settings import Setting, SettingError, read_settings, switch

SETTINGS = (
    Setting(
        "open",
        "OMP_LOGS_OPEN",
        switch,
        None,
        "1: in mode strict too, anybody may begin a log; without it, who signs with a configured key",
    ),
)


def mount(context: Context) -> Mount:
    """The operation log over the store of `context`.  Raises :class:`SettingError`."""
    is_open, is_strict = read_settings(SETTINGS, context.environ)["open"], context.signatures.mode == "strict"
    if is_open is False and not is_strict:
        raise SettingError("OMP_LOGS_OPEN=0 needs OMP_SIG_MODE=strict: the other modes verify no signature.")
    node = Node(context.store, context.log)
    context.metrics.sources.append(node.numbers)
    return Mount(
        "oplog",
        VERSION,
        "Signed operation log",
        ROUTES,
        OpLog(node, context.engine, context.signatures, context.clock, anybody_begins=bool(is_open) or not is_strict),
        owns=("/logs",),
        refusals=REFUSALS,
        own_pages=True,
        check_head=lambda request: (
            context.signatures.check_head(request) if request.path.endswith("/missing") else None
        ),
        start=node.read_ahead,
        housekeep=lambda now: node.write_again(),
        close=node.close,
        limits={"max_log_page_size": MAX_PAGE},
        about=ABOUT,
        schemas=NAMES,
        parameters=PARAMETERS,
        schemes=context.signatures.schemes(),
        access=ACCESS,
    )


__all__ = ["SETTINGS", "mount"]
