"""Ctrl-C, or a cancellation, in the middle of a test, when something has happened."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import anyio


@contextlib.contextmanager
def interrupt_once(is_time: Callable[[], object], *, is_missed: bool = False) -> Iterator[None]:
    """
    Send Ctrl-C to the main thread, where the block runs, when *is_time* is true.

    With *is_missed* a system call of that thread is not interrupted, as when the signal arrives just before the call.
    """
    is_over = threading.Event()

    def watch() -> None:
        while not is_time():
            if is_over.wait(0.005):
                return
        signal.pthread_kill(threading.get_ident() if is_missed else main, signal.SIGINT)

    main = threading.get_ident()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextlib.asynccontextmanager
async def cancelling_once(is_time: Callable[[], object]) -> AsyncIterator[anyio.CancelScope]:
    """Yield a scope that is cancelled when *is_time* is true."""
    scope = anyio.CancelScope()

    async def watch() -> None:
        while not is_time():
            await anyio.sleep(0.005)
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        yield scope
        group.cancel_scope.cancel()
