"""How the package is laid out: the way of a posted operation, its errors, its size (oplog §7)."""

from __future__ import annotations

import ast
import sys
import unittest
from pathlib import Path
from types import FrameType
from typing import Any, cast

from omp.protocols import oplog
from omp.protocols.oplog.core.operation import CLAIM, EVIDENCE, GRANT
from omp.protocols.oplog.core.verify import OplogError
from omp.protocols.oplog.node import Node, OpLog
from omp.protocols.oplog.routes import REFUSALS, ROUTES
from omp.store.memory import MemoryStore
from omp.tests.oplog.world import DEVICES, LOG, ROOT, TRUSTING, LogCopy
from omp.web.messages import Request
from omp.web.routes import Application, Mount
from omp.web.signature_guard import SignatureGuard

PACKAGE = Path(oplog.__file__).parent
ON_THE_WAY = {
    "posting.py", "node.py", "core/replica.py", "core/verify.py", "core/operation.py", "core/causality.py",
    "core/authority.py", "core/entries.py",
}  # fmt: skip
"""Whose functions run before an operation is stored; the ninth file, routes.py, only names the handler."""
WHAT_FOLLOWS = {"core/void.py", "core/state.py", "core/document.py", "core/blocks.py", "core/waiting.py", "feed.py"}


class Way(unittest.TestCase):
    """From the socket to the stored entry: what the docstring of the package promises."""

    def test_a_posted_operation_crosses_nine_files_until_it_is_stored(self) -> None:
        writers = LogCopy()
        writers.do(ROOT, GRANT)
        writers.do(DEVICES[0], EVIDENCE)
        last = writers.do(DEVICES[0], CLAIM)
        *raws, raw = writers.raw()
        node, no_guard = Node(MemoryStore()), cast(SignatureGuard, None)
        state = OpLog(node, TRUSTING, no_guard, lambda: 0.0)
        mount = Mount("oplog", "", "", ROUTES, state, owns=("/logs",), refusals=REFUSALS)
        application = Application([mount], self.fail, 1 << 20)
        for other in raws:
            self.assertEqual(application.answer(self.request(other)).status, 201)
        bytes_held = node.bytes_held(LOG)
        before: set[str] = set()
        after: set[str] = set()

        def follow(frame: FrameType, event: str, argument: Any) -> None:
            path = Path(frame.f_code.co_filename)
            if event == "call" and path.is_relative_to(PACKAGE):
                (after if bytes_held(last) else before).add(str(path.relative_to(PACKAGE)))

        request = self.request(raw)
        sys.setprofile(follow)
        try:
            answer = application.answer(request)
        finally:
            sys.setprofile(None)
        self.assertEqual(answer.status, 201)
        self.assertEqual(before, ON_THE_WAY)
        self.assertLessEqual(WHAT_FOLLOWS, after)

    def request(self, raw: bytes) -> Request:
        return Request("POST", f"/logs/{LOG}/operations", {"content-type": "application/json"}, (), raw)


class Errors(unittest.TestCase):
    def test_all_errors_of_the_package_have_one_base_and_an_answer(self) -> None:
        kinds = OplogError.__subclasses__()
        for kind in kinds:  # grows while it is walked
            kinds += kind.__subclasses__()
        self.assertGreater(len(kinds), 4)
        for kind in kinds:
            self.assertTrue(any(base in REFUSALS for base in kind.__mro__), kind)

    def test_no_module_but_the_handlers_raises_an_http_error(self) -> None:
        for path in PACKAGE.rglob("*.py"):
            raises = [node.exc for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Raise)]
            calls = [raised.func for raised in raises if isinstance(raised, ast.Call)]
            raised = {function.id for function in calls if isinstance(function, ast.Name)}
            expected = {"posting.py": {"ApiError"}, "reading.py": {"InvalidRequest"}}.get(path.name, set())
            self.assertEqual(raised & {"ApiError", "InvalidRequest"}, expected, path.name)


class Size(unittest.TestCase):
    def test_the_package_has_twenty_five_files_of_about_four_hundred_lines_at_most(self) -> None:
        lengths = {str(path.relative_to(PACKAGE)): path.read_text().count("\n") for path in PACKAGE.rglob("*.py")}
        self.assertEqual(len(lengths), 25)  # twenty-four make the protocol, and audit.py checks its rows
        core = [length for name, length in lengths.items() if name != "definition.py"]
        self.assertLessEqual(max(core), 420)


if __name__ == "__main__":
    unittest.main()
