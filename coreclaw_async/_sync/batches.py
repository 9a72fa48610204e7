"""The parts of the blocking `Batch` that are written by hand: its block, and `plan`, which reads in the caller."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from coreclaw_async._sync.generated_frames import BatchFrames
from coreclaw_async._sync.runtime import Bridge

if TYPE_CHECKING:
    import asyncio  # Imported late elsewhere: it takes longer than the rest of the package.

    from coreclaw_async.batch import AsyncBatch, RunSpec


class BatchBlock(BatchFrames):
    """
    The block of a blocking batch.

    The async batch runs in a task that lives during the calls and between them.
    """

    def __init__(self, inner: AsyncBatch, bridge: Bridge) -> None:
        super().__init__(inner, bridge)
        self._host: Hosted | None = None

    def __repr__(self) -> str:
        return repr(self._inner).removeprefix("Async") if "_inner" in vars(self) else "Batch(...)"

    @property
    def name(self) -> str:
        """Name of the batch."""
        return self._inner.name

    def __enter__(self) -> Self:
        """
        Open the ledger.

        Raises:
            LedgerError: It cannot be used, or the batch is another account's.
            ConfigurationError: There is no API key, or an extra is missing.
        """
        host = Hosted(self._inner)
        self._bridge.run(host.open).result()
        self._host = host
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """
        Start no more runs, let the starts under way be answered, and close the ledger.

        This waits for a start for at most `SettleTimes.send_window` plus `SettleTimes.post_timeout`. Its answer is
        recorded, however the block ends. The first Ctrl-C does not cut that short; the second does, and the next `run`
        settles the starts that were not answered. The runs keep running.
        """
        host, self._host = self._host, None
        if host is None:
            return
        try:
            self._bridge.run(host.close).result()
        except (KeyboardInterrupt, SystemExit):
            self._bridge.run(host.close).result()
            raise

    def plan(self, specs: Iterable[RunSpec]) -> int:
        """
        Add items to the batch, and return how many are new; sends nothing.

        Reads *specs* in chunks of a thousand items or four megabytes of inputs, whichever comes first, so that memory
        stays small. An item that is there already with the same input stays as it is, so the same plan may be made any
        number of times.

        A plan that breaks off (an exception of *specs*, one of those below, Ctrl-C, a killed process) leaves the items
        that it had written in the batch. `BatchReport.is_half_planned` is then true until another plan of at least one
        item is complete; it is also true while a plan is being read.

        Args:
            specs: The runs to start; any iterable, which is read in the caller's thread.

        Raises:
            BatchConflictError: A key is there with another worker, version or input.
            LedgerError: The ledger cannot be written to.
            TypeError: Something is not a `RunSpec`, or an input holds a value that JSON cannot express.
            ValueError: A member of a spec is out of range.

        Example::

            words = ("coffee", "tea", "mate")
            new = batch.plan(
                RunSpec(key=word, worker_id="coreclaw/google-maps-scraper", input={"keywords": [word]})
                for word in words
            )
        """
        begin = self._inner._begin_plan  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - no part of what callers see
        planning = self._bridge.run(begin).result()
        for spec in specs:
            if planning.take(spec):
                self._bridge.run(planning.write).result()
        return self._bridge.run(planning.end).result()


class Hosted:
    """
    Keeps an async context manager open in a task, so that other tasks, the calls, can use it.

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
        """Leave the manager; its errors are raised here. In a forked child do nothing: it is the parent's."""
        import asyncio

        assert self._task is not None, "it was opened"
        if self._task.get_loop() is not asyncio.get_running_loop():
            return
        assert self._is_closing is not None, "it was opened"
        self._is_closing.set()
        await asyncio.wait((self._task,))
        self._task.result()

    async def _live(self, is_open: asyncio.Event, is_closing: asyncio.Event) -> None:
        async with self._manager:
            is_open.set()
            await is_closing.wait()
