"""Waiting for what another task, thread or process does: each wait ends, and says what has not come."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import IO

import anyio

PATIENCE = 120.0  # Real seconds: other programs may keep the machine busy.


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Return when another thread or process has made something true."""
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up, f"not in time: {what}"
        time.sleep(0.005)


async def until(holds: Callable[[], object], what: str, *, pause: float = 0.0) -> None:
    """Return when another task has made something true; without a *pause* no virtual clock moves meanwhile."""
    give_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < give_up, f"not in time: {what}"
        await anyio.sleep(pause)


def join(*threads: threading.Thread) -> None:
    """Return when all threads have ended."""
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"{thread.name} does not end"


def next_line(stream: IO[str] | IO[bytes]) -> str:
    """Return the next line that another process writes, or an empty string when none comes in time."""
    ready, _, _ = select.select([stream], [], [], PATIENCE)
    line = stream.readline() if ready else ""
    return line if isinstance(line, str) else line.decode()
