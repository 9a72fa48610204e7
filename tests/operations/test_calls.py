"""The event hook is told of each call of a method: once, by its name, with how it ended."""

from __future__ import annotations

import contextvars
import functools
import gc
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import AsyncCoreClaw as AsyncClient
from coreclaw_async import CallbackHub, InvalidArgumentError, NotFoundError
from coreclaw_async._concurrency.calls import Call, belonging_to, current_calls
from coreclaw_async.events import CallEnded, CallStarted, Event, RequestSent
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}


class Told:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.calls: list[Any] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.calls.append(current_calls())

    @property
    def names(self) -> list[str]:
        kinds = {CallStarted: "begins", CallEnded: "ends"}
        return [
            f"{event.name} {kinds[type(event)]}" for event in self.events if isinstance(event, (CallStarted, CallEnded))
        ]


@pytest.fixture
def told() -> Told:
    return Told()


async def test_a_call_begins_and_ends_around_its_requests(service: FakeService, told: Told) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=told) as client:
        await client.account.get()
        await client.account.get()

    started, sent, ended, *others = told.events
    assert isinstance(started, CallStarted)
    assert isinstance(sent, RequestSent)
    assert isinstance(ended, CallEnded)
    assert (started.name, ended.name, ended.error) == ("account.get", "account.get", None)
    assert ended.elapsed >= sent.elapsed
    assert started.call == ended.call != getattr(others[0], "call", None)
    assert told.calls[:3] == [(), (started.call,), ()]


async def test_calls_that_a_call_makes_are_a_part_of_it(service: FakeService, told: Told) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=told) as client:
        await client.workers.run(WORKER, INPUT, on_update=lambda _: None)

    assert told.names == ["workers.run begins", "workers.run ends"]
    assert len(set(told.calls) - {()}) == 1


async def test_an_error_is_named(service: FakeService, told: Told) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=told) as client:
        with pytest.raises(NotFoundError):
            await client.runs.get("another")

    assert isinstance(told.events[-1], CallEnded)
    assert told.events[-1].error == "NotFoundError"


async def test_an_iterator_begins_with_its_first_item_and_ends_with_the_last(service: FakeService, told: Told) -> None:
    service.next_script = RunScript(rows=3, duration=30)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=told) as client:
        run = await client.workers.start_run(WORKER, INPUT)
        del told.events[:]
        changes = client.runs.watch(run)
        assert told.names == []
        states = [state.status async for state in changes]
        async for _ in client.runs.iterate_results(run):
            assert told.names[-1] == "runs.iterate_results begins"
        assert await client.runs.iterate_results(run).collect()

    assert len(states) > 1
    assert (
        told.names
        == ["runs.watch begins", "runs.watch ends"]
        + [
            "runs.iterate_results begins",
            "runs.iterate_results ends",
        ]
        * 2
    )


async def test_an_iterator_that_nobody_has_any_more_has_ended(service: FakeService, told: Told) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=told) as client:
        unused = client.store.iterate()
        left = client.store.iterate()
        assert await left.first() is not None
        assert told.names == ["store.iterate begins"]
        del unused, left
        gc.collect()
        assert told.names == ["store.iterate begins"], "the collector may be at work while the hook is"
        await client.account.get()
        assert told.names[1:3] == ["store.iterate ends", "account.get begins"]
        again = client.store.iterate()
        assert await again.first() is not None
        del again
        gc.collect()

    assert told.names[3:] == ["account.get ends", "store.iterate begins", "store.iterate ends"]


async def test_rows_that_are_handed_over_are_read_by_the_same_call(
    service: FakeService, told: Told, tmp_path: Path
) -> None:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=told) as client:
        run = await client.workers.run(WORKER, INPUT)
        del told.events[:]
        await client.runs.iterate_results(run).to_jsonl(tmp_path / "rows")

    assert told.names == ["runs.iterate_results begins", "runs.iterate_results ends"]


async def test_an_iterator_that_fails_has_ended_with_its_error_at_once(service: FakeService, told: Told) -> None:
    caught: list[NotFoundError] = []  # As long as the errors live, so do the iterators.
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=told) as client:
        for steps in (
            client.runs.watch("nope"),
            client.runs.follow_log("nope"),
            client.runs.iterate_results("nope"),
            client.runs.wait_many(["nope"]),
        ):
            with pytest.raises(NotFoundError) as error:
                async for _ in steps:
                    pass  # pragma: no cover - there is none
            caught.append(error.value)
            ended = told.events[-1]
            assert isinstance(ended, CallEnded)
            assert ended.error == "NotFoundError"

    names = ["runs.watch", "runs.follow_log", "runs.iterate_results", "runs.wait_many"]
    assert told.names == [f"{name} {kind}" for name in names for kind in ("begins", "ends")]


async def test_iterating_after_an_error_is_another_call(service: FakeService, told: Told) -> None:
    run_id = service.add_run(WORKER, rows=250)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=told) as client:
        service.faults.add(faults.error(11000), operation="listWorkerRunResults", after=1)
        pager = client.runs.iterate_results(run_id)
        with pytest.raises(InvalidArgumentError):
            await pager.collect()
        rows = await pager.collect()

    assert len(rows) == 250
    assert told.names == ["runs.iterate_results begins", "runs.iterate_results ends"] * 2
    assert [event.error for event in told.events if isinstance(event, CallEnded)] == ["InvalidArgumentError", None]


@pytest.mark.async_client_only
async def test_calls_at_the_same_time_are_told_apart(service: FakeService, told: Told) -> None:
    async with (
        AsyncClient(service.api_key, transport=service, clock=service.clock, on_event=told) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(5):
            group.start_soon(client.account.get)

    sent = [call for event, call in zip(told.events, told.calls, strict=True) if isinstance(event, RequestSent)]
    assert len(set(sent)) == len(sent) == 5


@pytest.mark.async_client_only
async def test_a_hook_that_ends_the_program_does_not_lose_a_run(service: FakeService) -> None:
    def leave(event: Event) -> None:
        if isinstance(event, CallEnded):
            raise KeyboardInterrupt

    async with AsyncClient(service.api_key, transport=service, clock=service.clock, on_event=leave) as client:
        with pytest.raises(KeyboardInterrupt) as caught:
            await client.workers.start_run(WORKER, INPUT)

    (run_id,) = service.runs
    assert caught.value.__notes__[0].startswith("workers.start_run had returned StartedRun(")
    assert run_id in caught.value.__notes__[0]


async def test_a_method_looks_as_it_is_written() -> None:
    method = AsyncClient("key").runs.wait

    assert inspect.iscoroutinefunction(method)
    assert list(inspect.signature(method).parameters)[:2] == ["run", "timeout"]
    assert (inspect.getdoc(method) or "").startswith("Wait until a run has ended")


def test_a_step_that_is_closed_in_another_context_breaks_nothing() -> None:
    events: list[Any] = []
    call = Call("runs.get", events.append, float)
    contextvars.copy_context().run(call.__enter__)

    call.__exit__(GeneratorExit, GeneratorExit(), None)
    call.end()
    call.end()

    assert [type(event) for event in events] == [CallStarted, CallEnded]
    assert events[1].error == "GeneratorExit"


def test_what_belongs_to_an_item_is_named_by_it() -> None:
    seen: list[Any] = []
    look: Callable[[], None] = lambda: seen.append(current_calls())  # noqa: E731
    with belonging_to(("batch", "key")):
        look()
    look()

    assert seen == [(("batch", "key", None),), ()]


def test_what_belongs_to_an_item_belongs_to_the_call_around_it_too() -> None:
    events: list[Any] = []
    with Call("batch.run", events.append, float), belonging_to(("batch", "key")):
        seen = current_calls()

    assert seen == (("batch", "key", events[0].call), events[0].call)


def test_a_call_that_has_ended_does_not_begin_again() -> None:
    events: list[Any] = []
    call = Call("runs.iterate", events.append, float)
    for _ in range(2):
        with call:
            pass
        call.end()

    assert [type(event) for event in events] == [CallStarted, CallEnded]


@pytest.mark.async_client_only
@pytest.mark.parametrize("hook", ["on_event", "on_update", "awaited on_update", "progress", "on_update of a hub"])
async def test_what_a_hook_begins_is_no_part_of_the_call_that_it_hears_of(
    service: FakeService, told: Told, hook: str
) -> None:
    """A task takes over what its maker belongs to, and may outlive it."""
    contexts: list[contextvars.Context] = []

    def make_task(_: object) -> None:
        contexts.append(contextvars.copy_context())

    async def read(_: object) -> None:
        make_task(_)
        await client.account.get()

    def hear(event: Event) -> None:
        told(event)
        if hook == "on_event":
            make_task(event)

    hub = CallbackHub("https://hub.test", on_update=make_task if hook == "on_update of a hub" else None)
    options: dict[str, Any] = {"on_update": make_task} if hook == "on_update" else {}
    options |= {"on_update": read} if hook == "awaited on_update" else {}
    options |= {"progress": make_task} if hook == "progress" else {}
    async with AsyncClient(
        service.api_key, transport=service, clock=service.clock, on_event=hear, callbacks=hub
    ) as client:
        with Call("around", hear, float):
            hub.handle(hub.new_url(), b'{"run_slug": "R"}')
        await client.workers.run(WORKER, INPUT, **options)

    assert contexts
    for context in contexts:
        events: list[Any] = []
        context.run(Call("own", events.append, float).__enter__)
        assert [type(event) for event in events] == [CallStarted]
    assert ("account.get begins" in told.names) is (hook == "awaited on_update")


def hook_of_unseen_kind() -> Any:
    """Return a hook that nobody can see to be async before it is called."""

    async def hook(*_: object) -> None:
        raise AssertionError("nobody awaits it")  # pragma: no cover - nobody does

    return functools.singledispatch(hook)


async def test_an_event_hook_that_returns_a_coroutine_is_told_in_the_log(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    hook = hook_of_unseen_kind()
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock, on_event=hook) as client:
        await client.account.get()

    assert "on_event must be a plain function: it has returned a coroutine, which nobody awaits" in caplog.text


async def test_other_hooks_that_return_a_coroutine_are_told_in_the_log(
    service: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    hook = hook_of_unseen_kind()
    hub = CallbackHub("https://hub.test", on_update=hook)
    assert hub.handle(hub.new_url(), b'{"run_slug": "R"}') == 204
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        await client.workers.run(WORKER, INPUT, progress=hook)

    assert "on_update must be a plain function" in caplog.text
    assert "progress must be a plain function" in caplog.text
