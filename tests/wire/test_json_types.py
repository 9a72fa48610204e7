"""What a parsed JSON value is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coreclaw_async._wire.json_types import is_array, is_object


@pytest.mark.parametrize(
    ("text", "is_an_object", "is_an_array"),
    [("{}", True, False), ("[]", False, True), ('"{}"', False, False), ("1", False, False), ("null", False, False)],
)
def test_objects_and_arrays_are_told_from_everything_else(text: str, is_an_object: bool, is_an_array: bool) -> None:
    value: Any = json.loads(text)

    assert (is_object(value), is_array(value)) == (is_an_object, is_an_array)
