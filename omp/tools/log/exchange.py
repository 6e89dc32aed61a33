"""The subcommands of ``python -m omp log`` that exchange with servers: `push`, `pull`, `sync`.

Each asks a peer for its heads and sends what is in nobody's past there.  What arrives twice does no harm, so nothing
needs to be locked between two requests; at the end the state IDs are compared.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from omp.protocols.oplog.core.entries import Entry
from omp.protocols.oplog.core.outcomes import ACCEPTED, DEFERRED, REJECTED
from omp.protocols.oplog.core.replica import Replica
from omp.rules.engines import best_engine
from omp.rules.identifiers import IDENTITY_ID
from omp.tools.log.files import LocalLog, LogKey, log_in, opened
from omp.tools.log.peer import Heads, PeerLog, Sent
from omp.tools.log.selecting import key_if_any, opened_to_read
from omp.tools.log.text import counted
from omp.tools.terminal import Failed, give, printable


def push(args: argparse.Namespace) -> None:
    """Send a server what it lacks."""
    with opened_to_read(args) as local:
        replica = local.replica
        peer = PeerLog(args.url or args.server, replica.log, key_if_any(args))
        there = peer.heads_if_told()  # None: send everything; what the server has already is a duplicate
        raws = [entry.raw for entry in replica.lacking(there.heads if there is not None else [])]
    sent = peer.send(raws)
    _check_taken(peer, sent)
    _give_comparison(args, "pushed", sent.counts[ACCEPTED], replica, peer)


def _operations(count: int) -> str:
    return counted(count, "operation")


def _check_taken(peer: PeerLog, sent: Sent) -> None:
    """Raise :class:`Failed` if a server did not take in all that it was sent."""
    if sent.refused:
        operation_id, code = sent.refused[0]
        first = f"{operation_id or 'it has no ID'}, {code}"
        raise Failed(f"{peer.url} refused {_operations(len(sent.refused))}; the first: {first}")
    if sent.counts[DEFERRED]:
        raise Failed(f"{peer.url} has not taken in {_operations(sent.counts[DEFERRED])}: an ancestor is missing there.")


def _give_comparison(args: argparse.Namespace, done: str, count: int, replica: Replica, peer: PeerLog) -> None:
    """Say how much was `done`, and whether both sides are now equal."""
    there = peer.heads_if_told()
    value = {
        done: count,
        "here": {"operations": len(replica), "state": replica.state_id()},
        "there": {"operations": there.ops, "state": there.state} if there is not None else None,
    }
    give(args.json, value, [f"{done} {_operations(count)}", *_comparison(replica, peer, there)])


def _comparison(replica: Replica, peer: PeerLog, there: Heads | None) -> Iterator[str]:
    if there is None:
        yield f"state {replica.state_id()} here; the server does not tell this key its own"
        if peer.reason:
            yield printable(peer.reason)
    elif there.state == replica.state_id():
        yield f"state {there.state} on both sides"
    elif not there.ops and not len(replica):
        yield _NOTHING
    else:
        here, there_too = _operations(len(replica)), _operations(there.ops)
        yield f"here {here}, there {there_too}: pull what is missing here, push what is missing there"


_NOTHING = "neither has anything of this log"


def pull(args: argparse.Namespace) -> None:
    """Fetch from a server what this log lacks, and verify it."""
    key = key_if_any(args)
    log = _asked_for(args, key)
    peer = PeerLog(args.url or args.server, log, key)
    with opened(args.log, log) as local:
        heads = local.replica.heads()
    lines = peer.lacking(heads)
    with opened(args.log, log, write=bool(lines)) as local:
        taken = _take_in(local, lines) if lines else 0
    _give_comparison(args, "pulled", taken, local.replica, peer)


def _asked_for(args: argparse.Namespace, key: LogKey | None) -> str:
    """The log of --id, else that of the file, else that of the key."""
    log: str | None = args.id or log_in(args.log) or (key.log if key is not None else None)
    if log is None:
        raise Failed(f"Which log? Name it with --id, or make a key for it (`init`): {args.log} holds none yet.")
    if not IDENTITY_ID.fullmatch(log):
        raise Failed("--id must be the ID of a log, omp:id:ed25519:…")
    return log


def _take_in(local: LocalLog, lines: Iterable[bytes]) -> int:
    """Verify and keep operations; returns how many were new.  The good ones are kept even if others are not."""
    engine = best_engine()
    stored: list[Entry] = []
    refused: list[str] = []
    for line in lines:
        outcome = local.replica.add(line, engine)
        stored += outcome.stored
        if outcome.status == REJECTED:
            refused.append(f"{outcome.id or 'it has no ID'}, {outcome.code}")
    local.append(stored)
    refused += [f"{operation_id}, {code}" for operation_id, code in local.replica.rejected]
    refused += [f"{operation_id}, an ancestor is missing" for operation_id, _ in local.replica.pending()]
    if refused:
        raise Failed(
            f"{_operations(len(refused))} that the server sent cannot be taken in; the first: {refused[0]} "
            f"({_operations(len(stored))} could, and are kept)"
        )
    return len(stored)


def sync(args: argparse.Namespace) -> None:
    """Make two servers equal: each is sent what it lacks."""
    key = key_if_any(args)
    log = _asked_for(args, key)
    one, two = PeerLog(args.url, log, key), PeerLog(args.other or args.server, log, key)
    to_two = two.send(one.lacking(two.heads().heads))
    to_one = one.send(two.lacking(one.heads().heads))
    _check_taken(two, to_two)
    _check_taken(one, to_one)
    given = {one.url: to_two.counts[ACCEPTED], two.url: to_one.counts[ACCEPTED]}
    state = one.heads().state
    if state != two.heads().state:
        raise Failed("The two still differ, because somebody wrote meanwhile: sync again.")
    lines = (
        f"{one.url} had {_operations(given[one.url])} to give, {two.url} {_operations(given[two.url])}",
        f"state {printable(state)} on both sides" if state else _NOTHING,
    )
    give(args.json, {"given": given, "state": state or None}, lines)
