"""The fast core of the operation log: pure, without I/O, clock or threads (oplog §1 to §7).

**The data flow** is one line.  Bytes become an :class:`~.operation.Operation` (stages 1 to 7), an operation becomes a
:class:`~.causality.Candidate` (stages 8 to 12), a candidate becomes an :class:`~.entries.Entry` in the stored set, and
from the stored set everything else follows: heads, void, statuses, taint, the state document.

**The invariant of the one append.**  ``Replica._append`` alone adds to the stored set, nothing removes from it, and
only what passed all twelve stages gets there.  So the set is closed: each ancestor of a member is a member.  All that
is derived is brought up to date right after it, before anybody can look.  A log that is read again after a restart is
linked first and derived once, at the end (``Replica.link``, ``Replica.derive``), also before anybody can look.

**Where the order of arrival does not matter.**  Stages 9 to 12 look at past(O) alone, and Auth(O) with them: the
verdict on an operation is the same everywhere.  Statuses, taint and void are defined over the stored set: each change
here leaves what the definition gives for the set as it is now, so two replicas with one set have one state document.
The tests deliver hostile logs in many random orders and compare.

**Where it does matter.**  Which of two signatures over one preimage is kept (the first that came).  What is evicted
from the waiting pool when it is full.  The numbers of events, and which events there were: an operation that arrives
before its revocation is accepted first and turns void later.  None of this is in the state document.

**What is cheap and what is not.**  A log may hold a million operations, and an append must not walk over all of them.
So pasts are version vectors, sorted lists are cut into blocks, and only changed blocks of the state document are
written again.  Two kinds of operation cost more, in proportion to what they change: a revocation asks again about the
operations under its target, and a refutation or correction about all that is derived from its target.  Such work can
pause (:mod:`.steps`); until it is done nothing is appended, and nobody looks.  Its cost is that of what changes, about
1 µs an entry, each time anew: an author who lets a refutation hold, and not hold, in turn makes the node work for
statuses and events that did change.  The SHA-256 of the state document is taken over the whole of it, but only when
somebody asks.

Read in this order (``omp/README.md`` has it with minutes); the first four belong to the first hour:

======================  ===========================================================================
:mod:`.entries`         what is kept of an operation, and of a key
:mod:`.causality`       is X in past(O)? chains, forks, version vectors (§3.1, §3.4)
:mod:`.verify`          the twelve stages, as a table (§3.2)
:mod:`.steps`           work that can be interrupted
:mod:`.void`            what a revocation does to what is concurrent with it (§4.5); read the proof
:mod:`.outcomes`        what becomes of an operation, and what happens because of it (§7.2, §7.6)
:mod:`.replica`         all of it together; the one append (§3.2)
:mod:`.operation`       what an operation is: members, grammars, limits, ranges, references (§2)
:mod:`.authority`       who may append what: grants, coverage, attenuation (§4.1 to §4.4)
:mod:`.state`           statuses and taint (§5.1, §5.2)
:mod:`.blocks`          sorted lists that grow anywhere
:mod:`.document`        the state document (§5.3), the projection (§6), items and *why* (§7.4)
:mod:`.waiting`         the bounded pool of operations whose parents are missing (§3.2)
:mod:`.trusted`         what was verified before it was stored is read back (§7.7)
:mod:`.producer`        making operations (§2, §8.1)
======================  ===========================================================================

**From the definition to the core.**  What :mod:`omp.protocols.oplog.definition` calls by one name has here:

=======================  ==================================================================================
``Log``                  :class:`~.replica.Replica`
``Op``                   three stages of one operation: :class:`~.operation.Operation` (stages 1 to 7 passed),
                         :class:`~.causality.Candidate` (being judged), :class:`~.entries.Entry` (stored)
``examine``              :func:`~.verify.check_bytes`
``Log.add``              :func:`~.verify.judge`, then ``Replica._append``
``StageFailed``          :class:`~.verify.OperationRefused`; with DEFER :class:`~.verify.OperationDeferred`
``Op.past``, bits        :class:`~.causality.Past`, and chains with vectors
``covers``, ``COVERS``   ``authority._admits`` and ``authority._COVERS``
``State.is_void``        ``Entry.void``, which :class:`~.void.Voidness` keeps up to date
``State.document``       :class:`~.document.StateDocument`
=======================  ==================================================================================
"""
