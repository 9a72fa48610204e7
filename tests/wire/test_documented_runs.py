"""Every form in which the service has been seen to report a run: the first contract, the newest, and production."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from wire.exchanges import read_as

from coreclaw_async.models import (
    LogEntry,
    LogLevel,
    ResultHeader,
    ResultPage,
    Run,
    RunLog,
    RunStatus,
    StartedRun,
)

STARTED = dt.datetime(2026, 6, 22, 1, 20, tzinfo=dt.UTC)
FINISHED = STARTED + dt.timedelta(seconds=10)
RUN_RECORD = {
    "duration": 10,
    "err_msg": "",
    "finished_at": 1782091210,
    "origin": "openapi",
    "results": 1,
    "scraper_slug": "demo-worker",
    "scraper_title": "Demo Worker",
    "slug": "01KKDXV2G26BT7NH4ZQR2R4NPZ",
    "started_at": 1782091200,
    "status": "running",
    "traffic": 0,
    "usage": "1.00",
    "version": "latest",
}
RUN = Run(
    run_id="01KKDXV2G26BT7NH4ZQR2R4NPZ",
    worker_id="demo-worker",
    worker_title="Demo Worker",
    version="latest",
    status=RunStatus.RUNNING,
    result_count=1,
    usage=Decimal("1.00"),
    traffic=0,
    origin="openapi",
    started_at=STARTED,
    finished_at=FINISHED,
    duration=10.0,
    error_message="",
)
RESULTS = {
    "count": 1,
    "headers": [{"key": "title", "label": "Title"}],
    "list": [{"title": "Example result"}],
    "page_index": 1,
    "page_size": 20,
}
RESULT_PAGE = ResultPage(
    items=({"title": "Example result"},),
    headers=(ResultHeader(key="title", label="Title"),),
    count=1,
    page_index=1,
    page_size=20,
)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (RUN_RECORD, RUN),
        ({"slug": "R", "status": "ready"}, Run(run_id="R", status=RunStatus.READY)),
        (
            {"slug": "R", "status": "failed", "usage": "0.0217", "traffic": 23109, "started_at": 0, "finished_at": 0},
            Run(run_id="R", status=RunStatus.FAILED, usage=Decimal("0.0217"), traffic=23109),
        ),
        ({"slug": "R", "status": "submit_fail", "results": None}, Run(run_id="R", status="submit_fail")),
        ({"slug": "R", "status": 3, "usage": 1}, Run(run_id="R", status=RunStatus.SUCCEEDED, usage=Decimal(1))),
    ],
    ids=["contract", "least", "production", "other word", "v1 numbers"],
)
def test_run(record: dict[str, Any], expected: Run) -> None:
    assert read_as(Run, record) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"run_slug": "R"}, StartedRun(run_id="R")),
        (
            {
                "run_slug": "R",
                "run_status": "succeeded",
                "error_message": "",
                "result_message": "",
                "execution_start_timestamp": 1782091200,
                "execution_end_timestamp": 1782091210,
                "running_duration": 10,
                "results": RESULTS,
            },
            StartedRun(
                run_id="R",
                status=RunStatus.SUCCEEDED,
                error_message="",
                result_message="",
                started_at=STARTED,
                finished_at=FINISHED,
                duration=10.0,
                results=RESULT_PAGE,
            ),
        ),
        (
            {"run_slug": "R", "run_status": "running", "is_finished": False, "execution_end_timestamp": 0},
            StartedRun(run_id="R", status=RunStatus.RUNNING, is_finished=False),
        ),
        ({"run_slug": "R", "run_status": "aborted", "results": None}, StartedRun(run_id="R", status="aborted")),
    ],
    ids=["asynchronous", "waited", "rerun cut after five minutes", "other word"],
)
def test_started_run(record: dict[str, Any], expected: StartedRun) -> None:
    assert read_as(StartedRun, record) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {
                "all_logs_url": "https://smpfile.example/log?q-signature=s",
                "list": [{"type": 4, "group": "0", "content": "a\nb", "timestamp": 1782091200123}],
                "result_count": 1,
            },
            RunLog(
                all_logs_url="https://smpfile.example/log?q-signature=s",
                entries=(
                    LogEntry(
                        level=LogLevel.ERROR,
                        group="0",
                        content="a\nb",
                        timestamp=STARTED.replace(microsecond=123_000),
                    ),
                ),
                result_count=1,
            ),
        ),
        (
            {"list": ["plain", {"type": "warn", "content": "b"}, {"type": "notice", "line": 3}]},
            RunLog(
                entries=(
                    LogEntry(content="plain"),
                    LogEntry(level=LogLevel.WARN, content="b"),
                    LogEntry(level="notice", extra={"line": 3}),
                )
            ),
        ),
        ({"list": None, "result_count": None}, RunLog()),
    ],
    ids=["objects with numbers", "texts and objects with words", "nothing"],
)
def test_run_log(record: dict[str, Any], expected: RunLog) -> None:
    assert read_as(RunLog, record) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (RESULTS, RESULT_PAGE),
        (
            {"count": 0, "headers": [], "list": None, "page_index": None},
            ResultPage(count=0),
        ),
        (
            {"list": [{"__coreclaw_data_id__": "1", "nested": {"a": [None, 1.5]}}], "headers": [{"format": "object"}]},
            ResultPage(
                items=({"__coreclaw_data_id__": "1", "nested": {"a": [None, 1.5]}},),
                headers=(ResultHeader(format="object"),),
            ),
        ),
    ],
    ids=["contract", "empty in the way of Go", "v1"],
)
def test_result_page(record: dict[str, Any], expected: ResultPage) -> None:
    assert read_as(ResultPage, record) == expected
