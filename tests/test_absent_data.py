"""A success without the data that it must have is a broken answer: never an empty list, an empty run, or no run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from documented_operations import BY_NAME, NOTHING, OPERATIONS, STARTS, Operation, answered, envelope, example
from either_client import AsyncCoreClaw

from coreclaw_async import (
    AbortedRun,
    AsyncPager,
    InvalidResponseError,
    OutcomeUnknownError,
    PaginationError,
    RetryPolicy,
    RunStatus,
)
from coreclaw_async.testing import FakeService, faults

pytestmark = pytest.mark.endurance

WORKER = "coreclaw/google-maps-scraper"
WORKER_LISTS = ["listStore", "listWorkers"]
COUNTED_LISTS = [
    "listWorkerTasks",
    "listWorkerRuns",
    "listRunQueueItems",
    "listWorkerRunResults",
    "listLastWorkerRunResults",
    "listWorkerLastRunResults",
]
LISTS = [*WORKER_LISTS, *COUNTED_LISTS, "listProxyRegions"]
# What may say nothing at all: aborts, deletions, updates, and what became of items of the queue.
SILENT = {operation.name for operation in OPERATIONS if operation.data is NOTHING}
ACTIONS = {"activateRunQueueItems", "releaseRunQueueItems", "releaseRunQueueItem"}
# There is one account, and a worker need not have a schema: nothing in these answers names what they are about.
UNNAMED = {"getAccount", "getWorkerInputSchema"}
TALKING = [operation for operation in OPERATIONS if operation.name not in SILENT | ACTIONS]


def by_name(operation: Operation) -> str:
    return operation.name


@pytest.mark.parametrize("data", [..., None, [], "text", 5], ids=["absent", "null", "a list", "a text", "a number"])
@pytest.mark.parametrize("operation", TALKING, ids=by_name)
async def test_success_without_data_is_a_broken_answer(operation: Operation, data: Any) -> None:
    with pytest.raises((InvalidResponseError, OutcomeUnknownError)) as caught:
        await answered(operation, envelope(data))

    assert (caught.value.status_code, caught.value.code) == (200, 0)


@pytest.mark.parametrize("operation", [op for op in TALKING if op.name != "getWorkerInputSchema"], ids=by_name)
async def test_data_without_members_is_a_broken_answer(operation: Operation) -> None:
    with pytest.raises((InvalidResponseError, OutcomeUnknownError)):
        await answered(operation, envelope({}))


@pytest.mark.parametrize("operation", [op for op in TALKING if op.name not in UNNAMED], ids=by_name)
async def test_data_that_does_not_say_what_it_is_about_is_a_broken_answer(operation: Operation) -> None:
    with pytest.raises((InvalidResponseError, OutcomeUnknownError)):
        await answered(operation, envelope({"other": 1}))


async def test_worker_without_a_schema_has_an_empty_one() -> None:
    assert (await answered(BY_NAME["getWorkerInputSchema"], envelope({}))).properties == ()


@pytest.mark.parametrize("data", [..., None, {}], ids=["absent", "null", "empty"])
@pytest.mark.parametrize("name", sorted(SILENT | ACTIONS))
async def test_what_has_nothing_to_tell_needs_no_data(name: str, data: Any) -> None:
    found = await answered(BY_NAME[name], envelope(data))

    if isinstance(found, AbortedRun):
        assert (found.status, found.extra) == (None, {})
    else:
        assert not found


@pytest.mark.parametrize("name", LISTS)
async def test_list_under_the_wrong_name_is_a_broken_answer(name: str) -> None:
    data = example(name)
    right, wrong = ("scraper", "list") if name in WORKER_LISTS else ("list", "scraper")
    data[wrong] = data.pop(right)

    for changed in (data, {**data, "count": 0}):
        with pytest.raises(InvalidResponseError, match=f"{right} is missing"):
            await answered(BY_NAME[name], envelope(changed))


@pytest.mark.parametrize("name", COUNTED_LISTS)
async def test_list_that_is_null_beside_a_count_is_a_broken_answer(name: str) -> None:
    for data in ({"list": None, "count": 1}, {"count": 1}, {"list": None}):
        with pytest.raises(InvalidResponseError, match=r"list is missing or null|neither list nor count"):
            await answered(BY_NAME[name], envelope(data))


@pytest.mark.parametrize("name", LISTS)
async def test_list_without_entries_is_empty(name: str) -> None:
    member = "scraper" if name in WORKER_LISTS else "list"
    for data in ({member: [], "count": 0}, {member: None, "count": 0}):
        assert len(await answered(BY_NAME[name], envelope(data))) == 0


@pytest.mark.parametrize("value", [{}, "text", 5, True])
@pytest.mark.parametrize("name", LISTS)
async def test_list_that_is_none_is_a_broken_answer(name: str, value: Any) -> None:
    member = "scraper" if name in WORKER_LISTS else "list"
    with pytest.raises(InvalidResponseError, match="expected a list"):
        await answered(BY_NAME[name], envelope({**example(name), member: value}))


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("getWorkerRun", "slug"),
        ("getWorkerRun", "status"),
        ("getLastWorkerRun", "slug"),
        ("getWorkerLastRun", "status"),
        ("getWorkerTask", "slug"),
        ("getWorkerTaskInput", "input"),
        ("getWorker", "name"),
        ("getWorkerRunLog", "list"),
        ("exportWorkerRunResults", "download_url"),
    ],
)
async def test_answer_that_does_not_say_what_it_speaks_of_is_broken(name: str, member: str) -> None:
    data = example(name)
    del data[member]

    with pytest.raises(InvalidResponseError, match=f"{member} is missing|data is empty"):
        await answered(BY_NAME[name], envelope(data))


@pytest.mark.parametrize("name", ["getWorkerRun", "getWorkerTask"])
async def test_answer_about_another_one_is_broken(name: str) -> None:
    with pytest.raises(InvalidResponseError, match="the answer is about another"):
        await answered(BY_NAME[name], envelope({**example(name), "slug": "another"}))


@pytest.mark.parametrize("name", ["getLastWorkerRun", "getWorkerLastRun"])
async def test_last_run_may_be_any(name: str) -> None:
    run = await answered(BY_NAME[name], envelope({**example(name), "slug": "another"}))

    assert (run.run_id, run.status) == ("another", RunStatus.RUNNING)


@pytest.mark.parametrize("name", ["createWorkerTask", "queuedRunWorker", *sorted(STARTS)])
async def test_start_whose_answer_has_no_id_is_unknown(name: str) -> None:
    with pytest.raises(OutcomeUnknownError) as caught:
        await answered(BY_NAME[name], envelope({"queued": True, "results": {}}))

    assert caught.value.candidates is None


ABSENT = {
    "null": faults.edit(lambda envelope: {**envelope, "data": None}),
    "absent": faults.edit(lambda envelope: {name: value for name, value in envelope.items() if name != "data"}),
    "without list and count": faults.edit(lambda envelope: {**envelope, "data": {"page_index": 1}}),
    "list is null": faults.edit(lambda envelope: {**envelope, "data": {**envelope["data"], "list": None}}),
}


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("loss", ABSENT)
async def test_page_of_results_that_once_came_without_data_is_read_again(loss: str, page: int, prefetch: int) -> None:
    service = FakeService()
    run_id = service.add_run(WORKER, rows=237)
    service.faults.add(ABSENT[loss], operation="listWorkerRunResults", after=page - 1)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        rows = [row async for row in client.runs.iterate_results(run_id, prefetch=prefetch)]

    assert len(rows) == len({str(row) for row in rows}) == 237
    assert service.faults.pending == 0


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("loss", ABSENT)
async def test_page_of_results_that_never_has_data_ends_in_an_error_and_not_in_fewer_rows(
    loss: str, page: int, prefetch: int
) -> None:
    service = FakeService()
    run_id = service.add_run(WORKER, rows=237)
    service.faults.add(ABSENT[loss], operation="listWorkerRunResults", after=page - 1, times=99)
    policy = RetryPolicy(max_attempts=2)
    rows: list[Any] = []
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=policy) as client:
        pager = client.runs.iterate_results(run_id, prefetch=prefetch)
        with pytest.raises((InvalidResponseError, PaginationError)):
            async for row in pager:
                rows.append(row)
        service.faults.clear()
        async for row in pager:
            rows.append(row)

    assert len(rows) == len({str(row) for row in rows}) == 237, "the position was kept"


@pytest.mark.parametrize("loss", ["null", "absent", "without list and count"])
@pytest.mark.parametrize("operation", ["listStore", "listWorkers", "listWorkerTasks", "listWorkerRuns"])
async def test_second_page_of_every_list_is_read_again(operation: str, loss: str) -> None:
    service = FakeService()
    for number in range(130):
        service.add_worker(f"acme/w{number}", owned=True)
        service.add_run(WORKER, age=0.0)
        service.add_task(WORKER, title=f"t{number}", input={})
    service.faults.add(ABSENT[loss], operation=operation, after=1)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        pagers: dict[str, Callable[[], AsyncPager[Any]]] = {
            "listStore": client.store.iterate,
            "listWorkers": client.workers.iterate,
            "listWorkerTasks": client.tasks.iterate,
            "listWorkerRuns": client.runs.iterate,
        }
        items = [item async for item in pagers[operation]()]

    assert len(items) >= 130
    assert service.faults.pending == 0


async def test_null_beside_a_count_is_a_broken_answer_to_who_asks_for_one_page() -> None:
    service = FakeService()
    run_id = service.add_run(WORKER, rows=237)
    service.faults.add(ABSENT["list is null"], operation="listWorkerRunResults", times=999)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(InvalidResponseError, match="list is missing or null, beside a count of 237"):
            await client.runs.list_results_page(run_id, offset=3, limit=100)


@pytest.mark.parametrize("odd", [None, "x", 5, True, [1]], ids=repr)
@pytest.mark.parametrize("prefetch", [0, 4])
async def test_row_that_is_no_object_is_named_and_keeps_the_position(odd: Any, prefetch: int) -> None:
    def spoil(envelope: dict[str, Any]) -> dict[str, Any]:
        rows = [odd if row["rank"] == 151 else row for row in envelope["data"]["list"]]
        return {**envelope, "data": {**envelope["data"], "list": rows}}

    service = FakeService()
    run_id = service.add_run(WORKER, rows=237)
    service.faults.add(faults.edit(spoil), operation="listWorkerRunResults", times=99)
    rows: list[Any] = []
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        pager = client.runs.iterate_results(run_id, prefetch=prefetch)
        with pytest.raises(InvalidResponseError, match=r"list\[50\]: a row must be an object") as caught:
            async for row in pager:
                rows.append(row)
        assert len(rows) == 100
        service.faults.clear()
        rows += await pager.collect()

    assert caught.value.run_id == run_id
    assert [row["rank"] for row in rows] == list(range(1, 238))
