"""The import graph is the architecture: floors, protocols that know nothing of each other, rules without effects.

Read with ``ast`` from every module of the project but the tests, wherever in the module an import stands.  Each rule
is a function from the sources to a list of faults, so that every rule is also tried on code that breaks it.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import sys
import unittest
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from omp.tests import TOP

FLOORS = {
    "omp.rules": 0,
    "omp.store": 1,
    "omp.web": 2,
    "omp.protocols": 3,
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
"""What a pure module imports nothing of: I/O, threads, randomness."""
PURE_OF = {
    "time": {"gmtime", "strftime", "struct_time"},
    "datetime": {"date", "datetime", "timedelta", "timezone", "UTC"},
}
"""Of these it imports what only calculates, and reads no clock."""
CLOCKS = {"now", "utcnow", "today"}
BUILTINS_WITH_EFFECTS = {"open", "print", "input", "breakpoint"}

REACHING_OUT = {
    "omp.protocols.mrs.fetch": "asks other servers over HTTPS",
}
"""Modules of protocols that have effects without touching store or web."""

Sources = Mapping[str, str]


class Import(NamedTuple):
    """One import statement's target; `lazy` where it stands in a function or under an ``if``."""

    target: str
    line: int
    lazy: bool


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
def _statements(source: str) -> list[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The import statements of a source, and whether each is lazy."""
    tree = _parsed(source)
    conditional = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.If)]
    lazy = {inner for outer in conditional for inner in ast.walk(outer)}
    return [(node, node in lazy) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


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
    """Modules that need each other to be imported."""
    graph = {
        module: {target for target, _, lazy in imports(module, all_sources) if not lazy and target in all_sources}
        for module in all_sources
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" → ".join(error.args[1])]
    return []


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
    ],
}  # fmt: skip
"""Each rule, and code that breaks it."""

IN_ORDER = {
    "omp": "def f():\n    from omp.entry import start",
    "omp.entry": "import omp.protocols.a.x",
    "omp.rules.a": "import json\nfrom time import gmtime\nimport datetime\ndatetime.datetime(1, 1, 1)",
    "omp.rules.b": "from omp.rules import a\ndef f():\n    from cryptography.exceptions import InvalidSignature",
    "omp.store.a": "import threading\nimport omp\nfrom omp.rules import a",
    "omp.protocols.a.x": "from omp.web.a import y\nimport os, time\ntime.time()",
    "omp.protocols.a.y": "from omp.protocols.a import x",
    "omp.web.a": "from omp.store.a import z\nif True:\n    import omp.web.b",
    "omp.web.b": "import omp.web.a",
    "server": "import omp.protocols.a.x",
}


class Imports(unittest.TestCase):
    def test_the_project_keeps_every_rule(self) -> None:
        project = sources()
        self.assertGreater(len(project), 30)
        for rule in RULES:
            with self.subTest(rule.__name__):
                self.assertEqual(rule(project), [])

    def test_every_rule_sees_what_breaks_it(self) -> None:
        for rule, broken in RULES.items():
            for code in broken:
                with self.subTest(rule.__name__, code=code):
                    self.assertEqual(len(rule(code)), 1)

    def test_no_rule_minds_code_in_order(self) -> None:
        for rule in RULES:
            with self.subTest(rule.__name__):
                self.assertEqual(rule(IN_ORDER), [])

    def test_what_reaches_out_is_there(self) -> None:
        self.assertLessEqual(REACHING_OUT.keys(), sources().keys())


if __name__ == "__main__":
    unittest.main()
