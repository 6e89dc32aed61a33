"""The routes of MRS 0.5: the handlers in the order of the specification, the refusals, and the table (§3 to §12).

A handler reads like the document: who asks, what they ask for, what becomes of it.  Who asks comes first where it
matters at all: a stranger learns nothing about what would be a right body.  The models below raise exceptions that know
nothing of HTTP; :data:`REFUSALS` says how each of them is answered.  Errors are ``{"detail": …}``, and a body that does
not fit its schema is 400 (§13).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from omp.protocols.mrs import schemas
from omp.protocols.mrs.accounts import (
    Login,
    NameUnavailable,
    OwnsRegistrations,
    TooManyAccounts,
    TooManyFailures,
    TooManyLogins,
    WrongCredentials,
)
from omp.protocols.mrs.geometry import GeometryError
from omp.protocols.mrs.identity import (
    Identity,
    MalformedSignature,
    NotAuthenticated,
    NotTheOperator,
    require_admin,
)
from omp.protocols.mrs.imports import BadImport
from omp.protocols.mrs.keys import NoServerKey, NoSuchKey, TooManyKeys, described, key_bytes
from omp.protocols.mrs.peers import BadPeer, NoSuchPeer, read_peer
from omp.protocols.mrs.registration import BadRegistration, Claim, read_claim, read_point, result_text
from omp.protocols.mrs.registry import (
    PLACE,
    BadSince,
    IdenticalRegistration,
    NoFreeId,
    NoSuchRegistration,
    NotTheOwner,
    OriginatedElsewhere,
    TooManyRegistrations,
    read_since,
)
from omp.protocols.mrs.searching import find
from omp.protocols.mrs.service import HALF_WAY_ROUND, Mrs, service
from omp.protocols.mrs.whitelist import BadAddress, NoSuchAddress, NotWhitelisted
from omp.rules.schema import record
from omp.web.errors import DETAIL_ERRORS, ApiError, ErrorStyle, Refusal, Refusals
from omp.web.messages import (
    JSON,
    OPERATOR,
    OPERATOR_ACCESS,
    OPERATOR_SCHEMES,
    BadCursor,
    Request,
    Response,
    Scheme,
    decode_cursor,
    encode_cursor,
    json_bytes,
    json_response,
    next_link,
)
from omp.web.routes import CORS_ANY_ORIGIN, Context, Mount, Route

_KEY_ID = re.compile("[A-Za-z0-9._-]{1,64}", re.ASCII)


# --- registrations (§4) ---------------------------------------------------------------------------------------------


def register(request: Request, mrs: Mrs) -> Response:
    """``POST /register`` (§4.3); with `id` it updates, as ``PUT`` does (§4.4)."""
    identity = mrs.authenticator.identify(request)
    body = request.valid_body()
    claim = _claim(mrs, body)
    if "id" in body:
        return _updated(mrs, identity, body["id"], claim)
    text = mrs.registry.register(identity.id, claim)
    return Response(201, b'{"status":"registered","registration":%b}' % text, JSON)


def update(request: Request, mrs: Mrs) -> Response:
    """``PUT /register/{id}`` (§4.4)."""
    identity = mrs.authenticator.identify(request)
    body = request.valid_body()
    if body.get("id", request.params["id"]) != request.params["id"]:
        raise ApiError(400, "id: the body and the path name different registrations.")
    return _updated(mrs, identity, request.params["id"], _claim(mrs, body))


def _claim(mrs: Mrs, body: Any) -> Claim:
    """The claim in a body, if its space is no larger than this server takes (§5.9)."""
    claim = read_claim(body)
    most = mrs.settings["max_radius"]
    if min(claim.geometry.reach, HALF_WAY_ROUND) > most:
        raise ApiError(400, f"space: it must not reach farther than {most:,} metres from its middle")
    return claim


def _updated(mrs: Mrs, identity: Identity, name: str, claim: Claim) -> Response:
    text = mrs.registry.update(identity.id, name, claim)
    return Response(200, b'{"status":"updated","registration":%b}' % text, JSON)


def release(request: Request, mrs: Mrs) -> Response:
    """``POST /release`` (§4.5)."""
    identity = mrs.authenticator.identify(request)
    name = request.valid_body()["id"]
    mrs.registry.release(identity.id, name)
    return json_response({"status": "released", "id": name})


_OWN = "own registrations"


def own_registrations(request: Request, mrs: Mrs) -> Response:
    """``GET /registrations`` and ``GET /auth/me/registrations`` (§4.6)."""
    owner = mrs.authenticator.identify(request).id
    cursor = request.valid_query()["cursor"]
    texts, last = mrs.registry.of_owner(owner, decode_cursor(cursor, _OWN, PLACE) if cursor else b"")
    body = b'{"registrations":[%b]}' % b",".join(texts)
    if last is None:
        return Response(200, body, JSON)
    cursor = encode_cursor(last, _OWN)
    body = b'%b,"next_cursor":%b}' % (body[:-1], json_bytes(cursor))
    return Response(200, body, JSON, [next_link(request.path, {}, cursor)])


# --- searching and well-known documents (§6, §8) --------------------------------------------------------------------


def search(request: Request, mrs: Mrs) -> Response:
    """``POST /search`` (§6)."""
    body = request.valid_body()
    point, _ = read_point(body["location"], "location")
    within = body["range"]
    if within > mrs.settings["max_radius"]:
        raise ApiError(400, f"range must be at most {mrs.settings['max_radius']:,} metres")
    found = find(mrs.store, point, within, mrs.settings["max_results"])
    # Records hold JSON text: an answer is joined from them, and nothing is parsed or serialized.
    results = b",".join([result_text(record, metres) for _, metres, _, record in found.hits])
    referrals = b",".join(mrs.peers.referrals(point, within))
    more = b',"truncated":true' if found.truncated else b""
    return Response(200, b'{"status":"ok","results":[%b],"referrals":[%b]%b}' % (results, referrals, more), JSON)


def well_known(request: Request, mrs: Mrs) -> Response:
    """``GET /.well-known/mrs`` (§8.1)."""
    known = b",".join(peer.referral for peer in mrs.peers.known())
    about = {
        "mrs_version": schemas.VERSION,
        "server": mrs.settings["url"],
        "operator": mrs.settings["admin_email"],
        "authoritative_regions": list(mrs.settings["regions"]),
        "capabilities": {"geometry_types": list(schemas.SPACE_TYPES), "max_radius": mrs.settings["max_radius"]},
    }
    return Response(200, b'%b,"known_peers":[%b]}' % (json_bytes(about)[:-1], known), JSON)


def key_document(request: Request, mrs: Mrs) -> Response:
    """``GET /.well-known/mrs/keys/{identity}`` (§8.2); ``user@domain`` is accepted for a ``user`` of this domain."""
    owner = request.params["identity"].removesuffix(f"@{mrs.settings['domain']}")
    return json_response(mrs.ring.document(owner))


# --- accounts and their keys (§3, §8.3) -----------------------------------------------------------------------------


def _token_response(token: Login, status: int) -> Response:
    return json_response(token._asdict(), status, [("Cache-Control", "no-store")])


def create_account(request: Request, mrs: Mrs) -> Response:
    """``POST /auth/register`` (§3.1); the operator may make accounts that nobody else may (§3.6)."""
    body = request.valid_body()
    by_operator = request.is_by_the_operator(mrs.settings["admin_token"])
    login = mrs.accounts.register(
        body["username"], body["password"], body.get("email"), request.client, by_operator=by_operator
    )
    return _token_response(login, 201)


def login(request: Request, mrs: Mrs) -> Response:
    """``POST /auth/login`` (§3.2)."""
    body = request.valid_body()
    return _token_response(mrs.accounts.login(body["username"], body["password"], request.client), 200)


def me(request: Request, mrs: Mrs) -> Response:
    """``GET /auth/me`` (§3.4): for an identity of another server no account is kept, so `created_at` is null."""
    identity = mrs.authenticator.identify(request)
    account = mrs.accounts.account(identity.username) if identity.username else None
    created = account["created_at"] if account else None
    return json_response({"id": identity.id, "created_at": created, "is_local": identity.username is not None})


def publish_key(request: Request, mrs: Mrs) -> Response:
    """``PUT /auth/me/keys/{key_id}`` (§8.3)."""
    username = _local_user(request, mrs)
    body = request.valid_body()
    public_key = key_bytes(body["public_key"])
    if public_key is None:
        raise ApiError(400, "public_key must be an Ed25519 public key: 32 bytes in base64")
    expires = body.get("expires")
    if expires is not None and schemas.epoch_of(expires) is None:
        raise ApiError(400, "expires must be an ISO 8601 time, e.g. 2027-01-01T00:00:00Z")
    return json_response(described(mrs.ring.publish(username, _key_id(request), public_key, expires)))


def deprecate_key(request: Request, mrs: Mrs) -> Response:
    """``DELETE /auth/me/keys/{key_id}`` (§8.3)."""
    username = _local_user(request, mrs)
    return json_response(described(mrs.ring.deprecate(username, _key_id(request))))


def _local_user(request: Request, mrs: Mrs) -> str:
    username = mrs.authenticator.identify(request).username
    if username is None:
        raise ApiError(403, "Keys are published on the server that manages the identity.")
    return username


def _key_id(request: Request) -> str:
    key_id = request.params["key_id"]
    if not _KEY_ID.fullmatch(key_id):
        raise ApiError(400, "key_id must have 1 to 64 letters, digits or . _ -")
    return key_id


# --- what other servers ask (§11) -----------------------------------------------------------------------------------


def snapshot(request: Request, mrs: Mrs) -> Response:
    """``GET /sync/snapshot``: every registration once, in the order of the ids; `next_cursor` is null at the end."""
    query = request.valid_query()
    texts, cursor = mrs.registry.snapshot(query["cursor"], query["limit"])
    body = b'{"status":"ok","registrations":[%b],"next_cursor":%b}' % (b",".join(texts), json_bytes(cursor))
    return Response(200, body, JSON)


def changes(request: Request, mrs: Mrs) -> Response:
    """``GET /sync/changes``: what changed since; `next_cursor` is where to go on, also when nothing has changed."""
    query = request.valid_query()
    page = mrs.registry.changes(read_since(query["since"]), query["limit"])
    return Response(
        200,
        b'{"status":"ok","registrations":[%b],"tombstones":[%b],"next_cursor":"%d"}'
        % (b",".join(page.registrations), b",".join(page.tombstones), page.last),
        JSON,
    )


# --- what the operator asks (§7, §12) -------------------------------------------------------------------------------


def list_peers(request: Request, mrs: Mrs) -> Response:
    """``GET /admin/peers`` (§12.2)."""
    require_admin(request, mrs.settings["admin_token"])
    with mrs.store.read() as tx:
        return json_response({"peers": mrs.peers.listed(tx)})


def change_peers(request: Request, mrs: Mrs) -> Response:
    """``POST /admin/peers`` (§12.2)."""
    require_admin(request, mrs.settings["admin_token"])
    body = request.valid_body()
    peer = read_peer(body, is_configured=True)
    url = peer["server_url"]
    if body["action"] == "remove":
        mrs.peers.remove(url)
        return json_response({"status": "removed", "server_url": url})
    if url == mrs.settings["url"]:
        raise ApiError(400, "server_url is this server itself, and it never refers to itself")
    mrs.peers.add([peer])
    return json_response({"status": "added", "server_url": url})


def list_emails(request: Request, mrs: Mrs) -> Response:
    """``GET /admin/whitelist`` (§12.5)."""
    require_admin(request, mrs.settings["admin_token"])
    return json_response({"emails": mrs.whitelist.listed()})


def add_emails(request: Request, mrs: Mrs) -> Response:
    """``POST /admin/whitelist`` (§12.5)."""
    require_admin(request, mrs.settings["admin_token"])
    body = request.valid_body()
    single = [body["email"]] if "email" in body else []
    return json_response({"status": "added", "added": mrs.whitelist.add([*single, *body.get("emails", ())])}, 201)


def remove_email(request: Request, mrs: Mrs) -> Response:
    """``DELETE /admin/whitelist/{email}`` (§12.5)."""
    require_admin(request, mrs.settings["admin_token"])
    return json_response({"status": "removed", "email": mrs.whitelist.remove(request.params["email"])})


def export(request: Request, mrs: Mrs) -> Response:
    """``GET /admin/export`` (§12.3)."""
    require_admin(request, mrs.settings["admin_token"])
    return Response(200, mrs.export_text(), JSON)


def import_document(request: Request, mrs: Mrs) -> Response:
    """``POST /admin/import`` (§12.4)."""
    require_admin(request, mrs.settings["admin_token"])
    return json_response({"status": "imported", **mrs.take_in(request.json())})


# --- how refusals are answered (§13) --------------------------------------------------------------------------------


def _challenge(error: Exception) -> Sequence[tuple[str, str]]:
    return [("WWW-Authenticate", "Bearer")]  # RFC 9110 §15.5.2: a 401 bears a challenge


_NOT_AUTHORITATIVE = "not_authoritative"


def _origin(error: OriginatedElsewhere) -> Mapping[str, str]:
    """Where to ask instead (§4.4): for programs, and as a sentence."""
    return {
        "error": _NOT_AUTHORITATIVE,
        "origin_server": error.origin_server,
        "origin_id": error.origin_id,
        "message": str(error),
    }


def _rendered(error: ApiError) -> Any:
    return {"detail": error.details} if error.code == _NOT_AUTHORITATIVE else DETAIL_ERRORS.render(error)


ERRORS = ErrorStyle(
    _rendered,
    record(
        "An error.",
        {
            "detail": {
                "type": ["string", "object"],
                "description": "what was wrong, and what would be right; an object where another server is to be asked "
                "(mrs §4.4)",
            }
        },
    ),
)
"""``{"detail": …}``: one sentence, or an object where the registration is another server's."""

REFUSALS: Refusals = {
    GeometryError: Refusal(400),
    BadRegistration: Refusal(400),
    BadPeer: Refusal(400),
    BadImport: Refusal(400),
    BadAddress: Refusal(400),
    BadSince: Refusal(400),
    BadCursor: Refusal(400, "cursor must be a next_cursor of this list, unchanged."),
    NameUnavailable: Refusal(400),
    MalformedSignature: Refusal(400),
    NotAuthenticated: Refusal(401, headers=_challenge),
    WrongCredentials: Refusal(401, headers=_challenge),
    NotTheOwner: Refusal(403),
    NotTheOperator: Refusal(403),
    NotWhitelisted: Refusal(403),
    NoSuchRegistration: Refusal(404),
    NoSuchKey: Refusal(404),
    NoSuchPeer: Refusal(404),
    NoSuchAddress: Refusal(404),
    OwnsRegistrations: Refusal(409),
    IdenticalRegistration: Refusal(409),
    OriginatedElsewhere: Refusal(409, code=_NOT_AUTHORITATIVE, details=_origin),
    TooManyKeys: Refusal(409),
    TooManyRegistrations: Refusal(429),
    TooManyFailures: Refusal(429, headers=lambda error: [("Retry-After", str(error.seconds))]),
    TooManyAccounts: Refusal(429, headers=lambda error: [("Retry-After", str(error.seconds))]),
    TooManyLogins: Refusal(503, headers=lambda error: [("Retry-After", "5")]),
    NoServerKey: Refusal(503),
    NoFreeId: Refusal(503),
}


# --- the table ------------------------------------------------------------------------------------------------------

# In words, for /openapi.json and the docs page.
_USER = "bearer token, or HTTP signature with MRS-Identity"
_NO_USER = "no bearer token or HTTP signature that verifies"
_NO_ADMIN = "not the operator"
_MARK = {"username": "mark", "password": "secret"}
_INCOMPLETE = ("OMP-Incomplete",)
"""The header field of a list that can leave out damaged rows (omp §8.1)."""
_CHANGE_REFUSALS = {
    400: "the space, the service point or another member is wrong",
    401: _NO_USER,
    403: "somebody else's registration",
    404: "no such registration",
    409: "an identical registration of yours, or one that originated on another server",
}

ROUTES = (
    Route("POST", "/register", register, "Register a space, or with id update a registration",
          {201: ("registered", schemas.REGISTERED), 200: ("updated", schemas.REGISTERED), **_CHANGE_REFUSALS,
           429: "as many registrations as one user may make"},
          body=schemas.NEW_REGISTRATION, example=schemas.PLACE, auth=_USER, name="registerPlace"),
    Route("PUT", "/register/{id}", update, "Update a registration",
          {200: ("updated", schemas.REGISTERED), **_CHANGE_REFUSALS},
          body=schemas.REGISTRATION_CHANGE, example=schemas.PLACE, auth=_USER, name="updateRegistration"),
    Route("POST", "/release", release, "Release a registration",
          {200: ("released", schemas.RELEASED), **_CHANGE_REFUSALS},
          body=schemas.ID_ONLY, example={"id": "reg_a1b2c3d4e5f6"}, auth=_USER, name="releaseRegistration"),
    Route("POST", "/search", search, "Find what is around a point, smallest first, and servers that may know more",
          {200: ("found", schemas.FOUND, _INCOMPLETE), 400: "the location or the range is wrong"},
          body=schemas.SEARCH, example={"location": {"lat": -33.8568, "lon": 151.2153, "ele": 0}, "range": 100},
          name="searchPlaces"),
    Route("GET", "/.well-known/mrs", well_known, "What this server is, and whom it knows",
          {200: ("about this server", schemas.ABOUT, _INCOMPLETE)}, name="describeRegistry"),
    Route("GET", "/.well-known/mrs/keys/{identity}", key_document, "The public keys of a user or the server (_server)",
          {200: ("one key, or a list", schemas.KEY_DOCUMENT), 404: "no published keys",
           503: "the server has no key of its own: the package cryptography is missing"}, name="getKeys"),
    Route("POST", "/auth/register", create_account, "Make an account",
          {201: ("made and logged in", schemas.TOKEN), 400: "a bad name or password, or the name is taken",
           403: "the server asks for a listed e-mail address, and this is none",
           409: "registrations of this name were imported: the operator alone makes the account",
           429: "ten attempts within a minute from this address", 503: "too many passwords at once"},
          body=schemas.ACCOUNT, example=_MARK, name="createAccount"),
    Route("POST", "/auth/login", login, "Log in",
          {200: ("logged in", schemas.TOKEN), 400: "no such members", 401: "wrong",
           429: "ten failures within a minute for this user or address", 503: "too many passwords at once"},
          body=schemas.LOGIN, example=_MARK, name="logIn"),
    Route("GET", "/auth/me", me, "Who is calling", {200: ("the caller", schemas.WHO), 401: _NO_USER}, auth=_USER,
          name="whoAmI"),
    Route("PUT", "/auth/me/keys/{key_id}", publish_key, "Publish a public key",
          {200: ("published", schemas.PUBLISHED), 400: "no Ed25519 public key, or a bad time or key id", 401: _NO_USER,
           403: "an identity of another server", 409: "too many keys"},
          body=schemas.KEY, example={"public_key": "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="}, auth=_USER,
          name="publishKey"),
    Route("DELETE", "/auth/me/keys/{key_id}", deprecate_key, "Deprecate a published key",
          {200: ("deprecated", schemas.PUBLISHED), 400: "a bad key id", 401: _NO_USER,
           403: "an identity of another server", 404: "no such key"}, auth=_USER, name="deprecateKey"),
    *(Route("GET", path, own_registrations, "The caller's registrations",
            {200: ("oldest first; next_cursor leads to the next page, if there is one", schemas.OWN,
                  ("Link", *_INCOMPLETE)),
             400: "a bad cursor", 401: _NO_USER}, auth=_USER,
            query=schemas.OWN_QUERY, name=name)
      for path, name in (("/registrations", "listRegistrations"), ("/auth/me/registrations", "listMyRegistrations"))),
    Route("GET", "/admin/peers", list_peers, "The known peers",
          {200: ("configured ones first", schemas.PEERS, _INCOMPLETE), 403: _NO_ADMIN}, auth=OPERATOR,
          name="listPeers"),
    Route("POST", "/admin/peers", change_peers, "Add or remove a peer",
          {200: ("done", schemas.PEER_CHANGED), 400: "no such address", 403: _NO_ADMIN, 404: "no such peer"},
          body=schemas.PEER_CHANGE, auth=OPERATOR,
          example={"action": "add", "server_url": "https://sydney.mrs.example", "hint": "Sydney metropolitan area"},
          name="changePeer"),
    Route("GET", "/admin/whitelist", list_emails, "Who may make an account, where the server asks for a listed address",
          {200: ("all addresses", schemas.WHITELISTED, _INCOMPLETE), 403: _NO_ADMIN}, auth=OPERATOR,
          name="listWhitelist"),
    Route("POST", "/admin/whitelist", add_emails, "List e-mail addresses",
          {201: ("how many were not listed before", schemas.EMAILS_ADDED), 400: "no address: none was listed",
           403: _NO_ADMIN},
          body=schemas.EMAILS, example={"email": "mark@example.com"}, auth=OPERATOR, name="addToWhitelist"),
    Route("DELETE", "/admin/whitelist/{email}", remove_email, "Take an e-mail address from the list",
          {200: ("removed", schemas.EMAIL_REMOVED), 403: _NO_ADMIN, 404: "it is not listed"}, auth=OPERATOR,
          name="removeFromWhitelist"),
    Route("GET", "/admin/export", export, "All registrations, tombstones and peers",
          {200: ("the document", schemas.EXPORT, _INCOMPLETE), 403: _NO_ADMIN}, auth=OPERATOR, name="exportRegistry"),
    Route("POST", "/admin/import", import_document, "Take in what another server exported, or nothing",
          {200: ("how much it held", schemas.IMPORTED), 400: "a bad entry or list: nothing changed", 403: _NO_ADMIN},
          body=schemas.IMPORT, example={"registrations": [], "tombstones": [], "peers": []}, auth=OPERATOR,
          name="importRegistry"),
    Route("GET", "/sync/snapshot", snapshot, "All registrations, page by page",
          {200: ("a page; next_cursor is null on the last", schemas.SNAPSHOT, _INCOMPLETE), 400: "a bad limit"},
          query=schemas.SNAPSHOT_QUERY, name="getSnapshot"),
    Route("GET", "/sync/changes", changes, "What has changed since a cursor or a time",
          {200: ("a page, oldest changes first", schemas.CHANGES, _INCOMPLETE), 400: "a bad since or limit"},
          query=schemas.CHANGES_QUERY, name="getChanges"),
)  # fmt: skip


_EXPOSED = (("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate, Allow, OMP-Incomplete"),)
"""What a page of another origin may read of an answer, beside what it always may (§1.2)."""


SCHEMES = {
    "mrsToken": Scheme(
        {"type": "http", "scheme": "bearer", "description": "The token of a user of this server (mrs §3)."}
    ),
    "mrsSignature": Scheme(
        {"type": "apiKey", "in": "header", "name": "Signature",
         "description": "RFC 9421, by a key that the server of MRS-Identity publishes (mrs §9)."},
        fields=("Signature-Input", "Content-Digest", "MRS-Identity"),
    ),
    **OPERATOR_SCHEMES,
}  # fmt: skip
ACCESS = {_USER: ("mrsToken", "mrsSignature"), **OPERATOR_ACCESS}
"""How a caller is known, for OpenAPI."""


def check_head(request: Request, mrs: Mrs) -> None:
    """Refuse whom the head alone shows to be a stranger, before a body is read."""
    if request.route.auth == OPERATOR:
        require_admin(request, mrs.settings["admin_token"])
    elif request.route.auth == _USER:
        mrs.authenticator.check_head(request)


def mount(context: Context) -> Mount:
    """The protocol as the server serves it."""
    mrs = service(context)
    return Mount(
        name="mrs",
        version=schemas.VERSION,
        title="MRS: the spatial registry",
        routes=ROUTES,
        state=mrs,
        owns=("/register", "/release", "/search", "/registrations", "/auth", "/admin", "/sync", "/.well-known/mrs"),
        errors=ERRORS,
        refusals=REFUSALS,
        check_head=lambda request: check_head(request, mrs),
        cors=(*CORS_ANY_ORIGIN, *_EXPOSED),
        urls=(mrs.settings["url"],),
        about='"DNS for places": register a service for a sphere or a polygon on the ground, find what is around a '
        "point, be referred to the servers that know more.",
        schemas=schemas.NAMES,
        parameters=schemas.PARAMETERS,
        schemes=SCHEMES,
        access=ACCESS,
        housekeep=mrs.housekeep,
    )
