"""The page at ``/docs``: reads ``/openapi.json`` and lets a person try each route (objects.md §2).

The page itself is ``docs.html`` beside this module: one file with its own style and script, which loads nothing
but ``/openapi.json`` from the server it came from.  So it works without any other host, and the answer's
Content-Security-Policy says so to the browser: nothing runs and nothing styles the page but the two blocks whose
SHA-256 the policy names, and nothing is fetched from elsewhere.  The script puts what servers say on the page as text,
never as HTML.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path

from omp.web.messages import Response

_PAGE = Path(__file__).with_name("docs.html")


@functools.cache
def docs_page() -> Response:
    """The page with its headers, read from the disk once."""
    page = _PAGE.read_bytes()
    return Response(
        200,
        page,
        "text/html; charset=utf-8",
        headers=(
            ("Content-Security-Policy", content_security_policy(page)),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ),
    )


def content_security_policy(page: bytes) -> str:
    """The policy (CSP level 3) under which the inline blocks of `page`, and nothing else, take effect."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_sources(page, b'script')}",
            f"style-src {_sources(page, b'style')}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _sources(page: bytes, tag: bytes) -> str:
    blocks = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(block).digest()).decode()}'" for block in blocks)
