"""Devices for the tests of ``python -m omp log``: a folder with their files, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from omp.tests import TOP
from omp.tests.harness import command
from omp.tests.tools.test_signing_tools import MISSING, HandwrittenKeys
from omp.tools.log import files

STRICT = {"OMP_SIG_MODE": "strict", "OMP_LOGS_OPEN": "1"}
ANOTHER_LOG = "omp:id:ed25519:" + "A" * 43

# The command in a process of its own, with test keys where there is no package to hold real ones.
PROCESS = """
import os, resource, sys
from omp.__main__ import (main)
from omp.tests.tools.test_signing_tools import (MISSING, HandwrittenKeys)
from omp.tools.log import (files)
if MISSING:
    files.secret_keys = HandwrittenKeys
if limit := os.environ.get("LARGEST_FILE"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
sys.exit(main(sys.argv[1:]))
"""


class LogCase(unittest.TestCase):
    """A folder with the files of several devices, and the command in this process."""

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        if MISSING:
            self.enterContext(mock.patch.object(files, "secret_keys", HandwrittenKeys))

    def file(self, device: str = "phone") -> Path:
        return self.folder / f"{device}.ndjson"

    def command(self, device: str, name: str, *words: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """(status, standard output, standard error) of ``python -m omp log NAME --log DEVICE …``."""
        return command("log", name, "--log", str(self.file(device)), *words, stdin=stdin)

    def done(self, device: str, name: str, *words: str, stdin: bytes = b"") -> str:
        """What a command that succeeds prints."""
        status, said, complained = self.command(device, name, *words, stdin=stdin)
        self.assertEqual((status, "" if name == "init" else complained), (0, ""), complained)
        return said.rstrip("\n")

    def refused(self, device: str, name: str, *words: str) -> str:
        """The one sentence of a command that fails, having printed nothing else."""
        status, said, complained = self.command(device, name, *words)
        self.assertEqual((status, said, complained.count("\n")), (1, "", 1), (said, complained))
        self.assertTrue(complained.startswith("log: "), complained)
        return complained

    def lines(self, device: str = "phone") -> list[bytes]:
        return self.file(device).read_bytes().splitlines(keepends=True)

    def state(self, device: str) -> str:
        """The state ID that `show` prints."""
        return next(line.split()[1] for line in self.done(device, "show").splitlines() if line.startswith("state"))

    def phone(self) -> str:
        """A new log on the phone: its ID."""
        return self.done("phone", "init")

    def process(self, device: str, *words: str, **environ: str) -> subprocess.Popen[str]:
        name, *rest = words
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS, "log", name, "--log", str(self.file(device)), *rest],
            cwd=TOP,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
