"""Which cases of a test the quick run has."""

from __future__ import annotations

from typing import Any

import pytest


def slowly(name: str, quick: Any, *others: Any) -> pytest.MarkDecorator:
    """Parametrize a test with *quick*, and in the endurance run with *others* too."""
    values = [quick, *(pytest.param(other, marks=pytest.mark.endurance) for other in others)]
    return pytest.mark.parametrize(name, values)
