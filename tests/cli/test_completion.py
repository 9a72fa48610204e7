"""Completion in real shells: installed by the command itself, and driven through a pseudo terminal as a person does."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from cli.command_line import without_escapes

from coreclaw_async.testing import FakeService

pytestmark = pytest.mark.endurance

PATIENCE = 120.0
"""Seconds for one press of TAB, on a machine that has much else to do."""

SHELLS = {"bash": ["bash", "-i"], "zsh": ["zsh", "-i"], "fish": ["fish", "-i", "--private"]}
IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)
TABS = {"bash": "\t\t", "zsh": "\t", "fish": "\t"}
KILL_LINE = "\x15"
READY = "ready-for-tab"

COMPLETED = [
    ("coreclaw-async r", {"run", "runs", "rows", "rerun"}),
    ("coreclaw-async batch p", {"plan", "pause", "prune"}),
    ("coreclaw-async runs --s", {"--since", "--status"}),
    ("coreclaw-async runs --status ", {"ready", "running", "succeeded", "failed", "aborting"}),
    ("coreclaw-async export last --format x", {"xlsx", "xls", "xml"}),
    ("coreclaw-async batch items --state ", {"planned", "done", "failed", "ambiguous"}),
]


@attrs.define
class Shell:
    """A shell in a pseudo terminal."""

    process: subprocess.Popen[bytes]
    ours: int
    raw: bytearray = attrs.field(factory=bytearray)

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def read_until(self, words: set[str]) -> str:
        """Return what has come once all *words* have, each on its own, or what has come when time is up."""
        until = time.monotonic() + PATIENCE
        while not words <= set(re.split(r"[^\w-]+", self.text)):
            if not select.select([self.ours], [], [], max(until - time.monotonic(), 0))[0]:
                break
            with contextlib.suppress(OSError):
                chunk = os.read(self.ours, 65536)
                self.raw.extend(chunk)
                if chunk:
                    continue
            break
        return self.text

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\].*?(\x07|\x1b\\)|\x1b[=>()][B0]?", "", without_escapes(self.raw.decode(errors="replace")))

    def get_ready(self, name: str) -> None:
        """Wait for the prompt, and for the script: the first TAB in a zsh does no more than load it."""
        self.run("true")
        if name == "zsh":
            self.raw.clear()
            self.type("coreclaw-async \t")
            while b"\x07" not in self.raw and select.select([self.ours], [], [], PATIENCE)[0]:
                self.raw.extend(os.read(self.ours, 65536))
            self.type(KILL_LINE)
        self.raw.clear()

    def run(self, line: str) -> str:
        """Run a line, and return what it has written."""
        self.raw.clear()
        self.type(f"{line}; echo {READY[:5]}''{READY[5:]}\r")  # So that the echo of the line is not taken for its end.
        return self.read_until({READY})


@attrs.frozen
class Home:
    """A folder of a user who has nothing but the command, which asks for no key."""

    folder: Path
    service: FakeService

    @contextlib.contextmanager
    def shell(self, name: str) -> Iterator[Shell]:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *SHELLS[name]],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=self.folder,
            env={
                "HOME": str(self.folder),
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
                "TERM": "xterm",
                "LC_ALL": "C.UTF-8",
                "COLUMNS": "100",
                "LINES": "40",
            },
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield Shell(process, ours)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
            os.close(ours)


def put_command(folder: Path, *, without: str = "") -> None:
    """Put the command on the path, as if it had been installed *without* a library."""
    (folder / "bin").mkdir(exist_ok=True)
    code = f"import sys; sys.modules[{without!r}] = None; from coreclaw_async.__main__ import main; main()"
    path = folder / "bin" / "coreclaw-async"
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)


@pytest.fixture
def home(served: FakeService, tmp_path: Path) -> Home:
    put_command(tmp_path)
    (tmp_path / ".bashrc").write_text("")
    (tmp_path / ".zshrc").write_text("")
    return Home(tmp_path, served)


@pytest.mark.parametrize("name", SHELLS)
def test_completion_is_installed_by_the_command_and_asks_neither_the_service_nor_for_a_key(
    home: Home, name: str
) -> None:
    with home.shell(name) as shell:
        assert f"{name} completion installed in {home.folder}" in shell.run("coreclaw-async --install-completion")

    with home.shell(name) as shell:
        shell.run(f"export CORECLAW_BASE_URL={os.environ['CORECLAW_BASE_URL']}")
        shell.get_ready(name)
        for line, words in COMPLETED:
            shell.raw.clear()
            shell.type(line + TABS[name])
            text = shell.read_until(words)
            assert words <= set(re.split(r"[^\w-]+", text)), (line, text)
            assert "Traceback" not in text
            assert "API key" not in text
            shell.type(KILL_LINE)

    assert home.service.requests == []


@pytest.mark.parametrize("name", SHELLS)
def test_what_can_be_nothing_else_is_completed(home: Home, name: str) -> None:
    with home.shell(name) as shell:
        shell.run("coreclaw-async --install-completion")

    with home.shell(name) as shell:
        shell.get_ready(name)
        shell.type("coreclaw-async --vers\t")
        assert "--version" in shell.read_until({"--version"})
        shell.type("\r")
        assert "coreclaw-async 0." in shell.read_until({"0"})


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("library", ["typer", "uvicorn"])
def test_a_missing_extra_is_no_traceback(home: Home, name: str, library: str) -> None:
    with home.shell(name) as shell:
        shell.run("coreclaw-async --install-completion")
    put_command(home.folder, without=library)

    with home.shell(name) as shell:
        shell.get_ready(name)
        shell.type("coreclaw-async ab\t")
        if library == "uvicorn":
            assert "abort" in shell.read_until({"abort"})
        else:
            shell.type(KILL_LINE)
            shell.run("true")
        assert "Traceback" not in shell.text


@pytest.mark.parametrize("name", SHELLS)
def test_the_script_can_be_shown(home: Home, name: str) -> None:
    with home.shell(name) as shell:
        assert "_CORECLAW_ASYNC_COMPLETE" in shell.run("coreclaw-async --show-completion")
