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
        for name in [name for name in sys.modules if name.startswith("coreclaw_async._http.aiohttp")]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "aiohttp", None)
        connections._sessions_class.cache_clear()
        yield
    connections._sessions_class.cache_clear()
