"""Running the command line: in this process through `main`, as a process of its own, and in a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import attrs
import pytest
from waiting import next_line

from coreclaw_async.__main__ import main
from coreclaw_async.testing import FakeService

LIMIT = 60.0
"""Seconds after which a process is taken for stuck."""


@attrs.frozen
class Outcome:
    """What a command wrote, without colours and line ends, and how it ended."""

    exit_code: int | str | None
    stdout: str
    stderr: str


@contextlib.contextmanager
def in_environment(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """Serve on a real socket, which commands find in the environment."""
    with service.serve() as server:
        monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
        monkeypatch.setenv("CORECLAW_BASE_URL", server.url)
        yield service


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Failing(io.StringIO):
    """A stream that cannot be written, and remembers why, as those of a command do."""

    failure: OSError | None = None

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        self.failure = self._error
        raise self._error


class ReactingText(io.StringIO):
    """A text stream that calls a function, in the writing thread, once a certain text was written to it."""

    def __init__(self, awaited: str, react: Callable[[str], None]) -> None:
        super().__init__()
        self._awaited = awaited
        self._react: Callable[[str], None] | None = react

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._react is not None and self._awaited in self.getvalue():
            react, self._react = self._react, None
            react(self.getvalue())
        return written


def invoke(
    *arguments: str, stdout: io.StringIO | None = None, columns: int = 200, is_terminal: bool = False
) -> Outcome:
    """Run a command in this process, as the console script does; its streams may say that they are a terminal."""
    make = Terminal if is_terminal else io.StringIO
    out, err = make() if stdout is None else stdout, make()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["coreclaw-async", *arguments])
        patch.setenv("COLUMNS", str(columns))
        patch.setenv("TERM", "xterm-256color")
        with pytest.raises(SystemExit) as ended:
            main()
    return Outcome(ended.value.code, without_escapes(out.getvalue()), without_escapes(err.getvalue()))


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "coreclaw_async", *arguments]


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command with pipes for its output; it is gone when the block ends."""
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LIMIT)


def first_line(process: subprocess.Popen[str]) -> str:
    """Return the first line of output, or as much of it as came in time."""
    assert process.stdout is not None
    return next_line(process.stdout)


def run_in_pipes(*arguments: str) -> tuple[int, str, str]:
    """Run a command without a terminal; return its exit code and what it wrote, escapes included."""
    ended = subprocess.run(command(*arguments), check=False, capture_output=True, text=True, timeout=LIMIT)
    return ended.returncode, ended.stdout, ended.stderr


def run_in_terminal(
    *arguments: str, react: tuple[str, Callable[[], object]] | None = None, **settings: str
) -> tuple[int, str]:
    """
    Run a command in a pseudo-terminal, with *settings* in its environment; return exit code and output.

    *react* is what to do once certain words are shown.
    """
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    env = {**kept, "TERM": "xterm-256color", "COLUMNS": "100", **settings}
    process = subprocess.Popen(command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    written = bytearray()
    give_up = time.monotonic() + LIMIT
    try:
        while time.monotonic() < give_up and select.select([ours], [], [], LIMIT)[0]:
            # A terminal whose other end is closed is an error on Linux and an empty read elsewhere.
            with contextlib.suppress(OSError):
                chunk = os.read(ours, 65536)
                written += chunk
                if react is not None and react[0] in without_escapes(written.decode(errors="replace")):
                    react[1]()
                    react = None
                if chunk:
                    continue
            break
        return process.wait(timeout=LIMIT), written.decode()
    finally:
        process.kill()
        process.wait(timeout=LIMIT)
        os.close(ours)
