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
