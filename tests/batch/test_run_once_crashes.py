"""Real processes ask for the run of a key and are killed with SIGKILL at every step: it is paid for once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch import once_process
from waiting import PATIENCE, wait_until

from coreclaw_async.testing import FakeService, RunScript, faults

pytestmark = pytest.mark.endurance

OWN_STAGES = ("before_intent", "after_intent", "answered", "after_run_id", "polling", "recorded")
# At these the service holds the process up, and the test kills it.
HELD_STAGES = {"on_the_wire": faults.stall(commit=False), "accepted_and_unanswered": faults.stall(commit=True)}


class Place:
    """A service on a socket, and a ledger that all processes use."""

    def __init__(self, service: FakeService, url: str, ledger: Path, base: float) -> None:
        self.service = service
        self._arguments = [url, str(ledger), str(base)]

    @property
    def paid(self) -> list[str]:
        return [run_id for run_id, run in self.service.runs.items() if run.paid]

    def begin(self, stage: str = "none", *, exclusive: bool = False) -> subprocess.Popen[str]:
        kind = "exclusive" if exclusive else "shared"
        arguments = [sys.executable, once_process.__file__, *self._arguments, stage, kind]
        return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)

    def result(self, process: subprocess.Popen[str]) -> list[str]:
        told, _ = process.communicate(timeout=PATIENCE)
        return told.split()

    def kill_at(self, stage: str) -> None:
        if stage in HELD_STAGES:
            self.service.faults.add(HELD_STAGES[stage], operation="runWorker")
        process = self.begin(stage)
        if stage in HELD_STAGES:
            wait_until(lambda: any(one.operation == "runWorker" for one in self.service.requests), stage)
            process.kill()
        self.result(process)
        assert process.returncode == -signal.SIGKILL, f"the process was not killed at {stage}"
        self.service.faults.clear()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    base = time.time()
    service = FakeService(clock=once_process.FastClock(base), default_script=RunScript(rows=2, duration=20.0))
    with service.serve() as server:
        yield Place(service, server.url, tmp_path / "runs.db", base)


@pytest.mark.parametrize("stage", [*OWN_STAGES, "on_the_wire"])
def test_killed_process_is_followed_by_one_that_returns_the_one_run(place: Place, stage: str) -> None:
    place.kill_at(stage)
    run_id, status = place.result(place.begin(exclusive=stage == "answered"))

    assert place.paid == [run_id]
    assert status == "succeeded"
    assert place.result(place.begin()) == [run_id, status]
    assert place.paid == [run_id]


def test_process_killed_before_its_answer_leaves_a_held_key_that_is_not_paid_again(place: Place) -> None:
    place.kill_at("accepted_and_unanswered")
    for _ in range(2):
        assert place.result(place.begin()) == ["OutcomeUnknownError", *place.paid]
    assert len(place.paid) == 1


def test_where_nobody_else_starts_runs_a_process_killed_before_its_answer_has_a_run(place: Place) -> None:
    place.kill_at("accepted_and_unanswered")
    run_id, status = place.result(place.begin(exclusive=True))

    assert place.paid == [run_id]
    assert status == "succeeded"


def test_processes_at_the_same_time_return_one_run(place: Place) -> None:
    processes = [place.begin() for _ in range(3)]
    told = [place.result(process) for process in processes]

    (run_id,) = place.paid
    assert told == [[run_id, "succeeded"]] * 3
