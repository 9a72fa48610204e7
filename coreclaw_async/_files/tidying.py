"""Tidying up after work in threads, however often a task is cancelled."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread


async def tidy_up(function: Callable[[], object]) -> None:
    """
    Call *function* in a thread, and have it done when this returns or raises.

    anyio does not shield a task that asyncio itself cancels. The call may then never have begun, and is made here.

    Args:
        function: Does nothing the second time, and waits for its first call.
    """
    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(function)
    except BaseException:
        function()
        raise
