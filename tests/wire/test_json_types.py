"""What a parsed JSON value is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coreclaw_async._wire.json_types import as_array, as_object, is_array, is_object


@pytest.mark.parametrize(
    ("text", "is_an_object", "is_an_array"),
    [("{}", True, False), ("[]", False, True), ('"{}"', False, False), ("1", False, False), ("null", False, False)],
)
def test_objects_and_arrays_are_told_from_everything_else(text: str, is_an_object: bool, is_an_array: bool) -> None:
    value: Any = json.loads(text)

    assert (is_object(value), is_array(value)) == (is_an_object, is_an_array)


@pytest.mark.parametrize("value", [{"a": 1}, [1], "{}", 1, None])
def test_what_is_of_another_kind_reads_as_an_empty_object_or_array(value: Any) -> None:
    assert as_object(value) == (value if isinstance(value, dict) else {})
    assert as_array(value) == (value if isinstance(value, list) else [])
