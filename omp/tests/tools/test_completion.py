"""``python -m omp completion``: the script is run by the shell it is for, where that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from omp.tests.harness import command
from omp.tools.options import COMMANDS

ASK = """
COMP_WORDS=(%s)
COMP_CWORD=%d
_omp
printf '%%s\\n' "${COMPREPLY[@]}"
"""

# ^T writes down what the line now holds, under a name that is there only when the file is whole.
ZSHRC = """
autoload -U compinit && compinit -D
source ./script
told() { print -rn -- "$BUFFER" > ./told.new && mv ./told.new ./told }
zle -N told
bindkey '^I' expand-or-complete '^T' told '^U' kill-whole-line
zle-line-init() { touch ./ready }
zle -N zle-line-init
"""
PATIENCE = 60.0
"""Seconds after which a shell that says nothing counts as hanging."""


class Zsh:
    """An interactive zsh at a terminal of its own, in a folder with one file, which has evaluated `script`."""

    def __init__(self, script: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name)
        for name, text in ((".zshrc", ZSHRC), ("script", script), ("only-file", "")):
            (self._path / name).write_text(text, encoding="utf-8")

    def __enter__(self) -> Zsh:
        import pty  # not on Windows

        self._terminal, theirs = pty.openpty()
        environ = {"PATH": os.environ["PATH"], "ZDOTDIR": str(self._path), "TERM": "dumb"}
        self._shell = subprocess.Popen(
            ["zsh", "-i"],
            cwd=self._path,
            env=environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(self._terminal, False)
        self._told("ready")
        return self

    def __exit__(self, *error: object) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._terminal)
        self._folder.cleanup()

    def completed(self, typed: str) -> str:
        """The line after `typed` and Tab."""
        os.write(self._terminal, f"\x15{typed}\t\x14".encode())
        return self._told("told")

    def _told(self, name: str) -> str:
        """What the shell has written to the file `name`, which is then gone."""
        path = self._path / name
        end = time.monotonic() + PATIENCE
        while not path.exists():
            try:
                os.read(self._terminal, 4096)  # what is not read would stop the shell in the end
            except BlockingIOError:
                time.sleep(0.01)
            if time.monotonic() > end:
                raise AssertionError(f"zsh has not written {name}")
        text = path.read_text(encoding="utf-8")
        path.unlink()
        return text


class Completion(unittest.TestCase):
    def script(self, shell: str) -> str:
        status, said, complained = command("completion", shell)
        self.assertEqual((status, complained), (0, ""))
        return said

    def completed(self, *words: str) -> set[str]:
        """What bash offers for the last of `words`."""
        asked = ASK % (" ".join(f"'{word}'" for word in words), len(words) - 1)
        done = subprocess.run(
            ["bash", "--norc", "-c", self.script("bash") + asked],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split())

    @unittest.skipUnless(shutil.which("bash"), "bash is not installed here")
    def test_bash_completes_commands_subcommands_and_options(self) -> None:
        self.assertLessEqual(set(COMMANDS), self.completed("python3", "-m", "omp", ""))
        self.assertEqual(self.completed("omp", "lo"), {"log"})
        self.assertEqual(self.completed("python3", "-m", "omp", "log", "gra"), {"grant", "graph"})
        self.assertEqual(self.completed("/usr/bin/python3", "-m", "omp", "log", "graph", "--d"), {"--dot"})
        self.assertIn("--server", self.completed("omp", "places", "search", "--range", "5", "--"))
        self.assertEqual(self.completed("omp", "completion", "z"), {"zsh"})

    @unittest.skipUnless(shutil.which("bash"), "bash is not installed here")
    def test_other_uses_of_python_are_left_alone(self) -> None:
        self.assertEqual(self.completed("python3", "-m", "http"), set())
        self.assertEqual(self.completed("python3", "serv"), set())

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed here")
    def test_zsh_completes_what_is_typed_at_its_prompt(self) -> None:
        with Zsh(self.script("zsh")) as shell:
            for typed, completed in (
                ("python3 -m omp lo", "python3 -m omp log "),
                ("python3 -m omp log ver", "python3 -m omp log verify "),
                ("/usr/bin/python3 -m omp log graph --d", "/usr/bin/python3 -m omp log graph --dot "),
                ("omp places search --range 5 --serv", "omp places search --range 5 --server "),
                ("python3 onl", "python3 only-file "),
            ):
                self.assertEqual(shell.completed(typed), completed)

    def test_another_shell_is_status_2(self) -> None:
        self.assertEqual(command("completion", "fish")[0], 2)


if __name__ == "__main__":
    unittest.main()
