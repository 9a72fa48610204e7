"""How ``batch run`` ends: an exit code by outcome, the reasons on standard error, and nothing in silence."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from cli.batch_lines import WORKER, batch, complaint, hold, lines, objects, plan
from cli.command_line import LIMIT, command, run_in_pipes, running
from interrupting import interrupt_once
from waiting import next_line

from coreclaw_async import CoreClaw
from coreclaw_async.testing import FakeService, RunScript, faults

# Rows that cannot be read are retried for about twenty seconds.
_LONG = 90.0

pytestmark = pytest.mark.usefixtures("ledger")


def finish_runs(served: FakeService) -> None:
    for run_id in list(served.runs):
        served.finish(run_id)


@pytest.mark.endurance
def test_all_done_is_zero(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path)
    code, stdout, stderr = run_in_pipes("batch", "run", "nightly", "-o", str(tmp_path / "rows"))

    assert (code, stdout) == (0, "state\titems\ndone\t3\n"), stderr
    assert served.runs_created == 3


def test_failed_and_refused_items_are_one_with_their_reasons(served: FakeService, tmp_path: Path) -> None:
    served.detail_err_msg = True
    served.script_next(RunScript(outcome="failed", error_message="the site was down", duration=0.0))
    served.faults.add(faults.error(11000, 400), operation="runWorker", after=1)
    plan(tmp_path)
    ran = batch("run", "--max-in-flight", "1")
    again = batch("run", "--json")

    assert ran.exit_code == 1
    assert "Failed: k0: the site was down" in ran.stderr
    assert "Refused: k1: " in ran.stderr
    assert again.exit_code == 1
    (last,) = objects(again)
    assert last["failures"]["k0"] == "the site was down"
    assert "Failed: k0: the site was down" in again.stderr


@pytest.mark.endurance(25)
def test_rows_that_cannot_be_read_are_six_and_never_silence(served: FakeService, tmp_path: Path) -> None:
    served.faults.add(faults.error(11000, 400), operation="listWorkerRunResults", times=1_000)
    plan(tmp_path, 2)
    with running("batch", "run", "nightly", "-o", str(tmp_path / "rows"), "--patience", "0", "--json") as process:
        told, stderr = process.communicate(timeout=_LONG)

    assert process.returncode == 6
    assert "Open: k0: its rows could not be read" in stderr
    assert "the batch 'nightly' is not complete: 2 submitted" in stderr
    last = json.loads(told.splitlines()[-1])
    assert "key" not in last
    assert (last["exit_code"], last["counts"]["submitted"]) == (6, 2)
    assert last["reasons"]["k1"].startswith("its rows could not be read")
    assert set(last["runs_left"].values()) == set(served.runs)


@pytest.mark.endurance
def test_held_items_are_six(served: FakeService, ledger: str) -> None:
    (lost,) = hold(served, ledger)
    code, stdout, stderr = run_in_pipes("batch", "run", "nightly", "--json")

    assert code == 6
    assert f"Held: k0, which may be run {lost}, or none." in stderr
    (last,) = (json.loads(line) for line in stdout.splitlines())
    assert last["held"] == {"k0": [lost]}


@pytest.mark.parametrize("as_json", [False, True])
def test_without_balance_it_stops_with_six(served: FakeService, tmp_path: Path, as_json: bool) -> None:
    served.balance = Decimal(0)
    plan(tmp_path)
    outcome = batch("run", *(["--json"] if as_json else []))

    assert outcome.exit_code == 6
    assert "the balance does not cover another run: 0" in outcome.stderr
    if as_json:
        (last,) = objects(outcome)
        assert last["counts"]["planned"] == 3
        assert "balance" in last["error"]


@pytest.mark.endurance
def test_a_budget_that_is_used_up_is_six_and_is_kept(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path)
    ran = batch("run", "--max-spend", "0.002")
    again = batch("run")

    assert (ran.exit_code, again.exit_code) == (6, 6)
    assert "the budget of 0.002 US dollars does not cover another run" in again.stderr
    assert "$0.002 of $0.002." in again.stderr
    assert served.runs_created == 1


def test_a_refused_key_is_three(served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(tmp_path)
    served.faults.add(faults.error(12002, 401), times=1_000)
    outcome = batch("run")

    assert outcome.exit_code == 3
    assert "code 12002" in outcome.stderr
    assert "planned\t3" in outcome.stdout


def test_a_service_that_is_not_there_is_three(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(tmp_path)
    monkeypatch.setenv("CORECLAW_BASE_URL", "http://127.0.0.1:9")
    outcome = batch("run", "--patience", "0", "--json")

    assert outcome.exit_code == 3
    assert objects(outcome)[-1]["exit_code"] == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("--width", "2"),
        ("--width", "0"),
        ("--on-ambiguous", "maybe"),
        ("--patience", "-1"),
        ("--max-spend", "much"),
        ("--max-spend", "-1"),
        ("--max-in-flight", "0"),
        ("--settle-times", "list_lag"),
        ("--settle-times", "lag=3"),
        ("--settle-times", "list_lag=-3"),
        ("-o", "specs.jsonl"),
        ("-o", "rows", "--output-format", "csv"),
        ("--output-format", "parquet"),
    ],
)
def test_usage_is_two_before_anything_is_paid(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan(tmp_path)
    outcome = batch("run", *arguments)

    assert outcome.exit_code == 2
    assert outcome.stderr
    assert served.runs_created == 0


def test_a_format_of_files_that_there_is_not_is_named_with_the_choices(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 1)

    assert "--output-format must be one of jsonl, parquet, not 'csv'" in complaint(
        batch("run", "-o", str(tmp_path / "rows"), "--output-format", "csv")
    )
    assert "--output-format parquet is for --output FOLDER" in complaint(batch("run", "--output-format", "parquet"))
    assert not (tmp_path / "rows").exists()


def test_parquet_files_without_the_extra_are_two_before_anything_is_paid(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(tmp_path, 1)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    outcome = batch("run", "-o", str(tmp_path / "rows"), "--output-format", "parquet")

    assert outcome.exit_code == 2
    assert 'needs pyarrow, which is not installed: pip install "coreclaw-async[arrow]"' in complaint(outcome)
    assert served.runs_created == 0


@pytest.mark.endurance
def test_options_of_a_run_reach_the_batch(served: FakeService, tmp_path: Path) -> None:
    served.faults.add(faults.commit_then_drop(), operation="runWorker")
    plan(tmp_path, 1)
    ran = batch(
        "run",
        "--settle-times",
        "send_window=0.5, post_timeout=0.5,skew=1.5,list_lag=0.1",
        "--on-ambiguous",
        "fail",
        "--width",
        "1",
    )

    assert ran.exit_code == 1
    assert "Failed: k0: a run may have been started; it cannot be found out which one" in ran.stderr


@pytest.mark.endurance
def test_a_folder_that_becomes_unusable_is_seven_and_names_the_runs(served: FakeService, tmp_path: Path) -> None:
    served.default_script = RunScript(rows=2, duration=600.0)
    plan(tmp_path, 1)
    folder = tmp_path / "rows"
    with running("batch", "run", "nightly", "-o", str(folder)) as process:
        until = time.monotonic() + LIMIT
        while not served.runs_created and time.monotonic() < until:
            time.sleep(0.05)
        folder.rmdir()
        folder.write_text("in the way")
        finish_runs(served)
        stdout, stderr = process.communicate(timeout=LIMIT)

    (run_id,) = served.runs
    assert process.returncode == 7, stderr
    assert "The rows of the runs could not be written" in stderr
    assert f"Open: k0: run {run_id} is still running, or its rows were not read yet." in stderr
    assert "submitted\t1" in stdout


@pytest.mark.endurance
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output_is_seven(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 2)
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command("batch", "run", "nightly", "--json"),
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT,
        )

    assert ended.returncode == 7
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.endurance
def test_a_reader_who_is_gone_is_told_of_in_the_exit_code(served: FakeService, tmp_path: Path) -> None:
    served.default_script = RunScript(rows=1, duration=1.0)
    plan(tmp_path, 2)
    with running("batch", "run", "nightly", "--json", "--max-in-flight", "1") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        text = process.stderr.read()
        code = process.wait(LIMIT)

    assert code == 7
    assert "Broken pipe" in text
    assert "Traceback" not in text
    assert "Exception ignored" not in text


@pytest.mark.endurance
def test_a_ledger_that_goes_away_while_runs_go_on_is_no_usage_error(
    served: FakeService, ledger: str, tmp_path: Path
) -> None:
    served.default_script = RunScript(rows=1, duration=600.0)
    plan(tmp_path, 2)
    with running("batch", "run", "nightly", "--max-in-flight", "1", "--json") as process:
        until = time.monotonic() + LIMIT
        while not served.runs_created and time.monotonic() < until:
            time.sleep(0.02)
        subprocess.run(
            ["python3", "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('DROP TABLE run')", ledger],
            check=True,
        )
        finish_runs(served)
        stdout, stderr = process.communicate(timeout=LIMIT)

    assert process.returncode == 6
    assert "cannot be used" in stderr
    assert json.loads(stdout.splitlines()[-1])["exit_code"] == 6


def test_an_interrupt_is_130_and_ends_with_json(served: FakeService, tmp_path: Path) -> None:
    served.default_script = RunScript(rows=1, duration=2.0)
    plan(tmp_path)
    with interrupt_once(lambda: served.runs_created == 3):
        ran = batch("run", "--json")

    (last,) = objects(ran)
    assert (ran.exit_code, last["exit_code"]) == (130, 130)
    assert set(last["runs_left"].values()) <= set(served.runs)
    assert "Runs that were started are still running and cost money." in ran.stderr


@pytest.mark.endurance
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_the_process_has_its_own_code(served: FakeService, tmp_path: Path, number: int, code: int) -> None:
    served.default_script = RunScript(rows=1, duration=30.0)
    plan(tmp_path, 1)
    with running("batch", "run", "nightly") as process:
        until = time.monotonic() + LIMIT
        while not served.runs_created and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(process.pid, number)
        _, stderr = process.communicate(timeout=LIMIT)

    assert process.returncode == code
    assert "run the same command again" in stderr


@pytest.mark.endurance
def test_overlapping_runs_of_one_batch_both_end_when_all_is_done(served: FakeService, tmp_path: Path) -> None:
    served.default_script = RunScript(rows=1, duration=0.5)
    plan(tmp_path, 12)
    arguments = ("batch", "run", "nightly", "--json", "-o", str(tmp_path / "rows"))
    with running(*arguments) as first, running(*arguments) as second:
        ends = [process.communicate(timeout=3 * LIMIT) for process in (first, second)]

    assert [first.returncode, second.returncode] == [0, 0], ends
    assert served.runs_created == 12
    assert len(list((tmp_path / "rows").glob("part-*.jsonl"))) == 12
    assert batch("report").stdout.splitlines()[1] == "done\t12"


@pytest.mark.endurance
def test_a_paused_batch_says_so_and_goes_on_when_it_is_resumed(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 1)
    assert batch("pause").exit_code == 0
    with running("batch", "run", "nightly") as process:
        assert process.stderr is not None
        first = next_line(process.stderr)
        assert served.runs_created == 0
        assert batch("resume").exit_code == 0
        process.wait(LIMIT)

    assert first == "Paused: nothing is started until coreclaw-async batch resume nightly.\n"
    assert (process.returncode, served.runs_created) == (0, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "nightly"),
        ("report", "nightly"),
        ("items", "nightly"),
        ("rows", "nightly"),
        ("rerun", "nightly"),
        ("cancel", "nightly"),
        ("pause", "nightly"),
        ("resume", "nightly"),
        ("resolve", "nightly", "k0"),
        ("export", "nightly"),
        ("prune", "nightly", "--older-than-days", "3"),
        ("reset-foreign", "nightly", "me/maps"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_ledger_or_batch_that_is_not_there_is_refused_and_not_made(
    served: FakeService, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    command, *others = arguments
    others.remove("nightly")
    folder = tmp_path / "apart"
    folder.mkdir()
    typo = folder / "rusn.db"
    without = batch(command, *others, "--ledger", str(typo))
    assert without.exit_code == 2
    assert f"there is no ledger {typo}" in complaint(without)
    assert list(folder.iterdir()) == []

    plan(tmp_path)
    named = batch(command, *others, "--json", name="nigthly")
    assert named.exit_code == 2
    assert "has no batch 'nigthly'; it has 'nightly'" in complaint(named)
    assert objects(named)[-1]["exit_code"] == 2


def test_a_plan_that_is_not_whole_is_six_until_it_is(served: FakeService, tmp_path: Path) -> None:
    spec = {"key": "k0", "worker_id": WORKER, "input": {"keywords": ["k0"]}}
    assert batch("plan", "-i", lines(tmp_path, *([spec] * 1), "{")).exit_code == 2
    ran = batch("run")
    told = batch("report")
    assert batch("plan", "-i", lines(tmp_path, spec)).exit_code == 0

    assert ran.exit_code == 6
    assert "The last plan did not finish, so items may be missing: plan it again." in told.stderr
    assert batch("run").exit_code == 0


def test_what_is_in_memory_is_refused(served: FakeService, tmp_path: Path) -> None:
    for arguments in (("plan", "-i", "x"), ("report",)):
        outcome = batch(*arguments, "--ledger", "memory")
        assert outcome.exit_code == 2
        assert "a ledger in memory is lost when the command ends" in complaint(outcome)


def test_many_batches_are_not_all_named(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path)
    with CoreClaw() as client:
        for number in range(24):
            with client.batch(f"b{number}", ledger=str(tmp_path / "runs.db")):
                pass
    assert "and 5 more" in complaint(batch("report", name="other"))


def test_a_paused_batch_is_told_to_be_paused(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 1)
    batch("pause")
    with interrupt_once(lambda: isinstance(sys.stderr, io.StringIO) and "Paused: " in sys.stderr.getvalue()):
        ran = batch("run")

    assert ran.exit_code == 130
    assert "Paused: nothing is started until coreclaw-async batch resume nightly." in ran.stderr
    assert served.runs_created == 0


@contextlib.contextmanager
def once_started(served: FakeService, act: Callable[[], object]) -> Iterator[None]:
    """Do something in another thread as soon as a run was started."""

    def wait() -> None:
        until = time.monotonic() + LIMIT
        while not served.runs_created and time.monotonic() < until:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join(LIMIT)


def test_rows_that_cannot_be_written_any_more_are_seven_and_name_the_runs(served: FakeService, tmp_path: Path) -> None:
    served.default_script = RunScript(rows=2, duration=600.0)
    plan(tmp_path, 1)
    folder = tmp_path / "rows"

    def get_in_the_way() -> None:
        folder.rmdir()
        folder.write_text("in the way")
        finish_runs(served)

    with once_started(served, get_in_the_way):
        ran = batch("run", "-o", str(folder))

    (run_id,) = served.runs
    assert ran.exit_code == 7, ran.stderr
    assert "The rows of the runs could not be written" in ran.stderr
    assert f"Open: k0: run {run_id} is still running, or its rows were not read yet." in ran.stderr


def test_a_ledger_that_breaks_is_six(served: FakeService, ledger: str, tmp_path: Path) -> None:
    served.default_script = RunScript(rows=1, duration=600.0)
    plan(tmp_path, 1)

    def break_it() -> None:
        with contextlib.closing(sqlite3.connect(ledger)) as opened:
            opened.execute("DROP TABLE run")
        finish_runs(served)

    with once_started(served, break_it):
        ran = batch("run", "--json")

    assert ran.exit_code == 6
    assert "cannot be used" in ran.stderr
    assert objects(ran)[-1]["exit_code"] == 6
