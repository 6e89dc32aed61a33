"""The defaults that count now: a JSON file that is read again when it changes, or the built-in template.

Implements ``--nexus-defaults FILE``.  Every request asks :meth:`DefaultsSource.current`, which costs one look at the
file's times and size; the file is read when these have changed.

Guarantees: a file that cannot be used at the start is refused (ValueError); one that becomes so later is reported in
the log, once, and the last good one goes on counting.  What :meth:`~DefaultsSource.current` gives never changes: a
request works with one edition throughout.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from threading import Lock
from typing import Any

from omp.protocols.nexus.defaults import BUILT_IN, Defaults, read_defaults
from omp.protocols.nexus.profile import effective_profile
from omp.rules.json_text import parse
from omp.web.messages import json_bytes

_KEPT_BYTES = 16 * 1024 * 1024
_KEPT_ROW_BYTES = 1024


class Edition:
    """One reading of the defaults, and the encoded profiles made from it lately.

    A profile depends on the defaults and on what is stored of the owner, and names nobody: owners with the same
    overrides, most of all those with none, share one.
    """

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults
        # What is kept of an owner: the row, and a profile that says the same twice, as the owner's and as in force.
        longest = len(self._encoded(None)[0]) + 3 * _KEPT_ROW_BYTES
        self._kept = lru_cache(maxsize=_KEPT_BYTES // longest)(self._encoded)

    def profile(self, row: bytes | None) -> tuple[bytes, str]:
        """(body, entity tag) of ``GET /config`` for an owner of whom `row` is stored."""
        return self._encoded(row) if row and len(row) > _KEPT_ROW_BYTES else self._kept(row)

    def _encoded(self, row: bytes | None) -> tuple[bytes, str]:
        body = json_bytes(effective_profile(self.defaults, parse(row) if row else {}))
        return body, f'"{sha256(body).hexdigest()[:32]}"'


class DefaultsSource:
    """Where editions come from.  Raises ValueError where the file at `path` cannot be used; None is the built-in."""

    def __init__(self, path: str | None, log: Callable[[str], None]) -> None:
        self._path = path
        self._log = log
        self._lock = Lock()
        self._seen = self._look()
        self._edition = Edition(read_defaults(BUILT_IN) if path is None else _read(path))

    def current(self) -> Edition:
        """The edition that counts now."""
        if self._path is not None and self._look() != self._seen:
            self._read_again(self._path)
        return self._edition

    def _look(self) -> Any:
        """What changes whenever the file does; None where there is no file."""
        if self._path is None:
            return None
        try:
            seen = os.stat(self._path)
        except OSError:
            return None
        return seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino

    def _read_again(self, path: str) -> None:
        with self._lock:
            seen = self._look()  # before reading: what is written meanwhile will be seen as a further change
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
