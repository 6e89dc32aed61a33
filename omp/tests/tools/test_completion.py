"""``python -m omp completion``: the script is run by the shell it is for, where that is installed."""

from __future__ import annotations

import shutil
import subprocess
import unittest

from omp.tests.harness import command
from omp.tools.options import COMMANDS

ASK = """
COMP_WORDS=(%s)
COMP_CWORD=%d
_omp
printf '%%s\\n' "${COMPREPLY[@]}"
"""


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
    def test_zsh_takes_the_script(self) -> None:
        asked = "emulate -L ksh\n" + ASK % ("omp lo", 1)
        program = "autoload -U compinit && compinit -D\n" + self.script("zsh") + asked
        done = subprocess.run(["zsh", "-fc", program], capture_output=True, text=True, check=True, timeout=60)
        self.assertEqual((done.stdout, done.stderr), ("log\n", ""))

    def test_another_shell_is_status_2(self) -> None:
        self.assertEqual(command("completion", "fish")[0], 2)


if __name__ == "__main__":
    unittest.main()
