"""``python -m omp sign``: send one signed request, in either form of omp §4, and show the answer.

The body of the answer goes to standard output as it came; the status, and what was sent, to standard error.

Its first options are those of the OMP reference server's ``sign_post_objects.py``: so ``--json`` is the content of the
object here, and ``--host`` another name of ``--server``.  Without ``--body`` the body is made
from ``--namespace`` and ``--json`` in the form that ``POST /objects`` and ``PUT /objects/{id}`` accept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Sequence
from typing import Any

from omp.rules.encodings import EncodingError, b64u_decode
from omp.rules.engines import secret_keys
from omp.rules.http_signatures import sign, sign_legacy
from omp.rules.json_text import JsonError, parse
from omp.rules.signature_base import SignatureError, SignedRequest
from omp.rules.structured_fields import StructuredFieldError
from omp.tools.http_client import Field, Server, header_field
from omp.tools.keygen import print_new_key
from omp.tools.options import server_option
from omp.tools.terminal import Failed, note, printable, traced

HELP = "send a request with an HTTP signature (RFC 9421, or the legacy form)"

_EXAMPLES = """\
examples:
  python -m omp sign --gen-key
  python -m omp sign --server http://127.0.0.1:8787 --seed-b64u "$SEED_B64U" --keyid sig1 \\
      --namespace ns --json '{"x":1}'
  python -m omp sign --namespace ns --json '{"x":1}' --legacy      seed and keyid from the environment
  python -m omp sign --method GET --path '/objects?limit=10' --nonce n1
  python -m omp sign --method PUT --path /objects/ID --json '{"x":2}' --show
  python -m omp sign --component @method --component @authority --component @path \\
      --component '"x-note";bs' --header 'X-Note: hello' --namespace ns --json '{}'
"""
_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.epilog = _EXAMPLES
    option = parser.add_argument
    server_option(parser, "--host")
    option(
        "--seed-b64u",
        default="",
        help="secret seed, 32 bytes in base64url (default: $SEED_B64U); --seed-b64u=-… for one that begins so",
    )
    option("--keyid", default="", help="the key's name (default: $OMP_SIG_KEYID, else sig1)")
    option("--namespace", default="", help="namespace of the object (default: none is sent)")
    option("--json", default="", metavar="OBJECT", help="content of the object, a JSON object")
    option("--key", default="", help="key of the object")
    option("--gen-key", action="store_true", help="make a key pair, print its exports, and send nothing")
    option("--legacy", action="store_true", help="sign METHOD absolute-URL, as the reference server's client does")
    option("--method", default="POST", help="default: %(default)s")
    option("--path", default="/objects", help="path, with its query (default: %(default)s)")
    option("--body", default=None, help="the body as it is, instead of one made from --namespace and --json")
    option("--header", action="append", default=[], metavar="'NAME: VALUE'", help="a further header field; repeatable")
    option(
        "--component",
        action="append",
        default=[],
        metavar="NAME",
        help='what to cover, as @path or \'"@query-param";name="q"\'; repeatable (default: @method and @target-uri; '
        "content-digest comes with every body)",
    )
    option("--label", default="sig1", help="label of the signature (default: %(default)s)")
    option("--nonce", default=None, help="a text that the server accepts once")
    option("--created", type=int, default=None, help="epoch second to claim (default: now)")
    option("--expires", type=int, default=None, help="epoch second after which the signature is void")
    option("--show", action="store_true", help="also show the header fields that were sent")


def run(arguments: argparse.Namespace) -> int:
    """Send the request and show the answer; return 0 if its status is below 400, else 1.  Raises :class:`Failed`."""
    if arguments.gen_key:
        return print_new_key(arguments.keyid or "sig1")
    server = Server(arguments.server)
    request = _request(arguments, server)
    try:
        added = _signature_fields(arguments, request)
    except (SignatureError, StructuredFieldError) as error:
        raise Failed(f"The request cannot be signed so. {error}") from None
    if arguments.show:
        for name, value in (*request.fields, *added):
            note(f"{name}: {value}")
    answer = server.send(request.method, arguments.path, request.body, [*request.fields[1:], *added])
    note(f"Status: {answer.status}")
    if answer.body:
        print(printable(answer.body.decode(errors="replace"), keep="\t\n"))
    return 0 if answer.status < 400 else 1


def _request(arguments: argparse.Namespace, server: Server) -> SignedRequest:
    """The request, its Host field first."""
    target = server.path + arguments.path
    if not re.fullmatch("/[!-~]*", target):
        raise Failed("--path must begin with a slash and be percent-encoded.")
    if not re.fullmatch("[A-Za-z]+", arguments.method):
        raise Failed("--method must be a word, such as POST.")
    body = _body(arguments)
    fields = [("host", server.authority)]
    if body:
        fields.append(("content-type", "application/json"))
    fields += [_field(text) for text in arguments.header]
    return SignedRequest(arguments.method.upper(), server.scheme, server.authority, target, fields, body)


def _body(arguments: argparse.Namespace) -> bytes:
    if arguments.body is not None:
        return os.fsencode(arguments.body)  # whatever bytes the shell gave
    if arguments.method.upper() in _WITHOUT_BODY:
        if arguments.json or arguments.namespace or arguments.key:
            raise Failed(f"{arguments.method.upper()} sends no object: leave --json, --namespace and --key out.")
        return b""
    try:
        content = parse(os.fsencode(arguments.json or "{}"))
    except JsonError:
        raise Failed("--json must be a JSON object, such as '{\"x\":1}'.") from None
    members: dict[str, Any] = {"namespace": arguments.namespace, "key": arguments.key}
    return json.dumps({**{name: text for name, text in members.items() if text}, "content": content}).encode()


def _field(text: str) -> Field:
    name, colon, value = text.partition(":")
    if not colon:
        raise Failed("--header must be 'Name: value'.")
    return header_field(name.lower(), value.strip())


def _given(option: str, name: str, variable: str) -> tuple[str, str]:
    """What an option says, else the variable, else ""; and the name of the one that says it."""
    return (option, name) if option else (os.environ.get(variable, ""), variable)


def _seed(text: str, source: str) -> bytes:
    """32 bytes."""
    if not text:
        raise Failed("Signing needs a seed, by --seed-b64u or in SEED_B64U; python -m omp keygen makes one.")
    try:
        seed = b64u_decode(text.rstrip("="))
    except EncodingError:
        seed = b""
    if len(seed) != 32:
        raise Failed(f"{source} must be 32 bytes in base64url; python -m omp keygen makes them.")
    return seed


def _signature_fields(arguments: argparse.Namespace, request: SignedRequest) -> Sequence[Field]:
    secrets = secret_keys()  # whoever lacks the package need not look for a seed
    seed = _seed(*_given(arguments.seed_b64u, "--seed-b64u", "SEED_B64U"))
    keyid, source = _given(arguments.keyid, "--keyid", "OMP_SIG_KEYID")
    if not (keyid.isascii() and keyid.isprintable()):
        raise Failed(f"{source} must be printable ASCII.")
    keyid = keyid or "sig1"
    created = int(time.time()) if arguments.created is None else arguments.created

    @traced
    def signer(message: bytes) -> bytes:
        return secrets.sign(seed, message)

    if arguments.legacy:
        return sign_legacy(request, keyid=keyid, signer=signer, created=created, label=arguments.label)
    return sign(
        request,
        keyid=keyid,
        signer=signer,
        created=created,
        components=arguments.component or ("@method", "@target-uri"),
        label=arguments.label,
        expires=arguments.expires,
        nonce=arguments.nonce,
    )
