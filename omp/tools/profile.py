"""``python -m omp profile``: the profile, the prompt and the messages that belong to an Ethereum key (NEXUS).

`keygen` makes a key file.  `show` and `messages` read, for which the owner's address is enough (``--owner``).  `set`,
`prompt` and `say` write, which takes a signature over keccak256 of the body without ``auth``, compact, names sorted
(form A1 of nexus §3.4).

The package ``cryptography`` signs, because the hand-written arithmetic takes a time that depends on the secret.
OpenSSL may give a high s and gives no v: s is replaced by n - s where it is high, and v is found by trying both.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omp.protocols.nexus.ethereum import (
    N,
    RecoverableSignature,
    address,
    checksummed,
    normal_address,
    recover,
    signature_text,
)
from omp.protocols.nexus.keccak import keccak256
from omp.protocols.nexus.routes import BASE
from omp.protocols.nexus.schemas import DONE, MESSAGES, PROFILE
from omp.protocols.nexus.signatures import FORMS, as_written, payload
from omp.rules.engines import CryptographyMissing
from omp.rules.json_text import JsonError, parse
from omp.tools.http_client import Server
from omp.tools.key_files import read_secret, write_secret
from omp.tools.options import json_option, server_option
from omp.tools.terminal import Failed, contents, give, printable, trace

HELP = "keep a profile, a prompt and messages under an Ethereum key"
EXAMPLES = """examples:
  python -m omp profile keygen --key me.key                     make a key and print its address
  python -m omp profile show --key me.key                       the effective profile
  python -m omp profile show --owner 0x9d8A…5A4F                anybody's: an address is not a secret
  python -m omp profile set --key me.key model=kimi-k2 temperature=0.9
  python -m omp profile set --key me.key temperature=           take an override back
  python -m omp profile prompt --key me.key about-me.txt        "-" reads standard input
  python -m omp profile say --key me.key --run run_1 "Hello"    add a message to the history
  python -m omp profile messages --key me.key --limit 50        newest first"""


# --- the key --------------------------------------------------------------------------------------------------------


def _elliptic_curves() -> Any:
    """The module ``ec`` of the package ``cryptography``; raises CryptographyMissing."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        raise CryptographyMissing(
            "Signing with an Ethereum key needs the package cryptography; install it with: pip install cryptography"
        ) from None
    return ec


class Wallet:
    """A secp256k1 key held by the package ``cryptography``.  Raises CryptographyMissing."""

    def __init__(self, secret: int | None) -> None:
        ec = _elliptic_curves()
        curve = ec.SECP256K1()
        self._key = ec.generate_private_key(curve) if secret is None else ec.derive_private_key(secret, curve)
        numbers = self._key.public_key().public_numbers()
        self._public_key = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        self.address = address(self._public_key)

    def secret(self) -> int:
        """The secret scalar, for the key file."""
        return int(self._key.private_numbers().private_value)

    def sign(self, digest: bytes) -> RecoverableSignature:
        """A signature over a hash (32 bytes), with the low s and the v that recovery asks for (nexus §3.3)."""
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        from cryptography.hazmat.primitives.hashes import SHA256

        # The digest is Keccak-256's; SHA256 only tells OpenSSL how long it is.
        der = self._key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256())))
        r, s = utils.decode_dss_signature(der)
        s = min(s, N - s)
        signatures = (RecoverableSignature(r, s, v) for v in (0, 1))
        return next(one for one in signatures if recover(digest, one) == self._public_key)


def wallet_in(path: Path) -> Wallet:
    """The key in the file: 64 hex digits, with or without ``0x``."""
    _elliptic_curves()  # whoever lacks the package need not look for a key
    text = read_secret(path, f"make one with: python -m omp profile keygen --key {path}").strip()
    digits = text.removeprefix("0x")
    secret = int(digits, 16) if len(digits) == 64 and set(digits) <= set("0123456789abcdefABCDEF") else 0
    if not 0 < secret < N:
        raise Failed(f"{path} is not a key file: it must hold a secp256k1 secret key as 64 hex digits.")
    return Wallet(secret)


# --- the server ---------------------------------------------------------------------------------------------------


class Profile:
    """The NEXUS API at `url`, called as one owner; `wallet` is needed to write."""

    def __init__(self, url: str, owner: str, wallet: Wallet | None = None) -> None:
        self._server = Server(url, "NEXUS server")
        self._owner = owner
        self._wallet = wallet
        self._fields = [("Authorization", f"Bearer {owner}"), ("Content-Type", "application/json")]

    def get(self, target: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
        """(the answer, checked against `schema`; the target of the next page, or "")."""
        answer = self._server.ask("GET", target, fields=self._fields)
        link = answer.fields.get("link", "")
        following = link[link.find("<") + 1 : link.find(">")] if 'rel="next"' in link else ""
        return self._server.value(answer, schema), following

    def post(self, endpoint: str, body: Mapping[str, Any]) -> str:
        """Sign `body`, send it, and return what the server says about it."""
        assert self._wallet is not None
        try:
            exact = as_written(json.dumps(body).encode())
        except JsonError as error:  # command-line bytes that do not decode are lone surrogates in Python
            raise Failed(f"This cannot be sent: {error}.") from None
        signed = payload(exact, FORMS[0])
        trace("=", signed.decode(errors="replace"))
        digest = keccak256(signed)
        auth = {"publicKey": self._owner, "signature": signature_text(self._wallet.sign(digest))}
        data = json.dumps({**body, "auth": auth}).encode()
        answer = self._server.ask("POST", BASE + endpoint, data, self._fields)
        return str(self._server.value(answer, DONE)["message"])


# --- the commands -------------------------------------------------------------------------------------------------


def keygen(args: argparse.Namespace) -> None:
    """Make a key, write it to a file that is yours alone, and print its address."""
    wallet = Wallet(None)
    write_secret(args.key, f"0x{wallet.secret():064x}\n")
    give(args.json, {"address": checksummed(wallet.address)}, [checksummed(wallet.address)])


def show(args: argparse.Namespace) -> None:
    """Print the effective profile: each field that can be changed, its value, and the values that fit."""
    server, owner = _reading(args)
    profile, _ = server.get(f"{BASE}/config", PROFILE)
    give(args.json, profile, _profile_lines(profile, owner))


def _profile_lines(profile: Any, owner: str) -> Iterator[str]:
    yield f"owner {checksummed(owner)}"
    overrides = profile["user_overrides"]
    for field in profile["editable_fields"]:
        kind, _, name = field.partition(".")
        if kind == "config":
            value, own = profile["effective_config"].get(name), overrides["config_overrides"].get(name)
        else:
            value = _member(profile["effective_prompts"].get(name), "content")
            own = overrides["prompt_overrides"].get(name)
        # An override that the server's options have outdated stays stored, and the default counts (nexus §5.1).
        unfit = "" if own in (None, value) else f"   (your own, {_shown(own)}, no longer fits)"
        mark = " " if own is None or unfit else "*"
        yield f"{mark} {field:30} {_shown(value)}{_fitting(profile['field_options'].get(field))}{unfit}"
    yield "(* is your own; the others are the server's defaults)"


def _shown(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False))


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _fitting(option: Any) -> str:
    options, low, high = (_member(option, name) for name in ("options", "min", "max"))
    if isinstance(options, list):
        return f"   one of {printable(', '.join(map(str, options)))}"
    return f"   {printable(f'{low} to {high}')}" if low is not None and high is not None else ""


def set_(args: argparse.Namespace) -> None:
    """Change the configuration: KEY=VALUE, or KEY= to take an override back."""
    overrides = {}
    for pair in args.pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise Failed(f"{pair!r} must be KEY=VALUE, or KEY= to take an override back.")
        overrides[name.removeprefix("config.")] = _value(text)
    _post(args, "/config", {"overrides": overrides})


def _value(text: str) -> Any:
    """The JSON value that `text` holds, such as 0.9 or true; "" is null, and what is not JSON is a string as it is."""
    try:
        return parse(os.fsencode(text)) if text else None
    except JsonError:
        return text


def prompt(args: argparse.Namespace) -> None:
    """Replace the prompt that tells the assistant about you with a file; an empty file takes it back."""
    try:
        text = contents(args.file).decode()
    except UnicodeDecodeError:
        raise Failed(f"{'Standard input' if args.file == '-' else args.file} is not UTF-8 text.") from None
    _post(args, "/prompts", {"overrides": {"friends_profile": text or None}})


def messages(args: argparse.Namespace) -> None:
    """Print the history, newest first."""
    found = _history(args)
    give(args.json, {"messages": found}, map(_message_line, found))


def _history(args: argparse.Namespace) -> list[Any]:
    server, _ = _reading(args)
    found: list[Any] = []
    target = f"{BASE}/messages?limit={min(args.limit, 100)}"
    left = args.limit
    while target and left > 0:
        page, target = server.get(target, MESSAGES)
        if not page:
            break  # the end, whatever the link says: an empty page must not loop
        found += page[:left]
        left -= len(page)
    return found


def _message_line(message: Any) -> str:
    content = message["content"]
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return printable(f"{message['created_at']}  {message['run_id']}  {message['role']:5}  {text}")


def say(args: argparse.Namespace) -> None:
    """Add a message to the history."""
    message = {"run_id": args.run, "role": args.role, "content": args.text}
    _post(args, "/messages", {"messages": [message]})


def _post(args: argparse.Namespace, endpoint: str, body: Mapping[str, Any]) -> None:
    """Sign and send; print what the server says about it."""
    message = _writing(args).post(endpoint, body)
    give(args.json, {"message": message}, [printable(message)])


def _reading(args: argparse.Namespace) -> tuple[Profile, str]:
    owner = args.owner or wallet_in(args.key).address
    return Profile(args.server, owner), owner


def _writing(args: argparse.Namespace) -> Profile:
    wallet = wallet_in(args.key)
    return Profile(args.server, wallet.address, wallet)


# --- the command line -----------------------------------------------------------------------------------------------


def _owner(text: str) -> str:
    owner = normal_address(text)
    if owner is None:
        raise argparse.ArgumentTypeError("must be 0x and 40 hex digits")
    return owner


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError("must be a whole number of 1 or more")
    return int(text)


_KEY_HELP = "the owner's key file: 64 hex digits, mode 0600"


def configure(parser: argparse.ArgumentParser) -> None:
    """The subcommands and their options."""
    parser.epilog = EXAMPLES
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for work in (keygen, show, set_, prompt, messages, say):
        help_line = (work.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(work.__name__.rstrip("_"), help=help_line, description=help_line)
        sub.set_defaults(work=work)
        if work in (show, messages):
            who = sub.add_mutually_exclusive_group(required=True)
            who.add_argument("--key", type=Path, metavar="FILE", help=_KEY_HELP)
            who.add_argument("--owner", type=_owner, metavar="ADDRESS", help="whose profile to read, instead of a key")
        else:
            sub.add_argument("--key", type=Path, required=True, metavar="FILE", help=_KEY_HELP)
        if work is not keygen:
            server_option(sub)
        json_option(sub)
        if work is set_:
            sub.add_argument("pairs", nargs="+", metavar="KEY=VALUE", help="a name in editable_fields, without config.")
        elif work is prompt:
            sub.add_argument("file", metavar="FILE", help="the prompt in UTF-8; - is standard input")
        elif work is messages:
            sub.add_argument("--limit", type=_limit, default=20, help="at most this many (default: %(default)s)")
        elif work is say:
            sub.add_argument("--run", default="omp", metavar="ID", help="the conversation (default: %(default)s)")
            sub.add_argument("--role", choices=("human", "ai", "tool"), default="human", help="who says it")
            sub.add_argument("text", help="what is said")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; the exit status is 0.  Raises Failed."""
    args.work(args)
    return 0
