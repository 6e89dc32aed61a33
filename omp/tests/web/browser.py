"""A headless Chromium driven by hand: the Chrome DevTools Protocol over a pair of pipes, with nothing but the library.

Chromium started with ``--remote-debugging-pipe`` reads commands from its descriptor 3 and writes answers and events to
its descriptor 4: JSON, each message ended by a zero byte.  :class:`Page` is one tab of it.  What the browser complained
about (exceptions, blocked content, failed loads) and which addresses it asked for are kept for the tests.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from typing import Any

from omp.tests.harness import PATIENCE

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
)
MODIFIERS = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}


def chromium() -> str | None:
    """Where Chromium is installed, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


_PATIENCE = 5 * PATIENCE
"""Seconds for any one answer: some take Chromium a second on a quiet machine, and a busy one may stop it altogether."""


class BrowserError(Exception):
    """The browser did not do what it was told; the text says what it said instead."""


class Page:
    """One tab, with the complaints and the requests of everything that it showed; `flags` are added to FLAGS."""

    def __init__(self, program: str, *flags: str) -> None:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        their_input, self._commands = os.pipe()
        self._answers, their_output = os.pipe()
        shell = f'exec "$@" 3<&{their_input} 4>&{their_output}'
        all_flags = [*FLAGS, *flags, f"--user-data-dir={self._profile.name}", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", program, *all_flags],
            pass_fds=(their_input, their_output),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_input)
        os.close(their_output)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requested: list[str] = []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result; events that come meanwhile are noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _PATIENCE
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._note(answer)

    def _next(self, until: float) -> Any:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, until - time.monotonic()))
            data = os.read(self._answers, 1 << 20) if ready else b""
            if not data:
                raise BrowserError("Chromium ended, or did not answer in time.")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def _note(self, event: Any) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded":
            # An error status that was provoked by trying a route is no fault of the page's.
            if parameters["entry"]["level"] == "error" and parameters["entry"]["source"] != "network":
                self.complaints.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])

    def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression in the page; a promise is awaited."""
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise BrowserError(result["exceptionDetails"]["exception"]["description"])
        return result["result"].get("value")

    def wait_for(self, condition: str) -> Any:
        """Evaluate `condition` until it is true, and return its value."""
        until = time.monotonic() + _PATIENCE
        while not (value := self._while_pages_change(condition)):
            if time.monotonic() > until:
                raise BrowserError(f"It never came true: {condition}")
            time.sleep(0.02)
        return value

    def _while_pages_change(self, condition: str) -> Any:
        try:
            return self.evaluate(condition)
        except BrowserError as error:
            if "navigated" not in str(error):
                raise
            return None  # it was asked of the page before

    def visit(self, url: str) -> None:
        """Go to another address."""
        self.command("Page.navigate", url=url)

    def resize(self, width: int, height: int) -> None:
        """Show the page as on a screen of this size, in CSS pixels."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)

    def type_key(self, text: str) -> None:
        """Press a key, as a person would."""
        self.command("Input.dispatchKeyEvent", type="keyDown", text=text, key=text)
        self.command("Input.dispatchKeyEvent", type="keyUp", key=text)

    def press(self, key: str, *modifiers: str) -> None:
        """Press a key that writes nothing, or ``Enter``, with modifiers: names of :data:`MODIFIERS`."""
        held = sum(MODIFIERS[one] for one in modifiers)
        text = {"text": "\r", "windowsVirtualKeyCode": 13} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key, modifiers=held, **text)

    def close(self) -> None:
        """End the browser."""
        os.close(self._commands)
        os.close(self._answers)
        self._process.terminate()
        self._process.wait(_PATIENCE)
        self._profile.cleanup()
