"""Where the key and the address come from, and how errors outside any command are shown."""

from __future__ import annotations

import getpass
import io
import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from cli.command_line import Terminal

from coreclaw_async.cli._screen.bars import TransferProgress
from coreclaw_async.cli._screen.output import json_line, print_json, whole_file
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.failures import ExitCode
from coreclaw_async.cli.guard import guarded, tell_interrupt
from coreclaw_async.cli.session import find_base_url, find_key
from coreclaw_async.models import ResultPage, Run


def test_somebody_at_a_terminal_is_asked_for_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda prompt="", stream=None: "typed-key")
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())

    found = find_key(None, may_ask=True)

    assert (found.value, found.source) == ("typed-key", "the prompt")
    assert "typed-key" not in repr(found)
    assert find_key(None, may_ask=False).value is None


def test_the_address_is_the_public_one_unless_somebody_says_otherwise() -> None:
    assert find_base_url(None).value == "https://openapi.coreclaw.com"
    assert find_base_url(None).source == "the default"


def test_what_an_interrupted_call_had_come_to_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    interrupt = KeyboardInterrupt()
    interrupt.add_note("the interrupted call had just returned StartedRun(run_id='01A')")

    assert tell_interrupt(Screen(), interrupt) == ExitCode.INTERRUPTED
    assert (
        capsys.readouterr().err == "Interrupted.\n  the interrupted call had just returned StartedRun(run_id='01A')\n"
    )


def test_what_cannot_be_written_is_seven(capsys: pytest.CaptureFixture[str]) -> None:
    @guarded
    def write() -> None:
        raise OSError(28, "No space left on device", "rows.csv")

    with pytest.raises(typer.Exit) as ended:
        write()

    assert ended.value.exit_code == 7
    assert "No space left on device: 'rows.csv'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["\u00e4\u20ac\U0001f600", "half a pair: \ud83d"])
def test_every_text_is_json_in_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))

    with whole_file(tmp_path / "rows.jsonl") as file:
        file.write(json_line({"title": text}))
    print_json([{"title": text}])

    assert json.loads((tmp_path / "rows.jsonl").read_bytes()) == {"title": text}
    assert json.loads(raw.getvalue()) == {"title": text}


def test_a_model_is_one_line_of_json_without_what_this_version_does_not_know() -> None:
    run = Run(run_id="R", usage=Decimal("0.10"), duration=float("inf"), extra={"new": 1})
    rows = ResultPage(items=({"extra": "a column", "n": float("nan")},), extra={"new": 1})

    assert json_line(run).startswith('{"run_id": "R", "worker_id": null, ')
    assert json_line(run).endswith(
        '"usage": "0.10", "traffic": null, "origin": null, "started_at": null, '
        '"finished_at": null, "duration": null, "error_message": null}'
    )
    assert json.loads(json_line(rows)) | {"items": [{"extra": "a column", "n": None}]} == json.loads(json_line(rows))
    assert "new" not in json_line(rows)
    assert json_line({"path": Path("a"), "odd": {1}}) == '{"path": "a", "odd": "{1}"}'


def test_bytes_are_shown_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", Terminal())

    with TransferProgress(Screen(), "rows.csv") as bar:
        bar.show(512, 1024)

    assert isinstance(sys.stderr, Terminal)
    assert "512/1,024" in sys.stderr.getvalue() or "0.5/1.0" in sys.stderr.getvalue()


def test_a_key_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "key"
    empty.write_text("\n")

    with pytest.raises(typer.BadParameter, match="is empty"):
        find_key(empty, may_ask=False)
    with pytest.raises(typer.BadParameter, match="No such file"):
        find_key(tmp_path / "none", may_ask=False)
