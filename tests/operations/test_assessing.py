"""`runs.assess`: a verdict on an ended run from its status and its first rows, with the evidence."""

from __future__ import annotations

from typing import Any

import pytest
from either_client import AsyncCoreClaw

from coreclaw_async import Assessment, LastRun, NotFoundError, Run, RunNotFinishedError, ServiceError, Verdict
from coreclaw_async.testing import FakeService, RunScript, faults

WORKER = "coreclaw/google-maps-scraper"
GOOD: dict[str, Any] = {"title": "Cafe", "url": "https://example.test/1"}
BAD: dict[str, Any] = {"title": "", "url": "https://example.test/2", "error": "403", "status_code": 403}


async def assess(service: FakeService, run: Any, **options: Any) -> Assessment:
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        return await client.runs.assess(run, **options)


def operations(service: FakeService) -> list[str | None]:
    return [request.operation for request in service.requests]


async def test_a_run_with_rows_passes() -> None:
    service = FakeService()
    found = await assess(service, service.add_run(WORKER, rows=30))

    assert (found.verdict, found.ok, found.reason) == (Verdict.PASS, True, "none of 30 rows is an error row")
    assert (found.run.status, found.row_count, found.rows_read, found.error_row_count, found.error_rows) == (
        "succeeded", 30, 30, 0, (),
    )  # fmt: skip
    assert (found.error_message, found.error_source) == (None, None)
    assert operations(service) == ["getWorkerRun", "listWorkerRunResults"]


async def test_a_run_without_rows_is_empty() -> None:
    service = FakeService()
    found = await assess(service, service.add_run(WORKER, rows=0))

    assert (found.verdict, found.ok, found.row_count, found.rows_read) == (Verdict.EMPTY, False, 0, 0)
    assert found.reason == "the run succeeded and has no rows"


async def test_rows_that_hold_only_diagnostics_are_named_by_their_numbers() -> None:
    service = FakeService()
    found = await assess(service, service.add_run(WORKER, rows=[GOOD, BAD, GOOD, BAD]))

    assert (found.verdict, found.ok, found.error_row_count) == (Verdict.ERROR_ROWS, False, 2)
    assert found.reason == "no data in 2 of 4 rows: 2, 4"
    assert [(row.number, row.members) for row in found.error_rows] == [
        (2, ("url", "error", "status_code")),
        (4, ("url", "error", "status_code")),
    ]
    assert found.error_rows[0].row["error"] == "403"
    assert "403" not in repr(found)


async def test_of_many_error_rows_the_first_ten_are_kept_and_all_are_counted() -> None:
    service = FakeService()
    rows: list[dict[str, Any]] = [BAD, {"url": "u", "title": ""}] * 20

    found = await assess(service, service.add_run(WORKER, rows=rows))

    assert (found.error_row_count, [row.number for row in found.error_rows]) == (40, list(range(1, 11)))
    assert found.reason.endswith("8, 9, 10, ...")


async def test_rows_with_nothing_but_a_url_are_data_where_that_is_all_there_is() -> None:
    service = FakeService()
    only = await assess(service, service.add_run(WORKER, rows=[{"url": "a"}, {"url": "b"}]))
    mixed = await assess(service, service.add_run(WORKER, rows=[{"url": "a"}, GOOD]))

    assert only.verdict is Verdict.PASS
    assert (mixed.verdict, [row.number for row in mixed.error_rows]) == (Verdict.ERROR_ROWS, [1])


@pytest.mark.parametrize(("max_rows", "pages"), [(1, 1), (100, 1), (150, 2), (1000, 3)])
async def test_no_more_than_the_first_rows_are_read(max_rows: int, pages: int) -> None:
    service = FakeService()
    run_id = service.add_run(WORKER, rows=[GOOD] * 249 + [BAD])

    found = await assess(service, run_id, max_rows=max_rows)

    assert found.rows_read == min(max_rows, 250)
    assert found.row_count == 250
    assert found.verdict is (Verdict.ERROR_ROWS if max_rows > 250 else Verdict.PASS)
    reason = "no data in 1 of 250 rows" if max_rows > 250 else f"none of the first {max_rows} of 250 rows"
    assert found.reason.startswith(reason)
    assert operations(service).count("listWorkerRunResults") <= pages + 1, "one may find out what offset means"


async def test_a_failed_run_has_failed_for_the_reason_that_it_tells() -> None:
    service = FakeService(detail_err_msg=True)
    found = await assess(service, service.add_run(WORKER, status="failed", error_message="captcha"))

    assert (found.verdict, found.reason) == (Verdict.FAILED, "the run ended as failed")
    assert (found.error_message, found.error_source) == ("captcha", "run")
    assert operations(service) == ["getWorkerRun"]


async def test_a_failed_run_that_does_not_say_why_is_explained_by_its_log() -> None:
    service = FakeService()
    script = RunScript(outcome="failed", log=[("error", "blocked"), "bye"])
    found = await assess(service, service.add_run(WORKER, script=script, age=60))

    assert (found.verdict, found.error_message, found.error_source) == (Verdict.FAILED, "blocked", "log")


async def test_a_failed_run_whose_log_cannot_be_read_has_failed_all_the_same() -> None:
    service = FakeService()
    service.faults.add(faults.error(11004), operation="getWorkerRunLog", times=9)
    found = await assess(service, service.add_run(WORKER, status="failed"))

    assert (found.verdict, found.error_message, found.error_source) == (Verdict.FAILED, None, None)


async def test_an_aborted_run_is_aborted() -> None:
    service = FakeService()
    found = await assess(service, service.add_run(WORKER, status="aborted", rows=3))

    assert (found.verdict, found.ok) == (Verdict.ABORTED, False)


async def test_a_run_that_stays_aborting_is_unknown() -> None:
    service = FakeService()
    found = await assess(service, service.add_run(WORKER, status="aborting"))

    assert (found.verdict, found.ok) == (Verdict.UNKNOWN, False)


@pytest.mark.parametrize("status", ["ready", "running", "thinking"])
async def test_a_run_that_goes_on_has_no_verdict(status: str) -> None:
    service = FakeService()
    run_id = service.add_run(WORKER, status=status, rows=3)

    with pytest.raises(RunNotFinishedError, match=f"has not ended .its status is {status}") as caught:
        await assess(service, run_id)

    assert (caught.value.run_id, operations(service)) == (run_id, ["getWorkerRun"])


def without_rows(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "data": {**answer["data"], "list": [], "count": 0}}


async def test_rows_that_are_counted_and_do_not_come_are_unknown_and_not_empty() -> None:
    service = FakeService()
    run_id = service.add_run(WORKER, rows=3)
    service.faults.add(faults.edit(without_rows), operation="listWorkerRunResults", times=99)

    found = await assess(service, run_id)

    assert (found.verdict, found.rows_read, found.row_count) == (Verdict.UNKNOWN, 0, 0)
    assert "has ended with 3 rows, and only 0 came" in found.reason


async def test_no_rows_of_which_nobody_says_how_many_there_are_is_unknown() -> None:
    service = FakeService()
    run_id = service.add_run(WORKER, rows=0)
    nothing: dict[str, Any] = {"list": [], "count": None}
    service.faults.add(
        faults.edit(lambda answer: {**answer, "data": {**answer["data"], "results": None}}), operation="getWorkerRun"
    )
    service.faults.add(
        faults.edit(lambda answer: {**answer, "data": nothing}), operation="listWorkerRunResults", times=9
    )

    found = await assess(service, run_id)

    assert (found.verdict, found.row_count) == (Verdict.UNKNOWN, None)
    assert found.reason == "no rows came, and the service does not say how many there are"


async def test_last_rows_that_come_late_are_waited_for() -> None:
    service = FakeService()
    run_id = service.add_run(WORKER, script=RunScript(rows=2, duration=5, rows_late=2, rows_late_for=10), age=6)

    assert (await assess(service, run_id)).verdict is Verdict.PASS


async def test_a_run_that_is_known_to_have_ended_is_not_read_again() -> None:
    service = FakeService()
    run_id = service.add_run(WORKER, rows=3)
    async with AsyncCoreClaw(service.api_key, transport=service, clock=service.clock) as client:
        run = await client.runs.get(run_id)
        found = await client.runs.assess(run)
        await client.runs.assess(LastRun())

    assert found.run == run
    assert operations(service) == ["getWorkerRun", "listWorkerRunResults", "getLastWorkerRun", "listWorkerRunResults"]


async def test_a_service_that_cannot_answer_gives_an_error_and_no_verdict() -> None:
    service = FakeService()
    service.faults.add(faults.error(10000), operation="listWorkerRunResults", times=99)
    run_id = service.add_run(WORKER, rows=3)

    with pytest.raises(ServiceError) as caught:
        await assess(service, run_id)

    assert caught.value.run_id == run_id


@pytest.mark.parametrize("max_rows", [0, -1, True, 1.5, "10", None])
async def test_a_number_of_rows_that_cannot_be_is_refused_before_anything_is_sent(max_rows: Any) -> None:
    service = FakeService()

    with pytest.raises((TypeError, ValueError), match="max_rows"):
        await assess(service, Run(run_id="R"), max_rows=max_rows)

    assert service.requests == []


async def test_a_run_that_is_not_there_is_an_error() -> None:
    with pytest.raises(NotFoundError):
        await assess(FakeService(), "01KKDXV2G26BT7NH4ZQR2R4NPZ")
