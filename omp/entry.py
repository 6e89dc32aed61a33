"""Settings, wiring, start and stop: how the floors become a server.

What must hold for every server is in ``SPEC.md`` beside this file, under "Serving".  The parts, from the inside out:

* :data:`SETTINGS` and :func:`all_settings`: every variable and flag, as a table;
* :func:`build` reads the settings, opens the store, binds the port and mounts the protocols;
* :func:`start` serves from threads of this process (:func:`omp.running`);
* :func:`main` serves until a signal arrives (``server.py``), and keeps the heap of the C library small.

Nothing is guessed: a setting that cannot be used raises :class:`~omp.web.settings.SettingError` with one sentence,
before a single request is accepted.  :func:`build` and :func:`start` never read the environment of the process; only
:func:`main` does, and hands it on as a mapping.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from omp import Running, __version__
from omp.rules.engines import best_engine
from omp.rules.http_signatures import Policy
from omp.store import StorageError, open_store
from omp.store.port import Store
from omp.web import system
from omp.web.addressing import SETTINGS as ADDRESS_SETTINGS
from omp.web.addressing import Addressing
from omp.web.clock import Clock
from omp.web.routes import Application, Context, Mount
from omp.web.server import HttpServer, log_line
from omp.web.settings import Setting, SettingError, read_settings, switch, whole_number
from omp.web.signature_guard import SETTINGS as SIGNATURE_SETTINGS
from omp.web.signature_guard import SignatureGuard

if TYPE_CHECKING:
    import ssl

PROTOCOLS = ("objects", "oplog", "avp", "mrs", "nexus")
STOP_SECONDS = 35.0  # longer than a request may take to arrive
HOUSEKEEPING_SECONDS = 1.0
GC_THRESHOLDS = 5_000, 10, 40
"""When Python's garbage collector looks for cycles: at everything, only after two million objects that stay.

Looking at everything stops all threads, for 0.25 s where a log of 100,000 operations is in memory, and finds next to
nothing: most of what this server drops is freed by counting references.  By Python's own thresholds (700, 10, 10) one
long answer is enough to cause it.  It must still happen: a log that is given up after a fault is full of cycles.
"""

# A server in a test: it should stop at once, and a request still under way after so long is the test's own fault.
EMBEDDED_STOP_SECONDS = 5.0
EMBEDDED_POLL_SECONDS = 0.02

# --- Settings ---------------------------------------------------------------------------------------------------

SETTINGS = (
    Setting("host", "OMP_SERVER_HOST", str, "127.0.0.1", "address to listen on", "--host"),
    Setting(
        "port",
        "PORT",
        whole_number(0, 65535),
        8787,
        "port to listen on; 0 takes a free one",
        "--port",
        "OMP_SERVER_PORT",
    ),
    Setting("storage", "OMP_STORAGE", str, "memory", "where data is kept: memory, or sqlite:PATH", "--storage"),
    Setting("payload_mb", "OMP_MAX_PAYLOAD_MB", whole_number(1, 1024), 5, "largest request body, in MiB"),
    Setting("tls_cert", "OMP_TLS_CERT", str, None, "certificate chain (PEM file), to serve HTTPS", "--tls-cert"),
    Setting("tls_key", "OMP_TLS_KEY", str, None, "private key of the certificate (PEM file)", "--tls-key"),
    Setting(
        "access_log", "OMP_ACCESS_LOG", switch, False, "1: log each request, a line on standard error", "--access-log"
    ),
    Setting(
        "admin_token",
        "OMP_ADMIN_TOKEN",
        str,
        None,
        "bearer token of /admin and /metrics; without it, they answer this machine only",
    ),
    Setting("demo", "OMP_DEMO", switch, False, "1: start with a small world to look at, in memory", "--demo"),
)
"""The server's own; the signature guard and the protocols list theirs beside the code that reads them."""


def all_settings() -> list[Setting]:
    """Every setting that the server and its protocols read: for ``--help``, the table of OPERATING.md and its test."""
    return [
        *SETTINGS,
        *ADDRESS_SETTINGS,
        *SIGNATURE_SETTINGS,
        *(setting for protocol in _protocols() for setting in getattr(protocol, "SETTINGS", ())),
    ]


# Read by the tools and the tests: whoever has set them for a tool may start a server in the same shell.
_OTHER_VARIABLES = ("OMP_TESTS", "MRS_IDENTITY", "MRS_PASSWORD", "MRS_TOKEN")
_NEARLY = 0.77  # as difflib counts; no variable of OpenMP, which begin with OMP_ too, comes so near to one of ours


def _known_variables() -> tuple[set[str], tuple[str, ...]]:
    """Every variable that the server reads, and the beginnings of those that end as the operator likes."""
    settings = all_settings()
    names = {name for setting in settings for name in (setting.variable, setting.fallback) if name}
    # OMP_SIG_PUB_<keyid>; and with OMP_SIG_ENV_FALLBACK=1, anything that begins with OMP_SIG_PUB.
    return names, tuple(name.partition("<")[0].rstrip("_") for name in names if "<" in name)


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A notice for each variable of MRS that this server does not know.

    Raises :class:`SettingError` for a variable that is nearly a known one: ``OMP_SIG_MOD=strict`` would otherwise
    leave the server open, and nobody would notice.
    """
    known, families = _known_variables()
    known.update(_OTHER_VARIABLES)
    notices = []
    for name, text in environ.items():
        if not text or not name.startswith(("OMP_", "MRS_")) or name in known or name.startswith(families):
            continue
        likely = difflib.get_close_matches(name, known, 1, _NEARLY)
        if likely:
            raise SettingError(f"{name} is no setting of this server; did you mean {likely[0]}?")
        if name.startswith("MRS_"):
            notices.append(f"{name} is no setting of this server, and is ignored.")
    return notices


def _protocols() -> list[ModuleType]:
    """The packages of :data:`PROTOCOLS`; whoever vendors ``omp/`` may leave some of their folders out."""
    return _there(f"omp.protocols.{name}" for name in PROTOCOLS)


def _there(names: Iterable[str]) -> list[ModuleType]:
    return [importlib.import_module(name) for name in names if importlib.util.find_spec(name)]


# --- Wiring -----------------------------------------------------------------------------------------------------


@dataclass
class Parts:
    """A wired server: what :func:`build` made, ready for ``http.serve_forever()``."""

    http: HttpServer
    store: Store
    application: Application
    clock: Clock
    notices: Sequence[str]
    certificate: tuple[str | None, str | None]  # the files of the certificate and its key
    peer: Running | None = None  # the second server of a demo

    def renew_certificate(self) -> None:
        """Read the certificate again, for the connections that begin from now on (omp §1.2).

        Where it cannot be used, perhaps because only one of the two files has been replaced so far, the one before
        stays in use; without TLS there is none.  Each is a line in the log.
        """
        if self.http.tls is None:
            self.http.log("SIGHUP: there is no certificate to read again, since --tls-cert is not set")
            return
        try:
            self.http.tls = _tls_context(*self.certificate)
        except SettingError as error:
            self.http.log(f"the certificate was not renewed, and the one before stays in use: {error}")
        else:
            self.http.log("the certificate was read again; connections that begin from now on get it")

    def stop(self, seconds: float) -> bool:
        """Finish the requests under way for at most `seconds`, then close everything; whether all were finished."""
        finished = self.http.stop(seconds)
        if self.peer is not None:
            self.peer.stop()
        self.application.close()
        self.store.close()
        return finished


def build(
    environ: Mapping[str, str],
    log: Callable[[str], None] = log_line,
    clocks: Sequence[Callable[[], float]] = (),
    **http_options: Any,
) -> Parts:
    """Read the settings in `environ`, open the store, bind the port and mount every protocol.

    `log` takes one line of the server's log; `clocks`, for tests, are a clock in epoch seconds and one that never steps
    (:class:`~omp.web.clock.Clock`); `http_options` go to :class:`~omp.web.server.HttpServer`.
    Raises :class:`SettingError` for a setting that cannot be used; nothing is left open then.
    """
    unknown = _unknown_variables(environ)
    settings = read_settings(SETTINGS, environ)
    addresses = read_settings(ADDRESS_SETTINGS, environ)
    guarding = read_settings(SIGNATURE_SETTINGS, environ)
    demo = _demo() if settings["demo"] else None
    if demo is not None:
        demo.check(settings["storage"], guarding["mode"])
    # A nonce is remembered for as long as its signature is accepted, by whichever of the protocols: omp §9.3.
    clock = Clock(max(guarding["max_age"], Policy.max_age) + Policy.max_ahead, *clocks)
    if wrong := clock.wrong():
        raise SettingError(wrong)
    try:
        store = open_store(settings["storage"])
    except StorageError as error:
        raise SettingError(f"--storage (OMP_STORAGE): {error}") from None
    try:
        tls = _tls_context(settings["tls_cert"], settings["tls_key"])
        # The port is bound before the protocols are mounted: some need the server's URL, and it holds the port.
        http = _listen(settings, tls, log, http_options)
    except SettingError:
        store.close()
        raise
    try:
        engine = best_engine()
        signatures = SignatureGuard(guarding, environ, store, clock, engine)
        context = Context(
            store=store,
            environ=environ,
            clock=clock,
            engine=engine,
            signatures=signatures,
            url=http.url,
            log=log,
            max_body=settings["payload_mb"] * 1024 * 1024,
            metrics=http.metrics,
            admin_token=settings["admin_token"],
        )
        mounts = _mounts(context)
        urls = [http.url, *(url for mount in mounts for url in mount.urls)]
        addressing = Addressing(addresses, urls, strict=signatures.mode == "strict", log=log)
    except BaseException:
        http.server_close()
        store.close()
        raise
    http.application = application = Application(mounts, log, context.max_body, addressing, store.damage)
    application.start()
    notices = [f"Ed25519 verification: {engine.name}", *signatures.notices(), *unknown]
    parts = Parts(http, store, application, clock, notices, (settings["tls_cert"], settings["tls_key"]))
    if demo is not None:
        parts.notices = [*notices, f"A small world to look at, in memory: {http.url}/explore"]
        try:
            parts.peer = demo.begin(
                application, lambda fill: start({}, {"--host": settings["host"]}, log, fill), settings["admin_token"]
            )
        except BaseException:
            http.server_close()
            application.close()
            store.close()
            raise
    return parts


def _mounts(context: Context) -> list[Mount]:
    rooms = [*_protocols(), *_there(["omp.explore"])]
    mounts = [room.mount(context) for room in rooms]
    return [system.mount(context, mounts), *mounts]


def _demo() -> ModuleType:
    """The package of the demo; :class:`SettingError` where this copy lacks what it needs."""
    found = _there(["omp.explore"])
    if not found or len(_protocols()) < len(PROTOCOLS):
        raise SettingError("--demo (OMP_DEMO) needs omp/explore and all protocols, and this copy lacks some")
    return importlib.import_module("omp.explore.demo")


def _listen(
    settings: Mapping[str, Any], tls: ssl.SSLContext | None, log: Callable[[str], None], http_options: Mapping[str, Any]
) -> HttpServer:
    host, port = settings["host"], settings["port"]
    try:
        return HttpServer(host, port, tls=tls, access_log=settings["access_log"], log=log, **http_options)
    except OSError as error:
        raise SettingError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def _tls_context(certificate: str | None, private_key: str | None) -> ssl.SSLContext | None:
    if certificate is None and private_key is None:
        return None
    if certificate is None or private_key is None:
        raise SettingError("--tls-cert and --tls-key go together: give both, or neither")
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, private_key)
    except (OSError, ValueError) as error:
        raise SettingError(f"--tls-cert and --tls-key must be a PEM certificate and its key: {error}") from None
    return context


# --- In a thread: omp.running -----------------------------------------------------------------------------------


def start(
    settings: Mapping[str, str],
    flags: Mapping[str, Any],
    log: Callable[[str], None] | None = None,
    fill: Callable[[Application], None] | None = None,
) -> Running:
    """Build a server and serve from threads of this process; see :func:`omp.running`.

    `settings` maps variables to text, `flags` maps flags of ``server.py`` to values and wins over them.  `fill` puts
    something into the server before it serves.
    """
    lines: list[str] = []
    parts = build(_embedded_environment(settings, flags), log or lines.append)
    if fill is not None:
        fill(parts.application)
    accepting = threading.Thread(
        target=parts.http.serve_forever, args=(EMBEDDED_POLL_SECONDS,), name="omp accept", daemon=True
    )
    stopping = threading.Event()
    housekeeping = threading.Thread(target=_housekeep, args=(parts, stopping), name="omp housekeeping", daemon=True)
    once = threading.Lock()

    def stop() -> None:
        with once:  # a second caller waits for the first, and then finds nothing left to do
            if stopping.is_set():
                return
            stopping.set()
            # First the housekeeping, which uses the store that is closed next.
            housekeeping.join()
            parts.stop(EMBEDDED_STOP_SECONDS)
            accepting.join()

    accepting.start()
    housekeeping.start()
    return Running(parts.http.url, parts.http.server_port, list(parts.notices), lines, stop)


def _embedded_environment(settings: Mapping[str, str], flags: Mapping[str, Any]) -> dict[str, str]:
    """The variables of an embedded server.  A misspelt one would be ignored in silence, so it is an error here."""
    names, families = _known_variables()
    for name, text in settings.items():
        if name not in names and not name.startswith(families):
            raise SettingError(f"there is no setting {name!r}; python3 server.py --help lists them")
        if not isinstance(text, str):
            raise SettingError(f"{name} is {text!r}, and must be a string, as in the environment")
    by_flag = {setting.flag: setting for setting in all_settings() if setting.flag}
    # The fallback, so that PORT and OMP_SERVER_PORT in `settings` both win over it.
    environ = {"OMP_SERVER_PORT": "0", **settings}
    for flag, value in flags.items():
        text = str(int(value)) if isinstance(value, bool) else str(value)
        if not text:
            raise SettingError(f"{flag} must not be empty: leave it out for its default")
        environ[by_flag[flag].variable] = text
    return environ


def _housekeep(parts: Parts, stopping: threading.Event, renewing: threading.Event | None = None) -> None:
    """Look after the store and let the protocols drop what has expired, once a second, until `stopping` is set.

    If `renewing` is set meanwhile, the certificate is read again.
    """
    while not stopping.wait(HOUSEKEEPING_SECONDS):
        if renewing is not None and renewing.is_set():
            renewing.clear()
            parts.renew_certificate()
        parts.store.look_after()
        parts.application.housekeep(parts.clock.past())


# --- Memory -----------------------------------------------------------------------------------------------------
#
# A thread for each connection, and bodies of all lengths, are what glibc's allocator is worst at: with eight arenas for
# each processor, a server that held 20 MB had 98 MB more that was free, in pieces that it never gave back.

M_ARENA_MAX = -8  # of malloc.h
ARENAS = 2
TRIM_SECONDS = 60.0


def bound_heap() -> Callable[[], object]:
    """Let the C library keep few arenas; returns what gives free memory back to the system.

    To be called before there are threads.  With another C library than glibc neither does anything.
    """
    try:
        import ctypes

        library = ctypes.CDLL(None)
        library.mallopt(M_ARENA_MAX, ARENAS)
        trim = library.malloc_trim
    except (ImportError, OSError, TypeError, AttributeError):  # what a Python or a system without them raises
        return lambda: None
    return lambda: trim(0)


def _trim(stopping: threading.Event, give_back: Callable[[], object]) -> None:
    while not stopping.wait(TRIM_SECONDS):
        give_back()


# --- As a process: server.py ------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="server.py",
        description="Serve the OMP objects API, omp/0.2 logs, AVP vaults, an MRS registry and NEXUS profiles.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    for setting in all_settings():
        if not setting.flag:
            continue
        text = f"{setting.help} [{default_text(setting)}]"
        if setting.parse is switch:
            parser.add_argument(setting.flag, dest=setting.variable, help=text, action="store_const", const="1")
        else:
            parser.add_argument(setting.flag, dest=setting.variable, help=text, metavar="VALUE", type=_given)
    lines = [
        f"  {' or '.join(filter(None, (s.variable, s.fallback)))}\n      {s.help} [{default_text(s)}]"
        for s in all_settings()
    ]
    parser.epilog = "\n".join(["variables (a flag wins over its variable):", *lines])
    return parser


def _given(text: str) -> str:
    # An empty variable counts as absent.  An empty flag must not: --sig-mode "$MODE" without a MODE would open the
    # server to everybody, and nobody would notice.
    if not text:
        raise argparse.ArgumentTypeError("it must not be empty: leave the flag out for its default")
    return text


def default_text(setting: Setting) -> str:
    """The default of `setting`, as ``--help`` and the documentation show it."""
    if setting.default in (None, {}, ()):
        return "none"
    return str(int(setting.default) if isinstance(setting.default, bool) else setting.default)


def _announce(*lines: str) -> None:
    """Print the first lines of a start; a server whose standard output nobody reads serves all the same."""
    try:
        print(*lines, sep="\n", flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would fail to write it


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; with TLS, SIGHUP renews the certificate.

    The exit status is 0, 1 if a request had to be cut off, 2 for bad settings.
    """
    flags = {name: value for name, value in vars(_parser().parse_args(arguments)).items() if value is not None}
    give_back = bound_heap()
    try:
        parts = build({**os.environ, **flags})
    except SettingError as error:
        print(f"server.py: {error}", file=sys.stderr)
        return 2
    gc.set_threshold(*GC_THRESHOLDS)
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    renewing = threading.Event()
    if hasattr(signal, "SIGHUP"):  # Windows has none
        # From a terminal that is closed it means: end.  Otherwise: a certificate has been renewed, perhaps a proxy's.
        # A handler interrupts this thread wherever it is, so it only leaves word.
        in_terminal = parts.http.tls is None and sys.stdin is not None and sys.stdin.isatty()
        hung_up = stopping if in_terminal else renewing
        signal.signal(signal.SIGHUP, lambda *_: hung_up.set())
    threading.Thread(target=_trim, args=(stopping, give_back), name="trim", daemon=True).start()
    threading.Thread(target=parts.http.serve_forever, name="accept", daemon=True).start()
    _announce(f"OMP server listening on {parts.http.url}", *parts.notices)
    _housekeep(parts, stopping, renewing)
    # A second signal ends the waiting at once.
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, signal.SIG_DFL)
    return 0 if parts.stop(STOP_SECONDS) else 1
