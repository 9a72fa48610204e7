"""The public store of Workers."""

from __future__ import annotations

from typing import Any

from coreclaw_async.testing._api.calls import Call
from coreclaw_async.testing._api.operation import operation
from coreclaw_async.testing._api.workers import PAGED_BY_KEYWORD, page_of_workers


@operation("listStore", "GET", "/store", query=PAGED_BY_KEYWORD, public=True)
def list_store(call: Call) -> Any:
    """Return one page of the Workers that everybody can run."""
    return page_of_workers(call, (worker for worker in call.world.workers.values() if worker.in_store))
