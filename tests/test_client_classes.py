"""What programs do with the classes of the clients: extend them, give them hooks, and replace them by mocks."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any
from unittest.mock import AsyncMock, create_autospec, patch

import pytest
from client_groups import GROUPS

from coreclaw_async import AsyncCoreClaw, CallbackHub, CoreClaw, Run
from coreclaw_async.testing import FakeService

CLIENTS: list[type[Any]] = [AsyncCoreClaw, CoreClaw]
METHODS = [
    (kind, group, method)
    for kind in CLIENTS
    for group in GROUPS
    for method, _ in inspect.getmembers(type(getattr(kind("key"), group)), inspect.isfunction)
    if not method.startswith("_")
]


class OwnAsyncClient(AsyncCoreClaw):
    def __init__(self, *args: Any, tenant: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tenant = tenant


class OwnClient(CoreClaw):
    __slots__ = ("slotted", "unset")

    def __init__(self, *args: Any, tenant: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tenant = self.slotted = tenant


@pytest.mark.parametrize("kind", [OwnAsyncClient, OwnClient])
def test_a_copy_of_a_subclass_keeps_its_class_and_its_attributes(kind: Any) -> None:
    client = kind("key", tenant="a", timeout=5)

    copied = client.with_options(timeout=7).with_options(timeout=9)

    assert type(copied) is kind
    assert copied.tenant == "a"
    copied.tenant = "b"
    assert (client.tenant, copied.tenant) == ("a", "b")
    assert getattr(copied, "slotted", "a") == "a"
    assert copied.runs is not client.runs


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_subclass_that_is_not_pickled_or_made_otherwise_can_be_copied(kind: Any) -> None:
    class Own(kind):  # type: ignore[misc]
        def __new__(cls, *, tenant: str) -> Any:
            return super().__new__(cls)

        def __init__(self, *, tenant: str) -> None:
            super().__init__("key")
            self.tenant = tenant

        def __reduce__(self) -> Any:
            raise TypeError("it holds a key")

    assert Own(tenant="a").with_options(timeout=7).tenant == "a"


def test_a_copy_closes_nothing_and_has_its_own_options() -> None:
    service = FakeService()
    with OwnClient(service.api_key, tenant="a", transport=service, clock=service.clock) as client:
        told: list[Any] = []
        with client.with_options(on_event=told.append) as copied:
            copied.account.get()
        client.account.get()

    assert len(told) == 3


async def note(_: object, *__: object) -> None:
    raise AssertionError("nobody awaits this")


class AsyncNote:
    async def __call__(self, _: object, *__: object) -> None:
        raise AssertionError("nobody awaits this")

    async def note(self, _: object) -> None:
        raise AssertionError("nobody awaits this")


async def steps(_: object) -> Any:
    yield


ASYNC_HOOKS: list[Any] = [
    note,
    AsyncNote(),
    AsyncNote().note,
    functools.partial(note),
    functools.partial(AsyncNote()),
    functools.partial(functools.partial(note, 1), 2),
    steps,
    AsyncMock(),
]
TAKERS: dict[str, Callable[[Any], object]] = {
    "on_event": lambda hook: AsyncCoreClaw("key", on_event=hook),
    "on_event of a copy": lambda hook: AsyncCoreClaw("key").with_options(on_event=hook),
    "on_event of a blocking client": lambda hook: CoreClaw("key", on_event=hook),
    "on_update of a hub": lambda hook: CallbackHub("http://127.0.0.1:9", on_update=hook),
    "progress": lambda hook: CoreClaw("key").runs.wait("run", progress=hook),
    "progress of many": lambda hook: AsyncCoreClaw("key").runs.wait_many(["run"], progress=hook),
    "progress of a start": lambda hook: CoreClaw("key").workers.run("w", {}, progress=hook),
    "progress of rows": lambda hook: CoreClaw("key").runs.iterate_results("run").to_jsonl("rows", progress=hook),
    "progress of a download": lambda hook: CoreClaw("key").runs.download("run", "rows.csv", progress=hook),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_an_async_hook_that_nobody_would_await_is_refused_before_anything_is_sent(taker: str) -> None:
    name = taker.partition(" ")[0]
    for hook in ASYNC_HOOKS:
        with pytest.raises(
            TypeError, match=rf"^{name} must be a plain function: nobody would await the async function"
        ):
            TAKERS[taker](hook)
    with pytest.raises(TypeError, match=rf"^{name} must be "):
        TAKERS[taker](17)


@pytest.mark.parametrize("hook", [print, [].append, Run, functools.partial(print, end=""), lambda _: None])
def test_any_other_callable_is_a_hook(hook: Any) -> None:
    AsyncCoreClaw("key", on_event=hook)
    CallbackHub("http://127.0.0.1:9", on_update=hook)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("hook", [AsyncMock(), functools.partial(AsyncMock(), 1)])
async def test_updates_of_a_wait_may_be_awaited(hook: Any) -> None:
    service = FakeService()
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        started = await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
        await client.runs.wait(started, on_update=hook)

    called: Any = hook.func if isinstance(hook, functools.partial) else hook
    assert called.await_count > 0


@pytest.mark.parametrize(("kind", "group", "method"), METHODS, ids=lambda value: getattr(value, "__name__", value))
def test_a_mock_has_each_method_with_its_signature(kind: Any, group: str, method: str) -> None:
    real = getattr(type(getattr(kind("key"), group)), method)
    for mock in (_of_class(kind), _of_class(kind)("key"), _of_instance(kind)):
        mocked = getattr(getattr(mock, group), method)

        assert isinstance(mocked, AsyncMock) is inspect.iscoroutinefunction(real)
        with pytest.raises(TypeError, match="too many positional arguments"):
            mocked(*range(9))


@functools.cache
def _of_class(kind: Any) -> Any:
    return create_autospec(kind)


@functools.cache
def _of_instance(kind: Any) -> Any:
    return create_autospec(kind, instance=True)


def test_a_mock_answers_what_a_test_has_set() -> None:
    client = create_autospec(AsyncCoreClaw, instance=True)
    client.runs.get.return_value = Run(run_id="R")

    assert asyncio.run(client.runs.get("R")) == Run(run_id="R")
    client.runs.get.assert_awaited_once_with("R")
    with pytest.raises(TypeError):
        client.runs.get()
    with pytest.raises(AttributeError):
        client.runs.gett  # noqa: B018 - it is looked up


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_that_is_patched_with_its_spec_is_that_group(group: str) -> None:
    kind = getattr(AsyncCoreClaw, group)
    names = [name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")]
    with patch.object(AsyncCoreClaw, group, autospec=True) as mock:
        assert getattr(AsyncCoreClaw("key"), group) is mock
        assert [name for name in names if not hasattr(mock, name)] == []
        with pytest.raises(AttributeError):
            _ = mock.misspelt

    assert type(getattr(AsyncCoreClaw("key"), group)) is kind


async def test_a_patched_group_is_called_as_the_group_is() -> None:
    with patch.object(AsyncCoreClaw, "runs", autospec=True) as mock:
        mock.get.return_value = "a run"
        runs: Any = AsyncCoreClaw("key").runs

        assert await runs.get("R1") == "a run"
        with pytest.raises(TypeError):
            runs.get("R1", misspelt=True)
    mock.get.assert_awaited_once_with("R1")
