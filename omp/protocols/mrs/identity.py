"""Who is calling: a user with a token, a user of another server who signs, or the operator (§3.2, §9, §12.1).

**A bearer token** stands for a user of this server.

**An HTTP message signature** (RFC 9421) stands for a user of any server, who names himself in ``MRS-Identity:
user@domain``.  In order:

1. the keyid must be the address of the identity's key document, on the identity's own domain.  Only
   ``/.well-known/mrs/keys/…`` counts: anybody may be able to write to other places on a domain;
2. the signature must cover the method, the path (or the whole address), the identity, and the body where there is one;
   it must be recent, and a nonce in it is good once;
3. the document, fetched or remembered, must name that identity, and one of its usable keys must verify the signature.

A signed request must be addressed to a known address of this server (omp §1.5), in every mode.  What a signature must
cover is what the protocol's clients sign, and a path does not name the server: whoever sees such a request can send it
to another server for the five minutes in which it is recent.  Covering ``@target-uri`` or ``@authority`` prevents that.
Identities of this server's own domain are not fetched: their keys are read from the table.

**The operator** bears ``OMP_ADMIN_TOKEN`` or, where that is not set, calls from the loopback address.  A reverse proxy
on this machine sends everybody's requests from there, and a browser on it what any web page tells it to send: neither
counts as the operator's own (omp §1.5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from omp.protocols.mrs.accounts import Accounts
from omp.protocols.mrs.addresses import domain_of
from omp.protocols.mrs.fetch import FetchError
from omp.protocols.mrs.keys import MAX_KEYS, KeyRing, NoServerKey, NoSuchKey, RemoteKeys, usable_keys
from omp.protocols.mrs.schemas import RegistryError
from omp.rules.engines import Engine
from omp.rules.http_signatures import Policy, verify
from omp.rules.signature_base import SignatureError
from omp.web.messages import Request
from omp.web.signature_guard import NonceTable, shown_base, signed_request

KEY_PATH = "/.well-known/mrs/keys/"
# §9.2: each row is a requirement, met by covering all components of one of its alternatives.
POLICY = Policy(
    required=(
        (("@method",),),
        (("@path",), ("@target-uri",)),
        (("mrs-identity",),),
        (("content-digest",),),
    )
)
_IDENTITY = re.compile(r"([A-Za-z0-9_-]{1,64})@([A-Za-z0-9.:\[\]_-]{1,255})", re.ASCII)


class NotAuthenticated(RegistryError):
    """The request has no token or signature, or one that does not prove who is calling."""


class MalformedSignature(RegistryError):
    """The signature fields cannot be read, or contradict the request."""


class NotTheOperator(RegistryError):
    """The request does not come from the operator."""


# --- users ----------------------------------------------------------------------------------------------------------


class Identity(NamedTuple):
    """Who is calling: ``user@domain``; `username` where this server manages the identity, else None."""

    id: str
    username: str | None


class Authenticator:
    """Turns requests into identities; `domain` is that of this server's own identities."""

    def __init__(
        self,
        clock: Callable[[], float],
        engine: Engine,
        accounts: Accounts,
        ring: KeyRing,
        remote: RemoteKeys,
        nonces: NonceTable,
        domain: str,
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._accounts = accounts
        self._ring = ring
        self._remote = remote
        self._nonces = nonces
        self._domain = domain

    def identify(self, request: Request) -> Identity:
        """The identity behind `request`; :class:`NotAuthenticated` or :class:`MalformedSignature`.

        A token, where there is one, decides alone: a client that sends a wrong token must not pass by its signature.
        """
        authorization = request.headers.get("authorization", "")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            username = self._accounts.user_of(token.strip())
            if username is None:
                raise NotAuthenticated("The token is unknown or has expired; please log in again.")
            return Identity(f"{username}@{self._domain}", username)
        if "mrs-identity" in request.headers or "signature-input" in request.headers:
            return self._signer(request)
        raise NotAuthenticated(
            "This needs a bearer token (Authorization: Bearer …), or an HTTP signature with MRS-Identity."
        )

    def check_head(self, request: Request) -> None:
        """Refuse a head that bears neither a good token nor a signature, before the body is read."""
        if "mrs-identity" not in request.headers and "signature-input" not in request.headers:
            self.identify(request)

    def _signer(self, request: Request) -> Identity:
        identity = request.headers.get("mrs-identity", "")
        match = _IDENTITY.fullmatch(identity)
        if match is None:
            raise NotAuthenticated("MRS-Identity must be user@domain.")
        user, domain = match[1], match[2]
        # verify() checks grammar, coverage, digest and time before it asks for keys: a request that cannot verify
        # anyway makes this server fetch nothing.
        left = MAX_KEYS

        def keys(keyid: str) -> Sequence[bytes]:
            # Each key of each signature can cost a verification: the request has so many in all (§10.4).
            nonlocal left
            found = self._keys(keyid, user, domain, request.client)[:left]
            left -= len(found)
            return found

        try:
            verify(signed_request(request), POLICY, keys, self._engine.verify, self._clock(), self._nonces.fresh)
        except SignatureError as error:
            refusal = MalformedSignature if error.status == 400 else NotAuthenticated
            base = shown_base(error)
            raise refusal(f"{error}\nThe signature base is:\n{base}" if base else str(error)) from None
        except FetchError as error:
            raise NotAuthenticated(f"The key of {identity} could not be fetched: {error}.") from None
        return Identity(identity, user if domain == self._domain else None)

    def _keys(self, keyid: str, user: str, domain: str, caller: str) -> Sequence[bytes]:
        """The usable keys in the document at `keyid`, which must be that of user@domain (§9.3).

        `caller` is the address that the request came from.  Raises :class:`SignatureError` where it is another document
        or holds no usable key, :class:`FetchError` where it cannot be fetched.
        """
        try:
            key_domain = domain_of(keyid)
        except ValueError:
            raise SignatureError(401, "The keyid must be the https address of the signer's key document.") from None
        if key_domain != domain.lower():
            raise SignatureError(401, f"The keyid is on {key_domain}, and the identity on {domain}: they must agree.")
        # Only there: on many domains anybody may upload a file that looks like a key document.
        if urlsplit(keyid).path not in (f"{KEY_PATH}{user}", f"{KEY_PATH}{user}@{domain}"):
            raise SignatureError(401, f"The keyid must be the key document of the signer: …{KEY_PATH}{user}")
        if domain == self._domain:  # no server fetches from itself
            try:
                document = self._ring.document(user)
            except (NoSuchKey, NoServerKey):
                document = None
        else:
            document = self._remote.document(keyid, caller)
        keys = usable_keys(document, f"{user}@{domain}", self._clock())
        if not keys:
            raise SignatureError(401, f"The key document of {user}@{domain} has no Ed25519 key of theirs in use.")
        return keys


# --- the operator (§12.1) -------------------------------------------------------------------------------------------


def require_admin(request: Request, token: str | None) -> None:
    """:class:`NotTheOperator` unless `request` comes from the operator; `token` is OMP_ADMIN_TOKEN (§12.1)."""
    if request.is_by_the_operator(token):
        return
    if token is not None:
        raise NotTheOperator("This needs the header Authorization: Bearer with the server's OMP_ADMIN_TOKEN.")
    raise NotTheOperator(
        "Without OMP_ADMIN_TOKEN the server takes this from its own machine only, "
        "and neither through a proxy nor from a page of another site.",
    )
