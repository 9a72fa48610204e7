"""What an abort returns: the run if its id is known, and its end where the service waited for it."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest
from either_client import AsyncCoreClaw
from hypothesis import given, settings
from hypothesis import strategies as st

import coreclaw_async
from coreclaw_async import AbortedRun, LastRun, NotFoundError, OutcomeUnknownError, RunOperationError, RunRef
from coreclaw_async.testing import FakeService, RunScript, faults
from coreclaw_async.testing.faults import Fault

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
RUN = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
ABORTS = ["abortWorkerRun", "abortLastWorkerRun", "abortWorkerLastRun"]


def with_data(data: Any) -> Fault:
    """Answer with this data, where the service gives none."""
    return faults.edit(lambda envelope: {**envelope, "data": data})


def answer_with(service: FakeService, data: Any) -> None:
    for operation in ABORTS:
        service.faults.add(with_data(data), operation=operation)


async def test_an_abort_tells_the_run_and_the_request(client: AsyncCoreClaw, service: FakeService) -> None:
    started = await client.workers.start_run(WORKER, INPUT)

    aborted = await client.runs.abort(started)

    assert isinstance(aborted, AbortedRun)
    assert aborted == AbortedRun(run_id=started.run_id, request_id=aborted.request_id)
    assert aborted.request_id
    assert aborted.request_id.startswith("req-")
    assert service.clock.monotonic() == 0, "nobody has waited"


@pytest.mark.parametrize("run", [LastRun(), LastRun(WORKER)])
async def test_an_abort_of_the_last_run_tells_which_it_was_when_the_service_does(
    client: AsyncCoreClaw, service: FakeService, run: LastRun
) -> None:
    service.add_run(WORKER, status="running")

    assert (await client.runs.abort(run)).run_id is None
    for name in ("run_slug", "slug", "run_id", "id"):
        answer_with(service, {name: RUN})
        assert (await client.runs.abort(run)).run_id == RUN


async def test_the_service_knows_better_than_the_caller_which_run_it_was(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    started = await client.workers.start_run(WORKER, INPUT)
    answer_with(service, {"run_slug": RUN, "note": "the newest"})

    aborted = await client.runs.abort(started)

    assert (aborted.run_id, aborted.extra) == (RUN, {"note": "the newest"})


async def test_an_abort_that_waits_returns_the_end_and_the_rows(client: AsyncCoreClaw, service: FakeService) -> None:
    service.next_script = RunScript(rows=40, duration=40, abort_after=5)
    started = await client.workers.start_run(WORKER, INPUT)
    service.clock.advance(20)

    aborted = await client.runs.abort(started, is_async=False, offset=0, limit=4)

    assert service.clock.monotonic() == 25, "as long as the run took to stop"
    assert (aborted.run_id, aborted.status, aborted.is_finished) == (started.run_id, "aborted", True)
    assert aborted.duration == 25.0
    assert aborted.started_at is not None
    assert aborted.finished_at is not None
    assert (aborted.finished_at - aborted.started_at).total_seconds() == 25
    assert aborted.results is not None
    assert (len(aborted.results.items), aborted.results.count) == (4, 20)


@pytest.mark.parametrize("run", [LastRun(), LastRun(WORKER)])
async def test_an_abort_of_the_last_run_that_waits_names_it(
    client: AsyncCoreClaw, service: FakeService, run: LastRun
) -> None:
    started = await client.workers.start_run(WORKER, INPUT)

    assert (await client.runs.abort(run, is_async=False)).run_id == started.run_id


async def test_an_abort_waits_for_five_minutes_at_most(client: AsyncCoreClaw, service: FakeService) -> None:
    service.next_script = RunScript(abort="stuck")
    started = await client.workers.start_run(WORKER, INPUT)

    aborted = await client.runs.abort(started, is_async=False)

    assert service.clock.monotonic() == 300
    assert (aborted.status, aborted.finished_at, aborted.is_finished) == ("aborting", None, False)


@pytest.mark.parametrize("fault", [faults.commit_then_drop(), faults.commit_then_status(502)], ids=["drop", "502"])
async def test_a_refused_repetition_of_an_abort_is_the_abort(
    client: AsyncCoreClaw, service: FakeService, fault: Fault
) -> None:
    service.next_script = RunScript(abort_after=0.0)
    service.faults.add(fault, operation="abortWorkerRun")
    started = await client.workers.start_run(WORKER, INPUT)
    aborted = await client.runs.abort(started)

    assert aborted == AbortedRun(run_id=started.run_id, request_id=aborted.request_id)
    assert aborted.request_id is not None, "that of the refusal"


async def test_a_run_that_has_ended_cannot_be_aborted(client: AsyncCoreClaw, service: FakeService) -> None:
    ended = service.add_run(WORKER)

    with pytest.raises(RunOperationError) as caught:
        await client.runs.abort(ended)
    assert caught.value.run_id == ended
    with pytest.raises(NotFoundError):
        await client.runs.abort(RUN)


async def test_nobody_can_tell_which_last_run_a_lost_answer_was_about(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.add_run(WORKER, status="running")
    service.faults.add(faults.commit_then_drop(), operation="abortLastWorkerRun")

    with pytest.raises(OutcomeUnknownError) as caught:
        await client.runs.abort(LastRun())
    assert caught.value.run_id is None


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        [],
        [{"run_slug": "x"}],
        "done",
        7,
        True,
        {"run_slug": ""},
        {"run_slug": None},
        {"run_slug": True},
        {"run_slug": 1.5},
        {"run_slug": {}},
        {"run_slug": "last"},
        {"run_slug": "a/b"},
        {"run_slug": " "},
    ],
)
async def test_an_odd_answer_to_an_abort_leaves_the_given_id(
    client: AsyncCoreClaw, service: FakeService, data: Any
) -> None:
    started = await client.workers.start_run(WORKER, INPUT)
    answer_with(service, data)

    aborted = await client.runs.abort(started)

    assert aborted.run_id == started.run_id
    assert aborted.request_id is not None


async def test_members_that_cannot_be_read_are_kept_as_they_came(client: AsyncCoreClaw, service: FakeService) -> None:
    service.add_run(WORKER, status="running")
    odd = {"run_slug": RUN, "run_status": "aborted", "results": {"list": [5]}, "running_duration": "long"}
    answer_with(service, odd)

    aborted = await client.runs.abort(LastRun())

    assert aborted.run_id == RUN
    assert aborted.extra["results"] == {"list": [5]}
    assert aborted.extra["running_duration"] == "long"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = [
    "run_slug", "slug", "run_id", "id", "run_status", "execution_start_timestamp", "execution_end_timestamp",
    "running_duration", "is_finished", "error_message", "result_message", "results", "request_id", "extra",
]  # fmt: skip


@settings(max_examples=50)
@given(
    data=JSON | st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=5),
    run=st.sampled_from([RUN, LastRun(), LastRun("owner/name")]),
)
def test_any_success_of_an_abort_is_an_aborted_run(data: Any, run: RunRef) -> None:
    """Whatever the data says, the service has accepted the abort."""

    def answer(_: httpx.Request) -> httpx.Response:
        envelope = {"code": 0, "message": "success", "request_id": "req-1", "data": data}
        return httpx.Response(200, content=json.dumps(envelope))

    async def main() -> AbortedRun:
        transport = httpx.MockTransport(answer)
        async with coreclaw_async.AsyncCoreClaw("key", transport=transport) as client:
            return await client.runs.abort(run)

    aborted = anyio.run(main)

    assert aborted.request_id == "req-1"
    assert isinstance(aborted.run_id, str | None)
    if isinstance(run, str):
        assert aborted.run_id
