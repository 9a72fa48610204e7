"""A file that is written in threads, whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from coreclaw_async._files.target import FileTarget


@asynccontextmanager
async def written_file(path: Path) -> AsyncGenerator[FileTarget]:
    """
    Yield a target to write to, which takes its place when the block ends without an error.

    Raises:
        OSError: It cannot be written; as far as that can be told, before the block begins.
    """
    target = await anyio.to_thread.run_sync(FileTarget, path)
    try:
        await anyio.to_thread.run_sync(target.create)
        await anyio.to_thread.run_sync(target.check_place)
        yield target
        while (wait := await anyio.to_thread.run_sync(target.place)) is not None:  # noqa: ASYNC110 - a pipe sets no event
            await anyio.sleep(wait)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(target.discard)
