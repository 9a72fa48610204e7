"""Models as rows: their members are columns with types of their own, whether there are any values or not."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import attrs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch.batches import opened
from either_client import AsyncCoreClaw
from frames.made_pagers import pager_of

from coreclaw_async import AsyncPager, BatchItem, BatchItemState, Page
from coreclaw_async.batch import BatchItemRun, BatchRecord, ItemOrigin
from coreclaw_async.models import QueueItem, ResultPage, Run, RunStatus, ScheduleType, StartedRun, Task, WorkerSummary
from coreclaw_async.testing import FakeService

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
RUN = Run(
    run_id="r",
    worker_id="w",
    worker_title="t",
    version="1",
    status=RunStatus.SUCCEEDED,
    result_count=5,
    usage=Decimal(3),
    traffic=7,
    origin="api",
    started_at=NOW,
    finished_at=NOW,
    duration=1.5,
    error_message="none",
    extra={"a": 1},
)
ITEM = BatchItem(
    batch="b",
    key="k",
    position=0,
    input_sha256="0",
    worker_id="w",
    version="1",
    run_timeout=1.5,
    state=BatchItemState.DONE,
    intent_at=1.5,
    run_id="r",
    how=next(iter(ItemOrigin)),
    candidates=("r",),
    result_count=5,
    cost=Decimal(3),
    submitted_at=1.5,
    ended_at=2.5,
    path=Path("x"),
    row_count=5,
    error="none",
)
ITEM_RUN = BatchItemRun(
    run_id="r",
    attempt=1,
    how=next(iter(ItemOrigin)),
    state=BatchItemState.DONE,
    result_count=5,
    cost=Decimal("0.5"),
    submitted_at=1.5,
    ended_at=2.5,
    error="none",
)
TASK = Task(
    task_id="t",
    worker_id="w",
    worker_path="p",
    worker_title="t",
    version="1",
    run_times=5,
    schedule_enabled=True,
    schedule_type=ScheduleType(1),
    schedule_time="10:00",
    schedule_weekday=1,
    schedule_day=1,
    schedule_once_date="2026-01-02",
    last_modified_at=NOW,
    created_at=NOW,
    updated_at=NOW,
    internal_id=1,
    internal_worker_id=2,
    internal_last_run_id=3,
)
FULL = [
    RUN,
    TASK,
    WorkerSummary(worker_id="w", path="p", username="u", extra={"a": 1}),
    QueueItem(queue_id="q", status="waiting"),
    ITEM,
    BatchRecord(item=ITEM, runs=(ITEM_RUN,)),
    StartedRun(run_id="r", request_id="q", status="x", is_finished=True, started_at=NOW, finished_at=NOW, duration=1.5,
               error_message="a", result_message="b"),
]  # fmt: skip


@pytest.mark.parametrize("model", FULL, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("nested", ["struct", "json"])
async def test_no_models_are_a_table_with_the_columns_that_some_would_have(model: Any, nested: Any) -> None:
    full = await pager_of(Page(items=[model]), model=type(model)).to_arrow(nested=nested)
    none = await pager_of(model=type(model)).to_arrow(nested=nested)

    assert none.num_rows == 0
    assert none.schema == full.schema


async def test_members_without_a_value_have_their_types_too() -> None:
    record = BatchRecord(item=BatchItem(batch="b", key="k", position=0, input_sha256="0", worker_id="w"), runs=())
    bare = await pager_of(Page(items=[record]), model=BatchRecord).to_arrow()
    full = await pager_of(Page(items=[BatchRecord(item=ITEM, runs=(ITEM_RUN,))]), model=BatchRecord).to_arrow()

    assert bare.schema == full.schema
    assert bare.num_rows == 1


@attrs.frozen
class Odd:
    """A model with members of types that no model has yet."""

    either: int | str | None = None
    literal: Literal[1, 2] | None = None
    results: ResultPage | None = None


async def test_a_member_that_may_hold_several_types_is_text_without_values() -> None:
    table = await pager_of(model=Odd).to_arrow()

    assert table.schema.field("either").type == pa.string()
    assert table.schema.field("literal").type == pa.int64()
    page = table.schema.field("results").type
    assert page.field("count").type == pa.int64()
    assert page.field("headers").type.value_type.field("label").type == pa.string()
    assert page.field("items").type == pa.list_(pa.string())


async def empty_lists(client: AsyncCoreClaw) -> dict[str, AsyncPager[Any]]:
    return {
        "usage": client.runs.iterate(),
        "created_at": client.tasks.iterate(),
        "title": client.workers.iterate(keyword="no such worker"),
        "path": client.store.iterate(keyword="no such worker"),
        "status": client.run_queue.iterate(),
    }


@pytest.mark.parametrize("method", ["to_arrow", "to_pandas", "to_polars", "to_parquet", "to_csv", "to_jsonl"])
async def test_lists_of_an_account_that_has_nothing_have_their_columns(
    client: AsyncCoreClaw, tmp_path: Path, method: str
) -> None:
    for name, pager in (await empty_lists(client)).items():
        found = await getattr(pager, method)(
            *([] if method.endswith(("arrow", "pandas", "polars")) else [tmp_path / "rows"])
        )
        if method == "to_parquet":
            found = pq.read_table(found)
        if method == "to_csv":
            header, rest = found.read_text().split("\n")
            assert rest == ""
            assert name in header.split(",")
        elif method == "to_jsonl":
            assert found.read_bytes() == b""
        else:
            assert len(found) == 0
            assert len(found[name]) == 0


async def test_items_and_records_of_a_batch_have_their_columns_and_no_secret(
    service: FakeService, tmp_path: Path
) -> None:
    async with opened(service, str(tmp_path / "ledger.db"), count=0) as batch:
        items = await batch.items().to_arrow()
        records = await batch.export().to_arrow()
    secret = attrs.evolve(ITEM, callback_url="https://example.org/?secret=5")
    told = await pager_of(Page(items=[secret, BatchRecord(item=secret, runs=())])).to_jsonl(tmp_path / "rows")

    assert items.schema.field("cost").type == pa.decimal128(38, 0)
    assert "callback_url" not in items.column_names
    assert "callback_url" not in [field.name for field in records.schema.field("item").type]
    assert "secret" not in told.read_text()
    assert '"cost":"3"' in told.read_text()
