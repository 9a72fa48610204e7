"""Lists and objects of an answer that belong to no model."""

from __future__ import annotations

from typing import Any

import pytest
from wire.exchanges import request_of

from coreclaw_async import models
from coreclaw_async._wire.converter import read_models, read_object
from coreclaw_async._wire.response import Answer
from coreclaw_async.errors import InvalidResponseError


def test_list_of_models_keeps_its_order() -> None:
    runs = read_models(Answer(request_of(), None), models.Run, [{"slug": "B"}, {"slug": "A"}, {}])

    assert [run.run_id for run in runs] == ["B", "A", ""]


def test_list_of_models_is_empty_when_it_is_null() -> None:
    assert read_models(Answer(request_of(), None), models.Run, None) == ()


def test_list_of_models_is_refused_when_it_is_none() -> None:
    with pytest.raises(InvalidResponseError, match="expected a list, got an object"):
        read_models(Answer(request_of(), None), models.Run, {"slug": "A"})


@pytest.mark.parametrize("odd", [{"results": "x"}, {"started_at": 10**18}, {"duration": 10**400}])
def test_odd_member_of_one_entry_leaves_the_others_alone(odd: Any) -> None:
    runs = read_models(Answer(request_of(), None), models.Run, [{"slug": "A"}, {"slug": "B", **odd}, {"slug": "C"}])

    assert runs == (models.Run(run_id="A"), models.Run(run_id="B", extra=odd), models.Run(run_id="C"))


@pytest.mark.parametrize(("data", "read"), [({}, {}), ({"a": 1}, {"a": 1})])
def test_object_is_returned_as_it_came(data: Any, read: Any) -> None:
    assert read_object(Answer(request_of(), data)) == read


def test_object_is_refused_when_it_is_something_else() -> None:
    with pytest.raises(InvalidResponseError, match="data: expected an object, got a list"):
        read_object(Answer(request_of(), []))


def test_object_is_refused_when_it_did_not_come() -> None:
    with pytest.raises(InvalidResponseError, match="data is missing"):
        read_object(Answer(request_of(), None))
