"""A client of an MRS server, for the commands ``places`` and ``peers``: secrets, requests, signed requests, referrals.

Secrets (tokens, passwords, seeds) come from variables or files, never from the command line, which every user of a
machine can read.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from omp.protocols.mrs.addresses import server_url
from omp.protocols.mrs.fetch import FetchError, fetch
from omp.protocols.mrs.identity import KEY_PATH
from omp.rules.encodings import EncodingError, b64u_decode
from omp.rules.engines import secret_keys
from omp.rules.http_signatures import sign
from omp.rules.json_text import JsonError, parse
from omp.rules.schema import compile_schema
from omp.rules.signature_base import SignedRequest
from omp.tools.http_client import Field, Server
from omp.tools.options import blamed
from omp.tools.terminal import Failed, contents, reason, trace, traced

COVERED = ("@method", "@target-uri", "mrs-identity")
"""With a body, content-digest too.  The whole address binds the request to this server (mrs §9.7)."""

MAX_SECRET = 4096
"""Characters."""
MAX_REFERRED_ANSWER = 4 << 20
"""Bytes that the answer of a server referred to may have: a search has 1 MiB of spaces at most (mrs §6.3)."""


def secret(variable: str, path: str | None) -> str | None:
    """The secret in the file at `path` (``-`` is standard input), or in the variable; None if neither is given.

    A line end at the end of the file does not belong to it.  An empty variable counts as absent.  Raises
    :class:`Failed`.
    """
    try:
        text = os.environ.get(variable) if path is None else contents(path).decode()
    except UnicodeDecodeError:
        text = ""
    if path is None and not text:
        return None
    text = (text or "").removesuffix("\n").removesuffix("\r")
    if not 0 < len(text) <= MAX_SECRET or not text.isprintable():
        raise Failed(f"{path or variable} must hold the secret, one line of text, and nothing else.")
    return text


def write_secret(path: str, text: str) -> None:
    """Write a secret to a file that its owner alone can read, replacing one that is there; raises :class:`Failed`."""
    made = f"{path}.new"
    try:
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
        os.replace(made, path)
    except OSError as error:
        raise Failed(f"{path} cannot be written: {reason(error)}.") from None


Credentials = Callable[[str, str, bytes], list[Field]]
"""(method, whole address, body) -> the header fields that say who asks."""


def nobody(method: str, url: str, body: bytes) -> list[Field]:
    """The credentials of a stranger."""
    return []


def bearer(token: str) -> Credentials:
    """The credentials of whoever has the token."""
    return lambda method, url, body: [("Authorization", f"Bearer {token}")]


def signer(identity: str, seed: str, key_url: str | None = None) -> Credentials:
    """The credentials of ``user@domain``, whose secret seed is given in base64url.

    `key_url` is the address of the key document, if that is not at ``https://`` on the domain.  Raises
    :class:`Failed` if the identity or the seed is malformed, and CryptographyMissing.
    """
    secrets = secret_keys()
    user, _, domain = identity.partition("@")
    try:
        raw = b64u_decode(seed)
    except EncodingError:
        raw = b""
    if not (user and domain and identity.isascii() and identity.isprintable()):
        raise Failed(f"MRS_IDENTITY must be an identity, user@domain, and not {identity!r}.")
    if len(raw) != 32:
        raise Failed(
            "SEED_B64U (or the file of --seed-file) must hold 32 bytes in base64url, as python -m omp keygen prints."
        )
    keyid = key_url or f"https://{domain}{KEY_PATH}{user}"

    def credentials(method: str, url: str, body: bytes) -> list[Field]:
        split = urlsplit(url)
        target = split.path + (f"?{split.query}" if split.query else "")
        request = SignedRequest(method, split.scheme, split.netloc, target, [("mrs-identity", identity)], body)
        fields = sign(
            request,
            keyid=keyid,
            signer=traced(lambda message: secrets.sign(raw, message)),
            created=int(time.time()),
            components=COVERED,
        )
        return [("MRS-Identity", identity), *fields]

    return credentials


def ask_stranger(url: str, path: str, schema: Mapping[str, Any], value: Any, *, insecure: bool = False) -> Any:
    """The answer of a server that another server refers to: it fits `schema`, or this is :class:`Failed`.

    Whoever runs the first server chose the address, so it is asked as carefully as a key document is fetched (mrs §7.2,
    §10): by ``https``, at a public address, at its root; without credentials.  `insecure` lifts this.
    """
    if urlsplit(url).path and not insecure:
        raise Failed(f"The server {url} cannot be reached: a server referred to must have no path.")
    trace(">", f"POST {url}{path}")
    try:
        body = fetch(url + path, insecure=insecure, sent=json.dumps(value).encode(), most=MAX_REFERRED_ANSWER)
        answer = parse(body)
    except FetchError as error:
        raise Failed(f"The server {url} cannot be reached: {error}.") from None
    except JsonError:
        raise Failed(f"What answers at {url} is no MRS server: its answer is no JSON.") from None
    if compile_schema(schema)(answer):
        raise Failed(f"What answers at {url} is no MRS server: its answer is not what was asked for.")
    return answer


class RegistryClient:
    """The server at `url`, asked as `credentials` say."""

    def __init__(self, url: str, credentials: Credentials = nobody) -> None:
        with blamed(url):
            try:
                self.url = server_url(url)
            except ValueError as error:
                raise Failed(f"The address of a server {error}.") from None
        self._server = Server(self.url, "MRS server")
        self._credentials = credentials

    def ask(self, method: str, path: str, schema: Mapping[str, Any], value: Any = None) -> Any:
        """The answer to a request with the JSON body `value`: it fits `schema`, or this is :class:`Failed`."""
        body = b"" if value is None else json.dumps(value).encode()
        fields = [("Content-Type", "application/json"), *self._credentials(method, self.url + path, body)]
        return self._server.value(self._server.ask(method, path, body, fields), schema)
