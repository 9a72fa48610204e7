"""The rows of a run in a file of its own, whole or not at all, under a name that a second try overwrites."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterable, Sequence
from pathlib import Path
from typing import TextIO

import anyio
import anyio.to_thread

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

    async def write(self, run_id: str, pages: AsyncIterable[Page[Row]]) -> Path:
        """
        Write the rows of a run, and return the path of its file once that is on the disk.

        Raises:
            OSError: It cannot be written.
            CoreClawError: The rows cannot be read.
        """
        path = self.path_of(run_id)
        # A name of its own: another process may be writing the same rows.
        part = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
        file = await anyio.to_thread.run_sync(lambda: part.open("w", encoding="utf-8", newline="\n"))
        is_whole = False
        try:
            async for page in pages:
                await anyio.to_thread.run_sync(_write_rows, file, page.items)
            is_whole = True
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(_end, file, part, path if is_whole else None)
        return path

    def path_of(self, run_id: str) -> Path:
        """Return the path of a run's file."""
        return self.folder / f"part-{run_id}.jsonl"

    def _prepare(self) -> None:
        self.folder = self.folder.absolute()  # Wherever the process goes.
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder):
            pass


def _write_rows(file: TextIO, rows: Sequence[Row]) -> None:
    # ASCII, because a lone half of a surrogate pair has no form in UTF-8.
    file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


def _end(file: TextIO, part: Path, path: Path | None) -> None:
    """Give a whole file its name, which then survives the loss of power; take away what is not whole."""
    try:
        with file:
            file.flush()
            os.fsync(file.fileno())
        if path is not None:
            with contextlib.suppress(FileNotFoundError):  # Another process was quicker, and has tidied up.
                part.replace(path)
            _sync_folder(path.parent)
            for left in path.parent.glob(f"{path.stem}.*.tmp"):  # Of a process that was killed.
                left.unlink(missing_ok=True)
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # pragma: no cover - Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
