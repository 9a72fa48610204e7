"""The extra ``speed`` as if it were not installed: then reads go through httpx everywhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from coreclaw_async._http import connections


@pytest.fixture
def without_aiohttp(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have nothing find aiohttp, as where it is not installed."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "aiohttp", None)
        patch.delitem(sys.modules, "coreclaw_async._http.aiohttp_backend", raising=False)
        connections._sessions_class.cache_clear()
        yield
    connections._sessions_class.cache_clear()
