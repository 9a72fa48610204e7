"""Commands in unusual surroundings: no columns, no streams, other encodings, odd times and numbers."""

from __future__ import annotations

import io
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.command_line import LIMIT, ReactingText, command, invoke

from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = '{"keywords": ["coffee"]}'
PAGE = {
    "code": 0,
    "message": "success",
    "data": {"count": 1, "list": [{"a": "DEEP"}], "page_index": 1, "page_size": 20, "headers": []},
}


@pytest.mark.parametrize("columns", [0, 1])
def test_a_terminal_without_columns_keeps_no_run_from_being_told(
    served: FakeService, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("LINES", "0")

    ended = invoke("run", WORKER, "-i", INPUT, columns=columns)

    (run_id,) = served.runs
    assert (ended.exit_code, ended.stdout) == (0, f"{run_id}\n")


@pytest.mark.endurance
@pytest.mark.parametrize(("target", "closed"), [("/dev/stdout", ">&-"), ("/dev/stderr", "2>&-")])
def test_rows_for_a_stream_that_is_closed_are_refused_before_anything_is_paid_for(
    served: FakeService, target: str, closed: str
) -> None:
    line = f"{shlex.join(command('run', WORKER, '-i', INPUT, '-o', target, '--format', 'csv'))} {closed}"

    ended = subprocess.run(["bash", "-c", line], timeout=LIMIT, check=False)

    assert ended.returncode == 2
    assert not served.runs


def test_an_input_on_standard_input_is_utf_8_whatever_the_terminal_speaks(
    served: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = '\ufeff{"keywords": ["\u00e9"]}'.encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="latin-1"))

    assert invoke("run", WORKER, "-i", "-").exit_code == 0

    (run,) = served.runs.values()
    assert run.input["parameters"]["custom"]["keywords"] == ["\u00e9"]


def test_an_input_on_standard_input_that_is_not_utf_8_is_a_usage_error(
    served: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"keywords": ["\xe9"]}'), encoding="latin-1"))

    outcome = invoke("run", WORKER, "-i", "-")

    assert outcome.exit_code == 2
    assert "standard input is not UTF-8" in outcome.stderr
    assert not served.runs


def test_an_input_file_that_is_not_utf_8_is_a_usage_error(served: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "input.json"
    path.write_bytes(b'{"keywords": ["\xe9"]}')

    outcome = invoke("run", WORKER, "-i", str(path))

    assert outcome.exit_code == 2
    assert "is not UTF-8" in outcome.stderr
    assert not served.runs


def test_a_key_file_may_begin_with_a_byte_order_mark(served: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\xef\xbb\xbf" + served.api_key.encode() + b"\r\n")

    assert invoke("account", "--api-key-file", str(path)).exit_code == 0


@pytest.mark.parametrize("format", ["jsonl", "json", "csv"])
def test_numbers_beyond_a_float_deep_in_a_row_are_null(served: FakeService, format: str) -> None:
    run_id = served.add_run(WORKER, rows=1)
    deep = "[" * 700 + "1e999" + "]" * 700
    served.faults.add(faults.reply(json.dumps(PAGE).replace('"DEEP"', deep).encode()), operation="listWorkerRunResults")

    outcome = invoke("rows", run_id, "--format", format)

    assert outcome.exit_code == 0, outcome.stderr
    assert "null" in outcome.stdout


def test_a_row_without_members_is_a_line_of_csv(served: FakeService, tmp_path: Path) -> None:
    run_id = served.add_run(WORKER, rows=[{}, {}])
    path = tmp_path / "rows.csv"

    assert invoke("rows", run_id, "-o", str(path)).exit_code == 0
    assert len(path.read_bytes().splitlines()) in {2, 3}


@pytest.mark.parametrize("arguments", [("rows",), ("export", "-o", "FILE"), ("rows", "--follow")])
@pytest.mark.parametrize("outcome", ["failed", "aborted"])
def test_rows_of_a_run_without_success_come_with_a_word_about_it(
    served: FakeService, tmp_path: Path, arguments: tuple[str, ...], outcome: str
) -> None:
    script = RunScript(rows=2, duration=0, outcome=outcome)
    run_id = served.add_run(WORKER, script=script)
    name, *options = (str(tmp_path / "rows.csv") if one == "FILE" else one for one in arguments)

    ended = invoke(name, run_id, *options)

    assert ended.exit_code == 0
    assert f"Run {run_id} {outcome}" in ended.stderr


def test_the_way_to_go_on_keeps_the_options(served: FakeService, tmp_path: Path) -> None:
    run_id = served.add_run(WORKER, script=RunScript(rows=2, duration=600))

    ended = invoke("rows", run_id, "--format", "csv", "--fields", "title,rank", "--limit", "7")

    assert ended.exit_code == 5
    assert f"coreclaw-async rows {run_id} --format csv --fields title,rank --limit 7 --follow" in ended.stderr


@pytest.mark.usefixtures("east_of_greenwich")
def test_a_time_beyond_each_calendar_is_shown(served: FakeService) -> None:
    run_id = served.add_run(WORKER, rows=1)

    def far(envelope: dict[str, dict[str, object]]) -> object:
        return {**envelope, "data": {**envelope["data"], "finished_at": 253_402_300_799_000}}

    served.faults.add(faults.edit(far), operation="getWorkerRun")

    ended = invoke("show", run_id)

    assert ended.exit_code == 0, ended.stderr
    assert "9999-12-31T23:59:59+00:00" in ended.stdout


def test_an_abort_that_is_answered_for_another_run_is_no_success(served: FakeService) -> None:
    run_id = served.add_run(WORKER, script=RunScript(duration=600))
    other = served.add_run(WORKER, script=RunScript(duration=600))
    served.faults.add(
        faults.edit(lambda envelope: {**envelope, "data": {"run_slug": other}}), operation="abortWorkerRun"
    )

    ended = invoke("abort", run_id)

    assert ended.exit_code == 3
    assert f"look at run {run_id} too" in ended.stderr


def name_the_last_run_wrongly(served: FakeService) -> None:
    def rename(envelope: dict[str, dict[str, object]]) -> object:
        return {**envelope, "data": {**envelope["data"], "run_slug": "x/y", "slug": "x/y"}}

    for operation in ("getLastWorkerRun", "getWorkerLastRun"):
        served.faults.add(faults.edit(rename), operation=operation, times=9)


@pytest.mark.parametrize(
    "arguments",
    [("rows", "last"), ("rows", WORKER), ("export", "last", "-o", "rows.csv"), ("log", "last", "--follow")],
    ids=["rows", "rows of a worker", "export", "log"],
)
def test_a_last_run_whose_id_names_no_run_is_a_failure_of_the_service(
    served: FakeService, arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    served.add_run(WORKER, script=RunScript(rows=1, duration=0))
    name_the_last_run_wrongly(served)

    ended = invoke(*arguments)

    assert ended.exit_code == 3
    assert "the last run cannot be named: its slug is 'x/y'" in ended.stderr


@pytest.mark.parametrize("command", ["wait", "abort"])
def test_a_last_run_whose_id_names_no_run_keeps_the_others_from_nothing(served: FakeService, command: str) -> None:
    run_id = served.add_run(WORKER, script=RunScript(rows=1, duration=0 if command == "wait" else 600))
    name_the_last_run_wrongly(served)

    ended = invoke(command, "last", run_id)

    assert ended.exit_code == 3
    assert run_id in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("script", "options", "code", "again"),
    [
        (RunScript(rows=2, duration=0, outcome="failed"), (), 1, ""),
        (RunScript(rows=2, duration=600), ("--timeout", "0.2"), 5, " --follow"),
    ],
    ids=["failed", "too late"],
)
def test_a_file_that_was_not_written_is_told_with_the_command_that_writes_it(
    served: FakeService, tmp_path: Path, script: RunScript, options: tuple[str, ...], code: int, again: str
) -> None:
    served.default_script = script
    path = tmp_path / "rows.csv"

    ended = invoke("run", WORKER, "-i", INPUT, "-o", str(path), *options)

    (run_id,) = served.runs
    assert ended.exit_code == code
    assert f"Its rows were not written to {path}." in ended.stderr
    assert f"coreclaw-async export {run_id} -o {path} --format csv{again}\n" in ended.stderr


def test_an_interrupt_after_the_last_end_names_no_command_without_a_run(served: FakeService) -> None:
    run_id = served.add_run(WORKER, script=RunScript(rows=1, duration=0))
    stdout = ReactingText("succeeded", lambda _: signal.raise_signal(signal.SIGINT))

    ended = invoke("wait", run_id, stdout=stdout)

    assert (ended.exit_code, ended.stderr) == (130, "Interrupted.\n")
    assert f"Run {run_id} succeeded" in ended.stdout
