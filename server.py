"""The entry: ``python3 server.py`` reads the configuration, wires the floors together, and serves.

Implements "Serving" of architecture.md: the flags and variables, the first line on standard output, refusal of a
configuration that cannot be used (one clear sentence, status 2), and the orderly stop on SIGTERM and Ctrl-C.
Everything else stands in ``omp/``; README.md has the guided tour.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omp import __version__
from omp.rules.engines import best_engine
from omp.store import StorageError, open_store
from omp.store.port import Store
from omp.web import system
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

SETTINGS = (
    Setting("host", "OMP_SERVER_HOST", str, "127.0.0.1", "address to listen on", "--host"),
    Setting("port", "PORT", whole_number(0, 65535), 8787, "port; 0 takes a free one", "--port", "OMP_SERVER_PORT"),
    Setting("storage", "OMP_STORAGE", str, "memory", "memory, or sqlite:PATH", "--storage"),
    Setting("payload_mb", "OMP_MAX_PAYLOAD_MB", whole_number(1, 1024), 5, "largest body of a request, in MiB"),
    Setting("tls_cert", "OMP_TLS_CERT", str, None, "certificate chain (PEM) to serve HTTPS with", "--tls-cert"),
    Setting("tls_key", "OMP_TLS_KEY", str, None, "its private key (PEM)", "--tls-key"),
    Setting(
        "access_log", "OMP_ACCESS_LOG", switch, False, "1: a line on standard error for each request", "--access-log"
    ),
)


@dataclass
class Parts:
    """A wired server: what :func:`build` made, ready for ``http.serve_forever()``."""

    http: HttpServer
    store: Store
    application: Application
    notices: Sequence[str]

    def stop(self, seconds: float) -> bool:
        """Finish the requests under way for at most `seconds`, then close everything; whether all were finished."""
        finished = self.http.stop(seconds)
        self.application.close()
        self.store.close()
        return finished


def build(environ: Mapping[str, str], log: Callable[[str], None] = log_line, **http_options: Any) -> Parts:
    """Read the settings in `environ`, open the store, bind the port and mount every protocol.

    Raises :class:`SettingError` where a setting cannot be used; nothing is left open then.
    """
    settings = read_settings(SETTINGS, environ)
    try:
        store = open_store(settings["storage"])
    except StorageError as error:
        raise SettingError(f"--storage (OMP_STORAGE): {error}") from None
    try:
        tls = _tls_context(settings["tls_cert"], settings["tls_key"])
        http = _listen(settings, tls, log, http_options)
    except SettingError:
        store.close()
        raise
    try:
        engine = best_engine()
        signatures = SignatureGuard(read_settings(SIGNATURE_SETTINGS, environ), environ, store, time.time, engine)
        context = Context(
            store=store,
            environ=environ,
            clock=time.time,
            engine=engine,
            signatures=signatures,
            url=http.url,
            log=log,
            max_body=settings["payload_mb"] * 1024 * 1024,
        )
        mounts = _mounts(context)
    except BaseException:
        http.server_close()
        store.close()
        raise
    http.application = application = Application(mounts, log, context.max_body)
    notices = [f"Ed25519 verification: {engine.name}", *signatures.notices()]
    return Parts(http, store, application, notices)


def _mounts(context: Context) -> list[Mount]:
    mounts = [importlib.import_module(f"omp.protocols.{name}").mount(context) for name in PROTOCOLS]
    return [system.mount(context, mounts), *mounts]


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


def all_settings() -> list[Setting]:
    """Every variable that the server and its protocols read: for ``--help``, the README's table and its test."""
    modules = [importlib.import_module(f"omp.protocols.{name}") for name in PROTOCOLS]
    return [
        *SETTINGS,
        *SIGNATURE_SETTINGS,
        *(setting for module in modules for setting in getattr(module, "SETTINGS", ())),
    ]


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
        text = f"{setting.help} [{_default(setting)}]"
        if setting.parse is switch:
            parser.add_argument(setting.flag, dest=setting.variable, help=text, action="store_const", const="1")
        else:
            parser.add_argument(setting.flag, dest=setting.variable, help=text, metavar="VALUE", type=_given)
    lines = [
        f"  {' or '.join(filter(None, (s.variable, s.fallback)))}\n      {s.help} [{_default(s)}]"
        for s in all_settings()
    ]
    parser.epilog = "\n".join(["variables (a flag wins over its variable):", *lines])
    return parser


def _given(text: str) -> str:
    # An empty variable counts as absent, but --sig-mode "$MODE" without a MODE must not open the server in silence.
    if not text:
        raise argparse.ArgumentTypeError("it must not be empty: leave the flag out for its default")
    return text


def _default(setting: Setting) -> str:
    if setting.default in (None, {}, ()):
        return "none"
    return str(int(setting.default) if isinstance(setting.default, bool) else setting.default)


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C.  The exit status is 0, 1 if a request had to be cut off, 2 for bad settings."""
    flags = {name: value for name, value in vars(_parser().parse_args(arguments)).items() if value is not None}
    try:
        parts = build({**os.environ, **flags})
    except SettingError as error:
        print(f"server.py: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    threading.Thread(target=parts.http.serve_forever, name="accept", daemon=True).start()
    print(f"OMP server listening on {parts.http.url}", *parts.notices, sep="\n", flush=True)
    while not stop.wait(HOUSEKEEPING_SECONDS):
        parts.application.housekeep(time.time())
    # A second signal ends the waiting at once.
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, signal.SIG_DFL)
    return 0 if parts.stop(STOP_SECONDS) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
