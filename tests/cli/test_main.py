"""The entry point: both ways to call it, and what it says when an extra is not installed."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from cli.command_line import LIMIT, Failing, invoke, run_in_pipes, without_escapes

import coreclaw_async.__main__

MISSING = [
    ("typer", "demo", "cli"),
    ("uvicorn", "demo", "emulator"),
    ("uvicorn", "emulate", "emulator"),
]


@pytest.fixture
def _unloaded() -> Iterator[None]:
    """Let the command line be imported anew in the test, and as it was before after it."""
    before = _loaded()
    for name in before:
        del sys.modules[name]
    yield
    for name in _loaded():
        del sys.modules[name]
    sys.modules.update(before)


def _loaded() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.startswith("coreclaw_async.cli")}


@pytest.mark.usefixtures("_unloaded")
@pytest.mark.parametrize(("module", "name", "extra"), MISSING)
def test_one_line_names_the_extra_and_exit_code_is_2_when_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    outcome = invoke(name)

    assert outcome.exit_code == 2
    what = f"coreclaw-async needs {module}, which is not installed"
    assert outcome.stderr == f'{what}: pip install "coreclaw-async[{extra}]"\n'
    assert outcome.stdout == ""


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_process_ends_without_traceback_when_an_extra_is_not_installed(module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from coreclaw_async.__main__ import main; main()"

    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=LIMIT)

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert 'pip install "coreclaw-async[cli]"' in ended.stderr


@pytest.mark.usefixtures("_unloaded")
def test_import_error_is_not_hidden_when_no_extra_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coreclaw_async.cli.demo.command", None)

    with pytest.raises(ModuleNotFoundError, match=r"coreclaw_async\.cli\.demo"):
        invoke("demo")


def test_module_runs_the_same_commands_when_called_with_dash_m(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["coreclaw-async", "--help"])

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    taken = {number: signal.getsignal(number) for number in numbers}
    try:
        # By path: pytest rewrites the modules of an installed plugin, and runpy cannot run a rewritten one by name.
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(coreclaw_async.__main__.__file__, run_name="__main__")
        at_the_end = {signal.getsignal(number) for number in numbers}
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)

    assert ended.value.code == 0
    assert at_the_end == {signal.SIG_IGN}  # Otherwise a signal while it exits shows a traceback, or changes its code.
    assert "emulate" in capsys.readouterr().out


def test_help_of_a_process_names_the_command_and_not_the_file() -> None:
    code, stdout, _ = run_in_pipes("--help")

    assert code == 0
    assert "Usage: coreclaw-async" in without_escapes(stdout)


@pytest.mark.parametrize(("error", "code"), [(OSError(28, "No space left on device"), 7), (BrokenPipeError(), 0)])
def test_help_that_cannot_be_written_is_told_unless_the_reader_has_left(
    monkeypatch: pytest.MonkeyPatch, error: OSError, code: int
) -> None:
    stdout = Failing(error)
    with Path(os.devnull).open("wb") as below:  # Which is put in its place.
        monkeypatch.setattr(stdout, "fileno", below.fileno)
        outcome = invoke("--help", stdout=stdout)

    assert outcome.exit_code == code
    assert ("No space left on device" in outcome.stderr) is (code == 7)


def test_unknown_command_ends_with_exit_code_2() -> None:
    outcome = invoke("scrape")

    assert outcome.exit_code == 2
    assert "scrape" in outcome.stderr
