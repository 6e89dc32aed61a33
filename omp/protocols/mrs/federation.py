"""What operators and other servers ask: peers, sync, export and import (mrs.md "Referrals", "Sync and export").

The feed and the tables behind it are :mod:`registry`'s; who is an operator says :mod:`admin`.
"""

from __future__ import annotations

from omp.protocols.mrs.admin import require_admin
from omp.protocols.mrs.instants import epoch_of, iso_time
from omp.protocols.mrs.peers import BadPeer, read_peer
from omp.protocols.mrs.registration import BadRegistration, read_registration, tombstone
from omp.protocols.mrs.service import Mrs
from omp.web.errors import ApiError
from omp.web.messages import JSON, Request, Response, json_bytes, json_response

# --- peers ----------------------------------------------------------------------------------------------------------


def change_peers(request: Request, mrs: Mrs) -> Response:
    """``POST /admin/peers``."""
    require_admin(request, mrs.settings["admin_token"])
    body = request.valid_body()
    try:
        peer = read_peer(body, is_configured=True)
    except BadPeer as error:
        raise ApiError(400, str(error)) from None
    url = peer["server_url"]
    if body["action"] == "remove":
        mrs.peers.remove(url)
        return json_response({"status": "removed", "server_url": url})
    if url == mrs.settings["url"]:
        raise ApiError(400, "server_url is this server itself, and it never refers to itself")
    mrs.peers.add([peer])
    return json_response({"status": "added", "server_url": url})


def list_peers(request: Request, mrs: Mrs) -> Response:
    """``GET /admin/peers``."""
    require_admin(request, mrs.settings["admin_token"])
    with mrs.store.read() as tx:
        return json_response({"peers": mrs.peers.listed(tx)})


# --- sync and export ------------------------------------------------------------------------------------------------


def snapshot(request: Request, mrs: Mrs) -> Response:
    """``GET /sync/snapshot``: every registration once, in the order of the ids; `next_cursor` is null at the end."""
    query = request.valid_query()
    texts, cursor = mrs.registry.snapshot(query["cursor"], query["limit"])
    return Response(200, b'{"registrations":[%b],"next_cursor":%b}' % (b",".join(texts), json_bytes(cursor)), JSON)


def changes(request: Request, mrs: Mrs) -> Response:
    """``GET /sync/changes``: what changed since; `next_cursor` is where to go on, also when nothing has changed."""
    query = request.valid_query()
    page = mrs.registry.changes(_first_change(query["since"]), query["limit"])
    return Response(
        200,
        b'{"registrations":[%b],"tombstones":[%b],"next_cursor":"%d"}'
        % (b",".join(page.registrations), b",".join(page.tombstones), page.last),
        JSON,
    )


def _first_change(since: str) -> int:
    """The sequence number to begin with: one after a cursor, the first from a time on."""
    if not since:
        return 1
    if since.isascii() and since.isdecimal() and len(since) < 19:
        return int(since) + 1
    epoch = epoch_of(since.replace(" ", "+"))  # a + that a client did not encode arrives as a space
    if epoch is None or epoch > 2**40:
        raise ApiError(400, "since must be a next_cursor or an ISO 8601 time, or empty for the beginning")
    return int(epoch * 1_000_000)


def export(request: Request, mrs: Mrs) -> Response:
    """``GET /admin/export``: everything but accounts and keys, as one moment of the store shows it."""
    require_admin(request, mrs.settings["admin_token"])
    with mrs.store.read() as tx:
        registrations, tombstones = mrs.registry.everything(tx)
        peers = sorted(mrs.peers.listed(tx), key=lambda peer: peer["server_url"])
    parts = (iso_time(mrs.clock()).encode(), b",".join(registrations), b",".join(tombstones), json_bytes(peers))
    return Response(200, b'{"exported_at":"%b","registrations":[%b],"tombstones":[%b],"peers":%b}' % parts, JSON)


def import_document(request: Request, mrs: Mrs) -> Response:
    """``POST /admin/import``: all of an export or, where one entry is bad, nothing."""
    require_admin(request, mrs.settings["admin_token"])
    body = request.valid_body()
    registrations, tombstones, peers = (body.get(name, []) for name in ("registrations", "tombstones", "peers"))
    where = ""
    try:
        adopted = []
        for index, value in enumerate(registrations):
            where = f"registrations.{index}"
            adopted.append(read_registration(value, mrs.settings["url"]))
        for index, value in enumerate(tombstones):
            where = f"tombstones.{index}"
            tombstone(value)
        met = []
        for index, value in enumerate(peers):
            where = f"peers.{index}"
            met.append(read_peer(value, is_configured=False))
    except (BadRegistration, BadPeer) as error:
        raise ApiError(400, f"{where}: {error}") from None
    with mrs.store.write() as tx:
        mrs.registry.adopt(tx, adopted, tombstones)
        for peer in met:
            mrs.peers.put(tx, peer)
    counts = {"registrations": len(adopted), "tombstones": len(tombstones), "peers": len(met)}
    return json_response({"status": "imported", **counts})
