"""Starting a run when the plan has room for it, and waiting with what is left of the time."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from coreclaw_async._operations.context import Context
from coreclaw_async._wire.request import check_bool
from coreclaw_async.models import StartedRun

# A wait that begins at its deadline still looks once.
_LEAST = 0.001


async def start_in_slot(
    context: Context, start: Callable[[], Awaitable[StartedRun]], *, timeout: float | None, wait_for_slot: bool
) -> tuple[StartedRun, float | None]:
    """Return what *start* returns, and what is left of *timeout* where that was used up by waiting for a slot."""
    if not check_bool("wait_for_slot", wait_for_slot):
        return await start(), timeout
    clock = context.transport.clock
    deadline = math.inf if timeout is None else clock.monotonic() + timeout
    started = await context.slots.start(start, context.schedule, deadline)
    return started, None if timeout is None else max(deadline - clock.monotonic(), _LEAST)
