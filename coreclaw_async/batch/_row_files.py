"""The rows of a run in a file of its own, whole or not at all, under a name that a second try overwrites."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import AsyncIterable
from pathlib import Path

import anyio
import anyio.to_thread

from coreclaw_async._files.target import FileTarget, leftovers_in
from coreclaw_async._files.tidying import tidy_up
from coreclaw_async._wire.exact_numbers import json_lines
from coreclaw_async.batch._manifest import MANIFEST
from coreclaw_async.models import Page, Row

_PREFIX = "part-"
# Nobody still writes to a file that has not changed for so long.
_ABANDONED_SECONDS = 86_400.0


class PartFiles:
    """
    The folder that the rows of a batch go to, one file ``part-<run_id>.jsonl`` for each run.

    A line holds a row as JSON in ASCII, with its numbers as the service has written them. ``NaN`` and ``Infinity``,
    which are no JSON although some services send them, become null: the rest of the row was paid for.

    Args:
        folder: Made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._leftovers: dict[str, list[Path]] = {}

    async def prepare(self) -> None:
        """
        Make the folder, before anything is paid for, and look through it once for what killed processes have left.

        Temporary files are taken away with the next whole file of their run, or after a day without a change.

        Raises:
            OSError: It cannot be made, or nothing can be written there.
        """
        await anyio.to_thread.run_sync(self._prepare)

    async def write(self, run_id: str, pages: AsyncIterable[Page[Row]]) -> tuple[Path, int]:
        """
        Write the rows of a run, and return the path of its file and its number of rows once it is on the disk.

        When not all pages can be read there is no file, or still the one that was there.

        Args:
            run_id: The run.
            pages: Its rows, by `exact_pages`.

        Raises:
            OSError: It cannot be written.
            CoreClawError: The rows cannot be read.
        """
        path = self.path_of(run_id)
        count = 0
        target = await anyio.to_thread.run_sync(FileTarget, path)
        try:
            await anyio.to_thread.run_sync(target.create)
            async for page in pages:
                await anyio.to_thread.run_sync(_write_rows, target, page)
                count += len(page.items)
            while (wait := await anyio.to_thread.run_sync(_place, target)) is not None:  # noqa: ASYNC110 - a pipe sets no event
                await anyio.sleep(wait)
        finally:
            await tidy_up(target.discard)
        if leftovers := self._leftovers.pop(path.name, None):
            await anyio.to_thread.run_sync(_remove, leftovers)
        return path, count

    def path_of(self, run_id: str) -> Path:
        """Return the path of a run's file."""
        return self.folder / f"{_PREFIX}{run_id}.jsonl"

    def _prepare(self) -> None:
        self.folder = self.folder.absolute()  # Wherever the process goes.
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder):
            pass
        # Other files of the folder are others' business, such as downloads under way.
        self._leftovers = {
            name: paths
            for name, paths in leftovers_in(self.folder).items()
            if name == MANIFEST or name.startswith(_PREFIX)
        }
        last = time.time() - _ABANDONED_SECONDS
        for paths in self._leftovers.values():
            _remove([path for path in paths if _changed_at(path) < last])


def _write_rows(target: FileTarget, page: Page[Row]) -> None:
    target.write(json_lines(page.items))


def _place(target: FileTarget) -> float | None:
    """Give a whole file its name."""
    try:
        return target.place()
    except FileNotFoundError:
        if not target.path.exists():
            raise
        return None  # Another process was quicker, and has tidied up.


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # Another process has tidied up.
        return float("inf")


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # The rows are safe, and the next process tries again.
            path.unlink()
