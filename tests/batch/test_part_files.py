"""Rows of a batch in files: no other file is destroyed, and an existing file keeps its mode."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from batch.batches import finish, opened
from named_pipes import late_reader
from waiting import join

from coreclaw_async import BatchItemState, CoreClawError
from coreclaw_async.batch._row_files import PartFile, PartFiles
from coreclaw_async.models import Page, Row
from coreclaw_async.testing import FakeService, RunScript, faults

A_DAY = 86_400


async def pages(*, title: str = "\ud83d", then: Path | None = None) -> AsyncIterator[Page[Row]]:
    """Yield a page; then remove the temporary files in a folder."""
    yield Page(items=({"title": title},), count=1, page_index=1, page_size=1, offset=0, limit=1)
    if then is not None:
        for path in then.iterdir():
            if path.name.startswith("."):
                path.unlink()


async def test_a_part_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.touch(0o600)
    (tmp_path / "part-1.jsonl").symlink_to(real)

    part = await PartFiles(tmp_path).write("1", pages())

    assert part.row_count == 1
    assert part.path.is_symlink()
    assert real.read_bytes() == b'{"title":"\\ud83d"}\n'
    assert real.stat().st_mode & 0o777 == 0o600
    assert {found.name for found in tmp_path.iterdir()} == {"part-1.jsonl", "real"}


async def test_a_part_file_may_be_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "part-1.jsonl"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = late_reader(path, got)

    await PartFiles(tmp_path).write("1", pages(title="x" * 200_000))

    join(reader)
    assert got == [b'{"title":"%s"}\n' % (b"x" * 200_000)]


async def test_a_part_file_that_cannot_be_written_is_named_with_its_run(tmp_path: Path) -> None:
    (tmp_path / "part-1.jsonl").symlink_to("/dev/full")

    with pytest.raises(OSError, match=r"No space left on device: '.*/part-1\.jsonl'$"):
        await PartFiles(tmp_path).write("1", pages())


async def test_a_file_that_another_process_wrote_and_tidied_up_after_is_as_good(tmp_path: Path) -> None:
    path = tmp_path / "part-1.jsonl"
    path.write_bytes(b"theirs")

    assert await PartFiles(tmp_path).write("1", pages(then=tmp_path)) == PartFile(path, 1)

    assert path.read_bytes() == b"theirs"


async def test_a_temporary_file_that_is_gone_without_a_whole_one_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await PartFiles(tmp_path).write("1", pages(then=tmp_path))


def leave(folder: Path, name: str, *, age: float = 0.0) -> Path:
    """Make a file that was last written to *age* seconds ago."""
    path = folder / name
    path.write_text("{")
    changed = time.time() - age
    os.utime(path, (changed, changed))
    return path


def half_written(folder: Path, name: str, *, age: float = 0.0) -> Path:
    """Leave a temporary file as a killed process does."""
    return leave(folder, f".{name}.{os.urandom(8).hex()}.coreclaw-part", age=age)


async def test_what_killed_processes_have_left_of_a_run_goes_with_its_whole_file(tmp_path: Path) -> None:
    mine = [half_written(tmp_path, "part-1.jsonl") for _ in range(3)]
    others = [half_written(tmp_path, name) for name in ("part-2.jsonl", "part-11.jsonl", "part-1.jsonl.old")]
    files = PartFiles(tmp_path)
    await files.prepare()
    assert all(path.exists() for path in mine)  # One of them may belong to another process that is still writing.

    path = (await files.write("1", pages())).path

    assert set(tmp_path.iterdir()) == {path, *others}


async def test_a_leftover_that_somebody_else_takes_away_is_no_error(tmp_path: Path) -> None:
    left = half_written(tmp_path, "part-1.jsonl")
    files = PartFiles(tmp_path)
    await files.prepare()
    left.unlink()

    path = (await files.write("1", pages())).path

    assert list(tmp_path.iterdir()) == [path]


async def test_what_nobody_has_written_to_for_a_day_goes_with_the_next_process(tmp_path: Path) -> None:
    for name in ("part-1.jsonl", "part-1.jsonl", "manifest.jsonl"):
        half_written(tmp_path, name, age=A_DAY + 60)
    kept = {
        half_written(tmp_path, "part-1.jsonl", age=A_DAY - 60),
        half_written(tmp_path, "manifest.jsonl", age=A_DAY - 60),
        half_written(tmp_path, "rows.csv", age=10 * A_DAY),  # A download's.
        leave(tmp_path, "part-2.jsonl", age=10 * A_DAY),
        leave(tmp_path, ".part-2.jsonl.mine", age=10 * A_DAY),
        leave(tmp_path, "manifest.jsonl", age=10 * A_DAY),
    }

    await PartFiles(tmp_path).prepare()

    assert set(tmp_path.iterdir()) == kept


async def test_no_file_is_looked_for_when_a_run_ends(tmp_path: Path) -> None:
    files = PartFiles(tmp_path)
    await files.prepare()
    left = half_written(tmp_path, "part-1.jsonl")

    path = (await files.write("1", pages())).path
    assert set(tmp_path.iterdir()) == {path, left}

    files = PartFiles(tmp_path)
    await files.prepare()
    await files.write("1", pages())
    assert set(tmp_path.iterdir()) == {path}


async def test_two_processes_that_write_one_file_leave_a_whole_one(tmp_path: Path) -> None:
    first, second = PartFiles(tmp_path), PartFiles(tmp_path)
    await first.prepare()
    theirs: list[PartFile] = []

    async def meanwhile() -> AsyncIterator[Page[Row]]:
        async for page in pages():
            yield page
        await second.prepare()  # While this one is being written.
        theirs.append(await second.write("1", pages()))

    assert [await first.write("1", meanwhile())] == theirs
    assert [file.name for file in tmp_path.glob("part-*")] == ["part-1.jsonl"]
    assert (tmp_path / "part-1.jsonl").read_bytes() == b'{"title":"\\ud83d"}\n'


@pytest.mark.endurance
async def test_what_a_killed_process_has_left_half_written_goes_with_the_whole_file(
    service: FakeService, tmp_path: Path
) -> None:
    async with opened(service, "memory", count=1) as batch:
        service.faults.add(faults.status(500), operation="listWorkerRunResults", times=100_000)
        with contextlib.suppress(CoreClawError):
            await finish(batch, output=tmp_path)
        item = await batch.get("k0")
        assert item.state is BatchItemState.SUBMITTED
        assert not list(tmp_path.glob("part-*"))
        half_written(tmp_path, f"part-{item.run_id}.jsonl")
        another = half_written(tmp_path, "part-another.jsonl")
        service.faults.clear()
        (outcome,) = await finish(batch, output=tmp_path)

    assert outcome.path is not None
    assert set(tmp_path.iterdir()) == {outcome.path, another, tmp_path / "manifest.jsonl"}


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what takes a member out of the data of an answer."""

    def change(envelope: dict[str, Any]) -> dict[str, Any]:
        return {**envelope, "data": {key: value for key, value in envelope["data"].items() if key != name}}

    return change


def with_data(**members: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what changes members of the data of an answer."""
    return lambda envelope: {**envelope, "data": {**envelope["data"], **members}}


ABSENCES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "data is null": lambda envelope: {**envelope, "data": None},
    "no data": lambda envelope: {key: value for key, value in envelope.items() if key != "data"},
    "data is empty": lambda envelope: {**envelope, "data": {}},
    "data is a list": lambda envelope: {**envelope, "data": []},
    "list is null": with_data(list=None),
    "no list": without("list"),
    "list is empty": with_data(list=[]),
    "list is null without a count": with_data(list=None, count=None),
    "list is empty without a count": with_data(list=[], count=None),
    "list is null beside a count of zero": with_data(list=None, count=0),
    "list is empty beside a count of zero": with_data(list=[], count=0),
    "a row is null": lambda envelope: with_data(list=[None, *envelope["data"]["list"][1:]])(envelope),
    "rows are missing": lambda envelope: with_data(list=envelope["data"]["list"][:-1])(envelope),
}


@pytest.mark.endurance
@pytest.mark.parametrize("page", [1, 2, 3])
@pytest.mark.parametrize("absence", ABSENCES)
async def test_a_page_that_lacks_its_rows_once_costs_none(
    service: FakeService, tmp_path: Path, page: int, absence: str
) -> None:
    service.script_next(RunScript(rows=250))
    service.faults.add(faults.edit(ABSENCES[absence]), operation="listWorkerRunResults", after=page - 1, times=1)
    async with opened(service, "memory", count=1) as batch:
        (outcome,) = await finish(batch, output=tmp_path)

    assert outcome.state is BatchItemState.DONE
    assert outcome.path is not None
    lines = outcome.path.read_bytes().splitlines()
    assert (len(lines), len(set(lines))) == (250, 250)


@pytest.mark.endurance
@pytest.mark.parametrize("rows", [5, 250])
@pytest.mark.parametrize("absence", ABSENCES)
async def test_rows_that_never_come_whole_are_not_written_and_the_item_stays_submitted(
    service: FakeService, tmp_path: Path, rows: int, absence: str
) -> None:
    service.script_next(RunScript(rows=rows))
    size = min(rows, 100)

    def last_page_lacks(envelope: dict[str, Any]) -> Any:
        """Change every page that is not full, or of which there is only one."""
        is_last = rows <= size or len(envelope["data"]["list"]) < size
        return ABSENCES[absence](envelope) if is_last else envelope

    service.faults.add(faults.edit(last_page_lacks), operation="listWorkerRunResults", times=100_000)
    async with opened(service, "memory", count=1, patience=120) as batch:
        with contextlib.suppress(CoreClawError):
            await finish(batch, output=tmp_path)
        item = await batch.get("k0")
        assert item.state is BatchItemState.SUBMITTED
        assert not list(tmp_path.glob("part-*"))
        service.faults.clear()
        (outcome,) = await finish(batch, output=tmp_path)

    assert (outcome.state, outcome.run_id) == (BatchItemState.DONE, item.run_id)
    assert outcome.path is not None
    assert len(set(outcome.path.read_bytes().splitlines())) == rows
    assert service.runs_created == 1


@pytest.mark.endurance
@pytest.mark.parametrize(
    "absence",
    ["data is null", "no data", "data is empty", "data is a list", "list is null without a count", "a row is null"],
)
async def test_rows_that_do_not_come_are_not_none_where_the_run_does_not_say_how_many_there_are(
    service: FakeService, tmp_path: Path, absence: str
) -> None:
    def forget(envelope: dict[str, Any]) -> dict[str, Any]:
        data = envelope["data"]
        for run in data.get("list", [data]):
            run.pop("results", None)
        return envelope

    service.script_next(RunScript(rows=5))
    for operation in ("getWorkerRun", "listWorkerRuns"):
        service.faults.add(faults.edit(forget), operation=operation, times=100_000)
    service.faults.add(faults.edit(ABSENCES[absence]), operation="listWorkerRunResults", times=100_000)
    async with opened(service, "memory", count=1) as batch:
        with contextlib.suppress(CoreClawError):
            await finish(batch, output=tmp_path)
        item = await batch.get("k0")

    assert item.state is BatchItemState.SUBMITTED
    assert not list(tmp_path.glob("part-*"))


async def test_a_leftover_that_cannot_be_looked_at_keeps_no_batch_from_its_work(tmp_path: Path) -> None:
    link = tmp_path / ".part-1.jsonl.0123456789abcdef.coreclaw-part"
    link.symlink_to(tmp_path / "gone")
    files = PartFiles(tmp_path)

    await files.prepare()
    path = (await files.write("1", pages())).path

    assert list(tmp_path.glob("part-*")) == [path]
