"""What `coreclaw_async.testing` offers."""

from __future__ import annotations

import pytest

from coreclaw_async import testing
from coreclaw_async.testing import FakeService, faults


def test_every_public_name_can_be_had() -> None:
    assert sorted(testing.__all__) == testing.__all__ == dir(testing)
    assert all(getattr(testing, name) is not None for name in testing.__all__)
    assert testing.FakeService is FakeService


def test_a_module_can_be_had_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(testing, "faults")

    assert testing.faults is faults


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = testing.Nothing  # type: ignore[attr-defined]
