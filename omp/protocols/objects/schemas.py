"""What the objects API looks like on the wire: every body as JSON Schema (§2, §3, §4).

The routes check bodies and parameters by these schemas, and OpenAPI shows them, under the names of :data:`NAMES`.
"""

from __future__ import annotations

from collections.abc import Mapping

from omp.protocols.objects.record import DELETE_ON_READ, TTL
from omp.rules.schema import BOOLEAN, COUNT, INTEGER, TEXT, Schema, described, list_of, record

MAX_PAGE = 1000
DEFAULT_PAGE = 50
MAX_NAME = 1024
"""Characters of a namespace or a key."""


# --- What callers send ------------------------------------------------------------------------------------------

_ANY_OBJECT: Schema = {"type": "object", "additionalProperties": True}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
_CONTENT = described(_ANY_OBJECT, "any JSON object")
_METADATA = described(
    _ANY_OBJECT,
    "any members; those named here mean something to the server",
    properties={
        TTL: described(INTEGER, "seconds until the object is gone", minimum=1),
        DELETE_ON_READ: described(BOOLEAN, "whether the first GET is the last"),
        "omp.memory.class": {"description": "kept as given"},
    },
)
_METADATA_OR_NULL = {**_METADATA, "type": ["object", "null"]}
CREATE = record(
    "What an object is made of.",
    {"namespace": described(_NAME, "never changes"), "content": _CONTENT},
    {
        "key": described(_NAME, "never changes; the object's id if left out", type=["string", "null"]),
        "metadata": _METADATA_OR_NULL,
    },
)
REPLACE = record(
    "What an object is replaced with; its namespace and its key stay.",
    {"content": _CONTENT},
    {"metadata": described(_METADATA_OR_NULL, "replaced as a whole; as they were if left out")},
)

FILTERS = ("namespace", "key_contains")
_FILTERED: Mapping[str, Schema] = {
    "namespace": described(TEXT, "only this namespace; empty: all of them"),
    "key_contains": described(TEXT, "only keys that contain this text, in which case counts"),
}
_LIMIT = described(INTEGER, f"objects a page; {DEFAULT_PAGE} if left out", minimum=1, maximum=MAX_PAGE)
_CURSOR = described(TEXT, "from OMP-Next-Cursor of the page before; empty: the beginning")
LIST_QUERY: Mapping[str, Schema] = {"limit": {**_LIMIT, "default": DEFAULT_PAGE}, "cursor": _CURSOR}
SEARCH_QUERY: Mapping[str, Schema] = {**_FILTERED, **LIST_QUERY}
SEARCH = record(
    "What to look for; null is the same as leaving out.",
    {},
    {
        name: {**schema, "type": [schema["type"], "null"]}
        for name, schema in {**_FILTERED, "limit": _LIMIT, "cursor": _CURSOR}.items()
    },
)


# --- What is answered -------------------------------------------------------------------------------------------

_SUMMARY_MEMBERS: Mapping[str, Schema] = {
    "id": described(TEXT, "made by the server; ids are in the order of creation", format="uuid"),
    "namespace": described(TEXT, "as its creator chose it"),
    "key": described(TEXT, "as its creator chose it, or the id"),
    "created_at": described(TEXT, "the time of creation by the server's clock, to the microsecond", format="date-time"),
    "metadata": _METADATA,
}
SUMMARY = record("An object without its content.", _SUMMARY_MEMBERS)
OBJECT = record(
    "A JSON object that is kept under an id, a namespace and a key.", {**_SUMMARY_MEMBERS, "content": _CONTENT}
)
PAGE = record(
    "Objects in the order of creation.",
    {
        "count": described(COUNT, "how many items this page holds"),
        "items": list_of(SUMMARY, "the objects without their content"),
    },
)

NAMES: Mapping[str, Schema] = {
    "Object": OBJECT,
    "ObjectSummary": SUMMARY,
    "ObjectPage": PAGE,
    "NewObject": CREATE,
    "ObjectChange": REPLACE,
    "ObjectSearch": SEARCH,
}
"""What OpenAPI calls them."""

PARAMETERS = {"id": "the object's id"}
"""What the {names} in paths stand for."""
