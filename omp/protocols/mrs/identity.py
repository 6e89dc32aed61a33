"""Who is calling: a bearer token, or an HTTP message signature of somebody on another server (seed §6).

A signed request bears ``MRS-Identity: user@domain`` and the two fields of RFC 9421.  The checks of seed §6.2, in order:

1. the keyid is the address of the identity's key document, on the identity's own domain.  Only
   ``/.well-known/mrs/keys/…`` counts: what else a domain serves may be written by anybody;
2. the signature covers the method, the path (or the whole address), the identity, and the body where there is one;
   it is as young as those of the objects API, and a nonce in it is good once;
3. the document, fetched or remembered, is that identity's (its ``id``), and one of its usable keys verifies.

What a signature covers is what MRS's clients sign.  A path does not name the server: a request signed for one server
verifies on another one for the five minutes it is fresh.  Covering ``@target-uri`` or ``@authority`` prevents that.

Identities of this server's own domain are not fetched: their keys are read from the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from omp.protocols.mrs.accounts import Accounts
from omp.protocols.mrs.addresses import domain_of
from omp.protocols.mrs.fetch import FetchError
from omp.protocols.mrs.key_documents import usable_keys
from omp.protocols.mrs.key_ring import KeyRing
from omp.protocols.mrs.remote_keys import RemoteKeys
from omp.rules.engines import Engine
from omp.rules.http_signatures import Policy, verify
from omp.rules.signature_base import SignatureError
from omp.web.errors import ApiError
from omp.web.messages import Request
from omp.web.signature_guard import NonceTable, signed_request

KEY_PATH = "/.well-known/mrs/keys/"
POLICY = Policy(
    required=(
        (("@method",),),
        (("@path",), ("@target-uri",)),
        (("mrs-identity",),),
        (("content-digest",),),
    )
)
_IDENTITY = re.compile(r"([A-Za-z0-9_-]{1,64})@([A-Za-z0-9.:\[\]_-]{1,255})", re.ASCII)
_CHALLENGE = [("WWW-Authenticate", "Bearer")]


class Identity(NamedTuple):
    """Who is calling: ``user@domain``; `username` where this server manages the identity, else None."""

    id: str
    username: str | None


class Authenticator:
    """Turns requests into identities; `url` and `domain` are this server's."""

    def __init__(
        self,
        clock: Callable[[], float],
        engine: Engine,
        accounts: Accounts,
        ring: KeyRing,
        remote: RemoteKeys,
        nonces: NonceTable,
        url: str,
        domain: str,
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._accounts = accounts
        self._ring = ring
        self._remote = remote
        self._nonces = nonces
        self._url = url
        self._domain = domain

    def identify(self, request: Request) -> Identity:
        """The identity behind `request`; :class:`ApiError` 401, or 400 for signature fields that are malformed."""
        authorization = request.headers.get("authorization", "")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            username = self._accounts.user_of(token.strip())
            if username is None:
                raise ApiError(401, "The token is unknown or has expired; please log in again.", headers=_CHALLENGE)
            return Identity(f"{username}@{self._domain}", username)
        if "mrs-identity" in request.headers or "signature-input" in request.headers:
            return self._signer(request)
        raise ApiError(
            401,
            "This needs a bearer token (Authorization: Bearer …), or an HTTP signature with MRS-Identity.",
            headers=_CHALLENGE,
        )

    def _signer(self, request: Request) -> Identity:
        identity = request.headers.get("mrs-identity", "")
        match = _IDENTITY.fullmatch(identity)
        if match is None:
            raise ApiError(401, "MRS-Identity must be user@domain.", headers=_CHALLENGE)
        user, domain = match[1], match[2]
        signed = signed_request(request)
        signed.scheme = self._scheme(request)
        try:
            verify(
                signed,
                POLICY,
                lambda keyid: self._keys(keyid, user, domain),
                self._engine.verify,
                self._clock(),
                self._nonces.fresh,
            )
        except SignatureError as error:
            raise ApiError(error.status, error.message, headers=_CHALLENGE if error.status == 401 else ()) from None
        except FetchError as error:
            raise ApiError(401, f"The key of {identity} could not be fetched: {error}.", headers=_CHALLENGE) from None
        return Identity(identity, user if domain == self._domain else None)

    def _scheme(self, request: Request) -> str:
        """What the client's address began with: behind a proxy that ends TLS, that is what our own address says."""
        if request.headers.get("host", "").lower() == domain_of(self._url):
            return self._url.partition(":")[0]
        return request.scheme

    def _keys(self, keyid: str, user: str, domain: str) -> Sequence[bytes]:
        """The usable keys in the document at `keyid`, which must be that of user@domain.

        Raises :class:`SignatureError` where it is another one or holds none, FetchError where it cannot be had.
        """
        try:
            key_domain = domain_of(keyid)
        except ValueError:
            raise SignatureError(401, "The keyid must be the https address of the signer's key document.") from None
        if key_domain != domain.lower():
            raise SignatureError(401, f"The keyid is on {key_domain}, and the identity on {domain}: they must agree.")
        if urlsplit(keyid).path not in (f"{KEY_PATH}{user}", f"{KEY_PATH}{user}@{domain}"):
            raise SignatureError(401, f"The keyid must be the key document of the signer: …{KEY_PATH}{user}")
        if domain == self._domain:
            try:
                document = self._ring.document(user)
            except ApiError:
                document = None
        else:
            document = self._remote.document(keyid)
        keys = usable_keys(document, f"{user}@{domain}", self._clock())
        if not keys:
            raise SignatureError(401, f"The key document of {user}@{domain} has no Ed25519 key of theirs in use.")
        return keys
