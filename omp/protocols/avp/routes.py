"""The AVP routes: the HTTP/JSON profile of AVP 0.4 (§3 to §6).

A handler reads like the section that it serves.  The order of its checks is that of §4.2: the token (401), the
repository (404), membership (403), and only then the body.  createRepo, which has no repository yet, checks the types
of the body (400), the size of the envelope (413), the sole member (403), the size of the manifest (413), the duplicate
(409), the agreement (400), and the number of repositories that the caller has created (429).

Guaranteed (§4.3): the check of an operation and its write are one transaction, which reads the repository and checks
membership again.  So of many pushes with one expectation at most one is accepted (exactly one, if the expectation is
current and that push passes its checks), and a push that races the removal of its sender is refused.  A repository's
row and its envelope are written in one transaction and read in one.  Parsing and encoding happen outside; the tables
hold JSON ready to be sent.

Handled here: tokens, membership, size, quotas, order.  The clients must encrypt, check key bindings, and refuse a
version or an epoch that falls: this server sees neither keys nor plaintext and proves nothing about itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from omp.protocols.avp import schemas
from omp.protocols.avp.repository import (
    DuplicateRepository,
    EpochDiffers,
    InconsistentRequest,
    InvitationDenied,
    MemberKeysDiffer,
    MemberNotFound,
    NotAMember,
    Removal,
    Repository,
    RepositoryNotFound,
    RepositoryTooLarge,
    Roster,
    VaultPolicy,
    VaultQuotaExceeded,
    check_agreement,
    created,
    digest_of,
    encoded,
    pushed,
    removal_identity,
    with_member,
    without_member,
)
from omp.protocols.avp.sessions import MalformedKey, Sessions, UnprovenCaller
from omp.rules.encodings import EncodingError, b64_decode, b64_encode
from omp.store.port import Store, Writer, key, required
from omp.web.errors import ApiError, ErrorStyle, InvalidRequest, Refusal, Refusals
from omp.web.messages import Request, Response, Scheme, json_response
from omp.web.routes import Answer, Route

VERSION = "0.4"
MAX_LOGIN_BODY = 16 * 1024
"""Bytes of the bodies that anybody may send (§7): they need about 200, and unknown members may come along."""

REPOSITORIES = "avp_repositories"  # repoId -> Repository.row()
ENVELOPES = "avp_envelopes"  # repoId -> the envelope's JSON
CREATORS = "avp_creators"  # member id -> how many repositories it created (8 bytes)


class Vault:
    """What the handlers share: the store, the sessions, and what this server allows (§7)."""

    def __init__(
        self, store: Store, sessions: Sessions, policy: VaultPolicy, max_envelope: int, max_repos: int
    ) -> None:
        self.store = store
        self.sessions = sessions
        self.policy = policy
        self.max_envelope = max_envelope
        self.max_repos = max_repos


# --- What every operation begins with (§4.2) ------------------------------------------------------------------


def _caller(request: Request, vault: Vault) -> str:
    return vault.sessions.member(request.headers.get("authorization", ""))


def check_head(request: Request, vault: Vault) -> None:
    """Refuse a request without a good token before its body, which may be long, is read (401)."""
    if request.path.startswith("/v1/repos"):
        _caller(request, vault)


def _found(row: bytes | None) -> Repository:
    if row is None:
        raise RepositoryNotFound("There is no repository with this id.")
    return Repository.of_row(row)


def _admitted(row: bytes | None, caller: bytes) -> Repository:
    """The repository in `row`, if there is one (404) and the caller is a member of it (403)."""
    repository = _found(row)
    if not repository.roster.holds(caller):
        raise NotAMember("The caller is not a member of this repository.")
    return repository


def _body_about(request: Request) -> Any:
    """The body, if its types are right and it is about the repository in the path (400)."""
    body = request.valid_body()
    if body["repoId"] != request.params["repoId"]:
        raise InconsistentRequest("The repoId of the body must be that of the path.")
    return body


def _envelope_in(request: Request, body: Any, name: str, limit: int) -> Any:
    """The envelope in the member `name` of `body`, the parsed body of `request`, if it is not too large (413)."""
    if len(request.body) > limit and schemas.size_as_received(request.body, name) > limit:
        raise RepositoryTooLarge(f"An envelope may have {limit} bytes here.")
    return body[name]


def _envelope_about(request: Request, body: Any, name: str, limit: int) -> Any:
    """The same, for a write after createRepo: it must also be about the repository in the path (400)."""
    envelope = _envelope_in(request, body, name, limit)
    if envelope["repoId"] != request.params["repoId"]:
        raise InconsistentRequest(f"The repoId of {name} must be that of the path.")
    return envelope


def _raw_key(text: str) -> bytes:
    try:
        raw = b64_decode(text)
    except EncodingError:
        raw = b""
    if len(raw) != 32:
        raise MalformedKey("ed25519PublicKey must be the base64, with + and / and padding, of a 32-byte key.")
    return raw


def _raw_or_nothing(text: str) -> bytes:
    """The bytes of a nonce or a signature; text that is not base64 is no bytes, which prove nothing (401, not 400)."""
    try:
        return b64_decode(text)
    except EncodingError:
        return b""


# --- The operations -------------------------------------------------------------------------------------------


def challenge(request: Request, vault: Vault) -> Response:
    """§3.1, POST /api/auth/keypair/challenge."""
    public_key = _raw_key(request.valid_body()["ed25519PublicKey"])
    return json_response({"nonce": b64_encode(vault.sessions.challenge(public_key))})


def token(request: Request, vault: Vault) -> Response:
    """§3.2, POST /api/auth/keypair/token: the signature is over the decoded nonce; any attempt uses the nonce up."""
    body = request.valid_body()
    nonce, signature = _raw_or_nothing(body["nonce"]), _raw_or_nothing(body["signature"])
    try:
        public_key = _raw_key(body["ed25519PublicKey"])
    except MalformedKey:
        vault.sessions.discard(nonce)
        raise
    text, expires_at = vault.sessions.redeem(public_key, nonce, signature)
    return json_response({"token": text, "expiresAt": expires_at})


def create_repo(request: Request, vault: Vault) -> Response:
    """§4.4, POST /v1/repos."""
    caller_id = _caller(request, vault)
    body = request.valid_body()
    manifest = body["manifest"]
    envelope = _envelope_in(request, body, "initialEnvelope", vault.max_envelope)
    if [entry["ed25519PublicKey"] for entry in manifest["members"]] != [caller_id]:
        raise NotAMember("The caller must be the sole member of a new repository.")
    repository, sealed = created(manifest, digest_of(caller_id), vault.policy), encoded(envelope)
    row_key, count_key = key(manifest["repoId"]), key(caller_id)
    with vault.store.write() as tx:
        if tx.get(REPOSITORIES, row_key) is not None:
            raise DuplicateRepository("A repository with this id exists.")
        check_agreement(manifest, envelope)
        # The count is in the same transaction: of two creations at once only one can be the last that is allowed.
        count = int.from_bytes(tx.get(CREATORS, count_key) or b"", "big")
        if count >= vault.max_repos:
            raise VaultQuotaExceeded(f"A member may create {vault.max_repos} repositories here.")
        tx.put(CREATORS, count_key, (count + 1).to_bytes(8, "big"))
        _keep(tx, row_key, repository, sealed)
    return Response(200, repository.manifest())


def pull(request: Request, vault: Vault) -> Response:
    """§4.5, POST /v1/repos/{repoId}/pull."""
    caller = digest_of(_caller(request, vault))
    row_key = key(request.params["repoId"])
    repository = _admitted(vault.store.get(REPOSITORIES, row_key), caller)
    known = _body_about(request)["knownPayloadVersion"]
    if known == repository.version:
        return Response(200, b'{"manifest":%b,"envelope":null,"unchanged":true}' % repository.manifest())
    with vault.store.read() as tx:  # manifest and envelope of one moment
        manifest = _admitted(tx.get(REPOSITORIES, row_key), caller).manifest()
        envelope = required(tx, ENVELOPES, row_key)  # createRepo writes both
    return Response(200, b'{"manifest":%b,"envelope":%b,"unchanged":false}' % (manifest, envelope))


def push(request: Request, vault: Vault) -> Response:
    """§4.6, POST /v1/repos/{repoId}/push: a stale expectation is an answer, not an error."""
    caller = digest_of(_caller(request, vault))
    row_key = key(request.params["repoId"])
    _admitted(vault.store.get(REPOSITORIES, row_key), caller)  # and once more in the transaction (§4.3)
    body = _body_about(request)
    envelope = _envelope_about(request, body, "envelope", vault.max_envelope)
    rotated = body.get("rotatedMembers")
    roster = None if rotated is None else Roster.of(rotated)
    sealed, expected = encoded(envelope), body["expectedPayloadVersion"]
    with vault.store.write() as tx:
        repository = _admitted(tx.get(REPOSITORIES, row_key), caller)
        # A stale expectation comes before whatever else is wrong with the write: the client has to pull anyway.
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
    """§4.7, POST /v1/repos/{repoId}/add-member: a repeated request changes nothing."""
    caller = digest_of(_caller(request, vault))
    row_key = key(request.params["repoId"])
    _admitted(vault.store.get(REPOSITORIES, row_key), caller)
    entry = _body_about(request)["member"]
    added = Roster.of([entry])
    with vault.store.write() as tx:
        before = _admitted(tx.get(REPOSITORIES, row_key), caller)
        repository = with_member(before, added, entry["keyEpoch"], caller, vault.policy)
        if repository is not before:
            _keep(tx, row_key, repository, None)
    return Response(200, repository.manifest())


def remove_member(request: Request, vault: Vault) -> Response:
    """§4.8, POST /v1/repos/{repoId}/remove-member: one step; the last write, repeated, gives its answer again."""
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
    """As :func:`_admitted`; but a member that removed itself and missed the answer may repeat the request."""
    repository = _found(row)
    return repository if repository.removal == identity else _admitted(row, caller)


def fetch_member_key(request: Request, vault: Vault) -> Response:
    """§4.9, GET /v1/repos/{repoId}/member/{memberId}."""
    caller = digest_of(_caller(request, vault))
    repository = _admitted(vault.store.get(REPOSITORIES, key(request.params["repoId"])), caller)
    entry = repository.roster.entry(request.params["memberId"])
    if entry is None:
        raise MemberNotFound("There is no such member of this repository.")
    return Response(200, encoded(entry))


def well_known(request: Request, vault: Vault) -> Response:
    """§5, GET /.well-known/avp: what this server speaks, and how much it keeps."""
    limits = {
        "maxEnvelopeBytes": vault.max_envelope,
        "maxMembers": vault.policy.max_members,
        "maxReposPerCreator": vault.max_repos,
    }
    return json_response({"profiles": ["http-json"], "protocolVersion": VERSION, "limits": limits})


def _keep(tx: Writer, row_key: bytes, repository: Repository, sealed: bytes | None) -> None:
    """Write a repository, and its envelope where there is a new one."""
    tx.put(REPOSITORIES, row_key, repository.row())
    if sealed is not None:
        tx.put(ENVELOPES, row_key, sealed)


# --- The route table ------------------------------------------------------------------------------------------

_TOKEN = "Authorization: Bearer <token>, from POST /api/auth/keypair/token"  # noqa: S105 - says what to send

_Handler = Callable[[Request, Vault], Response]


def _route(
    method: str,
    path: str,
    handler: _Handler,
    summary: str,
    answer: tuple[str, Mapping[str, Any]],
    codes: str,
    *,
    body: Mapping[str, Any] | None = None,
    name: str,
    auth: str = _TOKEN,
    max_body: int | None = None,
) -> Route:
    """One row; `codes` are the error codes it may answer, keys of MEANINGS."""
    answers: dict[int, Answer] = {200: answer}
    for code in codes.split():
        status, meaning = schemas.MEANINGS[code]
        sentence = f"`{code}`: {meaning}"
        earlier = answers.get(status)
        answers[status] = f"{earlier}; {sentence}" if earlier else sentence
    example = schemas.EXAMPLES.get(handler.__name__)
    return Route(
        method, path, handler, summary, answers, body=body, example=example, auth=auth, max_body=max_body, name=name
    )


def routes(max_body: int) -> tuple[Route, ...]:
    """The route table; `max_body` (bytes) bounds the bodies that hold an envelope."""
    in_repository = "unauthorized not_found forbidden bad_request"
    manifest = ("the manifest", schemas.MANIFEST)
    auth, repo = "/api/auth/keypair", "/v1/repos/{repoId}"
    return (
        _route(
            "POST", f"{auth}/challenge", challenge, "Ask for a nonce to sign",
            ("32 random bytes, base64; single use, 2 minutes", schemas.NONCE), "bad_request",
            body=schemas.CHALLENGE, auth="", max_body=MAX_LOGIN_BODY,
            name="requestChallenge",
        ),
        _route(
            "POST", f"{auth}/token", token, "Redeem a signed nonce for a bearer token",
            ("a token for an hour; expiresAt in epoch milliseconds", schemas.TOKEN), "bad_request unauthorized",
            body=schemas.REDEMPTION, auth="", max_body=MAX_LOGIN_BODY,
            name="redeemChallenge",
        ),
        _route(
            "POST", "/v1/repos", create_repo, "createRepo: a repository whose sole member is the caller", manifest,
            "unauthorized bad_request too_large forbidden duplicate_repo quota_exceeded",
            body=schemas.CREATE, max_body=max_body,
            name="createRepo",
        ),
        _route(
            "POST", f"{repo}/pull", pull, "pull: the manifest, and the envelope if it is newer than the known version",
            ("manifest and envelope of one moment", schemas.PULLED), in_repository, body=schemas.PULL,
            name="pullRepo",
        ),
        _route(
            "POST", f"{repo}/push", push, "push: replace the envelope, if the expected version is the current one",
            ("accepted, or a conflict with the current numbers", schemas.PUSHED),
            f"{in_repository} too_large quota_exceeded policy_denied", body=schemas.PUSH, max_body=max_body,
            name="pushRepo",
        ),
        _route(
            "POST", f"{repo}/add-member", add_member, "addMember: put a member on the roster", manifest,
            f"{in_repository} conflict too_large quota_exceeded policy_denied", body=schemas.ADD_MEMBER,
            name="addMember",
        ),
        _route(
            "POST", f"{repo}/remove-member", remove_member, "removeMember: new roster, envelope and epoch in one step",
            manifest, f"{in_repository} too_large quota_exceeded policy_denied",
            body=schemas.REMOVE_MEMBER, max_body=max_body,
            name="removeMember",
        ),
        _route(
            "GET", f"{repo}/member/{{memberId}}", fetch_member_key, "fetchMemberKey: one member's entry",
            ("the entry", schemas.MEMBER_ENTRY), "unauthorized not_found forbidden",
            name="fetchMemberKey",
        ),
        _route(
            "GET", "/.well-known/avp", well_known, "The profiles and limits of this vault",
            ("what it speaks", schemas.WELL_KNOWN), "", auth="",
            name="describeVault",
        ),
    )  # fmt: skip


def _rendered(error: ApiError) -> dict[str, str]:
    """{`error`, `code`, `detail`?} (§6)."""
    if not isinstance(error, InvalidRequest):
        return {"error": error.message, "code": error.code}
    value = {"error": error.sentences[0], "code": error.code}
    if len(error.sentences) > 1:
        value["detail"] = "; ".join(error.sentences)
    return value


ERRORS = ErrorStyle(_rendered, schemas.ERROR, name="VaultError")

SCHEMES = {
    "vaultToken": Scheme(
        {"type": "http", "scheme": "bearer", "description": "The token from POST /api/auth/keypair/token (avp §3.2)."}
    )
}
ACCESS = {_TOKEN: ("vaultToken",)}
"""How a caller is known, for OpenAPI."""


_QUOTA_RETRY = "3600"  # seconds; nothing frees a place by itself, and an hour keeps clients from hammering

REFUSALS: Refusals = {
    InconsistentRequest: Refusal(400, code="bad_request"),
    MalformedKey: Refusal(400, code="bad_request"),
    UnprovenCaller: Refusal(401, code="unauthorized", headers=lambda error: (("WWW-Authenticate", "Bearer"),)),
    NotAMember: Refusal(403, code="forbidden"),
    InvitationDenied: Refusal(403, code="policy_denied"),
    RepositoryNotFound: Refusal(404, code="not_found"),
    MemberNotFound: Refusal(404, code="not_found"),
    MemberKeysDiffer: Refusal(409, code="conflict"),
    EpochDiffers: Refusal(409, code="conflict"),
    DuplicateRepository: Refusal(409, code="duplicate_repo"),
    RepositoryTooLarge: Refusal(413, code="too_large"),
    VaultQuotaExceeded: Refusal(429, code="quota_exceeded", headers=lambda error: (("Retry-After", _QUOTA_RETRY),)),
}
"""§6: what the models raise -> how it is answered; the message is the exception's text."""
