"""
The CoreClaw service as a state machine, to test programs against.

.. code-block:: python

    import asyncio

    from coreclaw_async import AsyncCoreClaw, OutcomeUnknownError
    from coreclaw_async.testing import FakeService, RunScript, faults


    async def main() -> None:
        service = FakeService(default_script=RunScript(rows=250, duration=3600))
        async with AsyncCoreClaw(
            service.api_key, base_url=service.base_url, transport=service, clock=service.clock
        ) as client:
            run = await client.workers.run("coreclaw/google-maps-scraper", {"keywords": ["coffee"]})
            assert run.result_count == 250

            service.faults.add(faults.commit_then_drop(), operation="runWorker")  # The reply is lost.
            try:
                await client.workers.start_run("coreclaw/google-maps-scraper", {"keywords": ["tea"]})
            except OutcomeUnknownError as error:
                assert len(error.candidates or ()) == 1
            assert service.runs_created == 2  # What a user would have paid for.


    asyncio.run(main())

With pytest and the extra ``testing``, the fixtures ``coreclaw_service``, ``coreclaw_client`` and
``coreclaw_sync_client`` give you these; async tests that take one need no mark, and run under anyio or pytest-asyncio
where you have marked them. Faults come by count, by time (``faults.outage(minutes=20)``, ``faults.flap(...)``) and by
chance (``probability=0.1``). For programs in any language, ``coreclaw-async emulate`` serves the fake on port 8790,
and ``--chaos plan.json`` plans faults, such as ``[{"fault": "outage", "minutes": 20}]``. Its console, the page at
http://127.0.0.1:8790/, shows runs and requests as they come, and has buttons to end runs, to advance the clock and to
plan faults. Click "Lose the answer of the next start", start a run, and see `OutcomeUnknownError` raised.

In the CI of such a program, two lines of shell start the emulator in the background, wait until it answers or has
failed, and set the two variables (extras ``cli`` and ``emulator``):

.. code-block:: bash

    coreclaw-async emulate --port 0 >emulator.log & until grep -qs '^Ctrl-C' emulator.log; do kill -0 $!; sleep 1; done
    eval "$(grep export emulator.log)"

They are for ``bash -e``. Where each step has a shell of its own, as in GitHub Actions, the second line is
``grep -o 'CORECLAW_.*' emulator.log >>"$GITHUB_ENV"``. In a container (this line is not tested here), with
``CORECLAW_BASE_URL=http://127.0.0.1:8790`` and ``CORECLAW_API_KEY=test-key``:

.. code-block:: sh

    docker run --rm -p 127.0.0.1:8790:8790 python:3.13-slim sh -c "
        pip install -q 'coreclaw-async[cli,emulator]' && exec coreclaw-async emulate --host 0.0.0.0"

Import from here, and faults from ``coreclaw_async.testing.faults``. Names load when they are first used, because
every run of pytest imports the pytest plugin of this package.

Belongs here: a second reading of the API's contract, its faults, its clock, and the pytest plugin.
Does not belong here: anything taken from the client, so that one misreading cannot pass on both sides.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coreclaw_async.testing import faults
    from coreclaw_async.testing._service import FakeService
    from coreclaw_async.testing._serving.fault_plan import FaultPlan, PlannedFault
    from coreclaw_async.testing._state.clock import Clock, FakeClock, RealClock
    from coreclaw_async.testing._state.fake_run import FakeRun
    from coreclaw_async.testing._state.records import (
        FakeQueueItem,
        FakeTask,
        FakeWorker,
        RecordedRequest,
        SentCallback,
    )
    from coreclaw_async.testing._state.scripts import CallbackPlan, RunScript
    from coreclaw_async.testing.faults import Fault

__all__ = [
    "CallbackPlan",
    "Clock",
    "FakeClock",
    "FakeQueueItem",
    "FakeRun",
    "FakeService",
    "FakeTask",
    "FakeWorker",
    "Fault",
    "FaultPlan",
    "PlannedFault",
    "RealClock",
    "RecordedRequest",
    "RunScript",
    "SentCallback",
    "faults",
]

_MODULE_OF = {
    "CallbackPlan": "_state.scripts",
    "Clock": "_state.clock",
    "FakeClock": "_state.clock",
    "FakeQueueItem": "_state.records",
    "FakeRun": "_state.fake_run",
    "FakeService": "_service",
    "FakeTask": "_state.records",
    "FakeWorker": "_state.records",
    "Fault": "faults",
    "FaultPlan": "_serving.fault_plan",
    "PlannedFault": "_serving.fault_plan",
    "RealClock": "_state.clock",
    "RecordedRequest": "_state.records",
    "RunScript": "_state.scripts",
    "SentCallback": "_state.records",
}


if not TYPE_CHECKING:  # pragma: no branch - type checkers would accept any name otherwise.

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f"{__name__}.{_MODULE_OF.get(name, name)}")
        return getattr(module, name, module)


def __dir__() -> list[str]:
    return __all__
