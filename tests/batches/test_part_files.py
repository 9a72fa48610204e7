"""Rows of a batch in files: nobody's file is destroyed on the way, and what is there keeps its mode."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coreclaw_async._batches.part_files import PartFiles
from coreclaw_async.models import Page, Row


async def pages(*, then: Path | None = None) -> AsyncIterator[Page[Row]]:
    """Yield a page; then remove the temporary files in a folder."""
    yield Page(items=({"title": "\ud83d"},), count=1, page_index=1, page_size=1, offset=0, limit=1)
    if then is not None:
        for path in then.iterdir():
            if path.name.startswith("."):
                path.unlink()


async def test_a_part_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.touch(0o600)
    (tmp_path / "part-1.jsonl").symlink_to(real)

    path, count = await PartFiles(tmp_path).write("1", pages())

    assert count == 1
    assert path.is_symlink()
    assert real.read_bytes() == b'{"title":"\\ud83d"}\n'
    assert real.stat().st_mode & 0o777 == 0o600
    assert {found.name for found in tmp_path.iterdir()} == {"part-1.jsonl", "real"}


async def test_a_part_file_may_be_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "part-1.jsonl"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Timer(0.05, lambda: got.append(path.read_bytes()))
    reader.start()

    await PartFiles(tmp_path).write("1", pages())

    reader.join()
    assert got == [b'{"title":"\\ud83d"}\n']


async def test_a_file_that_another_process_wrote_and_tidied_up_after_is_as_good(tmp_path: Path) -> None:
    path = tmp_path / "part-1.jsonl"
    path.write_bytes(b"theirs")

    assert await PartFiles(tmp_path).write("1", pages(then=tmp_path)) == (path, 1)

    assert path.read_bytes() == b"theirs"


async def test_a_temporary_file_that_is_gone_without_a_whole_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await PartFiles(tmp_path).write("1", pages(then=tmp_path))
