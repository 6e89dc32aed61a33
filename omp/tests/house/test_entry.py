"""The entry: a server in a thread of a test (``omp.running``), light imports, and old interpreters."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import os
import pydoc
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

import omp
from omp import entry
from omp.tests import TOP
from omp.tests.harness import PATIENCE, Client, free_port
from omp.web.routes import Application
from omp.web.server import HttpServer
from omp.web.settings import SettingError, read_settings

OPERATING = TOP / "omp" / "OPERATING.md"
OLDEST = (3, 6)
READ_BY_OLD_PYTHONS = ("server.py", "omp/__init__.py", "omp/__main__.py")


def in_the_background() -> int:
    """How many threads of embedded servers there are."""
    return sum(thread.name.startswith("omp ") for thread in threading.enumerate())


class Embedding(unittest.TestCase):
    def test_it_answers_at_once_and_is_gone_after_its_block(self) -> None:
        with omp.running(port=free_port(), storage="memory") as server:
            self.assertEqual(server.url, f"http://127.0.0.1:{server.port}")
            with Client(server.port) as client:
                self.assertEqual(client.request("GET", "/health").json, {"status": "ok"})
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), PATIENCE)
        self.assertEqual(in_the_background(), 0)

    def test_it_stops_when_its_block_fails(self) -> None:
        with self.assertRaises(ZeroDivisionError), omp.running():
            raise ZeroDivisionError
        self.assertEqual(in_the_background(), 0)

    def test_it_stops_fast(self) -> None:
        finished: list[bool] = []
        stop = HttpServer.stop

        def noted(http: HttpServer, seconds: float) -> bool:
            finished.append(stop(http, seconds))
            return finished[-1]

        server = omp.running(port=0)
        with Client(server.port) as client:  # an idle connection does not hold it up
            client.request("GET", "/health")
            with mock.patch.object(HttpServer, "stop", noted):
                server.stop()
        self.assertEqual(finished, [True], "nothing had to be cut off")
        self.assertLess(entry.EMBEDDED_POLL_SECONDS, 0.05)
        server.stop()

    def test_several_at_once_share_nothing(self) -> None:
        with omp.running() as first, omp.running() as second:
            with Client(first.port) as client:
                made = client.request("POST", "/objects", {"namespace": "ns", "content": {}})
                self.assertEqual(made.status, 201)
            with Client(second.port) as client:
                self.assertEqual(client.request("GET", "/objects").json["count"], 0)

    def test_it_prints_nothing_and_keeps_its_log(self) -> None:
        said, complained = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(complained),
            omp.running(access_log=True, sig_mode="strict") as server,
            Client(server.port) as client,
        ):
            client.request("GET", "/health")
        self.assertEqual((said.getvalue(), complained.getvalue()), ("", ""))
        self.assertIn(" 127.0.0.1 GET /health 200 15 ", "\n".join(server.log))
        self.assertEqual(len(server.log), 1)
        self.assertIn("Ed25519 verification", server.notices[0])

    def test_the_log_goes_to_a_function_where_one_is_given(self) -> None:
        lines: list[str] = []
        with omp.running(access_log=True, log=lines.append) as server, Client(server.port) as client:
            client.request("GET", "/health")
        self.assertIn(" 127.0.0.1 GET /health 200 15 ", "\n".join(lines))
        self.assertEqual((len(lines), server.log), (1, []))

    def test_every_flag_of_the_server_is_a_keyword(self) -> None:
        keywords = set(inspect.signature(omp.running).parameters) - {"settings", "log"}
        flags = {setting.flag[2:].replace("-", "_") for setting in entry.all_settings() if setting.flag}
        self.assertEqual(keywords, flags)

    def test_settings_are_variables_and_a_keyword_wins(self) -> None:
        settings = {"OMP_SIG_MODE": "strict", "OMP_MAX_PAYLOAD_MB": "2", "OMP_SIG_PUB_me": "ab" * 32}
        for given, mode in (({}, "strict"), ({"sig_mode": "off"}, "off")):
            with omp.running(settings, **given) as server, Client(server.port) as client:  # type: ignore[arg-type]
                document = client.request("GET", "/.well-known/omp-configuration").json
                self.assertEqual(document["signatures"]["mode"], mode)
                self.assertEqual(document["limits"]["max_payload_bytes"], 2 << 20)

    def test_the_environment_of_the_process_is_not_read(self) -> None:
        variables = {"OMP_SIG_MODE": "strict", "PORT": "1", "OMP_STORAGE": "floppy"}
        with mock.patch.dict(os.environ, variables), omp.running() as server, Client(server.port) as client:
            self.assertEqual(client.request("GET", "/objects").status, 200)

    def test_a_port_may_be_given_in_each_way(self) -> None:
        free = str(free_port())
        for settings in ({"PORT": free}, {"OMP_SERVER_PORT": free}, {"PORT": free, "OMP_SERVER_PORT": "1"}):
            with self.subTest(settings), omp.running(settings) as server:
                self.assertEqual(server.port, int(free))
        with omp.running({"PORT": "1"}, port=int(free)) as server:
            self.assertEqual(server.port, int(free))

    def test_what_cannot_be_used_is_one_exception_and_leaves_nothing_open(self) -> None:
        with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as taken:
            storage = f"sqlite:{folder}/omp.db"
            for settings, keywords, word in (
                ({"OMP_SIG_MOD": "strict"}, {}, "OMP_SIG_MOD"),
                ({"OMP_MAX_PAYLOAD_MB": 2}, {}, "a string"),
                ({"OMP_AVP_INVITES": "nobody"}, {}, "OMP_AVP_INVITES"),
                ({}, {"storage": "floppy"}, "floppy"),
                ({}, {"storage": ""}, "--storage"),
                ({}, {"port": 65536}, "--port"),
                ({}, {"port": taken.getsockname()[1]}, "cannot listen"),
                ({}, {"sig_mode": "loose"}, "permissive"),
                ({}, {"tls_cert": "x.pem"}, "--tls-key"),
                ({}, {"nexus_defaults": "nowhere.json"}, "nowhere.json"),
            ):
                with self.subTest(word), self.assertRaisesRegex(SettingError, word):
                    omp.running(settings, **{"storage": storage, **keywords})  # type: ignore[arg-type]
            # The file is locked by nobody.
            with omp.running(storage=storage) as server:
                self.assertTrue(server.url)
        self.assertEqual(in_the_background(), 0)

    def test_what_has_expired_is_dropped_meanwhile(self) -> None:
        called = threading.Event()
        with (
            mock.patch.object(entry, "HOUSEKEEPING_SECONDS", 0.01),
            mock.patch.object(Application, "housekeep", lambda self, now: called.set()),
            omp.running(),
        ):
            self.assertTrue(called.wait(PATIENCE))

    def test_sqlite_keeps_what_was_stored(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for count in (0, 1):
                with omp.running(storage=f"sqlite:{folder}/omp.db") as server, Client(server.port) as client:
                    self.assertEqual(client.request("GET", "/objects").json["count"], count)
                    client.request("POST", "/objects", {"namespace": "ns", "content": {}})


class Memory(unittest.TestCase):
    def test_few_arenas_are_asked_for_and_free_memory_is_given_back(self) -> None:
        library = mock.Mock()
        with mock.patch("ctypes.CDLL", return_value=library):
            give_back = entry.bound_heap()
            library.mallopt.assert_called_once_with(entry.M_ARENA_MAX, entry.ARENAS)
            library.malloc_trim.assert_not_called()
            give_back()
        library.malloc_trim.assert_called_once_with(0)

    def test_another_c_library_is_left_alone(self) -> None:
        for library in (mock.Mock(spec=[]), mock.Mock(spec=["mallopt"])):
            with mock.patch("ctypes.CDLL", return_value=library):
                self.assertIsNone(entry.bound_heap()())
        for error in (OSError, TypeError):  # there is none that could be loaded; Windows takes no None
            with mock.patch("ctypes.CDLL", side_effect=error):
                self.assertIsNone(entry.bound_heap()())

    @unittest.skipUnless("CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {}), "the C library is not glibc")
    def test_a_server_that_was_busy_gives_its_memory_back(self) -> None:
        program = (
            "import threading, os\n"
            "from omp.entry import bound_heap\n"
            "def resident(): return int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE')\n"
            "give_back = bound_heap()\n"
            "kept = []\n"
            "def work():\n"
            "    parts = [bytearray(50_000) for _ in range(100)]\n"
            "    kept.append(bytearray(50_000))\n"  # above the free ones, so that only trimming can return them
            "threads = [threading.Thread(target=work) for _ in range(8)]\n"
            "for thread in threads: thread.start()\n"
            "for thread in threads: thread.join()\n"
            "before = resident()\n"
            "give_back()\n"
            "print(before - resident())\n"
        )
        run = subprocess.run([sys.executable, "-c", program], cwd=TOP, capture_output=True, text=True, timeout=30)
        self.assertEqual(run.stderr, "")
        self.assertGreater(int(run.stdout), 1_000_000)


class Settings(unittest.TestCase):
    def test_no_two_settings_share_a_variable_or_a_flag(self) -> None:
        settings = entry.all_settings()
        for names in (
            [setting.flag for setting in settings if setting.flag],
            [name for setting in settings for name in (setting.variable, setting.fallback) if name],
        ):
            self.assertEqual(len(names), len(set(names)))

    @unittest.skipUnless(OPERATING.exists(), "there is no omp/OPERATING.md in this copy of the package")
    def test_the_table_for_operators_has_each_variable_with_its_flag_and_default(self) -> None:
        rows = re.findall(r"^\| (`[A-Z].*?) \|(.*?)\| (.*?) \|", OPERATING.read_text(encoding="utf-8"), re.MULTILINE)
        listed = [(variables, flag.strip(), default) for variables, flag, default in rows]
        expected = [
            (
                " or ".join(f"`{name}`" for name in (setting.variable, setting.fallback) if name),
                f"`{setting.flag}`" if setting.flag else "",
                entry.default_text(setting),
            )
            for setting in entry.all_settings()
        ]
        self.assertEqual(listed, expected)

    @unittest.skipUnless((TOP / "README.md").exists(), "there is no README.md beside this copy of the package")
    def test_the_readme_names_no_setting_that_is_not_there(self) -> None:
        text = (TOP / "README.md").read_text(encoding="utf-8")
        known = {name for setting in entry.all_settings() for name in (setting.variable, setting.fallback)}
        # OMP_TESTS is read by the tests and OMP_SERVER by the tools, not by the server.
        named = set(re.findall(r"`((?:OMP|MRS)_[A-Z_]+(?:<keyid>)?)`", text)) - {"OMP_TESTS", "OMP_SERVER"}
        self.assertLessEqual(named, known)
        self.assertGreater(len(named), 8)

    def test_the_container_for_operators_is_made_of_what_is_there(self) -> None:
        (text,) = re.findall(
            r"^```dockerfile\n(.*?)^```", (TOP / "omp" / "OPERATING.md").read_text(), re.MULTILINE | re.DOTALL
        )
        copied = [source for words in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for source in words.split()[:-1]]
        self.assertEqual(sorted(copied), ["LICENSE", "omp", "server.py"])
        for source in copied:
            self.assertTrue((TOP / source).exists(), source)
        (line,) = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
        given = dict(pair.split("=") for pair in line.split())
        self.assertLessEqual(set(given), {setting.variable for setting in entry.all_settings()})
        read_settings(entry.all_settings(), given)

    def test_an_empty_environment_gives_every_default(self) -> None:
        settings = entry.all_settings()
        self.assertEqual(read_settings(settings, {}), {setting.name: setting.default for setting in settings})


class Package(unittest.TestCase):
    """``import omp``, ``help(omp)``, and Pythons that are too old."""

    def test_importing_omp_imports_nothing_else(self) -> None:
        code = "import sys; before = set(sys.modules); import omp; print(sorted(set(sys.modules) - before))"
        done = subprocess.run([sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stdout, "['omp']\n")

    def test_help_is_a_page_that_names_what_is_public(self) -> None:
        page = pydoc.plain(pydoc.render_doc(omp))
        for name in omp.__all__:
            self.assertIn(name, page)
        for word in ("with omp.running(", "SettingError", "rules", "omp/README.md"):
            self.assertIn(word, page)

    def test_the_first_files_parse_on_the_oldest_python(self) -> None:
        for name in READ_BY_OLD_PYTHONS:
            with self.subTest(name):
                source = (TOP / name).read_text(encoding="utf-8")
                ast.parse(source, feature_version=OLDEST)
                # 3.6 does not know it, which ast.parse does not tell.
                self.assertNotIn("from __future__", source)

    def test_the_version_is_checked_before_anything_of_ours_is_imported(self) -> None:
        for name in ("server.py", "omp/__main__.py"):
            with self.subTest(name):
                body = ast.parse((TOP / name).read_text(encoding="utf-8")).body
                self.assertEqual([ast.unparse(node) for node in body[1:2]], ["import sys"])
                assert isinstance(body[2], ast.If)
                self.assertEqual(ast.unparse(body[2].test), "sys.version_info < (3, 11)")

    def test_an_old_python_is_told_in_one_sentence_with_status_2(self) -> None:
        # The interpreter is new; it only says that it is old.
        old = "import runpy, sys; sys.version_info = (3, 6, 15, 'final', 0); sys.argv[1:] = ['--help']; "
        for how in ("runpy.run_path('server.py', run_name='__main__')", "runpy.run_module('omp', run_name='__main__')"):
            with self.subTest(how):
                done = subprocess.run(
                    [sys.executable, "-c", old + how], cwd=TOP, capture_output=True, text=True, timeout=60
                )
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertRegex(done.stderr, r"\A[a-z.\- ]+ needs Python 3\.11 or newer; this is 3\.6\.\n\Z")

    def test_server_py_is_thin(self) -> None:
        self.assertLess(len(Path(TOP, "server.py").read_text(encoding="utf-8").splitlines()), 25)

    def test_a_copy_serves_the_protocols_and_has_the_commands_that_are_left(self) -> None:
        left_out = shutil.ignore_patterns("__pycache__", "tests", "avp", "mrs", "nexus")
        script = "import omp, urllib.request as u\nwith omp.running() as s: print(u.urlopen(s.url).read().decode())"
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(TOP / "omp", Path(folder, "omp"), ignore=left_out)
            served, listed = (
                subprocess.run([sys.executable, "-B", *how], cwd=folder, capture_output=True, text=True, timeout=60)
                for how in (["-c", script], ["-m", "omp"])
            )
        self.assertEqual(list(json.loads(served.stdout)["protocols"]), ["system", "objects", "oplog", "explore"])
        self.assertEqual(
            re.findall(r"^  ([a-z]+)", listed.stdout, re.MULTILINE),
            ["keygen", "sign", "log", "store", "backup", "completion"],
        )

    def test_the_version_is_what_the_server_says(self) -> None:
        done = subprocess.run([sys.executable, "server.py", "--version"], cwd=TOP, capture_output=True, timeout=60)
        self.assertEqual(done.stdout.decode(), omp.__version__ + "\n")
        with omp.running() as server, Client(server.port) as client:
            self.assertEqual(json.loads(client.request("GET", "/").body)["version"], omp.__version__)


if __name__ == "__main__":
    unittest.main()
