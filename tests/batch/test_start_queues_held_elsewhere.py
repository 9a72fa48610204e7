"""A batch waits for a start queue that another call or process has, and says so."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest
from batch.batches import finish, opened, specs

from coreclaw_async import BatchOutcome
from coreclaw_async.batch._ledger.ownership import start_queue_lock
from coreclaw_async.testing import FakeService


@pytest.mark.parametrize(("seconds", "warnings"), [(50, 0), (290, 4)])
async def test_a_start_queue_that_another_process_has_is_waited_for_with_a_warning_a_minute(
    service: FakeService, tmp_path: Path, caplog: pytest.LogCaptureFixture, seconds: float, warnings: int
) -> None:
    ledger = str(tmp_path / "runs.db")
    outcomes: list[BatchOutcome] = []

    async def run() -> None:
        outcomes.extend(await finish(batch))

    async with opened(service, ledger, count=1) as other, opened(service, ledger) as batch:
        await finish(other)
        await batch.plan(specs(1, first=1))
        (slug,) = {str(run.worker_id) for run in service.runs.values()}
        lock = start_queue_lock(other._batch_context.ledger.account, slug)
        assert await other._batch_context.ledger.database.take_start_queue(lock)
        with caplog.at_level(logging.WARNING, "coreclaw_async"):
            async with anyio.create_task_group() as group:
                group.start_soon(run)
                await service.clock.sleep(seconds)
                assert not outcomes
                await other._batch_context.ledger.database.leave_start_queue(lock)

    assert [outcome.state for outcome in outcomes] == ["done"]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == warnings
    assert all(slug in message and "another call, batch or process" in message for message in told)
