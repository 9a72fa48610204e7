"""The rows of a run in a file of its own, whole or not at all, under a name that a second try overwrites."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread
import attrs

from coreclaw_async._files.target import FileTarget, leftovers_in
from coreclaw_async._frames.options import FrameOptions, load_libraries
from coreclaw_async._frames.reading import ItemInfo, RowReading, RowSource
from coreclaw_async._frames.written_file import FileWork, written_file
from coreclaw_async._wire.exact_numbers import json_lines
from coreclaw_async.batch._arguments import PARQUET, OutputFormat
from coreclaw_async.batch._manifest import MANIFEST
from coreclaw_async.models import Page, ResultHeader, Row

if TYPE_CHECKING:
    from coreclaw_async._frames.columns import Column

_PREFIX = "part-"
# Nobody still writes to a file that has not changed for so long.
_ABANDONED_SECONDS = 86_400.0


@attrs.frozen
class PartFile:
    """
    The rows of a run in a file.

    Attributes:
        path: The file.
        row_count: How many rows it holds.
        changed_columns: The columns that have another type than their values, each with the reason.
    """

    path: Path
    row_count: int
    changed_columns: Mapping[str, str] = attrs.field(factory=dict[str, str])


class PartFiles:
    """
    The folder that the rows of a batch go to, one file for each run: ``part-<run_id>.jsonl`` or ``.parquet``.

    In ``jsonl``, a line holds a row as JSON in ASCII, with its numbers as the service has written them. ``NaN`` and
    ``Infinity``, which are no JSON although some services send them, become null: the rest of the row was paid for.
    ``parquet`` is what `Pager.to_parquet` writes.

    Args:
        folder: Made when it is not there.
        output_format: What the files are.
    """

    def __init__(self, folder: Path, output_format: OutputFormat = "jsonl") -> None:
        self.folder = folder
        self._format: OutputFormat = output_format
        self._leftovers: dict[str, list[Path]] = {}

    @property
    def keeps_numbers(self) -> bool:
        """Whether numbers are written digit by digit as the service wrote them; see `RunRows`."""
        return self._format == "jsonl"

    async def prepare(self) -> None:
        """
        Make the folder, before anything is paid for, and look through it once for what killed processes have left.

        Temporary files are taken away with the next whole file of their run, or after a day without a change.

        Raises:
            ConfigurationError: What writes these files is not installed, or is broken.
            OSError: The folder cannot be made, or nothing can be written there.
        """
        if self._format == "parquet":
            await load_libraries("arrow", PARQUET)
        await anyio.to_thread.run_sync(self._prepare)

    async def write(
        self,
        run_id: str,
        pages: AsyncIterator[Page[Row]],
        headers: Callable[[], Sequence[ResultHeader]] = tuple,
    ) -> PartFile:
        """
        Write the rows of a run, and return its file once it is on the disk.

        When not all pages can be read there is no file, or still the one that was there.

        Args:
            run_id: The run.
            pages: Its rows, with numbers as `keeps_numbers` wants them.
            headers: Returns the columns that the pages so far have named.

        Raises:
            OSError: It cannot be written.
            CoreClawError: The rows cannot be read.
            UnfitRowsError: No file of this format can hold them.
        """
        path = self.path_of(run_id)
        async with written_file(path, place=_place) as work:
            if self._format == "parquet":
                part = await _write_parquet(work, pages, headers)
            else:
                part = await _write_lines(work, pages)
        if leftovers := self._leftovers.pop(path.name, None):
            await anyio.to_thread.run_sync(_remove, leftovers)
        return part

    def path_of(self, run_id: str) -> Path:
        """Return the path of a run's file."""
        return self.folder / f"{_PREFIX}{run_id}.{self._format}"

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


async def _write_lines(work: FileWork, pages: AsyncIterator[Page[Row]]) -> PartFile:
    count = 0
    async for page in pages:
        await work.run(_write_rows, work.target, page)
        count += len(page.items)
    return PartFile(work.target.path, count)


def _write_rows(target: FileTarget, page: Page[Row]) -> None:
    target.write(json_lines(page.items))


async def _write_parquet(
    work: FileWork, pages: AsyncIterator[Page[Row]], headers: Callable[[], Sequence[ResultHeader]]
) -> PartFile:
    from coreclaw_async._frames.arrow_rows import write_tables

    changed: dict[str, str] = {}

    def note(columns: Sequence[Column]) -> None:
        # A warning could be raised as an error, at the end of a run that was paid for.
        changed.update((one.name, one.type.reason) for one in columns if one.type.reason is not None)

    source = RowSource(partial(anext, pages, None), ItemInfo(headers=headers))
    # By page: several files are written at the same time, and a row may be a whole page of the web.
    reading = RowReading(FrameOptions(method=PARQUET), rows_at_once=1)
    await write_tables(work, source, reading, note)
    return PartFile(work.target.path, reading.count, changed)


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
