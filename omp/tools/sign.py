"""``python -m omp sign``: send one signed request, in either form of objects.md §4, and show the answer.

Its first options are those of the OMP reference server's ``sign_post_objects.py``.  Without ``--body`` the body is
made from ``--namespace`` and ``--json`` as ``POST /objects`` and ``PUT /objects/{id}`` take it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import ssl
import sys
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from omp.rules.encodings import EncodingError, b64u_decode
from omp.rules.engines import CryptographyMissing, secret_keys
from omp.rules.http_signatures import sign, sign_legacy
from omp.rules.signature_base import SignatureError, SignedRequest
from omp.rules.structured_fields import StructuredFieldError
from omp.tools.keygen import print_new_key

HELP = "send a request with an HTTP signature (RFC 9421, or the legacy form)"

_EXAMPLES = """\
examples:
  python -m omp sign --gen-key
  python -m omp sign --host http://127.0.0.1:8787 --seed-b64u "$SEED_B64U" --keyid sig1 \\
      --namespace ns --json '{"x":1}'
  python -m omp sign --namespace ns --json '{"x":1}' --legacy      seed and keyid from the environment
  python -m omp sign --method GET --path '/objects?limit=10' --nonce n1
  python -m omp sign --method PUT --path /objects/ID --json '{"x":2}' --show
  python -m omp sign --component @method --component @authority --component @path \\
      --component '"x-note";bs' --header 'X-Note: hello' --namespace ns --json '{}'
"""
# RFC 9110 §5.1 and §5.5
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[\t -~\xa0-\xff]*")
_WITHOUT_BODY = ("GET", "HEAD", "DELETE", "OPTIONS")


class _Unusable(Exception):
    """An option that cannot be used; the text says which."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.epilog = _EXAMPLES
    option = parser.add_argument
    option("--host", default="http://127.0.0.1:8787", help="base URL of the server (default: %(default)s)")
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
        help="what to cover, as @path or '\"@query-param\";name=\"q\"'; repeatable (default: @method and @target-uri; "
        "content-digest comes with every body)",
    )
    option("--label", default="sig1", help="label of the signature (default: %(default)s)")
    option("--nonce", default=None, help="a text that the server accepts once")
    option("--created", type=int, default=None, help="epoch second to claim (default: now)")
    option("--expires", type=int, default=None, help="epoch second after which the signature is void")
    option("--show", action="store_true", help="also print the header fields that were sent")


def run(arguments: argparse.Namespace) -> int:
    """Send the request and print the answer; 0 where its status is below 400, else 1."""
    if arguments.gen_key:
        return print_new_key(arguments.keyid or "sig1")
    try:
        request = _request(arguments)
        fields = [*request.fields, *_signature_fields(arguments, request)]
    except (_Unusable, CryptographyMissing) as error:
        print(error, file=sys.stderr)
        return 1
    except (SignatureError, StructuredFieldError) as error:
        print(f"The request cannot be signed so. {error}", file=sys.stderr)
        return 1
    if arguments.show:
        print("\n".join(f"{name}: {value}" for name, value in fields))
    try:
        status, body = _send(request, fields)
    except (OSError, http.client.HTTPException) as error:
        print(f"No answer from {arguments.host}: {error}", file=sys.stderr)
        return 1
    print(f"Status: {status}")
    print(body)
    return 0 if status < 400 else 1


def _request(arguments: argparse.Namespace) -> SignedRequest:
    url = _base_url(arguments.host)
    target = url.path.rstrip("/") + arguments.path
    if not re.fullmatch("/[!-~]*", target):
        raise _Unusable("--path must begin with a slash and be percent-encoded.")
    if not re.fullmatch("[A-Za-z]+", arguments.method):
        raise _Unusable("--method must be a word, such as POST.")
    body = _body(arguments)
    fields = [("host", url.netloc)]
    if body:
        fields.append(("content-type", "application/json"))
    fields += [_field(text) for text in arguments.header]
    return SignedRequest(arguments.method.upper(), url.scheme, url.netloc, target, fields, body)


def _base_url(host: str) -> SplitResult:
    try:
        url = urlsplit(host)
        usable = url.scheme in ("http", "https") and re.fullmatch("[!-~]+", url.netloc) and url.port != 0
    except ValueError:  # an address or a port that is none
        usable = False
    if not usable or url.query or url.fragment or "@" in url.netloc:
        raise _Unusable("--host must be a base URL such as http://127.0.0.1:8787.")
    return url


def _body(arguments: argparse.Namespace) -> bytes:
    if arguments.body is not None:
        return str(arguments.body).encode()
    if arguments.method.upper() in _WITHOUT_BODY:
        if arguments.json or arguments.namespace or arguments.key:
            raise _Unusable(f"{arguments.method.upper()} sends no object: leave --json, --namespace and --key out.")
        return b""
    try:
        content = json.loads(arguments.json or "{}")
    except ValueError:
        raise _Unusable("--json must be a JSON object, such as '{\"x\":1}'.") from None
    members: dict[str, Any] = {"namespace": arguments.namespace, "key": arguments.key}
    return json.dumps({**{name: text for name, text in members.items() if text}, "content": content}).encode()


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        raise _Unusable("--header must be 'Name: value', the value in Latin-1.")
    return name.lower(), value.strip()


def _signature_fields(arguments: argparse.Namespace, request: SignedRequest) -> Sequence[tuple[str, str]]:
    try:
        seed = b64u_decode((arguments.seed_b64u or os.environ.get("SEED_B64U", "")).rstrip("="))
    except EncodingError:
        seed = b""
    if len(seed) != 32:
        raise _Unusable("--seed-b64u (or SEED_B64U) must be 32 bytes in base64url; python -m omp keygen makes one.")
    secrets = secret_keys()
    keyid = arguments.keyid or os.environ.get("OMP_SIG_KEYID", "") or "sig1"
    created = int(time.time()) if arguments.created is None else arguments.created

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


def _send(request: SignedRequest, fields: Sequence[tuple[str, str]]) -> tuple[int, str]:
    if request.scheme == "https":
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            request.authority, timeout=30, context=ssl.create_default_context()
        )
    else:
        connection = http.client.HTTPConnection(request.authority, timeout=30)
    try:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in fields:
            connection.putheader(name, value.encode("latin-1"))
        if request.body:
            connection.putheader("content-length", str(len(request.body)))
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()
