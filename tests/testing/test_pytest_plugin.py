"""The fixtures for users' own tests, and how little loading them costs."""

from __future__ import annotations

import subprocess
import sys

from coreclaw_async import AsyncCoreClaw
from coreclaw_async.testing import FakeService, pytest_plugin

coreclaw_service = pytest_plugin.coreclaw_service
coreclaw_client = pytest_plugin.coreclaw_client


def test_the_service_is_fresh(coreclaw_service: FakeService) -> None:
    assert (coreclaw_service.runs_created, coreclaw_service.clock.monotonic()) == (0, 0)


async def test_the_client_uses_the_service_and_its_clock(
    coreclaw_client: AsyncCoreClaw, coreclaw_service: FakeService
) -> None:
    run = await coreclaw_client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})

    assert coreclaw_service.runs.keys() == {run.run_id}
    assert coreclaw_service.clock.monotonic() >= 10


def test_loading_the_plugin_does_not_load_the_service() -> None:
    code = (
        "import sys, coreclaw_async.testing.pytest_plugin;"
        "print([name for name in ('httpx', 'attrs', 'anyio', 'coreclaw_async.testing._service')"
        " if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "'coreclaw_async.testing._service'" not in result.stdout
