"""
Fixtures and short tracebacks for tests of programs that use CoreClaw; pytest finds them by itself.

Every run of pytest imports this module, whatever it tests, so the rest of the package is imported by what needs it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coreclaw_async import AsyncCoreClaw, CoreClaw
    from coreclaw_async.testing import FakeService

_FIXTURES = frozenset({"coreclaw_service", "coreclaw_client", "coreclaw_sync_client"})


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """Leave the frames of the package out of the tracebacks of its errors; ``--full-trace`` shows them."""
    # Where the package was not imported, an error is none of its.
    tracebacks: Any
    errors: Any
    tracebacks, errors = (sys.modules.get(f"coreclaw_async.{name}") for name in ("_tracebacks", "errors"))
    if call.excinfo is not None and errors is not None and isinstance(call.excinfo.value, errors.CoreClawError):
        tracebacks.hide_own_frames(call.excinfo.value)


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test that takes a fixture of this plugin on asyncio, if no other plugin has run it before."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test) or _FIXTURES.isdisjoint(pyfuncitem.fixturenames):
        return None
    import anyio

    # As pytest itself does: other parameters have a default, or are given by a decorator such as mock.patch.
    names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    anyio.run(functools.partial(test, **arguments))
    return True


@pytest.fixture
def coreclaw_service() -> FakeService:
    """Return a fresh `FakeService` with a virtual clock, which has the real time while it is served."""
    from coreclaw_async.testing import FakeService

    return FakeService()


# This is no async fixture, which each async plugin of pytest would run in its own way or not at all. The client opens
# nothing that would have to be closed.
@pytest.fixture
def coreclaw_client(coreclaw_service: FakeService) -> AsyncCoreClaw:
    """
    Return a client of `coreclaw_service` that shares its clock.

    An async test that takes it needs no mark: it runs on asyncio, unless a plugin such as anyio's or pytest-asyncio
    runs it.
    """
    from coreclaw_async import AsyncCoreClaw

    return AsyncCoreClaw(
        coreclaw_service.api_key,
        base_url=coreclaw_service.base_url,
        transport=coreclaw_service,
        clock=coreclaw_service.clock,
    )


@pytest.fixture
def coreclaw_sync_client(coreclaw_service: FakeService) -> Iterator[CoreClaw]:
    """Yield a blocking client of `coreclaw_service` that shares its clock, and close it after the test."""
    from coreclaw_async import CoreClaw

    client = CoreClaw(
        coreclaw_service.api_key,
        base_url=coreclaw_service.base_url,
        transport=coreclaw_service,
        clock=coreclaw_service.clock,
    )
    with client:
        yield client
