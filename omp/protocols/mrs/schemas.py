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
from typing import Any

Schema = dict[str, Any]


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

POINT: Schema = {
    "type": "object",
    "required": ["lat", "lon"],
    "properties": {
        "lat": {"type": "number", "minimum": -90, "maximum": 90},
        "lon": {"type": "number", "minimum": -180, "maximum": 180},
        "ele": {"type": "number", "description": "metres; kept, and not used in searching"},
    },
}
SPHERE: Schema = {
    "type": "object",
    "description": "What is at most radius metres from the centre.",
    "required": ["type", "center", "radius"],
    "properties": {
        "type": {"const": "sphere"},
        "center": POINT,
        "radius": {"type": "number", "minimum": 0.001, "maximum": 1_000_000, "description": "metres"},
    },
}
POLYGON: Schema = {
    "type": "object",
    "description": "What is inside edges that are great-circle arcs and do not cross.",
    "required": ["type", "vertices"],
    "properties": {
        "type": {"const": "polygon"},
        "vertices": {"type": "array", "items": POINT, "minItems": 3, "maxItems": 1000},
        "height": {"type": "number", "minimum": 0.001, "maximum": 1_000_000, "description": "metres; 1 if left out"},
    },
}
SPACE: Schema = {"description": "A sphere or a polygon.", "oneOf": [SPHERE, POLYGON]}
"""For readers: :func:`~omp.protocols.mrs.registration.read_space` says better what is wrong with a space."""
CLAIM: Schema = {
    "type": "object",
    "required": ["space"],
    "properties": {
        "id": {"type": "string", "description": "updates this registration"},
        "space": {
            "type": "object",
            "description": "a sphere (center, radius in metres) or a polygon (vertices, height in metres)",
            "required": ["type"],
            "properties": {"type": {"enum": list(SPACE_TYPES)}},
            "oneOf": SPACE["oneOf"],
        },
        "service_point": {
            "type": ["string", "null"],
            "description": "absolute https:// address; not needed when foad is true",
        },
        "foad": {"type": "boolean", "default": False, "description": "true: no service here; not found by searches"},
    },
}
PLACE = {
    "space": {"type": "sphere", "center": {"lat": -33.8568, "lon": 151.2153, "ele": 0}, "radius": 50},
    "service_point": "https://example.com/my-place",
    "foad": False,
}
"""An example of a claim."""
ID_ONLY: Schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
SEARCH: Schema = {
    "type": "object",
    "required": ["location", "range"],
    "properties": {
        "location": POINT,
        "range": {"type": "number", "exclusiveMinimum": 0, "description": "metres, at most MRS_MAX_RADIUS"},
    },
}
_CREDENTIALS: Schema = {
    "username": {"type": "string", "pattern": USERNAME, "description": "must have 1 to 64 letters, digits, _ or -"},
    "password": {"type": "string", "minLength": 6, "maxLength": 128},
}
ACCOUNT: Schema = {
    "type": "object",
    "required": ["username", "password"],
    "properties": {
        **_CREDENTIALS,
        "email": {
            "type": ["string", "null"],
            "maxLength": MAX_EMAIL,
            "description": "needed where MRS_REGISTRATION_REQUIRES_WHITELIST is 1: one that the operator has listed",
        },
    },
}
LOGIN: Schema = {
    "type": "object",
    "required": ["username", "password"],
    # Any text: a name or password that no account can have is a failed login like any other, and counts as one.
    "properties": {
        "username": {"type": "string", "maxLength": 256},
        "password": {"type": "string", "maxLength": 256},
    },
}
KEY: Schema = {
    "type": "object",
    "required": ["public_key"],
    "properties": {
        "public_key": {"type": "string", "description": "an Ed25519 public key: 32 bytes in base64"},
        "expires": {"type": ["string", "null"], "maxLength": 40, "description": "ISO 8601 time"},
    },
}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
SNAPSHOT_QUERY: Schema = {"cursor": {"type": "string", "maxLength": 100, "default": ""}, "limit": LIMIT}
MAX_CHANGES = 5000
CHANGES_QUERY: Schema = {
    "since": {
        "type": "string",
        "maxLength": 100,
        "default": "",
        "description": "a next_cursor, an ISO 8601 time, or empty for the beginning",
    },
    "limit": {**LIMIT, "maximum": MAX_CHANGES},
}


# --- what is stored and exchanged between servers -------------------------------------------------------------------

_ORIGIN: Schema = {
    "origin_server": {"type": "string", "maxLength": 2048},
    "origin_id": {"type": "string", "pattern": ID},
    "version": {"type": "integer", "minimum": 1, "maximum": MAX_VERSION},
}
REGISTRATION: Schema = {
    "type": "object",
    "required": ["id", "space", "owner", "version", "created", "updated"],
    "properties": {
        "id": {"type": "string", "pattern": ID},
        "space": {**SPACE, "type": "object"},
        "service_point": {"type": ["string", "null"]},
        "foad": {"type": "boolean"},
        **_ORIGIN,
        "owner": {"type": "string", "pattern": IDENTITY},
        "created": {"type": "string", "maxLength": 40},
        "updated": {"type": "string", "maxLength": 40},
    },
}
TOMBSTONE: Schema = {
    "type": "object",
    "required": ["origin_server", "origin_id", "version", "deleted_at"],
    "properties": {**_ORIGIN, "deleted_at": {"type": "string", "maxLength": 40}},
}
PEER: Schema = {
    "type": "object",
    "required": ["server_url"],
    "properties": {
        "server_url": {"type": "string", "maxLength": 2048},
        "hint": {"type": ["string", "null"], "maxLength": MAX_HINT},
        "last_seen": {"type": ["string", "null"], "maxLength": 40},
        "is_configured": {"type": "boolean"},
        "authoritative_regions": {"type": ["array", "null"], "items": SPACE, "maxItems": MAX_REGIONS},
    },
}
PEER_CHANGE: Schema = {
    "type": "object",
    "required": ["action", "server_url"],
    "properties": {"action": {"enum": ["add", "remove"]}, **PEER["properties"]},
}
EMAILS: Schema = {
    "type": "object",
    "properties": {
        "email": {"type": "string", "description": "an address to list"},
        "emails": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_EMAILS},
    },
}


def _imported(schema: Schema, *optional: str) -> Schema:
    """A list of what fits `schema`, or null; each entry may lack `optional` too, and has null for what it lacks."""
    required = [name for name in schema["required"] if name not in optional]
    members = {
        name: member if name in required else {**member, "type": _or_null(member["type"])}
        for name, member in schema["properties"].items()
    }
    return {"type": ["array", "null"], "items": {**schema, "required": required, "properties": members}}


def _or_null(kind: str | list[str]) -> list[str]:
    return [kind, "null"] if isinstance(kind, str) else kind


IMPORT: Schema = {
    "type": "object",
    "description": "What GET /admin/export answers: one of the lists at least, and no other list. "
    "A member that may be left out may be null, also within a space.",
    "additionalProperties": True,
    "properties": {
        "registrations": _imported(REGISTRATION, "version"),
        "tombstones": _imported(TOMBSTONE, "origin_server"),
        "peers": _imported(PEER),
    },
}


# --- what is answered -----------------------------------------------------------------------------------------------


def _answer(**members: Schema) -> Schema:
    return {"type": "object", "required": list(members), "properties": members}


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item}


_STATUS: Schema = {"type": "string"}
_REFERRAL = _answer(server={"type": "string"}, hint={"type": ["string", "null"]})
_TIME: Schema = {"type": "string", "format": "date-time"}
_OPTIONAL_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_CURSOR: Schema = {"type": ["string", "null"]}
_HIT: Schema = {
    **REGISTRATION,
    "required": ["id", "space", "service_point", "foad", "distance"],  # our tools ask servers by others too
    "properties": {
        **REGISTRATION["properties"],
        "distance": {"type": "number", "description": "metres to the centre of a sphere; to a polygon, 0 inside it"},
    },
}
_PUBLIC_KEY = _answer(type={"const": "Ed25519"}, key={"type": "string"})
PUBLISHED: Schema = {
    "type": "object",
    "required": ["key_id", "type", "key", "created"],
    "properties": {
        "key_id": {"type": "string"},
        **_PUBLIC_KEY["properties"],
        "created": _TIME,
        "expires": {"type": "string", "description": "ISO 8601 time; absent: never"},
        "deprecated": {"type": "boolean", "description": "the key verifies nothing any more"},
    },
}

REGISTERED = _answer(status=_STATUS, registration=REGISTRATION)
RELEASED = _answer(status=_STATUS, id={"type": "string"})
FOUND: Schema = {
    "type": "object",
    "required": ["status", "results", "referrals"],
    "properties": {
        "status": _STATUS,
        "results": _list_of(_HIT),
        "referrals": _list_of(_REFERRAL),
        "truncated": {"type": "boolean", "description": "true: the rest would be more than 1 MiB of spaces"},
    },
}
_CAPABILITIES = _answer(geometry_types=_list_of({"enum": list(SPACE_TYPES)}), max_radius={"type": "number"})
ABOUT = _answer(
    mrs_version={"type": "string"},
    server={"type": "string"},
    operator={"type": "string"},
    authoritative_regions=_list_of(SPACE),
    capabilities=_CAPABILITIES,
    known_peers=_list_of(_REFERRAL),
)
KEY_DOCUMENT: Schema = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "public_key": _PUBLIC_KEY,
        "created": _TIME,
        "keys": _list_of(PUBLISHED),
    },
}
TOKEN = _answer(token={"type": "string"}, expires_at=_TIME)
WHO = _answer(id={"type": "string"}, created_at=_OPTIONAL_TIME, is_local={"type": "boolean"})
OWN: Schema = {
    "type": "object",
    "required": ["registrations"],
    "properties": {"registrations": _list_of(REGISTRATION), "next_cursor": {"type": "string"}},
}
PEER_CHANGED = _answer(status=_STATUS, server_url={"type": "string"})
PEERS = _answer(peers=_list_of(PEER))
WHITELISTED = _answer(emails=_list_of(_answer(email={"type": "string"}, added_at=_TIME)))
EMAILS_ADDED = _answer(status=_STATUS, added={"type": "integer"})
EMAIL_REMOVED = _answer(status=_STATUS, email={"type": "string"})
SNAPSHOT = _answer(status=_STATUS, registrations=_list_of(REGISTRATION), next_cursor=_CURSOR)
CHANGES = _answer(
    status=_STATUS,
    registrations=_list_of(REGISTRATION),
    tombstones=_list_of(TOMBSTONE),
    next_cursor={"type": "string"},
)
EXPORT = _answer(
    mrs_version={"type": "string"},
    exported_at=_TIME,
    server={"type": "string"},
    registrations=_list_of(REGISTRATION),
    tombstones=_list_of(TOMBSTONE),
    peers=_list_of(PEER),
)
_COUNT: Schema = {"type": "integer"}
IMPORTED = _answer(
    status=_STATUS,
    registrations=_COUNT,
    tombstones=_COUNT,
    peers=_COUNT,
    skipped=_answer(registrations=_COUNT, tombstones=_COUNT),
)


# --- names ----------------------------------------------------------------------------------------------------------

NAMES: dict[str, Schema] = {
    "Point": POINT,
    "Sphere": SPHERE,
    "Polygon": POLYGON,
    "Space": SPACE,
    "Claim": CLAIM,
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
    "EmailList": EMAILS,
    "Whitelist": WHITELISTED,
    "EmailsAdded": EMAILS_ADDED,
    "EmailRemoved": EMAIL_REMOVED,
}
"""What OpenAPI calls them: one line for each schema that has a name."""
