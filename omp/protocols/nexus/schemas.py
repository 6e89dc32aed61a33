"""What NEXUS answers, and the signed bodies that it takes, as JSON Schema (§5, §6, §7, §8).

What a body says beside its signature is in :mod:`.writes`; here ``auth`` is added to it, and everything gets a name.
"""

from __future__ import annotations

from collections.abc import Mapping

from omp.protocols.nexus.writes import MESSAGE_SCHEMA, OPERATION, WRITES
from omp.rules.schema import BOOLEAN, NUMBER, TEXT, TEXT_OR_NULL, Schema, described, list_of, record


def _map(values: Schema | bool, about: str) -> Schema:
    return {"type": "object", "description": about, "additionalProperties": values}


# --- Signed bodies (§3) -----------------------------------------------------------------------------------------

AUTH = record(
    "Who signs, and the signature.",
    {
        "publicKey": described(TEXT, "the owner's address, as in the Authorization header"),
        "signature": described(
            TEXT, "r ‖ s ‖ v in hex, over keccak256 of the body without auth: compact, names sorted"
        ),
    },
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

_PROMPT = record(
    "A prompt.",
    {
        "content": described(TEXT, "the text in force"),
        "editable": described(BOOLEAN, "whether the owner can change it"),
    },
)
_OPTION = record(
    "How a client offers a field.",
    {"type": described(TEXT, "the control, such as select, slider or number")},
    {
        "options": list_of(TEXT, "of a select: the values to choose from"),
        "min": described(NUMBER, "the least value"),
        "max": described(NUMBER, "the greatest value"),
        "step": described(NUMBER, "from one value to the next"),
    },
)
_OVERRIDES = record(
    "What the owner has changed.",
    {"config_overrides": _map(True, "name -> value"), "prompt_overrides": _map(True, "name -> text")},
)
PROFILE = record(
    "Defaults merged with the owner's overrides (nexus §5.1).",
    {
        "effective_config": _map(True, "name -> value in force"),
        "effective_prompts": _map(_PROMPT, "name -> prompt in force"),
        "user_overrides": _OVERRIDES,
        "editable_fields": list_of(TEXT, "config.NAME and prompts.NAME"),
        "field_options": _map(_OPTION, "field -> what a client offers for it"),
    },
)
DONE = record(
    "All that was asked for is done.",
    {"status": {"const": "success", "description": "always the same"}, "message": described(TEXT, "for people")},
)
MESSAGE: Schema = {
    **MESSAGE_SCHEMA,
    "description": "A message of the owner's history (nexus §6.1).",
    "required": ["run_id", "owner_key", "role", "content", "created_at"],
    "properties": {
        **MESSAGE_SCHEMA["properties"],
        "owner_key": described(TEXT, "the owner's address in lower case"),
        "created_at": described(TEXT, "when it was said, as it was written", format="date-time"),
    },
}
MESSAGES = list_of(MESSAGE, "Newest first.")
_REST = record(
    "how a client runs the command, where handler is rest",
    {},
    {
        "endpoint": described(TEXT, "the path to begin with, below /api/v1"),
        "getEndpoint": described(TEXT_OR_NULL, "the path that reads"),
        "postEndpoint": described(TEXT_OR_NULL, "the path that writes; null for a command that only reads"),
        "method": described(TEXT, "the method to begin with"),
    },
    additionalProperties=True,
) | {"type": ["object", "null"]}
COMMAND = record(
    "A command of a chat client (nexus §8.1).",
    {
        "name": described(TEXT, "the name of the command"),
        "description": described(TEXT, "one sentence for people"),
        "usage": described(TEXT, "what a person types"),
        "handler": described(TEXT, "rest: this protocol runs it; client: the client itself", enum=["rest", "client"]),
    },
    {
        "requiresGUI": described(BOOLEAN, "whether the client should show a panel of its own"),
        "examples": list_of(TEXT, "what a person may type"),
        "restOptions": _REST,
    },
)
COMMANDS = list_of(COMMAND, "Clients ignore commands that they do not know.")
HEALTH = record(
    "Whether the server can do its work.",
    {"status": described(TEXT, "damaged: it works, without some rows", enum=["ok", "damaged"])},
)
SECURITY = record(
    "What must be signed.",
    {"signature_required_commands": list_of(TEXT, "the names of the commands whose writes must be signed")},
)

NAMES: Mapping[str, Schema] = {
    "BodyAuth": AUTH,
    "ConfigChange": SIGNED["/config"],
    "PromptsChange": SIGNED["/prompts"],
    "NewMessages": SIGNED["/messages"],
    "NewMessage": MESSAGE_SCHEMA,
    "Batch": SIGNED["/batch"],
    "BatchOperation": OPERATION,
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
