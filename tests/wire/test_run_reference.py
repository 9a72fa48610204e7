"""Six actions on a run named in four ways are eighteen operations."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from coreclaw_async._wire.request import Safety
from coreclaw_async._wire.run_paths import RunAction, run_id_of, run_request
from coreclaw_async.models import LastRun, Run, RunRef, StartedRun

OPERATIONS: dict[RunAction, dict[str, str]] = {
    "get": {
        "getWorkerRun": "worker-runs/R",
        "getLastWorkerRun": "worker-runs/last",
        "getWorkerLastRun": "workers/o~n/runs/last",
    },
    "abort": {
        "abortWorkerRun": "worker-runs/R/abort",
        "abortLastWorkerRun": "worker-runs/last/abort",
        "abortWorkerLastRun": "workers/o~n/runs/last/abort",
    },
    "rerun": {
        "rerunWorkerRun": "worker-runs/R/rerun",
        "rerunLastWorkerRun": "worker-runs/last/rerun",
        "rerunWorkerLastRun": "workers/o~n/runs/last/rerun",
    },
    "log": {
        "getWorkerRunLog": "worker-runs/R/log",
        "getLastWorkerRunLog": "worker-runs/last/log",
        "getWorkerLastRunLog": "workers/o~n/runs/last/log",
    },
    "result": {
        "listWorkerRunResults": "worker-runs/R/result",
        "listLastWorkerRunResults": "worker-runs/last/result",
        "listWorkerLastRunResults": "workers/o~n/runs/last/result",
    },
    "export": {
        "exportWorkerRunResults": "worker-runs/R/result/export",
        "exportLastWorkerRunResults": "worker-runs/last/export",
        "exportWorkerLastRunResults": "workers/o~n/runs/last/export",
    },
}
REFERENCES: tuple[RunRef, ...] = ("R", LastRun(), LastRun(worker_id="o/n"))


def test_every_action_is_in_the_table() -> None:
    assert set(OPERATIONS) == set(get_args(RunAction))


@pytest.mark.parametrize("action", OPERATIONS)
def test_action_and_reference_choose_operation_and_path(action: RunAction) -> None:
    for (operation, path), run in zip(OPERATIONS[action].items(), REFERENCES, strict=True):
        request = run_request(action, run)

        assert (request.operation, request.path) == (operation, f"/api/v2/{path}")
        assert (request.method, request.safety) == ("GET", Safety.SAFE)


def test_other_members_of_the_request_are_passed_on() -> None:
    request = run_request("abort", LastRun("w"), method="POST", body=b"{}", safety=Safety.ONCE)

    assert (request.method, request.body, request.safety) == ("POST", b"{}", Safety.ONCE)


@pytest.mark.parametrize("run", ["R", Run(run_id="R"), StartedRun(run_id="R")])
def test_run_is_named_by_its_id_or_by_what_holds_it(run: RunRef) -> None:
    assert run_id_of(run) == "R"
    assert run_request("get", run).path == "/api/v2/worker-runs/R"


@pytest.mark.parametrize("run", [LastRun(), LastRun("owner/name")])
def test_last_run_has_no_id(run: LastRun) -> None:
    assert run_id_of(run) is None


@pytest.mark.parametrize("run", ["last", "", Run(), StartedRun(run_id="LAST"), "a/b", ".."])
def test_run_is_refused_when_its_id_would_reach_another_operation(run: RunRef) -> None:
    with pytest.raises(ValueError, match="run must"):
        run_request("abort", run)


def test_last_run_is_refused_when_its_worker_cannot_be_one() -> None:
    with pytest.raises(ValueError, match="worker_id must be a slug"):
        run_request("get", LastRun("a/b/c"))


@pytest.mark.parametrize("run", [None, 7, LastRun])
def test_run_is_refused_when_it_is_no_reference(run: Any) -> None:
    with pytest.raises(TypeError, match="run must be a str"):
        run_request("get", run)
