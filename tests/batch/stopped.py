"""
A process that runs a batch and may be stopped while it sends: ``stopped.py URL LEDGER STAGE SEND_WINDOW POST_TIMEOUT``.

At the stage ``connect`` it stops itself with SIGSTOP when its first start is about to be connected.
"""

from __future__ import annotations

import os
import signal
import sys

import anyio

from coreclaw_async import AsyncCoreClaw, PollSchedule, SettleTimes, events


class Stop:
    """Stops the process once, at the first connection after an intent."""

    def __init__(self) -> None:
        self._is_near = False
        sys.addaudithook(self._hear)

    def note(self, event: events.Event) -> None:
        self._is_near = self._is_near or (isinstance(event, events.BatchItemChanged) and event.state == "intent")

    def _hear(self, event: str, _: tuple[object, ...]) -> None:
        if event == "socket.connect" and self._is_near:
            self._is_near = False
            os.kill(os.getpid(), signal.SIGSTOP)


async def run(url: str, ledger: str, stage: str, send_window: str, post_timeout: str) -> None:
    times = SettleTimes(send_window=float(send_window), post_timeout=float(post_timeout), skew=1.5, list_lag=0.2)
    hook = Stop().note if stage == "connect" else None
    schedule = PollSchedule(delays=(0.2,), jitter=0.0)
    async with (
        AsyncCoreClaw("test-key", base_url=url, on_event=hook, poll_schedule=schedule) as client,
        client.batch("paused", ledger=ledger, exclusive=True, settle_times=times) as batch,
    ):
        async for _ in batch.run():
            pass


if __name__ == "__main__":
    url, ledger, stage, send_window, post_timeout = sys.argv[1:]
    anyio.run(run, url, ledger, stage, send_window, post_timeout)
