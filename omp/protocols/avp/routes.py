"""The AVP routes: HTTP/JSON profile of AVP 0.4 (avp.md, "Operations", "Limits").

A handler reads like the row of the document's table that it serves.  The order of its checks is the document's: the
token (401), the repository (404), membership (403), and only then the body; createRepo, which has no repository yet,
looks at the body's types (400) and size (413), the sole member (403), the duplicate (409), the agreement (400).

What is guaranteed: each operation's check and its write are one transaction, in which the repository is loaded and
membership checked again, so of many pushes with one expectation exactly one is accepted, and a push that races the
caller's removal is refused.  A repository's row and its envelope are written in one transaction and read in one
moment.  Parsing and encoding happen outside; the tables hold JSON ready to be sent.

Handled here: tokens, membership, size, quotas, order.  The clients must encrypt, check key bindings, and refuse a
version or an epoch that falls: this server sees neither keys nor plaintext and proves nothing about itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from omp.protocols.avp import messages
from omp.protocols.avp.messages import REFUSALS, Refused
from omp.protocols.avp.repository import (
    Policy,
    Removal,
    Repository,
    Roster,
    check_agreement,
    created,
    digest_of,
    encoded,
    pushed,
    removal_identity,
    with_member,
    without_member,
)
from omp.protocols.avp.sessions import Sessions
from omp.rules.encodings import EncodingError, b64_decode, b64_encode
from omp.store.port import Store, Writer, key
from omp.web.errors import ApiError, ErrorStyle, InvalidRequest
from omp.web.messages import Request, Response, json_response
from omp.web.routes import CORS_ANY_ORIGIN, Context, Mount, Route
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

REPOSITORIES = "avp_repositories"  # repoId -> Repository.row()
ENVELOPES = "avp_envelopes"  # repoId -> the envelope's JSON
CREATORS = "avp_creators"  # member id -> how many repositories it created (8 bytes)

_MIB = 1 << 20
_QUOTA_RETRY = "3600"  # nothing frees a place by itself; an hour keeps clients from hammering
_EXTRA_HEADERS = {
    "unauthorized": (("WWW-Authenticate", "Bearer"),),
    "quota_exceeded": (("Retry-After", _QUOTA_RETRY),),
}


class Vault:
    """What the handlers share: the store, the sessions, and what this server allows."""

    def __init__(self, store: Store, sessions: Sessions, policy: Policy, max_envelope: int, max_repos: int) -> None:
        self.store = store
        self.sessions = sessions
        self.policy = policy
        self.max_envelope = max_envelope
        self.max_repos = max_repos


# --- what every operation begins with -------------------------------------------------------------------------


def _caller(request: Request, vault: Vault) -> str:
    return vault.sessions.member(request.headers.get("authorization", ""))


def _found(row: bytes | None) -> Repository:
    if row is None:
        raise Refused("not_found", "There is no repository with this id.")
    return Repository.of_row(row)


def _admitted(row: bytes | None, caller: bytes) -> Repository:
    """The repository in `row`, if there is one (404) and the caller is a member of it (403)."""
    repository = _found(row)
    if not repository.roster.holds(caller):
        raise Refused("forbidden", "The caller is not a member of this repository.")
    return repository


def _body_about(request: Request) -> Any:
    """The body, of the right types and about the repository in the path (400)."""
    body = request.valid_body()
    if body["repoId"] != request.params["repoId"]:
        raise Refused("bad_request", "The repoId of the body must be that of the path.")
    return body


def _envelope_in(request: Request, body: Any, name: str, limit: int) -> Any:
    """The envelope in the member `name` of `body`, which is the request's, of a size that is kept (413)."""
    if len(request.body) > limit and messages.size_as_received(request.body, name) > limit:
        raise Refused("too_large", f"An envelope may have {limit} bytes here.")
    return body[name]


def _envelope_about(request: Request, body: Any, name: str, limit: int) -> Any:
    """The same for a later write: it must be about the repository in the path (400)."""
    envelope = _envelope_in(request, body, name, limit)
    if envelope["repoId"] != request.params["repoId"]:
        raise Refused("bad_request", f"The repoId of {name} must be that of the path.")
    return envelope


def _raw_key(text: str) -> bytes:
    try:
        raw = b64_decode(text)
    except EncodingError:
        raw = b""
    if len(raw) != 32:
        raise Refused("bad_request", "ed25519PublicKey must be the base64, with padding, of a 32-byte key.")
    return raw


def _raw_or_nothing(text: str) -> bytes:
    """Bytes that a caller is to prove something with: what is not base64 proves nothing, and that is all."""
    try:
        return b64_decode(text)
    except EncodingError:
        return b""


# --- the operations, in the order of the document -------------------------------------------------------------


def challenge(request: Request, vault: Vault) -> Response:
    """POST /api/auth/keypair/challenge."""
    public_key = _raw_key(request.valid_body()["ed25519PublicKey"])
    return json_response({"nonce": b64_encode(vault.sessions.challenge(public_key))})


def token(request: Request, vault: Vault) -> Response:
    """POST /api/auth/keypair/token: the signature is over the decoded nonce; any attempt uses the nonce up."""
    body = request.valid_body()
    nonce, signature = _raw_or_nothing(body["nonce"]), _raw_or_nothing(body["signature"])
    try:
        public_key = _raw_key(body["ed25519PublicKey"])
    except Refused:
        vault.sessions.discard(nonce)
        raise
    text, expires_at = vault.sessions.redeem(public_key, nonce, signature)
    return json_response({"token": text, "expiresAt": expires_at})


def create_repo(request: Request, vault: Vault) -> Response:
    """POST /v1/repos."""
    caller_id = _caller(request, vault)
    body = request.valid_body()
    manifest = body["manifest"]
    envelope = _envelope_in(request, body, "initialEnvelope", vault.max_envelope)
    if [entry["ed25519PublicKey"] for entry in manifest["members"]] != [caller_id]:
        raise Refused("forbidden", "The caller must be the sole member of a new repository.")
    repository, sealed = created(manifest, digest_of(caller_id), vault.policy), encoded(envelope)
    row_key, count_key = key(manifest["repoId"]), key(caller_id)
    with vault.store.write() as tx:
        if tx.get(REPOSITORIES, row_key) is not None:
            raise Refused("duplicate_repo", "A repository with this id exists.")
        check_agreement(manifest, envelope)
        count = int.from_bytes(tx.get(CREATORS, count_key) or b"", "big")
        if count >= vault.max_repos:
            raise Refused("quota_exceeded", f"A member may create {vault.max_repos} repositories here.")
        tx.put(CREATORS, count_key, (count + 1).to_bytes(8, "big"))
        _keep(tx, row_key, repository, sealed)
    return Response(200, repository.manifest())


def pull(request: Request, vault: Vault) -> Response:
    """POST /v1/repos/{repoId}/pull."""
    caller = digest_of(_caller(request, vault))
    row_key = key(request.params["repoId"])
    repository = _admitted(vault.store.get(REPOSITORIES, row_key), caller)
    known = _body_about(request)["knownPayloadVersion"]
    if known == repository.version:
        return Response(200, b'{"manifest":%b,"envelope":null,"unchanged":true}' % repository.manifest())
    with vault.store.read() as tx:  # manifest and envelope of one moment
        row, envelope = tx.get(REPOSITORIES, row_key), tx.get(ENVELOPES, row_key)
    assert envelope is not None  # createRepo writes both
    manifest = _admitted(row, caller).manifest()
    return Response(200, b'{"manifest":%b,"envelope":%b,"unchanged":false}' % (manifest, envelope))


def push(request: Request, vault: Vault) -> Response:
    """POST /v1/repos/{repoId}/push: a stale expectation is an answer, not an error."""
    caller = digest_of(_caller(request, vault))
    row_key = key(request.params["repoId"])
    _admitted(vault.store.get(REPOSITORIES, row_key), caller)
    body = _body_about(request)
    envelope = _envelope_about(request, body, "envelope", vault.max_envelope)
    rotated = body.get("rotatedMembers")
    roster = None if rotated is None else Roster.of(rotated)
    sealed, expected = encoded(envelope), body["expectedPayloadVersion"]
    with vault.store.write() as tx:
        repository = _admitted(tx.get(REPOSITORIES, row_key), caller)
        accepted = repository.version == expected
        if accepted:
            repository = pushed(repository, envelope, roster, caller, vault.policy)
            _keep(tx, row_key, repository, sealed)
    return Response(
        200,
        b'{"accepted":%b,"conflict":%b,"payloadVersion":%d,"keyEpoch":%d}'
        % (*((b"true", b"false") if accepted else (b"false", b"true")), repository.version, repository.epoch),
    )


def add_member(request: Request, vault: Vault) -> Response:
    """POST /v1/repos/{repoId}/add-member: a repeated request changes nothing."""
    caller = digest_of(_caller(request, vault))
    row_key = key(request.params["repoId"])
    _admitted(vault.store.get(REPOSITORIES, row_key), caller)
    added = Roster.of([_body_about(request)["member"]])
    with vault.store.write() as tx:
        before = _admitted(tx.get(REPOSITORIES, row_key), caller)
        repository = with_member(before, added, caller, vault.policy)
        if repository is not before:
            _keep(tx, row_key, repository, None)
    return Response(200, repository.manifest())


def remove_member(request: Request, vault: Vault) -> Response:
    """POST /v1/repos/{repoId}/remove-member: one step, and the last write repeated gives its answer again."""
    caller_id = _caller(request, vault)
    caller = digest_of(caller_id)
    row_key = key(request.params["repoId"])
    identity = removal_identity(caller_id, request.body)
    _admitted_or_repeating(vault.store.get(REPOSITORIES, row_key), caller, identity)
    body = _body_about(request)
    envelope = _envelope_about(request, body, "rotatedEnvelope", vault.max_envelope)
    roster, removed = Roster.of(body["rewrappedMembers"]), digest_of(body["removedMemberId"])
    removal = Removal(identity, removed, envelope, body["newKeyEpoch"], roster)
    sealed = encoded(envelope)
    with vault.store.write() as tx:
        before = _admitted_or_repeating(tx.get(REPOSITORIES, row_key), caller, identity)
        repository = without_member(before, removal, caller, vault.policy)
        if repository is not before:
            _keep(tx, row_key, repository, sealed)
    return Response(200, repository.manifest())


def _admitted_or_repeating(row: bytes | None, caller: bytes, identity: bytes) -> Repository:
    """As :func:`_admitted`, and for a member that removed itself, and asks again because it missed the answer."""
    repository = _found(row)
    return repository if repository.removal == identity else _admitted(row, caller)


def fetch_member_key(request: Request, vault: Vault) -> Response:
    """GET /v1/repos/{repoId}/member/{memberId}."""
    caller = digest_of(_caller(request, vault))
    repository = _admitted(vault.store.get(REPOSITORIES, key(request.params["repoId"])), caller)
    entry = repository.roster.entry(request.params["memberId"])
    if entry is None:
        raise Refused("not_found", "There is no such member of this repository.")
    return Response(200, encoded(entry))


def well_known(request: Request, vault: Vault) -> Response:
    """GET /.well-known/avp: what this server speaks, and how much it keeps."""
    limits = {
        "maxEnvelopeBytes": vault.max_envelope,
        "maxMembers": vault.policy.max_members,
        "maxReposPerCreator": vault.max_repos,
    }
    return json_response({"profiles": ["http-json"], "protocolVersion": VERSION, "limits": limits})


def _keep(tx: Writer, row_key: bytes, repository: Repository, sealed: bytes | None) -> None:
    """Write a repository, and the envelope that belongs to it where it is a new one, in one transaction."""
    tx.put(REPOSITORIES, row_key, repository.row())
    if sealed is not None:
        tx.put(ENVELOPES, row_key, sealed)


# --- the route table ------------------------------------------------------------------------------------------

VERSION = "0.4"
_TOKEN = "Authorization: Bearer <token>, from POST /api/auth/keypair/token"  # noqa: S105 - says what to send

_Handler = Callable[[Request, Vault], Response]


def _refusing(handler: _Handler) -> _Handler:
    """`handler` with the vault's refusals turned into the web floor's errors."""

    @wraps(handler)
    def handle(request: Request, vault: Vault) -> Response:
        try:
            return handler(request, vault)
        except Refused as refused:
            status = REFUSALS[refused.code][0]
            headers = _EXTRA_HEADERS.get(refused.code, ())
            raise ApiError(status, refused.message, code=refused.code, headers=headers) from None

    return handle


def _route(
    method: str,
    path: str,
    handler: _Handler,
    summary: str,
    answer: tuple[str, Mapping[str, Any]],
    codes: str,
    *,
    body: Mapping[str, Any] | None = None,
    auth: str = _TOKEN,
    max_body: int | None = None,
) -> Route:
    """One row; `codes` are the refusals it knows, keys of REFUSALS."""
    answers: dict[int, str | tuple[str, Mapping[str, Any]]] = {200: answer}
    for code in codes.split():
        status, meaning = REFUSALS[code]
        sentence = f"`{code}`: {meaning}"
        earlier = answers.get(status)
        answers[status] = f"{earlier}; {sentence}" if earlier else sentence
    example = messages.EXAMPLES.get(handler.__name__)
    return Route(
        method, path, _refusing(handler), summary, answers, body=body, example=example, auth=auth, max_body=max_body
    )


def _routes(max_body: int) -> tuple[Route, ...]:
    in_repository = "unauthorized not_found forbidden bad_request"
    manifest = ("the manifest", messages.MANIFEST)
    auth, repo = "/api/auth/keypair", "/v1/repos/{repoId}"
    return (
        _route(
            "POST", f"{auth}/challenge", challenge, "Ask for a nonce to sign",
            ("32 random bytes, base64; single use, 2 minutes", messages.NONCE), "bad_request",
            body=messages.CHALLENGE, auth="",
        ),
        _route(
            "POST", f"{auth}/token", token, "Redeem a signed nonce for a bearer token",
            ("a token for an hour; expiresAt in epoch milliseconds", messages.TOKEN), "bad_request unauthorized",
            body=messages.REDEMPTION, auth="",
        ),
        _route(
            "POST", "/v1/repos", create_repo, "createRepo: a repository whose sole member is the caller", manifest,
            "unauthorized bad_request too_large forbidden duplicate_repo quota_exceeded",
            body=messages.CREATE, max_body=max_body,
        ),
        _route(
            "POST", f"{repo}/pull", pull, "pull: the manifest, and the envelope if it is newer than the known version",
            ("manifest and envelope of one moment", messages.PULLED), in_repository, body=messages.PULL,
        ),
        _route(
            "POST", f"{repo}/push", push, "push: replace the envelope, if the expected version is the current one",
            ("accepted, or a conflict with the current numbers", messages.PUSHED),
            f"{in_repository} too_large quota_exceeded policy_denied", body=messages.PUSH, max_body=max_body,
        ),
        _route(
            "POST", f"{repo}/add-member", add_member, "addMember: put a member on the roster", manifest,
            f"{in_repository} conflict too_large quota_exceeded policy_denied", body=messages.ADD_MEMBER,
        ),
        _route(
            "POST", f"{repo}/remove-member", remove_member, "removeMember: new roster, envelope and epoch in one step",
            manifest, f"{in_repository} too_large quota_exceeded policy_denied",
            body=messages.REMOVE_MEMBER, max_body=max_body,
        ),
        _route(
            "GET", f"{repo}/member/{{memberId}}", fetch_member_key, "fetchMemberKey: one member's entry",
            ("the entry", messages.MEMBER_ENTRY), "unauthorized not_found forbidden",
        ),
        _route(
            "GET", "/.well-known/avp", well_known, "The profiles and limits of this vault",
            ("what it speaks", messages.WELL_KNOWN), "", auth="",
        ),
    )  # fmt: skip


def _rendered(error: ApiError) -> dict[str, str]:
    """{`error`, `code`, `detail`?}: avp.md, "Operations"."""
    if not isinstance(error, InvalidRequest):
        return {"error": error.message, "code": error.code}
    value = {"error": error.sentence(), "code": error.code}
    if len(error.errors) > 1:
        sentences = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors)
        value["detail"] = "; ".join(sentences)
    return value


ERRORS = ErrorStyle(_rendered, messages.ERROR)


def mount(context: Context) -> Mount:
    """The vault as the entry configures it."""
    settings = read_settings(SETTINGS, context.environ)
    limit = settings["max_envelope"] * _MIB
    sessions = Sessions(context.store, context.engine, context.clock, context.random_bytes, settings["max_nonces"])
    policy = Policy(settings["max_members"], limit, settings["invites"] == "creator")
    return served(Vault(context.store, sessions, policy, limit, settings["max_repos"]), context.max_body)


def served(vault: Vault, max_body: int) -> Mount:
    """`vault` on its paths; `max_body` is the server's limit for the bodies of other requests."""
    return Mount(
        name="avp",
        version=VERSION,
        title="AVP zero-knowledge vault",
        # Room for the roster beside the largest envelope, whatever the limit for other bodies is.
        routes=_routes(max(max_body, vault.max_envelope + _MIB)),
        state=vault,
        owns=("/api/auth/keypair", "/v1/repos", "/.well-known/avp"),
        errors=ERRORS,
        cors=CORS_ANY_ORIGIN,
        housekeep=vault.sessions.drop_expired,
    )
