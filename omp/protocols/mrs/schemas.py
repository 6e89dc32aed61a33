"""The bodies of MRS as JSON Schema: what routes check and OpenAPI shows (seed §5, mrs.md).

The geometry of a space is checked by :mod:`omp.protocols.mrs.spaces`, whose messages name the member at fault.
"""

from __future__ import annotations

from typing import Any

from omp.protocols.mrs.accounts import USERNAME
from omp.protocols.mrs.peers import PEER_SCHEMA
from omp.protocols.mrs.registration import REGISTRATION_SCHEMA, TOMBSTONE_SCHEMA
from omp.protocols.mrs.spaces import TYPES

Schema = dict[str, Any]

POINT: Schema = {
    "type": "object",
    "required": ["lat", "lon"],
    "properties": {
        "lat": {"type": "number", "minimum": -90, "maximum": 90},
        "lon": {"type": "number", "minimum": -180, "maximum": 180},
        "ele": {"type": "number", "description": "metres; kept, and not used in searching"},
    },
}
CLAIM: Schema = {
    "type": "object",
    "required": ["space"],
    "properties": {
        "id": {"type": "string", "description": "updates this registration"},
        "space": {
            "type": "object",
            "description": "a sphere (center, radius in metres) or a polygon (vertices, height in metres)",
            "required": ["type"],
            "properties": {"type": {"enum": list(TYPES)}},
        },
        "service_point": {
            "type": ["string", "null"],
            "description": "absolute https:// address; not needed when foad is true",
        },
        "foad": {"type": "boolean", "default": False, "description": "true: no service here; not found by searches"},
    },
}
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
    "properties": {**_CREDENTIALS, "email": {"type": ["string", "null"], "maxLength": 254}},
}
LOGIN: Schema = {
    "type": "object",
    "required": ["username", "password"],
    # Any text: one that no account can have is a wrong one, and is counted as such.
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
PEER_CHANGE: Schema = {
    "type": "object",
    "required": ["action", "server_url"],
    "properties": {"action": {"enum": ["add", "remove"]}, **PEER_SCHEMA["properties"]},
}
IMPORT: Schema = {
    "type": "object",
    "properties": {
        "registrations": {"type": "array", "items": REGISTRATION_SCHEMA},
        "tombstones": {"type": "array", "items": TOMBSTONE_SCHEMA},
        "peers": {"type": "array", "items": PEER_SCHEMA},
    },
}


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
    **REGISTRATION_SCHEMA,
    "required": ["id", "space", "service_point", "foad", "distance"],
    "properties": {
        **{name: REGISTRATION_SCHEMA["properties"][name] for name in ("id", "space", "service_point", "foad")},
        "distance": {"type": "number", "description": "metres to the centre of a sphere; to a polygon, 0 inside it"},
    },
}
_PUBLIC_KEY = _answer(type={"const": "Ed25519"}, key={"type": "string"})

REGISTERED = _answer(status=_STATUS, registration=REGISTRATION_SCHEMA)
RELEASED = _answer(status=_STATUS, id={"type": "string"})
FOUND = _answer(status=_STATUS, results=_list_of(_HIT), referrals=_list_of(_REFERRAL))
ABOUT = _answer(
    mrs_version={"type": "string"},
    server={"type": "string"},
    operator={"type": "string"},
    authoritative_regions={"type": "array"},
    capabilities={"type": "object"},
    known_peers=_list_of(_REFERRAL),
)
KEY_DOCUMENT: Schema = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "public_key": _PUBLIC_KEY,
        "created": _TIME,
        "keys": _list_of(_PUBLIC_KEY),
    },
}
TOKEN = _answer(token={"type": "string"}, expires_at=_TIME)
WHO = _answer(id={"type": "string"}, created_at=_OPTIONAL_TIME, is_local={"type": "boolean"})
OWN = _answer(registrations=_list_of(REGISTRATION_SCHEMA))
PUBLISHED = _answer(key_id={"type": "string"}, type={"const": "Ed25519"}, key={"type": "string"}, created=_TIME)
PEER_CHANGED = _answer(status=_STATUS, server_url={"type": "string"})
PEERS = _answer(peers=_list_of(PEER_SCHEMA))
SNAPSHOT = _answer(registrations=_list_of(REGISTRATION_SCHEMA), next_cursor=_CURSOR)
CHANGES = _answer(
    registrations=_list_of(REGISTRATION_SCHEMA), tombstones=_list_of(TOMBSTONE_SCHEMA), next_cursor={"type": "string"}
)
EXPORT = _answer(
    exported_at=_TIME,
    registrations=_list_of(REGISTRATION_SCHEMA),
    tombstones=_list_of(TOMBSTONE_SCHEMA),
    peers=_list_of(PEER_SCHEMA),
)
IMPORTED = _answer(
    status=_STATUS, registrations={"type": "integer"}, tombstones={"type": "integer"}, peers={"type": "integer"}
)
