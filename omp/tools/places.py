"""``python -m omp places``: register places with an MRS server, and find what is around a point (mrs §3, §4, §6).

The environment says who asks: ``MRS_TOKEN``, which `account` and `login` print, or, for an identity of another server,
``MRS_IDENTITY`` with ``SEED_B64U`` (see ``python -m omp keygen``).  The password is in ``MRS_PASSWORD`` or is asked
for.  Each of these secrets can be in a file instead (``--token-file``, ``--seed-file``, ``--password-file``); none is
ever on the command line, which other users of a machine can read.

`search --follow` asks the servers referred to as well.  Their addresses are chosen by others: see
:func:`omp.tools.mrs_client.ask_stranger`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from shlex import quote
from typing import Any
from urllib.parse import urlencode

from omp.protocols.mrs import schemas
from omp.protocols.mrs.addresses import server_url
from omp.protocols.mrs.geometry import GeometryError
from omp.protocols.mrs.registration import read_space
from omp.rules.engines import secret_keys
from omp.tools.mrs_client import Credentials, RegistryClient, ask_stranger, bearer, nobody, secret, signer, write_secret
from omp.tools.options import json_option, server_option
from omp.tools.terminal import Failed, give, printable, warn

HELP = "register places, and find what is around a point"
MAX_SERVERS = 10
_EXAMPLES = """\
examples:
  python -m omp places account mark                      make an account; prints the export of its token
  python -m omp places account mark --as-operator        one whose registrations were imported
  python -m omp places login mark --password-file mark.password --token-file mark.token
  python -m omp places register --at -33.8568 151.2153 --radius 50 --service-point https://example.com/my-place
  python -m omp places register --vertex 48.2 16.36 --vertex 48.2 16.38 --vertex 48.21 16.37 --height 12 \\
      --service-point https://example.com/park
  python -m omp places search --at -33.8568 151.2153 --range 100 --follow
  python -m omp places list
  python -m omp places release reg_a1b2c3d4e5f6
  python -m omp places peers

variables: OMP_SERVER (--server), MRS_TOKEN (--token-file), MRS_PASSWORD (--password-file),
MRS_IDENTITY and SEED_B64U (--seed-file), OMP_ADMIN_TOKEN (--admin-token-file); a file "-" is standard input"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions and their options."""
    parser.epilog = _EXAMPLES
    common = argparse.ArgumentParser(add_help=False)
    server_option(common)
    json_option(common, "the server's answer as one JSON document; of search --follow, the answer of each server")
    common.add_argument(
        "--key-url", help="where the key of MRS_IDENTITY is published, if not at https:// on its domain"
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common])

    common.add_argument("--token-file", metavar="FILE", help="holds the token; account and login write it")
    common.add_argument("--seed-file", metavar="FILE", help="holds the secret seed of MRS_IDENTITY")
    for name, text in (("account", "make an account"), ("login", "log in")):
        entry = action(name, f"{text}; prints the export of a token, or writes the token to --token-file")
        entry.add_argument("username", help="the part of an identity before the @")
        entry.add_argument("--password-file", metavar="FILE", help="holds the password")
        if name == "account":
            entry.add_argument("--email", help="where the server asks for a listed e-mail address")
            entry.add_argument(
                "--as-operator",
                action="store_true",
                help="with OMP_ADMIN_TOKEN: makes the account of a name whose registrations were imported",
            )
            entry.add_argument("--admin-token-file", metavar="FILE", help="holds OMP_ADMIN_TOKEN; means --as-operator")
    register = action("register", "register a sphere or a polygon, or with --id update a registration")
    register.add_argument("--at", nargs=2, type=float, metavar=("LAT", "LON"), help="centre of a sphere, degrees")
    register.add_argument("--ele", type=float, default=0, help="its elevation, metres (default: 0)")
    register.add_argument("--radius", type=float, help="its radius, metres")
    register.add_argument(
        "--vertex", nargs=2, type=float, action="append", metavar=("LAT", "LON"), help="corner of a polygon; repeat"
    )
    register.add_argument("--height", type=float, help="height of a polygon, metres (default: 1)")
    register.add_argument("--service-point", help="absolute https:// address of the service")
    register.add_argument("--foad", action="store_true", help="no service here, and not to be found")
    register.add_argument("--id", help="of the registration to update")
    search = action("search", "find what is around a point, smallest first")
    search.add_argument("--at", nargs=2, type=float, required=True, metavar=("LAT", "LON"), help="degrees")
    search.add_argument("--range", type=float, required=True, metavar="METRES", help="how far around it")
    search.add_argument(
        "--follow", action="store_true", help=f"ask the servers referred to as well, up to {MAX_SERVERS}"
    )
    search.add_argument(
        "--insecure", action="store_true", help="follow to http:// and to any address and path, for tests"
    )
    action("release", "remove a registration").add_argument("id", help="as register and list print it")
    action("list", "your registrations")
    action("peers", "the servers that this one knows")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for; 0, or :class:`Failed`."""
    _ACTIONS[arguments.action](arguments)
    return 0


def _credentials(arguments: argparse.Namespace) -> Credentials:
    token, identity = secret("MRS_TOKEN", arguments.token_file), os.environ.get("MRS_IDENTITY")
    if token:
        return bearer(token)
    if identity:
        secret_keys()  # whoever lacks the package need not look for a seed
        return signer(identity, secret("SEED_B64U", arguments.seed_file) or "", arguments.key_url)
    raise Failed("This needs MRS_TOKEN (see: python -m omp places login), or MRS_IDENTITY and SEED_B64U.")


def _client(arguments: argparse.Namespace) -> RegistryClient:
    return RegistryClient(arguments.server, _credentials(arguments))


def _account(arguments: argparse.Namespace) -> None:
    credentials: Credentials = nobody
    if arguments.as_operator or arguments.admin_token_file is not None:  # or else the token would go to any server
        token = secret("OMP_ADMIN_TOKEN", arguments.admin_token_file)
        if not token:
            raise Failed(
                "--as-operator needs OMP_ADMIN_TOKEN; a server that has none knows its operator by the machine."
            )
        credentials = bearer(token)
    _token(arguments, "/auth/register", credentials)


def _token(arguments: argparse.Namespace, path: str, credentials: Credentials = nobody) -> None:
    password = secret("MRS_PASSWORD", arguments.password_file)
    if password is None:
        from getpass import getpass

        try:
            password = getpass(f"Password of {arguments.username}: ")
        except EOFError:
            raise Failed("A password is needed: give it at the terminal or in MRS_PASSWORD.") from None
    body = {"username": arguments.username, "password": password}
    if getattr(arguments, "email", None) is not None:
        body["email"] = arguments.email
    answer = RegistryClient(arguments.server, credentials).ask("POST", path, schemas.TOKEN, body)
    if arguments.token_file is not None:
        write_secret(arguments.token_file, answer["token"])
        line = f"the token is in {arguments.token_file}"
        give(arguments.json, {"token_file": arguments.token_file}, [printable(line)])
        return
    # Quoted: a shell is to read it, and the token is whatever the server sent.
    give(arguments.json, answer, [printable(f"export MRS_TOKEN={quote(answer['token'])}")])


def _register(arguments: argparse.Namespace) -> None:
    claim: dict[str, Any] = {"space": _space(arguments), "foad": arguments.foad}
    if arguments.service_point is not None:
        claim["service_point"] = arguments.service_point
    if arguments.id:
        claim["id"] = arguments.id
    answer = _client(arguments).ask("POST", "/register", schemas.REGISTERED, claim)
    made = answer["registration"]
    give(arguments.json, answer, [printable(f"{answer['status']} {made['id']}, version {made['version']}")])


def _space(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.vertex and not arguments.at:
        space = {"type": "polygon", "vertices": [{"lat": lat, "lon": lon} for lat, lon in arguments.vertex]}
        return space if arguments.height is None else {**space, "height": arguments.height}
    if arguments.at and arguments.radius is not None and not arguments.vertex:
        lat, lon = arguments.at
        return {"type": "sphere", "center": {"lat": lat, "lon": lon, "ele": arguments.ele}, "radius": arguments.radius}
    raise Failed("A place is a sphere (--at LAT LON --radius METRES) or a polygon (--vertex LAT LON, three or more).")


def _search(arguments: argparse.Namespace) -> None:
    lat, lon = arguments.at
    wanted = {"location": {"lat": lat, "lon": lon}, "range": arguments.range}
    first = RegistryClient(arguments.server)
    answer = first.ask("POST", "/search", schemas.FOUND, wanted)
    servers = [first.url]
    answers: list[dict[str, Any]] = []
    for number in range(MAX_SERVERS):  # `servers` grows meanwhile
        if number:
            try:
                answer = ask_stranger(servers[number], "/search", schemas.FOUND, wanted, insecure=arguments.insecure)
            except Failed as error:
                warn(str(error))
                answer = {"results": [], "referrals": []}
        answers.append({"server": servers[number], "answer": answer})
        if not arguments.json:  # at once: the next may take its time
            _show(servers[number], answer)
        if arguments.follow:
            servers += _unknown(servers, answer["referrals"])
        if number + 1 == len(servers):
            break
    if arguments.json:
        give(True, {"answers": answers} if arguments.follow else answer, ())


def _unknown(servers: list[str], referrals: list[Any]) -> list[str]:
    """The servers referred to that are not among `servers`, as far as there is room."""
    found: list[str] = []
    for referral in referrals:
        try:
            url = server_url(referral["server"])
        except ValueError as error:
            warn(f"a referral leads nowhere: the address of a server {error}")
            continue
        if url not in [*servers, *found] and len(servers) + len(found) < MAX_SERVERS:
            found.append(url)
    return found


def _show(server: str, answer: Any) -> None:
    for hit in answer["results"]:
        _print(f"{hit['id']}  {hit['distance']:,.1f} m  {_describe(hit['space'])}  {hit['service_point']}")
    if not answer["results"]:
        print(f"nothing is registered there at {server}")
    if answer.get("truncated"):
        print(f"more is registered there at {server} than one answer holds")
    for referral in answer["referrals"]:
        _print(f"see also {referral['server']}" + (f" ({referral['hint']})" if referral["hint"] else ""))


def _print(line: str) -> None:
    print(printable(line))  # servers may send any characters


def _describe(space: Any) -> str:
    try:
        read_space(space)
    except GeometryError:
        return "a space of another kind"
    if space["type"] == "sphere":
        return f"{space['radius']} m around {space['center']['lat']} {space['center']['lon']}"
    return f"polygon of {len(space['vertices'])} vertices"


def _release(arguments: argparse.Namespace) -> None:
    answer = _client(arguments).ask("POST", "/release", schemas.RELEASED, {"id": arguments.id})
    give(arguments.json, answer, [printable(f"{answer['status']} {answer['id']}")])


def _list(arguments: argparse.Namespace) -> None:
    client = _client(arguments)
    answer = client.ask("GET", "/registrations", schemas.OWN)
    registrations = answer["registrations"]
    while cursor := answer.get("next_cursor"):
        answer = client.ask("GET", f"/registrations?{urlencode({'cursor': cursor})}", schemas.OWN)
        registrations += answer["registrations"]
    give(arguments.json, {"registrations": registrations}, map(_line, registrations))


def _line(one: Any) -> str:
    service = "not to be found" if one["foad"] else one["service_point"]
    return printable(f"{one['id']}  version {one['version']}  {_describe(one['space'])}  {service}")


def _peers(arguments: argparse.Namespace) -> None:
    answer = RegistryClient(arguments.server).ask("GET", "/.well-known/mrs", schemas.ABOUT)
    lines = (peer["server"] + (f" ({peer['hint']})" if peer["hint"] else "") for peer in answer["known_peers"])
    give(arguments.json, answer, map(printable, lines))


_ACTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "account": _account,
    "login": lambda arguments: _token(arguments, "/auth/login"),
    "register": _register,
    "search": _search,
    "release": _release,
    "list": _list,
    "peers": _peers,
}
