"""Clients that strangers' generators make from /openapi.json, and a search for answers that are not in it.

    check.py python       openapi-python-client: no warning but that of ndjson; mypy --strict; calls.py
    check.py typescript   openapi-typescript and openapi-fetch: tsc --strict; calls.ts
    check.py answers      schemathesis: no status, header field or body that the document does not name

Run it with the interpreter of an environment that has requirements.txt.  For typescript, node and npm must be there;
the packages of package.json are installed in a temporary folder.  Each starts a server of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
sys.path.insert(0, str(TOP))
TOOLS = Path(sys.executable).parent


@contextmanager
def server() -> Iterator[str]:
    """The URL of a server that runs until the block ends."""
    process = subprocess.Popen(
        [sys.executable, str(TOP / "server.py"), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().rsplit(" ", 1)[1].strip()
    finally:
        process.terminate()
        process.wait()


def run(*command: str | Path, **options: Any) -> str:
    """Run a command, show what it says, and return that; a failure ends the check."""
    environment = {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", **options.pop("env", {})}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, **options
    )
    print(done.stdout, end="")
    if done.returncode:
        sys.exit(f"{words[0]} ended with {done.returncode}")
    return done.stdout


def document(url: str) -> Any:
    """The server's OpenAPI document."""
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        return json.load(answer)


def operation() -> bytes:
    """A signed operation that begins a log."""
    from omp.protocols.oplog.definition import signed_slowly
    from omp.rules import ed25519, identifiers

    seed = bytes(range(32))  # never use a key that others know
    public_key = ed25519.public_key_slowly(seed)
    body = {
        "evidence": identifiers.evidence_id(b"Dentist, Monday 9:00"),
        "media_type": "text/plain",
        "size": 20,
        "source": "note:text",
        "observed_at": None,
    }
    envelope = {
        "v": "omp/0.2", "type": "evidence-ingest", "log": identifiers.identity_id(public_key),
        "author": identifiers.key_id(public_key), "seq": 1, "prev": None, "deps": [], "lc": 1,
        "ts": "2026-11-20T09:00:00.000Z", "body": body,
    }  # fmt: skip
    return signed_slowly(seed, envelope)


def python(url: str, folder: Path) -> None:
    """Generate, check and call in Python."""
    (folder / "openapi.json").write_text(json.dumps(document(url)))
    (folder / "operation.json").write_bytes(operation())
    said = run(
        "openapi-python-client", "generate", "--path", "openapi.json", "--meta", "none", "--output-path", "omp_client",
        cwd=folder,
    )  # fmt: skip
    warnings = re.findall("WARNING parsing .*", said)
    unsupported = re.findall("[Uu]nsupported content.type application/x-ndjson", said)
    if len(warnings) != len(unsupported) or "rror(s)" in said:
        sys.exit(f"warnings besides those of ndjson: {warnings}")
    shutil.copy(HERE / "calls.py", folder)
    run("mypy", "--config-file", str(HERE / "mypy.ini"), "calls.py", "omp_client", cwd=folder)
    run(sys.executable, "calls.py", url, "operation.json", cwd=folder)


def typescript(url: str, folder: Path) -> None:
    """Generate, check and call in TypeScript."""
    for name in ("package.json", "calls.ts"):
        shutil.copy(HERE / name, folder)
    (folder / "openapi.json").write_text(json.dumps(document(url)))
    run("npm", "install", "--silent", "--no-audit", "--no-fund", cwd=folder)
    tools = folder / "node_modules" / ".bin"
    said = run(tools / "openapi-typescript", "openapi.json", "-o", "api.d.ts", cwd=folder)
    if re.search("warn|error", said, re.IGNORECASE):
        sys.exit("openapi-typescript warns")
    run(tools / "tsc", "--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext",
        "--lib", "es2022,dom", "calls.ts", "api.d.ts", cwd=folder)  # fmt: skip
    run("node", "calls.js", url, operation().decode(), cwd=folder)


ANYWHERE = ("405", "408", "413", "414", "415", "417", "421", "431", "501", "503")
"""Statuses that any route may answer with before it is asked (omp §2, §3.2): they are documented as ``default``."""


def answers(folder: Path) -> None:
    """Look for answers that the document does not have, of a server that holds what its examples name."""
    from omp.tests.web.examples import server_with_examples

    with server_with_examples() as (running, _):
        _look(running.url, folder)


def _look(url: str, folder: Path) -> None:
    found = document(url)
    for methods in found["paths"].values():
        for route in methods.values():
            other = route["responses"].pop("default")
            for status in ANYWHERE:
                route["responses"].setdefault(status, other)
    (folder / "openapi.json").write_text(json.dumps(found))
    checks = "status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
    run(
        "schemathesis", "run", "openapi.json", "--url", url, "--checks", f"not_a_server_error,{checks}",
        "--phases", "examples,coverage,fuzzing", "--max-examples", "25", "--generation-deterministic",
        "--exclude-operation-id", "followEvents", "--suppress-health-check", "all", "--no-color",
        cwd=folder, env={"SCHEMATHESIS_HOOKS": str(HERE / "callers.py"), "PYTHONPATH": str(TOP), "OMP_URL": url},
    )  # fmt: skip


def generated(check: Callable[[str, Path], None]) -> Callable[[Path], None]:
    """`check` with a server of its own."""

    def run_it(folder: Path) -> None:
        with server() as url:
            check(url, folder)

    return run_it


CHECKS = {"python": generated(python), "typescript": generated(typescript), "answers": answers}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        CHECKS[sys.argv[1]](Path(made))
