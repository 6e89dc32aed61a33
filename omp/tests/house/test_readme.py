"""The README's transcripts are true: every ``console`` block is run, and must print what it shows.

Each section of the README (``## …``) is one shell session in a fresh copy of the checkout: its blocks run in order
and start the servers they need.  What differs from run to run is compared as a kind: times, UUIDs, hashes,
keys and signatures; and where the README shows one value twice, the run must.  The ports 8787 and 8788 are replaced by
free ones.  A section with the comment ``<!-- needs cryptography -->`` is skipped where that package is not installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from omp.entry import all_settings
from omp.tests import TOP

README = TOP / "README.md"
OPERATING = TOP / "omp" / "OPERATING.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MARK = "@@next@@"

# What changes from run to run -> what it is compared as.  The order matters: longer forms first.
_TIMES = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "<date>"),
    (r"\b1[678]\d{11}\b", "<milliseconds>"),
)
# Values that are known again: kind -> its form.
_NAMES = re.compile(
    r"(?P<uuid>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)"
    r"|(?P<address>\b0x[0-9a-fA-F]{40}\b)"
    r"|(?P<hex>\b(?:0x)?[0-9a-f]{64,}\b)"
    r"|(?P<registration>\breg_[A-Za-z0-9_-]{12})"
    r"|(?P<base64>(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{40,}={0,2})"
    r"|(?P<short>\b[0-9a-f]{8,}…)"
)
_SHORTEST = 8  # digits of a hash that is cut short; by so many the long form is known to be the same


def sections(text: str) -> list[tuple[str, str]]:
    """(title, text) of every section that has transcripts."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return [(title.strip(), body) for title, body in zip(parts[1::2], parts[2::2], strict=True) if _BLOCK.search(body)]


def steps(body: str) -> list[tuple[str, str]]:
    """(command, output) of every ``$`` line in a section's transcripts; ``>`` lines continue a command."""
    found: list[tuple[str, list[str]]] = []
    for block in _BLOCK.findall(body):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.startswith("> "):
                found[-1] = (found[-1][0] + "\n" + line[2:], [])
            else:
                found[-1][1].append(line)
    return [(command, "\n".join(lines).strip()) for command, lines in found]


def generalized(outputs: list[str]) -> list[str]:
    """`outputs` of one session with what changes from run to run replaced: by its kind, and which one it is of it."""
    met: dict[tuple[str, str], int] = {}

    def numbered(match: re.Match[str]) -> str:
        kind, value = str(match.lastgroup), match[0]
        if kind in ("hex", "short"):
            kind, value = "hash", value[:_SHORTEST]
        return f"<{kind} {met.setdefault((kind, value), len(met))}>"

    found = []
    for output in outputs:
        for pattern, kind in _TIMES:
            output = re.sub(pattern, kind, output)
        lines = _NAMES.sub(numbered, output).strip().splitlines()
        found.append("\n".join(line.rstrip() for line in lines))
    return found


_LISTENING = """listening() { for _ in $(seq 600); do grep -qs listening "$1" && return; sleep 0.05; done; }
"""


def _patient(command: str) -> str:
    """`command`, waiting until a server that it starts listens, where a person would wait a second."""
    return re.sub(r"^(.*> (\S+)) & sleep 1$", r"rm -f \2; \1 & listening \2", command)


def run_session(commands: list[str], folder: Path) -> list[str]:
    """What each command prints, in one bash session in `folder`."""
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").symlink_to(sys.executable)
    script = _LISTENING + "\n".join(f"{_patient(command)}\necho; echo {_MARK}" for command in commands)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MRS_", "PORT"))}
    # The symlink alone would lose the packages of a virtual environment.
    environ = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{folder / 'bin'}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
    }
    with (folder / "output").open("w+b") as output:
        with subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder / "omp-server",
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as session:
            try:
                session.wait(120)
            finally:
                # The servers a section started in the background.
                os.killpg(session.pid, signal.SIGKILL) if session.poll() is None else _end_group(session.pid)
        output.seek(0)
        return output.read().decode().split(_MARK + "\n")[: len(commands)]


def _end_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)


@unittest.skipUnless(README.exists(), "there is no README.md beside this copy of the package")
class Transcripts(unittest.TestCase):
    """One session a section."""

    maxDiff = None

    @unittest.skipUnless(shutil.which("bash") and shutil.which("curl"), "the transcripts need bash and curl")
    def test_every_transcript_is_what_its_commands_print(self) -> None:
        found = [section for page in (README, OPERATING) for section in sections(page.read_text(encoding="utf-8"))]
        self.assertTrue(found)
        for title, body in found:
            with self.subTest(section=title):
                if "<!-- needs cryptography -->" in body and not importlib.util.find_spec("cryptography"):
                    continue
                self._session(steps(body))

    def _session(self, expected: list[tuple[str, str]]) -> None:
        ports = []
        for _ in range(2):
            with socket.create_server(("127.0.0.1", 0)) as sock:
                ports.append(str(sock.getsockname()[1]))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            copied = shutil.ignore_patterns(".git", "__pycache__", ".mypy_cache", ".ruff_cache", "*.db*")
            shutil.copytree(TOP, folder / "omp-server", ignore=copied)
            # Commands name the default port by leaving it out.
            commands = [
                command.replace("8787", ports[0])
                .replace("8788", ports[1])
                .replace("python3 server.py", f"PORT=${{PORT:-{ports[0]}}} python3 server.py")
                for command, _ in expected
            ]
            printed = run_session(commands, folder)
        actual = [output.replace(ports[0], "8787").replace(ports[1], "8788") for output in printed]
        shown = generalized([output for _, output in expected])
        for (command, _), output, wanted in zip(expected, generalized(actual), shown, strict=True):
            self.assertEqual(output, wanted, command)


@unittest.skipUnless(README.exists(), "there is no README.md beside this copy of the package")
class Tables(unittest.TestCase):
    """What the page for operators lists is what there is."""

    def test_every_variable_and_flag_is_in_the_page_for_operators(self) -> None:
        text = OPERATING.read_text(encoding="utf-8")
        for setting in all_settings():
            for name in filter(None, (setting.variable, setting.fallback, setting.flag)):
                self.assertIn(f"`{name}", text)


if __name__ == "__main__":
    unittest.main()
