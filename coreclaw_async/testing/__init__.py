"""
The CoreClaw service as a state machine, to test programs against.

Belongs here: a second reading of the API's contract, its faults, its clock, and the pytest plugin.
Does not belong here: anything taken from the client, so that one misreading cannot pass on both sides.

Import from here, and faults from `coreclaw_async.testing.faults`. Names load when they are first used, because every
run of pytest imports the pytest plugin of this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coreclaw_async.testing import faults
    from coreclaw_async.testing._service import FakeService
    from coreclaw_async.testing._serving.fault_plan import FaultPlan
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
