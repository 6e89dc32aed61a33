"""``python -m omp vault``: the client of a zero-knowledge vault, from the first repository to the last removal.

The whole life of a repository (avp §9) between members who hold their own keys: `create`, `pull`, `push`, `invite`,
`join`, `remove`, `show`.  What is encrypted and signed is made in :mod:`omp.protocols.avp.member`; here are the command
line, the key file (mode 0600, created if there is none), and the requests.

An ``avp://host/repoId`` address is reached over HTTPS, or over plain HTTP if its host is this machine.  The server
sees ciphertext and public keys only.  It does learn who reads and writes which repository, when, and how much.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from omp.protocols.avp import member, schemas
from omp.protocols.avp.member import Address, BadToken, Keys, Opened
from omp.protocols.avp.sealing import KEY_BYTES, CannotOpen
from omp.rules.encodings import EncodingError, b64_decode, b64_encode
from omp.tools.http_client import Server
from omp.tools.key_files import NoKeyFile, read_members, write_members
from omp.tools.terminal import Failed, contents, printable, warn

HELP = "use a zero-knowledge vault: create, pull, push, invite, join, remove, show"
EXAMPLES = """examples:
  echo "the plan" | python -m omp vault create --key alice.json      make a repository; prints its address
  python -m omp vault pull --key alice.json avp://HOST/REPO          print what it holds
  python -m omp vault join --key bob.json                            Bob: print an invite request for Alice
  python -m omp vault invite --key alice.json avp://HOST/REPO REQ    Alice: let Bob in; prints a locator for him
  python -m omp vault join --key bob.json LOCATOR                    Bob: accept it; prints the address
  python -m omp vault push --key bob.json avp://HOST/REPO plan.txt   replace what it holds
  python -m omp vault remove --key alice.json avp://HOST/REPO ID     shut a member out, under a new key
  python -m omp vault show --key alice.json avp://HOST/REPO          version, epoch, members"""

_KEY_MEMBERS = {"ed25519Seed": "ed25519_seed", "x25519PrivateKey": "x25519_private"}


# --- Key files ------------------------------------------------------------------------------------------------


def keys_in(path: Path, *, make: bool) -> Keys:
    """The keys in the file at `path`; those of a new member if there is no file and `make` is true."""
    try:
        texts = read_members(path, tuple(_KEY_MEMBERS), "`create` and `join` make one.")
    except NoKeyFile:
        if make:
            return _new_keys(path)
        raise
    try:
        raw = dict(zip(_KEY_MEMBERS.values(), map(b64_decode, texts), strict=True))
    except EncodingError:
        raw = {}
    if not raw or any(len(each) != KEY_BYTES for each in raw.values()):
        raise Failed(f"{path} is no key file: each key in it must be the base64 of {KEY_BYTES} bytes.")
    return Keys(**raw)


def _new_keys(path: Path) -> Keys:
    keys = member.new_keys(os.urandom)
    member_id = keys.member_id  # asks for cryptography before there is a file
    write_members(path, {name: b64_encode(getattr(keys, attribute)) for name, attribute in _KEY_MEMBERS.items()})
    print(f"new member {member_id}, keys in {path}", file=sys.stderr)
    return keys


# --- The server -----------------------------------------------------------------------------------------------


class Session:
    """The server at `host` (host or host:port), with the token of the member who has `keys`."""

    def __init__(self, host: str, keys: Keys) -> None:
        self.keys = keys
        self._server = server_at(host)
        self._fields = [("Content-Type", "application/json")]
        asked = {"ed25519PublicKey": keys.member_id}
        nonce = self.post("/api/auth/keypair/challenge", asked, schemas.NONCE)["nonce"]
        token = self.post("/api/auth/keypair/token", member.redemption(keys, nonce), schemas.TOKEN)["token"]
        self._fields.append(("Authorization", f"Bearer {token}"))

    def post(self, path: str, body: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
        """The JSON that answers a POST; :class:`Failed` if it is an error or does not fit `schema`."""
        return self._server.value(self._server.ask("POST", path, json.dumps(body).encode(), self._fields), schema)

    def in_repository(self, operation: str, body: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
        """The answer to one of the operations on the repository that `body` names."""
        return self.post(f"/v1/repos/{quote(body['repoId'], safe='')}/{operation}", body, schema)

    def pull(self, repo_id: str) -> Opened:
        """The repository as it stands, decrypted."""
        # -1 is the version of no repository, so the envelope always comes.
        answer = self.in_repository("pull", {"repoId": repo_id, "knownPayloadVersion": -1}, schemas.PULLED)
        if answer["envelope"] is None:
            raise Failed("The server sent no envelope, and none is known yet.")
        return member.opened(self.keys, repo_id, answer["manifest"], answer["envelope"])

    def push(self, body: Mapping[str, Any]) -> int:
        """Send the body of a push, and return the new version; :class:`Failed` if somebody else was first."""
        answer = self.in_repository("push", body, schemas.PUSHED)
        if not answer["accepted"]:
            raise Failed(f"Somebody else pushed version {answer['payloadVersion']} meanwhile: pull, then push again.")
        return int(answer["payloadVersion"])


def server_at(host: str) -> Server:
    """The server at `host`: over HTTPS, or over plain HTTP if it is this machine."""
    server = None
    try:
        scheme = "http" if _is_this_machine(urlsplit(f"//{host}").hostname or "") else "https"
        server = Server(f"{scheme}://{host}", "vault")
    except (Failed, ValueError):  # ValueError: urlsplit, of half an address
        pass
    if server is None or server.authority != host:
        raise Failed(f"{host!r} is not a host, or host:port.")
    return server


def _is_this_machine(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:  # a name: 127.evil.example belongs to somebody else
        return False


# --- The commands ---------------------------------------------------------------------------------------------


def _session(args: argparse.Namespace, address: Address) -> Session:
    return Session(address.host, keys_in(args.key, make=False))


def create(args: argparse.Namespace) -> None:
    """Make a repository whose sole member is the owner of the key file, and print its address."""
    plaintext = contents(args.file)
    address = Address(args.server, args.repo or str(uuid.uuid4()))
    session = Session(address.host, keys_in(args.key, make=True))
    body = member.creation(session.keys, address.repo_id, plaintext, os.urandom)
    session.post("/v1/repos", body, schemas.MANIFEST)
    print(printable(str(address)))


def pull(args: argparse.Namespace) -> None:
    """Write what the repository holds to standard output."""
    now = _session(args, args.address).pull(args.address.repo_id)
    sys.stdout.buffer.write(now.plaintext)


def push(args: argparse.Namespace) -> None:
    """Replace what the repository holds."""
    plaintext = contents(args.file)
    session = _session(args, args.address)
    now = session.pull(args.address.repo_id)
    version = now.next_version - 1
    if args.expect not in (None, version):
        raise Failed(f"The repository is at version {version}, not {args.expect}: pull it first.")
    print(f"version {session.push(member.payload(now, plaintext, os.urandom))}")


def invite(args: argparse.Namespace) -> None:
    """Let the sender of an invite request in, and print the locator to send back."""
    request = member.decode_invite_request(args.request)
    session = _session(args, args.address)
    now = session.pull(args.address.repo_id)
    session.in_repository("add-member", member.invitation(now, request, os.urandom), schemas.MANIFEST)
    print(member.encode_locator(args.address, now.manifest["schemeId"], now.epoch))


def join(args: argparse.Namespace) -> None:
    """Without a locator: print an invite request.  With one: enter the repository, and print its address."""
    keys = keys_in(args.key, make=args.locator is None)
    if args.locator is None:
        print(member.encode_invite_request(keys.member_id, keys.x25519_public_key))
        return
    locator = member.decode_locator(args.locator)
    address = Address(locator["host"], locator["repoId"])
    session = Session(address.host, keys)
    now = session.pull(address.repo_id)
    if member.entry_of(now.manifest, keys.member_id).get("keyBindingSig") is None:
        session.push(member.binding_of(keys, now, os.urandom))
    print(printable(str(address)))


def remove(args: argparse.Namespace) -> None:
    """Shut a member out: a new data key for everybody else, in one step."""
    session = _session(args, args.address)
    now = session.pull(args.address.repo_id)
    body = member.removal(now, args.member, os.urandom)
    for entry in body["rewrappedMembers"]:
        if entry.get("keyBindingSig") is None:
            warn(
                f"{entry['ed25519PublicKey']} has signed no key binding: its X25519 key is what the server says it is."
            )
    manifest = session.in_repository("remove-member", body, schemas.MANIFEST)
    print(f"version {manifest['payloadVersion']}, key epoch {manifest['keyEpoch']}")


def show(args: argparse.Namespace) -> None:
    """Print version, key epoch and members."""
    session = _session(args, args.address)
    now = session.pull(args.address.repo_id)
    print(f"version {now.next_version - 1}, key epoch {now.epoch}, {printable(now.manifest['schemeId'])}")
    for entry in now.manifest["members"]:
        if entry.get("keyBindingSig") is None:
            keys = "not bound yet"
        else:
            keys = "bound" if member.binding_holds(entry) else "WRONG BINDING"
        own = "  (you)" if entry["ed25519PublicKey"] == session.keys.member_id else ""
        print(printable(f"{entry['ed25519PublicKey']}  keys {keys}{own}"))


# --- The command line -----------------------------------------------------------------------------------------


def _argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """`parse` as argparse wants it: :class:`BadToken` becomes a usage error."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except BadToken as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def configure(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their options."""
    parser.epilog = EXAMPLES
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for work in (create, pull, push, invite, join, remove, show):
        help_line = (work.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(work.__name__, help=help_line, description=help_line)
        sub.set_defaults(work=work)
        sub.add_argument("--key", type=Path, required=True, metavar="FILE", help="the member's key file (mode 0600)")
        if work is create:
            sub.add_argument("--server", default="127.0.0.1:8787", metavar="HOST", help="host:port (%(default)s)")
            sub.add_argument(
                "--repo",
                type=_argument(member.checked_repo_id),
                metavar="ID",
                help="the repository's id; a random UUID if absent",
            )
        elif work is join:
            sub.add_argument("locator", nargs="?", help="what the inviting member sent back")
        else:
            sub.add_argument("address", type=_argument(member.parse_address), help="avp://host/repoId")
        if work in (create, push):
            sub.add_argument("file", nargs="?", default="-", help="the payload; standard input if absent")
        if work is push:
            sub.add_argument("--expect", type=int, metavar="VERSION", help="push only if this is the version now")
        if work is invite:
            sub.add_argument("request", help="the invite request of the joiner")
        if work is remove:
            sub.add_argument("member", help="the id of the member to shut out, as `show` prints it")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; 0, or :class:`Failed`."""
    try:
        args.work(args)
    except (CannotOpen, BadToken) as error:
        raise Failed(str(error)) from None
    return 0
