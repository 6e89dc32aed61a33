"""What everyone's profile starts from: the genesis template, read from JSON and checked.

Implements the data behind the protocol's §II.2 and §VI: ``llm.catalog`` (name → ``aliases``), ``user_defaults.config``,
``user_defaults.prompts`` (name → ``content``, ``editable``), ``ui.editable_fields`` and ``ui.field_options``.  A
template may hold more; what is not named here is ignored.

Guarantees: a :class:`Defaults` that exists can answer every request; a template that could not is refused with
a sentence that names the member.  The choices of ``config.model`` always follow the catalog.

Handled here: reading a template, and the built-in one.  The caller must find the file and notice its changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omp.rules.schema import Validator, compile_schema

MODEL_FIELD = "config.model"
EDITABLE_PROMPT = "prompts.friends_profile"
"""The only prompt that an owner may write (§II.5, notes), whatever a template says."""

BUILT_IN: Mapping[str, Any] = {
    "llm": {
        "catalog": {
            "gemini-2.5-flash": {"aliases": ["Gemini-2.5-Flash"]},
            "deepseek-chat": {"aliases": ["DeepSeek-Chat"]},
            "kimi-k2": {"aliases": ["Kimi-K2"]},
        }
    },
    "user_defaults": {
        "config": {
            "model": "gemini-2.5-flash",
            "temperature": 0.8,
            "max_tokens": 4096,
            "history_context_size": 20,
        },
        "prompts": {"friends_profile": {"content": "", "editable": True}},
    },
    "ui": {
        "editable_fields": [
            "config.model",
            "config.temperature",
            "config.max_tokens",
            "config.history_context_size",
            "prompts.friends_profile",
        ],
        "field_options": {
            "config.model": {"type": "select"},
            "config.temperature": {"type": "slider", "min": 0.0, "max": 2.0, "step": 0.1},
        },
    },
}
"""The template of a server that was given none: the values and the three models of §II.2."""

_OBJECT = {"type": "object"}
_validate = compile_schema(
    {
        "type": "object",
        "required": ["llm", "user_defaults", "ui"],
        "properties": {
            "llm": {"type": "object", "required": ["catalog"], "properties": {"catalog": _OBJECT}},
            "user_defaults": {
                "type": "object",
                "required": ["config", "prompts"],
                "properties": {"config": _OBJECT, "prompts": _OBJECT},
            },
            "ui": {
                "type": "object",
                "required": ["editable_fields"],
                "properties": {
                    "editable_fields": {
                        "type": "array",
                        "items": {
                            "type": "string",
                            "pattern": "(config|prompts)\\..+",
                            "description": "must be config.NAME or prompts.NAME",
                        },
                    },
                    "field_options": _OBJECT,
                },
            },
        },
    }
)
_ALIASES = {"type": "array", "items": {"type": "string", "minLength": 1}}
_validate_model = compile_schema({"type": "object", "properties": {"aliases": _ALIASES}})
_validate_prompt = compile_schema(
    {
        "type": "object",
        "required": ["content"],
        "properties": {"content": {"type": "string"}, "editable": {"type": "boolean"}},
    }
)
_NUMBER = {"type": "number"}
_OPTION: Mapping[str, Any] = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"type": "string"}, "options": _ALIASES, "min": _NUMBER, "max": _NUMBER},
}
_validate_option = {
    "select": compile_schema({**_OPTION, "required": ["type", "options"]}),
    "slider": compile_schema({**_OPTION, "required": ["type", "min", "max"]}),
}
_validate_any_option = compile_schema(_OPTION)


@dataclass(frozen=True)
class Defaults:
    """A checked template: what the effective profile of §II.2 is made from.  Nobody may change what it holds."""

    catalog: Mapping[str, Any]
    config: Mapping[str, Any]
    prompts: Mapping[str, Mapping[str, Any]]
    editable_fields: tuple[str, ...]
    static_options: Mapping[str, Mapping[str, Any]]

    @cached_property
    def field_options(self) -> Mapping[str, Any]:
        """Field → what the client offers for it; the choices of ``config.model`` are made from the catalog (§VI)."""
        model = {**self.static_options.get(MODEL_FIELD, {}), "type": "select", "options": self._models()}
        return {**self.static_options, MODEL_FIELD: model}

    def _models(self) -> list[str]:
        aliases: set[str] = set()
        for name, about in self.catalog.items():
            aliases.update(about.get("aliases") or [name])
        return sorted(aliases)


def read_defaults(template: Any) -> Defaults:
    """The checked form of `template`, a JSON value.  Raises ValueError saying which member would have to be what."""
    _check(_validate, "", template)
    catalog = template["llm"]["catalog"]
    config, prompts = template["user_defaults"]["config"], template["user_defaults"]["prompts"]
    options = template["ui"].get("field_options", {})
    for name, model in catalog.items():
        _check(_validate_model, f"llm.catalog.{name}", model)
    for name, prompt in prompts.items():
        _check(_validate_prompt, f"user_defaults.prompts.{name}", prompt)
    for field, option in options.items():
        _check_option(field, option)
    listed = template["ui"]["editable_fields"]
    # What the template calls editable and this API does not let anyone write is shown as not editable.
    open_prompts = {f"prompts.{name}" for name, prompt in prompts.items() if prompt.get("editable", True)}
    open_prompts &= {EDITABLE_PROMPT} & set(listed)
    return Defaults(
        catalog=catalog,
        config=config,
        prompts={name: {**prompt, "editable": f"prompts.{name}" in open_prompts} for name, prompt in prompts.items()},
        editable_fields=tuple(field for field in listed if field.startswith("config.") or field in open_prompts),
        static_options=options,
    )


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
