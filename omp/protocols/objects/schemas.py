"""What the objects API looks like on the wire: every body as JSON Schema (§2, §3, §4).

The routes check bodies and parameters by these schemas, and OpenAPI shows them, under the names of :data:`NAMES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omp.protocols.objects.record import DELETE_ON_READ, TTL

Schema = Mapping[str, Any]

MAX_PAGE = 1000
DEFAULT_PAGE = 50
MAX_NAME = 1024
"""Characters of a namespace or a key."""


# --- What callers send ------------------------------------------------------------------------------------------

_NAME = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_CONTENT: Schema = {"type": "object", "additionalProperties": True, "description": "any JSON object"}
_METADATA: Schema = {
    "type": ["object", "null"],
    "description": "any members; those named here mean something to the server",
    "properties": {
        TTL: {"type": "integer", "minimum": 1, "description": "seconds until the object is gone"},
        DELETE_ON_READ: {"type": "boolean", "description": "whether the first GET is the last"},
        "omp.memory.class": {"description": "kept as given"},
    },
    "additionalProperties": True,
}
CREATE: Schema = {
    "type": "object",
    "required": ["namespace", "content"],
    "properties": {
        "namespace": _NAME,
        "key": {**_NAME, "type": ["string", "null"], "description": "the object's id if left out"},
        "content": _CONTENT,
        "metadata": _METADATA,
    },
}
REPLACE: Schema = {
    "type": "object",
    "required": ["content"],
    "properties": {"content": _CONTENT, "metadata": _METADATA},
}

FILTERS = ("namespace", "key_contains")
_LIMIT = {"minimum": 1, "maximum": MAX_PAGE, "description": f"objects a page; {DEFAULT_PAGE} if left out"}
_CURSOR = {"description": "from OMP-Next-Cursor of the page before"}
LIST_QUERY: dict[str, Schema] = {
    "limit": {"type": "integer", "default": DEFAULT_PAGE, **_LIMIT},
    "cursor": {"type": "string", **_CURSOR},
}
SEARCH_QUERY: dict[str, Schema] = {
    "namespace": {"type": "string", "description": "only this namespace"},
    "key_contains": {"type": "string", "description": "only keys that contain this text"},
    **LIST_QUERY,
}
SEARCH: Schema = {
    "type": "object",
    "properties": {
        "namespace": {"type": ["string", "null"], "description": "only this namespace"},
        "key_contains": {"type": ["string", "null"], "description": "only keys that contain this text"},
        "limit": {"type": ["integer", "null"], **_LIMIT},
        "cursor": {"type": ["string", "null"], **_CURSOR},
    },
}


# --- What is answered -------------------------------------------------------------------------------------------

_SUMMARY_MEMBERS: dict[str, Schema] = {
    "id": {"type": "string", "format": "uuid"},
    "namespace": {"type": "string"},
    "key": {"type": "string"},
    "created_at": {"type": "string", "format": "date-time"},
    "metadata": {**_METADATA, "type": "object"},
}
SUMMARY: Schema = {
    "type": "object",
    "description": "An object without its content.",
    "required": list(_SUMMARY_MEMBERS),
    "properties": _SUMMARY_MEMBERS,
}
OBJECT: Schema = {
    "type": "object",
    "description": "A JSON object that is kept under an id, a namespace and a key.",
    "required": [*_SUMMARY_MEMBERS, "content"],
    "properties": {**_SUMMARY_MEMBERS, "content": _CONTENT},
}
PAGE: Schema = {
    "type": "object",
    "description": "Objects in the order of creation.",
    "required": ["count", "items"],
    "properties": {
        "count": {"type": "integer", "minimum": 0, "description": "how many items this page holds"},
        "items": {"type": "array", "items": SUMMARY},
    },
}

NAMES: Mapping[str, Schema] = {
    "Object": OBJECT,
    "ObjectSummary": SUMMARY,
    "ObjectPage": PAGE,
    "NewObject": CREATE,
    "ObjectChange": REPLACE,
    "ObjectSearch": SEARCH,
}
"""What OpenAPI calls them."""
