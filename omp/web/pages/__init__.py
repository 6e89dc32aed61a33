"""The pages that the server shows to people: ``GET /docs``, and ``GET /`` for a browser (omp §6).

Each is written as any page is: an HTML file in this folder that names its styles and scripts.  The server puts those
into it, all styles as one block and all scripts as another, so that a page is one answer that loads no further file.
The answer's Content-Security-Policy makes the browser enforce that: nothing styles or runs the page but the blocks
whose SHA-256 the policy names, and nothing is fetched from another host.

The page at ``/docs`` makes itself from ``/openapi.json`` in the browser, and shows what servers say as text, never as
HTML.  Its scripts are best read in the order in which ``docs.html`` names them.  The page at ``/`` has no script: what
it shows is filled in here, from the same document.

Laid out: which kind of answer a client prefers, the two pages, their assembly, the policy.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from omp.web.messages import JSON, Response

HTML = "text/html; charset=utf-8"
_FOLDER = Path(__file__).parent

# --- Which kind of answer, RFC 9110 §12.5.1 -----------------------------------------------------------------------


def prefers_html(accept: str) -> bool:
    """Whether a client with this ``Accept`` field likes HTML better than JSON, as browsers do.

    >>> prefers_html("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), prefers_html("*/*")
    (True, False)
    """
    ranges = _ranges(accept)
    return _quality("text/html", ranges) > _quality(JSON, ranges)


def _ranges(accept: str) -> dict[str, float]:
    """The quality of each media range.  Parameters are ignored but for ``q``; a ``q`` that is none counts as 0."""
    found: dict[str, float] = {}
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((one[2:].strip() for one in parameters if one.startswith("q=")), "1")
        found[media_range] = float(quality) if re.fullmatch(r"0(\.\d{0,3})?|1(\.0{0,3})?", quality, re.ASCII) else 0.0
    return found


def _quality(media_type: str, ranges: Mapping[str, float]) -> float:
    """The quality that the most specific range gives `media_type`; 0 if none fits."""
    family = media_type.partition("/")[0]
    return next((ranges[one] for one in (media_type, f"{family}/*", "*/*") if one in ranges), 0.0)


# --- The pages ----------------------------------------------------------------------------------------------------


@functools.cache
def docs_page() -> Response:
    """``/docs``, read from the disk once."""
    return page_response(assembled("docs.html"))


def home_page(document: Mapping[str, Any]) -> Response:
    """``/`` for a browser: what leads to everything, made from the OpenAPI `document` of this server.

    It names each tag with its description, and the documents under ``/.well-known/`` that have one address.
    """
    info = document["info"]
    tags = [
        f'<dt><a href="/docs#protocol-{escape(tag["name"])}">{escape(tag["name"])}</a></dt>'
        f"<dd>{_prose(tag.get('description', ''))}</dd>\n"
        for tag in document["tags"]
    ]
    documents = [
        f'<dt><a href="{escape(path)}">{escape(path)}</a></dt><dd>{_prose(item["get"]["summary"])}</dd>\n'
        for path, item in document["paths"].items()
        if path.startswith("/.well-known/") and "get" in item and "{" not in path
    ]
    # A copy of the package may have no explorer.
    explorer = (
        '<dt><a href="/explore">/explore</a></dt><dd>What this server holds, to be looked at.</dd>\n'
        if "/explore" in document["paths"]
        else ""
    )
    facts = {name: escape(info.get(name, "")) for name in ("title", "description", "version")}
    filled = Template(assembled("home.html")).substitute(
        facts, explorer=explorer, protocols="".join(tags), documents="".join(documents)
    )
    return page_response(filled, (("Vary", "Accept"),))


def _prose(text: str) -> str:
    """A description as HTML: text with `code` in it."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


# --- Assembly -----------------------------------------------------------------------------------------------------

_LINKED = {
    "style": r'(?:<link rel="stylesheet" href="[a-z]+\.css">\n)+',
    "script": r'(?:<script src="[a-z]+\.js"></script>\n)+',
}


def assembled(name: str, folder: Path = _FOLDER) -> str:
    """The HTML file `name` of `folder` with the styles and scripts that it names put in, each kind as one block.

    What it names and `folder` does not have is taken from this folder.
    """
    page = (folder / name).read_text(encoding="utf-8")
    for tag, links in _LINKED.items():
        page = re.sub(links, functools.partial(_block, tag, folder), page)
    return page


def _block(tag: str, folder: Path, links: re.Match[str]) -> str:
    files = re.findall(r'(?:href|src)="([a-z]+\.[a-z]+)"', links[0])
    texts = (next(at / file for at in (folder, _FOLDER) if (at / file).exists()) for file in files)
    return f"<{tag}>\n{''.join(one.read_text(encoding='utf-8') for one in texts)}</{tag}>\n"


def page_response(text: str, headers: tuple[tuple[str, str], ...] = (), *, modules: bool = False) -> Response:
    """The answer with the page `text`; with `modules`, it may also load ES modules of this server."""
    page = text.encode()
    policy = ("Content-Security-Policy", content_security_policy(page, modules=modules))
    return Response(200, page, HTML, headers=(policy, ("Referrer-Policy", "no-referrer"), *headers))


# --- The policy, CSP level 3 --------------------------------------------------------------------------------------


def content_security_policy(page: bytes, *, modules: bool = False) -> str:
    """The policy under which the inline blocks of `page`, and nothing else, take effect.

    With `modules` the scripts of this server do, too, and the page may have no inline ones.  Nobody else's text passes
    for a script then: every answer says which type it has, and that it is to be believed (``nosniff``).  Such a page
    makes all that it shows of elements and text: the browser refuses it HTML from a string (trusted types).
    """
    scripts = ["script-src 'self'", "require-trusted-types-for 'script'", "trusted-types 'none'"]
    return "; ".join(
        [
            "default-src 'none'",
            *(scripts if modules else [f"script-src {_sources(page, b'script')}"]),
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
    digests = [base64.b64encode(hashlib.sha256(block).digest()).decode() for block in blocks]
    return " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
