"""The event loop of the blocking clients: one thread in each process, and the way onto it and back."""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import attrs

from coreclaw_async.errors import ConfigurationError

if TYPE_CHECKING:
    import asyncio  # Imported late elsewhere: it takes longer than the rest of the package.

P = ParamSpec("P")
T = TypeVar("T")

# An interrupted call may abort a run (five seconds at most), or look for the run that it may have started.
_CLEAN_UP_SECONDS = 6.0
_EXIT_SECONDS = 1.0
_PARK_SECONDS = 1.0
_NOTE_LENGTH = 300

NOT_ENDED = "the interrupted call has not ended: it cleans up in the background, and may have taken effect"
"""What an interrupt says of a call that was not waited for any longer."""


@attrs.define(eq=False)
class _Call:
    """
    One coroutine on its way through the loop, and the thread that waits for it.

    Attributes:
        coroutine: What is to be run.
        context: The caller's context variables.
        over: Held until it has ended.
        is_over: Whether it has ended, or never will begin.
        task: The task it became, or None.
    """

    coroutine: Coroutine[Any, Any, Any]
    context: contextvars.Context = attrs.field(factory=contextvars.copy_context)
    over: threading.Lock = attrs.field(factory=threading.Lock)
    is_over: bool = False
    task: asyncio.Task[Any] | None = None

    def __attrs_post_init__(self) -> None:
        self.over.acquire()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self.is_over:
            self.task = loop.create_task(self.coroutine, context=self.context)
            self.task.add_done_callback(self._end)

    def cancel(self) -> None:
        if self.task is None:
            self.abandon()
        else:
            self.task.cancel()

    def abandon(self) -> None:
        """Let the caller go without an outcome."""
        if self.is_over:
            return
        self.is_over = True
        with contextlib.suppress(RuntimeError):  # It has begun, and ignores that it ends.
            self.coroutine.close()
        with contextlib.suppress(RuntimeError):  # Another thread was quicker.
            self.over.release()

    def _end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # Asked for, so that asyncio does not complain when nobody waits any more.
        self.is_over = True
        self.over.release()


class _LoopThread:
    """
    A daemon thread with an asyncio event loop.

    Attributes:
        leases: Clients that use it.
        is_over: Whether it takes no more calls: it was stopped, or belongs to the process that this one was forked
            from.
    """

    def __init__(self) -> None:
        import asyncio

        self.leases = 0
        self.is_over = False
        self._calls: set[_Call] = set()
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._serve, name="coreclaw_async", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # No thread can be started any more, for example at exit.
            self._loop.close()
            raise

    @property
    def is_here(self) -> bool:
        """Whether the caller runs in this very thread."""
        return threading.get_ident() == self._thread.ident

    def refuse_itself(self) -> None:
        """Raise where a call would wait for its own end."""
        if self.is_here:
            raise RuntimeError(
                "a blocking call in a callback (on_event, on_update, on_progress) would wait for itself: "
                "hand it to another thread, or use AsyncCoreClaw"
            )

    def run(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run *coroutine* to its end and return its task."""
        call = _Call(coroutine)
        self._calls.add(call)
        try:
            self._schedule(call.begin, self._loop)
            call.over.acquire()
        except BaseException as error:  # From a signal handler, Ctrl-C as a rule.
            self._leave(call, error)
            raise
        finally:
            self._calls.discard(call)
        if call.task is None or not call.task.done() or call.task.cancelled():
            raise ConfigurationError("the client was closed while this call was under way")
        return call.task

    def stop(self, seconds: float) -> None:
        """Have the loop end, and wait for that for *seconds* at most."""
        self._schedule(self._end)
        if not self.is_here:
            self._thread.join(seconds)

    def call(self, function: Callable[[], object]) -> None:
        """Have the loop call *function* soon; from any thread, finalisers included."""
        self._schedule(function)

    def _schedule(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # The loop is closed.
            self._abandon_calls()

    def _end(self) -> None:
        if not self._stop.done():
            self._stop.set_result(None)

    def _leave(self, call: _Call, error: BaseException) -> None:
        """Cancel a call that *error* took its caller from, let it clean up, and say in *error* how it ended."""
        self._schedule(call.cancel)
        try:
            call.over.acquire(timeout=0 if call.is_over else _CLEAN_UP_SECONDS)
        except BaseException as again:  # Whoever interrupts twice does not want to wait for the clean-up.
            _explain(again, call.task)
            raise
        _explain(error, call.task)

    def _serve(self) -> None:
        # The libraries ask this first; else they would believe the context of a caller who runs under trio.
        with contextlib.suppress(ImportError):
            import sniffio

            sniffio.thread_local.name = "asyncio"
        # While one task is run to its end, anyio's worker threads live as long as that.
        main = self._loop.create_task(self._wait_for_stop())
        while not main.done():
            # A callback of the caller's can raise what ends a loop; its call has the error already.
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                self._loop.run_until_complete(main)
        self._loop.close()
        self._abandon_calls()

    async def _wait_for_stop(self) -> None:
        import asyncio

        await self._stop
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLEAN_UP_SECONDS)
        await self._loop.shutdown_asyncgens()
        await asyncio.sleep(0)  # In which the transports that were closed let go of their sockets.

    def _abandon_calls(self) -> None:
        """Let go of the calls that came too late to begin, or did not end in time."""
        for call in tuple(self._calls):
            call.abandon()


def _explain(error: BaseException, task: asyncio.Task[Any] | None) -> None:
    """Say in *error*, which took the caller from a call, how that call ended: a run that was paid for is not lost."""
    import asyncio

    if task is None:
        return
    if not task.done():
        error.add_note(NOT_ENDED)
        return
    try:
        failure = task.exception()
    except asyncio.CancelledError as cancelled:
        for note in getattr(cancelled, "__notes__", ()):
            error.add_note(note)
        return
    if failure is not None:
        error.__cause__ = failure
        error.add_note(f"the interrupted call ended with {type(failure).__name__}: {failure}")
    elif (result := task.result()) is not None:
        error.add_note(f"the interrupted call had just returned {result!r:.{_NOTE_LENGTH}}")


class _Process:
    """
    What this process has of it all: the loop thread, when there is one.

    The thread is started by the first call, shared by all clients, and stopped with the last of them or at exit.
    """

    def __init__(self) -> None:
        # Re-entrant, for the garbage collector may close a client anywhere.
        self.lock = threading.RLock()
        self._thread: _LoopThread | None = None
        self._inherited: list[_LoopThread] = []
        self._is_exiting = False
        self._may_go_on = threading.Event()

    def lease(self) -> _LoopThread:
        """Return the thread, for a client that gives it back with `release`; the lock must be held."""
        if self._is_exiting:
            raise ConfigurationError("the interpreter is exiting, and all clients are closed")
        if self._thread is None:
            self._thread = _LoopThread()
        self._thread.leases += 1
        return self._thread

    def release(self, thread: _LoopThread) -> None:
        """Give a lease back; with the last one the thread ends."""
        with self.lock:
            thread.leases -= 1
            if thread.leases or thread.is_over:
                return
            thread.is_over = True
            self._thread = None
        thread.stop(_CLEAN_UP_SECONDS)

    def exit(self) -> None:
        """End the loop, for good; a client that nobody closed must not hold the interpreter up."""
        with self.lock:
            self._is_exiting = True
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.is_over = True
            thread.stop(_EXIT_SECONDS)

    def park(self) -> None:
        """Hold the loop between two callbacks, where it has no lock that a forked child would find taken for ever."""
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
        """Go on in the process that was forked."""
        self.lock.release()
        self._may_go_on.set()

    def forget(self) -> None:
        """Begin anew in a forked child, which has the loop but not the thread."""
        self.lock = threading.RLock()
        self._may_go_on = threading.Event()  # The loop may just have held the lock within.
        if self._thread is not None:
            self._thread.is_over = True
            # Kept, for its end would touch what the parent still uses.
            self._inherited.append(self._thread)
            self._thread = None


_PROCESS = _Process()
atexit.register(_PROCESS.exit)
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(before=_PROCESS.park, after_in_parent=_PROCESS.go_on, after_in_child=_PROCESS.forget)


class Bridge:
    """What one blocking client, its copies, groups and iterators share: their way onto the loop."""

    def __init__(self) -> None:
        self._thread: _LoopThread | None = None
        self._is_closed = False
        self._forget_to_give_back: Callable[[], object] = bool

    def run(
        self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Task[T]:
        """
        Run a coroutine function on the loop and return its task, which has ended.

        The caller asks the task for the result: then no line of this module stands in the traceback of an error.

        Raises:
            ConfigurationError: The client is closed.
            RuntimeError: Called from the loop's own thread.
        """
        thread = self._thread
        if thread is None or thread.is_over or self._is_closed:
            thread = self._join()
        thread.refuse_itself()
        return thread.run(function(*args, **kwargs))

    def close(self, aclose: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run *aclose* as the last call; a second time does nothing."""
        if self._is_closed:
            return
        if self._thread is not None:
            self._thread.refuse_itself()
        try:
            # At exit there is no loop any more, and it has closed all that was open.
            with contextlib.suppress(ConfigurationError):
                self.run(aclose).result()
        finally:
            self._is_closed = True
            thread, self._thread = self._thread, None
            if thread is not None:  # pragma: no branch - at exit, in a process of its own
                self._forget_to_give_back()
                _PROCESS.release(thread)

    def _join(self) -> _LoopThread:
        with _PROCESS.lock:
            if self._is_closed:
                raise ConfigurationError("the client is closed; make a new one")
            # Else another thread was quicker, which a test cannot have happen at will.
            if self._thread is None or self._thread.is_over:  # pragma: no branch
                self._thread = _PROCESS.lease()
                # For a client that nobody closes.
                give_back = weakref.finalize(self, _give_back, self._thread)
                give_back.atexit = False
                self._forget_to_give_back = give_back.detach
            return self._thread


class Hosted:
    """
    An async context manager whose block is a task of its own, so that calls which are tasks too can share it.

    Args:
        manager: The manager; it is left with the last call, or with the loop.
    """

    def __init__(self, manager: AbstractAsyncContextManager[Any]) -> None:
        self._manager = manager
        self._task: asyncio.Task[None] | None = None
        self._is_closing: asyncio.Event | None = None

    async def open(self) -> None:
        """Enter the manager; its errors are raised here."""
        import asyncio

        is_open = asyncio.Event()
        self._is_closing = asyncio.Event()
        self._task = asyncio.create_task(self._live(is_open, self._is_closing))
        opening = asyncio.create_task(is_open.wait())
        try:
            await asyncio.wait((self._task, opening), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        finally:
            opening.cancel()
        if self._task.done():
            self._task.result()

    async def close(self) -> None:
        """Leave the manager; its errors are raised here."""
        import asyncio

        assert self._task is not None, "it was opened"
        assert self._is_closing is not None, "it was opened"
        self._is_closing.set()
        await asyncio.wait((self._task,))
        self._task.result()

    async def _live(self, is_open: asyncio.Event, is_closing: asyncio.Event) -> None:
        async with self._manager:
            is_open.set()
            await is_closing.wait()


def _give_back(thread: _LoopThread) -> None:
    # A finaliser may run anywhere, also where a lock is held: so the loop does it.
    thread.call(lambda: _PROCESS.release(thread))
