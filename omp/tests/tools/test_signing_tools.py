"""``python -m omp keygen`` and ``python -m omp sign``: a walk through strict mode, and common mistakes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unittest
import unittest.mock

from omp.rules.ed25519 import public_key_slowly, sign_slowly
from omp.rules.encodings import b64u_decode
from omp.rules.engines import CryptographyMissing, secret_keys
from omp.tests import TOP
from omp.tests.harness import Client, command, running_server
from omp.tools import keygen, sign

SEED = "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU"
PUBLIC = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"
STRICT = {"OMP_SIG_MODE": "strict", "OMP_SIG_PUB_sig1": PUBLIC}
EXPORT = re.compile(r"export (\w+)='?(.*?)'?")

try:
    secret_keys()
    MISSING = ""
except CryptographyMissing as error:
    MISSING = str(error)


def exported(text: str) -> dict[str, str]:
    """Variable -> value of every line of exports."""
    matches = [EXPORT.fullmatch(line) for line in text.splitlines()]
    return {match[1]: match[2] for match in matches if match}


class WithoutCryptography(unittest.TestCase):
    def test_both_tools_ask_for_the_package_by_name(self) -> None:
        missing = CryptographyMissing("install it with: pip install cryptography")
        with (
            unittest.mock.patch.object(keygen, "secret_keys", side_effect=missing),
            unittest.mock.patch.object(sign, "secret_keys", side_effect=missing),
        ):
            for words in (["keygen"], ["sign", "--gen-key"], ["sign", "--seed-b64u", SEED, "--json", "{}"]):
                with self.subTest(words):
                    status, said, complained = command(*words)
                    self.assertEqual((status, said, complained.count("\n")), (1, "", 1))
                    self.assertIn("pip install cryptography", complained)

    def test_every_tool_that_signs_asks_for_it_before_any_secret(self) -> None:
        hidden = {name: None for name in sys.modules if name.split(".")[0] == "cryptography"} | {"cryptography": None}
        vault, key = "avp://127.0.0.1:1/x", ("--key", "/does/not/exist")
        with (
            unittest.mock.patch.dict(sys.modules, hidden),
            unittest.mock.patch.dict(os.environ, {"MRS_IDENTITY": "a@b.c"}),
        ):
            for words in (
                ["keygen", "--keyid", "it's"],
                ["sign"],
                ["sign", "--seed-b64u", "short"],
                ["places", "list"],
                ["places", "list", "--seed-file", "/does/not/exist"],
                ["log", "claim", "a.b", "c", *key],
                ["log", "push", "http://127.0.0.1:1", *key],
                ["vault", "pull", vault, *key],
                ["vault", "push", vault, "/no/payload", *key],
                ["vault", "create", *key],
                ["profile", "keygen", *key],
                ["profile", "show", *key],
                ["profile", "set", "a=b", *key],
            ):
                with self.subTest(words):
                    status, said, complained = command(*words)
                    self.assertEqual((status, said), (1, ""))
                    self.assertRegex(complained, rf"\A{words[0]}: .* pip install cryptography\n\Z")


class Exports(unittest.TestCase):
    """The lines of keygen, which need no secret to be looked at."""

    def test_the_three_lines_of_the_reference_server(self) -> None:
        lines = keygen.exports("sig1", b64u_decode(PUBLIC), b64u_decode(SEED))
        self.assertEqual(
            lines, ["export OMP_SIG_KEYID=sig1", f"export OMP_SIG_PUB_sig1={PUBLIC}", f"export SEED_B64U={SEED}"]
        )

    def test_a_keyid_that_no_variable_can_have_goes_into_the_json(self) -> None:
        lines = keygen.exports("a/b c", b64u_decode(PUBLIC), b64u_decode(SEED))
        self.assertEqual(lines[0], "export OMP_SIG_KEYID='a/b c'")
        self.assertEqual(json.loads(exported(lines[1])["OMP_SIG_KEYS"]), {"a/b c": PUBLIC})

    def test_a_keyid_that_a_shell_would_misread_is_refused(self) -> None:
        for keyid in ("", "it's", "a\nb", "schlüssel"):
            with self.subTest(keyid):
                self.assertEqual(command("keygen", "--keyid", keyid)[:2], (1, ""))


class HandwrittenKeys:
    """Secret keys by the hand-written signing, which is for tests and vectors only."""

    generate = staticmethod(lambda: os.urandom(32))
    public_key = staticmethod(public_key_slowly)
    sign = staticmethod(sign_slowly)


class Walk(unittest.TestCase):
    """What the OMP reference server tells its users to do; with test keys if `cryptography` is missing."""

    def setUp(self) -> None:
        if MISSING:
            for tool in (keygen, sign):
                self.enterContext(unittest.mock.patch.object(tool, "secret_keys", HandwrittenKeys))

    def test_a_new_key_signs_a_post_that_is_answered_201(self) -> None:
        for gen in (["keygen"], ["sign", "--gen-key"]):
            status, said, _ = command(*gen)
            variables = exported(said)
            self.assertEqual((status, list(variables)), (0, ["OMP_SIG_KEYID", "OMP_SIG_PUB_sig1", "SEED_B64U"]))
            seed = variables.pop("SEED_B64U")
            with running_server({"OMP_SIG_MODE": "strict", **variables}) as server:
                for form in ([], ["--legacy"]):
                    with self.subTest(gen=gen, form=form):
                        status, said, complained = command(
                            *("sign", "--server", server.url, "--seed-b64u", seed, "--keyid", "sig1"),
                            *("--namespace", "ns", "--json", '{"x":1}', *form),
                        )
                        self.assertEqual((status, complained), (0, "Status: 201\n"))
                        self.assertEqual(json.loads(said)["namespace"], "ns")

    def test_a_seed_never_begins_as_an_option_does(self) -> None:
        seeds = iter([b"\xf8" + bytes(31), b64u_decode(SEED)])
        secrets = unittest.mock.Mock(generate=lambda: next(seeds), public_key=public_key_slowly)
        with unittest.mock.patch.object(keygen, "secret_keys", return_value=secrets):
            self.assertEqual(exported(command("keygen")[1])["SEED_B64U"], SEED)

    @unittest.skipIf(MISSING, MISSING)
    def test_as_a_command_of_its_own_with_seed_and_keyid_from_the_environment(self) -> None:
        with running_server(STRICT) as server:
            done = subprocess.run(
                [sys.executable, "-m", "omp", "sign", "--server", server.url + "/", "--namespace", "ns", "--key", "k"],
                cwd=TOP,
                env={**os.environ, "SEED_B64U": SEED, "OMP_SIG_KEYID": "sig1"},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        self.assertEqual((done.returncode, done.stderr), (0, "Status: 201\n"))
        self.assertEqual(json.loads(done.stdout)["key"], "k")

    def test_every_method_every_component_and_further_fields(self) -> None:
        with running_server({**STRICT, "OMP_SIG_LEGACY": "0"}) as server:

            def signed(*words: str) -> tuple[str, str]:
                status, said, complained = command("sign", "--server", server.url, "--seed-b64u", SEED, *words)
                self.assertEqual(status, 0)
                return said, complained

            created = signed("--namespace", "ns", "--json", '{"x":1}')
            path = "/objects/" + json.loads(created[0])["id"]
            self.assertEqual(signed("--method", "GET", "--path", path)[1], "Status: 200\n")
            put = signed("--method", "put", "--path", path, "--json", '{"x":2}')
            self.assertEqual(put[1], "Status: 200\n")
            components = ("@method", "@authority", "@path", "@query", '"@query-param";name="limit"', '"x-note";bs')
            _, listed = signed(
                *("--method", "GET", "--path", "/objects?limit=1", "--nonce", "n", "--show", "--label", "mine"),
                *("--header", "X-Note: caf\xe9", *(word for name in components for word in ("--component", name))),
            )
            self.assertIn('Signature-Input: mine=("@method" "@authority" "@path" "@query" "@query-param";name=', listed)
            self.assertIn("Status: 200\n", listed)
            searched = signed("--path", "/objects/search", "--body", '{"namespace":"ns"}')
            self.assertEqual(json.loads(searched[0])["count"], 1)
            self.assertEqual(signed("--method", "DELETE", "--path", path), ("", "Status: 204\n"))

    def test_a_refusal_is_shown_with_status_1(self) -> None:
        with running_server(STRICT) as server:
            for words in (["--keyid", "other"], ["--created", "1"], ["--expires", "1"], ["--component", "@method"]):
                with self.subTest(words):
                    status, said, complained = command("sign", "--server", server.url, "--seed-b64u", SEED, *words)
                    self.assertEqual((status, complained), (1, "Status: 401\n"))
                    self.assertEqual(json.loads(said)["error"]["status"], 401)
            with Client(server.port) as client:
                self.assertEqual(client.request("GET", "/health").status, 200)

    def test_what_cannot_be_sent_is_one_sentence(self) -> None:
        for words in (
            ["--seed-b64u", "short"],
            ["--server", "http://["],
            ["--server", "http://a:b"],
            ["--server", "http://user@h"],
            ["--path", "objects"],
            ["--path", "/a b"],
            ["--method", "PO ST"],
            ["--method", "GET", "--json", "{}"],
            ["--json", "{"],
            ["--header", "nonsense"],
            ["--header", "a: b\nc: d"],
            ["--header", "a: \u20ac"],
            ["--component", "x-absent"],
            ["--component", '"x'],
            ["--component", "@nonsense"],
            ["--label", "Upper"],
            ["--nonce", "\xe9"],
            ["--server", "http://127.0.0.1:1"],
        ):
            with self.subTest(words):
                status, said, complained = command(
                    "sign", "--server", "http://127.0.0.1:1", "--seed-b64u", SEED, *words
                )
                self.assertEqual((status, said, complained.count("\n")), (1, "", 1), complained)


if __name__ == "__main__":
    unittest.main()
