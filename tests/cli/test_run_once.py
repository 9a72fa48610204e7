"""``run --once KEY``: the same command again follows the same run and pays nothing."""

from __future__ import annotations

import json
import shlex
import threading
from pathlib import Path

import anyio
import pytest
from cli.command_line import Outcome, in_environment, invoke
from interrupting import interrupt_once
from waiting import join, wait_until

from coreclaw_async import AsyncCoreClaw, OutcomeUnknownError
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
RUN = ("run", WORKER, "-i", '{"keywords": ["coffee"]}', "--once", "coffee")


def run_of(service: FakeService) -> str:
    (run_id,) = service.runs
    return run_id


def again(*options: str) -> Outcome:
    return invoke(*RUN, *options)


def test_second_command_follows_the_same_run_and_says_that_nothing_was_started(
    served: FakeService, ledger: str
) -> None:
    first, second = again(), again()

    run_id = run_of(served)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.stderr == f"Run {run_id} started.\n"
    assert second.stderr == f"Key 'coffee' has run {run_id}: nothing was started.\n"
    assert first.stdout == second.stdout
    assert run_id in first.stdout
    assert served.runs_created == 1
    assert Path(ledger).exists()


def test_rows_are_written_each_time(served: FakeService, ledger: str, tmp_path: Path) -> None:
    for _ in range(2):
        target = tmp_path / "rows.jsonl"
        assert again("-o", str(target)).exit_code == 0
        assert len(target.read_text().splitlines()) == 2
        target.unlink()
    assert served.runs_created == 1


def test_ledger_is_runs_db_unless_another_one_is_named(
    served: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CORECLAW_LEDGER", raising=False)

    assert again().exit_code == 0
    assert again("--ledger", "other.db").exit_code == 0
    assert {path.name for path in tmp_path.glob("*.db")} == {"runs.db", "other.db"}
    assert served.runs_created == 2


def test_run_that_fails_exits_as_run_does_each_time(served: FakeService, ledger: str) -> None:
    served.default_script = RunScript(duration=0.0, outcome="failed", error_message="no such place")
    for _ in range(2):
        outcome = again("--json")
        assert outcome.exit_code == 1
        assert json.loads(outcome.stdout.splitlines()[-1])["run_id"] == run_of(served)
    assert served.runs_created == 1


def test_timeout_exits_as_run_does_and_the_next_command_goes_on(served: FakeService, ledger: str) -> None:
    served.default_script = RunScript(duration=60.0)

    late = again("--timeout", "1.5")
    assert late.exit_code == 5
    assert f"to wait again:  coreclaw-async wait {run_of(served)}" in late.stderr
    served.finish(run_of(served))
    assert again().exit_code == 0
    assert served.runs_created == 1


def test_timeout_before_a_start_is_reported_without_a_run(served: FakeService, ledger: str) -> None:
    served.faults.add(faults.status(502), times=10_000)

    late = again("--timeout", "3")  # Within which the ledger is opened, also on a busy machine.
    assert late.exit_code == 5
    assert "no run of key" in late.stderr
    assert served.runs_created == 0


def test_interrupt_names_the_run(served: FakeService, ledger: str) -> None:
    served.default_script = RunScript(duration=60.0)

    with interrupt_once(lambda: any(request.operation == "getWorkerRun" for request in served.requests)):
        outcome = again()
    assert outcome.exit_code == 130
    assert run_of(served) in outcome.stderr


def test_command_pays_once_although_its_ledger_vanishes_while_the_run_goes_on(served: FakeService, ledger: str) -> None:
    served.default_script = RunScript(duration=60.0)

    def lose_and_finish() -> None:
        Path(ledger).unlink()
        served.finish(run_of(served))

    def watch() -> None:
        wait_until(lambda: any(one.operation == "getWorkerRun" for one in served.requests), "a look at the run")
        lose_and_finish()

    thread = threading.Thread(target=watch)
    thread.start()
    outcome = again()
    join(thread)
    assert (outcome.exit_code, served.runs_created) == (0, 1)
    assert f"Run {run_of(served)} started." in outcome.stderr


def test_id_is_told_although_the_run_cannot_be_seen(served: FakeService, ledger: str) -> None:
    served.faults.add(faults.status(502), operation="getWorkerRun", times=10_000)

    first, second = again("--timeout", "1"), again("--timeout", "1")
    assert (first.exit_code, second.exit_code) == (5, 5)
    assert first.stderr.startswith(f"Run {run_of(served)} started.\n")
    assert f"Key 'coffee' has run {run_of(served)}: nothing was started." in second.stderr
    assert "has not ended within 1 s" in first.stderr
    assert served.runs_created == 1


def test_start_that_is_not_answered_in_time_may_have_started_a_run(served: FakeService, ledger: str) -> None:
    served.faults.add(faults.commit_then_drop(), operation="runWorker")

    outcome = again("--timeout", "3", "--json")
    assert outcome.exit_code == 4
    assert "A run may have been started, and may cost money" in outcome.stderr
    assert "no run" not in outcome.stderr
    (told,) = map(json.loads, outcome.stdout.splitlines())
    assert (told["exit_code"], told["run_id"], told["type"]) == (4, None, "OutcomeUnknownError")


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_run_that_was_being_started_when_the_wait_ended_is_aborted(
    served: FakeService, ledger: str, is_interrupted: bool
) -> None:
    served.default_script = RunScript(duration=60.0)
    served.faults.add(faults.delay(0.3 if is_interrupted else 2.0), operation="runWorker")

    if is_interrupted:
        with interrupt_once(lambda: any(request.operation == "runWorker" for request in served.requests)):
            outcome = again("--abort-on-interrupt")
    else:
        outcome = again("--abort-on-interrupt", "--timeout", "1.2")
    assert outcome.exit_code == (130 if is_interrupted else 5)
    assert f"Asked to abort run {run_of(served)}" in outcome.stderr
    assert str(served.runs[run_of(served)].status) in {"aborting", "aborted"}


async def _hold(service: FakeService, ledger: str, timeout: float | None = None, account: str | None = None) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.workers.run_once(
                "coffee", WORKER, {"keywords": ["coffee"]}, ledger=ledger, timeout=timeout, account=account
            )


@pytest.mark.parametrize("account", [None, "acme shop"])
def test_held_key_is_told_with_the_command_that_decides(
    ledger: str, account: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = "" if account is None else "--account 'acme shop' "
    service = FakeService()
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    anyio.run(_hold, service, ledger, None, account)

    with in_environment(service, monkeypatch):
        outcome = again("--json", *shlex.split(named))
        assert outcome.exit_code == 4
        decide = f"coreclaw-async batch resolve once:coffee {named}coffee --adopt {run_of(service)}"
        assert f"  to decide:  {decide}\n" in outcome.stderr
        assert json.loads(outcome.stdout)["candidates"] == [run_of(service)]
        assert invoke(*shlex.split(decide)[1:]).exit_code == 0
    assert service.runs_created == 1


@pytest.mark.endurance
def test_lost_start_is_settled_where_nobody_else_starts_runs(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService(default_script=RunScript(duration=0.0))
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    anyio.run(_hold, service, ledger, 5.0)
    service.clock.advance(300.0)  # More than it takes until the list of runs tells.

    with in_environment(service, monkeypatch):
        assert again("--exclusive").exit_code == 0
    assert service.runs_created == 1


def test_another_key_of_a_named_account_finds_the_run(served: FakeService, ledger: str) -> None:
    assert again("--account", "acme shop").exit_code == 0

    assert "nothing was started" in again("--account", "acme shop").stderr
    assert "belongs to account 'acme shop'" in again().stderr
    assert served.runs_created == 1


def test_other_input_is_refused_before_anything_is_sent(served: FakeService, ledger: str) -> None:
    assert again().exit_code == 0
    asked = len(served.requests)
    outcome = invoke("run", WORKER, "-i", '{"keywords": ["tea"]}', "--once", "coffee")

    assert outcome.exit_code == 2
    assert "input.keywords[0] has changed; nothing was sent" in outcome.stderr
    assert len(served.requests) == asked


def test_start_that_is_refused_exits_as_run_does(served: FakeService, ledger: str) -> None:
    served.faults.add(faults.error(50001, 404), operation="runWorker")

    assert again().exit_code == 3
    assert served.runs_created == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--once", ""], "key must be printable"),
        (["--once", "coffee", "--ledger", "memory"], "the next call would pay again"),
        (["--ledger", "runs.db"], "--ledger, --exclusive and --account are for --once KEY"),
        (["--account", "acme"], "--ledger, --exclusive and --account are for --once KEY"),
        (["--exclusive"], "--ledger, --exclusive and --account are for --once KEY"),
    ],
)
def test_wrong_option_is_a_mistake_and_nothing_is_sent(served: FakeService, options: list[str], message: str) -> None:
    outcome = invoke(*RUN[:4], *options)

    assert outcome.exit_code == 2
    assert message in outcome.stderr
    assert served.requests == []
