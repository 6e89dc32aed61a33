"""What the server counts of its work, and how it tells the operator (omp §6.1).

``GET /metrics`` answers with *families* of numbers in the text format of Prometheus, version 0.0.4.  They come from:

* the connections: each counts its requests in a :class:`Tally` of its own, by route, status and time;
* *sources*, functions that are asked when the operator asks: the server, the store, the process, and any protocol
  (``context.metrics.sources.append(…)``).

**Cost.**  A connection is served by one thread, which alone writes its tally: to count a request takes no lock and less
than a microsecond.  All tallies are added up when somebody asks, and that of a connection that ends is added to those
of the connections before it.

**Bounds.**  A label is the template of a route, never a path that a client chose; so there are as many rows as there
are routes and statuses, whatever strangers send.

Laid out: families and their text, the tallies of connections, numbers of the process and the store, the line that the
access log has of a request.

>>> metrics = Metrics()
>>> tally = metrics.begin()
>>> tally.count(("GET", "/health"), 200, 0.002)
>>> print("".join(line for line in metrics.text().splitlines(True) if "requests_total" in line), end="")
# HELP omp_http_requests_total Requests answered, by route and status.
# TYPE omp_http_requests_total counter
omp_http_requests_total{method="GET",route="/health",status="200"} 1
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from threading import Lock
from typing import NamedTuple

from omp import __version__
from omp.store.port import Store, StoreUnavailable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# --- Families ---------------------------------------------------------------------------------------------------

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One number; `suffix` is what its name has after that of the family, as ``_bucket``."""

    value: float
    labels: Labels = ()
    suffix: str = ""


class Family(NamedTuple):
    """The numbers of one name.  `kind` is ``counter``, ``gauge`` or ``histogram``."""

    name: str
    kind: str
    help: str
    samples: Iterable[Sample]


def single(name: str, kind: str, help_text: str, value: float) -> Family:
    """A family of one number without labels."""
    return Family(name, kind, help_text, (Sample(value),))


def exposition(families: Iterable[Family]) -> Iterator[str]:
    """The lines of the text format, each with its line end.

    >>> print(*exposition([Family("rows", "gauge", "Rows.", [Sample(2, (("table", 'a"b'),))])]), sep="", end="")
    # HELP rows Rows.
    # TYPE rows gauge
    rows{table="a\\"b"} 2
    """
    for family in families:
        yield f"# HELP {family.name} {_escaped(family.help)}\n# TYPE {family.name} {family.kind}\n"
        for sample in family.samples:
            labels = ",".join(f'{name}="{_escaped(value, quoted=True)}"' for name, value in sample.labels)
            yield f"{family.name}{sample.suffix}{f'{{{labels}}}' if labels else ''} {sample.value!r}\n"


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quoted else text


# --- Requests ---------------------------------------------------------------------------------------------------

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of the histogram, in seconds: from a row read from memory to a client that is slow."""

Template = tuple[str, str]
NO_ROUTE: Template = ("other", "other")
"""Of whatever no route answered: 404, 405, ``OPTIONS``, and what could not be read."""

_Counts = dict[tuple[Template, int], list[float]]


class Tally:
    """What one connection has counted: (method and template, status) -> a count for each bucket, then the seconds."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: _Counts = {}

    def count(self, template: Template, status: int, seconds: float) -> None:
        """A request has been answered.  Only the thread of the connection may call this."""
        key = template, status
        row = self.counts.get(key)
        if row is None:
            row = self.counts[key] = [0] * (len(BOUNDS) + 1) + [0.0]
        row[bisect_left(BOUNDS, seconds)] += 1
        row[-1] += seconds


class Metrics:
    """Every number of one server; may be used from any thread.  `sources` give the families beside the requests'."""

    def __init__(self) -> None:
        self.sources: list[Callable[[], Iterable[Family]]] = [_process(time.time())]
        self._lock = Lock()  # a connection takes it twice in its life
        self._open: set[Tally] = set()
        self._ended: _Counts = {}

    def begin(self) -> Tally:
        """The tally for a new connection, which must be given to :meth:`end`."""
        tally = Tally()
        with self._lock:
            self._open.add(tally)
        return tally

    def end(self, tally: Tally) -> None:
        """Keep what a connection that ends has counted."""
        with self._lock:
            self._open.discard(tally)
            _add(self._ended, tally.counts)

    def text(self) -> str:
        """All families in the text format."""
        families = [*_requests(self._added_up()), *(family for source in self.sources for family in source())]
        return "".join(exposition(families))

    def _added_up(self) -> _Counts:
        whole: _Counts = {}
        with self._lock:  # so that no connection is counted twice, or not at all, because it ends meanwhile
            for counts in (self._ended, *(tally.counts for tally in self._open)):
                _add(whole, counts)
        return whole


def _add(whole: _Counts, counts: _Counts) -> None:
    # The thread of the connection may go on counting: its rows are copied in one step, which nothing interrupts.
    for key, row in list(counts.items()):
        before = whole.get(key)
        whole[key] = row[:] if before is None else [a + b for a, b in zip(before, row[:], strict=True)]


def _requests(counts: _Counts) -> Iterator[Family]:
    def labelled(template: Template) -> Labels:
        return ("method", template[0]), ("route", template[1])

    by_status = [
        Sample(sum(row[:-1]), (*labelled(template), ("status", str(status))))
        for (template, status), row in sorted(counts.items())
    ]
    yield Family("omp_http_requests_total", "counter", "Requests answered, by route and status.", by_status)
    by_route: dict[Template, list[float]] = {}
    for (template, _), row in sorted(counts.items()):
        before = by_route.setdefault(template, [0] * len(row))
        by_route[template] = [a + b for a, b in zip(before, row, strict=True)]
    yield Family(
        "omp_http_request_duration_seconds",
        "histogram",
        "Seconds from the first byte of a request to the last of its answer.",
        [sample for template, row in by_route.items() for sample in _histogram(labelled(template), row)],
    )


def _histogram(labels: Labels, row: list[float]) -> Iterator[Sample]:
    """A row as cumulative buckets, each with its upper bound in the label ``le``."""
    so_far: float = 0
    for bound, number in zip((*map(str, BOUNDS), "+Inf"), row[:-1], strict=True):
        so_far += number
        yield Sample(so_far, (*labels, ("le", bound)), "_bucket")
    yield Sample(row[-1], labels, "_sum")
    yield Sample(so_far, labels, "_count")


# --- The process and the store ----------------------------------------------------------------------------------


def _process(started: float) -> Callable[[], Iterator[Family]]:
    """The numbers of this process, under the names that every Prometheus client gives them."""

    def families() -> Iterator[Family]:
        version = Sample(1, (("version", __version__),))
        yield Family("omp_info", "gauge", "The version of the server, as a label.", (version,))
        yield single("process_start_time_seconds", "gauge", "When it started, in epoch seconds.", started)
        yield single("process_cpu_seconds_total", "counter", "Processor seconds used.", time.process_time())
        if (resident := _resident_bytes()) is not None:
            yield single("process_resident_memory_bytes", "gauge", "Memory in use, in bytes.", resident)

    return families


def _resident_bytes() -> int | None:
    """The memory of this process; None on a system that does not tell as Linux does."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, AttributeError, ValueError, IndexError):
        return None


COUNTED_SECONDS = 60.0


class StoreNumbers:
    """The sizes of a store, as a source.

    SQLite counts the rows of a table by walking over all its pages.  So they are counted once a minute at most, outside
    any lock, however often somebody asks: a dashboard does not wake the disk.
    """

    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._lock = Lock()
        self._counted_at: float | None = None
        self._rows: Mapping[str, int] = {}

    def __call__(self) -> Iterator[Family]:
        """The families; without rows if the store cannot be read."""
        rows = self._counted()
        yield single("omp_store_readable", "gauge", "1 if the store could be read just now.", int(rows is not None))
        yield single("omp_store_damaged_rows", "gauge", "Damaged rows met so far.", len(self._store.damage.ids()))
        by_table = [Sample(number, (("table", table),)) for table, number in sorted((rows or {}).items())]
        yield Family("omp_store_rows", "gauge", "Rows by table, counted at most a minute ago.", by_table)
        by_file = [Sample(size, (("file", name),)) for name, size in self._store.file_sizes().items()]
        yield Family("omp_store_file_bytes", "gauge", "Bytes of the store's files.", by_file)

    def _counted(self) -> Mapping[str, int] | None:
        """Table -> rows; None if the store cannot be read."""
        with self._lock:  # who comes while another one counts gets what that one counts
            now = self._monotonic()
            if self._counted_at is None or now - self._counted_at >= COUNTED_SECONDS:
                try:
                    with self._store.read() as tx:
                        self._rows = {table: tx.count(table) for table in self._store.tables()}
                except StoreUnavailable:
                    return None
                self._counted_at = now
            return self._rows


# --- The access log ---------------------------------------------------------------------------------------------


def access_line(ended: float, client: str, asked: str, status: int, size: int, seconds: float, name: str) -> str:
    """The line of a request that ended at the epoch second `ended`.

    `asked` is the method with the target; `size` counts the bytes of the body that were sent, `seconds` lasted the
    whole; `name` is the id of the request, which an error of it in the log has too.  No part but `asked` has a space,
    and no part has a control character, so the line can be split again.

    >>> access_line(1700000000.25, "192.0.2.7", "GET /health", 200, 15, 0.00042, "3f9c01a2b4c5")
    '2023-11-14T22:13:20.250Z 192.0.2.7 GET /health 200 15 0.420 3f9c01a2b4c5'
    """
    moment = datetime.fromtimestamp(ended, UTC)
    stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    return f"{stamp} {client} {asked} {status} {size} {seconds * 1000:.3f} {name}"
