"""ListSource: a list of the service, as a scan needs to know it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import attrs

from coreclaw_async._paging.offsets import MIN_TELLING_SIZE
from coreclaw_async.models import Page

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class ListSource(Generic[T]):
    """
    A list of the service, as a walk needs to know it.

    Attributes:
        name: What errors call it.
        fetch: Returns the page at an offset with a limit.
        identity: What tells an item from all others, or None when nothing does.
        expects_count: Whether every item that is counted must come, also those that were added meanwhile.
        min_probe_size: Smallest page size that is read as it is; below, more is read at once.
        run_id: The run whose list it is, or None.
    """

    name: str
    fetch: Callable[[int, int], Awaitable[Page[T]]]
    identity: Callable[[T], Hashable | None]
    expects_count: bool = False
    min_probe_size: int = MIN_TELLING_SIZE
    run_id: str | None = None
