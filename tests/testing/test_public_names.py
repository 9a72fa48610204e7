"""What `coreclaw_async.testing` offers, and what it does not depend on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from coreclaw_async import testing
from coreclaw_async.testing import FakeService, faults

PACKAGE = Path(testing.__file__).parent


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


def test_the_package_is_a_second_reading_and_takes_nothing_from_the_first() -> None:
    taken: set[str] = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                taken.add(node.module)
            elif isinstance(node, ast.Import):
                taken |= {alias.name for alias in node.names}

    own = {name for name in taken if name.startswith("coreclaw_async")}
    assert own <= {"coreclaw_async"} | {name for name in own if name.startswith("coreclaw_async.testing")}
    assert {"asyncio", "trio"}.isdisjoint(taken)
