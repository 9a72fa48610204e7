"""A headless Chromium, driven by its DevTools protocol over two pipes; nothing but the browser has to be installed."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LIMIT = 30.0
"""Seconds after which the browser is taken for stuck."""

NAMES = ("chromium", "chromium-browser", "google-chrome")

# Chromium reads from its descriptor 3 and writes to 4.
_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # Which root cannot have.
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-proxy-server",
)
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}


def find_chromium() -> str | None:
    """Return where the browser is."""
    return next((found for name in NAMES if (found := shutil.which(name)) is not None), None)


class Browser:
    """A running browser; one thread uses it."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._numbers = itertools.count(1)
        self._received = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        """Send a command and return its result; events that come before are kept."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        sent = json.dumps(message).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._writing, sent) :]
        while True:
            answer = self._read()
            if answer.get("id") != number:
                self.events.append(answer)
                continue
            assert "error" not in answer, f"{method}: {answer['error']}"
            return answer["result"]

    def open(self, url: str) -> Page:
        """Open a page in a profile of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.resize(1280, 900)
        page.choose_scheme(is_dark=False)
        page.call("Page.navigate", url=url)
        return page

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._reading], [], [], LIMIT)
            piece = os.read(self._reading, 1_000_000) if ready else b""
            assert piece, "the browser does not answer"
            self._received += piece
        message, _, self._received = self._received.partition(b"\0")
        read: dict[str, Any] = json.loads(message)
        return read


class Page:
    """One page, in a tab of its own."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **params: Any) -> Any:
        return self._browser.call(method, self._session, **params)

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def choose_scheme(self, *, is_dark: bool) -> None:
        """Be a browser whose person likes dark pages, or light ones."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        told = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        assert "exceptionDetails" not in told, f"{script}: {told['exceptionDetails']}"
        return told["result"].get("value")

    def wait(self, script: str) -> Any:
        """Return the value of an expression as soon as it is true."""
        give_up = time.monotonic() + LIMIT
        while True:
            # While a page loads there may be no element yet, or no page.
            with contextlib.suppress(AssertionError):
                if value := self.run(script):
                    return value
            assert time.monotonic() < give_up, f"{script} stays false; the page says: {self.text('body')}"
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """Return what an element shows."""
        shown: str = self.run(f"document.querySelector({json.dumps(selector)}).innerText")
        return shown

    def wait_text(self, selector: str, words: str) -> None:
        """Wait until an element shows these words."""
        self.wait(f"document.querySelector({json.dumps(selector)})?.innerText.includes({json.dumps(words)})")

    def click(self, words: str) -> None:
        """Click a button, found by its label or its words, with the mouse."""
        button = f"[...document.querySelectorAll('button')].find((one) => {json.dumps(words)} === \
            (one.ariaLabel ?? one.innerText.trim()))"
        self.wait(f"{button} && !{button}.disabled")
        self.run(f"{button}.scrollIntoView({{block: 'center'}})")
        x, y = self.run(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({button}.getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press a key: Tab, Enter or Escape."""
        code = {"key": key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def write(self, text: str) -> None:
        """Write into the element that has the focus."""
        self.call("Input.insertText", text=text)

    def focused(self) -> str:
        """Return the label or the words of the element that has the focus."""
        words: str = self.run("document.activeElement.ariaLabel ?? document.activeElement.innerText.trim()")
        return words

    def tab_to(self, words: str) -> None:
        """Press Tab until a certain element has the focus."""
        for _ in range(200):
            if self.focused() == words:
                return
            self.press("Tab")
        raise AssertionError(f"{words!r} cannot be reached by keyboard")

    def complaints(self) -> list[str]:
        """Return what the browser has complained about: exceptions, and what the policy of the page forbids."""
        kinds = {"Runtime.exceptionThrown", "Log.entryAdded"}
        mine = [one for one in self._browser.events if one.get("sessionId") == self._session and one["method"] in kinds]
        return [json.dumps(one["params"]) for one in mine]

    def forgive(self) -> None:
        """Forget what the browser has complained about."""
        self.run("1")  # So that all of it has been read.
        self._browser.events.clear()

    def close(self) -> None:
        """Close the tab."""
        self.call("Page.close")

    def picture(self, path: Path) -> None:
        """Write what the page looks like into a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def running_browser(profile: Path) -> Iterator[Browser]:
    """Run a browser until the block ends, with its files in the folder *profile*."""
    chromium = find_chromium()
    assert chromium is not None
    their_reading, writing = os.pipe()
    reading, their_writing = os.pipe()
    command = [sys.executable, "-S", "-E", "-c", _LAUNCH, str(their_reading), str(their_writing)]
    with (profile / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, chromium, *_FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(their_reading, their_writing),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    os.close(their_reading)
    os.close(their_writing)
    browser = Browser(reading, writing)
    try:
        try:
            browser.call("Browser.getVersion")
        except (AssertionError, BrokenPipeError):
            # Some distributions have a chromium that only says how to get one.
            pytest.skip(f"{chromium} does not start: {(profile / 'log').read_text(errors='replace')[-500:]}")
        yield browser
        browser.call("Browser.close")
        process.wait(LIMIT)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(LIMIT)
        os.close(reading)
        os.close(writing)
