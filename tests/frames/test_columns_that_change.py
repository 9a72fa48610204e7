"""What becomes of columns whose values have no common type, and where the warning about them points to."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import FunctionType
from typing import Any

import anyio
import pytest
from frames.made_pagers import pager_of
from waiting import join

from coreclaw_async import (
    AsyncCoreClaw,
    AsyncPager,
    ColumnConflictError,
    CoreClaw,
    Page,
    ResultHeader,
    ResultPage,
    RunSpec,
)
from coreclaw_async._frames import callers
from coreclaw_async._paging.pager import PageReader, PagerOptions
from coreclaw_async.testing import FakeService, RunScript

WORKER = "coreclaw/google-maps-scraper"
CHANGED: list[dict[str, Any]] = [{"a": 1}, {"a": "x"}]

# The first rows, the last row, and what is wrong with the column ``x``, if anything is.
CHANGES: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({"x": {}}, {"x": {"a": 1}}, None),
    ({"x": [{}]}, {"x": [{"a": 1}]}, None),
    ({"x": {"y": {}}}, {"x": {"y": {"z": 1}}}, None),
    ({"x": {}}, {"x": None}, "objects without members"),
    ({"x": {}}, {"x": 5}, "object, then integer"),
    ({"x": 1}, {"x": 1.5}, None),
    ({"x": 1}, {"x": "a"}, "integer, then text"),
    ({"x": 2**64}, {"x": 1}, "integers of more than 64 bits"),
    ({"x": {"m\0": 1}}, {"x": {"m": 1}}, "members with a null character in their names"),
    ({"x": [{"m\0": 1}]}, {"x": None}, "members with a null character in their names"),
    ({}, {"x": 1}, None),
]


@pytest.mark.parametrize("count", [1, 1_000])
@pytest.mark.parametrize(("early", "late", "reason"), CHANGES)
async def test_both_ways_find_the_same_columns_whenever_a_row_comes(
    early: dict[str, Any], late: dict[str, Any], reason: str | None, count: int
) -> None:
    pages = [Page(items=[early] * count), Page(items=[late])]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        table = await pager_of(*pages).to_arrow()
    try:
        await pager_of(*pages).to_arrow(on_conflict="raise")
    except ColumnConflictError as error:
        found: str | None = str(error).partition(": ")[2]
    else:
        found = None

    assert table.num_rows == count + 1
    assert len(told) == (reason is not None)
    if reason is None:
        assert found is None
    else:
        assert f"'x' ({reason})" in str(told[0].message)
        assert found is not None
        assert f"'x' ({reason})" in found


async def test_an_early_error_names_no_column_that_later_rows_may_mend() -> None:
    rows = [{"fine": {}, "bad": 1}, {"fine": {}, "bad": "a"}] * 500

    with pytest.raises(ColumnConflictError) as raised:
        await pager_of(Page(items=rows), Page(items=[{"fine": {"a": 1}}])).to_arrow(on_conflict="raise")

    assert raised.value.columns == ("bad",)


@pytest.mark.parametrize("count", [1, 500])
async def test_an_error_names_columns_by_the_labels_that_are_asked_for(count: int) -> None:
    headers = [ResultHeader(key="a", label="Name")]
    page = ResultPage(items=({"a": 1}, {"a": "x"}) * count, headers=headers)

    with pytest.raises(ColumnConflictError, match="'Name'") as raised:
        await pager_of(page).to_arrow(on_conflict="raise", labels=True)

    assert raised.value.columns == ("Name",)


def line_of(call: str) -> int:
    """Return the line of this file that has *call*, and only once."""
    lines = Path(__file__).read_text("utf-8").splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.rstrip().endswith(f"# {call}")]
    return found


def places(told: list[warnings.WarningMessage]) -> list[tuple[str, int]]:
    return [(one.filename, one.lineno) for one in told]


ODD: list[dict[str, Any]] = [{"a": 1}, {"a": "\ud83d"}]


async def test_a_warning_points_to_the_line_that_awaits() -> None:
    pager = pager_of(Page(items=ODD))
    with pytest.warns(UserWarning, match="strings, as") as told:
        await pager.to_arrow()  # awaited here

    assert places(list(told)) == [(__file__, line_of("awaited here"))]


async def test_a_warning_points_to_the_line_that_awaits_through_a_library_of_the_loop() -> None:
    async def wait_for(coroutine: Coroutine[Any, Any, Any]) -> None:
        await coroutine

    between = FunctionType(wait_for.__code__, {"__name__": "asyncio.tasks"})
    pager = pager_of(Page(items=ODD))
    with pytest.warns(UserWarning, match="strings, as") as told:
        await between(pager.to_arrow())  # awaited through another

    assert places(list(told)) == [(__file__, line_of("awaited through another"))]


async def test_a_warning_in_a_task_points_to_the_line_that_made_the_pager(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        async with anyio.create_task_group() as group:
            pager = AsyncPager(PageReader(pages_of(ODD), PagerOptions()))  # made for a table
            group.start_soon(pager.to_arrow)
        async with anyio.create_task_group() as group:
            pager = AsyncPager(PageReader(pages_of(ODD), PagerOptions()))  # made for a file
            group.start_soon(pager.to_csv, tmp_path / "rows")

    assert places(told) == [(__file__, line_of(f"made for a {what}")) for what in ("table", "file")]


def pages_of(rows: list[dict[str, Any]]) -> Callable[[], Awaitable[Page[Any] | None]]:
    pages = [Page(items=rows)]

    async def next_page() -> Page[Any] | None:
        return pages.pop() if pages else None

    return next_page


def test_a_warning_points_to_the_line_that_blocks(service: FakeService, tmp_path: Path) -> None:
    service.next_script = RunScript(rows=CHANGED)
    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        client.batch("nightly", ledger="memory") as batch,
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        batch.plan([RunSpec(key="a", worker_id=WORKER, input={"keywords": ["a"]})])
        list(batch.run())
        pager = client.runs.iterate_results(service.add_run(WORKER, rows=CHANGED))
        pager.to_pandas()  # blocked by a pager
        batch.to_parquet(tmp_path / "rows")  # blocked by a batch

    assert places(told) == [(__file__, line_of(f"blocked by a {what}")) for what in ("pager", "batch")]


def test_a_warning_in_a_thread_points_to_the_line_that_made_the_pager(service: FakeService) -> None:
    run_id = service.add_run(WORKER, rows=CHANGED)
    with (
        CoreClaw(service.api_key, transport=service, clock=service.clock) as client,
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        pager = client.runs.iterate_results(run_id)  # made for a thread
        thread = threading.Thread(target=pager.to_arrow)
        thread.start()
        join(thread)

    assert places(told) == [(__file__, line_of("made for a thread"))]


async def test_a_warning_of_a_batch_in_a_task_points_to_the_line_that_made_the_batch(service: FakeService) -> None:
    service.next_script = RunScript(rows=CHANGED)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        made = client.batch("nightly", ledger="memory")  # made a batch
        async with made as batch:
            await batch.plan([RunSpec(key="a", worker_id=WORKER, input={"keywords": ["a"]})])
            _ = [outcome async for outcome in batch.run()]
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                async with anyio.create_task_group() as group:
                    group.start_soon(batch.to_arrow)

    assert places(told) == [(__file__, line_of("made a batch"))]


def test_python_warns_once_a_line_and_not_once_for_all() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(2):
            callers.caller_here().warn("odd")  # the first
        callers.caller_here().warn("odd")  # the second

    assert places(told) == [(__file__, line_of("the first")), (__file__, line_of("the second"))]


async def test_what_a_loop_calls_has_the_line_that_runs_the_loop_as_its_caller() -> None:
    def called() -> callers.Caller:
        return callers.caller_here()

    between = FunctionType(called.__code__, {"__name__": "asyncio.events", "callers": callers})

    assert between().line == line_of("the loop's caller")  # the loop's caller


def test_a_package_with_a_longer_name_is_another() -> None:
    namespace: dict[str, Any] = {"__name__": "coreclaw_async_more.tools", "callers": callers}
    exec(compile("found = callers.caller_here()", "more.py", "exec"), namespace)

    assert namespace["found"].module == "coreclaw_async_more.tools"
