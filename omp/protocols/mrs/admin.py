"""Who is the operator (mrs.md "Referrals").

With ``OMP_ADMIN_TOKEN``: whoever bears it.  Without: requests from the loopback address.  A reverse proxy on this
machine sends everybody's requests from there, so one that says ``Forwarded`` or ``X-Forwarded-*`` is refused.  And a
browser on this machine sends what any page on the web tells it to: so is one whose ``Host`` is a name other than
``localhost`` (a name made to resolve to 127.0.0.1), or whose ``Origin`` is not this server.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

from omp.web.errors import ApiError
from omp.web.messages import Request


def require_admin(request: Request, token: str | None) -> None:
    """:class:`ApiError` 403 unless `request` comes from the operator."""
    headers = request.headers
    if token is not None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise ApiError(403, "This needs the header Authorization: Bearer with the server's OMP_ADMIN_TOKEN.")
    elif not _is_loopback(request.client) or _came_by_proxy(headers) or _came_by_foreign_page(headers, request.scheme):
        raise ApiError(
            403,
            "Without OMP_ADMIN_TOKEN the server takes this from its own machine only, "
            "and neither through a proxy nor from a page of another site.",
        )


# Whole, or a name such as 127.evil.example would pass for an address.
_LOOPBACK = re.compile(r"(::ffff:)?127\.\d+\.\d+\.\d+|::1", re.ASCII)


def _is_loopback(address: str) -> bool:
    return _LOOPBACK.fullmatch(address) is not None


def _came_by_proxy(headers: Mapping[str, str]) -> bool:
    return any(name == "forwarded" or name.startswith("x-forwarded-") for name in headers)


def _came_by_foreign_page(headers: Mapping[str, str], scheme: str) -> bool:
    host = headers.get("host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name and name != "localhost" and not _is_loopback(name.strip("[]")):
        return True
    return headers.get("origin", f"{scheme}://{host}") != f"{scheme}://{host}"
