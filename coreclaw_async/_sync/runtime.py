"""How blocking clients reach the event loop: one loop thread in each process, and a bridge for each client."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from coreclaw_async._sync.loop_thread import CLEAN_UP_SECONDS, LoopCall, LoopThread, explain
from coreclaw_async._tracebacks import hide_own_frames
from coreclaw_async.errors import ConfigurationError, CoreClawError

if TYPE_CHECKING:
    import asyncio  # Imported late elsewhere: it takes longer than the rest of the package.

P = ParamSpec("P")
T = TypeVar("T")

# What callers are told of, by its message; of anything else the frames are worth seeing.
_TOLD = (CoreClawError, ValueError, TypeError)
_EXIT_SECONDS = 1.0
_PARK_SECONDS = 1.0


class _Process:
    """
    The loop thread of this process, if there is one.

    It is started by the first call, shared by all clients, and stopped with the last client or at exit.
    """

    def __init__(self) -> None:
        # Re-entrant, because the garbage collector may close a client anywhere.
        self.lock = threading.RLock()
        self._thread: LoopThread | None = None
        self._inherited: list[LoopThread] = []
        self._is_exiting = False
        self._may_go_on = threading.Event()

    def lease(self) -> LoopThread:
        """Return the thread for a client, which returns it with `release`; the caller must hold the lock."""
        if self._is_exiting:
            raise ConfigurationError("the interpreter is exiting, and all clients are closed")
        if self._thread is None:
            self._thread = LoopThread()
        self._thread.leases += 1
        return self._thread

    def release(self, thread: LoopThread) -> None:
        """Return a lease; the last one stops the thread."""
        with self.lock:
            thread.leases -= 1
            if thread.leases or thread.is_over:
                return
            thread.is_over = True
            self._thread = None
        thread.stop(CLEAN_UP_SECONDS)

    def exit(self) -> None:
        """Stop the loop for good: a client that nobody closed must not keep the interpreter running."""
        with self.lock:
            self._is_exiting = True
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.is_over = True
            thread.stop(_EXIT_SECONDS)

    def park(self) -> None:
        """Pause the loop between two callbacks, where it holds no lock that would stay locked in a forked child."""
        self.lock.acquire()
        thread = self._thread
        if thread is None or thread.is_here:
            return
        is_parked = threading.Event()
        self._may_go_on.clear()

        def park() -> None:
            is_parked.set()
            self._may_go_on.wait(_PARK_SECONDS)

        thread.call(park)
        is_parked.wait(_PARK_SECONDS)

    def go_on(self) -> None:
        """Continue in the parent of a fork."""
        self.lock.release()
        self._may_go_on.set()

    def forget(self) -> None:
        """Start afresh in a forked child, which has the loop but not its thread."""
        self.lock = threading.RLock()
        self._may_go_on = threading.Event()  # The loop may have held its inner lock.
        if self._thread is not None:
            self._thread.is_over = True
            # Kept, because closing it would touch what the parent still uses.
            self._inherited.append(self._thread)
            self._thread = None


_PROCESS = _Process()
atexit.register(_PROCESS.exit)
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(before=_PROCESS.park, after_in_parent=_PROCESS.go_on, after_in_child=_PROCESS.forget)


class Bridge:
    """How a blocking client, its copies, groups and iterators run coroutines on the loop; they share one bridge."""

    def __init__(self) -> None:
        self._thread: LoopThread | None = None
        self._is_closed = False
        self._forget_to_give_back: Callable[[], object] = bool

    def run(
        self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Task[T]:
        """
        Run a coroutine function on the loop and return its task, which has ended.

        The caller takes the result from the task, so that no line of this module is in the traceback of an error.

        Raises:
            ConfigurationError: The client is closed.
            RuntimeError: Called from the loop's own thread.
        """
        thread = self._thread
        if thread is None or thread.is_over or self._is_closed:
            thread = self._join()
        thread.refuse_itself()
        call = LoopCall(function(*args, **kwargs))
        try:
            task = thread.run(call)
            failure = task.exception()
            if isinstance(failure, _TOLD):
                hide_own_frames(failure)
            return task
        except BaseException as error:  # Ctrl-C, also when the call has already ended: a run that it started is named.
            explain(error, call)
            if isinstance(error, KeyboardInterrupt):
                hide_own_frames(error)
            raise

    def close(self, aclose: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *aclose* as the last call; a second time this does nothing."""
        if self._is_closed:
            return
        if self._thread is not None:
            self._thread.refuse_itself()
        try:
            # At exit the loop is gone and has closed everything.
            with contextlib.suppress(ConfigurationError):
                self.run(aclose).result()
        finally:
            self._is_closed = True
            thread, self._thread = self._thread, None
            if thread is not None:  # pragma: no branch - at exit, in a child process
                self._forget_to_give_back()
                _PROCESS.release(thread)

    def _join(self) -> LoopThread:
        with _PROCESS.lock:
            if self._is_closed:
                raise ConfigurationError("the client is closed; make a new one")
            # Otherwise another thread was quicker, which a test cannot force.
            if self._thread is None or self._thread.is_over:  # pragma: no branch
                self._thread = _PROCESS.lease()
                # For clients that nobody closes.
                give_back = weakref.finalize(self, _give_back, self._thread)
                give_back.atexit = False
                self._forget_to_give_back = give_back.detach
            return self._thread


def _give_back(thread: LoopThread) -> None:
    # A finaliser may run anywhere, also while a lock is held, so the loop does it.
    thread.call(lambda: _PROCESS.release(thread))
