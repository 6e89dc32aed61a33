"""NEXUS: the configuration, prompts and message history that belong to an Ethereum key.

Implements the REST API of NEXUS (its document's §I to §VIII) under ``/api/v1``.  An owner is an address; reading asks
for the address, writing for a signature by its key over the request, checked by public-key recovery.

In reading order: :mod:`.signatures` (who signed, and what), :mod:`.defaults` (what every profile starts from),
:mod:`.profile` (overrides, checked and merged), :mod:`.messages` (the history), :mod:`.commands`: all pure; then
:mod:`.records` (the rows), :mod:`.defaults_file` (the template on disk), :mod:`.writes` (what may be asked for),
:mod:`.routes` (the handlers and the table).  The arithmetic is in :mod:`omp.protocols.nexus.secp256k1`.

Not implemented: webhooks (§VIII.4), and rate limits (§VII.4), which belong to the proxy in front.
"""

from __future__ import annotations

from omp.protocols.nexus.defaults_file import DefaultsSource
from omp.protocols.nexus.routes import BASE, ERRORS, ROUTES, Nexus
from omp.web.routes import CORS_ANY_ORIGIN, Context, Mount
from omp.web.settings import Setting, SettingError, read_settings

SETTINGS = (
    Setting(
        "nexus_defaults",
        "OMP_NEXUS_DEFAULTS",
        str,
        None,
        "JSON file with the default profile of NEXUS, read again when it changes; none: a built-in one",
        "--nexus-defaults",
    ),
)


def mount(context: Context) -> Mount:
    """NEXUS as the server serves it.  Raises SettingError where the defaults file cannot be used."""
    path = read_settings(SETTINGS, context.environ)["nexus_defaults"]
    try:
        defaults = DefaultsSource(path, context.log)
    except ValueError as error:
        raise SettingError(f"--nexus-defaults (OMP_NEXUS_DEFAULTS) is {path!r}, and cannot be used: {error}") from None
    return Mount(
        name="nexus",
        version="1",
        title="NEXUS: profile, prompts and messages of a key's owner",
        routes=ROUTES,
        state=Nexus(context.store, defaults, context.clock),
        owns=(BASE,),
        errors=ERRORS,
        cors=(*CORS_ANY_ORIGIN, ("Access-Control-Expose-Headers", "Link, ETag")),
    )
