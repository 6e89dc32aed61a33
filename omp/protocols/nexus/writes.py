"""What a signed request may ask for: the shape of each body, its checks, and the change that it becomes.

Implements the protocol's §II.3 and §II.5, the storing of messages, and the batch of §VIII.3.  One table,
:data:`WRITES`: the routes, the operations of a batch and the documentation are made from it.

A body becomes a change before the transaction that makes it, so everything that can be wrong with it is found
outside the lock; a batch is the changes of its operations in one transaction, all or none.

Handled here: whether a body fits.  The caller must have authenticated the owner before it looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from omp.protocols.nexus.defaults import Defaults
from omp.protocols.nexus.messages import MESSAGE_SCHEMA, date_time, instant, stored_form
from omp.protocols.nexus.profile import PROMPT_CHARACTERS, DoesNotFit, checked
from omp.protocols.nexus.records import Change, append_messages, override
from omp.rules.schema import Validator, compile_schema
from omp.store.port import Writer

BATCH_OPERATIONS = 100


class Unprocessable(Exception):
    """A body that does not fit; the text names the place and says what would be right there."""


@dataclass(frozen=True)
class Author:
    """Who writes, when (epoch seconds), and the defaults that count at that moment."""

    owner: str
    now: float
    defaults: Defaults


@dataclass(frozen=True)
class Write:
    """One endpoint that takes signed bodies: `schema` is that of the body without ``auth``."""

    endpoint: str
    summary: str
    schema: Mapping[str, Any]
    example: Mapping[str, Any]
    prepare: Callable[[Any, Author], Change]
    done: str

    @cached_property
    def _validate(self) -> Validator:
        return compile_schema(self.schema)

    def change(self, body: Any, author: Author) -> Change:
        """What `body` asks for.  Raises :class:`Unprocessable`."""
        for path, message, _ in self._validate(body):
            raise Unprocessable(f"{_place(path) or 'the body'} {message}")
        return self.prepare(body, author)


def _place(path: Sequence[str | int]) -> str:
    return ".".join(map(str, path))


def _override(kind: str, body: Mapping[str, Any], author: Author) -> Change:
    try:
        return override(author.owner, kind, checked(author.defaults, kind, body["overrides"]))
    except DoesNotFit as error:
        raise Unprocessable(str(error)) from None


def _messages(body: Mapping[str, Any], author: Author) -> Change:
    now = date_time(author.now)
    rows = []
    for index, message in enumerate(body["messages"]):
        stored = stored_form(message, author.owner, now)
        try:
            rows.append((instant(stored["created_at"]), stored))
        except ValueError as error:
            raise Unprocessable(f"messages.{index}.created_at {error}") from None
    return append_messages(author.owner, rows)


def _batch(body: Mapping[str, Any], author: Author) -> Change:
    changes = []
    for index, operation in enumerate(body["operations"]):
        try:
            changes.append(_OPERATIONS[operation["endpoint"]].change(operation["body"], author))
        except Unprocessable as error:
            raise Unprocessable(f"operations.{index}.body: {error}") from None

    def apply(tx: Writer) -> None:
        for change in changes:
            change(tx)

    return apply


def _overrides_schema(description: str) -> Mapping[str, Any]:
    return {
        "type": "object",
        "required": ["overrides"],
        "properties": {"overrides": {"type": "object", "description": description}},
    }


_CONFIG = Write(
    "/config",
    "Change the owner's configuration",
    _overrides_schema("name → value, for names whose config.NAME is in editable_fields; null takes an override back"),
    {"overrides": {"model": "deepseek-chat", "temperature": 0.9}},
    partial(_override, "config"),
    "Configuration updated successfully",
)
_PROMPTS = Write(
    "/prompts",
    "Change the owner's prompt",
    _overrides_schema(f"friends_profile → text of at most {PROMPT_CHARACTERS} characters; null takes it back"),
    {"overrides": {"friends_profile": "User profile: I prefer concise answers..."}},
    partial(_override, "prompts"),
    "Prompts updated successfully",
)
_MESSAGES = Write(
    "/messages",
    "Add a conversation to the owner's history",
    {
        "type": "object",
        "required": ["messages"],
        "properties": {"messages": {"type": "array", "minItems": 1, "items": MESSAGE_SCHEMA}},
    },
    {"messages": [{"run_id": "run_abc123", "role": "human", "content": "Hello, can you help me?"}]},
    _messages,
    "Messages stored successfully",
)
_OPERATIONS = {write.endpoint: write for write in (_CONFIG, _PROMPTS, _MESSAGES)}
_BATCH = Write(
    "/batch",
    "Several of these changes with one signature, all or none",
    {
        "type": "object",
        "required": ["operations"],
        "properties": {
            "operations": {
                "type": "array",
                "minItems": 1,
                "maxItems": BATCH_OPERATIONS,
                "items": {
                    "type": "object",
                    "required": ["endpoint", "method", "body"],
                    "properties": {
                        "endpoint": {"type": "string", "enum": list(_OPERATIONS)},
                        "method": {"type": "string", "enum": ["POST"]},
                        "body": {"type": "object", "description": "as for the endpoint, without auth"},
                    },
                },
            }
        },
    },
    {"operations": [{"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 0.9}}}]},
    _batch,
    "Batch applied successfully",
)
WRITES = (*_OPERATIONS.values(), _BATCH)
"""Every endpoint that takes signed bodies."""
