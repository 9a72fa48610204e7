"""The commands against an emulator on a real socket: what they print, write, and end with."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from cli.command_line import Failing, Outcome, in_environment, invoke

from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = '{"keywords": ["coffee"]}'
ID = re.compile(r"01[0-9A-Z]{24}")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=3, duration=0))
    with in_environment(service, monkeypatch):
        yield service


def tried(service: FakeService, *arguments: str) -> Outcome:
    """Run a command; the key may be in nothing that it writes."""
    outcome = invoke(*arguments)
    assert service.api_key not in outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stderr
    return outcome


def done(service: FakeService, *arguments: str) -> Outcome:
    outcome = tried(service, *arguments)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome


def json_lines(outcome: Outcome) -> list[dict[str, object]]:
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def cells(outcome: Outcome) -> list[list[str]]:
    return [line.split("\t") for line in outcome.stdout.splitlines()]


def only_run(service: FakeService) -> str:
    (run_id,) = service.runs
    return run_id


def requests_of(service: FakeService, operation: str) -> int:
    return sum(request.operation == operation for request in service.requests)


def test_run_prints_the_id_alone(service: FakeService) -> None:
    outcome = done(service, "run", WORKER, "--input", INPUT)

    assert outcome.stdout == f"{only_run(service)}\n"
    assert outcome.stderr == ""


def test_run_as_json_is_one_object(service: FakeService) -> None:
    (started,) = json_lines(done(service, "run", WORKER, "--input", INPUT, "--json"))

    assert started["run_id"] == only_run(service)


def test_run_that_waits_says_the_id_first_and_how_it_ended(service: FakeService) -> None:
    outcome = done(service, "run", WORKER, "-i", INPUT, "--wait")

    run_id = only_run(service)
    assert outcome.stderr == f"Run {run_id} started.\n"
    assert outcome.stdout == f"Run {run_id} succeeded after 0 s with 3 rows; it cost $0.003.\n"


def test_run_that_waits_prints_the_run_as_json(service: FakeService) -> None:
    (run,) = json_lines(done(service, "run", WORKER, "-i", INPUT, "--wait", "--json"))

    assert run["status"] == "succeeded"
    assert Decimal(str(run["usage"])) == Decimal("0.003")
    assert str(run["started_at"]).endswith("+00:00")
    assert "extra" not in run


def test_run_writes_its_rows_in_the_format_of_the_ending(service: FakeService, tmp_path: Path) -> None:
    outcome = done(service, "run", WORKER, "-i", INPUT, "-o", str(tmp_path / "rows.csv"))

    assert len(list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text("utf-8-sig"))))) == 3
    assert "rows.csv" in outcome.stderr


def test_run_prints_its_rows_as_lines_and_nothing_else(service: FakeService) -> None:
    outcome = done(service, "run", WORKER, "-i", INPUT, "-o", "-", "--json")

    assert [row["title"] for row in json_lines(outcome)] == ["Result 1", "Result 2", "Result 3"]
    assert "succeeded" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--input", "nowhere.json"), "nowhere.json cannot be read"),
        (("--input", '{"a": NaN}'), "not JSON that can be sent"),
        (("--input", '{"a":'), "not JSON that can be sent"),
        (("--input", r'{"a": ["\ud83d"]}'), "input.a[0]"),
        (("--output", "rows.doc"), "the format must be one of"),
        (("--output", "no/such/folder/rows.csv"), "rows.csv cannot be written: There is no such folder"),
        (("--output", "."), "It is a folder"),
        (("--timeout", "-1", "--wait"), "must be above 0 and finite, not -1"),
        (("--timeout", "nan", "--wait"), "must be above 0 and finite, not nan"),
        (("--api-key-file", "no-key"), "no-key"),
        (("--base-url", "ftp://nowhere"), "base_url must be"),
    ],
)
def test_what_cannot_be_right_is_told_before_anything_is_paid_for(
    service: FakeService, arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = tried(service, "run", WORKER, *(() if "--input" in arguments else ("-i", INPUT)), *arguments)

    assert outcome.exit_code == 2
    assert told in " ".join(re.sub(r"[│╭╮╰╯─]", " ", outcome.stderr).split())
    assert service.runs_created == 0


def test_an_input_that_is_no_object_is_refused(service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text("[1]")

    outcome = tried(service, "run", WORKER, "-i", str(tmp_path / "input.json"))

    assert outcome.exit_code == 2
    assert "JSON object" in outcome.stderr


def test_input_comes_from_a_file(service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text("\ufeff" + INPUT, "utf-8")

    done(service, "run", WORKER, "-i", str(tmp_path / "input.json"))

    assert service.runs[only_run(service)].input == {"parameters": {"custom": json.loads(INPUT)}}


def test_input_comes_from_standard_input(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(INPUT))

    done(service, "run", WORKER, "-i", "-")

    assert service.runs[only_run(service)].input == {"parameters": {"custom": json.loads(INPUT)}}


def test_a_failed_run_has_exit_code_1_and_the_end_of_its_log(service: FakeService) -> None:
    service.default_script = RunScript(duration=0, outcome="failed", error_message="no such place")

    outcome = tried(service, "run", WORKER, "-i", INPUT, "--wait")

    assert outcome.exit_code == 1
    assert "no such place" in outcome.stderr
    assert "log: " in outcome.stderr


def test_a_refusal_has_exit_code_3(service: FakeService) -> None:
    outcome = tried(service, "run", WORKER, "-i", "{}")

    assert outcome.exit_code == 3
    assert "keywords is required" in outcome.stderr


def test_a_start_that_nobody_knows_the_outcome_of_has_exit_code_4_and_candidates(service: FakeService) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")

    outcome = tried(service, "run", WORKER, "-i", INPUT, "--wait")

    assert outcome.exit_code == 4
    assert f"candidate: run {only_run(service)}" in outcome.stderr
    assert service.runs_created == 1


def test_a_wait_that_takes_too_long_has_exit_code_5_and_says_how_to_go_on(service: FakeService) -> None:
    service.default_script = RunScript(duration=600)

    outcome = tried(service, "run", WORKER, "-i", INPUT, "--wait", "--timeout", "0.1")

    run_id = only_run(service)
    assert outcome.exit_code == 5
    assert f"Run {run_id} is still running and costs money." in outcome.stderr
    assert f"coreclaw-async wait {run_id}" in outcome.stderr
    assert f"coreclaw-async abort {run_id}" in outcome.stderr


def test_a_wait_that_takes_too_long_can_abort_its_run(service: FakeService) -> None:
    service.default_script = RunScript(duration=600)

    outcome = tried(service, "run", WORKER, "-i", INPUT, "--wait", "--timeout", "0.1", "--abort-on-interrupt")

    assert outcome.exit_code == 5
    assert f"Asked to abort run {only_run(service)}: it is abort" in outcome.stderr
    assert requests_of(service, "abortWorkerRun") == 1


def test_an_abort_whose_end_cannot_be_seen_says_so(service: FakeService) -> None:
    service.default_script = RunScript(duration=600)
    run_id = service.add_run(WORKER, script=service.default_script)
    service.faults.add(faults.error(50000, status=400), operation="getWorkerRun", after=1, times=99)

    outcome = tried(service, "wait", run_id, "--timeout", "0.4", "--abort-on-interrupt")

    assert outcome.exit_code == 5
    assert f"Asked to abort run {run_id}: its state could not be read." in outcome.stderr


def test_wait_tells_of_each_run_as_it_ends(service: FakeService) -> None:
    runs = [service.add_run(WORKER, script=RunScript(rows=2, duration=0)) for _ in range(3)]

    outcome = done(service, "wait", *runs)

    assert sorted(ID.findall(outcome.stdout)) == sorted(runs)
    assert {str(run["run_id"]) for run in json_lines(done(service, "wait", *runs, "--json"))} == set(runs)


def test_wait_for_several_runs_has_exit_code_1_when_one_failed(service: FakeService) -> None:
    good = service.add_run(WORKER, script=RunScript(duration=0))
    bad = service.add_run(WORKER, script=RunScript(duration=0, outcome="failed"))

    outcome = tried(service, "wait", bad, good)

    assert outcome.exit_code == 1
    assert f"Run {bad} failed" in outcome.stdout
    assert f"Run {good} succeeded" in outcome.stdout


def test_wait_for_several_runs_that_takes_too_long_names_those_that_go_on(service: FakeService) -> None:
    short = service.add_run(WORKER, script=RunScript(duration=0))
    long = [service.add_run(WORKER, script=RunScript(duration=600)) for _ in range(2)]

    outcome = tried(service, "wait", short, *long, "--timeout", "0.4")

    assert outcome.exit_code == 5
    assert f"Runs {', '.join(long)} are still running and cost money." in outcome.stderr


def test_wait_for_the_newest_run(service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(duration=0))

    assert run_id in done(service, "wait", "last").stdout


def test_abort_of_the_last_run_stops_the_one_that_was_the_last_when_it_was_asked_for(service: FakeService) -> None:
    run_id = service.add_run(WORKER, status="running")

    assert done(service, "abort", "last").stderr == f"Asked to abort run {run_id}.\n"
    assert (requests_of(service, "getLastWorkerRun"), requests_of(service, "abortWorkerRun")) == (1, 1)


def test_abort_asks_for_each_run_once(service: FakeService) -> None:
    runs = [service.add_run(WORKER, script=RunScript(duration=600)) for _ in range(2)]

    outcome = done(service, "abort", *runs, runs[0])

    assert outcome.stderr == "".join(f"Asked to abort run {run_id}.\n" for run_id in runs)
    assert requests_of(service, "abortWorkerRun") == 2


def test_rerun_starts_another_run(service: FakeService) -> None:
    before = service.add_run(WORKER, script=RunScript(duration=0))

    first = done(service, "rerun", before).stdout.strip()
    second = done(service, "rerun", before, "--wait")

    assert first in service.runs
    assert len(service.runs) == 3
    assert "succeeded" in second.stdout


def test_rows_are_lines_of_json(service: FakeService) -> None:
    run_id = service.add_run(WORKER, rows=250)

    outcome = done(service, "rows", run_id)

    assert [row["title"] for row in json_lines(outcome)] == [f"Result {number}" for number in range(1, 251)]
    assert outcome.stderr == ""


def test_rows_of_a_worker_are_those_of_its_newest_run(service: FakeService) -> None:
    service.add_run(WORKER, rows=1, age=60.0)
    service.add_run(WORKER, rows=2)
    slug = service.runs[next(iter(service.runs))].worker_id

    assert len(json_lines(done(service, "rows", WORKER))) == 2
    assert len(json_lines(done(service, "rows", slug))) == 2
    assert len(json_lines(done(service, "rows", "last"))) == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError()])
@pytest.mark.parametrize("options", [(), ("--json",), ("-o", "-")])
def test_the_id_of_a_run_that_nobody_can_read_goes_to_standard_error(
    service: FakeService, options: tuple[str, ...], error: OSError
) -> None:
    outcome = invoke("run", WORKER, "-i", INPUT, *options, stdout=Failing(error))

    assert outcome.exit_code == 7
    assert f"Run {only_run(service)} " in outcome.stderr


def test_an_abort_that_stops_nothing_names_no_next_command(service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(duration=0))

    outcome = invoke("abort", run_id, is_terminal=True)

    assert outcome.exit_code == 3
    assert "to see the end" not in outcome.stderr


def test_rows_so_far_are_written_when_they_are_asked_for(service: FakeService, tmp_path: Path) -> None:
    script = RunScript(rows=50, statuses=[(0.0, "running"), (1000.0, "succeeded")])
    run_id = service.add_run(WORKER, script=script, age=500.0)

    assert 0 < len(json_lines(done(service, "rows", run_id, "--partial"))) < 50
    assert done(service, "export", run_id, "--partial", "-o", str(tmp_path / "rows.csv")).exit_code == 0
    assert done(service, "export", run_id, "--partial", "--url").exit_code == 0


@pytest.mark.endurance
def test_rows_are_followed_to_the_end_of_the_run(service: FakeService) -> None:
    script = RunScript(rows=50, statuses=[(0.0, "running"), (31.0, "succeeded")])
    run_id = service.add_run(WORKER, script=script, age=30.0)

    assert len(json_lines(done(service, "rows", run_id, "--follow"))) == 50


def test_rows_of_nothing_have_exit_code_3(service: FakeService) -> None:
    outcome = tried(service, "rows", "01ARZ3NDEKTSV4RRFFQ69G5FAV")

    assert outcome.exit_code == 3
    assert "code 11004; " in outcome.stderr


def test_rows_can_be_limited_and_cut(service: FakeService, tmp_path: Path) -> None:
    run_id = service.add_run(WORKER, rows=250)
    path = tmp_path / "rows.jsonl"

    outcome = done(service, "rows", run_id, "--limit", "2", "--fields", "rank, title", "-o", str(path))

    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"rank": 1, "title": "Result 1"},
        {"rank": 2, "title": "Result 2"},
    ]
    assert outcome.stderr == f"{path} (2 rows)\n"


def test_a_file_stays_as_it_was_when_the_rows_do_not_come_whole(service: FakeService, tmp_path: Path) -> None:
    run_id = service.add_run(WORKER, rows=250)
    service.faults.add(faults.error(50000, status=400), operation="listWorkerRunResults", after=1, times=99)
    path = tmp_path / "rows.jsonl"
    path.write_text("before")

    outcome = tried(service, "rows", run_id, "-o", str(path))

    assert outcome.exit_code == 3
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "options"), [("rows.json", ()), ("rows.dat", ("--format", "json"))])
def test_export_writes_a_file(service: FakeService, tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    run_id = service.add_run(WORKER, rows=3)

    outcome = done(service, "export", run_id, "-o", str(tmp_path / name), "--fields", "title", *options)

    assert [row.keys() for row in json.loads((tmp_path / name).read_text())] == [{"title"}] * 3
    assert f"{name} (" in outcome.stderr


def test_export_prints_a_url_only_when_asked(service: FakeService) -> None:
    run_id = service.add_run(WORKER, rows=3)

    assert done(service, "export", run_id, "--url").stdout.startswith("http://127.0.0.1:")
    assert tried(service, "export", run_id).exit_code == 2
    assert tried(service, "export", run_id, "--url", "-o", "rows.csv").exit_code == 2


def test_log_prints_its_entries(service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(rows=3, duration=0))

    outcome = done(service, "log", run_id)

    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info  Run started", outcome.stdout.splitlines()[0])
    assert json_lines(done(service, "log", run_id, "--json"))[0]["content"] == "Run started"


def test_log_can_be_followed_to_the_end(service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(rows=3, duration=0))

    assert "Run finished" in done(service, "log", run_id, "--follow").stdout


def test_runs_are_a_table_with_tabs_when_nobody_looks(service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(rows=3, duration=0))

    header, row = cells(done(service, "runs", "--worker", WORKER, "--status", "succeeded", "--limit", "5"))

    assert header == ["run", "status", "rows", "cost", "started", "worker", "seconds"]
    assert row[:3] == [run_id, "succeeded", "3"]


def test_runs_can_be_chosen_by_their_time(service: FakeService) -> None:
    old, new = service.add_run(WORKER, rows=1, age=7200.0), service.add_run(WORKER, rows=1, age=60.0)

    assert [run["run_id"] for run in json_lines(done(service, "runs", "--since", "60m", "--json"))] == [new]
    found = json_lines(done(service, "runs", "--since", "2020-01-01", "--until", "1h", "--json", "--limit", "1"))
    assert [run["run_id"] for run in found] == [old]
    for odd in ("tomorrow", "999999d", "2026-08-01T00:00+99:00"):
        assert tried(service, "runs", "--since", odd).exit_code == 2
    assert tried(service, "runs", "--status", "great").exit_code == 2


def test_nothing_found_is_said_aside(service: FakeService) -> None:
    outcome = done(service, "queue", "list")

    assert (outcome.stdout, outcome.stderr) == ("", "Nothing found.\n")


def test_show_prints_what_is_known_of_a_run(service: FakeService) -> None:
    run_id = service.add_run(WORKER, script=RunScript(rows=3, duration=0))

    text = done(service, "show", run_id).stdout
    (run,) = json_lines(done(service, "show", "last", "--json"))

    assert re.search(rf"^run_id +{run_id}$", text, re.MULTILINE)
    assert "error_message" not in text
    assert run["run_id"] == run_id


def test_store_needs_no_key(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORECLAW_API_KEY")

    assert cells(done(service, "store", "maps"))[1][0] == WORKER
    assert cells(done(service, "workers", "input", WORKER))[1][0] == "keywords"


def test_workers_and_account_are_shown(service: FakeService) -> None:
    assert done(service, "workers", "list").exit_code == 0
    assert "version" in done(service, "workers", "show", WORKER).stdout
    assert "balance" in done(service, "account").stdout
    assert json_lines(done(service, "account", "--json"))[0]["balance"] == "100.00"


def test_tasks_are_listed_shown_and_run(service: FakeService) -> None:
    task = service.add_task(WORKER, title="daily", input={"parameters": {"custom": json.loads(INPUT)}})

    assert cells(done(service, "tasks", "list", "--worker", WORKER))[1][0] == task
    assert cells(done(service, "tasks", "list", "dail"))[1][0] == task
    assert "Nothing found" in done(service, "tasks", "list", "no such task").stderr
    assert json_lines(done(service, "tasks", "show", task, "--json"))[0]["task_id"] == task
    assert ID.fullmatch(done(service, "tasks", "run", task).stdout.strip())
    assert "succeeded" in done(service, "tasks", "run", task, "--wait").stdout


def test_queue_items_are_activated_and_released_with_what_became_of_each(service: FakeService) -> None:
    first, second = (service.add_queue_item(WORKER, json.loads(INPUT)) for _ in range(2))

    assert {row[0] for row in cells(done(service, "queue", "list"))[1:]} == {first, second}
    assert cells(done(service, "queue", "activate", first))[1][:2] == [first, "yes"]
    assert cells(done(service, "queue", "release", second, "--reason", "late"))[1][:2] == [second, "yes"]
    again = tried(service, "queue", "release", second)
    assert again.exit_code == 3
    assert cells(again)[1][:2] == [second, "no"]


def test_the_key_comes_from_a_file(service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(f"{service.api_key}\n")
    monkeypatch.delenv("CORECLAW_API_KEY")

    done(service, "account", "--api-key-file", str(tmp_path / "key"))


def test_without_a_key_nothing_is_sent(service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORECLAW_API_KEY")
    (tmp_path / "key").write_text("\n")

    outcome = tried(service, "account")

    assert outcome.exit_code == 2
    assert "CORECLAW_API_KEY" in outcome.stderr
    assert tried(service, "account", "--api-key-file", str(tmp_path / "key")).exit_code == 2
    assert service.requests == []


def test_there_is_no_option_that_takes_the_key_itself(service: FakeService) -> None:
    assert invoke("account", "--api-key", "secret").exit_code == 2


def test_completion_names_commands_and_fixed_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def completed(line: str) -> str:
        monkeypatch.setenv("_CORECLAW_ASYNC_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        return invoke().stdout

    assert {"run", "runs", "rows", "rerun"} <= set(completed("coreclaw-async r").split())
    assert completed("coreclaw-async runs --status r").split() == ["ready", "running"]
    assert completed("coreclaw-async export RUN --format js").split() == ["json", "jsonl"]
