"""The defaults in force: the built-in template, or a JSON file that is read again when it changes.

Implements §4.3 (the built-in template) and §4.4 (``--nexus-defaults FILE``).  Every request asks
:meth:`DefaultsSource.current`, which costs one look at the file's times and size; the file is read when these have
changed.

Guarantees: a file that cannot be used stops the start (ValueError).  One that becomes unusable later is reported in the
log, once, and the last good one stays in force.  An :class:`Edition` never changes: a request that asked for it once
works with one template throughout.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256
from threading import Lock
from typing import Any

from omp.protocols.nexus.profile import Defaults, effective_profile, read_defaults
from omp.rules.json_text import parse
from omp.web.messages import json_bytes

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
            "model": "Gemini-2.5-Flash",
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
"""The template of a server that was given none (§4.3)."""


# --- One reading of the template --------------------------------------------------------------------------------

_KEPT_BYTES = 16 * 1024 * 1024
_KEPT_ROW_BYTES = 1024


class Edition:
    """One reading of the template, and the encoded profiles that were made from it lately.

    A profile depends on the template and on the owner's row only, and names nobody.  So owners with the same overrides,
    above all those with none, share one encoded profile.
    """

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults
        # The longest entry: the row itself, and a profile that shows the row twice (as overrides, and in force).
        longest = len(self._encoded(None)[0]) + 3 * _KEPT_ROW_BYTES
        self._kept = lru_cache(maxsize=_KEPT_BYTES // longest)(self._encoded)

    def profile(self, row: bytes | None) -> tuple[bytes, str]:
        """(body, entity tag) of ``GET /config`` for an owner whose stored overrides are `row` (None: none)."""
        return self._encoded(row) if row and len(row) > _KEPT_ROW_BYTES else self._kept(row)

    def _encoded(self, row: bytes | None) -> tuple[bytes, str]:
        body = json_bytes(effective_profile(self.defaults, parse(row) if row else {}))
        return body, f'"{sha256(body).hexdigest()[:32]}"'


# --- The file ---------------------------------------------------------------------------------------------------


class DefaultsSource:
    """Where editions come from: the file at `path`, or the built-in template if that is None.

    Raises ValueError, saying why, if the file cannot be used.  `log` writes one line to the server's log.
    """

    def __init__(self, path: str | None, log: Callable[[str], None]) -> None:
        self._path = path
        self._log = log
        self._lock = Lock()
        self._seen = self._look()
        self._edition = Edition(read_defaults(BUILT_IN) if path is None else _read(path))

    def current(self) -> Edition:
        """The edition in force."""
        if self._path is not None and self._look() != self._seen:
            self._read_again(self._path)
        return self._edition

    def _look(self) -> Any:
        """A value that changes whenever the file does; None if there is no file."""
        if self._path is None:
            return None
        try:
            seen = os.stat(self._path)
        except OSError:
            return None
        return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino

    def _read_again(self, path: str) -> None:
        with self._lock:
            seen = self._look()  # before reading: a write in between will then be seen as a further change
            if seen == self._seen:
                return
            try:
                self._edition = Edition(_read(path))
            except ValueError as error:
                self._log(f"nexus: {path} cannot be used, the defaults read before still count: {error}")
            self._seen = seen


def _read(path: str) -> Defaults:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    return read_defaults(parse(data))
