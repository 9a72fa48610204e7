"""What a command does with its run when the rows cannot be read, and with items that it leaves running."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest
import typer
from cli.command_line import invoke
from interrupting import interrupt_once
from waiting import join

from coreclaw_async.__main__ import main
from coreclaw_async.cli.guard import guarded
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
RUN = ("run", WORKER, "-i", '{"keywords": ["coffee"]}')
MAY_BE = "A run may have been started, and may cost money"


def requests_of(service: FakeService, operation: str) -> int:
    return sum(request.operation == operation for request in service.requests)


def queued(service: FakeService) -> str:
    return service.add_queue_item(WORKER, {"keywords": ["coffee"]})


def test_an_item_whose_activation_may_be_ours_may_run(served: FakeService) -> None:
    item = queued(served)
    served.faults.add(faults.commit_then_drop(), operation="activateRunQueueItems")

    outcome = invoke("queue", "activate", item, "--json")

    assert outcome.exit_code == 4
    assert json.loads(outcome.stdout)["may_be_ours"] is True
    assert outcome.stderr == f"{MAY_BE}; to look:  coreclaw-async runs --since 1h\n"


def test_an_activation_that_is_refused_after_it_was_sent_may_have_worked(served: FakeService) -> None:
    item = queued(served)
    served.faults.add(faults.error(70002, commit=True), operation="activateRunQueueItems")

    outcome = invoke("queue", "activate", item)

    assert outcome.exit_code == 4
    assert MAY_BE in outcome.stderr


def test_an_activation_that_is_interrupted_may_have_worked(served: FakeService) -> None:
    item = queued(served)
    served.faults.add(faults.delay(60), operation="activateRunQueueItems")

    with interrupt_once(lambda: requests_of(served, "activateRunQueueItems")):
        outcome = invoke("queue", "activate", item)

    assert outcome.exit_code == 4
    assert MAY_BE in outcome.stderr


def test_an_activation_with_a_wrong_key_is_a_refusal(served: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    item = queued(served)
    monkeypatch.setenv("CORECLAW_API_KEY", "wrong")

    outcome = invoke("queue", "activate", item)

    assert outcome.exit_code == 3


def test_a_release_that_may_have_worked_is_told_as_no_start(served: FakeService) -> None:
    item = queued(served)
    served.faults.add(faults.commit_then_drop(), operation="releaseRunQueueItems")

    outcome = invoke("queue", "release", item)

    assert outcome.exit_code == 3
    assert MAY_BE not in outcome.stderr


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_rows_that_cannot_be_had_leave_the_run_named_and_the_way_to_them(
    served: FakeService, tmp_path: Path, options: tuple[str, ...]
) -> None:
    served.faults.add(faults.error(11000), operation="exportWorkerRunResults", times=9)
    path = tmp_path / "rows.csv"

    outcome = invoke(*RUN, "-o", str(path), *options)

    (run_id,) = served.runs
    assert outcome.exit_code == 7
    assert f"Run {run_id} has succeeded, and its rows could not be written" in outcome.stderr
    assert f"to get them:  coreclaw-async export {run_id} -o {path} --format csv" in outcome.stderr
    if options:
        assert json.loads(outcome.stdout.splitlines()[-1])["run_id"] == run_id


def test_a_download_that_is_interrupted_names_the_run(served: FakeService, tmp_path: Path) -> None:
    served.faults.add(faults.delay(60), operation="download")

    with interrupt_once(lambda: requests_of(served, "download")):
        outcome = invoke(*RUN, "-o", str(tmp_path / "rows.csv"), "--json")

    (run_id,) = served.runs
    assert outcome.exit_code == 130
    assert f"Run {run_id} has ended, and its rows were not written whole." in outcome.stderr
    assert json.loads(outcome.stdout.splitlines()[-1])["run_id"] == run_id


@pytest.mark.parametrize("options", [("--format", "csv"), ("--timeout", "3"), ("--abort-on-interrupt",)])
def test_what_is_for_a_wait_or_a_file_is_refused_without_one(served: FakeService, options: tuple[str, ...]) -> None:
    outcome = invoke(*RUN, *options)

    assert outcome.exit_code == 2
    assert not served.runs


@pytest.mark.parametrize("command", ["last", "01M8B1QYTYP0TYP0TYP0TYP0TY"])
def test_a_run_that_cannot_be_looked_for_is_named(
    served: FakeService, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("CORECLAW_API_KEY", "wrong")

    outcome = invoke("wait", command, "--json")

    assert outcome.exit_code == 3
    assert json.loads(outcome.stdout)["run_id"] == command


@pytest.mark.parametrize("options", [("-w",), ("-w", "--json")])
def test_the_id_comes_first_also_where_standard_error_is_closed(
    served: FakeService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    served.default_script = RunScript(rows=2, duration=0.0)
    monkeypatch.setattr(sys, "argv", ["coreclaw-async", *RUN, *options])
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as ended:
        main()

    (run_id,) = served.runs
    assert not ended.value.code
    first, last = capsys.readouterr().out.splitlines()
    assert run_id in first
    assert "succeeded" in last


def test_a_command_in_another_thread_leaves_signals_alone() -> None:
    ended: list[int] = []

    @guarded
    def command() -> None:
        raise typer.Exit(5)

    def run() -> None:
        try:
            command()
        except typer.Exit as error:
            ended.append(error.exit_code)

    thread = threading.Thread(target=run)
    thread.start()
    join(thread)

    assert ended == [5]
