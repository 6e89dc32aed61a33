"""What NEXUS answers, and the signed bodies that it takes, as JSON Schema (§5, §6, §7, §8).

What a body says beside its signature is in :mod:`.writes`; here ``auth`` is added to it, and everything gets a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omp.protocols.nexus.writes import MESSAGE_SCHEMA, WRITES

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}


def _object(members: Mapping[str, Any], optional: Mapping[str, Any] | None = None, about: str = "") -> Schema:
    described = {"description": about} if about else {}
    return {"type": "object", **described, "required": list(members), "properties": {**members, **(optional or {})}}


def _map(values: Schema | bool, about: str) -> Schema:
    return {"type": "object", "description": about, "additionalProperties": values}


# --- Signed bodies (§3) -----------------------------------------------------------------------------------------

AUTH = _object(
    {
        "publicKey": {"type": "string", "description": "the owner's address, as in the Authorization header"},
        "signature": {
            "type": "string",
            "description": "r ‖ s ‖ v in hex, over keccak256 of the body without auth: compact, names sorted",
        },
    },
    about="Who signs, and the signature.",
)
SIGNED: Mapping[str, Schema] = {
    write.endpoint: {
        **write.schema,
        "required": [*write.schema["required"], "auth"],
        "properties": {**write.schema["properties"], "auth": AUTH},
    }
    for write in WRITES
}
"""Endpoint -> its body with the signature."""


# --- Answers ----------------------------------------------------------------------------------------------------

_PROMPT = _object({"content": TEXT, "editable": {"type": "boolean"}})
_OPTION = _object(
    {"type": TEXT},
    {"options": TEXTS, "min": {"type": "number"}, "max": {"type": "number"}, "step": {"type": "number"}},
    "How a client offers a field.",
)
_OVERRIDES = _object(
    {"config_overrides": _map(True, "name -> value"), "prompt_overrides": _map(True, "name -> text")},
    about="What the owner has changed.",
)
PROFILE = _object(
    {
        "effective_config": _map(True, "name -> value in force"),
        "effective_prompts": _map(_PROMPT, "name -> prompt in force"),
        "user_overrides": _OVERRIDES,
        "editable_fields": {**TEXTS, "description": "config.NAME and prompts.NAME"},
        "field_options": _map(_OPTION, "field -> what a client offers for it"),
    },
    about="Defaults merged with the owner's overrides (nexus §5.1).",
)
DONE = _object({"status": {"const": "success"}, "message": TEXT})
MESSAGE: Schema = {
    **MESSAGE_SCHEMA,
    "description": "A message of the owner's history (nexus §6.1).",
    "required": ["run_id", "owner_key", "role", "content", "created_at"],
    "properties": {**MESSAGE_SCHEMA["properties"], "owner_key": TEXT},
}
MESSAGES: Schema = {"type": "array", "items": MESSAGE}
_REST: Schema = {
    "type": ["object", "null"],
    "description": "how a client runs the command",
    "additionalProperties": True,
    "properties": {
        "endpoint": TEXT,
        "getEndpoint": {"type": ["string", "null"]},
        "postEndpoint": {"type": ["string", "null"]},
        "method": TEXT,
    },
}
COMMAND = _object(
    {"name": TEXT, "description": TEXT, "usage": TEXT, "handler": {"type": "string", "enum": ["rest", "client"]}},
    {"requiresGUI": {"type": "boolean"}, "examples": TEXTS, "restOptions": _REST},
    "A command of a chat client (nexus §8.1).",
)
COMMANDS: Schema = {"type": "array", "items": COMMAND}
HEALTH = _object({"status": {"type": "string", "enum": ["ok", "damaged"]}})
SECURITY = _object({"signature_required_commands": TEXTS})

NAMES: Mapping[str, Schema] = {
    "BodyAuth": AUTH,
    "ConfigChange": SIGNED["/config"],
    "PromptsChange": SIGNED["/prompts"],
    "NewMessages": SIGNED["/messages"],
    "NewMessage": MESSAGE_SCHEMA,
    "Batch": SIGNED["/batch"],
    "Profile": PROFILE,
    "ProfileOverrides": _OVERRIDES,
    "Prompt": _PROMPT,
    "FieldOption": _OPTION,
    "Done": DONE,
    "Message": MESSAGE,
    "Command": COMMAND,
    "SignaturePolicy": SECURITY,
    "ProfileServerHealth": HEALTH,
}
"""What OpenAPI calls them: one line for each schema that has a name."""
