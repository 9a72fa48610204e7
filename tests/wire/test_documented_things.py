"""Every form in which the service has been seen to report a task, a worker, the account, or a thing in the queue."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from wire.exchanges import read_as

from coreclaw_async.models import (
    Account,
    CreatedTask,
    Export,
    ProxyRegion,
    QueueAction,
    QueuedRun,
    QueueItem,
    ScheduleType,
    Task,
    TaskInput,
    Worker,
    WorkerSummary,
)

STARTED = dt.datetime(2026, 6, 22, 1, 20, tzinfo=dt.UTC)
FINISHED = STARTED + dt.timedelta(seconds=10)
PRODUCTION_TASK = {
    "id": 1786001196232214890,
    "slug": "01KZAZ2B7T3Q0R8C784NCRWC03",
    "title": "Daily coffee",
    "worker_id": 2,
    "worker_slug": "01KPD6M5YQADCQKGVKPDZVYC63",
    "worker_path": "coreclaw/google-maps-scraper",
    "worker_title": "Google Maps",
    "platform_actors_id": 17,
    "version": "v1.2.6",
    "input": {"parameters": {"custom": {"keywords": ["coffee"]}}},
    "run_times": 3,
    "last_run_id": 0,
    "last_modified_at": 1782091200,
    "created_at": 1782091200,
    "updated_at": 1782091210,
    "schedule_enabled": 1,
    "schedule_type": 2,
    "schedule_time": "09:00",
    "schedule_weekday": 7,
}


def test_task_in_the_small_form_of_the_contract() -> None:
    record = {
        "id": 1,
        "slug": "demo-task",
        "title": "Demo",
        "version": "latest",
        "worker_slug": "demo-worker",
        "worker_path": "owner~demo-worker",
        "description": "d",
        "schedule_enabled": 0,
        "schedule_type": 0,
        "schedule_time": "",
    }

    assert read_as(Task, record) == Task(
        internal_id=1,
        task_id="demo-task",
        title="Demo",
        version="latest",
        worker_id="demo-worker",
        worker_path="owner~demo-worker",
        description="d",
        schedule_enabled=False,
        schedule_type=ScheduleType.NONE,
        schedule_time="",
    )


def test_task_in_the_form_of_production_with_numbers_beyond_floats() -> None:
    assert read_as(Task, PRODUCTION_TASK) == Task(
        internal_id=1786001196232214890,
        task_id="01KZAZ2B7T3Q0R8C784NCRWC03",
        title="Daily coffee",
        internal_worker_id=2,
        worker_id="01KPD6M5YQADCQKGVKPDZVYC63",
        worker_path="coreclaw/google-maps-scraper",
        worker_title="Google Maps",
        version="v1.2.6",
        input={"parameters": {"custom": {"keywords": ["coffee"]}}},
        run_times=3,
        internal_last_run_id=0,
        last_modified_at=STARTED,
        created_at=STARTED,
        updated_at=FINISHED,
        schedule_enabled=True,
        schedule_type=ScheduleType.WEEKLY,
        schedule_time="09:00",
        schedule_weekday=7,
        extra={"platform_actors_id": 17},
    )


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"balance": "2.7129", "balance_expiration_at": 1782091200},
            Account(balance=Decimal("2.7129"), balance_expires_at=STARTED),
        ),
        (
            {"balance": "100.00", "traffic": "5", "traffic_expiration_at": 0},
            Account(balance=Decimal("100.00"), extra={"traffic": "5", "traffic_expiration_at": 0}),
        ),
        ({"code": "US", "name": "United States"}, ProxyRegion(code="US", name="United States")),
        (
            {
                "slug": "w",
                "name": "n",
                "path": "owner/n",
                "title": "T",
                "username": "owner",
                "description": "d",
            },
            WorkerSummary(worker_id="w", name="n", path="owner/n", title="T", username="owner", description="d"),
        ),
        ({"slug": "w", "title": "T"}, WorkerSummary(worker_id="w", title="T")),
        (
            {
                "name": "demo-worker",
                "username": "owner",
                "version": "latest",
                "readme": "# Demo",
                "parameters": {"custom": {"type": "object"}, "system": {"proxy_region": "US"}},
            },
            Worker(
                name="demo-worker",
                username="owner",
                version="latest",
                readme="# Demo",
                parameters={"custom": {"type": "object"}, "system": {"proxy_region": "US"}},
            ),
        ),
        ({"slug": "demo-task"}, CreatedTask(task_id="demo-task")),
        (
            {"input": {"keyword": "coffee"}, "version": "latest"},
            TaskInput(input={"keyword": "coffee"}, version="latest"),
        ),
        ({"input": None}, TaskInput()),
        ({"download_url": "https://cos.example/f?s=1"}, Export(download_url="https://cos.example/f?s=1")),
        (
            {"queued": True, "queue_ref": "123456", "queue_status": "waiting"},
            QueuedRun(queued=True, queue_id="123456", queue_status="waiting"),
        ),
        (
            {"queue_ref": 22, "queue_status": "inactive", "n": 1},
            QueueItem(queue_id="22", status="inactive", extra={"n": 1}),
        ),
        ({"queue_ref": "22", "success": True}, QueueAction(queue_id="22", success=True)),
        (
            {"queue_ref": "22", "success": False, "error": "item is not in waiting state"},
            QueueAction(queue_id="22", success=False, error="item is not in waiting state"),
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else "",
)
def test_small_things(record: dict[str, Any], expected: Any) -> None:
    assert read_as(type(expected), record) == expected
