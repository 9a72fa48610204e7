"""``demo --live``: the same against a service that takes money; each bad end has its exit code and names the run."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.command_line import Outcome, ReactingText, in_environment, invoke

from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

KEY = "cck-very-secret"
WORKER = "coreclaw/google-maps-scraper"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    """A service on a socket that the environment points to; its runs are done at once."""
    service = FakeService(api_key=KEY, clock=RealClock(), default_script=RunScript(rows=130, duration=0))
    with in_environment(service, monkeypatch):
        yield service


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "input.json"
    path.write_text(json.dumps({"keywords": ["tea"], "cookie": "hidden-cookie"}))
    return path


def live(given: Path, *options: str, worker: str = WORKER, stdout: ReactingText | None = None) -> Outcome:
    """Run the live demo; nothing it writes may hold the key."""
    output = str(given.with_name("rows.csv"))
    outcome = invoke("demo", "--live", worker, "--input", str(given), "--output", output, *options, stdout=stdout)
    assert KEY not in outcome.stdout + outcome.stderr
    return outcome


def only_run(service: FakeService) -> str:
    assert service.runs_created == 1
    return next(iter(service.runs))


def test_live_demo_runs_the_given_worker_once_and_tells_end_rows_file_and_cost(
    service: FakeService, given: Path
) -> None:
    outcome = live(given)

    text, run_id = outcome.stdout, only_run(service)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert service.runs[run_id].input["parameters"]["custom"] == json.loads(given.read_text())
    assert text.splitlines()[0].endswith(": this costs money.")
    assert "succeeded after 0 s with 130 rows" in text
    assert "130, read in 2 pages" in text
    assert "$0.13; the balance went from $100.00 to $99.87" in text
    assert len(given.with_name("rows.csv").read_text().splitlines()) == 131
    assert "hidden-cookie" not in text
    code = "\n".join(text.splitlines()[-4:])
    assert f"iterate_results('{run_id}')" in code
    assert "workers" not in code  # It reads the paid rows and starts nothing.


def test_live_demo_shows_no_table_when_there_are_no_rows(service: FakeService, given: Path) -> None:
    service.default_script = RunScript(rows=0, duration=0)

    outcome = live(given)

    assert outcome.exit_code == 0
    assert "succeeded after 0 s with 0 rows" in outcome.stdout
    assert "Result" not in outcome.stdout


def test_input_may_begin_with_a_byte_order_mark(service: FakeService, given: Path) -> None:
    given.write_bytes(b"\xef\xbb\xbf" + given.read_bytes())

    assert live(given).exit_code == 0


@pytest.mark.parametrize("name", ["-", "{}"])
def test_the_input_is_a_file_whatever_its_name(
    service: FakeService, given: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(given.parent)
    Path(name).write_text("[]")

    outcome = invoke("demo", "--live", WORKER, "--input", name)

    assert outcome.exit_code == 2
    assert "must be a JSON object" in " ".join(outcome.stderr.split())
    assert service.requests == []


@pytest.mark.parametrize("key", ["", "two words"])
def test_exit_code_is_2_and_nothing_is_sent_when_there_is_no_usable_key(
    service: FakeService, given: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("CORECLAW_API_KEY", key)

    outcome = live(given)

    assert outcome.exit_code == 2
    assert "CORECLAW_API_KEY" in outcome.stderr
    assert "two words" not in outcome.stderr
    assert service.requests == []


@pytest.mark.parametrize("text", ["{", "[]", '{"a": NaN}', "[" * 100_000], ids=lambda text: text[:12])
def test_exit_code_is_2_and_nothing_is_sent_when_the_input_is_no_json_object(
    service: FakeService, given: Path, text: str
) -> None:
    given.write_text(text)

    outcome = live(given)

    assert outcome.exit_code == 2
    assert "--input" in outcome.stderr
    assert service.requests == []


@pytest.mark.parametrize("worker", ["../runs", ""])
def test_exit_code_is_2_and_nothing_is_sent_when_the_worker_cannot_be_one(
    service: FakeService, given: Path, worker: str
) -> None:
    outcome = live(given, worker=worker)

    assert outcome.exit_code == 2
    assert service.requests == []


def test_exit_code_is_2_when_options_do_not_fit_together(service: FakeService, given: Path) -> None:
    without_input = invoke("demo", "--live", WORKER)

    assert live(given, "--rows", "5").exit_code == 2
    assert without_input.exit_code == 2
    assert "--input" in without_input.stderr


def test_exit_code_is_3_and_no_run_is_started_when_the_service_refuses_the_key(
    service: FakeService, given: Path
) -> None:
    service.api_key = "another"

    outcome = live(given)

    assert outcome.exit_code == 3
    assert "HTTP 401" in outcome.stderr
    assert service.runs_created == 0


def test_exit_code_is_3_when_the_service_knows_no_such_worker(service: FakeService, given: Path) -> None:
    outcome = live(given, worker="nobody/nothing")

    assert outcome.exit_code == 3
    assert "code 11004" in outcome.stderr


def test_exit_code_is_4_and_the_run_is_a_candidate_when_the_answer_to_the_start_is_lost(
    service: FakeService, given: Path
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")

    outcome = live(given)

    assert outcome.exit_code == 4
    assert f"candidate: run {only_run(service)}" in outcome.stderr


def test_exit_code_is_1_with_log_and_cost_when_the_run_fails(service: FakeService, given: Path) -> None:
    service.default_script = RunScript(
        rows=10, duration=0, outcome="failed", error_message="blocked", log=[("error", "page did not load")]
    )

    outcome = live(given)

    assert outcome.exit_code == 1
    assert only_run(service) in outcome.stderr
    assert "log: page did not load" in outcome.stderr
    assert "It cost $0.01." in outcome.stderr
    assert "still running" not in outcome.stderr


@pytest.mark.endurance
def test_exit_code_is_5_with_the_run_id_when_the_run_outlasts_the_timeout(service: FakeService, given: Path) -> None:
    service.default_script = RunScript(duration=3600)

    outcome = live(given, "--timeout", "1")

    assert outcome.exit_code == 5
    assert f"Run {only_run(service)} is still running" in outcome.stderr


def test_interrupted_demo_ends_with_130_and_names_the_run_that_goes_on(service: FakeService, given: Path) -> None:
    service.default_script = RunScript(duration=3600)
    stdout = ReactingText(" started", lambda _: signal.raise_signal(signal.SIGINT))
    began = time.monotonic()

    outcome = live(given, stdout=stdout)

    run_id = only_run(service)
    assert outcome.exit_code == 130
    assert f"Run {run_id} is still running" in outcome.stderr
    assert service.runs[run_id].status == "running"
    assert time.monotonic() - began < 20.0


def test_interrupted_demo_names_no_run_when_none_was_started(service: FakeService, given: Path) -> None:
    outcome = live(given, stdout=ReactingText("costs money", lambda _: signal.raise_signal(signal.SIGINT)))

    assert outcome.exit_code == 130
    assert outcome.stderr == "Interrupted.\n"
    assert service.runs_created == 0


def test_exit_code_is_2_and_the_file_is_named_when_it_cannot_be_written(service: FakeService, given: Path) -> None:
    target = given.with_name("rows.csv")
    target.symlink_to(target)

    outcome = live(given)

    assert outcome.exit_code == 2
    assert "rows.csv" in outcome.stderr
    assert f"{only_run(service)} started" in outcome.stdout
