"""Calling into an event loop from another thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import anyio

EventLoop: TypeAlias = object
"""What an async backend calls its loop: asyncio's event loop, or trio's token."""


def current_loop() -> EventLoop:
    """
    Return the event loop that runs in this thread.

    Raises:
        RuntimeError: None runs.
    """
    loop = _loop_of_task()
    return anyio.lowlevel.current_token().native_token if loop is None else loop


def is_task_of_asyncio() -> bool:
    """Return whether a task of asyncio calls, and not trio within one, or as a guest of its event loop."""
    return _loop_of_task() is not None


def _loop_of_task() -> EventLoop | None:
    """Return asyncio's event loop where one of its tasks calls; anyio says the same, and takes ten times as long."""
    asyncio = sys.modules.get("asyncio")  # Not imported, which would take a while; who runs a loop of it has done so.
    loop = None if asyncio is None else asyncio._get_running_loop()  # noqa: SLF001 - it is documented
    if asyncio is None or loop is None or asyncio.current_task(loop) is None:
        return None
    # A task may have called trio.run, as the cells of a notebook do. Only sniffio knows, and trio needs it.
    sniffio = sys.modules.get("sniffio")
    return None if sniffio is not None and sniffio.thread_local.name == "trio" else loop


def is_asyncio() -> bool:
    """Return whether the event loop that runs in this thread is one of asyncio, or none runs."""
    try:
        return hasattr(current_loop(), "call_soon_threadsafe")
    except RuntimeError:
        return True


def call_soon(loop: Any, function: Callable[..., object], *arguments: object) -> None:
    """Have *loop* call *function* soon; works from any thread, and does nothing once the loop is closed."""
    call = loop.call_soon_threadsafe if hasattr(loop, "call_soon_threadsafe") else loop.run_sync_soon
    try:
        call(function, *arguments)
    except RuntimeError:
        return
