"""The subcommands of ``python -m omp log`` that exchange with servers: `push`, `pull`, `sync`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from omp.protocols.oplog.entries import Entry
from omp.protocols.oplog.replica import ACCEPTED, DUPLICATE, Replica
from omp.rules.engines import best_engine
from omp.rules.identifiers import IDENTITY_ID
from omp.tools.log.files import Failed, LocalLog, LogKey, log_in, opened
from omp.tools.log.peers import Peer, Refusal
from omp.tools.log.selecting import key_if_any, opened_to_read


def push(args: argparse.Namespace) -> None:
    """Send a server what it lacks."""
    with opened_to_read(args) as local:
        replica = local.replica
        peer = Peer(args.url, replica.log, key_if_any(args))
        try:
            heads = peer.heads().heads
        except Refusal as refusal:
            # Who may not read there may still write: all of it is sent, and what the server has is a duplicate.
            if refusal.status not in (401, 403):
                raise
            heads = []
        raws = [entry.raw for entry in replica.lacking(heads)]
    sent = _send(peer, raws)
    print(f"pushed {_operations(sent)}")
    _compare(replica, peer)


def _send(peer: Peer, raws: Iterable[bytes]) -> int:
    """Send operations: how many were new to the server.  Raises :class:`Failed` where one was refused."""
    sent = peer.send(raws)
    if sent.refused:
        operation_id, code = sent.refused[0]
        raise Failed(f"{peer.url} refused {_operations(len(sent.refused))}; the first: {operation_id}, {code}")
    return sent.counts[ACCEPTED]


def _operations(count: int) -> str:
    return f"{count} operation{'' if count == 1 else 's'}"


def _compare(replica: Replica, peer: Peer) -> None:
    """Say whether both have the same now."""
    try:
        there = peer.heads()
    except Refusal:
        print(f"state {replica.state_id()} here; the server does not tell this key its own")
        return
    if there.state == replica.state_id():
        print(f"state {there.state} on both sides")
    else:
        here, there_too = _operations(len(replica)), _operations(there.ops)
        print(f"here {here}, there {there_too}: pull what is missing here, push what is missing there")


def pull(args: argparse.Namespace) -> None:
    """Fetch from a server what this log lacks, and verify it."""
    key = key_if_any(args)
    log = _asked_for(args, key)
    peer = Peer(args.url, log, key)
    with opened(args.log, log) as local:
        heads = local.replica.heads()
    lines = peer.lacking(heads)
    with opened(args.log, log, write=True) as local:
        taken = _take_in(local, lines)
        print(f"pulled {_operations(taken)}")
        _compare(local.replica, peer)


def _asked_for(args: argparse.Namespace, key: LogKey | None) -> str:
    """The log of --id, else that of the file, else that of the key."""
    log: str | None = args.id or log_in(args.log) or (key.log if key is not None else None)
    if log is None:
        raise Failed(f"Which log? Name it with --id, or make a key for it (`init`): {args.log} holds none yet.")
    if not IDENTITY_ID.fullmatch(log):
        raise Failed("--id must be the ID of a log, omp:id:ed25519:…")
    return log


def _take_in(local: LocalLog, lines: Iterable[bytes]) -> int:
    """Verify and keep operations: how many were new.  What holds is kept even where another does not."""
    engine = best_engine()
    stored: list[Entry] = []
    refused: list[str] = []
    for line in lines:
        outcome = local.replica.add(line, engine)
        stored += outcome.stored
        if outcome.status not in (ACCEPTED, DUPLICATE) and outcome.code is not None:
            refused.append(f"{outcome.id or 'an operation'}, {outcome.code}")
    local.append(stored)
    if refused:
        raise Failed(f"{len(refused)} of what the server sent does not hold; the first: {refused[0]}")
    return len(stored)


def sync(args: argparse.Namespace) -> None:
    """Make two servers equal: each is sent what it lacks."""
    key = key_if_any(args)
    log = _asked_for(args, key)
    one, two = Peer(args.url, log, key), Peer(args.other, log, key)
    there, here = _send(two, one.lacking(two.heads().heads)), _send(one, two.lacking(one.heads().heads))
    print(f"{args.url} had {_operations(there)} to give, {args.other} {here}")
    states = one.heads().state, two.heads().state
    if states[0] != states[1]:
        raise Failed("The two differ still: somebody wrote meanwhile; sync again.")
    print(f"state {states[0]} on both sides" if states[0] else "neither has anything of this log")
