"""Threads for what blocks an event loop, such as a name server that is silent; no program waits for them at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """
    A daemon thread for each call; an event loop takes no executor of another base.

    The interpreter waits at its end for all threads of the base, so for a look-up of half a minute whose call was given
    up long ago. There are no more look-ups at a time than connections that are being made.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call *fn* in a thread of its own."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # Nobody can have cancelled it yet.
        threading.Thread(target=_work, args=(future, fn, args, kwargs), name="coreclaw_async call", daemon=True).start()
        return future


def _work(future: Future[Any], fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - the caller gets it
        future.set_exception(error)
    else:
        future.set_result(result)
