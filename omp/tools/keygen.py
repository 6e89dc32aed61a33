"""``python -m omp keygen``: an Ed25519 key pair as the exports that server and client need (omp §4.4).

Standard output holds the exports alone, so that a shell can evaluate it; notes on them go to standard error.  Nothing
is written to a file.
"""

from __future__ import annotations

import argparse
import json
import re

from omp.rules.encodings import b64u_encode
from omp.rules.engines import SecretKeys, secret_keys
from omp.rules.identifiers import key_id
from omp.tools.options import json_option
from omp.tools.terminal import Failed, give, note

HELP = "make a key pair for HTTP signatures and print the exports for both sides"

_EXAMPLES = """\
examples:
  python -m omp keygen                     exports for keyid sig1
  python -m omp keygen --keyid laptop      for another keyid
  eval "$(python -m omp keygen)"           set them in this shell
  python server.py --sig-mode strict       a server in the same shell knows the key
"""
# What a shell accepts as the end of a variable's name.
_NAME = re.compile(r"[A-Za-z0-9_]+")
# What a Structured Fields string can hold (RFC 8941 §3.3.3), without the single quote, which ends a shell's string.
_KEYID = re.compile(r"[ !-&(-~]+")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--keyid", default="sig1", help="the name of the key in signatures (default: sig1)")
    json_option(parser, "the key pair as one JSON document, instead of exports")
    parser.epilog = _EXAMPLES


def run(arguments: argparse.Namespace) -> int:
    """Print the exports and return 0; raises :class:`Failed` if the keyid cannot be used."""
    return print_new_key(arguments.keyid, as_json=arguments.json)


def print_new_key(keyid: str, *, as_json: bool = False) -> int:
    """Make a key pair, print its exports and return 0; raises :class:`Failed`."""
    secrets = secret_keys()
    if not _KEYID.fullmatch(keyid):
        raise Failed("--keyid must be printable ASCII without a single quote.")
    seed = _seed(secrets)
    public_key = secrets.public_key(seed)
    made = {"keyid": keyid, "key": key_id(public_key), "public": b64u_encode(public_key), "seed": b64u_encode(seed)}
    give(as_json, made, exports(keyid, public_key, seed))
    if not as_json:
        note("# The second line is for the server.  SEED_B64U is the client's secret: show it to nobody.")
        note(f"# As a reader of /logs this key is the keyid {made['key']}")
    return 0


def _seed(secrets: SecretKeys) -> bytes:
    # A seed must not begin with "-": in "--seed-b64u -x…" every command line would see a second option.
    return next(seed for seed in iter(secrets.generate, b"") if not b64u_encode(seed).startswith("-"))


def exports(keyid: str, public_key: bytes, seed: bytes) -> list[str]:
    """What a shell evaluates: the keyid, the server's public key, the client's seed (32 bytes each)."""
    public = b64u_encode(public_key)
    if _NAME.fullmatch(keyid):
        named, server = f"export OMP_SIG_KEYID={keyid}", f"export OMP_SIG_PUB_{keyid}={public}"
    else:  # no variable can have such a name
        keys = json.dumps({keyid: public})
        named, server = f"export OMP_SIG_KEYID='{keyid}'", f"export OMP_SIG_KEYS='{keys}'"
    return [named, server, f"export SEED_B64U={b64u_encode(seed)}"]
