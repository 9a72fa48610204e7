"""Errors of methods that read all rows say how many had been read, and rows of any depth end in no other error."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from either_client import AsyncCoreClaw
from frames.made_pagers import pager_of

from coreclaw_async import AsyncPager, CoreClawError, NotFoundError, Page
from coreclaw_async.models import WorkerSummary
from coreclaw_async.testing import FakeService, faults

WORKER = "coreclaw/google-maps-scraper"
METHODS = ("to_arrow", "to_pandas", "to_polars", "to_parquet", "to_jsonl", "to_csv")
FILES = METHODS[3:]
NOTE = "{method}() had read {count} rows; they can be read again"


async def called(pager: AsyncPager[Any], method: str, path: Path) -> Any:
    return await getattr(pager, method)(*([path] if method in FILES else []))


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


@pytest.mark.parametrize("method", [method for method in METHODS if method != "to_jsonl"])
async def test_a_warning_that_is_an_error_says_how_many_rows_were_read(tmp_path: Path, method: str) -> None:
    pages = [Page(items=[{"a": 1}, {"a": "\ud83d"}] * 600)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match=f"^{method}: ") as raised:
            await called(pager_of(*pages), method, tmp_path / "rows")

    assert notes(raised.value) == [NOTE.format(method=method, count="1,200")]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", FILES)
async def test_a_file_that_cannot_take_the_rows_is_named_and_says_how_many_were_read(method: str) -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'") as raised:
        await called(pager_of(Page(items=[{"a": 1}] * 3)), method, Path("/dev/full"))

    assert notes(raised.value) == [NOTE.format(method=method, count=3)]


@pytest.mark.parametrize("method", METHODS)
async def test_an_error_before_the_first_page_has_no_note(tmp_path: Path, method: str) -> None:
    pager = pager_of(Page(items=[{"a": 1}]))
    await pager.to_arrow()

    for again in range(2):
        with pytest.raises(RuntimeError, match=r"^to_arrow\(\) has read this pager.*: make a new one") as raised:
            await called(pager, method, tmp_path / f"rows{again}")
        assert notes(raised.value) == []
    assert list(tmp_path.iterdir()) == []


def deep(levels: int, leaf: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads('{"x":' * levels + leaf + "}" * levels)
    return row


@pytest.mark.parametrize("method", METHODS)
async def test_a_number_that_is_no_json_takes_no_depth_away(tmp_path: Path, method: str) -> None:
    rows = [deep(900, "NaN"), deep(900, '[1e400,"\\ud83d",-0.0,1]')]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        await called(pager_of(Page(items=rows)), method, tmp_path / "rows")

    if method == "to_jsonl":
        lines = (tmp_path / "rows").read_text().splitlines()
        assert '"x":null}' in lines[0]
        assert r'"x":[null,"\ud83d",-0.0,1]}' in lines[1]


@pytest.mark.parametrize("method", METHODS)
async def test_what_is_too_deep_is_an_error_that_names_the_rows(tmp_path: Path, method: str) -> None:
    models = [WorkerSummary(worker_id="w")] * 1_500
    extra: dict[str, Any] = {}
    for _ in range(1_500):
        extra = {"x": extra}
    models[1_200] = WorkerSummary(worker_id="w", extra=extra)
    pages = [Page(items=models[start : start + 100]) for start in range(0, 1_500, 100)]

    with pytest.raises(
        CoreClawError, match=f"^{method}: one of the rows 1,001 to 1,500 is nested too deeply"
    ) as raised:
        await called(pager_of(*pages), method, tmp_path / "rows")

    assert notes(raised.value) == [NOTE.format(method=method, count="1,500")]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", METHODS)
async def test_an_error_of_the_first_page_says_that_nothing_was_read(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path, method: str
) -> None:
    service.faults.add(faults.error(50001, 404), operation="listWorkerRunResults", times=9)

    with pytest.raises(NotFoundError) as raised:
        await called(client.runs.iterate_results(service.add_run(WORKER, rows=5)), method, tmp_path / "rows")

    assert notes(raised.value)[-1] == f"{method}() had read 0 rows"
