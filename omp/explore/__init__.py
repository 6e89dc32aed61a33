"""``/explore``: what the server holds, to be looked at in a browser.

A page that a teacher can project and an operator can search: the log as a graph, the claims with what they rest on, the
places on a map, objects, a vault as the server sees it, a profile.  It is written for people who look before they read.

**It knows the protocols by their routes only.**  The server hands out the files of the page and adds nothing to them;
the page then asks the routes that everybody may ask, with the credentials that its user gives it.  So it shows nobody
more than a client would, and whoever wants to know how a protocol is used finds an example here.

**What anybody has stored is text.**  Names, notes and predicates come from strangers.  The page makes all that it shows
of elements and text nodes, and the browser enforces that: the policy of the page lets only the server's own scripts
run, loads nothing from another host, and refuses HTML that is made of a string.

**Keys stay in the page.**  They are in its memory, in no storage and in no address, and are gone when it is closed.

The page lies in ``page/``: one HTML file, one style sheet, and ES modules, which the browser loads as they are.
``page/main.js`` says in which order to read them.  ``demo`` is the made-up world of ``server.py --demo``.

Laid out: the files, the two routes, the mount.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omp import __version__
from omp.rules.schema import record
from omp.web.errors import ApiError
from omp.web.messages import JSON, Request, Response, json_response
from omp.web.pages import HTML, assembled, page_response
from omp.web.routes import Context, Mount, Route

JAVASCRIPT = "text/javascript; charset=utf-8"
GUIDE = "demo.json"
_FOLDER = Path(__file__).parent / "page"
_TYPES = {".js": JAVASCRIPT, ".json": JSON}


@dataclass
class Explorer:
    """What the routes serve; `guide` leads through the demo, and is empty where there is none."""

    guide: Mapping[str, Any] = field(default_factory=dict)


@functools.cache
def _files() -> Mapping[str, tuple[str, bytes]]:
    """Name -> media type and bytes, of everything that the page loads; read from the disk once."""
    found = (file for file in _FOLDER.iterdir() if file.suffix in _TYPES)
    return {file.name: (_TYPES[file.suffix], file.read_bytes()) for file in found}


@functools.cache
def _page(demo: bool) -> Response:
    """The page; in a demo it says so, which makes its scripts ask for the guide."""
    text = assembled("explore.html", _FOLDER)
    return page_response(text.replace("<body>", "<body data-demo>") if demo else text, modules=True)


def show(request: Request, explorer: Explorer) -> Response:
    """``GET /explore``."""
    return _page(bool(explorer.guide))


def file_of_page(request: Request, explorer: Explorer) -> Response:
    """``GET /explore/{file}``: a script of the page, the coastlines of its map, or the guide of the demo."""
    name = request.params["file"]
    if name == GUIDE and explorer.guide:
        return json_response(explorer.guide)
    if name not in _files():
        raise ApiError(404, "The page has no such file.")
    media_type, body = _files()[name]
    return Response(200, body, media_type)


_DATA = record("What the page draws: the coastlines of its map, or the guide of the demo.", {})

ROUTES = (
    Route(
        "GET",
        "/explore",
        show,
        "A page that shows what this server holds",
        {200: "The page; it needs no file from any other host"},
        produces=(HTML,),
        name="getExplorer",
    ),
    Route(
        "GET",
        "/explore/{file}",
        file_of_page,
        "A file of that page",
        {200: ("A script, or data that the page draws", _DATA), 404: "The page has no such file"},
        produces=(JAVASCRIPT, JSON),
        name="getExplorerFile",
    ),
)


def mount(context: Context) -> Mount:
    """The page of a server."""
    return Mount(
        "explore",
        __version__,
        "Explorer",
        ROUTES,
        Explorer(),
        owns=("/explore",),
        parameters={"file": "the name of a file of the page"},
        about="What this server holds, to be looked at in a browser: open `/explore`.",
    )
