"""The keys of identities on other servers: fetched when first needed, then kept for a while (seed §6.3).

* One fetch a document at a time, however many requests wait for it, and at most 16 in all: what the sender of forged
  signatures can set off stays small.
* A document is kept for the configured time, a failure for ten seconds, so that a server that does not answer is not
  asked at each attempt.  At most 1,000 are kept; the one unused for longest goes.
* Nobody waits longer than five seconds, resolving the name included.

Kept in this process's memory: a cache, from which nothing is lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

from omp.protocols.mrs.fetch import SECONDS, FetchError
from omp.rules.json_text import JsonError, parse

MAX_DOCUMENTS = 1000
MAX_AT_ONCE = 16
FAILURE_SECONDS = 10.0


@dataclass
class _Entry:
    """A document under way (`until` 0), or there (`done` is set): `document`, unless `failure` says why not."""

    done: Event = field(default_factory=Event)
    until: float = 0.0
    document: Any = None
    failure: str | None = "its server did not answer in time"


class RemoteKeys:
    """Key documents by URL; `fetch` gets one, `clock` gives epoch seconds, `keep_seconds` is how long one is kept."""

    def __init__(self, fetch: Callable[[str], bytes], clock: Callable[[], float], keep_seconds: float) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._under_way = 0
        self._lock = Lock()

    def document(self, url: str) -> Any:
        """The JSON value at `url`, at most so old; :class:`FetchError` where there is none to be had."""
        with self._lock:
            entry = self._entries.get(url)
            if entry is None or (entry.until and entry.until <= self._clock()):
                entry = self._start(url)
            else:
                self._entries.move_to_end(url)
        entry.done.wait(SECONDS)
        if entry.failure is not None:
            raise FetchError(entry.failure)
        return entry.document

    def _start(self, url: str) -> _Entry:
        if self._under_way >= MAX_AT_ONCE:
            raise FetchError("too many keys are being fetched at this moment")
        self._under_way += 1
        entry = self._entries[url] = _Entry()
        self._entries.move_to_end(url)
        while len(self._entries) > MAX_DOCUMENTS:
            self._entries.popitem(last=False)
        Thread(target=self._finish, args=(url, entry), name="mrs-key", daemon=True).start()
        return entry

    def _finish(self, url: str, entry: _Entry) -> None:
        keep = FAILURE_SECONDS
        try:
            entry.document = parse(self._fetch(url))
            entry.failure = None
            keep = self._keep_seconds
        except FetchError as error:
            entry.failure = str(error)
        except JsonError:
            entry.failure = "its document is not JSON"
        finally:
            entry.until = self._clock() + keep
            with self._lock:
                self._under_way -= 1
            entry.done.set()
