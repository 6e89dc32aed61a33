"""The effective profile: defaults merged with an owner's overrides, and the check of every override.

Implements the protocol's §II.2 (the answer of ``GET /config``), and what may be written by ``POST /config`` (§II.3)
and ``POST /prompts`` (§II.5).  An override is stored only if its field is editable and its value fits the field: one of
the choices of a select, a number within a slider's range, a whole number within :data:`WHOLE_NUMBERS`, otherwise a
value of the kind that the default has.

Guarantees: a value in ``effective_config`` is a default or fits its field *now*.  Where the template has changed since
the override was stored and it no longer fits, the default counts; ``user_overrides`` still shows it.

Handled here: fields and values.  The caller must authenticate the owner first and store what :func:`merged` gives in
the same transaction that read the row, so that concurrent updates lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from omp.protocols.nexus.defaults import EDITABLE_PROMPT, Defaults

PROMPT_CHARACTERS = 65_536
WHOLE_NUMBERS = {"config.max_tokens": (1, 1_000_000), "config.history_context_size": (0, 1_000)}
"""Field → lowest and highest, whatever the template says."""

Overrides = dict[str, dict[str, Any]]
"""What is stored of an owner: ``{"config": {name: value}, "prompts": {name: text}}``."""

KINDS = {"config": "config_overrides", "prompts": "prompt_overrides"}
"""Where a kind of override stands in ``user_overrides``."""


class DoesNotFit(Exception):
    """A field that cannot be overridden so; the text names the field and says what would fit."""

    def __init__(self, field: str, sentence: str) -> None:
        # The name is the sender's: it may be as long as the body.
        super().__init__(f"{field if len(field) <= 100 else field[:100] + '…'}: {sentence}")


def effective_profile(defaults: Defaults, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The answer of ``GET /config`` (§II.2) for an owner with these overrides."""
    fitting = {kind: dict(_fitting(defaults, kind, overrides.get(kind, {}))) for kind in KINDS}
    return {
        "effective_config": {**defaults.config, **fitting["config"]},
        "effective_prompts": {
            name: {**prompt, "content": fitting["prompts"].get(name, prompt["content"])}
            for name, prompt in defaults.prompts.items()
        },
        "user_overrides": {shown: overrides.get(kind, {}) for kind, shown in KINDS.items()},
        "editable_fields": list(defaults.editable_fields),
        "field_options": defaults.field_options,
    }


def _fitting(defaults: Defaults, kind: str, overrides: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in overrides.items():
        try:
            yield name, checked_value(defaults, f"{kind}.{name}", value)
        except DoesNotFit:
            continue


def checked(defaults: Defaults, kind: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The new `overrides` (name → value, None takes one back) as they are to be stored.  Raises DoesNotFit."""
    return {name: checked_value(defaults, f"{kind}.{name}", value) for name, value in overrides.items()}


def merged(stored: Mapping[str, Mapping[str, Any]], kind: str, changes: Mapping[str, Any]) -> Overrides:
    """`stored` with the checked `changes` of that kind in it; None takes an override back.  Kinds left empty go."""
    result = {each: dict(stored.get(each, {})) for each in KINDS}
    result[kind].update(changes)
    return {
        each: values
        for each, members in result.items()
        if (values := {name: value for name, value in members.items() if value is not None})
    }


# --- One value ---------------------------------------------------------------------------------------------------


def checked_value(defaults: Defaults, field: str, value: Any) -> Any:
    """`value` as it is stored for `field`; None passes, it takes the override back.  Raises :class:`DoesNotFit`."""
    if field not in defaults.editable_fields:
        raise DoesNotFit(field, "cannot be changed; what can is " + (", ".join(defaults.editable_fields) or "nothing"))
    if value is None:
        return None
    if field == EDITABLE_PROMPT:
        return _text(field, value)
    option = defaults.field_options.get(field, {})
    if field in WHOLE_NUMBERS:
        value = _whole_number(field, value)
    if option.get("type") == "select":
        return _choice(field, value, option["options"])
    if "min" in option or "max" in option:
        return _number(field, value, option)
    if field not in WHOLE_NUMBERS:
        _like_the_default(field, value, defaults.config.get(field.removeprefix("config.")))
    return value


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= PROMPT_CHARACTERS


def _text(field: str, value: Any) -> Any:
    if not _is_text(value):
        raise DoesNotFit(field, f"must be {_TEXT}")
    return value


def _choice(field: str, value: Any, options: list[str]) -> str:
    """The option that `value` names: itself, or else the one that differs in case only."""
    if isinstance(value, str):
        if value in options:
            return value
        folded = value.casefold()
        for option in options:
            if option.casefold() == folded:
                return option
    raise DoesNotFit(field, "must be one of " + ", ".join(options))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(field: str, value: Any, option: Mapping[str, Any]) -> Any:
    low, high = option.get("min"), option.get("max")
    if not _is_number(value) or (low is not None and value < low) or (high is not None and value > high):
        bounds = f" from {low}" * (low is not None) + f" to {high}" * (high is not None)
        raise DoesNotFit(field, f"must be a number{bounds}")
    return value


def _whole_number(field: str, value: Any) -> int:
    low, high = WHOLE_NUMBERS[field]
    # In JSON 4096.0 is the integer 4096: some languages write it so.
    if not _is_number(value) or not low <= value <= high or value != int(value):
        raise DoesNotFit(field, f"must be a whole number from {low} to {high}")
    return int(value)


_TEXT = f"a string of at most {PROMPT_CHARACTERS} characters"
_KINDS_OF_VALUE: Mapping[str, Callable[[Any], bool]] = {
    _TEXT: _is_text,
    "a number": _is_number,
    "true or false": lambda value: isinstance(value, bool),
}


def _like_the_default(field: str, value: Any, default: Any) -> None:
    """A field without an option takes what its default is: text, a number, true or false; any of them without one."""
    kinds = {words: fits for words, fits in _KINDS_OF_VALUE.items() if fits(default)} or _KINDS_OF_VALUE
    if not any(fits(value) for fits in kinds.values()):
        raise DoesNotFit(field, "must be " + " or ".join(kinds))
