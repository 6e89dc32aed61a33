"""The transcripts of all guides are true: every ``console`` block is run, and must print what it shows.

Each section of a guide (``## …``) is one shell session in a fresh copy of the checkout: its blocks run in order, start
the servers they need and end them.  The default run takes the top ``README.md``; ``OMP_TESTS=all`` takes every guide,
and then all sections of all guides in one single shell, as somebody does who pastes one after the other.

What differs from run to run is compared as a kind: times, UUIDs, hashes, keys and signatures; and where a section shows
one value twice, the run must.  The ports 8787 and 8788 are replaced by free ones.  A section with the comment
``<!-- needs cryptography -->`` is left out where that package is not installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from omp.tests import TOP, long
from omp.tests.harness import free_port

README = TOP / "README.md"
PROTOCOLS = ("objects", "oplog", "avp", "mrs", "nexus")
GUIDES = (
    README,
    TOP / "omp" / "README.md",
    TOP / "omp" / "OPERATING.md",
    *(TOP / "omp" / "protocols" / name / "README.md" for name in PROTOCOLS),
)
"""Every guide, in reading order."""

GIT = shutil.which("git") is not None

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r"^## (.+)$", re.MULTILINE)
_MARK = "@@next@@"
_SECONDS = 600  # until a shell that hangs is killed
_PORTS = ("8787", "8788")

# What changes from run to run -> what it is compared as.  The order matters: longer forms first.
_TIMES = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "<date>"),
    (r"\b1[678]\d{11}\b", "<milliseconds>"),
)
# Values that may be shown more than once, and then must be the same: kind -> its form.
_NAMES = re.compile(
    r"(?P<uuid>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)"
    r"|(?P<state>\b[0-9a-f]{4}(?:-[0-9a-f]{4}){5}\b)"
    r"|(?P<address>\b0x[0-9a-fA-F]{40}\b)"
    r"|(?P<hex>\b(?:0x)?[0-9a-f]{64,}\b)"
    r"|(?P<registration>\breg_[A-Za-z0-9_-]{12})"
    r"|(?P<base64>(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{40,}={0,2})"
    r"|(?P<short>\b[0-9a-f]{8,}…)"
)
_SHORTEST = 8  # digits of a hash that is cut short: enough to tell which hash it is


class Section(NamedTuple):
    """One section of a guide: `steps` are its commands, each with the output that it shows."""

    name: str
    steps: list[tuple[str, str]]
    needs_cryptography: bool

    def can_run(self) -> bool:
        """Whether what it needs is installed."""
        return not self.needs_cryptography or importlib.util.find_spec("cryptography") is not None


def sections(guide: Path) -> list[Section]:
    """Every section of a guide that has transcripts."""
    parts = _TITLE.split(guide.read_text(encoding="utf-8"))
    name = guide.relative_to(TOP).as_posix()
    return [
        Section(f"{name}, {title.strip()}", steps(body), "<!-- needs cryptography -->" in body)
        for title, body in zip(["its beginning", *parts[1::2]], parts[::2], strict=True)
        if _BLOCK.search(body)
    ]


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
    """The outputs of one section; each value that changes from run to run is replaced by its kind and a number."""
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


class Checkout:
    """A copy of the checkout in a folder of its own, with two free ports in place of 8787 and 8788."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.top = folder / "omp-server"
        left_out = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "*.db*")
        shutil.copytree(TOP, self.top, ignore=left_out)
        (folder / "bin").mkdir()
        (folder / "bin" / "python3").symlink_to(sys.executable)
        self.ports: list[str] = []
        while len(set(self.ports)) < len(_PORTS):
            self.ports = [str(free_port()) for _ in _PORTS]
        if GIT:
            self._git("init")
            self._git("add", "--all")

    def run(self, found: list[Section]) -> list[list[str]]:
        """Run all sections in one bash session.

        Returns a list for each section: what each of its commands printed, then what the section left running.
        """
        lists = [[*(self._here(command) for command, _ in section.steps), self._left_running()] for section in found]
        printed = iter(self._output([command for commands in lists for command in commands]).split(_MARK + "\n"))
        return [[self._shown(next(printed, "(not reached)")) for _ in commands] for commands in lists]

    def noticed_by_git(self) -> list[str]:
        """The files that the sessions made and git does not ignore, and those that they changed; [] without git."""
        states = self._git("status", "--porcelain").splitlines() if GIT else []
        return [state[3:] for state in states if not state.startswith("A  ")]

    def _git(self, *words: str) -> str:
        environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        return subprocess.run(
            ["git", *words], cwd=self.top, env=environ, check=True, capture_output=True, text=True
        ).stdout

    def _here(self, command: str) -> str:
        for port, free in zip(_PORTS, self.ports, strict=True):
            command = command.replace(port, free)
        # Commands name the default port by leaving it out.
        return command.replace("python3 server.py", f"PORT=${{PORT:-{self.ports[0]}}} python3 server.py")

    def _shown(self, output: str) -> str:
        for port, free in zip(_PORTS, self.ports, strict=True):
            output = output.replace(free, port)
        return output

    def _left_running(self) -> str:
        """A command that prints a line for each job that still runs and each port that is still taken."""
        return f"""jobs -r
for port in {" ".join(self.ports)}; do
    (: < /dev/tcp/127.0.0.1/$port) 2> /dev/null && echo "port $port is still taken"
done"""

    def _output(self, commands: list[str]) -> str:
        script = "\n".join(f"{command}\necho; echo {_MARK}" for command in commands)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MRS_", "PORT"))}
        # The symlink alone would lose the packages of a virtual environment.
        path = f"{Path(sys.executable).parent}:{self.folder / 'bin'}:{os.environ['PATH']}"
        with (self.folder / "output").open("w+b") as output:
            with subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.top,
                env={**kept, "PATH": path, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as session:
                try:
                    session.wait(_SECONDS)
                finally:
                    # Whatever a wrong section left in the background.
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(session.pid, signal.SIGKILL)
            output.seek(0)
            return output.read().decode()


@contextlib.contextmanager
def checkout() -> Iterator[Checkout]:
    """A copy of the checkout for the length of a block."""
    with tempfile.TemporaryDirectory() as name:
        yield Checkout(Path(name))


@unittest.skipUnless(shutil.which("bash") and shutil.which("curl"), "the transcripts need bash and curl")
class Transcripts(unittest.TestCase):
    """They print what they show, end what they start, and leave nothing that git would commit."""

    maxDiff = None

    def test_each_section_of_the_readme_holds_in_a_shell_of_its_own(self) -> None:
        self._one_by_one(sections(README))

    @long
    def test_each_section_of_every_other_guide_holds_in_a_shell_of_its_own(self) -> None:
        self._one_by_one([section for guide in GUIDES[1:] for section in sections(guide)])

    @long
    def test_all_sections_of_all_guides_hold_in_one_shell_and_do_so_again(self) -> None:
        # Twice, because whoever tries a guide again still has its files.
        self._hold([section for guide in GUIDES for section in sections(guide)] * 2)

    def _one_by_one(self, found: list[Section]) -> None:
        self.assertTrue(found)
        for section in found:
            with self.subTest(section.name):
                self._hold([section])

    def _hold(self, found: list[Section]) -> None:
        found = [section for section in found if section.can_run()]
        with checkout() as copy:
            for section, printed in zip(found, copy.run(found), strict=True):
                with self.subTest(section.name):
                    self._holds(section, printed)
            self.assertEqual(copy.noticed_by_git(), [])

    def _holds(self, section: Section, printed: list[str]) -> None:
        *actual, left = printed
        shown = generalized([output for _, output in section.steps])
        for (command, _), output, wanted in zip(section.steps, generalized(actual), shown, strict=True):
            self.assertEqual(output, wanted, command)
        self.assertEqual(left.strip(), "", "it does not end what it started")


@unittest.skipUnless(shutil.which("bash"), "the transcripts need bash")
class TheRunner(unittest.TestCase):
    """What must be noticed is noticed."""

    def _run(self, *commands: str) -> tuple[list[str], list[str]]:
        """What `commands` and the check after them print, and the files of theirs that git would add."""
        with checkout() as copy:
            printed = copy.run([Section("made up", [(command, "") for command in commands], False)])[0]
            return [output.strip() for output in printed], copy.noticed_by_git()

    def test_a_job_and_a_port_that_are_left(self) -> None:
        serve = "python3 -m http.server --bind 127.0.0.1 8788 2> server.log > server.log &"
        ask = "curl -s -o server.log --retry 9 --retry-connrefused http://127.0.0.1:8788/server.log"
        left = self._run(serve, ask)[0][-1].splitlines()
        self.assertEqual((len(left), left[1:]), (2, ["port 8788 is still taken"]), left)
        self.assertIn("http.server", left[0])
        self.assertEqual(self._run(serve, ask, "kill $!; wait")[0][-1], "")

    @unittest.skipUnless(GIT, "git says which files it ignores")
    def test_files_that_git_would_commit(self) -> None:
        self.assertEqual(self._run("touch made.txt omp.db; echo >> server.py")[1], ["server.py", "made.txt"])

    def test_sections_share_a_shell(self) -> None:
        found = [Section("one", [("X=8787", "")], False), Section("two", [("echo $X", "8787")], False)]
        with checkout() as copy:
            self.assertEqual(copy.run(found)[1][0].strip(), "8787")

    def test_a_shell_that_ends_early(self) -> None:
        self.assertEqual(self._run("echo one", "exit", "echo two")[0], ["one", "", "(not reached)", "(not reached)"])

    def test_values_are_compared_by_kind_and_known_again(self) -> None:
        one, two = "ab" * 32, "cd" * 32
        self.assertEqual(generalized([one, f"{one} {two}", "abababab…"]), ["<hash 0>", "<hash 0> <hash 1>", "<hash 0>"])


class Guides(unittest.TestCase):
    """What holds for the guides without running them."""

    def test_no_transcript_sleeps(self) -> None:
        for guide in GUIDES:
            for section in sections(guide):
                for command, _ in section.steps:
                    self.assertNotRegex(command, r"\bsleep\b", section.name)

    def test_every_protocol_shows_how_it_is_used(self) -> None:
        for guide in GUIDES[-len(PROTOCOLS) :]:
            self.assertTrue(sections(guide), guide)


if __name__ == "__main__":
    unittest.main()
