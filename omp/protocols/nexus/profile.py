"""The effective profile: defaults merged with an owner's overrides, and the check of every override.

Implements §4.1 and §4.2 (the template that defaults come from), §5.1 (the profile) and §5.3 (which overrides fit).
Everything here is a pure function of a template and of what is stored of one owner.

Guarantees: a :class:`Defaults` that exists can answer every request; a template that could not is refused with a
sentence that names the member.  A value in ``effective_config`` is a default or fits its field *now*: if the template
has changed since an override was stored and it no longer fits, the default counts, and ``user_overrides`` still shows
the override.

The caller must authenticate the owner first, and store what :func:`merged` returns in the transaction that read the
row, so that concurrent updates lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omp.protocols.nexus.signatures import ProfileError
from omp.rules.schema import Validator, compile_schema

MODEL_FIELD = "config.model"
EDITABLE_PROMPT = "prompts.friends_profile"
"""The only prompt that an owner may write (§5.5), whatever a template says."""
PROMPT_CHARACTERS = 65_536
WHOLE_NUMBERS = {"config.max_tokens": (1, 1_000_000), "config.history_context_size": (0, 1_000)}
"""Field → lowest and highest, whatever the template says."""

Overrides = dict[str, dict[str, Any]]
"""What is stored of an owner: ``{"config": {name: value}, "prompts": {name: text}}``."""
KINDS = {"config": "config_overrides", "prompts": "prompt_overrides"}
"""Kind of override → its member in ``user_overrides``."""


class DoesNotFit(ProfileError):
    """A signed body that is not what the endpoint takes; the text begins with the place."""


# --- The template: §4.1 -----------------------------------------------------------------------------------------

_OBJECT = {"type": "object"}
_NUMBER = {"type": "number"}
_ALIASES = {"type": "array", "items": {"type": "string", "minLength": 1}}


def _object(required: list[str], properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


_EDITABLE_FIELDS = {
    "type": "array",
    "items": {
        "type": "string",
        "pattern": "(config|prompts)\\..+",
        "x-message": "must be config.NAME or prompts.NAME",
    },
}
_validate_template = compile_schema(
    _object(
        ["llm", "user_defaults", "ui"],
        {
            "llm": _object(["catalog"], {"catalog": _OBJECT}),
            "user_defaults": _object(["config", "prompts"], {"config": _OBJECT, "prompts": _OBJECT}),
            "ui": _object(["editable_fields"], {"editable_fields": _EDITABLE_FIELDS, "field_options": _OBJECT}),
        },
    )
)
_validate_model = compile_schema(_object([], {"aliases": _ALIASES}))
_validate_prompt = compile_schema(
    _object(["content"], {"content": {"type": "string"}, "editable": {"type": "boolean"}})
)
_OPTION = {"type": {"type": "string"}, "options": _ALIASES, "min": _NUMBER, "max": _NUMBER}
_validate_option = {
    "select": compile_schema(_object(["type", "options"], _OPTION)),
    "slider": compile_schema(_object(["type", "min", "max"], _OPTION)),
}
_validate_any_option = compile_schema(_object(["type"], _OPTION))


@dataclass(frozen=True)
class Defaults:
    """A checked template: what the effective profile is made from.  Nobody may change what it holds."""

    catalog: Mapping[str, Any]
    config: Mapping[str, Any]
    prompts: Mapping[str, Mapping[str, Any]]
    editable_fields: tuple[str, ...]
    static_options: Mapping[str, Mapping[str, Any]]

    @cached_property
    def field_options(self) -> Mapping[str, Any]:
        """Field → what a client offers for it; the choices of ``config.model`` always follow the catalog (§4.2)."""
        model = {**self.static_options.get(MODEL_FIELD, {}), "type": "select", "options": _models(self.catalog)}
        return {**self.static_options, MODEL_FIELD: model}


def read_defaults(template: Any) -> Defaults:
    """The checked form of `template`, a JSON value.  Raises ValueError that names a member and says what it must be.

    Members that §4.1 does not name are ignored.
    """
    _check(_validate_template, "", template)
    catalog = template["llm"]["catalog"]
    config, prompts = template["user_defaults"]["config"], template["user_defaults"]["prompts"]
    options = template["ui"].get("field_options", {})
    for name, model in catalog.items():
        _check(_validate_model, f"llm.catalog.{name}", model)
    for name, prompt in prompts.items():
        _check(_validate_prompt, f"user_defaults.prompts.{name}", prompt)
    for field, option in options.items():
        _check_option(field, option)
    if "model" in config:
        config = {**config, "model": _default_model(config["model"], catalog)}
    listed = template["ui"]["editable_fields"]
    # A prompt that the template calls editable, but that this API lets nobody write, is shown as not editable.
    open_prompts = {f"prompts.{name}" for name, prompt in prompts.items() if prompt.get("editable", True)}
    open_prompts &= {EDITABLE_PROMPT} & set(listed)
    return Defaults(
        catalog=catalog,
        config=config,
        prompts={name: {**prompt, "editable": f"prompts.{name}" in open_prompts} for name, prompt in prompts.items()},
        editable_fields=tuple(field for field in listed if field.startswith("config.") or field in open_prompts),
        static_options=options,
    )


def _aliases(name: str, about: Mapping[str, Any]) -> list[str]:
    return about.get("aliases") or [name]


def _models(catalog: Mapping[str, Any]) -> list[str]:
    """What an owner chooses from."""
    return sorted({alias for name, about in catalog.items() for alias in _aliases(name, about)})


def _default_model(model: Any, catalog: Mapping[str, Any]) -> str:
    """The option that the template's default stands for: a client that shows the options must find it there (§4.2)."""
    options = _models(catalog)
    if isinstance(model, str) and model not in options and model in catalog:
        return _aliases(model, catalog[model])[0]
    try:
        return _choice(MODEL_FIELD, model, options)
    except DoesNotFit:
        raise ValueError("user_defaults.config.model must be a name or an alias in llm.catalog") from None


def _check_option(field: str, option: Any) -> None:
    where = f"ui.field_options.{field}"
    _check(_validate_any_option, where, option)
    if field != MODEL_FIELD:  # its choices come from the catalog
        _check(_validate_option.get(option["type"], _validate_any_option), where, option)
    if "min" in option and "max" in option and option["min"] > option["max"]:
        raise ValueError(f"{where}: min must not be above max")


def _check(validate: Validator, where: str, value: Any) -> None:
    for path, message, _ in validate(value):
        place = ".".join(str(step) for step in ([where] if where else []) + list(path))
        raise ValueError(f"{place or 'the template'} {message}")


# --- The profile: §5.1 ------------------------------------------------------------------------------------------


def effective_profile(defaults: Defaults, overrides: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The answer of ``GET /config`` (§5.2) for an owner with these overrides."""
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


def merged(stored: Mapping[str, Mapping[str, Any]], kind: str, changes: Mapping[str, Any]) -> Overrides:
    """`stored` with the checked `changes` of that kind merged in; None takes an override back.

    A kind that is left without overrides is left out, so that an owner who takes everything back leaves no row.
    """
    result = {each: dict(stored.get(each, {})) for each in KINDS}
    result[kind].update(changes)
    return {
        each: values
        for each, members in result.items()
        if (values := {name: value for name, value in members.items() if value is not None})
    }


# --- What fits a field: §5.3 ------------------------------------------------------------------------------------


def checked(defaults: Defaults, kind: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The new `overrides` (name → value; None takes one back) as they are to be stored.  Raises DoesNotFit."""
    return {name: checked_value(defaults, f"{kind}.{name}", value) for name, value in overrides.items()}


def checked_value(defaults: Defaults, field: str, value: Any) -> Any:
    """`value` as it is stored for `field`; None, which takes the override back, always fits.  Raises DoesNotFit."""
    if field not in defaults.editable_fields:
        raise _misfit(field, "cannot be changed; what can is " + (", ".join(defaults.editable_fields) or "nothing"))
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


def _misfit(field: str, sentence: str) -> DoesNotFit:
    # The name is the sender's, and may be as long as the body.
    return DoesNotFit(f"{field if len(field) <= 100 else field[:100] + '…'}: {sentence}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= PROMPT_CHARACTERS


def _text(field: str, value: Any) -> Any:
    if not _is_text(value):
        raise _misfit(field, f"must be {_TEXT}")
    return value


def _choice(field: str, value: Any, options: list[str]) -> str:
    """The option that `value` names: itself, or else the first that differs in case only."""
    if isinstance(value, str):
        if value in options:
            return value
        folded = value.casefold()
        for option in options:
            if option.casefold() == folded:
                return option
    raise _misfit(field, "must be one of " + ", ".join(options))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(field: str, value: Any, option: Mapping[str, Any]) -> Any:
    low, high = option.get("min"), option.get("max")
    if not _is_number(value) or (low is not None and value < low) or (high is not None and value > high):
        bounds = f" from {low}" * (low is not None) + f" to {high}" * (high is not None)
        raise _misfit(field, f"must be a number{bounds}")
    return value


def _whole_number(field: str, value: Any) -> int:
    low, high = WHOLE_NUMBERS[field]
    # In JSON 4096.0 is the integer 4096, and some languages write it so.
    if not _is_number(value) or not low <= value <= high or value != int(value):
        raise _misfit(field, f"must be a whole number from {low} to {high}")
    return int(value)


_TEXT = f"a string of at most {PROMPT_CHARACTERS} characters"
_KINDS_OF_VALUE: Mapping[str, Callable[[Any], bool]] = {
    _TEXT: _is_text,
    "a number": _is_number,
    "true or false": lambda value: isinstance(value, bool),
}


def _like_the_default(field: str, value: Any, default: Any) -> None:
    """A field without an option takes the kind of value that its default is; any of the kinds if it has none."""
    kinds = {words: fits for words, fits in _KINDS_OF_VALUE.items() if fits(default)} or _KINDS_OF_VALUE
    if not any(fits(value) for fits in kinds.values()):
        raise _misfit(field, "must be " + " or ".join(kinds))
