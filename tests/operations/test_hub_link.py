"""A client with a hub: callbacks wake its waits, name the runs of unknown starts, and link queue items to runs."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import httpx
import pytest

from coreclaw_async import AsyncCoreClaw, CallbackHub, LastRun, OutcomeUnknownError, PollSchedule, RunOperationError
from coreclaw_async.events import StartReconciled, StartUnknown
from coreclaw_async.testing import CallbackPlan, FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}
SELDOM = PollSchedule(delays=(600.0,), jitter=0.0)
BASE = "http://127.0.0.1:9/hooks"


@pytest.fixture
def hub() -> CallbackHub:
    return CallbackHub(BASE)


@pytest.fixture
def service(hub: CallbackHub) -> FakeService:
    return FakeService(callback_transport=httpx.ASGITransport(app=hub))


@pytest.fixture
async def client(service: FakeService, hub: CallbackHub) -> AsyncIterator[AsyncCoreClaw]:
    async with joined(service, hub) as client:
        yield client


def joined(service: FakeService, hub: CallbackHub, **options: Any) -> AsyncCoreClaw:
    return AsyncCoreClaw(
        service.api_key, transport=service, clock=service.clock, callbacks=hub, poll_schedule=SELDOM, **options
    )


@asynccontextmanager
async def delivering(service: FakeService) -> AsyncIterator[None]:
    """Have the service send what is due each second."""

    async def deliver() -> None:
        while True:
            await service.clock.sleep(1.0)
            await service.deliver_callbacks()

    async with anyio.create_task_group() as group:
        group.start_soon(deliver)
        yield
        group.cancel_scope.cancel()


async def test_each_start_carries_a_url_of_its_own(client: AsyncCoreClaw, service: FakeService) -> None:
    first = await client.workers.start_run(WORKER, INPUT)
    second = await client.runs.rerun(first)
    task = await client.tasks.create(worker_id=WORKER, title="Places", input=INPUT)
    third = await client.tasks.start_run(task.task_id)

    urls = [service.runs[started.run_id].callback_url or "" for started in (first, second, third)]
    assert len(set(urls)) == 3
    assert all(url.startswith(f"{BASE}/") for url in urls)


class LateHub(CallbackHub):
    """A hub that a callback reaches just after it was asked, for the second time, what came to a URL."""

    def __init__(self) -> None:
        super().__init__(BASE)
        self.asked = 0

    def run_id_of(self, reference: str) -> str | None:
        self.asked += 1
        known = super().run_id_of(reference)
        if self.asked == 2:
            self.handle(reference, b'{"run_slug": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "run_status": "running"}')
        return known


async def test_a_callback_at_the_very_end_of_the_look_is_not_lost(service: FakeService) -> None:
    told: list[object] = []
    service.faults.add(faults.drop_before_commit(), operation="runWorker")
    async with joined(service, LateHub(), on_event=told.append) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.workers.start_run(WORKER, INPUT)

    assert [event for event in told if isinstance(event, StartReconciled)] == [
        StartReconciled(run_id="01ARZ3NDEKTSV4RRFFQ69G5FAV")
    ]


async def test_an_abort_leaves_the_url_of_the_start_alone(client: AsyncCoreClaw, service: FakeService) -> None:
    started = await client.workers.start_run(WORKER, INPUT)
    url = service.runs[started.run_id].callback_url

    await client.runs.abort(started)

    assert service.runs[started.run_id].callback_url == url


async def test_a_url_of_the_callers_own_is_kept_and_not_waited_for(client: AsyncCoreClaw, service: FakeService) -> None:
    url = "http://127.0.0.1:9/mine"
    started = await client.workers.start_run(WORKER, INPUT, callback_url=url)
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    before = service.clock.monotonic()

    with pytest.raises(OutcomeUnknownError) as caught:
        await client.workers.start_run(WORKER, INPUT, callback_url=url)

    assert service.runs[started.run_id].callback_url == url
    assert caught.value.callback_url is None
    assert service.clock.monotonic() - before < 1


@pytest.mark.parametrize("generation", ["run_slug", "run_id", "v1"])
async def test_a_callback_ends_the_wait_long_before_the_schedule_does(
    client: AsyncCoreClaw, service: FakeService, generation: Literal["run_slug", "run_id", "v1"]
) -> None:
    service.callback_plan = CallbackPlan(generation=generation)
    service.next_script = RunScript(duration=100)

    async with delivering(service):
        run = await client.workers.run(WORKER, INPUT)

    assert run.is_finished
    assert 100 <= service.clock.monotonic() < 102


@pytest.mark.parametrize("plan", [CallbackPlan(lost=True), CallbackPlan(delay=900)])
@pytest.mark.endurance
async def test_without_callbacks_the_schedule_goes_on(
    client: AsyncCoreClaw, service: FakeService, plan: CallbackPlan
) -> None:
    service.callback_plan = plan
    service.next_script = RunScript(duration=100)

    async with delivering(service):
        run = await client.workers.run(WORKER, INPUT)

    assert run.is_finished
    assert 600 <= service.clock.monotonic() < 602


async def test_callbacks_twice_and_out_of_order_end_each_wait_once(client: AsyncCoreClaw, service: FakeService) -> None:
    service.callback_plan = CallbackPlan(copies=3, shuffle=True, delay=0.5)
    service.default_script = RunScript(duration=50)
    started = [await client.workers.start_run(WORKER, INPUT) for _ in range(20)]

    async with delivering(service):
        seen = [run.run_id async for run in client.runs.wait_many(started)]

    assert sorted(seen) == sorted(run.run_id for run in started)
    assert service.clock.monotonic() < 55


async def test_a_wait_of_a_copy_with_another_key_is_woken_too(service: FakeService, hub: CallbackHub) -> None:
    service.next_script = RunScript(duration=100)
    async with joined(service, hub) as client:
        copy = client.with_options(api_key=service.api_key)

        async with delivering(service):
            await copy.workers.run(WORKER, INPUT)

    assert service.clock.monotonic() < 102


async def test_the_callback_names_the_run_of_a_start_whose_answer_was_lost(
    service: FakeService, hub: CallbackHub
) -> None:
    events: list[Any] = []
    service.default_script = RunScript(duration=100)
    async with joined(service, hub, on_event=events.append) as client, delivering(service):
        service.add_run(WORKER, age=0)  # A run that somebody else started at the same time.
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    (mine,) = (run.run_id for run in service.runs.values() if run.callback_url)
    assert caught.value.run_id == mine
    assert caught.value.candidates == (mine,)
    assert [event.run_id for event in events if isinstance(event, StartUnknown)] == [mine]
    assert service.runs_created == 1


async def test_the_hub_tells_later_what_the_look_could_not(service: FakeService, hub: CallbackHub) -> None:
    events: list[Any] = []
    async with joined(service, hub, on_event=events.append) as client:
        service.faults.add(faults.commit_then_drop(), operation="runWorker")
        before = service.clock.monotonic()
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)
        assert 4.9 <= service.clock.monotonic() - before <= 5.5
        (mine,) = service.runs
        url = caught.value.callback_url
        assert url is not None
        assert url not in str(caught.value)
        assert url not in repr(caught.value)
        assert (caught.value.run_id, caught.value.candidates) == (None, (mine,))
        assert hub.run_id_of(url) is None

        await service.deliver_callbacks()

        assert hub.run_id_of(url) == mine
        assert [event.run_id for event in events if isinstance(event, StartReconciled)] == [mine]


async def test_a_run_that_a_callback_named_is_a_candidate_for_nobody_else(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker", times=2)
    with pytest.raises(OutcomeUnknownError) as first:
        await client.workers.start_run(WORKER, INPUT)
    await service.deliver_callbacks()

    with pytest.raises(OutcomeUnknownError) as second:
        await client.workers.start_run(WORKER, INPUT)

    mine, other = service.runs
    assert first.value.candidates == (mine,)
    assert second.value.candidates == (other,)


async def test_a_callback_in_the_middle_of_a_cancelled_start_names_its_run(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    caught: list[OutcomeUnknownError] = []

    async with delivering(service):
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await client.workers.start_run(WORKER, INPUT)
            except OutcomeUnknownError as error:
                caught.append(error)

    # Nothing was sent, or the run that may exist is named.
    assert [error.run_id for error in caught] == list(service.runs)


async def test_a_queue_item_is_linked_to_its_run(client: AsyncCoreClaw, service: FakeService, hub: CallbackHub) -> None:
    queued = await client.workers.queue_run(WORKER, INPUT)
    assert hub.run_id_of(queued.queue_id) is None

    await client.run_queue.activate(queued.queue_id)
    await service.deliver_callbacks()

    assert hub.run_id_of(queued.queue_id) == (await client.runs.get(LastRun())).run_id


async def test_a_client_that_is_closed_or_forgotten_is_no_longer_told(service: FakeService, hub: CallbackHub) -> None:
    client = joined(service, hub)
    context = weakref.ref(client._context.poller)
    await client.aclose()
    del client
    gc.collect()

    assert context() is None
    assert hub.handle(hub.new_url().removeprefix("http://127.0.0.1:9"), b'{"run_slug": "r", "run_status": "x"}') == 204


async def test_callbacks_must_be_a_hub() -> None:
    with pytest.raises(TypeError, match="callbacks must be of type CallbackHub, not str"):
        AsyncCoreClaw("key", callbacks="http://127.0.0.1/")  # type: ignore[arg-type]


async def test_a_callback_that_comes_while_candidates_are_looked_for_is_waited_for_no_longer(
    service: FakeService, hub: CallbackHub
) -> None:
    class Delivering(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "GET":
                await service.deliver_callbacks()
            return await service.handle_async_request(request)

    service.faults.add(faults.commit_then_drop(), operation="runWorker")
    async with AsyncCoreClaw(service.api_key, transport=Delivering(), clock=service.clock, callbacks=hub) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert [caught.value.run_id] == list(service.runs)
    assert service.clock.monotonic() < 1


async def test_an_old_callback_that_names_no_run_leaves_the_candidates(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.callback_plan = CallbackPlan(generation="run_id")
    service.faults.add(faults.commit_then_drop(), operation="runWorker")

    async with delivering(service):
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.workers.start_run(WORKER, INPUT)

    assert caught.value.run_id is None
    assert list(caught.value.candidates or ()) == list(service.runs)
    assert [callback.response_status for callback in service.callbacks_sent] == [204]


async def test_a_refusal_after_which_a_run_may_exist_is_settled_too(
    client: AsyncCoreClaw, service: FakeService
) -> None:
    service.faults.add(faults.error(50002, status=400), operation="runWorker")

    with pytest.raises(RunOperationError) as caught:
        await client.workers.start_run(WORKER, INPUT)

    assert caught.value.may_have_taken_effect
    assert (caught.value.run_id, caught.value.candidates) == (None, ())


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_unknown_starts_are_remembered_only_so_far(service: FakeService, hub: CallbackHub) -> None:
    async with joined(service, hub) as client:
        joined_hub = client._context.hub_link
        assert joined_hub is not None
        told: list[StartReconciled] = []
        first = hub.new_url()
        for url in (first, *(f"{BASE}/{number}" for number in range(10_000))):
            assert await joined_hub.run_started_with(url, seconds=0.0, tell_later=told.append) is None

        hub.handle(first.removeprefix("http://127.0.0.1:9"), b'{"run_slug": "run", "run_status": "running"}')

    assert told == []
