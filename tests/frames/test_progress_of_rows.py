"""Methods that read all rows tell how many they have read: to a function, or in a line where somebody looks."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from batch.batches import finish, opened
from either_client import AsyncCoreClaw

from coreclaw_async import Progress, ServiceError
from coreclaw_async.testing import FakeService, faults

WORKER = "coreclaw/google-maps-scraper"
METHODS = ("to_arrow", "to_pandas", "to_polars", "to_parquet", "to_jsonl", "to_csv")
FILES = METHODS[3:]


@pytest.mark.parametrize("method", METHODS)
async def test_a_function_is_told_of_each_page(
    service: FakeService, client: AsyncCoreClaw, tmp_path: Path, method: str
) -> None:
    told: list[Progress] = []
    pager = client.runs.iterate_results(service.add_run(WORKER, rows=250), page_size=100)

    await getattr(pager, method)(*([tmp_path / "rows"] if method in FILES else []), progress=told.append)

    assert {(one.kind, one.total, one.bytes) for one in told} == {("rows", None, None)}
    assert [one.done for one in told] == [one.rows for one in told] == [0, 100, 200, 250]
    assert [one.text for one in told][:2] == [f"{method}: 0 rows read", f"{method}: 100 rows read"]


async def test_time_is_that_of_the_clients_clock(service: FakeService, client: AsyncCoreClaw) -> None:
    told: list[Progress] = []
    service.faults.add(faults.rate_limited(7), operation="listWorkerRuns", times=1)
    service.add_run(WORKER)

    await client.runs.iterate().to_arrow(progress=told.append)

    assert told[0].elapsed == 0
    assert told[-1].elapsed >= 7  # No clock on the wall went on so far.
    assert told[-1].text == "to_arrow: 1 row read"


@pytest.mark.parametrize("method", METHODS)
async def test_a_batch_tells_too(service: FakeService, tmp_path: Path, method: str) -> None:
    told: list[Progress] = []
    async with opened(service, "memory", count=2) as batch:
        await finish(batch)
        await getattr(batch, method)(*([tmp_path / "rows"] if method in FILES else []), progress=told.append)

    assert [one.rows for one in told] == [0, 3, 6]


async def test_what_a_function_raises_ends_no_call(
    service: FakeService, client: AsyncCoreClaw, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(progress: Progress) -> None:
        raise LookupError

    table = await client.runs.iterate_results(service.add_run(WORKER, rows=5)).to_arrow(progress=broken)

    assert table.num_rows == 5
    assert caplog.messages.count("progress could not be told, and is not told any more; the call goes on") == 1


async def test_a_notebook_has_a_line_that_stays(
    service: FakeService, client: AsyncCoreClaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def display(texts: dict[str, str], **_: Any) -> None:
        shown.append(texts["text/plain"])

    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=True))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))

    await client.runs.iterate_results(service.add_run(WORKER, rows=5)).to_arrow(progress=True)
    await client.runs.iterate_results(service.add_run(WORKER, rows=5)).to_arrow()

    assert shown[0] == "to_arrow: 0 rows read, 0 s"
    assert shown[-1] == "to_arrow: 5 rows read, 0 s"


async def test_the_line_of_a_notebook_stays_where_reading_was_when_it_failed(
    service: FakeService, client: AsyncCoreClaw, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    ipython = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=True))
    display = SimpleNamespace(display=lambda texts, **_: shown.append(texts["text/plain"]))
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    service.faults.add(faults.status(503), operation="listWorkerRunResults", after=2, times=1_000)

    with pytest.raises(ServiceError):
        await client.runs.iterate_results(service.add_run(WORKER, rows=250), page_size=50).to_arrow(progress=True)

    assert shown[-1] == "to_arrow: 100 rows read, 0 s"


async def test_a_pipe_gets_nothing(
    service: FakeService, client: AsyncCoreClaw, capsys: pytest.CaptureFixture[str]
) -> None:
    await client.runs.iterate_results(service.add_run(WORKER, rows=5)).to_arrow(progress=True)

    assert capsys.readouterr() == ("", "")
