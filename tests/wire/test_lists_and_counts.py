"""Lists, objects and numbers of an answer that belong to no model."""

from __future__ import annotations

from typing import Any

import pytest
from wire.exchanges import request_of

from coreclaw_async import models
from coreclaw_async._wire.converter import read_count, read_models, read_object
from coreclaw_async._wire.response import Answer
from coreclaw_async.errors import InvalidResponseError


def test_list_of_models_keeps_its_order() -> None:
    runs = read_models(request_of(), Answer(None), models.Run, [{"slug": "B"}, {"slug": "A"}, {}])

    assert [run.run_id for run in runs] == ["B", "A", ""]


def test_list_of_models_is_empty_when_it_is_null() -> None:
    assert read_models(request_of(), Answer(None), models.Run, None) == ()


def test_list_of_models_is_refused_when_it_is_none() -> None:
    with pytest.raises(InvalidResponseError, match="a list was expected, not an object"):
        read_models(request_of(), Answer(None), models.Run, {"slug": "A"})


@pytest.mark.parametrize("wrong", [5, None, {"results": "x"}, {"started_at": 10**18}, {"duration": 10**400}])
def test_list_of_models_names_the_member_when_one_is_wrong(wrong: Any) -> None:
    if wrong is None:  # Null stands for an object without members.
        assert read_models(request_of(), Answer(None), models.Run, [wrong]) == (models.Run(),)
        return
    with pytest.raises(InvalidResponseError, match="Run"):
        read_models(request_of(), Answer(None), models.Run, [{"slug": "A"}, wrong])


@pytest.mark.parametrize(("data", "read"), [(None, {}), ({}, {}), ({"a": 1}, {"a": 1})])
def test_object_is_returned_as_it_came(data: Any, read: Any) -> None:
    assert read_object(request_of(), Answer(data)) == read


def test_object_is_refused_when_it_is_something_else() -> None:
    with pytest.raises(InvalidResponseError, match="data: an object was expected, not a list"):
        read_object(request_of(), Answer([]))


@pytest.mark.parametrize(("data", "count"), [(None, None), ({}, None), ({"count": None}, None), ({"count": "3"}, 3)])
def test_count_is_a_number_or_none(data: Any, count: int | None) -> None:
    assert read_count(request_of(), Answer(data), "count") == count


@pytest.mark.parametrize(
    "count",
    [
        "many",
        True,
        1.5,
        [],
        {},
        *(text for text in ("--5", "9" * 5_000)),
    ],
    ids=lambda value: str(value)[:8],
)
def test_count_is_refused_by_name_when_it_is_no_number(count: Any) -> None:
    with pytest.raises(InvalidResponseError, match="count: "):
        read_count(request_of(), Answer({"count": count}), "count")
