"""The daemon thread with the event loop of the blocking clients, and the calls that go through it."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from coreclaw_async._concurrency.calls import keep_started
from coreclaw_async._logs import facts, logger
from coreclaw_async.errors import ConfigurationError, CoreClawError

if TYPE_CHECKING:
    import asyncio  # Imported late elsewhere: it takes longer than the rest of the package.

T = TypeVar("T")

CLEAN_UP_SECONDS = 6.0
"""What an interrupted call gets to abort a run (five seconds at most), or to find the run that it may have started."""

NOT_ENDED = "the interrupted call has not ended: it cleans up in the background, and may have taken effect"
"""The note on an interrupt whose call was no longer waited for."""

_NOTE_LENGTH = 300
_MAX_STARTED = 100  # An engine of a batch, whose ledger has them all, begins in a call and outlives it.
_SECONDS_UNNOTICED = 0.5


@attrs.define(eq=False)
class LoopCall(Generic[T]):
    """
    A coroutine that runs in the loop while the caller's thread waits for it.

    Attributes:
        coroutine: What to run.
        context: The caller's context variables.
        started: The runs that it has started, the last ones.
        over: A lock that is held until the call has ended.
        is_over: Whether it has ended, or will never begin.
        task: Its task, or None before it has begun.
    """

    coroutine: Coroutine[Any, Any, T]
    context: contextvars.Context = attrs.field(factory=contextvars.copy_context)
    started: deque[str] = attrs.field(factory=functools.partial(deque[str], maxlen=_MAX_STARTED))
    over: threading.Lock = attrs.field(factory=threading.Lock)
    is_over: bool = False
    task: asyncio.Task[T] | None = None

    def __attrs_post_init__(self) -> None:
        self.over.acquire()
        self.context.run(keep_started, self.started)

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
        """Release the caller without an outcome."""
        if self.is_over:
            return
        self.is_over = True
        with contextlib.suppress(RuntimeError):  # It has begun and ignores `close`.
            self.coroutine.close()
        with contextlib.suppress(RuntimeError):  # Another thread was quicker.
            self.over.release()

    def _end(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # Retrieved, so that asyncio does not complain when nobody waits any more.
        self.is_over = True
        self.over.release()


class LoopThread:
    """
    A daemon thread with an asyncio event loop.

    Attributes:
        leases: Clients that use it.
        is_over: Whether it takes no more calls, because it was stopped or belongs to the parent of this forked process.
    """

    def __init__(self) -> None:
        import asyncio

        from coreclaw_async._sync.daemon_threads import DaemonThreads

        self.leases = 0
        self.is_over = False
        self._calls: set[LoopCall[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(DaemonThreads())
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
        """Raise when the caller runs in the loop's thread: the call would wait for itself."""
        if self.is_here:
            raise RuntimeError(
                "a blocking call in a callback (on_event, on_update, progress) would wait for itself: "
                "hand it to another thread, or use AsyncCoreClaw"
            )

    def run(self, call: LoopCall[T]) -> asyncio.Task[T]:
        """Run a call to its end and return its task; an interrupt of the caller cancels it and lets it clean up."""
        self._calls.add(call)
        try:
            self.call(call.begin, self._loop)
            # A signal that arrives just before the wait begins is noticed only when it ends, so the wait has pauses.
            pause = _SECONDS_UNNOTICED if _gets_signals() else -1
            is_over = False
            while not is_over:
                is_over = call.over.acquire(timeout=pause)
        except BaseException:  # From a signal handler, usually Ctrl-C. A second one does not wait for the clean-up.
            self.call(call.cancel)
            call.over.acquire(timeout=0 if call.is_over else CLEAN_UP_SECONDS)
            raise
        finally:
            self._calls.discard(call)
        if call.task is None or not call.task.done() or call.task.cancelled():
            raise ConfigurationError("the client was closed while this call was under way")
        return call.task

    def stop(self, seconds: float) -> None:
        """Stop the loop, and wait for its end for *seconds* at most."""
        self.call(self._end)
        if not self.is_here:
            self._thread.join(seconds)

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Let the loop call *function* soon; works in any thread and in finalisers."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # The loop is closed.
            self._abandon_calls()

    def _end(self) -> None:
        if not self._stop.done():
            self._stop.set_result(None)

    def _serve(self) -> None:
        # Libraries ask sniffio first; otherwise they would find the context of a caller that runs under trio.
        with contextlib.suppress(ImportError):
            import sniffio

            sniffio.thread_local.name = "asyncio"
        # The worker threads of anyio live for as long as the one task that is run to its end.
        main = self._loop.create_task(self._wait_for_stop())
        while not main.done():
            # A user's callback can raise an exception that ends a loop; its call already has it.
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
            await asyncio.wait(tasks, timeout=CLEAN_UP_SECONDS)
        await self._loop.shutdown_asyncgens()
        await asyncio.sleep(0)  # Lets closed transports release their sockets.

    def _abandon_calls(self) -> None:
        """Abandon the calls that came too late to begin, or did not end in time."""
        for call in tuple(self._calls):
            call.abandon()


def _gets_signals() -> bool:
    return threading.get_ident() == threading.main_thread().ident


def explain(error: BaseException, call: LoopCall[Any]) -> None:
    """
    Note in *error*, which interrupted the caller, how the call ended, so that a paid run is not lost.

    What may cost money is in the log too: nobody sees the notes of a SystemExit, or of what the program catches.
    """
    import asyncio

    task = call.task
    if task is None:
        return
    if not task.done():
        started = f"it had started {', '.join(call.started)}" if call.started else None
        for note in filter(None, (NOT_ENDED, started)):
            error.add_note(note)
            logger.warning("%s", note, extra=facts(error, run_ids=list(call.started)))
        return
    try:
        failure = task.exception()
    except asyncio.CancelledError as cancelled:
        for note in getattr(cancelled, "__notes__", ()):  # The log has them.
            error.add_note(note)
        return
    if failure is not None:
        error.__cause__ = failure
        note = f"the interrupted call ended with {type(failure).__name__}: {failure}"
        is_paid = isinstance(failure, CoreClawError) and failure.may_have_taken_effect
    elif (result := task.result()) is not None:
        note = f"the interrupted call had just returned {result!r:.{_NOTE_LENGTH}}"
        is_paid = bool(call.started)
    else:
        return
    error.add_note(note)
    if is_paid:
        logger.warning("%s", note, extra=facts(failure, run_ids=list(call.started)))
