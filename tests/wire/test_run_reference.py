"""A run is named by its id, or is the account's or a worker's last run; each has a path of its own."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from documented_operations import LAST, LAST_OF_WORKER

from coreclaw_async._wire.request import Safety
from coreclaw_async._wire.run_paths import RunOperation, run_id_of, run_request
from coreclaw_async.models import LastRun, Run, RunRef, StartedRun

GET = RunOperation("getWorkerRun", last=("getLastWorkerRun", "getWorkerLastRun"))
ABORT = RunOperation("abortWorkerRun", ("abort",), "POST", last=("abortLastWorkerRun", "abortWorkerLastRun"))


@pytest.mark.parametrize("run", [LAST, LAST_OF_WORKER])
def test_last_run_is_refused_where_the_service_has_no_operation_for_it(run: LastRun) -> None:
    only_by_id = RunOperation("getWorkerRunThing", ("thing",))

    with pytest.raises(TypeError, match="run must be named by its id"):
        run_request(only_by_id, run)
    assert run_request(only_by_id, "R").path == "/api/v2/worker-runs/R/thing"


def test_other_members_of_the_request_are_passed_on() -> None:
    request = run_request(ABORT, LastRun("w"), body=b"{}", safety=Safety.ONCE)

    assert (request.method, request.body, request.safety) == ("POST", b"{}", Safety.ONCE)


@pytest.mark.parametrize("run", ["R", Run(run_id="R"), StartedRun(run_id="R")])
def test_run_is_named_by_its_id_or_by_what_holds_it(run: RunRef) -> None:
    assert run_id_of(run) == "R"
    assert run_request(GET, run).path == "/api/v2/worker-runs/R"


@pytest.mark.parametrize("run", [LastRun(), LastRun("owner/name")])
def test_last_run_has_no_id(run: LastRun) -> None:
    assert run_id_of(run) is None


@pytest.mark.parametrize("run", ["last", "", Run(), StartedRun(run_id="LAST"), "a/b", ".."])
def test_run_is_refused_when_its_id_would_reach_another_operation(run: RunRef) -> None:
    with pytest.raises(ValueError, match="run must"):
        run_request(ABORT, run)


def test_last_run_is_refused_when_its_worker_cannot_be_one() -> None:
    with pytest.raises(ValueError, match="worker_id must be an id"):
        run_request(GET, LastRun("a/b/c"))


@pytest.mark.parametrize("run", [None, 7, b"R", ["R"], LastRun])
def test_run_is_refused_when_it_is_no_reference_and_all_kinds_are_named(run: Any) -> None:
    for refuse in (run_id_of, functools.partial(run_request, GET)):
        with pytest.raises(TypeError, match=r"run must be its id \(a str\), a Run, a StartedRun or a LastRun, not "):
            refuse(run)
