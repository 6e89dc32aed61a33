"""Five open protocols for personal data that a key owns, on one port.

They are the OMP objects API, the signed operation log ``omp/0.2``, the AVP vault, the MRS registry of places and NEXUS
profiles.  Public in this module:

``running``
    starts a server in threads of this process, for the tests of a client;
``Running``
    is what it returns: the server's URL, its log, and ``stop()``;
``__version__``
    is the version of the server.

>>> import omp, urllib.request
>>> with omp.running(port=0, storage="memory") as server:
...     urllib.request.urlopen(server.url + "/health").read()
b'{"status":"ok"}'

The folders are the floors, and imports go down only:

=============  =====================================================================
``rules``      pure functions: canonical JSON, identifiers, Ed25519, HTTP signatures
``store``      tables in memory or in one SQLite file, behind one small port
``web``        HTTP/1.1, the route table, errors
``protocols``  the five, a folder each; none imports another
``explore``    the page at ``/explore`` that shows what the server holds
``tools``      the commands of ``python -m omp``
``entry``      settings, wiring, start and stop
=============  =====================================================================

``omp/README.md`` has the reading lists, and says how to copy this package into a project of your own.

Importing ``omp`` imports nothing else.  This file, ``__main__.py`` and ``server.py`` keep to the syntax of Python 3.6,
so that an older interpreter gets as far as the sentence that says which one is needed.
"""

__version__ = "0.2.0"
__all__ = ["Running", "__version__", "running"]

# What a type checker takes for typing.TYPE_CHECKING, without importing it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Running:
    """A server that serves from threads of this process: what :func:`running` returns.

    `url` is its base URL without a slash at the end, and `port` its port.  `log` is the list of the lines it has
    logged; it stays empty where :func:`running` was given a function to log with.  `notices` are the sentences that
    ``server.py`` prints at its start, such as which engine verifies Ed25519.
    """

    def __init__(
        self, url: str, port: int, notices: "Sequence[str]", log: "list[str]", stop: "Callable[[], None]"
    ) -> None:
        self.url = url
        self.port = port
        self.notices = notices
        self.log = log
        self._stop = stop

    def stop(self) -> None:
        """Finish the requests under way, for at most five seconds, and close the store.  Stopping twice is harmless."""
        self._stop()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def running(
    settings: "Mapping[str, str] | None" = None,
    *,
    host: "str | None" = None,
    port: "int | None" = None,
    storage: "str | None" = None,
    public_url: "str | None" = None,
    sig_mode: "str | None" = None,
    tls_cert: "str | None" = None,
    tls_key: "str | None" = None,
    access_log: "bool | None" = None,
    nexus_defaults: "str | None" = None,
    demo: "bool | None" = None,
    log: "Callable[[str], None] | None" = None,
) -> Running:
    """Start a server that serves from threads of this process, until its ``with`` block ends or ``stop()`` is called.

    Each keyword is the flag of ``server.py`` of the same name; `settings` maps any of the server's variables to its
    text, and a keyword wins over it::

        with omp.running(sig_mode="strict", settings={"OMP_SIG_PUB_me": public_key}) as server:
            ...

    Unlike ``server.py`` it listens on a free port if none is given, it does not read the environment of the process,
    and it prints nothing: `log` is called with each line of the server's log, from any thread, and without it the
    lines are kept in ``server.log``.  Several servers may run at once, each with its own store.  It answers as soon as
    this function returns.

    Raises :class:`omp.web.settings.SettingError`, with one sentence, for a setting that is unknown or cannot be used;
    nothing is left open then.
    """
    # Here and not above: whoever needs canonical JSON alone should not load a web server.
    from omp.entry import start

    keywords = {
        "--host": host,
        "--port": port,
        "--storage": storage,
        "--public-url": public_url,
        "--sig-mode": sig_mode,
        "--tls-cert": tls_cert,
        "--tls-key": tls_key,
        "--access-log": access_log,
        "--nexus-defaults": nexus_defaults,
        "--demo": demo,
    }
    return start(settings or {}, {flag: value for flag, value in keywords.items() if value is not None}, log)
