"""How often a test runs: on which backends, and with which of its parameters in the quick run."""

from __future__ import annotations

from typing import Any

import pytest

ONE_BACKEND = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
"""For what no backend does in another way, nor a blocking client."""


def slowly(name: str, quick: Any, *others: Any) -> pytest.MarkDecorator:
    """Parametrize a test with *quick*, and in the endurance run with *others* too."""
    values = [quick, *(pytest.param(other, marks=pytest.mark.endurance) for other in others)]
    return pytest.mark.parametrize(name, values)
