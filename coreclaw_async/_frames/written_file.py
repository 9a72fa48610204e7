"""A file that is written in threads, whole or not at all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TypeVar

import anyio
import anyio.to_thread

from coreclaw_async._files.target import FileTarget, naming, tidy_up

FileT = TypeVar("FileT", bound=IO[bytes] | IO[str])
T = TypeVar("T")


class FileWork:
    """
    Calls what works on a file, in threads, one at a time.

    A task that asyncio itself cancels goes on while its call is still running in a thread. So nothing may touch the
    file, not even to close it, but in its turn.

    Attributes:
        target: The file.
    """

    def __init__(self, target: FileTarget) -> None:
        self.target = target
        self._lock = threading.Lock()
        self._is_over = False
        self._at_end = contextlib.ExitStack()
        self._at_end.callback(target.discard)

    def call(self, function: Callable[..., T], *args: object) -> T:
        """
        Return what *function* returns, once the call before has ended.

        Raises:
            OSError: The file cannot be written; the error names it.
            RuntimeError: The work is over; nobody waits for this call any more.
        """
        with self._lock, naming(self.target.path):
            if self._is_over:
                raise RuntimeError(f"the work on {self.target.path} is over")
            return function(*args)

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Return what `call` returns in a thread."""
        return await anyio.to_thread.run_sync(self.call, function, *args)

    async def opened(self, function: Callable[[Path], FileT]) -> FileT:
        """Return the file that *function* opens in the folder of the target, which is closed in the end."""

        def open_it() -> FileT:
            file = function(self.target.temporary.parent)
            self.at_end(file.close)
            return file

        return await self.run(open_it)

    def at_end(self, function: Callable[[], object]) -> None:
        """Call *function* in the end, the latest first; its errors are of no interest, as another led there."""
        self._at_end.callback(_try, function)

    def end(self) -> None:
        """Close everything once the call that is running has ended, and let no other begin."""
        with self._lock:
            self._is_over = True
            self._at_end.close()


def _try(function: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        function()


@asynccontextmanager
async def written_file(
    path: Path, *, place: Callable[[FileTarget], float | None] = FileTarget.place
) -> AsyncGenerator[FileWork]:
    """
    Yield the work on a file, which takes its place when the block ends without an error.

    Args:
        path: The file.
        place: Gives the whole file its place, as `FileTarget.place`.

    Raises:
        OSError: It cannot be written; as far as that can be told, before the block begins.
    """
    target = await anyio.to_thread.run_sync(FileTarget, path)
    work = FileWork(target)
    try:
        await work.run(target.create)
        await work.run(target.check_place)
        yield work
        while (wait := await work.run(place, target)) is not None:  # noqa: ASYNC110 - a pipe sets no event
            await anyio.sleep(wait)
    finally:
        await tidy_up(work.end)
