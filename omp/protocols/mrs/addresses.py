"""Addresses of servers: their URLs, and the domain that identities carry after the ``@`` (mrs.md "HTTP signatures").

A server is known by one text: scheme and host in lower case, no default port, no slash at the end.  Its **domain** is
the host and the port, the default port left out: ``owen.iz.net``, ``127.0.0.1:8787``.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,253})|[0-9a-f:.]+", re.ASCII)
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*", re.ASCII)
MAX_URL = 2048

_WRONG = "must be an absolute http:// or https:// address without credentials, query and fragment"


def server_url(text: str) -> str:
    """The one text for a server's URL; ValueError with what would be right.

    >>> server_url("HTTPS://Owen.iz.net:443/")
    'https://owen.iz.net'
    """
    scheme, host, path = _parts(text)
    return f"{scheme}://{host}{path.rstrip('/')}"


def domain_of(url: str) -> str:
    """The host and port of a URL, the default port left out; ValueError if it is none.

    >>> domain_of("http://127.0.0.1:8787/.well-known/mrs/keys/mark"), domain_of("https://[::1]:443/")
    ('127.0.0.1:8787', '[::1]')
    """
    return _parts(url)[1]


def _parts(text: str) -> tuple[str, str, str]:
    try:
        split = urlsplit(text)
        port = split.port
    except ValueError:
        raise ValueError(_WRONG) from None
    host = split.hostname or ""
    if (
        len(text) > MAX_URL
        or split.scheme not in _DEFAULT_PORTS
        or not text.isascii()  # names of other scripts come as xn--
        or not text.isprintable()
        or not _HOST.fullmatch(host)
        or not _PATH.fullmatch(split.path)
        or any(mark in text for mark in "?#\\ ")
        or "@" in split.netloc
    ):
        raise ValueError(_WRONG)
    name = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS[split.scheme]:
        name += f":{port}"
    return split.scheme, name, split.path
