"""The rows of a run in a file of its own, whole or not at all, under a name that a second try overwrites."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from coreclaw_async._file_target import FileTarget, leftovers_of
from coreclaw_async.models import Page, Row


class PartFiles:
    """
    The folder that the rows of a batch go to, one file ``part-<run_id>.jsonl`` for each run.

    Args:
        folder: Made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def prepare(self) -> None:
        """
        Make the folder, before anything is paid for.

        Raises:
            OSError: It cannot be made, or nothing can be written there.
        """
        await anyio.to_thread.run_sync(self._prepare)

    async def write(self, run_id: str, pages: AsyncIterable[Page[Row]]) -> tuple[Path, int]:
        """
        Write the rows of a run; return the path of its file once that is on the disk, and how many rows there are.

        Raises:
            OSError: It cannot be written.
            CoreClawError: The rows cannot be read.
        """
        path, count = self.path_of(run_id), 0
        target = await anyio.to_thread.run_sync(FileTarget, path)
        try:
            await anyio.to_thread.run_sync(target.create)
            async for page in pages:
                await anyio.to_thread.run_sync(_write_rows, target, page.items)
                count += len(page.items)
            while (wait := await anyio.to_thread.run_sync(_place, target)) is not None:  # noqa: ASYNC110 - a pipe sets no event
                await anyio.sleep(wait)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(target.discard)
        return path, count

    def path_of(self, run_id: str) -> Path:
        """Return the path of a run's file."""
        return self.folder / f"part-{run_id}.jsonl"

    def _prepare(self) -> None:
        self.folder = self.folder.absolute()  # Wherever the process goes.
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder):
            pass


def _write_rows(target: FileTarget, rows: Sequence[Row]) -> None:
    # ASCII, because a lone half of a surrogate pair has no form in UTF-8.
    lines = (json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    target.write("".join(lines).encode("ascii"))


def _place(target: FileTarget) -> float | None:
    """Give a whole file its name, and take away what processes that were killed have left of it."""
    try:
        wait = target.place()
    except FileNotFoundError:
        if not target.path.exists():
            raise
        wait = None  # Another process was quicker, and has tidied up.
    if wait is None:
        for left in leftovers_of(target.path):
            left.unlink(missing_ok=True)
    return wait
