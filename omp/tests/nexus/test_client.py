"""``python -m omp profile`` against a running server, and the signatures that it makes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import stat
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from omp.protocols.nexus.defaults import BUILT_IN
from omp.protocols.nexus.ethereum import N, checksummed, public_key_slowly, recover
from omp.tests.harness import Client, Running, answering, command, raw_server, running_server
from omp.tests.nexus.owner import Owner
from omp.tools.profile import Wallet

needs_cryptography = unittest.skipUnless(
    importlib.util.find_spec("cryptography"), "signing needs the package cryptography"
)


class Command(unittest.TestCase):
    """A server, a folder for key files, and the command."""

    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.running: Running = self.stack.enter_context(running_server())
        self.key = self.folder / "me.key"

    def command(self, name: str, *arguments: str, standard_input: bytes = b"") -> tuple[int, str, str]:
        """(status, standard output, standard error) of ``python -m omp profile NAME …``."""
        server = [] if name == "keygen" or "--server" in arguments else ["--server", self.running.url]
        return command("profile", name, *server, *arguments, stdin=standard_input)

    def done(self, name: str, *arguments: str, standard_input: bytes = b"") -> str:
        """The standard output of a command that succeeds."""
        status, output, errors = self.command(name, *arguments, standard_input=standard_input)
        self.assertEqual((status, errors), (0, ""))
        return output

    def failed(self, name: str, *arguments: str) -> str:
        """The one line on standard error of a command that fails."""
        status, output, errors = self.command(name, *arguments)
        self.assertEqual((status, output, errors.count("\n")), (1, "", 1), errors)
        return errors


@needs_cryptography
class WithAKey(Command):
    """The commands in the order in which a person meets them."""

    def test_a_key_file_that_is_not_there_is_named(self) -> None:
        self.assertIn("There is no key file", self.failed("say", f"--key={self.key}", "x"))

    def test_keygen_show_set_prompt_say_messages(self) -> None:
        key = f"--key={self.key}"
        address = self.done("keygen", key).strip()
        secret = int(self.key.read_text(), 16)
        self.assertEqual(address, checksummed(Owner(secret).address))
        if os.name == "posix":
            self.assertEqual(stat.S_IMODE(self.key.stat().st_mode), 0o600)
        self.assertIn("  config.temperature             0.8   0.0 to 2.0\n", self.done("show", key))
        self.assertEqual(
            self.done("set", key, "model=kimi-k2", "config.temperature=1e-7", "max_tokens=5"),
            "Configuration updated successfully\n",
        )
        self.done("prompt", key, "-", standard_input="Ich mag «kurz» 🦊\n".encode())
        shown = self.done("show", "--owner", address)
        self.assertIn('* config.model                   "Kimi-K2"   one of DeepSeek-Chat', shown)
        self.assertIn("* config.temperature             1e-07", shown)
        self.assertIn('* prompts.friends_profile        "Ich mag «kurz» 🦊\\n"', shown)
        self.done("set", key, "temperature=")
        self.assertIn("  config.temperature             0.8", self.done("show", key))
        for number in range(3):
            self.done("say", key, "--run", "r", f"message {number}")
        self.done("say", key, "--role", "ai", "\x1b[31mred")
        lines = self.done("messages", key, "--limit", "3").splitlines()
        self.assertEqual([line.split("  ", 1)[1] for line in lines][1:], ["r  human  message 2", "r  human  message 1"])
        self.assertTrue(lines[0].endswith("omp  ai     \\x1b[31mred"), lines[0])

    def test_more_messages_than_a_page_are_read_page_by_page(self) -> None:
        self.done("keygen", f"--key={self.key}")
        owner = Owner(int(self.key.read_text(), 16))
        with Client(self.running.port) as client:
            said = [{"run_id": "r", "role": "ai", "content": str(n)} for n in range(230)]
            self.assertEqual(owner.post(client, "/messages", {"messages": said}).status, 200)
        lines = self.done("messages", "--owner", owner.address, "--limit", "225").splitlines()
        self.assertEqual([line.split()[-1] for line in lines], [str(n) for n in range(229, 4, -1)])

    def test_a_refusal_by_the_server_is_one_sentence(self) -> None:
        self.done("keygen", f"--key={self.key}")
        error = self.failed("set", f"--key={self.key}", "temperature=9")
        self.assertEqual(
            error, "profile: The server refused (422): config.temperature: must be a number from 0.0 to 2.0\n"
        )

    def test_an_override_that_no_longer_fits_is_shown_beside_the_default_that_counts(self) -> None:
        defaults = self.folder / "defaults.json"
        template = json.loads(json.dumps(BUILT_IN))
        defaults.write_text(json.dumps(template))
        running = self.stack.enter_context(running_server({"OMP_NEXUS_DEFAULTS": str(defaults)}))
        there = (f"--key={self.key}", "--server", running.url)
        self.done("keygen", f"--key={self.key}")
        self.done("set", *there, "model=kimi-k2", "temperature=1.5")
        template["ui"]["field_options"]["config.temperature"]["max"] = 1
        defaults.write_text(json.dumps(template))
        shown = self.done("show", *there)
        self.assertIn("  config.temperature             0.8   0.0 to 1   (your own, 1.5, no longer fits)\n", shown)
        self.assertIn('* config.model                   "Kimi-K2"   one of', shown)

    def test_text_that_is_not_unicode_cannot_be_sent(self) -> None:
        self.done("keygen", f"--key={self.key}")
        for arguments in (("say", "\udcff"), ("say", "--run=\udcff", "x"), ("set", "model=\udcff")):
            name, *rest = arguments
            self.assertIn("This cannot be sent", self.failed(name, f"--key={self.key}", *rest))

    def test_a_prompt_that_is_not_utf_8_is_refused_by_name(self) -> None:
        self.done("keygen", f"--key={self.key}")
        status, _, errors = self.command("prompt", f"--key={self.key}", "-", standard_input=b"\xff")
        self.assertEqual((status, errors), (1, "profile: Standard input is not UTF-8 text.\n"))
        file = self.folder / "prompt.txt"
        file.write_bytes(b"\xff")
        self.assertIn(f"{file} is not UTF-8 text.", self.failed("prompt", f"--key={self.key}", str(file)))
        self.assertIn("cannot be read", self.failed("prompt", f"--key={self.key}", str(self.folder / "none")))

    def test_values_are_json_where_they_can_be(self) -> None:
        self.done("keygen", f"--key={self.key}")
        for pair, words in (
            ("temperature=NaN", "must be a number"),
            ('temperature="1"', "must be a number"),
            ("temperature=1e999", "must be a number"),
            ("max_tokens=[5]", "must be a whole number"),
        ):
            self.assertIn(words, self.failed("set", f"--key={self.key}", pair))
        self.done("set", f"--key={self.key}", 'model="kimi-k2"', "max_tokens=4096.0")
        self.assertIn("* config.max_tokens              4096\n", self.done("show", f"--key={self.key}"))

    def test_a_key_is_never_overwritten(self) -> None:
        self.done("keygen", f"--key={self.key}")
        before = self.key.read_bytes()
        self.assertIn("there already", self.failed("keygen", f"--key={self.key}"))
        self.assertEqual(self.key.read_bytes(), before)

    def test_key_files_that_cannot_be_used_are_refused(self) -> None:
        for text in ("", "0x", "12", "0x" + "0" * 64, f"{N:064x}", "g" * 64, "٣" * 64):
            self.key.write_text(text)
            self.key.chmod(0o600)
            self.assertIn("64 hex digits", self.failed("show", f"--key={self.key}"))
        self.key.write_bytes(b"\xff")
        self.assertIn("cannot be read", self.failed("show", f"--key={self.key}"))
        self.key.chmod(0o644)
        self.key.write_text("1" * 64)
        self.assertIn("chmod 600", self.failed("show", f"--key={self.key}"))

    def test_signatures_have_a_low_s_and_a_v_that_recovers(self) -> None:
        wallet = Wallet(7)
        seen = set()
        for number in range(40):
            digest = number.to_bytes(32, "big")
            signature = wallet.sign(digest)
            self.assertLessEqual(signature.s, N // 2)
            self.assertEqual(recover(digest, signature), public_key_slowly(7))
            seen.add(signature.v)
        self.assertEqual(seen, {0, 1})


class WithoutAKey(Command):
    """What works, and what is said, where nothing can be signed."""

    def test_reading_needs_an_address_only(self) -> None:
        with mock.patch.dict(sys.modules, {"cryptography": None}):
            shown = self.done("show", "--owner", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
            self.assertTrue(shown.startswith("owner 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\n"))
            self.assertIn('"effective_config"', self.done("show", "--json", "--owner", "0x" + "0" * 40))
            self.assertEqual(self.done("messages", "--owner", "0x" + "0" * 40), "")

    def test_a_history_whose_pages_are_empty_ends(self) -> None:
        head = 'HTTP/1.1 200 OK\nLink: </api/v1/messages?cursor=x>; rel="next"\nContent-Length: 2'
        with raw_server(answering(head, b"[]")) as port:
            words = ("--owner", "0x" + "0" * 40, "--server", f"http://127.0.0.1:{port}")
            self.assertEqual(self.done("messages", *words), "")

    def test_signing_asks_for_cryptography_by_name(self) -> None:
        self.key.write_text("1" * 64)
        self.key.chmod(0o600)
        hidden = {name: None for name in sys.modules if name.split(".")[0] == "cryptography"} | {"cryptography": None}
        with mock.patch.dict(sys.modules, hidden):
            for arguments in (("keygen", f"--key={self.folder / 'new.key'}"), ("say", f"--key={self.key}", "x")):
                self.assertIn("pip install cryptography", self.failed(*arguments))
        self.assertFalse((self.folder / "new.key").exists())

    def test_an_address_without_a_nexus_server_is_named(self) -> None:
        owner = ("--owner", "0x" + "0" * 40)
        for url, words in (
            ("nonsense", "http://127.0.0.1:8787"),
            ("http://127.0.0.1:x", "http://127.0.0.1:8787"),
            ("http://127.0.0.1:1", "cannot be reached"),
            (f"{self.running.url}/elsewhere", "refused (404)"),
        ):
            self.assertIn(words, self.failed("show", "--server", url, *owner))


if __name__ == "__main__":
    unittest.main()
