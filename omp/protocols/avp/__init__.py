"""The AVP zero-knowledge vault, version 0.4, HTTP/JSON profile: a shared secret that the server cannot read.

People who trust each other want to share a document through a server that they do not trust.  Each of them is an
Ed25519 key, a *member*.  A *repository* is one encrypted payload, its *envelope*, and a *manifest*: who the members
are, the payload's *data key* wrapped for each of them, and two counters, the payload version (it rises with every
write) and the key epoch (it rises with every new data key).  The server keeps both as they came, lets only members
in, and makes every check-and-write one step.  It holds no key and decrypts nothing.

What can go wrong, and who prevents it:

* Two members write at once, and one write is lost.  *The server*: a push names the version that it replaces, and of
  many with one expectation at most one is accepted.
* A removed member reads on.  *Both*: the server shuts its key out in the step that brings the new roster; the clients
  encrypt what comes after under a new data key.  What it has read before, nobody can take back.
* The server gives an old envelope, or another repository's, as the current one.  *The client*: the ciphertext is bound
  to repository, version and epoch.  An old envelope *with* its old manifest still opens, so the client remembers what
  it has seen.
* The server invents a data key, wraps it for everybody, and reads what they write next; or it puts a member of its own
  on the roster.  *The client*: members sign the wraps they make, and believe only those whom they know (§13).
* The server puts its own X25519 key beside a member's name and waits for somebody to wrap the data key for it.  *The
  client*: a member signs its two keys together, the *key binding*.  It is optional in the protocol, so a server can
  also take it away: a client must show who has none.
* A stranger fills the memory with challenges, repositories, members.  *The server*: each has a bound (§7).

We doubt two decisions of the protocol, and keep them because published clients rely on them.  A challenge does not
name the server that made it, so a server can pass on the challenge of another and log in there as the member.  And
addMember raises no version, so a member added while another replaces the roster may silently fall out again.

``SPEC.md`` beside this file is the specification, and the section numbers in this package are its own.  In reading
order, the server's half:

* ``schemas``: every message as a JSON Schema, the error codes;
* ``repository``: what each operation makes of a repository: pure functions over one value;
* ``sessions``: challenges and tokens;
* ``routes``: the handlers in the order of the specification, the route table, the table of refusals.

The client's half, for teaching, for tests and for ``python -m omp vault``.  It needs the package `cryptography`, and
no module of the server imports it:

* ``sealing``: AAD, payload encryption, key wrap, key binding, down to the bytes;
* ``vouching``: the signature over a wrap, and the fingerprints by which members compare;
* ``member``: the keys of a member, the requests it makes of them, join tokens and ``avp://`` addresses;
* ``witness``: what a member believes of what a server shows.

Every operation is a pure function from a repository to the repository that follows:

>>> from omp.protocols.avp.repository import VaultPolicy, created, digest_of, pushed
>>> wrapped = {"schemeId": "…", "ephemeralPublicKey": "…", "iv": "…", "ciphertext": "…"}
>>> alice = {"ed25519PublicKey": "alice", "x25519PublicKey": "…", "wrappedDataKey": wrapped, "keyEpoch": 0}
>>> manifest = {"repoId": "plans", "schemeId": "…", "keyEpoch": 0, "payloadVersion": 1, "members": [alice]}
>>> first = created(manifest, digest_of("alice"), VaultPolicy())
>>> envelope = {"repoId": "plans", "payloadVersion": 2, "keyEpoch": 0, "iv": "…", "ciphertext": "…"}
>>> second = pushed(first, envelope, None, digest_of("alice"), VaultPolicy())
>>> first.version, second.version
(1, 2)
>>> pushed(second, envelope, None, digest_of("alice"), VaultPolicy())
Traceback (most recent call last):
    ...
omp.protocols.avp.repository.InconsistentRequest: payloadVersion must rise: it is 2 now.
"""

from __future__ import annotations

from omp.protocols.avp.repository import VaultPolicy
from omp.protocols.avp.routes import ACCESS, ERRORS, REFUSALS, SCHEMES, VERSION, Vault, check_head, routes
from omp.protocols.avp.schemas import NAMES, PARAMETERS
from omp.protocols.avp.sessions import Sessions
from omp.web.routes import CORS_ANY_ORIGIN, Context, Mount
from omp.web.settings import Setting, one_of, read_settings, whole_number

INVITES = ("any-member", "creator")
SETTINGS = (
    Setting(
        "max_envelope", "OMP_AVP_MAX_ENVELOPE_MB", whole_number(1, 1024), 4, "largest envelope and manifest, in MiB"
    ),
    Setting("max_members", "OMP_AVP_MAX_MEMBERS", whole_number(1, 100_000), 500, "members a vault repository"),
    Setting("max_repos", "OMP_AVP_MAX_REPOS", whole_number(0, 10**9), 2000, "vault repositories a creator"),
    Setting("max_nonces", "OMP_AVP_MAX_NONCES", whole_number(16, 10**7), 50_000, "challenges a vault remembers"),
    Setting(
        "invites", "OMP_AVP_INVITES", one_of(*INVITES), "any-member", f"who may add members: {' or '.join(INVITES)}"
    ),
)
"""§7."""

_MIB = 1 << 20


def mount(context: Context) -> Mount:
    """The vault as the entry configures it."""
    settings = read_settings(SETTINGS, context.environ)
    limit = settings["max_envelope"] * _MIB
    sessions = Sessions(context.store, context.engine, context.clock, context.random_bytes, settings["max_nonces"])
    policy = VaultPolicy(settings["max_members"], limit, settings["invites"] == "creator")
    return served(Vault(context.store, sessions, policy, limit, settings["max_repos"]), context.max_body)


def served(vault: Vault, max_body: int) -> Mount:
    """`vault` on its paths; `max_body` (bytes) is the server's limit for bodies that hold no envelope."""
    return Mount(
        name="avp",
        version=VERSION,
        title="AVP zero-knowledge vault",
        # Room for the roster beside the largest envelope, whatever the limit for other bodies is.
        routes=routes(max(max_body, vault.max_envelope + _MIB)),
        state=vault,
        owns=("/api/auth/keypair", "/v1/repos", "/.well-known/avp"),
        about="A vault keeps a payload that the server cannot read.",
        schemas=NAMES,
        parameters=PARAMETERS,
        schemes=SCHEMES,
        access=ACCESS,
        errors=ERRORS,
        refusals=REFUSALS,
        check_head=lambda request: check_head(request, vault),
        cors=(*CORS_ANY_ORIGIN, ("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")),
        housekeep=vault.sessions.drop_expired,
    )


__all__ = ["SETTINGS", "mount", "served"]
