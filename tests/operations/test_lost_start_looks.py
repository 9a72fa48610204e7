"""The look after a lost answer: what it found is reported, even if it broke; and no look differs from an empty one."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from either_client import AsyncCoreClaw
from interrupting import cancelling_once
from wrong_times import MachineClock

from coreclaw_async import (
    CoreClawError,
    InvalidResponseError,
    OutcomeUnknownError,
    PaginationError,
    RetryPolicy,
    RunStatus,
)
from coreclaw_async.events import RequestSent
from coreclaw_async.testing import FakeClock, FakeService, RunScript, faults
from coreclaw_async.testing.faults import Fault

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
LOST = faults.commit_then_drop()
QUICK = RetryPolicy(max_attempts=2)
Change = Callable[[dict[str, Any]], dict[str, Any]]


def edit_records(change: Change) -> Fault:
    """Return the fault of a list each record of which is changed."""

    def edit(envelope: dict[str, Any]) -> dict[str, Any]:
        records = [change(record) for record in envelope["data"]["list"] or ()]
        return {**envelope, "data": {**envelope["data"], "list": records}}

    return faults.edit(edit)


def without(name: str) -> Change:
    return lambda record: {member: value for member, value in record.items() if member != name}


def started_just_now(service: FakeService) -> dt.datetime:
    return dt.datetime.fromtimestamp(service.clock.time(), dt.UTC)


BLIND: dict[str, Fault] = {
    "data is null": faults.edit(lambda envelope: {**envelope, "data": None}),
    "no data": faults.edit(lambda envelope: {"code": 0, "message": "success"}),
    "neither list nor count": faults.edit(lambda envelope: {**envelope, "data": {}}),
    "list is null beside a count": faults.edit(lambda envelope: {**envelope, "data": {"count": 7, "list": None}}),
    "list under another name": faults.edit(lambda e: {**e, "data": {"count": 0, "scraper": e["data"]["list"]}}),
    "empty beside a count": faults.edit(lambda envelope: {**envelope, "data": {"count": 7, "list": []}}),
    "no ids": edit_records(lambda record: {**record, "slug": None, "queue_ref": None}),
    "odd ids": edit_records(lambda record: {**record, "slug": [1], "queue_ref": {}}),
    "no records": edit_records(lambda record: None),  # type: ignore[arg-type, return-value]
    "502": faults.status(502),
    "a gateway's page": faults.reply(b"<html>"),
}
CALLS: dict[str, tuple[str, Callable[[AsyncCoreClaw], Awaitable[Any]]]] = {
    "runWorker": ("listWorkerRuns", lambda c: c.workers.start_run(WORKER, INPUT)),
    "createWorkerTask": ("listWorkerTasks", lambda c: c.tasks.create(worker_id=WORKER, title="t", input=INPUT)),
    "queuedRunWorker": ("listRunQueueItems", lambda c: c.workers.queue_run(WORKER, INPUT)),
}


@pytest.mark.parametrize("blindness", BLIND)
@pytest.mark.parametrize("operation", CALLS)
async def test_candidates_are_none_when_the_look_could_not_tell(operation: str, blindness: str) -> None:
    service = FakeService()
    listing, call = CALLS[operation]
    service.faults.add(LOST, operation=operation)
    service.faults.add(BLIND[blindness], operation=listing, times=99)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await call(client)

    assert caught.value.candidates is None


@pytest.mark.parametrize("operation", CALLS)
async def test_candidates_are_none_of_nothing_when_the_look_saw_everything(operation: str) -> None:
    service = FakeService()
    _, call = CALLS[operation]
    service.faults.add(faults.drop_before_commit(), operation=operation)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await call(client)

    assert caught.value.candidates == ()


@pytest.mark.parametrize(
    "odd",
    [{"traffic": 12.5}, {"err_msg": {}}, {"finished_at": ""}, {"version": 1.2}, {"usage": "free"}, {"results": []}],
    ids=str,
)
async def test_odd_members_hide_no_candidate(service: FakeService, odd: dict[str, Any]) -> None:
    service.faults.add(LOST, operation="runWorker")
    service.faults.add(edit_records(lambda record: {**record, **odd}), operation="listWorkerRuns", times=99)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates == tuple(service.runs)


async def test_candidate_of_page_one_is_kept_when_page_two_breaks(service: FakeService) -> None:
    for _ in range(150):
        service.add_run(WORKER, age=0.0, origin="web")
    service.faults.add(LOST, operation="runWorker")
    service.faults.add(faults.status(503), operation="listWorkerRuns", after=1, times=99)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=QUICK) as client:
        since = started_just_now(service)
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)
        lost = list(service.runs)[-1]
        service.faults.clear()
        service.faults.add(faults.status(503), operation="listWorkerRuns", after=1, times=99)
        with pytest.raises(CoreClawError) as broken:
            await client.runs.find_started(worker_id=WORKER, since=since)

    assert caught.value.candidates == broken.value.candidates == (lost,)


@pytest.mark.async_client_only
@pytest.mark.parametrize("comes", [True, False], ids=["it comes", "none comes"])
async def test_a_cancelled_start_looks_again_for_a_run_that_was_not_there(service: FakeService, comes: bool) -> None:
    late: list[str] = []

    def start_late(envelope: dict[str, Any]) -> dict[str, Any]:
        late.append(service.add_run(WORKER, age=0.0))
        return envelope

    service.faults.add(faults.stall(commit=False), operation="runWorker")
    if comes:
        service.faults.add(faults.edit(start_late), operation="listWorkerRuns")
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        cancelling_once(lambda: service.requests) as scope,
    ):
        with scope, pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates == tuple(late)
    assert [request.operation for request in service.requests] == ["runWorker", "listWorkerRuns", "listWorkerRuns"]


@pytest.mark.async_client_only
async def test_a_cancelled_start_looks_again_although_somebody_elses_run_is_there(service: FakeService) -> None:
    foreign = service.add_run(WORKER, age=0.0)
    late: list[str] = []

    def start_late(envelope: dict[str, Any]) -> dict[str, Any]:
        late.append(service.add_run(WORKER, age=0.0))
        return envelope

    service.faults.add(faults.stall(commit=False), operation="runWorker")
    service.faults.add(faults.edit(start_late), operation="listWorkerRuns")
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        cancelling_once(lambda: service.requests) as scope,
    ):
        with scope, pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert set(caught.value.candidates or ()) == {foreign, *late}
    assert len(late) == 1


@pytest.mark.async_client_only
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_an_interrupted_start_looks_again_as_a_cancelled_one_does(service: FakeService) -> None:
    """On trio Ctrl-C is raised where the start waits."""

    class Interrupted(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "POST":
                raise KeyboardInterrupt
            return await service.handle_async_request(request)

    late: list[str] = []

    def start_late(envelope: dict[str, Any]) -> dict[str, Any]:
        late.append(service.add_run(WORKER, age=0.0))
        return envelope

    service.faults.add(faults.edit(start_late), operation="listWorkerRuns")
    async with AsyncCoreClaw(service.api_key, transport=Interrupted(), clock=service.clock) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates == tuple(late)
    assert len(late) == 1


@pytest.mark.endurance
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_candidate_is_kept_when_the_time_for_the_look_is_up(service: FakeService) -> None:
    for _ in range(150):
        service.add_run(WORKER, age=0.0, origin="web")
    service.faults.add(faults.stall(), operation="runWorker")
    service.faults.add(faults.stall(), operation="listWorkerRuns", after=1)
    async with (
        AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        cancelling_once(lambda: service.runs_created == 1) as scope,
    ):
        with scope, pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.candidates == (list(service.runs)[-1],)


class BrokenClock(FakeClock):
    """A clock that fails when the test says so."""

    error: Exception | None = None

    def time(self) -> float:
        if self.error is not None:
            raise self.error
        return super().time()


@pytest.mark.parametrize("error", [OverflowError("too far"), RecursionError(), ZeroDivisionError(), KeyError("x")])
async def test_look_that_breaks_in_any_way_does_not_replace_the_error_of_the_start(error: Exception) -> None:
    service = FakeService()
    clock = BrokenClock()

    def break_clock(envelope: dict[str, Any]) -> dict[str, Any]:
        clock.error = error
        return envelope

    service.faults.add(LOST, operation="runWorker")
    service.faults.add(faults.edit(break_clock), operation="listWorkerRuns")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=clock, retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)
        clock.error = None

    assert caught.value.candidates is None


async def test_named_candidates_are_kept_beside_a_run_that_does_not_say_its_id(service: FakeService) -> None:
    since = started_just_now(service)
    mine = [service.add_run(WORKER, age=0.0) for _ in range(3)]
    hidden, *named = mine

    def hide(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "slug": None} if record["slug"] == hidden else record

    service.faults.add(edit_records(hide), operation="listWorkerRuns", times=99)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, retry=QUICK) as client:
        with pytest.raises(InvalidResponseError, match="1 run without an id may be what was looked for") as caught:
            await client.runs.find_started(worker_id=WORKER, since=since)

    assert sorted(caught.value.candidates or ()) == sorted(named)


async def test_run_of_the_console_need_not_say_its_id(client: AsyncCoreClaw, service: FakeService) -> None:
    since = started_just_now(service)
    service.add_run(WORKER, age=0.0, origin="web")
    service.faults.add(edit_records(without("slug")), operation="listWorkerRuns")

    assert await client.runs.find_started(worker_id=WORKER, since=since) == []


async def test_look_that_ends_before_it_went_back_far_enough_cannot_tell(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    since = started_just_now(service)
    for _ in range(700):
        service.add_run(WORKER, age=0.0, origin="web")

    with pytest.raises(PaginationError, match="gone back far enough") as caught:
        await client.runs.find_started(worker_id=WORKER, since=since)

    assert caught.value.candidates is None


async def test_lost_queue_item_is_found_behind_a_hundred_others(client: AsyncCoreClaw, service: FakeService) -> None:
    for _ in range(130):
        service.add_queue_item(WORKER, INPUT)
    service.faults.add(LOST, operation="queuedRunWorker")
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.queue_run(WORKER, INPUT)

    assert set(caught.value.candidates or ()) == set(service.queue_items)
    assert len(service.queue_items) == 131


@pytest.mark.parametrize("word", ["waiting", "pending", None, ["waiting"]], ids=str)
async def test_queue_item_is_a_candidate_unless_it_is_said_to_be_inactive(
    client: AsyncCoreClaw, service: FakeService, word: Any
) -> None:
    for _ in range(3):
        service.add_queue_item(WORKER, INPUT)
    earlier = set(service.queue_items)
    for item in service.queue_items.values():
        item.status = "inactive"

    def show(record: dict[str, Any]) -> dict[str, Any]:
        return record if record["queue_status"] == "inactive" else {**record, "queue_status": word}

    service.faults.add(LOST, operation="queuedRunWorker")
    service.faults.add(edit_records(show), operation="listRunQueueItems", times=99)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.queue_run(WORKER, INPUT)

    (lost,) = set(service.queue_items) - earlier
    assert caught.value.candidates == (lost,)


@pytest.mark.parametrize("operation", CALLS)
async def test_what_this_client_was_told_of_is_no_candidate(
    client: AsyncCoreClaw, service: FakeService, operation: str
) -> None:
    _, call = CALLS[operation]
    await call(client)
    service.faults.add(LOST, operation=operation)
    with pytest.raises(OutcomeUnknownError) as caught:
        await call(client)

    made = {"runWorker": service.runs, "createWorkerTask": service.tasks, "queuedRunWorker": service.queue_items}
    assert caught.value.candidates == (list(made[operation])[1],)


@pytest.mark.parametrize("shown", ["  Daily ", "Daily", None, ["Daily"]], ids=str)
async def test_lost_task_is_found_behind_a_hundred_others(shown: Any) -> None:
    service = FakeService()
    for _ in range(130):
        service.add_task(WORKER, title="Daily news", input=INPUT)
    earlier = set(service.tasks)
    service.faults.add(LOST, operation="createWorkerTask")
    service.faults.add(
        edit_records(lambda record: {**record, "title": shown} if record["title"] == "Daily" else record),
        operation="listWorkerTasks",
        times=99,
    )
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.tasks.create(worker_id=WORKER, title="Daily", input=INPUT)

    assert set(caught.value.candidates or ()) == set(service.tasks) - earlier
    assert len(caught.value.candidates or ()) == 1


ODD = [
    {"traffic": 12.5},
    {"err_msg": {}},
    {"finished_at": ""},
    {"version": 1.2},
    {"duration": "abc"},
    {"usage": "free"},
    {"started_at": 10**20},
    {"results": True},
    {"origin": ["x"]},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
async def test_wait_of_a_run_with_an_odd_member_ends_with_it(
    client: AsyncCoreClaw, service: FakeService, odd: dict[str, Any]
) -> None:
    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {**envelope["data"], **odd}}

    service.default_script = RunScript(rows=3)
    service.faults.add(faults.edit(change), operation="getWorkerRun", times=9999)
    run = await client.workers.run(WORKER, INPUT, timeout=3600)

    assert run.status is RunStatus.SUCCEEDED
    assert run.extra == odd


@pytest.mark.parametrize(
    "odd", [*ODD, {"status": None}, {"status": ["succeeded"]}, {"slug": None}, {"slug": {}}], ids=str
)
async def test_odd_record_in_a_list_that_is_polled_hurts_no_wait(
    client: AsyncCoreClaw, service: FakeService, odd: dict[str, Any]
) -> None:
    service.default_script = RunScript(rows=1)
    run_ids = [(await client.workers.start_run(WORKER, INPUT)).run_id for _ in range(20)]
    service.faults.add(
        edit_records(lambda record: {**record, **odd} if record["slug"] == run_ids[17] else record),
        operation="listWorkerRuns",
        times=9999,
    )
    ended = [run.run_id async for run in client.runs.wait_many(run_ids, timeout=3600)]

    assert sorted(ended) == sorted(run_ids)
    details = [request for request in service.requests if request.operation == "getWorkerRun"]
    assert len(details) < 40, "the others were read from lists"


def listed_runs(runs: Callable[[int], tuple[list[dict[str, Any]], int]]) -> httpx.MockTransport:
    """Return a service whose starts are lost and whose list shows *runs* (and counts them) at each read."""
    reads = iter(range(99))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            raise httpx.ReadError("gone")
        shown, count = runs(next(reads))
        offset, limit = max(1, int(request.url.params["offset"])), int(request.url.params["limit"])
        page = shown[(offset - 1) * limit : offset * limit]
        data = {"list": page, "count": count, "page_index": offset, "page_size": limit}
        headers = {"date": format_datetime(dt.datetime.fromtimestamp(FakeClock().time(), dt.UTC), usegmt=True)}
        return httpx.Response(200, headers=headers, json={"code": 0, "message": "success", "data": data})

    return httpx.MockTransport(answer)


def listed(age: float, number: int = 0) -> dict[str, Any]:
    """Return the record of a run that was made *age* seconds ago."""
    return {"slug": run_id_at(FakeClock().time() - age, number), "status": "running", "origin": "openapi"}


def run_id_at(seconds: float, number: int) -> str:
    digits, left = "", int(seconds * 1000)
    for _ in range(10):
        left, digit = divmod(left, 32)
        digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[digit] + digits
    return f"{digits}{number:016d}"


async def lost_candidates(transport: httpx.MockTransport) -> tuple[str, ...] | None:
    async with AsyncCoreClaw("key", transport=transport, clock=FakeClock(), retry=QUICK) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)
    return None if caught.value.candidates is None else tuple(caught.value.candidates)


@pytest.mark.parametrize("old", [1, 2, 5, 40])
async def test_page_that_counts_more_than_it_shows_is_no_end_of_the_look(old: int) -> None:
    """The run was written between the query for the list and that for the count."""
    earlier = [listed(5000.0 + number, number) for number in range(old)]
    lost = listed(0.0, 777)

    def runs(read: int) -> tuple[list[dict[str, Any]], int]:
        return (earlier if read == 0 else [lost, *earlier]), old + 1

    assert await lost_candidates(listed_runs(runs)) in ((lost["slug"],), None)


@pytest.mark.parametrize("old", [1, 5, 600])
async def test_page_that_stays_shorter_than_its_count_cannot_tell(old: int) -> None:
    shown = [listed(5000.0 + number, number) for number in range(min(old, 99))]

    assert await lost_candidates(listed_runs(lambda read: (shown, old + 1))) is None


@pytest.mark.parametrize("seed", range(5))
async def test_lost_run_is_found_in_a_list_in_no_order(seed: int) -> None:
    runs = [listed(5000.0 + number, number) for number in range(149)]
    random.Random(seed).shuffle(runs)
    lost = listed(0.0, 777)
    runs.insert(130, lost)

    assert await lost_candidates(listed_runs(lambda read: (runs, len(runs)))) == (lost["slug"],)


async def test_lost_run_is_found_behind_older_ones_that_are_in_order() -> None:
    lost = listed(0.0, 777)
    runs = [*(listed(5000.0 + number, number) for number in range(149)), lost]

    assert await lost_candidates(listed_runs(lambda read: (runs, len(runs)))) == (lost["slug"],)


@pytest.mark.parametrize(("place", "found"), [(0, None), (50, None), (150, None), (350, ())])
async def test_long_list_that_is_not_newest_first_as_far_as_it_was_read_cannot_tell(
    place: int, found: tuple[str, ...] | None
) -> None:
    """Two pages are newer than the start, and of the console; one run does not tell how old it is."""
    runs = [listed(float(number - 200), number) | {"origin": "web"} for number in range(200)]
    runs += [listed(5000.0 + number, number) for number in range(400)]
    runs[place]["slug"], runs[place]["origin"] = "1234", "web"

    assert await lost_candidates(listed_runs(lambda read: (runs, len(runs)))) == found


async def test_long_list_that_is_oldest_first_cannot_tell() -> None:
    runs = [listed(5000.0 - number, number) for number in range(600)]

    assert await lost_candidates(listed_runs(lambda read: (runs, len(runs)))) is None


async def test_long_list_that_is_newest_first_is_read_back_to_the_start_alone() -> None:
    reads: list[int] = []

    def runs(read: int) -> tuple[list[dict[str, Any]], int]:
        reads.append(read)
        return [listed(5000.0 + number, number) for number in range(600)], 600

    assert await lost_candidates(listed_runs(runs)) == ()
    assert len(reads) == 1


@pytest.mark.parametrize("step", [-3_600.0, -60.0, 60.0, 3_600.0])
async def test_a_clock_that_is_set_while_a_start_is_under_way_hides_no_run(step: float) -> None:
    service = FakeService()
    clock = MachineClock(service.clock)

    def hook(event: object) -> None:
        if isinstance(event, RequestSent) and event.operation == "runWorker":
            clock.step += step

    service.faults.add(LOST, operation="runWorker")
    async with AsyncCoreClaw(service.api_key, transport=service, clock=clock, retry=QUICK, on_event=hook) as client:
        since = dt.datetime.fromtimestamp(clock.time(), dt.UTC)
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)
        until = dt.datetime.fromtimestamp(clock.time(), dt.UTC)
        found = await client.runs.find_started(worker_id=WORKER, since=since, until=until)

    assert caught.value.candidates == tuple(service.runs)
    assert [run.run_id for run in found] == list(service.runs)
