"""What is told before a run is paid for, and whether it was worth it: --dry-run, --assess, workers types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.batch_lines import lines
from cli.command_line import Outcome, in_environment, invoke

from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
GOOD: dict[str, Any] = {"title": "Cafe"}
BAD: dict[str, Any] = {"title": "", "error": "403"}


def run(*options: str, given: Any = None) -> Outcome:
    text = json.dumps({"keywords": ["coffee", "tea"]} if given is None else given)
    return invoke("run", WORKER, "-i", text, *options)


def objects(outcome: Outcome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def test_a_dry_run_shows_exactly_what_a_start_sends_and_starts_nothing(served: FakeService) -> None:
    (dry,) = objects(run("--dry-run", "--json"))
    assert served.runs_created == 0
    started = run()

    sent = next(request for request in served.requests if request.operation == "runWorker")
    assert started.exit_code == 0
    assert dry == {
        "ok": True,
        "worker_id": "coreclaw/google-maps-scraper",
        "issues": [],
        "task_count": 2,
        "request": {"method": sent.method, "path": sent.path, "body": sent.body},
    }


def test_a_dry_run_is_told_to_people_in_lines(served: FakeService) -> None:
    outcome = run("--dry-run", given={"keywords": ["a"], "key words": 1})

    assert (outcome.exit_code, outcome.stderr) == (0, "Nothing was started.\n")
    assert outcome.stdout.splitlines() == [
        "warning input['key words'] is not in the worker's schema: did you mean input.keywords?",
        "tasks   1",
        "request POST /api/v2/workers/coreclaw~google-maps-scraper/runs",
        'body    {"input":{"parameters":{"custom":{"keywords":["a"],"key words":1}}},"is_async":true}',
    ]


def test_an_input_that_would_fail_is_a_usage_error(served: FakeService) -> None:
    outcome = run("--dry-run", given={})
    (told,) = objects(run("--dry-run", "--json", given={"parameters": {"custom": {}}}))

    assert outcome.exit_code == 2
    assert outcome.stdout.startswith(
        'error   input.keywords is required, and missing: the console fills in ["coffee"]\ntasks   unknown\n'
    )
    assert outcome.stderr == "Nothing was started: this input would certainly fail.\n"
    assert (told["ok"], told["issues"][0]["severity"]) == (False, "error")
    assert served.runs_created == 0


def test_a_dry_run_goes_with_all_options_of_a_run(served: FakeService, tmp_path: Path) -> None:
    outcome = run("--dry-run", "--wait", "--assess", "-o", str(tmp_path / "rows.csv"), "--timeout", "5")

    assert outcome.exit_code == 0
    assert list(tmp_path.iterdir()) == []
    assert [request.operation for request in served.requests] == ["getWorkerInputSchema"]


def _no_schema(envelope: dict[str, Any]) -> dict[str, Any]:
    return {**envelope, "data": ["no schema"]}


@pytest.mark.endurance
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_schema_that_cannot_be_read_is_not_waited_for_in_silence(
    served: FakeService, ledger: str, tmp_path: Path, command: str
) -> None:
    served.faults.add(faults.edit(_no_schema), operation="getWorkerInputSchema", times=2)
    if command == "run":
        outcome = run("--dry-run")
    else:
        given = lines(tmp_path, {"key": "a", "worker_id": WORKER, "input": {"keywords": ["a"]}})
        outcome = invoke("batch", "plan", "nightly", "-i", given, "--check", "--ledger", ledger)

    assert outcome.exit_code == 0
    assert outcome.stderr.startswith(
        "The service's answer cannot be read (HTTP 200); still trying. Ctrl-C stops it.\nThe service answers again.\n"
    )


@pytest.mark.parametrize("command", [("run",), ("batch", "plan")])
def test_help_tells_how_long_a_schema_is_asked_for(command: tuple[str, ...]) -> None:
    assert "asked for again for a minute" in " ".join(invoke(*command, "--help").stdout.replace("│", " ").split())


def test_a_dry_run_of_a_worker_that_the_service_does_not_show_is_a_doubt(served: FakeService) -> None:
    outcome = invoke("run", "me/none", "--dry-run")

    assert outcome.exit_code == 0
    assert outcome.stdout.startswith("warning worker_id has no schema that is shown")


def test_a_dry_run_needs_no_key(served: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORECLAW_API_KEY")

    assert run("--dry-run").exit_code == 0
    assert run().exit_code == 2


@pytest.mark.parametrize(
    ("rows", "code", "verdict", "reason"),
    [
        ([GOOD, GOOD], 0, "pass", "none of 2 rows is an error row"),
        ([GOOD, BAD], 1, "error_rows", "no data in 1 of 2 rows: 2"),
        (0, 1, "empty", "the run succeeded and has no rows"),
    ],
)
def test_the_verdict_on_a_run_decides_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, rows: Any, code: int, verdict: str, reason: str
) -> None:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=rows, duration=0.0))
    with in_environment(service, monkeypatch):
        plain = run("--assess")
        as_json = run("--assess", "--json")

    assert (plain.exit_code, as_json.exit_code) == (code, code)
    assert plain.stdout.splitlines()[-1] == f"Verdict: {verdict}, as {reason}."
    ended, assessed = objects(as_json)
    assert ended["run_id"] == assessed["run_id"]
    assert (assessed["verdict"], assessed["reason"]) == (verdict, reason)
    assert [row["number"] for row in assessed["error_rows"]] == ([2] if verdict == "error_rows" else [])


@pytest.mark.parametrize("outcome", ["failed", "aborted"])
def test_a_run_that_fails_has_its_verdict_too(monkeypatch: pytest.MonkeyPatch, outcome: str) -> None:
    script = RunScript(outcome=outcome, duration=0.0, error_message="captcha")
    service = FakeService(clock=RealClock(), default_script=script, detail_err_msg=True)
    with in_environment(service, monkeypatch):
        plain = run("--assess")
        as_json = run("--assess", "--json")

    assert (plain.exit_code, as_json.exit_code) == (1, 1)
    assert f"Verdict: {outcome}, as " in plain.stdout
    assert objects(as_json)[-1]["verdict"] == outcome
    assert objects(as_json)[-1]["error_message"] == "captcha"


@pytest.mark.parametrize("code", [12001, 70001])
def test_the_end_of_a_failed_run_is_known_also_when_nothing_more_can_be_read(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    service = FakeService(clock=RealClock(), default_script=RunScript(outcome="failed", duration=0.0))
    service.faults.add(faults.error(code), operation="getWorkerRunLog", times=9)
    service.faults.add(faults.error(code), operation="getWorkerRun", times=9, after=1)
    with in_environment(service, monkeypatch):
        outcome = run("--assess", "--json")

    assert outcome.exit_code == 1
    assert objects(outcome)[-1]["verdict"] == "failed"


def test_rows_are_written_whatever_the_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=[GOOD, BAD], duration=0.0))
    with in_environment(service, monkeypatch):
        to_file = run("--assess", "-o", str(tmp_path / "rows.jsonl"))
        to_stdout = run("--assess", "-o", "-", "--json")

    assert (to_file.exit_code, to_stdout.exit_code) == (1, 1)
    assert len((tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    assert [row["title"] for row in objects(to_stdout)] == ["Cafe", ""]
    for outcome in (to_file, to_stdout):
        assert outcome.stderr.splitlines()[-1] == "Verdict: error_rows, as no data in 1 of 2 rows: 2."


def test_a_verdict_that_cannot_be_had_leaves_the_run_named(served: FakeService) -> None:
    served.faults.add(faults.error(11000), operation="listWorkerRunResults", times=9)

    outcome = run("--assess", "--json")

    (run_id,) = served.runs
    assert outcome.exit_code == 3
    assert objects(outcome)[-1]["run_id"] == run_id


def test_a_timeout_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=2, duration=600.0))
    with in_environment(service, monkeypatch):
        outcome = run("--assess", "--timeout", "0.05")

    assert outcome.exit_code == 5
    assert "Verdict" not in outcome.stdout + outcome.stderr


def test_the_type_of_an_input_is_printed_without_a_key(served: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORECLAW_API_KEY")

    outcome = invoke("workers", "types", WORKER)

    assert (outcome.exit_code, outcome.stderr) == (0, "")
    compile(outcome.stdout, "types", "exec")
    assert "class GoogleMapsScraperInput(TypedDict):" in outcome.stdout
