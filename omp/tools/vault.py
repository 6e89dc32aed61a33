"""``python -m omp vault``: the client of a zero-knowledge vault, from the first repository to the last removal.

The whole life of a repository (avp §9) between members who hold their own keys: `create`, `pull`, `push`, `invite`,
`join`, `remove`, `show`, `trust`.  What is encrypted and signed is made in :mod:`omp.protocols.avp.member`; the
requests are in :mod:`omp.tools.vault_session`.  Here are the command line, and the rule that no server is believed
(avp §13): :class:`Visit` compares what a server shows with what was seen before, and remembers it in a file beside the
key.

An ``avp://host/repoId`` address is reached over HTTPS, or over plain HTTP if its host is this machine.  The server
sees ciphertext and public keys only.  It does learn who reads and writes which repository, when, and how much.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omp.protocols.avp import member, schemas, witness
from omp.protocols.avp.member import Address, BadToken, Opened
from omp.protocols.avp.sealing import CannotOpen
from omp.protocols.avp.witness import Introduction, NotBelieved, Seen, Shown
from omp.rules.encodings import b64_encode
from omp.rules.engines import secret_keys
from omp.tools.options import blamed, json_option, server_option
from omp.tools.terminal import Failed, contents, give, printable, warn
from omp.tools.vault_memory import Memory, beside
from omp.tools.vault_session import Session, host_of, keys_in

HELP = "use a zero-knowledge vault: create, pull, push, invite, join, remove, show, trust"
EXAMPLES = """examples:
  echo "the plan" | python -m omp vault create --key alice.json      make a repository; prints its address
  python -m omp vault pull --key alice.json avp://HOST/REPO          print what it holds
  python -m omp vault join --key bob.json                            Bob: print an invite request for Alice
  python -m omp vault invite --key alice.json avp://HOST/REPO REQ    Alice: let Bob in; prints a locator for him
  python -m omp vault join --key bob.json LOCATOR                    Bob: accept it; prints the address
  python -m omp vault push --key bob.json avp://HOST/REPO plan.txt   replace what it holds
  python -m omp vault remove --key alice.json avp://HOST/REPO ID     shut a member out, under a new key
  python -m omp vault show --key alice.json avp://HOST/REPO          version, epoch, members, fingerprint
  python -m omp vault trust --key alice.json avp://HOST/REPO         what the server shows, believed or not
  python -m omp vault trust --key alice.json avp://HOST/REPO FINGERPRINT
                                                                     believe it: another member reads the same

What was seen of each repository is kept beside the key, in FILE.seen, or where --state says.  A server that shows
something else is not believed.  After a lost file, or when the others confirm what it shows: trust."""


# --- What a server shows, and what is believed of it ----------------------------------------------------------


class Visit:
    """The repository at `address` as the owner of the key file sees it, and what it has seen of it before."""

    def __init__(self, args: argparse.Namespace, address: Address, *, make_keys: bool = False) -> None:
        _check_server(args.server, address)
        self.keys = keys_in(args.key, make=make_keys)
        self.address = address
        self.memory = Memory(args.state or beside(args.key), self.keys.member_id)
        self._strict = args.strict
        # Read before the server is asked: another run may end in between, and have seen a later state than this one.
        self._before = self.memory.recall(address)
        self.session = Session(address.host, self.keys)

    def unchecked(self) -> Opened:
        """The repository as the server shows it, believed or not."""
        return self.session.pull(self.address.repo_id)

    def look(self, locator: Mapping[str, Any] | None = None) -> Opened:
        """The repository as it stands; :class:`NotBelieved` if that does not follow from what was seen before.

        `locator` is what a new member has of its inviter.
        """
        now = self.unchecked()
        introduction = Introduction.in_locator(locator) if locator else None
        if self._before is None and introduction is None:
            self._first_look(now, joining=locator is not None)
        else:
            self._believe(now, introduction)
        return now

    def _first_look(self, now: Opened, *, joining: bool) -> None:
        if not joining:
            raise Failed(f"Nothing that you saw of {self.address} is known here: join it anew, or see `vault trust`.")
        if self._strict:
            raise Failed("The locator does not say what the inviter saw: its client signs nothing.")
        warn("The locator does not say what the inviter saw: the members and the data key are what the server says.")
        self.trust(now)

    def trust(self, now: Opened) -> None:
        """Believe `now` whatever was seen before."""
        self._before = witness.trusted(Shown.to(self.keys, now))
        self.memory.replace(self.address, self._before)

    def _believe(self, now: Opened, introduction: Introduction | None = None) -> None:
        shown = Shown.to(self.keys, now)
        seen, unsigned = witness.accepted(self._before, shown, introduction, strict=self._strict)
        self._keep(seen)
        if unsigned:
            who = ", ".join(unsigned)
            warn(f"No member signed the entries of {who}: their keys and wraps are what the server says.")

    def _keep(self, seen: Seen) -> None:
        self.memory.keep(self.address, seen)
        self._before = seen

    def wrote(self, now: Opened, envelope: Mapping[str, Any], roster: Sequence[Mapping[str, Any]]) -> None:
        """Remember what `now` has become by our own write, under the rules for what a server shows."""
        counters = {name: envelope[name] for name in ("payloadVersion", "keyEpoch")}
        manifest = {**now.manifest, **counters, "members": roster}
        self._believe(member.opened(self.keys, self.address.repo_id, manifest, envelope))

    def push(self, now: Opened, body: Mapping[str, Any]) -> int:
        """Send the body of a push, and remember what it makes of `now`; the new version."""
        self.session.push(body)
        self.wrote(now, body["envelope"], body.get("rotatedMembers") or now.manifest["members"])
        return now.next_version


def _host(url: str) -> str:
    """The host of the vault at `url`; a :class:`Failed` begins with what gave the URL."""
    with blamed(url):
        return host_of(url)


def _check_server(url: str | None, address: Address) -> None:
    """An address names its server; a ``--server`` beside it must be that one."""
    if url is not None and _host(url).lower() != address.host.lower():
        raise Failed(f"--server: {url} is not where {address} is; leave --server out, since the address names it.")


# --- The commands ---------------------------------------------------------------------------------------------


def create(args: argparse.Namespace) -> None:
    """Make a repository whose sole member is the owner of the key file, and print its address."""
    plaintext = contents(args.file)
    visit = Visit(args, Address(_host(args.server), args.repo or str(uuid.uuid4())), make_keys=True)
    visit.memory.check_writable()
    body = member.creation(visit.keys, visit.address.repo_id, plaintext, os.urandom)
    visit.session.post("/v1/repos", body, schemas.MANIFEST)
    visit.trust(member.opened(visit.keys, visit.address.repo_id, body["manifest"], body["initialEnvelope"]))
    _give_address(args, visit)


def _give_address(args: argparse.Namespace, visit: Visit) -> None:
    address = str(visit.address)
    give(args.json, {"address": address}, [printable(address)])


def pull(args: argparse.Namespace) -> None:
    """Write what the repository holds to standard output."""
    now = Visit(args, args.address).look()
    if args.json:
        give(True, {"version": now.next_version - 1, "plaintext": b64_encode(now.plaintext)}, ())
    else:
        sys.stdout.buffer.write(now.plaintext)


def push(args: argparse.Namespace) -> None:
    """Replace what the repository holds."""
    plaintext = contents(args.file)
    visit = Visit(args, args.address)
    now = visit.look()
    version = now.next_version - 1
    if args.expect not in (None, version):
        raise Failed(f"The repository is at version {version}, not {args.expect}: pull it first.")
    version = visit.push(now, member.payload(now, plaintext, os.urandom))
    give(args.json, {"version": version}, [f"version {version}"])


def invite(args: argparse.Namespace) -> None:
    """Let the sender of an invite request in, and print the locator to send back."""
    request = member.decode_invite_request(args.request)
    visit = Visit(args, args.address)
    now = visit.look()
    body = member.invitation(visit.keys, now, request, os.urandom)
    visit.session.in_repository("add-member", body, schemas.MANIFEST)
    roster = now.manifest["members"]
    if all(entry["ed25519PublicKey"] != request["ed25519PublicKey"] for entry in roster):
        roster = [*roster, body["member"]]
        visit.wrote(now, now.envelope, roster)
    now = now._replace(manifest={**now.manifest, "members": roster})
    introduction = witness.introduction_of(Shown.to(visit.keys, now), visit.keys.member_id)
    locator = member.encode_locator(args.address, now.manifest["schemeId"], now.epoch, introduction=introduction)
    give(args.json, {"locator": locator}, [locator])


def join(args: argparse.Namespace) -> None:
    """Without a locator: print an invite request.  With one: enter the repository, and print its address."""
    if args.locator is None:
        keys = keys_in(args.key, make=True)
        request = member.encode_invite_request(keys.member_id, keys.x25519_public_key)
        give(args.json, {"request": request}, [request])
        return
    locator = member.decode_locator(args.locator)
    visit = Visit(args, Address(locator["host"], locator["repoId"]))
    now = visit.look(locator)
    if member.entry_of(now.manifest, visit.keys.member_id).get("keyBindingSig") is None:
        visit.push(now, member.binding_of(visit.keys, now, os.urandom))
    _give_address(args, visit)


def remove(args: argparse.Namespace) -> None:
    """Shut a member out: a new data key for everybody else, in one step."""
    visit = Visit(args, args.address)
    now = visit.look()
    body = member.removal(visit.keys, now, args.member, os.urandom)
    for entry in body["rewrappedMembers"]:
        if entry.get("keyBindingSig") is None:
            warn(
                f"{entry['ed25519PublicKey']} has signed no key binding: its X25519 key is what the server says it is."
            )
    visit.session.in_repository("remove-member", body, schemas.MANIFEST)
    if args.member != visit.keys.member_id:
        visit.wrote(now, body["rotatedEnvelope"], body["rewrappedMembers"])
    version, epoch = now.next_version, body["newKeyEpoch"]
    give(args.json, {"version": version, "key_epoch": epoch}, [f"version {version}, key epoch {epoch}"])


def show(args: argparse.Namespace) -> None:
    """Print version, key epoch, members, and the fingerprint of this state."""
    visit = Visit(args, args.address)
    _give_state(args, visit, visit.look())


def trust(args: argparse.Namespace) -> None:
    """Believe what the server shows, if it has the fingerprint given; without one, print it and believe nothing."""
    visit = Visit(args, args.address)
    now = visit.unchecked()
    held = witness.fingerprint(Shown.to(visit.keys, now))
    if args.fingerprint not in (None, held):
        raise Failed(f"The server shows the state {held}, not {args.fingerprint}: nothing of it is believed.")
    if args.fingerprint is not None:
        visit.trust(now)
    _give_state(args, visit, now)
    if args.fingerprint is None:
        warn("nothing of this is believed yet: if another member's `vault show` has the same fingerprint, add it here.")


def _give_state(args: argparse.Namespace, visit: Visit, now: Opened) -> None:
    state = {
        "version": now.next_version - 1,
        "key_epoch": now.epoch,
        "scheme": now.manifest["schemeId"],
        "members": [
            {
                "id": entry["ed25519PublicKey"],
                "keys": _binding(entry),
                "you": entry["ed25519PublicKey"] == visit.keys.member_id,
            }
            for entry in now.manifest["members"]
        ],
        "fingerprint": witness.fingerprint(Shown.to(visit.keys, now)),
    }
    give(args.json, state, map(printable, _state_lines(state)))


def _binding(entry: Mapping[str, Any]) -> str:
    if entry.get("keyBindingSig") is None:
        return "not bound yet"
    return "bound" if member.binding_holds(entry) else "WRONG BINDING"


def _state_lines(state: Mapping[str, Any]) -> Iterator[str]:
    yield f"version {state['version']}, key epoch {state['key_epoch']}, {state['scheme']}"
    for entry in state["members"]:
        yield f"{entry['id']}  keys {entry['keys']}{'  (you)' if entry['you'] else ''}"
    yield f"fingerprint {state['fingerprint']}"


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
    for work in (create, pull, push, invite, join, remove, show, trust):
        help_line = (work.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(work.__name__, help=help_line, description=help_line)
        sub.set_defaults(work=work)
        json_option(sub)
        sub.add_argument("--key", type=Path, required=True, metavar="FILE", help="the member's key file (mode 0600)")
        sub.add_argument("--state", type=Path, metavar="FILE", help="what was seen of each repository (KEY.seen)")
        sub.add_argument("--strict", action="store_true", help="believe no entry that no member signed")
        if work is create:
            server_option(sub)
            sub.add_argument(
                "--repo",
                type=_argument(member.checked_repo_id),
                metavar="ID",
                help="the repository's id; a random UUID if absent",
            )
        elif work is join:
            server_option(sub, else_none="the locator names the server; one that is given here must be the same")
            sub.add_argument("locator", nargs="?", help="what the inviting member sent back")
        else:
            server_option(sub, else_none="the address names the server; one that is given here must be the same")
            sub.add_argument("address", type=_argument(member.parse_address), help="avp://host/repoId")
        if work in (create, push):
            sub.add_argument("file", nargs="?", default="-", help="the payload; standard input if absent")
        if work is push:
            sub.add_argument("--expect", type=int, metavar="VERSION", help="push only if this is the version now")
        if work is invite:
            sub.add_argument("request", help="the invite request of the joiner")
        if work is remove:
            sub.add_argument("member", help="the id of the member to shut out, as `show` prints it")
        if work is trust:
            sub.add_argument("fingerprint", nargs="?", help="what another member reads from `show`")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; 0, or :class:`Failed`."""
    secret_keys()  # each subcommand signs: whoever lacks the package need not look for a key or a payload
    try:
        args.work(args)
    except (CannotOpen, BadToken) as error:
        raise Failed(str(error)) from None
    except NotBelieved as error:
        raise Failed(f"{error} If other members confirm it, accept it with `vault trust`.") from None
    return 0
