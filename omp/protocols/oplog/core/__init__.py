"""The fast core of the operation log: pure, without I/O, clock or threads (oplog §1 to §7).

**The data flow** is one line.  Bytes become an :class:`~.operation.Operation` (stages 1 to 7), an operation becomes a
:class:`~.causality.Candidate` (stages 8 to 12), a candidate becomes an :class:`~.entries.Entry` in the stored set, and
from the stored set everything else follows: heads, void, statuses, taint, the state document.

**The invariant of the one append.**  ``Replica._append`` alone adds to the stored set, nothing removes from it, and
only what passed all twelve stages gets there.  So the set is closed: each ancestor of a member is a member.  All that
is derived is brought up to date right after it, before anybody can look.

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
operations under its target, and a refutation or correction about all that is derived from its target.  The SHA-256 of
the state document is taken over the whole of it, but only when somebody asks.

Read in this order, with the minutes each takes:

======================  =======  ===========================================================================
:mod:`.operation`       7        what an operation is: members, grammars, limits, ranges, references (§2)
:mod:`.verify`          5        the twelve stages, as a table (§3.2)
:mod:`.entries`         5        what is kept of an operation, and of a key
:mod:`.causality`       4        is X in past(O)? chains, forks, version vectors (§3.1, §3.4)
:mod:`.authority`       4        who may append what: grants, coverage, attenuation (§4)
:mod:`.void`            3        what a revocation does to what is concurrent with it (§4); read the proof
:mod:`.state`           5        statuses and taint (§5)
:mod:`.blocks`          2        sorted lists that grow anywhere
:mod:`.document`        6        the state document (§5), the projection (§6), items and *why* (§7)
:mod:`.waiting`         4        the bounded pool of operations whose ancestors are missing (§3.2)
:mod:`.replica`         6        all of it together; the one append (§3.2)
:mod:`.producer`        4        making operations (§2)
======================  =======  ===========================================================================
"""
