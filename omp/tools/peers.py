"""``python -m omp peers``: the servers that an MRS server refers to (mrs §7, §12.2).

`refresh` asks the server for its peers, fetches each one's ``/.well-known/mrs``, and gives the server what it learned:
the operator as hint, the regions, the time; and the peers that the peer knows, which become learned peers.  The
fetching is done here and not by the server, so that nobody can make the server reach anything.  What peers say is
untrusted: a configured peer is fetched from wherever the operator said it is, a learned one from public https addresses
only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from omp.protocols.mrs import schemas
from omp.protocols.mrs.fetch import FetchError, fetch
from omp.protocols.mrs.peers import BadPeer, read_peer
from omp.protocols.mrs.schemas import MAX_HINT, MAX_REGIONS, iso_time
from omp.rules.json_text import JsonError, parse
from omp.tools.mrs_client import RegistryClient, bearer, nobody, secret
from omp.tools.options import json_option, server_option
from omp.tools.terminal import give, printable, trace, warn

HELP = "list, add, remove and refresh the peers of a registry"
MAX_LEARNED = 100
"""Peers learned from one peer in one refresh."""
_EXAMPLES = """\
examples:
  python -m omp peers add https://sydney.mrs.example --hint "Sydney metropolitan area"
  python -m omp peers refresh
  python -m omp peers list
  python -m omp peers remove https://sydney.mrs.example

variables: OMP_SERVER (--server), OMP_ADMIN_TOKEN (--token-file; without it, only on the server's own machine)"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    parser.epilog = _EXAMPLES
    common = argparse.ArgumentParser(add_help=False)
    server_option(common)
    json_option(common)
    common.add_argument("--token-file", metavar="FILE", help='holds OMP_ADMIN_TOKEN ("-" is standard input)')
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("list", "show the peers"),
        ("add", "add a configured peer: every search is referred to it"),
        ("remove", "forget a peer"),
        ("refresh", "fetch what each peer says about itself"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text.capitalize()}.", parents=[common])
        if name in ("add", "remove"):
            action.add_argument("peer", metavar="URL", help="the address of the peer, as https://sydney.mrs.example")
        if name == "add":
            action.add_argument("--hint", help="what people should know about it")
        if name == "refresh":
            action.add_argument(
                "--insecure", action="store_true", help="fetch learned peers by http:// and from any address, for tests"
            )


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for; 0 if all of it was done, else 1; or :class:`~omp.tools.terminal.Failed`."""
    token = secret("OMP_ADMIN_TOKEN", arguments.token_file)
    server = RegistryClient(arguments.server, bearer(token) if token else nobody)
    return 0 if _ACTIONS[arguments.action](server, arguments) else 1


def _list(server: RegistryClient, arguments: argparse.Namespace) -> bool:
    answer = server.ask("GET", "/admin/peers", schemas.PEERS)
    give(arguments.json, answer, _lines(answer["peers"]))
    return True


def _lines(peers: list[Any]) -> Iterator[str]:
    for peer in peers:
        kind = "configured" if peer["is_configured"] else "learned"
        seen = f"seen {peer['last_seen']}" if peer["last_seen"] else "never seen"
        regions = len(peer["authoritative_regions"])
        line = f"{peer['server_url']}  {kind}, {seen}, {regions} regions  {peer['hint'] or ''}"
        yield printable(line.rstrip())


def _add(server: RegistryClient, arguments: argparse.Namespace) -> bool:
    answer = server.ask(
        "POST",
        "/admin/peers",
        schemas.PEER_CHANGED,
        {"action": "add", "server_url": arguments.peer, "hint": arguments.hint},
    )
    give(arguments.json, answer, [printable(f"{answer['status']} {answer['server_url']}")])
    return True


def _remove(server: RegistryClient, arguments: argparse.Namespace) -> bool:
    answer = server.ask(
        "POST", "/admin/peers", schemas.PEER_CHANGED, {"action": "remove", "server_url": arguments.peer}
    )
    give(arguments.json, answer, [printable(f"{answer['status']} {answer['server_url']}")])
    return True


def _refresh(server: RegistryClient, arguments: argparse.Namespace) -> bool:
    """Whether every peer answered.  What was learned of one is kept and told before the next is asked."""
    done: dict[str, list[Any]] = {"refreshed": [], "learned": [], "skipped": []}
    peers = server.ask("GET", "/admin/peers", schemas.PEERS)["peers"]
    known = {peer["server_url"] for peer in peers} | {
        server.url,
        server.ask("GET", "/.well-known/mrs", schemas.ABOUT)["server"],
    }
    for peer in peers:
        url = peer["server_url"]
        trace(">", f"GET {url}/.well-known/mrs")
        try:
            about = parse(fetch(f"{url}/.well-known/mrs", insecure=peer["is_configured"] or arguments.insecure))
            changes, learned = what_it_says(url, about, iso_time(time.time()))
        except (FetchError, JsonError, BadPeer) as error:
            warn(f"{url} is skipped: {error}")
            done["skipped"].append({"server_url": url, "reason": str(error)})
            continue
        server.ask("POST", "/admin/peers", schemas.PEER_CHANGED, {"action": "add", **changes})
        done["refreshed"].append(url)
        if not arguments.json:
            print(printable(f"{url}  {changes.get('hint') or ''}".rstrip()))
        for other in learned:
            if other["server_url"] not in known:
                known.add(other["server_url"])
                server.ask("POST", "/admin/peers", schemas.PEER_CHANGED, {"action": "add", **other})
                done["learned"].append(other["server_url"])
                if not arguments.json:
                    print(printable(f"  learned {other['server_url']}"))
    if arguments.json:
        give(True, done, ())
    return not done["skipped"]


def what_it_says(url: str, about: Any, now: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """From a peer's ``/.well-known/mrs``: the changes to the peer itself, and the peers it knows.

    Raises :class:`BadPeer` where the document is not that of an MRS server; known peers that are malformed are skipped.
    """
    if not isinstance(about, dict) or not isinstance(about.get("authoritative_regions", []), list):
        raise BadPeer("its document is not that of an MRS server")
    changes = {
        "server_url": url,
        "last_seen": now,
        "is_configured": False,  # configured peers stay so
        "authoritative_regions": about.get("authoritative_regions", [])[:MAX_REGIONS],
    }
    operator = about.get("operator")
    if isinstance(operator, str) and operator:
        changes["hint"] = operator[:MAX_HINT]  # mrs §7.3
    read_peer(changes, is_configured=False)
    learned = []
    others = about.get("known_peers")
    for other in others[:MAX_LEARNED] if isinstance(others, list) else []:
        if isinstance(other, dict) and isinstance(other.get("server"), str):
            hint = other.get("hint")
            candidate = {
                "server_url": other["server"],
                "hint": hint[:MAX_HINT] if isinstance(hint, str) else None,
                "is_configured": False,
            }
            try:
                learned.append({**candidate, "server_url": read_peer(candidate, is_configured=False)["server_url"]})
            except BadPeer:
                continue
    return changes, learned


_ACTIONS: dict[str, Callable[[RegistryClient, argparse.Namespace], bool]] = {
    "list": _list,
    "add": _add,
    "remove": _remove,
    "refresh": _refresh,
}
