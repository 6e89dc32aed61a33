"""The import graph is the architecture: floors, protocols that know nothing of each other, rules without effects.

Two more rules: there are not too many files, and one name means one thing.  Everything is read with ``ast`` from every
module of the project except the tests.  An import counts wherever it is in its module, under ``if TYPE_CHECKING`` too.
Each rule is a function from the sources to a list of faults, so that each is also tried on code that breaks it.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import sys
import unittest
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from unittest import mock

from omp.tests import TOP

FLOORS = {
    "omp.rules": 0,
    "omp.store": 1,
    "omp.web": 2,
    "omp.protocols": 3,
    "omp.explore": 3,
    "omp.tools": 4,
    "omp.__main__": 4,
    "omp.entry": 4,
    "server": 4,
}
"""Imports go down or stay; ``omp`` itself holds the version and is below all."""

STARTS = ("omp", "omp.entry")
"""The one import that goes up: ``omp.running`` imports what it starts, when it is called."""

EFFECTS = {
    "asyncio", "concurrent", "http", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets",
    "select", "selectors", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile",
    "threading", "urllib.request", "uuid",
}  # fmt: skip
"""What no pure module imports: I/O, threads, randomness."""
PURE_OF = {
    "time": {"gmtime", "strftime", "struct_time"},
    "datetime": {"date", "datetime", "timedelta", "timezone", "UTC"},
}
"""What a pure module may import of these: what only calculates and reads no clock."""
CLOCKS = {"now", "utcnow", "today"}
BUILTINS_WITH_EFFECTS = {"open", "print", "input", "breakpoint"}

REACHING_OUT = {
    "omp.protocols.mrs.fetch": "asks other servers over HTTPS",
    "omp.protocols.nexus.turns": "a lock and a semaphore: how many requests are checked at a time",
}
"""Modules of protocols that have effects without touching store or web."""

SERVER_FILES = 80 + 37
"""How many Python files the server may have at most: those of ``rules``, ``store``, ``web``,
``protocols`` and ``explore``.

Five protocols took 80.  What came later has rooms of its own:

* what keeps strangers' requests cheap: ``web/addressing`` (the server's own names), ``web/capacity`` (the shares of
  clients), ``nexus/turns`` (how many checks at a time), of MRS ``addresses`` (which ones are public), ``outlines``
  (polygons prepared for searching) and ``searching``, and ``rules/large_json`` (large values in little memory);
* of the log ``core/steps`` (work that can be interrupted, since one operation may change all that is stored),
  ``core/outcomes`` (what is told of it), ``core/trusted`` and ``loading`` (what has been stored comes back into memory,
  is not verified again, and nobody waits for it who does not ask for it);
* ``web/clock``: nothing is forgotten too early, and nothing is malformed, whatever the clock does;
* ``store/audit`` and a module ``audit`` of each protocol: what must hold of the rows in a file;
* ``store/sqlite_guard`` and ``store/sqlite_readers``: what accidents do to the store's files, and that reads go on;
* of AVP ``vouching`` (the bytes that members sign) and ``witness`` (what follows from what), which keep a client from
  believing a server; of MRS ``whitelist`` (who may make an account) and ``imports``
  (what another registry exported, read whole before any of it is kept);
* ``web/pages``, what people are shown, and ``web/metrics``, what the operator may watch;
* ``web/openapi``, and ``schemas`` of three protocols: what OpenAPI shows; ``core/grammar`` of the log: what a member of
  an operation may be, for the verifier and for OpenAPI;
* ``explore``, the page that shows what the server holds, and its demo: one file for each part of the made-up world.
"""

LOG = "omp.protocols.oplog"
DEFINITION = f"{LOG}.definition"
CORE = f"{LOG}.core"

ROLES = {
    "audit": "what must hold of the rows of a protocol; in omp.store, how they are read and the findings collected",
    "routes": "what a protocol answers under which path; in omp.web, what dispatches by these tables",
    "schemas": "the JSON of a protocol's requests and answers",
}
"""Names that several modules may have, because each plays the same part in its package."""

SAME_THING = {
    "omp.protocols.nexus.profile, omp.tools.profile": "a profile of NEXUS: what the server keeps, and its owner's tool",
    "omp.protocols.mrs.peers, omp.tools.peers": "the registries that a registry of MRS knows, and its operator's tool",
}
"""Modules of one name that are about one thing."""

SHARED_CLASSES = {
    "NotAuthenticated: omp.protocols.mrs.identity, omp.protocols.nexus.signatures": "nobody is known to have sent it",
}
"""Classes of one name that mean one thing, though each belongs to the errors of its package."""

WITH_HTTP_ERRORS = {
    "omp.protocols.oplog.posting": "the handler of one route, which refuses a media type as routes do",
}
"""Modules of protocols besides ``routes`` that may use ApiError, and why."""

Sources = Mapping[str, str]


class Import(NamedTuple):
    """One import statement's target; `lazy` is "function" inside a function, else "if" inside an ``if``, else empty."""

    target: str
    line: int
    lazy: str


def sources() -> dict[str, str]:
    """Module name -> source, of the whole project but its tests."""
    paths = [TOP / "server.py", *(TOP / "omp").rglob("*.py")]
    found = {}
    for path in paths:
        parts = path.relative_to(TOP).with_suffix("").parts
        if parts[:2] != ("omp", "tests"):
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


@functools.cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


@functools.cache
def _statements(source: str) -> list[tuple[ast.Import | ast.ImportFrom, str]]:
    """The import statements of a source, each with its `lazy`: see :class:`Import`."""
    tree = _parsed(source)
    lazy = {
        **dict.fromkeys(_inside(tree, ast.If), "if"),
        **dict.fromkeys(_inside(tree, ast.FunctionDef, ast.AsyncFunctionDef), "function"),
    }
    return [(node, lazy.get(node, "")) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def _inside(tree: ast.Module, *kinds: type[ast.AST]) -> set[ast.AST]:
    return {inner for outer in ast.walk(tree) if isinstance(outer, kinds) for inner in ast.walk(outer)}


def imports(module: str, all_sources: Sources) -> Iterator[Import]:
    """Every import of a module; ``from package import submodule`` counts as importing the submodule."""
    for node, lazy in _statements(all_sources[module]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            package = "." * node.level + (node.module or "")
            full = [f"{package}.{alias.name}" for alias in node.names]
            names = [name if name in all_sources else package for name in full]
        for name in names:
            yield Import(name, node.lineno, lazy)


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _floor(module: str) -> int | None:
    return next((floor for package, floor in FLOORS.items() if _within(module, package)), None)


def imports_that_go_up(all_sources: Sources) -> list[str]:
    """Imports of a higher floor, relative imports, and modules that stand on no floor."""
    faults = []
    for module in all_sources:
        floor = _floor(module)
        if floor is None and module != "omp":
            faults.append(f"{module} stands on no floor")
        for target, line, lazy in imports(module, all_sources):
            if target.startswith("."):
                faults.append(f"{module}:{line} imports relatively: {target}")
            if lazy and (module, target) == STARTS:
                continue
            target_floor = _floor(target)
            if target_floor is not None and target_floor > (-1 if floor is None else floor):
                faults.append(f"{module}:{line} goes up to {target}")
    return faults


def protocols_that_know_another(all_sources: Sources) -> list[str]:
    """Imports from one protocol's module or package to another's."""
    faults = []
    for module in all_sources:
        own = module.split(".")[:3]
        for target, line, _ in imports(module, all_sources):
            other = target.split(".")[:3]
            if own[:2] == other[:2] == ["omp", "protocols"] and len(own) == len(other) == 3 and own != other:
                faults.append(f"{module}:{line} imports {target}")
    return faults


def _is_pure(module: str, all_sources: Sources) -> bool:
    """Rules, and those modules of protocols that import neither store nor web."""
    if _within(module, "omp.rules"):
        return True
    if not _within(module, "omp.protocols") or module in REACHING_OUT:
        return False
    targets = {target for target, _, _ in imports(module, all_sources)}
    return not any(_within(target, floor) for target in targets for floor in ("omp.store", "omp.web"))


def effects_in_pure_modules(all_sources: Sources) -> list[str]:
    """Imports of, and calls to, what has effects or reads a clock."""
    faults = []
    for module in filter(lambda module: _is_pure(module, all_sources), all_sources):
        for target, line, _ in imports(module, all_sources):
            if any(_within(target, effect) for effect in EFFECTS) or target in REACHING_OUT:
                faults.append(f"{module}:{line} imports {target}")
        for node in ast.walk(_parsed(all_sources[module])):
            if name := _impure_name(node):
                faults.append(f"{module}:{getattr(node, 'lineno', 0)} uses {name}")
    return faults


def _impure_name(node: ast.AST) -> str:
    if isinstance(node, ast.ImportFrom) and node.module in PURE_OF:
        return ", ".join(sorted({alias.name for alias in node.names} - PURE_OF[node.module]))
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
        if (owner in ("date", "datetime") and node.attr in CLOCKS) or (
            owner == "time" and node.attr not in PURE_OF["time"]
        ):
            return f"{owner}.{node.attr}"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS_WITH_EFFECTS:
        return node.func.id
    return ""


def foreign_packages(all_sources: Sources) -> list[str]:
    """Packages but ``cryptography``, and that one where merely importing our module would need it."""
    faults = []
    for module in all_sources:
        for target, line, lazy in imports(module, all_sources):
            package = target.partition(".")[0]
            if package in sys.stdlib_module_names or package in ("omp", "server"):
                continue
            if package != "cryptography" or not lazy:
                faults.append(f"{module}:{line} needs {package}")
    return faults


def circles(all_sources: Sources) -> list[str]:
    """Modules that need each other, if only for a type.  What a function imports it needs only when it is called."""
    graph = {
        module: {found.target for found in imports(module, all_sources) if found.lazy != "function"}
        & all_sources.keys()
        for module in all_sources
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" → ".join(error.args[1])]
    return []


def two_derivations_that_meet(all_sources: Sources) -> list[str]:
    """Imports that would let a mistake of the log's core hide in its definition, or tie either to the shell.

    The definition needs rules alone; the core needs rules and itself.
    """
    allowed = {DEFINITION: ("omp.rules",), CORE: ("omp.rules", CORE)}
    return [
        f"{module}:{found.line} imports {found.target}"
        for module in all_sources
        for place, floors in allowed.items()
        if _within(module, place)
        for found in imports(module, all_sources)
        if _within(found.target, "omp") and not any(_within(found.target, floor) for floor in floors)
    ]


def too_many_files(all_sources: Sources) -> list[str]:
    """More files than somebody reads who wants to know the server."""
    server = [module for module in all_sources if (_floor(module) or 0) < FLOORS["omp.tools"] and module != "omp"]
    return [f"{len(server)} files make the server"] if len(server) > SERVER_FILES else []


def modules_of_one_name(all_sources: Sources) -> list[str]:
    """Modules of one name that are not known to share its meaning; packages count by their own name."""
    named: dict[str, list[str]] = {}
    for module in all_sources:
        if _within(module, "omp") and module.count(".") > 1:
            named.setdefault(module.rpartition(".")[2], []).append(module)
    shared = [", ".join(sorted(modules)) for name, modules in named.items() if len(modules) > 1 and name not in ROLES]
    return [modules for modules in shared if modules not in SAME_THING]


def classes_of_one_name(all_sources: Sources) -> list[str]:
    """Public classes of one name.  A name with an underscore is known to its own module only, and may be anyone's."""
    named: dict[str, list[str]] = {}
    for module in all_sources:
        for node in ast.walk(_parsed(all_sources[module])):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                named.setdefault(node.name, []).append(module)
    shared = [f"{name}: {', '.join(sorted(modules))}" for name, modules in named.items() if len(modules) > 1]
    return [classes for classes in shared if classes not in SHARED_CLASSES]


def models_that_answer(all_sources: Sources) -> list[str]:
    """Modules of protocols, ``routes`` aside, that use HTTP errors: they raise what happened, and routes translate."""
    return [
        f"{module}:{node.lineno} uses ApiError"
        for module in all_sources
        if _within(module, "omp.protocols") and not module.endswith(".routes") and module not in WITH_HTTP_ERRORS
        for node in ast.walk(_parsed(all_sources[module]))
        if (isinstance(node, ast.Name) and node.id == "ApiError")
        or (isinstance(node, ast.Attribute) and node.attr == "ApiError")
    ]


RULES: dict[Callable[[Sources], list[str]], list[dict[str, str]]] = {
    imports_that_go_up: [
        {"omp.rules.a": "import omp.store.b", "omp.store.b": ""},
        {"omp.rules.a": "from omp.web import b", "omp.web.b": ""},
        {"omp.store.a": "def f():\n    from omp.protocols.b import g", "omp.protocols.b": ""},
        {"omp.web.a": "import server", "server": ""},
        {"omp": "from omp.rules import a", "omp.rules.a": ""},
        {"omp": "import omp.entry", "omp.entry": ""},
        {"omp.rules.a": "from . import b", "omp.rules.b": ""},
        {"omp.elsewhere": ""},
    ],
    protocols_that_know_another: [
        {"omp.protocols.a": "import omp.protocols.b", "omp.protocols.b": ""},
        {"omp.protocols.a.x": "from omp.protocols import b", "omp.protocols.b": ""},
        {"omp.protocols.a.x": "from omp.protocols.b.y import z", "omp.protocols.b.y": ""},
    ],
    effects_in_pure_modules: [
        {"omp.rules.a": "import threading"},
        {"omp.rules.a": "import http.client"},
        {"omp.rules.a": "from os import urandom"},
        {"omp.rules.a": "from urllib.request import urlopen"},
        {"omp.rules.a": "import time\ntime.time()"},
        {"omp.rules.a": "from time import monotonic"},
        {"omp.rules.a": "import datetime\ndatetime.datetime.now()"},
        {"omp.rules.a": "from datetime import datetime\ndatetime.utcnow()"},
        {"omp.rules.a": "open('x')"},
        {"omp.protocols.a.x": "import socket"},
        {"omp.protocols.a.x": "import omp.protocols.mrs.fetch"},
    ],
    foreign_packages: [
        {"omp.tools.a": "import requests"},
        {"omp.tools.a": "def f():\n    import requests"},
        {"omp.rules.a": "from cryptography.exceptions import InvalidSignature"},
    ],
    circles: [
        {"omp.rules.a": "import omp.rules.b", "omp.rules.b": "import omp.rules.a"},
        {"omp.rules.a": "if TYPE_CHECKING:\n    from omp.rules.b import B", "omp.rules.b": "import omp.rules.a"},
        {"omp.rules.a": "import omp.rules.b", "omp.rules.b": "import omp.rules.c", "omp.rules.c": "import omp.rules.a"},
    ],
    two_derivations_that_meet: [
        {DEFINITION: f"from {CORE} import a", f"{CORE}.a": ""},
        {DEFINITION: "def f():\n    from omp.web import a", "omp.web.a": ""},
        {f"{CORE}.a": f"import {DEFINITION}", DEFINITION: ""},
        {f"{CORE}.a": f"if TYPE_CHECKING:\n    from {LOG} import node", f"{LOG}.node": ""},
    ],
    too_many_files: [{f"omp.rules.{'a' * number}": "" for number in range(1, SERVER_FILES + 2)}],
    modules_of_one_name: [
        {"omp.web.a": "", "omp.protocols.b.a": ""},
        {"omp.tools.log": "", "omp.protocols.log.b": "", "omp.web.log": ""},
        {"omp.tools.a": "", "omp.rules.a": "", "omp.rules.b": ""},
    ],
    classes_of_one_name: [
        {"omp.web.a": "class A: ...", "omp.rules.b": "class A: ..."},
        {"omp.web.a": "class B:\n    class A: ...", "omp.web.b": "def f():\n    class A: ..."},
    ],
    models_that_answer: [
        {"omp.protocols.a.b": "raise ApiError(400)"},
        {"omp.protocols.a.b": "import omp.web.errors\nraise omp.web.errors.ApiError(400)"},
        {"omp.protocols.a": "def f() -> ApiError: ..."},
    ],
}  # fmt: skip
"""Each rule, and code that breaks it."""

EXCEPTIONS: list[tuple[dict[str, str], Callable[[Sources], list[str]]]] = [
    (ROLES, modules_of_one_name),
    (SAME_THING, modules_of_one_name),
    (SHARED_CLASSES, classes_of_one_name),
    (WITH_HTTP_ERRORS, models_that_answer),
]
"""Each table of exceptions, and the rule that it excepts from."""

IN_ORDER = {
    "omp": "def f():\n    from omp.entry import start",
    "omp.entry": "import omp.protocols.a.x",
    "omp.rules.a": "import json\nfrom time import gmtime\nimport datetime\ndatetime.datetime(1, 1, 1)",
    "omp.rules.b": "from omp.rules import a\ndef f():\n    from cryptography.exceptions import InvalidSignature",
    "omp.store.s": "import threading\nimport omp\nfrom omp.rules import a",
    "omp.protocols.a.x": "from omp.web.v import y\nimport os, time\ntime.time()",
    "omp.protocols.a.y": "from omp.protocols.a import x",
    "omp.web.v": "from omp.store.s import z\nif True:\n    import omp.web.w\nclass _A: ...",
    "omp.web.w": "def f():\n    import omp.web.v\nclass _A: ...",
    DEFINITION: "from omp.rules import a, b",
    f"{CORE}.c": "import omp.rules.a",
    f"{CORE}.d": f"import {CORE}.c, omp.rules.b",
    f"{LOG}.routes": f"from {CORE} import c\nfrom omp.web.errors import ApiError\nraise ApiError(400)",
    "omp.web.errors": "class ApiError: ...",
    "omp.web.routes": "",
    "server": "import omp.protocols.a.x",
}


class Imports(unittest.TestCase):
    def test_the_project_keeps_every_rule(self) -> None:
        project = sources()
        self.assertGreater(len(project), 30)
        for rule in RULES:
            with self.subTest(rule.__name__):
                self.assertEqual(rule(project), [])

    def test_every_rule_finds_what_breaks_it(self) -> None:
        for rule, broken in RULES.items():
            for code in broken:
                with self.subTest(rule.__name__, code=code):
                    self.assertEqual(len(rule(code)), 1)

    def test_no_rule_objects_to_code_in_order(self) -> None:
        for rule in RULES:
            with self.subTest(rule.__name__):
                self.assertEqual(rule(IN_ORDER), [])

    def test_every_exception_is_still_needed(self) -> None:
        project = sources()
        for table, rule in EXCEPTIONS:
            for name in list(table):
                with self.subTest(rule.__name__, name=name):
                    before = len(rule(project))
                    with mock.patch.dict(table):
                        del table[name]
                        self.assertGreater(len(rule(project)), before)

    def test_what_reaches_out_is_there(self) -> None:
        self.assertLessEqual(REACHING_OUT.keys(), sources().keys())


if __name__ == "__main__":
    unittest.main()
