"""A client of an MRS server, for the commands ``places`` and ``peers``: requests, tokens, signed requests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from omp.protocols.mrs.fetch import server_url
from omp.protocols.mrs.identity import KEY_PATH
from omp.rules.encodings import EncodingError, b64u_decode
from omp.rules.engines import secret_keys
from omp.rules.http_signatures import sign
from omp.rules.signature_base import SignedRequest
from omp.tools.http_client import Field, Server
from omp.tools.terminal import Failed

COVERED = ("@method", "@target-uri", "mrs-identity")
"""With a body, content-digest too.  The whole address binds the request to this server (mrs §9.7)."""

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
    user, _, domain = identity.partition("@")
    try:
        raw = b64u_decode(seed)
    except EncodingError:
        raw = b""
    if len(raw) != 32 or not (user and domain):
        raise Failed("Signing needs an identity user@domain and a seed of 32 bytes in base64url.")
    secrets = secret_keys()
    keyid = key_url or f"https://{domain}{KEY_PATH}{user}"

    def credentials(method: str, url: str, body: bytes) -> list[Field]:
        split = urlsplit(url)
        target = split.path + (f"?{split.query}" if split.query else "")
        request = SignedRequest(method, split.scheme, split.netloc, target, [("mrs-identity", identity)], body)
        fields = sign(
            request,
            keyid=keyid,
            signer=lambda message: secrets.sign(raw, message),
            created=int(time.time()),
            components=COVERED,
        )
        return [("MRS-Identity", identity), *fields]

    return credentials


class RegistryClient:
    """The server at `url`, asked as `credentials` say."""

    def __init__(self, url: str, credentials: Credentials = nobody) -> None:
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
