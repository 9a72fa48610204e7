"""Calling into an event loop from another thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import anyio.lowlevel

EventLoop: TypeAlias = object
"""What an async backend calls its loop: asyncio's event loop, or trio's token."""


def current_loop() -> EventLoop:
    """
    Return the event loop that runs in this thread.

    Raises:
        RuntimeError: None runs.
    """
    asyncio = sys.modules.get("asyncio")  # Not imported, which would take a while; who runs a loop of it has done so.
    # This is documented, and ten times as fast as asking anyio.
    loop = None if asyncio is None else asyncio._get_running_loop()  # noqa: SLF001
    if asyncio is not None and loop is not None and asyncio.current_task(loop) is not None:
        return loop  # Without a task it may be trio that runs, as a guest.
    return anyio.lowlevel.current_token().native_token


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
