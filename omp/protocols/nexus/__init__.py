"""NEXUS: the configuration, the prompt and the message history that belong to an Ethereum key.

**What it is for.**  A chat client keeps a few things for its user: which model answers and at which temperature, a text
that tells the assistant about the user, and what was said.  NEXUS keeps them for a *key* instead of an account.  There
is nothing to register and no password: the owner is an Ethereum address, which is derived from a public key, and
whoever holds the secret key may write under that address.  Reading asks for the address; writing asks for a signature
by its key over the request.

**How a write is checked.**  An Ethereum signature does not come with a public key: the verifier *recovers* the key from
the signature and the signed hash, derives the address from it, and compares that with the address that the request
names.  Almost any 65 bytes recover some key, so the comparison is the whole check.

What is hashed is the text of the request, and that is where clients disagree.  One sorts the member names by code
point and another by UTF-16 unit, one escapes what is not ASCII, one signs the hash as a personal message because its
wallet offers nothing else.  This implementation accepts a fixed list of forms, each of which holds the whole request
(§3.4).  It refuses one that early clients used, which binds nothing (§3.7).

>>> from omp.protocols.nexus.ethereum import address, public_key_slowly, sign_slowly, signature_text
>>> from omp.protocols.nexus.keccak import keccak256
>>> from omp.protocols.nexus.signatures import NotAuthenticated, authenticate
>>> owner = address(public_key_slowly(7))
>>> signature = signature_text(sign_slowly(7, keccak256(b'{"overrides":{"temperature":0.9}}')))
>>> body = '{"overrides": {"temperature": 0.9}, "auth": {"publicKey": "%s", "signature": "%s"}}' % (owner, signature)
>>> authenticate(body.encode(), owner)  # returns: this owner signed this request
>>> try:
...     authenticate(body.replace("0.9", "1.9").encode(), owner)
... except NotAuthenticated as refusal:
...     print(str(refusal).partition(";")[0])
auth.signature is not by this owner over this request

**What can go wrong.**  An address is an identifier, not a secret: whoever knows it can read what is kept for it
(§10.1).  A signature names neither an endpoint nor a time, so a captured request can be sent again (§10.2).  Each
signature (r, s) has a twin (r, n - s) that is just as valid; only the one with the lower s is accepted.  Keccak-256 is
not SHA3-256.  A number must be hashed as it was written, since ``1e-7`` and ``1e-07`` are one value and two texts.  And
hashing by hand is slow: a body has at most 64 KiB, and two are checked at a time (§10.6).

**In reading order**: :mod:`.keccak` (the hash), :mod:`.ethereum` (keys, addresses, recovery), :mod:`.signatures` (who
signed, and what), :mod:`.profile` (defaults and overrides, checked and merged), which are all pure; then
:mod:`.defaults` (the template in force), :mod:`.writes` (what may be asked for, and the rows), :mod:`.turns` (how many
checks run at a time), :mod:`.schemas` (bodies as JSON Schema), :mod:`.routes` (the handlers and the table).  The
section numbers are those of ``SPEC.md`` beside this file.
"""

from __future__ import annotations

from omp.protocols.nexus.defaults import DefaultsSource
from omp.protocols.nexus.routes import ACCESS, BASE, ERRORS, REFUSALS, ROUTES, SCHEMES, Nexus, check_head
from omp.protocols.nexus.schemas import NAMES
from omp.web.routes import CORS_ANY_ORIGIN, Context, Mount
from omp.web.settings import Setting, SettingError, read_settings

SETTINGS = (
    Setting(
        "nexus_defaults",
        "OMP_NEXUS_DEFAULTS",
        str,
        None,
        "JSON file with the default profile of NEXUS, read again when it changes; none: a built-in one",
        "--nexus-defaults",
    ),
)


def mount(context: Context) -> Mount:
    """NEXUS as the server serves it.  Raises SettingError where the defaults file cannot be used."""
    path = read_settings(SETTINGS, context.environ)["nexus_defaults"]
    try:
        defaults = DefaultsSource(path, context.log)
    except ValueError as error:
        raise SettingError(f"--nexus-defaults (OMP_NEXUS_DEFAULTS) is {path!r}, and cannot be used: {error}") from None
    return Mount(
        name="nexus",
        version="1",
        title="NEXUS: profile, prompts and messages of a key's owner",
        routes=ROUTES,
        state=Nexus(context.store, defaults, context.clock),
        owns=(BASE,),
        errors=ERRORS,
        refusals=REFUSALS,
        check_head=check_head,
        about="The configuration, the prompt and the message history of a chat user, under `/api/v1`.",
        schemas=NAMES,
        schemes=SCHEMES,
        access=ACCESS,
        cors=(*CORS_ANY_ORIGIN, ("Access-Control-Expose-Headers", "Link, ETag, Retry-After, OMP-Incomplete")),
    )
