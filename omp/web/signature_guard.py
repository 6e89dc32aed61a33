"""Who may call: HTTP Message Signatures in front of routes (omp §4).

The modes (omp §4.1) are a table, :data:`_CHECKS`: ``off`` looks at nothing, ``permissive`` at the syntax, ``strict``
asks for a signature that verifies.  Which keys a keyid stands for (omp §4.4) comes from the environment, read once at
start.  What a signature is and when it verifies is in :mod:`omp.rules.http_signatures`; this module gives it the
request, the keys, the clock, and a table of the nonces that were used.

For protocols:

* ``Mount.guard = guard.mount_guard()``: None in mode ``off``, in which the guard costs nothing;
* ``Mount.check_head = guard.check_head``, for routes that are all guarded;
* ``guard.check(request, own_keys=True)``, for reading the operation log, returns the signer;
* :func:`signed_request` and :class:`NonceTable` are for a protocol with keys and a policy of its own.

Laid out: configuration and keys, nonces, the guard.

Handled here: the order of keys, replay (a nonce is checked and used up in one transaction, and forgotten after its
window), configuration that cannot be used.  The caller must know that a signature without a nonce can be sent again
while it is young enough, and a legacy one at any time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any

from omp.rules.encodings import EncodingError, b64u_decode, hex_decode
from omp.rules.engines import Engine
from omp.rules.http_signatures import MISSING, KeysOf, Policy, Signature, Verified, parse_signatures, verify
from omp.rules.identifiers import KEY_PREFIX, public_key_of
from omp.rules.json_text import JsonError, parse
from omp.rules.signature_base import SignatureError, SignedRequest
from omp.store.port import Store, Writer, key
from omp.web.addressing import misdirected
from omp.web.errors import ApiError
from omp.web.messages import Request, Scheme
from omp.web.settings import Setting, SettingError, one_of, switch, whole_number

if TYPE_CHECKING:
    from omp.store.audit import Check

# --- Configuration and keys, omp §4.4 ---------------------------------------------------------------------------

_TO_URL = str.maketrans("+/", "-_")
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{64}")


def decode_key(text: str) -> bytes:
    """A public key from its 32 bytes in base64url, base64 or hex; ValueError otherwise."""
    text = text.strip()
    try:
        raw = hex_decode(text.lower()) if _HEX_KEY.fullmatch(text) else b64u_decode(text.rstrip("=").translate(_TO_URL))
    except EncodingError:
        raw = b""
    if len(raw) != 32:
        raise ValueError("a public key must be 32 bytes in base64url, base64 or hex")
    return raw


def _decode_keys(text: str) -> dict[str, bytes]:
    try:
        keys = parse(text.encode())
    except (JsonError, UnicodeEncodeError):
        keys = None
    if not isinstance(keys, dict) or not all(isinstance(value, str) for value in keys.values()):
        raise ValueError('it must be a JSON object from keyid to public key, as {"sig1": "…"}')
    return {keyid: decode_key(value) for keyid, value in keys.items()}


_PUB = "OMP_SIG_PUB_"
_PUB_HEX = "OMP_SIG_PUB_HEX_"

SETTINGS = (
    Setting(
        "mode",
        "OMP_SIG_MODE",
        one_of("off", "permissive", "strict"),
        "off",
        "HTTP signatures on /objects (strict: also for reading /logs): off, permissive or strict",
        "--sig-mode",
    ),
    Setting("max_age", "OMP_SIG_MAX_AGE", whole_number(1, 86400), 300, "how old a signature may be, in seconds"),
    Setting("legacy", "OMP_SIG_LEGACY", switch, True, "0: refuse the legacy form, which covers neither body nor query"),
    Setting("pub", _PUB + "<keyid>", decode_key, None, "public key of that keyid, in base64url, base64 or hex"),
    Setting("pub_hex", _PUB_HEX + "<keyid>", decode_key, None, "the same, where no OMP_SIG_PUB_<keyid> is set"),
    Setting("keys", "OMP_SIG_KEYS", _decode_keys, {}, "a JSON object from keyid to public key"),
    Setting("keyid", "OMP_SIG_KEYID", str, None, "the keyid that OMP_SIG_ED25519_PUB belongs to"),
    Setting("ed25519_pub", "OMP_SIG_ED25519_PUB", decode_key, None, "public key of OMP_SIG_KEYID"),
    Setting(
        "env_fallback",
        "OMP_SIG_ENV_FALLBACK",
        switch,
        False,
        "1: a keyid without a key may be signed by the key in any variable OMP_SIG_PUB… (development only)",
    ),
)


class ConfiguredKeys:
    """keyid -> public keys, from the environment: the first place in the order of omp §4.4 that has one wins."""

    def __init__(self, settings: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        """Raises :class:`SettingError` for a variable ``OMP_SIG_PUB_…`` that holds no key."""
        self._variables = dict(_key_variables(environ))
        self._listed: dict[str, bytes] = dict(settings["keys"])
        if settings["keyid"] and settings["ed25519_pub"]:
            self._listed.setdefault(settings["keyid"], settings["ed25519_pub"])
        self._fallback: tuple[bytes, ...] = ()
        if settings["env_fallback"]:
            self._fallback = tuple(dict.fromkeys([*self._variables.values(), *_loose_keys(environ)]))

    def __call__(self, keyid: str) -> Sequence[bytes]:
        """The keys that may have signed under `keyid`: one or none, or with the fallback all there are."""
        for prefix in (_PUB, _PUB_HEX):
            for spelling in (keyid, keyid.upper(), keyid.lower()):
                found = self._variables.get(prefix + spelling)
                if found is not None:
                    return (found,)
        found = self._listed.get(keyid)
        return (found,) if found is not None else self._fallback

    def __bool__(self) -> bool:
        """Whether there is any key at all."""
        return bool(self._variables or self._listed or self._fallback)


def _key_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    for variable, text in environ.items():
        if variable.startswith(_PUB) and text:
            try:
                yield variable, decode_key(text)
            except ValueError as error:
                raise SettingError(f"{variable} is {text!r}, and {error}") from None


def _loose_keys(environ: Mapping[str, str]) -> Iterator[bytes]:
    # Nobody said that these variables hold keys: skip what fails to parse.
    for variable, text in environ.items():
        if variable.startswith("OMP_SIG_PUB") and not variable.startswith(_PUB):
            try:
                yield decode_key(text)
            except ValueError:
                continue


# --- Nonces, omp §4.2 -------------------------------------------------------------------------------------------


class NonceTable:
    """The nonces that were used.  They are in the store, so that a restart does not let a request be sent again.

    `table` maps a hash of (keyid, nonce) to the last second of its window, so that a row has one size whatever the
    client sends; ``<table>_due`` lists the same rows by that second, for forgetting them.  `policy` says for how long a
    signature is accepted.
    """

    def __init__(
        self, store: Store, clock: Callable[[], float], policy: Policy, table: str = "signature_nonces"
    ) -> None:
        self._store = store
        self._clock = clock
        self._window = policy.max_age + policy.max_ahead
        self._table = table
        self._due = table + "_due"
        self._began: float | None = None
        self._past = 0.0

    def fresh(self, keyid: str, nonce: str, until: int) -> bool:
        """Use `nonce` up and remember it through the epoch second `until`; False if it was used before."""
        row, due = sha256(key(keyid, nonce)).digest(), key(until)
        now = self._clock()
        with self._store.write() as tx:  # check and write in one block: of two at the same time, one is fresh
            before = tx.get(self._table, row)
            if before is not None:
                if int.from_bytes(before, "big") >= now:
                    return False
                tx.delete(self._due, before + row)
            # More than are added, so that the table does not outgrow its window.  The clock may have been set back
            # since the last housekeeping.
            self._forget(tx, min(now, self._past), 8)
            tx.put(self._table, row, due)
            tx.put(self._due, due + row, b"")
        return True

    def housekeep(self, past: float) -> None:
        """Forget nonces whose window ended before the epoch second `past`, a bounded number at a time.

        What the clock says is not enough: it may be ahead, and be set back while the signature still counts (omp §9.3).
        What the run before left stays for a whole window, since this one cannot tell how much time has passed.
        """
        if self._began is None:
            self._began = past
        self._past = past if past >= self._began + self._window else 0.0
        with self._store.read() as tx:
            idle = next(tx.scan(self._due, b"", key(int(self._past))), None) is None
        if not idle:
            with self._store.write() as tx:
                self._forget(tx, self._past, 1000)

    def _forget(self, tx: Writer, past: float, most: int) -> None:
        for due, _ in list(islice(tx.scan(self._due, b"", key(int(past))), most)):
            tx.delete(self._due, due)
            tx.delete(self._table, due[8:])


def audit_nonces(check: Check, table: str) -> None:
    """What must hold of the rows of a :class:`NonceTable`."""
    for row, until in check.rows(table):
        check.require(len(until) == 8 and len(row) == 32, table, row, "it is no nonce")
        check.expect(table + "_due", until + row, b"")


# --- The guard, omp §4.1 ----------------------------------------------------------------------------------------

REQUIRED = (
    (("@method",),),
    (("@target-uri",), ("@authority", "@path", "@query")),
    (("content-digest",),),
)
"""What a signature must cover (omp §4.2), as :class:`~omp.rules.http_signatures.Policy` takes it."""

REQUIRED_COMPONENTS = [name for alternatives in REQUIRED for name in alternatives[0]]
"""What a client that does not choose should cover: the first alternative of each."""

HTTP_SIGNATURE = "httpSignature"
HTTP_SIGNATURE_SCHEME = Scheme(
    {
        "type": "apiKey",
        "in": "header",
        "name": "Signature",
        "description": "An HTTP Message Signature (RFC 9421, Ed25519), described in Signature-Input. It covers what "
        "the capability document names in signatures.required_components; Content-Digest where there is a body.",
    },
    fields=("Signature-Input", "Content-Digest"),
)
"""omp §4 as OpenAPI shows it."""

_LEGACY_NOTICE = (
    "HTTP signatures: the legacy form is accepted; it covers neither body nor query, and whoever sees a request can "
    "send it again. OMP_SIG_LEGACY=0 refuses it."
)
_NO_KEYS_NOTICE = "HTTP signatures: mode strict without any key: every request to /objects will be refused."
_LONE_KEY_NOTICE = "HTTP signatures: OMP_SIG_ED25519_PUB is set without OMP_SIG_KEYID, and is not used."
_FALLBACK_NOTICE = "HTTP signatures: OMP_SIG_ENV_FALLBACK=1: any keyid may be signed by any configured key."


Advice = Sequence[tuple[str, str]]
"""Header fields that tell the client, in whatever is answered, how to sign."""


class SignatureGuard:
    """The guard of one server, in its mode; `check` may be called from any thread."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        environ: Mapping[str, str],
        store: Store,
        clock: Callable[[], float],
        engine: Engine,
    ) -> None:
        """`settings` are the values of :data:`SETTINGS`.  Raises :class:`SettingError`."""
        self.mode: str = settings["mode"]
        self._settings = settings
        self._check = _CHECKS[self.mode]
        self._policy = Policy(REQUIRED, legacy=settings["legacy"], max_age=settings["max_age"])
        self._keys = ConfiguredKeys(settings, environ)
        self._nonces = NonceTable(store, clock, self._policy)
        self._clock = clock
        self._verify = engine.verify

    def mount_guard(self) -> Callable[[Request], Advice] | None:
        """The value for ``Mount.guard``; None in mode ``off``."""
        return {"off": None, "permissive": self._guard_syntax, "strict": self._guard_signature}[self.mode]

    def check_head(self, request: Request) -> None:
        """Refuse a head that bears no signature where the mode asks for one: its body need not be read.

        Raises :class:`~omp.web.errors.ApiError` 400 or 401.
        """
        if self.mode == "strict":
            try:
                if not parse_signatures(signed_request(request), legacy=self._policy.legacy):
                    raise SignatureError(401, MISSING)
            except SignatureError as error:
                raise _refusal(error, request, has_body=True) from None

    def _guard_signature(self, request: Request) -> Advice:
        self._check_signature(request, self._keys)
        return ()

    def _guard_syntax(self, request: Request) -> Advice:
        """Nothing is refused here for what it covers; but a signature of no component is told what it should cover."""
        return _wanted(request) if any(one.covers_nothing for one in self._parsed(request)) else ()

    def check(self, request: Request, *, own_keys: bool = False) -> Verified | None:
        """The signature that lets `request` in; None in the modes that verify none.

        With `own_keys` a keyid ``omp:key:ed25519:…`` stands for the key that it spells out.  The caller must then
        decide by ``public_key`` what this key may do: anyone can make one.  Raises :class:`~omp.web.errors.ApiError`
        400 or 401.
        """
        return self._check(self, request, self._keys_or_own if own_keys else self._keys)

    def housekeep(self, past: float) -> None:
        """Forget the nonces whose window ended before the epoch second `past`."""
        if self.mode == "strict":
            self._nonces.housekeep(past)

    def capabilities(self) -> dict[str, Any]:
        """The member ``signatures`` of the capability document (omp §6)."""
        return {
            "mode": self.mode,
            "required_components": REQUIRED_COMPONENTS,
            "legacy": self._policy.legacy,
            "max_age_sec": self._policy.max_age,
        }

    def schemes(self) -> dict[str, Scheme]:
        """The signature as a security scheme, if the mode asks for it."""
        return {HTTP_SIGNATURE: HTTP_SIGNATURE_SCHEME} if self.mode == "strict" else {}

    def notices(self) -> list[str]:
        """What the person who starts the server should know, one sentence each."""
        if self.mode != "strict":
            return []
        settings = self._settings
        said = {
            _LEGACY_NOTICE: self._policy.legacy,
            _NO_KEYS_NOTICE: not self._keys,
            _LONE_KEY_NOTICE: settings["ed25519_pub"] is not None and not settings["keyid"],
            _FALLBACK_NOTICE: settings["env_fallback"],
        }
        return [notice for notice, holds in said.items() if holds]

    def _keys_or_own(self, keyid: str) -> Sequence[bytes]:
        if keyid.startswith(KEY_PREFIX):
            try:
                return (public_key_of(keyid),)
            except EncodingError:
                return ()
        return self._keys(keyid)

    def _let_through(self, request: Request, keys_of: KeysOf) -> None:
        return None

    def _check_syntax(self, request: Request, keys_of: KeysOf) -> None:
        self._parsed(request)

    def _parsed(self, request: Request) -> list[Signature]:
        host = request.headers.get("host", "")  # only the two fields are read, so any address will do
        as_sent = SignedRequest(request.method, request.scheme, host, request.target, request.fields, request.body)
        try:
            return parse_signatures(as_sent, legacy=self._policy.legacy)
        except SignatureError as error:
            raise _refusal(error, request) from None

    def _check_signature(self, request: Request, keys_of: KeysOf) -> Verified:
        try:
            return verify(
                signed_request(request), self._policy, keys_of, self._verify, self._clock(), self._nonces.fresh
            )
        except SignatureError as error:
            raise _refusal(error, request) from None


_Check = Callable[[SignatureGuard, Request, KeysOf], Verified | None]
_CHECKS: dict[str, _Check] = {
    "off": SignatureGuard._let_through,
    "permissive": SignatureGuard._check_syntax,
    "strict": SignatureGuard._check_signature,
}
"""Mode -> what it does to a request."""


def signed_request(request: Request) -> SignedRequest:
    """The parts of `request` that a signature can cover, addressed to this server as it knows itself (omp §1.5).

    Raises :class:`~omp.web.errors.ApiError` 421 for a request that is signed, but for an address that is not known.
    """
    named = request.destination.named
    spellings = request.destination.spellings()
    if not spellings and ("signature-input" in request.headers or "signature" in request.headers):
        raise misdirected(named)
    (scheme, authority), *respelled = spellings or [(request.scheme, named)]
    return SignedRequest(
        request.method, scheme, authority, request.target, request.fields, request.body, respelled=respelled
    )


def _wanted(request: Request, has_body: bool = False) -> Advice:
    """RFC 9421 §5.1: what a signature of such a request should look like; `has_body`: its body is still to come."""
    components = REQUIRED_COMPONENTS if request.body or has_body else REQUIRED_COMPONENTS[:-1]
    wanted = " ".join(f'"{name}"' for name in components)
    return (("Accept-Signature", f'sig1=({wanted});created;alg="ed25519"'),)


def _refusal(error: SignatureError, request: Request, has_body: bool = False) -> ApiError:
    if error.status != 401:
        return ApiError(error.status, error.message)
    # RFC 9110 §15.5.2: a 401 carries a challenge.
    headers = [("WWW-Authenticate", 'Signature realm="omp"'), *_wanted(request, has_body)]
    base = shown_base(error)
    return ApiError(401, error.message, details={"signature_base": base} if base else None, headers=headers)


SHOWN_BASE = 4096
"""Characters of a signature base that an answer shows: a client chooses how long it is."""


def shown_base(error: SignatureError) -> str | None:
    """What a signature that does not verify should have signed, as the server sees it (omp §4.1); None if it was not
    compared.

    It is made of the request and holds nothing that the sender does not know.
    """
    if error.base is None:
        return None
    text = error.base.decode(errors="replace")
    return text if len(text) <= SHOWN_BASE else text[:SHOWN_BASE] + "…"
