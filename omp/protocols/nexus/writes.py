"""What a signed request may ask for, and the rows that it changes.

Implements §5.4 and §5.5 (overrides), §6 (messages) and §7 (batches).  One table, :data:`WRITES`: the routes, the
operations of a batch and the documentation are made from it.

A body becomes an :class:`Asked`, and this becomes a :data:`Change`, a function of an open transaction, before the
transaction begins: whatever can be wrong with the body is found outside the lock.  Inside it a row is read, merged and
written in one step, so two updates at the same time lose nothing.  A batch is merged before it is stored, so it costs
one such step however many operations it has, and all of them are stored or none.

Layout: the rows of an owner; what a message is; the checks; the table.  The caller must have authenticated the owner.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any, NamedTuple

from omp.protocols.nexus.profile import PROMPT_CHARACTERS, Defaults, DoesNotFit, checked, merged
from omp.rules.json_text import parse
from omp.rules.schema import TEXT, Validator, compile_schema, described, list_of, record
from omp.store.port import Store, Writer, after, key
from omp.web.messages import json_bytes

# --- The rows of an owner ---------------------------------------------------------------------------------------
#
# Every key begins with the owner's address in lower case, so that no row of one owner can be reached with the address
# of another (§10.3).
#
#   nexus_overrides   address            → {"config": {…}, "prompts": {…}}
#   nexus_messages    address, position  → the message as it is answered
#   nexus_sequence    address            → how many messages were ever stored
#
# The position of a message is its instant and its number among its owner's messages, both counted downwards, so that
# the newest comes first.  It is unique within the owner and never changes: a page that starts after a position repeats
# no message and omits none that was there before, whatever is stored in between.

OVERRIDES = "nexus_overrides"
MESSAGES = "nexus_messages"
SEQUENCE = "nexus_sequence"
POSITION_BYTES = 16
_LAST = 2**64 - 1

PAGE_BYTES = 1024 * 1024
"""The most bytes of the messages on a page, if it has several (§6.3): whoever knows an address can ask for it."""

Change = Callable[[Writer], None]
"""What a checked request does inside a transaction."""


def overrides_row(store: Store, owner: str) -> bytes | None:
    """The stored overrides of `owner`, encoded; None if there are none."""
    return store.get(OVERRIDES, key(owner))


def override(owner: str, changes: Mapping[str, Mapping[str, Any]]) -> Change:
    """Merge the checked `changes` (kind → name → value) into the overrides of `owner`."""

    def apply(tx: Writer) -> None:
        row = tx.get(OVERRIDES, key(owner))
        result = parse(row) if row else {}
        for kind, values in changes.items():
            result = merged(result, kind, values)
        if result:
            tx.put(OVERRIDES, key(owner), json_bytes(result))
        else:
            tx.delete(OVERRIDES, key(owner))

    return apply


def append_messages(owner: str, messages: Sequence[tuple[int, Mapping[str, Any]]]) -> Change:
    """Add messages, (instant, stored form) in the order in which they were said, to the history of `owner`."""
    rows = [(at, json_bytes(message)) for at, message in messages]

    def apply(tx: Writer) -> None:
        stored = tx.get(SEQUENCE, key(owner))
        first = int.from_bytes(stored, "big") if stored else 0
        for sequence, (at, message) in enumerate(rows, first):
            tx.put(MESSAGES, key(owner, _LAST - at, _LAST - sequence), message)
        tx.put(SEQUENCE, key(owner), (first + len(rows)).to_bytes(8, "big"))

    return apply


def read_messages(store: Store, owner: str, limit: int, last: bytes | None) -> tuple[list[bytes], bytes | None]:
    """A page of at most `limit` encoded messages of `owner`, newest first, and where the next page begins.

    It ends before the message with which it would exceed PAGE_BYTES, but has at least one.  `last` is the position
    after which the page begins; None begins with the newest message.  The second result is the position of the last
    message in the page, or None if it is the owner's oldest.
    """
    start = key(owner) if last is None else key(owner) + last + b"\0"
    page: list[bytes] = []
    size = 0
    position = b""
    with store.read() as tx:
        for row, message in tx.scan(MESSAGES, start, after(key(owner))):
            size += len(message)
            if page and (len(page) == limit or size > PAGE_BYTES):
                return page, position
            page.append(message)
            position = row[-POSITION_BYTES:]
    return page, None


# --- Messages: §6.1 ---------------------------------------------------------------------------------------------

MESSAGE_SCHEMA = record(
    "A message to be kept.",
    {
        "run_id": described(TEXT, "the conversation", minLength=1, maxLength=256),
        "role": described(TEXT, "who said it: the owner, the assistant, or a tool", enum=["human", "ai", "tool"]),
        "content": {
            "type": ["string", "object"],
            "additionalProperties": True,
            "description": "text, or an object for what a tool gave",
        },
    },
    {"created_at": described(TEXT, "when it was said; the time of storing if left out", format="date-time")},
)

# RFC 3339 §5.6, within ISO 8601; without an offset it would not be an instant.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)
_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant(text: str) -> int:
    """The microseconds from the beginning of the year 1 to an RFC 3339 date-time, whatever its offset.

    Raises ValueError that says what would be right.
    """
    try:
        if not _DATE_TIME.fullmatch(text):
            raise ValueError
        since = (datetime.fromisoformat(text.upper()) - _YEAR_ONE) // _MICROSECOND
        if since < 0:  # the first hours of the year 1, east of Greenwich
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError("must be a date and time with an offset, as in 2025-10-20T10:30:00Z") from None
    return since


def date_time(now: float) -> str:
    """The time `now` (epoch seconds) in UTC, to the millisecond: ``2025-10-20T10:30:00.000Z``."""
    return (_EPOCH + timedelta(seconds=now)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stored_form(message: Mapping[str, Any], owner: str, now: str) -> dict[str, Any]:
    """`message`, which fits the schema, as it is answered later: these members and no others."""
    return {
        "run_id": message["run_id"],
        "owner_key": owner,
        "role": message["role"],
        "content": message["content"],
        "created_at": message.get("created_at", now),
    }


def is_message_of(row: bytes, message: Mapping[str, Any]) -> bool:
    """Whether the key `row` is that of `message`: of its owner, and of its instant."""
    at = (_LAST - instant(message["created_at"])).to_bytes(8, "big")
    return row[:-8] == key(message["owner_key"]) + at


# --- From a body to a change ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class WriteContext:
    """Who writes, when (epoch seconds), and the defaults in force at that moment."""

    owner: str
    now: float
    defaults: Defaults


class Asked(NamedTuple):
    """What a checked body asks for: overrides (kind → name → value; None takes one back), messages with instants."""

    overrides: dict[str, dict[str, Any]]
    messages: list[tuple[int, Mapping[str, Any]]]

    def add(self, later: Asked) -> None:
        """Ask for what `later` asks for, too; of two overrides of one name the later one counts."""
        for kind, values in later.overrides.items():
            self.overrides.setdefault(kind, {}).update(values)
        self.messages.extend(later.messages)

    def change(self, owner: str) -> Change:
        """What it does to the rows of `owner`."""
        changes = []
        if self.overrides:
            changes.append(override(owner, self.overrides))
        if self.messages:
            changes.append(append_messages(owner, self.messages))

        def apply(tx: Writer) -> None:
            for change in changes:
                change(tx)

        return apply


@dataclass(frozen=True)
class Write:
    """One endpoint that takes signed bodies.

    `schema` is that of the body without ``auth``, `example` such a body; `prepare` says what a body of that
    shape asks for, or raises DoesNotFit; `done` is the message of a success.
    """

    endpoint: str
    summary: str
    schema: Mapping[str, Any]
    example: Mapping[str, Any]
    prepare: Callable[[Any, WriteContext], Asked]
    done: str

    @cached_property
    def _validate(self) -> Validator:
        """All of the schema but the elements of lists."""
        members = {
            name: {word: value for word, value in member.items() if word != "items"}
            for name, member in self.schema["properties"].items()
        }
        return compile_schema({**self.schema, "properties": members})

    @cached_property
    def _validate_elements(self) -> Mapping[str, Validator]:
        """For each member that is a list, the check of an element."""
        members = self.schema["properties"].items()
        return {name: compile_schema(member["items"]) for name, member in members if "items" in member}

    def asked(self, body: Any, context: WriteContext) -> Asked:
        """What `body` asks for.  Raises DoesNotFit with the first place that does not.

        Elements are checked one by one: what a validator says of a list of thirty thousand takes 10 MB.
        """
        _check(self._validate, (), body)
        for name, validate in self._validate_elements.items():
            for index, element in enumerate(body[name]):
                _check(validate, (name, index), element)
        return self.prepare(body, context)


def _check(validate: Validator, place: tuple[str | int, ...], value: Any) -> None:
    """Raise DoesNotFit with the first problem of `value`, which is at `place` in the body."""
    for path, message, _ in validate(value):
        raise DoesNotFit(f"{'.'.join(map(str, (*place, *path))) or 'the body'} {message}")


def _prepare_overrides(kind: str, body: Mapping[str, Any], context: WriteContext) -> Asked:
    return Asked({kind: checked(context.defaults, kind, body["overrides"])}, [])


def _prepare_messages(body: Mapping[str, Any], context: WriteContext) -> Asked:
    now = date_time(context.now)
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for index, message in enumerate(body["messages"]):
        stored = stored_form(message, context.owner, now)
        try:
            rows.append((instant(stored["created_at"]), stored))
        except ValueError as error:
            raise DoesNotFit(f"messages.{index}.created_at {error}") from None
    return Asked({}, rows)


def _prepare_batch(body: Mapping[str, Any], context: WriteContext) -> Asked:
    together = Asked({}, [])
    for index, operation in enumerate(body["operations"]):
        try:
            together.add(_OPERATIONS[operation["endpoint"]].asked(operation["body"], context))
        except DoesNotFit as error:
            raise DoesNotFit(f"operations.{index}.body: {error}") from None
    return together


# --- The table --------------------------------------------------------------------------------------------------


_CONFIG = Write(
    "/config",
    "Change the owner's configuration",
    record(
        "Values for some fields; the others stay.",
        {
            "overrides": {
                "type": "object",
                "additionalProperties": True,
                "description": "name → value, for names whose config.NAME is in editable_fields; "
                "null takes an override back",
            }
        },
    ),
    {"overrides": {"model": "deepseek-chat", "temperature": 0.9}},
    partial(_prepare_overrides, "config"),
    "Configuration updated successfully",
)
_PROMPTS = Write(
    "/prompts",
    "Change the owner's prompt",
    record(
        "Texts for some prompts; the others stay.",
        {
            "overrides": {
                "type": "object",
                "additionalProperties": True,
                "description": f"friends_profile → text of at most {PROMPT_CHARACTERS} characters; null takes it back",
            }
        },
    ),
    {"overrides": {"friends_profile": "User profile: I prefer concise answers..."}},
    partial(_prepare_overrides, "prompts"),
    "Prompts updated successfully",
)
_MESSAGES = Write(
    "/messages",
    "Add a conversation to the owner's history",
    record(
        "Messages to be kept, all or none.",
        {"messages": list_of(MESSAGE_SCHEMA, "in the order in which they were said", minItems=1)},
    ),
    {"messages": [{"run_id": "run_abc123", "role": "human", "content": "Hello, can you help me?"}]},
    _prepare_messages,
    "Messages stored successfully",
)
_OPERATIONS = {write.endpoint: write for write in (_CONFIG, _PROMPTS, _MESSAGES)}
OPERATION = record(
    "One of the changes of a batch.",
    {
        "endpoint": described(TEXT, "where the change would go by itself, below /api/v1", enum=list(_OPERATIONS)),
        "method": described(TEXT, "always the same", enum=["POST"]),
        "body": {"type": "object", "additionalProperties": True, "description": "as for the endpoint, without auth"},
    },
)
_BATCH = Write(
    "/batch",
    "Several of these changes with one signature, all or none",
    record(
        "Changes to be made together, all or none.",
        {"operations": list_of(OPERATION, "in the order in which they are made", minItems=1, maxItems=100)},
    ),
    {"operations": [{"endpoint": "/config", "method": "POST", "body": {"overrides": {"temperature": 0.9}}}]},
    _prepare_batch,
    "Batch applied successfully",
)
WRITES = (*_OPERATIONS.values(), _BATCH)
"""Every endpoint that takes signed bodies."""
