"""A member's session with a vault: its key file, the server at an address, the requests under one token (§3, §4).

Nothing here decides whether what a server answers is to be believed: :meth:`Session.pull` checks that the parts belong
together and opens them, and :mod:`omp.tools.vault` then asks :mod:`omp.protocols.avp.witness`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from omp.protocols.avp import member, schemas
from omp.protocols.avp.member import Keys, Opened
from omp.protocols.avp.sealing import KEY_BYTES
from omp.rules.encodings import EncodingError, b64_decode, b64_encode
from omp.tools.http_client import Server
from omp.tools.key_files import NoKeyFile, read_members, write_members
from omp.tools.terminal import Failed

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
        """The repository as the server shows it, decrypted: whether it is to be believed is not decided here."""
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


def host_of(url: str) -> str:
    """The host of the vault at `url`, as an ``avp://`` address names it.

    Raises :class:`Failed` where such an address would lead elsewhere: it has no path, and its scheme follows from its
    host (:func:`server_at`).
    """
    named = Server(url)
    if named.path or server_at(named.authority).scheme != named.scheme:
        raise Failed(f"{url} can be no vault: it is https://HOST, or on this machine http://HOST, and has no path.")
    return named.authority


def _is_this_machine(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:  # a name: 127.evil.example belongs to somebody else
        return False
