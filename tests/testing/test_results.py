"""Result rows: generated, given, computed, inserted, and never held in memory without need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from testing.api_session import ApiSession

from coreclaw_async.testing import FakeService, RunScript

MAPS = "coreclaw/google-maps-scraper"
ROW_ID = "__coreclaw_data_id__"


async def results_of(api: ApiSession, script: RunScript, **query: int) -> Any:
    api.service.next_script = script
    run_id = await api.start()
    api.service.finish(run_id)
    return await api.get(f"/worker-runs/{run_id}/result", **query)


async def test_generated_rows_have_columns_of_several_types(api: ApiSession) -> None:
    page = await results_of(api, RunScript(rows=2))

    assert page["list"][1] == {
        "title": "Result 2",
        "address": "2 Example Street, New York, NY",
        "rank": 2,
        "url": "https://example.test/results/2",
        "details": {"rating": 0.2, "tags": ["generated", "group-2"]},
        ROW_ID: page["list"][1][ROW_ID],
    }
    assert page["headers"] == [
        {"key": "title", "label": "Title", "format": "text"},
        {"key": "address", "label": "Address", "format": "text"},
        {"key": "rank", "label": "Rank", "format": "integer"},
        {"key": "url", "label": "Url", "format": "text"},
        {"key": "details", "label": "Details", "format": "object"},
    ]
    assert (page["count"], page["page_index"], page["page_size"]) == (2, 1, 20)


async def test_given_rows_come_as_they_are_with_the_columns_of_all(api: ApiSession) -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b_c": True}, {"a": 2.5, "d": ["x"], "e": None, ROW_ID: "mine"}]
    page = await results_of(api, RunScript(rows=rows))

    assert [{key: row[key] for key in row if key != ROW_ID} for row in page["list"]] == [
        {"a": 1, "b_c": True},
        {"a": 2.5, "d": ["x"], "e": None},
    ]
    assert page["list"][1][ROW_ID] == "mine"
    assert [(header["key"], header["label"], header["format"]) for header in page["headers"]] == [
        ("a", "A", "integer"),
        ("b_c", "B C", "boolean"),
        ("d", "D", "array"),
        ("e", "E", "text"),
    ]


@pytest.mark.parametrize("rows", [2, [{"a": 1}, {"a": 2}]])
async def test_rows_may_come_without_ids(api: ApiSession, rows: Any) -> None:
    page = await results_of(api, RunScript(rows=rows, row_ids=False))

    assert all(ROW_ID not in row for row in page["list"])
    assert len(page["list"]) == 2


async def test_rows_may_be_computed_from_the_input(api: ApiSession) -> None:
    def shout(custom: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [{"word": word.upper()} for word in custom["keywords"]]

    page = await results_of(api, RunScript(rows=shout))

    assert [row["word"] for row in page["list"]] == ["COFFEE"]


@pytest.mark.parametrize("given", ["text", {"parameters": {"custom": []}}, {}])
def test_a_function_gets_nothing_from_an_input_that_has_no_custom_part(service: FakeService, given: Any) -> None:
    run_id = service.add_run(MAPS, script=RunScript(rows=len, duration=0), input=given)

    assert service.runs[run_id].rows == []


async def test_row_ids_stay_when_rows_are_inserted_before_them(api: ApiSession) -> None:
    run_id = api.service.add_run(MAPS, rows=4)
    before = [row[ROW_ID] for row in (await api.get(f"/worker-runs/{run_id}/result"))["list"]]

    api.service.insert_rows(run_id, 2)
    api.service.insert_rows(run_id, [{"title": "given"}], at=4)
    page = await api.get(f"/worker-runs/{run_id}/result")
    after = [row[ROW_ID] for row in page["list"]]

    assert page["count"] == 7
    assert after[2:4] + after[5:] == before
    assert page["list"][4]["title"] == "given"
    assert len(set(after)) == 7


async def test_inserted_rows_show_at_once_while_the_run_goes_on(api: ApiSession) -> None:
    api.service.next_script = RunScript(rows=10, duration=10)
    run_id = await api.start()
    api.service.clock.advance(5)
    api.service.insert_rows(run_id, 3)

    assert (await api.get(f"/worker-runs/{run_id}/result"))["count"] == 8
    api.service.clock.advance(5)
    assert (await api.get(f"/worker-runs/{run_id}/result"))["count"] == 13


async def test_a_million_rows_are_paged_without_being_made(api: ApiSession) -> None:
    page = await results_of(api, RunScript(rows=1_000_000), limit=2, offset=500_000)

    assert [row["rank"] for row in page["list"]] == [999_999, 1_000_000]


async def test_the_same_row_is_the_same_each_time(api: ApiSession) -> None:
    run_id = api.service.add_run(MAPS, rows=30)
    path = f"/worker-runs/{run_id}/result"

    whole = (await api.get(path, limit=30))["list"]
    parts = (await api.get(path, limit=15))["list"] + (await api.get(path, limit=15, offset=2))["list"]

    assert parts == whole


async def test_an_unknown_run_has_no_results(api: ApiSession) -> None:
    assert await api.refusal("GET", "/worker-runs/01UNKNOWN/result") == (404, 11004)
