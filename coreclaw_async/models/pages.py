"""One page of a listing, and one page of result rows with its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from coreclaw_async.models.fields import extra_field

T = TypeVar("T")

Row: TypeAlias = Mapping[str, Any]
"""One result row: plain JSON values under the worker's own column keys."""


@attrs.frozen(kw_only=True)
class Page(Generic[T]):
    """
    One page of a listing, as it came.

    Attributes:
        items: The items in the order of the service, which promises none.
        count: Items in the whole listing, or None where the service does not say (store and workers never do).
        page_index: Number of the page, from 1, or None where the service does not say.
        page_size: Items a page holds, or None where the service does not say.
        offset: The offset that was asked for; what it counts has changed over time (see `AsyncPager`).
        limit: The page size that was asked for.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.
    """

    items: Sequence[T] = ()
    count: int | None = None
    page_index: int | None = None
    page_size: int | None = None
    offset: int = 0
    limit: int = 20
    extra: dict[str, Any] = extra_field()

    def __len__(self) -> int:
        return len(self.items)


@attrs.frozen(kw_only=True)
class ResultHeader:
    """
    One column of a run's results.

    Attributes:
        key: The key of the column in each row.
        label: Its name for people.
        format: ``text``, ``number``, ``integer``, ``boolean``, ``array`` or ``object``; None when not told.
        extra: Members that this version does not know, or cannot read, as they came, under their wire names.
    """

    key: str = ""
    label: str = ""
    format: str | None = None
    extra: dict[str, Any] = extra_field()


@attrs.frozen(kw_only=True)
class ResultPage(Page[Row]):
    """
    One page of a run's result rows.

    Attributes:
        headers: The columns in the service's order; a row may hold keys that none of them names, such as
            ``__coreclaw_data_id__``.
    """

    headers: Sequence[ResultHeader] = ()
