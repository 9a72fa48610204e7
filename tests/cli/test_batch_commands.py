"""``batch plan|run|report|resolve`` against an emulator on a real socket, and in a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from cli.command_line import Outcome, invoke, run_in_terminal, without_escapes
from interrupting import interrupt_once

from coreclaw_async import CoreClaw, RunSpec, SettleTimes
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    service = FakeService(clock=RealClock(), default_script=RunScript(rows=2, duration=0.0))
    with service.serve() as server:
        monkeypatch.setenv("CORECLAW_API_KEY", service.api_key)
        monkeypatch.setenv("CORECLAW_BASE_URL", server.url)
        yield service


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


def lines(tmp_path: Path, *specs: object) -> str:
    path = tmp_path / "specs.jsonl"
    path.write_text("\n".join(spec if isinstance(spec, str) else json.dumps(spec) for spec in specs))
    return str(path)


def batch(service: FakeService, name: str, ledger: str, *arguments: str) -> Outcome:
    outcome = invoke("batch", name, "nightly", *arguments, "--ledger", ledger)
    assert service.api_key not in outcome.stdout + outcome.stderr
    assert "Traceback" not in outcome.stderr
    return outcome


def planned(service: FakeService, ledger: str, tmp_path: Path, count: int = 3) -> None:
    specs = [{"key": f"k{number}", "input": {"keywords": [f"k{number}"]}} for number in range(count)]
    outcome = batch(service, "plan", ledger, "-i", lines(tmp_path, *specs), "--worker", WORKER)
    assert (outcome.exit_code, outcome.stdout) == (0, f"{count} new items; {count} in all.\n"), outcome.stderr


def held(service: FakeService, ledger: str) -> str:
    """Have one item held, and return the run that it lost."""
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    quick = SettleTimes(send_window=0.5, post_timeout=0.5, skew=1.5, list_lag=0.1)
    with CoreClaw() as client, client.batch("nightly", ledger=ledger, settle_times=quick) as opened:
        opened.plan([RunSpec(key="k0", worker_id=WORKER, input={"keywords": ["k0"]})])
        (outcome,) = opened.run()
    return outcome.candidates[0]


def test_a_batch_is_planned_run_and_reported(service: FakeService, ledger: str, tmp_path: Path) -> None:
    planned(service, ledger, tmp_path)
    again = batch(service, "plan", ledger, "-i", str(tmp_path / "specs.jsonl"), "--worker", WORKER)
    ran = batch(service, "run", ledger, "--output", str(tmp_path / "rows"), "--max-in-flight", "2", "--exclusive")
    told = batch(service, "report", ledger)

    assert again.stdout == "0 new items; 3 in all.\n"
    assert (ran.exit_code, ran.stdout) == (0, "state\titems\ndone\t3\n")
    assert "3 items, 3 runs with 6 rows; $0.006." in ran.stderr == told.stderr
    assert len(list((tmp_path / "rows").iterdir())) == 3
    assert service.runs_created == 3


def test_outcomes_and_reports_are_lines_of_json(service: FakeService, ledger: str, tmp_path: Path) -> None:
    planned(service, ledger, tmp_path)
    ran = batch(service, "run", ledger, "--json")
    (told,) = (json.loads(line) for line in batch(service, "report", ledger, "--json").stdout.splitlines())

    outcomes = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {outcome["key"]: outcome["state"] for outcome in outcomes} == dict.fromkeys(("k0", "k1", "k2"), "done")
    assert outcomes[0]["run"]["usage"] == "0.002"
    assert (told["counts"]["done"], told["cost"], told["held"]) == (3, "0.006", [])


def test_specs_may_come_from_standard_input(service: FakeService, ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"key": "a", "worker_id": WORKER, "input": {"keywords": ["a"]}, "system": {"proxy_region": "US"}}
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"\n{json.dumps(spec)}\n\n"))

    assert batch(service, "plan", ledger, "-i", "-").stdout == "1 new items; 1 in all.\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2: Expecting property name"),
        ("[1]", "line 2: it must be a JSON object"),
        ('{"input": {}}', "line 2: it must hold a key, and a worker_id"),
        ('{"key": "x", "worker": "w"}', "line 2: it may hold input, key, system, version, worker_id, not worker"),
    ],
)
def test_a_bad_line_is_named(service: FakeService, ledger: str, tmp_path: Path, line: str, words: str) -> None:
    given = lines(tmp_path, {"key": "a", "worker_id": WORKER}, line)
    outcome = batch(service, "plan", ledger, "-i", given)

    assert outcome.exit_code == 2
    assert words in " ".join(outcome.stderr.split())


def test_a_worker_must_be_named_somewhere(service: FakeService, ledger: str, tmp_path: Path) -> None:
    assert batch(service, "plan", ledger, "-i", lines(tmp_path, {"key": "a"})).exit_code == 2


def test_a_conflict_is_the_callers_mistake(service: FakeService, ledger: str, tmp_path: Path) -> None:
    planned(service, ledger, tmp_path)
    other = lines(tmp_path, {"key": "k1", "worker_id": WORKER, "input": {}})
    outcome = batch(service, "plan", ledger, "-i", other)

    assert outcome.exit_code == 2
    assert "key 'k1' of batch 'nightly' was planned with another" in outcome.stderr


def test_what_failed_ends_with_one(service: FakeService, ledger: str, tmp_path: Path) -> None:
    service.script_next(RunScript(outcome="failed", duration=0.0))
    planned(service, ledger, tmp_path)
    ran = batch(service, "run", ledger)

    assert ran.exit_code == 1
    assert "failed\t1" in ran.stdout


def test_what_is_held_is_told_and_can_be_adopted(service: FakeService, ledger: str) -> None:
    lost = held(service, ledger)
    ran = batch(service, "run", ledger)
    shown = batch(service, "resolve", ledger, "k0")
    adopted = batch(service, "resolve", ledger, "k0", "--adopt", lost, "--json")
    done = batch(service, "run", ledger)

    assert ran.exit_code == 1
    assert f"Held: k0, which may be run {lost}, or none." in ran.stderr
    assert "coreclaw-async batch resolve nightly KEY --ledger ... --adopt RUN" in ran.stderr
    assert lost in shown.stdout
    assert json.loads(adopted.stdout)["state"] == "submitted"
    assert "callback_url" not in adopted.stdout
    assert (done.exit_code, service.runs_created) == (0, 1)


def test_what_is_held_can_be_started_again(service: FakeService, ledger: str) -> None:
    held(service, ledger)
    resolved = batch(service, "resolve", ledger, "k0", "--resubmit")
    again = batch(service, "resolve", ledger, "k0", "--resubmit")

    assert "planned" in resolved.stdout
    assert again.exit_code == 2
    assert "only what is ambiguous can be resolved" in again.stderr


def test_an_item_that_is_not_there_is_named(service: FakeService, ledger: str) -> None:
    outcome = batch(service, "resolve", ledger, "none")

    assert outcome.exit_code == 2
    assert "batch 'nightly' has no item 'none'" in " ".join(outcome.stderr.split())


def test_without_balance_it_stops_with_three(service: FakeService, ledger: str, tmp_path: Path) -> None:
    service.balance = Decimal(0)
    planned(service, ledger, tmp_path)
    outcome = batch(service, "run", ledger)

    assert outcome.exit_code == 3
    assert "the balance does not cover another run: 0" in outcome.stderr


def test_a_budget_must_be_an_amount(service: FakeService, ledger: str, tmp_path: Path) -> None:
    planned(service, ledger, tmp_path)

    assert batch(service, "run", ledger, "--max-spend", "much").exit_code == 2
    assert batch(service, "run", ledger, "--max-spend", "-1").exit_code == 2
    assert batch(service, "run", ledger, "--max-spend", "0.002").exit_code == 3
    assert service.runs_created == 1


def test_a_ledger_that_is_none_is_told_without_its_password(service: FakeService, tmp_path: Path) -> None:
    for ledger in ("postgresql://me:pa55@127.0.0.1:9/x", "mysql://me:pa55@h/x", str(tmp_path)):
        outcome = batch(service, "report", ledger)
        assert outcome.exit_code == 2
        assert "pa55" not in outcome.stderr


def test_an_empty_batch_is_reported_in_a_line(service: FakeService, ledger: str) -> None:
    outcome = batch(service, "report", ledger)

    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert "0 items, 0 runs with 0 rows; $0.00." in outcome.stderr


def test_ctrl_c_leaves_the_runs_and_the_same_command_goes_on(service: FakeService, ledger: str, tmp_path: Path) -> None:
    service.default_script = RunScript(rows=1, duration=2.0)
    planned(service, ledger, tmp_path)
    with interrupt_once(lambda: service.runs_created == 3):
        ran = batch(service, "run", ledger)
    done = batch(service, "run", ledger)

    assert ran.exit_code == 130
    assert "Runs that were started go on and cost what they cost." in ran.stderr
    assert "the same command goes on with them, and starts nothing twice" in ran.stderr
    assert (done.exit_code, service.runs_created) == (0, 3)


def test_a_terminal_shows_where_it_stands(service: FakeService, ledger: str, tmp_path: Path) -> None:
    service.default_script = RunScript(rows=1, duration=0.5)
    planned(service, ledger, tmp_path, count=6)
    settings = {name: os.environ[name] for name in ("CORECLAW_API_KEY", "CORECLAW_BASE_URL")}
    code, text = run_in_terminal(
        "batch", "run", "nightly", "--ledger", ledger, "--max-in-flight", "3", COLUMNS="160", **settings
    )
    shown = without_escapes(text)

    assert code == 0
    for words in (r"[1-5] planned, [123] running, \d done, 0 failed, 0 held, \$", r"\d+ requests, [3-6] starts/min"):
        assert re.search(words, shown), shown
    assert "6 items, 6 runs with 6 rows; $0.006." in shown
