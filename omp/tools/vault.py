"""``python -m omp vault``: the client of a zero-knowledge vault, from the first repository to the last removal.

The whole lifecycle of avp.md between members who hold their own keys: `create`, `pull`, `push`, `invite`, `join`,
`remove`, `show`.  What is encrypted and signed is made in :mod:`omp.protocols.avp.member`; here are the command line,
the key file (mode 0600, made where it is not there yet), and the requests.

An ``avp://host/repoId`` address is reached over HTTPS, and over plain HTTP if its host is this machine.  The server
sees ciphertext and public keys only.  It does learn who reads and writes what when, and how much.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omp.protocols.avp import joining, member, messages
from omp.protocols.avp.joining import Address, BadToken
from omp.protocols.avp.member import Keys, Opened
from omp.protocols.avp.sealing import KEY_BYTES, CannotOpen
from omp.rules.encodings import EncodingError, b64_decode, b64_encode
from omp.rules.engines import CryptographyMissing
from omp.rules.json_text import JsonError, parse
from omp.rules.schema import compile_schema

if TYPE_CHECKING:
    from http.client import HTTPConnection

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


class Failed(Exception):
    """What the user asked for cannot be done; the text is one sentence that says why."""


# --- key files ------------------------------------------------------------------------------------------------


def keys_in(path: Path, *, make: bool) -> Keys:
    """The member's keys in the file; a new member's, where there is no file and `make` is true."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        if make:
            return _new_keys(path)
        raise Failed(f"There is no key file {path}; `create` and `join` make one.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"The key file {path} cannot be read: {_reason(error)}.") from None
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise Failed(f"The key file {path} can be read by others; make it yours alone: chmod 600 {path}")
    try:
        value = json.loads(text)
        raw = {attribute: b64_decode(value[name]) for name, attribute in _KEY_MEMBERS.items()}
    except (EncodingError, ValueError, TypeError, KeyError, AttributeError):
        raise Failed(f"{path} is no key file: it must hold {' and '.join(_KEY_MEMBERS)}, in base64.") from None
    if any(len(each) != KEY_BYTES for each in raw.values()):
        raise Failed(f"{path} is no key file: each key in it must have {KEY_BYTES} bytes.")
    return Keys(**raw)


def _new_keys(path: Path) -> Keys:
    keys = member.new_keys(os.urandom)
    member_id = keys.member_id  # asks for cryptography before there is a file
    value = {name: b64_encode(getattr(keys, attribute)) for name, attribute in _KEY_MEMBERS.items()}
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(value, indent=1) + "\n")
    except OSError as error:
        raise Failed(f"The key file {path} cannot be written: {_reason(error)}.") from None
    print(f"new member {member_id}, keys in {path}", file=sys.stderr)
    return keys


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# --- the server -----------------------------------------------------------------------------------------------


class Session:
    """A connection to the server at `host` (host or host:port), with the token of the member who has `keys`."""

    def __init__(self, host: str, keys: Keys) -> None:
        self.host = host
        self.keys = keys
        self._connection = _connection(host)
        self._headers = {"Content-Type": "application/json"}
        asked = {"ed25519PublicKey": keys.member_id}
        nonce = self.post("/api/auth/keypair/challenge", asked, messages.NONCE)["nonce"]
        token = self.post("/api/auth/keypair/token", member.redemption(keys, nonce), messages.TOKEN)["token"]
        self._headers["Authorization"] = f"Bearer {token}"

    def post(self, path: str, body: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
        """The JSON that answers a POST, which fits `schema`; :class:`Failed` where it is an error, or does not fit."""
        from http.client import HTTPException

        try:
            self._connection.request("POST", path, json.dumps(body).encode(), self._headers)
            response = self._connection.getresponse()
            status, value = response.status, parse(response.read())
        except (OSError, HTTPException) as error:
            raise Failed(f"The server {self.host} cannot be reached: {_reason(error)}.") from None
        except JsonError:
            raise Failed(f"What answers at {self.host} is no vault: its answer is not JSON.") from None
        if status != 200:
            said = value if isinstance(value, dict) else {}
            raise Failed(f"The server refused ({said.get('code', status)}): {said.get('error', 'no reason given')}")
        if compile_schema(schema)(value):
            raise Failed(f"What answers at {self.host} is no vault: its answer is not the message that was due.")
        return value

    def in_repository(self, operation: str, body: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
        """The answer to one of the operations on the repository that `body` names."""
        from urllib.parse import quote

        return self.post(f"/v1/repos/{quote(body['repoId'], safe='')}/{operation}", body, schema)

    def pull(self, repo_id: str) -> Opened:
        """The repository as it stands, decrypted."""
        # -1 is no version, so the envelope always comes.
        answer = self.in_repository("pull", {"repoId": repo_id, "knownPayloadVersion": -1}, messages.PULLED)
        if answer["envelope"] is None:
            raise Failed("The server sent no envelope, and none is known yet.")
        return member.opened(self.keys, repo_id, answer["manifest"], answer["envelope"])

    def push(self, body: Mapping[str, Any]) -> int:
        """Send the body of a push: the version it made; :class:`Failed` where somebody else was first."""
        answer = self.in_repository("push", body, messages.PUSHED)
        if not answer["accepted"]:
            raise Failed(f"Somebody else pushed version {answer['payloadVersion']} meanwhile: pull, then push again.")
        return int(answer["payloadVersion"])


    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()


def _connection(host: str) -> HTTPConnection:
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    try:
        plain = HTTPConnection(host, timeout=60)
        return plain if _is_this_machine(plain.host) else HTTPSConnection(host, timeout=60)
    except HTTPException:  # http.client reads the port out of it
        raise Failed(f"{host!r} is no host, or host:port.") from None


def _is_this_machine(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:  # a name, which somebody else may own whatever it begins with
        return False


# --- the commands ---------------------------------------------------------------------------------------------


def _payload(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Failed(f"{path} cannot be read: {_reason(error)}.") from None


def _session(args: argparse.Namespace, address: Address) -> Session:
    return Session(address.host, keys_in(args.key, make=False))


def create(args: argparse.Namespace) -> None:
    """Make a repository whose sole member is the owner of the key file, and print its address."""
    plaintext = _payload(args.file)
    address = Address(args.server, args.repo or str(uuid.uuid4()))
    with Session(address.host, keys_in(args.key, make=True)) as session:
        body = member.creation(session.keys, address.repo_id, plaintext, os.urandom)
        session.post("/v1/repos", body, messages.MANIFEST)
    print(address)


def pull(args: argparse.Namespace) -> None:
    """Write what the repository holds to standard output."""
    with _session(args, args.address) as session:
        now = session.pull(args.address.repo_id)
    sys.stdout.buffer.write(now.plaintext)


def push(args: argparse.Namespace) -> None:
    """Replace what the repository holds."""
    plaintext = _payload(args.file)
    with _session(args, args.address) as session:
        now = session.pull(args.address.repo_id)
        version = now.next_version - 1
        if args.expect not in (None, version):
            raise Failed(f"The repository is at version {version}, not {args.expect}: pull it first.")
        print(f"version {session.push(member.payload(now, plaintext, os.urandom))}")


def invite(args: argparse.Namespace) -> None:
    """Let the sender of an invite request in, and print the locator to send back."""
    request = joining.decode_invite_request(args.request)
    with _session(args, args.address) as session:
        now = session.pull(args.address.repo_id)
        session.in_repository("add-member", member.invitation(now, request, os.urandom), messages.MANIFEST)
    print(joining.encode_locator(args.address, now.manifest["schemeId"], now.epoch))


def join(args: argparse.Namespace) -> None:
    """Without a locator: print an invite request.  With one: enter the repository, and print its address."""
    keys = keys_in(args.key, make=args.locator is None)
    if args.locator is None:
        print(joining.encode_invite_request(keys.member_id, keys.x25519_public_key))
        return
    locator = joining.decode_locator(args.locator)
    address = Address(locator["host"], locator["repoId"])
    with Session(address.host, keys) as session:
        now = session.pull(address.repo_id)
        if member.entry_of(now.manifest, keys.member_id).get("keyBindingSig") is None:
            session.push(member.binding_of(keys, now, os.urandom))
    print(address)


def remove(args: argparse.Namespace) -> None:
    """Shut a member out: a new data key for everybody else, in one step."""
    with _session(args, args.address) as session:
        now = session.pull(args.address.repo_id)
        body = member.removal(now, args.member, os.urandom)
        manifest = session.in_repository("remove-member", body, messages.MANIFEST)
    print(f"version {manifest['payloadVersion']}, key epoch {manifest['keyEpoch']}")


def show(args: argparse.Namespace) -> None:
    """Print version, key epoch and members."""
    with _session(args, args.address) as session:
        now = session.pull(args.address.repo_id)
    print(f"version {now.next_version - 1}, key epoch {now.epoch}, {now.manifest['schemeId']}")
    for entry in now.manifest["members"]:
        if entry.get("keyBindingSig") is None:
            keys = "not bound yet"
        else:
            keys = "bound" if member.binding_holds(entry) else "WRONG BINDING"
        own = "  (you)" if entry["ed25519PublicKey"] == session.keys.member_id else ""
        print(f"{entry['ed25519PublicKey']}  keys {keys}{own}")


# --- the command line -----------------------------------------------------------------------------------------


def _address(text: str) -> Address:
    try:
        return joining.parse_address(text)
    except BadToken as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
            sub.add_argument("--repo", metavar="ID", help="the repository's id; a random UUID if absent")
        elif work is join:
            sub.add_argument("locator", nargs="?", help="what the inviting member sent back")
        else:
            sub.add_argument("address", type=_address, help="avp://host/repoId")
        if work in (create, push):
            sub.add_argument("file", nargs="?", default="-", help="the payload; standard input if absent")
        if work is push:
            sub.add_argument("--expect", type=int, metavar="VERSION", help="push only if this is the version now")
        if work is invite:
            sub.add_argument("request", help="the invite request of the joiner")
        if work is remove:
            sub.add_argument("member", help="the id of the member to shut out, as `show` prints it")


def run(args: argparse.Namespace) -> int:
    """Do it: 0, or 1 with one sentence on standard error."""
    try:
        args.work(args)
    except (Failed, CannotOpen, BadToken, CryptographyMissing) as error:
        print(f"vault: {error}", file=sys.stderr)
        return 1
    return 0
