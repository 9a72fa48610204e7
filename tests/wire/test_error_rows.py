"""Which rows hold diagnostics instead of data."""

from __future__ import annotations

from typing import Any

import pytest

from coreclaw_async._wire.answer_json import load_usual
from coreclaw_async._wire.error_rows import RowKind, filled_members, has_data_columns, kind_of_row
from coreclaw_async._wire.exact_numbers import load_exact

ID = {"__coreclaw_data_id__": "R-1"}


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"title": "Cafe", "url": "u"}, RowKind.DATA),
        ({"title": "Cafe", "error": "no phone"}, RowKind.DATA),
        ({"title": 0}, RowKind.DATA),
        ({"title": False}, RowKind.DATA),
        ({"error": "captcha"}, RowKind.ERROR),
        ({**ID, "error": "403", "status_code": 403, "input": {"keyword": "a"}, "input_url": "u"}, RowKind.ERROR),
        ({"Error": "403", "MSG": "forbidden"}, RowKind.ERROR),
        ({"err": "403", "title": "", "phone": None, "tags": [], "geo": {}}, RowKind.ERROR),
        ({"url": "u", "error": "403", "title": ""}, RowKind.ERROR),
        ({"message": "nothing found"}, RowKind.ERROR),
        ({"url": "u"}, RowKind.NO_DATA),
        ({"url": "u", "status": 200}, RowKind.NO_DATA),
        ({"url": "u", "error": None}, RowKind.NO_DATA),
        ({"title": None, **ID}, RowKind.NO_DATA),
        ({}, RowKind.NO_DATA),
    ],
)
def test_kind_of_a_row(row: dict[str, Any], kind: RowKind) -> None:
    assert kind_of_row(row) is kind


def test_members_that_hold_anything_are_told_without_the_id() -> None:
    assert filled_members({**ID, "a": 0, "b": "", "c": False, "d": None}) == ["a", "c"]


def test_columns_for_data() -> None:
    assert not has_data_columns(["url", "Status", "__coreclaw_data_id__"])
    assert has_data_columns(["url", "title"])


@pytest.mark.parametrize("number", ["0", "0.0", "0.00", "-0", "0e1", "403", "4.030", "1e2", "NaN", "1" * 400])
def test_a_row_is_the_same_whether_its_numbers_are_kept_digit_by_digit_or_not(number: str) -> None:
    body = f'{{"data": {{"list": [{{"url": "https://a.test/1", "error_code": {number}}}]}}}}'.encode()
    (exact,), (usual,) = (load(body)["data"]["list"] for load in (load_exact, load_usual))

    assert kind_of_row(exact) is kind_of_row(usual)
