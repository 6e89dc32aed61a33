"""What a template may hold, and what it lets an owner change (§4.1, §5.3)."""

from __future__ import annotations

import copy
import unittest
from typing import Any

from omp.protocols.nexus.defaults import BUILT_IN
from omp.protocols.nexus.profile import DoesNotFit, Overrides, checked_value, effective_profile, read_defaults


def changed(path: str, value: Any) -> Any:
    """The built-in template with `value` at `path`; ``...`` takes the member away."""
    template: Any = copy.deepcopy(dict(BUILT_IN))
    at = template
    *steps, last = path.split("/")
    for step in steps:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return template


class Templates(unittest.TestCase):
    """What a defaults file may hold."""

    def test_what_cannot_be_used_is_refused_and_named(self) -> None:
        for path, value, named in (
            ("llm", ..., "llm is required"),
            ("llm/catalog", [], "llm.catalog must be an object"),
            ("llm/catalog/kimi-k2", "Kimi", "llm.catalog.kimi-k2 must be an object"),
            ("llm/catalog/kimi-k2/aliases", "Kimi", "llm.catalog.kimi-k2.aliases must be an array"),
            ("llm/catalog/kimi-k2/aliases", [1], "llm.catalog.kimi-k2.aliases.0 must be a string"),
            ("user_defaults/config", None, "user_defaults.config must be an object"),
            ("user_defaults/prompts", ..., "user_defaults.prompts is required"),
            (
                "user_defaults/prompts/friends_profile",
                "text",
                "user_defaults.prompts.friends_profile must be an object",
            ),
            ("user_defaults/prompts/friends_profile/content", 1, "friends_profile.content must be a string"),
            ("user_defaults/prompts/friends_profile/editable", 1, "friends_profile.editable must be a boolean"),
            (
                "user_defaults/config/model",
                "gpt",
                "user_defaults.config.model must be a name or an alias in llm.catalog",
            ),
            ("user_defaults/config/model", ["Kimi-K2"], "user_defaults.config.model must be a name"),
            ("ui/editable_fields", ..., "ui.editable_fields is required"),
            ("ui/editable_fields", ["model"], "ui.editable_fields.0 must be config.NAME or prompts.NAME"),
            ("ui/field_options/config.temperature", {"min": 0}, "config.temperature.type is required"),
            ("ui/field_options/config.temperature", {"type": "slider", "min": 0}, "config.temperature.max is required"),
            ("ui/field_options/config.temperature/max", "2", "config.temperature.max must be a number"),
            ("ui/field_options/config.temperature/min", 3, "min must not be above max"),
            ("ui/field_options/config.tone", {"type": "select"}, "config.tone.options is required"),
            ("ui/field_options/config.tone", "select", "config.tone must be an object"),
        ):
            with self.subTest(path=path, value=value), self.assertRaises(ValueError) as caught:
                read_defaults(changed(path, value))
            self.assertIn(named, str(caught.exception))
        with self.assertRaises(ValueError):
            read_defaults([])

    def test_a_prompt_is_editable_only_if_the_api_lets_it_be_written(self) -> None:
        template = changed("user_defaults/prompts/core", {"content": "You are NEXUS.", "editable": True})
        template["ui"]["editable_fields"].append("prompts.core")
        profile = effective_profile(read_defaults(template), {})
        self.assertEqual(profile["effective_prompts"]["core"], {"content": "You are NEXUS.", "editable": False})
        self.assertNotIn("prompts.core", profile["editable_fields"])
        self.assertTrue(profile["effective_prompts"]["friends_profile"]["editable"])
        shut = effective_profile(read_defaults(changed("user_defaults/prompts/friends_profile/editable", False)), {})
        self.assertFalse(shut["effective_prompts"]["friends_profile"]["editable"])
        self.assertNotIn("prompts.friends_profile", shut["editable_fields"])

    def test_the_default_model_is_answered_as_it_is_offered(self) -> None:
        for model, shown in (("kimi-k2", "Kimi-K2"), ("KIMI-K2", "Kimi-K2"), ("m-1", "Zeta"), ("ALPHA", "alpha")):
            template = changed("user_defaults/config/model", model)
            template["llm"]["catalog"]["m-1"] = {"aliases": ["Zeta", "alpha"]}
            profile = effective_profile(read_defaults(template), {})
            self.assertEqual(profile["effective_config"]["model"], shown)
            self.assertIn(shown, profile["field_options"]["config.model"]["options"])
        bare = effective_profile(read_defaults(changed("user_defaults/config/model", ...)), {})
        self.assertNotIn("model", bare["effective_config"])

    def test_an_override_that_no_longer_fits_is_shown_and_does_not_count(self) -> None:
        stored: Overrides = {"config": {"model": "Kimi-K2", "temperature": 1.5}, "prompts": {"friends_profile": "x"}}
        template = changed("llm/catalog/kimi-k2", ...)
        template["ui"]["editable_fields"].remove("config.temperature")
        profile = effective_profile(read_defaults(template), stored)
        self.assertEqual(profile["effective_config"]["model"], "Gemini-2.5-Flash")
        self.assertEqual(profile["effective_config"]["temperature"], 0.8)
        self.assertEqual(profile["effective_prompts"]["friends_profile"]["content"], "x")
        self.assertEqual(profile["user_overrides"]["config_overrides"], stored["config"])

    def test_a_whole_number_that_is_also_a_slider_must_fit_both(self) -> None:
        slider = {"type": "slider", "min": 1, "max": 8192}
        defaults = read_defaults(changed("ui/field_options/config.max_tokens", slider))
        self.assertEqual(checked_value(defaults, "config.max_tokens", 8192.0), 8192)
        for value in (8193, 0, 1.5):
            with self.assertRaises(DoesNotFit):
                checked_value(defaults, "config.max_tokens", value)

    def test_other_fields_take_what_their_bounds_or_their_default_allow(self) -> None:
        template = changed("user_defaults/config/stream", True)
        template["user_defaults"]["config"]["tone"] = "dry"
        template["ui"]["field_options"]["config.offset"] = {"type": "number", "max": -1}
        template["ui"]["editable_fields"] += ["config.offset", "config.stream", "config.tone", "config.new"]
        defaults = read_defaults(template)
        cases: dict[str, tuple[list[Any], list[Any]]] = {
            "offset": ([-1, -1.5], [0, "-2", True]),
            "stream": ([True, False], [1, "true", []]),
            "tone": (["", "warm"], [1, True, {}, "x" * 65_537]),
            "new": (["x", 1, True], [[], {}, "x" * 65_537]),
        }
        for name, (good, bad) in cases.items():
            for value in good:
                self.assertEqual(checked_value(defaults, f"config.{name}", value), value)
            for value in bad:
                with self.subTest(name=name, value=value), self.assertRaises(DoesNotFit):
                    checked_value(defaults, f"config.{name}", value)

    def test_a_name_as_long_as_a_body_is_not_sent_back_whole(self) -> None:
        with self.assertRaises(DoesNotFit) as caught:
            checked_value(read_defaults(BUILT_IN), "config." + "x" * 100_000, 1)
        self.assertLess(len(str(caught.exception)), 400)


if __name__ == "__main__":
    unittest.main()
