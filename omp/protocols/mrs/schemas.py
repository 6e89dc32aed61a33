"""What MRS looks like on the wire: names, times, and every body as JSON Schema (§3 to §12).

The lowest module of the package: it also holds :class:`RegistryError`, from which everything that the registry refuses
is derived.  The schemas say which members a body has and of which JSON type; routes check them, and OpenAPI shows them.
What a schema cannot say (whether a polygon's edges cross, whether a service point is a proper address) is checked where
the value is read: :mod:`.registration`, :mod:`.peers`.

In this order: errors, times, names and limits, what callers send, what is stored and exchanged, what is answered.
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import gmtime, strftime

from omp.rules.schema import BOOLEAN, INTEGER, NUMBER, TEXT, TEXT_OR_NULL, Schema, described, list_of, record


class RegistryError(Exception):
    """Anything that the registry refuses; the message is one sentence for the sender.

    Each subclass has a row in the table of :mod:`.routes`, which says with which status it is answered (§13).
    """


# --- times (§1.4) ---------------------------------------------------------------------------------------------------


def iso_time(epoch: float) -> str:
    """Epoch seconds as MRS writes a time: ISO 8601 in UTC with whole seconds, the fraction dropped.

    >>> iso_time(1769416200.9)
    '2026-01-26T08:30:00Z'
    """
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(epoch))


def epoch_of(text: str) -> float | None:
    """The epoch seconds of an ISO 8601 time; None for any other text, and for times before 1970.

    What others send may have a fraction and an offset; a time without an offset is UTC.

    >>> epoch_of("2026-01-26T08:30:00Z"), epoch_of("2026-01-26T09:30:00+01:00"), epoch_of("yesterday")
    (1769416200.0, 1769416200.0, None)
    """
    try:
        moment = datetime.fromisoformat(text)
        epoch = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return epoch if epoch >= 0 else None


# --- names and limits (§1.3, §14) -----------------------------------------------------------------------------------

USERNAME = "[A-Za-z0-9_-]{1,64}"
ID = "reg_[A-Za-z0-9_-]{1,60}"
"""This server makes ids with 12 characters after ``reg_``; those of other servers may have another length."""
IDENTITY = r"[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9.:\[\]_-]{1,255}"
SPACE_TYPES = ("sphere", "polygon")
MAX_VERSION = 2**31
VERSION = "0.5.0"
MAX_REGIONS = 100
MAX_HINT = 500
MAX_EMAIL = 254
MAX_EMAILS = 1000
"""Addresses in one request: they are written in one block."""


# --- what callers send ----------------------------------------------------------------------------------------------

POINT = record(
    "A point on the earth.",
    {
        "lat": described(NUMBER, "degrees north", minimum=-90, maximum=90),
        "lon": described(NUMBER, "degrees east", minimum=-180, maximum=180),
    },
    {"ele": described(NUMBER, "metres; kept, and not used in searching")},
)
_LENGTH: Schema = {"type": "number", "minimum": 0.001, "maximum": 1_000_000}
SPHERE = record(
    "What is at most radius metres from the centre.",
    {
        "type": {"const": "sphere", "description": "tells it from a polygon"},
        "center": POINT,
        "radius": described(_LENGTH, "metres"),
    },
)
POLYGON = record(
    "What is inside edges that are great-circle arcs and do not cross.",
    {
        "type": {"const": "polygon", "description": "tells it from a sphere"},
        "vertices": list_of(POINT, "the corners, in either direction", minItems=3, maxItems=1000),
    },
    {"height": described(_LENGTH, "metres; 1 if left out")},
)
SPACE: Schema = {"description": "A sphere or a polygon.", "oneOf": [SPHERE, POLYGON]}
"""For readers: :func:`~omp.protocols.mrs.registration.read_space` says better what is wrong with a space."""
_PLACED: dict[str, Schema] = {
    "space": {
        "type": "object",
        "description": "a sphere (center, radius in metres) or a polygon (vertices, height in metres)",
        "required": ["type"],
        "properties": {"type": {"enum": list(SPACE_TYPES)}},
        "oneOf": SPACE["oneOf"],
    }
}
_SERVICE: dict[str, Schema] = {
    "service_point": described(TEXT_OR_NULL, "absolute https:// address; not needed when foad is true"),
    "foad": described(BOOLEAN, "true: no service here; not found by searches; false if left out"),
}
NEW_REGISTRATION = record(
    "A space, and the service that is there.",
    _PLACED,
    {"id": described(TEXT, "replaces this registration instead of making one"), **_SERVICE},
)
REGISTRATION_CHANGE = record(
    "What the registration is replaced with.",
    _PLACED,
    {"id": described(TEXT, "if given, that of the path"), **_SERVICE},
)
PLACE = {
    "space": {"type": "sphere", "center": {"lat": -33.8568, "lon": 151.2153, "ele": 0}, "radius": 50},
    "service_point": "https://example.com/my-place",
    "foad": False,
}
"""An example of either."""
ID_ONLY = record("Which registration.", {"id": described(TEXT, "the registration's id on this server")})
SEARCH = record(
    "Where to look, and how far.",
    {"location": POINT, "range": described(NUMBER, "metres, at most max_radius of the server", exclusiveMinimum=0)},
)
_USERNAME = {
    **described(TEXT, "1 to 64 letters, digits, _ or -", pattern=USERNAME),
    "x-message": "must have 1 to 64 letters, digits, _ or -",
}
ACCOUNT = record(
    "A new account.",
    {"username": _USERNAME, "password": described(TEXT, "kept as a salted hash only", minLength=6, maxLength=128)},
    {
        "email": described(
            TEXT_OR_NULL,
            "needed where MRS_REGISTRATION_REQUIRES_WHITELIST is 1: one that the operator has listed",
            maxLength=MAX_EMAIL,
        )
    },
)
LOGIN = record(
    "Who logs in.",
    # Any text: a name or password that no account can have is a failed login like any other, and counts as one.
    {
        "username": described(TEXT, "the name of the account", maxLength=256),
        "password": described(TEXT, "its password", maxLength=256),
    },
)
KEY = record(
    "A key to be published.",
    {"public_key": described(TEXT, "an Ed25519 public key: 32 bytes in base64")},
    {"expires": described(TEXT_OR_NULL, "ISO 8601 time from which on it verifies nothing; null: never", maxLength=40)},
)
LIMIT = described(INTEGER, "entries a page", minimum=1, maximum=1000, default=100)
SNAPSHOT_QUERY: Schema = {
    "cursor": described(TEXT, "next_cursor of the page before; empty: the beginning", maxLength=100, default=""),
    "limit": LIMIT,
}
OWN_QUERY: Schema = {"cursor": described(TEXT, "next_cursor of the page before; empty: the beginning")}
MAX_CHANGES = 5000
CHANGES_QUERY: Schema = {
    "since": described(TEXT, "a next_cursor, an ISO 8601 time, or empty for the beginning", maxLength=100, default=""),
    "limit": {**LIMIT, "maximum": MAX_CHANGES},
}


# --- what is stored and exchanged between servers -------------------------------------------------------------------

_ORIGIN: dict[str, Schema] = {
    "origin_server": described(TEXT, "URL of the server on which it was registered", maxLength=2048),
    "origin_id": described(TEXT, "its id on that server", pattern=ID),
    "version": described(INTEGER, "1, and one more with each change", minimum=1, maximum=MAX_VERSION),
}
_MOMENT: Schema = {"type": "string", "maxLength": 40}
REGISTRATION = record(
    "A space on the earth, and the service that is there.",
    {
        "id": described(TEXT, "its id on this server", pattern=ID),
        "space": {**SPACE, "type": "object"},
        "service_point": described(TEXT_OR_NULL, "https:// address of the service; null only if foad is true"),
        "foad": described(BOOLEAN, "true: there is no service here, and no search finds it"),
        **_ORIGIN,
        "owner": described(TEXT, "the identity that registered it: user@domain", pattern=IDENTITY),
        "created": described(_MOMENT, "when it was registered, ISO 8601"),
        "updated": described(_MOMENT, "when it was last changed, ISO 8601"),
    },
)
TOMBSTONE = record(
    "What remains of a registration that was released.",
    {**_ORIGIN, "deleted_at": described(_MOMENT, "when it was released, ISO 8601")},
)
_PEER_URL: dict[str, Schema] = {"server_url": described(TEXT, "URL of the server", maxLength=2048)}
_PEER_DETAILS: dict[str, Schema] = {
    "hint": described(TEXT_OR_NULL, "for people: what it knows about", maxLength=MAX_HINT),
    "last_seen": described(TEXT_OR_NULL, "when its metadata was last fetched, ISO 8601; null: never", maxLength=40),
    "is_configured": described(BOOLEAN, "true: named by the operator; false: learned from another peer"),
    "authoritative_regions": list_of(
        SPACE, "the spaces that it claims to know best", type=["array", "null"], maxItems=MAX_REGIONS
    ),
}
PEER = record("Another server, to which searches are referred.", _PEER_URL, _PEER_DETAILS)
PEER_CHANGE = record(
    "A peer to be added or removed.",
    {"action": {"enum": ["add", "remove"], "description": "what is to be done with it"}, **_PEER_URL},
    _PEER_DETAILS,
)
EMAILS = record(
    "E-mail addresses to be listed: one, many, or both.",
    {},
    {
        "email": described(TEXT, "an address to list"),
        "emails": list_of(TEXT, "addresses to list", maxItems=MAX_EMAILS),
    },
)


def _imported(about: str, schema: Schema, *optional: str) -> Schema:
    """What fits `schema`, but may lack `optional` too, and may have null for whatever it lacks."""
    required = [name for name in schema["required"] if name not in optional]
    members = {
        name: member if name in required else {**member, "type": _or_null(member["type"])}
        for name, member in schema["properties"].items()
    }
    return {**schema, "description": about, "required": required, "properties": members}


def _or_null(kind: str | list[str]) -> list[str]:
    return [kind, "null"] if isinstance(kind, str) else kind


_LIST_OR_NULL = ["array", "null"]
_IMPORTED_REGISTRATION = _imported(
    "A registration as other implementations export it too.", REGISTRATION, "service_point", "foad", *_ORIGIN
)
_IMPORTED_TOMBSTONE = _imported(
    "A tombstone; without origin_server, of a registration that originated here.", TOMBSTONE, "origin_server"
)
_IMPORTED_PEER = _imported("A peer as other implementations export it too.", PEER)
IMPORT = record(
    "What GET /admin/export answers: one of the lists at least, and no other list. "
    "A member that may be left out may be null, also within a space.",
    {},
    {
        "registrations": list_of(
            _IMPORTED_REGISTRATION, "taken where none of a higher or the same version is kept", type=_LIST_OR_NULL
        ),
        "tombstones": list_of(
            _IMPORTED_TOMBSTONE, "likewise; each takes the place of its registration", type=_LIST_OR_NULL
        ),
        "peers": list_of(_IMPORTED_PEER, "added to those that are known", type=_LIST_OR_NULL),
    },
    additionalProperties=True,
)


# --- what is answered -----------------------------------------------------------------------------------------------


def _status(word: str) -> Schema:
    return described(TEXT, f"always {word}")


_REFERRAL = record(
    "A server that may know more.",
    {
        "server": described(TEXT, "its URL"),
        "hint": described(TEXT_OR_NULL, "for people: what it knows about"),
    },
)
_TIME: Schema = {"type": "string", "format": "date-time"}
_HIT: Schema = {
    **REGISTRATION,
    "description": "A registration that was found, and how far it is.",
    "required": ["id", "space", "service_point", "foad", "distance"],  # our tools ask servers by others too
    "properties": {
        **REGISTRATION["properties"],
        "distance": described(NUMBER, "metres to the centre of a sphere; to a polygon, 0 inside it"),
    },
}
_KEY_MEMBERS: dict[str, Schema] = {
    "type": {"const": "Ed25519", "description": "the kind of key"},
    "key": described(TEXT, "32 bytes in base64"),
}
_PUBLIC_KEY = record("A public key.", _KEY_MEMBERS)
PUBLISHED = record(
    "A published key.",
    {
        "key_id": described(TEXT, "its name, which its owner chose"),
        **_KEY_MEMBERS,
        "created": described(_TIME, "when it was published"),
    },
    {
        "expires": described(TEXT, "ISO 8601 time; absent: never"),
        "deprecated": described(BOOLEAN, "the key verifies nothing any more"),
    },
)

REGISTERED = record(
    "The registration as it is kept.",
    {"status": described(TEXT, "registered, or updated"), "registration": REGISTRATION},
)
RELEASED = record(
    "The registration is gone.",
    {"status": _status("released"), "id": described(TEXT, "the id that it had")},
)
FOUND = record(
    "What is there, and who may know more.",
    {
        "status": _status("ok"),
        "results": list_of(_HIT, "smallest first; of the same volume, nearest first"),
        "referrals": list_of(_REFERRAL, "servers to ask as well"),
    },
    {"truncated": described(BOOLEAN, "true: the rest would be more than 1 MiB of spaces")},
)
_CAPABILITIES = record(
    "What this registry takes.",
    {
        "geometry_types": list_of({"enum": list(SPACE_TYPES)}, "the kinds of spaces"),
        "max_radius": described(NUMBER, "metres: the largest range of a search, and extent of a space"),
    },
)
ABOUT = record(
    "What a registry says of itself.",
    {
        "mrs_version": described(TEXT, "the version of MRS that it speaks"),
        "server": described(TEXT, "its URL"),
        "operator": described(TEXT, "who runs it: an e-mail address"),
        "authoritative_regions": list_of(SPACE, "the spaces that it claims to know best"),
        "capabilities": _CAPABILITIES,
        "known_peers": list_of(_REFERRAL, "the other servers that it knows"),
    },
)
KEY_DOCUMENT = record(
    "The published keys of an identity: public_key and created for a single one, otherwise keys (mrs §8.2).",
    {"id": described(TEXT, "the identity: user@domain")},
    {
        "public_key": _PUBLIC_KEY,
        "created": described(_TIME, "when the single key was published"),
        "keys": list_of(PUBLISHED, "all keys, in the order of their ids"),
    },
)
TOKEN = record(
    "A token of a user.",
    {
        "token": described(TEXT, "to be sent as Authorization: Bearer <token>"),
        "expires_at": described(_TIME, "until when it is good"),
    },
)
WHO = record(
    "Who is calling.",
    {
        "id": described(TEXT, "the identity: user@domain"),
        "created_at": described(
            {"type": ["string", "null"], "format": "date-time"},
            "when the account was made; null for an identity of another server",
        ),
        "is_local": described(BOOLEAN, "whether the identity is of this server"),
    },
)
OWN = record(
    "A page of the caller's registrations.",
    {"registrations": list_of(REGISTRATION, "the oldest first")},
    {"next_cursor": described(TEXT, "the cursor of the next page; absent on the last")},
)
PEER_CHANGED = record(
    "It is done.",
    {"status": described(TEXT, "added, or removed"), "server_url": described(TEXT, "URL of the peer")},
)
PEERS = record("The known peers.", {"peers": list_of(PEER, "configured ones first, then the last seen")})
_LISTED_EMAIL = record(
    "An address that may make accounts.",
    {"email": described(TEXT, "in lower case"), "added_at": described(_TIME, "when it was listed")},
)
WHITELISTED = record("The listed addresses.", {"emails": list_of(_LISTED_EMAIL, "all of them, sorted")})
EMAILS_ADDED = record(
    "The addresses are listed.",
    {"status": _status("added"), "added": described(INTEGER, "how many were not listed before")},
)
EMAIL_REMOVED = record(
    "The address is no longer listed.",
    {"status": _status("removed"), "email": described(TEXT, "the address, as it was listed")},
)
SNAPSHOT = record(
    "A page of all registrations.",
    {
        "status": _status("ok"),
        "registrations": list_of(REGISTRATION, "in the order of their ids"),
        "next_cursor": described(TEXT_OR_NULL, "the cursor of the next page; null on the last"),
    },
)
CHANGES = record(
    "The next changes.",
    {
        "status": _status("ok"),
        "registrations": list_of(REGISTRATION, "made, updated or imported: in the order of their last changes"),
        "tombstones": list_of(TOMBSTONE, "released: in the order of the releases"),
        "next_cursor": described(TEXT, "where to go on, now or later: the next since"),
    },
)
EXPORT = record(
    "Everything but accounts, keys and the whitelist, at one moment.",
    {
        "mrs_version": described(TEXT, "the version of MRS"),
        "exported_at": described(_TIME, "the moment"),
        "server": described(TEXT, "URL of the server that wrote it"),
        "registrations": list_of(REGISTRATION, "sorted by id"),
        "tombstones": list_of(TOMBSTONE, "sorted by origin_server and origin_id"),
        "peers": list_of(PEER, "sorted by server_url"),
    },
)
_SKIPPED = record(
    "Entries that were not taken, since what is kept is as new.",
    {"registrations": described(INTEGER, "how many"), "tombstones": described(INTEGER, "how many")},
)
IMPORTED = record(
    "How many entries the document had.",
    {
        "status": _status("imported"),
        "registrations": described(INTEGER, "registrations in it"),
        "tombstones": described(INTEGER, "tombstones in it"),
        "peers": described(INTEGER, "peers in it"),
        "skipped": _SKIPPED,
    },
)


# --- names ----------------------------------------------------------------------------------------------------------

NAMES: dict[str, Schema] = {
    "Point": POINT,
    "Sphere": SPHERE,
    "Polygon": POLYGON,
    "Space": SPACE,
    "NewRegistration": NEW_REGISTRATION,
    "RegistrationChange": REGISTRATION_CHANGE,
    "RegistrationId": ID_ONLY,
    "PlaceSearch": SEARCH,
    "NewAccount": ACCOUNT,
    "Login": LOGIN,
    "NewKey": KEY,
    "Registration": REGISTRATION,
    "Tombstone": TOMBSTONE,
    "Peer": PEER,
    "PeerChange": PEER_CHANGE,
    "RegistryImport": IMPORT,
    "Referral": _REFERRAL,
    "FoundPlace": _HIT,
    "FoundPlaces": FOUND,
    "Registered": REGISTERED,
    "Released": RELEASED,
    "RegistryInfo": ABOUT,
    "RegistryCapabilities": _CAPABILITIES,
    "PublicKey": _PUBLIC_KEY,
    "KeyDocument": KEY_DOCUMENT,
    "RegistryToken": TOKEN,
    "Caller": WHO,
    "OwnRegistrations": OWN,
    "PublishedKey": PUBLISHED,
    "PeerChanged": PEER_CHANGED,
    "PeerList": PEERS,
    "Snapshot": SNAPSHOT,
    "Changes": CHANGES,
    "RegistryExport": EXPORT,
    "RegistryImported": IMPORTED,
    "ImportedRegistration": _IMPORTED_REGISTRATION,
    "ImportedTombstone": _IMPORTED_TOMBSTONE,
    "ImportedPeer": _IMPORTED_PEER,
    "SkippedEntries": _SKIPPED,
    "EmailList": EMAILS,
    "Whitelist": WHITELISTED,
    "WhitelistEntry": _LISTED_EMAIL,
    "EmailsAdded": EMAILS_ADDED,
    "EmailRemoved": EMAIL_REMOVED,
}
"""What OpenAPI calls them: one line for each schema that has a name."""

PARAMETERS = {
    "id": "the registration's id on this server",
    "identity": "a username of this server, user@domain with its domain, or _server",
    "key_id": "the name of the key: 1 to 64 letters, digits or . _ -",
    "email": "the address to remove",
}
"""What the {names} in paths stand for."""
