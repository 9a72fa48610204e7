"""The data of lists into pages, whichever members the list has."""

from __future__ import annotations

from typing import Any

import pytest
from wire.exchanges import request_of

from coreclaw_async._wire.pages import read_page, read_result_page
from coreclaw_async._wire.response import Answer
from coreclaw_async.errors import InvalidResponseError
from coreclaw_async.models import Page, QueueItem, ResultHeader, ResultPage, Run, WorkerSummary

ROWS = [{"title": "Example result", "__coreclaw_data_id__": "1"}, {}]


def page_of(data: Any, model: Any = Run, **options: Any) -> Page[Any]:
    return read_page(request_of(), Answer(data), model, offset=40, limit=20, **options)


def test_page_has_items_count_and_what_was_asked_for() -> None:
    page = page_of({"count": 1, "list": [{"slug": "R"}], "page_index": 3, "page_size": 20, "total_cost": "1"})

    assert page == Page(
        items=(Run(run_id="R"),),
        count=1,
        page_index=3,
        page_size=20,
        offset=40,
        limit=20,
        extra={"total_cost": "1"},
    )
    assert len(page) == 1


def test_page_of_store_and_workers_has_its_items_under_another_name() -> None:
    page = page_of({"scraper": [{"slug": "w"}], "list": "other"}, WorkerSummary, member="scraper")

    assert page.items == (WorkerSummary(worker_id="w"),)
    assert (page.count, page.page_index, page.page_size, page.extra) == (None, None, None, {"list": "other"})


@pytest.mark.parametrize("data", [None, {}, {"list": None}, {"list": [], "count": None}])
def test_page_is_empty_when_nothing_came(data: Any) -> None:
    page = page_of(data, QueueItem)

    assert (page.items, page.count, len(page)) == ((), None, 0)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ([], "data"),
        ({"list": {}}, "a list was expected"),
        ({"list": [{"results": "x"}]}, "Run.result_count"),
        ({"count": "many"}, "count"),
        ({"page_index": 1.5}, "page_index"),
        ({"page_size": []}, "page_size"),
    ],
)
def test_page_is_refused_by_name_when_a_member_is_wrong(data: Any, named: str) -> None:
    with pytest.raises(InvalidResponseError, match=named):
        page_of(data)


def test_result_page_keeps_rows_as_they_came_and_columns_in_order() -> None:
    data = {
        "count": 2,
        "headers": [{"key": "title", "label": "Title"}, {"key": "n", "label": "N", "format": "integer", "width": 5}],
        "list": ROWS,
        "page_index": 1,
        "page_size": 20,
        "exported": False,
    }
    page = read_result_page(request_of(), Answer(data), offset=0, limit=50)

    assert page == ResultPage(
        items=tuple(ROWS),
        headers=(
            ResultHeader(key="title", label="Title"),
            ResultHeader(key="n", label="N", format="integer", extra={"width": 5}),
        ),
        count=2,
        page_index=1,
        page_size=20,
        offset=0,
        limit=50,
        extra={"exported": False},
    )


def test_result_page_is_empty_when_nothing_came() -> None:
    assert read_result_page(request_of(), Answer(None), offset=2, limit=3) == ResultPage(offset=2, limit=3)
    assert read_result_page(request_of(), Answer({"list": None, "headers": None}), offset=2, limit=3).items == ()


def test_result_page_is_refused_when_a_row_is_no_object() -> None:
    with pytest.raises(InvalidResponseError, match=r"ResultPage\.items"):
        read_result_page(request_of(), Answer({"list": [{}, "row"]}), offset=0, limit=20)
