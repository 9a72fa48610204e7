"""What `coreclaw_async.batch` offers is there, although each name is loaded when it is asked for."""

from __future__ import annotations

import pytest

import coreclaw_async
from coreclaw_async import batch


def test_names_are_sorted_and_all_there() -> None:
    assert batch.__all__ == sorted(batch.__all__) == dir(batch)
    classes = {*batch.__all__} - {"OnAmbiguous", "OutputFormat"}
    assert all(getattr(batch, name).__name__ == name for name in classes)
    assert all(
        getattr(batch, name) is getattr(coreclaw_async, name) for name in {*batch.__all__} & {*dir(coreclaw_async)}
    )


def test_another_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match=r"'coreclaw_async\.batch' has no attribute 'Batches'"):
        batch.Batches  # type: ignore[attr-defined]  # noqa: B018
