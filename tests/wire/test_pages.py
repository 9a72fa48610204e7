"""The data of lists into pages, whichever members the list has."""

from __future__ import annotations

from typing import Any

import pytest
from wire.exchanges import request_of

from coreclaw_async._wire.pages import read_page, read_result_page, read_whole_list
from coreclaw_async._wire.response import Answer
from coreclaw_async.errors import InvalidResponseError
from coreclaw_async.models import Page, ProxyRegion, QueueItem, ResultHeader, ResultPage, Run, WorkerSummary

ROWS = [{"title": "Example result", "__coreclaw_data_id__": "1"}, {}]


def page_of(data: Any, model: Any = Run, **options: Any) -> Page[Any]:
    return read_page(Answer(request_of(), data), model, offset=40, limit=20, **options)


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


@pytest.mark.parametrize(
    "data",
    [{"list": []}, {"list": [], "count": None}, {"list": None, "count": 0}, {"count": 0}],
)
def test_page_is_empty_when_its_list_or_its_count_says_so(data: Any) -> None:
    page = page_of(data, QueueItem)

    assert (page.items, page.count or None, len(page)) == ((), None, 0)


@pytest.mark.parametrize("member", ["list", "scraper"])
@pytest.mark.parametrize("data", [None, {}, [], {"page_index": 1}, {"items": []}, {"scrapers": [], "lists": []}])
def test_page_is_refused_when_no_list_came(data: Any, member: str) -> None:
    with pytest.raises(InvalidResponseError):
        page_of(data, member=member)


@pytest.mark.parametrize(
    "data",
    [
        {"list": None},
        {"list": None, "count": None},
        {"scraper": [], "count": 0},
        {"scraper": [{"slug": "R"}]},
    ],
)
def test_page_is_refused_when_nothing_says_that_it_is_empty(data: Any) -> None:
    with pytest.raises(InvalidResponseError, match="list is missing or null, beside"):
        page_of(data)


@pytest.mark.parametrize("count", ["many", -1, True, [], {}, 1.5])
@pytest.mark.parametrize("items", [None, []])
def test_page_is_refused_when_it_is_empty_beside_a_count_that_cannot_be_read(items: Any, count: Any) -> None:
    for data in ({"list": items, "count": count}, {"list": items, "count": count, "page_index": 2}):
        with pytest.raises(InvalidResponseError):
            page_of(data)
        with pytest.raises(InvalidResponseError):
            read_result_page(Answer(request_of(), data), offset=300, limit=100)


def test_page_of_workers_may_be_null_for_such_a_list_has_no_count_but_must_be_there() -> None:
    assert page_of({"scraper": None}, WorkerSummary, member="scraper").items == ()
    with pytest.raises(InvalidResponseError, match="scraper is missing"):
        page_of({"list": [{"slug": "w"}], "count": 0}, WorkerSummary, member="scraper")


@pytest.mark.parametrize(
    ("count", "offset", "limit", "is_broken"),
    [
        (1, 0, 20, True),
        (237, 0, 100, True),
        (237, 2, 100, True),
        (237, 3, 100, True),
        (237, 4, 100, False),  # Beyond the end as a page.
        (200, 3, 100, False),
        (237, 100, 100, False),  # Beyond the end as a page, though not as a row.
        (237, 300, 100, False),
        (2, 2, 100, False),
        (3, 1, 1, True),
        (0, 0, 20, False),
    ],
)
def test_page_without_a_list_is_refused_when_there_are_items_whatever_offset_means(
    count: int, offset: int, limit: int, is_broken: bool
) -> None:
    answers: list[dict[str, Any]] = [{"count": count, "list": None}, {"count": count}]
    for data in answers:
        for read in (lambda **place: read_page(model=Run, **place), read_result_page):
            try:
                page = read(answer=Answer(request_of(), data), offset=offset, limit=limit)
            except InvalidResponseError:
                assert is_broken
            else:
                assert not is_broken
                assert (page.items, page.count) == ((), count)


@pytest.mark.parametrize(
    ("data", "named"),
    [([], "data"), ({"list": {}}, "expected a list"), ({"list": "x", "count": 0}, "expected a list")],
)
def test_page_is_refused_by_name_when_its_list_is_none(data: Any, named: str) -> None:
    with pytest.raises(InvalidResponseError, match=named):
        page_of(data)


def test_odd_numbers_of_a_page_are_not_set_and_kept_as_they_came() -> None:
    odd: dict[str, Any] = {"count": "many", "page_index": 1.5, "page_size": -1}

    assert page_of({"list": [{"slug": "R"}], **odd}) == Page(items=(Run(run_id="R"),), offset=40, limit=20, extra=odd)


def test_one_odd_record_leaves_the_page_whole() -> None:
    records: list[dict[str, Any]] = [{"slug": f"R{number}", "status": "running"} for number in range(100)]
    records[41] |= {"results": "x", "usage": {}, "finished_at": ""}
    items = page_of({"list": records, "count": 100}).items

    assert [run.run_id for run in items] == [record["slug"] for record in records]
    assert [run.extra for run in items if run.extra] == [{"results": "x", "usage": {}, "finished_at": ""}]


def test_whole_list_is_read_or_refused() -> None:
    read = read_whole_list(Answer(request_of(), {"list": [{"code": "US"}]}), ProxyRegion)

    assert read == (ProxyRegion(code="US"),)
    assert read_whole_list(Answer(request_of(), {"list": None}), ProxyRegion) == ()
    broken: list[Any] = [None, {}, [], {"list": {}}, {"scraper": []}, {"count": 0}]
    for data in broken:
        with pytest.raises(InvalidResponseError):
            read_whole_list(Answer(request_of(), data), ProxyRegion)


def test_result_page_keeps_rows_as_they_came_and_columns_in_order() -> None:
    data = {
        "count": 2,
        "headers": [{"key": "title", "label": "Title"}, {"key": "n", "label": "N", "format": "integer", "width": 5}],
        "list": ROWS,
        "page_index": 1,
        "page_size": 20,
        "exported": False,
    }
    page = read_result_page(Answer(request_of(), data), offset=0, limit=50)

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


@pytest.mark.parametrize("data", [{"list": []}, {"list": None, "count": 0}, {"count": 0, "headers": None}])
def test_result_page_is_empty_when_it_says_so(data: Any) -> None:
    page = read_result_page(Answer(request_of(), data), offset=2, limit=3)

    assert page == ResultPage(offset=2, limit=3, count=data.get("count"))


@pytest.mark.parametrize("data", [None, {}, [], {"list": None}, {"headers": []}, {"list": None, "count": "x"}])
def test_result_page_is_refused_when_no_rows_came(data: Any) -> None:
    with pytest.raises(InvalidResponseError):
        read_result_page(Answer(request_of(), data), offset=0, limit=20)


@pytest.mark.parametrize("row", ["row", None, 5, ["a"], True])
def test_result_page_is_refused_when_a_row_is_no_object_for_leaving_it_out_would_lose_it(row: Any) -> None:
    with pytest.raises(InvalidResponseError, match=r"list\[1\]: a row must be an object"):
        read_result_page(Answer(request_of(), {"list": [{}, row], "count": 2}), offset=0, limit=20)
