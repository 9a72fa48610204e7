"""The rows of a run: all when it has ended; those so far, or those to come, where asked for."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import (
    AuthenticationError,
    InvalidResponseError,
    LastRun,
    NotFoundError,
    PaginationError,
    RunAbortedError,
    RunNotFinishedError,
    WaitTimeoutError,
)
from coreclaw_async.testing import FakeService, RealClock, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"


def going_run(service: FakeService, rows: int = 25, **script: Any) -> str:
    """Return a run that ends in 60 seconds and finds its rows one after another."""
    script.setdefault("statuses", [(0.0, "running"), (90.0, "succeeded")])
    return service.add_run(WORKER, script=RunScript(rows=rows, **script), age=30.0)


def ranks(rows: Sequence[Any]) -> list[int]:
    return [row["rank"] for row in rows]


def asked(service: FakeService) -> list[str | None]:
    return [request.operation for request in service.requests]


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("max_items", [None, 3])
async def test_rows_of_a_run_that_goes_on_are_an_error(
    client: AsyncCoreClaw, service: FakeService, prefetch: int, max_items: int | None
) -> None:
    run_id = going_run(service)

    with pytest.raises(RunNotFinishedError) as caught:
        await client.runs.iterate_results(run_id, prefetch=prefetch, max_items=max_items).collect()

    error = caught.value
    assert isinstance(error, PaginationError)
    assert error.run_id == run_id
    assert error.run is not None
    assert error.run.status == "running"
    assert error.items == ()
    assert pickle.loads(pickle.dumps(error)).run == error.run
    assert sorted(map(str, asked(service))) in (["getWorkerRun", "listWorkerRunResults"], ["getWorkerRun"])


async def test_rows_so_far_come_when_they_are_asked_for(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = going_run(service)

    rows = await client.runs.iterate_results(run_id, partial=True).collect()

    assert 0 < len(rows) < 25
    assert asked(service) == ["listWorkerRunResults"]


async def test_same_iterator_goes_on_once_the_run_has_ended(client: AsyncCoreClaw, service: FakeService) -> None:
    pager = client.runs.iterate_results(going_run(service))
    with pytest.raises(RunNotFinishedError):
        await pager.collect()

    service.clock.advance(61)

    assert ranks(await pager.collect()) == list(range(1, 26))


async def test_last_run_is_resolved_once_and_its_state_is_not_read_again(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.add_run(WORKER, rows=25)

    rows = await client.runs.iterate_results(LastRun(), page_size=10).collect()

    assert len(rows) == 25
    assert asked(service) == ["getLastWorkerRun", *["listWorkerRunResults"] * 3]


@pytest.mark.parametrize("options", [{}, {"partial": True}, {"follow": True}])
async def test_last_run_that_goes_on_is_one_run_whatever_starts_meanwhile(
    client: AsyncCoreClaw, service: FakeService, options: dict[str, bool]
) -> None:
    run_id = going_run(service)
    pager = client.runs.iterate_results(LastRun(WORKER), page_size=3, **options)

    if not options:
        with pytest.raises(RunNotFinishedError, match=run_id):
            await pager.first()
        return
    first = await pager.first()
    service.add_run(WORKER, rows=77)
    rows = await pager.collect()

    assert first is not None
    assert ranks([first, *rows]) == list(range(1, 26 if "follow" in options else len(rows) + 2))


async def test_state_that_is_known_is_not_asked_for(client: AsyncCoreClaw, service: FakeService) -> None:
    run = await client.runs.get(service.add_run(WORKER, rows=25))
    service.requests.clear()

    assert len(await client.runs.iterate_results(run).collect()) == 25
    assert asked(service) == ["listWorkerRunResults"]


async def test_state_of_a_run_that_had_not_ended_is_read_again(client: AsyncCoreClaw, service: FakeService) -> None:
    run = await client.runs.get(going_run(service))
    service.clock.advance(61)

    assert len(await client.runs.iterate_results(run).collect()) == 25


def answers(states: Sequence[dict[str, Any]], pages: Sequence[list[int]], count: bool = True) -> httpx.MockTransport:
    """Return a service that shows one state and one page of rows after another, the last of each for ever."""
    looks = iter([*states, *[states[-1]] * 999])
    reads = iter([*pages, *[pages[-1]] * 999])

    def answer(request: httpx.Request) -> httpx.Response:
        data: dict[str, Any]
        if request.url.path.endswith("/result"):
            ids = next(reads)
            start = (max(1, int(request.url.params["offset"])) - 1) * int(request.url.params["limit"])
            page = ids[start : start + int(request.url.params["limit"])]
            data = {"list": [{"__coreclaw_data_id__": str(number)} for number in page]}
            data.update({"count": len(ids)} if count else {})
        else:
            data = {"slug": "01KKDXV2G26BT7NH4ZQR2R4NPZ", **next(looks)}
        return httpx.Response(200, json={"code": 0, "message": "success", "data": data})

    return httpx.MockTransport(answer)


RUN_ID = "01KKDXV2G26BT7NH4ZQR2R4NPZ"
SUCCEEDED = {"status": "succeeded"}


@pytest.mark.parametrize("has_count", [True, False])
@pytest.mark.parametrize("results", [8, None])
async def test_run_that_ends_between_its_first_page_and_its_state_is_read_whole(
    results: int | None, has_count: bool
) -> None:
    """The page that was read at the same time as the state has 3 rows; 8 are there once the run has ended."""
    transport = answers([{**SUCCEEDED, "results": results}], [[1, 2, 3], list(range(8))], count=has_count)

    async with AsyncCoreClaw("key", transport=transport) as client:
        rows = await client.runs.iterate_results(RUN_ID).collect()

    assert len(rows) == 8


async def test_rows_that_a_replica_shows_late_are_waited_for(client: AsyncCoreClaw, service: FakeService) -> None:
    script = RunScript(rows=25, duration=10, rows_late=7, rows_late_for=12.0)
    run_id = service.add_run(WORKER, script=script, age=11.0)

    rows = await client.runs.iterate_results(run_id, page_size=10).collect()

    assert ranks(rows) == list(range(1, 26))
    assert len(service.requests) <= 10


async def test_rows_that_never_come_are_an_error_that_keeps_the_others(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    script = RunScript(rows=25, duration=10, rows_late=7, rows_late_for=1000.0)
    run_id = service.add_run(WORKER, script=script, age=11.0)
    began = service.clock.time()

    pager = client.runs.iterate_results(run_id, page_size=10)
    with pytest.raises(PaginationError, match="25 rows, and only 18 came") as caught:
        await pager.collect()
    assert ranks(caught.value.items) == list(range(1, 19))
    assert (caught.value.collected, caught.value.expected, caught.value.run_id) == (18, 25, run_id)
    assert 29 <= service.clock.time() - began <= 31
    assert len(service.requests) <= 10
    service.clock.advance(1000)
    assert ranks(await pager.collect()) == list(range(1, 26))


async def test_rows_that_come_slowly_are_waited_for_as_long_as_some_come(service: FakeService) -> None:
    transport = answers([{**SUCCEEDED, "results": 8}], [list(range(n // 3)) for n in range(25)])

    async with AsyncCoreClaw("key", transport=transport, clock=service.clock) as client:
        assert len(await client.runs.iterate_results(RUN_ID).collect()) == 8


@pytest.mark.parametrize("results", [None, 0, 5])
async def test_count_of_the_pages_must_do_where_the_run_says_no_more(results: int | None) -> None:
    transport = answers([{**SUCCEEDED, "results": results}], [list(range(25))])

    async with AsyncCoreClaw("key", transport=transport) as client:
        assert len(await client.runs.iterate_results(RUN_ID, page_size=10).collect()) == 25


async def test_count_one_too_high_is_an_error_after_a_bounded_wait(client: AsyncCoreClaw, service: FakeService) -> None:
    def overstate(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "count": 2001}}

    run_id = service.add_run(WORKER, rows=2000)
    service.faults.add(faults.edit(overstate), operation="listWorkerRunResults", times=999)
    began = service.clock.time()

    with pytest.raises(PaginationError, match="count 2,001 rows, and only 2000 came") as caught:
        await client.runs.iterate_results(run_id).collect()

    assert len(caught.value.items) == 2000
    assert len(service.requests) <= 40
    assert 29 <= service.clock.time() - began <= 31


@pytest.mark.parametrize("final", [5, 3, 0, None, 25])
@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("has_count", [True, False])
async def test_followed_pages_are_read_once_more_after_the_end_whatever_the_run_says(
    service: FakeService, final: int | None, prefetch: int, has_count: bool
) -> None:
    states: list[dict[str, Any]] = [*[{"status": "running", "results": 5}] * 3, {**SUCCEEDED, "results": final}]
    transport = answers(states, [list(range(5)), list(range(25))], count=has_count)

    async with AsyncCoreClaw("key", transport=transport, clock=service.clock) as client:
        rows = await client.runs.iterate_results(RUN_ID, follow=True, page_size=100, prefetch=prefetch).collect()

    assert len(rows) == 25


@pytest.mark.parametrize("results", [0, None])
async def test_page_that_was_read_before_the_end_is_read_again_where_the_run_says_no_number(
    results: int | None,
) -> None:
    transport = answers([{**SUCCEEDED, "results": results}], [[1, 2, 3], list(range(8))])

    async with AsyncCoreClaw("key", transport=transport) as client:
        assert len(await client.runs.iterate_results(RUN_ID).collect()) == 8


def late_rows(
    service: FakeService, *, shown: int, late_for: float, states: dict[str, Any], with_ids: bool = True
) -> httpx.MockTransport:
    """Return a service that counts 25 rows at once, and shows more than *shown* of them after *late_for* seconds."""
    began = service.clock.monotonic()

    def answer(request: httpx.Request) -> httpx.Response:
        data: dict[str, Any] = {"slug": RUN_ID, **states}
        if request.url.path.endswith("/result"):
            rows = [{"rank": n, **({"__coreclaw_data_id__": str(n)} if with_ids else {})} for n in range(25)]
            rows = rows if service.clock.monotonic() - began >= late_for else rows[:shown]
            offset, limit = max(1, int(request.url.params["offset"])), int(request.url.params["limit"])
            data = {"list": rows[(offset - 1) * limit : offset * limit], "count": 25, "page_index": offset}
        return httpx.Response(200, json={"code": 0, "message": "success", "data": data})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("options", [{}, {"follow": True}, {"partial": True}], ids=str)
@pytest.mark.parametrize("results", [None, 0, 18, 25])
@pytest.mark.parametrize("with_ids", [True, False])
async def test_rows_that_the_pages_count_are_waited_for_as_those_that_the_run_says_it_has(
    service: FakeService, results: int | None, options: dict[str, bool], with_ids: bool
) -> None:
    states = {**SUCCEEDED, "results": results}
    transport = late_rows(service, shown=18, late_for=3.0, states=states, with_ids=with_ids)
    began = service.clock.monotonic()

    async with AsyncCoreClaw("key", transport=transport, clock=service.clock) as client:
        rows = await client.runs.iterate_results(RUN_ID, **options).collect()

    assert ranks(rows) == list(range(25))
    assert service.clock.monotonic() - began < 30


@pytest.mark.parametrize("results", [None, 0, 18])
async def test_rows_that_are_counted_and_never_come_are_an_error_that_keeps_the_others(
    service: FakeService, results: int | None
) -> None:
    transport = late_rows(service, shown=18, late_for=1000.0, states={**SUCCEEDED, "results": results})
    began = service.clock.monotonic()

    async with AsyncCoreClaw("key", transport=transport, clock=service.clock) as client:
        pager = client.runs.iterate_results(RUN_ID)
        with pytest.raises(PaginationError, match="count 25 rows, and only 18 came") as caught:
            await pager.collect()
        waited = service.clock.monotonic() - began
        service.clock.advance(1000)
        assert ranks(await pager.collect()) == list(range(25))

    assert ranks(caught.value.items) == list(range(18))
    assert (caught.value.collected, caught.value.expected, caught.value.run_id) == (18, 25, RUN_ID)
    assert 29 <= waited <= 31


async def test_rows_so_far_of_a_run_whose_count_is_ahead_of_its_list_are_waited_for(service: FakeService) -> None:
    transport = late_rows(service, shown=24, late_for=0.5, states={"status": "running", "results": 25})

    async with AsyncCoreClaw("key", transport=transport, clock=service.clock) as client:
        assert len(await client.runs.iterate_results(RUN_ID, partial=True).collect()) == 25


async def test_an_unknown_run_is_said_to_be_unknown(client: AsyncCoreClaw) -> None:
    with pytest.raises(NotFoundError):
        await client.runs.iterate_results("01KKDXV2G26BT7NH4ZQR2R4NPZ").collect()


async def test_page_that_cannot_be_read_beside_the_state_is_an_error(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    run_id = service.add_run(WORKER, rows=5)
    service.faults.add(faults.error(11000, status=400), operation="listWorkerRunResults")
    pager = client.runs.iterate_results(run_id)

    with pytest.raises(Exception, match="HTTP 400"):
        await pager.collect()

    assert len(await pager.collect()) == 5


@pytest.mark.parametrize("slug", ["last", "", None])
async def test_last_run_that_cannot_be_named_is_an_invalid_answer(service: FakeService, slug: str | None) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        data = {"slug": slug, "status": "succeeded"}
        return httpx.Response(200, json={"code": 0, "message": "success", "data": data})

    transport = httpx.MockTransport(answer)
    async with AsyncCoreClaw("key", transport=transport, clock=service.clock, timeout=2.0) as client:
        with pytest.raises(InvalidResponseError):
            await client.runs.iterate_results(LastRun()).collect()


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("dialect", ["page", "row", "aligned"])
async def test_followed_rows_come_once_each_and_end_with_the_run(dialect: Any, prefetch: int) -> None:
    service = FakeService(offset_dialect=dialect)
    run_id = going_run(service, rows=95)
    seen: list[tuple[int, float]] = []
    began = service.clock.time()

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        async for row in client.runs.iterate_results(run_id, follow=True, page_size=10, prefetch=prefetch):
            seen.append((row["rank"], service.clock.time() - began))

    assert [rank for rank, _ in seen] == list(range(1, 96))
    assert seen[0][1] < 10 < seen[-1][1]
    assert len({when for _, when in seen}) > 3


async def test_following_a_run_that_has_ended_reads_it(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = service.add_run(WORKER, rows=25)

    assert len(await client.runs.iterate_results(run_id, follow=True).collect()) == 25
    assert asked(service) == ["getWorkerRun", "listWorkerRunResults"]


async def test_following_a_run_that_waits_reads_no_page_before_there_are_rows(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    run_id = service.add_run(
        WORKER,
        script=RunScript(rows=5, statuses=[(0.0, "ready"), (60.0, "running"), (90.0, "succeeded")]),
        age=1.0,
    )

    rows = await client.runs.iterate_results(run_id, follow=True).collect()

    assert len(rows) == 5
    assert asked(service).index("listWorkerRunResults") > 4


async def test_following_a_run_without_rows_ends_with_it(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = going_run(service, rows=0)

    assert await client.runs.iterate_results(run_id, follow=True).collect() == []


@pytest.mark.parametrize("counts", [True, False])
async def test_followed_rows_are_whole_when_the_run_does_not_say_how_many_it_has(
    service: FakeService, counts: bool
) -> None:
    states = [*[{"status": "running"}] * 3, SUCCEEDED]
    transport = answers(states, [list(range(n * 4)) for n in range(1, 9)], count=counts)

    async with AsyncCoreClaw("key", transport=transport, clock=service.clock) as client:
        rows = await client.runs.iterate_results(RUN_ID, follow=True, page_size=10).collect()

    ids = [row["__coreclaw_data_id__"] for row in rows]
    assert len(ids) == len(set(ids)) >= 16


async def test_rows_that_a_replica_shows_late_are_waited_for_while_following(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    run_id = going_run(service, rows_late=7, rows_late_for=12.0)

    rows = await client.runs.iterate_results(run_id, follow=True, page_size=10).collect()

    assert ranks(rows) == list(range(1, 26))


async def test_run_that_stays_aborting_gives_its_rows_before_the_error(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    run_id = service.add_run(
        WORKER, script=RunScript(rows=25, statuses=[(0.0, "running"), (50.0, "aborting")]), age=30.0
    )
    rows: list[Any] = []

    pager = client.runs.iterate_results(run_id, follow=True)
    with pytest.raises(RunAbortedError) as caught:
        async for row in pager:
            rows.append(row)

    assert caught.value.confirmed is False
    assert ranks(rows) == list(range(1, len(service.runs[run_id].rows) + 1))


async def test_following_goes_on_after_an_error(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = going_run(service)
    service.faults.add(faults.error(12001, status=401), operation="getWorkerRun", after=2)
    rows: list[Any] = []

    pager = client.runs.iterate_results(run_id, follow=True, page_size=10)
    with pytest.raises(AuthenticationError):
        async for row in pager:
            rows.append(row)
    rows += await pager.collect()

    assert ranks(rows) == list(range(1, 26))


@pytest.mark.async_client_only
async def test_cancelled_following_loses_no_row_and_goes_on(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = going_run(service)
    rows: list[Any] = []

    pager = client.runs.iterate_results(run_id, follow=True, page_size=4)
    for _ in range(200):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_soon, scope, len(rows) % 5)
                async for row in pager:
                    rows.append(row)
                break
    rows += await pager.collect()

    assert ranks(rows) == list(range(1, 26))


async def cancel_soon(scope: anyio.CancelScope, steps: int) -> None:
    for _ in range(steps + 3):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def test_partial_and_follow_exclude_each_other(client: AsyncCoreClaw, service: FakeService) -> None:
    with pytest.raises(ValueError, match=r"partial.*follow"):
        client.runs.iterate_results("01KKDXV2G26BT7NH4ZQR2R4NPZ", partial=True, follow=True)
    for name in ("partial", "follow"):
        options: Any = {name: 1}
        with pytest.raises(TypeError, match=name):
            client.runs.iterate_results("01KKDXV2G26BT7NH4ZQR2R4NPZ", **options)

    assert service.requests == []


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("times", [1, 40])
async def test_page_without_data_is_no_end_and_keeps_the_position(
    service: FakeService, page: int, prefetch: int, times: int
) -> None:
    run_id = service.add_run(WORKER, rows=237)
    broken = json.dumps({"code": 0, "message": "success", "data": [], "request_id": "r"}).encode()
    service.faults.add(
        faults.reply(broken),
        operation="listWorkerRunResults",
        times=times,
        match=lambda request: request.query["offset"] == str(page if page > 1 else 0),
    )
    rows: list[Any] = []

    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, timeout=30.0) as client:
        pager = client.runs.iterate_results(run_id, prefetch=prefetch)
        while len(rows) < 237:
            try:
                async for row in pager:
                    rows.append(row)
            except InvalidResponseError:
                continue

    assert ranks(rows) == list(range(1, 238))


@pytest.mark.parametrize("prefetch", [0, 4])
@pytest.mark.parametrize("rows", [100, 200])
async def test_null_behind_the_last_row_of_a_count_one_too_high_keeps_the_rows(
    client: AsyncCoreClaw, service: FakeService, rows: int, prefetch: int
) -> None:
    def overstate(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], "count": rows + 1, "list": envelope["data"]["list"] or None}}

    run_id = service.add_run(WORKER, rows=rows)
    service.faults.add(faults.edit(overstate), operation="listWorkerRunResults", times=999)
    pager = client.runs.iterate_results(run_id, prefetch=prefetch)
    with pytest.raises(PaginationError, match=f"count {rows + 1:,} rows, and only {rows} came") as caught:
        await pager.collect()
    service.faults.clear()
    assert len(await pager.collect()) == rows

    assert len(caught.value.items) == rows
    assert len(service.requests) < 150


@pytest.mark.parametrize("partial", [True, False])
async def test_file_of_an_ended_run_needs_no_look_at_it(
    client: AsyncCoreClaw, service: FakeService, tmp_path: Path, partial: bool
) -> None:
    run = await client.runs.get(service.add_run(WORKER, rows=5))
    service.requests.clear()

    await client.runs.download(run, tmp_path / "rows.csv", partial=partial)

    assert asked(service)[0] == "exportWorkerRunResults"


async def test_following_rows_ends_when_the_time_is_up(client: AsyncCoreClaw, service: FakeService) -> None:
    run_id = going_run(service)
    pager = client.runs.iterate_results(run_id, follow=True, timeout=40.0)
    rows: list[Any] = []
    began = service.clock.monotonic()

    with pytest.raises(WaitTimeoutError, match="within 40 s") as caught:
        async for row in pager:
            rows.append(row)

    assert caught.value.run_id == run_id
    assert service.clock.monotonic() - began <= 45
    assert 8 < len(rows) < 25
    assert ranks(rows + await pager.collect()) == list(range(1, 26))


async def test_a_time_for_rows_is_checked_before_anything_is_sent(client: AsyncCoreClaw, service: FakeService) -> None:
    with pytest.raises(ValueError, match="timeout is for follow=True"):
        client.runs.iterate_results("R", timeout=3.0)
    with pytest.raises(ValueError, match="timeout"):
        client.runs.iterate_results("R", follow=True, timeout=0.0)
    assert service.requests == []


@pytest.mark.async_client_only
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancellation_by_asyncio_at_any_step_of_the_first_page_is_one() -> None:
    import asyncio

    service = FakeService(clock=RealClock())
    run_id = service.add_run(WORKER, rows=3)
    outcomes = set[str]()
    with service.serve() as server:
        async with AsyncCoreClaw(service.api_key, base_url=server.url) as client:
            for steps in range(5, 30):
                task = asyncio.create_task(client.runs.iterate_results(run_id).first())
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                (outcome,) = await asyncio.gather(task, return_exceptions=True)
                outcomes.add(type(outcome).__name__)

    assert outcomes - {"dict"} == {"CancelledError"}, "or the row where it had come"
