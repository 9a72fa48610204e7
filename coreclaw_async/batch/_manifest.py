"""The manifest of a batch: one line of JSON for each item, beside the files with the rows."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterable, Callable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from coreclaw_async._files.target import FileTarget, tidy_up
from coreclaw_async.batch._items import BatchItem

MANIFEST = "manifest.jsonl"
_LINES_AT_ONCE = 1_000


async def write_manifest(folder: Path, items: AsyncIterable[BatchItem]) -> Path:
    """
    Write ``manifest.jsonl`` in *folder*, whole or not at all, and return its path once it is on the disk.

    A line is an object of

    - ``key``: the item's,
    - ``run_id``: its run, or null,
    - ``state``: where it stands, such as ``done``,
    - ``rows``: rows in its file, or null,
    - ``verdict``: what its run is worth, such as ``pass``, or null while that is not known,
    - ``cost``: what its run cost in US dollars, as a string such as ``"0.125"``, or null,
    - ``file``: its file, or null: relative to *folder* where it lies in there, with ``/`` between its parts,
    - ``error``: why it failed, was refused or is held; or null.

    A manifest that is there is replaced and keeps its mode. Of several that are written at the same time the last one
    stays; each is whole.

    Args:
        folder: Where to; made when it is not there.
        items: What to write down, in this order; no more than a thousand of them are kept at a time.

    Raises:
        OSError: It cannot be written; the one that was there is still there then.
    """
    folder, name_of = await anyio.to_thread.run_sync(_prepare, folder)
    path = folder / MANIFEST
    target = await anyio.to_thread.run_sync(FileTarget, path)
    try:
        await anyio.to_thread.run_sync(target.create)
        chunk: list[BatchItem] = []
        async for item in items:
            chunk.append(item)
            if len(chunk) == _LINES_AT_ONCE:
                await anyio.to_thread.run_sync(_write, target, chunk, name_of)
                chunk = []
        await anyio.to_thread.run_sync(_write, target, chunk, name_of)
        while (wait := await anyio.to_thread.run_sync(target.place)) is not None:  # noqa: ASYNC110 - a pipe sets no event
            await anyio.sleep(wait)
    finally:
        await tidy_up(target.discard)
    return path


def _prepare(folder: Path) -> tuple[Path, Callable[[Path], str]]:
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    # A part file may have been written under another name of the folder.
    roots = {os.path.join(root, "") for root in (folder, os.path.normpath(folder), folder.resolve())}  # noqa: PTH118

    def name_of(path: Path) -> str:
        full = os.path.normpath(path.absolute())
        inside = [full.removeprefix(root) for root in roots if full.startswith(root)]
        return Path(inside[0]).as_posix() if inside else str(path)

    return folder, name_of


def _write(target: FileTarget, items: Sequence[BatchItem], name_of: Callable[[Path], str]) -> None:
    target.write("".join([_line(item, name_of) for item in items]).encode("ascii"))


def _line(item: BatchItem, name_of: Callable[[Path], str]) -> str:
    members = {
        "key": item.key,
        "run_id": item.run_id,
        "state": item.state.value,
        "rows": item.row_count,
        "verdict": None if item.verdict is None else item.verdict.value,
        "cost": None if item.cost is None else str(item.cost),
        "file": None if item.path is None else name_of(item.path),
        "error": item.error,
    }
    return json.dumps(members, separators=(",", ":")) + "\n"
