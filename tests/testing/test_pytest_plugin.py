"""The fixtures for users' own tests, and how little loading them costs."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coreclaw_async import AsyncCoreClaw, CoreClaw
from coreclaw_async.testing import FakeService, pytest_plugin

coreclaw_service = pytest_plugin.coreclaw_service
coreclaw_client = pytest_plugin.coreclaw_client
coreclaw_sync_client = pytest_plugin.coreclaw_sync_client

WORKER = "coreclaw/google-maps-scraper"
INPUT = {"keywords": ["coffee"]}


def test_the_service_is_fresh(coreclaw_service: FakeService) -> None:
    assert (coreclaw_service.runs_created, coreclaw_service.clock.monotonic()) == (0, 0)


async def test_the_client_uses_the_service_and_its_clock(
    coreclaw_client: AsyncCoreClaw, coreclaw_service: FakeService
) -> None:
    run = await coreclaw_client.workers.run(WORKER, INPUT)

    assert coreclaw_service.runs.keys() == {run.run_id}
    assert coreclaw_service.clock.monotonic() >= 10


def test_the_blocking_client_uses_the_service_and_its_clock(
    coreclaw_sync_client: CoreClaw, coreclaw_service: FakeService
) -> None:
    run = coreclaw_sync_client.workers.run(WORKER, INPUT)

    assert coreclaw_service.runs.keys() == {run.run_id}
    assert coreclaw_service.clock.monotonic() >= 10


class Item(SimpleNamespace):
    """What the plugin asks of a test."""

    def __init__(self, test: Any, **arguments: Any) -> None:
        super().__init__(
            obj=test,
            funcargs=arguments | {"unused": 1},
            fixturenames=[*arguments, "unused"],
            _fixtureinfo=SimpleNamespace(argnames=tuple(arguments)),
        )


def run(item: Item) -> bool | None:
    return pytest_plugin.pytest_pyfunc_call(cast("pytest.Function", item))


def test_an_async_test_that_nobody_runs_is_run(coreclaw_client: AsyncCoreClaw, coreclaw_service: FakeService) -> None:
    async def test(coreclaw_client: AsyncCoreClaw, number: int) -> None:
        for _ in range(number):
            await coreclaw_client.workers.start_run(WORKER, INPUT)

    assert run(Item(test, coreclaw_client=coreclaw_client, number=2)) is True
    assert coreclaw_service.runs_created == 2


def test_what_an_async_test_raises_is_what_pytest_sees(coreclaw_service: FakeService) -> None:
    async def test(coreclaw_service: FakeService) -> None:
        pytest.skip("for a reason")

    with pytest.raises(pytest.skip.Exception, match="for a reason"):
        run(Item(test, coreclaw_service=coreclaw_service))


def test_other_tests_are_left_to_others(coreclaw_service: FakeService) -> None:
    async def foreign(number: int) -> None:
        raise AssertionError

    def plain(coreclaw_service: FakeService) -> None:
        raise AssertionError

    assert run(Item(foreign, number=1)) is None
    assert run(Item(plain, coreclaw_service=coreclaw_service)) is None


@pytest.mark.endurance
def test_loading_the_plugin_loads_nothing_else() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules);"
        "import coreclaw_async.testing.pytest_plugin;"
        "print(sorted(set(sys.modules) - before))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    package = ["coreclaw_async", "coreclaw_async._late_names", "coreclaw_async._version", "coreclaw_async.testing"]
    assert result.stdout.strip() == str([*package, "coreclaw_async.testing.pytest_plugin"])
