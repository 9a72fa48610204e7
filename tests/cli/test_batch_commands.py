"""The commands about batches against an emulator on a real socket, and in a terminal."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import typer.main
from cli.batch_lines import WORKER, batch, complaint, hold, lines, objects, plan
from cli.command_line import (
    LIMIT,
    Terminal,
    invoke,
    run_in_terminal,
    without_escapes,
)
from interrupting import interrupt_once
from snippets import snippets_of

from coreclaw_async import BatchReport, CoreClaw, LedgerError, RunSpec
from coreclaw_async import cli as guide
from coreclaw_async.cli._screen.screen import Screen
from coreclaw_async.cli.app import app
from coreclaw_async.cli.batch.progress import BatchBar
from coreclaw_async.cli.batch.session import batch_command
from coreclaw_async.testing import FakeService, RunScript, faults

pytestmark = pytest.mark.usefixtures("ledger")


def test_a_batch_is_planned_run_and_reported(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path)
    again = batch("plan", "-i", str(tmp_path / "specs.jsonl"), "--worker", WORKER)
    ran = batch("run", "--output", str(tmp_path / "rows"), "--max-in-flight", "2", "--exclusive")
    told = batch("report")

    assert again.stdout == "0 new items; 3 in all.\n"
    assert (ran.exit_code, ran.stdout) == (0, "state\titems\ndone\t3\n")
    assert "3 items, 3 runs with 6 rows; $0.006." in ran.stderr == told.stderr
    assert len(list((tmp_path / "rows").glob("part-*"))) == 3
    assert served.runs_created == 3


def test_outcomes_and_reports_are_lines_of_json(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path)
    outcomes = objects(batch("run", "--json"))
    (told,) = objects(batch("report", "--json"))

    assert {outcome["key"]: outcome["state"] for outcome in outcomes} == dict.fromkeys(("k0", "k1", "k2"), "done")
    assert outcomes[0]["run"]["usage"] == "0.002"
    assert (told["counts"]["done"], told["cost"], told["held"]) == (3, "0.006", [])
    assert told["by_worker"][WORKER]["result_count"] == 6


def test_a_report_has_tables_of_workers_and_days(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 1)
    batch("run", "--max-spend", "1")
    states, verdicts, workers, days = batch("report").stdout.split("\n\n")

    assert states == "state\titems\ndone\t1"
    assert verdicts == "verdict\titems\n(not looked at)\t1"
    assert workers.splitlines() == [
        "worker\truns\tdone\tempty\tfailed\trows\tcost",
        f"{WORKER}\t1\t1\t0\t0\t2\t$0.002",
    ]
    assert re.fullmatch(r"day\t.*\n\d{4}-\d\d-\d\d\t1\t1\t0\t0\t2\t\$0\.002\n", days)
    assert "1 item, 1 run with 2 rows; $0.002 of $1.00." in batch("report").stderr

    batch("run", "-o", str(tmp_path / "rows"))
    assert "verdict\titems\npass\t1\n\n" in batch("report").stdout
    assert objects(batch("report", "--json"))[0]["verdicts"]["pass"] == 1
    assert objects(batch("items", "--json"))[0]["verdict"] == "pass"
    assert batch("items").stdout.splitlines()[1].split("\t")[3:5] == ["2", "pass"]


def test_rows_and_costs_that_nobody_knows_are_no_zero(served: FakeService, tmp_path: Path) -> None:
    served.faults.add(faults.edit(_untold), operation="getWorkerRun", times=1_000)
    served.faults.add(faults.edit(_untold), operation="listWorkerRuns", times=1_000)
    plan(tmp_path, 1)
    batch("run")
    told = batch("report")

    assert "an unknown amount, as 1 run has an unknown cost." in told.stderr
    assert "\t1 unknown\n" in told.stdout
    assert "1 run with an unknown number of rows;" in told.stderr
    assert "\t1 unknown\t1 unknown\n" in told.stdout
    assert "verdict\titems\nunknown\t1" in told.stdout


def _untold(envelope: dict[str, object]) -> dict[str, object]:
    text = re.sub(r'"(usage|results)": ?("[^"]*"|[\d.]+)', r'"\1": null', json.dumps(envelope))
    return json.loads(text)  # type: ignore[no-any-return]


def test_a_report_says_that_a_batch_is_paused(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path)
    paused = batch("pause", "--json")

    assert objects(paused) == [{"batch": "nightly", "is_paused": True}]
    assert "Paused: nothing is started until coreclaw-async batch resume nightly." in batch("report").stderr
    assert batch("resume").stdout == "nightly is resumed.\n"
    assert "Paused" not in batch("report").stderr


def test_items_are_listed_by_state_and_worker(served: FakeService, tmp_path: Path) -> None:
    served.detail_err_msg = True
    served.script_next(RunScript(outcome="failed", error_message="no luck", duration=0.0))
    plan(tmp_path)
    batch("run", "--max-in-flight", "1")
    everything = batch("items")
    failed = batch("items", "--state", "failed", "--state", "rejected", "--json")
    nothing = batch("items", "--worker", "me/other")

    assert [line.split("\t")[:2] for line in everything.stdout.splitlines()] == [
        ["key", "state"],
        ["k0", "failed"],
        ["k1", "done"],
        ["k2", "done"],
    ]
    (item,) = objects(failed)
    assert (item["key"], item["error"]) == ("k0", "no luck")
    assert "callback_url" not in item
    assert (nothing.exit_code, nothing.stderr) == (0, "Nothing found.\n")
    assert batch("items", "--state", "lost").exit_code == 2


def test_more_held_items_than_a_report_names_can_be_listed(served: FakeService, ledger: str) -> None:
    with CoreClaw() as client, client.batch("nightly", ledger=ledger) as opened:
        opened.plan(RunSpec(key=f"k{number}", worker_id=WORKER, input={}) for number in range(103))
        opened.plan([RunSpec(key="r0", worker_id=WORKER, input={})])
    change(ledger, "UPDATE item SET state = 'ambiguous', candidates = '[\"R\"]' WHERE key LIKE 'k%'")
    told = batch("report")

    assert told.stderr.count("Held: ") == 100
    assert "and 3 more:  coreclaw-async batch items nightly --state ambiguous" in told.stderr
    assert len(objects(batch("items", "--state", "ambiguous", "--json"))) == 103


def change(ledger: str, sql: str) -> None:
    """Change a ledger without the batch."""
    program = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute(sys.argv[2]); c.commit()"
    subprocess.run([sys.executable, "-c", program, ledger, sql], check=True)


def test_rows_come_with_their_keys(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 2)
    batch("run", "-o", str(tmp_path / "rows"))
    read_before = len(served.requests)
    printed = objects(batch("rows"))
    written = batch("rows", "-o", str(tmp_path / "all.jsonl"))

    assert [line["key"] for line in printed] == ["k0", "k0", "k1", "k1"]
    assert printed[0]["row"]["title"]
    assert objects_of(tmp_path / "all.jsonl") == printed
    assert f"{tmp_path / 'all.jsonl'} (4 rows)" in written.stderr
    assert len(served.requests) == read_before


def test_rows_come_from_parquet_files_too(served: FakeService, tmp_path: Path) -> None:
    served.script_next(RunScript(rows=[{"n": 1}, {"n": "many", "m": [1]}], row_ids=False, duration=0.0))
    plan(tmp_path, 1)
    ran = batch("run", "-o", str(tmp_path / "rows"), "--output-format", "parquet")
    read_before = len(served.requests)
    printed = objects(batch("rows"))

    assert ran.exit_code == 0, ran.stderr
    assert [path.suffix for path in (tmp_path / "rows").glob("part-*")] == [".parquet"]
    assert [line["row"] for line in printed] == [{"n": "1", "m": None}, {"n": "many", "m": [1]}]
    assert len(served.requests) == read_before


def objects_of(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_rows_as_csv_have_all_columns_and_a_key_that_no_row_hides(served: FakeService, tmp_path: Path) -> None:
    served.script_next(RunScript(rows=[{"a": 1, "key": "mine"}, {"b": [1, "x"], "f": 0.1234567890123}], duration=0.0))
    served.script_next(RunScript(rows=[{"a": True, "c": "line\nbreak, \u6771"}], duration=0.0))
    plan(tmp_path, 2)
    batch("run", "--max-in-flight", "1")
    path = tmp_path / "all.csv"
    outcome = batch("rows", "-o", str(path))

    assert outcome.exit_code == 0, outcome.stderr
    with path.open(encoding="utf-8", newline="") as file:
        found = [{name: value for name, value in row.items() if "__" not in name} for row in csv.DictReader(file)]
    assert found == [
        {"item_key": "k0", "a": "1", "key": "mine", "b": "", "f": "", "c": ""},
        {"item_key": "k0", "a": "", "key": "", "b": '[1, "x"]', "f": "0.1234567890123", "c": ""},
        {"item_key": "k1", "a": "true", "key": "", "b": "", "f": "", "c": "line\nbreak, \u6771"},
    ]
    assert batch("rows", "--format", "csv").stdout.splitlines()[0].startswith("item_key,")
    assert batch("rows", "--format", "xml").exit_code == 2


def test_numbers_beyond_a_float_are_null_in_rows(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 1)
    batch("run", "-o", str(tmp_path / "rows"))
    (part,) = (tmp_path / "rows").glob("part-*")
    part.write_text('{"n": 1e400, "m": [{"k": -1e400}, 0.5]}\n' * len(part.read_text().splitlines()))

    assert batch("rows").stdout.splitlines()[0] == '{"key": "k0", "row": {"n": null, "m": [{"k": null}, 0.5]}}'
    assert batch("rows", "--format", "csv").stdout.splitlines()[1].startswith("k0,,")


def test_rows_of_a_batch_that_goes_on_end_with_six(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 2)
    batch("run")
    plan(tmp_path, 3)
    some = batch("rows")
    asked_for = batch("rows", "--state", "done")

    assert (some.exit_code, len(some.stdout.splitlines())) == (6, 4)
    assert "These items are not done, and have no rows here: 1 planned." in some.stderr
    assert (asked_for.exit_code, asked_for.stdout) == (0, some.stdout)


def test_rows_of_failed_items_are_told_to_be_missing(served: FakeService, tmp_path: Path) -> None:
    served.script_next(RunScript(outcome="failed", duration=0.0))
    plan(tmp_path, 2)
    batch("run", "--max-in-flight", "1")
    outcome = batch("rows")

    assert outcome.exit_code == 0
    assert "These items are not done, and have no rows here: 1 failed." in outcome.stderr


def test_an_export_is_the_whole_ledger_of_a_batch(served: FakeService, tmp_path: Path) -> None:
    served.detail_err_msg = True
    served.script_next(RunScript(outcome="failed", error_message="no luck", duration=0.0))
    plan(tmp_path, 2)
    batch("run", "--max-in-flight", "1")
    batch("rerun")
    batch("run")
    first, second = objects(batch("export"))
    path = tmp_path / "out.jsonl"
    written = batch("export", "--with-inputs", "-o", str(path))

    assert [run["state"] for run in first["runs"]] == ["failed", "done"]
    assert (first["key"], first["runs"][0]["error"], len(second["runs"])) == ("k0", "no luck", 1)
    assert "input" not in first
    assert "callback_url" not in first
    inputs = [record["input"]["parameters"]["custom"] for record in objects_of(path)]  # type: ignore[index]
    assert inputs == [{"keywords": ["k0"]}, {"keywords": ["k1"]}]
    assert f"{path} (2 items)" in written.stderr


def test_failed_items_are_planned_again_all_or_by_key(served: FakeService, tmp_path: Path) -> None:
    for _ in range(3):
        served.script_next(RunScript(outcome="failed", duration=0.0))
    plan(tmp_path)
    batch("run")
    one = batch("rerun", "k1", "--json")
    others = batch("rerun")
    done = batch("run")

    assert objects(one) == [{"batch": "nightly", "planned": 1}]
    assert others.stdout == "2 items are planned again.\n"
    assert (done.exit_code, served.runs_created) == (0, 6)
    assert "k1' is done, and only failed, rejected or cancelled items can be run again" in complaint(
        batch("rerun", "k1")
    )
    assert "batch 'nightly' has no item 'k9'" in complaint(batch("rerun", "k9"))


def test_what_is_planned_can_be_taken_out(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path)
    cancelled = batch("cancel", "--json")

    assert objects(cancelled) == [{"batch": "nightly", "cancelled": 3}]
    assert batch("run").exit_code == 0
    assert served.runs_created == 0
    assert "0 items were taken out. The running runs were asked to stop" in batch("cancel", "--abort").stdout


def test_runs_that_cannot_be_aborted_are_named(served: FakeService, ledger: str, tmp_path: Path) -> None:
    served.default_script = RunScript(duration=600.0)
    plan(tmp_path, 2)
    with interrupt_once(lambda: served.runs_created == 2):
        batch("run")
    served.faults.add(faults.error(12002, 403), operation="abortWorkerRun", times=100)
    outcome = batch("cancel", "--abort", "--json")

    first, last = objects(outcome)
    assert outcome.exit_code == last["exit_code"] == 3
    assert set(first["not_aborted"].values()) == set(served.runs)
    in_words = batch("cancel", "--abort")
    assert in_words.exit_code == 3
    for run_id in served.runs:
        assert f"run {run_id}: " in outcome.stderr
        assert f"run {run_id}: " in in_words.stderr


def test_what_is_held_is_told_and_can_be_adopted(served: FakeService, ledger: str) -> None:
    (lost,) = hold(served, ledger)
    ran = batch("run")
    shown = batch("resolve", "k0")
    adopted = batch("resolve", "k0", "--adopt", lost, "--json")
    done = batch("run")

    assert ran.exit_code == 6
    assert f"Held: k0, which may be run {lost}, or none." in ran.stderr
    assert "coreclaw-async batch resolve nightly KEY --adopt RUN" in ran.stderr
    assert lost in shown.stdout
    assert json.loads(adopted.stdout)["state"] == "submitted"
    assert "callback_url" not in adopted.stdout
    assert (done.exit_code, served.runs_created) == (0, 1)


@pytest.mark.endurance
def test_what_is_held_can_be_started_again(served: FakeService, ledger: str) -> None:
    hold(served, ledger)
    resolved = batch("resolve", "k0", "--resubmit")
    again = batch("resolve", "k0", "--resubmit")

    assert "planned" in resolved.stdout
    assert again.exit_code == 2
    assert "resolved" in again.stderr


def test_an_item_that_is_not_there_is_named(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path)
    outcome = batch("resolve", "none")

    assert outcome.exit_code == 2
    assert "batch 'nightly' has no item 'none'" in complaint(outcome)


def test_finished_batches_are_deleted_and_others_kept(
    served: FakeService, ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(tmp_path, 2)
    batch("run")
    with CoreClaw() as client, client.batch("weekly", ledger=ledger) as weekly:
        weekly.plan([RunSpec(key="k0", worker_id=WORKER, input={})])
    with CoreClaw("another-key") as client, client.batch("theirs", ledger=ledger):
        pass
    too_young = invoke("batch", "prune", "--older-than-days", "1")
    told = invoke("batch", "prune", "--older-than-days", "0")

    assert (too_young.exit_code, too_young.stdout) == (0, "")
    assert re.fullmatch(r"Deleted nightly: 2 items with 2 runs, finished on \d{4}-\d\d-\d\d\.\n", told.stdout)
    assert "Kept: weekly, which is not finished" in told.stderr
    assert "Left alone: theirs: " in told.stderr
    assert "has no batch 'nightly'; it has 'weekly', 'theirs'" in complaint(batch("report"))
    assert "belongs to account" in invoke("batch", "prune", "theirs", "--older-than-days", "0").stderr


def test_what_was_deleted_is_told_as_json(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 1)
    batch("run")
    (pruned,) = objects(batch("prune", "--older-than-days", "0", "--json"))

    assert (pruned["name"], pruned["items"], pruned["runs"]) == ("nightly", 1, 1)


def test_foreign_runs_can_be_forgotten(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 1)
    batch("run")

    assert batch("reset-foreign", WORKER).stdout == f"{WORKER} counts as exclusive again.\n"
    assert "the ledger knows no worker 'me/none'" in complaint(batch("reset-foreign", "me/none"))


def test_a_ledger_that_is_none_is_told_without_its_password(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for ledger in ("postgresql://me:pa55@127.0.0.1:9/x", "mysql://me:pa55@h/x", str(tmp_path)):
        for given in (("--ledger", ledger), ()):
            monkeypatch.setenv("CORECLAW_LEDGER", ledger)
            outcome = batch("report", *given)
            assert outcome.exit_code == 2
            assert "pa55" not in outcome.stderr


def test_an_empty_batch_is_reported_in_a_line(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 0)
    outcome = batch("report")

    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert "0 items, 0 runs with 0 rows; $0.00." in outcome.stderr


@pytest.mark.endurance
def test_ctrl_c_leaves_the_runs_and_the_same_command_goes_on(served: FakeService, tmp_path: Path) -> None:
    served.default_script = RunScript(rows=1, duration=2.0)
    plan(tmp_path)
    with interrupt_once(lambda: served.runs_created == 3):
        ran = batch("run")
    done = batch("run")

    assert ran.exit_code == 130
    assert "Runs that were started are still running and cost money." in ran.stderr
    assert "to continue, run the same command again: it starts nothing twice" in ran.stderr
    assert (done.exit_code, served.runs_created) == (0, 3)


def in_terminal(*arguments: str, react: tuple[str, Callable[[], object]] | None = None) -> tuple[int, str]:
    code, text = run_in_terminal(*arguments, react=react, COLUMNS="200")
    return code, without_escapes(text)


@pytest.mark.endurance
def test_a_terminal_shows_where_it_stands(served: FakeService, tmp_path: Path) -> None:
    served.default_script = RunScript(rows=1, duration=0.5)
    plan(tmp_path, 6)
    code, shown = in_terminal("batch", "run", "nightly", "--max-in-flight", "3", "--max-spend", "2")

    assert code == 0, shown
    words = r"[1-5] planned, [123] running, \d done, \$0\.\d+ of \$2\.00, \d rows, [1-6] starts/min"
    assert re.search(words, shown), shown
    assert "6 items, 6 runs with 6 rows; $0.006 of $2.00." in shown


@pytest.mark.parametrize(
    ("ledger", "shown"),
    [
        ("runs.db", "coreclaw-async batch run 'my batch' --ledger runs.db -o rows"),
        ("my runs.db", "coreclaw-async batch run 'my batch' --ledger 'my runs.db' -o rows"),
        ("postgresql://db/runs", "coreclaw-async batch run 'my batch' --ledger postgresql://db/runs -o rows"),
        ("postgresql://me:secret@db/runs", "coreclaw-async batch run 'my batch' --ledger ... -o rows"),
        ("postgresql://db/runs?password=secret", "coreclaw-async batch run 'my batch' --ledger ... -o rows"),
        ("env.db", "coreclaw-async batch run 'my batch' -o rows"),
    ],
)
def test_a_command_that_is_shown_can_be_typed_and_tells_no_password(
    ledger: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORECLAW_LEDGER", "env.db")

    assert batch_command("run", "my batch", ledger, "-o rows") == shown


def test_a_terminal_is_told_which_command_comes_next(served: FakeService, tmp_path: Path) -> None:
    given = lines(tmp_path, {"key": "k0", "worker_id": WORKER, "input": {"keywords": ["a"]}})
    planned, told, ran, ended, again = (
        invoke("batch", command, "nightly", *options, is_terminal=True).stderr
        for command, *options in (["plan", "-i", given], ["report"], ["run"], ["report"], ["plan", "-i", given])
    )

    assert "to start them:  coreclaw-async batch run nightly -o rows" in planned
    assert "to go on:  coreclaw-async batch run nightly -o rows" in told
    assert "the rows:  coreclaw-async batch rows nightly -o rows.csv" in ran
    assert "the rows:  coreclaw-async batch rows nightly -o rows.csv" in ended
    assert "coreclaw-async" not in again


@pytest.mark.parametrize("ending", ["xlsx", "csv", "XML"])
def test_an_export_is_not_written_to_a_file_with_the_ending_of_another_format(
    served: FakeService, tmp_path: Path, ending: str
) -> None:
    plan(tmp_path, 1)
    outcome = batch("export", "-o", str(tmp_path / f"ledger.{ending}"))

    assert outcome.exit_code == 2
    assert "lines of JSON" in outcome.stderr
    assert not list(tmp_path.glob("ledger.*"))


@pytest.mark.endurance
def test_a_line_at_80_columns_has_room_for_its_bar_and_the_time(served: FakeService, tmp_path: Path) -> None:
    served.script_next(RunScript(outcome="failed", duration=0.0))
    plan(tmp_path, 2)
    ran = invoke("batch", "run", "nightly", "--max-spend", "1234.56", columns=80, is_terminal=True)
    shown = ran.stderr

    assert ran.exit_code == 1, shown
    words = r"━{10} \d planned, \d running, \d done, 1 failed, \$0\.\d+ of \$1234\.56 +0:00:\d\d"
    assert re.search(words, shown.replace("╸", "━").replace("╺", "━")), shown
    assert "…" not in shown


@pytest.mark.endurance
def test_a_terminal_shows_that_a_batch_is_paused_and_what_others_have_done(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path, 2)
    batch("pause")
    code, shown = in_terminal(
        "batch", "run", "nightly", react=("paused, 2 planned, 0 running", lambda: batch("resume"))
    )

    assert code == 0, shown
    assert "paused, 2 planned, 0 running" in shown
    assert re.search(r"(?<!paused, )\d planned, \d running, [12] done", shown), shown


def test_a_ledger_that_cannot_be_read_now_is_read_again_by_the_line(served: FakeService, tmp_path: Path) -> None:
    plan(tmp_path)
    answers: list[BatchReport] = []
    err = Terminal()
    with CoreClaw() as client, client.batch("nightly", ledger=str(tmp_path / "runs.db")) as opened:

        def read() -> BatchReport:
            answers.append(attrs.evolve(opened.report(), is_paused=len(answers) > 1))
            if len(answers) == 2:
                raise LedgerError("busy")
            return answers[-1]

        with contextlib.redirect_stderr(err), BatchBar(Screen()).following(read, every=0.05):
            until = time.monotonic() + LIMIT
            while "paused, 3 planned" not in err.getvalue() and time.monotonic() < until:
                time.sleep(0.05)

    assert len(answers) >= 3
    assert "paused, 3 planned" in without_escapes(err.getvalue())


@pytest.mark.endurance
def test_the_commands_of_the_guide_run_as_they_stand_there(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = [snippet for snippet in snippets_of(guide, "sh") if "batch plan" in snippet]
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "coreclaw-async":
            outcome = invoke(*words[1:])
            assert (outcome.exit_code, "Traceback" in outcome.stderr) == (0, False), (line, outcome.stderr)
        elif words[0] == "export":
            monkeypatch.setenv(*words[1].split("=", 1))
        else:
            subprocess.run(line, shell=True, check=True)

    assert served.runs_created == 3
    assert Path("all.csv").read_text("utf-8").splitlines()[0].startswith("key,")
    assert len(Path("ledger.jsonl").read_text("utf-8").splitlines()) == 3


def test_every_command_takes_json_and_finds_the_ledger_in_the_environment() -> None:
    group = typer.main.get_command(app).commands["batch"]  # type: ignore[attr-defined]
    for name in group.commands:
        shown = invoke("batch", name, "--help").stdout
        assert "--json" in shown, name
        assert "CORECLAW_LEDGER" in shown, name


def test_lines_that_were_planned_twice_are_planned_once(served: FakeService, tmp_path: Path) -> None:
    spec = {"key": "a", "worker_id": WORKER, "input": {"keywords": ["a"]}}

    assert batch("plan", "-i", lines(tmp_path, spec, spec)).stdout == "1 new item; 1 in all.\n"
